//! Bodies that matter: read strictly, turned into what policy and the audit log need to know, and
//! written again, so that Cloudflare cannot read them differently.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::audit::{Action, ReadBack};
use crate::catalog::Judged;
use crate::model::json::{Json, JsonErrorKind, parse};
use crate::model::{AccountId, RecordName};
use crate::policy::{PurgeFacts, RecordFacts};

use super::refusal::{Code, Refusal};

/// Most bytes of a body that is judged.
pub const JUDGED_BODY_CAP: usize = 1024 * 1024;

/// Most items of one purge; Cloudflare takes 100, of files 500 on Enterprise plans
/// (<https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits>).
const MAX_PURGE_ITEMS: usize = 1_000;

/// What a judged body says.
#[derive(Debug)]
pub(super) struct Judgement {
    /// What goes upstream in its place.
    pub body: Json,
    /// What policy has to know.
    pub facts: OwnedFacts,
    /// An account the body names.
    pub account: Option<AccountId>,
    /// What it does, in words.
    pub action: Action,
    /// How to find out whether it happened.
    pub read_back: Option<ReadBack>,
}

/// Facts as read from a body.
#[derive(Debug, Default)]
pub(super) enum OwnedFacts {
    /// Nothing policy has a condition for.
    #[default]
    None,
    /// One DNS record; `None` when the body does not describe one that policy could judge.
    Record(Option<RecordFacts>),
    /// A purge.
    Purge(PurgeFacts),
}

/// What the body is judged against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Path below `/client/v4`, as it will be sent.
    pub path: &'a str,
    /// The zone's name, where it is known.
    pub zone_name: Option<&'a str>,
    /// What the zone or account is called in sentences.
    pub scope: &'a str,
    /// The id of the record that is written.
    pub record_id: Option<&'a str>,
    /// Whether some grant's conditions look at the body; only then are unknown fields dropped.
    pub conditioned: bool,
    /// The caller's own credential, which some clients also put into the body.
    pub credential: &'a str,
}

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

/// Checks that a judged body may be taken for JSON by its declared type.
///
/// Some clients send JSON as `text/plain`, some declare nothing. A form, several types in one
/// header, or a character set other than UTF-8 is refused.
///
/// # Errors
/// [`Refusal`] with `malformed_body`.
pub(super) fn check_content_type(content_type: Option<&str>) -> Result<(), Refusal> {
    let Some(value) = content_type else {
        return Ok(());
    };
    let mut parts = value
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next().unwrap_or_default();
    let is_json = matches!(media_type.as_str(), "" | "application/json" | "text/plain");
    let is_utf8 = parts.all(|parameter| {
        parameter.strip_prefix("charset=").is_none_or(|charset| {
            matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        })
    });
    if is_json && is_utf8 && !value.contains(',') {
        return Ok(());
    }
    Err(Refusal::new(
        Code::MalformedBody,
        "The body of this call must be JSON: send it with the header Content-Type: application/json.",
    ))
}

/// Reads a body strictly.
///
/// # Errors
/// [`Refusal`] with `duplicate_key` or `malformed_body`, naming line and column.
pub fn read_json(bytes: &[u8]) -> Result<Json, Refusal> {
    parse(bytes).map_err(|error| {
        let code = match error.kind {
            JsonErrorKind::DuplicateKey(_) => Code::DuplicateKey,
            _ => Code::MalformedBody,
        };
        Refusal::new(code, format!("The body is not acceptable JSON: {error}."))
    })
}

/// Judges a body of class `judged`.
///
/// # Errors
/// [`Refusal`] when it is not what the operation takes.
pub(super) fn judge(
    judged: Judged,
    mut body: Json,
    around: &Surroundings<'_>,
) -> Result<Judgement, Refusal> {
    scrub(&mut body, around.credential, 0);
    match judged {
        Judged::DnsRecord => record(body, around, true),
        Judged::DnsRecordWrite => record(body, around, false),
        Judged::DnsBatch => batch(body, around),
        Judged::Purge => purge(body, around),
        Judged::ZoneCreate => zone_create(body),
        Judged::Unjudgeable => Err(Refusal::new(
            Code::Escalation,
            "The body of this call cannot be judged.",
        )),
    }
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::MalformedBody, message)
}

fn object(body: &Json) -> Result<&[(String, Json)], Refusal> {
    body.as_object()
        .ok_or_else(|| malformed("The body must be a JSON object."))
}

/// A field that must be a text where it is present.
fn text<'j>(body: &'j Json, name: &str) -> Result<Option<&'j str>, Refusal> {
    match body.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .map(Some)
            .ok_or_else(|| malformed(format!("The field `{name}` must be a text."))),
    }
}

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

fn record(body: Json, around: &Surroundings<'_>, is_create: bool) -> Result<Judgement, Refusal> {
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
    })
}

fn batch(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
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
    })
}

