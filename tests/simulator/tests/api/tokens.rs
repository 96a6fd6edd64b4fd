//! Tokens, permission groups, members.

use serde_json::{Value, json};
use simulator::{ACME_ID, GLOBEX_ID, TOKEN};

use crate::support::{Answer, Sim};

fn group(sim: &Sim, name: &str) -> Value {
    let query: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let groups = sim
        .get(&format!("/user/tokens/permission_groups?name={query}"))
        .result();
    let mut groups = groups.as_array().unwrap().iter();
    groups.find(|group| group["name"] == name).unwrap()["id"].clone()
}

fn body(group: &Value) -> Value {
    json!({
        "name": "ci", "expires_on": "2100-01-01T00:00:00Z",
        "policies": [{
            "effect": "allow", "permission_groups": [{"id": group}],
            "resources": {"com.cloudflare.api.account.zone.c0000000000000000000000000000001": "*"},
        }],
    })
}

/// A call with another token.
fn with(sim: &Sim, token: &str, path: &str) -> Answer {
    let header = format!("Bearer {token}");
    sim.raw(
        "GET",
        &format!("/client/v4{path}"),
        &[("authorization", &header)],
        b"",
    )
    .unwrap()
}

#[test]
fn a_token_authenticates_from_creation_until_it_is_rolled_or_deleted() {
    let sim = Sim::start();
    let made = sim
        .call(
            "POST",
            "/user/tokens",
            Some(&body(&group(&sim, "Cache Purge"))),
        )
        .result();
    let first = made["value"].as_str().unwrap();
    assert_eq!(
        made["policies"][0]["permission_groups"][0]["name"],
        "Cache Purge"
    );
    assert_eq!((&made["status"], first.len()), (&json!("active"), 40));
    let path = format!("/user/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(sim.get(&path).result().get("value"), None);
    let verified = with(&sim, first, "/user/tokens/verify").result();
    assert_eq!(
        verified,
        json!({"id": made["id"], "status": "active", "expires_on": "2100-01-01T00:00:00Z"})
    );
    let second = sim
        .call("PUT", &format!("{path}/value"), Some(&json!({})))
        .result();
    assert_eq!(with(&sim, first, "/user").error(), (403, 9109));
    assert_eq!(with(&sim, second.as_str().unwrap(), "/user").status, 200);
    let mut off = body(&group(&sim, "Cache Purge"));
    off["status"] = json!("disabled");
    assert_eq!(
        sim.call("PUT", &path, Some(&off)).result()["status"],
        "disabled"
    );
    assert_eq!(
        with(&sim, second.as_str().unwrap(), "/user").error(),
        (403, 9109)
    );
    sim.call("DELETE", &path, None).result();
    assert_eq!(sim.get(&path).error(), (404, 1003));
    assert_eq!(
        with(&sim, TOKEN, "/user/tokens")
            .result()
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_token_is_not_yet_and_no_longer_valid_outside_its_times() {
    let sim = Sim::start();
    let mut timed = body(&group(&sim, "DNS Read"));
    timed["not_before"] = json!("2090-01-01T00:00:00Z");
    let made = sim.call("POST", "/user/tokens", Some(&timed)).result();
    let value = made["value"].as_str().unwrap();
    assert_eq!(with(&sim, value, "/user").error(), (403, 9109));
    let years = |n: i64| json!({"advance_secs": n * 365 * 86_400});
    sim.control("POST", "/clock", Some(&years(66)));
    assert_eq!(with(&sim, value, "/user").status, 200);
    sim.control("POST", "/clock", Some(&years(10)));
    assert_eq!(with(&sim, value, "/user").error(), (403, 9109));
    let path = format!("/user/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(sim.get(&path).result()["status"], "expired");
}

#[test]
fn a_bad_token_is_refused() {
    let sim = Sim::start();
    let id = group(&sim, "DNS Write");
    let change = |member: &str, value: Value| {
        let mut body = body(&id);
        body[member] = value;
        body
    };
    let policy = |member: &str, value: Value| {
        let mut body = body(&id);
        body["policies"][0][member] = value;
        body
    };
    for body in [
        change("name", json!("")),
        change("policies", json!([])),
        change("expires_on", json!("tomorrow")),
        change("status", json!("gone")),
        change("condition", json!({"request_ip": {"in": ["nowhere"]}})),
        change("condition", json!({"request_ip": {"from": []}})),
        policy("effect", json!("maybe")),
        policy("permission_groups", json!([])),
        policy("permission_groups", json!([{"id": "0".repeat(32)}])),
        policy("resources", json!({})),
        policy(
            "resources",
            json!({"com.cloudflare.api.account.zone.example.com": "*"}),
        ),
        policy("resources", json!({"com.cloudflare.api.account.*": "all"})),
    ] {
        assert_eq!(
            sim.call("POST", "/user/tokens", Some(&body)).error(),
            (400, 1001),
            "{body}"
        );
    }
    let good = change(
        "condition",
        json!({"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["2001:db8::1"]}}),
    );
    sim.call("POST", "/user/tokens", Some(&good)).result();
    for _ in 3..50 {
        sim.call("POST", "/user/tokens", Some(&body(&id))).result();
    }
    assert_eq!(
        sim.call("POST", "/user/tokens", Some(&body(&id))).error(),
        (400, 1001)
    );
}

#[test]
fn an_accounts_tokens_are_its_own() {
    let sim = Sim::start();
    let path = format!("/accounts/{ACME_ID}/tokens");
    let groups = sim.get(&format!("{path}/permission_groups")).result();
    assert!(
        groups
            .as_array()
            .unwrap()
            .iter()
            .all(|g| g["scopes"][0] != "com.cloudflare.api.user")
    );
    let made = sim
        .call("POST", &path, Some(&body(&groups[0]["id"])))
        .result();
    let id = made["id"].as_str().unwrap();
    assert_eq!(sim.get(&path).result().as_array().unwrap().len(), 1);
    assert_eq!(sim.get(&format!("/user/tokens/{id}")).error(), (404, 1003));
    assert_eq!(
        sim.get(&format!("/accounts/{GLOBEX_ID}/tokens/{id}"))
            .error(),
        (404, 1003)
    );
    let verified = with(
        &sim,
        made["value"].as_str().unwrap(),
        &format!("{path}/verify"),
    );
    assert_eq!(verified.result()["id"], *id);
    let user_only = group(&sim, "API Tokens Write");
    assert_eq!(
        sim.call("POST", &path, Some(&body(&user_only))).error(),
        (400, 1001)
    );
    let scoped = sim
        .get("/user/tokens/permission_groups?scope=com.cloudflare.api.user")
        .result();
    assert_eq!(scoped.as_array().unwrap().len(), 6);
}

#[test]
fn members_are_listed_by_status() {
    let sim = Sim::start();
    let path = format!("/accounts/{ACME_ID}/members");
    assert_eq!(sim.get(&path).json()["result_info"]["total_count"], 2);
    let pending = sim.get(&format!("{path}?status=pending")).result();
    assert_eq!(pending[0]["user"]["email"], "auditor@acme.test");
    let one = format!("{path}/{}", pending[0]["id"].as_str().unwrap());
    assert_eq!(sim.get(&one).result(), pending[0]);
    assert_eq!(
        sim.get(&format!("{path}/{}", "0".repeat(32))).error(),
        (404, 1003)
    );
    assert_eq!(
        sim.get(&format!("/accounts/{GLOBEX_ID}/members"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
