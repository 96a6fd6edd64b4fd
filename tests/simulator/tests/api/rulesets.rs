//! Rulesets, zone settings, page rules.

use serde_json::{Value, json};
use simulator::{ACME_ID, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};

use crate::support::Sim;

const CUSTOM: &str = "50000000000000000000000000000001";

fn zone(path: &str) -> String {
    format!("/zones/{ZONE_NET_ID}{path}")
}

fn block(expression: &str) -> Value {
    json!({"action": "block", "expression": expression})
}

fn ids(ruleset: &Value) -> Vec<String> {
    let rules = ruleset["rules"].as_array().unwrap();
    rules
        .iter()
        .map(|r| r["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_seed_has_a_firewall_and_a_cache_entrypoint() {
    let sim = Sim::start();
    let phases = format!("/zones/{ZONE_COM_ID}/rulesets/phases");
    let firewall = sim
        .get(&format!("{phases}/http_request_firewall_custom/entrypoint"))
        .result();
    assert_eq!(
        (&firewall["id"], &firewall["kind"], &firewall["version"]),
        (&json!(CUSTOM), &json!("zone"), &json!("1"))
    );
    assert_eq!(firewall["rules"][0]["expression"], "ip.src in $blocked");
    let cache = sim
        .get(&format!("{phases}/http_request_cache_settings/entrypoint"))
        .result();
    assert_eq!(cache["rules"][0]["action"], "set_cache_settings");
    let list = sim.get(&format!("/zones/{ZONE_COM_ID}/rulesets")).result();
    let kinds: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["managed", "managed", "managed", "zone", "zone"]);
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|r| r.get("rules").is_none())
    );
    let managed = sim
        .get(&format!(
            "/zones/{ZONE_COM_ID}/rulesets/efb7b8c949ac4650a09736fc376e9aee"
        ))
        .result();
    assert_eq!(managed["rules"].as_array().unwrap().len(), 2);
}

