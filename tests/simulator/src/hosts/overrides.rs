//! The header `Cloudflare-Workers-Version-Overrides`: a dictionary of Workers' names and versions.
//!
//! The grammar is that of RFC 8941 §4.2.2. As the page "Version overrides" of Cloudflare's
//! documentation says, a value must be a String, and a header that is no valid dictionary has no
//! effect at all.

use hyper::HeaderMap;

/// The name of the header.
const HEADER: &str = "cloudflare-workers-version-overrides";

/// The version that the request asks for of `script`.
pub(super) fn wanted(headers: &HeaderMap, script: &str) -> Option<String> {
    let lines: Option<Vec<&str>> = headers
        .get_all(HEADER)
        .iter()
        .map(|line| line.to_str().ok())
        .collect();
    // Lines of one name are one list (RFC 9110 §5.3).
    let members = dictionary(&lines?.join(", "))?;
    let (_, value) = members.into_iter().rfind(|(key, _)| key == script)?;
    match value {
        Item::String(version) => Some(version),
        Item::Other => None,
    }
}

/// A value, of which only a String means anything here.
enum Item {
    String(String),
    Other,
}

/// The members in order; none when any is malformed.
fn dictionary(text: &str) -> Option<Vec<(String, Item)>> {
    let mut input = Input(text.trim_matches(' '));
    let mut members = Vec::new();
    while !input.0.is_empty() {
        let key = input.key()?;
        let value = if input.eat('=') {
            input.member()?
        } else {
            input.parameters()?;
            Item::Other
        };
        members.push((key, value));
        input.skip(&[' ', '\t']);
        if input.0.is_empty() {
            break;
        }
        if !input.eat(',') {
            return None;
        }
        input.skip(&[' ', '\t']);
        if input.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// What is still to be read.
struct Input<'a>(&'a str);

impl<'a> Input<'a> {
    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip(&mut self, blank: &[char]) {
        self.0 = self.0.trim_start_matches(blank);
    }

    /// The longest run of characters that pass.
    fn run(&mut self, passes: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !passes(c)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(end);
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Option<String> {
        let starts = |c: char| c.is_ascii_lowercase() || c == '*';
        if !self.0.starts_with(starts) {
            return None;
        }
        let key = self.run(|c| starts(c) || c.is_ascii_digit() || matches!(c, '_' | '-' | '.'));
        Some(key.to_owned())
    }

    /// An item or an inner list.
    fn member(&mut self) -> Option<Item> {
        if !self.eat('(') {
            return self.item();
        }
        loop {
            self.skip(&[' ']);
            if self.eat(')') {
                self.parameters()?;
                return Some(Item::Other);
            }
            self.item()?;
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        let value = self.bare()?;
        self.parameters()?;
        Some(value)
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(';') {
            self.skip(&[' ']);
            self.key()?;
            if self.eat('=') {
                self.bare()?;
            }
        }
        Some(())
    }

    /// A bare item.
    fn bare(&mut self) -> Option<Item> {
        match self.0.chars().next()? {
            '"' => self.string().map(Item::String),
            ':' => {
                self.eat(':');
                self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
                self.eat(':').then_some(Item::Other)
            }
            '?' => {
                self.eat('?');
                (self.eat('0') || self.eat('1')).then_some(Item::Other)
            }
            first if first.is_ascii_digit() || first == '-' => self.number().map(|()| Item::Other),
            first if first.is_ascii_alphabetic() || first == '*' => {
                self.run(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
                Some(Item::Other)
            }
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        self.eat('"');
        let mut value = String::new();
        loop {
            value.push_str(self.run(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')));
            if self.eat('"') {
                return Some(value);
            }
            if !self.eat('\\') {
                return None;
            }
            let escaped = self.0.chars().next().filter(|c| matches!(c, '"' | '\\'))?;
            self.eat(escaped);
            value.push(escaped);
        }
    }

    fn number(&mut self) -> Option<()> {
        self.eat('-');
        let whole = self.run(|c| c.is_ascii_digit()).len();
        if !self.eat('.') {
            return (1..=15).contains(&whole).then_some(());
        }
        let decimals = self.run(|c| c.is_ascii_digit()).len();
        ((1..=12).contains(&whole) && (1..=3).contains(&decimals)).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, line.parse().unwrap());
        }
        assert_eq!(wanted(&headers, "site").as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn the_version_of_the_worker_is_found_among_others() {
        check(&[r#"site="v1""#], Some("v1"));
        check(
            &[r#"api="v0", site="v1";a;b=?0 , x=(1 2.5 "y";z);q=:YQ==:"#],
            Some("v1"),
        );
        check(&[r#"api="v0""#, r#"site="v1""#], Some("v1"));
        check(&[r#"site="v1", site="v2""#], Some("v2"));
        check(&[r#"site="a\"b\\c""#], Some(r#"a"b\c"#));
        check(&[], None);
        check(&[r#"api="v0""#], None);
        check(&[r#"sites="v1""#], None);
    }

    #[test]
    fn a_value_that_is_no_string_asks_for_nothing() {
        for value in ["v1", "1", "?1", ":djE=:", r#"("v1")"#] {
            check(&[&format!("site={value}")], None);
        }
        check(&["site"], None);
        check(&[r#"site="v1", site=v2"#], None);
    }

    #[test]
    fn what_is_no_dictionary_has_no_effect() {
        for line in [
            r#"site="v1"#,
            r#"site="v1","#,
            r#"site="v1" api="v2""#,
            r#"site= "v1""#,
            r#"site="v1", Site="v2""#,
            r#"site="v1", 1="v2""#,
            r#"site="v1", x="#,
            r#"site="v1", x=1."#,
            r#"site="v1", x=1234567890123456"#,
            r#"site="v1", x=("#,
            r#"site="v1", x=(1"2")"#,
            r#"site="v1", x="\n""#,
            r#"site="v1";"#,
            r#"site="v1", x=?2"#,
            r#"site="v1", x=:a"#,
        ] {
            check(&[line], None);
        }
    }
}
