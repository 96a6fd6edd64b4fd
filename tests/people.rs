//! People who sign in by Cloudflare Access, and a root key that is switched off.

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
use simulator::ACCESS_AUD;
use support::issuers::SIM;
use support::keeper::{Ask, COM, Keeper, ROOT, ask};

const CONFIG: &str = r#"
[[principals]]
name = "ops"
kind = "access"
emails = ["Ada@acme.test"]
[[principals]]
name = "auditors"
kind = "access"
groups = ["audit"]
[[principals]]
name = "bot"
kind = "key"
[[grants]]
name = "ops-configure"
principals = ["ops"]
effect = "allow"
permissions = ["Zonekeeper Config Write"]
[[grants]]
name = "auditors-read"
principals = ["auditors"]
effect = "allow"
permissions = ["Zonekeeper Audit Read"]
"#;

/// A Zonekeeper behind Access, beside a simulator.
fn keeper() -> Rc<Keeper> {
    let keeper = Keeper::empty().told(|raw| {
        raw.upstream_base_url = Some(format!("{SIM}/client/v4"));
        raw.access_team_domain = Some(SIM.to_owned());
        raw.access_aud = Some(ACCESS_AUD.to_owned());
    });
    keeper.apply(CONFIG);
    keeper
}

fn login(keeper: &Keeper, claims: &Value) -> String {
    let order = json!({"preset": "access", "claims": claims});
    keeper.world.issuers().sign("", &order)
}

fn with(line: &str, token: &str) -> Ask {
    ask(line).header("cf-access-jwt-assertion", token)
}

const READ: &str = "GET /api/v1/config";

#[test]
fn a_person_is_let_in_by_address_or_by_group_and_is_on_record() {
    let keeper = keeper();
    let token = login(&keeper, &json!({}));
    let whoami = keeper.call(with("GET /api/v1/whoami", &token)).result();
    assert_eq!(
        whoami,
        json!({"principal": "ops", "credential": "Access login of ada@acme.test"})
    );
    assert_eq!(keeper.call(with(READ, &token)).status, 200);
    assert_eq!(keeper.call(with("GET /api/v1/audit", &token)).status, 403);
    let cookie = format!("theme=dark; CF_Authorization={token}");
    assert_eq!(keeper.call(ask(READ).header("cookie", &cookie)).status, 200);

    let minted = with("POST /api/v1/principals/bot/keys", &token).json(&json!({}));
    assert_eq!(
        keeper
            .call(minted.header("sec-fetch-site", "same-origin"))
            .status,
        200
    );
    let entry = keeper.last_entry();
    assert_eq!(entry.credential, "Access login of ada@acme.test");
    assert!(
        entry
            .sentence
            .starts_with("ops (ada@acme.test) minted key "),
        "{}",
        entry.sentence
    );

    for groups in [
        json!({"custom": {"groups": ["x", "audit"]}}),
        json!({"groups": ["audit"]}),
        json!({"groups": "audit"}),
    ] {
        let mut claims = groups;
        claims["email"] = json!("eve@acme.test");
        let token = login(&keeper, &claims);
        assert_eq!(
            keeper.call(with("GET /api/v1/audit", &token)).status,
            200,
            "{claims}"
        );
    }
    // Keys of the team are fetched once.
    assert_eq!(
        keeper.world.issuers().fetched(),
        [format!("{SIM}/cdn-cgi/access/certs")]
    );
}

