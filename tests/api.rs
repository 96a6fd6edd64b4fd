//! Zonekeeper's own API: who is let in, and what a request changes or leaves as it was.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use support::database::Storage;
use support::keeper::{ACME, Answered, Ask, COM, Keeper, NET, PEPPER, ROOT, TOKEN, ask};
use support::upstream::{Expected, failure, get, list, post, success};
use zonekeeper::api::ROUTES;
use zonekeeper::gateway::BodyFault;

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"
[[principals]]
name = "auditor"
kind = "key"
[[principals]]
name = "reader"
kind = "key"
[[principals]]
name = "writer"
kind = "key"
[[principals]]
name = "operator"
kind = "key"
[[principals]]
name = "viewer"
kind = "key"
[[principals]]
name = "nightly"
kind = "internal"

[[grants]]
name = "dns"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["_acme-challenge.**"], types = ["TXT"] }
[[grants]]
name = "mail"
principals = ["bot"]
effect = "approve"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { types = ["MX"] }
[[grants]]
name = "audit"
principals = ["auditor"]
effect = "allow"
permissions = ["Zonekeeper Audit Read"]
[[grants]]
name = "config-read"
principals = ["reader"]
effect = "allow"
permissions = ["Zonekeeper Config Read"]
[[grants]]
name = "config-write"
principals = ["writer"]
effect = "allow"
permissions = ["Zonekeeper Config Write"]
[[grants]]
name = "jobs-run"
principals = ["operator"]
effect = "allow"
permissions = ["Zonekeeper Jobs Run"]
[[grants]]
name = "jobs-read"
principals = ["viewer"]
effect = "allow"
permissions = ["Zonekeeper Jobs Read"]
"#;

/// A request below `/api/v1` with the root key.
fn root(line: &str) -> Ask {
    let (method, path) = line.split_once(' ').unwrap();
    ask(&format!("{method} /api/v1{path}")).key(ROOT)
}

/// A request below `/api/v1` with this key.
fn with(key: &str, line: &str) -> Ask {
    let (method, path) = line.split_once(' ').unwrap();
    ask(&format!("{method} /api/v1{path}")).key(key)
}

fn zone(id: &str, name: &str) -> Value {
    json!({"id": id, "name": name, "account": {"id": ACME, "name": "Acme"}})
}

/// What Cloudflare is asked when a configuration names example.com.
fn look_up() -> Expected {
    get("/zones?name=example.com").answers(200, list(&[zone(COM, "example.com")], 1))
}

fn version(keeper: &Keeper) -> i64 {
    block_on(keeper.store.current_config()).unwrap().version
}

/// The document as it is in force.
fn in_force(keeper: &Keeper) -> String {
    block_on(keeper.store.current_config())
        .unwrap()
        .toml
        .unwrap_or_default()
}

fn apply(keeper: &Keeper, config: &str) -> Answered {
    keeper.call(root("PUT /config").toml(config))
}

