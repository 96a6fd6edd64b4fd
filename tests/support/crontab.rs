//! Cron the slow way: expressions made at random, and an oracle that walks through every minute.

use chrono::{DateTime, Datelike, Timelike};
use zonekeeper::cron::TimeZones;
use zonekeeper::model::Timestamp;

/// Marsaglia's xorshift generator: the same numbers every time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    pub(crate) fn minutes(&mut self, first: u64, last: u64) -> i64 {
        i64::try_from(self.between(first, last)).unwrap()
    }
}

/// One field as it is written and as it is meant, so that the oracle needs no parser.
struct MadeField {
    text: String,
    values: u64,
}

impl MadeField {
    /// One item, or two in a list.
    fn new(dice: &mut Dice, first: u64, last: u64, words: &[&str]) -> Self {
        let (mut text, mut values) = Self::item(dice, first, last, words);
        if dice.below(4) == 0 {
            let (more, others) = Self::item(dice, first, last, words);
            text = format!("{text},{more}");
            values |= others;
        }
        Self { text, values }
    }

    fn item(dice: &mut Dice, first: u64, last: u64, words: &[&str]) -> (String, u64) {
        let (a, b) = (dice.between(first, last), dice.between(first, last));
        let (low, high) = (a.min(b), a.max(b));
        let step = dice.between(1, 9);
        let named = words.get(usize::try_from(low - first).unwrap());
        let value = named.map_or(low.to_string(), |word| (*word).to_owned());
        let (text, low, high, step) = match dice.below(9) {
            0..=2 => ("*".to_owned(), first, last, 1),
            3 => (format!("*/{step}"), first, last, step),
            4 | 5 => (value, low, low, 1),
            6 => (format!("{value}/{step}"), low, last, step),
            7 => (format!("{value}-{high}"), low, high, 1),
            _ => (format!("{low}-{high}/{step}"), low, high, step),
        };
        let meant = |value: &u64| (value - low).is_multiple_of(step);
        let values = (low..=high)
            .filter(meant)
            .fold(0, |set, value| set | 1 << value);
        (text, values)
    }

    fn has_star(&self) -> bool {
        self.text.contains('*')
    }

    fn has(&self, value: u32) -> bool {
        self.values >> value & 1 == 1
    }
}

/// An expression made at random.
pub(crate) struct MadeExpression([MadeField; 5]);

impl MadeExpression {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        // Clocks jump early in the day and in few months: half of the jobs name such hours only,
        // and most come round on many days.
        let last_hour = [4, 23][usize::try_from(dice.below(2)).unwrap()];
        let every = || MadeField {
            text: "*".to_owned(),
            values: u64::MAX,
        };
        let (any_day, any_month, any_weekday) = (every(), every(), every());
        let minute = MadeField::new(dice, 0, 59, &[]);
        let hour = MadeField::new(dice, 0, last_hour, &[]);
        let hour = if hour.has_star() || hour.text.contains('/') {
            MadeField::new(dice, 0, 23, &[])
        } else {
            hour
        };
        let month_words = ["jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug"];
        let weekday_words = ["sun", "MON", "tue", "wed", "thu", "Fri", "sat"];
        let day = MadeField::new(dice, 1, 31, &[]);
        let month = MadeField::new(dice, 1, 12, &month_words);
        let weekday = MadeField::new(dice, 0, 6, &weekday_words);
        Self([
            minute,
            hour,
            if dice.below(2) == 0 { any_day } else { day },
            if dice.below(3) > 0 { any_month } else { month },
            if dice.below(2) == 0 {
                any_weekday
            } else {
                weekday
            },
        ])
    }

    pub(crate) fn text(&self) -> String {
        self.0.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    fn names_hours(&self) -> bool {
        !self.0[1].has_star()
    }

    /// The rule of crontab(5).
    fn matches(&self, shown: &Shown) -> bool {
        let [minute, hour, day, month, weekday] = &self.0;
        let fits_day = if day.has_star() || weekday.has_star() {
            day.has(shown.day) && weekday.has(shown.weekday)
        } else {
            day.has(shown.day) || weekday.has(shown.weekday)
        };
        minute.has(shown.minute) && hour.has(shown.hour) && month.has(shown.month) && fits_day
    }
}

/// What a clock and a calendar on the wall show.
struct Shown {
    minute: u32,
    hour: u32,
    day: u32,
    month: u32,
    weekday: u32,
}

/// The clock of one zone at every minute of some time.
pub(crate) struct Wall {
    pub(crate) zone: &'static str,
    /// The first and the last minute, from the Unix epoch.
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The minutes at which the clock jumps.
    pub(crate) jumps: Vec<i64>,
    /// The local minute at each minute, from two days before `start`.
    locals: Vec<i64>,
    /// What is shown at each local minute, from `calendar_start`.
    calendar: Vec<Shown>,
    calendar_start: i64,
}

const TWO_DAYS: i64 = 2 * 24 * 60;

impl Wall {
    pub(crate) fn new(
        zone: &'static str,
        zones: &dyn TimeZones,
        start: Timestamp,
        end: Timestamp,
    ) -> Self {
        let (start, end) = (start.unix_ms() / 60_000, end.unix_ms() / 60_000);
        let locals: Vec<i64> = (start - TWO_DAYS..=end)
            .map(|minute| {
                let at = Timestamp::from_unix_ms(minute * 60_000);
                minute + i64::from(zones.utc_offset_secs(zone, at).unwrap().div_euclid(60))
            })
            .collect();
        let jumps = (start - TWO_DAYS + 1..)
            .zip(locals.windows(2))
            .filter(|(_, pair)| pair[1] != pair[0] + 1)
            .map(|(minute, _)| minute)
            .collect();
        let calendar_start = start - 2 * TWO_DAYS;
        let calendar = (calendar_start..end + TWO_DAYS)
            .map(|local| {
                let time = DateTime::from_timestamp(local * 60, 0).unwrap();
                Shown {
                    minute: time.minute(),
                    hour: time.hour(),
                    day: time.day(),
                    month: time.month(),
                    weekday: time.weekday().num_days_from_sunday(),
                }
            })
            .collect();
        Self {
            zone,
            start,
            end,
            jumps,
            locals,
            calendar,
            calendar_start,
        }
    }

    /// The minutes after `start` at which an expression fires.
    ///
    /// With a `*` for the hour, whenever the clock shows a match. Otherwise whenever the clock
    /// reaches or passes a match for the first time.
    pub(crate) fn firings(&self, made: &MadeExpression) -> Vec<i64> {
        let matches = |local: i64| {
            let at = usize::try_from(local - self.calendar_start).unwrap();
            made.matches(&self.calendar[at])
        };
        let mut firings = Vec::new();
        let mut latest_shown = self.locals[0];
        for (minute, local) in (self.start - TWO_DAYS..).zip(&self.locals) {
            let fires = if made.names_hours() {
                (latest_shown + 1..=*local).any(matches)
            } else {
                matches(*local)
            };
            latest_shown = latest_shown.max(*local);
            if fires && minute > self.start {
                firings.push(minute);
            }
        }
        firings
    }
}
