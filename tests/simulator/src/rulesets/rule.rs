//! One rule: what it may hold in its phase.
//!
//! NOTES "Rulesets": the fields of a rule, the actions and what some of them need. Which action
//! belongs to which phase is a hypothesis, and so is code 20127.

use serde_json::{Value, json};

use crate::api::ApiError;
use crate::objects::{Members, Object};

/// NOTES "Rulesets": phases seen in the SDK, and those beside it.
pub(super) const PHASES: [&str; 23] = [
    "http_request_sanitize",
    "http_request_dynamic_redirect",
    "http_request_redirect",
    "http_request_transform",
    "http_request_late_transform",
    "http_request_origin",
    "http_request_cache_settings",
    "http_config_settings",
    "http_request_firewall_custom",
    "http_request_firewall_managed",
    "http_request_sbfm",
    "http_ratelimit",
    "http_custom_errors",
    "http_log_custom_fields",
    "http_response_headers_transform",
    "http_response_compression",
    "http_response_cache_settings",
    "http_response_firewall_managed",
    "ddos_l4",
    "ddos_l7",
    "magic_transit",
    "magic_transit_managed",
    "magic_transit_ratelimit",
];

/// NOTES "Rulesets": the 22 actions.
const ACTIONS: [&str; 22] = [
    "block",
    "bypass",
    "challenge",
    "js_challenge",
    "managed_challenge",
    "log",
    "skip",
    "execute",
    "redirect",
    "rewrite",
    "route",
    "score",
    "serve_error",
    "set_cache_settings",
    "set_cache_control",
    "set_cache_tags",
    "set_config",
    "compress_response",
    "log_custom_field",
    "force_connection_close",
    "ddos_dynamic",
    "transform_response_html",
];

const FIELDS: [&str; 14] = [
    "id",
    "ref",
    "version",
    "last_updated",
    "action",
    "action_parameters",
    "expression",
    "description",
    "enabled",
    "logging",
    "ratelimit",
    "exposed_credential_check",
    "categories",
    "dry_run",
];

/// The actions of the phases that take few.
fn actions_of(phase: &str) -> Option<&'static [&'static str]> {
    Some(match phase {
        "http_request_cache_settings" => &["set_cache_settings"],
        "http_request_dynamic_redirect" | "http_request_redirect" => &["redirect"],
        "http_request_transform"
        | "http_request_late_transform"
        | "http_response_headers_transform" => &["rewrite"],
        "http_request_origin" => &["route"],
        "http_config_settings" => &["set_config"],
        "http_request_firewall_custom" => &[
            "block",
            "challenge",
            "js_challenge",
            "managed_challenge",
            "log",
            "skip",
        ],
        "http_ratelimit" => &[
            "block",
            "challenge",
            "js_challenge",
            "managed_challenge",
            "log",
        ],
        "http_request_firewall_managed" => &["execute", "skip", "log"],
        "http_custom_errors" => &["serve_error"],
        "http_response_compression" => &["compress_response"],
        "http_log_custom_fields" => &["log_custom_field"],
        _ => return None,
    })
}

/// A rule that is refused.
pub(super) fn bad(message: String) -> ApiError {
    ApiError::bad(20_127, message)
}

