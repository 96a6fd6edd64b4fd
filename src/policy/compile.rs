//! From the document as written to the policy that decides.

use crate::catalog::{self, Family, GroupId, GroupSet, Operation, OperationId};
use crate::config::Resolution;
use crate::config::document::{self, Document, Effect};
use crate::model::InvalidPattern;

use super::dns::DnsMatcher;
use super::grant::{Families, Grant, families};
use super::index::{
    Class, Entry, Index, MAX_ENTRIES, MAX_PRINCIPALS, MAX_SCOPES, Principal, Rank, ScopeKey, What,
    name_hash,
};
use super::limits::Limits;
use super::purge::PurgeMatcher;
use super::template::Template;
use super::things::Listed;
use super::workers::WorkersMatcher;
use super::{GrantId, Policy, visible};

/// What a grant says that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", grant.as_ref().map_or_else(String::new, |name| format!("the grant `{name}`: ")))]
pub struct CompileError {
    /// The name of the grant; none when it is the document as a whole.
    pub grant: Option<String>,
    /// What is wrong with it.
    pub problem: CompileProblem,
}

/// Why a grant cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileProblem {
    /// It is for a principal that is not declared.
    #[error("there is no principal `{0}`")]
    UnknownPrincipal(String),
    /// It gives a permission group that does not exist.
    #[error("there is no permission group `{0}`; the nearest is `{1}`")]
    UnknownPermission(String, &'static str),
    /// It names neither an operation of the catalogue nor a `METHOD /template`.
    #[error("there is no operation `{0}`")]
    UnknownOperation(String),
    /// Its zone has not been resolved to an id.
    #[error("the zone `{0}` is not resolved")]
    UnresolvedZone(String),
    /// Its account has not been resolved to an id.
    #[error("the account `{0}` is not resolved")]
    UnresolvedAccount(String),
    /// A pattern of `dns.names` is not one.
    #[error("`{0}` in dns.names: {1}")]
    Pattern(String, InvalidPattern),
    /// A prefix of `purge.prefixes` is not `host/path`.
    #[error("`{0}` in purge.prefixes is not a host and path, such as `example.com/news/`")]
    Prefix(String),
    /// There is more than the index has room for.
    #[error("principals × permissions × zones of all grants are more than the policy has room for")]
    TooLarge,
}

/// Compiles a document whose zones and accounts have been resolved.
///
/// # Errors
/// The first grant that does not resolve, by name.
pub fn compile(document: &Document, resolution: &Resolution) -> Result<Policy, CompileError> {
    let mut compiler = Compiler::new(document, resolution)?;
    for grant in &document.grants {
        compiler
            .add(grant, resolution)
            .map_err(|problem| CompileError {
                grant: Some(grant.name.clone()),
                problem,
            })?;
    }
    Ok(compiler.finish())
}

/// Numbers of `what` in an entry's key: groups, then operations, then templates.
const FIRST_OPERATION: u16 = 0x1000;
const FIRST_TEMPLATE: u16 = 0x4000;
const MAX_TEMPLATES: usize = 0x8000;

struct Compiler<'d> {
    principals: Vec<&'d str>,
    grants: Vec<Grant>,
    zones: Vec<(crate::model::ZoneId, Box<str>)>,
    accounts: Vec<(crate::model::AccountId, Box<str>)>,
    /// Every group there is, sorted; entries hold positions.
    groups: Vec<GroupId>,
    operations: Vec<OperationId>,
    templates: Vec<Template>,
    entries: Vec<Entry>,
    visible: Vec<visible::Entry>,
    /// Whether any grant counts its uses.
    counts: bool,
    /// Room that is used again for each grant.
    whats: Vec<(u16, Families)>,
    scopes: Vec<ScopeKey>,
    holders: Vec<u32>,
}

impl<'d> Compiler<'d> {
    fn new(document: &'d Document, resolution: &Resolution) -> Result<Self, CompileError> {
        let whole = |problem| CompileError {
            grant: None,
            problem,
        };
        let mut principals: Vec<_> = document
            .principals
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        in_order(&mut principals);
        principals.dedup();
        let mut zones: Vec<_> = resolution
            .zones
            .values()
            .map(|zone| (zone.id, zone.name.as_str().into()))
            .collect();
        in_order(&mut zones);
        zones.dedup_by_key(|zone| zone.0);
        let mut accounts: Vec<_> = resolution
            .accounts
            .values()
            .map(|a| (a.id, a.name.as_str().into()))
            .collect();
        in_order(&mut accounts);
        accounts.dedup_by_key(|account| account.0);
        let mut operations = Vec::new();
        let mut templates = Vec::new();
        for grant in &document.grants {
            for text in &grant.operations {
                match named(text) {
                    Some(Named::Operation(operation)) => operations.push(operation.id()),
                    Some(Named::Template(template)) => templates.push(template),
                    None => {
                        return Err(CompileError {
                            grant: Some(grant.name.clone()),
                            problem: CompileProblem::UnknownOperation(text.clone()),
                        });
                    }
                }
            }
        }
        in_order(&mut operations);
        operations.dedup();
        in_order(&mut templates);
        templates.dedup();
        if principals.len() > MAX_PRINCIPALS
            || zones.len().max(accounts.len()) > MAX_SCOPES
            || templates.len() > MAX_TEMPLATES
        {
            return Err(whole(CompileProblem::TooLarge));
        }
        Ok(Self {
            principals,
            grants: Vec::with_capacity(document.grants.len()),
            zones,
            accounts,
            groups: catalog::groups().collect(),
            operations,
            templates,
            entries: Vec::with_capacity(document.grants.len() * 2),
            visible: Vec::with_capacity(document.grants.len()),
            counts: false,
            whats: Vec::new(),
            scopes: Vec::new(),
            holders: Vec::new(),
        })
    }

