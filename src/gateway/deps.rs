//! What the pipeline needs of the world, and what it gives back.

use http::StatusCode;

use super::view::View;
use super::zone_lock::{Lease, LockFault};
use crate::audit::{Event, OutcomeRow};
use crate::cron::TimeZones;
use crate::identity::{Issuers, KeyId, Verifier};
use crate::model::{EntryId, Secret, Timestamp, ZoneId};
use crate::settings::Settings;
use crate::store::Store;
use crate::upstream::{DEADLINE_MS, Outcome, Upstream};

/// Why the caller's body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// More than the cap, also once inflated.
    TooLarge,
    /// It did not come in time.
    TimedOut,
    /// It broke off, or is not in the encoding it claims.
    Broken,
}

/// The Worker's secrets that the configuration names.
pub trait Secrets {
    /// The secret called `name`, where it is set.
    fn secret(&self, name: &str) -> Option<Secret>;
}

/// The world around one call: its body, the upstream, issuers of tokens, the clock.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait World: Upstream + TimeZones + Issuers + Verifier + Secrets {
    /// The time.
    fn now(&self) -> Timestamp;

    /// A number to spread retries with.
    fn jitter(&self) -> u16;

    /// A number for an audit entry of `now`.
    fn entry_id(&self, now: Timestamp) -> EntryId;

    /// The caller's body, inflated if it was compressed, at most `cap` bytes.
    ///
    /// # Errors
    /// [`BodyFault`] when it cannot be had whole.
    async fn caller_body(&self, cap: usize) -> Result<Vec<u8>, BodyFault>;

    /// Waits for the turn at the records of a zone.
    ///
    /// # Errors
    /// [`LockFault`] when it does not come.
    async fn lock_zone(&self, zone: ZoneId) -> Result<Lease, LockFault>;

    /// Gives a turn back. Should that fail, it ends by itself.
    async fn unlock_zone(&self, lease: &Lease);

    /// Stores the events that wait for their batch, so that a query sees them.
    async fn flush_events(&self);

    /// Fills `bytes` with random ones; `false` when there are none to be had.
    fn randomize(&self, bytes: &mut [u8]) -> bool;

    /// Writes a line to the log.
    fn log(&self, line: &str);

    /// A place where a test may break the call; `name` says which.
    #[cfg(feature = "faults")]
    async fn fault_point(&self, name: &str);

    /// Whether this bug is planted, so that a test can show that the tests find it.
    #[cfg(feature = "faults")]
    fn is_planted(&self, _bug: &str) -> bool {
        false
    }
}

/// Everything a call is carried out with.
#[derive(Debug)]
pub struct Gateway<'a, D, W> {
    /// What the Worker was told.
    pub settings: &'a Settings,
    /// What the isolate holds.
    pub view: &'a View,
    /// What is kept.
    pub store: &'a Store<D>,
    /// The world around this call.
    pub world: &'a W,
}

/// What the caller gets.
#[derive(Debug)]
pub enum Reply<R> {
    /// An answer of ours, as JSON.
    Own {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: String,
        /// Its media type.
        content_type: &'static str,
        /// How long to wait, where Cloudflare said so.
        retry_after_secs: Option<u32>,
    },
    /// Cloudflare's answer, with the headers that are handed through.
    Relayed {
        /// The answer.
        response: R,
        /// Its body where we read it; otherwise it is handed through unseen.
        body: Option<Vec<u8>>,
        /// What the header `Zonekeeper-Deprecated` says, where the operation is.
        deprecated: Option<String>,
    },
}

impl<R> Reply<R> {
    /// An answer of ours in JSON.
    #[must_use]
    pub const fn json(status: StatusCode, body: String) -> Self {
        Self::Own {
            status,
            body,
            content_type: "application/json",
            retry_after_secs: None,
        }
    }
}

/// What is written down after the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// How a write ended.
    Outcome(OutcomeRow),
    /// A write whose answer was lost, and that reading back showed to have happened.
    Settled(OutcomeRow),
    /// A read, or a refusal to somebody unknown: recorded in a batch within a second.
    Event(Box<Event>),
    /// A key was used.
    KeyUse(KeyId, Timestamp),
    /// The turn at the records of a zone is over.
    Unlock(Lease),
}

/// A call that was carried out or refused.
#[derive(Debug)]
pub struct Finished<R> {
    /// What the caller gets.
    pub reply: Reply<R>,
    /// What is written down after that.
    pub after: Vec<After>,
}

impl<R> Finished<R> {
    /// Gives back the turn at the records of a zone, unless the call was not answered in time, so that
    /// Cloudflare may be at work on it for a while yet: then the turn ends by itself, when that is over.
    pub(super) fn give_back(&mut self, held: Option<Lease>) {
        let is_late = |row: &OutcomeRow| {
            row.outcome == Outcome::Unknown && row.duration_ms >= i64::from(DEADLINE_MS)
        };
        let mut after = self.after.iter();
        let is_open = after.any(|after| matches!(after, After::Outcome(row) if is_late(row)));
        self.after
            .extend(held.filter(|_| !is_open).map(After::Unlock));
    }
}
