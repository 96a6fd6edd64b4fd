//! API tokens of the user and of accounts, and the permission groups they are made of.
//!
//! NOTES "Accounts, tokens": routes, the body of a token, its secret in the answer to create and
//! roll only. A token made here authenticates and expires; what it may do is not modelled, it may
//! do everything. Codes are hypotheses, but for those of [`crate::auth`].

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::ids::{is_id, mix};
use crate::objects::{self, Members, Object};
use crate::page::OTHERS;
use crate::router::Route;
use crate::seed::{TOKEN, TOKEN_ID};
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/user/tokens", list),
        ("POST", "/user/tokens", create),
        ("GET", "/user/tokens/permission_groups", groups),
        ("GET", "/user/tokens/verify", verify),
        ("GET", "/user/tokens/{token_id}", get),
        ("PUT", "/user/tokens/{token_id}", put),
        ("DELETE", "/user/tokens/{token_id}", delete),
        ("PUT", "/user/tokens/{token_id}/value", roll),
        ("GET", "/accounts/{account_id}/tokens", list),
        ("POST", "/accounts/{account_id}/tokens", create),
        (
            "GET",
            "/accounts/{account_id}/tokens/permission_groups",
            groups,
        ),
        ("GET", "/accounts/{account_id}/tokens/verify", verify),
        ("GET", "/accounts/{account_id}/tokens/{token_id}", get),
        ("PUT", "/accounts/{account_id}/tokens/{token_id}", put),
        ("DELETE", "/accounts/{account_id}/tokens/{token_id}", delete),
        (
            "PUT",
            "/accounts/{account_id}/tokens/{token_id}/value",
            roll,
        ),
    ]
}

/// Scope and name of each group, as the schema names them.
const GROUPS: &str = include_str!("permission_groups.tsv");

/// NOTES "Rate limits": token quotas.
const MOST_USER_TOKENS: usize = 50;
const MOST_ACCOUNT_TOKENS: usize = 500;

/// A token and its secret.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    id: String,
    /// The account it belongs to; empty for the user.
    owner: String,
    value: String,
    /// How often it was rolled; makes each secret another one.
    rolled: u64,
    body: Object,
    issued: Now,
    modified: Now,
}

/// All tokens, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    tokens: Vec<Token>,
}

impl Token {
    /// NOTES "Accounts, tokens": active, disabled or expired.
    fn status(&self, now: Now) -> &str {
        let instant = |name: &str| {
            self.body
                .get(name)
                .and_then(Value::as_str)
                .and_then(instant)
        };
        if instant("expires_on").is_some_and(|expires| now >= expires) {
            return "expired";
        }
        self.body
            .get("status")
            .and_then(Value::as_str)
            .unwrap_or("active")
    }

    fn render(&self, now: Now) -> Object {
        let mut out = self.body.clone();
        for (name, value) in [
            ("id", json!(self.id)),
            ("status", json!(self.status(now))),
            ("issued_on", json!(self.issued.rfc3339())),
            ("modified_on", json!(self.modified.rfc3339())),
        ] {
            out.insert(name.to_owned(), value);
        }
        out
    }
}

impl Tokens {
    /// Adds a token of the user to the seed.
    pub(crate) fn seed(&mut self, id: &str, value: &str, name: &str, group: &str, at: Now) {
        let policies = json!([{
            "id": id, "effect": "allow", "permission_groups": [{"id": group_id("zone", group), "name": group}],
            "resources": {"com.cloudflare.api.account.zone.*": "*"},
        }]);
        self.tokens.push(Token {
            id: id.to_owned(),
            owner: String::new(),
            value: value.to_owned(),
            rolled: 0,
            body: Object::from_iter([
                ("name".to_owned(), json!(name)),
                ("policies".to_owned(), policies),
            ]),
            issued: at,
            modified: at,
        });
    }

