//! One DNS record: reading it from a body with Cloudflare's validation, and rendering it.
//!
//! NOTES "DNS records". Since 2024-10-01 the root cause of a refusal is returned directly (NOTES
//! "Error codes", 1004); 9004, 9005, 9006, 9008 and 9021 are codes seen in public threads.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::ApiError;
use crate::clock::Now;
use crate::dns::{kinds, names};
use crate::zones::Plan;

/// What a client decides about a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) content: String,
    pub(crate) priority: Option<u16>,
    pub(crate) data: Option<Map<String, Value>>,
    pub(crate) ttl: u32,
    pub(crate) proxied: bool,
    pub(crate) comment: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) settings: Map<String, Value>,
    pub(crate) private_routing: Option<bool>,
}

/// A stored record.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) draft: Draft,
    pub(crate) created_on: String,
    comment_modified_on: Option<String>,
    tags_modified_on: Option<String>,
    /// The rendered answer, so that long lists are cheap.
    pub(crate) json: String,
}

/// The zone that a record is judged in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) zone: &'a str,
    pub(crate) plan: Plan,
}

/// The answer's members, in Cloudflare's order.
#[derive(Serialize)]
struct Rendered<'a> {
    id: &'a str,
    name: &'a str,
    r#type: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u16>,
    proxiable: bool,
    proxied: bool,
    ttl: u32,
    settings: &'a Map<String, Value>,
    meta: Map<String, Value>,
    comment: Option<&'a str>,
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_routing: Option<bool>,
    created_on: &'a str,
    modified_on: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment_modified_on: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags_modified_on: Option<&'a str>,
}

impl Record {
    /// The record that `draft` makes, new or in place of `old`.
    pub(crate) fn new(id: String, draft: Draft, old: Option<&Self>, now: Now) -> Self {
        let modified_on = now.rfc3339();
        let created_on = old.map_or_else(|| modified_on.clone(), |o| o.created_on.clone());
        let comment_changed = old.map_or(draft.comment.is_some(), |o| {
            o.draft.comment != draft.comment
        });
        let tags_changed = old.map_or(!draft.tags.is_empty(), |o| o.draft.tags != draft.tags);
        let comment_modified_on = if comment_changed {
            Some(modified_on.clone())
        } else {
            old.and_then(|o| o.comment_modified_on.clone())
        };
        let tags_modified_on = if tags_changed {
            Some(modified_on.clone())
        } else {
            old.and_then(|o| o.tags_modified_on.clone())
        };
        let rendered = Rendered {
            id: &id,
            name: &draft.name,
            r#type: draft.kind,
            content: &draft.content,
            priority: draft.priority,
            proxiable: kinds::proxiable(draft.kind),
            proxied: draft.proxied,
            ttl: draft.ttl,
            settings: &draft.settings,
            meta: Map::new(),
            comment: draft.comment.as_deref(),
            tags: &draft.tags,
            data: draft.data.as_ref(),
            private_routing: draft.private_routing,
            created_on: &created_on,
            modified_on: &modified_on,
            comment_modified_on: comment_modified_on.as_deref(),
            tags_modified_on: tags_modified_on.as_deref(),
        };
        // Strings, numbers and maps with string keys always serialise.
        let json = serde_json::to_string(&rendered).unwrap_or_default();
        Self {
            id,
            draft,
            created_on,
            comment_modified_on,
            tags_modified_on,
            json,
        }
    }
}

/// The text of TXT content without quotes, which is what makes two of them the same.
pub(crate) fn comparable(kind: &str, content: &str) -> String {
    if kind != "TXT" || !content.starts_with('"') {
        return content.to_owned();
    }
    let mut out = String::new();
    let mut quoted = false;
    let mut chars = content.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => out.extend(chars.next()),
            c if quoted => out.push(c),
            _ => {}
        }
    }
    out
}

