//! An upload of code and metadata, judged and made into the draft of a version.

use bytes::Bytes;
use serde_json::{Value, json};

use super::bindings::{self, Scope};
use super::form;
use super::migrations::{self, Class, Owner};
use super::state::{Draft, Entry, Module, Object, Script};
use super::validation;
use crate::api::ApiError;
use crate::multipart;
use crate::world::Call;

/// Settings that go with a version (NOTES "Workers").
const VERSIONED: [&str; 10] = [
    "compatibility_date",
    "compatibility_flags",
    "usage_model",
    "limits",
    "placement",
    "cache_options",
    "containers",
    "exports",
    "package_dependencies",
    "code_update_strategy",
];

/// Settings that belong to the script, whatever its versions (*SDK*, `script-settings`).
const UNVERSIONED: [&str; 4] = ["logpush", "observability", "tags", "tail_consumers"];

/// *SDK*: a tag has at most 100 bytes, a message is cut after 1,000.
const MAX_TAG_BYTES: usize = 100;
const MAX_MESSAGE_BYTES: usize = 1000;

/// What came in a request, read and not yet judged.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) metadata: Object,
    pub(super) modules: Vec<Module>,
}

/// A judged upload, and what else changes when it takes effect.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) draft: Draft,
    pub(super) classes: Vec<Class>,
    pub(super) migration_tag: Option<String>,
}

/// Reads a request by its content type: a form, or a script of the older syntax.
///
/// # Errors
/// 10001 for another content type, 10021 for what cannot be read.
pub(super) fn read(call: &Call<'_>) -> Result<Upload, ApiError> {
    let content_type = call.headers.get("content-type");
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    match content_type.split(';').next().unwrap_or_default().trim() {
        "multipart/form-data" => {
            let parts = multipart::parse(call.headers, call.body)
                .map_err(|_| validation("could not read content for part metadata"))?;
            Ok(Upload {
                metadata: form::object(&parts, "metadata")?,
                modules: form::modules(parts, "metadata")?,
            })
        }
        kind @ ("application/javascript" | "text/javascript") => {
            refuse_form(call.body)?;
            Ok(Upload {
                metadata: json!({"body_part": "script"})
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
                modules: vec![Module {
                    name: "script".to_owned(),
                    content_type: kind.to_owned(),
                    content: call.body.clone(),
                }],
            })
        }
        // The code is *seen*, the status a hypothesis.
        _ => Err(ApiError::new(
            415,
            10_001,
            "Content-Type must be multipart/form-data or application/javascript",
        )),
    }
}

/// The TypeScript SDK from 7.0 on sends a form as `application/javascript`, which is no JavaScript
/// (*seen*: cloudflare-typescript#2799).
fn refuse_form(body: &Bytes) -> Result<(), ApiError> {
    if body.starts_with(b"--") {
        return Err(validation(
            "Uncaught SyntaxError: Invalid left-hand side expression in prefix operation\n  at worker.js:1:4",
        ));
    }
    Ok(())
}

