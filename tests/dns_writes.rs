//! Writes of DNS records by id and in bulk are judged by what they do to which record, and nothing
//! comes between the look and the act.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{ZONE_COM_ID as COM, ZONE_NET_ID as NET};
use support::gate::Gate;
use support::lab::injector::Fault;
use support::zone::{a, challenge, check_denied, made, records};

const CONFIG: &str = r#"
principals = [
    { name = "acme", kind = "key" }, { name = "web", kind = "key" },
    { name = "admin", kind = "key" }, { name = "not-mail", kind = "key" },
    { name = "asked", kind = "key" },
]
[[grants]]
name = "acme-challenges"
principals = ["acme"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["_acme-challenge.**"], types = ["TXT"] }
[[grants]]
name = "web-address"
principals = ["web"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["web.example.com", "web2.example.com"], types = ["A"], contents = ["203.0.113.0/24"], proxied = false }
[[grants]]
name = "all-records"
principals = ["admin", "not-mail"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com", "example.net"]
[[grants]]
name = "mail-is-another-team"
principals = ["not-mail"]
effect = "deny"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { types = ["MX"] }
[[grants]]
name = "somebody-approves"
principals = ["asked"]
effect = "approve"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["web.example.com"] }
"#;

fn gate() -> Gate {
    Gate::new(CONFIG, &[])
}

// By id.

#[test]
fn e2_a_record_renamed_by_id_is_judged_before_and_after() {
    let gate = gate();
    let own = made(&gate, &challenge("a"));
    let www = made(&gate, &a("web3", "192.0.2.1"));
    let own = format!("{}/{own}", records(COM));
    for (line, body) in [
        ("PATCH", json!({"name": "www2.example.com"})),
        ("PATCH", json!({"name": "example.com"})),
        ("PATCH", json!({"name": "@"})),
        ("PATCH", json!({"name": "*.example.com"})),
        ("PATCH", json!({"type": "CNAME"})),
        ("PATCH", json!({"type": "NS", "content": "ns.evil.example"})),
        ("PUT", a("_acme-challenge.a.example.com", "192.0.2.1")),
        (
            "PUT",
            json!({"type": "TXT", "name": "www2.example.com", "content": "x"}),
        ),
    ] {
        check_denied(&gate, "acme", &format!("{line} {own}"), &body);
    }
    // A foreign record brought under a name of its own.
    let foreign = format!("{}/{www}", records(COM));
    for (line, body) in [
        ("PATCH", challenge("b")),
        ("PATCH", json!({"comment": "mine"})),
        ("PATCH", json!({})),
        ("PUT", challenge("b")),
        ("DELETE", Value::Null),
    ] {
        check_denied(&gate, "acme", &format!("{line} {foreign}"), &body);
    }
    let got = gate.call(
        "acme",
        &format!("PATCH {own}"),
        &json!({"name": "_acme-challenge.c"}),
    );
    assert_eq!(got.result()["name"], "_acme-challenge.c.example.com");
}

#[test]
fn e2_every_condition_is_judged_on_what_comes_of_it() {
    let gate = gate();
    let id = made(&gate, &a("web", "203.0.113.1"));
    let line = format!("PATCH {}/{id}", records(COM));
    for body in [
        json!({"content": "192.0.2.66"}),
        json!({"proxied": true}),
        json!({"name": "web3.example.com"}),
        json!({"data": {"address": "192.0.2.66"}}),
        json!({"content": "203.0.113.2", "data": {"address": "192.0.2.66"}}),
    ] {
        check_denied(&gate, "web", &line, &body);
    }
    let body = json!({"content": "203.0.113.7", "name": "web2"});
    assert_eq!(
        gate.call("web", &line, &body).result()["name"],
        "web2.example.com"
    );
    // What PUT does not say falls back to its default.
    let put = line.replace("PATCH", "PUT");
    check_denied(
        &gate,
        "web",
        &put,
        &json!({"type": "A", "name": "web", "proxied": true, "content": "203.0.113.1"}),
    );
    let got = gate.call(
        "web",
        &put,
        &json!({"type": "A", "name": "web", "content": "203.0.113.1"}),
    );
    assert_eq!(got.result()["content"], "203.0.113.1");
    // Once others made it something else it is out of reach.
    gate.by_hand(&line, &json!({"content": "192.0.2.1"}));
    check_denied(&gate, "web", &line, &json!({"content": "203.0.113.1"}));
}

