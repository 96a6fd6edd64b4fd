//! Runs: created, claimed, saved with the fence held, found again when nobody holds them.

mod decode;
mod save;
mod wishes;

use serde_json::Value as Json;

use super::audit::event_statement;
use super::database::{row, rows};
use super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::model::{EntryId, RunId, Timestamp};
use crate::run::{Limits, Run, RunEvent, RunState, Step, Trigger, Work};
use decode::{into_event, into_run, into_step, into_work, limits_json};
pub use save::{Save, Saved};
pub use wishes::Wish;

/// The columns of a run, its parameters aside.
macro_rules! run_columns {
    () => {
        "runs.id, runs.job, runs.kind, runs.trigger, runs.slot, runs.run_as, runs.started_by, runs.dry_run, runs.state, runs.stage, \
         runs.reason, runs.basis, runs.result, runs.fence, runs.cancel_requested, runs.failures, runs.replans, runs.calls, runs.done, \
         runs.total, runs.limits, runs.created_at, runs.started_at, runs.finished_at, runs.wake_at, runs.lease_until, runs.hurry"
    };
}

/// Binds: a JSON list of lists, each the columns in order. A slot that has its run already is left alone.
const INSERT: &str = "INSERT INTO runs (id, job, kind, trigger, slot, run_as, started_by, dry_run, state, stage, reason, fence, cancel_requested, \
     failures, replans, calls, done, total, limits, created_at, finished_at, wake_at, enqueued_at, expires_at) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, 'plan', \
     value ->> 9, 0, 0, 0, 0, 0, 0, 0, value ->> 10, value ->> 11, value ->> 12, value ->> 11, value ->> 11, value ->> 13 \
     FROM json_each(?1) WHERE true ON CONFLICT (job, slot) WHERE slot IS NOT NULL DO NOTHING";
/// Binds: a JSON list of `[run, params]`. Only for runs that are there.
const INSERT_PARAMS: &str = "INSERT INTO run_params (run, params) SELECT value ->> 0, value ->> 1 FROM json_each(?1) \
     WHERE EXISTS (SELECT 1 FROM runs WHERE id = value ->> 0)";
/// Binds: a JSON list of `[run, time, message]`. Only for runs that are there.
const FIRST_EVENTS: &str = "INSERT INTO run_events (run, number, at, message) SELECT value ->> 0, 1, value ->> 1, value ->> 2 FROM json_each(?1) \
     WHERE EXISTS (SELECT 1 FROM runs WHERE id = value ->> 0)";
/// Binds: time, a JSON list of `[job, the run that takes its place]`.
const CANCEL_OTHERS: &str = "UPDATE runs SET cancel_requested = 1, wake_at = min(wake_at, ?1) WHERE finished_at IS NULL AND EXISTS \
     (SELECT 1 FROM json_each(?2) c JOIN runs n ON n.id = c.value ->> 1 WHERE c.value ->> 0 = runs.job AND runs.id <> n.id AND n.finished_at IS NULL)";
/// Binds: owner, key, created at or before.
const FORGET_KEY: &str =
    "DELETE FROM idempotency_keys WHERE owner = ?1 AND key = ?2 AND created_at <= ?3";
/// Binds: owner, key, digest, run, time.
const INSERT_KEY: &str = "INSERT INTO idempotency_keys (owner, key, digest, run, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
/// Binds: owner, key.
const READ_KEY: &str = "SELECT digest, run FROM idempotency_keys WHERE owner = ?1 AND key = ?2";
/// Binds: run, now, lease until, how many may be held at once, how many of one kind.
///
/// Taken is a run that is open, is held by nobody, is due, whose job is not paused, and that no older run of
/// its job stands before, nor a newer one that is held. The newest tick counts as the time too where it is ahead of the clock, so
/// that waits end by the scheduler's time; leases end by the clock alone.
const CLAIM: &str = concat!(
    "UPDATE runs SET state = 'running', fence = fence + 1, lease_until = ?3, started_at = coalesce(started_at, ?2) \
     WHERE id = ?1 AND finished_at IS NULL AND coalesce(lease_until, 0) <= ?2 \
     AND ((cancel_requested = 1 AND basis ->> '$.ending' IS NULL) OR wake_at <= max(?2, (SELECT ticked_at FROM scheduler WHERE id = 1))) \
     AND (cancel_requested = 1 OR NOT EXISTS (SELECT 1 FROM jobs j WHERE j.name = runs.job AND j.paused_at IS NOT NULL)) \
     AND (cancel_requested = 1 OR NOT EXISTS (SELECT 1 FROM runs o WHERE o.job = runs.job AND o.finished_at IS NULL AND o.id <> runs.id \
       AND (o.lease_until > ?2 OR +o.created_at < runs.created_at OR (+o.created_at = runs.created_at AND o.id < runs.id)))) \
     AND (SELECT count(*) FROM runs o WHERE o.finished_at IS NULL AND o.lease_until > ?2) < ?4 \
     AND (SELECT count(*) FROM runs o WHERE o.finished_at IS NULL AND o.lease_until > ?2 AND o.kind = runs.kind) < ?5 \
     RETURNING ",
    run_columns!()
);
/// Binds: run.
const PARAMS: &str = "SELECT params FROM run_params WHERE run = ?1";
/// Binds: run. Steps of the plan in force.
const STEPS: &str = "SELECT s.number, s.stage, s.state, s.items, s.summary, s.attempts, s.entry, s.detail, \
     w.method IS NULL OR w.blob IS NOT NULL AS is_heavy FROM run_steps s JOIN runs r ON r.id = s.run AND r.replans = s.plan \
     JOIN run_work w ON w.run = s.run AND w.number = s.number WHERE s.run = ?1 ORDER BY s.number";
