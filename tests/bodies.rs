//! Calls whose body reaches beyond their path: Workers with what they bind, routes and domains,
//! analytics queries, and the tokens for the files of an upload.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::{Value, json};
use support::keeper::{ACME, Answered, Ask, COM, Keeper, NET, OTHER_ACCOUNT, ask};
use support::upstream::{delete, failure, get, list, patch, post, put, success};
use zonekeeper::gateway::{JUDGED_BODY_CAP, UPLOAD_BODY_CAP};

const CACHE: &str = "0000000000000000000000000000ca01";
const BILLING: &str = "0000000000000000000000000000b111";
const OWN_KV: &str = "000000000000000000000000000000b1";
const OWN_D1: &str = "11111111-2222-3333-4444-555555555555";
const DIGEST: &str = "9aeb8d59b4d483ca6298e9a450fbf37dfd2b4c63990135ab1d040d76314087ec";
const CODE: &str = "export default {}";

const CONFIG: &str = r#"
[[principals]]
name = "ci"
kind = "key"
[[principals]]
name = "team"
kind = "key"
[[principals]]
name = "careful"
kind = "key"
[[principals]]
name = "pinned"
kind = "key"
[[principals]]
name = "admin"
kind = "key"
[[principals]]
name = "analyst"
kind = "key"
[[principals]]
name = "pages"
kind = "key"
[[principals]]
name = "nobody"
kind = "key"

[[grants]]
name = "site-deploy"
principals = ["ci"]
effect = "allow"
permissions = ["Workers Scripts Write", "Workers Routes Write"]
accounts = ["Acme"]
zones = ["example.com"]
workers = { scripts = ["site"], bindings = ["kv_namespace:0000000000000000000000000000ca01", "plain_text", "secret_text", "assets"], routes = ["example.com/*"] }

[[grants]]
name = "team-workers"
principals = ["team"]
effect = "allow"
permissions = ["Workers Scripts Write", "Workers Routes Write"]
accounts = ["Acme"]
zones = ["example.com"]
[[grants]]
name = "team-cache"
principals = ["team"]
effect = "allow"
permissions = ["Workers KV Storage Write"]
accounts = ["Acme"]
kv = { namespaces = ["0000000000000000000000000000ca01"] }

[[grants]]
name = "gradually"
principals = ["careful"]
effect = "allow"
permissions = ["Workers Scripts Write"]
accounts = ["Acme"]
workers = { scripts = ["site"], deploys = "gradual" }

[[grants]]
name = "reviewed-code"
principals = ["pinned"]
effect = "allow"
permissions = ["Workers Scripts Write"]
accounts = ["Acme"]
workers = { scripts = ["site"], digests = ["9aeb8d59b4d483ca6298e9a450fbf37dfd2b4c63990135ab1d040d76314087ec"], inherit = false, keep_bindings = false }

[[grants]]
name = "all"
principals = ["admin"]
effect = "allow"
permissions = ["Workers Scripts Write", "Workers Routes Write", "Workers KV Storage Write", "D1 Write", "Queues Write", "Workers R2 Storage Write", "Account Analytics Read", "Analytics Read"]
accounts = ["*"]
zones = ["*"]

[[grants]]
name = "traffic"
principals = ["analyst"]
effect = "allow"
permissions = ["Analytics Read"]
zones = ["example.com"]
graphql = { datasets = ["httpRequests1dGroups"] }

[[grants]]
name = "pages"
principals = ["pages"]
effect = "allow"
permissions = ["Pages Write"]
accounts = ["Acme"]
"#;

fn by(keeper: &Keeper, principal: &str, line: &str) -> Ask {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path
        .replace("ACME", ACME)
        .replace("COM", COM)
        .replace("NET", NET);
    ask(&format!("{method} /client/v4{path}")).key(&keeper.mint(principal))
}

/// A form of `(name, filename, what it holds)`.
fn form(parts: &[(&str, &str, &str)]) -> String {
    let mut text = String::new();
    for (name, file, held) in parts {
        let file = match *file {
            "" => String::new(),
            file => format!("; filename=\"{file}\""),
        };
        write!(
            text,
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{held}\r\n"
        )
        .unwrap();
    }
    text + "--b--\r\n"
}

fn multipart(request: Ask, body: &str) -> Ask {
    request
        .header("content-type", "multipart/form-data; boundary=b")
        .text(body)
}

/// An upload of one module with this metadata, as wrangler sends it.
fn upload(metadata: &Value) -> String {
    form(&[
        ("metadata", "", &metadata.to_string()),
        ("x.js", "x.js", CODE),
    ])
}

/// Metadata with these bindings.
fn binding(binding: &Value) -> Value {
    let mut binding = binding.clone();
    binding["name"] = json!("CACHE");
    json!({"main_module": "x.js", "bindings": [binding]})
}

const SCRIPT: &str = "PUT /accounts/ACME/workers/scripts/site";

fn script() -> String {
    format!("/accounts/{ACME}/workers/scripts/site")
}

/// The call is refused with status and code after `reads` look-ups, and nothing else is sent.
fn check_refused(keeper: &Keeper, request: Ask, expected: (u16, u64), reads: u32) -> Answered {
    let rows = keeper.audit().len();
    let calls = keeper.world.calls();
    let answered = keeper.call(request);
    assert_eq!(answered.refused(), expected, "{}", answered.text);
    assert_eq!(keeper.world.calls(), calls + reads, "{}", answered.text);
    assert_eq!(keeper.audit().len(), rows + 1, "{}", answered.text);
    assert_eq!(keeper.last_entry().upstream_calls, Some(reads));
    answered
}

/// The call passes, and this many calls go to Cloudflare.
fn check_passes(keeper: &Keeper, request: Ask, calls: u32) -> Answered {
    let before = keeper.world.calls();
    let answered = keeper.call(request);
    assert!(
        answered.is_relayed && answered.status < 300,
        "{}",
        answered.text
    );
    assert_eq!(keeper.world.calls(), before + calls);
    assert_eq!(keeper.last_entry().upstream_calls, Some(calls));
    answered
}

fn fresh() -> Rc<Keeper> {
    Keeper::with(CONFIG)
}

fn with_own_host() -> Rc<Keeper> {
    let keeper = fresh();
    keeper.told(|raw| raw.own_hostnames = Some("zk.example.com".to_owned()))
}

// Uploads.

#[test]
fn e6_an_upload_that_binds_what_is_granted_passes_with_its_files_as_they_were() {
    let keeper = fresh();
    let metadata = json!({
        "main_module": "x.js",
        "bindings": [
            {"name": "CACHE", "type": "kv_namespace", "namespace_id": CACHE},
            {"name": "GREETING", "type": "plain_text", "text": "hello"},
            {"name": "ROOM", "type": "durable_object_namespace", "class_name": "Room"},
        ],
        "keep_bindings": ["secret_text", "secret_key"],
        "migrations": {"new_sqlite_classes": ["Room"]},
    });
    keeper.expect(put(script()).answers(200, success(&json!({"id": "site"}))));
    let body = form(&[
        ("x.js", "x.js", CODE),
        ("metadata", "", &format!(" {metadata} ")),
        ("x.js.map", "x.js.map", "{\"version\":3}"),
    ]);
    check_passes(&keeper, multipart(by(&keeper, "ci", SCRIPT), &body), 1);
    // The metadata is written again in its place; every other byte stays.
    let sent = keeper.world.form();
    let rebuilt = format!(
        "name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{}",
        serde_json::to_string(&metadata).unwrap()
    );
    let part = |text: &str| {
        sent.find(text)
            .unwrap_or_else(|| panic!("{text} in {sent}"))
    };
    let code = part(&format!(
        "name=\"x.js\"; filename=\"x.js\"\r\n\r\n{CODE}\r\n--b\r\n"
    ));
    assert!(
        sent.contains("kv_namespace") && code < part("name=\"metadata\""),
        "{rebuilt}"
    );
    assert!(
        part("name=\"metadata\"") < part("filename=\"x.js.map\"\r\n\r\n{\"version\":3}\r\n--b--")
    );
    let entry = keeper.last_entry();
    assert_eq!(entry.grant.as_deref(), Some("site-deploy"));
    assert!(
        entry
            .sentence
            .contains("uploaded Worker site and put it on all traffic in account Acme"),
        "{}",
        entry.sentence
    );
}

