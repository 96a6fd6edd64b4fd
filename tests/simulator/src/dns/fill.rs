//! Fills a zone with many records, for tests and measurements of size.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::dns::record::{Draft, Record, Scope};
use crate::seed::SEEDED_AT;
use crate::world::World;
use crate::zones::Plan;

/// Adds `count` records to a zone, beside the rules of the API about how many there may be, as if
/// the seed had held them. Gives how many there are now; `None` when there is no such zone.
///
/// The records depend on nothing but the zone and how many it has ever had: filling two fresh
/// zones of one name and plan gives the same records. Only their ids go on counting.
pub(crate) fn fill(world: &mut World, zone_id: &str, count: usize) -> Option<usize> {
    let mut ids = world.ids.clone();
    let zone = world.zones.get_mut(zone_id)?;
    let (name, plan) = (zone.name.clone(), zone.plan);
    let scope = Scope { zone: &name, plan };
    let first = zone.records.made();
    for number in (first..).take(count) {
        let body = record(number, &name, plan);
        // INVARIANT: every draft is valid, which a test checks for every plan.
        if let Ok(draft) = Draft::read(&body, None, scope) {
            let record = Record::new(ids.next_id(), draft, None, SEEDED_AT);
            zone.records.insert(Arc::new(record));
        }
    }
    let total = zone.records.iter().count();
    world.ids = ids;
    Some(total)
}

/// The body that makes record `number`: 16 shapes in turn, and no two of one name and value.
fn record(number: u64, zone: &str, plan: Plan) -> Map<String, Value> {
    let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
    let (address, six) = (
        format!("10.{a}.{b}.{c}"),
        format!("2001:db8::{:x}", number + 1),
    );
    let host = format!("h{number}");
    // Two records of different types share a name.
    let pair = format!("p{}", number / 2);
    let mut body = match number % 16 {
        0 => json!({"type": "A", "name": pair, "content": address, "ttl": 300}),
        1 => json!({"type": "AAAA", "name": pair, "content": six, "ttl": 300}),
        2 => json!({"type": "A", "name": host, "content": address, "proxied": true}),
        3 => {
            json!({"type": "CNAME", "name": host, "content": format!("h{}.{zone}", number - 1), "proxied": true, "settings": {"flatten_cname": true}})
        }
        4 => {
            json!({"type": "CNAME", "name": host, "content": "hosting.example.edu", "ttl": 120, "settings": {"flatten_cname": false}})
        }
        5 => {
            json!({"type": "TXT", "name": host, "content": format!("\"v=spf1 include:s{number}.example.net ~all\""), "ttl": 3600})
        }
        6 => {
            json!({"type": "TXT", "name": format!("s{}._domainkey", number), "content": long_text(number)})
        }
        // Many records of one name and type.
        7 => {
            json!({"type": "TXT", "name": format!("many{}", number / 160), "content": format!("\"token \\\"{number}\\\"\"")})
        }
        8 => {
            json!({"type": "MX", "name": pair, "content": format!("mx{number}.example.net"), "priority": number % 100, "ttl": 3600})
        }
        9 => {
            json!({"type": "A", "name": pair, "content": address, "settings": {"ipv4_only": true}, "proxied": true})
        }
        10 => {
            json!({"type": "SRV", "name": format!("_sip._tcp.{host}"), "data": {"priority": 10, "weight": number % 100, "port": 5060, "target": format!("sip{number}.example.net")}})
        }
        11 => {
            json!({"type": "CAA", "name": host, "data": {"flags": 0, "tag": "issue", "value": format!("ca{number}.example.net")}, "ttl": 86_400})
        }
        12 => {
            json!({"type": "HTTPS", "name": host, "data": {"priority": 1, "target": ".", "value": "alpn=\"h3,h2\""}})
        }
        13 => {
            json!({"type": "NS", "name": format!("d{number}"), "content": format!("ns{}.example.net", number % 7), "ttl": 86_400})
        }
        14 => json!({"type": "A", "name": format!("*.{host}"), "content": address, "ttl": 60}),
        _ => json!({"type": "PTR", "name": host, "content": format!("h{number}.example.net")}),
    };
    if let Some(body) = body.as_object_mut() {
        if number.is_multiple_of(3) {
            body.insert(
                "comment".to_owned(),
                format!("no. {number}, \u{fc}ber \"alles\"; ok").into(),
            );
        }
        // Tags come with the paid plans (hypothesis; the seed has them everywhere).
        if plan != Plan::Free && number.is_multiple_of(5) {
            let tags = json!([format!("team:{}", number % 11), "managed"]);
            body.insert("tags".to_owned(), tags);
        }
        return std::mem::take(body);
    }
    Map::new()
}

/// A text of several strings, as keys for signing mail are.
fn long_text(number: u64) -> String {
    let part = format!("{number:016x}").repeat(14);
    format!("\"v=DKIM1; k=rsa; p={part}\" \"{part}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{self, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};

    #[test]
    fn every_record_is_made_on_every_plan_and_breaks_no_rule() {
        for id in [ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID] {
            let mut world = seed::world();
            let before = world.zones.get(id).unwrap().records.iter().count();
            assert_eq!(fill(&mut world, id, 320), Some(before + 320));
            let zone = world.zones.get(id).unwrap();
            // The rules between records hold when they are made one by one as well.
            let mut checked = crate::dns::ZoneRecords::new(&zone.name);
            for record in zone.records.iter() {
                checked
                    .create(record.draft.clone(), &mut world.ids, SEEDED_AT)
                    .unwrap_or_else(|error| panic!("{}: {}", record.json, error.message));
            }
        }
    }

    #[test]
    fn filling_twice_goes_on_and_an_unknown_zone_stays_unknown() {
        let mut once = seed::world();
        let mut twice = seed::world();
        fill(&mut once, ZONE_ORG_ID, 100);
        fill(&mut twice, ZONE_ORG_ID, 40);
        fill(&mut twice, ZONE_ORG_ID, 60);
        let list = |world: &World| -> Vec<String> {
            let zone = world.zones.get(ZONE_ORG_ID).unwrap();
            zone.records.iter().map(|r| r.json.clone()).collect()
        };
        assert_eq!(list(&once), list(&twice));
        assert_eq!(fill(&mut once, seed::ACME_ID, 1), None);
    }
}
