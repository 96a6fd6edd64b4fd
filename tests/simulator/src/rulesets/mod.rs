//! Rulesets of accounts and zones.
//!
//! NOTES "Rulesets": routes; an entrypoint is 404 until it is made; PUT replaces the whole list,
//! keeping rules named by `id` or `ref`; rule POST and PATCH take a position and answer the whole
//! ruleset. Codes 10003 (not found), 20127 (a value), 20217 (too many rulesets of a phase) and
//! 20155 (a version) are hypotheses. [`rule`] judges one rule, [`state`] keeps
//! every version.

mod rule;
mod state;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::ids::Ids;
use crate::objects::{self, Members, Object};
use crate::router::Route;
use crate::world::Call;
use rule::{PHASES, bad};
use state::{Ruleset, Version, renumbered};

pub(crate) use state::Rulesets;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    [account_routes(), zone_routes()].concat()
}

fn account_routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts/{account_id}/rulesets", list),
        ("POST", "/accounts/{account_id}/rulesets", create),
        ("GET", "/accounts/{account_id}/rulesets/{ruleset_id}", get),
        ("PUT", "/accounts/{account_id}/rulesets/{ruleset_id}", put),
        (
            "DELETE",
            "/accounts/{account_id}/rulesets/{ruleset_id}",
            delete,
        ),
        (
            "POST",
            "/accounts/{account_id}/rulesets/{ruleset_id}/rules",
            add_rule,
        ),
        (
            "PATCH",
            "/accounts/{account_id}/rulesets/{ruleset_id}/rules/{rule_id}",
            edit_rule,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/rulesets/{ruleset_id}/rules/{rule_id}",
            delete_rule,
        ),
        (
            "GET",
            "/accounts/{account_id}/rulesets/{ruleset_id}/versions",
            versions,
        ),
        (
            "GET",
            "/accounts/{account_id}/rulesets/{ruleset_id}/versions/{version}",
            version,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/rulesets/{ruleset_id}/versions/{version}",
            delete_version,
        ),
        (
            "GET",
            "/accounts/{account_id}/rulesets/phases/{phase}/entrypoint",
            get,
        ),
        (
            "PUT",
            "/accounts/{account_id}/rulesets/phases/{phase}/entrypoint",
            put,
        ),
        (
            "GET",
            "/accounts/{account_id}/rulesets/phases/{phase}/entrypoint/versions",
            versions,
        ),
        (
            "GET",
            "/accounts/{account_id}/rulesets/phases/{phase}/entrypoint/versions/{version}",
            version,
        ),
    ]
}

fn zone_routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/rulesets", list),
        ("POST", "/zones/{zone_id}/rulesets", create),
        ("GET", "/zones/{zone_id}/rulesets/{ruleset_id}", get),
        ("PUT", "/zones/{zone_id}/rulesets/{ruleset_id}", put),
        ("DELETE", "/zones/{zone_id}/rulesets/{ruleset_id}", delete),
        (
            "POST",
            "/zones/{zone_id}/rulesets/{ruleset_id}/rules",
            add_rule,
        ),
        (
            "PATCH",
            "/zones/{zone_id}/rulesets/{ruleset_id}/rules/{rule_id}",
            edit_rule,
        ),
        (
            "DELETE",
            "/zones/{zone_id}/rulesets/{ruleset_id}/rules/{rule_id}",
            delete_rule,
        ),
        (
            "GET",
            "/zones/{zone_id}/rulesets/{ruleset_id}/versions",
            versions,
        ),
        (
            "GET",
            "/zones/{zone_id}/rulesets/{ruleset_id}/versions/{version}",
            version,
        ),
        (
            "DELETE",
            "/zones/{zone_id}/rulesets/{ruleset_id}/versions/{version}",
            delete_version,
        ),
        (
            "GET",
            "/zones/{zone_id}/rulesets/phases/{phase}/entrypoint",
            get,
        ),
        (
            "PUT",
            "/zones/{zone_id}/rulesets/phases/{phase}/entrypoint",
            put,
        ),
        (
            "GET",
            "/zones/{zone_id}/rulesets/phases/{phase}/entrypoint/versions",
            versions,
        ),
        (
            "GET",
            "/zones/{zone_id}/rulesets/phases/{phase}/entrypoint/versions/{version}",
            version,
        ),
    ]
}

/// NOTES "Rulesets": the ids of managed rulesets (hypothesis).
const MANAGED: [(&str, &str); 3] = [
    (
        "efb7b8c949ac4650a09736fc376e9aee",
        "Cloudflare Managed Ruleset",
    ),
    (
        "4814384a9e5d4991b9815dcfc25d2f1f",
        "Cloudflare OWASP Core Ruleset",
    ),
    (
        "c2e184081120413c86c3ab7e14069605",
        "Cloudflare Exposed Credentials Check Ruleset",
    ),
];

