//! `POST /graphql`: analytics.
//!
//! NOTES "Analytics": root `viewer { zones(filter:{zoneTag}) | accounts(filter:{accountTag}) }`,
//! at most 10 zones or 1 account a query, HTTP 200 with `errors[]` on bad queries, not enveloped.
//! The wording of errors is a hypothesis. [`read`] reads the query, [`series`] makes up the rows.

mod read;
mod series;

use serde_json::{Map, Value, json};

use crate::api::{Outcome, Reply};
use crate::invocations::Invocations;
use crate::router::Route;
use crate::world::{Call, World};
use read::Field;
use series::{DATASETS, Dataset, Event};

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![("POST", "/graphql", answer)]
}

/// NOTES "Analytics": zones and accounts of one query.
const MOST_ZONES: usize = 10;
const MOST_ACCOUNTS: usize = 1;
/// Rows that are given where no limit is asked for, and at most.
const MOST_ROWS: u64 = 10_000;

/// What is wrong with a query, and at which place of the answer.
struct Wrong {
    message: String,
    path: Vec<String>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            path: Vec::new(),
        }
    }

    /// The same, seen from a field further out.
    fn below(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every handler has this signature")]
fn answer(call: &mut Call<'_>) -> Outcome {
    let body = match execute(call) {
        Ok(data) => json!({"data": data, "errors": null}),
        Err(wrong) => json!({
            "data": null,
            "errors": [{
                "message": wrong.message,
                "path": if wrong.path.is_empty() { Value::Null } else { json!(wrong.path) },
                "extensions": {"timestamp": call.now.rfc3339()},
            }],
        }),
    };
    Ok(Reply {
        content_type: "application/json",
        ..Reply::text(body.to_string())
    })
}

fn execute(call: &Call<'_>) -> Result<Value, Wrong> {
    let body = call
        .object()
        .map_err(|e| Wrong::new(e.message.into_owned()))?;
    let query = body.get("query").and_then(Value::as_str);
    let query = query.ok_or_else(|| Wrong::new("query must be a string"))?;
    let operation = body.get("operationName").and_then(Value::as_str);
    let variables = match body.get("variables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map.clone(),
        Some(_) => return Err(Wrong::new("variables must be an object")),
    };
    let fields = read::read(query, operation, &variables).map_err(Wrong::new)?;
    each(&fields, |field| match field.name.as_str() {
        "viewer" => each(&field.fields, |field| match field.name.as_str() {
            "zones" => places(call.world, field, true),
            "accounts" => places(call.world, field, false),
            _ => Err(unknown(field)),
        }),
        "__typename" => Ok(json!("Query")),
        _ => Err(unknown(field)),
    })
}

fn unknown(field: &Field) -> Wrong {
    Wrong::new(format!("unknown field \"{}\"", field.name))
}

/// An object of the fields, each by its key.
fn each(
    fields: &[Field],
    mut value: impl FnMut(&Field) -> Result<Value, Wrong>,
) -> Result<Value, Wrong> {
    if fields.is_empty() {
        return Err(Wrong::new("fields must be selected here"));
    }
    let mut out = Map::new();
    for field in fields {
        let value = value(field).map_err(|wrong| wrong.below(&field.key))?;
        out.insert(field.key.clone(), value);
    }
    Ok(Value::Object(out))
}

/// The zones or accounts of a filter.
fn places(world: &World, field: &Field, of_zone: bool) -> Result<Value, Wrong> {
    let (tag, most) = if of_zone {
        ("zoneTag", MOST_ZONES)
    } else {
        ("accountTag", MOST_ACCOUNTS)
    };
    let filter = field.arguments.get("filter").and_then(Value::as_object);
    let mut ids: Vec<String> = Vec::new();
    for (name, value) in filter.into_iter().flatten() {
        let values = match (name.strip_prefix(tag), value) {
            (Some(""), value) => vec![value.clone()],
            (Some("_in"), Value::Array(list)) => list.clone(),
            _ => return Err(Wrong::new(format!("unknown argument \"{name}\" in filter"))),
        };
        ids.extend(
            values
                .iter()
                .map(|id| id.as_str().unwrap_or_default().to_owned()),
        );
    }
    if ids.is_empty() {
        return Err(Wrong::new(format!("filter must name {tag}")));
    }
    if ids.len() > most {
        return Err(Wrong::new(format!("at most {most} can be queried at once")));
    }
    let mut out = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        let is_there = if of_zone {
            world.zones.get(id).is_some()
        } else {
            world.accounts.iter().any(|account| account.id == *id)
        };
        if !is_there {
            return Err(Wrong::new(format!(
                "{tag} {id:?} does not exist or access to it is not granted"
            )));
        }
        let place = each(&field.fields, |field| match field.name.as_str() {
            name if name == tag => Ok(json!(id)),
            name => DATASETS
                .iter()
                .find(|dataset| dataset.name == name && dataset.of_zone == of_zone)
                .ok_or_else(|| unknown(field))
                .and_then(|dataset| rows(dataset, id, field, &world.invocations)),
        });
        out.push(place.map_err(|wrong| wrong.below(&index.to_string()))?);
    }
    Ok(Value::Array(out))
}

