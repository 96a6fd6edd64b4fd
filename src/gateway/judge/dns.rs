//! DNS records: one, one by its id, a batch of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Judgement, OwnedFacts, Surroundings, keep_fields, malformed, object, sanitised, text, with_text,
};
use crate::audit::{Action, ReadBack};
use crate::gateway::refusal::Refusal;
use crate::model::RecordName;
use crate::model::json::Json;
use crate::policy::RecordFacts;

/// Fields of a DNS record that Cloudflare knows. A conditioned caller's other fields are dropped.
const RECORD_FIELDS: &[&str] = &[
    "comment",
    "content",
    "data",
    "id",
    "name",
    "priority",
    "private_routing",
    "proxied",
    "settings",
    "tags",
    "ttl",
    "type",
];

/// Fields of a DNS record that show as they were sent once a change happened.
const SHOWN_AS_SENT: &[&str] = &["comment", "content", "proxied", "ttl"];

/// The fields sent that a record shows as they were sent.
fn shown_as_sent(body: &Json) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for name in SHOWN_AS_SENT {
        if let Some(sent) = body.get(name) {
            fields.insert((*name).to_owned(), Value::from(sent));
        }
    }
    fields
}

pub(super) fn record(
    body: Json,
    around: &Surroundings<'_>,
    is_create: bool,
) -> Result<Judgement, Refusal> {
    object(&body)?;
    let body = if around.conditioned {
        keep_fields(body, RECORD_FIELDS)
    } else {
        body
    };
    let name = text(&body, "name")?;
    let kind = text(&body, "type")?.map(str::to_ascii_uppercase);
    let content = text(&body, "content")?;
    let proxied = match body.get("proxied") {
        None | Some(Json::Null) => None,
        Some(value) => Some(
            value
                .as_bool()
                .ok_or_else(|| malformed("The field `proxied` must be true or false."))?,
        ),
    };
    let canonical = match (name, around.zone_name) {
        (Some(name), Some(zone)) => Some(RecordName::canonical(name, zone).map_err(|error| {
            malformed(format!(
                "The field `name` cannot be a record of {zone}: {error}."
            ))
        })),
        _ => None,
    };
    // Only policy depends on our reading of the name; without a condition it is Cloudflare's to judge.
    let canonical = match canonical {
        Some(Err(refusal)) if around.conditioned => return Err(refusal),
        Some(Ok(name)) => Some(name),
        _ => None,
    };
    if around.conditioned && is_create && (name.is_none() || kind.is_none()) {
        return Err(malformed(
            "A DNS record needs the fields `name` and `type`, both texts.",
        ));
    }
    let shown_name = canonical.as_ref().map(RecordName::as_str).or(name);
    let shown_kind = kind
        .as_deref()
        .map_or_else(|| "DNS".to_owned(), |kind| sanitised(kind, 12));
    let action = match (is_create, shown_name, around.record_id) {
        (true, Some(name), _) => format!(
            "create {shown_kind} record {} in {}",
            sanitised(name, 253),
            around.scope
        ),
        (true, None, _) => format!("create a DNS record in {}", around.scope),
        (false, Some(name), Some(id)) => format!(
            "change {shown_kind} record {} ({id}) of {}",
            sanitised(name, 253),
            around.scope
        ),
        (false, _, id) => format!(
            "change DNS record {} of {}",
            id.unwrap_or_default(),
            around.scope
        ),
    };
    // Without its full name a new record cannot be looked for.
    let full_name = canonical.as_ref().map(RecordName::as_str);
    let read_back = match (is_create, content, full_name, kind.as_deref()) {
        (true, Some(content), Some(name), Some(kind)) => {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("type", kind)
                .append_pair("name.exact", name)
                .append_pair("per_page", "100")
                .finish();
            Some(ReadBack::RecordExists {
                target: format!("{}?{query}", around.path),
                content: content.to_owned(),
            })
        }
        (true, ..) => None,
        (false, ..) => {
            let fields = shown_as_sent(&body);
            (!fields.is_empty()).then(|| ReadBack::RecordHas {
                target: around.path.to_owned(),
                fields,
            })
        }
    };
    // Structured data decides the content upstream, whatever `content` says beside it: then the
    // content cannot be judged.
    let has_data = body.get("data").is_some_and(|data| !data.is_null());
    let facts = canonical.zip(kind).map(|(name, kind)| RecordFacts {
        name,
        kind,
        content: content.filter(|_| !has_data).map(str::to_owned),
        proxied,
    });
    let body = match &facts {
        // What was judged is what is sent: one spelling of the name.
        Some(facts) if around.conditioned => with_text(body, "name", facts.name.as_str()),
        _ => body,
    };
    Ok(Judgement {
        facts: OwnedFacts::Record(facts),
        account: None,
        action: Action::new(action),
        read_back,
        body,
        hosts: Vec::new(),
    })
}

pub(super) fn batch(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let mut words = Vec::new();
    for (list, past) in [
        ("deletes", "deleted"),
        ("patches", "changed"),
        ("puts", "replaced"),
        ("posts", "created"),
    ] {
        let count = match body.get(list) {
            None | Some(Json::Null) => 0,
            Some(value) => value
                .as_array()
                .ok_or_else(|| malformed(format!("The field `{list}` must be a list.")))?
                .len(),
        };
        if count > 0 {
            words.push(format!("{count} {past}"));
        }
    }
    let what = if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    };
    let action = Action::new(format!(
        "change DNS records of {} in one batch ({what})",
        around.scope
    ));
    Ok(Judgement {
        facts: OwnedFacts::None,
        account: None,
        action,
        read_back: None,
        body,
        hosts: Vec::new(),
    })
}
