//! Access, certificates, load balancing, snippets, Logpush.

use serde_json::{Value, json};
use simulator::{ACCESS_AUD, ACME_ID, GLOBEX_ID, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};

use crate::support::{Answer, Sim};

fn acme(path: &str) -> String {
    format!("/accounts/{ACME_ID}{path}")
}

fn id(object: &Value) -> &str {
    object["id"].as_str().unwrap()
}

#[test]
fn access_applications_have_policies_of_their_own_and_shared_ones() {
    let sim = Sim::start();
    let policies = acme("/access/policies");
    let everyone = json!({"name": "staff", "decision": "allow", "include": [{"email_domain": {"domain": "acme.test"}}]});
    let policy = sim.call("POST", &policies, Some(&everyone)).result();
    assert_eq!(
        (policy["id"].as_str().unwrap().len(), &policy["reusable"]),
        (36, &json!(true))
    );
    let apps = acme("/access/apps");
    let app = json!({"name": "dash", "domain": "dash.example.com", "policies": [id(&policy)]});
    let app = sim.call("POST", &apps, Some(&app)).result();
    assert_eq!(
        (&app["aud"], &app["type"]),
        (&json!(ACCESS_AUD), &json!("self_hosted"))
    );
    let one = format!("{apps}/{}", id(&app));
    let changed = json!({"name": "dash2", "domain": "dash.example.com", "aud": "mine"});
    let changed = sim.call("PUT", &one, Some(&changed)).result();
    assert_eq!(
        (&changed["aud"], &changed["name"]),
        (&json!(ACCESS_AUD), &json!("dash2"))
    );
    sim.call("PUT", &one, Some(&json!({"name": "dash", "domain": "dash.example.com", "policies": [{"id": policy["id"]}]}))).result();
    let shared = format!("{policies}/{}", id(&policy));
    assert_eq!(sim.call("DELETE", &shared, None).error(), (409, 12_130));

    let own = sim
        .call("POST", &format!("{one}/policies"), Some(&everyone))
        .result();
    assert_eq!(own["reusable"], false);
    let own_path = format!("{one}/policies/{}", id(&own));
    let denied = json!({"name": "staff", "decision": "deny", "include": [{"everyone": {}}]});
    assert_eq!(
        sim.call("PUT", &own_path, Some(&denied)).result()["decision"],
        "deny"
    );
    assert_eq!(
        sim.get(&format!("{one}/policies"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    sim.call("DELETE", &own_path, None).result();
    assert_eq!(sim.call("DELETE", &own_path, None).error(), (404, 11_021));
    for (path, body) in [
        (&apps, json!({"domain": "dash.example.com"})),
        (&apps, json!({"name": "x", "domain": "dash.other.test"})),
        (
            &apps,
            json!({"name": "x", "type": "odd", "domain": "dash.example.com"}),
        ),
        (
            &apps,
            json!({"name": "x", "domain": "a.example.com", "policies": ["nobody"]}),
        ),
        (
            &policies,
            json!({"name": "x", "decision": "maybe", "include": [{"everyone": {}}]}),
        ),
        (
            &policies,
            json!({"name": "x", "decision": "allow", "include": []}),
        ),
        (
            &policies,
            json!({"name": "x", "decision": "allow", "include": ["everyone"]}),
        ),
        (&acme("/access/groups"), json!({"name": "x"})),
    ] {
        assert_eq!(
            sim.call("POST", path, Some(&body)).error(),
            (400, 12_130),
            "{body}"
        );
    }
    sim.call("DELETE", &one, None).result();
    sim.call("DELETE", &shared, None).result();
    assert_eq!(sim.get(&one).error(), (404, 11_021));
    let group = json!({"name": "g", "include": [{"ip": {"ip": "192.0.2.0/24"}}]});
    let group = sim
        .call("POST", &acme("/access/groups"), Some(&group))
        .result();
    assert_eq!(
        sim.get(&acme(&format!("/access/groups/{}", id(&group))))
            .result(),
        group
    );
    let elsewhere = format!("/accounts/{GLOBEX_ID}/access/groups/{}", id(&group));
    assert_eq!(sim.get(&elsewhere).error(), (404, 11_021));
}

#[test]
fn a_service_token_shows_each_secret_once() {
    let sim = Sim::start();
    let path = acme("/access/service_tokens");
    let made = sim
        .call(
            "POST",
            &path,
            Some(&json!({"name": "ci", "duration": "24h"})),
        )
        .result();
    assert!(made["client_id"].as_str().unwrap().ends_with(".access"));
    assert_eq!(made["client_secret"].as_str().unwrap().len(), 64);
    let one = format!("{path}/{}", id(&made));
    assert_eq!(sim.get(&one).result().get("client_secret"), None);
    let rotated = sim
        .call("POST", &format!("{one}/rotate"), Some(&json!({})))
        .result();
    assert_ne!(rotated["client_secret"], made["client_secret"]);
    assert_eq!(
        (&rotated["client_id"], &rotated["client_secret_version"]),
        (&made["client_id"], &json!(2))
    );
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 3600})));
    let fresh = sim.call("POST", &format!("{one}/refresh"), None).result();
    assert!(fresh["expires_at"].as_str() > made["expires_at"].as_str());
    let renamed = sim.call("PUT", &one, Some(&json!({"name": "cd"}))).result();
    assert_eq!(
        (&renamed["duration"], &renamed["client_id"]),
        (&json!("8760h"), &made["client_id"])
    );
    assert_eq!(
        sim.call(
            "POST",
            &path,
            Some(&json!({"name": "x", "duration": "soon"}))
        )
        .error(),
        (400, 12_130)
    );
    sim.call("DELETE", &one, None).result();
    assert_eq!(
        sim.call("POST", &format!("{one}/rotate"), None).error(),
        (404, 11_021)
    );
}

