//! Scripts under their other names: as services with environments, as `workers/workers`, and by
//! what refers to them.
//!
//! None of it but environments and `workers/workers` is in the public schema; shapes are what
//! wrangler reads (*wrangler*). There is one environment, `production`.

use serde_json::{Value, json};

use super::routes::ZoneRoute;
use super::state::{Object, Script};
use super::{names, no_such_worker, scripts, settings, triggers};
use crate::api::{ApiError, Outcome, Reply};
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;

/// The bounds are a hypothesis (NOTES "Envelope, errors, pagination": most others 50–100).
const PAGES: Bounds = Bounds {
    min: 1,
    default: 10,
    max: 100,
};

const ENVIRONMENT: &str = "production";

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const SERVICE: &str = "/accounts/{account_id}/workers/services/{script_name}";
    const PLACE: &str =
        "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}";
    const BINDINGS: &str =
        "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/bindings";
    const ROUTES: &str =
        "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/routes";
    const SUBDOMAIN: &str = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/subdomain";
    const SETTINGS: &str =
        "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/settings";
    const CONTENT: &str =
        "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/content";
    const CONTENT_2: &str = "/accounts/{account_id}/workers/services/{script_name}/environments/{environment}/content/v2";
    const REFERENCES: &str = "/accounts/{account_id}/workers/scripts/{script_name}/references";
    const PRODUCERS: &str = "/accounts/{account_id}/workers/tails/by-consumer/{script_name}";
    const WORKERS: &str = "/accounts/{account_id}/workers/workers";
    const WORKER: &str = "/accounts/{account_id}/workers/workers/{script_name}";
    vec![
        ("GET", SERVICE, get),
        ("DELETE", SERVICE, delete),
        ("GET", PLACE, environment),
        ("GET", BINDINGS, bindings),
        ("GET", ROUTES, own_routes),
        ("GET", SUBDOMAIN, subdomain),
        ("GET", SETTINGS, own_settings),
        ("GET", CONTENT, content),
        ("GET", CONTENT_2, content),
        ("GET", REFERENCES, references),
        ("GET", PRODUCERS, producers),
        ("GET", WORKERS, workers),
        ("GET", WORKER, worker),
    ]
}

/// NOTES "Error codes" has none for services: 10090 is what clients get (*wrangler*).
fn service<'a>(call: &'a Call<'_>) -> Result<&'a Script, ApiError> {
    let (account, name) = names(call)?;
    let is_production = matches!(call.param("environment"), "" | ENVIRONMENT);
    call.world
        .workers
        .script(&account, &name)
        .filter(|_| is_production)
        .ok_or_else(|| ApiError::new(404, 10_090, "This service does not exist on your account."))
}

fn rendered(script: &Script) -> Value {
    json!({
        "environment": ENVIRONMENT, "created_on": script.created.rfc3339(),
        "modified_on": script.modified.rfc3339(), "script": script.render(),
    })
}

fn get(call: &mut Call<'_>) -> Outcome {
    let script = service(call)?;
    let place = rendered(script);
    Ok(Reply::ok(&json!({
        "id": script.name, "created_on": script.created.rfc3339(),
        "modified_on": script.modified.rfc3339(), "default_environment": place,
        "environments": [place],
    })))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    service(call)?;
    let (account, name) = names(call)?;
    scripts::remove(call, &account, &name)?;
    Ok(Reply::ok(&Value::Null))
}

fn environment(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&rendered(service(call)?)))
}

fn bindings(call: &mut Call<'_>) -> Outcome {
    let shown = service(call)?.latest().map(|version| version.draft.shown());
    Ok(Reply::ok(&shown))
}

fn own_routes(call: &mut Call<'_>) -> Outcome {
    service(call)?;
    let (account, name) = names(call)?;
    let routes = call.world.workers.routes.iter();
    let found: Vec<Value> = routes
        .filter(|route| route.account == account && route.script.as_ref() == Some(&name))
        .map(|route| with_zone(call, route))
        .collect();
    Ok(Reply::ok(&found))
}

