//! The narrow door to a SQL database.

use crate::model::Timestamp;

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
        if message.contains("UNIQUE constraint failed") {
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

/// The columns of one row, taken out by name.
///
/// Not by deriving: a derived reader for each kind of row is several kilobytes of wasm.
pub(super) struct Columns(serde_json::Map<String, Row>);

impl Columns {
    fn wrong(name: &str) -> StoreError {
        StoreError::Corrupt(format!("the column {name} is missing or of another kind"))
    }

    /// A text that is there; taken out.
    pub(super) fn text(&mut self, name: &str) -> Result<String, StoreError> {
        self.maybe_text(name)?.ok_or_else(|| Self::wrong(name))
    }

    /// A text, or NULL; taken out.
    pub(super) fn maybe_text(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        match self.0.get_mut(name).map(Row::take) {
            Some(Row::String(text)) => Ok(Some(text)),
            Some(Row::Null) => Ok(None),
            _ => Err(Self::wrong(name)),
        }
    }

    /// An integer that is there. D1 gives JavaScript numbers.
    pub(super) fn number(&self, name: &str) -> Result<i64, StoreError> {
        self.maybe_number(name)?.ok_or_else(|| Self::wrong(name))
    }

    /// An integer, or NULL.
    pub(super) fn maybe_number(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let whole = |number: f64| {
            // Integers are kept below 2^53.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole and below 2^53, as compared"
            )]
            let integer = number as i64;
            #[expect(
                clippy::cast_precision_loss,
                clippy::float_cmp,
                reason = "exact for whole numbers below 2^53"
            )]
            let is_whole = integer as f64 == number;
            is_whole.then_some(integer)
        };
        match self.0.get(name) {
            Some(Row::Null) => Ok(None),
            Some(Row::Number(number)) => number
                .as_i64()
                .or_else(|| number.as_f64().and_then(whole))
                .map(Some)
                .ok_or_else(|| Self::wrong(name)),
            _ => Err(Self::wrong(name)),
        }
    }

    /// A count.
    pub(super) fn count(&self, name: &str) -> Result<u32, StoreError> {
        u32::try_from(self.number(name)?).map_err(|_| Self::wrong(name))
    }

    /// A number that is 0 for no.
    pub(super) fn flag(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.number(name)? != 0)
    }

    /// An instant.
    pub(super) fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.number(name).map(Timestamp::from_unix_ms)
    }

    /// An instant, or NULL.
    pub(super) fn maybe_time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe_number(name)?.map(Timestamp::from_unix_ms))
    }

    /// A text that is read as something else, such as an id.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, StoreError> {
        self.text(name)?.parse().map_err(|_| Self::wrong(name))
    }

    /// One of a few words.
    pub(super) fn word<T>(
        &mut self,
        name: &str,
        named: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        named(&self.text(name)?).ok_or_else(|| Self::wrong(name))
    }

    /// A text that is JSON.
    pub(super) fn json(&mut self, name: &str) -> Result<Row, StoreError> {
        read_json(&self.text(name)?)
    }

    /// A text that is JSON, or NULL.
    pub(super) fn maybe_json(&mut self, name: &str) -> Result<Option<Row>, StoreError> {
        self.maybe_text(name)?.as_deref().map(read_json).transpose()
    }
}

/// Reads JSON as a value; the one way it is read from a column.
pub(super) fn read_json(text: &str) -> Result<Row, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The rows that the statement at `index` of a batch gave.
pub(super) fn rows(results: &mut [Vec<Row>], index: usize) -> Result<Vec<Columns>, StoreError> {
    let gone = || StoreError::Corrupt("a batch gave fewer results than statements".to_owned());
    let rows = results
        .get_mut(index)
        .map(std::mem::take)
        .ok_or_else(gone)?;
    rows.into_iter()
        .map(|row| match row {
            Row::Object(columns) => Ok(Columns(columns)),
            _ => Err(StoreError::Corrupt("a row has no columns".to_owned())),
        })
        .collect()
}

/// The one row, if there is any, that the statement at `index` of a batch gave.
pub(super) fn row(results: &mut [Vec<Row>], index: usize) -> Result<Option<Columns>, StoreError> {
    Ok(rows(results, index)?.pop())
}
