//! What a delivery starts, what is on record of it, and that nothing of it is lost when something fails.

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
use support::database::Storage;
use support::harness::{Harness, Motor};
use support::hooks::{
    BODY, GITHUB, config, deliver, github, github_bytes, github_signature, hooked, known, outcome,
    standard, started, stored,
};
use support::keeper::{Keeper, ROOT, ask};
use support::lab::queue::Unacked;
use support::motor::EngineMotor;
use support::sweep::{Case, fail_every_effect, fail_twice};
use support::works::BOT;
use zonekeeper::gateway::{Inbound, Reply, split_url};
use zonekeeper::model::RunId;

#[test]
fn a_delivery_of_github_starts_a_run_with_what_it_brings() {
    let keeper = hooked();
    let answered = keeper.call(github("72d3-a", "workflow_run", BODY));
    let run = started(&answered);
    assert_eq!(
        answered.json(),
        json!({"success": true, "errors": [], "messages": [], "result": {
            "delivery": "72d3-a", "outcome": "started", "reason": null, "run": run,
            "replay_of": null, "duplicate": false,
        }})
    );
    let sent: Vec<String> = keeper
        .world
        .sent()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(sent, [run.as_str()]);
    let shown = keeper
        .call(ask(&format!("GET /api/v1/runs/{run}")).key(ROOT))
        .result();
    assert_eq!(shown["trigger"], "hook");
    assert_eq!(shown["started_by"], "hook site");
    assert_eq!(shown["job"], "purge");
    // The job's own parameters, and what the hook maps.
    assert_eq!(
        shown["params"],
        json!({"zones": ["example.com"], "tags": ["main"]})
    );
    let entry = keeper
        .audit()
        .into_iter()
        .find(|entry| entry.operation == "zonekeeper-hook-delivery");
    let entry = entry.unwrap();
    assert_eq!(
        entry.sentence,
        format!(
            "hook site (GitHub delivery 72d3-a, workflow_run) started run {run} of purge; it is proved by HOOK_SITE."
        )
    );
    assert_eq!(entry.run_id.as_deref(), Some(run.as_str()));
    assert_eq!(keeper.world.calls(), 0);
    // Neither secret nor signature is kept.
    let dump = keeper.database.sqlite().dump();
    assert!(!dump.contains(GITHUB) && !dump.contains("sha256="));
}

#[test]
fn a_deployment_of_github_starts_a_run_that_knows_which_it_is() {
    let deploys = r#"
[[jobs]]
name = "deploy"
kind = "workers.deploy"
run_as = "bot"
params = { account = "0123456789abcdef0123456789abcdef", script = "site", r2 = { bucket = "builds" } }
[[hooks]]
name = "deployments"
type = "github"
secrets = ["HOOK_SITE"]
job = "deploy"
when = { event = "deployment", "/deployment/environment" = "production" }
params = { github_deployment = "/deployment/id", commit = "/deployment/sha", key = "/deployment/payload/key", sha256 = "/deployment/payload/sha256" }
"#;
    let keeper = Keeper::with(&format!("{}{deploys}", config("")));
    keeper.world.set_secret("HOOK_SITE", Some(GITHUB));
    let sha256 = "0".repeat(64);
    let body = json!({"action": "created", "deployment": {
        "id": 3_141_592_653_u64, "sha": "0123abc", "environment": "production",
        "payload": {"key": "site/1", "sha256": sha256},
    }});
    let delivered = |id: &str, body: &str| {
        let signature = github_signature(GITHUB, body.as_bytes());
        let delivery = deliver("deployments").header("x-github-delivery", id);
        let delivery = delivery.header("x-github-event", "deployment");
        keeper.call(
            delivery
                .header("x-hub-signature-256", &signature)
                .text(body),
        )
    };
    let run = started(&delivered("a", &body.to_string()));
    let shown = keeper.call(ask(&format!("GET /api/v1/runs/{run}")).key(ROOT));
    let params = shown.result()["params"].take();
    assert_eq!(params["github_deployment"], 3_141_592_653_u64);
    assert_eq!(params["key"], "site/1");
    assert_eq!(params["sha256"], sha256);
    let text = body.to_string().replace("3141592653", "\"3141592653\"");
    let refused = delivered("b", &text).text;
    assert!(
        refused.contains("`params.github_deployment` does not fit"),
        "{refused}"
    );
}

