//! `POST /oauth/token`: whose tokens get a key, what the key opens and for how long, and what is on
//! record.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::rc::Rc;

use pollster::block_on;
use serde_json::{Value, json};
use support::database::Storage;
use support::issuers::{GITHUB, GITLAB, PLAIN, SimIssuers};
use support::keeper::{Answered, Ask, COM, Keeper, PEPPER, ROOT, ask};
use support::upstream::{get, success};

const AUDIENCE: &str = "https://zk.example.com";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn config(principals: &str) -> String {
    format!(
        r#"
{principals}
[[grants]]
name = "site-deploy"
principals = ["site-ci"]
effect = "allow"
permissions = ["Zone Read", "Cache Purge"]
zones = ["example.com"]
"#
    )
}

fn site_ci(claims: &str) -> String {
    format!(
        r#"
[[principals]]
name = "site-ci"
kind = "oidc"
issuer = "{GITHUB}"
audience = "{AUDIENCE}"
claims = {{ {claims} }}
"#
    )
}

const MAIN: &str = r#"repository_id = "812345678", ref = "refs/heads/main""#;

/// A Zonekeeper beside a simulator, with this configuration.
fn keeper(principals: &str) -> Rc<Keeper> {
    let keeper = Keeper::empty().told(|raw| {
        raw.upstream_base_url = Some("http://127.0.0.1:8788/client/v4".to_owned());
    });
    keeper.apply(&config(principals));
    keeper
}

fn github(keeper: &Keeper, claims: &Value) -> String {
    let mut claims = claims.clone();
    if claims.get("aud").is_none() {
        claims["aud"] = json!(AUDIENCE);
    }
    keeper.world.issuers().github(&claims)
}

fn exchange(token: &str) -> Ask {
    ask("POST /oauth/token")
        .header("content-type", "application/json")
        .json(&json!({
            "grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN,
        }))
}

fn key_of(answered: &Answered) -> String {
    assert_eq!(answered.status, 200, "{}", answered.text);
    answered.json()["access_token"].as_str().unwrap().to_owned()
}

/// Exchanges a token that must be refused, and returns why, as recorded.
fn refused(keeper: &Keeper, token: &str) -> String {
    let answered = keeper.call(exchange(token));
    assert_eq!(answered.status, 400, "{}", answered.text);
    assert_eq!(answered.json()["error"], "invalid_request");
    let entry = keeper.last_entry();
    assert_eq!((entry.decision.as_str(), entry.principal), ("deny", None));
    assert_eq!(keeper.database.sqlite().count("api_keys"), 0);
    entry.reason
}

fn reads_zone(keeper: &Keeper, key: &str) -> Answered {
    keeper.call(ask(&format!("GET /client/v4/zones/{COM}")).key(key))
}

#[test]
fn a_token_of_github_becomes_a_key_that_says_who_stood_behind_it() {
    let keeper = keeper(&site_ci(MAIN));
    let token = github(&keeper, &json!({}));
    let answered = keeper.call(exchange(&token));
    let key = key_of(&answered);
    assert_eq!(
        answered.json(),
        json!({
            "access_token": key, "token_type": "Bearer", "expires_in": 900,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        })
    );
    let entry = keeper.last_entry();
    let behind = "GitHub acme/site@main, run 812 by ada";
    assert_eq!(entry.credential, format!("a token of {behind}"));
    assert_eq!(
        entry.sentence,
        format!(
            "site-ci ({behind}) exchanged a token for key {}, valid for 900 s; the token has the issuer, audience and claims of site-ci.",
            &key.get(..12).unwrap()
        )
    );
    assert!(entry.resources.contains(&"run_id:9000000812".to_owned()));

    keeper.expect(
        get(format!("/zones/{COM}"))
            .answers(200, success(&json!({"id": COM, "name": "example.com"}))),
    );
    assert_eq!(reads_zone(&keeper, &key).status, 200);
    let entry = keeper.last_entry();
    assert_eq!(
        (entry.principal.as_deref(), entry.credential),
        (
            Some("site-ci"),
            format!("key {} for {behind}", key.get(..12).unwrap())
        )
    );
    assert_eq!(
        entry.sentence,
        format!("site-ci ({behind}) read zone example.com; allowed by site-deploy.")
    );
    let denied = keeper.call(ask(&format!("DELETE /client/v4/zones/{COM}")).key(&key));
    assert_eq!(denied.status, 403);
    let entry = keeper.last_entry();
    assert_eq!(
        (entry.decision.as_str(), entry.principal.as_deref()),
        ("deny", Some("site-ci"))
    );
    assert_eq!(
        Some(entry.sentence),
        entry
            .reason
            .strip_prefix("site-ci ")
            .map(|rest| format!("site-ci ({behind}) {rest}"))
    );

    // It ends when its time is over.
    keeper.advance_secs(900);
    assert_eq!(reads_zone(&keeper, &key).status, 401);
    let dump = keeper.database.sqlite().dump();
    for secret in [key.get(12..).unwrap(), &token, PEPPER] {
        assert!(!dump.contains(secret));
    }
}

