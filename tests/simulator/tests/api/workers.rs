//! Scripts as they live: versions, deployments, secrets, settings, code, and their end.

use crate::support::{Answer, Part, Sim};
use serde_json::{Value, json};
use simulator::{ACME_ID, GLOBEX_ID, KV_BILLING_ID, KV_SITE_ID};

const CODE: &str = "export default { fetch() { return new Response('y'); } };";
const ESM: Option<&str> = Some("application/javascript+module");

fn account(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/workers/{rest}")
}

fn site(rest: &str) -> String {
    account(&format!("scripts/site{rest}"))
}

/// Uploads a version of `site` that is not deployed; gives its id.
fn version(sim: &Sim, bindings: &Value, annotations: &Value) -> String {
    let metadata = json!({
        "main_module": "main.js", "keep_bindings": ["secret_text"], "bindings": bindings,
        "annotations": annotations,
    });
    let text = metadata.to_string();
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &text),
        ("main.js", Some("main.js"), ESM, CODE),
    ];
    let made = sim.form("POST", &site("/versions"), &parts).result();
    made["id"].as_str().unwrap().to_owned()
}

fn deploy(sim: &Sim, query: &str, versions: &[(&str, f64)]) -> Answer {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(id, percentage)| json!({"version_id": id, "percentage": percentage}))
        .collect();
    let body = json!({"strategy": "percentage", "versions": versions, "annotations": {"workers/message": "why"}});
    sim.call("POST", &site(&format!("/deployments{query}")), Some(&body))
}

/// The versions that serve traffic, with their shares.
fn deployed(sim: &Sim) -> Vec<(String, f64)> {
    let deployments = sim.get(&site("/deployments")).result();
    let versions = deployments["deployments"][0]["versions"]
        .as_array()
        .unwrap()
        .clone();
    let pair = |v: &Value| {
        (
            v["version_id"].as_str().unwrap().to_owned(),
            v["percentage"].as_f64().unwrap(),
        )
    };
    versions.iter().map(pair).collect()
}

#[test]
fn the_seeded_workers_are_listed_with_what_they_are_bound_to() {
    let sim = Sim::start();
    let listed = sim.get(&account("scripts"));
    let names: Vec<Value> = listed
        .result()
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["id"].clone())
        .collect();
    assert_eq!(names, ["api", "site"]);
    assert_eq!(listed.json().get("result_info"), None);
    assert_eq!(listed.result()[1]["handlers"], json!(["fetch"]));
    let bindings = sim.get(&site("/settings")).result()["bindings"].clone();
    assert_eq!(
        bindings[0],
        json!({"type": "kv_namespace", "name": "CACHE", "namespace_id": KV_SITE_ID})
    );
    assert_eq!(
        bindings[2],
        json!({"type": "secret_text", "name": "SESSION_KEY"})
    );
    let found = sim.get(&account("scripts-search?name=sit")).result();
    assert_eq!(
        (found.as_array().unwrap().len(), &found[0]["script_name"]),
        (1, &json!("site"))
    );
    assert_eq!(
        sim.get(&format!("/accounts/{GLOBEX_ID}/workers/scripts"))
            .result(),
        json!([])
    );
    let elsewhere = format!("/accounts/{GLOBEX_ID}/workers/scripts/site/settings");
    assert_eq!(sim.get(&elsewhere).error(), (404, 10_007));
}

