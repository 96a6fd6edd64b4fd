//! `dns.snapshot`: keeps the whole of a zone's records, with comments, tags and settings.
//!
//! Nothing changes upstream. A snapshot has the id of its run and zone, so that taking it again
//! after a crash puts it in its own place.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::zones::{Zone, check_zone, find_zones};
use crate::catalog::Method;
use crate::jobs::hands::{Hands, snapshot_key};
use crate::jobs::kind::{JobKind, KindInfo, ParamsError, Plan, Sample, Task, Trouble, read_params};
use crate::jobs::records::{MAX_PAGES, PER_PAGE, load_snapshot, read_page, too_many};
use crate::model::typed::{Members, Misfit, Typed, object};
use crate::model::{SnapshotId, ZoneId, hex};
use crate::run::{NewStep, Stage, Work};
use crate::store::Snapshot;

/// Snapshots of a zone that are kept unless the parameters say otherwise.
const DEFAULT_KEEP: u32 = 30;
/// Blobs that one step deletes at the most, and snapshots.
const MAX_BLOBS_DELETED: u32 = 20;
/// Zones for each of which one step can delete a snapshot of one blob, and some more.
const ZONES_PER_CLEAN_UP: usize = 8;

pub(in crate::jobs) const KIND: KindInfo = KindInfo {
    name: "dns.snapshot",
    parse: |params| Ok(Box::new(DnsSnapshot::parse(params)?)),
    max_attempts: 6,
    stops_at_refusal: true,
    repeats_unknown: true,
    // A blob read, a page read and a blob stored for each, their audit entries, and the rows.
    subrequests: 2 * MAX_PAGES + 10,
    fixed: &[],
    pinned: &[],
    own: &[],
};

object! {
    #[derive(Debug)]
    struct DnsSnapshot {
        /// Names, ids or patterns.
        zones: Vec<String>,
        /// How many snapshots of each zone this job keeps.
        keep: Option<u32> = default,
    }
}

object! {
    stored
    /// The zone that a step is about.
    #[derive(Debug, Clone)]
    struct Target {
        zone: ZoneId,
        name: String,
    }
}

/// A step's work.
#[derive(Debug)]
enum StepWork {
    /// Take the snapshot of a zone.
    Take(Target),
    /// Compare what is stored with the digest of what was read.
    Check(Target),
    /// Delete the content of snapshots that were given up.
    CleanUp,
}

impl Typed for StepWork {
    fn read(value: Value) -> Result<Self, Misfit> {
        if value == CLEAN_UP {
            return Ok(Self::CleanUp);
        }
        let mut members = Members::of(value, Some(&["take", "check"]))?;
        if let Some(target) = members.optional("take")? {
            return Ok(Self::Take(target));
        }
        members.required("check").map(Self::Check)
    }

    fn write(&self) -> Value {
        match self {
            Self::Take(target) => json!({"take": target.write()}),
            Self::Check(target) => json!({"check": target.write()}),
            Self::CleanUp => Value::from(CLEAN_UP),
        }
    }
}

/// How the work is written that names nothing.
const CLEAN_UP: &str = "clean_up";

fn target(zone: &Zone) -> Target {
    Target {
        zone: zone.id,
        name: zone.name.clone(),
    }
}

impl DnsSnapshot {
    fn parse(params: &Map<String, Value>) -> Result<Self, ParamsError> {
        let snapshot: Self = read_params(params)?;
        if snapshot.zones.is_empty() {
            return Err(ParamsError {
                field: "zones".to_owned(),
                message: "at least one zone must be named".to_owned(),
            });
        }
        for (index, zone) in snapshot.zones.iter().enumerate() {
            check_zone(zone, &format!("zones[{index}]"))?;
        }
        if snapshot
            .keep
            .is_some_and(|keep| !(1..=10_000).contains(&keep))
        {
            return Err(ParamsError {
                field: "keep".to_owned(),
                message: "it must be a number of snapshots from 1 to 10000".to_owned(),
            });
        }
        Ok(snapshot)
    }

