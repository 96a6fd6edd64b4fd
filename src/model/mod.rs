//! Values that are valid once constructed: identifiers, instants, names, secrets.
//!
//! Nothing here does I/O or reads a clock. Every constructor refuses what is malformed, so code
//! that holds one of these types needs no second check.

mod id;
mod timestamp;

pub use id::{AccountId, InvalidId, ZoneId};
pub use timestamp::Timestamp;
