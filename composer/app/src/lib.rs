//! goni-compose: turns a recipe into a disk that boots, and proves it.
//!
//! Deciding is pure; acting is done by [`stages`] through [`host`], the only place with effects;
//! [`verify`] reads the finished bytes back; [`smoke`] boots them; [`cli`] alone owns the terminal.

pub mod archive;
pub mod beside;
pub mod bill;
pub mod build;
pub mod bundle;
pub mod cli;
pub mod diff;
pub mod draft;
pub mod failure;
pub mod host;
pub mod index;
pub mod inspection;
pub mod lock;
pub mod modinfo;
pub mod policy;
pub mod progress;
pub mod project;
pub mod provenance;
pub mod resolve;
pub mod rules;
pub mod shadow;
pub mod sign;
pub mod smoke;
pub mod stages;
pub mod verify;
pub mod workshop;
