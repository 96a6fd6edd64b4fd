//! Decisions in words: who may not do what, which rule decided or came closest, what is needed.
//!
//! Nothing here is on the way of a call that passes. Text of the caller is shown without control
//! characters and braces, shortened.

use std::fmt::Write as _;

use crate::catalog::{self, BodyClass, Judged, Method, Operation, Scope};
use crate::config::document::Effect;

use super::grant::{Families, Grant, Item, Verdict, Via, Why};
use super::index::{Block, Entry, ScopeKey, What};
use super::purge::PurgeItem;
use super::template::scope_of;
use super::{
    Decision, Facts, GrantId, Policy, PurgeFacts, Reason, RecordFacts, Request, Resource, Target,
};

/// The longest piece of the caller's text that is repeated.
const MAX_QUOTED: usize = 100;

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
        if let Facts::Purge(facts) = request.facts {
            culprit.purge = Some(facts);
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
                    let verdicts = items(&purge, culprit, request.facts);
                    let failed = verdicts
                        .map(|item| grant.judge(via, item, request.now))
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
            return describe_failure(grant, why, culprit);
        }
        if let Some((grant, block)) = other_place {
            let covered = self.covered(block, grant);
            return format!("the grant {} covers only {covered}", grant.name);
        }
        match (other_right, self.place_name(culprit.resource)) {
            (Some(grant), Some(place)) => {
                format!("the grant {} gives other rights in {place}", grant.name)
            }
            (Some(grant), None) => format!("the grant {} gives other rights", grant.name),
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
            [
                &principal.operations,
                &principal.templates,
                &principal.groups,
            ]
            .into_iter()
            .flat_map(|range| self.index.blocks(range))
            .filter(|block| reaches(block, request.target))
            .flat_map(|block| {
                items(&purge, culprit, request.facts)
                    .map(|item| grant.judge(via(block, request.target), item, request.now))
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
}

fn records_of(facts: Facts<'_>) -> &[RecordFacts] {
    match facts {
        Facts::Records(records) | Facts::Changes { records, .. } => records,
        Facts::Unread | Facts::Purge(_) => &[],
    }
}

fn changes_of(facts: Facts<'_>) -> usize {
    match facts {
        Facts::Records(records) => records.len(),
        Facts::Changes { changes, .. } => changes,
        Facts::Unread | Facts::Purge(_) => 0,
    }
}

/// What is judged of the culprit.
fn items<'a>(
    purge: &'a [PurgeItem<'a>],
    culprit: Culprit<'a>,
    facts: Facts<'_>,
) -> impl Iterator<Item = Item<'a>> {
    let record = culprit
        .record
        .map(|record| Item::Record(record, changes_of(facts)));
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
            group: block.family,
        },
        Target::Unknown { .. } => Via {
            family: catalog::Family::None,
            group: Families::NONE,
        },
    }
}

/// How far from matching: a failing value is nearer than a failing name.
fn distance(why: Why) -> u8 {
    match why {
        Why::DnsContent | Why::DnsProxied | Why::DnsCount => 0,
        Why::DnsType | Why::Purge | Why::PurgeEverything => 1,
        Why::DnsName => 2,
        Why::DnsUnread | Why::PurgeUnread | Why::Unenforced(_) => 3,
        Why::DnsElsewhere | Why::PurgeElsewhere | Why::NamedOnly => 4,
        Why::Expired => 5,
    }
}

fn condition_key(why: Why) -> &'static str {
    match why {
        Why::Expired => "not_after",
        Why::DnsName
        | Why::DnsType
        | Why::DnsContent
        | Why::DnsProxied
        | Why::DnsCount
        | Why::DnsUnread
        | Why::DnsElsewhere => "condition dns",
        Why::Purge | Why::PurgeEverything | Why::PurgeUnread | Why::PurgeElsewhere => {
            "condition purge"
        }
        Why::NamedOnly => "permissions",
        Why::Unenforced(key) => key,
    }
}

