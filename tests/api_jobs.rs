//! The routes of jobs, runs, alarms and snapshots: what they show, and what they refuse in a sentence
//! without changing anything.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::ZONE_COM_ID;
use support::works::{Works, job};

fn works() -> Works {
    let jobs = [
        job(
            "purge",
            "cache.purge",
            "schedule = \"0 3 * * *\"\ntimezone = \"Europe/Berlin\"\nparams.zones = [\"example.com\"]\nparams.tags = [\"a\"]",
        ),
        job(
            "keep",
            "dns.snapshot",
            "params.zones = [\"example.com\", \"example.net\"]",
        ),
        job("later", "api.calls", ""),
    ];
    let works = Works::with(&jobs.concat());
    works.tick();
    works
}

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    members
}

/// What of the database a refused request must not change.
fn stored(works: &Works) -> Vec<i64> {
    let tables = [
        "runs",
        "jobs",
        "run_events",
        "snapshots",
        "idempotency_keys",
        "audit_intents",
    ];
    tables.map(|table| works.sqlite().count(table)).to_vec()
}

/// A request that is refused with this status and sentence, and changes nothing.
fn refused(works: &Works, line: &str, body: &Value, status: u16, message: &str) {
    let (before, waiting) = (stored(works), works.harness.outside.queue.waiting());
    let (got, answer) = works.api(line, body);
    assert_eq!(
        (got, &answer["errors"][0]["message"]),
        (status, &json!(message)),
        "{line}: {answer}"
    );
    assert_eq!(answer["success"], false);
    assert_eq!(stored(works), before, "{line}");
    assert_eq!(works.harness.outside.queue.waiting(), waiting, "{line}");
}

fn get_refused(works: &Works, path: &str, status: u16, message: &str) {
    refused(
        works,
        &format!("GET /api/v1{path}"),
        &json!({}),
        status,
        message,
    );
}

