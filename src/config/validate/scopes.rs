//! What the permissions and operations of a grant are about, and so what it must name.

use std::collections::BTreeMap;

use crate::catalog::{self, GroupId, Operation, Scope};

/// Scopes of some operations, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    pub(super) zone: bool,
    pub(super) account: bool,
    /// Neither; reached by a grant that names neither.
    pub(super) other: bool,
}

impl Scopes {
    /// Every scope, as of an operation nothing is known about.
    pub(super) const ANY: Self = Self {
        zone: true,
        account: true,
        other: true,
    };

    pub(super) fn of(operation: &Operation) -> Self {
        let scope = operation.scope();
        Self {
            zone: scope == Scope::Zone,
            account: scope == Scope::Account,
            other: matches!(scope, Scope::User | Scope::Other),
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.zone |= more.zone;
        self.account |= more.account;
        self.other |= more.other;
    }

    /// Why a grant that names zones or accounts as told reaches nothing of these scopes; `None` if
    /// it may.
    pub(super) fn out_of_reach(self, zones: bool, accounts: bool) -> Option<&'static str> {
        let reached = (self.zone && zones)
            || (self.account && accounts)
            || (self.other && !zones && !accounts)
            || self == Self::default();
        if reached {
            return None;
        }
        Some(match (self.zone, self.account) {
            (true, true) => "are about zones and accounts, and it names neither",
            (true, false) => "are about zones, and it names no zones",
            (false, true) => "are about accounts, and it names no accounts",
            (false, false) => "are about neither zones nor accounts, and it names some",
        })
    }
}

/// What each permission group is about.
///
/// Groups also open a few reads beyond that (`DNS Write` lists the regions of an account), so not
/// every operation counts: of a group that writes anything only what writes, of others a scope
/// that has an eighth of the operations.
pub(super) struct GroupScopes(BTreeMap<GroupId, Opened>);

/// How many operations of each scope a group opens.
#[derive(Default)]
struct Opened {
    writes: Counts,
    all: Counts,
}

#[derive(Default)]
struct Counts {
    zone: u32,
    account: u32,
    other: u32,
}

impl Counts {
    fn add(&mut self, scope: Scope) {
        match scope {
            Scope::Zone => self.zone += 1,
            Scope::Account => self.account += 1,
            Scope::User | Scope::Other => self.other += 1,
        }
    }

    fn total(&self) -> u32 {
        self.zone + self.account + self.other
    }

    fn scopes(&self, at_least: u32) -> Scopes {
        Scopes {
            zone: self.zone >= at_least,
            account: self.account >= at_least,
            other: self.other >= at_least,
        }
    }
}

impl GroupScopes {
    pub(super) fn of_catalogue() -> Self {
        let mut groups: BTreeMap<GroupId, Opened> = BTreeMap::new();
        for operation in catalog::operations().filter(|operation| !operation.named_only()) {
            for group in operation.groups().iter() {
                let opened = groups.entry(group).or_default();
                opened.all.add(operation.scope());
                if operation.is_write() {
                    opened.writes.add(operation.scope());
                }
            }
        }
        Self(groups)
    }

    /// [`Scopes::ANY`] for a group that opens no operation.
    pub(super) fn of(&self, group: GroupId) -> Scopes {
        self.0.get(&group).map_or(Scopes::ANY, |opened| {
            if opened.writes.total() > 0 {
                opened.writes.scopes(1)
            } else {
                opened.all.scopes(opened.all.total().div_ceil(8))
            }
        })
    }
}
