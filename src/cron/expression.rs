//! Five cron fields, and the local times they match.
//!
//! Local time is counted here in minutes from 1970-01-01T00:00 on a clock that never jumps; what
//! time zones make of it is the matter of [`super::Schedule`].

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::model::quoted;

/// Minutes of a day on a clock that does not jump.
const DAY: i64 = 24 * 60;

/// How far the next match may be away: 29 February falls on a Sunday every 28 years, and after 40
/// where the last year of a century is no leap year (2088, 2128).
const HORIZON: Days = Days::new(41 * 366);

/// A cron expression of five fields: minute, hour, day of the month, month, day of the week.
///
/// The language is that of crontab(5) without its additions: each field is a list, separated by
/// commas, of `*`, values and ranges `a-b`. Each may have a step `/n`; a single value with a step
/// runs to the field's end. Months and days of the week also go by the first three letters of
/// their English names, in any case. Sunday is 0 and 7.
///
/// As in crontab(5), a day must match both day fields, unless both are restricted (have no `*`):
/// then one of them is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    // Bit n of each stands for the value n.
    minutes: u64,
    hours: u64,
    days_of_month: u64,
    months: u64,
    days_of_week: u64,
    has_every_hour: bool,
    one_day_field_is_enough: bool,
}

struct Field {
    name: &'static str,
    first: usize,
    /// Where `*` and a value with a step end.
    last: usize,
    max: usize,
    words: &'static [&'static str],
}

const MINUTE: Field = field("minute", 0, 59, &[]);
const HOUR: Field = field("hour", 0, 23, &[]);
const DAY_OF_MONTH: Field = field("day of the month", 1, 31, &[]);
const MONTH: Field = field(
    "month",
    1,
    12,
    &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
);
const DAY_OF_WEEK: Field = Field {
    max: 7,
    ..field(
        "day of the week",
        0,
        6,
        &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    )
};

const fn field(
    name: &'static str,
    first: usize,
    last: usize,
    words: &'static [&'static str],
) -> Field {
    Field {
        name,
        first,
        last,
        max: last,
        words,
    }
}

impl Field {
    /// The set of values that `text` names.
    fn parse(&self, text: &str) -> Result<u64, String> {
        let mut values = 0;
        for item in text.split(',') {
            values |= self
                .item(item)
                .ok_or_else(|| format!("{} is no {} of a schedule.", quoted(text), self.name))?;
        }
        Ok(values)
    }

