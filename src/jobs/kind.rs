//! What a job kind is: how it plans, and what else the engine asks of it.
//!
//! Every kind has one form: read what is, compare it with what is wanted, *plan* the exact calls,
//! carry them out, verify. The plan is stored before anything of it is sent; what is stored is what
//! is sent.

use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};

use super::hands::Hands;
use super::kinds;
use crate::catalog::Method;
use crate::config::document::Job;
use crate::model::typed::Typed;
use crate::model::{Timestamp, ZoneId};
use crate::run::{NewStep, Run, Work};

/// Work that may wait for the world.
pub type Task<'a, T> = LocalBoxFuture<'a, Result<T, Trouble>>;

/// Why a kind's work did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It may go better later.
    Again(String),
    /// Cloudflare wants us to wait.
    NotBefore(Timestamp, String),
    /// It cannot be done, now or later.
    Impossible(String),
    /// A grant wants somebody's approval.
    WantsApproval(String),
}

/// What a kind means to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<NewStep>,
    /// What the plan was made from, for the kind to compare with later.
    pub basis: Option<Value>,
    /// What is shown of it, besides the steps.
    pub result: Option<Value>,
    /// In a sentence.
    pub summary: String,
    /// Seconds between the last step of the plan and its verification.
    pub verify_after_secs: u32,
    /// What comes after the steps.
    pub then: Then,
}

/// What comes after the steps of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    /// Verification.
    #[default]
    Verify,
    /// The next part is planned, after so many seconds where there were no steps.
    PlanOn(u32),
}

/// Whether the world is as the plan has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It is as it was before the step.
    AsPlanned,
    /// It is as it will be after the step: the step happened.
    StepHappened,
    /// It cannot be told, and the step is harmless to repeat.
    Repeatable,
    /// It is otherwise, in a sentence.
    Drifted(String),
}

/// What verification showed.
#[derive(Debug, Clone, PartialEq)]
pub enum Verified {
    /// It is as it should be; with what is to be shown of it.
    Yes(Option<Value>),
    /// It is not, in a sentence.
    No(String),
}

/// A call that a job would make, for asking whether its principal may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its method.
    pub method: Method,
    /// Path below `/client/v4`.
    pub path: String,
    /// Its JSON body.
    pub body: Option<String>,
}

/// A kind with its parameters.
pub trait JobKind: std::fmt::Debug {
    /// Zones the parameters name, each a name, an id or a pattern; none means that they name none.
    fn zones(&self) -> Vec<&str>;

    /// Calls it would make in a zone, enough of them to tell whether a principal may.
    fn samples(&self, zone: ZoneId, zone_name: &str) -> Vec<Sample>;

    /// Addresses of the web it asks.
    fn urls(&self) -> Vec<&str> {
        Vec::new()
    }

    /// A parameter without which a run does nothing. Whoever starts one may bring it, but no schedule does.
    fn lacks(&self) -> Option<&'static str> {
        None
    }

    /// Reads what is and plans. Sends nothing.
    fn plan<'a>(&'a self, hands: &'a dyn Hands) -> Task<'a, Plan>;

    /// Looks whether the world is as `basis` has it before the step at `index`, counted from 0 among
    /// the plan's steps. Only for kinds that converge; others have nothing to compare.
    fn check<'a>(
        &'a self,
        _hands: &'a dyn Hands,
        _basis: &'a Value,
        _index: usize,
    ) -> Task<'a, Check> {
        Box::pin(async { Ok(Check::AsPlanned) })
    }

    /// Does a [`Work::Own`]. Harmless to repeat. What it gives is kept in the run's result, under its
    /// step's number.
    fn perform<'a>(&'a self, _hands: &'a dyn Hands, work: &'a Value) -> Task<'a, Value> {
        Box::pin(async move {
            Err(Trouble::Impossible(format!(
                "This kind of job has no work of its own such as {work}."
            )))
        })
    }

    /// Whether a run that ends now would leave something half done. Then it is planned on, with
    /// [`Run::ending`] set, until that is undone or finished.
    fn is_half_done(&self, _basis: &Value) -> bool {
        false
    }

    /// Looks whether it is as it should be, after every step of `run` was carried out.
    fn verify<'a>(&'a self, _hands: &'a dyn Hands, _run: &'a Run) -> Task<'a, Verified> {
        Box::pin(async { Ok(Verified::Yes(None)) })
    }
}

