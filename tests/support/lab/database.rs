//! SQLite whose batches are effects.

use std::rc::Rc;

use zonekeeper::store::{Database, Row, Statement, StoreError};

use super::injector::Injector;
use super::world::Outside;
use crate::support::database::Sqlite;

/// A database that several isolates share, and whose batches fail as the injector has it.
#[derive(Debug, Clone)]
pub(crate) struct LabDatabase {
    sqlite: Rc<Sqlite>,
    injector: Injector,
}

impl LabDatabase {
    /// The database outside.
    pub(crate) fn new(outside: &Outside) -> Self {
        Self {
            sqlite: Rc::clone(&outside.sqlite),
            injector: outside.injector.clone(),
        }
    }
}

impl Database for LabDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError> {
        let fault = self.injector.meet(|| describe(&statements));
        let lost = || {
            Err(StoreError::from_message(
                "D1_ERROR: Network connection lost.",
            ))
        };
        self.injector
            .carry_out(fault, self.sqlite.batch(statements), lost)
            .await
    }
}

/// Such as `d1: UPDATE runs; INSERT run_events`.
fn describe(statements: &[Statement]) -> String {
    let statements: Vec<String> = statements.iter().map(|s| verb_and_table(s.sql)).collect();
    format!("d1: {}", statements.join("; "))
}

/// The first word of a statement and the table it speaks of, or its beginning where that cannot be
/// told.
fn verb_and_table(sql: &str) -> String {
    let sql: String = sql
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join(" ");
    let words: Vec<&str> = sql.split_whitespace().collect();
    let verb = words.first().copied().unwrap_or_default();
    let before_table: &[&str] = match verb {
        "UPDATE" => &["UPDATE"],
        "INSERT" | "REPLACE" => &["INTO"],
        _ => &["FROM", "TABLE", "INDEX"],
    };
    let table = words
        .iter()
        .position(|word| before_table.contains(word))
        .and_then(|at| words.get(at + 1))
        .and_then(|table| table.split(['(', ';']).next());
    match table {
        Some(table) => format!("{verb} {table}"),
        None => words.iter().take(4).copied().collect::<Vec<_>>().join(" "),
    }
}
