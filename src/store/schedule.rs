//! What the scheduler has done, and what it has to know of jobs and of runs that are late.

use serde::Deserialize;

use super::audit::event_statement;
use super::database::{decode, take};
use super::runs::{NewRun, insert_statements};
use super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::model::{RunId, Timestamp};

const READ: &str = "SELECT ticked_at, config_version FROM scheduler WHERE id = 1";
const READ_JOBS: &str =
    "SELECT name, schedule, since, paused_at, paused_by, missed, missed_at FROM jobs ORDER BY name";
/// Jobs with an open run, each with the id of its oldest.
/// Beside a `min` SQLite gives the other columns of its row (<https://sqlite.org/lang_select.html#bareagg>).
const OPEN: &str = "SELECT job, id, min(created_at), count(*) AS open FROM runs WHERE finished_at IS NULL GROUP BY job";
/// Binds: JSON list of `[name, schedule]`, since. A job whose schedule is another counts from then on.
const SYNC: &str = "INSERT INTO jobs (name, schedule, since, missed) SELECT value ->> 0, value ->> 1, ?2, 0 FROM json_each(?1) WHERE true \
     ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule, since = excluded.since, missed = 0, missed_at = NULL \
     WHERE schedule <> excluded.schedule";
/// Binds: JSON list of names. A job that is gone takes its pause with it.
const DROP_OTHERS: &str = "DELETE FROM jobs WHERE name NOT IN (SELECT value FROM json_each(?1))";
/// Binds: version.
const SYNCED: &str =
    "UPDATE scheduler SET config_version = ?1 WHERE id = 1 AND config_version < ?1";
/// Binds: tick. Only rises.
const TICKED: &str = "UPDATE scheduler SET ticked_at = max(ticked_at, ?1) WHERE id = 1";
/// Binds: JSON list of `[name, how many, newest]`, tick. Counted once for each tick: only before it is noted.
const MISSED: &str = "UPDATE jobs SET missed = missed + (SELECT value ->> 1 FROM json_each(?1) WHERE value ->> 0 = jobs.name), \
     missed_at = (SELECT value ->> 2 FROM json_each(?1) WHERE value ->> 0 = jobs.name) \
     WHERE name IN (SELECT value ->> 0 FROM json_each(?1)) AND (SELECT ticked_at FROM scheduler WHERE id = 1) < ?2";
/// Binds: name, time, by whom.
const PAUSE: &str =
    "UPDATE jobs SET paused_at = coalesce(paused_at, ?2), paused_by = ?3 WHERE name = ?1";
/// Binds: name, time. Firings up to then are not owed, even if no tick has looked at them yet.
const RESUME: &str = "UPDATE jobs SET since = max(since, ?2), paused_at = NULL, paused_by = NULL \
     WHERE name = ?1 AND paused_at IS NOT NULL";
/// Binds: job. Open runs are due for another look.
const WAKE: &str = "UPDATE runs SET enqueued_at = 0 WHERE job = ?1 AND finished_at IS NULL";
/// Binds: now, due before. Open runs of jobs that are not paused, due since before then, held by nobody or by somebody who is gone.
///
/// The plus signs keep SQLite from the indexes of all runs that are kept: only open ones are read.
const OVERDUE: &str = "SELECT r.id, r.job, r.state, max(r.wake_at, coalesce(r.lease_until, 0)) AS since FROM runs r \
     WHERE r.finished_at IS NULL AND r.wake_at <= ?2 AND coalesce(r.lease_until, 0) <= ?2 \
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.name = r.job AND j.paused_at IS NOT NULL) \
     AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.job = r.job AND o.finished_at IS NULL \
       AND (+o.created_at < r.created_at OR (+o.created_at = r.created_at AND o.id < r.id))) ORDER BY +r.created_at LIMIT 50";

/// What is stored of a job beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// Its schedule in one text, so that a change shows.
    pub schedule: String,
    since: i64,
    paused_at: Option<i64>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Firings that got no run of their own.
    pub missed: i64,
    missed_at: Option<i64>,
}

impl JobRow {
    /// Firings after this instant count.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.since)
    }

    /// When it was paused, if it is.
    #[must_use]
    pub fn paused_at(&self) -> Option<Timestamp> {
        self.paused_at.map(Timestamp::from_unix_ms)
    }

    /// The newest firing that got no run of its own.
    #[must_use]
    pub fn missed_at(&self) -> Option<Timestamp> {
        self.missed_at.map(Timestamp::from_unix_ms)
    }
}

/// What a tick begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The scheduled time of the newest tick there was; `None` before the first.
    pub ticked_at: Option<Timestamp>,
    /// The configuration whose jobs are stored.
    pub config_version: i64,
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// The jobs with open runs.
    pub open: Vec<OpenRuns>,
}

/// The open runs of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRuns {
    /// The job's name.
    pub job: String,
    /// The oldest of them.
    pub oldest: RunId,
    /// How many there are.
    pub count: u32,
}