#[test]
fn a_form_is_as_good_as_json_and_must_be_complete() {
    let keeper = keeper(&site_ci(MAIN));
    let form = |body: &str| {
        keeper.call(
            ask("POST /oauth/token")
                .header(
                    "content-type",
                    "application/x-www-form-urlencoded;charset=UTF-8",
                )
                .text(body),
        )
    };
    let token = github(&keeper, &json!({}));
    let kind = ID_TOKEN.replace(':', "%3A");
    let grant = EXCHANGE.replace(':', "%3A");
    let whole = format!("grant_type={grant}&subject_token={token}&subject_token_type={kind}");
    let check = |body: String, status: u16, error: &str| {
        let answered = form(&body);
        assert_eq!(
            (
                answered.status,
                answered.json()["error"].as_str().unwrap().to_owned()
            ),
            (status, error.to_owned()),
            "{body}"
        );
        assert!(!answered.text.contains(&token));
    };
    let invalid = "invalid_request";
    check(String::new(), 400, invalid);
    check(
        format!("subject_token={token}&subject_token_type={kind}"),
        400,
        invalid,
    );
    check(
        format!("grant_type=password&subject_token={token}&subject_token_type={kind}"),
        400,
        "unsupported_grant_type",
    );
    check(
        format!("grant_type={grant}&subject_token_type={kind}"),
        400,
        invalid,
    );
    check(
        format!("grant_type={grant}&subject_token={token}"),
        400,
        invalid,
    );
    check(
        format!(
            "grant_type={grant}&subject_token={token}&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2"
        ),
        400,
        invalid,
    );
    check(format!("{whole}&subject_token=x"), 400, invalid);
    check(format!("{whole}&grant_type={grant}"), 400, invalid);
    check(format!("{whole}&actor_token=x"), 400, invalid);
    check(format!("{whole}&requested_token_type={kind}"), 400, invalid);
    check(format!("{whole}&scope=admin"), 400, "invalid_scope");
    check(
        format!("{whole}&resource=https%3A%2F%2Fother.example"),
        400,
        "invalid_target",
    );
    let long = format!("{whole}&x={}", "y".repeat(33_000));
    assert_eq!(form(&long).status, 413);
    let json = |body: &str| {
        let call = ask("POST /oauth/token")
            .header("content-type", "application/json")
            .text(body);
        keeper.call(call).status
    };
    for bad in [
        "",
        "[]",
        r#"{"grant_type":1}"#,
        r#"{"grant_type":"a","grant_type":"a"}"#,
    ] {
        assert_eq!(json(bad), 400, "{bad}");
    }
    assert_eq!(
        keeper.call(ask("POST /oauth/token").text(&whole)).status,
        400,
        "no content type"
    );
    assert_eq!(keeper.call(ask("GET /oauth/token")).status, 405);
    // Another credential beside the token is one too many, a good one included.
    assert_eq!(keeper.call(exchange(&token).key(ROOT)).status, 400);
    assert_eq!(
        keeper
            .call(exchange(&token).header("x-auth-key", "k"))
            .status,
        400
    );
    assert_eq!(
        keeper.world.issuers().fetched(),
        [""; 0],
        "nothing was fetched for any of these"
    );
    // Who names another than the token's principal gets nothing.
    for named in ["principal=other", "audience=https%3A%2F%2Fother.example"] {
        check(format!("{whole}&{named}"), 400, invalid);
    }
    // What is unknown is ignored, and what may be named may be.
    let more = format!(
        "{whole}&client_id=x&scope=&resource=https%3A%2F%2Fzk.example.com%2Fclient%2Fv4&audience=https%3A%2F%2Fzk.example.com&audience=site-ci&principal=site-ci"
    );
    assert_eq!(form(&more).status, 200);
}

#[test]
fn u5_nothing_is_fetched_for_an_issuer_that_nobody_names() {
    let keeper = keeper(&site_ci(MAIN));
    for issuer in [
        format!("{GITHUB}/"),
        GITHUB.to_uppercase(),
        "http://127.0.0.1:8788/__sim/oidc/gitlab".to_owned(),
        "http://127.0.0.1:8789/__sim/oidc/github".to_owned(),
        "https://token.actions.githubusercontent.com/evil".to_owned(),
        "http://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
        "https://gitlab.com.evil.example".to_owned(),
        String::new(),
    ] {
        let token = github(&keeper, &json!({"iss": issuer}));
        assert_eq!(
            refused(&keeper, &token),
            "no principal names the issuer of the token",
            "{issuer}"
        );
    }
    assert_eq!(keeper.world.issuers().fetched(), [""; 0]);
}

