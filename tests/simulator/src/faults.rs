//! Injected faults: what `POST /__sim/faults` takes, and which of them meets a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One fault as posted: `{match:{method?,path?}, after?, times?, action}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(rename = "match", default)]
    matcher: Matcher,
    /// How many matches still pass.
    #[serde(default)]
    after: u64,
    /// How often it still acts; absent means until the faults are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    action: Action,
}

/// Which requests a fault meets: the exact method, and the path exactly or as a `*` glob.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Matcher {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// What happens. `delay_ms` combines with every other member, and alone delays a normal answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    /// Answer this instead of handling the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<Headers>,
    /// A string as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reset: Option<Reset>,
    /// Handle the request, then send half of the answer's body and cut the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) half_body: Option<bool>,
    /// Answer 302 (or `status`) with this location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redirect: Option<String>,
    /// Answer 400 (or `status`) with a body that repeats the credential received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) echo: Option<Echo>,
}

/// Headers as an object or as a list of pairs (which may repeat a name).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Headers {
    Object(BTreeMap<String, String>),
    Pairs(Vec<(String, String)>),
}

impl Headers {
    /// The pairs, in order.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Object(map) => map.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            Self::Pairs(list) => list.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        }
    }
}

/// When the connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reset {
    /// Before the request has any effect.
    Before,
    /// After it had its effect.
    After,
}

/// What is echoed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Echo {
    /// The bearer token, or the legacy key when there is none.
    Token,
}

impl Fault {
    /// Refuses what could never act as written.
    pub(crate) fn check(&self) -> Result<(), String> {
        let a = &self.action;
        let acts = a.delay_ms.is_some()
            || a.status.is_some()
            || a.reset.is_some()
            || a.half_body == Some(true)
            || a.redirect.is_some()
            || a.echo.is_some();
        if !acts {
            return Err("action has no effect".to_owned());
        }
        if a.status.is_some_and(|s| !(200..=599).contains(&s)) {
            return Err("status must be between 200 and 599".to_owned());
        }
        Ok(())
    }
}

/// The posted faults, in order.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// Adds faults behind those already there.
    pub(crate) fn add(&mut self, more: Vec<Fault>) {
        self.list.extend(more);
    }

    /// Forgets all faults.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// The faults with what is left of their counters.
    pub(crate) fn list(&self) -> &[Fault] {
        &self.list
    }

    /// The action that meets a request for something other than the API: only a fault that names
    /// a path is meant for it.
    pub(crate) fn take_named(&mut self, method: &str, path: &str) -> Option<Action> {
        self.take_of(method, path, |fault| fault.matcher.path.is_some())
    }

    /// The action that meets this request: of the first matching fault whose `after` is used up
    /// and whose `times` is not. Every matching fault before it counts the request as passed.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<Action> {
        self.take_of(method, path, |_| true)
    }

    fn take_of(
        &mut self,
        method: &str,
        path: &str,
        meant: impl Fn(&Fault) -> bool,
    ) -> Option<Action> {
        for fault in &mut self.list {
            if !meant(fault) || !fault.matcher.matches(method, path) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            match &mut fault.times {
                Some(0) => {}
                Some(left) => {
                    *left -= 1;
                    return Some(fault.action.clone());
                }
                None => return Some(fault.action.clone()),
            }
        }
        None
    }
}

impl Matcher {
    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|m| m == method)
            && self.path.as_deref().is_none_or(|p| glob(p, path))
    }
}

/// Whether `pattern`, in which `*` stands for any run of characters, covers all of `text`.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some((_, tail)) = rest.split_once(piece) else {
            return false;
        };
        rest = tail;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_covers_the_whole_path() {
        let cases = [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/c", false),
            ("/a/*", "/a/b/c", true),
            ("*/dns_records", "/zones/x/dns_records", true),
            ("*/dns_records", "/zones/x/dns_records/y", false),
            ("/a/*/c/*", "/a/b/c/d", true),
            ("/a/*/c", "/a/c", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn after_lets_matches_pass_and_times_bounds_the_rest() {
        let mut faults = Faults::default();
        let fault = r#"{"match":{"method":"GET"},"after":1,"times":2,"action":{"status":500}}"#;
        faults.add(vec![serde_json::from_str(fault).unwrap()]);
        let hits: Vec<bool> = (0..5).map(|_| faults.take("GET", "/x").is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.take("POST", "/x").is_none());
    }

    #[test]
    fn an_action_without_effect_is_refused() {
        let fault: Fault = serde_json::from_str(r#"{"action":{"headers":{"a":"b"}}}"#).unwrap();
        assert!(fault.check().is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"action":{"explode":true}}"#).is_err());
    }
}
