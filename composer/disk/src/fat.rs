//! FAT32 images: the EFI system partition.
