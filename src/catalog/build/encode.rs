//! Rows to the bytes that `table` reads.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::super::resolve::blank;
use super::super::table::{
    BLOCK, FLAG_ESCALATES, FLAG_NAMED_ONLY, FLAG_SECRET, FLAG_WRITE, GROUP_WORDS, MAGIC, NO_PARAM,
    NODE_LINKS_LEN, OPERATION_LEN, SECTIONS, TEXT_REF_LEN,
};
use super::corrections;
use super::source::{Row, SourceError};
use crate::catalog::{BodyClass, MAX_PARAMS};

/// How large each section came out, in bytes, in file order.
pub type Sizes = [(&'static str, usize); SECTIONS];

/// Encodes corrected rows.
///
/// # Errors
/// When two rows have the same method and shape of path, or a number outgrows its field.
pub fn encode(rows: &[Row]) -> Result<(Vec<u8>, Sizes), SourceError> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (blank(&row.template), row.template.clone(), row.method));
    let groups = group_names(&rows);
    let (sets, set_of_row) = group_sets(&rows, &groups)?;
    let dates: BTreeSet<&str> = rows
        .iter()
        .map(|row| row.deprecated.as_str())
        .filter(|date| date.len() > 1)
        .collect();

    let mut text = Text::default();
    let (names, name_lengths) = text.append(
        rows.iter()
            .map(|row| row.operation_id.as_deref().unwrap_or_default()),
    )?;
    let mut templates: Vec<&str> = rows.iter().map(|row| row.template.as_str()).collect();
    templates.dedup();
    let (template_offsets, template_lengths) = text.append(templates.iter().copied())?;

    let mut operations = Vec::new();
    for ((row, set), name_length) in rows.iter().zip(set_of_row).zip(name_lengths) {
        let [set_low, set_high] = set.to_le_bytes();
        let [owners, free_text] = positions(row)?;
        let record: [u8; OPERATION_LEN] = [
            name_length,
            set_low,
            set_high,
            row.method as u8 | (row.scope as u8) << 3 | (row.pagination as u8) << 5,
            match row.deprecated.as_str() {
                "0" => 0,
                "1" => 1,
                date => byte(dates.iter().take_while(|other| **other < date).count() + 2)?,
            },
            row.family as u8,
            row.judged.map_or(BodyClass::Pass, BodyClass::Judge).code(),
            flags(row),
            owners,
            free_text,
        ];
        operations.push(record);
    }

    let trie = Trie::of(&rows, &templates, &template_offsets)?;
    let (node_text, node_links) = trie.encode(&mut text)?;
    let mut group_records = Vec::new();
    for name in &groups {
        group_records.extend(text.intern(name)?);
        group_records.extend([
            corrections::group_family(name) as u8,
            u8::from(corrections::is_own(name)),
        ]);
        let reads = read_twin(name)
            .and_then(|twin| groups.iter().position(|other| *other == twin))
            .map_or(Ok(u16::MAX), short)?;
        group_records.extend(reads.to_le_bytes());
    }
    let mut dates_section = Vec::new();
    for date in dates {
        dates_section.extend(text.intern(date)?);
    }

    assemble([
        ("text", text.bytes),
        ("node text", node_text),
        ("node links", columns(&node_links)),
        ("operations", columns(&operations)),
        ("operation blocks", operation_blocks(&rows, &names)?),
        ("template lengths", template_lengths),
        ("template blocks", template_blocks(&template_offsets)?),
        (
            "group sets",
            sets.iter()
                .flatten()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        ),
        ("groups", group_records),
        ("dates", dates_section),
    ])
}

/// Records turned into columns.
fn columns<const N: usize>(records: &[[u8; N]]) -> Vec<u8> {
    (0..N)
        .flat_map(|column| {
            records
                .iter()
                .filter_map(move |record| record.get(column))
                .copied()
        })
        .collect()
}