fn minted(keeper: &Keeper, principal: &str, body: &Value) -> (String, String) {
    let line = format!("POST /principals/{principal}/keys");
    let result = keeper.call(root(&line).json(body)).result();
    let text = |name: &str| result[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

/// Whether a key opens `/client/v4`, in an isolate that has never seen it.
fn opens(keeper: &Keeper, key: &str) -> bool {
    let isolate = keeper.neighbour();
    let status = isolate
        .call_and_crash(ask("GET /client/v4/user").key(key))
        .status;
    assert!(matches!(status, 200 | 401), "{status}");
    status == 200
}

// Who is let in.

#[test]
fn d5_every_route_is_opened_by_its_group_and_by_nothing_else() {
    let shipper = r#"
[[principals]]
name = "shipper"
kind = "key"
[[grants]]
name = "deploys"
principals = ["shipper"]
effect = "allow"
permissions = ["Zonekeeper Deploys Write"]
"#;
    let keeper = Keeper::with(&format!("{CONFIG}{shipper}"));
    for route in ROUTES {
        let path = route
            .path
            .replace("{name}", "bot")
            .replace("{id}", "unknown-key1");
        let line = format!("{} {path}", route.method);
        let all = [
            "auditor", "bot", "operator", "reader", "shipper", "viewer", "writer",
        ];
        let open: Vec<&str> = all
            .into_iter()
            .filter(|principal| {
                let answered = keeper.call(with(&keeper.mint(principal), &line));
                assert_ne!(answered.status, 401, "{line}");
                (
                    answered.status,
                    answered.json()["errors"][0]["code"].as_u64(),
                ) != (403, Some(20020))
            })
            .collect();
        let expected: &[&str] = match route.group {
            "" => &all,
            "Zonekeeper Audit Read" => &["auditor"],
            "Zonekeeper Jobs Read" => &["operator", "viewer"],
            "Zonekeeper Jobs Run" => &["operator"],
            "Zonekeeper Deploys Write" => &["shipper"],
            // A write group includes its read group.
            "Zonekeeper Config Read" => &["reader", "writer"],
            "Zonekeeper Config Write" => &["writer"],
            other => panic!("{other}"),
        };
        assert_eq!(open, expected, "{line}");
        assert_ne!(keeper.call(root(&line)).status, 403, "{line}");
        assert_eq!(
            keeper
                .call(ask(&format!("{} /api/v1{path}", route.method)))
                .refused(),
            (401, 20010)
        );
    }
}

#[test]
fn a_denial_names_the_group_and_is_on_record() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("reader");
    let answered = keeper.call(with(&key, "PUT /config").toml(""));
    assert_eq!(answered.refused(), (403, 20020));
    assert_eq!(
        answered.message(),
        "reader may not apply a configuration: a grant of Zonekeeper Config Write is needed."
    );
    let entry = keeper.last_entry();
    assert_eq!((entry.decision.as_str(), entry.status), ("deny", Some(403)));
    assert_eq!(version(&keeper), 1);
}

#[test]
fn the_root_key_and_our_own_groups_never_open_the_gateway() {
    let keeper = Keeper::with(CONFIG);
    assert_eq!(
        keeper.call(ask("GET /client/v4/user").key(ROOT)).refused(),
        (401, 20011)
    );
    for principal in ["auditor", "reader", "writer"] {
        let key = keeper.mint(principal);
        let line = format!("GET /client/v4/zones/{COM}/dns_records");
        assert_eq!(keeper.call(ask(&line).key(&key)).refused(), (403, 20020));
    }
}

#[test]
fn the_root_key_can_be_switched_off() {
    let keeper = Keeper::with(CONFIG).told(|raw| raw.root_key = None);
    assert_eq!(keeper.call(root("GET /config")).refused(), (401, 20011));
    assert_eq!(keeper.call(with("", "GET /config")).refused(), (401, 20011));
}

#[test]
fn h2_two_credentials_are_refused_here_too() {
    let keeper = Keeper::with(CONFIG);
    let request = root("GET /config").header("x-auth-key", ROOT);
    assert_eq!(keeper.call(request).refused(), (400, 20002));
    let request = ask("GET /api/v1/config").header("authorization", &format!("Basic {ROOT}"));
    assert_eq!(keeper.call(request).refused(), (401, 20011));
}

#[test]
fn a_header_that_asks_for_what_is_not_built_is_501_and_never_ignored() {
    let keeper = Keeper::with(CONFIG);
    for header in ["zonekeeper-dry-run", "idempotency-key"] {
        let request = root("PUT /config").header(header, "true").toml("");
        assert_eq!(keeper.call(request).refused(), (501, 20061), "{header}");
        assert_eq!(version(&keeper), 1);
    }
}

#[test]
fn routes_that_are_missing_are_404_and_those_to_come_501() {
    let keeper = Keeper::with(CONFIG);
    for line in [
        "GET /nothing",
        "DELETE /config",
        "GET /config/",
        "POST /audit",
        "GET /",
    ] {
        assert_eq!(keeper.call(root(line)).refused(), (404, 20090), "{line}");
    }
    for line in ["GET /budget", "POST /changes/1/undo", "GET /openapi.json"] {
        assert_eq!(keeper.call(root(line)).refused(), (501, 20061), "{line}");
    }
}

#[test]
fn f2_without_the_store_nothing_is_known_and_nothing_changed() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("writer");
    keeper.database.set_down(true);
    for request in [
        root("GET /config"),
        root("POST /principals/bot/keys"),
        root("GET /principals/bot/keys"),
        root("GET /audit"),
        with(&key, "GET /whoami"),
        // Whether the root key is switched off stands in the configuration.
        root("GET /whoami"),
    ] {
        assert_eq!(keeper.call(request).refused(), (503, 20080));
    }
    assert!(keeper.world.logs().contains("Network connection lost"));
}

#[test]
fn whoami_tells_principal_and_key() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let result = keeper.call(with(&key, "GET /whoami")).result();
    assert_eq!(
        result,
        json!({"principal": "bot", "credential": format!("key {}", &key[..12])})
    );
    assert_eq!(
        keeper.call(root("GET /whoami")).result()["credential"],
        "root key"
    );
}

// Configuration.

#[test]
fn an_apply_on_an_empty_database_migrates_it_and_makes_version_1() {
    let keeper = Keeper::unmigrated();
    let read = keeper.call(root("GET /config")).result();
    assert_eq!(read["version"], 0);
    keeper.expect(look_up());
    let answered = apply(&keeper, CONFIG).result();
    assert_eq!(answered["version"], 1);
    assert_eq!(answered["changes"].as_array().unwrap().len(), 14);
    let read = keeper.call(root("GET /config")).result();
    assert_eq!(read["version"], 1);
    assert_eq!(read["document"]["principals"][0]["name"], "bot");
    let toml = keeper.call(root("GET /config").header("accept", "application/toml"));
    assert_eq!((toml.status, toml.text.as_str()), (200, CONFIG));
    let entry = keeper.last_entry();
    assert_eq!(entry.operation, "zonekeeper-config-apply");
    assert_eq!(
        entry.sentence,
        "root applied configuration version 1 (14 changes); the root key opens /api/v1."
    );
    // And what it says holds.
    let key = keeper.mint("bot");
    let body = json!({"type": "TXT", "name": "_acme-challenge.example.com", "content": "v"});
    let path = format!("/zones/{COM}/dns_records");
    keeper.expect(
        post(&path)
            .with(body.clone())
            .answers(200, success(&json!({}))),
    );
    let request = ask(&format!("POST /client/v4{path}")).key(&key).json(&body);
    assert_eq!(keeper.call(request).status, 200);
}

