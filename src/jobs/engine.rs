//! Works on a run: takes it up, does what comes next until an invocation is used up or nothing is
//! left, and stores every change before the next effect.
//!
//! What makes a crash harmless:
//! - The intent of a call, that its step is begun, and that the run is still held are stored in one
//!   batch before it is sent; its outcome and what it means for the run in one batch after.
//! - Whoever finds a step begun and without outcome waits until it cannot be on its way any more,
//!   then finds out what became of it, or makes it again where that is harmless.
//! - A message in the queue is only a hint that a run may be taken up. The sweeper sends it again.

use super::hands::{BLOCK_MS, Desk, credential_of};
use super::kind::{Check, JobKind, KindInfo, Plan, Trouble, Verified, kind_named};
use super::pace::{pause_ms, rate_of};
use super::platform::Platform;
use crate::audit::OutcomeRow;
use crate::catalog::Method;
use crate::gateway::{Acting, Carried, Gateway};
use crate::model::{RunId, Timestamp};
use crate::run::{Next, Run, RunState, Stage, Standing, Step, StepState, Work, backoff_ms, next};
use crate::store::{Database, Drawn, Hold, Save, Saved, StoreError};
use crate::upstream::{Envelope, Outcome, read_rate_limits};

/// Milliseconds a run is held for without a sign of life.
pub const LEASE_MS: i64 = 60_000;
/// Subrequests of one invocation: a free plan's Worker has 50
/// (<https://developers.cloudflare.com/workers/platform/limits/#subrequests>).
pub const SUBREQUESTS: u32 = 50;
/// What one turn of the loop may need, its end included.
const RESERVE: u32 = 10;
/// Runs held at once, and of one kind.
const AT_ONCE: (u32, u32) = (20, 6);
/// A wait up to this long is spent in the invocation; a longer one in the queue.
const SHORT_WAIT_MS: i64 = 2_000;
/// How often a run is planned anew because the world was not as it was planned from.
const MAX_REPLANS: u32 = 3;
/// A plan, or a look at the world, is believed for so long.
const FRESH_MS: i64 = 10_000;
/// Seconds a message may be delayed by
/// (<https://developers.cloudflare.com/queues/platform/limits/>).
const MAX_DELAY_SECS: i64 = 43_200;

/// Carries out runs and schedules.
#[derive(Debug)]
pub struct Engine<'a, D, P> {
    /// The gate that every call of a run goes through.
    pub gateway: Gateway<'a, D, P>,
}

/// A run that is held, and everything known of it.
struct Held<'e, 'a, D, P> {
    engine: &'e Engine<'a, D, P>,
    info: &'static KindInfo,
    kind: Box<dyn JobKind>,
    run: Run,
    steps: Vec<Step>,
    events: Vec<String>,
    /// When the world was last seen to be as the plan has it.
    checked_at: Option<Timestamp>,
    is_first_turn: bool,
}

/// Whether there is more to do now.
enum Turn {
    Again,
    Over,
}

/// How a run's work came to stop against its will: the run stays held until its lease ends, and is
/// then taken up again.
type Stopped = StoreError;

