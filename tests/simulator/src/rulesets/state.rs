//! Rulesets as they are kept: every version of each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::not_found;
use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::objects::{Members, Object};

/// The rulesets of all accounts and zones.
#[derive(Debug, Default)]
pub(crate) struct Rulesets {
    by_place: BTreeMap<String, Vec<Ruleset>>,
}

/// One ruleset with every version it had.
#[derive(Clone, Debug)]
pub(super) struct Ruleset {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) phase: String,
    /// Oldest first and never empty; the last is what counts.
    pub(super) versions: Vec<Version>,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) last_updated: Now,
    pub(super) rules: Vec<Object>,
}

impl Ruleset {
    pub(super) fn render(&self, version: &Version, with_rules: bool) -> Value {
        let mut out = json!({
            "id": self.id, "name": version.name, "description": version.description,
            "kind": self.kind, "phase": self.phase, "version": version.number.to_string(),
            "last_updated": version.last_updated.rfc3339(),
        });
        if let (true, Some(map)) = (with_rules, out.as_object_mut()) {
            map.insert("rules".to_owned(), json!(version.rules));
        }
        out
    }

    pub(super) fn is_entrypoint(&self) -> bool {
        matches!(self.kind, "root" | "zone")
    }

    pub(super) fn latest(&self) -> Result<&Version, ApiError> {
        self.versions.last().ok_or_else(|| not_found("ruleset"))
    }

    pub(super) fn reply(&self) -> Outcome {
        Ok(Reply::ok(&self.render(self.latest()?, true)))
    }

    /// Makes a new version of the rules; those that changed get a version of their own.
    pub(super) fn update(&mut self, rules: Vec<Object>, now: Now) -> Result<(), ApiError> {
        let mut next = self.latest()?.clone();
        next.number += 1;
        next.rules = renumbered(&next.rules, rules, now);
        next.last_updated = now;
        self.versions.push(next);
        Ok(())
    }
}

/// Gives each rule that is new or differs from what it was a new version.
pub(super) fn renumbered(old: &[Object], mut rules: Vec<Object>, now: Now) -> Vec<Object> {
    for rule in &mut rules {
        let before = old.iter().find(|o| o.get("id") == rule.get("id"));
        let content = |rule: &Object| {
            let mut content = rule.clone();
            content.retain(|name, _| !matches!(name.as_str(), "version" | "last_updated"));
            content
        };
        let (version, updated) = match before {
            Some(before) if content(before) == content(rule) => (
                before.at("version").clone(),
                before.at("last_updated").clone(),
            ),
            Some(before) => {
                let number = before
                    .at("version")
                    .as_str()
                    .and_then(|v| v.parse::<u64>().ok());
                let next = number.unwrap_or(0) + 1;
                (json!(next.to_string()), json!(now.rfc3339()))
            }
            None => (json!("1"), json!(now.rfc3339())),
        };
        rule.insert("version".to_owned(), version);
        rule.insert("last_updated".to_owned(), updated);
    }
    rules
}

impl Rulesets {
    pub(super) fn of(&self, place: &str) -> &[Ruleset] {
        self.by_place.get(place).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_mut(&mut self, place: &str) -> &mut Vec<Ruleset> {
        self.by_place.entry(place.to_owned()).or_default()
    }

    /// Whether any rule's expression in one of these places mentions `needle`.
    pub(crate) fn mentions(&self, places: &[String], needle: &str) -> usize {
        let expressions = places
            .iter()
            .flat_map(|place| self.of(place))
            .filter_map(|ruleset| ruleset.versions.last())
            .flat_map(|version| &version.rules)
            .filter_map(|rule| rule.get("expression").and_then(Value::as_str));
        expressions.filter(|text| names_list(text, needle)).count()
    }

    /// Makes an entrypoint of the seed.
    pub(crate) fn seed(&mut self, place: &str, id: &str, phase: &str, rules: &[Value], now: Now) {
        let rules: Vec<Object> = rules.iter().filter_map(Value::as_object).cloned().collect();
        self.of_mut(place).push(Ruleset {
            id: id.to_owned(),
            kind: "zone",
            phase: phase.to_owned(),
            versions: vec![Version {
                number: 1,
                name: "default".to_owned(),
                description: String::new(),
                last_updated: now,
                rules: renumbered(&[], rules, now),
            }],
        });
    }

    /// Ids and phases, for `GET /__sim/state`.
    pub(crate) fn state(&self) -> Vec<Value> {
        let all = self.by_place.iter();
        all.flat_map(|(place, list)| {
            list.iter()
                .map(move |r| json!({"id": r.id, "phase": r.phase, "kind": r.kind, "in": place}))
        })
        .collect()
    }
}

/// Whether `$name` is mentioned as a whole word.
fn names_list(expression: &str, name: &str) -> bool {
    expression
        .split('$')
        .skip(1)
        .filter_map(|rest| rest.strip_prefix(name))
        .any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_named_as_a_whole_word() {
        for (expression, named) in [
            ("ip.src in $blocked", true),
            ("(ip.src in $blocked)", true),
            ("ip.src in $blocked_too", false),
            ("ip.src in $blocked_too or ip.src in $blocked", true),
            ("http.host eq \"blocked\"", false),
        ] {
            assert_eq!(names_list(expression, "blocked"), named, "{expression}");
        }
    }
}