#[test]
fn e6_a_foreign_binding_under_an_allowed_name_is_refused_in_every_shape() {
    let keeper = fresh();
    let foreign = json!({"type": "kv_namespace", "namespace_id": BILLING});
    let python = form(&[
        ("files", "x.js", CODE),
        ("metadata", "", &binding(&foreign).to_string()),
    ]);
    let typescript = form(&[
        ("metadata[main_module]", "", "x.js"),
        ("metadata[bindings][][name]", "", "CACHE"),
        ("metadata[bindings][][type]", "", "kv_namespace"),
        ("metadata[bindings][][namespace_id]", "", BILLING),
        ("files[]", "x.js", CODE),
    ]);
    for body in [upload(&binding(&foreign)), python, typescript.clone()] {
        let request = multipart(by(&keeper, "ci", SCRIPT), &body);
        let answered = check_refused(&keeper, request, (403, 20020), 0);
        assert!(
            answered.message().contains(BILLING),
            "{}",
            answered.message()
        );
    }
    // The same with the namespace that is granted: one part of JSON goes upstream.
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let body = typescript.replace(BILLING, CACHE);
    check_passes(&keeper, multipart(by(&keeper, "ci", SCRIPT), &body), 1);
    let sent = keeper.world.form();
    assert!(!sent.contains("metadata["), "{sent}");
    assert_eq!(sent.matches("name=\"metadata\"").count(), 1, "{sent}");
}

#[test]
fn e6_every_kind_of_binding_is_judged_by_what_it_binds() {
    let keeper = fresh();
    let foreign = [
        json!({"type": "kv_namespace", "namespace_id": BILLING}),
        json!({"type": "d1", "id": "d"}),
        json!({"type": "r2_bucket", "bucket_name": "b"}),
        json!({"type": "queue", "queue_name": "q"}),
        json!({"type": "service", "service": "api"}),
        json!({"type": "durable_object_namespace", "class_name": "C", "script_name": "api"}),
        json!({"type": "dispatch_namespace", "namespace": "n"}),
        json!({"type": "secrets_store_secret", "store_id": "s", "secret_name": "n"}),
        json!({"type": "hyperdrive", "id": "h"}),
        json!({"type": "vectorize", "index_name": "i"}),
        json!({"type": "analytics_engine", "dataset": "d"}),
        json!({"type": "mtls_certificate", "certificate_id": "c"}),
        json!({"type": "pipelines", "pipeline": "p"}),
        json!({"type": "logfwdr", "destination": "d"}),
        json!({"type": "send_email"}),
        json!({"type": "ai"}),
        json!({"type": "browser"}),
        json!({"type": "images"}),
        json!({"type": "vpc_service", "service_id": "s"}),
        json!({"type": "worker_loader"}),
        json!({"type": "teleporter", "to": "anywhere"}),
    ];
    for foreign in &foreign {
        let body = upload(&binding(foreign));
        check_refused(
            &keeper,
            multipart(by(&keeper, "ci", SCRIPT), &body),
            (403, 20020),
            0,
        );
        let body = upload(&binding(foreign));
        let answered = keeper.call(multipart(by(&keeper, "pinned", SCRIPT), &body));
        assert_eq!(answered.refused().0, 403, "{foreign}: {}", answered.text);
    }
    for metadata in [
        json!({"main_module": "x.js", "tail_consumers": [{"service": "spy"}]}),
        json!({"main_module": "x.js", "streaming_tail_consumers": [{"service": "spy"}]}),
        json!({"main_module": "x.js", "migrations": {"transferred_classes": [{"from": "A", "from_script": "api", "to": "B"}]}}),
        json!({"main_module": "x.js", "exports": {"A": {"type": "durable-object", "transfer_from": "api"}}}),
        json!({"main_module": "x.js", "observability": {"enabled": true, "logs": {"destinations": ["spy"]}}}),
        json!({"main_module": "x.js", "containers": [{"class_name": "C"}]}),
        json!({"main_module": "x.js", "a_field_of_tomorrow": 1}),
    ] {
        let request = multipart(by(&keeper, "ci", SCRIPT), &upload(&metadata));
        check_refused(&keeper, request, (403, 20020), 0);
    }
}

#[test]
fn e7_a_durable_object_is_named_by_its_script_as_an_id_does_not_tell_whose_it_is() {
    let keeper = fresh();
    for (class, script) in [("Gate", None), ("Gate", Some("site")), ("", None)] {
        let mut by_id = json!({"type": "durable_object_namespace", "namespace_id": "n"});
        if !class.is_empty() {
            by_id["class_name"] = json!(class);
        }
        by_id["script_name"] = json!(script);
        for principal in ["ci", "team", "admin"] {
            let request = multipart(by(&keeper, principal, SCRIPT), &upload(&binding(&by_id)));
            let answered = check_refused(&keeper, request, (400, 20003), 0);
            let says = "name class_name and script_name instead of namespace_id";
            assert!(answered.message().contains(says), "{}", answered.text);
        }
    }
}

#[test]
fn e6_without_a_list_what_is_bound_must_be_within_the_callers_own_grants() {
    let keeper = fresh();
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let held = binding(&json!({"type": "kv_namespace", "namespace_id": CACHE}));
    check_passes(
        &keeper,
        multipart(by(&keeper, "team", SCRIPT), &upload(&held)),
        1,
    );
    // A service of its own account is within its right to upload that script too.
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let held = binding(&json!({"type": "service", "service": "api"}));
    check_passes(
        &keeper,
        multipart(by(&keeper, "team", SCRIPT), &upload(&held)),
        1,
    );
    for foreign in [
        json!({"type": "kv_namespace", "namespace_id": BILLING}),
        json!({"type": "d1", "id": "d"}),
        json!({"type": "r2_bucket", "bucket_name": "b"}),
        json!({"type": "dispatch_namespace", "namespace": "n"}),
    ] {
        let request = multipart(by(&keeper, "team", SCRIPT), &upload(&binding(&foreign)));
        check_refused(&keeper, request, (403, 20020), 0);
    }
}

#[test]
fn e6_bindings_that_are_kept_are_those_the_script_has() {
    let keeper = fresh();
    let metadata =
        json!({"main_module": "x.js", "bindings": [], "keep_bindings": ["kv_namespace"]});
    let has = |id: &str| {
        let bindings = json!([
            {"name": "CACHE", "type": "kv_namespace", "namespace_id": id},
            {"name": "DB", "type": "d1", "id": "not-kept"},
        ]);
        get(format!("{}/settings", script())).answers(200, success(&json!({"bindings": bindings})))
    };
    keeper.expect(has(BILLING));
    let request = || multipart(by(&keeper, "ci", SCRIPT), &upload(&metadata));
    let answered = check_refused(&keeper, request(), (403, 20020), 1);
    assert!(
        answered.message().contains(BILLING),
        "{}",
        answered.message()
    );
    keeper.expect(has(CACHE));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(&keeper, request(), 2);
    // A script that is not there yet has none to keep.
    keeper.expect(get(format!("{}/settings", script())).answers(404, failure(10007, "no script")));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(&keeper, request(), 2);
    // What cannot be had is not guessed at.
    keeper.expect(get(format!("{}/settings", script())).answers(200, "{\"success\":true}"));
    check_refused(&keeper, request(), (502, 20070), 1);
    // Of the kinds that bind nothing foreign nothing has to be known.
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let free =
        json!({"main_module": "x.js", "keep_bindings": ["secret_text", "json", "plain_text"]});
    check_passes(
        &keeper,
        multipart(by(&keeper, "ci", SCRIPT), &upload(&free)),
        1,
    );
    // And a grant may forbid keeping altogether.
    check_refused(
        &keeper,
        multipart(by(&keeper, "pinned", SCRIPT), &upload(&free)),
        (403, 20020),
        0,
    );
}