    fn item(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            None => {
                let value = self.value(range)?;
                let end = step.map_or(value, |_| self.last.max(value));
                (value, end)
            }
        };
        let values = (from..=to).step_by(step.unwrap_or(1));
        (from <= to).then(|| values.fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<usize> {
        let word = |word: &&str| word.eq_ignore_ascii_case(text);
        match self.words.iter().position(word) {
            Some(at) => Some(self.first + at),
            None => number(text).filter(|value| (self.first..=self.max).contains(value)),
        }
    }
}

/// Decimal digits only: no sign.
fn number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl Expression {
    /// Reads five fields between white space.
    ///
    /// # Errors
    /// One sentence that names the field which is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, date, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "{} has {} fields; a schedule has five: minute, hour, day of the month, month, day of the week.",
                quoted(text),
                fields.len()
            ));
        };
        let mut expression = Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days_of_month: DAY_OF_MONTH.parse(date)?,
            months: MONTH.parse(month)?,
            days_of_week: DAY_OF_WEEK.parse(weekday)?,
            has_every_hour: hour.contains('*'),
            one_day_field_is_enough: !date.contains('*') && !weekday.contains('*'),
        };
        // Sunday is bit 0, whichever way it was written.
        expression.days_of_week |= expression.days_of_week >> 7;
        expression.days_of_week &= 0x7f;
        Ok(expression)
    }

    /// Whether no day matches, ever: `0 0 30 2 *` names a day that February does not have.
    #[must_use]
    pub fn never_fires(&self) -> bool {
        // Every date there is, 29 February included, falls on each day of the week in some year.
        let longest = |month: u32| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let has_date = |month| {
            (1..=longest(month)).any(|day| has(self.days_of_month, day)) && has(self.months, month)
        };
        !self.one_day_field_is_enough && !(1..=12).any(has_date)
    }

    /// Whether the hour field has a `*`, with or without a step.
    pub(super) fn has_every_hour(&self) -> bool {
        self.has_every_hour
    }

    /// The first match at or after `local`, within the 41 years that decide whether there is one.
    pub(super) fn first_from(&self, local: i64) -> Option<i64> {
        let day = date(local)?;
        if self.matches_day(day)
            && let Some(time) = self.time_from(local.rem_euclid(DAY))
        {
            return Some(start(day) + time);
        }
        let mut day = day.succ_opt()?;
        let horizon = day.checked_add_days(HORIZON)?;
        while !self.matches_day(day) {
            day = if has(self.months, day.month()) {
                day.succ_opt()?
            } else {
                day.with_day(1)?.checked_add_months(Months::new(1))?
            };
            if day > horizon {
                return None;
            }
        }
        Some(start(day) + self.time_from(0)?)
    }

    /// The last match at or before `local`, within as many years.
    pub(super) fn last_until(&self, local: i64) -> Option<i64> {
        let day = date(local)?;
        if self.matches_day(day)
            && let Some(time) = self.time_until(local.rem_euclid(DAY))
        {
            return Some(start(day) + time);
        }
        let mut day = day.pred_opt()?;
        let horizon = day.checked_sub_days(HORIZON)?;
        while !self.matches_day(day) {
            day = if has(self.months, day.month()) {
                day.pred_opt()?
            } else {
                day.with_day(1)?.pred_opt()?
            };
            if day < horizon {
                return None;
            }
        }
        Some(start(day) + self.time_until(DAY - 1)?)
    }

    fn matches_day(&self, day: NaiveDate) -> bool {
        let of_month = has(self.days_of_month, day.day());
        let of_week = has(self.days_of_week, day.weekday().num_days_from_sunday());
        has(self.months, day.month())
            && if self.one_day_field_is_enough {
                of_month || of_week
            } else {
                of_month && of_week
            }
    }

    /// The first matching minute of the day at or after minute `from`.
    fn time_from(&self, from: i64) -> Option<i64> {
        let (hour, minute) = (from / 60, from % 60);
        let in_hour = self.minutes >> minute;
        if self.hours >> hour & 1 == 1 && in_hour != 0 {
            return Some(from + i64::from(in_hour.trailing_zeros()));
        }
        let later = self.hours >> (hour + 1);
        let hour = hour + 1 + i64::from(later.trailing_zeros());
        (later != 0).then(|| hour * 60 + i64::from(self.minutes.trailing_zeros()))
    }

    /// The last matching minute of the day at or before minute `until`.
    fn time_until(&self, until: i64) -> Option<i64> {
        let (hour, minute) = (until / 60, until % 60);
        let in_hour = self.minutes & u64::MAX >> (63 - minute);
        if self.hours >> hour & 1 == 1 && in_hour != 0 {
            return Some(hour * 60 + i64::from(in_hour.ilog2()));
        }
        let earlier = self.hours & ((1 << hour) - 1);
        (earlier != 0).then(|| i64::from(earlier.ilog2()) * 60 + i64::from(self.minutes.ilog2()))
    }
}

fn has(set: u64, value: u32) -> bool {
    set >> value & 1 == 1
}

fn date(local: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(local.div_euclid(DAY)).ok()?)
}

