//! Deployments of bundles that KV or R2 keep.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::{ACME_ID, KV_BILLING_ID, KV_SITE_ID, TOKEN};
use support::harness::Harness;
use support::lab::writes::BY_HAND;
use support::rollout::{self, ended, history, minutes, start_other, usual_bundle};
use zonekeeper::config::document::Job;
use zonekeeper::jobs::fixed_param;
use zonekeeper::model::hex;
use zonekeeper::model::typed::Typed as _;

/// Somebody who may also read bundles: in one namespace and one bucket.
const GRANTS: &str = r#"
[[grants]]
name = "reads-kv"
principals = ["deployer"]
effect = "allow"
permissions = ["Workers KV Storage Read"]
accounts = ["Acme"]
kv = { namespaces = ["0f2ac74b498b48028cb68387c421e279"], keys = ["releases/*"] }
[[grants]]
name = "reads-r2"
principals = ["deployer"]
effect = "allow"
operations = ["r2-get-object"]
accounts = ["Acme"]
r2 = { buckets = ["site-assets"] }
"#;

/// A key that must be encoded as one segment.
const KEY: &str = "releases/site v1+2/würfel?%2F#a";
const ENCODED: &str = "releases%2Fsite%20v1%2B2%2Fw%C3%BCrfel%3F%252F%23a";
const OLD: &str = "old 100";

fn harness() -> Harness {
    let harness = rollout::harness();
    let grants = GRANTS.replace("0f2ac74b498b48028cb68387c421e279", KV_SITE_ID);
    harness.apply(&format!("{}{grants}", rollout::CONFIG));
    harness
}

/// Where the bundle is: above its key.
fn above(source: &str) -> String {
    match source {
        "kv" => format!("/accounts/{ACME_ID}/storage/kv/namespaces/{KV_SITE_ID}/values"),
        _ => format!("/accounts/{ACME_ID}/r2/buckets/site-assets/objects"),
    }
}

/// Puts something there, past the gateway.
fn put(harness: &Harness, source: &str, bytes: &[u8]) {
    let target = format!("/client/v4{}/{ENCODED}?{BY_HAND}", above(source));
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/octet-stream"),
    ];
    let now_micros = harness.now().unix_ms() * 1000;
    let mut network = harness.outside.network.borrow_mut();
    let answered = network
        .lab
        .call("PUT", &target, &headers, bytes, now_micros);
    assert_eq!(answered.status, 200, "{answered:?}");
}

fn digest(bytes: &[u8]) -> String {
    rollout::key_of(bytes).replace("bundles/", "")
}

/// A deployment at once of what `more` says.
fn params(more: &Value) -> Value {
    let mut params = rollout::params();
    params["steps"] = json!([{"percent": 100}]);
    params["health"] = json!([]);
    let members = params.as_object_mut().unwrap();
    members.remove("bundle");
    members.extend(more.as_object().unwrap().clone());
    params
}

fn from(source: &str) -> Value {
    let place = match source {
        "kv" => json!({"namespace": KV_SITE_ID}),
        _ => json!({"bucket": "site-assets"}),
    };
    params(&json!({source: place, "key": KEY, "sha256": digest(&usual_bundle())}))
}

/// Reads of bundles that Cloudflare got.
fn reads(harness: &Harness) -> Vec<String> {
    let mut effects = harness.outside.injector.effects();
    effects.retain(|effect| effect.contains("/values/") || effect.contains("/objects/"));
    effects
}

/// The end of a deployment by which nothing was sent.
fn refused(harness: &Harness, params: &Value) -> String {
    let run = start_other(harness, params);
    harness.settle().unwrap();
    let (state, reason) = ended(harness, run);
    assert_eq!(state, "failed", "{reason}");
    assert_eq!(history(harness), [OLD, "1 versions"]);
    reason
}