#[test]
fn a_version_serves_nothing_until_it_is_deployed() {
    let sim = Sim::start();
    let before = deployed(&sim);
    let new = version(
        &sim,
        &json!([]),
        &json!({"workers/tag": "v2", "workers/message": "m"}),
    );
    assert_eq!(deployed(&sim), before);
    assert!(
        !String::from_utf8(sim.get(&site("")).body)
            .unwrap()
            .contains(CODE)
    );
    let one = sim.get(&site(&format!("/versions/{new}"))).result();
    assert_eq!(
        (&one["number"], &one["annotations"]["workers/tag"]),
        (&json!(2), &json!("v2"))
    );
    assert_eq!(one["annotations"]["workers/triggered_by"], "upload");
    assert_eq!(
        one["resources"]["bindings"],
        json!([{"type": "secret_text", "name": "SESSION_KEY"}])
    );
    let old = sim
        .get(&site(&format!("/versions/{}", before[0].0)))
        .result();
    assert_eq!(
        old["resources"]["bindings"].as_array().unwrap().len(),
        3,
        "each version keeps its bindings"
    );
    let listed = sim.get(&site("/versions?per_page=1")).json();
    assert_eq!(listed["result"]["items"][0]["id"], json!(new));
    assert_eq!(listed["result_info"]["total_count"], 2);
    assert_eq!(
        sim.get(&site("/versions?page=3")).result()["items"],
        json!([])
    );
    assert_eq!(
        sim.get(&site("/versions?deployable=true")).result()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(sim.get(&site("/versions/none")).error(), (404, 100_146));
    assert_eq!(
        sim.get(&account("scripts/none/versions")).error(),
        (404, 10_007)
    );
    deploy(&sim, "", &[(&new, 100.0)]).result();
    assert_eq!(deployed(&sim), [(new, 100.0)]);
    assert!(
        String::from_utf8(sim.get(&site("")).body)
            .unwrap()
            .contains(CODE)
    );
}

#[test]
fn a_deployment_splits_the_whole_traffic_over_one_or_two_versions() {
    let sim = Sim::start();
    let old = deployed(&sim)[0].0.clone();
    let new = version(&sim, &json!([]), &json!({}));
    let made = deploy(&sim, "", &[(&old, 95.0), (&new, 5.0)]).result();
    assert_eq!(made["annotations"]["workers/message"], "why");
    assert_eq!(deployed(&sim), [(old.clone(), 95.0), (new.clone(), 5.0)]);
    let bad: [&[(&str, f64)]; 6] = [
        &[],
        &[(&old, 60.0), (&new, 30.0)],
        &[(&old, 120.0), (&new, -20.0)],
        &[(&old, 50.0), (&old, 50.0)],
        &[(&new, 99.0)],
        &[(&old, 50.0), (&new, 25.0), (&new, 25.0)],
    ];
    for versions in bad {
        assert_eq!(
            deploy(&sim, "", versions).error(),
            (400, 10_021),
            "{versions:?}"
        );
    }
    assert_eq!(deploy(&sim, "", &[("none", 100.0)]).error(), (404, 100_146));
    let odd = json!({"strategy": "luck", "versions": [{"version_id": new, "percentage": 100}]});
    assert_eq!(
        sim.call("POST", &site("/deployments"), Some(&odd)).error(),
        (400, 10_021)
    );
    let all = sim.get(&site("/deployments")).result()["deployments"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2);
    let one = |index: usize| {
        site(&format!(
            "/deployments/{}",
            all[index]["id"].as_str().unwrap()
        ))
    };
    assert_eq!(sim.get(&one(1)).result(), all[1]);
    assert_eq!(
        sim.call("DELETE", &one(0), None).error(),
        (400, 10_021),
        "it serves traffic"
    );
    sim.call("DELETE", &one(1), None).result();
    assert_eq!(sim.get(&one(1)).error(), (404, 10_336));
}

#[test]
fn a_rollback_over_a_changed_secret_needs_force() {
    let sim = Sim::start();
    let old = deployed(&sim)[0].0.clone();
    let secret = json!({"name": "TOKEN", "text": "t", "type": "secret_text"});
    sim.call("PUT", &site("/secrets"), Some(&secret)).result();
    let refused = deploy(&sim, "", &[(&old, 100.0)]);
    assert_eq!(refused.error(), (400, 10_220));
    assert_eq!(
        refused.json()["errors"][0]["message"],
        "The following secrets have changed: TOKEN"
    );
    let made = deploy(&sim, "?force=true", &[(&old, 100.0)]).result();
    assert_eq!(made["annotations"]["workers/triggered_by"], "rollback");
    assert_eq!(deployed(&sim), [(old, 100.0)]);
}

#[test]
fn each_change_of_a_secret_is_a_version_and_no_value_is_shown() {
    let sim = Sim::start();
    let secrets = site("/secrets");
    assert_eq!(
        sim.get(&secrets).result(),
        json!([{"name": "SESSION_KEY", "type": "secret_text"}])
    );
    let put = |body: Value| sim.call("PUT", &secrets, Some(&body));
    let made = put(json!({"name": "TOKEN", "text": "t", "type": "secret_text"})).result();
    assert_eq!(made, json!({"name": "TOKEN", "type": "secret_text"}));
    assert_eq!(sim.get(&format!("{secrets}/TOKEN")).result(), made);
    assert_eq!(
        sim.get(&site("/versions")).json()["result_info"]["total_count"],
        2
    );
    assert_eq!(deployed(&sim).len(), 1);
    for bad in [
        json!({"text": "t", "type": "secret_text"}),
        json!({"name": "T", "type": "secret_text"}),
        json!({"name": "T", "text": "t", "type": "plain_text"}),
    ] {
        assert_eq!(put(bad.clone()).error(), (400, 10_021), "{bad}");
    }
    // The name is that of a variable.
    assert_eq!(
        put(json!({"name": "MODE", "text": "t", "type": "secret_text"})).error(),
        (400, 10_053)
    );
    let bulk = json!({"secrets": {"TOKEN": null, "OTHER": {"name": "OTHER", "text": "o", "type": "secret_text"}}});
    let kept = sim
        .call("PATCH", &site("/secrets-bulk"), Some(&bulk))
        .result();
    let names: Vec<&String> = kept.as_object().unwrap().keys().collect();
    assert_eq!(names, ["OTHER", "SESSION_KEY"]);
    assert_eq!(
        sim.get(&site("/versions")).json()["result_info"]["total_count"],
        3
    );
    sim.call("DELETE", &format!("{secrets}/OTHER?url_encoded=true"), None)
        .result();
    assert_eq!(sim.get(&format!("{secrets}/OTHER")).error(), (404, 10_056));
    assert_eq!(
        sim.call("DELETE", &format!("{secrets}/OTHER"), None)
            .error(),
        (404, 10_056)
    );
    assert_eq!(
        sim.get(&account("scripts/none/secrets")).error(),
        (404, 10_007)
    );
}

#[test]
fn secrets_and_settings_do_not_deploy_what_was_only_uploaded() {
    let sim = Sim::start();
    let before = deployed(&sim);
    version(&sim, &json!([]), &json!({}));
    let secret = json!({"name": "TOKEN", "text": "t", "type": "secret_text"});
    assert_eq!(
        sim.call("PUT", &site("/secrets"), Some(&secret)).error(),
        (400, 10_215)
    );
    let settings: [Part<'_>; 1] = [("settings", None, None, "{\"bindings\":[]}")];
    assert_eq!(
        sim.form("PATCH", &site("/settings"), &settings).error(),
        (400, 10_214)
    );
    assert_eq!(deployed(&sim), before);
    // `versions secret` adds to the latest version and deploys nothing either.
    let body = json!({"env": {"TOKEN": {"type": "secret_text", "text": "t"}}, "annotations": {"workers/tag": "t"}});
    let made = sim
        .call(
            "PATCH",
            &account("workers/site/versions/latest"),
            Some(&body),
        )
        .result();
    assert_eq!(made["number"], 3);
    assert_eq!(
        made["resources"]["bindings"][1],
        json!({"type": "secret_text", "name": "TOKEN"})
    );
    assert_eq!(deployed(&sim), before);
}

#[test]
fn settings_change_as_a_form_and_make_a_version() {
    let sim = Sim::start();
    let change = json!({
        "bindings": [
            {"type": "inherit", "name": "SESSION_KEY"},
            {"type": "kv_namespace", "name": "CACHE", "namespace_id": KV_BILLING_ID},
        ],
        "compatibility_date": "2026-02-02", "logpush": true,
    });
    let text = change.to_string();
    let part: [Part<'_>; 1] = [("settings", None, Some("application/json"), &text)];
    let changed = sim.form("PATCH", &site("/settings"), &part).result();
    assert_eq!(
        changed["bindings"][0],
        json!({"type": "secret_text", "name": "SESSION_KEY"})
    );
    assert_eq!(changed["bindings"][1]["namespace_id"], KV_BILLING_ID);
    assert_eq!(
        (&changed["compatibility_date"], &changed["logpush"]),
        (&json!("2026-02-02"), &json!(true))
    );
    assert_eq!(
        sim.get(&site("/versions")).json()["result_info"]["total_count"],
        2
    );
    for bad in [
        json!({"bindings": [{"type": "inherit", "name": "NONE"}]}),
        json!({"bindings": [{"type": "kv_namespace", "name": "K", "namespace_id": "0".repeat(32)}]}),
        json!({"logpush": "yes"}),
    ] {
        let text = bad.to_string();
        let part: [Part<'_>; 1] = [("settings", None, None, &text)];
        assert_eq!(
            sim.form("PATCH", &site("/settings"), &part).status,
            400,
            "{bad}"
        );
    }
    assert_eq!(
        sim.call("PATCH", &site("/settings"), Some(&json!({})))
            .error(),
        (400, 6007)
    );
}

#[test]
fn settings_of_the_script_itself_make_no_version() {
    let sim = Sim::start();
    let own = site("/script-settings");
    let change = json!({"observability": {"enabled": true}, "tags": ["team:web"], "tail_consumers": [{"service": "api"}]});
    let changed = sim.call("PATCH", &own, Some(&change)).result();
    assert_eq!(
        (&changed["tags"], &changed["logpush"]),
        (&json!(["team:web"]), &json!(false))
    );
    assert_eq!(sim.get(&own).result(), changed);
    assert_eq!(
        sim.get(&site("/versions")).json()["result_info"]["total_count"],
        1
    );
    let producers = sim.get(&account("tails/by-consumer/api")).result();
    assert_eq!(producers[0]["producer"]["script"], "site");
    let cleared = sim
        .call("PATCH", &own, Some(&json!({"tail_consumers": null})))
        .result();
    assert_eq!(cleared["tail_consumers"], json!([]));
    assert_eq!(
        sim.call("PATCH", &own, Some(&json!({"tags": "x"}))).error(),
        (400, 10_021)
    );
    assert_eq!(
        sim.call("PATCH", &own, Some(&json!([]))).error(),
        (400, 6007)
    );
}

#[test]
fn new_code_keeps_bindings_and_settings() {
    let sim = Sim::start();
    let metadata: Part<'_> = ("metadata", None, None, "{\"main_module\":\"main.js\"}");
    let module: Part<'_> = ("main.js", Some("main.js"), ESM, CODE);
    sim.form("PUT", &site("/content"), &[metadata, module])
        .result();
    let code = sim.get(&site("/content/v2"));
    assert!(
        code.header("content-type")
            .unwrap()
            .starts_with("multipart/form-data; boundary=")
    );
    assert_eq!(code.header("cf-entrypoint"), Some("main.js"));
    assert!(String::from_utf8(code.body).unwrap().contains(CODE));
    let settings = sim.get(&site("/settings")).result();
    assert_eq!(settings["bindings"].as_array().unwrap().len(), 3);
    assert_eq!(settings["compatibility_date"], "2026-01-01");
    assert_eq!(
        sim.form("PUT", &site("/content"), &[metadata]).error(),
        (400, 10_021)
    );
    let nothing: Part<'_> = ("metadata", None, None, "{}");
    assert_eq!(
        sim.form("PUT", &site("/content"), &[nothing, module])
            .error(),
        (400, 10_021)
    );
}

#[test]
fn a_worker_that_others_need_goes_by_force_only() {
    let sim = Sim::start();
    let references = sim.get(&site("/references")).result();
    assert_eq!(references["services"]["incoming"][0]["name"], "api");
    assert_eq!(sim.call("DELETE", &site(""), None).error(), (400, 10_064));
    let service = account("services/site");
    assert_eq!(
        sim.call("DELETE", &format!("{service}?force=false"), None)
            .error(),
        (400, 10_064)
    );
    assert_eq!(
        sim.call("DELETE", &format!("{service}?force=true"), None)
            .result(),
        Value::Null
    );
    assert_eq!(
        sim.call("DELETE", &site("?force=true"), None).error(),
        (404, 10_007)
    );
    assert_eq!(sim.get(&service).error(), (404, 10_090));
    // Its route is gone with it.
    let routes = format!("/zones/{}/workers/routes", simulator::ZONE_COM_ID);
    assert_eq!(sim.get(&routes).result(), json!([]));
    sim.call("DELETE", &account("scripts/api"), None).result();
    assert_eq!(sim.get(&account("scripts")).result(), json!([]));
}

#[test]
fn a_queues_consumer_goes_by_force_only() {
    let sim = Sim::start();
    let consumers = format!(
        "/accounts/{ACME_ID}/queues/{}/consumers",
        simulator::QUEUE_ID
    );
    let body = json!({"type": "worker", "script_name": "api"});
    sim.call("POST", &consumers, Some(&body)).result();
    assert_eq!(
        sim.call("DELETE", &account("scripts/api"), None).error(),
        (400, 10_064)
    );
    sim.call("DELETE", &account("scripts/api?force=true"), None)
        .result();
}

#[test]
fn a_worker_is_read_as_a_service_too() {
    let sim = Sim::start();
    let service = sim.get(&account("services/site")).result();
    let default = &service["default_environment"];
    assert_eq!(default["environment"], "production");
    assert_eq!(default["script"]["last_deployed_from"], "wrangler");
    assert_eq!(sim.get(&account("services/none")).error(), (404, 10_090));
    let place = account("services/site/environments/production");
    assert_eq!(
        sim.get(&place).result()["script"]["tag"],
        default["script"]["tag"]
    );
    assert_eq!(
        sim.get(&format!("{place}/bindings"))
            .result()
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        sim.get(&format!("{place}/routes?show_zonename=true"))
            .result()[0]["zone_name"],
        "example.com"
    );
    assert_eq!(
        sim.get(&format!("{place}/subdomain")).result()["enabled"],
        false
    );
    assert_eq!(
        sim.get(&format!("{place}/settings")).result()["usage_model"],
        "standard"
    );
    assert_eq!(
        sim.get(&format!("{place}/content")).header("cf-entrypoint"),
        Some("index.js")
    );
    let staging = account("services/site/environments/staging");
    assert_eq!(sim.get(&staging).error(), (404, 10_090));
    let worker = sim.get(&account("workers/site")).result();
    assert_eq!(worker["subdomain"]["url"], "https://site.acme.workers.dev");
    let by_id = account(&format!("workers/{}", worker["id"].as_str().unwrap()));
    assert_eq!(sim.get(&by_id).result(), worker);
    assert_eq!(
        sim.get(&account("workers?per_page=1&page=2")).result()[0]["name"],
        "site"
    );
    assert_eq!(sim.get(&account("workers/none")).error(), (404, 10_007));
}

#[test]
fn what_made_a_version_is_told_by_the_user_agent() {
    let sim = Sim::start();
    let token = format!("Bearer {}", simulator::TOKEN);
    let put = |agent: &str| {
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/javascript"),
            ("user-agent", agent),
        ];
        let target = format!("/client/v4{}", account("scripts/old"));
        let body = b"addEventListener('fetch', () => {})";
        sim.raw("PUT", &target, &headers, body).unwrap().result()["last_deployed_from"].clone()
    };
    assert_eq!(put("wrangler/4.164.0"), "wrangler");
    assert_eq!(put("terraform-provider-cloudflare/5"), "terraform");
    assert_eq!(put("curl/8"), "api");
}
