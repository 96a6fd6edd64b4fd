//! Audit rows. Nothing here changes or deletes one.

use super::database::{Columns, row, rows};
use super::runs::{Hold, begin_step};
use super::{Database, Row, Statement, Store, StoreError, Value};
use crate::audit::{Entry, Event, Intent, JoinedRow, OutcomeRow, ReadBack};
use crate::model::{EntryId, Timestamp};

/// Binds: the columns in order.
const INSERT_INTENT: &str = "INSERT INTO audit_intents (id, principal, credential, source_ip, operation, method, path, zone, \
     resources, grant_name, reason, action, deprecated, read_back) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
/// Binds: the columns in order, then the run and its fence. Nothing is inserted unless the run is held with that fence;
/// gives the id if it was.
const INSERT_RUN_INTENT: &str = "INSERT INTO audit_intents (id, principal, credential, source_ip, operation, method, path, zone, \
     resources, grant_name, reason, action, deprecated, read_back, run_id) \
     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, id FROM runs WHERE id = ?15 AND fence = ?16 AND finished_at IS NULL \
     RETURNING id";
/// Binds: a JSON list of lists, each the columns in order. A row that is there stays as it is; there is
/// none without its intent.
const INSERT_OUTCOMES: &str = "INSERT OR IGNORE INTO audit_outcomes (id, outcome, status, cf_ray, duration_ms, upstream_calls, detail) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(?1) \
     WHERE EXISTS (SELECT 1 FROM audit_intents i WHERE i.id = value ->> 0)";
/// Binds: id, time in Unix ms, happened, detail. Only for an outcome recorded as unknown.
const INSERT_SETTLEMENT: &str = "INSERT OR IGNORE INTO audit_settlements (id, settled_at, happened, detail) \
     SELECT ?1, ?2, ?3, ?4 FROM audit_outcomes WHERE id = ?1 AND outcome = 'unknown'";
/// Binds: a JSON list of lists, each the columns in order.
const INSERT_EVENTS: &str = "INSERT INTO audit_events (id, principal, credential, source_ip, operation, method, path, zone, resources, \
     decision, grant_name, reason, action, deprecated, status, outcome, cf_ray, duration_ms, upstream_calls, run_id) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, \
     value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15, value ->> 16, value ->> 17, \
     value ->> 18, value ->> 19 FROM json_each(?1)";
/// Binds: cutoff. Gives ids in order, from the mark to below the cutoff.
const OPEN_INTENTS: &str = "SELECT i.id FROM audit_intents i LEFT JOIN audit_outcomes o ON o.id = i.id \
     WHERE i.id >= (SELECT reconciled_to FROM control WHERE id = 1) AND i.id < ?1 AND o.id IS NULL ORDER BY i.id LIMIT 201";
/// Binds: the id below which every intent is closed. The mark goes behind the last of them, not to
/// that id itself: after a tick with a clock ahead of ours it would skip what comes meanwhile. It
/// only rises.
const ADVANCE_MARK: &str = "UPDATE control SET reconciled_to = (SELECT max(id) + 1 FROM audit_intents WHERE id < ?1) \
     WHERE id = 1 AND reconciled_to <= (SELECT max(id) FROM audit_intents WHERE id < ?1)";
/// Binds: the oldest id that counts, the first that does not.
const UNSETTLED: &str = "SELECT o.id, i.read_back FROM audit_outcomes o JOIN audit_intents i ON i.id = o.id \
     LEFT JOIN audit_settlements s ON s.id = o.id \
     WHERE o.outcome = 'unknown' AND o.id >= ?1 AND o.id < ?2 AND s.id IS NULL AND i.read_back IS NOT NULL ORDER BY o.id DESC LIMIT 12";