#[test]
fn an_entrypoint_is_missing_until_it_is_put_and_then_keeps_named_rules() {
    let sim = Sim::start();
    let path = zone("/rulesets/phases/http_request_firewall_custom/entrypoint");
    assert_eq!(sim.get(&path).error(), (404, 10_003));
    let body = json!({"rules": [block("a"), {"action": "log", "expression": "b", "ref": "mine"}]});
    let first = sim.call("PUT", &path, Some(&body)).result();
    assert_eq!(
        (&first["version"], &first["kind"]),
        (&json!("1"), &json!("zone"))
    );
    let old = ids(&first);
    // One by id, one by ref, one without either: the last is made anew.
    let body = json!({"rules": [
        {"id": old[0], "action": "block", "expression": "a"},
        {"ref": "mine", "action": "log", "expression": "changed"},
        block("c"),
    ]});
    let second = sim.call("PUT", &path, Some(&body)).result();
    assert_eq!(second["version"], "2");
    assert_eq!(ids(&second)[..2], old[..]);
    let versions: Vec<&Value> = second["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["version"])
        .collect();
    assert_eq!(versions, ["1", "2", "1"]);
    let third = sim
        .call("PUT", &path, Some(&json!({"rules": [block("a")]})))
        .result();
    assert!(!ids(&second).contains(&ids(&third)[0]));
    let versions = sim.get(&format!("{path}/versions")).result();
    assert_eq!(versions.as_array().unwrap().len(), 3);
    assert_eq!(
        sim.get(&format!("{path}/versions/1")).result()["rules"],
        first["rules"]
    );
    assert_eq!(
        sim.get(&format!("{path}/versions/9")).error(),
        (404, 10_003)
    );
    let id = third["id"].as_str().unwrap();
    let version = |n: u32| zone(&format!("/rulesets/{id}/versions/{n}"));
    assert_eq!(sim.call("DELETE", &version(3), None).error(), (400, 20_155));
    assert_eq!(sim.call("DELETE", &version(1), None).status, 204);
    assert_eq!(sim.get(&version(1)).error(), (404, 10_003));
}

#[test]
fn rules_are_added_moved_changed_and_removed_one_at_a_time() {
    let sim = Sim::start();
    let ruleset = format!("/zones/{ZONE_COM_ID}/rulesets/{CUSTOM}");
    let first = ids(&sim.get(&ruleset).result())[0].clone();
    let rules = format!("{ruleset}/rules");
    let add = |position: Value| {
        let mut body = block("x");
        body["position"] = position;
        sim.call("POST", &rules, Some(&body))
    };
    let after = add(json!({"after": first})).result();
    let before = add(json!({"before": first})).result();
    let third = add(json!({"index": 2})).result();
    let (x, y, z) = (
        ids(&after)[1].clone(),
        ids(&before)[0].clone(),
        ids(&third)[1].clone(),
    );
    assert_eq!(
        ids(&third),
        [y.clone(), z.clone(), first.clone(), x.clone()]
    );
    assert_eq!(third["version"], "4");
    for position in [
        json!({"index": 0}),
        json!({"index": 6}),
        json!({"before": "nobody"}),
        json!({}),
        json!({"index": 1, "after": ""}),
    ] {
        assert_eq!(add(position.clone()).error(), (400, 20_127), "{position}");
    }
    let one = format!("{rules}/{x}");
    let moved = sim
        .call("PATCH", &one, Some(&json!({"position": {"before": ""}})))
        .result();
    assert_eq!(ids(&moved)[0], x);
    // The definition is the whole one: what is not sent is gone.
    let described =
        json!({"action": "block", "expression": "y", "description": "d", "enabled": false});
    let changed = sim.call("PATCH", &one, Some(&described)).result();
    assert_eq!(
        (
            &changed["rules"][0]["version"],
            &changed["rules"][0]["enabled"]
        ),
        (&json!("2"), &json!(false))
    );
    let changed = sim.call("PATCH", &one, Some(&block("y"))).result();
    assert_eq!(
        (
            changed["rules"][0].get("description"),
            &changed["rules"][0]["enabled"]
        ),
        (None, &json!(true))
    );
    let left = sim.call("DELETE", &one, None).result();
    assert_eq!(ids(&left), [y, z, first]);
    assert_eq!(sim.call("DELETE", &one, None).error(), (404, 10_003));
    assert_eq!(
        sim.call("PATCH", &one, Some(&block("y"))).error(),
        (404, 10_003)
    );
}

#[test]
fn a_rule_that_its_phase_does_not_take_is_refused_and_changes_nothing() {
    let sim = Sim::start();
    let put = |phase: &str, rule: Value| {
        let path = zone(&format!("/rulesets/phases/{phase}/entrypoint"));
        sim.call("PUT", &path, Some(&json!({"rules": [rule]})))
    };
    let limit = |change: fn(&mut Value)| {
        let mut rule = block("true");
        rule["ratelimit"] = json!({"characteristics": ["cf.colo.id", "ip.src"], "period": 60, "requests_per_period": 100, "mitigation_timeout": 60});
        change(&mut rule);
        rule
    };
    let bad = [
        (
            "http_request_firewall_custom",
            json!({"expression": "true"}),
        ),
        (
            "http_request_firewall_custom",
            json!({"action": "explode", "expression": "true"}),
        ),
        (
            "http_request_firewall_custom",
            json!({"action": "redirect", "expression": "true"}),
        ),
        (
            "http_request_firewall_custom",
            json!({"action": "skip", "expression": "true"}),
        ),
        ("http_request_firewall_custom", block("(unbalanced")),
        ("http_request_firewall_custom", block("")),
        (
            "http_request_firewall_custom",
            json!({"action": "block", "expression": "true", "enabled": "yes"}),
        ),
        (
            "http_request_firewall_custom",
            json!({"action": "block", "expression": "true", "colour": "red"}),
        ),
        (
            "http_request_firewall_custom",
            json!({"id": "0".repeat(32), "action": "block", "expression": "true"}),
        ),
        (
            "http_request_firewall_managed",
            json!({"action": "execute", "expression": "true"}),
        ),
        ("http_ratelimit", block("true")),
        (
            "http_ratelimit",
            limit(|r| r["ratelimit"]["characteristics"] = json!(["ip.src"])),
        ),
        (
            "http_ratelimit",
            limit(|r| r["ratelimit"]["period"] = json!(61)),
        ),
        (
            "http_ratelimit",
            limit(|r| r["ratelimit"]["requests_per_period"] = json!(0)),
        ),
        ("http_request_firewall_custom", limit(|_| {})),
        ("http_no_such_phase", block("true")),
        ("http_request_firewall_custom", json!("block")),
    ];
    for (phase, rule) in bad {
        assert_eq!(
            put(phase, rule.clone()).error(),
            (400, 20_127),
            "{phase} {rule}"
        );
    }
    assert_eq!(
        sim.get(&zone("/rulesets"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    put("http_ratelimit", limit(|_| {})).result();
    let twice = json!({"rules": [{"ref": "a", "action": "block", "expression": "x"}, {"ref": "a", "action": "block", "expression": "y"}]});
    let path = zone("/rulesets/phases/http_request_firewall_custom/entrypoint");
    assert_eq!(sim.call("PUT", &path, Some(&twice)).error(), (400, 20_127));
}

#[test]
fn an_account_has_custom_rulesets_that_its_entrypoint_runs() {
    let sim = Sim::start();
    let path = format!("/accounts/{ACME_ID}/rulesets");
    let phase = "http_request_firewall_custom";
    let body = json!({"name": "mine", "kind": "custom", "phase": phase, "rules": [block("true")]});
    let custom = sim.call("POST", &path, Some(&body)).result();
    let run = json!({"name": "root", "kind": "root", "phase": phase, "rules": [
        {"action": "execute", "expression": "true", "action_parameters": {"id": custom["id"]}},
    ]});
    let root = sim.call("POST", &path, Some(&run)).result();
    assert_eq!(sim.call("POST", &path, Some(&run)).error(), (400, 20_217));
    let wrong = json!({"name": "x", "kind": "zone", "phase": phase});
    assert_eq!(sim.call("POST", &path, Some(&wrong)).error(), (400, 20_127));
    let one = |ruleset: &Value| format!("{path}/{}", ruleset["id"].as_str().unwrap());
    assert_eq!(
        sim.call("DELETE", &one(&custom), None).error(),
        (400, 20_127)
    );
    assert_eq!(sim.call("DELETE", &one(&root), None).status, 204);
    assert_eq!(sim.call("DELETE", &one(&custom), None).status, 204);
    assert_eq!(sim.get(&one(&custom)).error(), (404, 10_003));
    assert_eq!(
        sim.get(&format!("/accounts/{}/rulesets", "0".repeat(32)))
            .error(),
        (403, 10_000)
    );
}

#[test]
fn each_setting_takes_its_values_only() {
    let sim = Sim::start();
    let path = |id: &str| zone(&format!("/settings/{id}"));
    assert_eq!(
        sim.get(&path("ssl")).result(),
        json!({"id": "ssl", "value": "full", "editable": true, "modified_on": null})
    );
    let set = |id: &str, body: Value| sim.call("PATCH", &path(id), Some(&body));
    let strict = set("ssl", json!({"value": "strict"})).result();
    assert_eq!(strict["value"], "strict");
    assert!(strict["modified_on"].is_string());
    set("browser_cache_ttl", json!({"value": 0})).result();
    set(
        "security_header",
        json!({"value": {"strict_transport_security": {"enabled": true, "max_age": 86400}}}),
    )
    .result();
    assert_eq!(
        set("ssl_recommender", json!({"enabled": true})).result()["enabled"],
        true
    );
    for (id, body, error) in [
        ("ssl", json!({"value": "loose"}), (400, 1007)),
        ("ssl", json!({"enabled": true}), (400, 1007)),
        ("ssl_recommender", json!({"value": "on"}), (400, 1007)),
        ("browser_cache_ttl", json!({"value": "0"}), (400, 1007)),
        ("browser_cache_ttl", json!({"value": 31}), (400, 1007)),
        (
            "security_header",
            json!({"value": {"enabled": true}}),
            (400, 1007),
        ),
        ("minify", json!({"value": "on"}), (400, 1003)),
        ("polish", json!({"value": "lossy"}), (403, 1015)),
        ("ssl", json!([]), (400, 6007)),
    ] {
        assert_eq!(set(id, body.clone()).error(), error, "{id} {body}");
    }
    assert_eq!(sim.get(&path("ssl")).result()["value"], "strict");
    assert_eq!(sim.get(&path("polish")).result()["editable"], false);
}

#[test]
fn settings_all_at_once_answer_that_they_have_ended_and_change_all_or_nothing() {
    let sim = Sim::start();
    let path = zone("/settings");
    let all = sim.get(&path);
    assert!(
        all.json()["messages"][0]["message"]
            .as_str()
            .unwrap()
            .contains("2026-09-15")
    );
    assert_eq!(all.result().as_array().unwrap().len(), 37);
    let half = json!({"items": [{"id": "ssl", "value": "off"}, {"id": "http3", "value": "maybe"}]});
    assert_eq!(sim.call("PATCH", &path, Some(&half)).error(), (400, 1007));
    assert_eq!(sim.get(&zone("/settings/ssl")).result()["value"], "full");
    let both = json!({"items": [{"id": "ssl", "value": "off"}, {"id": "http3", "value": "off"}]});
    let changed = sim.call("PATCH", &path, Some(&both)).result();
    assert_eq!(
        (&changed[0]["value"], &changed[1]["id"]),
        (&json!("off"), &json!("http3"))
    );
    assert_eq!(
        sim.call("PATCH", &path, Some(&json!({"items": []})))
            .error(),
        (400, 1007)
    );
}

#[test]
fn page_rules_are_made_changed_ordered_and_bounded() {
    let sim = Sim::start();
    let path = zone("/pagerules");
    let rule = |target: &str, priority: u32| {
        json!({
            "targets": [{"target": "url", "constraint": {"operator": "matches", "value": target}}],
            "actions": [{"id": "always_use_https"}], "priority": priority, "status": "active",
        })
    };
    let post = |body: &Value| sim.call("POST", &path, Some(body));
    let first = post(&rule("*example.net/a*", 1)).result();
    let second = post(&rule("https://www.example.net/b", 5)).result();
    assert_eq!(post(&rule("*example.net/a*", 1)).error(), (400, 1004));
    let mut forwarding = rule("example.net/f", 1);
    forwarding["actions"] = json!([{"id": "forwarding_url", "value": {"url": "https://example.net/", "status_code": 301}}, {"id": "always_use_https"}]);
    for body in [
        rule("www.example.org/", 1),
        rule("notexample.net/", 1),
        forwarding,
        json!({"targets": [], "actions": [{"id": "always_use_https"}]}),
        json!({"targets": rule("example.net/x", 1)["targets"], "actions": [{"id": "mirage", "value": "on"}]}),
        json!({"targets": rule("example.net/x", 1)["targets"], "actions": [{"id": "ssl"}]}),
        json!({"targets": rule("example.net/x", 1)["targets"], "actions": []}),
    ] {
        assert_eq!(post(&body).error(), (400, 1004), "{body}");
    }
    post(&rule("example.net/c", 3)).result();
    // NOTES: three on Free.
    assert_eq!(post(&rule("example.net/d", 3)).error(), (400, 1004));
    let order: Vec<Value> = sim
        .get(&path)
        .result()
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["priority"].clone())
        .collect();
    assert_eq!(order, [5, 3, 1]);
    let one = |rule: &Value| format!("{path}/{}", rule["id"].as_str().unwrap());
    let off = sim
        .call("PATCH", &one(&first), Some(&json!({"status": "disabled"})))
        .result();
    assert_eq!(
        (&off["status"], &off["priority"]),
        (&json!("disabled"), &json!(1))
    );
    assert_eq!(
        sim.get(&format!("{path}?status=disabled"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let put = sim
        .call("PUT", &one(&second), Some(&rule("example.net/z", 9)))
        .result();
    assert_eq!(
        (&put["id"], &put["priority"], &put["created_on"]),
        (&second["id"], &json!(9), &second["created_on"])
    );
    sim.call("DELETE", &one(&first), None).result();
    assert_eq!(sim.get(&one(&first)).error(), (404, 1002));
    assert!(
        sim.get(&format!("{path}/settings"))
            .result()
            .as_array()
            .unwrap()
            .len()
            > 10
    );
    assert_eq!(
        sim.get(&format!("/zones/{ZONE_ORG_ID}/pagerules")).result(),
        json!([])
    );
}