fn list(call: &mut Call<'_>) -> Outcome {
    let place = call.place()?;
    let managed = MANAGED
        .iter()
        .map(|(id, name)| render_managed(id, name, false));
    let own = call.world.rulesets.of(place).iter();
    let all: Vec<Value> = managed
        .chain(own.filter_map(|r| r.latest().ok().map(|v| r.render(v, false))))
        .collect();
    // NOTES "Envelope, errors, pagination": rulesets list returns everything in one answer.
    Ok(Reply::ok(&all))
}

fn render_managed(id: &str, name: &str, with_rules: bool) -> Value {
    let mut out = json!({
        "id": id, "name": name, "description": name, "kind": "managed", "version": "1",
        "phase": "http_request_firewall_managed", "last_updated": crate::seed::SEEDED_AT.rfc3339(),
    });
    if let (true, Some(map)) = (with_rules, out.as_object_mut()) {
        let rule = |n: u32| {
            json!({
                "id": format!("{n:08x}{}", id.get(8..).unwrap_or_default()), "version": "1",
                "action": "block", "description": format!("{name}, rule {n}"), "enabled": true,
                "categories": ["simulated"], "last_updated": crate::seed::SEEDED_AT.rfc3339(),
            })
        };
        map.insert("rules".to_owned(), json!([rule(1), rule(2)]));
    }
    out
}

/// Which ruleset a path names: its place among those of the account or zone.
fn index(call: &Call<'_>) -> Result<Option<usize>, ApiError> {
    let place = call.place()?;
    let rulesets = call.world.rulesets.of(place);
    match call.param("phase") {
        "" => Ok(rulesets
            .iter()
            .position(|r| r.id == call.param("ruleset_id"))),
        phase => {
            phase_of(phase)?;
            Ok(rulesets
                .iter()
                .position(|r| r.is_entrypoint() && r.phase == phase))
        }
    }
}

/// The ruleset of the path.
fn own<'a>(call: &'a Call<'_>) -> Result<&'a Ruleset, ApiError> {
    let place = call.place()?;
    index(call)?
        .and_then(|index| call.world.rulesets.of(place).get(index))
        .ok_or_else(|| match call.param("phase") {
            "" => not_found("ruleset"),
            phase => not_found(&format!("entrypoint ruleset in the {phase} phase")),
        })
}

/// Puts a ruleset in the place of the one with its id.
fn store(call: &mut Call<'_>, ruleset: Ruleset) -> Outcome {
    let place = call.place()?.to_owned();
    let reply = ruleset.reply();
    let list = call.world.rulesets.of_mut(&place);
    match list.iter_mut().find(|r| r.id == ruleset.id) {
        Some(old) => *old = ruleset,
        None => list.push(ruleset),
    }
    reply
}

fn phase_of(phase: &str) -> Result<&str, ApiError> {
    if PHASES.contains(&phase) {
        Ok(phase)
    } else {
        Err(bad(format!("{phase:?} is not a valid value for phase")))
    }
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.param("ruleset_id");
    match MANAGED.iter().find(|(managed, _)| *managed == id) {
        Some((id, name)) => {
            call.place()?;
            Ok(Reply::ok(&render_managed(id, name, true)))
        }
        None => own(call)?.reply(),
    }
}

