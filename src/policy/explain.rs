//! Decisions in words: who may not do what, which rule decided or came closest, what is needed.
//!
//! Nothing here is on the way of a call that passes. Text of the caller is shown without control
//! characters and braces, shortened.

use std::fmt::Write as _;

use crate::catalog::{self, BodyClass, Judged, Method, Operation, Scope};
use crate::config::document::Effect;

use super::failure::{
    condition_key, describe_bound, describe_failure, describe_part, describe_thing, distance, list,
    quoted,
};
use super::grant::{Families, Grant, Item, Verdict, Via, Why};
use super::index::{Block, Entry, ScopeKey, What};
use super::purge::PurgeItem;
use super::template::scope_of;
use super::workers::Right;
use super::{
    Decision, Facts, GrantId, Policy, PurgeFacts, Reason, RecordFacts, Request, Resource, Target,
    Thing, WorkerFacts, WorkerPart,
};

impl Policy {
    /// The decision in one sentence, as an operator can act on it.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>, decision: &Decision) -> String {
        let who = self.principal_name(request.principal);
        let culprit = self.culprit(request);
        let what = self.describe(request, culprit);
        let grant = decision.grant.map_or("", |id| self.grant_name(id));
        let needed = self.needed(request, culprit);
        match decision.reason {
            Reason::Granted => format!("{who} may {what}: the grant {grant} allows it"),
            Reason::Visible if grant.is_empty() => {
                format!("{who} may {what}: everybody may, and is shown what their grants reach")
            }
            Reason::Visible => format!(
                "{who} may {what}: the grant {grant} allows something there, so it may be seen"
            ),
            Reason::ApprovalRequired => format!(
                "{who} may {what} only once somebody approves it: the grant {grant} asks for that; \
                 an approval is needed"
            ),
            Reason::ApprovalUnjudged => format!(
                "{who} may {what} only once somebody approves it: {}, so the grant {grant} asks; \
                 an approval is needed",
                self.why_unjudged(request, decision.grant, culprit)
            ),
            Reason::DeniedByGrant => format!(
                "{who} may not {what}: the grant {grant} denies it, whatever else allows it; \
                 that grant would have to leave it out"
            ),
            Reason::DenyUnjudged => format!(
                "{who} may not {what}: {}, so the grant {grant} denies it; \
                 that grant would have to leave it out",
                self.why_unjudged(request, decision.grant, culprit)
            ),
            Reason::NoResource => format!(
                "{who} may not {what}: the call does not name {}; a call that names it is needed",
                match scope(request.target) {
                    Scope::Account => "the account it is about",
                    _ => "the zone it is about",
                }
            ),
            Reason::UnknownPrincipal => {
                "the caller is not declared in the configuration; a principal is needed".to_owned()
            }
            Reason::Escalation => format!(
                "{who} may not {what}: it can widen the rights of its caller, so no permission \
                 group reaches it; {needed}"
            ),
            Reason::NamedOnly => {
                format!("{who} may not {what}: no permission group reaches it; {needed}")
            }
            Reason::UnknownOperation => {
                format!("{who} may not {what}: it is not an operation of the catalogue; {needed}")
            }
            Reason::NotGranted | Reason::Unjudged => {
                format!(
                    "{who} may not {what}: {}; {needed}",
                    self.closest(request, culprit)
                )
            }
        }
    }

    /// The first part of the call that alone gets the decision of the whole.
    fn culprit<'a>(&self, request: &Request<'a>) -> Culprit<'a> {
        let whole = self.decide(request);
        let mut culprit = Culprit {
            resource: request.resources.first().copied(),
            record: None,
            purge: None,
            thing: None,
            part: None,
        };
        let records = records_of(request.facts);
        for resource in request.resources {
            let resources = std::slice::from_ref(resource);
            let alone = Request {
                resources,
                ..*request
            };
            let decision = self.decide(&alone);
            if decision == whole && decision.reason != Reason::NoResource {
                culprit.resource = Some(*resource);
                break;
            }
        }
        culprit.record = records
            .iter()
            .find(|record| {
                let facts = Facts::Changes {
                    records: std::slice::from_ref(record),
                    changes: changes_of(request.facts),
                };
                self.decide(&Request { facts, ..*request }) == whole
            })
            .or(records.first());
        match request.facts {
            Facts::Purge(facts) => culprit.purge = Some(facts),
            Facts::Things(things) => {
                let alone = |thing: &&Thing| {
                    let facts = Facts::Things(std::slice::from_ref(*thing));
                    self.decide(&Request { facts, ..*request }) == whole
                };
                culprit.thing = things.iter().find(alone).or(things.first());
            }
            Facts::Worker(worker) => {
                let alone = |part: &&WorkerPart| {
                    let facts = WorkerFacts {
                        script: worker.script.clone(),
                        parts: vec![(*part).clone()],
                    };
                    let facts = Facts::Worker(&facts);
                    self.decide(&Request { facts, ..*request }) == whole
                };
                let part = worker.parts.iter().find(alone).or(worker.parts.first());
                culprit.part = part.map(|part| (&*worker.script, part));
            }
            Facts::Unread | Facts::Records(_) | Facts::Changes { .. } => {}
        }
        culprit
    }

    /// What was asked, with the operation's name.
    fn describe(&self, request: &Request<'_>, culprit: Culprit<'_>) -> String {
        let place = self.place_name(culprit.resource);
        match request.target {
            Target::Unknown { method, path } => {
                let place = place.map_or_else(String::new, |place| format!(" in {place}"));
                format!("call {method} {}{place}", quoted(path))
            }
            Target::Operation(operation) => {
                let name = operation.name();
                let mut text = match culprit {
                    Culprit {
                        record: Some(record),
                        ..
                    } => format!(
                        "{} {} record {}",
                        verb(&operation),
                        quoted(&record.kind),
                        record.name
                    ),
                    Culprit {
                        purge: Some(purge), ..
                    } => {
                        format!("purge {}", self.describe_purge(request, purge))
                    }
                    Culprit {
                        part: Some((script, part)),
                        ..
                    } if *part != WorkerPart::Script => describe_part(script, part),
                    Culprit {
                        thing: Some(thing), ..
                    } => format!(
                        "call {} {} on {}",
                        operation.method(),
                        plain(operation.template()),
                        describe_thing(thing)
                    ),
                    Culprit {
                        part: Some((script, _)),
                        ..
                    } => format!(
                        "call {} {} on the Worker {}",
                        operation.method(),
                        plain(operation.template()),
                        quoted(script)
                    ),
                    _ => format!(
                        "call {} {}",
                        operation.method(),
                        plain(operation.template())
                    ),
                };
                if let Some(place) = place {
                    let _ = write!(text, " in {place}");
                }
                // An operation without an id is named by what was just said.
                if !name.contains(' ') {
                    let _ = write!(text, " ({name})");
                }
                text
            }
        }
    }

    fn describe_purge(&self, request: &Request<'_>, facts: &PurgeFacts) -> String {
        let whole = self.decide(request);
        let alone = |facts: &PurgeFacts| {
            self.decide(&Request {
                facts: Facts::Purge(facts),
                ..*request
            }) == whole
        };
        let items = PurgeItem::of(facts);
        let single = |item: &PurgeItem<'_>| {
            let mut one = PurgeFacts::default();
            match item {
                PurgeItem::Everything => one.everything = true,
                PurgeItem::File(text, _) => one.files.push((*text).to_owned()),
                PurgeItem::Prefix(text, _) => one.prefixes.push((*text).to_owned()),
                PurgeItem::Host(text) => one.hosts.push((*text).to_owned()),
                PurgeItem::Tag(text) => one.tags.push((*text).to_owned()),
            }
            one
        };
        match items
            .iter()
            .find(|item| alone(&single(item)))
            .or(items.first())
        {
            None => "nothing".to_owned(),
            Some(PurgeItem::Everything) => "everything".to_owned(),
            Some(PurgeItem::File(text, _)) => format!("the file {}", quoted(text)),
            Some(PurgeItem::Prefix(text, _)) => format!("the prefix {}", quoted(text)),
            Some(PurgeItem::Host(text)) => format!("the host {}", quoted(text)),
            Some(PurgeItem::Tag(text)) => format!("the tag {}", quoted(text)),
        }
    }

    fn place_name(&self, resource: Option<Resource>) -> Option<String> {
        Some(match resource? {
            Resource::Zone(id) => match self.zones.binary_search_by_key(&id, |zone| zone.0) {
                Ok(at) => self.zones.get(at)?.1.to_string(),
                Err(_) => format!("the zone {id}"),
            },
            Resource::Account(id) => match self.accounts.binary_search_by_key(&id, |a| a.0) {
                Ok(at) => format!("the account {}", self.accounts.get(at)?.1),
                Err(_) => format!("the account {id}"),
            },
        })
    }

    /// What would have to be granted.
    fn needed(&self, request: &Request<'_>, culprit: Culprit<'_>) -> String {
        let place = match (
            culprit.record,
            culprit.purge,
            self.place_name(culprit.resource),
        ) {
            (Some(_), _, _) => " for that record".to_owned(),
            (_, Some(purge), Some(place)) if purge.everything => {
                return format!(
                    "a grant of Cache Purge for {place} with purge.everything is needed"
                );
            }
            (_, Some(_), _) => " for that purge".to_owned(),
            _ if let Some((_, WorkerPart::Binding { kind, resource })) = culprit.part => {
                let bound = describe_bound(kind, resource.as_deref());
                return format!("a grant whose workers.bindings name {bound} is needed");
            }
            (_, _, Some(place)) => format!(" for {place}"),
            (_, _, None) => String::new(),
        };
        match request.target {
            Target::Unknown { method, path } => format!(
                "a grant whose operations name {method} {}{place} is needed",
                quoted(path)
            ),
            Target::Operation(operation) => {
                let groups: Vec<_> = operation.groups().iter().map(catalog::group_name).collect();
                let is_named = operation.escalates()
                    || operation.named_only()
                    || operation.body() == BodyClass::Judge(Judged::Unjudgeable)
                    || groups.is_empty();
                if is_named {
                    let name = plain(operation.name());
                    return format!("a grant whose operations name {name}{place} is needed");
                }
                format!("a grant of {}{place} is needed", any_of(&groups))
            }
        }
    }

    /// The grant that came closest, and what kept it from matching.
    fn closest(&self, request: &Request<'_>, culprit: Culprit<'_>) -> String {
        let Some(principal) = self.entry(request.principal) else {
            return String::new();
        };
        let scopes = self.scopes(request.target, culprit.resource);
        let purge = culprit.purge.map(PurgeItem::of).unwrap_or_default();
        let mut other_place: Option<(&Grant, &Block)> = None;
        let mut other_right: Option<&Grant> = None;
        let mut by_condition: Option<(&Grant, Why)> = None;
        let directory = [
            &principal.operations,
            &principal.templates,
            &principal.groups,
        ];
        let blocks = directory
            .into_iter()
            .flat_map(|range| self.index.blocks(range));
        for (block, entry) in blocks.flat_map(|block| {
            self.index
                .entries(block)
                .iter()
                .map(move |entry| (block, entry))
        }) {
            let Some(grant) = self.grants.get(entry.grant as usize) else {
                continue;
            };
            if entry.effect() == Effect::Deny {
                continue;
            }
            match (
                reaches(block, request.target),
                scopes.contains(&entry.scope()),
            ) {
                (true, true) => {
                    let via = via(block, request.target);
                    let right = culprit
                        .part
                        .map_or(Right::Free, |(_, part)| self.right(request, part));
                    let verdicts = items(&purge, culprit, request.facts, right);
                    let failed = verdicts
                        .map(|item| grant.judge(via, item, &request.moment))
                        .find(|verdict| *verdict != Verdict::Holds);
                    if let Some(Verdict::Fails(why) | Verdict::Unjudged(why)) = failed
                        && by_condition.is_none_or(|(_, known)| distance(why) < distance(known))
                    {
                        by_condition = Some((grant, why));
                    }
                }
                (true, false) => {
                    other_place.get_or_insert((grant, block));
                }
                (false, true) => {
                    other_right.get_or_insert(grant);
                }
                (false, false) => {}
            }
        }
        if let Some((grant, why)) = by_condition {
            return describe_failure(grant, why, culprit.record);
        }
        if let Some((grant, block)) = other_place {
            let covered = self.covered(block, grant);
            return format!("the grant {} covers only {covered}", grant.name());
        }
        match (other_right, self.place_name(culprit.resource)) {
            (Some(grant), Some(place)) => {
                format!("the grant {} gives other rights in {place}", grant.name())
            }
            (Some(grant), None) => format!("the grant {} gives other rights", grant.name()),
            (None, Some(place)) => format!("no grant of it reaches {place}"),
            (None, None) => "no grant of it reaches that".to_owned(),
        }
    }

    /// Where a grant reaches with what the block is about.
    fn covered(&self, block: &Block, grant: &Grant) -> String {
        let is_own = |entry: &&Entry| {
            self.grants
                .get(entry.grant as usize)
                .is_some_and(|own| std::ptr::eq(own, grant))
        };
        let mut names: Vec<String> = self
            .index
            .entries(block)
            .iter()
            .filter(is_own)
            .map(|entry| match entry.scope() {
                ScopeKey::ALL_ZONES => "zones".to_owned(),
                ScopeKey::ALL_ACCOUNTS => "accounts".to_owned(),
                scope => {
                    let zone = scope.zone_position().and_then(|at| self.zones.get(at));
                    let account = scope
                        .account_position()
                        .and_then(|at| self.accounts.get(at));
                    match (zone, account) {
                        (Some((_, name)), _) => name.to_string(),
                        (_, Some((_, name))) => format!("the account {name}"),
                        (None, None) => "what lies in no zone and no account".to_owned(),
                    }
                }
            })
            .collect();
        names.dedup();
        list(&names, "and")
    }

    fn scopes(&self, target: Target<'_>, resource: Option<Resource>) -> Vec<ScopeKey> {
        let number = |at: usize| u32::try_from(at).ok();
        match resource {
            Some(Resource::Zone(id)) => {
                let own = self
                    .zones
                    .binary_search_by_key(&id, |zone| zone.0)
                    .ok()
                    .and_then(number);
                own.map(ScopeKey::zone)
                    .into_iter()
                    .chain([ScopeKey::ALL_ZONES])
                    .collect()
            }
            Some(Resource::Account(id)) => {
                let own = self
                    .accounts
                    .binary_search_by_key(&id, |a| a.0)
                    .ok()
                    .and_then(number);
                own.map(ScopeKey::account)
                    .into_iter()
                    .chain([ScopeKey::ALL_ACCOUNTS])
                    .collect()
            }
            None => match scope(target) {
                Scope::User | Scope::Other => vec![ScopeKey::NEITHER],
                Scope::Zone | Scope::Account => Vec::new(),
            },
        }
    }

    /// Why the grant that decided could not be judged.
    fn why_unjudged(
        &self,
        request: &Request<'_>,
        grant: Option<GrantId>,
        culprit: Culprit<'_>,
    ) -> String {
        let found = grant.and_then(|id| {
            let grant = self.grant(id)?;
            let principal = self.entry(request.principal)?;
            let purge = culprit.purge.map(PurgeItem::of).unwrap_or_default();
            let right = culprit
                .part
                .map_or(Right::Free, |(_, part)| self.right(request, part));
            [
                &principal.operations,
                &principal.templates,
                &principal.groups,
            ]
            .into_iter()
            .flat_map(|range| self.index.blocks(range))
            .filter(|block| reaches(block, request.target))
            .flat_map(|block| {
                items(&purge, culprit, request.facts, right)
                    .map(|item| grant.judge(via(block, request.target), item, &request.moment))
            })
            .find_map(|verdict| match verdict {
                Verdict::Unjudged(why) => Some(why),
                Verdict::Holds | Verdict::Fails(_) => None,
            })
        });
        let key = found.map_or("condition", condition_key);
        format!("the call cannot be judged by its {key}")
    }
}

