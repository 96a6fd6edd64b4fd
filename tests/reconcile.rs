//! What a crash or a cut connection leaves open is closed by the scheduler, by reading and never by
//! sending again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use support::database::Storage;
use support::keeper::{COM, Keeper, NOW, ask};
use support::upstream::{Expected, delete, failure, get, list, patch, post, success};
use zonekeeper::audit::Entry;
use zonekeeper::gateway::{Reconciled, reconcile};
use zonekeeper::model::EntryId;
use zonekeeper::upstream::Fault;

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"
[[grants]]
name = "dns"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
"#;

const RECORD: &str = "000000000000000000000000000000e1";

fn records() -> String {
    format!("/zones/{COM}/dns_records")
}

fn record() -> String {
    format!("{}/{RECORD}", records())
}

fn body() -> Value {
    json!({"type": "TXT", "name": "a.example.com", "content": "v"})
}

/// The list that tells whether [`body`] was created.
fn read_back() -> Expected {
    get(format!(
        "{}?type=TXT&name.exact=a.example.com&per_page=100",
        records()
    ))
}

fn tick(keeper: &Keeper) -> Reconciled {
    block_on(reconcile(&keeper.store, &keeper.world, keeper.now())).unwrap()
}

const fn did(abandoned: usize, settled: usize, undecided: usize) -> Reconciled {
    Reconciled {
        abandoned,
        settled,
        undecided,
    }
}

/// A record as Cloudflare shows it, made and changed when the calls of these tests are.
fn made(content: &str) -> Value {
    json!({"type": "TXT", "content": content, "created_on": NOW, "modified_on": NOW})
}

fn ended(keeper: &Keeper) -> (Option<String>, Option<u16>) {
    let Entry {
        outcome, status, ..
    } = keeper.last_entry();
    (outcome, status)
}

/// A create whose Worker dies after it was sent.
fn crashed() -> Rc<Keeper> {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    keeper.expect(
        post(records())
            .with(body())
            .answers(200, success(&json!({}))),
    );
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    assert_eq!(keeper.call_and_crash(request.json(&body())).status, 200);
    assert_eq!(ended(&keeper), (Some("pending".to_owned()), None));
    keeper
}

/// A call of which no answer comes.
fn lost(line: &str, path: &str, body: Option<&Value>, expected: Expected) -> Rc<Keeper> {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    keeper.expect(expected.fails(Fault::Network));
    // Read back at once, in vain.
    let back = if line == "POST" {
        read_back()
    } else {
        get(record())
    };
    keeper.expect(back.fails(Fault::Network));
    let mut request = ask(&format!("{line} /client/v4{path}")).key(&key);
    if let Some(body) = body {
        request = request.json(body);
    }
    assert_eq!(keeper.call(request).refused(), (502, 20070));
    assert_eq!(ended(&keeper), (Some("unknown".to_owned()), Some(502)));
    keeper
}

#[test]
fn f2_an_intent_is_given_up_for_unknown_after_45_seconds_and_read_back() {
    let keeper = crashed();
    keeper.advance_secs(45);
    assert_eq!(
        tick(&keeper),
        did(0, 0, 0),
        "its call may still be under way"
    );
    assert_eq!(ended(&keeper).0.as_deref(), Some("pending"));
    keeper.advance_secs(1);
    keeper.expect(read_back().answers(200, list(&[made("\"v\"")], 1)));
    assert_eq!(tick(&keeper), did(1, 1, 0));
    assert_eq!(ended(&keeper).0.as_deref(), Some("settled"));
    assert_eq!(
        keeper.last_entry().sentence,
        "bot asked to create TXT record a.example.com in example.com; allowed by dns; Cloudflare did not confirm it, and reading back showed that it happened."
    );
}

