//! Versions: uploaded without being deployed, listed and read.
//!
//! NOTES "Workers": `POST …/versions` (multipart, does not deploy), `GET …/versions[/{id}]` (page).

use serde_json::{Value, json};

use super::state::{Object, Origin, Version, is_secret};
use super::{bindings, names, no_such_worker, script, script_mut, source, upload, validation};
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

/// How many of the newest versions can be deployed (Cloudflare's changelog of 2025-09-11).
pub(super) const DEPLOYABLE: usize = 100;

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/scripts/{script_name}/versions";
    const ONE: &str = "/accounts/{account_id}/workers/scripts/{script_name}/versions/{version}";
    // Behind this path wrangler puts the Worker's name where an id is meant (*wrangler*).
    const LATEST: &str = "/accounts/{account_id}/workers/workers/{script_name}/versions/latest";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PATCH", LATEST, patch_latest),
    ]
}

/// The result is `{items}`, newest first (*SDK*). `deployable=true` leaves away what is too old to be
/// deployed.
fn list(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, PAGES)?;
    let deployable = call.query.get("deployable") == Some("true");
    let script = script(call)?;
    let reach = if deployable { DEPLOYABLE } else { usize::MAX };
    let found: Vec<Value> = script
        .versions
        .iter()
        .rev()
        .take(reach)
        .map(Version::summary)
        .collect();
    // All that can be deployed comes in one answer (*wrangler* reads no second page).
    if deployable {
        return Ok(Reply::ok(&json!({"items": found})));
    }
    let (shown, info) = page.cut(&found);
    Ok(Reply::with_info(&json!({"items": shown}), &info))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let script = script(call)?;
    let version = script
        .version(call.param("version"))
        .ok_or_else(no_such_version)?;
    Ok(Reply::ok(&version.render()))
}

/// 100146 is *seen* and *wrangler*.
pub(super) fn no_such_version() -> ApiError {
    ApiError::new(404, 100_146, "The version does not exist for this Worker.")
}

fn create(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let (account, name) = names(call)?;
    let upload = upload::read(call)?;
    let judged = upload::judge(call, &account, &name, upload, true)?;
    let origin = Origin {
        source: source(call),
        trigger: "upload",
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let script = script_mut(call)?;
    script.push(judged.draft, origin, &mut ids, now);
    let shown = script.latest().map(Version::render);
    call.world.ids = ids;
    Ok(Reply::ok(&shown))
}

/// A version like the latest, with other secrets and annotations (*wrangler*, `versions secret`).
fn patch_latest(call: &mut Call<'_>) -> Outcome {
    let body = call.object()?;
    let mut draft = script(call)?
        .latest()
        .map(|version| version.draft.clone())
        .ok_or_else(no_such_worker)?;
    let changes = body.get("env").and_then(Value::as_object);
    for (name, change) in changes.into_iter().flatten() {
        change_secret(&mut draft.bindings, name, change)?;
    }
    draft.annotations = upload::annotations(&body)?;
    let origin = Origin {
        source: source(call),
        trigger: "secret",
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let script = script_mut(call)?;
    script.push(draft, origin, &mut ids, now);
    let shown = script.latest().map(Version::render);
    call.world.ids = ids;
    Ok(Reply::ok(&shown))
}

/// Sets a secret among bindings, or removes it for null.
///
/// # Errors
/// 10021 for what is not a secret, 10053 when another binding has the name.
pub(super) fn change_secret(
    bindings: &mut Vec<Object>,
    name: &str,
    change: &Value,
) -> Result<(), ApiError> {
    let named = |binding: &Object| binding.get("name") == Some(&json!(name));
    if bindings.iter().any(|b| named(b) && !is_secret(b)) {
        return Err(bindings::name_in_use(name));
    }
    if change.is_null() {
        bindings.retain(|binding| !named(binding));
        return Ok(());
    }
    let mut secret = change
        .as_object()
        .cloned()
        .ok_or_else(|| validation(format!("secret {name} must be an object")))?;
    let text = |member: &str| secret.get(member).and_then(Value::as_str);
    match text("type") {
        Some("secret_text") if text("text").is_some() => {}
        Some("secret_key") if text("format").is_some() => {}
        _ => {
            return Err(validation(format!(
                "secret {name} must be a secret_text with a text or a secret_key with a format"
            )));
        }
    }
    secret.insert("name".to_owned(), json!(name));
    match bindings.iter_mut().find(|binding| named(binding)) {
        Some(binding) => *binding = secret,
        None => bindings.push(secret),
    }
    Ok(())
}
