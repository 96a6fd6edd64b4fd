//! A compiled grant and what it says about one thing that is asked.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::catalog::{Family, GroupId, phase_groups};
use crate::config::document::{self, Effect};
use crate::config::{Condition, conditions_of};
use crate::model::Timestamp;

use super::conditions::{Conditions, Source};
use super::limits::Limits;
use super::purge::PurgeItem;
use super::workers::{Right, bare};
use super::{Counts, GrantId, Moment, RecordFacts, Thing, WorkerPart};

/// A grant without its principals, permissions and scopes: those are the index's keys.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) id: GrantId,
    pub(super) effect: Effect,
    pub(super) not_after: Option<Timestamp>,
    /// The families whose conditions it has.
    families: Families,
    /// Whether more than its end limits every call.
    pub(super) is_limited: bool,
    source: Rc<Source>,
    /// Compiled by the first call that meets it; none when they cannot be.
    conditions: OnceCell<Option<Box<Conditions>>>,
}

/// A set of condition families.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Families(u16);

impl Families {
    pub(super) const NONE: Self = Self(0);

    /// The family, if a condition of a grant belongs to it.
    pub(super) const fn of(family: Family) -> Self {
        Self(match family {
            Family::Dns => 1,
            Family::Purge => 1 << 1,
            Family::Workers => 1 << 2,
            Family::Settings => 1 << 3,
            Family::Rulesets => 1 << 4,
            Family::Lists => 1 << 5,
            Family::Kv => 1 << 6,
            Family::R2 => 1 << 7,
            Family::Graphql => 1 << 8,
            Family::None | Family::Zones | Family::Accounts | Family::D1 => 0,
        })
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, family: Family) -> bool {
        self.0 & Self::of(family).0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first family of the set but for `other`.
    fn first_but(self, other: Family) -> Option<Family> {
        let rest = Self(self.0 & !Self::of(other).0);
        Family::ALL.iter().copied().find(|family| rest.has(*family))
    }
}

/// How a grant came to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Via {
    /// The family of the operation.
    pub(super) family: Family,
    /// Whether the operation may change something.
    pub(super) is_write: bool,
    /// The permission group it matched by; none when it names the operation.
    pub(super) group: Option<GroupId>,
    /// The family of that group.
    pub(super) group_family: Families,
}

/// One thing that is judged: a call is allowed when each of its items is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    /// Nothing is known beyond the path.
    Unread,
    /// A record of a call that changes so many.
    Record(&'a RecordFacts, usize),
    /// A part of a purge.
    Purge(&'a PurgeItem<'a>),
    /// Something that is named.
    Thing(&'a Thing),
    /// A part of what is done to a Worker, with what binding it takes.
    Worker {
        script: &'a str,
        part: &'a WorkerPart,
        right: Right,
    },
}

/// What a grant says about an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every condition holds.
    Holds,
    /// A condition does not.
    Fails(Why),
    /// No condition is known to fail, but one cannot be judged.
    Unjudged(Why),
}

/// Which condition failed or could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Expired,
    NotYet,
    SourceIp,
    Hours,
    UsedUp,
    DnsName,
    DnsType,
    DnsContent,
    DnsProxied,
    DnsCount,
    Purge,
    /// Purging everything must be named.
    PurgeEverything,
    /// The name is not listed.
    Name(Family),
    /// The key is not listed.
    Key,
    /// The permission group does not open the ruleset's phase.
    Phase,
    Script,
    Binding,
    /// The caller has no right to what would be bound.
    BindingNotHeld,
    Route,
    Digest,
    Keep,
    Inherit,
    FullDeploy,
    /// A condition limits it and what the call is about is not known.
    Unread(Family),
    /// A condition limits it and speaks about a product, but the operation is about something else.
    Elsewhere(Family),
    /// Its group does not reach what must be named.
    NamedOnly,
    /// What is written of it cannot be compiled, though it could when it was stored.
    Unreadable,
}

impl Grant {
    pub(super) fn new(id: GrantId, written: &document::Grant, source: Rc<Source>) -> Self {
        Self {
            id,
            effect: written.effect,
            not_after: written.not_after,
            families: families(written),
            is_limited: Limits::are_in(written),
            source,
            conditions: OnceCell::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        let written = self.source.grant(self.id);
        written.map_or("", |written| &written.name)
    }

    /// Its conditions, compiled; none when they cannot be.
    pub(super) fn conditions(&self) -> Option<&Conditions> {
        let compile = || {
            let written = self.source.grant(self.id)?;
            let conditions = Conditions::compile(written, &self.source.resolution);
            conditions.ok().map(Box::new)
        };
        self.conditions.get_or_init(compile).as_deref()
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| now >= end)
    }

    /// How often it may be used.
    pub(super) fn counts(&self) -> Counts {
        let written = self.source.grant(self.id);
        written.map(Counts::of).unwrap_or_default()
    }

    /// Whether it says how often it may be used.
    pub(super) fn is_counted(&self) -> bool {
        self.is_limited && !self.counts().is_empty()
    }

    /// Whether nothing but its end limits it.
    pub(super) fn is_plain(&self) -> bool {
        self.families.is_empty() && !self.is_limited
    }

