//! Schedules over daylight saving time and ticks that are late, doubled or missing; and a simulated
//! year of 500 jobs against an oracle that walks through every minute.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail the test"
)]

use std::cell::Cell;

use chrono::{DateTime, NaiveDateTime};
use zonekeeper::cron::{Due, MAX_MISSED, Missed, Schedule, TimeZones, due};
use zonekeeper::model::Timestamp;

#[path = "support/crontab.rs"]
mod crontab;
#[path = "support/timezones.rs"]
mod timezones;

use crontab::{Dice, MadeExpression, Wall};
use timezones::ChronoZones;

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
const LORD_HOWE: &str = "Australia/Lord_Howe";

fn schedule(expression: &str, timezone: &str) -> Schedule {
    Schedule::parse(expression, Some(timezone)).unwrap()
}

/// `2027-03-28 02:30`, in UTC.
fn utc(text: &str) -> Timestamp {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
    Timestamp::from_unix_ms(time.and_utc().timestamp_millis())
}

/// The local time in `timezone`, with the offset.
fn shown(at: Timestamp, timezone: &str) -> String {
    let offset = ChronoZones.utc_offset_secs(timezone, at).unwrap();
    let time = DateTime::from_timestamp_millis(at.unix_ms()).unwrap();
    let offset = chrono::FixedOffset::east_opt(offset).unwrap();
    time.with_timezone(&offset)
        .format("%Y-%m-%d %H:%M %:z")
        .to_string()
}

/// The firings between two instants in UTC, both of which may be one, as local times; the same
/// seen forwards, backwards and by `due`.
#[track_caller]
fn check(expression: &str, timezone: &str, from: &str, until: &str, expected: &[&str]) {
    let schedule = schedule(expression, timezone);
    let (before, until) = (utc(from).plus_ms(-1), utc(until));
    let mut forwards = Vec::new();
    let mut at = before;
    while let Some(next) = schedule
        .next_after(&ChronoZones, at)
        .filter(|at| *at <= until)
    {
        forwards.push(next);
        at = next;
    }
    let shown: Vec<String> = forwards.iter().map(|at| shown(*at, timezone)).collect();
    assert_eq!(shown, expected, "{expression} in {timezone}");

    let mut backwards = Vec::new();
    let mut at = until;
    while let Some(latest) = schedule.latest(&ChronoZones, before, at) {
        backwards.insert(0, latest);
        at = latest.plus_ms(-60_000);
    }
    assert_eq!(backwards, forwards, "{expression} in {timezone}, backwards");

    let all = due(&schedule, Missed::RunAll(100), before, until, &ChronoZones);
    assert_eq!(all.slots, forwards, "{expression} in {timezone}, at once");
}

#[test]
fn fixed_hours_fire_once_on_the_day_an_hour_is_skipped() {
    // In Berlin 2027-03-28 has no hour from 02:00 to 03:00.
    let (from, until) = ("2027-03-27 00:00", "2027-03-29 00:00");
    for (expression, expected) in [
        (
            "30 2 * * *",
            ["2027-03-27 02:30 +01:00", "2027-03-28 03:00 +02:00"].as_slice(),
        ),
        (
            "0 3 * * *",
            &["2027-03-27 03:00 +01:00", "2027-03-28 03:00 +02:00"],
        ),
        // Skipped ones and the one after them are one firing.
        (
            "0,30 2,3 28 3 *",
            &["2027-03-28 03:00 +02:00", "2027-03-28 03:30 +02:00"],
        ),
        (
            "59 1-2 28 3 *",
            &["2027-03-28 01:59 +01:00", "2027-03-28 03:00 +02:00"],
        ),
        // Also when the hours named happen to be all of them.
        (
            "45 0-23 28 3 *",
            &[
                "2027-03-28 00:45 +01:00",
                "2027-03-28 01:45 +01:00",
                "2027-03-28 03:00 +02:00",
                "2027-03-28 03:45 +02:00",
            ][..4],
        ),
    ] {
        let until = if expression.starts_with("45") {
            "2027-03-28 02:00"
        } else {
            until
        };
        check(expression, BERLIN, from, until, expected);
    }
}

#[test]
fn fixed_hours_fire_once_on_the_day_an_hour_is_repeated() {
    // In New York 2026-11-01 has the hour from 01:00 to 02:00 twice.
    let (from, until) = ("2026-11-01 04:00", "2026-11-02 05:00");
    for (expression, expected) in [
        ("30 1 1 11 *", ["2026-11-01 01:30 -04:00"].as_slice()),
        ("0 2 1 11 *", &["2026-11-01 02:00 -05:00"]),
        (
            "0 1,2 1 11 *",
            &["2026-11-01 01:00 -04:00", "2026-11-01 02:00 -05:00"],
        ),
        (
            "*/30 1 1 11 *",
            &["2026-11-01 01:00 -04:00", "2026-11-01 01:30 -04:00"],
        ),
    ] {
        check(expression, NEW_YORK, from, until, expected);
    }
}

