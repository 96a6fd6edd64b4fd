//! Deployments step by step: what becomes of the traffic, whatever happens meanwhile.

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
use support::motor::JobCase;
use support::rollout::{
    self, by_hand, ended, harness, history, minutes, params, purged, start_other,
};
use support::sweep::Case as _;
use zonekeeper::model::RunId;
use zonekeeper::run::RunState;
use zonekeeper::store::Wish;

fn start(harness: &Harness, params: Value) -> RunId {
    let case = JobCase {
        config: rollout::CONFIG,
        kind: "workers.deploy",
        run_as: "deployer",
        params,
        prepare: |_| {},
        effects: |_| Vec::new(),
        allows_repeat: false,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &[],
    };
    case.start(harness).unwrap()
}

const OLD: &str = "old 100";

#[test]
fn a_version_gets_its_shares_one_after_the_other_and_then_caches_are_purged() {
    let harness = harness();
    let run = start(&harness, params());
    minutes(&harness, 1);
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
    assert_eq!(purged(&harness), [""; 0]);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(
        history(&harness),
        [
            OLD,
            "new 5 old 95",
            "new 50 old 50",
            "new 100",
            "2 versions"
        ]
    );
    assert_eq!(purged(&harness).len(), 1);
}

#[test]
fn a_version_that_turns_bad_is_rolled_back_within_two_ticks_and_nothing_is_purged() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
    rollout::behave(&harness, &json!([{"version": "newest", "status": 500}]));
    minutes(&harness, 2);
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(
        reason.starts_with("The new version failed its check: https://site.example.com/__sim/sites/site/health answered 500 in place of 200. Version ")
            && reason.ends_with(" has all traffic again."),
        "{reason}"
    );
    assert_eq!(purged(&harness), [""; 0]);
}

#[test]
fn what_goes_back_does_so_though_the_new_version_has_other_secrets() {
    let harness = harness();
    let bundle = rollout::bundle(&json!({"main_module": "index.js"}), "export default {}");
    let key = rollout::key_of(&bundle);
    harness.outside.blobs.put(&key, Some(bundle));
    rollout::behave(&harness, &json!([{"version": "newest", "status": 500}]));
    let mut params = params();
    params["bundle"] = json!(key);
    let run = start(&harness, params);
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "failed");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
}

#[test]
fn an_old_version_that_answers_badly_too_does_not_hide_behind_the_new_one() {
    let harness = harness();
    rollout::behave(
        &harness,
        &json!([{"version": "any", "body": "maintenance"}]),
    );
    let mut params = params();
    params["health"][0]["contains"] = json!("script");
    let run = start(&harness, params);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(
        reason.contains("did not answer with \"script\" in its body"),
        "{reason}"
    );
}

#[test]
fn a_cancelled_deployment_gives_everything_back() {
    let harness = harness();
    let run = start(&harness, params());
    minutes(&harness, 1);
    cancel(&harness, run);
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "cancelled");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
    assert_eq!(purged(&harness), [""; 0]);
}

fn cancel(harness: &Harness, run: RunId) {
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| {
        let store = gateway.store;
        store.wish(run, Wish::Cancel, "stop", &event, now).await
    });
    assert!(done.unwrap().unwrap());
}

#[test]
fn a_promoted_deployment_leaves_out_what_it_would_have_waited() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| {
        gateway
            .store
            .wish(run, Wish::Hurry, "go", &event, now)
            .await
    });
    assert!(done.unwrap().unwrap());
    minutes(&harness, 1);
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(
        history(&harness),
        [OLD, "new 5 old 95", "new 100", "2 versions"]
    );
    assert_eq!(purged(&harness).len(), 1);
}

#[test]
fn what_somebody_else_deploys_meanwhile_is_left_alone() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    let found = by_hand(&harness, "GET", "/deployments", "");
    let old = &found["deployments"][1]["versions"][0]["version_id"];
    let theirs =
        json!({"strategy": "percentage", "versions": [{"version_id": old, "percentage": 100}]});
    by_hand(&harness, "POST", "/deployments", &theirs.to_string());
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(
        reason.starts_with("Somebody else deployed the Worker site meanwhile"),
        "{reason}"
    );
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
}

