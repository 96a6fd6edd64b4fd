//! `dns.restore`: makes a zone's records those of a snapshot, all of them or those of some names, in
//! the fewest batches.
//!
//! The plan holds a fingerprint of what the records are before and after each batch. So it shows
//! whether somebody else changed them since, and what became of a batch whose answer was lost.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::zones::{Zone, check_zone, find_zones, is_pattern};
use crate::catalog::Method;
use crate::dns::{Difference, Limits, Record, batches, difference};
use crate::jobs::hands::{Hands, Reads};
use crate::jobs::kind::{
    Check, JobKind, KindInfo, ParamsError, Plan, Sample, Task, Then, Trouble, Verified, call_step,
    read_params,
};
use crate::jobs::records::{Fingerprint, MAX_PAGES, is_named, load_snapshot, read_zone};
use crate::model::typed::{Typed as _, object};
use crate::model::{RecordPattern, SnapshotId, Timestamp, ZoneId};
use crate::run::Run;
use crate::store::Snapshot;

/// Lines of a difference that are shown.
const SHOWN_LINES: usize = 200;
/// Bytes of one batch: what is judged may have a megabyte, and a row of D1 two.
const BATCH_BYTES: usize = 900_000;

pub(in crate::jobs) const KIND: KindInfo = KindInfo {
    name: "dns.restore",
    parse: |params| Ok(Box::new(DnsRestore::parse(params)?)),
    max_attempts: 6,
    stops_at_refusal: true,
    repeats_unknown: false,
    // The zone and the snapshot, page by page.
    subrequests: 2 * MAX_PAGES + 10,
    fixed: &[],
    pinned: &[],
    own: &[],
};

object! {
    #[derive(Debug)]
    struct DnsRestore {
        /// One zone, by name or id.
        zones: Vec<String>,
        /// The snapshot's id; the newest one of the zone when absent.
        snapshot: Option<SnapshotId> = default,
        /// The newest snapshot taken at or before then, in place of an id.
        taken_before: Option<Timestamp> = default,
        /// Only records of these names: full names, or patterns as in `dns.names` of a grant.
        names: Vec<String> = default,
    }
}

object! {
    stored
    /// What a plan was made from.
    #[derive(Debug)]
    struct Basis {
        zone: ZoneId,
        name: String,
        /// Fingerprints: before the first batch, and after each.
        states: Vec<String>,
    }
}

impl DnsRestore {
    fn parse(params: &Map<String, Value>) -> Result<Self, ParamsError> {
        let restore: Self = read_params(params)?;
        let wrong = |field: &str, message: &str| {
            Err(ParamsError {
                field: field.to_owned(),
                message: message.to_owned(),
            })
        };
        match restore.zones.as_slice() {
            [zone] if !is_pattern(zone) => check_zone(zone, "zones[0]")?,
            _ => return wrong("zones", "exactly one zone must be named, by name or id"),
        }
        if restore.snapshot.is_some() && restore.taken_before.is_some() {
            let message = "a snapshot is named by its id or by a time, not by both";
            return wrong("taken_before", message);
        }
        for (index, name) in restore.names.iter().enumerate() {
            if let Err(error) = RecordPattern::parse(name) {
                return wrong(&format!("names[{index}]"), &error.to_string());
            }
        }
        Ok(restore)
    }

    fn patterns(&self) -> Vec<RecordPattern> {
        let parse = |name: &String| RecordPattern::parse(name).ok();
        self.names.iter().filter_map(parse).collect()
    }

    async fn zone(&self, hands: &dyn Hands) -> Result<Zone, Trouble> {
        let zones = find_zones(hands, &self.zones).await?;
        zones
            .into_iter()
            .next()
            .ok_or_else(|| Trouble::Impossible("The run names no zone.".to_owned()))
    }

