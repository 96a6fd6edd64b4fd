//! What a write does to which records: worked out from what was looked up, decided record by record,
//! compared with what came of it. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::judge::dns::Draft;
use super::super::refusal::{Code, Refusal};
use crate::audit::Action;
use crate::catalog::Method;
use crate::dns;
use crate::model::{RecordName, is_within, json};
use crate::policy::{Counts, Decision, Effect, Facts, GrantId, Policy, RecordFacts, Request};

/// A DNS record as the API shows it, as far as it matters to a decision.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::gateway) struct Shown {
    #[serde(default)]
    pub(in crate::gateway) id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    content: Option<String>,
    proxied: Option<bool>,
    data: Option<IgnoredAny>,
}

impl Shown {
    pub(in crate::gateway) fn read(json: &RawValue) -> Option<Self> {
        serde_json::from_str(json.get()).ok()
    }

    /// As policy sees it; `None` for a name that cannot be judged.
    pub(in crate::gateway) fn facts(self, zone_name: &str) -> Option<RecordFacts> {
        Some(RecordFacts {
            name: RecordName::canonical(&self.name, zone_name).ok()?,
            kind: self.kind,
            content: self.content,
            proxied: self.proxied,
        })
    }
}

/// A record at some point of the call.
#[derive(Debug, Clone)]
struct State {
    facts: RecordFacts,
    /// Whether it has structured data, which decides its content.
    has_data: bool,
    /// The content that it must show afterwards, where Cloudflare does not work that out itself.
    shown: Option<String>,
}

/// What was there before an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing: a record is made.
    Nothing,
    /// A record, which is the first of the states.
    Found,
    /// No record, or none that can be judged. Callers that may not see every record are told the same
    /// of both.
    Unseen,
}

/// One record that is changed.
#[derive(Debug)]
struct Edit {
    place: Option<(&'static str, usize)>,
    id: Option<String>,
    before: Before,
    /// The record before, where one was found, and after, where there is one then.
    states: Vec<RecordFacts>,
    /// The content that what comes of it must show.
    shown: Option<String>,
    /// Whether it is about a host name of Zonekeeper's own, before or after.
    is_own: bool,
}

/// Every record that a call changes, in the order in which Cloudflare carries it out.
#[derive(Debug)]
pub(in crate::gateway) struct Edits {
    zone_name: String,
    list: Vec<Edit>,
    is_import: bool,
}

/// What is known about the zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) zone_name: &'a str,
    /// The host names of Zonekeeper's own.
    pub(super) own_hosts: &'a [String],
}

/// Whether a record speaks for one of `hosts`, which are Zonekeeper's own: it has that name, or hands
/// it over to other name servers.
pub(in crate::gateway) fn is_own(hosts: &[String], name: &str, kind: &str) -> bool {
    let is_ns = kind.eq_ignore_ascii_case("NS");
    let mut hosts = hosts.iter();
    hosts.any(|host| host == name || (is_ns && is_within(host, name)))
}