#[test]
fn every_hour_goes_by_the_clock_as_shown() {
    check(
        "30 * * * *",
        BERLIN,
        "2027-03-28 00:00",
        "2027-03-28 02:00",
        &["2027-03-28 01:30 +01:00", "2027-03-28 03:30 +02:00"],
    );
    check(
        "*/30 * * * *",
        BERLIN,
        "2026-10-25 00:00",
        "2026-10-25 02:00",
        &[
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:30 +02:00",
            "2026-10-25 02:00 +01:00",
            "2026-10-25 02:30 +01:00",
            "2026-10-25 03:00 +01:00",
        ],
    );
    // A step is no less of it: 02:00 is skipped here, and 03:00 is none of its hours.
    check(
        "0 */2 * * *",
        BERLIN,
        "2027-03-28 00:00",
        "2027-03-28 03:00",
        &["2027-03-28 04:00 +02:00"],
    );
    check(
        "15 */2 25 10 *",
        BERLIN,
        "2026-10-25 00:00",
        "2026-10-25 04:00",
        &[
            "2026-10-25 02:15 +02:00",
            "2026-10-25 02:15 +01:00",
            "2026-10-25 04:15 +01:00",
        ],
    );
}

#[test]
fn clocks_that_jump_by_half_an_hour_are_no_different() {
    // Forwards 2026-10-04 02:00 to 02:30, back 2027-04-04 02:00 to 01:30.
    for (expression, from, until, expected) in [
        (
            "15 2 * * *",
            "2026-10-03 12:00",
            "2026-10-04 00:00",
            ["2026-10-04 02:30 +11:00"].as_slice(),
        ),
        (
            "*/15 * * * *",
            "2026-10-03 15:15",
            "2026-10-03 15:45",
            &[
                "2026-10-04 01:45 +10:30",
                "2026-10-04 02:30 +11:00",
                "2026-10-04 02:45 +11:00",
            ],
        ),
        (
            "45 1 * * *",
            "2027-04-03 12:00",
            "2027-04-04 00:00",
            &["2027-04-04 01:45 +11:00"],
        ),
        (
            "45 * * * *",
            "2027-04-03 14:00",
            "2027-04-03 15:30",
            &["2027-04-04 01:45 +11:00", "2027-04-04 01:45 +10:30"],
        ),
    ] {
        check(expression, LORD_HOWE, from, until, expected);
    }
}

#[test]
fn a_midnight_that_does_not_exist_is_the_first_instant_of_the_day() {
    check(
        "0 0 * * *",
        "America/Santiago",
        "2026-09-05 00:00",
        "2026-09-07 12:00",
        &[
            "2026-09-05 00:00 -04:00",
            "2026-09-06 01:00 -03:00",
            "2026-09-07 00:00 -03:00",
        ],
    );
    check(
        "0 0 * * sun",
        "Asia/Beirut",
        "2027-03-27 00:00",
        "2027-03-29 00:00",
        &["2027-03-28 01:00 +03:00"],
    );
    // The repeated 23:00 of the day before belongs to that day.
    check(
        "30 23 * * *",
        "America/Santiago",
        "2027-04-03 12:00",
        "2027-04-05 00:00",
        &["2027-04-03 23:30 -03:00"],
    );
}

#[test]
fn a_day_that_does_not_exist_moves_to_the_next() {
    // Samoa went over the date line: 2011-12-29 was followed by 2011-12-31.
    let (from, until) = ("2011-12-29 10:00", "2011-12-31 10:00");
    for (expression, expected) in [
        (
            "0 9 * * *",
            [
                "2011-12-29 09:00 -10:00",
                "2011-12-31 00:00 +14:00",
                "2011-12-31 09:00 +14:00",
            ]
            .as_slice(),
        ),
        ("0 9 30 * *", &["2011-12-31 00:00 +14:00"]),
        (
            "0 */12 * * *",
            &[
                "2011-12-29 00:00 -10:00",
                "2011-12-29 12:00 -10:00",
                "2011-12-31 00:00 +14:00",
                "2011-12-31 12:00 +14:00",
                "2012-01-01 00:00 +14:00",
            ],
        ),
        ("0 * 30 12 *", &[]),
    ] {
        check(expression, "Pacific/Apia", from, until, expected);
    }
    // Kwajalein went the other way in 1969: the same day, with 23 hours of it again.
    check(
        "0 9 30 9 *",
        "Pacific/Kwajalein",
        "1969-09-29 00:00",
        "1969-10-02 00:00",
        &["1969-09-30 09:00 +11:00"],
    );
    check(
        "0 */9 30 9 *",
        "Pacific/Kwajalein",
        "1969-09-29 00:00",
        "1969-10-02 00:00",
        &[
            "1969-09-30 00:00 +11:00",
            "1969-09-30 09:00 +11:00",
            "1969-09-30 18:00 +11:00",
            "1969-09-30 09:00 -12:00",
            "1969-09-30 18:00 -12:00",
        ],
    );
}

