//! Deployments that look at how often the new version fails, as Cloudflare's analytics count it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use support::harness::Harness;
use support::rollout::{self, by_hand, ended, history, minutes, purged, start_other};
use zonekeeper::model::{RunId, Timestamp};

/// Somebody who may also ask the analytics how often Workers fail.
const GRANT: &str = r#"
[[grants]]
name = "counts"
principals = ["deployer"]
effect = "allow"
permissions = ["Account Analytics Read"]
accounts = ["Acme"]
graphql = { datasets = ["workersInvocationsAdaptive"] }
"#;

fn config() -> String {
    format!("{}{GRANT}", rollout::CONFIG)
}

fn harness() -> Harness {
    let harness = rollout::harness();
    harness.apply(&config());
    harness
}

/// 5 % for two minutes, 50 % for one, all; nothing is asked but the analytics.
fn params() -> Value {
    let mut params = rollout::params();
    params["health"] = json!([]);
    params["error_rate"] = json!({"max_percent_points": 1, "min_requests": 50});
    params
}

/// Some invocations of a version that the traffic brings now.
fn invoke(harness: &Harness, version: &str, requests: u32, errors: u32) {
    let now_micros = harness.now().unix_ms() * 1000;
    let body = json!({"version": version, "requests": requests, "errors": errors}).to_string();
    let path = "/__sim/sites/site/invocations";
    let mut network = harness.outside.network.borrow_mut();
    let answered = network
        .lab
        .call("POST", path, &[], body.as_bytes(), now_micros);
    assert_eq!(answered.status, 200, "{answered:?}");
}

/// The version that had everything before the deployment.
fn old(harness: &Harness) -> String {
    let found = by_hand(harness, "GET", "/deployments", "");
    let first = found["deployments"].as_array().unwrap().last().unwrap();
    first["versions"][0]["version_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A deployment of which the first step is made.
fn begin(harness: &Harness) -> RunId {
    let run = start_other(harness, &params());
    minutes(harness, 1);
    assert_eq!(history(harness), [OLD, "new 5 old 95", "2 versions"]);
    run
}

/// Queries of the analytics that Cloudflare got.
fn queries(harness: &Harness) -> usize {
    let effects = harness.outside.injector.effects();
    effects.iter().filter(|it| it.contains("/graphql")).count()
}

const OLD: &str = "old 100";
const WHOLE: [&str; 5] = [
    OLD,
    "new 5 old 95",
    "new 50 old 50",
    "new 100",
    "2 versions",
];
const BACK: [&str; 4] = [OLD, "new 5 old 95", OLD, "2 versions"];

#[test]
fn a_version_that_fails_more_often_than_the_one_before_goes_back() {
    let harness = harness();
    let old = old(&harness);
    let run = begin(&harness);
    invoke(&harness, "newest", 400, 30);
    invoke(&harness, &old, 7_600, 15);
    minutes(&harness, 2);
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed", "{reason}");
    let begun = by_hand(&harness, "GET", "/deployments", "")["deployments"][1]["created_on"].take();
    let begun: Timestamp = begun.as_str().unwrap().parse().unwrap();
    let expected = format!(
        "The new version failed 7.5 % of 400 requests since {begun}, the one before 0.2 % of 7600. "
    );
    assert!(reason.starts_with(&expected), "{reason}");
    assert_eq!(history(&harness), BACK);
    assert_eq!(purged(&harness), [""; 0]);
}

#[test]
fn a_version_that_fails_as_seldom_as_the_one_before_goes_on() {
    let harness = harness();
    let old = old(&harness);
    let run = start_other(&harness, &params());
    minutes(&harness, 1);
    // Both fail often; what counts is that the new one does not fail more often.
    invoke(&harness, "newest", 400, 30);
    invoke(&harness, &old, 7_600, 500);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(history(&harness), WHOLE);
    assert_eq!(purged(&harness).len(), 1);
    // Once before anything was sent, and each look of the two steps.
    assert_eq!(queries(&harness), 4);
}

#[test]
fn a_version_that_has_had_too_few_requests_is_not_judged() {
    for (requests, goes_on) in [(0, true), (49, true), (50, false)] {
        let harness = harness();
        let run = begin(&harness);
        if requests > 0 {
            invoke(&harness, "newest", requests, requests);
        }
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state == "succeeded", goes_on, "{requests}: {reason}");
    }
}

#[test]
fn what_happened_before_the_step_does_not_count_in_it() {
    let harness = harness();
    // Nobody looks at the first step before it is over.
    let mut params = params();
    params["check_every_secs"] = json!(3_600);
    params["steps"] = json!([{"percent": 5, "wait_secs": 3_600}, {"percent": 50, "wait_secs": 3_600}, {"percent": 100}]);
    let old = old(&harness);
    // From before the deployment: the old one failed always.
    invoke(&harness, &old, 1_000, 1_000);
    let run = start_other(&harness, &params);
    minutes(&harness, 1);
    invoke(&harness, "newest", 100, 5);
    invoke(&harness, &old, 1_000, 0);
    minutes(&harness, 70);
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed", "{reason}");
    assert!(reason.contains("failed 5 % of 100 requests"), "{reason}");
    assert!(reason.contains("the one before 0 % of 1000"), "{reason}");
}

#[test]
fn a_principal_that_may_not_ask_begins_nothing() {
    for less in [
        "",
        &GRANT.replace("workersInvocationsAdaptive", "httpRequestsAdaptiveGroups"),
        &GRANT.replace("Account Analytics Read", "Workers Scripts Read"),
    ] {
        let harness = rollout::harness();
        harness.apply(&format!("{}{less}", rollout::CONFIG));
        let run = start_other(&harness, &params());
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "failed", "{reason} {less}");
        assert!(
            reason.contains("deployer may not call POST /graphql on the dataset"),
            "{reason}"
        );
        assert_eq!(history(&harness), [OLD, "1 versions"]);
        assert_eq!(queries(&harness), 0);
    }
}

