//! Time-ordered numbers of audit entries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Timestamp;

/// 2026-01-01T00:00:00Z, the instant from which entry numbers count, in Unix milliseconds.
const EPOCH_MS: i64 = 1_767_225_600_000;
/// Numbers available in one millisecond: 13 bits. With 53 bits in all they last until 2060.
const PER_MS: i64 = 1 << 13;

/// The number of an audit entry: its millisecond, then a counter. Ordered by time and below 2^53,
/// so that D1, which binds numbers as JavaScript does, keeps it exact. In JSON it is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(i64);

impl EntryId {
    /// The smallest number an entry of `time` can have.
    #[must_use]
    pub const fn first_of(time: Timestamp) -> Self {
        let ms = time.unix_ms() - EPOCH_MS;
        Self(if ms < 0 { 0 } else { ms * PER_MS })
    }

    /// The number as stored.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// A number read back from the store.
    #[must_use]
    pub const fn from_stored(value: i64) -> Self {
        Self(value)
    }

    /// The millisecond the number was taken in.
    #[must_use]
    pub const fn time(self) -> Timestamp {
        Timestamp::from_unix_ms(self.0 / PER_MS + EPOCH_MS)
    }
}

/// Hands out entry numbers, each larger than the last.
///
/// One lives in each isolate. Isolates start at random places within a millisecond, so two seldom
/// meet; when they do, the store's primary key says so and the caller takes another number.
#[derive(Debug, Default)]
pub struct EntryIds {
    last: i64,
}

impl EntryIds {
    /// The next number at `now`; `random` chooses the place within the millisecond.
    pub fn next(&mut self, now: Timestamp, random: u16) -> EntryId {
        // The upper half is left to calls of the same millisecond that come after.
        let fresh = EntryId::first_of(now).0 + i64::from(random) % (PER_MS / 2);
        self.last = fresh.max(self.last.saturating_add(1));
        EntryId(self.last)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u64>()
            .map(|value| Self(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_tell_their_time() {
        let now = Timestamp::from_unix_ms(EPOCH_MS + 5);
        let mut ids = EntryIds::default();
        let first = ids.next(now, u16::MAX);
        let second = ids.next(now, 0);
        let earlier_clock = ids.next(now.plus_ms(-3), 0);
        assert!(first < second && second < earlier_clock);
        assert_eq!(first.time(), now);
        assert!(first >= EntryId::first_of(now) && first < EntryId::first_of(now.plus_ms(1)));
    }

    #[test]
    fn numbers_stay_below_2_to_the_53_until_2060() {
        let last = "2060-01-01T00:00:00Z".parse().unwrap();
        assert!(EntryId::first_of(last).get() < 1 << 53);
    }
}