impl Draft {
    /// Reads a body. With `base` members that the body lacks are taken from it (PATCH); without,
    /// they fall back to defaults (POST and PUT).
    ///
    /// # Errors
    /// 400 with the code of the first rule broken.
    pub(crate) fn read(
        body: &Map<String, Value>,
        base: Option<&Self>,
        scope: Scope<'_>,
    ) -> Result<Self, ApiError> {
        let given = |key: &str| body.get(key).filter(|v| !v.is_null());
        let kind = match (given("type"), base) {
            (None, Some(base)) => base.kind,
            (value, _) => value
                .and_then(Value::as_str)
                .and_then(kinds::kind)
                .ok_or_else(|| validation("DNS record type is invalid."))?,
        };
        let name = match (given("name"), base) {
            (None, Some(base)) => base.name.clone(),
            (value, _) => value
                .and_then(Value::as_str)
                .and_then(|n| names::full(n, scope.zone))
                .ok_or_else(|| ApiError::bad(9000, "DNS name is invalid."))?,
        };
        let priority = priority(kind, given("priority"), base)?;
        let (content, data) = value(kind, given("content"), given("data"), base)?;
        let content = match priority {
            // The derived content of URI starts with its priority.
            Some(p) if kind == "URI" => format!("{p} {content}"),
            _ => content,
        };
        if kind == "CNAME" && content == name {
            return Err(ApiError::bad(
                9039,
                "CNAME content cannot reference itself.",
            ));
        }
        let proxied = match (body.get("proxied"), base) {
            (None, Some(base)) => base.proxied,
            (None | Some(Value::Null), _) => false,
            (Some(v), _) => v
                .as_bool()
                .ok_or_else(|| validation("proxied must be true or false."))?,
        };
        if proxied && !kinds::proxiable(kind) {
            // Message as seen: "This kind of record cannot be proxied".
            return Err(ApiError::bad(9004, "This record type cannot be proxied."));
        }
        let ttl = match (given("ttl"), base) {
            (None, Some(base)) => base.ttl,
            (None, None) => 1,
            (Some(v), _) => ttl(v, scope.plan)?,
        };
        let (comment, tags) = notes(body, base)?;
        Ok(Self {
            kind,
            name,
            content,
            priority,
            data,
            // NOTES "DNS records": proxied records are forced to automatic.
            ttl: if proxied { 1 } else { ttl },
            proxied,
            comment,
            tags,
            settings: settings(kind, body.get("settings"), base)?,
            private_routing: given("private_routing")
                .and_then(Value::as_bool)
                .or_else(|| base.and_then(|b| b.private_routing)),
        })
    }
}

fn validation(message: &'static str) -> ApiError {
    // NOTES "Error codes": 1004 (400), DNS validation error.
    ApiError::bad(1004, message)
}

/// NOTES "DNS records": 1 = automatic, else 60–86400, minimum 30 on Enterprise.
pub(crate) fn ttl(value: &Value, plan: Plan) -> Result<u32, ApiError> {
    let min = min_ttl(plan);
    value
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n == 1 || (min..=86_400).contains(n))
        .ok_or_else(|| {
            ApiError::bad(
                9021,
                format!(
                    "Invalid TTL. Must be between {min} and 86400 seconds, or 1 for Automatic."
                ),
            )
        })
}

/// The shortest TTL of a plan, automatic aside.
pub(crate) fn min_ttl(plan: Plan) -> u32 {
    if plan == Plan::Enterprise { 30 } else { 60 }
}

fn priority(
    kind: &str,
    given: Option<&Value>,
    base: Option<&Draft>,
) -> Result<Option<u16>, ApiError> {
    if !kinds::has_priority(kind) {
        return Ok(None);
    }
    match (given, base) {
        (None, Some(base)) => Ok(base.priority),
        (value, _) => value
            .and_then(Value::as_u64)
            .and_then(|n| u16::try_from(n).ok())
            .map(Some)
            .ok_or_else(|| {
                ApiError::bad(
                    9008,
                    "Invalid priority, priority must be set and be between 0 and 65535",
                )
            }),
    }
}

