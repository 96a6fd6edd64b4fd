//! The narrow door to a SQL database.

use serde::de::DeserializeOwned;

/// A database failed, or holds what it should not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A uniqueness constraint was hit; the whole batch had no effect.
    #[error("the row exists already")]
    Conflict,
    /// A table is not there: the database is not migrated.
    #[error("the database is not migrated")]
    NotMigrated,
    /// It cannot be reached or refused the statement. The text is for the log.
    #[error("the database failed: {0}")]
    Unavailable(String),
    /// A row that this version cannot read. The text is for the log.
    #[error("the database holds a row that cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Classifies the message of a SQLite error, as D1 and SQLite word it.
    #[must_use]
    pub fn from_message(message: &str) -> Self {
        if message.contains("UNIQUE constraint failed") || message.contains("PRIMARY KEY") {
            Self::Conflict
        } else if message.contains("no such table") {
            Self::NotMigrated
        } else {
            Self::Unavailable(message.chars().take(500).collect())
        }
    }
}

/// A value bound to a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer; D1 takes those below 2^53.
    Integer(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement of a fixed list, with its binds.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The SQL; never put together from input.
    pub sql: &'static str,
    /// The binds, in order.
    pub binds: Vec<Value>,
}

impl Statement {
    /// A statement and what it binds.
    #[must_use]
    pub const fn new(sql: &'static str, binds: Vec<Value>) -> Self {
        Self { sql, binds }
    }
}

/// A row as an object of its columns.
pub type Row = serde_json::Value;

/// Runs statements.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Database {
    /// Runs `statements` in order as one transaction and gives the rows of each. On an error none
    /// had an effect, but for a lost connection, after which that cannot be known.
    ///
    /// # Errors
    /// [`StoreError`], classified by [`StoreError::from_message`].
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError>;
}

/// Decodes the rows of one statement.
pub(super) fn decode<T: DeserializeOwned>(rows: Vec<Row>) -> Result<Vec<T>, StoreError> {
    rows.into_iter()
        .map(|row| {
            serde_json::from_value(row).map_err(|error| StoreError::Corrupt(error.to_string()))
        })
        .collect()
}

/// Takes the result of the statement at `index` of a batch.
pub(super) fn take(results: &mut [Vec<Row>], index: usize) -> Result<Vec<Row>, StoreError> {
    results
        .get_mut(index)
        .map(std::mem::take)
        .ok_or_else(|| StoreError::Corrupt("a batch gave fewer results than statements".to_owned()))
}
