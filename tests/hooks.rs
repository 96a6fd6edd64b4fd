//! `POST /hooks/{name}`: what proves a delivery, and that it counts once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use support::hooks::{
    BODY, CLOUDFLARE, GITHUB, GITLAB_KEY, GITLAB_TOKEN, STANDARD, at_once, cloudflare, config,
    deliver, github, github_signature, github_with, gitlab_signed, gitlab_token, hooked, known,
    outcome, standard, standard_at, standard_signature, started, stored, unproven,
};
use support::keeper::{Ask, Keeper, ROOT, ask};
use zonekeeper::gateway::BodyFault;

#[test]
fn t9_github_signs_the_bytes_and_every_other_spelling_is_refused() {
    let keeper = hooked();
    let signed = |signature: &str| {
        deliver("site")
            .header("x-github-delivery", "72d3-a")
            .header("x-github-event", "workflow_run")
            .header("x-hub-signature-256", signature)
            .text(BODY)
    };
    let good = github_signature(GITHUB, BODY.as_bytes());
    let digits = good.strip_prefix("sha256=").unwrap();
    let altered = BODY.replacen('9', "8", 1);
    let spaced = BODY.replacen(':', ": ", 1);
    let sha1 = deliver("site")
        .header("x-github-delivery", "72d3-a")
        .header("x-github-event", "workflow_run")
        .header(
            "x-hub-signature",
            &format!("sha1={}", digits.get(..40).unwrap()),
        )
        .text(BODY);
    for (what, delivery) in [
        (
            "another secret",
            signed(&github_signature("another", BODY.as_bytes())),
        ),
        (
            "truncated hex",
            signed(good.strip_suffix(|_| true).unwrap()),
        ),
        ("extra hex", signed(&format!("{good}0"))),
        (
            "upper-case hex",
            signed(&format!("sha256={}", digits.to_uppercase())),
        ),
        ("upper-case scheme", signed(&format!("SHA256={digits}"))),
        ("no scheme", signed(digits)),
        (
            "sha1 in its place",
            signed(&format!("sha1={}", digits.get(..40).unwrap())),
        ),
        ("two signatures", signed(&format!("{good}, {good}"))),
        ("an empty signature", signed("")),
        ("white space", signed(&format!(" {good}"))),
        ("sha1 alone", sha1),
        ("one byte altered", signed(&good).text(&altered)),
        ("encoded again", signed(&good).text(&spaced)),
        ("a byte appended", signed(&good).text(&format!("{BODY}\n"))),
        ("an empty body", github("72d3-a", "workflow_run", "")),
        (
            "no signature",
            deliver("site")
                .header("x-github-delivery", "a")
                .header("x-github-event", "push")
                .text(BODY),
        ),
        (
            "a path below",
            github("72d3-a", "workflow_run", BODY).to("POST /hooks/site/"),
        ),
        (
            "an unknown hook",
            github("72d3-a", "workflow_run", BODY).to("POST /hooks/other"),
        ),
        (
            "no name",
            github("72d3-a", "workflow_run", BODY).to("POST /hooks/"),
        ),
    ] {
        unproven(&keeper, delivery, what);
    }
    // What names the delivery is part of it.
    for (delivery, event) in [
        ("", "push"),
        ("a, b", "push"),
        ("a/b", "push"),
        ("a", ""),
        ("a", "push, push"),
    ] {
        unproven(&keeper, github(delivery, event, BODY), delivery);
    }
    assert_eq!(
        unproven(
            &keeper,
            github("72d3-a", "workflow_run", BODY).to("POST /hooks/other"),
            ""
        ),
        "there is no such hook."
    );
    assert_eq!(keeper.world.sent(), []);
    started(&keeper.call(signed(&good)));
}

