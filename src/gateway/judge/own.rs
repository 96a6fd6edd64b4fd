//! What would take over, or get hold of, something of Zonekeeper's own.

use super::workers::{host_of, plain};
use crate::model::host_to_ascii;
use crate::policy::{WorkerFacts, WorkerPart};
use crate::settings::OwnResources;

/// Whether a call does something to Zonekeeper itself: its script, what it keeps, where it answers.
pub(in crate::gateway) fn touches(
    worker: &WorkerFacts,
    own: &OwnResources,
    is_account: bool,
) -> bool {
    let is_name =
        |text: &str| is_account && own.names.iter().any(|name| name.eq_ignore_ascii_case(text));
    is_name(&worker.script)
        || worker.parts.iter().any(|part| match part {
            WorkerPart::Binding { resource, .. } => resource.as_deref().is_some_and(is_name),
            WorkerPart::Route { pattern } => own.hostnames.iter().any(|host| meets(pattern, host)),
            _ => false,
        })
}

/// Whether a route's pattern may match requests to `host`: in it a star at the beginning stands for
/// the beginning of a host name only.
fn meets(pattern: &str, host: &str) -> bool {
    let wanted = plain(host_of(pattern));
    let end = wanted.strip_prefix('*').filter(|end| !end.contains('*'));
    end.is_none_or(|end| host.ends_with(end)) && may_match(pattern, host)
}

/// Whether a URL pattern, or a host name, may match something at `host`, with or without a scheme. A
/// `*` may stand for anything, a slash included, so only what comes before the first counts; the beginning
/// of an international name may begin anything.
pub(in crate::gateway) fn may_match(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    let (start, has_star) = match pattern.split_once('*') {
        Some((start, _)) => (start, true),
        None => (pattern.as_str(), false),
    };
    let named = host_of(start).split([':', '?']).next().unwrap_or_default();
    if !named.is_ascii() {
        let is_whole = !has_star || !start.ends_with(named);
        return !is_whole || host_to_ascii(named).is_none_or(|ascii| plain(&ascii) == host);
    }
    ["", "http://", "https://"].iter().any(|scheme| {
        let own = format!("{scheme}{host}");
        let goes_on = start.strip_prefix(&own).is_some_and(|rest| {
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            rest.is_empty() || rest.starts_with(['/', ':', '?'])
        });
        goes_on || (has_star && own.starts_with(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e7_a_pattern_that_may_match_our_host_is_seen() {
        for pattern in [
            "zk.example.com",
            "ZK.example.com.",
            "https://zk.example.com/a",
            "zk.example.com:443/*",
            "zk.example.com?x",
            "*",
            "*.example.com/*",
            "*example.com/*",
            "zk*/x",
            "http*://zk.example.com/*",
            "http*zk.example.com/*",
            "h*",
            "zk.example.com*",
            "zk.*",
            "zk.example.com/grüße",
            "ＺＫ.example.com/*",
            "zk。example.com",
            "zü*",
        ] {
            assert!(may_match(pattern, "zk.example.com"), "{pattern}");
        }
        for pattern in [
            "example.com/*",
            "www.example.com/zk.example.com",
            "shop*.example.com/*",
            "zk.example.com.evil.example/*",
            "",
            "zü.example.com",
            "bücher.example.com/*",
        ] {
            assert!(!may_match(pattern, "zk.example.com"), "{pattern}");
        }
    }
}