#[test]
fn a_plan_shows_the_difference_and_changes_nothing() {
    let keeper = Keeper::with(CONFIG);
    let other = CONFIG.replace("\"TXT\"", "\"CAA\"");
    let key = keeper.mint("reader");
    let stored = keeper.database.sqlite().dump();
    keeper.expect(look_up());
    let result = keeper
        .call(with(&key, "POST /config/plan").toml(&other))
        .result();
    assert_eq!(result["version"], 1);
    let changes = result["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (
            &changes[0]["kind"],
            &changes[0]["name"],
            &changes[0]["action"]
        ),
        (&json!("grant"), &json!("dns"), &json!("update"))
    );
    assert_eq!(changes[0]["before"]["dns"]["types"], json!(["TXT"]));
    assert_eq!(changes[0]["after"]["dns"]["types"], json!(["CAA"]));
    assert_eq!(keeper.database.sqlite().dump(), stored);
    keeper.expect(look_up());
    let same = keeper.call(root("POST /config/plan").toml(CONFIG)).json();
    assert_eq!(
        same["messages"][0]["message"],
        "Nothing differs from the configuration in force."
    );
}

#[test]
fn what_could_not_be_judged_later_is_refused_before_it_is_stored() {
    let keeper = Keeper::with(CONFIG);
    let grant = r#"
[[grants]]
name = "news"
principals = ["reader"]
effect = "deny"
permissions = ["Cache Purge"]
zones = ["example.com"]
purge = { prefixes = ["example.com:8443/news/"] }
"#;
    let stored = keeper.database.sqlite().dump();
    keeper.expect(look_up());
    let answered = keeper.call(root("POST /config/plan").toml(&format!("{CONFIG}{grant}")));
    assert_eq!(answered.status, 400);
    let message = answered.json()["errors"][0]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.contains("`news`") && message.contains("purge.prefixes"),
        "{message}"
    );
    assert_eq!(keeper.database.sqlite().dump(), stored);
}

#[test]
fn json_is_taken_as_well_as_toml() {
    let keeper = Keeper::with(CONFIG);
    let document = keeper.call(root("GET /config")).result()["document"].clone();
    keeper.expect(look_up());
    let request = root("PUT /config")
        .header("content-type", "application/json")
        .json(&document);
    let answered = keeper.call(request);
    assert_eq!(answered.result(), json!({"version": 2, "changes": []}));
    let toml = keeper.call(root("GET /config").header("accept", "application/toml"));
    assert!(toml.text.contains("[[grants]]"), "{}", toml.text);
}

#[test]
fn a_document_with_errors_is_refused_with_line_and_field_and_changes_nothing() {
    let keeper = Keeper::with(CONFIG);
    let check = |config: &str, expected: (u16, u64), needles: &[&str]| {
        let answered = apply(&keeper, config);
        assert_eq!(answered.refused(), expected, "{}", answered.text);
        for needle in needles {
            assert!(
                answered.message().contains(needle),
                "{}",
                answered.message()
            );
        }
        assert_eq!(
            (version(&keeper), in_force(&keeper)),
            (1, CONFIG.to_owned())
        );
    };
    let invalid = (400, 20031);
    check("[[principals]\n", invalid, &["line 1"]);
    check("a = 1\n", invalid, &["line 1", "\"a\""]);
    check(
        &CONFIG.replace(
            "\nkind = \"key\"\n[[principals]]\nname = \"auditor\"",
            "\nkind = \"kee\"\n[[principals]]\nname = \"auditor\"",
        ),
        invalid,
        &["line 4", "principals[0].kind"],
    );
    check(
        &CONFIG.replace("DNS Write", "DNS Wirte"),
        invalid,
        &["grants[0].permissions[0]", "DNS Write"],
    );
    check(
        &CONFIG.replacen("permissions", "permission", 1),
        invalid,
        &["\"permission\"", "the nearest is \"permissions\""],
    );
    check("a = 1\na = 2\n", (400, 20004), &["line 2"]);
    check(
        &format!("x = {}{}\n", "[".repeat(33), "]".repeat(33)),
        (400, 20003),
        &["line 1"],
    );
    check(&format!("# {}\n", "x".repeat(1 << 20)), (413, 20005), &[]);
    // Names that nobody has.
    keeper.expect(get("/zones?name=example.com").answers(200, list(&[], 0)));
    check(
        CONFIG,
        invalid,
        &[
            "grants[0].zones[0]",
            "the upstream account has no zone \"example.com\".",
        ],
    );
    // A zone of another name does not stand in for it.
    keeper
        .expect(get("/zones?name=example.com").answers(200, list(&[zone(NET, "example.net")], 1)));
    check(CONFIG, invalid, &["grants[0].zones[0]"]);
    keeper.expect(get("/zones?name=example.com").answers(403, failure(9109, "no")));
    check(CONFIG, (502, 20070), &["Cloudflare answered 403"]);
}

