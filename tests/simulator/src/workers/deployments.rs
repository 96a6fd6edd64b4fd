//! Deployments: which versions get the traffic.
//!
//! NOTES "Workers": `{strategy: "percentage", versions: [{version_id, percentage}], annotations{}}`,
//! query `force`; 1 or 2 versions, sum 100. Rollback is deploying an older version. Cloudflare's page
//! "Rollbacks" says what cannot come back: any but the 100 newest versions, one from before a Durable
//! Object migration, one bound to a KV namespace, R2 bucket or queue that is gone.

use serde_json::{Value, json};

use super::state::{Deployment, Object, Origin, Script, is_secret};
use super::versions::{DEPLOYABLE, no_such_version};
use super::{bindings, names, script, script_mut, source, upload, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;

/// The bounds are a hypothesis (NOTES "Envelope, errors, pagination": most others 50–100).
const PAGES: Bounds = Bounds {
    min: 1,
    default: 25,
    max: 100,
};

/// How many deployments are listed: wrangler says of its list, which is this one, that it has the
/// ten newest (*wrangler*). Older ones can still be read by their id (hypothesis).
const LISTED: usize = 10;

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/scripts/{script_name}/deployments";
    const ONE: &str =
        "/accounts/{account_id}/workers/scripts/{script_name}/deployments/{deployment}";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("DELETE", ONE, delete),
    ]
}

/// The result is `{deployments}`, the one that serves traffic first (*SDK*).
fn list(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, PAGES)?;
    let found: Vec<Value> = script(call)?
        .deployments
        .iter()
        .rev()
        .take(LISTED)
        .map(Deployment::render)
        .collect();
    let (shown, info) = page.cut(&found);
    Ok(Reply::with_info(&json!({"deployments": shown}), &info))
}

/// 10336 is *seen*.
fn no_such_deployment() -> ApiError {
    ApiError::new(
        404,
        10_336,
        "The deployment does not exist for this Worker.",
    )
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.param("deployment");
    let found = script(call)?.deployments.iter().find(|d| d.id == id);
    let found = found.ok_or_else(no_such_deployment)?;
    Ok(Reply::ok(&found.render()))
}

/// What serves traffic cannot be deleted (*SDK*); the code is a hypothesis.
fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.param("deployment").to_owned();
    let script = script_mut(call)?;
    let place = script.deployments.iter().position(|d| d.id == id);
    let place = place.ok_or_else(no_such_deployment)?;
    if place + 1 == script.deployments.len() {
        return Err(validation("the active deployment cannot be deleted"));
    }
    script.deployments.remove(place);
    Ok(Reply::ok(&Value::Null))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let script = script(call)?;
    let body = call.object()?;
    if body.get("strategy") != Some(&json!("percentage")) {
        return Err(validation("strategy must be percentage"));
    }
    let versions = split(script, body.get("versions"))?;
    let annotations = upload::annotations(&body)?;
    can_come_back(call, script, &versions)?;
    if call.query.get("force") != Some("true") {
        secrets_are_the_same(script, &versions)?;
    }
    let is_older = versions
        .iter()
        .all(|(id, _)| script.latest().is_some_and(|latest| latest.id != *id));
    let origin = Origin {
        source: source(call),
        trigger: if is_older { "rollback" } else { "deployment" },
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let script = script_mut(call)?;
    script.deploy(versions, annotations, origin, &mut ids, now);
    let shown = script.deployments.last().map(Deployment::render);
    call.world.ids = ids;
    Ok(Reply::ok(&shown))
}

/// The versions of a deployment with their shares. The code for a wrong split is a hypothesis.
fn split(script: &Script, versions: Option<&Value>) -> Result<Vec<(String, f64)>, ApiError> {
    let list = versions.and_then(Value::as_array);
    let list = list
        .filter(|list| matches!(list.len(), 1 | 2))
        .ok_or_else(|| validation("versions must list one or two versions"))?;
    let mut split: Vec<(String, f64)> = Vec::new();
    for one in list {
        let id = one
            .get("version_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let version = script.version(id).ok_or_else(no_such_version)?;
        let percentage = one
            .get("percentage")
            .and_then(Value::as_f64)
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| validation("percentage must be a number from 0 to 100"))?;
        if split.iter().any(|(other, _)| *other == version.id) {
            return Err(validation("a version can be listed once only"));
        }
        split.push((version.id.clone(), percentage));
    }
    let sum: f64 = split.iter().map(|(_, percentage)| percentage).sum();
    if (sum - 100.0).abs() > 0.001 {
        return Err(validation(format!(
            "the percentages of versions must sum to 100, and sum to {sum}"
        )));
    }
    Ok(split)
}

/// Refuses a version that is too old, or from before something changed that no deployment brings
/// back; `force` does not help.
///
/// 100147 and 100140 with their messages are *seen* of rollbacks, before there were versions; that
/// they stand for versions is a hypothesis.
fn can_come_back(
    call: &Call<'_>,
    script: &Script,
    versions: &[(String, f64)],
) -> Result<(), ApiError> {
    let (account, _) = names(call)?;
    let newest = script.versions.len();
    let is_serving = |id: &str| {
        script
            .deployed()
            .is_some_and(|(_, serving)| serving.iter().any(|(other, _)| other == id))
    };
    for (id, _) in versions {
        let Some(version) = script.version(id) else {
            continue;
        };
        if version.number + DEPLOYABLE <= newest {
            return Err(ApiError::bad(
                100_147,
                "workers.api.error.deployment_too_old",
            ));
        }
        let mut changed = Vec::new();
        let tag = version.draft.runtime.get("migration_tag");
        if tag.and_then(Value::as_str) != script.migration_tag.as_deref() {
            let tag = script.migration_tag.as_deref().unwrap_or_default();
            changed.push(format!("durable-object:{tag}"));
        }
        if !is_serving(id) {
            changed.extend(bindings::gone(
                call.world,
                &account,
                &version.draft.bindings,
            ));
        }
        if !changed.is_empty() {
            let changed = changed.join(",");
            return Err(ApiError::bad(
                100_140,
                format!("Failed to rollback due to external resources being modified ({changed})"),
            ));
        }
    }
    Ok(())
}

/// 10220 (*wrangler*): an older version comes back only by force when secrets changed since.
fn secrets_are_the_same(script: &Script, versions: &[(String, f64)]) -> Result<(), ApiError> {
    let secrets = |bindings: &[Object]| -> Vec<Object> {
        bindings.iter().filter(|b| is_secret(b)).cloned().collect()
    };
    let now = script
        .serving()
        .map(|version| secrets(&version.draft.bindings));
    let now = now.unwrap_or_default();
    for (id, _) in versions {
        let Some(version) = script.version(id) else {
            continue;
        };
        let is_newer = script
            .serving()
            .is_some_and(|serving| version.number >= serving.number);
        let then = secrets(&version.draft.bindings);
        let mut changed: Vec<&str> = now
            .iter()
            .filter(|secret| !then.contains(secret))
            .chain(then.iter().filter(|secret| !now.contains(secret)))
            .filter_map(|secret| secret.get("name").and_then(Value::as_str))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        if !is_newer && !changed.is_empty() {
            return Err(ApiError::bad(
                10_220,
                format!("The following secrets have changed: {}", changed.join(", ")),
            ));
        }
    }
    Ok(())
}
