//! `cache.purge`: purges what is named from the cache of one or several zones.
//!
//! A purge can be neither marked nor read back. So a call that may have happened is made once more:
//! purging twice is harmless, purging never is not.

use serde_json::{Map, Value, json};

use super::zones::{Zone, check_zone, find_zones};
use crate::catalog::Method;
use crate::jobs::hands::Hands;
use crate::jobs::kind::{
    JobKind, KindInfo, ParamsError, Plan, Sample, Task, Trouble, call_step, read_params,
};
use crate::jobs::pace::{PurgeUnit, purge_bucket};
use crate::model::ZoneId;
use crate::model::typed::{Misfit, Typed, object};
use crate::run::{NewStep, Stage};

/// Most items of one call
/// (<https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits>).
const ITEMS_PER_CALL: usize = 100;
/// Calls of one run at the most, each counted once.
const MAX_STEPS: usize = 2_500;
/// Items of one run at the most.
const MAX_ITEMS: usize = 100_000;
/// Calls of one zone and form that are asked about before a run.
const MAX_SAMPLES: usize = 20;
/// Seconds between a purge and its repetition at the most: a day.
const MAX_VERIFY_AFTER_SECS: u32 = 86_400;

pub(in crate::jobs) const KIND: KindInfo = KindInfo {
    name: "cache.purge",
    parse: |params| Ok(Box::new(CachePurge::parse(params)?)),
    max_attempts: 5,
    stops_at_refusal: false,
    repeats_unknown: true,
    subrequests: 25,
    fixed: &[],
    pinned: &[],
    own: &[],
};

object! {
    #[derive(Debug)]
    struct CachePurge {
        /// Names, ids or patterns.
        zones: Vec<String>,
        everything: bool = default,
        /// URLs, each alone or with the headers of its cache key.
        files: Vec<File> = default,
        tags: Vec<String> = default,
        hosts: Vec<String> = default,
        /// Host and path, without scheme and query.
        prefixes: Vec<String> = default,
        /// Seconds after which everything is purged once more: what was being filled into the cache
        /// while it was purged is then gone as well.
        verify_after_secs: Option<u32> = default,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum File {
    Url(String),
    Variant(Variant),
}

object! {
    #[derive(Debug, Clone, PartialEq)]
    struct Variant {
        url: String,
        headers: Map<String, Value>,
    }
}

impl Typed for File {
    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::String(url) => Ok(Self::Url(url)),
            Value::Object(_) => Variant::read(value).map(Self::Variant),
            other => {
                let expected = "a URL, or an object of url and headers";
                Err(Misfit::unexpected(&other, expected))
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Url(url) => url.write(),
            Self::Variant(variant) => variant.write(),
        }
    }
}

impl File {
    fn url(&self) -> &str {
        match self {
            Self::Url(url) | Self::Variant(Variant { url, .. }) => url,
        }
    }
}

/// One form of a purge: its key in the body, its items, and whose zone each item is of.
struct Form<'a> {
    key: &'static str,
    noun: &'static str,
    unit: PurgeUnit,
    items: Vec<(Value, Option<&'a str>)>,
}

impl CachePurge {
    fn parse(params: &Map<String, Value>) -> Result<Self, ParamsError> {
        let purge: Self = read_params(params)?;
        let wrong = |field: String, message: &str| {
            Err(ParamsError {
                field,
                message: message.to_owned(),
            })
        };
        if purge.zones.is_empty() {
            return wrong("zones".to_owned(), "at least one zone must be named");
        }
        for (index, zone) in purge.zones.iter().enumerate() {
            check_zone(zone, &format!("zones[{index}]"))?;
        }
        let items = purge.files.len() + purge.tags.len() + purge.hosts.len() + purge.prefixes.len();
        if purge.everything && items > 0 {
            return wrong(
                "everything".to_owned(),
                "everything includes what else is named, so name only one of them",
            );
        }
        if !purge.everything && items == 0 {
            return wrong(
                String::new(),
                "nothing to purge is named: everything, files, tags, hosts or prefixes",
            );
        }
        if items > MAX_ITEMS {
            return wrong(String::new(), "one run purges at most 100000 items");
        }
        for (index, file) in purge.files.iter().enumerate() {
            if host_of_url(file.url()).is_none() {
                let field = match file {
                    File::Url(_) => format!("files[{index}]"),
                    File::Variant(_) => format!("files[{index}].url"),
                };
                return wrong(
                    field,
                    "it must be a URL that begins with http:// or https://",
                );
            }
            if let File::Variant(Variant { headers, .. }) = file
                && let Some((name, _)) = headers.iter().find(|(_, value)| !value.is_string())
            {
                let field = format!("files[{index}].headers.{name}");
                return wrong(field, "the value of a header must be a text");
            }
        }
        for (key, texts) in [("tags", &purge.tags), ("hosts", &purge.hosts)] {
            if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
                return wrong(format!("{key}[{index}]"), "it must not be empty");
            }
        }
        for (index, prefix) in purge.prefixes.iter().enumerate() {
            if prefix.contains("://") || prefix.contains(['?', '#']) || prefix.starts_with('/') {
                let message = "a prefix is a host and a path, without scheme and query";
                return wrong(format!("prefixes[{index}]"), message);
            }
        }
        if purge
            .verify_after_secs
            .is_some_and(|secs| secs == 0 || secs > MAX_VERIFY_AFTER_SECS)
        {
            let message = "it must be a number of seconds from 1 to 86400";
            return wrong("verify_after_secs".to_owned(), message);
        }
        Ok(purge)
    }