#[test]
fn t9_gitlab_shows_a_token_or_signs() {
    let keeper = hooked();
    let token = |token: &str| {
        deliver("lab")
            .header("x-gitlab-event", "Pipeline Hook")
            .header("idempotency-key", "aa-1")
            .header("x-gitlab-token", token)
            .text(BODY)
    };
    for (what, delivery) in [
        ("another token", token("another")),
        ("a longer token", token(&format!("{GITLAB_TOKEN}x"))),
        ("other letter case", token(&GITLAB_TOKEN.to_uppercase())),
        (
            "two tokens",
            token(&format!("{GITLAB_TOKEN}, {GITLAB_TOKEN}")),
        ),
        ("an empty token", token("")),
        // A key that signs is never shown, so showing it proves nothing.
        ("the key in place of a token", token(GITLAB_KEY)),
        (
            "neither",
            deliver("lab")
                .header("x-gitlab-event", "Push Hook")
                .text(BODY),
        ),
        (
            "no event",
            deliver("lab")
                .header("x-gitlab-token", GITLAB_TOKEN)
                .text(BODY),
        ),
        ("a malformed name", gitlab_token("a.b", "Push Hook", BODY)),
        (
            "an altered body",
            gitlab_signed(&keeper, "aa-2", BODY).text("{}"),
        ),
        ("an empty body", gitlab_token("aa-1", "Push Hook", "")),
    ] {
        unproven(&keeper, delivery, what);
    }
    let first = keeper.call(gitlab_token("aa-1", "Pipeline Hook", BODY));
    started(&first);
    assert_eq!(first.result()["delivery"], "aa-1");
    // Its name is what GitLab sends again, whether it signs or not.
    known(
        &keeper,
        gitlab_signed(&keeper, "aa-1", r#"{"a":1}"#),
        &first,
    );
    let signed = keeper.call(gitlab_signed(&keeper, "aa-2", r#"{"a":2}"#));
    started(&signed);
    // Without a name, as before 17.4, the body is what counts.
    let unnamed = |body: &str| {
        deliver("lab")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-event-uuid", "same-for-all")
            .header("x-gitlab-token", GITLAB_TOKEN)
            .text(body)
    };
    let third = keeper.call(unnamed(r#"{"a":3}"#));
    started(&third);
    known(&keeper, unnamed(r#"{"a":3}"#), &third);
    started(&keeper.call(unnamed(r#"{"a":4}"#)));
}

#[test]
fn t9_standard_webhooks_sign_name_time_and_body() {
    let keeper = hooked();
    let now = keeper.now().unix_ms() / 1000;
    let at = |timestamp: &str| standard_at("msg_1", timestamp, BODY);
    for (what, timestamp) in [
        ("too old", (now - 301).to_string()),
        ("too new", (now + 301).to_string()),
        ("negative", "-1".to_owned()),
        ("a sign", format!("+{now}")),
        ("a fraction", format!("{now}.0")),
        ("milliseconds", format!("{now}000")),
        ("beyond 64 bits", "99999999999999999999".to_owned()),
        ("the largest number", i64::MAX.to_string()),
        ("hex", "0x5".to_owned()),
        ("empty", String::new()),
        ("two of them", format!("{now}, {now}")),
        ("white space", format!(" {now}")),
    ] {
        unproven(&keeper, at(&timestamp), what);
    }
    let signature = |text: &str| {
        deliver("bus")
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", &now.to_string())
            .header("webhook-signature", text)
            .text(BODY)
    };
    let good = standard_signature(STANDARD, "msg_1", &now.to_string(), BODY);
    let other = standard_signature("whsec_b3RoZXI=", "msg_1", &now.to_string(), BODY);
    for (what, text) in [
        ("another key", other.clone()),
        ("another version", good.replacen("v1,", "v1a,", 1)),
        ("no version", good.replacen("v1,", "", 1)),
        ("no padding", good.trim_end_matches('=').to_owned()),
        (
            "url alphabet",
            good.replace('+', "-").replace('/', "_").replace('=', ""),
        ),
        ("two headers", format!("{good}, {good}")),
        ("a comma too many", format!("{good},")),
        ("empty", String::new()),
        ("a list with a gap", format!("{good}  {good}")),
    ] {
        unproven(&keeper, signature(&text), what);
    }
    for id in ["", "a.b", "msg 1", "a, b", &"a".repeat(129)] {
        unproven(&keeper, standard(&keeper, id, BODY), id);
    }
    unproven(
        &keeper,
        standard(&keeper, "msg_1", BODY).text(r#"{"b":1}"#),
        "another body",
    );
    // A name that was not signed.
    unproven(
        &keeper,
        standard(&keeper, "msg_1", BODY).with("webhook-id:msg_1", "webhook-id:msg_2"),
        "",
    );
    // The signed text is the same, and the parts are others.
    let moved = standard_at("msg_1", &now.to_string(), "x");
    unproven(
        &keeper,
        moved.with("webhook-id:msg_1", &format!("webhook-id:msg_1.{now}")),
        "",
    );

    // At the edges of the tolerance, and among other signatures.
    started(&keeper.call(standard_at("msg_a", &(now - 300).to_string(), r#"{"n":1}"#)));
    started(&keeper.call(standard_at("msg_b", &(now + 300).to_string(), r#"{"n":2}"#)));
    started(&keeper.call(signature(&format!("v1a,YWJj {other} {good}"))));
}

#[test]
fn t9_cloudflare_shows_the_secret_and_tries_the_hook_when_it_is_set_up() {
    let keeper = hooked();
    for (what, shown) in [
        ("another", "another".to_owned()),
        ("longer", format!("{CLOUDFLARE}x")),
        ("two", format!("{CLOUDFLARE}, {CLOUDFLARE}")),
        ("none", String::new()),
    ] {
        let delivery = deliver("alerts")
            .header("cf-webhook-auth", &shown)
            .text(BODY);
        unproven(&keeper, delivery, what);
    }
    unproven(&keeper, deliver("alerts").text(BODY), "no header");
    unproven(&keeper, cloudflare(""), "an empty body");
    let test =
        r#"{"text":"Hello World! This is a test message sent from https://cloudflare.com."}"#;
    let answered = keeper.call(cloudflare(test));
    assert_eq!(outcome(&answered), (200, json!("test")));
    assert_eq!(stored(&keeper), (1, 0));
    let alert = |ts: i64| {
        json!({"name": "n", "text": "t", "data": {}, "ts": ts, "alert_type": "x"}).to_string()
    };
    let first = keeper.call(cloudflare(&alert(1)));
    started(&first);
    // It has no name, so the body is what counts; each has its time.
    known(&keeper, cloudflare(&alert(1)), &first);
    started(&keeper.call(cloudflare(&alert(2))));
    let run = first.result()["run"].as_str().unwrap().to_owned();
    let shown = keeper
        .call(ask(&format!("GET /api/v1/runs/{run}")).key(ROOT))
        .result();
    assert_eq!(
        shown["params"],
        json!({"zones": ["example.com"], "tags": ["a"]})
    );
}

#[test]
fn t9_both_secrets_count_while_the_sender_changes_from_one_to_the_other() {
    let keeper = hooked();
    keeper.apply(&config(r#"secrets = ["HOOK_SITE", "HOOK_NEW"]"#));
    keeper.advance_secs(6);
    let with = |secret: &str, id: &str| {
        let body = format!(r#"{{"workflow_run":{{"head_branch":"main"}},"tags":["{id}"]}}"#);
        github_with(secret, id, "workflow_run", &body)
    };
    // The new one is not set yet: the old one counts, and what may be by the new one is not refused.
    started(&keeper.call(with(GITHUB, "a")));
    assert_eq!(keeper.call(with("new-secret", "b")).refused(), (503, 20081));
    assert_eq!(stored(&keeper), (1, 1));
    keeper.world.set_secret("HOOK_NEW", Some("new-secret"));
    started(&keeper.call(with("new-secret", "b")));
    let entry = keeper.last_entry();
    assert!(
        entry.sentence.ends_with("it is proved by HOOK_NEW."),
        "{}",
        entry.sentence
    );
    started(&keeper.call(with(GITHUB, "c")));
    assert_eq!(keeper.call(with("neither", "d")).refused(), (401, 20011));
    // The old one is withdrawn.
    keeper.apply(&config(r#"secrets = ["HOOK_NEW"]"#));
    keeper.advance_secs(6);
    assert_eq!(keeper.call(with(GITHUB, "e")).refused(), (401, 20011));
    started(&keeper.call(with("new-secret", "f")));
}

#[test]
fn t9_a_delivery_counts_once_by_its_name_and_by_its_body() {
    let keeper = hooked();
    let first = keeper.call(github("a", "workflow_run", BODY));
    started(&first);
    let other = &BODY.replacen('9', "10", 1);
    known(&keeper, github("a", "workflow_run", BODY), &first);
    known(&keeper, github("b", "workflow_run", BODY), &first);
    known(&keeper, github("a", "workflow_run", other), &first);
    // As after a restart: another isolate over the same store.
    let restarted = keeper.neighbour();
    restarted.world.set_secret("HOOK_SITE", Some(GITHUB));
    known(&restarted, github("a", "workflow_run", BODY), &first);
    started(&keeper.call(github("b", "workflow_run", other)));
    // To another hook it is another delivery.
    assert_eq!(stored(&keeper), (2, 2));
    // However long it is kept, it is known; then it is forgotten.
    keeper.advance_secs(6 * 86_400);
    forget(&keeper);
    known(&keeper, github("a", "workflow_run", BODY), &first);
    keeper.advance_secs(86_400 + 1);
    forget(&keeper);
    assert_eq!(keeper.database.sqlite().count("hook_deliveries"), 0);
}

fn forget(keeper: &Keeper) {
    pollster::block_on(keeper.store.forget_deliveries(keeper.now())).unwrap();
}

#[test]
fn only_what_could_be_a_delivery_is_read() {
    let keeper = hooked();
    let check = |delivery: Ask, refused: (u16, u64)| {
        let answered = keeper.call(delivery);
        assert_eq!(answered.refused(), refused, "{}", answered.text);
        assert_eq!(stored(&keeper), (0, 0));
    };
    let good = || github("a", "workflow_run", BODY);
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        check(good().to(&format!("{method} /hooks/site")), (405, 20007));
        check(good().to(&format!("{method} /hooks/other")), (405, 20007));
    }
    check(good().header("content-length", "1048577"), (413, 20005));
    check(good().text(&"a".repeat((1 << 20) + 1)), (413, 20005));
    check(good().body_fault(BodyFault::TimedOut), (408, 20006));
    check(good().body_fault(BodyFault::Broken), (400, 20003));
    check(good().header("content-encoding", "gzip"), (400, 20003));
    check(good().header("zonekeeper-dry-run", "true"), (501, 20061));
    check(good().key(ROOT), (400, 20002));
    check(good().header("x-auth-key", "k"), (400, 20002));
    // A body at the cap is read whole.
    let padding = (1 << 20) - BODY.len();
    let large = BODY.replacen('{', &format!("{{{}", " ".repeat(padding)), 1);
    assert_eq!(large.len(), 1 << 20);
    started(&keeper.call(github("a", "workflow_run", &large)));
}

#[test]
fn t5_a_hooks_secret_opens_nothing_else_and_nothing_else_opens_a_hook() {
    let keeper = hooked();
    // Of the form of a key, as an operator might choose it.
    let secret = "A".repeat(40);
    keeper.world.set_secret("HOOK_CF", Some(&secret));
    keeper.world.set_secret("HOOK_SITE", Some(&secret));
    for line in ["GET /api/v1/whoami", "GET /client/v4/zones"] {
        assert_eq!(keeper.call(ask(line).key(&secret)).status, 401, "{line}");
        assert_eq!(
            keeper
                .call(ask(line).header("cf-webhook-auth", &secret))
                .status,
            401
        );
    }
    let key = keeper.mint("caller");
    for shown in [key.as_str(), ROOT] {
        let delivery = deliver("alerts")
            .header("cf-webhook-auth", shown)
            .text(BODY);
        unproven(&keeper, delivery, "a key");
        let delivery = deliver("lab")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", shown)
            .text(BODY);
        unproven(&keeper, delivery, "a key");
        let delivery = github_with(shown, "a", "workflow_run", BODY);
        unproven(&keeper, delivery, "a key");
    }
}

/// Calls that must be the same work in whatever order they come.
#[test]
fn t9_twenty_equal_deliveries_at_once_start_one_run() {
    let keeper = hooked();
    let answers = at_once(&keeper, 20, &github("a", "workflow_run", BODY));
    let first: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == 202)
        .map(|(_, body)| body)
        .collect();
    assert_eq!(first.len(), 1);
    let run = &first[0]["result"]["run"];
    for (status, body) in &answers {
        assert!(matches!(status, 200 | 202), "{body}");
        assert_eq!(&body["result"]["run"], run);
    }
    assert_eq!(stored(&keeper), (1, 1));
}