/// A list of texts where it is present.
fn texts(body: &Json, name: &str) -> Result<Vec<String>, Refusal> {
    let Some(value) = body.get(name).filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let wrong = || malformed(format!("The field `{name}` must be a list of texts."));
    value
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

fn purge(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let body = keep_fields(
        body,
        &["purge_everything", "files", "tags", "hosts", "prefixes"],
    );
    let everything = match body.get("purge_everything") {
        None | Some(Json::Null) => false,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| malformed("The field `purge_everything` must be true or false."))?,
    };
    let wrong_files = || {
        malformed(
            "The field `files` must be a list of URLs, or of objects with `url` and `headers`.",
        )
    };
    let files = match body.get("files").filter(|value| !value.is_null()) {
        None => Vec::new(),
        Some(value) => value
            .as_array()
            .ok_or_else(wrong_files)?
            .iter()
            .map(|item| {
                item.as_str()
                    .or_else(|| item.get("url").and_then(Json::as_str))
                    .map(str::to_owned)
                    .ok_or_else(wrong_files)
            })
            .collect::<Result<_, _>>()?,
    };
    let tags = texts(&body, "tags")?;
    let hosts = texts(&body, "hosts")?;
    let prefixes = texts(&body, "prefixes")?;
    if files.len() + tags.len() + hosts.len() + prefixes.len() > MAX_PURGE_ITEMS {
        return Err(Refusal::new(
            Code::BodyTooLarge,
            format!("One purge may name at most {MAX_PURGE_ITEMS} items."),
        ));
    }
    let facts = PurgeFacts {
        everything,
        files,
        tags,
        hosts,
        prefixes,
    };
    let mut words = Vec::new();
    if everything {
        words.push("everything".to_owned());
    }
    for (items, one, many) in [
        (&facts.files, "file", "files"),
        (&facts.tags, "tag", "tags"),
        (&facts.hosts, "host", "hosts"),
        (&facts.prefixes, "prefix", "prefixes"),
    ] {
        match items.len() {
            0 => {}
            1 => words.push(format!("1 {one}")),
            count => words.push(format!("{count} {many}")),
        }
    }
    if words.is_empty() {
        return Err(malformed(
            "The body names nothing to purge: it needs one of `purge_everything`, `files`, `tags`, `hosts` and `prefixes`.",
        ));
    }
    let action = Action::new(format!("purge {} of {}", words.join(" and "), around.scope));
    Ok(Judgement {
        facts: OwnedFacts::Purge(facts),
        account: None,
        action,
        read_back: None,
        body,
    })
}

fn zone_create(body: Json) -> Result<Judgement, Refusal> {
    object(&body)?;
    let account = body
        .get("account")
        .and_then(|account| account.get("id"))
        .and_then(Json::as_str);
    let account = account
        .ok_or_else(|| {
            malformed("A new zone needs the field `account.id`: the account it is to belong to.")
        })?
        .parse()
        .map_err(|error| malformed(format!("The field `account.id` is no account id: {error}.")))?;
    let name =
        text(&body, "name")?.map_or_else(String::new, |name| format!(" {}", sanitised(name, 253)));
    let action = Action::new(format!("create zone{name}"));
    Ok(Judgement {
        facts: OwnedFacts::None,
        account: Some(account),
        action,
        read_back: None,
        body,
    })
}

fn keep_fields(body: Json, fields: &[&str]) -> Json {
    match body {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .filter(|(key, _)| fields.contains(&key.as_str()))
                .collect(),
        ),
        other => other,
    }
}

/// `body` with the text of the field `name` replaced.
fn with_text(body: Json, name: &str, text: &str) -> Json {
    match body {
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .map(|(key, value)| {
                    if key == name {
                        (key, Json::String(text.to_owned()))
                    } else {
                        (key, value)
                    }
                })
                .collect(),
        ),
        other => other,
    }
}

/// Empties every text that is the caller's credential. The depth is bounded by the parser.
fn scrub(value: &mut Json, credential: &str, depth: usize) {
    match value {
        Json::String(text) if !credential.is_empty() && text == credential => text.clear(),
        Json::Array(items) if depth < 64 => items
            .iter_mut()
            .for_each(|item| scrub(item, credential, depth + 1)),
        Json::Object(members) if depth < 64 => {
            for (_, item) in members.iter_mut() {
                scrub(item, credential, depth + 1);
            }
        }
        _ => {}
    }
}

