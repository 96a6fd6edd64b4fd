//! Batches of DNS records, the bodies and the names of records: each item is judged as what it is and
//! what it does.

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
use support::zone::{a, challenge, check_denied, made, records};

const CONFIG: &str = r#"
principals = [
    { name = "acme", kind = "key" }, { name = "web", kind = "key" }, { name = "few", kind = "key" },
    { name = "admin", kind = "key" },
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
dns = { names = ["web.example.com"], types = ["A"], contents = ["203.0.113.0/24"], proxied = false }
[[grants]]
name = "few-at-once"
principals = ["few"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["*.few.example.com"], max_changes = 2 }
[[grants]]
name = "all-records"
principals = ["admin"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
"#;

fn gate() -> Gate {
    Gate::new(CONFIG, &[])
}

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