/// For each block of operations: where the first name lies, how many templates began before the
/// block, and which operations of the block begin one.
fn operation_blocks(rows: &[&Row], names: &[usize]) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let mut templates = 0;
    let mut last = "";
    for (rows, names) in rows.chunks(BLOCK).zip(names.chunks(BLOCK)) {
        bytes.extend(offset(names.first().copied().unwrap_or_default())?);
        bytes.extend(short(templates)?.to_le_bytes());
        let mut begins = 0_u16;
        for (bit, row) in rows.iter().enumerate() {
            if row.template != last {
                begins |= 1 << bit;
                templates += 1;
            }
            last = &row.template;
        }
        bytes.extend(begins.to_le_bytes());
    }
    Ok(bytes)
}

fn template_blocks(offsets: &[usize]) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    for first in offsets.iter().step_by(BLOCK) {
        bytes.extend(offset(*first)?);
    }
    Ok(bytes)
}

fn assemble(
    sections: [(&'static str, Vec<u8>); SECTIONS],
) -> Result<(Vec<u8>, Sizes), SourceError> {
    let mut table = MAGIC.to_vec();
    let mut offset = MAGIC.len() + SECTIONS * 8;
    for (_, bytes) in &sections {
        for number in [offset, bytes.len()] {
            let number = u32::try_from(number).map_err(|_| SourceError::Overflow("a section"))?;
            table.extend(number.to_le_bytes());
        }
        offset += bytes.len();
    }
    let sizes = sections
        .each_ref()
        .map(|(name, bytes)| (*name, bytes.len()));
    for (_, bytes) in sections {
        table.extend(bytes);
    }
    Ok((table, sizes))
}

fn flags(row: &Row) -> u8 {
    [
        (row.write, FLAG_WRITE),
        (row.escalates, FLAG_ESCALATES),
        (row.reveals_secret, FLAG_SECRET),
        (row.named_only, FLAG_NAMED_ONLY),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
    .fold(0, |flags, flag| flags | flag)
}

/// The two bytes that say which parameters are the account, the zone and free text.
fn positions(row: &Row) -> Result<[u8; 2], SourceError> {
    let mut names = Vec::new();
    let (mut account, mut zone) = (None, None);
    let mut before = "";
    for segment in row.template.split('/') {
        for part in segment.split('{').skip(1) {
            // A second account or zone is the business of a correction.
            match before {
                "accounts" if account.is_none() => account = Some(names.len()),
                "zones" if zone.is_none() => zone = Some(names.len()),
                _ => {}
            }
            names.push(part.split_once('}').map_or(part, |(name, _)| name));
        }
        before = segment;
    }
    // Only what directly follows counts: `/accounts/booking/{booking_id}` names no account.
    if names.len() > MAX_PARAMS {
        return Err(SourceError::Overflow("the number of parameters"));
    }
    let free_text =
        match row.free_text {
            None => None,
            Some(wanted) => Some(names.iter().position(|name| *name == wanted).ok_or_else(
                || SourceError::Correction {
                    selector: row.template.clone(),
                    message: format!("no parameter {wanted:?}"),
                },
            )?),
        };
    let nibble = |position: Option<usize>| position.map_or(Ok(NO_PARAM), byte);
    Ok([nibble(account)? | nibble(zone)? << 4, nibble(free_text)?])
}

fn group_names<'r>(rows: &[&'r Row]) -> Vec<&'r str> {
    let groups: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.groups.iter().map(String::as_str))
        .chain(corrections::OWN_GROUPS.iter().copied())
        .collect();
    groups.into_iter().collect()
}