#[test]
fn two_jobs_never_deploy_one_worker_at_a_time() {
    let harness = harness();
    let first = start(&harness, params());
    harness.drain().unwrap();
    let bundle = rollout::bundle(&json!({"main_module": "index.js"}), "export default {}");
    harness
        .outside
        .blobs
        .put(&rollout::key_of(&bundle), Some(bundle.clone()));
    let mut second = params();
    second["bundle"] = json!(rollout::key_of(&bundle));
    let second = start_other(&harness, &second);
    minutes(&harness, 1);
    assert_eq!(harness.state(second).unwrap().0, "running");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
    harness.settle().unwrap();
    assert_eq!(ended(&harness, first).0, "succeeded");
    assert_eq!(ended(&harness, second).0, "succeeded");
    let shares = history(&harness);
    assert_eq!(shares.len(), 8, "{shares:?}");
}

#[test]
fn what_cannot_be_rolled_back_is_refused_before_anything_is_sent() {
    let harness = harness();
    let metadata = json!({"main_module": "index.js", "migrations": {"new_tag": "v2"}});
    let bundle = rollout::bundle(&metadata, "export default {}");
    harness
        .outside
        .blobs
        .put(&rollout::key_of(&bundle), Some(bundle.clone()));
    let mut params = params();
    params["bundle"] = json!(rollout::key_of(&bundle));
    let run = start(&harness, params);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(reason.contains("migrations of Durable Objects"), "{reason}");
    assert_eq!(history(&harness), [OLD, "1 versions"]);
}

#[test]
fn a_deployment_that_its_principal_may_not_finish_is_not_begun() {
    let harness = harness();
    for (granted, less) in [
        ("Workers Scripts Write", "Workers Scripts Read"),
        ("purge = { everything = true }", ""),
    ] {
        harness.apply(&rollout::CONFIG.replace(granted, less));
        let run = start_other(&harness, &params());
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "failed");
        assert!(reason.contains("deployer may not "), "{reason}");
        assert_eq!(history(&harness), [OLD, "1 versions"]);
    }
}

#[test]
fn a_grant_that_goes_in_the_middle_leaves_a_run_that_a_person_must_look_at() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    harness.apply(&rollout::CONFIG.replace("Workers Scripts Write", "Workers Scripts Read"));
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "unknown");
    assert!(reason.contains("Somebody must look at it"), "{reason}");
    // Nobody else deploys it before that.
    let other = start_other(&harness, &params());
    harness.apply(rollout::CONFIG);
    minutes(&harness, 3);
    assert_eq!(harness.state(other).unwrap().0, "running");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
    // With the grant back it is undone when it is retried.
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| gateway.store.reopen(run, "again", &event, now).await);
    assert!(done.unwrap().unwrap());
    minutes(&harness, 2);
    assert_eq!(ended(&harness, run).0, "failed");
    assert_eq!(history(&harness)[..3], [OLD, "new 5 old 95", OLD]);
}

#[test]
fn u4_an_address_that_the_configuration_does_not_list_is_not_asked() {
    for url in [
        "https://other.example.com/__sim/sites/site/health",
        "http://site.example.com/__sim/sites/site/health",
        "https://site.example.com:8443/__sim/sites/site/health",
        "https://me@site.example.com/__sim/sites/site/health",
        "https://169.254.169.254/__sim/sites/site/health",
        "https://[::ffff:a9fe:a9fe]/__sim/sites/site/health",
        "https://2852039166/__sim/sites/site/health",
    ] {
        let harness = harness();
        let mut params = params();
        params["health"][0]["url"] = json!(url);
        let run = start(&harness, params);
        harness.settle().unwrap();
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "failed", "{url}");
        assert!(reason.starts_with(url), "{reason}");
        assert!(
            !harness
                .outside
                .injector
                .effects()
                .iter()
                .any(|effect| effect.starts_with("probe"))
        );
    }
}

