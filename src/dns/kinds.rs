//! Record types: which have what, and the structured `data` of those that are described by it.
//!
//! The members are those of the API's schema; their order is that of presentation format (RFC 1035
//! §5.1 and the RFC of each type).

use crate::model::json::{Json, parse};
use crate::model::sort_by;

use super::text::{host, push_absolute, push_quoted, unquoted, words};

/// The members of an object, in order.
pub(super) type Members = Vec<(String, Json)>;

/// Whether a record of this type can be proxied.
pub(super) fn is_proxiable(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA" | "CNAME")
}

/// Whether `priority` says nothing beside the rest; the API may list it all the same.
pub(super) fn ignores_priority(kind: &str) -> bool {
    let is_known = is_plain(kind) || !fields(kind).is_empty();
    is_known && !matches!(kind, "MX" | "URI")
}

/// Whether the content of this type is one host name.
pub(super) fn has_host(kind: &str) -> bool {
    matches!(kind, "CNAME" | "MX" | "NS" | "PTR")
}

/// Whether records of this type are described by `content` alone, so that `data` beside it is only
/// another view of it.
#[must_use]
pub fn is_plain(kind: &str) -> bool {
    has_host(kind) || matches!(kind, "A" | "AAAA" | "OPENPGPKEY" | "TXT")
}

/// What one member of `data` is, and so how it is compared and written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A number.
    Number,
    /// A length in metres.
    Metres,
    /// A word as it is.
    Word,
    /// A word without letter case.
    Keyword,
    /// A host name.
    Host,
    /// A text that is quoted in presentation format.
    Quoted,
    /// Hexadecimal digits; takes all further words.
    Hex,
    /// Base64; takes all further words.
    Base64,
    /// Service parameters (RFC 9460 §2.1); takes all further words, may be none.
    Params,
}

type Fields = &'static [(&'static str, Shape)];

use Shape::{Base64, Hex, Host, Keyword, Metres, Number, Params, Quoted, Word};

const CERTIFICATE: Fields = &[
    ("usage", Number),
    ("selector", Number),
    ("matching_type", Number),
    ("certificate", Hex),
];

const SERVICE_BINDING: Fields = &[("priority", Number), ("target", Host), ("value", Params)];

fn fields(kind: &str) -> Fields {
    match kind {
        "CAA" => &[("flags", Number), ("tag", Keyword), ("value", Quoted)],
        "CERT" => &[
            ("type", Number),
            ("key_tag", Number),
            ("algorithm", Number),
            ("certificate", Base64),
        ],
        "DNSKEY" => &[
            ("flags", Number),
            ("protocol", Number),
            ("algorithm", Number),
            ("public_key", Base64),
        ],
        "DS" => &[
            ("key_tag", Number),
            ("algorithm", Number),
            ("digest_type", Number),
            ("digest", Hex),
        ],
        "HTTPS" | "SVCB" => SERVICE_BINDING,
        "LOC" => &[
            ("lat_degrees", Number),
            ("lat_minutes", Number),
            ("lat_seconds", Number),
            ("lat_direction", Word),
            ("long_degrees", Number),
            ("long_minutes", Number),
            ("long_seconds", Number),
            ("long_direction", Word),
            ("altitude", Metres),
            ("size", Metres),
            ("precision_horz", Metres),
            ("precision_vert", Metres),
        ],
        "NAPTR" => &[
            ("order", Number),
            ("preference", Number),
            ("flags", Quoted),
            ("service", Quoted),
            ("regex", Quoted),
            ("replacement", Host),
        ],
        "SMIMEA" | "TLSA" => CERTIFICATE,
        "SRV" => &[
            ("priority", Number),
            ("weight", Number),
            ("port", Number),
            ("target", Host),
        ],
        "SSHFP" => &[
            ("algorithm", Number),
            ("type", Number),
            ("fingerprint", Hex),
        ],
        "URI" => &[("weight", Number), ("target", Quoted)],
        _ => &[],
    }
}

/// Brings `data` to one spelling, members ordered by key. `null` is as good as absent.
///
/// SRV once listed `service`, `proto` and `name`, which only repeat the record's name.
pub(super) fn normalize_data(kind: &str, members: Members) -> Json {
    let fields = fields(kind);
    let mut kept: Members = members
        .into_iter()
        .filter(|(key, value)| {
            let is_name = kind == "SRV" && matches!(key.as_str(), "service" | "proto" | "name");
            !value.is_null() && !is_name
        })
        .map(|(key, value)| {
            let shape = fields.iter().find(|(name, _)| *name == key);
            let value = match shape {
                Some((_, shape)) => shape.normalize(value),
                None => value,
            };
            (key, value)
        })
        .collect();
    for (name, shape) in fields {
        if *shape == Params && !kept.iter().any(|(key, _)| key == name) {
            kept.push(((*name).to_owned(), Json::String(String::new())));
        }
    }
    ordered(Json::Object(kept))
}

