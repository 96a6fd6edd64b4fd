//! A run from its start to its end: who works on it, what bounds it, what ends it, and how it goes on.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use pollster::block_on;
use serde_json::{Value, json};
use simulator::{ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
use support::lab::injector::Fault;
use support::lab::writes::check_writes;
use support::works::{BOT, Works, job};
use zonekeeper::jobs::Engine;
use zonekeeper::model::RunId;
use zonekeeper::run::StepState;
use zonekeeper::store::{IdempotencyKey, StoreError, Wish};

const SEND: &str = "upstream: POST";

/// A job `purge` with more lines of TOML.
fn works(more: &str) -> Works {
    let params = "params.zones = [\"example.com\"]\nparams.tags = [\"a\"]";
    Works::with(&job("purge", "cache.purge", &format!("{params}\n{more}")))
}

/// Parameters of a run of so many calls.
fn calls(count: usize) -> Value {
    let files = (0..count * 100).map(|n| format!("https://example.com/{n}"));
    json!({"files": files.collect::<Vec<_>>(), "tags": []})
}

fn states(works: &Works, id: RunId) -> Vec<StepState> {
    works.run(id).1.iter().map(|step| step.state).collect()
}

#[test]
fn of_two_isolates_one_gets_the_run() {
    let works = works("");
    let run = works.start("purge", &calls(2));
    for nth in [1, 2] {
        let next_door = works.clone();
        let hook = move || next_door.harness.deliver_next_door(run);
        works.harness.outside.injector.before(SEND, nth, hook);
    }
    // However often the message comes.
    for _ in 0..5 {
        works.deliver(run);
    }
    assert_eq!(works.says(run), "succeeded: Done with 3 calls.");
    assert_eq!(works.sent(), 2);
}

/// A holder that stalls past its lease before any of its effects, while another takes the run over.
#[test]
fn f2_a_holder_that_stalled_can_neither_send_nor_store() {
    let purges = || {
        let works = works("");
        let run = works.start("purge", &json!({"zones": ["example.com", "example.org"]}));
        (works, run)
    };
    let (clean, _) = purges();
    let from = clean.harness.outside.injector.count();
    clean.harness.drain().unwrap();
    let effects = clean.harness.outside.injector.effects().split_off(from);
    for (nth, effect) in (1..).zip(&effects) {
        let (works, run) = purges();
        let next_door = works.clone();
        works.harness.outside.injector.before("", nth, move || {
            next_door.advance_secs(61);
            next_door.harness.deliver_next_door(run);
        });
        works.settle();
        let says = works.says(run);
        assert!(says.starts_with("succeeded: "), "{effect}: {says}");
        // A call without an outcome when the holder stalled may come once more, and nothing else.
        let sent = works.sent();
        let is_open = [SEND, "d1: INSERT audit_outcomes"]
            .iter()
            .any(|open| effect.starts_with(open));
        let most = if is_open { 3 } else { 2 };
        assert!((2..=most).contains(&sent), "{effect}: sent {sent}");
        let outside = &works.harness.outside;
        let ledger = outside.network.borrow().lab.ledger();
        check_writes(&outside.writes, &outside.sqlite, &ledger, 1, &|_| true).unwrap();
    }
}

#[test]
fn runs_held_at_once_are_bounded_in_all_and_by_kind() {
    let works = works("");
    let kinds = ["a", "b", "c", "d"];
    let store = works.store();
    let mut claimed = [0; 4];
    for nth in 0..28_usize {
        let mut run = works.new_run(kinds[nth % 4], &json!({}));
        run.job = nth.to_string();
        works.create(&run);
        let (now, lease) = (works.now(), works.now().plus_ms(60_000));
        let held = block_on(store.claim(run.id, now, lease, (20, 6))).unwrap();
        claimed[nth % 4] += usize::from(held.is_some());
    }
    assert_eq!(claimed, [5, 5, 5, 5]);
    let extra = |kind: &str| {
        let mut run = works.new_run(kind, &json!({}));
        run.job = format!("{}", run.id);
        works.create(&run);
        let (now, lease) = (works.now(), works.now().plus_ms(60_000));
        block_on(store.claim(run.id, now, lease, (100, 6)))
            .unwrap()
            .is_some()
    };
    assert!(extra("a"));
    assert!(!extra("a"), "six of a kind are held");
    works.advance_secs(60);
    assert!(extra("a"), "leases ended");
}

#[test]
fn a_run_past_the_cap_is_taken_up_when_the_others_are_done() {
    let works = works("");
    let run = works.start("purge", &json!({}));
    for _ in 0..6 {
        let mut other = works.new_run("cache.purge", &json!({}));
        other.job = format!("{}", other.id);
        works.create(&other);
        let lease = works.now().plus_ms(60_000);
        block_on(works.store().claim(other.id, works.now(), lease, (20, 6)))
            .unwrap()
            .unwrap();
    }
    works.harness.drain().unwrap();
    assert_eq!(works.says(run), "queued: ");
    works.tick();
    works.harness.drain().unwrap();
    assert_eq!(works.says(run), "succeeded: Done with 2 calls.");
}

#[test]
fn a_run_that_takes_too_long_ends_when_its_time_is_over() {
    let works = works("timeout_secs = 60");
    works.answer(("POST", "purge_cache"), 1, 429, &[("retry-after", "7200")]);
    let begun = works.now();
    let run = works.start("purge", &calls(3));
    works.settle();
    assert_eq!(
        works.says(run),
        "failed: The run took longer than its 60 s and was ended."
    );
    let ended = works.run(run).0.finished_at.unwrap().ms_since(begun);
    assert!((60_000..=120_000).contains(&ended), "{ended}");
    assert_eq!(works.sent(), 1);
}

#[test]
fn a_run_makes_no_more_calls_than_it_may() {
    let works = works("max_calls = 3");
    let ended = works.finish("purge", &calls(5));
    assert_eq!(
        ended.says(),
        "failed: The run used up its 3 upstream calls."
    );
    assert_eq!((works.sent(), ended.run.calls), (2, 3));
    // It goes on with a fresh budget, and what was done is not done again.
    works.done(
        &format!("POST /api/v1/runs/{}/retry", ended.run.id),
        &json!({}),
    );
    works.settle();
    assert_eq!(works.says(ended.run.id), "succeeded: Done with 3 calls.");
    assert_eq!(works.sent(), 5);
}

#[test]
fn a_run_that_needs_no_more_calls_succeeds_with_the_last_one() {
    let ended = works("max_calls = 2").finish("purge", &json!({}));
    assert_eq!(ended.says(), "succeeded: Done with 2 calls.");
}

#[test]
fn waits_grow_from_failure_to_failure_and_end() {
    let works = works("");
    for _ in 0..60 {
        works.answer(("GET", "/zones?"), 0, 503, &[]);
    }
    let run = works.start("purge", &json!({}));
    let mut waits = Vec::new();
    loop {
        works.harness.drain().unwrap();
        let (run, _) = works.run(run);
        if run.finished_at.is_some() {
            break;
        }
        if waits.len() < run.failures as usize {
            waits.push(run.wake_at.ms_since(works.now()));
        }
        works.advance_secs(1);
    }
    assert!(
        works
            .says(run)
            .starts_with("failed: Given up after 5 failures: "),
        "{}",
        works.says(run)
    );
    assert_eq!(waits.len(), 4);
    for (wait, base) in waits.iter().zip([5_000, 10_000, 20_000, 40_000]) {
        assert!((base..=base + base / 4).contains(wait), "{waits:?}");
    }
    assert_eq!(works.sent(), 0);
}

#[test]
fn f1_a_throttled_call_waits_as_long_as_it_is_told_and_is_no_failure() {
    for (headers, least_secs) in [(&[("retry-after", "17")][..], 17), (&[][..], 300)] {
        let works = works("");
        let begun = works.now();
        // More often than a run may fail.
        for _ in 0..6 {
            works.answer(("POST", "purge_cache"), 0, 429, headers);
        }
        let run = works.start("purge", &json!({}));
        works.harness.drain().unwrap();
        let (waiting, _) = works.run(run);
        assert_eq!((waiting.failures, waiting.state.as_str()), (0, "running"));
        assert_eq!(waiting.wake_at.ms_since(begun), least_secs * 1000);
        assert_eq!(
            waiting.reason.as_deref(),
            Some("Cloudflare had too many calls; waiting as long as it said.")
        );
        works.settle();
        assert_eq!(works.says(run), "succeeded: Done with 8 calls.");
        let took = works.run(run).0.finished_at.unwrap().ms_since(begun);
        assert!(took >= 6 * least_secs * 1000, "{took}");
    }
}

#[test]
fn being_throttled_does_not_use_up_the_attempts_of_a_step() {
    let works = works("max_attempts = 2");
    for _ in 0..3 {
        works.answer(("POST", "purge_cache"), 0, 429, &[("retry-after", "1")]);
    }
    let injector = &works.harness.outside.injector;
    injector.fail(SEND, 4, Fault::ErrorBefore);
    let ended = works.finish("purge", &json!({}));
    assert_eq!(ended.run.state.as_str(), "succeeded", "{}", ended.says());
}

#[test]
fn a_refused_purge_leaves_the_others_and_is_made_up_for_by_a_retry() {
    let works = works("");
    works.answer(("POST", "purge_cache"), 1, 400, &[]);
    let ended = works.finish("purge", &calls(3));
    assert_eq!(
        ended.says(),
        "failed: 1 of 3 steps were refused; the rest is done."
    );
    assert_eq!(
        ended.steps[1].detail.as_deref(),
        Some("Cloudflare answered 400: 1400 as the test has it")
    );
    assert_eq!(
        states(&works, ended.run.id),
        [StepState::Done, StepState::Refused, StepState::Done]
    );
    let before = works.writes();
    works.done(
        &format!("POST /api/v1/runs/{}/retry", ended.run.id),
        &json!({}),
    );
    works.settle();
    assert_eq!(works.ended(ended.run.id).run.state.as_str(), "succeeded");
    assert_eq!(states(&works, ended.run.id), [StepState::Done; 3]);
    let after = works.writes();
    assert_eq!(
        (before.len(), after.len()),
        (2, 3),
        "only what was refused is sent again"
    );
    assert_eq!(after[2].2["files"][0], "https://example.com/100");
}

#[test]
fn a_credential_that_is_refused_ends_the_run_and_a_retry_goes_on_from_there() {
    for status in [401, 403] {
        let works = works("");
        works.answer(("POST", "purge_cache"), 1, status, &[]);
        let ended = works.finish("purge", &calls(3));
        let says = ended.says();
        let wanted = format!("failed: The run was ended: Cloudflare answered {status}: ");
        assert!(says.starts_with(&wanted), "{says}");
        assert_eq!(
            states(&works, ended.run.id),
            [StepState::Done, StepState::Refused, StepState::Pending]
        );
        works.done(
            &format!("POST /api/v1/runs/{}/retry", ended.run.id),
            &json!({}),
        );
        works.settle();
        assert!(works.says(ended.run.id).starts_with("succeeded: "));
        let first = works
            .writes()
            .into_iter()
            .map(|(.., body)| body["files"][0].clone());
        let wanted = ["0", "100", "200"].map(|n| json!(format!("https://example.com/{n}")));
        assert_eq!(
            first.collect::<Vec<_>>(),
            wanted,
            "earlier steps are not made again"
        );
    }
}

#[test]
fn d2_a_run_is_judged_by_the_configuration_in_force_when_it_acts() {
    let waits = json!({"verify_after_secs": 600});
    let check = |config: &str, state: &str, part: &str| {
        let works = works("");
        let run = works.start("purge", &waits);
        works.harness.drain().unwrap();
        assert_eq!(works.sent(), 1);
        works.apply_all(config);
        works.settle();
        let says = works.says(run);
        assert!(says.starts_with(state) && says.contains(part), "{says}");
        assert_eq!(works.sent(), 1);
    };
    let without = "[[principals]]\nname = \"bot\"\nkind = \"internal\"\n";
    check(
        without,
        "failed: ",
        "bot may not purge the tag a in example.com",
    );
    check(
        "[[principals]]\nname = \"other\"\nkind = \"internal\"\n",
        "failed: ",
        "The run acts as bot, and the configuration has no such principal any more.",
    );
    let approve = "[[grants]]\nname = \"ask\"\nprincipals = [\"bot\"]\neffect = \"approve\"\npermissions = [\"Cache Purge\"]\nzones = [\"example.com\"]\n";
    check(&format!("{BOT}{approve}"), "needs_approval: ", "approv");
}

fn cancel(works: &Works, run: RunId) {
    let shown = works.done(&format!("POST /api/v1/runs/{run}/cancel"), &json!({}));
    assert_eq!(shown["cancel_requested"], true);
}

#[test]
fn a_run_is_cancelled_while_it_is_queued_or_waits() {
    for (params, sent) in [(json!({}), 0), (json!({"verify_after_secs": 86_400}), 1)] {
        let works = works("");
        let run = works.start("purge", &params);
        if sent > 0 {
            works.harness.drain().unwrap();
        }
        cancel(&works, run);
        works.harness.drain().unwrap();
        let ended = works.ended(run);
        assert_eq!(ended.says(), "cancelled: The run was cancelled.");
        assert_eq!(works.sent(), sent);
        assert!(
            ended.has_event("root asked to cancel it."),
            "{:?}",
            ended.events
        );
    }
}

/// Somebody wants a run ended just before an effect of it.
fn cancel_before(works: &Works, run: RunId, effect: &'static str, nth: usize) {
    let other = works.clone();
    works.harness.outside.injector.before(effect, nth, move || {
        let event = other.harness.change_event();
        let store = other.store();
        let asked = store.wish(run, Wish::Cancel, "cancel", &event, other.now());
        assert!(block_on(asked).unwrap());
    });
}

#[test]
fn a_run_is_cancelled_between_its_steps() {
    let works = works("");
    let run = works.start("purge", &calls(3));
    cancel_before(&works, run, SEND, 2);
    works.harness.drain().unwrap();
    assert_eq!(works.says(run), "cancelled: The run was cancelled.");
    assert_eq!(
        works.sent(),
        2,
        "the call that was on its way is seen to its end"
    );
    assert_eq!(
        states(&works, run),
        [StepState::Done, StepState::Done, StepState::Pending]
    );
}

#[test]
fn a_cancellation_that_meets_a_run_as_it_begins_to_wait_is_not_lost() {
    let works = works("");
    works.answer(("POST", "purge_cache"), 0, 429, &[("retry-after", "3600")]);
    let run = works.start("purge", &json!({}));
    cancel_before(&works, run, SEND, 1);
    works.harness.drain().unwrap();
    assert_eq!(works.says(run), "cancelled: The run was cancelled.");
    assert_eq!(works.sent(), 0);
}

#[test]
fn a_dry_run_shows_exactly_what_a_run_then_sends() {
    let works = works("");
    let mut params = calls(2);
    params["tags"] = json!(["a", "b"]);
    let body = json!({"params": params, "dry_run": true});
    let started = works.done("POST /api/v1/jobs/purge/runs", &body);
    works.settle();
    let id = started["id"].as_str().unwrap();
    let shown = works.done(&format!("GET /api/v1/runs/{id}"), &json!({}));
    assert_eq!(shown["state"], "succeeded");
    assert_eq!(
        shown["reason"],
        "Planned only: 202 items in 1 zone: 3 calls."
    );
    assert_eq!(works.sent(), 0);
    let steps = works.done(&format!("GET /api/v1/runs/{id}/steps"), &json!({}));
    let planned: Vec<Value> = steps
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["work"].clone())
        .collect();
    assert_eq!(
        works.finish("purge", &params).run.state.as_str(),
        "succeeded"
    );
    let sent: Vec<Value> = works
        .writes()
        .into_iter()
        .map(|(method, path, body)| json!({"method": method, "path": format!("/client/v4{path}"), "body": body}))
        .collect();
    assert_eq!(sent, planned);
}

