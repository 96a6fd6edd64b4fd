//! What the metadata of a Worker binds: each binding by what it leads to, not by what it is called.

use crate::model::json::Json;
use crate::model::quoted;

/// Something a script gets hold of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    /// The kind of binding, as the API calls it; for fields that are no bindings, the field.
    pub kind: String,
    /// The id or name of what is bound, where there is one.
    pub resource: Option<String>,
}

impl Bound {
    fn new(kind: &str, resource: Option<&str>) -> Self {
        Self {
            kind: kind.to_owned(),
            resource: resource.map(str::to_owned),
        }
    }
}

/// A binding that is taken over from the script as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// What it is called there.
    pub name: String,
    /// The version it is taken from, where one is named.
    pub version: Option<String>,
}

/// What the metadata of an upload reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// What is bound, in the order it is named.
    pub bound: Vec<Bound>,
    /// What is taken over by name.
    pub inherited: Vec<Inherited>,
    /// Kinds of which every binding is kept.
    pub kept: Vec<String>,
}

/// How a kind of binding names what it binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It binds nothing that is not the script's own.
    Free,
    /// There is one of it in an account, or none.
    Plain,
    /// The first of these fields that is there, which must be.
    By(&'static [&'static str]),
    /// The first field within the second.
    Within(&'static str, &'static str),
    /// In a way of its own.
    Special,
}

/// Every kind of binding the API of November 2026 and wrangler 4.164 know.
const KINDS: &[(&str, Kind)] = &[
    ("agent_memory", Kind::By(&["namespace"])),
    ("ai", Kind::Plain),
    ("ai_search", Kind::Special),
    ("ai_search_namespace", Kind::By(&["namespace"])),
    ("analytics", Kind::Plain),
    ("analytics_engine", Kind::By(&["dataset"])),
    ("artifacts", Kind::By(&["namespace"])),
    ("assets", Kind::Free),
    ("browser", Kind::Plain),
    ("d1", Kind::By(&["database_id", "id"])),
    ("data_blob", Kind::Free),
    ("dispatch_namespace", Kind::Special),
    ("durable_object_namespace", Kind::Special),
    ("flagship", Kind::By(&["app_id"])),
    ("hyperdrive", Kind::By(&["id"])),
    ("images", Kind::Plain),
    ("inherit", Kind::Special),
    ("json", Kind::Free),
    ("k2", Kind::By(&["stream"])),
    ("kv_namespace", Kind::By(&["namespace_id"])),
    ("logfwdr", Kind::By(&["destination"])),
    ("media", Kind::Plain),
    ("messaging", Kind::By(&["namespace"])),
    ("mtls_certificate", Kind::By(&["certificate_id"])),
    ("pipelines", Kind::By(&["pipeline", "stream"])),
    ("plain_text", Kind::Free),
    ("queue", Kind::By(&["queue_name"])),
    ("r2_bucket", Kind::Special),
    ("ratelimit", Kind::By(&["namespace_id"])),
    ("secret_key", Kind::Free),
    ("secret_text", Kind::Free),
    (
        "secrets_store_secret",
        Kind::Within("secret_name", "store_id"),
    ),
    ("send_email", Kind::Special),
    ("service", Kind::By(&["service"])),
    ("stream", Kind::Plain),
    ("text_blob", Kind::Free),
    ("vectorize", Kind::By(&["index_name"])),
    ("version_metadata", Kind::Free),
    ("vpc_network", Kind::By(&["tunnel_id", "network_id"])),
    ("vpc_service", Kind::By(&["service_id"])),
    ("wasm_module", Kind::Free),
    ("worker_loader", Kind::Plain),
    ("workflow", Kind::Special),
];

/// Fields of the metadata that reach nothing beyond the script.
const HARMLESS: &[&str] = &[
    "annotations",
    "assets",
    "body_part",
    "cache_options",
    "capnp_schema",
    "code_update_strategy",
    "compatibility_date",
    "compatibility_flags",
    "keep_assets",
    "limits",
    "logpush",
    "main_module",
    "package_dependencies",
    "placement",
    "tags",
    "usage_model",
];

/// How bindings of a kind name what they bind; `None` for a kind that is not known.
fn kind_of(kind: &str) -> Option<Kind> {
    KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .map(|(_, how)| *how)
}

/// Every kind of thing a script may be said to get hold of, but what is not known.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    let others = ["containers", "observability_destination", "tail_consumer"];
    let bindings = KINDS.iter().map(|(kind, _)| *kind);
    bindings.filter(|kind| *kind != "inherit").chain(others)
}

/// Whether bindings of this kind bind nothing that is not the script's own.
#[must_use]
pub fn is_free(kind: &str) -> bool {
    kind_of(kind) == Some(Kind::Free)
}