/// Binds: below this id, from this id, principal, operation, zone, decision, how many, run.
const QUERY: &str = "SELECT * FROM ( \
       SELECT i.id, i.principal, i.credential, i.source_ip, i.operation, i.method, i.path, i.resources, 'allow' AS decision, i.grant_name, \
         i.reason, i.action, i.deprecated, o.status, CASE WHEN s.id IS NOT NULL THEN 'settled' ELSE coalesce(o.outcome, 'pending') END AS outcome, \
         o.cf_ray, o.duration_ms, o.upstream_calls, coalesce(s.detail, o.detail) AS detail, s.happened, i.run_id \
       FROM audit_intents i LEFT JOIN audit_outcomes o ON o.id = i.id LEFT JOIN audit_settlements s ON s.id = i.id \
       WHERE i.id < ?1 AND i.id >= ?2 AND (?3 IS NULL OR i.principal = ?3) AND (?4 IS NULL OR i.operation = ?4) \
         AND (?5 IS NULL OR i.zone = ?5) AND (?6 IS NULL OR ?6 = 'allow') AND (?8 IS NULL OR i.run_id = ?8) ORDER BY i.id DESC LIMIT ?7) \
     UNION ALL SELECT * FROM ( \
       SELECT id, principal, credential, source_ip, operation, method, path, resources, decision, grant_name, reason, action, deprecated, \
         status, outcome, cf_ray, duration_ms, upstream_calls, NULL AS detail, NULL AS happened, run_id \
       FROM audit_events WHERE id < ?1 AND id >= ?2 AND (?3 IS NULL OR principal = ?3) AND (?4 IS NULL OR operation = ?4) \
         AND (?5 IS NULL OR zone = ?5) AND (?6 IS NULL OR decision = ?6) AND (?8 IS NULL OR run_id = ?8) ORDER BY id DESC LIMIT ?7) \
     ORDER BY id DESC LIMIT ?7";

/// The largest number an entry can have: D1 binds numbers as JavaScript does.
const MAX_ID: i64 = (1 << 53) - 1;

/// Which entries are asked for. Absent parts do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The principal's name.
    pub principal: Option<String>,
    /// The operation id.
    pub operation: Option<String>,
    /// The zone's id.
    pub zone: Option<String>,
    /// `allow`, `deny` or `approve`.
    pub decision: Option<String>,
    /// The run's id.
    pub run: Option<String>,
    /// Entries at or after this instant.
    pub since: Option<Timestamp>,
    /// Entries before this instant.
    pub until: Option<Timestamp>,
    /// Entries below this number: where the page before ended.
    pub below: Option<EntryId>,
    /// At most so many, 1 to 1,000.
    pub limit: u32,
}

/// Entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<EntryId>,
}

/// Intents without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntents {
    /// Their numbers.
    pub ids: Vec<EntryId>,
    /// Once these are closed, everything below this number is.
    pub reconciled_to: EntryId,
    /// Whether there are more.
    pub more: bool,
}

/// Bytes of a text in an audit row at the most: a path may have 16 KB, and a batch of events is one
/// bound text, of which D1 takes 2 MB (<https://developers.cloudflare.com/d1/platform/limits/>).
const MAX_TEXT_BYTES: usize = 2_000;

