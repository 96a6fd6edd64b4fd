//! The strict reader behind [`parse`]: RFC 8259 without what readers disagree about.
//!
//! Recursion is bounded by [`Limits::max_depth`], so no input exhausts the stack; every other cost
//! grows with the input's length times, at most, its logarithm.

use std::collections::BTreeSet;

use super::{Json, JsonError, JsonErrorKind, Limits};

/// 2^53: the last integer up to which a double holds every one exactly.
const MAX_INTEGER: u64 = 1 << 53;

/// Objects up to this many members are searched for a duplicate key one by one.
const FEW_MEMBERS: usize = 16;

/// What a reader makes of a document. `at` is the byte offset at which a value or key starts.
pub trait Build: Sized {
    /// One member of an object.
    type Member;
    /// `null`
    fn null(at: usize) -> Self;
    /// `true` or `false`
    fn bool(value: bool, at: usize) -> Self;
    /// A number, as its text.
    fn number(text: &str, at: usize) -> Self;
    /// A text, unescaped.
    fn string(text: String, at: usize) -> Self;
    /// A list.
    fn array(items: Vec<Self>, at: usize) -> Self;
    /// One member of an object; `at` is where its key starts.
    fn member(key: String, at: usize, value: Self) -> Self::Member;
    /// The key of a member.
    fn key(member: &Self::Member) -> &str;
    /// An object. No two members have the same key.
    fn object(members: Vec<Self::Member>, at: usize) -> Self;
}

impl Build for Json {
    type Member = (String, Json);

    fn null(_: usize) -> Self {
        Self::Null
    }
    fn bool(value: bool, _: usize) -> Self {
        Self::Bool(value)
    }
    fn number(text: &str, _: usize) -> Self {
        Self::Number(text.to_owned())
    }
    fn string(text: String, _: usize) -> Self {
        Self::String(text)
    }
    fn array(items: Vec<Self>, _: usize) -> Self {
        Self::Array(items)
    }
    fn member(key: String, _: usize, value: Self) -> Self::Member {
        (key, value)
    }
    fn key(member: &Self::Member) -> &str {
        &member.0
    }
    fn object(members: Vec<Self::Member>, _: usize) -> Self {
        Self::Object(members)
    }
}

/// Reads one JSON value that fills `bytes`, within the usual [`Limits`].
///
/// # Errors
/// The first thing found that is not JSON, exceeds a limit, or could mean two things to two
/// readers.
pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
    parse_as(bytes, Limits::default())
}

/// Like [`parse`], for any form of the result and any limits.
///
/// # Errors
/// As [`parse`].
pub fn parse_as<T: Build>(bytes: &[u8], limits: Limits) -> Result<T, JsonError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            return Err(located(bytes, error.valid_up_to(), JsonErrorKind::NotUtf8));
        }
    };
    let mut parser = Parser {
        text,
        at: 0,
        limits,
    };
    parser
        .document()
        .map_err(|failure| located(bytes, failure.at, failure.kind))
}

/// Turns a byte offset into line and column; bytes that are not UTF-8 only follow it.
fn located(bytes: &[u8], at: usize, kind: JsonErrorKind) -> JsonError {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = before.split(|byte| *byte == b'\n').count();
    let chars = before
        .iter()
        .skip(line_start)
        .filter(|byte| **byte & 0xc0 != 0x80)
        .count();
    JsonError {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(chars + 1).unwrap_or(u32::MAX),
        kind,
    }
}

struct Failure {
    at: usize,
    kind: JsonErrorKind,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    limits: Limits,
}