#[test]
fn every_error_of_a_document_is_listed() {
    let keeper = Keeper::with(CONFIG);
    let config = CONFIG
        .replace("DNS Write", "DNS Wirte")
        .replace("Audit Read", "Audit Raed");
    let answered = apply(&keeper, &config);
    let errors = answered.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 3, "{}", answered.text);
    assert!(errors.iter().all(|error| error["code"] == 20031));
}

#[test]
fn a_document_that_cannot_be_read_whole_is_refused() {
    let keeper = Keeper::with(CONFIG);
    let request = || root("PUT /config").header("content-type", "application/toml");
    for (fault, expected) in [
        (BodyFault::TooLarge, (413, 20005)),
        (BodyFault::TimedOut, (408, 20006)),
        (BodyFault::Broken, (400, 20003)),
    ] {
        assert_eq!(keeper.call(request().body_fault(fault)).refused(), expected);
    }
    let claimed = request().header("content-length", "1048577");
    assert_eq!(keeper.call(claimed).refused(), (413, 20005));
    let form = root("PUT /config")
        .text("")
        .header("content-type", "text/html");
    assert_eq!(keeper.call(form).refused(), (400, 20032));
    assert_eq!(version(&keeper), 1);
}

#[test]
fn an_expected_version_guards_against_lost_updates() {
    let keeper = Keeper::with(CONFIG);
    let apply = |query: &str| {
        keeper.expect(look_up());
        keeper.call(root(&format!("PUT /config?{query}")).toml(CONFIG))
    };
    for wrong in [0, 2, -1] {
        let answered = apply(&format!("expected_version={wrong}"));
        assert_eq!(answered.refused(), (412, 20030));
        assert_eq!(
            answered.message(),
            format!(
                "The configuration in force is not version {wrong}; read it again and plan anew. Nothing was changed."
            )
        );
    }
    assert_eq!(apply("expected_version=1").result()["version"], 2);
    for query in [
        "expected_version=x",
        "expected_version=2&expected_version=2",
        "expected_version=",
    ] {
        let answered = keeper.call(root(&format!("PUT /config?{query}")).toml(CONFIG));
        assert_eq!(answered.refused(), (400, 20032), "{query}");
    }
    assert_eq!(version(&keeper), 2);
}

#[test]
fn of_two_applies_at_once_the_second_is_told() {
    let keeper = Keeper::with(CONFIG);
    let other = keeper.neighbour();
    let changed = CONFIG.replace("\"TXT\"", "\"CAA\"");
    // The other applies while this one asks what its names stand for.
    keeper.expect(look_up().meanwhile({
        let changed = changed.clone();
        move || {
            other.expect(look_up());
            assert_eq!(apply(&other, &changed).result()["version"], 2);
        }
    }));
    let answered = apply(&keeper, CONFIG);
    assert_eq!(answered.refused(), (412, 20030));
    assert_eq!((version(&keeper), in_force(&keeper)), (2, changed));
}

#[test]
fn an_apply_that_may_have_been_stored_does_not_say_that_it_was_not() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let keeper = Keeper::with(CONFIG);
        keeper.expect(look_up());
        keeper.database.fail("INSERT INTO config_versions", storage);
        let answered = apply(&keeper, &CONFIG.replace("\"TXT\"", "\"CAA\""));
        assert_eq!(answered.refused(), (503, 20080));
        assert_eq!(
            answered.message(),
            "The store of this Zonekeeper failed; could not confirm whether the change was stored, so read it again."
        );
        let expected = if storage == Storage::FailsAfter { 2 } else { 1 };
        assert_eq!(version(&keeper), expected);
        // This isolate at least goes by what is stored.
        let read = keeper.call(root("GET /config")).result();
        assert_eq!(read["version"], expected);
    }
}