#[test]
fn certificates_are_listed_and_universal_ssl_is_switched() {
    let sim = Sim::start();
    let path = format!("/zones/{ZONE_ORG_ID}/custom_certificates");
    let seeded = sim.get(&path).result();
    assert_eq!(
        (seeded.as_array().unwrap().len(), &seeded[0]["hosts"][1]),
        (1, &json!("*.example.org"))
    );
    assert_eq!(seeded[0]["expires_on"], "2026-12-12T00:00:00.000000Z");
    let good = json!({
        "certificate": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n",
    });
    let made = sim.call("POST", &path, Some(&good)).result();
    assert_eq!(
        (made.get("private_key"), &made["status"]),
        (None, &json!("active"))
    );
    for (member, value) in [
        ("certificate", json!("text")),
        ("private_key", json!("text")),
        ("bundle_method", json!("x")),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        assert_eq!(sim.call("POST", &path, Some(&bad)).status, 400, "{member}");
    }
    let one = format!("{path}/{}", id(&made));
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 1101));

    let universal = format!("/zones/{ZONE_NET_ID}/ssl/universal/settings");
    let packs = format!("/zones/{ZONE_NET_ID}/ssl/certificate_packs");
    assert_eq!(sim.get(&universal).result(), json!({"enabled": true}));
    assert_eq!(sim.get(&packs).result()[0]["type"], "universal");
    sim.call("PATCH", &universal, Some(&json!({"enabled": false})))
        .result();
    assert_eq!(sim.get(&packs).result(), json!([]));
    assert_eq!(
        sim.call("PATCH", &universal, Some(&json!({"enabled": "no"})))
            .error(),
        (400, 1402)
    );
    let verification = format!("/zones/{ZONE_NET_ID}/ssl/verification");
    assert_eq!(
        sim.get(&verification).result()[0]["certificate_status"],
        "deleted"
    );
}

