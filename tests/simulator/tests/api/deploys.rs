//! What versions and deployments remember, and which versions cannot come back.

use crate::support::{Answer, Part, Sim};
use serde_json::{Value, json};
use simulator::ACME_ID;

const CODE: &str = "export class Counter {} export default { fetch() {} };";
const ESM: Option<&str> = Some("application/javascript+module");

fn site(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/workers/scripts/site{rest}")
}

/// An upload of `site`: `more` are members of the metadata beside the module.
fn upload(sim: &Sim, method: &str, rest: &str, more: &Value) -> Answer {
    let mut metadata = json!({"main_module": "main.js", "keep_bindings": ["secret_text"]});
    let more = more.as_object().unwrap().clone();
    metadata.as_object_mut().unwrap().extend(more);
    let text = metadata.to_string();
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &text),
        ("main.js", Some("main.js"), ESM, CODE),
    ];
    sim.form(method, &site(rest), &parts)
}

/// Uploads a version that is not deployed; gives its id.
fn version(sim: &Sim, more: &Value) -> String {
    let made = upload(sim, "POST", "/versions", more).result();
    made["id"].as_str().unwrap().to_owned()
}

fn deploy(sim: &Sim, version: &str, message: &str) -> Answer {
    let body = json!({
        "strategy": "percentage", "versions": [{"version_id": version, "percentage": 100}],
        "annotations": {"workers/message": message},
    });
    sim.call("POST", &site("/deployments?force=true"), Some(&body))
}

fn deployments(sim: &Sim) -> Vec<Value> {
    let all = sim.get(&site("/deployments")).result()["deployments"].clone();
    all.as_array().unwrap().clone()
}

fn newest(sim: &Sim) -> String {
    let listed = sim.get(&site("/versions?per_page=1")).result();
    listed["items"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn annotations_are_kept_and_the_newest_comes_first() {
    let sim = Sim::start();
    let notes = |n: u8| json!({"annotations": {"workers/message": format!("commit {n}"), "workers/tag": format!("t{n}")}});
    let ids = [version(&sim, &notes(1)), version(&sim, &notes(2))];
    let listed = sim.get(&site("/versions")).result()["items"].clone();
    for (place, n) in [(0, 2), (1, 1)] {
        let one = &listed[place];
        assert_eq!(one["id"], json!(ids[n - 1]));
        assert_eq!(
            one["annotations"],
            json!({"workers/message": format!("commit {n}"), "workers/tag": format!("t{n}"), "workers/triggered_by": "upload"})
        );
        let read = sim
            .get(&site(&format!("/versions/{}", ids[n - 1])))
            .result();
        assert_eq!(read["annotations"], one["annotations"]);
    }
    let long = json!({"annotations": {"workers/tag": "t".repeat(101)}});
    assert_eq!(
        upload(&sim, "POST", "/versions", &long).error(),
        (400, 10_021)
    );
    let made = deploy(&sim, &ids[1], "attempt 7").result();
    assert_eq!(made["annotations"]["workers/message"], "attempt 7");
    assert_eq!(deployments(&sim)[0], made);
}

#[test]
fn the_ten_newest_deployments_are_listed() {
    let sim = Sim::start();
    let first = deployments(&sim)[0]["id"].as_str().unwrap().to_owned();
    let new = version(&sim, &json!({}));
    for n in 0..10 {
        deploy(&sim, &new, &n.to_string()).result();
    }
    let listed = deployments(&sim);
    let messages: Vec<&str> = listed
        .iter()
        .map(|d| d["annotations"]["workers/message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    let read = sim.get(&site(&format!("/deployments/{first}"))).result();
    assert_eq!(read["id"], json!(first), "it is there, but not listed");
}

#[test]
fn only_the_hundred_newest_versions_can_be_deployed() {
    let sim = Sim::start();
    let first = newest(&sim);
    let second = version(&sim, &json!({}));
    for _ in 0..98 {
        version(&sim, &json!({}));
    }
    deploy(&sim, &first, "the hundredth").result();
    version(&sim, &json!({}));
    let refused = deploy(&sim, &first, "one too old");
    assert_eq!(refused.error(), (400, 100_147));
    deploy(&sim, &second, "now the hundredth").result();
    let deployable = sim.get(&site("/versions?deployable=true")).result();
    let deployable = deployable["items"].as_array().unwrap().clone();
    assert_eq!(deployable.len(), 100);
    assert!(deployable.iter().all(|v| v["id"] != json!(first)));
}

#[test]
fn no_version_comes_back_over_a_durable_object_migration() {
    let sim = Sim::start();
    let old = newest(&sim);
    let waiting = version(&sim, &json!({}));
    let migrated = json!({
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Counter"]},
        "bindings": [{"type": "durable_object_namespace", "name": "C", "class_name": "Counter"}],
    });
    upload(&sim, "PUT", "", &migrated).result();
    let current = newest(&sim);
    let before = deployments(&sim);
    for one in [&old, &waiting] {
        let refused = deploy(&sim, one, "back");
        assert_eq!(refused.error(), (400, 100_140));
        assert_eq!(
            refused.json()["errors"][0]["message"],
            "Failed to rollback due to external resources being modified (durable-object:v1)"
        );
    }
    // Not even for a part of the traffic.
    let split = json!({"strategy": "percentage", "versions": [
        {"version_id": current, "percentage": 95}, {"version_id": old, "percentage": 5},
    ]});
    let refused = sim.call("POST", &site("/deployments"), Some(&split));
    assert_eq!(refused.error(), (400, 100_140));
    assert_eq!(deployments(&sim), before);
    let after = version(&sim, &json!({}));
    deploy(&sim, &after, "on").result();
    deploy(&sim, &current, "back to what has the class").result();
}

#[test]
fn no_version_comes_back_whose_bucket_or_queue_is_gone() {
    let sim = Sim::start();
    let queues = format!("/accounts/{ACME_ID}/queues");
    let made = sim
        .call("POST", &queues, Some(&json!({"queue_name": "late"})))
        .result();
    let bound = json!({"bindings": [
        {"type": "r2_bucket", "name": "F", "bucket_name": "site-assets"},
        {"type": "queue", "name": "Q", "queue_name": "late"},
    ]});
    let bound = version(&sim, &bound);
    deploy(&sim, &bound, "bound").result();
    let free = version(&sim, &json!({}));
    deploy(&sim, &free, "free").result();
    deploy(&sim, &bound, "nothing is gone").result();
    deploy(&sim, &free, "free").result();
    let bucket = format!("/accounts/{ACME_ID}/r2/buckets/site-assets");
    assert_eq!(sim.call("DELETE", &bucket, None).status, 200);
    let queue = format!("{queues}/{}", made["queue_id"].as_str().unwrap());
    assert_eq!(sim.call("DELETE", &queue, None).status, 200);
    let refused = deploy(&sim, &bound, "back");
    assert_eq!(refused.error(), (400, 100_140));
    assert_eq!(
        refused.json()["errors"][0]["message"],
        "Failed to rollback due to external resources being modified (r2:site-assets,queue:late)"
    );
}
