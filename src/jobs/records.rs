//! A zone's records: read from the API, kept as a snapshot, summed up in one number.

use sha2::{Digest as _, Sha256};

use super::hands::{Reads, snapshot_key};
use super::kind::Trouble;
use crate::dns::Record;
use crate::model::{RecordName, RecordPattern, ZoneId, hex};
use crate::store::Snapshot;

/// Records on one page of the list. The API's own limit is far higher; an answer of ours may have
/// 16 MB.
pub(super) const PER_PAGE: u32 = 5_000;
/// Pages that are read of one zone at the most, so that reading one and storing it fits into an
/// invocation.
pub(super) const MAX_PAGES: u32 = 12;

/// Reads one page of a zone's records, from 1 on: the records, and how many there are in all.
pub(super) async fn read_page(
    reads: &dyn Reads,
    zone: ZoneId,
    page: u32,
) -> Result<(Vec<Record>, usize), Trouble> {
    let target = format!("/zones/{zone}/dns_records?page={page}&per_page={PER_PAGE}");
    let unreadable = |why: &str| {
        Trouble::Again(format!(
            "The records of zone {zone} could not be read: {why}."
        ))
    };
    let envelope = reads.read(target).await?;
    if reads.saw_part() {
        // What is not seen would be missing from a snapshot, and gone after a restore.
        return Err(Trouble::Impossible(format!(
            "{} may see only some of the records of zone {zone}; a grant of DNS Read without conditions is needed.",
            reads.principal()
        )));
    }
    let list = envelope
        .into_page()
        .ok_or_else(|| unreadable("the answer is no list"))?;
    let total = list
        .info
        .total_count
        .ok_or_else(|| unreadable("it has no count"))?;
    let mut records = Vec::with_capacity(list.items.len());
    for item in list.items {
        let record = Record::from_api(item.get());
        records.push(record.map_err(|error| unreadable(&error.to_string()))?);
    }
    Ok((records, usize::try_from(total).unwrap_or(usize::MAX)))
}

/// All records of a zone, as they are.
///
/// The list may change while it is read: then pages overlap or leave a gap, which shows in the count
/// of ids, and it is read later.
///
/// # Errors
/// [`Trouble`] when they cannot be read, or only some of them are seen.
pub async fn read_zone(reads: &dyn Reads, zone: ZoneId) -> Result<Vec<Record>, Trouble> {
    let mut records = Vec::new();
    for page in 1..=MAX_PAGES {
        let (mut more, total) = read_page(reads, zone, page).await?;
        records.append(&mut more);
        if records.len() >= total || (page * PER_PAGE) as usize >= total {
            check_complete(&records, total, zone)?;
            return Ok(records);
        }
    }
    Err(too_many(zone))
}

pub(super) fn too_many(zone: ZoneId) -> Trouble {
    Trouble::Impossible(format!(
        "Zone {zone} has more than {} records.",
        PER_PAGE * MAX_PAGES
    ))
}

fn check_complete(records: &[Record], total: usize, zone: ZoneId) -> Result<(), Trouble> {
    let mut ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() == records.len() && records.len() == total {
        return Ok(());
    }
    Err(Trouble::Again(format!(
        "The records of zone {zone} changed while they were read."
    )))
}

/// The records of a snapshot, checked against its digest.
///
/// # Errors
/// [`Trouble`] when a part of it is missing or altered.
pub async fn load_snapshot(reads: &dyn Reads, snapshot: &Snapshot) -> Result<Vec<Record>, Trouble> {
    let mut digest = Sha256::new();
    let mut records = Vec::with_capacity(snapshot.records as usize);
    for n in 0..snapshot.chunks {
        let bytes = reads.blob(&snapshot_key(snapshot.id, n)).await?;
        digest.update(&bytes);
        let text = String::from_utf8(bytes).map_err(|_| altered(snapshot))?;
        for line in text.lines() {
            records.push(Record::from_stored(line).map_err(|_| altered(snapshot))?);
        }
    }
    if hex(&digest.finalize()) == snapshot.digest {
        return Ok(records);
    }
    Err(altered(snapshot))
}

fn altered(snapshot: &Snapshot) -> Trouble {
    Trouble::Again(format!(
        "The content of snapshot {} is not what was stored (yet).",
        snapshot.id
    ))
}

/// A sum over records that does not depend on their order or ids: the fingerprint of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of one record, as the body that creates it has it.
    pub(super) fn of(body: &str) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        let half = digest.as_slice().get(..16).unwrap_or_default();
        Self(
            half.iter()
                .fold(0, |sum, byte| sum << 8 | u128::from(*byte)),
        )
    }

    /// With another record.
    #[must_use]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Without a record.
    #[must_use]
    pub(super) const fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// The set's records that are no business of Cloudflare's own and that `is_meant` takes.
    pub(super) fn of_set<'r>(
        records: impl IntoIterator<Item = &'r Record>,
        zone_name: &str,
        is_meant: impl Fn(&Record) -> bool,
    ) -> Self {
        records
            .into_iter()
            .filter(|record| !record.is_managed(zone_name) && is_meant(record))
            .fold(Self::default(), |sum, record| {
                sum.plus(Self::of(&record.to_create()))
            })
    }

    /// As 32 hexadecimal digits.
    pub(super) fn to_hex(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// Whether a record's name is among those that are meant; without patterns every one is.
pub(super) fn is_named(record: &Record, zone_name: &str, patterns: &[RecordPattern]) -> bool {
    patterns.is_empty()
        || RecordName::canonical(&record.name, zone_name)
            .is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
}
