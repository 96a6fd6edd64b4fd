//! `multipart/form-data` bodies: part names, file names, content types and contents, as bytes.

use bytes::Bytes;
use hyper::HeaderMap;
use memchr::memmem;

use crate::api::ApiError;

/// One part of a form.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// Only files have one.
    pub(crate) filename: Option<String>,
    /// The media type without its parameters, as it was written.
    pub(crate) content_type: Option<String>,
    pub(crate) content: Bytes,
}

/// Splits a form into its parts.
///
/// # Errors
/// 400 when the content type names no boundary or the body does not follow it.
pub(crate) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Part>, ApiError> {
    let malformed = || ApiError::body("Malformed multipart/form-data body");
    let boundary = boundary(headers).ok_or_else(|| {
        ApiError::body("Content-Type must be multipart/form-data with a boundary")
    })?;
    let delimiter = format!("\r\n--{boundary}");
    let opening = format!("--{boundary}");
    let start = memmem::find(body, opening.as_bytes()).ok_or_else(malformed)? + opening.len();
    let mut rest = body.slice(start..);
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if !rest.starts_with(b"\r\n") {
            return Err(malformed());
        }
        let end = memmem::find(&rest, delimiter.as_bytes()).ok_or_else(malformed)?;
        if end < 2 {
            return Err(malformed());
        }
        parts.push(part(&rest.slice(2..end)).ok_or_else(malformed)?);
        rest = rest.slice(end + delimiter.len()..);
    }
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("content-type")?.to_str().ok()?;
    let mut pieces = value.split(';');
    if !pieces
        .next()?
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    pieces
        .filter_map(|piece| piece.trim().split_once('='))
        .find(|(key, _)| key.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .filter(|b| !b.is_empty())
}

fn part(bytes: &Bytes) -> Option<Part> {
    let head_end = memmem::find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_end)?).ok()?;
    let header = |wanted: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(wanted).then_some(value)
        })
    };
    let disposition = header("content-disposition")?;
    Some(Part {
        name: parameter(disposition, "name")?,
        filename: parameter(disposition, "filename"),
        content_type: header("content-type")
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_owned()),
        content: bytes.slice(head_end + 4..),
    })
}

/// One parameter of a `Content-Disposition`. Clients write `%22`, `%0D` and `%0A` for what would
/// end a quoted value (HTML, "Multipart form data"), so a quote always ends it.
fn parameter(disposition: &str, wanted: &str) -> Option<String> {
    let mut rest = disposition;
    loop {
        let (_, after) = rest.split_once(';')?;
        let (key, value) = after.split_once('=')?;
        let (value, next) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if key.trim().eq_ignore_ascii_case(wanted) {
            let value = value.replace("%22", "\"");
            return Some(value.replace("%0D", "\r").replace("%0A", "\n"));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_at_the_boundary_only() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "multipart/form-data; boundary=\"x-y\"".parse().unwrap(),
        );
        let body = Bytes::from_static(
            b"--x-y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nab\r\n--x\r\nc\r\n--x-y\r\ncontent-disposition: form-data; name=proxied\r\n\r\ntrue\r\n--x-y--\r\n",
        );
        let parts = parse(&headers, &body).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].name, "file");
        assert_eq!(parts[0].filename.as_deref(), Some("a.txt"));
        assert_eq!(&parts[0].content[..], b"ab\r\n--x\r\nc");
        assert_eq!(parts[1].name, "proxied");
        assert_eq!(parts[1].filename, None);
        assert_eq!(&parts[1].content[..], b"true");
    }

    #[test]
    fn names_may_hold_what_separates_parameters() {
        let disposition = " form-data; name=\"metadata[a;b=c]\"; filename=\"x%22y.js\"";
        assert_eq!(
            parameter(disposition, "name").as_deref(),
            Some("metadata[a;b=c]")
        );
        assert_eq!(
            parameter(disposition, "filename").as_deref(),
            Some("x\"y.js")
        );
        assert_eq!(parameter(disposition, "size"), None);
    }

    #[test]
    fn a_body_without_its_closing_boundary_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "multipart/form-data; boundary=b".parse().unwrap(),
        );
        let body = Bytes::from_static(b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx");
        assert_eq!(parse(&headers, &body).unwrap_err().code, 6007);
    }
}
