//! Records of the lab's first zone, and calls about them that must be refused.

use serde_json::{Value, json};
use simulator::ZONE_COM_ID as COM;

use super::gate::{Gate, Got};

/// The path of a zone's records.
pub(crate) fn records(zone: &str) -> String {
    format!("/zones/{zone}/dns_records")
}

/// Makes a record past the gateway: its id.
pub(crate) fn made(gate: &Gate, record: &Value) -> String {
    let made = gate.by_hand(&format!("POST {}", records(COM)), record);
    made["id"].as_str().unwrap().to_owned()
}

/// A record that proves something to a certificate authority.
pub(crate) fn challenge(label: &str) -> Value {
    json!({"type": "TXT", "name": format!("_acme-challenge.{label}.example.com"), "content": format!("\"{label}\""), "ttl": 60})
}

/// An address.
pub(crate) fn a(name: &str, content: &str) -> Value {
    json!({"type": "A", "name": name, "content": content, "ttl": 300})
}

/// The call is refused as denied, and nothing is sent but look-ups.
#[track_caller]
pub(crate) fn check_denied(gate: &Gate, principal: &str, line: &str, body: &Value) -> Got {
    let zone = || gate.harness.records(COM);
    let (before, sent) = (zone(), gate.writes());
    let got = gate.call(principal, line, body);
    assert_eq!(got.refused(), (403, 20020), "{line} {body}: {}", got.text);
    assert_eq!(gate.writes(), sent, "{line} {body}");
    assert_eq!(zone(), before);
    let entry = gate.last_entry();
    assert_eq!((entry.decision.as_str(), entry.status), ("deny", Some(403)));
    got
}
