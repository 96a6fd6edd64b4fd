//! URLs of the web and international host names, as the URL standard of the WHATWG reads them.
//!
//! What is written plainly already is taken as it is. For the rest the Worker asks the parser of its
//! runtime, which [`install_parser`] gives it: with the crate `url` the tables of Unicode alone would be
//! a tenth of what is uploaded. Natively the crate does it, and `tests/workerd/names.test.mjs` shows that
//! the two agree. The runtime's parser is laxer with Punycode, which is looked into here, and with the Bidi
//! rule: some names that the crate refuses are names of their own there.

use std::borrow::Cow;

/// An `http` or `https` URL in its normal form (<https://url.spec.whatwg.org/#url-serializing>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl {
    authority: String,
    /// From the first `/` on.
    pub path: String,
    /// What follows the first `?`.
    pub query: Option<String>,
    /// Whether the transport is encrypted.
    pub is_https: bool,
    /// Whether something follows a `#`.
    pub has_fragment: bool,
}

impl WebUrl {
    /// Reads a URL; `None` for anything that is no `http` or `https` URL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let normal = if is_normal(text) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(serialised(text)?)
        };
        let (scheme, rest) = normal.split_once("://")?;
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = cut(rest, '/');
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let url = Self {
            authority: authority.to_owned(),
            path: format!("/{}", path.unwrap_or_default()),
            query: query.map(str::to_owned),
            is_https: scheme == "https",
            has_fragment: fragment.is_some(),
        };
        url.host().split('.').all(is_canonical).then_some(url)
    }

    /// The host name in lower-case ASCII, or the address; IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host_and_port().0
    }

    /// Whether it names a port that is not the usual one.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.host_and_port().1.is_some()
    }

    /// Whether a user name or password stands before the host.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.authority.contains('@')
    }

    /// Whether it has neither credentials nor query nor fragment.
    #[must_use]
    pub fn is_address(&self) -> bool {
        !self.has_credentials() && self.query.is_none() && !self.has_fragment
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self.host(), "127.0.0.1" | "localhost" | "[::1]")
    }

    /// Scheme, host and port (RFC 6454 §6.2).
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        let (_, host) = self
            .authority
            .rsplit_once('@')
            .unwrap_or(("", &self.authority));
        format!("{scheme}://{host}")
    }

    fn host_and_port(&self) -> (&str, Option<&str>) {
        let (_, place) = self
            .authority
            .rsplit_once('@')
            .unwrap_or(("", &self.authority));
        match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (place, None),
        }
    }
}

/// What stands before and after the first `mark`.
fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Whether the URL is its own normal form, for certain: a plain host name and a plain path.
fn is_normal(text: &str) -> bool {
    let rest = text.strip_prefix("https://");
    let Some(rest) = rest.or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    let (host, path) = cut(rest, '/');
    // A last label that begins with a letter is no number, so the host is no address.
    let is_name = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_lowercase()));
    is_name
        && is_plain(host)
        && host
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && path.is_none_or(|path| {
            path.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))
                && !path.starts_with('.')
                && !path.contains("/.")
        })
}

/// Whether IDNA (UTS 46) does no more to a name than to put it in lower case.
fn is_plain(name: &str) -> bool {
    name.is_ascii()
        && !name
            .as_bytes()
            .windows(4)
            .any(|four| four.eq_ignore_ascii_case(b"xn--"))
}

/// A host name in lower-case ASCII, label by label; `None` when IDNA (UTS 46, nontransitional) refuses one.
#[must_use]
pub fn host_to_ascii(name: &str) -> Option<Cow<'_, str>> {
    if !is_plain(name) {
        let labels: Option<Vec<_>> = name.split('.').map(label_to_ascii).collect();
        return Some(Cow::Owned(labels?.join(".")));
    }
    Some(if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn label_to_ascii(label: &str) -> Option<Cow<'_, str>> {
    if is_plain(label) {
        return host_to_ascii(label);
    }
    // What a URL would read as something else than part of a host name.
    let is_part =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*');
    if !label.chars().all(is_part) {
        return None;
    }
    let ascii = if label.is_ascii() {
        label.to_ascii_lowercase()
    } else {
        encoded(label)?
    };
    ascii
        .split('.')
        .all(is_canonical)
        .then_some(Cow::Owned(ascii))
}

/// What IDNA makes of a label. The label after it keeps one that becomes a number from being read as an
/// address.
fn encoded(label: &str) -> Option<String> {
    let url = serialised(&format!("https://{label}.invalid/"))?;
    let label = url.strip_prefix("https://")?.strip_suffix(".invalid/")?;
    Some(label.to_owned())
}

