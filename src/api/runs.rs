//! `runs`: list, look at, cancel, retry.

use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::envelope::{listing, page_info, success};
use super::serve::{Admitted, change_refusal};
use crate::audit::Action;
use crate::gateway::{Code, Gateway, Refusal, Reply};
use crate::jobs::Platform;
use crate::model::{RunId, Timestamp};
use crate::run::{Run, RunState, Step, Work};
use crate::store::{Database, DeliveryOutcome, Wish};

/// Items on a page unless `limit` says otherwise, and at the most.
const DEFAULT_LIMIT: u32 = 50;
pub(super) const MAX_LIMIT: u32 = 500;
/// Steps whose work is shown on one page: a body may have a megabyte.
const MAX_STEPS: usize = 20;

/// A run as the API shows it.
pub(super) fn shown(run: &Run, now: Timestamp) -> Value {
    let waits = run.finished_at.is_none() && run.wake_at > now;
    json!({
        "id": run.id,
        "job": run.job,
        "kind": run.kind,
        "trigger": run.trigger.as_str(),
        "slot": run.slot,
        "run_as": run.run_as,
        "started_by": run.started_by,
        "dry_run": run.dry_run,
        "state": run.state.as_str(),
        "stage": run.stage.as_str(),
        "reason": run.reason,
        "progress": {"done": run.progress.done, "total": run.progress.total},
        "calls": run.calls,
        "failures": run.failures,
        "plans": run.replans + 1,
        "cancel_requested": run.cancel_requested,
        "limits": {
            "max_attempts": run.limits.max_attempts,
            "max_calls": run.limits.max_calls,
            "timeout_secs": run.limits.timeout_secs,
            "keep_days": run.limits.keep_days,
        },
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "waits_until": waits.then_some(run.wake_at),
        "result": run.result,
    })
}

fn shown_step(step: &Step) -> Value {
    json!({
        "number": step.number,
        "stage": step.stage.as_str(),
        "state": step.state.as_str(),
        "items": step.items,
        "summary": step.summary,
        "attempts": step.attempts,
        "audit": step.entry.map(|entry| entry.to_string()),
        "detail": step.detail,
    })
}

fn shown_work(work: Work) -> Value {
    match work {
        Work::Own(body) => json!({"method": null, "path": null, "body": body}),
        Work::Upload { target, blob } => {
            let path = format!("{}{target}", crate::gateway::PREFIX);
            json!({"method": "POST", "path": path, "body": {"blob": blob}})
        }
        Work::Call {
            method,
            target,
            body,
            ..
        } => {
            let body: Option<Value> = body.and_then(|body| serde_json::from_str(&body).ok());
            let path = format!("{}{target}", crate::gateway::PREFIX);
            json!({"method": method.as_str(), "path": path, "body": body})
        }
    }
}

/// The query parameters of a list.
pub(super) struct Query<'q> {
    job: Option<std::borrow::Cow<'q, str>>,
    state: Option<RunState>,
    pub(super) outcome: Option<DeliveryOutcome>,
    pub(super) limit: u32,
    pub(super) cursor: Option<std::borrow::Cow<'q, str>>,
}

impl<'q> Query<'q> {
    /// Reads those of `allowed`; any other, or one that stands twice, is refused.
    pub(super) fn read(
        query: Option<&'q str>,
        allowed: &[&str],
        max: u32,
    ) -> Result<Self, Refusal> {
        let wrong = |name: &str, takes: &str| {
            Refusal::new(
                Code::InvalidParams,
                format!("The query parameter `{name}` takes {takes}."),
            )
        };
        let mut read = Self {
            job: None,
            state: None,
            outcome: None,
            limit: DEFAULT_LIMIT.min(max),
            cursor: None,
        };
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !allowed.contains(&name.as_ref()) {
                let message = format!(
                    "This list has no parameter `{}`; it has {}.",
                    crate::gateway::sanitised(&name, 40),
                    allowed.join(", ")
                );
                return Err(Refusal::new(Code::InvalidParams, message));
            }
            if seen.contains(&name) {
                return Err(wrong(&name, "one value"));
            }
            match name.as_ref() {
                "job" => read.job = Some(value),
                "state" => {
                    let states =
                        "queued, running, succeeded, failed, cancelled, needs_approval or unknown";
                    let state = RunState::named(&value).ok_or_else(|| wrong("state", states))?;
                    read.state = Some(state);
                }
                "outcome" => {
                    let outcome = DeliveryOutcome::named(&value);
                    let outcomes = "started, filtered, test or refused";
                    read.outcome = Some(outcome.ok_or_else(|| wrong("outcome", outcomes))?);
                }
                "cursor" => read.cursor = Some(value),
                _ => {
                    read.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=max).contains(limit))
                        .ok_or_else(|| wrong("limit", &format!("a number from 1 to {max}")))?;
                }
            }
            seen.push(name);
        }
        Ok(read)
    }
}

