//! What somebody wants of a run: that it ends, hurries, is let go, or goes on.

use super::super::audit::event_statement;
use super::super::database::row;
use super::super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::model::{RunId, Timestamp};

/// Binds: run, time. Gives its job when it is open.
const REQUEST_CANCEL: &str = "UPDATE runs SET cancel_requested = 1, wake_at = min(wake_at, ?2), enqueued_at = ?2 \
     WHERE id = ?1 AND finished_at IS NULL RETURNING id";
/// Binds: run, time. What is left of its waits is left out.
const HURRY: &str = "UPDATE runs SET hurry = 1, wake_at = min(wake_at, ?2), enqueued_at = ?2 \
     WHERE id = ?1 AND finished_at IS NULL RETURNING id";
/// Binds: run. Ends what could not be told, once somebody has looked.
const LET_GO: &str =
    "UPDATE runs SET state = 'cancelled' WHERE id = ?1 AND state = 'unknown' RETURNING id";
/// Binds: run, time, message.
const NOTE: &str = "INSERT INTO run_events (run, number, at, message) \
     SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ?1), ?2, ?3 FROM runs WHERE id = ?1";
/// Binds: run, time. A run that ended otherwise than well goes on from where it ended: from its plan if it
/// has none, from the first step that is not done otherwise. One that was planned anew too often is planned once more.
const REOPEN: &str = "UPDATE runs SET state = 'queued', reason = NULL, failures = 0, cancel_requested = 0, hurry = 0, fence = fence + 1, lease_until = NULL, \
     calls = 0, finished_at = NULL, expires_at = NULL, started_at = NULL, wake_at = ?2, enqueued_at = ?2, \
     stage = CASE WHEN dry_run = 1 OR stage = 'plan' OR replans % 4 = 3 THEN 'plan' ELSE 'apply' END, \
     replans = CASE WHEN replans % 4 = 3 THEN replans + 1 ELSE replans END \
     WHERE id = ?1 AND finished_at IS NOT NULL AND state <> 'succeeded' RETURNING id";
/// Binds: run. Refused steps are begun anew, and what may have happened is found out with as many attempts
/// as before; only after [`REOPEN`].
const REOPEN_STEPS: &str = "UPDATE run_steps SET state = CASE state WHEN 'refused' THEN 'pending' ELSE state END, attempts = 0 \
     WHERE run = ?1 AND state IN ('refused', 'unknown') \
     AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.state = 'queued' AND r.finished_at IS NULL)";

/// What somebody wants of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it ends before its next step.
    Cancel,
    /// That what is left of its waits is left out.
    Hurry,
    /// That one that ended unknown counts as cancelled, as somebody has looked at what it left.
    LetGo,
}

impl<D: Database> Store<D> {
    /// Does what somebody wants of a run. One batch with the event that tells of it; `false` when it is not
    /// in a state for that.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn wish(
        &self,
        run: RunId,
        wish: Wish,
        message: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (sql, at) = match wish {
            Wish::Cancel => (REQUEST_CANCEL, Some(now)),
            Wish::Hurry => (HURRY, Some(now)),
            Wish::LetGo => (LET_GO, None),
        };
        let mut binds = vec![run.to_string().into()];
        binds.extend(at.map(|at| at.unix_ms().into()));
        let change = Statement::new(sql, binds);
        self.change_run(vec![change], run, message, event, now)
            .await
    }

    /// Lets a run that ended otherwise than well go on from where it ended. One batch with the event
    /// that tells of it; `false` when it cannot.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn reopen(
        &self,
        run: RunId,
        message: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = run.to_string();
        let changes = vec![
            Statement::new(REOPEN, vec![id.as_str().into(), now.unix_ms().into()]),
            Statement::new(REOPEN_STEPS, vec![id.into()]),
        ];
        self.change_run(changes, run, message, event, now).await
    }

    async fn change_run(
        &self,
        mut batch: Vec<Statement>,
        run: RunId,
        message: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        batch.push(Statement::new(
            NOTE,
            vec![run.to_string().into(), now.unix_ms().into(), message.into()],
        ));
        batch.push(event_statement(std::slice::from_ref(event))?);
        let mut results = self.database.batch(batch).await?;
        Ok(row(&mut results, 0)?.is_some())
    }
}
