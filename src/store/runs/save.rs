//! What a run's holder stores of it: the plan, and every change.

use serde_json::Value as Json;

use super::super::audit::outcome_statements;
use super::super::database::row;
use super::super::{Database, Statement, Store, StoreError};
use super::expiry_ms;
use crate::audit::OutcomeRow;
use crate::model::{RunId, Timestamp};
use crate::run::{NewStep, Run, StepState, Work};

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
/// Binds: run, fence, JSON list of `[number, method, target, body, bucket, cost, blob]`. Numbers are those of the
/// steps that have no work yet, in order.
const INSERT_WORK: &str = "INSERT INTO run_work (run, number, method, target, body, bucket, cost, blob) \
     SELECT ?1, b.base + (j.value ->> 0), j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, j.value ->> 6 \
     FROM json_each(?3) j, (SELECT coalesce(max(number), 0) AS base FROM run_work WHERE run = ?1) b \
     WHERE EXISTS (SELECT 1 FROM runs r WHERE r.id = ?1 AND r.fence = ?2)";
/// Binds: job, run. The run that may have waited for this one to end.
const NEXT_IN_LINE: &str = "SELECT id FROM runs WHERE job = ?1 AND finished_at IS NULL AND id <> ?2 \
     ORDER BY created_at, id LIMIT 1";
/// Bytes of work bound to one statement at the most, before JSON escapes them: D1 takes 2 MB
/// (<https://developers.cloudflare.com/d1/platform/limits/>).
const BOUND_BYTES: usize = 1_000_000;

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

impl<D: Database> Store<D> {
    /// Stores a plan in the place of what was not begun of the one before, and the run with it. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; it may have been stored all the same.
    pub async fn save_plan(&self, save: &Save<'_>, steps: &[NewStep]) -> Result<Saved, StoreError> {
        let batch = plan_statements(save.run, steps);
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
                run.basis.as_ref().map(Json::to_string).into(),
                run.result.as_ref().map(Json::to_string).into(),
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
        let mut results = self.database.batch(batch).await?;
        let Some(saved) = row(&mut results, saved_at)? else {
            return Ok(Saved::Lost);
        };
        let next = if run.finished_at.is_some() {
            row(&mut results, saved_at + 1)?
        } else {
            None
        };
        Ok(Saved::Held {
            cancel_requested: saved.flag("cancel_requested")?,
            next: next.map(|mut row| row.parsed("id")).transpose()?,
        })
    }
}

/// The statements that put a plan's steps in the place of those that were not begun.
fn plan_statements(run: &Run, steps: &[NewStep]) -> Vec<Statement> {
    let id = run.id.to_string();
    let fence = run.fence;
    let mut heads = Vec::with_capacity(steps.len());
    let mut groups: Vec<Vec<Json>> = Vec::new();
    let mut size = BOUND_BYTES;
    // Work goes in groups that each count from the highest number there is.
    for (index, step) in steps.iter().enumerate() {
        let mut blob = None;
        heads.push(serde_json::json!([
            index + 1,
            step.stage.as_str(),
            step.items,
            step.summary
        ]));
        let (method, target, body, bucket, cost) = match &step.work {
            Work::Own(work) => (None, work.to_string(), None, None, 0),
            Work::Upload { target, blob: key } => {
                blob = Some(key.as_str());
                (Some("POST"), target.clone(), None, None, 0)
            }
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
                offset, method, target, body, bucket, cost, blob
            ]));
        }
    }
    let mut batch = vec![
        Statement::new(DROP_PENDING, vec![id.as_str().into(), fence.into()]),
        Statement::new(
            INSERT_STEPS,
            vec![
                id.as_str().into(),
                fence.into(),
                Json::Array(heads).to_string().into(),
                i64::from(run.replans).into(),
            ],
        ),
    ];
    for group in groups {
        batch.push(Statement::new(
            INSERT_WORK,
            vec![
                id.as_str().into(),
                fence.into(),
                Json::Array(group).to_string().into(),
            ],
        ));
    }
    batch
}

/// Cuts rows into groups that one statement can bind.
pub(super) fn in_bounds(rows: Vec<Json>) -> Vec<Vec<Json>> {
    let mut groups: Vec<Vec<Json>> = Vec::new();
    let mut bytes = BOUND_BYTES;
    for row in rows {
        let length = row.to_string().len();
        if bytes + length > BOUND_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(group) = groups.last_mut() {
            group.push(row);
        }
    }
    groups
}
