//! Effects: the only modules that touch files, processes, the network, the clock and the environment.
#![allow(clippy::disallowed_methods, reason = "effects live here and nowhere else")]
pub mod clock;
pub mod command;
pub mod contents;
pub mod cover;
pub mod disk_file;
pub mod elsewhere;
pub mod environment;
pub mod fetch;
pub mod files;
pub mod image;
pub mod interrupt;
pub mod mirror;
pub mod plant;
pub mod project;
pub mod qemu;
pub mod sandbox;
pub mod scratch;
pub mod store;
pub mod sysfs;
pub mod toolbox;
pub mod walk;
