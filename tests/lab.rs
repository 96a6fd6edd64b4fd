//! The world in which everything can fail keeps its own promises: an oracle has to be right before
//! anybody is judged by it.

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
use simulator::ZONE_COM_ID;
use support::keeper::NOW;
use support::lab::blobs::Blobs;
use support::lab::database::LabDatabase;
use support::lab::injector::{Fault, run};
use support::lab::network::LATE_MS;
use support::lab::queue::{Message, Queue, Unacked};
use support::lab::world::{LabWorld, Outside};
use support::world::Clock;
use zonekeeper::catalog::Method;
use zonekeeper::gateway::World;
use zonekeeper::jobs::Platform;
use zonekeeper::model::RunId;
use zonekeeper::store::{Database, Statement, StoreError};
use zonekeeper::upstream::{self, Answer, Client, DEADLINE_MS, Exchange};

fn outside() -> Outside {
    Outside::new(Clock::at(NOW))
}

fn create(name: &str) -> Exchange {
    let body = json!({"type": "TXT", "name": name, "content": "v"});
    Exchange {
        method: Method::Post,
        body: Some(body.to_string()),
        ..Exchange::get(format!("/zones/{ZONE_COM_ID}/dns_records"))
    }
}

/// How many records Cloudflare has of `name`.
fn records(outside: &Outside, name: &str) -> usize {
    let name = format!("\"{name}.example.com\"");
    let network = outside.network.borrow();
    let records = network.lab.records(ZONE_COM_ID);
    records.iter().filter(|json| json.contains(&name)).count()
}

/// Creates a record as its second effect meets `fault`.
fn create_under(outside: &Outside, fault: Fault) -> Option<Result<Answer, upstream::Fault>> {
    let world = LabWorld::new(outside);
    outside.injector.plan(2, fault);
    run(&outside.injector, async {
        world.exchange(&Exchange::get("/user")).await.unwrap();
        world.exchange(&create("x")).await
    })
}

#[test]
fn a_call_upstream_reaches_the_simulator_with_our_credential() {
    let outside = outside();
    let world = LabWorld::new(&outside);
    let answer = block_on(world.exchange(&create("x"))).unwrap();
    assert_eq!(answer.head.status, 200);
    assert!(answer.head.cf_ray.unwrap().ends_with("-SIM"));
    let body: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
    assert_eq!(body["result"]["name"], "x.example.com");
    assert_eq!(body["result"]["created_on"], "2026-11-01T12:00:00.000000Z");
    assert_eq!(records(&outside, "x"), 1);
    assert_eq!(
        outside.injector.effects(),
        [format!("upstream: POST /zones/{ZONE_COM_ID}/dns_records")]
    );
}

#[test]
fn a_lost_connection_hides_whether_the_call_happened() {
    for (fault, happened) in [(Fault::ErrorBefore, 0), (Fault::ErrorAfter, 1)] {
        let outside = outside();
        let seen = create_under(&outside, fault).unwrap().unwrap_err();
        assert_eq!(seen, upstream::Fault::Network);
        assert_eq!(records(&outside, "x"), happened, "{fault:?}");
        // Faults strike once.
        let world = LabWorld::new(&outside);
        assert!(block_on(world.exchange(&create("y"))).is_ok());
        assert_eq!(outside.injector.struck(), 1);
    }
}

#[test]
fn a_call_whose_caller_waited_in_vain_happens_when_the_caller_has_gone_on() {
    let outside = outside();
    let seen = create_under(&outside, Fault::Timeout).unwrap().unwrap_err();
    assert_eq!(seen, upstream::Fault::Deadline);
    let waited = outside.clock.now().ms_since(NOW.parse().unwrap());
    assert_eq!(waited, i64::from(DEADLINE_MS));
    assert_eq!(records(&outside, "x"), 0);
    assert_eq!(outside.network.borrow().on_their_way(), 1);
    outside.advance_ms(LATE_MS - waited - 1);
    assert_eq!(records(&outside, "x"), 0);
    outside.advance_ms(1);
    assert_eq!(records(&outside, "x"), 1);
    assert_eq!(outside.network.borrow().on_their_way(), 0);
    let ledger = outside.network.borrow().lab.ledger();
    let sent_at = ledger[0].time_micros;
    assert_eq!(ledger[1].time_micros, sent_at + LATE_MS * 1000);
}

