//! Which zones and accounts a principal may see.
//!
//! Every client starts with `GET /zones`, so any allow on a zone lets its holder see that zone,
//! whatever it allows there; likewise for accounts. A deny hides it again only when it is about
//! seeing it: when it names the operation, or by a group of zones (accounts) themselves. A deny on
//! some records of a zone says nothing about the zone.

use crate::catalog::{self, Family, Method, Operation};
use crate::config::document::Effect;
use crate::model::{AccountId, Timestamp, ZoneId};

use super::compile::in_order;
use super::conditions::Conditions;
use super::grant::{Families, Item, Verdict, Via};
use super::index::{Block, Next, Principal, ScopeKey, What};
use super::{Decision, Moment, Policy, PrincipalId, Reason};

/// The zones or accounts a principal may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible<T> {
    /// Every one.
    All,
    /// Every one but these.
    AllExcept(Vec<T>),
    /// These, with their names.
    Some(Vec<(T, String)>),
}

impl<T: PartialEq> Visible<T> {
    /// Whether this one may be seen.
    #[must_use]
    pub fn sees(&self, id: &T) -> bool {
        match self {
            Self::All => true,
            Self::AllExcept(hidden) => !hidden.contains(id),
            Self::Some(shown) => shown.iter().any(|(shown, _)| shown == id),
        }
    }

    /// How many there can be, where that is known.
    #[must_use]
    pub fn at_most(&self) -> Option<u64> {
        match self {
            Self::All | Self::AllExcept(_) => None,
            Self::Some(shown) => Some(shown.len() as u64),
        }
    }
}

/// The operations that show zones and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// `GET /zones` and `GET /accounts`: filtered by the gateway.
    List,
    /// One zone or account.
    One,
}

impl Showing {
    pub(super) fn of(operation: &Operation) -> Option<Self> {
        if operation.method() != Method::Get {
            return None;
        }
        match operation.template() {
            "/zones" | "/accounts" => Some(Self::List),
            "/zones/{zone_id}" | "/accounts/{account_id}" => Some(Self::One),
            _ => None,
        }
    }
}

/// An allow that shows a zone or account to a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    principal: u32,
    scope: ScopeKey,
    /// Those that more than their end limits come last.
    is_limited: bool,
    /// Those that end last come first.
    ends_before: i64,
    grant: u32,
}

impl Entry {
    pub(super) fn new(
        principal: u32,
        scope: ScopeKey,
        is_limited: bool,
        end: Option<Timestamp>,
        grant: u32,
    ) -> Self {
        // A negated end sorts late ones first; MIN is never reached.
        let ends_before = end.map_or(i64::MIN, |end| end.unix_ms().saturating_neg());
        Self {
            principal,
            scope,
            is_limited,
            ends_before,
            grant,
        }
    }
}

/// For each principal and scope the allow that lasts longest, and those that more than their end
/// limits.
#[derive(Debug, Default)]
pub(super) struct Index(Vec<Entry>);

impl Index {
    pub(super) fn build(mut entries: Vec<Entry>) -> Self {
        in_order(&mut entries);
        entries.dedup_by(|entry, first| {
            (entry.principal, entry.scope) == (first.principal, first.scope) && !entry.is_limited
        });
        Self(entries)
    }

    fn of(&self, principal: PrincipalId) -> &[Entry] {
        let start = self
            .0
            .partition_point(|entry| entry.principal < principal.0);
        let rest = self.0.get(start..).unwrap_or_default();
        let len = rest.partition_point(|entry| entry.principal == principal.0);
        rest.get(..len).unwrap_or_default()
    }
}

impl Policy {
    /// The zones the principal may see now.
    #[must_use]
    pub fn visible_zones(&self, principal: PrincipalId, moment: &Moment<'_>) -> Visible<ZoneId> {
        let at = |scope: ScopeKey| self.zones.get(scope.zone_position()?);
        self.visible(
            principal,
            moment,
            ScopeKey::ALL_ZONES,
            "GET /zones/{zone_id}",
            at,
        )
    }

    /// The accounts the principal may see now.
    #[must_use]
    pub fn visible_accounts(
        &self,
        principal: PrincipalId,
        moment: &Moment<'_>,
    ) -> Visible<AccountId> {
        let at = |scope: ScopeKey| self.accounts.get(scope.account_position()?);
        self.visible(
            principal,
            moment,
            ScopeKey::ALL_ACCOUNTS,
            "GET /accounts/{account_id}",
            at,
        )
    }

