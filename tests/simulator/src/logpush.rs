//! Logpush jobs of accounts and zones.
//!
//! General knowledge throughout (hypothesis); the routes are in the schema. Ids are numbers.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::objects::{self, Members, Object};
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts/{account_id}/logpush/jobs", list),
        ("POST", "/accounts/{account_id}/logpush/jobs", create),
        ("GET", "/accounts/{account_id}/logpush/jobs/{job}", get),
        ("PUT", "/accounts/{account_id}/logpush/jobs/{job}", put),
        (
            "DELETE",
            "/accounts/{account_id}/logpush/jobs/{job}",
            delete,
        ),
        ("GET", "/zones/{zone_id}/logpush/jobs", list),
        ("POST", "/zones/{zone_id}/logpush/jobs", create),
        ("GET", "/zones/{zone_id}/logpush/jobs/{job}", get),
        ("PUT", "/zones/{zone_id}/logpush/jobs/{job}", put),
        ("DELETE", "/zones/{zone_id}/logpush/jobs/{job}", delete),
    ]
}

const JOBS: &str = "logpush_jobs";
const ZONE_DATASETS: [&str; 6] = [
    "http_requests",
    "firewall_events",
    "dns_logs",
    "nel_reports",
    "page_shield_events",
    "spectrum_events",
];
const ACCOUNT_DATASETS: [&str; 6] = [
    "access_requests",
    "audit_logs",
    "audit_logs_v2",
    "gateway_dns",
    "gateway_http",
    "workers_trace_events",
];

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(1002, message.into())
}

/// Judges a job; what the body does not say stays as in `job`.
fn judged(call: &Call<'_>, mut job: Object) -> Result<Object, ApiError> {
    let body = call.object()?;
    let changeable = [
        "dataset",
        "destination_conf",
        "enabled",
        "filter",
        "frequency",
        "kind",
        "name",
        "output_options",
        "max_upload_records",
    ];
    job.extend(
        body.into_iter()
            .filter(|(name, _)| changeable.contains(&name.as_str())),
    );
    let datasets = if call.param("account_id").is_empty() {
        &ZONE_DATASETS
    } else {
        &ACCOUNT_DATASETS
    };
    objects::word(&job, "dataset", datasets, 1002)?;
    let destination = objects::text(&job, "destination_conf", 1002)?;
    let schemes = [
        "s3://",
        "r2://",
        "gs://",
        "https://",
        "azure://",
        "datadog://",
        "splunk://",
        "sumo://",
    ];
    if !schemes.iter().any(|scheme| destination.starts_with(scheme)) {
        return Err(bad(
            "destination_conf must be the address of a known kind of store",
        ));
    }
    if !job.at("enabled").is_boolean() {
        return Err(bad("enabled must be true or false"));
    }
    Ok(job)
}

fn list(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(
        &call
            .world
            .objects
            .list(JOBS, call.place()?)
            .iter()
            .map(shown)
            .collect::<Vec<_>>(),
    ))
}

/// Ids are kept as text and shown as numbers.
fn shown(job: &Value) -> Value {
    let mut job = job.clone();
    job.set(
        "id",
        json!(job.at("id").as_str().and_then(|id| id.parse::<u64>().ok())),
    );
    job
}

fn own(call: &Call<'_>) -> Result<Value, ApiError> {
    let job = call
        .world
        .objects
        .find(JOBS, call.place()?, call.param("job"));
    job.cloned()
        .ok_or_else(|| ApiError::new(404, 1001, "job not found"))
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&shown(&own(call)?)))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let place = call.place()?.to_owned();
    let mut job = Object::from_iter([("enabled".to_owned(), json!(false))]);
    let last = call.world.objects.list(JOBS, &place).last();
    let last = last
        .and_then(|job| job.at("id").as_str())
        .and_then(|id| id.parse::<u64>().ok());
    let id = last.unwrap_or(0) + 1;
    job = judged(call, job)?;
    for name in ["error_message", "last_complete", "last_error"] {
        job.insert(name.to_owned(), Value::Null);
    }
    job.insert("id".to_owned(), json!(id.to_string()));
    store(call, Value::Object(job))
}

fn store(call: &mut Call<'_>, job: Value) -> Outcome {
    let place = call.place()?.to_owned();
    let reply = Reply::ok(&shown(&job));
    call.world.objects.put(JOBS, &place, job);
    Ok(reply)
}

fn put(call: &mut Call<'_>) -> Outcome {
    let old = own(call)?.as_object().cloned().unwrap_or_default();
    let job = judged(call, old)?;
    store(call, Value::Object(job))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let job = own(call)?;
    let place = call.place()?.to_owned();
    call.world
        .objects
        .remove(JOBS, &place, job.at("id").as_str().unwrap_or_default());
    Ok(Reply::ok(&json!({"id": shown(&job).at("id")})))
}
