//! A cron expression in a time zone: the instants at which it fires.
//!
//! Clocks jump. Where nothing jumps, a schedule fires at every minute at which the clock of its
//! zone shows a match. Around a jump it depends on the hour field:
//!
//! - **With a `*`** (`*`, `*/2`, `1,*/6`) the schedule goes by the clock as shown: it fires at every
//!   instant at which the clock shows a match, so twice within an hour that is repeated and never
//!   within one that is skipped. `*/10 * * * *` stays every ten minutes.
//! - **Without one** the schedule names times of the day, each of which comes once: a local time
//!   that is skipped fires at the first instant after the gap, and one that is repeated at its
//!   first occurrence only. `30 2 * * *` runs every day. Times of one gap, and the one right after
//!   it, are one firing.
//!
//! This is what Vixie cron does (cron(8) as Debian has it, on clock changes), but for three things:
//! there a `*` in the minute field counts too, only jumps of less than three hours are made up for,
//! and each of several skipped times runs. Here the hour field alone decides, and any jump counts,
//! also one over the date line.

use super::expression::Expression;
use super::timezone::{Change, Clock, SPREAD, TimeZones, check_timezone};
use crate::model::Timestamp;

/// How long the next firing is looked for, in minutes: as long as a match of the expression can
/// be away (41 years), and a while for a jump to pass over that one.
const HORIZON: i64 = 42 * 366 * 24 * 60;

/// When something runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    expression: Expression,
    timezone: String,
}

impl Schedule {
    /// Reads a cron expression, in a time zone or in UTC.
    ///
    /// # Errors
    /// One sentence on the expression, or on the form of the zone's name. Whether there is such a
    /// zone shows when it is asked for instants.
    pub fn parse(expression: &str, timezone: Option<&str>) -> Result<Self, String> {
        let expression = Expression::parse(expression)?;
        let timezone = timezone.unwrap_or("UTC");
        check_timezone(timezone)?;
        Ok(Self {
            expression,
            timezone: timezone.to_owned(),
        })
    }

    /// The expression.
    #[must_use]
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The name of the time zone.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// The first firing after `at`, a whole minute; `None` if there is none within 41 years, or no
    /// such time zone.
    ///
    /// Costs at most three questions to `zones` for a firing of the next two days and six for a
    /// later one, and a dozen more for each jump within 52 hours of them.
    #[must_use]
    pub fn next_after(&self, zones: &dyn TimeZones, at: Timestamp) -> Option<Timestamp> {
        let clock = self.clock(zones);
        let mut from = minute_of(at) + 1;
        let horizon = from + HORIZON;
        while from <= horizon {
            let offset = clock.offset(from)?;
            let mut local = from + offset;
            if !self.expression.has_every_hour() {
                let Change {
                    minute: change,
                    offset: before,
                } = clock.last_change(from, offset)?;
                if change == from && self.fires_in_gap(from + before, local) {
                    return Some(instant(from));
                }
                // What the clock has shown before its jump back does not count again.
                local = local.max(change + before);
            }
            let minute = self.expression.first_from(local)? - offset;
            if minute == from {
                return Some(instant(minute));
            }
            let end = clock.next_change(from, offset)?;
            if minute < end.minute {
                return Some(instant(minute));
            }
            // Without a jump until then, no clock can show the match earlier than this.
            from = if end.offset == offset {
                end.minute.max(minute - SPREAD)
            } else {
                end.minute
            };
        }
        None
    }

    /// The last firing after `after` and not after `until`; `None` if there is none, or no such
    /// time zone.
    ///
    /// Costs two questions to `zones`, and a dozen more within 52 hours of a jump.
    #[must_use]
    pub fn latest(
        &self,
        zones: &dyn TimeZones,
        after: Timestamp,
        until: Timestamp,
    ) -> Option<Timestamp> {
        self.firings_back(zones, after, until).next()
    }

    /// The firings after `after` and not after `until`, latest first. Asks `zones` only where there
    /// is no firing for a day.
    pub(super) fn firings_back<'a>(
        &'a self,
        zones: &'a dyn TimeZones,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let mut firings = FiringsBack {
            expression: &self.expression,
            clock: self.clock(zones),
            after: minute_of(after),
            until: minute_of(until),
            stretch: None,
        };
        std::iter::from_fn(move || firings.next().map(instant))
    }

    fn clock<'a>(&'a self, zones: &'a dyn TimeZones) -> Clock<'a> {
        Clock {
            zones,
            timezone: &self.timezone,
        }
    }

    /// Whether a local time from `from`, which was skipped, to before `to` matches.
    fn fires_in_gap(&self, from: i64, to: i64) -> bool {
        self.expression
            .first_from(from)
            .is_some_and(|local| local < to)
    }
}

/// A time over which a clock runs on without a jump.
#[derive(Clone, Copy)]
struct Stretch {
    /// Its first minute.
    start: i64,
    /// The offset of the clock before it, if that is known to differ, and during it.
    before: i64,
    offset: i64,
}

/// The firings of a schedule, latest first.
struct FiringsBack<'a> {
    expression: &'a Expression,
    clock: Clock<'a>,
    /// Minutes: what is looked at is after the one and not after the other.
    after: i64,
    until: i64,
    /// That in which `until` lies, once it was looked for.
    stretch: Option<Stretch>,
}

impl FiringsBack<'_> {
    fn next(&mut self) -> Option<i64> {
        while self.until > self.after {
            let stretch = self.stretch()?;
            let Stretch {
                start,
                before,
                offset,
            } = stretch;
            let local = self.expression.last_until(self.until + offset)?;
            let by_the_clock = self.expression.has_every_hour();
            // What the clock has shown before its jump back does not count again.
            let repeated_until = if by_the_clock {
                start + offset
            } else {
                start + offset.max(before)
            };
            if local >= repeated_until {
                return self.fire(local - offset, start);
            }
            // A match within the gap before this stretch; in a repeated hour there is none.
            if !by_the_clock && (start + before..start + offset).contains(&local) {
                return self.fire(start, start);
            }
            self.stretch = None;
            self.until = if before == offset {
                // Without a jump, no clock can show the match later than this.
                (start - 1).min(local - offset + SPREAD)
            } else {
                start - 1
            };
        }
        None
    }

    fn fire(&mut self, minute: i64, start: i64) -> Option<i64> {
        self.until = minute - 1;
        if self.until < start {
            self.stretch = None;
        }
        (minute > self.after).then_some(minute)
    }

    /// The stretch in which `until` lies, as far back as was looked.
    fn stretch(&mut self) -> Option<Stretch> {
        if self.stretch.is_none() {
            let offset = self.clock.offset(self.until)?;
            let change = self.clock.last_change(self.until, offset)?;
            self.stretch = Some(Stretch {
                start: change.minute,
                before: change.offset,
                offset,
            });
        }
        self.stretch
    }
}

/// The minute of an instant, from the Unix epoch; what is within it does not count.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.unix_ms().div_euclid(60_000)
}

fn instant(minute: i64) -> Timestamp {
    Timestamp::from_unix_ms(minute.saturating_mul(60_000))
}