#[test]
fn u5_what_an_issuer_publishes_is_bounded_and_must_be_its_own() {
    let principals = format!(
        r#"
[[principals]]
name = "site-ci"
kind = "oidc"
issuer = "{PLAIN}"
audience = "{AUDIENCE}"
claims = {{ sub = "someone" }}
"#
    );
    for (spoilt, reason) in [
        (
            json!({"discovery": {"members": {"issuer": "http://127.0.0.1:8788/__sim/oidc/plain/"}}}),
            "its discovery document names another issuer",
        ),
        (
            json!({"discovery": {"members": {"jwks_uri": "https://evil.example/jwks"}}}),
            "its jwks_uri is on another origin; name it in the configuration",
        ),
        (
            json!({"discovery": {"members": {"jwks_uri": "http://127.0.0.1:8789/__sim/oidc/plain/jwks"}}}),
            "its jwks_uri is on another origin; name it in the configuration",
        ),
        (
            json!({"discovery": {"members": {"jwks_uri": null}}}),
            "its discovery document names no jwks_uri",
        ),
        (
            json!({"discovery": {"body": "<html>"}}),
            "its discovery document is no unambiguous JSON",
        ),
        (
            json!({"discovery": {"pad_bytes": 110_000}}),
            "it answered with too much",
        ),
        (
            json!({"discovery": {"status": 302, "headers": [["location", "https://evil.example"]]}}),
            "it answered with status 302",
        ),
        (
            json!({"jwks": {"pad_bytes": 110_000}}),
            "it answered with too much",
        ),
        (
            json!({"jwks": {"status": 500}}),
            "it answered with status 500",
        ),
        (
            json!({"jwks": {"body": "{\"keys\":[],\"keys\":[]}"}}),
            "the key set is no unambiguous JSON object with a list of keys",
        ),
    ] {
        let keeper = keeper(&principals);
        let issuers = keeper.world.issuers();
        issuers.steer("plain", "documents", &spoilt);
        let order = json!({"preset": "plain", "claims": {"aud": AUDIENCE}});
        let answered = keeper.call(exchange(&issuers.sign("plain", &order)));
        assert_eq!(answered.status, 503, "{spoilt} {}", answered.text);
        assert_eq!(answered.json()["error"], "temporarily_unavailable");
        assert_eq!(
            keeper.last_entry().reason,
            format!("the issuer's keys cannot be had: {reason}"),
            "{spoilt}"
        );
        assert!(
            issuers.fetched().iter().all(|url| url.starts_with(PLAIN)),
            "{:?}",
            issuers.fetched()
        );
    }
    // A place on another origin that the configuration names is fetched without asking the issuer.
    let pinned = format!("{principals}jwks_uri = \"{GITHUB}/jwks\"\n");
    let keeper = keeper(&pinned);
    let issuers = keeper.world.issuers();
    let order = json!({"preset": "plain", "claims": {"aud": AUDIENCE, "iss": PLAIN}});
    key_of(&keeper.call(exchange(&issuers.sign("github", &order))));
    assert_eq!(issuers.fetched(), [format!("{GITHUB}/jwks")]);
}

#[test]
fn u5_an_unknown_key_is_looked_for_once_a_minute_and_keys_are_fetched_once_for_all() {
    let keeper = keeper(&site_ci(MAIN));
    let issuers = keeper.world.issuers();
    let fetches = || issuers.fetched().len();
    let good = |keeper: &Keeper| key_of(&keeper.call(exchange(&github(keeper, &json!({})))));
    let stranger = || {
        issuers.sign(
            "github",
            &json!({"preset": "github", "claims": {"aud": AUDIENCE}, "header": {"kid": "made-up"}}),
        )
    };
    good(&keeper);
    assert_eq!(fetches(), 2, "discovery and keys");
    let neighbour = keeper.neighbour();
    let neighbour = neighbour
        .told(|raw| raw.upstream_base_url = Some("http://127.0.0.1:8788/client/v4".to_owned()));
    good(&neighbour);
    assert_eq!(fetches(), 2, "another isolate asks the same object");
    for _ in 0..10 {
        keeper.call(exchange(&stranger()));
        neighbour.call(exchange(&stranger()));
    }
    assert_eq!(fetches(), 2, "they were fetched less than a minute ago");
    keeper.advance_secs(59);
    keeper.call(exchange(&stranger()));
    assert_eq!(fetches(), 2);
    keeper.advance_secs(1);
    for _ in 0..10 {
        keeper.call(exchange(&stranger()));
    }
    assert_eq!(fetches(), 4);
    // An object that is started anew knows when it asked last.
    issuers.evict();
    keeper.call(exchange(&stranger()));
    assert_eq!(fetches(), 4);
    good(&neighbour);
    assert_eq!(fetches(), 4);
}