#[test]
fn d1_an_idempotency_key_is_its_owners_own_for_a_day() {
    let works = works("");
    let store = works.store();
    let create = |owner: &str, digest: &str| {
        let run = works.new_run("cache.purge", &json!({}));
        let key = IdempotencyKey {
            owner,
            key: "k",
            digest,
        };
        let event = works.harness.change_event();
        block_on(store.create_run(&run, Some(key), &event)).map(|()| run.id)
    };
    let first = create("ann", "d1").unwrap();
    let second = create("bob", "d1").unwrap();
    assert_ne!(first, second);
    for digest in ["d1", "d2"] {
        assert_eq!(create("ann", digest), Err(StoreError::Conflict));
    }
    let found = block_on(store.keyed_run("ann", "k")).unwrap().unwrap();
    assert_eq!((found.run, found.digest.as_str()), (first, "d1"));
    assert_eq!(
        works.sqlite().count("runs"),
        2,
        "what conflicts stores nothing"
    );
    works.advance_secs(86_401);
    let third = create("ann", "d2").unwrap();
    assert_eq!(
        block_on(store.keyed_run("ann", "k")).unwrap().unwrap().run,
        third
    );
    assert_eq!(
        block_on(store.keyed_run("bob", "k")).unwrap().unwrap().run,
        second
    );
}

