//! Secrets: bindings whose value is never returned. Each change makes a version and deploys it.
//!
//! NOTES "Workers": `{name, text, type}`, `PATCH …/secrets-bulk` with `{NAME: {…} | null}`.

use serde_json::{Value, json};

use super::state::{Draft, Object, Origin, is_secret};
use super::versions::change_secret;
use super::{script, script_mut, source, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/scripts/{script_name}/secrets";
    const ONE: &str = "/accounts/{account_id}/workers/scripts/{script_name}/secrets/{secret_name}";
    const BULK: &str = "/accounts/{account_id}/workers/scripts/{script_name}/secrets-bulk";
    vec![
        ("GET", ALL, list),
        ("PUT", ALL, put),
        ("GET", ONE, get),
        ("DELETE", ONE, delete),
        ("PATCH", BULK, patch),
    ]
}

/// The secrets of a draft, without their values.
fn shown(draft: &Draft) -> Vec<Object> {
    draft.shown().into_iter().filter(is_secret).collect()
}

/// A copy of the latest version, to be changed; it must be what is deployed, or a change of a secret
/// would deploy what was only uploaded.
fn latest(call: &Call<'_>) -> Result<Draft, ApiError> {
    let script = script(call)?;
    let latest = script.latest().filter(|_| script.latest_is_deployed());
    latest.map(|version| version.draft.clone()).ok_or_else(|| {
        // *Wrangler*.
        ApiError::bad(
            10_215,
            "Secret edit failed. You attempted to modify a secret, but the latest version of your Worker isn't currently deployed.",
        )
    })
}

fn release(call: &mut Call<'_>, draft: Draft) -> Result<(), ApiError> {
    let origin = Origin {
        source: source(call),
        trigger: "secret",
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let draft = Draft {
        annotations: Object::new(),
        ..draft
    };
    script_mut(call)?.release(draft, origin, &mut ids, now);
    call.world.ids = ids;
    Ok(())
}

fn list(call: &mut Call<'_>) -> Outcome {
    let script = script(call)?;
    Ok(Reply::ok(&script.latest().map(|v| shown(&v.draft))))
}

/// A secret's place by the path; 10056 is *seen*.
fn find(call: &Call<'_>) -> Result<Object, ApiError> {
    let name = json!(call.param("secret_name"));
    let secrets = script(call)?.latest().map(|v| shown(&v.draft));
    secrets
        .unwrap_or_default()
        .into_iter()
        .find(|secret| secret.get("name") == Some(&name))
        .ok_or_else(|| ApiError::new(404, 10_056, "Binding name not found."))
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&find(call)?))
}

fn put(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let body = call.json()?;
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(validation("a secret needs a name"));
    }
    let mut draft = latest(call)?;
    change_secret(&mut draft.bindings, name, &body)?;
    let answer = draft
        .shown()
        .into_iter()
        .find(|b| b.get("name") == Some(&json!(name)));
    release(call, draft)?;
    Ok(Reply::ok(&answer))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    find(call)?;
    let mut draft = latest(call)?;
    change_secret(&mut draft.bindings, call.param("secret_name"), &Value::Null)?;
    release(call, draft)?;
    Ok(Reply::ok(&Value::Null))
}

/// All changes in one version; the answer has each secret that is there now.
fn patch(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let body = call.object()?;
    let changes = body
        .get("secrets")
        .and_then(Value::as_object)
        .ok_or_else(|| validation("secrets must be an object"))?;
    let mut draft = latest(call)?;
    for (name, change) in changes {
        change_secret(&mut draft.bindings, name, change)?;
    }
    let answer: Object = shown(&draft)
        .into_iter()
        .filter_map(|secret| {
            let name = secret.get("name")?.as_str()?.to_owned();
            Some((name, Value::Object(secret)))
        })
        .collect();
    release(call, draft)?;
    Ok(Reply::ok(&answer))
}
