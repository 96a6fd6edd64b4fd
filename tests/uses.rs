//! Grants that say how often they may be used.

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
use support::database::Storage;
use support::gate::Gate;
use support::keeper::{ACME, Answered, COM, Keeper, ask};
use support::upstream::{delete, get, post, put, success};

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"

[[grants]]
name = "three-in-all"
principals = ["bot"]
effect = "allow"
permissions = ["Zone Settings Read"]
zones = ["example.com"]
max_uses = 3
[[grants]]
name = "two-a-minute"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Read"]
zones = ["example.com"]
per_minute = 2
[[grants]]
name = "two-deletions-an-hour"
principals = ["bot"]
effect = "allow"
permissions = ["Page Rules Write"]
zones = ["example.com"]
max_deletes_per_hour = 2
"#;

const RULE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

fn read(keeper: &Keeper, key: &str, path: &str) -> Answered {
    let target = format!("/zones/{COM}{path}");
    keeper.call(ask(&format!("GET /client/v4{target}")).key(key))
}

fn reads(keeper: &Keeper, key: &str, path: &str) {
    let target = format!("/zones/{COM}{path}");
    keeper.expect(get(target).answers(200, success(&serde_json::json!([]))));
    let answered = read(keeper, key, path);
    assert_eq!(answered.status, 200, "{}", answered.text);
}

fn remove(keeper: &Keeper, key: &str) -> Answered {
    keeper.call(ask(&format!("DELETE /client/v4/zones/{COM}/pagerules/{RULE}")).key(key))
}

fn removes(keeper: &Keeper, key: &str) {
    let target = format!("/zones/{COM}/pagerules/{RULE}");
    keeper.expect(delete(target).answers(200, success(&serde_json::json!({"id": RULE}))));
    let answered = remove(keeper, key);
    assert_eq!(answered.status, 200, "{}", answered.text);
}

#[test]
fn a_grant_allows_so_many_calls_in_all_in_every_isolate() {
    let keeper = Keeper::with(CONFIG);
    let other: Rc<Keeper> = keeper.neighbour();
    let key = keeper.mint("bot");
    reads(&keeper, &key, "/settings/ssl");
    reads(&other, &key, "/settings/ssl");
    keeper.advance_secs(100 * 86_400);
    other.advance_secs(0);
    reads(&keeper, &key, "/settings/ssl");
    for isolate in [&keeper, &other] {
        let answered = read(isolate, &key, "/settings/ssl");
        assert_eq!(answered.refused(), (403, 20025));
        assert_eq!(
            answered.message(),
            "bot may not call GET /zones/zone_id/settings/setting_id on example.com now: the grant three-in-all allows 3 calls in all, and all of them are used."
                .replace("call GET /zones/zone_id/settings/setting_id on example.com", &action(&answered))
        );
    }
    // A refusal does not cost a use, and another grant is not touched.
    reads(&keeper, &key, "/dnssec");
}

/// What the call was, as the sentence has it.
fn action(answered: &Answered) -> String {
    let message = answered.message();
    let (_, rest) = message.split_once("bot may not ").unwrap();
    rest.split_once(" now:").unwrap().0.to_owned()
}

#[test]
fn e11_no_minute_wherever_it_begins_holds_more_calls_than_allowed() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    reads(&keeper, &key, "/dnssec");
    keeper.advance_secs(59);
    reads(&keeper, &key, "/dnssec");
    let answered = read(&keeper, &key, "/dnssec");
    assert_eq!(answered.refused(), (429, 20050));
    let wait = answered.retry_after_secs.unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    keeper.advance_secs(i64::from(wait) - 1);
    assert_eq!(read(&keeper, &key, "/dnssec").status, 429);
    keeper.advance_secs(1);
    reads(&keeper, &key, "/dnssec");
    // The second of the first two is still within the minute.
    assert_eq!(read(&keeper, &key, "/dnssec").status, 429);
}

