//! The 21 record types and the shape of their structured `data`.
//!
//! NOTES "DNS records": the types, and which of them have `data`. The members of each `data` are
//! those of the SDK's schema.

use serde_json::{Map, Value, json};

use crate::api::ApiError;
use crate::dns::names;

const KINDS: [&str; 21] = [
    "A",
    "AAAA",
    "CAA",
    "CERT",
    "CNAME",
    "DNSKEY",
    "DS",
    "HTTPS",
    "LOC",
    "MX",
    "NAPTR",
    "NS",
    "OPENPGPKEY",
    "PTR",
    "SMIMEA",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
];

/// The record type of this name, in any case.
pub(crate) fn kind(text: &str) -> Option<&'static str> {
    KINDS.iter().find(|k| k.eq_ignore_ascii_case(text)).copied()
}

/// Whether records of this type can be proxied.
///
/// NOTES "DNS records": `proxiable`; A, AAAA and CNAME.
pub(crate) fn proxiable(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA" | "CNAME")
}

/// Whether records of this type have a `priority` of their own.
///
/// NOTES "DNS records": `priority`(MX, URI).
pub(crate) fn has_priority(kind: &str) -> bool {
    matches!(kind, "MX" | "URI")
}

/// What one member of `data` may be, and how it is written in `content`.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// An integer up to this value.
    Int(u64),
    /// A decimal number up to this value, with three decimals.
    Seconds(u32),
    /// A length in metres, with two decimals; absent means 0.
    Metres,
    /// One of the characters of this string.
    OneOf(&'static str),
    /// A word as it is.
    Word,
    /// A host name without its trailing dot.
    Host,
    /// A quoted string.
    Quoted,
    /// Everything that follows, written together.
    Digits,
    /// Everything that follows, separated by spaces; absent means nothing.
    Params,
}

type Fields = &'static [(&'static str, Shape)];

const CERTIFICATE: Fields = &[
    ("usage", Shape::Int(255)),
    ("selector", Shape::Int(255)),
    ("matching_type", Shape::Int(255)),
    ("certificate", Shape::Digits),
];

const SERVICE_BINDING: Fields = &[
    ("priority", Shape::Int(65_535)),
    ("target", Shape::Word),
    ("value", Shape::Params),
];

fn fields(kind: &str) -> Option<Fields> {
    Some(match kind {
        "CAA" => &[
            ("flags", Shape::Int(255)),
            ("tag", Shape::Word),
            ("value", Shape::Quoted),
        ],
        "CERT" => &[
            ("type", Shape::Int(65_535)),
            ("key_tag", Shape::Int(65_535)),
            ("algorithm", Shape::Int(255)),
            ("certificate", Shape::Digits),
        ],
        "DNSKEY" => &[
            ("flags", Shape::Int(65_535)),
            ("protocol", Shape::Int(255)),
            ("algorithm", Shape::Int(255)),
            ("public_key", Shape::Digits),
        ],
        "DS" => &[
            ("key_tag", Shape::Int(65_535)),
            ("algorithm", Shape::Int(255)),
            ("digest_type", Shape::Int(255)),
            ("digest", Shape::Digits),
        ],
        "HTTPS" | "SVCB" => SERVICE_BINDING,
        "LOC" => &[
            ("lat_degrees", Shape::Int(90)),
            ("lat_minutes", Shape::Int(59)),
            ("lat_seconds", Shape::Seconds(60)),
            ("lat_direction", Shape::OneOf("NS")),
            ("long_degrees", Shape::Int(180)),
            ("long_minutes", Shape::Int(59)),
            ("long_seconds", Shape::Seconds(60)),
            ("long_direction", Shape::OneOf("EW")),
            ("altitude", Shape::Metres),
            ("size", Shape::Metres),
            ("precision_horz", Shape::Metres),
            ("precision_vert", Shape::Metres),
        ],
        "NAPTR" => &[
            ("order", Shape::Int(65_535)),
            ("preference", Shape::Int(65_535)),
            ("flags", Shape::Quoted),
            ("service", Shape::Quoted),
            ("regex", Shape::Quoted),
            ("replacement", Shape::Word),
        ],
        "SMIMEA" | "TLSA" => CERTIFICATE,
        "SRV" => &[
            ("priority", Shape::Int(65_535)),
            ("weight", Shape::Int(65_535)),
            ("port", Shape::Int(65_535)),
            ("target", Shape::Host),
        ],
        "SSHFP" => &[
            ("algorithm", Shape::Int(255)),
            ("type", Shape::Int(255)),
            ("fingerprint", Shape::Digits),
        ],
        "URI" => &[("weight", Shape::Int(65_535)), ("target", Shape::Quoted)],
        _ => return None,
    })
}

/// Whether records of this type are described by `data`.
pub(crate) fn structured(kind: &str) -> bool {
    fields(kind).is_some()
}

