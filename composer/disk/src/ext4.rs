//! ext4 images: the state partition.