fn start(day: NaiveDate) -> i64 {
    i64::from(day.to_epoch_days()) * DAY
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn parse(text: &str) -> Expression {
        Expression::parse(text).unwrap()
    }

    fn local(text: &str) -> i64 {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
        time.and_utc().timestamp() / 60
    }

    fn shown(local: Option<i64>) -> String {
        local.map_or("never".to_owned(), |local| {
            let time = chrono::DateTime::from_timestamp(local * 60, 0).unwrap();
            time.format("%Y-%m-%d %H:%M").to_string()
        })
    }

    #[test]
    fn expressions_have_five_fields_within_their_ranges() {
        for good in [
            "0 3 * * *",
            "*/5 0-6,12 1 jan-mar MON",
            "59 23 31 12 7",
            "  0  0 1-31/2 * 0 ",
            "0/7 */99 *,1 feb/2 5-7",
        ] {
            assert!(Expression::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "*/ * * * *",
            "*/+5 * * * *",
            "*/99999999999999999999 * * * *",
            "5-1 * * * *",
            "1- * * * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "*-5 * * * *",
            "a * * * *",
            "jan * * * *",
            "1,,2 * * * *",
            "@daily",
            "+5 * * * *",
            "? * * * *",
            "* * L * *",
            "* * * * mon#2",
            "* * * * fri-sun",
        ] {
            assert!(Expression::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_names_the_field() {
        for (text, expected) in [
            (
                "0 3 * *",
                "\"0 3 * *\" has 4 fields; a schedule has five: minute, hour, day of the month, month, day of the week.",
            ),
            ("60 * * * *", "\"60\" is no minute of a schedule."),
            ("0 1,24 * * *", "\"1,24\" is no hour of a schedule."),
            ("0 0 32 * *", "\"32\" is no day of the month of a schedule."),
            ("0 0 * x *", "\"x\" is no month of a schedule."),
            ("0 0 * * 8", "\"8\" is no day of the week of a schedule."),
        ] {
            assert_eq!(Expression::parse(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn different_spellings_mean_the_same() {
        for (text, same) in [
            ("*/15 0 1 1 *", "0,15,30,45 0 1 1 *"),
            ("5/20 0 1 1 *", "5,25,45 0 1 1 *"),
            ("10-30/20 0 1 1 *", "10,30 0 1 1 *"),
            ("*/99 0 1 1 *", "0 0 1 1 *"),
            ("00 09 01 01 *", "0 9 1 1 *"),
            ("0 0 1 JAN,Feb-apr *", "0 0 1 1,2,3,4 *"),
            ("0 0 1 oct/1 *", "0 0 1 10-12 *"),
            ("0 0 1 1 sun", "0 0 1 1 7"),
            ("0 0 1 1 0", "0 0 1 1 7"),
            ("0 0 1 1 5-7", "0 0 1 1 fri,sat,sun"),
            ("0 0 1 1 4/2", "0 0 1 1 4,6"),
            ("0 0 1 1 7/2", "0 0 1 1 7"),
            ("0 0 1 1 */7", "0 0 1 1 */9"),
        ] {
            assert_eq!(parse(text), parse(same), "{text}");
        }
    }

    #[test]
    fn a_day_that_no_month_has_never_comes() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 feb */2"] {
            assert!(parse(text).never_fires(), "{text}");
            assert_eq!(parse(text).first_from(0), None, "{text}");
            assert_eq!(parse(text).last_until(0), None, "{text}");
        }
        for text in [
            "0 0 29 2 *",
            "0 0 29 2 */6",
            "0 0 31 2,3 *",
            // Restricted both, so every Monday of February will do.
            "0 0 30 2 1",
            "0 0 30 */2 *",
        ] {
            assert!(!parse(text).never_fires(), "{text}");
            assert!(parse(text).first_from(0).is_some(), "{text}");
        }
    }

    #[test]
    fn the_nearest_match_is_found_in_both_directions() {
        for (text, at, first, last) in [
            (
                "* * * * *",
                "2026-11-01 12:00",
                "2026-11-01 12:00",
                "2026-11-01 12:00",
            ),
            (
                "59 * * * *",
                "2026-11-01 12:00",
                "2026-11-01 12:59",
                "2026-11-01 11:59",
            ),
            (
                "0 0 * * *",
                "2026-11-01 12:00",
                "2026-11-02 00:00",
                "2026-11-01 00:00",
            ),
            (
                "59 23 * * *",
                "2026-12-31 23:58",
                "2026-12-31 23:59",
                "2026-12-30 23:59",
            ),
            (
                "30 9 * * mon-fri",
                "2026-11-07 12:00",
                "2026-11-09 09:30",
                "2026-11-06 09:30",
            ),
            (
                "0 0 31 * *",
                "2026-11-15 00:00",
                "2026-12-31 00:00",
                "2026-10-31 00:00",
            ),
            (
                "0 6 29 2 *",
                "2026-11-01 12:00",
                "2028-02-29 06:00",
                "2024-02-29 06:00",
            ),
            // A step from `*` is no restriction: Mondays with an odd date, not either.
            (
                "0 0 */2 * 1",
                "2026-11-01 12:00",
                "2026-11-09 00:00",
                "2026-10-19 00:00",
            ),
            (
                "0 0 13 * 5",
                "2026-11-01 12:00",
                "2026-11-06 00:00",
                "2026-10-30 00:00",
            ),
            (
                "0 0 13 * 5",
                "2026-12-12 12:00",
                "2026-12-13 00:00",
                "2026-12-11 00:00",
            ),
        ] {
            let at = local(at);
            assert_eq!(shown(parse(text).first_from(at)), first, "{text}");
            assert_eq!(shown(parse(text).last_until(at)), last, "{text}");
        }
    }

    #[test]
    fn a_leap_day_is_found_over_forty_years() {
        // A step from `*` is no restriction, so it must be a 29 February and a Sunday.
        let sunday = parse("0 0 29 2 */7");
        let (before, after) = (local("2088-03-01 00:00"), local("2128-02-28 00:00"));
        assert_eq!(shown(sunday.first_from(before)), "2128-02-29 00:00");
        assert_eq!(shown(sunday.last_until(after)), "2088-02-29 00:00");
    }

    #[test]
    fn times_beyond_the_calendar_match_nothing() {
        for at in [i64::MIN, i64::MIN / DAY, i64::MAX / DAY, i64::MAX] {
            assert_eq!(parse("0 0 1 1 *").first_from(at), None);
            assert_eq!(parse("0 0 1 1 *").last_until(at), None);
        }
    }
}
