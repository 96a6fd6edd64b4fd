//! Calls that path or body give a name: phases of rulesets, settings, lists, keys, buckets. And what
//! could take over a host name of Zonekeeper's own.

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
use support::keeper::{ACME, Answered, Ask, COM, Keeper, NET, ask};
use support::upstream::{delete, failure, get, patch, post, put, success};

const CONFIG: &str = r#"
[[principals]]
name = "waf"
kind = "key"
[[principals]]
name = "cache"
kind = "key"
[[principals]]
name = "redirects"
kind = "key"
[[principals]]
name = "ssl"
kind = "key"
[[principals]]
name = "kv"
kind = "key"
[[principals]]
name = "lists"
kind = "key"
[[principals]]
name = "named"
kind = "key"

[[grants]]
name = "firewall"
principals = ["waf"]
effect = "allow"
permissions = ["Zone WAF Write"]
zones = ["*"]
[[grants]]
name = "one-phase"
principals = ["cache"]
effect = "allow"
permissions = ["Zone WAF Write", "Account Rulesets Write"]
zones = ["example.com"]
rulesets = { phases = ["http_request_cache_settings"] }
[[grants]]
name = "redirect"
principals = ["redirects"]
effect = "allow"
permissions = ["Dynamic URL Redirects Write", "Page Rules Write", "Load Balancers Write"]
zones = ["*"]
[[grants]]
name = "two-settings"
principals = ["ssl"]
effect = "allow"
permissions = ["Zone Settings Write"]
zones = ["example.com"]
settings = { ids = ["ssl", "min_tls_version"] }
[[grants]]
name = "some-keys"
principals = ["kv"]
effect = "allow"
permissions = ["Workers KV Storage Write"]
accounts = ["Acme"]
kv = { namespaces = ["0f2ac74b498b48028cb68387c421e279"], keys = ["site/*", "version"] }
[[grants]]
name = "one-list"
principals = ["lists"]
effect = "allow"
permissions = ["Account Rule Lists Write"]
accounts = ["Acme"]
lists = { ids = ["2c0fc9fa937b11eaa1b71c4d701ab86e"] }
[[grants]]
name = "by-name"
principals = ["named"]
effect = "allow"
operations = ["PUT /zones/{zone_id}/rulesets/phases/{ruleset_phase}/entrypoint", "page-rules-create-a-page-rule"]
zones = ["*"]
"#;

const RULESET: &str = "2f2feab2026849078ba485f918791bdc";
const NAMESPACE: &str = "0f2ac74b498b48028cb68387c421e279";
const FOREIGN: &str = "0f2ac74b498b48028cb68387c421e27a";

fn keeper() -> Rc<Keeper> {
    let keeper = Keeper::with(CONFIG);
    keeper.told(|settings| settings.own_hostnames = Some("zk.example.com".to_owned()))
}

fn by(keeper: &Keeper, principal: &str, line: &str, body: &Value) -> Ask {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path
        .replace("COM", COM)
        .replace("NET", NET)
        .replace("ACME", ACME);
    let request = ask(&format!("{method} /client/v4{path}")).key(&keeper.mint(principal));
    if *body == Value::Null {
        request
    } else {
        request.json(body)
    }
}

fn entrypoint(phase: &str) -> String {
    format!("/zones/{COM}/rulesets/phases/{phase}/entrypoint")
}

#[track_caller]
fn passes(answered: &Answered) {
    assert!(
        answered.is_relayed && answered.status == 200,
        "{}",
        answered.text
    );
}

#[track_caller]
fn refused(keeper: &Keeper, request: Ask, expected: (u16, u64), says: &str) {
    let calls = keeper.world.calls();
    let answered = keeper.call(request);
    assert_eq!(answered.refused(), expected, "{}", answered.text);
    assert!(answered.message().contains(says), "{}", answered.message());
    assert_eq!(keeper.world.calls(), calls, "something was sent");
}