#[test]
fn e6_bindings_that_are_inherited_are_those_of_the_version_they_come_from() {
    let keeper = fresh();
    let inherit = |extra: Value| {
        let mut binding = json!({"type": "inherit", "name": "CACHE"});
        for (key, value) in extra.as_object().unwrap() {
            binding[key] = value.clone();
        }
        upload(&json!({"main_module": "x.js", "bindings": [binding]}))
    };
    let bindings = json!([
        {"name": "CACHE", "type": "kv_namespace", "namespace_id": CACHE},
        {"name": "MONEY", "type": "kv_namespace", "namespace_id": BILLING},
    ]);
    let settings = || {
        get(format!("{}/settings", script())).answers(200, success(&json!({"bindings": bindings})))
    };
    keeper.expect(settings());
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let request = multipart(by(&keeper, "ci", SCRIPT), &inherit(json!({})));
    check_passes(&keeper, request, 2);
    // Another binding under the allowed name.
    keeper.expect(settings());
    let request = multipart(
        by(&keeper, "ci", SCRIPT),
        &inherit(json!({"old_name": "MONEY"})),
    );
    check_refused(&keeper, request, (403, 20020), 1);
    // The binding of that name in another version.
    let version = format!("{}/versions/v-1", script());
    let old = json!({"resources": {"bindings": [{"name": "CACHE", "type": "d1", "id": "d"}]}});
    keeper.expect(get(version).answers(200, success(&old)));
    let request = multipart(
        by(&keeper, "ci", SCRIPT),
        &inherit(json!({"version_id": "v-1"})),
    );
    check_refused(&keeper, request, (403, 20020), 1);
    // The newest version is what the script has; a version that is not there binds nobody knows what.
    for (name, expected) in [("CACHE", None), ("MONEY", Some((403, 20020)))] {
        keeper.expect(settings());
        let latest = inherit(json!({"version_id": "latest", "old_name": name}));
        let request = multipart(by(&keeper, "ci", SCRIPT), &latest);
        if let Some(expected) = expected {
            check_refused(&keeper, request, expected, 1);
        } else {
            keeper.expect(put(script()).answers(200, success(&json!({}))));
            check_passes(&keeper, request, 2);
        }
    }
    for version in ["v-9", "Latest"] {
        let path = format!("{}/versions/{version}", script());
        keeper.expect(get(path).answers(404, failure(10007, "no version")));
        let request = multipart(
            by(&keeper, "ci", SCRIPT),
            &inherit(json!({"version_id": version})),
        );
        check_refused(&keeper, request, (400, 20003), 1);
    }
    let request = multipart(
        by(&keeper, "ci", SCRIPT),
        &inherit(json!({"version_id": "../../x"})),
    );
    check_refused(&keeper, request, (400, 20003), 0);
    let request = multipart(by(&keeper, "pinned", SCRIPT), &inherit(json!({})));
    check_refused(&keeper, request, (403, 20020), 0);
}

