//! The metadata of an upload in its three shapes, as one JSON value.
//!
//! wrangler and the Python SDK send a part `metadata` that holds JSON; the TypeScript SDK sends a
//! part for each value, named by its path: `metadata[bindings][][type]`. What goes upstream is one
//! part of JSON, written from what was judged; every other part stays as it came.

use sha2::{Digest as _, Sha256};

use crate::model::form::{Form, FormError};
use crate::model::json::{Json, JsonError, parse};
use crate::model::{hex, quoted};

/// Most bytes of the metadata: the rest of an upload is files.
const MAX_METADATA: usize = 1024 * 1024;

/// How many brackets a field name may have.
const MAX_PATH: usize = 12;

/// Fields whose value is `true` or `false`: a form field has texts only.
const BOOLEANS: &[&str] = &[
    "cross_version_cache",
    "enable_timer",
    "enabled",
    "invocation_logs",
    "keep_assets",
    "logpush",
    "persist",
    "raw",
    "redact_query_string",
    "serve_directly",
    "staging",
];

/// Fields whose value is a number.
const NUMBERS: &[&str] = &[
    "cpu_ms",
    "delivery_delay",
    "head_sampling_rate",
    "limit",
    "mitigation_timeout",
    "period",
    "subrequests",
];

/// Fields for which the text `null` stands for no value.
const NULLABLE: &[&str] = &[
    "base_path",
    "head_sampling_rate",
    "issues",
    "logs",
    "propagation_policy",
    "tail_consumers",
    "traces",
];

