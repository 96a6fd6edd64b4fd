//! Lists and their asynchronous items.

use serde_json::{Value, json};
use simulator::{ACME_ID, GLOBEX_ID, ZONE_COM_ID};

use crate::support::{Answer, Sim};

const BLOCKED: &str = "10000000000000000000000000000001";

fn lists(path: &str) -> String {
    format!("/accounts/{ACME_ID}/rules/lists{path}")
}

fn items(sim: &Sim, list: &str) -> Vec<String> {
    let result = sim.get(&lists(&format!("/{list}/items"))).result();
    result
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["ip"].as_str().unwrap().to_owned())
        .collect()
}

fn write(sim: &Sim, method: &str, list: &str, body: &Value) -> Answer {
    sim.call(method, &lists(&format!("/{list}/items")), Some(body))
}

/// Looks at an operation.
fn look(sim: &Sim, written: &Answer) -> Value {
    let id = written.result()["operation_id"]
        .as_str()
        .unwrap()
        .to_owned();
    sim.get(&lists(&format!("/bulk_operations/{id}"))).result()
}

#[test]
fn an_operation_is_pending_running_and_completed_and_only_then_seen() {
    let sim = Sim::start();
    assert_eq!(items(&sim, BLOCKED), ["192.0.2.66", "198.51.100.0/24"]);
    let written = write(
        &sim,
        "POST",
        BLOCKED,
        &json!([{"ip": "203.0.113.9", "comment": "new"}]),
    );
    let busy = write(&sim, "POST", BLOCKED, &json!([{"ip": "203.0.113.10"}]));
    assert_eq!(busy.error(), (409, 10_032));
    assert_eq!(look(&sim, &written)["status"], "pending");
    assert_eq!(items(&sim, BLOCKED).len(), 2);
    assert_eq!(look(&sim, &written)["status"], "running");
    let done = look(&sim, &written);
    assert_eq!(done["status"], "completed");
    assert!(done["completed"].is_string());
    assert_eq!(look(&sim, &written), done);
    assert_eq!(items(&sim, BLOCKED).len(), 3);

    let again = write(
        &sim,
        "POST",
        BLOCKED,
        &json!([{"ip": "203.0.113.9", "comment": "known"}]),
    );
    assert_eq!(again.status, 200);
    // Nobody looks; two seconds are enough.
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    let found = sim
        .get(&lists(&format!("/{BLOCKED}/items?search=203")))
        .result();
    assert_eq!(
        (found.as_array().unwrap().len(), &found[0]["comment"]),
        (1, &json!("known"))
    );

    write(
        &sim,
        "DELETE",
        BLOCKED,
        &json!({"items": [{"id": found[0]["id"]}]}),
    )
    .result();
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    assert_eq!(items(&sim, BLOCKED).len(), 2);
    write(&sim, "PUT", BLOCKED, &json!([{"ip": "192.0.2.0/25"}])).result();
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    assert_eq!(items(&sim, BLOCKED), ["192.0.2.0/25"]);
    assert_eq!(
        sim.get(&lists(&format!("/{BLOCKED}"))).result()["num_items"],
        1
    );
    let unknown = lists(&format!("/bulk_operations/{}", "0".repeat(32)));
    assert_eq!(sim.get(&unknown).error(), (404, 10_002));
}