#[test]
fn u5_an_issuer_that_cannot_be_reached_lets_nobody_in_and_is_left_alone_for_a_while() {
    let keeper = keeper(&site_ci(MAIN));
    let issuers = keeper.world.issuers();
    issuers.set_down(true);
    let tries = || issuers.fetched().len();
    for _ in 0..3 {
        let answered = keeper.call(exchange(&github(&keeper, &json!({}))));
        assert_eq!(answered.status, 503, "{}", answered.text);
    }
    assert_eq!(tries(), 1);
    keeper.advance_secs(10);
    issuers.set_down(false);
    key_of(&keeper.call(exchange(&github(&keeper, &json!({})))));
    // Keys that are too old are not used, however long the issuer is away.
    issuers.set_down(true);
    keeper.advance_secs(299);
    key_of(&keeper.call(exchange(&github(&keeper, &json!({})))));
    keeper.advance_secs(1);
    assert_eq!(
        keeper.call(exchange(&github(&keeper, &json!({})))).status,
        503
    );
}

#[test]
fn t3_keys_rotate_and_a_withdrawn_one_is_refused_within_five_minutes() {
    let keeper = keeper(&site_ci(MAIN));
    let issuers = keeper.world.issuers();
    let with = |kid: &str| {
        issuers.sign(
            "github",
            &json!({"preset": "github", "kid": kid, "claims": {"aud": AUDIENCE}}),
        )
    };
    issuers.steer("github", "keys", &json!([{"kid": "old", "alg": "RS256"}]));
    key_of(&keeper.call(exchange(&with("old"))));
    // A new key beside it is found as soon as a token names it, a minute after the last look.
    issuers.steer("github", "keys", &json!({"kid": "new", "alg": "ES256"}));
    keeper.advance_secs(60);
    key_of(&keeper.call(exchange(&with("new"))));
    key_of(&keeper.call(exchange(&with("old"))));
    issuers.steer("github", "keys", &json!({"kid": "old", "remove": true}));
    keeper.advance_secs(299);
    key_of(&keeper.call(exchange(&with("old"))));
    keeper.advance_secs(1);
    let answered = keeper.call(exchange(&with("old")));
    assert_eq!(answered.status, 400);
    assert_eq!(
        keeper.last_entry().reason,
        "the issuer publishes no key of the name the token gives"
    );
    key_of(&keeper.call(exchange(&with("new"))));
}

#[test]
fn t4_a_token_must_count_now_and_be_for_us() {
    let keeper = keeper(&site_ci(MAIN));
    let now = keeper.now().unix_ms() / 1_000;
    for (claims, reason) in [
        (
            json!({"exp": now - 60, "iat": now - 360}),
            "The subject_token is not accepted: the token has expired.",
        ),
        (
            json!({"nbf": now + 61}),
            "The subject_token is not accepted: the token is not valid yet.",
        ),
        (
            json!({"exp": now + 7_200}),
            "The subject_token is not accepted: the token is valid for longer than is accepted.",
        ),
        (
            json!({"exp": "soon"}),
            "The subject_token is not accepted: the claim exp is missing or not of the type it must be.",
        ),
        (
            json!({"aud": format!("{AUDIENCE}/")}),
            "the audience is not exactly that of site-ci",
        ),
        (
            json!({"aud": [AUDIENCE, "https://other.example"]}),
            "the audience is not exactly that of site-ci",
        ),
        (
            json!({"aud": "HTTPS://ZK.EXAMPLE.COM"}),
            "the audience is not exactly that of site-ci",
        ),
    ] {
        assert_eq!(
            refused(&keeper, &github(&keeper, &claims)),
            reason,
            "{claims}"
        );
    }
    let unsigned = keeper.world.issuers().sign(
        "github",
        &json!({"preset": "github", "claims": {"aud": AUDIENCE}, "mutate": "flip_signature"}),
    );
    assert_eq!(
        refused(&keeper, &unsigned),
        "the signature is not the issuer's"
    );
    assert!(
        keeper
            .last_entry()
            .sentence
            .starts_with("Somebody (a token that proves nothing)")
    );
}