#[test]
fn e6_new_code_is_judged_with_the_bindings_it_gets() {
    let keeper = fresh();
    let body = form(&[
        ("metadata", "", r#"{"main_module":"x.js"}"#),
        ("x.js", "x.js", CODE),
    ]);
    let content = || {
        multipart(
            by(
                &keeper,
                "ci",
                "PUT /accounts/ACME/workers/scripts/site/content",
            ),
            &body,
        )
    };
    let settings = |id: &str| {
        let bindings = json!([{"name": "CACHE", "type": "kv_namespace", "namespace_id": id}]);
        get(format!("{}/settings", script())).answers(200, success(&json!({"bindings": bindings})))
    };
    keeper.expect(settings(BILLING));
    check_refused(&keeper, content(), (403, 20020), 1);
    keeper.expect(settings(CACHE));
    keeper.expect(put(format!("{}/content", script())).answers(200, success(&json!({}))));
    check_passes(&keeper, content(), 2);
}

#[test]
fn e6_a_workflow_binding_leads_to_the_script_it_belongs_to() {
    let keeper = fresh();
    let orders = || {
        upload(&binding(
            &json!({"type": "workflow", "workflow_name": "orders", "class_name": "Orders"}),
        ))
    };
    let workflow = format!("/accounts/{ACME}/workflows/orders");
    keeper.expect(get(workflow.clone()).answers(200, success(&json!({"script_name": "billing"}))));
    check_refused(
        &keeper,
        multipart(by(&keeper, "pinned", SCRIPT), &orders()),
        (403, 20020),
        1,
    );
    keeper.expect(get(workflow.clone()).answers(200, success(&json!({"script_name": "site"}))));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(
        &keeper,
        multipart(by(&keeper, "team", SCRIPT), &orders()),
        2,
    );
    keeper.expect(get(workflow).answers(404, failure(10007, "none")));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(
        &keeper,
        multipart(by(&keeper, "team", SCRIPT), &orders()),
        2,
    );
}

#[test]
fn u6_what_a_body_refers_to_is_looked_up_once_and_not_without_end() {
    let keeper = fresh();
    let workflows = |names: &[&str]| {
        let bindings: Vec<Value> = (0..)
            .zip(names)
            .map(|(n, name)| json!({"name": format!("W{n}"), "type": "workflow", "workflow_name": name}))
            .collect();
        upload(&json!({"main_module": "x.js", "bindings": bindings}))
    };
    let workflow = format!("/accounts/{ACME}/workflows/orders");
    keeper.expect(get(workflow).answers(200, success(&json!({"script_name": "site"}))));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let body = workflows(&["orders", "orders", "orders"]);
    check_passes(&keeper, multipart(by(&keeper, "team", SCRIPT), &body), 2);
    let names: Vec<String> = (0..21).map(|n| format!("w{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = multipart(by(&keeper, "team", SCRIPT), &workflows(&names));
    let answered = check_refused(&keeper, request, (400, 20003), 0);
    assert!(answered.message().contains("20"), "{}", answered.text);
    // A zone is asked for once, and hosts of a zone that says its id cost nothing.
    let line = "PUT /accounts/ACME/workers/scripts/site/routes";
    let routes = |count: usize, host: &str| -> Value {
        (0..count)
            .map(|n| json!({"pattern": format!("{}/{n}/*", host.replace('#', &n.to_string()))}))
            .collect()
    };
    for body in [
        routes(21, "h#.other.dev"),
        routes(8, "a.b#.c.d.e.other.dev"),
    ] {
        check_refused(
            &keeper,
            by(&keeper, "team", line).json(&body),
            (400, 20003),
            0,
        );
    }
    keeper.expect(get(own_routes()).answers(200, success(&json!([]))));
    keeper.expect(get("/zones?name=h.other.dev").answers(200, list(&[], 0)));
    let zone = json!({"id": "0000000000000000000000000000d0d0", "name": "other.dev"});
    keeper.expect(get("/zones?name=other.dev").answers(200, list(&[zone], 1)));
    let request = by(&keeper, "team", line).json(&routes(30, "h.other.dev"));
    check_refused(&keeper, request, (403, 20020), 3);
}

#[test]
fn u6_what_an_upload_describes_is_counted() {
    let keeper = fresh();
    let bindings = |count: usize| -> Value {
        (0..count)
            .map(
                |n| json!({"name": format!("B{n}"), "type": "service", "service": format!("s{n}")}),
            )
            .collect()
    };
    let body = |count: usize| upload(&json!({"main_module": "x.js", "bindings": bindings(count)}));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(
        &keeper,
        multipart(by(&keeper, "admin", SCRIPT), &body(1000)),
        1,
    );
    let request = multipart(by(&keeper, "admin", SCRIPT), &body(1001));
    check_refused(&keeper, request, (400, 20003), 0);
}

#[test]
fn u6_an_upload_of_a_caller_whom_no_grant_lets_through_is_not_read() {
    let keeper = fresh();
    for line in [SCRIPT, "PUT /accounts/ACME/workers/scripts/site/content"] {
        let request = multipart(
            by(&keeper, "nobody", line),
            "neither a form nor anything else",
        )
        .header("content-length", &(UPLOAD_BODY_CAP + 1).to_string());
        check_refused(&keeper, request, (403, 20020), 0);
    }
}

#[test]
fn e6_settings_and_script_settings_are_judged_like_an_upload() {
    let keeper = fresh();
    let line = "PATCH /accounts/ACME/workers/scripts/site/settings";
    let foreign = binding(&json!({"type": "kv_namespace", "namespace_id": BILLING})).to_string();
    let granted = foreign.replace(BILLING, CACHE);
    let request = multipart(
        by(&keeper, "ci", line),
        &form(&[("settings", "", &foreign)]),
    );
    check_refused(&keeper, request, (403, 20020), 0);
    check_refused(
        &keeper,
        by(&keeper, "ci", line).text(&foreign),
        (403, 20020),
        0,
    );
    let settings = format!("{}/settings", script());
    keeper.expect(patch(settings.clone()).answers(200, success(&json!({}))));
    let request = multipart(
        by(&keeper, "ci", line),
        &form(&[("settings", "", &granted)]),
    );
    check_passes(&keeper, request, 1);
    keeper.expect(
        patch(settings)
            .with(serde_json::from_str(&granted).unwrap())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).text(&granted), 1);
    let line = "PATCH /accounts/ACME/workers/scripts/site/script-settings";
    let spy = json!({"tail_consumers": [{"service": "spy"}]});
    check_refused(&keeper, by(&keeper, "ci", line).json(&spy), (403, 20020), 0);
    let tame = json!({"logpush": false, "tail_consumers": null});
    let settings = format!("{}/script-settings", script());
    keeper.expect(
        patch(settings)
            .with(tame.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&tame), 1);
}

#[test]
fn e6_code_must_be_what_was_reviewed_where_digests_are_listed() {
    let keeper = fresh();
    let metadata = r#"{"main_module":"x.js"}"#;
    assert_eq!(zonekeeper::workers::digest(CODE.as_bytes()), DIGEST);
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let body = form(&[("metadata", "", metadata), ("x.js", "x.js", CODE)]);
    check_passes(&keeper, multipart(by(&keeper, "pinned", SCRIPT), &body), 1);
    for parts in [
        vec![("metadata", "", metadata), ("x.js", "x.js", "evil()")],
        // Another file beside the reviewed one.
        vec![
            ("metadata", "", metadata),
            ("x.js", "x.js", CODE),
            ("y.js", "y.js", "evil()"),
        ],
        vec![("metadata", "", metadata), ("x.js", "", "evil()")],
    ] {
        let request = multipart(by(&keeper, "pinned", SCRIPT), &form(&parts));
        check_refused(&keeper, request, (403, 20020), 0);
    }
    // A script in the old syntax is its own only file.
    let plain = |code: &str| {
        by(&keeper, "pinned", SCRIPT)
            .header("content-type", "application/javascript")
            .text(code)
    };
    check_refused(&keeper, plain("evil()"), (403, 20020), 0);
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(&keeper, plain(CODE), 1);
    assert_eq!(keeper.world.form(), CODE);
}

#[test]
fn j3_an_upload_with_two_readings_is_refused() {
    let keeper = fresh();
    let metadata = r#"{"main_module":"x.js"}"#;
    let twice = form(&[("metadata", "", metadata), ("metadata", "", "{}")]);
    let both = form(&[
        ("metadata", "", metadata),
        ("metadata[logpush]", "", "true"),
    ]);
    let none = form(&[("x.js", "x.js", CODE)]);
    let broken = form(&[("metadata", "", "{\"a\":1")]);
    let keys = form(&[("metadata", "", "{\"a\":1,\"a\":2}")]);
    let smuggled = form(&[("metadata", "", metadata), ("f", "f", "x\r\n--b-\r\ny")]);
    for body in [twice, both, none, broken, keys, smuggled] {
        let request = multipart(by(&keeper, "ci", SCRIPT), &body);
        check_refused(&keeper, request, (400, 20003), 0);
    }
    let whole = form(&[("metadata", "", metadata)]);
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/mixed; boundary=b",
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
    ] {
        let request = by(&keeper, "ci", SCRIPT)
            .header("content-type", content_type)
            .text(&whole);
        check_refused(&keeper, request, (400, 20003), 0);
    }
    let line = "POST /accounts/ACME/workers/scripts/site/versions";
    let request = by(&keeper, "ci", line)
        .header("content-type", "application/javascript")
        .text(CODE);
    check_refused(&keeper, request, (400, 20003), 0);
}

#[test]
fn u6_an_upload_is_read_up_to_its_cap() {
    let keeper = fresh();
    let metadata = r#"{"main_module":"x.js"}"#;
    let large = "x".repeat(JUDGED_BODY_CAP * 2);
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    let body = form(&[("metadata", "", metadata), ("x.js", "x.js", &large)]);
    check_passes(&keeper, multipart(by(&keeper, "ci", SCRIPT), &body), 1);
    let request = multipart(by(&keeper, "ci", SCRIPT), "")
        .header("content-length", &(UPLOAD_BODY_CAP + 1).to_string());
    check_refused(&keeper, request, (413, 20005), 0);
}

// Deployments.

#[test]
fn e6_gradual_deploys_take_no_version_to_all_traffic_at_once() {
    let keeper = fresh();
    let body = upload(&json!({"main_module": "x.js"}));
    let settings = format!("{}/settings", script());
    keeper.expect(get(settings.clone()).answers(200, success(&json!({"bindings": []}))));
    let answered = check_refused(
        &keeper,
        multipart(by(&keeper, "careful", SCRIPT), &body),
        (403, 20020),
        1,
    );
    assert!(
        answered.message().contains("wrangler versions upload"),
        "{}",
        answered.message()
    );
    // A first upload takes traffic from nobody.
    keeper.expect(get(settings).answers(404, failure(10007, "no script")));
    keeper.expect(put(script()).answers(200, success(&json!({}))));
    check_passes(&keeper, multipart(by(&keeper, "careful", SCRIPT), &body), 2);
    // A version alone gets no traffic.
    let versions = format!("{}/versions", script());
    keeper.expect(post(versions).answers(200, success(&json!({"id": "v2"}))));
    let line = "POST /accounts/ACME/workers/scripts/site/versions";
    check_passes(&keeper, multipart(by(&keeper, "careful", line), &body), 1);
    let deploy = |shares: &[(&str, u32)]| {
        let versions: Vec<Value> = shares
            .iter()
            .map(|(id, share)| json!({"version_id": id, "percentage": share}))
            .collect();
        json!({"strategy": "percentage", "versions": versions})
    };
    let line = "POST /accounts/ACME/workers/scripts/site/deployments";
    let deployments = format!("{}/deployments", script());
    let history = json!({"deployments": [{"versions": [{"version_id": "v1", "percentage": 100}]}]});
    let history = || get(deployments.clone()).answers(200, success(&history));
    keeper.expect(history());
    let at_once = by(&keeper, "careful", line).json(&deploy(&[("v2", 100)]));
    check_refused(&keeper, at_once, (403, 20020), 1);
    let split = deploy(&[("v1", 95), ("v2", 5)]);
    keeper.expect(history());
    keeper.expect(
        post(deployments.clone())
            .with(split.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "careful", line).json(&split), 2);
    // Two fresh versions are no more gradual than one, and a share of nothing is none.
    for fresh in [
        deploy(&[("v2", 50), ("v3", 50)]),
        deploy(&[("v1", 0), ("v2", 100)]),
    ] {
        keeper.expect(history());
        let request = by(&keeper, "careful", line).json(&fresh);
        check_refused(&keeper, request, (403, 20020), 1);
    }
    let named = json!({"versions": [{"version_id": "v2", "percentage": 0}, {"version_id": "v1", "percentage": 100}]});
    keeper.expect(get(deployments.clone()).answers(200, success(&json!({"deployments": [named]}))));
    let request = by(&keeper, "careful", line).json(&deploy(&[("v2", 100)]));
    check_refused(&keeper, request, (403, 20020), 1);
    // Back to what had all traffic before.
    let back = deploy(&[("v1", 100)]);
    keeper.expect(history());
    keeper.expect(
        post(deployments.clone())
            .with(back.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "careful", line).json(&back), 2);
    for bad in [
        json!({"versions": [{"version_id": "v2"}]}),
        json!({"versions": [{"version_id": "v2", "percentage": "100"}]}),
        json!({"versions": [{"percentage": 100}]}),
        deploy(&[("v2", 50), ("v2", 50)]),
        json!({"versions": {}}),
    ] {
        check_refused(
            &keeper,
            by(&keeper, "careful", line).json(&bad),
            (400, 20003),
            0,
        );
    }
    // Whoever is not held to it deploys at once, without a look-up.
    let at_once = deploy(&[("v2", 100)]);
    keeper.expect(
        post(deployments)
            .with(at_once.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&at_once), 1);
}

#[test]
fn e6_secrets_are_secrets_and_of_the_granted_script() {
    let keeper = fresh();
    let secret = json!({"name": "TOKEN", "text": "hush", "type": "secret_text"});
    let secrets = format!("{}/secrets", script());
    let line = "PUT /accounts/ACME/workers/scripts/site/secrets";
    keeper.expect(
        put(secrets)
            .with(secret.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&secret), 1);
    assert!(!keeper.database.sqlite().dump().contains("hush"));
    let kv = json!({"name": "TOKEN", "type": "kv_namespace", "namespace_id": BILLING});
    check_refused(&keeper, by(&keeper, "ci", line).json(&kv), (400, 20003), 0);
    let other = "PUT /accounts/ACME/workers/scripts/api/secrets";
    check_refused(
        &keeper,
        by(&keeper, "ci", other).json(&secret),
        (403, 20020),
        0,
    );
    let bulk = json!({"secrets": {"A": secret, "B": null}});
    let line = "PATCH /accounts/ACME/workers/scripts/site/secrets-bulk";
    keeper.expect(patch(format!("{}/secrets-bulk", script())).answers(200, success(&json!({}))));
    let request = by(&keeper, "ci", line)
        .header("content-type", "application/merge-patch+json")
        .json(&bulk);
    check_passes(&keeper, request, 1);
    let sent: Value = serde_json::from_str(&keeper.world.form()).unwrap();
    assert_eq!(sent, bulk, "under the caller's own content type");
    let bad = json!({"secrets": {"A": kv}});
    check_refused(&keeper, by(&keeper, "ci", line).json(&bad), (400, 20003), 0);
    // The operation says which of the two it is, whatever the body looks like.
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&secret),
        (400, 20003),
        0,
    );
    let mut disguised = bulk.clone();
    disguised["bindings"] = json!([kv]);
    disguised["secrets"]["A"]["namespace_id"] = json!(BILLING);
    keeper.expect(
        patch(format!("{}/secrets-bulk", script()))
            .with(bulk)
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&disguised), 1);
    let line = "PUT /accounts/ACME/workers/scripts/site/secrets";
    let mut disguised = kv;
    disguised["secrets"] = json!({});
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&disguised),
        (400, 20003),
        0,
    );
    let mut disguised = secret.clone();
    disguised["secrets"] = json!({});
    disguised["namespace_id"] = json!(BILLING);
    keeper.expect(
        put(format!("{}/secrets", script()))
            .with(secret)
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&disguised), 1);
}

