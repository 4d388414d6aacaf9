//! The stages of a build, one module each.

pub mod board;
pub mod boot;
pub mod configure;
pub mod fetch;
pub mod image;
pub mod initrd;
pub mod modules;
pub mod overlay;
pub mod settings;
mod small_files;
pub mod state;
pub mod toolbox;
pub mod twins;
pub mod unpack;