#[test]
fn a_group_opens_the_phases_it_is_meant_for_and_no_other() {
    let keeper = keeper();
    let rules = json!({"rules": []});
    let custom = entrypoint("http_request_firewall_custom");
    keeper.expect(
        put(&custom)
            .with(rules.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "waf", &format!("PUT {custom}"), &rules)));
    for phase in [
        "http_request_cache_settings",
        "http_request_origin",
        "http_request_new",
    ] {
        let request = by(
            &keeper,
            "waf",
            &format!("PUT {}", entrypoint(phase)),
            &rules,
        );
        let expected = if phase == "http_request_cache_settings" {
            20020
        } else {
            20022
        };
        let says = if expected == 20020 {
            "do not open that phase"
        } else {
            "Zonekeeper itself"
        };
        refused(&keeper, request, (403, expected), says);
    }
    // Every group of rulesets reads every phase, as Cloudflare has it.
    let cache = entrypoint("http_request_cache_settings");
    keeper.expect(get(&cache).answers(404, failure(10003, "could not find entrypoint ruleset")));
    let answered = keeper.call(by(&keeper, "waf", &format!("GET {cache}"), &Value::Null));
    assert_eq!(answered.status, 404);
}

#[test]
fn phases_that_are_listed_are_the_only_ones_whatever_the_groups() {
    let keeper = keeper();
    let rules = json!({"rules": []});
    let cache = entrypoint("http_request_cache_settings");
    keeper.expect(
        put(&cache)
            .with(rules.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "cache", &format!("PUT {cache}"), &rules)));
    let custom = entrypoint("http_request_firewall_custom");
    let says = "covers only the phase http_request_cache_settings";
    refused(
        &keeper,
        by(&keeper, "cache", &format!("PUT {custom}"), &rules),
        (403, 20020),
        says,
    );
    refused(
        &keeper,
        by(&keeper, "cache", &format!("GET {custom}"), &Value::Null),
        (403, 20020),
        says,
    );
    let new = json!({"kind": "custom", "name": "n", "phase": "http_request_firewall_custom", "rules": []});
    refused(
        &keeper,
        by(&keeper, "cache", "POST /zones/COM/rulesets", &new),
        (403, 20020),
        says,
    );
    let mut new = new;
    *new.get_mut("phase").unwrap() = json!("http_request_cache_settings");
    keeper.expect(
        post(format!("/zones/{COM}/rulesets"))
            .with(new.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "cache", "POST /zones/COM/rulesets", &new)));
    // A list names no phase, so nobody can say whether it is one of these.
    let list = by(&keeper, "cache", "GET /zones/COM/rulesets", &Value::Null);
    refused(&keeper, list, (403, 20020), "condition rulesets");
}

#[test]
fn the_phase_of_a_ruleset_that_is_named_by_id_is_looked_up_once() {
    let keeper = keeper();
    let ruleset = format!("/zones/{COM}/rulesets/{RULESET}");
    let rule = json!({"action": "block", "expression": "true"});
    let shown =
        success(&json!({"id": RULESET, "phase": "http_request_cache_settings", "rules": []}));
    keeper.expect(get(&ruleset).answers(200, shown));
    let rules = format!("{ruleset}/rules");
    keeper.expect(
        post(&rules)
            .with(rule.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "cache", &format!("POST {rules}"), &rule)));
    // Not asked again, for nobody.
    refused(
        &keeper,
        by(&keeper, "waf", &format!("POST {rules}"), &rule),
        (403, 20020),
        "do not open",
    );
    let one = format!("{rules}/{FOREIGN}");
    refused(
        &keeper,
        by(&keeper, "waf", &format!("DELETE {one}"), &Value::Null),
        (403, 20020),
        "do not open",
    );
    keeper.expect(delete(&one).answers(200, success(&json!({}))));
    passes(&keeper.call(by(&keeper, "cache", &format!("DELETE {one}"), &Value::Null)));
    let moved = json!({"phase": "http_ratelimit", "rules": []});
    let answered = keeper.call(by(&keeper, "cache", &format!("PUT {ruleset}"), &moved));
    assert_eq!(answered.refused(), (400, 20003));
    // One that is not there has no phase.
    let other = format!("/zones/{COM}/rulesets/{FOREIGN}");
    keeper.expect(get(&other).answers(404, failure(10003, "not found")));
    let answered = keeper.call(by(
        &keeper,
        "cache",
        &format!("DELETE {other}"),
        &Value::Null,
    ));
    assert_eq!(answered.refused(), (403, 20020));
    // Where nothing depends on it, nothing is asked.
    let net = format!("/zones/{NET}/rulesets/{RULESET}");
    keeper.expect(get(&net).answers(200, success(&json!({}))));
    passes(&keeper.call(by(&keeper, "waf", &format!("GET {net}"), &Value::Null)));
}