#[test]
fn e6_a_script_of_a_dispatch_namespace_is_another_than_that_of_its_name() {
    let keeper = fresh();
    let line = "PUT /accounts/ACME/workers/dispatch/namespaces/tenants/scripts/site";
    let body = upload(&json!({"main_module": "x.js"}));
    check_refused(
        &keeper,
        multipart(by(&keeper, "ci", line), &body),
        (403, 20020),
        0,
    );
    let line = "DELETE /accounts/ACME/workers/dispatch/namespaces/tenants/scripts/site";
    check_refused(&keeper, by(&keeper, "ci", line), (403, 20020), 0);
    let line = "PUT /accounts/ACME/workers/scripts/api";
    check_refused(
        &keeper,
        multipart(by(&keeper, "ci", line), &body),
        (403, 20020),
        0,
    );
}

#[test]
fn a_worker_is_read_by_its_name_where_the_path_has_an_id() {
    let keeper = fresh();
    let path = format!("/accounts/{ACME}/workers/workers/site");
    keeper.expect(get(path).answers(200, success(&json!({"name": "site"}))));
    check_passes(
        &keeper,
        by(&keeper, "ci", "GET /accounts/ACME/workers/workers/site"),
        1,
    );
    let other = by(&keeper, "ci", "GET /accounts/ACME/workers/workers/api");
    check_refused(&keeper, other, (403, 20020), 0);
}

// Routes and domains.

fn routes() -> String {
    format!("/zones/{COM}/workers/routes")
}

/// Where the routes of the script in all zones are read.
fn own_routes() -> String {
    format!(
        "/accounts/{ACME}/workers/services/site/environments/production/routes?show_zonename=true"
    )
}

#[test]
fn e6_a_route_is_judged_by_its_pattern_and_its_script() {
    let keeper = fresh();
    let line = "POST /zones/COM/workers/routes";
    let route = |pattern: &str, script: &str| json!({"pattern": pattern, "script": script});
    let ok = route("example.com/app/*", "site");
    keeper.expect(
        post(routes())
            .with(ok.clone())
            .answers(200, success(&json!({"id": "r"}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&ok), 1);
    for bad in [
        route("*example.com/*", "site"),
        route("www.example.com/*", "site"),
        route("example.com/*", "api"),
        // Without a script no Worker runs there.
        json!({"pattern": "example.com/*"}),
    ] {
        check_refused(&keeper, by(&keeper, "ci", line).json(&bad), (403, 20020), 0);
    }
    for bad in [
        json!({"script": "site"}),
        route("ex\u{e4}mple.com/*", "site"),
        json!([]),
    ] {
        check_refused(&keeper, by(&keeper, "ci", line).json(&bad), (400, 20003), 0);
    }
    let line = "POST /zones/NET/workers/routes";
    check_refused(&keeper, by(&keeper, "ci", line).json(&ok), (403, 20020), 0);
}

#[test]
fn e6_a_route_by_its_id_is_judged_as_it_stands_and_as_it_will_be() {
    let keeper = fresh();
    let one = format!("{}/r1", routes());
    let stands = |pattern: &str, script: &str| {
        let route = json!({"id": "r1", "pattern": pattern, "script": script});
        get(one.clone()).answers(200, success(&route))
    };
    let change = json!({"pattern": "example.com/*", "script": "site"});
    let line = "PUT /zones/COM/workers/routes/r1";
    keeper.expect(stands("example.com/*", "api"));
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&change),
        (403, 20020),
        1,
    );
    keeper.expect(stands("shop.example.com/*", "site"));
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&change),
        (403, 20020),
        1,
    );
    keeper.expect(stands("example.com/old/*", "site"));
    keeper.expect(
        put(one.clone())
            .with(change.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&change), 2);
    let line = "DELETE /zones/COM/workers/routes/r1";
    keeper.expect(stands("example.com/*", "api"));
    check_refused(&keeper, by(&keeper, "ci", line), (403, 20020), 1);
    keeper.expect(stands("example.com/*", "site"));
    keeper.expect(delete(one.clone()).answers(200, success(&json!({"id": "r1"}))));
    check_passes(&keeper, by(&keeper, "ci", line).text("{}"), 2);
    assert_eq!(keeper.world.form(), "", "what came with it is not sent");
    // A team that is not limited to a script may take a route from one to the other.
    keeper.expect(stands("example.com/*", "api"));
    keeper.expect(
        put(one)
            .with(change.clone())
            .answers(200, success(&json!({}))),
    );
    let line = "PUT /zones/COM/workers/routes/r1";
    check_passes(&keeper, by(&keeper, "team", line).json(&change), 2);
    // Nothing is looked up for whom nothing is granted.
    check_refused(
        &keeper,
        by(&keeper, "nobody", line).json(&change),
        (403, 20020),
        0,
    );
    let line = "PUT /zones/NET/workers/routes/r1";
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&change),
        (403, 20020),
        0,
    );
}

#[test]
fn e6_all_routes_of_a_script_are_judged_with_their_zones() {
    let keeper = fresh();
    let line = "PUT /accounts/ACME/workers/scripts/site/routes";
    let all = format!("{}/routes", script());
    let ok = json!([
        {"pattern": "example.com/*", "zone_name": "example.com"},
        {"pattern": "example.com/app/*", "zone_id": COM},
    ]);
    let none = || get(own_routes()).answers(200, success(&json!([])));
    keeper.expect(none());
    keeper.expect(
        put(all.clone())
            .with(ok.clone())
            .answers(200, success(&json!([]))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&ok), 2);
    // A zone by the pattern alone: the longest name there is.
    let bare = json!([{"pattern": "example.com/*"}]);
    keeper.expect(none());
    keeper.expect(
        put(all)
            .with(bare.clone())
            .answers(200, success(&json!([]))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&bare), 2);
    for (bad, reads) in [
        (json!([{"pattern": "example.com/*", "zone_id": NET}]), 0),
        (
            json!([{"pattern": "example.com/*", "zone_id": COM, "zone_name": "example.net"}]),
            1,
        ),
        (json!([{"pattern": "example.net/*"}]), 0),
        (
            json!([{"pattern": "example.com/*", "zone_name": "example.com"}, {"pattern": "example.net/*", "zone_name": "example.net"}]),
            0,
        ),
    ] {
        if reads == 1 {
            keeper.expect(none());
        }
        check_refused(
            &keeper,
            by(&keeper, "ci", line).json(&bad),
            (403, 20020),
            reads,
        );
    }
    for (bad, code) in [
        (
            json!([{"pattern": "example.com/*", "script": "api"}]),
            20003,
        ),
        (json!([{"pattern": "example.com/*", "zone_id": "x"}]), 20003),
        (json!({"pattern": "example.com/*"}), 20003),
    ] {
        check_refused(&keeper, by(&keeper, "ci", line).json(&bad), (400, code), 0);
    }
    // A zone the configuration does not name is asked for, once for each name it may have.
    keeper.expect(none());
    keeper.expect(get("/zones?name=shop.other.dev").answers(200, list(&[], 0)));
    let zone = json!({"id": "0000000000000000000000000000d0d0", "name": "other.dev"});
    keeper.expect(get("/zones?name=other.dev").answers(200, list(&[zone], 1)));
    let foreign = json!([{"pattern": "shop.other.dev/*"}]);
    check_refused(
        &keeper,
        by(&keeper, "team", line).json(&foreign),
        (403, 20020),
        3,
    );
}

