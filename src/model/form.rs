//! `multipart/form-data` as RFC 7578 has it, without what its readers disagree about.
//!
//! INVARIANT: the boundary occurs in an accepted body as a delimiter only, so every reader finds
//! the same parts. Parts that are not judged are never copied: they are ranges of the body.

use std::ops::Range;

/// Most parts of a form.
const MAX_PARTS: usize = 2_000;

/// Most bytes of the headers of one part.
const MAX_HEADERS: usize = 4 * 1024;

/// Why a body is not accepted as a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type is not that of a form, or has no usable boundary.
    #[error("the header Content-Type must be multipart/form-data with one boundary")]
    ContentType,
    /// The delimiters are not where they must be.
    #[error("the parts of the form are not set apart as its boundary says")]
    Delimiters,
    /// More parts than are read.
    #[error("the form has more parts than are read of one")]
    TooManyParts,
    /// A header of a part cannot be read one way only; the part is counted from 1.
    #[error("part {0} of the form: {1}")]
    Part(usize, &'static str),
}

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of its field.
    pub name: String,
    /// The name of its file, if it has one.
    pub filename: Option<String>,
    /// Its own content type.
    pub content_type: Option<String>,
    /// From its delimiter to its last byte.
    whole: Range<usize>,
    /// What it holds.
    body: Range<usize>,
}

impl Part {
    /// What it holds, of the body it was read from.
    #[must_use]
    pub fn bytes<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        body.get(self.body.clone()).unwrap_or_default()
    }
}

/// A form, as read from a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    boundary: String,
    /// Its parts in their order.
    pub parts: Vec<Part>,
}

impl Form {
    /// Reads a body with this content type.
    ///
    /// # Errors
    /// When two readers could find different parts in it.
    pub fn read(content_type: &str, body: &[u8]) -> Result<Self, FormError> {
        let boundary = boundary(content_type).ok_or(FormError::ContentType)?;
        let delimiter = format!("--{boundary}");
        let places = occurrences(body, delimiter.as_bytes());
        let (last, starts) = places.split_last().ok_or(FormError::Delimiters)?;
        if starts.len() > MAX_PARTS {
            return Err(FormError::TooManyParts);
        }
        let after = |start: usize| body.get(start + delimiter.len()..).unwrap_or_default();
        // Nothing stands before the first delimiter and nothing but a line end after the last one.
        let is_closed = matches!(after(*last), b"--" | b"--\r\n");
        if places.first() != Some(&0) || !is_closed {
            return Err(FormError::Delimiters);
        }
        let mut parts = Vec::with_capacity(starts.len());
        for (index, (start, next)) in starts.iter().zip(places.iter().skip(1)).enumerate() {
            // The line end before a delimiter belongs to the delimiter.
            let whole = *start..next.saturating_sub(2);
            let ends_line = body.get(whole.end..*next) == Some(b"\r\n");
            if !after(*start).starts_with(b"\r\n") || !ends_line {
                return Err(FormError::Delimiters);
            }
            let head = start + delimiter.len() + 2;
            let part = part(body, head, whole).map_err(|what| FormError::Part(index + 1, what))?;
            parts.push(part);
        }
        Ok(Self { boundary, parts })
    }

    /// Puts one part of JSON called `name` in place of the first of `replaced`, leaves out the
    /// others of `replaced`, and keeps every other byte of `body` as it was.
    pub fn replace(&self, body: &mut Vec<u8>, replaced: &[usize], name: &str, json: &str) {
        let part = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: application/json\r\n\r\n{json}\r\n",
            self.boundary
        );
        // One growth at most, and by no more than is needed: bodies are large.
        body.reserve_exact(part.len());
        let mut ranges = self.parts.iter().enumerate().rev();
        for (index, found) in ranges
            .by_ref()
            .filter(|(index, _)| replaced.contains(index))
        {
            let whole = found.whole.start..found.whole.end + 2;
            let is_first = replaced.iter().all(|other| *other >= index);
            let with = if is_first { part.as_bytes() } else { &[] };
            body.splice(whole, with.iter().copied());
        }
    }
}

