//! Cache purge and invalidation.
//!
//! NOTES "Cache purge and invalidate": the body is exactly one of five forms; limits are token
//! buckets per account by plan; 200 means accepted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::{Now, SECOND};
use crate::router::Route;
use crate::world::Call;
use crate::zones::{Plan, Zone};

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("POST", "/zones/{zone_id}/purge_cache", zone_wide),
        ("POST", "/zones/{zone_id}/invalidate_cache", zone_wide),
        (
            "POST",
            "/zones/{zone_id}/environments/{environment_id}/purge_cache",
            environment,
        ),
        (
            "POST",
            "/zones/{zone_id}/environments/{environment_id}/invalidate_cache",
            environment,
        ),
    ]
}

const FORMS: [&str; 5] = ["purge_everything", "files", "tags", "hosts", "prefixes"];

/// NOTES "Cache purge and invalidate": tag ≤ 1,024 bytes in API calls.
const MAX_TAG_BYTES: usize = 1024;

/// The two kinds of bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Everything, tags, hosts, prefixes: one token a request.
    Request,
    /// Files: one token a URL.
    Url,
}

/// The level of each token bucket and when it was last brought up to date.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    levels: BTreeMap<(String, Plan, Kind), (i64, Now)>,
}

/// Tokens a second (as tokens per period in seconds) and the size of the bucket.
///
/// NOTES "Cache purge and invalidate": Free 5/min bucket 25, Pro 5/s 25, Business 10/s 50,
/// Enterprise 50/s 500; files 800 URLs/s Free, 1,500 Pro and Business, 3,000 Enterprise. The
/// bucket for files holds one second's worth (hypothesis).
fn rate(plan: Plan, kind: Kind) -> (i64, i64, i64) {
    match (kind, plan) {
        (Kind::Request, Plan::Free) => (5, 60, 25),
        (Kind::Request, Plan::Pro) => (5, 1, 25),
        (Kind::Request, Plan::Business) => (10, 1, 50),
        (Kind::Request, Plan::Enterprise) => (50, 1, 500),
        (Kind::Url, Plan::Free) => (800, 1, 800),
        (Kind::Url, Plan::Pro | Plan::Business) => (1500, 1, 1500),
        (Kind::Url, Plan::Enterprise) => (3000, 1, 3000),
    }
}

impl Buckets {
    /// Takes `tokens`, or says after how many whole seconds they will be there.
    fn take(
        &mut self,
        account: &str,
        plan: Plan,
        kind: Kind,
        tokens: i64,
        now: Now,
    ) -> Result<(), i64> {
        let (per_period, period, size) = rate(plan, kind);
        // Levels count tokens times the period, so that nothing is lost to rounding.
        let full = size * SECOND * period;
        let (level, at) = self
            .levels
            .entry((account.to_owned(), plan, kind))
            .or_insert((full, now));
        let elapsed = now.0.saturating_sub(at.0).clamp(0, 3600 * SECOND);
        *level = level.saturating_add(elapsed * per_period).min(full);
        *at = now;
        let need = tokens * SECOND * period;
        if *level >= need {
            *level -= need;
            return Ok(());
        }
        let rate = per_period * SECOND;
        Err((need - *level + rate - 1) / rate)
    }
}

/// One item that a purge or an invalidation was accepted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purged {
    /// The id of the zone.
    pub zone_id: String,
    /// `purge_everything`, `files`, `tags`, `hosts` or `prefixes`.
    pub form: &'static str,
    /// The item as JSON: a string, an object with `url` and `headers`, or `true` for everything.
    pub item: String,
}

fn zone_wide(call: &mut Call<'_>) -> Outcome {
    purge(call, false)
}

fn environment(call: &mut Call<'_>) -> Outcome {
    purge(call, true)
}