impl Edits {
    /// Works out what `drafts` do to the records that were `found`, one after the other: each meets what
    /// those before it left. `method` is that of a call about a single record.
    ///
    /// # Errors
    /// [`Refusal`] when a record is made or replaced without name or type.
    pub(super) fn work_out(
        drafts: &[Draft],
        method: Method,
        found: Vec<Shown>,
        around: Around<'_>,
    ) -> Result<Self, Refusal> {
        let mut records: BTreeMap<String, Option<State>> = BTreeMap::new();
        for shown in found {
            let id = shown.id.clone();
            records.insert(id, State::of(shown, around.zone_name));
        }
        let mut edits = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let how = match draft.place {
                Some(("deletes", _)) => Method::Delete,
                Some(("patches", _)) => Method::Patch,
                Some(("puts", _)) => Method::Put,
                Some(_) => Method::Post,
                None => method,
            };
            let id = draft.id.clone().filter(|_| how != Method::Post);
            let before = id
                .as_ref()
                .and_then(|id| records.get(id).cloned())
                .flatten();
            let after = match (how, &before) {
                (Method::Patch, Some(before)) => Some(before.patched(draft)),
                // What a patch would make of a record that is not there is nobody's to say.
                (Method::Delete, _) | (Method::Patch, None) => None,
                _ => Some(State::new(draft)?),
            };
            edits.push(Edit::new(
                draft,
                id.as_ref(),
                before,
                after.as_ref(),
                around,
            ));
            if let Some(id) = id {
                records.insert(id, after);
            }
        }
        Ok(Self {
            zone_name: around.zone_name.to_owned(),
            list: edits,
            is_import: false,
        })
    }

    /// An import makes all of these records.
    pub(super) fn import(records: Vec<RecordFacts>, around: Around<'_>) -> Self {
        let edit = |(index, facts): (usize, RecordFacts)| Edit {
            place: Some(("file", index)),
            id: None,
            before: Before::Nothing,
            is_own: is_own(around.own_hosts, facts.name.as_str(), &facts.kind),
            states: vec![facts],
            shown: None,
        };
        Self {
            zone_name: around.zone_name.to_owned(),
            list: records.into_iter().enumerate().map(edit).collect(),
            is_import: true,
        }
    }

    /// What `policy` says: the worst of what it says of each record. `request` has no facts yet.
    pub(in crate::gateway) fn decide(&self, policy: &Policy, request: &Request<'_>) -> Decision {
        let each = self.list.iter();
        each.map(|edit| policy.decide(&self.question(edit, request)))
            .max_by_key(|decision| rank(decision.effect))
            .unwrap_or_else(|| policy.decide(request))
    }

    /// Adds the grants that allow some of it and count how often they are used.
    pub(in crate::gateway) fn count(
        &self,
        policy: &Policy,
        request: &Request<'_>,
        found: &mut Vec<(GrantId, Counts)>,
    ) {
        for edit in &self.list {
            policy.count(&self.question(edit, request), found);
        }
    }

    fn question<'r>(&'r self, edit: &'r Edit, request: &Request<'r>) -> Request<'r> {
        Request {
            facts: facts_of(&edit.states, self.list.len()),
            is_own: edit.is_own,
            ..*request
        }
    }

    /// Why the call may not be made, in the words of the first record that it may not change; `None`
    /// when it may. `who` may not do `what`.
    ///
    /// A record that the caller may not see and one that is not there get the same answer.
    pub(in crate::gateway) fn refusal(
        &self,
        policy: &Policy,
        request: &Request<'_>,
        who: &str,
        what: &str,
    ) -> Option<Refusal> {
        let worst = rank(self.decide(policy, request).effect);
        let (edit, decision) = self.list.iter().find_map(|edit| {
            let decision = policy.decide(&self.question(edit, request));
            (rank(decision.effect) == worst && worst > 0).then_some((edit, decision))
        })?;
        let before = if edit.before == Before::Found {
            edit.states.get(..1).unwrap_or_default()
        } else {
            &[]
        };
        let seen = policy.decide(&Request {
            facts: facts_of(before, 1),
            ..*request
        });
        let of = match edit.place {
            None => String::new(),
            Some(("file", index)) => format!("Of record {} of the file: ", index + 1),
            Some((list, index)) => format!("Of {list}[{index}]: "),
        };
        if edit.before != Before::Nothing && seen.effect == Effect::Deny {
            let zone = &self.zone_name;
            return Some(Refusal::new(
                Code::Denied,
                format!(
                    "{of}{who} may not {what}: its grants cover other records of {zone} only; a grant of DNS Write for that record is needed."
                ),
            ));
        }
        if edit.is_own {
            return Some(own_record(&of, who, what));
        }
        let code = match decision.effect {
            Effect::Approve => Code::ApprovalRequired,
            Effect::Deny | Effect::Allow => Code::Denied,
        };
        let why = policy.explain(&self.question(edit, request), &decision);
        let end = if why.ends_with('.') { "" } else { "." };
        Some(Refusal::new(code, format!("{of}{why}{end}")))
    }

    /// What the call does, in words that name the record, where it is about a single one.
    pub(in crate::gateway) fn action(&self, method: Method) -> Option<Action> {
        let zone = &self.zone_name;
        if self.is_import {
            let count = self.list.len();
            return Some(Action::new(format!(
                "import {count} DNS records into {zone}"
            )));
        }
        let [edit] = self.list.as_slice() else {
            return None;
        };
        let (Before::Found, None, Some(before)) = (edit.before, edit.place, edit.states.first())
        else {
            return None;
        };
        let verb = match method {
            Method::Delete => "delete",
            Method::Put => "replace",
            _ => "change",
        };
        let name = |facts: &RecordFacts| format!("{} record {}", facts.kind, facts.name);
        let id = edit.id.as_deref().unwrap_or_default();
        let into = match edit.states.get(1) {
            Some(after) if (&after.name, &after.kind) != (&before.name, &before.kind) => {
                format!(" into {}", name(after))
            }
            _ => String::new(),
        };
        Some(Action::new(format!(
            "{verb} {} ({id}){into} of {zone}",
            name(before)
        )))
    }

    /// Compares the result of the call with what was allowed.
    ///
    /// # Errors
    /// What is otherwise, for the log.
    pub(in crate::gateway) fn verify(&self, result: Option<&RawValue>) -> Result<(), String> {
        let Some(result) = result else {
            return Err("the answer has no result".to_owned());
        };
        if self.is_import {
            return self.verify_import(result);
        }
        if let [edit] = self.list.as_slice()
            && edit.place.is_none()
        {
            return edit.verify(result, &self.zone_name);
        }
        let lists: BTreeMap<String, Option<Vec<&RawValue>>> = serde_json::from_str(result.get())
            .map_err(|_| "the result is not that of a batch".to_owned())?;
        let mut results: Vec<(&str, std::slice::Iter<'_, &RawValue>)> = lists
            .iter()
            .map(|(list, items)| (list.as_str(), items.as_deref().unwrap_or_default().iter()))
            .collect();
        for edit in &self.list {
            let list = edit.place.map_or("", |(list, _)| list);
            let rest = results.iter_mut().find(|(name, _)| *name == list);
            let result = rest.and_then(|(_, rest)| rest.next());
            let result = result.ok_or_else(|| format!("an item of {list} has no result"))?;
            edit.verify(result, &self.zone_name)?;
        }
        match results.iter().find(|(_, rest)| rest.len() > 0) {
            Some((list, _)) => Err(format!("{list} has results of other records as well")),
            None => Ok(()),
        }
    }

    /// No more records were added than were judged. Those that were there already are not.
    fn verify_import(&self, result: &RawValue) -> Result<(), String> {
        let added = json::of_others(result.get().as_bytes())
            .and_then(|added| added.get("recs_added")?.as_u64())
            .ok_or("the answer does not say how many records were added")?;
        let judged = self.list.len();
        if added > judged as u64 {
            return Err(format!("{added} records were added in place of {judged}"));
        }
        Ok(())
    }
}

