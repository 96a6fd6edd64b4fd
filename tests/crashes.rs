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

use serde_json::json;
use support::harness::Harness;
use support::motor::JobCase;
use support::sweep::{fail_every_effect, fail_twice};
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
"#;

/// A run of every kind, in the order of the kinds.
const CASES: &[fn() -> JobCase] = &[purge_of_two_zones];

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
        may_stay_unknown: &["/purge_cache"],
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
fn every_kind_is_cut_off() {
    let kinds = zonekeeper::jobs::KINDS.iter().map(|kind| kind.name);
    let cases: Vec<&str> = CASES.iter().map(|case| case().kind).collect();
    assert_eq!(kinds.collect::<Vec<_>>(), cases);
}