#[test]
fn rare_days_are_found_and_asked_for_only_now_and_then() {
    struct Counting(Cell<u32>);

    impl TimeZones for Counting {
        fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
            self.0.set(self.0.get() + 1);
            ChronoZones.utc_offset_secs(zone, at)
        }
    }

    #[track_caller]
    fn check(expression: &str, at: &str, next: &str, latest: &str, most_questions: u32) {
        let schedule = schedule(expression, BERLIN);
        let zones = Counting(Cell::new(0));
        let found = schedule.next_after(&zones, utc(at)).unwrap();
        assert_eq!(shown(found, BERLIN), next, "{expression}");
        assert!(
            zones.0.get() <= most_questions,
            "{} forwards",
            zones.0.get()
        );
        zones.0.set(0);
        let start = Timestamp::from_unix_ms(0);
        let found = schedule.latest(&zones, start, utc(at)).unwrap();
        assert_eq!(shown(found, BERLIN), latest, "{expression}");
        assert!(zones.0.get() <= most_questions, "{} back", zones.0.get());
    }

    for (expression, next, latest, most_questions) in [
        (
            "* * * * *",
            "2026-11-22 13:01 +01:00",
            "2026-11-22 13:00 +01:00",
            3,
        ),
        (
            "0 3 * * *",
            "2026-11-23 03:00 +01:00",
            "2026-11-22 03:00 +01:00",
            3,
        ),
        (
            "0 3 1 7 *",
            "2027-07-01 03:00 +02:00",
            "2026-07-01 03:00 +02:00",
            6,
        ),
        (
            "0 3 * 7 *",
            "2027-07-01 03:00 +02:00",
            "2026-07-31 03:00 +02:00",
            6,
        ),
        (
            "0 3 29 2 */7",
            "2032-02-29 03:00 +01:00",
            "2004-02-29 03:00 +01:00",
            6,
        ),
        (
            "0 * 29 2 */7",
            "2032-02-29 00:00 +01:00",
            "2004-02-29 23:00 +01:00",
            6,
        ),
        // Two nights that might have been one: it is the gap that fires.
        (
            "30 2 28 3 */7",
            "2027-03-28 03:00 +02:00",
            "2021-03-28 03:00 +02:00",
            40,
        ),
    ] {
        check(expression, "2026-11-22 12:00", next, latest, most_questions);
    }

    // Nights that only ever exist in the years without a jump.
    let schedule = schedule("30 */2 28 3 */7", BERLIN);
    let found = schedule
        .next_after(&ChronoZones, utc("2027-03-27 23:59"))
        .unwrap();
    assert_eq!(shown(found, BERLIN), "2027-03-28 04:30 +02:00");
}

#[test]
fn what_never_comes_and_zones_that_do_not_exist_fire_never() {
    let start = utc("2020-01-01 00:00");
    let now = utc("2026-11-22 12:00");
    for (expression, timezone) in [("0 0 30 2 *", BERLIN), ("* * * * *", "Europe/Atlantis")] {
        let schedule = schedule(expression, timezone);
        assert_eq!(schedule.next_after(&ChronoZones, now), None);
        assert_eq!(schedule.latest(&ChronoZones, start, now), None);
        let nothing = due(&schedule, Missed::RunAll(100), start, now, &ChronoZones);
        assert_eq!(nothing, Due::default());
    }
    // Instants no calendar has are no trap.
    let schedule = schedule("0 3 * * *", BERLIN);
    for at in [i64::MIN, i64::MAX].map(Timestamp::from_unix_ms) {
        assert_eq!(schedule.next_after(&ChronoZones, at), None);
        assert_eq!(schedule.latest(&ChronoZones, start, at.max(start)), None);
    }
}