#[test]
fn h3_a_call_from_elsewhere_or_from_nowhere_has_no_grant_for_one_network() {
    let keeper = Keeper::with(CONFIG);
    let config = CONFIG.replace(
        "dns = { names = [\"_acme-challenge.**\"], types = [\"TXT\"] }",
        "source_ips = [\"192.0.2.0/24\", \"2001:db8::/32\"]",
    );
    keeper.expect(look_up());
    assert_eq!(apply(&keeper, &config).status, 200);
    let key = keeper.mint("bot");
    let body = json!({"type": "TXT", "name": "_acme-challenge.example.com", "content": "v"});
    let request = || {
        ask(&format!("POST /client/v4/zones/{COM}/dns_records"))
            .key(&key)
            .json(&body)
    };
    assert_eq!(keeper.call(request()).refused(), (403, 20020));
    for elsewhere in [
        "192.0.3.1",
        "2001:db9::1",
        "192.0.2.1, 192.0.2.1",
        "localhost",
    ] {
        let request = request().header("cf-connecting-ip", elsewhere);
        let answered = keeper.call(request);
        assert_eq!(answered.refused(), (403, 20020), "{elsewhere}");
        assert!(
            answered
                .message()
                .contains("covers only calls from 192.0.2.0/24 or 2001:db8::/32")
        );
    }
    let asked = |ip: Value| {
        let question = json!({"principal": "bot", "method": "POST", "body": body, "source_ip": ip,
            "path": format!("/client/v4/zones/{COM}/dns_records")});
        keeper.call(root("POST /decide").json(&question)).result()["decision"].clone()
    };
    assert_eq!(asked(json!("192.0.2.255")), "allow");
    assert_eq!(asked(json!("2001:db8::ffff")), "allow");
    assert_eq!(asked(json!("::ffff:192.0.2.1")), "allow");
    assert_eq!(asked(json!("198.51.100.1")), "deny");
    assert_eq!(asked(Value::Null), "deny");
}

#[test]
fn removing_a_principal_ends_its_keys_for_good() {
    for removed in [
        CONFIG
            .replace("name = \"writer\"", "name = \"somebody\"")
            .replace("[\"writer\"]", "[\"somebody\"]"),
        CONFIG.replace(
            "name = \"writer\"\nkind = \"key\"",
            "name = \"writer\"\nkind = \"internal\"",
        ),
    ] {
        let keeper = Keeper::with(CONFIG);
        let (_, gone) = minted(&keeper, "writer", &json!({}));
        let (_, stays) = minted(&keeper, "bot", &json!({}));
        assert!(opens(&keeper, &gone) && opens(&keeper, &stays));
        keeper.expect(look_up());
        assert_eq!(apply(&keeper, &removed).status, 200);
        assert_eq!(
            (opens(&keeper, &gone), opens(&keeper, &stays)),
            (false, true)
        );
        keeper.expect(look_up());
        assert_eq!(apply(&keeper, CONFIG).status, 200);
        assert_eq!(
            (opens(&keeper, &gone), opens(&keeper, &stays)),
            (false, true)
        );
        let keys = keeper.call(root("GET /principals/writer/keys")).result();
        assert_eq!(keys[0]["status"], "revoked");
    }
}

// Keys.

#[test]
fn t8_a_key_is_shown_once_and_only_its_digest_is_stored() {
    let keeper = Keeper::with(CONFIG);
    let body = json!({"note": "for the robot", "expires_on": "2026-12-01T00:00:00Z"});
    let (id, key) = minted(&keeper, "bot", &body);
    assert_eq!((key.len(), &key[..12]), (40, id.as_str()));
    assert!(opens(&keeper, &key));
    let listed = keeper.call(root("GET /principals/bot/keys"));
    assert!(!listed.text.contains(&key[12..]));
    assert_eq!(
        listed.result(),
        json!([{
            "id": id, "status": "active", "created_on": "2026-11-01T12:00:00.000Z",
            "behind": null,
            "expires_on": "2026-12-01T00:00:00.000Z", "revoked_on": null, "last_used_on": null,
            "note": "for the robot", "legacy": false,
        }])
    );
    let stored = keeper.database.sqlite().dump() + &keeper.world.logs();
    assert!(stored.contains(&id));
    for secret in [&key, &key[12..], ROOT, TOKEN, PEPPER] {
        assert!(!stored.contains(secret), "{secret}");
    }
    assert_eq!(
        keeper
            .audit()
            .iter()
            .find(|entry| entry.operation == "zonekeeper-key-mint")
            .unwrap()
            .sentence,
        format!("root minted key {id} for bot; the root key opens /api/v1.")
    );
}

#[test]
fn a_legacy_key_has_the_form_of_a_global_api_key() {
    let keeper = Keeper::with(CONFIG);
    let (_, key) = minted(&keeper, "bot", &json!({"legacy": true}));
    assert_eq!(key.len(), 40);
    assert!(
        key.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{key}"
    );
    let request = ask("GET /client/v4/user")
        .header("x-auth-key", &key)
        .header("x-auth-email", "any@example.com");
    assert_eq!(keeper.call(request).status, 200);
}

