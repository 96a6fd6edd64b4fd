//! What is done next with a run that is held: plan, carry out a step, verify, conclude.

use serde_json::Value;

use super::super::hands::Desk;
use super::super::kind::{JobKind, KindInfo, Plan, Then, Trouble, Verified};
use super::super::platform::Platform;
use super::progress::note_ending;
use super::{Engine, SUBREQUESTS, Stopped};
use crate::model::Timestamp;
use crate::run::{Ending, NewStep, Next, Run, RunState, Stage, Standing, Step, StepState, next};
use crate::store::{Database, Save};

/// Subrequests one turn may need at the least, its end included.
const RESERVE: u32 = 10;
/// How often a run is planned anew because the world was not as it was planned from.
///
/// Plans are counted on when a run is retried, which gives it as many again; the statement that does so
/// knows the number.
const MAX_REPLANS: u32 = 3;
/// Steps of a plan at the most.
const MAX_STEPS: usize = 5_000;
/// A plan, or a look at the world, is believed for so long.
const FRESH_MS: i64 = 10_000;

/// A run that is held, and everything known of it.
pub(super) struct Held<'e, 'a, D, P> {
    pub(super) engine: &'e Engine<'a, D, P>,
    pub(super) info: &'static KindInfo,
    pub(super) kind: Box<dyn JobKind>,
    pub(super) run: Run,
    pub(super) steps: Vec<Step>,
    pub(super) events: Vec<String>,
    /// When the world was last seen to be as the plan has it.
    pub(super) checked_at: Option<Timestamp>,
    is_first_turn: bool,
}

/// Whether there is more to do now.
pub(super) enum Turn {
    Again,
    Over,
}

impl<'e, 'a, D, P> Held<'e, 'a, D, P> {
    pub(super) fn new(
        engine: &'e Engine<'a, D, P>,
        info: &'static KindInfo,
        kind: Box<dyn JobKind>,
        run: Run,
        steps: Vec<Step>,
    ) -> Self {
        Self {
            engine,
            info,
            kind,
            run,
            steps,
            events: Vec::new(),
            checked_at: None,
            is_first_turn: true,
        }
    }
}

impl<D: Database, P: Platform> Held<'_, '_, D, P> {
    pub(super) fn world(&self) -> &P {
        self.engine.gateway.world
    }

    pub(super) fn now(&self) -> Timestamp {
        self.world().now()
    }

