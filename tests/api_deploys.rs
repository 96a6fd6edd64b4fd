//! The routes of deployments: what begins one, what is refused in a sentence, and what is shown.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{ACME_ID, KV_SITE_ID};
use support::rollout::{self, bundle, history, key_of, usual_bundle};
use support::works::Works;

/// A job that deploys `site` at once, and one that does something else.
fn works() -> Works {
    works_with("")
}

fn works_with(more: &str) -> Works {
    let mut params = rollout::params();
    params.as_object_mut().unwrap().remove("bundle");
    params["steps"] = json!([{"percent": 100}]);
    params["health"] = json!([]);
    let works = Works::with("");
    let jobs = format!(
        r#"
[[jobs]]
name = "site"
kind = "workers.deploy"
run_as = "deployer"
{more}
params = {{ account = {}, script = "site", zones = ["example.com"], commit = "of the job" }}
[[jobs]]
name = "purge"
kind = "cache.purge"
run_as = "deployer"
params = {{ zones = ["example.com"], everything = true }}
"#,
        params["account"]
    );
    works.apply_all(&format!("{}{jobs}", rollout::CONFIG));
    works.tick();
    works
}

fn post(works: &Works, query: &str, body: Vec<u8>) -> (u16, Value) {
    works.ask_bytes(&format!("POST /api/v1/deploys{query}"), "", body)
}

#[test]
fn a_bundle_is_kept_by_its_digest_and_deployed() {
    let works = works();
    let digest = key_of(&usual_bundle()).replace("bundles/", "");
    let query = format!("?job=site&commit=0123abc&message=a%20word&sha256={digest}");
    let (status, answer) = post(&works, &query, usual_bundle());
    assert_eq!(
        (status, &answer["result"]["state"]),
        (202, &json!("queued")),
        "{answer}"
    );
    let id = answer["result"]["id"].as_str().unwrap().to_owned();
    assert!(
        works
            .harness
            .outside
            .blobs
            .get(&format!("bundles/{digest}"))
            .is_some()
    );
    works.settle();
    let shown = works.done(&format!("GET /api/v1/deploys/{id}"), &json!({}));
    assert_eq!(shown["state"], "succeeded", "{shown}");
    assert_eq!(shown["result"]["commit"], "0123abc");
    assert_eq!(shown["result"]["percent"], 100);
    assert_eq!(
        history(&works.harness),
        ["old 100", "new 100", "2 versions"]
    );
    let listed = works.done("GET /api/v1/deploys?job=site", &json!({}));
    assert_eq!(listed[0]["id"], id.as_str());
    // Other runs are none of them.
    works.finish("purge", &json!({}));
    assert_eq!(
        works
            .done("GET /api/v1/deploys", &json!({}))
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // And back.
    let back = works.done(&format!("POST /api/v1/deploys/{id}/rollback"), &json!({}));
    works.settle();
    let back = works.done(
        &format!("GET /api/v1/deploys/{}", back["id"].as_str().unwrap()),
        &json!({}),
    );
    assert_eq!(back["state"], "succeeded", "{back}");
    assert_eq!(back["result"]["version"], shown["result"]["previous"]);
    assert_eq!(back["params"]["message"], format!("roll back run {id}"));
    assert_eq!(back["params"]["rolls_back"], id.as_str());
    assert_eq!(
        history(&works.harness)[..3],
        ["old 100", "new 100", "old 100"]
    );
    // What has all traffic already is only purged for: that is nothing to take back.
    let same = json!({"job": "site", "version": back["result"]["version"]});
    let same = works.done("POST /api/v1/deploys", &same);
    works.settle();
    let same = format!("/api/v1/deploys/{}", same["id"].as_str().unwrap());
    let ended = works.done(&format!("GET {same}"), &json!({}));
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let (status, answer) = works.api(&format!("POST {same}/rollback"), &json!({}));
    assert_eq!(status, 400, "{answer}");
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("changed nothing that could be rolled back"),
        "{message}"
    );
    // A version by its id, as it is asked for by name.
    let version = json!({"job": "site", "version": shown["result"]["version"], "dry_run": true});
    let planned = works.done("POST /api/v1/deploys", &version);
    works.settle();
    let planned = works.done(
        &format!("GET /api/v1/deploys/{}", planned["id"].as_str().unwrap()),
        &json!({}),
    );
    assert!(
        planned["reason"]
            .as_str()
            .unwrap()
            .starts_with("Planned only: 100 % of the traffic of site for "),
        "{planned}"
    );
    assert_eq!(history(&works.harness).len(), 4);
}

