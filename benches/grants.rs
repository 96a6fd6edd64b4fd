//! Configurations of any size, for the benchmarks of the policy, native and in wasm.

use std::fmt::Write as _;
use std::hint::black_box;

use zonekeeper::catalog::{self, Method};
use zonekeeper::config::document::Document;
use zonekeeper::config::{Resolution, ZoneRef};
use zonekeeper::model::{RecordName, Timestamp, ZoneId};
use zonekeeper::policy::{
    Facts, Moment, Policy, PrincipalId, RecordFacts, Request, Resource, Target, compile,
};

/// One shape of a configuration.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// What it is called in the table.
    pub(crate) title: &'static str,
    grant: fn(usize) -> String,
    is_shared: bool,
    has_record: bool,
}

/// Every shape that is measured.
pub(crate) const SHAPES: [Shape; 5] = [
    Shape {
        title: "a principal and a zone for each grant",
        grant: scattered,
        is_shared: false,
        has_record: false,
    },
    Shape {
        title: "one principal, every zone, one group",
        grant: |_| grant("holder", "*", "DNS Write", ""),
        is_shared: true,
        has_record: false,
    },
    Shape {
        title: "one principal, a zone for each grant",
        grant: |n| grant("holder", &zone(n), "DNS Write", ""),
        is_shared: true,
        has_record: false,
    },
    Shape {
        title: "one principal, every zone, all groups",
        grant: every_group,
        is_shared: true,
        has_record: false,
    },
    Shape {
        title: "one principal, a record name for each grant",
        grant: named_record,
        is_shared: true,
        has_record: true,
    },
];

/// What is compiled.
pub(crate) struct Source {
    document: Document,
    resolution: Resolution,
}

impl Source {
    /// `size` grants of `shape`.
    pub(crate) fn new(shape: Shape, size: usize) -> Self {
        Self {
            document: document(size, shape.grant),
            resolution: resolution(size),
        }
    }

    /// Compiles it.
    pub(crate) fn compile(&self) -> Option<Policy> {
        compile(black_box(&self.document), &self.resolution).ok()
    }
}

/// A policy and one call: that of the middle grant's principal.
pub(crate) struct Subject {
    policy: Policy,
    principal: PrincipalId,
    path: String,
    zone: ZoneId,
    records: Vec<RecordFacts>,
}

impl Subject {
    /// The middle grant of `size`; `None` when the configuration does not compile.
    pub(crate) fn new(shape: Shape, size: usize) -> Option<Self> {
        let policy = Source::new(shape, size).compile()?;
        let middle = size / 2;
        let principal = policy.principal(&if shape.is_shared {
            "holder".to_owned()
        } else {
            holder(middle)
        })?;
        let zone = zone_id(middle);
        let records = if shape.has_record {
            let name = RecordName::canonical(&format!("host-{middle}"), "example.com").ok()?;
            vec![RecordFacts {
                name,
                kind: "A".to_owned(),
                content: Some("192.0.2.1".to_owned()),
                proxied: None,
            }]
        } else {
            Vec::new()
        };
        Some(Self {
            policy,
            principal,
            path: format!("/zones/{zone}/dns_records"),
            zone: zone.parse().ok()?,
            records,
        })
    }

    /// Resolves and decides the call once.
    pub(crate) fn decide(&self) -> bool {
        let Some(resolved) = catalog::resolve(Method::Post, black_box(&self.path)) else {
            return false;
        };
        let request = Request {
            principal: self.principal,
            target: Target::Operation(resolved.operation),
            resources: &[Resource::Zone(self.zone)],
            facts: if self.records.is_empty() {
                Facts::Unread
            } else {
                Facts::Records(&self.records)
            },
            is_own: false,
            moment: Moment::at(Timestamp::from_unix_ms(0)),
        };
        self.policy.decide(black_box(&request)).is_allowed()
    }
}

/// Zones that grants may name.
const ZONES: usize = 10_000;

fn zone(number: usize) -> String {
    format!("zone-{}.example", number % ZONES)
}

fn zone_id(number: usize) -> String {
    format!("{:032x}", number % ZONES + 1)
}

fn holder(number: usize) -> String {
    format!("holder-{number}")
}

fn grant(principal: &str, zone: &str, permission: &str, more: &str) -> String {
    format!(
        "principals = ['{principal}']\neffect = 'allow'\npermissions = ['{permission}']\nzones = ['{zone}']\n{more}"
    )
}

fn scattered(number: usize) -> String {
    grant(&holder(number), &zone(number), "DNS Write", "")
}

fn every_group(number: usize) -> String {
    let groups = catalog::groups().count();
    let group = catalog::groups()
        .nth(number % groups)
        .map_or("", catalog::group_name);
    // The group that is asked for is held in any case.
    let group = if number == 0 || group.contains('\'') {
        "DNS Write"
    } else {
        group
    };
    grant("holder", "*", group, "")
}

fn named_record(number: usize) -> String {
    grant(
        "holder",
        "*",
        "DNS Write",
        &format!("dns = {{ names = ['host-{number}.example.com'] }}"),
    )
}

fn document(size: usize, grant: fn(usize) -> String) -> Document {
    let mut text = String::from("[[principals]]\nname = 'holder'\nkind = 'key'\n");
    for number in 0..size {
        let _ = write!(
            text,
            "[[principals]]\nname = '{}'\nkind = 'key'\n",
            holder(number)
        );
    }
    for number in 0..size {
        let _ = writeln!(
            text,
            "[[grants]]\nname = 'grant-{number}'\n{}",
            grant(number)
        );
    }
    toml::from_str(&text).unwrap_or_default()
}

/// As many zones as there are grants.
fn resolution(zones: usize) -> Resolution {
    let mut resolution = Resolution::default();
    for number in 0..zones {
        let (Ok(id), Ok(account)) = (zone_id(number).parse(), zone_id(0).parse()) else {
            continue;
        };
        let name = zone(number);
        resolution
            .zones
            .insert(name.clone(), ZoneRef { id, name, account });
    }
    resolution
}