#[test]
fn each_way_of_reading_back_settles_what_it_can() {
    let gone = || lost("DELETE", &record(), None, delete(record()));
    let change = json!({"content": "v"});
    let has = || {
        let expected = patch(record()).with(change.clone());
        lost("PATCH", &record(), Some(&change), expected)
    };
    let exists = || {
        let expected = post(records()).with(body());
        lost("POST", &records(), Some(&body()), expected)
    };
    let check = |keeper: Rc<Keeper>, back: Expected, expected: Option<bool>| {
        keeper.advance_secs(60);
        keeper.expect(back);
        let counts = tick(&keeper);
        let sentence = keeper.last_entry().sentence;
        if let Some(happened) = expected {
            assert_eq!(counts, did(0, 1, 0), "{sentence}");
            assert_eq!(sentence.contains("it happened"), happened, "{sentence}");
        } else {
            assert_eq!(counts, did(0, 0, 1), "{sentence}");
            assert_eq!(ended(&keeper).0.as_deref(), Some("unknown"));
        }
    };
    let there = success(&made("v"));
    check(
        gone(),
        get(record()).answers(404, failure(81044, "gone")),
        Some(true),
    );
    check(
        gone(),
        get(record()).answers(200, there.clone()),
        Some(false),
    );
    check(gone(), get(record()).answers(404, "<html>"), None);
    check(has(), get(record()).answers(200, there), Some(true));
    check(has(), get(record()).answers(200, success(&made("w"))), None);
    check(
        has(),
        get(record()).answers(404, failure(81044, "gone")),
        None,
    );
    check(
        exists(),
        read_back().answers(200, list(&[made("v")], 1)),
        Some(true),
    );
    check(
        exists(),
        read_back().answers(200, list(&[], 0)),
        Some(false),
    );
    check(
        exists(),
        read_back().answers(200, list(&[made("other")], 1)),
        None,
    );
    check(exists(), read_back().answers(500, ""), None);
    check(exists(), read_back().answers(200, "").cut(), None);
    check(exists(), read_back().fails(Fault::Network), None);
}

#[test]
fn a_call_that_cloudflare_may_still_be_at_work_on_is_not_read_back() {
    let expected = post(records()).with(body());
    let keeper = lost("POST", &records(), Some(&body()), expected);
    keeper.advance_secs(45);
    assert_eq!(tick(&keeper), did(0, 0, 0));
    keeper.advance_secs(1);
    keeper.expect(read_back().answers(200, list(&[], 0)));
    assert_eq!(tick(&keeper), did(0, 1, 0));
}

#[test]
fn what_stays_undecided_is_asked_again_until_a_day_has_passed() {
    let keeper = lost("DELETE", &record(), None, delete(record()));
    for _ in 0..3 {
        keeper.advance_secs(60);
        keeper.expect(get(record()).fails(Fault::Network));
        assert_eq!(tick(&keeper), did(0, 0, 1));
    }
    keeper.advance_secs(24 * 3600);
    assert_eq!(tick(&keeper), did(0, 0, 0));
    assert_eq!(ended(&keeper).0.as_deref(), Some("unknown"));
}

#[test]
fn what_cannot_be_read_back_stays_unknown_without_a_call() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let batch = json!({"posts": [body()]});
    let path = format!("{}/batch", records());
    keeper.expect(post(&path).with(batch.clone()).fails(Fault::Deadline));
    let request = ask(&format!("POST /client/v4{path}"))
        .key(&key)
        .json(&batch);
    assert_eq!(keeper.call(request).status, 502);
    keeper.advance_secs(60);
    assert_eq!(tick(&keeper), did(0, 0, 0));
}

#[test]
fn an_answer_that_comes_late_settles_what_was_given_up() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let (clock, other) = (keeper.world.clock.clone(), keeper.neighbour());
    keeper.expect(
        post(records())
            .with(body())
            .answers(200, success(&json!({})))
            .meanwhile(move || {
                clock.advance_ms(60_000);
                other.expect(read_back().fails(Fault::Network));
                assert_eq!(tick(&other), did(1, 0, 1));
            }),
    );
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    assert_eq!(keeper.call(request.json(&body())).status, 200);
    assert_eq!(ended(&keeper).0.as_deref(), Some("settled"));
    assert!(keeper.last_entry().sentence.ends_with("it happened."));
}