pub(super) fn wrong_cursor() -> Refusal {
    Refusal::new(
        Code::InvalidParams,
        "The query parameter `cursor` takes the cursor of the page before.",
    )
}

pub(super) fn no_run() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such run.")
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `GET /runs?job=&state=&limit=&cursor=`, newest first; those of one kind for `GET /deploys`.
    pub(super) async fn list_runs(
        &self,
        call: &Call<'_>,
        kind: Option<&str>,
    ) -> Result<Reply<P::Response>, Refusal> {
        let query = Query::read(call.query, &["job", "state", "limit", "cursor"], MAX_LIMIT)?;
        let below = match &query.cursor {
            None => None,
            Some(cursor) => {
                let parts = cursor.split_once('-').ok_or_else(wrong_cursor)?;
                let at: i64 = parts.0.parse().map_err(|_| wrong_cursor())?;
                let id: RunId = parts.1.parse().map_err(|_| wrong_cursor())?;
                Some((Timestamp::from_unix_ms(at), id))
            }
        };
        let now = self.world.now();
        let failed = |error| self.store_failed("list runs", &error);
        self.view.current(self.store, now).await.map_err(failed)?;
        let runs = self
            .store
            .runs(kind, query.job.as_deref(), query.state, below, query.limit)
            .await
            .map_err(failed)?;
        let is_full = runs.len() >= query.limit as usize;
        let cursor = runs
            .last()
            .filter(|_| is_full)
            .map(|run| format!("{}-{}", run.created_at.unix_ms(), run.id));
        let info = page_info(runs.len(), cursor.as_deref());
        let shown = runs.iter().map(|run| shown(run, now)).collect();
        listing(
            StatusCode::OK,
            &Value::Array(shown).to_string(),
            Some(info),
            &[],
        )
    }

    /// `GET /runs/{id}`: the run with its parameters and the steps of its plan.
    pub(super) async fn read_run(&self, id: &str) -> Result<Reply<P::Response>, Refusal> {
        let (run, steps) = self.found_run(id).await?;
        let mut shown = shown(&run, self.world.now());
        if let Some(object) = shown.as_object_mut() {
            object.insert("params".to_owned(), Value::Object(run.params));
            let steps = steps.iter().map(shown_step).collect();
            object.insert("steps".to_owned(), Value::Array(steps));
        }
        success(StatusCode::OK, shown, &[])
    }

    /// `GET /runs/{id}/steps?limit=&cursor=`: the steps with the exact calls they make.
    pub(super) async fn read_steps(
        &self,
        call: &Call<'_>,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let query = Query::read(call.query, &["limit", "cursor"], 20)?;
        let after: u32 = match &query.cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| wrong_cursor())?,
        };
        let (run, steps) = self.found_run(id).await?;
        let wanted = (query.limit as usize).min(MAX_STEPS);
        let mut shown: Vec<Value> = Vec::new();
        let mut last = None;
        for step in steps.into_iter().filter(|step| step.number > after) {
            if shown.len() == wanted {
                break;
            }
            let work = self.store.work(run.id, step.number).await;
            let work = work.map_err(|error| self.store_failed("read a step", &error))?;
            let mut item = shown_step(&step);
            if let Some(object) = item.as_object_mut() {
                object.insert("work".to_owned(), shown_work(work));
            }
            shown.push(item);
            last = Some(step.number);
        }
        let is_full = shown.len() == wanted;
        let cursor = last.filter(|_| is_full).map(|number| number.to_string());
        let info = page_info(shown.len(), cursor.as_deref());
        listing(
            StatusCode::OK,
            &Value::Array(shown).to_string(),
            Some(info),
            &[],
        )
    }

    /// `GET /runs/{id}/events?limit=&cursor=`, oldest first.
    pub(super) async fn read_events(
        &self,
        call: &Call<'_>,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let query = Query::read(call.query, &["limit", "cursor"], MAX_LIMIT)?;
        let after: i64 = match &query.cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| wrong_cursor())?,
        };
        let (run, _) = self.found_run(id).await?;
        let events = self.store.run_events(run.id, after, query.limit).await;
        let events = events.map_err(|error| self.store_failed("read events", &error))?;
        let is_full = events.len() >= query.limit as usize;
        let cursor = events
            .last()
            .filter(|_| is_full)
            .map(|event| event.id.to_string());
        let info = page_info(events.len(), cursor.as_deref());
        let shown = events
            .iter()
            .map(|event| json!({"id": event.id, "time": event.time, "message": event.message}));
        let shown = Value::Array(shown.collect());
        listing(StatusCode::OK, &shown.to_string(), Some(info), &[])
    }

    /// `POST /runs/{id}/cancel`: ends a run before its next step. One that is at its end stays as it
    /// is.
    pub(super) async fn cancel_run(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let (run, _) = self.found_run(id).await?;
        if run.state.is_final() {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!(
                    "The run is at its end already: it {}.",
                    described(run.state)
                ),
            ));
        }
        let action = Action::new(format!("cancel run {} of job {}", run.id, run.job));
        let mut event = self.change_event(call, "zonekeeper-run-cancel", admitted, action);
        event.run = Some(run.id);
        self.admit_again(call).await?;
        let message = format!("{} asked to cancel it.", who(admitted));
        let now = self.world.now();
        self.store
            .wish(run.id, Wish::Cancel, &message, &event, now)
            .await
            .map_err(|error| change_refusal(&error))?;
        self.hasten(run.id).await;
        self.read_run(id).await
    }

    /// `POST /runs/{id}/retry`: lets a run that ended otherwise than well go on from the step it
    /// ended at.
    pub(super) async fn retry_run(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let (run, _) = self.found_run(id).await?;
        if !run.state.can_be_retried() {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!("The run cannot be retried: it {}.", described(run.state)),
            ));
        }
        let now = self.world.now();
        let failed = |error| self.store_failed("retry a run", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let jobs = &snapshot.config.document.jobs;
        if !jobs
            .iter()
            .any(|job| job.name == run.job && job.run_as == run.run_as)
        {
            let message = format!(
                "The run cannot be retried: the configuration has no job {} that runs as {} any more.",
                run.job, run.run_as
            );
            return Err(Refusal::new(Code::InvalidParams, message));
        }
        let action = Action::new(format!("retry run {} of job {}", run.id, run.job));
        let mut event = self.change_event(call, "zonekeeper-run-retry", admitted, action);
        event.run = Some(run.id);
        self.admit_again(call).await?;
        let message = format!("{} asked to retry it.", who(admitted));
        let now = self.world.now();
        self.store
            .reopen(run.id, &message, &event, now)
            .await
            .map_err(|error| change_refusal(&error))?;
        self.hasten(run.id).await;
        self.read_run(id).await
    }

    /// Sends a run to the queue; should that fail, the sweeper finds it within a minute.
    pub(super) async fn hasten(&self, id: RunId) {
        if let Err(error) = self.world.enqueue(&[id], 0).await {
            self.world.log(&format!("enqueue run {id}: {error}"));
        }
    }

    pub(super) async fn found_run(&self, id: &str) -> Result<(Run, Vec<Step>), Refusal> {
        let id: RunId = id.parse().map_err(|_| no_run())?;
        let now = self.world.now();
        let failed = |error| self.store_failed("read a run", &error);
        self.view.current(self.store, now).await.map_err(failed)?;
        let found = self.store.run(id).await.map_err(failed)?;
        found.ok_or_else(no_run)
    }
}

fn who(admitted: &Admitted) -> &str {
    admitted.who.principal.as_deref().unwrap_or("somebody")
}

const fn described(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "has not begun",
        RunState::Running => "is running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "was cancelled",
        RunState::NeedsApproval => "waits for an approval",
        RunState::Unknown => "ended without knowing what became of a step",
    }
}