#[test]
fn e2_a_record_that_may_not_be_seen_is_refused_like_one_that_is_not_there() {
    let gate = gate();
    let there = made(&gate, &a("secret", "192.0.2.1"));
    let absent = "0123456789abcdef0123456789abcdef";
    for (line, body) in [
        ("GET", Value::Null),
        ("PATCH", json!({"content": "\"x\""})),
        ("PUT", challenge("a")),
        ("DELETE", Value::Null),
    ] {
        let [one, other] = [there.as_str(), absent].map(|id| {
            let got = gate.call("acme", &format!("{line} {}/{id}", records(COM)), &body);
            assert_eq!(got.refused(), (403, 20020), "{line} {id}: {}", got.text);
            let entry = gate.last_entry();
            assert_eq!(entry.upstream_calls, Some(1), "{line}");
            got.text.replace(id, "ID")
        });
        assert_eq!(one, other, "{line}");
        assert!(
            one.contains("its grants cover other records of example.com only; a grant of DNS"),
            "{one}"
        );
    }
    let batches = [there.as_str(), absent].map(|id| {
        let body = json!({"deletes": [{"id": id}]});
        let got = gate.call("acme", &format!("POST {}/batch", records(COM)), &body);
        got.text.replace(id, "ID")
    });
    assert_eq!(batches[0], batches[1]);
    assert!(
        gate.writes()
            .iter()
            .all(|write| write.contains("dns_records")),
        "only what was made by hand"
    );
    // Whoever may see every record learns from Cloudflare that it is not there.
    let got = gate.call(
        "admin",
        &format!("PATCH {}/{absent}", records(COM)),
        &json!({"content": "x"}),
    );
    assert_eq!(got.refused(), (404, 81044));
}

#[test]
fn e2_a_grant_that_denies_some_records_is_asked_about_each() {
    let gate = gate();
    let mx = made(
        &gate,
        &json!({"type": "MX", "name": "m", "content": "mx.example.net", "priority": 1}),
    );
    let other = made(&gate, &a("free", "192.0.2.1"));
    let path = records(COM);
    check_denied(
        &gate,
        "not-mail",
        &format!("DELETE {path}/{mx}"),
        &Value::Null,
    );
    check_denied(
        &gate,
        "not-mail",
        &format!("POST {path}/batch"),
        &json!({"deletes": [{"id": other}, {"id": mx}]}),
    );
    let new = json!({"posts": [{"type": "MX", "name": "m2", "content": "mx.example.net", "priority": 1}]});
    check_denied(&gate, "not-mail", &format!("POST {path}/batch"), &new);
    assert_eq!(
        gate.call("not-mail", &format!("DELETE {path}/{other}"), &Value::Null)
            .status,
        200
    );
    // In a zone where nothing is denied nothing is looked up.
    let sent = gate.ledger().len();
    gate.call(
        "not-mail",
        &format!("DELETE {}/{mx}", records(NET)),
        &Value::Null,
    );
    assert_eq!(gate.ledger().len(), sent + 1);
}