    fn add(&mut self, written: &document::Grant, at: &Resolution) -> Result<(), CompileProblem> {
        self.find_holders(written)?;
        self.find_whats(written)?;
        self.find_scopes(written, at)?;
        let size = self
            .holders
            .len()
            .saturating_mul(self.whats.len().saturating_mul(self.scopes.len()));
        if self.entries.len().saturating_add(size) > MAX_ENTRIES {
            return Err(CompileProblem::TooLarge);
        }
        let dns = written.dns.as_ref().map(DnsMatcher::compile).transpose();
        let dns = dns.map_err(|(text, error)| CompileProblem::Pattern(text, error))?;
        let purge = written
            .purge
            .as_ref()
            .map(PurgeMatcher::compile)
            .transpose();
        let number = u32::try_from(self.grants.len()).map_err(|_| CompileProblem::TooLarge)?;
        let is_everywhere = written.accounts.iter().any(|text| text == "*");
        let named = written.accounts.iter();
        let accounts: Vec<_> = named
            .filter_map(|text| at.accounts.get(text))
            .map(|account| account.id)
            .collect();
        let accounts = (!is_everywhere).then_some(&*accounts);
        let grant = Grant {
            id: GrantId(number),
            name: written.name.as_str().into(),
            effect: written.effect,
            not_after: written.not_after,
            families: families(written),
            limits: Limits::compile(written).map(Box::new),
            dns: dns.map(Box::new),
            purge: purge.map_err(CompileProblem::Prefix)?.map(Box::new),
            workers: written
                .workers
                .as_ref()
                .map(|it| WorkersMatcher::compile(it, written.effect, at, accounts))
                .map(Box::new),
            listed: Listed::compile(written, at, accounts).into(),
        };
        self.add_entries(&grant, number);
        self.counts |= grant.is_counted();
        if grant.effect == Effect::Allow {
            let is_limited = grant.limits.is_some();
            for principal in &self.holders {
                let entries = self
                    .scopes
                    .iter()
                    .filter(|scope| **scope != ScopeKey::NEITHER);
                self.visible.extend(entries.map(|scope| {
                    visible::Entry::new(*principal, *scope, is_limited, grant.not_after, number)
                }));
            }
        }
        self.grants.push(grant);
        Ok(())
    }

    fn add_entries(&mut self, grant: &Grant, number: u32) {
        let names = grant.dns.as_ref().and_then(|dns| dns.exact_names());
        let hashes: Option<Vec<u32>> =
            names.map(|names| names.into_iter().map(name_hash).collect());
        let is_plain = grant.is_plain();
        // Those that never end come first, then those that end last.
        let plain_order = [grant.not_after.map_or(0, |end| {
            u32::MAX - u32::try_from(end.unix_ms().max(0) / 1000).unwrap_or(u32::MAX)
        })];
        for (what, family) in &self.whats {
            let (class, orders) = match &hashes {
                Some(hashes) if family.has(Family::Dns) => (Class::Named, hashes.as_slice()),
                _ if is_plain => (Class::Plain, plain_order.as_slice()),
                _ => (Class::Conditional, &[0][..]),
            };
            for order in orders {
                let rank = Rank {
                    effect: grant.effect,
                    class,
                    order: *order,
                };
                for principal in &self.holders {
                    for scope in &self.scopes {
                        self.entries
                            .push(Entry::new(*principal, *what, *scope, rank, number));
                    }
                }
            }
        }
    }

    fn find_holders(&mut self, written: &document::Grant) -> Result<(), CompileProblem> {
        self.holders.clear();
        for name in &written.principals {
            let position = self
                .principals
                .binary_search(&name.as_str())
                .map_err(|_| CompileProblem::UnknownPrincipal(name.clone()))?;
            self.holders.extend(number(Ok(position)));
        }
        Ok(())
    }

