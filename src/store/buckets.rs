//! Upstream buckets besides the general one, drawn from by every isolate alike.
//!
//! A bucket is kept as the instant at which it is full again (the generic cell rate algorithm, ITU-T
//! I.371 annex A): drawing moves that instant on, and a draw that would move it further ahead than
//! the bucket is deep has to wait.

use super::database::row;
use super::{Database, Statement, Store, StoreError};
use crate::model::Timestamp;

/// Binds: bucket, now in µs, cost in µs, depth in µs, now in ms. Gives a row if it was drawn.
const DRAW: &str = "INSERT INTO buckets (name, full_at, blocked_until) VALUES (?1, ?2 + ?3, 0) \
     ON CONFLICT (name) DO UPDATE SET full_at = max(full_at, ?2) + ?3 \
     WHERE max(full_at, ?2) + ?3 - ?2 <= ?4 AND blocked_until <= ?5 RETURNING full_at";
/// Binds: bucket.
const READ: &str = "SELECT full_at, blocked_until FROM buckets WHERE name = ?1";
/// Binds: bucket, now in µs, blocked until in ms. Never shortens a block.
const BLOCK: &str = "INSERT INTO buckets (name, full_at, blocked_until) VALUES (?1, ?2, ?3) \
     ON CONFLICT (name) DO UPDATE SET blocked_until = max(blocked_until, ?3)";

/// What came of drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawn {
    /// It was drawn: the call may be made.
    Now,
    /// There is not enough in it; try again then.
    NotBefore(Timestamp),
}

impl<D: Database> Store<D> {
    /// Draws `cost_us` from a bucket that is `depth_us` deep, both as the microseconds in which it
    /// fills so far. One batch; of several callers the bucket never gives more than it has.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; it may have been drawn all the same.
    pub async fn draw(
        &self,
        bucket: &str,
        cost_us: i64,
        depth_us: i64,
        now: Timestamp,
    ) -> Result<Drawn, StoreError> {
        let now_us = now.unix_ms() * 1000;
        let cost_us = cost_us.min(depth_us);
        let mut results = self
            .database
            .batch(vec![
                Statement::new(
                    DRAW,
                    vec![
                        bucket.into(),
                        now_us.into(),
                        cost_us.into(),
                        depth_us.into(),
                        now.unix_ms().into(),
                    ],
                ),
                Statement::new(READ, vec![bucket.into()]),
            ])
            .await?;
        if row(&mut results, 0)?.is_some() {
            return Ok(Drawn::Now);
        }
        let row = row(&mut results, 1)?
            .ok_or_else(|| StoreError::Corrupt(format!("bucket {bucket} is missing")))?;
        let room_at = row.number("full_at")? + cost_us - depth_us;
        let room_at_ms = room_at / 1000 + i64::from(room_at % 1000 > 0);
        let at = room_at_ms
            .max(row.number("blocked_until")?)
            .max(now.unix_ms() + 1);
        Ok(Drawn::NotBefore(Timestamp::from_unix_ms(at)))
    }

    /// Lets nobody draw from a bucket until then: Cloudflare said so. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn block_bucket(
        &self,
        bucket: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = Statement::new(
            BLOCK,
            vec![
                bucket.into(),
                (now.unix_ms() * 1000).into(),
                until.unix_ms().into(),
            ],
        );
        self.database.batch(vec![statement]).await.map(drop)
    }
}
