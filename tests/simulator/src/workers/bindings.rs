//! What a version is bound to: each binding judged, `inherit` and `keep_bindings` filled in.
//!
//! NOTES "Workers" lists the kinds. The codes of what is not there are *seen*: 10041 KV, 10061
//! Durable Object class, 10085 R2, 10144 service, 10157 Hyperdrive, 10159 Vectorize, 10181 D1,
//! 10182 Secrets Store, 11000 queue, 100119 dispatch namespace, 100143 client certificate. Products
//! that are not modelled have nothing to be bound to.

use serde_json::{Value, json};

use super::migrations::Class;
use super::state::{Draft, Module, Object, Script, Version};
use super::validation;
use crate::api::ApiError;
use crate::world::World;

/// Each kind and the members, all text, that it must have.
const KINDS: [(&str, &[&str]); 40] = [
    ("ai", &[]),
    ("ai_search", &["instance_name"]),
    ("ai_search_namespace", &["namespace"]),
    ("analytics_engine", &["dataset"]),
    ("artifacts", &["namespace"]),
    ("assets", &[]),
    ("browser", &[]),
    ("d1", &["id"]),
    ("data_blob", &["part"]),
    ("dispatch_namespace", &["namespace"]),
    ("durable_object_namespace", &["class_name"]),
    ("flagship", &["app_id"]),
    ("hyperdrive", &["id"]),
    ("images", &[]),
    ("json", &[]),
    ("k2", &["stream"]),
    ("kv_namespace", &["namespace_id"]),
    ("media", &[]),
    ("messaging", &["namespace"]),
    ("mtls_certificate", &["certificate_id"]),
    ("pipelines", &[]),
    ("plain_text", &["text"]),
    ("queue", &["queue_name"]),
    ("r2_bucket", &["bucket_name"]),
    ("ratelimit", &["namespace_id"]),
    ("secret_key", &["format"]),
    ("secret_text", &["text"]),
    ("secrets_store_secret", &["store_id", "secret_name"]),
    ("send_email", &[]),
    ("service", &["service"]),
    ("stream", &[]),
    ("text_blob", &["part"]),
    ("vectorize", &["index_name"]),
    ("version_metadata", &[]),
    ("vpc_network", &[]),
    ("vpc_service", &["service_id"]),
    ("wasm_module", &["part"]),
    ("worker_loader", &[]),
    ("workflow", &["workflow_name"]),
    ("inherit", &[]),
];

/// Kinds of products that are not modelled: whatever they name is not there. The code of those
/// without one of their own is a hypothesis.
const ABSENT: [(&str, u32); 13] = [
    ("ai_search", 10_021),
    ("ai_search_namespace", 10_021),
    ("artifacts", 10_021),
    ("dispatch_namespace", 100_119),
    ("flagship", 10_021),
    ("hyperdrive", 10_157),
    ("k2", 10_021),
    ("messaging", 10_021),
    ("mtls_certificate", 100_143),
    ("pipelines", 10_021),
    ("secrets_store_secret", 10_182),
    ("vectorize", 10_159),
    ("vpc_service", 10_021),
];

/// What the bindings of an upload are judged against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) world: &'a World,
    pub(super) account: &'a str,
    pub(super) name: &'a str,
    /// The script as it is, if it is there.
    pub(super) script: Option<&'a Script>,
    /// The Durable Object classes as they will be.
    pub(super) classes: &'a [Class],
    pub(super) modules: &'a [Module],
    pub(super) has_assets: bool,
    /// `bindings_inherit=strict`: an `inherit` that finds nothing fails instead of being dropped
    /// (*SDK*).
    pub(super) strict: bool,
}

