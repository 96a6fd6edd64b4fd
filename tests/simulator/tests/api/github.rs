//! The simulated GitHub.

use crate::support::{Answer, Sim};
use serde_json::{Value, json};
use simulator::GITHUB_TOKEN;

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";
/// The SHA-256 of `bundle`.
const DIGEST: &str = "sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc";

/// Any request, with the token and a user agent.
fn call(sim: &Sim, method: &str, path: &str, accept: &str, body: &str) -> Answer {
    let token = format!("Bearer {GITHUB_TOKEN}");
    let headers = [
        ("authorization", token.as_str()),
        ("user-agent", "tests"),
        ("accept", accept),
    ];
    let target = format!("/__sim/github/repos/{path}");
    sim.raw(method, &target, &headers, body.as_bytes()).unwrap()
}

fn get(sim: &Sim, path: &str) -> Answer {
    call(sim, "GET", path, "application/vnd.github+json", "")
}

fn post(sim: &Sim, path: &str, body: &Value) -> Answer {
    call(
        sim,
        "POST",
        path,
        "application/vnd.github+json",
        &body.to_string(),
    )
}

fn put(sim: &Sim, path: &str, body: &str) -> Value {
    let target = format!("/__sim/github/repos/{path}");
    let answer = sim.raw("PUT", &target, &[], body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// The target of an address of the simulator.
fn target(sim: &Sim, url: &str) -> String {
    url.strip_prefix(&sim.url()).unwrap().to_owned()
}

/// Follows a redirect without the token.
fn follow(sim: &Sim, redirect: &Answer, headers: &[(&str, &str)]) -> Answer {
    assert_eq!((redirect.status, redirect.body.len()), (302, 0));
    let location = target(sim, redirect.header("location").unwrap());
    sim.raw("GET", &location, headers, b"").unwrap()
}

fn advance(sim: &Sim, secs: i64) {
    sim.control("POST", "/clock", Some(&json!({"advance_secs": secs})));
}

#[test]
fn private_repositories_are_there_for_the_token_only() {
    let sim = Sim::start();
    let state = sim.control("GET", "/state", None).json();
    assert_eq!(
        state["github"],
        json!({"token": GITHUB_TOKEN, "repositories": ["acme/site"]})
    );
    put(&sim, "acme/site/releases/v1/w.js", "bundle");
    let ask = |headers: &[(&str, &str)]| {
        let path = "/__sim/github/repos/acme/site/releases/latest";
        let answer = sim.raw("GET", path, headers, b"").unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let agent = ("user-agent", "tests");
    let (status, body) = ask(&[agent]);
    assert_eq!(status, 404);
    assert!(body.contains(r#""message":"Not Found""#), "{body}");
    let (status, body) = ask(&[agent, ("authorization", "Bearer wrong")]);
    assert_eq!(status, 401);
    assert!(body.contains(r#""message":"Bad credentials""#), "{body}");
    let token = format!("Bearer {GITHUB_TOKEN}");
    let (status, body) = ask(&[("authorization", &token)]);
    assert_eq!(status, 403);
    assert!(body.contains("User-Agent"), "{body}");
    let older = format!("token {GITHUB_TOKEN}");
    assert_eq!(ask(&[agent, ("authorization", &older)]).0, 200);
    assert_eq!(get(&sim, "acme/other/releases/latest").status, 404);
    assert_eq!(get(&sim, "ACME/Site/releases/latest").status, 200);
}

#[test]
fn a_release_is_found_by_its_tag_or_as_the_latest() {
    let sim = Sim::start();
    assert_eq!(get(&sim, "acme/site/releases/latest").status, 404);
    put(&sim, "acme/site/releases/v1/w.js", "bundle");
    put(
        &sim,
        &format!("acme/site/releases/v2/w.js?target_commitish={SHA}"),
        "bundle",
    );
    put(
        &sim,
        "acme/site/releases/v3-rc/w.js?prerelease=true",
        "bundle",
    );
    put(&sim, "acme/site/releases/v3/w.js?draft=true", "bundle");
    let latest = get(&sim, "acme/site/releases/latest").json();
    assert_eq!(
        (&latest["tag_name"], &latest["target_commitish"]),
        (&json!("v2"), &json!(SHA))
    );
    assert_eq!(get(&sim, "acme/site/releases/tags/v2").json(), latest);
    let candidate = get(&sim, "acme/site/releases/tags/v3-rc").json();
    assert_eq!(
        (&candidate["prerelease"], &candidate["draft"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        get(&sim, "acme/site/releases/tags/v3").status,
        404,
        "a draft"
    );
    assert_eq!(get(&sim, "acme/site/releases/tags/v9").status, 404);
    let asset = &latest["assets"][0];
    assert_eq!(latest["assets"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &asset["name"],
            &asset["size"],
            &asset["digest"],
            &asset["state"]
        ),
        (
            &json!("w.js"),
            &json!(6),
            &json!(DIGEST),
            &json!("uploaded")
        )
    );
    assert_eq!(
        asset["url"],
        json!(format!(
            "{}/__sim/github/repos/acme/site/releases/assets/{}",
            sim.url(),
            asset["id"]
        ))
    );
    // A second put replaces the asset and leaves the rest of the release.
    put(&sim, "acme/site/releases/v2/w.js?digest=none", "other");
    put(&sim, "acme/site/releases/v2/x.js?digest=sha256:00", "x");
    let again = get(&sim, "acme/site/releases/tags/v2").json();
    let digests: Vec<&Value> = again["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["digest"])
        .collect();
    assert_eq!(digests, [&Value::Null, &json!("sha256:00")]);
    assert_eq!(again["target_commitish"], json!(SHA));
    assert_eq!(again["id"], latest["id"]);
}

#[test]
fn an_asset_is_downloaded_from_a_signed_address_that_takes_no_token() {
    let sim = Sim::start();
    put(
        &sim,
        "acme/site/releases/v1/w.js?content_type=text/javascript",
        "bundle",
    );
    let release = get(&sim, "acme/site/releases/tags/v1").json();
    let path = format!("acme/site/releases/assets/{}", release["assets"][0]["id"]);
    let shown = get(&sim, &path);
    assert_eq!(
        (shown.status, shown.json()),
        (200, release["assets"][0].clone())
    );
    let redirect = call(&sim, "GET", &path, "application/octet-stream", "");
    let fetched = follow(&sim, &redirect, &[]);
    assert_eq!(
        (fetched.status, fetched.body.as_slice()),
        (200, b"bundle".as_slice())
    );
    assert_eq!(fetched.header("content-type"), Some("text/javascript"));
    assert_eq!(get(&sim, &path).json()["download_count"], 1);
    let token = format!("Bearer {GITHUB_TOKEN}");
    let refused = follow(&sim, &redirect, &[("authorization", &token)]);
    assert_eq!(refused.status, 400);
    assert!(
        String::from_utf8(refused.body)
            .unwrap()
            .contains("InvalidAuthenticationInfo")
    );
    let location = target(&sim, redirect.header("location").unwrap());
    for forged in [
        location.replace("asset-", "artifact-"),
        location.replace("se=", "se=9"),
        location.replace("&sig=", "&gis="),
        location.split_once('?').unwrap().0.to_owned(),
    ] {
        assert_eq!(
            sim.raw("GET", &forged, &[], b"").unwrap().status,
            403,
            "{forged}"
        );
    }
    advance(&sim, 3600);
    assert_eq!(follow(&sim, &redirect, &[]).status, 403, "it has expired");
    assert_eq!(get(&sim, "acme/site/releases/assets/999").status, 404);
    assert_eq!(get(&sim, "acme/site/releases/assets/x").status, 404);
}

#[test]
fn artifacts_are_listed_by_run_and_downloaded_as_a_zip() {
    let sim = Sim::start();
    let put_one = |query: &str| {
        put(
            &sim,
            &format!("acme/site/runs/812/artifacts/{query}"),
            "bundle",
        )
    };
    let first = put_one(&format!("dist?head_sha={SHA}&head_branch=release"));
    put_one("logs");
    let second = put_one("old?expired=true");
    assert_eq!(first["digest"], DIGEST);
    let listed = get(&sim, "acme/site/actions/runs/812/artifacts").json();
    assert_eq!(listed["total_count"], 3);
    assert_eq!(listed["artifacts"][0]["name"], "old", "newest first");
    let named = get(&sim, "acme/site/actions/runs/812/artifacts?name=dist").json();
    assert_eq!(named, json!({"total_count": 1, "artifacts": [first]}));
    let run = &first["workflow_run"];
    assert_eq!(
        (&run["id"], &run["head_sha"], &run["head_branch"]),
        (&json!(812), &json!(SHA), &json!("release"))
    );
    let paged = get(
        &sim,
        "acme/site/actions/runs/812/artifacts?per_page=2&page=2",
    );
    assert_eq!(paged.json()["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(paged.header("link"), None);
    let paged = get(&sim, "acme/site/actions/runs/812/artifacts?per_page=2");
    assert!(
        paged
            .header("link")
            .unwrap()
            .contains("page=2>; rel=\"next\"")
    );
    let one = format!("acme/site/actions/artifacts/{}", first["id"]);
    assert_eq!(get(&sim, &one).json(), first);
    let zip = target(&sim, first["archive_download_url"].as_str().unwrap());
    let zip = zip.strip_prefix("/__sim/github/repos/").unwrap();
    let redirect = get(&sim, zip);
    let fetched = follow(&sim, &redirect, &[]);
    assert_eq!(
        (fetched.status, fetched.body.as_slice()),
        (200, b"bundle".as_slice())
    );
    assert_eq!(fetched.header("content-type"), Some("application/zip"));
    advance(&sim, 60);
    assert_eq!(
        follow(&sim, &redirect, &[]).status,
        403,
        "it lives a minute"
    );
    assert_eq!(second["expired"], true);
    let expired = format!("acme/site/actions/artifacts/{}", second["id"]);
    assert_eq!(get(&sim, &format!("{expired}/zip")).status, 410);
    assert_eq!(get(&sim, &expired).status, 200);
    assert_eq!(get(&sim, "acme/site/actions/runs/1/artifacts").status, 404);
    advance(&sim, 90 * 86_400);
    assert_eq!(get(&sim, zip).status, 410, "after ninety days");
}

#[test]
fn a_commit_status_is_judged_and_listed() {
    let sim = Sim::start();
    let path = format!("acme/site/statuses/{SHA}");
    let good = json!({
        "state": "pending", "context": "deploy", "description": "x".repeat(140),
        "target_url": "https://zonekeeper.test/runs/1",
    });
    let made = post(&sim, &path, &good);
    assert_eq!(made.status, 201);
    let made = made.json();
    for field in ["state", "context", "description", "target_url"] {
        assert_eq!(made[field], good[field], "{field}");
    }
    assert_eq!(
        post(&sim, &path, &json!({"state": "success"})).json()["context"],
        "default"
    );
    let listed = get(&sim, &format!("acme/site/commits/{SHA}/statuses")).json();
    let states: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["state"])
        .collect();
    assert_eq!(states, [&json!("success"), &json!("pending")]);
    assert_eq!(listed[1], made);
    assert_eq!(
        get(&sim, "acme/site/commits/main/statuses").json(),
        json!([])
    );
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        let answer = post(&sim, &path, &body);
        (answer.status, answer.json()["errors"][0]["message"].clone())
    };
    let said = |message: &str| (422, json!(message));
    assert_eq!(
        with("description", json!("ä".repeat(141))),
        said("description is too long (maximum is 140 characters)")
    );
    assert_eq!(with("description", json!("ä".repeat(140))).0, 201);
    assert_eq!(
        with("state", json!("fine")),
        said("state is not included in the list")
    );
    assert_eq!(
        with("target_url", json!("ftp://x")),
        said("target_url must use http(s) scheme")
    );
    assert_eq!(with("context", json!("")), said("context can't be blank"));
    for (field, value) in [
        ("state", json!(null)),
        ("description", json!(5)),
        ("context", json!([])),
    ] {
        assert_eq!(with(field, value).0, 422, "{field}");
    }
    let malformed = call(&sim, "POST", &path, "*/*", "{");
    assert_eq!(
        (malformed.status, &malformed.json()["message"]),
        (400, &json!("Problems parsing JSON"))
    );
    let nowhere = post(&sim, "acme/site/statuses/abc", &good);
    assert_eq!(
        (nowhere.status, &nowhere.json()["message"]),
        (422, &json!("No commit found for SHA: abc"))
    );
    assert_eq!(
        post(&sim, &format!("acme/none/statuses/{SHA}"), &good).status,
        404
    );
}

#[test]
fn a_deployment_waits_for_the_statuses_it_needs() {
    let sim = Sim::start();
    let all = "acme/site/deployments";
    let status = |state: &str| {
        let body = json!({"state": state, "context": "ci"});
        assert_eq!(
            post(&sim, &format!("acme/site/statuses/{SHA}"), &body).status,
            201
        );
    };
    let order = |more: Value| {
        let mut body = json!({"ref": SHA, "auto_merge": false, "description": "d"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post(&sim, all, &body)
    };
    status("pending");
    let refused = order(json!({}));
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json()["errors"][0]["contexts"],
        json!([{"context": "ci", "state": "pending"}])
    );
    assert_eq!(order(json!({"required_contexts": ["lint"]})).status, 409);
    let made = order(json!({"required_contexts": []}));
    assert_eq!(made.status, 201);
    status("success");
    assert_eq!(order(json!({"environment": "staging"})).status, 201);
    let made = made.json();
    assert_eq!(
        (
            &made["sha"],
            &made["environment"],
            &made["production_environment"]
        ),
        (&json!(SHA), &json!("production"), &json!(true))
    );
    let listed = get(&sim, all).json();
    assert_eq!(listed[0]["environment"], "staging");
    assert_eq!(listed[1], made);
    assert_eq!(
        get(&sim, &format!("{all}?environment=production")).json(),
        json!([made])
    );
    let one = format!("{all}/{}", made["id"]);
    assert_eq!(get(&sim, &one).json(), made);
    let statuses = format!("{one}/statuses");
    let told = |body: Value| post(&sim, &statuses, &body);
    assert_eq!(told(json!({"state": "in_progress"})).status, 201);
    let done = told(
        json!({"state": "success", "log_url": "https://z.test/1", "environment_url": "https://z.test", "description": "ok"}),
    );
    assert_eq!(done.status, 201);
    let newest_first = get(&sim, &statuses).json();
    assert_eq!(newest_first[0], done.json());
    assert_eq!(newest_first[1]["state"], "in_progress");
    assert_eq!(done.json()["target_url"], "https://z.test/1");
    for bad in [
        json!({}),
        json!({"state": "finished"}),
        json!({"state": "success", "description": "x".repeat(141)}),
        json!({"state": "success", "log_url": "x"}),
    ] {
        assert_eq!(told(bad.clone()).status, 422, "{bad}");
    }
    assert_eq!(
        post(
            &sim,
            &format!("{all}/99999/statuses"),
            &json!({"state": "success"})
        )
        .status,
        404
    );
    let nowhere = post(&sim, all, &json!({"ref": "nowhere"}));
    assert_eq!(
        (nowhere.status, &nowhere.json()["message"]),
        (422, &json!("No ref found for: nowhere"))
    );
    assert_eq!(
        post(&sim, all, &json!({"ref": "refs/heads/main"})).status,
        201
    );
}

#[test]
fn requests_to_github_are_listed_and_faults_meet_them() {
    let sim = Sim::start();
    let artifact = put(&sim, "acme/site/runs/812/artifacts/dist", "bundle");
    let zip = format!("acme/site/actions/artifacts/{}/zip", artifact["id"]);
    let redirect = get(&sim, &zip);
    follow(&sim, &redirect, &[]);
    let fault = json!([{"match": {"path": "/__sim/github/download/*"}, "times": 1, "action": {"half_body": true}}]);
    sim.control("POST", "/faults", Some(&fault));
    let location = target(&sim, redirect.header("location").unwrap());
    sim.raw("GET", &location, &[], b"").unwrap_err();
    let lines = sim.lines("/github/requests");
    let statuses: Vec<&Value> = lines.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [&json!(302), &json!(200), &json!(200)]);
    let carries = |line: &Value| line["headers"].to_string().contains(GITHUB_TOKEN);
    assert!(carries(&lines[0]) && !carries(&lines[1]));
    assert_eq!(sim.ledger(0).len(), 0);
}

#[test]
fn what_cannot_be_put_in_is_refused() {
    let sim = Sim::start();
    let put = |path: &str| {
        let target = format!("/__sim/github/{path}");
        sim.raw("PUT", &target, &[], b"x").unwrap().status
    };
    assert_eq!(put("repos/acme/site/runs/x/artifacts/dist"), 400);
    assert_eq!(put("repos/acme/site/runs/1/artifacts/dist?head_sha=x"), 400);
    for nowhere in [
        "repos/acme",
        "repos/acme/",
        "users/acme",
        "repos/acme/site/releases/v1",
    ] {
        assert_eq!(put(nowhere), 404, "{nowhere}");
    }
    assert_eq!(put("repos/acme/new"), 200);
    let state = sim.control("GET", "/state", None).json();
    assert_eq!(
        state["github"]["repositories"],
        json!(["acme/new", "acme/site"])
    );
}