#[test]
fn t5_a_token_is_exchanged_once() {
    let keeper = keeper(&site_ci(MAIN));
    let neighbour = keeper.neighbour();
    key_of(&keeper.call(exchange(&github(&keeper, &claims))));
    for order in [
        json!({"preset": "github", "claims": {"aud": AUDIENCE}, "omit": ["jti"]}),
        json!({"preset": "github", "claims": {"aud": AUDIENCE, "jti": ""}}),
        json!({"preset": "github", "claims": {"aud": AUDIENCE, "jti": 7}}),
        json!({"preset": "github", "claims": {"aud": AUDIENCE, "jti": "j".repeat(257)}}),
    ] {
        let answered = keeper.call(exchange(&keeper.world.issuers().sign("github", &order)));
        assert_eq!(answered.status, 400, "{order}");
        assert!(
            keeper
                .last_entry()
                .reason
                .starts_with("the token has no jti"),
            "{order}"
        );
    }
}

#[test]
fn t5_what_is_spent_is_remembered_until_nobody_accepts_it() {
    let keeper = keeper(&site_ci(MAIN));
    let token = github(&keeper, &json!({}));
    let key = key_of(&keeper.call(exchange(&token)));
    let rows = |table: &str| keeper.database.sqlite().count(table);
    // Valid for five minutes and a minute of skew; kept ten minutes beyond that.
    keeper.advance_secs(359);
    block_on(keeper.store.forget_logins(keeper.now())).unwrap();
    assert_eq!((rows("oidc_jtis"), rows("api_keys")), (1, 1));
    assert_eq!(keeper.call(exchange(&token)).status, 400);
    assert_eq!(keeper.last_entry().reason, "the token was exchanged before");
    keeper.advance_secs(601);
    assert_eq!(keeper.call(exchange(&token)).status, 400);
    assert!(keeper.last_entry().reason.contains("expired"));
    block_on(keeper.store.forget_logins(keeper.now())).unwrap();
    assert_eq!((rows("oidc_jtis"), rows("api_keys")), (0, 1));
    keeper.advance_secs(86_400);
    let by_hand = keeper.mint_until("site-ci", Some(keeper.now()));
    block_on(keeper.store.forget_logins(keeper.now())).unwrap();
    assert_eq!(rows("api_keys"), 1, "a key that was minted by hand stays");
    assert_ne!(by_hand, key);
}

#[test]
fn t5_without_the_store_there_is_no_key() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let keeper = keeper(&site_ci(MAIN));
        let token = github(&keeper, &json!({}));
        keeper.database.fail("INSERT INTO oidc_jtis", storage);
        let answered = keeper.call_and_crash(exchange(&token));
        assert_eq!(answered.status, 503, "{}", answered.text);
        assert!(!answered.text.contains("access_token"));
        let stored = i64::from(storage == Storage::FailsAfter);
        assert_eq!(keeper.database.sqlite().count("api_keys"), stored);
        let again = keeper.call(exchange(&token));
        assert_eq!(again.status, if stored == 1 { 400 } else { 200 });
    }
    let keeper = keeper(&site_ci(MAIN));
    let token = github(&keeper, &json!({}));
    keeper.database.set_down(true);
    assert_eq!(keeper.call_and_crash(exchange(&token)).status, 503);
}

#[test]
fn t5_tokens_keys_and_logins_open_their_own_door_only() {
    let keeper = keeper(&site_ci(MAIN));
    let issuers = keeper.world.issuers();
    let token = github(&keeper, &json!({}));
    // A token of an issuer is no key.
    assert_eq!(reads_zone(&keeper, &token).status, 401);
    assert_eq!(
        keeper.call(ask("GET /api/v1/whoami").key(&token)).status,
        401
    );
    // A login of Access is no token of an issuer, and a key is no token.
    let login = issuers.sign("", &json!({"preset": "access"}));
    assert_eq!(
        refused(&keeper, &login),
        "no principal names the issuer of the token"
    );
    assert_eq!(keeper.call(exchange(ROOT)).status, 400);
    // Nor is a token that was made for another client.
    let other = github(&keeper, &json!({"aud": "https://github.com/acme"}));
    assert_eq!(
        refused(&keeper, &other),
        "the audience is not exactly that of site-ci"
    );
}

