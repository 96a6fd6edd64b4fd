//! The rows of a dataset: made up, but the same ones every time they are asked for.
//!
//! Each five minutes of an account or zone have one event of every mixture of properties that the
//! dataset knows; a hash of place, time and mixture says how often it happened.
//!
//! `workersInvocationsAdaptive` has real rows, too: those of a Worker that was invoked
//! ([`Invocations`]) are its invocations and nothing else; only for one that never was are they made
//! up, and then their `scriptVersion` is empty, so that they count for no version.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::clock::{Now, SECOND};
use crate::ids::mix;
use crate::invocations::{Invocation, Invocations};

/// What a dataset holds.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(super) name: &'static str,
    pub(super) of_zone: bool,
    /// Whether it gives groups rather than single events.
    pub(super) is_grouped: bool,
    /// Whether its rows are the invocations of Workers, where there are any.
    counts_invocations: bool,
    /// Properties and the values that each takes.
    properties: &'static [(&'static str, &'static [&'static str])],
    /// Names below `sum`, and how much one event adds to each at the most.
    sums: &'static [(&'static str, u64)],
    /// Names below `quantiles`.
    quantiles: &'static [&'static str],
}

/// NOTES "Analytics": datasets.
pub(super) const DATASETS: [Dataset; 5] = [
    Dataset {
        name: "httpRequestsAdaptiveGroups",
        of_zone: true,
        is_grouped: true,
        counts_invocations: false,
        properties: &HTTP,
        sums: &[
            ("edgeResponseBytes", 60_000),
            ("edgeRequestBytes", 2_000),
            ("visits", 1),
        ],
        quantiles: &[
            "edgeTimeToFirstByteMsP50",
            "edgeTimeToFirstByteMsP95",
            "edgeTimeToFirstByteMsP99",
        ],
    },
    Dataset {
        name: "firewallEventsAdaptive",
        of_zone: true,
        is_grouped: false,
        counts_invocations: false,
        properties: &FIREWALL,
        sums: &[],
        quantiles: &[],
    },
    Dataset {
        name: "firewallEventsAdaptiveGroups",
        of_zone: true,
        is_grouped: true,
        counts_invocations: false,
        properties: &FIREWALL,
        sums: &[],
        quantiles: &[],
    },
    Dataset {
        name: "workersInvocationsAdaptive",
        of_zone: false,
        is_grouped: true,
        counts_invocations: true,
        properties: &[
            ("scriptName", &["api", "site"]),
            ("status", &["success", "scriptThrewException"]),
            // That the dimension has this name is a hypothesis.
            ("scriptVersion", &[""]),
        ],
        sums: &[
            ("requests", 1),
            ("errors", 0),
            ("subrequests", 3),
            ("wallTime", 9_000),
        ],
        quantiles: &["cpuTimeP50", "cpuTimeP99", "wallTimeP50", "wallTimeP99"],
    },
    Dataset {
        name: "loadBalancingRequestsAdaptiveGroups",
        of_zone: true,
        is_grouped: true,
        counts_invocations: false,
        properties: &[
            ("lbName", &["lb.example.com"]),
            ("selectedPoolName", &["primary", "standby"]),
            ("selectedOriginName", &["primary-1", "standby-1"]),
        ],
        sums: &[],
        quantiles: &[],
    },
];

const HTTP: [(&str, &[&str]); 4] = [
    ("clientCountryName", &["DE", "US"]),
    ("edgeResponseStatus", &["200", "404", "500"]),
    ("cacheStatus", &["hit", "miss"]),
    ("clientRequestHTTPMethodName", &["GET", "POST"]),
];

const FIREWALL: [(&str, &[&str]); 5] = [
    ("action", &["block", "managed_challenge"]),
    ("clientCountryName", &["DE", "US"]),
    ("clientIP", &["192.0.2.66", "198.51.100.9"]),
    ("source", &["firewallCustom"]),
    ("ruleId", &["51000000000000000000000000000001"]),
];

/// The times that can be asked for, and how each is cut.
const TIMES: [(&str, &str, i64); 6] = [
    ("date", "%Y-%m-%d", 86_400),
    ("datetimeHour", "%Y-%m-%dT%H:00:00Z", 3600),
    ("datetimeFifteenMinutes", "%Y-%m-%dT%H:%M:00Z", 900),
    ("datetimeFiveMinutes", "%Y-%m-%dT%H:%M:00Z", 300),
    ("datetimeMinute", "%Y-%m-%dT%H:%M:00Z", 60),
    ("datetime", "%Y-%m-%dT%H:%M:%SZ", 1),
];

