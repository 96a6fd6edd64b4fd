//! The control surface under `/__sim/`: ledger, faults, limits, clock, fill, reset, state, issuers,
//! and what steers the other hosts ([`hosts`]).

use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::Reply;
use crate::dns;
use crate::faults::Fault;
use crate::hosts;
use crate::limits::Limiter;
use crate::query::Query;
use crate::seed;
use crate::server::Shared;
use crate::service::lock;

/// `{requests, window_secs}`, and two optional members beyond them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    requests: u64,
    window_secs: u32,
    /// How long the block past the limit lasts; the window's length when absent.
    block_secs: Option<u32>,
    /// How much of each body the ledger keeps from now on.
    ledger_body_bytes: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_secs: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fill {
    count: usize,
}

/// Records added by one request at the most; each takes about a kilobyte of memory.
const MAX_FILL: usize = 200_000;

/// A list, or its only item.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Value>),
    One(Value),
}

/// Answers a control request.
pub(crate) fn handle(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> Reply {
    or_refused(answer(shared, method, path, query, body), method, path)
}

/// The reply, or the refusal that a message stands for.
pub(crate) fn or_refused(outcome: Result<Reply, String>, method: &Method, path: &str) -> Reply {
    outcome.unwrap_or_else(|message| {
        let status = if message.is_empty() { 404 } else { 400 };
        let message = if message.is_empty() {
            format!("no such control: {method} {path}")
        } else {
            message
        };
        reply(status, &json!({"error": message}))
    })
}

fn answer(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> Result<Reply, String> {
    match (method.as_str(), path) {
        ("GET", "/__sim/state") => Ok(reply(200, &seed::state(&lock(&shared.service.world)))),
        ("GET", "/__sim/ledger") => ledger(shared, query),
        ("GET", "/__sim/faults") => Ok(reply(200, &json!(lock(&shared.faults).list()))),
        ("POST", "/__sim/faults") => add_faults(shared, body),
        ("DELETE", "/__sim/faults") => {
            lock(&shared.faults).clear();
            Ok(reply(200, &json!({"faults": 0})))
        }
        ("POST", "/__sim/limits") => limits(shared, body),
        ("POST", "/__sim/clock") => {
            let advance: Advance = parse(body)?;
            shared.clock.advance(advance.advance_secs);
            Ok(reply(200, &json!({"now": shared.clock.now().rfc3339()})))
        }
        ("POST", "/__sim/reset") => {
            reset(shared);
            Ok(reply(200, &seed::state(&lock(&shared.service.world))))
        }
        // An empty message stands for "no such control".
        (_, path) if path.starts_with("/__sim/oidc/") || path.starts_with("/__sim/access") => {
            shared
                .service
                .steer_issuer(method, path, body, shared.clock.now())
        }
        (_, path) if hosts::is_controlled(path) => {
            let now = shared.clock.now();
            shared.service.steer_host(method, path, query, body, now)
        }
        ("POST", path) => fill(shared, filled_zone(path).ok_or("")?, body),
        _ => Err(String::new()),
    }
}

/// Everything as it was at the start, the clock included.
fn reset(shared: &Shared) {
    *lock(&shared.service.world) = seed::world();
    lock(&shared.service.ledger).clear(shared.ledger_body_bytes);
    lock(&shared.service.fetches).clear(0);
    lock(&shared.service.visits).clear(shared.ledger_body_bytes);
    lock(&shared.faults).clear();
    *lock(&shared.service.limiter) = Limiter::default();
    shared.clock.reset();
}

fn ledger(shared: &Shared, query: &str) -> Result<Reply, String> {
    let after = after(query)?;
    Ok(Reply {
        content_type: "application/x-ndjson",
        ..Reply::text(lock(&shared.service.ledger).render(after))
    })
}

/// The number behind which a ledger is asked for: 0 when the query has none.
pub(crate) fn after(query: &str) -> Result<u64, String> {
    match Query::parse(query).non_empty("after") {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| "after must be a number".to_owned()),
    }
}

fn add_faults(shared: &Shared, body: &[u8]) -> Result<Reply, String> {
    let faults = parse_list::<Fault>(body)?;
    faults.iter().try_for_each(Fault::check)?;
    let mut all = lock(&shared.faults);
    all.add(faults);
    Ok(reply(200, &json!({"faults": all.list().len()})))
}

fn limits(shared: &Shared, body: &[u8]) -> Result<Reply, String> {
    let limits: Limits = parse(body)?;
    let window = i64::from(limits.window_secs);
    let block = limits.block_secs.map_or(window, i64::from);
    *lock(&shared.service.limiter) = Limiter::new(limits.requests, window, block);
    if let Some(bytes) = limits.ledger_body_bytes {
        lock(&shared.service.ledger).set_body_limit(bytes);
    }
    Ok(reply(
        200,
        &json!({"requests": limits.requests, "window_secs": window, "block_secs": block}),
    ))
}

/// The zone of `/__sim/zones/{id}/fill`.
fn filled_zone(path: &str) -> Option<&str> {
    path.strip_prefix("/__sim/zones/")?.strip_suffix("/fill")
}

/// Adds many records; an unknown zone is no such control.
fn fill(shared: &Shared, zone_id: &str, body: &[u8]) -> Result<Reply, String> {
    let fill: Fill = parse(body)?;
    if fill.count > MAX_FILL {
        return Err(format!("count must be at most {MAX_FILL}"));
    }
    let records = dns::fill(&mut lock(&shared.service.world), zone_id, fill.count);
    Ok(reply(200, &json!({"records": records.ok_or("")?})))
}

/// A body as what it must be, or why it is not.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| e.to_string())
}

/// The items of a list, or the only one.
pub(crate) fn parse_list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, String> {
    let posted = match parse(body)? {
        OneOrMany::Many(list) => list,
        OneOrMany::One(one) => vec![one],
    };
    posted
        .into_iter()
        .map(|value| serde_json::from_value(value).map_err(|e| e.to_string()))
        .collect()
}

/// A JSON answer outside the API's envelope.
pub(crate) fn reply(status: u16, body: &Value) -> Reply {
    Reply {
        status,
        content_type: "application/json",
        ..Reply::text(body.to_string())
    }
}
