//! The command `goni-compose`.

fn main() {}
