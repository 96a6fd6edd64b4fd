//! The embedded table, read in place.
//!
//! `table.bin` is made by `build-catalog` from `data/operations.tsv` and the corrections. It is a
//! header of section offsets and lengths followed by the sections: text in lines, and records of
//! fixed width, stored column by column. The sections are found at compile time; nothing is parsed
//! at start-up. Every read is checked, and a record that is not there reads as an absent or empty
//! value, never as a panic.
//!
//! What follows from something else is not in the file: it is uploaded with the Worker. So the
//! path templates are spelled out from the trie (`trie`), and offsets follow from what lies before.

use std::sync::OnceLock;

static TABLE: &[u8] = include_bytes!("table.bin");

/// What the file starts with: a name and the version of this format.
pub(super) const MAGIC: [u8; 8] = *b"ZKCAT\0\0\x03";

/// The sections in file order.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// The segments of the path templates in node order, each as the first template has it.
    Segments,
    /// How many children each node has, and how many operations end there.
    NodeCounts,
    /// The first operations of the templates that name a parameter otherwise than their nodes do.
    Renamed,
    /// Those templates.
    RenamedTemplates,
    /// Cloudflare's ids in operation order.
    OperationIds,
    /// Where each sixteenth of them begins.
    OperationIdBlocks,
    Operations,
    GroupSets,
    GroupNames,
    Groups,
    Dates,
}

/// How many there are.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const SECTIONS: usize = 11;

/// Words of a [`super::GroupSet`]; the encoder refuses more groups than fit.
pub(super) const GROUP_WORDS: usize = 5;

/// How many operation ids share one record that says where the first of them lies; the others are
/// counted off from there.
pub(super) const BLOCK: usize = 16;

pub(super) const NODE_LEN: usize = 2;
pub(super) const OPERATION_LEN: usize = 9;
pub(super) const GROUP_SET_LEN: usize = GROUP_WORDS * 8;
pub(super) const GROUP_LEN: usize = 3;

static OPERATION_IDS: &[u8] = bytes_of(TABLE, Section::OperationIds);
static OPERATION_ID_BLOCKS: &[[u8; 3]] = records(TABLE, Section::OperationIdBlocks);
static NODES: Columns<NODE_LEN> = Columns::of(bytes_of(TABLE, Section::NodeCounts));
static RENAMED: &[[u8; 2]] = records(TABLE, Section::Renamed);
static OPERATIONS: Columns<OPERATION_LEN> = Columns::of(bytes_of(TABLE, Section::Operations));
static GROUP_SETS: &[[u8; GROUP_SET_LEN]] = records(TABLE, Section::GroupSets);
static GROUPS: Columns<GROUP_LEN> = Columns::of(bytes_of(TABLE, Section::Groups));

/// The 32-bit word at `at`, or 0 beyond the end.
const fn word(bytes: &[u8], at: usize) -> usize {
    let Some((_, rest)) = bytes.split_at_checked(at) else {
        return 0;
    };
    match rest.first_chunk::<4>() {
        Some(word) => u32::from_le_bytes(*word) as usize,
        None => 0,
    }
}

/// The bytes of one section: the header holds an offset and a length for each after the magic.
const fn bytes_of(table: &[u8], section: Section) -> &[u8] {
    let entry = MAGIC.len() + section as usize * 8;
    let Some((_, rest)) = table.split_at_checked(word(table, entry)) else {
        return &[];
    };
    match rest.split_at_checked(word(table, entry + 4)) {
        Some((bytes, _)) => bytes,
        None => &[],
    }
}

const fn records<const N: usize>(table: &[u8], section: Section) -> &[[u8; N]] {
    bytes_of(table, section).as_chunks().0
}

/// Records stored column by column, first bytes first: alike bytes side by side compress well.
struct Columns<const N: usize> {
    bytes: &'static [u8],
    len: usize,
}

impl<const N: usize> Columns<N> {
    const fn of(bytes: &'static [u8]) -> Self {
        Self {
            bytes,
            len: bytes.len() / N,
        }
    }

    fn byte(&self, column: usize, index: usize) -> Option<u8> {
        if index >= self.len {
            return None;
        }
        self.bytes.get(column * self.len + index).copied()
    }

    fn get(&self, index: usize) -> Option<[u8; N]> {
        let mut record = [0; N];
        for (column, byte) in record.iter_mut().enumerate() {
            *byte = self.byte(column, index)?;
        }
        Some(record)
    }
}

/// The lines of a text.
fn lines(text: &'static [u8]) -> impl Iterator<Item = &'static str> {
    text.split(|byte| *byte == b'\n')
        .map(|line| str::from_utf8(line).unwrap_or_default())
}

/// How many nodes the path trie has.
pub(super) fn node_count() -> usize {
    NODES.len
}

/// The nodes of the path trie as they lie: the segment, how many children, how many operations.
pub(super) fn nodes() -> impl Iterator<Item = (&'static str, [u8; NODE_LEN])> {
    lines(bytes_of(TABLE, Section::Segments))
        .enumerate()
        .map_while(|(index, segment)| Some((segment, NODES.get(index)?)))
}

/// The template that begins with this operation, if it is not as its nodes spell it.
pub(super) fn renamed_template(first: u16) -> Option<&'static str> {
    let at = RENAMED
        .iter()
        .position(|renamed| u16::from_le_bytes(*renamed) == first)?;
    lines(bytes_of(TABLE, Section::RenamedTemplates)).nth(at)
}