#[test]
fn a_bundle_of_kv_or_r2_is_read_by_its_key_checked_and_deployed() {
    for source in ["kv", "r2"] {
        for is_named_by_job in [false, true] {
            let harness = harness();
            put(&harness, source, &usual_bundle());
            let mut params = from(source);
            if is_named_by_job {
                params[source]["key"] = params["key"].take();
                params.as_object_mut().unwrap().remove("key");
            }
            let run = start_other(&harness, &params);
            harness.settle().unwrap();
            let (state, reason) = ended(&harness, run);
            assert_eq!(state, "succeeded", "{source}: {reason}");
            assert_eq!(history(&harness), [OLD, "new 100", "2 versions"]);
            let read = format!("upstream: GET {}/{ENCODED}", above(source));
            assert_eq!(reads(&harness), [read]);
        }
    }
}

#[test]
fn a_bundle_that_its_principal_may_not_read_is_not_asked_for() {
    // Cloudflare declares no group for objects: only the operation opens them.
    let group = GRANTS
        .replace("0f2ac74b498b48028cb68387c421e279", KV_SITE_ID)
        .replace(
            r#"operations = ["r2-get-object"]"#,
            r#"permissions = ["Workers R2 Storage Read", "Workers R2 Storage Write"]"#,
        );
    let mut other_namespace = from("kv");
    other_namespace["kv"]["namespace"] = json!(KV_BILLING_ID);
    let mut other_key = from("kv");
    other_key["key"] = json!("drafts/site");
    let mut other_bucket = from("r2");
    other_bucket["r2"]["bucket"] = json!("backups");
    for (grants, params) in [
        (None, &other_namespace),
        (None, &other_key),
        (None, &other_bucket),
        (Some(group), &from("r2")),
    ] {
        let harness = harness();
        if let Some(grants) = grants {
            harness.apply(&format!("{}{grants}", rollout::CONFIG));
        }
        put(&harness, "r2", &usual_bundle());
        let reason = refused(&harness, params);
        assert!(reason.contains("deployer may not "), "{reason}");
        assert_eq!(reads(&harness), [""; 0]);
    }
}

#[test]
fn e7_zonekeepers_own_namespace_is_no_place_for_bundles() {
    let harness = harness();
    let grants = GRANTS.replace(
        r#"kv = { namespaces = ["0f2ac74b498b48028cb68387c421e279"], keys = ["releases/*"] }"#,
        "",
    );
    assert!(!grants.contains("releases"));
    harness.apply(&format!("{}{grants}", rollout::CONFIG));
    let mut own = from("kv");
    own["kv"]["namespace"] = json!("000000000000000000000000000000b1");
    let reason = refused(&harness, &own);
    assert!(reason.contains("Zonekeeper itself"), "{reason}");
    assert_eq!(reads(&harness), [""; 0]);
}

#[test]
fn a_bundle_that_is_not_there_is_said_so() {
    for (source, expected) in [
        (
            "kv",
            format!(
                "There is no key {KEY:?} in the KV namespace {KV_SITE_ID}, or that is not there itself."
            ),
        ),
        (
            "r2",
            format!(
                "There is no key {KEY:?} in the R2 bucket site-assets, or that is not there itself."
            ),
        ),
    ] {
        let harness = harness();
        assert_eq!(refused(&harness, &from(source)), expected);
        assert_eq!(reads(&harness).len(), 1);
    }
}

#[test]
fn a_bundle_of_another_digest_is_never_uploaded() {
    for source in ["kv", "r2"] {
        let harness = harness();
        let other = rollout::bundle(&json!({"main_module": "index.js"}), "export default {}");
        put(&harness, source, &other);
        let said = format!(
            "The bundle has the SHA-256 {}, not the one that was named.",
            digest(&other)
        );
        let reason = refused(&harness, &from(source));
        assert!(reason.contains(&said), "{reason}");
        // What was written a moment ago may be shown later.
        let run = start_other(&harness, &from(source));
        minutes(&harness, 1);
        assert_eq!(harness.state(run).unwrap().0, "running");
        put(&harness, source, &usual_bundle());
        harness.settle().unwrap();
        assert_eq!(ended(&harness, run).0, "succeeded");
    }
}

