//! A document as TOML, for whoever asks for it as such. Comments and the order of keys are not kept.
//!
//! Written here because the library's writer is 6 KB of the gzipped Worker. What a text of JSON is in quotes
//! is a basic string of TOML, but for one character.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::document::Document;

/// The document as TOML, which reads as the same document.
#[must_use]
pub fn to_toml(document: &Document) -> String {
    let mut text = String::new();
    if let Value::Object(sections) = document.to_json() {
        for (name, section) in &sections {
            match section {
                Value::Array(items) => {
                    for item in items {
                        table(&mut text, &format!("[[{name}]]"), item);
                    }
                }
                section => table(&mut text, &format!("[{name}]"), section),
            }
        }
    }
    text
}

/// A section, or one of several of a name: its members a line each.
fn table(text: &mut String, header: &str, members: &Value) {
    let before = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{before}{header}");
    for (key, value) in members.as_object().into_iter().flatten() {
        pair(text, key, value);
        text.push('\n');
    }
}

fn pair(text: &mut String, key: &str, value: &Value) {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(is_bare) {
        text.push_str(key);
    } else {
        quoted(text, key);
    }
    text.push_str(" = ");
    inline(text, value);
}

/// A value within one line.
fn inline(text: &mut String, value: &Value) {
    match value {
        Value::String(value) => quoted(text, value),
        Value::Array(items) => list(text, ["[", "]"], items, inline),
        Value::Object(members) => inline_table(text, members),
        // Numbers and truths are written alike; `read` lets no null through.
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn inline_table(text: &mut String, members: &Map<String, Value>) {
    if members.is_empty() {
        text.push_str("{}");
    } else {
        list(text, ["{ ", " }"], members, |text, (key, value)| {
            pair(text, key, value);
        });
    }
}

fn list<T>(
    text: &mut String,
    [open, close]: [&str; 2],
    items: impl IntoIterator<Item = T>,
    each: impl Fn(&mut String, T),
) {
    text.push_str(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        each(text, item);
    }
    text.push_str(close);
}

/// As JSON has it; DEL, which JSON leaves as it is, is escaped in TOML.
fn quoted(text: &mut String, value: &str) {
    let quoted = Value::from(value).to_string();
    text.push_str(&quoted.replace('\u{7f}', "\\u007f"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, read};

    const DOCUMENT: &str = r#"[[grants]]
accounts = ["Acme \"\\ \u0001\u007f é"]
dns = { max_changes = 2, names = ["_acme-challenge.**", "\\*.example.com"], proxied = false }
effect = "allow"
name = "g"
principals = ["p"]

[[jobs]]
kind = "cache.purge"
missed = { run_all = 5 }
name = "j"
params = { "a.b" = {}, empty = [], n = -1.5 }
run_as = "p"

[root]
enabled = false
"#;

    #[test]
    fn a_document_is_written_as_people_write_it_and_reads_as_the_same() {
        let document = read(DOCUMENT.as_bytes(), Format::Toml).unwrap().document;
        assert_eq!(to_toml(&document), DOCUMENT);
        assert_eq!(to_toml(&Document::default()), "");
    }
}
