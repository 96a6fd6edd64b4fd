//! The user behind the credentials, and the check of the user's token.

use serde_json::{Value, json};

use crate::accounts::verified;
use crate::api::{ApiError, Outcome, Reply};
use crate::auth::Credential;
use crate::router::Route;
use crate::seed::{EMAIL, USER_ID};
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/user", get),
        ("GET", "/user/tokens/verify", verify),
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "every handler has this signature")]
fn get(call: &mut Call<'_>) -> Outcome {
    let organizations: Vec<Value> = call
        .world
        .accounts
        .iter()
        .map(|a| json!({"id": a.id, "name": a.name, "status": "member", "roles": ["All Privileges - Super Administrator"]}))
        .collect();
    Ok(Reply::ok(&json!({
        "id": USER_ID,
        "email": EMAIL,
        "first_name": "Ada",
        "last_name": "Acme",
        "username": "ada",
        "telephone": null,
        "country": null,
        "zipcode": null,
        "two_factor_authentication_enabled": true,
        "two_factor_authentication_locked": false,
        "suspended": false,
        "has_pro_zones": true,
        "has_business_zones": false,
        "has_enterprise_zones": true,
        "betas": [],
        "organizations": organizations,
        "created_on": "2026-01-01T00:00:00.000000Z",
        "modified_on": "2026-01-01T00:00:00.000000Z",
    })))
}

/// NOTES "Accounts, tokens": verify is about a token; a global key has none (hypothesis: 1000).
fn verify(call: &mut Call<'_>) -> Outcome {
    match call.credential {
        Credential::Token => Ok(verified()),
        Credential::Key | Credential::Upload => Err(ApiError::new(401, 1000, "Invalid API Token")),
    }
}