    /// Everything to purge, by form; what stands there twice counts once.
    fn forms(&self) -> Vec<Form<'_>> {
        fn texts<'a>(
            texts: &'a [String],
            host: impl Fn(&'a str) -> Option<&'a str>,
        ) -> Vec<(Value, Option<&'a str>)> {
            let mut seen = std::collections::BTreeSet::new();
            let fresh = texts.iter().filter(|text| seen.insert(text.as_str()));
            fresh.map(|text| (json!(text), host(text))).collect()
        }
        let mut seen = std::collections::BTreeSet::new();
        let files = self
            .files
            .iter()
            .map(|file| (file.write(), host_of_url(file.url())))
            .filter(|(item, _)| seen.insert(item.to_string()))
            .collect();
        let form = |key, noun, unit, items| Form {
            key,
            noun,
            unit,
            items,
        };
        vec![
            form("files", "file", PurgeUnit::Url, files),
            form("tags", "tag", PurgeUnit::Call, texts(&self.tags, |_| None)),
            form(
                "hosts",
                "host",
                PurgeUnit::Call,
                texts(&self.hosts, |host| Some(host_of(host))),
            ),
            form(
                "prefixes",
                "prefix",
                PurgeUnit::Call,
                texts(&self.prefixes, |prefix| Some(host_of(prefix))),
            ),
        ]
    }

    /// The bodies to send to one zone, with form, number of items and bucket unit. `is_of_zone` says
    /// whether a host is this zone's.
    fn bodies(
        &self,
        is_of_zone: impl Fn(&str) -> bool,
    ) -> Vec<(String, &'static str, usize, PurgeUnit)> {
        if self.everything {
            let body = json!({"purge_everything": true}).to_string();
            return vec![(body, "everything", 1, PurgeUnit::Call)];
        }
        let mut bodies = Vec::new();
        for form in self.forms() {
            let mine: Vec<&Value> = form
                .items
                .iter()
                .filter(|(_, host)| host.is_none_or(&is_of_zone))
                .map(|(item, _)| item)
                .collect();
            for chunk in mine.chunks(ITEMS_PER_CALL) {
                let body = json!({ form.key: chunk }).to_string();
                bodies.push((body, form.noun, chunk.len(), form.unit));
            }
        }
        bodies
    }

    fn steps(&self, zones: &[Zone]) -> Result<Vec<NewStep>, Trouble> {
        for form in self.forms() {
            let stray = form
                .items
                .iter()
                .find(|(_, host)| host.is_some_and(|host| zone_of(host, zones).is_none()));
            if let Some((item, _)) = stray {
                return Err(Trouble::Impossible(format!(
                    "The {} {item} is in none of the zones that the run purges.",
                    form.noun
                )));
            }
        }
        let mut steps = Vec::new();
        for zone in zones {
            let is_mine =
                |host: &str| zone_of(host, zones).is_some_and(|found| found.id == zone.id);
            for (body, noun, count, unit) in self.bodies(is_mine) {
                let account = zone.account.to_string();
                let cost = match unit {
                    PurgeUnit::Url => u32::try_from(count).unwrap_or(u32::MAX),
                    PurgeUnit::Call => 1,
                };
                let bucket = purge_bucket(&account, &zone.plan, unit);
                steps.push(call_step(
                    Method::Post,
                    format!("/zones/{}/purge_cache", zone.id),
                    body,
                    Some((bucket, cost)),
                    count,
                    summary(noun, count, &zone.name),
                ));
            }
            if steps.len() > MAX_STEPS {
                return Err(Trouble::Impossible(format!(
                    "The purge takes more than {MAX_STEPS} calls; cut it into several jobs."
                )));
            }
        }
        Ok(steps)
    }
}