/// The facts of one operation.
#[derive(Clone, Copy)]
pub(super) struct OperationRecord {
    pub(super) group_set: u16,
    /// Method in the low three bits, then scope in two and pagination in three.
    pub(super) shape: u8,
    /// 0 not deprecated, 1 deprecated, above that an index of `Dates` plus two.
    pub(super) deprecation: u8,
    pub(super) family: u8,
    pub(super) body: u8,
    pub(super) flags: u8,
    /// Position of the account parameter in the low four bits, of the zone parameter in the high.
    pub(super) owners: u8,
    /// Position of the free-text parameter in the low four bits.
    pub(super) free_text: u8,
}

/// What a position of four bits says when there is no such parameter.
pub(super) const NO_PARAM: u8 = 0xf;

pub(super) const FLAG_WRITE: u8 = 1;
pub(super) const FLAG_ESCALATES: u8 = 1 << 1;
pub(super) const FLAG_SECRET: u8 = 1 << 2;
pub(super) const FLAG_NAMED_ONLY: u8 = 1 << 3;

impl OperationRecord {
    /// A record that no group reaches and whose body cannot be judged: what a missing one reads as.
    const CLOSED: Self = Self {
        group_set: u16::MAX,
        shape: 0,
        deprecation: 0,
        family: 0,
        body: u8::MAX,
        flags: FLAG_WRITE | FLAG_ESCALATES | FLAG_SECRET | FLAG_NAMED_ONLY,
        owners: u8::MAX,
        free_text: u8::MAX,
    };

    pub(super) fn get(index: u16) -> Self {
        let Some(record) = OPERATIONS.get(usize::from(index)) else {
            return Self::CLOSED;
        };
        let [
            g0,
            g1,
            shape,
            deprecation,
            family,
            body,
            flags,
            owners,
            free_text,
        ] = record;
        Self {
            group_set: u16::from_le_bytes([g0, g1]),
            shape,
            deprecation,
            family,
            body,
            flags,
            owners,
            free_text,
        }
    }
}

/// The id Cloudflare gave an operation; empty where there is none.
pub(super) fn operation_id_text(index: u16) -> &'static str {
    let index = usize::from(index);
    let block = OPERATION_ID_BLOCKS.get(index / BLOCK);
    let from_block = block
        .and_then(|[a, b, c]| OPERATION_IDS.get(u32::from_le_bytes([*a, *b, *c, 0]) as usize..));
    from_block
        .and_then(|ids| lines(ids).nth(index % BLOCK))
        .unwrap_or_default()
}

/// The ids of all operations in their order.
pub(super) fn operation_id_texts() -> impl Iterator<Item = &'static str> {
    lines(OPERATION_IDS)
}

/// How many operations there are.
pub(super) fn operation_count() -> u16 {
    u16::try_from(OPERATIONS.len).unwrap_or(u16::MAX)
}

/// Only the byte that says the method, for the walk down the trie.
pub(super) fn operation_shape(index: usize) -> Option<u8> {
    OPERATIONS.byte(2, index)
}

/// A set of groups, as bits by group index; empty where there is none.
pub(super) fn group_set(index: u16) -> [u64; GROUP_WORDS] {
    let mut words = [0; GROUP_WORDS];
    if let Some(bytes) = GROUP_SETS.get(usize::from(index)) {
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    words
}

/// One permission group.
#[derive(Clone, Copy)]
pub(super) struct GroupRecord {
    pub(super) family: u8,
    /// Whether it is one of Zonekeeper's own.
    pub(super) own: bool,
    /// The group of the same name that only reads.
    pub(super) reads: Option<u16>,
}

impl GroupRecord {
    pub(super) fn get(index: u16) -> Option<Self> {
        let [family, own, reads] = GROUPS.get(usize::from(index))?;
        Some(Self {
            family,
            own: own != 0,
            // How far away it is; no group reads for itself.
            reads: match reads.cast_signed() {
                0 => None,
                distance => index.checked_add_signed(distance.into()),
            },
        })
    }
}

/// The names of the permission groups, sorted.
pub(super) fn group_names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| lines(bytes_of(TABLE, Section::GroupNames)).collect())
}

/// How many permission groups there are.
pub(super) fn group_count() -> u16 {
    u16::try_from(GROUPS.len).unwrap_or(u16::MAX)
}

/// The announced end that `index` stands for.
pub(super) fn date(index: usize) -> Option<&'static str> {
    lines(bytes_of(TABLE, Section::Dates)).nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_table_reads_as_empty_sections() {
        for len in 0..TABLE.len().min(4_096) {
            let cut = &TABLE[..len];
            let _ = bytes_of(cut, Section::NodeCounts);
            let _ = records::<3>(cut, Section::OperationIdBlocks);
        }
        assert!(bytes_of(&[0xff; 200], Section::Segments).is_empty());
    }

    #[test]
    fn reading_past_the_end_is_absent_or_closed() {
        assert!(operation_shape(usize::MAX).is_none());
        assert_eq!(operation_id_text(u16::MAX), "");
        assert!(renamed_template(u16::MAX).is_none());
        assert!(GroupRecord::get(u16::MAX).is_none());
        assert!(date(usize::MAX).is_none());
        assert_eq!(group_set(u16::MAX), [0; GROUP_WORDS]);
        assert_eq!(
            OperationRecord::get(u16::MAX).flags,
            OperationRecord::CLOSED.flags
        );
    }
}