#[test]
fn a_job_is_shown_with_what_it_did_and_will_do() {
    let works = works();
    let run = works.finish("purge", &json!({})).run.id;
    let shown = works.done("GET /api/v1/jobs/purge", &json!({}));
    assert_eq!(
        members(&shown),
        [
            "alarms",
            "is_built",
            "kind",
            "last_run",
            "missed",
            "name",
            "next_run_at",
            "open_runs",
            "params",
            "paused_at",
            "paused_by",
            "run_as",
            "schedule",
            "timezone"
        ]
    );
    assert_eq!(shown["last_run"]["id"], run.to_string());
    assert_eq!(shown["last_run"]["reason"], "Done with 2 calls.");
    // Three o'clock in Berlin.
    assert_eq!(shown["next_run_at"], "2026-11-02T02:00:00.000Z");
    assert_eq!(
        (&shown["open_runs"], &shown["is_built"]),
        (&json!(0), &json!(true))
    );
    let all = works.done("GET /api/v1/jobs", &json!({}));
    let all = all.as_array().unwrap();
    assert_eq!(all[0], shown);
    assert_eq!(all.len(), 3);
    assert_eq!(
        (&all[2]["is_built"], &all[2]["last_run"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(works.done("GET /api/v1/alarms", &json!({})), json!([]));
}

#[test]
fn a_run_is_shown_with_its_steps_their_work_and_what_happened() {
    let works = works();
    let body = json!({"params": {"hosts": ["www.example.com"]}});
    let (status, answer) = works.api("POST /api/v1/jobs/purge/runs", &body);
    assert_eq!(
        (status, &answer["result"]["state"]),
        (202, &json!("queued"))
    );
    let id = answer["result"]["id"].as_str().unwrap().to_owned();
    works.settle();
    let shown = works.done(&format!("GET /api/v1/runs/{id}"), &json!({}));
    assert_eq!(
        members(&shown),
        [
            "calls",
            "cancel_requested",
            "created_at",
            "dry_run",
            "failures",
            "finished_at",
            "id",
            "job",
            "kind",
            "limits",
            "params",
            "plans",
            "progress",
            "reason",
            "result",
            "run_as",
            "slot",
            "stage",
            "started_at",
            "started_by",
            "state",
            "steps",
            "trigger",
            "waits_until"
        ]
    );
    let params = json!({"zones": ["example.com"], "tags": ["a"], "hosts": ["www.example.com"]});
    assert_eq!(
        (&shown["params"], &shown["trigger"]),
        (&params, &json!("api"))
    );
    assert_eq!(
        (&shown["started_by"], &shown["run_as"]),
        (&json!("root"), &json!("bot"))
    );
    assert_eq!(shown["progress"], json!({"done": 2, "total": 2}));
    let step = &shown["steps"][1];
    assert_eq!(
        (&step["number"], &step["state"]),
        (&json!(2), &json!("done"))
    );
    assert_eq!(step["summary"], "purge 1 host of example.com");
    // The audit entry that it names is that of its call.
    let entry = step["audit"].as_str().unwrap();
    let rows = works.sqlite().rows(&format!(
        "SELECT run_id FROM audit_intents WHERE id = {entry}"
    ));
    assert_eq!(rows[0]["run_id"], id.as_str());
    let (_, page) = works.api(&format!("GET /api/v1/runs/{id}/steps?limit=1"), &json!({}));
    assert_eq!(page["result_info"], json!({"count": 1, "cursor": "1"}));
    let (_, page) = works.api(&format!("GET /api/v1/runs/{id}/steps?cursor=1"), &json!({}));
    assert_eq!(page["result_info"], json!({"count": 1, "cursor": null}));
    assert_eq!(
        page["result"][0]["work"],
        json!({
            "method": "POST",
            "path": format!("/client/v4/zones/{ZONE_COM_ID}/purge_cache"),
            "body": {"hosts": ["www.example.com"]},
        })
    );
    let events = works.done(&format!("GET /api/v1/runs/{id}/events"), &json!({}));
    let messages: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "Asked for by root.",
            "Planned: 2 items in 1 zone: 2 calls.",
            "Done with 3 calls."
        ]
    );
    let (_, page) = works.api(&format!("GET /api/v1/runs/{id}/events?limit=2"), &json!({}));
    assert_eq!(page["result_info"], json!({"count": 2, "cursor": "2"}));
    let (_, page) = works.api(
        &format!("GET /api/v1/runs/{id}/events?cursor=2"),
        &json!({}),
    );
    assert_eq!(page["result"][0]["id"], 3);
}

#[test]
fn runs_are_listed_page_by_page_newest_first() {
    let works = works();
    let mut ids = Vec::new();
    for nth in 0..7 {
        ids.push(
            works
                .start(["purge", "keep"][nth % 2], &json!({}))
                .to_string(),
        );
        // Some at the same instant.
        works.advance_secs([0, 1, 0][nth % 3]);
    }
    works.settle();
    let listed = |query: &str| -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) =
                works.api(&format!("GET /api/v1/runs?{query}{cursor}"), &json!({}));
            assert_eq!(status, 200, "{page}");
            let items = page["result"].as_array().unwrap();
            found.extend(
                items
                    .iter()
                    .map(|run| run["id"].as_str().unwrap().to_owned()),
            );
            match page["result_info"]["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    let whole = listed("limit=500");
    assert_eq!(whole.len(), 7);
    for limit in 1..=7 {
        assert_eq!(listed(&format!("limit={limit}")), whole, "{limit}");
    }
    let purges: Vec<String> = whole
        .iter()
        .filter(|id| ids.iter().step_by(2).any(|p| p == *id))
        .cloned()
        .collect();
    assert_eq!(listed("job=purge&limit=2"), purges);
    assert_eq!(listed("job=purge&state=succeeded"), purges);
    assert_eq!(listed("state=failed"), [""; 0]);
}

#[test]
fn a_query_that_is_not_understood_is_refused() {
    let works = works();
    let run = works.finish("purge", &json!({})).run.id;
    let list = "This list has no parameter `jobs`; it has job, state, limit, cursor.";
    get_refused(&works, "/runs?jobs=purge", 400, list);
    get_refused(
        &works,
        "/runs?job=a&job=b",
        400,
        "The query parameter `job` takes one value.",
    );
    let states = "The query parameter `state` takes queued, running, succeeded, failed, cancelled, needs_approval or unknown.";
    get_refused(&works, "/runs?state=done", 400, states);
    for limit in ["0", "501", "-1", "x", ""] {
        let message = "The query parameter `limit` takes a number from 1 to 500.";
        get_refused(&works, &format!("/runs?limit={limit}"), 400, message);
    }
    let message = "The query parameter `limit` takes a number from 1 to 20.";
    get_refused(&works, &format!("/runs/{run}/steps?limit=21"), 400, message);
    let cursor = "The query parameter `cursor` takes the cursor of the page before.";
    for path in [
        "/runs?cursor=1",
        "/runs?cursor=1-x",
        "/runs?cursor=-",
        "/snapshots?cursor=x",
    ] {
        get_refused(&works, path, 400, cursor);
    }
    for list in ["steps", "events"] {
        get_refused(&works, &format!("/runs/{run}/{list}?cursor=x"), 400, cursor);
        let message = "This list has no parameter `state`; it has limit, cursor.";
        get_refused(
            &works,
            &format!("/runs/{run}/{list}?state=failed"),
            400,
            message,
        );
    }
}

#[test]
fn what_is_not_there_is_404_and_what_cannot_be_done_is_said() {
    let works = works();
    let run = works.finish("purge", &json!({})).run.id;
    let no_run = "There is no such run.";
    for id in [
        "0".repeat(32),
        "x".to_owned(),
        run.to_string().to_uppercase() + "0",
    ] {
        for path in ["", "/steps", "/events"] {
            get_refused(&works, &format!("/runs/{id}{path}"), 404, no_run);
        }
        for verb in ["cancel", "retry"] {
            refused(
                &works,
                &format!("POST /api/v1/runs/{id}/{verb}"),
                &json!({}),
                404,
                no_run,
            );
        }
        for path in ["", "/difference", "/export"] {
            get_refused(
                &works,
                &format!("/snapshots/{id}{path}"),
                404,
                "There is no such snapshot.",
            );
        }
    }
    let no_job = "There is no job \"nope\" in the configuration in force.";
    get_refused(&works, "/jobs/nope", 404, no_job);
    for verb in ["pause", "resume", "runs"] {
        refused(
            &works,
            &format!("POST /api/v1/jobs/nope/{verb}"),
            &json!({}),
            404,
            no_job,
        );
    }
    let ended = "The run is at its end already: it succeeded.";
    refused(
        &works,
        &format!("POST /api/v1/runs/{run}/cancel"),
        &json!({}),
        400,
        ended,
    );
    let ended = "The run cannot be retried: it succeeded.";
    refused(
        &works,
        &format!("POST /api/v1/runs/{run}/retry"),
        &json!({}),
        400,
        ended,
    );
    let open = works.start("purge", &json!({})).to_string();
    let ended = "The run cannot be retried: it has not begun.";
    refused(
        &works,
        &format!("POST /api/v1/runs/{open}/retry"),
        &json!({}),
        400,
        ended,
    );
    let not_built = "The kind api.calls of the job later is not built yet.";
    refused(
        &works,
        "POST /api/v1/jobs/later/runs",
        &json!({}),
        501,
        not_built,
    );
}

#[test]
fn a_run_is_not_started_with_what_does_not_fit_or_is_not_allowed() {
    let works = works();
    let check = |body: Value, status: u16, message: &str| {
        refused(
            &works,
            "POST /api/v1/jobs/purge/runs",
            &body,
            status,
            message,
        );
    };
    check(
        json!({"parms": {}}),
        400,
        "The body is not what this route takes in the field `parms`: there is no key \"parms\" here; the nearest is \"params\".",
    );
    check(
        json!({"params": {"files": ["x"]}}),
        400,
        "The field `params.files[0]` does not fit: it must be a URL that begins with http:// or https://. Nothing was started.",
    );
    check(
        json!({"params": {"tags": []}}),
        400,
        "The field `params` does not fit: nothing to purge is named: everything, files, tags, hosts or prefixes. Nothing was started.",
    );
    check(
        json!({"params": {"zones": ["example.com", "example.edu"]}}),
        400,
        "The field `params.zones[1]` names \"example.edu\", and there is no such zone. Nothing was started.",
    );
    works.apply_all(
        "[[principals]]\nname = \"bot\"\nkind = \"internal\"\n[[grants]]\nname = \"see\"\nprincipals = [\"bot\"]\neffect = \"allow\"\npermissions = [\"Zone Read\"]\nzones = [\"example.com\"]\n[[jobs]]\nname = \"purge\"\nkind = \"cache.purge\"\nrun_as = \"bot\"\nparams = { zones = [\"example.com\"], tags = [\"a\"] }\n",
    );
    let (status, answer) = works.api("POST /api/v1/jobs/purge/runs", &json!({}));
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert_eq!(status, 403);
    assert!(
        message.starts_with("Nothing was started: bot may not purge the tag a in example.com"),
        "{message}"
    );
}

#[test]
fn d1_a_key_gives_the_same_run_for_the_same_body_and_none_for_another() {
    let works = works();
    let start = |key: &str, body: &Value| {
        works.ask(
            "POST /api/v1/jobs/purge/runs",
            &format!("\nidempotency-key:{key}"),
            body,
        )
    };
    let (status, first) = start("k1", &json!({}));
    assert_eq!(status, 202);
    works.settle();
    let (status, again) = start("k1", &json!({}));
    assert_eq!(
        (status, &again["result"]["id"]),
        (202, &first["result"]["id"])
    );
    assert_eq!(again["result"]["state"], "succeeded");
    let (status, answer) = start("k1", &json!({"dry_run": true}));
    assert_eq!(
        (status, &answer["errors"][0]["message"]),
        (
            422,
            &json!(
                "The Idempotency-Key was used before with another body, so nothing was started."
            )
        )
    );
    assert_ne!(
        start("k2", &json!({})).1["result"]["id"],
        first["result"]["id"]
    );
    assert_eq!(works.sqlite().count("runs"), 2);
    works.advance_secs(86_400);
    assert_eq!(start("k1", &json!({"dry_run": true})).0, 202);
}

#[test]
fn snapshots_are_listed_compared_and_exported() {
    let works = works();
    let path = format!("/zones/{ZONE_COM_ID}/dns_records");
    let body = json!({"type": "TXT", "name": "kept", "content": "one"});
    let id = works.by_hand("POST", &path, &body)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    works.finish("keep", &json!({}));
    works.by_hand("PATCH", &format!("{path}/{id}"), &json!({"content": "two"}));
    works.advance_secs(60);
    works.finish("keep", &json!({}));
    let (_, all) = works.api("GET /api/v1/snapshots", &json!({}));
    assert_eq!(all["result_info"], json!({"count": 4, "cursor": null}));
    let (_, page) = works.api("GET /api/v1/snapshots?zone=example.com", &json!({}));
    let [newer, older] = page["result"].as_array().unwrap().as_slice() else {
        panic!("{page}");
    };
    assert_eq!(
        members(newer),
        [
            "bytes",
            "digest",
            "id",
            "job",
            "records",
            "run",
            "run_as",
            "taken_at",
            "zone",
            "zone_name"
        ]
    );
    let (newer, older) = (newer["id"].as_str().unwrap(), older["id"].as_str().unwrap());
    assert_eq!(
        works.done(&format!("GET /api/v1/snapshots/{newer}"), &json!({}))["id"],
        newer
    );
    let difference = |query: &str| {
        works.done(
            &format!("GET /api/v1/snapshots/{older}/difference{query}"),
            &json!({}),
        )
    };
    let to_newer = difference(&format!("?to={newer}"));
    let text = to_newer.to_string();
    assert!(text.contains("one") && text.contains("two"), "{text}");
    assert_eq!(difference(""), difference("?to=now"));
    let (status, file) = works.api(&format!("GET /api/v1/snapshots/{older}/export"), &json!({}));
    let file = file.as_str().unwrap();
    assert_eq!(status, 200);
    assert!(
        file.contains("kept.example.com.") && file.contains("\"one\""),
        "{file}"
    );
    let (_, net) = works.api("GET /api/v1/snapshots?zone=example.net", &json!({}));
    let other = net["result"][0]["id"].as_str().unwrap();
    let path = format!("/snapshots/{older}/difference?to={other}");
    get_refused(
        &works,
        &path,
        400,
        "The two snapshots are of different zones.",
    );
}