    async fn snapshot(&self, hands: &dyn Hands, zone: ZoneId) -> Result<Snapshot, Trouble> {
        // A run keeps to the snapshot it was planned from, whichever is the newest by then.
        let planned = planned_from(hands.run());
        let found = match self.snapshot.or(planned) {
            Some(id) => hands.snapshot(id).await?,
            None => hands.newest_snapshot(zone, self.taken_before).await?,
        };
        if self.snapshot.is_none() && found.as_ref().is_some_and(|found| found.records == 0) {
            return Err(Trouble::Impossible(
                "The newest snapshot of the zone is empty; name its id to restore it all the same."
                    .to_owned(),
            ));
        }
        let missing = || match self.snapshot {
            Some(id) => format!("There is no snapshot {id}."),
            None => "There is no snapshot of the zone.".to_owned(),
        };
        let snapshot = found.ok_or_else(|| Trouble::Impossible(missing()))?;
        if snapshot.zone == zone {
            return Ok(snapshot);
        }
        Err(Trouble::Impossible(format!(
            "Snapshot {} is one of {}, not of the zone to be restored.",
            snapshot.id, snapshot.zone_name
        )))
    }

    /// What separates the records as they are from the snapshot, as far as they are meant.
    fn difference(&self, name: &str, current: Vec<Record>, desired: Vec<Record>) -> Difference {
        let mut found = difference(name, current, desired);
        let patterns = self.patterns();
        if !patterns.is_empty() {
            found.restrict_to(name, &patterns);
        }
        found
    }

    fn fingerprint(&self, name: &str, records: &[Record]) -> Fingerprint {
        let patterns = self.patterns();
        Fingerprint::of_set(records, name, |record| is_named(record, name, &patterns))
    }

    async fn make_plan(&self, hands: &dyn Hands) -> Result<Plan, Trouble> {
        let zone = self.zone(hands).await?;
        let snapshot = self.snapshot(hands, zone.id).await?;
        let desired = load_snapshot(hands, &snapshot).await?;
        let current = read_zone(hands, zone.id).await?;
        let mut state = self.fingerprint(&zone.name, &current);
        let difference = self.difference(&zone.name, current, desired);
        let limits = Limits {
            records: if matches!(zone.plan.as_str(), "pro" | "business" | "enterprise") {
                3_500
            } else {
                200
            },
            bytes: BATCH_BYTES,
        };
        let shown = difference.describe(SHOWN_LINES);
        let known = known_records(&difference);
        let mut states = vec![state.to_hex()];
        let mut steps = Vec::new();
        for batch in batches(&difference, limits) {
            state = after_batch(state, &batch.body, &known)?;
            states.push(state.to_hex());
            steps.push(call_step(
                Method::Post,
                format!("/zones/{}/dns_records/batch", zone.id),
                batch.body,
                None,
                batch.count,
                format!("change records of {}: {}", zone.name, batch.summary),
            ));
        }
        let changes = difference.len();
        Ok(Plan {
            then: Then::Verify,
            summary: format!(
                "{} as of {}: {changes} record{} to change in {} call{}.",
                zone.name,
                snapshot.taken_at,
                if changes == 1 { "" } else { "s" },
                steps.len(),
                if steps.len() == 1 { "" } else { "s" },
            ),
            steps,
            basis: Some(json!({"zone": zone.id, "name": zone.name, "states": states})),
            result: Some(json!({
                "snapshot": snapshot.id,
                "taken_at": snapshot.taken_at,
                "changes": changes,
                "difference": shown,
            })),
            verify_after_secs: 0,
        })
    }
}

/// The snapshot that a run was planned from, where it was.
fn planned_from(run: &Run) -> Option<SnapshotId> {
    run.result.as_ref()?.get("snapshot")?.as_str()?.parse().ok()
}