#[test]
fn a_late_call_comes_before_a_call_that_is_made_later() {
    let outside = outside();
    create_under(&outside, Fault::Timeout);
    outside.clock.advance_ms(LATE_MS);
    let world = LabWorld::new(&outside);
    let answer = block_on(world.exchange(&create("x"))).unwrap();
    assert_eq!(answer.head.status, 400, "the record exists already");
}

#[test]
fn what_is_killed_has_no_effects_until_it_is_restarted() {
    for (fault, happened) in [(Fault::KillBefore, 0), (Fault::KillAfter, 1)] {
        let outside = outside();
        assert!(create_under(&outside, fault).is_none());
        assert_eq!(records(&outside, "x"), happened, "{fault:?}");
        let world = LabWorld::new(&outside);
        let injector = &outside.injector;
        assert!(run(injector, world.exchange(&create("y"))).is_none());
        assert_eq!((records(&outside, "y"), injector.count()), (0, 2));
        injector.restart();
        assert!(run(injector, world.exchange(&create("y"))).is_some());
        assert_eq!(records(&outside, "y"), 1);
    }
}

#[test]
fn a_batch_fails_like_a_call() {
    let clock = Clock::at(NOW);
    for (fault, rows, waited) in [
        (Fault::ErrorBefore, 0, 0),
        (Fault::ErrorAfter, 1, 0),
        (Fault::KillBefore, 0, 0),
        (Fault::KillAfter, 1, 0),
        (Fault::Timeout, 1, i64::from(DEADLINE_MS)),
    ] {
        let outside = outside();
        let database = LabDatabase::new(&outside);
        let batch = |sql| database.batch(vec![Statement::new(sql, Vec::new())]);
        block_on(batch("CREATE TABLE t (a INTEGER)")).unwrap();
        outside.injector.plan(1, fault);
        let ended = run(&outside.injector, batch("INSERT INTO t (a)\n  VALUES (1)"));
        match fault {
            Fault::KillBefore | Fault::KillAfter => assert_eq!(ended, None),
            _ => assert!(matches!(ended, Some(Err(StoreError::Unavailable(_))))),
        }
        assert_eq!(outside.sqlite.count("t"), rows, "{fault:?}");
        assert_eq!(outside.clock.now().ms_since(clock.now()), waited);
        assert_eq!(
            outside.injector.describe(1),
            format!("\n    1  d1: INSERT t  <- {fault:?}")
        );
    }
}

#[test]
fn a_batch_is_described_by_its_verbs_and_tables() {
    let outside = outside();
    let database = LabDatabase::new(&outside);
    let check = |sql: &[&'static str], expected: &str| {
        let statements = sql.iter().map(|sql| Statement::new(sql, Vec::new()));
        // Only the description matters; some of these tables do not exist.
        let _ = block_on(database.batch(statements.collect()));
        assert_eq!(outside.injector.effects().last().unwrap(), expected);
    };
    check(
        &[
            "UPDATE runs SET a = 1",
            "INSERT OR IGNORE INTO run_events(a) VALUES (1)",
        ],
        "d1: UPDATE runs; INSERT run_events",
    );
    check(&["-- Why.\nSELECT a\nFROM t WHERE b"], "d1: SELECT t");
    check(&["DELETE FROM t"], "d1: DELETE t");
    check(&["PRAGMA user_version"], "d1: PRAGMA user_version");
}

#[test]
fn chance_is_the_same_every_time_and_never_repeats_itself() {
    let bytes = |world: &LabWorld| {
        let mut bytes = [0; 20];
        assert!(world.randomize(&mut bytes));
        bytes
    };
    let (one, two) = (outside(), outside());
    let first = bytes(&LabWorld::new(&one));
    assert_eq!(bytes(&LabWorld::new(&two)), first);
    assert_ne!(bytes(&LabWorld::new(&one)), first);
    let (a, b) = (LabWorld::new(&one), LabWorld::new(&one));
    assert_ne!(a.entry_id(a.now()), b.entry_id(b.now()));
}

