//! `POST /zones/{zone_id}/dns_records/batch`.
//!
//! NOTES "DNS records": always deletes → patches → puts → posts, in list order; one transaction,
//! the first error aborts all and only that error is returned; at most 200 records on Free, 3,500
//! on the other plans.

use serde_json::{Map, Value};

use crate::api::{ApiError, Outcome, Reply};
use crate::dns::record::{Draft, Scope};
use crate::world::Call;
use crate::zones::Plan;

const LISTS: [&str; 4] = ["deletes", "patches", "puts", "posts"];

/// The handler.
pub(crate) fn batch(call: &mut Call<'_>) -> Outcome {
    let body = call.object()?;
    let zone = call.zone()?;
    let limit = if zone.plan == Plan::Free { 200 } else { 3500 };
    let (zone_id, zone_name, plan) = (zone.id.clone(), zone.name.clone(), zone.plan);
    let scope = Scope {
        zone: &zone_name,
        plan,
    };
    let lists = [
        items(&body, "deletes")?,
        items(&body, "patches")?,
        items(&body, "puts")?,
        items(&body, "posts")?,
    ];
    if lists.iter().map(Vec::len).sum::<usize>() > limit {
        // The code is a hypothesis.
        return Err(ApiError::bad(
            1004,
            format!(
                "DNS Validation Error: a batch on this plan can change at most {limit} records."
            ),
        ));
    }
    // The transaction works on copies, of the id counter too, and is stored only as a whole.
    let mut records = zone.records.clone();
    let mut ids = call.world.ids.clone();
    let now = call.now;
    let mut answers: Vec<String> = Vec::new();
    for (list, items) in LISTS.iter().zip(&lists) {
        let mut done = Vec::new();
        for item in items {
            let id = || {
                item.get("id").and_then(Value::as_str).ok_or_else(|| {
                    ApiError::bad(
                        1004,
                        format!("DNS Validation Error: an item of {list} needs an id."),
                    )
                })
            };
            let record = match *list {
                "deletes" => records.delete(id()?)?,
                "patches" => records.update(id()?, item, true, scope, now)?,
                "puts" => records.update(id()?, item, false, scope, now)?,
                _ => records.create(Draft::read(item, None, scope)?, &mut ids, now)?,
            };
            done.push(record);
        }
        let json: Vec<&str> = done.iter().map(|r| r.json.as_str()).collect();
        answers.push(format!("\"{list}\":[{}]", json.join(",")));
    }
    if let Some(zone) = call.world.zones.get_mut(&zone_id) {
        zone.records = records;
    }
    call.world.ids = ids;
    Ok(Reply::raw_result(&format!("{{{}}}", answers.join(","))))
}

fn items<'a>(
    body: &'a Map<String, Value>,
    list: &str,
) -> Result<Vec<&'a Map<String, Value>>, ApiError> {
    let wrong = || ApiError::body(format!("{list} must be a list of objects"));
    match body.get(list) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_object().ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}
