//! A Worker that is deployed step by step, and what became of its traffic.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::{ACME_ID, TOKEN};
use zonekeeper::model::RunId;
use zonekeeper::run::{Limits, Trigger};
use zonekeeper::store::NewRun;

use super::harness::Harness;
use super::lab::queue::Unacked;
use super::lab::writes::BY_HAND;
use super::motor::EngineMotor;

/// Somebody who may deploy `site` and purge `example.com`.
pub(crate) const CONFIG: &str = r#"
[outbound]
hosts = ["site.example.com"]
[[principals]]
name = "deployer"
kind = "key"
[[grants]]
name = "deploys"
principals = ["deployer"]
effect = "allow"
permissions = ["Workers Scripts Write"]
accounts = ["Acme"]
[[grants]]
name = "purges"
principals = ["deployer"]
effect = "allow"
permissions = ["Cache Purge", "Zone Read"]
zones = ["example.com"]
purge = { everything = true }
"#;

/// A form as `wrangler deploy --dry-run --outfile` writes it.
pub(crate) fn bundle(metadata: &Value, code: &str) -> Vec<u8> {
    format!(
        "--b0\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n--b0\r\nContent-Disposition: form-data; name=\"index.js\"; filename=\"index.js\"\r\nContent-Type: application/javascript+module\r\n\r\n{code}\r\n--b0--\r\n"
    )
    .into_bytes()
}

/// The usual bundle.
pub(crate) fn usual_bundle() -> Vec<u8> {
    let metadata = json!({
        "main_module": "index.js",
        "compatibility_date": "2026-10-01",
        "keep_bindings": ["secret_text", "secret_key"],
    });
    bundle(
        &metadata,
        "export default { fetch: () => new Response('new') };",
    )
}

/// The key of a bundle.
pub(crate) fn key_of(bundle: &[u8]) -> String {
    let digest = Sha256::digest(bundle);
    let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bundles/{}", digest.concat())
}

/// 5 %, 50 %, all; looked at every minute.
pub(crate) fn params() -> Value {
    json!({
        "account": ACME_ID,
        "script": "site",
        "steps": [
            {"percent": 5, "wait_secs": 120},
            {"percent": 50, "wait_secs": 60},
            {"percent": 100},
        ],
        "health": [{"url": "https://site.example.com/__sim/sites/site/health"}],
        "zones": ["example.com"],
        "bundle": key_of(&usual_bundle()),
        "commit": "0123abc",
    })
}

/// Keeps the usual bundle.
pub(crate) fn prepare(harness: &Harness) {
    let bundle = usual_bundle();
    harness.outside.blobs.put(&key_of(&bundle), Some(bundle));
}

/// Makes versions of `site` answer otherwise.
pub(crate) fn behave(harness: &Harness, behaviour: &Value) {
    let now_micros = harness.now().unix_ms() * 1000;
    let mut network = harness.outside.network.borrow_mut();
    let body = behaviour.to_string();
    let path = "/__sim/sites/site/behaviour";
    let answered = network
        .lab
        .call("POST", path, &[], body.as_bytes(), now_micros);
    assert_eq!(answered.status, 200, "{answered:?}");
}

/// Calls Cloudflare past the gateway.
pub(crate) fn by_hand(harness: &Harness, method: &str, path: &str, body: &str) -> Value {
    let now_micros = harness.now().unix_ms() * 1000;
    let mut network = harness.outside.network.borrow_mut();
    let target = format!("/client/v4/accounts/{ACME_ID}/workers/scripts/site{path}?{BY_HAND}");
    let headers = [
        ("authorization", &*format!("Bearer {TOKEN}")),
        ("content-type", "application/json"),
    ];
    let answered = network
        .lab
        .call(method, &target, &headers, body.as_bytes(), now_micros);
    let text = String::from_utf8_lossy(&answered.body);
    assert_eq!(answered.status, 200, "{text}");
    serde_json::from_slice::<Value>(&answered.body).unwrap()["result"].take()
}

/// The deployments of `site`, oldest first, such as `old 95 new 5`; and how many versions there are.
pub(crate) fn history(harness: &Harness) -> Vec<String> {
    let found = by_hand(harness, "GET", "/deployments", "");
    let mut deployments = found["deployments"].as_array().unwrap().clone();
    deployments.reverse();
    let old = deployments[0]["versions"][0]["version_id"].clone();
    let mut lines: Vec<String> = deployments
        .iter()
        .map(|deployment| {
            let versions = deployment["versions"].as_array().unwrap();
            let mut shares: Vec<String> = versions
                .iter()
                .map(|version| {
                    let is_old = version["version_id"] == old;
                    let name = if is_old { "old" } else { "new" };
                    format!("{name} {}", version["percentage"].as_f64().unwrap())
                })
                .collect();
            shares.sort();
            shares.join(" ")
        })
        .collect();
    let versions = by_hand(harness, "GET", "/versions", "");
    let count = versions["items"].as_array().unwrap().len();
    lines.push(format!("{count} versions"));
    lines
}

/// What was purged.
pub(crate) fn purged(harness: &Harness) -> Vec<String> {
    harness.purged()
}

/// A Zonekeeper with [`CONFIG`] and the usual bundle.
pub(crate) fn harness() -> Harness {
    let harness = Harness::new(Box::new(EngineMotor), Unacked::Redelivered);
    harness.apply(CONFIG);
    prepare(&harness);
    harness
}

/// Lets so many minutes pass.
pub(crate) fn minutes(harness: &Harness, minutes: u32) {
    for _ in 0..minutes {
        harness.drain().unwrap();
        harness.outside.advance_ms(60_000);
        harness.tick(harness.now());
    }
    harness.drain().unwrap();
}

/// The state of a run, and why.
pub(crate) fn ended(harness: &Harness, run: RunId) -> (String, String) {
    let (state, reason) = harness.state(run).unwrap();
    (state, reason.unwrap_or_default())
}

/// A run of another job.
pub(crate) fn start_other(harness: &Harness, params: &Value) -> RunId {
    let others = harness.outside.sqlite.count("runs");
    let run = RunId::from_random([u8::try_from(others).unwrap() + 7; 16]);
    let event = harness.change_event();
    let now = harness.now();
    let new = NewRun {
        id: run,
        job: "another".to_owned(),
        kind: "workers.deploy".to_owned(),
        trigger: Trigger::Api,
        slot: None,
        run_as: "deployer".to_owned(),
        started_by: None,
        params: params.as_object().unwrap().clone(),
        dry_run: false,
        limits: Limits {
            max_attempts: 6,
            max_calls: 1_000,
            timeout_secs: 3_600,
            keep_days: 30,
        },
        now,
        skipped: None,
        cancels_others: false,
    };
    let done = harness.event(async |gateway| gateway.store.create_run(&new, None, &event).await);
    done.unwrap().unwrap();
    run
}