/// A parameter that a kind does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamsError {
    /// Where, such as `files[3].url`; empty for the whole.
    pub field: String,
    /// What is wrong, ending without a full stop.
    pub message: String,
}

/// Reads the parameters of a kind.
pub type ParseParams = fn(&Map<String, Value>) -> Result<Box<dyn JobKind>, ParamsError>;

/// How a kind is found and driven.
#[derive(Debug, Clone, Copy)]
pub struct KindInfo {
    /// Its name.
    pub name: &'static str,
    /// Reads its parameters.
    pub parse: ParseParams,
    /// Failures in a row after which a run ends, unless the job says otherwise.
    pub max_attempts: u32,
    /// Whether a step that Cloudflare refused ends the run, as later ones build on it.
    pub stops_at_refusal: bool,
    /// Whether a step that may have happened is simply made again. Otherwise [`JobKind::check`] finds
    /// out.
    pub repeats_unknown: bool,
    /// Subrequests that planning, verifying or a step of its own may need.
    pub subrequests: u32,
    /// Parameters that the configuration of a job alone sets: whoever may start a run does not.
    pub fixed: &'static [&'static str],
    /// Parameters that whoever starts a run sets only where the configuration of the job does not.
    pub pinned: &'static [&'static str],
    /// Parameters that only Zonekeeper sets, for a run.
    pub own: &'static [&'static str],
}

/// Why nobody but Zonekeeper gives a parameter.
pub(super) const OWN: &str = "only Zonekeeper sets it";
/// Why nobody gives a parameter for a run.
pub(super) const FIXED: &str = "only the job's configuration sets it";

/// The parameter that is given for a run of a job although whoever starts one may not set it, and why not.
#[must_use]
pub fn fixed_param(job: &Job, given: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let kind = kind_named(&job.kind)?;
    let is_given = |name: &&&str| given.contains_key(**name);
    let is_changed = |name: &&&str| {
        let set = job.params.get(**name);
        set.is_some() && given.get(**name).is_some_and(|given| Some(given) != set)
    };
    if let Some(own) = kind.own.iter().find(is_given) {
        return Some((own, OWN));
    }
    let fixed = kind.fixed.iter().find(is_given);
    let fixed = fixed.or_else(|| kind.pinned.iter().find(is_changed));
    fixed.map(|name| (*name, FIXED))
}

/// Every kind there is. A new kind joins by its line here.
pub const KINDS: &[KindInfo] = &[
    kinds::cache_purge::KIND,
    kinds::dns_snapshot::KIND,
    kinds::dns_restore::KIND,
    kinds::workers_deploy::KIND,
];

/// The kind of this name.
#[must_use]
pub fn kind_named(name: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// A kind and its parameters, read.
pub type ReadKind = (&'static KindInfo, Box<dyn JobKind>);

/// Reads the parameters of a run of some kind.
///
/// # Errors
/// Why it cannot be carried out, for a sentence.
pub(super) fn read_kind(name: &str, params: &Map<String, Value>) -> Result<ReadKind, String> {
    let info = kind_named(name).ok_or("this version has no such kind of job")?;
    match (info.parse)(params) {
        Ok(kind) => Ok((info, kind)),
        Err(error) => Err(format!("its parameters do not fit: {}", error.message)),
    }
}

/// Reads parameters into `T`; an error names the field.
///
/// # Errors
/// [`ParamsError`] for unknown fields and values that do not fit.
pub(super) fn read_params<T: Typed>(params: &Map<String, Value>) -> Result<T, ParamsError> {
    T::read(Value::Object(params.clone())).map_err(|misfit| ParamsError {
        field: misfit.path().to_string(),
        message: misfit.message,
    })
}

/// A step that is one upstream call.
#[must_use]
pub(super) fn call_step(
    method: Method,
    target: String,
    body: String,
    bucket: Option<(String, u32)>,
    items: usize,
    summary: String,
) -> NewStep {
    let (bucket, cost) = bucket.map_or((None, 0), |(name, cost)| (Some(name), cost));
    NewStep {
        stage: crate::run::Stage::Apply,
        work: Work::Call {
            method,
            target,
            body: Some(body),
            bucket,
            cost,
        },
        items: u32::try_from(items).unwrap_or(u32::MAX),
        summary,
    }
}
