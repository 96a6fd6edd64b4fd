//! Calls through the whole pipeline, and how each of them ends: what the caller gets, what
//! Cloudflare sees, what is on record.

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
use support::keeper::{
    ACME, Answered, Ask, COM, Keeper, NET, NOW, ORG, OTHER_ACCOUNT, ROOT, TOKEN, ask,
};
use support::upstream::{Expected, delete, failure, get, list, patch, post, put, success};
use zonekeeper::catalog::{Deprecation, Method, operations};
use zonekeeper::gateway::{After, BodyFault, Gateway, JUDGED_BODY_CAP, LockFault};
use zonekeeper::model::Timestamp;
use zonekeeper::upstream::{Fault, Outcome};

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"
[[principals]]
name = "one"
kind = "key"
[[principals]]
name = "admin"
kind = "key"
[[principals]]
name = "reader"
kind = "key"
[[principals]]
name = "purger"
kind = "key"
[[principals]]
name = "careful"
kind = "key"
[[principals]]
name = "named"
kind = "key"
[[principals]]
name = "nobody"
kind = "key"

[[grants]]
name = "acme-challenges"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["_acme-challenge.**"], types = ["TXT"] }

[[grants]]
name = "one-record"
principals = ["one"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["home.example.com"], types = ["A", "AAAA"] }

[[grants]]
name = "all"
principals = ["admin"]
effect = "allow"
permissions = ["DNS Write", "Zone Write", "Zone Settings Write", "Workers Scripts Write", "D1 Write", "Workers KV Storage Write", "Cache Purge"]
zones = ["*"]
accounts = ["Acme"]

[[grants]]
name = "read"
principals = ["reader"]
effect = "allow"
permissions = ["Zone Read", "Zone Settings Read", "DNS Read"]
zones = ["example.com", "example.net"]

[[grants]]
name = "purges"
principals = ["purger"]
effect = "allow"
permissions = ["Cache Purge"]
zones = ["example.com"]
purge = { prefixes = ["example.com/news/"] }

[[grants]]
name = "ask-first"
principals = ["careful"]
effect = "approve"
permissions = ["DNS Write"]
zones = ["example.com"]

[[grants]]
name = "by-name"
principals = ["named"]
effect = "allow"
operations = ["GET /zones/{zone_id}/brand_new", "d1-query-database", "worker-script-delete-worker"]
zones = ["example.com"]
accounts = ["Acme"]
"#;

const RECORD: &str = "000000000000000000000000000000e1";
const OWN_D1: &str = "11111111-2222-3333-4444-555555555555";

fn records() -> String {
    format!("/zones/{COM}/dns_records")
}

fn ssl() -> String {
    format!("/zones/{COM}/settings/ssl")
}

fn challenge() -> Value {
    json!({"type": "TXT", "name": "_acme-challenge.example.com", "content": "v"})
}

/// A request below `/client/v4` by `principal`, with a fresh key.
fn by(keeper: &Keeper, principal: &str, line: &str) -> Ask {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path
        .replace("COM", COM)
        .replace("NET", NET)
        .replace("ACME", ACME)
        .replace("RECORD", RECORD);
    ask(&format!("{method} /client/v4{path}")).key(&keeper.mint(principal))
}

/// The call is refused with status and code, nothing is sent, and it is on record.
fn check_refused(keeper: &Keeper, request: Ask, expected: (u16, u64)) -> Answered {
    let rows = keeper.audit().len();
    let calls = keeper.world.calls();
    let answered = keeper.call(request);
    assert_eq!(answered.refused(), expected, "{}", answered.text);
    assert_eq!(keeper.world.calls(), calls, "something was sent");
    assert_eq!(keeper.audit().len(), rows + 1, "{}", answered.text);
    let entry = keeper.last_entry();
    assert_eq!(entry.status, Some(expected.0));
    assert_eq!((entry.outcome, entry.upstream_calls), (None, Some(0)));
    assert_eq!(entry.reason, answered.message());
    answered
}

fn entry_words(keeper: &Keeper) -> (String, String, Option<u16>) {
    let entry = keeper.last_entry();
    (
        entry.decision,
        entry.outcome.unwrap_or_default(),
        entry.status,
    )
}

fn words(decision: &str, outcome: &str, status: u16) -> (String, String, Option<u16>) {
    (decision.to_owned(), outcome.to_owned(), Some(status))
}

// Step 1: method and headers.

#[test]
fn e9_methods_and_headers_that_are_not_supported_are_501() {
    let keeper = Keeper::with(CONFIG);
    for method in ["PURGE", "OPTIONS", "get", "TRACE", "CONNECT", "PROPFIND"] {
        let request = by(&keeper, "admin", &format!("{method} /zones"));
        check_refused(&keeper, request, (501, 20060));
    }
    let request = by(&keeper, "admin", "GET /zones").header("upgrade", "websocket");
    check_refused(&keeper, request, (501, 20060));
    for header in [
        "idempotency-key",
        "zonekeeper-dry-run",
        "zonekeeper-allow-mass-change",
        "zonekeeper-anything",
    ] {
        let request = by(&keeper, "admin", "POST /zones/COM/dns_records").header(header, "true");
        let answered = check_refused(&keeper, request, (501, 20061));
        assert_eq!(
            answered.message(),
            format!(
                "The header {header} asks for something this version does not have, so the call was not carried out."
            )
        );
    }
}

// Step 2: the caller.

#[test]
fn h2_exactly_one_credential_is_needed() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("reader");
    let line = format!("GET /client/v4{}", ssl());
    let plain = || ask(&line);
    check_refused(&keeper, plain(), (401, 20010));
    check_refused(
        &keeper,
        plain().key(&key).header("x-auth-key", &key),
        (400, 20002),
    );
    check_refused(
        &keeper,
        plain().header("authorization", &format!("Bearer {key}, Bearer {key}")),
        (400, 20002),
    );
    for (name, value) in [
        ("authorization", format!("Basic {key}")),
        ("authorization", key.clone()),
        ("x-auth-user-service-key", key.clone()),
    ] {
        check_refused(&keeper, plain().header(name, &value), (401, 20011));
    }
    keeper.expect(get(ssl()).answers(200, success(&json!({}))));
    assert_eq!(keeper.call(plain().header("x-auth-key", &key)).status, 200);
}

#[test]
fn t8_every_key_that_is_not_accepted_gets_the_same_answer() {
    let keeper = Keeper::with(CONFIG);
    let (revoked, wrong) = (keeper.mint("reader"), keeper.mint("reader"));
    keeper.revoke("reader", &revoked);
    let expired = keeper.mint_until("reader", Some(keeper.now()));
    let orphan = keeper.mint("somebody-else");
    let wrong = format!("{}{}", &wrong[..12], "x".repeat(28));
    let line = format!("GET /client/v4{}", ssl());
    let first = check_refused(&keeper, ask(&line).key("short"), (401, 20011));
    for key in [
        &revoked,
        &expired,
        &orphan,
        &wrong,
        &"u".repeat(40),
        TOKEN,
        ROOT,
    ] {
        let answered = check_refused(&keeper, ask(&line).key(key), (401, 20011));
        assert_eq!(answered.text, first.text, "{key}");
    }
    assert!(!keeper.database.sqlite().dump().contains(ROOT));
}

#[test]
fn a_key_ends_at_the_instant_of_its_expiry_though_it_is_held() {
    let keeper = Keeper::with(CONFIG);
    let end = keeper.now().plus_ms(2000);
    let key = keeper.mint_until("reader", Some(end));
    let request = || ask(&format!("GET /client/v4{}", ssl())).key(&key);
    for _ in 0..2 {
        keeper.expect(get(ssl()).answers(200, success(&json!({}))));
        assert_eq!(keeper.call(request()).status, 200);
        keeper.world.clock.advance_ms(999);
    }
    keeper.world.clock.advance_ms(2);
    check_refused(&keeper, request(), (401, 20011));
}