    /// Judges one item. A condition of a product concerns the operations of its family and what
    /// is reached through a permission group of it; what is known to fail comes before what cannot
    /// be judged, because a grant with a failing condition does not match, whatever its effect.
    #[inline]
    pub(super) fn judge(&self, via: Via, item: Item<'_>, moment: &Moment<'_>) -> Verdict {
        if self.is_expired(moment.now) {
            return Verdict::Fails(Why::Expired);
        }
        let has_rules = matches!(
            via.family,
            Family::Purge | Family::Rulesets | Family::Workers
        );
        if self.is_plain() && !has_rules {
            return Verdict::Holds;
        }
        self.judge_conditions(via, item, moment)
    }

    fn judge_conditions(&self, via: Via, item: Item<'_>, moment: &Moment<'_>) -> Verdict {
        let Some(conditions) = self.conditions() else {
            return Verdict::Unjudged(Why::Unreadable);
        };
        let limits = match &conditions.limits {
            Some(limits) => limits.judge(self.id, moment),
            None => Verdict::Holds,
        };
        if matches!(limits, Verdict::Fails(_)) {
            return limits;
        }
        let product = match via.family {
            Family::Purge => self.judge_purge(conditions, item),
            Family::Dns => Self::judge_dns(conditions, item),
            Family::Workers => self.judge_worker(conditions, item),
            family => match conditions.listed(family) {
                Some(listed) => match item {
                    Item::Thing(thing) => listed.judge(thing),
                    _ => Verdict::Unjudged(Why::Unread(family)),
                },
                None if family == Family::Rulesets => Self::judge_phase(via, item),
                None => Verdict::Holds,
            },
        };
        if matches!(product, Verdict::Fails(_)) {
            return product;
        }
        // Reading more of the call may show that a deny or an approve does not mean it, but does not
        // help an allow where something else cannot be judged.
        if self.effect != Effect::Allow && matches!(product, Verdict::Unjudged(Why::Unread(_))) {
            return product;
        }
        let concerning = self
            .families
            .and(Families::of(via.family).or(via.group_family));
        match concerning.first_but(via.family) {
            Some(family) => Verdict::Unjudged(Why::Elsewhere(family)),
            None if limits != Verdict::Holds => limits,
            None => product,
        }
    }

    fn judge_dns(conditions: &Conditions, item: Item<'_>) -> Verdict {
        match (&conditions.dns, item) {
            (None, _) => Verdict::Holds,
            (Some(dns), Item::Record(record, changes)) => dns.judge(record, changes),
            (Some(_), _) => Verdict::Unjudged(Why::Unread(Family::Dns)),
        }
    }

    /// A group opens the phases it is meant for; what names the operation, or only reads, opens all.
    fn judge_phase(via: Via, item: Item<'_>) -> Verdict {
        match (via.group, item) {
            (Some(group), Item::Thing(phase)) if via.is_write => {
                if phase_groups(&phase.name).contains(group) {
                    Verdict::Holds
                } else {
                    Verdict::Fails(Why::Phase)
                }
            }
            (Some(_), _) if via.is_write => Verdict::Unjudged(Why::Unread(Family::Rulesets)),
            _ => Verdict::Holds,
        }
    }

    fn judge_worker(&self, conditions: &Conditions, item: Item<'_>) -> Verdict {
        match (&conditions.workers, item) {
            (
                Some(workers),
                Item::Worker {
                    script,
                    part,
                    right,
                },
            ) => workers.judge(script, part, right, self.effect),
            (
                None,
                Item::Worker {
                    part: WorkerPart::Binding { .. },
                    right,
                    ..
                },
            ) if self.effect != Effect::Deny => bare(right),
            (None, _) => Verdict::Holds,
            (Some(_), _) => Verdict::Unjudged(Why::Unread(Family::Workers)),
        }
    }

    /// Without `purge`, a deny is about every purge and an allow about every one except everything.
    fn judge_purge(&self, conditions: &Conditions, item: Item<'_>) -> Verdict {
        match (&conditions.purge, item) {
            (Some(purge), Item::Purge(item)) => match purge.judge(item, self.effect) {
                Verdict::Fails(_) if matches!(item, PurgeItem::Everything) => {
                    Verdict::Fails(Why::PurgeEverything)
                }
                verdict => verdict,
            },
            (None, _) if self.effect == Effect::Deny => Verdict::Holds,
            (None, Item::Purge(PurgeItem::Everything)) => match self.effect {
                Effect::Approve => Verdict::Unjudged(Why::PurgeEverything),
                _ => Verdict::Fails(Why::PurgeEverything),
            },
            (None, Item::Purge(_)) => Verdict::Holds,
            (_, _) => Verdict::Unjudged(Why::Unread(Family::Purge)),
        }
    }
}

/// The families whose conditions a grant has.
fn families(grant: &document::Grant) -> Families {
    conditions_of(grant).fold(Families::NONE, |set, condition| {
        set.or(Families::of(family_of(condition)))
    })
}

/// The product a condition speaks about; none when it concerns every call.
fn family_of(condition: Condition) -> Family {
    match condition {
        Condition::Dns => Family::Dns,
        Condition::Purge => Family::Purge,
        Condition::Workers => Family::Workers,
        Condition::Settings => Family::Settings,
        Condition::Rulesets => Family::Rulesets,
        Condition::Lists => Family::Lists,
        Condition::Kv => Family::Kv,
        Condition::R2 => Family::R2,
        Condition::Graphql => Family::Graphql,
        Condition::SourceIps
        | Condition::NotBefore
        | Condition::NotAfter
        | Condition::Hours
        | Condition::MaxUses
        | Condition::PerMinute
        | Condition::MaxDeletesPerHour => Family::None,
    }
}
