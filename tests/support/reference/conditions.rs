//! The conditions of a grant, each on its own.

use std::net::IpAddr;

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;
use zonekeeper::catalog::{self, Family, GroupId};
use zonekeeper::config::document::{DnsCondition, Effect, Grant, HoursCondition};
use zonekeeper::model::Timestamp;

use super::{Call, Item, Named, Notice, Reference, Says, Way, What, names, purge, workers};

impl Reference<'_> {
    /// All conditions must hold: the least that one of them says.
    pub(super) fn conditions(
        &self,
        grant: &Grant,
        way: Way,
        call: &Call,
        item: &Item<'_>,
        notice: Notice<'_>,
    ) -> Says {
        let limits = Self::limits(grant, call, notice);
        let (label, product) = self.product(grant, way, call, item);
        notice(label, product, grant.effect);
        // A condition about another product than the operation's, for which the group is meant.
        let elsewhere = match way {
            Way::Group(group) if catalog::group_family(group) != call.family() => {
                has_condition(grant, catalog::group_family(group))
            }
            _ => false,
        };
        if elsewhere {
            notice("elsewhere", Says::Unclear, grant.effect);
            return limits.min(product).min(Says::Unclear);
        }
        limits.min(product)
    }

    /// When, from where and how often.
    pub(super) fn limits(grant: &Grant, call: &Call, notice: Notice<'_>) -> Says {
        let mut all = Says::Yes;
        let mut check = |label, says| {
            notice(label, says, grant.effect);
            all = all.min(says);
        };
        if let Some(end) = grant.not_after {
            check("not_after", Says::is(call.at < end));
        }
        if let Some(start) = grant.not_before {
            check("not_before", Says::is(call.at >= start));
        }
        if !grant.source_ips.is_empty() {
            let from_one = |address: IpAddr| {
                let networks = grant.source_ips.iter();
                Says::is(networks.clone().any(|text| is_within(address, text)))
            };
            check("source_ips", call.from.map_or(Says::Unclear, from_one));
        }
        if let Some(hours) = &grant.hours {
            check("hours", hold(hours, call.at));
        }
        let counts = [grant.max_uses, grant.per_minute, grant.max_deletes_per_hour];
        if counts.iter().any(Option::is_some) {
            check("used_up", Says::is(!call.used_up.contains(&grant.name)));
        }
        all
    }

    /// The condition about the operation's own product, and what holds without one.
    fn product(
        &self,
        grant: &Grant,
        way: Way,
        call: &Call,
        item: &Item<'_>,
    ) -> (&'static str, Says) {
        match call.family() {
            Family::Dns => match (&grant.dns, item) {
                (None, _) => ("none", Says::Yes),
                (Some(dns), Item::Record(record, changes)) => record_says(dns, record, *changes),
                (Some(_), _) => ("dns, unread", Says::Unclear),
            },
            Family::Purge => purge::says(grant, item),
            Family::Workers => workers::says(self, grant, call, item),
            family => match listed(grant, family) {
                Some((names, keys)) => match item {
                    Item::Thing(thing) if thing.family == family => {
                        self.listed_says(grant, thing, &names, &keys)
                    }
                    _ => ("listed, unread", Says::Unclear),
                },
                None if family == Family::Rulesets => phase_says(way, call, item),
                None => ("none", Says::Yes),
            },
        }
    }

    /// Whether what is named is listed. A namespace may be written by its title.
    fn listed_says(
        &self,
        grant: &Grant,
        thing: &Named,
        names: &[String],
        keys: &[String],
    ) -> (&'static str, Says) {
        let is_meant = |name: &String| {
            let kind = "kv_namespace";
            match thing.family {
                Family::Kv => self.is_resource(grant, kind, name, &thing.name),
                _ => *name == thing.name,
            }
        };
        if !names.is_empty() && !names.iter().any(is_meant) {
            return ("name", Says::No);
        }
        if keys.is_empty() {
            return ("name", Says::Yes);
        }
        let Some(key) = &thing.key else {
            return ("all keys", Says::Unclear);
        };
        let is_key = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => key == pattern,
        };
        ("key", Says::is(keys.iter().any(is_key)))
    }

    /// Whether `written`, an id or a title, means the resource of this id: a title means what has it
    /// in an account of the grant. Nobody knows what a title means that was not looked up.
    pub(super) fn is_resource(&self, grant: &Grant, kind: &str, written: &str, id: &str) -> bool {
        let titled = self.resolution.resources.get(&format!("{kind}:{written}"));
        let Some(titled) = titled else {
            let has_title = kind == "kv_namespace" || kind == "d1";
            let digits = written.replace('-', "");
            let is_id =
                digits.len() == 32 && digits.chars().all(|it| "0123456789abcdef".contains(it));
            return if is_id || !has_title {
                written == id
            } else {
                grant.effect != Effect::Allow
            };
        };
        titled.iter().any(|(account, own)| {
            let reaches = |text: &String| {
                let named = self.resolution.accounts.get(text);
                text == "*" || named.is_some_and(|named| named.id.to_string() == *account)
            };
            own == id && grant.accounts.iter().any(reaches)
        })
    }
}

fn has_condition(grant: &Grant, family: Family) -> bool {
    match family {
        Family::Dns => grant.dns.is_some(),
        Family::Purge => grant.purge.is_some(),
        Family::Workers => grant.workers.is_some(),
        other => listed(grant, other).is_some(),
    }
}

