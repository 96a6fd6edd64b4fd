//! Exchanging tokens of the simulator's issuers.

use std::rc::Rc;

use serde_json::{Value, json};

use super::issuers::GITHUB;
use super::keeper::{Answered, Ask, COM, Keeper, ask};

pub(crate) const AUDIENCE: &str = "https://zk.example.com";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

pub(crate) fn config(principals: &str) -> String {
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

pub(crate) fn site_ci(claims: &str) -> String {
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

pub(crate) const MAIN: &str = r#"repository_id = "812345678", ref = "refs/heads/main""#;

/// A Zonekeeper beside a simulator, with this configuration.
pub(crate) fn keeper(principals: &str) -> Rc<Keeper> {
    let keeper = Keeper::empty().told(|raw| {
        raw.upstream_base_url = Some("http://127.0.0.1:8788/client/v4".to_owned());
    });
    keeper.apply(&config(principals));
    keeper
}

pub(crate) fn github(keeper: &Keeper, claims: &Value) -> String {
    let mut claims = claims.clone();
    if claims.get("aud").is_none() {
        claims["aud"] = json!(AUDIENCE);
    }
    keeper.world.issuers().github(&claims)
}

pub(crate) fn exchange(token: &str) -> Ask {
    ask("POST /oauth/token")
        .header("content-type", "application/json")
        .json(&json!({
            "grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN,
        }))
}

pub(crate) fn key_of(answered: &Answered) -> String {
    assert_eq!(answered.status, 200, "{}", answered.text);
    answered.json()["access_token"].as_str().unwrap().to_owned()
}

/// Exchanges a token that must be refused, and returns why, as recorded.
pub(crate) fn refused(keeper: &Keeper, token: &str) -> String {
    let answered = keeper.call(exchange(token));
    assert_eq!(answered.status, 400, "{}", answered.text);
    assert_eq!(answered.json()["error"], "invalid_request");
    let entry = keeper.last_entry();
    assert_eq!((entry.decision.as_str(), entry.principal), ("deny", None));
    assert_eq!(keeper.database.sqlite().count("api_keys"), 0);
    entry.reason
}

pub(crate) fn reads_zone(keeper: &Keeper, key: &str) -> Answered {
    keeper.call(ask(&format!("GET /client/v4/zones/{COM}")).key(key))
}