#[test]
fn a_job_with_checks_and_a_source_takes_sent_bundles_and_is_rolled_back_at_once() {
    let works = Works::with("");
    let config = format!(
        r#"{}
[[grants]]
name = "counts"
principals = ["deployer"]
effect = "allow"
permissions = ["Account Analytics Read"]
accounts = ["Acme"]
graphql = {{ datasets = ["workersInvocationsAdaptive"] }}
[[jobs]]
name = "site"
kind = "workers.deploy"
run_as = "deployer"
[jobs.params]
account = "{ACME_ID}"
script = "site"
steps = [{{ percent = 5, wait_secs = 60 }}, {{ percent = 100 }}]
health = [{{ url = "https://site.example.com/__sim/sites/site/health" }}]
error_rate = {{ max_percent_points = 0.5 }}
kv = {{ namespace = "{KV_SITE_ID}", key = "site" }}
"#,
        rollout::CONFIG
    );
    works.apply_all(&config);
    works.tick();
    let (status, begun) = post(&works, "?job=site", usual_bundle());
    assert_eq!(status, 202, "{begun}");
    works.settle();
    let id = begun["result"]["id"].as_str().unwrap();
    let shown = works.done(&format!("GET /api/v1/deploys/{id}"), &json!({}));
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let back = works.done(&format!("POST /api/v1/deploys/{id}/rollback"), &json!({}));
    works.settle();
    let back = back["id"].as_str().unwrap();
    let back = works.done(&format!("GET /api/v1/deploys/{back}"), &json!({}));
    assert_eq!(back["state"], "succeeded", "{back}");
    let shares = history(&works.harness);
    let expected = ["old 100", "new 5 old 95", "new 100", "old 100"];
    assert_eq!(shares[..4], expected, "{shares:?}");
}

#[test]
fn where_a_token_goes_is_for_the_configuration_alone_to_say() {
    let works = works();
    let github = json!({"repository": "a/b", "token": "DEPLOY_GITHUB", "artifact": "x", "api": "https://site.example.com"});
    for github in [github, Value::Null] {
        let asked = json!({"dry_run": true, "params": {"github": github, "run_id": 1}});
        let (status, answer) = works.api("POST /api/v1/jobs/site/runs", &asked);
        assert_eq!(status, 400, "{answer}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with(
                "The field `params.github` does not fit: only the job's configuration sets it"
            ),
            "{message}"
        );
    }
    let asked = json!({"dry_run": true, "params": {"rolls_back": "0".repeat(32)}});
    let (status, answer) = works.api("POST /api/v1/jobs/site/runs", &asked);
    assert_eq!(status, 400, "{answer}");
    assert_eq!(works.sqlite().count("runs"), 0);
}

