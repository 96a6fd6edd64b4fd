//! Which run deploys a Worker: one at a time.

use super::database::row;
use super::{Database, Statement, Store, StoreError};
use crate::model::RunId;

/// Binds: account, script, run. Taken is what nobody has, or a run that is at a known end.
const LOCK: &str = "INSERT INTO script_locks (account, script, run) VALUES (?1, ?2, ?3) \
     ON CONFLICT (account, script) DO UPDATE SET run = excluded.run \
     WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = script_locks.run AND (r.finished_at IS NULL OR r.state = 'unknown'))";
/// Binds: account, script.
const HOLDER: &str = "SELECT run FROM script_locks WHERE account = ?1 AND script = ?2";

impl<D: Database> Store<D> {
    /// Takes a Worker for a run and gives the run that has it now, which is another one if that is not at
    /// its end, or at an unknown one. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; harmless to repeat.
    pub async fn lock_script(
        &self,
        account: &str,
        script: &str,
        run: RunId,
    ) -> Result<RunId, StoreError> {
        let mut results = self
            .database
            .batch(vec![
                Statement::new(
                    LOCK,
                    vec![account.into(), script.into(), run.to_string().into()],
                ),
                Statement::new(HOLDER, vec![account.into(), script.into()]),
            ])
            .await?;
        row(&mut results, 1)?
            .ok_or_else(|| StoreError::Corrupt("script_locks".to_owned()))?
            .parsed("run")
    }
}
