//! What a call does, in plain words: a verb and what it is done to.

use crate::catalog::{Method, Resolved};

/// A verb phrase such as `create TXT record _acme-challenge.example.com`.
///
/// Stored in its infinitive; the past is made from the first word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action(String);

/// The verbs an action may begin with, and their past.
const VERBS: &[(&str, &str)] = &[
    ("apply", "applied"),
    ("cancel", "cancelled"),
    ("call", "called"),
    ("change", "changed"),
    ("create", "created"),
    ("delete", "deleted"),
    ("deliver", "delivered"),
    ("deploy", "deployed"),
    ("exchange", "exchanged"),
    ("export", "exported"),
    ("import", "imported"),
    ("list", "listed"),
    ("mint", "minted"),
    ("pause", "paused"),
    ("purge", "purged"),
    ("query", "queried"),
    ("read", "read"),
    ("replace", "replaced"),
    ("replay", "replayed"),
    ("resume", "resumed"),
    ("retry", "retried"),
    ("revoke", "revoked"),
    ("roll", "rolled"),
    ("start", "started"),
    ("upload", "uploaded"),
    ("verify", "verified"),
];

impl Action {
    /// An action in its infinitive; it must begin with one of the known verbs to have a past.
    #[must_use]
    pub fn new(infinitive: impl Into<String>) -> Self {
        Self(infinitive.into())
    }

    /// `create TXT record a.example.com`
    #[must_use]
    pub fn infinitive(&self) -> &str {
        &self.0
    }

    /// `created TXT record a.example.com`
    #[must_use]
    pub fn past(&self) -> String {
        let (verb, object) = self.0.split_once(' ').unwrap_or((&self.0, ""));
        let past = VERBS
            .iter()
            .find_map(|(infinitive, past)| (*infinitive == verb).then_some(*past));
        match past {
            Some(past) => format!("{past} {object}"),
            None => format!("did: {}", self.0),
        }
    }
}

/// Describes a call of which only method and path are known. `scope` names the zone or account.
///
/// `GET /zones/…/settings/ssl` becomes `read setting ssl of example.com`.
#[must_use]
pub fn describe(resolved: &Resolved<'_>, scope: Option<&str>) -> Action {
    let operation = resolved.operation;
    let template = operation.template();
    let mut noun = "";
    let mut value = None;
    let mut param = 0;
    for segment in template.split('/').filter(|segment| !segment.is_empty()) {
        if segment.starts_with('{') {
            value = resolved.params.get(param);
            param += 1;
        } else {
            noun = segment;
            value = None;
        }
    }
    let of = scope
        .map(|scope| format!(" of {scope}"))
        .unwrap_or_default();
    let words = noun.replace(['_', '-'], " ");
    // The scope itself: `/zones/{zone_id}`.
    if matches!(noun, "zones" | "accounts") && value.is_some() {
        let verb = verb_of_item(operation.method());
        let name = scope.or(value).unwrap_or_default();
        return Action(format!("{verb} {} {name}", singular(&words)));
    }
    let text = match (operation.method(), value) {
        (Method::Get, None) => format!("list {words}{of}"),
        (Method::Post, None) if words.ends_with('s') => {
            format!("create a {}{}", singular(&words), in_scope(scope))
        }
        (Method::Post, None) => format!("call {words}{of}"),
        (method, None) => format!("{} {words}{of}", verb_of_item(method)),
        (Method::Post, Some(value)) => format!("call {} {value}{of}", singular(&words)),
        (method, Some(value)) => {
            format!("{} {} {value}{of}", verb_of_item(method), singular(&words))
        }
    };
    Action(text)
}

fn in_scope(scope: Option<&str>) -> String {
    scope
        .map(|scope| format!(" in {scope}"))
        .unwrap_or_default()
}

const fn verb_of_item(method: Method) -> &'static str {
    match method {
        Method::Get => "read",
        Method::Post => "call",
        Method::Put => "replace",
        Method::Patch => "change",
        Method::Delete => "delete",
    }
}

fn singular(words: &str) -> String {
    if let Some(stem) = words.strip_suffix("ies") {
        format!("{stem}y")
    } else {
        words.strip_suffix('s').unwrap_or(words).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::resolve;

    fn check(method: Method, path: &str, expected: &str) {
        let path = path.replace("ZID", "0123456789abcdef0123456789abcdef");
        let resolved = resolve(method, &path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(
            describe(&resolved, Some("example.com")).infinitive(),
            expected
        );
    }

    #[test]
    fn a_call_reads_like_what_somebody_would_say() {
        check(Method::Get, "/zones/ZID", "read zone example.com");
        check(
            Method::Get,
            "/zones/ZID/settings/ssl",
            "read setting ssl of example.com",
        );
        check(
            Method::Get,
            "/zones/ZID/dns_records",
            "list dns records of example.com",
        );
        check(
            Method::Post,
            "/zones/ZID/dns_records",
            "create a dns record in example.com",
        );
        check(
            Method::Put,
            "/zones/ZID/activation_check",
            "replace activation check of example.com",
        );
        check(Method::Delete, "/zones/ZID", "delete zone example.com");
        check(
            Method::Delete,
            "/zones/ZID/dns_records/ZID",
            "delete dns record 0123456789abcdef0123456789abcdef of example.com",
        );
    }

    #[test]
    fn every_verb_has_a_past() {
        assert_eq!(
            Action::new("create TXT record a").past(),
            "created TXT record a"
        );
        assert_eq!(
            Action::new("verify its own key").past(),
            "verified its own key"
        );
        assert_eq!(Action::new("frobnicate x").past(), "did: frobnicate x");
    }
}
