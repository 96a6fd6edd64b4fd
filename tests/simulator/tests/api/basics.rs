//! Authentication, envelope, accounts, user, zones, paging, routing.

use crate::support::Sim;
use serde_json::{Value, json};
use simulator::{ACME_ID, EMAIL, GLOBEX_ID, KEY, ZONE_COM_ID, ZONE_NET_ID};

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[test]
fn state_tells_credentials_accounts_and_zones() {
    let state = Sim::start().control("GET", "/state", None).json();
    assert_eq!(state["legacy"], json!({"email": EMAIL, "key": KEY}));
    assert_eq!(state["accounts"][0], json!({"id": ACME_ID, "name": "Acme"}));
    assert_eq!(
        state["accounts"][1],
        json!({"id": GLOBEX_ID, "name": "Globex"})
    );
    let plans: Vec<_> = state["zones"]
        .as_array()
        .unwrap()
        .iter()
        .map(|z| (z["name"].as_str().unwrap(), z["plan"].as_str().unwrap()))
        .collect();
    assert_eq!(
        plans,
        [
            ("example.com", "pro"),
            ("example.net", "free"),
            ("example.org", "enterprise")
        ]
    );
}

#[test]
fn both_forms_of_authentication_work_and_defects_have_their_codes() {
    let sim = Sim::start();
    let get = |headers: &[(&str, &str)]| sim.raw("GET", "/client/v4/zones", headers, b"").unwrap();
    let legacy = get(&[("x-auth-email", EMAIL), ("x-auth-key", KEY)]);
    assert_eq!(legacy.status, 200);
    assert_eq!(get(&[]).error(), (400, 9106));
    assert_eq!(get(&[("x-auth-email", EMAIL)]).error(), (400, 9106));
    let malformed = get(&[("authorization", "Bearer nope")]);
    assert_eq!(malformed.error(), (400, 6003));
    assert_eq!(
        malformed.json()["errors"][0]["error_chain"][0]["code"],
        6111
    );
    let wrong = format!("Bearer {}", "x".repeat(40));
    assert_eq!(get(&[("authorization", &wrong)]).error(), (403, 9109));
    let other = "0".repeat(37);
    assert_eq!(
        get(&[("x-auth-email", EMAIL), ("x-auth-key", &other)]).error(),
        (403, 9103)
    );
}

#[test]
fn every_answer_has_the_headers_of_the_api() {
    let sim = Sim::start();
    let (first, second) = (sim.get("/zones"), sim.get("/zones/abc"));
    for answer in [&first, &second] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(
            answer
                .headers
                .iter()
                .filter(|(k, _)| k == "set-cookie")
                .count(),
            2
        );
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"default\";q=1200;w=300")
        );
    }
    assert_ne!(first.header("cf-ray"), second.header("cf-ray"));
    assert!(
        first
            .header("ratelimit")
            .unwrap()
            .starts_with("\"default\";r=1199;t=")
    );
    assert!(
        second
            .header("ratelimit")
            .unwrap()
            .starts_with("\"default\";r=1198;t=")
    );
}

#[test]
fn what_is_not_modelled_says_so_and_malformed_ids_do_not_route() {
    let sim = Sim::start();
    let answer = sim.get("/zones/abc");
    assert_eq!(answer.error(), (400, 7003));
    assert_eq!(answer.json()["errors"][1]["code"], 7000);
    let answer = sim.call("PATCH", "/accounts/x/y", None);
    assert_eq!(answer.error(), (404, 7003));
    assert_eq!(
        answer.json()["errors"][0]["message"],
        "The simulator does not model PATCH /client/v4/accounts/x/y"
    );
    let other = "0".repeat(32);
    assert_eq!(sim.get(&format!("/zones/{other}")).error(), (403, 9109));
    assert_eq!(
        sim.get(&format!("/zones/{other}/dns_records")).error(),
        (403, 10_000)
    );
}

#[test]
fn accounts_memberships_and_user_are_served() {
    let sim = Sim::start();
    assert_eq!(names(&sim.get("/accounts").result()), ["Acme", "Globex"]);
    assert_eq!(
        names(&sim.get("/accounts?name=globex").result()),
        ["Globex"]
    );
    assert_eq!(sim.get("/accounts?page=2").result(), json!([]));
    assert_eq!(
        sim.get(&format!("/accounts/{ACME_ID}")).result()["name"],
        "Acme"
    );
    assert_eq!(
        sim.get(&format!("/accounts/{}", "0".repeat(32))).error(),
        (403, 9109)
    );
    let memberships = sim.get("/memberships").result();
    assert_eq!(memberships[0]["account"]["id"], ACME_ID);
    assert_eq!(sim.get("/user").result()["email"], EMAIL);
    for path in [
        "/user/tokens/verify".to_owned(),
        format!("/accounts/{ACME_ID}/tokens/verify"),
    ] {
        assert_eq!(sim.get(&path).result()["status"], "active");
    }
}

#[test]
fn zones_are_filtered_ordered_and_paged() {
    let sim = Sim::start();
    let cases = [
        ("", vec!["example.com", "example.net", "example.org"]),
        (
            "?direction=desc",
            vec!["example.org", "example.net", "example.com"],
        ),
        ("?name=example.net", vec!["example.net"]),
        ("?name=ends_with:.org", vec!["example.org"]),
        ("?name=contains:ple.n", vec!["example.net"]),
        ("?name=other.test", vec![]),
        ("?account.name=Globex", vec![]),
        (
            "?account.name=starts_with:acm&name=example.com",
            vec!["example.com"],
        ),
        (
            "?match=any&account.name=Globex&name=example.com",
            vec!["example.com"],
        ),
        ("?status=pending", vec![]),
        (
            "?order=plan.id",
            vec!["example.net", "example.com", "example.org"],
        ),
        ("?page=2", vec![]),
    ];
    for (query, expected) in cases {
        assert_eq!(
            names(&sim.get(&format!("/zones{query}")).result()),
            expected,
            "{query}"
        );
    }
    let id = format!("/zones/?account.id={GLOBEX_ID}");
    assert_eq!(sim.get(&id).result(), json!([]));
    assert_eq!(sim.get("/zones?status=bogus").error(), (400, 6003));
    let info = sim.get("/zones?per_page=1000&page=2").json()["result_info"].clone();
    assert_eq!(
        info,
        json!({"page": 2, "per_page": 50, "count": 0, "total_count": 3, "total_pages": 1})
    );
}

