//! Accounts and memberships.
//!
//! NOTES "Accounts, tokens": `GET /accounts` (page), `GET /accounts/{a}`.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::page::{Page, ZONES};
use crate::router::Route;
use crate::world::Call;

/// An account the user is a member of.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) membership_id: String,
    pub(crate) created_on: String,
}

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts", list),
        ("GET", "/accounts/{account_id}", get),
        ("GET", "/memberships", memberships),
        ("GET", "/memberships/{membership_id}", membership),
    ]
}

impl Account {
    fn render(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "type": "standard",
            "settings": {"enforce_twofactor": false, "api_access_enabled": null},
            "created_on": self.created_on,
        })
    }

    fn render_membership(&self) -> Value {
        let grant = json!({"read": true, "write": true});
        let areas = [
            "analytics",
            "billing",
            "cache_purge",
            "dns",
            "dns_records",
            "lb",
            "logs",
            "organization",
            "ssl",
            "waf",
            "zone_settings",
            "zones",
        ];
        let permissions: serde_json::Map<String, Value> = areas
            .iter()
            .map(|area| ((*area).to_owned(), grant.clone()))
            .collect();
        json!({
            "id": self.membership_id,
            "status": "accepted",
            "account": self.render(),
            "api_access_enabled": null,
            "permissions": permissions,
            "roles": ["Super Administrator - All Privileges"],
        })
    }
}

fn list(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, ZONES)?;
    let wanted = call.query.non_empty("name");
    let direction = call.query.choice("direction", &["asc", "desc"], "asc")?;
    let mut items: Vec<String> = call
        .world
        .accounts
        .iter()
        .filter(|a| wanted.is_none_or(|name| a.name.eq_ignore_ascii_case(name)))
        .map(|a| a.render().to_string())
        .collect();
    if direction == "desc" {
        items.reverse();
    }
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn account<'a>(call: &'a Call<'_>) -> Result<&'a Account, ApiError> {
    let id = call.param("account_id");
    call.world
        .accounts
        .iter()
        .find(|a| a.id == id)
        .ok_or_else(ApiError::unauthorized)
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&account(call)?.render()))
}

fn memberships(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, ZONES)?;
    let wanted = call
        .query
        .non_empty("account.name")
        .or_else(|| call.query.non_empty("name"));
    let status = call
        .query
        .choice("status", &["accepted", "pending", "rejected"], "accepted")?;
    let items: Vec<String> = call
        .world
        .accounts
        .iter()
        .filter(|a| status == "accepted" && wanted.is_none_or(|n| a.name.eq_ignore_ascii_case(n)))
        .map(|a| a.render_membership().to_string())
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn membership(call: &mut Call<'_>) -> Outcome {
    let id = call.param("membership_id");
    call.world
        .accounts
        .iter()
        .find(|a| a.membership_id == id)
        .map(|a| Reply::ok(&a.render_membership()))
        .ok_or_else(ApiError::unauthorized)
}
