//! Jobs: what runs by itself or when asked for, step by step, so that a crash at any point leaves
//! nothing lost and nothing done twice.

mod platform;

pub use platform::{Platform, PlatformError};
