//! Conditions that failed, and what they failed on, in words.

use std::fmt::Write as _;

use crate::catalog::Family;

use super::grant::{Grant, Why};
use super::{RecordFacts, Thing, WorkerPart};

/// The longest piece of the caller's text that is repeated.
const MAX_QUOTED: usize = 100;

/// How far from matching: a failing value is nearer than a failing name.
pub(super) fn distance(why: Why) -> u8 {
    match why {
        Why::DnsContent
        | Why::DnsProxied
        | Why::DnsCount
        | Why::Key
        | Why::Binding
        | Why::BindingNotHeld
        | Why::Route
        | Why::Digest
        | Why::Keep
        | Why::Inherit
        | Why::FullDeploy
        | Why::UsedUp
        | Why::SourceIp
        | Why::Hours => 0,
        Why::DnsType | Why::Purge | Why::PurgeEverything => 1,
        Why::DnsName | Why::Name(_) | Why::Script => 2,
        Why::Unread(_) | Why::Phase => 3,
        Why::Elsewhere(_) | Why::NamedOnly | Why::Unreadable => 4,
        Why::Expired | Why::NotYet => 5,
    }
}

pub(super) fn condition_key(why: Why) -> &'static str {
    match why {
        Why::Expired => "not_after",
        Why::NotYet => "not_before",
        Why::SourceIp => "condition source_ips",
        Why::Hours => "condition hours",
        Why::UsedUp => "condition max_uses",
        Why::DnsName | Why::DnsType | Why::DnsContent | Why::DnsProxied | Why::DnsCount => {
            "condition dns"
        }
        Why::Purge | Why::PurgeEverything => "condition purge",
        Why::Key => "condition kv",
        Why::Name(family) | Why::Unread(family) | Why::Elsewhere(family) => family_key(family),
        Why::Script
        | Why::Binding
        | Why::BindingNotHeld
        | Why::Route
        | Why::Digest
        | Why::Keep
        | Why::Inherit
        | Why::FullDeploy => "condition workers",
        Why::Phase | Why::NamedOnly => "permissions",
        Why::Unreadable => "condition that cannot be read",
    }
}

fn family_key(family: Family) -> &'static str {
    match family {
        Family::Dns => "condition dns",
        Family::Purge => "condition purge",
        Family::Workers => "condition workers",
        Family::Settings => "condition settings",
        Family::Rulesets => "condition rulesets",
        Family::Lists => "condition lists",
        Family::Kv => "condition kv",
        Family::R2 => "condition r2",
        Family::Graphql => "condition graphql",
        Family::None | Family::Zones | Family::Accounts | Family::D1 => "conditions",
    }
}

/// Something of a product, in words.
pub(super) fn describe_thing(thing: &Thing) -> String {
    let name = quoted(&thing.name);
    match (thing.family, &thing.key) {
        (Family::Kv, Some(key)) => format!("the key {} of the namespace {name}", quoted(key)),
        (Family::Kv, None) => format!("the namespace {name}"),
        (Family::Rulesets, _) => format!("the phase {name}"),
        (Family::Lists, _) => format!("the list {name}"),
        (Family::R2, _) => format!("the bucket {name}"),
        (Family::Graphql, _) => format!("the dataset {name}"),
        _ => format!("the setting {name}"),
    }
}

/// What is bound, as a grant would name it.
pub(super) fn describe_bound(kind: &str, resource: Option<&str>) -> String {
    match resource {
        Some(resource) => format!("{}:{}", quoted(kind), quoted(resource)),
        None => quoted(kind),
    }
}

/// A part of what is done to a Worker, as what somebody may or may not do.
pub(super) fn describe_part(script: &str, part: &WorkerPart) -> String {
    let script = quoted(script);
    match part {
        WorkerPart::Script => format!("change the Worker {script}"),
        WorkerPart::Binding { kind, resource } => format!(
            "bind {} to the Worker {script}",
            describe_bound(kind, resource.as_deref())
        ),
        WorkerPart::Route { pattern } => {
            format!("put the Worker {script} on the route {}", quoted(pattern))
        }
        WorkerPart::Module { digest } => {
            format!(
                "upload a module with the SHA-256 {} to the Worker {script}",
                quoted(digest)
            )
        }
        WorkerPart::Keep => format!("keep the bindings of the Worker {script}"),
        WorkerPart::Inherit => format!("inherit bindings of the Worker {script}"),
        WorkerPart::FullDeploy => {
            format!("put a version of the Worker {script} on all traffic at once")
        }
    }
}

