//! Scripts as a whole: list, search, read, upload, delete, and their code.
//!
//! NOTES "Workers": `GET /scripts` is not paged, `scripts-search` is; `PUT` uploads and deploys at
//! 100 %; `GET` of one gives the code, not JSON.

use bytes::Bytes;
use serde_json::{Value, json};

use super::state::{Draft, Entry, Origin, STARTUP_MS, Script};
use super::{bindings, names, no_such_worker, script, script_mut, source, upload};
use crate::api::{ApiError, Outcome, Reply};
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;

/// The bounds are a hypothesis (NOTES "Envelope, errors, pagination": most others 50–100).
const PAGES: Bounds = Bounds {
    min: 1,
    default: 20,
    max: 100,
};

/// The boundary of code that is answered as a form.
const BOUNDARY: &str = "simulated-worker-modules-7f3a9c1e5b2d4860";
const FORM: &str = "multipart/form-data; boundary=simulated-worker-modules-7f3a9c1e5b2d4860";

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/scripts";
    const SEARCH: &str = "/accounts/{account_id}/workers/scripts-search";
    const ONE: &str = "/accounts/{account_id}/workers/scripts/{script_name}";
    const CONTENT: &str = "/accounts/{account_id}/workers/scripts/{script_name}/content";
    const CONTENT_2: &str = "/accounts/{account_id}/workers/scripts/{script_name}/content/v2";
    vec![
        ("GET", ALL, list),
        ("GET", SEARCH, search),
        ("GET", ONE, get),
        ("PUT", ONE, put),
        ("DELETE", ONE, delete),
        ("PUT", CONTENT, put_content),
        ("GET", CONTENT_2, get),
    ]
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let scripts: Vec<_> = call
        .world
        .workers
        .of(&account)
        .map(Script::render)
        .collect();
    Ok(Reply::ok(&scripts))
}

fn search(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let wanted = call.query.get("name").unwrap_or_default();
    let items: Vec<String> = call
        .world
        .workers
        .of(&account)
        .filter(|script| script.name.contains(wanted))
        .map(|script| {
            let mut item = Value::Object(script.render());
            if let Some(map) = item.as_object_mut() {
                map.insert("script_name".to_owned(), json!(script.name));
                map.insert("id".to_owned(), json!(script.tag));
            }
            item.to_string()
        })
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The code of what is served: a form for modules, the text of a script of the older syntax.
fn get(call: &mut Call<'_>) -> Outcome {
    Ok(code(script(call)?))
}

pub(super) fn code(script: &Script) -> Reply {
    let Some(version) = script.serving() else {
        return Reply::bytes("application/javascript", Bytes::new());
    };
    let draft = &version.draft;
    let mut reply = match &draft.entry {
        Entry::Script(name) => {
            let main = draft.modules.iter().find(|module| module.name == *name);
            let content = main.map(|main| main.content.clone()).unwrap_or_default();
            Reply::bytes("application/javascript", content)
        }
        Entry::Module(_) | Entry::Assets => Reply::bytes(FORM, form(draft)),
    };
    reply
        .headers
        .push(("etag", format!("\"{}\"", draft.etag())));
    if let Entry::Module(name) = &draft.entry {
        reply.headers.push(("cf-entrypoint", name.clone()));
    }
    reply
}

fn form(draft: &Draft) -> Bytes {
    let mut body = Vec::new();
    for module in &draft.modules {
        let name = module.name.replace('"', "%22");
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\nContent-Type: {}\r\n\r\n",
            module.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&module.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Bytes::from(body)
}

/// Lower-case letters, digits, hyphens and underscores; the limit is 255 in the schema, and in a
/// host name 63. The code is a hypothesis.
fn check_name(name: &str) -> Result<(), ApiError> {
    let well_formed = (1..=255).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if well_formed {
        return Ok(());
    }
    Err(ApiError::bad(
        10_016,
        "A Worker's name must have lower-case letters, digits, hyphens and underscores only",
    ))
}

fn put(call: &mut Call<'_>) -> Outcome {
    let (account, name) = names(call)?;
    check_name(&name)?;
    let upload = upload::read(call)?;
    let metadata = upload.metadata.clone();
    let judged = upload::judge(call, &account, &name, upload, false)?;
    let origin = Origin {
        source: source(call),
        trigger: "upload",
    };
    let (world, now) = (&mut *call.world, call.now);
    if world.workers.script(&account, &name).is_some() {
        if let Some(script) = world.workers.script_mut(&account, &name) {
            script.release(judged.draft, origin, &mut world.ids, now);
        }
    } else {
        let tag = world.ids.next_id();
        let script = Script::new(&name, tag, judged.draft, origin, &mut world.ids, now);
        world.workers.put(&account, script);
    }
    call.world.workers.classes = judged.classes;
    let script = script_mut(call)?;
    script.migration_tag = judged.migration_tag;
    upload::take_settings(script, &metadata);
    let mut shown = script.render();
    shown.insert("entry_point".to_owned(), entry_point(script));
    shown.insert("startup_time_ms".to_owned(), json!(STARTUP_MS));
    Ok(Reply::ok(&shown))
}

fn entry_point(script: &Script) -> Value {
    match script.latest().map(|version| &version.draft.entry) {
        Some(Entry::Module(name) | Entry::Script(name)) => json!(name),
        _ => Value::Null,
    }
}

/// NOTES "Workers": code only; bindings and settings stay as they are.
fn put_content(call: &mut Call<'_>) -> Outcome {
    let mut draft = script(call)?
        .latest()
        .map(|version| version.draft.clone())
        .ok_or_else(no_such_worker)?;
    let upload = upload::read(call)?;
    draft.entry = upload::entry(&upload.metadata, &upload.modules)?;
    if draft.entry == Entry::Assets {
        return Err(super::validation(
            "metadata must name main_module or body_part",
        ));
    }
    draft.modules = upload.modules;
    bindings::parts_are_there(&draft)?;
    let origin = Origin {
        source: source(call),
        trigger: "upload",
    };
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let script = script_mut(call)?;
    script.release(draft, origin, &mut ids, now);
    let shown = script.render();
    call.world.ids = ids;
    Ok(Reply::ok(&shown))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (account, name) = names(call)?;
    remove(call, &account, &name)?;
    Ok(Reply::ok(&Value::Null))
}

/// Removes a script, unless something depends on it and `force` is not said.
///
/// 10064 for a queue's consumer is *seen*; that it stands for the other dependents too is a
/// hypothesis.
pub(super) fn remove(call: &mut Call<'_>, account: &str, name: &str) -> Result<(), ApiError> {
    let workers = &call.world.workers;
    workers.script(account, name).ok_or_else(no_such_worker)?;
    if call.query.get("force") != Some("true") {
        let mut users = workers.binding(account, "service", "service", name);
        users.extend(workers.binding(account, "durable_object_namespace", "script_name", name));
        users.retain(|user| user != name);
        if let Some(user) = users.first() {
            return Err(ApiError::bad(
                10_064,
                format!("Cannot delete this Worker as it is bound by the Worker {user}."),
            ));
        }
        if call.world.queues.consumed_by(account, name) {
            return Err(ApiError::bad(
                10_064,
                "Cannot delete this Worker as it is a consumer for a Queue.",
            ));
        }
    }
    call.world.workers.remove(account, name);
    Ok(())
}