/// The name of the group that only reads what this one may change, if it has the usual form.
fn read_twin(name: &str) -> Option<String> {
    if name.ends_with(" Read") {
        return None;
    }
    let stem = [" Write", " Edit", " Run", " Admin"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    Some(match name.split_once("- Write") {
        Some((before, after)) => format!("{before}- Read{after}"),
        None => format!("{} Read", stem.unwrap_or(name)),
    })
}

type Words = [u64; GROUP_WORDS];

/// The distinct sets, and for each row the index of its own.
fn group_sets(rows: &[&Row], groups: &[&str]) -> Result<(Vec<Words>, Vec<u16>), SourceError> {
    let mut sets: Vec<Words> = Vec::new();
    let mut known: HashMap<Words, u16> = HashMap::new();
    let mut of_row = Vec::new();
    for row in rows {
        let mut words = [0; GROUP_WORDS];
        for name in &row.groups {
            let index = groups
                .iter()
                .position(|group| group == name)
                .unwrap_or(usize::MAX);
            *words
                .get_mut(index / 64)
                .ok_or(SourceError::Overflow("a permission group"))? |= 1 << (index % 64);
        }
        let index = if let Some(index) = known.get(&words) {
            *index
        } else {
            let index = short(sets.len())?;
            sets.push(words);
            known.insert(words, index);
            index
        };
        of_row.push(index);
    }
    if groups.len() > GROUP_WORDS * 64 {
        return Err(SourceError::Overflow("the number of permission groups"));
    }
    Ok((sets, of_row))
}

/// All text.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Puts pieces one after the other; answers where each begins and how long it is.
    fn append<'t>(
        &mut self,
        pieces: impl Iterator<Item = &'t str>,
    ) -> Result<(Vec<usize>, Vec<u8>), SourceError> {
        let mut starts = Vec::new();
        let mut lengths = Vec::new();
        for piece in pieces {
            starts.push(self.bytes.len());
            lengths.push(byte(piece.len())?);
            self.bytes.extend(piece.as_bytes());
        }
        Ok((starts, lengths))
    }

    /// Refers to a piece, wherever it already occurs.
    fn intern(&mut self, piece: &str) -> Result<[u8; TEXT_REF_LEN], SourceError> {
        let known = str::from_utf8(&self.bytes)
            .ok()
            .and_then(|text| text.find(piece));
        let start = known.unwrap_or_else(|| {
            self.bytes.extend(piece.as_bytes());
            self.bytes.len() - piece.len()
        });
        text_ref(start, piece.len())
    }
}

fn text_ref(start: usize, len: usize) -> Result<[u8; TEXT_REF_LEN], SourceError> {
    let [a, b, c] = offset(start)?;
    Ok([a, b, c, byte(len)?])
}

fn offset(number: usize) -> Result<[u8; 3], SourceError> {
    match u32::try_from(number).map(u32::to_le_bytes) {
        Ok([a, b, c, 0]) => Ok([a, b, c]),
        _ => Err(SourceError::Overflow("the text")),
    }
}

/// The path templates as a tree of segments.
struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Default)]
struct TrieNode {
    /// By blanked segment.
    children: BTreeMap<String, usize>,
    first_operation: usize,
    operation_count: usize,
    /// Where a literal's text lies: within the first template that has it.
    literal: usize,
}

impl Trie {
    fn of(rows: &[&Row], templates: &[&str], offsets: &[usize]) -> Result<Self, SourceError> {
        let mut trie = Self {
            nodes: vec![TrieNode::default()],
        };
        let mut template = 0;
        for (index, row) in rows.iter().enumerate() {
            template += usize::from(templates.get(template) != Some(&row.template.as_str()));
            let mut literal = offsets.get(template).copied().unwrap_or_default();
            let mut named = row.template.split('/');
            let mut at = 0;
            for segment in blank(&row.template).split('/').skip(1) {
                let next = trie.nodes.len();
                let node = trie
                    .nodes
                    .get_mut(at)
                    .ok_or(SourceError::Overflow("the trie"))?;
                at = *node.children.entry(segment.to_owned()).or_insert(next);
                literal += named.next().map_or(0, str::len) + 1;
                if at == next {
                    trie.nodes.push(TrieNode {
                        literal,
                        ..TrieNode::default()
                    });
                }
            }
            let node = trie
                .nodes
                .get_mut(at)
                .ok_or(SourceError::Overflow("the trie"))?;
            let first = *rows.get(node.first_operation).unwrap_or(row);
            let again = node.operation_count > 0
                && (first.template != row.template
                    || rows
                        .get(index.wrapping_sub(1))
                        .is_some_and(|last| last.method == row.method));
            if again {
                return Err(SourceError::Correction {
                    selector: format!("{} {}", row.method, row.template),
                    message: "another row has the same shape".to_owned(),
                });
            }
            if node.operation_count == 0 {
                node.first_operation = index;
            }
            node.operation_count += 1;
        }
        Ok(trie)
    }

