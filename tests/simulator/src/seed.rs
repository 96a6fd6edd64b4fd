//! The state that a fresh or reset simulator has: fixed ids, names and credentials.

use serde_json::{Value, json};

use crate::accounts::Account;
use crate::clock::Now;
use crate::dns::seed_records;
use crate::hosts::{GITHUB_TOKEN, GitHub};
use crate::oidc::ACCESS_AUD;
use crate::seed_products;
use crate::workers;
use crate::world::World;
use crate::zones::{NewZone, Plan, Zone};

/// The API token that the simulator accepts.
pub const TOKEN: &str = "SimulatorUpstreamToken_0123456789abcdefg";
/// The email of the user, for the legacy form of authentication.
pub const EMAIL: &str = "owner@acme.test";
/// The global key of the user, for the legacy form of authentication.
pub const KEY: &str = "51a7e0c0ffee51a7e0c0ffee51a7e0c0ffee5";
/// The account that owns the seeded zones.
pub const ACME_ID: &str = "a0000000000000000000000000000001";
/// A second account, which owns nothing.
pub const GLOBEX_ID: &str = "a0000000000000000000000000000002";
/// `example.com`, on Pro.
pub const ZONE_COM_ID: &str = "c0000000000000000000000000000001";
/// `example.net`, on Free.
pub const ZONE_NET_ID: &str = "c0000000000000000000000000000002";
/// `example.org`, on Enterprise.
pub const ZONE_ORG_ID: &str = "c0000000000000000000000000000003";
/// The KV namespace `site-cache`.
pub const KV_SITE_ID: &str = "4b000000000000000000000000000001";
/// The KV namespace `billing`, which no Worker but `api` uses.
pub const KV_BILLING_ID: &str = "4b000000000000000000000000000002";
/// The D1 database `site-db`.
pub const D1_ID: &str = "d1000000-0000-4000-8000-000000000001";
/// The queue `jobs`.
pub const QUEUE_ID: &str = "51000000000000000000000000000001";

/// The user's id.
pub(crate) const USER_ID: &str = "e0000000000000000000000000000001";
/// The id of [`TOKEN`].
pub(crate) const TOKEN_ID: &str = "f0000000000000000000000000000001";

/// 2026-01-01T00:00:00Z, when everything seeded was made.
pub(crate) const SEEDED_AT: Now = Now(1_767_225_600_000_000);

const ZONES: [(&str, &str, Plan); 3] = [
    (ZONE_COM_ID, "example.com", Plan::Pro),
    (ZONE_NET_ID, "example.net", Plan::Free),
    (ZONE_ORG_ID, "example.org", Plan::Enterprise),
];

/// The seeded world.
pub(crate) fn world() -> World {
    let mut world = World::default();
    for (id, name, membership_id) in [
        (ACME_ID, "Acme", "b0000000000000000000000000000001"),
        (GLOBEX_ID, "Globex", "b0000000000000000000000000000002"),
    ] {
        world.accounts.push(Account {
            id: id.to_owned(),
            name: name.to_owned(),
            membership_id: membership_id.to_owned(),
            created_on: SEEDED_AT.rfc3339(),
        });
    }
    for (index, (id, name, plan)) in (1_usize..).zip(ZONES) {
        let mut zone = Zone::new(NewZone {
            id: id.to_owned(),
            name: name.to_owned(),
            account_id: ACME_ID.to_owned(),
            account_name: "Acme".to_owned(),
            plan,
            kind: "full".to_owned(),
            active: true,
            created: SEEDED_AT,
        });
        let records = if name == "example.com" {
            common_records(name)
                .into_iter()
                .chain(rare_records(name))
                .collect()
        } else {
            common_records(name)
        };
        seed_records(&mut zone, &records, index);
        world.zones.put(zone);
    }
    seed_products::seed(&mut world);
    workers::seed(&mut world);
    world.github = GitHub::seeded();
    world
}

/// What `GET /__sim/state` answers.
pub(crate) fn state(world: &World) -> Value {
    let mut state = json!({
        "token": TOKEN,
        "legacy": {"email": EMAIL, "key": KEY},
        "access": {"aud": ACCESS_AUD},
        "github": {"token": GITHUB_TOKEN, "repositories": world.github.names()},
        "accounts": world.accounts.iter().map(|a| json!({"id": a.id, "name": a.name})).collect::<Vec<_>>(),
        "zones": world.zones.iter().map(|z| json!({
            "id": z.id, "name": z.name, "plan": z.plan.legacy_id(), "account_id": z.account_id,
        })).collect::<Vec<_>>(),
    });
    seed_products::state(world, &mut state);
    workers::state(world, &mut state);
    state
}

