//! Ledger, faults, limits, clock, reset.

use crate::support::Sim;
use base64::Engine as _;
use serde_json::{Value, json};
use simulator::{TOKEN, ZONE_NET_ID};

fn fault(sim: &Sim, faults: &Value) {
    let answer = sim.control("POST", "/faults", Some(faults));
    assert_eq!(answer.status, 200, "{}", answer.json());
}

fn records() -> String {
    format!("/zones/{ZONE_NET_ID}/dns_records")
}

fn record() -> Value {
    json!({"type": "A", "name": "f", "content": "192.0.2.1"})
}

fn count(sim: &Sim) -> Value {
    sim.get(&records()).json()["result_info"]["total_count"].clone()
}

#[test]
fn the_ledger_holds_what_was_received() {
    let sim = Sim::start();
    sim.get("/zones?name=a%20b&x");
    sim.call("POST", &records(), Some(&record()));
    let lines = sim.ledger(0);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["n"], 1);
    assert_eq!(lines[0]["method"], "GET");
    assert_eq!(lines[0]["path"], "/client/v4/zones");
    assert_eq!(lines[0]["query"], "name=a%20b&x");
    assert_eq!(lines[0]["status"], 200);
    let headers = lines[0]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["authorization", format!("Bearer {TOKEN}")])));
    let body = base64::engine::general_purpose::STANDARD.encode(record().to_string());
    assert_eq!(lines[1]["body_base64"], body);
    assert_eq!(sim.ledger(1).len(), 1);
    assert_eq!(sim.ledger(2).len(), 0);
}

#[test]
fn a_status_fault_answers_in_place_of_the_api() {
    let sim = Sim::start();
    fault(
        &sim,
        &json!([{
            "match": {"method": "POST", "path": "/client/v4/zones/*/dns_records"},
            "after": 1, "times": 1,
            "action": {"status": 503, "headers": {"retry-after": "7"}, "body": "<html>"},
        }]),
    );
    let before = count(&sim);
    let post = |n: u8| {
        let body = json!({"type": "A", "name": "f", "content": format!("192.0.2.{n}")});
        sim.call("POST", &records(), Some(&body))
    };
    assert_eq!(post(1).status, 200);
    let faulted = post(2);
    assert_eq!(faulted.status, 503);
    assert_eq!(faulted.header("retry-after"), Some("7"));
    assert_eq!(faulted.header("ratelimit"), None);
    assert!(faulted.header("cf-ray").is_some());
    assert_eq!(faulted.body, b"<html>");
    assert_eq!(post(3).status, 200);
    assert_eq!(count(&sim).as_u64(), before.as_u64().map(|n| n + 2));
    let statuses: Vec<Value> = sim.ledger(0).iter().map(|l| l["status"].clone()).collect();
    assert_eq!(
        statuses,
        [json!(200), json!(200), json!(503), json!(200), json!(200)]
    );
}

#[test]
fn a_reset_happens_before_or_after_the_effect() {
    for (when, effect) in [("before", 0), ("after", 1)] {
        let sim = Sim::start();
        let before = count(&sim).as_u64().unwrap();
        fault(
            &sim,
            &json!({"match": {"method": "POST"}, "times": 1, "action": {"reset": when}}),
        );
        sim.try_call("POST", &records(), Some(&record()))
            .unwrap_err();
        assert_eq!(count(&sim), before + effect, "{when}");
        let lines = sim.ledger(1);
        assert_eq!(lines[0]["method"], "POST");
        assert_eq!(lines[0]["status"], Value::Null);
    }
}

#[test]
fn half_a_body_is_sent_and_the_effect_stays() {
    let sim = Sim::start();
    let before = count(&sim).as_u64().unwrap();
    fault(
        &sim,
        &json!([{"match": {"method": "POST"}, "times": 1, "action": {"half_body": true}}]),
    );
    sim.try_call("POST", &records(), Some(&record()))
        .unwrap_err();
    assert_eq!(count(&sim), before + 1);
    assert_eq!(sim.ledger(1)[0]["status"], 200);
}

#[test]
fn a_delayed_request_is_on_the_ledger_while_it_waits() {
    let sim = Sim::start();
    fault(&sim, &json!([{"times": 1, "action": {"delay_ms": 1500}}]));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| sim.get("/user"));
        let mut lines = sim.ledger(0);
        while lines.is_empty() {
            lines = sim.ledger(0);
        }
        assert_eq!(lines[0]["status"], Value::Null);
        assert_eq!(slow.join().unwrap().status, 200);
    });
    assert_eq!(sim.ledger(0)[0]["status"], 200);
}

