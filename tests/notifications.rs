//! Who is told how runs ended, and that nobody is told twice, or not at all.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use ring::hmac;
use serde_json::{Value, json};
use simulator::GITHUB_TOKEN;
use support::harness::Harness;
use support::lab::injector::Fault;
use support::lab::queue::Unacked;
use support::motor::{EngineMotor, JobCase};
use support::rollout;
use support::sweep::Case as _;
use zonekeeper::config::{Format, read, validate};
use zonekeeper::model::{RunId, base64};
use zonekeeper::run::RunState;

const NOTIFICATIONS: &str = r#"
[[notifications]]
name = "team"
type = "slack"
url = "NOTIFY_TEAM_URL"
[[notifications]]
name = "pager"
type = "standard"
url = "NOTIFY_PAGER_URL"
key = "NOTIFY_PAGER_KEY"
outcomes = ["failed", "succeeded"]
"#;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const COMMIT: &str = "0123abc0123abc0123abc0123abc0123abc01234";

fn config(notifications: &str) -> String {
    let hosts = r#"hosts = ["site.example.com", "hooks.example.com"]"#;
    let config = rollout::CONFIG.replace(r#"hosts = ["site.example.com"]"#, hosts);
    format!("{config}{notifications}")
}

fn harness(notifications: &str) -> Harness {
    let harness = Harness::new(Box::new(EngineMotor), Unacked::Redelivered);
    harness.apply(&config(notifications));
    rollout::prepare(&harness);
    let sink = |name| format!("https://hooks.example.com/__sim/sink/{name}");
    for (name, secret) in [
        ("NOTIFY_TEAM_URL", sink("team")),
        ("NOTIFY_PAGER_URL", sink("pager")),
        ("NOTIFY_PAGER_KEY", KEY.to_owned()),
        ("NOTIFY_GITHUB", GITHUB_TOKEN.to_owned()),
    ] {
        harness
            .outside
            .secrets
            .borrow_mut()
            .insert(name.to_owned(), secret);
    }
    // A notification tells of what ends after it was first seen.
    harness.tick(harness.now());
    harness
}

/// A deployment that is over at once: it goes well, or its address cannot be asked.
fn deploy(harness: &Harness, goes_well: bool) -> RunId {
    deploy_of(harness, goes_well, &Value::Null)
}

/// The same of a deployment at GitHub, unless that is null.
fn deploy_of(harness: &Harness, goes_well: bool, github_deployment: &Value) -> RunId {
    let mut params = rollout::params();
    if !github_deployment.is_null() {
        params["github_deployment"] = github_deployment.clone();
    }
    params["commit"] = json!(COMMIT);
    if goes_well {
        params["steps"] = json!([{"percent": 100}]);
        params["health"] = json!([]);
    } else {
        params["steps"] = json!([{"percent": 5, "wait_secs": 10}, {"percent": 100}]);
        params["health"] = json!([{"url": "https://other.example.com/"}]);
    }
    begin(harness, params)
}

/// A deployment that takes another one back, as a rollback begins it.
fn take_back(harness: &Harness, run: RunId, goes_well: bool) -> RunId {
    let mut params = rollout::params();
    params.as_object_mut().unwrap().remove("commit");
    params["rolls_back"] = json!(run);
    params["steps"] = json!([{"percent": 100}]);
    params["health"] = json!([]);
    if !goes_well {
        params["replaces"] = json!("00000000-0000-4000-8000-000000000000");
    }
    begin(harness, params)
}

fn begin(harness: &Harness, params: Value) -> RunId {
    let case = JobCase {
        config: "",
        kind: "workers.deploy",
        run_as: "deployer",
        params,
        prepare: |_| {},
        effects: |_| Vec::new(),
        allows_repeat: false,
        ends: RunState::Succeeded,
        planted: None,
        may_stay_unknown: &[],
    };
    case.start(harness).unwrap()
}

fn minutes(harness: &Harness, minutes: u32) {
    for _ in 0..minutes {
        harness.drain().unwrap();
        harness.outside.advance_ms(60_000);
        harness.tick(harness.now());
    }
}

/// What came to a sink: headers and body.
fn came(harness: &Harness, sink: &str) -> Vec<(Value, String)> {
    let mut network = harness.outside.network.borrow_mut();
    let answered = network
        .lab
        .call("GET", &format!("/__sim/sink/{sink}"), &[], b"", 0);
    assert_eq!(answered.status, 200);
    let text = String::from_utf8(answered.body).unwrap();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let body = line["body_base64"].as_str().unwrap();
            let body = simulator_base64(body);
            (line["headers"].clone(), body)
        })
        .collect()
}

