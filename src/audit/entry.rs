//! The rows of the audit log and the entry they make together.

use serde::Serialize;

use super::read_back::ReadBack;
use super::{Action, sentence};
use crate::model::{EntryId, RunId, Timestamp};
use crate::upstream::Outcome;

/// Who called, and how they proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The principal; `None` when the credential was missing or not accepted.
    pub principal: Option<String>,
    /// How it proved itself, such as `key Ab12Cd34Ef56`; never the secret.
    pub credential: String,
    /// The address Cloudflare reports, where it does.
    pub source_ip: Option<String>,
    /// The run it is a part of.
    pub run: Option<RunId>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The catalogue's operation id, `METHOD /template`, or `unknown`.
    pub operation: String,
    /// The HTTP method as sent.
    pub method: String,
    /// The path without its query, which may hold anything.
    pub path: String,
    /// The zone it concerns.
    pub zone: Option<String>,
    /// Everything it concerns, such as `zone:…`.
    pub resources: Vec<String>,
    /// What it does, in words.
    pub action: Action,
    /// Whether Cloudflare has deprecated the operation.
    pub deprecated: bool,
}

/// A write about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its number.
    pub id: EntryId,
    /// Who asked.
    pub who: Who,
    /// For what.
    pub what: What,
    /// The grant that allows it.
    pub grant: Option<String>,
    /// Why it is allowed, in words.
    pub reason: String,
    /// How to find out whether it happened.
    pub read_back: Option<ReadBack>,
}

/// How a write ended, as far as the call could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeRow {
    /// The number of its intent.
    pub id: EntryId,
    /// How it ended.
    pub outcome: Outcome,
    /// The status the caller got; `None` when the caller got none that is known.
    pub status: Option<u16>,
    /// Cloudflare's name for the call.
    pub cf_ray: Option<String>,
    /// From its arrival to the answer's headers.
    pub duration_ms: i64,
    /// Calls made upstream for it.
    pub upstream_calls: u32,
    /// What Cloudflare or we had to say about it.
    pub detail: Option<String>,
}

/// A call that is complete in one row: a read, a refusal, or a change of Zonekeeper's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub id: EntryId,
    /// Who asked; flattened so that a row of a read costs little.
    pub principal: Option<String>,
    /// How they proved it.
    pub credential: String,
    /// The address Cloudflare reports.
    pub source_ip: Option<String>,
    /// The run it is a part of.
    pub run: Option<RunId>,
    /// What was asked for.
    pub what: What,
    /// `allow`, `deny` or `approve`.
    pub decision: &'static str,
    /// The rule that decided.
    pub grant: Option<String>,
    /// Why, in words.
    pub reason: String,
    /// The status the caller got.
    pub status: u16,
    /// How the upstream call ended, where there was one.
    pub outcome: Option<Outcome>,
    /// Cloudflare's name for the call.
    pub cf_ray: Option<String>,
    /// From its arrival to the answer's headers.
    pub duration_ms: i64,
    /// Calls made upstream for it.
    pub upstream_calls: u32,
}

impl Event {
    /// Puts who, what and why together with how it ended.
    #[must_use]
    pub fn of(id: EntryId, who: Who, what: What) -> Self {
        Self {
            id,
            principal: who.principal,
            credential: who.credential,
            source_ip: who.source_ip,
            run: who.run,
            what,
            decision: "allow",
            grant: None,
            reason: String::new(),
            status: 200,
            outcome: None,
            cf_ray: None,
            duration_ms: 0,
            upstream_calls: 0,
        }
    }
}

/// An entry of the audit log as the API shows it: the rows of one number, joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number, a text in JSON.
    pub id: EntryId,
    /// When the call arrived.
    pub time: Timestamp,
    /// The principal, where the credential was accepted.
    pub principal: Option<String>,
    /// How it proved itself.
    pub credential: String,
    /// The address Cloudflare reports.
    pub source_ip: Option<String>,
    /// The operation id.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// What it concerned.
    pub resources: Vec<String>,
    /// `allow`, `deny` or `approve`.
    pub decision: String,
    /// The rule that decided.
    pub grant: Option<String>,
    /// Why.
    pub reason: String,
    /// The status the caller got.
    pub status: Option<u16>,
    /// `pending`, `confirmed`, `refused`, `throttled`, `unknown` or `settled`; `None` when nothing
    /// was sent.
    pub outcome: Option<String>,
    /// Cloudflare's name for the call.
    pub cf_ray: Option<String>,
    /// From its arrival to the answer's headers.
    pub duration_ms: Option<i64>,
    /// Calls made upstream for it.
    pub upstream_calls: Option<u32>,
    /// The change it made.
    pub change_id: Option<String>,
    /// The run it belonged to.
    pub run_id: Option<String>,
    /// Whether Cloudflare has deprecated the operation.
    pub deprecated: bool,
    /// All of it in one sentence.
    pub sentence: String,
}

/// One row of the query that joins the tables; see [`Entry`] for what its parts are.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in the entry made of it")]
pub struct JoinedRow {
    pub id: EntryId,
    pub principal: Option<String>,
    pub credential: String,
    pub source_ip: Option<String>,
    pub operation: String,
    pub method: String,
    pub path: String,
    pub resources: String,
    pub decision: String,
    pub grant: Option<String>,
    pub reason: String,
    pub action: String,
    pub deprecated: bool,
    pub status: Option<u16>,
    pub outcome: Option<String>,
    pub cf_ray: Option<String>,
    pub duration_ms: Option<i64>,
    pub upstream_calls: Option<u32>,
    pub detail: Option<String>,
    pub happened: Option<bool>,
    pub run_id: Option<String>,
}

impl From<JoinedRow> for Entry {
    fn from(row: JoinedRow) -> Self {
        let id = row.id;
        let sentence = sentence::compose(&sentence::Parts {
            principal: row.principal.as_deref(),
            credential: &row.credential,
            action: &Action::new(row.action),
            decision: &row.decision,
            grant: row.grant.as_deref(),
            reason: &row.reason,
            outcome: row.outcome.as_deref(),
            status: row.status,
            upstream_calls: row.upstream_calls,
            detail: row.detail.as_deref(),
            happened: row.happened,
        });
        Self {
            id,
            time: id.time(),
            principal: row.principal,
            credential: row.credential,
            source_ip: row.source_ip,
            operation: row.operation,
            method: row.method,
            path: row.path,
            // The column is written by us; an unreadable list shows as one odd item, not as none.
            resources: serde_json::from_str(&row.resources).unwrap_or_else(|_| vec![row.resources]),
            decision: row.decision,
            grant: row.grant,
            reason: row.reason,
            status: row.status,
            outcome: row.outcome,
            cf_ray: row.cf_ray,
            duration_ms: row.duration_ms,
            upstream_calls: row.upstream_calls,
            change_id: None,
            run_id: row.run_id,
            deprecated: row.deprecated,
            sentence,
        }
    }
}
