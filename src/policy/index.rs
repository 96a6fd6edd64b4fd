//! Which grants may matter to a call: one sorted table, looked up by principal, by what is asked
//! (a permission group, an operation, a template) and by scope.
//!
//! INVARIANT: within one key, entries are in order of precedence, deny, approve, allow, and among
//! equals the unconditional come first. So a reader may stop at the first entry that cannot change
//! its answer, and ten thousand grants cost what a hundred do.

use std::ops::Range;

use crate::catalog::{GroupId, GroupSet, OperationId};
use crate::config::document::Effect;

use super::grant::Families;

/// A principal and where its entries are.
#[derive(Debug)]
pub(super) struct Principal {
    pub(super) name: Box<str>,
    /// The groups its grants hold.
    pub(super) held: GroupSet,
    pub(super) groups: Range<u32>,
    pub(super) operations: Range<u32>,
    pub(super) templates: Range<u32>,
}

/// The entries of one principal for one thing that may be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) what: What,
    /// The family of the group; none for what is named.
    pub(super) family: Families,
    start: u32,
    end: u32,
}

/// What a grant gives or names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Group(GroupId),
    Operation(OperationId),
    /// A position among the policy's templates.
    Template(u32),
}

/// Where a grant reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ScopeKey(u32);

impl ScopeKey {
    pub(super) const NEITHER: Self = Self(0);
    pub(super) const ALL_ZONES: Self = Self(1);
    pub(super) const ALL_ACCOUNTS: Self = Self(2);
    const FIRST: u32 = 3;

    /// The zone at a position of the policy's zones.
    pub(super) fn zone(position: u32) -> Self {
        Self(Self::FIRST + 2 * position)
    }

    /// The account at a position of the policy's accounts.
    pub(super) fn account(position: u32) -> Self {
        Self(Self::FIRST + 2 * position + 1)
    }

    /// The position of the zone it names.
    pub(super) fn zone_position(self) -> Option<usize> {
        let rest = self.0.checked_sub(Self::FIRST)?;
        (rest % 2 == 0).then_some(rest as usize / 2)
    }

    /// The position of the account it names.
    pub(super) fn account_position(self) -> Option<usize> {
        let rest = self.0.checked_sub(Self::FIRST)?;
        (rest % 2 == 1).then_some(rest as usize / 2)
    }
}

/// How an entry is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Nothing but its end limits it; those that end last come first.
    Plain,
    /// It has conditions.
    Conditional,
    /// Among its conditions is one exact record name, by whose hash it is found.
    Named,
}

/// One grant under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// From the top: 20 bits principal, 16 what, 24 scope, 4 rank.
    key: u64,
    /// The order within a rank: the end of a plain one, the name's hash of a named one.
    order: u32,
    pub(super) grant: u32,
}

pub(super) const MAX_PRINCIPALS: usize = 1 << 20;
pub(super) const MAX_SCOPES: usize = 1 << 22;
/// Entries of all grants together. A grant has one for each principal, permission and scope.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

const RANK_BITS: u32 = 4;
const SCOPE_BITS: u32 = 24;
const WHAT_BITS: u32 = 16;
const LOW_BITS: u32 = SCOPE_BITS + RANK_BITS;

impl Entry {
    pub(super) fn new(principal: u32, what: u16, scope: ScopeKey, rank: Rank, grant: u32) -> Self {
        let key = u64::from(principal) << (LOW_BITS + WHAT_BITS)
            | u64::from(what) << LOW_BITS
            | u64::from(scope.0) << RANK_BITS
            | u64::from(rank.number());
        Self {
            key,
            order: rank.order,
            grant,
        }
    }

    pub(super) fn principal(self) -> u32 {
        (self.key >> (LOW_BITS + WHAT_BITS)) as u32
    }

    pub(super) fn what(self) -> u16 {
        (self.key >> LOW_BITS & 0xffff) as u16
    }

    pub(super) fn scope(self) -> ScopeKey {
        ScopeKey((self.key >> RANK_BITS & 0xff_ffff) as u32)
    }