impl<D: Database, P: Platform> Engine<'_, D, P> {
    /// Works on a run that a message names. A run that is not there, not due, held by another or
    /// at its end is left alone, so that a message may come any number of times.
    pub async fn deliver(&self, id: RunId) {
        if let Err(error) = self.work_on(id).await {
            self.gateway.world.log(&format!("run {id}: {error}"));
        }
    }

    /// Ends a run whose messages failed for good, with that for a reason. Whoever holds it goes on.
    pub async fn bury(&self, id: RunId) {
        const KEEP_DAYS: u32 = 90;
        let reason = "dead_letter: every attempt to work on the run broke off.";
        let Gateway { store, world, .. } = self.gateway;
        match store.end_dead(id, KEEP_DAYS, reason, world.now()).await {
            Ok(true) => world.log(&format!("ALARM: run {id} was ended: {reason}")),
            Ok(false) => {}
            Err(error) => world.log(&format!("end run {id}: {error}")),
        }
    }

    async fn work_on(&self, id: RunId) -> Result<(), Stopped> {
        let Gateway {
            store, world, view, ..
        } = self.gateway;
        let now = world.now();
        view.current(store, now).await?;
        let lease_until = now.plus_ms(LEASE_MS);
        let Some((run, steps)) = store.claim(id, now, lease_until, AT_ONCE).await? else {
            return Ok(());
        };
        let kind = kind_named(&run.kind)
            .ok_or_else(|| "this version has no such kind of job".to_owned())
            .and_then(|info| match (info.parse)(&run.params) {
                Ok(kind) => Ok((info, kind)),
                Err(error) => Err(format!("its parameters do not fit: {}", error.message)),
            });
        let (info, kind) = match kind {
            Ok(found) => found,
            Err(why) => {
                let reason = format!("The run cannot be carried out: {why}.");
                return self.end_unreadable(run, reason).await;
            }
        };
        let mut held = Held {
            engine: self,
            info,
            kind,
            run,
            steps,
            events: Vec::new(),
            checked_at: None,
            is_first_turn: true,
        };
        while let Turn::Again = held.turn().await? {}
        Ok(())
    }

    async fn end_unreadable(&self, mut run: Run, reason: String) -> Result<(), Stopped> {
        let now = self.gateway.world.now();
        run.state = RunState::Failed;
        run.finished_at = Some(now);
        run.reason = Some(reason.clone());
        let save = Save {
            run: &run,
            lease_until: None,
            enqueued_at: None,
            steps: &[],
            events: &[reason],
            outcome: None,
            now,
        };
        self.gateway.store.save(&save).await.map(drop)
    }

    /// Sends ids to the queue. What cannot be sent is found by the sweeper.
    pub(super) async fn send(&self, runs: &[RunId], delay_secs: u32) {
        // A batch of messages may have 100
        // (<https://developers.cloudflare.com/queues/platform/limits/>).
        for runs in runs.chunks(100) {
            if let Err(error) = self.gateway.world.enqueue(runs, delay_secs).await {
                self.gateway.world.log(&format!("enqueue: {error}"));
            }
        }
    }
}

impl<D: Database, P: Platform> Held<'_, '_, D, P> {
    fn world(&self) -> &P {
        self.engine.gateway.world
    }

    fn now(&self) -> Timestamp {
        self.world().now()
    }