#[test]
fn a_filtered_delivery_is_on_record_and_starts_nothing() {
    let keeper = hooked();
    let body = BODY.replace("main", "topic");
    let first = keeper.call(github("a", "workflow_run", &body));
    assert_eq!(outcome(&first), (200, json!("filtered")));
    assert_eq!(
        first.result()["reason"],
        "/workflow_run/head_branch is \"topic\""
    );
    assert_eq!(stored(&keeper), (1, 0));
    assert_eq!(
        keeper.last_entry().sentence,
        "hook site (GitHub delivery a, workflow_run) delivered an event that purge does not wait for; /workflow_run/head_branch is \"topic\"."
    );
    known(&keeper, github("a", "workflow_run", &body), &first);
    let push = keeper.call(github("b", "push", BODY));
    assert_eq!(push.result()["reason"], "event is \"push\"");
    let ping = keeper.call(github("c", "ping", r#"{"zen":"Keep it simple."}"#));
    assert_eq!(outcome(&ping), (200, json!("test")));
}

#[test]
fn what_the_job_cannot_take_is_refused_with_the_field_and_on_record() {
    let keeper = hooked();
    let refused = |id: &str, body: &str, message: &str| {
        let answered = keeper.call(github(id, "workflow_run", body));
        assert_eq!(answered.refused(), (422, 20043), "{}", answered.text);
        assert_eq!(
            answered.message(),
            format!("Nothing was started: {message}.")
        );
        let result = &answered.json()["result"];
        assert_eq!(
            (&result["delivery"], &result["outcome"]),
            (&json!(id), &json!("refused"))
        );
        let (count, runs) = stored(&keeper);
        assert_eq!(runs, 0);
        known(&keeper, github(id, "workflow_run", body), &answered);
        assert_eq!(stored(&keeper).0, count);
    };
    keeper.apply(
        &config("")
            .replace(
                "params = { tags = \"/tags\" }",
                "params = { hosts = \"/hosts\" }",
            )
            .replace("when = ", "# when = "),
    );
    keeper.advance_secs(6);
    refused(
        "a",
        "{}",
        "the field `params.hosts` is to be what stands at /hosts, and there is nothing",
    );
    refused(
        "b",
        r#"{"hosts":"a"}"#,
        "the field `params.hosts` does not fit: expected a list, found the text \"a\"",
    );
    refused(
        "c",
        r#"{"hosts":[""]}"#,
        "the field `params.hosts[0]` does not fit: it must not be empty",
    );
    refused(
        "d",
        r#"{"hosts":["a"],"hosts":["b"]}"#,
        "its body is not JSON, or not strictly so",
    );
    refused(
        "e",
        "payload=%7B%7D",
        "its body is not JSON, or not strictly so",
    );
    let sentence = keeper
        .audit()
        .into_iter()
        .find(|entry| entry.sentence.contains("delivery a,"));
    assert_eq!(
        sentence.unwrap().sentence,
        "hook site (GitHub delivery a, workflow_run) could not start purge: the field `params.hosts` is to be what stands at /hosts, and there is nothing."
    );
    // What is repeated of a delivery is short, and cannot break out of its line.
    for (id, text, shown) in [
        ("long", "a".repeat(900_000), "a long text"),
        (
            "short",
            r"\u202e\nab".to_owned(),
            r#"the text "\u202e\nab""#,
        ),
    ] {
        refused(
            id,
            &format!(r#"{{"hosts":"{text}"}}"#),
            &format!("the field `params.hosts` does not fit: expected a list, found {shown}"),
        );
    }
    let bytes = [b"{\"a\":\"", &[0xff_u8, 0xfe][..], b"\"}"].concat();
    let answered = keeper.call(github_bytes("f", &bytes));
    assert_eq!(answered.refused(), (422, 20043));
    // What the job's principal may not do is not started either.
    keeper.apply(&config("").replace(
        "permissions = [\"Cache Purge\", \"Zone Read\"]",
        "permissions = [\"DNS Read\"]",
    ));
    keeper.advance_secs(6);
    let answered = keeper.call(github("g", "workflow_run", BODY));
    assert_eq!(answered.refused(), (422, 20043));
    assert!(
        answered.message().contains("bot may not purge"),
        "{}",
        answered.text
    );
}

#[test]
fn a_secret_that_is_not_set_is_an_alarm_that_names_it() {
    let keeper = hooked();
    let alarms = || keeper.call(ask("GET /api/v1/alarms").key(ROOT)).result();
    assert_eq!(alarms(), json!([]));
    for (name, value) in [
        ("HOOK_SITE", None),
        ("HOOK_SITE", Some("")),
        ("HOOK_BUS", Some("no-key")),
        ("HOOK_BUS", Some("whsec_")),
    ] {
        let keeper = hooked();
        keeper.world.set_secret(name, value);
        let delivery = if name == "HOOK_SITE" {
            github("a", "workflow_run", BODY)
        } else {
            standard(&keeper, "a", BODY)
        };
        let answered = keeper.call(delivery);
        assert_eq!(answered.refused(), (503, 20081), "{name} {value:?}");
        assert!(!answered.text.contains("HOOK_"), "{}", answered.text);
        assert_eq!(stored(&keeper), (0, 0));
        assert!(
            keeper.world.logs().contains(name),
            "{}",
            keeper.world.logs()
        );
        let found = keeper.call(ask("GET /api/v1/alarms").key(ROOT)).result();
        let hook = if name == "HOOK_SITE" { "site" } else { "bus" };
        assert_eq!(found[0]["kind"], "hook_secret_missing");
        assert_eq!(
            found[0]["message"],
            format!(
                "The hook {hook} names the secret {name}, which is not set in the Worker or not of the form its sender needs."
            )
        );
        let hooks = keeper.call(ask("GET /api/v1/hooks").key(ROOT)).result();
        let shown = hooks
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["name"] == hook);
        assert_eq!(shown.unwrap()["missing_secrets"], json!([name]));
    }
}

#[test]
fn deliveries_are_listed_and_replayed() {
    let keeper = hooked();
    let get = |path: &str| keeper.call(ask(&format!("GET /api/v1{path}")).key(ROOT));
    let topic = BODY.replace("main", "topic");
    keeper.call(github("a", "workflow_run", &topic));
    keeper.advance_secs(1);
    let run = started(&keeper.call(github("b", "workflow_run", BODY)));
    keeper.advance_secs(1);
    keeper.call(github("c", "ping", "{}"));

    let hooks = get("/hooks").result();
    let site = hooks
        .as_array()
        .unwrap()
        .iter()
        .find(|hook| hook["name"] == "site")
        .unwrap();
    assert_eq!(
        (
            &site["path"],
            &site["type"],
            &site["job"],
            &site["missing_secrets"]
        ),
        (
            &json!("/hooks/site"),
            &json!("github"),
            &json!("purge"),
            &json!([])
        )
    );
    assert_eq!(site["last_delivery"]["id"], "c");
    let bus = hooks
        .as_array()
        .unwrap()
        .iter()
        .find(|hook| hook["name"] == "bus")
        .unwrap();
    assert_eq!(bus["last_delivery"], Value::Null);

    let page = get("/hooks/site/deliveries?limit=2").json();
    let ids: Vec<&str> = page["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["c", "b"]);
    let second = &page["result"][1];
    assert_eq!(
        second,
        &json!({
            "id": "b", "time": "2026-11-01T12:00:01.000Z", "event": "workflow_run", "outcome": "started",
            "reason": null, "run_id": run, "replay_of": null, "audit": second["audit"],
        })
    );
    let cursor = page["result_info"]["cursor"].as_str().unwrap();
    let rest = get(&format!("/hooks/site/deliveries?limit=2&cursor={cursor}")).json();
    assert_eq!(
        (&rest["result"][0]["id"], &rest["result_info"]),
        (&json!("a"), &json!({"count": 1, "cursor": null}))
    );
    let filtered = get("/hooks/site/deliveries?outcome=filtered").result();
    assert_eq!(
        (filtered.as_array().unwrap().len(), &filtered[0]["id"]),
        (1, &json!("a"))
    );
    assert_eq!(get("/hooks/bus/deliveries").result(), json!([]));
    for (path, refused) in [
        ("/hooks/other/deliveries", (404, 20090)),
        ("/hooks/site/deliveries?outcome=x", (400, 20032)),
        ("/hooks/site/deliveries?state=failed", (400, 20032)),
        ("/hooks/site/deliveries?cursor=x", (400, 20032)),
        ("/hooks/site/deliveries?limit=0", (400, 20032)),
    ] {
        assert_eq!(get(path).refused(), refused, "{path}");
    }
    // The body is kept and never shown.
    assert!(!page.to_string().contains("head_branch"));
    replays(&keeper, &run);
}

fn replays(keeper: &Rc<Keeper>, run: &str) {
    let replay = |id: &str| {
        keeper.call(ask(&format!("POST /api/v1/hooks/site/deliveries/{id}/replay")).key(ROOT))
    };
    // Under the configuration in force, whatever came of it before.
    assert_eq!(outcome(&replay("a")), (200, json!("filtered")));
    keeper.apply(&config("").replace("[\"main\"]", "[\"main\", \"topic\"]"));
    keeper.advance_secs(6);
    let again = replay("a");
    let new = started(&again);
    let result = again.result();
    assert_eq!(result["replay_of"], "a");
    assert_ne!(new, run);
    let entry = keeper.last_entry();
    assert_eq!(
        entry.sentence,
        format!(
            "root replayed delivery a of hook site, which started run {new} of purge; the root key opens /api/v1."
        )
    );
    let shown = keeper
        .call(ask(&format!("GET /api/v1/runs/{new}")).key(ROOT))
        .result();
    assert_eq!(
        (
            &shown["trigger"],
            &shown["started_by"],
            &shown["params"]["tags"]
        ),
        (&json!("hook"), &json!("root"), &json!(["topic"]))
    );
    // A replay of a replay is one of the delivery itself.
    let id = result["delivery"].as_str().unwrap();
    let third = replay(id);
    assert_ne!(started(&third), new);
    assert_eq!(third.result()["replay_of"], "a");
    let list = keeper
        .call(ask("GET /api/v1/hooks/site/deliveries").key(ROOT))
        .result();
    assert_eq!(list[0]["replay_of"], "a");
    assert_eq!(list.as_array().unwrap().len(), 6);
    assert_eq!(replay("nothing").refused(), (404, 20090));
    keeper.call(github("d", "workflow_run", "no json"));
    assert_eq!(replay("d").refused(), (400, 20032));
    let other = keeper.call(ask("POST /api/v1/hooks/other/deliveries/a/replay").key(ROOT));
    assert_eq!(other.refused(), (404, 20090));
    let key = keeper.mint("caller");
    for line in [
        "GET /api/v1/hooks",
        "GET /api/v1/hooks/site/deliveries",
        "POST /api/v1/hooks/site/deliveries/a/replay",
    ] {
        assert_eq!(
            keeper.call(ask(line).key(&key)).refused(),
            (403, 20020),
            "{line}"
        );
    }
}

#[test]
fn without_the_store_a_delivery_is_not_accepted() {
    let keeper = hooked();
    keeper.call(github("warm", "ping", "{}"));
    keeper.database.set_down(true);
    assert_eq!(
        keeper.call(github("a", "workflow_run", BODY)).refused(),
        (503, 20080)
    );
    keeper.database.set_down(false);
    keeper
        .database
        .fail("INSERT INTO hook_deliveries", Storage::FailsBefore);
    assert_eq!(
        keeper.call(github("a", "workflow_run", BODY)).refused(),
        (503, 20080)
    );
    assert_eq!(stored(&keeper), (1, 0));
    // Stored, but the answer is lost: the sender sends it again and learns what came of it.
    keeper
        .database
        .fail("INSERT INTO hook_deliveries", Storage::FailsAfter);
    assert_eq!(
        keeper.call(github("a", "workflow_run", BODY)).refused(),
        (503, 20080)
    );
    assert_eq!(stored(&keeper), (2, 1));
    let again = keeper.call(github("a", "workflow_run", BODY));
    assert_eq!(outcome(&again), (200, json!("started")));
    assert_eq!(stored(&keeper), (2, 1));
}

/// A delivery that its sender repeats until it is answered 2xx.
struct DeliveryCase;

const CRASH_CONFIG: &str = r#"
[[jobs]]
name = "job"
kind = "cache.purge"
run_as = "bot"
params = { zones = ["example.com"], tags = ["a"] }
[[hooks]]
name = "site"
type = "github"
secrets = ["HOOK_SITE"]
job = "job"
params = { tags = "/tags" }
"#;

impl Case for DeliveryCase {
    fn motor(&self) -> Box<dyn Motor> {
        Box::new(EngineMotor)
    }

    fn setup(&self, harness: &Harness) {
        harness.apply(&format!("{BOT}{CRASH_CONFIG}"));
        let mut secrets = harness.outside.secrets.borrow_mut();
        secrets.insert("HOOK_SITE".to_owned(), GITHUB.to_owned());
    }

    fn start(&self, harness: &Harness) -> Option<RunId> {
        let delivery = github("72d3-a", "workflow_run", BODY);
        let (head, body) = delivery.parts();
        let inbound = Inbound::parse(head);
        let reply = harness.event(async |gateway| {
            gateway.world.set_body(body);
            let (origin, ..) = split_url(inbound.url);
            gateway.receive_hook(&inbound, origin, "site").await.reply
        })?;
        let Reply::Own { status, body, .. } = reply else {
            panic!("a hook hands nothing through");
        };
        let run = || {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["result"]["run"].as_str().unwrap().parse().unwrap()
        };
        status.is_success().then(run)
    }

    fn effects(&self, harness: &Harness) -> Vec<String> {
        harness.purged()
    }

    fn allows_repeat(&self) -> bool {
        true
    }
}

#[test]
fn t9_however_a_delivery_is_cut_off_it_has_one_run_once_it_is_answered() {
    fail_every_effect(&DeliveryCase);
    fail_twice(&DeliveryCase, 150);
}

#[test]
fn a_message_that_is_lost_is_sent_again_by_the_tick() {
    let harness = Harness::new(Box::new(EngineMotor), Unacked::Lost);
    DeliveryCase.setup(&harness);
    let run = DeliveryCase.start(&harness).unwrap();
    harness.outside.queue.purge();
    harness.drain().unwrap();
    assert_eq!(harness.state(run).unwrap().0, "queued");
    harness.settle().unwrap();
    assert_eq!(harness.state(run).unwrap().0, "succeeded");
    assert_eq!(harness.purged().len(), 1);
}