#[test]
fn load_balancers_need_pools_and_pools_in_use_stay() {
    let sim = Sim::start();
    let path = format!("/zones/{ZONE_COM_ID}/load_balancers");
    let pools = acme("/load_balancers/pools");
    let seeded = sim.get(&path).result();
    assert_eq!(seeded[0]["name"], "lb.example.com");
    let list = sim.get(&pools).result();
    let (primary, standby) = (id(&list[0]), id(&list[1]));
    let health = |pool: &str| {
        sim.get(&format!("{pools}/{pool}/health")).result()["pop_health"]["Amsterdam, NL"]["healthy"].clone()
    };
    assert_eq!(
        (health(primary), health(standby)),
        (json!(true), json!(false))
    );
    let body = |name: &str, pool: &str| json!({"name": name, "default_pools": [pool], "fallback_pool": pool});
    for bad in [
        body("lb.example.org", primary),
        body("lb.example.com", primary),
        body("new.example.com", &"0".repeat(32)),
        json!({"name": "new.example.com", "fallback_pool": primary}),
        json!({"name": "new.example.com", "default_pools": [primary], "fallback_pool": primary, "steering_policy": "luck"}),
    ] {
        assert_eq!(
            sim.call("POST", &path, Some(&bad)).error(),
            (400, 1002),
            "{bad}"
        );
    }
    let made = sim
        .call("POST", &path, Some(&body("New.example.com", primary)))
        .result();
    assert_eq!(made["name"], "new.example.com");
    let one = format!("{path}/{}", id(&made));
    let off = sim
        .call("PATCH", &one, Some(&json!({"enabled": false})))
        .result();
    assert_eq!(
        (&off["enabled"], &off["default_pools"]),
        (&json!(false), &json!([primary]))
    );
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 1001));

    assert_eq!(
        sim.call("DELETE", &format!("{pools}/{standby}"), None)
            .error(),
        (412, 1005)
    );
    let monitors = acme("/load_balancers/monitors");
    let monitor = sim.get(&monitors).result()[0].clone();
    assert_eq!(
        sim.call("DELETE", &format!("{monitors}/{}", id(&monitor)), None)
            .error(),
        (412, 1005)
    );
    let pool = |name: &str, address: &str| json!({"name": name, "origins": [{"name": "o", "address": address}]});
    for bad in [
        pool("primary", "192.0.2.1"),
        pool("a b", "192.0.2.1"),
        pool("new", "nowhere"),
        json!({"name": "new", "origins": []}),
        json!({"name": "new", "origins": [{"name": "o", "address": "192.0.2.1", "weight": 2}]}),
        json!({"name": "new", "monitor": "x", "origins": [{"name": "o", "address": "192.0.2.1"}]}),
    ] {
        assert_eq!(
            sim.call("POST", &pools, Some(&bad)).error(),
            (400, 1002),
            "{bad}"
        );
    }
    let spare = sim
        .call("POST", &pools, Some(&pool("spare", "origin.example.edu")))
        .result();
    sim.call("DELETE", &format!("{pools}/{}", id(&spare)), None)
        .result();
    let tcp = sim
        .call("POST", &monitors, Some(&json!({"type": "tcp", "port": 22})))
        .result();
    assert_eq!((&tcp["interval"], tcp.get("path")), (&json!(60), None));
    assert_eq!(
        sim.call("POST", &monitors, Some(&json!({"type": "carrier pigeon"})))
            .error(),
        (400, 1002)
    );
}

