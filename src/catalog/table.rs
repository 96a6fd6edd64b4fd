//! The embedded table, read in place.
//!
//! `table.bin` is made by `build-catalog` from `data/operations.tsv` and the corrections. It is a
//! header of section offsets and lengths followed by the sections: one of text and six of
//! fixed-width little-endian records. The sections are found at compile time; nothing is parsed at
//! start-up. Every read is checked, and a record that is not there reads as an absent or empty
//! value, never as a panic.

static TABLE: &[u8] = include_bytes!("table.bin");

/// What the file starts with: a name and the version of this format.
pub(super) const MAGIC: [u8; 8] = *b"ZKCAT\0\0\x01";

/// The sections in file order.
#[derive(Clone, Copy)]
pub(super) enum Section {
    Text,
    Nodes,
    Operations,
    GroupSets,
    Groups,
    ByName,
    Dates,
}

pub(super) const SECTIONS: usize = 7;

/// Words of a [`super::GroupSet`]; the encoder refuses more groups than fit.
pub(super) const GROUP_WORDS: usize = 5;

pub(super) const NODE_LEN: usize = 10;
pub(super) const OPERATION_LEN: usize = 17;
pub(super) const GROUP_SET_LEN: usize = GROUP_WORDS * 8;
pub(super) const GROUP_LEN: usize = 8;
pub(super) const TEXT_REF_LEN: usize = 4;

static TEXT: &[u8] = bytes_of(TABLE, Section::Text);
static NODES: &[[u8; NODE_LEN]] = records(TABLE, Section::Nodes);
static OPERATIONS: &[[u8; OPERATION_LEN]] = records(TABLE, Section::Operations);
static GROUP_SETS: &[[u8; GROUP_SET_LEN]] = records(TABLE, Section::GroupSets);
static GROUPS: &[[u8; GROUP_LEN]] = records(TABLE, Section::Groups);
static BY_NAME: &[[u8; 2]] = records(TABLE, Section::ByName);
static DATES: &[[u8; TEXT_REF_LEN]] = records(TABLE, Section::Dates);

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

/// Where a piece of text lies: three bytes of offset, one of length.
#[derive(Clone, Copy)]
pub(super) struct TextRef([u8; TEXT_REF_LEN]);

impl TextRef {
    pub(super) fn bytes(self) -> &'static [u8] {
        let [a, b, c, len] = self.0;
        let start = u32::from_le_bytes([a, b, c, 0]) as usize;
        TEXT.get(start..start + usize::from(len))
            .unwrap_or_default()
    }

    pub(super) fn as_str(self) -> &'static str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    pub(super) fn len(self) -> usize {
        let [_, _, _, len] = self.0;
        usize::from(len)
    }
}

/// One node of the path trie. Its children lie side by side: literals sorted by length then bytes,
/// then segments that mix text and parameters, then the bare parameter.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// The literal, the mixed pattern with parameters as `{}`, or nothing for the bare parameter.
    pub(super) text: TextRef,
    pub(super) first_child: usize,
    pub(super) literal_children: usize,
    pub(super) other_children: usize,
    pub(super) first_operation: usize,
    pub(super) operation_count: usize,
}

impl Node {
    pub(super) const ROOT: usize = 0;

    pub(super) fn get(index: usize) -> Option<Self> {
        let [
            a,
            b,
            c,
            len,
            child_low,
            child_high,
            literals,
            rest,
            op_low,
            op_high,
        ] = *NODES.get(index)?;
        Some(Self {
            text: TextRef([a, b, c, len]),
            first_child: usize::from(u16::from_le_bytes([child_low, child_high])),
            literal_children: usize::from(literals),
            other_children: usize::from(rest >> 4),
            first_operation: usize::from(u16::from_le_bytes([op_low, op_high])),
            operation_count: usize::from(rest & 0xf),
        })
    }
}

/// The facts of one operation.
#[derive(Clone, Copy)]
pub(super) struct OperationRecord {
    pub(super) name: TextRef,
    pub(super) template: TextRef,
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
        name: TextRef([0; TEXT_REF_LEN]),
        template: TextRef([0; TEXT_REF_LEN]),
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
            n0,
            n1,
            n2,
            n3,
            t0,
            t1,
            t2,
            t3,
            g0,
            g1,
            shape,
            deprecation,
            family,
            body,
            flags,
            owners,
            free_text,
        ] = *record;
        Self {
            name: TextRef([n0, n1, n2, n3]),
            template: TextRef([t0, t1, t2, t3]),
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

/// How many operations there are.
pub(super) fn operation_count() -> u16 {
    u16::try_from(OPERATIONS.len()).unwrap_or(u16::MAX)
}

/// Only the byte that says the method, for the walk down the trie.
pub(super) fn operation_shape(index: usize) -> Option<u8> {
    let [.., shape, _, _, _, _, _, _] = OPERATIONS.get(index)?;
    Some(*shape)
}

/// The operation that is `rank`-th by name.
pub(super) fn by_name(rank: usize) -> Option<u16> {
    BY_NAME.get(rank).copied().map(u16::from_le_bytes)
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
    pub(super) name: TextRef,
    pub(super) family: u8,
    /// Whether it is one of Zonekeeper's own.
    pub(super) own: bool,
    /// The group of the same name that only reads, or `u16::MAX`.
    pub(super) reads: u16,
}

impl GroupRecord {
    pub(super) fn get(index: u16) -> Option<Self> {
        let [a, b, c, len, family, own, low, high] = *GROUPS.get(usize::from(index))?;
        Some(Self {
            name: TextRef([a, b, c, len]),
            family,
            own: own != 0,
            reads: u16::from_le_bytes([low, high]),
        })
    }
}

/// How many permission groups there are.
pub(super) fn group_count() -> u16 {
    u16::try_from(GROUPS.len()).unwrap_or(u16::MAX)
}

/// The announced end that `index` stands for.
pub(super) fn date(index: usize) -> Option<&'static str> {
    Some(TextRef(*DATES.get(index)?).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_table_reads_as_empty_sections() {
        for len in 0..TABLE.len().min(4_096) {
            let cut = TABLE.get(..len).unwrap();
            let _ = bytes_of(cut, Section::Nodes);
            let _ = records::<NODE_LEN>(cut, Section::Nodes);
        }
        assert!(bytes_of(&[0xff; 200], Section::Text).is_empty());
    }

    #[test]
    fn reading_past_the_end_is_absent_or_closed() {
        assert!(Node::get(usize::MAX).is_none());
        assert!(by_name(usize::MAX).is_none());
        assert!(GroupRecord::get(u16::MAX).is_none());
        assert!(date(usize::MAX).is_none());
        assert_eq!(group_set(u16::MAX), [0; GROUP_WORDS]);
        assert_eq!(
            OperationRecord::get(u16::MAX).flags,
            OperationRecord::CLOSED.flags
        );
        assert_eq!(TextRef([0xff; 4]).as_str(), "");
    }
}
