//! Served Workers: which version answers, how it is made to fail, what is counted; and the sink.

use crate::support::{Answer, Part, Sim};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{ACME_ID, Lab};

const OVERRIDES: &str = "Cloudflare-Workers-Version-Overrides";

fn script(rest: &str) -> String {
    format!("/accounts/{ACME_ID}/workers/scripts/site{rest}")
}

/// Uploads a version of `site` that is not deployed; gives its id.
fn version(sim: &Sim) -> String {
    let metadata = json!({"main_module": "m.js", "keep_bindings": ["secret_text"]}).to_string();
    let esm = Some("application/javascript+module");
    let code = "export default { fetch() {} };";
    let parts: [Part<'_>; 2] = [
        ("metadata", None, None, &metadata),
        ("m.js", Some("m.js"), esm, code),
    ];
    let made = sim.form("POST", &script("/versions"), &parts).result();
    made["id"].as_str().unwrap().to_owned()
}

fn newest(sim: &Sim) -> String {
    let listed = sim.get(&script("/versions")).result();
    listed["items"][0]["id"].as_str().unwrap().to_owned()
}

fn deploy(sim: &Sim, versions: &[(&str, u8)]) {
    let versions: Vec<Value> = versions
        .iter()
        .map(|(id, percentage)| json!({"version_id": id, "percentage": percentage}))
        .collect();
    let body = json!({"strategy": "percentage", "versions": versions});
    sim.call("POST", &script("/deployments"), Some(&body))
        .result();
}

/// Two versions of `site`: the one that serves, and one only uploaded.
fn two(sim: &Sim) -> (String, String) {
    (newest(sim), version(sim))
}

fn visit(sim: &Sim, path: &str, headers: &[(&str, &str)]) -> Answer {
    sim.raw("GET", &format!("/__sim/sites{path}"), headers, b"")
        .unwrap()
}

fn serving(sim: &Sim, overrides: &str) -> String {
    let answer = visit(sim, "/site/x?y=1", &[(OVERRIDES, overrides)]);
    answer.header("x-sim-version").unwrap().to_owned()
}