#[test]
fn e2_what_is_allowed_is_looked_up_sent_once_and_recorded() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let path = format!("/client/v4{}/{id}", records(COM));
    let before = gate.ledger().len();
    let got = gate.call(
        "acme",
        &format!("PATCH {}/{id}", records(COM)),
        &json!({"content": "\"new\"", "foreign": 1, "name": null, "id": "x"}),
    );
    assert_eq!(got.result()["content"], "\"new\"");
    assert_eq!(
        gate.last_body(),
        r#"{"content":"\"new\""}"#,
        "what was judged is what is sent"
    );
    let calls: Vec<_> = gate
        .ledger()
        .split_off(before)
        .into_iter()
        .map(|e| (e.method, e.path))
        .collect();
    assert_eq!(
        calls,
        [
            ("GET".to_owned(), path.clone()),
            ("PATCH".to_owned(), path.clone())
        ]
    );
    let entry = gate.last_entry();
    assert_eq!(
        entry.sentence,
        format!(
            "acme changed TXT record _acme-challenge.a.example.com ({id}) of example.com; allowed by acme-challenges."
        )
    );
    assert_eq!(
        (entry.outcome.as_deref(), entry.upstream_calls),
        (Some("confirmed"), Some(2))
    );
    let got = gate.call(
        "acme",
        &format!("DELETE {}/{id}", records(COM)),
        &Value::Null,
    );
    assert_eq!(got.result(), json!({ "id": id }));
    assert!(
        gate.last_entry()
            .sentence
            .starts_with("acme deleted TXT record _acme-challenge.a.example.com")
    );
}

#[test]
fn e2_an_approval_is_asked_for_what_a_grant_asks_for() {
    let gate = gate();
    let id = made(&gate, &a("web", "203.0.113.1"));
    let line = format!("PATCH {}/{id}", records(COM));
    let sent = gate.writes().len();
    assert_eq!(
        gate.call("asked", &line, &json!({"comment": "c"}))
            .refused(),
        (403, 20023)
    );
    assert_eq!(
        gate.call("asked", &line, &json!({"name": "other"}))
            .refused(),
        (403, 20020)
    );
    assert_eq!(gate.writes().len(), sent);
}

// Others at the same time.

#[test]
fn e3_a_change_by_others_between_the_look_and_the_act_is_detected() {
    for (method, body) in [
        ("PATCH", json!({"comment": "c"})),
        ("PATCH", json!({"content": "\"x\""})),
    ] {
        let gate = gate();
        let id = made(&gate, &challenge("a"));
        let line = format!("{method} {}/{id}", records(COM));
        // Somebody renames it in the dashboard once it was looked up.
        let (outside, path) = (
            gate.harness.outside.clone(),
            format!("{}/{id}?by_hand", records(COM)),
        );
        gate.harness
            .outside
            .injector
            .before("upstream: PATCH", 1, move || {
                let renamed = json!({"name": "www9.example.com"}).to_string();
                let answered = outside.network.borrow_mut().call(
                    &outside.clock,
                    "PATCH",
                    &path,
                    renamed.as_bytes(),
                );
                assert_eq!(answered.status, 200);
            });
        let got = gate.call("acme", &line, &body);
        assert_eq!(got.refused(), (502, 20070), "{}", got.text);
        assert!(!got.text.contains("www9"), "{}", got.text);
        assert!(
            got.message()
                .contains("what came of it is not what was allowed"),
            "{}",
            got.text
        );
        let entry = gate.last_entry();
        assert_eq!(entry.outcome.as_deref(), Some("confirmed"));
        assert!(
            entry.sentence.contains("; toctou_detected: record"),
            "{entry:?}"
        );
        assert!(
            gate.harness
                .outside
                .logs()
                .contains("ALARM: toctou_detected: acme did change TXT record")
        );
    }
}

#[test]
fn e3_a_batch_that_meets_other_records_than_were_looked_up_is_detected() {
    let gate = gate();
    let (one, two) = (made(&gate, &challenge("a")), made(&gate, &challenge("b")));
    let (outside, path) = (
        gate.harness.outside.clone(),
        format!("{}/{two}?by_hand", records(COM)),
    );
    gate.harness
        .outside
        .injector
        .before("upstream: POST", 1, move || {
            let renamed = json!({"name": "www9.example.com"}).to_string();
            outside
                .network
                .borrow_mut()
                .call(&outside.clock, "PATCH", &path, renamed.as_bytes());
        });
    let body = json!({"patches": [{"id": one, "comment": "c"}], "deletes": [{"id": two}]});
    let got = gate.call("acme", &format!("POST {}/batch", records(COM)), &body);
    assert_eq!(got.refused(), (502, 20070), "{}", got.text);
    assert!(gate.harness.outside.logs().contains("www9.example.com"));
}

