//! How a turn ends: what changed is stored, and the run goes on, rests, or is at its end.

use serde_json::{Value, json};

use super::super::kind::Trouble;
use super::super::platform::Platform;
use super::turn::{Held, Turn};
use super::{LEASE_MS, Stopped};
use crate::audit::OutcomeRow;
use crate::model::Timestamp;
use crate::run::{Ending, RunState, Stage, StepState, backoff_ms};
use crate::store::{Database, Save, Saved};

/// Seconds a message may be delayed by
/// (<https://developers.cloudflare.com/queues/platform/limits/>).
const MAX_DELAY_SECS: i64 = 43_200;

/// Steps that changed: number, state, what came of it.
pub(super) type Changes<'c> = [(u32, StepState, Option<&'c str>)];

/// Keeps in what a run remembers how it is to end.
pub(super) fn note_ending(basis: &mut Value, ending: &Ending) {
    if let Some(basis) = basis.as_object_mut() {
        let noted = json!({"state": ending.state.as_str(), "reason": ending.reason});
        basis.insert("ending".to_owned(), noted);
    }
}

impl<D: Database, P: Platform> Held<'_, '_, D, P> {
    pub(super) async fn trouble(&mut self, trouble: Trouble) -> Result<Turn, Stopped> {
        match trouble {
            Trouble::Again(message) => self.again(message, &[], None).await,
            Trouble::NotBefore(until, message) => self.rest_until(until, Some(message)).await,
            Trouble::Impossible(message) => self.finish(RunState::Failed, message, &[], None).await,
            Trouble::WantsApproval(message) => {
                self.finish(RunState::NeedsApproval, message, &[], None)
                    .await
            }
        }
    }

    /// A failure that may pass: the run rests, longer each time, and ends after too many in a row.
    pub(super) async fn again(
        &mut self,
        message: String,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        self.run.failures += 1;
        if self.run.failures >= self.run.limits.max_attempts {
            let reason = format!("Given up after {} failures: {message}", self.run.failures);
            return self.finish(RunState::Failed, reason, steps, row).await;
        }
        self.events.push(format!("To be tried again: {message}"));
        let wait = backoff_ms(self.run.failures, self.world().jitter());
        let until = self.now().plus_ms(wait);
        self.rest(until, Some(message), steps, row).await
    }

    pub(super) async fn rest_until(
        &mut self,
        until: Timestamp,
        reason: Option<String>,
    ) -> Result<Turn, Stopped> {
        self.rest(until, reason, &[], None).await
    }

    /// Lets the run go until then, or until its time is over where that comes first, and sends its id to
    /// the queue for that time; at once when somebody wanted it ended meanwhile.
    pub(super) async fn rest(
        &mut self,
        until: Timestamp,
        reason: Option<String>,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let now = self.now();
        let until = match self.run.deadline() {
            Some(deadline) if deadline > now => until.min(deadline),
            _ => until,
        };
        self.run.wake_at = until;
        if reason.is_some() {
            self.run.reason = reason;
        }
        let events = std::mem::take(&mut self.events);
        let save = Save {
            run: &self.run,
            lease_until: None,
            enqueued_at: Some(until.max(now)),
            steps,
            events: &events,
            outcome: row,
            now,
        };
        let saved = self.engine.gateway.store.save(&save).await?;
        if let Saved::Held {
            cancel_requested, ..
        } = saved
        {
            let is_news = cancel_requested && !self.run.cancel_requested;
            let wait_ms = if is_news {
                0
            } else {
                until.ms_since(now).max(0)
            };
            let secs = (wait_ms / 1000 + i64::from(wait_ms % 1000 > 0)).min(MAX_DELAY_SECS);
            let delay = u32::try_from(secs).unwrap_or_default();
            self.engine.send(&[self.run.id], delay).await;
        }
        Ok(Turn::Over)
    }

    /// Ends the run, unless that would leave something half done: then that is undone or finished first.
    /// When that fails as well, a person must look at it.
    pub(super) async fn finish(
        &mut self,
        state: RunState,
        reason: String,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let ends_badly = !matches!(state, RunState::Succeeded | RunState::Unknown);
        match self.run.ending() {
            None if ends_badly && self.is_half_done() => {
                self.undo(Ending { state, reason }, steps, row).await
            }
            None => {
                if state == RunState::Unknown {
                    self.world()
                        .log(&format!("ALARM: run {}: {reason}", self.run.id));
                }
                self.end(state, reason, steps, row).await
            }
            Some(ending) => {
                let reason = format!(
                    "{} What was begun could not be undone: {reason} Somebody must look at it, then retry or cancel the run.",
                    ending.reason
                );
                self.world()
                    .log(&format!("ALARM: run {}: {reason}", self.run.id));
                self.end(RunState::Unknown, reason, steps, row).await
            }
        }
    }

    fn is_half_done(&self) -> bool {
        let basis = self.run.of_kind().filter(|_| !self.run.dry_run);
        basis.is_some_and(|basis| self.kind.is_half_done(basis))
    }

    /// Plans on with this ending in mind.
    async fn undo(
        &mut self,
        ending: Ending,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        for (number, state, _) in steps {
            for step in &mut self.steps {
                if step.number == *number {
                    step.state = *state;
                }
            }
        }
        if let Some(basis) = &mut self.run.basis {
            note_ending(basis, &ending);
        }
        self.run.stage = Stage::Plan;
        self.run.failures = 0;
        self.events.push(ending.reason.clone());
        self.run.reason = Some(ending.reason);
        self.store_progress(steps, row).await
    }

    /// Ends the run.
    pub(super) async fn end(
        &mut self,
        state: RunState,
        reason: String,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let (state, reason) = match self.unresolved(steps) {
            Some(number) if matches!(state, RunState::Failed | RunState::Cancelled) => {
                let more = format!("{reason} Could not confirm whether step {number} happened.");
                (RunState::Unknown, more)
            }
            _ => (state, reason),
        };
        self.run.state = state;
        self.run.finished_at = Some(self.now());
        self.events.push(reason.clone());
        self.run.reason = Some(reason);
        self.store_progress(steps, row).await
    }

    /// A step that may have happened, once `changes` are stored.
    fn unresolved(&self, changes: &Changes<'_>) -> Option<u32> {
        let is_open = |state| matches!(state, StepState::Sent | StepState::Unknown);
        let open = self.steps.iter().find(|step| {
            let change = changes.iter().find(|(number, ..)| *number == step.number);
            is_open(change.map_or(step.state, |(_, state, _)| *state))
        });
        open.map(|step| step.number)
    }

    pub(super) async fn store_progress(
        &mut self,
        steps: &Changes<'_>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let now = self.now();
        let events = std::mem::take(&mut self.events);
        let save = Save {
            run: &self.run,
            lease_until: self.lease(now),
            enqueued_at: None,
            steps,
            events: &events,
            outcome: row,
            now,
        };
        let saved = self.engine.gateway.store.save(&save).await?;
        Ok(self.saved(saved).await)
    }

    pub(super) fn lease(&self, now: Timestamp) -> Option<Timestamp> {
        self.run
            .finished_at
            .is_none()
            .then(|| now.plus_ms(LEASE_MS))
    }

    pub(super) async fn saved(&mut self, saved: Saved) -> Turn {
        match saved {
            Saved::Lost => Turn::Over,
            Saved::Held {
                cancel_requested,
                next,
            } => {
                self.run.cancel_requested = cancel_requested;
                if self.run.finished_at.is_none() {
                    return Turn::Again;
                }
                self.engine.send(next.as_slice(), 0).await;
                Turn::Over
            }
        }
    }
}