/// The complete bindings of a version with this metadata.
///
/// # Errors
/// 10021, 10052, 10053 and 10057 for what is malformed, taken twice or not to be inherited, and the
/// codes above for what is not there.
pub(super) fn resolve(metadata: &Object, scope: Scope<'_>) -> Result<Vec<Object>, ApiError> {
    let given = match metadata.get("bindings") {
        None | Some(Value::Null) => &Vec::new(),
        Some(Value::Array(given)) => given,
        Some(_) => return Err(validation("bindings must be a list")),
    };
    let mut resolved: Vec<Object> = Vec::new();
    for (index, binding) in given.iter().enumerate() {
        let binding = binding
            .as_object()
            .ok_or_else(|| validation(format!("Binding at index {index} must be an object.")))?;
        let name = text(binding, "name").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            // *Seen*.
            ApiError::bad(
                10_052,
                format!("Binding at index {index} must have a name."),
            )
        })?;
        if resolved
            .iter()
            .any(|other| text(other, "name") == Some(name))
        {
            return Err(name_in_use(name));
        }
        let kind = text(binding, "type").unwrap_or_default();
        if kind == "inherit" {
            resolved.extend(inherited(binding, name, scope)?);
        } else {
            check(binding, name, kind, scope)?;
            resolved.push(canonical(binding, kind));
        }
    }
    let kept = kept(metadata, given, scope)?;
    resolved.extend(kept);
    Ok(resolved)
}

/// 10053 (*seen*): another binding has the name.
pub(super) fn name_in_use(name: &str) -> ApiError {
    ApiError::bad(
        10_053,
        format!("Binding name '{name}' already in use. Please use a different name and try again."),
    )
}

fn text<'a>(binding: &'a Object, member: &str) -> Option<&'a str> {
    binding.get(member).and_then(Value::as_str)
}

/// A D1 database is named by `id` or, as the newest SDK has it, `database_id`; both are answered.
fn canonical(binding: &Object, kind: &str) -> Object {
    let mut binding = binding.clone();
    let id = member(&binding, kind, "id").map(str::to_owned);
    if let (Some(id), "d1") = (id, kind) {
        binding.insert("id".to_owned(), json!(id));
        binding.insert("database_id".to_owned(), json!(id));
    }
    binding
}

fn member<'a>(binding: &'a Object, kind: &str, name: &str) -> Option<&'a str> {
    text(binding, name)
        .or_else(|| text(binding, "database_id").filter(|_| kind == "d1" && name == "id"))
        .filter(|value| !value.is_empty() || kind == "plain_text" || kind == "secret_text")
}

/// A binding of the version before, under its own or a new name.
fn inherited(binding: &Object, name: &str, scope: Scope<'_>) -> Result<Option<Object>, ApiError> {
    let from = match text(binding, "version_id") {
        None | Some("latest") => scope.script.and_then(Script::latest),
        Some(id) => scope.script.and_then(|script| script.version(id)),
    };
    let old = text(binding, "old_name").unwrap_or(name);
    let found = from.and_then(|version: &Version| version.draft.binding(old));
    match found {
        Some(found) => {
            let mut found = found.clone();
            found.insert("name".to_owned(), json!(name));
            Ok(Some(found))
        }
        // The code and the beginning of the message are *wrangler*.
        None if scope.strict => Err(ApiError::bad(
            10_057,
            format!(
                "inherit binding '{name}' is invalid: the previous version has no binding '{old}'"
            ),
        )),
        None => Ok(None),
    }
}

/// NOTES "Workers": `keep_bindings` keeps the bindings of these types that are not given anew.
fn kept(metadata: &Object, given: &[Value], scope: Scope<'_>) -> Result<Vec<Object>, ApiError> {
    let kinds = match metadata.get("keep_bindings") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(kinds) => kinds
            .as_array()
            .filter(|kinds| kinds.iter().all(Value::is_string))
            .ok_or_else(|| validation("keep_bindings must be a list of binding types"))?,
    };
    let is_given = |name: Option<&Value>| given.iter().any(|binding| binding.get("name") == name);
    let previous = scope.script.and_then(Script::latest);
    let bindings = previous.map(|version| version.draft.bindings.as_slice());
    Ok(bindings
        .unwrap_or_default()
        .iter()
        .filter(|binding| binding.get("type").is_some_and(|kind| kinds.contains(kind)))
        .filter(|binding| !is_given(binding.get("name")))
        .cloned()
        .collect())
}

