//! What an operator should look at: runs that nobody takes up, firings that were missed, a scheduler
//! that is silent.

use crate::config::document::Document;
use crate::model::{RunId, Timestamp};
use crate::store::{Database, Store, StoreError};

/// A run that is due for so long and that nobody works on is stuck. With the lease of a run that was
/// cut off it shows within two minutes.
const STUCK_AFTER_MS: i64 = 60_000;
/// Without a tick for so long, the scheduler is silent.
const SILENT_AFTER_MS: i64 = 120_000;
/// Firings that were missed are shown for a day.
const MISSED_SHOWN_MS: i64 = 86_400_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// `run_stuck`, `firings_missed` or `scheduler_silent`.
    pub kind: &'static str,
    /// The job.
    pub job: Option<String>,
    /// The run.
    pub run: Option<RunId>,
    /// Since when.
    pub since: Timestamp,
    /// In a sentence.
    pub message: String,
}

/// Everything that is not as it should be, at `now`.
///
/// # Errors
/// [`StoreError`] when it cannot be read.
pub async fn alarms<D: Database>(
    store: &Store<D>,
    document: &Document,
    now: Timestamp,
) -> Result<Vec<Alarm>, StoreError> {
    let mut found = Vec::new();
    if document.jobs.is_empty() {
        return Ok(found);
    }
    let state = store.begin_tick().await?;
    let has_schedules = document.jobs.iter().any(|job| job.schedule.is_some());
    if let Some(ticked_at) = state.ticked_at
        && has_schedules
        && now.ms_since(ticked_at) > SILENT_AFTER_MS
    {
        found.push(Alarm {
            kind: "scheduler_silent",
            job: None,
            run: None,
            since: ticked_at,
            message: format!(
                "The scheduler has not ticked since {ticked_at}; is the cron trigger there?"
            ),
        });
    }
    for row in &state.jobs {
        if let Some(at) = row.missed_at
            && now.ms_since(at) <= MISSED_SHOWN_MS
        {
            let times = match row.missed {
                1 => "1 time".to_owned(),
                times => format!("{times} times"),
            };
            found.push(Alarm {
                kind: "firings_missed",
                job: Some(row.name.clone()),
                run: None,
                since: at,
                message: format!(
                    "{} did not run {times} when it was due, as the scheduler did not tick; found at {at}.",
                    row.name
                ),
            });
        }
    }
    let overdue = store
        .overdue_runs(now, now.plus_ms(-STUCK_AFTER_MS))
        .await?;
    for run in overdue {
        let what = if run.was_running {
            "was cut off and not taken up again"
        } else {
            "is due and nobody takes it up"
        };
        found.push(Alarm {
            kind: "run_stuck",
            message: format!("Run {} of {} {what} since {}.", run.run, run.job, run.since),
            job: Some(run.job),
            run: Some(run.run),
            since: run.since,
        });
    }
    Ok(found)
}