/// Records that every seeded zone has.
fn common_records(zone: &str) -> Vec<Value> {
    vec![
        json!({"type": "A", "name": zone, "content": "192.0.2.10", "proxied": true}),
        json!({"type": "AAAA", "name": zone, "content": "2001:db8::10", "proxied": true}),
        json!({"type": "CNAME", "name": "www", "content": zone, "proxied": true}),
        json!({"type": "A", "name": "api", "content": "192.0.2.20", "ttl": 300, "comment": "public API", "tags": ["team:platform", "env:prod"]}),
        json!({"type": "A", "name": "home", "content": "198.51.100.7", "ttl": 120, "comment": "dynamic"}),
        json!({"type": "CNAME", "name": "docs", "content": "hosting.example.edu", "ttl": 300}),
        json!({"type": "MX", "name": zone, "content": "mail1.example.net", "priority": 10, "ttl": 3600}),
        json!({"type": "MX", "name": zone, "content": "mail2.example.net", "priority": 20, "ttl": 3600}),
        json!({"type": "TXT", "name": zone, "content": "\"v=spf1 include:_spf.example.net ~all\"", "ttl": 3600}),
        json!({"type": "TXT", "name": "_dmarc", "content": "\"v=DMARC1; p=reject\"", "ttl": 3600}),
        json!({"type": "NS", "name": "lab", "content": "ns1.example.net", "ttl": 86400}),
        json!({"type": "SRV", "name": "_sip._tcp", "ttl": 300, "data": {"priority": 10, "weight": 5, "port": 5060, "target": format!("sip.{zone}")}}),
        json!({"type": "CAA", "name": zone, "ttl": 3600, "data": {"flags": 0, "tag": "issue", "value": "letsencrypt.org"}}),
    ]
}

/// One record of each remaining type.
fn rare_records(zone: &str) -> Vec<Value> {
    vec![
        json!({"type": "HTTPS", "name": "svc", "data": {"priority": 1, "target": ".", "value": "alpn=\"h3,h2\""}}),
        json!({"type": "SVCB", "name": "_dns", "data": {"priority": 1, "target": format!("doh.{zone}."), "value": "alpn=\"h2\""}}),
        json!({"type": "TLSA", "name": "_443._tcp", "data": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": "0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3"}}),
        json!({"type": "SSHFP", "name": "home", "data": {"algorithm": 4, "type": 2, "fingerprint": "123456789abcdef67890123456789abcdef67890123456789abcdef123456789"}}),
        json!({"type": "NAPTR", "name": "enum", "data": {"order": 100, "preference": 10, "flags": "S", "service": "SIP+D2U", "regex": "", "replacement": "_sip._udp.example.com"}}),
        json!({"type": "LOC", "name": "office", "data": {
            "lat_degrees": 51, "lat_minutes": 30, "lat_seconds": 12.748, "lat_direction": "N",
            "long_degrees": 0, "long_minutes": 7, "long_seconds": 39.612, "long_direction": "W",
            "altitude": 10, "size": 1, "precision_horz": 100, "precision_vert": 10}}),
        json!({"type": "PTR", "name": "10.ptr", "content": format!("host.{zone}")}),
        json!({"type": "URI", "name": "_ftp._tcp", "priority": 10, "data": {"weight": 1, "target": "ftp://ftp.example.com/public"}}),
        json!({"type": "NS", "name": "secure", "content": "ns1.example.net"}),
        json!({"type": "DS", "name": "secure", "data": {"key_tag": 60485, "algorithm": 5, "digest_type": 1, "digest": "2bb183af5f22588179a53b0a98631fad1a292118"}}),
        json!({"type": "DNSKEY", "name": "keys", "data": {"flags": 257, "protocol": 3, "algorithm": 13, "public_key": "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="}}),
        json!({"type": "CERT", "name": "cert", "data": {"type": 1, "key_tag": 12179, "algorithm": 3, "certificate": "AQIDBAUGBwg="}}),
        json!({"type": "SMIMEA", "name": "0123._smimecert", "data": {"usage": 3, "selector": 0, "matching_type": 0, "certificate": "0a0b0c0d"}}),
        json!({"type": "OPENPGPKEY", "name": "0123._openpgpkey", "content": "mQENBFVHm5sBCADKqDd+oYH0"}),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seeded_record_passes_the_simulators_own_validation() {
        let world = world();
        let count = |id| world.zones.get(id).unwrap().records.iter().count();
        let common = common_records("example.com").len();
        assert_eq!(
            count(ZONE_COM_ID),
            common + rare_records("example.com").len()
        );
        assert_eq!(count(ZONE_NET_ID), common);
        assert_eq!(count(ZONE_ORG_ID), common);
    }

    #[test]
    fn the_pro_zone_holds_every_record_type() {
        let world = world();
        let records = &world.zones.get(ZONE_COM_ID).unwrap().records;
        let mut kinds: Vec<&str> = records.iter().map(|r| r.draft.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 21);
    }
}
