//! Configurations of any size, for the benchmarks of the policy, native and in wasm.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use zonekeeper::catalog::{self, Method};
use zonekeeper::config::document::Document;
use zonekeeper::config::{Resolution, ZoneRef};
use zonekeeper::cron::TimeZones;
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
pub(crate) const SHAPES: [Shape; 9] = [
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
    Shape {
        title: "all conditions: a principal and a zone for each",
        grant: |n| limited(&holder(n), &zone(n), &format!("'host-{n}.*.com', '**.net'")),
        is_shared: false,
        has_record: true,
    },
    Shape {
        title: "all conditions: one principal, a zone for each",
        grant: |n| limited("holder", &zone(n), &format!("'host-{n}.*.com', '**.net'")),
        is_shared: true,
        has_record: true,
    },
    Shape {
        title: "all conditions: one principal, a name for each",
        grant: |n| limited("holder", "*", &format!("'host-{n}.example.com'")),
        is_shared: true,
        has_record: true,
    },
    Shape {
        title: "all conditions, one a grant: one principal",
        grant: one_kind,
        is_shared: true,
        has_record: true,
    },
];

/// What is compiled.
pub(crate) struct Source {
    shape: Shape,
    size: usize,
    document: Rc<Document>,
    resolution: Rc<Resolution>,
}

impl Source {
    /// `size` grants of `shape`.
    pub(crate) fn new(shape: Shape, size: usize) -> Self {
        Self {
            shape,
            size,
            document: Rc::new(document(size, shape.grant)),
            resolution: Rc::new(resolution(size)),
        }
    }

    /// Compiles it and decides the first call.
    pub(crate) fn start(&self) -> bool {
        Subject::new(self).is_some_and(|subject| subject.decide())
    }

    /// Compiles it with every condition, as before it is stored.
    pub(crate) fn check(&self) -> bool {
        let policy = compile(black_box(&self.document), &self.resolution);
        policy.is_ok_and(|policy| policy.check_conditions().is_ok())
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
    /// The middle grant; `None` when the configuration does not compile.
    pub(crate) fn new(source: &Source) -> Option<Self> {
        let Source { shape, size, .. } = *source;
        let policy = compile(black_box(&source.document), &source.resolution).ok()?;
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
            moment: Moment {
                source_ip: Some(CALLER),
                zones: &Winter,
                ..Moment::at(MONDAY_NOON)
            },
        };
        self.policy.decide(black_box(&request)).is_allowed()
    }
}

/// When and from where the call comes: 2 November 2026, 12:00 UTC.
const MONDAY_NOON: Timestamp = Timestamp::from_unix_ms(1_793_620_800_000);
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// An hour east of UTC everywhere.
#[derive(Debug)]
struct Winter;

impl TimeZones for Winter {
    fn utc_offset_secs(&self, _zone: &str, _at: Timestamp) -> Option<i32> {
        Some(3_600)
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

/// What limits every call.
const LIMITS: &str = "source_ips = ['198.51.100.0/24', '2001:db8::/32', '192.0.2.0/24']\n\
     not_before = '2026-11-01T00:00:00Z'\nnot_after = '2026-12-01T00:00:00Z'\nper_minute = 60\n\
     hours = { days = ['mon', 'tue'], from = '08:00', until = '18:00', timezone = 'Europe/Berlin' }\n";

/// A permission with the condition of its product, one for each; `{}` is the number of the grant.
const KINDS: [(&str, &str); 9] = [
    (
        "Cache Purge",
        "purge = { prefixes = ['example.com/{}/'], tags = ['{}'] }",
    ),
    (
        "Workers Scripts Write",
        "workers = { scripts = ['{}'], bindings = ['plain_text'], routes = ['example.com/{}/*'] }",
    ),
    ("Zone Settings Write", "settings = { ids = ['{}'] }"),
    ("Zone WAF Write", "rulesets = { phases = ['{}'] }"),
    ("Account Rule Lists Write", "lists = { ids = ['{}'] }"),
    // Every size of the table has one of these in its middle.
    (
        "DNS Write",
        "dns = { names = ['host-{}.example.com'], types = ['A'], contents = ['192.0.2.0/24'] }",
    ),
    (
        "Workers KV Storage Write",
        "kv = { namespaces = ['{}'], keys = ['a*'] }",
    ),
    ("Workers R2 Storage Write", "r2 = { buckets = ['{}'] }"),
    ("Analytics Read", "graphql = { datasets = ['{}'] }"),
];

/// A grant with every condition there is, all of which hold for the record that is asked for.
fn limited(principal: &str, zone: &str, names: &str) -> String {
    let products = KINDS.iter().filter(|(name, _)| *name != "DNS Write");
    let products = products.fold(String::new(), |text, (_, more)| text + more + "\n");
    let dns = format!(
        "dns = {{ names = [{names}], types = ['A', 'AAAA'], contents = ['192.0.2.0/24'], \
         proxied = false, max_changes = 3 }}\nmax_uses = 9\nmax_deletes_per_hour = 9\n"
    );
    grant(
        principal,
        zone,
        "DNS Write",
        &(dns + LIMITS + &products.replace("{}", "0")),
    )
}

/// A grant with the condition of one product and, every second one, all that limits every call.
fn one_kind(number: usize) -> String {
    let (permission, more) = KINDS.get(number % KINDS.len()).copied().unwrap_or_default();
    let more = more.replace("{}", &number.to_string());
    let limits = if number.is_multiple_of(2) { LIMITS } else { "" };
    grant(
        "holder",
        "*",
        permission,
        &format!("accounts = ['*']\n{more}\n{limits}"),
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
    let value = toml::from_str(&text).unwrap_or_default();
    Document::from_json(value).unwrap_or_default()
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
