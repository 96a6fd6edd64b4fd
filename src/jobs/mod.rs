//! Jobs: what runs by itself or when asked for, step by step, so that a crash at any point leaves
//! nothing lost and nothing done twice.
//!
//! Owns the engine, the scheduler and the kinds. A run acts as a principal: its calls pass the same
//! gate as everybody's, and are decided again when they are made.

mod engine;
mod hands;
mod kind;
mod kinds;
mod pace;
mod platform;

pub use engine::{Engine, LEASE_MS, SUBREQUESTS};
pub use hands::{Hands, snapshot_key};
pub use kind::{
    Check, JobKind, KINDS, KindInfo, ParamsError, Plan, Sample, Task, Trouble, Verified, kind_named,
};
pub use platform::{Platform, PlatformError};
