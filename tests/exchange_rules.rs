//! Which tokens of issuers stand for a principal, and what is fetched to find out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use support::exchange::{
    AUDIENCE, MAIN, config, exchange, github, keeper, key_of, refused, site_ci,
};
use support::issuers::{GITHUB, GITLAB, PLAIN, SimIssuers};
use support::keeper::{Keeper, ROOT, ask};

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
fn u5_a_token_that_anybody_could_write_does_not_tell_which_issuers_are_known() {
    let keeper = keeper(&site_ci(MAIN));
    let now = keeper.now().unix_ms() / 1_000;
    for claims in [
        json!({}),
        json!({"exp": now - 60, "iat": now - 360}),
        json!({"nbf": now + 61}),
        json!({"exp": now + 90_000}),
    ] {
        let answer = |issuer: &str| {
            let mut claims = claims.clone();
            claims["iss"] = json!(issuer);
            claims["aud"] = json!(AUDIENCE);
            let order = json!({"preset": "github", "claims": claims, "mutate": "flip_signature"});
            let token = keeper.world.issuers().sign("github", &order);
            let answered = keeper.call(exchange(&token));
            (answered.status, answered.text)
        };
        let known = answer(GITHUB);
        assert_eq!(known.0, 400, "{claims}");
        assert_eq!(answer("https://issuer.example"), known, "{claims}");
    }
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
    let good = |keeper: &Keeper| {
        let answered = keeper.call(exchange(&github(keeper, &json!({}))));
        assert_eq!(answered.status, 200, "{}", keeper.world.logs());
    };
    let stranger = || {
        issuers.sign(
            "github",
            &json!({"preset": "github", "claims": {"aud": AUDIENCE}, "header": {"kid": "made-up"}}),
        )
    };
    good(&keeper);
    assert_eq!(fetches(), 2, "discovery and keys");
    let neighbour = keeper.neighbour();
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
    // The first isolate asked its object a second ago, the other one did not.
    for _ in 0..10 {
        keeper.call(exchange(&stranger()));
    }
    assert_eq!(fetches(), 2);
    for _ in 0..10 {
        neighbour.call(exchange(&stranger()));
    }
    assert_eq!(fetches(), 4);
    // An object that is started anew knows when it asked last.
    keeper.advance_secs(5);
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
