//! What the host finds out when a machine is off: what is on its disk, what it sent, whether its file
//! systems are whole.
//!
//! The guest has no say in this. What is read is the run's own: overlays, a raw view of them, captures.
//! Everything in them may have been written by a guest that means ill, so memory, output and time are
//! bounded, and a bound that is met is told as a failure: what was not looked at was not found clean.

pub mod canary;
pub mod capture;
pub mod filesystems;