#[test]
fn redirects_and_echoes_are_answered() {
    let sim = Sim::start();
    fault(
        &sim,
        &json!([
            {"match": {"path": "/client/v4/user"}, "action": {"redirect": "http://evil.test/x"}},
            {"match": {"path": "/client/v4/zones"}, "action": {"echo": "token"}},
        ]),
    );
    let answer = sim.get("/user");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("http://evil.test/x"))
    );
    let answer = sim.get("/zones");
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8(answer.body).unwrap().contains(TOKEN));
    sim.control("DELETE", "/faults", None);
    assert_eq!(sim.get("/user").status, 200);
}

#[test]
fn a_fault_that_is_not_understood_is_refused() {
    let sim = Sim::start();
    for body in [
        json!([{"action": {}}]),
        json!([{"match": {"verb": "GET"}, "action": {"status": 500}}]),
        json!([{"action": {"reset": "sometimes"}}]),
        json!([{"action": {"status": 42}}]),
    ] {
        assert_eq!(
            sim.control("POST", "/faults", Some(&body)).status,
            400,
            "{body}"
        );
    }
    assert_eq!(sim.control("GET", "/faults", None).json(), json!([]));
    assert_eq!(sim.control("GET", "/nothing", None).status, 404);
}

#[test]
fn past_the_limit_every_call_is_refused_until_the_block_ends() {
    let sim = Sim::start();
    sim.control(
        "POST",
        "/limits",
        Some(&json!({"requests": 3, "window_secs": 60})),
    );
    for remaining in [2, 1, 0] {
        let answer = sim.get("/user");
        let header = answer.header("ratelimit").unwrap();
        assert!(
            header.starts_with(&format!("\"default\";r={remaining};t=")),
            "{header}"
        );
        assert_eq!(answer.header("retry-after"), None);
    }
    let refused = sim.get("/zones");
    assert_eq!(refused.error(), (429, 971));
    assert_eq!(refused.header("retry-after"), Some("60"));
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 58})));
    assert_eq!(sim.get("/user").status, 429);
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 3})));
    assert_eq!(sim.get("/user").status, 200);
}

#[test]
fn calls_of_nobody_do_not_use_the_budget() {
    let sim = Sim::start();
    sim.control(
        "POST",
        "/limits",
        Some(&json!({"requests": 1, "window_secs": 60})),
    );
    for _ in 0..3 {
        let answer = sim.raw("GET", "/client/v4/user", &[], b"").unwrap();
        assert_eq!(answer.error(), (400, 9106));
    }
    assert_eq!(sim.get("/user").status, 200);
}

#[test]
fn reset_seeds_everything_anew_with_the_same_ids() {
    let sim = Sim::start();
    let first = sim.call("POST", &records(), Some(&record())).result();
    fault(&sim, &json!([{"action": {"status": 500}}]));
    sim.control(
        "POST",
        "/limits",
        Some(&json!({"requests": 1, "window_secs": 60})),
    );
    assert_eq!(sim.control("POST", "/reset", None).status, 200);
    assert!(sim.ledger(0).is_empty());
    let second = sim.call("POST", &records(), Some(&record())).result();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(count(&sim), 14);
}

#[test]
fn a_long_body_is_cut_in_the_ledger() {
    let sim = Sim::start();
    let limits = json!({"requests": 1200, "window_secs": 300, "ledger_body_bytes": 8});
    sim.control("POST", "/limits", Some(&limits));
    sim.call("POST", &records(), Some(&record()));
    let line = &sim.ledger(0)[0];
    assert_eq!(line["truncated"], true);
    assert_eq!(line["body_base64"].as_str().unwrap().len(), 12);
}

#[test]
fn a_fault_may_repeat_a_header_and_change_the_content_type() {
    let sim = Sim::start();
    let headers = json!([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["content-type", "text/html"]
    ]);
    fault(
        &sim,
        &json!([{"action": {"status": 200, "headers": headers, "body": {"success": false}}}]),
    );
    let answer = sim.get("/user");
    let cookies = answer
        .headers
        .iter()
        .filter(|(k, _)| k == "set-cookie")
        .count();
    assert_eq!(cookies, 2);
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.json(), json!({"success": false}));
}
