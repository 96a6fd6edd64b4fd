//! Snippets of a zone, and the rules that run them.
//!
//! General knowledge throughout (hypothesis); the routes are in the schema. A snippet is uploaded
//! as multipart: `metadata` with `main_module`, and one part per module.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::multipart::{self, Part};
use crate::objects::{self, Members};
use crate::page::OTHERS;
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/snippets", list),
        ("GET", "/zones/{zone_id}/snippets/snippet_rules", rules),
        ("PUT", "/zones/{zone_id}/snippets/snippet_rules", put_rules),
        ("GET", "/zones/{zone_id}/snippets/{snippet_name}", get),
        ("PUT", "/zones/{zone_id}/snippets/{snippet_name}", put),
        ("DELETE", "/zones/{zone_id}/snippets/{snippet_name}", delete),
    ]
}

const SNIPPETS: &str = "snippets";
const RULES: &str = "snippet_rules";

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(1002, message.into())
}

/// What answers show: the name stands for the id.
fn shown(snippet: &Value) -> Value {
    json!({
        "snippet_name": snippet.at("id"), "created_on": snippet.at("created_on"), "modified_on": snippet.at("modified_on"),
    })
}

fn list(call: &mut Call<'_>) -> Outcome {
    let snippets = call.world.objects.list(SNIPPETS, call.place()?);
    let snippets: Vec<Value> = snippets.iter().map(shown).collect();
    objects::page_of(call, &snippets, Some(OTHERS))
}

fn own<'a>(call: &'a Call<'_>) -> Result<&'a Value, ApiError> {
    let name = call.param("snippet_name");
    let snippet = call.world.objects.find(SNIPPETS, call.place()?, name);
    snippet.ok_or_else(|| ApiError::new(404, 1001, "snippet not found"))
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&shown(own(call)?)))
}

fn put(call: &mut Call<'_>) -> Outcome {
    let zone = call.place()?.to_owned();
    let name = call.param("snippet_name").to_owned();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 50 || !name.chars().all(fits) {
        return Err(bad("the name of a snippet must be of a to z, 0 to 9 and _"));
    }
    let parts = multipart::parse(call.headers, call.body)?;
    let main = main_module(&parts)?;
    let modules = parts
        .iter()
        .filter(|part| !part.name.starts_with("metadata"));
    if main.is_empty() || modules.count() == 0 {
        return Err(bad("metadata.main_module and a part for it are needed"));
    }
    let now = json!(call.now.rfc3339());
    let created = call.world.objects.find(SNIPPETS, &zone, &name);
    let created = created.map_or_else(|| now.clone(), |old| old.at("created_on").clone());
    let snippet = json!({"id": name, "created_on": created, "modified_on": now});
    let reply = Reply::ok(&shown(&snippet));
    call.world.objects.put(SNIPPETS, &zone, snippet);
    Ok(reply)
}

/// The main module: of the JSON part `metadata`, or the part of its own that the SDK sends.
fn main_module(parts: &[Part]) -> Result<String, ApiError> {
    let named = |name: &str| parts.iter().find(|part| part.name == name);
    if let Some(part) = named("metadata[main_module]") {
        return Ok(String::from_utf8_lossy(&part.content).into_owned());
    }
    let metadata = named("metadata").ok_or_else(|| bad("the part metadata is missing"))?;
    let metadata: Value = serde_json::from_slice(&metadata.content)
        .map_err(|_| bad("the part metadata must be JSON"))?;
    let main = metadata.at("main_module").as_str();
    Ok(main.unwrap_or_default().to_owned())
}

/// A snippet that a rule runs stays.
fn delete(call: &mut Call<'_>) -> Outcome {
    let name = own(call)?["id"].clone();
    let zone = call.place()?.to_owned();
    let rules = call.world.objects.list(RULES, &zone);
    if rules.iter().any(|rule| *rule.at("snippet_name") == name) {
        return Err(bad("the snippet is used by a rule"));
    }
    let id = name.as_str().unwrap_or_default();
    call.world.objects.remove(SNIPPETS, &zone, id);
    Ok(Reply::ok(&Value::Null))
}

fn rules(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&call.world.objects.list(RULES, call.place()?)))
}

/// Replaces all rules.
fn put_rules(call: &mut Call<'_>) -> Outcome {
    let zone = call.place()?.to_owned();
    let body = call.object()?;
    let sent = body.get("rules").and_then(Value::as_array);
    let sent = sent.ok_or_else(|| bad("rules must be a list"))?;
    let mut new = Vec::new();
    for rule in sent {
        let name = rule.at("snippet_name").as_str().unwrap_or_default();
        if call.world.objects.find(SNIPPETS, &zone, name).is_none() {
            return Err(bad(format!("there is no snippet {name:?}")));
        }
        let expression = rule
            .at("expression")
            .as_str()
            .filter(|e| !e.trim().is_empty());
        let expression = expression.ok_or_else(|| bad("a rule needs an expression"))?;
        new.push(json!({
            "id": call.world.ids.next_id(), "snippet_name": name, "expression": expression,
            "description": rule.at("description"), "enabled": *rule.at("enabled") != false,
        }));
    }
    let old = call.world.objects.list(RULES, &zone).to_vec();
    for rule in old {
        let id = rule.at("id").as_str().unwrap_or_default();
        call.world.objects.remove(RULES, &zone, id);
    }
    for rule in new {
        call.world.objects.put(RULES, &zone, rule);
    }
    rules(call)
}
