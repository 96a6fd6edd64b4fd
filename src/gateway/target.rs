//! The path and query of a call: canonical, or refused.
//!
//! Runtime and edge normalise paths in ways of their own before and after us (dot segments,
//! backslashes, tabs, repeated slashes). So a path must have one spelling only: what is authorised
//! is then what every later reader sees. The path sent upstream is the one checked here.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::catalog::{Method, Resolved, resolve};

/// Where the v4 API begins, on our side as on Cloudflare's.
pub const PREFIX: &str = "/client/v4";
/// Longest path and query taken, in bytes: the platform's own limit for a URL
/// (<https://developers.cloudflare.com/workers/platform/limits/#request-limits>).
const MAX_URL_BYTES: usize = 16 * 1024;

/// A path or query with more than one reading. The text completes "the path …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NonCanonical {
    /// Longer than 16 KB.
    #[error("the URL is longer than 16 KB")]
    TooLong,
    /// An empty segment, also at the end.
    #[error("the path has an empty segment or a trailing slash; send it without")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a dot segment; send it without")]
    DotSegment,
    /// A `%` where the template has no free text, or a malformed one.
    #[error(
        "the path has a percent-encoded character where the operation takes none, or a broken one"
    )]
    Percent,
    /// A character no id or name has.
    #[error("the path has a character that no id or name of the Cloudflare API has")]
    Character,
    /// A parameter that must be 32 hexadecimal digits and is not.
    #[error(
        "the path has a zone, account or record id that is not 32 lower-case hexadecimal digits"
    )]
    Id,
    /// A parameter that policy reads stands twice.
    #[error("the query names a parameter twice that decides what the call may do")]
    DuplicateParameter,
    /// A parameter that policy reads cannot be read.
    #[error("the query has a malformed value in a parameter that decides what the call may do")]
    Parameter,
}

/// A call's path and query as they came, the path free of what has two readings.
#[derive(Debug, Clone, Copy)]
pub struct RawTarget<'u> {
    /// Below `/client/v4`, still percent-encoded.
    pub path: &'u str,
    /// After the `?`.
    pub query: Option<&'u str>,
}

/// The parts of a URL: everything before the path, the path, the query.
#[must_use]
pub fn split_url(url: &str) -> (&str, &str, Option<&str>) {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url
        .get(after_scheme..)
        .and_then(|rest| rest.find(['/', '?', '#']))
        .map_or(url.len(), |at| after_scheme + at);
    let (origin, rest) = url.split_at_checked(path_at).unwrap_or((url, ""));
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    match rest.split_once('?') {
        Some((path, query)) => (origin, path, Some(query)),
        None => (origin, rest, None),
    }
}

/// Takes the part of `path` below [`PREFIX`]; `None` when it is not below it. `/zones/` and
/// `/accounts/` are what some clients send for the list without the slash.
#[must_use]
pub fn below_prefix(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PREFIX)?;
    match rest {
        "/zones/" => Some("/zones"),
        "/accounts/" => Some("/accounts"),
        _ if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// A target that was resolved and whose every segment was checked.
#[derive(Debug)]
pub struct Checked<'u> {
    /// The operation, when the catalogue has it.
    pub resolved: Option<Resolved<'u>>,
    /// The path to send: equal to what came, but for free text, which is encoded anew.
    pub path: Cow<'u, str>,
    /// The query, byte for byte.
    pub query: Option<&'u str>,
}

impl Checked<'_> {
    /// Path and query as they go upstream.
    #[must_use]
    pub fn to_target(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.as_ref().to_owned(),
        }
    }
}