impl Shape {
    fn normalize(self, value: Json) -> Json {
        let text = match (self, value) {
            // The schema lets numbers come as texts.
            (Number | Metres, Json::String(text)) => {
                return number(&text).map_or(Json::String(text), Json::Number);
            }
            (_, Json::String(text)) => text,
            (_, other) => return other,
        };
        Json::String(match self {
            Host => host(&text),
            Keyword => text.to_ascii_lowercase(),
            Hex => without_space(&text).to_ascii_lowercase(),
            Base64 => without_space(&text),
            Params => params(&text),
            Word | Quoted | Number | Metres => text,
        })
    }

    /// Appends the member's words in presentation format. `None` when the value is of no such kind.
    fn write(self, value: &Json, is_absolute: bool, out: &mut String) -> Option<()> {
        match (self, value) {
            (Number, Json::Number(text)) => out.push_str(text),
            (Metres, Json::Number(text)) => {
                out.push_str(text);
                out.push('m');
            }
            (Host, Json::String(text)) if is_absolute => push_absolute(out, text),
            (Quoted, Json::String(text)) => push_quoted(out, text.as_bytes()),
            (Word | Keyword | Host | Hex | Base64 | Params, Json::String(text)) => {
                // A line break would start another record.
                out.extend(text.chars().filter(|c| !c.is_control()));
            }
            _ => return None,
        }
        Some(())
    }

    /// Reads the member from the words that are left.
    fn read<'t>(self, words: &mut impl Iterator<Item = &'t str>) -> Option<Json> {
        Some(match self {
            Number => Json::Number(number(words.next()?)?),
            Metres => Json::Number(number(
                words.next().unwrap_or("0").trim_end_matches(['m', 'M']),
            )?),
            Quoted => Json::String(unquoted(words.next()?)?),
            Word | Keyword | Host => Json::String(words.next()?.to_owned()),
            Hex | Base64 => Json::String(words.collect()),
            Params => Json::String(words.collect::<Vec<_>>().join(" ")),
        })
    }
}

/// The text of a number as JSON has them, if the word is one. `007` is 7.
fn number(word: &str) -> Option<String> {
    let digits = word.trim_start_matches('0');
    let word = if digits.starts_with(|c: char| c.is_ascii_digit()) {
        digits
    } else if digits.is_empty() && !word.is_empty() {
        "0"
    } else {
        word
    };
    match parse(word.as_bytes()) {
        Ok(Json::Number(text)) => Some(shortest(&text).to_owned()),
        _ => None,
    }
}