    fn desk(&self) -> Desk<'_, D, P> {
        Desk::new(&self.engine.gateway, &self.run)
    }

    /// One turn: decides what comes next and does it.
    async fn turn(&mut self) -> Result<Turn, Stopped> {
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
                let is_own = self
                    .steps
                    .iter()
                    .any(|step| step.number == *number && step.is_own);
                is_own || (!self.info.repeats_unknown && !self.is_fresh(now))
            }
            _ => false,
        };
        RESERVE + if is_heavy { self.info.subrequests } else { 0 }
    }

    /// Whether the world was looked at a short while ago.
    fn is_fresh(&self, now: Timestamp) -> bool {
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
        let now = self.now();
        let Plan {
            steps,
            basis,
            result,
            summary,
            verify_after_secs,
        } = plan;
        self.run.basis = Some(serde_json::json!({
            "verify_after_secs": verify_after_secs,
            "of_kind": basis,
        }));
        if result.is_some() {
            self.run.result = result;
        }
        let to_do: u32 = steps.iter().map(|step| step.items).sum();
        self.run.progress.total = self.run.progress.done.saturating_add(to_do);
        self.run.failures = 0;
        self.events.push(format!("Planned: {summary}"));
        if self.run.dry_run || steps.is_empty() {
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
        let saved = store.save_plan(&save, &steps).await?;
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

    async fn carry_out(&mut self, number: u32) -> Result<Turn, Stopped> {
        let Some(index) = self.steps.iter().position(|step| step.number == number) else {
            return Ok(Turn::Over);
        };
        let now = self.now();
        if self.run.stage == Stage::Apply && !self.is_fresh(now) {
            match self.check(index).await? {
                Ok(Check::AsPlanned) => self.checked_at = Some(self.now()),
                Ok(Check::StepHappened) => {
                    let drift = "a step seems to have been carried out by somebody else";
                    return self.plan_anew(drift.to_owned()).await;
                }
                Ok(Check::Drifted(how)) => return self.plan_anew(how).await,
                Err(trouble) => return self.trouble(trouble).await,
            }
        }
        match self.engine.gateway.store.work(self.run.id, number).await? {
            Work::Own(work) => {
                let desk = self.desk();
                let done = self.kind.perform(&desk, &work).await;
                let calls = desk.put_down().await?;
                self.run.calls += calls;
                match done {
                    Ok(result) => {
                        self.keep_result(number, result);
                        self.step_done(index, None).await
                    }
                    Err(trouble) => self.trouble(trouble).await,
                }
            }
            Work::Call {
                method,
                target,
                body,
                bucket,
                cost,
            } => {
                if let Some(bucket) = &bucket
                    && let Some(turn) = self.draw(bucket, cost).await?
                {
                    return Ok(turn);
                }
                self.call(index, method, &target, body.as_deref(), bucket.as_deref())
                    .await
            }
        }
    }

    /// Draws from an upstream bucket; `None` when the call may be made.
    async fn draw(&mut self, bucket: &str, cost: u32) -> Result<Option<Turn>, Stopped> {
        let Some(rate) = rate_of(bucket) else {
            return Ok(None);
        };
        let cost_us = i64::from(cost) * rate.unit_us;
        let depth_us = rate.depth * rate.unit_us;
        let now = self.now();
        let store = self.engine.gateway.store;
        match store.draw(bucket, cost_us, depth_us, now).await? {
            Drawn::Now => Ok(None),
            Drawn::NotBefore(at) if at.ms_since(now) <= SHORT_WAIT_MS => {
                let ms = u32::try_from(at.ms_since(now)).unwrap_or_default();
                self.world().pause(ms).await;
                Ok(Some(Turn::Again))
            }
            Drawn::NotBefore(at) => {
                let reason = "Waiting for Cloudflare's purge limit.".to_owned();
                self.rest_until(at, Some(reason)).await.map(Some)
            }
        }
    }

    async fn call(
        &mut self,
        index: usize,
        method: Method,
        target: &str,
        body: Option<&str>,
        bucket: Option<&str>,
    ) -> Result<Turn, Stopped> {
        let Some(number) = self.steps.get(index).map(|step| step.number) else {
            return Ok(Turn::Over);
        };
        let hold = Hold {
            run: self.run.id,
            fence: self.run.fence,
            lease_until: self.now().plus_ms(LEASE_MS),
        };
        let carried = {
            let credential = credential_of(&self.run);
            let acting = Acting {
                principal: &self.run.run_as,
                credential: &credential,
                run: Some(self.run.id),
                step: Some((hold, number)),
                body,
            };
            self.engine.gateway.carry(&acting, method, target).await
        };
        let (outcome, status, answer, response, row) = match carried {
            Carried::Refused {
                refusal,
                wants_approval,
            } => {
                let change = [(number, StepState::Refused, Some(refusal.message.as_str()))];
                let state = if wants_approval {
                    RunState::NeedsApproval
                } else {
                    RunState::Failed
                };
                return self
                    .finish(state, refusal.message.clone(), &change, None)
                    .await;
            }
            Carried::Unsent { message, row } => {
                let change = [(number, StepState::Pending, None)];
                return self.again(message, &change, row.as_ref()).await;
            }
            Carried::Ended {
                outcome,
                status,
                body,
                response,
                row,
                ..
            } => (outcome, status, body, response, row),
        };
        if let Some(step) = self.steps.get_mut(index) {
            step.attempts += 1;
            step.entry = row.as_ref().map(|row| row.id);
        }
        self.run.calls += row.as_ref().map_or(1, |row| row.upstream_calls);
        let said = || {
            let envelope = answer.as_deref().and_then(Envelope::parse);
            let errors = envelope.map_or_else(String::new, |envelope| envelope.describe_errors());
            format!("Cloudflare answered {}: {errors}", status.as_u16())
        };
        if let Some(bucket) = bucket
            && let Some(header) = response.and_then(|response| self.world().rate_limit(&response))
            && let Some(ms) = pause_ms(&read_rate_limits(&header))
        {
            self.block(bucket, ms).await?;
        }
        match outcome {
            Outcome::Confirmed => self.step_done(index, row.as_ref()).await,
            Outcome::Throttled { retry_after_secs } => {
                let ms = retry_after_secs.map_or(BLOCK_MS, |secs| i64::from(secs) * 1000);
                if let Some(bucket) = bucket {
                    self.block(bucket, ms).await?;
                }
                let change = [(number, StepState::Pending, None)];
                let reason = "Cloudflare had too many calls; waiting as long as it said.";
                let until = self.now().plus_ms(ms);
                self.rest(until, Some(reason.to_owned()), &change, row.as_ref())
                    .await
            }
            Outcome::Refused => {
                let detail = said();
                let change = [(number, StepState::Refused, Some(detail.as_str()))];
                // A credential that is refused is refused for the rest as well.
                if matches!(status.as_u16(), 401 | 403) {
                    let reason = format!("The run was ended: {detail}");
                    return self
                        .finish(RunState::Failed, reason, &change, row.as_ref())
                        .await;
                }
                self.events
                    .push(format!("Step {number} was refused: {detail}"));
                self.settled(
                    index,
                    StepState::Refused,
                    Some(detail.clone()),
                    row.as_ref(),
                )
                .await
            }
            Outcome::Unknown => {
                let detail = "could not confirm whether it happened";
                self.run.failures += 1;
                self.events.push(format!(
                    "Step {number} was sent; {detail}: {}",
                    row.as_ref()
                        .and_then(|row| row.detail.clone())
                        .unwrap_or_else(said)
                ));
                self.settled(
                    index,
                    StepState::Unknown,
                    Some(detail.to_owned()),
                    row.as_ref(),
                )
                .await
            }
        }
    }

    async fn block(&self, bucket: &str, ms: i64) -> Result<(), Stopped> {
        let now = self.now();
        let store = self.engine.gateway.store;
        store.block_bucket(bucket, now.plus_ms(ms), now).await
    }

    /// A step that was begun and may have happened.
    async fn resolve(&mut self, number: u32) -> Result<Turn, Stopped> {
        let Some(index) = self.steps.iter().position(|step| step.number == number) else {
            return Ok(Turn::Over);
        };
        let now = self.now();
        let Some((entry, attempts, state)) = self
            .steps
            .get(index)
            .map(|step| (step.entry, step.attempts, step.state))
        else {
            return Ok(Turn::Over);
        };
        // Without an outcome its process is gone: the entry gets one now.
        let row = entry
            .filter(|_| state == StepState::Sent)
            .map(|id| OutcomeRow {
                id,
                outcome: Outcome::Unknown,
                status: None,
                cf_ray: None,
                duration_ms: now.ms_since(id.time()),
                upstream_calls: 1,
                detail: Some("the run was cut off before its outcome could be recorded".to_owned()),
            });
        if attempts >= self.run.limits.max_attempts {
            let reason = format!(
                "Could not confirm whether step {number} happened, after {attempts} attempts."
            );
            let change = [(number, StepState::Unknown, None)];
            return self
                .finish(RunState::Unknown, reason, &change, row.as_ref())
                .await;
        }
        if self.info.repeats_unknown {
            self.events.push(format!(
                "Step {number} may have happened; it is harmless to repeat and is made again."
            ));
            return self
                .settled(index, StepState::Pending, None, row.as_ref())
                .await;
        }
        // Cloudflare may still be at work on it.
        let settled_at = entry.map_or(now, |entry| {
            entry.time().plus_ms(crate::run::ABANDONED_STEP_MS)
        });
        if now < settled_at {
            let reason = format!("Waiting until step {number} can be looked for.");
            return self.rest_until(settled_at, Some(reason)).await;
        }
        let happened = match self.check(index).await? {
            Ok(Check::AsPlanned) => Some(false),
            Ok(Check::StepHappened) => Some(true),
            Ok(Check::Drifted(how)) => {
                if let Some(row) = &row {
                    let store = self.engine.gateway.store;
                    store.record_outcome(row, now).await?;
                }
                return self.plan_anew(how).await;
            }
            Err(trouble) => return self.trouble(trouble).await,
        };
        self.checked_at = Some(now);
        let store = self.engine.gateway.store;
        if let Some(row) = &row {
            store.record_outcome(row, now).await?;
        }
        if let (Some(entry), Some(happened)) = (entry, happened) {
            store
                .settle(entry, happened, "read back by its run", now)
                .await?;
        }
        if happened == Some(true) {
            self.events
                .push(format!("Step {number} happened, as reading back showed."));
            self.step_done(index, None).await
        } else {
            self.events.push(format!(
                "Step {number} did not happen, as reading back showed; it is made again."
            ));
            self.settled(index, StepState::Pending, None, None).await
        }
    }

    async fn check(&mut self, index: usize) -> Result<Result<Check, Trouble>, Stopped> {
        let basis = self
            .run
            .basis
            .as_ref()
            .and_then(|basis| basis.get("of_kind"))
            .filter(|basis| !basis.is_null())
            .cloned();
        let Some(basis) = basis else {
            return Ok(Ok(Check::AsPlanned));
        };
        let desk = self.desk();
        let checked = self.kind.check(&desk, &basis, index).await;
        let calls = desk.put_down().await?;
        self.run.calls += calls;
        Ok(checked)
    }

    /// The world is not as it was planned from.
    async fn plan_anew(&mut self, how: String) -> Result<Turn, Stopped> {
        if self.run.replans >= MAX_REPLANS {
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
        let wait_secs = self
            .run
            .basis
            .as_ref()
            .and_then(|basis| basis.get("verify_after_secs")?.as_i64())
            .unwrap_or_default();
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

    async fn step_done(&mut self, index: usize, row: Option<&OutcomeRow>) -> Result<Turn, Stopped> {
        self.run.failures = 0;
        self.run.reason = None;
        let items = self.steps.get(index).map_or(0, |step| step.items);
        self.run.progress.done = self.run.progress.done.saturating_add(items);
        // What the world is like after this step is known from the plan.
        self.checked_at = self.checked_at.map(|_| self.now());
        self.settled(index, StepState::Done, None, row).await
    }

    /// A step came to another state; the run goes on, after a while if it failed.
    async fn settled(
        &mut self,
        index: usize,
        state: StepState,
        detail: Option<String>,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let Some(step) = self.steps.get_mut(index) else {
            return Ok(Turn::Over);
        };
        step.state = state;
        step.detail.clone_from(&detail);
        let change = [(step.number, state, detail.as_deref())];
        if state == StepState::Unknown {
            let wait = backoff_ms(self.run.failures, self.world().jitter());
            let until = self.now().plus_ms(wait);
            return self.rest(until, detail.clone(), &change, row).await;
        }
        self.store_progress(&change, row).await
    }

    fn keep_result(&mut self, number: u32, result: serde_json::Value) {
        if result.is_null() {
            return;
        }
        let kept = self.run.result.take();
        let mut object = match kept {
            Some(serde_json::Value::Object(object)) => object,
            _ => serde_json::Map::new(),
        };
        object.insert(format!("step_{number}"), result);
        self.run.result = Some(serde_json::Value::Object(object));
    }

    async fn trouble(&mut self, trouble: Trouble) -> Result<Turn, Stopped> {
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
    async fn again(
        &mut self,
        message: String,
        steps: &[(u32, StepState, Option<&str>)],
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

    async fn rest_until(
        &mut self,
        until: Timestamp,
        reason: Option<String>,
    ) -> Result<Turn, Stopped> {
        self.rest(until, reason, &[], None).await
    }

    /// Lets the run go until then, and sends its id to the queue for that time.
    async fn rest(
        &mut self,
        until: Timestamp,
        reason: Option<String>,
        steps: &[(u32, StepState, Option<&str>)],
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        let now = self.now();
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
        if let Saved::Held { .. } = saved {
            let wait_ms = until.ms_since(now).max(0);
            let secs = (wait_ms / 1000 + i64::from(wait_ms % 1000 > 0)).min(MAX_DELAY_SECS);
            let delay = u32::try_from(secs).unwrap_or_default();
            self.engine.send(&[self.run.id], delay).await;
        }
        Ok(Turn::Over)
    }

    async fn finish(
        &mut self,
        state: RunState,
        reason: String,
        steps: &[(u32, StepState, Option<&str>)],
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        self.run.state = state;
        self.run.finished_at = Some(self.now());
        self.events.push(reason.clone());
        self.run.reason = Some(reason);
        self.store_progress(steps, row).await
    }

    async fn store_progress(
        &mut self,
        steps: &[(u32, StepState, Option<&str>)],
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

    fn lease(&self, now: Timestamp) -> Option<Timestamp> {
        self.run
            .finished_at
            .is_none()
            .then(|| now.plus_ms(LEASE_MS))
    }

    async fn saved(&mut self, saved: Saved) -> Turn {
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
