//! The closed table of v4 operations.