#[test]
fn a_rolled_key_works_until_its_overlap_ends() {
    let keeper = Keeper::with(CONFIG);
    let (id, old) = minted(&keeper, "bot", &json!({"note": "n"}));
    let line = format!("POST /principals/bot/keys/{id}/roll");
    let rolled = keeper
        .call(root(&line).json(&json!({"overlap_secs": 60})))
        .result();
    let new = rolled["key"].as_str().unwrap();
    assert!(opens(&keeper, &old) && opens(&keeper, new));
    keeper.advance_secs(59);
    assert!(opens(&keeper, &old));
    keeper.advance_secs(1);
    assert!(!opens(&keeper, &old) && opens(&keeper, new));
    // What has ended is not rolled.
    assert_eq!(keeper.call(root(&line)).refused(), (400, 20032));
    // Without an overlap the old one ends at once.
    let id = rolled["id"].as_str().unwrap();
    let last = keeper
        .call(root(&format!("POST /principals/bot/keys/{id}/roll")))
        .result();
    assert!(!opens(&keeper, new) && opens(&keeper, last["key"].as_str().unwrap()));
}

#[test]
fn a_revoked_key_is_refused_at_once_by_this_isolate_and_within_5_seconds_by_others() {
    let keeper = Keeper::with(CONFIG);
    let other = keeper.neighbour();
    let (id, key) = minted(&keeper, "bot", &json!({}));
    let status = |isolate: &Keeper| isolate.call(ask("GET /client/v4/user").key(&key)).status;
    assert_eq!((status(&keeper), status(&other)), (200, 200));
    let revoke = root(&format!("DELETE /principals/bot/keys/{id}"));
    assert_eq!(keeper.call(revoke.clone()).result(), json!({"id": id}));
    assert_eq!(status(&keeper), 401);
    other.world.clock.advance_ms(4999);
    assert_eq!(status(&other), 200);
    other.world.clock.advance_ms(1);
    assert_eq!(status(&other), 401);
    // Again is harmless, and the first time counts.
    assert_eq!(keeper.call(revoke).status, 200);
    let keys = keeper.call(root("GET /principals/bot/keys")).result();
    assert_eq!(keys[0]["revoked_on"], "2026-11-01T12:00:00.000Z");
}

#[test]
fn d2_keys_are_reached_through_their_own_principal_only() {
    let keeper = Keeper::with(CONFIG);
    let (id, key) = minted(&keeper, "bot", &json!({}));
    let missing = |line: &str| keeper.call(root(line)).refused();
    for name in ["reader", "nobody"] {
        assert_eq!(
            missing(&format!("DELETE /principals/{name}/keys/{id}")),
            (404, 20090)
        );
        assert_eq!(
            missing(&format!("POST /principals/{name}/keys/{id}/roll")),
            (404, 20090)
        );
    }
    for id in ["unknown-key1", "x", "........"] {
        assert_eq!(
            missing(&format!("DELETE /principals/bot/keys/{id}")),
            (404, 20090)
        );
    }
    assert_eq!(missing("POST /principals/nobody/keys"), (404, 20090));
    // Only keys have keys.
    assert_eq!(missing("POST /principals/nightly/keys"), (400, 20032));
    assert!(opens(&keeper, &key));
}

