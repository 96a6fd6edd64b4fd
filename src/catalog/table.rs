//! The embedded table, read in place.
//!
//! `table.bin` is made by `build-catalog` from `data/operations.tsv` and the corrections. It is a
//! header of section offsets and lengths followed by the sections: one of text, the others of
//! fixed-width little-endian records. The sections are found at compile time; nothing is parsed
//! at start-up. Every read is checked, and a record that is not there reads as an absent or empty
//! value, never as a panic.

static TABLE: &[u8] = include_bytes!("table.bin");

/// What the file starts with: a name and the version of this format.
pub(super) const MAGIC: [u8; 8] = *b"ZKCAT\0\0\x02";

/// The sections in file order.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// Operation ids in operation order, templates in theirs, then everything else.
    Text,
    NodeText,
    NodeLinks,
    Operations,
    OperationBlocks,
    TemplateLengths,
    TemplateBlocks,
    GroupSets,
    Groups,
    Dates,
}

/// How many there are.
#[cfg(not(target_arch = "wasm32"))]
pub(super) const SECTIONS: usize = 10;

/// Words of a [`super::GroupSet`]; the encoder refuses more groups than fit.
pub(super) const GROUP_WORDS: usize = 5;

/// How many operations or templates share one record that says where the first of them lies; the
/// lengths of those before lead to the others.
pub(super) const BLOCK: usize = 16;

pub(super) const NODE_LINKS_LEN: usize = 6;
pub(super) const OPERATION_LEN: usize = 10;
pub(super) const OPERATION_BLOCK_LEN: usize = 7;
pub(super) const TEMPLATE_BLOCK_LEN: usize = 3;
pub(super) const GROUP_SET_LEN: usize = GROUP_WORDS * 8;
pub(super) const GROUP_LEN: usize = 8;
pub(super) const TEXT_REF_LEN: usize = 4;

static TEXT: &[u8] = bytes_of(TABLE, Section::Text);
static NODE_TEXT: &[[u8; TEXT_REF_LEN]] = records(TABLE, Section::NodeText);
static NODE_LINKS: Columns<NODE_LINKS_LEN> = Columns::of(bytes_of(TABLE, Section::NodeLinks));
static OPERATIONS: Columns<OPERATION_LEN> = Columns::of(bytes_of(TABLE, Section::Operations));
static OPERATION_BLOCKS: &[[u8; OPERATION_BLOCK_LEN]] = records(TABLE, Section::OperationBlocks);
static TEMPLATE_LENGTHS: &[u8] = bytes_of(TABLE, Section::TemplateLengths);
static TEMPLATE_BLOCKS: &[[u8; TEMPLATE_BLOCK_LEN]] = records(TABLE, Section::TemplateBlocks);
static GROUP_SETS: &[[u8; GROUP_SET_LEN]] = records(TABLE, Section::GroupSets);
static GROUPS: &[[u8; GROUP_LEN]] = records(TABLE, Section::Groups);
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

    /// The sum of the first column over `range`.
    fn sum(&self, range: std::ops::Range<usize>) -> usize {
        sum(self.bytes.get(..self.len).unwrap_or_default(), range)
    }
}

fn sum(bytes: &[u8], range: std::ops::Range<usize>) -> usize {
    bytes
        .get(range)
        .unwrap_or_default()
        .iter()
        .map(|byte| usize::from(*byte))
        .sum()
}

fn text(start: usize, len: usize) -> &'static [u8] {
    TEXT.get(start..start + len).unwrap_or_default()
}

/// Where a piece of text lies: three bytes of offset, one of length.
#[derive(Clone, Copy)]
pub(super) struct TextRef([u8; TEXT_REF_LEN]);

impl TextRef {
    pub(super) fn bytes(self) -> &'static [u8] {
        let [a, b, c, len] = self.0;
        text(u32::from_le_bytes([a, b, c, 0]) as usize, usize::from(len))
    }

    pub(super) fn as_str(self) -> &'static str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// One node of the path trie. Its children lie side by side: literals sorted by their bytes, then
/// segments that mix text and parameters, then the bare parameter.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) first_child: usize,
    pub(super) literal_children: usize,
    pub(super) other_children: usize,
    pub(super) first_operation: usize,
    pub(super) operation_count: usize,
}

impl Node {
    pub(super) const ROOT: usize = 0;

    pub(super) fn get(index: usize) -> Option<Self> {
        let [child_low, child_high, literals, rest, op_low, op_high] = NODE_LINKS.get(index)?;
        Some(Self {
            first_child: usize::from(u16::from_le_bytes([child_low, child_high])),
            literal_children: usize::from(literals),
            other_children: usize::from(rest >> 4),
            first_operation: usize::from(u16::from_le_bytes([op_low, op_high])),
            operation_count: usize::from(rest & 0xf),
        })
    }

    /// The segment a node stands for: the literal, the mixed pattern with parameters as `{}`, or
    /// nothing for the bare parameter.
    pub(super) fn segment(index: usize) -> Option<TextRef> {
        NODE_TEXT.get(index).copied().map(TextRef)
    }
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
            _,
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
    let found = OPERATION_BLOCKS
        .get(index / BLOCK)
        .zip(OPERATIONS.byte(0, index));
    found.map_or("", |([a, b, c, ..], len)| {
        let before = OPERATIONS.sum(index - index % BLOCK..index);
        let start = u32::from_le_bytes([*a, *b, *c, 0]) as usize + before;
        str::from_utf8(text(start, usize::from(len))).unwrap_or_default()
    })
}

/// The path template of an operation.
pub(super) fn operation_template(index: u16) -> &'static str {
    let index = usize::from(index);
    // The block counts the templates before it, and marks each operation that begins one.
    let Some([_, _, _, t0, t1, m0, m1]) = OPERATION_BLOCKS.get(index / BLOCK) else {
        return "";
    };
    let upto = u16::from_le_bytes([*m0, *m1]) & (u16::MAX >> (BLOCK - 1 - index % BLOCK));
    let before = usize::from(u16::from_le_bytes([*t0, *t1]));
    let Some(template) = (before + upto.count_ones() as usize).checked_sub(1) else {
        return "";
    };
    let found = TEMPLATE_BLOCKS
        .get(template / BLOCK)
        .zip(TEMPLATE_LENGTHS.get(template));
    found.map_or("", |([a, b, c], len)| {
        let before = sum(TEMPLATE_LENGTHS, template - template % BLOCK..template);
        let start = u32::from_le_bytes([*a, *b, *c, 0]) as usize + before;
        str::from_utf8(text(start, usize::from(*len))).unwrap_or_default()
    })
}

/// How many operations there are.
pub(super) fn operation_count() -> u16 {
    u16::try_from(OPERATIONS.len).unwrap_or(u16::MAX)
}

/// Only the byte that says the method, for the walk down the trie.
pub(super) fn operation_shape(index: usize) -> Option<u8> {
    OPERATIONS.byte(3, index)
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
            let cut = &TABLE[..len];
            let _ = bytes_of(cut, Section::NodeLinks);
            let _ = records::<TEXT_REF_LEN>(cut, Section::NodeText);
        }
        assert!(bytes_of(&[0xff; 200], Section::Text).is_empty());
    }

    #[test]
    fn reading_past_the_end_is_absent_or_closed() {
        assert!(Node::get(usize::MAX).is_none());
        assert!(Node::segment(usize::MAX).is_none());
        assert!(operation_shape(usize::MAX).is_none());
        assert_eq!(
            (operation_id_text(u16::MAX), operation_template(u16::MAX)),
            ("", "")
        );
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