#[test]
fn a_step_whose_fate_stays_unknown_ends_the_run_so_and_a_retry_makes_it_anew() {
    let works = works("max_attempts = 2");
    for nth in [1, 2] {
        works
            .harness
            .outside
            .injector
            .fail(SEND, nth, Fault::ErrorBefore);
    }
    let ended = works.finish("purge", &calls(2));
    assert_eq!(
        ended.says(),
        "unknown: Could not confirm whether step 1 happened, after 2 attempts."
    );
    assert_eq!(works.sent(), 0);
    works.done(
        &format!("POST /api/v1/runs/{}/retry", ended.run.id),
        &json!({}),
    );
    works.settle();
    assert!(
        works.says(ended.run.id).starts_with("succeeded: "),
        "{}",
        works.says(ended.run.id)
    );
    assert_eq!(works.sent(), 2);
}

#[test]
fn of_one_job_never_two_runs_act_at_once_even_after_a_retry() {
    let works = works("overlap = \"queue\"");
    works.answer(("POST", "purge_cache"), 0, 403, &[]);
    let older = works.finish("purge", &json!({})).run.id;
    works.advance_secs(1);
    let newer = works.start("purge", &calls(2));
    let other = works.clone();
    works.harness.outside.injector.before(SEND, 1, move || {
        let event = other.harness.change_event();
        block_on(other.store().reopen(older, "retry", &event, other.now())).unwrap();
        other.harness.deliver_next_door(older);
        assert_eq!(other.says(older), "queued: ");
    });
    works.settle();
    assert!(works.says(older).starts_with("succeeded: "));
    assert!(works.says(newer).starts_with("succeeded: "));
    let bodies: Vec<bool> = works
        .writes()
        .iter()
        .map(|(.., body)| body["tags"].is_null())
        .collect();
    assert_eq!(bodies, [true, true, false]);
}