/// The length of one slot of time.
const SLOT: i64 = 300 * SECOND;
/// The widest range of time, in seconds; a hypothesis, as limits differ by plan and dataset.
const MAX_RANGE: i64 = 31 * 86_400;

/// One event, or the sum of those that happened the same way.
#[derive(Clone, Debug)]
pub(super) struct Event {
    at: Now,
    properties: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) count: u64,
    seed: u64,
}

impl Event {
    /// A property, or the time cut as its name says.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        if let Some((_, pattern, secs)) = TIMES.iter().find(|(time, _, _)| *time == name) {
            let cut = self.at.0 - self.at.0.rem_euclid(secs * SECOND);
            return Some(json!(Now(cut).format(pattern)));
        }
        let (_, value) = self.properties.iter().find(|(known, _)| *known == name)?;
        // Statuses are numbers.
        Some(
            value
                .parse::<u64>()
                .map_or_else(|_| json!(value), |n| json!(n)),
        )
    }
}

impl Dataset {
    /// Whether events have this property.
    pub(super) fn knows(&self, name: &str) -> bool {
        TIMES.iter().any(|(time, _, _)| *time == name)
            || self.properties.iter().any(|(known, _)| *known == name)
    }

    /// The events of a place in the range of time of a filter that pass it.
    pub(super) fn events(
        &self,
        place: &str,
        filter: &Map<String, Value>,
        invocations: &Invocations,
    ) -> Result<Vec<Event>, String> {
        let (from, until) = range(filter)?;
        let mut events = Vec::new();
        let mut invoked = BTreeSet::new();
        for invocation in invocations.of(place).filter(|_| self.counts_invocations) {
            invoked.insert(invocation.script.as_str());
            if (from..until).contains(&invocation.at.0) {
                for event in outcomes(invocation) {
                    if event.count > 0 && passes(&event, filter, self)? {
                        events.push(event);
                    }
                }
            }
        }
        let is_invoked = |properties: &[(&str, Cow<'_, str>)]| {
            let name = properties.iter().find(|(name, _)| *name == "scriptName");
            name.is_some_and(|(_, script)| invoked.contains(script.as_ref()))
        };
        let seed = place
            .bytes()
            .chain(self.name.bytes())
            .fold(7, |h, b| mix(h ^ u64::from(b)));
        let mut at = from + (SLOT - from.rem_euclid(SLOT)) % SLOT;
        while at < until {
            let slot = mix(seed ^ u64::try_from(at / SLOT).unwrap_or(0));
            for (number, properties) in (0..).zip(self.mixtures()) {
                let seed = mix(slot ^ number);
                if is_invoked(&properties) {
                    continue;
                }
                let event = Event {
                    at: Now(at),
                    properties,
                    count: seed % 20,
                    seed,
                };
                if event.count > 0 && passes(&event, filter, self)? {
                    events.push(event);
                }
            }
            at += SLOT;
        }
        Ok(events)
    }

    /// Every combination of one value for each property.
    fn mixtures(&self) -> Vec<Vec<(&'static str, Cow<'static, str>)>> {
        let mut all = vec![Vec::new()];
        for (name, values) in self.properties {
            all = all
                .iter()
                .flat_map(|mixture| {
                    values.iter().map(|value| {
                        let mut mixture = mixture.clone();
                        mixture.push((*name, Cow::Borrowed(*value)));
                        mixture
                    })
                })
                .collect();
        }
        all
    }

    /// The events grouped by the named properties, in the order of their values.
    pub(super) fn grouped<'a>(events: &'a [Event], by: &[&str]) -> Vec<Vec<&'a Event>> {
        let mut groups: BTreeMap<String, Vec<&Event>> = BTreeMap::new();
        for event in events {
            let key: Vec<String> = by
                .iter()
                .map(|name| event.get(name).unwrap_or_default().to_string())
                .collect();
            groups.entry(key.join("\u{0}")).or_default().push(event);
        }
        groups.into_values().collect()
    }

    /// A number below `sum`, over a group.
    pub(super) fn sum(&self, name: &str, group: &[&Event]) -> Option<Value> {
        let (_, most) = self.sums.iter().find(|(known, _)| *known == name)?;
        let each = |event: &Event| match *most {
            // Errors are the events that did not succeed.
            0 => event.count * u64::from(event.get("status") != Some(json!("success"))),
            1 => event.count,
            most => event.count * (event.seed / 64 % most),
        };
        Some(json!(group.iter().map(|event| each(event)).sum::<u64>()))
    }

    /// A number below `quantiles`, over a group.
    pub(super) fn quantile(&self, name: &str, group: &[&Event]) -> Option<Value> {
        self.quantiles.iter().find(|known| **known == name)?;
        let seed = group.iter().fold(0, |seed, event| mix(seed ^ event.seed));
        let (from, spread) = match name {
            _ if name.ends_with("P50") => (800, 400),
            _ if name.ends_with("P95") => (3000, 1000),
            _ => (6000, 3000),
        };
        Some(json!(from + seed % spread))
    }
}

