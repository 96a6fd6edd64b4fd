//! Uploads of a Worker: the three shapes, what is validated, bindings, migrations, assets.

use crate::support::{Answer, FORM, Part, Sim, form};
use serde_json::{Value, json};
use simulator::{ACME_ID, D1_ID, GLOBEX_ID, KV_BILLING_ID, KV_SITE_ID, TOKEN};

const CODE: &str = "export default { fetch() { return new Response('x'); } };";
const ESM: Option<&str> = Some("application/javascript+module");

fn script(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/workers/scripts/{rest}")
}

/// An upload as wrangler shapes it.
fn upload(sim: &Sim, name: &str, metadata: &Value) -> Answer {
    let metadata = metadata.to_string();
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &metadata),
        ("main.js", Some("main.js"), ESM, CODE),
    ];
    sim.form("PUT", &script(name), &parts)
}

fn with_bindings(bindings: &Value) -> Value {
    json!({"main_module": "main.js", "bindings": bindings})
}

fn bindings(sim: &Sim, name: &str) -> Value {
    sim.get(&script(&format!("{name}/settings"))).result()["bindings"].clone()
}

#[test]
fn the_three_shapes_of_an_upload_make_the_same_version() {
    let metadata = json!({
        "main_module": "main.js", "compatibility_date": "2026-01-01",
        "compatibility_flags": ["nodejs_compat"], "observability": {"enabled": true},
        "bindings": [
            {"type": "plain_text", "name": "A", "text": "1"},
            {"type": "kv_namespace", "name": "K", "namespace_id": KV_SITE_ID},
        ],
    });
    let text = metadata.to_string();
    let wrangler: Vec<Part<'_>> = vec![
        ("main.js", Some("main.js"), ESM, CODE),
        ("metadata", None, None, &text),
        (
            "main.js.map",
            Some("main.js.map"),
            Some("application/source-map"),
            "{}",
        ),
    ];
    let python: Vec<Part<'_>> = vec![
        ("metadata", None, Some("application/json"), &text),
        ("files", Some("main.js"), ESM, CODE),
    ];
    let typescript: Vec<Part<'_>> = vec![
        ("metadata[main_module]", None, None, "main.js"),
        ("metadata[compatibility_date]", None, None, "2026-01-01"),
        (
            "metadata[compatibility_flags][]",
            None,
            None,
            "nodejs_compat",
        ),
        ("metadata[observability][enabled]", None, None, "true"),
        ("metadata[bindings][][type]", None, None, "plain_text"),
        ("metadata[bindings][][name]", None, None, "A"),
        ("metadata[bindings][][text]", None, None, "1"),
        ("metadata[bindings][][type]", None, None, "kv_namespace"),
        ("metadata[bindings][][name]", None, None, "K"),
        ("metadata[bindings][][namespace_id]", None, None, KV_SITE_ID),
        ("files[]", Some("main.js"), ESM, CODE),
    ];
    let sim = Sim::start();
    for parts in [wrangler, python, typescript] {
        let made = sim.form("PUT", &script("new"), &parts).result();
        assert_eq!(
            (&made["id"], &made["entry_point"]),
            (&json!("new"), &json!("main.js"))
        );
        let settings = sim.get(&script("new/settings")).result();
        assert_eq!(settings["bindings"], metadata["bindings"]);
        assert_eq!(settings["compatibility_flags"], json!(["nodejs_compat"]));
        assert_eq!(settings["observability"], json!({"enabled": true}));
        let code = sim.get(&script("new"));
        assert_eq!(code.header("cf-entrypoint"), Some("main.js"));
        assert!(String::from_utf8(code.body).unwrap().contains(CODE));
        sim.call("DELETE", &script("new"), None).result();
    }
}

#[test]
fn a_script_of_the_older_syntax_is_a_plain_body() {
    let sim = Sim::start();
    let old = b"addEventListener('fetch', () => {})";
    let made = sim
        .send("PUT", &script("old"), "application/javascript", old)
        .result();
    assert_eq!(made["has_modules"], false);
    let code = sim.get(&script("old"));
    assert_eq!(code.body, old);
    assert_eq!(code.header("content-type"), Some("application/javascript"));
    let nothing = sim.send("PUT", &script("old"), "text/javascript", b"let a = 1;");
    assert_eq!(nothing.error(), (400, 10_068));
    assert_eq!(
        sim.send("PUT", &script("old"), "application/json", b"{}")
            .error(),
        (415, 10_001)
    );
    // What the TypeScript SDK sends when nobody removes its content type.
    let parts = form(&[("metadata", None, None, "{}")]);
    let answer = sim.send("PUT", &script("old"), "application/javascript", &parts);
    assert_eq!(answer.error(), (400, 10_021));
}

