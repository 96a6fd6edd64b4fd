//! Workers KV: namespaces, keys, values, bulk operations.

use crate::support::{Part, Sim};
use serde_json::{Value, json};
use simulator::{ACME_ID, GLOBEX_ID, KV_BILLING_ID, KV_SITE_ID};

fn all() -> String {
    format!("/accounts/{ACME_ID}/storage/kv/namespaces")
}

fn inside(rest: &str) -> String {
    format!("{}/{KV_SITE_ID}/{rest}", all())
}

fn names(keys: &Value) -> Vec<&str> {
    let keys = keys.as_array().unwrap();
    keys.iter().map(|k| k["name"].as_str().unwrap()).collect()
}

fn put(sim: &Sim, key: &str, query: &str, value: &[u8]) {
    let path = inside(&format!("values/{key}{query}"));
    let answer = sim.send("PUT", &path, "text/plain", value);
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[test]
fn a_namespace_lives_from_creation_to_deletion() {
    let sim = Sim::start();
    let listed = sim.get(&format!("{}?order=title", all()));
    let titles: Vec<Value> = listed
        .result()
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["title"].clone())
        .collect();
    assert_eq!(titles, ["billing", "site-cache"]);
    assert_eq!(listed.json()["result_info"]["total_count"], 2);
    let made = sim
        .call("POST", &all(), Some(&json!({"title": "new"})))
        .result();
    let one = format!("{}/{}", all(), made["id"].as_str().unwrap());
    assert_eq!(sim.get(&one).result()["title"], "new");
    let renamed = sim
        .call("PUT", &one, Some(&json!({"title": "newer"})))
        .result();
    assert_eq!(renamed["title"], "newer");
    let taken = json!({"title": "site-cache"});
    assert_eq!(sim.call("PUT", &one, Some(&taken)).error(), (400, 10_014));
    assert_eq!(
        sim.call("POST", &all(), Some(&taken)).error(),
        (400, 10_014)
    );
    // Its own title is not taken by another.
    sim.call("PUT", &one, Some(&json!({"title": "newer"})))
        .result();
    assert_eq!(sim.call("DELETE", &one, None).result(), Value::Null);
    assert_eq!(sim.get(&one).error(), (404, 10_013));
}

#[test]
fn what_a_namespace_cannot_be_has_its_code() {
    let sim = Sim::start();
    for body in [json!({}), json!({"title": ""}), json!({"title": 1})] {
        assert_eq!(
            sim.call("POST", &all(), Some(&body)).error(),
            (400, 10_019),
            "{body}"
        );
    }
    let long = json!({"title": "x".repeat(513)});
    assert_eq!(sim.call("POST", &all(), Some(&long)).error(), (400, 10_021));
    assert_eq!(sim.get(&format!("{}/short", all())).error(), (400, 7003));
    let elsewhere = format!("/accounts/{GLOBEX_ID}/storage/kv/namespaces/{KV_BILLING_ID}");
    assert_eq!(sim.get(&elsewhere).error(), (404, 10_013));
    let nobody = format!("/accounts/{}/storage/kv/namespaces", "0".repeat(32));
    assert_eq!(sim.get(&nobody).error(), (403, 10_000));
}

#[test]
fn a_key_may_hold_a_slash_and_a_space() {
    let sim = Sim::start();
    put(&sim, "a%2Fb%20key", "", b"\x00\xffvalue");
    let answer = sim.get(&inside("values/a%2Fb%20key"));
    assert_eq!(answer.body, b"\x00\xffvalue");
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(answer.header("expiration"), None);
    assert_eq!(names(&sim.get(&inside("keys")).result()), ["a/b key"]);
    // Two segments are another path.
    assert_eq!(sim.get(&inside("values/a/b%20key")).error(), (404, 7003));
    assert_eq!(
        sim.get(&format!("{}/{KV_BILLING_ID}/keys", all())).result(),
        json!([])
    );
    sim.call("DELETE", &inside("values/a%2Fb%20key"), None)
        .result();
    sim.call("DELETE", &inside("values/a%2Fb%20key"), None)
        .result();
    assert_eq!(
        sim.get(&inside("values/a%2Fb%20key")).error(),
        (404, 10_009)
    );
    assert_eq!(
        sim.get(&inside("metadata/a%2Fb%20key")).error(),
        (404, 10_009)
    );
}

#[test]
fn a_form_sets_metadata_and_the_query_sets_the_expiry() {
    let sim = Sim::start();
    let parts: [Part<'_>; 2] = [
        ("value", None, None, "v"),
        ("metadata", None, None, r#"{"by":"test"}"#),
    ];
    sim.form("PUT", &inside("values/k?expiration_ttl=100"), &parts)
        .result();
    let value = sim.get(&inside("values/k"));
    assert_eq!(value.body, b"v");
    let expiration: i64 = value.header("expiration").unwrap().parse().unwrap();
    assert_eq!(
        sim.get(&inside("metadata/k")).result(),
        json!({"by": "test"})
    );
    let listed = sim.get(&inside("keys")).result();
    assert_eq!(
        listed,
        json!([{"name": "k", "expiration": expiration, "metadata": {"by": "test"}}])
    );
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 101})));
    assert_eq!(sim.get(&inside("values/k")).error(), (404, 10_009));
    assert_eq!(sim.get(&inside("keys")).result(), json!([]));
}

