//! Cloudflare Access: applications, policies, groups and service tokens of an account.
//!
//! NOTES "Access": routes and the fields of a policy. The keys of a team domain are in
//! [`crate::oidc`]. Codes 12130 (a value) and 11021 (not there) are hypotheses.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::ids::mix;
use crate::objects::{self, Members, Object, Product};
use crate::oidc::ACCESS_AUD;
use crate::page::OTHERS;
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    let mut table: Vec<Route> = vec![
        ("GET", "/accounts/{account_id}/access/apps", |call| {
            objects::list(call, &APPS)
        }),
        ("POST", "/accounts/{account_id}/access/apps", create_app),
        ("GET", "/accounts/{account_id}/access/apps/{app}", |call| {
            objects::get(call, &APPS)
        }),
        (
            "PUT",
            "/accounts/{account_id}/access/apps/{app}",
            replace_app,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/access/apps/{app}",
            delete_app,
        ),
        (
            "GET",
            "/accounts/{account_id}/access/apps/{app}/policies",
            app_policies,
        ),
        (
            "POST",
            "/accounts/{account_id}/access/apps/{app}/policies",
            create_app_policy,
        ),
        (
            "PUT",
            "/accounts/{account_id}/access/apps/{app}/policies/{policy}",
            replace_app_policy,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/access/apps/{app}/policies/{policy}",
            delete_app_policy,
        ),
        ("GET", "/accounts/{account_id}/access/policies", |call| {
            objects::list(call, &POLICIES)
        }),
        ("POST", "/accounts/{account_id}/access/policies", |call| {
            objects::create(call, &POLICIES)
        }),
        (
            "GET",
            "/accounts/{account_id}/access/policies/{policy}",
            |call| objects::get(call, &POLICIES),
        ),
        (
            "PUT",
            "/accounts/{account_id}/access/policies/{policy}",
            |call| objects::replace(call, &POLICIES),
        ),
        (
            "DELETE",
            "/accounts/{account_id}/access/policies/{policy}",
            delete_policy,
        ),
    ];
    table.extend(more_routes());
    table
}

/// Groups and service tokens.
fn more_routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts/{account_id}/access/groups", |call| {
            objects::list(call, &GROUPS)
        }),
        ("POST", "/accounts/{account_id}/access/groups", |call| {
            objects::create(call, &GROUPS)
        }),
        (
            "GET",
            "/accounts/{account_id}/access/groups/{group}",
            |call| objects::get(call, &GROUPS),
        ),
        (
            "PUT",
            "/accounts/{account_id}/access/groups/{group}",
            |call| objects::replace(call, &GROUPS),
        ),
        (
            "DELETE",
            "/accounts/{account_id}/access/groups/{group}",
            |call| objects::delete(call, &GROUPS),
        ),
        (
            "GET",
            "/accounts/{account_id}/access/service_tokens",
            |call| objects::list(call, &SERVICE_TOKENS),
        ),
        (
            "POST",
            "/accounts/{account_id}/access/service_tokens",
            create_service_token,
        ),
        (
            "GET",
            "/accounts/{account_id}/access/service_tokens/{token}",
            |call| objects::get(call, &SERVICE_TOKENS),
        ),
        (
            "PUT",
            "/accounts/{account_id}/access/service_tokens/{token}",
            replace_service_token,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/access/service_tokens/{token}",
            |call| objects::delete(call, &SERVICE_TOKENS),
        ),
        (
            "POST",
            "/accounts/{account_id}/access/service_tokens/{token}/refresh",
            refresh,
        ),
        (
            "POST",
            "/accounts/{account_id}/access/service_tokens/{token}/rotate",
            rotate,
        ),
    ]
}

const TIMES: (&str, &str) = ("created_at", "updated_at");
const MISSING: (u16, u32, &str) = (404, 11_021, "access.api.error.not_found");

const APPS: Product = Product {
    kind: "access_apps",
    param: "app",
    uuid: true,
    times: TIMES,
    paged: Some(OTHERS),
    missing: MISSING,
    check: check_app,
};

