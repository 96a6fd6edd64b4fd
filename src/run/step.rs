//! A step: one call, or one piece of work of the kind's own.

use serde_json::Value;

use crate::catalog::Method;
use crate::model::EntryId;

use super::record::Stage;

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its intent is on record; it may have been sent.
    Sent,
    /// It happened.
    Done,
    /// Cloudflare or the policy refused it.
    Refused,
    /// It may have happened.
    Unknown,
}

impl StepState {
    /// The state of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Sent,
            Self::Done,
            Self::Refused,
            Self::Unknown,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// An upstream call, exactly as it will be made.
    Call {
        /// Its method.
        method: Method,
        /// Path below `/client/v4` and query.
        target: String,
        /// Its JSON body.
        body: Option<String>,
        /// The upstream bucket it draws from, besides the general one.
        bucket: Option<String>,
        /// What it costs there.
        cost: u32,
    },
    /// A POST of a form that is kept as a blob.
    Upload {
        /// Path below `/client/v4`.
        target: String,
        /// The blob's key, which ends in the SHA-256 of the form in hex.
        blob: String,
    },
    /// Work of the kind's own, harmless to repeat.
    Own(Value),
}

/// A step of a plan, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStep {
    /// [`Stage::Apply`], or [`Stage::Verify`] for what is repeated after a while.
    pub stage: Stage,
    /// What it does.
    pub work: Work,
    /// Items it covers.
    pub items: u32,
    /// What it does, in words, such as `purge 100 files of example.com`.
    pub summary: String,
}

/// A step as it is kept, without its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number within the run, from 1 on. Numbers are not used again when a run is planned anew.
    pub number: u32,
    /// What stage it belongs to.
    pub stage: Stage,
    /// Where it stands.
    pub state: StepState,
    /// Items it covers.
    pub items: u32,
    /// Whether it may take many calls: work of the kind's own, or an upload, which is looked into.
    pub is_heavy: bool,
    /// What it does, in words.
    pub summary: String,
    /// How often it was begun.
    pub attempts: u32,
    /// The audit entry of its last attempt.
    pub entry: Option<EntryId>,
    /// What came of it, in words.
    pub detail: Option<String>,
}