fn upload(sim: &Sim, name: &str, parts: &[(&str, &str)]) -> Answer {
    let token = format!("Bearer {}", simulator::TOKEN);
    let part = |(name, content): &(&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let body: String = parts
        .iter()
        .map(part)
        .chain(["--b--\r\n".to_owned()])
        .collect();
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    let path = format!("/client/v4/zones/{ZONE_COM_ID}/snippets/{name}");
    sim.raw("PUT", &path, &headers, body.as_bytes()).unwrap()
}

#[test]
fn snippets_are_uploaded_and_stay_while_a_rule_runs_them() {
    let sim = Sim::start();
    let metadata = r#"{"main_module":"main.js"}"#;
    let good = [("metadata", metadata), ("main.js", "export default {}")];
    assert_eq!(
        upload(&sim, "hello", &good).result()["snippet_name"],
        "hello"
    );
    let sdk = [
        ("metadata[main_module]", "main.js"),
        ("files[]", "export default {}"),
    ];
    assert_eq!(upload(&sim, "hello", &sdk).status, 200);
    assert_eq!(upload(&sim, "Bad-Name", &good).error(), (400, 1002));
    assert_eq!(upload(&sim, "x", &good[..1]).error(), (400, 1002));
    assert_eq!(upload(&sim, "x", &good[1..]).error(), (400, 1002));
    let path = format!("/zones/{ZONE_COM_ID}/snippets");
    assert_eq!(sim.get(&path).result().as_array().unwrap().len(), 1);
    let rules = format!("{path}/snippet_rules");
    let rule = |name: &str| json!({"rules": [{"snippet_name": name, "expression": "true"}]});
    assert_eq!(
        sim.call("PUT", &rules, Some(&rule("nobody"))).error(),
        (400, 1002)
    );
    sim.call("PUT", &rules, Some(&rule("hello"))).result();
    assert_eq!(sim.get(&rules).result()[0]["enabled"], true);
    let one = format!("{path}/hello");
    assert_eq!(sim.call("DELETE", &one, None).error(), (400, 1002));
    sim.call("PUT", &rules, Some(&json!({"rules": []})))
        .result();
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 1001));
}

#[test]
fn logpush_jobs_have_numbers_and_datasets_of_their_scope() {
    let sim = Sim::start();
    let path = format!("/zones/{ZONE_COM_ID}/logpush/jobs");
    let job =
        json!({"dataset": "http_requests", "destination_conf": "r2://logs/{DATE}", "name": "logs"});
    let made = sim.call("POST", &path, Some(&job)).result();
    assert_eq!((&made["id"], &made["enabled"]), (&json!(1), &json!(false)));
    assert_eq!(sim.call("POST", &path, Some(&job)).result()["id"], 2);
    let on = sim
        .call("PUT", &format!("{path}/1"), Some(&json!({"enabled": true})))
        .result();
    assert_eq!(
        (&on["enabled"], &on["dataset"]),
        (&json!(true), &json!("http_requests"))
    );
    for bad in [
        json!({"dataset": "audit_logs", "destination_conf": "r2://x"}),
        json!({"dataset": "http_requests"}),
        json!({"dataset": "http_requests", "destination_conf": "ftp://x"}),
        json!({"dataset": "http_requests", "destination_conf": "r2://x", "enabled": 1}),
    ] {
        assert_eq!(
            sim.call("POST", &path, Some(&bad)).error(),
            (400, 1002),
            "{bad}"
        );
    }
    sim.call("DELETE", &format!("{path}/1"), None).result();
    assert_eq!(sim.get(&format!("{path}/1")).error(), (404, 1001));
    let account = json!({"dataset": "audit_logs", "destination_conf": "https://logs.example.edu/"});
    sim.call("POST", &acme("/logpush/jobs"), Some(&account))
        .result();
    assert_eq!(
        sim.get(&acme("/logpush/jobs"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn state_tells_what_is_seeded() {
    let sim = Sim::start();
    let state = sim.control("GET", "/state", None).json();
    let names = |what: &str| {
        state[what]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("tokens"), ["gateway", "ci-purge"]);
    assert_eq!(names("lists"), ["blocked"]);
    assert_eq!(names("pools"), ["primary", "standby"]);
    assert_eq!(names("load_balancers"), ["lb.example.com"]);
    let phases: Vec<&str> = state["rulesets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["phase"].as_str().unwrap())
        .collect();
    assert_eq!(
        phases,
        [
            "http_request_firewall_custom",
            "http_request_cache_settings"
        ]
    );
    assert_eq!(state["access"]["aud"], ACCESS_AUD);
}