#[test]
fn h3_a_login_that_proves_nothing_lets_nobody_in() {
    let keeper = keeper();
    let now = keeper.now().unix_ms() / 1_000;
    let issuers = keeper.world.issuers();
    let signed = |order: Value| issuers.sign("", &order);
    for (what, token) in [
        ("forged", signed(json!({"preset": "access", "mutate": "flip_signature"}))),
        ("unsigned", signed(json!({"preset": "access", "alg": "none"}))),
        ("with another key", signed(json!({"preset": "access", "header": {"kid": "x"}}))),
        ("another application", login(&keeper, &json!({"aud": ["0000"]}))),
        ("several applications", login(&keeper, &json!({"aud": [ACCESS_AUD, "0000"]}))),
        ("another team", login(&keeper, &json!({"iss": "https://evil.cloudflareaccess.com"}))),
        ("its own slash", login(&keeper, &json!({"iss": format!("{SIM}/")}))),
        ("a session of the team", login(&keeper, &json!({"type": "org"}))),
        ("expired", login(&keeper, &json!({"iat": now - 90_000, "nbf": now - 90_000, "exp": now - 60}))),
        ("too long", login(&keeper, &json!({"exp": now + 32 * 86_400}))),
        ("nobody", login(&keeper, &json!({"email": "mallory@acme.test", "custom": {}}))),
        ("nearly somebody", login(&keeper, &json!({"email": "ada@acme.test.evil.example", "custom": {}}))),
        ("no address", login(&keeper, &json!({"email": "", "custom": {"groups": ["audit"]}}))),
        ("a service token", signed(json!({"preset": "access_service_token"}))),
        ("a token of an issuer", issuers.sign("github", &json!({"preset": "github", "claims": {"aud": ACCESS_AUD, "email": "ada@acme.test"}}))),
        ("nothing", "x".to_owned()),
        ("two, joined", format!("{0}, {0}", login(&keeper, &json!({})))),
    ] {
        let answered = keeper.call(with(READ, &token));
        assert_eq!(answered.refused(), (401, 20011), "{what}");
        let entry = keeper.last_entry();
        assert_eq!((entry.principal, entry.credential.as_str()), (None, "an Access login that is not accepted"));
    }
    // The header and the cookie must be the same.
    let (one, other) = (
        login(&keeper, &json!({})),
        login(&keeper, &json!({"country": "DE"})),
    );
    let both = with(READ, &one).header("cookie", &format!("CF_Authorization={other}"));
    assert_eq!(keeper.call(both).refused(), (400, 20002));
    let same = with(READ, &one).header("cookie", &format!("CF_Authorization={one}"));
    assert_eq!(keeper.call(same).status, 200);
}

#[test]
fn t3_access_rotates_its_keys() {
    let keeper = keeper();
    let issuers = keeper.world.issuers();
    let old = login(&keeper, &json!({}));
    assert_eq!(keeper.call(with(READ, &old)).status, 200);
    issuers.steer("", "rotate", &json!({}));
    keeper.advance_secs(60);
    let new = login(&keeper, &json!({}));
    for token in [&new, &old] {
        assert_eq!(keeper.call(with(READ, token)).status, 200);
    }
    issuers.steer("", "rotate", &json!({}));
    keeper.advance_secs(300);
    assert_eq!(
        keeper.call(with(READ, &old)).refused(),
        (401, 20011),
        "withdrawn"
    );
    assert_eq!(keeper.call(with(READ, &new)).status, 200);
    // Without the keys nobody gets in.
    keeper.advance_secs(301);
    issuers.set_down(true);
    assert_eq!(keeper.call(with(READ, &new)).refused(), (503, 20080));
}

#[test]
fn d4_a_page_of_another_site_changes_nothing_by_a_login() {
    let keeper = keeper();
    let token = login(&keeper, &json!({}));
    let mint = |header: Option<(&str, &str)>| {
        let cookie = format!("CF_Authorization={token}");
        let mut call = ask("POST /api/v1/principals/bot/keys")
            .header("cookie", &cookie)
            .json(&json!({}));
        if let Some((name, value)) = header {
            call = call.header(name, value);
        }
        keeper.call(call).status
    };
    for header in [
        None,
        Some(("sec-fetch-site", "cross-site")),
        Some(("sec-fetch-site", "same-site")),
        Some(("sec-fetch-site", "none")),
    ] {
        assert_eq!(mint(header), 403, "{header:?}");
    }
    assert_eq!(keeper.database.sqlite().count("api_keys"), 0);
    assert_eq!(mint(Some(("sec-fetch-site", "same-origin"))), 200);
    assert_eq!(mint(Some(("zonekeeper-request", "1"))), 200);
}

#[test]
fn a_key_goes_before_a_login_which_opens_the_api_only() {
    let keeper = keeper();
    let token = login(&keeper, &json!({}));
    let key = keeper.mint("bot");
    let whoami = keeper
        .call(with("GET /api/v1/whoami", &token).key(&key))
        .result();
    assert_eq!(whoami["principal"], "bot");
    assert_eq!(keeper.call(with(READ, &token).key("not-a-key")).status, 401);
    // The proxied API takes keys only: browsers send cookies along for everybody.
    let proxied = keeper.call(with(&format!("GET /client/v4/zones/{COM}"), &token));
    assert_eq!(proxied.refused(), (401, 20010));
    assert_eq!(
        keeper.call(ask(READ).key(&token)).refused(),
        (401, 20011),
        "a login is no key"
    );
}

