//! Every job kind, cut off before, in and after each of its effects. A new kind joins by its line in
//! [`CASES`].

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{TOKEN, ZONE_COM_ID, ZONE_NET_ID};
use support::harness::Harness;
use support::lab::writes::BY_HAND;
use support::motor::JobCase;
use support::rollout;
#[cfg(feature = "faults")]
use support::sweep::sweep;
use support::sweep::{Case, fail_every_effect, fail_twice};
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
zones = ["example.com", "example.org"]
[[grants]]
name = "records"
principals = ["nightly"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com", "example.net"]
"#;

/// A run of every kind, in the order of the kinds.
const CASES: &[fn() -> JobCase] = &[
    purge_of_two_zones,
    snapshot_of_two_zones,
    restore_of_a_zone,
    deployment_in_steps,
];

/// 150 files and a tag in two zones: several calls, each of which may be the one cut off.
fn purge_of_two_zones() -> JobCase {
    let files: Vec<String> = (0..150)
        .map(|n| format!("https://www.example.org/{n}"))
        .collect();
    JobCase {
        config: CONFIG,
        kind: "cache.purge",
        run_as: "nightly",
        params: json!({"zones": ["example.com", "example.org"], "files": files, "tags": ["a"]}),
        prepare: |_| {},
        effects: Harness::purged,
        allows_repeat: true,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &["/purge_cache"],
    }
}

/// Two zones, one with more records than fit a page of the simulator's default; an older snapshot of
/// each is given up.
fn snapshot_of_two_zones() -> JobCase {
    JobCase {
        config: CONFIG,
        kind: "dns.snapshot",
        run_as: "nightly",
        params: json!({"zones": ["example.com", "example.net"], "keep": 1}),
        prepare: |harness| {
            fill(harness, ZONE_COM_ID, 150);
            harness.outside.sqlite.rows(&format!(
                "INSERT INTO snapshots (id, zone, zone_name, job, run, run_as, taken_at, records, chunks, bytes, digest) \
                 VALUES ('{OLD}', '{ZONE_COM_ID}', 'example.com', 'job', '{OLD}', 'nightly', 1, 0, 1, 0, '')"
            ));
            harness
                .outside
                .blobs
                .put(&format!("snapshots/{OLD}/0"), Some(Vec::new()));
        },
        effects: |harness| {
            let rows = harness
                .outside
                .sqlite
                .rows("SELECT zone_name, records, chunks, digest, deleted_at FROM snapshots");
            let blobs = &harness.outside.blobs;
            let blobs = blobs.keys().into_iter().map(|key| {
                let blob = blobs.get(&key).unwrap();
                String::from_utf8(blob).unwrap()
            });
            rows.iter().map(ToString::to_string).chain(blobs).collect()
        },
        allows_repeat: false,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &[],
    }
}

/// A version on 5, 50 and all of the traffic, looked at in between, then a purge.
fn deployment_in_steps() -> JobCase {
    JobCase {
        config: rollout::CONFIG,
        kind: "workers.deploy",
        run_as: "deployer",
        params: rollout::params(),
        prepare: rollout::prepare,
        effects: |harness| {
            let mut effects = rollout::purged(harness);
            effects.push(rollout::history(harness).join(", then "));
            effects
        },
        // The purge.
        allows_repeat: true,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &["/purge_cache"],
    }
}

/// The same with a version that answers badly once it has traffic: everything goes back.
fn deployment_that_turns_bad() -> JobCase {
    JobCase {
        prepare: |harness| {
            rollout::prepare(harness);
            rollout::behave(harness, &json!([{"version": "newest", "status": 500}]));
        },
        allows_repeat: false,
        ends: RunState::Failed,
        may_stay_unknown: &[],
        ..deployment_in_steps()
    }
}

const OLD: &str = "000000000000000000000000000000aa";

/// A zone of the Free plan, where a batch has 200 records: some are gone, some changed, some new.
fn restore_of_a_zone() -> JobCase {
    JobCase {
        config: CONFIG,
        kind: "dns.restore",
        run_as: "nightly",
        params: json!({"zones": ["example.net"]}),
        prepare: |harness| {
            fill(harness, ZONE_NET_ID, 300);
            let mut taken = snapshot_of_two_zones();
            taken.params = json!({"zones": ["example.net"]});
            let run = taken.start(harness).unwrap();
            harness.settle().unwrap();
            assert_eq!(harness.state(run).unwrap().0, "succeeded");
            disturb(harness, ZONE_NET_ID);
        },
        effects: |harness| harness.records(ZONE_NET_ID),
        allows_repeat: false,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &[],
    }
}

fn fill(harness: &Harness, zone: &str, count: usize) {
    let mut network = harness.outside.network.borrow_mut();
    network.lab.fill_zone(zone, count).unwrap();
}

/// Deletes every second record that was filled in, changes some of the rest and adds one.
fn disturb(harness: &Harness, zone: &str) {
    let now_micros = harness.now().unix_ms() * 1000;
    let mut network = harness.outside.network.borrow_mut();
    let records: Vec<Value> = network
        .lab
        .records(zone)
        .iter()
        .map(|record| serde_json::from_str(record).unwrap())
        .collect();
    let is_ours = |record: &&Value| record["type"] == "TXT" || record["type"] == "A";
    let (mut deletes, mut patches) = (Vec::new(), Vec::new());
    for (index, record) in records.iter().filter(is_ours).enumerate() {
        if index % 2 == 0 {
            deletes.push(json!({"id": record["id"]}));
        } else if index % 5 == 0 {
            patches.push(json!({"id": record["id"], "comment": "disturbed"}));
        }
    }
    let posts = [json!({"type": "TXT", "name": "stray.example.net", "content": "stray"})];
    for items in [
        ("deletes", deletes),
        ("patches", patches),
        ("posts", posts.to_vec()),
    ] {
        for items_of_call in items.1.chunks(200) {
            let answered = network.lab.call(
                "POST",
                &format!("/client/v4/zones/{zone}/dns_records/batch?{BY_HAND}"),
                &[
                    ("authorization", &format!("Bearer {TOKEN}")),
                    ("content-type", "application/json"),
                ],
                json!({ items.0: items_of_call }).to_string().as_bytes(),
                now_micros,
            );
            assert_eq!(
                answered.status,
                200,
                "{}",
                String::from_utf8_lossy(&answered.body)
            );
        }
    }
}

#[test]
fn a_run_that_is_cut_off_at_any_effect_ends_as_if_nothing_had_been() {
    for case in CASES {
        fail_every_effect(&case());
    }
}

#[test]
fn a_run_that_is_cut_off_twice_ends_as_if_nothing_had_been() {
    for case in CASES {
        fail_twice(&case(), 300);
    }
}

#[test]
fn a_deployment_that_turns_bad_is_rolled_back_wherever_it_is_cut_off() {
    fail_every_effect(&deployment_that_turns_bad());
    fail_twice(&deployment_that_turns_bad(), 200);
}

#[test]
fn every_kind_is_cut_off() {
    let kinds = zonekeeper::jobs::KINDS.iter().map(|kind| kind.name);
    let cases: Vec<&str> = CASES.iter().map(|case| case().kind).collect();
    assert_eq!(kinds.collect::<Vec<_>>(), cases);
}

/// The sweep is worth something only if it finds what it is for.
#[cfg(feature = "faults")]
#[test]
fn a_planted_bug_is_found() {
    for bug in ["send_twice", "skip_intent"] {
        for case in [purge_of_two_zones, restore_of_a_zone] {
            let failed = sweep(&JobCase {
                planted: Some(bug),
                ..case()
            });
            assert!(!failed.is_empty(), "{bug} in {}", case().kind);
        }
    }
}