#[test]
fn e3_no_other_write_by_id_comes_between_the_look_and_the_act() {
    let gate = std::rc::Rc::new(gate());
    let id = made(&gate, &challenge("a"));
    let line = format!("{}/{id}", records(COM));
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    // Keys are minted before, as nobody can be asked in the middle of a call.
    for who in ["acme", "admin"] {
        gate.call(who, "GET /user", &Value::Null);
    }
    let (other, kept, path) = (
        std::rc::Rc::clone(&gate),
        std::rc::Rc::clone(&seen),
        line.clone(),
    );
    gate.harness
        .outside
        .injector
        .before("upstream: PATCH", 1, move || {
            // Another isolate, with rights on everything, wants to rename the record just then.
            let got = other.next_door(
                "admin",
                &format!("PATCH {path}"),
                &json!({"name": "www9.example.com"}),
            );
            kept.borrow_mut().push(got);
        });
    let got = gate.call("acme", &format!("PATCH {line}"), &json!({"comment": "c"}));
    assert_eq!(got.result()["name"], "_acme-challenge.a.example.com");
    assert_eq!(seen.borrow()[0].refused(), (503, 20080), "{seen:?}");
    assert!(
        seen.borrow()[0]
            .message()
            .contains("try again in a few seconds")
    );
    // The turn was given back.
    let got = gate.call(
        "admin",
        &format!("PATCH {line}"),
        &json!({"name": "www9.example.com"}),
    );
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(
        gate.harness
            .outside
            .clock
            .now()
            .ms_since(gate.harness.now()),
        0
    );
}

#[test]
fn e3_without_a_turn_nothing_is_sent() {
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Timeout] {
        let gate = gate();
        let id = made(&gate, &challenge("a"));
        let sent = gate.ledger().len();
        for (who, line, body) in [
            (
                "acme",
                format!("PATCH {}/{id}", records(COM)),
                json!({"comment": "c"}),
            ),
            (
                "admin",
                format!("DELETE {}/{id}", records(COM)),
                Value::Null,
            ),
            (
                "admin",
                format!("POST {}/batch", records(COM)),
                json!({"posts": [a("x", "192.0.2.1")]}),
            ),
        ] {
            gate.harness.outside.injector.fail("object: lock", 1, fault);
            let got = gate.call(who, &line, &body);
            assert_eq!(
                got.refused(),
                (503, 20080),
                "{fault:?} {line}: {}",
                got.text
            );
            assert_eq!(gate.ledger().len(), sent, "{fault:?} {line}");
            gate.harness.outside.advance_ms(60_000);
        }
        // A new record disturbs nobody's look, so it needs no turn.
        gate.harness
            .outside
            .injector
            .fail("object: lock", 1, Fault::ErrorBefore);
        assert_eq!(
            gate.call("acme", &format!("POST {}", records(COM)), &challenge("n"))
                .status,
            200
        );
    }
}

#[test]
fn e3_a_turn_whose_write_may_still_be_under_way_is_kept_until_it_ends_by_itself() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let line = format!("PATCH {}/{id}", records(COM));
    gate.harness
        .outside
        .injector
        .fail("upstream: PATCH", 1, Fault::Timeout);
    let got = gate.call("admin", &line, &json!({"name": "www9.example.com"}));
    assert_eq!(got.status, 502, "{}", got.text);
    // It happens 35 s after it was sent. Until then nobody has a turn.
    for _ in 0..2 {
        let got = gate.call("acme", &line, &json!({"comment": "c"}));
        assert_eq!(got.refused(), (503, 20080), "{}", got.text);
    }
    let got = gate.call("acme", &line, &json!({"comment": "c"}));
    assert_eq!(got.refused(), (403, 20020), "{}", got.text);
    assert_eq!(
        gate.by_hand(&line.replace("PATCH", "GET"), &Value::Null)["name"],
        "www9.example.com"
    );
}

