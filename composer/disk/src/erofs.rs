//! EROFS images: the read-only root.