#[test]
fn what_metadata_cannot_say_is_10021() {
    let sim = Sim::start();
    let cases = [
        (
            json!({}),
            "metadata must name main_module, body_part or assets.jwt",
        ),
        (
            json!({"main_module": "other.js"}),
            "No such module \"other.js\".",
        ),
        (json!({"main_module": 1}), "main_module must be a string"),
        (
            json!({"main_module": "main.js", "body_part": "main.js"}),
            "metadata must name main_module or body_part, not both",
        ),
        (
            json!({"main_module": "main.js", "compatibility_date": "2026-1-1"}),
            "compatibility_date must be YYYY-MM-DD",
        ),
        (
            json!({"main_module": "main.js", "compatibility_date": "2999-01-01"}),
            "Can't set compatibility date in the future: \"2999-01-01\".",
        ),
        (
            json!({"main_module": "main.js", "compatibility_flags": "x"}),
            "compatibility_flags must be a list of strings",
        ),
        (
            json!({"main_module": "main.js", "usage_model": "bundled"}),
            "usage_model must be standard",
        ),
        (
            json!({"main_module": "main.js", "logpush": 1}),
            "logpush must be true or false",
        ),
        (
            json!({"main_module": "main.js", "observability": {}}),
            "observability must be an object that says whether it is enabled",
        ),
        (
            json!({"main_module": "main.js", "tail_consumers": [{}]}),
            "tail_consumers must be a list of objects that name a service",
        ),
        (
            json!({"main_module": "main.js", "annotations": {"workers/tag": "x".repeat(101)}}),
            "annotation workers/tag has at most 100 bytes",
        ),
        (
            json!({"main_module": "main.js", "annotations": {"a": 1}}),
            "annotation a must be a string",
        ),
        (
            json!({"main_module": "main.js", "keep_bindings": "secret_text"}),
            "keep_bindings must be a list of binding types",
        ),
        (
            json!({"main_module": "main.js", "assets": {"jwt": "x"}}),
            "assets.jwt is not a valid completion token",
        ),
        (
            json!({"main_module": "main.js", "bindings": {}}),
            "bindings must be a list",
        ),
        (
            json!({"main_module": "main.js", "migrations": []}),
            "migrations must be an object",
        ),
    ];
    for (metadata, message) in cases {
        let answer = upload(&sim, "new", &metadata);
        assert_eq!(answer.error(), (400, 10_021), "{metadata}");
        assert_eq!(answer.json()["errors"][0]["message"], message);
    }
    let no_metadata: [Part<'_>; 1] = [("main.js", Some("main.js"), ESM, CODE)];
    let answer = sim.form("PUT", &script("new"), &no_metadata);
    assert_eq!(
        answer.json()["errors"][0]["message"],
        "could not read content for part metadata"
    );
    let as_json: [Part<'_>; 2] = [
        ("metadata", None, None, "{}"),
        ("files", None, Some("application/json"), "{}"),
    ];
    let answer = sim.form("PUT", &script("new"), &as_json);
    assert_eq!(
        answer.json()["errors"][0]["message"],
        "module files has unsupported Content-Type application/json"
    );
    let cut = sim.send("PUT", &script("new"), FORM, b"------test\r\n");
    assert_eq!(cut.error(), (400, 10_021));
    assert_eq!(sim.get(&script("new/settings")).error(), (404, 10_007));
    let metadata = json!({"main_module": "main.js"});
    for name in ["Upper", "-a", "a.b"] {
        assert_eq!(
            upload(&sim, name, &metadata).error(),
            (400, 10_016),
            "{name}"
        );
    }
}

#[test]
fn a_binding_must_be_whole_and_what_it_names_must_be_there() {
    let sim = Sim::start();
    let other = "0".repeat(32);
    let cases = [
        (json!({"type": "plain_text", "text": "x"}), 10_052),
        (json!({"type": "plain_text", "name": "B"}), 10_021),
        (json!({"type": "json", "name": "B"}), 10_021),
        (json!({"type": "psychic", "name": "B"}), 10_021),
        (json!({"name": "B"}), 10_021),
        (json!({"type": "d1", "name": "B"}), 10_021),
        (
            json!({"type": "ratelimit", "name": "B", "namespace_id": "1"}),
            10_021,
        ),
        (
            json!({"type": "wasm_module", "name": "B", "part": "x.wasm"}),
            10_021,
        ),
        (json!({"type": "assets", "name": "B"}), 10_021),
        (
            json!({"type": "kv_namespace", "name": "B", "namespace_id": other}),
            10_041,
        ),
        (
            json!({"type": "d1", "name": "B", "id": "d1000000-0000-4000-8000-000000000009"}),
            10_181,
        ),
        (
            json!({"type": "r2_bucket", "name": "B", "bucket_name": "none"}),
            10_085,
        ),
        (
            json!({"type": "queue", "name": "B", "queue_name": "none"}),
            11_000,
        ),
        (
            json!({"type": "service", "name": "B", "service": "none"}),
            10_144,
        ),
        (
            json!({"type": "durable_object_namespace", "name": "B", "class_name": "None"}),
            10_061,
        ),
        (
            json!({"type": "durable_object_namespace", "name": "B", "class_name": "None", "script_name": "site"}),
            10_061,
        ),
        (
            json!({"type": "dispatch_namespace", "name": "B", "namespace": "n"}),
            100_119,
        ),
        (
            json!({"type": "hyperdrive", "name": "B", "id": other}),
            10_157,
        ),
        (
            json!({"type": "secrets_store_secret", "name": "B", "store_id": "s", "secret_name": "n"}),
            10_182,
        ),
    ];
    for (binding, code) in cases {
        let answer = upload(&sim, "new", &with_bindings(&json!([binding])));
        assert_eq!(answer.error(), (400, code), "{binding}");
    }
    let twice =
        json!([{"type": "plain_text", "name": "B", "text": "x"}, {"type": "ai", "name": "B"}]);
    assert_eq!(
        upload(&sim, "new", &with_bindings(&twice)).error(),
        (400, 10_053)
    );
    let message = upload(
        &sim,
        "new",
        &with_bindings(&json!([{"type": "d1", "name": "DB"}])),
    )
    .json();
    assert_eq!(
        message["errors"][0]["message"],
        "binding DB of type d1 must have a valid `id` specified"
    );
    assert_eq!(sim.get(&script("new/settings")).error(), (404, 10_007));
}

#[test]
fn what_is_there_can_be_bound_and_a_secret_is_never_shown() {
    let sim = Sim::start();
    let given = json!([
        {"type": "kv_namespace", "name": "K", "namespace_id": KV_SITE_ID},
        {"type": "d1", "name": "D", "id": D1_ID},
        {"type": "r2_bucket", "name": "R", "bucket_name": "site-assets"},
        {"type": "queue", "name": "Q", "queue_name": "jobs"},
        {"type": "service", "name": "S", "service": "api"},
        {"type": "service", "name": "SELF", "service": "new"},
        {"type": "json", "name": "J", "json": [1]},
        {"type": "secret_text", "name": "T", "text": "hidden"},
        {"type": "version_metadata", "name": "V"},
    ]);
    upload(&sim, "new", &with_bindings(&given)).result();
    let shown = bindings(&sim, "new");
    assert_eq!(
        shown[1],
        json!({"type": "d1", "name": "D", "id": D1_ID, "database_id": D1_ID})
    );
    assert_eq!(shown[7], json!({"type": "secret_text", "name": "T"}));
    assert_eq!(shown.as_array().unwrap().len(), 9);
    // Names of another account's are not there.
    let elsewhere = format!("/accounts/{GLOBEX_ID}/workers/scripts/new");
    let metadata = with_bindings(&json!([given[0]])).to_string();
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &metadata),
        ("main.js", Some("main.js"), ESM, CODE),
    ];
    assert_eq!(sim.form("PUT", &elsewhere, &parts).error(), (400, 10_041));
}

