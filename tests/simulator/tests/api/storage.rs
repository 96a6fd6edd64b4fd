//! D1, R2 and Queues, and what the control says of them.

use crate::support::Sim;
use serde_json::{Value, json};
use simulator::{ACME_ID, D1_ID, GLOBEX_ID, KV_SITE_ID, QUEUE_ID};

fn account(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/{rest}")
}

#[test]
fn the_control_shows_what_is_seeded_and_what_was_sent() {
    let sim = Sim::start();
    let state = sim.control("GET", "/state", None).json();
    assert_eq!(
        state["kv"][0],
        json!({"id": KV_SITE_ID, "title": "site-cache", "account_id": ACME_ID})
    );
    assert_eq!(state["kv"][1]["title"], "billing");
    assert_eq!(
        state["d1"],
        json!([{"id": D1_ID, "name": "site-db", "account_id": ACME_ID, "statements": []}])
    );
    assert_eq!(
        state["r2"],
        json!([{"name": "site-assets", "account_id": ACME_ID}])
    );
    assert_eq!(
        state["queues"],
        json!([{"id": QUEUE_ID, "name": "jobs", "account_id": ACME_ID}])
    );
    let workers: Vec<&Value> = state["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| &w["name"])
        .collect();
    assert_eq!(workers, ["api", "site"]);
    let body = json!({"sql": "DELETE FROM t"});
    sim.call(
        "POST",
        &account(&format!("d1/database/{D1_ID}/query")),
        Some(&body),
    )
    .result();
    let state = sim.control("GET", "/state", None).json();
    assert_eq!(state["d1"][0]["statements"], json!(["DELETE FROM t"]));
    assert_eq!(
        sim.control("POST", "/reset", None).json()["d1"][0]["statements"],
        json!([])
    );
}

#[test]
fn a_database_goes_by_its_id_or_its_name() {
    let sim = Sim::start();
    for wanted in [D1_ID, "site-db"] {
        let database = sim.get(&account(&format!("d1/database/{wanted}"))).result();
        assert_eq!(
            (&database["uuid"], &database["name"]),
            (&json!(D1_ID), &json!("site-db"))
        );
    }
    let chosen = sim
        .get(&account("d1/database/site-db?fields=uuid,name"))
        .result();
    assert_eq!(chosen, json!({"uuid": D1_ID, "name": "site-db"}));
    assert_eq!(sim.get(&account("d1/database/other")).error(), (404, 7404));
    assert_eq!(
        sim.get(&format!("/accounts/{GLOBEX_ID}/d1/database/{D1_ID}"))
            .error(),
        (404, 7404)
    );
    assert_eq!(
        sim.get(&account("d1/database?name=none")).result(),
        json!([])
    );
    assert_eq!(sim.get(&account("d1/database?page=2")).result(), json!([]));
}

#[test]
fn a_database_lives_from_creation_to_deletion() {
    let sim = Sim::start();
    let all = account("d1/database");
    let made = sim
        .call("POST", &all, Some(&json!({"name": "second"})))
        .result();
    let one = format!("{all}/{}", made["uuid"].as_str().unwrap());
    assert_eq!(
        sim.call("POST", &all, Some(&json!({"name": "second"})))
            .error(),
        (400, 7502)
    );
    assert_eq!(
        sim.call("POST", &all, Some(&json!({}))).error(),
        (400, 7400)
    );
    let replicated = json!({"read_replication": {"mode": "auto"}});
    let changed = sim.call("PATCH", &one, Some(&replicated)).result();
    assert_eq!(changed["read_replication"]["mode"], "auto");
    assert_eq!(
        sim.call("PUT", &one, Some(&json!({"name": "x"}))).error(),
        (400, 7400)
    );
    assert_eq!(sim.call("DELETE", &one, None).result(), Value::Null);
    assert_eq!(sim.call("DELETE", &one, None).error(), (404, 7404));
}

#[test]
fn each_statement_has_one_empty_result() {
    let sim = Sim::start();
    let post = |what: &str, body: Value| {
        sim.call(
            "POST",
            &account(&format!("d1/database/site-db/{what}")),
            Some(&body),
        )
    };
    let one = post("query", json!({"sql": "SELECT ?", "params": [1]})).result();
    assert_eq!(one[0]["results"], json!([]));
    assert_eq!(one[0]["meta"]["rows_read"], 0);
    let two = post(
        "raw",
        json!({"batch": [{"sql": "SELECT 1"}, {"sql": "SELECT 2"}]}),
    )
    .result();
    assert_eq!(two.as_array().unwrap().len(), 2);
    assert_eq!(two[1]["results"], json!({"columns": [], "rows": []}));
    let too_many: Vec<u8> = vec![0; 101];
    for body in [
        json!({}),
        json!({"sql": "  "}),
        json!({"sql": "x".repeat(100 * 1024 + 1)}),
        json!({"sql": "SELECT 1", "params": {}}),
        json!({"sql": "SELECT 1", "params": [[]]}),
        json!({"sql": "SELECT 1", "params": too_many}),
        json!({"batch": []}),
        json!({"batch": [{"sql": "SELECT 1"}, {}]}),
    ] {
        assert_eq!(post("query", body.clone()).error(), (400, 7400), "{body}");
    }
    let state = sim.control("GET", "/state", None).json();
    assert_eq!(
        state["d1"][0]["statements"],
        json!(["SELECT ?", "SELECT 1", "SELECT 2"])
    );
}

#[test]
fn a_bucket_holds_objects_until_it_is_empty() {
    let sim = Sim::start();
    let all = account("r2/buckets");
    let made = sim
        .call(
            "POST",
            &all,
            Some(&json!({"name": "logs", "locationHint": "apac"})),
        )
        .result();
    assert_eq!(
        (&made["name"], &made["location"]),
        (&json!("logs"), &json!("APAC"))
    );
    let key = format!("{all}/logs/objects/a%2Fb%20key.txt");
    let put = sim.send("PUT", &key, "text/x-note", b"content").result();
    assert_eq!(
        (&put["key"], &put["size"]),
        (&json!("a/b key.txt"), &json!(7))
    );
    let object = sim.get(&key);
    assert_eq!(object.body, b"content");
    assert_eq!(object.header("content-type"), Some("text/x-note"));
    assert_eq!(
        object.header("etag"),
        Some(format!("\"{}\"", put["etag"].as_str().unwrap()).as_str())
    );
    assert_eq!(
        sim.get(&format!("{all}/logs/objects?prefix=a/")).result()[0]["key"],
        "a/b key.txt"
    );
    assert_eq!(
        sim.call("DELETE", &format!("{all}/logs"), None).error(),
        (409, 10_008)
    );
    sim.call("DELETE", &key, None).result();
    assert_eq!(sim.get(&key).error(), (404, 10_007));
    sim.call("DELETE", &format!("{all}/logs"), None).result();
    assert_eq!(sim.get(&format!("{all}/logs")).error(), (404, 10_006));
}

#[test]
fn buckets_are_listed_by_name_behind_cursors() {
    let sim = Sim::start();
    let all = account("r2/buckets");
    for name in ["logs", "backups"] {
        sim.call("POST", &all, Some(&json!({"name": name})))
            .result();
    }
    let names = |query: &str| {
        let page = sim.get(&format!("{all}{query}")).json();
        let buckets = page["result"]["buckets"].as_array().unwrap().clone();
        let names: Vec<Value> = buckets.iter().map(|b| b["name"].clone()).collect();
        (
            names,
            page["result_info"]["cursor"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(names("").0, ["backups", "logs", "site-assets"]);
    assert_eq!(
        names("?direction=desc").0,
        ["site-assets", "logs", "backups"]
    );
    assert_eq!(names("?name_contains=s-").0, [""; 0]);
    assert_eq!(names("?start_after=backups").0, ["logs", "site-assets"]);
    let (first, cursor) = names("?per_page=2");
    assert_eq!(first, ["backups", "logs"]);
    assert_eq!(
        names(&format!("?per_page=2&cursor={cursor}")),
        (vec![json!("site-assets")], String::new())
    );
}

#[test]
fn what_a_bucket_cannot_be_has_its_code() {
    let sim = Sim::start();
    let all = account("r2/buckets");
    for name in ["", "ab", "Upper", "-a-", "a_b", &"x".repeat(64)] {
        let body = json!({"name": name});
        assert_eq!(
            sim.call("POST", &all, Some(&body)).error(),
            (400, 10_005),
            "{name}"
        );
    }
    let existing = json!({"name": "site-assets"});
    assert_eq!(
        sim.call("POST", &all, Some(&existing)).error(),
        (409, 10_004)
    );
    let class = json!({"name": "cold", "storageClass": "Frozen"});
    assert_eq!(sim.call("POST", &all, Some(&class)).error(), (400, 6007));
    assert_eq!(
        sim.call("PATCH", &format!("{all}/site-assets"), None)
            .error(),
        (400, 6007)
    );
    // A bucket is not seen from another jurisdiction.
    let token = format!("Bearer {}", simulator::TOKEN);
    let elsewhere = |jurisdiction: &str| {
        let headers = [
            ("authorization", token.as_str()),
            ("cf-r2-jurisdiction", jurisdiction),
        ];
        let target = format!("/client/v4{all}/site-assets");
        sim.raw("GET", &target, &headers, b"").unwrap().error()
    };
    assert_eq!(elsewhere("eu"), (404, 10_006));
    assert_eq!(elsewhere("mars"), (400, 6007));
}

#[test]
fn a_queue_knows_who_produces_and_who_consumes() {
    let sim = Sim::start();
    let all = account("queues");
    let jobs = sim.get(&format!("{all}?page=1&name=jobs")).result();
    assert_eq!(jobs[0]["queue_id"], QUEUE_ID);
    assert_eq!(
        jobs[0]["producers"],
        json!([{"type": "worker", "script": "api"}])
    );
    let consumers = format!("{all}/{QUEUE_ID}/consumers");
    let body = json!({"type": "worker", "script_name": "site", "settings": {"batch_size": 5}});
    let made = sim.call("POST", &consumers, Some(&body)).result();
    assert_eq!(made["script"], "site");
    assert_eq!(
        sim.call("POST", &consumers, Some(&body)).error(),
        (409, 11_004)
    );
    assert_eq!(sim.get(&consumers).result()[0], made);
    assert_eq!(
        sim.get(&format!("{all}/{QUEUE_ID}")).result()["consumers_total_count"],
        1
    );
    let one = format!("{consumers}/{}", made["consumer_id"].as_str().unwrap());
    let body = json!({"type": "worker", "script_name": "api"});
    assert_eq!(sim.call("PUT", &one, Some(&body)).result()["script"], "api");
    assert_eq!(sim.get(&one).result()["script"], "api");
    sim.call("DELETE", &one, None).result();
    assert_eq!(sim.get(&one).error(), (404, 11_006));
    assert_eq!(sim.get(&consumers).result(), json!([]));
}

#[test]
fn a_queue_lives_from_creation_to_deletion() {
    let sim = Sim::start();
    let all = account("queues");
    let made = sim
        .call("POST", &all, Some(&json!({"queue_name": "mails"})))
        .result();
    let one = format!("{all}/{}", made["queue_id"].as_str().unwrap());
    let changed = json!({"queue_name": "letters", "settings": {"delivery_delay": 5}});
    let changed = sim.call("PATCH", &one, Some(&changed)).result();
    assert_eq!(
        (
            &changed["queue_name"],
            &changed["settings"]["delivery_delay"]
        ),
        (&json!("letters"), &json!(5))
    );
    for name in ["", "a b", "-a", "UP"] {
        let body = json!({"queue_name": name});
        assert_eq!(
            sim.call("POST", &all, Some(&body)).error(),
            (400, 11_003),
            "{name}"
        );
    }
    let taken = json!({"queue_name": "jobs"});
    assert_eq!(sim.call("POST", &all, Some(&taken)).error(), (409, 11_009));
    // `jobs` is bound by a Worker.
    assert_eq!(
        sim.call("DELETE", &format!("{all}/{QUEUE_ID}"), None)
            .error(),
        (409, 11_005)
    );
    assert_eq!(sim.call("DELETE", &one, None).result(), Value::Null);
    assert_eq!(sim.get(&one).error(), (404, 11_000));
    let consumers = format!("{all}/{QUEUE_ID}/consumers");
    let unknown = json!({"type": "worker", "script_name": "nobody"});
    assert_eq!(
        sim.call("POST", &consumers, Some(&unknown)).error(),
        (404, 10_007)
    );
    assert_eq!(
        sim.call("POST", &consumers, Some(&json!({"type": "x"})))
            .error(),
        (400, 10_026)
    );
}