#[test]
fn a_question_that_wants_an_approval_or_cannot_be_read_begins_nothing() {
    let harness = rollout::harness();
    let asked_first = GRANT.replace("\"allow\"", "\"approve\"");
    harness.apply(&format!("{}{asked_first}", rollout::CONFIG));
    let run = start_other(&harness, &params());
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "needs_approval");
    assert_eq!(history(&harness), [OLD, "1 versions"]);

    let harness = self::harness();
    let run = start_other(&harness, &params());
    for _ in 0..10 {
        let mut network = harness.outside.network.borrow_mut();
        let answer = json!({"data": null, "errors": [{"message": "unknown field"}]});
        network.answer_instead(("POST", "/graphql"), 0, 200, &[], &answer);
    }
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(reason.contains("unknown field"), "{reason}");
    assert_eq!(history(&harness), [OLD, "1 versions"]);
}

#[test]
fn a_grant_that_goes_in_the_middle_takes_the_version_back() {
    let harness = harness();
    let run = begin(&harness);
    harness.apply(rollout::CONFIG);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(
        reason.contains("deployer may not call POST /graphql on the dataset"),
        "{reason}"
    );
    assert_eq!(queries(&harness), 1);
    assert_eq!(history(&harness), BACK);
}

#[test]
fn analytics_that_cannot_be_read_are_asked_again_and_never_count_as_fine() {
    let rows = |rows: Value| json!({"data": {"viewer": {"accounts": [{"workersInvocationsAdaptive": rows}]}}, "errors": null});
    let row = |version: Value, requests: Value| json!({"dimensions": {"scriptVersion": version}, "sum": {"requests": requests, "errors": 0}});
    let many: Vec<Value> = (0..1000)
        .map(|n| row(json!(n.to_string()), json!(1)))
        .collect();
    let cases = [
        (
            200,
            json!({"data": null, "errors": [{"message": "unknown field"}]}),
        ),
        (200, json!({"data": null, "errors": null})),
        (
            200,
            json!({"data": {"viewer": {"accounts": []}}, "errors": []}),
        ),
        (200, json!("<html>")),
        (200, rows(json!(many))),
        (200, rows(json!([row(json!(null), json!(1))]))),
        (200, rows(json!([row(json!("a"), json!(-1))]))),
        (200, rows(json!([row(json!("a"), json!("1"))]))),
        (
            200,
            json!({"data": rows(json!([]))["data"], "errors": "no"}),
        ),
        (
            200,
            json!({"data": rows(json!([]))["data"], "errors": [{"message": "a part is missing"}]}),
        ),
        (500, json!({"data": null, "errors": null})),
    ];
    for (status, answer) in cases {
        let harness = harness();
        let run = begin(&harness);
        for _ in 0..2 {
            let mut network = harness.outside.network.borrow_mut();
            network.answer_instead(("POST", "/graphql"), 0, status, &[], &answer);
        }
        minutes(&harness, 1);
        assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
        let seen = harness.state(run).unwrap();
        assert_eq!(seen.0, "running", "{answer}: {seen:?}");
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "succeeded", "{answer}: {reason}");
        assert_eq!(queries(&harness), 6, "{answer}");

        // For ever: it goes back.
        let harness = self::harness();
        let run = begin(&harness);
        for _ in 0..40 {
            let mut network = harness.outside.network.borrow_mut();
            network.answer_instead(("POST", "/graphql"), 0, status, &[], &answer);
        }
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "failed", "{answer}: {reason}");
        assert_eq!(history(&harness), BACK, "{answer}");
    }
}

#[test]
fn too_many_questions_are_waited_for() {
    let harness = harness();
    let run = begin(&harness);
    let mut network = harness.outside.network.borrow_mut();
    let none = json!({"data": null, "errors": null});
    network.answer_instead(
        ("POST", "/graphql"),
        0,
        429,
        &[("retry-after", "300")],
        &none,
    );
    drop(network);
    minutes(&harness, 5);
    assert_eq!(queries(&harness), 2);
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "succeeded");
}

#[test]
fn promoting_early_does_not_leave_out_the_question() {
    let harness = harness();
    let run = begin(&harness);
    invoke(&harness, "newest", 100, 100);
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| {
        let wish = zonekeeper::store::Wish::Hurry;
        gateway.store.wish(run, wish, "go", &event, now).await
    });
    assert!(done.unwrap().unwrap());
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "failed");
    assert_eq!(history(&harness), BACK);
}
