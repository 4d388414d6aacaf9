//! The stages of a build, one module each.

pub mod configure;
pub mod fetch;
pub mod toolbox;
pub mod unpack;