#[test]
fn t6_a_github_token_is_judged_by_its_immutable_claims() {
    let keeper = keeper(&site_ci(
        r#"repository_id = "812345678", ref = "refs/heads/main", event_name = ["push", "workflow_dispatch"]"#,
    ));
    let not_named = |claim: &str, value: &str| {
        format!("the claim {claim} is {value:?}, which site-ci does not name")
    };
    for (claims, reason) in [
        // Another repository that took the name, and a fork.
        (
            json!({"repository_id": "999"}),
            not_named("repository_id", "999"),
        ),
        (
            json!({"repository_id": "8123456780"}),
            not_named("repository_id", "8123456780"),
        ),
        // A tag that is called like the branch, and names that are nearly its name.
        (
            json!({"ref": "refs/tags/main", "ref_type": "tag"}),
            not_named("ref", "refs/tags/main"),
        ),
        (
            json!({"ref": "refs/heads/main2"}),
            not_named("ref", "refs/heads/main2"),
        ),
        (
            json!({"ref": "refs/heads/Main"}),
            not_named("ref", "refs/heads/Main"),
        ),
        (json!({"ref": "main"}), not_named("ref", "main")),
        (
            json!({"ref": ["refs/heads/main"]}),
            "the claim ref is no text, and site-ci needs it".to_owned(),
        ),
        (
            json!({"ref": null}),
            "the claim ref is no text, and site-ci needs it".to_owned(),
        ),
        (
            json!({"repository_id": 812_345_678}),
            "the claim repository_id is no text, and site-ci needs it".to_owned(),
        ),
        (
            json!({"event_name": "pull_request"}),
            not_named("event_name", "pull_request"),
        ),
    ] {
        assert_eq!(
            refused(&keeper, &github(&keeper, &claims)),
            reason,
            "{claims}"
        );
        let entry = keeper.last_entry();
        assert!(
            entry.credential.starts_with("a token of GitHub acme/site"),
            "{}",
            entry.credential
        );
    }
    let absent = keeper.world.issuers().sign(
        "github",
        &json!({"preset": "github", "claims": {"aud": AUDIENCE}, "omit": ["ref"]}),
    );
    assert_eq!(
        refused(&keeper, &absent),
        "the claim ref is no text, and site-ci needs it"
    );
    // What changes hands does not matter: the repository was renamed, `sub` has its other form.
    for claims in [
        json!({"repository": "acme/renamed", "repository_owner": "acme-2"}),
        json!({"sub": "repo:acme@40001234/site@812345678:ref:refs/heads/main"}),
        json!({"event_name": "workflow_dispatch"}),
    ] {
        key_of(&keeper.call(exchange(&github(&keeper, &claims))));
    }
}