#[test]
fn a_grant_allows_so_many_deletions_in_any_hour() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    removes(&keeper, &key);
    keeper.advance_secs(1_800);
    removes(&keeper, &key);
    let answered = remove(&keeper, &key);
    assert_eq!(answered.refused(), (403, 20025));
    assert!(
        answered.message().contains("2 deletions an hour"),
        "{}",
        answered.message()
    );
    keeper.advance_secs(1_800 + 60);
    removes(&keeper, &key);
    assert_eq!(remove(&keeper, &key).refused(), (403, 20025));
}

#[test]
fn another_grant_still_allows_what_a_used_up_one_does_not() {
    let more = "[[grants]]\nname = \"more\"\nprincipals = [\"bot\"]\neffect = \"allow\"\npermissions = [\"Zone Settings Read\"]\nzones = [\"example.com\"]\nmax_uses = 1\n";
    let keeper = Keeper::with(&format!("{CONFIG}{more}"));
    let key = keeper.mint("bot");
    for _ in 0..4 {
        reads(&keeper, &key, "/settings/ssl");
    }
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
    // Changing the grants keeps what was used; a grant that is gone for a while begins anew.
    keeper.apply(CONFIG);
    keeper.advance_secs(5);
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
    keeper.apply(&format!("{CONFIG}{more}"));
    keeper.advance_secs(5);
    reads(&keeper, &key, "/settings/ssl");
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
}

#[test]
fn f2_a_use_that_cannot_be_counted_is_refused_and_nothing_is_sent() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let keeper = Keeper::with(CONFIG);
        let key = keeper.mint("bot");
        reads(&keeper, &key, "/settings/ssl");
        keeper.database.fail("INSERT INTO grant_uses", storage);
        assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (503, 20080));
        reads(&keeper, &key, "/settings/ssl");
    }
}

#[test]
fn seeing_a_zone_takes_nothing_of_the_grant_that_shows_it() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    for _ in 0..3 {
        reads(&keeper, &key, "/settings/ssl");
    }
    for _ in 0..4 {
        reads(&keeper, &key, "");
    }
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
}

/// A configuration of one caller with these grants, each as `name` and what it says besides.
fn grants(grants: &[(&str, &str)]) -> String {
    let mut config = "[[principals]]\nname = \"bot\"\nkind = \"key\"\n".to_owned();
    for (name, says) in grants {
        config.extend([
            "[[grants]]\nname = \"",
            name,
            "\"\nprincipals = [\"bot\"]\neffect = \"allow\"\n",
            says,
            "\n",
        ]);
    }
    config
}

fn call(keeper: &Keeper, key: &str, line: &str, body: &str) -> Answered {
    let (method, target) = line.split_once(' ').unwrap();
    let request = ask(&format!("{method} /client/v4{target}"));
    keeper.call(request.key(key).text(body))
}

const ALL_RECORDS: &str = "permissions = [\"DNS Write\"]\nzones = [\"example.com\"]";
const LISTS: &str = "permissions = [\"Account Rule Lists Write\", \"Secrets Store Write\", \"Workers KV Storage Write\"]\naccounts = [\"Acme\"]\nmax_deletes_per_hour = 5";

