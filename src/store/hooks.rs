//! Deliveries of webhooks: each counts once, together with the run it starts.

use serde_json::json;

use super::audit::event_statement;
use super::database::{Columns, row, rows};
use super::logins::FORGET_AT_ONCE;
use super::runs::{NewRun, insert_statements};
use super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::model::{EntryId, RunId, Timestamp};

/// The columns of a delivery, its body aside.
macro_rules! columns {
    () => {
        "number, hook, id, event, outcome, reason, run, replay_of"
    };
}

/// Binds: the columns in order, digest, body.
const INSERT: &str = concat!(
    "INSERT INTO hook_deliveries (",
    columns!(),
    ", digest, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
);
/// Binds: hook, id, digest. The first that is the same delivery or has the same body.
const LIKE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM hook_deliveries WHERE hook = ?1 AND (id = ?2 OR digest = ?3) ORDER BY number LIMIT 1"
);
/// Binds: hook, id. A replay has the body of what it repeats.
const READ: &str = concat!(
    "SELECT ",
    columns!(),
    ", coalesce(body, (SELECT o.body FROM hook_deliveries o WHERE o.hook = d.hook AND o.id = d.replay_of)) AS body \
     FROM hook_deliveries d WHERE hook = ?1 AND id = ?2"
);
/// Binds: hook, outcome, below this number, how many.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM hook_deliveries WHERE hook = ?1 AND (?2 IS NULL OR outcome = ?2) AND number < ?3 ORDER BY number DESC LIMIT ?4"
);
/// Binds: a JSON list of hooks. The newest delivery of each.
const LAST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM hook_deliveries WHERE number IN \
     (SELECT (SELECT max(number) FROM hook_deliveries WHERE hook = h.value) FROM json_each(?1) h)"
);
/// Binds: below this number, how many at the most.
const FORGET: &str = "DELETE FROM hook_deliveries WHERE number IN \
     (SELECT number FROM hook_deliveries WHERE number < ?1 ORDER BY number LIMIT ?2)";

/// How long a delivery is kept, and told from a new one: longer than any sender sends it again.
const KEPT_MS: i64 = 7 * 86_400_000;

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It started a run.
    Started,
    /// It is about something the hook does not wait for.
    Filtered,
    /// The sender only tried the hook.
    Test,
    /// The job cannot be run with what it brings.
    Refused,
}

impl DeliveryOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Filtered => "filtered",
            Self::Test => "test",
            Self::Refused => "refused",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        [Self::Started, Self::Filtered, Self::Test, Self::Refused]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// A delivery that was proved to be its sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The number of its audit entry.
    pub number: EntryId,
    /// The hook's name.
    pub hook: String,
    /// What it is called.
    pub id: String,
    /// What it is about.
    pub event: Option<String>,
    /// What came of it.
    pub outcome: DeliveryOutcome,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// The run it started.
    pub run: Option<RunId>,
    /// The delivery it repeats.
    pub replay_of: Option<String>,
}

fn into_delivery(mut row: Columns) -> Result<Delivery, StoreError> {
    let run = row.maybe_text("run")?.map(|id| id.parse::<RunId>());
    let run = run
        .transpose()
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Delivery {
        number: EntryId::from_stored(row.number("number")?),
        hook: row.text("hook")?,
        id: row.text("id")?,
        event: row.maybe_text("event")?,
        outcome: row.word("outcome", DeliveryOutcome::named)?,
        reason: row.maybe_text("reason")?,
        run,
        replay_of: row.maybe_text("replay_of")?,
    })
}

impl<D: Database> Store<D> {
    /// Records a delivery, the run it starts and the event that tells of it: all of it or nothing. One
    /// batch.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was delivered before ([`Store::delivery_like`] tells), or the
    /// number of the entry is taken: take another.
    pub async fn add_delivery(
        &self,
        delivery: &Delivery,
        digest: Option<&str>,
        body: Option<&str>,
        run: Option<&NewRun>,
        event: &Event,
    ) -> Result<(), StoreError> {
        let mut batch = vec![Statement::new(
            INSERT,
            vec![
                delivery.number.get().into(),
                delivery.hook.as_str().into(),
                delivery.id.as_str().into(),
                delivery.event.clone().into(),
                delivery.outcome.as_str().into(),
                delivery.reason.clone().into(),
                delivery.run.map(|run| run.to_string()).into(),
                delivery.replay_of.clone().into(),
                digest.into(),
                body.into(),
            ],
        )];
        if let Some(run) = run {
            batch.extend(insert_statements(std::slice::from_ref(run)));
        }
        batch.push(event_statement(std::slice::from_ref(event))?);
        self.database.batch(batch).await.map(drop)
    }

    /// The first delivery to a hook of that name, or with that body. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn delivery_like(
        &self,
        hook: &str,
        id: &str,
        digest: Option<&str>,
    ) -> Result<Option<Delivery>, StoreError> {
        let statement = Statement::new(LIKE, vec![hook.into(), id.into(), digest.into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        row(&mut results, 0)?.map(into_delivery).transpose()
    }

    /// A delivery and its body, where that is kept. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn delivery(
        &self,
        hook: &str,
        id: &str,
    ) -> Result<Option<(Delivery, Option<String>)>, StoreError> {
        let statement = Statement::new(READ, vec![hook.into(), id.into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        let Some(mut row) = row(&mut results, 0)? else {
            return Ok(None);
        };
        let body = row.maybe_text("body")?;
        into_delivery(row).map(|delivery| Some((delivery, body)))
    }

    /// Deliveries to a hook, newest first, from below `below` on. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn deliveries(
        &self,
        hook: &str,
        outcome: Option<DeliveryOutcome>,
        below: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        const MAX: i64 = (1 << 53) - 1;
        let statement = Statement::new(
            LIST,
            vec![
                hook.into(),
                outcome.map(DeliveryOutcome::as_str).into(),
                below.map_or(MAX, EntryId::get).into(),
                i64::from(limit).into(),
            ],
        );
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(into_delivery)
            .collect()
    }

    /// The newest delivery to each of these hooks, where it has one. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn last_deliveries(&self, hooks: &[&str]) -> Result<Vec<Delivery>, StoreError> {
        let statement = Statement::new(LAST, vec![json!(hooks).to_string().into()]);
        let mut results = self.database.batch(vec![statement]).await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(into_delivery)
            .collect()
    }

    /// Deletes deliveries of more than a week ago, up to five hundred. One statement; harmless to
    /// repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn forget_deliveries(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = EntryId::first_of(now.plus_ms(-KEPT_MS));
        let binds = vec![before.get().into(), FORGET_AT_ONCE.into()];
        self.database
            .batch(vec![Statement::new(FORGET, binds)])
            .await
            .map(drop)
    }
}
