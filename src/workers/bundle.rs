//! The form of an upload as a version of a Worker takes it: marked, so that the version can be told from
//! others, and without what only a full deployment may bring.

use crate::model::form::Form;
use crate::model::json::{Json, parse};

/// The annotation that tells a version's own mark.
pub const TAG: &str = "workers/tag";
/// The annotation that is shown beside a version or deployment.
pub const MESSAGE: &str = "workers/message";
/// Bytes in which the first line of a form must end: a boundary has 70 at the most (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 80;
/// Most bytes of a message; Cloudflare cuts longer ones.
const MAX_MESSAGE: usize = 100;

/// The type of a form, which its first line tells: forms that are kept begin with their boundary.
#[must_use]
pub fn form_type(form: &[u8]) -> String {
    let start = form.get(..MAX_BOUNDARY).unwrap_or(form);
    let line = start
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let boundary = String::from_utf8_lossy(line.strip_prefix(b"--").unwrap_or_default());
    format!("multipart/form-data; boundary={boundary}")
}

/// The one part of a bundle that is its metadata.
struct Metadata {
    form: Form,
    index: usize,
    members: Vec<(String, Json)>,
}

fn metadata(bundle: &[u8]) -> Result<Metadata, String> {
    let form = Form::read(&form_type(bundle), bundle)
        .map_err(|error| format!("The bundle is no form that wrangler writes: {error}."))?;
    let mut parts = form.parts.iter().enumerate();
    let (index, part) = parts
        .find(|(_, part)| part.name == "metadata")
        .ok_or("The bundle has no part `metadata`.")?;
    if parts.any(|(_, part)| part.name == "metadata") {
        return Err("The bundle has two parts `metadata`.".to_owned());
    }
    let json = parse(part.bytes(bundle))
        .map_err(|error| format!("The part `metadata` of the bundle is no JSON: {error}."))?;
    let Json::Object(members) = json else {
        return Err("The part `metadata` of the bundle must be a JSON object.".to_owned());
    };
    let carries = |name: &str| {
        let mut members = members.iter();
        members.any(|(field, value)| field == name && *value != Json::Null)
    };
    if carries("migrations") {
        return Err("The bundle carries migrations of Durable Objects, which cannot be rolled back and are not taken with a version: deploy it once by itself, then without them.".to_owned());
    }
    Ok(Metadata {
        form,
        index,
        members,
    })
}

/// Whether a bundle can be deployed step by step.
///
/// # Errors
/// One sentence naming what is not as it must be.
pub fn check_bundle(bundle: &[u8]) -> Result<(), String> {
    metadata(bundle).map(drop)
}

/// Marks a bundle with a tag and a message in its metadata. Every other byte stays as it is.
///
/// # Errors
/// As [`check_bundle`].
pub fn marked(mut bundle: Vec<u8>, tag: &str, message: &str) -> Result<Vec<u8>, String> {
    let Metadata {
        form,
        index,
        mut members,
    } = metadata(&bundle)?;
    members.retain(|(field, _)| field != "annotations");
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = message.get(..end).unwrap_or_default();
    let annotations = [(TAG, tag), (MESSAGE, message)];
    let annotations =
        annotations.map(|(name, text)| (name.to_owned(), Json::String(text.to_owned())));
    members.push(("annotations".to_owned(), Json::Object(annotations.into())));
    let text = Json::Object(members).write();
    form.replace(&mut bundle, &[index], "metadata", &text);
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(metadata: &str) -> Vec<u8> {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n{metadata}\r\n--b\r\nContent-Disposition: form-data; name=\"index.js\"; filename=\"index.js\"\r\nContent-Type: application/javascript+module\r\n\r\nexport default {{}}\r\n--b--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_bundle_is_marked_and_nothing_else_of_it_changes() {
        let metadata = r#"{"main_module":"index.js","annotations":{"workers/tag":"theirs"}}"#;
        let marked = marked(form(metadata), "ours", &"ü".repeat(60)).unwrap();
        let text = String::from_utf8(marked.clone()).unwrap();
        assert!(text.contains(&format!(
            r#"{{"main_module":"index.js","annotations":{{"workers/tag":"ours","workers/message":"{}"}}}}"#,
            "ü".repeat(50)
        )));
        let read = Form::read(&form_type(&marked), &marked).unwrap();
        let names: Vec<&str> = read.parts.iter().map(|part| &*part.name).collect();
        assert_eq!(names, ["metadata", "index.js"]);
        assert_eq!(read.parts[1].bytes(&marked), b"export default {}");
    }

    #[test]
    fn what_cannot_be_rolled_back_or_read_is_refused() {
        let refused = |form: Vec<u8>| marked(form, "t", "").unwrap_err();
        assert!(refused(form(r#"{"migrations":{"new_tag":"v1"}}"#)).contains("migrations"));
        assert!(refused(form("[]")).contains("must be a JSON object"));
        assert!(refused(form(r#"{"a":1,"a":2}"#)).contains("is no JSON"));
        assert!(refused(b"export default {}".to_vec()).starts_with("The bundle is no form"));
        let twice = String::from_utf8(form("{}"))
            .unwrap()
            .replace("index.js", "metadata");
        assert!(refused(twice.into_bytes()).contains("two parts"));
        let none = String::from_utf8(form("{}"))
            .unwrap()
            .replace("metadata", "index.css");
        assert!(refused(none.into_bytes()).contains("no part"));
    }
}
