//! Archives of the `newc` format: what the kernel unpacks as its initial root.