#[test]
fn j5_the_body_of_a_deletion_by_id_passes() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let line = format!("DELETE {}/{id}", records(COM));
    assert_eq!(gate.call("admin", &line, &json!({"a": 1})).status, 200);
    assert_eq!(gate.last_body(), "{\"a\":1}");
}

#[test]
fn e3_no_look_begins_that_could_not_be_acted_upon() {
    let gate = gate();
    let ids: Vec<Value> = ["a", "b", "c"]
        .map(|label| json!({"id": made(&gate, &challenge(label))}))
        .into();
    let outside = gate.harness.outside.clone();
    let late = move || outside.clock.advance_ms(14_001);
    gate.harness
        .outside
        .injector
        .before("upstream: GET", 1, late);
    let sent = gate.ledger().len();
    let line = format!("POST {}/batch", records(COM));
    let got = gate.call("acme", &line, &json!({ "deletes": ids }));
    assert_eq!(got.refused(), (503, 20080), "{}", got.text);
    assert_eq!(gate.ledger().len(), sent + 1);
}

#[test]
fn e3_a_look_that_took_too_long_is_not_acted_upon() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let outside = gate.harness.outside.clone();
    gate.harness
        .outside
        .injector
        .before("upstream: GET", 1, move || outside.clock.advance_ms(14_001));
    let sent = gate.writes();
    let got = gate.call(
        "acme",
        &format!("PATCH {}/{id}", records(COM)),
        &json!({"comment": "c"}),
    );
    assert_eq!(got.refused(), (503, 20080), "{}", got.text);
    assert!(got.message().contains("nothing was sent"));
    assert_eq!(gate.writes(), sent);
}

#[test]
fn e3_a_look_that_fails_is_not_acted_upon() {
    for fault in [Fault::ErrorBefore, Fault::Timeout] {
        let gate = gate();
        let id = made(&gate, &challenge("a"));
        let sent = gate.writes();
        for nth in 1..=3 {
            gate.harness
                .outside
                .injector
                .fail("upstream: GET", nth, fault);
        }
        let got = gate.call(
            "acme",
            &format!("PATCH {}/{id}", records(COM)),
            &json!({"comment": "c"}),
        );
        assert_eq!((got.status, got.refused().1), (502, 20070), "{}", got.text);
        assert!(
            got.message()
                .ends_with("when the records were looked up, so nothing was sent."),
            "{}",
            got.text
        );
        assert_eq!(gate.writes(), sent);
    }
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let path = format!("{}/{id}", records(COM));
    for (status, body) in [
        (429, json!({"success": false, "errors": [], "result": null})),
        (200, json!("<html>")),
        (404, json!("<html>")),
        (200, json!({"success": true, "result": {"id": id}})),
    ] {
        gate.harness.outside.network.borrow_mut().answer_instead(
            ("GET", &path),
            0,
            status,
            &[],
            &body,
        );
        let got = gate.call("acme", &format!("DELETE {path}"), &Value::Null);
        assert_eq!(got.refused(), (502, 20070), "{status} {body}: {}", got.text);
    }
    assert_eq!(
        gate.call("acme", &format!("DELETE {path}"), &Value::Null)
            .status,
        200
    );
}

#[test]
fn a_grant_that_is_gone_by_the_time_of_sending_does_not_open_a_record() {
    let gate = std::rc::Rc::new(gate());
    let id = made(&gate, &challenge("a"));
    gate.call("acme", "GET /user", &Value::Null);
    let other = std::rc::Rc::clone(&gate);
    gate.harness
        .outside
        .injector
        .before("d1: INSERT audit_intents", 1, move || {
            other
                .harness
                .apply(&CONFIG.replace("_acme-challenge.**", "_acme-challenge.b.**"));
            other.harness.outside.clock.advance_ms(6_000);
        });
    let sent = gate.writes();
    let got = gate.call(
        "acme",
        &format!("PATCH {}/{id}", records(COM)),
        &json!({"comment": "c"}),
    );
    assert!(got.status == 403 || got.status == 503, "{}", got.text);
    assert_eq!(gate.writes(), sent);
}