#[test]
fn without_access_set_up_a_login_is_nothing() {
    let behind = keeper();
    let token = login(&behind, &json!({}));
    let keeper = behind.told(|_| {});
    assert_eq!(keeper.call(with(READ, &token)).refused(), (401, 20010));
    assert!(keeper.world.issuers().fetched().is_empty());
}

#[test]
fn the_root_key_is_switched_off_everywhere_within_five_seconds() {
    let keeper = keeper();
    let neighbour = keeper.neighbour();
    for isolate in [&keeper, &neighbour] {
        assert_eq!(isolate.call(ask(READ).key(ROOT)).status, 200);
    }
    let off = format!("[root]\nenabled = false\n{CONFIG}");
    let token = login(&keeper, &json!({}));
    let apply = with("PUT /api/v1/config", &token)
        .toml(&off)
        .header("zonekeeper-request", "1");
    let applied = keeper.call(apply);
    assert_eq!(applied.status, 200, "{}", applied.text);
    let changes = applied.result()["changes"].clone();
    assert_eq!(
        changes[0],
        json!({"kind": "setting", "name": "root", "action": "update", "before": {"enabled": true}, "after": {"enabled": false}})
    );
    assert_eq!(keeper.call(ask(READ).key(ROOT)).refused(), (401, 20011));
    keeper.advance_secs(5);
    assert_eq!(neighbour.call(ask(READ).key(ROOT)).refused(), (401, 20011));
    // Somebody else switches it on again.
    let on = off.replace("enabled = false", "enabled = true");
    let apply = with("PUT /api/v1/config", &token)
        .toml(&on)
        .header("zonekeeper-request", "1");
    assert_eq!(keeper.call(apply).status, 200);
    keeper.advance_secs(5);
    assert_eq!(neighbour.call(ask(READ).key(ROOT)).status, 200);
}

#[test]
fn nobody_switches_the_root_key_off_and_locks_themselves_out() {
    let config = |kind: &str, more: &str| {
        format!(
            "[root]\nenabled = false\n[[principals]]\nname = \"ops\"\nkind = \"{kind}\"\n{more}\n[[grants]]\nname = \"g\"\nprincipals = [\"ops\"]\neffect = \"allow\"\npermissions = [\"Zonekeeper Config Write\"]\n"
        )
    };
    let message = "The document switches the root key off (root.enabled), but no principal that can sign in now holds Zonekeeper Config Write, so nobody could change the configuration again.";
    let keeper = keeper();
    let refused = |keeper: &Keeper, toml: &str| {
        for line in ["PUT /api/v1/config", "POST /api/v1/config/plan"] {
            let answered = keeper.call(ask(line).key(ROOT).toml(toml));
            assert_eq!(
                (answered.refused(), answered.message()),
                ((400, 20031), message.to_owned()),
                "{toml}"
            );
        }
    };
    refused(&keeper, "[root]\nenabled = false\n");
    refused(&keeper, &config("internal", ""));
    refused(&keeper, &config("key", ""));
    refused(
        &keeper,
        &config("key", "").replace("Config Write", "Config Read"),
    );
    refused(
        &keeper,
        &format!("{}not_after = 2026-01-01T00:00:00Z\n", config("key", "")),
    );
    refused(
        &keeper,
        &config("access", "emails = [\"a@b.example\"]")
            .replace("effect = \"allow\"", "effect = \"deny\""),
    );
    // A key that has expired or was revoked opens nothing.
    keeper.mint_until("ops", Some(keeper.now()));
    let revoked = keeper.mint("ops");
    keeper.revoke("ops", &revoked);
    refused(&keeper, &config("key", ""));
    // Without Access set up, people cannot sign in.
    let without = keeper.told(|_| {});
    refused(&without, &config("access", "emails = [\"a@b.example\"]"));
    let accepted = |toml: &str| {
        let answered = keeper.call(ask("POST /api/v1/config/plan").key(ROOT).toml(toml));
        assert_eq!(answered.status, 200, "{}", answered.text);
    };
    accepted(&config("access", "emails = [\"a@b.example\"]"));
    keeper.mint("ops");
    accepted(&config("key", ""));
}
