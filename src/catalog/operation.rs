//! One operation of the catalogue: a small copyable view on its record.

use std::sync::OnceLock;

use super::facts::{BodyClass, Deprecation, Family, Method, Pagination, Scope};
use super::group::GroupSet;
use super::resolve;
use super::table::{
    self, FLAG_ESCALATES, FLAG_NAMED_ONLY, FLAG_SECRET, FLAG_WRITE, NO_PARAM, OperationRecord,
};
use super::trie;

/// The index of an operation. It changes with the table: what is stored is the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(super) u16);

impl OperationId {
    /// The position among [`operations`], for tables indexed by operation.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What the catalogue says about one method of one path template.
#[derive(Clone, Copy)]
pub struct Operation {
    id: OperationId,
    record: OperationRecord,
}

impl Operation {
    /// Its index.
    #[must_use]
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// Cloudflare's operation id, or `METHOD /template` where there is none.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name_of(self.id.0)
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::from_code(self.record.shape & 0b111).unwrap_or(Method::Post)
    }

    /// Its path below `/client/v4`, with parameters as `{name}`.
    #[must_use]
    pub fn template(&self) -> &'static str {
        trie::template(self.id.0)
    }

    /// The permission groups of which any one opens it. None: only a grant that names it does.
    #[must_use]
    pub fn groups(&self) -> GroupSet {
        GroupSet::from_words(table::group_set(self.record.group_set))
    }

    /// What a grant must name for the operation to be within its reach.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::from_code(self.record.shape >> 3 & 0b11)
    }

    /// How its list is continued.
    #[must_use]
    pub fn pagination(&self) -> Pagination {
        Pagination::from_code(self.record.shape >> 5)
    }

    /// Whether its end has been announced.
    #[must_use]
    pub fn deprecation(&self) -> Deprecation {
        match self.record.deprecation {
            0 => Deprecation::No,
            1 => Deprecation::Yes,
            index => {
                table::date(usize::from(index) - 2).map_or(Deprecation::Yes, Deprecation::Ends)
            }
        }
    }

    /// Which condition of a grant speaks about it.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::from_code(self.record.family)
    }

    /// Whether and how its body is read before the call is decided.
    #[must_use]
    pub fn body(&self) -> BodyClass {
        BodyClass::from_code(self.record.body)
    }

    /// Whether it may change anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.record.flags & FLAG_WRITE != 0
    }

    /// Whether it can widen the rights of its caller: refused above policy unless a grant names it.
    #[must_use]
    pub fn escalates(&self) -> bool {
        self.record.flags & FLAG_ESCALATES != 0
    }

    /// Whether its answer holds a secret, so that neither answer nor digest may be stored.
    #[must_use]
    pub fn reveals_secret(&self) -> bool {
        self.record.flags & FLAG_SECRET != 0
    }

    /// Whether only a grant naming it reaches it, whatever groups the grant holds. An operation
    /// without groups, or one that escalates, is such a one too.
    #[must_use]
    pub fn named_only(&self) -> bool {
        self.record.flags & FLAG_NAMED_ONLY != 0
    }

    /// The position among the parameters of the account's id.
    #[must_use]
    pub fn account_param(&self) -> Option<usize> {
        position(self.record.owners)
    }

    /// The position among the parameters of the zone's id.
    #[must_use]
    pub fn zone_param(&self) -> Option<usize> {
        position(self.record.owners >> 4)
    }

    /// The position of the one parameter whose value is free text, where `%2F` and the like may
    /// stand: a KV key, an object name, a URL.
    #[must_use]
    pub fn free_text_param(&self) -> Option<usize> {
        position(self.record.free_text)
    }

    /// The names of the parameters in order.
    pub fn param_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.template()
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
    }
}

fn position(bits: u8) -> Option<usize> {
    let bits = bits & NO_PARAM;
    (bits != NO_PARAM).then_some(usize::from(bits))
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Operation({}: {} {})",
            self.name(),
            self.method(),
            self.template()
        )
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Operation {}

/// The operation of this index.
#[must_use]
pub fn operation(id: OperationId) -> Operation {
    Operation {
        id,
        record: OperationRecord::get(id.0),
    }
}

/// Every operation, by template and method.
pub fn operations() -> impl Iterator<Item = Operation> {
    (0..table::operation_count()).map(|index| operation(OperationId(index)))
}

/// The operation of this name: an operation id, or `METHOD /template`, which every operation
/// answers to. Parameter names in a template do not matter. The order by name is made at the first
/// use, since only reading a configuration needs it.
#[must_use]
pub fn operation_named(name: &str) -> Option<Operation> {
    if let Some((method, template)) = name.split_once(' ') {
        return resolve::template(Method::from_str(method)?, template).map(operation);
    }
    let by_name = BY_NAME.get_or_init(|| {
        let mut ids: Vec<(&str, u16)> = table::operation_id_texts().zip(0..).collect();
        ids.sort_unstable();
        ids
    });
    let rank = by_name.binary_search_by_key(&name, |(id, _)| id).ok()?;
    let found = by_name.get(rank).filter(|_| !name.is_empty());
    found.map(|(_, index)| operation(OperationId(*index)))
}

/// The operations by the ids Cloudflare gave them.
static BY_NAME: OnceLock<Vec<(&str, u16)>> = OnceLock::new();

/// The names of the few operations without such an id, in operation order.
static OWN_NAMES: OnceLock<Vec<(u16, String)>> = OnceLock::new();

fn name_of(index: u16) -> &'static str {
    let name = table::operation_id_text(index);
    if !name.is_empty() {
        return name;
    }
    let names = OWN_NAMES.get_or_init(|| {
        operations()
            .filter(|operation| table::operation_id_text(operation.id.0).is_empty())
            .map(|operation| {
                (
                    operation.id.0,
                    format!("{} {}", operation.method(), operation.template()),
                )
            })
            .collect()
    });
    let found = names.binary_search_by_key(&index, |(index, _)| *index);
    found
        .ok()
        .and_then(|at| names.get(at))
        .map_or("", |(_, name)| name)
}