/// The part of a call that an explanation is about.
#[derive(Clone, Copy)]
struct Culprit<'a> {
    resource: Option<Resource>,
    record: Option<&'a RecordFacts>,
    purge: Option<&'a PurgeFacts>,
    thing: Option<&'a Thing>,
    part: Option<(&'a str, &'a WorkerPart)>,
}

fn records_of(facts: Facts<'_>) -> &[RecordFacts] {
    match facts {
        Facts::Records(records) | Facts::Changes { records, .. } => records,
        _ => &[],
    }
}

fn changes_of(facts: Facts<'_>) -> usize {
    match facts {
        Facts::Records(records) => records.len(),
        Facts::Changes { changes, .. } => changes,
        _ => 0,
    }
}

/// What is judged of the culprit.
fn items<'a>(
    purge: &'a [PurgeItem<'a>],
    culprit: Culprit<'a>,
    facts: Facts<'_>,
    right: Right,
) -> impl Iterator<Item = Item<'a>> {
    let record = culprit
        .record
        .map(|record| Item::Record(record, changes_of(facts)))
        .or(culprit.thing.map(Item::Thing))
        .or(culprit.part.map(|(script, part)| Item::Worker {
            script,
            part,
            right,
        }));
    let is_unread = record.is_none() && purge.is_empty();
    let unread = is_unread.then_some(Item::Unread);
    record
        .into_iter()
        .chain(purge.iter().map(Item::Purge))
        .chain(unread)
}

