//! The three shapes in which clients upload a script, read into one.
//!
//! - wrangler: part `metadata` (JSON), and one part for each module whose name is the module's;
//! - the Python SDK: part `metadata` (JSON), and every module in a part named `files`, its file name
//!   being the module's;
//! - the TypeScript SDK: fields such as `metadata[main_module]`, and modules in `files[]`.
//!
//! The last shape loses types and is written by the SDK since 7.0; public reports say that Cloudflare
//! itself refuses it for want of a part named `metadata`. It is taken here because clients send it
//! and what stands in front of the API has to understand it (hypothesis).

use serde_json::{Map, Number, Value};

use super::state::{Module, Object};
use super::validation;
use crate::api::ApiError;
use crate::multipart::Part;

/// Members that are booleans or numbers and that a bracketed field gives as text.
const TYPED: [&str; 14] = [
    "enabled",
    "logpush",
    "keep_assets",
    "head_sampling_rate",
    "invocation_logs",
    "persist",
    "redact_query_string",
    "cross_version_cache",
    "cpu_ms",
    "subrequests",
    "limit",
    "period",
    "run_worker_first",
    "serve_directly",
];

/// Content types of modules: NOTES "Workers", and the types wrangler knows.
const MODULE_TYPES: [&str; 10] = [
    "application/javascript+module",
    "text/javascript+module",
    "application/javascript",
    "text/javascript",
    "application/wasm",
    "application/octet-stream",
    "text/plain",
    "text/x-python",
    "text/x-python-requirement",
    "application/source-map",
];

/// The object `name` of a form, from one JSON part or from bracketed fields.
///
/// # Errors
/// 10021 when there is neither (*seen*: "could not read content for part metadata").
pub(super) fn object(parts: &[Part], name: &str) -> Result<Object, ApiError> {
    let unreadable = || validation(format!("could not read content for part {name}"));
    if let Some(part) = parts.iter().find(|part| part.name == name) {
        return serde_json::from_slice(&part.content).map_err(|_| unreadable());
    }
    let mut root = Value::Null;
    for part in parts {
        if let Some(path) = brackets(&part.name, name) {
            let text = std::str::from_utf8(&part.content).map_err(|_| unreadable())?;
            place(&mut root, &path, typed(&path, text)).ok_or_else(unreadable)?;
        }
    }
    match root {
        Value::Object(map) => Ok(map),
        _ => Err(unreadable()),
    }
}

/// Every part but those of the object `name`, as modules.
///
/// # Errors
/// 10021 for a content type that no module has (*seen*).
pub(super) fn modules(parts: Vec<Part>, name: &str) -> Result<Vec<Module>, ApiError> {
    let mut modules = Vec::new();
    for part in parts {
        if part.name == name || brackets(&part.name, name).is_some() {
            continue;
        }
        let named_by_file = part.name == "files" || brackets(&part.name, "files").is_some();
        let name = match part.filename {
            Some(filename) if named_by_file => filename,
            _ => part.name,
        };
        let content_type = part.content_type.unwrap_or_default();
        if !MODULE_TYPES.contains(&content_type.as_str()) {
            return Err(validation(format!(
                "module {name} has unsupported Content-Type {content_type}"
            )));
        }
        modules.push(Module {
            name,
            content_type,
            content: part.content,
        });
    }
    Ok(modules)
}

/// The bracketed path behind `name`: `name[a][][b]` is `a`, an empty step, `b`.
fn brackets<'a>(field: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let rest = field.strip_prefix(name)?.strip_prefix('[')?;
    Some(rest.strip_suffix(']')?.split("][").collect())
}

