//! JSON pointers (RFC 6901): `/workflow_run/id`.

use super::json::Json;

/// Whether a text points into a document. The empty one, which is the whole document, does not.
#[must_use]
pub fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.all(|rest| rest.starts_with(['0', '1']))
}

/// What a pointer points to, if there is anything.
#[must_use]
pub fn pointed<'j>(json: &'j Json, pointer: &str) -> Option<&'j Json> {
    let mut parts = pointer.split('/');
    if parts.next() != Some("") {
        return None;
    }
    parts.try_fold(json, |at, part| match at {
        Json::Object(_) => at.get(&part.replace("~1", "/").replace("~0", "~")),
        // An index has no sign and no leading zero.
        Json::Array(items) => {
            let index: usize = part.parse().ok()?;
            (index.to_string() == part).then(|| items.get(index))?
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json::parse;

    /// The examples of RFC 6901 §5, and what is beside them.
    #[test]
    fn a_pointer_finds_one_value_or_none() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"m~n":8,"~1":9,"o":{"p":null}}"#;
        let json = parse(text.as_bytes()).unwrap();
        for (pointer, found) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/m~0n", "8"),
            ("/~01", "9"),
            ("/o/p", "null"),
        ] {
            assert!(is_pointer(pointer), "{pointer}");
            assert_eq!(
                pointed(&json, pointer).map(Json::write).as_deref(),
                Some(found),
                "{pointer}"
            );
        }
        for pointer in [
            "/foo/2", "/foo/00", "/foo/+1", "/foo/-", "/foo/x", "/bar", "/a/b", "/o/p/q", "foo",
        ] {
            assert_eq!(pointed(&json, pointer), None, "{pointer}");
        }
        for bad in ["", "foo", "/a~", "/a~2", "~0/a"] {
            assert!(!is_pointer(bad), "{bad}");
        }
    }
}
