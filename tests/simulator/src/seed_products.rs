//! The seed of what is there besides accounts, zones and records.

use serde_json::{Value, json};

use crate::certificates;
use crate::load_balancing::{BALANCERS, MONITORS, POOLS};
use crate::objects::Members;
use crate::seed::{ACME_ID, SEEDED_AT, ZONE_COM_ID, ZONE_ORG_ID};
use crate::tokens;
use crate::world::World;

/// The ids of the two pools.
const POOL_IDS: [&str; 2] = [
    "20000000000000000000000000000011",
    "20000000000000000000000000000012",
];

/// What is there besides zones and records.
pub(crate) fn seed(world: &mut World) {
    world.tokens = tokens::seeded(SEEDED_AT);
    world.rulesets.seed(
        ZONE_COM_ID,
        "50000000000000000000000000000001",
        "http_request_firewall_custom",
        &[json!({
            "id": "51000000000000000000000000000001", "ref": "block-listed", "action": "block",
            "expression": "ip.src in $blocked", "description": "block listed addresses", "enabled": true,
        })],
        SEEDED_AT,
    );
    world.rulesets.seed(
        ZONE_COM_ID,
        "50000000000000000000000000000002",
        "http_request_cache_settings",
        &[json!({
            "id": "51000000000000000000000000000002", "ref": "cache-assets", "action": "set_cache_settings",
            "expression": "starts_with(http.request.uri.path, \"/assets/\")", "enabled": true,
            "action_parameters": {"cache": true, "edge_ttl": {"mode": "override_origin", "default": 86_400}},
        })],
        SEEDED_AT,
    );
    world.lists.seed(
        ACME_ID,
        "10000000000000000000000000000001",
        "blocked",
        &[("192.0.2.66", "scanner"), ("198.51.100.0/24", "test net")],
        SEEDED_AT,
    );
    let objects = &mut world.objects;
    MONITORS.seed(
        objects,
        ACME_ID,
        json!({
            "id": "20000000000000000000000000000001", "type": "https", "method": "GET", "path": "/health",
            "expected_codes": "200", "interval": 60, "retries": 2, "timeout": 5, "description": "",
        }),
        SEEDED_AT,
    );
    for (id, name, address) in [
        (POOL_IDS[0], "primary", "192.0.2.10"),
        (POOL_IDS[1], "standby", "203.0.113.10"),
    ] {
        let origins = json!([{"name": format!("{name}-1"), "address": address, "enabled": true, "weight": 1}]);
        POOLS.seed(
            objects,
            ACME_ID,
            json!({
                "id": id, "name": name, "origins": origins, "enabled": true, "minimum_origins": 1,
                "monitor": "20000000000000000000000000000001", "description": "",
            }),
            SEEDED_AT,
        );
    }
    BALANCERS.seed(
        objects,
        ZONE_COM_ID,
        json!({
            "id": "30000000000000000000000000000001", "name": "lb.example.com", "zone_name": "example.com",
            "default_pools": [POOL_IDS[0]], "fallback_pool": POOL_IDS[1], "proxied": true, "enabled": true,
            "ttl": 30, "steering_policy": "off", "session_affinity": "none", "description": "",
        }),
        SEEDED_AT,
    );
    // It ends within the first year of every clock that tests use, on 2026-12-12.
    let certificate = certificates::seeded(
        "40000000000000000000000000000001",
        (ZONE_ORG_ID, "example.org"),
        345,
    );
    certificates::CUSTOM.seed(objects, ZONE_ORG_ID, certificate, SEEDED_AT);
}

/// Adds what is here to what `GET /__sim/state` answers.
pub(crate) fn state(world: &World, state: &mut Value) {
    state.set("tokens", json!(world.tokens.state()));
    state.set("rulesets", json!(world.rulesets.state()));
    state.set("lists", json!(world.lists.state()));
    state.set(
        "pools",
        json!(
            world
                .objects
                .list(POOLS.kind, ACME_ID)
                .iter()
                .map(named)
                .collect::<Vec<_>>()
        ),
    );
    state.set(
        "load_balancers",
        json!(
            world
                .zones
                .iter()
                .flat_map(|z| world.objects.list(BALANCERS.kind, &z.id))
                .map(named)
                .collect::<Vec<_>>()
        ),
    );
}

/// Id and name of an object.
fn named(object: &Value) -> Value {
    json!({"id": object.at("id"), "name": object.at("name")})
}
