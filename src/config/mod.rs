//! The configuration document: its schema, its reading with errors that name line and field, what
//! it says about itself, and what an apply would change.
//!
//! Nothing here asks the upstream anything or stores anything: the caller looks names up and hands
//! the answers in as [`Resolution`].
//!
//! INVARIANT: what [`read`] and [`validate`] accept, written as JSON or TOML, is read again as the
//! same document.

mod conditions;
pub mod document;
mod plan;
mod problem;
mod provider;
mod read;
mod resolution;
mod toml_form;
mod toml_text;
mod tree;
mod validate;
mod words;

pub use conditions::{Condition, conditions_of};
pub use plan::{Action, Change, ChangeKind, plan};
pub use problem::{Problem, ReadError};
pub use provider::Provider;
pub use read::{Format, Source, read};
pub use resolution::{AccountRef, Name, Names, Resolution, Title, ZoneRef, names_to_resolve};
pub use toml_form::to_toml;
pub use validate::validate;
pub use words::{is_repository, is_secret_name};

/// The longest document that is accepted, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;