/// Judges the upload of a version of `name`. With `is_version` it is not deployed by itself, and so
/// may not migrate.
///
/// # Errors
/// 10021 and the codes of [`bindings`] and [`migrations`].
pub(super) fn judge(
    call: &mut Call<'_>,
    account: &str,
    name: &str,
    upload: Upload,
    is_version: bool,
) -> Result<Judged, ApiError> {
    let Upload { metadata, modules } = upload;
    let entry = entry(&metadata, &modules)?;
    settings(call, &metadata)?;
    if is_version && metadata.get("migrations").is_some_and(|m| !m.is_null()) {
        // The code and the words are a hypothesis.
        return Err(ApiError::bad(
            10_211,
            "Version upload failed. You attempted to upload a version of a Worker that includes a Durable Object migration, but migrations must be fully applied by running \"wrangler deploy\".",
        ));
    }
    let script = call.world.workers.script(account, name);
    let assets = assets(call, account, &metadata, script)?;
    if entry == Entry::Assets && assets.is_none() {
        return Err(validation(
            "metadata must name main_module, body_part or assets.jwt",
        ));
    }
    let owner = Owner {
        account,
        script: name,
        tag: script.and_then(|script| script.migration_tag.as_deref()),
    };
    let mut classes = call.world.workers.classes.clone();
    let mut ids = call.world.ids.clone();
    let migration_tag = migrations::apply(&mut classes, &metadata, owner, &mut ids)?;
    let resolved = bindings::resolve(
        &metadata,
        Scope {
            world: call.world,
            account,
            name,
            script,
            classes: &classes,
            modules: &modules,
            has_assets: assets.is_some(),
            strict: call.query.get("bindings_inherit") == Some("strict"),
        },
    )?;
    let mut runtime = Object::new();
    for key in VERSIONED {
        if let Some(value) = metadata.get(key).filter(|value| !value.is_null()) {
            runtime.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(tag) = &migration_tag {
        runtime.insert("migration_tag".to_owned(), json!(tag));
    }
    let draft = Draft {
        entry,
        modules,
        bindings: resolved,
        runtime,
        annotations: annotations(&metadata)?,
        assets,
    };
    call.world.ids = ids;
    Ok(Judged {
        draft,
        classes,
        migration_tag,
    })
}

/// Where the version starts, which must be among its modules.
pub(super) fn entry(metadata: &Object, modules: &[Module]) -> Result<Entry, ApiError> {
    let text = |member: &str| match metadata.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .map(|name| Some(name.to_owned()))
            .ok_or_else(|| validation(format!("{member} must be a string"))),
    };
    let (entry, name) = match (text("main_module")?, text("body_part")?) {
        (Some(name), None) => (Entry::Module(name.clone()), name),
        (None, Some(name)) => (Entry::Script(name.clone()), name),
        (None, None) => return Ok(Entry::Assets),
        (Some(_), Some(_)) => {
            return Err(validation(
                "metadata must name main_module or body_part, not both",
            ));
        }
    };
    let Some(main) = modules.iter().find(|module| module.name == name) else {
        // "No such module" is *seen*.
        return Err(validation(format!("No such module \"{name}\".")));
    };
    let code = String::from_utf8_lossy(&main.content);
    let is_javascript = main.content_type.contains("javascript");
    if is_javascript && !code.contains("export") && !code.contains("addEventListener") {
        // *Seen*; that neither word occurs is how it is told here, where nothing parses JavaScript.
        return Err(ApiError::bad(
            10_068,
            "The uploaded script has no registered event handlers.",
        ));
    }
    Ok(entry)
}

/// The assets of a version: those of a completed upload, or the last version's when they are kept.
fn assets(
    call: &Call<'_>,
    account: &str,
    metadata: &Object,
    script: Option<&Script>,
) -> Result<Option<Value>, ApiError> {
    let given = metadata.get("assets").filter(|assets| !assets.is_null());
    if given.is_some_and(|assets| !assets.is_object()) {
        return Err(validation("assets must be an object"));
    }
    let config = given.and_then(|assets| assets.get("config")).cloned();
    if let Some(jwt) = given.and_then(|assets| assets.get("jwt")) {
        let manifest = jwt
            .as_str()
            .and_then(|jwt| call.world.workers.assets.completed(account, jwt, call.now))
            .ok_or_else(|| validation("assets.jwt is not a valid completion token"))?;
        return Ok(Some(json!({"manifest": manifest, "config": config})));
    }
    if metadata.get("keep_assets") == Some(&json!(true)) {
        let mut kept = script
            .and_then(Script::latest)
            .and_then(|version| version.draft.assets.clone());
        if let (Some(kept), Some(config)) = (kept.as_mut().and_then(Value::as_object_mut), config) {
            kept.insert("config".to_owned(), config);
        }
        return Ok(kept);
    }
    Ok(None)
}

/// Judges the settings of metadata, the versioned and the others.
pub(super) fn settings(call: &Call<'_>, metadata: &Object) -> Result<(), ApiError> {
    let rule = |member: &str, holds: fn(&Value) -> bool, what: &str| match metadata.get(member) {
        Some(value) if !value.is_null() && !holds(value) => {
            Err(validation(format!("{member} must be {what}")))
        }
        _ => Ok(()),
    };
    let strings = |value: &Value| {
        value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string))
    };
    rule("compatibility_flags", strings, "a list of strings")?;
    rule("tags", strings, "a list of strings")?;
    rule("logpush", Value::is_boolean, "true or false")?;
    rule("keep_assets", Value::is_boolean, "true or false")?;
    rule("limits", Value::is_object, "an object")?;
    rule("placement", Value::is_object, "an object")?;
    // NOTES "Workers": standard only.
    rule("usage_model", |value| value == "standard", "standard")?;
    rule(
        "observability",
        |value| value.get("enabled").is_some_and(Value::is_boolean),
        "an object that says whether it is enabled",
    )?;
    rule(
        "tail_consumers",
        |value| {
            value.as_array().is_some_and(|list| {
                list.iter()
                    .all(|consumer| consumer.get("service").is_some_and(Value::is_string))
            })
        },
        "a list of objects that name a service",
    )?;
    match metadata.get("compatibility_date") {
        None | Some(Value::Null) => Ok(()),
        Some(date) => {
            let date = date.as_str().and_then(|text| {
                let parsed = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
                parsed.filter(|_| text.len() == 10).map(|_| text)
            });
            let date = date.ok_or_else(|| validation("compatibility_date must be YYYY-MM-DD"))?;
            if date > call.now.format("%Y-%m-%d").as_str() {
                return Err(validation(format!(
                    "Can't set compatibility date in the future: \"{date}\"."
                )));
            }
            Ok(())
        }
    }
}

/// `annotations` of metadata or of a deployment.
pub(super) fn annotations(body: &Object) -> Result<Object, ApiError> {
    let given = match body.get("annotations") {
        None | Some(Value::Null) => return Ok(Object::new()),
        Some(given) => given
            .as_object()
            .ok_or_else(|| validation("annotations must be an object"))?,
    };
    let mut annotations = Object::new();
    for (name, value) in given {
        let Some(text) = value.as_str() else {
            return Err(validation(format!("annotation {name} must be a string")));
        };
        if name == "workers/tag" && text.len() > MAX_TAG_BYTES {
            return Err(validation("annotation workers/tag has at most 100 bytes"));
        }
        let end = (0..=MAX_MESSAGE_BYTES.min(text.len()))
            .rev()
            .find(|end| text.is_char_boundary(*end));
        let text = end.and_then(|end| text.get(..end)).unwrap_or_default();
        annotations.insert(name.clone(), json!(text));
    }
    Ok(annotations)
}

/// Takes the settings of the script itself over from metadata; what is not given stays.
pub(super) fn take_settings(script: &mut Script, metadata: &Object) {
    for key in UNVERSIONED {
        if let Some(value) = metadata.get(key) {
            let value = match (key, value) {
                ("tags" | "tail_consumers", Value::Null) => json!([]),
                ("observability", Value::Null) => json!({"enabled": false}),
                (_, value) => value.clone(),
            };
            script.settings.insert(key.to_owned(), value);
        }
    }
}