    fn visible<'p, T: Copy + 'p>(
        &'p self,
        id: PrincipalId,
        moment: &Moment<'_>,
        all: ScopeKey,
        operation: &str,
        at: impl Fn(ScopeKey) -> Option<&'p (T, Box<str>)>,
    ) -> Visible<T> {
        let nothing = Visible::Some(Vec::new());
        let (Some(principal), Some(operation)) =
            (self.entry(id), catalog::operation_named(operation))
        else {
            return nothing;
        };
        if self.hidden(principal, &operation, &[all], moment).is_some() {
            return nothing;
        }
        let is_hidden = |scope| {
            self.hidden(principal, &operation, &[scope], moment)
                .is_some()
        };
        let mut shown = Vec::new();
        let mut last = None;
        let lasting = self.visible.of(id).iter();
        for entry in lasting.filter(|entry| self.shows(entry, moment)) {
            if last.replace(entry.scope) == Some(entry.scope) {
                continue;
            }
            if entry.scope == all {
                let mut hidden = self.denied_scopes(principal, &operation);
                hidden.retain(|scope| is_hidden(*scope));
                let hidden: Vec<T> = hidden
                    .into_iter()
                    .filter_map(&at)
                    .map(|(id, _)| *id)
                    .collect();
                return if hidden.is_empty() {
                    Visible::All
                } else {
                    Visible::AllExcept(hidden)
                };
            }
            if let Some((id, name)) = at(entry.scope)
                && !is_hidden(entry.scope)
            {
                shown.push((*id, name.to_string()));
            }
        }
        Visible::Some(shown)
    }

    /// The allow by which the principal sees what the scopes say.
    pub(super) fn shown(
        &self,
        principal: PrincipalId,
        scopes: &[ScopeKey],
        moment: &Moment<'_>,
    ) -> Option<Decision> {
        let entries = self.visible.of(principal);
        scopes.iter().find_map(|scope| {
            let start = entries.partition_point(|entry| entry.scope < *scope);
            let rest = entries.get(start..)?.iter();
            rest.take_while(|entry| entry.scope == *scope)
                .find(|entry| self.shows(entry, moment))
                .map(|entry| Decision::by(Effect::Allow, entry.grant, Reason::Visible))
        })
    }

    /// Whether an allow holds now. How often it was used does not matter to what may be seen.
    fn shows(&self, entry: &Entry, moment: &Moment<'_>) -> bool {
        self.grants.get(entry.grant as usize).is_some_and(|grant| {
            let moment = Moment {
                used_up: &[],
                ..*moment
            };
            let holds = |conditions: &Conditions| {
                let limits = conditions.limits.as_ref();
                limits.is_none_or(|it| it.judge(grant.id, &moment) == Verdict::Holds)
            };
            !grant.is_expired(moment.now)
                && (!grant.is_limited || grant.conditions().is_some_and(holds))
        })
    }

    /// The denial by which the principal does not see what the scopes say, whatever is allowed.
    pub(super) fn hidden(
        &self,
        principal: &Principal,
        operation: &Operation,
        scopes: &[ScopeKey],
        moment: &Moment<'_>,
    ) -> Option<Decision> {
        let mut found = None;
        let via = Via {
            family: operation.family(),
            is_write: false,
            group: None,
            group_family: Families::NONE,
        };
        for block in self.about_seeing(principal, operation) {
            for scope in scopes {
                self.index.read(block, *scope, None, |entry, _| {
                    let Some(grant) = self.grants.get(entry.grant as usize) else {
                        return Next::Entry;
                    };
                    if entry.effect() != Effect::Deny {
                        return Next::Key;
                    }
                    let reason = match grant.judge(via, Item::Unread, moment) {
                        Verdict::Holds => Reason::DeniedByGrant,
                        Verdict::Unjudged(_) => Reason::DenyUnjudged,
                        Verdict::Fails(_) => return Next::Entry,
                    };
                    found = Some(Decision::by(Effect::Deny, entry.grant, reason));
                    Next::Stop
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        found
    }

    /// Every scope for which some deny is about seeing it.
    fn denied_scopes(&self, principal: &Principal, operation: &Operation) -> Vec<ScopeKey> {
        let entries = self.about_seeing(principal, operation);
        let mut scopes: Vec<_> = entries
            .flat_map(|block| self.index.entries(block))
            .filter(|entry| entry.effect() == Effect::Deny)
            .map(|entry| entry.scope())
            .collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }

    /// The blocks that name the operation or hold a group of zones or accounts themselves.
    fn about_seeing(
        &self,
        principal: &Principal,
        operation: &Operation,
    ) -> impl Iterator<Item = &Block> {
        let groups = operation.groups();
        let (id, family) = (operation.id(), operation.family());
        let named = self.index.blocks(&principal.operations).iter();
        let held = self.index.blocks(&principal.groups).iter();
        named
            .filter(move |block| block.what == What::Operation(id))
            .chain(held.filter(move |block| {
                matches!(block.what, What::Group(group) if groups.contains(group)
                    && family != Family::None
                    && catalog::group_family(group) == family)
            }))
    }
}
