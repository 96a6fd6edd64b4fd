//! How often grants were used that say how often they may be.
//!
//! Calls of any minute are counted by the second and deletions of any hour by the minute, so that no
//! window, wherever it begins, holds more than it may.

use serde_json::json;

use super::database::rows;
use super::{Database, Statement, Store, StoreError};
use crate::model::Timestamp;

/// Binds: the uses, as a JSON list of `[grant, counted, bucket, cost, since, most]`. Gives a row for
/// each for which there is no room.
const WITHOUT_ROOM: &str = "SELECT n.key AS number, \
     (SELECT min(u.bucket) FROM grant_uses u WHERE u.grant_name = n.value ->> 0 \
      AND u.counted = n.value ->> 1 AND u.bucket > n.value ->> 4) AS oldest \
     FROM json_each(?1) n WHERE n.value ->> 3 + (SELECT coalesce(sum(u.used), 0) FROM grant_uses u \
      WHERE u.grant_name = n.value ->> 0 AND u.counted = n.value ->> 1 AND u.bucket > n.value ->> 4) \
      > n.value ->> 5 ORDER BY n.key";
/// Binds: the same. Takes all of them if there is room for each, else none.
const TAKE: &str = "INSERT INTO grant_uses (grant_name, counted, bucket, used) \
     SELECT d.value ->> 0, d.value ->> 1, d.value ->> 2, d.value ->> 3 FROM json_each(?1) d \
     WHERE NOT EXISTS (SELECT 1 FROM json_each(?1) n WHERE n.value ->> 3 + \
      (SELECT coalesce(sum(u.used), 0) FROM grant_uses u WHERE u.grant_name = n.value ->> 0 \
      AND u.counted = n.value ->> 1 AND u.bucket > n.value ->> 4) > n.value ->> 5) \
     ON CONFLICT (grant_name, counted, bucket) DO UPDATE SET used = used + excluded.used";
/// Binds: the same. What lies before the window is never counted again.
const DROP_OLD: &str = "DELETE FROM grant_uses WHERE EXISTS (SELECT 1 FROM json_each(?1) n \
     WHERE grant_uses.grant_name = n.value ->> 0 AND grant_uses.counted = n.value ->> 1 \
      AND grant_uses.bucket <= n.value ->> 4)";
/// Binds: the names of the grants there are, as a JSON list.
const FORGET_OTHERS: &str =
    "DELETE FROM grant_uses WHERE grant_name NOT IN (SELECT value FROM json_each(?1))";

/// What of a grant is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Calls in all.
    Calls,
    /// Calls in any minute.
    CallsAMinute,
    /// Deletions in any hour.
    DeletionsAnHour,
}

/// One use of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use<'a> {
    /// The grant's name.
    pub grant: &'a str,
    /// What is counted.
    pub counted: Counted,
    /// How much of it.
    pub cost: u32,
    /// How much there may be.
    pub most: u32,
}

/// The first of several uses for which there is no room; none of them was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithoutRoom {
    /// Its position among the uses.
    pub number: usize,
    /// Seconds after which there may be room again; none where it never comes back.
    pub retry_after_secs: Option<u32>,
}

impl Counted {
    const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::CallsAMinute => "minute",
            Self::DeletionsAnHour => "deletions",
        }
    }

    /// Seconds in a bucket and buckets in a window; the current bucket has only begun, so the window
    /// has one more than would fill it.
    const fn window(self) -> Option<(i64, i64)> {
        match self {
            Self::Calls => None,
            Self::CallsAMinute => Some((1, 61)),
            Self::DeletionsAnHour => Some((60, 61)),
        }
    }
}

impl<D: Database> Store<D> {
    /// Takes every use, or none and says which has no room. One batch.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; they may have been taken all the same.
    pub async fn take_uses(
        &self,
        uses: &[Use<'_>],
        now: Timestamp,
    ) -> Result<Option<WithoutRoom>, StoreError> {
        let seconds = now.unix_ms().div_euclid(1000);
        let list: Vec<_> = uses
            .iter()
            .map(|one| {
                let (bucket, since) = match one.counted.window() {
                    None => (0, -1),
                    Some((secs, buckets)) => {
                        let bucket = seconds.div_euclid(secs);
                        (bucket, bucket - buckets)
                    }
                };
                json!([
                    one.grant,
                    one.counted.name(),
                    bucket,
                    one.cost,
                    since,
                    one.most
                ])
            })
            .collect();
        let list = json!(list).to_string();
        let binds = || vec![list.as_str().into()];
        let batch = vec![
            Statement::new(WITHOUT_ROOM, binds()),
            Statement::new(TAKE, binds()),
            Statement::new(DROP_OLD, binds()),
        ];
        let mut results = self.database.batch(batch).await?;
        let without = rows(&mut results, 0)?;
        let Some(row) = without.first() else {
            return Ok(None);
        };
        let number = usize::try_from(row.number("number")?)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let oldest = row.maybe_number("oldest")?;
        let window = uses.get(number).and_then(|one| one.counted.window());
        let retry_after_secs = window.map(|(secs, buckets)| {
            let free_at = (oldest.unwrap_or(seconds / secs) + buckets) * secs;
            u32::try_from((free_at - seconds).max(1)).unwrap_or(1)
        });
        Ok(Some(WithoutRoom {
            number,
            retry_after_secs,
        }))
    }
}

/// Forgets the uses of every grant but these: one that comes back later begins anew.
pub(super) fn forget_others(grants: &[&str]) -> Statement {
    Statement::new(FORGET_OTHERS, vec![json!(grants).to_string().into()])
}