/// Why a grant does not match, as a part of a sentence.
pub(super) fn describe_failure(grant: &Grant, why: Why, record: Option<&RecordFacts>) -> String {
    let name = grant.name();
    match why {
        Why::Expired | Why::NotYet | Why::SourceIp | Why::Hours | Why::UsedUp => {
            limit_failure(grant, why)
        }
        Why::DnsName | Why::DnsType | Why::DnsContent | Why::DnsProxied | Why::DnsCount => {
            record_failure(grant, why, record)
        }
        Why::Purge => purge_failure(grant),
        Why::PurgeEverything => {
            format!("the grant {name} does not name everything, which has to be named")
        }
        Why::Name(family) => {
            let noun = match family {
                Family::Rulesets => "the phase",
                Family::Lists => "the list",
                Family::Kv => "the namespace",
                Family::R2 => "the bucket",
                Family::Graphql => "the dataset",
                _ => "the setting",
            };
            let listed = grant.conditions().and_then(|it| it.listed(family));
            let names = quoted_list(listed.map_or(&[], |listed| &listed.names));
            format!("the grant {name} covers only {noun} {names}")
        }
        Why::Key => {
            let listed = grant.conditions().and_then(|it| it.listed(Family::Kv));
            let keys = quoted_list(listed.map_or(&[], |listed| &listed.keys));
            format!("the grant {name} covers only the key {keys}")
        }
        Why::Phase => format!(
            "the grant {name} gives groups that do not open that phase, and has no rulesets.phases"
        ),
        Why::Script
        | Why::Binding
        | Why::BindingNotHeld
        | Why::Route
        | Why::Digest
        | Why::Keep
        | Why::Inherit
        | Why::FullDeploy => worker_failure(grant, why),
        Why::Unread(_) | Why::Elsewhere(_) => format!(
            "the grant {name} has the {} by which this call cannot be judged",
            condition_key(why)
        ),
        Why::NamedOnly => format!("the grant {name} does not name the operation"),
        Why::Unreadable => {
            format!(
                "the grant {name} has a condition that cannot be read: correct it and apply the configuration"
            )
        }
    }
}

fn limit_failure(grant: &Grant, why: Why) -> String {
    let name = grant.name();
    let limits = grant.conditions().and_then(|it| it.limits.as_ref());
    match why {
        Why::Expired => match grant.not_after {
            Some(end) => format!("the grant {name} ended at {end}"),
            None => format!("the grant {name} has ended"),
        },
        Why::NotYet => match limits.and_then(|limits| limits.not_before) {
            Some(start) => format!("the grant {name} begins at {start}"),
            None => format!("the grant {name} has not begun"),
        },
        Why::SourceIp => {
            let networks = limits.map_or(&[][..], |limits| &limits.source_ips);
            let networks = list(networks, "or");
            format!("the grant {name} covers only calls from {networks}")
        }
        Why::Hours => match limits.and_then(|limits| limits.hours.as_ref()) {
            Some(hours) => format!("the grant {name} holds only {}", hours.describe()),
            None => format!("the grant {name} does not hold now"),
        },
        _ => format!("the grant {name} is used up"),
    }
}

fn record_failure(grant: &Grant, why: Why, record: Option<&RecordFacts>) -> String {
    let name = grant.name();
    let dns = grant.conditions().and_then(|it| it.dns.as_ref());
    match why {
        Why::DnsName | Why::DnsType => {
            let types = dns
                .map(|dns| list(&dns.types, "and"))
                .filter(|text| !text.is_empty());
            let names = dns
                .map(|dns| list(&dns.names, "or"))
                .filter(|text| !text.is_empty());
            let types = types.map_or_else(String::new, |types| format!("{types} "));
            let names = names.map_or_else(String::new, |names| format!(" named {names}"));
            format!("the grant {name} covers only {types}records{names}")
        }
        Why::DnsContent => {
            let contents: Vec<_> = dns
                .iter()
                .flat_map(|dns| &dns.contents)
                .map(|c| quoted(&c.text))
                .collect();
            match record.and_then(|record| record.content.as_deref()) {
                Some(content) => format!(
                    "the grant {name} covers only records with the value {}, not {}",
                    list(&contents, "or"),
                    quoted(content)
                ),
                None => format!(
                    "the grant {name} covers only records with the value {}",
                    list(&contents, "or")
                ),
            }
        }
        Why::DnsProxied => match dns.and_then(|dns| dns.proxied) {
            Some(true) => format!("the grant {name} covers only records that are proxied"),
            _ => format!("the grant {name} covers only records that are not proxied"),
        },
        _ => {
            let most = dns.and_then(|dns| dns.max_changes).unwrap_or(0);
            format!("the grant {name} covers at most {most} changes in one call")
        }
    }
}