fn describe_failure(grant: &Grant, why: Why, culprit: Culprit<'_>) -> String {
    let name = &grant.name;
    let dns = grant.dns.as_deref();
    match why {
        Why::Expired => match grant.not_after {
            Some(end) => format!("the grant {name} ended at {end}"),
            None => format!("the grant {name} has ended"),
        },
        Why::DnsName | Why::DnsType => {
            let types = dns
                .map(|dns| list(&dns.types, "and"))
                .filter(|text| !text.is_empty());
            let names = dns
                .map(|dns| list(&dns.names, "or"))
                .filter(|text| !text.is_empty());
            let types = types.map_or_else(String::new, |types| format!("{types} "));
            let names = names.map_or_else(String::new, |names| format!(" named {names}"));
            format!("the grant {name} covers only {types}records{names}")
        }
        Why::DnsContent => {
            let contents: Vec<_> = dns
                .iter()
                .flat_map(|dns| &dns.contents)
                .map(|c| quoted(&c.text))
                .collect();
            match culprit.record.and_then(|record| record.content.as_deref()) {
                Some(content) => format!(
                    "the grant {name} covers only records with the value {}, not {}",
                    list(&contents, "or"),
                    quoted(content)
                ),
                None => format!(
                    "the grant {name} covers only records with the value {}",
                    list(&contents, "or")
                ),
            }
        }
        Why::DnsProxied => match dns.and_then(|dns| dns.proxied) {
            Some(true) => format!("the grant {name} covers only records that are proxied"),
            _ => format!("the grant {name} covers only records that are not proxied"),
        },
        Why::DnsCount => {
            let most = dns.and_then(|dns| dns.max_changes).unwrap_or(0);
            format!("the grant {name} covers at most {most} changes in one call")
        }
        Why::Purge => {
            let mut parts = Vec::new();
            if let Some(purge) = grant.purge.as_deref() {
                let prefixes: Vec<_> = purge
                    .prefixes
                    .iter()
                    .map(|(text, _)| quoted(text))
                    .collect();
                let files: Vec<_> = purge.files.iter().map(|(text, _)| quoted(text)).collect();
                let hosts: Vec<_> = purge.hosts.iter().map(|text| quoted(text)).collect();
                let tags: Vec<_> = purge.tags.iter().map(|text| quoted(text)).collect();
                for (kind, texts) in [
                    ("prefix", prefixes),
                    ("host", hosts),
                    ("tag", tags),
                    ("file", files),
                ] {
                    if !texts.is_empty() {
                        parts.push(format!("the {kind} {}", list(&texts, "or")));
                    }
                }
                if purge.everything {
                    parts.push("everything".to_owned());
                }
            }
            if parts.is_empty() {
                parts.push("no purge".to_owned());
            }
            format!("the grant {name} covers only {}", list(&parts, "and"))
        }
        Why::PurgeEverything => {
            format!("the grant {name} does not name everything, which has to be named")
        }
        Why::DnsUnread | Why::PurgeUnread | Why::DnsElsewhere | Why::PurgeElsewhere => format!(
            "the grant {name} has the {} by which this call cannot be judged",
            condition_key(why)
        ),
        Why::Unenforced(key) => format!(
            "the grant {name} has the condition {key}, which is not enforced yet and so cannot be \
             judged"
        ),
        Why::NamedOnly => format!("the grant {name} does not name the operation"),
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

/// `a`, `a or b`, `a, b or c`; of more than four the first three.
fn list<T: std::fmt::Display>(items: &[T], last: &str) -> String {
    let mut text = String::new();
    let shown = if items.len() > 4 { 3 } else { items.len() };
    for (index, item) in items.iter().take(shown).enumerate() {
        let separator = match index {
            0 => String::new(),
            _ if index + 1 == items.len() => format!(" {last} "),
            _ => ", ".to_owned(),
        };
        let _ = write!(text, "{separator}{item}");
    }
    if shown < items.len() {
        let _ = write!(text, " {last} {} more", items.len() - shown);
    }
    text
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

/// Text of the caller: no control characters, no braces, not too long.
fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTED)
        .map(|c| match c {
            '{' => '(',
            '}' => ')',
            c if c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) => '\u{fffd}',
            c => c,
        })
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown
}