const POLICIES: Product = Product {
    kind: "access_policies",
    param: "policy",
    check: check_policy,
    ..APPS
};

const GROUPS: Product = Product {
    kind: "access_groups",
    param: "group",
    check: check_group,
    ..APPS
};

const SERVICE_TOKENS: Product = Product {
    kind: "access_service_tokens",
    param: "token",
    check: check_service_token,
    ..APPS
};

const INVALID: u32 = 12_130;

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(INVALID, message.into())
}

fn check_app(app: &mut Object, call: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        app,
        &json!({"type": "self_hosted", "session_duration": "24h", "policies": []}),
    );
    objects::text(app, "name", INVALID)?;
    let kinds = [
        "self_hosted",
        "saas",
        "ssh",
        "vnc",
        "app_launcher",
        "warp",
        "biso",
        "bookmark",
    ];
    let kind = objects::word(app, "type", &kinds, INVALID)?.to_owned();
    // NOTES "Access": `destinations[]` replaces `self_hosted_domains`.
    let has_destinations = app.get("destinations").is_some_and(Value::is_array);
    if kind == "self_hosted" && !has_destinations {
        let domain = objects::text(app, "domain", INVALID)?;
        let host = domain.split('/').next().unwrap_or_default();
        if !call.world.zones.iter().any(|zone| zone.contains(host)) {
            return Err(bad(format!(
                "domain {domain} does not belong to a zone of the account"
            )));
        }
    }
    let place = call.place()?;
    let policies = app.at("policies").as_array().cloned().unwrap_or_default();
    for policy in &policies {
        let id = policy
            .as_str()
            .or_else(|| policy.at("id").as_str())
            .unwrap_or_default();
        if call.world.objects.find(POLICIES.kind, place, id).is_none() {
            return Err(bad(format!("policy {id:?} does not exist")));
        }
    }
    Ok(())
}

/// NOTES "Access": the fields of a policy.
fn check_policy(policy: &mut Object, _: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        policy,
        &json!({"exclude": [], "require": [], "session_duration": "24h", "reusable": true}),
    );
    objects::text(policy, "name", INVALID)?;
    objects::word(
        policy,
        "decision",
        &["allow", "deny", "non_identity", "bypass"],
        INVALID,
    )?;
    check_selectors(policy)
}

fn check_group(group: &mut Object, _: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(group, &json!({"exclude": [], "require": []}));
    objects::text(group, "name", INVALID)?;
    check_selectors(group)
}

/// Whom a policy or group means: lists of objects with one selector each.
fn check_selectors(body: &Object) -> Result<(), ApiError> {
    objects::list_of(body, "include", INVALID)?;
    for name in ["include", "exclude", "require"] {
        let list = body.get(name).and_then(Value::as_array);
        let list = list.ok_or_else(|| bad(format!("{name} must be a list")))?;
        let is_one = |entry: &Value| {
            let map = entry.as_object().filter(|map| map.len() == 1);
            map.is_some_and(|map| map.values().all(Value::is_object))
        };
        if !list.iter().all(is_one) {
            return Err(bad(format!(
                "{name} must hold objects with one selector each"
            )));
        }
    }
    Ok(())
}

fn check_service_token(token: &mut Object, _: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(token, &json!({"duration": "8760h"}));
    objects::text(token, "name", INVALID)?;
    let hours = objects::text(token, "duration", INVALID)?.strip_suffix('h');
    if hours
        .and_then(|h| h.parse::<u32>().ok())
        .is_none_or(|h| h == 0)
    {
        return Err(bad("duration must be a number of hours, such as 8760h"));
    }
    Ok(())
}