fn typed(path: &[&str], text: &str) -> Value {
    let is_typed = path.last().is_some_and(|member| TYPED.contains(member));
    match text {
        "true" if is_typed => Value::Bool(true),
        "false" if is_typed => Value::Bool(false),
        _ => text
            .parse::<f64>()
            .ok()
            .filter(|_| is_typed)
            .and_then(|number| {
                text.parse::<u64>()
                    .map(Number::from)
                    .ok()
                    .or_else(|| Number::from_f64(number))
            })
            .map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// Puts `value` at `path`. An element of a list of objects ends where one of its members comes
/// again; `None` when the fields contradict each other.
fn place(at: &mut Value, path: &[&str], value: Value) -> Option<()> {
    let Some((step, rest)) = path.split_first() else {
        *at = value;
        return Some(());
    };
    if step.is_empty() {
        if at.is_null() {
            *at = Value::Array(Vec::new());
        }
        let list = at.as_array_mut()?;
        let goes_on = match (list.last(), rest.first()) {
            (Some(Value::Object(element)), Some(member)) => {
                rest.len() > 1 || !element.contains_key(*member)
            }
            _ => false,
        };
        if !goes_on {
            list.push(Value::Null);
        }
        return place(list.last_mut()?, rest, value);
    }
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    let member = at.as_object_mut()?.entry(*step).or_insert(Value::Null);
    place(member, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    fn part(name: &str, filename: Option<&str>, content_type: Option<&str>, text: &str) -> Part {
        Part {
            name: name.to_owned(),
            filename: filename.map(str::to_owned),
            content_type: content_type.map(str::to_owned),
            content: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[test]
    fn bracketed_fields_make_the_object_that_was_flattened() {
        let fields = [
            ("metadata[main_module]", "main.mjs"),
            ("metadata[bindings][][type]", "plain_text"),
            ("metadata[bindings][][name]", "A"),
            ("metadata[bindings][][text]", "1"),
            ("metadata[bindings][][type]", "json"),
            ("metadata[bindings][][name]", "J"),
            ("metadata[bindings][][json][a][]", "1"),
            ("metadata[bindings][][json][a][]", "2"),
            ("metadata[keep_bindings][]", "secret_text"),
            ("metadata[keep_bindings][]", "kv_namespace"),
            ("metadata[observability][enabled]", "true"),
            ("metadata[observability][head_sampling_rate]", "0.5"),
            ("metadata[limits][cpu_ms]", "50"),
            ("metadata[annotations][workers/message]", "hi"),
        ];
        let parts: Vec<Part> = fields
            .map(|(name, text)| part(name, None, None, text))
            .into();
        let expected = json!({
            "main_module": "main.mjs",
            "bindings": [
                {"type": "plain_text", "name": "A", "text": "1"},
                {"type": "json", "name": "J", "json": {"a": ["1", "2"]}},
            ],
            "keep_bindings": ["secret_text", "kv_namespace"],
            "observability": {"enabled": true, "head_sampling_rate": 0.5},
            "limits": {"cpu_ms": 50},
            "annotations": {"workers/message": "hi"},
        });
        assert_eq!(Value::Object(object(&parts, "metadata").unwrap()), expected);
    }

    #[test]
    fn fields_that_contradict_each_other_cannot_be_read() {
        let parts = [
            part("metadata[a]", None, None, "1"),
            part("metadata[a][b]", None, None, "2"),
        ];
        assert_eq!(object(&parts, "metadata").unwrap_err().code, 10_021);
        assert_eq!(object(&[], "metadata").unwrap_err().code, 10_021);
        let list = [part("metadata", None, None, "[]")];
        assert_eq!(object(&list, "metadata").unwrap_err().code, 10_021);
    }

    #[test]
    fn a_module_is_named_by_its_part_or_as_a_file() {
        let esm = Some("application/javascript+module");
        let parts = vec![
            part("metadata", None, None, "{}"),
            part("metadata[x]", None, None, "1"),
            part("a.mjs", Some("else.mjs"), esm, ""),
            part("files", Some("b.mjs"), esm, ""),
            part("files[]", Some("c.mjs"), esm, ""),
            part("files[d.mjs]", Some("d.mjs"), esm, ""),
        ];
        let modules = modules(parts, "metadata").unwrap();
        let names: Vec<&str> = modules.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a.mjs", "b.mjs", "c.mjs", "d.mjs"]);
    }
}
