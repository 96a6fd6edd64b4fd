//! `GET /audit`: the log, newest first.

use http::StatusCode;

use super::call::Call;
use super::envelope::{listing, page_info};
use super::serve::store_refusal;
use crate::gateway::{Code, Gateway, Refusal, Reply, Snapshot};
use crate::jobs::Platform;
use crate::model::Timestamp;
use crate::store::{AuditFilter, Database};

/// Entries on a page where the caller does not say.
const DEFAULT_LIMIT: u32 = 50;
/// Entries on a page at the most.
const MAX_LIMIT: u32 = 1_000;
/// With a filter that no index serves, and no `since`, so many days are searched.
const FILTERED_DAYS: i64 = 30;

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// `GET /audit?principal=&operation=&zone=&decision=&run=&since=&until=&limit=&cursor=`
    pub(super) async fn audit_log(&self, call: &Call<'_>) -> Result<Reply<W::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| {
            self.world.log(&format!("read the audit log: {error}"));
            store_refusal(&error)
        };
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let mut filter = read_filter(call.query, &snapshot)?;
        let mut messages = Vec::new();
        let is_filtered = filter.principal.is_some()
            || filter.operation.is_some()
            || filter.zone.is_some()
            || filter.decision.is_some()
            || filter.run.is_some();
        if is_filtered && filter.since.is_none() {
            filter.since = Some(
                filter
                    .until
                    .unwrap_or(now)
                    .plus_ms(-FILTERED_DAYS * 86_400_000),
            );
            messages.push(format!(
                "Searched the last {FILTERED_DAYS} days; name `since` for more."
            ));
        }
        self.world.flush_events().await;
        let page = self.store.audit(&filter).await.map_err(failed)?;
        let cursor = page.next.map(|next| next.to_string());
        let info = page_info(page.entries.len(), cursor.as_deref());
        let entries = serde_json::to_string(&page.entries).unwrap_or_default();
        listing(StatusCode::OK, &entries, Some(info), &messages)
    }
}

fn read_filter(query: Option<&str>, snapshot: &Snapshot) -> Result<AuditFilter, Refusal> {
    let wrong = |name: &str, takes: &str| {
        Refusal::new(
            Code::InvalidParams,
            format!("The query parameter `{name}` takes {takes}."),
        )
    };
    let mut filter = AuditFilter {
        limit: DEFAULT_LIMIT,
        ..AuditFilter::default()
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if seen.iter().any(|seen| *seen == name) {
            return Err(wrong(&name, "one value"));
        }
        let time = || {
            value
                .parse::<Timestamp>()
                .map_err(|_| wrong(&name, "an RFC 3339 time, such as 2026-11-01T12:00:00Z"))
        };
        match name.as_ref() {
            "principal" => filter.principal = Some(value.to_string()),
            "operation" => filter.operation = Some(value.to_string()),
            "zone" => filter.zone = Some(zone_id(&value, snapshot)?),
            "decision" => match value.as_ref() {
                "allow" | "deny" | "approve" => filter.decision = Some(value.to_string()),
                _ => return Err(wrong("decision", "allow, deny or approve")),
            },
            "run" => filter.run = Some(value.to_string()),
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "limit" => {
                filter.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                    .ok_or_else(|| wrong("limit", "a number from 1 to 1000"))?;
            }
            "cursor" => {
                let below = value
                    .parse()
                    .map_err(|_| wrong("cursor", "the cursor of the page before"))?;
                filter.below = Some(below);
            }
            other => {
                return Err(Refusal::new(
                    Code::InvalidParams,
                    format!(
                        "The audit log has no filter `{}`; it has principal, operation, zone, decision, run, since, until, limit and cursor.",
                        crate::gateway::sanitised(other, 40)
                    ),
                ));
            }
        }
        seen.push(name.into_owned());
    }
    Ok(filter)
}

fn zone_id(text: &str, snapshot: &Snapshot) -> Result<String, Refusal> {
    if text.parse::<crate::model::ZoneId>().is_ok() {
        return Ok(text.to_owned());
    }
    snapshot.zone_named(text).map(|id| id.to_string()).ok_or_else(|| {
        Refusal::new(Code::InvalidParams, "The query parameter `zone` takes a zone's id, or a name that the configuration uses.")
    })
}