/// Judges a rule as a caller sent it and gives what is stored of it, without `id`, `ref`,
/// `version` and `last_updated`.
pub(super) fn check(rule: &Value, phase: &str, kind: &str) -> Result<Object, ApiError> {
    let rule = rule
        .as_object()
        .ok_or_else(|| bad("a rule must be an object".to_owned()))?;
    if let Some(field) = rule.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(bad(format!("unknown field {field:?} in a rule")));
    }
    let action = rule
        .get("action")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let allowed = actions_of(phase).unwrap_or(&ACTIONS);
    // The rules of an account's phase run the rulesets made there.
    let runs_custom = kind == "root" && action == "execute";
    if !ACTIONS.contains(&action) || !(allowed.contains(&action) || runs_custom) {
        return Err(bad(format!(
            "{action:?} is not a valid value for action because it is not allowed in the phase {phase}"
        )));
    }
    let expression = rule
        .get("expression")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if let Err(why) = expression_is_sound(expression) {
        return Err(bad(format!(
            "{expression:?} is not a valid value for expression because {why}"
        )));
    }
    for (name, is_right) in [
        ("enabled", Value::is_boolean as fn(&Value) -> bool),
        ("description", Value::is_string),
        ("ref", Value::is_string),
        ("action_parameters", Value::is_object),
        ("logging", Value::is_object),
        ("ratelimit", Value::is_object),
    ] {
        if rule.get(name).is_some_and(|value| !is_right(value)) {
            return Err(bad(format!("{name} of a rule has the wrong type")));
        }
    }
    let parameters = rule.get("action_parameters");
    if action == "execute" && parameters.is_none_or(|p| !p.at("id").is_string()) {
        return Err(bad("execute needs action_parameters.id".to_owned()));
    }
    if action == "skip" && parameters.is_none() {
        return Err(bad("skip needs action_parameters".to_owned()));
    }
    check_ratelimit(rule.get("ratelimit"), phase)?;
    let mut kept = rule.clone();
    kept.retain(|name, _| !matches!(name.as_str(), "id" | "ref" | "version" | "last_updated"));
    kept.entry("enabled").or_insert(json!(true));
    Ok(kept)
}

/// NOTES "Rulesets": the fields of `ratelimit`; periods allowed depend on the plan (hypothesis).
fn check_ratelimit(ratelimit: Option<&Value>, phase: &str) -> Result<(), ApiError> {
    let Some(limit) = ratelimit else {
        return match phase {
            "http_ratelimit" => Err(bad("a rule of http_ratelimit needs ratelimit".to_owned())),
            _ => Ok(()),
        };
    };
    if phase != "http_ratelimit" {
        return Err(bad(format!(
            "ratelimit is not allowed in the phase {phase}"
        )));
    }
    let by_colo = limit
        .at("characteristics")
        .as_array()
        .is_some_and(|list| list.iter().any(|c| c == "cf.colo.id"));
    if !by_colo {
        return Err(bad(
            "ratelimit.characteristics must contain cf.colo.id".to_owned()
        ));
    }
    let periods = [
        10, 15, 20, 30, 40, 45, 60, 90, 120, 180, 240, 300, 480, 600, 900, 1200, 1800, 2400, 3600,
        65_535, 86_400,
    ];
    if limit
        .at("period")
        .as_u64()
        .is_none_or(|p| !periods.contains(&p))
    {
        return Err(bad(format!(
            "{} is not a valid value for ratelimit.period",
            limit.at("period")
        )));
    }
    let counts = |name: &str| limit.at(name).as_u64().is_some_and(|n| n > 0);
    if !counts("requests_per_period") && !counts("score_per_period") {
        return Err(bad(
            "ratelimit needs requests_per_period or score_per_period".to_owned(),
        ));
    }
    Ok(())
}

/// Whether an expression is not empty, closes what it opens, and is short enough.
///
/// The real language is not modelled; 4 KB as the longest is general knowledge (hypothesis).
fn expression_is_sound(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        return Err("it is empty");
    }
    if text.len() > 4096 {
        return Err("it is longer than 4096 bytes");
    }
    let mut open = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '(' | '{' | '[' => open.push(character),
            ')' | '}' | ']' => {
                let expected = match character {
                    ')' => '(',
                    '}' => '{',
                    _ => '[',
                };
                if open.pop() != Some(expected) {
                    return Err("a bracket is closed that was not opened");
                }
            }
            '"' => loop {
                match characters.next() {
                    Some('\\') => {
                        characters.next();
                    }
                    Some('"') => break,
                    Some(_) => {}
                    None => return Err("a string is not closed"),
                }
            },
            _ => {}
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err("a bracket is not closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_closes_what_it_opens() {
        let cases = [
            ("true", true),
            (
                r#"(http.host eq "a)b\"" and ip.src in {192.0.2.0/24})"#,
                true,
            ),
            ("", false),
            ("(a", false),
            ("a)", false),
            ("(a}", false),
            ("a eq \"b", false),
        ];
        for (text, sound) in cases {
            assert_eq!(expression_is_sound(text).is_ok(), sound, "{text}");
        }
    }
}