fn behave(sim: &Sim, behaviours: &Value) {
    let answer = sim.control("POST", "/sites/site/behaviour", Some(behaviours));
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[test]
fn the_deployed_version_answers() {
    let sim = Sim::start();
    let (old, new) = two(&sim);
    for path in ["/site", "/site/", "/site/a/b?c=d"] {
        let answer = visit(&sim, path, &[]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-sim-version"), Some(old.as_str()));
        assert_eq!(answer.json(), json!({"script": "site", "version": old}));
    }
    deploy(&sim, &[(&new, 100)]);
    assert_eq!(visit(&sim, "/site", &[]).json()["version"], json!(new));
    let nobody = visit(&sim, "/nobody/x", &[]);
    assert_eq!(
        (nobody.status, nobody.json()),
        (
            404,
            json!({"error": "no deployed Worker is named \"nobody\""})
        )
    );
    assert_eq!(nobody.header("x-sim-version"), None);
}

#[test]
fn an_override_reaches_any_version_of_the_current_deployment() {
    let sim = Sim::start();
    let (old, new) = two(&sim);
    let wanted = format!("api=\"x\", site=\"{new}\"");
    assert_eq!(serving(&sim, &wanted), old, "it is not deployed");
    deploy(&sim, &[(&old, 100), (&new, 0)]);
    assert_eq!(serving(&sim, &wanted), new, "deployed at 0 %");
    for other in [
        format!("site=\"{new}"),
        format!("site={new}"),
        format!("sites=\"{new}\""),
        "site=\"unknown\"".to_owned(),
        String::new(),
    ] {
        assert_eq!(serving(&sim, &other), old, "{other}");
    }
}

#[test]
fn of_every_hundred_requests_each_version_gets_its_percentage() {
    let sim = Sim::start();
    let (old, new) = two(&sim);
    let count = |requests: u32| {
        let versions = (0..requests).map(|_| serving(&sim, ""));
        versions.filter(|version| *version == new).count()
    };
    deploy(&sim, &[(&old, 95), (&new, 5)]);
    assert_eq!(count(30), 1);
    // What an override sends somewhere takes nobody's turn.
    for _ in 0..7 {
        serving(&sim, &format!("site=\"{new}\""));
    }
    assert_eq!(count(70), 4);
    assert_eq!(count(100), 5);
    // The order in which a deployment lists its versions says nothing of who gets how much.
    deploy(&sim, &[(&new, 50), (&old, 50)]);
    assert_eq!(count(100), 50);
    deploy(&sim, &[(&new, 100)]);
    assert_eq!(count(10), 10);
}

#[test]
fn a_version_fails_as_it_is_told_to() {
    let sim = Sim::start();
    let (old, new) = two(&sim);
    deploy(&sim, &[(&old, 100), (&new, 0)]);
    behave(
        &sim,
        &json!([
            {"version": "newest", "path": "/health", "after": 1, "times": 2, "status": 500, "body": "broken"},
            {"version": old, "path": "/deep/*", "status": 503, "body": {"a": 1}},
        ]),
    );
    let at = |path: &str, version: &str| {
        let answer = visit(
            &sim,
            &format!("/site{path}"),
            &[(OVERRIDES, &format!("site=\"{version}\""))],
        );
        assert_eq!(answer.header("x-sim-version"), Some(version));
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let statuses: Vec<u16> = (0..4).map(|_| at("/health", &new).0).collect();
    assert_eq!(statuses, [200, 500, 500, 200]);
    assert_eq!(at("/other", &new).0, 200);
    assert_eq!(at("/health", &old).0, 200);
    assert_eq!(at("/deep/x", &old), (503, "{\"a\":1}".to_owned()));
    assert_eq!(at("/deep/x", &new).0, 200);
    let left = sim.control("GET", "/sites/site/behaviour", None).json();
    assert_eq!(
        (&left[0]["after"], &left[0]["times"]),
        (&json!(0), &json!(0))
    );
    sim.control("DELETE", "/sites/site/behaviour", None);
    assert_eq!(at("/deep/x", &old).0, 200);
    behave(&sim, &json!({"version": "any", "times": 1, "status": 404}));
    assert_eq!(at("/", &old).0, 404);
    // What was the newest is so no more.
    behave(
        &sim,
        &json!({"version": "newest", "status": 500, "body": "broken"}),
    );
    assert_eq!(at("/", &new), (500, "broken".to_owned()));
    version(&sim);
    assert_eq!(at("/", &new).0, 200);
}

#[test]
fn a_behaviour_that_could_not_act_is_refused() {
    let sim = Sim::start();
    for bad in [
        json!([{"version": "any"}]),
        json!([{"version": "any", "reset": false}]),
        json!([{"version": "any", "status": 99}]),
        json!([{"version": "v9", "status": 500}]),
        json!([{"version": "any", "status": 500, "colour": "red"}]),
        json!([{"status": 500}]),
    ] {
        let answer = sim.control("POST", "/sites/site/behaviour", Some(&bad));
        assert_eq!(answer.status, 400, "{bad}");
    }
    assert_eq!(
        sim.control("GET", "/sites/site/behaviour", None).json(),
        json!([])
    );
    // It can be told before the Worker is there.
    let early = json!({"version": "newest", "status": 500});
    assert_eq!(
        sim.control("POST", "/sites/later/behaviour", Some(&early))
            .status,
        200
    );
}

#[test]
fn a_version_cuts_the_connection_or_is_slow() {
    let sim = Sim::start();
    behave(&sim, &json!({"version": "any", "times": 1, "reset": true}));
    sim.raw("GET", "/__sim/sites/site/", &[], b"").unwrap_err();
    let lines = sim.lines("/sites/site/requests");
    assert_eq!((lines.len(), &lines[0]["status"]), (1, &Value::Null));
    behave(
        &sim,
        &json!({"version": "any", "times": 1, "delay_ms": 1500}),
    );
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| visit(&sim, "/site/slow", &[]));
        let mut lines = sim.lines("/sites/site/requests?after=1");
        while lines.is_empty() {
            lines = sim.lines("/sites/site/requests?after=1");
        }
        assert_eq!(lines[0]["status"], Value::Null);
        assert_eq!(slow.join().unwrap().status, 200);
    });
    assert_eq!(sim.lines("/sites/site/requests")[1]["status"], 200);
}

#[test]
fn requests_are_listed_by_site_and_not_on_the_ledger_of_the_api() {
    let sim = Sim::start();
    let old = newest(&sim);
    let ledger = sim.ledger(0).len();
    visit(&sim, "/site/health?deep=1", &[("x-probe", "7")]);
    visit(&sim, "/api/x", &[]);
    sim.raw("POST", "/__sim/sites/site", &[], b"body").unwrap();
    let lines = sim.lines("/sites/site/requests");
    let first = &lines[0];
    assert_eq!(
        (
            &first["n"],
            &first["method"],
            &first["path"],
            &first["query"]
        ),
        (
            &json!(1),
            &json!("GET"),
            &json!("/__sim/sites/site/health"),
            &json!("deep=1")
        )
    );
    assert_eq!(
        (&first["status"], &first["version"]),
        (&json!(200), &json!(old))
    );
    let headers = first["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-probe", "7"])));
    assert_eq!(lines[1]["n"], 3, "the number says the order among hosts");
    assert_eq!(lines[1]["body_base64"], STANDARD.encode("body"));
    assert_eq!(lines.len(), 2);
    assert_eq!(sim.lines("/sites/site/requests?after=1").len(), 1);
    assert_eq!(sim.lines("/sites/sit/requests").len(), 0);
    assert_eq!(sim.ledger(0).len(), ledger);
}

