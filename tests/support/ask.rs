//! A small world of zones and accounts, and one call put to the policy and to the reference.

use std::rc::Rc;
use std::sync::OnceLock;

use zonekeeper::catalog;
use zonekeeper::config::document::{Document, Effect};
use zonekeeper::config::{AccountRef, Resolution, ZoneRef};
use zonekeeper::model::Timestamp;
use zonekeeper::policy::{
    Decision, Facts, GrantId, Moment, Policy, PrincipalId, PurgeFacts, RecordFacts, Request,
    Resource, Target, Thing, WorkerFacts, WorkerPart, compile,
};

use super::reference::{Answer, Call, Known, Part, Place, Purged, Record, Reference, What};
use super::timezones::ChronoZones;

/// Zones by name. Of `example.edu` no configuration knows.
pub(crate) const ZONES: [(&str, &str); 4] = [
    ("example.com", "00000000000000000000000000000c01"),
    ("example.net", "00000000000000000000000000000e02"),
    ("example.org", "00000000000000000000000000000f03"),
    ("example.edu", "00000000000000000000000000000d04"),
];

/// Accounts by name. Of `Stranger` no configuration knows.
pub(crate) const ACCOUNTS: [(&str, &str); 3] = [
    ("Acme", "000000000000000000000000000000a1"),
    ("Other", "000000000000000000000000000000a2"),
    ("Stranger", "000000000000000000000000000000a3"),
];

/// Titles of resources with the account that has each and its id there.
pub(crate) const TITLES: [(&str, &str, &str); 4] = [
    ("kv_namespace:site-cache", "Acme", "kv-of-acme"),
    ("kv_namespace:site-cache", "Other", "kv-of-other"),
    ("kv_namespace:other-cache", "Other", "kv-of-other-2"),
    ("d1:production", "Acme", "d1-of-acme"),
];

/// What the names of any document stand for.
pub(crate) fn resolution() -> Resolution {
    let mut resolution = Resolution::default();
    for (name, id) in ZONES.into_iter().filter(|(name, _)| *name != "example.edu") {
        let zone = ZoneRef {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            account: ACCOUNTS[0].1.parse().unwrap(),
        };
        resolution.zones.insert(name.to_owned(), zone);
    }
    for (name, id) in ACCOUNTS.into_iter().filter(|(name, _)| *name != "Stranger") {
        let account = AccountRef {
            id: id.parse().unwrap(),
            name: name.to_owned(),
        };
        resolution.accounts.insert(name.to_owned(), account);
    }
    for (title, account, id) in TITLES {
        let (_, account) = ACCOUNTS.iter().find(|(name, _)| *name == account).unwrap();
        let ids = resolution.resources.entry(title.to_owned()).or_default();
        ids.insert((*account).to_owned(), id.to_owned());
    }
    resolution
}

/// Puts the call to the policy.
pub(crate) fn put<R>(policy: &Policy, call: &Call, judge: impl FnOnce(&Request<'_>) -> R) -> R {
    let facts = OwnedFacts::of(&call.known);
    let resources: Vec<Resource> = call.places.iter().map(resource).collect();
    let (outsider, ids) = ids();
    let is_used_up = |id: &GrantId| {
        call.used_up
            .iter()
            .any(|name| name == policy.grant_name(*id))
    };
    let used_up: Vec<GrantId> = ids.iter().copied().filter(is_used_up).collect();
    judge(&Request {
        principal: policy.principal(&call.who).unwrap_or(*outsider),
        target: match &call.what {
            What::Operation(operation) => Target::Operation(*operation),
            What::Unknown { method, path } => Target::Unknown {
                method: *method,
                path,
            },
        },
        resources: &resources,
        facts: facts.facts(),
        is_own: call.is_own,
        moment: Moment {
            source_ip: call.from,
            zones: &ChronoZones,
            used_up: &used_up,
            ..Moment::at(call.at)
        },
    })
}

/// Whether the policy's decision is one that the reference's answer leaves open.
pub(crate) fn agree(policy: &Policy, decision: Decision, answer: &Answer) -> bool {
    decision.effect == answer.effect
        && match decision.grant {
            Some(grant) => answer.by.contains(policy.grant_name(grant)),
            None => answer.by.is_empty(),
        }
}

/// The first zone or account that policy and reference do not both show, or hide, in a list.
pub(crate) fn hidden_alike(
    document: &Document,
    resolution: &Resolution,
    policy: &Policy,
    who: &str,
    at: Timestamp,
) -> Option<String> {
    let reference = Reference {
        document,
        resolution,
    };
    let call = |template: &str| Call {
        who: who.to_owned(),
        what: What::Operation(catalog::operation_named(template).unwrap()),
        places: Vec::new(),
        known: Known::Nothing,
        is_own: false,
        at,
        from: None,
        used_up: Vec::new(),
    };
    put(policy, &call("GET /zones"), |request| {
        let zones = policy.visible_zones(request.principal, &request.moment);
        let one = call("GET /zones/{zone_id}");
        let wrong = ZONES.iter().find(|(_, id)| {
            let id = id.parse().unwrap();
            zones.sees(&id) != reference.shows(&one, Place::Zone(id))
        });
        let accounts = policy.visible_accounts(request.principal, &request.moment);
        let one = call("GET /accounts/{account_id}");
        let wrong = wrong.or(ACCOUNTS.iter().find(|(_, id)| {
            let id = id.parse().unwrap();
            accounts.sees(&id) != reference.shows(&one, Place::Account(id))
        }));
        wrong.map(|(name, _)| (*name).to_owned())
    })
}

/// `allow by site-deploy`
pub(crate) fn shown(effect: Effect, by: &str) -> String {
    let effect = match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
        Effect::Approve => "approve",
    };
    match by {
        "" => effect.to_owned(),
        by => format!("{effect} by {by}"),
    }
}