/// The boundary a content type names, if it is that of a form and means one thing.
fn boundary(content_type: &str) -> Option<String> {
    let mut parameters = content_type.split(';').map(str::trim);
    if !parameters
        .next()?
        .eq_ignore_ascii_case("multipart/form-data")
    {
        return None;
    }
    let (name, value) = parameters.next()?.split_once('=')?;
    // A character set says nothing about a form and some clients name one; anything else might.
    let is_plain = parameters.all(|other| other.eq_ignore_ascii_case("charset=utf-8"));
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    // RFC 2046 §5.1.1 without space, comma and the marks of parameters.
    let is_usable = (1..=70).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"'()+_-./:?".contains(&b));
    (name.eq_ignore_ascii_case("boundary") && is_plain && is_usable).then(|| value.to_owned())
}

/// Where `needle` occurs in `hay`, overlapping or not: Horspool's search, as bodies are large.
fn occurrences(hay: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut skip = [needle.len(); 256];
    for (index, byte) in needle
        .iter()
        .enumerate()
        .take(needle.len().saturating_sub(1))
    {
        if let Some(entry) = skip.get_mut(usize::from(*byte)) {
            *entry = needle.len() - 1 - index;
        }
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(window) = hay.get(at..at + needle.len()) {
        if window == needle {
            found.push(at);
            at += 1;
            // More than any form has: it is refused before anything is read of it.
            if found.len() > MAX_PARTS + 2 {
                break;
            }
        } else {
            let last = window.last().copied().unwrap_or_default();
            at += skip.get(usize::from(last)).copied().unwrap_or(1);
        }
    }
    found
}

/// Reads one part: headers from `head`, an empty line, then what it holds.
fn part(body: &[u8], head: usize, whole: Range<usize>) -> Result<Part, &'static str> {
    let rest = body.get(head..whole.end).unwrap_or_default();
    let window = rest.get(..rest.len().min(MAX_HEADERS)).unwrap_or_default();
    let end = window
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or("its headers do not end")?;
    let headers = window.get(..end).unwrap_or_default();
    let headers = std::str::from_utf8(headers).map_err(|_| "its headers are not UTF-8")?;
    let mut disposition = None;
    let mut content_type = None;
    for line in headers.split("\r\n") {
        let (name, value) = line
            .split_once(':')
            .ok_or("one of its headers has no colon")?;
        let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if name.is_empty() || !is_token || value.chars().any(|c| c.is_control() && c != '\t') {
            return Err("one of its headers is malformed");
        }
        let slot = match name.to_ascii_lowercase().as_str() {
            "content-disposition" => &mut disposition,
            "content-type" => &mut content_type,
            // What readers would have to undo, or not.
            "content-transfer-encoding" | "content-encoding" => {
                return Err("it is encoded, which forms are not");
            }
            _ => continue,
        };
        if slot.replace(value.trim()).is_some() {
            return Err("one of its headers occurs twice");
        }
    }
    let disposition = disposition.ok_or("it has no Content-Disposition")?;
    let (name, filename) = disposed(disposition).ok_or("its Content-Disposition is malformed")?;
    Ok(Part {
        name,
        filename,
        content_type: content_type.map(str::to_owned),
        body: head + end + 4..whole.end,
        whole,
    })
}