/// Binds: run, step.
const WORK: &str =
    "SELECT method, target, body, bucket, cost, blob FROM run_work WHERE run = ?1 AND number = ?2";
/// Binds: now (the clock), the scheduler's time, sent to the queue before, how many. What [`CLAIM`] would take.
///
/// A run to be cancelled is due at once, whenever its next message is. Those come first that were not sent
/// for longest, so that none stands before others for ever.
const LOST: &str = "SELECT id FROM runs WHERE finished_at IS NULL AND coalesce(lease_until, 0) <= ?1 \
     AND ((cancel_requested = 1 AND basis ->> '$.ending' IS NULL) OR (wake_at <= max(?1, ?2) AND enqueued_at <= ?3 \
       AND (cancel_requested = 1 OR (NOT EXISTS (SELECT 1 FROM jobs j WHERE j.name = runs.job AND j.paused_at IS NOT NULL) \
       AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.job = runs.job AND o.finished_at IS NULL \
         AND (+o.created_at < runs.created_at OR (+o.created_at = runs.created_at AND o.id < runs.id))))))) \
     ORDER BY enqueued_at, created_at LIMIT ?4";
/// Binds: time, JSON list of ids.
const MARK_SENT: &str =
    "UPDATE runs SET enqueued_at = ?1 WHERE id IN (SELECT value FROM json_each(?2))";
/// Binds: run.
const READ: &str = concat!("SELECT ", run_columns!(), " FROM runs WHERE id = ?1");
/// Binds: job, state, created before (ms), id below, how many, kind.
const LIST: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR state = ?2) AND (?6 IS NULL OR kind = ?6) \
     AND (created_at < ?3 OR (created_at = ?3 AND id < ?4)) ORDER BY created_at DESC, id DESC LIMIT ?5"
);
/// Binds: a JSON list of jobs. The newest run of each.
const LAST: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM json_each(?1) j JOIN runs ON runs.id = (SELECT id FROM runs r WHERE r.job = j.value \
     ORDER BY created_at DESC, id DESC LIMIT 1)"
);
/// Binds: run, after number, how many.
const EVENTS: &str = "SELECT number, at, message FROM run_events WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
/// Binds: run, time, message. Only where [`DEAD`] will end it.
const NOTE_DEAD: &str = "INSERT INTO run_events (run, number, at, message) \
     SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ?1), ?2, ?3 FROM runs \
     WHERE id = ?1 AND finished_at IS NULL AND coalesce(lease_until, 0) <= ?2";
/// Binds: run, time, reason, days it is kept where it does not say. One that is planned part by part may have
/// left something half done.
const DEAD: &str = "UPDATE runs SET state = CASE WHEN dry_run = 0 AND basis ->> '$.goes_on' = 1 THEN 'unknown' ELSE 'failed' END, reason = ?3, fence = fence + 1, lease_until = NULL, finished_at = ?2, \
     expires_at = ?2 + coalesce(limits ->> 'keep_days', ?4) * 86400000 \
     WHERE id = ?1 AND finished_at IS NULL AND coalesce(lease_until, 0) <= ?2 RETURNING id";
