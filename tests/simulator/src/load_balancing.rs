//! Load balancers of a zone; pools and monitors of an account.
//!
//! NOTES "Load balancing". Every origin that is enabled is healthy unless its address is in
//! 203.0.113.0/24. Codes 1002 (a value), 1001 (not there) and 1005 (in use) are hypotheses.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::dns::names;
use crate::objects::{self, Members, Object, Product};
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/load_balancers", |call| {
            objects::list(call, &BALANCERS)
        }),
        ("POST", "/zones/{zone_id}/load_balancers", |call| {
            objects::create(call, &BALANCERS)
        }),
        (
            "GET",
            "/zones/{zone_id}/load_balancers/{load_balancer_id}",
            |call| objects::get(call, &BALANCERS),
        ),
        (
            "PUT",
            "/zones/{zone_id}/load_balancers/{load_balancer_id}",
            |call| objects::replace(call, &BALANCERS),
        ),
        (
            "PATCH",
            "/zones/{zone_id}/load_balancers/{load_balancer_id}",
            |call| objects::edit(call, &BALANCERS),
        ),
        (
            "DELETE",
            "/zones/{zone_id}/load_balancers/{load_balancer_id}",
            |call| objects::delete(call, &BALANCERS),
        ),
        (
            "GET",
            "/accounts/{account_id}/load_balancers/pools",
            |call| objects::list(call, &POOLS),
        ),
        (
            "POST",
            "/accounts/{account_id}/load_balancers/pools",
            |call| objects::create(call, &POOLS),
        ),
        (
            "GET",
            "/accounts/{account_id}/load_balancers/pools/{pool_id}",
            |call| objects::get(call, &POOLS),
        ),
        (
            "PUT",
            "/accounts/{account_id}/load_balancers/pools/{pool_id}",
            |call| objects::replace(call, &POOLS),
        ),
        (
            "PATCH",
            "/accounts/{account_id}/load_balancers/pools/{pool_id}",
            |call| objects::edit(call, &POOLS),
        ),
        (
            "DELETE",
            "/accounts/{account_id}/load_balancers/pools/{pool_id}",
            delete_pool,
        ),
        (
            "GET",
            "/accounts/{account_id}/load_balancers/pools/{pool_id}/health",
            health,
        ),
        (
            "GET",
            "/accounts/{account_id}/load_balancers/monitors",
            |call| objects::list(call, &MONITORS),
        ),
        (
            "POST",
            "/accounts/{account_id}/load_balancers/monitors",
            |call| objects::create(call, &MONITORS),
        ),
        (
            "GET",
            "/accounts/{account_id}/load_balancers/monitors/{monitor_id}",
            |call| objects::get(call, &MONITORS),
        ),
        (
            "PUT",
            "/accounts/{account_id}/load_balancers/monitors/{monitor_id}",
            |call| objects::replace(call, &MONITORS),
        ),
        (
            "PATCH",
            "/accounts/{account_id}/load_balancers/monitors/{monitor_id}",
            |call| objects::edit(call, &MONITORS),
        ),
        (
            "DELETE",
            "/accounts/{account_id}/load_balancers/monitors/{monitor_id}",
            delete_monitor,
        ),
    ]
}

/// The load balancers of a zone.
pub(crate) const BALANCERS: Product = Product {
    kind: "load_balancers",
    param: "load_balancer_id",
    uuid: false,
    times: ("created_on", "modified_on"),
    paged: None,
    missing: (404, 1001, "load balancer not found"),
    check: check_balancer,
};

/// The pools of an account.
pub(crate) const POOLS: Product = Product {
    kind: "pools",
    param: "pool_id",
    missing: (404, 1001, "pool not found"),
    check: check_pool,
    ..BALANCERS
};

/// The monitors of an account.
pub(crate) const MONITORS: Product = Product {
    kind: "monitors",
    param: "monitor_id",
    missing: (404, 1001, "monitor not found"),
    check: check_monitor,
    ..BALANCERS
};

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(1002, message.into())
}

fn check_balancer(balancer: &mut Object, call: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        balancer,
        &json!({"proxied": false, "enabled": true, "ttl": 30, "steering_policy": "", "session_affinity": "none", "description": ""}),
    );
    let zone = call.zone()?;
    let name = objects::text(balancer, "name", 1002)?;
    let name = names::hostname(name).filter(|name| zone.contains(name));
    let name = name.ok_or_else(|| bad("name must be a hostname of the zone"))?;
    let others = call.world.objects.list(BALANCERS.kind, &zone.id);
    let same =
        |other: &Value| *other.at("name") == name && Some(other.at("id")) != balancer.get("id");
    if others.iter().any(same) {
        return Err(bad(format!("a load balancer named {name} already exists")));
    }
    let pool_exists = |id: &Value| {
        let id = id.as_str().unwrap_or_default();
        call.world
            .objects
            .find(POOLS.kind, &zone.account_id, id)
            .is_some()
    };
    let defaults = objects::list_of(balancer, "default_pools", 1002)?;
    let fallback = balancer.get("fallback_pool").unwrap_or(&Value::Null);
    if let Some(id) = defaults
        .iter()
        .chain([fallback])
        .find(|id| !pool_exists(id))
    {
        return Err(bad(format!("{id} is not the id of a pool")));
    }
    let policies = [
        "",
        "off",
        "geo",
        "random",
        "dynamic_latency",
        "proximity",
        "least_outstanding_requests",
        "least_connections",
    ];
    objects::word(balancer, "steering_policy", &policies, 1002)?;
    objects::word(
        balancer,
        "session_affinity",
        &["none", "cookie", "ip_cookie", "header"],
        1002,
    )?;
    balancer.insert("name".to_owned(), json!(name));
    balancer.insert("zone_name".to_owned(), json!(zone.name));
    Ok(())
}

