//! The decision itself.

use crate::catalog::{BodyClass, Family, GroupId, GroupSet, Judged, Method, Scope};
use crate::config::document::Effect;

use super::grant::{Families, Item, Verdict, Via, Why};
use super::index::{Block, Class, Next, Principal, ScopeKey, What, name_hash};
use super::template::scope_of;
use super::visible::Showing;
use super::{Decision, Moment, Policy, PrincipalId, Reason, Request, Resource, Target};

/// A filter the upstream can apply to a list of records before it is filtered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushdown<'p> {
    /// The one name that any grant allows.
    pub name: Option<&'p str>,
    /// The one type that any grant allows.
    pub kind: Option<&'p str>,
}

impl Policy {
    /// Whether the call may be made.
    ///
    /// Every resource must be allowed, each perhaps by another grant, and so must every record or
    /// part of a purge; the worst of these decisions is the answer.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let Some(ask) = self.ask(request) else {
            return Decision::denied(Reason::UnknownPrincipal);
        };
        if ask.showing == Some(Showing::List) {
            let (outcome, _) =
                self.outcome(&ask, Place::Neither, Item::Unread, &request.moment, |_| {
                    false
                });
            let decided = outcome.decision(ask.nothing);
            // What is shown is filtered; but who may not list at all, or not without approval, does
            // not.
            if decided.grant.is_some() && !decided.is_allowed() {
                return decided;
            }
            return Decision {
                effect: Effect::Allow,
                grant: None,
                reason: Reason::Visible,
            };
        }
        let mut worst: Option<Decision> = None;
        let is_whole = self.each(&ask, request, |place, item| {
            let decision = self.decide_one(&ask, request, place, item);
            if worst.is_none_or(|worst| worst.severity() < decision.severity()) {
                worst = Some(decision);
            }
        });
        match worst {
            Some(worst) if is_whole || worst.severity() == 3 => worst,
            _ => Decision::denied(Reason::NoResource),
        }
    }

    /// Whether the decision depends on more than what is known of the call: on the records, on what
    /// is purged, on what its body names.
    #[must_use]
    pub fn reads_body(&self, request: &Request<'_>) -> bool {
        self.depends(request, |why| matches!(why, Why::Unread(_)))
    }

    /// Whether the decision depends on the record: a list must then be filtered, and a write by id
    /// needs the record looked up.
    #[must_use]
    pub fn record_conditions(&self, request: &Request<'_>) -> bool {
        self.depends(request, |why| why == Why::Unread(Family::Dns))
    }

    /// The one name or type to which every grant that may allow the call is limited. What the
    /// upstream then answers must still be filtered.
    #[must_use]
    pub fn pushdown(&self, request: &Request<'_>) -> Option<Pushdown<'_>> {
        let ask = self.ask(request)?;
        let mut common: Option<Pushdown<'_>> = None;
        let mut is_limited = ask.family == Family::Dns;
        self.places(&ask, request, |place| {
            self.candidates(&ask, |block, via| {
                for scope in place.scopes() {
                    let next = self.index.read(block, scope, None, |entry, _| {
                        let Some(grant) = self.grants.get(entry.grant as usize) else {
                            return Next::Entry;
                        };
                        if entry.effect() == Effect::Deny {
                            return Next::Entry;
                        }
                        match grant.judge(via, Item::Unread, &request.moment) {
                            Verdict::Fails(_) => return Next::Entry,
                            Verdict::Unjudged(why) if why != Why::Unread(Family::Dns) => {
                                return Next::Entry;
                            }
                            Verdict::Unjudged(_) | Verdict::Holds => {}
                        }
                        let dns = grant.conditions().and_then(|it| it.dns.as_ref());
                        let own = dns.map(|dns| Pushdown {
                            name: match dns.names.as_slice() {
                                [name] => name.exact(),
                                _ => None,
                            },
                            kind: match dns.types.as_slice() {
                                [kind] => Some(kind),
                                _ => None,
                            },
                        });
                        let own = own.unwrap_or(Pushdown {
                            name: None,
                            kind: None,
                        });
                        let both = common.map_or(own, |common| Pushdown {
                            name: common.name.filter(|name| own.name == Some(*name)),
                            kind: common.kind.filter(|kind| own.kind == Some(*kind)),
                        });
                        common = Some(both);
                        is_limited &= both.name.is_some() || both.kind.is_some();
                        if is_limited { Next::Entry } else { Next::Stop }
                    });
                    if next == Next::Stop {
                        return Next::Stop;
                    }
                }
                Next::Entry
            });
        });
        common.filter(|_| is_limited)
    }

    /// Whether one of Zonekeeper's own groups is held, which open `/api/v1`. Scopes do not matter. A grant
    /// that says how often it may be used opens nothing here.
    #[must_use]
    pub fn may(&self, principal: PrincipalId, group: GroupId, moment: &Moment<'_>) -> Decision {
        let Some(principal) = self.entry(principal) else {
            return Decision::denied(Reason::UnknownPrincipal);
        };
        let blocks = self.index.blocks(&principal.groups);
        let via = Via {
            family: Family::None,
            is_write: false,
            group: Some(group),
            group_family: Families::NONE,
        };
        let mut outcome = Outcome::default();
        for block in blocks
            .iter()
            .filter(|block| block.what == What::Group(group))
        {
            for entry in self.index.entries(block) {
                if let Some(grant) = self.grants.get(entry.grant as usize) {
                    let verdict = match grant.judge(via, Item::Unread, moment) {
                        // Nobody counts calls of `/api/v1`.
                        Verdict::Holds if grant.is_counted() => Verdict::Unjudged(Why::UsedUp),
                        verdict => verdict,
                    };
                    outcome.add(entry.effect(), entry.grant, verdict);
                }
            }
        }
        outcome.decision(Reason::NotGranted)
    }

    /// What the request asks, as far as it does not depend on the resource.
    pub(super) fn ask<'p>(&'p self, request: &Request<'p>) -> Option<Ask<'p>> {
        let principal = self.entry(request.principal)?;
        Some(match request.target {
            Target::Operation(operation) => {
                let groups = operation.groups();
                let is_named_only = request.is_own
                    || operation.escalates()
                    || operation.named_only()
                    || operation.body() == BodyClass::Judge(Judged::Unjudgeable);
                Ask {
                    principal,
                    target: request.target,
                    family: operation.family(),
                    scope: operation.scope(),
                    groups: groups.intersection(&principal.held),
                    nothing: if operation.escalates() || request.is_own {
                        Reason::Escalation
                    } else if is_named_only || groups.is_empty() {
                        Reason::NamedOnly
                    } else {
                        Reason::NotGranted
                    },
                    is_named_only,
                    is_write: operation.is_write(),
                    showing: Showing::of(&operation),
                }
            }
            Target::Unknown { method, path } => Ask {
                principal,
                target: request.target,
                family: Family::None,
                scope: scope_of(path),
                groups: GroupSet::EMPTY,
                nothing: Reason::UnknownOperation,
                is_named_only: true,
                is_write: method != Method::Get,
                showing: None,
            },
        })
    }

    /// Calls `visit` for each place that must be allowed. False when the call does not say which
    /// zone or account it is about although it is about one.
    pub(super) fn places(
        &self,
        ask: &Ask<'_>,
        request: &Request<'_>,
        mut visit: impl FnMut(Place),
    ) -> bool {
        let mut is_whole = match ask.scope {
            // The query names zones and accounts, or nothing that a grant could be about.
            Scope::User | Scope::Other if ask.family == Family::Graphql => {
                !request.resources.is_empty()
            }
            Scope::User | Scope::Other => {
                visit(Place::Neither);
                true
            }
            Scope::Account | Scope::Zone => false,
        };
        for resource in request.resources {
            match resource {
                Resource::Zone(id) => {
                    is_whole |= ask.scope == Scope::Zone;
                    let position = self.zones.binary_search_by_key(id, |zone| zone.0);
                    visit(Place::Zone(
                        position.ok().and_then(|at| u32::try_from(at).ok()),
                    ));
                }
                Resource::Account(id) => {
                    is_whole |= ask.scope == Scope::Account;
                    let position = self.accounts.binary_search_by_key(id, |account| account.0);
                    visit(Place::Account(
                        position.ok().and_then(|at| u32::try_from(at).ok()),
                    ));
                }
            }
        }
        is_whole
    }

    /// Calls `visit` for what names the target first, then for each group by which it is reached.
    pub(super) fn candidates<'p>(
        &'p self,
        ask: &Ask<'p>,
        mut visit: impl FnMut(&'p Block, Via) -> Next,
    ) {
        let named = Via {
            family: ask.family,
            is_write: ask.is_write,
            group: None,
            group_family: Families::NONE,
        };
        match ask.target {
            Target::Operation(operation) => {
                let blocks = self.index.blocks(&ask.principal.operations);
                let found =
                    blocks.binary_search_by_key(&Some(operation.id()), |block| match block.what {
                        What::Operation(id) => Some(id),
                        What::Group(_) | What::Template(_) => None,
                    });
                if let Some(block) = found.ok().and_then(|at| blocks.get(at))
                    && visit(block, named) == Next::Stop
                {
                    return;
                }
            }
            Target::Unknown { method, path } => {
                for block in self.index.blocks(&ask.principal.templates) {
                    let What::Template(position) = block.what else {
                        continue;
                    };
                    let template = self.templates.get(position as usize);
                    if template.is_some_and(|template| template.matches(method, path))
                        && visit(block, named) == Next::Stop
                    {
                        return;
                    }
                }
            }
        }
        let mut left = ask.groups.len();
        for block in self.index.blocks(&ask.principal.groups) {
            if left == 0 {
                return;
            }
            let What::Group(group) = block.what else {
                continue;
            };
            if ask.groups.contains(group) {
                left -= 1;
                let via = Via {
                    group: Some(group),
                    group_family: block.family,
                    ..named
                };
                if visit(block, via) == Next::Stop {
                    return;
                }
            }
        }
    }

    pub(super) fn decide_one(
        &self,
        ask: &Ask<'_>,
        request: &Request<'_>,
        place: Place,
        item: Item<'_>,
    ) -> Decision {
        if ask.showing == Some(Showing::One)
            && let Target::Operation(operation) = ask.target
        {
            let scopes = place.scopes();
            let shown = self
                .hidden(ask.principal, &operation, &scopes, &request.moment)
                .or_else(|| self.shown(request.principal, &scopes, &request.moment));
            if let Some(decision) = shown {
                return decision;
            }
        }
        self.outcome(ask, place, item, &request.moment, |_| false)
            .0
            .decision(ask.nothing)
    }

    /// Reads the grants for one place and one item. Verdicts that are `pending` are not counted:
    /// the effects of their grants are returned instead.
    pub(super) fn outcome(
        &self,
        ask: &Ask<'_>,
        place: Place,
        item: Item<'_>,
        moment: &Moment<'_>,
        pending: impl Fn(Why) -> bool,
    ) -> (Outcome, Pending) {
        let name = match item {
            Item::Record(record, _) => Some(name_hash(record.name.as_str())),
            _ => None,
        };
        let mut outcome = Outcome::default();
        let mut waiting = Pending::default();
        self.candidates(ask, |block, via| {
            let by_group = matches!(block.what, What::Group(_));
            for scope in place.scopes() {
                let next = self.index.read(block, scope, name, |entry, class| {
                    let effect = entry.effect();
                    if outcome.is_settled_for(effect) {
                        return Next::Key;
                    }
                    let Some(grant) = self.grants.get(entry.grant as usize) else {
                        return Next::Entry;
                    };
                    let mut verdict = grant.judge(via, item, moment);
                    if by_group && ask.is_named_only {
                        // A group does not reach it; but a deny by group still denies what another
                        // grant names, and an approve asks.
                        match (effect, verdict) {
                            (Effect::Allow, _) => return Next::Key,
                            (Effect::Deny, _) | (_, Verdict::Fails(_)) => {}
                            (_, Verdict::Unjudged(why)) if pending(why) => {}
                            (Effect::Approve, _) => verdict = Verdict::Unjudged(Why::NamedOnly),
                        }
                    }
                    match verdict {
                        Verdict::Unjudged(why) if pending(why) => {
                            waiting.add(effect);
                            return if class == Class::Named {
                                Next::Rank
                            } else {
                                Next::Entry
                            };
                        }
                        Verdict::Unjudged(
                            Why::Unread(Family::Dns) | Why::Elsewhere(Family::Dns),
                        ) if class == Class::Named => {
                            outcome.add(effect, entry.grant, verdict);
                            return if effect == Effect::Deny {
                                Next::Stop
                            } else {
                                Next::Rank
                            };
                        }
                        // The rest of the rank ended before; ends are sorted by the second.
                        Verdict::Fails(Why::Expired)
                            if class == Class::Plain
                                && grant.is_expired(moment.now.plus_ms(-1000)) =>
                        {
                            return Next::Rank;
                        }
                        Verdict::Fails(_) => return Next::Entry,
                        _ => {}
                    }
                    outcome.add(effect, entry.grant, verdict);
                    if outcome.denied.is_some() {
                        Next::Stop
                    } else if verdict == Verdict::Holds {
                        Next::Key
                    } else {
                        Next::Entry
                    }
                });
                if next == Next::Stop {
                    return Next::Stop;
                }
            }
            Next::Entry
        });
        (outcome, waiting)
    }

    /// Whether what is not yet known could change the effect.
    fn depends(&self, request: &Request<'_>, pending: impl Fn(Why) -> bool + Copy) -> bool {
        let Some(ask) = self.ask(request) else {
            return false;
        };
        if ask.showing.is_some() {
            return false;
        }
        let mut depends = false;
        let mut is_denied = false;
        self.each(&ask, request, |place, item| {
            let (outcome, waiting) = self.outcome(&ask, place, item, &request.moment, pending);
            let decided = outcome.decision(ask.nothing);
            match decided.effect {
                Effect::Deny if decided.grant.is_some() => is_denied = true,
                Effect::Deny if waiting.approve || waiting.allow => depends = true,
                Effect::Deny => is_denied = true,
                Effect::Approve => depends |= waiting.deny,
                Effect::Allow => depends |= waiting.deny || waiting.approve,
            }
        });
        depends && !is_denied
    }
}

