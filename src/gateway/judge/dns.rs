//! DNS records: one, one by its id, a batch of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Judgement, OwnedFacts, Surroundings, malformed, sanitised};
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
/// Fields of a DNS record that decide. Null says nothing of them, so it is not sent either.
const DECIDING_FIELDS: &[&str] = &["content", "data", "name", "proxied", "type"];
/// The lists of a batch, in the order in which Cloudflare carries them out, and what happens there.
const LISTS: [(&str, &str); 4] = [
    ("deletes", "deleted"),
    ("patches", "changed"),
    ("puts", "replaced"),
    ("posts", "created"),
];
/// Most items of a batch that is judged: Cloudflare's own limit on its larger plans.
pub(in crate::gateway) const MAX_BATCH_ITEMS: usize = 3_500;

/// What a body says about one record.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Draft {
    /// The list of a batch it stands in, and its place there; `None` for a body by itself.
    pub place: Option<(&'static str, usize)>,
    /// The id of the record it changes.
    pub id: Option<String>,
    /// Its canonical name.
    pub name: Option<RecordName>,
    /// Its type, in capitals.
    pub kind: Option<String>,
    /// Its content.
    pub content: Option<String>,
    /// Whether it is proxied.
    pub proxied: Option<bool>,
    /// Whether it has structured data, which decides the content upstream, whatever `content` says
    /// beside it.
    pub has_data: bool,
}

impl Draft {
    /// The record it makes by itself, as policy sees it; `None` where it has no name or type.
    pub(in crate::gateway) fn facts(&self) -> Option<RecordFacts> {
        Some(RecordFacts {
            name: self.name.clone()?,
            kind: self.kind.clone()?,
            content: self.content.clone().filter(|_| !self.has_data),
            proxied: self.proxied,
        })
    }

    /// Where it stands in the body, such as `patches[3]`.
    pub(in crate::gateway) fn place(&self) -> Option<String> {
        self.place.map(|(list, index)| format!("{list}[{index}]"))
    }

    fn field(&self, name: &str) -> String {
        match self.place() {
            Some(place) => format!("{place}.{name}"),
            None => name.to_owned(),
        }
    }