    /// Reads a zone page by page and stores each page as a blob, so that no more than one is in
    /// memory.
    async fn take(&self, hands: &dyn Hands, zone: ZoneId, name: String) -> Result<Value, Trouble> {
        let run = hands.run();
        let id = SnapshotId::of(run.id, zone);
        let mut digest = Sha256::new();
        let mut ids: Vec<String> = Vec::new();
        let mut bytes = 0;
        let mut chunks = 0;
        loop {
            let page = chunks + 1;
            if page > MAX_PAGES {
                return Err(too_many(zone));
            }
            let (records, total) = read_page(hands, zone, page).await?;
            let mut text = String::new();
            for record in &records {
                text.push_str(&record.to_stored());
                text.push('\n');
            }
            ids.extend(records.into_iter().map(|record| record.id));
            digest.update(text.as_bytes());
            bytes += text.len() as u64;
            hands
                .put_blob(&snapshot_key(id, chunks), text.into_bytes(), None)
                .await?;
            chunks += 1;
            if ((page * PER_PAGE) as usize) < total {
                continue;
            }
            let read = ids.len();
            ids.sort_unstable();
            ids.dedup();
            if ids.len() != read || read != total {
                return Err(Trouble::Again(format!(
                    "The records of {name} changed while they were read."
                )));
            }
            break;
        }
        let snapshot = Snapshot {
            id,
            zone,
            zone_name: name,
            job: run.job.clone(),
            run: run.id,
            run_as: run.run_as.clone(),
            taken_at: hands.now(),
            records: u32::try_from(ids.len()).unwrap_or(u32::MAX),
            chunks,
            bytes,
            digest: hex(&digest.finalize()),
        };
        hands.put_snapshot(&snapshot).await?;
        hands
            .give_up_snapshots(zone, self.keep.unwrap_or(DEFAULT_KEEP))
            .await?;
        Ok(json!({
            "snapshot": id,
            "zone": snapshot.zone_name,
            "records": snapshot.records,
        }))
    }

    /// Reads the snapshot of a zone back. One that is not as it was stored is taken again; whether that
    /// helped is seen a while later, as copies may be stale.
    async fn check(&self, hands: &dyn Hands, zone: ZoneId, name: String) -> Result<Value, Trouble> {
        let id = SnapshotId::of(hands.run().id, zone);
        let trouble = match hands.snapshot(id).await? {
            Some(snapshot) => match load_snapshot(hands, &snapshot).await {
                Ok(records) if records.len() == snapshot.records as usize => {
                    return Ok(Value::Null);
                }
                Ok(_) => Trouble::Again(format!("Snapshot {id} is not complete.")),
                Err(trouble) => trouble,
            },
            None => Trouble::Again(format!("Snapshot {id} is not on record.")),
        };
        self.take(hands, zone, name).await?;
        Err(trouble)
    }

    async fn clean_up(hands: &dyn Hands) -> Result<Value, Trouble> {
        let mut left = MAX_BLOBS_DELETED;
        let mut deleted = 0;
        for (id, chunks) in hands.given_up_snapshots().await? {
            if left < chunks + 1 {
                break;
            }
            left -= chunks + 1;
            for n in 0..chunks {
                hands.delete_blob(&snapshot_key(id, n)).await?;
            }
            hands.forget_snapshot(id).await?;
            deleted += 1;
        }
        Ok(if deleted == 0 {
            Value::Null
        } else {
            json!({ "deleted": deleted })
        })
    }
}

impl JobKind for DnsSnapshot {
    fn zones(&self) -> Vec<&str> {
        self.zones.iter().map(String::as_str).collect()
    }

    fn samples(&self, zone: ZoneId, _zone_name: &str) -> Vec<Sample> {
        vec![Sample {
            method: Method::Get,
            path: format!("/zones/{zone}/dns_records"),
            body: None,
        }]
    }

    fn plan<'a>(&'a self, hands: &'a dyn Hands) -> Task<'a, Plan> {
        Box::pin(async move {
            let zones = find_zones(hands, &self.zones).await?;
            let own = |stage, work, items, summary| NewStep {
                stage,
                work: Work::Own(work),
                items,
                summary,
            };
            let mut steps: Vec<NewStep> = zones
                .iter()
                .map(|zone| {
                    let work = StepWork::Take(target(zone)).write();
                    own(
                        Stage::Apply,
                        work,
                        1,
                        format!("take a snapshot of {}", zone.name),
                    )
                })
                .collect();
            // Of many zones many snapshots are given up at once, and one step deletes some only.
            for _ in 0..=zones.len() / ZONES_PER_CLEAN_UP {
                let clean_up = "delete the oldest snapshots beyond those to keep".to_owned();
                steps.push(own(Stage::Apply, StepWork::CleanUp.write(), 0, clean_up));
            }
            steps.extend(zones.iter().map(|zone| {
                let work = StepWork::Check(target(zone)).write();
                let summary = format!("read the snapshot of {} back", zone.name);
                own(Stage::Verify, work, 0, summary)
            }));
            let summary = match zones.as_slice() {
                [zone] => format!("a snapshot of {}.", zone.name),
                zones => format!("snapshots of {} zones.", zones.len()),
            };
            Ok(Plan {
                steps,
                summary,
                ..Plan::default()
            })
        })
    }

    fn perform<'a>(&'a self, hands: &'a dyn Hands, work: &'a Value) -> Task<'a, Value> {
        Box::pin(async move {
            match StepWork::read(work.clone()) {
                Ok(StepWork::Take(Target { zone, name })) => self.take(hands, zone, name).await,
                Ok(StepWork::Check(Target { zone, name })) => self.check(hands, zone, name).await,
                Ok(StepWork::CleanUp) => Self::clean_up(hands).await,
                Err(misfit) => Err(Trouble::Impossible(format!(
                    "This version does not know the step {work}: {misfit}."
                ))),
            }
        })
    }
}
