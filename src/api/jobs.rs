//! `jobs`: what there is, when it runs next, pause and resume; and starting a run.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::envelope::{read_body, success};
use super::runs::shown;
use super::serve::{Admitted, change_refusal, store_refusal};
use crate::audit::Action;
use crate::config::document::Job;
use crate::cron::Schedule;
use crate::gateway::{Code, Gateway, Refusal, Reply};
use crate::hooks::secret_alarms;
use crate::jobs::{
    Alarm, ParamsError, Platform, alarms, fixed_param, kind_of, limits_of, new_run_id,
    replaces_open, why_not,
};
use crate::model::typed::object;
use crate::model::{RunId, ZoneId};
use crate::run::Trigger;
use crate::store::{Database, IdempotencyKey, NewRun, StoreError};

/// Bytes of a request that starts a run at the most.
const MAX_BODY_BYTES: usize = 1 << 20;

object! {
    #[derive(Debug, Default)]
    struct Asked {
        /// Take the place of the job's parameters of the same names.
        params: Map<String, Value> = default,
        /// Whether the run ends with its plan.
        dry_run: bool = default,
    }
}

/// A run that is wanted.
pub(super) struct Wanted<'w> {
    /// The job.
    pub(super) job: &'w str,
    /// Take the place of the job's parameters of the same names; `null` takes one away.
    pub(super) params: Map<String, Value>,
    /// What the route itself sets, whatever the job's configuration says.
    pub(super) own: Map<String, Value>,
    /// Whether it ends with its plan.
    pub(super) dry_run: bool,
    /// What two calls with one idempotency key must have in common.
    pub(super) body: &'w str,
    /// What is on record as the operation.
    pub(super) operation: &'static str,
    /// What is done to the run, for the audit log.
    pub(super) verb: &'static str,
}

fn started(id: RunId, state: &str) -> Value {
    json!({"id": id, "state": state})
}