/// Why the metadata of an upload cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The body is not a form that has one reading.
    #[error("{0}")]
    Form(#[from] FormError),
    /// There is none.
    #[error("the form has no part {0}")]
    Missing(&'static str),
    /// It is there more than once.
    #[error("the form has the part {0} more than once, or also as single fields")]
    Twice(&'static str),
    /// It is larger than what is read of it.
    #[error("the part {0} is larger than the {MAX_METADATA} bytes that are read of it")]
    TooLarge(&'static str),
    /// It is not JSON that has one reading.
    #[error("the part {0} is not acceptable JSON: {1}")]
    Json(&'static str, JsonError),
    /// A field of a form is named, or set, in a way that has two readings.
    #[error("the form field {0} cannot be read: send the metadata as one part that holds JSON")]
    Field(String),
}

/// An upload as it came.
#[derive(Debug)]
pub struct Upload {
    form: Form,
    /// The parts that hold the metadata.
    described: Vec<usize>,
    /// What the metadata part is called.
    name: &'static str,
    /// The metadata.
    pub metadata: Json,
}

impl Upload {
    /// Reads a form whose metadata is called `name`.
    ///
    /// # Errors
    /// When form or metadata have no reading, or two.
    pub fn read(
        content_type: &str,
        body: &[u8],
        name: &'static str,
    ) -> Result<Self, MetadataError> {
        let form = Form::read(content_type, body)?;
        let parts = || form.parts.iter().enumerate();
        let whole: Vec<usize> = parts()
            .filter(|(_, part)| part.name == name)
            .map(|(index, _)| index)
            .collect();
        let fields: Vec<usize> = parts()
            .filter(|(_, part)| is_field_of(&part.name, name))
            .map(|(index, _)| index)
            .collect();
        let size = whole.iter().chain(&fields);
        let size = size.filter_map(|index| form.parts.get(*index));
        if size.map(|part| part.bytes(body).len()).sum::<usize>() > MAX_METADATA {
            return Err(MetadataError::TooLarge(name));
        }
        let (described, metadata) = match (whole.as_slice(), fields.is_empty()) {
            ([index], true) => {
                let bytes = form.parts.get(*index).map(|part| part.bytes(body));
                let json = parse(bytes.unwrap_or_default())
                    .map_err(|error| MetadataError::Json(name, error))?;
                (whole, json)
            }
            ([], false) => {
                let json = folded(&form, &fields, body, name)?;
                (fields, json)
            }
            ([], true) => return Err(MetadataError::Missing(name)),
            _ => return Err(MetadataError::Twice(name)),
        };
        Ok(Self {
            form,
            described,
            name,
            metadata,
        })
    }

    /// The files of the upload.
    pub fn files<'b>(&self, body: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let parts = self.form.parts.iter().enumerate();
        parts
            .filter(|(index, _)| !self.described.contains(index))
            .map(|(_, part)| part.bytes(body))
    }

    /// The body with the metadata written from `metadata`.
    #[must_use]
    pub fn rebuilt(&self, mut body: Vec<u8>, metadata: &Json) -> Vec<u8> {
        let json = metadata.write();
        self.form
            .replace(&mut body, &self.described, self.name, &json);
        body
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Whether a part is one value of the metadata called `root`.
fn is_field_of(name: &str, root: &str) -> bool {
    name.strip_prefix(root)
        .is_some_and(|rest| rest.starts_with('['))
}

/// One step of the path in a field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step<'n> {
    /// `[key]`
    Key(&'n str),
    /// `[]`: an item of a list.
    Item,
}

/// What the fields say, before texts become truth values and numbers.
#[derive(Debug)]
enum Node {
    Unset,
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

fn folded(form: &Form, fields: &[usize], body: &[u8], root: &str) -> Result<Json, MetadataError> {
    let mut tree = Node::Unset;
    for part in fields.iter().filter_map(|index| form.parts.get(*index)) {
        let unreadable = || MetadataError::Field(quoted(&part.name));
        let path = part.name.strip_prefix(root).and_then(steps);
        let path = path.ok_or_else(unreadable)?;
        let text = std::str::from_utf8(part.bytes(body)).map_err(|_| unreadable())?;
        // A value is never a file.
        if part.filename.is_some() || !set(&mut tree, &path, text) {
            return Err(unreadable());
        }
    }
    typed(tree, root).map_err(|field| MetadataError::Field(quoted(&field)))
}

/// The path in `[a][][b]`.
fn steps(mut text: &str) -> Option<Vec<Step<'_>>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.strip_prefix('[')?.split_once(']')?;
        if key.contains('[') || found.len() == MAX_PATH {
            return None;
        }
        let step = if key.is_empty() {
            Step::Item
        } else {
            Step::Key(key)
        };
        found.push(step);
        text = rest;
    }
    matches!(found.first(), Some(Step::Key(_))).then_some(found)
}

/// Puts a text where the path leads; `false` when something is there already.
fn set(node: &mut Node, path: &[Step<'_>], text: &str) -> bool {
    let Some((step, rest)) = path.split_first() else {
        let is_unset = matches!(node, Node::Unset);
        *node = Node::Text(text.to_owned());
        return is_unset;
    };
    match step {
        Step::Key(key) => {
            if matches!(node, Node::Unset) {
                *node = Node::Object(Vec::new());
            }
            let Node::Object(members) = node else {
                return false;
            };
            if !members.iter().any(|(name, _)| name == key) {
                members.push(((*key).to_owned(), Node::Unset));
            }
            let mut members = members.iter_mut();
            let member = members.find(|(name, _)| name == key);
            member.is_some_and(|(_, child)| set(child, rest, text))
        }
        Step::Item => {
            if matches!(node, Node::Unset) {
                *node = Node::List(Vec::new());
            }
            let Node::List(items) = node else {
                return false;
            };
            if begins_item(items, rest) {
                items.push(Node::Unset);
            }
            items.last_mut().is_some_and(|item| set(item, rest, text))
        }
    }
}

/// Whether a field belongs to the next item of a list.
///
/// Objects in a list follow one another without a mark: the next one begins where the key that
/// began the first one comes again. Another key that comes again has two readings, and is refused
/// by [`set`].
fn begins_item(items: &[Node], rest: &[Step<'_>]) -> bool {
    let (Some(Node::Object(first)), Some(Step::Key(key))) = (items.first(), rest.first()) else {
        return true;
    };
    let is_first_key = first.first().is_some_and(|(name, _)| name == key);
    is_first_key && items.last().is_some_and(|last| is_set(last, rest))
}

/// Whether there is a text where the path leads; a list takes any number.
fn is_set(node: &Node, path: &[Step<'_>]) -> bool {
    match (path.split_first(), node) {
        (None, node) => !matches!(node, Node::Unset),
        (Some((Step::Key(key), rest)), Node::Object(members)) => members
            .iter()
            .any(|(name, child)| name == key && is_set(child, rest)),
        _ => false,
    }
}

/// The value a node stands for; fails with the field that could stand for several.
fn typed(node: Node, key: &str) -> Result<Json, String> {
    Ok(match node {
        Node::Text(text) if text == "null" && NULLABLE.contains(&key) => Json::Null,
        Node::Text(text) if BOOLEANS.contains(&key) || key == "run_worker_first" => {
            match text.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => return Err(key.to_owned()),
            }
        }
        Node::Text(text) if NUMBERS.contains(&key) => match parse(text.as_bytes()) {
            Ok(Json::Number(number)) => Json::Number(number),
            _ => return Err(key.to_owned()),
        },
        // Of any JSON value only the texts are left.
        _ if key == "json" => return Err(key.to_owned()),
        Node::Text(text) => Json::String(text),
        Node::Unset => Json::Null,
        Node::List(items) => Json::Array(
            items
                .into_iter()
                .map(|item| typed(item, key))
                .collect::<Result<_, _>>()?,
        ),
        Node::Object(members) => {
            let mut typed_members = Vec::with_capacity(members.len());
            for (name, value) in members {
                let value = typed(value, &name)?;
                typed_members.push((name, value));
            }
            Json::Object(typed_members)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b";

    /// A form of `(name, filename, what it holds)`.
    fn form(parts: &[(&str, &str, &str)]) -> Vec<u8> {
        let mut text = String::new();
        for (name, file, held) in parts {
            let file = if file.is_empty() {
                String::new()
            } else {
                format!("; filename=\"{file}\"")
            };
            let _ = write!(
                text,
                "--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{held}\r\n"
            );
        }
        (text + "--b--\r\n").into_bytes()
    }

    fn folded_text(fields: &[(&str, &str)]) -> Result<String, String> {
        let parts: Vec<_> = fields
            .iter()
            .map(|(name, held)| (*name, "", *held))
            .collect();
        Upload::read(TYPE, &form(&parts), "metadata")
            .map(|upload| upload.metadata.write())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn e6_metadata_reads_the_same_in_all_three_shapes() {
        let json = r#"{"main_module":"x.js","bindings":[{"name":"KV","type":"kv_namespace","namespace_id":"1"},{"name":"AI","type":"ai"}],"keep_bindings":["secret_text"],"logpush":true}"#;
        let code = "export default {}";
        let wrangler = form(&[
            ("metadata", "", json),
            ("x.js", "x.js", code),
            ("x.js.map", "x.js.map", "{}"),
        ]);
        let python = form(&[("files", "x.js", code), ("metadata", "", json)]);
        let typescript = form(&[
            ("metadata[main_module]", "", "x.js"),
            ("metadata[bindings][][name]", "", "KV"),
            ("metadata[bindings][][type]", "", "kv_namespace"),
            ("metadata[bindings][][namespace_id]", "", "1"),
            ("metadata[bindings][][name]", "", "AI"),
            ("metadata[bindings][][type]", "", "ai"),
            ("metadata[keep_bindings][]", "", "secret_text"),
            ("metadata[logpush]", "", "true"),
            ("files[]", "x.js", code),
        ]);
        for body in [wrangler, python, typescript] {
            let upload = Upload::read(TYPE, &body, "metadata").unwrap();
            assert_eq!(upload.metadata.write(), json);
            let digests: Vec<_> = upload.files(&body).map(digest).collect();
            assert!(digests.contains(&digest(code.as_bytes())));
            // What is sent is one part of JSON, and the files as they were.
            let sent = upload.rebuilt(body, &upload.metadata);
            let again = Upload::read(TYPE, &sent, "metadata").unwrap();
            assert_eq!(again.metadata.write(), json);
            assert_eq!(again.described.len(), 1);
            assert!(again.files(&sent).map(digest).eq(digests));
        }
    }

    #[test]
    fn j3_two_metadata_parts_are_refused() {
        let (json, field) = (("metadata", "", "{}"), ("metadata[logpush]", "", "true"));
        for (parts, expected) in [
            (
                vec![json, json],
                "the form has the part metadata more than once, or also as single fields",
            ),
            (
                vec![json, field],
                "the form has the part metadata more than once, or also as single fields",
            ),
            (
                vec![("Metadata", "", "{}")],
                "the form has no part metadata",
            ),
            (
                vec![("metadata", "", "{\"a\":1,\"a\":2}")],
                "the part metadata is not acceptable JSON: line 1, column 8: the key \"a\" occurs twice in one object",
            ),
            (
                vec![("metadata", "", "")],
                "the part metadata is not acceptable JSON: line 1, column 1: a value is missing",
            ),
        ] {
            let error = Upload::read(TYPE, &form(&parts), "metadata")
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(expected.split(": a value").next().unwrap()),
                "{error}"
            );
        }
    }

    #[test]
    fn metadata_is_read_up_to_its_cap_and_files_are_not_counted() {
        let (large, small) = ("x".repeat(MAX_METADATA + 1), "x".repeat(MAX_METADATA / 2));
        for parts in [
            vec![("metadata", "", large.as_str())],
            vec![
                ("metadata[a]", "", small.as_str()),
                ("metadata[b]", "", small.as_str()),
                ("metadata[c]", "", "x"),
            ],
        ] {
            let error = Upload::read(TYPE, &form(&parts), "metadata").unwrap_err();
            assert_eq!(error, MetadataError::TooLarge("metadata"));
        }
        let parts = [("metadata", "", "{}"), ("x.js", "x.js", large.as_str())];
        assert!(Upload::read(TYPE, &form(&parts), "metadata").is_ok());
    }

    #[test]
    fn form_fields_become_what_they_stand_for() {
        for (fields, expected) in [
            (
                vec![("metadata[a][b]", "x"), ("metadata[a][c]", "")],
                r#"{"a":{"b":"x","c":""}}"#,
            ),
            (
                vec![
                    ("metadata[limits][cpu_ms]", "50"),
                    ("metadata[observability][head_sampling_rate]", "0.5"),
                ],
                r#"{"limits":{"cpu_ms":50},"observability":{"head_sampling_rate":0.5}}"#,
            ),
            (
                vec![("metadata[tail_consumers]", "null")],
                r#"{"tail_consumers":null}"#,
            ),
            (vec![("metadata[text]", "null")], r#"{"text":"null"}"#),
            (
                vec![
                    ("metadata[assets][config][run_worker_first][]", "true"),
                    ("metadata[assets][config][run_worker_first][]", "false"),
                ],
                r#"{"assets":{"config":{"run_worker_first":[true,false]}}}"#,
            ),
            (
                vec![
                    ("metadata[b][][simple][limit]", "1"),
                    ("metadata[b][][simple][period]", "2"),
                    ("metadata[b][][simple][limit]", "3"),
                    ("metadata[b][][simple][period]", "4"),
                ],
                r#"{"b":[{"simple":{"limit":1,"period":2}},{"simple":{"limit":3,"period":4}}]}"#,
            ),
            (
                vec![
                    ("metadata[b][][name]", "K"),
                    ("metadata[b][][usages][]", "sign"),
                    ("metadata[b][][usages][]", "verify"),
                    ("metadata[b][][name]", "L"),
                ],
                r#"{"b":[{"name":"K","usages":["sign","verify"]},{"name":"L"}]}"#,
            ),
        ] {
            assert_eq!(folded_text(&fields).unwrap(), expected);
        }
    }

    #[test]
    fn e6_form_fields_with_two_readings_are_refused() {
        let refused = |field: &str| {
            format!(
                "the form field {field:?} cannot be read: send the metadata as one part that holds JSON"
            )
        };
        for (fields, field) in [
            (
                vec![("metadata[a]", "1"), ("metadata[a]", "2")],
                "metadata[a]",
            ),
            (
                vec![("metadata[a]", "1"), ("metadata[a][b]", "2")],
                "metadata[a][b]",
            ),
            (
                vec![("metadata[a][b]", "1"), ("metadata[a]", "2")],
                "metadata[a]",
            ),
            (
                vec![("metadata[a][]", "1"), ("metadata[a][b]", "2")],
                "metadata[a][b]",
            ),
            // Which of the two objects has this type?
            (
                vec![
                    ("metadata[b][][name]", "A"),
                    ("metadata[b][][type]", "ai"),
                    ("metadata[b][][type]", "d1"),
                ],
                "metadata[b][][type]",
            ),
            (vec![("metadata[]", "1")], "metadata[]"),
            (vec![("metadata[a", "1")], "metadata[a"),
            (vec![("metadata[a]b", "1")], "metadata[a]b"),
            (vec![("metadata[a[b]]", "1")], "metadata[a[b]]"),
            (vec![("metadata[logpush]", "yes")], "logpush"),
            (vec![("metadata[limits][cpu_ms]", "0x10")], "cpu_ms"),
            (vec![("metadata[bindings][][json]", "1")], "json"),
        ] {
            assert_eq!(folded_text(&fields).unwrap_err(), refused(field));
        }
        let deep = format!("metadata{}", "[a]".repeat(MAX_PATH + 1));
        assert!(
            folded_text(&[(&deep, "1")])
                .unwrap_err()
                .starts_with("the form field")
        );
        let file = form(&[("metadata[a]", "f", "x")]);
        let error = Upload::read(TYPE, &file, "metadata").unwrap_err();
        assert_eq!(error, MetadataError::Field("\"metadata[a]\"".to_owned()));
    }

    #[test]
    fn digests_are_those_everybody_computes() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