#[test]
fn e7_nothing_reroutes_the_gateways_own_host_but_by_name() {
    let keeper = keeper();
    let rules = json!({"rules": []});
    let redirect = entrypoint("http_request_dynamic_redirect");
    let own = "Zonekeeper itself";
    refused(
        &keeper,
        by(&keeper, "redirects", &format!("PUT {redirect}"), &rules),
        (403, 20022),
        own,
    );
    keeper.expect(
        put(&redirect)
            .with(rules.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "named", &format!("PUT {redirect}"), &rules)));
    // Other zones hold no host name of ours.
    let net = redirect.replace(COM, NET);
    keeper.expect(
        put(&net)
            .with(rules.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "redirects", &format!("PUT {net}"), &rules)));

    let rule = |pattern: &str| {
        json!({
            "targets": [{"target": "url", "constraint": {"operator": "matches", "value": pattern}}],
            "actions": [{"id": "forwarding_url", "value": {"url": "https://example.net/", "status_code": 301}}],
        })
    };
    for pattern in [
        "*example.com/*",
        "zk.example.com/*",
        "http*://ZK.example.com/api/*",
        "*",
    ] {
        let request = by(
            &keeper,
            "redirects",
            "POST /zones/COM/pagerules",
            &rule(pattern),
        );
        refused(&keeper, request, (403, 20022), own);
    }
    let fine = rule("www.example.com/*");
    keeper.expect(
        post(format!("/zones/{COM}/pagerules"))
            .with(fine.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "redirects", "POST /zones/COM/pagerules", &fine)));

    let balancer = |name: &str| json!({"name": name, "default_pools": [], "fallback_pool": "x"});
    let request = by(
        &keeper,
        "redirects",
        "POST /zones/COM/load_balancers",
        &balancer("ZK.example.com."),
    );
    refused(&keeper, request, (403, 20022), own);
    let fine = balancer("lb.example.com");
    keeper.expect(
        post(format!("/zones/{COM}/load_balancers"))
            .with(fine.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(
        &keeper,
        "redirects",
        "POST /zones/COM/load_balancers",
        &fine,
    )));
}

#[test]
fn each_setting_of_a_call_must_be_listed() {
    let keeper = keeper();
    let body = json!({"value": "strict"});
    let one = format!("/zones/{COM}/settings/ssl");
    keeper.expect(patch(&one).answers(200, success(&json!({}))));
    passes(&keeper.call(by(&keeper, "ssl", &format!("PATCH {one}"), &body)));
    let says = "covers only the setting ssl or min_tls_version";
    for path in ["settings/development_mode", "settings/fonts"] {
        let request = by(&keeper, "ssl", &format!("PATCH /zones/COM/{path}"), &body);
        refused(&keeper, request, (403, 20020), says);
    }
    let all = format!("/zones/{COM}/settings");
    let both = json!({"items": [{"id": "ssl", "value": "strict"}, {"id": "min_tls_version", "value": "1.2"}]});
    keeper.expect(
        patch(&all)
            .with(both.clone())
            .answers(200, success(&json!([]))),
    );
    passes(&keeper.call(by(&keeper, "ssl", &format!("PATCH {all}"), &both)));
    let mixed = json!({"items": [{"id": "ssl", "value": "strict"}, {"id": "development_mode", "value": "on"}]});
    refused(
        &keeper,
        by(&keeper, "ssl", &format!("PATCH {all}"), &mixed),
        (403, 20020),
        says,
    );
    let doubled = r#"{"items":[{"id":"ssl","id":"development_mode","value":"on"}]}"#;
    let request = by(&keeper, "ssl", &format!("PATCH {all}"), &Value::Null).text(doubled);
    assert_eq!(keeper.call(request).refused(), (400, 20004));
}