    /// The token with this secret.
    pub(crate) fn by_value(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.value == value)
    }

    fn find(&self, id: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.id == id)
    }

    /// The id of the token with this secret, if it is active.
    pub(crate) fn authenticate(&self, value: &str, now: Now) -> Option<String> {
        let token = self.by_value(value)?;
        let not_before = token.body.get("not_before").and_then(Value::as_str);
        let early = not_before.and_then(instant).is_some_and(|from| now < from);
        (token.status(now) == "active" && !early).then(|| token.id.clone())
    }

    /// Ids, names and secrets, for `GET /__sim/state`.
    pub(crate) fn state(&self) -> Vec<Value> {
        let tokens = self.tokens.iter();
        tokens
            .map(|t| json!({"id": t.id, "name": t.body.get("name"), "value": t.value}))
            .collect()
    }
}

/// An RFC 3339 time.
fn instant(text: &str) -> Option<Now> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Now(time.timestamp_micros()))
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(1001, message.into())
}

fn missing() -> ApiError {
    ApiError::new(404, 1003, "Invalid API Token identifier")
}

/// The id of a group: NOTES does not have the real ones.
fn group_id(scope: &str, name: &str) -> String {
    let seed = format!("{scope}/{name}");
    let hash = |start: u64| {
        seed.bytes()
            .fold(start, |hash, byte| mix(hash ^ u64::from(byte)))
    };
    format!("{:016x}{:016x}", hash(1), hash(2))
}

/// Scope and name of each group.
fn all_groups() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.lines().filter_map(|line| line.split_once('\t'))
}

/// Filters `name` and `scope`.
fn groups(call: &mut Call<'_>) -> Outcome {
    let for_account = !call.param("account_id").is_empty();
    if for_account {
        call.place()?;
    }
    let name = call.query.non_empty("name").map(str::to_ascii_lowercase);
    let wanted = call.query.non_empty("scope");
    let groups = all_groups()
        .filter(|(scope, _)| !(for_account && *scope == "user"))
        .filter_map(|(scope, group)| {
            let scope_id = match scope {
                "user" => "com.cloudflare.api.user",
                "account" => "com.cloudflare.api.account",
                _ => "com.cloudflare.api.account.zone",
            };
            let fits = name
                .as_ref()
                .is_none_or(|n| group.to_ascii_lowercase().contains(n))
                && wanted.is_none_or(|w| w == scope_id);
            fits.then(|| json!({"id": group_id(scope, group), "name": group, "scopes": [scope_id]}))
        });
    Ok(Reply::ok(&groups.collect::<Vec<_>>()))
}

/// The owner of the path's tokens.
fn owner(call: &Call<'_>) -> Result<String, ApiError> {
    match call.param("account_id") {
        "" => Ok(String::new()),
        _ => call.place().map(str::to_owned),
    }
}

fn own<'a>(call: &'a Call<'_>) -> Result<&'a Token, ApiError> {
    let owner = owner(call)?;
    let token = call.world.tokens.find(call.param("token_id"));
    token.filter(|t| t.owner == owner).ok_or_else(missing)
}

fn list(call: &mut Call<'_>) -> Outcome {
    let owner = owner(call)?;
    let tokens = call.world.tokens.tokens.iter();
    let rendered: Vec<Value> = tokens
        .filter(|token| token.owner == owner)
        .map(|token| Value::Object(token.render(call.now)))
        .collect();
    objects::page_of(call, &rendered, Some(OTHERS))
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&own(call)?.render(call.now)))
}