fn create_app(call: &mut Call<'_>) -> Outcome {
    // The first application has the audience that the tokens of `/__sim/access/sign` have.
    let count = call.world.objects.list(APPS.kind, call.place()?).len();
    let id = call.world.ids.clone().next_id();
    let aud = match count {
        0 => ACCESS_AUD.to_owned(),
        _ => format!("{id}{id}"),
    };
    let reply = objects::create(call, &APPS)?;
    set_last(call, &APPS, "aud", json!(aud)).unwrap_or(Ok(reply))
}

/// Sets a member of the object that was made last, and answers it.
fn set_last(call: &mut Call<'_>, product: &Product, name: &str, value: Value) -> Option<Outcome> {
    let place = call.place().ok()?.to_owned();
    let mut object = call
        .world
        .objects
        .list(product.kind, &place)
        .last()?
        .clone();
    object.as_object_mut()?.insert(name.to_owned(), value);
    let reply = Reply::ok(&object);
    call.world.objects.put(product.kind, &place, object);
    Some(Ok(reply))
}

/// The audience of an application never changes.
fn replace_app(call: &mut Call<'_>) -> Outcome {
    let aud = objects::own(call, &APPS)?["aud"].clone();
    objects::replace(call, &APPS)?;
    let mut app = objects::own(call, &APPS)?.clone();
    app.set("aud", aud);
    put(call, &APPS, app)
}

fn put(call: &mut Call<'_>, product: &Product, object: Value) -> Outcome {
    let place = call.place()?.to_owned();
    let reply = Reply::ok(&object);
    call.world.objects.put(product.kind, &place, object);
    Ok(reply)
}

/// The name under which an application's own policies are kept.
fn own_policies(call: &Call<'_>) -> Result<String, ApiError> {
    objects::own(call, &APPS)?;
    Ok(format!("{}/{}", call.place()?, call.param("app")))
}

fn delete_app(call: &mut Call<'_>) -> Outcome {
    let place = own_policies(call)?;
    let own = call.world.objects.list(POLICIES.kind, &place).to_vec();
    for policy in own {
        let id = policy.at("id").as_str().unwrap_or_default();
        call.world.objects.remove(POLICIES.kind, &place, id);
    }
    objects::delete(call, &APPS)
}

/// NOTES "Access": `…/apps/{id}/policies`, the old form: policies of one application.
fn app_policies(call: &mut Call<'_>) -> Outcome {
    let place = own_policies(call)?;
    let policies = call.world.objects.list(POLICIES.kind, &place);
    objects::page_of(call, policies, POLICIES.paged)
}

fn create_app_policy(call: &mut Call<'_>) -> Outcome {
    let place = own_policies(call)?;
    let id = objects::uuid(&call.world.ids.next_id());
    let created = json!(call.now.rfc3339());
    store_app_policy(call, &place, &id, created)
}

fn replace_app_policy(call: &mut Call<'_>) -> Outcome {
    let (place, id) = (own_policies(call)?, call.param("policy").to_owned());
    let old = call.world.objects.find(POLICIES.kind, &place, &id);
    let created = old.ok_or_else(not_found)?["created_at"].clone();
    store_app_policy(call, &place, &id, created)
}

fn store_app_policy(call: &mut Call<'_>, place: &str, id: &str, created: Value) -> Outcome {
    let mut policy = call.object()?;
    objects::defaults(&mut policy, &json!({"reusable": false, "precedence": 1}));
    check_policy(&mut policy, call)?;
    for (name, value) in [
        ("id", json!(id)),
        (TIMES.0, created),
        (TIMES.1, json!(call.now.rfc3339())),
    ] {
        policy.insert(name.to_owned(), value);
    }
    let policy = Value::Object(policy);
    let reply = Reply::ok(&policy);
    call.world.objects.put(POLICIES.kind, place, policy);
    Ok(reply)
}

fn delete_app_policy(call: &mut Call<'_>) -> Outcome {
    let (place, id) = (own_policies(call)?, call.param("policy").to_owned());
    call.world
        .objects
        .find(POLICIES.kind, &place, &id)
        .ok_or_else(not_found)?;
    call.world.objects.remove(POLICIES.kind, &place, &id);
    Ok(Reply::ok(&json!({"id": id})))
}

