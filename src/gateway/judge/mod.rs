//! Bodies that matter: read strictly, turned into what policy and the audit log need to know, and
//! written again, so that Cloudflare cannot read them differently.

pub(super) mod dns;
mod graphql;
mod named;
mod own;
mod products;
mod purge;
mod workers;
mod zone;

use std::rc::Rc;

use crate::audit::{Action, ReadBack};
use crate::catalog::Judged;
use crate::model::AccountId;
use crate::model::json::{Json, JsonErrorKind, parse};
use crate::policy::{Facts, PurgeFacts, RecordFacts, Resource, Thing, WorkerFacts};

pub use crate::model::sanitised;

use super::refusal::{Code, Refusal};

pub(super) use named::of_path;
pub(super) use own::{may_match, touches};
pub(super) use products::hosts_of;
pub use workers::UPLOAD_BODY_CAP;
pub(super) use workers::{Body, Draft, Lookup, Place, draft, plain};

/// Most bytes of a body that is judged.
pub const JUDGED_BODY_CAP: usize = 1024 * 1024;

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
    /// Host names, or URL patterns with `*`, that it would take over.
    pub hosts: Vec<String>,
}

impl Judgement {
    /// A judgement of a body that names no account and whose effect is not read back.
    pub(super) const fn of(body: Json, facts: OwnedFacts, action: Action) -> Self {
        Self {
            body,
            facts,
            account: None,
            action,
            read_back: None,
            hosts: Vec::new(),
        }
    }
}

/// What goes along with a judgement for bodies that name more than their path does.
#[derive(Debug, Default)]
pub(super) struct Attached {
    /// Zones and accounts the body names.
    pub resources: Vec<Resource>,
    /// What the call touches as it stands, all of which must be allowed too.
    pub before: Vec<OwnedFacts>,
    /// Host names, or URL patterns with `*`, that what it changes has already.
    pub hosts: Vec<String>,
    /// What goes upstream with the caller's own content type, in place of the judged JSON.
    pub form: Option<Rc<Vec<u8>>>,
}

/// Facts as read from a body.
#[derive(Debug, Default)]
pub(super) enum OwnedFacts {
    /// Nothing policy has a condition for.
    #[default]
    None,
    /// One new DNS record; `None` when the body does not describe one that policy could judge.
    Record(Option<RecordFacts>),
    /// What it says about DNS records, in the order in which Cloudflare goes by it. What it does to
    /// them is known once those are looked up.
    Drafts(Vec<dns::Draft>),
    /// A purge.
    Purge(PurgeFacts),
    /// Things of a product.
    Things(Vec<Thing>),
    /// What is done to a Worker.
    Worker(WorkerFacts),
}

impl OwnedFacts {
    /// As policy takes them.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self {
            // What drafts do is known only of the records they are about.
            Self::None | Self::Record(None) | Self::Drafts(_) => Facts::Unread,
            Self::Record(Some(record)) => Facts::Records(std::slice::from_ref(record)),
            Self::Purge(purge) => Facts::Purge(purge),
            Self::Things(things) => Facts::Things(things),
            Self::Worker(worker) => Facts::Worker(worker),
        }
    }
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
    /// The zone's id, as in the path.
    pub zone_id: Option<&'a str>,
    /// The id of the record that is written.
    pub record_id: Option<&'a str>,
    /// What the path names.
    pub named: &'a OwnedFacts,
    /// Whether some grant's conditions look at the body; only then are unknown fields dropped.
    pub conditioned: bool,
    /// Whether anything depends on which DNS records it is about: conditions, or that the zone holds a
    /// host name of Zonekeeper's own. Then names must have one spelling.
    pub strict: bool,
    /// The caller's own credential, which some clients also put into the body.
    pub credential: &'a str,
}

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
) -> Result<(Judgement, Attached), Refusal> {
    scrub(&mut body, around.credential, 0);
    if judged == Judged::Graphql {
        return graphql::query(&body);
    }
    let judgement = match judged {
        Judged::DnsRecord => dns::record(body, around, true),
        Judged::DnsRecordWrite => dns::record(body, around, false),
        Judged::DnsBatch => dns::batch(body, around),
        Judged::Purge => purge::purge(body, around),
        Judged::ZoneCreate => zone::zone_create(body),
        Judged::Settings => products::settings(body, around),
        Judged::Ruleset => products::ruleset(body, around),
        Judged::KvBulk => products::kv_bulk(body, around),
        Judged::PageRule => products::page_rule(body, around),
        Judged::LoadBalancer => products::load_balancer(body, around),
        _ => Err(Refusal::new(
            Code::Escalation,
            "The body of this call cannot be judged.",
        )),
    };
    Ok((judgement?, Attached::default()))
}

/// Whether a body is about a Worker, so that [`draft`] reads it.
pub(super) fn is_of_worker(judged: Judged) -> bool {
    matches!(
        judged,
        Judged::WorkerUpload
            | Judged::WorkerContent
            | Judged::WorkerSettings
            | Judged::WorkerScriptSettings
            | Judged::WorkerDeployment
            | Judged::WorkerSecrets
            | Judged::WorkerRoute
            | Judged::WorkerRoutes
            | Judged::WorkerDomain
            | Judged::WorkerDomains
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Surroundings<'_> = Surroundings {
        path: "/zones/z/dns_records",
        zone_name: Some("example.com"),
        scope: "example.com",
        zone_id: Some("z"),
        record_id: None,
        named: &OwnedFacts::None,
        conditioned: true,
        strict: true,
        credential: "the-callers-own-key",
    };

    fn judge_text(judged: Judged, body: &str) -> Result<Judgement, Refusal> {
        judge(judged, read_json(body.as_bytes())?, &AROUND).map(|(judgement, _)| judgement)
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
            strict: false,
            ..AROUND
        };
        let body = br#"{"name":"www","new_field":[1.50],"token":"the-callers-own-key"}"#;
        let (judgement, _) = judge(Judged::DnsRecord, read_json(body).unwrap(), &around).unwrap();
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