#[test]
fn a_fault_that_names_its_path_meets_a_site() {
    let sim = Sim::start();
    let faults = json!([
        {"action": {"status": 500}},
        {"match": {"path": "/__sim/sites/site/*"}, "times": 1, "action": {"status": 522}},
    ]);
    sim.control("POST", "/faults", Some(&faults));
    assert_eq!(visit(&sim, "/api/x", &[]).status, 200);
    let met = visit(&sim, "/site/x", &[]);
    // The Worker was not reached.
    assert_eq!((met.status, met.header("x-sim-version")), (522, None));
    assert_eq!(visit(&sim, "/site/x", &[]).status, 200);
    let lines = sim.lines("/sites/site/requests");
    assert_eq!(
        (&lines[0]["status"], &lines[1]["status"]),
        (&json!(522), &json!(200))
    );
    assert_eq!(lines[0].get("version"), None);
}

/// Requests and errors of `site` by version, over the whole day of the simulator's clock.
fn counted(sim: &Sim, filter: &str) -> Vec<(String, u64, u64)> {
    let now = sim
        .control("POST", "/clock", Some(&json!({"advance_secs": 0})))
        .json()["now"]
        .clone();
    let today = now.as_str().unwrap().get(..10).unwrap().to_owned();
    let query = format!(
        "{{ viewer {{ accounts(filter: {{accountTag: \"{ACME_ID}\"}}) {{ x: workersInvocationsAdaptive(filter: {{date_geq: \"{today}\", date_leq: \"{today}\", scriptName: \"site\" {filter}}}) {{ dimensions {{ scriptVersion }} sum {{ requests errors }} }} }} }} }}"
    );
    let body = json!({"query": query});
    let answer = sim.call("POST", "/graphql", Some(&body)).json();
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let rows = answer["data"]["viewer"]["accounts"][0]["x"].clone();
    let row = |row: &Value| {
        (
            row["dimensions"]["scriptVersion"]
                .as_str()
                .unwrap()
                .to_owned(),
            row["sum"]["requests"].as_u64().unwrap(),
            row["sum"]["errors"].as_u64().unwrap(),
        )
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn analytics_count_the_invocations_of_each_version() {
    let sim = Sim::start();
    let (old, new) = two(&sim);
    let made_up = counted(&sim, "");
    assert!(made_up.iter().all(|(version, ..)| version.is_empty()));
    assert_eq!(counted(&sim, &format!("scriptVersion: \"{old}\"")), []);
    deploy(&sim, &[(&old, 90), (&new, 10)]);
    behave(&sim, &json!({"version": new, "times": 1, "status": 500}));
    behave(&sim, &json!({"version": old, "times": 2, "status": 404}));
    for _ in 0..20 {
        visit(&sim, "/site/x", &[]);
    }
    let one = |version: &str| counted(&sim, &format!("scriptVersion: \"{version}\""));
    assert_eq!(one(&new), [(new.clone(), 2, 1)]);
    assert_eq!(one(&old), [(old.clone(), 18, 0)]);
    assert_eq!(counted(&sim, "").len(), 2, "nothing made up any more");
    assert_eq!(counted(&sim, "status: success").len(), 2);
    assert_eq!(counted(&sim, "status_neq: success"), [(new.clone(), 1, 1)]);
    let add = |body: Value| sim.control("POST", "/sites/site/invocations", Some(&body));
    let body = json!({"version": "newest", "requests": 1000, "errors": 100});
    assert_eq!(
        add(body).json(),
        json!({"version": new, "requests": 1000, "errors": 100})
    );
    assert_eq!(one(&new), [(new.clone(), 1002, 101)]);
    for bad in [
        json!({"version": new, "requests": 1, "errors": 2}),
        json!({"version": "v9", "requests": 1, "errors": 0}),
        json!({"requests": 1, "errors": 0}),
    ] {
        assert_eq!(add(bad.clone()).status, 400, "{bad}");
    }
    let nobody = json!({"version": "newest", "requests": 1, "errors": 0});
    let answer = sim.control("POST", "/sites/nobody/invocations", Some(&nobody));
    assert_eq!(answer.status, 404);
}

#[test]
fn analytics_tell_invocations_apart_by_their_time() {
    let mut lab = Lab::new();
    let token = format!("Bearer {}", simulator::TOKEN);
    // 2026-11-01T12:00:00Z.
    let noon = 1_793_534_400_000_000;
    for second in [0, 1, 300] {
        let at = noon + second * 1_000_000;
        assert_eq!(
            lab.call("GET", "/__sim/sites/site/", &[], b"", at).status,
            200
        );
    }
    let mut count = |from: &str, until: &str| {
        let query = format!(
            "{{ viewer {{ accounts(filter: {{accountTag: \"{ACME_ID}\"}}) {{ x: workersInvocationsAdaptive(filter: {{datetime_geq: \"2026-11-01T{from}Z\", datetime_lt: \"2026-11-01T{until}Z\", scriptName: \"site\"}}) {{ dimensions {{ datetimeFiveMinutes status }} sum {{ requests }} }} }} }} }}"
        );
        let headers = [("authorization", token.as_str())];
        let body = json!({"query": query}).to_string();
        let answer = lab.call(
            "POST",
            "/client/v4/graphql",
            &headers,
            body.as_bytes(),
            noon,
        );
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["data"]["viewer"]["accounts"][0]["x"].clone()
    };
    let row = |time: &str, requests: u8| {
        json!({
            "dimensions": {"datetimeFiveMinutes": format!("2026-11-01T{time}Z"), "status": "success"},
            "sum": {"requests": requests},
        })
    };
    assert_eq!(
        count("12:00:00", "13:00:00"),
        json!([row("12:00:00", 2), row("12:05:00", 1)])
    );
    assert_eq!(count("12:00:01", "12:05:00"), json!([row("12:00:00", 1)]));
    assert_eq!(count("11:00:00", "12:00:00"), json!([]));
}

#[test]
fn the_sink_takes_every_notification_and_shows_it() {
    let sim = Sim::start();
    let fault =
        json!([{"match": {"path": "/__sim/sink/slack"}, "times": 1, "action": {"status": 503}}]);
    sim.control("POST", "/faults", Some(&fault));
    let send = |name: &str, body: &[u8]| {
        let headers = [
            ("webhook-id", "msg_1"),
            ("content-type", "application/json"),
        ];
        sim.raw("POST", &format!("/__sim/sink/{name}"), &headers, body)
            .unwrap()
    };
    assert_eq!(send("slack", b"{\"text\":\"x\"}").status, 503);
    let taken = send("slack", b"{\"text\":\"x\"}");
    assert_eq!((taken.status, taken.body), (200, b"ok".to_vec()));
    assert_eq!(send("slack-2", b"\xff").status, 200);
    let lines = sim.lines("/sink/slack");
    let statuses: Vec<&Value> = lines.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [&json!(503), &json!(200)]);
    assert_eq!(lines[1]["method"], "POST");
    assert_eq!(lines[1]["body_base64"], STANDARD.encode("{\"text\":\"x\"}"));
    let headers = lines[1]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["webhook-id", "msg_1"])));
    assert_eq!(
        sim.lines("/sink/slack-2")[0]["body_base64"],
        STANDARD.encode(b"\xff")
    );
    assert_eq!(sim.control("GET", "/sink/", None).status, 404);
    assert_eq!(sim.ledger(0).len(), 0);
}