#[test]
fn a_version_that_is_there_already_is_deployed_at_once() {
    let harness = harness();
    let first = start(&harness, params());
    harness.settle().unwrap();
    assert_eq!(ended(&harness, first).0, "succeeded");
    let found = by_hand(&harness, "GET", "/deployments", "");
    let deployments = found["deployments"].as_array().unwrap();
    let old = &deployments.last().unwrap()["versions"][0]["version_id"];
    let mut params = params();
    params["bundle"].take();
    params.as_object_mut().unwrap().remove("bundle");
    params["version"] = old.clone();
    params["steps"] = json!([{"percent": 100}]);
    params["health"] = json!([]);
    let back = start_other(&harness, &params);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, back);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(history(&harness).iter().rev().nth(1).unwrap(), OLD);
    assert_eq!(purged(&harness).len(), 2);
}

/// A ZIP archive of one deflated file, as `actions/upload-artifact` packs it.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let packed = miniz_oxide::deflate::compress_to_vec(content, 6);
    let sizes = [packed.len(), content.len()].map(|size| u32::try_from(size).unwrap());
    let mut head = vec![20, 0, 0, 0, 8, 0, 0, 0, 0, 0];
    head.extend([0; 4]);
    head.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    head.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    head.extend([0; 2]);
    let mut archive = b"PK\x03\x04".to_vec();
    archive.extend(&head);
    archive.extend(name.as_bytes());
    archive.extend(packed);
    let directory = u32::try_from(archive.len()).unwrap();
    archive.extend(b"PK\x01\x02\x14\x00");
    archive.extend(&head);
    archive.extend([0; 14]);
    archive.extend(name.as_bytes());
    let size = u32::try_from(archive.len()).unwrap() - directory;
    archive.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend(size.to_le_bytes());
    archive.extend(directory.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

/// Puts something on the simulated GitHub.
fn put(harness: &Harness, path: &str, body: &[u8]) {
    let now_micros = harness.now().unix_ms() * 1000;
    let mut network = harness.outside.network.borrow_mut();
    let path = format!("/__sim/github/repos/{path}");
    let answered = network.lab.call("PUT", &path, &[], body, now_micros);
    assert!(answered.status < 300, "{answered:?}");
}

const SHA: &str = "0123abc0123abc0123abc0123abc0123abc01234";

/// A deployment of what GitHub keeps.
fn from_github(harness: &Harness, github: &Value, more: &Value) -> RunId {
    harness.apply(&rollout::CONFIG.replace(
        r#"hosts = ["site.example.com"]"#,
        r#"hosts = ["site.example.com", "api.github.example"]"#,
    ));
    let token = simulator::GITHUB_TOKEN.to_owned();
    harness
        .outside
        .secrets
        .borrow_mut()
        .insert("DEPLOY_GITHUB".to_owned(), token);
    let mut params = params();
    let members = params.as_object_mut().unwrap();
    members.remove("bundle");
    let mut github = github.clone();
    github["token"] = json!("DEPLOY_GITHUB");
    github["api"] = json!("https://api.github.example/__sim/github");
    members.insert("github".to_owned(), github);
    members.extend(more.as_object().unwrap().clone());
    start_other(harness, &params)
}

#[test]
fn the_artifact_of_a_workflow_run_is_fetched_checked_and_deployed() {
    let harness = harness();
    let archive = zip("worker.bundle", &rollout::usual_bundle());
    put(
        &harness,
        &format!("acme/site/runs/812/artifacts/worker?head_sha={SHA}&head_branch=main"),
        &archive,
    );
    let artifact = json!({"repository": "acme/site", "artifact": "worker"});
    let run = from_github(&harness, &artifact, &json!({"run_id": 812, "commit": SHA}));
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(
        history(&harness),
        [
            OLD,
            "new 5 old 95",
            "new 50 old 50",
            "new 100",
            "2 versions"
        ]
    );
}

#[test]
fn the_asset_of_a_release_is_fetched_and_deployed() {
    let harness = harness();
    put(
        &harness,
        "acme/site/releases/v1.0.0/worker.bundle",
        &rollout::usual_bundle(),
    );
    let asset = json!({"repository": "acme/site", "asset": "worker.bundle"});
    let run = from_github(&harness, &asset, &json!({"tag": "v1.0.0"}));
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
}

#[test]
fn what_github_keeps_is_refused_where_anything_about_it_is_wrong() {
    let bundle = rollout::usual_bundle();
    let archive = zip("worker.bundle", &bundle);
    let artifact = json!({"repository": "acme/site", "artifact": "worker"});
    let path = format!("acme/site/runs/812/artifacts/worker?head_sha={SHA}&head_branch=main");
    let refused = |prepare: &dyn Fn(&Harness), more: Value| {
        let harness = harness();
        prepare(&harness);
        let run = from_github(&harness, &artifact, &more);
        harness.settle().unwrap();
        assert_eq!(history(&harness), [OLD, "1 versions"]);
        let (state, reason) = ended(&harness, run);
        assert_eq!(state, "failed");
        reason
    };
    let usual = |harness: &Harness| put(harness, &path, &archive);
    let reason = refused(&usual, json!({"run_id": 813}));
    assert!(
        reason.contains("has no artifact") || reason.contains("404"),
        "{reason}"
    );
    let reason = refused(&usual, json!({"run_id": 812, "commit": "fedcba9"}));
    assert!(reason.contains("not the commit that was named"), "{reason}");
    let reason = refused(&usual, json!({}));
    assert!(reason.contains("no parameter `run_id`"), "{reason}");
    let named = json!({"run_id": 812, "sha256": "0".repeat(64)});
    let reason = refused(&usual, named);
    assert!(reason.contains("not the one that was named"), "{reason}");
    let other_digest = |harness: &Harness| {
        put(
            harness,
            &format!("{path}&digest=sha256:{}", "0".repeat(64)),
            &archive,
        );
    };
    let reason = refused(&other_digest, json!({"run_id": 812}));
    assert!(reason.contains("has not the digest"), "{reason}");
    let none = |harness: &Harness| put(harness, &format!("{path}&digest=none"), &archive);
    let reason = refused(&none, json!({"run_id": 812}));
    assert!(reason.contains("says no digest"), "{reason}");
    let expired = |harness: &Harness| put(harness, &format!("{path}&expired=true"), &archive);
    let reason = refused(&expired, json!({"run_id": 812}));
    assert!(reason.contains("has expired"), "{reason}");
    let of_fork = |harness: &Harness| {
        let artifact = json!({
            "id": 1, "name": "worker", "digest": format!("sha256:{}", "0".repeat(64)), "expired": false,
            "workflow_run": {"id": 812, "repository_id": 1, "head_repository_id": 2, "head_sha": SHA},
        });
        let mut network = harness.outside.network.borrow_mut();
        let body = json!({"total_count": 1, "artifacts": [artifact]});
        network.answer_instead(("GET", "/runs/812/artifacts"), 0, 200, &[], &body);
    };
    let reason = refused(&of_fork, json!({"run_id": 812}));
    assert!(reason.contains("begun from a fork"), "{reason}");
    let plain = |harness: &Harness| put(harness, &path, &bundle);
    let reason = refused(&plain, json!({"run_id": 812}));
    assert!(reason.contains("no ZIP archive"), "{reason}");
}

fn reopen(harness: &Harness, run: RunId) {
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| gateway.store.reopen(run, "again", &event, now).await);
    assert!(done.unwrap().unwrap());
}