fn simulator_base64(text: &str) -> String {
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    String::from_utf8(zonekeeper::model::base64url::decode(&text).unwrap()).unwrap()
}

fn header<'h>(headers: &'h Value, name: &str) -> &'h str {
    let all = headers.as_array().unwrap();
    let found = all.iter().find(|pair| pair[0] == name).unwrap();
    found[1].as_str().unwrap()
}

#[test]
fn an_end_is_told_once_in_the_form_the_receiver_takes() {
    let harness = harness(NOTIFICATIONS);
    let run = deploy(&harness, false);
    minutes(&harness, 5);
    assert_eq!(harness.state(run).unwrap().0, "failed");
    let team = came(&harness, "team");
    assert_eq!(team.len(), 1, "{team:?}");
    let text: Value = serde_json::from_str(&team[0].1).unwrap();
    let text = text["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "job failed. https://other.example.com/: its host is not one of outbound.hosts"
        ),
        "{text}"
    );
    assert!(text.ends_with(&format!("(run {run})")), "{text}");
    let pager = came(&harness, "pager");
    assert_eq!(pager.len(), 1);
    let (headers, body) = &pager[0];
    let event: Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["type"], "run.failed");
    assert_eq!(event["data"]["run"], run.to_string());
    let signed = format!(
        "{}.{}.{body}",
        header(headers, "webhook-id"),
        header(headers, "webhook-timestamp")
    );
    let key = simulator_key();
    let mac = hmac::sign(&key, signed.as_bytes());
    let expected = format!("v1,{}", base64::encode(mac.as_ref()));
    assert_eq!(header(headers, "webhook-signature"), expected);
}

fn simulator_key() -> hmac::Key {
    let text = KEY
        .trim_start_matches("whsec_")
        .replace('+', "-")
        .replace('/', "_");
    let key = zonekeeper::model::base64url::decode(&text).unwrap();
    hmac::Key::new(hmac::HMAC_SHA256, &key)
}

#[test]
fn only_what_a_notification_asks_for_is_told() {
    let harness = harness(NOTIFICATIONS);
    deploy(&harness, true);
    minutes(&harness, 5);
    assert_eq!(came(&harness, "team"), []);
    assert_eq!(came(&harness, "pager").len(), 1);
}

#[test]
fn what_ended_before_a_notification_was_there_is_not_told() {
    let harness = harness("");
    deploy(&harness, false);
    minutes(&harness, 3);
    harness.apply(&config(NOTIFICATIONS));
    minutes(&harness, 3);
    assert_eq!(came(&harness, "team"), []);
}

