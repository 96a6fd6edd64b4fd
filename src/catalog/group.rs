//! Permission groups: Cloudflare's own, by their published names, and Zonekeeper's.
//!
//! INVARIANT: group ids follow the order of the names, so a lookup is a binary search.

use super::facts::Family;
use super::table::{self, GROUP_WORDS, GroupRecord};
use crate::model::edits;

/// The index of a permission group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(super) u16);

/// A set of permission groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct GroupSet([u64; GROUP_WORDS]);

impl GroupSet {
    /// The set of nothing.
    pub const EMPTY: Self = Self([0; GROUP_WORDS]);

    pub(super) const fn from_words(words: [u64; GROUP_WORDS]) -> Self {
        Self(words)
    }

    /// Whether the set has nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many groups are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether `group` is in it.
    #[must_use]
    pub fn contains(&self, group: GroupId) -> bool {
        self.0
            .get(usize::from(group.0 / 64))
            .is_some_and(|word| word >> (group.0 % 64) & 1 == 1)
    }

    /// Puts `group` in.
    pub fn insert(&mut self, group: GroupId) {
        if let Some(word) = self.0.get_mut(usize::from(group.0 / 64)) {
            *word |= 1 << (group.0 % 64);
        }
    }

    /// Whether the two have a group in common.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// What the two have in common.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(&other.0) {
            *word &= other;
        }
        Self(words)
    }

    /// Everything that is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(&other.0) {
            *word |= other;
        }
        Self(words)
    }

    /// The groups in it, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = GroupId> + use<> {
        let set = *self;
        groups().filter(move |group| set.contains(*group))
    }
}

impl FromIterator<GroupId> for GroupSet {
    fn from_iter<I: IntoIterator<Item = GroupId>>(groups: I) -> Self {
        let mut set = Self::EMPTY;
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}

/// Every permission group, in the order of their names.
pub fn groups() -> impl Iterator<Item = GroupId> {
    (0..table::group_count()).map(GroupId)
}

/// The published name of a group.
#[must_use]
pub fn group_name(id: GroupId) -> &'static str {
    let name = table::group_names().get(usize::from(id.0));
    name.copied().unwrap_or_default()
}

/// The group of exactly this name. `… Edit` is accepted for `… Write`, as the dashboard and the
/// schema use both, and the schema's `Account Filter Lists` for `Account Rule Lists`.
#[must_use]
pub fn group_named(name: &str) -> Option<GroupId> {
    exactly(name).or_else(|| {
        let name = match name.strip_prefix("Account Filter Lists") {
            Some(rest) => format!("Account Rule Lists{rest}"),
            None => name.to_owned(),
        };
        let other = match (name.strip_suffix(" Edit"), name.strip_suffix(" Write")) {
            (Some(stem), _) => format!("{stem} Write"),
            (_, Some(stem)) => format!("{stem} Edit"),
            _ => return exactly(&name),
        };
        exactly(&name).or_else(|| exactly(&other))
    })
}

fn exactly(name: &str) -> Option<GroupId> {
    let found = table::group_names().binary_search(&name).ok()?;
    u16::try_from(found).ok().map(GroupId)
}

/// The group whose name is nearest to `name`, for the message that refuses it.
#[must_use]
pub fn nearest_group(name: &str) -> &'static str {
    groups()
        .map(group_name)
        .min_by_key(|candidate| edits(name, candidate))
        .unwrap_or("")
}

/// The group that only reads what `write` may also change: `DNS Read` for `DNS Write`.
#[must_use]
pub fn read_group_of(write: GroupId) -> Option<GroupId> {
    GroupRecord::get(write.0)?.reads.map(GroupId)
}

/// The grant condition that speaks about what the group opens.
#[must_use]
pub fn group_family(id: GroupId) -> Family {
    GroupRecord::get(id.0).map_or(Family::None, |group| Family::from_code(group.family))
}

