//! From a delivery that is its sender's to what is stored of it, and to the answer.

use std::rc::Rc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::judge::{Verdict, judge};
use crate::audit::Event;
use crate::config::document::{Hook, Job};
use crate::gateway::{Code, Gateway, Refusal, Reply, Snapshot, sanitised};
use crate::jobs::{Platform, fixed_param, kind_of, limits_of, new_run_id, replaces_open, why_not};
use crate::model::ZoneId;
use crate::model::json::Json;
use crate::run::Trigger;
use crate::store::{Database, Delivery, DeliveryOutcome, NewRun, StoreError};

/// Most characters of a reason, which may repeat what a delivery brings.
const MAX_REASON_CHARS: usize = 500;
/// How often other numbers are taken where those taken first are somebody else's.
const TRIES: usize = 4;

/// A delivery, or a replay of one.
#[derive(Debug, Clone)]
pub struct Arrived<'a> {
    /// What it is called.
    pub id: String,
    /// What it is about.
    pub event: Option<String>,
    /// Its body, where that is JSON.
    pub body: Option<&'a Json>,
    /// The same as text, where it is to be kept.
    pub text: Option<&'a str>,
    /// The SHA-256 of the body; none of a replay.
    pub digest: Option<String>,
    /// The delivery it repeats.
    pub replay_of: Option<String>,
    /// Who asks for the run.
    pub started_by: String,
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// Judges a delivery and stores what comes of it: the delivery, its run and its audit entry, which
    /// `event` makes, in one batch. Where it was delivered before nothing is stored, and what came of
    /// it then is given, with `false`.
    ///
    /// # Errors
    /// [`StoreError`] when the store failed; it may have been stored all the same.
    pub async fn deliver(
        &self,
        snapshot: &Rc<Snapshot>,
        hook: &Hook,
        arrived: &Arrived<'_>,
        event: &dyn Fn(&Delivery) -> Event,
    ) -> Result<(Delivery, bool), StoreError> {
        let verdict = match arrived.body {
            Some(body) => judge(hook, arrived.event.as_deref(), body),
            None => Verdict::Refused("its body is not JSON, or not strictly so".to_owned()),
        };
        let (outcome, reason, run) = match verdict {
            Verdict::Test => (DeliveryOutcome::Test, None, None),
            Verdict::Filtered(why) => (DeliveryOutcome::Filtered, Some(why), None),
            Verdict::Refused(why) => (DeliveryOutcome::Refused, Some(why), None),
            Verdict::Start(params) => match self.run_of(snapshot, hook, params) {
                Ok(run) => (DeliveryOutcome::Started, None, Some(run)),
                Err(why) => (DeliveryOutcome::Refused, Some(why), None),
            },
        };
        let reason = reason.map(|why| sanitised(&why, MAX_REASON_CHARS));
        for _ in 0..TRIES {
            let run = match &run {
                None => None,
                Some((job, params)) => Some(self.new_run(job, params, arrived)?),
            };
            let mut delivery = Delivery {
                number: self.world.entry_id(self.world.now()),
                hook: hook.name.clone(),
                id: arrived.id.clone(),
                event: arrived.event.clone(),
                outcome,
                reason: reason.clone(),
                run: run.as_ref().map(|run| run.id),
                replay_of: arrived.replay_of.clone(),
            };
            let event = event(&delivery);
            delivery.number = event.id;
            let digest = arrived.digest.as_deref();
            let added = self
                .store
                .add_delivery(&delivery, digest, arrived.text, run.as_ref(), &event)
                .await;
            match added {
                Ok(()) => {
                    // Should this fail, the sweeper finds the run within a minute.
                    if let Some(id) = delivery.run
                        && let Err(error) = self.world.enqueue(&[id], 0).await
                    {
                        self.world.log(&format!("enqueue run {id}: {error}"));
                    }
                    return Ok((delivery, true));
                }
                Err(StoreError::Conflict) => {
                    let found = self.store.delivery_like(&hook.name, &arrived.id, digest);
                    if let Some(first) = found.await? {
                        return Ok((first, false));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Conflict)
    }

    /// The job of a hook and the parameters of its run, if it can be run with them. Nothing upstream is
    /// asked: zones that the configuration does not know are found out about by the run.
    fn run_of<'s>(
        &self,
        snapshot: &'s Rc<Snapshot>,
        hook: &Hook,
        mapped: Map<String, Value>,
    ) -> Result<(&'s Job, Map<String, Value>), String> {
        let config = &snapshot.config;
        let job = config.document.jobs.iter().find(|job| job.name == hook.job);
        let job = job.ok_or_else(|| format!("there is no job {}", hook.job))?;
        if let Some((name, why)) = fixed_param(job, &mapped) {
            return Err(format!("the field `params.{name}` does not fit: {why}"));
        }
        let mut params = job.params.clone();
        params.extend(mapped);
        let kind = kind_of(&job.kind, &params).map_err(|error| {
            let dot = if error.field.is_empty() { "" } else { "." };
            format!(
                "the field `params{dot}{}` does not fit: {}",
                error.field, error.message
            )
        })?;
        let Some((_, kind)) = kind else {
            return Err(format!("the kind {} is not built yet", job.kind));
        };
        let zones = kind.zones().into_iter();
        let zones = zones.filter_map(|text| config.resolution.zones.get(text));
        let zones: Vec<(ZoneId, &str)> = zones.map(|zone| (zone.id, zone.name.as_str())).collect();
        let now = self.world.now();
        match why_not(self, snapshot, &job.run_as, kind.as_ref(), &zones, now) {
            None => Ok((job, params)),
            Some(why) => Err(why.trim_end_matches('.').to_owned()),
        }
    }

    fn new_run(
        &self,
        job: &Job,
        params: &Map<String, Value>,
        arrived: &Arrived<'_>,
    ) -> Result<NewRun, StoreError> {
        let no_chance = || StoreError::Unavailable("there is no randomness".to_owned());
        Ok(NewRun {
            id: new_run_id(self.world).ok_or_else(no_chance)?,
            job: job.name.clone(),
            kind: job.kind.clone(),
            trigger: Trigger::Hook,
            slot: None,
            run_as: job.run_as.clone(),
            started_by: Some(arrived.started_by.clone()),
            params: params.clone(),
            dry_run: false,
            limits: limits_of(job),
            now: self.world.now(),
            skipped: None,
            cancels_others: replaces_open(job),
        })
    }
}

/// The answer to a delivery that is stored: 202 where it started a run, 422 where it could not, 200
/// otherwise, and for every delivery that came before.
#[must_use]
pub fn answer<R>(delivery: &Delivery, is_first: bool, origin: &str) -> Reply<R> {
    let result = json!({
        "delivery": delivery.id,
        "outcome": delivery.outcome.as_str(),
        "reason": delivery.reason,
        "run": delivery.run,
        "replay_of": delivery.replay_of,
        "duplicate": !is_first,
    });
    if is_first && delivery.outcome == DeliveryOutcome::Refused {
        let why = delivery.reason.as_deref().unwrap_or_default();
        let message = format!("Nothing was started: {why}.");
        let refusal = Refusal::new(Code::DeliveryRefused, message);
        return Reply::json(refusal.status(), refusal.body_with(origin, result));
    }
    let status = match delivery.outcome {
        DeliveryOutcome::Started if is_first => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    let body = json!({"success": true, "errors": [], "messages": [], "result": result});
    Reply::json(status, body.to_string())
}