    pub(super) fn desk(&self) -> Desk<'_, D, P> {
        Desk::new(&self.engine.gateway, &self.run)
    }

    /// One turn: decides what comes next and does it.
    pub(super) async fn turn(&mut self) -> Result<Turn, Stopped> {
        let now = self.now();
        let standing = Standing {
            steps: &self.steps,
            stops_at_refusal: self.info.stops_at_refusal,
        };
        let next = next(&self.run, standing, now);
        // The first turn of an invocation goes ahead whatever it needs, so that a run moves on.
        let is_first = std::mem::replace(&mut self.is_first_turn, false);
        if !is_first && self.world().subrequests() + self.reserve(&next, now) > SUBREQUESTS {
            return self.rest_until(now, None).await;
        }
        match next {
            Next::Plan => self.plan().await,
            Next::Carry(number) => self.carry_out(number).await,
            Next::WaitFor(number, until) => {
                let reason = format!(
                    "Step {number} was cut off; waiting until it cannot be on its way any more."
                );
                self.rest_until(until, Some(reason)).await
            }
            Next::Resolve(number) => self.resolve(number).await,
            Next::Verify => self.begin_verification().await,
            Next::Conclude => self.conclude().await,
            Next::Cancel => {
                let reason = "The run was cancelled.".to_owned();
                self.finish(RunState::Cancelled, reason, &[], None).await
            }
            Next::GiveUp(reason) => self.finish(RunState::Failed, reason, &[], None).await,
        }
    }

    /// Subrequests that a turn may need.
    fn reserve(&self, next: &Next, now: Timestamp) -> u32 {
        let is_heavy = match next {
            Next::Plan | Next::Conclude => true,
            Next::Resolve(_) => !self.info.repeats_unknown,
            Next::Carry(number) => {
                let is_heavy = self
                    .steps
                    .iter()
                    .any(|step| step.number == *number && step.is_heavy);
                is_heavy || (!self.info.repeats_unknown && !self.is_fresh(now))
            }
            _ => false,
        };
        RESERVE + if is_heavy { self.info.subrequests } else { 0 }
    }

    /// Whether the world was looked at a short while ago.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.checked_at
            .is_some_and(|at| (0..FRESH_MS).contains(&now.ms_since(at)))
    }

    async fn plan(&mut self) -> Result<Turn, Stopped> {
        let desk = self.desk();
        let planned = self.kind.plan(&desk).await;
        let calls = desk.put_down().await?;
        self.run.calls += calls;
        let plan = match planned {
            Ok(plan) => plan,
            Err(trouble) => return self.trouble(trouble).await,
        };
        if plan.steps.len() > MAX_STEPS {
            let message = format!(
                "The plan has {} steps; a run has at most {MAX_STEPS}. Cut the job into several.",
                plan.steps.len()
            );
            return self.trouble(Trouble::Impossible(message)).await;
        }
        let now = self.now();
        let Plan {
            steps,
            basis,
            result,
            summary,
            verify_after_secs,
            then,
        } = plan;
        let ending = self.run.ending();
        let is_refused = |step: &Step| step.state == StepState::Refused;
        if ending.is_some() && self.steps.iter().any(is_refused) {
            // What is undone now is not stopped by what led to it.
            self.run.replans += 1;
        }
        let (goes_on, wait_secs) = match then {
            Then::Verify => (false, 0),
            Then::PlanOn(secs) => (true, if steps.is_empty() { secs } else { 0 }),
        };
        let mut noted = serde_json::json!({
            "verify_after_secs": verify_after_secs,
            "of_kind": basis,
            "goes_on": goes_on,
            "waited_secs": self.run.waited_secs() + i64::from(wait_secs),
        });
        if let Some(ending) = &ending {
            note_ending(&mut noted, ending);
        }
        self.run.basis = Some(noted);
        if result.is_some() {
            self.run.result = result;
        }
        let to_do: u32 = steps.iter().map(|step| step.items).sum();
        self.run.progress.total = self.run.progress.done.saturating_add(to_do);
        self.run.failures = 0;
        self.events.push(format!("Planned: {summary}"));
        if steps.is_empty()
            && let Some(ending) = ending
            && !goes_on
        {
            return self.end_undone(ending, &summary).await;
        }
        let has_plan = !steps.is_empty() || goes_on || self.run.stage == Stage::Apply;
        if self.run.dry_run || !has_plan {
            self.run.state = RunState::Succeeded;
            self.run.finished_at = Some(now);
            self.run.reason = Some(if self.run.dry_run {
                format!("Planned only: {summary}")
            } else {
                format!("Nothing had to be done: {summary}")
            });
        } else {
            self.run.stage = Stage::Apply;
            self.run.reason = None;
        }
        if steps.is_empty() && goes_on && !self.run.dry_run {
            let until = now.plus_ms(i64::from(wait_secs) * 1000);
            return self.rest_until(until, Some(summary)).await;
        }
        self.store_plan(&steps, now).await
    }

    /// Nothing is half done any more: the run ends as it was to.
    async fn end_undone(&mut self, ending: Ending, summary: &str) -> Result<Turn, Stopped> {
        // Nothing of it is begun again should the run be retried.
        self.run.replans += 1;
        if let Some(basis) = self.run.basis.as_mut().and_then(Value::as_object_mut) {
            basis.remove("ending");
        }
        let reason = format!("{} {summary}", ending.reason);
        self.end(ending.state, reason, &[], None).await
    }

    async fn store_plan(&mut self, steps: &[NewStep], now: Timestamp) -> Result<Turn, Stopped> {
        let events = std::mem::take(&mut self.events);
        let save = Save {
            run: &self.run,
            lease_until: self.lease(now),
            enqueued_at: None,
            steps: &[],
            events: &events,
            outcome: None,
            now,
        };
        let store = self.engine.gateway.store;
        let saved = store.save_plan(&save, steps).await?;
        self.checked_at = Some(now);
        if let Turn::Over = self.saved(saved).await {
            return Ok(Turn::Over);
        }
        // The steps have their numbers now.
        match store.run(self.run.id).await? {
            Some((_, steps)) => self.steps = steps,
            None => return Ok(Turn::Over),
        }
        Ok(Turn::Again)
    }

    /// The world is not as it was planned from.
    pub(super) async fn plan_anew(&mut self, how: String) -> Result<Turn, Stopped> {
        if self.run.replans % (MAX_REPLANS + 1) == MAX_REPLANS {
            let reason = format!("The run was given up, as it kept finding another state: {how}");
            return self.finish(RunState::Failed, reason, &[], None).await;
        }
        let plan = self.run.replans;
        self.run.replans += 1;
        self.run.stage = Stage::Plan;
        self.run.progress.total = 0;
        self.checked_at = None;
        self.steps.clear();
        self.events
            .push(format!("Plan {} is void: {how}", plan + 1));
        self.store_progress(&[], None).await
    }

    async fn begin_verification(&mut self) -> Result<Turn, Stopped> {
        self.run.stage = Stage::Verify;
        let wait_secs = self.run.verify_after_secs();
        if wait_secs > 0 {
            let until = self.now().plus_ms(wait_secs * 1000);
            let reason = format!("Everything is done; verifying in {wait_secs} s.");
            return self.rest_until(until, Some(reason)).await;
        }
        self.store_progress(&[], None).await
    }

    async fn conclude(&mut self) -> Result<Turn, Stopped> {
        let desk = self.desk();
        let verified = self.kind.verify(&desk, &self.run).await;
        #[cfg(feature = "faults")]
        let verified = if self.world().is_planted("skip_verify") {
            Ok(Verified::Yes(None))
        } else {
            verified
        };
        let calls = desk.put_down().await?;
        self.run.calls += calls;
        match verified {
            Ok(Verified::Yes(result)) => {
                if let Some(result) = result {
                    self.run.result = Some(result);
                }
                let refused = self
                    .steps
                    .iter()
                    .filter(|step| step.state == StepState::Refused)
                    .count();
                let (state, reason) = if refused == 0 {
                    let calls = match self.run.calls {
                        1 => "1 call".to_owned(),
                        calls => format!("{calls} calls"),
                    };
                    (RunState::Succeeded, format!("Done with {calls}."))
                } else {
                    let of = self.steps.len();
                    let reason = format!("{refused} of {of} steps were refused; the rest is done.");
                    (RunState::Failed, reason)
                };
                self.finish(state, reason, &[], None).await
            }
            Ok(Verified::No(how)) => self.plan_anew(how).await,
            Err(trouble) => self.trouble(trouble).await,
        }
    }
}