#[test]
fn f2_without_the_store_nothing_is_sent_and_the_answer_is_503() {
    let keeper = Keeper::with(CONFIG);
    let request = by(&keeper, "reader", "GET /zones/COM/settings/ssl");
    keeper.database.set_down(true);
    let answered = keeper.call(request);
    assert_eq!(answered.refused(), (503, 20080));
    assert_eq!(
        answered.text,
        r#"{"success":false,"errors":[{"code":20080,"message":"The store of this Zonekeeper cannot be reached, so nothing was sent to Cloudflare.","documentation_url":"https://zk.example.com/errors#store_unavailable"}],"messages":[],"result":null}"#
    );
}

// Step 3: path, query and body.

#[test]
fn p1_p2_p3_p4_a_path_with_two_spellings_is_refused() {
    let keeper = Keeper::with(CONFIG);
    for path in [
        "/zones/COM/../NET",
        "/zones/./COM",
        "/zones/%2e%2e/COM",
        "/zones/COM%2fdns_records",
        "/zones/COM%252fdns_records",
        "/zones/COM;x=y",
        "/zones//COM",
        "/zones/COM/",
        "/zones/COM/dns_records/",
        "/zones/{zone_id}",
        "/zones/:id",
        "/zones/0123456789ABCDEF0123456789abcdef",
        "/zones/\u{ff10}0000000000000000000000000000c01",
        "/zones/COM/dns_records/abc",
        "//zones",
    ] {
        let request = by(&keeper, "admin", &format!("GET {path}"));
        check_refused(&keeper, request, (400, 20001));
    }
    let long = format!("GET /zones?x={}", "a".repeat(17_000));
    check_refused(&keeper, by(&keeper, "admin", &long), (400, 20001));
    // The prefix twice is an unknown operation, and so is another case.
    for path in ["/client/v4/zones", "/Zones"] {
        let request = by(&keeper, "admin", &format!("GET {path}"));
        check_refused(&keeper, request, (403, 20021));
    }
}

#[test]
fn q1_a_parameter_that_policy_reads_stands_once() {
    let keeper = Keeper::with(CONFIG);
    for (principal, query, expected) in [
        ("bot", "page=1&page=2", (400, 20001)),
        ("bot", "per_page=5&per_page=6", (400, 20001)),
        ("bot", "page=0", (400, 20032)),
        ("reader", "zone_id=COM&zone_id=COM", (400, 20001)),
        ("reader", "zone_id=xyz", (400, 20001)),
    ] {
        let line = format!("GET /zones/COM/dns_records?{query}");
        check_refused(&keeper, by(&keeper, principal, &line), expected);
    }
    // Everything else passes in order, byte for byte.
    let query = "order=%74ype&a[]=1&a[]=2&x;y&&tag=%zz";
    keeper.expect(get(format!("{}?{query}", records())).answers(200, list(&[], 0)));
    let line = format!("GET /zones/COM/dns_records?{query}");
    assert_eq!(keeper.call(by(&keeper, "reader", &line)).status, 200);
}

#[test]
fn p7_every_zone_and_account_a_call_names_must_be_allowed() {
    let keeper = Keeper::with(CONFIG);
    for query in [
        format!("zone_id={ORG}"),
        format!("zone.id={ORG}"),
        format!("account_id={OTHER_ACCOUNT}"),
        format!("account.id={ACME}"),
    ] {
        let line = format!("GET /zones/COM/settings/ssl?{query}");
        check_refused(&keeper, by(&keeper, "reader", &line), (403, 20020));
    }
    let query = format!("zone_id={NET}");
    keeper.expect(get(format!("{}?{query}", ssl())).answers(200, success(&json!({}))));
    let line = format!("GET /zones/COM/settings/ssl?{query}");
    assert_eq!(keeper.call(by(&keeper, "reader", &line)).status, 200);
}