fn purge_failure(grant: &Grant) -> String {
    let name = grant.name();
    let mut parts = Vec::new();
    if let Some(purge) = grant.conditions().and_then(|it| it.purge.as_ref()) {
        let prefixes: Vec<_> = purge
            .prefixes
            .iter()
            .map(|(text, _)| quoted(text))
            .collect();
        let files: Vec<_> = purge.files.iter().map(|(text, _)| quoted(text)).collect();
        let hosts: Vec<_> = purge.hosts.iter().map(|text| quoted(text)).collect();
        let tags: Vec<_> = purge.tags.iter().map(|text| quoted(text)).collect();
        for (kind, texts) in [
            ("prefix", prefixes),
            ("host", hosts),
            ("tag", tags),
            ("file", files),
        ] {
            if !texts.is_empty() {
                parts.push(format!("the {kind} {}", list(&texts, "or")));
            }
        }
        if purge.everything {
            parts.push("everything".to_owned());
        }
    }
    if parts.is_empty() {
        parts.push("no purge".to_owned());
    }
    format!("the grant {name} covers only {}", list(&parts, "and"))
}

fn worker_failure(grant: &Grant, why: Why) -> String {
    let name = grant.name();
    let workers = grant.conditions().and_then(|it| it.workers.as_ref());
    match why {
        Why::Script => {
            let scripts = quoted_list(workers.map_or(&[], |workers| &workers.scripts));
            format!("the grant {name} covers only the Worker {scripts}")
        }
        Why::Binding => {
            let bindings: Vec<String> = workers
                .and_then(|workers| workers.bindings.as_deref())
                .unwrap_or_default()
                .iter()
                .map(|(kind, id)| describe_bound(kind, id.as_deref()))
                .collect();
            if bindings.is_empty() {
                format!("the grant {name} lists no such binding")
            } else {
                let bindings = list(&bindings, "and");
                format!("the grant {name} covers only the bindings {bindings}")
            }
        }
        Why::BindingNotHeld => format!(
            "the grant {name} lists no bindings, and the caller has no right of its own to what \
             would be bound"
        ),
        Why::Route => {
            let routes = quoted_list(workers.map_or(&[], |workers| &workers.routes));
            format!("the grant {name} covers only the route {routes}")
        }
        Why::Digest => format!("the grant {name} lists the digests of other modules only"),
        Why::Keep => format!("the grant {name} says keep_bindings = false"),
        Why::Inherit => format!("the grant {name} says inherit = false"),
        _ => format!(
            "the grant {name} says deploys = \"gradual\": use wrangler versions upload, then wrangler \
             versions deploy in steps"
        ),
    }
}

fn quoted_list(texts: &[Box<str>]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    list(&texts, "or")
}

/// `a`, `a or b`, `a, b or c`; of more than four the first three.
pub(super) fn list<T: std::fmt::Display>(items: &[T], last: &str) -> String {
    let mut text = String::new();
    let shown = if items.len() > 4 { 3 } else { items.len() };
    for (index, item) in items.iter().take(shown).enumerate() {
        let separator = match index {
            0 => String::new(),
            _ if index + 1 == items.len() => format!(" {last} "),
            _ => ", ".to_owned(),
        };
        let _ = write!(text, "{separator}{item}");
    }
    if shown < items.len() {
        let _ = write!(text, " {last} {} more", items.len() - shown);
    }
    text
}

/// Text of the caller: no control characters, no braces, not too long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTED)
        .map(|c| match c {
            '{' => '(',
            '}' => ')',
            c if c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) => '\u{fffd}',
            c => c,
        })
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    shown
}