/// The record's value: plain content, or `data` with the content derived from it.
fn value(
    kind: &'static str,
    content: Option<&Value>,
    data: Option<&Value>,
    base: Option<&Draft>,
) -> Result<(String, Option<Map<String, Value>>), ApiError> {
    if kinds::structured(kind) {
        let data = match (data, content, base) {
            (Some(Value::Object(map)), _, _) => map.clone(),
            (Some(_), _, _) => return Err(validation("data must be an object.")),
            (None, Some(text), _) => text
                .as_str()
                .and_then(|t| kinds::from_words(kind, &super::bind::words(t)))
                .ok_or_else(|| invalid_content(kind))?,
            (None, None, Some(base)) => base.data.clone().unwrap_or_default(),
            (None, None, None) => Map::new(),
        };
        let (data, content) = kinds::from_data(kind, &data)?;
        return Ok((content, Some(data)));
    }
    let text = match (content, base) {
        (None, Some(base)) => return Ok((base.content.clone(), None)),
        (value, _) => value
            .and_then(Value::as_str)
            .map(str::trim)
            .unwrap_or_default(),
    };
    let kept = match kind {
        "A" => text
            .parse::<std::net::Ipv4Addr>()
            .ok()
            .map(|a| a.to_string()),
        "AAAA" => text
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|a| a.to_string()),
        // The trailing dot of a host name is not kept.
        "CNAME" | "MX" | "NS" | "PTR" => names::target(text),
        // The bound on length is a hypothesis.
        _ => Some(text.to_owned()).filter(|t| !t.is_empty() && t.len() <= 4096),
    };
    kept.map(|c| (c, None)).ok_or_else(|| invalid_content(kind))
}

fn invalid_content(kind: &str) -> ApiError {
    match kind {
        "A" => ApiError::bad(9005, "Content for A record must be a valid IPv4 address."),
        "AAAA" => ApiError::bad(
            9006,
            "Content for AAAA record must be a valid IPv6 address.",
        ),
        "CNAME" => ApiError::bad(9007, "Content for CNAME record is invalid."),
        "MX" => ApiError::bad(9009, "Content for MX record is invalid."),
        _ => ApiError::bad(
            1004,
            format!("DNS Validation Error: content for {kind} record is invalid."),
        ),
    }
}

/// `comment` and `tags`; `null` clears them.
fn notes(
    body: &Map<String, Value>,
    base: Option<&Draft>,
) -> Result<(Option<String>, Vec<String>), ApiError> {
    let comment = match (body.get("comment"), base) {
        (None, Some(base)) => base.comment.clone(),
        (None | Some(Value::Null), _) => None,
        (Some(Value::String(text)), _) => Some(text.clone()).filter(|t| !t.is_empty()),
        _ => return Err(validation("comment must be a string.")),
    };
    let tags = match (body.get("tags"), base) {
        (None, Some(base)) => base.tags.clone(),
        (None | Some(Value::Null), _) => Vec::new(),
        (Some(value), _) => {
            let mut tags: Vec<String> = serde_json::from_value(value.clone())
                .map_err(|_| validation("tags must be a list of strings."))?;
            if tags.iter().any(|t| t.is_empty() || t.starts_with(':')) {
                return Err(validation("A tag needs a name."));
            }
            tags.sort();
            tags.dedup();
            tags
        }
    };
    Ok((comment, tags))
}