/// Names and keys a grant lists for a product.
fn listed(grant: &Grant, family: Family) -> Option<(Vec<String>, Vec<String>)> {
    let names = match family {
        Family::Settings => grant.settings.as_ref().map(|it| it.ids.clone()),
        Family::Rulesets => grant.rulesets.as_ref().map(|it| it.phases.clone()),
        Family::Lists => grant.lists.as_ref().map(|it| it.ids.clone()),
        Family::R2 => grant.r2.as_ref().map(|it| it.buckets.clone()),
        Family::Graphql => grant.graphql.as_ref().map(|it| it.datasets.clone()),
        Family::Kv => {
            let kv = grant.kv.as_ref()?;
            return Some((kv.namespaces.clone(), kv.keys.clone()));
        }
        _ => None,
    };
    names.map(|names| (names, Vec::new()))
}

/// Which permission group opens which phase, by Cloudflare's list of phases.
const PHASES: &[(&str, &[&str])] = &[
    (
        "http_request_firewall_custom",
        &[
            "Zone WAF Write",
            "Account WAF Write",
            "Account Rulesets Write",
        ],
    ),
    (
        "http_ratelimit",
        &[
            "Zone WAF Write",
            "Account WAF Write",
            "Account Rulesets Write",
        ],
    ),
    (
        "http_request_dynamic_redirect",
        &["Dynamic URL Redirects Write"],
    ),
    ("http_request_cache_settings", &["Cache Settings Write"]),
    ("http_log_custom_fields", &["Logs Write"]),
    (
        "http_request_transform",
        &["Zone Transform Rules Write", "Transform Rules Write"],
    ),
    ("http_request_sbfm", &["Bot Management Write"]),
];

/// Without a list of phases a group opens the phases it is meant for; what names the operation, or
/// only reads, opens all.
fn phase_says(way: Way, call: &Call, item: &Item<'_>) -> (&'static str, Says) {
    let is_write = matches!(call.what, What::Operation(operation) if operation.is_write());
    match (way, item) {
        (Way::Group(group), Item::Thing(phase)) if is_write => {
            ("phase", Says::is(opens_phase(group, &phase.name)))
        }
        (Way::Group(_), _) if is_write => ("phase, unread", Says::Unclear),
        _ => ("none", Says::Yes),
    }
}

fn opens_phase(group: GroupId, phase: &str) -> bool {
    PHASES
        .iter()
        .filter(|(name, _)| *name == phase)
        .flat_map(|(_, groups)| *groups)
        .any(|name| catalog::group_named(name) == Some(group))
}

fn record_says(dns: &DnsCondition, record: &super::Record, changes: usize) -> (&'static str, Says) {
    let name = record.name.as_str();
    if !dns.names.is_empty() && !dns.names.iter().any(|it| names::is_like(it, name)) {
        return ("dns.names", Says::No);
    }
    if !dns.types.is_empty() && !dns.types.contains(&record.kind) {
        return ("dns.types", Says::No);
    }
    if dns
        .proxied
        .is_some_and(|it| it != (record.proxied == Some(true)))
    {
        return ("dns.proxied", Says::No);
    }
    let most = dns.max_changes.map_or(u64::MAX, u64::from);
    if changes as u64 > most {
        return ("dns.max_changes", Says::No);
    }
    if dns.contents.is_empty() {
        return ("dns", Says::Yes);
    }
    let Some(content) = &record.content else {
        return ("dns.contents", Says::Unclear);
    };
    let said = dns.contents.iter().map(|it| {
        let value = names::value(&record.kind, content);
        match (record.kind.as_str(), value) {
            (_, None) => Says::Unclear,
            ("A" | "AAAA", Some(value)) => {
                Says::is(value.parse().is_ok_and(|address| is_within(address, it)))
            }
            (kind, value) => Says::is(names::value(kind, it) == value),
        }
    });
    ("dns.contents", said.max().unwrap_or(Says::Yes))
}

/// Whether an address is the one written, or in the block written. A mapped address is the address
/// that it maps.
fn is_within(address: IpAddr, written: &str) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bit = |octet: u8| (0..8).rev().map(move |at| octet >> at & 1 == 1);
        octets.into_iter().flat_map(bit).collect()
    };
    let (network, length) = match written.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()),
        None => (written, Some(usize::MAX)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else {
        return false;
    };
    let (network, address) = (bits(network), bits(address.to_canonical()));
    network.len() == address.len()
        && network
            .iter()
            .zip(&address)
            .take(length)
            .all(|(a, b)| a == b)
}

/// Whether the clock on the wall of the time zone is within the hours; a night belongs to the day on
/// which it begins.
fn hold(hours: &HoursCondition, at: Timestamp) -> Says {
    let Ok(zone) = hours.timezone.as_deref().unwrap_or("UTC").parse::<Tz>() else {
        return Says::Unclear;
    };
    let Some(at) = DateTime::from_timestamp_millis(at.unix_ms()) else {
        return Says::Unclear;
    };
    let local = at.with_timezone(&zone);
    let now = format!("{:02}:{:02}", local.hour(), local.minute());
    let is_day = |day: chrono::Weekday| {
        let name = day.to_string().to_lowercase();
        hours.days.is_empty() || hours.days.contains(&name)
    };
    let today = is_day(local.weekday());
    let yesterday = is_day(local.weekday().pred());
    Says::is(if hours.from < hours.until {
        today && now >= hours.from && now < hours.until
    } else {
        today && now >= hours.from || yesterday && now < hours.until
    })
}