/// Cloudflare answers the next deployment so.
fn answer_deployment(harness: &Harness, passing: usize, status: u16, headers: &[(&str, &str)]) {
    let body = json!({"success": false, "errors": [{"code": 10_000, "message": "no"}], "messages": [], "result": null});
    let mut network = harness.outside.network.borrow_mut();
    network.answer_instead(("POST", "/deployments"), passing, status, headers, &body);
}

#[test]
fn a_run_that_was_undone_does_not_succeed_when_it_is_retried() {
    let harness = harness();
    answer_deployment(&harness, 0, 400, &[]);
    let run = start(&harness, params());
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "failed");
    reopen(&harness, run);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed", "{reason}");
    assert_eq!(history(&harness), [OLD, "2 versions"]);
    let shown = harness
        .outside
        .sqlite
        .rows("SELECT result ->> '$.percent' AS percent FROM runs");
    assert!(shown[0]["percent"].is_null(), "{shown:?}");
}

#[test]
fn a_run_that_goes_on_again_waits_for_whoever_has_the_worker_now() {
    let harness = harness();
    // Its version is never listed, so it ends without having moved any traffic.
    let body = json!({"success": true, "errors": [], "messages": [], "result": {"items": []}});
    for passing in [0; 40] {
        let mut network = harness.outside.network.borrow_mut();
        network.answer_instead(("GET", "/versions?"), passing, 200, &[], &body);
    }
    let first = start(&harness, params());
    while harness.state(first).unwrap().0 != "failed" {
        minutes(&harness, 1);
    }
    harness.outside.network.borrow_mut().forget_answers();
    let second = start_other(&harness, &params());
    minutes(&harness, 1);
    let shares = history(&harness);
    assert_eq!(shares[1], "new 5 old 95", "{shares:?}");
    reopen(&harness, first);
    minutes(&harness, 2);
    assert_eq!(harness.state(first).unwrap().0, "running");
    harness.settle().unwrap();
    assert_eq!(ended(&harness, second).0, "succeeded");
    let (state, reason) = ended(&harness, first);
    assert_eq!(state, "failed", "{reason}");
    assert!(reason.starts_with("Somebody else deployed"), "{reason}");
    assert_eq!(
        history(&harness)[..4],
        [OLD, "new 5 old 95", "new 50 old 50", "new 100"]
    );
}

