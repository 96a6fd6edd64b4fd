//! DNS record names in the one form that is compared.
//!
//! A caller may write the same name in many ways: relative or absolute, in capitals, in Unicode,
//! with a trailing dot. All of them are brought to one spelling before anything is decided, and
//! what has no single spelling is refused.
//!
//! INVARIANT: a [`RecordName`] is lower-case ASCII without a trailing dot, lies in the zone it was
//! made for, and its labels have 1 to 63 characters. Only its first label may be `*`.

use std::borrow::Cow;
use std::fmt;

use super::web_url::host_to_ascii;

/// Longest name in its text form (RFC 1035 §3.1: 255 octets on the wire).
const MAX_NAME_LEN: usize = 253;
/// Longest label (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// Why a text is not the name of a DNS record of the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A label is empty: nothing at all, a leading dot, or two dots in a row.
    #[error("a label of the name is empty")]
    EmptyLabel,
    /// A label has more than 63 characters in its ASCII form.
    #[error("a label of the name has more than 63 characters")]
    LongLabel,
    /// The name has more than 253 characters in its ASCII form.
    #[error("the name has more than 253 characters")]
    LongName,
    /// A character that record names do not have.
    #[error("the name has a character that record names do not have")]
    Character,
    /// A label that IDNA refuses, such as an `xn--` label that stands for plain ASCII.
    #[error("a label of the name is not valid by IDNA (UTS 46)")]
    Idna,
    /// A `*` that is not the whole first label.
    #[error("`*` can only be the whole first label of a name")]
    Star,
    /// An absolute name that is neither the zone nor below it.
    #[error("the name lies outside the zone")]
    OutsideZone,
}

/// The canonical name of a DNS record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(Box<str>);