/// A job as the scheduler stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledJob<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its schedule in one text; empty when it has none.
    pub schedule: String,
}

/// An open run that should have been taken up and was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: String,
    /// Whether it was taken up before.
    pub was_running: bool,
    /// Since when.
    pub since: Timestamp,
}

#[derive(Deserialize)]
struct SchedulerRow {
    ticked_at: i64,
    config_version: i64,
}

#[derive(Deserialize)]
struct OpenRow {
    job: String,
    id: String,
    open: u32,
}

#[derive(Deserialize)]
struct OverdueRow {
    id: String,
    job: String,
    state: String,
    since: i64,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn run_id(text: &str) -> Result<RunId, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Corrupt(format!("run {text}")))
}

impl<D: Database> Store<D> {
    /// What a tick has to know. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn begin_tick(&self) -> Result<Tick, StoreError> {
        let mut results = self
            .database
            .batch(vec![
                Statement::new(READ, vec![]),
                Statement::new(READ_JOBS, vec![]),
                Statement::new(OPEN, vec![]),
            ])
            .await?;
        let row = decode::<SchedulerRow>(take(&mut results, 0)?)?
            .pop()
            .ok_or_else(|| StoreError::Corrupt("the scheduler row is missing".to_owned()))?;
        Ok(Tick {
            ticked_at: (row.ticked_at > 0).then(|| Timestamp::from_unix_ms(row.ticked_at)),
            config_version: row.config_version,
            jobs: decode(take(&mut results, 1)?)?,
            open: decode::<OpenRow>(take(&mut results, 2)?)?
                .into_iter()
                .map(|row| {
                    Ok(OpenRuns {
                        oldest: run_id(&row.id)?,
                        job: row.job,
                        count: row.open,
                    })
                })
                .collect::<Result<_, StoreError>>()?,
        })
    }

    /// Takes over the jobs of a configuration: new ones, and those whose schedule changed, count
    /// from `since` on. One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn sync_jobs(
        &self,
        jobs: &[ScheduledJob<'_>],
        config_version: i64,
        since: Timestamp,
    ) -> Result<Vec<JobRow>, StoreError> {
        let rows: Vec<(&str, &str)> = jobs
            .iter()
            .map(|job| (job.name, job.schedule.as_str()))
            .collect();
        let names: Vec<&str> = jobs.iter().map(|job| job.name).collect();
        let mut results = self
            .database
            .batch(vec![
                Statement::new(SYNC, vec![json(&rows)?.into(), since.unix_ms().into()]),
                Statement::new(DROP_OTHERS, vec![json(&names)?.into()]),
                Statement::new(SYNCED, vec![config_version.into()]),
                Statement::new(READ_JOBS, vec![]),
            ])
            .await?;
        decode(take(&mut results, 3)?)
    }

    /// Creates the runs of a tick, counts what was missed and notes the tick. One batch; however
    /// often a tick comes, an instant of a job has one run.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; the next tick then makes up for this one.
    pub async fn end_tick(
        &self,
        tick: Timestamp,
        runs: &[NewRun],
        missed: &[(&str, u32, Timestamp)],
    ) -> Result<(), StoreError> {
        let mut batch = if runs.is_empty() {
            Vec::new()
        } else {
            insert_statements(runs)?
        };
        if !missed.is_empty() {
            let rows: Vec<(&str, u32, i64)> = missed
                .iter()
                .map(|(name, count, newest)| (*name, *count, newest.unix_ms()))
                .collect();
            batch.push(Statement::new(
                MISSED,
                vec![json(&rows)?.into(), tick.unix_ms().into()],
            ));
        }
        batch.push(Statement::new(TICKED, vec![tick.unix_ms().into()]));
        self.database.batch(batch).await.map(drop)
    }

    /// Pauses a job, or lets it go on: what was not taken up waits. One batch with the event that
    /// tells of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn set_paused(
        &self,
        job: &str,
        paused_by: Option<&str>,
        event: &Event,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = match paused_by {
            Some(by) => Statement::new(PAUSE, vec![job.into(), now.unix_ms().into(), by.into()]),
            None => Statement::new(RESUME, vec![job.into(), now.unix_ms().into()]),
        };
        self.database
            .batch(vec![
                change,
                Statement::new(WAKE, vec![job.into()]),
                event_statement(std::slice::from_ref(event))?,
            ])
            .await
            .map(drop)
    }

    /// Open runs that were due before `due_before` and that nobody took up, at most 50. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn overdue_runs(
        &self,
        now: Timestamp,
        due_before: Timestamp,
    ) -> Result<Vec<Overdue>, StoreError> {
        let statement = Statement::new(
            OVERDUE,
            vec![now.unix_ms().into(), due_before.unix_ms().into()],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        decode::<OverdueRow>(take(&mut results, 0)?)?
            .into_iter()
            .map(|row| {
                Ok(Overdue {
                    run: run_id(&row.id)?,
                    job: row.job,
                    was_running: row.state == "running",
                    since: Timestamp::from_unix_ms(row.since),
                })
            })
            .collect()
    }
}
