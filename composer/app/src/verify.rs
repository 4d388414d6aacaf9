//! The finished bytes, read back by independent readers.
