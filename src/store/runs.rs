//! Runs: created, claimed, saved with the fence held, found again when nobody holds them.

use serde::Deserialize;
use serde_json::Value as Json;

use super::audit::{event_statement, outcome_statements};
use super::database::{decode, take};
use super::{Database, Statement, Store, StoreError};
use crate::audit::{Event, OutcomeRow};
use crate::catalog::Method;
use crate::model::{EntryId, RunId, Timestamp};
use crate::run::{
    Limits, NewStep, Progress, Run, RunEvent, RunState, Step, StepState, Trigger, Work,
};

/// The columns of a run, its parameters aside.
macro_rules! run_columns {
    () => {
        "runs.id, runs.job, runs.kind, runs.trigger, runs.slot, runs.run_as, runs.started_by, runs.dry_run, runs.state, runs.stage, \
         runs.reason, runs.basis, runs.result, runs.fence, runs.cancel_requested, runs.failures, runs.replans, runs.calls, runs.done, \
         runs.total, runs.limits, runs.created_at, runs.started_at, runs.finished_at, runs.wake_at, runs.lease_until"
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
/// Binds: owner, key, created before.
const FORGET_KEY: &str =
    "DELETE FROM idempotency_keys WHERE owner = ?1 AND key = ?2 AND created_at < ?3";
/// Binds: owner, key, digest, run, time.
const INSERT_KEY: &str = "INSERT INTO idempotency_keys (owner, key, digest, run, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
/// Binds: owner, key.
const READ_KEY: &str = "SELECT digest, run FROM idempotency_keys WHERE owner = ?1 AND key = ?2";
/// Binds: run, now, lease until, how many may be held at once, how many of one kind.
///
/// Taken is a run that is open, is held by nobody, is due, whose job is not paused, and that no older run of
/// its job stands before. The newest tick counts as the time too where it is ahead of the clock, so
/// that waits end by the scheduler's time; leases end by the clock alone.
const CLAIM: &str = concat!(
    "UPDATE runs SET state = 'running', fence = fence + 1, lease_until = ?3, started_at = coalesce(started_at, ?2) \
     WHERE id = ?1 AND finished_at IS NULL AND coalesce(lease_until, 0) <= ?2 \
     AND (cancel_requested = 1 OR wake_at <= max(?2, (SELECT ticked_at FROM scheduler WHERE id = 1))) \
     AND (cancel_requested = 1 OR NOT EXISTS (SELECT 1 FROM jobs j WHERE j.name = runs.job AND j.paused_at IS NOT NULL)) \
     AND (cancel_requested = 1 OR NOT EXISTS (SELECT 1 FROM runs o WHERE o.job = runs.job AND o.finished_at IS NULL \
       AND (o.created_at < runs.created_at OR (o.created_at = runs.created_at AND o.id < runs.id)))) \
     AND (SELECT count(*) FROM runs o WHERE o.finished_at IS NULL AND o.lease_until > ?2) < ?4 \
     AND (SELECT count(*) FROM runs o WHERE o.finished_at IS NULL AND o.lease_until > ?2 AND o.kind = runs.kind) < ?5 \
     RETURNING ",
    run_columns!()
);
/// Binds: run.
const PARAMS: &str = "SELECT params FROM run_params WHERE run = ?1";
/// Binds: run. Steps of the plan in force.
const STEPS: &str = "SELECT s.number, s.stage, s.state, s.items, s.summary, s.attempts, s.entry, s.detail, \
     w.method IS NULL AS is_own FROM run_steps s JOIN runs r ON r.id = s.run AND r.replans = s.plan \
     JOIN run_work w ON w.run = s.run AND w.number = s.number WHERE s.run = ?1 ORDER BY s.number";
/// Binds: run, step.
const WORK: &str =
    "SELECT method, target, body, bucket, cost FROM run_work WHERE run = ?1 AND number = ?2";
/// Binds: run, fence, state, stage, reason, basis, result, failures, replans, calls, done, total, finished at,
/// wake at, lease until, enqueued at (kept if null), expires at.
const SAVE: &str = "UPDATE runs SET state = ?3, stage = ?4, reason = ?5, basis = ?6, result = ?7, failures = ?8, replans = ?9, calls = ?10, \
     done = ?11, total = ?12, finished_at = ?13, wake_at = ?14, lease_until = ?15, enqueued_at = coalesce(?16, enqueued_at), expires_at = ?17 \
     WHERE id = ?1 AND fence = ?2 RETURNING cancel_requested";
/// Binds: run, fence, step, state, detail, whether the attempt counts anew.
const SAVE_STEP: &str = "UPDATE run_steps SET state = ?4, detail = ?5 WHERE run = ?1 AND number = ?3 \
     AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";
/// Binds: run, fence, time, message.
const ADD_EVENT: &str = "INSERT INTO run_events (run, number, at, message) \
     SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ?1), ?3, ?4 FROM runs WHERE id = ?1 AND fence = ?2";
/// Binds: run, fence. Steps that were never begun make room for a new plan.
const DROP_PENDING: &str = "DELETE FROM run_steps WHERE run = ?1 AND state = 'pending' \
     AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";
/// Binds: run, fence, JSON list of `[offset, stage, items, summary]`, plan. Numbers go on from the highest.
const INSERT_STEPS: &str = "INSERT INTO run_steps (run, number, plan, stage, state, items, summary, attempts) \
     SELECT ?1, b.base + (j.value ->> 0), ?4, j.value ->> 1, 'pending', j.value ->> 2, j.value ->> 3, 0 \
     FROM json_each(?3) j, (SELECT coalesce(max(number), 0) AS base FROM run_work WHERE run = ?1) b \
     WHERE EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";
/// Binds: run, fence, JSON list of `[number, method, target, body, bucket, cost]`. Numbers are those of the
/// steps that have no work yet, in order.
const INSERT_WORK: &str = "INSERT INTO run_work (run, number, method, target, body, bucket, cost) \
     SELECT ?1, b.base + (j.value ->> 0), j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5 \
     FROM json_each(?3) j, (SELECT coalesce(max(number), 0) AS base FROM run_work WHERE run = ?1) b \
     WHERE EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";
/// Binds: job, run. The run that may have waited for this one to end.
const NEXT_IN_LINE: &str = "SELECT id FROM runs WHERE job = ?1 AND finished_at IS NULL AND id <> ?2 \
     ORDER BY created_at, id LIMIT 1";
/// Binds: now (the clock), the scheduler's time, sent to the queue before, how many. Open, held by nobody, due.
const LOST: &str = "SELECT id FROM runs WHERE finished_at IS NULL AND coalesce(lease_until, 0) <= ?1 \
     AND (wake_at <= max(?1, ?2) OR cancel_requested = 1) AND enqueued_at <= ?3 ORDER BY created_at LIMIT ?4";
/// Binds: time, JSON list of ids.
const MARK_SENT: &str =
    "UPDATE runs SET enqueued_at = ?1 WHERE id IN (SELECT value FROM json_each(?2))";
/// Binds: run.
const READ: &str = concat!("SELECT ", run_columns!(), " FROM runs WHERE id = ?1");
/// Binds: job, state, created before (ms), id below, how many.
const LIST: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR state = ?2) \
     AND (created_at < ?3 OR (created_at = ?3 AND id < ?4)) ORDER BY created_at DESC, id DESC LIMIT ?5"
);
/// Binds: run, after number, how many.
const EVENTS: &str = "SELECT number, at, message FROM run_events WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
/// Binds: run, time. Gives its job when it is open.
const REQUEST_CANCEL: &str = "UPDATE runs SET cancel_requested = 1, wake_at = min(wake_at, ?2), enqueued_at = ?2 \
     WHERE id = ?1 AND finished_at IS NULL RETURNING id";
