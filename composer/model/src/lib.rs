//! The nouns of goni-compose: units, recipe, target, overlay, lock, layout, plan, report.
//!
//! Nothing here touches a file, a clock or a process, and nothing here decides: values, their
//! parsing, their checking and their text form. Deciding is the business of `goni-compose`.

pub mod arch;
pub mod digest;
pub mod document;
pub mod gpu;
pub mod layout;
pub mod lock;
pub mod modules;
pub mod name;
pub mod number;
pub mod overlay;
pub mod plan;
pub mod policy;
pub mod port;
pub mod recipe;
pub mod report;
pub mod rules;
pub mod size;
pub mod target;
pub mod time;
