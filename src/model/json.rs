//! JSON as judged: a tree that can only be built from text with one meaning.
//!
//! Whoever reads a body after this crate did must see what this crate saw. So the parser refuses
//! everything two parsers may read differently (a key twice, a number beyond what a double holds
//! exactly, half of a surrogate pair), numbers keep the text they came as, and
//! [`Json::write`] produces the text that is passed on.

mod parse;

use std::fmt::{self, Write as _};

use serde_json::Value;

pub use parse::{Build, parse, parse_as};

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as the text it came as.
    Number(String),
    /// A text, unescaped.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// Members in the order they came; no key occurs twice.
    Object(Vec<(String, Json)>),
}

/// What a document may demand of its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and objects may contain one another.
    pub max_depth: usize,
    /// How many bytes a number may have.
    pub max_number_len: usize,
    /// How many bytes a key may have, once unescaped.
    pub max_key_len: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 32,
            max_number_len: 32,
            max_key_len: 1024,
        }
    }
}

/// Why a text is not accepted as JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct JsonError {
    /// The line, from 1.
    pub line: u32,
    /// The character in that line, from 1.
    pub column: u32,
    /// What is wrong there.
    pub kind: JsonErrorKind,
}

/// What is wrong with a text that is not accepted as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// Some bytes are not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// The text starts with U+FEFF.
    #[error("the text starts with a byte order mark")]
    ByteOrderMark,
    /// One object has a key more than once, after unescaping.
    #[error("the key {} occurs twice in one object", Quoted(.0))]
    DuplicateKey(String),
    /// More arrays and objects contain one another than [`Limits::max_depth`].
    #[error("arrays and objects are nested too deep")]
    TooDeep,
    /// A key is longer than [`Limits::max_key_len`].
    #[error("a key is too long")]
    KeyTooLong,
    /// A number that is well formed but that some readers would change.
    #[error("{0}")]
    Number(&'static str),
    /// An escape names half of a surrogate pair.
    #[error("an escape names half of a surrogate pair")]
    LoneSurrogate,
    /// Something follows the value.
    #[error("something follows the end of the value")]
    TrailingBytes,
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(&'static str),
}

/// Shows a text as a JSON string of at most 64 characters.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS: usize = 64;
        let mut text = String::new();
        if self.0.chars().nth(SHOWN_CHARS).is_some() {
            write_string(
                &mut text,
                &(self.0.chars().take(SHOWN_CHARS).collect::<String>() + "…"),
            );
        } else {
            write_string(&mut text, self.0);
        }
        f.write_str(&text)
    }
}

impl Json {
    /// The member of that name, if this is an object that has one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth value, if this is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number as its text, if this is one.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        match self {
            Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The number, rounded as every double is, if this is one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        to_f64(self.as_number()?)
    }

    /// The number, if this is one written without fraction and exponent.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.parse().ok()
    }

    /// The number, if this is one from 0 written without fraction and exponent.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.parse().ok()
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The compact text of this value: no white space, members in their order, numbers as they
    /// came.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(out, text),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_to(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, key);
                    out.push(':');
                    value.write_to(out);
                }
                out.push('}');
            }
        }
    }
}

/// Appends `text` in quotes; escapes quotes, backslashes and control characters only.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(text) => number(&text),
            Json::String(text) => Self::String(text),
            Json::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Json::Object(members) => {
                let mut object = serde_json::Map::new();
                for (key, value) in members {
                    object.insert(key, Self::from(value));
                }
                Self::Object(object)
            }
        }
    }
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        Self::from(json.clone())
    }
}