/// What the metadata of the script `own` reaches.
///
/// # Errors
/// One sentence naming the field that is not as it must be.
pub fn named(metadata: &Json, own: &str) -> Result<Named, String> {
    let members = metadata
        .as_object()
        .ok_or("The metadata of a Worker must be a JSON object.")?;
    let mut found = Named::default();
    for (field, value) in members {
        match field.as_str() {
            _ if value.is_null() => {}
            "bindings" => {
                for binding in list(field, value)? {
                    bind(binding, own, false, &mut found)?;
                }
            }
            "keep_bindings" => {
                for kind in list(field, value)? {
                    let kind = kind.as_str().ok_or_else(|| not_texts(field))?;
                    found.kept.push(kind.to_owned());
                }
            }
            "tail_consumers" | "streaming_tail_consumers" => {
                for consumer in list(field, value)? {
                    let service =
                        text(consumer, "service")?.ok_or_else(|| lacks(field, "service"))?;
                    // In a dispatch namespace it is another than the script of its name.
                    let script = match text(consumer, "namespace")? {
                        Some(namespace) => format!("{namespace}/{service}"),
                        None => service.to_owned(),
                    };
                    found.bound.push(Bound::new("tail_consumer", Some(&script)));
                }
            }
            "migrations" => migrations(value, own, &mut found.bound)?,
            "exports" => exports(value, own, &mut found.bound)?,
            "observability" => destinations(value, &mut found.bound)?,
            known if HARMLESS.contains(&known) => {}
            // What is not known may reach anything.
            unknown => found.bound.push(Bound::new(unknown, None)),
        }
    }
    Ok(found)
}

/// What the bindings of a script as it stands bind, each with its name.
///
/// # Errors
/// One sentence naming what is not as it must be.
pub fn bindings_of(bindings: &Json, own: &str) -> Result<Vec<(String, Vec<Bound>)>, String> {
    let mut found = Vec::new();
    for binding in list("bindings", bindings)? {
        let name = text(binding, "name")?.unwrap_or_default();
        let mut named = Named::default();
        bind(binding, own, true, &mut named)?;
        if !named.inherited.is_empty() {
            return Err("A binding of the script as it stands is itself inherited.".to_owned());
        }
        found.push((name.to_owned(), named.bound));
    }
    Ok(found)
}

/// `stands` tells whether the binding is one the script has already.
fn bind(binding: &Json, own: &str, stands: bool, found: &mut Named) -> Result<(), String> {
    let kind = text(binding, "type")?.ok_or_else(|| lacks("bindings", "type"))?;
    let need = |field: &str| text(binding, field)?.ok_or_else(|| lacks(kind, field));
    let bound = &mut found.bound;
    match kind_of(kind) {
        None | Some(Kind::Free | Kind::Plain) => bound.push(Bound::new(kind, None)),
        Some(Kind::By(fields)) => {
            let mut given = None;
            for field in fields {
                let value = text(binding, field)?;
                if given.is_some() && value.is_some() && given != value {
                    return Err(format!(
                        "A binding of type {kind} names two things: {} must be one.",
                        fields.join(" and ")
                    ));
                }
                given = given.or(value);
            }
            let given = given.ok_or_else(|| lacks(kind, &fields.join(" or ")))?;
            bound.push(Bound::new(kind, Some(given)));
        }
        Some(Kind::Within(field, outer)) => {
            let resource = format!("{}/{}", need(outer)?, need(field)?);
            bound.push(Bound::new(kind, Some(&resource)));
        }
        Some(Kind::Special) => special(binding, kind, own, stands, found)?,
    }
    Ok(())
}