/// Binds: time, how many.
const EXPIRED: &str = "SELECT id FROM runs WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
/// Each binds a JSON list of run ids.
const FORGET: [&str; 7] = [
    "DELETE FROM notices WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM run_work WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM run_steps WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM run_events WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM run_params WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM idempotency_keys WHERE run IN (SELECT value FROM json_each(?1))",
    "DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?1))",
];
/// Binds: run, fence, lease until.
const RENEW: &str = "UPDATE runs SET lease_until = ?3 WHERE id = ?1 AND fence = ?2";
/// Binds: run, fence, step, entry.
const BEGIN_STEP: &str = "UPDATE run_steps SET state = 'sent', entry = ?4, attempts = attempts + 1 WHERE run = ?1 AND number = ?3 \
     AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";

/// Whoever works on a run, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The run.
    pub run: RunId,
    /// The fence it was claimed with.
    pub fence: i64,
    /// Until when it is held, once this is stored.
    pub lease_until: Timestamp,
}

/// A run to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The job's name.
    pub job: String,
    /// The job kind.
    pub kind: String,
    /// What started it.
    pub trigger: Trigger,
    /// The scheduled instant it stands for: a job has one run for each.
    pub slot: Option<Timestamp>,
    /// The principal whose grants bound it.
    pub run_as: String,
    /// Who asked for it.
    pub started_by: Option<String>,
    /// The kind's parameters.
    pub params: serde_json::Map<String, Json>,
    /// Whether it ends with the plan.
    pub dry_run: bool,
    /// What bounds it.
    pub limits: Limits,
    /// When.
    pub now: Timestamp,
    /// Why it does not begin at all, where it does not: it is created as cancelled.
    pub skipped: Option<String>,
    /// Whether open runs of the job are to end in its favour.
    pub cancels_others: bool,
}

/// A caller's promise that two calls are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey<'a> {
    /// Whose key it is.
    pub owner: &'a str,
    /// The key.
    pub key: &'a str,
    /// Digest of what came with it.
    pub digest: &'a str,
}

/// What a key stands for already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRun {
    /// Digest of what came with it.
    pub digest: String,
    /// The run it started.
    pub run: RunId,
}

/// The instant from which a run that ended at `finished_at` may be deleted.
fn expiry_ms(finished_at: Option<Timestamp>, keep_days: u32) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    finished_at.map(|at| at.plus_ms(i64::from(keep_days) * DAY_MS).unix_ms())
}

/// Inserts runs with their parameters and first events. Those whose slot has its run are left out.
pub(super) fn insert_statements(runs: &[NewRun]) -> Vec<Statement> {
    let mut rows = Vec::with_capacity(runs.len());
    let mut params = Vec::with_capacity(runs.len());
    let mut events = Vec::with_capacity(runs.len());
    let mut cancels = Vec::new();
    let mut now = 0;
    for run in runs {
        let id = run.id.to_string();
        now = run.now.unix_ms();
        let state = match run.skipped {
            Some(_) => RunState::Cancelled,
            None => RunState::Queued,
        };
        let finished_at = run.skipped.is_some().then_some(run.now);
        let message = run
            .skipped
            .clone()
            .unwrap_or_else(|| match &run.started_by {
                Some(by) => format!("Asked for by {by}."),
                None => "Due by its schedule.".to_owned(),
            });
        rows.push(serde_json::json!([
            id,
            run.job,
            run.kind,
            run.trigger.as_str(),
            run.slot.map(Timestamp::unix_ms),
            run.run_as,
            run.started_by,
            i64::from(run.dry_run),
            state.as_str(),
            run.skipped,
            limits_json(run.limits).to_string(),
            now,
            finished_at.map(Timestamp::unix_ms),
            expiry_ms(finished_at, run.limits.keep_days),
        ]));
        params.push(serde_json::json!([
            id,
            Json::Object(run.params.clone()).to_string()
        ]));
        events.push(serde_json::json!([id, now, message]));
        if run.cancels_others {
            cancels.push(serde_json::json!([run.job, id]));
        }
    }
    let mut batch = vec![Statement::new(
        INSERT,
        vec![Json::Array(rows).to_string().into()],
    )];
    // Parameters may be large, and one bound text has its limit.
    for params in save::in_bounds(params) {
        batch.push(Statement::new(
            INSERT_PARAMS,
            vec![Json::Array(params).to_string().into()],
        ));
    }
    batch.push(Statement::new(
        FIRST_EVENTS,
        vec![Json::Array(events).to_string().into()],
    ));
    if !cancels.is_empty() {
        batch.push(Statement::new(
            CANCEL_OTHERS,
            vec![now.into(), Json::Array(cancels).to_string().into()],
        ));
    }
    batch
}

