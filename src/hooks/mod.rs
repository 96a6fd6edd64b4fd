//! Webhooks: `POST /hooks/{name}`, and what becomes of a delivery.
//!
//! Owns the order in which a delivery is looked at, which of them start a run, and the answers. Whether
//! it is its sender's is `identity`'s to say; what a run does is `jobs`'s.
//!
//! INVARIANT: a delivery is answered 2xx only once it is stored together with its run, and a delivery, or
//! a body, that is stored starts no second run.

mod alarm;
mod judge;
mod receive;
mod start;

pub use alarm::{missing_secrets, secret_alarms};
pub use start::{Arrived, answer};

/// Where deliveries go, each hook below it by its name.
pub const HOOKS_PREFIX: &str = "/hooks/";
