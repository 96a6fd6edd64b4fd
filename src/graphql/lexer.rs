//! GraphQL text as tokens: the October 2021 specification without what readers disagree about.
//!
//! Comments and commas are dropped here, so that what is written again from tokens has one reading.

use std::iter::Peekable;
use std::str::CharIndices;

use super::GraphqlError;
use crate::model::json::Json;

/// One token of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Mark(char),
    /// `...`
    Spread,
    /// A name or keyword.
    Name(String),
    /// A number, as its text.
    Number(String),
    /// A text, unescaped.
    Text(String),
}

/// Most tokens of a document.
const MAX_TOKENS: usize = 20_000;

/// Reads the tokens of `text`.
///
/// # Errors
/// At the first character that begins no token.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, GraphqlError> {
    let mut lexer = Lexer {
        text,
        chars: text.char_indices().peekable(),
    };
    let mut found = Vec::new();
    while let Some(token) = lexer.token()? {
        if found.len() == MAX_TOKENS {
            return Err(GraphqlError::TooLarge);
        }
        found.push(token);
    }
    Ok(found)
}

/// Writes tokens as a document, one space apart.
pub(super) fn write(tokens: &[Token], out: &mut String) {
    for token in tokens {
        if !out.is_empty() {
            out.push(' ');
        }
        match token {
            Token::Mark(mark) => out.push(*mark),
            Token::Spread => out.push_str("..."),
            Token::Name(text) | Token::Number(text) => out.push_str(text),
            // The escapes of JSON are escapes of GraphQL.
            Token::Text(text) => out.push_str(&Json::String(text.clone()).write()),
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
}

impl Lexer<'_> {
    fn error(&mut self, what: &'static str) -> GraphqlError {
        let at = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        let before = self.text.get(..at).unwrap_or_default();
        GraphqlError::Syntax(before.matches('\n').count() + 1, what)
    }

    fn next_if(&mut self, is_wanted: impl Fn(char) -> bool) -> Option<char> {
        self.chars.next_if(|(_, c)| is_wanted(*c)).map(|(_, c)| c)
    }

    /// Takes `text` if it comes next.
    fn take(&mut self, text: &str) -> bool {
        let at = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        let is_next = self
            .text
            .get(at..)
            .is_some_and(|rest| rest.starts_with(text));
        if is_next {
            text.chars().for_each(|_| {
                self.chars.next();
            });
        }
        is_next
    }

    fn token(&mut self) -> Result<Option<Token>, GraphqlError> {
        loop {
            if self
                .next_if(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | ','))
                .is_some()
            {
                continue;
            }
            if self.next_if(|c| c == '#').is_none() {
                break;
            }
            while self.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
        }
        let Some((_, first)) = self.chars.peek().copied() else {
            return Ok(None);
        };
        Ok(Some(match first {
            '!' | '$' | '&' | '(' | ')' | ':' | '=' | '@' | '[' | ']' | '{' | '|' | '}' => {
                self.chars.next();
                Token::Mark(first)
            }
            '.' if self.take("...") => Token::Spread,
            '_' | 'a'..='z' | 'A'..='Z' => {
                let mut name = String::new();
                while let Some(c) = self.next_if(|c| c == '_' || c.is_ascii_alphanumeric()) {
                    name.push(c);
                }
                Token::Name(name)
            }
            '-' | '0'..='9' => Token::Number(self.number()?),
            '"' if self.take("\"\"\"") => Token::Text(self.block()?),
            '"' => Token::Text(self.string()?),
            _ => return Err(self.error("this character does not belong in a query")),
        }))
    }

    fn number(&mut self) -> Result<String, GraphqlError> {
        let mut text = String::new();
        while let Some(c) =
            self.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.'))
        {
            text.push(c);
        }
        // The numbers of GraphQL are those of JSON.
        match crate::model::json::parse(text.as_bytes()) {
            Ok(Json::Number(_)) => Ok(text),
            _ => Err(self.error("this is not a number")),
        }
    }

    fn string(&mut self) -> Result<String, GraphqlError> {
        let start = self.chars.peek().map_or(0, |(at, _)| *at);
        self.chars.next();
        loop {
            match self.chars.next() {
                Some((end, '"')) => {
                    let literal = self.text.get(start..=end).unwrap_or_default();
                    // The texts of GraphQL are those of JSON, but for a tab, which JSON escapes.
                    let literal = literal.replace('\t', "\\t");
                    return match crate::model::json::parse(literal.as_bytes()) {
                        Ok(Json::String(text)) => Ok(text),
                        _ => Err(self.error("this text holds what cannot be read one way only")),
                    };
                }
                Some((_, '\\')) => {
                    self.chars.next();
                }
                None | Some((_, '\n' | '\r')) => return Err(self.error("a text has no end")),
                Some(_) => {}
            }
        }
    }

    /// A text between `"""`, without the indentation its lines have in common.
    fn block(&mut self) -> Result<String, GraphqlError> {
        let mut raw = String::new();
        loop {
            if self.take("\\\"\"\"") {
                raw.push_str("\"\"\"");
            } else if self.take("\"\"\"") {
                break;
            } else {
                match self.chars.next() {
                    Some((_, c)) if c >= ' ' || matches!(c, '\t' | '\n' | '\r') => raw.push(c),
                    Some(_) => return Err(self.error("a text holds a control character")),
                    None => return Err(self.error("a text has no end")),
                }
            }
        }
        let raw = raw.replace("\r\n", "\n").replace('\r', "\n");
        let is_blank = |line: &&str| line.trim_matches([' ', '\t']).is_empty();
        let indent = raw
            .split('\n')
            .skip(1)
            .filter(|line| !is_blank(line))
            .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
            .min()
            .unwrap_or(0);
        let mut lines: Vec<&str> = raw
            .split('\n')
            .enumerate()
            .map(|(index, line)| {
                if index == 0 {
                    line
                } else {
                    line.get(indent..).unwrap_or("")
                }
            })
            .collect();
        while lines.last().is_some_and(is_blank) {
            lines.pop();
        }
        let blank = lines.iter().take_while(|line| is_blank(line)).count();
        Ok(lines.get(blank..).unwrap_or_default().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> Result<String, String> {
        let tokens = tokens(text).map_err(|error| error.to_string())?;
        let mut out = String::new();
        write(&tokens, &mut out);
        assert_eq!(super::tokens(&out).unwrap(), tokens, "{out}");
        Ok(out)
    }

    #[test]
    fn what_readers_may_see_differently_is_written_one_way() {
        for (text, expected) in [
            ("{a,b}# c }\r{d}", "{ a b } { d }"),
            (
                "query($a:[String!]!=\"x\")@skip",
                "query ( $ a : [ String ! ] ! = \"x\" ) @ skip",
            ),
            ("...F ...on T", "... F ... on T"),
            ("-1.5e+3 0 12", "-1.5e+3 0 12"),
            (
                r#""a\u0041\n\"\\/\/ # no comment""#,
                r#""aA\n\"\\// # no comment""#,
            ),
            ("\"a\tb\"", "\"a\\tb\""),
            ("\"\"\" x \\\"\"\" y \"\"\"", "\" x \\\"\\\"\\\" y \""),
            (
                "\"\"\"\n    a\n      b\r\n\n    c\n  \"\"\"",
                "\"a\\n  b\\n\\nc\"",
            ),
            ("\"\"\"\"\"\"\"\"", "\"\" \"\""),
            ("\"ä😀\"", "\"ä😀\""),
            ("# ä\u{2028} still a comment", ""),
        ] {
            assert_eq!(rewritten(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_with_its_line() {
        for (text, expected) in [
            ("{\nä", "line 2: this character does not belong in a query"),
            (
                "\u{feff}{a}",
                "line 1: this character does not belong in a query",
            ),
            ("{a;b}", "line 1: this character does not belong in a query"),
            ("..", "line 1: this character does not belong in a query"),
            ("\"a", "line 1: a text has no end"),
            ("\"a\nb\"", "line 1: a text has no end"),
            ("\"\"\"a", "line 1: a text has no end"),
            ("\"a\\\"", "line 1: a text has no end"),
            (
                "\"\\x\"",
                "line 1: this text holds what cannot be read one way only",
            ),
            (
                "\"\\ud800\"",
                "line 1: this text holds what cannot be read one way only",
            ),
            (
                "\"\\u{41}\"",
                "line 1: this text holds what cannot be read one way only",
            ),
            (
                "\"\0\"",
                "line 1: this text holds what cannot be read one way only",
            ),
            ("\"\"\"\0\"\"\"", "line 1: a text holds a control character"),
            ("01", "line 1: this is not a number"),
            ("1a", "line 1: this is not a number"),
            ("1.", "line 1: this is not a number"),
            ("-", "line 1: this is not a number"),
            ("1...F", "line 1: this is not a number"),
        ] {
            let error = rewritten(text).unwrap_err();
            // A fault at the end of a line is said to be on the next one by no reader.
            assert!(
                error.ends_with(expected.split_once(": ").unwrap().1),
                "{text}: {error}"
            );
        }
        assert_eq!(
            tokens("{\n\nä").unwrap_err().to_string(),
            "line 3: this character does not belong in a query"
        );
        assert_eq!(
            tokens(&"a ".repeat(MAX_TOKENS + 1)).unwrap_err(),
            GraphqlError::TooLarge
        );
    }
}
