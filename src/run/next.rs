//! What is to be done next with a run: a pure function of what is stored and of the time.

use super::record::{Run, Stage};
use super::step::{Step, StepState};
use crate::model::Timestamp;

/// Milliseconds after its intent until a step that was cut off can no longer be on its way: what a
/// write has for being sent, for its headers and for the rest of its answer, and some more.
pub const ABANDONED_STEP_MS: i64 = 46_000;

/// Whoever holds the run does this next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// End it as cancelled.
    Cancel,
    /// End it as failed, for this reason.
    GiveUp(String),
    /// Plan, or plan anew.
    Plan,
    /// Carry out the step of this number.
    Carry(u32),
    /// The step of this number was cut off: wait until it can no longer be on its way.
    WaitFor(u32, Timestamp),
    /// The step of this number may have happened: find out, or do it again.
    Resolve(u32),
    /// Go on to the next stage.
    Verify,
    /// Every step is at its end.
    Conclude,
}

/// What bears on it besides the run itself.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'s> {
    /// The steps of the plan in force, in order.
    pub steps: &'s [Step],
    /// Whether a refused step ends the run.
    pub stops_at_refusal: bool,
}

/// Decides what comes next.
///
/// 1. Somebody wants it ended, its time is over, or its calls are used up and it needs more: it ends,
///    but not while a step may be on its way.
/// 2. Without a plan, plan.
/// 3. A step whose intent is on record and whose outcome is not was cut off: once it cannot be on its
///    way any more, it counts as unknown.
/// 4. A step that may have happened is resolved before any other is begun.
/// 5. The first step that has not begun is carried out.
/// 6. Then comes the next stage.
#[must_use]
pub fn next(run: &Run, standing: Standing<'_>, now: Timestamp) -> Next {
    let steps = standing.steps;
    if let Some(step) = steps.iter().find(|step| step.state == StepState::Sent) {
        let cut_off_at = step
            .entry
            .map_or(now, |entry| entry.time().plus_ms(ABANDONED_STEP_MS));
        if now < cut_off_at {
            return Next::WaitFor(step.number, cut_off_at); // (3)
        }
        return Next::Resolve(step.number);
    }
    if run.cancel_requested {
        return Next::Cancel; // (1)
    }
    if run.deadline().is_some_and(|deadline| now >= deadline) {
        return Next::GiveUp(format!(
            "The run took longer than its {} s and was ended.",
            run.limits.timeout_secs
        ));
    }
    let next = go_on(run, standing);
    if matches!(next, Next::Plan | Next::Carry(_) | Next::Resolve(_))
        && run.calls >= run.limits.max_calls
    {
        return Next::GiveUp(format!(
            "The run used up its {} upstream calls.",
            run.limits.max_calls
        ));
    }
    next
}

/// What comes next of a run that may go on.
fn go_on(
    run: &Run,
    Standing {
        steps,
        stops_at_refusal,
    }: Standing<'_>,
) -> Next {
    if run.stage == Stage::Plan {
        return Next::Plan; // (2)
    }
    if let Some(step) = steps.iter().find(|step| step.state == StepState::Unknown) {
        return Next::Resolve(step.number); // (4)
    }
    let refused = |step: &&Step| step.state == StepState::Refused;
    if stops_at_refusal && let Some(step) = steps.iter().find(refused) {
        return Next::GiveUp(refusal(step));
    }
    let pending = steps
        .iter()
        .find(|step| step.state == StepState::Pending && step.stage == run.stage);
    if let Some(step) = pending {
        return Next::Carry(step.number); // (5)
    }
    match run.stage {
        Stage::Plan | Stage::Apply => Next::Verify, // (6)
        Stage::Verify => Next::Conclude,
    }
}

fn refusal(step: &Step) -> String {
    format!(
        "Could not {}: {}",
        step.summary,
        step.detail.as_deref().unwrap_or("it was refused.")
    )
}

/// Milliseconds to wait after `failures` failures in a row: 5 s, doubled each time up to 10 minutes,
/// raised by up to a quarter by `jitter` so that runs do not march in step.
#[must_use]
pub fn backoff_ms(failures: u32, jitter: u16) -> i64 {
    let base = (5_000_i64 << failures.saturating_sub(1).min(12)).min(600_000);
    base + base / 4 * i64::from(jitter) / i64::from(u16::MAX)
}
