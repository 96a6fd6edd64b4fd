//! The simulator without a network, and the control that fills a zone.

use crate::support::{Answer, Sim};
use serde_json::{Value, json};
use simulator::{Answered, Lab, Purged, TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};

/// 2026-11-01T12:00:00Z.
const NOW: i64 = 1_793_534_400_000_000;

fn call(lab: &mut Lab, method: &str, path: &str, body: &str) -> Answered {
    call_at(lab, method, path, body, NOW)
}

fn call_at(lab: &mut Lab, method: &str, path: &str, body: &str, now: i64) -> Answered {
    let token = format!("Bearer {TOKEN}");
    let headers = [("authorization", token.as_str())];
    lab.call(
        method,
        &format!("/client/v4{path}"),
        &headers,
        body.as_bytes(),
        now,
    )
}

fn json(answered: &Answered) -> Value {
    serde_json::from_slice(&answered.body).unwrap()
}

/// What does not depend on the clock: the body without instants, the headers without those that
/// a connection adds.
fn timeless(status: u16, headers: &[(String, String)], body: &[u8]) -> (u16, Vec<String>, String) {
    let mut headers: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "connection"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let pieces: Vec<&str> = text
        .split('"')
        .filter(|piece| !(piece.len() == 27 && piece.ends_with('Z')))
        .collect();
    (status, headers, pieces.join("\""))
}

#[test]
fn a_call_gets_the_same_answer_with_and_without_a_network() {
    let sim = Sim::start();
    let mut lab = Lab::new();
    let token = format!("Bearer {TOKEN}");
    let records = format!("/client/v4/zones/{ZONE_NET_ID}/dns_records");
    let good = json!({"type": "A", "name": "lab", "content": "192.0.2.9"}).to_string();
    let wrong = json!({"type": "A", "name": "lab", "content": "192.0.2"}).to_string();
    let cases = [
        ("GET", "/client/v4/zones?per_page=2", token.as_str(), ""),
        ("GET", records.as_str(), &token, ""),
        ("GET", &records, "Bearer nobody", ""),
        ("POST", &records, &token, good.as_str()),
        ("POST", &records, &token, &good),
        ("POST", &records, &token, &wrong),
        ("GET", "/client/v4/nothing", &token, ""),
        ("GET", "/elsewhere", &token, ""),
    ];
    for (method, target, authorization, body) in cases {
        let headers = [("authorization", authorization)];
        let Answer {
            status,
            headers: received,
            body: text,
        } = sim.raw(method, target, &headers, body.as_bytes()).unwrap();
        let alone = lab.call(method, target, &headers, body.as_bytes(), NOW);
        assert_eq!(
            timeless(alone.status, &alone.headers, &alone.body),
            timeless(status, &received, &text),
            "{method} {target}"
        );
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let mut lab = Lab::new();
    let answered = call(&mut lab, "HEAD", "/zones", "");
    assert_eq!((answered.status, answered.body.len()), (200, 0));
    assert_eq!(answered.header("content-type"), Some("application/json"));
}

#[test]
fn every_call_is_on_the_ledger_with_its_instant() {
    let mut lab = Lab::new();
    call(&mut lab, "GET", "/zones?name=a%20b", "");
    lab.call("DELETE", "/client/v4/zones/x", &[], b"body", NOW + 1);
    let ledger = lab.ledger();
    let first = &ledger[0];
    assert_eq!((first.n, first.status), (1, Some(200)));
    assert_eq!((first.method.as_str(), first.time_micros), ("GET", NOW));
    assert_eq!(
        (first.path.as_str(), first.query.as_str()),
        ("/client/v4/zones", "name=a%20b")
    );
    assert_eq!(
        first.headers,
        [("authorization".to_owned(), format!("Bearer {TOKEN}"))]
    );
    assert_eq!(
        (ledger[1].body.as_slice(), ledger[1].status),
        (b"body".as_slice(), Some(400))
    );
    assert_eq!(lab.ledger_after(1), ledger[1..]);
}

#[test]
fn what_no_request_can_carry_reaches_nobody() {
    let mut lab = Lab::new();
    assert_eq!(call(&mut lab, "GET", "/zones?a b", "").status, 400);
    assert_eq!(call(&mut lab, "NO WAY", "/zones", "").status, 400);
    assert_eq!(lab.ledger(), []);
}

#[test]
fn the_rate_limit_can_be_set_and_follows_the_given_time() {
    let mut lab = Lab::new();
    lab.set_limits(2, 60, 300);
    let mut get = |secs: i64| {
        let answered = call_at(&mut lab, "GET", "/user", "", NOW + secs * 1_000_000);
        let wait = answered.header("retry-after").map(ToOwned::to_owned);
        (answered.status, wait)
    };
    assert_eq!(get(0), (200, None));
    assert_eq!(get(1), (200, None));
    assert_eq!(get(2), (429, Some("300".to_owned())));
    assert_eq!(get(301), (429, Some("1".to_owned())));
    assert_eq!(get(302), (200, None));
}

#[test]
fn every_accepted_item_of_a_purge_is_in_the_journal() {
    let mut lab = Lab::new();
    let path = |zone: &str, word: &str| format!("/zones/{zone}/{word}_cache");
    let mut purge =
        |path: String, body: Value| call(&mut lab, "POST", &path, &body.to_string()).status;
    let file = json!({"url": "https://example.org/a", "headers": {"CF-Device-Type": "mobile"}});
    let files = json!({"files": ["https://example.org/a", file]});
    assert_eq!(purge(path(ZONE_ORG_ID, "purge"), files), 200);
    assert_eq!(
        purge(path(ZONE_ORG_ID, "purge"), json!({"hosts": ["other.test"]})),
        400
    );
    assert_eq!(
        purge(path(ZONE_COM_ID, "invalidate"), json!({"tags": ["t", "t"]})),
        200
    );
    assert_eq!(
        purge(
            path(ZONE_COM_ID, "purge"),
            json!({"purge_everything": true})
        ),
        200
    );
    let purged = |zone: &str, form: &'static str, item: Value| Purged {
        zone_id: zone.to_owned(),
        form,
        item: item.to_string(),
    };
    assert_eq!(
        lab.purged(),
        [
            purged(ZONE_ORG_ID, "files", json!("https://example.org/a")),
            purged(ZONE_ORG_ID, "files", file),
            purged(ZONE_COM_ID, "tags", json!("t")),
            purged(ZONE_COM_ID, "tags", json!("t")),
            purged(ZONE_COM_ID, "purge_everything", json!(true)),
        ]
    );
}