/// Judges one binding by its kind: what it must say, and whether what it names is there.
fn check(binding: &Object, name: &str, kind: &str, scope: Scope<'_>) -> Result<(), ApiError> {
    // Both messages are *seen*.
    let (_, members) = KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .ok_or_else(|| validation(format!("binding {name} of type {kind} is invalid")))?;
    let lacks = |wanted: &str| {
        validation(format!(
            "binding {name} of type {kind} must have a valid `{wanted}` specified"
        ))
    };
    for wanted in *members {
        member(binding, kind, wanted).ok_or_else(|| lacks(wanted))?;
    }
    if let Some((_, code)) = ABSENT.iter().find(|(absent, _)| *absent == kind) {
        return Err(ApiError::bad(
            *code,
            format!("what binding {name} of type {kind} refers to was not found"),
        ));
    }
    let value = |wanted: &str| member(binding, kind, wanted).unwrap_or_default();
    let (world, account) = (scope.world, scope.account);
    let there = match kind {
        "json" if binding.get("json").is_none() => return Err(lacks("json")),
        "ratelimit" if !binding.get("simple").is_some_and(Value::is_object) => {
            return Err(lacks("simple"));
        }
        "wasm_module" | "text_blob" | "data_blob" => {
            let part = value("part");
            if !scope.modules.iter().any(|module| module.name == part) {
                return Err(lacks("part"));
            }
            Ok(())
        }
        "assets" if !scope.has_assets => {
            return Err(validation(format!(
                "binding {name} of type assets needs assets to be uploaded"
            )));
        }
        "kv_namespace" => found(
            world.kv.has(account, value("namespace_id")),
            10_041,
            "KV namespace",
        ),
        "d1" => found(world.d1.has(account, value("id")), 10_181, "D1 database"),
        "r2_bucket" => found(
            world.r2.has(account, value("bucket_name")),
            10_085,
            "R2 bucket",
        ),
        "queue" => found(
            world.queues.has(account, value("queue_name")),
            11_000,
            "Queue",
        ),
        "service" => {
            let service = value("service");
            let exists = service == scope.name || world.workers.script(account, service).is_some();
            found(exists, 10_144, "Worker")
        }
        "durable_object_namespace" => {
            let script = text(binding, "script_name").unwrap_or(scope.name);
            let class = value("class_name");
            let exists = scope
                .classes
                .iter()
                .any(|c| c.account == account && c.script == script && c.name == class);
            found(exists, 10_061, "Durable Object class")
        }
        _ => Ok(()),
    };
    there.map_err(|(code, what)| {
        ApiError::bad(code, format!("{what} of binding {name} was not found"))
    })
}

/// What bindings name and is no longer there, of the kinds that a rollback needs: a KV namespace, an
/// R2 bucket, a queue.
pub(super) fn gone(world: &World, account: &str, bindings: &[Object]) -> Vec<String> {
    let missing = |binding: &Object| {
        let kind = text(binding, "type")?;
        let (short, name) = match kind {
            "kv_namespace" => ("kv", text(binding, "namespace_id")?),
            "r2_bucket" => ("r2", text(binding, "bucket_name")?),
            "queue" => ("queue", text(binding, "queue_name")?),
            _ => return None,
        };
        let is_there = match short {
            "kv" => world.kv.has(account, name),
            "r2" => world.r2.has(account, name),
            _ => world.queues.has(account, name),
        };
        (!is_there).then(|| format!("{short}:{name}"))
    };
    bindings.iter().filter_map(missing).collect()
}

fn found(exists: bool, code: u32, what: &'static str) -> Result<(), (u32, &'static str)> {
    exists.then_some(()).ok_or((code, what))
}

/// Whether the parts that bindings name are among the modules, after the code was replaced.
pub(super) fn parts_are_there(draft: &Draft) -> Result<(), ApiError> {
    let parts = draft.bindings.iter().filter_map(|b| text(b, "part"));
    for part in parts {
        if !draft.modules.iter().any(|module| module.name == part) {
            return Err(validation(format!("No such module \"{part}\".")));
        }
    }
    Ok(())
}