#[test]
fn keep_bindings_keeps_the_types_it_names_and_nothing_else() {
    let sim = Sim::start();
    let metadata = json!({
        "main_module": "main.js", "keep_bindings": ["secret_text", "kv_namespace"],
        "bindings": [{"type": "plain_text", "name": "MODE", "text": "new"}],
    });
    upload(&sim, "site", &metadata).result();
    let expected = json!([
        {"type": "plain_text", "name": "MODE", "text": "new"},
        {"type": "kv_namespace", "name": "CACHE", "namespace_id": KV_SITE_ID},
        {"type": "secret_text", "name": "SESSION_KEY"},
    ]);
    assert_eq!(bindings(&sim, "site"), expected);
    upload(&sim, "site", &json!({"main_module": "main.js"})).result();
    assert_eq!(bindings(&sim, "site"), json!([]));
}

#[test]
fn inherit_takes_over_a_binding_or_says_that_there_is_none() {
    let sim = Sim::start();
    let metadata = |name: &str, old: Option<&str>| {
        let mut binding = json!({"type": "inherit", "name": name});
        if let Some(old) = old {
            binding["old_name"] = json!(old);
        }
        let text = with_bindings(&json!([binding])).to_string();
        let parts: [Part<'_>; 2] = [
            ("metadata", None, None, &text),
            ("main.js", Some("main.js"), ESM, CODE),
        ];
        form(&parts)
    };
    let put =
        |query: &str, body: &[u8]| sim.send("PUT", &script(&format!("api{query}")), FORM, body);
    let strict = "?bindings_inherit=strict";
    let missing = put(strict, &metadata("NONE", None));
    assert_eq!(missing.error(), (400, 10_057));
    let message = missing.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.starts_with("inherit binding 'NONE' is invalid"),
        "{message}"
    );
    put(strict, &metadata("MONEY", Some("BILLING"))).result();
    assert_eq!(
        bindings(&sim, "api"),
        json!([{"type": "kv_namespace", "name": "MONEY", "namespace_id": KV_BILLING_ID}])
    );
    // Without `strict` what cannot be inherited is dropped.
    put("", &metadata("NONE", None)).result();
    assert_eq!(bindings(&sim, "api"), json!([]));
}

