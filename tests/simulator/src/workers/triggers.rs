//! What starts a script but routes and domains: schedules and `workers.dev`; and tails.
//!
//! NOTES "Workers": schedules are an array `[{cron}]` that replaces all; `workers.dev` per account
//! and per script; tails are websockets, of which only the resource is modelled.

use serde_json::{Value, json};

use super::state::Script;
use super::{names, no_such_worker, script, script_mut, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::clock::{Now, SECOND};
use crate::router::Route;
use crate::world::Call;

/// How long a tail lives (hypothesis).
const TAIL_SECS: i64 = 6 * 3600;

/// A tail session.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    id: String,
    expires: Now,
}

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const SCHEDULES: &str = "/accounts/{account_id}/workers/scripts/{script_name}/schedules";
    const OWN: &str = "/accounts/{account_id}/workers/scripts/{script_name}/subdomain";
    const TAILS: &str = "/accounts/{account_id}/workers/scripts/{script_name}/tails";
    const TAIL: &str = "/accounts/{account_id}/workers/scripts/{script_name}/tails/{tail}";
    const ACCOUNT: &str = "/accounts/{account_id}/workers/subdomain";
    const FREE: &str = "/accounts/{account_id}/workers/subdomains/{subdomain}";
    vec![
        ("GET", SCHEDULES, schedules),
        ("PUT", SCHEDULES, put_schedules),
        ("GET", OWN, own),
        ("POST", OWN, post_own),
        ("DELETE", OWN, delete_own),
        ("GET", TAILS, tails),
        ("POST", TAILS, start_tail),
        ("DELETE", TAIL, delete_tail),
        ("GET", ACCOUNT, account),
        ("PUT", ACCOUNT, put_account),
        ("DELETE", ACCOUNT, delete_account),
        ("GET", FREE, is_free),
    ]
}

fn schedules(call: &mut Call<'_>) -> Outcome {
    let schedules = &script(call)?.schedules;
    Ok(Reply::ok(&json!({"schedules": schedules})))
}

fn put_schedules(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let body = call.json()?;
    let given = body
        .as_array()
        .ok_or_else(|| validation("schedules must be a list"))?;
    let now = call.now.rfc3339();
    let mut schedules = Vec::new();
    for one in given {
        let cron = one.get("cron").and_then(Value::as_str);
        let cron = cron.filter(|cron| is_cron(cron)).ok_or_else(|| {
            // The code is a hypothesis.
            validation(format!("invalid cron expression: {one}"))
        })?;
        schedules.push(json!({"cron": cron, "created_on": now, "modified_on": now}));
    }
    script_mut(call)?.schedules.clone_from(&schedules);
    Ok(Reply::ok(&json!({"schedules": schedules})))
}

/// Five fields of the characters that cron has; what they say is not judged.
fn is_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    fields.len() == 5
        && fields.iter().all(|field| {
            field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"*,-/#?".contains(&b))
        })
}

fn shown(script: &Script) -> Reply {
    Reply::ok(&json!({
        "enabled": script.on_workers_dev, "previews_enabled": script.has_previews,
    }))
}

fn own(call: &mut Call<'_>) -> Outcome {
    Ok(shown(script(call)?))
}

fn post_own(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let body = call.object()?;
    let flag = |name: &str| match body.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_bool()
            .map(Some)
            .ok_or_else(|| validation(format!("{name} must be true or false"))),
    };
    let enabled = flag("enabled")?.ok_or_else(|| validation("enabled must be true or false"))?;
    let previews = flag("previews_enabled")?;
    let script = script_mut(call)?;
    script.on_workers_dev = enabled;
    script.has_previews = previews.unwrap_or(script.has_previews);
    Ok(shown(script))
}

fn delete_own(call: &mut Call<'_>) -> Outcome {
    let script = script_mut(call)?;
    script.on_workers_dev = false;
    script.has_previews = false;
    Ok(shown(script))
}

fn rendered(call: &Call<'_>, tail: &Tail) -> Value {
    json!({
        "id": tail.id, "expires_at": tail.expires.rfc3339(),
        "url": format!("wss://tail.developers.workers.dev/{}/ws", tail.id),
        "script": call.param("script_name"),
    })
}

fn tails(call: &mut Call<'_>) -> Outcome {
    let live: Vec<Value> = script(call)?
        .tails
        .iter()
        .filter(|tail| tail.expires > call.now)
        .map(|tail| rendered(call, tail))
        .collect();
    Ok(Reply::ok(&live))
}

fn start_tail(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let tail = Tail {
        id: call.world.ids.next_id(),
        expires: Now(call.now.0 + TAIL_SECS * SECOND),
    };
    let answer = rendered(call, &tail);
    script_mut(call)?.tails.push(tail);
    Ok(Reply::ok(&answer))
}

fn delete_tail(call: &mut Call<'_>) -> Outcome {
    let id = call.param("tail").to_owned();
    let script = script_mut(call)?;
    let before = script.tails.len();
    script.tails.retain(|tail| tail.id != id);
    if script.tails.len() == before {
        // The code is a hypothesis.
        return Err(ApiError::new(404, 10_057, "The tail does not exist."));
    }
    Ok(Reply::ok(&Value::Null))
}

/// 10007 is what an account without a name answers (*wrangler*).
fn account(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let name = call.world.workers.subdomains.get(&account);
    let name = name.ok_or_else(no_such_worker)?;
    Ok(Reply::ok(&json!({"subdomain": name})))
}

fn is_taken(call: &Call<'_>, name: &str, account: &str) -> bool {
    let mut others = call.world.workers.subdomains.iter();
    others.any(|(owner, taken)| owner != account && taken == name)
}

fn put_account(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let body = call.object()?;
    let name = body
        .get("subdomain")
        .and_then(Value::as_str)
        .filter(|name| is_label(name))
        .ok_or_else(|| validation("subdomain must be a host name's label"))?;
    if call.world.workers.subdomains.contains_key(&account) {
        // *Seen*.
        return Err(ApiError::new(
            409,
            10_036,
            "The account already has a subdomain.",
        ));
    }
    if is_taken(call, name, &account) {
        // *Wrangler*.
        return Err(ApiError::new(409, 10_031, "The subdomain is unavailable."));
    }
    call.world
        .workers
        .subdomains
        .insert(account, name.to_owned());
    Ok(Reply::ok(&json!({"subdomain": name})))
}

fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn delete_account(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let removed = call.world.workers.subdomains.remove(&account);
    removed.ok_or_else(no_such_worker)?;
    Ok(Reply::ok(&Value::Null))
}

/// Answers by refusing: 10032 is a free name, 10031 a taken one (*wrangler*).
fn is_free(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let taken = is_taken(call, call.param("subdomain"), &account);
    Err(if taken {
        ApiError::new(409, 10_031, "The subdomain is unavailable.")
    } else {
        ApiError::new(404, 10_032, "The subdomain is available.")
    })
}

/// The host under which a script is on `workers.dev`.
pub(super) fn host(call: &Call<'_>, name: &str) -> Option<String> {
    let (account, _) = names(call).ok()?;
    let subdomain = call.world.workers.subdomains.get(&account)?;
    Some(format!("{name}.{subdomain}.workers.dev"))
}