    /// Everything the grant gives or names, with the family whose conditions concern it. A write
    /// group brings its read group.
    fn find_whats(&mut self, written: &document::Grant) -> Result<(), CompileProblem> {
        self.whats.clear();
        for name in &written.permissions {
            let group = catalog::group_named(name).ok_or_else(|| {
                CompileProblem::UnknownPermission(name.clone(), catalog::nearest_group(name))
            })?;
            for group in std::iter::once(group).chain(catalog::read_group_of(group)) {
                let position = self.groups.binary_search(&group).unwrap_or(usize::MAX);
                let number = u16::try_from(position).map_err(|_| CompileProblem::TooLarge)?;
                self.whats
                    .push((number, Families::of(catalog::group_family(group))));
            }
        }
        for text in &written.operations {
            let unknown = || CompileProblem::UnknownOperation(text.clone());
            let (first, position, family) = match named(text).ok_or_else(unknown)? {
                Named::Operation(operation) => (
                    FIRST_OPERATION,
                    self.operations.binary_search(&operation.id()),
                    Families::of(operation.family()),
                ),
                Named::Template(template) => (
                    FIRST_TEMPLATE,
                    self.templates.binary_search(&template),
                    Families::NONE,
                ),
            };
            let position = position.map_err(|_| unknown())?;
            let number = u16::try_from(position).map_err(|_| CompileProblem::TooLarge)?;
            self.whats.push((first + number, family));
        }
        self.whats.sort_unstable_by_key(|(number, _)| *number);
        self.whats.dedup_by_key(|(number, _)| *number);
        Ok(())
    }

    fn find_scopes(
        &mut self,
        written: &document::Grant,
        resolution: &Resolution,
    ) -> Result<(), CompileProblem> {
        self.scopes.clear();
        for text in &written.zones {
            self.scopes.push(if text == "*" {
                ScopeKey::ALL_ZONES
            } else {
                let unresolved = || CompileProblem::UnresolvedZone(text.clone());
                let zone = resolution.zones.get(text).ok_or_else(unresolved)?;
                let position = self.zones.binary_search_by_key(&zone.id, |zone| zone.0);
                ScopeKey::zone(number(position).ok_or_else(unresolved)?)
            });
        }
        for text in &written.accounts {
            self.scopes.push(if text == "*" {
                ScopeKey::ALL_ACCOUNTS
            } else {
                let unresolved = || CompileProblem::UnresolvedAccount(text.clone());
                let account = resolution.accounts.get(text).ok_or_else(unresolved)?;
                let position = self.accounts.binary_search_by_key(&account.id, |a| a.0);
                ScopeKey::account(number(position).ok_or_else(unresolved)?)
            });
        }
        if self.scopes.is_empty() {
            self.scopes.push(ScopeKey::NEITHER);
        }
        Ok(())
    }

    fn finish(self) -> Policy {
        let mut principals: Vec<Principal> = self
            .principals
            .iter()
            .map(|name| Principal {
                name: (*name).into(),
                held: GroupSet::EMPTY,
                groups: 0..0,
                operations: 0..0,
                templates: 0..0,
            })
            .collect();
        let index = Index::build(self.entries, |principal, number, block| {
            let what = if number >= FIRST_TEMPLATE {
                What::Template(u32::from(number - FIRST_TEMPLATE))
            } else if let Some(position) = number.checked_sub(FIRST_OPERATION)
                && let Some(operation) = self.operations.get(usize::from(position))
            {
                What::Operation(*operation)
            } else if let Some(group) = self.groups.get(usize::from(number)) {
                What::Group(*group)
            } else {
                What::Template(u32::MAX)
            };
            let family = match what {
                What::Group(group) => Families::of(catalog::group_family(group)),
                What::Operation(_) | What::Template(_) => Families::NONE,
            };
            if let Some(principal) = principals.get_mut(principal as usize) {
                let range = match what {
                    What::Group(group) => {
                        principal.held.insert(group);
                        &mut principal.groups
                    }
                    What::Operation(_) => &mut principal.operations,
                    What::Template(_) => &mut principal.templates,
                };
                if range.start == range.end {
                    range.start = block;
                }
                range.end = block + 1;
            }
            (what, family)
        });
        Policy {
            principals,
            grants: self.grants,
            zones: self.zones,
            accounts: self.accounts,
            templates: self.templates,
            index,
            visible: visible::Index::build(self.visible),
            counts: self.counts,
        }
    }
}

fn number(position: Result<usize, usize>) -> Option<u32> {
    position
        .ok()
        .and_then(|position| u32::try_from(position).ok())
}

enum Named {
    Operation(Operation),
    Template(Template),
}

/// What a text among a grant's operations names.
fn named(text: &str) -> Option<Named> {
    match catalog::operation_named(text) {
        Some(operation) => Some(Named::Operation(operation)),
        None => Template::parse(text).map(Named::Template),
    }
}

/// Sorts many. The library that is built for size merges where order counts and sorts by a heap where it does
/// not, which is three times as slow.
pub(super) fn in_order<T: Ord>(items: &mut [T]) {
    items.sort();
}