fn special(
    binding: &Json,
    kind: &str,
    own: &str,
    stands: bool,
    found: &mut Named,
) -> Result<(), String> {
    let optional = |field: &str| text(binding, field);
    let need = |field: &str| text(binding, field)?.ok_or_else(|| lacks(kind, field));
    let bound = &mut found.bound;
    let mut bind = |kind: &str, resource: &str| bound.push(Bound::new(kind, Some(resource)));
    match kind {
        "inherit" => found.inherited.push(Inherited {
            name: optional("old_name")?
                .map_or_else(|| need("name"), Ok)?
                .to_owned(),
            // The newest version is the one that settings show.
            version: optional("version_id")?
                .filter(|version| *version != "latest")
                .map(str::to_owned),
        }),
        // Buckets of one name in two jurisdictions are two buckets.
        "r2_bucket" => match (need("bucket_name")?, optional("jurisdiction")?) {
            (bucket, None | Some("default")) => bind(kind, bucket),
            (bucket, Some(jurisdiction)) => bind(kind, &format!("{jurisdiction}/{bucket}")),
        },
        "ai_search" => match (need("instance_name")?, optional("namespace")?) {
            (instance, None) => bind(kind, instance),
            (instance, Some(namespace)) => bind(kind, &format!("{namespace}/{instance}")),
        },
        "dispatch_namespace" => {
            bind(kind, need("namespace")?);
            let outbound = binding.get("outbound");
            let worker = outbound.and_then(|outbound| outbound.get("worker"));
            if let Some(worker) = worker.filter(|worker| !worker.is_null()) {
                let service = text(worker, "service")?;
                bind(
                    "service",
                    service.ok_or_else(|| lacks("outbound.worker", "service"))?,
                );
            }
        }
        // A class of this script, or of another one: then it is the other script that is bound.
        "durable_object_namespace" | "workflow" => {
            let script = optional("script_name")?.filter(|script| *script != own);
            if kind == "workflow" {
                bind(kind, need("workflow_name")?);
            }
            if let Some(dispatch) = optional("dispatch_namespace")? {
                bind("dispatch_namespace", dispatch);
            }
            // Whose namespace an id is cannot be told from it. Of a script as it stands that is known.
            if !stands && optional("namespace_id")?.is_some() {
                return Err(format!(
                    "A binding of type {kind} must name class_name and script_name instead of namespace_id."
                ));
            }
            match script {
                Some(script) if kind == "workflow" => bind("service", script),
                Some(script) => bind(kind, script),
                None if kind == "workflow" => {}
                None => drop(need("class_name")?),
            }
        }
        "send_email" => {
            let one = optional("destination_address")?;
            let allowed = present(binding, "allowed_destination_addresses");
            let allowed = allowed.map(|allowed| list("allowed_destination_addresses", allowed));
            let allowed = allowed.transpose()?.unwrap_or_default();
            if let Some(address) = one {
                bind(kind, address);
            }
            for address in allowed {
                let address = address.as_str();
                bind(
                    kind,
                    address.ok_or_else(|| not_texts("allowed_destination_addresses"))?,
                );
            }
            if one.is_none() && allowed.is_empty() {
                bound.push(Bound::new(kind, None));
            }
        }
        other => bound.push(Bound::new(other, None)),
    }
    Ok(())
}

/// Classes that come from another script bring its data along.
fn migrations(value: &Json, own: &str, bound: &mut Vec<Bound>) -> Result<(), String> {
    let steps = present(value, "steps").map_or(Ok(&[][..]), |steps| list("steps", steps))?;
    for step in std::iter::once(value).chain(steps) {
        let field = "transferred_classes";
        let Some(transfers) = present(step, field) else {
            continue;
        };
        for transfer in list(field, transfers)? {
            let script =
                text(transfer, "from_script")?.ok_or_else(|| lacks(field, "from_script"))?;
            transfer_between(script, own, bound);
        }
    }
    Ok(())
}

/// Classes that come from or go to another script.
fn exports(value: &Json, own: &str, bound: &mut Vec<Bound>) -> Result<(), String> {
    let members = value
        .as_object()
        .ok_or("The field `exports` must be an object.")?;
    for (_, export) in members {
        for field in ["transfer_from", "transferred_to"] {
            if let Some(script) = text(export, field)? {
                transfer_between(script, own, bound);
            }
        }
        if present(export, "container").is_some() {
            bound.push(Bound::new("containers", None));
        }
    }
    Ok(())
}

fn transfer_between(script: &str, own: &str, bound: &mut Vec<Bound>) {
    if script != own {
        bound.push(Bound::new("durable_object_namespace", Some(script)));
    }
}

/// Logs and traces may go to destinations of the account.
fn destinations(value: &Json, bound: &mut Vec<Bound>) -> Result<(), String> {
    for part in ["logs", "traces"] {
        let named = value
            .get(part)
            .and_then(|part| present(part, "destinations"));
        let Some(named) = named else {
            continue;
        };
        let field = "destinations";
        for destination in list(field, named)? {
            let destination = destination.as_str().ok_or_else(|| not_texts(field))?;
            let kind = "observability_destination";
            bound.push(Bound::new(kind, Some(destination)));
        }
    }
    Ok(())
}

/// A field that is there and not `null`.
fn present<'j>(object: &'j Json, field: &str) -> Option<&'j Json> {
    object.get(field).filter(|value| !value.is_null())
}

fn text<'j>(object: &'j Json, field: &str) -> Result<Option<&'j str>, String> {
    match object.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!(
            "The field `{field}` must be a text that is not empty."
        )),
    }
}

fn list<'j>(field: &str, value: &'j Json) -> Result<&'j [Json], String> {
    value
        .as_array()
        .ok_or_else(|| format!("The field `{field}` must be a list."))
}

fn not_texts(field: &str) -> String {
    format!("The field `{field}` must be a list of texts.")
}

fn lacks(what: &str, field: &str) -> String {
    format!("Something of {} lacks the field `{field}`.", quoted(what))
}

#[cfg(test)]
mod tests;
