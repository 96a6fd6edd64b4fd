//! What the gateway answers itself: who the caller is, and which accounts it may see. The upstream
//! token's own answers to these would tell about us, not about the caller.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::call::Authorized;
use super::view::Caller;
use crate::catalog::Operation;
use crate::model::hex;

/// A call that is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// `GET /user/tokens/verify` and the same for an account.
    Verify,
    /// `GET /user`
    User,
    /// `GET /accounts`
    Accounts,
    /// `GET /memberships`
    Memberships,
    /// `GET /zones`
    Zones,
}

/// An account as `GET /accounts` shows it.
#[derive(Debug, Deserialize)]
pub(super) struct AccountItem {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
}

/// A zone as far as a filter needs it.
#[derive(Debug, Deserialize)]
pub(super) struct IdItem {
    pub(super) id: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Membership {
    id: String,
    status: &'static str,
    api_access_enabled: bool,
    account: MembershipAccount,
    roles: Vec<String>,
    permissions: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct MembershipAccount {
    id: String,
    name: String,
}

impl Own {
    /// How `operation` is answered here, if it is.
    pub(super) fn of(operation: Option<Operation>) -> Option<Self> {
        Some(match operation?.name() {
            "user-api-tokens-verify-token" | "account-api-tokens-verify-token" => Self::Verify,
            "user-user-details" => Self::User,
            "accounts-list-accounts" => Self::Accounts,
            "user'-s-account-memberships-list-memberships" => Self::Memberships,
            "zones-get" => Self::Zones,
            _ => return None,
        })
    }

    /// Whether it tells about the caller and nothing else, so that no grant is needed.
    pub(super) const fn is_about_caller(self) -> bool {
        matches!(self, Self::Verify | Self::User | Self::Memberships)
    }
}

fn envelope(result: &serde_json::Value, messages: &serde_json::Value) -> String {
    json!({"success": true, "errors": [], "messages": messages, "result": result}).to_string()
}

/// The answer to `verify`: the caller's key, which is active or the call would not have come here.
pub(super) fn verify(caller: &Caller) -> String {
    let key = caller.key.as_deref();
    let mut result =
        json!({"id": id_of(key.map_or("", |key| key.id.as_str())), "status": "active"});
    if let (Some(expires), Some(fields)) =
        (key.and_then(|key| key.expires_at), result.as_object_mut())
    {
        fields.insert("expires_on".to_owned(), json!(expires));
    }
    let message =
        json!([{"code": 10000, "message": "This API Token is valid and active", "type": null}]);
    envelope(&result, &message)
}

/// The answer to `GET /user`: the principal, in the form of a user.
pub(super) fn user(call: &Authorized<'_>) -> String {
    let name = call.call.call.name();
    let since = call
        .call
        .call
        .caller
        .key
        .as_deref()
        .map(|key| key.created_at);
    let result = json!({
        "id": id_of(name),
        "email": format!("{name}@zonekeeper.invalid"),
        "username": name,
        "first_name": null,
        "last_name": null,
        "telephone": null,
        "country": null,
        "zipcode": null,
        "two_factor_authentication_enabled": false,
        "two_factor_authentication_locked": false,
        "suspended": false,
        "created_on": since,
        "modified_on": since,
        "organizations": [],
        "has_pro_zones": false,
        "has_business_zones": false,
        "has_enterprise_zones": false,
        "betas": [],
    });
    envelope(&result, &json!([]))
}

/// The membership that being granted something in an account amounts to.
pub(super) fn membership(principal: &str, account: AccountItem) -> Membership {
    Membership {
        id: id_of(&format!("{principal}/{}", account.id)),
        status: "accepted",
        api_access_enabled: true,
        account: MembershipAccount {
            id: account.id,
            name: account.name,
        },
        roles: vec!["As granted by Zonekeeper".to_owned()],
        permissions: serde_json::Map::new(),
    }
}

/// Thirty-two hexadecimal digits that stand for `text`: clients expect ids in that form.
fn id_of(text: &str) -> String {
    let mut id = hex(&Sha256::digest(text.as_bytes()));
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::operation_named;

    #[test]
    fn ids_have_the_form_clients_expect() {
        let id = id_of("acme-bot");
        assert!(id.parse::<crate::model::AccountId>().is_ok());
        assert_ne!(id, id_of("acme-bos"));
    }

    #[test]
    fn every_call_answered_here_is_in_the_catalogue() {
        for name in [
            "user-api-tokens-verify-token",
            "account-api-tokens-verify-token",
            "user-user-details",
            "accounts-list-accounts",
            "user'-s-account-memberships-list-memberships",
            "zones-get",
        ] {
            assert!(Own::of(operation_named(name)).is_some(), "{name}");
        }
    }
}
