//! Zone settings.
//!
//! NOTES "Zone settings": ids and values, body `{value}` (a few use `{enabled}`), answer
//! `{id,value,editable,modified_on,…}`. The routes for all at once ended 2026-09-15; here they
//! still answer, with a message that says so, because old clients are part of what is simulated.
//! Codes 1003 and 1007 are hypotheses, and so is which plan may edit what.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::objects::{Members, Object};
use crate::router::Route;
use crate::world::Call;
use crate::zones::Plan;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/settings", all),
        ("PATCH", "/zones/{zone_id}/settings", edit_many),
        ("GET", "/zones/{zone_id}/settings/{setting}", get),
        ("PATCH", "/zones/{zone_id}/settings/{setting}", edit),
    ]
}

/// What was set, and when: by zone and setting. What is not here has its default.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    changed: BTreeMap<(String, &'static str), (Value, String)>,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Words(&'static [&'static str]),
    Numbers(&'static [u64]),
    /// The object of HSTS.
    Hsts,
    /// An object with a boolean `enabled`.
    Enabled,
    /// Not `value` but a boolean `enabled`.
    Flag,
}

/// A setting: its id, what it takes, its default and the plan from which on it can be edited.
#[derive(Debug)]
struct Setting(&'static str, Takes, &'static str, Plan);

const ON_OFF: Takes = Takes::Words(&["on", "off"]);
const TTLS: &[u64] = &[
    0, 30, 60, 120, 300, 1200, 1800, 3600, 7200, 10_800, 14_400, 18_000, 28_800, 43_200, 57_600,
    72_000, 86_400, 172_800, 259_200, 345_600, 432_000, 691_200, 1_382_400, 2_073_600, 2_678_400,
    5_356_800, 16_070_400, 31_536_000,
];
const CHALLENGE_TTLS: &[u64] = &[
    300, 900, 1800, 2700, 3600, 7200, 10_800, 14_400, 28_800, 57_600, 86_400, 604_800, 2_592_000,
    31_536_000,
];