#[test]
fn without_a_time_zone_it_is_utc_and_nobody_is_asked() {
    struct Nobody;

    impl TimeZones for Nobody {
        fn utc_offset_secs(&self, zone: &str, _at: Timestamp) -> Option<i32> {
            panic!("asked for {zone}")
        }
    }

    let schedule = Schedule::parse("0 3 * * *", None).unwrap();
    assert_eq!(schedule.timezone(), "UTC");
    assert_eq!(
        schedule.next_after(&Nobody, utc("2026-11-22 03:00")),
        Some(utc("2026-11-23 03:00"))
    );
    for (expression, timezone, expected) in [
        (
            "0 3 * * *",
            "+01:00",
            "\"+01:00\" is no time zone; it is written like \"Europe/Berlin\".",
        ),
        (
            "0 3 * * 8",
            "UTC",
            "\"8\" is no day of the week of a schedule.",
        ),
    ] {
        let error = Schedule::parse(expression, Some(timezone)).unwrap_err();
        assert_eq!(error, expected);
    }
}

#[test]
fn missed_firings_are_dealt_with_as_the_policy_says() {
    // Every ten minutes; considered up to 11:35.
    let schedule = schedule("*/10 * * * *", "UTC");
    for (policy, tick, slots, missed) in [
        (Missed::RunOnce, "11:36", [].as_slice(), 0),
        (Missed::RunOnce, "11:40", &["11:40"], 0),
        (Missed::RunOnce, "11:41", &["11:40"], 0),
        (Missed::RunOnce, "12:05", &["12:00"], 2),
        (Missed::RunOnce, "12:10", &["12:10"], 3),
        (Missed::Skip, "11:40", &["11:40"], 0),
        (Missed::Skip, "11:41", &[], 1),
        (Missed::Skip, "12:05", &[], 3),
        (Missed::Skip, "12:10", &["12:10"], 3),
        (Missed::RunAll(1), "12:10", &["12:10"], 3),
        (Missed::RunAll(2), "12:05", &["11:50", "12:00"], 1),
        (Missed::RunAll(9), "12:05", &["11:40", "11:50", "12:00"], 0),
        // Doubled, and out of order.
        (Missed::RunAll(9), "11:35", &[], 0),
        (Missed::RunAll(9), "11:20", &[], 0),
    ] {
        let at = |time: &str| utc(&format!("2026-11-22 {time}"));
        let expected = Due {
            slots: slots.iter().map(|time| at(time)).collect(),
            missed,
            missed_is_capped: false,
        };
        let due = due(&schedule, policy, at("11:35"), at(tick), &ChronoZones);
        assert_eq!(due, expected, "{policy:?} at {tick}");
    }
}

#[test]
fn a_tick_counts_as_its_minute() {
    let schedule = schedule("0 12 * * *", "UTC");
    let noon = utc("2026-11-22 12:00");
    let due = |considered_to: i64, tick: i64| {
        let at = |secs: i64| noon.plus_ms(secs * 1_000);
        let due = due(
            &schedule,
            Missed::Skip,
            at(considered_to),
            at(tick),
            &ChronoZones,
        );
        (due.slots, due.missed)
    };
    assert_eq!(due(-60, 30), (vec![noon], 0));
    assert_eq!(due(-1, 59), (vec![noon], 0));
    assert_eq!(due(-60, -1), (vec![], 0));
    assert_eq!(due(0, 30), (vec![], 0));
    assert_eq!(due(30, 60), (vec![], 0));
    assert_eq!(due(-60, 60), (vec![], 1));
}

#[test]
fn missed_firings_are_counted_up_to_a_thousand() {
    let schedule = schedule("* * * * *", BERLIN);
    let tick = utc("2026-11-22 12:00");
    let due = |minutes: i64| {
        let from = tick.plus_ms(-minutes * 60_000);
        let due = due(&schedule, Missed::RunAll(100), from, tick, &ChronoZones);
        (due.slots.len(), due.missed, due.missed_is_capped)
    };
    assert_eq!(due(100), (100, 0, false));
    assert_eq!(due(1_100), (100, 1_000, false));
    assert_eq!(due(1_101), (100, 1_000, true));
    assert_eq!(due(1_000_000), (100, 1_000, true));
}

/// What `due` has to say, told from the firings since `considered_to` in plain terms.
fn expected_due(policy: Missed, firings: &[i64], tick: i64) -> Due {
    let slots = match policy {
        Missed::Skip => firings.iter().position(|firing| *firing == tick),
        Missed::RunOnce => firings.len().checked_sub(1),
        Missed::RunAll(most) => Some(firings.len().saturating_sub(most as usize)),
    };
    let slots = slots.map_or(&[][..], |from| &firings[from..]);
    let missed = firings.len() - slots.len();
    Due {
        slots: slots.iter().map(|minute| at_minute(*minute)).collect(),
        missed: u32::try_from(missed).unwrap().min(MAX_MISSED),
        missed_is_capped: missed > MAX_MISSED as usize,
    }
}