#[test]
fn a_zone_lives_from_creation_to_deletion() {
    let sim = Sim::start();
    let body = json!({"name": "New.Example.", "account": {"id": GLOBEX_ID}});
    let zone = sim.call("POST", "/zones", Some(&body)).result();
    assert_eq!(zone["name"], "new.example");
    assert_eq!(zone["status"], "pending");
    assert_eq!(zone["account"]["name"], "Globex");
    assert_eq!(zone["plan"]["legacy_id"], "free");
    let path = format!("/zones/{}", zone["id"].as_str().unwrap());
    assert_eq!(sim.call("POST", "/zones", Some(&body)).error(), (400, 1061));
    sim.call("PUT", &format!("{path}/activation_check"), None)
        .result();
    assert_eq!(sim.get(&path).result()["status"], "active");
    let paused = sim
        .call("PATCH", &path, Some(&json!({"paused": true})))
        .result();
    assert_eq!(paused["paused"], true);
    let two = json!({"paused": true, "type": "full"});
    assert_eq!(sim.call("PATCH", &path, Some(&two)).error(), (400, 6007));
    let deleted = sim.call("DELETE", &path, None).result();
    assert_eq!(deleted, json!({"id": zone["id"]}));
    assert_eq!(sim.get(&path).error(), (403, 9109));
}

#[test]
fn a_zone_needs_a_registrable_name_and_a_known_account() {
    let sim = Sim::start();
    let cases = [
        (json!({}), (400, 6007)),
        (json!({"name": "nodots"}), (400, 1049)),
        (json!({"name": "a b.test"}), (400, 1049)),
        (json!({"name": "x.test", "type": "odd"}), (400, 6007)),
        (
            json!({"name": "x.test", "account": {"id": "0".repeat(32)}}),
            (403, 10_000),
        ),
        (json!([]), (400, 6007)),
    ];
    for (body, expected) in cases {
        assert_eq!(
            sim.call("POST", "/zones", Some(&body)).error(),
            expected,
            "{body}"
        );
    }
}

#[test]
fn purge_takes_exactly_one_form() {
    let sim = Sim::start();
    let path = format!("/zones/{ZONE_COM_ID}/purge_cache");
    let good = [
        json!({"purge_everything": true}),
        json!({"files": ["https://www.example.com/a?b", {"url": "http://example.com/x", "headers": {"cf-device-type": "mobile"}}]}),
        json!({"tags": ["a"]}),
        json!({"hosts": ["www.example.com"]}),
        json!({"prefixes": ["www.example.com/a"]}),
    ];
    for body in good {
        assert_eq!(
            sim.call("POST", &path, Some(&body)).result()["id"],
            ZONE_COM_ID
        );
        let invalidate = format!("/zones/{ZONE_COM_ID}/invalidate_cache");
        sim.call("POST", &invalidate, Some(&body)).result();
    }
    let many: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    let bad = [
        (json!({}), 1012),
        (json!({"purge_everything": false}), 1012),
        (json!({"tags": ["a"], "hosts": ["example.com"]}), 1012),
        (json!({"tags": "a"}), 1014),
        (json!({"tags": []}), 1014),
        (json!({"tags": many}), 1094),
        (json!({"tags": ["x".repeat(1025)]}), 1016),
        (json!({"hosts": ["www.example.org"]}), 1016),
        (json!({"hosts": ["notexample.com"]}), 1016),
        (json!({"files": ["www.example.com/a"]}), 1016),
        (json!({"files": ["https://example.net/"]}), 1016),
        (json!({"prefixes": ["https://www.example.com/a"]}), 1016),
    ];
    for (body, code) in bad {
        assert_eq!(
            sim.call("POST", &path, Some(&body)).error(),
            (400, code),
            "{body}"
        );
    }
    let environment = format!(
        "/zones/{ZONE_COM_ID}/environments/{}/purge_cache",
        "e".repeat(32)
    );
    let files = json!({"files": ["https://example.com/"]});
    assert_eq!(
        sim.call("POST", &environment, Some(&files)).error(),
        (400, 1136)
    );
    sim.call("POST", &environment, Some(&json!({"tags": ["a"]})))
        .result();
}

#[test]
fn enterprise_may_purge_more_files_and_free_runs_out_of_tokens() {
    let sim = Sim::start();
    let urls: Vec<String> = (0..500)
        .map(|n| format!("https://example.org/{n}"))
        .collect();
    let path = format!("/zones/{}/purge_cache", simulator::ZONE_ORG_ID);
    sim.call("POST", &path, Some(&json!({"files": urls})))
        .result();
    let path = format!("/zones/{ZONE_NET_ID}/purge_cache");
    let body = json!({"purge_everything": true});
    for _ in 0..25 {
        sim.call("POST", &path, Some(&body)).result();
    }
    let refused = sim.call("POST", &path, Some(&body));
    assert_eq!(refused.error(), (429, 1134));
    assert_eq!(refused.header("retry-after"), Some("12"));
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 12})));
    sim.call("POST", &path, Some(&body)).result();
}