/// The invocations that succeeded and those that did not.
fn outcomes(invocation: &Invocation) -> [Event; 2] {
    let event = |status: &'static str, count| Event {
        at: invocation.at,
        properties: vec![
            ("scriptName", Cow::Owned(invocation.script.clone())),
            ("status", Cow::Borrowed(status)),
            ("scriptVersion", Cow::Owned(invocation.version.clone())),
        ],
        count,
        seed: 0,
    };
    let failed = invocation.errors;
    [
        event("success", invocation.requests - failed),
        event("scriptThrewException", failed),
    ]
}

/// The range of time that a filter names; without a beginning it is refused.
fn range(filter: &Map<String, Value>) -> Result<(i64, i64), String> {
    let (mut from, mut until) = (None, None);
    let mut conditions = vec![filter];
    let nested = filter.get("AND").and_then(Value::as_array);
    conditions.extend(nested.into_iter().flatten().filter_map(Value::as_object));
    for (name, value) in conditions.into_iter().flatten() {
        let Some((field, operator)) = name.rsplit_once('_') else {
            continue;
        };
        if !TIMES.iter().any(|(time, _, _)| *time == field) {
            continue;
        }
        let at = instant(value).ok_or_else(|| format!("{name} must be a time, not {value}"))?;
        let whole = if field == "date" { 86_400 * SECOND } else { 1 };
        match operator {
            "geq" => from = Some(at),
            "gt" => from = Some(at + whole),
            "lt" => until = Some(at),
            "leq" => until = Some(at + whole),
            _ => return Err(format!("unknown argument \"{name}\" in filter")),
        }
    }
    let (Some(from), Some(until)) = (from, until) else {
        return Err("the filter must bound the time on both sides".to_owned());
    };
    if until - from > MAX_RANGE * SECOND {
        return Err(format!(
            "cannot request a time range wider than {MAX_RANGE}s"
        ));
    }
    Ok((from, until))
}

fn instant(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let time = match text.len() {
        10 => chrono::DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z")),
        _ => chrono::DateTime::parse_from_rfc3339(text),
    };
    Some(time.ok()?.timestamp_micros())
}

/// Whether an event passes a filter; conditions on the time are the range's.
fn passes(event: &Event, filter: &Map<String, Value>, dataset: &Dataset) -> Result<bool, String> {
    for (name, wanted) in filter {
        if let ("AND" | "OR", Some(list)) = (name.as_str(), wanted.as_array()) {
            let mut each = Vec::new();
            for filter in list.iter().filter_map(Value::as_object) {
                each.push(passes(event, filter, dataset)?);
            }
            let fits = if name == "AND" {
                each.iter().all(|p| *p)
            } else {
                each.contains(&true)
            };
            if !fits {
                return Ok(false);
            }
            continue;
        }
        let (field, operator) = match name.rsplit_once('_') {
            Some((field, operator)) if dataset.knows(field) => (field, operator),
            _ => (name.as_str(), "eq"),
        };
        if TIMES.iter().any(|(time, _, _)| *time == field) {
            continue;
        }
        let value = event
            .get(field)
            .ok_or_else(|| format!("unknown argument \"{name}\" in filter"))?;
        let list = wanted.as_array();
        let (number, bound) = (value.as_u64(), wanted.as_u64());
        let fits = match operator {
            "eq" => value == *wanted,
            "neq" => value != *wanted,
            "in" => list.is_some_and(|list| list.contains(&value)),
            "notin" => list.is_some_and(|list| !list.contains(&value)),
            "geq" => number >= bound,
            "gt" => number > bound,
            "leq" => number <= bound,
            "lt" => number < bound,
            _ => return Err(format!("unknown argument \"{name}\" in filter")),
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}
