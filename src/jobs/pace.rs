//! How fast Cloudflare's purge buckets may be drawn from.

use crate::upstream::RateLimit;

/// How a bucket fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// Microseconds in which one unit flows in.
    pub(super) unit_us: i64,
    /// Units the bucket holds.
    pub(super) depth: i64,
}

/// What a purge draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PurgeUnit {
    /// One for each call: everything, tags, hosts, prefixes.
    Call,
    /// One for each URL.
    Url,
}

/// The bucket that purges of an account's zones on a plan draw from, such as `purge/{account}/pro/url`.
#[must_use]
pub(super) fn purge_bucket(account: &str, plan: &str, unit: PurgeUnit) -> String {
    let unit = match unit {
        PurgeUnit::Call => "call",
        PurgeUnit::Url => "url",
    };
    format!("purge/{account}/{}/{unit}", known_plan(plan))
}

/// The plan as buckets know it; what is not known is as slow as the slowest.
fn known_plan(plan: &str) -> &'static str {
    match plan {
        "enterprise" => "enterprise",
        "business" => "business",
        "pro" => "pro",
        _ => "free",
    }
}

/// How a bucket fills, by its name. Purges by tag, host, prefix or of everything: 5 a minute on Free
/// (25 at once), 5 a second on Pro (25), 10 on Business (50), 50 on Enterprise (500); by URL 800, 1,500,
/// 1,500 and 3,000 URLs a second
/// (<https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits>).
///
/// A tenth of the depth is left to others and to clocks that differ.
#[must_use]
pub(super) fn rate_of(bucket: &str) -> Option<Rate> {
    let mut parts = bucket.split('/');
    let ("purge", _, plan, unit) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?)
    else {
        return None;
    };
    let (unit_us, depth) = match (unit, plan) {
        ("call", "enterprise") => (20_000, 500),
        ("call", "business") => (100_000, 50),
        ("call", "pro") => (200_000, 25),
        ("call", _) => (12_000_000, 25),
        (_, "enterprise") => (334, 3_000),
        (_, "business" | "pro") => (667, 1_500),
        _ => (1_250, 800),
    };
    let depth = depth - depth / 10;
    Some(Rate { unit_us, depth })
}

/// Milliseconds for which nothing may be drawn after an answer that said this of the limits.
#[must_use]
pub(super) fn pause_ms(limits: &[RateLimit]) -> Option<i64> {
    limits
        .iter()
        .filter(|limit| limit.remaining == 0)
        .map(|limit| i64::from(limit.reset_secs) * 1000)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_as_its_plan_says() {
        let rate = |plan, unit| rate_of(&purge_bucket("a1", plan, unit)).unwrap();
        let free = rate("free", PurgeUnit::Call);
        assert_eq!((free.unit_us, free.depth), (12_000_000, 23));
        assert_eq!(rate("something new", PurgeUnit::Call), free);
        let pro = rate("pro", PurgeUnit::Url);
        assert_eq!((pro.unit_us, pro.depth), (667, 1_350));
        assert_eq!(rate_of("other/a/b/c"), None);
    }

    #[test]
    fn an_exhausted_limit_pauses_until_its_reset() {
        let limit = |remaining, reset_secs| RateLimit {
            remaining,
            reset_secs,
        };
        assert_eq!(pause_ms(&[limit(3, 60)]), None);
        assert_eq!(pause_ms(&[limit(0, 30), limit(0, 2)]), Some(30_000));
    }
}