/// The rows of one dataset.
fn rows(
    dataset: &Dataset,
    place: &str,
    field: &Field,
    invocations: &Invocations,
) -> Result<Value, Wrong> {
    let filter = field.arguments.get("filter").and_then(Value::as_object);
    let filter = filter.ok_or_else(|| Wrong::new("filter is required"))?;
    let limit = match field.arguments.get("limit") {
        None | Some(Value::Null) => MOST_ROWS,
        Some(limit) => limit
            .as_u64()
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| Wrong::new(format!("limit must be between 1 and {MOST_ROWS}")))?,
    };
    let events = dataset
        .events(place, filter, invocations)
        .map_err(Wrong::new)?;
    let dimensions = field.fields.iter().find(|f| f.name == "dimensions");
    let dimensions = dimensions.map_or(&[][..], |d| d.fields.as_slice());
    let by: Vec<&str> = dimensions.iter().map(|f| f.name.as_str()).collect();
    if let Some(unknown) = by.iter().find(|name| !dataset.knows(name)) {
        return Err(Wrong::new(format!("unknown field \"{unknown}\"")).below("dimensions"));
    }
    let mut groups = if dataset.is_grouped {
        Dataset::grouped(&events, &by)
    } else {
        events.iter().map(|event| vec![event]).collect()
    };
    sort(dataset, &mut groups, field.arguments.get("orderBy"))?;
    groups.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let rendered = groups.iter().map(|group| {
        each(&field.fields, |field| {
            if dataset.is_grouped {
                group_value(dataset, group, field)
            } else {
                event_value(group, field)
            }
        })
    });
    Ok(Value::Array(rendered.collect::<Result<_, _>>()?))
}

fn count(group: &[&Event]) -> u64 {
    group.iter().map(|event| event.count).sum()
}

/// `orderBy: [count_DESC, datetimeHour_ASC]`; the last is the least.
fn sort(dataset: &Dataset, groups: &mut [Vec<&Event>], order: Option<&Value>) -> Result<(), Wrong> {
    let order = match order {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
    };
    for one in order.iter().rev() {
        let (name, direction) = one
            .as_str()
            .and_then(|o| o.rsplit_once('_'))
            .unwrap_or_default();
        let is_number = name == "count" || name.starts_with("sum_");
        if !matches!(direction, "ASC" | "DESC") || !(is_number || dataset.knows(name)) {
            return Err(Wrong::new(format!(
                "{one} is not a valid value for orderBy"
            )));
        }
        let number = |group: &[&Event]| match name.strip_prefix("sum_") {
            None => count(group),
            Some(sum) => dataset
                .sum(sum, group)
                .and_then(|v| v.as_u64())
                .unwrap_or(0),
        };
        let text = |group: &[&Event]| {
            group
                .first()
                .and_then(|e| e.get(name))
                .map(|v| v.to_string())
        };
        if is_number {
            groups.sort_by_key(|group| number(group));
        } else {
            groups.sort_by_key(|group| text(group));
        }
        if direction == "DESC" {
            groups.reverse();
        }
    }
    Ok(())
}

/// A field of a group.
fn group_value(dataset: &Dataset, group: &[&Event], field: &Field) -> Result<Value, Wrong> {
    let first = group.first();
    match field.name.as_str() {
        "count" => Ok(json!(count(group))),
        "dimensions" => each(&field.fields, |field| {
            let value = first.and_then(|event| event.get(&field.name));
            value.ok_or_else(|| unknown(field))
        }),
        "sum" => each(&field.fields, |field| {
            dataset
                .sum(&field.name, group)
                .ok_or_else(|| unknown(field))
        }),
        "quantiles" => each(&field.fields, |field| {
            dataset
                .quantile(&field.name, group)
                .ok_or_else(|| unknown(field))
        }),
        "avg" => each(&field.fields, |field| match field.name.as_str() {
            "sampleInterval" => Ok(json!(1)),
            _ => Err(unknown(field)),
        }),
        _ => Err(unknown(field)),
    }
}

/// A field of a single event.
fn event_value(group: &[&Event], field: &Field) -> Result<Value, Wrong> {
    let value = group.first().and_then(|event| event.get(&field.name));
    value.ok_or_else(|| unknown(field))
}