#[test]
fn e11_each_item_of_a_bulk_deletion_is_a_deletion() {
    let keeper = Keeper::with(&grants(&[("five-an-hour", LISTS)]));
    let key = keeper.mint("bot");
    let account = format!("/accounts/{ACME}");
    let ids = |count: usize| -> Vec<Value> { (0..count).map(|n| json!({"id": n})).collect() };
    for (path, body) in [
        ("/rules/lists/l/items", json!({"items": ids(3)})),
        ("/secrets_store/stores/s/secrets", json!(ids(3))),
        ("/storage/kv/namespaces/n/bulk", json!(["a", "b", "c"])),
    ] {
        let target = format!("{account}{path}");
        let line = format!("DELETE {target}");
        // What is counted is what is sent.
        let call_once = delete(target.clone()).with(body.clone());
        keeper.expect(call_once.answers(200, success(&json!({}))));
        let answered = call(&keeper, &key, &line, &format!(" {body}"));
        assert_eq!(answered.status, 200, "{}", answered.text);
        let answered = call(&keeper, &key, &line, &body.to_string());
        assert_eq!(answered.refused(), (403, 20025), "{}", answered.text);
        for unclear in ["", "[]"] {
            let answered = call(&keeper, &key, &line, unclear);
            assert_eq!(answered.refused(), (403, 20020), "{}", answered.text);
            let message = answered.message();
            assert!(message.contains("its grant counts deletions"), "{message}");
        }
        let line = format!("{line}?id=a");
        let answered = call(&keeper, &key, &line, &body.to_string());
        assert_eq!(answered.refused(), (403, 20020), "{}", answered.text);
        keeper.advance_secs(2 * 3_600);
    }
    let target = format!("{account}/storage/kv/namespaces/n/bulk/delete");
    for keys in [json!(["a", "b"]), json!({"keys": ["c", "d"]})] {
        let sent = post(target.clone()).with(keys.clone());
        keeper.expect(sent.answers(200, success(&json!({}))));
        let answered = call(&keeper, &key, &format!("POST {target}"), &keys.to_string());
        assert_eq!(answered.status, 200, "{}", answered.text);
    }
    let answered = call(
        &keeper,
        &key,
        &format!("POST {target}"),
        r#"{"keys":["e","f"]}"#,
    );
    assert_eq!(answered.refused(), (403, 20025), "{}", answered.text);
}

#[test]
fn e11_the_deletes_of_a_batch_are_deletions() {
    let says = format!("{ALL_RECORDS}\nmax_deletes_per_hour = 2");
    let keeper = Keeper::with(&grants(&[("two-an-hour", &says)]));
    let key = keeper.mint("bot");
    let target = format!("/zones/{COM}/dns_records/batch");
    let line = format!("POST {target}");
    let post_only = json!({"posts": [{"type": "A", "name": "a", "content": "192.0.2.1"}]});
    let two = json!({"deletes": [{"id": "a"}, {"id": "b"}]});
    for body in [&post_only, &two, &post_only] {
        let sent = post(target.clone()).with(body.clone());
        keeper.expect(sent.answers(200, success(&json!({}))));
        let answered = call(&keeper, &key, &line, &body.to_string());
        assert_eq!(answered.status, 200, "{}", answered.text);
    }
    let answered = call(&keeper, &key, &line, &two.to_string());
    assert_eq!(answered.refused(), (403, 20025), "{}", answered.text);
}

#[test]
fn a_bulk_call_is_read_only_where_a_grant_counts_what_it_deletes() {
    let others = "[[principals]]\nname = \"other\"\nkind = \"key\"\n[[grants]]\nname = \"kv\"\nprincipals = [\"other\"]\neffect = \"allow\"\npermissions = [\"Workers KV Storage Write\"]\naccounts = [\"Acme\"]\n";
    let config = grants(&[("five-an-hour", LISTS)]);
    let keeper = Keeper::with(&format!("{config}{others}"));
    let bulk = format!("/accounts/{ACME}/storage/kv/namespaces/n/bulk");
    let large = "x".repeat(5 * 1024 * 1024);
    let (bot, other) = (keeper.mint("bot"), keeper.mint("other"));
    for (key, expected, line) in [
        (&other, put(bulk.clone()), format!("PUT {bulk}")),
        (&other, delete(bulk.clone()), format!("DELETE {bulk}")),
        (
            &other,
            post(format!("{bulk}/delete")),
            format!("POST {bulk}/delete"),
        ),
        // It counts what is deleted, not what is written.
        (&bot, put(bulk.clone()), format!("PUT {bulk}")),
    ] {
        keeper.expect(expected.answers(200, success(&json!({}))));
        let answered = call(&keeper, key, &line, &large);
        assert_eq!(answered.status, 200, "{line}: {}", answered.text);
    }
    let answered = call(&keeper, &bot, &format!("DELETE {bulk}"), &large);
    assert_eq!(answered.status, 413, "{}", answered.text);
}