/// Resolves a target and checks it segment by segment.
///
/// 1. A URL beyond 16 KB, an empty segment or a dot segment is refused.
/// 2. The operation is looked up on the path as it came.
/// 3. A free-text parameter is decoded once, checked and encoded once; every other segment must
///    consist of characters that need no encoding. Zone, account and record ids must be 32
///    hexadecimal digits.
///
/// # Errors
/// [`NonCanonical`].
pub fn check(method: Method, raw: RawTarget<'_>) -> Result<Checked<'_>, NonCanonical> {
    let RawTarget { path, query } = raw;
    if path.len() + query.map_or(0, str::len) > MAX_URL_BYTES {
        return Err(NonCanonical::TooLong); // (1)
    }
    let resolved = resolve(method, path); // (2)
    let free_text = resolved.as_ref().and_then(|resolved| {
        let position = resolved.operation.free_text_param()?;
        resolved.params.get(position)
    });
    let mut rebuilt: Option<String> = None;
    let mut end = 0;
    for segment in path.split('/').skip(1) {
        let start = end + 1;
        end = start + segment.len();
        if is_same_slice(segment, free_text) {
            let encoded = recode(segment)?; // (3)
            if encoded != segment {
                // Only one segment of a path is free text, and it is the last that can be.
                let before = path.get(..start).unwrap_or_default();
                let after = path.get(end..).unwrap_or_default();
                rebuilt = Some(format!("{before}{encoded}{after}"));
            }
            continue;
        }
        check_segment(segment)?;
    }
    if let Some(resolved) = &resolved {
        for (name, value) in resolved.params.iter() {
            let is_id = matches!(
                name,
                "zone_id"
                    | "account_id"
                    | "dns_record_id"
                    | "zone_identifier"
                    | "account_identifier"
            );
            if is_id && !is_hex32(value) {
                return Err(NonCanonical::Id);
            }
        }
    }
    Ok(Checked {
        resolved,
        path: rebuilt.map_or(Cow::Borrowed(path), Cow::Owned),
        query,
    })
}

fn is_same_slice(segment: &str, other: Option<&str>) -> bool {
    other.is_some_and(|other| {
        std::ptr::eq(segment.as_ptr(), other.as_ptr()) && segment.len() == other.len()
    })
}

fn is_hex32(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_segment(segment: &str) -> Result<(), NonCanonical> {
    match segment {
        "" => return Err(NonCanonical::EmptySegment),
        "." | ".." => return Err(NonCanonical::DotSegment),
        _ => {}
    }
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'@'
            | b','
            | b'+'
            | b'='
            | b'!'
            | b'$' => {}
            // Some ids hold one, but a segment that begins with it is a template left unfilled.
            b':' if !segment.starts_with(':') => {}
            b'%' => return Err(NonCanonical::Percent),
            _ => return Err(NonCanonical::Character),
        }
    }
    Ok(())
}

/// Decodes a free-text segment once and checks it.
pub(super) fn decode(segment: &str) -> Result<String, NonCanonical> {
    if segment.is_empty() {
        return Err(NonCanonical::EmptySegment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                return Err(NonCanonical::Percent);
            };
            // Two hexadecimal digits are below 256.
            bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| NonCanonical::Percent)?;
    // Should anything before the API decode once more, these would leave the segment.
    if text
        .split(['/', '\\'])
        .any(|piece| matches!(piece, "." | ".."))
    {
        return Err(NonCanonical::DotSegment);
    }
    if text.chars().any(|c| c.is_control() || c == '\u{fffd}') {
        return Err(NonCanonical::Character);
    }
    Ok(text)
}

/// Decodes a free-text segment once, checks it and encodes it once.
fn recode(segment: &str) -> Result<String, NonCanonical> {
    let text = decode(segment)?;
    let mut encoded = String::with_capacity(segment.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    Ok(encoded)
}

/// The decoded value of a query parameter that policy reads; `None` when it is absent.
///
/// # Errors
/// [`NonCanonical::DuplicateParameter`] when it stands twice.
pub fn query_param<'q>(
    query: Option<&'q str>,
    name: &str,
) -> Result<Option<Cow<'q, str>>, NonCanonical> {
    let Some(query) = query else { return Ok(None) };
    let mut found = None;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if key == name && found.replace(value).is_some() {
            return Err(NonCanonical::DuplicateParameter);
        }
    }
    Ok(found)
}

