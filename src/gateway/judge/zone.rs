//! New zones: the body names the account.

use super::{Judgement, OwnedFacts, malformed, object, sanitised, text};
use crate::audit::Action;
use crate::gateway::refusal::Refusal;
use crate::model::json::Json;

pub(super) fn zone_create(body: Json) -> Result<Judgement, Refusal> {
    object(&body)?;
    let account = body
        .get("account")
        .and_then(|account| account.get("id"))
        .and_then(Json::as_str);
    let account = account
        .ok_or_else(|| {
            malformed("A new zone needs the field `account.id`: the account it is to belong to.")
        })?
        .parse()
        .map_err(|error| malformed(format!("The field `account.id` is no account id: {error}.")))?;
    let name =
        text(&body, "name")?.map_or_else(String::new, |name| format!(" {}", sanitised(name, 253)));
    let action = Action::new(format!("create zone{name}"));
    Ok(Judgement {
        facts: OwnedFacts::None,
        account: Some(account),
        action,
        read_back: None,
        body,
        hosts: Vec::new(),
    })
}
