//! `data/operations.tsv` as rows.

use crate::catalog::{Family, Judged, Method, Pagination, Scope};

/// Why the table could not be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SourceError {
    /// A line of the data file is not as it should be.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A correction cannot be applied.
    #[error("correction {selector:?}: {message}")]
    Correction {
        /// Its selector.
        selector: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something does not fit the fields of the table.
    #[error("{0} does not fit the table")]
    Overflow(&'static str),
}

/// One operation, first as the data file has it, then as corrected.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a row of independent yes-or-no facts"
)]
pub struct Row {
    /// Its method.
    pub method: Method,
    /// Its path with named parameters.
    pub template: String,
    /// Cloudflare's operation id, where known.
    pub operation_id: Option<String>,
    /// The names of the permission groups any one of which opens it.
    pub groups: Vec<String>,
    /// `0`, `1` or the end date.
    pub deprecated: String,
    /// What a grant must name.
    pub scope: Scope,
    /// How its list is continued.
    pub pagination: Pagination,
    /// Which condition speaks about it.
    pub family: Family,
    /// How its body is judged, if it is.
    pub judged: Option<Judged>,
    /// Whether it may change something.
    pub write: bool,
    /// Whether it widens its caller's rights.
    pub escalates: bool,
    /// Whether its answer holds a secret.
    pub reveals_secret: bool,
    /// Whether no group reaches it.
    pub named_only: bool,
    /// The name of its free-text parameter.
    pub free_text: Option<&'static str>,
}

/// Reads the data file. Lines that begin with `#` are comments.
///
/// # Errors
/// When a line lacks a column or holds an unknown value.
pub fn read(tsv: &str) -> Result<Vec<Row>, SourceError> {
    tsv.lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#') && !line.is_empty())
        .map(|(index, line)| {
            row(line).map_err(|message| SourceError::Line {
                line: index + 1,
                message,
            })
        })
        .collect()
}

fn row(line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [
        method,
        template,
        operation_id,
        groups,
        deprecated,
        scope,
        pagination,
    ] = columns.as_slice()
    else {
        return Err(format!("{} columns, expected 7", columns.len()));
    };
    let method = Method::from_str(method).ok_or_else(|| format!("method {method:?}"))?;
    if !template.starts_with('/') || template.split('/').skip(1).any(str::is_empty) {
        return Err(format!("path {template:?}"));
    }
    Ok(Row {
        method,
        template: (*template).to_owned(),
        operation_id: (!operation_id.is_empty()).then(|| (*operation_id).to_owned()),
        groups: groups
            .split('|')
            .filter(|group| !group.is_empty())
            .map(str::to_owned)
            .collect(),
        deprecated: (*deprecated).to_owned(),
        scope: match *scope {
            "account" => Scope::Account,
            "zone" => Scope::Zone,
            "user" => Scope::User,
            "other" => Scope::Other,
            _ => return Err(format!("scope {scope:?}")),
        },
        pagination: match *pagination {
            "none" => Pagination::None,
            "page" => Pagination::Page,
            "cursor" => Pagination::Cursor,
            "offset" => Pagination::Offset,
            "token" => Pagination::Token,
            _ => return Err(format!("pagination {pagination:?}")),
        },
        family: Family::None,
        judged: None,
        write: method != Method::Get,
        escalates: false,
        reveals_secret: false,
        named_only: false,
        free_text: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_lines_are_named() {
        for (line, message) in [
            ("GET\t/a", "line 2: 2 columns, expected 7"),
            ("HEAD\t/a\t\t\t0\tzone\tnone", "line 2: method \"HEAD\""),
            ("GET\t/a/\t\t\t0\tzone\tnone", "line 2: path \"/a/\""),
            ("GET\t/a\t\t\t0\tplanet\tnone", "line 2: scope \"planet\""),
            (
                "GET\t/a\t\t\t0\tzone\tscroll",
                "line 2: pagination \"scroll\"",
            ),
        ] {
            let error = read(&format!("# comment\n{line}\n")).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
