//! One step: drawn from its bucket, sent through the gate, its outcome stored; and what becomes of a
//! step that was cut off.

use std::rc::Rc;

use http::StatusCode;

use super::super::hands::{BLOCK_MS, blob_of_digest, credential_of};
use super::super::kind::{Check, Trouble};
use super::super::pace::{pause_ms, rate_of};
use super::super::platform::Platform;
use super::turn::{Held, Turn};
use super::{LEASE_MS, Stopped};
use crate::audit::OutcomeRow;
use crate::catalog::Method;
use crate::gateway::{Acting, ActingBody, Carried};
use crate::run::{ABANDONED_STEP_MS, RunState, Stage, StepState, Work, backoff_ms};
use crate::store::{Database, Drawn, Hold};
use crate::upstream::{Envelope, Outcome, read_rate_limits};

/// The longest that Cloudflare may make a run wait: a day.
const MAX_BLOCK_MS: i64 = 86_400_000;
/// A wait up to this long is spent in the invocation; a longer one in the queue.
const SHORT_WAIT_MS: i64 = 2_000;

/// What came of a call that was sent.
struct Answered {
    outcome: Outcome,
    status: StatusCode,
    body: Option<Vec<u8>>,
    /// The header `Ratelimit`.
    limits: Option<String>,
    row: Option<OutcomeRow>,
}

impl<D: Database, P: Platform> Held<'_, '_, D, P> {
    pub(super) async fn carry_out(&mut self, number: u32) -> Result<Turn, Stopped> {
        let Some(index) = self.steps.iter().position(|step| step.number == number) else {
            return Ok(Turn::Over);
        };
        let now = self.now();
        if self.run.stage == Stage::Apply && !self.is_fresh(now) {
            match self.check(index).await? {
                Ok(Check::AsPlanned | Check::Repeatable) => self.checked_at = Some(self.now()),
                Ok(Check::StepHappened) => {
                    let drift = "a step seems to have been carried out by somebody else";
                    return self.plan_anew(drift.to_owned()).await;
                }
                Ok(Check::Drifted(how)) => return self.plan_anew(how).await,
                Err(trouble) => return self.trouble(trouble).await,
            }
        }
        #[cfg(feature = "faults")]
        if self.world().is_planted("skip_apply")
            || (self.run.stage == Stage::Verify && self.world().is_planted("skip_verify"))
        {
            return self.step_done(index, None).await;
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
                let body = body.as_deref().map(ActingBody::Json);
                self.call(index, method, &target, body, bucket.as_deref())
                    .await
            }
            Work::Upload { target, blob } => {
                let read = {
                    let desk = self.desk();
                    blob_of_digest(&desk, &blob).await
                };
                match read {
                    Ok(form) => {
                        let body = Some(ActingBody::Form(Rc::new(form)));
                        self.call(index, Method::Post, &target, body, None).await
                    }
                    Err(trouble) => self.trouble(trouble).await,
                }
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
        body: Option<ActingBody<'_>>,
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
        match carried {
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
                self.finish(state, refusal.message.clone(), &change, None)
                    .await
            }
            Carried::Unsent { message, row } => {
                let change = [(number, StepState::Pending, None)];
                self.again(message, &change, row.as_ref()).await
            }
            Carried::Ended {
                outcome,
                status,
                body,
                response,
                row,
                ..
            } => {
                let limits = response.and_then(|response| self.world().rate_limit(&response));
                let answer = Answered {
                    outcome,
                    status,
                    body,
                    limits,
                    row,
                };
                self.answered(index, bucket, answer).await
            }
        }
    }

