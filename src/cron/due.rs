//! Which firings of a schedule a tick makes due.
//!
//! Ticks come once a minute, but may come late, twice or not at all. Each looks at the firings since
//! the last one that was considered, so none is lost and none is seen twice.

use serde_json::{Value, json};

use super::schedule::{Schedule, minute_of};
use super::timezone::TimeZones;
use crate::model::Timestamp;
use crate::model::typed::{Members, Misfit, Typed, optional};

/// The most firings that `run_all` makes up for.
pub const MAX_RUN_ALL: u32 = 100;

/// How far missed firings are counted.
pub const MAX_MISSED: u32 = 1_000;

/// What happens to firings that were missed. One is missed when a tick of a later minute is the
/// first to see it: the Worker, or its cron trigger, did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missed {
    /// They do not run; only the tick's own minute does.
    Skip,
    /// The latest firing runs, missed or not, and stands for the others.
    #[default]
    RunOnce,
    /// The latest firings run, missed or not, so many (from 1 to [`MAX_RUN_ALL`]), oldest first.
    RunAll(u32),
}

optional!(Missed);

impl Typed for Missed {
    fn read(value: Value) -> Result<Self, Misfit> {
        match &value {
            Value::Object(_) => {
                let mut members = Members::of(value, Some(&["run_all"]))?;
                members.required("run_all").map(Self::RunAll)
            }
            Value::String(text) if text == "skip" => Ok(Self::Skip),
            Value::String(text) if text == "run_once" => Ok(Self::RunOnce),
            other => {
                let expected = r#""skip", "run_once" or { run_all = 5 }"#;
                Err(Misfit::unexpected(other, expected))
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Skip => Value::from("skip"),
            Self::RunOnce => Value::from("run_once"),
            Self::RunAll(most) => json!({"run_all": most}),
        }
    }
}

/// What a tick makes of a schedule's firings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The firings that get a run each, oldest first.
    pub slots: Vec<Timestamp>,
    /// How many get none, at most [`MAX_MISSED`].
    pub missed: u32,
    /// Whether there are more than `missed` of them.
    pub missed_is_capped: bool,
}

/// The firings after `considered_to` and not after `tick`, as `missed` has it.
///
/// `tick` is the scheduled time of a cron tick; it counts as its minute, whatever its second. One
/// that is not later than `considered_to` (it came twice, or out of order) makes nothing due. So
/// does a time zone that does not exist.
#[must_use]
pub fn due(
    schedule: &Schedule,
    missed: Missed,
    considered_to: Timestamp,
    tick: Timestamp,
    zones: &dyn TimeZones,
) -> Due {
    let wanted = match missed {
        Missed::Skip | Missed::RunOnce => 1,
        Missed::RunAll(most) => most.min(MAX_RUN_ALL),
    };
    let mut due = Due::default();
    for firing in schedule.firings_back(zones, considered_to, tick) {
        let is_late = missed == Missed::Skip && minute_of(firing) < minute_of(tick);
        if !is_late && due.slots.len() < wanted as usize {
            due.slots.push(firing);
        } else if due.missed < MAX_MISSED {
            due.missed += 1;
        } else {
            due.missed_is_capped = true;
            break;
        }
    }
    due.slots.reverse();
    due
}
