//! The members of an account.
//!
//! NOTES "operations.tsv": `GET /accounts/{a}/members` (page). Changing them is not modelled.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::objects::{self, Members};
use crate::page::OTHERS;
use crate::router::Route;
use crate::seed::{ACME_ID, EMAIL, USER_ID};
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts/{account_id}/members", list),
        ("GET", "/accounts/{account_id}/members/{member_id}", get),
    ]
}

const OWNER: (&str, &str) = (
    "33666b9c79b9a5273fc7344ff42f953d",
    "Super Administrator - All Privileges",
);
const READER: (&str, &str) = (
    "8bd0a1f3a2a74a5e9c1a4c7b1a4b6e9d",
    "Administrator Read Only",
);

/// The user is a member everywhere; Acme has a second one, who has not accepted yet.
fn members(account: &str) -> Vec<Value> {
    let member = |id: &str, user: Value, status: &str, role: (&str, &str)| {
        json!({
            "id": id, "status": status, "user": user,
            "roles": [{"id": role.0, "name": role.1, "description": role.1, "permissions": {}}],
        })
    };
    let user = json!({
        "id": USER_ID, "email": EMAIL, "first_name": "Ada", "last_name": "Acme",
        "two_factor_authentication_enabled": true,
    });
    let guest = json!({
        "id": null, "email": "auditor@acme.test", "first_name": null, "last_name": null,
        "two_factor_authentication_enabled": false,
    });
    let mut all = vec![member(
        "60000000000000000000000000000001",
        user,
        "accepted",
        OWNER,
    )];
    if account == ACME_ID {
        all.push(member(
            "60000000000000000000000000000002",
            guest,
            "pending",
            READER,
        ));
    }
    all
}

fn list(call: &mut Call<'_>) -> Outcome {
    let status = call
        .query
        .choice("status", &["", "accepted", "pending", "rejected"], "")?;
    let mut all = members(call.place()?);
    all.retain(|member| status.is_empty() || *member.at("status") == status);
    objects::page_of(call, &all, Some(OTHERS))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.param("member_id");
    let all = members(call.place()?);
    let member = all.iter().find(|member| *member.at("id") == id);
    let member = member.ok_or_else(|| ApiError::new(404, 1003, "Member not found for account"))?;
    Ok(Reply::ok(member))
}
