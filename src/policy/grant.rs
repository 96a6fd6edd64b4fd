//! A compiled grant and what it says about one thing that is asked.

use crate::catalog::Family;
use crate::config::document::{self, Effect};
use crate::config::{Condition, conditions_of};
use crate::model::Timestamp;

use super::RecordFacts;
use super::dns::DnsMatcher;
use super::purge::{PurgeItem, PurgeMatcher};

/// A grant without its principals, permissions and scopes: those are the index's keys.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) name: Box<str>,
    pub(super) effect: Effect,
    pub(super) not_after: Option<Timestamp>,
    /// The families whose conditions it has.
    pub(super) families: Families,
    pub(super) dns: Option<Box<DnsMatcher>>,
    pub(super) purge: Option<Box<PurgeMatcher>>,
    /// The first condition that concerns every call and is not enforced yet.
    pub(super) unenforced: Option<&'static str>,
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

    /// The key of the first condition whose family is in the set and is not enforced yet.
    fn unenforced(self) -> Option<&'static str> {
        const KEYS: [(Family, &str); 7] = [
            (Family::Workers, "workers"),
            (Family::Settings, "settings"),
            (Family::Rulesets, "rulesets"),
            (Family::Lists, "lists"),
            (Family::Kv, "kv"),
            (Family::R2, "r2"),
            (Family::Graphql, "graphql"),
        ];
        KEYS.into_iter()
            .find(|(family, _)| self.has(*family))
            .map(|(_, key)| key)
    }
}

/// How a grant came to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Via {
    /// The family of the operation.
    pub(super) family: Family,
    /// The family of the permission group it matched by; none when it names the operation.
    pub(super) group: Families,
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
    DnsName,
    DnsType,
    DnsContent,
    DnsProxied,
    DnsCount,
    /// `dns` limits it and the records are not known.
    DnsUnread,
    /// `dns` limits it and speaks about records, but the operation is about something else.
    DnsElsewhere,
    Purge,
    /// Purging everything must be named.
    PurgeEverything,
    PurgeUnread,
    PurgeElsewhere,
    /// Its group does not reach what must be named.
    NamedOnly,
    /// The condition of this key is not enforced yet.
    Unenforced(&'static str),
}

impl Grant {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|end| now >= end)
    }

    /// Judges one item. A condition of a product concerns the operations of its family and what
    /// is reached through a permission group of it; what is known to fail comes before what cannot
    /// be judged, because a grant with a failing condition does not match, whatever its effect.
    #[inline]
    pub(super) fn judge(&self, via: Via, item: Item<'_>, now: Timestamp) -> Verdict {
        if self.is_expired(now) {
            return Verdict::Fails(Why::Expired);
        }
        if self.families.is_empty() && self.unenforced.is_none() && via.family != Family::Purge {
            return Verdict::Holds;
        }
        self.judge_conditions(via, item)
    }

    fn judge_conditions(&self, via: Via, item: Item<'_>) -> Verdict {
        let concerning = self.families.and(Families::of(via.family).or(via.group));
        let product = if via.family == Family::Purge {
            self.judge_purge(item)
        } else if via.family == Family::Dns && concerning.has(Family::Dns) {
            self.judge_dns(item)
        } else {
            Verdict::Holds
        };
        if matches!(product, Verdict::Fails(_)) {
            return product;
        }
        // Knowing more of the call would not help where something else cannot be judged.
        let why = if via.family != Family::Dns && concerning.has(Family::Dns) {
            Some(Why::DnsElsewhere)
        } else if via.family != Family::Purge && concerning.has(Family::Purge) {
            Some(Why::PurgeElsewhere)
        } else {
            concerning
                .unenforced()
                .or(self.unenforced)
                .map(Why::Unenforced)
        };
        why.map_or(product, Verdict::Unjudged)
    }

    fn judge_dns(&self, item: Item<'_>) -> Verdict {
        match (&self.dns, item) {
            (None, _) => Verdict::Holds,
            (Some(dns), Item::Record(record, changes)) => dns.judge(record, changes),
            (Some(_), _) => Verdict::Unjudged(Why::DnsUnread),
        }
    }

    /// Without `purge`, a deny is about every purge and an allow about every one except everything.
    fn judge_purge(&self, item: Item<'_>) -> Verdict {
        match (&self.purge, item) {
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
            (_, _) => Verdict::Unjudged(Why::PurgeUnread),
        }
    }
}

/// The first condition of a grant that concerns every call and is not enforced yet.
pub(super) fn unenforced(grant: &document::Grant) -> Option<&'static str> {
    conditions_of(grant)
        .find(|condition| family_of(*condition) == Family::None && !condition.is_enforced())
        .map(Condition::key)
}

/// The families whose conditions a grant has.
pub(super) fn families(grant: &document::Grant) -> Families {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ENFORCED;

    #[test]
    fn what_the_configuration_calls_enforced_is_what_is_enforced_here() {
        assert_eq!(
            ENFORCED,
            [Condition::Dns, Condition::Purge, Condition::NotAfter]
        );
    }
}
