//! The one row every isolate must keep up with.

use super::database::row;
use super::{Database, Statement, Store, StoreError};

/// What was current when it was read. When neither number has changed, everything an isolate holds
/// of configuration and keys is still true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// The version of the configuration in force; 0 before the first.
    pub config_version: i64,
    /// Rises with every change to an existing key.
    pub keys_generation: i64,
}

/// Gives one row: `config_version`, `keys_generation`.
pub(super) const READ_CONTROL: &str =
    "SELECT config_version, keys_generation FROM control WHERE id = 1";
/// To be run in the batch of whatever changes an existing key.
pub(super) const NEXT_KEYS_GENERATION: &str =
    "UPDATE control SET keys_generation = keys_generation + 1 WHERE id = 1";

/// Decodes the rows of [`READ_CONTROL`].
pub(super) fn decode_control(
    results: &mut [Vec<super::Row>],
    index: usize,
) -> Result<Control, StoreError> {
    let row = row(results, index)?
        .ok_or_else(|| StoreError::Corrupt("the control row is missing".to_owned()))?;
    Ok(Control {
        config_version: row.number("config_version")?,
        keys_generation: row.number("keys_generation")?,
    })
}

impl<D: Database> Store<D> {
    /// Reads what is current. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read; the caller must then not go on with what it holds.
    pub async fn control(&self) -> Result<Control, StoreError> {
        let mut results = self
            .database
            .batch(vec![Statement::new(READ_CONTROL, vec![])])
            .await?;
        decode_control(&mut results, 0)
    }
}
