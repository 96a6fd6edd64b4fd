//! Sets of DNS records: what one says, how two sets differ, how the difference is applied.
//!
//! [`Record`] reads a record as the v4 API lists it and brings it to one spelling, so that records
//! which are the same to Cloudflare compare equal. [`difference`] compares two sets, [`batches`]
//! turns a difference into bodies of `POST …/dns_records/batch`, [`to_bind`] writes a zone file.
//!
//! Nothing here calls the API or knows what a set is for: snapshots, restores and syncs share it.

mod batches;
mod bind;
mod difference;
mod kinds;
mod record;
mod text;
mod write;
mod zone_file;

pub use batches::{Batch, Limits, batches};
pub use bind::to_bind;
pub use difference::{Change, Difference, difference};
pub use kinds::is_plain;
pub use record::{Record, RecordError, same_content};
pub use zone_file::{ZoneFileError, from_bind};