/// NOTES "Zone settings": ids and values.
const SETTINGS: [Setting; 37] = [
    Setting("0rtt", ON_OFF, r#""off""#, Plan::Free),
    Setting("always_online", ON_OFF, r#""on""#, Plan::Free),
    Setting("always_use_https", ON_OFF, r#""off""#, Plan::Free),
    Setting("automatic_https_rewrites", ON_OFF, r#""on""#, Plan::Free),
    Setting(
        "browser_cache_ttl",
        Takes::Numbers(TTLS),
        "14400",
        Plan::Free,
    ),
    Setting("browser_check", ON_OFF, r#""on""#, Plan::Free),
    Setting(
        "cache_level",
        Takes::Words(&[
            "bypass",
            "basic",
            "simplified",
            "aggressive",
            "cache_everything",
        ]),
        r#""aggressive""#,
        Plan::Free,
    ),
    Setting(
        "challenge_ttl",
        Takes::Numbers(CHALLENGE_TTLS),
        "1800",
        Plan::Free,
    ),
    Setting("development_mode", ON_OFF, r#""off""#, Plan::Free),
    Setting("early_hints", ON_OFF, r#""off""#, Plan::Free),
    Setting("email_obfuscation", ON_OFF, r#""on""#, Plan::Free),
    Setting("hotlink_protection", ON_OFF, r#""off""#, Plan::Free),
    Setting("http2", ON_OFF, r#""on""#, Plan::Pro),
    Setting("http3", ON_OFF, r#""on""#, Plan::Free),
    Setting("ip_geolocation", ON_OFF, r#""on""#, Plan::Free),
    Setting("ipv6", ON_OFF, r#""on""#, Plan::Free),
    Setting(
        "min_tls_version",
        Takes::Words(&["1.0", "1.1", "1.2", "1.3"]),
        r#""1.0""#,
        Plan::Free,
    ),
    Setting("nel", Takes::Enabled, r#"{"enabled":false}"#, Plan::Free),
    Setting("opportunistic_encryption", ON_OFF, r#""on""#, Plan::Free),
    Setting("opportunistic_onion", ON_OFF, r#""on""#, Plan::Free),
    Setting("orange_to_orange", ON_OFF, r#""off""#, Plan::Enterprise),
    Setting(
        "polish",
        Takes::Words(&["off", "lossless", "lossy"]),
        r#""off""#,
        Plan::Pro,
    ),
    Setting("prefetch_preload", ON_OFF, r#""off""#, Plan::Enterprise),
    Setting("privacy_pass", ON_OFF, r#""on""#, Plan::Free),
    Setting("replace_insecure_js", ON_OFF, r#""on""#, Plan::Free),
    Setting("response_buffering", ON_OFF, r#""off""#, Plan::Enterprise),
    Setting("rocket_loader", ON_OFF, r#""off""#, Plan::Free),
    Setting(
        "security_header",
        Takes::Hsts,
        r#"{"strict_transport_security":{"enabled":false,"max_age":0,"include_subdomains":false,"preload":false,"nosniff":false}}"#,
        Plan::Free,
    ),
    Setting(
        "security_level",
        Takes::Words(&[
            "off",
            "essentially_off",
            "low",
            "medium",
            "high",
            "under_attack",
        ]),
        r#""medium""#,
        Plan::Free,
    ),
    Setting(
        "sort_query_string_for_cache",
        ON_OFF,
        r#""off""#,
        Plan::Enterprise,
    ),
    Setting(
        "ssl",
        Takes::Words(&["off", "flexible", "full", "strict", "origin_pull"]),
        r#""full""#,
        Plan::Free,
    ),
    Setting("ssl_recommender", Takes::Flag, "false", Plan::Free),
    Setting(
        "tls_1_3",
        Takes::Words(&["on", "off", "zrt"]),
        r#""on""#,
        Plan::Free,
    ),
    Setting("tls_client_auth", ON_OFF, r#""off""#, Plan::Free),
    Setting(
        "true_client_ip_header",
        ON_OFF,
        r#""off""#,
        Plan::Enterprise,
    ),
    Setting("waf", ON_OFF, r#""off""#, Plan::Pro),
    Setting("websockets", ON_OFF, r#""on""#, Plan::Free),
];

/// NOTES "Zone settings", the end of the routes for all at once.
const ENDED: &str = "This route ended on 2026-09-15; use /zones/{zone_id}/settings/{setting_id}";

impl Setting {
    fn named(id: &str) -> Result<&'static Self, ApiError> {
        SETTINGS
            .iter()
            .find(|setting| setting.0 == id)
            .ok_or_else(|| ApiError::bad(1003, format!("Undefined zone setting: {id}")))
    }

    fn member(&self) -> &'static str {
        match self.1 {
            Takes::Flag => "enabled",
            _ => "value",
        }
    }

    /// The value of a body, once it fits.
    fn judged(&self, body: &Object, plan: Plan) -> Result<Value, ApiError> {
        let Self(id, takes, _, from) = self;
        let bad =
            |why: &str| ApiError::bad(1007, format!("Invalid value for zone setting {id}: {why}"));
        if plan < *from {
            return Err(ApiError::new(
                403,
                1015,
                format!("The plan of this zone does not allow editing {id}"),
            ));
        }
        let member = self.member();
        let value = body
            .get(member)
            .ok_or_else(|| bad(&format!("{member} is missing")))?;
        let fits = match takes {
            Takes::Words(words) => words.iter().any(|word| value == word),
            Takes::Numbers(numbers) => value.as_u64().is_some_and(|n| numbers.contains(&n)),
            Takes::Flag => value.is_boolean(),
            Takes::Enabled => value.at("enabled").is_boolean(),
            Takes::Hsts => {
                let hsts = value.at("strict_transport_security");
                let flags = ["include_subdomains", "preload", "nosniff"];
                hsts.at("enabled").is_boolean()
                    && (hsts.at("max_age").is_null() || hsts.at("max_age").is_u64())
                    && flags
                        .iter()
                        .all(|f| hsts.at(f).is_null() || hsts.at(f).is_boolean())
            }
        };
        if fits {
            Ok(value.clone())
        } else {
            Err(bad(&format!("{value} is not allowed")))
        }
    }

    fn render(&self, call: &Call<'_>) -> Result<Value, ApiError> {
        let Self(id, _, default, from) = self;
        let zone = call.zone()?;
        let key = (zone.id.clone(), *id);
        let (value, modified_on) = match call.world.settings.changed.get(&key) {
            Some((value, time)) => (value.clone(), json!(time)),
            // The defaults are JSON, which a test sees to.
            None => (
                serde_json::from_str(default).unwrap_or_default(),
                Value::Null,
            ),
        };
        let mut out = json!({"id": id, "modified_on": modified_on, "editable": zone.plan >= *from});
        if let Some(map) = out.as_object_mut() {
            map.insert(self.member().to_owned(), value);
        }
        Ok(out)
    }
}

fn set(call: &mut Call<'_>, setting: &Setting, value: Value) -> Result<(), ApiError> {
    let zone = call.zone()?.id.clone();
    let time = call.now.rfc3339();
    call.world
        .settings
        .changed
        .insert((zone, setting.0), (value, time));
    Ok(())
}

fn get(call: &mut Call<'_>) -> Outcome {
    call.zone()?;
    let setting = Setting::named(call.param("setting"))?;
    Ok(Reply::ok(&setting.render(call)?))
}

fn edit(call: &mut Call<'_>) -> Outcome {
    let plan = call.zone()?.plan;
    let setting = Setting::named(call.param("setting"))?;
    let value = setting.judged(&call.object()?, plan)?;
    set(call, setting, value)?;
    get(call)
}

fn all(call: &mut Call<'_>) -> Outcome {
    let rendered = SETTINGS.iter().map(|setting| setting.render(call));
    let rendered = rendered.collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::with_message(&rendered, 1000, ENDED))
}

/// All or nothing.
fn edit_many(call: &mut Call<'_>) -> Outcome {
    let plan = call.zone()?.plan;
    let body = call.object()?;
    let items = crate::objects::list_of(&body, "items", 1007)?;
    let mut changes = Vec::new();
    for item in items {
        let item = item
            .as_object()
            .ok_or_else(|| ApiError::bad(1007, "an item of items must be an object"))?;
        let setting = Setting::named(item.get("id").and_then(Value::as_str).unwrap_or_default())?;
        changes.push((setting, setting.judged(item, plan)?));
    }
    let mut rendered = Vec::new();
    for (setting, value) in changes {
        set(call, setting, value)?;
        rendered.push(setting.render(call)?);
    }
    Ok(Reply::with_message(&rendered, 1000, ENDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_setting_takes() {
        for setting in &SETTINGS {
            let value: Value = serde_json::from_str(setting.2).unwrap();
            let body = Object::from_iter([(setting.member().to_owned(), value)]);
            assert!(
                setting.judged(&body, Plan::Enterprise).is_ok(),
                "{}",
                setting.0
            );
        }
    }
}