#[test]
fn a_bundle_that_is_too_large_is_not_taken() {
    for (source, size, expected, read) in [
        (
            "kv",
            10 * 1024 * 1024 + 1,
            "The bundle is larger than 10485760 bytes.",
            1,
        ),
        (
            "r2",
            10 * 1024 * 1024 + 1,
            "The bundle is larger than 10485760 bytes.",
            1,
        ),
        (
            "r2",
            16 * 1024 * 1024 + 1,
            "the answer broke off or is larger than 16777216 bytes.",
            6,
        ),
    ] {
        let harness = harness();
        let bytes = vec![b'-'; size];
        put(&harness, source, &bytes);
        let mut params = from(source);
        params["sha256"] = json!(digest(&bytes));
        let reason = refused(&harness, &params);
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(reads(&harness).len(), read);
    }
}

#[test]
fn a_bundle_whose_key_or_digest_nobody_named_is_not_asked_for() {
    for source in ["kv", "r2"] {
        for (missing, expected) in [
            (
                "key",
                "The run has no parameter `key`, which says where its bundle is.",
            ),
            (
                "sha256",
                "The run has no parameter `sha256`, without which no bundle of the ",
            ),
        ] {
            let harness = harness();
            put(&harness, source, &usual_bundle());
            let mut params = from(source);
            params.as_object_mut().unwrap().remove(missing);
            let reason = refused(&harness, &params);
            assert!(reason.starts_with(expected), "{reason}");
            assert_eq!(reads(&harness), [""; 0]);
        }
    }
}

#[test]
fn whoever_starts_a_run_does_not_choose_where_bundles_come_from() {
    let fixed = |set: Value, given: Value| {
        let job = json!({"name": "j", "kind": "workers.deploy", "run_as": "bot", "params": set});
        fixed_param(&Job::read(job).unwrap(), given.as_object().unwrap()).map(|(name, _)| name)
    };
    for (name, is_fixed) in [
        ("kv", true),
        ("r2", true),
        ("github", true),
        ("bundle", true),
        ("key", false),
        ("account", false),
        ("sha256", false),
    ] {
        let found = fixed(json!({}), json!({name: {}}));
        assert_eq!(found, Some(name).filter(|_| is_fixed));
    }
    // What the job's configuration says of these holds; saying the same changes nothing.
    for name in ["account", "sha256"] {
        let set = json!({name: "a"});
        assert_eq!(fixed(set.clone(), json!({name: "b"})), Some(name));
        assert_eq!(fixed(set.clone(), json!({name: null})), Some(name));
        assert_eq!(fixed(set.clone(), set), None);
    }
}

#[test]
fn a_bundle_that_is_sent_has_the_digest_that_the_job_names() {
    let digest = hex(&Sha256::digest(usual_bundle()));
    for (named, state) in [(digest, "succeeded"), ("0".repeat(64), "failed")] {
        let harness = harness();
        let mut params = rollout::params();
        params["sha256"] = json!(named);
        let run = start_other(&harness, &params);
        harness.settle().unwrap();
        let (found, reason) = ended(&harness, run);
        assert_eq!(found, state, "{reason}");
        if state == "failed" {
            assert!(reason.contains("not the one that was named"), "{reason}");
            assert_eq!(history(&harness), [OLD, "1 versions"]);
        }
    }
}

#[test]
fn a_read_that_fails_is_tried_again() {
    let harness = harness();
    put(&harness, "kv", &usual_bundle());
    let none = json!({"success": false, "errors": [], "messages": [], "result": null});
    for _ in 0..4 {
        let mut network = harness.outside.network.borrow_mut();
        network.answer_instead(("GET", "/values/"), 0, 502, &[], &none);
    }
    let run = start_other(&harness, &from("kv"));
    harness.settle().unwrap();
    assert_eq!(ended(&harness, run).0, "succeeded");
    assert_eq!(reads(&harness).len(), 5);
}