/// The names in `form-data; name="…"; filename="…"`.
///
/// Escapes are refused: browsers write `%22`, others a backslash, and readers take either literally.
fn disposed(value: &str) -> Option<(String, Option<String>)> {
    let mut rest = value.strip_prefix("form-data")?;
    let (mut name, mut filename) = (None, None);
    while !rest.is_empty() {
        rest = rest.trim_start_matches(' ').strip_prefix(';')?;
        let (key, after) = rest.trim_start_matches(' ').split_once('=')?;
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find([';', ' ']).unwrap_or(after.len())),
        };
        if text.is_empty() || text.contains(['\\', '"', '\t']) {
            return None;
        }
        let slot = match key.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "filename" => &mut filename,
            _ => return None,
        };
        if slot.replace(text.to_owned()).is_some() {
            return None;
        }
        rest = after;
    }
    Some((name?, filename))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=----b-1";

    fn text(parts: &[&str]) -> String {
        let mut text = String::new();
        for part in parts {
            let _ = write!(text, "------b-1\r\n{part}\r\n");
        }
        text + "------b-1--\r\n"
    }

    fn names(body: &str) -> Result<Vec<(String, Option<String>, String)>, FormError> {
        let form = Form::read(TYPE, body.as_bytes())?;
        Ok(form
            .parts
            .iter()
            .map(|part| {
                let held = String::from_utf8(part.bytes(body.as_bytes()).to_vec()).unwrap();
                (part.name.clone(), part.filename.clone(), held)
            })
            .collect())
    }

    #[test]
    fn parts_are_found_with_their_names_and_bytes() {
        let body = text(&[
            "Content-Disposition: form-data; name=\"metadata\"\r\n\r\n{\"a\":1}",
            "content-disposition: form-data; name=\"x.js\"; filename=\"x.js\"\r\nContent-Type: application/javascript+module\r\n\r\n\r\nlet a = '--';\r\n",
            "Content-Disposition: form-data; name=plain;filename=ä.txt\r\nX-Other: 1\r\n\r\n",
        ]);
        let word = |text: &str| text.to_owned();
        assert_eq!(
            names(&body).unwrap(),
            [
                (word("metadata"), None, word("{\"a\":1}")),
                (
                    word("x.js"),
                    Some(word("x.js")),
                    word("\r\nlet a = '--';\r\n")
                ),
                (word("plain"), Some(word("ä.txt")), word("")),
            ]
        );
        let form = Form::read(TYPE, body.as_bytes()).unwrap();
        assert_eq!(
            form.parts[1].content_type.as_deref(),
            Some("application/javascript+module")
        );
        assert_eq!(names("------b-1--").unwrap(), []);
    }

    #[test]
    fn j3_a_content_type_with_two_readings_is_refused() {
        for (content_type, boundary_is) in [
            (TYPE, Some("----b-1")),
            ("Multipart/Form-Data;boundary=\"a b\"", None),
            ("multipart/form-data; boundary=\"ab\"", Some("ab")),
            ("multipart/form-data; BOUNDARY=ab", Some("ab")),
            (
                "multipart/form-data; boundary=ab; charset=utf-8",
                Some("ab"),
            ),
            ("multipart/form-data; boundary=ab; boundary=cd", None),
            (
                "multipart/form-data; boundary=ab, multipart/form-data; boundary=cd",
                None,
            ),
            ("multipart/form-data; charset=utf-7; boundary=ab", None),
            ("multipart/form-data; boundary=ab; x=y", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"ab", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=ab", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(
                boundary(content_type).as_deref(),
                boundary_is,
                "{content_type}"
            );
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        assert_eq!(boundary(&long), None);
    }

    #[test]
    fn j3_a_form_with_two_readings_is_refused() {
        let head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";
        let delimiters = [
            String::new(),
            "------b-1".to_owned(),
            format!("before\r\n{}", text(&[head])),
            format!("\r\n{}", text(&[head])),
            format!("{}after", text(&[head])),
            format!("{}\r\n", text(&[head])),
            text(&[head]).replace("--\r\n", "-- \r\n"),
            text(&[head]).trim_end().trim_end_matches("--").to_owned(),
            // Padding after a delimiter is allowed by RFC 2046 and by few readers.
            text(&[head]).replacen("------b-1\r\n", "------b-1 \r\n", 1),
            text(&[head]).replace("\r\n", "\n"),
            // The boundary within what a part holds.
            text(&[&format!("{head}x------b-1\r\ny")]),
            text(&[&format!("{head}x\n------b-1\r\n{head}")]),
            text(&[&format!("{head}x\r\n------b-12\r\n{head}")]),
            text(&[&format!("{head}x\r\n------b-1--\r\n")]),
            text(&[&format!("{head}x\r\n--------b-1\r\n{head}")]),
        ];
        for body in delimiters {
            assert_eq!(names(&body).unwrap_err(), FormError::Delimiters, "{body:?}");
        }
        for (part, what) in [
            ("", "its headers do not end"),
            ("a\r\n\r\n", "one of its headers has no colon"),
            ("\r\n\r\n", "one of its headers has no colon"),
            (
                "Content-Type: text/plain\r\n\r\n",
                "it has no Content-Disposition",
            ),
            (
                "Content-Disposition : form-data; name=a\r\n\r\n",
                "one of its headers is malformed",
            ),
            (
                "Content-Disposition: form-data;\r\n name=a\r\n\r\n",
                "one of its headers has no colon",
            ),
            (
                "Content-Disposition: form-data; name=a\nx: y\r\n\r\n",
                "one of its headers is malformed",
            ),
            (
                "Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n",
                "it is encoded, which forms are not",
            ),
            (
                "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n",
                "one of its headers occurs twice",
            ),
            (
                "Content-Disposition: form-data\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: attachment; name=a\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=a; name=b\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=\"a\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=\"\"\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name*=utf-8''a\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=a; filename*=utf-8''a\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
            (
                "Content-Disposition: form-data; name=\"a\"b\r\n\r\n",
                "its Content-Disposition is malformed",
            ),
        ] {
            assert_eq!(
                names(&text(&[part])).unwrap_err(),
                FormError::Part(1, what),
                "{part:?}"
            );
        }
        assert_eq!(
            names(&text(&vec![head; MAX_PARTS + 1])).unwrap_err(),
            FormError::TooManyParts
        );
        assert_eq!(
            names(&text(&vec![head; MAX_PARTS])).unwrap().len(),
            MAX_PARTS
        );
    }

    #[test]
    fn j3_one_part_is_written_again_and_every_other_byte_stays() {
        let file =
            "Content-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n\u{0}\u{1}ä\r\n";
        let field =
            |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\nx");
        let new = "Content-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n{\"longer\":\"than before\"}";
        let json = "{\"longer\":\"than before\"}";
        let (a, b) = (field("metadata[a]"), field("metadata[b]"));
        for (parts, replaced, expected) in [
            (vec![a.as_str(), file], vec![0], vec![new, file]),
            (vec![file, a.as_str()], vec![1], vec![file, new]),
            (
                vec![file, a.as_str(), file, b.as_str(), file],
                vec![3, 1],
                vec![file, new, file, file],
            ),
            (vec![a.as_str()], vec![0], vec![new]),
        ] {
            let mut body = text(&parts).into_bytes();
            let form = Form::read(TYPE, &body).unwrap();
            form.replace(&mut body, &replaced, "metadata", json);
            assert_eq!(String::from_utf8(body).unwrap(), text(&expected));
        }
    }

    #[test]
    fn what_is_searched_for_is_found_wherever_it_is() {
        for (hay, needle, expected) in [
            ("", "--a", vec![]),
            ("--a", "--a", vec![0]),
            ("--a--a", "--a", vec![0, 3]),
            ("x---a-", "--a", vec![2]),
            ("aaaa", "aa", vec![0, 1, 2]),
            ("--b--", "--a", vec![]),
        ] {
            assert_eq!(
                occurrences(hay.as_bytes(), needle.as_bytes()),
                expected,
                "{hay}"
            );
        }
    }
}
