//! Routes: which script answers which addresses of a zone.
//!
//! NOTES "Workers": `/zones/{z}/workers/routes[/{id}]` `{pattern, script?}`; no script is a bypass.
//! 10009, 10019 and 10022 are *seen*; 10020 is a hypothesis.

use serde_json::{Value, json};

use super::{names, script, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::router::Route;
use crate::world::{Call, World};

/// A route of a zone.
#[derive(Clone, Debug)]
pub(crate) struct ZoneRoute {
    pub(super) id: String,
    /// The zone's account, whose scripts it may name.
    pub(super) account: String,
    pub(super) zone_id: String,
    pub(super) pattern: String,
    pub(super) script: Option<String>,
}

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/zones/{zone_id}/workers/routes";
    const ONE: &str = "/zones/{zone_id}/workers/routes/{route_id}";
    // What wrangler sends for all routes of a script, in whichever zones (*wrangler*).
    const OF_SCRIPT: &str = "/accounts/{account_id}/workers/scripts/{script_name}/routes";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PUT", ONE, put),
        ("DELETE", ONE, delete),
        ("PUT", OF_SCRIPT, put_all),
    ]
}

impl ZoneRoute {
    pub(super) fn render(&self) -> Value {
        let mut route = json!({"id": self.id, "pattern": self.pattern});
        if let (Some(script), Some(map)) = (&self.script, route.as_object_mut()) {
            map.insert("script".to_owned(), json!(script));
        }
        route
    }
}

/// The host of a pattern without its leading star, as far as the pattern has one.
fn host(pattern: &str) -> Option<&str> {
    let pattern = pattern
        .strip_prefix("https://")
        .or_else(|| pattern.strip_prefix("http://"))
        .unwrap_or(pattern);
    let host = pattern.split('/').next()?;
    let host = host
        .strip_prefix("*.")
        .or_else(|| host.strip_prefix('*'))
        .unwrap_or(host);
    (!host.is_empty() && !host.contains(['*', ' ', '?'])).then_some(host)
}

/// A pattern of the zone that no other route has.
fn check(world: &World, zone_id: &str, pattern: &str, own: &str) -> Result<(), ApiError> {
    let zone = world.zones.get(zone_id).ok_or_else(ApiError::forbidden)?;
    if !host(pattern).is_some_and(|host| zone.contains(&host.to_ascii_lowercase())) {
        return Err(ApiError::bad(
            10_022,
            format!(
                "Invalid route pattern: {pattern} does not belong to the zone {}",
                zone.name
            ),
        ));
    }
    let mut others = world.workers.routes.iter();
    let same = others.find(|r| r.zone_id == zone_id && r.pattern == pattern && r.id != own);
    match same {
        None => Ok(()),
        Some(other) => Err(ApiError::new(
            409,
            10_020,
            format!(
                "A route with the same pattern already exists, for {}",
                other.script.as_deref().unwrap_or("no Worker")
            ),
        )),
    }
}

/// The pattern and the script of a body.
fn read(call: &Call<'_>, own: &str) -> Result<(String, Option<String>), ApiError> {
    let account = &call.zone()?.account_id;
    let body = call.object()?;
    let pattern = body
        .get("pattern")
        .and_then(Value::as_str)
        .ok_or_else(|| ApiError::bad(10_022, "a route needs a pattern"))?;
    check(call.world, call.param("zone_id"), pattern, own)?;
    let script = match body.get("script") {
        None | Some(Value::Null) => None,
        Some(script) => {
            let script = script.as_str().unwrap_or_default();
            if call.world.workers.script(account, script).is_none() {
                return Err(ApiError::bad(
                    10_019,
                    format!("workers.api.error.route_script_not_found: {script}"),
                ));
            }
            Some(script.to_owned())
        }
    };
    Ok((pattern.to_owned(), script))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let zone_id = &call.zone()?.id;
    let routes = call.world.workers.routes.iter();
    let found: Vec<Value> = routes
        .filter(|r| r.zone_id == *zone_id)
        .map(ZoneRoute::render)
        .collect();
    Ok(Reply::ok(&found))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (pattern, script) = read(call, "")?;
    let (zone_id, account) = {
        let zone = call.zone()?;
        (zone.id.clone(), zone.account_id.clone())
    };
    let route = ZoneRoute {
        id: call.world.ids.next_id(),
        account,
        zone_id,
        pattern,
        script,
    };
    let answer = route.render();
    call.world.workers.routes.push(route);
    Ok(Reply::ok(&answer))
}