fn not_found() -> ApiError {
    let (status, code, message) = MISSING;
    ApiError::new(status, code, message)
}

/// A policy that an application refers to stays.
fn delete_policy(call: &mut Call<'_>) -> Outcome {
    let id = objects::own(call, &POLICIES)?["id"].clone();
    let uses = |app: &Value| {
        let policies = app.at("policies").as_array();
        policies.is_some_and(|list| list.iter().any(|p| *p == id || *p.at("id") == id))
    };
    if call
        .world
        .objects
        .list(APPS.kind, call.place()?)
        .iter()
        .any(uses)
    {
        return Err(ApiError::new(
            409,
            INVALID,
            "the policy is used by an application",
        ));
    }
    objects::delete(call, &POLICIES)
}

/// A client secret, as long as the real ones.
fn secret(seed: &str, number: u64) -> String {
    let part = |n: u64| {
        seed.bytes()
            .fold(mix(number ^ n), |hash, byte| mix(hash ^ u64::from(byte)))
    };
    format!(
        "{:016x}{:016x}{:016x}{:016x}",
        part(1),
        part(2),
        part(3),
        part(4)
    )
}

/// When a token of this duration ends.
fn expiry(call: &Call<'_>, token: &Value) -> Value {
    let hours = token
        .at("duration")
        .as_str()
        .and_then(|d| d.strip_suffix('h'));
    let hours: i64 = hours.and_then(|h| h.parse().ok()).unwrap_or(0);
    let end = call
        .now
        .0
        .saturating_add(hours.saturating_mul(3600 * crate::clock::SECOND));
    json!(crate::clock::Now(end).rfc3339())
}

/// NOTES "Access": create returns `client_id`, and `client_secret` once.
fn create_service_token(call: &mut Call<'_>) -> Outcome {
    objects::create(call, &SERVICE_TOKENS)?;
    let place = call.place()?;
    let list = call.world.objects.list(SERVICE_TOKENS.kind, place);
    let mut token = list.last().cloned().unwrap_or_default();
    let id = token.at("id").as_str().unwrap_or_default().replace('-', "");
    token.set("client_id", json!(format!("{id}.access")));
    token.set("client_secret_version", json!(1));
    token.set("expires_at", expiry(call, &token));
    put(call, &SERVICE_TOKENS, token.clone())?;
    token.set("client_secret", json!(secret(&id, 1)));
    Ok(Reply::ok(&token))
}

/// Keeps what the API sets itself.
fn replace_service_token(call: &mut Call<'_>) -> Outcome {
    let old = objects::own(call, &SERVICE_TOKENS)?.clone();
    objects::replace(call, &SERVICE_TOKENS)?;
    let mut token = objects::own(call, &SERVICE_TOKENS)?.clone();
    for name in ["client_id", "client_secret_version"] {
        token.set(name, old.at(name).clone());
    }
    token.set("expires_at", expiry(call, &token));
    put(call, &SERVICE_TOKENS, token)
}

/// NOTES "Access": `/refresh` makes it last its duration from now on.
fn refresh(call: &mut Call<'_>) -> Outcome {
    let mut token = objects::own(call, &SERVICE_TOKENS)?.clone();
    token.set("expires_at", expiry(call, &token));
    put(call, &SERVICE_TOKENS, token)
}

/// NOTES "Access": `/rotate` gives a new secret.
fn rotate(call: &mut Call<'_>) -> Outcome {
    let mut token = objects::own(call, &SERVICE_TOKENS)?.clone();
    let version = token.at("client_secret_version").as_u64().unwrap_or(0) + 1;
    token.set("client_secret_version", json!(version));
    put(call, &SERVICE_TOKENS, token.clone())?;
    let id = token.at("id").as_str().unwrap_or_default().replace('-', "");
    token.set("client_secret", json!(secret(&id, version)));
    Ok(Reply::ok(&token))
}