/// Judges the body of a token and gives what is stored of it.
fn judged(call: &mut Call<'_>) -> Result<Object, ApiError> {
    let mut body = call.object()?;
    objects::text(&body, "name", 1001)?;
    for name in ["not_before", "expires_on"] {
        match body.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if instant(text).is_some() => {}
            Some(_) => return Err(bad(format!("{name} must be an RFC 3339 time"))),
        }
    }
    if body.contains_key("status") {
        objects::word(&body, "status", &["active", "disabled"], 1001)?;
    }
    let for_account = !call.param("account_id").is_empty();
    let mut policies = objects::list_of(&body, "policies", 1001)?.to_vec();
    for policy in &mut policies {
        let id = call.world.ids.next_id();
        judge_policy(policy, &id, for_account)?;
    }
    check_condition(body.get("condition"))?;
    body.retain(|name, _| {
        matches!(
            name.as_str(),
            "name" | "not_before" | "expires_on" | "status" | "condition"
        )
    });
    body.insert("policies".to_owned(), Value::Array(policies));
    Ok(body)
}

/// One policy; fills in its id and the names of its groups.
fn judge_policy(policy: &mut Value, policy_id: &str, for_account: bool) -> Result<(), ApiError> {
    let map = policy
        .as_object_mut()
        .ok_or_else(|| bad("a policy must be an object"))?;
    objects::word(map, "effect", &["allow", "deny"], 1001)?;
    let mut groups = objects::list_of(map, "permission_groups", 1001)?.to_vec();
    for group in &mut groups {
        let id = group.at("id").as_str().unwrap_or_default().to_owned();
        let mut known = all_groups().filter(|(scope, _)| !(for_account && *scope == "user"));
        let (_, name) = known
            .find(|(scope, name)| group_id(scope, name) == id)
            .ok_or_else(|| bad(format!("{id:?} is not the id of a permission group")))?;
        *group = json!({"id": id, "name": name});
    }
    let resources = map
        .get("resources")
        .and_then(Value::as_object)
        .filter(|resources| !resources.is_empty())
        .ok_or_else(|| bad("resources must be an object that is not empty"))?;
    // NOTES "Accounts, tokens": resource keys (hypothesis).
    for (key, value) in resources {
        let rest = key
            .strip_prefix("com.cloudflare.api.account.zone.")
            .or_else(|| key.strip_prefix("com.cloudflare.api.account."))
            .or_else(|| key.strip_prefix("com.cloudflare.api.user."));
        if !rest.is_some_and(|rest| rest == "*" || is_id(rest)) {
            return Err(bad(format!("{key:?} is not a resource")));
        }
        if value != "*" && !value.is_object() {
            return Err(bad(format!(
                "the resource {key} must be \"*\" or an object"
            )));
        }
    }
    map.insert("permission_groups".to_owned(), Value::Array(groups));
    map.insert("id".to_owned(), json!(policy_id));
    Ok(())
}

/// NOTES "Accounts, tokens": `condition{request_ip{in[],not_in[]}}`; stored, not enforced.
fn check_condition(condition: Option<&Value>) -> Result<(), ApiError> {
    let Some(condition) = condition.filter(|c| !c.is_null()) else {
        return Ok(());
    };
    let lists = condition.at("request_ip").as_object();
    let lists = lists.ok_or_else(|| bad("condition needs request_ip"))?;
    for (name, list) in lists {
        let entries = list
            .as_array()
            .filter(|_| matches!(name.as_str(), "in" | "not_in"));
        let entries = entries.ok_or_else(|| bad("request_ip takes the lists in and not_in"))?;
        let is_cidr = |entry: &Value| {
            let text = entry.as_str().unwrap_or_default();
            let ip = text.split_once('/').map_or(text, |(ip, _)| ip);
            ip.parse::<std::net::IpAddr>().is_ok()
        };
        if let Some(entry) = entries.iter().find(|entry| !is_cidr(entry)) {
            return Err(bad(format!("{entry} is no address or CIDR")));
        }
    }
    Ok(())
}

/// A secret of the shape that the API gives out.
fn secret(id: &str, rolled: u64) -> String {
    let number = |start: u64| {
        id.bytes().fold(
            mix(rolled ^ start),
            |hash, byte| mix(hash ^ u64::from(byte)),
        )
    };
    format!(
        "sim{:016x}{:016x}{:05x}",
        number(3),
        number(4),
        number(5) & 0xf_ffff
    )
}

