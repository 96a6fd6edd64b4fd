//! Bindings of every kind, and what each of them is named.

use super::*;
use crate::model::json::parse;

fn read(metadata: &str) -> Result<Named, String> {
    named(&parse(metadata.as_bytes()).unwrap(), "site")
}

fn words(bound: &[Bound]) -> String {
    let word = |bound: &Bound| match &bound.resource {
        Some(resource) => format!("{}:{resource}", bound.kind),
        None => bound.kind.clone(),
    };
    bound.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What one binding binds.
fn binds(binding: &str) -> Result<String, String> {
    let binding = binding.replacen('{', r#"{"name":"B","#, 1);
    read(&format!(r#"{{"bindings":[{binding}]}}"#)).map(|named| words(&named.bound))
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table: bindings and what each binds"
)]
fn e6_each_binding_is_named_by_what_it_binds() {
    for (binding, expected) in [
        (
            r#"{"type":"kv_namespace","namespace_id":"k"}"#,
            "kv_namespace:k",
        ),
        (r#"{"type":"d1","id":"d"}"#, "d1:d"),
        (r#"{"type":"d1","database_id":"d","id":"d"}"#, "d1:d"),
        (r#"{"type":"r2_bucket","bucket_name":"b"}"#, "r2_bucket:b"),
        (
            r#"{"type":"r2_bucket","bucket_name":"b","jurisdiction":"default"}"#,
            "r2_bucket:b",
        ),
        (
            r#"{"type":"r2_bucket","bucket_name":"b","jurisdiction":"eu"}"#,
            "r2_bucket:eu/b",
        ),
        (r#"{"type":"queue","queue_name":"q"}"#, "queue:q"),
        (
            r#"{"type":"service","service":"api","environment":"production"}"#,
            "service:api",
        ),
        (r#"{"type":"service","service":"site"}"#, "service:site"),
        (
            r#"{"type":"secrets_store_secret","store_id":"s","secret_name":"n"}"#,
            "secrets_store_secret:s/n",
        ),
        (r#"{"type":"hyperdrive","id":"h"}"#, "hyperdrive:h"),
        (r#"{"type":"vectorize","index_name":"i"}"#, "vectorize:i"),
        (
            r#"{"type":"analytics_engine","dataset":"a"}"#,
            "analytics_engine:a",
        ),
        (
            r#"{"type":"mtls_certificate","certificate_id":"c"}"#,
            "mtls_certificate:c",
        ),
        (r#"{"type":"pipelines","pipeline":"p"}"#, "pipelines:p"),
        (r#"{"type":"pipelines","stream":"p"}"#, "pipelines:p"),
        (
            r#"{"type":"ratelimit","namespace_id":"7","simple":{"limit":1,"period":10}}"#,
            "ratelimit:7",
        ),
        (r#"{"type":"logfwdr","destination":"l"}"#, "logfwdr:l"),
        (r#"{"type":"ai_search","instance_name":"i"}"#, "ai_search:i"),
        (
            r#"{"type":"ai_search","instance_name":"i","namespace":"n"}"#,
            "ai_search:n/i",
        ),
        (r#"{"type":"vpc_network","tunnel_id":"t"}"#, "vpc_network:t"),
        (
            r#"{"type":"vpc_service","service_id":"s"}"#,
            "vpc_service:s",
        ),
        (r#"{"type":"flagship","app_id":"f"}"#, "flagship:f"),
        (r#"{"type":"k2","stream":"k"}"#, "k2:k"),
        (r#"{"type":"ai"}"#, "ai"),
        (r#"{"type":"browser"}"#, "browser"),
        (r#"{"type":"images"}"#, "images"),
        (r#"{"type":"plain_text","text":""}"#, "plain_text"),
        (r#"{"type":"secret_text","text":"s"}"#, "secret_text"),
        (r#"{"type":"send_email"}"#, "send_email"),
        (
            r#"{"type":"send_email","destination_address":"a@x"}"#,
            "send_email:a@x",
        ),
        (
            r#"{"type":"send_email","allowed_destination_addresses":["a@x","b@x"]}"#,
            "send_email:a@x send_email:b@x",
        ),
        (
            r#"{"type":"send_email","allowed_destination_addresses":[]}"#,
            "send_email",
        ),
        (
            r#"{"type":"dispatch_namespace","namespace":"n"}"#,
            "dispatch_namespace:n",
        ),
        (
            r#"{"type":"dispatch_namespace","namespace":"n","outbound":{"worker":{"service":"out"}}}"#,
            "dispatch_namespace:n service:out",
        ),
        // A class of its own is its own; a class of another script binds that script.
        (
            r#"{"type":"durable_object_namespace","class_name":"C"}"#,
            "",
        ),
        (
            r#"{"type":"durable_object_namespace","class_name":"C","script_name":"site"}"#,
            "",
        ),
        (
            r#"{"type":"durable_object_namespace","class_name":"C","script_name":"api"}"#,
            "durable_object_namespace:api",
        ),
        (
            r#"{"type":"durable_object_namespace","class_name":"C","dispatch_namespace":"d"}"#,
            "dispatch_namespace:d",
        ),
        (
            r#"{"type":"workflow","workflow_name":"w","class_name":"C"}"#,
            "workflow:w",
        ),
        (
            r#"{"type":"workflow","workflow_name":"w","script_name":"api"}"#,
            "workflow:w service:api",
        ),
        // What nobody has heard of yet is named, and no list names it.
        (r#"{"type":"teleporter","to":"x"}"#, "teleporter"),
    ] {
        assert_eq!(binds(binding).as_deref(), Ok(expected), "{binding}");
    }
}

const BY_ID: &str = "A binding of type durable_object_namespace must name class_name and script_name instead of namespace_id.";

#[test]
fn e6_a_binding_that_does_not_say_what_it_binds_is_refused() {
    for (binding, expected) in [
        (
            r#"{"x":1}"#,
            r#"Something of "bindings" lacks the field `type`."#,
        ),
        (
            r#"{"type":1}"#,
            "The field `type` must be a text that is not empty.",
        ),
        (
            r#"{"type":"kv_namespace"}"#,
            r#"Something of "kv_namespace" lacks the field `namespace_id`."#,
        ),
        (
            r#"{"type":"kv_namespace","namespace_id":["k"]}"#,
            "The field `namespace_id` must be a text that is not empty.",
        ),
        (
            r#"{"type":"kv_namespace","namespace_id":""}"#,
            "The field `namespace_id` must be a text that is not empty.",
        ),
        (
            r#"{"type":"d1","database_id":"d","id":"e"}"#,
            "A binding of type d1 names two things: database_id and id must be one.",
        ),
        (
            r#"{"type":"pipelines"}"#,
            r#"Something of "pipelines" lacks the field `pipeline or stream`."#,
        ),
        (
            r#"{"type":"secrets_store_secret","store_id":"s"}"#,
            r#"Something of "secrets_store_secret" lacks the field `secret_name`."#,
        ),
        (
            r#"{"type":"durable_object_namespace"}"#,
            r#"Something of "durable_object_namespace" lacks the field `class_name`."#,
        ),
        // Whose namespace it is cannot be told from an id, whatever else is named.
        (
            r#"{"type":"durable_object_namespace","class_name":"C","namespace_id":"n"}"#,
            BY_ID,
        ),
        (
            r#"{"type":"durable_object_namespace","class_name":"C","script_name":"site","namespace_id":"n"}"#,
            BY_ID,
        ),
        (
            r#"{"type":"send_email","allowed_destination_addresses":[1]}"#,
            "The field `allowed_destination_addresses` must be a list of texts.",
        ),
        (
            r#"{"type":"dispatch_namespace","namespace":"n","outbound":{"worker":{}}}"#,
            r#"Something of "outbound.worker" lacks the field `service`."#,
        ),
    ] {
        assert_eq!(binds(binding).unwrap_err(), expected, "{binding}");
    }
    for (metadata, expected) in [
        ("[]", "The metadata of a Worker must be a JSON object."),
        (r#"{"bindings":{}}"#, "The field `bindings` must be a list."),
        (
            r#"{"keep_bindings":[1]}"#,
            "The field `keep_bindings` must be a list of texts.",
        ),
        (
            r#"{"tail_consumers":[{}]}"#,
            r#"Something of "tail_consumers" lacks the field `service`."#,
        ),
        (
            r#"{"migrations":{"transferred_classes":[{"from":"A","to":"B"}]}}"#,
            r#"Something of "transferred_classes" lacks the field `from_script`."#,
        ),
        (
            r#"{"exports":[]}"#,
            "The field `exports` must be an object.",
        ),
    ] {
        assert_eq!(read(metadata).unwrap_err(), expected, "{metadata}");
    }
}

#[test]
fn e6_whatever_else_reaches_beyond_the_script_is_named() {
    for (metadata, expected) in [
        (
            r#"{"main_module":"x","compatibility_date":"2026-01-01","assets":{"jwt":"j"},"tags":["t"],"placement":{"mode":"smart"}}"#,
            "",
        ),
        (
            r#"{"tail_consumers":[{"service":"logs"}],"streaming_tail_consumers":[{"service":"live"}]}"#,
            "tail_consumer:logs tail_consumer:live",
        ),
        // One in a dispatch namespace is another than the Worker of its name.
        (
            r#"{"tail_consumers":[{"service":"logs","namespace":"tenants"}]}"#,
            "tail_consumer:tenants/logs",
        ),
        (r#"{"tail_consumers":null,"bindings":null}"#, ""),
        (
            r#"{"migrations":{"new_sqlite_classes":["A"],"transferred_classes":[{"from":"A","from_script":"api","to":"B"}]}}"#,
            "durable_object_namespace:api",
        ),
        (
            r#"{"migrations":{"steps":[{"new_classes":["A"]},{"transferred_classes":[{"from":"A","from_script":"api","to":"B"},{"from":"A","from_script":"site","to":"B"}]}]}}"#,
            "durable_object_namespace:api",
        ),
        (
            r#"{"exports":{"A":{"type":"durable-object","transfer_from":"api"},"B":{"transferred_to":"other"},"C":{"type":"worker"}}}"#,
            "durable_object_namespace:api durable_object_namespace:other",
        ),
        (
            r#"{"exports":{"A":{"type":"durable-object","container":"c"}}}"#,
            "containers",
        ),
        (
            r#"{"observability":{"enabled":true,"logs":{"destinations":["d"]},"traces":{"destinations":["e"]}}}"#,
            "observability_destination:d observability_destination:e",
        ),
        (
            r#"{"containers":[{"class_name":"C"}],"reach_for":"x"}"#,
            "containers reach_for",
        ),
    ] {
        assert_eq!(
            words(&read(metadata).unwrap().bound),
            expected,
            "{metadata}"
        );
    }
}

#[test]
fn e6_what_is_kept_or_inherited_is_told_with_where_it_comes_from() {
    let found = read(
        r#"{"keep_bindings":["secret_text","d1"],"bindings":[{"name":"A","type":"inherit"},{"name":"B","type":"inherit","old_name":"C","version_id":"v"},{"name":"D","type":"inherit","version_id":"latest"}]}"#,
    );
    let found = found.unwrap();
    let inherited = |name: &str, version: Option<&str>| Inherited {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    };
    assert_eq!(found.kept, ["secret_text", "d1"]);
    assert_eq!(
        found.inherited,
        [
            inherited("A", None),
            inherited("C", Some("v")),
            inherited("D", None)
        ]
    );
    assert_eq!(found.bound, []);
    assert!(is_free("secret_text") && !is_free("d1") && !is_free("inherit") && !is_free("x"));
}

#[test]
fn e6_a_script_as_it_stands_tells_what_each_binding_binds() {
    let stands = r#"[{"name":"K","type":"kv_namespace","namespace_id":"k"},
        {"name":"D","type":"durable_object_namespace","class_name":"C","namespace_id":"own"},
        {"name":"E","type":"durable_object_namespace","class_name":"C","script_name":"api","namespace_id":"n"}]"#;
    let found = bindings_of(&parse(stands.as_bytes()).unwrap(), "site").unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(name, bound)| (name.as_str(), words(bound)))
        .collect();
    let expected = [
        ("K", "kv_namespace:k"),
        ("D", ""),
        ("E", "durable_object_namespace:api"),
    ];
    assert_eq!(
        found,
        expected.map(|(name, words)| (name, words.to_owned()))
    );
    let inherits = parse(br#"[{"name":"A","type":"inherit"}]"#).unwrap();
    assert!(bindings_of(&inherits, "site").is_err());
}

#[test]
fn kinds_are_in_order_and_each_has_one_row() {
    assert!(KINDS.is_sorted_by(|(a, _), (b, _)| a < b));
    assert!(HARMLESS.is_sorted_by(|a, b| a < b));
}