#[test]
fn a_buried_run_says_so_unless_it_is_held_or_ended() {
    let works = works("keep_days = 2");
    let bury = |run: RunId| {
        works
            .harness
            .event(async |gateway| Engine { gateway }.bury(run).await)
            .unwrap();
    };
    let run = works.start("purge", &json!({}));
    let begun = block_on(works.store().claim(
        run,
        works.now(),
        works.now().plus_ms(60_000),
        (20, 6),
    ));
    begun.unwrap().unwrap();
    bury(run);
    assert_eq!(works.says(run), "running: ", "whoever holds it goes on");
    works.advance_secs(60);
    bury(run);
    let reason = "dead_letter: every attempt to work on the run broke off.";
    assert_eq!(works.says(run), format!("failed: {reason}"));
    let logs = works.harness.outside.logs();
    assert!(
        logs.contains(&format!("ALARM: run {run} was ended: {reason}")),
        "{logs}"
    );
    bury(run);
    bury(RunId::from_random([9; 16]));
    let told = works
        .ended(run)
        .events
        .iter()
        .filter(|event| *event == reason)
        .count();
    assert_eq!(told, 1);
    let done = works.finish("purge", &json!({}));
    bury(done.run.id);
    assert_eq!(works.says(done.run.id), done.says());
    assert_eq!(works.ended(done.run.id).events, done.events);
    works.advance_secs(2 * 86_400);
    works.tick();
    assert_eq!(
        works.sqlite().count("runs"),
        0,
        "kept as long as the job says"
    );
}

