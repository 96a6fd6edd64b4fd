//! Settings: those that go with a version, and those of the script itself.
//!
//! NOTES "Workers": `GET|PATCH …/settings` (multipart, one JSON part `settings`; makes a new version),
//! `GET|PATCH …/script-settings` (JSON; `logpush`, `observability`, `tags`, `tail_consumers`).

use serde_json::{Value, json};

use super::bindings::{self, Scope};
use super::state::{Object, Origin, Script};
use super::{form, names, no_such_worker, script, script_mut, source, upload};
use crate::api::{ApiError, Outcome, Reply};
use crate::multipart;
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const VERSIONED: &str = "/accounts/{account_id}/workers/scripts/{script_name}/settings";
    const OWN: &str = "/accounts/{account_id}/workers/scripts/{script_name}/script-settings";
    vec![
        ("GET", VERSIONED, get),
        ("PATCH", VERSIONED, patch),
        ("GET", OWN, get_own),
        ("PATCH", OWN, patch_own),
    ]
}

/// Both kinds of settings together, those of the latest version.
pub(super) fn all(script: &Script) -> Object {
    let mut shown = script.settings.clone();
    if let Some(version) = script.latest() {
        shown.extend(version.draft.runtime.clone());
        shown.insert("bindings".to_owned(), json!(version.draft.shown()));
        shown.insert("annotations".to_owned(), json!(version.draft.annotations));
    }
    shown
        .entry("usage_model")
        .or_insert_with(|| json!("standard"));
    shown
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&all(script(call)?)))
}

fn patch(call: &mut Call<'_>) -> Outcome {
    let (account, name) = names(call)?;
    let current = script(call)?;
    // 10214 is *wrangler*: as with secrets, a change must not deploy what was only uploaded.
    if !current.latest_is_deployed() {
        return Err(ApiError::bad(
            10_214,
            "Settings edit failed. You attempted to modify settings, but the latest version of your Worker isn't currently deployed.",
        ));
    }
    let parts = multipart::parse(call.headers, call.body)?;
    let change = form::object(&parts, "settings")?;
    upload::settings(call, &change)?;
    let latest = current.latest().ok_or_else(no_such_worker)?;
    let mut draft = latest.draft.clone();
    if change.get("bindings").is_some() {
        draft.bindings = bindings::resolve(
            &change,
            Scope {
                world: call.world,
                account: &account,
                name: &name,
                script: Some(current),
                classes: &call.world.workers.classes,
                modules: &draft.modules,
                has_assets: draft.assets.is_some(),
                strict: true,
            },
        )?;
    }
    for key in [
        "compatibility_date",
        "compatibility_flags",
        "limits",
        "placement",
        "usage_model",
    ] {
        match change.get(key) {
            None => {}
            Some(Value::Null) => {
                draft.runtime.remove(key);
            }
            Some(value) => {
                draft.runtime.insert(key.to_owned(), value.clone());
            }
        }
    }
    draft.annotations = upload::annotations(&change)?;
    let origin = Origin {
        source: source(call),
        trigger: "settings",
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let script = script_mut(call)?;
    script.release(draft, origin, &mut ids, now);
    upload::take_settings(script, &change);
    let shown = all(script);
    call.world.ids = ids;
    Ok(Reply::ok(&shown))
}

fn get_own(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&script(call)?.settings))
}

fn patch_own(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let change = call.object()?;
    upload::settings(call, &change)?;
    let script = script_mut(call)?;
    upload::take_settings(script, &change);
    Ok(Reply::ok(&script.settings))
}