/// The statements that store, with the intent of a step's call, that the step is begun and the run
/// held on. They come before the intent in its batch.
pub(super) fn begin_step(hold: Hold, step: u32, entry: EntryId) -> Vec<Statement> {
    let run = hold.run.to_string();
    vec![
        Statement::new(
            RENEW,
            vec![
                run.as_str().into(),
                hold.fence.into(),
                hold.lease_until.unix_ms().into(),
            ],
        ),
        Statement::new(
            BEGIN_STEP,
            vec![
                run.into(),
                hold.fence.into(),
                i64::from(step).into(),
                entry.get().into(),
            ],
        ),
    ]
}

impl<D: Database> Store<D> {
    /// Creates a run that somebody asked for, with the event that tells of it. One batch.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the idempotency key is in use ([`Store::keyed_run`] tells for
    /// what), or the id of the entry or the run is taken.
    pub async fn create_run(
        &self,
        run: &NewRun,
        key: Option<IdempotencyKey<'_>>,
        event: &Event,
    ) -> Result<(), StoreError> {
        const KEPT_MS: i64 = 24 * 3_600_000;
        let mut batch = Vec::new();
        if let Some(IdempotencyKey { owner, key, digest }) = key {
            let now = run.now.unix_ms();
            batch.push(Statement::new(
                FORGET_KEY,
                vec![owner.into(), key.into(), (now - KEPT_MS).into()],
            ));
            batch.push(Statement::new(
                INSERT_KEY,
                vec![
                    owner.into(),
                    key.into(),
                    digest.into(),
                    run.id.to_string().into(),
                    now.into(),
                ],
            ));
        }
        batch.extend(insert_statements(std::slice::from_ref(run)));
        batch.push(event_statement(std::slice::from_ref(event))?);
        self.database.batch(batch).await.map(drop)
    }

    /// What an idempotency key stands for.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn keyed_run(&self, owner: &str, key: &str) -> Result<Option<KeyedRun>, StoreError> {
        let statement = Statement::new(READ_KEY, vec![owner.into(), key.into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        row(&mut results, 0)?
            .map(|mut row| {
                Ok(KeyedRun {
                    digest: row.text("digest")?,
                    run: row.parsed("run")?,
                })
            })
            .transpose()
    }

    /// Takes a run up, if it may be: see the statement for what keeps it from that. One batch; of
    /// several callers one gets it. Its parameters and steps come along.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; the run may be held by nobody until its lease ends.
    pub async fn claim(
        &self,
        id: RunId,
        now: Timestamp,
        lease_until: Timestamp,
        at_once: (u32, u32),
    ) -> Result<Option<(Run, Vec<Step>)>, StoreError> {
        let text = id.to_string();
        let mut results = self
            .database
            .batch(vec![
                Statement::new(
                    CLAIM,
                    vec![
                        text.as_str().into(),
                        now.unix_ms().into(),
                        lease_until.unix_ms().into(),
                        i64::from(at_once.0).into(),
                        i64::from(at_once.1).into(),
                    ],
                ),
                Statement::new(PARAMS, vec![text.as_str().into()]),
                Statement::new(STEPS, vec![text.into()]),
            ])
            .await?;
        run_and_steps(&mut results)
    }

    /// A run with its parameters and the steps of its plan.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn run(&self, id: RunId) -> Result<Option<(Run, Vec<Step>)>, StoreError> {
        let text = id.to_string();
        let mut results = self
            .database
            .batch(vec![
                Statement::new(READ, vec![text.as_str().into()]),
                Statement::new(PARAMS, vec![text.as_str().into()]),
                Statement::new(STEPS, vec![text.into()]),
            ])
            .await?;
        run_and_steps(&mut results)
    }

