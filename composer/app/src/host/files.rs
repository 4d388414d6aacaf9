//! Single files: read whole, replaced by rename.
