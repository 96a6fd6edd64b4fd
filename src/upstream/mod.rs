//! The Cloudflare v4 API as seen from here: how a call to it ends, what its answers look like, and
//! what must never come back through us.
//!
//! Owns the traits [`Client`] and [`Upstream`], which `edge` implements with fetch, and everything that reads an
//! answer. It knows neither callers nor grants.

mod envelope;
mod leak;
mod outcome;
mod rate_limit;
mod retry;
mod transport;

pub use envelope::{Envelope, Page, PageInfo, V4Error};
pub use leak::SecretScanner;
pub use outcome::{Outcome, classify};
pub use rate_limit::{RateLimit, read_rate_limits};
pub use retry::{MAX_READ_ATTEMPTS, retry_delay_ms};
pub use transport::{
    Answer, BUFFERED_ANSWER_CAP, Client, DEADLINE_MS, ERROR_BODY_CAP, Exchange, Fault, Head, Relay,
    SHORT_DEADLINE_MS, Upstream,
};
