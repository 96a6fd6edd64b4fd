//! What grants mean, row by row: a call, and what the policy below says to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

use std::fmt::Write as _;
use std::rc::Rc;

use zonekeeper::catalog::{self, Method};
use zonekeeper::config::document::Document;
use zonekeeper::config::{AccountRef, Format, Resolution, ZoneRef, read};
use zonekeeper::model::{RecordName, Timestamp};
use zonekeeper::policy::{
    CompileError, CompileProblem, Decision, Facts, Moment, Policy, PurgeFacts, Pushdown, Reason,
    RecordFacts, Request, Resource, Target, Visible, WorkerFacts, WorkerPart, compile,
};

const COM: &str = "00000000000000000000000000000c01";
const NET: &str = "00000000000000000000000000000e02";
const ORG: &str = "00000000000000000000000000000f03";
const ACME: &str = "000000000000000000000000000000a1";
const OTHER: &str = "000000000000000000000000000000a2";

/// The instant of every call unless it says otherwise.
const NOW: &str = "2026-11-01T12:00:00Z";

const CONFIG: &str = r#"
[[principals]]
name = "acme-bot"
kind = "key"
[[principals]]
name = "dns-admin"
kind = "key"
[[principals]]
name = "site-ci"
kind = "key"
[[principals]]
name = "purger"
kind = "key"
[[principals]]
name = "operator"
kind = "key"
[[principals]]
name = "careful"
kind = "key"
[[principals]]
name = "temporary"
kind = "key"
[[principals]]
name = "nobody"
kind = "key"

