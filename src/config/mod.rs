//! The configuration document: its schema, its reading with errors that name line and field, what
//! it says about itself, and what an apply would change.

pub mod document;