#[test]
fn items_are_paged_by_cursor() {
    let sim = Sim::start();
    let many: Vec<Value> = (0..25)
        .map(|n| json!({"ip": format!("10.0.{n}.0/24")}))
        .collect();
    write(&sim, "PUT", BLOCKED, &json!(many)).result();
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = sim.get(&lists(&format!("/{BLOCKED}/items?per_page=10{cursor}")));
        seen.extend(
            page.result()
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["ip"].clone()),
        );
        match page.json()["result_info"]["cursors"]["after"].as_str() {
            Some(after) => cursor = format!("&cursor={after}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen[24], "10.0.24.0/24");
    assert_eq!(
        sim.get(&lists(&format!("/{BLOCKED}/items?cursor=nobody")))
            .error(),
        (400, 6003)
    );
}

#[test]
fn bad_items_are_refused_before_anything_is_pending() {
    let sim = Sim::start();
    for body in [
        json!([{"ip": "999.0.0.1"}]),
        json!([{"ip": "192.0.2.1/24"}]),
        json!([{"ip": "2001:db8::/65"}]),
        json!([{"asn": 1}]),
        json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.1/32"}]),
        json!([{"ip": "192.0.2.1", "comment": 5}]),
        json!({"ip": "192.0.2.1"}),
    ] {
        assert_eq!(
            write(&sim, "POST", BLOCKED, &body).error(),
            (400, 10_001),
            "{body}"
        );
    }
    let unknown = json!({"items": [{"id": "0".repeat(32)}]});
    assert_eq!(
        write(&sim, "DELETE", BLOCKED, &unknown).error(),
        (404, 10_002)
    );
    assert_eq!(
        write(&sim, "DELETE", BLOCKED, &json!({"items": []})).error(),
        (400, 10_001)
    );
    assert_eq!(
        write(&sim, "POST", BLOCKED, &json!([{"ip": "2001:DB8::1"}])).status,
        200
    );
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    assert_eq!(items(&sim, BLOCKED)[2], "2001:db8::/64");
}

#[test]
fn ten_thousand_changes_in_five_minutes_are_the_limit() {
    let sim = Sim::start();
    let many: Vec<Value> = (0..10_000)
        .map(|n| json!({"ip": format!("10.{}.{}.1", n / 250, n % 250)}))
        .collect();
    write(&sim, "PUT", BLOCKED, &json!(many)).result();
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 100})));
    let one = json!([{"ip": "192.0.2.1"}]);
    let refused = write(&sim, "POST", BLOCKED, &one);
    assert_eq!(refused.error(), (429, 10_429));
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((195..=201).contains(&wait), "{wait}");
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 201})));
    write(&sim, "POST", BLOCKED, &one).result();
}

#[test]
fn a_list_lives_from_creation_to_deletion_unless_a_rule_names_it() {
    let sim = Sim::start();
    let one = lists(&format!("/{BLOCKED}"));
    assert_eq!(sim.get(&one).result()["num_referencing_filters"], 1);
    assert_eq!(sim.call("DELETE", &one, None).error(), (400, 10_001));
    let entrypoint =
        format!("/zones/{ZONE_COM_ID}/rulesets/phases/http_request_firewall_custom/entrypoint");
    sim.call("PUT", &entrypoint, Some(&json!({"rules": []})))
        .result();
    let post = |body: Value| sim.call("POST", &lists(""), Some(&body));
    let made = post(json!({"name": "hosts", "kind": "hostname", "description": "d"})).result();
    assert_eq!(
        (&made["num_items"], &made["kind"]),
        (&json!(0), &json!("hostname"))
    );
    let hosts = made["id"].as_str().unwrap();
    write(
        &sim,
        "POST",
        hosts,
        &json!([{"hostname": {"url_hostname": "A.Example.com"}}]),
    )
    .result();
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 2})));
    let items = sim.get(&lists(&format!("/{hosts}/items"))).result();
    assert_eq!(items[0]["hostname"]["url_hostname"], "a.example.com");
    let item = lists(&format!(
        "/{hosts}/items/{}",
        items[0]["id"].as_str().unwrap()
    ));
    assert_eq!(sim.get(&item).result(), items[0]);
    for body in [
        json!({"name": "Upper", "kind": "ip"}),
        json!({"name": "x".repeat(51), "kind": "ip"}),
        json!({"kind": "ip"}),
        json!({"name": "x", "kind": "cidr"}),
    ] {
        assert_eq!(post(body.clone()).error(), (400, 10_001), "{body}");
    }
    assert_eq!(
        post(json!({"name": "hosts", "kind": "ip"})).error(),
        (409, 10_013)
    );
    let path = lists(&format!("/{hosts}"));
    let renamed = sim
        .call("PUT", &path, Some(&json!({"description": "other"})))
        .result();
    assert_eq!(
        (&renamed["description"], &renamed["name"]),
        (&json!("other"), &json!("hosts"))
    );
    assert_eq!(
        sim.call("PUT", &path, Some(&json!({"name": "other"})))
            .error(),
        (400, 10_001)
    );
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 10_002));
    assert_eq!(sim.get(&lists("")).result().as_array().unwrap().len(), 1);

    let poor = format!("/accounts/{GLOBEX_ID}/rules/lists");
    let body = |name: &str| json!({"name": name, "kind": "ip"});
    sim.call("POST", &poor, Some(&body("only"))).result();
    assert_eq!(
        sim.call("POST", &poor, Some(&body("second"))).error(),
        (400, 10_001)
    );
}