#[test]
fn blobs_and_messages_fail_like_a_call() {
    let run_id = RunId::from_random([7; 16]);
    for (fault, happened) in [
        (Fault::ErrorBefore, false),
        (Fault::ErrorAfter, true),
        (Fault::Timeout, true),
        (Fault::KillBefore, false),
        (Fault::KillAfter, true),
    ] {
        let is_kill = matches!(fault, Fault::KillBefore | Fault::KillAfter);
        let outside = outside();
        let world = LabWorld::new(&outside);
        let injector = &outside.injector;
        injector.plan(1, fault);
        let ended = run(injector, world.put_blob("k", b"v".to_vec(), None));
        assert_eq!(
            ended.map(|ended| ended.is_err()),
            (!is_kill).then_some(true)
        );
        injector.restart();
        assert_eq!(!outside.blobs.keys().is_empty(), happened, "{fault:?}");
        outside.blobs.put("k", Some(b"w".to_vec()));
        injector.plan(1, fault);
        let ended = run(injector, world.delete_blob("k"));
        assert_eq!(
            ended.map(|ended| ended.is_err()),
            (!is_kill).then_some(true)
        );
        injector.restart();
        assert_eq!(outside.blobs.keys().is_empty(), happened, "{fault:?}");
        injector.plan(1, fault);
        let ended = run(injector, world.enqueue(&[run_id], 60));
        assert_eq!(
            ended.map(|ended| ended.is_err()),
            (!is_kill).then_some(true)
        );
        injector.restart();
        assert_eq!(!outside.queue.waiting().is_empty(), happened, "{fault:?}");
        assert_eq!(
            run(injector, world.blob("k")),
            Some(Ok(outside.blobs.get("k")))
        );
        assert_eq!(world.subrequests(), 4);
        world.begin_invocation();
        assert_eq!(world.subrequests(), 0);
        assert_eq!(
            injector.effects(),
            [
                "blob: put k",
                "blob: delete k",
                "queue: send 1 runs in 60 s",
                "blob: get k"
            ]
        );
    }
}

#[test]
fn a_message_is_delivered_when_it_is_due_and_until_it_is_acknowledged() {
    let clock = Clock::at(NOW);
    let queue = Queue::default();
    let message = |number, body: &str, attempt| {
        Some(Message {
            number,
            body: body.to_owned(),
            attempt,
        })
    };
    queue.send(&clock, "later".to_owned(), 60);
    queue.send(&clock, "now".to_owned(), 0);
    assert_eq!(queue.deliver(&clock), message(2, "now", 1));
    assert_eq!(queue.deliver(&clock), None);
    queue.retry(&clock, 2, 90);
    clock.advance_ms(60_000);
    assert_eq!(queue.deliver(&clock), message(1, "later", 1));
    queue.acknowledge(1);
    clock.advance_ms(30_000);
    assert_eq!(queue.deliver(&clock), message(2, "now", 2));
    queue.crash(Unacked::Redelivered);
    assert_eq!(queue.deliver(&clock), message(2, "now", 3));
    assert_eq!(queue.waiting(), ["now"]);
    queue.crash(Unacked::Lost);
    assert_eq!(queue.waiting(), [""; 0]);
}

#[test]
fn a_blob_survives_and_may_be_seen_late() {
    let blobs = Blobs::default();
    let get = || blobs.get("a").map(|bytes| bytes[0]);
    blobs.put("a", Some(vec![1]));
    blobs.set_stale(true);
    assert_eq!(get(), None);
    blobs.put("a", Some(vec![2]));
    assert_eq!(get(), Some(1));
    blobs.set_stale(false);
    assert_eq!((get(), blobs.keys()), (Some(2), vec!["a".to_owned()]));
    blobs.put("a", None);
    assert_eq!((get(), blobs.keys().len()), (None, 0));
}