fn scope(target: Target<'_>) -> Scope {
    match target {
        Target::Operation(operation) => operation.scope(),
        Target::Unknown { path, .. } => scope_of(path),
    }
}

fn reaches(block: &Block, target: Target<'_>) -> bool {
    match (target, block.what) {
        (Target::Operation(operation), What::Group(group)) => operation.groups().contains(group),
        (Target::Operation(operation), What::Operation(id)) => operation.id() == id,
        _ => false,
    }
}

fn via(block: &Block, target: Target<'_>) -> Via {
    match target {
        Target::Operation(operation) => Via {
            family: operation.family(),
            is_write: operation.is_write(),
            group: match block.what {
                What::Group(group) => Some(group),
                What::Operation(_) | What::Template(_) => None,
            },
            group_family: block.family,
        },
        Target::Unknown { method, .. } => Via {
            family: catalog::Family::None,
            is_write: method != Method::Get,
            group: None,
            group_family: Families::NONE,
        },
    }
}

fn verb(operation: &Operation) -> &'static str {
    match operation.method() {
        Method::Get => "read",
        Method::Post if operation.body() == BodyClass::Judge(Judged::DnsBatch) => "change",
        Method::Post => "create",
        Method::Put => "replace",
        Method::Patch => "change",
        Method::Delete => "delete",
    }
}

/// The groups of which any one is enough.
fn any_of(groups: &[&str]) -> String {
    list(groups, "or")
}

/// A path template without braces.
fn plain(template: &str) -> String {
    template
        .chars()
        .filter(|c| !matches!(c, '{' | '}'))
        .collect()
}