/// Binds: run, time, message.
const NOTE: &str = "INSERT INTO run_events (run, number, at, message) \
     SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ?1), ?2, ?3 FROM runs WHERE id = ?1";
/// Binds: run, time. A run that ended otherwise than well goes on from where it ended: from an earlier
/// stage than its last where a step of that one was refused.
const REOPEN: &str = "UPDATE runs SET state = 'queued', reason = NULL, failures = 0, cancel_requested = 0, fence = fence + 1, lease_until = NULL, \
     calls = 0, finished_at = NULL, expires_at = NULL, started_at = NULL, wake_at = ?2, enqueued_at = ?2, \
     stage = CASE WHEN dry_run = 1 THEN 'plan' WHEN stage = 'verify' AND EXISTS (SELECT 1 FROM run_steps s WHERE s.run = runs.id \
       AND s.plan = runs.replans AND s.stage = 'apply' AND s.state = 'refused') THEN 'apply' ELSE stage END \
     WHERE id = ?1 AND finished_at IS NOT NULL AND state <> 'succeeded' RETURNING id";
/// Binds: run. Refused steps are begun anew, and what may have happened is found out with as many attempts
/// as before; only after [`REOPEN`].
const REOPEN_STEPS: &str = "UPDATE run_steps SET state = CASE state WHEN 'refused' THEN 'pending' ELSE state END, attempts = 0 \
     WHERE run = ?1 AND state IN ('refused', 'unknown') \
     AND EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.state = 'queued' AND r.finished_at IS NULL)";