/// Whether the group is one of Zonekeeper's own, which open `/api/v1` and no operation.
#[must_use]
pub fn is_own_group(id: GroupId) -> bool {
    GroupRecord::get(id.0).is_some_and(|group| group.own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> GroupId {
        group_named(name).unwrap_or_else(|| panic!("no group {name:?}"))
    }

    #[test]
    fn every_group_is_found_by_its_name() {
        assert!(groups().count() > 250);
        for group in groups() {
            assert_eq!(group_named(group_name(group)), Some(group));
        }
        assert_eq!(group_named("dns write"), None);
        assert_eq!(group_named(""), None);
    }

    #[test]
    fn edit_is_accepted_for_write_and_the_schema_name_for_lists() {
        assert_eq!(group_named("DNS Edit"), Some(named("DNS Write")));
        assert_eq!(group_named("Zaraz Write"), Some(named("Zaraz Edit")));
        assert_eq!(
            group_named("Account Filter Lists Edit"),
            Some(named("Account Rule Lists Write"))
        );
        assert_eq!(
            group_named("Account Filter Lists Read"),
            Some(named("Account Rule Lists Read"))
        );
        assert_eq!(group_named("Nothing Edit"), None);
    }

    #[test]
    fn nearest_group_forgives_case_and_typing() {
        assert_eq!(nearest_group("DNS Wirte"), "DNS Write");
        assert_eq!(nearest_group("dns write"), "DNS Write");
        assert_eq!(
            nearest_group("Workers Script Write"),
            "Workers Scripts Write"
        );
        assert_eq!(nearest_group("Zonekeeper Job Run"), "Zonekeeper Jobs Run");
        assert!(!nearest_group(&"é".repeat(10_000)).is_empty());
    }

    #[test]
    fn write_groups_have_their_read_group() {
        for (write, read) in [
            ("DNS Write", Some("DNS Read")),
            ("Workers KV Storage Write", Some("Workers KV Storage Read")),
            ("Zaraz Edit", Some("Zaraz Read")),
            ("Page Shield", Some("Page Shield Read")),
            ("Zonekeeper Jobs Run", Some("Zonekeeper Jobs Read")),
            ("DNS Read", None),
            ("Cache Purge", None),
        ] {
            assert_eq!(read_group_of(named(write)), read.map(named), "{write}");
        }
    }

    #[test]
    fn families_follow_the_conditions_of_a_grant() {
        for (group, family) in [
            ("DNS Write", Family::Dns),
            ("Cache Purge", Family::Purge),
            ("Zone Write", Family::Zones),
            ("Account Settings Read", Family::Accounts),
            ("Workers Scripts Write", Family::Workers),
            ("Workers Routes Read", Family::Workers),
            ("Zone Settings Write", Family::Settings),
            ("Zone WAF Write", Family::Rulesets),
            ("Account Rule Lists Read", Family::Lists),
            ("Workers KV Storage Write", Family::Kv),
            ("Workers R2 Storage Write", Family::R2),
            ("Account Analytics Read", Family::Graphql),
            ("D1 Read", Family::D1),
            ("Pages Write", Family::None),
        ] {
            assert_eq!(group_family(named(group)), family, "{group}");
        }
    }

    #[test]
    fn sets_hold_what_is_put_in() {
        let every: GroupSet = groups().collect();
        assert_eq!(every.len(), groups().count());
        let dns: GroupSet = [named("DNS Write")].into_iter().collect();
        assert!(dns.intersects(&every) && dns.contains(named("DNS Write")));
        assert!(!dns.contains(named("DNS Read")) && !GroupSet::EMPTY.intersects(&every));
        assert_eq!(dns.intersection(&every), dns);
        assert_eq!(
            dns.union(&GroupSet::EMPTY).iter().collect::<Vec<_>>(),
            [named("DNS Write")]
        );
        assert!(!every.contains(GroupId(u16::MAX)));
    }

    #[test]
    fn own_groups_are_known_and_no_operation_accepts_them() {
        let own: GroupSet = groups().filter(|group| is_own_group(*group)).collect();
        assert_eq!(own.len(), 7);
        assert!(own.contains(named("Zonekeeper Config Write")));
        assert!(!super::super::operations().any(|operation| operation.groups().intersects(&own)));
    }
}
