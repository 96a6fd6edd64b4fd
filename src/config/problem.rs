//! What is wrong with a document, and in which line.

use std::fmt;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1, if the document has the thing at all.
    pub line: Option<u32>,
    /// The field, such as `grants[2].dns.names[0]`; empty when it is about no single one.
    pub field: String,
    /// What is wrong, as one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    /// `line 12, grants[2].zones[0]: …`, without the parts that are unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.field.as_str()) {
            (Some(line), "") => write!(f, "line {line}: {}", self.message),
            (Some(line), field) => write!(f, "line {line}, {field}: {}", self.message),
            (None, "") => f.write_str(&self.message),
            (None, field) => write!(f, "{field}: {}", self.message),
        }
    }
}

/// Why a text is not read as a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes are not UTF-8 text.
    #[error("the document is not UTF-8 text.")]
    NotUtf8,
    /// Lists and tables contain one another more than 32 deep.
    #[error("line {line}: the document is nested deeper than 32.")]
    TooDeep {
        /// Where it gets too deep.
        line: u32,
    },
    /// A table sets a key twice.
    #[error("line {line}, {field}: the key is set a second time.")]
    DuplicateKey {
        /// Where it is set again.
        line: u32,
        /// The key.
        field: String,
    },
    /// It is malformed, or has keys or values the schema does not know.
    #[error("{}", sentences(.0))]
    Invalid(Vec<Problem>),
}

fn sentences(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where the lines of a text start.
#[derive(Debug, Clone)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    /// Finds the lines of `text`.
    pub(super) fn of(text: &str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    /// The line, from 1, in which the byte at `offset` stands.
    pub(super) fn line(&self, offset: usize) -> u32 {
        let line = self.0.partition_point(|start| *start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }
}
