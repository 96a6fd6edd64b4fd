//! Analytics by GraphQL.

use serde_json::{Value, json};
use simulator::{ACME_ID, ZONE_COM_ID, ZONE_NET_ID};

use crate::support::Sim;

const DAY: &str = r#"datetime_geq: "2026-11-01T00:00:00Z", datetime_lt: "2026-11-02T00:00:00Z""#;

fn ask(sim: &Sim, query: &str, variables: &Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    let answer = sim.call("POST", "/graphql", Some(&body));
    assert_eq!(answer.status, 200);
    answer.json()
}

fn message(sim: &Sim, query: &str) -> String {
    let answer = ask(sim, query, &json!({}));
    assert_eq!(answer["data"], Value::Null, "{answer}");
    answer["errors"][0]["message"].as_str().unwrap().to_owned()
}

fn zone(fields: &str) -> String {
    format!("{{ viewer {{ zones(filter: {{zoneTag: \"{ZONE_COM_ID}\"}}) {{ {fields} }} }} }}")
}

/// The rows of the one dataset asked for as `x`.
fn rows(sim: &Sim, fields: &str) -> Vec<Value> {
    let answer = ask(sim, &zone(fields), &json!({}));
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    answer["data"]["viewer"]["zones"][0]["x"]
        .as_array()
        .unwrap()
        .clone()
}

fn total(rows: &[Value]) -> u64 {
    rows.iter().map(|row| row["count"].as_u64().unwrap()).sum()
}

#[test]
fn groups_add_up_to_the_whole_whatever_they_are_grouped_by() {
    let sim = Sim::start();
    let by = |dimensions: &str| {
        rows(
            &sim,
            &format!("x: httpRequestsAdaptiveGroups(filter: {{{DAY}}}) {{ count {dimensions} }}"),
        )
    };
    let whole = by("");
    assert_eq!(whole.len(), 1);
    let hours = by("dimensions { datetimeHour }");
    assert_eq!((hours.len(), total(&hours)), (24, total(&whole)));
    assert_eq!(
        hours[0]["dimensions"]["datetimeHour"],
        "2026-11-01T00:00:00Z"
    );
    let statuses = by("dimensions { edgeResponseStatus }");
    assert_eq!((statuses.len(), total(&statuses)), (3, total(&whole)));
    assert_eq!(
        by("dimensions { status: edgeResponseStatus }")[0]["dimensions"]["status"],
        200
    );
    assert_eq!(
        by("dimensions { edgeResponseStatus }"),
        statuses,
        "the same every time"
    );
}

#[test]
fn filters_limits_and_orders_are_followed() {
    let sim = Sim::start();
    let count = |filter: &str| {
        total(&rows(
            &sim,
            &format!("x: httpRequestsAdaptiveGroups(filter: {{{DAY}, {filter}}}) {{ count }}"),
        ))
    };
    let errors = count("edgeResponseStatus_geq: 500");
    assert_eq!(errors, count("edgeResponseStatus: 500"));
    assert_eq!(errors, count("AND: [{edgeResponseStatus_gt: 404}]"));
    let (fine, missing) = (
        count("edgeResponseStatus: 200"),
        count("edgeResponseStatus: 404"),
    );
    assert_eq!(fine + missing, count("edgeResponseStatus_in: [200, 404]"));
    assert_eq!(
        fine + missing,
        count("OR: [{edgeResponseStatus: 200}, {edgeResponseStatus: 404}]")
    );
    assert_eq!(errors + missing, count("edgeResponseStatus_neq: 200"));
    let top = rows(
        &sim,
        &format!(
            "x: httpRequestsAdaptiveGroups(filter: {{{DAY}}}, limit: 3, orderBy: [count_DESC]) {{ count dimensions {{ datetimeHour }} sum {{ edgeResponseBytes }} quantiles {{ edgeTimeToFirstByteMsP95 }} avg {{ sampleInterval }} }}"
        ),
    );
    assert_eq!(top.len(), 3);
    assert!(
        top[0]["count"].as_u64() >= top[1]["count"].as_u64()
            && top[1]["count"].as_u64() >= top[2]["count"].as_u64()
    );
    assert!(top[0]["sum"]["edgeResponseBytes"].as_u64().unwrap() > 0);
    assert!(
        top[0]["quantiles"]["edgeTimeToFirstByteMsP95"]
            .as_u64()
            .unwrap()
            >= 3000
    );
}

