//! Trees and disks: the file tree and everything it can become.
//!
//! Every module is pure: it takes values, `Read` and `Write`, and knows neither Debian nor the
//! host. Writers stream; what they hold in memory is metadata, never the content of an image.

pub mod cpio;
pub mod erofs;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod qcow2;
pub mod read_at;
pub mod tree;
pub mod uki;
pub mod verity;
pub mod write_log;
pub mod zboot;