#[test]
fn a_key_is_not_minted_from_a_body_that_is_wrong() {
    let keeper = Keeper::with(CONFIG);
    let long = json!({"note": "x".repeat(201)}).to_string();
    for (body, expected) in [
        (r#"{"expires_on":"2026-11-01T12:00:00Z"}"#, (400, 20032)),
        (r#"{"expires_on":"tomorrow"}"#, (400, 20032)),
        (r#"{"notes":"x"}"#, (400, 20032)),
        (r#"{"legacy":"yes"}"#, (400, 20032)),
        (r#"{"note":"a","note":"b"}"#, (400, 20004)),
        ("{", (400, 20003)),
        (long.as_str(), (400, 20032)),
    ] {
        let answered = keeper.call(root("POST /principals/bot/keys").text(body));
        assert_eq!(answered.refused(), expected, "{body}: {}", answered.text);
    }
    assert_eq!(keeper.database.sqlite().count("api_keys"), 0);
    let answered = keeper.call(root("POST /principals/bot/keys").text(r#"{"notes":"x"}"#));
    assert!(
        answered
            .message()
            .contains("there is no key \"notes\" here"),
        "{}",
        answered.message()
    );
}

#[test]
fn a_key_and_its_audit_row_are_stored_together_or_not_at_all() {
    let keeper = Keeper::with(CONFIG);
    keeper
        .database
        .fail("INSERT INTO api_keys", Storage::FailsBefore);
    let rows = keeper.audit().len();
    assert_eq!(
        keeper.call(root("POST /principals/bot/keys")).refused(),
        (503, 20080)
    );
    assert_eq!(
        (
            keeper.database.sqlite().count("api_keys"),
            keeper.audit().len()
        ),
        (0, rows)
    );
}

// Decisions.

#[test]
fn decide_answers_without_calling_upstream() {
    let keeper = Keeper::with(CONFIG);
    let records = format!("/client/v4/zones/{COM}/dns_records");
    let question = |body: Value| keeper.call(root("POST /decide").json(&body)).result();
    let record = |kind: &str, name: &str| json!({"type": kind, "name": name, "content": "10 mx.example.com"});
    for (name, kind, decision, grant) in [
        ("_acme-challenge.example.com", "TXT", "allow", json!("dns")),
        ("www.example.com", "TXT", "deny", Value::Null),
        ("example.com", "MX", "approve", json!("mail")),
    ] {
        let result = question(
            json!({"principal": "bot", "method": "POST", "path": records, "body": record(kind, name)}),
        );
        assert_eq!(
            (&result["decision"], &result["grant"]),
            (&json!(decision), &grant),
            "{result}"
        );
        assert_eq!(
            result["operation"],
            "dns-records-for-a-zone-create-dns-record"
        );
    }
    let denied = question(
        json!({"principal": "bot", "method": "DELETE", "path": format!("/client/v4/zones/{COM}")}),
    );
    assert_eq!(denied["decision"], "deny");
    let unknown =
        question(json!({"principal": "bot", "method": "GET", "path": "/client/v4/brand/new"}));
    assert_eq!(
        (&unknown["decision"], &unknown["operation"]),
        (&json!("deny"), &json!("unknown"))
    );
    let same = question(json!({"principal": "bot", "method": "HEAD", "path": "/client/v4/user"}));
    assert_eq!(same["decision"], "allow");
    assert_eq!(keeper.world.calls(), 0);
    assert!(keeper.audit().is_empty(), "a question is no call");
}

#[test]
fn decide_says_what_the_gateway_will_say() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let path = format!("/client/v4/zones/{COM}/dns_records");
    let body = json!({"type": "A", "name": "www.example.com", "content": "192.0.2.1"});
    let asked = json!({"principal": "bot", "method": "POST", "path": path, "body": body});
    let result = keeper.call(root("POST /decide").json(&asked)).result();
    let called = keeper.call(ask(&format!("POST {path}")).key(&key).json(&body));
    assert_eq!(result["reason"], called.message());
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let keeper = Keeper::with(CONFIG);
    let check = |body: &str, expected: (u16, u64)| {
        let answered = keeper.call(root("POST /decide").text(body));
        assert_eq!(answered.refused(), expected, "{body}: {}", answered.text);
    };
    let invalid = (400, 20032);
    check("{}", invalid);
    check("{", (400, 20003));
    for (field, value) in [
        ("principal", "\"nobody\""),
        ("method", "\"PURGE\""),
        ("path", "\"/zones\""),
        ("path", "\"/api/v1/config\""),
        ("source_ip", "\"here\""),
        ("at", "\"now\""),
        ("wat", "1"),
    ] {
        let mut body = json!({"principal": "bot", "method": "GET", "path": "/client/v4/zones"});
        body[field] = serde_json::from_str(value).unwrap();
        check(&body.to_string(), invalid);
    }
}

// The audit log.

/// Twelve refused calls and one that passed, ten seconds apart.
fn with_history() -> Rc<Keeper> {
    let keeper = Keeper::with(CONFIG);
    let (bot, reader) = (keeper.mint("bot"), keeper.mint("reader"));
    for n in 0..12 {
        keeper.advance_secs(10);
        let key = if n % 3 == 0 { &reader } else { &bot };
        let id = if n % 2 == 0 { COM } else { NET };
        let answered =
            keeper.call(ask(&format!("GET /client/v4/zones/{id}/settings/ssl")).key(key));
        assert_eq!(answered.status, 403);
    }
    keeper.advance_secs(10);
    assert_eq!(
        keeper.call(ask("GET /client/v4/user").key(&bot)).status,
        200
    );
    keeper
}

#[test]
fn the_audit_log_is_paged_newest_first() {
    let keeper = with_history();
    let mut times = Vec::new();
    let mut query = "limit=5".to_owned();
    let mut pages = 0;
    loop {
        let page = keeper.call(root(&format!("GET /audit?{query}"))).json();
        pages += 1;
        let entries = page["result"].as_array().unwrap().clone();
        assert_eq!(page["result_info"]["count"], entries.len());
        times.extend(
            entries
                .iter()
                .map(|entry| entry["time"].as_str().unwrap().to_owned()),
        );
        match page["result_info"]["cursor"].as_str() {
            Some(cursor) => query = format!("limit=5&cursor={cursor}"),
            None => break,
        }
    }
    // Beside the thirteen calls: the apply, and two keys.
    assert_eq!((pages, times.len()), (4, 16));
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn the_audit_log_is_filtered() {
    let keeper = with_history();
    let count = |query: &str| {
        let page = keeper.call(root(&format!("GET /audit?limit=1000&{query}")));
        page.result().as_array().unwrap().len()
    };
    for (query, expected) in [
        ("principal=bot".to_owned(), 9),
        ("principal=nobody".to_owned(), 0),
        ("decision=deny".to_owned(), 12),
        ("decision=approve".to_owned(), 0),
        ("principal=bot&decision=deny".to_owned(), 8),
        (format!("zone={COM}"), 6),
        ("zone=example.com".to_owned(), 6),
        ("zone=EXAMPLE.net".to_owned(), 6),
        ("operation=user-user-details".to_owned(), 1),
        ("operation=zone-settings-get-single-setting".to_owned(), 12),
        ("since=2026-11-01T12:02:00Z".to_owned(), 2),
        ("until=2026-11-01T12:02:00Z".to_owned(), 14),
        (
            "since=2026-11-01T13:01:00%2B01:00&until=2026-11-01T12:01:10Z".to_owned(),
            1,
        ),
    ] {
        assert_eq!(count(&query), expected, "{query}");
    }
    let filtered = keeper.call(root("GET /audit?principal=bot")).json();
    assert_eq!(
        filtered["messages"][0]["message"],
        "Searched the last 30 days; name `since` for more."
    );
}

#[test]
fn an_entry_has_every_field_it_is_promised_to_have() {
    let keeper = with_history();
    let key = keeper.mint("auditor");
    let page = keeper
        .call(with(&key, "GET /audit?decision=deny&limit=1"))
        .result();
    let entry = page[0].as_object().unwrap();
    for field in [
        "id",
        "time",
        "principal",
        "credential",
        "source_ip",
        "operation",
        "method",
        "path",
        "resources",
        "decision",
        "grant",
        "reason",
        "status",
        "outcome",
        "cf_ray",
        "duration_ms",
        "upstream_calls",
        "change_id",
        "run_id",
        "sentence",
    ] {
        assert!(entry.contains_key(field), "{field}");
    }
    assert!(entry["id"].is_string());
    assert_eq!(entry["sentence"], entry["reason"]);
}

#[test]
fn a_filter_that_is_wrong_is_refused() {
    let keeper = Keeper::with(CONFIG);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=x",
        "cursor=-1",
        "since=yesterday",
        "until=1",
        "decision=maybe",
        "zone=unknown.example",
        "color=red",
        "limit=1&limit=2",
        "Limit=5",
    ] {
        let answered = keeper.call(root(&format!("GET /audit?{query}")));
        assert_eq!(answered.refused(), (400, 20032), "{query}");
    }
}

#[test]
fn what_somebody_unknown_sent_is_on_record_without_the_secret() {
    let keeper = Keeper::with(CONFIG);
    let secret = "s".repeat(40);
    keeper.call(with(&secret, "GET /config").header("cf-connecting-ip", "203.0.113.9\u{1b}[31m"));
    let entry = keeper.last_entry();
    assert_eq!((entry.principal, entry.status), (None, Some(401)));
    assert_eq!(entry.source_ip.as_deref(), Some("203.0.113.9[31m"));
    assert!(!keeper.database.sqlite().dump().contains(&secret));
}

#[test]
fn titles_stand_for_ids_when_they_are_applied() {
    const ID: &str = "0f2ac74b498b48028cb68387c421e279";
    let grant = |names: &str| {
        format!(
            "[[principals]]\nname = \"bot\"\nkind = \"key\"\n[[grants]]\nname = \"kv\"\nprincipals = [\"bot\"]\neffect = \"allow\"\npermissions = [\"Workers KV Storage Write\"]\naccounts = [\"Acme\"]\nkv = {{ namespaces = [{names}] }}\n"
        )
    };
    let keeper = Keeper::with(CONFIG);
    let look_up = |keeper: &Keeper| {
        let account = json!({"id": ACME, "name": "Acme"});
        keeper.expect(get("/accounts?name=Acme").answers(200, list(&[account], 1)));
        let namespaces = [
            json!({"id": ID, "title": "site-cache"}),
            json!({"id": "x", "title": "twice"}),
            json!({"id": "y", "title": "twice"}),
        ];
        let target = format!("/accounts/{ACME}/storage/kv/namespaces?page=1&per_page=100");
        keeper.expect(get(target).answers(200, list(&namespaces, 3)));
    };
    look_up(&keeper);
    let answered = apply(&keeper, &grant("\"site-cache\""));
    assert_eq!(answered.status, 200, "{}", answered.text);
    let asked = |namespace: &str| {
        let path = format!("/client/v4/accounts/{ACME}/storage/kv/namespaces/{namespace}/values/a");
        let question = json!({"principal": "bot", "method": "PUT", "path": path});
        keeper.call(root("POST /decide").json(&question)).result()["decision"].clone()
    };
    assert_eq!(
        (asked(ID), asked(&ID.replace('9', "8"))),
        (json!("allow"), json!("deny"))
    );
    look_up(&keeper);
    let answered = apply(&keeper, &grant("\"site-cahce\""));
    assert_eq!(answered.refused(), (400, 20031));
    assert!(answered.message().ends_with("grants[0].kv.namespaces[0]: the accounts of the grant have no KV namespace \"site-cahce\"."), "{}", answered.message());
    look_up(&keeper);
    let answered = apply(&keeper, &grant("\"twice\""));
    assert_eq!(answered.refused(), (400, 20031));
    assert!(
        answered.message().contains("more than one thing"),
        "{}",
        answered.message()
    );
}