#[test]
fn j1_j2_j3_a_body_that_is_judged_is_read_strictly() {
    let keeper = Keeper::with(CONFIG);
    let request = || by(&keeper, "bot", "POST /zones/COM/dns_records");
    for (body, expected) in [
        ("", (400, 20003)),
        ("{", (400, 20003)),
        ("[]", (400, 20003)),
        ("\u{feff}{}", (400, 20003)),
        ("{}x", (400, 20003)),
        (r#"{"ttl":1e400}"#, (400, 20003)),
        (r#"{"ttl":NaN}"#, (400, 20003)),
        (r#"{"name":"\ud800"}"#, (400, 20003)),
        (r#"{"name":"a","name":"b"}"#, (400, 20004)),
        (r#"{"name":"a","n\u0061me":"b"}"#, (400, 20004)),
        (r#"{"data":{"a":{"b":1,"b":2}}}"#, (400, 20004)),
        (r#"{"name":"x"}"#, (400, 20003)),
        (r#"{"type":"TXT","name":5}"#, (400, 20003)),
    ] {
        check_refused(&keeper, request().text(body), expected);
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(33), "}".repeat(33));
    check_refused(&keeper, request().text(&deep), (400, 20003));
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-7",
        "application/json, text/plain",
    ] {
        let request = request().header("content-type", content_type);
        check_refused(&keeper, request.json(&challenge()), (400, 20003));
    }
}

#[test]
fn u6_a_body_that_is_too_large_too_slow_or_broken_is_refused() {
    let keeper = Keeper::with(CONFIG);
    let request = || by(&keeper, "bot", "POST /zones/COM/dns_records");
    let large = " ".repeat(JUDGED_BODY_CAP + 1);
    let claimed = (JUDGED_BODY_CAP + 1).to_string();
    check_refused(&keeper, request().text(&large), (413, 20005));
    check_refused(
        &keeper,
        request().header("content-length", &claimed),
        (413, 20005),
    );
    for (fault, expected) in [
        (BodyFault::TooLarge, (413, 20005)),
        (BodyFault::TimedOut, (408, 20006)),
        (BodyFault::Broken, (400, 20003)),
    ] {
        check_refused(&keeper, request().body_fault(fault), expected);
    }
}

// Step 4: the decision.

#[test]
fn a_denial_says_who_asked_for_what_and_what_is_needed() {
    let keeper = Keeper::with(CONFIG);
    let evil = json!({"type": "A", "name": "www.example.com", "content": "192.0.2.1"});
    let rows: [(_, _, _, (u16, u64), _); 7] = [
        (
            "bot",
            "POST /zones/COM/dns_records",
            Some(evil),
            (403, 20020),
            "bot may not create A record www.example.com in example.com (dns-records-for-a-zone-create-dns-record): the grant acme-challenges covers only TXT records named _acme-challenge.**; a grant of DNS Write for that record is needed.",
        ),
        (
            "nobody",
            "GET /zones/COM/settings/ssl",
            None,
            (403, 20020),
            "nobody may not call GET /zones/zone_id/settings/setting_id on the setting ssl in example.com (zone-settings-get-single-setting): no grant of it reaches example.com; a grant of Zone Settings Read or Zone Settings Write for example.com is needed.",
        ),
        (
            "bot",
            "GET /zones/NET/dns_records",
            None,
            (403, 20020),
            "bot may not call GET /zones/zone_id/dns_records in example.net (dns-records-for-a-zone-list-dns-records): the grant acme-challenges covers only example.com; a grant of DNS Read or DNS Write for example.net is needed.",
        ),
        (
            "admin",
            "GET /zones/COM/brand_new",
            None,
            (403, 20021),
            "admin may not call GET /zones/00000000000000000000000000000c01/brand_new in example.com: it is not an operation of the catalogue; a grant whose operations name GET /zones/00000000000000000000000000000c01/brand_new for example.com is needed.",
        ),
        (
            "admin",
            "POST /user/tokens",
            None,
            (403, 20022),
            "admin may not call POST /user/tokens (user-api-tokens-create-token): it can widen the rights of its caller, so no permission group reaches it; a grant whose operations name user-api-tokens-create-token is needed.",
        ),
        (
            "careful",
            "POST /zones/COM/dns_records",
            Some(challenge()),
            (403, 20023),
            "careful may create TXT record _acme-challenge.example.com in example.com (dns-records-for-a-zone-create-dns-record) only once somebody approves it: the grant ask-first asks for that; an approval is needed.",
        ),
        (
            "admin",
            "DELETE /zones/COM",
            None,
            (403, 20020),
            "admin may not call DELETE /zones/zone_id in example.com (zones-0-delete): no permission group reaches it; a grant whose operations name zones-0-delete for example.com is needed.",
        ),
    ];
    for (principal, line, body, expected, message) in rows {
        let mut request = by(&keeper, principal, line);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answered = check_refused(&keeper, request, expected);
        assert_eq!(answered.message(), message);
        let decision = if expected == (403, 20023) {
            "approve"
        } else {
            "deny"
        };
        assert_eq!(keeper.last_entry().decision, decision);
        assert_eq!(keeper.last_entry().principal.as_deref(), Some(principal));
    }
}

#[test]
fn an_operation_the_catalogue_does_not_know_passes_where_a_grant_names_it() {
    let keeper = Keeper::with(CONFIG);
    let path = format!("/zones/{COM}/brand_new");
    keeper.expect(get(&path).answers(200, success(&json!({"new": true}))));
    let answered = keeper.call(by(&keeper, "named", "GET /zones/COM/brand_new"));
    assert_eq!(answered.result(), json!({"new": true}));
    check_refused(
        &keeper,
        by(&keeper, "named", "POST /zones/COM/brand_new"),
        (403, 20021),
    );
    check_refused(
        &keeper,
        by(&keeper, "named", "GET /zones/NET/brand_new"),
        (403, 20021),
    );
}

#[test]
fn e7_the_gateways_own_resources_are_out_of_reach() {
    let keeper = Keeper::with(CONFIG);
    for line in [
        "GET /accounts/ACME/workers/scripts/zonekeeper".to_owned(),
        "DELETE /accounts/ACME/workers/scripts/zonekeeper".to_owned(),
        "DELETE /accounts/ACME/workers/scripts/ZoneKeeper".to_owned(),
        format!("GET /accounts/ACME/d1/database/{OWN_D1}"),
        format!("POST /accounts/ACME/d1/database/{OWN_D1}/query"),
        "POST /accounts/ACME/d1/database/zonekeeper-db/query".to_owned(),
        "GET /accounts/ACME/storage/kv/namespaces/000000000000000000000000000000b1/keys".to_owned(),
    ] {
        check_refused(&keeper, by(&keeper, "admin", &line), (403, 20022));
    }
    let line = "PUT /accounts/ACME/workers/scripts/zonekeeper/secrets";
    let secret = json!({"name": "ROOT_KEY", "text": "mine", "type": "secret_text"});
    check_refused(
        &keeper,
        by(&keeper, "admin", line).json(&secret),
        (403, 20022),
    );
    // Naming the operation id opens the script, never SQL on the database.
    let line = format!("POST /accounts/ACME/d1/database/{OWN_D1}/query");
    let answered = check_refused(&keeper, by(&keeper, "named", &line), (403, 20022));
    assert!(
        answered
            .message()
            .ends_with("it is the database of this Zonekeeper itself, which no grant opens.")
    );
    let script = format!("/accounts/{ACME}/workers/scripts/zonekeeper");
    keeper.expect(delete(&script).answers(200, success(&Value::Null)));
    let answered = keeper.call(by(&keeper, "named", &format!("DELETE {script}")));
    assert_eq!(answered.status, 200);
}

#[test]
fn writes_are_refused_while_the_own_resources_are_unknown() {
    let known = Keeper::with(CONFIG);
    let keeper = known.told(|raw| raw.own_account_id = None);
    let request = by(&keeper, "bot", "POST /zones/COM/dns_records").json(&challenge());
    let answered = check_refused(&keeper, request, (403, 20022));
    assert!(
        answered
            .message()
            .starts_with("This Zonekeeper does not know its own resources yet")
    );
    keeper.expect(get(ssl()).answers(200, success(&json!({}))));
    let read = by(&keeper, "reader", "GET /zones/COM/settings/ssl");
    assert_eq!(keeper.call(read).status, 200);
}

#[test]
fn e10_each_part_of_a_purge_is_judged_and_everything_must_be_named() {
    let keeper = Keeper::with(CONFIG);
    let request = |principal: &str, body: &Value| {
        by(&keeper, principal, "POST /zones/COM/purge_cache").json(body)
    };
    for body in [
        json!({"purge_everything": true}),
        json!({"prefixes": ["example.com/news/", "example.com/other/"]}),
        json!({"prefixes": ["example.com/news/"], "hosts": ["example.com"]}),
        json!({"prefixes": ["example.com/news/"], "purge_everything": true}),
        json!({"tags": ["a"]}),
        json!({"files": ["https://example.com/newsletter"]}),
    ] {
        check_refused(&keeper, request("purger", &body), (403, 20020));
    }
    check_refused(
        &keeper,
        request("admin", &json!({"purge_everything": true})),
        (403, 20020),
    );
    for (principal, body) in [
        ("purger", json!({"prefixes": ["example.com/news/sport/"]})),
        (
            "purger",
            json!({"files": ["https://example.com/news/a.html"]}),
        ),
        ("admin", json!({"tags": ["a", "b"]})),
    ] {
        let path = format!("/zones/{COM}/purge_cache");
        keeper.expect(
            post(path)
                .with(body.clone())
                .answers(200, success(&json!({}))),
        );
        assert_eq!(keeper.call(request(principal, &body)).status, 200);
    }
    assert_eq!(
        keeper.last_entry().sentence,
        "admin purged 2 tags of example.com; allowed by all."
    );
}

#[test]
fn p7_a_new_zone_belongs_to_the_account_its_body_names() {
    let keeper = Keeper::with(CONFIG);
    let zone = |account: &str| json!({"name": "new.example", "account": {"id": account}});
    let request = |body: &Value| by(&keeper, "admin", "POST /zones").json(body);
    check_refused(&keeper, request(&zone(OTHER_ACCOUNT)), (403, 20020));
    check_refused(
        &keeper,
        request(&json!({"name": "new.example"})),
        (400, 20003),
    );
    keeper.expect(
        post("/zones")
            .with(zone(ACME))
            .answers(200, success(&json!({}))),
    );
    assert_eq!(keeper.call(request(&zone(ACME))).status, 200);
    let refused = by(&keeper, "reader", "POST /zones").json(&zone(ACME));
    check_refused(&keeper, refused, (403, 20020));
}

#[test]
fn e3_a_slow_body_of_a_deletion_keeps_no_turn() {
    let keeper = Keeper::with(CONFIG);
    keeper.world.lock_fault.set(Some(LockFault::Busy));
    for who in ["bot", "admin"] {
        let request = by(&keeper, who, "DELETE /zones/COM/dns_records/RECORD");
        check_refused(
            &keeper,
            request.body_fault(BodyFault::TimedOut),
            (408, 20006),
        );
    }
}

#[test]
fn e1_e2_writes_by_id_and_in_bulk_need_a_grant_on_every_record() {
    let keeper = Keeper::with(CONFIG);
    // Without a turn at the zone's records nothing goes on.
    keeper.world.lock_fault.set(Some(LockFault::Unreachable));
    for line in [
        "PATCH /zones/COM/dns_records/RECORD",
        "PUT /zones/COM/dns_records/RECORD",
        "DELETE /zones/COM/dns_records/RECORD",
        "POST /zones/COM/dns_records/batch",
    ] {
        for who in ["bot", "admin"] {
            let request = by(&keeper, who, line).json(&challenge());
            check_refused(&keeper, request, (503, 20080));
        }
    }
    keeper.world.lock_fault.set(None);
    for line in [
        "POST /zones/COM/dns_records/scan",
        "POST /zones/COM/dns_records/scan/trigger",
        "POST /zones/COM/dns_records/scan/review",
    ] {
        let answered = check_refused(&keeper, by(&keeper, "bot", line), (403, 20020));
        let end = "What it does to which records cannot be seen beforehand, so a grant that is limited to some records does not reach it.";
        assert!(answered.message().ends_with(end), "{}", answered.message());
    }
    let record = format!("{}/{RECORD}", records());
    keeper.expect(
        patch(&record)
            .with(challenge())
            .answers(200, success(&json!({}))),
    );
    let request = by(&keeper, "admin", "PATCH /zones/COM/dns_records/RECORD");
    assert_eq!(keeper.call(request.json(&challenge())).status, 200);
    keeper.expect(
        put(&record)
            .with(challenge())
            .answers(200, success(&json!({}))),
    );
    let request = by(&keeper, "admin", "PUT /zones/COM/dns_records/RECORD");
    assert_eq!(keeper.call(request.json(&challenge())).status, 200);
}

// Step 5: an allowed read.

#[test]
fn an_allowed_read_is_handed_through_and_recorded_after_its_answer() {
    let keeper = Keeper::with(CONFIG);
    let body = success(&json!({"id": "ssl", "value": "strict"}));
    keeper.expect(get(ssl()).answers(200, body.clone()));
    let answered = keeper.call_and_crash(by(&keeper, "reader", "GET /zones/COM/settings/ssl"));
    assert!(answered.is_relayed);
    assert_eq!(
        (answered.status, answered.text.as_str()),
        (200, body.as_str())
    );
    let [After::Event(event), After::KeyUse(..)] = answered.after.as_slice() else {
        panic!("{:?}", answered.after);
    };
    assert_eq!(
        (event.status, event.outcome),
        (200, Some(Outcome::Confirmed))
    );
    assert_eq!(event.cf_ray.as_deref(), Some("8f00ba4-AMS"));
    assert_eq!(
        (event.upstream_calls, event.grant.as_deref()),
        (1, Some("read"))
    );
    assert!(keeper.audit().is_empty());
    keeper.write_down(&answered.after);
    assert_eq!(
        keeper.last_entry().sentence,
        "reader read setting ssl of example.com; allowed by read."
    );
}

#[test]
fn e9_head_is_asked_as_get() {
    let keeper = Keeper::with(CONFIG);
    keeper.expect(get(ssl()).answers(200, success(&json!({}))));
    let answered = keeper.call(by(&keeper, "reader", "HEAD /zones/COM/settings/ssl"));
    assert_eq!(answered.status, 200);
    assert_eq!(keeper.last_entry().method, "HEAD");
}

#[test]
fn a_read_is_tried_three_times_and_no_more() {
    let keeper = Keeper::with(CONFIG);
    let request = || by(&keeper, "reader", "GET /zones/COM/settings/ssl");
    keeper.expect(get(ssl()).answers(502, "<html>"));
    keeper.expect(get(ssl()).fails(Fault::Network));
    keeper.expect(get(ssl()).answers(200, success(&json!({}))));
    assert_eq!(keeper.call(request()).status, 200);
    assert_eq!(keeper.world.pauses(), [100, 200]);
    assert_eq!(keeper.last_entry().upstream_calls, Some(3));

    for _ in 0..3 {
        keeper.expect(get(ssl()).fails(Fault::Network));
    }
    let answered = keeper.call(request());
    assert_eq!(answered.refused(), (502, 20070));
    assert_eq!(answered.message(), "The connection to Cloudflare failed.");
    assert_eq!(entry_words(&keeper), words("allow", "unknown", 502));

    keeper.expect(get(ssl()).fails(Fault::Deadline));
    let answered = keeper.call(request());
    assert_eq!(answered.message(), "Cloudflare did not answer within 30 s.");
}

#[test]
fn a_read_waits_for_its_row_where_reads_are_recorded_first() {
    let keeper = Keeper::with(&format!("[audit]\nreads = \"sync\"\n{CONFIG}"));
    let database = keeper.database.clone();
    keeper.expect(
        get(ssl())
            .answers(200, success(&json!({})))
            .meanwhile(move || {
                assert_eq!(database.sqlite().count("audit_intents"), 1);
            }),
    );
    let request = || by(&keeper, "reader", "GET /zones/COM/settings/ssl");
    assert_eq!(keeper.call(request()).status, 200);
    assert_eq!(entry_words(&keeper), words("allow", "confirmed", 200));
    keeper
        .database
        .fail("INSERT INTO audit_intents", Storage::FailsBefore);
    assert_eq!(keeper.call(request()).refused(), (503, 20080));
}

#[test]
fn a_deprecated_operation_passes_and_says_so() {
    let operation = operations()
        .find(|operation| {
            operation.deprecation() != Deprecation::No
                && operation.method() == Method::Get
                && operation.template().starts_with("/zones/{zone_id}/")
                && operation.template().matches('{').count() == 1
        })
        .unwrap();
    let keeper = Keeper::with(&format!(
        "[[principals]]\nname = \"old\"\nkind = \"key\"\n[[grants]]\nname = \"old\"\nprincipals = [\"old\"]\n\
         effect = \"allow\"\nzones = [\"example.com\"]\noperations = [\"{}\"]\n",
        operation.name()
    ));
    let path = operation.template().replace("{zone_id}", COM);
    keeper.expect(get(&path).answers(200, success(&json!([]))));
    let answered = keeper.call(by(&keeper, "old", &format!("GET {path}")));
    let expected = match operation.deprecation() {
        Deprecation::Ends(day) => format!("ends {day}"),
        _ => "true".to_owned(),
    };
    assert_eq!(
        (answered.status, answered.deprecated),
        (200, Some(expected))
    );
    assert!(keeper.last_entry().deprecated);
}

// Step 5: an allowed write.

/// A create by `bot` that goes as `expected` says.
fn create(keeper: &Keeper, expected: impl FnOnce(Expected) -> Expected) -> Answered {
    keeper.expect(expected(post(records()).with(challenge())));
    keeper.call(by(keeper, "bot", "POST /zones/COM/dns_records").json(&challenge()))
}

/// A create by `bot` that gets no answer; reading back finds `records`.
fn create_unanswered(keeper: &Keeper, fault: Fault, records_found: &[Value]) -> Answered {
    keeper.expect(post(records()).with(challenge()).fails(fault));
    let target = format!(
        "{}?type=TXT&name.exact=_acme-challenge.example.com&per_page=100",
        records()
    );
    keeper.expect(get(target).answers(200, list(records_found, records_found.len())));
    keeper.call(by(keeper, "bot", "POST /zones/COM/dns_records").json(&challenge()))
}

#[test]
fn the_intent_of_a_write_is_stored_before_it_is_sent_and_its_outcome_after() {
    let keeper = Keeper::with(CONFIG);
    let seen = Rc::clone(&keeper);
    let answered = create(&keeper, |call| {
        call.answers(200, success(&json!({"id": RECORD})))
            .meanwhile(move || {
                let entry = seen.last_entry();
                assert_eq!(
                    (entry.outcome.as_deref(), entry.status),
                    (Some("pending"), None)
                );
                assert_eq!(entry.grant.as_deref(), Some("acme-challenges"));
                assert_eq!(seen.database.sqlite().count("audit_outcomes"), 0);
            })
    });
    assert_eq!((answered.status, answered.is_relayed), (200, true));
    assert!(matches!(&answered.after[0], After::Outcome(row) if row.outcome == Outcome::Confirmed));
    let entry = keeper.last_entry();
    assert_eq!(entry_words(&keeper), words("allow", "confirmed", 200));
    assert_eq!(entry.resources, [format!("zone:{COM}")]);
    assert_eq!(entry.cf_ray.as_deref(), Some("8f00ba4-AMS"));
    assert_eq!(
        entry.sentence,
        "bot created TXT record _acme-challenge.example.com in example.com; allowed by acme-challenges."
    );
}

#[test]
fn j4_what_was_judged_is_what_is_sent() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let sent = json!({"type": "TXT", "name": "_acme-challenge.example.com", "content": "v", "ttl": 60, "comment": ""});
    keeper.expect(post(records()).with(sent).answers(200, success(&json!({}))));
    let body = json!({
        "type": "TXT", "name": "_ACME-Challenge.example.com.", "content": "v", "ttl": 60,
        "comment": key, "api_token": key, "Name": "www.example.com", "zone_name": "example.net",
    });
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    assert_eq!(keeper.call(request.json(&body)).status, 200);
}

#[test]
fn f2_a_write_whose_intent_cannot_be_stored_is_not_sent() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let keeper = Keeper::with(CONFIG);
        keeper.database.fail("INSERT INTO audit_intents", storage);
        let request = by(&keeper, "bot", "POST /zones/COM/dns_records").json(&challenge());
        let answered = keeper.call(request);
        assert_eq!(answered.refused(), (503, 20080), "{storage:?}");
        assert_eq!(keeper.world.calls(), 0);
        assert!(keeper.world.logs().contains("Network connection lost"));
    }
}

#[test]
fn f2_whichever_batch_of_a_write_fails_nothing_is_sent_without_an_intent() {
    // Control, configuration, key, intent; then the outcome, which the scheduler makes up for.
    for (n, storage) in (1..=5).flat_map(|n| [(n, Storage::FailsBefore), (n, Storage::FailsAfter)])
    {
        let keeper = Keeper::with(CONFIG);
        let request = by(&keeper, "bot", "POST /zones/COM/dns_records").json(&challenge());
        keeper.database.fail_nth(n, storage);
        if n == 5 {
            let call = post(records()).with(challenge());
            keeper.expect(call.answers(200, success(&json!({}))));
        }
        let answered = keeper.call(request);
        let expected = if n == 5 { 200 } else { 503 };
        assert_eq!(answered.status, expected, "batch {n} {storage:?}");
        let is_sent = keeper.world.calls() > 0;
        let intents = keeper.database.sqlite().count("audit_intents");
        assert!(!is_sent || intents == 1, "batch {n} {storage:?}");
    }
}

#[test]
fn a_number_that_is_taken_is_replaced() {
    let keeper = Keeper::with(CONFIG);
    let other = keeper.neighbour();
    let answered = |keeper: &Rc<Keeper>| {
        // Two isolates whose dice fall alike.
        create(keeper, |call| call.answers(200, success(&json!({})))).status
    };
    assert_eq!((answered(&keeper), answered(&other)), (200, 200));
    assert_eq!(keeper.database.sqlite().count("audit_intents"), 2);
}

#[test]
fn f1_a_write_without_an_answer_is_unknown_and_never_sent_again() {
    for fault in [Fault::Network, Fault::Deadline] {
        let keeper = Keeper::with(CONFIG);
        let answered = create_unanswered(&keeper, fault, &[]);
        assert_eq!(answered.refused(), (502, 20070));
        let id = keeper.last_entry().id;
        let why = match fault {
            Fault::Network => "The connection to Cloudflare failed.",
            Fault::Deadline => "Cloudflare did not answer within 30 s.",
        };
        assert_eq!(
            answered.message(),
            format!(
                "Could not confirm whether bot's call to create TXT record _acme-challenge.example.com in example.com happened: {why} Audit entry {id} will say once it is settled."
            )
        );
        assert_eq!(keeper.world.calls(), 2);
        assert_eq!(entry_words(&keeper), words("allow", "unknown", 502));
    }
}

#[test]
fn f1_a_write_without_an_answer_that_reading_back_finds_is_answered_with_what_it_made() {
    let keeper = Keeper::with(CONFIG);
    let record = json!({
        "id": RECORD,
        "type": "TXT",
        "content": challenge()["content"],
        "created_on": NOW,
    });
    let answered = create_unanswered(&keeper, Fault::Network, std::slice::from_ref(&record));
    assert_eq!(answered.status, 200);
    let body: Value = serde_json::from_str(&answered.text).unwrap();
    assert_eq!((&body["success"], &body["result"]), (&json!(true), &record));
    assert_eq!(entry_words(&keeper), words("allow", "settled", 200));
    assert_eq!(
        keeper.last_entry().sentence,
        "bot asked to create TXT record _acme-challenge.example.com in example.com; allowed by acme-challenges; Cloudflare did not confirm it, and reading back showed that it happened."
    );
}

#[test]
fn f1_every_answer_to_a_write_is_classified_in_one_place() {
    for (status, body, outcome) in [
        (200, success(&json!({})), "confirmed"),
        (400, failure(9005, "bad content"), "refused"),
        (403, failure(10000, "Authentication error"), "refused"),
        (404, "<html>".to_owned(), "refused"),
        (408, String::new(), "unknown"),
        (429, failure(971, "slow down"), "throttled"),
        (500, "<html>".to_owned(), "unknown"),
        (503, failure(0, ""), "unknown"),
        (522, String::new(), "unknown"),
    ] {
        let keeper = Keeper::with(CONFIG);
        let answered = create(&keeper, |call| call.answers(status, body.clone()));
        assert!(answered.is_relayed, "{answered:?}");
        assert_eq!((answered.status, answered.text), (status, body));
        assert_eq!(entry_words(&keeper), words("allow", outcome, status));
        assert_eq!(keeper.world.calls(), 1);
    }
    let keeper = Keeper::with(CONFIG);
    create(&keeper, |call| {
        call.answers(400, failure(9005, "bad content"))
    });
    assert_eq!(
        keeper.last_entry().sentence,
        "bot asked to create TXT record _acme-challenge.example.com in example.com; allowed by acme-challenges, refused by Cloudflare with 400: 9005 bad content."
    );
}

#[test]
fn f1_a_429_is_passed_on_at_once_and_recorded_as_throttled() {
    let keeper = Keeper::with(CONFIG);
    let body = failure(971, "slow down");
    keeper.expect(get(ssl()).answers(429, body.clone()).retry_after(287));
    let answered = keeper.call(by(&keeper, "reader", "GET /zones/COM/settings/ssl"));
    assert_eq!((answered.status, answered.text), (429, body.clone()));
    assert_eq!(entry_words(&keeper), words("allow", "throttled", 429));
    // A list that is filtered here hands on what it was told to wait.
    let target = format!("{}?type=TXT&page=1&per_page=5000", records());
    keeper.expect(get(target).answers(429, body.clone()).retry_after(287));
    let answered = keeper.call(by(&keeper, "bot", "GET /zones/COM/dns_records"));
    assert_eq!(
        (answered.status, answered.retry_after_secs),
        (429, Some(287))
    );
    assert_eq!(entry_words(&keeper), words("allow", "throttled", 429));
}

#[test]
fn u2_a_redirect_is_never_followed() {
    let keeper = Keeper::with(CONFIG);
    for status in [301, 302, 303, 307, 308] {
        keeper.expect(get(ssl()).answers(status, ""));
        let answered = keeper.call(by(&keeper, "reader", "GET /zones/COM/settings/ssl"));
        assert_eq!(answered.refused(), (502, 20071));
        let answered = create(&keeper, |call| call.answers(status, ""));
        assert_eq!(answered.refused(), (502, 20071));
        assert_eq!(entry_words(&keeper), words("allow", "unknown", 502));
    }
}

#[test]
fn u1_an_error_that_holds_our_credential_is_withheld() {
    let hex = TOKEN
        .bytes()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let base64 = "dXBzdHJlYW0tdG9rZW4tMDEyMzQ1Njc4OS1hYmNkZWZnaGlqa2xtbg==";
    for shown in [TOKEN, &hex, &hex.to_uppercase(), base64] {
        let keeper = Keeper::with(CONFIG);
        let body = failure(10000, &format!("no such token {shown}"));
        let answered = create(&keeper, |call| call.answers(400, body.clone()));
        assert_eq!(answered.refused(), (502, 20072), "{shown}");
        assert_eq!(
            answered.message(),
            "Cloudflare answered 400 with a body that held a credential of this gateway, so it is withheld."
        );
        assert_eq!(entry_words(&keeper), words("allow", "refused", 502));
        assert!(keeper.world.logs().contains("ALARM"));
        let seen = keeper.world.logs() + &keeper.database.sqlite().dump();
        assert!(!seen.contains(shown), "{shown}");
        // Likewise where the answer is read here.
        let target = format!("{}?type=TXT&page=1&per_page=5000", records());
        keeper.expect(get(target).answers(400, body));
        let answered = keeper.call(by(&keeper, "bot", "GET /zones/COM/dns_records"));
        assert_eq!(answered.refused(), (502, 20072));
    }
}

#[test]
fn u3_an_error_that_is_too_large_or_cut_is_withheld() {
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    let keeper = Keeper::with(CONFIG);
    let answered = create(&keeper, |call| call.answers(400, large.clone()));
    assert_eq!(answered.refused(), (502, 20070));
    assert_eq!(
        answered.message(),
        "Cloudflare answered 400 with a body that broke off or is too large to be checked, so it is withheld."
    );
    // The status alone says that it did not happen.
    assert_eq!(entry_words(&keeper), words("allow", "refused", 502));
    let answered = create(&keeper, |call| call.answers(500, "").cut());
    assert_eq!(answered.refused(), (502, 20070));
    assert_eq!(entry_words(&keeper), words("allow", "unknown", 502));
    let target = format!("{}?type=TXT&page=1&per_page=5000", records());
    keeper.expect(get(target).answers(400, large));
    let answered = keeper.call(by(&keeper, "bot", "GET /zones/COM/dns_records"));
    assert_eq!(answered.refused(), (502, 20070));
}

// What is decided again just before sending.

/// A create by `bot` during which `change` happens between intent and sending.
fn change_while_waiting(change: impl FnOnce(&Keeper, &str) + 'static) -> (Rc<Keeper>, Answered) {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    let (seen, held) = (Rc::clone(&keeper), key.clone());
    keeper.database.after("INSERT INTO audit_intents", move || {
        seen.advance_secs(5);
        change(&seen, &held);
    });
    let request = ask(&format!("POST /client/v4{}", records())).key(&key);
    let answered = keeper.call(request.json(&challenge()));
    assert_eq!(keeper.world.calls(), 0);
    (keeper, answered)
}

#[test]
fn a_call_whose_key_was_revoked_while_it_waited_is_not_sent() {
    let (keeper, answered) = change_while_waiting(|keeper, key| keeper.revoke("bot", key));
    assert_eq!(answered.refused(), (401, 20011));
    assert_eq!(entry_words(&keeper), words("allow", "refused", 401));
    assert_eq!(keeper.last_entry().upstream_calls, Some(0));
}

#[test]
fn a_call_whose_grant_went_while_it_waited_is_not_sent() {
    let (keeper, answered) = change_while_waiting(|keeper, _| {
        keeper.apply(&CONFIG.replace("_acme-challenge.**", "other.example.com"));
    });
    assert_eq!(answered.refused(), (403, 20020));
    assert_eq!(
        answered.message(),
        "bot may no longer create TXT record _acme-challenge.example.com in example.com: the configuration changed while the call waited, so it was not sent."
    );
    assert_eq!(entry_words(&keeper), words("allow", "refused", 403));
    assert!(
        !keeper.last_entry().sentence.contains("by Cloudflare"),
        "{}",
        keeper.last_entry().sentence
    );
}

#[test]
fn a_call_that_can_no_longer_be_decided_is_not_sent() {
    let (keeper, answered) = change_while_waiting(|keeper, _| keeper.database.set_down(true));
    assert_eq!(answered.refused(), (503, 20080));
    keeper.database.set_down(false);
    assert_eq!(keeper.last_entry().outcome.as_deref(), Some("pending"));
}

// Five seconds.

/// An isolate that has served a call, then `change`; the status of a call `ms` later.
fn status_after(ms: i64, change: impl FnOnce(&Keeper, &str)) -> u16 {
    let keeper = Keeper::with(CONFIG);
    let isolate = keeper.neighbour();
    let key = keeper.mint("reader");
    let request = || ask(&format!("GET /client/v4{}", ssl())).key(&key);
    isolate.expect(get(ssl()).answers(200, success(&json!({}))));
    assert_eq!(isolate.call(request()).status, 200);
    change(&keeper, &key);
    isolate.world.clock.advance_ms(ms);
    let batches = isolate.database.batches();
    if ms < 5000 {
        isolate.expect(get(ssl()).answers(200, success(&json!({}))));
    }
    let answered = isolate.call_and_crash(request());
    if ms < 5000 {
        assert_eq!(isolate.database.batches(), batches, "served from memory");
    }
    answered.status
}

#[test]
fn a_revocation_a_change_of_grants_and_a_loss_of_the_store_hold_within_five_seconds() {
    let revoke = |keeper: &Keeper, key: &str| keeper.revoke("reader", key);
    let change =
        |keeper: &Keeper, _: &str| keeper.apply(&CONFIG.replace("\"Zone Settings Read\", ", ""));
    let remove = |keeper: &Keeper, _: &str| {
        keeper.apply("[[principals]]\nname = \"other\"\nkind = \"key\"\n");
    };
    let lose = |keeper: &Keeper, _: &str| keeper.database.set_down(true);
    assert_eq!(
        [status_after(4999, revoke), status_after(5000, revoke)],
        [200, 401]
    );
    assert_eq!(
        [status_after(4999, change), status_after(5000, change)],
        [200, 403]
    );
    assert_eq!(
        [status_after(4999, remove), status_after(5000, remove)],
        [200, 401]
    );
    assert_eq!(
        [status_after(4999, lose), status_after(5000, lose)],
        [200, 503]
    );
}

#[test]
fn a_clock_that_jumps_back_does_not_lengthen_what_may_be_believed() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("reader");
    let request = || ask(&format!("GET /client/v4{}", ssl())).key(&key);
    keeper.expect(get(ssl()).answers(200, success(&json!({}))));
    assert_eq!(keeper.call(request()).status, 200);
    keeper.revoke("reader", &key);
    keeper.advance_secs(-600);
    assert_ne!(keeper.call(request()).status, 200);
}

#[test]
fn a_key_minted_a_moment_ago_is_accepted_at_once() {
    let keeper = Keeper::with(CONFIG);
    let isolate = keeper.neighbour();
    for _ in 0..2 {
        let key = keeper.mint("reader");
        isolate.expect(get(ssl()).answers(200, success(&json!({}))));
        let request = ask(&format!("GET /client/v4{}", ssl())).key(&key);
        assert_eq!(isolate.call(request).status, 200);
    }
}

#[test]
fn a_background_refresh_is_due_once_in_a_while() {
    let keeper = Keeper::with(CONFIG);
    let at = |ms: i64| NOW.parse::<Timestamp>().unwrap().plus_ms(ms);
    assert!(!keeper.view.refresh_due(at(0)));
    block_on(keeper.view.current(&keeper.store, at(0))).unwrap();
    let due: Vec<bool> = [1999, 2000, 2001, 2999, 3000]
        .map(|ms| keeper.view.refresh_due(at(ms)))
        .to_vec();
    assert_eq!(due, [false, true, false, false, true]);
    // A refresh that fails leaves what is held as old as it is.
    keeper.database.set_down(true);
    assert!(block_on(keeper.view.refresh(&keeper.store, at(3000))).is_err());
    assert!(keeper.view.fresh(at(4999)).is_some());
    assert!(keeper.view.fresh(at(5000)).is_none());
}

// Lists and records that are shown in part.

fn record(name: &str, kind: &str) -> Value {
    json!({"id": RECORD, "name": name, "type": kind, "content": "v"})
}

#[test]
fn a_list_shows_the_records_of_the_grant_with_right_counts_over_several_pages() {
    let keeper = Keeper::with(CONFIG);
    // Every tenth of 5,003 records is shown: 501 of them.
    let all: Vec<Value> = (0..5003)
        .map(|n| {
            let label = if n % 10 == 0 {
                "_acme-challenge"
            } else {
                "www"
            };
            record(&format!("{label}.n{n}.example.com"), "TXT")
        })
        .collect();
    let page = |n: usize| format!("{}?order=name&type=TXT&page={n}&per_page=5000", records());
    keeper.expect(get(page(1)).answers(200, list(&all[..5000], 5003)));
    keeper.expect(get(page(2)).answers(200, list(&all[5000..], 5003)));
    let line = "GET /zones/COM/dns_records?order=name&page=5&per_page=110";
    let answered = keeper.call(by(&keeper, "bot", line)).json();
    assert_eq!(
        answered["result_info"],
        json!({"page": 5, "per_page": 110, "count": 61, "total_count": 501, "total_pages": 5})
    );
    assert_eq!(
        answered["result"][0]["name"],
        "_acme-challenge.n4400.example.com"
    );
    assert_eq!(
        answered["result"][60]["name"],
        "_acme-challenge.n5000.example.com"
    );
    assert_eq!(keeper.last_entry().upstream_calls, Some(2));
}

#[test]
fn conditions_are_pushed_upstream_where_they_only_narrow() {
    let keeper = Keeper::with(CONFIG);
    for (principal, query, sent) in [
        ("one", "", "name.exact=home.example.com&"),
        ("one", "?name=x", "name=x&"),
        ("one", "?match=any&type=A", "match=any&type=A&"),
        ("bot", "", "type=TXT&"),
        ("bot", "?type=A", "type=A&"),
    ] {
        let target = format!("{}?{sent}page=1&per_page=5000", records());
        keeper.expect(get(target).answers(200, list(&[record("www.example.com", "A")], 1)));
        let line = format!("GET /zones/COM/dns_records{query}");
        let answered = keeper.call(by(&keeper, principal, &line)).json();
        assert_eq!(answered["result"], json!([]), "{query}");
        assert_eq!(answered["result_info"]["total_count"], 0);
    }
}

#[test]
fn what_cannot_be_judged_is_not_shown() {
    let keeper = Keeper::with(CONFIG);
    let odd = [
        json!({"name": "_acme-challenge.example.com"}),
        json!({"name": 5, "type": "TXT"}),
        record("_acme-challenge.example.com", "A"),
        record("*.example.com", "TXT"),
        record("_ACME-challenge.example.com", "TXT"),
    ];
    let target = format!("{}?type=TXT&page=1&per_page=5000", records());
    keeper.expect(get(&target).answers(200, list(&odd, 5)));
    let request = || by(&keeper, "bot", "GET /zones/COM/dns_records");
    let answered = keeper.call(request()).json();
    assert_eq!(
        answered["result"],
        json!([record("_ACME-challenge.example.com", "TXT")])
    );
    for body in [
        "<html>",
        r#"{"success":true,"result":{}}"#,
        r#"{"success":false,"result":[]}"#,
    ] {
        keeper.expect(get(&target).answers(200, body));
        assert_eq!(keeper.call(request()).refused(), (502, 20070), "{body}");
    }
}

#[test]
fn a_record_is_shown_if_the_grant_covers_it() {
    let keeper = Keeper::with(CONFIG);
    let path = format!("{}/{RECORD}", records());
    let request = || by(&keeper, "bot", "GET /zones/COM/dns_records/RECORD");
    let seen = record("_acme-challenge.example.com", "TXT");
    keeper.expect(get(&path).answers(200, success(&seen)));
    assert_eq!(keeper.call(request()).result(), seen);

    keeper.expect(get(&path).answers(200, success(&record("www.example.com", "A"))));
    let answered = keeper.call(request());
    assert_eq!(answered.refused(), (403, 20020));
    assert_eq!(
        answered.message(),
        format!(
            "bot may not read dns record {RECORD} of example.com: its grants cover other records of example.com only; a grant of DNS Read for that record is needed."
        )
    );
    assert_eq!(keeper.last_entry().decision, "deny");
    // Nobody learns whether a record is there that they may not see.
    keeper.expect(get(&path).answers(404, failure(81044, "Record does not exist.")));
    assert_eq!(keeper.call(request()).text, answered.text);
}

#[test]
fn the_name_of_a_zone_reached_by_star_is_asked_once() {
    let keeper = Keeper::with(&CONFIG.replace(
        "zones = [\"example.com\"]\ndns = { names = [\"_acme",
        "zones = [\"*\"]\ndns = { names = [\"_acme",
    ));
    let unknown = "0000000000000000000000000000beef";
    let name = || get(format!("/zones/{unknown}"));
    let request = || {
        let line = format!("POST /zones/{unknown}/dns_records");
        by(&keeper, "bot", &line)
            .json(&json!({"type": "TXT", "name": "_acme-challenge", "content": "v"}))
    };
    // Without the name nothing can be judged, so nothing is sent.
    keeper.expect(name().answers(403, failure(9109, "no")));
    assert_eq!(keeper.call(request()).refused(), (502, 20070));
    keeper.expect(name().answers(
        200,
        success(&json!({"id": unknown, "name": "star.example"})),
    ));
    for _ in 0..2 {
        let sent = json!({"type": "TXT", "name": "_acme-challenge.star.example", "content": "v"});
        let path = format!("/zones/{unknown}/dns_records");
        keeper.expect(post(path).with(sent).answers(200, success(&json!({}))));
        assert_eq!(keeper.call(request()).status, 200);
    }
}

#[test]
fn zones_are_listed_as_far_as_the_caller_may_see_them() {
    let keeper = Keeper::with(CONFIG);
    let zone = |id: &str, name: &str| json!({"id": id, "name": name});
    let (com, net) = (zone(COM, "example.com"), zone(NET, "example.net"));
    let org = zone(ORG, "example.org");
    // Both spellings; a single zone is asked for by name.
    for path in ["/zones", "/zones/"] {
        keeper.expect(
            get("/zones?name=example.com&page=1&per_page=50")
                .answers(200, list(std::slice::from_ref(&com), 1)),
        );
        let answered = keeper
            .call(by(&keeper, "bot", &format!("GET {path}")))
            .json();
        assert_eq!(answered["result"], json!([com]));
        assert_eq!(
            answered["result_info"],
            json!({"page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1})
        );
    }
    let all = [org.clone(), com.clone(), net.clone()];
    keeper.expect(get("/zones?status=active&page=1&per_page=50").answers(200, list(&all, 3)));
    let answered = keeper
        .call(by(
            &keeper,
            "reader",
            "GET /zones?status=active&per_page=1&page=2",
        ))
        .json();
    assert_eq!(answered["result"], json!([net]));
    assert_eq!(answered["result_info"]["total_count"], 2);
    keeper.expect(get("/zones?page=1&per_page=50").answers(200, list(&all, 3)));
    let answered = keeper.call(by(&keeper, "admin", "GET /zones")).json();
    assert_eq!(answered["result_info"]["total_count"], 3);
    // Whoever sees none needs no call.
    let answered = keeper.call(by(&keeper, "nobody", "GET /zones")).json();
    assert_eq!(answered["result"], json!([]));
    // One zone is seen by whoever is allowed anything in it.
    let path = format!("/zones/{COM}");
    keeper.expect(get(&path).answers(200, success(&com)));
    assert_eq!(
        keeper
            .call(by(&keeper, "purger", "GET /zones/COM"))
            .result(),
        com
    );
    check_refused(
        &keeper,
        by(&keeper, "purger", "GET /zones/NET"),
        (403, 20020),
    );
}

#[test]
fn accounts_and_memberships_are_those_the_caller_may_see() {
    let keeper = Keeper::with(CONFIG);
    let accounts = [
        json!({"id": OTHER_ACCOUNT, "name": "Other"}),
        json!({"id": ACME, "name": "Acme"}),
    ];
    let upstream = || get("/accounts?page=1&per_page=50").answers(200, list(&accounts, 2));
    keeper.expect(upstream());
    let answered = keeper.call(by(&keeper, "admin", "GET /accounts/")).json();
    assert_eq!(answered["result"], json!([accounts[1]]));
    keeper.expect(upstream());
    let answered = keeper.call(by(&keeper, "admin", "GET /memberships")).json();
    assert_eq!(answered["result"][0]["account"], accounts[1]);
    assert_eq!(answered["result_info"]["total_count"], 1);
    // Without any, Cloudflare is not asked.
    let answered = keeper
        .call(by(&keeper, "nobody", "GET /memberships"))
        .json();
    assert_eq!(answered["result"], json!([]));
}

#[test]
fn who_am_i_is_answered_about_the_caller_without_a_call() {
    let keeper = Keeper::with(CONFIG);
    let end = keeper.now().plus_ms(86_400_000);
    let key = keeper.mint_until("nobody", Some(end));
    for path in [
        "/user/tokens/verify".to_owned(),
        format!("/accounts/{ACME}/tokens/verify"),
    ] {
        let answered = keeper.call(ask(&format!("GET /client/v4{path}")).key(&key));
        let result = answered.result();
        assert_eq!(result["status"], "active");
        assert_eq!(result["expires_on"], "2026-11-02T12:00:00.000Z");
        assert_eq!(answered.json()["messages"][0]["code"], 10000);
    }
    let user = keeper.call(ask("GET /client/v4/user").key(&key)).result();
    assert_eq!(user["email"], "nobody@zonekeeper.invalid");
    assert_eq!(keeper.world.calls(), 0);
    assert_eq!(keeper.audit().len(), 3);
}

#[test]
fn the_first_use_of_a_key_is_noted_and_then_one_in_ten_minutes() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("nobody");
    let uses = |secs: i64| {
        keeper.advance_secs(secs);
        let answered = keeper.call(ask("GET /client/v4/user").key(&key));
        answered
            .after
            .iter()
            .filter(|after| matches!(after, After::KeyUse(..)))
            .count()
    };
    assert_eq!([uses(0), uses(1), uses(590), uses(9)], [1, 0, 0, 1]);
}

#[test]
fn a_refusal_that_cannot_be_stored_is_kept_for_the_batch() {
    let keeper = Keeper::with(CONFIG);
    let request = by(&keeper, "nobody", "GET /zones/COM/settings/ssl");
    keeper
        .database
        .fail("INSERT INTO audit_events", Storage::FailsBefore);
    let answered = keeper.call_and_crash(request);
    assert_eq!(answered.refused(), (403, 20020));
    assert!(keeper.audit().is_empty());
    keeper.write_down(&answered.after);
    assert_eq!(keeper.last_entry().decision, "deny");
}

#[test]
fn e5_what_is_known_of_the_upstream_token_stands_until_cloudflare_says_otherwise() {
    const ID: &str = "000000000000000000000000000000f1";
    let keeper = Keeper::with(CONFIG);
    let verify = || get("/user/tokens/verify");
    let token = || get(format!("/user/tokens/{ID}"));
    let own = || get(format!("/accounts/{ACME}/tokens/verify"));
    let groups = |name: &str| {
        let policy = json!({"effect": "allow", "permission_groups": [{"name": name}]});
        success(&json!({"policies": [policy]}))
    };
    let warned = |answers: Vec<Expected>| {
        for call in answers {
            keeper.expect(call);
        }
        let snapshot = block_on(keeper.view.refresh(&keeper.store, keeper.now())).unwrap();
        let gateway = Gateway {
            settings: &keeper.settings,
            view: &keeper.view,
            store: &keeper.store,
            world: &keeper.world,
        };
        let warnings = block_on(gateway.credential_warnings(&snapshot, keeper.now()));
        keeper.world.check_script_is_used_up();
        keeper.advance_secs(600);
        !warnings.is_empty()
    };
    let id = success(&json!({"id": ID}));
    let is_shown = || verify().answers(200, &*id);
    let denied = |call: Expected| call.answers(403, failure(9109, "Unauthorized"));
    let mints = |is_warned: bool| {
        let answers = vec![is_shown(), token().answers(200, groups("API Tokens Write"))];
        assert!(warned(answers) == is_warned);
    };
    mints(true);
    // Cloudflare does not say.
    for unsaid in [
        verify().answers(429, failure(971, "wait")),
        verify().fails(Fault::Deadline),
        verify().answers(200, "<html>"),
        verify().answers(200, success(&json!({}))),
    ] {
        assert!(warned(vec![unsaid]));
    }
    for unsaid in [
        token().answers(429, failure(971, "wait")),
        token().answers(200, success(&json!({"policies": null}))),
    ] {
        assert!(warned(vec![is_shown(), unsaid]));
    }
    let other = own().answers(429, failure(971, "wait"));
    assert!(warned(vec![denied(verify()), other]));
    // It says that there is nothing to see, or that all is well.
    assert!(!warned(vec![denied(verify()), denied(own())]));
    mints(true);
    assert!(!warned(vec![is_shown(), denied(token())]));
    mints(true);
    let harmless = token().answers(200, groups("Zone Read"));
    assert!(!warned(vec![is_shown(), harmless]));
}
