//! What the rows of runs are read as.

use serde_json::{Value as Json, json};

use super::super::StoreError;
use super::super::database::Columns;
use crate::catalog::Method;
use crate::model::{EntryId, Timestamp};
use crate::run::{
    Limits, Progress, Run, RunEvent, RunState, Stage, Step, StepState, Trigger, Work,
};

/// Limits as they are stored.
pub(super) fn limits_json(limits: Limits) -> Json {
    json!({
        "max_attempts": limits.max_attempts,
        "max_calls": limits.max_calls,
        "timeout_secs": limits.timeout_secs,
        "keep_days": limits.keep_days,
    })
}

fn limits(stored: &Json) -> Result<Limits, StoreError> {
    let number = |name: &str| {
        stored
            .get(name)
            .and_then(Json::as_u64)
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| StoreError::Corrupt(format!("limits without {name}")))
    };
    Ok(Limits {
        max_attempts: number("max_attempts")?,
        max_calls: number("max_calls")?,
        timeout_secs: number("timeout_secs")?,
        keep_days: number("keep_days")?,
    })
}

/// A run, its parameters aside.
pub(super) fn into_run(mut row: Columns) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.parsed("id")?,
        job: row.text("job")?,
        kind: row.text("kind")?,
        trigger: row.word("trigger", Trigger::named)?,
        slot: row.maybe_time("slot")?,
        run_as: row.text("run_as")?,
        started_by: row.maybe_text("started_by")?,
        params: serde_json::Map::new(),
        dry_run: row.flag("dry_run")?,
        state: row.word("state", RunState::named)?,
        stage: row.word("stage", Stage::named)?,
        reason: row.maybe_text("reason")?,
        basis: row.maybe_json("basis")?,
        result: row.maybe_json("result")?,
        fence: row.number("fence")?,
        cancel_requested: row.flag("cancel_requested")?,
        failures: row.count("failures")?,
        replans: row.count("replans")?,
        calls: row.count("calls")?,
        progress: Progress {
            done: row.count("done")?,
            total: row.count("total")?,
        },
        limits: limits(&row.json("limits")?)?,
        created_at: row.time("created_at")?,
        started_at: row.maybe_time("started_at")?,
        finished_at: row.maybe_time("finished_at")?,
        wake_at: row.time("wake_at")?,
        hurry: row.flag("hurry")?,
    })
}

pub(super) fn into_step(mut row: Columns) -> Result<Step, StoreError> {
    Ok(Step {
        number: row.count("number")?,
        stage: row.word("stage", Stage::named)?,
        state: row.word("state", StepState::named)?,
        items: row.count("items")?,
        is_heavy: row.flag("is_heavy")?,
        summary: row.text("summary")?,
        attempts: row.count("attempts")?,
        entry: row.maybe_number("entry")?.map(EntryId::from_stored),
        detail: row.maybe_text("detail")?,
    })
}

pub(super) fn into_work(mut row: Columns) -> Result<Work, StoreError> {
    let Some(method) = row.maybe_text("method")? else {
        return row.json("target").map(Work::Own);
    };
    if let Some(blob) = row.maybe_text("blob")? {
        let target = row.text("target")?;
        return Ok(Work::Upload { target, blob });
    }
    Ok(Work::Call {
        method: Method::from_str(&method).ok_or(StoreError::Corrupt(method))?,
        target: row.text("target")?,
        body: row.maybe_text("body")?,
        bucket: row.maybe_text("bucket")?,
        cost: row.count("cost")?,
    })
}

pub(super) fn into_event(mut row: Columns) -> Result<RunEvent, StoreError> {
    Ok(RunEvent {
        id: row.number("number")?,
        time: Timestamp::from_unix_ms(row.number("at")?),
        message: row.text("message")?,
    })
}
