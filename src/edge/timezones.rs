//! The time zones of the runtime: its ICU data, by way of `Intl`.

use super::bridge;
use crate::cron::TimeZones;
use crate::model::Timestamp;

/// The runtime's own time zone database.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuntimeZones;

impl TimeZones for RuntimeZones {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        // Beyond 2^53 no date exists in JavaScript either.
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of any date are below 2^53"
        )]
        bridge::utc_offset_secs(zone, at.unix_ms() as f64)
    }
}
