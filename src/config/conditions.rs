//! Which conditions a grant can have.

use super::document::Grant;

/// A condition of a grant, beyond who, what and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// `dns`
    Dns,
    /// `purge`
    Purge,
    /// `workers`
    Workers,
    /// `settings`
    Settings,
    /// `rulesets`
    Rulesets,
    /// `lists`
    Lists,
    /// `kv`
    Kv,
    /// `r2`
    R2,
    /// `graphql`
    Graphql,
    /// `source_ips`
    SourceIps,
    /// `not_before`
    NotBefore,
    /// `not_after`
    NotAfter,
    /// `hours`
    Hours,
    /// `max_uses`
    MaxUses,
    /// `per_minute`
    PerMinute,
    /// `max_deletes_per_hour`
    MaxDeletesPerHour,
}

impl Condition {
    /// Its key in a grant.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Purge => "purge",
            Self::Workers => "workers",
            Self::Settings => "settings",
            Self::Rulesets => "rulesets",
            Self::Lists => "lists",
            Self::Kv => "kv",
            Self::R2 => "r2",
            Self::Graphql => "graphql",
            Self::SourceIps => "source_ips",
            Self::NotBefore => "not_before",
            Self::NotAfter => "not_after",
            Self::Hours => "hours",
            Self::MaxUses => "max_uses",
            Self::PerMinute => "per_minute",
            Self::MaxDeletesPerHour => "max_deletes_per_hour",
        }
    }
}

/// The conditions a grant has, in the order of the schema.
pub fn conditions_of(grant: &Grant) -> impl Iterator<Item = Condition> + use<> {
    [
        (Condition::Dns, grant.dns.is_some()),
        (Condition::Purge, grant.purge.is_some()),
        (Condition::Workers, grant.workers.is_some()),
        (Condition::Settings, grant.settings.is_some()),
        (Condition::Rulesets, grant.rulesets.is_some()),
        (Condition::Lists, grant.lists.is_some()),
        (Condition::Kv, grant.kv.is_some()),
        (Condition::R2, grant.r2.is_some()),
        (Condition::Graphql, grant.graphql.is_some()),
        (Condition::SourceIps, !grant.source_ips.is_empty()),
        (Condition::NotBefore, grant.not_before.is_some()),
        (Condition::NotAfter, grant.not_after.is_some()),
        (Condition::Hours, grant.hours.is_some()),
        (Condition::MaxUses, grant.max_uses.is_some()),
        (Condition::PerMinute, grant.per_minute.is_some()),
        (
            Condition::MaxDeletesPerHour,
            grant.max_deletes_per_hour.is_some(),
        ),
    ]
    .into_iter()
    .filter_map(|(condition, present)| present.then_some(condition))
}