/// What is asked, apart from where.
pub(super) struct Ask<'p> {
    pub(super) principal: &'p Principal,
    target: Target<'p>,
    pub(super) family: Family,
    scope: Scope,
    /// The groups that open the operation and that some grant of the principal holds.
    groups: GroupSet,
    is_named_only: bool,
    is_write: bool,
    showing: Option<Showing>,
    /// The reason when nothing matches.
    nothing: Reason,
}

/// Where something is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Neither,
    /// With its position, if any grant names it.
    Zone(Option<u32>),
    Account(Option<u32>),
}

impl Place {
    /// The scopes that reach it.
    pub(super) fn scopes(self) -> [ScopeKey; 2] {
        match self {
            Self::Neither => [ScopeKey::NEITHER; 2],
            Self::Zone(None) => [ScopeKey::ALL_ZONES; 2],
            Self::Zone(Some(at)) => [ScopeKey::zone(at), ScopeKey::ALL_ZONES],
            Self::Account(None) => [ScopeKey::ALL_ACCOUNTS; 2],
            Self::Account(Some(at)) => [ScopeKey::account(at), ScopeKey::ALL_ACCOUNTS],
        }
    }
}

/// What the grants read so far come to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    denied: Option<(u32, Reason)>,
    approve: Option<u32>,
    /// An approve that cannot be judged: it does not open anything, but asks where another opens.
    asks: Option<u32>,
    allow: Option<u32>,
    /// Some grant would have opened it but for what cannot be judged.
    is_unjudged: bool,
}