fn summary(noun: &str, count: usize, zone: &str) -> String {
    match (noun, count) {
        ("everything", _) => format!("purge everything of {zone}"),
        (noun, 1) => format!("purge 1 {noun} of {zone}"),
        ("prefix", count) => format!("purge {count} prefixes of {zone}"),
        (noun, count) => format!("purge {count} {noun}s of {zone}"),
    }
}

/// The host of an `http` or `https` URL.
fn host_of_url(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = host_of(authority);
    (!host.is_empty() && !authority.contains('@')).then_some(host)
}

/// What stands before a path or port.
fn host_of(text: &str) -> &str {
    text.split(['/', ':']).next().unwrap_or_default()
}

/// The zone a host belongs to: of several that contain it the one with the longest name.
fn zone_of<'z>(host: &str, zones: &'z [Zone]) -> Option<&'z Zone> {
    zones
        .iter()
        .filter(|zone| is_within(host, &zone.name))
        .max_by_key(|zone| zone.name.len())
}

fn is_within(host: &str, zone: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    crate::model::is_within(&host, zone)
}

impl JobKind for CachePurge {
    fn zones(&self) -> Vec<&str> {
        self.zones.iter().map(String::as_str).collect()
    }

    fn samples(&self, zone: ZoneId, zone_name: &str) -> Vec<Sample> {
        let bodies = self.bodies(|host| is_within(host, zone_name));
        let sample = |(body, ..): (String, &str, usize, PurgeUnit)| Sample {
            method: Method::Post,
            path: format!("/zones/{zone}/purge_cache"),
            body: Some(body),
        };
        bodies.into_iter().take(MAX_SAMPLES).map(sample).collect()
    }

    fn plan<'a>(&'a self, hands: &'a dyn Hands) -> Task<'a, Plan> {
        Box::pin(async move {
            let zones = find_zones(hands, &self.zones).await?;
            let mut steps = self.steps(&zones)?;
            let items: u32 = steps.iter().map(|step| step.items).sum();
            let summary = format!(
                "{} in {} zone{}: {} call{}.",
                if self.everything {
                    "Everything".to_owned()
                } else {
                    format!("{items} items")
                },
                zones.len(),
                if zones.len() == 1 { "" } else { "s" },
                steps.len(),
                if steps.len() == 1 { "" } else { "s" },
            );
            if self.verify_after_secs.is_some() {
                let again: Vec<NewStep> = steps
                    .iter()
                    .map(|step| NewStep {
                        stage: Stage::Verify,
                        summary: format!("{} once more", step.summary),
                        ..step.clone()
                    })
                    .collect();
                steps.extend(again);
            }
            Ok(Plan {
                steps,
                summary,
                verify_after_secs: self.verify_after_secs.unwrap_or_default(),
                ..Plan::default()
            })
        })
    }
}
