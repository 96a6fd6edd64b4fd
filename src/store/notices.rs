//! Who was told of which end of which run.

use super::database::{row, rows};
use super::{Database, Statement, Store, StoreError};
use crate::model::{RunId, Timestamp};

/// Binds: a JSON list of names, time. A notification tells of runs that end from then on.
const BEGIN: &str = "INSERT INTO notification_starts (name, since) SELECT value, ?2 FROM json_each(?1) WHERE true \
     ON CONFLICT (name) DO NOTHING";
/// Binds: a JSON list of `[name, jobs, outcomes]`, ended at or after, now, how many.
///
/// A run that is let go on after its end has another end to tell of, which its fence tells apart. What was not
/// tried yet comes first, so that a receiver that is down keeps nobody else waiting.
const DUE: &str = "SELECT t.value ->> 0 AS notification, runs.id, runs.fence FROM json_each(?1) t \
     JOIN notification_starts s ON s.name = t.value ->> 0 \
     JOIN runs ON runs.finished_at >= max(?2, s.since) AND runs.dry_run = 0 \
     AND (json_array_length(t.value -> 1) = 0 OR EXISTS (SELECT 1 FROM json_each(t.value -> 1) j WHERE j.value = runs.job)) \
     AND EXISTS (SELECT 1 FROM json_each(t.value -> 2) o WHERE o.value = runs.state) \
     LEFT JOIN notices n ON n.notification = s.name AND n.run = runs.id AND n.fence = runs.fence \
     WHERE n.run IS NULL OR (n.done_at IS NULL AND n.next_at <= ?3) ORDER BY coalesce(n.attempts, 0), runs.finished_at LIMIT ?4";
/// Binds: notification, run, fence, when it is tried again, now. Of several callers one gets it.
const TAKE: &str = "INSERT INTO notices (notification, run, fence, attempts, next_at) VALUES (?1, ?2, ?3, 1, ?4) \
     ON CONFLICT (notification, run, fence) DO UPDATE SET attempts = attempts + 1, next_at = ?4 \
     WHERE done_at IS NULL AND next_at <= ?5 RETURNING attempts";
/// Binds: notification, run, fence, when it is tried again.
const POSTPONE: &str =
    "UPDATE notices SET next_at = ?4 WHERE notification = ?1 AND run = ?2 AND fence = ?3";
/// Binds: notification, run, fence, time, what came of it.
const DONE: &str = "UPDATE notices SET done_at = ?4, detail = ?5 WHERE notification = ?1 AND run = ?2 AND fence = ?3";

/// An end of a run that somebody is to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The notification's name.
    pub notification: String,
    /// The run.
    pub run: RunId,
    /// Which of its ends.
    pub fence: i64,
}

impl Notice {
    fn key(&self) -> Vec<super::Value> {
        vec![
            self.notification.as_str().into(),
            self.run.to_string().into(),
            self.fence.into(),
        ]
    }
}

/// A notification: its name, the jobs and the outcomes it tells of.
pub type Told<'n> = (&'n str, &'n [String], Vec<&'n str>);

impl<D: Database> Store<D> {
    /// Ends of runs that were not told of yet, at most `limit`. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn due_notices(
        &self,
        told: &[Told<'_>],
        since: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Notice>, StoreError> {
        let names: Vec<&str> = told.iter().map(|(name, ..)| *name).collect();
        let begin = vec![
            serde_json::json!(names).to_string().into(),
            now.unix_ms().into(),
        ];
        let due = vec![
            serde_json::json!(told).to_string().into(),
            since.unix_ms().into(),
            now.unix_ms().into(),
            i64::from(limit).into(),
        ];
        let batch = vec![Statement::new(BEGIN, begin), Statement::new(DUE, due)];
        let mut results = self.database.batch(batch).await?;
        let rows = rows(&mut results, 1)?.into_iter();
        rows.map(|mut row| {
            Ok(Notice {
                notification: row.text("notification")?,
                run: row.parsed("id")?,
                fence: row.number("fence")?,
            })
        })
        .collect()
    }

    /// Takes a notice in hand until `next`; the number of times that was done, if it may be.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn take_notice(
        &self,
        notice: &Notice,
        next: Timestamp,
        now: Timestamp,
    ) -> Result<Option<u32>, StoreError> {
        let mut binds = notice.key();
        binds.extend([next.unix_ms().into(), now.unix_ms().into()]);
        let mut results = self
            .database
            .batch(vec![Statement::new(TAKE, binds)])
            .await?;
        let taken = row(&mut results, 0)?;
        taken.map(|row| row.count("attempts")).transpose()
    }

    /// Tries it again then.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn postpone_notice(
        &self,
        notice: &Notice,
        next: Timestamp,
    ) -> Result<(), StoreError> {
        let mut binds = notice.key();
        binds.push(next.unix_ms().into());
        let batch = vec![Statement::new(POSTPONE, binds)];
        self.database.batch(batch).await.map(drop)
    }

    /// Is done with it; `detail` says how.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn end_notice(
        &self,
        notice: &Notice,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut binds = notice.key();
        binds.extend([now.unix_ms().into(), detail.into()]);
        let batch = vec![Statement::new(DONE, binds)];
        self.database.batch(batch).await.map(drop)
    }
}
