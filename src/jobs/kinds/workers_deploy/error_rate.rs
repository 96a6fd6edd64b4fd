//! How often each version fails, as Cloudflare's analytics count it.
//!
//! They are asked as the run's principal, and the new version is compared with the one before over the
//! same time: since the deployment in force was made.

use serde_json::{Value, json};

use super::live::{Deployment, unreadable};
use super::params::Params;
use crate::jobs::hands::Hands;
use crate::jobs::kind::Trouble;
use crate::model::Timestamp;

/// Invocations by version (<https://developers.cloudflare.com/analytics/graphql-api/tutorials/querying-workers-metrics/>).
const QUERY: &str = "query($account: string, $script: string, $since: Time, $until: Time) {
  viewer { accounts(filter: {accountTag: $account}) {
    workersInvocationsAdaptive(limit: 1000, filter: {scriptName: $script, datetime_geq: $since, datetime_lt: $until}) {
      dimensions { scriptVersion } sum { requests errors }
    }
  } }
}";
/// Rows that are given at the most: with as many as that there may be more.
const MAX_ROWS: usize = 1000;
/// Milliseconds before a deployment over which it is asked for the first time.
const TRIED_MS: i64 = 3_600_000;
/// Requests that the new version must have had, unless the parameters say otherwise.
const MIN_REQUESTS: u32 = 50;

/// What a version was asked, and how often it failed.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    requests: f64,
    errors: f64,
}

/// What is counted from `since` until `until`, by version.
async fn rows(
    hands: &dyn Hands,
    params: &Params,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Value>, Trouble> {
    let variables = json!({
        "account": params.account.to_string(),
        "script": params.script,
        "since": since,
        "until": until,
    });
    let question = json!({"query": QUERY, "variables": variables});
    let mut data = hands.query(question.to_string()).await?;
    let rows = data.pointer_mut("/viewer/accounts/0/workersInvocationsAdaptive");
    match rows.map(Value::take) {
        Some(Value::Array(rows)) if rows.len() < MAX_ROWS => Ok(rows),
        _ => Err(unread()),
    }
}

/// Asks once before anything is sent, so that who may not, or would have to wait for an approval, begins nothing.
pub(super) async fn try_out(hands: &dyn Hands, params: &Params) -> Result<(), Trouble> {
    if params.error_rate.is_none() {
        return Ok(());
    }
    let now = hands.now();
    let rows = rows(hands, params, now.plus_ms(-TRIED_MS), now).await?;
    count(&rows, "").map(|_| ())
}

/// Compares the versions; ends the deployment where the new one fails too much more often than the old
/// one. One that has had too few requests is not judged.
pub(super) async fn look(
    hands: &dyn Hands,
    params: &Params,
    deployment: &Deployment,
    (old, new): (&str, &str),
) -> Result<(), Trouble> {
    let Some(rate) = &params.error_rate else {
        return Ok(());
    };
    let since = deployment.created.ok_or_else(unreadable)?;
    // Their clock may be ahead of ours.
    let until = hands.now().max(since.plus_ms(1_000));
    let rows = rows(hands, params, since, until).await?;
    let (old, new) = (count(&rows, old)?, count(&rows, new)?);
    if new.requests < f64::from(rate.min_requests.unwrap_or(MIN_REQUESTS))
        || new.percent() - old.percent() <= rate.max_percent_points
    {
        return Ok(());
    }
    Err(Trouble::Impossible(format!(
        "The new version failed {} % of {} requests since {since}, the one before {} % of {}.",
        shown(new.percent()),
        new.requests,
        shown(old.percent()),
        old.requests,
    )))
}

/// What the rows say of a version; nothing where none is about it.
fn count(rows: &[Value], version: &str) -> Result<Count, Trouble> {
    let mut count = Count::default();
    for row in rows {
        let of = row.pointer("/dimensions/scriptVersion");
        let of = of.and_then(Value::as_str).ok_or_else(unread)?;
        let number = |pointer: &str| {
            let number = row.pointer(pointer).filter(|number| number.is_u64());
            number.and_then(Value::as_f64).ok_or_else(unread)
        };
        let (requests, errors) = (number("/sum/requests")?, number("/sum/errors")?);
        if of == version {
            count.requests += requests;
            count.errors += errors;
        }
    }
    Ok(count)
}

impl Count {
    /// The share that failed; none of none.
    fn percent(self) -> f64 {
        100.0 * self.errors / self.requests.max(1.0)
    }
}

/// With two digits behind the point at the most.
fn shown(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

fn unread() -> Trouble {
    Trouble::Again("Cloudflare's analytics of the Worker could not be read.".to_owned())
}
