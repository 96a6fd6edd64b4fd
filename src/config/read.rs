//! From the bytes of a document to the [`Document`], with the place of everything in it.

use super::document::Document;
use super::problem::{Lines, Problem, ReadError};
use super::toml_text;
use super::tree::{Node, Tree};
use super::words::{nearest, quoted};
use crate::model::json::{self, JsonError, JsonErrorKind, Limits};
use crate::model::{At, FieldPath};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/toml`
    Toml,
    /// `application/json`
    Json,
}

/// A document and where in its text everything stands.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it says.
    pub document: Document,
    tree: Tree,
    lines: Lines,
}

impl Source {
    /// The line, from 1, of a field such as `grants[2].zones[0]`: of the key, where a key names
    /// it. For a field that is missing, the line of what should have it; `None` if `field` is not
    /// of that form.
    #[must_use]
    pub fn line_of(&self, field: &str) -> Option<u32> {
        FieldPath::parse(field).map(|path| self.line_at(&path))
    }

    /// Something wrong at `at`.
    pub(super) fn problem(&self, at: &At<'_>, message: String) -> Problem {
        problem(&self.tree, &self.lines, &at.to_path(), message)
    }

    /// The document as written.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    fn line_at(&self, path: &FieldPath) -> u32 {
        self.lines.line(self.tree.offset_of(path))
    }
}

fn problem(tree: &Tree, lines: &Lines, path: &FieldPath, message: String) -> Problem {
    Problem {
        line: Some(lines.line(tree.offset_of(path))),
        field: path.to_string(),
        message,
    }
}

/// Reads a document. What its parts say about one another is checked by `validate`.
///
/// # Errors
/// The first thing that is malformed, too deep, unknown to the schema or of the wrong type.
pub fn read(text: &[u8], format: Format) -> Result<Source, ReadError> {
    let text = std::str::from_utf8(text).map_err(|_| ReadError::NotUtf8)?;
    let lines = Lines::of(text);
    let limits = Limits::default();
    let tree = match format {
        Format::Toml => toml_text::parse(text, &lines, limits)?,
        Format::Json => json::parse_as(text.as_bytes(), limits).map_err(from_json)?,
    };
    if !matches!(tree.node, Node::Table(_)) {
        return Err(ReadError::Invalid(vec![Problem {
            line: Some(1),
            field: String::new(),
            message: "the document must be a table.".to_owned(),
        }]));
    }
    if let Some(path) = first_null(&tree, &At::Root) {
        let message = "null means nothing here; leave the key out.".to_owned();
        return Err(ReadError::Invalid(vec![problem(
            &tree, &lines, &path, message,
        )]));
    }
    match Document::read(tree.to_value()) {
        Ok(document) => Ok(Source {
            document,
            tree,
            lines,
        }),
        Err(error) => {
            let message = reword(&error.message);
            let problem = problem(&tree, &lines, &error.path(), message);
            Err(ReadError::Invalid(vec![problem]))
        }
    }
}

fn from_json(error: JsonError) -> ReadError {
    let line = error.line;
    match error.kind {
        JsonErrorKind::NotUtf8 => ReadError::NotUtf8,
        JsonErrorKind::TooDeep => ReadError::TooDeep { line },
        JsonErrorKind::DuplicateKey(field) => ReadError::DuplicateKey { line, field },
        kind => ReadError::Invalid(vec![Problem {
            line: Some(line),
            field: String::new(),
            message: format!("the JSON is malformed at column {}: {kind}.", error.column),
        }]),
    }
}

/// Where the document has a `null`. One in place of a condition would silently lift it.
fn first_null(tree: &Tree, at: &At<'_>) -> Option<FieldPath> {
    match &tree.node {
        Node::Scalar(value) => value.is_null().then(|| at.to_path()),
        Node::List(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| first_null(item, &at.item(index))),
        Node::Table(members) => members
            .iter()
            .find_map(|member| first_null(&member.value, &at.key(&member.key))),
    }
}

/// Turns a message of serde's into a sentence for people. One it does not know stays as it is.
fn reword(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field ") {
        let unknown = names.next().unwrap_or_default();
        let shown = quoted(unknown);
        return match nearest(unknown, names) {
            Some(known) => format!("there is no key {shown} here; the nearest is {known:?}."),
            None => format!("there is no key {shown} here."),
        };
    }
    if message.starts_with("missing field ") {
        return format!("the key {:?} is missing.", names.next().unwrap_or_default());
    }
    if message.starts_with("unknown variant ") {
        let unknown = quoted(names.next().unwrap_or_default());
        let known: Vec<String> = names.map(|variant| format!("{variant:?}")).collect();
        return format!("{unknown} is not one of {}.", known.join(", "));
    }
    let found_expected = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    match found_expected {
        Some((found, expected)) => {
            format!(
                "expected {}, found {}.",
                plain_type(expected),
                plain_value(found)
            )
        }
        None => format!("{message}."),
    }
}

/// A type in words that hold in TOML and JSON.
fn plain_type(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "a table",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a string or a list of strings" => "a text or a list of texts",
        "u32" => "a whole number from 0 to 4294967295",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// A value as serde describes it, in words that hold in TOML and JSON.
fn plain_value(found: &str) -> String {
    match found {
        "sequence" => return "a list".to_owned(),
        "map" => return "a table".to_owned(),
        _ => {}
    }
    let number = found
        .strip_prefix("integer `")
        .or_else(|| found.strip_prefix("floating point `"));
    if let Some(number) = number {
        return format!("the number {}", number.trim_end_matches('`'));
    }
    if let Some(truth) = found.strip_prefix("boolean `") {
        return truth.trim_end_matches('`').to_owned();
    }
    // Shown as serde quotes it, so within one line.
    match found.strip_prefix("string ") {
        Some(text) if text.len() <= 80 => format!("the text {text}"),
        Some(_) => "a long text".to_owned(),
        None => found.to_owned(),
    }
}