#[test]
fn a_reset_forgets_what_happened_to_the_hosts() {
    let sim = Sim::start();
    behave(&sim, &json!({"version": "any", "status": 500}));
    assert_eq!(visit(&sim, "/site", &[]).status, 500);
    sim.control("POST", "/reset", None);
    assert_eq!(sim.lines("/sites/site/requests").len(), 0);
    assert_eq!(visit(&sim, "/site", &[]).status, 200);
}

#[test]
fn the_hosts_are_there_without_a_network() {
    let mut lab = Lab::new();
    let mut call = |method: &str, path: &str, body: &str| {
        let answered = lab.call(method, path, &[], body.as_bytes(), 7);
        (answered.status, String::from_utf8(answered.body).unwrap())
    };
    assert_eq!(call("GET", "/__sim/sites/site/x", "").0, 200);
    let cut = r#"[{"version":"any","times":1,"reset":true}]"#;
    assert_eq!(call("POST", "/__sim/sites/site/behaviour", cut).0, 200);
    assert_eq!(call("GET", "/__sim/sites/site/x", ""), (0, String::new()));
    assert_eq!(
        call("GET", "/__sim/sites/site/requests", "")
            .1
            .lines()
            .count(),
        2
    );
    assert_eq!(call("POST", "/__sim/sink/x", "hello").0, 200);
    assert_eq!(call("GET", "/__sim/sink/x", "").1.lines().count(), 1);
    assert_eq!(call("PUT", "/__sim/github/repos/acme/new", "").0, 200);
    assert_eq!(call("GET", "/__sim/nothing", "").0, 404);
    assert!(lab.ledger().is_empty());
}