fn shown_alarm(alarm: &Alarm) -> Value {
    json!({
        "kind": alarm.kind,
        "job": alarm.job,
        "run": alarm.run,
        "since": alarm.since,
        "message": alarm.message,
    })
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `GET /jobs`, or `GET /jobs/{name}` where `name` is given.
    pub(super) async fn list_jobs(
        &self,
        name: Option<&str>,
    ) -> Result<Reply<P::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("list jobs", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let state = self.store.begin_tick().await.map_err(failed)?;
        let document = &snapshot.config.document;
        let mut alarms = alarms(self.store, document, now).await.map_err(failed)?;
        alarms.extend(secret_alarms(document, self.world, now));
        let is_asked = |job: &&Job| name.is_none_or(|name| name == job.name);
        let jobs: Vec<&Job> = document.jobs.iter().filter(is_asked).collect();
        let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
        let last_runs = self.store.last_runs(&names).await.map_err(failed)?;
        let mut items = Vec::new();
        for job in jobs {
            let row = state.jobs.iter().find(|row| row.name == job.name);
            let next_run_at = job.schedule.as_deref().and_then(|expression| {
                let schedule = Schedule::parse(expression, job.timezone.as_deref()).ok()?;
                schedule.next_after(self.world, now)
            });
            let last = last_runs.iter().find(|run| run.job == job.name);
            let is_of_job = |alarm: &&Alarm| alarm.job.as_deref() == Some(&job.name);
            let open = state.open.iter().find(|open| open.job == job.name);
            let facts = json!({
                "is_built": crate::jobs::kind_named(&job.kind).is_some(),
                "paused_at": row.and_then(|row| row.paused_at),
                "paused_by": row.and_then(|row| row.paused_by.clone()),
                "next_run_at": next_run_at,
                "last_run": last.map(|run| shown(run, now)),
                "open_runs": open.map_or(0, |open| open.count),
                "missed": row.map_or(0, |row| row.missed),
                "alarms": alarms.iter().filter(is_of_job).map(shown_alarm).collect::<Vec<_>>(),
            });
            // The job as the configuration has it, and what is known of it besides.
            let mut item = job.to_json();
            if let (Some(item), Value::Object(facts)) = (item.as_object_mut(), facts) {
                item.extend(facts);
            }
            items.push(item);
        }
        match name {
            None => success(StatusCode::OK, Value::Array(items), &[]),
            Some(name) => match items.pop() {
                Some(item) => success(StatusCode::OK, item, &[]),
                None => Err(no_job(name)),
            },
        }
    }

    /// `GET /alarms`
    pub(super) async fn list_alarms(&self) -> Result<Reply<P::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("list alarms", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let document = &snapshot.config.document;
        let mut found = alarms(self.store, document, now).await.map_err(failed)?;
        found.extend(secret_alarms(document, self.world, now));
        let shown = found.iter().map(shown_alarm).collect();
        success(StatusCode::OK, Value::Array(shown), &[])
    }

    /// `POST /jobs/{name}/pause` and `…/resume`. A paused job's firings are neither run nor owed;
    /// its open runs wait.
    pub(super) async fn pause_job(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
        paused: bool,
    ) -> Result<Reply<P::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("pause a job", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let document = &snapshot.config.document;
        if !document.jobs.iter().any(|job| job.name == name) {
            return Err(no_job(name));
        }
        let begun = self.store.begin_tick().await.map_err(failed)?;
        if !begun.jobs.iter().any(|row| row.name == name) {
            let message = format!(
                "The scheduler has not seen the job {name} yet; it looks once a minute. Try again."
            );
            return Err(Refusal::new(Code::StoreUnavailable, message));
        }
        let (verb, operation) = if paused {
            ("pause", "zonekeeper-job-pause")
        } else {
            ("resume", "zonekeeper-job-resume")
        };
        let action = Action::new(format!("{verb} job {name}"));
        let event = self.change_event(call, operation, admitted, action);
        self.admit_again(call).await?;
        let by = admitted.who.principal.as_deref().unwrap_or_default();
        self.store
            .set_paused(name, paused.then_some(by), &event, now)
            .await
            .map_err(|error| {
                self.world.log(&format!("pause a job: {error}"));
                change_refusal(&error)
            })?;
        self.list_jobs(Some(name)).await
    }

    /// `POST /jobs/{name}/runs` `{params?, dry_run?}` → 202 `{id, state}`.
    ///
    /// 1. The job must be there (404) and its kind built (501).
    /// 2. The parameters must fit the kind's, every zone they name must exist, and the job's
    ///    principal must be allowed what it would do: 400 and 403, and nothing is created.
    /// 3. An `Idempotency-Key` that the caller used before with the same body gives the same run;
    ///    with another body 422.
    /// 4. The run is stored together with its audit event, then sent to the queue.
    pub(super) async fn start_run(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let bytes = self.api_body(call, MAX_BODY_BYTES).await?;
        let Asked { params, dry_run } = read_body(&bytes)?;
        let body = String::from_utf8_lossy(&bytes);
        let wanted = Wanted {
            job: name,
            params,
            own: Map::new(),
            dry_run,
            body: &body,
            operation: "zonekeeper-run-start",
            verb: "start",
        };
        self.begin_run(call, admitted, wanted).await
    }

    /// Steps 1 to 4 of whatever starts a run.
    pub(super) async fn begin_run(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        wanted: Wanted<'_>,
    ) -> Result<Reply<P::Response>, Refusal> {
        let name = wanted.job;
        let now = self.world.now();
        let failed = |error| self.store_failed("start a run", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let jobs = &snapshot.config.document.jobs;
        let job = jobs.iter().find(|job| job.name == name);
        let job = job.ok_or_else(|| no_job(name))?; // (1)
        if let Some((name, message)) = fixed_param(job, &wanted.params) {
            return Err(params_refusal(&ParamsError {
                field: name.to_owned(),
                message: message.to_owned(),
            }));
        }
        let mut params = job.params.clone();
        params.extend(wanted.params);
        params.extend(wanted.own);
        params.retain(|_, value| !value.is_null());
        let (_, kind) = kind_of(&job.kind, &params)
            .map_err(|error| params_refusal(&error))? // (2)
            .ok_or_else(|| {
                Refusal::new(
                    Code::NotBuilt,
                    format!("The kind {} of the job {name} is not built yet.", job.kind),
                )
            })?;
        let zones = self.zones_of_run(&snapshot, &kind.zones()).await?;
        let known: Vec<(ZoneId, &str)> = zones
            .iter()
            .map(|(id, name)| (*id, name.as_str()))
            .collect();
        if let Some(why) = why_not(self, &snapshot, &job.run_as, kind.as_ref(), &known, now) {
            let message = format!("Nothing was started: {why}");
            return Err(Refusal::new(Code::Denied, message));
        }
        let owner = admitted.who.principal.clone().unwrap_or_default();
        let digest = self
            .settings
            .pepper
            .digest(&format!("{name}\n{}", wanted.body));
        let digest = digest.to_hex();
        let key = call.inbound.idempotency_key.map(|key| IdempotencyKey {
            owner: &owner,
            key,
            digest: &digest,
        });
        if let Some(key) = key
            && let Some(reply) = self.run_of_key(key).await?
        {
            return reply; // (3)
        }
        let id = new_run_id(self.world).ok_or_else(|| {
            Refusal::new(Code::StoreUnavailable, "There is no randomness to be had.")
        })?;
        let run = NewRun {
            id,
            job: job.name.clone(),
            kind: job.kind.clone(),
            trigger: Trigger::Api,
            slot: None,
            run_as: job.run_as.clone(),
            started_by: Some(owner.clone()),
            params,
            dry_run: wanted.dry_run,
            limits: limits_of(job),
            now,
            skipped: None,
            cancels_others: replaces_open(job) && !wanted.dry_run,
        };
        let kind = if wanted.dry_run { "a dry run" } else { "a run" };
        let action = Action::new(format!("{} {kind} of job {name}", wanted.verb));
        let mut event = self.change_event(call, wanted.operation, admitted, action);
        event.run = Some(id);
        event.status = StatusCode::ACCEPTED.as_u16();
        self.admit_again(call).await?;
        match self.store.create_run(&run, key, &event).await {
            Ok(()) => {}
            // Two calls with one key at once: the other one came first.
            Err(StoreError::Conflict) if key.is_some() => {
                if let Some(key) = key
                    && let Some(reply) = self.run_of_key(key).await?
                {
                    return reply;
                }
                return Err(change_refusal(&StoreError::Conflict));
            }
            Err(error) => {
                self.world.log(&format!("start a run: {error}"));
                return Err(change_refusal(&error));
            }
        }
        // Should this fail, the sweeper finds the run within a minute.
        if let Err(error) = self.world.enqueue(&[id], 0).await {
            self.world.log(&format!("enqueue run {id}: {error}"));
        }
        success(StatusCode::ACCEPTED, started(id, "queued"), &[]) // (4)
    }

    /// The answer to a key that was used before.
    async fn run_of_key(
        &self,
        key: IdempotencyKey<'_>,
    ) -> Result<Option<Result<Reply<P::Response>, Refusal>>, Refusal> {
        const KEPT_MS: i64 = 24 * 3_600_000;
        let failed = |error| self.store_failed("look up an idempotency key", &error);
        let found = self.store.keyed_run(key.owner, key.key).await;
        let Some(found) = found.map_err(failed)? else {
            return Ok(None);
        };
        let run = self.store.run(found.run).await.map_err(failed)?;
        let Some((run, _)) = run else {
            return Ok(None);
        };
        if self.world.now().ms_since(run.created_at) >= KEPT_MS {
            return Ok(None);
        }
        if found.digest != key.digest {
            let message =
                "The Idempotency-Key was used before with another body, so nothing was started.";
            return Ok(Some(Err(Refusal::new(Code::IdempotencyMismatch, message))));
        }
        let started = started(run.id, run.state.as_str());
        Ok(Some(success(StatusCode::ACCEPTED, started, &[])))
    }

    pub(super) fn store_failed(&self, what: &str, error: &StoreError) -> Refusal {
        self.world.log(&format!("{what}: {error}"));
        store_refusal(error)
    }
}

pub(super) fn no_job(name: &str) -> Refusal {
    Refusal::new(
        Code::NotFound,
        format!(
            "There is no job {:?} in the configuration in force.",
            crate::gateway::sanitised(name, 64)
        ),
    )
}

fn params_refusal(error: &ParamsError) -> Refusal {
    let ParamsError { field, message } = error;
    let dot = if field.is_empty() { "" } else { "." };
    Refusal::new(
        Code::InvalidParams,
        format!("The field `params{dot}{field}` does not fit: {message}. Nothing was started."),
    )
}
