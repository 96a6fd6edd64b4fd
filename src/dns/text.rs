//! The texts inside records: host names, quoted strings, words.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::model::host_to_ascii;

/// Longest string inside a TXT record, in bytes (RFC 1035 §3.3).
const MAX_STRING_BYTES: usize = 255;

/// A host name in lower-case Punycode without its final dot; the root stays `.`. What IDNA refuses
/// is only put in lower case.
pub(super) fn host(text: &str) -> String {
    let text = text.trim();
    let bare = match text.strip_suffix('.') {
        Some("") | None => text,
        Some(bare) => bare,
    };
    let ascii = if bare.is_ascii() {
        Cow::Borrowed(bare)
    } else {
        host_to_ascii(bare).unwrap_or(Cow::Borrowed(bare))
    };
    ascii.to_ascii_lowercase()
}

/// What the strings of a TXT record say together.
pub(super) fn txt_bytes(content: &str) -> Vec<u8> {
    txt_strings(content).concat()
}

/// The strings of a TXT record; what is not well quoted is one.
fn txt_strings(content: &str) -> Vec<Vec<u8>> {
    let content = content.trim();
    let strings = if content.starts_with('"') {
        quoted_strings(content)
    } else {
        None
    };
    strings.unwrap_or_else(|| vec![content.as_bytes().to_vec()])
}

/// The content of a TXT record as quoted strings of at most 255 bytes each.
///
/// The API documents quoted strings (RFC 1035 §5.1) and splits longer ones itself; older records
/// are listed without quotes. What is not well quoted is taken as bare text. Where one string ends
/// and the next begins is kept: to some readers it means something (RFC 6763 §6).
pub(super) fn txt(content: &str) -> String {
    let strings = txt_strings(content);
    let mut out = String::with_capacity(content.len() + 2);
    for string in &strings {
        // `chunks` of nothing is nothing, but an empty string is a string.
        if string.is_empty() {
            separate(&mut out);
            push_quoted(&mut out, b"");
        }
        for part in string.chunks(MAX_STRING_BYTES) {
            separate(&mut out);
            push_quoted(&mut out, part);
        }
    }
    out
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push(' ');
    }
}

/// The bytes of each quoted string; `None` when something else is between them or the last is not
/// closed.
pub(super) fn quoted_strings(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('"') {
        let (string, after) = unescape(inner, true)?;
        strings.push(string);
        rest = after.trim_start();
    }
    rest.is_empty().then_some(strings)
}

