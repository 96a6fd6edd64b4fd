//! The conditions of a grant.

use super::{Check, syntax};
use crate::catalog;
use crate::config::document::{
    DnsCondition, Effect, Grant, HoursCondition, PurgeCondition, WorkersCondition,
};
use crate::config::tree::{Node, Tree};
use crate::cron::check_timezone;
use crate::model::{At, RecordPattern, WebUrl, ZoneId, quoted};

/// The record types of the v4 API.
const RECORD_TYPES: [&str; 21] = [
    "A",
    "AAAA",
    "CAA",
    "CERT",
    "CNAME",
    "DNSKEY",
    "DS",
    "HTTPS",
    "LOC",
    "MX",
    "NAPTR",
    "NS",
    "OPENPGPKEY",
    "PTR",
    "SMIMEA",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
];

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const EMPTY_LIST: &str = "an empty list would limit nothing; leave the key out or name something.";

impl Check<'_> {
    pub(super) fn limits(&mut self, at: &At<'_>, grant: &Grant) {
        self.no_empty_lists(at);
        if let Some(dns) = &grant.dns {
            self.dns(&at.key("dns"), dns, grant);
        }
        if let Some(purge) = &grant.purge {
            self.purge(&at.key("purge"), purge);
        }
        if let Some(workers) = &grant.workers {
            self.workers(&at.key("workers"), workers);
        }
        for (condition, list, values) in [
            ("settings", "ids", grant.settings.as_ref().map(|it| &it.ids)),
            (
                "rulesets",
                "phases",
                grant.rulesets.as_ref().map(|it| &it.phases),
            ),
            ("lists", "ids", grant.lists.as_ref().map(|it| &it.ids)),
            (
                "kv",
                "namespaces",
                grant.kv.as_ref().map(|it| &it.namespaces),
            ),
            ("kv", "keys", grant.kv.as_ref().map(|it| &it.keys)),
            ("r2", "buckets", grant.r2.as_ref().map(|it| &it.buckets)),
            (
                "graphql",
                "datasets",
                grant.graphql.as_ref().map(|it| &it.datasets),
            ),
        ] {
            if let Some(values) = values {
                self.each(&at.key(condition).key(list), values, syntax::text);
            }
        }
        self.each(&at.key("source_ips"), &grant.source_ips, syntax::network);
        for (field, time) in [
            ("not_before", grant.not_before),
            ("not_after", grant.not_after),
        ] {
            if time.is_some_and(|time| time.to_string().parse() != Ok(time)) {
                let message = "it must lie within the years 0 to 9999 in UTC.";
                self.problem(&at.key(field), message);
            }
        }
        if let (Some(from), Some(until)) = (grant.not_before, grant.not_after)
            && from >= until
        {
            self.problem(&at.key("not_after"), "it must lie after \"not_before\".");
        }
        if let Some(hours) = &grant.hours {
            self.hours(&at.key("hours"), hours);
        }
        let is_own = |name: &&String| catalog::group_named(name).is_some_and(catalog::is_own_group);
        let own = grant.permissions.iter().find(is_own);
        for (field, limit) in [
            ("max_uses", grant.max_uses),
            ("per_minute", grant.per_minute),
            ("max_deletes_per_hour", grant.max_deletes_per_hour),
        ] {
            self.at_least_one(&at.key(field), limit);
            if let (Some(own), Some(_)) = (own, limit) {
                let message = format!(
                    "calls of /api/v1 are not counted, so a grant of {} cannot say how often.",
                    quoted(own)
                );
                self.problem(&at.key(field), message);
            }
            let effect = match grant.effect {
                Effect::Allow => continue,
                Effect::Deny => "deny",
                Effect::Approve => "approve",
            };
            // Once used up it would no longer match, and so open what it was to keep shut.
            if limit.is_some() {
                let message = format!(
                    "only a grant that allows can be used up, and this one has the effect {effect:?}."
                );
                self.problem(&at.key(field), message);
            }
        }
    }

    fn at_least_one(&mut self, at: &At<'_>, limit: Option<u32>) {
        if limit == Some(0) {
            self.problem(at, "it must be at least 1.");
        }
    }

    /// A list that is present but empty reads like "nothing" but would be stored like "no limit".
    /// Only `purge` and `workers.bindings` mean "nothing" by it.
    fn no_empty_lists(&mut self, at: &At<'_>) {
        let Some(grant) = self.written(at) else {
            return;
        };
        let mut empty = Vec::new();
        for (condition, list) in [
            ("dns", "names"),
            ("dns", "types"),
            ("dns", "contents"),
            ("workers", "scripts"),
            ("workers", "routes"),
            ("workers", "digests"),
            ("settings", "ids"),
            ("rulesets", "phases"),
            ("lists", "ids"),
            ("kv", "namespaces"),
            ("kv", "keys"),
            ("r2", "buckets"),
            ("graphql", "datasets"),
            ("hours", "days"),
        ] {
            if is_empty_list(grant.get(condition).and_then(|table| table.get(list))) {
                empty.push((condition, list));
            }
        }
        for (condition, list) in empty {
            self.problem(&at.key(condition).key(list), EMPTY_LIST);
        }
        if is_empty_list(self.written(at).and_then(|grant| grant.get("source_ips"))) {
            self.problem(&at.key("source_ips"), EMPTY_LIST);
        }
    }

    /// What stands at a grant's place in the text.
    fn written(&self, at: &At<'_>) -> Option<&Tree> {
        let At::Item(_, index) = at else { return None };
        match &self.source.tree().get("grants")?.node {
            Node::List(grants) => grants.get(*index),
            _ => None,
        }
    }

    fn dns(&mut self, at: &At<'_>, dns: &DnsCondition, grant: &Grant) {
        let names = at.key("names");
        for (index, text) in dns.names.iter().enumerate() {
            match RecordPattern::parse(text) {
                Ok(pattern) => self.matches_some_zone(&pattern, text, grant),
                Err(error) => {
                    let message =
                        format!("{} is no pattern for record names: {error}.", quoted(text));
                    self.problem(&names.item(index), message);
                }
            }
        }
        let types = at.key("types");
        for (index, text) in dns.types.iter().enumerate() {
            if !RECORD_TYPES.contains(&text.as_str()) {
                let near = self.nearest_of(text, RECORD_TYPES);
                let message = format!("there is no record type {}{near}", quoted(text));
                self.problem(&types.item(index), message);
            }
        }
        self.each(&at.key("contents"), &dns.contents, syntax::content);
        self.at_least_one(&at.key("max_changes"), dns.max_changes);
    }

    /// Warns of a plain name outside every zone of the grant: most likely it was meant relative.
    fn matches_some_zone(&mut self, pattern: &RecordPattern, text: &str, grant: &Grant) {
        let Some(name) = pattern.exact() else { return };
        let by_name = |zone: &&String| *zone != "*" && zone.parse::<ZoneId>().is_err();
        let inside = |zone: &String| {
            let zone = zone.to_ascii_lowercase();
            name == zone
                || name
                    .strip_suffix(&zone)
                    .is_some_and(|rest| rest.ends_with('.'))
        };
        let all_by_name = grant
            .zones
            .iter()
            .all(|zone| by_name(&zone) && zone.is_ascii());
        if all_by_name && !grant.zones.is_empty() && !grant.zones.iter().any(inside) {
            self.message(format!(
                "grant {}: the name {} lies in none of its zones, so it matches no record; names are written in full.",
                grant.name,
                quoted(text)
            ));
        }
    }

    fn purge(&mut self, at: &At<'_>, purge: &PurgeCondition) {
        self.each(&at.key("prefixes"), &purge.prefixes, |prefix| {
            syntax::text(prefix)?;
            if prefix.contains("://") || prefix.starts_with('/') || prefix.contains(['?', '#']) {
                return Err(format!(
                    "{} is no prefix: it is written as host and path, such as \"example.com/news/\".",
                    quoted(prefix)
                ));
            }
            Ok(())
        });
        self.each(&at.key("hosts"), &purge.hosts, |host| {
            syntax::text(host)?;
            if host.contains(['/', ':', '?', '#', '*', ' ']) {
                return Err(format!("{} is no host name.", quoted(host)));
            }
            Ok(())
        });
        self.each(&at.key("tags"), &purge.tags, syntax::text);
        self.each(&at.key("files"), &purge.files, |file| {
            syntax::text(file)?;
            match WebUrl::parse(file) {
                Some(_) => Ok(()),
                None => Err(format!("{} is no http or https URL.", quoted(file))),
            }
        });
    }

    fn workers(&mut self, at: &At<'_>, workers: &WorkersCondition) {
        self.each(&at.key("scripts"), &workers.scripts, syntax::text);
        self.each(&at.key("routes"), &workers.routes, syntax::text);
        if let Some(bindings) = &workers.bindings {
            self.each(&at.key("bindings"), bindings, |binding| {
                syntax::text(binding)?;
                match binding.split_once(':') {
                    Some((kind, resource)) if kind.is_empty() || resource.is_empty() => Err(format!(
                        "{} is no binding: it is written as type, or as type and resource such as \"kv_namespace:site-cache\".",
                        quoted(binding)
                    )),
                    _ => Ok(()),
                }
            });
        }
        self.each(&at.key("digests"), &workers.digests, |digest| {
            let fits = digest.len() == 64
                && digest
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            if fits {
                return Ok(());
            }
            Err(format!(
                "{} is no SHA-256 digest: it has 64 lower-case hexadecimal digits.",
                quoted(digest)
            ))
        });
    }

    fn hours(&mut self, at: &At<'_>, hours: &HoursCondition) {
        self.each(&at.key("days"), &hours.days, |day| {
            if DAYS.contains(&day) {
                return Ok(());
            }
            Err(format!(
                "{} is no day; days are {}.",
                quoted(day),
                DAYS.map(quoted).join(", ")
            ))
        });
        for (field, text) in [("from", &hours.from), ("until", &hours.until)] {
            if syntax::minute_of_day(text).is_none() {
                let message = format!(
                    "{} is no time of the day; it is written like \"09:30\".",
                    quoted(text)
                );
                self.problem(&at.key(field), message);
            }
        }
        if hours.from == hours.until {
            self.problem(&at.key("until"), "it must differ from \"from\".");
        }
        if let Some(timezone) = &hours.timezone {
            self.expect(&at.key("timezone"), check_timezone(timezone));
        }
    }
}

fn is_empty_list(tree: Option<&Tree>) -> bool {
    tree.is_some_and(|tree| matches!(&tree.node, Node::List(items) if items.is_empty()))
}
