//! Jobs: what runs by itself or when asked for, step by step, so that a crash at any point leaves
//! nothing lost and nothing done twice.
//!
//! Owns the engine, the scheduler and the kinds. A run acts as a principal: its calls pass the same
//! gate as everybody's, and are decided again when they are made.

mod alarm;
mod check;
mod engine;
mod hands;
mod kind;
mod kinds;
mod notify;
mod outbound;
mod pace;
mod platform;
mod records;
mod tick;

pub use alarm::{Alarm, alarms};
pub use check::{Checked, check_jobs, kind_of, why_not};
pub use engine::{Engine, LEASE_MS, SUBREQUESTS};
pub use hands::{Hands, Reader, Reads, new_run_id, snapshot_key};
pub use kind::{
    Check, JobKind, KINDS, KindInfo, ParamsError, ParseParams, Plan, ReadKind, Sample, Task, Then,
    Trouble, Verified, fixed_param, kind_named,
};
pub use kinds::workers_deploy::{BUNDLES, KEEP_BUNDLE_SECS};
pub use platform::{Platform, PlatformError, Probe, Probed};
pub use records::{load_snapshot, read_zone};
pub use tick::{Ticked, limits_of, replaces_open};