    fn class(self) -> Class {
        match self.key & 0xf {
            rank if rank % 3 == 0 => Class::Plain,
            rank if rank % 3 == 1 => Class::Conditional,
            _ => Class::Named,
        }
    }

    pub(super) fn effect(self) -> Effect {
        match self.key & 0xf {
            0..=2 => Effect::Deny,
            3..=5 => Effect::Approve,
            _ => Effect::Allow,
        }
    }
}

/// The place of an entry within its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    pub(super) effect: Effect,
    pub(super) class: Class,
    pub(super) order: u32,
}

impl Rank {
    fn number(self) -> u8 {
        let effect = match self.effect {
            Effect::Deny => 0,
            Effect::Approve => 3,
            Effect::Allow => 6,
        };
        effect + self.class as u8
    }
}

/// The hash by which named entries are found. Collisions cost a comparison and nothing else.
pub(super) fn name_hash(name: &str) -> u32 {
    // FNV-1a
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// What a reader wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next entry.
    Entry,
    /// The next rank of this key: the rest of this one says nothing new.
    Rank,
    /// Nothing more of this key.
    Key,
    /// Nothing more at all.
    Stop,
}

/// The sorted entries and the directory of their blocks.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    pub(super) blocks: Vec<Block>,
}

impl Index {
    /// Sorts the entries and calls `describe` for each distinct pair of principal and what.
    pub(super) fn build(
        mut entries: Vec<Entry>,
        mut describe: impl FnMut(u32, u16, u32) -> (What, Families),
    ) -> Self {
        entries.sort_by_key(|entry| {
            u128::from(entry.key) << 64 | u128::from(entry.order) << 32 | u128::from(entry.grant)
        });
        entries.dedup();
        let mut blocks = Vec::new();
        let mut start = 0;
        for run in entries.chunk_by(|a, b| a.key >> LOW_BITS == b.key >> LOW_BITS) {
            let Some(first) = run.first() else { continue };
            // At most MAX_ENTRIES.
            let end = start + u32::try_from(run.len()).unwrap_or(0);
            let number = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            let (what, family) = describe(first.principal(), first.what(), number);
            blocks.push(Block {
                what,
                family,
                start,
                end,
            });
            start = end;
        }
        Self { entries, blocks }
    }

    pub(super) fn blocks(&self, range: &Range<u32>) -> &[Block] {
        self.blocks
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    /// Every entry of a block.
    pub(super) fn entries(&self, block: &Block) -> &[Entry] {
        self.entries
            .get(block.start as usize..block.end as usize)
            .unwrap_or_default()
    }

    /// Reads the entries of a block for one scope in order of precedence. Of the named ones only
    /// those of `name` are read; all of them when the name is not known.
    #[inline]
    pub(super) fn read(
        &self,
        block: &Block,
        scope: ScopeKey,
        name: Option<u32>,
        mut visit: impl FnMut(Entry, Class) -> Next,
    ) -> Next {
        let entries = self.entries(block);
        let Some(first) = entries.first() else {
            return Next::Entry;
        };
        let wanted = first.key >> LOW_BITS << SCOPE_BITS | u64::from(scope.0);
        let start = if first.key >> RANK_BITS >= wanted {
            0
        } else {
            entries.partition_point(|entry| entry.key >> RANK_BITS < wanted)
        };
        let mut rest = entries.get(start..).unwrap_or_default();
        while let Some((entry, after)) = rest.split_first() {
            if entry.key >> RANK_BITS != wanted {
                break;
            }
            let class = entry.class();
            if class == Class::Named
                && let Some(name) = name
                && entry.order != name
            {
                // Before the name: go to it. Beyond it: go to the next rank.
                let is_before = entry.order < name;
                let skip = rest.partition_point(|other| {
                    other.key == entry.key && !(is_before && other.order >= name)
                });
                rest = rest.get(skip..).unwrap_or_default();
                continue;
            }
            match visit(*entry, class) {
                Next::Entry => rest = after,
                Next::Rank => {
                    let skip = rest.partition_point(|other| other.key == entry.key);
                    rest = rest.get(skip..).unwrap_or_default();
                }
                Next::Key => break,
                Next::Stop => return Next::Stop,
            }
        }
        Next::Entry
    }
}
