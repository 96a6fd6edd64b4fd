//! What starts a Worker: routes, custom domains, schedules, `workers.dev`; and its tails.

use crate::support::Sim;
use serde_json::{Value, json};
use simulator::{ACME_ID, GLOBEX_ID, ZONE_COM_ID, ZONE_NET_ID};

fn account(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/workers/{rest}")
}

fn routes(zone: &str) -> String {
    format!("/zones/{zone}/workers/routes")
}

fn patterns(sim: &Sim, zone: &str) -> Vec<(String, Value)> {
    let listed = sim.get(&routes(zone)).result();
    let pair = |r: &Value| {
        (
            r["pattern"].as_str().unwrap().to_owned(),
            r["script"].clone(),
        )
    };
    listed.as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn a_route_lives_from_creation_to_deletion() {
    let sim = Sim::start();
    assert_eq!(
        patterns(&sim, ZONE_COM_ID),
        [("example.com/*".to_owned(), json!("site"))]
    );
    let body = json!({"pattern": "*.example.com/api/*", "script": "api"});
    let made = sim.call("POST", &routes(ZONE_COM_ID), Some(&body)).result();
    let one = format!("{}/{}", routes(ZONE_COM_ID), made["id"].as_str().unwrap());
    assert_eq!(sim.get(&one).result(), made);
    // A route without a script is a bypass.
    let bypass = json!({"pattern": "*.example.com/static/*"});
    let changed = sim.call("PUT", &one, Some(&bypass)).result();
    assert_eq!(
        changed,
        json!({"id": made["id"], "pattern": "*.example.com/static/*"})
    );
    assert_eq!(
        sim.call("DELETE", &one, None).result(),
        json!({"id": made["id"]})
    );
    assert_eq!(sim.get(&one).error(), (404, 10_009));
}

#[test]
fn a_route_lies_in_its_zone_once_and_names_a_worker() {
    let sim = Sim::start();
    let post = |body: Value| sim.call("POST", &routes(ZONE_COM_ID), Some(&body)).error();
    assert_eq!(post(json!({"script": "site"})), (400, 10_022));
    assert_eq!(
        post(json!({"pattern": "example.net/*", "script": "site"})),
        (400, 10_022)
    );
    assert_eq!(
        post(json!({"pattern": "evilexample.com/*", "script": "site"})),
        (400, 10_022)
    );
    assert_eq!(
        post(json!({"pattern": "*/x", "script": "site"})),
        (400, 10_022)
    );
    assert_eq!(
        post(json!({"pattern": "example.com/*", "script": "api"})),
        (409, 10_020)
    );
    assert_eq!(
        post(json!({"pattern": "example.com/x", "script": "none"})),
        (400, 10_019)
    );
    let elsewhere = routes(&"0".repeat(32));
    assert_eq!(sim.get(&elsewhere).error(), (403, 10_000));
}

#[test]
fn all_routes_of_a_worker_are_replaced_at_once_or_not_at_all() {
    let sim = Sim::start();
    let put = |body: Value| sim.call("PUT", &account("scripts/api/routes"), Some(&body));
    let both = json!([
        {"pattern": "example.com/api/*", "zone_name": "example.com"},
        {"pattern": "api.example.net/*"},
    ]);
    let answer = put(both).result();
    assert_eq!(answer, json!(["example.com/api/*", "api.example.net/*"]));
    assert_eq!(
        patterns(&sim, ZONE_NET_ID),
        [("api.example.net/*".to_owned(), json!("api"))]
    );
    // Another Worker's route is not taken.
    let taken = json!([{"pattern": "example.net/*"}, {"pattern": "example.com/*"}]);
    assert_eq!(put(taken).error(), (409, 10_020));
    assert_eq!(
        put(json!([{"pattern": "example.edu/*"}])).error(),
        (400, 10_022)
    );
    assert_eq!(put(json!({})).error(), (400, 10_021));
    assert_eq!(
        patterns(&sim, ZONE_NET_ID),
        [("api.example.net/*".to_owned(), json!("api"))]
    );
    put(json!([])).result();
    assert_eq!(patterns(&sim, ZONE_NET_ID), []);
    assert_eq!(
        patterns(&sim, ZONE_COM_ID),
        [("example.com/*".to_owned(), json!("site"))]
    );
}

#[test]
fn a_domain_belongs_to_one_worker() {
    let sim = Sim::start();
    let put = |body: Value| sim.call("PUT", &account("domains"), Some(&body));
    let made =
        put(json!({"hostname": "shop.example.com", "service": "site", "zone_id": ZONE_COM_ID}))
            .result();
    assert_eq!(
        (&made["zone_name"], &made["service"]),
        (&json!("example.com"), &json!("site"))
    );
    let moved = put(json!({"hostname": "shop.example.com", "service": "api"})).result();
    assert_eq!(
        (&moved["id"], &moved["service"]),
        (&made["id"], &json!("api"))
    );
    assert_eq!(
        sim.get(&account("domains?service=api")).result(),
        json!([moved])
    );
    assert_eq!(
        sim.get(&account("domains?service=site")).result(),
        json!([])
    );
    // `www` has a record of its own.
    assert_eq!(
        put(json!({"hostname": "www.example.com", "service": "site"})).error(),
        (409, 100_117)
    );
    assert_eq!(
        put(json!({"hostname": "x.example.edu", "service": "site"})).error(),
        (400, 10_021)
    );
    assert_eq!(
        put(json!({"hostname": "x.example.com", "zone_id": ZONE_NET_ID, "service": "site"}))
            .error(),
        (400, 10_021)
    );
    assert_eq!(
        put(json!({"hostname": "x.example.com", "service": "none"})).error(),
        (404, 10_007)
    );
    let one = account(&format!("domains/{}", made["id"].as_str().unwrap()));
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 100_114));
}