#[test]
fn each_key_of_a_call_must_be_meant() {
    let keeper = keeper();
    let values = format!("/accounts/{ACME}/storage/kv/namespaces/{NAMESPACE}/values");
    for (key, sent) in [
        ("version", "version"),
        ("site%2Findex.html", "site%2Findex.html"),
    ] {
        keeper.expect(put(format!("{values}/{sent}")).answers(200, success(&json!({}))));
        let request = by(&keeper, "kv", &format!("PUT {values}/{key}"), &Value::Null);
        passes(&keeper.call(request.text("a value")));
    }
    for key in ["site", "Site%2Fx", "versions", "other"] {
        let request = by(&keeper, "kv", &format!("PUT {values}/{key}"), &Value::Null);
        refused(
            &keeper,
            request.text("v"),
            (403, 20020),
            "covers only the key site/* or version",
        );
    }
    let foreign = values.replace(NAMESPACE, FOREIGN);
    let request = by(
        &keeper,
        "kv",
        &format!("GET {foreign}/version"),
        &Value::Null,
    );
    refused(&keeper, request, (403, 20020), "covers only the namespace");
    let bulk = format!("/accounts/{ACME}/storage/kv/namespaces/{NAMESPACE}/bulk");
    let good = json!([{"key": "site/a", "value": "1"}, {"key": "version", "value": "2"}]);
    keeper.expect(
        put(&bulk)
            .with(good.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "kv", &format!("PUT {bulk}"), &good)));
    let mixed = json!([{"key": "site/a", "value": "1"}, {"key": "secret", "value": "2"}]);
    refused(
        &keeper,
        by(&keeper, "kv", &format!("PUT {bulk}"), &mixed),
        (403, 20020),
        "covers only the key",
    );
    let remove = format!("{bulk}/delete");
    refused(
        &keeper,
        by(&keeper, "kv", &format!("POST {remove}"), &json!(["secret"])),
        (403, 20020),
        "covers only",
    );
    keeper.expect(
        post(&remove)
            .with(json!(["site/a"]))
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(
        &keeper,
        "kv",
        &format!("POST {remove}"),
        &json!(["site/a"]),
    )));
    // All keys of the namespace are more than the listed ones.
    for path in ["keys", ""] {
        let namespace = format!("/accounts/{ACME}/storage/kv/namespaces/{NAMESPACE}");
        let path = if path.is_empty() {
            namespace
        } else {
            format!("{namespace}/{path}")
        };
        let request = by(&keeper, "kv", &format!("GET {path}"), &Value::Null);
        refused(&keeper, request, (403, 20020), "condition kv");
    }
}

#[test]
fn only_the_listed_list_is_reached() {
    let keeper = keeper();
    let list = format!("/accounts/{ACME}/rules/lists/2c0fc9fa937b11eaa1b71c4d701ab86e/items");
    keeper.expect(post(&list).answers(200, success(&json!({}))));
    let request = by(&keeper, "lists", &format!("POST {list}"), &Value::Null);
    passes(&keeper.call(request.text("[]")));
    let other = list.replace("2c0f", "2c0e");
    let request = by(&keeper, "lists", &format!("POST {other}"), &Value::Null);
    refused(
        &keeper,
        request.text("[]"),
        (403, 20020),
        "covers only the list",
    );
}

