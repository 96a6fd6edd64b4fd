//! DNS records of a zone.
//!
//! NOTES "DNS records". [`record`] judges one record, [`store`] the records of a zone together,
//! [`list`] selects, [`batch`] changes many at once, [`bind`] reads and writes zone files, [`fill`]
//! makes many records.

mod batch;
mod bind;
mod fill;
mod kinds;
mod list;
pub(crate) mod names;
mod record;
mod store;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::router::Route;
use crate::seed::SEEDED_AT;
use crate::world::Call;
use crate::zones::{Plan, Zone};
use record::{Draft, Record, Scope};

pub(crate) use fill::fill;
pub(crate) use store::ZoneRecords;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/dns_records", list::list),
        ("POST", "/zones/{zone_id}/dns_records", create),
        ("POST", "/zones/{zone_id}/dns_records/batch", batch::batch),
        ("GET", "/zones/{zone_id}/dns_records/export", bind::export),
        ("POST", "/zones/{zone_id}/dns_records/import", bind::import),
        ("GET", "/zones/{zone_id}/dns_records/{dns_record_id}", get),
        ("PUT", "/zones/{zone_id}/dns_records/{dns_record_id}", put),
        (
            "PATCH",
            "/zones/{zone_id}/dns_records/{dns_record_id}",
            patch,
        ),
        (
            "DELETE",
            "/zones/{zone_id}/dns_records/{dns_record_id}",
            delete,
        ),
    ]
}

/// Name and plan of the path's zone, apart from the borrow of the world.
fn judged_in(call: &Call<'_>) -> Result<(String, Plan), ApiError> {
    call.zone().map(|zone| (zone.name.clone(), zone.plan))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let record = zone.records.get(call.param("dns_record_id"))?;
    Ok(Reply::raw_result(&record.json))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (zone, plan) = judged_in(call)?;
    let scope = Scope { zone: &zone, plan };
    let draft = Draft::read(&call.object()?, None, scope)?;
    let (now, mut ids) = (call.now, call.world.ids.clone());
    let record = call.records()?.create(draft, &mut ids, now)?;
    call.world.ids = ids;
    Ok(Reply::raw_result(&record.json))
}

fn put(call: &mut Call<'_>) -> Outcome {
    update(call, false)
}

fn patch(call: &mut Call<'_>) -> Outcome {
    update(call, true)
}

fn update(call: &mut Call<'_>, partial: bool) -> Outcome {
    let (zone, plan) = judged_in(call)?;
    let scope = Scope { zone: &zone, plan };
    let id = call.param("dns_record_id").to_owned();
    // The record is looked for before the body is read.
    call.records()?.get(&id)?;
    let body = call.object()?;
    let now = call.now;
    let record = call.records()?.update(&id, &body, partial, scope, now)?;
    Ok(Reply::raw_result(&record.json))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.param("dns_record_id").to_owned();
    call.records()?.delete(&id)?;
    Ok(Reply::ok(&json!({"id": id})))
}

/// Fills a seeded zone; `zone_number` and the place in the list make the ids.
pub(crate) fn seed_records(zone: &mut Zone, records: &[Value], zone_number: usize) {
    let name = zone.name.clone();
    let scope = Scope {
        zone: &name,
        plan: zone.plan,
    };
    for (number, body) in (1_usize..).zip(records) {
        let id = format!("d{zone_number:03}{number:028}");
        let draft = body.as_object().map(|body| Draft::read(body, None, scope));
        if let Some(Ok(draft)) = draft {
            zone.records
                .insert(Arc::new(Record::new(id, draft, None, SEEDED_AT)));
        }
    }
}
