//! What is known of snapshots; their content is in the blob store.

use super::database::{Columns, row, rows};
use super::{Database, Statement, Store, StoreError};
use crate::model::{RunId, SnapshotId, Timestamp, ZoneId};

/// Binds: the columns in order. One that is there is replaced: it is the same one, taken again.
const PUT: &str = "INSERT INTO snapshots (id, zone, zone_name, job, run, run_as, taken_at, records, chunks, bytes, digest) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
     ON CONFLICT (id) DO UPDATE SET taken_at = excluded.taken_at, records = excluded.records, chunks = excluded.chunks, \
     bytes = excluded.bytes, digest = excluded.digest";
/// Binds: id.
const READ: &str = "SELECT id, zone, zone_name, job, run, run_as, taken_at, records, chunks, bytes, digest FROM snapshots \
     WHERE id = ?1 AND deleted_at IS NULL";
/// Binds: zone id or name, taken before, how many.
const LIST: &str = "SELECT id, zone, zone_name, job, run, run_as, taken_at, records, chunks, bytes, digest FROM snapshots \
     WHERE (?1 IS NULL OR zone = ?1 OR zone_name = ?1) AND taken_at < ?2 AND deleted_at IS NULL ORDER BY taken_at DESC, id LIMIT ?3";
/// Binds: job, zone, how many to keep, time.
const GIVE_UP: &str = "UPDATE snapshots SET deleted_at = ?4 WHERE job = ?1 AND zone = ?2 AND deleted_at IS NULL AND id NOT IN \
     (SELECT id FROM snapshots WHERE job = ?1 AND zone = ?2 AND deleted_at IS NULL ORDER BY taken_at DESC, id LIMIT ?3)";
/// Binds: job, how many.
const GIVEN_UP: &str = "SELECT id, chunks FROM snapshots WHERE job = ?1 AND deleted_at IS NOT NULL ORDER BY deleted_at, id LIMIT ?2";
/// Binds: id.
const FORGET: &str = "DELETE FROM snapshots WHERE id = ?1 AND deleted_at IS NOT NULL";

/// A snapshot of a zone's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The zone.
    pub zone: ZoneId,
    /// The zone's name.
    pub zone_name: String,
    /// The job that took it.
    pub job: String,
    /// The run that took it.
    pub run: RunId,
    /// The principal it was taken as.
    pub run_as: String,
    /// When.
    pub taken_at: Timestamp,
    /// How many records it holds.
    pub records: u32,
    /// In how many blobs they are.
    pub chunks: u32,
    /// How large they are together.
    pub bytes: u64,
    /// SHA-256 of all of it, in hex.
    pub digest: String,
}

fn into_snapshot(mut row: Columns) -> Result<Snapshot, StoreError> {
    Ok(Snapshot {
        id: row.parsed("id")?,
        zone: row.parsed("zone")?,
        zone_name: row.text("zone_name")?,
        job: row.text("job")?,
        run: row.parsed("run")?,
        run_as: row.text("run_as")?,
        taken_at: row.time("taken_at")?,
        records: row.count("records")?,
        chunks: row.count("chunks")?,
        bytes: u64::try_from(row.number("bytes")?).unwrap_or_default(),
        digest: row.text("digest")?,
    })
}

impl<D: Database> Store<D> {
    /// Records a snapshot whose blobs are stored. One statement; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn put_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let bytes = i64::try_from(snapshot.bytes)
            .map_err(|_| StoreError::Corrupt("a snapshot is too large".to_owned()))?;
        let statement = Statement::new(
            PUT,
            vec![
                snapshot.id.to_string().into(),
                snapshot.zone.to_string().into(),
                snapshot.zone_name.as_str().into(),
                snapshot.job.as_str().into(),
                snapshot.run.to_string().into(),
                snapshot.run_as.as_str().into(),
                snapshot.taken_at.unix_ms().into(),
                i64::from(snapshot.records).into(),
                i64::from(snapshot.chunks).into(),
                bytes.into(),
                snapshot.digest.as_str().into(),
            ],
        );
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// A snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<Option<Snapshot>, StoreError> {
        let statement = Statement::new(READ, vec![id.to_string().into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        row(&mut results, 0)?.map(into_snapshot).transpose()
    }

    /// Snapshots, newest first, of one zone (id or name) or of all.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn snapshots(
        &self,
        zone: Option<&str>,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Snapshot>, StoreError> {
        const MAX: i64 = (1 << 53) - 1;
        let statement = Statement::new(
            LIST,
            vec![
                zone.map(str::to_owned).into(),
                before.map_or(MAX, Timestamp::unix_ms).into(),
                i64::from(limit).into(),
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(into_snapshot)
            .collect()
    }

    /// Gives up all but the newest `keep` snapshots of a job and zone. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; harmless to repeat.
    pub async fn give_up_snapshots(
        &self,
        job: &str,
        zone: ZoneId,
        keep: u32,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(
            GIVE_UP,
            vec![
                job.into(),
                zone.to_string().into(),
                i64::from(keep).into(),
                now.unix_ms().into(),
            ],
        );
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// Snapshots of a job that were given up and whose content may be there still, at most `limit`:
    /// their ids and numbers of blobs.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn given_up_snapshots(
        &self,
        job: &str,
        limit: u32,
    ) -> Result<Vec<(SnapshotId, u32)>, StoreError> {
        let statement = Statement::new(GIVEN_UP, vec![job.into(), i64::from(limit).into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(|mut row| Ok((row.parsed("id")?, row.count("chunks")?)))
            .collect()
    }

    /// Forgets a snapshot that was given up and whose blobs are gone. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; harmless to repeat.
    pub async fn forget_snapshot(&self, id: SnapshotId) -> Result<(), StoreError> {
        let statement = Statement::new(FORGET, vec![id.to_string().into()]);
        self.database.batch(vec![statement]).await.map(drop)
    }
}