/// `states` as the facts of a call that changes `changes` records.
fn facts_of(states: &[RecordFacts], changes: usize) -> Facts<'_> {
    if states.is_empty() {
        Facts::Unread
    } else {
        Facts::Changes {
            records: states,
            changes,
        }
    }
}

/// The refusal of what belongs to Zonekeeper itself.
pub(in crate::gateway) fn own_record(of: &str, who: &str, what: &str) -> Refusal {
    Refusal::new(
        Code::Escalation,
        format!(
            "{of}{who} may not {what}: it belongs to this Zonekeeper itself; only a grant that names the operation id reaches it."
        ),
    )
}

/// How bad an effect is for the caller.
fn rank(effect: Effect) -> u8 {
    match effect {
        Effect::Allow => 0,
        Effect::Approve => 1,
        Effect::Deny => 2,
    }
}

impl State {
    fn of(shown: Shown, zone_name: &str) -> Option<Self> {
        let has_data = shown.data.is_some();
        let content = shown.content.clone();
        Some(Self {
            facts: shown.facts(zone_name)?,
            has_data,
            shown: content,
        })
    }

    /// The record that a draft makes by itself.
    fn new(draft: &Draft) -> Result<Self, Refusal> {
        let facts = draft.facts().ok_or_else(|| {
            let what = draft.place().map_or_else(
                || "A DNS record".to_owned(),
                |place| format!("The item {place}"),
            );
            Refusal::new(
                Code::MalformedBody,
                format!("{what} needs the fields `name` and `type`, both texts."),
            )
        })?;
        let shown = facts.content.clone().filter(|_| dns::is_plain(&facts.kind));
        Ok(Self {
            facts,
            has_data: draft.has_data,
            shown,
        })
    }

