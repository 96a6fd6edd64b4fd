//! Whether a job can do what it is told to, found out before anything of it runs.

use std::rc::Rc;

use super::kind::{FIXED, JobKind, OWN, ParamsError, ReadKind, Sample, kind_named};
use super::outbound::why_not_fetch;
use crate::catalog::Method;
use crate::config::document::{Document, Job};
use crate::config::{Problem, Resolution, Source};
use crate::cron::{Schedule, TimeZones};
use crate::gateway::{Gateway, PREFIX, Question, Snapshot, World};
use crate::model::{Timestamp, ZoneId};
use crate::store::Database;

/// What was found out about the jobs of a document.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What will surprise.
    pub messages: Vec<String>,
}

/// Reads a job's parameters as those of its kind; `None` when the kind is not built yet.
///
/// # Errors
/// [`ParamsError`] when they do not fit.
pub fn kind_of(
    kind: &str,
    params: &serde_json::Map<String, serde_json::Value>,
) -> Result<Option<ReadKind>, ParamsError> {
    let Some(info) = kind_named(kind) else {
        return Ok(None);
    };
    (info.parse)(params).map(|kind| Some((info, kind)))
}

/// The zones of `texts` that stand for one zone, as `resolution` knows them.
fn named_zones<'r>(kind: &dyn JobKind, resolution: &'r Resolution) -> Vec<(ZoneId, &'r str)> {
    kind.zones()
        .into_iter()
        .filter_map(|text| resolution.zones.get(text))
        .map(|zone| (zone.id, zone.name.as_str()))
        .collect()
}

/// Why a principal may not do what a kind would do in these zones, in a sentence; `None`: it may.
pub fn why_not<D: Database, W: World>(
    gateway: &Gateway<'_, D, W>,
    snapshot: &Rc<Snapshot>,
    run_as: &str,
    kind: &dyn JobKind,
    zones: &[(ZoneId, &str)],
    now: Timestamp,
) -> Option<String> {
    for (zone, name) in zones {
        // Without any grant on a zone a run would not even find it.
        let find = Sample {
            method: Method::Get,
            path: format!("/zones/{zone}"),
            body: None,
        };
        for sample in std::iter::once(find).chain(kind.samples(*zone, name)) {
            let why = why_not_call(gateway, snapshot, run_as, &sample, now);
            if why.is_some() {
                return why;
            }
        }
    }
    None
}

/// Why a principal may not make a call, in a sentence; `None`: it may.
pub(super) fn why_not_call<D: Database, W: World>(
    gateway: &Gateway<'_, D, W>,
    snapshot: &Rc<Snapshot>,
    run_as: &str,
    sample: &Sample,
    now: Timestamp,
) -> Option<String> {
    let path = format!("{PREFIX}{}", sample.path);
    let question = Question {
        principal: run_as,
        method: sample.method.as_str(),
        path: &path,
        query: None,
        body: sample.body.as_deref(),
        source_ip: None,
        at: now,
    };
    match gateway.preview_under(Rc::clone(snapshot), &question) {
        Ok(preview) if preview.decision == "allow" || preview.decision == "approve" => None,
        Ok(preview) => Some(preview.reason),
        Err(refusal) => Some(refusal.message),
    }
}

/// Checks every job, and what hooks bring to it, of a document that is about to be applied, as
/// `snapshot` has it compiled.
pub fn check_jobs<D: Database, W: World>(
    gateway: &Gateway<'_, D, W>,
    zones: &dyn TimeZones,
    source: &Source,
    snapshot: &Rc<Snapshot>,
    now: Timestamp,
) -> Checked {
    let Document { jobs, hooks, .. } = &source.document;
    let mut checked = Checked::default();
    for (index, job) in jobs.iter().enumerate() {
        if let Err((field, message)) = check_schedule(job, zones, now) {
            checked.problem(source, format!("jobs[{index}].{field}"), message);
        }
        let (info, kind) = match kind_of(&job.kind, &job.params) {
            Ok(Some(found)) => found,
            Ok(None) => {
                checked.messages.push(format!(
                    "jobs[{index}] {}: the kind {} is not built yet, so it is stored but does not run.",
                    job.name, job.kind
                ));
                continue;
            }
            Err(ParamsError { field, message }) => {
                let dot = if field.is_empty() { "" } else { "." };
                let field = format!("jobs[{index}].params{dot}{field}");
                checked.problem(source, field, format!("{message}."));
                continue;
            }
        };
        let is_set = |param: &&&str| job.params.contains_key(**param);
        for param in info.own.iter().filter(is_set) {
            let field = format!("jobs[{index}].params.{param}");
            checked.problem(source, field, format!("{OWN}."));
        }
        if let Some(param) = kind.lacks().filter(|_| job.schedule.is_some()) {
            let field = format!("jobs[{index}].params.{param}");
            let others = match param {
                "version" => ", or `github`, `kv` or `r2`",
                _ => "",
            };
            let message = format!("it must stand here{others}, as no schedule brings it.");
            checked.problem(source, field, message);
        }
        let outbound = &source.document.outbound;
        for url in kind.urls() {
            if let Some(why) = why_not_fetch(url, &outbound.hosts, gateway.settings) {
                let message = format!("{url:?} cannot be asked: {why}.");
                checked.problem(source, format!("jobs[{index}].params"), message);
            }
        }
        let named = named_zones(kind.as_ref(), &snapshot.config.resolution);
        if let Some(why) = why_not(gateway, snapshot, &job.run_as, kind.as_ref(), &named, now) {
            checked.problem(source, format!("jobs[{index}].run_as"), why);
        }
    }
    for (index, hook) in hooks.iter().enumerate() {
        let job = jobs.iter().find(|job| job.name == hook.job);
        let Some(kind) = job.and_then(|job| kind_named(&job.kind)) else {
            continue;
        };
        for (params, why) in [(kind.own, OWN), (kind.fixed, FIXED)] {
            for param in params {
                if hook.params.contains_key(*param) {
                    let field = format!("hooks[{index}].params.{param}");
                    checked.problem(source, field, format!("{why}."));
                }
            }
        }
    }
    checked
}

impl Checked {
    fn problem(&mut self, source: &Source, field: String, message: String) {
        self.problems.push(Problem {
            line: source.line_of(&field),
            field,
            message,
        });
    }
}

/// Whether a schedule comes at all, in a time zone that there is.
fn check_schedule(
    job: &Job,
    zones: &dyn TimeZones,
    now: Timestamp,
) -> Result<(), (&'static str, String)> {
    let Some(expression) = &job.schedule else {
        return Ok(());
    };
    let timezone = job.timezone.as_deref();
    let schedule = Schedule::parse(expression, timezone).map_err(|error| ("schedule", error))?;
    if zones.utc_offset_secs(schedule.timezone(), now).is_none() {
        let message = format!("there is no time zone {:?}.", schedule.timezone());
        return Err(("timezone", message));
    }
    if schedule.next_after(zones, now).is_none() {
        return Err(("schedule", format!("{expression:?} never comes.")));
    }
    Ok(())
}
