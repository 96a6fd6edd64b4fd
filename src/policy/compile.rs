//! From the document as written to the policy that decides.

use std::rc::Rc;

use crate::catalog::{self, Family, GroupId, GroupSet, Operation, OperationId};
use crate::config::Resolution;
use crate::config::document::{self, Document, Effect};
use crate::model::{InvalidPattern, RecordPattern};

use super::conditions::Source;
use super::grant::{Families, Grant};
use super::index::{
    Class, Entry, Index, MAX_ENTRIES, MAX_PRINCIPALS, MAX_SCOPES, Principal, Rank, ScopeKey, What,
    name_hash,
};
use super::template::Template;
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

/// Compiles a document whose zones and accounts have been resolved, but for the conditions of its
/// grants: each is compiled when the first call meets it ([`Policy::check_conditions`] tries all).
///
/// # Errors
/// The first grant that does not resolve, by name.
pub fn compile(
    document: &Rc<Document>,
    resolution: &Rc<Resolution>,
) -> Result<Policy, CompileError> {
    let source = Rc::new(Source {
        document: Rc::clone(document),
        resolution: Rc::clone(resolution),
    });
    let mut compiler = Compiler::new(&source)?;
    for grant in &source.document.grants {
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
    source: &'d Rc<Source>,
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
    /// The grant before the next, and what it brought; the room is used again for each.
    before: Option<&'d document::Grant>,
    whats: Vec<(u16, Families)>,
    scopes: Vec<ScopeKey>,
    holders: Vec<u32>,
    name_hashes: Vec<u32>,
}

impl<'d> Compiler<'d> {
    fn new(source: &'d Rc<Source>) -> Result<Self, CompileError> {
        let Source {
            document,
            resolution,
        } = &**source;
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
            source,
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
            before: None,
            whats: Vec::new(),
            scopes: Vec::new(),
            holders: Vec::new(),
            name_hashes: Vec::new(),
        })
    }

    fn add(&mut self, written: &'d document::Grant, at: &Resolution) -> Result<(), CompileProblem> {
        // What grants in a row have in common is looked up once.
        let before = self.before.replace(written);
        if before.is_none_or(|it| it.principals != written.principals) {
            self.find_holders(written)?;
        }
        if before.is_none_or(|it| {
            it.permissions != written.permissions || it.operations != written.operations
        }) {
            self.find_whats(written)?;
        }
        if before.is_none_or(|it| it.zones != written.zones || it.accounts != written.accounts) {
            self.find_scopes(written, at)?;
        }
        let size = self
            .holders
            .len()
            .saturating_mul(self.whats.len().saturating_mul(self.scopes.len()));
        if self.entries.len().saturating_add(size) > MAX_ENTRIES {
            return Err(CompileProblem::TooLarge);
        }
        let number = u32::try_from(self.grants.len()).map_err(|_| CompileProblem::TooLarge)?;
        let grant = Grant::new(GrantId(number), written, Rc::clone(self.source));
        let is_named = self.hash_names(written);
        self.add_entries(&grant, is_named, number);
        self.counts |= grant.is_counted();
        if grant.effect == Effect::Allow {
            let is_limited = grant.is_limited;
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

    /// The hashes of the names a grant is limited to. False when it is not limited to some, or one of them
    /// cannot be read: then its conditions cannot be compiled either.
    fn hash_names(&mut self, written: &document::Grant) -> bool {
        self.name_hashes.clear();
        let names = written.dns.iter().flat_map(|dns| &dns.names);
        for text in names {
            let Ok(Some(exact)) = RecordPattern::exact_name(text) else {
                return false;
            };
            self.name_hashes.push(name_hash(&exact));
        }
        !self.name_hashes.is_empty()
    }

    fn add_entries(&mut self, grant: &Grant, is_named: bool, number: u32) {
        let is_plain = grant.is_plain();
        // Those that never end come first, then those that end last.
        let plain_order = [grant.not_after.map_or(0, |end| {
            u32::MAX - u32::try_from(end.unix_ms().max(0) / 1000).unwrap_or(u32::MAX)
        })];
        for (what, family) in &self.whats {
            let (class, orders) = if is_named && family.has(Family::Dns) {
                (Class::Named, self.name_hashes.as_slice())
            } else if is_plain {
                (Class::Plain, plain_order.as_slice())
            } else {
                (Class::Conditional, &[0][..])
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
            source: Rc::clone(self.source),
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