    /// The record once a draft is laid over it.
    fn patched(&self, draft: &Draft) -> Self {
        let before = &self.facts;
        let kind = draft.kind.clone().unwrap_or_else(|| before.kind.clone());
        let (content, shown) = match &draft.content {
            _ if draft.has_data => (None, None),
            // Whether Cloudflare goes by the content or by the data it has is not for us to say.
            Some(_) if self.has_data => (None, None),
            Some(content) => {
                let shown = dns::is_plain(&kind).then(|| content.clone());
                (Some(content.clone()), shown)
            }
            None if self.has_data && kind != before.kind => (None, None),
            None => (before.content.clone(), self.shown.clone()),
        };
        Self {
            facts: RecordFacts {
                name: draft.name.clone().unwrap_or_else(|| before.name.clone()),
                kind,
                content,
                proxied: draft.proxied.or(before.proxied),
            },
            has_data: draft.has_data || self.has_data,
            shown,
        }
    }
}

impl Edit {
    fn new(
        draft: &Draft,
        id: Option<&String>,
        before: Option<State>,
        after: Option<&State>,
        around: Around<'_>,
    ) -> Self {
        let shown = after
            .or(before.as_ref())
            .and_then(|state| state.shown.clone());
        let is_named_own = draft.name.as_ref().is_some_and(|name| {
            let kind = draft.kind.as_deref().unwrap_or("NS");
            is_own(around.own_hosts, name.as_str(), kind)
        });
        let kept = match (id, &before) {
            (None, _) => Before::Nothing,
            (Some(_), Some(_)) => Before::Found,
            (Some(_), None) => Before::Unseen,
        };
        let states: Vec<RecordFacts> = match kept {
            // Nothing is known of it, so nothing of it is judged.
            Before::Unseen => Vec::new(),
            _ => before
                .map(|state| state.facts)
                .into_iter()
                .chain(after.map(|state| state.facts.clone()))
                .collect(),
        };
        let touches_own = states
            .iter()
            .any(|facts| is_own(around.own_hosts, facts.name.as_str(), &facts.kind));
        Self {
            place: draft.place,
            id: id.cloned(),
            before: kept,
            states,
            shown,
            is_own: touches_own || (kept == Before::Unseen && is_named_own),
        }
    }

    /// Compares what came of it with what was allowed: id, name, type, content and proxying.
    fn verify(&self, result: &RawValue, zone_name: &str) -> Result<(), String> {
        let Some(id) = &self.id else {
            return self.verify_record(result, zone_name);
        };
        let found = json::of_others(result.get().as_bytes());
        if found.is_none_or(|found| found.get("id").and_then(Value::as_str) != Some(id)) {
            return Err(format!("another record than {id} was changed"));
        }
        // A single deletion is answered with the id alone.
        let is_deletion = self.place.is_none() && self.states.len() == 1;
        if is_deletion || self.states.is_empty() {
            return Ok(());
        }
        self.verify_record(result, zone_name)
    }

    fn verify_record(&self, result: &RawValue, zone_name: &str) -> Result<(), String> {
        let Some(planned) = self.states.last() else {
            return Ok(());
        };
        let unreadable = || "a record of the answer cannot be read".to_owned();
        let shown = Shown::read(result).ok_or_else(unreadable)?;
        let id = shown.id.clone();
        let found = shown.facts(zone_name).ok_or_else(unreadable)?;
        let differs = |what: &str, planned: &str, found: &str| {
            Err(format!(
                "record {id} has the {what} {found:.300?} in place of {planned:.300?}"
            ))
        };
        if found.name != planned.name {
            return differs("name", planned.name.as_str(), found.name.as_str());
        }
        if !found.kind.eq_ignore_ascii_case(&planned.kind) {
            return differs("type", &planned.kind, &found.kind);
        }
        let content = found.content.unwrap_or_default();
        if let Some(planned) = &self.shown
            && *planned != content
            && !dns::same_content(&found.kind, planned, &content)
        {
            return differs("content", planned, &content);
        }
        let proxied = |proxied: Option<bool>| proxied.unwrap_or_default().to_string();
        let (planned, found) = (proxied(planned.proxied), proxied(found.proxied));
        if planned != found {
            return differs("proxying", &planned, &found);
        }
        Ok(())
    }
}