#[test]
fn e6_routes_of_a_script_that_are_not_listed_are_taken_away_by_whoever_may_set_them() {
    let keeper = fresh();
    let line = "PUT /accounts/ACME/workers/scripts/site/routes";
    let listed = json!([{"pattern": "example.com/*", "zone_id": COM}]);
    let stands = |pattern: &str, zone: &str| {
        let route = json!({"id": "r1", "pattern": pattern, "script": "site", "zone_name": zone});
        get(own_routes()).answers(200, success(&json!([route])))
    };
    for (principal, pattern, zone) in [
        ("ci", "shop.example.com/*", "example.com"),
        ("ci", "example.net/*", "example.net"),
        ("team", "example.net/*", "example.net"),
    ] {
        for body in [&listed, &json!([])] {
            keeper.expect(stands(pattern, zone));
            let request = by(&keeper, principal, line).json(body);
            check_refused(&keeper, request, (403, 20020), 1);
        }
    }
    let all = format!("{}/routes", script());
    for (principal, pattern) in [("ci", "example.com/old/*"), ("team", "shop.example.com/*")] {
        keeper.expect(stands(pattern, "example.com"));
        keeper.expect(
            put(all.clone())
                .with(listed.clone())
                .answers(200, success(&json!([]))),
        );
        check_passes(&keeper, by(&keeper, principal, line).json(&listed), 2);
    }
    // Without that list nobody knows what goes.
    keeper.expect(get(own_routes()).answers(404, failure(10007, "none")));
    check_refused(
        &keeper,
        by(&keeper, "ci", line).json(&listed),
        (502, 20070),
        1,
    );
}

#[test]
fn p7_the_zone_a_domain_names_in_its_body_must_be_granted_too() {
    let keeper = fresh();
    let domains = format!("/accounts/{ACME}/workers/domains");
    let line = "PUT /accounts/ACME/workers/domains";
    let domain = |host: &str, service: &str, zone: &str| json!({"hostname": host, "service": service, "environment": "production", "zone_id": zone});
    let ok = domain("example.com", "site", COM);
    keeper.expect(get(format!("{domains}?hostname=example.com")).answers(200, success(&json!([]))));
    keeper.expect(
        put(domains.clone())
            .with(ok.clone())
            .answers(200, success(&json!({}))),
    );
    check_passes(&keeper, by(&keeper, "ci", line).json(&ok), 2);
    for bad in [
        domain("example.com", "api", COM),
        domain("www.example.com", "site", COM),
        domain("example.com", "site", NET),
    ] {
        check_refused(&keeper, by(&keeper, "ci", line).json(&bad), (403, 20020), 0);
    }
    // By its id.
    let one = format!("{domains}/d1");
    let stands = |domain: &Value| get(one.clone()).answers(200, success(domain));
    let line = "DELETE /accounts/ACME/workers/domains/d1";
    keeper.expect(stands(&domain("example.com", "site", COM)));
    keeper.expect(delete(one.clone()).answers(200, ""));
    check_passes(&keeper, by(&keeper, "ci", line), 2);
    keeper.expect(stands(&domain("example.com", "api", COM)));
    check_refused(&keeper, by(&keeper, "ci", line), (403, 20020), 1);
    keeper.expect(stands(&domain("example.net", "site", NET)));
    check_refused(&keeper, by(&keeper, "team", line), (403, 20020), 1);
    // As wrangler sets them.
    let origins = json!([{"hostname": "example.com", "zone_id": COM}]);
    let records = json!({"override_scope": true, "origins": origins});
    for (method, path, body) in [
        ("POST", "changeset?replace_state=true", &origins),
        ("PUT", "records", &records),
    ] {
        let line = format!("{method} /accounts/ACME/workers/scripts/site/domains/{path}");
        let target = format!("{}/domains/{path}", script());
        let reads = u32::from(method == "PUT");
        let expected = if method == "PUT" {
            keeper.expect(get(domains.clone()).answers(200, success(&json!([]))));
            put(target)
        } else {
            post(target)
        };
        keeper.expect(
            expected
                .with(body.clone())
                .answers(200, success(&json!({}))),
        );
        check_passes(&keeper, by(&keeper, "ci", &line).json(body), 1 + reads);
        let foreign = body.to_string().replace(COM, NET);
        check_refused(
            &keeper,
            by(&keeper, "ci", &line).text(&foreign),
            (403, 20020),
            0,
        );
    }
}

#[test]
fn e6_a_custom_domain_is_judged_as_it_stands_and_as_it_will_be() {
    let keeper = fresh();
    let domains = format!("/accounts/{ACME}/workers/domains");
    let stands = |host: &str, service: &str, zone: &str| json!({"hostname": host, "service": service, "zone_id": zone});
    let line = "PUT /accounts/ACME/workers/domains";
    let ok = stands("example.com", "site", COM);
    let one = |found: &Value| {
        get(format!("{domains}?hostname=example.com")).answers(200, success(&json!([found])))
    };
    let taken = stands("example.com", "api", COM);
    keeper.expect(one(&taken));
    check_refused(&keeper, by(&keeper, "ci", line).json(&ok), (403, 20020), 1);
    keeper.expect(one(&stands("example.com", "site", COM)));
    let sent = || {
        put(domains.clone())
            .with(ok.clone())
            .answers(200, success(&json!({})))
    };
    keeper.expect(sent());
    check_passes(&keeper, by(&keeper, "ci", line).json(&ok), 2);
    keeper.expect(one(&taken));
    keeper.expect(sent());
    check_passes(&keeper, by(&keeper, "team", line).json(&ok), 2);
    // All domains of a script: those of others that it takes, and its own that are not listed.
    let line = "PUT /accounts/ACME/workers/scripts/site/domains/records";
    let records =
        json!({"override_scope": true, "origins": [{"hostname": "example.com", "zone_id": COM}]});
    for (principal, found, passes) in [
        ("ci", taken.clone(), false),
        ("team", taken, true),
        ("ci", stands("shop.example.com", "site", COM), false),
        ("team", stands("shop.example.com", "site", COM), true),
        ("team", stands("example.net", "site", NET), false),
        ("ci", stands("example.net", "api", NET), true),
    ] {
        keeper.expect(get(domains.clone()).answers(200, success(&json!([found]))));
        let request = by(&keeper, principal, line).json(&records);
        if passes {
            let target = format!("{}/domains/records", script());
            keeper.expect(
                put(target)
                    .with(records.clone())
                    .answers(200, success(&json!({}))),
            );
            check_passes(&keeper, request, 2);
        } else {
            check_refused(&keeper, request, (403, 20020), 1);
        }
    }
}

// Zonekeeper itself.

