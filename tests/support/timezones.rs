//! The time zones of chrono-tz, in place of the runtime's.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use zonekeeper::cron::TimeZones;
use zonekeeper::model::Timestamp;

/// The tz database as chrono-tz has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChronoZones;

impl TimeZones for ChronoZones {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        let zone: Tz = zone.parse().ok()?;
        let at = DateTime::from_timestamp_millis(at.unix_ms())?.naive_utc();
        Some(zone.offset_from_utc_datetime(&at).fix().local_minus_utc())
    }
}
