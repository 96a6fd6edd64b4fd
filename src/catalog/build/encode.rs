//! Rows to the bytes that `table` reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::resolve::blank;
use super::super::table::{
    BLOCK, FLAG_ESCALATES, FLAG_NAMED_ONLY, FLAG_SECRET, FLAG_WRITE, GROUP_LEN, GROUP_WORDS, MAGIC,
    NO_PARAM, NODE_LEN, OPERATION_LEN, SECTIONS,
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
    rows.sort_by_key(|row| (shape(&row.template), row.method));
    refuse_twins(&rows)?;
    let groups = group_names(&rows);
    let (sets, set_of_row) = group_sets(&rows, &groups)?;
    let dates: BTreeSet<&str> = rows
        .iter()
        .map(|row| row.deprecated.as_str())
        .filter(|date| date.len() > 1)
        .collect();

    let mut operations = Vec::new();
    for (row, set) in rows.iter().zip(set_of_row) {
        let [set_low, set_high] = set.to_le_bytes();
        let [owners, free_text] = positions(row)?;
        let record: [u8; OPERATION_LEN] = [
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

    let mut group_records: Vec<[u8; GROUP_LEN]> = Vec::new();
    for (index, name) in groups.iter().enumerate() {
        let reads = read_twin(name)
            .and_then(|twin| groups.iter().position(|other| *other == twin))
            .map_or(Ok(0), |twin| distance(index, twin))?;
        group_records.push([
            corrections::group_family(name) as u8,
            u8::from(corrections::is_own(name)),
            reads.cast_unsigned(),
        ]);
    }

    let mut trie = Branch::default();
    let mut renamed = Vec::new();
    let mut renamed_templates = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let is_first = trie.grow(&row.template);
        if is_first && trie.spell(&row.template) != row.template {
            renamed.extend(short(index)?.to_le_bytes());
            renamed_templates.push(row.template.as_str());
        }
    }
    let mut segments = vec![""];
    let mut counts = vec![trie.counts()?];
    trie.encode(&mut segments, &mut counts)?;
    let ids = || {
        rows.iter()
            .map(|row| row.operation_id.as_deref().unwrap_or_default())
    };

    assemble([
        ("segments", lines(&segments)),
        ("node counts", columns(&counts)),
        ("renamed", renamed),
        ("renamed templates", lines(&renamed_templates)),
        ("operation ids", lines(&ids().collect::<Vec<_>>())),
        ("operation id blocks", blocks(ids())?),
        ("operations", columns(&operations)),
        (
            "group sets",
            sets.iter()
                .flatten()
                .flat_map(|word| word.to_le_bytes())
                .collect(),
        ),
        ("group names", lines(&groups)),
        ("groups", columns(&group_records)),
        ("dates", lines(&dates.into_iter().collect::<Vec<_>>())),
    ])
}

fn lines(pieces: &[&str]) -> Vec<u8> {
    pieces.join("\n").into_bytes()
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

/// Where the first line of each block begins.
fn blocks<'r>(lines: impl Iterator<Item = &'r str>) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for (index, line) in lines.enumerate() {
        if index.is_multiple_of(BLOCK) {
            bytes.extend(offset(start)?);
        }
        start += line.len() + 1;
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

fn offset(number: usize) -> Result<[u8; 3], SourceError> {
    match u32::try_from(number).map(u32::to_le_bytes) {
        Ok([a, b, c, 0]) => Ok([a, b, c]),
        _ => Err(SourceError::Overflow("the text")),
    }
}

/// What puts templates in the order of a walk down the trie: a literal comes before a segment that
/// mixes text and parameters, and that before a bare parameter.
type Shape = Vec<(u8, String)>;

fn shape(template: &str) -> Shape {
    template.split('/').skip(1).map(shape_of).collect()
}

fn shape_of(segment: &str) -> (u8, String) {
    let blanked = blank(segment);
    let class = match blanked.as_str() {
        "{}" => 2,
        mixed if mixed.contains("{}") => 1,
        _ => 0,
    };
    (class, blanked)
}

/// Refuses two sorted rows of one method and shape, and two templates that differ in names alone.
fn refuse_twins(rows: &[&Row]) -> Result<(), SourceError> {
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        if blank(&row.template) == blank(&next.template)
            && (row.template != next.template || row.method == next.method)
        {
            return Err(SourceError::Correction {
                selector: format!("{} {}", next.method, next.template),
                message: "another row has the same shape".to_owned(),
            });
        }
    }
    Ok(())
}

/// A node of the path templates as a tree of segments.
#[derive(Default)]
struct Branch<'r> {
    /// By shape, with the segment as the first template has it.
    children: BTreeMap<(u8, String), (&'r str, Branch<'r>)>,
    operations: usize,
}

impl<'r> Branch<'r> {
    /// Adds an operation of a template; answers whether it is the first there.
    fn grow(&mut self, template: &'r str) -> bool {
        let mut node = self;
        for segment in template.split('/').skip(1) {
            let child = node.children.entry(shape_of(segment));
            node = &mut child.or_insert((segment, Branch::default())).1;
        }
        node.operations += 1;
        node.operations == 1
    }

    /// A template that is there, with parameters named as the nodes name them.
    fn spell(&self, template: &str) -> String {
        let mut spelled = String::new();
        let mut node = self;
        for segment in template.split('/').skip(1) {
            if let Some((segment, child)) = node.children.get(&shape_of(segment)) {
                spelled.push('/');
                spelled.push_str(segment);
                node = child;
            }
        }
        spelled
    }

    fn counts(&self) -> Result<[u8; NODE_LEN], SourceError> {
        Ok([byte(self.children.len())?, byte(self.operations)?])
    }

    /// Writes the children, so that they lie side by side, and then what is below each.
    fn encode(
        &self,
        segments: &mut Vec<&'r str>,
        counts: &mut Vec<[u8; NODE_LEN]>,
    ) -> Result<(), SourceError> {
        for (segment, child) in self.children.values() {
            segments.push(segment);
            counts.push(child.counts()?);
        }
        for (_, child) in self.children.values() {
            child.encode(segments, counts)?;
        }
        Ok(())
    }
}

/// How far `to` is from `from`.
fn distance(from: usize, to: usize) -> Result<i8, SourceError> {
    to.checked_signed_diff(from)
        .and_then(|distance| i8::try_from(distance).ok())
        .ok_or(SourceError::Overflow("a distance of one byte"))
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
        let siblings: Vec<String> = (0..256)
            .map(|sibling| format!("GET\t/{sibling}\tid\t\t0\tother\tnone"))
            .collect();
        check(
            &siblings.join("\n"),
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
