//! From a method and a path to an operation: the walk down the trie of path templates.
//!
//! Matching is exact on the still-encoded path, segment by segment: a literal is preferred to a
//! segment that mixes text and parameters, and that to a bare parameter; a branch that leads
//! nowhere is given up for the next. No parameter is empty. Each node is reached by one way only,
//! so a path costs at most one visit of each.

use super::facts::Method;
use super::operation::{Operation, OperationId, operation};
use super::table;
use super::trie::Node;

/// The most parameters any template has room for.
pub const MAX_PARAMS: usize = 8;

/// The parameter values of a path as they came, still percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'p> {
    values: [&'p str; MAX_PARAMS],
    len: usize,
    operation: OperationId,
}

impl<'p> Params<'p> {
    /// The value at a position.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&'p str> {
        self.as_slice().get(position).copied()
    }

    /// The value of the first parameter that the template calls `name`.
    #[must_use]
    pub fn get_named(&self, name: &str) -> Option<&'p str> {
        self.get(
            operation(self.operation)
                .param_names()
                .position(|param| param == name)?,
        )
    }

    /// The values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[&'p str] {
        self.values.get(..self.len).unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'p str)> {
        operation(self.operation)
            .param_names()
            .zip(self.as_slice().iter().copied())
    }
}

/// What a request was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved<'p> {
    /// The operation.
    pub operation: Operation,
    /// The values of its parameters.
    pub params: Params<'p>,
}

impl<'p> Resolved<'p> {
    /// The account the path names.
    #[must_use]
    pub fn account(&self) -> Option<&'p str> {
        self.params.get(self.operation.account_param()?)
    }

    /// The zone the path names.
    #[must_use]
    pub fn zone(&self) -> Option<&'p str> {
        self.params.get(self.operation.zone_param()?)
    }
}

/// Finds the operation of a request. `path` is what follows `/client/v4`, without the query.
#[must_use]
pub fn resolve(method: Method, path: &str) -> Option<Resolved<'_>> {
    let mut walk = Walk {
        method: Some(method),
        values: [""; MAX_PARAMS],
        len: 0,
    };
    let id = walk.descend(Node::root()?, path.strip_prefix('/')?)?;
    let params = Params {
        values: walk.values,
        len: walk.len,
        operation: id,
    };
    Some(Resolved {
        operation: operation(id),
        params,
    })
}

/// Whether some method has the path, for a better sentence when this one has not.
#[must_use]
pub fn path_exists(path: &str) -> bool {
    let mut walk = Walk {
        method: None,
        values: [""; MAX_PARAMS],
        len: 0,
    };
    let rest = path.strip_prefix('/');
    rest.zip(Node::root())
        .and_then(|(rest, root)| walk.descend(root, rest))
        .is_some()
}

struct Walk<'p> {
    /// The method looked for; `None` takes any.
    method: Option<Method>,
    values: [&'p str; MAX_PARAMS],
    len: usize,
}

impl<'p> Walk<'p> {
    /// The operation that `rest` leads to from `node`. On failure the captures are as before.
    fn descend(&mut self, node: &Node, rest: &'p str) -> Option<OperationId> {
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = literal_child(node, segment)
            && let Some(found) = self.arrive(child, rest)
        {
            return Some(found);
        }
        for child in node.patterns() {
            let before = self.len;
            if self.capture(child, segment)
                && let Some(found) = self.arrive(child, rest)
            {
                return Some(found);
            }
            self.len = before;
        }
        None
    }

    fn arrive(&mut self, node: &Node, rest: Option<&'p str>) -> Option<OperationId> {
        match rest {
            Some(rest) => self.descend(node, rest),
            None => operation_at(node, self.method),
        }
    }

    /// Takes the parameters of a segment that is not a literal.
    fn capture(&mut self, pattern: &Node, segment: &'p str) -> bool {
        if pattern.is_bare {
            return self.push(segment);
        }
        // Mixed: text between the parameters is found at its first place, the last at the end.
        let mut pieces = pattern.segment.split('{').map(|piece| {
            let named = piece.split_once('}');
            named.map_or(piece, |(_, text)| text)
        });
        let Some(mut rest) = pieces
            .next()
            .and_then(|prefix| segment.strip_prefix(prefix))
        else {
            return false;
        };
        let mut pieces = pieces.peekable();
        while let Some(piece) = pieces.next() {
            let split = if pieces.peek().is_some() {
                rest.split_once(piece)
            } else {
                rest.strip_suffix(piece).map(|value| (value, ""))
            };
            let Some((value, after)) = split else {
                return false;
            };
            if !self.push(value) {
                return false;
            }
            rest = after;
        }
        true
    }

    fn push(&mut self, value: &'p str) -> bool {
        match self.values.get_mut(self.len) {
            Some(slot) if !value.is_empty() => {
                *slot = value;
                self.len += 1;
                true
            }
            _ => false,
        }
    }
}

/// The child that is exactly this segment; literals are sorted by their bytes.
fn literal_child(node: &Node, segment: &str) -> Option<&'static Node> {
    let literals = node.literals();
    let found = literals.binary_search_by(|child| child.segment.cmp(segment));
    literals.get(found.ok()?)
}

