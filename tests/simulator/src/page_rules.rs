//! Page rules of a zone.
//!
//! NOTES "Page rules": routes and the fields of a rule. Code 1004 for what is refused, 1002 for
//! what is not there, and the number of rules by plan are hypotheses.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::objects::{self, Members, Object, Product};
use crate::router::Route;
use crate::world::Call;
use crate::zones::Plan;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/pagerules", list),
        ("POST", "/zones/{zone_id}/pagerules", create),
        ("GET", "/zones/{zone_id}/pagerules/settings", settings),
        ("GET", "/zones/{zone_id}/pagerules/{pagerule_id}", |call| {
            objects::get(call, &PAGE_RULES)
        }),
        ("PUT", "/zones/{zone_id}/pagerules/{pagerule_id}", |call| {
            objects::replace(call, &PAGE_RULES)
        }),
        (
            "PATCH",
            "/zones/{zone_id}/pagerules/{pagerule_id}",
            |call| objects::edit(call, &PAGE_RULES),
        ),
        (
            "DELETE",
            "/zones/{zone_id}/pagerules/{pagerule_id}",
            |call| objects::delete(call, &PAGE_RULES),
        ),
    ]
}

const PAGE_RULES: Product = Product {
    kind: "page_rules",
    param: "pagerule_id",
    uuid: false,
    times: ("created_on", "modified_on"),
    paged: None,
    missing: (404, 1002, "Invalid Page Rule identifier"),
    check,
};

/// Actions and whether each has a value.
const ACTIONS: [(&str, bool); 20] = [
    ("always_online", true),
    ("always_use_https", false),
    ("automatic_https_rewrites", true),
    ("browser_cache_ttl", true),
    ("browser_check", true),
    ("bypass_cache_on_cookie", true),
    ("cache_by_device_type", true),
    ("cache_level", true),
    ("cache_on_cookie", true),
    ("disable_apps", false),
    ("disable_performance", false),
    ("disable_security", false),
    ("edge_cache_ttl", true),
    ("email_obfuscation", true),
    ("explicit_cache_control", true),
    ("forwarding_url", true),
    ("ip_geolocation", true),
    ("rocket_loader", true),
    ("security_level", true),
    ("ssl", true),
];

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(
        1004,
        format!("Page Rule validation failed: {}", message.into()),
    )
}

fn check(rule: &mut Object, call: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(rule, &json!({"priority": 1, "status": "disabled"}));
    if !rule.at("priority").is_u64() {
        return Err(bad("priority must be a whole number"));
    }
    objects::word(rule, "status", &["active", "disabled"], 1004)?;
    let targets = objects::list_of(rule, "targets", 1004)?;
    let constraint = targets.first().unwrap_or(&Value::Null).at("constraint");
    let is_one = targets.len() == 1 && *constraint.at("operator") == "matches";
    let target = constraint.at("value").as_str().filter(|_| is_one);
    let target = target.ok_or_else(|| bad("targets must be one URL that matches a value"))?;
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let host = rest
        .split(['/', ':', '?'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let zone = call.zone()?;
    if !zone.contains(&host) && host != format!("*{}", zone.name) {
        return Err(bad(format!(
            "the target {target} is not in the zone {}",
            zone.name
        )));
    }
    let actions = objects::list_of(rule, "actions", 1004)?;
    let mut seen: Vec<&str> = Vec::new();
    for action in actions {
        let id = action.at("id").as_str().unwrap_or_default();
        let known = ACTIONS.iter().find(|(known, _)| *known == id);
        let (_, has_value) = known.ok_or_else(|| bad(format!("{id:?} is no action")))?;
        if *has_value && action.at("value").is_null() {
            return Err(bad(format!("the action {id} needs a value")));
        }
        if seen.contains(&id) {
            return Err(bad(format!("the action {id} is there twice")));
        }
        seen.push(id);
    }
    if seen.contains(&"forwarding_url") && seen.len() > 1 {
        return Err(bad("forwarding_url cannot be combined with other actions"));
    }
    let id = rule.get("id");
    let others = call.world.objects.list(PAGE_RULES.kind, &zone.id);
    let same =
        |other: &&Value| Some(other.at("id")) != id && *other.at("targets") == *rule.at("targets");
    if others.iter().any(|other| same(&other)) {
        return Err(bad("a rule with these targets already exists"));
    }
    Ok(())
}

/// Highest priority first.
fn list(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let status = call
        .query
        .choice("status", &["", "active", "disabled"], "")?;
    let mut rules: Vec<&Value> = call
        .world
        .objects
        .list(PAGE_RULES.kind, &zone.id)
        .iter()
        .filter(|rule| status.is_empty() || *rule.at("status") == status)
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.at("priority").as_u64()));
    if call.query.choice("direction", &["asc", "desc"], "desc")? == "asc" {
        rules.reverse();
    }
    Ok(Reply::ok(&rules))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let quota = match zone.plan {
        Plan::Free => 3,
        Plan::Pro => 20,
        Plan::Business => 50,
        Plan::Enterprise => 125,
    };
    if call.world.objects.list(PAGE_RULES.kind, &zone.id).len() >= quota {
        return Err(bad(format!("the zone has its {quota} rules already")));
    }
    objects::create(call, &PAGE_RULES)
}

fn settings(call: &mut Call<'_>) -> Outcome {
    call.zone()?;
    let all: Vec<Value> = ACTIONS
        .iter()
        .map(|(id, _)| json!({"id": id, "properties": []}))
        .collect();
    Ok(Reply::ok(&all))
}
