//! Schedules: when a cron expression in a time zone fires, and which firings a tick makes due.
//!
//! Nothing here reads a clock or holds a time zone database: instants are given, and a
//! [`TimeZones`] answers for zones. All firings are whole minutes.

mod due;
mod expression;
mod schedule;
mod timezone;

pub use due::{Due, MAX_MISSED, MAX_RUN_ALL, Missed, due};
pub use expression::Expression;
pub use schedule::Schedule;
pub use timezone::{TimeZones, check_timezone};