#[test]
fn a_filled_zone_lists_what_was_added() {
    let mut lab = Lab::new();
    let before = lab.records(ZONE_ORG_ID).len();
    let total = before + 10_000;
    assert_eq!(lab.fill_zone(ZONE_ORG_ID, 10_000), Some(total));
    assert_eq!(lab.records(ZONE_ORG_ID).len(), total);
    assert_eq!(lab.fill_zone("none", 1), None);
    assert_eq!(lab.ledger(), []);
    let list = format!("/zones/{ZONE_ORG_ID}/dns_records?per_page=5000");
    let answered = json(&call(&mut lab, "GET", &list, ""));
    assert_eq!(answered["result_info"]["total_count"], total);
    // The next id is not one of those that the fill gave.
    let records = format!("/zones/{ZONE_ORG_ID}/dns_records");
    let body = json!({"type": "A", "name": "one-more", "content": "192.0.2.1"}).to_string();
    let made = json(&call(&mut lab, "POST", &records, &body));
    let id = made["result"]["id"].as_str().unwrap();
    let holders = lab
        .records(ZONE_ORG_ID)
        .iter()
        .filter(|r| r.contains(id))
        .count();
    assert_eq!(holders, 1);
}

#[test]
fn the_control_fills_a_zone_like_the_lab() {
    let sim = Sim::start();
    let fill = |zone: &str, body: &Value| {
        let answer = sim.control("POST", &format!("/zones/{zone}/fill"), Some(body));
        (answer.status, answer.json())
    };
    let mut lab = Lab::new();
    let total = lab.fill_zone(ZONE_NET_ID, 50).unwrap();
    assert_eq!(
        fill(ZONE_NET_ID, &json!({"count": 50})),
        (200, json!({"records": total}))
    );
    assert_eq!(fill("none", &json!({"count": 1})).0, 404);
    assert_eq!(fill(ZONE_NET_ID, &json!({"count": 200_001})).0, 400);
    assert_eq!(fill(ZONE_NET_ID, &json!({"number": 1})).0, 400);
    let list = format!("/zones/{ZONE_NET_ID}/dns_records?per_page=5000");
    let listed = sim.get(&list).result();
    let alone = json(&call(&mut lab, "GET", &list, ""));
    assert_eq!(listed, alone["result"]);
}

#[test]
fn issuers_are_there_without_a_network_and_other_controls_are_not() {
    let mut lab = Lab::new();
    let order = br#"{"preset":"github"}"#;
    let signed = lab.call("POST", "/__sim/oidc/ci/sign", &[], order, 7_000_000);
    let signed: Value = serde_json::from_slice(&signed.body).unwrap();
    assert_eq!(signed["claims"]["iat"], 7);
    assert_eq!(
        signed["claims"]["iss"],
        "http://127.0.0.1:8788/__sim/oidc/ci"
    );
    assert_eq!(
        lab.call("GET", "/__sim/oidc/ci/jwks", &[], b"", 0).status,
        200
    );
    let log = lab.call("GET", "/__sim/oidc/ci/log", &[], b"", 0).body;
    assert_eq!(String::from_utf8(log).unwrap().lines().count(), 1);
    assert_eq!(lab.call("GET", "/__sim/state", &[], b"", 0).status, 404);
    assert!(lab.ledger().is_empty());
}