    /// The call of a step was sent, and this came of it.
    async fn answered(
        &mut self,
        index: usize,
        bucket: Option<&str>,
        answer: Answered,
    ) -> Result<Turn, Stopped> {
        let Answered {
            outcome,
            status,
            body,
            limits,
            row,
        } = answer;
        let Some(number) = self.steps.get(index).map(|step| step.number) else {
            return Ok(Turn::Over);
        };
        if let Some(step) = self.steps.get_mut(index) {
            step.attempts += 1;
            step.entry = row.as_ref().map(|row| row.id);
        }
        self.run.calls += row.as_ref().map_or(1, |row| row.upstream_calls);
        let said = || {
            let envelope = body.as_deref().and_then(Envelope::parse);
            let errors = envelope.map_or_else(String::new, |envelope| envelope.describe_errors());
            format!("Cloudflare answered {}: {errors}", status.as_u16())
        };
        if let Some(bucket) = bucket
            && let Some(header) = limits
            && let Some(ms) = pause_ms(&read_rate_limits(&header))
        {
            self.block(bucket, ms).await;
        }
        match outcome {
            Outcome::Confirmed => self.step_done(index, row.as_ref()).await,
            Outcome::Throttled { retry_after_secs } => {
                let ms = retry_after_secs.map_or(BLOCK_MS, |secs| i64::from(secs) * 1000);
                let ms = ms.min(MAX_BLOCK_MS);
                if let Some(bucket) = bucket {
                    self.block(bucket, ms).await;
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

    /// Stops a bucket, at most for a day. Should that fail, the next call is told the same; what came of
    /// this one is stored in any case.
    async fn block(&self, bucket: &str, ms: i64) {
        let now = self.now();
        let until = now.plus_ms(ms.min(MAX_BLOCK_MS));
        let blocked = self.engine.gateway.store.block_bucket(bucket, until, now);
        if let Err(error) = blocked.await {
            self.world().log(&format!("block {bucket}: {error}"));
        }
    }

    /// A step that was begun and may have happened.
    pub(super) async fn resolve(&mut self, number: u32) -> Result<Turn, Stopped> {
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
        // Being cut off is a failure like any other; being throttled is none, and counts as an attempt only.
        let failures = self.run.failures + u32::from(state == StepState::Sent);
        if failures >= self.run.limits.max_attempts {
            let reason = format!(
                "Could not confirm whether step {number} happened, after {attempts} attempts."
            );
            let change = [(number, StepState::Unknown, None)];
            return self
                .finish(RunState::Unknown, reason, &change, row.as_ref())
                .await;
        }
        if self.info.repeats_unknown {
            return self.repeat(index, failures, row.as_ref()).await;
        }
        // Cloudflare may still be at work on it.
        let settled_at = entry.map_or(now, |entry| entry.time().plus_ms(ABANDONED_STEP_MS));
        if now < settled_at {
            let reason = format!("Waiting until step {number} can be looked for.");
            return self.rest_until(settled_at, Some(reason)).await;
        }
        let happened = match self.check(index).await? {
            Ok(Check::AsPlanned) => Some(false),
            Ok(Check::StepHappened) => Some(true),
            Ok(Check::Repeatable) => return self.repeat(index, failures, row.as_ref()).await,
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
            self.run.failures = failures;
            self.events.push(format!(
                "Step {number} did not happen, as reading back showed; it is made again."
            ));
            self.settled(index, StepState::Pending, None, None).await
        }
    }

    /// Makes a step again that may have happened.
    async fn repeat(
        &mut self,
        index: usize,
        failures: u32,
        row: Option<&OutcomeRow>,
    ) -> Result<Turn, Stopped> {
        self.run.failures = failures;
        let number = self.steps.get(index).map_or(0, |step| step.number);
        self.events.push(format!(
            "Step {number} may have happened; it is harmless to repeat and is made again."
        ));
        self.settled(index, StepState::Pending, None, row).await
    }

    async fn check(&mut self, index: usize) -> Result<Result<Check, Trouble>, Stopped> {
        let Some(basis) = self.run.of_kind() else {
            return Ok(Ok(Check::AsPlanned));
        };
        let desk = self.desk();
        let checked = self.kind.check(&desk, basis, index).await;
        let calls = desk.put_down().await?;
        self.run.calls += calls;
        Ok(checked)
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
}
