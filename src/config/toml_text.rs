//! TOML into a [`Tree`], under the same limits as JSON.
//!
//! The parser behind this recurses, so the text is scanned for its depth first; and what TOML can
//! say but the stored JSON could not (a number beyond 2^53, say) is refused here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Lines, Problem, ReadError};
use super::tree::{Member, Node, Tree};
use crate::model::At;
use crate::model::json::Limits;
use crate::model::json::to_f64;

/// Reads TOML; all values lie within `limits`.
pub(super) fn parse(text: &str, lines: &Lines, limits: Limits) -> Result<Tree, ReadError> {
    if let Some(at) = deeper_than(text, limits.max_depth) {
        return Err(ReadError::TooDeep {
            line: lines.line(at),
        });
    }
    let table = DeTable::parse(text).map_err(|error| malformed(text, lines, &error))?;
    let conversion = Conversion { lines, limits };
    conversion.table(table.get_ref(), 0, &At::Root, 1)
}

struct Conversion<'l> {
    lines: &'l Lines,
    limits: Limits,
}

impl Conversion<'_> {
    fn value(
        &self,
        value: &Spanned<DeValue<'_>>,
        at: &At<'_>,
        depth: usize,
    ) -> Result<Tree, ReadError> {
        let offset = value.span().start;
        if depth > self.limits.max_depth {
            return Err(ReadError::TooDeep {
                line: self.lines.line(offset),
            });
        }
        match value.get_ref() {
            DeValue::String(text) => Ok(Tree::scalar(text.as_ref(), offset)),
            DeValue::Boolean(value) => Ok(Tree::scalar(*value, offset)),
            DeValue::Datetime(time) => Ok(Tree::scalar(time.to_string(), offset)),
            DeValue::Integer(integer) => {
                const MAX: i64 = 1 << 53;
                i64::from_str_radix(integer.as_str(), integer.radix())
                    .ok()
                    .filter(|number| (-MAX..=MAX).contains(number))
                    .map(|number| Tree::scalar(number, offset))
                    .ok_or_else(|| {
                        self.invalid(offset, at, "a whole number is beyond 9007199254740992.")
                    })
            }
            DeValue::Float(float) => to_f64(float.as_str().trim_start_matches('+'))
                .filter(|number| {
                    number.is_finite() && (*number != 0.0 || number.is_sign_positive())
                })
                .map(|number| Tree::scalar(number, offset))
                .ok_or_else(|| {
                    self.invalid(
                        offset,
                        at,
                        "a number must be finite, and a zero has no sign.",
                    )
                }),
            DeValue::Array(items) => {
                let items = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.value(item, &at.item(index), depth + 1))
                    .collect::<Result<_, _>>()?;
                Ok(Tree {
                    at: offset,
                    node: Node::List(items),
                })
            }
            DeValue::Table(table) => self.table(table, offset, at, depth),
        }
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        offset: usize,
        at: &At<'_>,
        depth: usize,
    ) -> Result<Tree, ReadError> {
        let mut members = table
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let here = at.key(name);
                if name.len() > self.limits.max_key_len {
                    return Err(self.invalid(key.span().start, at, "a key is too long."));
                }
                Ok(Member {
                    key: name.to_owned(),
                    at: key.span().start,
                    value: self.value(value, &here, depth + 1)?,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        crate::model::sort_by(&mut members, |a, b| a.at.cmp(&b.at));
        Ok(Tree {
            at: offset,
            node: Node::Table(members),
        })
    }

    fn invalid(&self, offset: usize, at: &At<'_>, message: &str) -> ReadError {
        ReadError::Invalid(vec![Problem {
            line: Some(self.lines.line(offset)),
            field: at.to_path().to_string(),
            message: message.to_owned(),
        }])
    }
}

/// What the parser complained about, with the line and, where the line shows it, the field.
fn malformed(text: &str, lines: &Lines, error: &toml::de::Error) -> ReadError {
    let span = error.span().unwrap_or(text.len()..text.len());
    let line = lines.line(span.start);
    if error.message() == "duplicate key" {
        let key = text.get(span).unwrap_or_default();
        return ReadError::DuplicateKey {
            line,
            field: field_near(text, line).unwrap_or_else(|| key.to_owned()),
        };
    }
    ReadError::Invalid(vec![Problem {
        line: Some(line),
        field: field_near(text, line).unwrap_or_default(),
        message: format!("the TOML is malformed: {}.", error.message()),
    }])
}

/// The field that line `line` seems to set, judged by the headers above it and the key in front of
/// its `=`. Used only in messages about text that has no reliable structure.
fn field_near(text: &str, line: u32) -> Option<String> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let header = |text: &str| {
        let text = text.trim_start();
        let list = text
            .strip_prefix("[[")
            .and_then(|rest| rest.split_once("]]"));
        let table = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match (list, table) {
            (Some((name, _)), _) => Some((name.trim().to_owned(), true)),
            (None, Some((name, _))) if is_dotted_key(name) => Some((name.trim().to_owned(), false)),
            _ => None,
        }
    };
    let here = text.lines().nth(line)?;
    let headers: Vec<_> = text.lines().take(line + 1).filter_map(header).collect();
    let prefix = match headers.last() {
        Some(last @ (name, true)) => {
            let index = headers.iter().filter(|header| *header == last).count() - 1;
            format!("{name}[{index}]")
        }
        Some((name, false)) => name.clone(),
        None => String::new(),
    };
    if header(here).is_some() {
        return Some(prefix);
    }
    let key = here.split('=').next()?.trim();
    if !here.contains('=') || !is_dotted_key(key) {
        return None;
    }
    Some(if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    })
}

