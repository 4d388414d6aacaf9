//! Debian tools that the program brings for itself.