/// A principal that is in no configuration of a test, and the ids of the grants at each position.
/// Only a policy makes ids, so they come from one that has more of both than any test.
fn ids() -> &'static (PrincipalId, Vec<GrantId>) {
    static IDS: OnceLock<(PrincipalId, Vec<GrantId>)> = OnceLock::new();
    IDS.get_or_init(|| {
        let many = (10..99).map(|number| {
            format!(
                "[[principals]]\nname = 'p{number}'\nkind = 'key'\n\
                 [[grants]]\nname = 'g{number}'\nprincipals = ['p{number}']\n\
                 effect = 'allow'\npermissions = ['DNS Read']\nzones = ['*']\n"
            )
        });
        let many: String = many.collect::<Vec<_>>().concat();
        let many = Document::from_json(toml::from_str(&many).unwrap()).unwrap();
        let policy = compile(&Rc::new(many), &Rc::default()).unwrap();
        let principals = (10..99).map(|number| policy.principal(&format!("p{number}")).unwrap());
        let zone = [Resource::Zone(ZONES[0].1.parse().unwrap())];
        let operation = catalog::operation_named("GET /zones/{zone_id}/dns_records").unwrap();
        let decided = principals.clone().map(|principal| {
            policy.decide(&Request {
                principal,
                target: Target::Operation(operation),
                resources: &zone,
                facts: Facts::Unread,
                is_own: false,
                moment: Moment::at(Timestamp::from_unix_ms(0)),
            })
        });
        let grants = decided.map(|decision| decision.grant.unwrap()).collect();
        (principals.max().unwrap(), grants)
    })
}

fn resource(place: &Place) -> Resource {
    match place {
        Place::Zone(id) => Resource::Zone(*id),
        Place::Account(id) => Resource::Account(*id),
    }
}

enum OwnedFacts {
    Unread,
    Records(Vec<RecordFacts>, usize),
    Purge(PurgeFacts),
    Things(Vec<Thing>),
    Worker(WorkerFacts),
}

impl OwnedFacts {
    fn of(known: &Known) -> Self {
        match known {
            Known::Nothing => Self::Unread,
            Known::Records { records, changes } => {
                Self::Records(records.iter().map(record).collect(), *changes)
            }
            Known::Purge(purged) => {
                let mut facts = PurgeFacts::default();
                for item in purged.iter().cloned() {
                    match item {
                        Purged::Everything => facts.everything = true,
                        Purged::File(text) => facts.files.push(text),
                        Purged::Prefix(text) => facts.prefixes.push(text),
                        Purged::Host(text) => facts.hosts.push(text),
                        Purged::Tag(text) => facts.tags.push(text),
                    }
                }
                Self::Purge(facts)
            }
            Known::Things(things) => {
                let things = things.iter().map(|thing| Thing {
                    family: thing.family,
                    name: thing.name.clone(),
                    key: thing.key.clone(),
                });
                Self::Things(things.collect())
            }
            Known::Worker { script, parts } => Self::Worker(WorkerFacts {
                script: script.clone(),
                parts: parts.iter().cloned().map(part).collect(),
            }),
        }
    }

    fn facts(&self) -> Facts<'_> {
        match self {
            Self::Unread => Facts::Unread,
            Self::Records(records, changes) if *changes == records.len() => Facts::Records(records),
            Self::Records(records, changes) => Facts::Changes {
                records,
                changes: *changes,
            },
            Self::Purge(facts) => Facts::Purge(facts),
            Self::Things(things) => Facts::Things(things),
            Self::Worker(worker) => Facts::Worker(worker),
        }
    }
}

fn record(record: &Record) -> RecordFacts {
    RecordFacts {
        name: record.name.clone(),
        kind: record.kind.clone(),
        content: record.content.clone(),
        proxied: record.proxied,
    }
}

fn part(part: Part) -> WorkerPart {
    match part {
        Part::Script => WorkerPart::Script,
        Part::Binding { kind, resource } => WorkerPart::Binding { kind, resource },
        Part::Route(pattern) => WorkerPart::Route { pattern },
        Part::Module(digest) => WorkerPart::Module { digest },
        Part::Keep => WorkerPart::Keep,
        Part::Inherit => WorkerPart::Inherit,
        Part::FullDeploy => WorkerPart::FullDeploy,
    }
}