#[test]
fn what_nobody_would_bring_or_nobody_may_is_said_before_it_is_applied() {
    let works = works();
    let ask = |source: &str, hook: &str| -> Vec<String> {
        let account = format!("account = \"{ACME_ID}\", script = \"site\"");
        let config = format!(
            "{}[[jobs]]\nname = \"site\"\nkind = \"workers.deploy\"\nrun_as = \"deployer\"\n\
             schedule = \"0 3 * * *\"\nparams = {{ {account}{source} }}\n{hook}",
            rollout::CONFIG
        );
        let (_, answer) = works.ask_bytes(
            "POST /api/v1/config/plan",
            "\ncontent-type:application/toml",
            config.into_bytes(),
        );
        let problems = answer["errors"].as_array().unwrap().iter();
        let line = |text: &str| text.split_once(", ").map(|(_, rest)| rest.to_owned());
        problems
            .map(|problem| problem["message"].as_str().unwrap())
            .filter_map(line)
            .collect()
    };
    let kv = format!(", kv = {{ namespace = \"{KV_SITE_ID}\" }}");
    let key = format!(", kv = {{ namespace = \"{KV_SITE_ID}\", key = \"site\" }}");
    let digest = format!("{key}, sha256 = \"{}\"", "0".repeat(64));
    let github = ", github = { repository = \"a/b\", token = \"DEPLOY_A\", ";
    for (source, lacks) in [
        (String::new(), Some("version")),
        (kv, Some("key")),
        (key, Some("sha256")),
        (digest, None),
        (format!("{github}artifact = \"x\" }}"), Some("run_id")),
        (format!("{github}asset = \"x\" }}"), Some("tag")),
    ] {
        let expected = lacks.map(|param| {
            let others = if param == "version" {
                ", or `github`, `kv` or `r2`"
            } else {
                ""
            };
            format!("jobs[0].params.{param}: it must stand here{others}, as no schedule brings it.")
        });
        let said = ask(&source, "");
        let of_params = said.iter().filter(|it| it.ends_with("schedule brings it."));
        assert!(of_params.eq(expected.iter()), "{source}: {said:?}");
    }
    let hook = "[[hooks]]\nname = \"push\"\ntype = \"github\"\nsecrets = [\"HOOK_A\"]\njob = \"site\"\n\
         params = { bundle = \"/bundle\", commit = \"/sha\" }\n";
    let said = ask("", hook);
    let expected = "hooks[0].params.bundle: only Zonekeeper sets it.";
    assert!(said.iter().any(|it| it == expected), "{said:?}");
    let hook = hook.replace("bundle = \"/bundle\"", "kv = \"/kv\"");
    let said = ask("", &hook);
    let expected = "hooks[0].params.kv: only the job's configuration sets it.";
    assert!(said.iter().any(|it| it == expected), "{said:?}");
    let said = ask(", rolls_back = \"x\"", "");
    let expected = "jobs[0].params.rolls_back: only Zonekeeper sets it.";
    assert!(said.iter().any(|it| it == expected), "{said:?}");
}

#[test]
fn the_newest_wins_where_the_job_says_so_and_a_dry_run_ends_nothing() {
    let works = works_with("overlap = \"cancel\"");
    let begin = |query: &str| {
        let (status, answer) = post(&works, &format!("?job=site{query}"), usual_bundle());
        assert_eq!(status, 202, "{answer}");
        answer["result"]["id"].as_str().unwrap().to_owned()
    };
    let wanted = |id: &str| {
        let rows = works.sqlite().rows(&format!(
            "SELECT cancel_requested FROM runs WHERE id = '{id}'"
        ));
        rows[0]["cancel_requested"] == 1
    };
    let first = begin("");
    begin("&dry_run=true");
    assert!(!wanted(&first));
    let last = begin("&message=newer");
    assert!(wanted(&first) && !wanted(&last));
    works.settle();
    let shown = works.done(&format!("GET /api/v1/deploys/{last}"), &json!({}));
    assert_eq!(shown["state"], "succeeded", "{shown}");
    assert_eq!(
        history(&works.harness),
        ["old 100", "new 100", "2 versions"]
    );
}