    fn text<'j>(&self, body: &'j Json, name: &str) -> Result<Option<&'j str>, Refusal> {
        match body.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| {
                let field = self.field(name);
                malformed(format!("The field `{field}` must be a text."))
            }),
        }
    }

    /// Reads a record of a body.
    fn read(
        place: Option<(&'static str, usize)>,
        body: &Json,
        around: &Surroundings<'_>,
    ) -> Result<Self, Refusal> {
        let mut draft = Self {
            place,
            ..Self::default()
        };
        if body.as_object().is_none() {
            return Err(malformed(match draft.place() {
                Some(place) => format!("The item {place} must be an object."),
                None => "The body must be a JSON object.".to_owned(),
            }));
        }
        draft.check_zone(body, around)?;
        draft.name = draft.canonical_name(body, around)?;
        draft.kind = draft.text(body, "type")?.map(str::to_ascii_uppercase);
        draft.content = draft.text(body, "content")?.map(str::to_owned);
        draft.proxied = match body.get("proxied") {
            None | Some(Json::Null) => None,
            Some(value) => Some(value.as_bool().ok_or_else(|| {
                let field = draft.field("proxied");
                malformed(format!("The field `{field}` must be true or false."))
            })?),
        };
        draft.has_data = body.get("data").is_some_and(|data| !data.is_null());
        Ok(draft)
    }

    /// A body must not name another zone than the path, which alone is judged.
    fn check_zone(&self, body: &Json, around: &Surroundings<'_>) -> Result<(), Refusal> {
        match self.text(body, "zone_id")? {
            Some(zone) if around.zone_id.is_some_and(|own| own != zone) => {
                let field = self.field("zone_id");
                Err(malformed(format!(
                    "The field `{field}` names another zone than the path."
                )))
            }
            _ => Ok(()),
        }
    }

    fn canonical_name(
        &self,
        body: &Json,
        around: &Surroundings<'_>,
    ) -> Result<Option<RecordName>, Refusal> {
        let (Some(name), Some(zone)) = (self.text(body, "name")?, around.zone_name) else {
            return Ok(None);
        };
        match RecordName::canonical(name, zone) {
            Ok(name) => Ok(Some(name)),
            Err(error) if around.strict => {
                let field = self.field("name");
                Err(malformed(format!(
                    "The field `{field}` cannot be a record of {zone}: {error}."
                )))
            }
            // Nothing depends on our reading of the name, so it is Cloudflare's to judge.
            Err(_) => Ok(None),
        }
    }

    /// Reads the id of the record that an item changes.
    fn read_id(&mut self, body: &Json) -> Result<(), Refusal> {
        let is_id = |id: &&str| {
            id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let id = self.text(body, "id")?.filter(is_id).ok_or_else(|| {
            let field = self.field("id");
            malformed(format!(
                "The field `{field}` must be the id of a DNS record, 32 hexadecimal digits."
            ))
        })?;
        self.id = Some(id.to_owned());
        Ok(())
    }

    /// The body with nothing in it that was not judged, and its name in one spelling.
    fn rewritten(&self, body: Json, around: &Surroundings<'_>) -> Json {
        let Json::Object(mut members) = body else {
            return body;
        };
        if around.conditioned {
            members.retain(|(key, _)| RECORD_FIELDS.contains(&key.as_str()));
        }
        if around.strict {
            members.retain(|(key, value)| match key.as_str() {
                // In the body of a single record the id could only contradict the path.
                "id" => self.id.is_some(),
                key => !(value.is_null() && DECIDING_FIELDS.contains(&key)),
            });
            if let Some(name) = &self.name
                && let Some((_, value)) = members.iter_mut().find(|(key, _)| key == "name")
            {
                *value = Json::String(name.as_str().to_owned());
            }
        }
        Json::Object(members)
    }
}

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
    let draft = Draft::read(None, &body, around)?;
    let facts = draft.facts();
    if around.strict && is_create && facts.is_none() {
        return Err(malformed(
            "A DNS record needs the fields `name` and `type`, both texts.",
        ));
    }
    let written = draft.text(&body, "name")?;
    let full_name = draft.name.as_ref().map(RecordName::as_str);
    let action = action(&draft, full_name.or(written), around, is_create);
    // Without its full name a new record cannot be looked for.
    let parts = (full_name, draft.kind.as_deref(), draft.content.as_deref());
    let read_back = match (is_create, parts) {
        (true, (Some(name), Some(kind), Some(content))) => {
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
        (true, _) => None,
        (false, _) => {
            let fields = shown_as_sent(&body);
            (!fields.is_empty()).then(|| ReadBack::RecordHas {
                target: around.path.to_owned(),
                fields,
            })
        }
    };
    let body = draft.rewritten(body, around);
    Ok(Judgement {
        facts: if is_create {
            OwnedFacts::Record(facts)
        } else {
            OwnedFacts::Drafts(vec![draft])
        },
        account: None,
        action: Action::new(action),
        read_back,
        body,
        hosts: Vec::new(),
    })
}

fn action(draft: &Draft, name: Option<&str>, around: &Surroundings<'_>, is_create: bool) -> String {
    let kind = draft
        .kind
        .as_deref()
        .map_or_else(|| "DNS".to_owned(), |kind| sanitised(kind, 12));
    let scope = around.scope;
    match (is_create, name, around.record_id) {
        (true, Some(name), _) => {
            format!("create {kind} record {} in {scope}", sanitised(name, 253))
        }
        (true, None, _) => format!("create a DNS record in {scope}"),
        (false, Some(name), Some(id)) => {
            let name = sanitised(name, 253);
            format!("change {kind} record {name} ({id}) of {scope}")
        }
        (false, _, id) => format!("change DNS record {} of {scope}", id.unwrap_or_default()),
    }
}

pub(super) fn batch(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    let Json::Object(mut members) = body else {
        return Err(malformed("The body must be a JSON object."));
    };
    if around.strict {
        members.retain(|(key, value)| {
            !value.is_null() && LISTS.iter().any(|(list, _)| *list == key.as_str())
        });
    }
    let mut words = Vec::new();
    let mut drafts = Vec::new();
    for (list, past) in LISTS {
        let items = match members.iter_mut().find(|(key, _)| key == list) {
            None | Some((_, Json::Null)) => continue,
            Some((_, Json::Array(items))) => items,
            Some(_) => return Err(malformed(format!("The field `{list}` must be a list."))),
        };
        if !items.is_empty() {
            words.push(format!("{} {past}", items.len()));
        }
        if around.strict && drafts.len() + items.len() > MAX_BATCH_ITEMS {
            return Err(malformed(format!(
                "A batch may change at most {MAX_BATCH_ITEMS} DNS records."
            )));
        }
        for (index, item) in items.iter_mut().enumerate() {
            let place = Some((list, index));
            if around.strict {
                drafts.push(judged_item(place, item, around)?);
            } else {
                // Nothing else depends on it, so it is Cloudflare's to judge.
                let draft = Draft {
                    place,
                    ..Draft::default()
                };
                draft.check_zone(item, around)?;
            }
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
        facts: OwnedFacts::Drafts(drafts),
        account: None,
        action,
        read_back: None,
        body: Json::Object(members),
        hosts: Vec::new(),
    })
}

/// Reads an item of a batch and leaves of it what was judged.
fn judged_item(
    place: Option<(&'static str, usize)>,
    item: &mut Json,
    around: &Surroundings<'_>,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::read(place, item, around)?;
    let list = place.map(|(list, _)| list);
    if list != Some("posts") {
        draft.read_id(item)?;
    }
    if list == Some("deletes") {
        let id = draft.id.take();
        let text = Json::String(id.clone().unwrap_or_default());
        *item = Json::Object(vec![("id".to_owned(), text)]);
        return Ok(Draft {
            place,
            id,
            ..Draft::default()
        });
    }
    let body = std::mem::replace(item, Json::Null);
    *item = draft.rewritten(body, around);
    Ok(draft)
}