/// Binds: run, time, reason, expires at.
const DEAD: &str = "UPDATE runs SET state = 'failed', reason = ?3, fence = fence + 1, lease_until = NULL, finished_at = ?2, expires_at = ?4 \
     WHERE id = ?1 AND finished_at IS NULL AND coalesce(lease_until, 0) <= ?2 RETURNING id";
/// Binds: run, time, reason. Only after [`DEAD`].
const NOTE_DEAD: &str = "INSERT INTO run_events (run, number, at, message) \
     SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM run_events WHERE run = ?1), ?2, ?3 FROM runs \
     WHERE id = ?1 AND state = 'failed' AND finished_at = ?2 AND reason = ?3";
/// Binds: time, how many.
const EXPIRED: &str = "SELECT id FROM runs WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
/// Each binds a JSON list of run ids.
const FORGET: [&str; 6] = [
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

/// Bytes of JSON bound to one statement at the most: D1 takes 2 MB
/// (<https://developers.cloudflare.com/d1/platform/limits/>).
const BOUND_BYTES: usize = 1_500_000;

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

/// What is stored of a run's progress, together or not at all.
#[derive(Debug, Clone, Copy)]
pub struct Save<'a> {
    /// The run as it is now.
    pub run: &'a Run,
    /// Until when it is held; `None` lets it go.
    pub lease_until: Option<Timestamp>,
    /// When its id is sent to the queue again, if it is.
    pub enqueued_at: Option<Timestamp>,
    /// Steps that changed: number, state, what came of it.
    pub steps: &'a [(u32, StepState, Option<&'a str>)],
    /// What to add to its events.
    pub events: &'a [String],
    /// The outcome of its last call. Stored even if the run is held by another meanwhile.
    pub outcome: Option<&'a OutcomeRow>,
    /// When this is.
    pub now: Timestamp,
}

/// What came of storing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// Stored.
    Held {
        /// Whether somebody wants the run ended.
        cancel_requested: bool,
        /// The run of the job that may have waited for this one, when this one ended.
        next: Option<RunId>,
    },
    /// Somebody else holds the run; nothing of it was stored but the outcome.
    Lost,
}

#[derive(Deserialize)]
struct RunRow {
    id: String,
    job: String,
    kind: String,
    trigger: String,
    slot: Option<i64>,
    run_as: String,
    started_by: Option<String>,
    dry_run: i64,
    state: String,
    stage: String,
    reason: Option<String>,
    basis: Option<String>,
    result: Option<String>,
    fence: i64,
    cancel_requested: i64,
    failures: u32,
    replans: u32,
    calls: u32,
    done: u32,
    total: u32,
    limits: String,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
    wake_at: i64,
}

#[derive(Deserialize)]
struct IdRow {
    id: String,
}

#[derive(Deserialize)]
struct ParamsRow {
    params: String,
}

#[derive(Deserialize)]
struct StepRow {
    number: u32,
    stage: String,
    state: String,
    items: u32,
    summary: String,
    attempts: u32,
    entry: Option<i64>,
    detail: Option<String>,
    is_own: i64,
}

#[derive(Deserialize)]
struct WorkRow {
    method: Option<String>,
    target: String,
    body: Option<String>,
    bucket: Option<String>,
    cost: u32,
}

#[derive(Deserialize)]
struct EventRow {
    number: i64,
    at: i64,
    message: String,
}

fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

