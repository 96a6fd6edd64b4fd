//! A run as it is kept.

use serde_json::{Map, Value};

use crate::model::{RunId, Timestamp};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Waiting to be taken up.
    Queued,
    /// Taken up, and not at its end; it may wait for something.
    Running,
    /// Everything was done, and verified where the kind verifies.
    Succeeded,
    /// It ended without doing everything; the reason says why.
    Failed,
    /// Somebody ended it, or it never began because another run was not at its end.
    Cancelled,
    /// A grant wants somebody's approval for one of its calls.
    NeedsApproval,
    /// It ended, and whether one of its calls happened could not be told.
    Unknown,
}

impl RunState {
    /// The word for it, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NeedsApproval => "needs_approval",
            Self::Unknown => "unknown",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Cancelled,
            Self::NeedsApproval,
            Self::Unknown,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }

    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether somebody may let it go on from where it ended.
    #[must_use]
    pub const fn can_be_retried(self) -> bool {
        self.is_final() && !matches!(self, Self::Succeeded)
    }
}

/// What of a run comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Read what is, and plan.
    Plan,
    /// Carry out the steps of the plan.
    Apply,
    /// Look whether it is as it should be.
    Verify,
}

impl Stage {
    /// The one of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [Self::Plan, Self::Apply, Self::Verify]
            .into_iter()
            .find(|word| word.as_str() == text)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Verify => "verify",
        }
    }
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Its job's schedule.
    Schedule,
    /// A call of the API.
    Api,
    /// A delivery of a webhook.
    Hook,
}

impl Trigger {
    /// The one of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [Self::Schedule, Self::Api, Self::Hook]
            .into_iter()
            .find(|word| word.as_str() == text)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Api => "api",
            Self::Hook => "hook",
        }
    }
}

/// What bounds a run, taken over from its job when it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failures in a row after which it ends.
    pub max_attempts: u32,
    /// Upstream calls it may make.
    pub max_calls: u32,
    /// Seconds from its first start to its end.
    pub timeout_secs: u32,
    /// Days it is kept after its end.
    pub keep_days: u32,
}

/// How much of a run is done, in the items its kind counts: URLs, records, zones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Items done.
    pub done: u32,
    /// Items in all; 0 before it is planned.
    pub total: u32,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id, random.
    pub id: RunId,
    /// The job's name.
    pub job: String,
    /// The job kind.
    pub kind: String,
    /// What started it.
    pub trigger: Trigger,
    /// The scheduled instant it stands for.
    pub slot: Option<Timestamp>,
    /// The principal whose grants bound it.
    pub run_as: String,
    /// Who asked for it, where somebody did.
    pub started_by: Option<String>,
    /// The kind's parameters.
    pub params: Map<String, Value>,
    /// Whether it ends with the plan.
    pub dry_run: bool,
    /// Where it stands.
    pub state: RunState,
    /// What comes next.
    pub stage: Stage,
    /// Why it ended or waits, in a sentence.
    pub reason: Option<String>,
    /// What its plan was made from, in the kind's own words.
    pub basis: Option<Value>,
    /// What it brought, in the kind's own words.
    pub result: Option<Value>,
    /// Rises with every claim: whoever holds an older number can store and send nothing.
    pub fence: i64,
    /// Whether somebody wants it ended.
    pub cancel_requested: bool,
    /// Failures in a row.
    pub failures: u32,
    /// How often it was planned anew because what it found was not what it had planned from.
    pub replans: u32,
    /// Upstream calls made.
    pub calls: u32,
    /// Items done, of how many.
    pub progress: Progress,
    /// What bounds it.
    pub limits: Limits,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was first taken up.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Not to be taken up before.
    pub wake_at: Timestamp,
    /// Whether somebody wants what is left of its waits left out.
    pub hurry: bool,
}

/// How a run is to end once what it began is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The state it will have.
    pub state: RunState,
    /// Why, in a sentence.
    pub reason: String,
}

impl Run {
    /// When it must have ended; `None` before it was first taken up. Waits that its plan has do not count.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let waits_secs = match self.stage {
            Stage::Verify => self.verify_after_secs(),
            Stage::Plan | Stage::Apply => 0,
        } + self.number("waited_secs");
        let secs = i64::from(self.limits.timeout_secs) + waits_secs;
        Some(self.started_at?.plus_ms(secs * 1000))
    }

    /// Seconds between the last step of its plan and its verification.
    #[must_use]
    pub fn verify_after_secs(&self) -> i64 {
        self.number("verify_after_secs")
    }

    /// Seconds it waited between parts of its plan.
    #[must_use]
    pub fn waited_secs(&self) -> i64 {
        self.number("waited_secs")
    }

    /// Whether the next part is planned when the steps of this one are done.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.noted("goes_on").and_then(Value::as_bool) == Some(true)
    }

    /// What the kind's plan was made from.
    #[must_use]
    pub fn of_kind(&self) -> Option<&Value> {
        self.noted("of_kind").filter(|noted| !noted.is_null())
    }

    /// How it is to end, where what it began is being undone.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        let ending = self.noted("ending")?;
        let text = |name| ending.get(name).and_then(Value::as_str);
        Some(Ending {
            state: RunState::named(text("state")?)?,
            reason: text("reason")?.to_owned(),
        })
    }

    fn noted(&self, name: &str) -> Option<&Value> {
        self.basis.as_ref()?.get(name)
    }

    fn number(&self, name: &str) -> i64 {
        let number = self.noted(name).and_then(Value::as_i64);
        number.unwrap_or_default()
    }
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEvent {
    /// Its number within the run, from 1 on.
    pub id: i64,
    /// When.
    pub time: Timestamp,
    /// What, in a sentence.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_one_word() {
        for word in [
            "queued",
            "running",
            "succeeded",
            "failed",
            "cancelled",
            "needs_approval",
            "unknown",
        ] {
            let state = RunState::named(word).unwrap();
            assert_eq!(state.as_str(), word);
            assert_eq!(state.is_final(), !matches!(word, "queued" | "running"));
        }
        assert_eq!(RunState::named("Queued"), None);
    }
}