/// Whether a label in ASCII is not another spelling of some other name: what it stands for, if it is
/// Punycode, must be written just so (RFC 5890 §2.3.2.1). Some parsers do not look into it.
fn is_canonical(label: &str) -> bool {
    label.strip_prefix("xn--").is_none_or(|code| {
        idna::punycode::decode_to_string(code)
            .filter(|decoded| !decoded.is_ascii())
            .is_some_and(|decoded| encoded(&decoded).as_deref() == Some(label))
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn serialised(text: &str) -> Option<String> {
    url::Url::parse(text).ok().map(String::from)
}

#[cfg(target_arch = "wasm32")]
use parser::serialised;
#[cfg(target_arch = "wasm32")]
pub use parser::{Parser, install_parser};

#[cfg(target_arch = "wasm32")]
mod parser {
    use std::sync::OnceLock;

    /// Gives the normal form of a URL, where it has one.
    pub type Parser = fn(&str) -> Option<String>;

    static PARSER: OnceLock<Parser> = OnceLock::new();

    /// Tells how URLs are parsed that are not in their normal form already; the first one stays. Before
    /// this they are all refused.
    pub fn install_parser(parser: Parser) {
        PARSER.get_or_init(|| parser);
    }

    pub(super) fn serialised(text: &str) -> Option<String> {
        PARSER.get().and_then(|parse| parse(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = WebUrl::parse("HTTPS://Example.COM:443/a/../b?x=1#y").unwrap();
        assert_eq!((url.host(), url.has_port()), ("example.com", false));
        assert_eq!(
            (url.path.as_str(), url.query.as_deref()),
            ("/b", Some("x=1"))
        );
        assert!(url.is_https && url.has_fragment && !url.has_credentials());
        let url = WebUrl::parse("http://u:p@[::1]:8787").unwrap();
        assert_eq!((url.host(), url.path.as_str()), ("[::1]", "/"));
        assert!(url.has_credentials() && url.is_loopback() && url.has_port());
        assert_eq!(url.origin(), "http://[::1]:8787");
        for text in [
            "ftp://example.com/",
            "example.com",
            "https://",
            "https:///?",
            "data:,x",
        ] {
            assert_eq!(WebUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_taken_as_it_is_is_its_normal_form() {
        // Every short text of the characters that make a difference.
        let alphabet = ["a", "1", ".", "/", "-", "x", "%2e", "?", "A"];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer = texts
                .iter()
                .flat_map(|text| alphabet.iter().map(move |c| format!("{text}{c}")));
            texts = longer.chain(texts.clone()).collect();
        }
        texts.sort();
        texts.dedup();
        let mut normal = 0;
        for text in texts.iter().map(|text| format!("https://{text}")) {
            if is_normal(&text) {
                let has_path = text.matches('/').count() > 2;
                let with_path = if has_path {
                    text.clone()
                } else {
                    format!("{text}/")
                };
                assert_eq!(serialised(&text), Some(with_path), "{text}");
                normal += 1;
            }
        }
        assert!(normal > 1000, "{normal}");
    }

    #[test]
    fn e4_names_and_urls_have_the_normal_form_that_the_runtime_gives_them() {
        let rows = include_str!("../../tests/urls.json");
        let rows: Vec<(String, Option<String>)> = serde_json::from_str(rows).unwrap();
        let differs = |(text, normal): &(String, Option<String>)| serialised(text) != *normal;
        let found: Vec<_> = rows.into_iter().filter(differs).collect();
        assert_eq!(found, []);
    }

    #[test]
    fn e4_punycode_is_no_second_spelling_of_another_name() {
        for label in ["www", "xn--bcher-kva", "xn--strae-oqa", "axn--b"] {
            assert!(is_canonical(label), "{label}");
        }
        // `www` again, nothing, what is no code, and codes of what nobody may write.
        for label in [
            "xn--www-",
            "xn--",
            "xn--zzzzzzzz",
            "xn--a",
            "xn--wca",
            "xn--ab-\u{fc}",
        ] {
            assert!(!is_canonical(label), "{label}");
        }
    }

    #[test]
    fn host_names_are_put_in_ascii() {
        for (name, ascii) in [
            ("WWW.Example.com", Some("www.example.com")),
            (
                "_dmarc.Bücher.example",
                Some("_dmarc.xn--bcher-kva.example"),
            ),
            (
                "0/25.XN--BCHER-kva.example",
                Some("0/25.xn--bcher-kva.example"),
            ),
            ("straße.example", Some("xn--strae-oqa.example")),
            ("１２", Some("12")),
            ("", Some("")),
            ("ü/x", None),
            ("ü%2e", None),
            ("xn--a.example", None),
            ("\u{200d}.example", None),
            ("bücher@x", None),
            ("ü:1", None),
        ] {
            assert_eq!(host_to_ascii(name).as_deref(), ascii, "{name}");
        }
    }
}