fn word<T: serde::de::DeserializeOwned>(text: String) -> Result<T, StoreError> {
    serde_json::from_value(Json::String(text)).map_err(|error| corrupt(error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(error.to_string()))
}

fn run_id(text: &str) -> Result<RunId, StoreError> {
    text.parse().map_err(|_| corrupt(format!("run {text}")))
}

impl RunRow {
    fn into_run(self) -> Result<Run, StoreError> {
        Ok(Run {
            id: run_id(&self.id)?,
            trigger: word(self.trigger)?,
            state: word(self.state)?,
            stage: word(self.stage)?,
            basis: self.basis.as_deref().map(parsed).transpose()?,
            result: self.result.as_deref().map(parsed).transpose()?,
            limits: parsed(&self.limits)?,
            job: self.job,
            kind: self.kind,
            slot: self.slot.map(Timestamp::from_unix_ms),
            run_as: self.run_as,
            started_by: self.started_by,
            params: serde_json::Map::new(),
            dry_run: self.dry_run != 0,
            reason: self.reason,
            fence: self.fence,
            cancel_requested: self.cancel_requested != 0,
            failures: self.failures,
            replans: self.replans,
            calls: self.calls,
            progress: Progress {
                done: self.done,
                total: self.total,
            },
            created_at: Timestamp::from_unix_ms(self.created_at),
            started_at: self.started_at.map(Timestamp::from_unix_ms),
            finished_at: self.finished_at.map(Timestamp::from_unix_ms),
            wake_at: Timestamp::from_unix_ms(self.wake_at),
        })
    }
}

fn into_step(row: StepRow) -> Result<Step, StoreError> {
    Ok(Step {
        number: row.number,
        stage: word(row.stage)?,
        state: word(row.state)?,
        items: row.items,
        is_own: row.is_own != 0,
        summary: row.summary,
        attempts: row.attempts,
        entry: row.entry.map(EntryId::from_stored),
        detail: row.detail,
    })
}

/// The instant from which a run that ended at `finished_at` may be deleted.
fn expiry_ms(finished_at: Option<Timestamp>, keep_days: u32) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    finished_at.map(|at| at.plus_ms(i64::from(keep_days) * DAY_MS).unix_ms())
}

