//! Version numbers and their order.