#[test]
fn a_changeset_says_what_putting_domains_would_do() {
    let sim = Sim::start();
    let attach = |hostname: &str, service: &str| {
        let body = json!({"hostname": hostname, "service": service});
        sim.call("PUT", &account("domains"), Some(&body)).result()
    };
    attach("old.example.com", "site");
    let other = attach("other.example.com", "api");
    let origins = json!([
        {"hostname": "new.example.com"}, {"hostname": "other.example.com"}, {"hostname": "www.example.com"},
    ]);
    let path = account("scripts/site/domains/changeset?replace_state=true");
    let changes = sim.call("POST", &path, Some(&origins)).result();
    assert_eq!(changes["added"][0]["hostname"], "new.example.com");
    assert_eq!(changes["removed"][0]["hostname"], "old.example.com");
    assert_eq!(
        (
            &changes["updated"][0]["id"],
            &changes["updated"][0]["modified"]
        ),
        (&other["id"], &json!(true))
    );
    assert_eq!(changes["conflicting"][0]["hostname"], "www.example.com");
    let records = account("scripts/site/domains/records");
    let put = |origin: bool, dns: bool| {
        let body = json!({
            "override_scope": true, "override_existing_origin": origin,
            "override_existing_dns_record": dns, "origins": origins,
        });
        sim.call("PUT", &records, Some(&body))
    };
    assert_eq!(put(false, true).error(), (409, 100_116));
    assert_eq!(put(true, false).error(), (409, 100_117));
    put(true, true).result();
    let listed = sim.get(&account("domains/records?service=site")).result();
    let mut names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["hostname"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["new.example.com", "other.example.com", "www.example.com"]
    );
    let one = account(&format!(
        "domains/records/{}",
        other["id"].as_str().unwrap()
    ));
    assert_eq!(sim.get(&one).result()["service"], "site");
}

#[test]
fn schedules_are_replaced_together() {
    let sim = Sim::start();
    let path = account("scripts/site/schedules");
    let put = |body: Value| sim.call("PUT", &path, Some(&body));
    put(json!([{"cron": "*/5 * * * *"}, {"cron": "0 3 * * MON-FRI"}])).result();
    put(json!([{"cron": "0 3 * * *"}])).result();
    let schedules = sim.get(&path).result()["schedules"].clone();
    assert_eq!(
        (schedules.as_array().unwrap().len(), &schedules[0]["cron"]),
        (1, &json!("0 3 * * *"))
    );
    for bad in [
        json!({}),
        json!([{"cron": "often"}]),
        json!([{"cron": "0 3 * * *; x"}]),
        json!([{}]),
    ] {
        assert_eq!(put(bad.clone()).error(), (400, 10_021), "{bad}");
    }
    assert_eq!(sim.get(&path).result()["schedules"], schedules);
    assert_eq!(
        sim.get(&account("scripts/none/schedules")).error(),
        (404, 10_007)
    );
}

#[test]
fn workers_dev_is_switched_per_account_and_per_script() {
    let sim = Sim::start();
    assert_eq!(
        sim.get(&account("subdomain")).result(),
        json!({"subdomain": "acme"})
    );
    let globex = format!("/accounts/{GLOBEX_ID}/workers/subdomain");
    assert_eq!(sim.get(&globex).error(), (404, 10_007));
    let free = |name: &str| sim.get(&format!("{globex}s/{name}")).error().1;
    assert_eq!((free("acme"), free("globex")), (10_031, 10_032));
    let put = |name: &str| sim.call("PUT", &globex, Some(&json!({"subdomain": name})));
    assert_eq!(put("acme").error(), (409, 10_031));
    assert_eq!(put("-x-").error(), (400, 10_021));
    put("globex").result();
    assert_eq!(put("globex-2").error(), (409, 10_036));
    sim.call("DELETE", &globex, None).result();
    assert_eq!(sim.call("DELETE", &globex, None).error(), (404, 10_007));
    let own = account("scripts/site/subdomain");
    assert_eq!(
        sim.get(&own).result(),
        json!({"enabled": false, "previews_enabled": false})
    );
    let on = json!({"enabled": true, "previews_enabled": true});
    assert_eq!(sim.call("POST", &own, Some(&on)).result(), on);
    let off = sim
        .call("POST", &own, Some(&json!({"enabled": false})))
        .result();
    assert_eq!(off, json!({"enabled": false, "previews_enabled": true}));
    assert_eq!(
        sim.call("POST", &own, Some(&json!({}))).error(),
        (400, 10_021)
    );
    sim.call("DELETE", &own, None).result();
    assert_eq!(
        sim.get(&own).result(),
        json!({"enabled": false, "previews_enabled": false})
    );
}

#[test]
fn a_tail_ends_when_it_is_deleted_or_late() {
    let sim = Sim::start();
    let path = account("scripts/site/tails");
    let first = sim.call("POST", &path, None).result();
    assert!(first["url"].as_str().unwrap().starts_with("wss://"));
    let second = sim.call("POST", &path, None).result();
    assert_eq!(sim.get(&path).result(), json!([first, second]));
    let one = format!("{path}/{}", first["id"].as_str().unwrap());
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.call("DELETE", &one, None).status, 404);
    assert_eq!(sim.get(&path).result(), json!([second]));
    sim.control(
        "POST",
        "/clock",
        Some(&json!({"advance_secs": 6 * 3600 + 1})),
    );
    assert_eq!(sim.get(&path).result(), json!([]));
    assert_eq!(
        sim.call("POST", &account("scripts/none/tails"), None)
            .error(),
        (404, 10_007)
    );
}
