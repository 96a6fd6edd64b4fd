//! `cache.purge` tells Cloudflare what it is asked to, and every kind says which parameters do not fit.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
use support::works::{Ended, Works};
use zonekeeper::jobs::kind_named;

fn works() -> Works {
    Works::with("")
}

/// Runs the job `purge` with exactly these parameters.
fn purge(works: &Works, params: &Value) -> Ended {
    let run = works.new_run("cache.purge", params);
    works.create(&run);
    works.settle();
    works.ended(run.id)
}

/// The bodies that were sent, each with its zone.
fn purges(works: &Works) -> Vec<(String, Value)> {
    let writes = works.writes().into_iter();
    writes
        .map(|(method, path, body)| {
            assert_eq!(method, "POST");
            let zone = path.strip_prefix("/zones/").unwrap();
            (zone.strip_suffix("/purge_cache").unwrap().to_owned(), body)
        })
        .collect()
}

fn urls(count: usize, host: &str) -> Vec<String> {
    (0..count).map(|n| format!("https://{host}/{n}")).collect()
}

#[test]
fn what_is_named_is_purged_in_the_fewest_calls_of_the_zones_it_belongs_to() {
    let (com, net, org) = (ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID);
    let check = |params: Value, expected: &[(&str, Value)]| {
        let works = works();
        let ended = purge(&works, &params);
        assert_eq!(
            ended.run.state.as_str(),
            "succeeded",
            "{params}: {}",
            ended.says()
        );
        let expected: Vec<(String, Value)> = expected
            .iter()
            .map(|(zone, body)| ((*zone).to_owned(), body.clone()))
            .collect();
        assert_eq!(purges(&works), expected, "{params}");
    };
    check(
        json!({"zones": ["example.com"], "everything": true}),
        &[(com, json!({"purge_everything": true}))],
    );
    check(
        json!({"zones": ["example.com"], "files": ["https://www.example.com/a?b=c", "http://example.com"]}),
        &[(
            com,
            json!({"files": ["https://www.example.com/a?b=c", "http://example.com"]}),
        )],
    );
    // Variants of the cache key are items of their own.
    let variant = json!({"url": "https://example.com/a", "headers": {"CF-Device-Type": "mobile", "Origin": "x"}});
    check(
        json!({"zones": ["example.com"], "files": ["https://example.com/a", variant]}),
        &[(com, json!({"files": ["https://example.com/a", variant]}))],
    );
    check(
        json!({"zones": [com], "tags": ["a", "b"], "hosts": ["www.example.com"], "prefixes": ["www.example.com/x"]}),
        &[
            (com, json!({"tags": ["a", "b"]})),
            (com, json!({"hosts": ["www.example.com"]})),
            (com, json!({"prefixes": ["www.example.com/x"]})),
        ],
    );
    // Tags are of every zone; what has a host goes to the zone of the host, and only there.
    check(
        json!({"zones": ["example.com", "example.org", "EXAMPLE.com."], "tags": ["t"],
            "files": ["https://a.example.org/", "https://EXAMPLE.com:8443/x", "https://example.org"]}),
        &[
            (com, json!({"files": ["https://EXAMPLE.com:8443/x"]})),
            (com, json!({"tags": ["t"]})),
            (
                org,
                json!({"files": ["https://a.example.org/", "https://example.org"]}),
            ),
            (org, json!({"tags": ["t"]})),
        ],
    );
    check(
        json!({"zones": ["*"], "everything": true}),
        &[com, net, org].map(|zone| (zone, json!({"purge_everything": true}))),
    );
    check(
        json!({"zones": ["*.net", "example.net", net], "everything": true}),
        &[(net, json!({"purge_everything": true}))],
    );
    // What stands there twice is purged once.
    check(
        json!({"zones": ["example.com"], "tags": ["a", "b", "a"], "hosts": ["example.com", "example.com"],
            "files": ["https://example.com/a", variant, "https://example.com/a", variant]}),
        &[
            (com, json!({"files": ["https://example.com/a", variant]})),
            (com, json!({"tags": ["a", "b"]})),
            (com, json!({"hosts": ["example.com"]})),
        ],
    );
    let files = urls(250, "example.com");
    check(
        json!({"zones": ["example.com"], "files": files}),
        &[
            (com, json!({"files": files[..100]})),
            (com, json!({"files": files[100..200]})),
            (com, json!({"files": files[200..]})),
        ],
    );
}

#[test]
fn what_is_in_none_of_the_zones_is_not_purged_and_neither_is_the_rest() {
    let works = works();
    let files = ["https://example.com/a", "https://notexample.com/a"];
    let ended = purge(&works, &json!({"zones": ["example.com"], "files": files}));
    assert_eq!(
        ended.says(),
        "failed: The file \"https://notexample.com/a\" is in none of the zones that the run purges."
    );
    let ended = purge(&works, &json!({"zones": ["example.edu"], "tags": ["a"]}));
    assert_eq!(
        ended.says(),
        "failed: There is no zone \"example.edu\" that bot may see."
    );
    assert_eq!(works.sent(), 0);
}

