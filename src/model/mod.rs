//! Values that are valid once constructed: identifiers, instants, names, secrets, JSON and forms.
//!
//! Nothing here does I/O or reads a clock. Every constructor refuses what is malformed, so code
//! that holds one of these types needs no second check.

pub mod base64;
pub mod base64url;
mod entry_id;
mod field_path;
pub mod form;
mod hex;
mod id;
pub mod json;
mod nearest;
mod pointer;
mod quoted;
mod record_name;
mod record_pattern;
mod secret;
mod shown;
mod sort;
mod timestamp;
pub mod typed;
mod web_url;

pub use entry_id::{EntryId, EntryIds};
pub use field_path::{At, FieldPath, Step};
pub use hex::hex;
pub use id::{AccountId, InvalidId, RunId, SnapshotId, ZoneId};
pub use nearest::{edits, nearest};
pub use pointer::{is_pointer, pointed};
pub use quoted::quoted;
pub(crate) use record_name::is_within;
pub use record_name::{InvalidName, RecordName};
pub use record_pattern::{InvalidPattern, RecordPattern};
pub use secret::Secret;
pub use shown::sanitised;
pub use sort::sort_by;
pub use timestamp::Timestamp;
#[cfg(target_arch = "wasm32")]
pub use web_url::{Parser, install_parser};
pub use web_url::{WebUrl, host_to_ascii};