#[test]
fn migrations_make_classes_once_and_from_the_tag_they_expect() {
    let sim = Sim::start();
    let metadata = |migrations: &Value| {
        json!({
            "main_module": "main.js", "migrations": migrations,
            "bindings": [{"type": "durable_object_namespace", "name": "C", "class_name": "Counter"}],
        })
    };
    let first = json!({"new_tag": "v1", "steps": [{"new_sqlite_classes": ["Counter"]}]});
    let made = upload(&sim, "new", &metadata(&first)).result();
    assert_eq!(made["migration_tag"], "v1");
    let classes = sim.get(&format!(
        "/accounts/{ACME_ID}/workers/durable_objects/namespaces?per_page=1000"
    ));
    assert_eq!(classes.result()[0]["name"], "new_Counter");
    assert_eq!(
        upload(&sim, "new", &metadata(&first)).error(),
        (412, 10_079)
    );
    let again = json!({"old_tag": "v1", "new_tag": "v2", "new_classes": ["Counter"]});
    assert_eq!(
        upload(&sim, "new", &metadata(&again)).error(),
        (400, 10_074)
    );
    let gone = json!({"old_tag": "v1", "new_tag": "v2", "deleted_classes": ["Counter"]});
    // The binding would be left without its class.
    assert_eq!(upload(&sim, "new", &metadata(&gone)).error(), (400, 10_061));
    let renamed = json!({"old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": "Tally"}, {"from": "None", "to": "X"}]});
    assert_eq!(
        upload(&sim, "new", &metadata(&renamed)).error(),
        (400, 10_074)
    );
    // Nothing of what was refused has happened.
    upload(
        &sim,
        "new",
        &json!({"main_module": "main.js", "bindings": metadata(&first)["bindings"]}),
    )
    .result();
    let service = sim
        .get(&format!("/accounts/{ACME_ID}/workers/services/new"))
        .result();
    assert_eq!(
        service["default_environment"]["script"]["migration_tag"],
        "v1"
    );
    let text = metadata(&again).to_string();
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &text),
        ("main.js", Some("main.js"), ESM, CODE),
    ];
    assert_eq!(
        sim.form("POST", &script("new/versions"), &parts).error(),
        (400, 10_211)
    );
}

fn manifest(count: u8) -> Value {
    let files: serde_json::Map<String, Value> = (0..count)
        .map(|n| {
            (
                format!("/{n}.html"),
                json!({"hash": format!("{n:032x}"), "size": 3}),
            )
        })
        .collect();
    json!({"manifest": files})
}

fn assets(sim: &Sim, jwt: &str, hashes: &[String], content: &str) -> Answer {
    let parts: Vec<Part<'_>> = hashes
        .iter()
        .map(|hash| {
            (
                hash.as_str(),
                Some(hash.as_str()),
                Some("text/html"),
                content,
            )
        })
        .collect();
    let bearer = format!("Bearer {jwt}");
    let headers = [("authorization", bearer.as_str()), ("content-type", FORM)];
    let target = format!("/client/v4/accounts/{ACME_ID}/workers/assets/upload?base64=true");
    sim.raw("POST", &target, &headers, &form(&parts)).unwrap()
}