/// A caller's text fit for a sentence: no control characters, at most `max` characters.
#[must_use]
pub fn sanitised(text: &str, max: usize) -> String {
    let mut shown: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '{' | '}'))
        .take(max)
        .collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Surroundings<'_> = Surroundings {
        path: "/zones/z/dns_records",
        zone_name: Some("example.com"),
        scope: "example.com",
        record_id: None,
        conditioned: true,
        credential: "the-callers-own-key",
    };

    fn judge_text(judged: Judged, body: &str) -> Result<Judgement, Refusal> {
        judge(judged, read_json(body.as_bytes())?, &AROUND)
    }

    fn error(judged: Judged, body: &str) -> (u16, String) {
        let refusal = judge_text(judged, body).map(|_| ()).unwrap_err();
        (refusal.code.info().number, refusal.message)
    }

    #[test]
    fn a_record_is_named_canonically_and_written_again_without_foreign_fields() {
        let judgement = judge_text(
            Judged::DnsRecord,
            r#"{"type":"txt","name":"_ACME-challenge.Example.COM.","content":"x","Name":"evil","token":"the-callers-own-key","comment":"the-callers-own-key"}"#,
        )
        .unwrap();
        assert_eq!(
            judgement.body.write(),
            r#"{"type":"txt","name":"_acme-challenge.example.com","content":"x","comment":""}"#
        );
        assert_eq!(
            judgement.action.infinitive(),
            "create TXT record _acme-challenge.example.com in example.com"
        );
        let OwnedFacts::Record(Some(facts)) = judgement.facts else {
            panic!()
        };
        assert_eq!(
            (facts.name.as_str(), facts.kind.as_str()),
            ("_acme-challenge.example.com", "TXT")
        );
        assert_eq!(
            judgement.read_back,
            Some(ReadBack::RecordExists {
                target: "/zones/z/dns_records?type=TXT&name.exact=_acme-challenge.example.com&per_page=100".into(),
                content: "x".into()
            })
        );
    }

    #[test]
    fn what_no_condition_looks_at_stays_as_it_was() {
        let around = Surroundings {
            conditioned: false,
            ..AROUND
        };
        let body = br#"{"name":"www","new_field":[1.50],"token":"the-callers-own-key"}"#;
        let judgement = judge(Judged::DnsRecord, read_json(body).unwrap(), &around).unwrap();
        assert_eq!(
            judgement.body.write(),
            r#"{"name":"www","new_field":[1.50],"token":""}"#
        );
    }

    #[test]
    fn bad_records_are_refused_in_a_sentence_that_names_the_field() {
        assert_eq!(
            error(Judged::DnsRecord, "[]"),
            (20003, "The body must be a JSON object.".into())
        );
        assert_eq!(
            error(Judged::DnsRecord, r#"{"name":1}"#),
            (20003, "The field `name` must be a text.".into())
        );
        assert_eq!(
            error(
                Judged::DnsRecord,
                r#"{"name":"www","type":"A","proxied":"yes"}"#
            ),
            (20003, "The field `proxied` must be true or false.".into())
        );
        assert_eq!(
            error(Judged::DnsRecord, r#"{"name":"a","n\u0061me":"b"}"#).0,
            20004
        );
        assert_eq!(error(Judged::DnsRecord, &"[".repeat(33)).0, 20003);
        assert_eq!(error(Judged::DnsRecord, r#"{"content":"x"}"#).0, 20003);
    }

    #[test]
    fn a_purge_says_how_much() {
        let judgement = judge_text(Judged::Purge, r#"{"files":["https://example.com/a",{"url":"https://example.com/b","headers":{"x":"y"}}],"x":1}"#).unwrap();
        assert_eq!(
            judgement.action.infinitive(),
            "purge 2 files of example.com"
        );
        assert!(!judgement.body.write().contains(r#""x":1"#));
        assert_eq!(error(Judged::Purge, "{}").0, 20003);
        assert_eq!(
            error(Judged::Purge, r#"{"purge_everything":"true"}"#),
            (
                20003,
                "The field `purge_everything` must be true or false.".into()
            )
        );
        assert_eq!(
            error(Judged::Purge, r#"{"tags":[1]}"#),
            (20003, "The field `tags` must be a list of texts.".into())
        );
    }

    #[test]
    fn a_new_zone_names_its_account() {
        let judgement = judge_text(
            Judged::ZoneCreate,
            r#"{"name":"new.example","account":{"id":"0123456789abcdef0123456789abcdef"}}"#,
        )
        .unwrap();
        assert_eq!(
            judgement.account.unwrap().to_string(),
            "0123456789abcdef0123456789abcdef"
        );
        assert_eq!(judgement.action.infinitive(), "create zone new.example");
        assert_eq!(error(Judged::ZoneCreate, r#"{"name":"x"}"#).0, 20003);
        assert_eq!(
            error(Judged::ZoneCreate, r#"{"account":{"id":"zzz"}}"#).0,
            20003
        );
    }

    #[test]
    fn j3_only_json_is_taken_for_json() {
        for good in [
            None,
            Some("application/json"),
            Some("application/json; charset=UTF-8"),
            Some("text/plain;charset=UTF-8"),
        ] {
            assert!(check_content_type(good).is_ok(), "{good:?}");
        }
        for bad in [
            "application/json; charset=utf-7",
            "application/json, text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            assert!(check_content_type(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn callers_texts_cannot_break_a_sentence() {
        assert_eq!(sanitised("a\r\n\u{1b}[31m\u{202e}b{c}", 20), "a[31mbc");
        assert_eq!(sanitised("abcdef", 3), "abc…");
    }
}