fn at_minute(minute: i64) -> Timestamp {
    Timestamp::from_unix_ms(minute * 60_000)
}

/// One job through the year: ticks every minute for a while, then none for minutes, days or weeks;
/// some come twice or late, and half of the clock's jumps are walked through minute by minute.
/// Gives the number of firings that ran, and that did not.
fn simulate(
    job: &str,
    wall: &Wall,
    schedule: &Schedule,
    policy: Missed,
    firings: &[i64],
    dice: &mut Dice,
) -> (usize, usize) {
    let (mut ran, mut missed) = (0, 0);
    let mut considered_to = wall.start;
    let mut seen = 0;
    let mut walk_until = wall.start + 100;
    while considered_to < wall.end {
        let mut tick = considered_to + 1;
        if tick > walk_until {
            tick += match dice.below(10) {
                0..=3 => 0,
                4..=6 => dice.minutes(1, 90),
                7 | 8 => dice.minutes(1_000, 4_000),
                _ => dice.minutes(5_000, 45_000),
            };
            walk_until = tick + dice.minutes(0, 60);
            let jump = wall
                .jumps
                .iter()
                .find(|jump| (considered_to + 200..=tick + 200).contains(*jump));
            if let Some(jump) = jump
                && dice.below(2) == 0
            {
                tick = jump - 150;
                walk_until = jump + 200;
            }
        }
        let tick = tick.min(wall.end);
        let until = seen + firings[seen..].partition_point(|firing| *firing <= tick);
        let since = &firings[seen..until];
        let at = at_minute(tick).plus_ms(dice.minutes(0, 59_999));
        let considered = at_minute(considered_to);

        let found = due(schedule, policy, considered, at, &ChronoZones);
        assert_eq!(
            found,
            expected_due(policy, since, tick),
            "{job} {policy:?} at {}",
            shown(at, schedule.timezone())
        );
        if dice.below(16) == 0 {
            let again = due(schedule, policy, at_minute(tick), at, &ChronoZones);
            assert_eq!(again, Due::default(), "{job}: a tick that came twice");
            let early = at_minute(considered_to - dice.minutes(0, 500));
            let nothing = due(schedule, policy, considered, early, &ChronoZones);
            assert_eq!(nothing, Due::default(), "{job}: a tick that came too late");
            let latest = schedule.latest(&ChronoZones, considered, at);
            assert_eq!(
                latest,
                since.last().copied().map(at_minute),
                "{job}: latest"
            );
            let next = schedule.next_after(&ChronoZones, at);
            let next = next.filter(|next| *next <= at_minute(wall.end));
            assert_eq!(
                next,
                firings.get(until).copied().map(at_minute),
                "{job}: next"
            );
        }
        ran += found.slots.len();
        missed += since.len() - found.slots.len();
        considered_to = tick;
        seen = until;
    }
    (ran, missed)
}

#[test]
fn a_simulated_year_of_500_jobs_fires_as_the_policies_say() {
    let (start, end) = (utc("2026-10-01 00:00"), utc("2027-11-30 00:00"));
    let walls = [
        BERLIN,
        NEW_YORK,
        LORD_HOWE,
        BERLIN,
        "America/Santiago",
        "Africa/Casablanca",
        "UTC",
    ]
    .map(|zone| Wall::new(zone, &ChronoZones, start, end));
    let mut dice = Dice::new();
    let (mut ran, mut missed) = (0, 0);
    for index in 0..500 {
        let wall = &walls[index % walls.len()];
        let made = MadeExpression::new(&mut dice);
        let policy = match dice.below(4) {
            0 => Missed::Skip,
            1 => Missed::RunOnce,
            _ => Missed::RunAll(u32::try_from(dice.between(1, 100)).unwrap()),
        };
        let firings = wall.firings(&made);
        let job = format!("job {index}: {} in {}", made.text(), wall.zone);
        let schedule = Schedule::parse(&made.text(), Some(wall.zone)).unwrap();
        assert!(firings.is_empty() || !schedule.expression().never_fires());
        let counts = simulate(&job, wall, &schedule, policy, &firings, &mut dice);
        assert_eq!(counts.0 + counts.1, firings.len(), "{job}");
        ran += counts.0;
        missed += counts.1;
    }
    // The year was worth simulating.
    assert!(
        ran > 100_000 && missed > 100_000,
        "{ran} ran, {missed} did not"
    );
}