fn place(call: &Call<'_>) -> Result<usize, ApiError> {
    let zone_id = &call.zone()?.id;
    let id = call.param("route_id");
    call.world
        .workers
        .routes
        .iter()
        .position(|r| r.zone_id == *zone_id && r.id == id)
        .ok_or_else(|| ApiError::new(404, 10_009, "workers.api.error.route_not_found"))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let place = place(call)?;
    let route = call.world.workers.routes.get(place);
    Ok(Reply::ok(&route.map(ZoneRoute::render)))
}

fn put(call: &mut Call<'_>) -> Outcome {
    let place = place(call)?;
    let (pattern, script) = read(call, call.param("route_id"))?;
    let route = call.world.workers.routes.get_mut(place);
    let answer = route.map(|route| {
        route.pattern = pattern;
        route.script = script;
        route.render()
    });
    Ok(Reply::ok(&answer))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let place = place(call)?;
    let route = call.world.workers.routes.remove(place);
    Ok(Reply::ok(&json!({"id": route.id})))
}

/// Replaces all routes of a script. Each names its zone, or lies in one of the account's.
fn put_all(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let (account, name) = names(call)?;
    let body = call.json()?;
    let given = body
        .as_array()
        .ok_or_else(|| validation("routes must be a list"))?;
    let mut wanted = Vec::new();
    for one in given {
        let text = |member: &str| one.get(member).and_then(Value::as_str);
        let pattern = one.as_str().or_else(|| text("pattern")).unwrap_or_default();
        let host = host(pattern).unwrap_or_default().to_ascii_lowercase();
        let zone = call
            .world
            .zones
            .iter()
            .filter(|zone| zone.account_id == account)
            .find(|zone| match (text("zone_id"), text("zone_name")) {
                (Some(id), _) => zone.id == id,
                (None, Some(name)) => zone.name == name,
                (None, None) => zone.contains(&host),
            })
            .ok_or_else(|| {
                ApiError::bad(
                    10_022,
                    format!("Invalid route pattern: no zone has {pattern}"),
                )
            })?;
        wanted.push((zone.id.clone(), pattern.to_owned()));
    }
    // INVARIANT: nothing is changed before everything was judged.
    let own = |route: &ZoneRoute| route.account == account && route.script.as_ref() == Some(&name);
    let mut routes = call.world.workers.routes.clone();
    routes.retain(|route| !own(route));
    std::mem::swap(&mut routes, &mut call.world.workers.routes);
    for (zone_id, pattern) in &wanted {
        if let Err(error) = check(call.world, zone_id, pattern, "") {
            call.world.workers.routes = routes;
            return Err(error);
        }
        let route = ZoneRoute {
            id: call.world.ids.next_id(),
            account: account.clone(),
            zone_id: zone_id.clone(),
            pattern: pattern.clone(),
            script: Some(name.clone()),
        };
        call.world.workers.routes.push(route);
    }
    let patterns: Vec<&String> = wanted.iter().map(|(_, pattern)| pattern).collect();
    Ok(Reply::ok(&patterns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_pattern_is_what_lies_in_a_zone() {
        let cases = [
            ("example.com/*", Some("example.com")),
            ("*.example.com/*", Some("example.com")),
            ("*example.com/a", Some("example.com")),
            ("https://www.example.com/x", Some("www.example.com")),
            ("*/x", None),
            ("a.*.example.com/x", None),
            ("", None),
        ];
        for (pattern, expected) in cases {
            assert_eq!(host(pattern), expected, "{pattern}");
        }
    }
}