/// The fingerprints of records that a difference touches, by id: before, and after a change.
fn known_records(difference: &Difference) -> BTreeMap<String, (Fingerprint, Fingerprint)> {
    let none = Fingerprint::default();
    let deletes = difference.deletes.iter().map(|record| {
        let before = Fingerprint::of(&record.to_create());
        (record.id.clone(), (before, none))
    });
    let changes = difference.changes.iter().map(|change| {
        let before = Fingerprint::of(&change.before.to_create());
        let after = Fingerprint::of(&change.after.to_create());
        (change.before.id.clone(), (before, after))
    });
    let mut known = BTreeMap::new();
    for (id, states) in deletes.chain(changes) {
        known.insert(id, states);
    }
    known
}

/// The state of the records after a batch.
fn after_batch(
    state: Fingerprint,
    body: &str,
    known: &BTreeMap<String, (Fingerprint, Fingerprint)>,
) -> Result<Fingerprint, Trouble> {
    #[derive(Deserialize)]
    struct Item {
        id: String,
    }
    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(default)]
        deletes: Vec<Item>,
        #[serde(default)]
        puts: Vec<Item>,
        #[serde(default, borrow)]
        posts: Vec<&'b RawValue>,
    }
    let broken = || Trouble::Impossible("A batch could not be summed up.".to_owned());
    let body: Body<'_> = serde_json::from_str(body).map_err(|_| broken())?;
    let mut state = state;
    for item in body.deletes.iter().chain(&body.puts) {
        let (before, after) = known.get(&item.id).ok_or_else(broken)?;
        state = state.minus(*before).plus(*after);
    }
    Ok(body
        .posts
        .into_iter()
        .fold(state, |state, post| state.plus(Fingerprint::of(post.get()))))
}

impl JobKind for DnsRestore {
    fn zones(&self) -> Vec<&str> {
        self.zones.iter().map(String::as_str).collect()
    }

    fn samples(&self, zone: ZoneId, _zone_name: &str) -> Vec<Sample> {
        let sample = |method, path, body| Sample { method, path, body };
        let records = format!("/zones/{zone}/dns_records");
        let batch = format!("{records}/batch");
        let nothing = json!({"posts": []}).to_string();
        vec![
            sample(Method::Get, records, None),
            sample(Method::Post, batch, Some(nothing)),
        ]
    }

    fn plan<'a>(&'a self, hands: &'a dyn Hands) -> Task<'a, Plan> {
        Box::pin(self.make_plan(hands))
    }

    fn check<'a>(
        &'a self,
        hands: &'a dyn Hands,
        basis: &'a Value,
        index: usize,
    ) -> Task<'a, Check> {
        Box::pin(async move {
            let Ok(Basis { zone, name, states }) = Basis::read(basis.clone()) else {
                let how = "the plan was made by another version".to_owned();
                return Ok(Check::Drifted(how));
            };
            let reads: &dyn Reads = hands;
            let current = read_zone(reads, zone).await?;
            let state = self.fingerprint(&name, &current).to_hex();
            Ok(if states.get(index) == Some(&state) {
                Check::AsPlanned
            } else if states.get(index + 1) == Some(&state) {
                Check::StepHappened
            } else {
                Check::Drifted(format!(
                    "the records of {name} are not as they were when this was planned"
                ))
            })
        })
    }

    /// Compares the zone with the snapshot once more.
    fn verify<'a>(&'a self, hands: &'a dyn Hands, run: &'a Run) -> Task<'a, Verified> {
        Box::pin(async move {
            let zone = self.zone(hands).await?;
            let snapshot = match planned_from(run) {
                Some(id) => hands.snapshot(id).await?,
                None => None,
            };
            let Some(snapshot) = snapshot else {
                let how = "the snapshot it was planned from is gone".to_owned();
                return Ok(Verified::No(how));
            };
            let desired = load_snapshot(hands, &snapshot).await?;
            let current = read_zone(hands, zone.id).await?;
            let left = self.difference(&zone.name, current, desired);
            if left.is_empty() {
                return Ok(Verified::Yes(None));
            }
            let first = left.describe(3).join("; ");
            Ok(Verified::No(format!(
                "{} records of {} still differ: {first}",
                left.len(),
                zone.name
            )))
        })
    }
}