/// The kind of an entrypoint here.
fn root_kind(call: &Call<'_>) -> &'static str {
    match call.param("account_id") {
        "" => "zone",
        _ => "root",
    }
}

fn create(call: &mut Call<'_>) -> Outcome {
    let place = call.place()?.to_owned();
    let body = call.object()?;
    let kind = match body.get("kind").and_then(Value::as_str) {
        Some("custom") => "custom",
        Some(kind) if kind == root_kind(call) => root_kind(call),
        _ => return Err(bad(format!("kind must be {} or custom", root_kind(call)))),
    };
    let phase = phase_of(
        body.get("phase")
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )?;
    objects::text(&body, "name", 20_127)?;
    let taken = |r: &Ruleset| kind != "custom" && r.is_entrypoint() && r.phase == phase;
    if call.world.rulesets.of(&place).iter().any(taken) {
        let message = format!("exceeded maximum number of {kind} rulesets for phase {phase}");
        return Err(ApiError::bad(20_217, message));
    }
    made(call, kind, phase, &body)
}

/// Makes a ruleset of a judged body.
fn made(call: &mut Call<'_>, kind: &'static str, phase: &str, body: &Object) -> Outcome {
    let mut ids = call.world.ids.clone();
    let id = ids.next_id();
    let rules = rules_of(body, &[], (phase, kind), &mut ids)?;
    call.world.ids = ids;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let ruleset = Ruleset {
        id,
        kind,
        phase: phase.to_owned(),
        versions: vec![Version {
            number: 1,
            name: text("name").unwrap_or_else(|| "default".to_owned()),
            description: text("description").unwrap_or_default(),
            last_updated: call.now,
            rules: renumbered(&[], rules, call.now),
        }],
    };
    store(call, ruleset)
}

/// The rules of a body. One that names an old rule by `id` or `ref` keeps its identity.
fn rules_of(
    body: &Object,
    old: &[Object],
    (phase, kind): (&str, &str),
    ids: &mut Ids,
) -> Result<Vec<Object>, ApiError> {
    let list = match body.get("rules") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(bad("rules must be a list".to_owned())),
    };
    let mut rules: Vec<Object> = Vec::new();
    for sent in list {
        let mut rule = rule::check(sent, phase, kind)?;
        let same = |name: &str| {
            old.iter()
                .find(|o| sent.at(name).is_string() && o.get(name) == sent.get(name))
        };
        let kept = match (sent.get("id"), same("id")) {
            (Some(id), None) => {
                return Err(bad(format!("{id} is not the id of a rule of this ruleset")));
            }
            (_, by_id) => by_id.or_else(|| same("ref")),
        };
        let id = kept.map_or_else(|| json!(ids.next_id()), |rule| rule.at("id").clone());
        let reference = match (sent.get("ref"), kept) {
            (Some(given), _) => given.clone(),
            (None, Some(kept)) => kept.at("ref").clone(),
            (None, None) => id.clone(),
        };
        if rules
            .iter()
            .any(|r| *r.at("id") == id || *r.at("ref") == reference)
        {
            return Err(bad(format!("{reference} names two rules")));
        }
        rule.insert("id".to_owned(), id);
        rule.insert("ref".to_owned(), reference);
        rules.push(rule);
    }
    Ok(rules)
}

fn put(call: &mut Call<'_>) -> Outcome {
    let body = call.object()?;
    let phase = call.param("phase").to_owned();
    if index(call)?.is_none() && !phase.is_empty() {
        return made(call, root_kind(call), &phase, &body);
    }
    let mut ruleset = own(call)?.clone();
    for (name, is) in [("kind", ruleset.kind), ("phase", ruleset.phase.as_str())] {
        if body.get(name).is_some_and(|given| given != is) {
            return Err(bad(format!("{name} of a ruleset cannot be changed")));
        }
    }
    let mut ids = call.world.ids.clone();
    let old = ruleset.latest()?.rules.clone();
    let rules = rules_of(&body, &old, (&ruleset.phase, ruleset.kind), &mut ids)?;
    call.world.ids = ids;
    ruleset.update(rules, call.now)?;
    if let Some(latest) = ruleset.versions.last_mut() {
        for (name, field) in [
            ("name", &mut latest.name),
            ("description", &mut latest.description),
        ] {
            if let Some(given) = body.get(name).and_then(Value::as_str) {
                given.clone_into(field);
            }
        }
    }
    store(call, ruleset)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = own(call)?.id.clone();
    let place = call.place()?.to_owned();
    let runs_it = |rule: &Object| {
        rule.get("action_parameters")
            .is_some_and(|p| *p.at("id") == id.as_str())
    };
    let rulesets = call.world.rulesets.of(&place);
    let latest = rulesets.iter().filter_map(|r| r.versions.last());
    if latest.flat_map(|v| &v.rules).any(runs_it) {
        return Err(ApiError::bad(
            20_127,
            "the ruleset is executed by a rule of another one",
        ));
    }
    call.world.rulesets.of_mut(&place).retain(|r| r.id != id);
    // The answer has no body (SDK).
    Ok(Reply {
        status: 204,
        ..Reply::text(String::new())
    })
}

fn add_rule(call: &mut Call<'_>) -> Outcome {
    let mut body = call.object()?;
    let position = body.remove("position");
    let mut ruleset = own(call)?.clone();
    let mut rules = ruleset.latest()?.rules.clone();
    if body.contains_key("id") {
        return Err(bad("a new rule has no id yet".to_owned()));
    }
    let mut ids = call.world.ids.clone();
    let one = Object::from_iter([("rules".to_owned(), json!([body]))]);
    let mut new = rules_of(&one, &[], (&ruleset.phase, ruleset.kind), &mut ids)?;
    if new
        .iter()
        .any(|n| rules.iter().any(|r| *r.at("ref") == *n.at("ref")))
    {
        return Err(bad("ref must not be that of another rule".to_owned()));
    }
    let at = placed(&rules, position.as_ref())?.unwrap_or(rules.len());
    rules.splice(at..at, new.drain(..));
    call.world.ids = ids;
    ruleset.update(rules, call.now)?;
    store(call, ruleset)
}