    /// Writes the nodes breadth first, so that the children of each lie side by side.
    fn encode(&self, text: &mut Text) -> Result<(Vec<u8>, Vec<[u8; NODE_LINKS_LEN]>), SourceError> {
        let mut segments = Vec::new();
        let mut links = Vec::new();
        let mut waiting = VecDeque::from([(String::new(), 0)]);
        let mut next_child = 1;
        while let Some((segment, index)) = waiting.pop_front() {
            let node = self
                .nodes
                .get(index)
                .ok_or(SourceError::Overflow("the trie"))?;
            segments.extend(match segment.as_str() {
                "" | "{}" => [0; TEXT_REF_LEN],
                mixed if mixed.contains("{}") => text.intern(mixed)?,
                literal => text_ref(node.literal, literal.len())?,
            });
            // Literals first, then mixed segments, then the bare parameter.
            let mut children: Vec<(&String, &usize)> = node.children.iter().collect();
            children.sort_by_key(|(segment, _)| match segment.as_str() {
                "{}" => 2,
                mixed if mixed.contains("{}") => 1,
                _ => 0,
            });
            let literals = children
                .iter()
                .filter(|(segment, _)| !segment.contains("{}"))
                .count();
            let others = children.len() - literals;
            if others > 0xf || node.operation_count > 0xf {
                return Err(SourceError::Overflow("a node"));
            }
            let [child_low, child_high] = short(next_child)?.to_le_bytes();
            let [op_low, op_high] = short(node.first_operation)?.to_le_bytes();
            let counts = byte(others << 4 | node.operation_count)?;
            links.push([
                child_low,
                child_high,
                byte(literals)?,
                counts,
                op_low,
                op_high,
            ]);
            next_child += children.len();
            waiting.extend(
                children
                    .into_iter()
                    .map(|(segment, child)| (segment.clone(), *child)),
            );
        }
        Ok((segments, links))
    }
}

fn byte(number: usize) -> Result<u8, SourceError> {
    u8::try_from(number).map_err(|_| SourceError::Overflow("a number of one byte"))
}

fn short(number: usize) -> Result<u16, SourceError> {
    u16::try_from(number).map_err(|_| SourceError::Overflow("a number of two bytes"))
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn check(tsv: &str, message: &str) {
        let rows = read(tsv).unwrap();
        assert_eq!(encode(&rows).unwrap_err().to_string(), message);
    }

    #[test]
    fn two_rows_of_one_shape_are_refused() {
        check(
            "GET\t/a/{b}\tone\t\t0\tother\tnone\nGET\t/a/{c}\ttwo\t\t0\tother\tnone",
            "correction \"GET /a/{c}\": another row has the same shape",
        );
        check(
            "GET\t/a\tone\t\t0\tother\tnone\nGET\t/a\ttwo\t\t0\tother\tnone",
            "correction \"GET /a\": another row has the same shape",
        );
    }

    #[test]
    fn what_outgrows_its_field_is_refused() {
        let params = "/{p}".repeat(9);
        check(
            &format!("GET\t{params}\tone\t\t0\tother\tnone"),
            "the number of parameters does not fit the table",
        );
        let id = "x".repeat(256);
        check(
            &format!("GET\t/a\t{id}\t\t0\tother\tnone"),
            "a number of one byte does not fit the table",
        );
    }

    #[test]
    fn read_group_is_named_as_its_write_group() {
        for (group, twin) in [
            ("DNS Write", Some("DNS Read")),
            ("Page Shield", Some("Page Shield Read")),
            (
                "Packet Captures - Write PCAPs API",
                Some("Packet Captures - Read PCAPs API"),
            ),
            ("DNS Read", None),
        ] {
            assert_eq!(read_twin(group).as_deref(), twin, "{group}");
        }
    }
}