/// `text`, cut with a mark where it is too long.
fn cut(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_TEXT_BYTES {
        return text.into();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The one statement that inserts events.
pub(super) fn event_statement(events: &[Event]) -> Result<Statement, StoreError> {
    let rows = events
        .iter()
        .map(|event| {
            let what = &event.what;
            Ok(serde_json::json!([
                event.id.get(),
                event.principal,
                event.credential,
                event.source_ip,
                what.operation,
                what.method,
                cut(&what.path),
                what.zone,
                json(&what.resources)?,
                event.decision,
                event.grant,
                cut(&event.reason),
                cut(what.action.infinitive()),
                i64::from(what.deprecated),
                event.status,
                event.outcome.map(crate::upstream::Outcome::as_str),
                event.cf_ray,
                event.duration_ms,
                event.upstream_calls,
                event.run.map(|run| run.to_string()),
            ]))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Statement::new(INSERT_EVENTS, vec![json(&rows)?.into()]))
}

fn outcomes_statement(rows: &[OutcomeRow]) -> Result<Statement, StoreError> {
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| {
            serde_json::json!([
                row.id.get(),
                row.outcome.as_str(),
                row.status,
                row.cf_ray,
                row.duration_ms,
                row.upstream_calls,
                row.detail.as_deref().map(cut),
            ])
        })
        .collect();
    Ok(Statement::new(INSERT_OUTCOMES, vec![json(&rows)?.into()]))
}

impl<D: Database> Store<D> {
    /// Records what is about to be sent. One statement. After an error nothing may be sent.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the number is taken: take another.
    pub async fn record_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        let statement = Statement::new(INSERT_INTENT, intent_binds(intent)?);
        self.database.batch(vec![statement]).await.map(drop)
    }

    /// Records what a step of a run is about to send, that the step is begun, and that the run is
    /// held on: all of it, or nothing when the run is held by another meanwhile. One batch. After an
    /// error, or `false`, nothing may be sent.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the number is taken: take another.
    pub async fn record_run_intent(
        &self,
        intent: &Intent,
        hold: Hold,
        step: u32,
    ) -> Result<bool, StoreError> {
        let mut binds = intent_binds(intent)?;
        binds.push(hold.run.to_string().into());
        binds.push(hold.fence.into());
        let mut batch = begin_step(hold, step, intent.id);
        let at = batch.len();
        batch.push(Statement::new(INSERT_RUN_INTENT, binds));
        let mut results = self.database.batch(batch).await?;
        Ok(row(&mut results, at)?.is_some())
    }

    /// Records how a write ended. If the scheduler gave it up for unknown meanwhile, this settles
    /// it. One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; the scheduler will find the intent open.
    pub async fn record_outcome(&self, row: &OutcomeRow, now: Timestamp) -> Result<(), StoreError> {
        self.database
            .batch(outcome_statements(row, now)?)
            .await
            .map(drop)
    }

    /// Records that a write's answer was lost and that reading back showed it to have happened.
    /// One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed; the scheduler will find the intent open.
    pub async fn record_settled(&self, row: &OutcomeRow, now: Timestamp) -> Result<(), StoreError> {
        let batch = vec![
            outcomes_statement(std::slice::from_ref(row))?,
            settlement_statement(row.id, true, "read back at once", now),
        ];
        self.database.batch(batch).await.map(drop)
    }

    /// Records events in one statement.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a number is taken and none was recorded: number them anew.
    pub async fn record_events(&self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.database
            .batch(vec![event_statement(events)?])
            .await
            .map(drop)
    }

    /// Intents below `cutoff` that have no outcome, oldest first, at most 200.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn intents_without_outcome(
        &self,
        cutoff: EntryId,
    ) -> Result<OpenIntents, StoreError> {
        let mut results = self
            .database
            .batch(vec![Statement::new(
                OPEN_INTENTS,
                vec![cutoff.get().into()],
            )])
            .await?;
        let mut ids: Vec<EntryId> = rows(&mut results, 0)?
            .iter()
            .map(|row| row.number("id").map(EntryId::from_stored))
            .collect::<Result<_, _>>()?;
        let beyond = (ids.len() > 200).then(|| ids.pop()).flatten();
        Ok(OpenIntents {
            ids,
            reconciled_to: beyond.unwrap_or(cutoff),
            more: beyond.is_some(),
        })
    }

    /// Records the outcomes of lost calls and that everything below `reconciled_to` is closed.
    /// One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed and nothing was recorded.
    pub async fn close_abandoned(
        &self,
        rows: &[OutcomeRow],
        reconciled_to: EntryId,
    ) -> Result<(), StoreError> {
        let mut batch = Vec::with_capacity(2);
        if !rows.is_empty() {
            batch.push(outcomes_statement(rows)?);
        }
        batch.push(Statement::new(
            ADVANCE_MARK,
            vec![reconciled_to.get().into()],
        ));
        self.database.batch(batch).await.map(drop)
    }

    /// Unknown outcomes from `since` to below `until` that can be read back and are not settled, at
    /// most 12: a free plan's invocation has 50 subrequests, and each costs two. The newest come first, so that older
    /// ones which stay undecided do not keep them out.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn unsettled(
        &self,
        since: EntryId,
        until: EntryId,
    ) -> Result<Vec<(EntryId, ReadBack)>, StoreError> {
        let mut results = self
            .database
            .batch(vec![Statement::new(
                UNSETTLED,
                vec![since.get().into(), until.get().into()],
            )])
            .await?;
        rows(&mut results, 0)?
            .into_iter()
            .map(|mut row| {
                let id = row.number("id")?;
                let read_back = ReadBack::from_json(&row.json("read_back")?)
                    .ok_or_else(|| StoreError::Corrupt(format!("intent {id}: read_back")))?;
                Ok((EntryId::from_stored(id), read_back))
            })
            .collect()
    }

    /// Settles an unknown outcome, once.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn settle(
        &self,
        id: EntryId,
        happened: bool,
        detail: &'static str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.database
            .batch(vec![settlement_statement(id, happened, detail, now)])
            .await
            .map(drop)
    }

    /// Entries, newest first. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, StoreError> {
        let end = filter
            .until
            .map_or(MAX_ID, |until| EntryId::first_of(until).get());
        let below = filter.below.map_or(end, |below| below.get().min(end));
        let from = filter
            .since
            .map_or(0, |since| EntryId::first_of(since).get());
        let limit = filter.limit.clamp(1, 1000);
        let mut results = self
            .database
            .batch(vec![Statement::new(
                QUERY,
                vec![
                    below.into(),
                    from.into(),
                    filter.principal.clone().into(),
                    filter.operation.clone().into(),
                    filter.zone.clone().into(),
                    filter.decision.clone().into(),
                    Value::from(i64::from(limit)),
                    filter.run.clone().into(),
                ],
            )])
            .await?;
        let entries: Vec<Entry> = rows(&mut results, 0)?
            .into_iter()
            .map(|row| joined(row).map(Entry::from))
            .collect::<Result<_, _>>()?;
        let full = entries.len() >= limit as usize;
        let next = entries.last().filter(|_| full).map(|entry| entry.id);
        Ok(AuditPage { entries, next })
    }
}

