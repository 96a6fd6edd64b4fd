//! Runs that ended otherwise than well and are retried, and runs that are given up.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::json;
use support::harness::Harness;
use support::lab::queue::Unacked;
use support::motor::JobCase;
use support::sweep::Case;
use zonekeeper::audit::{Action, Event, What, Who};
use zonekeeper::gateway::World;
use zonekeeper::jobs::Platform;
use zonekeeper::model::RunId;
use zonekeeper::run::RunState;

const CONFIG: &str = r#"
[[principals]]
name = "nightly"
kind = "key"
[[grants]]
name = "purges"
principals = ["nightly"]
effect = "allow"
permissions = ["Cache Purge", "Zone Read"]
zones = ["example.com"]
"#;

/// A purge in three calls that succeeded.
fn purged() -> (Harness, RunId) {
    let files: Vec<String> = (0..250)
        .map(|n| format!("https://www.example.com/{n}"))
        .collect();
    let case = JobCase {
        config: CONFIG,
        kind: "cache.purge",
        run_as: "nightly",
        params: json!({"zones": ["example.com"], "files": files}),
        prepare: |_| {},
        effects: Harness::purged,
        allows_repeat: true,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &[],
    };
    let harness = Harness::new(case.motor(), Unacked::Lost);
    case.setup(&harness);
    let run = case.start(&harness).unwrap();
    harness.settle().unwrap();
    assert_eq!(harness.state(run).unwrap().0, "succeeded");
    assert_eq!(harness.purged().len(), 250);
    (harness, run)
}

fn retry(harness: &Harness, run: RunId) {
    harness.event(async |gateway| {
        let world = gateway.world;
        let now = world.now();
        let who = Who {
            principal: Some("test".to_owned()),
            credential: "none".to_owned(),
            source_ip: None,
            run: Some(run),
        };
        let what = What {
            operation: "test".to_owned(),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            zone: None,
            resources: Vec::new(),
            action: Action::new("retry a run"),
            deprecated: false,
        };
        let event = Event::of(world.entry_id(now), who, what);
        let reopened = gateway.store.reopen(run, "Retried.", &event, now).await;
        assert_eq!(reopened, Ok(true));
        world.enqueue(&[run], 0).await.unwrap();
    });
    harness.settle().unwrap();
}

/// Lets the run have ended as `state` in its last stage, with its second step like this.
fn end_otherwise(harness: &Harness, state: &str, step: &str) {
    let sqlite = &harness.outside.sqlite;
    sqlite.rows(&format!(
        "UPDATE runs SET state = '{state}', stage = 'verify', done = 150"
    ));
    sqlite.rows(&format!("UPDATE run_steps SET {step} WHERE number = 2"));
}

#[test]
fn a_refused_step_is_made_again_by_a_retry_and_nothing_else_is() {
    let (harness, run) = purged();
    end_otherwise(&harness, "failed", "state = 'refused'");
    retry(&harness, run);
    assert_eq!(harness.state(run).unwrap().0, "succeeded");
    assert_eq!(harness.purged().len(), 350);
    let row = &harness.outside.sqlite.rows("SELECT done, total FROM runs")[0];
    assert_eq!(*row, json!({"done": 250, "total": 250}));
}

#[test]
fn what_may_have_happened_has_all_attempts_again_after_a_retry() {
    let (harness, run) = purged();
    end_otherwise(&harness, "unknown", "state = 'unknown', attempts = 5");
    harness
        .outside
        .sqlite
        .rows("UPDATE runs SET stage = 'apply'");
    retry(&harness, run);
    assert_eq!(harness.state(run).unwrap().0, "succeeded");
    assert_eq!(harness.purged().len(), 350);
}

#[test]
fn a_run_at_its_end_is_not_given_up_and_nothing_is_said_of_it() {
    let (harness, run) = purged();
    let events = || {
        let sql = "SELECT count(*) AS n FROM run_events";
        harness.outside.sqlite.rows(sql)[0]["n"].as_i64().unwrap()
    };
    let before = events();
    let ended = harness.event(async |gateway| {
        let now = gateway.world.now();
        gateway
            .store
            .end_dead(run, 90, "dead_letter: lost.", now)
            .await
    });
    assert_eq!(ended, Some(Ok(false)));
    assert_eq!(events(), before);
}

#[test]
fn runs_that_wait_in_line_do_not_keep_the_sweeper_from_a_lost_one() {
    let (harness, first) = purged();
    let sqlite = &harness.outside.sqlite;
    let created = harness.now().unix_ms() - 3_600_000;
    // 150 runs of one job, none of which may begin before the first of them, which is held.
    sqlite.rows("CREATE TABLE copies AS SELECT * FROM runs");
    sqlite.rows("UPDATE copies SET state = 'queued', finished_at = NULL, expires_at = NULL, enqueued_at = 0, wake_at = 0");
    for n in 0..=150 {
        let job = if n == 150 { "other" } else { "line" };
        let held = if n == 0 { i64::MAX >> 12 } else { 0 };
        sqlite.rows(&format!(
            "UPDATE copies SET id = printf('%032x', {n}), job = '{job}', created_at = {created} + {n}, lease_until = {held}"
        ));
        sqlite.rows("INSERT INTO runs SELECT * FROM copies");
    }
    harness.outside.queue.purge();
    harness.tick(harness.now());
    let lost: RunId = format!("{:032x}", 150).parse().unwrap();
    assert_ne!(lost, first);
    assert_eq!(harness.outside.queue.waiting(), [lost]);
}
