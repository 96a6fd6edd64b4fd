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
use support::gate::{Gate, Got};
use support::lab::injector::Fault;

const CONFIG: &str = r#"
principals = [
    { name = "acme", kind = "key" }, { name = "web", kind = "key" }, { name = "few", kind = "key" },
    { name = "admin", kind = "key" }, { name = "named", kind = "key" }, { name = "not-mail", kind = "key" },
    { name = "asked", kind = "key" }, { name = "nobody", kind = "key" },
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
name = "few-at-once"
principals = ["few"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["*.few.example.com"], max_changes = 2 }
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
name = "patches-by-name"
principals = ["named"]
effect = "allow"
operations = ["dns-records-for-a-zone-patch-dns-record"]
zones = ["example.com"]
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

fn records(zone: &str) -> String {
    format!("/zones/{zone}/dns_records")
}

/// Makes a record past the gateway: its id.
fn made(gate: &Gate, record: &Value) -> String {
    let made = gate.by_hand(&format!("POST {}", records(COM)), record);
    made["id"].as_str().unwrap().to_owned()
}

fn challenge(label: &str) -> Value {
    json!({"type": "TXT", "name": format!("_acme-challenge.{label}.example.com"), "content": format!("\"{label}\""), "ttl": 60})
}

fn a(name: &str, content: &str) -> Value {
    json!({"type": "A", "name": name, "content": content, "ttl": 300})
}

/// The zone's records, without what nobody decides.
fn zone(gate: &Gate) -> Vec<String> {
    gate.harness.records(COM)
}

/// The call is refused as denied, and nothing is sent but look-ups.
#[track_caller]
fn check_denied(gate: &Gate, principal: &str, line: &str, body: &Value) -> Got {
    let (before, sent) = (zone(gate), gate.writes());
    let got = gate.call(principal, line, body);
    assert_eq!(got.refused(), (403, 20020), "{line} {body}: {}", got.text);
    assert_eq!(gate.writes(), sent, "{line} {body}");
    assert_eq!(zone(gate), before);
    let entry = gate.last_entry();
    assert_eq!((entry.decision.as_str(), entry.status), ("deny", Some(403)));
    got
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

// Batches.

fn batch(gate: &Gate, principal: &str, body: &Value) -> Got {
    gate.call(principal, &format!("POST {}/batch", records(COM)), body)
}

#[test]
fn e1_one_item_that_is_not_allowed_refuses_the_whole_batch_and_is_named() {
    let gate = gate();
    let own = made(&gate, &challenge("a"));
    let foreign = made(&gate, &a("web3", "192.0.2.1"));
    let absent = "0123456789abcdef0123456789abcdef";
    let good = challenge("new");
    for (body, place) in [
        (json!({"posts": [good, a("www7", "192.0.2.1")]}), "posts[1]"),
        (
            json!({"posts": [good], "deletes": [{"id": foreign}]}),
            "deletes[0]",
        ),
        (
            json!({"deletes": [{"id": own}, {"id": absent}]}),
            "deletes[1]",
        ),
        (
            json!({"patches": [{"id": own, "comment": "c"}, {"id": foreign, "comment": "c"}]}),
            "patches[1]",
        ),
        (
            json!({"patches": [{"id": own, "name": "www7"}]}),
            "patches[0]",
        ),
        (
            json!({"puts": [{"id": own, "type": "A", "name": "_acme-challenge.a", "content": "192.0.2.1"}]}),
            "puts[0]",
        ),
        (
            json!({"puts": [{"id": foreign, "type": "TXT", "name": "_acme-challenge.b", "content": "x"}]}),
            "puts[0]",
        ),
        // Each item meets what those before it left.
        (
            json!({"deletes": [{"id": own}], "patches": [{"id": own, "comment": "c"}]}),
            "patches[0]",
        ),
        (
            json!({"patches": [{"id": own, "name": "_acme-challenge.b"}, {"id": own, "name": "www7"}]}),
            "patches[1]",
        ),
        (
            json!({"patches": [{"id": own, "type": "A", "content": "192.0.2.1"}], "puts": [{"id": own, "type": "TXT", "name": "_acme-challenge.a", "content": "x"}]}),
            "patches[0]",
        ),
        (
            json!({"puts": [{"id": own, "type": "TXT", "name": "www7", "content": "x"}], "posts": [good]}),
            "puts[0]",
        ),
    ] {
        let got = check_denied(
            &gate,
            "acme",
            &format!("POST {}/batch", records(COM)),
            &body,
        );
        assert!(
            got.message()
                .starts_with(&format!("Of {place}: acme may not ")),
            "{body}: {}",
            got.message()
        );
    }
    assert!(
        check_denied(
            &gate,
            "acme",
            &format!("POST {}/batch", records(COM)),
            &json!({"posts": [a("www7", "192.0.2.1")]})
        )
        .message()
        .contains("A record www7.example.com")
    );
}

#[test]
fn e1_a_batch_of_allowed_items_is_sent_as_it_was_judged() {
    let gate = gate();
    let [one, two, three] = ["a", "b", "c"].map(|label| made(&gate, &challenge(label)));
    let body = json!({
        "posts": [{"type": "TXT", "name": "_ACME-challenge.New.", "content": "x", "foreign": 1, "id": "y", "zone_name": "z"}],
        "puts": [{"id": two, "type": "TXT", "name": "_acme-challenge.b2", "content": "\"y\""}],
        "patches": [{"id": three, "content": "\"z\"", "name": null}],
        "deletes": [{"id": one, "name": "www.example.com"}],
        "foreign": [],
    });
    let absolute = batch(&gate, "acme", &body);
    assert_eq!(
        absolute.refused(),
        (400, 20003),
        "a final dot is the root's: {}",
        absolute.text
    );
    let mut body = body;
    body["posts"][0]["name"] = json!("_ACME-challenge.New");
    let result = batch(&gate, "acme", &body).result();
    assert_eq!(result["deletes"][0]["id"], one);
    let sent: Value = serde_json::from_str(&gate.last_body()).unwrap();
    assert_eq!(
        sent,
        json!({
            "posts": [{"type": "TXT", "name": "_acme-challenge.new.example.com", "content": "x"}],
            "puts": [{"id": two, "type": "TXT", "name": "_acme-challenge.b2.example.com", "content": "\"y\""}],
            "patches": [{"id": three, "content": "\"z\""}],
            "deletes": [{"id": one}],
        })
    );
    let entry = gate.last_entry();
    assert_eq!(
        (entry.outcome.as_deref(), entry.upstream_calls),
        (Some("confirmed"), Some(4))
    );
}

#[test]
fn e1_a_batch_that_cannot_be_judged_is_refused_by_the_field() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let many: Vec<Value> = (0..3_501)
        .map(|n| json!({"type": "TXT", "name": format!("_acme-challenge.{n}"), "content": "x"}))
        .collect();
    for (body, expected) in [
        (json!([]), "The body must be a JSON object."),
        (json!({"posts": {}}), "The field `posts` must be a list."),
        (
            json!({"deletes": [id]}),
            "The item deletes[0] must be an object.",
        ),
        (
            json!({"deletes": [{}]}),
            "The field `deletes[0].id` must be the id of a DNS record, 32 hexadecimal digits.",
        ),
        (
            json!({"patches": [{"id": "../x"}]}),
            "The field `patches[0].id` must be the id of a DNS record, 32 hexadecimal digits.",
        ),
        (
            json!({"patches": [{"id": id, "name": 5}]}),
            "The field `patches[0].name` must be a text.",
        ),
        (
            json!({"patches": [{"id": id, "proxied": "yes"}]}),
            "The field `patches[0].proxied` must be true or false.",
        ),
        (
            json!({"posts": [{"content": "x"}]}),
            "The item posts[0] needs the fields `name` and `type`, both texts.",
        ),
        (
            json!({"puts": [{"id": id, "name": "_acme-challenge.a"}]}),
            "The item puts[0] needs the fields `name` and `type`, both texts.",
        ),
        (
            json!({"posts": [{"type": "TXT", "name": "a..b", "content": "x"}]}),
            "The field `posts[0].name` cannot be a record of example.com: a label of the name is empty.",
        ),
        (
            json!({ "posts": many }),
            "A batch may change at most 3500 DNS records.",
        ),
    ] {
        let sent = gate.writes();
        let got = batch(&gate, "acme", &body);
        assert_eq!(
            (got.refused(), got.message().as_str()),
            ((400, 20003), expected)
        );
        assert_eq!(gate.writes(), sent);
    }
    assert_eq!(
        batch(&gate, "acme", &json!({})).refused(),
        (403, 20020),
        "about nothing is about anything"
    );
}

#[test]
fn e1_a_batch_counts_its_items_against_the_grant() {
    let gate = gate();
    let item = |n: u32| json!({"type": "A", "name": format!("h{n}.few"), "content": "192.0.2.1"});
    let got = check_denied(
        &gate,
        "few",
        &format!("POST {}/batch", records(COM)),
        &json!({"posts": [item(1), item(2), item(3)]}),
    );
    assert!(got.message().contains("few-at-once"), "{}", got.message());
    let made = batch(&gate, "few", &json!({"posts": [item(1), item(2)]})).result();
    let ids: Vec<Value> = made["posts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| json!({"id": r["id"]}))
        .collect();
    check_denied(
        &gate,
        "few",
        &format!("POST {}/batch", records(COM)),
        &json!({"deletes": ids, "posts": [item(3)]}),
    );
    // A patch is one change, although two states of the record are judged.
    let patch: Vec<Value> = ids
        .iter()
        .map(|r| json!({"id": r["id"], "comment": "c"}))
        .collect();
    assert_eq!(
        batch(&gate, "few", &json!({ "patches": patch })).status,
        200
    );
}

#[test]
fn e1_the_records_of_a_long_batch_are_looked_up_in_one_list() {
    let gate = gate();
    let ids: Vec<Value> = (0..200)
        .map(|n| json!({"id": made(&gate, &challenge(&format!("n{n}")))}))
        .collect();
    let before = gate.ledger().len();
    let result = batch(&gate, "acme", &json!({ "deletes": ids })).result();
    assert_eq!(result["deletes"].as_array().unwrap().len(), 200);
    let calls = gate.ledger().split_off(before);
    let calls: Vec<&str> = calls.iter().map(|entry| entry.method.as_str()).collect();
    assert_eq!(calls, ["GET", "POST"]);
    assert_eq!(gate.last_entry().upstream_calls, Some(2));
}

// Bodies.

#[test]
fn p7_a_body_that_names_another_zone_than_the_path_is_refused() {
    let gate = gate();
    let id = made(&gate, &challenge("a"));
    let mut with_zone = challenge("b");
    with_zone["zone_id"] = json!(NET);
    for who in ["acme", "admin"] {
        for (line, body) in [
            (format!("POST {}", records(COM)), with_zone.clone()),
            (
                format!("PATCH {}/{id}", records(COM)),
                json!({"zone_id": NET, "comment": "c"}),
            ),
            (
                format!("POST {}/batch", records(COM)),
                json!({"posts": [with_zone]}),
            ),
        ] {
            let sent = gate.writes();
            let got = gate.call(who, &line, &body);
            assert_eq!(got.refused(), (400, 20003), "{who} {line}: {}", got.text);
            assert_eq!(gate.writes(), sent);
        }
    }
    with_zone["zone_id"] = json!(COM);
    assert_eq!(
        gate.call("acme", &format!("POST {}", records(COM)), &with_zone)
            .status,
        200
    );
}

#[test]
fn j4_unknown_and_empty_fields_of_a_judged_body_are_not_sent() {
    let gate = gate();
    let id = made(&gate, &a("web", "203.0.113.1"));
    let body = json!({"content": "203.0.113.9", "data": null, "proxied": null, "type": null, "name": null, "id": "0123456789abcdef0123456789abcdef", "meta": {"x": 1}, "ttl": 120});
    let got = gate.call("web", &format!("PATCH {}/{id}", records(COM)), &body);
    assert_eq!(got.result()["ttl"], 120);
    assert_eq!(gate.last_body(), r#"{"content":"203.0.113.9","ttl":120}"#);
}

// Names.

#[test]
fn e4_every_spelling_of_a_name_is_judged_as_what_it_is() {
    let gate = gate();
    let id = made(&gate, &challenge("spelled"));
    let long = format!("_acme-challenge.{}", "a".repeat(64));
    // Whether the key for challenges may write it, and what it then is.
    for (n, (name, expected)) in (0_u32..).zip([
        ("_acme-challenge", Some("_acme-challenge.example.com")),
        (
            "_ACME-Challenge.Example.COM",
            Some("_acme-challenge.example.com"),
        ),
        (
            "_acme-challenge.example.com.",
            Some("_acme-challenge.example.com"),
        ),
        (
            "_acme-challenge\u{3002}example\u{ff0e}com",
            Some("_acme-challenge.example.com"),
        ),
        (
            "_acme-challenge.b\u{fc}cher",
            Some("_acme-challenge.xn--bcher-kva.example.com"),
        ),
        (
            "_acme-challenge.\u{1f4a9}",
            Some("_acme-challenge.xn--ls8h.example.com"),
        ),
        (
            "\u{ff3f}acme-challenge.wide",
            Some("_acme-challenge.wide.example.com"),
        ),
        (
            "_acme-challenge.evil-example.com",
            Some("_acme-challenge.evil-example.com.example.com"),
        ),
        ("@", None),
        ("example.com", None),
        ("*", None),
        ("*._acme-challenge", None),
        ("_acme-challenge.", None),
        ("_acme-challenge.example.com.evil.net.", None),
        ("_acme-challenge.evil-example.com.", None),
        ("www._acme-challenge", None),
        ("x_acme-challenge", None),
        ("_acme-challenge.*", None),
        ("_acme-challenge..example.com", None),
        (" _acme-challenge", None),
        ("_acme-challenge\u{200d}.example.com", None),
        ("_acme\u{200d}-challenge", None),
        ("_acme-challenge.xn--www-.example.com", None),
        ("xn--_acme-challenge-.example.com", None),
        ("xn--acme", None),
        ("_acme-challenge\0.www", None),
        ("_acme-challenge\\.www", None),
        ("", None),
        (&long, None),
    ]) {
        let body =
            |what: &str| json!({"type": "TXT", "name": name, "content": format!("\"{what} {n}\"")});
        for (line, body) in [
            (format!("POST {}", records(COM)), body("alone")),
            (
                format!("PATCH {}/{id}", records(COM)),
                json!({ "name": name }),
            ),
            (
                format!("POST {}/batch", records(COM)),
                json!({"posts": [body("in a batch")]}),
            ),
        ] {
            let sent = gate.writes().len();
            let got = gate.call("acme", &line, &body);
            if let Some(expected) = expected {
                assert_eq!(got.status, 200, "{name:?}: {}", got.text);
                assert!(
                    gate.last_body()
                        .contains(&format!("\"name\":\"{expected}\"")),
                    "{}",
                    gate.last_body()
                );
            } else {
                assert!(
                    [(400, 20003), (403, 20020)].contains(&got.refused()),
                    "{name:?}: {}",
                    got.text
                );
                assert_eq!(gate.writes().len(), sent, "{name:?}");
            }
        }
    }
}

#[test]
fn e4_whatever_is_put_together_the_key_writes_no_other_name() {
    const PIECES: &[&str] = &[
        "_acme-challenge",
        "_ACME-CHALLENGE",
        "www",
        "*",
        "@",
        ".",
        "..",
        "example.com",
        "example",
        "com",
        "-",
        "\u{3002}",
        "\u{ff0e}",
        "\u{200d}",
        "\u{ad}",
        "xn--",
        "xn--www-",
        "\u{ff3f}acme-challenge",
        "\u{df}",
        "\u{130}",
        " ",
        "_",
        "evil",
    ];
    let gate = gate();
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut written = 0;
    for n in 0..1_500 {
        let name: String = (0..=next(5)).map(|_| PIECES[next(PIECES.len())]).collect();
        let body = json!({"type": "TXT", "name": name, "content": format!("\"{n}\"")});
        let got = gate.call("acme", &format!("POST {}", records(COM)), &body);
        if got.status == 200 {
            written += 1;
            let name = got.result()["name"].as_str().unwrap().to_owned();
            let labels: Vec<&str> = name.split('.').collect();
            assert!(
                labels[0] == "_acme-challenge"
                    && labels.ends_with(&["example", "com"])
                    && !labels.contains(&"*"),
                "{body} made {name}"
            );
        }
        if n % 200 == 0 {
            gate.harness.outside.advance_ms(400_000);
        }
    }
    assert!(written > 20, "{written}");
}
