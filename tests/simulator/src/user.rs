//! The user behind the credentials.

use serde_json::{Value, json};

use crate::api::{Outcome, Reply};
use crate::router::Route;
use crate::seed::{EMAIL, USER_ID};
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![("GET", "/user", get)]
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
