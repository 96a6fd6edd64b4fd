//! The rows of runs, and what they are read as.

use serde::Deserialize;
use serde_json::Value as Json;

use super::super::StoreError;
use crate::catalog::Method;
use crate::model::{EntryId, RunId, Timestamp};
use crate::run::{Progress, Run, RunEvent, Step, Work};

#[derive(Deserialize)]
pub(super) struct RunRow {
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
pub(super) struct IdRow {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct ParamsRow {
    pub(super) params: String,
}

#[derive(Deserialize)]
pub(super) struct StepRow {
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
pub(super) struct WorkRow {
    method: Option<String>,
    target: String,
    body: Option<String>,
    bucket: Option<String>,
    cost: u32,
}

#[derive(Deserialize)]
pub(super) struct EventRow {
    number: i64,
    at: i64,
    message: String,
}

pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

fn word<T: serde::de::DeserializeOwned>(text: String) -> Result<T, StoreError> {
    serde_json::from_value(Json::String(text)).map_err(|error| corrupt(error.to_string()))
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| corrupt(error.to_string()))
}

pub(super) fn run_id(text: &str) -> Result<RunId, StoreError> {
    text.parse().map_err(|_| corrupt(format!("run {text}")))
}

impl RunRow {
    pub(super) fn into_run(self) -> Result<Run, StoreError> {
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

pub(super) fn into_step(row: StepRow) -> Result<Step, StoreError> {
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

impl WorkRow {
    pub(super) fn into_work(self) -> Result<Work, StoreError> {
        let Some(method) = self.method else {
            return parsed(&self.target).map(Work::Own);
        };
        Ok(Work::Call {
            method: Method::from_str(&method).ok_or_else(|| corrupt(method))?,
            target: self.target,
            body: self.body,
            bucket: self.bucket,
            cost: self.cost,
        })
    }
}

impl From<EventRow> for RunEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.number,
            time: Timestamp::from_unix_ms(row.at),
            message: row.message,
        }
    }
}
