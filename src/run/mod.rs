//! What a run is: one execution of a job, its steps, and what is to be done next.
//!
//! Plain data and pure functions. Owns the words that are stored and shown; it neither stores
//! anything nor calls anybody.

mod next;
mod record;
mod step;

pub use next::{ABANDONED_STEP_MS, Next, Standing, backoff_ms, next};
pub use record::{Ending, Limits, Progress, Run, RunEvent, RunState, Stage, Trigger};
pub use step::{NewStep, Step, StepState, Work};