impl RecordName {
    /// Brings `name` to its canonical form within `zone`.
    ///
    /// `@` is the zone itself. A name that is neither the zone nor ends with `.` and the zone is
    /// relative, as it is for the v4 API; with a trailing dot it is absolute and must lie in the
    /// zone. So `evil-example.com` in the zone `example.com` is `evil-example.com.example.com`.
    ///
    /// # Errors
    /// What has no single spelling, or lies outside the zone.
    pub fn canonical(name: &str, zone: &str) -> Result<Self, InvalidName> {
        let zone = canonical_zone(zone)?;
        if name == "@" {
            return Ok(Self(zone.into()));
        }
        let (name, absolute) = match strip_final_dot(name) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut full = canonical_labels(name, Star::FirstLabel)?;
        if !is_within(&full, &zone) {
            if absolute {
                return Err(InvalidName::OutsideZone);
            }
            full.push('.');
            full.push_str(&zone);
        }
        if full.len() > MAX_NAME_LEN {
            return Err(InvalidName::LongName);
        }
        Ok(Self(full.into_boxed_str()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }

    /// Whether this is a DNS wildcard record, `*.…`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a `*` may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    Nowhere,
    FirstLabel,
}

/// Without the final dot, if there is one. IDNA reads three further characters as dots.
fn strip_final_dot(name: &str) -> Option<&str> {
    name.strip_suffix(is_dot)
}

/// The full stops of UTS 46 §2.3.
pub(super) fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

/// Whether `name` is `zone` or lies below it. A mere ending in the same letters is not enough.
pub(crate) fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn canonical_zone(zone: &str) -> Result<Cow<'_, str>, InvalidName> {
    let zone = strip_final_dot(zone).unwrap_or(zone);
    let is_canonical = zone
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && !zone.contains("xn--")
        && zone.len() <= MAX_NAME_LEN
        && zone
            .split('.')
            .all(|label| matches!(label.len(), 1..=MAX_LABEL_LEN));
    if is_canonical {
        return Ok(Cow::Borrowed(zone));
    }
    canonical_labels(zone, Star::Nowhere).map(Cow::Owned)
}

/// Canonicalises label by label, so that `_acme-challenge` may stand in front of any script: the
/// bidi rule of IDNA would otherwise be applied across labels that are not host names.
fn canonical_labels(name: &str, star: Star) -> Result<String, InvalidName> {
    let mut full = String::with_capacity(name.len());
    for (index, label) in name.split(is_dot).enumerate() {
        if index > 0 {
            full.push('.');
        }
        if label == "*" && index == 0 && star == Star::FirstLabel {
            full.push('*');
        } else {
            full.push_str(&canonical_label(label)?);
        }
    }
    if full.len() > MAX_NAME_LEN {
        return Err(InvalidName::LongName);
    }
    Ok(full)
}

/// Whether a name is certainly canonical, at a glance: of lower-case ASCII, and without the two hyphens of
/// what IDNA encodes. Where it is false, only a closer look tells.
pub(super) fn is_plainly_canonical(name: &str) -> bool {
    let is_label = |length| (1..=MAX_LABEL_LEN).contains(&length);
    let mut length = 0;
    let mut before = b'.';
    for byte in name.bytes() {
        match byte {
            b'.' if is_label(length) => length = 0,
            b'-' if before != b'-' => length += 1,
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'/' => length += 1,
            _ => return false,
        }
        before = byte;
    }
    is_label(length)
}

/// One label in lower-case ASCII.
pub(super) fn canonical_label(label: &str) -> Result<Cow<'_, str>, InvalidName> {
    let ascii = host_to_ascii(label).ok_or(InvalidName::Idna)?;
    if ascii.contains('*') {
        return Err(InvalidName::Star);
    }
    // `/` occurs in the classless reverse zones of RFC 2317.
    if !ascii
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/'))
    {
        return Err(InvalidName::Character);
    }
    match ascii.len() {
        0 => Err(InvalidName::EmptyLabel),
        1..=MAX_LABEL_LEN => Ok(ascii),
        _ => Err(InvalidName::LongLabel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<&str, InvalidName>) {
        let found = RecordName::canonical(name, "example.com");
        assert_eq!(
            found.as_ref().map(RecordName::as_str),
            expected.as_ref().copied(),
            "{name:?}"
        );
    }

    #[test]
    fn what_is_canonical_at_a_glance_is_so_at_a_closer_look() {
        let mut names = vec![String::new()];
        let mut plain = 0;
        for _ in 0..6 {
            let longer = names.iter().flat_map(|name| {
                ["a", ".", "-", "_", "*", "xn", "A", "\\"].map(|more| format!("{name}{more}"))
            });
            names = longer.collect();
            for name in names.iter().filter(|name| is_plainly_canonical(name)) {
                assert_eq!(canonical_labels(name, Star::Nowhere).as_ref(), Ok(name));
                plain += 1;
            }
        }
        assert!(plain > 1_000, "{plain}");
        let label = "a".repeat(MAX_LABEL_LEN);
        assert!(is_plainly_canonical(&format!("{label}.b")));
        assert!(!is_plainly_canonical(&format!("{label}a.b")));
        assert!(!is_plainly_canonical(&format!("b.{label}a")));
    }

    #[test]
    fn every_spelling_of_a_name_becomes_the_same() {
        for name in [
            "www",
            "WWW",
            "www.example.com",
            "www.Example.COM.",
            "ｗｗｗ.example.com",
            "www．example．com",
            "www。example。com。",
            "w\u{ad}ww",
        ] {
            check(name, Ok("www.example.com"));
        }
        for apex in ["@", "example.com", "EXAMPLE.com.", "example．com．"] {
            check(apex, Ok("example.com"));
        }
        check("bücher", Ok("xn--bcher-kva.example.com"));
        check("BÜCHER.example.com.", Ok("xn--bcher-kva.example.com"));
        check("XN--Bcher-KVA", Ok("xn--bcher-kva.example.com"));
        check("💩", Ok("xn--ls8h.example.com"));
    }

    #[test]
    fn service_labels_and_wildcards_are_names() {
        check("_acme-challenge", Ok("_acme-challenge.example.com"));
        check("_443._tcp.www.example.com", Ok("_443._tcp.www.example.com"));
        check("*", Ok("*.example.com"));
        check("*.a.example.com.", Ok("*.a.example.com"));
        check("0/25", Ok("0/25.example.com"));
        let hebrew = RecordName::canonical("_acme-challenge", "אבג.example").unwrap();
        assert_eq!(hebrew.as_str(), "_acme-challenge.xn--4dbcd.example");
    }

    #[test]
    fn an_ending_that_only_looks_like_the_zone_is_relative() {
        check("evil-example.com", Ok("evil-example.com.example.com"));
        check("evilexample.com", Ok("evilexample.com.example.com"));
        check(
            "example.com.evil.net",
            Ok("example.com.evil.net.example.com"),
        );
        check("evil-example.com.", Err(InvalidName::OutsideZone));
        check("example.net.", Err(InvalidName::OutsideZone));
        check("com.", Err(InvalidName::OutsideZone));
    }

    #[test]
    fn what_has_no_single_spelling_is_refused() {
        // Punycode that stands for plain ASCII (RUSTSEC-2024-0421).
        for name in [
            "xn--example-.com",
            "xn--www-.example.com",
            "XN--www-",
            "xn--",
            "xn--a",
        ] {
            check(name, Err(InvalidName::Idna));
        }
        for (name, error) in [
            ("", InvalidName::EmptyLabel),
            (".", InvalidName::EmptyLabel),
            (".www", InvalidName::EmptyLabel),
            ("a..b", InvalidName::EmptyLabel),
            ("www.example.com..", InvalidName::EmptyLabel),
            ("\u{ad}", InvalidName::EmptyLabel),
            ("**", InvalidName::Star),
            ("a*", InvalidName::Star),
            ("a.*.example.com", InvalidName::Star),
            ("＊.example.com", InvalidName::Star),
            ("@.example.com", InvalidName::Character),
            ("a b", InvalidName::Character),
            (" www", InvalidName::Character),
            ("www\n", InvalidName::Character),
            ("www\0", InvalidName::Character),
            ("a\\.b", InvalidName::Character),
            ("a\\046b", InvalidName::Character),
            ("\\*.example.com", InvalidName::Star),
            ("a\u{200d}b", InvalidName::Idna),
            ("a\u{202e}b", InvalidName::Idna),
        ] {
            check(name, Err(error));
        }
    }

    #[test]
    fn lengths_are_those_of_the_ascii_form() {
        let label = "a".repeat(63);
        check(&label, Ok(&format!("{label}.example.com")));
        check(&"a".repeat(64), Err(InvalidName::LongLabel));
        let long = [label.as_str(); 4].join(".");
        check(&long, Err(InvalidName::LongName));
        let fits = [label.as_str(), &label, &label, &"a".repeat(49)].join(".");
        assert_eq!(
            RecordName::canonical(&fits, "example.com")
                .unwrap()
                .as_str()
                .len(),
            253
        );
    }

    #[test]
    fn canonical_names_are_their_own_canonical_form() {
        for name in ["@", "*", "bücher", "_dmarc", "a.b.c"] {
            let once = RecordName::canonical(name, "example.com").unwrap();
            assert_eq!(
                RecordName::canonical(once.as_str(), "example.com"),
                Ok(once)
            );
        }
    }
}
