//! What ticks make of schedules and of runs that nobody takes up, however late, often or out of order
//! they come.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[path = "support/crontab.rs"]
#[expect(dead_code, reason = "each test uses another part of it")]
mod crontab;
#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crontab::{Dice, MadeExpression, Wall};
use serde_json::{Value, json};
use support::timezones::ChronoZones;
use support::works::{Works, job};
use zonekeeper::jobs::Engine;
use zonekeeper::model::{RunId, Timestamp};

const PURGE: &str = "params.zones = [\"example.com\"]\nparams.tags = [\"a\"]\n";

/// A job that purges by a schedule, with more lines of TOML.
fn purge(name: &str, schedule: &str, more: &str) -> String {
    job(
        name,
        "cache.purge",
        &format!("schedule = {schedule:?}\n{PURGE}{more}"),
    )
}

/// Minutes from the beginning of the test, as a tick's scheduled time.
fn minute(works: &Works, n: i64) -> Timestamp {
    let begun: Timestamp = support::keeper::NOW.parse().unwrap();
    let at = begun.plus_ms(n * 60_000);
    // The clock goes on with it, and never back.
    let ahead = at.ms_since(works.now()).max(0);
    works.harness.outside.advance_ms(ahead);
    at
}

fn tick(works: &Works, n: i64) {
    let at = minute(works, n);
    works.harness.tick(at);
}

