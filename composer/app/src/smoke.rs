//! The finished bytes, booted.