#[test]
fn one_idempotency_key_begins_one_deployment() {
    let works = works();
    let begin = |query: &str| {
        works.ask_bytes(
            &format!("POST /api/v1/deploys{query}"),
            "\nidempotency-key:one",
            usual_bundle(),
        )
    };
    let (first, again) = (begin("?job=site"), begin("?job=site"));
    assert_eq!((first.0, again.0), (202, 202));
    assert_eq!(first.1["result"]["id"], again.1["result"]["id"]);
    assert_eq!(begin("?job=site&commit=other").0, 422);
}

#[test]
fn what_cannot_be_deployed_is_refused_and_nothing_is_kept() {
    let works = works();
    let migrations = bundle(
        &json!({"main_module": "index.js", "migrations": {"new_tag": "v2"}}),
        "",
    );
    for (query, body, status, says) in [
        ("", usual_bundle(), 400, "The parameter `job` is missing"),
        ("?job=nope", usual_bundle(), 404, "There is no job \"nope\""),
        (
            "?job=purge",
            usual_bundle(),
            400,
            "The job purge is of kind cache.purge",
        ),
        (
            "?job=site&job=site",
            usual_bundle(),
            400,
            "The query parameter `job` stands twice.",
        ),
        (
            "?job=site&x=1",
            usual_bundle(),
            400,
            "A bundle takes the query parameters",
        ),
        (
            "?job=site&dry_run=1",
            usual_bundle(),
            400,
            "A bundle takes the query parameters",
        ),
        (
            "?job=site&sha256=00",
            usual_bundle(),
            400,
            "The parameter `sha256` does not fit",
        ),
        (
            "?job=site",
            migrations,
            400,
            "The bundle carries migrations",
        ),
        (
            "?job=site",
            b"--b0\r\n".to_vec(),
            400,
            "The bundle is no form",
        ),
        (
            "?job=site",
            b"{}".to_vec(),
            400,
            "Beside JSON there are no query parameters.",
        ),
        (
            "",
            b"{\"job\":\"site\"}".to_vec(),
            400,
            "The field `version` is missing",
        ),
        (
            "",
            b"{\"job\":\"site\",\"version\":\"latest\"}".to_vec(),
            400,
            "The field `params.version` does not fit",
        ),
        (
            "",
            b"{\"job\":\"site\",\"verison\":\"\"}".to_vec(),
            400,
            "The body",
        ),
        (
            "",
            b"{\"job\":\"site\",\"job\":\"site\"}".to_vec(),
            400,
            "The body is not acceptable JSON",
        ),
        (
            "",
            b"export default {}".to_vec(),
            400,
            "The body is not acceptable JSON",
        ),
    ] {
        let (got, answer) = post(&works, query, body);
        let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{query}: {answer}");
        assert!(message.starts_with(says), "{query}: {message}");
    }
    assert_eq!(works.harness.outside.blobs.keys(), [""; 0]);
    assert_eq!(works.sqlite().count("runs"), 0);
}

#[test]
fn a_deployment_that_is_over_is_neither_promoted_nor_aborted() {
    let works = works();
    let (_, answer) = post(&works, "?job=site", usual_bundle());
    let id = answer["result"]["id"].as_str().unwrap().to_owned();
    let refused = |verb: &str, says: &str| {
        let (status, answer) = works.api(&format!("POST /api/v1/deploys/{id}/{verb}"), &json!({}));
        assert_eq!(status, 400, "{answer}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.starts_with(says), "{message}");
    };
    refused("rollback", "The deployment is not at its end");
    works.settle();
    refused("promote", "The deployment is at its end already.");
    refused("abort", "The run is at its end already");
    let purge = works.start("purge", &json!({}));
    for verb in ["promote", "abort", "rollback"] {
        let (status, _) = works.api(&format!("POST /api/v1/deploys/{purge}/{verb}"), &json!({}));
        assert_eq!(status, 404, "{verb}");
    }
    assert_eq!(
        works
            .api(&format!("GET /api/v1/deploys/{purge}"), &json!({}))
            .0,
        404
    );
}