#[test]
fn everything_is_purged_once_more_after_the_delay() {
    let works = works();
    let files = urls(150, "example.com");
    let params = json!({"zones": ["example.com"], "files": files, "verify_after_secs": 90});
    let ended = purge(&works, &params);
    assert_eq!(ended.says(), "succeeded: Done with 5 calls.");
    let bodies = purges(&works);
    assert_eq!(bodies.len(), 4);
    assert_eq!(bodies[..2], bodies[2..]);
    assert_eq!(
        (ended.run.progress.done, ended.run.progress.total),
        (300, 300)
    );
    let ledger = works.harness.outside.network.borrow().lab.ledger();
    let times: Vec<i64> = ledger
        .iter()
        .filter(|entry| entry.method == "POST")
        .map(|entry| entry.time_micros / 1_000_000)
        .collect();
    assert!((90..=150).contains(&(times[2] - times[1])), "{times:?}");
}

/// Parameters that a kind refuses, and what it says of which field.
#[track_caller]
fn refused(kind: &str, params: &Value, field: &str, message: &str) {
    let read = (kind_named(kind).unwrap().parse)(params.as_object().unwrap());
    let error = read.unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.message.as_str()),
        (field, message),
        "{params}"
    );
}

#[test]
fn parameters_of_purges_that_do_not_fit_are_named() {
    let purge = |params: Value, field: &str, message: &str| {
        let mut params = params;
        let members = params.as_object_mut().unwrap();
        members.entry("zones").or_insert(json!(["example.com"]));
        refused("cache.purge", &params, field, message);
    };
    purge(
        json!({"zones": []}),
        "zones",
        "at least one zone must be named",
    );
    purge(
        json!({"zones": ["example.com", "not a zone"], "tags": ["a"]}),
        "zones[1]",
        "\"not a zone\" is no zone: neither a name, nor an id, nor a pattern of names",
    );
    purge(
        json!({"everything": true, "tags": ["a"]}),
        "everything",
        "everything includes what else is named, so name only one of them",
    );
    let nothing = "nothing to purge is named: everything, files, tags, hosts or prefixes";
    purge(json!({}), "", nothing);
    purge(json!({"tags": [], "everything": false}), "", nothing);
    let many: Vec<String> = (0..100_001).map(|n| n.to_string()).collect();
    purge(
        json!({"tags": many}),
        "",
        "one run purges at most 100000 items",
    );
    let no_url = "it must be a URL that begins with http:// or https://";
    for url in [
        "ftp://example.com/",
        "example.com",
        "https://",
        "https://user@example.com/",
        "//x",
    ] {
        purge(json!({"files": [url]}), "files[0]", no_url);
        purge(
            json!({"files": ["https://a.b/", {"url": url, "headers": {}}]}),
            "files[1].url",
            no_url,
        );
    }
    purge(
        json!({"files": [{"url": "https://example.com/", "headers": {"origin": 1}}]}),
        "files[0].headers.origin",
        "the value of a header must be a text",
    );
    purge(
        json!({"files": [1]}),
        "files[0]",
        "expected a URL, or an object of url and headers, found the number 1",
    );
    purge(
        json!({"tags": ["a", " "]}),
        "tags[1]",
        "it must not be empty",
    );
    purge(json!({"hosts": [""]}), "hosts[0]", "it must not be empty");
    for prefix in [
        "https://example.com/a",
        "example.com/a?b",
        "example.com/#a",
        "/a",
    ] {
        let message = "a prefix is a host and a path, without scheme and query";
        purge(json!({"prefixes": [prefix]}), "prefixes[0]", message);
    }
    for secs in [0, 86_401] {
        let message = "it must be a number of seconds from 1 to 86400";
        purge(
            json!({"tags": ["a"], "verify_after_secs": secs}),
            "verify_after_secs",
            message,
        );
    }
}

#[test]
fn parameters_of_snapshots_and_restores_that_do_not_fit_are_named() {
    for kind in ["cache.purge", "dns.snapshot", "dns.restore"] {
        let read = (kind_named(kind).unwrap().parse)(json!({"zone": "x"}).as_object().unwrap());
        let message = read.unwrap_err().message;
        assert!(
            message.starts_with("there is no key \"zone\" here"),
            "{kind}: {message}"
        );
    }
    refused(
        "dns.snapshot",
        &json!({"zones": []}),
        "zones",
        "at least one zone must be named",
    );
    for keep in [0, 10_001] {
        let message = "it must be a number of snapshots from 1 to 10000";
        refused(
            "dns.snapshot",
            &json!({"zones": ["*"], "keep": keep}),
            "keep",
            message,
        );
    }
    let one = "exactly one zone must be named, by name or id";
    for zones in [json!([]), json!(["a.b", "c.d"]), json!(["*.example.com"])] {
        refused("dns.restore", &json!({"zones": zones}), "zones", one);
    }
    refused(
        "dns.restore",
        &json!({"zones": ["a.b"], "snapshot": "0".repeat(32), "taken_before": "2026-01-01T00:00:00Z"}),
        "taken_before",
        "a snapshot is named by its id or by a time, not by both",
    );
}

/// Whether what is named is purged.
fn a_tag_is_purged(works: &Works) -> Result<(), String> {
    let params = json!({"zones": ["example.com"], "tags": ["a"]});
    purge(works, &params).succeeded()?;
    let wanted = [(ZONE_COM_ID.to_owned(), json!({"tags": ["a"]}))];
    let is_purged = purges(works) == wanted;
    is_purged
        .then_some(())
        .ok_or_else(|| "nothing was purged".to_owned())
}

#[test]
fn a_planted_bug_is_noticed() {
    a_tag_is_purged(&works()).unwrap();
    #[cfg(feature = "faults")]
    {
        let works = works();
        works.harness.outside.planted.set(Some("skip_apply"));
        assert!(a_tag_is_purged(&works).is_err());
    }
}
