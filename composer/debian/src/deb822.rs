//! Control files: stanzas of fields.
