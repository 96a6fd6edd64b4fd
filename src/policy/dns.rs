//! The `dns` condition: which records.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::config::document::DnsCondition;
use crate::model::{InvalidPattern, RecordPattern, host_to_ascii};

use super::RecordFacts;
use super::grant::{Verdict, Why};
use super::network::Network;

/// A `dns` condition, ready to match. An empty list limits nothing.
#[derive(Debug)]
pub(super) struct DnsMatcher {
    pub(super) names: Vec<RecordPattern>,
    pub(super) types: Vec<Box<str>>,
    pub(super) contents: Vec<Content>,
    pub(super) proxied: Option<bool>,
    pub(super) max_changes: Option<u32>,
}

/// A value a record may have.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: Box<str>,
    /// Set when the text is an address or a CIDR; then it means addresses of A and AAAA records.
    network: Option<Network>,
}

impl DnsMatcher {
    pub(super) fn compile(written: &DnsCondition) -> Result<Self, (String, InvalidPattern)> {
        Ok(Self {
            names: written
                .names
                .iter()
                .map(|text| RecordPattern::parse(text).map_err(|error| (text.clone(), error)))
                .collect::<Result<_, _>>()?,
            types: written
                .types
                .iter()
                .map(|kind| kind.to_ascii_uppercase().into())
                .collect(),
            contents: written
                .contents
                .iter()
                .map(|text| Content::read(text))
                .collect(),
            proxied: written.proxied,
            max_changes: written.max_changes,
        })
    }

    /// Judges one record of a call that changes `changes` records. What is known to fail comes
    /// before what cannot be judged: a deny must not deny what it certainly does not mean.
    pub(super) fn judge(&self, record: &RecordFacts, changes: usize) -> Verdict {
        if !self.names.is_empty() && !self.names.iter().any(|name| name.matches(&record.name)) {
            return Verdict::Fails(Why::DnsName);
        }
        if !self.types.is_empty()
            && !self
                .types
                .iter()
                .any(|kind| kind.eq_ignore_ascii_case(&record.kind))
        {
            return Verdict::Fails(Why::DnsType);
        }
        if self
            .proxied
            .is_some_and(|wanted| wanted != record.proxied.unwrap_or(false))
        {
            return Verdict::Fails(Why::DnsProxied);
        }
        if self.max_changes.is_some_and(|most| changes > most as usize) {
            return Verdict::Fails(Why::DnsCount);
        }
        if self.contents.is_empty() {
            return Verdict::Holds;
        }
        let Some(value) = record
            .content
            .as_deref()
            .and_then(|text| Value::read(&record.kind, text))
        else {
            return Verdict::Unjudged(Why::DnsContent);
        };
        if self
            .contents
            .iter()
            .any(|content| content.matches(&record.kind, &value))
        {
            Verdict::Holds
        } else {
            Verdict::Fails(Why::DnsContent)
        }
    }
}

impl Content {
    fn read(text: &str) -> Self {
        Self {
            text: text.into(),
            network: Network::read(text),
        }
    }

    fn matches(&self, kind: &str, value: &Value<'_>) -> bool {
        match value {
            Value::Address(address) => self.network.as_ref().is_some_and(|n| n.contains(*address)),
            Value::Text(text) => match Value::read(kind, &self.text) {
                Some(Value::Text(own)) => own == *text,
                _ => false,
            },
        }
    }
}

/// A record's value in the form that is compared: spellings that DNS holds to be equal are equal.
#[derive(PartialEq)]
enum Value<'t> {
    Address(IpAddr),
    Text(Cow<'t, str>),
}

impl<'t> Value<'t> {
    /// `None` when the text is not a value of the type, so that it cannot be compared.
    fn read(kind: &str, text: &'t str) -> Option<Self> {
        Some(match kind {
            "A" | "AAAA" => Self::Address(text.parse().ok()?),
            "CNAME" | "NS" | "PTR" | "MX" | "SRV" => Self::Text(host(text)?),
            "TXT" => Self::Text(unquoted(text)?),
            _ => Self::Text(Cow::Borrowed(text)),
        })
    }
}

/// A host name in lower-case ASCII without its final dot.
fn host(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    host_to_ascii(text)
}