/// A number without zeros at the end of its fraction.
pub(super) fn shortest(number: &str) -> &str {
    if number.contains('.') && !number.contains(['e', 'E']) {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

fn without_space(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Service parameters with every value quoted, as Cloudflare lists them.
fn params(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for word in words(text) {
        if !out.is_empty() {
            out.push(' ');
        }
        match word.split_once('=') {
            Some((key, value)) if !value.starts_with('"') => {
                out.push_str(key);
                out.push_str("=\"");
                out.push_str(value);
                out.push('"');
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// The value with the members of all objects ordered by key, and numbers without needless zeros.
pub(super) fn ordered(value: Json) -> Json {
    match value {
        Json::Object(members) => {
            let mut members: Members = members
                .into_iter()
                .map(|(key, value)| (key, ordered(value)))
                .collect();
            sort_by(&mut members, |a, b| a.0.cmp(&b.0));
            Json::Object(members)
        }
        Json::Array(items) => Json::Array(items.into_iter().map(ordered).collect()),
        Json::Number(text) => Json::Number(shortest(&text).to_owned()),
        other => other,
    }
}

/// The content that stands for `data`: its members in presentation format, host names without
/// their final dot unless `is_absolute`. `None` for a type or a form of `data` unknown here.
///
/// Cloudflare's own content leaves some members away (the priority of SRV) and differs in
/// spelling, so it is not compared.
pub(super) fn content_of(
    kind: &str,
    priority: Option<u16>,
    data: &Json,
    is_absolute: bool,
) -> Option<String> {
    let fields = fields(kind);
    if fields.is_empty() {
        return None;
    }
    let mut out = String::new();
    if kind == "URI" {
        out.push_str(&priority?.to_string());
    }
    for (name, shape) in fields {
        let value = match data.get(name) {
            Some(value) => value,
            // Without them LOC means zero (the API's default).
            None if *shape == Metres => &Json::Number("0".to_owned()),
            None => return None,
        };
        if !out.is_empty() {
            out.push(' ');
        }
        shape.write(value, is_absolute, &mut out)?;
    }
    // Parameters may be none.
    out.truncate(out.trim_end().len());
    Some(out)
}

/// Reads `data` from content in presentation format. For URI the priority comes first and is given
/// apart. `None` when the type has no `data`, or the content is not of its form.
pub(super) fn data_of(kind: &str, content: &str) -> Option<(Option<u16>, Members)> {
    let fields = fields(kind);
    if fields.is_empty() {
        return None;
    }
    let words = words(content);
    let mut words = words.into_iter();
    let priority = match kind {
        "URI" => Some(words.next()?.parse().ok()?),
        _ => None,
    };
    let mut members = Vec::with_capacity(fields.len());
    for (name, shape) in fields {
        members.push(((*name).to_owned(), shape.read(&mut words)?));
    }
    words.next().is_none().then_some((priority, members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, data: &str, normalized: &str, content: &str) {
        let Ok(Json::Object(members)) = parse(data.as_bytes()) else {
            panic!("{data}");
        };
        let data = normalize_data(kind, members);
        assert_eq!(data.write(), normalized, "{kind}");
        let priority = (!ignores_priority(kind)).then_some(10);
        let found = content_of(kind, priority, &data, false).unwrap();
        assert_eq!(found, content, "{kind}");
        let (read, members) = data_of(kind, content).unwrap();
        assert_eq!(read, priority, "{kind}");
        assert_eq!(normalize_data(kind, members), data, "{kind} read back");
    }

    #[test]
    fn data_has_one_spelling_and_one_content() {
        check(
            "CAA",
            r#"{"value":"a\"b","tag":"Issue","flags":"0"}"#,
            r#"{"flags":0,"tag":"issue","value":"a\"b"}"#,
            r#"0 issue "a\"b""#,
        );
        check(
            "SRV",
            r#"{"service":"_sip","proto":"_tcp","name":"x","priority":10.0,"weight":5,"port":5060,"target":"SIP.example.com."}"#,
            r#"{"port":5060,"priority":10,"target":"sip.example.com","weight":5}"#,
            "10 5 5060 sip.example.com",
        );
        check(
            "HTTPS",
            r#"{"priority":1,"target":".","value":"alpn=h3,h2  no-default-alpn ipv4hint=\"192.0.2.1\""}"#,
            r#"{"priority":1,"target":".","value":"alpn=\"h3,h2\" no-default-alpn ipv4hint=\"192.0.2.1\""}"#,
            r#"1 . alpn="h3,h2" no-default-alpn ipv4hint="192.0.2.1""#,
        );
        check(
            "SVCB",
            r#"{"priority":0,"target":"a.example"}"#,
            r#"{"priority":0,"target":"a.example","value":""}"#,
            "0 a.example",
        );
        check(
            "DS",
            r#"{"key_tag":1,"algorithm":13,"digest_type":2,"digest":"AB CD","unknown":null}"#,
            r#"{"algorithm":13,"digest":"abcd","digest_type":2,"key_tag":1}"#,
            "1 13 2 abcd",
        );
        check(
            "LOC",
            r#"{"lat_degrees":51,"lat_minutes":30,"lat_seconds":12.740,"lat_direction":"N","long_degrees":0,"long_minutes":7,"long_seconds":0.5,"long_direction":"W","altitude":-1.50,"size":0,"precision_horz":0,"precision_vert":0}"#,
            r#"{"altitude":-1.5,"lat_degrees":51,"lat_direction":"N","lat_minutes":30,"lat_seconds":12.74,"long_degrees":0,"long_direction":"W","long_minutes":7,"long_seconds":0.5,"precision_horz":0,"precision_vert":0,"size":0}"#,
            "51 30 12.74 N 0 7 0.5 W -1.5m 0m 0m 0m",
        );
        check(
            "NAPTR",
            r#"{"order":100,"preference":10,"flags":"U","service":"E2U+sip","regex":"!^.*$!sip:\\1@example.com!","replacement":"."}"#,
            r#"{"flags":"U","order":100,"preference":10,"regex":"!^.*$!sip:\\1@example.com!","replacement":".","service":"E2U+sip"}"#,
            r#"100 10 "U" "E2U+sip" "!^.*$!sip:\\1@example.com!" ."#,
        );
        check(
            "URI",
            r#"{"weight":1,"target":"https://Example.com/A"}"#,
            r#"{"target":"https://Example.com/A","weight":1}"#,
            r#"10 1 "https://Example.com/A""#,
        );
    }

    #[test]
    fn what_the_table_does_not_know_is_kept_but_not_written() {
        let data = normalize_data(
            "NEW",
            vec![
                ("b".to_owned(), Json::Null),
                ("a".to_owned(), Json::Bool(true)),
            ],
        );
        assert_eq!(data.write(), r#"{"a":true}"#);
        assert_eq!(content_of("NEW", None, &data, false), None);
        assert_eq!(data_of("A", "192.0.2.1"), None);
        assert_eq!(data_of("SRV", "10 5060 sip.example.com"), None);
        assert_eq!(data_of("SRV", "1 2 3 a.example extra"), None);
    }
}