/// Inserts runs with their parameters and first events. Those whose slot has its run are left out.
pub(super) fn insert_statements(runs: &[NewRun]) -> Result<Vec<Statement>, StoreError> {
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
            json(&run.limits)?,
            now,
            finished_at.map(Timestamp::unix_ms),
            expiry_ms(finished_at, run.limits.keep_days),
        ]));
        params.push(serde_json::json!([id, json(&run.params)?]));
        events.push(serde_json::json!([id, now, message]));
        if run.cancels_others {
            cancels.push(serde_json::json!([run.job, id]));
        }
    }
    let mut batch = vec![
        Statement::new(INSERT, vec![json(&rows)?.into()]),
        Statement::new(INSERT_PARAMS, vec![json(&params)?.into()]),
        Statement::new(FIRST_EVENTS, vec![json(&events)?.into()]),
    ];
    if !cancels.is_empty() {
        batch.push(Statement::new(
            CANCEL_OTHERS,
            vec![now.into(), json(&cancels)?.into()],
        ));
    }
    Ok(batch)
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
        batch.extend(insert_statements(std::slice::from_ref(run))?);
        batch.push(event_statement(std::slice::from_ref(event))?);
        self.database.batch(batch).await.map(drop)
    }

    /// What an idempotency key stands for.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn keyed_run(&self, owner: &str, key: &str) -> Result<Option<KeyedRun>, StoreError> {
        #[derive(Deserialize)]
        struct KeyRow {
            digest: String,
            run: String,
        }
        let statement = Statement::new(READ_KEY, vec![owner.into(), key.into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        decode::<KeyRow>(take(&mut results, 0)?)?
            .pop()
            .map(|row| {
                Ok(KeyedRun {
                    digest: row.digest,
                    run: run_id(&row.run)?,
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
        self.run_and_steps(&mut results)
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
        self.run_and_steps(&mut results)
    }

    fn run_and_steps(
        &self,
        results: &mut [Vec<super::Row>],
    ) -> Result<Option<(Run, Vec<Step>)>, StoreError> {
        let Some(row) = decode::<RunRow>(take(results, 0)?)?.pop() else {
            return Ok(None);
        };
        let mut run = row.into_run()?;
        let params = decode::<ParamsRow>(take(results, 1)?)?
            .pop()
            .ok_or_else(|| corrupt(format!("run {} has no parameters", run.id)))?;
        run.params = parsed(&params.params)?;
        let steps = decode::<StepRow>(take(results, 2)?)?
            .into_iter()
            .map(into_step)
            .collect::<Result<_, _>>()?;
        Ok(Some((run, steps)))
    }

    /// What a step does. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn work(&self, run: RunId, step: u32) -> Result<Work, StoreError> {
        let statement = Statement::new(WORK, vec![run.to_string().into(), i64::from(step).into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        let row = decode::<WorkRow>(take(&mut results, 0)?)?
            .pop()
            .ok_or_else(|| corrupt(format!("step {step} of run {run} has no work")))?;
        let Some(method) = row.method else {
            return parsed(&row.target).map(Work::Own);
        };
        Ok(Work::Call {
            method: Method::from_str(&method).ok_or_else(|| corrupt(method))?,
            target: row.target,
            body: row.body,
            bucket: row.bucket,
            cost: row.cost,
        })
    }

    /// Stores a plan in the place of what was not begun of the one before, and the run with it. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; it may have been stored all the same.
    pub async fn save_plan(&self, save: &Save<'_>, steps: &[NewStep]) -> Result<Saved, StoreError> {
        let run = save.run.id.to_string();
        let fence = save.run.fence;
        let mut heads = Vec::with_capacity(steps.len());
        let mut groups: Vec<Vec<Json>> = Vec::new();
        let mut size = BOUND_BYTES;
        // Work goes in groups that each count from the highest number there is.
        for (index, step) in steps.iter().enumerate() {
            heads.push(serde_json::json!([
                index + 1,
                step.stage.as_str(),
                step.items,
                step.summary
            ]));
            let (method, target, body, bucket, cost) = match &step.work {
                Work::Own(work) => (None, work.to_string(), None, None, 0),
                Work::Call {
                    method,
                    target,
                    body,
                    bucket,
                    cost,
                } => (
                    Some(method.as_str()),
                    target.clone(),
                    body.as_deref(),
                    bucket.as_deref(),
                    *cost,
                ),
            };
            let length = target.len() + body.map_or(0, str::len) + 200;
            if size + length > BOUND_BYTES {
                groups.push(Vec::new());
                size = 0;
            }
            size += length;
            if let Some(group) = groups.last_mut() {
                let offset = group.len() + 1;
                group.push(serde_json::json!([
                    offset, method, target, body, bucket, cost
                ]));
            }
        }
        let mut batch = vec![
            Statement::new(DROP_PENDING, vec![run.as_str().into(), fence.into()]),
            Statement::new(
                INSERT_STEPS,
                vec![
                    run.as_str().into(),
                    fence.into(),
                    json(&heads)?.into(),
                    i64::from(save.run.replans).into(),
                ],
            ),
        ];
        for group in &groups {
            batch.push(Statement::new(
                INSERT_WORK,
                vec![run.as_str().into(), fence.into(), json(group)?.into()],
            ));
        }
        self.save_after(batch, save).await
    }

    /// Stores a run's progress. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; it may have been stored all the same.
    pub async fn save(&self, save: &Save<'_>) -> Result<Saved, StoreError> {
        self.save_after(Vec::new(), save).await
    }

    async fn save_after(
        &self,
        mut batch: Vec<Statement>,
        save: &Save<'_>,
    ) -> Result<Saved, StoreError> {
        let run = save.run;
        let id = run.id.to_string();
        if let Some(outcome) = save.outcome {
            batch.extend(outcome_statements(outcome, save.now)?);
        }
        for (number, state, detail) in save.steps {
            batch.push(Statement::new(
                SAVE_STEP,
                vec![
                    id.as_str().into(),
                    run.fence.into(),
                    i64::from(*number).into(),
                    state.as_str().into(),
                    detail.map(str::to_owned).into(),
                ],
            ));
        }
        for event in save.events {
            batch.push(Statement::new(
                ADD_EVENT,
                vec![
                    id.as_str().into(),
                    run.fence.into(),
                    save.now.unix_ms().into(),
                    event.as_str().into(),
                ],
            ));
        }
        let saved_at = batch.len();
        batch.push(Statement::new(
            SAVE,
            vec![
                id.as_str().into(),
                run.fence.into(),
                run.state.as_str().into(),
                run.stage.as_str().into(),
                run.reason.clone().into(),
                run.basis.as_ref().map(json).transpose()?.into(),
                run.result.as_ref().map(json).transpose()?.into(),
                i64::from(run.failures).into(),
                i64::from(run.replans).into(),
                i64::from(run.calls).into(),
                i64::from(run.progress.done).into(),
                i64::from(run.progress.total).into(),
                run.finished_at.map(Timestamp::unix_ms).into(),
                run.wake_at.unix_ms().into(),
                save.lease_until.map(Timestamp::unix_ms).into(),
                save.enqueued_at.map(Timestamp::unix_ms).into(),
                expiry_ms(run.finished_at, run.limits.keep_days).into(),
            ],
        ));
        if run.finished_at.is_some() {
            batch.push(Statement::new(
                NEXT_IN_LINE,
                vec![run.job.as_str().into(), id.into()],
            ));
        }
        #[derive(Deserialize)]
        struct SavedRow {
            cancel_requested: i64,
        }
        let mut results = self.database.batch(batch).await?;
        let Some(row) = decode::<SavedRow>(take(&mut results, saved_at)?)?.pop() else {
            return Ok(Saved::Lost);
        };
        let next = match results.get_mut(saved_at + 1) {
            Some(rows) => decode::<IdRow>(std::mem::take(rows))?.pop(),
            None => None,
        };
        Ok(Saved::Held {
            cancel_requested: row.cancel_requested != 0,
            next: next.map(|row| run_id(&row.id)).transpose()?,
        })
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
        decode::<IdRow>(take(&mut results, 0)?)?
            .iter()
            .map(|row| run_id(&row.id))
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
        let statement = Statement::new(MARK_SENT, vec![now.unix_ms().into(), json(&runs)?.into()]);
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// Runs, newest first, from below `(created_at, id)` on; their parameters are left out.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn runs(
        &self,
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
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        decode::<RunRow>(take(&mut results, 0)?)?
            .into_iter()
            .map(RunRow::into_run)
            .collect()
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
        Ok(decode::<EventRow>(take(&mut results, 0)?)?
            .into_iter()
            .map(|row| RunEvent {
                id: row.number,
                time: Timestamp::from_unix_ms(row.at),
                message: row.message,
            })
            .collect())
    }

    /// Asks for a run to be ended. One batch with the event that tells of it; `false` when it is at
    /// its end already.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn request_cancel(
        &self,
        run: RunId,
        message: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let change = Statement::new(
            REQUEST_CANCEL,
            vec![run.to_string().into(), now.unix_ms().into()],
        );
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
        Ok(!take(&mut results, 0)?.is_empty())
    }

    /// Ends a run whose messages failed for good, unless somebody holds it. One batch.
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
        let mut results = self
            .database
            .batch(vec![
                Statement::new(
                    DEAD,
                    vec![
                        id.as_str().into(),
                        now.unix_ms().into(),
                        reason.into(),
                        expiry_ms(Some(now), keep_days).into(),
                    ],
                ),
                Statement::new(
                    NOTE_DEAD,
                    vec![id.into(), now.unix_ms().into(), reason.into()],
                ),
            ])
            .await?;
        Ok(!take(&mut results, 0)?.is_empty())
    }

    /// Deletes runs that were kept long enough, at most `limit`; gives how many. Two batches.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; harmless to repeat.
    pub async fn forget_expired(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        let statement =
            Statement::new(EXPIRED, vec![now.unix_ms().into(), i64::from(limit).into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        let ids: Vec<String> = decode::<IdRow>(take(&mut results, 0)?)?
            .into_iter()
            .map(|row| row.id)
            .collect();
        if ids.is_empty() {
            return Ok(0);
        }
        let list = json(&ids)?;
        let mut batch = Vec::with_capacity(FORGET.len());
        for sql in FORGET {
            batch.push(Statement::new(sql, vec![list.as_str().into()]));
        }
        self.database.batch(batch).await?;
        Ok(ids.len())
    }
}