#[test]
fn what_is_undone_waits_as_long_as_cloudflare_says() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    answer_deployment(&harness, 0, 429, &[("retry-after", "300")]);
    let sent = |harness: &Harness| {
        let effects = harness.outside.injector.effects();
        effects
            .iter()
            .filter(|effect| effect.contains("POST") && effect.contains("/deployments"))
            .count()
    };
    cancel(&harness, run);
    minutes(&harness, 1);
    let before = sent(&harness);
    minutes(&harness, 3);
    assert_eq!(sent(&harness), before);
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "cancelled");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
}

#[test]
fn promoting_early_does_not_leave_out_the_look() {
    let harness = harness();
    rollout::behave(&harness, &json!([{"version": "newest", "status": 500}]));
    let run = start(&harness, params());
    let event = harness.change_event();
    let now = harness.now();
    let done = harness.event(async |gateway| {
        gateway
            .store
            .wish(run, Wish::Hurry, "go", &event, now)
            .await
    });
    assert!(done.unwrap().unwrap());
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "failed");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", OLD, "2 versions"]);
}

#[test]
fn a_half_done_run_whose_messages_are_dead_is_for_a_person_to_look_at() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    harness.outside.advance_ms(61_000);
    harness.event(async |gateway| zonekeeper::jobs::Engine { gateway }.bury(run).await);
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "unknown", "{reason}");
    let other = start_other(&harness, &params());
    minutes(&harness, 2);
    assert_eq!(harness.state(other).unwrap().0, "running");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
}

#[test]
fn only_the_version_that_was_to_be_replaced_is() {
    let harness = harness();
    let mut params = params();
    params["replaces"] = json!("00000000-0000-0000-0000-000000000000");
    let run = start(&harness, params);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "failed");
    assert!(
        reason.starts_with("The version that was to be replaced"),
        "{reason}"
    );
}

#[test]
fn a_version_that_has_all_traffic_is_purged_for_again() {
    let harness = harness();
    let found = by_hand(&harness, "GET", "/deployments", "");
    let mut params = params();
    params.as_object_mut().unwrap().remove("bundle");
    params["version"] = found["deployments"][0]["versions"][0]["version_id"].clone();
    let run = start(&harness, params);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "succeeded", "{reason}");
    assert_eq!(history(&harness), [OLD, "1 versions"]);
    assert_eq!(purged(&harness).len(), 1);
}

#[test]
fn what_a_run_remembers_and_nobody_can_read_counts_as_half_done() {
    let harness = harness();
    let run = start(&harness, params());
    harness.drain().unwrap();
    let sql = "UPDATE runs SET basis = json_set(basis, '$.of_kind', json('{}'))";
    harness.outside.sqlite.rows(sql);
    harness.settle().unwrap();
    let (state, reason) = ended(&harness, run);
    assert_eq!(state, "unknown", "{reason}");
    assert_eq!(history(&harness), [OLD, "new 5 old 95", "2 versions"]);
}