/// Reads `\c` and `\DDD` (RFC 1035 §5.1) up to the closing quote, or to the end of the text when it
/// is not `is_quoted`. Gives the bytes and what follows the quote.
fn unescape(text: &str, is_quoted: bool) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            None => return (!is_quoted).then_some((bytes, "")),
            Some('"') if is_quoted => return Some((bytes, chars.as_str())),
            Some('\\') => {
                let digits = rest
                    .get(1..4)
                    .filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
                if let Some(digits) = digits {
                    bytes.push(digits.parse().ok()?);
                    chars = rest.get(4..)?.chars();
                } else {
                    push_char(&mut bytes, chars.next()?);
                }
            }
            Some(c) => push_char(&mut bytes, c),
        }
    }
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends one quoted string in ASCII: `"` and `\` are escaped, all other bytes that do not print
/// are written in decimal.
pub(super) fn push_quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => push_decimal(out, *byte),
        }
    }
    out.push('"');
}

fn push_decimal(out: &mut String, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "\\{byte:03}");
}

/// A word of presentation format without its quotes and escapes; `None` when it is no UTF-8.
pub(super) fn unquoted(word: &str) -> Option<String> {
    let (bytes, rest) = match word.strip_prefix('"') {
        Some(inner) => unescape(inner, true)?,
        None => unescape(word, false)?,
    };
    rest.is_empty().then_some(())?;
    String::from_utf8(bytes).ok()
}

/// Splits at white space outside quotes; quotes and escapes stay part of their word.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && !is_quoted && !is_escaped {
            if let Some(start) = start.take() {
                words.extend(text.get(start..at));
            }
            continue;
        }
        start = start.or(Some(at));
        if is_escaped {
            is_escaped = false;
        } else {
            is_escaped = c == '\\';
            is_quoted ^= c == '"';
        }
    }
    if let Some(start) = start {
        words.extend(text.get(start..));
    }
    words
}

/// Appends a host name as zone files have it: absolute, and what would end the word escaped.
pub(super) fn push_absolute(out: &mut String, name: &str) {
    for c in name.chars() {
        match c {
            ';' | '"' | '(' | ')' | '@' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '!'..='~' => out.push(c),
            _ => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    push_decimal(out, byte);
                }
            }
        }
    }
    if !name.ends_with('.') {
        out.push('.');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_host_becomes_the_same() {
        for (text, expected) in [
            ("Mail.Example.COM.", "mail.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("_SIP._tcp.example.com", "_sip._tcp.example.com"),
            (".", "."),
            ("", ""),
            ("*.Example.com", "*.example.com"),
        ] {
            assert_eq!(host(text), expected, "{text}");
        }
    }

    #[track_caller]
    fn check_txt(content: &str, expected: &str) {
        assert_eq!(txt(content), expected, "{content}");
        assert_eq!(txt(expected), expected, "is its own canonical form");
    }

    #[test]
    fn text_is_quoted_once_whatever_its_spelling() {
        check_txt("v=spf1 -all", r#""v=spf1 -all""#);
        check_txt(r#""v=spf1 -all""#, r#""v=spf1 -all""#);
        check_txt(r#""a"  "b""#, r#""a" "b""#);
        check_txt(r#""a""b""#, r#""a" "b""#);
        check_txt(r#""a\;b\"c\\d""#, r#""a;b\"c\\d""#);
        check_txt(r#"say "hi""#, r#""say \"hi\"""#);
        check_txt(r#""\097\195\169""#, r#""a\195\169""#);
        check_txt("é", r#""\195\169""#);
        check_txt("", r#""""#);
        check_txt(r#""""#, r#""""#);
    }

    #[test]
    fn what_is_not_well_quoted_is_bare_text() {
        check_txt(r#""open"#, r#""\"open""#);
        check_txt(r#""a" b"#, r#""\"a\" b""#);
        check_txt(r#""\999""#, r#""\"\\999\"""#);
    }

    #[test]
    fn long_text_is_split_at_255_bytes() {
        let long = "x".repeat(600);
        let parts = format!(
            r#""{}" "{}" "{}""#,
            "x".repeat(255),
            "x".repeat(255),
            "x".repeat(90)
        );
        check_txt(&long, &parts);
        check_txt(&format!("\"{long}\""), &parts);
        // Bytes count, not characters.
        let accents = txt(&"é".repeat(128));
        assert_eq!(accents.matches("\" \"").count(), 1);
    }

    #[test]
    fn words_end_at_space_outside_quotes() {
        assert_eq!(
            words(" 0\tissue  \"a b\\\" c\" d\\ e"),
            ["0", "issue", "\"a b\\\" c\"", "d\\ e"]
        );
        assert_eq!(unquoted(r#""a\"b\046""#).as_deref(), Some("a\"b."));
        assert_eq!(unquoted("plain").as_deref(), Some("plain"));
        assert_eq!(unquoted(r#""a"b"#), None);
        assert_eq!(unquoted(r#""\255""#), None);
    }

    #[test]
    fn names_in_zone_files_are_absolute_and_one_word() {
        let absolute = |name: &str| {
            let mut out = String::new();
            push_absolute(&mut out, name);
            out
        };
        assert_eq!(absolute("*.example.com"), "*.example.com.");
        assert_eq!(absolute("."), ".");
        assert_eq!(
            absolute("a b;c\n.example.com"),
            "a\\032b\\;c\\010.example.com."
        );
    }
}