fn operation_at(node: &Node, method: Option<Method>) -> Option<OperationId> {
    let mut here = node.operations();
    here.find(|index| {
        table::operation_shape(usize::from(*index))
            .is_some_and(|shape| method.is_none_or(|method| shape & 0b111 == method as u8))
    })
    .map(OperationId)
}

/// The operation of exactly this template; only the names of parameters may differ.
pub(super) fn template(method: Method, template: &str) -> Option<OperationId> {
    let mut node = Node::root()?;
    for segment in template.strip_prefix('/')?.split('/') {
        node = if segment.contains('{') {
            let pattern = blank(segment);
            let mut patterns = node.patterns().iter();
            patterns.find(|child| blank(child.segment) == pattern)?
        } else {
            literal_child(node, segment)?
        };
    }
    operation_at(node, Some(method))
}

/// A template with its parameters unnamed: `{scan_id}.png` becomes `{}.png`.
pub(super) fn blank(template: &str) -> String {
    let mut blanked = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, (_, after))) = rest
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        blanked.push_str(before);
        blanked.push_str("{}");
        rest = after;
    }
    blanked.push_str(rest);
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Option<(&str, &[&str])>) {
        let found = resolve(method, path);
        let found = found
            .as_ref()
            .map(|found| (found.operation.template(), found.params.as_slice()));
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn literal_comes_before_parameter_and_gives_way_when_it_lacks_the_method() {
        check(
            Method::Get,
            "/zones/z/settings/ssl_automatic_mode",
            Some(("/zones/{zone_id}/settings/ssl_automatic_mode", &["z"])),
        );
        check(
            Method::Get,
            "/zones/z/settings/min_tls_version",
            Some((
                "/zones/{zone_id}/settings/{setting_id}",
                &["z", "min_tls_version"],
            )),
        );
        check(
            Method::Get,
            "/user/tokens/verify",
            Some(("/user/tokens/verify", &[])),
        );
        check(
            Method::Put,
            "/user/tokens/verify",
            Some(("/user/tokens/{token_id}", &["verify"])),
        );
        check(
            Method::Post,
            "/accounts/booking",
            Some(("/accounts/booking", &[])),
        );
    }

    #[test]
    fn mixed_segments_match_and_capture() {
        check(
            Method::Get,
            "/accounts/a/urlscanner/v2/screenshots/s.1.png",
            Some((
                "/accounts/{account_id}/urlscanner/v2/screenshots/{scan_id}.png",
                &["a", "s.1"],
            )),
        );
        check(
            Method::Get,
            "/accounts/a/urlscanner/v2/screenshots/.png",
            None,
        );
        let events = "/accounts/a/magic/connectors/c/telemetry/events";
        check(
            Method::Get,
            &format!("{events}/17.3"),
            Some((
                "/accounts/{account_id}/magic/connectors/{connector_id}/telemetry/events/{event_t}.{event_n}",
                &["a", "c", "17", "3"],
            )),
        );
        check(Method::Get, &format!("{events}/17"), None);
        check(Method::Get, &format!("{events}/.3"), None);
    }

    #[test]
    fn non_canonical_paths_match_nothing() {
        for path in [
            "",
            "/",
            "zones",
            "/zones/",
            "//zones",
            "/zones//dns_records",
            "/zones/z/dns_records/",
            "/Zones",
            "/zones/z/dns_records/r/x",
            "/client/v4/zones",
        ] {
            check(Method::Get, path, None);
            assert!(!path_exists(path), "{path}");
        }
        check(Method::Get, &"/zones".repeat(10_000), None);
        check(Method::Get, &"/".repeat(16_000), None);
    }

    #[test]
    fn path_exists_under_another_method() {
        assert!(path_exists("/zones/z/purge_cache"));
        check(Method::Get, "/zones/z/purge_cache", None);
        assert!(!path_exists("/zones/z/nothing_of_the_kind"));
    }

    #[test]
    fn names_and_owners_of_parameters_are_found() {
        let found = resolve(
            Method::Get,
            "/accounts/a1/storage/kv/namespaces/n/values/a%2Fb",
        )
        .unwrap();
        assert_eq!(found.params.get_named("namespace_id"), Some("n"));
        assert_eq!(found.params.get_named("zone_id"), None);
        assert_eq!(found.account(), Some("a1"));
        assert_eq!(found.zone(), None);
        assert_eq!(found.operation.free_text_param(), Some(2));
        let found = resolve(Method::Put, "/accounts/a/zones/z/v1/images/flows").unwrap();
        assert_eq!((found.account(), found.zone()), (Some("a"), Some("z")));
        assert_eq!(
            resolve(Method::Delete, "/accounts/booking/b")
                .unwrap()
                .account(),
            None
        );
    }

    #[test]
    fn templates_are_blanked_of_names() {
        assert_eq!(blank("/a/{b}/{c}.{d}/e"), "/a/{}/{}.{}/e");
        assert_eq!(blank("/a/{b"), "/a/{b");
    }
}