#[test]
fn e11_a_body_is_not_sent_as_a_used_up_grant_had_it_written() {
    let once = format!("{ALL_RECORDS}\nmax_uses = 1");
    let some = format!("{ALL_RECORDS}\ndns = {{ names = [\"www.example.com\"] }}");
    let keeper = Keeper::with(&grants(&[("once", &once), ("some", &some)]));
    let key = keeper.mint("bot");
    let target = format!("/zones/{COM}/dns_records");
    let body = json!({"type": "A", "name": "www", "Name": "evil", "content": "192.0.2.1"});
    let sent = post(target.clone()).with(body.clone());
    keeper.expect(sent.answers(200, success(&json!({}))));
    for expected in [200, 403] {
        let answered = call(&keeper, &key, &format!("POST {target}"), &body.to_string());
        assert_eq!(answered.status, expected, "{}", answered.text);
        if expected == 403 {
            assert_eq!(answered.refused().1, 20025);
        }
    }
}

#[test]
fn e11_what_a_call_replaces_is_counted_as_well() {
    let route = |script: &str, more: &str| {
        format!(
            "permissions = [\"Workers Routes Write\"]\nzones = [\"example.com\"]\nworkers = {{ scripts = [\"{script}\"], routes = [\"example.com/*\"] }}\n{more}"
        )
    };
    let (new, old) = (route("new", ""), route("old", "max_uses = 1"));
    let keeper = Keeper::with(&grants(&[("new", &new), ("old", &old)]));
    let key = keeper.mint("bot");
    let target = format!("/zones/{COM}/workers/routes/r1");
    let stands = json!({"id": "r1", "pattern": "example.com/*", "script": "old"});
    let body = json!({"pattern": "example.com/*", "script": "new"});
    for expected in [200, 403] {
        keeper.expect(get(target.clone()).answers(200, success(&stands)));
        if expected == 200 {
            let sent = put(target.clone()).with(body.clone());
            keeper.expect(sent.answers(200, success(&json!({}))));
        }
        let answered = call(&keeper, &key, &format!("PUT {target}"), &body.to_string());
        assert_eq!(answered.status, expected, "{}", answered.text);
    }
}

/// A call while it waits for its intent to be stored meets another configuration.
fn overtaken(before: &str, after: &str, calls_before: usize) -> (u16, u64) {
    let gate = Rc::new(Gate::new(before, &[]));
    let line = format!("POST /zones/{}/dns_records", simulator::ZONE_COM_ID);
    let record = |n: usize| {
        let name = format!("www{n}.example.com");
        json!({"type": "A", "name": name, "content": "192.0.2.1"})
    };
    for n in 0..calls_before {
        assert_eq!(gate.call("bot", &line, &record(n)).status, 200);
    }
    gate.call("bot", "GET /user", &Value::Null);
    gate.harness.outside.clock.advance_ms(3_000);
    let (other, after) = (Rc::clone(&gate), after.to_owned());
    let then = move || {
        other.harness.apply(&after);
        other.harness.outside.clock.advance_ms(2_500);
    };
    let injector = &gate.harness.outside.injector;
    injector.before("d1: INSERT audit_intents", 1, then);
    let got = gate.call("bot", &line, &record(9));
    if got.status == 200 {
        (200, 0)
    } else {
        got.refused()
    }
}

#[test]
fn e11_uses_are_those_of_the_configuration_a_call_was_decided_by() {
    let once = format!("{ALL_RECORDS}\nmax_uses = 1");
    let (free, once) = (("free", ALL_RECORDS), ("once", once.as_str()));
    let also = ("free", "permissions = [\"DNS Read\"]\nzones = [\"*\"]");
    // What no longer is free was not counted.
    let (before, after) = (grants(&[free]), grants(&[once]));
    assert_eq!(overtaken(&before, &after, 0), (403, 20020));
    // What is used up stands elsewhere by then.
    let twice = (
        "twice",
        "permissions = [\"DNS Write\"]\nzones = [\"example.com\"]\nmax_uses = 9",
    );
    let (before, after) = (grants(&[once, twice]), grants(&[also, once, twice]));
    assert_eq!(overtaken(&before, &after, 1), (403, 20020));
    // Another configuration that allows it as freely changes nothing.
    let (before, after) = (grants(&[free]), grants(&[also, ("all", ALL_RECORDS)]));
    assert_eq!(overtaken(&before, &after, 0), (200, 0));
}