#[test]
fn t6_events_that_strangers_cause_must_be_named() {
    let strangers = [
        "pull_request",
        "pull_request_target",
        "issue_comment",
        "workflow_run",
        "issues",
        "fork",
        "watch",
        "made_up",
        "",
    ];
    let keeper_of = |claims: &str| keeper(&site_ci(claims));
    let unnamed = keeper_of(MAIN);
    for event in strangers {
        let reason = refused(&unnamed, &github(&unnamed, &json!({"event_name": event})));
        assert_eq!(
            reason,
            format!("the claim event_name is {event:?}, which site-ci would have to name")
        );
    }
    for event in [
        "push",
        "workflow_dispatch",
        "schedule",
        "repository_dispatch",
        "release",
        "deployment",
        "merge_group",
    ] {
        key_of(&unnamed.call(exchange(&github(&unnamed, &json!({"event_name": event})))));
    }
    let named = keeper_of(&format!(r#"{MAIN}, event_name = ["workflow_run"]"#));
    key_of(&named.call(exchange(&github(
        &named,
        &json!({"event_name": "workflow_run"}),
    ))));
    // An environment of a repository that is not ours protects nothing.
    let environment = keeper_of(r#"repository_id = "812345678", environment = "production""#);
    let spoofed =
        json!({"environment": "production", "repository_id": "666", "repository": "mallory/site"});
    assert!(refused(&environment, &github(&environment, &spoofed)).contains("repository_id"));
    key_of(&environment.call(exchange(&github(
        &environment,
        &json!({"environment": "production"}),
    ))));
}

#[test]
fn t6_a_token_of_github_needs_a_rule_that_pins_the_repository() {
    // On a server of one's own only the token says that it is GitHub's, so apply cannot tell.
    let keeper = keeper(&site_ci(r#"sub = "repo:acme/site:ref:refs/heads/main""#));
    let reason = refused(&keeper, &github(&keeper, &json!({})));
    assert!(
        reason.starts_with("tokens of GitHub Actions need the claim \"repository_id\""),
        "{reason}"
    );
}

#[test]
fn t7_a_gitlab_token_comes_from_a_protected_ref_and_no_merge_request() {
    let principal = |claims: &str| {
        format!(
            r#"
[[principals]]
name = "site-ci"
kind = "oidc"
issuer = "{GITLAB}"
audience = "{AUDIENCE}"
claims = {{ {claims} }}
"#
        )
    };
    let rule = r#"project_id = "20", ref = "main""#;
    let with = keeper(&principal(rule));
    let token = |keeper: &Keeper, claims: Value, omit: Value| {
        let mut claims = claims;
        claims["aud"] = json!(AUDIENCE);
        let order = json!({"preset": "gitlab", "claims": claims, "omit": omit});
        keeper.world.issuers().sign("gitlab", &order)
    };
    for (claims, omit, expected) in [
        (
            json!({"pipeline_source": "merge_request_event"}),
            json!([]),
            "the claim pipeline_source is \"merge_request_event\", which site-ci would have to name",
        ),
        (
            json!({"pipeline_source": "parent_pipeline"}),
            json!([]),
            "the claim pipeline_source is \"parent_pipeline\", which site-ci would have to name",
        ),
        (
            json!({}),
            json!(["pipeline_source"]),
            "the claim pipeline_source is \"\", which site-ci would have to name",
        ),
        (
            json!({"ref_protected": "false"}),
            json!([]),
            "the claim ref_protected is \"false\", which site-ci would have to name",
        ),
        (
            json!({"ref_protected": true}),
            json!([]),
            "the claim ref_protected is \"\", which site-ci would have to name",
        ),
        (
            json!({}),
            json!(["ref_protected"]),
            "the claim ref_protected is \"\", which site-ci would have to name",
        ),
        (
            json!({"project_id": 20}),
            json!([]),
            "the claim project_id is no text, and site-ci needs it",
        ),
        (
            json!({"project_id": "21", "job_project_id": "20"}),
            json!([]),
            "the claim project_id is \"21\", which site-ci does not name",
        ),
    ] {
        assert_eq!(refused(&with, &token(&with, claims, omit)), expected);
    }
    let answered = with.call(exchange(&token(&with, json!({}), json!([]))));
    key_of(&answered);
    assert_eq!(
        with.last_entry().credential,
        "a token of GitLab acme/site@main, pipeline 574 by ada"
    );
    let named = keeper(&principal(&format!(
        r#"{rule}, pipeline_source = "merge_request_event", ref_protected = ["true", "false"]"#
    )));
    let claims = json!({"pipeline_source": "merge_request_event", "ref_protected": "false"});
    key_of(&named.call(exchange(&token(&named, claims, json!([])))));
}

#[test]
fn a_token_that_fits_several_principals_must_name_one() {
    let second = site_ci(MAIN).replace("site-ci", "site-ci-2");
    let keeper = keeper(&format!("{}{second}", site_ci(MAIN)));
    let reason = refused(&keeper, &github(&keeper, &json!({})));
    assert_eq!(
        reason,
        "The subject_token fits more than one principal; name the one meant with the parameter principal."
    );
    let naming = |name: &str, value: &str| {
        let token = github(&keeper, &json!({}));
        let mut body =
            json!({"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN});
        body[name] = json!(value);
        keeper.call(
            ask("POST /oauth/token")
                .header("content-type", "application/json")
                .json(&body),
        )
    };
    for name in ["principal", "audience"] {
        key_of(&naming(name, "site-ci-2"));
        assert_eq!(keeper.last_entry().principal.as_deref(), Some("site-ci-2"));
        assert_eq!(naming(name, "acme-bot").status, 400);
        assert_eq!(
            keeper.last_entry().reason,
            "the request does not mean site-ci; the request does not mean site-ci-2"
        );
    }
}

#[test]
fn a_refusal_tells_nobody_what_would_have_fitted() {
    let keeper = keeper(&site_ci(MAIN));
    let mut told = Vec::new();
    for token in [
        github(&keeper, &json!({"ref": "refs/heads/evil"})),
        github(&keeper, &json!({"aud": "x"})),
        github(&keeper, &json!({"iss": "https://evil.example"})),
        keeper.world.issuers().sign(
            "github",
            &json!({"preset": "github", "mutate": "flip_signature"}),
        ),
        keeper.world.issuers().sign(
            "github",
            &json!({"preset": "github", "header": {"kid": "x"}}),
        ),
    ] {
        let answered = keeper.call(exchange(&token));
        told.push((answered.status, answered.text));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!told[0].1.contains("site-ci") && !told[0].1.contains("refs/heads"));
}

#[test]
fn a_key_ends_when_its_principal_comes_to_mean_somebody_else() {
    for changed in [
        site_ci(r#"repository_id = "812345678", ref = "refs/heads/release""#),
        site_ci(MAIN).replace(AUDIENCE, "https://other.example"),
        site_ci(MAIN).replace("/github", "/github-2"),
        format!("{}max_ttl_secs = 60\n", site_ci(MAIN)),
        "[[principals]]\nname = \"site-ci\"\nkind = \"key\"\n".to_owned(),
        "[[principals]]\nname = \"site-ci\"\nkind = \"internal\"\n".to_owned(),
    ] {
        let keeper = keeper(&site_ci(MAIN));
        let neighbour = keeper.neighbour();
        let key = key_of(&keeper.call(exchange(&github(&keeper, &json!({})))));
        let expected = || {
            get(format!("/zones/{COM}"))
                .answers(200, success(&json!({"id": COM, "name": "example.com"})))
        };
        for isolate in [&keeper, &neighbour] {
            isolate.expect(expected());
            assert_eq!(reads_zone(isolate, &key).status, 200);
        }
        // Stored by somebody else, and without any key being touched.
        keeper.apply(&config(&changed));
        keeper.advance_secs(5);
        for isolate in [&keeper, &neighbour] {
            assert_eq!(reads_zone(isolate, &key).status, 401, "{changed}");
        }
        // The rule before it lets new tokens in, and the old key with them, as nobody revoked it.
        keeper.apply(&config(&site_ci(MAIN)));
        keeper.advance_secs(5);
        neighbour.expect(expected());
        assert_eq!(reads_zone(&neighbour, &key).status, 200);
    }
}

#[test]
fn apply_ends_the_keys_of_a_changed_rule_for_good() {
    let keeper = keeper(&site_ci(MAIN));
    let key = key_of(&keeper.call(exchange(&github(&keeper, &json!({})))));
    let apply = |principals: &str| {
        let answered = keeper.call(ask("PUT /api/v1/config").key(ROOT).toml(principals));
        assert_eq!(answered.status, 200, "{}", answered.text);
    };
    apply(&site_ci(
        r#"repository_id = "812345678", ref = "refs/heads/release""#,
    ));
    apply(&site_ci(MAIN));
    assert_eq!(reads_zone(&keeper, &key).status, 401);
    let listed = keeper
        .call(ask("GET /api/v1/principals/site-ci/keys").key(ROOT))
        .result();
    assert_eq!(listed[0]["status"], "revoked");
    assert_eq!(listed[0]["behind"], "GitHub acme/site@main, run 812 by ada");
}

#[test]
fn keys_of_tokens_can_be_revoked_but_neither_minted_nor_rolled_by_hand() {
    let keeper = keeper(&site_ci(MAIN));
    let key = key_of(&keeper.call(exchange(&github(&keeper, &json!({})))));
    let id = key.get(..12).unwrap();
    let keys = "/api/v1/principals/site-ci/keys";
    let minted = keeper.call(ask(&format!("POST {keys}")).key(ROOT).json(&json!({})));
    assert_eq!(minted.refused(), (400, 20032));
    assert_eq!(
        minted.message(),
        "The principal site-ci is of the kind `oidc`: its keys are issued for tokens only."
    );
    let rolled = keeper.call(
        ask(&format!("POST {keys}/{id}/roll"))
            .key(ROOT)
            .json(&json!({})),
    );
    assert_eq!(rolled.refused(), (400, 20032));
    assert_eq!(
        keeper
            .call(ask(&format!("DELETE {keys}/{id}")).key(ROOT))
            .status,
        200
    );
    assert_eq!(reads_zone(&keeper, &key).status, 401);
    // A key that was minted while the principal was of another kind opens nothing now.
    let by_hand = keeper.mint("site-ci");
    assert_eq!(reads_zone(&keeper, &by_hand).status, 401);
}

#[test]
fn a_key_lives_as_long_as_its_principal_says() {
    let keeper = keeper(&format!("{}max_ttl_secs = 60\n", site_ci(MAIN)));
    let answered = keeper.call(exchange(&github(&keeper, &json!({}))));
    assert_eq!(answered.json()["expires_in"], 60);
    let key = key_of(&answered);
    keeper.advance_secs(59);
    keeper.expect(
        get(format!("/zones/{COM}"))
            .answers(200, success(&json!({"id": COM, "name": "example.com"}))),
    );
    assert_eq!(reads_zone(&keeper, &key).status, 200);
    keeper.advance_secs(1);
    assert_eq!(reads_zone(&keeper, &key).status, 401);
}

#[test]
fn issuers_on_this_machine_count_beside_a_simulator_only() {
    let keeper = Keeper::empty();
    let answered = keeper.call(ask("PUT /api/v1/config").key(ROOT).toml(&site_ci(MAIN)));
    assert_eq!(answered.refused(), (400, 20031));
    assert!(
        answered
            .message()
            .starts_with("The principal site-ci has an issuer that is not https")
    );
    // Stored all the same, it is not fetched from.
    keeper.apply(&config(&site_ci(MAIN)));
    let issuers: SimIssuers = keeper.world.issuers();
    assert!(issuers.fetched().is_empty());
}