/// Checks `data` and derives the record's `content` from it. Members outside the schema are left
/// away, as `service`, `proto` and `name` of SRV are (NOTES "DNS records": gone 2024-05-31).
///
/// # Errors
/// 9101 for a missing member (hypothesis), 1004 for a wrong one.
pub(crate) fn from_data(
    kind: &str,
    data: &Map<String, Value>,
) -> Result<(Map<String, Value>, String), ApiError> {
    let mut kept = Map::new();
    let mut words = Vec::new();
    for (name, shape) in fields(kind).unwrap_or_default() {
        let value = data.get(*name).filter(|v| !v.is_null());
        let value = match (value, shape) {
            (Some(value), _) => value.clone(),
            (None, Shape::Metres) => json!(0),
            (None, Shape::Params) => json!(""),
            (None, _) => {
                return Err(ApiError::bad(
                    9101,
                    format!("{name} is a required data field."),
                ));
            }
        };
        let (value, word) = member(*shape, &value).ok_or_else(|| {
            ApiError::bad(
                1004,
                format!("DNS Validation Error: data field {name} of the {kind} record is invalid."),
            )
        })?;
        kept.insert((*name).to_owned(), value);
        if !word.is_empty() {
            words.push(word);
        }
    }
    Ok((kept, words.join(" ")))
}

/// One member of `data`: the value as kept, and as written in `content`.
fn member(shape: Shape, value: &Value) -> Option<(Value, String)> {
    match shape {
        Shape::Int(max) => {
            let number = value.as_u64().filter(|n| *n <= max)?;
            Some((value.clone(), number.to_string()))
        }
        Shape::Seconds(below) => {
            let number = value
                .as_f64()
                .filter(|n| (0.0..f64::from(below)).contains(n))?;
            Some((value.clone(), format!("{number:.3}")))
        }
        Shape::Metres => Some((value.clone(), format!("{:.2}m", value.as_f64()?))),
        Shape::OneOf(letters) => {
            let text = value
                .as_str()
                .filter(|t| t.len() == 1 && letters.contains(t))?;
            Some((value.clone(), text.to_owned()))
        }
        Shape::Word => {
            let text = value
                .as_str()
                .filter(|t| !t.is_empty() && !t.contains(' '))?;
            Some((value.clone(), text.to_owned()))
        }
        Shape::Host => {
            let host = names::target(value.as_str()?)?;
            Some((json!(host), host))
        }
        Shape::Quoted => {
            let text = value.as_str().filter(|t| !t.contains('"'))?;
            Some((value.clone(), format!("\"{text}\"")))
        }
        Shape::Digits => {
            let text = value.as_str().filter(|t| {
                !t.is_empty()
                    && t.bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
            })?;
            Some((value.clone(), text.to_owned()))
        }
        Shape::Params => {
            let text = value.as_str()?.trim();
            Some((json!(text), text.to_owned()))
        }
    }
}

/// Reads `data` from the words of a record in presentation format.
pub(crate) fn from_words(kind: &str, words: &[String]) -> Option<Map<String, Value>> {
    let mut words = words.iter();
    let mut data = Map::new();
    for (name, shape) in fields(kind)? {
        let value = match shape {
            Shape::Digits => json!(words.by_ref().map(String::as_str).collect::<String>()),
            Shape::Params => {
                json!(
                    words
                        .by_ref()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            }
            Shape::Int(_) => json!(words.next()?.parse::<u64>().ok()?),
            Shape::Seconds(_) => decimal(words.next()?)?,
            Shape::Metres => match words.next() {
                None => json!(0),
                Some(word) => decimal(word.trim_end_matches('m'))?,
            },
            Shape::Quoted => json!(words.next()?.trim_matches('"')),
            Shape::OneOf(_) | Shape::Word | Shape::Host => json!(words.next()?),
        };
        data.insert((*name).to_owned(), value);
    }
    words.next().is_none().then_some(data)
}

/// A decimal number; a whole one stays an integer, as clients send it.
fn decimal(text: &str) -> Option<Value> {
    let short = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    };
    serde_json::from_str::<serde_json::Number>(short)
        .ok()
        .map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, data: &Value, expected: Result<&str, u32>) {
        let got = from_data(kind, data.as_object().unwrap())
            .map(|(_, content)| content)
            .map_err(|e| e.code);
        assert_eq!(got.as_deref().map_err(|c| *c), expected, "{kind} {data}");
    }

    #[test]
    fn content_is_derived_from_data() {
        check(
            "CAA",
            &json!({"flags": 0, "tag": "issue", "value": "letsencrypt.org"}),
            Ok("0 issue \"letsencrypt.org\""),
        );
        check(
            "SRV",
            &json!({"priority": 1, "weight": 2, "port": 3, "target": "SIP.example.com.", "name": "x"}),
            Ok("1 2 3 sip.example.com"),
        );
        check("HTTPS", &json!({"priority": 1, "target": "."}), Ok("1 ."));
        check(
            "SRV",
            &json!({"priority": 1, "weight": 2, "port": 3}),
            Err(9101),
        );
        check(
            "SRV",
            &json!({"priority": 1, "weight": 2, "port": 70_000, "target": "a.b"}),
            Err(1004),
        );
        check(
            "TLSA",
            &json!({"usage": "3", "selector": 1, "matching_type": 1, "certificate": "ab"}),
            Err(1004),
        );
    }

    #[test]
    fn content_read_back_gives_the_same_data() {
        let data = json!({"order": 100, "preference": 10, "flags": "S", "service": "SIP+D2U", "regex": "", "replacement": "."});
        let words: Vec<String> = "100 10 \"S\" \"SIP+D2U\" \"\" ."
            .split(' ')
            .map(str::to_owned)
            .collect();
        assert_eq!(from_words("NAPTR", &words).as_ref(), data.as_object());
    }
}