impl Outcome {
    fn add(&mut self, effect: Effect, grant: u32, verdict: Verdict) {
        match (verdict, effect) {
            (Verdict::Fails(_), _) => {}
            (Verdict::Holds, Effect::Deny) => self.deny(grant, Reason::DeniedByGrant),
            (Verdict::Unjudged(_), Effect::Deny) => self.deny(grant, Reason::DenyUnjudged),
            (Verdict::Holds, Effect::Approve) => {
                self.approve.get_or_insert(grant);
            }
            (Verdict::Holds, Effect::Allow) => {
                self.allow.get_or_insert(grant);
            }
            (Verdict::Unjudged(why), Effect::Approve) => {
                self.asks.get_or_insert(grant);
                self.is_unjudged |= why != Why::NamedOnly;
            }
            (Verdict::Unjudged(_), Effect::Allow) => self.is_unjudged = true,
        }
    }

    fn deny(&mut self, grant: u32, reason: Reason) {
        if self.denied.is_none_or(|(_, known)| known > reason) {
            self.denied = Some((grant, reason));
        }
    }

    /// Whether another grant of this effect would change nothing.
    fn is_settled_for(&self, effect: Effect) -> bool {
        match effect {
            Effect::Deny => self.denied.is_some(),
            Effect::Approve => self.denied.is_some() || self.approve.is_some(),
            Effect::Allow => {
                self.denied.is_some() || self.approve.is_some() || self.allow.is_some()
            }
        }
    }

    fn decision(&self, nothing: Reason) -> Decision {
        if let Some((grant, reason)) = self.denied {
            return Decision::by(Effect::Deny, grant, reason);
        }
        match (self.approve, self.asks, self.allow) {
            (Some(grant), _, _) => Decision::by(Effect::Approve, grant, Reason::ApprovalRequired),
            (None, Some(grant), Some(_)) => {
                Decision::by(Effect::Approve, grant, Reason::ApprovalUnjudged)
            }
            (None, None, Some(grant)) => Decision::by(Effect::Allow, grant, Reason::Granted),
            (None, _, None) if self.is_unjudged => Decision::denied(Reason::Unjudged),
            (None, _, None) => Decision::denied(nothing),
        }
    }
}

/// The effects of grants whose verdict waits for facts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pending {
    deny: bool,
    approve: bool,
    allow: bool,
}

impl Pending {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Deny => self.deny = true,
            Effect::Approve => self.approve = true,
            Effect::Allow => self.allow = true,
        }
    }
}