#[test]
fn a_receiver_that_fails_is_told_again_and_not_for_ever() {
    let harness = harness(NOTIFICATIONS);
    harness
        .outside
        .secrets
        .borrow_mut()
        .remove("NOTIFY_TEAM_URL");
    deploy(&harness, false);
    minutes(&harness, 3);
    assert_eq!(came(&harness, "pager").len(), 1);
    assert_eq!(came(&harness, "team"), []);
    let url = "https://hooks.example.com/__sim/sink/team".to_owned();
    harness
        .outside
        .secrets
        .borrow_mut()
        .insert("NOTIFY_TEAM_URL".to_owned(), url);
    minutes(&harness, 20);
    assert_eq!(came(&harness, "team").len(), 1);
    let gone = harness_without_receiver();
    minutes(&gone, 900);
    let rows = gone
        .outside
        .sqlite
        .rows("SELECT attempts, detail FROM notices WHERE notification = 'team'");
    assert_eq!(rows[0]["attempts"], 8);
    assert!(
        rows[0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("given up after 8 attempts: ")
    );
    assert!(
        gone.outside
            .logs()
            .contains("ALARM: notification team of run")
    );
}

fn harness_without_receiver() -> Harness {
    let harness = harness(NOTIFICATIONS);
    harness
        .outside
        .secrets
        .borrow_mut()
        .remove("NOTIFY_TEAM_URL");
    deploy(&harness, false);
    harness
}

#[test]
fn u4_a_notification_goes_to_listed_hosts_only_and_its_address_is_no_ones_to_read() {
    let harness = harness(NOTIFICATIONS);
    let secret = "https://evil.example/services/T0/B0/very-secret".to_owned();
    harness
        .outside
        .secrets
        .borrow_mut()
        .insert("NOTIFY_TEAM_URL".to_owned(), secret);
    deploy(&harness, false);
    minutes(&harness, 3);
    let rows = harness
        .outside
        .sqlite
        .rows("SELECT detail FROM notices WHERE notification = 'team'");
    let detail = rows[0]["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "evil.example: its host is not one of outbound.hosts in the configuration"
    );
    assert!(!harness.outside.logs().contains("very-secret"));
    let probed = harness.outside.injector.effects();
    assert!(!probed.iter().any(|effect| effect.contains("evil")));
}

#[test]
fn a_commit_gets_its_status() {
    let harness = harness(STATUSES);
    deploy(&harness, true);
    minutes(&harness, 4);
    let statuses = at_github(&harness, "GET", &format!("commits/{COMMIT}/statuses"), "");
    assert_eq!(statuses.as_array().unwrap().len(), 1, "{statuses}");
    assert_eq!(statuses[0]["state"], "success");
    assert_eq!(statuses[0]["context"], "zonekeeper/job");
}

#[test]
fn a_deployment_at_github_gets_its_status_in_place_of_the_commit() {
    for (goes_well, state) in [(true, "success"), (false, "failure")] {
        let harness = harness(STATUSES);
        let asked = json!({"ref": COMMIT, "auto_merge": false, "required_contexts": []});
        let made = at_github(&harness, "POST", "deployments", &asked.to_string());
        deploy_of(&harness, goes_well, &made["id"]);
        minutes(&harness, 4);
        let path = format!("deployments/{}/statuses", made["id"]);
        let statuses = at_github(&harness, "GET", &path, "");
        assert_eq!(statuses.as_array().unwrap().len(), 1, "{statuses}");
        assert_eq!(statuses[0]["state"], state);
        let description = statuses[0]["description"].as_str().unwrap();
        assert!(description.starts_with("job "), "{description}");
        assert!(description.chars().count() <= 140, "{description}");
        let of_commit = format!("commits/{COMMIT}/statuses");
        assert_eq!(at_github(&harness, "GET", &of_commit, ""), json!([]));
    }
}

#[test]
fn what_is_taken_back_is_said_of_what_had_brought_it() {
    let harness = harness(STATUSES);
    let asked = json!({"ref": COMMIT, "auto_merge": false, "required_contexts": []});
    let made = at_github(&harness, "POST", "deployments", &asked.to_string());
    let of_deployment = format!("deployments/{}/statuses", made["id"]);
    let of_commit = format!("commits/{COMMIT}/statuses");
    let said = |path: &str, field: &str| -> Vec<String> {
        let statuses = at_github(&harness, "GET", path, "");
        let said = statuses.as_array().unwrap().iter().rev();
        said.map(|status| status[field].as_str().unwrap().to_owned())
            .collect()
    };
    let deployed = deploy_of(&harness, true, &made["id"]);
    minutes(&harness, 4);
    // It changes nothing: what it found is not what it was to take back.
    take_back(&harness, deployed, false);
    minutes(&harness, 4);
    assert_eq!(said(&of_deployment, "state"), ["success"]);
    let back = take_back(&harness, deployed, true);
    minutes(&harness, 4);
    assert_eq!(said(&of_deployment, "state"), ["success", "inactive"]);
    let again = take_back(&harness, back, true);
    minutes(&harness, 4);
    assert_eq!(
        said(&of_deployment, "state"),
        ["success", "inactive", "success"]
    );
    assert_eq!(
        said(&of_deployment, "description")[1..],
        [
            format!("job was rolled back by run {back}."),
            format!("job is in force again by run {again}.")
        ]
    );
    assert_eq!(said(&of_commit, "state"), [""; 0]);

    let committed = deploy(&harness, true);
    minutes(&harness, 4);
    take_back(&harness, committed, true);
    minutes(&harness, 4);
    assert_eq!(said(&of_commit, "state"), ["success", "failure"]);
    // It is known no more what this one would be about.
    take_back(&harness, RunId::from_random([7; 16]), true);
    minutes(&harness, 4);
    assert_eq!(said(&of_commit, "state"), ["success", "failure"]);
    let logs = harness.outside.logs();
    assert!(!logs.contains("ALARM: notification"), "{logs}");
}

#[test]
fn a_rollback_that_does_not_end_well_is_told_by_what_it_did() {
    for (percent, states) in [(100, vec!["success", "failure"]), (0, vec!["success"])] {
        let harness = harness(STATUSES);
        let deployed = deploy(&harness, true);
        minutes(&harness, 4);
        let run = take_back(&harness, deployed, true);
        harness.settle().unwrap();
        // As if a purge had been refused after the switch, or the switch itself.
        harness.outside.sqlite.rows(&format!(
            "UPDATE runs SET state = 'failed', result = json_set(result, '$.percent', {percent}) \
             WHERE id = '{run}' AND state = 'succeeded' RETURNING id"
        ));
        assert_eq!(harness.state(run).unwrap().0, "failed");
        minutes(&harness, 4);
        let statuses = at_github(&harness, "GET", &format!("commits/{COMMIT}/statuses"), "");
        let said = statuses.as_array().unwrap().iter().rev();
        let said: Vec<&str> = said.map(|it| it["state"].as_str().unwrap()).collect();
        assert_eq!(said, states);
    }
}

#[test]
fn a_run_that_is_about_nothing_at_github_is_no_alarm() {
    let harness = harness(STATUSES);
    let mut params = rollout::params();
    params.as_object_mut().unwrap().remove("commit");
    params["steps"] = json!([{"percent": 100}]);
    params["health"] = json!([]);
    begin(&harness, params);
    minutes(&harness, 4);
    let rows = harness
        .outside
        .sqlite
        .rows("SELECT detail FROM notices WHERE notification = 'commits'");
    assert_eq!(
        rows[0]["detail"],
        "there is nothing at GitHub that it is about"
    );
    let logs = harness.outside.logs();
    assert!(!logs.contains("ALARM: notification"), "{logs}");
}

#[test]
fn a_deployment_that_github_does_not_know_is_given_up_and_said() {
    let harness = harness(STATUSES);
    deploy_of(&harness, true, &json!(4_711));
    minutes(&harness, 900);
    let logs = harness.outside.logs();
    assert!(
        logs.contains("ALARM: notification commits of run"),
        "{logs}"
    );
    assert!(logs.contains("the receiver answered 404"), "{logs}");
    let of_commit = format!("commits/{COMMIT}/statuses");
    assert_eq!(at_github(&harness, "GET", &of_commit, ""), json!([]));
}

const STATUSES: &str = r#"
[[notifications]]
name = "commits"
type = "github"
repository = "acme/site"
key = "NOTIFY_GITHUB"
api = "https://hooks.example.com/__sim/github"
outcomes = ["succeeded", "failed"]
"#;

/// What the simulated GitHub answers about the repository.
fn at_github(harness: &Harness, method: &str, path: &str, body: &str) -> Value {
    let mut network = harness.outside.network.borrow_mut();
    let path = format!("/__sim/github/repos/acme/site/{path}");
    let bearer = format!("Bearer {GITHUB_TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("user-agent", "test")];
    let answered = network
        .lab
        .call(method, &path, &headers, body.as_bytes(), 0);
    assert!(answered.status < 300, "{answered:?}");
    serde_json::from_slice(&answered.body).unwrap()
}

#[test]
fn cut_off_at_any_effect_an_end_is_told_all_the_same_and_twice_only_with_one_id() {
    let count = {
        let harness = harness(NOTIFICATIONS);
        deploy(&harness, false);
        harness.drain().unwrap();
        let from = harness.outside.injector.count();
        minutes(&harness, 1);
        harness.outside.injector.count() - from
    };
    assert!(count > 8, "{count}");
    for nth in 1..=count {
        for fault in Fault::ALL {
            let harness = harness(NOTIFICATIONS);
            deploy(&harness, false);
            harness.drain().unwrap();
            harness.outside.injector.plan(nth, fault);
            minutes(&harness, 30);
            for sink in ["team", "pager"] {
                let came = came(&harness, sink);
                assert!(!came.is_empty(), "{fault:?} at {nth}: {sink}");
                assert!(came.len() <= 2, "{fault:?} at {nth}: {sink} {}", came.len());
                assert_eq!(came[0].1.contains("run.failed"), sink == "pager");
                if sink == "pager" && came.len() == 2 {
                    let ids = [0, 1].map(|index| header(&came[index].0, "webhook-id"));
                    assert_eq!(ids[0], ids[1]);
                }
            }
        }
    }
}

#[test]
fn each_mistake_in_a_notification_is_named() {
    let problems = |notification: &str| {
        let config = config(&format!("[[notifications]]\n{notification}"));
        let source = read(config.as_bytes(), Format::Toml).unwrap();
        let problems = validate(&source).err().unwrap_or_default();
        let problems = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.field, problem.message));
        problems.collect::<Vec<_>>().join("\n")
    };
    let good = "name = \"a\"\ntype = \"slack\"\nurl = \"NOTIFY_A\"";
    assert_eq!(problems(good), "");
    for (notification, field) in [
        (
            "name = \"a\"\ntype = \"slack\"",
            "notifications[0].url: it is missing",
        ),
        (
            "name = \"a\"\ntype = \"slack\"\nurl = \"ROOT_KEY\"",
            "notifications[0].url: \"ROOT_KEY\" is no name",
        ),
        (
            "name = \"a\"\ntype = \"standard\"\nurl = \"NOTIFY_A\"",
            "notifications[0].key: it is missing",
        ),
        (
            "name = \"a\"\ntype = \"slack\"\nurl = \"NOTIFY_A\"\nkey = \"NOTIFY_B\"",
            "notifications[0].key: it means nothing",
        ),
        (
            "name = \"a\"\ntype = \"github\"\nkey = \"NOTIFY_A\"",
            "notifications[0].repository: it is missing",
        ),
        (
            "name = \"a\"\ntype = \"github\"\nkey = \"NOTIFY_A\"\nrepository = \"acme/../x\"",
            "notifications[0].repository: it must be",
        ),
        (
            &format!("{good}\njobs = [\"nope\"]"),
            "notifications[0].jobs[0]: there is no job",
        ),
        (
            &format!("{good}\noutcomes = [\"done\"]"),
            "notifications[0].outcomes[0]: \"done\" is no end",
        ),
    ] {
        let said = problems(notification);
        assert!(said.starts_with(field), "{notification}: {said}");
    }
}
