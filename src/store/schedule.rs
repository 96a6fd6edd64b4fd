//! What the scheduler has done, and what it has to know of jobs and of runs that are late.

use serde_json::{Value as Json, json};

use super::audit::event_statement;
use super::database::{Columns, row, rows};
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
/// Binds: JSON list of names. Open runs of a job that is gone end, also those that its pause kept back.
const CANCEL_OTHERS: &str = "UPDATE runs SET cancel_requested = 1, enqueued_at = 0 WHERE finished_at IS NULL \
     AND job IN (SELECT name FROM jobs WHERE name NOT IN (SELECT value FROM json_each(?1)))";
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// Its schedule in one text, so that a change shows.
    pub schedule: String,
    /// Firings after this instant count.
    pub since: Timestamp,
    /// When it was paused, if it is.
    pub paused_at: Option<Timestamp>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Firings that got no run of their own.
    pub missed: i64,
    /// The newest firing that got no run of its own.
    pub missed_at: Option<Timestamp>,
}

fn job_row(mut row: Columns) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        name: row.text("name")?,
        schedule: row.text("schedule")?,
        since: row.time("since")?,
        paused_at: row.maybe_time("paused_at")?,
        paused_by: row.maybe_text("paused_by")?,
        missed: row.number("missed")?,
        missed_at: row.maybe_time("missed_at")?,
    })
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
        let state = row(&mut results, 0)?
            .ok_or_else(|| StoreError::Corrupt("the scheduler row is missing".to_owned()))?;
        let ticked_at = state.time("ticked_at")?;
        Ok(Tick {
            ticked_at: (ticked_at.unix_ms() > 0).then_some(ticked_at),
            config_version: state.number("config_version")?,
            jobs: rows(&mut results, 1)?
                .into_iter()
                .map(job_row)
                .collect::<Result<_, _>>()?,
            open: rows(&mut results, 2)?
                .into_iter()
                .map(|mut row| {
                    Ok(OpenRuns {
                        job: row.text("job")?,
                        oldest: row.parsed("id")?,
                        count: row.count("open")?,
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
        let schedules = jobs.iter().map(|job| json!([job.name, job.schedule]));
        let schedules = Json::Array(schedules.collect()).to_string();
        let names = Json::Array(jobs.iter().map(|job| json!(job.name)).collect()).to_string();
        let mut results = self
            .database
            .batch(vec![
                Statement::new(SYNC, vec![schedules.into(), since.unix_ms().into()]),
                Statement::new(CANCEL_OTHERS, vec![names.as_str().into()]),
                Statement::new(DROP_OTHERS, vec![names.into()]),
                Statement::new(SYNCED, vec![config_version.into()]),
                Statement::new(READ_JOBS, vec![]),
            ])
            .await?;
        rows(&mut results, 4)?.into_iter().map(job_row).collect()
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
            insert_statements(runs)
        };
        if !missed.is_empty() {
            let rows = missed
                .iter()
                .map(|(name, count, newest)| json!([name, count, newest.unix_ms()]));
            let rows = Json::Array(rows.collect()).to_string();
            batch.push(Statement::new(
                MISSED,
                vec![rows.into(), tick.unix_ms().into()],
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
        rows(&mut results, 0)?
            .into_iter()
            .map(|mut row| {
                Ok(Overdue {
                    run: row.parsed("id")?,
                    job: row.text("job")?,
                    was_running: row.text("state")? == "running",
                    since: row.time("since")?,
                })
            })
            .collect()
    }
}
