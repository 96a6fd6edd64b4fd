//! The record of every call: what is written down, in which words, and how an open end is closed.
//!
//! Owns the entries and their vocabulary. The rows themselves are the store's.
//! INVARIANT: a write's intent is stored before it is sent, and no row is ever changed.

mod action;
mod entry;
mod read_back;
mod sentence;
mod who;

pub use action::{Action, describe};
pub use entry::{Entry, Event, Intent, JoinedRow, OutcomeRow, What, Who};
pub use read_back::{ReadBack, Verdict};
pub use who::{delivery_credential, key_credential, login_credential, token_credential};

/// Milliseconds after which an intent without an outcome has lost its call: a write is sent within
/// 4 s of its intent, headers come within 30 s, and what follows takes 5 s at the most.
pub const ABANDONED_AFTER_MS: i64 = 45_000;