fn check_pool(pool: &mut Object, call: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        pool,
        &json!({"enabled": true, "minimum_origins": 1, "description": ""}),
    );
    let name = objects::text(pool, "name", 1002)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.chars().all(fits) {
        return Err(bad("name of a pool must be of letters, digits, - and _"));
    }
    let place = call.place()?;
    let same = |other: &Value| *other.at("name") == name && Some(other.at("id")) != pool.get("id");
    if call.world.objects.list(POOLS.kind, place).iter().any(same) {
        return Err(bad(format!("a pool named {name} already exists")));
    }
    let origins = objects::list_of(pool, "origins", 1002)?;
    for origin in origins {
        let address = origin.at("address").as_str().unwrap_or_default();
        let is_address = address.parse::<std::net::IpAddr>().is_ok()
            || names::hostname(address).is_some_and(|name| name.contains('.'));
        if !is_address || !origin.at("name").is_string() {
            return Err(bad("an origin needs a name and an address"));
        }
        let weight = origin.at("weight");
        if !weight.is_null() && weight.as_f64().is_none_or(|w| !(0.0..=1.0).contains(&w)) {
            return Err(bad("weight of an origin must be between 0 and 1"));
        }
    }
    let monitor = pool.get("monitor").filter(|monitor| !monitor.is_null());
    let exists =
        |id: &str| id.is_empty() || call.world.objects.find(MONITORS.kind, place, id).is_some();
    if monitor.is_some_and(|monitor| !monitor.as_str().is_some_and(exists)) {
        return Err(bad("monitor is not the id of a monitor"));
    }
    Ok(())
}

fn check_monitor(monitor: &mut Object, _: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        monitor,
        &json!({"type": "http", "interval": 60, "retries": 2, "timeout": 5, "description": ""}),
    );
    let kinds = ["http", "https", "tcp", "udp_icmp", "icmp_ping", "smtp"];
    let kind = objects::word(monitor, "type", &kinds, 1002)?.to_owned();
    if kind.starts_with("http") {
        objects::defaults(
            monitor,
            &json!({"method": "GET", "path": "/", "expected_codes": "200", "header": {}, "follow_redirects": false, "allow_insecure": false}),
        );
    }
    for name in ["interval", "retries", "timeout"] {
        if !monitor.at(name).is_u64() {
            return Err(bad(format!("{name} must be a whole number")));
        }
    }
    Ok(())
}

/// A pool that a load balancer of the account's zones names stays.
fn delete_pool(call: &mut Call<'_>) -> Outcome {
    let id = objects::own(call, &POOLS)?["id"].clone();
    let account = call.place()?;
    let zones = call
        .world
        .zones
        .iter()
        .filter(|zone| zone.account_id == account);
    let uses = |balancer: &Value| {
        let defaults = balancer.at("default_pools").as_array();
        *balancer.at("fallback_pool") == id || defaults.is_some_and(|pools| pools.contains(&id))
    };
    let balancers = zones.flat_map(|zone| call.world.objects.list(BALANCERS.kind, &zone.id));
    if balancers.filter(|balancer| uses(balancer)).count() > 0 {
        return Err(ApiError::new(
            412,
            1005,
            "the pool is used by a load balancer",
        ));
    }
    objects::delete(call, &POOLS)
}

fn delete_monitor(call: &mut Call<'_>) -> Outcome {
    let id = objects::own(call, &MONITORS)?["id"].clone();
    let pools = call.world.objects.list(POOLS.kind, call.place()?);
    if pools.iter().any(|pool| *pool.at("monitor") == id) {
        return Err(ApiError::new(412, 1005, "the monitor is used by a pool"));
    }
    objects::delete(call, &MONITORS)
}

/// NOTES "Load balancing": keyed by region and address (hypothesis).
fn health(call: &mut Call<'_>) -> Outcome {
    let pool = objects::own(call, &POOLS)?;
    let mut healthy = 0;
    let origins: Vec<Value> = pool.at("origins")
        .as_array()
        .into_iter()
        .flatten()
        .filter(|origin| *origin.at("enabled") != false)
        .map(|origin| {
            let address = origin.at("address").as_str().unwrap_or_default();
            let is_up = !address.starts_with("203.0.113.");
            healthy += u64::from(is_up);
            let (reason, code) = if is_up { ("No failures", 200) } else { ("TCP connection failed", 0) };
            json!({address: {"healthy": is_up, "failure_reason": reason, "response_code": code, "rtt": "12.1ms"}})
        })
        .collect();
    let is_up = healthy >= pool.at("minimum_origins").as_u64().unwrap_or(1);
    Ok(Reply::ok(&json!({
        "pool_id": pool.at("id"),
        "pop_health": {"Amsterdam, NL": {"healthy": is_up, "origins": origins}},
    })))
}
