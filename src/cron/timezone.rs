//! Time zones by name, and the clock on the wall of one.

use crate::model::{Timestamp, quoted};

/// Whoever knows the time zones: the Worker's runtime, or a database in tests.
pub trait TimeZones {
    /// Seconds east of UTC that clocks in `zone` show at `at`; `None`: there is no such zone.
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32>;
}

impl std::fmt::Debug for dyn TimeZones + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TimeZones")
    }
}

/// Whether a text has the form of an IANA time zone's name: `UTC`, `Europe/Berlin`. Offsets such as
/// `+01:00` have not. Whether there is such a zone is known to [`TimeZones`].
///
/// Names follow the rules of the tz database's `theory.html`, with up to three parts.
///
/// # Errors
/// One sentence.
pub fn check_timezone(text: &str) -> Result<(), String> {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+'))
    };
    if text.len() <= 64 && text.split('/').count() <= 3 && text.split('/').all(part) {
        return Ok(());
    }
    Err(format!(
        "{} is no time zone; it is written like \"Europe/Berlin\".",
        quoted(text)
    ))
}

/// The most by which two offsets differ, in minutes (UTC-12 and UTC+14). No clock jumps further.
pub(super) const SPREAD: i64 = 26 * 60;

/// How far around an instant [`Clock`] looks for a change of the offset, in minutes: far enough
/// that what it does not see repeats no time within [`SPREAD`], and not so far that two changes of a
/// zone, which are over four days apart, hide each other.
const REACH: i64 = 2 * SPREAD;

/// The clock on the wall of one time zone, which moves by whole minutes and jumps now and then.
///
/// Instants are minutes from the Unix epoch, offsets minutes east of UTC. Where the clock's offset
/// has seconds (nowhere since 1972) it is taken as going a little slow.
pub(super) struct Clock<'a> {
    pub(super) zones: &'a dyn TimeZones,
    pub(super) timezone: &'a str,
}

/// The nearest change of a clock's offset, if there is one within reach.
pub(super) struct Change {
    /// The first minute of the new offset. Where no change is within reach, a minute up to which
    /// there is none; in the past also none that a repeated time reaches over.
    pub(super) minute: i64,
    /// The offset on its other side; where there is no change, the present one.
    pub(super) offset: i64,
}

impl Clock<'_> {
    /// The offset at an instant; `None`: there is no such zone.
    pub(super) fn offset(&self, minute: i64) -> Option<i64> {
        if self.timezone == "UTC" {
            return Some(0);
        }
        let at = Timestamp::from_unix_ms(minute.saturating_mul(60_000));
        let secs = self.zones.utc_offset_secs(self.timezone, at)?;
        Some(i64::from(secs.div_euclid(60)))
    }

    /// How the clock came to `offset`, which it has at `minute`.
    pub(super) fn last_change(&self, minute: i64, offset: i64) -> Option<Change> {
        let far = minute - REACH;
        let before = self.offset(far)?;
        let minute = if before == offset {
            minute - SPREAD
        } else {
            self.first_without(before, far, minute)?
        };
        Some(Change {
            minute,
            offset: before,
        })
    }

    /// How the clock goes on from `offset`, which it has at `minute`.
    pub(super) fn next_change(&self, minute: i64, offset: i64) -> Option<Change> {
        let far = minute + REACH;
        let after = self.offset(far)?;
        let minute = if after == offset {
            far + 1
        } else {
            self.first_without(offset, minute, far)?
        };
        Some(Change {
            minute,
            offset: after,
        })
    }

    /// The first minute after `with`, where the clock has `offset`, at which it has not; it has not
    /// at `without`.
    fn first_without(&self, offset: i64, mut with: i64, mut without: i64) -> Option<i64> {
        while without - with > 1 {
            let middle = i64::midpoint(with, without);
            if self.offset(middle)? == offset {
                with = middle;
            } else {
                without = middle;
            }
        }
        Some(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names_and_offsets_are_none() {
        for good in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+1",
        ] {
            assert_eq!(check_timezone(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "Europe/",
            "Europe Berlin",
            "+01:00",
            "../etc",
            "a/b/c/d",
        ] {
            assert!(check_timezone(bad).is_err(), "{bad}");
        }
    }
}