#[test]
fn e7_no_body_reaches_zonekeeper_itself() {
    let keeper = with_own_host();
    let site = |metadata: &Value| multipart(by(&keeper, "admin", SCRIPT), &upload(metadata));
    for own in [
        json!({"type": "kv_namespace", "namespace_id": OWN_KV}),
        json!({"type": "d1", "id": OWN_D1}),
        json!({"type": "d1", "id": "zonekeeper-db"}),
        json!({"type": "queue", "queue_name": "zonekeeper-runs"}),
        json!({"type": "service", "service": "zonekeeper"}),
        json!({"type": "durable_object_namespace", "class_name": "Zone", "script_name": "Zonekeeper"}),
    ] {
        check_refused(&keeper, site(&binding(&own)), (403, 20022), 0);
    }
    let spied = json!({"main_module": "x.js", "tail_consumers": [{"service": "zonekeeper"}]});
    check_refused(&keeper, site(&spied), (403, 20022), 0);
    let body = upload(&json!({"main_module": "x.js"}));
    for line in [
        "PUT /accounts/ACME/workers/scripts/zonekeeper",
        "PUT /accounts/ACME/workers/scripts/zonekeeper/content",
        "POST /accounts/ACME/workers/scripts/zonekeeper/versions",
    ] {
        check_refused(
            &keeper,
            multipart(by(&keeper, "admin", line), &body),
            (403, 20022),
            0,
        );
    }
    let deploy = json!({"versions": [{"version_id": "v1", "percentage": 100}]});
    let secret = json!({"name": "ROOT_KEY", "text": "mine", "type": "secret_text"});
    let own_host = json!({"hostname": "zk.example.com", "service": "site", "zone_id": COM});
    for (line, body) in [
        (
            "POST /accounts/ACME/workers/scripts/zonekeeper/deployments",
            &deploy,
        ),
        (
            "PUT /accounts/ACME/workers/scripts/zonekeeper/secrets",
            &secret,
        ),
        (
            "PUT /accounts/ACME/workers/scripts/zonekeeper/schedules",
            &json!([]),
        ),
        (
            "PUT /accounts/ACME/workers/scripts/zonekeeper/routes",
            &json!([]),
        ),
        (
            "PUT /accounts/ACME/workers/scripts/site/routes",
            &json!([{"pattern": "zk.example.com/*", "zone_id": COM}]),
        ),
        ("PUT /accounts/ACME/workers/domains", &own_host),
        (
            "PUT /accounts/ACME/workers/scripts/site/domains/records",
            &json!({"origins": [own_host.clone()]}),
        ),
        (
            "POST /zones/COM/workers/routes",
            &json!({"pattern": "ZK.example.com/*", "script": "site"}),
        ),
        (
            "POST /zones/COM/workers/routes",
            &json!({"pattern": "*.example.com/*", "script": "site"}),
        ),
        (
            "POST /zones/COM/workers/routes",
            &json!({"pattern": "*example.com/api/*", "script": "site"}),
        ),
        (
            "POST /zones/COM/workers/routes",
            &json!({"pattern": "https://zk.example.com/*"}),
        ),
        (
            "POST /zones/COM/workers/routes",
            &json!({"pattern": "example.com/*", "script": "zonekeeper"}),
        ),
    ] {
        check_refused(
            &keeper,
            by(&keeper, "admin", line).json(body),
            (403, 20022),
            0,
        );
    }
    // By ids that hide it.
    let route = json!({"id": "r1", "pattern": "zk.example.com/*", "script": "zonekeeper"});
    keeper.expect(get(format!("{}/r1", routes())).answers(200, success(&route)));
    let line = "DELETE /zones/COM/workers/routes/r1";
    check_refused(&keeper, by(&keeper, "admin", line), (403, 20022), 1);
    let domain = json!({"hostname": "zk.example.com", "service": "zonekeeper", "zone_id": COM});
    let path = format!("/accounts/{ACME}/workers/domains/d1");
    keeper.expect(get(path).answers(200, success(&domain)));
    let line = "DELETE /accounts/ACME/workers/domains/d1";
    check_refused(&keeper, by(&keeper, "admin", line), (403, 20022), 1);
    // What is kept without being named is seen as well.
    let kept = json!({"main_module": "x.js", "keep_bindings": ["kv_namespace"]});
    let bindings = json!([{"name": "K", "type": "kv_namespace", "namespace_id": OWN_KV}]);
    let settings = get(format!("{}/settings", script()));
    keeper.expect(settings.answers(200, success(&json!({"bindings": bindings}))));
    check_refused(&keeper, site(&kept), (403, 20022), 1);
}

#[test]
fn e7_no_sql_reaches_zonekeepers_own_database() {
    let keeper = fresh();
    let sql = json!({"sql": "SELECT 1"});
    for id in [OWN_D1, "zonekeeper-db"] {
        for verb in ["query", "raw"] {
            let line = format!("POST /accounts/ACME/d1/database/{id}/{verb}");
            check_refused(
                &keeper,
                by(&keeper, "admin", &line).json(&sql),
                (403, 20022),
                0,
            );
        }
    }
    // Any SQL takes the right to write.
    let line = "POST /accounts/ACME/d1/database/other/query";
    check_refused(
        &keeper,
        by(&keeper, "team", line).json(&sql),
        (403, 20020),
        0,
    );
    let path = format!("/accounts/{ACME}/d1/database/other/query");
    keeper.expect(post(path).answers(200, success(&json!([]))));
    check_passes(&keeper, by(&keeper, "admin", line).json(&sql), 1);
}

// Analytics.

fn query(text: &str) -> Value {
    json!({"query": text.replace("COM", COM).replace("NET", NET).replace("ACME", ACME), "variables": {}})
}

