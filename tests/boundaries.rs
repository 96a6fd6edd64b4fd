//! Calls that look as if they were granted, answers that look as if they confirmed, moments that
//! look as if nothing had changed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::rc::Rc;

use serde_json::{Value, json};
use support::keeper::{ACME, Answered, COM, Keeper, ask};
use support::upstream::{post, success};

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"
[[principals]]
name = "shut"
kind = "key"
[[principals]]
name = "office"
kind = "key"

[[grants]]
name = "caa"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { types = ["CAA", "TXT"], contents = ['0 issue "letsencrypt.org"', "v"] }

[[grants]]
name = "workers"
principals = ["bot"]
effect = "allow"
permissions = ["Workers Scripts Write", "Workers Tail Read"]
accounts = ["Acme"]

[[grants]]
name = "all-dns"
principals = ["shut"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]

[[grants]]
name = "no-lists"
principals = ["shut"]
effect = "deny"
operations = ["zones-get", "user-user-details"]

[[grants]]
name = "office"
principals = ["office"]
effect = "allow"
permissions = ["Zonekeeper Config Write"]
"#;

fn records() -> String {
    format!("/zones/{COM}/dns_records")
}

fn create(keeper: &Keeper, principal: &str, body: &Value) -> Answered {
    let request = ask(&format!("POST /client/v4{}", records())).key(&keeper.mint(principal));
    keeper.call(request.json(body))
}

fn txt() -> Value {
    json!({"type": "TXT", "name": "a.example.com", "content": "v"})
}

fn outcome(keeper: &Keeper) -> Option<String> {
    keeper.last_entry().outcome
}

#[test]
fn j4_structured_data_does_not_stand_behind_a_content_that_is_granted() {
    let keeper = Keeper::with(CONFIG);
    let granted =
        json!({"type": "CAA", "name": "a.example.com", "content": "0 issue \"letsencrypt.org\""});
    keeper.expect(
        post(records())
            .with(granted.clone())
            .answers(200, success(&json!({}))),
    );
    assert_eq!(create(&keeper, "bot", &granted).status, 200);
    let mut smuggled = granted;
    smuggled["data"] = json!({"flags": 0, "tag": "issue", "value": "evil.example"});
    assert_eq!(create(&keeper, "bot", &smuggled).refused(), (403, 20020));
}

#[test]
fn e7_a_record_of_an_own_host_name_is_out_of_bounds() {
    let keeper = Keeper::with(CONFIG).told(|raw| {
        raw.own_hostnames = Some("zonekeeper.example.com, other.example.com".to_owned());
    });
    for name in ["zonekeeper.example.com", "ZoneKeeper", "other.example.com."] {
        let body = json!({"type": "A", "name": name, "content": "192.0.2.1"});
        assert_eq!(
            create(&keeper, "shut", &body).refused(),
            (403, 20022),
            "{name}"
        );
    }
}

#[test]
fn e9_a_tail_is_not_handed_through() {
    let keeper = Keeper::with(CONFIG);
    let path = format!("/client/v4/accounts/{ACME}/workers/scripts/site/tails");
    let request = ask(&format!("POST {path}")).key(&keeper.mint("bot"));
    assert_eq!(keeper.call(request).refused(), (501, 20060));
}

#[test]
fn a_deny_holds_for_what_is_answered_here() {
    let keeper = Keeper::with(CONFIG);
    for path in ["/zones", "/user"] {
        let request = ask(&format!("GET /client/v4{path}")).key(&keeper.mint("shut"));
        assert_eq!(keeper.call(request).refused(), (403, 20020), "{path}");
        assert_eq!(keeper.last_entry().grant.as_deref(), Some("no-lists"));
    }
}

#[test]
fn f1_a_200_confirms_a_judged_write_only_by_its_envelope() {
    for (body, status, expected) in [
        (success(&json!({})), 200, "confirmed"),
        (
            r#"{"success":false,"errors":[{"code":9005,"message":"no"}],"result":null}"#.to_owned(),
            200,
            "refused",
        ),
        ("<html>hello</html>".to_owned(), 502, "unknown"),
    ] {
        let keeper = Keeper::with(CONFIG);
        keeper.expect(post(records()).with(txt()).answers(200, body.clone()));
        assert_eq!(create(&keeper, "shut", &txt()).status, status, "{body}");
        assert_eq!(outcome(&keeper).as_deref(), Some(expected), "{body}");
    }
    let keeper = Keeper::with(CONFIG);
    keeper.expect(post(records()).with(txt()).answers(200, "{\"succ").cut());
    assert_eq!(create(&keeper, "shut", &txt()).refused(), (502, 20070));
    assert_eq!(outcome(&keeper).as_deref(), Some("unknown"));
}

/// A create during which `change` happens between its intent and its sending; it is not expected
/// upstream.
fn create_while(change: impl FnOnce(&Keeper) + 'static) -> (Rc<Keeper>, Answered) {
    let keeper = Keeper::with(CONFIG);
    let seen = Rc::clone(&keeper);
    let key = keeper.mint("shut");
    keeper
        .database
        .after("INSERT INTO audit_intents", move || change(&seen));
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    let answered = keeper.call(request.json(&txt()));
    assert_eq!(keeper.world.calls(), 0);
    assert_eq!(outcome(&keeper).as_deref(), Some("refused"));
    (keeper, answered)
}

#[test]
fn f2_a_write_whose_intent_is_old_is_not_sent_any_more() {
    let (keeper, answered) = create_while(|keeper| keeper.world.clock.advance_ms(4_001));
    assert_eq!(answered.refused(), (503, 20080));
    assert!(keeper.last_entry().sentence.contains("but not sent"));
}

#[test]
fn a_body_read_without_a_condition_is_not_sent_under_one() {
    let (_, answered) = create_while(|keeper| {
        let limited = CONFIG.replace(
            "principals = [\"shut\"]\neffect = \"allow\"\npermissions = [\"DNS Write\"]",
            "principals = [\"shut\"]\neffect = \"allow\"\ndns = { types = [\"TXT\"] }\npermissions = [\"DNS Write\"]",
        );
        assert_ne!(limited, CONFIG);
        keeper.apply(&limited);
        keeper.world.clock.advance_ms(3_000);
        keeper.view.forget();
    });
    assert_eq!(answered.refused(), (403, 20020));
}

#[test]
fn a_key_revoked_while_a_change_waited_makes_none() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("office");
    let mint = || {
        ask("POST /api/v1/principals/bot/keys")
            .key(&key)
            .json(&json!({}))
    };
    assert_eq!(keeper.call(mint()).status, 200);
    let keys = keeper.database.sqlite().count("api_keys");
    let (seen, held) = (Rc::clone(&keeper), key.clone());
    keeper
        .database
        .after("SELECT config_version, keys_generation", move || {
            seen.revoke("office", &held);
            seen.advance_secs(5);
        });
    assert_eq!(keeper.call(mint()).refused(), (401, 20011));
    assert_eq!(keeper.database.sqlite().count("api_keys"), keys);
}
