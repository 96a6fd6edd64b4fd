//! `METHOD /template` of operations that the catalogue does not know.

use crate::catalog::{Method, Scope};

/// A method and a path template. A segment in braces stands for any one segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Template {
    method: Method,
    path: Box<str>,
}

impl Template {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (method, path) = text.split_once(' ')?;
        let method = Method::from_str(method)?;
        let segments = path.strip_prefix('/')?;
        let is_template = segments.split('/').all(|segment| {
            !segment.is_empty()
                && (is_parameter(segment) || !segment.contains(['{', '}', '*', ' ', '?', '#']))
        });
        is_template.then(|| Self {
            method,
            path: path.into(),
        })
    }

    /// Whether the call is one of these. Segments are compared as they came.
    pub(super) fn matches(&self, method: Method, path: &str) -> bool {
        let mut wanted = self.path.split('/');
        let mut found = path.split('/');
        self.method == method
            && loop {
                match (wanted.next(), found.next()) {
                    (None, None) => break true,
                    (Some(wanted), Some(found))
                        if wanted == found || is_parameter(wanted) && !found.is_empty() => {}
                    _ => break false,
                }
            }
    }
}

fn is_parameter(segment: &str) -> bool {
    segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && !name.contains(['{', '}']))
}

/// What a grant must name to reach a path that the catalogue does not know.
pub(super) fn scope_of(path: &str) -> Scope {
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("zones"), Some(_)) => Scope::Zone,
        (Some("accounts"), Some(_)) => Scope::Account,
        (Some("user"), _) => Scope::User,
        _ => Scope::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_in_braces_is_any_one_segment() {
        let template = Template::parse("GET /zones/{zone_id}/new/{id}").unwrap();
        for (path, expected) in [
            ("/zones/a/new/b", true),
            ("/zones/a/new/b%2Fc", true),
            ("/zones/a/new/", false),
            ("/zones//new/b", false),
            ("/zones/a/new/b/c", false),
            ("/zones/a/new", false),
            ("/zones/a/New/b", false),
        ] {
            assert_eq!(template.matches(Method::Get, path), expected, "{path}");
        }
        assert!(!template.matches(Method::Post, "/zones/a/new/b"));
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for text in [
            "zones-get",
            "get /zones",
            "GET zones",
            "GET /",
            "GET /a//b",
            "GET /a/*",
            "GET /a/{}",
            "GET /a/{b}c",
        ] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
    }
}
