//! Unified kernel images: sections appended to systemd's EFI stub.
