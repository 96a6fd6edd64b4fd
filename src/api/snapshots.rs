//! `snapshots`: list, look at, compare, export.

use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::envelope::{listing, page_info, success};
use super::serve::Admitted;
use crate::dns::{Record, difference, to_bind};
use crate::gateway::{Code, Gateway, Refusal, Reply, query_param};
use crate::jobs::{Platform, Reader, Trouble, load_snapshot, read_zone};
use crate::model::{SnapshotId, Timestamp};
use crate::store::{Database, Snapshot};

/// Lines of a difference that are shown.
const SHOWN_LINES: usize = 1_000;
/// Snapshots on one page.
const PER_PAGE: u32 = 100;

fn shown(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "zone": snapshot.zone,
        "zone_name": snapshot.zone_name,
        "job": snapshot.job,
        "run": snapshot.run,
        "run_as": snapshot.run_as,
        "taken_at": snapshot.taken_at,
        "records": snapshot.records,
        "bytes": snapshot.bytes,
        "digest": snapshot.digest,
    })
}

fn no_snapshot() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such snapshot.")
}

fn trouble(trouble: Trouble) -> Refusal {
    match trouble {
        Trouble::Again(message) | Trouble::NotBefore(_, message) => {
            Refusal::new(Code::UpstreamUnknown, message)
        }
        Trouble::Impossible(message) | Trouble::WantsApproval(message) => {
            Refusal::new(Code::Denied, message)
        }
    }
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `GET /snapshots?zone=&cursor=`, newest first.
    pub(super) async fn list_snapshots(
        &self,
        call: &Call<'_>,
    ) -> Result<Reply<P::Response>, Refusal> {
        let read = |name| {
            query_param(call.query, name).map_err(|error| {
                Refusal::new(
                    Code::InvalidParams,
                    format!("The query is not clear: {error}."),
                )
            })
        };
        let zone = read("zone")?;
        let before = match read("cursor")? {
            None => None,
            Some(cursor) => Some(cursor.parse().map(Timestamp::from_unix_ms).map_err(|_| {
                let message = "The query parameter `cursor` takes the cursor of the page before.";
                Refusal::new(Code::InvalidParams, message)
            })?),
        };
        let now = self.world.now();
        let failed = |error| self.store_failed("list snapshots", &error);
        self.view.current(self.store, now).await.map_err(failed)?;
        let found = self
            .store
            .snapshots(zone.as_deref(), before, PER_PAGE)
            .await
            .map_err(failed)?;
        let is_full = found.len() >= PER_PAGE as usize;
        let cursor = found
            .last()
            .filter(|_| is_full)
            .map(|snapshot| snapshot.taken_at.unix_ms().to_string());
        let info = page_info(found.len(), cursor.as_deref());
        let shown = Value::Array(found.iter().map(shown).collect());
        listing(StatusCode::OK, &shown.to_string(), Some(info), &[])
    }

    /// `GET /snapshots/{id}`
    pub(super) async fn read_snapshot(&self, id: &str) -> Result<Reply<P::Response>, Refusal> {
        success(StatusCode::OK, shown(&self.found_snapshot(id).await?), &[])
    }

    /// `GET /snapshots/{id}/difference?to=`: what separates the snapshot from another one, or, with
    /// `to=now` or without, from the zone as it is. The zone is read as the principal that the
    /// snapshot was taken as.
    pub(super) async fn snapshot_difference(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let to = query_param(call.query, "to").map_err(|error| {
            Refusal::new(
                Code::InvalidParams,
                format!("The query is not clear: {error}."),
            )
        })?;
        let snapshot = self.found_snapshot(id).await?;
        let by = admitted.who.principal.as_deref().unwrap_or_default();
        let credential = format!("snapshot {}, asked for by {by}", snapshot.id);
        let reader = Reader::new(self, &snapshot.run_as, credential, None);
        let found = self.sets(&reader, &snapshot, to.as_deref()).await;
        // The audit entries of its reads are stored whatever came of them.
        let kept = reader.put_down().await;
        kept.map_err(|error| self.store_failed("record reads", &error))?;
        let (before, after) = found?;
        let found = difference(&snapshot.zone_name, before, after);
        success(
            StatusCode::OK,
            json!({
                "from": snapshot.id,
                "to": to.as_deref().unwrap_or("now"),
                "deleted": found.deletes.len(),
                "changed": found.changes.len(),
                "created": found.creates.len(),
                "unchanged": found.unchanged,
                "lines": found.describe(SHOWN_LINES),
            }),
            &[],
        )
    }

    async fn sets(
        &self,
        reader: &Reader<'_, D, P>,
        snapshot: &Snapshot,
        to: Option<&str>,
    ) -> Result<(Vec<Record>, Vec<Record>), Refusal> {
        let before = load_snapshot(reader, snapshot).await.map_err(trouble)?;
        let after = match to {
            None | Some("now") => read_zone(reader, snapshot.zone).await,
            Some(other) => {
                let other = self.found_snapshot(other).await?;
                if other.zone != snapshot.zone {
                    let message = "The two snapshots are of different zones.";
                    return Err(Refusal::new(Code::InvalidParams, message));
                }
                load_snapshot(reader, &other).await
            }
        };
        Ok((before, after.map_err(trouble)?))
    }

    /// `GET /snapshots/{id}/export`: the snapshot as a BIND zone file.
    pub(super) async fn export_snapshot(&self, id: &str) -> Result<Reply<P::Response>, Refusal> {
        let snapshot = self.found_snapshot(id).await?;
        let reader = Reader::new(self, &snapshot.run_as, String::new(), None);
        let records = load_snapshot(&reader, &snapshot).await.map_err(trouble)?;
        Ok(Reply::Own {
            status: StatusCode::OK,
            body: to_bind(&snapshot.zone_name, &records),
            content_type: "text/plain; charset=utf-8",
            retry_after_secs: None,
        })
    }

    async fn found_snapshot(&self, id: &str) -> Result<Snapshot, Refusal> {
        let id: SnapshotId = id.parse().map_err(|_| no_snapshot())?;
        let failed = |error| self.store_failed("read a snapshot", &error);
        let now = self.world.now();
        self.view.current(self.store, now).await.map_err(failed)?;
        let found = self.store.snapshot(id).await.map_err(failed)?;
        found.ok_or_else(no_snapshot)
    }
}