/// NOTES "DNS records": `flatten_cname` (CNAME), `ipv4_only`, `ipv6_only`.
fn settings(
    kind: &str,
    given: Option<&Value>,
    base: Option<&Draft>,
) -> Result<Map<String, Value>, ApiError> {
    let map = match (given, base) {
        (None, Some(base)) => return Ok(base.settings.clone()),
        (None | Some(Value::Null), _) => return Ok(Map::new()),
        (Some(Value::Object(map)), _) => map,
        _ => return Err(validation("settings must be an object.")),
    };
    for (key, value) in map {
        let known = matches!(key.as_str(), "ipv4_only" | "ipv6_only")
            || (key == "flatten_cname" && kind == "CNAME");
        if !known || !(value.is_boolean() || value.is_null()) {
            return Err(ApiError::bad(
                1004,
                format!("DNS Validation Error: setting {key} is not valid for this {kind} record."),
            ));
        }
    }
    Ok(map.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &Value, plan: Plan, expected: Result<(&str, &str, u32), u32>) {
        let scope = Scope {
            zone: "example.com",
            plan,
        };
        let got = Draft::read(body.as_object().unwrap(), None, scope);
        let got = got.as_ref().map_err(|e| e.code);
        let got = got.map(|d| (d.name.as_str(), d.content.as_str(), d.ttl));
        assert_eq!(got, expected, "{body}");
    }

    #[test]
    fn each_type_checks_its_content() {
        let ok = |name, content| Ok((name, content, 1));
        let free = Plan::Free;
        check(
            &json!({"type": "A", "name": "w", "content": "192.0.2.1"}),
            free,
            ok("w.example.com", "192.0.2.1"),
        );
        check(
            &json!({"type": "A", "name": "w", "content": "2001:db8::1"}),
            free,
            Err(9005),
        );
        check(
            &json!({"type": "A", "name": "w", "content": "1.2.3"}),
            free,
            Err(9005),
        );
        check(&json!({"type": "A", "name": "w"}), free, Err(9005));
        check(
            &json!({"type": "AAAA", "name": "w", "content": "2001:DB8:0::1"}),
            free,
            ok("w.example.com", "2001:db8::1"),
        );
        check(
            &json!({"type": "AAAA", "name": "w", "content": "192.0.2.1"}),
            free,
            Err(9006),
        );
        check(
            &json!({"type": "CNAME", "name": "w", "content": "A.example.net."}),
            free,
            ok("w.example.com", "a.example.net"),
        );
        check(
            &json!({"type": "CNAME", "name": "w", "content": "192.0.2.1"}),
            free,
            Err(9007),
        );
        check(
            &json!({"type": "CNAME", "name": "w", "content": "w.example.com"}),
            free,
            Err(9039),
        );
        check(
            &json!({"type": "MX", "name": "@", "content": "m.example.net"}),
            free,
            Err(9008),
        );
        check(
            &json!({"type": "MX", "name": "@", "content": "192.0.2.1", "priority": 1}),
            free,
            Err(9009),
        );
        check(
            &json!({"type": "TXT", "name": "@", "content": ""}),
            free,
            Err(1004),
        );
        check(
            &json!({"type": "SPF", "name": "@", "content": "x"}),
            free,
            Err(1004),
        );
        check(
            &json!({"type": "TXT", "name": "x.other.", "content": "x"}),
            free,
            Err(9000),
        );
        check(&json!({"type": "SRV", "name": "_a._tcp"}), free, Err(9101));
    }

    #[test]
    fn ttl_depends_on_plan_and_proxying() {
        let a = |ttl: i64, proxied: bool| json!({"type": "A", "name": "@", "content": "192.0.2.1", "ttl": ttl, "proxied": proxied});
        let ok = |ttl| Ok(("example.com", "192.0.2.1", ttl));
        check(&a(60, false), Plan::Free, ok(60));
        check(&a(59, false), Plan::Pro, Err(9021));
        check(&a(30, false), Plan::Enterprise, ok(30));
        check(&a(29, false), Plan::Enterprise, Err(9021));
        check(&a(86_401, false), Plan::Enterprise, Err(9021));
        check(&a(0, false), Plan::Free, Err(9021));
        check(&a(300, true), Plan::Free, ok(1));
        check(
            &json!({"type": "TXT", "name": "@", "content": "x", "proxied": true}),
            Plan::Free,
            Err(9004),
        );
    }

    #[test]
    fn quoted_and_bare_text_compare_equal() {
        assert_eq!(comparable("TXT", r#""a b" "c\"d""#), "a bc\"d");
        assert_eq!(comparable("TXT", "a b"), "a b");
    }
}
