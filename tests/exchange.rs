//! `POST /oauth/token`: what the key of a token opens and for how long, and what is on record.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use pollster::block_on;
use serde_json::json;
use support::database::Storage;
use support::exchange::{
    AUDIENCE, EXCHANGE, ID_TOKEN, MAIN, config, exchange, github, keeper, key_of, reads_zone,
    refused, site_ci,
};
use support::keeper::{COM, PEPPER, ROOT, ask};
use support::upstream::{get, success};

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
fn t5_a_token_is_exchanged_once() {
    let keeper = keeper(&site_ci(MAIN));
    let neighbour = keeper.neighbour();
    let token = github(&keeper, &json!({}));
    key_of(&keeper.call(exchange(&token)));
    for other in [&keeper, &neighbour] {
        let answered = other.call(exchange(&token));
        assert_eq!(answered.status, 400);
        assert_eq!(keeper.last_entry().reason, "the token was exchanged before");
    }
    assert_eq!(keeper.database.sqlite().count("api_keys"), 1);
    // Under another name it is another token; without a name it could come again.
    let claims = json!({"jti": "one"});
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