fn purge(call: &mut Call<'_>, in_environment: bool) -> Outcome {
    let zone = call.zone()?;
    let (id, account, plan) = (zone.id.clone(), zone.account_id.clone(), zone.plan);
    let body = call.object()?;
    let mut given = FORMS
        .iter()
        .filter_map(|form| body.get(*form).map(|value| (*form, value)));
    // NOTES "Cache purge and invalidate": exactly one of the forms. Code 1012 is a hypothesis.
    let (Some((form, value)), None) = (given.next(), given.next()) else {
        return Err(ApiError::bad(
            1012,
            "Request must contain exactly one of purge_everything, files, tags, hosts or prefixes",
        ));
    };
    let (kind, tokens) = if form == "purge_everything" {
        if value != &json!(true) {
            return Err(ApiError::bad(1012, "purge_everything must be true"));
        }
        (Kind::Request, 1)
    } else {
        let items = value
            .as_array()
            .filter(|items| !items.is_empty())
            .ok_or_else(|| {
                ApiError::bad(
                    1014,
                    format!("\"{form}\" must be an array that is not empty"),
                )
            })?;
        // NOTES "Cache purge and invalidate": at most 100 items per call; files on Enterprise 500.
        let most = if form == "files" && plan == Plan::Enterprise {
            500
        } else {
            100
        };
        if items.len() > most {
            return Err(ApiError::bad(
                1094,
                format!("You may only purge up to {most} {form} at once"),
            ));
        }
        for item in items {
            check_item(form, item, zone)?;
        }
        if form == "files" {
            if in_environment {
                // NOTES "Error codes": 1136, by URL not possible for this environment.
                return Err(ApiError::bad(
                    1136,
                    "Purging by URL is not possible for this environment",
                ));
            }
            (Kind::Url, i64::try_from(items.len()).unwrap_or(i64::MAX))
        } else {
            (Kind::Request, 1)
        }
    };
    if let Err(wait) = call
        .world
        .purge
        .take(&account, plan, kind, tokens, call.now)
    {
        // NOTES "Rate limits": `retry-after` on 429. Code 1134 is a hypothesis.
        let mut error = ApiError::new(
            429,
            1134,
            "Unable to purge, rate limit reached. Please wait if you need to perform more operations",
        );
        error.headers.push(("retry-after", wait.to_string()));
        return Err(error);
    }
    if let Some(journal) = &mut call.world.purged {
        let items = value.as_array().map_or(std::slice::from_ref(value), |v| v);
        journal.extend(items.iter().map(|item| Purged {
            zone_id: id.clone(),
            form,
            item: item.to_string(),
        }));
    }
    Ok(Reply::ok(&json!({"id": id})))
}

fn check_item(form: &str, item: &Value, zone: &Zone) -> Result<(), ApiError> {
    let bad = |why: &str| ApiError::bad(1016, format!("Invalid item {item} in \"{form}\": {why}"));
    let text = match (form, item) {
        // A file is a URL, or an object with a URL and the headers of its cache key.
        ("files", Value::Object(map)) => {
            if map.get("headers").is_some_and(|h| !h.is_object()) {
                return Err(bad("headers must be an object"));
            }
            map.get("url").and_then(Value::as_str)
        }
        _ => item.as_str(),
    }
    .filter(|t| !t.is_empty())
    .ok_or_else(|| bad("expected a string"))?;
    let host = match form {
        "tags" if text.len() > MAX_TAG_BYTES => return Err(bad("longer than 1024 bytes")),
        "tags" => return Ok(()),
        "files" => text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .and_then(|rest| rest.split(['/', '?', '#']).next())
            .ok_or_else(|| bad("expected an http or https URL"))?,
        "prefixes" if text.contains("://") || text.contains(['?', '#']) => {
            // NOTES "Cache purge and invalidate": host/path, no scheme or query.
            return Err(bad("a prefix has no scheme and no query"));
        }
        _ => text.split('/').next().unwrap_or_default(),
    };
    let host = host
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if form == "hosts" && text.contains('/') {
        return Err(bad("expected a host name"));
    }
    if zone.contains(&host) {
        Ok(())
    } else {
        Err(bad("the host is not in this zone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_at_the_rate_of_its_plan() {
        let mut buckets = Buckets::default();
        let mut take = |at| buckets.take("a", Plan::Free, Kind::Request, 1, Now(at * SECOND));
        for _ in 0..25 {
            assert_eq!(take(0), Ok(()));
        }
        // Five a minute: one every twelve seconds.
        assert_eq!(take(0), Err(12));
        assert_eq!(take(11), Err(1));
        assert_eq!(take(12), Ok(()));
    }
}
