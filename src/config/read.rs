//! From the bytes of a document to the [`Document`], with the place of everything in it.

use super::document::Document;
use super::problem::{Lines, Problem, ReadError};
use super::toml_text;
use super::tree::{Node, Tree};

use crate::model::json::{self, JsonError, JsonErrorKind, Limits};
use crate::model::typed::Typed as _;
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
        Err(misfit) => {
            let message = format!("{}.", misfit.message);
            let problem = problem(&tree, &lines, &misfit.path(), message);
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