/// Where `position` says; `None` when it says nothing.
///
/// NOTES "Rulesets": `before` or `after` a rule id (empty for the first or last place,
/// hypothesis), or `index`, which counts from 1 (hypothesis).
fn placed(rules: &[Object], position: Option<&Value>) -> Result<Option<usize>, ApiError> {
    let Some(position) = position else {
        return Ok(None);
    };
    let wrong = || bad("position must be one of before, after and index".to_owned());
    let map = position
        .as_object()
        .filter(|map| map.len() == 1)
        .ok_or_else(wrong)?;
    let (how, value) = map.iter().next().ok_or_else(wrong)?;
    let found = |value: &Value| {
        let missing = || bad(format!("{value} is not the id of a rule of this ruleset"));
        rules
            .iter()
            .position(|r| *r.at("id") == *value)
            .ok_or_else(missing)
    };
    match (how.as_str(), value.as_str(), value.as_u64()) {
        ("before", Some(""), _) => Ok(Some(0)),
        ("after", Some(""), _) => Ok(Some(rules.len())),
        ("before", Some(_), _) => found(value).map(Some),
        ("after", Some(_), _) => found(value).map(|at| Some(at + 1)),
        ("index", _, Some(at)) => usize::try_from(at)
            .ok()
            .and_then(|at| at.checked_sub(1))
            .filter(|at| *at <= rules.len())
            .map(Some)
            .ok_or_else(|| bad(format!("{value} is not a valid value for position.index"))),
        _ => Err(wrong()),
    }
}

/// The whole definition of a rule, or only its position (hypothesis).
fn edit_rule(call: &mut Call<'_>) -> Outcome {
    let mut body = call.object()?;
    let position = body.remove("position");
    let mut ruleset = own(call)?.clone();
    let mut rules = ruleset.latest()?.rules.clone();
    let id = call.param("rule_id");
    let at = rules.iter().position(|r| *r.at("id") == id);
    let at = at.ok_or_else(|| not_found("rule"))?;
    let old = rules.remove(at);
    let rule = if body.is_empty() && position.is_some() {
        old
    } else {
        let sent = Value::Object(body);
        if sent.get("id").is_some_and(|sent| sent != id) {
            return Err(bad("id of a rule cannot be changed".to_owned()));
        }
        let mut rule = rule::check(&sent, &ruleset.phase, ruleset.kind)?;
        rule.insert("id".to_owned(), old.at("id").clone());
        let reference = sent.get("ref").unwrap_or(old.at("ref"));
        if rules.iter().any(|r| *r.at("ref") == *reference) {
            return Err(bad("ref must not be that of another rule".to_owned()));
        }
        rule.insert("ref".to_owned(), reference.clone());
        rule
    };
    let at = placed(&rules, position.as_ref())?.unwrap_or(at);
    rules.insert(at, rule);
    ruleset.update(rules, call.now)?;
    store(call, ruleset)
}

fn delete_rule(call: &mut Call<'_>) -> Outcome {
    let mut ruleset = own(call)?.clone();
    let mut rules = ruleset.latest()?.rules.clone();
    let before = rules.len();
    rules.retain(|r| *r.at("id") != call.param("rule_id"));
    if rules.len() == before {
        return Err(not_found("rule"));
    }
    ruleset.update(rules, call.now)?;
    store(call, ruleset)
}

fn versions(call: &mut Call<'_>) -> Outcome {
    let ruleset = own(call)?;
    let all: Vec<Value> = ruleset
        .versions
        .iter()
        .map(|version| ruleset.render(version, false))
        .collect();
    Ok(Reply::ok(&all))
}

fn version(call: &mut Call<'_>) -> Outcome {
    let ruleset = own(call)?;
    let wanted = call.param("version");
    let version = ruleset
        .versions
        .iter()
        .find(|v| v.number.to_string() == wanted);
    let version = version.ok_or_else(|| not_found(&format!("version {wanted} of the ruleset")))?;
    Ok(Reply::ok(&ruleset.render(version, true)))
}

fn delete_version(call: &mut Call<'_>) -> Outcome {
    let mut ruleset = own(call)?.clone();
    let wanted = call.param("version");
    if ruleset.latest()?.number.to_string() == wanted {
        return Err(ApiError::bad(
            20_155,
            "the latest version cannot be deleted",
        ));
    }
    let before = ruleset.versions.len();
    ruleset.versions.retain(|v| v.number.to_string() != wanted);
    if ruleset.versions.len() == before {
        return Err(not_found(&format!("version {wanted} of the ruleset")));
    }
    store(call, ruleset)?;
    Ok(Reply {
        status: 204,
        ..Reply::text(String::new())
    })
}

fn not_found(what: &str) -> ApiError {
    ApiError::new(404, 10_003, format!("could not find {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::is_id;

    #[test]
    fn managed_ids_are_ids() {
        assert!(MANAGED.iter().all(|(id, _)| is_id(id)));
    }
}