/// The slots of a job's runs in minutes from the beginning, each with the run's state.
fn slots(works: &Works, name: &str) -> Vec<(i64, String)> {
    let begun: Timestamp = support::keeper::NOW.parse().unwrap();
    let rows = works.sqlite().rows(&format!(
        "SELECT (slot - {}) / 60000 AS n, state FROM runs WHERE job = '{name}' AND slot NOTNULL ORDER BY slot",
        begun.unix_ms()
    ));
    rows.iter()
        .map(|row| {
            (
                row["n"].as_i64().unwrap(),
                row["state"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn slot_numbers(works: &Works, name: &str) -> Vec<i64> {
    slots(works, name).into_iter().map(|(n, _)| n).collect()
}

fn newest_run(works: &Works, name: &str) -> RunId {
    let rows = works.sqlite().rows(&format!(
        "SELECT id FROM runs WHERE job = '{name}' ORDER BY slot DESC, created_at DESC LIMIT 1"
    ));
    rows[0]["id"].as_str().unwrap().parse().unwrap()
}

fn alarms(works: &Works) -> Vec<(String, String)> {
    let found = works.done("GET /api/v1/alarms", &json!({}));
    let found = found.as_array().unwrap().iter();
    found
        .map(|alarm| {
            let text = |member: &str| alarm[member].as_str().unwrap_or_default().to_owned();
            (text("kind"), text("message"))
        })
        .collect()
}

fn pause(works: &Works, verb: &str) -> Value {
    works.done(&format!("POST /api/v1/jobs/purge/{verb}"), &json!({}))
}

#[test]
fn f2_a_firing_is_made_up_for_as_its_job_says_and_never_has_two_runs() {
    let check = |schedule: &str, missed: &str, ticks: &[i64], wanted: &[i64], missing: i64| {
        let works = Works::with(&purge(
            "j",
            schedule,
            &format!("missed = {missed}\noverlap = \"queue\""),
        ));
        for n in ticks {
            tick(&works, *n);
            works.harness.drain().unwrap();
        }
        assert_eq!(
            slot_numbers(&works, "j"),
            wanted,
            "{schedule} {missed} {ticks:?}"
        );
        let rows = works.sqlite().rows("SELECT missed FROM jobs");
        assert_eq!(rows[0]["missed"], missing, "{schedule} {missed} {ticks:?}");
        works.settle();
        assert!(
            slots(&works, "j")
                .iter()
                .all(|(_, state)| state == "succeeded")
        );
        assert_eq!(works.sent(), wanted.len());
    };
    let (skip, once, all) = ("\"skip\"", "\"run_once\"", "{ run_all = 2 }");
    // On time, twice, late, out of order, not at all.
    let ticks = [1, 2, 2, 4, 3, 7, 7, 8];
    check("* * * * *", skip, &ticks, &[1, 2, 4, 7, 8], 3);
    check("* * * * *", once, &ticks, &[1, 2, 4, 7, 8], 3);
    check("* * * * *", all, &ticks, &[1, 2, 3, 4, 6, 7, 8], 1);
    check("*/3 * * * *", skip, &ticks, &[], 2);
    check("*/3 * * * *", once, &ticks, &[3, 6], 0);
    check("*/3 * * * *", all, &[1, 13], &[9, 12], 2);
    check("*/3 * * * *", skip, &[1, 12], &[12], 3);
    // What was due before the job was there is not made up for.
    check("* * * * *", all, &[90], &[90], 0);
}

#[test]
fn f2_two_ticks_at_once_make_one_run() {
    for before in ["d1: INSERT runs", "d1: SELECT scheduler", "d1: INSERT jobs"] {
        let works = Works::with(&purge("j", "* * * * *", "missed = { run_all = 5 }"));
        let at = minute(&works, 1);
        let other = works.clone();
        let hook = move || other.harness.tick_next_door(at);
        works.harness.outside.injector.before(before, 1, hook);
        works.harness.tick(at);
        works.settle();
        assert_eq!(slot_numbers(&works, "j"), [1], "{before}");
        assert_eq!(works.sqlite().count("run_params"), 1);
        assert_eq!(works.sent(), 1);
    }
}

#[test]
fn a_run_that_is_due_while_another_is_open_is_skipped_queued_or_takes_its_place() {
    let states = |overlap: &str| {
        // Each run waits for two minutes and a half before it ends.
        let more = format!("overlap = {overlap:?}\nparams.verify_after_secs = 150");
        let works = Works::with(&purge("j", "* * * * *", &more));
        for n in 1..=3 {
            tick(&works, n);
            works.harness.drain().unwrap();
        }
        let begun = slots(&works, "j");
        // Without further firings; a job that is gone would take its runs along.
        works.apply(&purge("j", "0 0 1 1 *", &more));
        works.settle();
        let ended = slots(&works, "j");
        (works, begun, ended)
    };
    let named = |states: &[&str]| -> Vec<(i64, String)> {
        (1..)
            .zip(states.iter().map(|state| (*state).to_owned()))
            .collect()
    };
    let (works, begun, ended) = states("skip");
    assert_eq!(begun, named(&["running", "cancelled", "cancelled"]));
    assert_eq!(ended[0].1, "succeeded");
    let rows = works
        .sqlite()
        .rows("SELECT id, reason FROM runs ORDER BY slot");
    let reason = format!(
        "Skipped, as run {} of the job was not at its end.",
        rows[0]["id"].as_str().unwrap()
    );
    assert_eq!(rows[1]["reason"], reason.as_str());
    assert_eq!(works.sent(), 2, "a skipped run sends nothing");

    let (works, begun, ended) = states("queue");
    assert_eq!(begun, named(&["running", "queued", "queued"]));
    assert_eq!(ended, named(&["succeeded"; 3]));
    let rows = works
        .sqlite()
        .rows("SELECT started_at, finished_at FROM runs ORDER BY slot");
    for pair in rows.windows(2) {
        let (ended, begun) = (
            pair[0]["finished_at"].as_i64(),
            pair[1]["started_at"].as_i64(),
        );
        assert!(ended <= begun, "{pair:?}");
    }

    let (works, begun, ended) = states("cancel");
    // Those that wait end at once, not when their wait does.
    assert_eq!(begun, named(&["cancelled", "cancelled", "running"]));
    assert_eq!(ended, named(&["cancelled", "cancelled", "succeeded"]));
    assert_eq!(works.sent(), 4);
}

#[test]
fn a_schedule_that_changes_counts_from_then_on() {
    let works = Works::with(&purge("j", "*/5 * * * *", ""));
    for n in 1..=6 {
        tick(&works, n);
    }
    assert_eq!(slot_numbers(&works, "j"), [5]);
    works.apply(&purge(
        "j",
        "*/2 * * * *",
        "missed = { run_all = 50 }\noverlap = \"queue\"",
    ));
    for n in 7..=10 {
        tick(&works, n);
    }
    assert_eq!(
        slot_numbers(&works, "j"),
        [5, 8, 10],
        "nothing of before is made up for"
    );
    // Other changes leave what is owed: the ticks of 11 to 13 are missing.
    works.apply(&purge(
        "j",
        "*/2 * * * *",
        "missed = { run_all = 50 }\noverlap = \"queue\"\nkeep_days = 7",
    ));
    tick(&works, 14);
    assert_eq!(slot_numbers(&works, "j"), [5, 8, 10, 12, 14]);
    // A job that goes and comes back owes nothing for the time between.
    works.apply("");
    tick(&works, 15);
    works.apply(&purge(
        "j",
        "*/2 * * * *",
        "missed = { run_all = 50 }\noverlap = \"queue\"",
    ));
    tick(&works, 21);
    tick(&works, 22);
    assert_eq!(slot_numbers(&works, "j"), [5, 8, 10, 12, 14, 22]);
    works.settle();
}

#[test]
fn a_paused_job_owes_nothing_and_its_open_runs_wait() {
    let works = Works::with(&purge(
        "purge",
        "* * * * *",
        "missed = { run_all = 50 }\noverlap = \"queue\"",
    ));
    tick(&works, 1);
    let shown = pause(&works, "pause");
    assert_eq!(
        (&shown["paused_by"], &shown["open_runs"]),
        (&json!("root"), &json!(1))
    );
    for n in 2..=4 {
        tick(&works, n);
        works.harness.drain().unwrap();
    }
    let asked = works.start("purge", &json!({}));
    works.harness.drain().unwrap();
    assert_eq!(works.says(asked), "queued: ");
    assert_eq!(
        works.done("GET /api/v1/jobs/purge", &json!({}))["open_runs"],
        2
    );
    assert_eq!(slot_numbers(&works, "purge"), [1]);
    assert_eq!(works.sent(), 0);
    works.advance_secs(180);
    let stuck = alarms(&works)
        .into_iter()
        .filter(|(kind, _)| kind == "run_stuck");
    assert_eq!(stuck.count(), 0, "who waits for a pause is not stuck");
    assert_eq!(pause(&works, "resume")["paused_at"], Value::Null);
    for n in 8..=9 {
        tick(&works, n);
        works.harness.drain().unwrap();
    }
    // The ticks of 5 to 7 were missing, but the job was paused then.
    assert_eq!(slot_numbers(&works, "purge"), [1, 8, 9]);
    assert_eq!(works.says(asked), "succeeded: Done with 2 calls.");
    let paused = works.start("purge", &json!({}));
    pause(&works, "pause");
    works.done(&format!("POST /api/v1/runs/{paused}/cancel"), &json!({}));
    works.harness.drain().unwrap();
    assert_eq!(
        works.says(paused),
        "cancelled: The run was cancelled.",
        "even while paused"
    );
}

#[test]
fn f2_a_lost_message_is_made_up_for_within_a_minute() {
    let works = Works::with(&purge("purge", "0 0 1 1 *", ""));
    let run = works.start("purge", &json!({}));
    works.harness.outside.queue.purge();
    works.advance_secs(30);
    works.tick();
    works.harness.drain().unwrap();
    assert_eq!(works.says(run), "succeeded: Done with 2 calls.");
    // Lost while it waits for its repetition.
    let run = works.start("purge", &json!({"verify_after_secs": 200}));
    works.harness.drain().unwrap();
    works.harness.outside.queue.purge();
    let wake = works.run(run).0.wake_at;
    while works.run(run).0.finished_at.is_none() {
        works.tick();
        works.harness.drain().unwrap();
        assert!(works.now().ms_since(wake) <= 120_000, "{}", works.says(run));
    }
    assert!(works.says(run).starts_with("succeeded: "));
}

#[test]
fn runs_that_may_not_be_taken_up_keep_no_lost_run_from_being_found() {
    let jobs = purge("purge", "0 0 1 1 *", "") + &purge("other", "0 0 1 1 *", "");
    let works = Works::with(&jobs);
    tick(&works, 1);
    pause(&works, "pause");
    for _ in 0..120 {
        works.start("purge", &json!({}));
    }
    works.advance_secs(1);
    let lost = works.start("other", &json!({}));
    works.harness.outside.queue.purge();
    for _ in 0..3 {
        works.tick();
        works.harness.drain().unwrap();
    }
    assert_eq!(works.says(lost), "succeeded: Done with 2 calls.");
}

#[test]
fn what_is_not_as_it_should_be_raises_an_alarm() {
    let works = Works::with(&purge("purge", "*/10 * * * *", "missed = \"skip\""));
    assert_eq!(alarms(&works), []);
    tick(&works, 1);
    works.advance_secs(120);
    assert_eq!(alarms(&works), []);
    works.advance_secs(1);
    let silent = alarms(&works);
    assert_eq!(
        silent,
        [(
            "scheduler_silent".to_owned(),
            "The scheduler has not ticked since 2026-11-01T12:01:00.000Z; is the cron trigger there?"
                .to_owned()
        )]
    );
    tick(&works, 31);
    assert_eq!(
        alarms(&works),
        [(
            "firings_missed".to_owned(),
            "purge did not run 3 times when it was due, as the scheduler did not tick; found at 2026-11-01T12:31:00.000Z.".to_owned()
        )]
    );
    let shown = works.done("GET /api/v1/jobs/purge", &json!({}));
    assert_eq!(
        (&shown["missed"], shown["alarms"].as_array().unwrap().len()),
        (&json!(3), 1)
    );
    let run = works.start("purge", &json!({}));
    works.harness.outside.queue.purge();
    works.advance_secs(60);
    let stuck: Vec<(String, String)> = alarms(&works).split_off(1);
    let since = "2026-11-01T12:31:00.000Z";
    assert_eq!(
        stuck,
        [(
            "run_stuck".to_owned(),
            format!("Run {run} of purge is due and nobody takes it up since {since}.")
        )]
    );
    works.settle();
    assert!(
        alarms(&works)
            .iter()
            .all(|(kind, _)| kind == "firings_missed")
    );
    works.advance_secs(86_400);
    works.tick();
    assert!(alarms(&works).iter().all(|(kind, _)| kind != "run_stuck"));
    assert_eq!(newest_run(&works, "purge").to_string().len(), 32);
}

/// A job of the simulated month as its oracle sees it.
struct Simulated {
    name: String,
    missed: usize,
    overlap: usize,
    /// The minutes at which it fires.
    firings: Vec<i64>,
    /// Slot and whether it was skipped.
    runs: BTreeMap<i64, bool>,
    owed: i64,
    is_open: bool,
}

impl Simulated {
    /// What a tick does that comes after the one of `considered`.
    fn tick(&mut self, considered: i64, tick: i64) {
        let due: Vec<i64> = self
            .firings
            .iter()
            .copied()
            .filter(|firing| *firing > considered && *firing <= tick)
            .collect();
        let first = match self.missed {
            0 => due
                .iter()
                .position(|firing| *firing == tick)
                .unwrap_or(due.len()),
            1 => due.len().saturating_sub(1),
            _ => due.len().saturating_sub(3),
        };
        self.owed += i64::try_from(first).unwrap();
        let is_skipped = self.overlap == 0 && self.is_open;
        for slot in &due[first..] {
            self.runs.insert(*slot, is_skipped);
            self.is_open = true;
        }
    }

    /// Compares it with what is stored; gives how many runs there are.
    fn check(&self, works: &Works) -> usize {
        let name = &self.name;
        let rows = works.sqlite().rows(&format!(
            "SELECT slot / 60000 AS slot, state = 'cancelled' AS is_skipped FROM runs WHERE job = '{name}' ORDER BY slot"
        ));
        let runs: Vec<(i64, bool)> = rows
            .iter()
            .map(|row| (row["slot"].as_i64().unwrap(), row["is_skipped"] == 1))
            .collect();
        let wanted: Vec<(i64, bool)> = self.runs.clone().into_iter().collect();
        assert_eq!(runs, wanted, "{name}");
        let owed = works
            .sqlite()
            .rows(&format!("SELECT missed FROM jobs WHERE name = '{name}'"));
        assert_eq!(owed[0]["missed"], self.owed, "{name}");
        runs.len()
    }
}

#[test]
fn a_month_of_ticks_makes_the_runs_that_a_walk_through_every_minute_makes() {
    const DAYS: i64 = 30;
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
    ];
    // Clocks change in the first days of it in New York.
    let start: Timestamp = "2026-10-20T00:00:00Z".parse().unwrap();
    // The last gap may reach beyond it.
    let end = start.plus_ms((DAYS + 1) * 86_400_000);
    let walls = zones.map(|zone| Wall::new(zone, &ChronoZones, start, end));
    let mut dice = Dice::new();
    let mut toml = String::new();
    let mut jobs = Vec::new();
    while jobs.len() < 40 {
        let made = MadeExpression::new(&mut dice);
        let nth = jobs.len();
        let wall = &walls[nth % 4];
        let firings = wall.firings(&made);
        if firings.is_empty() || firings.len() > 1_500 {
            continue;
        }
        let (missed, overlap) = (nth % 3, nth / 3 % 3);
        let name = format!("j{nth}");
        writeln!(
            toml,
            "[[jobs]]\nname = {name:?}\nkind = \"api.calls\"\nrun_as = \"bot\"\nschedule = {:?}\ntimezone = {:?}\nmissed = {}\noverlap = {:?}",
            made.text(),
            wall.zone,
            ["\"skip\"", "\"run_once\"", "{ run_all = 3 }"][missed],
            ["skip", "queue", "cancel"][overlap],
        )
        .unwrap();
        jobs.push(Simulated {
            name,
            missed,
            overlap,
            firings,
            runs: BTreeMap::new(),
            owed: 0,
            is_open: false,
        });
    }
    let works = Works::with(&toml);
    let first = start.unix_ms() / 60_000;
    works
        .harness
        .outside
        .advance_ms(start.ms_since(works.now()));
    // A new job owes nothing before its first tick.
    let mut considered = first;
    let mut minute = first + 1;
    while minute < first + DAYS * 1_440 {
        // Now and then ticks are missing, for minutes or for hours; come late; come twice.
        minute += match dice.below(400) {
            0 => dice.minutes(60, 900),
            1..=8 => dice.minutes(2, 9),
            _ => 1,
        };
        let tick = if dice.below(50) == 0 {
            minute - dice.minutes(1, 3)
        } else {
            minute
        };
        let times = if dice.below(20) == 0 { 2 } else { 1 };
        let at = Timestamp::from_unix_ms(tick * 60_000 + dice.minutes(0, 59_999));
        works.harness.outside.clock.set(at);
        for _ in 0..times {
            works
                .harness
                .event(async |gateway| Engine { gateway }.tick(at).await.unwrap());
        }
        if tick > considered {
            for job in &mut jobs {
                job.tick(considered, tick);
            }
            considered = tick;
        }
        works.harness.outside.queue.purge();
        if dice.below(2) == 0 {
            works.sqlite().rows(
                "UPDATE runs SET state = 'succeeded', finished_at = 1 WHERE finished_at IS NULL",
            );
            for job in &mut jobs {
                job.is_open = false;
            }
        }
    }
    let all: usize = jobs.iter().map(|job| job.check(&works)).sum();
    assert!(all > 5_000, "{all} runs");
}

#[test]
fn a_minute_reads_no_more_for_the_runs_that_are_kept() {
    let work = |kept: usize| {
        let works = Works::with(&purge("purge", "0 0 1 1 *", ""));
        works.finish("purge", &json!({}));
        works.sqlite().rows(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {kept}) \
             INSERT INTO runs SELECT printf('%032x', i), job, kind, trigger, slot, run_as, started_by, dry_run, state, stage, reason, basis, \
             result, fence, cancel_requested, failures, replans, calls, done, total, limits, created_at - i, started_at, finished_at, \
             wake_at, lease_until, enqueued_at, expires_at, hurry FROM runs, n"
        ));
        let before = works.sqlite().work();
        works.start("purge", &json!({}));
        works.tick();
        works.harness.drain().unwrap();
        works.tick();
        works.sqlite().work() - before
    };
    let (few, many) = (work(1), work(5_000));
    assert!(
        many < few + few / 10,
        "{few} operations with few runs, {many} with many"
    );
}

#[test]
fn the_runs_of_a_job_that_is_gone_end() {
    let works = Works::with(&purge("purge", "0 0 1 1 *", ""));
    let run = works.start("purge", &json!({"verify_after_secs": 600}));
    works.tick();
    works.harness.drain().unwrap();
    assert_eq!(works.sent(), 1);
    works.apply("");
    works.settle();
    assert!(
        works.says(run).starts_with("cancelled"),
        "{}",
        works.says(run)
    );
    assert_eq!(works.sent(), 1);
    let (status, answer) = works.api(&format!("POST /api/v1/runs/{run}/retry"), &json!({}));
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(message.contains("has no job purge"), "{message}");
}

#[test]
fn a_run_that_ends_while_a_step_may_have_happened_says_so() {
    let works = Works::with(&purge("purge", "0 0 1 1 *", ""));
    works.answer(("POST", "purge_cache"), 0, 503, &[]);
    let run = works.start("purge", &json!({}));
    works.harness.drain().unwrap();
    assert_eq!(works.run(run).0.failures, 1);
    works.done(&format!("POST /api/v1/runs/{run}/cancel"), &json!({}));
    works.settle();
    let wanted = "unknown: The run was cancelled. Could not confirm whether step 1 happened.";
    assert_eq!(works.says(run), wanted);
}

#[test]
fn no_wait_is_longer_than_a_day() {
    let works = Works::with(&purge("purge", "0 0 1 1 *", "timeout_secs = 86400"));
    let headers = [("retry-after", "4000000000")];
    works.answer(("POST", "purge_cache"), 0, 429, &headers);
    works.start("purge", &json!({}));
    works.harness.drain().unwrap();
    let blocked = works.sqlite().rows("SELECT blocked_until FROM buckets");
    let blocked = blocked[0]["blocked_until"].as_i64().unwrap() - works.now().unix_ms();
    assert_eq!(blocked, 86_400_000);
}
