//! The stages of a build, one module each.

pub mod configure;
pub mod initrd;
pub mod overlay;
pub mod state;
pub mod unpack;