# Only the challenge records of one zone.
[[grants]]
name = "acme-challenges"
principals = ["acme-bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["_acme-challenge.**"], types = ["TXT"] }

# All DNS of all zones, but never the apex of example.com, and mail only with approval.
[[grants]]
name = "all-dns"
principals = ["dns-admin"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["*"]
[[grants]]
name = "keep-apex"
principals = ["dns-admin"]
effect = "deny"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["example.com", '\*.example.com'] }
[[grants]]
name = "ask-for-mail"
principals = ["dns-admin"]
effect = "approve"
permissions = ["DNS Write"]
zones = ["*"]
dns = { types = ["MX"] }

# A deployment: each condition concerns its own product.
[[grants]]
name = "site-deploy"
principals = ["site-ci"]
effect = "allow"
permissions = ["Workers Scripts Write", "Cache Purge"]
accounts = ["Acme"]
zones = ["example.com"]
workers = { scripts = ["site"] }
purge = { prefixes = ["example.com/site/"], tags = ["site"], files = ["https://example.com/robots.txt"], hosts = ["static.example.com"] }

[[grants]]
name = "any-purge"
principals = ["purger"]
effect = "allow"
permissions = ["Cache Purge"]
zones = ["example.net", "example.org"]
[[grants]]
name = "purge-all-of-org"
principals = ["purger"]
effect = "allow"
permissions = ["Cache Purge"]
zones = ["example.org"]
purge = { everything = true }
[[grants]]
name = "keep-archive"
principals = ["purger"]
effect = "deny"
permissions = ["Cache Purge"]
zones = ["example.net"]
purge = { prefixes = ["example.net/archive/"] }

# Everything a person might need, and three things by name.
[[grants]]
name = "operator-zones"
principals = ["operator"]
effect = "allow"
permissions = ["Zone Write", "Zone Settings Edit", "Zonekeeper Config Write"]
zones = ["*"]
[[grants]]
name = "operator-account"
principals = ["operator"]
effect = "allow"
permissions = ["Account Settings Write", "Workers Scripts Read", "Zone Write", "DNS Write"]
accounts = ["Acme"]
[[grants]]
name = "operator-user"
principals = ["operator"]
effect = "allow"
permissions = ["API Tokens Write", "User Details Read"]
[[grants]]
name = "may-delete-net"
principals = ["operator"]
effect = "allow"
operations = ["zones-0-delete", "GET /zones/{zone_id}/brand_new/{id}"]
zones = ["example.net"]
[[grants]]
name = "may-mint"
principals = ["dns-admin"]
effect = "allow"
operations = ["user-api-tokens-create-token"]
[[grants]]
name = "no-zone-writes-on-org"
principals = ["operator"]
effect = "deny"
permissions = ["Zone Settings Write"]
zones = ["example.org"]

# Conditions that cannot be judged work against the caller: nothing says where it calls from.
[[grants]]
name = "careful-dns"
principals = ["careful"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
source_ips = ["192.0.2.0/24"]
[[grants]]
name = "careful-settings"
principals = ["careful"]
effect = "allow"
permissions = ["Zone Settings Write"]
zones = ["example.net", "example.org"]
[[grants]]
name = "not-at-night"
principals = ["careful"]
effect = "deny"
permissions = ["Zone Settings Write"]
zones = ["example.net"]
hours = { from = "22:00", until = "06:00", timezone = "Europe/Berlin" }
[[grants]]
name = "ask-outside-the-office"
principals = ["careful"]
effect = "approve"
permissions = ["Zone Settings Write"]
zones = ["example.org"]
source_ips = ["198.51.100.0/24"]

[[grants]]
name = "until-noon"
principals = ["temporary"]
effect = "allow"
permissions = ["DNS Read"]
zones = ["example.com"]
not_after = "2026-11-01T12:00:00Z"
[[grants]]
name = "one-value"
principals = ["temporary"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.net"]
dns = { names = ["home.example.net"], types = ["A", "AAAA"], contents = ["203.0.113.0/24"], proxied = false, max_changes = 1 }
"#;

fn document(text: &str) -> Rc<Document> {
    Rc::new(read(text.as_bytes(), Format::Toml).unwrap().document)
}

fn resolution() -> Rc<Resolution> {
    let mut resolution = Resolution::default();
    for (name, id) in [
        ("example.com", COM),
        ("example.net", NET),
        ("example.org", ORG),
    ] {
        let zone = ZoneRef {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            account: ACME.parse().unwrap(),
        };
        resolution.zones.insert(name.to_owned(), zone);
    }
    for (name, id) in [("Acme", ACME), ("Other", OTHER)] {
        let account = AccountRef {
            id: id.parse().unwrap(),
            name: name.to_owned(),
        };
        resolution.accounts.insert(name.to_owned(), account);
    }
    Rc::new(resolution)
}

/// Why a text cannot be compiled: by itself, or what it says of conditions.
fn refused(text: &str) -> CompileError {
    compile(&document(text), &resolution())
        .and_then(|policy| policy.check_conditions())
        .unwrap_err()
}

fn policy() -> Policy {
    compile(&document(CONFIG), &resolution()).unwrap()
}

fn record(kind: &str, name: &str, zone: &str, content: &str) -> RecordFacts {
    RecordFacts {
        name: RecordName::canonical(name, zone).unwrap(),
        kind: kind.to_owned(),
        content: Some(content.to_owned()),
        proxied: None,
    }
}

/// A call: a principal, a method and a path in which a zone stands for its id.
fn with_request<R>(
    policy: &Policy,
    who: &str,
    call: &str,
    facts: Facts<'_>,
    judge: impl FnOnce(&Request<'_>) -> R,
) -> R {
    let (method, path) = call.split_once(' ').unwrap();
    let method = Method::from_str(method).unwrap();
    let path = path
        .replace("example.com", COM)
        .replace("example.net", NET)
        .replace("example.org", ORG)
        .replace("Acme", ACME)
        .replace("Other", OTHER);
    let resolved = catalog::resolve(method, &path);
    let mut resources = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    if let Some(at) = segments.iter().position(|segment| *segment == "zones") {
        resources.extend(
            segments
                .get(at + 1)
                .map(|id| Resource::Zone(id.parse().unwrap())),
        );
    }
    if let Some(at) = segments.iter().position(|segment| *segment == "accounts") {
        resources.extend(
            segments
                .get(at + 1)
                .map(|id| Resource::Account(id.parse().unwrap())),
        );
    }
    let target = match &resolved {
        Some(resolved) => Target::Operation(resolved.operation),
        None => Target::Unknown {
            method,
            path: &path,
        },
    };
    judge(&Request {
        is_own: false,
        principal: policy.principal(who).unwrap(),
        target,
        resources: &resources,
        facts,
        moment: Moment::at(NOW.parse().unwrap()),
    })
}

fn shown(policy: &Policy, decision: Decision) -> String {
    let mut text = format!("{:?}", decision.effect).to_lowercase();
    if let Some(grant) = decision.grant {
        let _ = write!(text, " by {}", policy.grant_name(grant));
    }
    if !matches!(
        decision.reason,
        Reason::Granted | Reason::DeniedByGrant | Reason::ApprovalRequired | Reason::NotGranted
    ) {
        let _ = write!(text, ", {:?}", decision.reason);
    }
    text
}

/// `who` makes `call`, with what is known of it; `expected` is the effect, the grant that decided,
/// and the reason where it is not the plain one.
#[track_caller]
fn check(who: &str, call: &str, facts: Facts<'_>, expected: &str) {
    let policy = policy();
    with_request(&policy, who, call, facts, |request| {
        let decision = policy.decide(request);
        assert_eq!(shown(&policy, decision), expected, "{who}: {call}");
        let sentence = policy.explain(request, &decision);
        assert!(sentence.starts_with(who), "{sentence}");
        assert!(!sentence.contains(['{', '}', '\n']), "{sentence}");
        if let (Target::Operation(operation), false) = (request.target, decision.is_allowed()) {
            let name = operation.name().replace(['{', '}'], "");
            assert!(sentence.contains(&name), "{sentence}");
            assert!(sentence.contains(';'), "says what is needed: {sentence}");
        }
    });
}

/// The call is about one record, written as `TYPE name` or `TYPE name content`.
#[track_caller]
fn check_record(who: &str, call: &str, written: &str, expected: &str) {
    let zone = ["example.com", "example.net", "example.org"]
        .into_iter()
        .find(|zone| call.contains(zone))
        .unwrap();
    let mut words = written.splitn(3, ' ');
    let (kind, name) = (words.next().unwrap(), words.next().unwrap());
    let records = [record(kind, name, zone, words.next().unwrap_or("x"))];
    check(who, call, Facts::Records(&records), expected);
}

/// The call purges these: `everything`, `tag …`, `host …`, a URL, or a prefix.
#[track_caller]
fn check_purge(who: &str, zone: &str, items: &[&str], expected: &str) {
    let mut facts = PurgeFacts::default();
    for item in items {
        match item.split_once(' ') {
            Some(("tag", tag)) => facts.tags.push(tag.to_owned()),
            Some(("host", host)) => facts.hosts.push(host.to_owned()),
            _ if *item == "everything" => facts.everything = true,
            _ if item.contains("://") => facts.files.push((*item).to_owned()),
            _ => facts.prefixes.push((*item).to_owned()),
        }
    }
    check(
        who,
        &format!("POST /zones/{zone}/purge_cache"),
        Facts::Purge(&facts),
        expected,
    );
}

const CREATE: &str = "POST /zones/example.com/dns_records";
const CREATE_NET: &str = "POST /zones/example.net/dns_records";

#[test]
fn a_grant_for_challenges_covers_challenges_only() {
    check_record(
        "acme-bot",
        CREATE,
        "TXT _acme-challenge",
        "allow by acme-challenges",
    );
    check_record(
        "acme-bot",
        CREATE,
        "TXT _acme-challenge.www",
        "allow by acme-challenges",
    );
    check_record(
        "acme-bot",
        CREATE,
        "TXT _ACME-Challenge.www.example.com.",
        "allow by acme-challenges",
    );
    check_record(
        "acme-bot",
        CREATE,
        "TXT _acme-challenge.a.b",
        "allow by acme-challenges",
    );
    check_record("acme-bot", CREATE, "A _acme-challenge", "deny");
    check_record("acme-bot", CREATE, "CNAME _acme-challenge.www", "deny");
    check_record("acme-bot", CREATE, "TXT www", "deny");
    check_record("acme-bot", CREATE, "TXT @", "deny");
    check_record("acme-bot", CREATE, "TXT x._acme-challenge", "deny");
    check_record("acme-bot", CREATE, "TXT *", "deny");
    check_record("acme-bot", CREATE, "TXT *.example.com", "deny");
    check_record("acme-bot", CREATE_NET, "TXT _acme-challenge", "deny");
    let by_id = "DELETE /zones/example.com/dns_records/1";
    check_record(
        "acme-bot",
        by_id,
        "TXT _acme-challenge",
        "allow by acme-challenges",
    );
    check_record("acme-bot", by_id, "TXT spf", "deny");
    check("acme-bot", by_id, Facts::Unread, "deny, Unjudged");
    check("acme-bot", CREATE, Facts::Records(&[]), "deny, Unjudged");
}

#[test]
fn a_condition_on_records_does_not_open_what_is_not_a_record() {
    check(
        "acme-bot",
        "GET /zones/example.com/dnssec",
        Facts::Unread,
        "deny, Unjudged",
    );
    check(
        "acme-bot",
        "PATCH /zones/example.com/dnssec",
        Facts::Unread,
        "deny, NamedOnly",
    );
    check(
        "acme-bot",
        "GET /zones/example.com/dns_records/export",
        Facts::Unread,
        "deny, Unjudged",
    );
    check(
        "acme-bot",
        "GET /zones/example.com/pagerules/1",
        Facts::Unread,
        "deny, Unjudged",
    );
    check(
        "acme-bot",
        "GET /zones/example.com/settings/ssl",
        Facts::Unread,
        "deny",
    );
}

#[test]
fn every_record_of_a_batch_is_judged_and_the_worst_decides() {
    let batch = "POST /zones/example.com/dns_records/batch";
    let challenge = record("TXT", "_acme-challenge", "example.com", "x");
    let www = record("A", "www", "example.com", "192.0.2.1");
    let mx = record("MX", "mail", "example.com", "mx.example.net");
    let apex = record("A", "@", "example.com", "192.0.2.1");
    let both = [challenge.clone(), www.clone()];
    check(
        "acme-bot",
        batch,
        Facts::Records(&both[..1]),
        "allow by acme-challenges",
    );
    check("acme-bot", batch, Facts::Records(&both), "deny");
    check(
        "dns-admin",
        batch,
        Facts::Records(&both),
        "allow by all-dns",
    );
    check(
        "dns-admin",
        batch,
        Facts::Records(&[www.clone(), mx.clone()]),
        "approve by ask-for-mail",
    );
    check(
        "dns-admin",
        batch,
        Facts::Records(&[mx, apex, www]),
        "deny by keep-apex",
    );
}

#[test]
fn deny_wins_over_approve_and_approve_over_allow() {
    check_record("dns-admin", CREATE, "A www", "allow by all-dns");
    check_record("dns-admin", CREATE, "A @", "deny by keep-apex");
    check_record("dns-admin", CREATE, "MX @", "deny by keep-apex");
    check_record("dns-admin", CREATE, "A *", "deny by keep-apex");
    check_record("dns-admin", CREATE, "MX mail", "approve by ask-for-mail");
    check_record("dns-admin", CREATE_NET, "A @", "allow by all-dns");
    check_record("dns-admin", CREATE_NET, "MX @", "approve by ask-for-mail");
    check(
        "dns-admin",
        CREATE,
        Facts::Unread,
        "deny by keep-apex, DenyUnjudged",
    );
    check(
        "dns-admin",
        CREATE_NET,
        Facts::Unread,
        "approve by ask-for-mail, ApprovalUnjudged",
    );
}

#[test]
fn a_write_group_brings_its_read_group_and_nothing_else() {
    check_record(
        "dns-admin",
        "GET /zones/example.org/dns_records/1",
        "A www",
        "allow by all-dns",
    );
    check(
        "operator",
        "GET /zones/example.com/settings/ssl",
        Facts::Unread,
        "allow by operator-zones",
    );
    check(
        "operator",
        "GET /accounts/Acme/workers/scripts",
        Facts::Unread,
        "allow by operator-account",
    );
    check_record("temporary", CREATE, "A home", "deny");
    check(
        "operator",
        "PATCH /zones/example.com/settings/ssl",
        Facts::Unread,
        "allow by operator-zones",
    );
}

#[test]
fn scopes_must_be_named() {
    check(
        "operator",
        "GET /accounts/Other/workers/scripts",
        Facts::Unread,
        "deny",
    );
    check(
        "operator",
        "GET /user",
        Facts::Unread,
        "allow by operator-user",
    );
    check("dns-admin", "GET /user", Facts::Unread, "deny");
    // Held for an account only, DNS Write does not reach zones.
    check_record("operator", CREATE, "A www", "deny");
    check("nobody", CREATE, Facts::Unread, "deny");
}

#[test]
fn each_condition_concerns_its_own_product() {
    check_purge(
        "site-ci",
        "example.com",
        &["tag site"],
        "allow by site-deploy",
    );
    check(
        "site-ci",
        "GET /accounts/Acme/workers/scripts",
        Facts::Unread,
        "deny, Unjudged",
    );
    check(
        "site-ci",
        "PUT /accounts/Acme/workers/scripts/site",
        Facts::Unread,
        "deny, Unjudged",
    );
}

#[test]
fn a_purge_reaches_what_is_named() {
    let who = "site-ci";
    for allowed in [
        "example.com/site/",
        "example.com/site/css",
        "https://example.com/site/index.html",
        "http://EXAMPLE.com/site/a?b=c",
        "https://example.com/x/../site/a",
        "https://example.com/robots.txt",
        "tag SITE",
        "host static.example.com",
    ] {
        check_purge(who, "example.com", &[allowed], "allow by site-deploy");
    }
    for denied in [
        "everything",
        "example.com/",
        "example.com/sit",
        "example.com/site",
        "https://example.com/siteadmin",
        "https://example.com/site/../admin",
        "https://example.com/site/%2e%2e/admin",
        "https://static.example.com/a",
        "https://example.com.evil.net/site/a",
        "tag site2",
        "host example.com",
        "host x.static.example.com",
    ] {
        check_purge(who, "example.com", &[denied], "deny");
    }
    check_purge(
        who,
        "example.com",
        &["https://example.com/site/%2e%2e%2fadmin"],
        "deny, Unjudged",
    );
    check_purge(who, "example.com", &["tag site", "tag other"], "deny");
    check_purge(who, "example.net", &["tag site"], "deny");
    check(
        who,
        "POST /zones/example.com/purge_cache",
        Facts::Unread,
        "deny, Unjudged",
    );
}

#[test]
fn everything_must_be_named() {
    check_purge("purger", "example.org", &["tag a"], "allow by any-purge");
    check_purge(
        "purger",
        "example.org",
        &["everything"],
        "allow by purge-all-of-org",
    );
    check_purge(
        "purger",
        "example.net",
        &["host example.net.evil"],
        "allow by any-purge",
    );
    check_purge(
        "purger",
        "example.net",
        &["everything"],
        "deny by keep-archive",
    );
    check_purge("operator", "example.net", &["everything"], "deny");
    let environment = "POST /zones/example.org/environments/1/purge_cache";
    let everything = PurgeFacts {
        everything: true,
        ..PurgeFacts::default()
    };
    check(
        "purger",
        environment,
        Facts::Purge(&everything),
        "allow by purge-all-of-org",
    );
}

#[test]
fn a_deny_on_a_prefix_keeps_it_from_every_purge_that_touches_it() {
    for denied in [
        "example.net/archive/2020",
        "example.net/",
        "host example.net",
        "https://example.net/archive/a",
    ] {
        check_purge("purger", "example.net", &[denied], "deny by keep-archive");
    }
    check_purge(
        "purger",
        "example.net",
        &["tag a"],
        "deny by keep-archive, DenyUnjudged",
    );
    check_purge(
        "purger",
        "example.net",
        &["https://example.net/news/a"],
        "allow by any-purge",
    );
    check_purge(
        "purger",
        "example.net",
        &["example.net/news/"],
        "allow by any-purge",
    );
    check_purge(
        "purger",
        "example.net",
        &["example.net/news/", "example.net/"],
        "deny by keep-archive",
    );
}

#[test]
fn some_operations_must_be_named() {
    check(
        "operator",
        "DELETE /zones/example.com",
        Facts::Unread,
        "deny, NamedOnly",
    );
    check(
        "operator",
        "DELETE /zones/example.net",
        Facts::Unread,
        "allow by may-delete-net",
    );
    check(
        "operator",
        "PATCH /zones/example.com",
        Facts::Unread,
        "deny, NamedOnly",
    );
    check(
        "operator",
        "POST /user/tokens",
        Facts::Unread,
        "deny, Escalation",
    );
    check(
        "operator",
        "POST /accounts/Acme/members",
        Facts::Unread,
        "deny, Escalation",
    );
    check(
        "dns-admin",
        "POST /user/tokens",
        Facts::Unread,
        "allow by may-mint",
    );
    check("operator", "POST /zones", Facts::Unread, "deny, NoResource");
}

#[test]
fn an_unknown_operation_must_be_named() {
    let call = |zone: &str| format!("GET /zones/{zone}/brand_new/1");
    check(
        "operator",
        &call("example.net"),
        Facts::Unread,
        "allow by may-delete-net",
    );
    check(
        "operator",
        &call("example.com"),
        Facts::Unread,
        "deny, UnknownOperation",
    );
    check(
        "operator",
        "POST /zones/example.net/brand_new/1",
        Facts::Unread,
        "deny, UnknownOperation",
    );
    check(
        "operator",
        "GET /zones/example.net/brand_new",
        Facts::Unread,
        "deny, UnknownOperation",
    );
    check(
        "operator",
        "GET /zones/example.net/brand_new/1/2",
        Facts::Unread,
        "deny, UnknownOperation",
    );
    check(
        "dns-admin",
        &call("example.net"),
        Facts::Unread,
        "deny, UnknownOperation",
    );
}

#[test]
fn what_cannot_be_judged_works_against_the_caller() {
    check_record("careful", CREATE, "A www", "deny, Unjudged");
    let setting = |zone: &str| format!("PATCH /zones/{zone}/settings/ssl");
    check(
        "careful",
        &setting("example.net"),
        Facts::Unread,
        "deny by not-at-night, DenyUnjudged",
    );
    check(
        "careful",
        &setting("example.org"),
        Facts::Unread,
        "approve by ask-outside-the-office, ApprovalUnjudged",
    );
    check("careful", &setting("example.com"), Facts::Unread, "deny");
}

#[test]
fn a_grant_ends_at_its_instant() {
    let policy = policy();
    with_request(
        &policy,
        "temporary",
        "GET /zones/example.com/dnssec",
        Facts::Unread,
        |request| {
            let now = request.moment.now;
            let at = |now: Timestamp| {
                let moment = Moment::at(now);
                policy.decide(&Request { moment, ..*request })
            };
            assert!(at(now.plus_ms(-1)).is_allowed());
            assert!(!at(now).is_allowed());
            assert_eq!(
                policy.explain(request, &at(now)),
                "temporary may not call GET /zones/zone_id/dnssec in example.com \
             (dnssec-dnssec-details): the grant until-noon ended at 2026-11-01T12:00:00.000Z; \
             a grant of DNS Read or DNS Write for example.com is needed"
            );
        },
    );
}

#[test]
fn values_and_counts_are_conditions() {
    let who = "temporary";
    check_record(who, CREATE_NET, "A home 203.0.113.9", "allow by one-value");
    check_record(who, CREATE_NET, "A home 192.0.2.9", "deny");
    check_record(who, CREATE_NET, "A other 203.0.113.9", "deny");
    check_record(who, CREATE_NET, "TXT home 203.0.113.9", "deny");
    check_record(who, CREATE_NET, "A home 203.0.113.09", "deny, Unjudged");
    let home = record("A", "home", "example.net", "203.0.113.9");
    let proxied = RecordFacts {
        proxied: Some(true),
        ..home.clone()
    };
    check(who, CREATE_NET, Facts::Records(&[proxied]), "deny");
    let twice = [home.clone(), home];
    check(who, CREATE_NET, Facts::Records(&twice), "deny");
    let by_id = "PATCH /zones/example.net/dns_records/1";
    check(
        who,
        by_id,
        Facts::Changes {
            records: &twice,
            changes: 1,
        },
        "allow by one-value",
    );
}

#[test]
fn an_allow_shows_its_zone() {
    check("acme-bot", "GET /zones", Facts::Unread, "allow, Visible");
    check("nobody", "GET /zones", Facts::Unread, "allow, Visible");
    check("nobody", "GET /accounts", Facts::Unread, "allow, Visible");
    check(
        "acme-bot",
        "GET /zones/example.com",
        Facts::Unread,
        "allow by acme-challenges, Visible",
    );
    check("acme-bot", "GET /zones/example.net", Facts::Unread, "deny");
    check(
        "site-ci",
        "GET /accounts/Acme",
        Facts::Unread,
        "allow by site-deploy, Visible",
    );
    check("site-ci", "GET /accounts/Other", Facts::Unread, "deny");
    // A deny on some records does not hide the zone.
    check(
        "dns-admin",
        "GET /zones/example.com",
        Facts::Unread,
        "allow by all-dns, Visible",
    );
    // What does not allow does not show.
    check(
        "careful",
        "GET /zones/example.com",
        Facts::Unread,
        "deny, Unjudged",
    );
    check("temporary", "GET /zones/example.com", Facts::Unread, "deny");
}

#[test]
fn lists_show_what_is_allowed() {
    let policy = policy();
    let now = Moment::at(NOW.parse().unwrap());
    let zones = |who: &str| policy.visible_zones(policy.principal(who).unwrap(), &now);
    let named = |id: &str, name: &str| Visible::Some(vec![(id.parse().unwrap(), name.to_owned())]);
    assert_eq!(zones("acme-bot"), named(COM, "example.com"));
    assert_eq!(zones("temporary"), named(NET, "example.net"));
    assert_eq!(zones("nobody"), Visible::Some(vec![]));
    assert_eq!(zones("dns-admin"), Visible::All);
    let accounts = |who: &str| policy.visible_accounts(policy.principal(who).unwrap(), &now);
    assert_eq!(
        accounts("site-ci"),
        Visible::Some(vec![(ACME.parse().unwrap(), "Acme".to_owned())])
    );
    assert_eq!(accounts("acme-bot"), Visible::Some(vec![]));
}

#[test]
fn a_deny_about_zones_hides_them() {
    let text = r#"
        [[principals]]
        name = "p"
        kind = "key"
        [[grants]]
        name = "all"
        principals = ["p"]
        effect = "allow"
        permissions = ["DNS Write"]
        zones = ["*"]
        [[grants]]
        name = "hide"
        principals = ["p"]
        effect = "deny"
        permissions = ["Zone Read"]
        zones = ["example.net"]
    "#;
    let policy = compile(&document(text), &resolution()).unwrap();
    let principal = policy.principal("p").unwrap();
    let zones = policy.visible_zones(principal, &Moment::at(NOW.parse().unwrap()));
    assert_eq!(zones, Visible::AllExcept(vec![NET.parse().unwrap()]));
    with_request(
        &policy,
        "p",
        "GET /zones/example.net",
        Facts::Unread,
        |request| {
            assert_eq!(shown(&policy, policy.decide(request)), "deny by hide");
        },
    );
}

#[test]
fn own_groups_open_the_own_api() {
    let policy = policy();
    let now = Moment::at(NOW.parse().unwrap());
    let may = |who: &str, group: &str| {
        let group = catalog::group_named(group).unwrap();
        shown(
            &policy,
            policy.may(policy.principal(who).unwrap(), group, &now),
        )
    };
    assert_eq!(
        may("operator", "Zonekeeper Config Write"),
        "allow by operator-zones"
    );
    assert_eq!(
        may("operator", "Zonekeeper Config Read"),
        "allow by operator-zones"
    );
    assert_eq!(may("operator", "Zonekeeper Jobs Run"), "deny");
    assert_eq!(may("acme-bot", "Zonekeeper Config Read"), "deny");
}

#[test]
fn e11_a_stored_grant_with_a_count_opens_nothing_of_the_own_api() {
    for count in ["max_uses", "per_minute", "max_deletes_per_hour"] {
        let text = format!(
            "[[principals]]\nname = \"p\"\nkind = \"key\"\n[[grants]]\nname = \"g\"\nprincipals = [\"p\"]\neffect = \"allow\"\npermissions = [\"Zonekeeper Jobs Run\"]\n{count} = 5\n"
        );
        let policy = compile(&document(&text), &resolution()).unwrap();
        let group = catalog::group_named("Zonekeeper Jobs Run").unwrap();
        let now = Moment::at(NOW.parse().unwrap());
        let decision = policy.may(policy.principal("p").unwrap(), group, &now);
        assert_eq!(decision.reason, Reason::Unjudged, "{count}");
        assert!(!decision.is_allowed(), "{count}");
    }
}

#[test]
fn the_gateway_is_told_when_it_must_look_closer() {
    let policy = policy();
    let ask = |who: &str, call: &str| {
        with_request(&policy, who, call, Facts::Unread, |request| {
            let pushdown = policy.pushdown(request);
            let pushdown = pushdown.map(|Pushdown { name, kind }| {
                format!("{} {}", name.unwrap_or("-"), kind.unwrap_or("-"))
            });
            (
                policy.reads_body(request),
                policy.record_conditions(request),
                pushdown,
            )
        })
    };
    let list = "GET /zones/example.com/dns_records";
    assert_eq!(
        ask("acme-bot", list),
        (true, true, Some("- TXT".to_owned()))
    );
    assert_eq!(ask("dns-admin", list), (true, true, None));
    assert_eq!(
        ask("dns-admin", "GET /zones/example.org/dns_records"),
        (true, true, None)
    );
    assert_eq!(ask("nobody", list), (false, false, None));
    // Whatever the record, the call may not be made from here: there is nothing to look at.
    assert_eq!(ask("careful", list), (false, false, None));
    let list = "GET /zones/example.net/dns_records";
    assert_eq!(
        ask("temporary", list),
        (true, true, Some("home.example.net -".to_owned()))
    );
    assert_eq!(
        ask("site-ci", "POST /zones/example.com/purge_cache"),
        (true, false, None)
    );
    assert_eq!(
        ask("purger", "POST /zones/example.com/purge_cache"),
        (false, false, None)
    );
    assert_eq!(
        ask("operator", "GET /zones/example.com/settings/ssl"),
        (false, false, None)
    );
}

/// Where the address is absent, a deny or an approve may still turn out not to mean the record.
#[test]
fn what_may_turn_out_not_to_be_meant_is_read() {
    let text = r#"
        [[principals]]
        name = "p"
        kind = "key"
        [[grants]]
        name = "all"
        principals = ["p"]
        effect = "allow"
        permissions = ["DNS Write"]
        operations = ["worker-script-upload-worker-module"]
        zones = ["*"]
        accounts = ["*"]
        [[grants]]
        name = "no-mail"
        principals = ["p"]
        effect = "deny"
        permissions = ["DNS Write"]
        zones = ["example.com"]
        dns = { types = ["MX"] }
        source_ips = ["192.0.2.0/24"]
        [[grants]]
        name = "ask-for-mail"
        principals = ["p"]
        effect = "approve"
        permissions = ["DNS Write"]
        zones = ["example.net"]
        dns = { types = ["MX"] }
        source_ips = ["192.0.2.0/24"]
        [[grants]]
        name = "ask-for-api"
        principals = ["p"]
        effect = "approve"
        permissions = ["Workers Scripts Write"]
        accounts = ["*"]
        workers = { scripts = ["api"] }
    "#;
    let policy = compile(&document(text), &resolution()).unwrap();
    let www = [record("A", "www", "example.com", "192.0.2.1")];
    let site = WorkerFacts {
        script: "site".to_owned(),
        parts: vec![WorkerPart::Script],
    };
    for (call, facts) in [
        (CREATE, Facts::Records(&www)),
        (CREATE_NET, Facts::Records(&www)),
        (
            "PUT /accounts/Acme/workers/scripts/site",
            Facts::Worker(&site),
        ),
    ] {
        with_request(&policy, "p", call, Facts::Unread, |request| {
            assert!(!policy.decide(request).is_allowed(), "{call}");
            assert!(policy.reads_body(request), "{call}");
            let known = Request { facts, ..*request };
            assert!(policy.decide(&known).is_allowed(), "{call}");
        });
    }
}

#[test]
fn e6_every_kind_of_binding_that_is_read_can_be_granted_and_no_other() {
    let kinds: Vec<&str> = zonekeeper::workers::kinds().collect();
    assert!(kinds.contains(&"d1") && !kinds.contains(&"teleporter"));
    let listed = format!("{:?}", [kinds.as_slice(), &["teleporter"]].concat());
    let text = format!(
        r#"
        [[principals]]
        name = "p"
        kind = "key"
        [[grants]]
        name = "listed"
        principals = ["p"]
        effect = "allow"
        permissions = ["Workers Scripts Write"]
        accounts = ["*"]
        workers = {{ bindings = {listed} }}
    "#
    );
    let policy = compile(&document(&text), &resolution()).unwrap();
    let upload = "PUT /accounts/Acme/workers/scripts/site";
    for kind in kinds.iter().copied().chain(["teleporter"]) {
        let binding = WorkerPart::Binding {
            kind: kind.to_owned(),
            resource: Some("x".to_owned()),
        };
        let facts = WorkerFacts {
            script: "site".to_owned(),
            parts: vec![WorkerPart::Script, binding],
        };
        let is_allowed = with_request(&policy, "p", upload, Facts::Worker(&facts), |request| {
            policy.decide(request).is_allowed()
        });
        assert_eq!(is_allowed, kind != "teleporter", "{kind}");
    }
}

#[test]
fn e6_a_module_whose_digest_was_not_taken_is_none_that_is_listed() {
    let grants = |effect: &str, workers: &str| {
        format!(
            r#"
        [[grants]]
        name = "{effect}"
        principals = ["p"]
        effect = "{effect}"
        permissions = ["Workers Scripts Write"]
        accounts = ["*"]
        {workers}
    "#
        )
    };
    let digests = format!("workers = {{ digests = [\"{}\"] }}", "a".repeat(64));
    let listed = grants("allow", &digests);
    let unless = grants("allow", "") + &grants("deny", &digests);
    let facts = WorkerFacts {
        script: "site".to_owned(),
        parts: vec![
            WorkerPart::Script,
            WorkerPart::Module {
                digest: String::new(),
            },
        ],
    };
    for (grants, lists, expected) in [
        (grants("allow", ""), false, true),
        (listed, true, false),
        (unless, true, false),
    ] {
        let text = format!("[[principals]]\nname = \"p\"\nkind = \"key\"\n{grants}");
        let policy = compile(&document(&text), &resolution()).unwrap();
        assert_eq!(policy.lists_digests(), lists);
        let upload = "PUT /accounts/Acme/workers/scripts/site";
        let is_allowed = with_request(&policy, "p", upload, Facts::Worker(&facts), |request| {
            policy.decide(request).is_allowed()
        });
        assert_eq!(is_allowed, expected, "{grants}");
    }
}

#[test]
fn all_resources_of_a_call_must_be_allowed() {
    let policy = policy();
    let [com, net, org] = [COM, NET, ORG].map(|id| Resource::Zone(id.parse().unwrap()));
    let acme = Resource::Account(ACME.parse().unwrap());
    with_request(
        &policy,
        "site-ci",
        "POST /zones/example.com/purge_cache",
        Facts::Unread,
        |request| {
            let tags = PurgeFacts {
                tags: vec!["site".to_owned()],
                ..PurgeFacts::default()
            };
            let ask = |resources: &[Resource]| {
                policy
                    .decide(&Request {
                        resources,
                        facts: Facts::Purge(&tags),
                        ..*request
                    })
                    .is_allowed()
            };
            assert!(ask(&[com]));
            assert!(ask(&[com, acme]));
            assert!(!ask(&[com, net]));
            assert!(!ask(&[org]));
            assert!(!ask(&[acme]));
            assert!(!ask(&[]));
        },
    );
    let Some(created) = catalog::resolve(Method::Post, "/zones") else {
        panic!("no POST /zones")
    };
    with_request(
        &policy,
        "operator",
        "GET /zones",
        Facts::Unread,
        |request| {
            let target = Target::Operation(created.operation);
            let ask = |id: &str| {
                let resources = [Resource::Account(id.parse().unwrap())];
                shown(
                    &policy,
                    policy.decide(&Request {
                        target,
                        resources: &resources,
                        ..*request
                    }),
                )
            };
            assert_eq!(ask(ACME), "allow by operator-account");
            assert_eq!(ask(OTHER), "deny");
        },
    );
}

#[track_caller]
fn check_sentence(who: &str, call: &str, facts: Facts<'_>, expected: &str) {
    let policy = policy();
    let sentence = with_request(&policy, who, call, facts, |request| {
        policy.explain(request, &policy.decide(request))
    });
    assert_eq!(sentence, expected);
}

#[test]
fn a_sentence_says_which_rule_and_what_is_needed() {
    check_sentence(
        "acme-bot",
        CREATE,
        Facts::Records(&[record("A", "www", "example.com", "192.0.2.1")]),
        "acme-bot may not create A record www.example.com in example.com \
         (dns-records-for-a-zone-create-dns-record): the grant acme-challenges covers only TXT \
         records named _acme-challenge.**; a grant of DNS Write for that record is needed",
    );
    check_sentence(
        "acme-bot",
        CREATE_NET,
        Facts::Records(&[record("TXT", "_acme-challenge", "example.net", "x")]),
        "acme-bot may not create TXT record _acme-challenge.example.net in example.net \
         (dns-records-for-a-zone-create-dns-record): the grant acme-challenges covers only \
         example.com; a grant of DNS Write for that record is needed",
    );
    check_sentence(
        "dns-admin",
        CREATE,
        Facts::Records(&[record("A", "@", "example.com", "192.0.2.1")]),
        "dns-admin may not create A record example.com in example.com \
         (dns-records-for-a-zone-create-dns-record): the grant keep-apex denies it, whatever else \
         allows it; that grant would have to leave it out",
    );
    check_sentence(
        "operator",
        "DELETE /zones/example.com",
        Facts::Unread,
        "operator may not call DELETE /zones/zone_id in example.com (zones-0-delete): no \
         permission group reaches it; a grant whose operations name zones-0-delete for \
         example.com is needed",
    );
    check_sentence(
        "site-ci",
        "POST /zones/example.com/purge_cache",
        Facts::Purge(&PurgeFacts {
            everything: true,
            ..PurgeFacts::default()
        }),
        "site-ci may not purge everything in example.com (zone-purge): the grant site-deploy does \
         not name everything, which has to be named; a grant of Cache Purge for example.com with \
         purge.everything is needed",
    );
    check_sentence(
        "careful",
        CREATE,
        Facts::Unread,
        "careful may not call POST /zones/zone_id/dns_records in example.com \
         (dns-records-for-a-zone-create-dns-record): the grant careful-dns covers only calls \
         from 192.0.2.0/24; a grant of DNS Write for example.com is needed",
    );
    check_sentence(
        "nobody",
        "GET /zones/example.com/brand{new}",
        Facts::Unread,
        "nobody may not call GET /zones/00000000000000000000000000000c01/brand(new) in \
         example.com: it is not an operation of the catalogue; a grant whose operations name GET \
         /zones/00000000000000000000000000000c01/brand(new) for example.com is needed",
    );
}

#[test]
fn a_condition_that_cannot_be_read_works_against_the_caller() {
    for (effect, expected, why) in [
        (
            "allow",
            "deny, Unjudged",
            "the grant g has a condition that cannot be read",
        ),
        (
            "deny",
            "deny by g, DenyUnjudged",
            "cannot be judged by its condition that cannot be read",
        ),
        (
            "approve",
            "approve by g, ApprovalUnjudged",
            "cannot be judged by its condition that cannot be read",
        ),
    ] {
        let rest = if effect == "allow" {
            "example.net"
        } else {
            "*"
        };
        // No validation lets such a prefix through; a later one might be stricter than what is stored.
        let text = format!(
            "[[principals]]\nname = 'p'\nkind = 'key'\n[[grants]]\nname = 'g'\nprincipals = ['p']\n\
             effect = '{effect}'\npermissions = ['Cache Purge']\nzones = ['*']\n\
             purge = {{ prefixes = ['https://example.com/'], tags = ['a'] }}\n\
             [[grants]]\nname = 'rest'\nprincipals = ['p']\neffect = 'allow'\n\
             permissions = ['Cache Purge']\nzones = ['{rest}']\n"
        );
        let policy = compile(&document(&text), &resolution()).unwrap();
        let tags = PurgeFacts {
            tags: vec!["a".to_owned()],
            ..PurgeFacts::default()
        };
        let call = "POST /zones/example.com/purge_cache";
        with_request(&policy, "p", call, Facts::Purge(&tags), |request| {
            let decision = policy.decide(request);
            assert_eq!(shown(&policy, decision), expected);
            let words = policy.explain(request, &decision);
            assert!(words.contains(why), "{words}");
        });
    }
}

#[test]
fn a_grant_that_cannot_be_read_shows_no_zone_and_leaves_the_others_alone() {
    let text = r#"
        [[principals]]
        name = "p"
        kind = "key"
        [[grants]]
        name = "prefix"
        principals = ["p"]
        effect = "allow"
        permissions = ["Cache Purge"]
        zones = ["example.com"]
        source_ips = ["0.0.0.0/0"]
        purge = { prefixes = ["https://example.com/"] }
        [[grants]]
        name = "name"
        principals = ["p"]
        effect = "allow"
        permissions = ["DNS Write"]
        zones = ["example.net"]
        source_ips = ["0.0.0.0/0"]
        dns = { names = ["a*.example.net"] }
        [[grants]]
        name = "good"
        principals = ["p"]
        effect = "allow"
        permissions = ["DNS Write"]
        zones = ["example.org"]
        source_ips = ["0.0.0.0/0"]
    "#;
    let policy = compile(&document(text), &resolution()).unwrap();
    let moment = Moment {
        source_ip: Some("192.0.2.1".parse().unwrap()),
        ..Moment::at(NOW.parse().unwrap())
    };
    let zones = policy.visible_zones(policy.principal("p").unwrap(), &moment);
    let org = (ORG.parse().unwrap(), "example.org".to_owned());
    assert_eq!(zones, Visible::Some(vec![org]));
}

#[test]
fn what_does_not_resolve_is_an_error_that_names_the_grant() {
    let grant = |line: &str| {
        format!(
            "[[principals]]\nname = 'p'\nkind = 'key'\n[[grants]]\nname = 'g'\neffect = 'allow'\n{line}"
        )
    };
    for (line, problem) in [
        (
            "principals = ['q']",
            CompileProblem::UnknownPrincipal("q".to_owned()),
        ),
        (
            "principals = ['p']\npermissions = ['DNS Wirte']",
            CompileProblem::UnknownPermission("DNS Wirte".to_owned(), "DNS Write"),
        ),
        (
            "principals = ['p']\noperations = ['zones-nope']",
            CompileProblem::UnknownOperation("zones-nope".to_owned()),
        ),
        (
            "principals = ['p']\nzones = ['example.edu']",
            CompileProblem::UnresolvedZone("example.edu".to_owned()),
        ),
        (
            "principals = ['p']\naccounts = ['Nope']",
            CompileProblem::UnresolvedAccount("Nope".to_owned()),
        ),
        (
            "principals = ['p']\npurge = { prefixes = ['https://example.com/'] }",
            CompileProblem::Prefix("https://example.com/".to_owned()),
        ),
    ] {
        let error = refused(&grant(line));
        assert_eq!(
            (error.grant.as_deref(), error.problem),
            (Some("g"), problem)
        );
    }
    let text = grant("principals = ['p']\ndns = { names = ['a*.example.com'] }");
    let error = refused(&text);
    assert_eq!(
        error.to_string(),
        "the grant `g`: `a*.example.com` in dns.names: `*` and `**` stand for whole labels; a `*` \
         inside a label is not possible"
    );
}

/// A small deterministic generator (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn one_of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[usize::try_from(self.next() % choices.len() as u64).unwrap()]
    }

    fn grant(&mut self, number: usize) -> String {
        let effect = self.one_of(&["allow", "allow", "allow", "deny", "approve"]);
        let right = self.one_of(&[
            "permissions = ['DNS Write']",
            "permissions = ['DNS Read']",
            "permissions = ['Cache Purge', 'Zone Write']",
            "permissions = ['DNS Write', 'Workers Scripts Write']",
            "operations = ['dns-records-for-a-zone-create-dns-record']",
            "operations = ['zones-0-delete']",
        ]);
        let place = self.one_of(&[
            "zones = ['*']",
            "zones = ['example.com']",
            "zones = ['example.net', 'example.com']",
            "accounts = ['Acme']",
            "",
        ]);
        let more = self.one_of(&[
            "",
            "",
            "dns = { names = ['www.example.com'] }",
            "dns = { names = ['www.example.com', 'mail.example.com'], types = ['A'] }",
            "dns = { names = ['*.example.com'] }",
            "dns = { types = ['TXT'], max_changes = 1 }",
            "not_after = '2026-11-01T11:00:00Z'",
            "not_after = '2026-11-01T13:00:00Z'",
            "max_uses = 3",
            "workers = { scripts = ['a'] }",
            "purge = { tags = ['a'] }",
        ]);
        format!(
            "[[grants]]\nname = 'g{number}'\nprincipals = ['p']\neffect = '{effect}'\n{right}\n{place}\n{more}\n"
        )
    }
}

/// Every call of a small world, decided.
fn decide_all(document: &Rc<Document>) -> Vec<u8> {
    let policy = compile(document, &resolution()).unwrap();
    let www = [record("A", "www", "example.com", "192.0.2.1")];
    let both = [www[0].clone(), record("TXT", "mail", "example.com", "x")];
    let tags = PurgeFacts {
        tags: vec!["a".to_owned()],
        ..PurgeFacts::default()
    };
    let everything = PurgeFacts {
        everything: true,
        ..PurgeFacts::default()
    };
    [
        (CREATE, Facts::Unread),
        (CREATE, Facts::Records(&www)),
        (
            "POST /zones/example.com/dns_records/batch",
            Facts::Records(&both),
        ),
        ("GET /zones/example.com/dns_records/1", Facts::Records(&www)),
        (
            "GET /zones/example.net/dns_records/1",
            Facts::Records(&both[1..]),
        ),
        ("GET /zones/example.com/dnssec", Facts::Unread),
        ("GET /zones/example.com", Facts::Unread),
        ("DELETE /zones/example.net", Facts::Unread),
        ("POST /zones/example.com/purge_cache", Facts::Purge(&tags)),
        (
            "POST /zones/example.com/purge_cache",
            Facts::Purge(&everything),
        ),
        ("GET /accounts/Acme/workers/scripts", Facts::Unread),
    ]
    .into_iter()
    .map(|(call, facts)| {
        with_request(&policy, "p", call, facts, |request| {
            let decision = policy.decide(request);
            assert!(!policy.explain(request, &decision).is_empty());
            // What does not depend on the facts is the same without them.
            let unread = Request {
                facts: Facts::Unread,
                ..*request
            };
            if !policy.reads_body(&unread) {
                let unread = policy.decide(&unread);
                assert_eq!(unread.effect, decision.effect, "{call}");
            }
            match decision.effect {
                zonekeeper::policy::Effect::Deny => 0,
                zonekeeper::policy::Effect::Approve => 1,
                zonekeeper::policy::Effect::Allow => 2,
            }
        })
    })
    .collect()
}

#[test]
fn taking_an_allow_away_never_opens_and_taking_a_deny_away_never_closes() {
    let mut random = Random(7);
    for _ in 0..400 {
        let mut text = "[[principals]]\nname = 'p'\nkind = 'key'\n".to_owned();
        for number in 0..usize::try_from(1 + random.next() % 6).unwrap() {
            text.push_str(&random.grant(number));
        }
        let whole = document(&text);
        let before = decide_all(&whole);
        for removed in 0..whole.grants.len() {
            let mut less = whole.clone();
            let grant = Rc::make_mut(&mut less).grants.remove(removed);
            let after = decide_all(&less);
            for (before, after) in before.iter().zip(&after) {
                match grant.effect {
                    zonekeeper::policy::Effect::Allow => assert!(after <= before, "{text}"),
                    zonekeeper::policy::Effect::Deny => assert!(after >= before, "{text}"),
                    // An approve both opens and restricts, by one step.
                    zonekeeper::policy::Effect::Approve => {
                        assert!(after == before || *before == 1, "{text}");
                    }
                }
            }
        }
        // The order of grants does not matter.
        let mut reversed = whole.clone();
        Rc::make_mut(&mut reversed).grants.reverse();
        assert_eq!(decide_all(&reversed), before, "{text}");
    }
}