#[test]
fn e8_a_query_is_judged_by_the_zones_and_datasets_it_names() {
    let keeper = fresh();
    let request =
        |principal: &str, text: &str| by(&keeper, principal, "POST /graphql").json(&query(text));
    let ok = r#"{ viewer { zones(filter: {zoneTag: "COM"}) { httpRequests1dGroups(limit: 1) { sum { requests } } } } } # zones(filter: {zoneTag: "NET"})"#;
    let sent = json!({
        "query": format!(r#"{{ viewer {{ zones ( filter : {{ zoneTag : "{COM}" }} ) {{ httpRequests1dGroups ( limit : 1 ) {{ sum {{ requests }} }} }} }} }}"#),
        "variables": {},
    });
    let answer = r#"{"data":{"viewer":{"zones":[]}},"errors":null}"#;
    keeper.expect(post("/graphql").with(sent).answers(200, answer));
    let answered = check_passes(&keeper, request("analyst", ok), 1);
    assert_eq!(answered.text, answer);
    let entry = keeper.last_entry();
    assert_eq!(entry.resources, [format!("zone:{COM}")]);
    assert!(
        entry
            .sentence
            .contains("queried analytics (httpRequests1dGroups)"),
        "{}",
        entry.sentence
    );
    for refused in [
        r#"{viewer{zones(filter:{zoneTag:"NET"}){httpRequests1dGroups{count}}}}"#,
        r#"{viewer{zones(filter:{zoneTag_in:["COM","NET"]}){httpRequests1dGroups{count}}}}"#,
        r#"{viewer{zones(filter:{zoneTag:"COM"}){httpRequests1dGroups:firewallEventsAdaptive{action}}}}"#,
        r#"{viewer{a:zones(filter:{zoneTag:"COM"}){httpRequests1dGroups{count}} b:zones(filter:{zoneTag:"NET"}){httpRequests1dGroups{count}}}}"#,
        r#"{viewer{zones(filter:{zoneTag:"COM"}){httpRequests1dGroups{count} ...F}}} fragment F on zone{firewallEventsAdaptive{action}}"#,
        r#"{viewer{accounts(filter:{accountTag:"ACME"}){httpRequests1dGroups{count}}}}"#,
        r#"{viewer{zones(filter:{zoneTag:"COM"}){zoneTag}}}"#,
        // Without a zone or an account there is nothing a grant could be about.
        "{viewer{budget}}",
    ] {
        check_refused(&keeper, request("analyst", refused), (403, 20020), 0);
    }
    for malformed in [
        "mutation{a}",
        "{__schema{types{name}}}",
        "{viewer{zones{httpRequests1dGroups{count}}}}",
        r#"{viewer{zones(filter:{zoneTag_neq:"COM"}){httpRequests1dGroups{count}}}}"#,
        "{viewer{",
    ] {
        check_refused(&keeper, request("analyst", malformed), (400, 20003), 0);
    }
    let batch = json!([query(ok)]);
    let request = by(&keeper, "analyst", "POST /graphql").json(&batch);
    check_refused(&keeper, request, (400, 20003), 0);
    // Whoever may read all of it is judged by the same reading.
    let all = r#"{viewer{accounts(filter:{accountTag:"ACME"}){d{a}} zones(filter:{zoneTag:"NET"}){e{a}}}}"#;
    keeper.expect(post("/graphql").with(json!({
        "query": format!(r#"{{ viewer {{ accounts ( filter : {{ accountTag : "{ACME}" }} ) {{ d {{ a }} }} zones ( filter : {{ zoneTag : "{NET}" }} ) {{ e {{ a }} }} }} }}"#),
        "variables": {},
    })).answers(200, answer));
    check_passes(
        &keeper,
        by(&keeper, "admin", "POST /graphql").json(&query(all)),
        1,
    );
    assert_eq!(
        keeper.last_entry().resources,
        [format!("zone:{NET}"), format!("account:{ACME}")]
    );
}

// Tokens for the files of an upload.

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzZXNzaW9uIjoxfQ.c2lnbmF0dXJl";

/// A session is begun, and its token passes through.
fn begin(keeper: &Keeper, principal: &str) -> String {
    let key = keeper.mint(principal);
    let path = format!("{}/assets-upload-session", script());
    let session = json!({"jwt": JWT, "buckets": [["0123456789abcdef0123456789abcdef"]]});
    keeper.expect(post(path.clone()).answers(200, success(&session)));
    let begun = ask(&format!("POST /client/v4{path}"))
        .key(&key)
        .json(&json!({"manifest": {}}));
    let answered = check_passes(keeper, begun, 1);
    assert_eq!(answered.result()["jwt"], JWT);
    key
}

fn files(account: &str, token: &str) -> Ask {
    let path = format!("/client/v4/accounts/{account}/workers/assets/upload?base64=true");
    ask(&format!("POST {path}")).key(token).text("files")
}

#[test]
fn the_token_of_an_upload_session_is_taken_for_its_files_only() {
    let keeper = fresh();
    let other = JWT.replace("eyJz", "eyJ0");
    check_refused(&keeper, files(ACME, JWT), (401, 20011), 0);
    begin(&keeper, "ci");
    assert!(
        !keeper.database.sqlite().dump().contains(JWT),
        "only its hash is kept"
    );
    let target = format!("/accounts/{ACME}/workers/assets/upload?base64=true");
    keeper.expect(post(target.clone()).answers(201, success(&json!({"jwt": other}))));
    let answered = check_passes(&keeper, files(ACME, JWT), 1);
    assert_eq!(answered.result()["jwt"], other);
    assert_eq!(
        keeper.world.bearer().as_deref(),
        Some(JWT),
        "Cloudflare gets the token, not our credential"
    );
    let entry = keeper.last_entry();
    assert_eq!(entry.principal.as_deref(), Some("ci"));
    assert!(
        entry.credential.starts_with("an upload token of key "),
        "{}",
        entry.credential
    );
    // The token the last upload gives is remembered too.
    keeper.expect(post(target).answers(202, success(&json!({}))));
    check_passes(&keeper, files(ACME, &other), 1);
    // Anywhere else, in another account, or altered, it is nothing.
    check_refused(&keeper, files(OTHER_ACCOUNT, JWT), (401, 20011), 0);
    check_refused(&keeper, files(ACME, &format!("{JWT}x")), (401, 20011), 0);
    for line in [
        format!("GET /client/v4/accounts/{ACME}/workers/scripts"),
        format!("PUT /client/v4/accounts/{ACME}/workers/scripts/site"),
        format!("GET /client/v4/accounts/{ACME}/workers/assets/upload"),
        format!("POST /client/v4/accounts/{ACME}/workers/scripts/site/assets-upload-session"),
        format!("POST /client/v4/accounts/{ACME}/workers/scripts/workers/assets/upload/x"),
        "POST /client/v4/graphql".to_owned(),
    ] {
        check_refused(&keeper, ask(&line).key(JWT), (401, 20011), 0);
    }
    // A key is still answered with our credential upstream.
    keeper.expect(
        get(format!("/accounts/{ACME}/workers/scripts/site/settings"))
            .answers(200, success(&json!({}))),
    );
    let line = "GET /accounts/ACME/workers/scripts/site/settings";
    check_passes(&keeper, by(&keeper, "ci", line), 1);
    assert_eq!(keeper.world.bearer(), None);
}

#[test]
fn the_token_of_an_upload_session_ends_with_its_hour_its_key_and_its_grant() {
    let keeper = fresh();
    begin(&keeper, "ci");
    keeper.advance_secs(3_600);
    check_refused(&keeper, files(ACME, JWT), (401, 20011), 0);
    let key = begin(&keeper, "ci");
    keeper.revoke("ci", &key);
    keeper.advance_secs(5);
    check_refused(&keeper, files(ACME, JWT), (401, 20011), 0);
    begin(&keeper, "ci");
    keeper.apply(&CONFIG.replace(
        "scripts = [\"site\"], bindings",
        "scripts = [\"api\"], bindings",
    ));
    keeper.advance_secs(5);
    check_refused(&keeper, files(ACME, JWT), (403, 20020), 0);
}

#[test]
fn a_token_that_cannot_be_stored_is_not_handed_out() {
    let keeper = fresh();
    let key = keeper.mint("ci");
    let path = format!("{}/assets-upload-session", script());
    let database = keeper.database.clone();
    let session = json!({"jwt": JWT, "buckets": []});
    keeper.expect(
        post(path.clone())
            .answers(200, success(&session))
            .meanwhile(move || database.set_down(true)),
    );
    let answered = keeper.call_and_crash(
        ask(&format!("POST /client/v4{path}"))
            .key(&key)
            .json(&json!({})),
    );
    assert_eq!(answered.refused(), (503, 20080));
    assert!(!answered.text.contains(JWT));
}

#[test]
fn the_upload_token_of_a_pages_project_is_taken_for_its_files_only() {
    let keeper = fresh();
    let path = format!("/accounts/{ACME}/pages/projects/docs/upload-token");
    keeper.expect(get(path.clone()).answers(200, success(&json!({"jwt": JWT}))));
    let key = keeper.mint("pages");
    check_passes(&keeper, ask(&format!("GET /client/v4{path}")).key(&key), 1);
    for step in ["check-missing", "upload", "upsert-hashes"] {
        let target = format!("/pages/assets/{step}");
        keeper.expect(post(target.clone()).answers(200, success(&json!([]))));
        let request = ask(&format!("POST /client/v4{target}"))
            .key(JWT)
            .json(&json!({"hashes": []}));
        check_passes(&keeper, request, 1);
        assert_eq!(keeper.world.bearer().as_deref(), Some(JWT));
        assert_eq!(keeper.last_entry().resources, [format!("account:{ACME}")]);
    }
    // A key says nothing of the account there.
    let request = ask("POST /client/v4/pages/assets/upload")
        .key(&key)
        .json(&json!([]));
    check_refused(&keeper, request, (403, 20020), 0);
    check_refused(&keeper, files(ACME, JWT), (403, 20020), 0);
}

#[test]
fn tokens_that_are_over_are_forgotten_by_the_tick() {
    let keeper = fresh();
    begin(&keeper, "ci");
    let count = || {
        keeper
            .database
            .sqlite()
            .dump()
            .matches("asset_jwts")
            .count()
    };
    let before = count();
    keeper.advance_secs(3_600);
    pollster::block_on(keeper.store.forget_asset_jwts(keeper.now())).unwrap();
    assert!(count() < before, "its row is gone");
}

#[test]
fn tokens_that_are_over_are_found_without_looking_at_the_others() {
    let keeper = fresh();
    let sqlite = keeper.database.sqlite();
    let insert = |n: u16, expires_at: i64| {
        sqlite.rows(&format!(
            "INSERT INTO asset_jwts (hash, principal, key_id, account, expires_at) VALUES ('{n}', 'ci', 'k', 'a', {expires_at})"
        ));
    };
    let now = keeper.now();
    let forget = || {
        let before = sqlite.work();
        pollster::block_on(keeper.store.forget_asset_jwts(now)).unwrap();
        sqlite.work() - before
    };
    (0..600).for_each(|n| insert(n, now.unix_ms()));
    forget();
    assert_eq!(sqlite.count("asset_jwts"), 100, "five hundred at a time");
    forget();
    assert_eq!(sqlite.count("asset_jwts"), 0);
    insert(0, now.unix_ms() + 1);
    let few = forget();
    (1..600).for_each(|n| insert(n, now.unix_ms() + 1));
    assert_eq!(forget(), few);
    assert_eq!(sqlite.count("asset_jwts"), 600);
}

// Questions.

#[test]
fn a_question_about_a_worker_is_answered_without_looking_anything_up() {
    let keeper = fresh();
    let decide = |principal: &str, method: &str, path: &str, body: Option<&Value>| {
        let mut question = json!({"principal": principal, "method": method, "path": format!("/client/v4{}", path.replace("ACME", ACME).replace("COM", COM))});
        if let Some(body) = body {
            question["body"] = body.clone();
        }
        let answered = keeper.call(
            ask("POST /api/v1/decide")
                .key(support::keeper::ROOT)
                .json(&question),
        );
        answered.result()["decision"].as_str().unwrap().to_owned()
    };
    let path = "/accounts/ACME/workers/scripts/site";
    let own = binding(&json!({"type": "kv_namespace", "namespace_id": CACHE}));
    let foreign = binding(&json!({"type": "kv_namespace", "namespace_id": BILLING}));
    let kept = json!({"main_module": "x.js", "keep_bindings": ["d1"]});
    assert_eq!(decide("ci", "PUT", path, Some(&own)), "allow");
    assert_eq!(decide("ci", "PUT", path, Some(&foreign)), "deny");
    assert_eq!(decide("ci", "PUT", path, Some(&kept)), "deny");
    assert_eq!(decide("ci", "PUT", path, None), "deny");
    assert_eq!(
        decide(
            "careful",
            "PUT",
            path,
            Some(&json!({"main_module": "x.js"}))
        ),
        "deny"
    );
    let route = json!({"pattern": "example.com/*", "script": "site"});
    assert_eq!(
        decide("ci", "POST", "/zones/COM/workers/routes", Some(&route)),
        "allow"
    );
    assert_eq!(
        decide(
            "ci",
            "DELETE",
            "/zones/COM/workers/routes/r1",
            Some(&json!({}))
        ),
        "deny"
    );
}