/// The value of a TXT record, which may be written as one or more quoted strings.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    if !text.starts_with('"') {
        return Some(Cow::Borrowed(text));
    }
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => inside = !inside,
            '\\' if inside => {
                // A decimal escape has several readings; without it `\` quotes one character.
                value.push(chars.next().filter(|c| !c.is_ascii_digit())?);
            }
            c if inside => value.push(c),
            ' ' | '\t' => {}
            _ => return None,
        }
    }
    (!inside).then_some(Cow::Owned(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordName;

    fn record(name: &str, kind: &str, content: &str) -> RecordFacts {
        RecordFacts {
            name: RecordName::canonical(name, "example.com").unwrap(),
            kind: kind.to_owned(),
            content: Some(content.to_owned()),
            proxied: None,
        }
    }

    #[track_caller]
    fn check_content(pattern: &str, kind: &str, content: &str, expected: Verdict) {
        let written = DnsCondition {
            contents: vec![pattern.to_owned()],
            ..DnsCondition::default()
        };
        let matcher = DnsMatcher::compile(&written).unwrap();
        let found = matcher.judge(&record("www", kind, content), 1);
        assert_eq!(found, expected, "{pattern} on {kind} {content}");
    }

    const NO: Verdict = Verdict::Fails(Why::DnsContent);
    const UNJUDGED: Verdict = Verdict::Unjudged(Why::DnsContent);

    #[test]
    fn addresses_are_matched_by_network() {
        check_content("192.0.2.0/24", "A", "192.0.2.7", Verdict::Holds);
        check_content("192.0.2.0/24", "A", "192.0.3.7", NO);
        check_content("192.0.2.7", "A", "192.0.2.7", Verdict::Holds);
        check_content("192.0.2.7", "A", "192.0.2.8", NO);
        check_content("0.0.0.0/0", "A", "203.0.113.1", Verdict::Holds);
        check_content("0.0.0.0/0", "AAAA", "2001:db8::1", NO);
        check_content("2001:db8::/32", "AAAA", "2001:DB8:0:0::1", Verdict::Holds);
        check_content(
            "2001:db8::1",
            "AAAA",
            "2001:db8:0:0:0:0:0:1",
            Verdict::Holds,
        );
        check_content("::/0", "AAAA", "2001:db8::1", Verdict::Holds);
        check_content("192.0.2.0/33", "A", "192.0.2.0", NO);
        check_content("192.0.2.0/24", "A", "192.0.2.07", UNJUDGED);
        check_content("192.0.2.7", "TXT", "192.0.2.7", Verdict::Holds);
    }

    #[test]
    fn equal_values_are_equal_in_every_spelling() {
        check_content(
            "target.example.net",
            "CNAME",
            "Target.example.NET.",
            Verdict::Holds,
        );
        check_content(
            "bücher.example",
            "CNAME",
            "xn--bcher-kva.example",
            Verdict::Holds,
        );
        check_content("target.example.net", "CNAME", "xn--www-.net", UNJUDGED);
        check_content("v=spf1 -all", "TXT", "\"v=spf1 \" \"-all\"", Verdict::Holds);
        check_content("v=spf1 -all", "TXT", "V=SPF1 -all", NO);
        check_content("a", "TXT", "\"a", UNJUDGED);
        check_content("a", "TXT", "\"\\097\"", UNJUDGED);
        check_content(
            "0 issue \"ca.example\"",
            "CAA",
            "0 issue \"ca.example\"",
            Verdict::Holds,
        );
    }

    #[test]
    fn every_part_must_hold_and_a_known_failure_comes_first() {
        let written = DnsCondition {
            names: vec!["www.example.com".to_owned()],
            types: vec!["a".to_owned()],
            contents: vec!["192.0.2.0/24".to_owned()],
            proxied: Some(true),
            max_changes: Some(1),
        };
        let matcher = DnsMatcher::compile(&written).unwrap();
        let good = RecordFacts {
            proxied: Some(true),
            ..record("www", "A", "192.0.2.1")
        };
        assert_eq!(matcher.judge(&good, 1), Verdict::Holds);
        assert_eq!(matcher.judge(&good, 2), Verdict::Fails(Why::DnsCount));
        let absent = RecordFacts {
            proxied: None,
            ..good.clone()
        };
        assert_eq!(matcher.judge(&absent, 1), Verdict::Fails(Why::DnsProxied));
        let valueless = RecordFacts {
            content: None,
            ..good.clone()
        };
        assert_eq!(matcher.judge(&valueless, 1), UNJUDGED);
        assert_eq!(matcher.judge(&valueless, 2), Verdict::Fails(Why::DnsCount));
        assert_eq!(
            matcher.judge(&record("mail", "A", "x"), 1),
            Verdict::Fails(Why::DnsName)
        );
        assert_eq!(
            matcher.judge(&record("www", "TXT", "x"), 1),
            Verdict::Fails(Why::DnsType)
        );
    }
}
