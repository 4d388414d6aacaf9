//! Targets: boards and machines.
