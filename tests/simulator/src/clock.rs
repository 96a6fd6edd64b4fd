//! The simulator's clock: the system's, plus an offset that `POST /__sim/clock` moves.
//!
//! INVARIANT: no other module reads a clock; handlers get a [`Now`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

/// An instant, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Now(pub(crate) i64);

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;

impl Now {
    /// RFC 3339 with microseconds, as the API prints times.
    pub(crate) fn rfc3339(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%.6fZ")
    }

    /// Formats with a `chrono` pattern, in UTC.
    pub(crate) fn format(self, pattern: &str) -> String {
        chrono::DateTime::from_timestamp_micros(self.0)
            .unwrap_or_default()
            .format(pattern)
            .to_string()
    }
}

/// The system clock plus an adjustable offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// The current instant, offset included.
    #[expect(
        clippy::disallowed_methods,
        reason = "the simulator is a server of its own; this is its one clock"
    )]
    pub(crate) fn now(&self) -> Now {
        let system = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        Now(system.saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Moves the clock by whole seconds.
    pub(crate) fn advance(&self, seconds: i64) {
        self.offset
            .fetch_add(seconds.saturating_mul(SECOND), Ordering::Relaxed);
    }

    /// Back to the system clock.
    pub(crate) fn reset(&self) {
        self.offset.store(0, Ordering::Relaxed);
    }
}