#[test]
fn e7_what_a_rule_or_balancer_has_already_counts_as_well() {
    const ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";
    let keeper = keeper();
    let own = "Zonekeeper itself";
    let rule = |pattern: &str| {
        let target =
            json!({"target": "url", "constraint": {"operator": "matches", "value": pattern}});
        success(&json!({"id": ID, "targets": [target]}))
    };
    let path = format!("/zones/{COM}/pagerules/{ID}");
    let change = json!({"actions": [{"id": "ssl", "value": "off"}]});
    let patched = || by(&keeper, "redirects", &format!("PATCH {path}"), &change);
    keeper.expect(get(&path).answers(200, rule("*example.com/*")));
    let answered = keeper.call(patched());
    assert_eq!(answered.refused(), (403, 20022));
    assert!(answered.message().contains(own));
    keeper.expect(get(&path).answers(200, rule("www.example.com/*")));
    keeper.expect(
        patch(&path)
            .with(change.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(patched()));
    keeper.expect(get(&path).answers(500, "{}"));
    keeper.expect(get(&path).answers(500, "{}"));
    keeper.expect(get(&path).answers(500, "{}"));
    assert_eq!(keeper.call(patched()).refused(), (502, 20070));
    // What is refused anyway is not looked up, nor is anything in a zone without a host of ours.
    let request = by(&keeper, "waf", &format!("PATCH {path}"), &change);
    refused(&keeper, request, (403, 20020), "Page Rules Write");
    let net = path.replace(COM, NET);
    keeper.expect(
        patch(&net)
            .with(change.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(by(&keeper, "redirects", &format!("PATCH {net}"), &change)));

    let path = format!("/zones/{COM}/load_balancers/{ID}");
    let change = json!({"default_pools": ["p"]});
    let shown = |name: &str| success(&json!({"id": ID, "name": name}));
    let patched = || by(&keeper, "redirects", &format!("PATCH {path}"), &change);
    keeper.expect(get(&path).answers(200, shown("zk.example.com")));
    assert_eq!(keeper.call(patched()).refused(), (403, 20022));
    keeper.expect(get(&path).answers(200, shown("lb.example.com")));
    keeper.expect(
        patch(&path)
            .with(change.clone())
            .answers(200, success(&json!({}))),
    );
    passes(&keeper.call(patched()));

    // Nor may what means our host be taken away.
    for (what, own, other) in [
        (
            "pagerules",
            rule("zk.example.com/*"),
            rule("www.example.com/*"),
        ),
        (
            "load_balancers",
            shown("ZK.example.com"),
            shown("lb.example.com"),
        ),
    ] {
        let path = format!("/zones/{COM}/{what}/{ID}");
        let taken = || {
            by(
                &keeper,
                "redirects",
                &format!("DELETE {path}"),
                &Value::Null,
            )
        };
        keeper.expect(get(&path).answers(200, own));
        assert_eq!(keeper.call(taken()).refused(), (403, 20022), "{what}");
        keeper.expect(get(&path).answers(200, other));
        keeper.expect(delete(&path).answers(200, success(&json!({"id": ID}))));
        passes(&keeper.call(taken()));
        let request = by(&keeper, "waf", &format!("DELETE {path}"), &Value::Null);
        assert_eq!(keeper.call(request).refused(), (403, 20020), "{what}");
    }
}

#[test]
fn e11_nothing_is_looked_up_for_a_caller_whom_no_grant_lets_through() {
    let keeper = keeper();
    // A zone whose name nobody knows, and a ruleset whose phase nobody knows.
    let rules = json!({"rules": []});
    for path in [
        format!("PUT /zones/{FOREIGN}/rulesets/{RULESET}"),
        format!("PUT /zones/{FOREIGN}/rulesets/phases/http_request_origin/entrypoint"),
    ] {
        refused(
            &keeper,
            by(&keeper, "ssl", &path, &rules),
            (403, 20020),
            "no grant of it reaches",
        );
    }
}