    /// Holds a run on, if it is still held with this fence. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn hold_on(&self, hold: Hold) -> Result<(), StoreError> {
        let statement = Statement::new(
            RENEW,
            vec![
                hold.run.to_string().into(),
                hold.fence.into(),
                hold.lease_until.unix_ms().into(),
            ],
        );
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// What a step does. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn work(&self, run: RunId, step: u32) -> Result<Work, StoreError> {
        let statement = Statement::new(WORK, vec![run.to_string().into(), i64::from(step).into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        let missing = || StoreError::Corrupt(format!("step {step} of run {run} has no work"));
        into_work(row(&mut results, 0)?.ok_or_else(missing)?)
    }

    /// Open runs that are due, are held by nobody and were not sent to the queue since
    /// `sent_before`. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn lost_runs(
        &self,
        now: Timestamp,
        tick: Timestamp,
        sent_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<RunId>, StoreError> {
        let statement = Statement::new(
            LOST,
            vec![
                now.unix_ms().into(),
                tick.unix_ms().into(),
                sent_before.unix_ms().into(),
                i64::from(limit).into(),
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(|mut row| row.parsed("id"))
            .collect()
    }

    /// Notes that these runs were sent to the queue. One statement.
    ///
    /// # Errors
    /// [`StoreError`]; they are then sent once more, which is harmless.
    pub async fn note_sent(&self, runs: &[RunId], now: Timestamp) -> Result<(), StoreError> {
        if runs.is_empty() {
            return Ok(());
        }
        let statement = Statement::new(
            MARK_SENT,
            vec![
                now.unix_ms().into(),
                serde_json::json!(runs).to_string().into(),
            ],
        );
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// Runs, newest first, from below `(created_at, id)` on; their parameters are left out.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn runs(
        &self,
        kind: Option<&str>,
        job: Option<&str>,
        state: Option<RunState>,
        below: Option<(Timestamp, RunId)>,
        limit: u32,
    ) -> Result<Vec<Run>, StoreError> {
        const MAX: i64 = (1 << 53) - 1;
        let (created, id) = below.map_or((MAX, String::new()), |(at, id)| {
            (at.unix_ms(), id.to_string())
        });
        let statement = Statement::new(
            LIST,
            vec![
                job.map(str::to_owned).into(),
                state.map(|state| state.as_str().to_owned()).into(),
                created.into(),
                id.into(),
                i64::from(limit).into(),
                kind.map(str::to_owned).into(),
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?.into_iter().map(into_run).collect()
    }

    /// The newest run of each of these jobs, where it has one; parameters are left out. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn last_runs(&self, jobs: &[&str]) -> Result<Vec<Run>, StoreError> {
        let jobs = serde_json::json!(jobs).to_string();
        let mut results = self
            .database
            .batch(vec![Statement::new(LAST, vec![jobs.into()])])
            .await?;
        rows(&mut results, 0)?.into_iter().map(into_run).collect()
    }

    /// Events of a run after the one numbered `after`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn run_events(
        &self,
        run: RunId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<RunEvent>, StoreError> {
        let statement = Statement::new(
            EVENTS,
            vec![
                run.to_string().into(),
                after.into(),
                i64::from(limit).into(),
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?.into_iter().map(into_event).collect()
    }

    /// Ends a run whose messages failed for good, unless somebody holds it. It is then kept as long as its
    /// limits say, or `keep_days` where they do not. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn end_dead(
        &self,
        run: RunId,
        keep_days: u32,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = run.to_string();
        let at = now.unix_ms();
        let mut results = self
            .database
            .batch(vec![
                Statement::new(
                    NOTE_DEAD,
                    vec![id.as_str().into(), at.into(), reason.into()],
                ),
                Statement::new(
                    DEAD,
                    vec![
                        id.into(),
                        at.into(),
                        reason.into(),
                        i64::from(keep_days).into(),
                    ],
                ),
            ])
            .await?;
        Ok(row(&mut results, 1)?.is_some())
    }

    /// Deletes runs that were kept long enough, at most `limit`; gives how many. Two batches.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; harmless to repeat.
    pub async fn forget_expired(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        let statement =
            Statement::new(EXPIRED, vec![now.unix_ms().into(), i64::from(limit).into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        let ids: Vec<String> = rows(&mut results, 0)?
            .into_iter()
            .map(|mut row| row.text("id"))
            .collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        let list = serde_json::json!(ids).to_string();
        let mut batch = Vec::with_capacity(FORGET.len());
        for sql in FORGET {
            batch.push(Statement::new(sql, vec![list.as_str().into()]));
        }
        self.database.batch(batch).await?;
        Ok(ids.len())
    }
}

fn run_and_steps(results: &mut [Vec<super::Row>]) -> Result<Option<(Run, Vec<Step>)>, StoreError> {
    let Some(found) = row(results, 0)? else {
        return Ok(None);
    };
    let mut run = into_run(found)?;
    let missing = || StoreError::Corrupt(format!("run {} has no parameters", run.id));
    let params = row(results, 1)?.ok_or_else(missing)?.json("params")?;
    let Json::Object(params) = params else {
        return Err(missing());
    };
    run.params = params;
    let steps = rows(results, 2)?
        .into_iter()
        .map(into_step)
        .collect::<Result<_, _>>()?;
    Ok(Some((run, steps)))
}