/// `query` without the parameters called `names`, in order, the others byte for byte.
#[must_use]
pub(super) fn query_without(query: Option<&str>, names: &[&str]) -> String {
    let mut kept = String::new();
    for part in query
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty())
    {
        let is_named = url::form_urlencoded::parse(part.as_bytes())
            .any(|(key, _)| names.contains(&key.as_ref()));
        if !is_named {
            if !kept.is_empty() {
                kept.push('&');
            }
            kept.push_str(part);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn check_path(method: Method, path: &str) -> Result<String, NonCanonical> {
        let path = path.replace("ID", ID);
        check(
            method,
            RawTarget {
                path: &path,
                query: None,
            },
        )
        .map(|checked| checked.path.into_owned())
    }

    #[test]
    fn a_url_splits_into_origin_path_and_query() {
        assert_eq!(
            split_url("http://h:1/a/b?c=d?e"),
            ("http://h:1", "/a/b", Some("c=d?e"))
        );
        assert_eq!(split_url("https://h"), ("https://h", "", None));
        assert_eq!(split_url("https://h/a#f"), ("https://h", "/a", None));
        assert_eq!(below_prefix("/client/v4/zones/"), Some("/zones"));
        assert_eq!(below_prefix("/client/v4/zones/x/"), Some("/zones/x/"));
        assert_eq!(below_prefix("/client/v4"), None);
        assert_eq!(below_prefix("/client/v4x"), None);
        assert_eq!(
            below_prefix("/client/v4/client/v4/zones"),
            Some("/client/v4/zones")
        );
    }

    #[test]
    fn p1_p2_p3_p4_a_path_has_one_spelling() {
        use NonCanonical::{Character, DotSegment, EmptySegment, Id, Percent};
        for (path, expected) in [
            ("/zones/ID/../ID", DotSegment),
            ("/zones/./ID", DotSegment),
            ("/zones/%2e%2e/ID", Percent),
            ("/zones/ID%2fdns_records", Percent),
            ("/zones/ID%252fdns_records", Percent),
            ("/zones/ID%5cdns_records", Percent),
            ("/zones/ID%00", Percent),
            ("/zones/ID%zz", Percent),
            ("/zones/ID;x=y", Character),
            ("/zones/ID\\x", Character),
            ("/zones//ID", EmptySegment),
            ("/zones/ID/", EmptySegment),
            ("/zones/ID/dns_records/", EmptySegment),
            ("/", EmptySegment),
            ("/zones/{zone_id}", Character),
            ("/zones/:id", Character),
            ("/zones/*", Character),
            ("/zones/0123456789ABCDEF0123456789abcdef", Id),
            ("/zones/abc", Id),
            ("/zones/ID/dns_records/abc", Id),
            ("/zones/\u{ff10}123456789abcdef0123456789abcde", Character),
            ("/zones/\u{fffd}", Character),
            ("/zones/a b", Character),
        ] {
            assert_eq!(check_path(Method::Get, path), Err(expected), "{path}");
        }
        assert_eq!(
            check_path(Method::Get, "/zones/ID"),
            Ok(format!("/zones/{ID}"))
        );
    }

    #[test]
    fn p2_free_text_is_decoded_once_and_encoded_once() {
        let path = |key: &str| format!("/accounts/ID/storage/kv/namespaces/ID/values/{key}");
        let sent = |key: &str| check_path(Method::Get, &path(key));
        assert_eq!(
            sent("a%2Fb%20key"),
            Ok(path("a%2Fb%20key").replace("ID", ID))
        );
        assert_eq!(sent("a%2fb"), Ok(path("a%2Fb").replace("ID", ID)));
        assert_eq!(sent("%61"), Ok(path("a").replace("ID", ID)));
        assert_eq!(sent("%2e%2e"), Err(NonCanonical::DotSegment));
        assert_eq!(sent("..%2F..%2Fd1"), Err(NonCanonical::DotSegment));
        assert_eq!(sent("a%5C..%5Cb"), Err(NonCanonical::DotSegment));
        assert_eq!(sent("a%00"), Err(NonCanonical::Character));
        assert_eq!(sent("%ff"), Err(NonCanonical::Percent));
        assert_eq!(sent("%c0%ae"), Err(NonCanonical::Percent));
        assert_eq!(sent("%2"), Err(NonCanonical::Percent));
        // The namespace is no free text.
        assert_eq!(
            check_path(
                Method::Get,
                "/accounts/ID/storage/kv/namespaces/a%2Fb/values/k"
            ),
            Err(NonCanonical::Percent)
        );
    }

    #[test]
    fn p3_long_urls_and_many_segments_are_refused() {
        assert_eq!(
            check_path(Method::Get, &"/a".repeat(9000)),
            Err(NonCanonical::TooLong)
        );
        assert!(
            check(
                Method::Get,
                RawTarget {
                    path: &"/a".repeat(4000),
                    query: None
                }
            )
            .unwrap()
            .resolved
            .is_none()
        );
    }

    #[test]
    fn q1_parameters_that_policy_reads_stand_once_and_the_rest_stays_byte_for_byte() {
        let query = Some("page=2&name.exact=a%09b&page=3&tag=%zz&&x;y");
        assert_eq!(
            query_param(query, "page"),
            Err(NonCanonical::DuplicateParameter)
        );
        assert_eq!(query_param(query, "name.exact").unwrap().unwrap(), "a\tb");
        assert_eq!(query_param(query, "absent"), Ok(None));
        assert_eq!(
            query_without(query, &["page"]),
            "name.exact=a%09b&tag=%zz&x;y"
        );
        assert_eq!(query_without(Some("p%61ge=2&b"), &["page"]), "b");
    }
}
