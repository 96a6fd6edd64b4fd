//! The `purge` condition: what may be removed from the cache.
//!
//! Places are compared as host and path. A prefix covers what lies below it: the same host, and a
//! path that goes on after a `/`. What has more than one reading (encoded slashes, double encoding,
//! credentials, another port) is not a place and cannot be judged by prefixes.

use std::borrow::Cow;

use crate::config::document::{Effect, PurgeCondition};
use crate::model::{WebUrl, host_to_ascii};

use super::PurgeFacts;
use super::grant::{Verdict, Why};

/// A `purge` condition, ready to match.
#[derive(Debug)]
pub(super) struct PurgeMatcher {
    pub(super) prefixes: Vec<(Box<str>, Place)>,
    pub(super) hosts: Vec<Box<str>>,
    pub(super) tags: Vec<Box<str>>,
    pub(super) files: Vec<(Box<str>, Option<Place>)>,
    pub(super) everything: bool,
}

/// A host and a path, normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    host: Box<str>,
    path: Box<str>,
    query: Option<Box<str>>,
}

/// One thing a call purges.
#[derive(Debug)]
pub(super) enum PurgeItem<'a> {
    Everything,
    File(&'a str, Option<Place>),
    Prefix(&'a str, Option<Place>),
    Host(&'a str),
    Tag(&'a str),
}

impl<'a> PurgeItem<'a> {
    /// Everything the call names.
    pub(super) fn of(facts: &'a PurgeFacts) -> Vec<Self> {
        let everything = facts.everything.then_some(Self::Everything);
        everything
            .into_iter()
            .chain(
                facts
                    .files
                    .iter()
                    .map(|file| Self::File(file, Place::of_file(file))),
            )
            .chain(
                facts
                    .prefixes
                    .iter()
                    .map(|text| Self::Prefix(text, Place::of_prefix(text))),
            )
            .chain(facts.hosts.iter().map(|host| Self::Host(host)))
            .chain(facts.tags.iter().map(|tag| Self::Tag(tag)))
            .collect()
    }
}

impl Place {
    /// Reads a URL of a file.
    fn of_file(text: &str) -> Option<Self> {
        if !is_unambiguous(text) {
            return None;
        }
        let url = WebUrl::parse(text).filter(|url| !url.has_credentials() && !url.has_port())?;
        let host = url.host();
        Some(Self {
            host: host.strip_suffix('.').unwrap_or(host).into(),
            path: decode_unreserved(&url.path).into(),
            query: url.query.map(Into::into),
        })
    }

    /// Reads `host/path`, without scheme and query.
    fn of_prefix(text: &str) -> Option<Self> {
        if text.contains(['?', '#']) || text.contains("//") || text.starts_with('/') {
            return None;
        }
        Self::of_file(&format!("https://{text}"))
    }

    /// Whether all of `other` lies at or below this.
    fn covers(&self, other: &Self) -> bool {
        self.host == other.host
            && other.path.strip_prefix(&*self.path).is_some_and(|rest| {
                rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
            })
    }

    /// Whether the two share anything. Looser than [`Self::covers`]: the upstream may compare
    /// prefixes letter by letter.
    fn overlaps(&self, other: &Self) -> bool {
        self.host == other.host
            && (self.path.starts_with(&*other.path) || other.path.starts_with(&*self.path))
    }
}

/// Whether every reader of the URL sees the same path in it.
fn is_unambiguous(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.bytes().all(|b| b > b' ' && b != 0x7f && b != b'\\')
        && !["%2f", "%5c", "%25", "%00", "%0a", "%0d"]
            .iter()
            .any(|code| lower.contains(code))
}

/// Decodes what RFC 3986 §2.3 holds equal to its plain form, so that `/%6eews/` is `/news/`.
fn decode_unreserved(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let code = after
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push('%');
                rest = after;
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

/// Whether two host names are the same, in whatever letters they are written.
fn same_host(a: &str, b: &str) -> bool {
    let plain = |host: &str| {
        let host = host.strip_suffix('.').unwrap_or(host);
        host_to_ascii(host).map_or_else(|| host.to_ascii_lowercase(), Cow::into_owned)
    };
    plain(a) == plain(b)
}

impl PurgeMatcher {
    /// Compiles; fails with the prefix that is not a `host/path`.
    pub(super) fn compile(written: &PurgeCondition) -> Result<Self, String> {
        let prefixes = written
            .prefixes
            .iter()
            .map(|text| match Place::of_prefix(text) {
                Some(place) => Ok((text.as_str().into(), place)),
                None => Err(text.clone()),
            });
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        Ok(Self {
            prefixes: prefixes.collect::<Result<_, _>>()?,
            hosts: boxed(&written.hosts),
            tags: boxed(&written.tags),
            files: written
                .files
                .iter()
                .map(|f| (f.as_str().into(), Place::of_file(f)))
                .collect(),
            everything: written.everything,
        })
    }

    /// Judges one item for a grant of this effect. An allow must name all of it; a deny is about
    /// whatever it touches; an approve that touches more than it covers cannot be judged.
    pub(super) fn judge(&self, item: &PurgeItem<'_>, effect: Effect) -> Verdict {
        let covered = self.covers(item);
        match effect {
            Effect::Allow => covered,
            _ if covered == Verdict::Holds => covered,
            Effect::Deny => self.touches(item),
            Effect::Approve => match self.touches(item) {
                Verdict::Fails(why) => Verdict::Fails(why),
                Verdict::Holds | Verdict::Unjudged(_) => Verdict::Unjudged(Why::Purge),
            },
        }
    }

    fn covers(&self, item: &PurgeItem<'_>) -> Verdict {
        let named = match item {
            PurgeItem::Everything => self.everything,
            PurgeItem::Host(host) => self.hosts.iter().any(|own| same_host(own, host)),
            // Cloudflare compares tags without regard to case.
            PurgeItem::Tag(tag) => self.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)),
            PurgeItem::File(text, place) => {
                self.files.iter().any(|(own, own_place)| {
                    **own == **text || own_place.is_some() && own_place == place
                }) || place
                    .as_ref()
                    .is_some_and(|place| self.prefix_covers(place))
            }
            PurgeItem::Prefix(_, place) => place
                .as_ref()
                .is_some_and(|place| self.prefix_covers(place)),
        };
        match item {
            _ if named => Verdict::Holds,
            PurgeItem::File(_, None) | PurgeItem::Prefix(_, None) => Verdict::Unjudged(Why::Purge),
            _ => Verdict::Fails(Why::Purge),
        }
    }

    fn prefix_covers(&self, place: &Place) -> bool {
        self.prefixes.iter().any(|(_, prefix)| prefix.covers(place))
    }

    /// Whether the item and what is named here have anything in common. Tags and places cannot be
    /// compared with each other.
    fn touches(&self, item: &PurgeItem<'_>) -> Verdict {
        let has_places =
            !(self.prefixes.is_empty() && self.hosts.is_empty() && self.files.is_empty());
        let places = || {
            let prefixes = self.prefixes.iter().map(|(_, place)| Some(place));
            prefixes.chain(self.files.iter().map(|(_, place)| place.as_ref()))
        };
        let touched = match item {
            PurgeItem::Everything => true,
            PurgeItem::Host(host) => places().flatten().any(|place| same_host(&place.host, host)),
            PurgeItem::File(_, Some(place)) => {
                self.hosts.iter().any(|host| same_host(host, &place.host))
                    || self.prefixes.iter().any(|(_, prefix)| prefix.covers(place))
            }
            PurgeItem::Prefix(_, Some(place)) => {
                self.hosts.iter().any(|host| same_host(host, &place.host))
                    || places().flatten().any(|own| own.overlaps(place))
            }
            PurgeItem::Tag(_) | PurgeItem::File(_, None) | PurgeItem::Prefix(_, None) => false,
        };
        let incomparable = match item {
            PurgeItem::Everything => false,
            PurgeItem::Tag(_) => has_places,
            PurgeItem::File(_, None) | PurgeItem::Prefix(_, None) => {
                has_places || !self.tags.is_empty()
            }
            PurgeItem::Host(_) | PurgeItem::Prefix(..) => {
                !self.tags.is_empty() || places().any(|place| place.is_none())
            }
            PurgeItem::File(..) => {
                !self.tags.is_empty() || self.files.iter().any(|(_, place)| place.is_none())
            }
        };
        match (touched, incomparable) {
            (true, _) => Verdict::Holds,
            (false, true) => Verdict::Unjudged(Why::Purge),
            (false, false) => Verdict::Fails(Why::Purge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: Verdict = Verdict::Fails(Why::Purge);
    const UNJUDGED: Verdict = Verdict::Unjudged(Why::Purge);

    fn matcher(prefixes: &[&str]) -> PurgeMatcher {
        PurgeMatcher::compile(&PurgeCondition {
            prefixes: prefixes.iter().map(ToString::to_string).collect(),
            ..PurgeCondition::default()
        })
        .unwrap()
    }

    #[track_caller]
    fn check_file(prefix: &str, file: &str, expected: Verdict) {
        let item = PurgeItem::File(file, Place::of_file(file));
        assert_eq!(
            matcher(&[prefix]).judge(&item, Effect::Allow),
            expected,
            "{prefix} on {file}"
        );
    }

    #[track_caller]
    fn check_prefix(prefix: &str, asked: &str, allow: Verdict, deny: Verdict) {
        let item = PurgeItem::Prefix(asked, Place::of_prefix(asked));
        let matcher = matcher(&[prefix]);
        assert_eq!(
            matcher.judge(&item, Effect::Allow),
            allow,
            "{prefix} allows {asked}"
        );
        assert_eq!(
            matcher.judge(&item, Effect::Deny),
            deny,
            "{prefix} denies {asked}"
        );
    }

    #[test]
    fn a_prefix_covers_files_below_it() {
        for file in [
            "https://example.com/news/a.html",
            "http://EXAMPLE.com/news/?q=1",
            "https://example.com./news/a",
            "https://example.com:443/news/a",
            "https://example.com/x/../news/a",
            "https://example.com/x/%2e%2E/news/a",
            "https://example.com/%6eews/a",
        ] {
            check_file("example.com/news/", file, Verdict::Holds);
        }
        check_file(
            "example.com/news",
            "https://example.com/news",
            Verdict::Holds,
        );
        check_file(
            "example.com/news",
            "https://example.com/news/a",
            Verdict::Holds,
        );
        check_file("example.com", "https://example.com/", Verdict::Holds);
    }

    #[test]
    fn a_prefix_ends_at_a_boundary() {
        for file in [
            "https://example.com/newsroom",
            "https://example.com/news.html",
            "https://example.com/News/a",
            "https://example.com/news/../secret",
            "https://example.com/news/%2e%2e/secret",
            "https://example.com/news/.%2e/secret",
            "https://example.com.evil.net/news/a",
            "https://www.example.com/news/a",
        ] {
            check_file("example.com/news", file, NO);
        }
    }

    #[test]
    fn a_url_with_two_readings_is_not_judged() {
        for file in [
            "https://example.com/news/..%2fsecret",
            "https://example.com/news\\..\\secret",
            "https://example.com/news/%252e%252e/secret",
            "https://example.com@evil.net/news/a",
            "https://example.com:8443/news/a",
            "ftp://example.com/news/a",
            "example.com/news/a",
            "https://example.com/ne\tws/a",
            "",
        ] {
            check_file("example.com/news/", file, UNJUDGED);
        }
    }

    #[test]
    fn a_prefix_covers_prefixes_below_it_and_denies_those_around_it() {
        check_prefix(
            "example.com/news/",
            "example.com/news/",
            Verdict::Holds,
            Verdict::Holds,
        );
        check_prefix(
            "example.com/news/",
            "Example.com/news/2026",
            Verdict::Holds,
            Verdict::Holds,
        );
        check_prefix("example.com/news/", "example.com/news", NO, Verdict::Holds);
        check_prefix("example.com/news/", "example.com/", NO, Verdict::Holds);
        check_prefix("example.com/news/", "example.com", NO, Verdict::Holds);
        check_prefix("example.com/news/", "example.com/ne", NO, Verdict::Holds);
        check_prefix(
            "example.com/news",
            "example.com/newsroom",
            NO,
            Verdict::Holds,
        );
        check_prefix("example.com/news/", "example.com/shop/", NO, NO);
        check_prefix("example.com/news/", "example.net/news/", NO, NO);
        check_prefix(
            "example.com/news/",
            "https://example.com/news/",
            UNJUDGED,
            UNJUDGED,
        );
    }

    #[test]
    fn a_deny_is_about_everything_that_touches_what_it_names() {
        let written = PurgeCondition {
            prefixes: vec!["example.com/private/".to_owned()],
            ..PurgeCondition::default()
        };
        let matcher = PurgeMatcher::compile(&written).unwrap();
        for (item, expected) in [
            (PurgeItem::Everything, Verdict::Holds),
            (PurgeItem::Host("EXAMPLE.com"), Verdict::Holds),
            (PurgeItem::Host("www.example.com"), NO),
            (PurgeItem::Tag("a"), UNJUDGED),
        ] {
            assert_eq!(matcher.judge(&item, Effect::Deny), expected, "{item:?}");
        }
        let all = PurgeCondition {
            everything: true,
            ..PurgeCondition::default()
        };
        let all = PurgeMatcher::compile(&all).unwrap();
        assert_eq!(
            all.judge(&PurgeItem::Everything, Effect::Deny),
            Verdict::Holds
        );
        assert_eq!(all.judge(&PurgeItem::Tag("a"), Effect::Deny), NO);
        assert_eq!(all.judge(&PurgeItem::Host("a"), Effect::Deny), NO);
    }
}