#[test]
fn an_outcome_that_is_stored_late_settles_what_was_given_up() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    keeper.expect(
        post(records())
            .with(body())
            .answers(200, success(&json!({}))),
    );
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    let answered = keeper.call_and_crash(request.json(&body()));
    // The answer came at once; storing its outcome took a minute.
    keeper.advance_secs(60);
    keeper.expect(read_back().fails(Fault::Network));
    assert_eq!(tick(&keeper), did(1, 0, 1));
    keeper.write_down(&answered.after);
    assert_eq!(ended(&keeper).0.as_deref(), Some("settled"));
}

#[test]
fn running_twice_does_nothing_more() {
    let keeper = crashed();
    keeper.advance_secs(60);
    keeper.expect(read_back().answers(200, list(&[], 0)));
    assert_eq!(tick(&keeper), did(1, 1, 0));
    let stored = keeper.database.sqlite().dump();
    assert_eq!(tick(&keeper), did(0, 0, 0));
    assert_eq!(keeper.database.sqlite().dump(), stored);
}

#[test]
fn two_ticks_at_once_write_each_row_once() {
    for moment in ["SELECT i.id FROM audit_intents", "SELECT o.id, i.read_back"] {
        let keeper = crashed();
        keeper.advance_secs(60);
        let other = keeper.neighbour();
        let happened = || read_back().answers(200, list(&[made("v")], 1));
        keeper.database.after(moment, {
            let other = Rc::clone(&other);
            move || {
                other.expect(happened());
                tick(&other);
            }
        });
        if moment.contains("read_back") {
            keeper.expect(happened());
        }
        tick(&keeper);
        keeper.world.check_script_is_used_up();
        let sqlite = keeper.database.sqlite();
        assert_eq!(
            (
                sqlite.count("audit_outcomes"),
                sqlite.count("audit_settlements")
            ),
            (1, 1),
            "{moment}"
        );
        assert_eq!(ended(&keeper).0.as_deref(), Some("settled"));
    }
}

#[test]
fn a_tick_cut_anywhere_is_finished_by_the_next() {
    for n in 1..=4 {
        for storage in [Storage::FailsBefore, Storage::FailsAfter] {
            let keeper = crashed();
            keeper.advance_secs(60);
            let answer = || read_back().answers(200, list(&[made("v")], 1));
            keeper.database.fail_nth(n, storage);
            if n == 4 {
                keeper.expect(answer());
            }
            let cut = block_on(reconcile(&keeper.store, &keeper.world, keeper.now()));
            assert!(cut.is_err(), "batch {n} {storage:?}");
            if (n, storage) != (4, Storage::FailsAfter) {
                keeper.expect(answer());
            }
            tick(&keeper);
            keeper.world.check_script_is_used_up();
            assert_eq!(ended(&keeper).0.as_deref(), Some("settled"), "batch {n}");
        }
    }
}

#[test]
fn the_mark_stays_behind_an_intent_that_is_open() {
    let mark = |keeper: &Keeper| {
        let row = &keeper
            .database
            .sqlite()
            .rows("SELECT reconciled_to AS mark FROM control")[0];
        EntryId::from_stored(row["mark"].as_i64().unwrap())
    };
    let keeper = crashed();
    let first = keeper.last_entry().id;
    keeper.advance_secs(40);
    tick(&keeper);
    assert!(mark(&keeper) <= first);
    keeper.advance_secs(40);
    keeper.expect(read_back().answers(200, list(&[], 0)));
    tick(&keeper);
    let passed = mark(&keeper);
    assert!(passed > first);
    // Idle minutes cost no row.
    keeper.advance_secs(600);
    let before = keeper.database.sqlite().total_changes();
    tick(&keeper);
    assert_eq!(keeper.database.sqlite().total_changes(), before);
    assert_eq!(mark(&keeper), passed);
}