fn is_dotted_key(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'"'))
}

/// The offset at which brackets and dotted keys nest deeper than `max_depth`, if they do.
///
/// Strings and comments are stepped over. Text that is not TOML may be judged wrongly, but every
/// bracket and dot that the parser takes as such was counted here.
fn deeper_than(text: &str, max_depth: usize) -> Option<usize> {
    let mut scan = Scan::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = after_string(bytes, at, *byte);
                continue;
            }
            b'#' => {
                at += bytes.iter().skip(at).take_while(|b| **b != b'\n').count();
                continue;
            }
            other => scan.step(*other),
        }
        if scan.depth() > max_depth {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The depth at one place of a TOML text.
#[derive(Default)]
struct Scan {
    /// Parts of the last table header.
    header: usize,
    /// Whether a table header is being read.
    in_header: bool,
    /// What each open bracket added: itself and the dots of the key in front of it.
    open: Vec<usize>,
    /// Dots of the key being read, or whose value is.
    dots: usize,
    /// Whether a value is being read, in which dots mean nothing.
    in_value: bool,
}

impl Scan {
    fn step(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.in_header = false;
                if self.open.is_empty() {
                    self.dots = 0;
                    self.in_value = false;
                }
            }
            b'[' if self.open.is_empty() && !self.in_value => {
                self.header = if self.in_header { self.header + 1 } else { 1 };
                self.in_header = true;
                self.dots = 0;
            }
            b'[' | b'{' => {
                self.open.push(self.dots + 1);
                self.dots = 0;
                self.in_value = byte == b'[';
            }
            b']' if self.in_header => {}
            b']' | b'}' => {
                let added = self.open.pop().unwrap_or(1);
                self.dots = added - 1;
                self.in_value = true;
            }
            b'=' => self.in_value = true,
            b',' => {
                self.dots = 0;
                // In a list the next thing is a value, in a table a key. Both are counted as a
                // key, so a number may count for one more than it should.
                self.in_value = false;
            }
            b'.' if self.in_header => self.header += 1,
            b'.' if !self.in_value => self.dots += 1,
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        1 + self.header + self.open.iter().sum::<usize>() + self.dots
    }
}

/// The offset after the string that starts at `at`; a one-line string ends with its line.
fn after_string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let escapes = quote == b'"';
    let rest = bytes.get(at..).unwrap_or_default();
    let long = rest.starts_with(&[quote; 3]);
    let mut skip = if long { 3 } else { 1 };
    while let Some(byte) = rest.get(skip) {
        if !long && *byte == b'\n' {
            break;
        }
        if escapes && *byte == b'\\' && (long || rest.get(skip + 1) != Some(&b'\n')) {
            skip += 2;
        } else if long
            && rest
                .get(skip..)
                .is_some_and(|rest| rest.starts_with(&[quote; 3]))
        {
            // Up to two quotes may stand right before the closing three.
            skip += 3;
            skip += rest
                .iter()
                .skip(skip)
                .take(2)
                .take_while(|b| **b == quote)
                .count();
            break;
        } else if !long && *byte == quote {
            skip += 1;
            break;
        } else {
            skip += 1;
        }
    }
    at + skip
}
