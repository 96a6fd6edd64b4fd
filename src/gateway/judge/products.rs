//! Bodies that name what they are about: settings, phases of rulesets, keys, host names.

use super::{Judgement, OwnedFacts, Surroundings, keep_fields, malformed, object, sanitised, text};
use crate::audit::Action;
use crate::catalog::Family;
use crate::gateway::refusal::Refusal;
use crate::model::json::Json;
use crate::policy::Thing;

/// `PATCH /zones/{zone_id}/settings`: `{items: [{id, value}]}`.
pub(super) fn settings(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let body = keep_fields(body, &["items"]);
    let wrong = || malformed("The field `items` must be a list of objects with `id` and `value`.");
    let items = body
        .get("items")
        .and_then(Json::as_array)
        .ok_or_else(wrong)?;
    let ids: Vec<String> = items
        .iter()
        .map(|item| {
            item.get("id")
                .and_then(Json::as_str)
                .map(str::to_owned)
                .ok_or_else(wrong)
        })
        .collect::<Result<_, _>>()?;
    if ids.is_empty() {
        return Err(malformed("The field `items` names no setting."));
    }
    let shown: Vec<String> = ids.iter().take(5).map(|id| sanitised(id, 64)).collect();
    let more = ids.len().saturating_sub(shown.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let action = format!(
        "change the settings {}{more} of {}",
        shown.join(", "),
        around.scope
    );
    let things = ids
        .into_iter()
        .map(|id| Thing::new(Family::Settings, id))
        .collect();
    Ok(Judgement::of(
        body,
        OwnedFacts::Things(things),
        Action::new(action),
    ))
}

/// Rules and rulesets. The phase is the one path or ruleset have, and the body's where it has one.
pub(super) fn ruleset(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let named = match around.named {
        OwnedFacts::Things(things) => things.as_slice(),
        _ => &[],
    };
    let mut phases = named.to_vec();
    if let Some(phase) = text(&body, "phase")?
        && !phases.iter().any(|thing| thing.name == phase)
    {
        phases.push(Thing::new(Family::Rulesets, phase));
    }
    let shown = match phases.as_slice() {
        [] => String::new(),
        [phase] => format!(" of the phase {}", sanitised(&phase.name, 64)),
        _ => {
            return Err(malformed(
                "The field `phase` is not the phase of the ruleset.",
            ));
        }
    };
    let action = Action::new(format!("change rules{shown} in {}", around.scope));
    Ok(Judgement::of(body, OwnedFacts::Things(phases), action))
}

/// Several keys of the namespace that the path names: a list of keys, a list of objects with `key`, or
/// an object with `keys`.
pub(super) fn kv_bulk(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    let wrong = || malformed("The body must list keys, or objects with `key`.");
    let items = match &body {
        Json::Array(items) => items.as_slice(),
        other => other
            .get("keys")
            .and_then(Json::as_array)
            .ok_or_else(wrong)?,
    };
    let namespace = match around.named {
        OwnedFacts::Things(things) => things.first().map(|thing| thing.name.clone()),
        _ => None,
    };
    let namespace = namespace.ok_or_else(wrong)?;
    let things = items
        .iter()
        .map(|item| {
            let key = item
                .as_str()
                .or_else(|| item.get("key").and_then(Json::as_str));
            Ok(Thing {
                key: Some(key.ok_or_else(wrong)?.to_owned()),
                ..Thing::new(Family::Kv, namespace.clone())
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let action = format!(
        "use {} keys of the namespace {} in {}",
        things.len(),
        sanitised(&namespace, 64),
        around.scope
    );
    Ok(Judgement::of(
        body,
        OwnedFacts::Things(things),
        Action::new(action),
    ))
}

/// A page rule: `targets[].constraint.value` are the URL patterns it matches.
pub(super) fn page_rule(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let targets = match body.get("targets") {
        None => 0,
        Some(targets) => targets.as_array().map_or(1, <[_]>::len),
    };
    let hosts: Vec<String> = patterns_of(&body).collect();
    if hosts.len() != targets {
        return Err(malformed(
            "The field `targets` must be a list of objects with `constraint.value`, a URL pattern.",
        ));
    }
    let shown = hosts
        .first()
        .map_or_else(String::new, |host| format!(" for {}", sanitised(host, 200)));
    let action = Action::new(format!("set a page rule{shown} of {}", around.scope));
    Ok(Judgement {
        hosts,
        ..Judgement::of(body, OwnedFacts::None, action)
    })
}

/// The URL patterns of a page rule, as written or as Cloudflare shows it.
fn patterns_of(rule: &Json) -> impl Iterator<Item = String> {
    let targets = rule.get("targets").and_then(Json::as_array);
    let targets = targets.unwrap_or_default().iter();
    targets.filter_map(|target| {
        let pattern = target.get("constraint")?.get("value")?;
        pattern.as_str().map(str::to_owned)
    })
}

/// The host names of a page rule or load balancer as Cloudflare shows it.
pub(in crate::gateway) fn hosts_of(shown: &Json) -> Vec<String> {
    let name = shown.get("name").and_then(Json::as_str).map(str::to_owned);
    patterns_of(shown).chain(name).collect()
}

/// A load balancer: its `name` becomes a DNS name of the zone.
pub(super) fn load_balancer(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let name = text(&body, "name")?;
    let shown = name.map_or_else(String::new, |name| format!(" {}", sanitised(name, 253)));
    let action = Action::new(format!("set the load balancer{shown} of {}", around.scope));
    let hosts = name.map(str::to_owned).into_iter().collect();
    Ok(Judgement {
        hosts,
        ..Judgement::of(body, OwnedFacts::None, action)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Judgement, OwnedFacts, Surroundings, judge, read_json};
    use super::*;
    use crate::catalog::Judged;

    #[track_caller]
    fn judged(judged: Judged, named: &OwnedFacts, body: &str) -> Result<Judgement, String> {
        let around = Surroundings {
            path: "/zones/z/x",
            zone_name: Some("example.com"),
            scope: "example.com",
            zone_id: None,
            record_id: None,
            conditioned: true,
            strict: true,
            named,
            credential: "the-callers-own-key",
        };
        let json = read_json(body.as_bytes()).map_err(|refusal| refusal.message)?;
        judge(judged, json, &around)
            .map(|(judgement, _)| judgement)
            .map_err(|refusal| refusal.message)
    }

    fn names(judgement: &Judgement) -> Vec<(&str, Option<&str>)> {
        match &judgement.facts {
            OwnedFacts::Things(things) => things
                .iter()
                .map(|thing| (&*thing.name, thing.key.as_deref()))
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_setting_of_a_list_is_named_and_what_is_beside_the_list_is_dropped() {
        let body = r#"{"items":[{"id":"ssl","value":"off"},{"id":"min_tls_version","value":"1.0"}],"value":"x"}"#;
        let judgement = judged(Judged::Settings, &OwnedFacts::None, body).unwrap();
        assert_eq!(
            names(&judgement),
            [("ssl", None), ("min_tls_version", None)]
        );
        assert!(!judgement.body.write().contains(r#""value":"x""#));
        assert_eq!(
            judgement.action.infinitive(),
            "change the settings ssl, min_tls_version of example.com"
        );
        for bad in [
            "{}",
            r#"{"items":{}}"#,
            r#"{"items":[]}"#,
            r#"{"items":[{"id":1}]}"#,
            "[]",
        ] {
            assert!(
                judged(Judged::Settings, &OwnedFacts::None, bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_phase_is_that_of_path_or_body_and_never_two() {
        let cache = OwnedFacts::Things(vec![Thing::new(
            Family::Rulesets,
            "http_request_cache_settings",
        )]);
        let same = judged(Judged::Ruleset, &cache, r#"{"rules":[]}"#).unwrap();
        assert_eq!(names(&same), [("http_request_cache_settings", None)]);
        let new = judged(
            Judged::Ruleset,
            &OwnedFacts::None,
            r#"{"phase":"http_ratelimit"}"#,
        )
        .unwrap();
        assert_eq!(names(&new), [("http_ratelimit", None)]);
        assert_eq!(
            judged(Judged::Ruleset, &cache, r#"{"phase":"http_ratelimit"}"#).unwrap_err(),
            "The field `phase` is not the phase of the ruleset."
        );
        assert!(judged(Judged::Ruleset, &cache, r#"{"phase":1}"#).is_err());
        assert!(judged(Judged::Ruleset, &cache, r#"{"phase":"a","ph\u0061se":"b"}"#).is_err());
    }

    #[test]
    fn every_key_of_a_bulk_call_is_named() {
        let namespace = OwnedFacts::Things(vec![Thing::new(Family::Kv, "n1")]);
        for body in [
            r#"["a","b"]"#,
            r#"[{"key":"a","value":"1"},{"key":"b"}]"#,
            r#"{"keys":["a","b"]}"#,
        ] {
            let judgement = judged(Judged::KvBulk, &namespace, body).unwrap();
            assert_eq!(
                names(&judgement),
                [("n1", Some("a")), ("n1", Some("b"))],
                "{body}"
            );
        }
        for bad in ["{}", "[1]", r#"[{"value":"x"}]"#, r#""a""#] {
            assert!(judged(Judged::KvBulk, &namespace, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_of_page_rules_and_load_balancers_are_seen() {
        let body = r#"{"targets":[{"target":"url","constraint":{"operator":"matches","value":"*example.com/a"}}],"actions":[]}"#;
        let judgement = judged(Judged::PageRule, &OwnedFacts::None, body).unwrap();
        assert_eq!(judgement.hosts, ["*example.com/a"]);
        assert!(judged(Judged::PageRule, &OwnedFacts::None, r#"{"targets":[{}]}"#).is_err());
        let judgement = judged(
            Judged::LoadBalancer,
            &OwnedFacts::None,
            r#"{"name":"lb.example.com"}"#,
        )
        .unwrap();
        assert_eq!(judgement.hosts, ["lb.example.com"]);
    }
}