fn with_zone(call: &Call<'_>, route: &ZoneRoute) -> Value {
    let mut shown = route.render();
    let zone = call.world.zones.get(&route.zone_id);
    if let (Some(map), Some(zone)) = (shown.as_object_mut(), zone) {
        map.insert("zone_name".to_owned(), json!(zone.name));
    }
    shown
}

fn subdomain(call: &mut Call<'_>) -> Outcome {
    let script = service(call)?;
    Ok(Reply::ok(&json!({
        "enabled": script.on_workers_dev, "previews_enabled": script.has_previews,
    })))
}

fn own_settings(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&settings::all(service(call)?)))
}

fn content(call: &mut Call<'_>) -> Outcome {
    Ok(scripts::code(service(call)?))
}

/// What would break without the script.
fn references(call: &mut Call<'_>) -> Outcome {
    super::script(call)?;
    let (account, name) = names(call)?;
    let users = |kind: &str, field: &str| call.world.workers.binding(&account, kind, field, &name);
    let services: Vec<Value> = users("service", "service")
        .into_iter()
        .map(|user| json!({"name": user, "service": user, "environment": ENVIRONMENT}))
        .collect();
    let objects: Vec<Value> = users("durable_object_namespace", "script_name")
        .into_iter()
        .map(|user| json!({"service": user, "environment": ENVIRONMENT}))
        .collect();
    Ok(Reply::ok(&json!({
        "services": {"incoming": services, "outgoing": [], "pages_function": false},
        "durable_objects": objects, "dispatch_outbounds": [],
    })))
}

/// The scripts whose tail goes to this one.
fn producers(call: &mut Call<'_>) -> Outcome {
    let (account, name) = names(call)?;
    let consumes = |script: &&Script| {
        let consumers = script
            .settings
            .get("tail_consumers")
            .and_then(Value::as_array);
        let mut consumers = consumers.into_iter().flatten();
        consumers.any(|consumer| consumer.get("service") == Some(&json!(name)))
    };
    let found: Vec<Value> = call
        .world
        .workers
        .of(&account)
        .filter(consumes)
        .map(|script| {
            json!({
                "producer": {"script": script.name, "service": script.name},
                "consumer": {"script": name, "service": name},
            })
        })
        .collect();
    Ok(Reply::ok(&found))
}

/// A Worker as the newer API shows it (*SDK*).
fn shown(call: &Call<'_>, script: &Script) -> Object {
    let mut subdomain = json!({
        "enabled": script.on_workers_dev, "previews_enabled": script.has_previews,
    });
    if let (Some(host), Some(map)) = (
        triggers::host(call, &script.name),
        subdomain.as_object_mut(),
    ) {
        map.insert("url".to_owned(), json!(format!("https://{host}")));
        map.insert("preview_url_suffix".to_owned(), json!(format!("-{host}")));
    }
    let deployed = script.deployments.last().map(|d| d.created.rfc3339());
    let more = json!({
        "id": script.tag, "name": script.name, "created_on": script.created.rfc3339(),
        "updated_on": script.modified.rfc3339(), "deployed_on": deployed, "subdomain": subdomain,
        "references": {
            "dispatch_namespace_outbounds": [], "domains": [], "durable_objects": [], "queues": [],
            "workers": [],
        },
    });
    let mut shown = script.settings.clone();
    shown.extend(more.as_object().cloned().unwrap_or_default());
    shown
}

fn workers(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let items: Vec<String> = call
        .world
        .workers
        .of(&account)
        .map(|script| Value::Object(shown(call, script)).to_string())
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// By its id, or by its name (*wrangler*).
fn worker(call: &mut Call<'_>) -> Outcome {
    let (account, wanted) = names(call)?;
    let mut scripts = call.world.workers.of(&account);
    let script = scripts.find(|script| script.name == wanted || script.tag == wanted);
    let script = script.ok_or_else(no_such_worker)?;
    Ok(Reply::ok(&shown(call, script)))
}
