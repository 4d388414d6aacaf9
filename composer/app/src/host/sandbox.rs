//! Namespaces: where foreign programs run.