impl<'t> Parser<'t> {
    fn document<T: Build>(&mut self) -> Result<T, Failure> {
        if self.text.starts_with('\u{feff}') {
            return Err(self.failure(JsonErrorKind::ByteOrderMark));
        }
        let value = self.value(0)?;
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.failure(JsonErrorKind::TrailingBytes));
        }
        Ok(value)
    }

    fn value<T: Build>(&mut self, depth: usize) -> Result<T, Failure> {
        self.skip_space();
        let at = self.at;
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(T::string(self.string()?, at)),
            Some(b'-' | b'0'..=b'9') => Ok(T::number(self.number()?, at)),
            Some(b't') => self.word("true").map(|()| T::bool(true, at)),
            Some(b'f') => self.word("false").map(|()| T::bool(false, at)),
            Some(b'n') => self.word("null").map(|()| T::null(at)),
            Some(_) => Err(self.syntax("a value must stand here")),
            None => Err(self.syntax("the text ends where a value must stand")),
        }
    }

    fn array<T: Build>(&mut self, depth: usize) -> Result<T, Failure> {
        let at = self.enter(depth)?;
        let mut items = Vec::new();
        self.skip_space();
        if self.eat(b']') {
            return Ok(T::array(items, at));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            if self.eat(b']') {
                return Ok(T::array(items, at));
            }
            if !self.eat(b',') {
                return Err(self.syntax("`,` or `]` must follow an item of an array"));
            }
        }
    }

    fn object<T: Build>(&mut self, depth: usize) -> Result<T, Failure> {
        let at = self.enter(depth)?;
        let mut members: Vec<T::Member> = Vec::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        self.skip_space();
        if self.eat(b'}') {
            return Ok(T::object(members, at));
        }
        loop {
            self.skip_space();
            let key_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a key in double quotes must stand here"));
            }
            let key = self.string()?;
            if key.len() > self.limits.max_key_len {
                return Err(Failure {
                    at: key_at,
                    kind: JsonErrorKind::KeyTooLong,
                });
            }
            if members.len() == FEW_MEMBERS {
                known.extend(members.iter().map(|member| T::key(member).to_owned()));
            }
            let duplicate = if members.len() < FEW_MEMBERS {
                members.iter().any(|member| T::key(member) == key)
            } else {
                !known.insert(key.clone())
            };
            if duplicate {
                return Err(Failure {
                    at: key_at,
                    kind: JsonErrorKind::DuplicateKey(key),
                });
            }
            self.skip_space();
            if !self.eat(b':') {
                return Err(self.syntax("`:` must follow a key"));
            }
            let value = self.value(depth)?;
            members.push(T::member(key, key_at, value));
            self.skip_space();
            if self.eat(b'}') {
                return Ok(T::object(members, at));
            }
            if !self.eat(b',') {
                return Err(self.syntax("`,` or `}` must follow a member of an object"));
            }
        }
    }

    /// Steps over an opening bracket, unless `depth` is too deep for it.
    fn enter(&mut self, depth: usize) -> Result<usize, Failure> {
        if depth > self.limits.max_depth {
            return Err(self.failure(JsonErrorKind::TooDeep));
        }
        let at = self.at;
        self.at += 1;
        Ok(at)
    }

    fn string(&mut self) -> Result<String, Failure> {
        self.at += 1;
        let mut unescaped = String::new();
        loop {
            let rest = self.rest().as_bytes();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .unwrap_or(rest.len());
            let run = self.text.get(self.at..self.at + plain).unwrap_or_default();
            unescaped.push_str(run);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(unescaped);
                }
                Some(b'\\') => unescaped.push(self.escape()?),
                Some(_) => {
                    return Err(self.syntax("a control character in a string must be escaped"));
                }
                None => return Err(self.syntax("a string is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Failure> {
        let start = self.at;
        self.at += 1;
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(start),
            _ => return Err(self.syntax("this escape does not exist")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Reads `uXXXX`, and the second escape of a surrogate pair if the first asks for one.
    fn unicode_escape(&mut self, start: usize) -> Result<char, Failure> {
        let lone = Failure {
            at: start,
            kind: JsonErrorKind::LoneSurrogate,
        };
        let first = self.hex_unit()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.rest().starts_with("\\u") {
                    return Err(lone);
                }
                self.at += 1;
                match self.hex_unit()? {
                    second @ 0xdc00..=0xdfff => {
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => return Err(lone),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(lone)
    }

    fn hex_unit(&mut self) -> Result<u32, Failure> {
        self.at += 1;
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let Some(unit) = unit else {
            return Err(self.syntax("four hexadecimal digits must follow `\\u`"));
        };
        self.at += 4;
        Ok(unit)
    }

    /// `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?`, if every reader keeps its value.
    fn number(&mut self) -> Result<&'t str, Failure> {
        let start = self.at;
        let negative = self.eat(b'-');
        let digits_at = self.at;
        if self.eat(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.syntax("a number must not start with a needless 0"));
            }
        } else {
            self.digits()?;
        }
        let digits = self.text.get(digits_at..self.at).unwrap_or_default();
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.digits()?;
        }
        let significand = self.text.get(digits_at..self.at).unwrap_or_default();
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();

        let refuse = |sentence| {
            Err(Failure {
                at: start,
                kind: JsonErrorKind::Number(sentence),
            })
        };
        if text.len() > self.limits.max_number_len {
            return refuse("a number has too many digits");
        }
        let zero = significand.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        if zero {
            return if negative {
                refuse("a zero must have no sign")
            } else {
                Ok(text)
            };
        }
        if whole {
            return match digits.parse::<u64>() {
                Ok(value) if value <= MAX_INTEGER => Ok(text),
                _ => refuse("a whole number is beyond 9007199254740992"),
            };
        }
        match super::to_f64(text) {
            Some(value) if value.is_finite() && value != 0.0 => Ok(text),
            _ => refuse("a number is out of range"),
        }
    }

    fn digits(&mut self) -> Result<(), Failure> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return Err(self.syntax("a number lacks a digit here"));
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), Failure> {
        if !self.rest().starts_with(word) {
            return Err(self.syntax("a value must stand here"));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_space(&mut self) {
        self.at += self
            .rest()
            .bytes()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
            .count();
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn failure(&self, kind: JsonErrorKind) -> Failure {
        Failure { at: self.at, kind }
    }

    fn syntax(&self, sentence: &'static str) -> Failure {
        self.failure(JsonErrorKind::Syntax(sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: &str) {
        let error = parse(bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            expected,
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }

    /// `"k0":0,"k1":0,…`
    fn members(count: usize) -> String {
        (0..count).fold(String::new(), |text, n| text + &format!("\"k{n}\":0,"))
    }

    #[test]
    fn a_key_may_occur_once_in_an_object_however_it_is_spelled() {
        check(
            br#"{"name":1,"n\u0061me":2}"#,
            r#"line 1, column 11: the key "name" occurs twice in one object"#,
        );
        check(
            b"[{},\n {\"a\": {\"b\": [{\"c\": 1,\n\"c\": 2}]}}]",
            r#"line 3, column 1: the key "c" occurs twice in one object"#,
        );
        let mut many = members(100);
        assert!(parse(format!("{{{many}\"x\":{{\"k3\":0}}}}").as_bytes()).is_ok());
        many.push_str("\"k3\":0");
        assert_eq!(
            parse(format!("{{{many}}}").as_bytes()).unwrap_err().kind,
            JsonErrorKind::DuplicateKey("k3".to_owned())
        );
        for count in [15, 16, 17] {
            let members = members(count);
            let text = format!("{{{members}\"k{}\":0}}", count - 1);
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_that_some_reader_would_change_are_refused() {
        let out_of_range = "line 1, column 1: a number is out of range";
        check(b"1e400", out_of_range);
        check(b"-1e400", out_of_range);
        check(b"1e-400", out_of_range);
        check(b"-0", "line 1, column 1: a zero must have no sign");
        check(b"[-0.0e1]", "line 1, column 2: a zero must have no sign");
        let beyond = "line 1, column 1: a whole number is beyond 9007199254740992";
        check(b"9007199254740993", beyond);
        check(b"-9007199254740993", beyond);
        check(b"18446744073709551617", beyond);
        check(
            &vec![b'9'; 65_536],
            "line 1, column 1: a number has too many digits",
        );
        let mut long = b"0.".to_vec();
        long.resize(65_536, b'1');
        check(&long, "line 1, column 1: a number has too many digits");
        for good in ["0", "9007199254740992", "-9007199254740992", "1.50", "1E+2"] {
            assert_eq!(parse(good.as_bytes()), Ok(Json::Number(good.to_owned())));
        }
    }

    #[test]
    fn depth_is_capped_at_32_whatever_follows() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(32)).is_ok());
        let too_deep = "line 1, column 33: arrays and objects are nested too deep";
        check(&nested(33), too_deep);
        check(&nested(129), too_deep);
        check(&vec![b'['; 1 << 20], too_deep);
        check(
            &br#"{"a":"#.repeat(200_000),
            "line 1, column 161: arrays and objects are nested too deep",
        );
    }

    #[test]
    fn what_is_not_exactly_one_value_in_utf8_is_refused() {
        check(
            b"",
            "line 1, column 1: the text ends where a value must stand",
        );
        check(
            b"\xef\xbb\xbf{}",
            "line 1, column 1: the text starts with a byte order mark",
        );
        check(
            b"{}\n x",
            "line 2, column 2: something follows the end of the value",
        );
        check(
            b"{}{}",
            "line 1, column 3: something follows the end of the value",
        );
        check(
            b"1\0",
            "line 1, column 2: something follows the end of the value",
        );
        check(
            "[\"é\", \"\u{e9}".as_bytes(),
            "line 1, column 9: a string is not closed",
        );
        check(
            b"[\"\xc3\xa9\xff\"]",
            "line 1, column 4: the text is not UTF-8",
        );
        check(
            b"\"\xed\xa0\x80\"",
            "line 1, column 2: the text is not UTF-8",
        );
        check(b"\"\xc0\xaf\"", "line 1, column 2: the text is not UTF-8");
    }

    #[test]
    fn what_only_lenient_readers_take_is_refused() {
        let value = "a value must stand here";
        check(b"NaN", &format!("line 1, column 1: {value}"));
        check(b"Infinity", &format!("line 1, column 1: {value}"));
        check(b"nul", &format!("line 1, column 1: {value}"));
        check(b"+1", &format!("line 1, column 1: {value}"));
        check(b".5", &format!("line 1, column 1: {value}"));
        check(b"'a'", &format!("line 1, column 1: {value}"));
        check(b"[1,]", &format!("line 1, column 4: {value}"));
        check(b"/**/1", &format!("line 1, column 1: {value}"));
        check(b"\xc2\xa01", &format!("line 1, column 1: {value}"));
        check(
            b"-Infinity",
            "line 1, column 2: a number lacks a digit here",
        );
        check(b"1.", "line 1, column 3: a number lacks a digit here");
        check(b"1e", "line 1, column 3: a number lacks a digit here");
        check(
            b"01",
            "line 1, column 2: a number must not start with a needless 0",
        );
        check(
            b"0x10",
            "line 1, column 2: something follows the end of the value",
        );
        check(
            br#"{"a":1,}"#,
            "line 1, column 8: a key in double quotes must stand here",
        );
        check(
            b"{a:1}",
            "line 1, column 2: a key in double quotes must stand here",
        );
        check(br#"{"a" 1}"#, "line 1, column 6: `:` must follow a key");
        check(
            br#"{"a":1 "b":2}"#,
            "line 1, column 8: `,` or `}` must follow a member of an object",
        );
        check(
            b"[1 2]",
            "line 1, column 4: `,` or `]` must follow an item of an array",
        );
    }

    #[test]
    fn strings_are_unescaped_once_and_only_if_whole() {
        assert_eq!(
            parse(br#""\u00e9\ud83d\ude00\\u0041\/\b\f\n\r\t\"\u0000""#),
            Ok(Json::String("é😀\\u0041/\u{8}\u{c}\n\r\t\"\0".to_owned()))
        );
        let lone = "line 1, column 2: an escape names half of a surrogate pair";
        check(br#""\ud83d""#, lone);
        check(br#""\ude00\ud83d""#, lone);
        check(br#""\ud83d\u0041""#, lone);
        check(br#""\ud83d\n""#, lone);
        check(br#""\x""#, "line 1, column 3: this escape does not exist");
        check(
            br#""\u12""#,
            "line 1, column 4: four hexadecimal digits must follow `\\u`",
        );
        check(
            br#""\u+123""#,
            "line 1, column 4: four hexadecimal digits must follow `\\u`",
        );
        check(
            b"\"a\nb\"",
            "line 1, column 3: a control character in a string must be escaped",
        );
    }

    #[test]
    fn a_key_has_at_most_1024_bytes() {
        let with_key = |len: usize| format!("{{\"{}\":1}}", "k".repeat(len));
        assert!(parse(with_key(1024).as_bytes()).is_ok());
        check(
            with_key(1 << 20).as_bytes(),
            "line 1, column 2: a key is too long",
        );
    }
}