#[test]
fn what_is_no_run_is_left_alone_and_what_cannot_be_read_ends() {
    let works = works("");
    works.deliver(RunId::from_random([0xab; 16]));
    for (kind, params, reason) in [
        (
            "dns.sync",
            json!({}),
            "this version has no such kind of job",
        ),
        ("", json!({}), "this version has no such kind of job"),
        (
            "cache.purge",
            json!({"zones": 1}),
            "its parameters do not fit: expected a list, found the number 1",
        ),
    ] {
        let run = works.new_run(kind, &params);
        works.create(&run);
        works.settle();
        assert_eq!(
            works.says(run.id),
            format!("failed: The run cannot be carried out: {reason}.")
        );
    }
    assert_eq!(works.sent(), 0);
}

#[test]
fn calls_come_as_fast_as_the_purge_limit_of_the_plan_and_no_faster() {
    // Units, then how many are there at first and in how many microseconds another one comes.
    let check = |zone: &str, host: &str, form: &str, units: i64, depth: i64, unit_us: i64| {
        let works = works("timeout_secs = 86400");
        let items: Vec<String> = if form == "files" {
            (0..units).map(|n| format!("https://{host}/{n}")).collect()
        } else {
            (0..units * 100).map(|n| format!("t{n}")).collect()
        };
        let body = json!({"zones": [zone], "tags": [], form: items});
        let run = works.start("purge", &body);
        works.drain_in_time();
        let (run, steps) = works.run(run);
        assert_eq!(
            run.state.as_str(),
            "succeeded",
            "{zone} {form}: {:?}",
            run.reason
        );
        let sends = if form == "files" { units / 100 } else { units };
        assert_eq!(steps.len(), usize::try_from(sends).unwrap());
        assert_eq!(works.sent(), steps.len());
        assert!(!works.statuses().contains(&429), "{zone} {form}");
        let took_ms = run.finished_at.unwrap().ms_since(run.started_at.unwrap());
        let allowed_ms = (units - depth) * unit_us / 1000;
        let most = allowed_ms + allowed_ms / 10 + 2_500;
        assert!(
            (allowed_ms..=most).contains(&took_ms),
            "{zone} {form}: {took_ms} ms, not {allowed_ms}"
        );
    };
    check(ZONE_NET_ID, "example.net", "files", 10_000, 720, 1_250);
    check(ZONE_COM_ID, "example.com", "files", 10_000, 1_350, 667);
    check(ZONE_ORG_ID, "example.org", "files", 10_000, 2_700, 334);
    check(ZONE_NET_ID, "example.net", "tags", 40, 23, 12_000_000);
    check(ZONE_COM_ID, "example.com", "tags", 60, 23, 200_000);
}

#[test]
fn runs_are_forgotten_when_they_were_kept_long_enough() {
    let works = works("keep_days = 3");
    let run = works.finish("purge", &json!({})).run.id;
    works.advance_secs(3 * 86_400 - 120);
    works.tick();
    assert_eq!(works.says(run), "succeeded: Done with 2 calls.");
    works.advance_secs(120);
    works.tick();
    for table in [
        "runs",
        "run_params",
        "run_steps",
        "run_work",
        "run_events",
        "idempotency_keys",
    ] {
        assert_eq!(works.sqlite().count(table), 0, "{table}");
    }
    let (status, answer) = works.api(&format!("GET /api/v1/runs/{run}"), &json!({}));
    assert_eq!(
        (status, &answer["errors"][0]["message"]),
        (404, &json!("There is no such run."))
    );
}