#[test]
fn assets_are_uploaded_once_and_redeemed_with_the_last_token() {
    let sim = Sim::start();
    let session = script("new/assets-upload-session");
    let begun = sim.call("POST", &session, Some(&manifest(5))).result();
    let jwt = begun["jwt"].as_str().unwrap();
    let buckets: Vec<Vec<String>> = serde_json::from_value(begun["buckets"].clone()).unwrap();
    assert_eq!(buckets.concat().len(), 5);
    assert!(buckets.len() > 1);
    let (last, others) = buckets.split_last().unwrap();
    for bucket in others {
        let answer = assets(&sim, jwt, bucket, "YWJj");
        assert_eq!(
            (answer.status, answer.json()["result"].clone()),
            (202, json!({}))
        );
    }
    let not_yet = json!({"main_module": "main.js", "assets": {"jwt": jwt}});
    assert_eq!(upload(&sim, "new", &not_yet).error(), (400, 10_021));
    let answer = assets(&sim, jwt, last, "YWJj");
    assert_eq!(answer.status, 201);
    let completion = answer.json()["result"]["jwt"].as_str().unwrap().to_owned();
    let metadata = json!({
        "main_module": "main.js", "assets": {"jwt": completion, "config": {}},
        "bindings": [{"type": "assets", "name": "ASSETS"}],
    });
    assert_eq!(upload(&sim, "new", &metadata).result()["has_assets"], true);
    // What is stored is not asked for again, and the token is the completion token at once.
    let again = sim.call("POST", &session, Some(&manifest(5))).result();
    assert_eq!(again["buckets"], json!([]));
    let more = sim.call("POST", &session, Some(&manifest(6))).result();
    assert_eq!(more["buckets"], json!([[format!("{:032x}", 5)]]));
    let kept = json!({"main_module": "main.js", "keep_assets": true});
    assert_eq!(upload(&sim, "new", &kept).result()["has_assets"], true);
    assert_eq!(
        upload(&sim, "new", &json!({"main_module": "main.js"})).result()["has_assets"],
        false
    );
    let alone = json!({"assets": {"jwt": again["jwt"]}});
    let text = alone.to_string();
    let only: [Part<'_>; 1] = [("metadata", None, None, &text)];
    assert_eq!(
        sim.form("PUT", &script("pages"), &only).result()["has_modules"],
        false
    );
}

#[test]
fn only_a_live_upload_token_uploads_assets() {
    let sim = Sim::start();
    let begun = sim
        .call(
            "POST",
            &script("new/assets-upload-session"),
            Some(&manifest(1)),
        )
        .result();
    let jwt = begun["jwt"].as_str().unwrap();
    let hash = [format!("{:032x}", 0)];
    // Neither the API token nor a token that was made up.
    for token in [TOKEN, "a.b.c"] {
        assert_eq!(assets(&sim, token, &hash, "YWJj").error(), (401, 10_000));
    }
    // And an upload token does nothing else.
    let bearer = format!("Bearer {jwt}");
    let headers = [("authorization", bearer.as_str())];
    assert_ne!(
        sim.raw("GET", "/client/v4/zones", &headers, b"")
            .unwrap()
            .status,
        200
    );
    let other = [format!("{:032x}", 9)];
    assert_eq!(assets(&sim, jwt, &other, "YWJj").error(), (400, 10_021));
    assert_eq!(assets(&sim, jwt, &hash, "YWJjZA==").error(), (400, 10_021));
    assert_eq!(assets(&sim, jwt, &hash, "!").error(), (400, 10_021));
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 3601})));
    assert_eq!(assets(&sim, jwt, &hash, "YWJj").error(), (401, 10_000));
    for bad in [
        json!({}),
        json!({"manifest": {"a.html": {"hash": hash[0], "size": 1}}}),
        json!({"manifest": {"/a.html": {"hash": "short", "size": 1}}}),
        json!({"manifest": {"/a.html": {"hash": hash[0], "size": 26_214_401}}}),
    ] {
        let answer = sim.call("POST", &script("new/assets-upload-session"), Some(&bad));
        assert_eq!(answer.error(), (400, 10_021), "{bad}");
    }
}
