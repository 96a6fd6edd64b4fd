//! What runs need of the platform besides the world of a call.

use crate::gateway::World;
use crate::model::RunId;

/// A blob store or a queue failed. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlatformError(pub String);

/// A question to an address of the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe<'a> {
    /// The address, `https` unless Cloudflare is simulated on this machine.
    pub url: &'a str,
    /// Headers that go along.
    pub headers: &'a [(&'a str, &'a str)],
    /// What is posted; it is a GET without.
    pub body: Option<&'a str>,
    /// Host names that may be asked, with all below them, besides those the configuration lists.
    pub besides: &'a [&'a str],
    /// Bytes of the answer that are read at the most.
    pub cap: usize,
    /// Milliseconds until the whole answer must have come.
    pub deadline_ms: u32,
}

/// What an address answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The status.
    pub status: u16,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Blobs, the queue of runs, time zones, and how much of an invocation is used up.
///
/// Its [`crate::upstream::Upstream::relay`] sends the body the relay holds, as no caller's request
/// stands behind a run.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Platform: World {
    /// Stores a blob under a key, in place of what was there; for `keep_secs` (at least 60) where given.
    ///
    /// # Errors
    /// [`PlatformError`]; it may have been stored all the same.
    async fn put_blob(
        &self,
        key: &str,
        bytes: Vec<u8>,
        keep_secs: Option<u32>,
    ) -> Result<(), PlatformError>;

    /// Reads a blob; `None` when there is none, or not yet: copies may be stale.
    ///
    /// # Errors
    /// [`PlatformError`] when it cannot be read.
    async fn blob(&self, key: &str) -> Result<Option<Vec<u8>>, PlatformError>;

    /// Deletes a blob; harmless when there is none.
    ///
    /// # Errors
    /// [`PlatformError`]; it may have been deleted all the same.
    async fn delete_blob(&self, key: &str) -> Result<(), PlatformError>;

    /// Sends the ids of runs to the queue, to be delivered after `delay_secs` (at most 12 h).
    ///
    /// # Errors
    /// [`PlatformError`]; some may have been sent all the same. The sweeper sends them again.
    async fn enqueue(&self, runs: &[RunId], delay_secs: u32) -> Result<(), PlatformError>;

    /// Asks an address of the web what it answers: no redirect is followed, and no credential of ours for
    /// Cloudflare goes along.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn probe(&self, probe: &Probe<'_>) -> Result<Probed, String>;

    /// Unpacks what was deflated (RFC 1951), at most `cap` bytes; `None` when it cannot be.
    async fn inflate(&self, deflated: &[u8], cap: usize) -> Option<Vec<u8>>;

    /// Subrequests this invocation has made so far: D1, fetch, KV and queue calls.
    fn subrequests(&self) -> u32;

    /// The header `Ratelimit` of an answer, where it has one.
    fn rate_limit(&self, response: &Self::Response) -> Option<String>;
}