fn create(call: &mut Call<'_>) -> Outcome {
    let owner = owner(call)?;
    let most = if owner.is_empty() {
        MOST_USER_TOKENS
    } else {
        MOST_ACCOUNT_TOKENS
    };
    let tokens = &call.world.tokens.tokens;
    if tokens.iter().filter(|token| token.owner == owner).count() >= most {
        return Err(bad(format!("at most {most} tokens are allowed")));
    }
    let body = judged(call)?;
    let id = call.world.ids.next_id();
    let token = Token {
        value: secret(&id, 0),
        id,
        owner,
        rolled: 0,
        body,
        issued: call.now,
        modified: call.now,
    };
    let mut shown = token.render(call.now);
    shown.insert("value".to_owned(), json!(token.value));
    call.world.tokens.tokens.push(token);
    Ok(Reply::ok(&shown))
}

/// Puts a token in the place of the one with its id.
fn store(call: &mut Call<'_>, token: Token) {
    let tokens = &mut call.world.tokens.tokens;
    if let Some(old) = tokens.iter_mut().find(|old| old.id == token.id) {
        *old = token;
    }
}

fn put(call: &mut Call<'_>) -> Outcome {
    let mut token = own(call)?.clone();
    token.body = judged(call)?;
    token.modified = call.now;
    let reply = Reply::ok(&token.render(call.now));
    store(call, token);
    Ok(reply)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = own(call)?.id.clone();
    call.world.tokens.tokens.retain(|token| token.id != id);
    Ok(Reply::ok(&json!({"id": id})))
}

/// NOTES "Accounts, tokens": `{}` rolls and returns the new secret string.
fn roll(call: &mut Call<'_>) -> Outcome {
    let mut token = own(call)?.clone();
    if !call.object()?.is_empty() {
        return Err(bad("rolling takes an empty object"));
    }
    token.rolled += 1;
    token.value = secret(&token.id, token.rolled);
    token.modified = call.now;
    let reply = Reply::ok(&token.value);
    store(call, token);
    Ok(reply)
}

/// NOTES "Accounts, tokens": `{id, status active|disabled|expired, not_before?, expires_on?}`. It
/// is about a token; a global key has none (hypothesis: 1000).
fn verify(call: &mut Call<'_>) -> Outcome {
    owner(call)?;
    let token = call
        .credential
        .token_id()
        .and_then(|id| call.world.tokens.find(id));
    let token = token.ok_or_else(|| ApiError::new(401, 1000, "Invalid API Token"))?;
    let mut out = json!({"id": token.id, "status": token.status(call.now)});
    for name in ["not_before", "expires_on"] {
        if let (Some(value), Some(map)) = (token.body.get(name), out.as_object_mut()) {
            map.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Reply::with_message(
        &out,
        10_000,
        "This API Token is valid and active",
    ))
}

/// The tokens of the seed.
pub(crate) fn seeded(at: Now) -> Tokens {
    let mut tokens = Tokens::default();
    tokens.seed(TOKEN_ID, TOKEN, "gateway", "Zone Write", at);
    tokens.seed(
        "f0000000000000000000000000000002",
        &secret("f0000000000000000000000000000002", 0),
        "ci-purge",
        "Cache Purge",
        at,
    );
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_scope_and_an_id_of_its_own() {
        let mut ids: Vec<String> = all_groups()
            .map(|(scope, name)| group_id(scope, name))
            .collect();
        assert!(ids.len() > 250 && ids.iter().all(|id| is_id(id)));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), GROUPS.lines().count());
        assert!(all_groups().all(|(scope, _)| matches!(scope, "user" | "account" | "zone")));
    }

    #[test]
    fn a_secret_has_the_shape_of_a_credential() {
        assert_eq!(secret(TOKEN_ID, 0).len(), 40);
        assert_ne!(secret(TOKEN_ID, 0), secret(TOKEN_ID, 1));
    }
}