#[test]
fn a_value_has_limits() {
    let sim = Sim::start();
    let put = |key: &str, query: &str| {
        let path = inside(&format!("values/{key}{query}"));
        sim.send("PUT", &path, "text/plain", b"v").error()
    };
    assert_eq!(put(&"k".repeat(513), ""), (414, 10_030));
    assert_eq!(put("k", "?expiration_ttl=59"), (400, 10_034));
    assert_eq!(put("k", "?expiration=1"), (400, 10_034));
    assert_eq!(put("k", "?expiration_ttl=soon"), (400, 6003));
    let form = |parts: &[Part<'_>]| sim.form("PUT", &inside("values/k"), parts).error();
    let long = json!("x".repeat(1024)).to_string();
    assert_eq!(form(&[("metadata", None, None, "{}")]), (400, 10_012));
    assert_eq!(
        form(&[("value", None, None, "v"), ("metadata", None, None, "{")]),
        (400, 10_012)
    );
    assert_eq!(
        form(&[("value", None, None, "v"), ("metadata", None, None, &long)]),
        (413, 10_028)
    );
    assert_eq!(sim.get(&inside("keys")).result(), json!([]));
}

#[test]
fn keys_are_listed_once_each_behind_cursors() {
    let sim = Sim::start();
    let pairs: Vec<Value> = (0..25)
        .map(|n| json!({"key": format!("k{n:02}"), "value": "v"}))
        .collect();
    sim.call("PUT", &inside("bulk"), Some(&json!(pairs)))
        .result();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = sim
            .get(&inside(&format!("keys?limit=10&cursor={cursor}")))
            .json();
        seen.extend(names(&page["result"]).into_iter().map(str::to_owned));
        assert_eq!(
            page["result_info"]["count"],
            page["result"].as_array().unwrap().len()
        );
        page["result_info"]["cursor"]
            .as_str()
            .unwrap()
            .clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    assert_eq!(seen, expected);
    assert_eq!(names(&sim.get(&inside("keys?prefix=k2")).result()).len(), 5);
    for query in [
        "keys?limit=9",
        "keys?limit=1001",
        "keys?limit=x",
        "keys?cursor=%21",
    ] {
        assert_eq!(sim.get(&inside(query)).error(), (400, 6003), "{query}");
    }
}

#[test]
fn bulk_operations_take_lists_of_what_one_takes() {
    let sim = Sim::start();
    let pairs = json!([
        {"key": "text", "value": "one"},
        {"key": "json", "value": "{\"a\":1}", "metadata": {"m": 1}},
        {"key": "bytes", "value": "dHdv", "base64": true, "expiration_ttl": 60},
    ]);
    let done = sim.call("PUT", &inside("bulk"), Some(&pairs)).result();
    assert_eq!(
        done,
        json!({"successful_key_count": 3, "unsuccessful_keys": []})
    );
    assert_eq!(sim.get(&inside("values/bytes")).body, b"two");
    let get = |body: Value| sim.call("POST", &inside("bulk/get"), Some(&body));
    let both = get(json!({"keys": ["text", "none"]})).result();
    assert_eq!(both, json!({"values": {"text": "one", "none": null}}));
    let parsed = get(json!({"keys": ["json"], "type": "json", "withMetadata": true})).result();
    assert_eq!(parsed["values"]["json"]["value"], json!({"a": 1}));
    assert_eq!(parsed["values"]["json"]["metadata"], json!({"m": 1}));
    assert_eq!(
        get(json!({"keys": ["text"], "type": "json"})).error(),
        (400, 10_012)
    );
    assert_eq!(get(json!({"keys": []})).error(), (400, 10_029));
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    assert_eq!(get(json!({"keys": many})).error(), (400, 10_012));
    let gone = sim
        .call(
            "POST",
            &inside("bulk/delete"),
            Some(&json!(["text", "none"])),
        )
        .result();
    assert_eq!(gone["successful_key_count"], 2);
    sim.call("DELETE", &inside("bulk"), Some(&json!(["json"])))
        .result();
    assert_eq!(names(&sim.get(&inside("keys")).result()), ["bytes"]);
}

#[test]
fn a_bulk_write_with_a_bad_pair_writes_nothing() {
    let sim = Sim::start();
    let good = json!({"key": "k", "value": "v"});
    let bad = [
        (json!({"value": "v"}), (400, 10_012)),
        (json!({"key": "k"}), (400, 10_012)),
        (
            json!({"key": "k", "value": "!", "base64": true}),
            (400, 10_012),
        ),
        (
            json!({"key": "k", "value": "v", "expiration_ttl": 1}),
            (400, 10_034),
        ),
        (json!({"key": "", "value": "v"}), (414, 10_030)),
    ];
    for (pair, expected) in bad {
        let answer = sim.call("PUT", &inside("bulk"), Some(&json!([good, pair])));
        assert_eq!(answer.error(), expected, "{pair}");
    }
    assert_eq!(
        sim.call("PUT", &inside("bulk"), Some(&good)).error(),
        (400, 10_012)
    );
    assert_eq!(sim.get(&inside("keys")).result(), json!([]));
}