#[test]
fn single_events_and_several_datasets_come_in_one_answer() {
    let sim = Sim::start();
    let events = rows(
        &sim,
        &format!(
            "x: firewallEventsAdaptive(filter: {{{DAY}, action: block}}, limit: 5) {{ action clientIP datetime ruleId }}"
        ),
    );
    assert_eq!(events.len(), 5);
    assert!(
        events.iter().all(|e| e["action"] == "block"
            && e["datetime"].as_str().unwrap().starts_with("2026-11-01T"))
    );
    let query = r"query Report($zone: string!, $account: string, $from: Time!, $to: Time!, $errors: Boolean = false) {
        viewer {
            zones(filter: {zoneTag_in: [$zone]}) { zoneTag ...Traffic }
            accounts(filter: {accountTag: $account}) {
                workersInvocationsAdaptive(filter: {datetime_geq: $from, datetime_lt: $to}) {
                    dimensions { scriptName }
                    sum { requests errors @include(if: $errors) }
                }
            }
        }
    }
    fragment Traffic on zone { all: httpRequestsAdaptiveGroups(filter: {datetime_geq: $from, datetime_lt: $to}) { count } }";
    let mut variables = json!({"zone": ZONE_NET_ID, "account": ACME_ID, "from": "2026-11-01T00:00:00Z", "to": "2026-11-01T01:00:00Z"});
    let viewer = ask(&sim, query, &variables)["data"]["viewer"].clone();
    assert_eq!(viewer["zones"][0]["zoneTag"], ZONE_NET_ID);
    assert!(viewer["zones"][0]["all"][0]["count"].as_u64().unwrap() > 0);
    let scripts = viewer["accounts"][0]["workersInvocationsAdaptive"].clone();
    assert_eq!(
        (
            &scripts[0]["dimensions"]["scriptName"],
            scripts[0]["sum"].get("errors")
        ),
        (&json!("api"), None)
    );
    variables["errors"] = json!(true);
    let viewer = ask(&sim, query, &variables)["data"]["viewer"].clone();
    let sum = &viewer["accounts"][0]["workersInvocationsAdaptive"][0]["sum"];
    assert!(sum["errors"].as_u64().unwrap() < sum["requests"].as_u64().unwrap());
}

#[test]
fn a_bad_query_is_answered_200_with_errors() {
    let sim = Sim::start();
    let dataset = |arguments: &str, fields: &str| {
        zone(&format!(
            "httpRequestsAdaptiveGroups({arguments}) {{ {fields} }}"
        ))
    };
    let good = format!("filter: {{{DAY}}}");
    for (query, expected) in [
        (
            zone("noSuchDataset(filter: {}) { count }"),
            "unknown field \"noSuchDataset\"",
        ),
        (
            zone("workersInvocationsAdaptive(filter: {}) { count }"),
            "unknown field \"workersInvocationsAdaptive\"",
        ),
        (dataset(&good, "colour"), "unknown field \"colour\""),
        (
            dataset(&good, "dimensions { colour }"),
            "unknown field \"colour\"",
        ),
        (dataset(&good, "sum { colour }"), "unknown field \"colour\""),
        (dataset("limit: 1", "count"), "filter is required"),
        (
            dataset("filter: {datetime_geq: \"2026-11-01T00:00:00Z\"}", "count"),
            "the filter must bound the time on both sides",
        ),
        (
            dataset(
                "filter: {date_geq: \"2026-01-01\", date_leq: \"2026-11-01\"}",
                "count",
            ),
            "cannot request a time range wider than 2678400s",
        ),
        (
            dataset(
                "filter: {date_geq: \"soon\", date_leq: \"2026-11-01\"}",
                "count",
            ),
            "date_geq must be a time, not \"soon\"",
        ),
        (
            dataset(&format!("filter: {{{DAY}, colour: red}}"), "count"),
            "unknown argument \"colour\" in filter",
        ),
        (
            dataset(&format!("{good}, limit: 0"), "count"),
            "limit must be between 1 and 10000",
        ),
        (
            dataset(&format!("{good}, orderBy: [colour_ASC]"), "count"),
            "\"colour_ASC\" is not a valid value for orderBy",
        ),
        (
            zone("zoneTag { x }").replace(ZONE_COM_ID, "nobody"),
            "zoneTag \"nobody\" does not exist or access to it is not granted",
        ),
        (
            "{ viewer { zones { zoneTag } } }".to_owned(),
            "filter must name zoneTag",
        ),
        ("{ somebody }".to_owned(), "unknown field \"somebody\""),
        (
            format!(
                "{{ viewer {{ accounts(filter: {{accountTag_in: [\"{ACME_ID}\", \"x\"]}}) {{ accountTag }} }} }}"
            ),
            "at most 1 can be queried at once",
        ),
    ] {
        assert_eq!(message(&sim, &query), expected, "{query}");
    }
    assert!(message(&sim, "{ viewer").contains("query parse error"));
    let path =
        ask(&sim, &dataset(&good, "sum { colour }"), &json!({}))["errors"][0]["path"].clone();
    assert_eq!(
        path,
        json!([
            "viewer",
            "zones",
            "0",
            "httpRequestsAdaptiveGroups",
            "sum",
            "colour"
        ])
    );
    let answer = sim.raw("POST", "/client/v4/graphql", &[], b"{}").unwrap();
    assert_eq!(answer.error(), (400, 9106));
}