fn intent_binds(intent: &Intent) -> Result<Vec<Value>, StoreError> {
    let Intent {
        id,
        who,
        what,
        grant,
        reason,
        read_back,
    } = intent;
    let read_back = read_back.as_ref().map(|how| how.to_json().to_string());
    Ok(vec![
        id.get().into(),
        who.principal.clone().unwrap_or_default().into(),
        who.credential.as_str().into(),
        who.source_ip.clone().into(),
        what.operation.as_str().into(),
        what.method.as_str().into(),
        cut(&what.path).into_owned().into(),
        what.zone.clone().into(),
        json(&what.resources)?.into(),
        grant.clone().into(),
        cut(reason).into_owned().into(),
        cut(what.action.infinitive()).into_owned().into(),
        what.deprecated.into(),
        read_back.into(),
    ])
}

/// How a write ended. Should the scheduler have given it up for unknown meanwhile, this settles it.
pub(super) fn outcome_statements(
    row: &OutcomeRow,
    now: Timestamp,
) -> Result<Vec<Statement>, StoreError> {
    use crate::upstream::Outcome::{Confirmed, Refused, Throttled, Unknown};
    let mut batch = vec![outcomes_statement(std::slice::from_ref(row))?];
    let happened = match row.outcome {
        Confirmed => Some(true),
        Refused | Throttled { .. } => Some(false),
        Unknown => None,
    };
    // Without effect unless the call was given up, be it that it or only this record of it was slow.
    if let Some(happened) = happened {
        batch.push(settlement_statement(row.id, happened, "answered late", now));
    }
    Ok(batch)
}

fn settlement_statement(id: EntryId, happened: bool, detail: &str, now: Timestamp) -> Statement {
    Statement::new(
        INSERT_SETTLEMENT,
        vec![
            id.get().into(),
            now.unix_ms().into(),
            happened.into(),
            detail.into(),
        ],
    )
}

fn joined(mut row: Columns) -> Result<JoinedRow, StoreError> {
    let status = row.maybe_number("status")?;
    let calls = row.maybe_number("upstream_calls")?;
    Ok(JoinedRow {
        id: EntryId::from_stored(row.number("id")?),
        principal: row.maybe_text("principal")?,
        credential: row.text("credential")?,
        source_ip: row.maybe_text("source_ip")?,
        operation: row.text("operation")?,
        method: row.text("method")?,
        path: row.text("path")?,
        resources: row.text("resources")?,
        decision: row.text("decision")?,
        grant: row.maybe_text("grant_name")?,
        reason: row.text("reason")?,
        action: row.text("action")?,
        deprecated: row.flag("deprecated")?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        outcome: row.maybe_text("outcome")?,
        cf_ray: row.maybe_text("cf_ray")?,
        duration_ms: row.maybe_number("duration_ms")?,
        upstream_calls: calls.and_then(|calls| u32::try_from(calls).ok()),
        detail: row.maybe_text("detail")?,
        happened: row.maybe_number("happened")?.map(|happened| happened != 0),
        run_id: row.maybe_text("run_id")?,
    })
}