/// The number a text stands for; the parser let only finite ones through.
fn number(text: &str) -> Value {
    if let Ok(number) = text.parse::<u64>() {
        return Value::from(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::from(number);
    }
    to_f64(text).map_or(Value::Null, Value::from)
}

/// Reads an answer of somebody else's API, which need not be as strict as what is judged; `None` where it
/// is no JSON.
#[must_use]
pub fn of_others(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str(text).ok()
}

/// The double that a number of JSON stands for. The reader is `serde_json`'s, which is there anyway: the
/// standard library's would bring tables of its own into the Worker.
pub(crate) fn to_f64(text: &str) -> Option<f64> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small deterministic generator: xorshift64*.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            usize::try_from(drawn).unwrap() % bound
        }

        fn text(&mut self) -> String {
            const ALPHABET: [char; 16] = [
                'a', 'B', '0', '"', '\\', '/', '\n', '\0', '\u{1f}', '\u{7f}', 'é', '\u{2028}',
                '😀', '\u{ffff}', '\u{feff}', ' ',
            ];
            (0..self.below(6))
                .map(|_| ALPHABET[self.below(ALPHABET.len())])
                .collect()
        }

        fn number(&mut self) -> String {
            const NUMBERS: [&str; 12] = [
                "0",
                "7",
                "-1",
                "9007199254740992",
                "-9007199254740992",
                "0.5",
                "-0.25",
                "1e3",
                "1E-3",
                "2.5e+10",
                "0.0",
                "0e7",
            ];
            NUMBERS[self.below(NUMBERS.len())].to_owned()
        }

        fn json(&mut self, depth: usize) -> Json {
            match self.below(if depth == 0 { 4 } else { 6 }) {
                0 => Json::Null,
                1 => Json::Bool(self.below(2) == 0),
                2 => Json::Number(self.number()),
                3 => Json::String(self.text()),
                4 => Json::Array((0..self.below(5)).map(|_| self.json(depth - 1)).collect()),
                _ => {
                    let mut members: Vec<(String, Json)> = Vec::new();
                    for _ in 0..self.below(25) {
                        let key = self.text();
                        if members.iter().all(|(known, _)| *known != key) {
                            members.push((key, self.json(depth - 1)));
                        }
                    }
                    Json::Object(members)
                }
            }
        }

        /// Writes `json` with white space and needless escapes strewn in.
        fn spell(&mut self, json: &Json, out: &mut String) {
            self.space(out);
            match json {
                Json::String(text) => self.spell_string(text, out),
                Json::Array(items) => {
                    out.push('[');
                    self.space(out);
                    for (index, item) in items.iter().enumerate() {
                        out.push_str(if index > 0 { "," } else { "" });
                        self.spell(item, out);
                    }
                    out.push(']');
                }
                Json::Object(members) => {
                    out.push('{');
                    self.space(out);
                    for (index, (key, value)) in members.iter().enumerate() {
                        out.push_str(if index > 0 { "," } else { "" });
                        self.space(out);
                        self.spell_string(key, out);
                        self.space(out);
                        out.push(':');
                        self.spell(value, out);
                    }
                    out.push('}');
                }
                scalar => out.push_str(&scalar.write()),
            }
            self.space(out);
        }

        fn spell_string(&mut self, text: &str, out: &mut String) {
            out.push('"');
            for char in text.chars() {
                if self.below(3) == 0 || u32::from(char) < 0x20 || char == '"' || char == '\\' {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        if self.below(2) == 0 {
                            write!(out, "\\u{unit:04x}").unwrap();
                        } else {
                            write!(out, "\\u{unit:04X}").unwrap();
                        }
                    }
                } else {
                    out.push(char);
                }
            }
            out.push('"');
        }

        fn space(&mut self, out: &mut String) {
            out.push_str(["", "", " ", "\t", "\r\n"][self.below(5)]);
        }
    }

    /// Equal, but for the last digits of a double: `serde_json` does not round exactly.
    fn same(ours: &Value, theirs: &Value) -> bool {
        match (ours, theirs) {
            (Value::Number(a), Value::Number(b)) => {
                let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                (a - b).abs() <= a.abs() * 1e-12
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
            _ => ours == theirs,
        }
    }

    #[test]
    fn what_is_written_parses_to_the_same_value() {
        let mut random = Random(0x5eed);
        for _ in 0..3_000 {
            let json = random.json(5);
            let text = json.write();
            assert_eq!(parse(text.as_bytes()).as_ref(), Ok(&json), "{text}");
            let mut spelled = String::new();
            random.spell(&json, &mut spelled);
            assert_eq!(parse(spelled.as_bytes()).as_ref(), Ok(&json), "{spelled}");
        }
    }

    #[test]
    fn serde_json_reads_the_same_value_in_every_spelling() {
        let mut random = Random(0xcafe);
        for _ in 0..3_000 {
            let json = random.json(5);
            let mut spelled = String::new();
            random.spell(&json, &mut spelled);
            let theirs: Value = serde_json::from_str(&spelled).unwrap();
            assert_eq!(
                Value::from(parse(spelled.as_bytes()).unwrap()),
                theirs,
                "{spelled}"
            );
            let rewritten: Value = serde_json::from_str(&json.write()).unwrap();
            assert_eq!(rewritten, theirs);
        }
    }

    #[test]
    fn what_is_accepted_of_damaged_text_is_also_json_elsewhere() {
        let mut random = Random(0xfeed);
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut text = String::new();
            let json = random.json(3);
            random.spell(&json, &mut text);
            let mut bytes = text.into_bytes();
            for _ in 0..=random.below(2) {
                let at = random.below(bytes.len().max(1));
                let byte = b"{}[]\",:\\u0eE-+.1tfn \xc3\xff\xed"[random.below(22)];
                match random.below(3) {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            if let Ok(ours) = parse(&bytes) {
                accepted += 1;
                let theirs: Value = serde_json::from_slice(&bytes).unwrap();
                assert!(same(&Value::from(ours), &theirs));
            }
        }
        assert!(accepted > 500, "{accepted}");
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut random = Random(1);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..random.below(40))
                .map(|_| u8::try_from(random.below(256)).unwrap())
                .collect();
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn accessors_answer_only_for_their_kind() {
        let json = parse(br#"{"a":[1,-2.5,"x",true,null],"b":{}}"#).unwrap();
        let items = json.get("a").unwrap().as_array().unwrap();
        assert_eq!(items[0].as_u64(), Some(1));
        assert_eq!(items[1].as_f64(), Some(-2.5));
        assert_eq!(items[1].as_i64(), None);
        assert_eq!(items[2].as_str(), Some("x"));
        assert_eq!(items[3].as_bool(), Some(true));
        assert!(items[4].is_null());
        assert_eq!(json.get("b").unwrap().as_object(), Some(&[][..]));
        assert_eq!(json.get("c"), None);
        assert_eq!(items[0].get("a"), None);
        assert_eq!(items[0].as_str(), None);
    }

    #[test]
    fn a_long_key_is_quoted_only_in_part() {
        let kind = JsonErrorKind::DuplicateKey("\n".repeat(80));
        assert_eq!(
            kind.to_string(),
            format!(
                "the key \"{}…\" occurs twice in one object",
                "\\n".repeat(64)
            )
        );
    }
}
