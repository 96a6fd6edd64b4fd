//! How to find out whether a write of unknown outcome happened.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::model::{Timestamp, json};
use crate::upstream::{Answer, Envelope, Exchange};

/// What to read, and what of it tells. Stored with the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadBack {
    /// A deletion: it happened when the path is gone.
    Gone {
        /// Path below `/client/v4`.
        target: String,
    },
    /// A new DNS record: it happened when a list of its name and type has its content.
    RecordExists {
        /// Path and query of that list.
        target: String,
        /// The content it was to have.
        content: String,
    },
    /// A change of a DNS record: it happened when the record has these values since.
    RecordHas {
        /// Path of the record.
        target: String,
        /// Those of the fields sent that the record shows as they were sent.
        fields: BTreeMap<String, Value>,
    },
}

/// What reading back told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The write happened.
    Happened,
    /// It did not.
    DidNotHappen,
    /// It cannot be told from what was read.
    Undecided,
}

/// How far Cloudflare's clock may be behind ours.
const CLOCK_SKEW_MS: i64 = 5_000;

impl ReadBack {
    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Gone { target } => json!({"how": "gone", "target": target}),
            Self::RecordExists { target, content } => {
                json!({"how": "record_exists", "target": target, "content": content})
            }
            Self::RecordHas { target, fields } => {
                json!({"how": "record_has", "target": target, "fields": fields})
            }
        }
    }

    /// Reads what [`ReadBack::to_json`] wrote; `None` when it is something else.
    #[must_use]
    pub fn from_json(stored: &Value) -> Option<Self> {
        let text = |name: &str| Some(stored.get(name)?.as_str()?.to_owned());
        let target = text("target")?;
        Some(match stored.get("how")?.as_str()? {
            "gone" => Self::Gone { target },
            "record_exists" => Self::RecordExists {
                target,
                content: text("content")?,
            },
            "record_has" => {
                let fields = stored.get("fields")?.as_object()?;
                let fields = fields.iter();
                Self::RecordHas {
                    target,
                    fields: fields
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect(),
                }
            }
            _ => return None,
        })
    }

    /// The read to make.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        let (Self::Gone { target }
        | Self::RecordExists { target, .. }
        | Self::RecordHas { target, .. }) = self;
        Exchange::get(target.clone())
    }

    /// What the caller's answer would have held: the record, or the id of what was deleted.
    /// `None` unless [`ReadBack::judge`] says that the write happened.
    #[must_use]
    pub fn result(&self, answer: &Answer, since: Timestamp) -> Option<String> {
        if self.judge(answer, since) != Verdict::Happened {
            return None;
        }
        match self {
            Self::Gone { target } => {
                let id = target.rsplit('/').next().unwrap_or_default();
                Some(serde_json::json!({ "id": id }).to_string())
            }
            Self::RecordExists { content, .. } => {
                let page = answer
                    .body
                    .as_deref()
                    .and_then(Envelope::parse)?
                    .into_page()?;
                let mut items = page.items.into_iter();
                items
                    .find(|item| is_new(item, content, since))
                    .map(|item| item.get().to_owned())
            }
            Self::RecordHas { .. } => {
                let envelope = answer.body.as_deref().and_then(Envelope::parse)?;
                envelope.result.map(|result| result.get().to_owned())
            }
        }
    }

    /// What its answer says about a write sent at `since`.
    ///
    /// A record that was there before says nothing, so its dates must be later. That nothing is
    /// found of a new record, or that something deleted is still there, means that the write did
    /// not happen; that a record has other values than were sent may have other reasons.
    #[must_use]
    pub fn judge(&self, answer: &Answer, since: Timestamp) -> Verdict {
        let envelope = answer.body.as_deref().and_then(Envelope::parse);
        let found = answer.head.status.is_success()
            && envelope.as_ref().is_some_and(|e| e.success == Some(true));
        // Only the API itself says that something is gone; an edge's 404 page does not.
        let gone = answer.head.status == StatusCode::NOT_FOUND
            && envelope.as_ref().is_some_and(|e| e.success == Some(false));
        match self {
            Self::Gone { .. } if gone => Verdict::Happened,
            // Some things stay visible for a while after they were deleted.
            Self::Gone { .. } if found && !is_marked_deleted(envelope.as_ref()) => {
                Verdict::DidNotHappen
            }
            Self::RecordExists { content, .. } if found => {
                let Some(page) = envelope.and_then(Envelope::into_page) else {
                    return Verdict::Undecided;
                };
                if page.items.iter().any(|item| is_new(item, content, since)) {
                    Verdict::Happened
                } else if page.items.is_empty() {
                    Verdict::DidNotHappen
                } else {
                    // Others have that name and type: ours may be there in a spelling of Cloudflare's.
                    Verdict::Undecided
                }
            }
            Self::RecordHas { fields, .. } if found => {
                let result = envelope.and_then(|e| e.result);
                let has_all = result.is_some_and(|result| has_since(&result, fields, since));
                if has_all {
                    Verdict::Happened
                } else {
                    Verdict::Undecided
                }
            }
            _ => Verdict::Undecided,
        }
    }
}

fn is_marked_deleted(envelope: Option<&Envelope>) -> bool {
    envelope
        .and_then(|envelope| envelope.result.as_deref())
        .and_then(|result| json::of_others(result.get().as_bytes()))
        .is_some_and(|shown| !member(&shown, "deleted_at").is_null())
}

/// Whether `item` is a record with this content that was made since.
fn is_new(item: &RawValue, content: &str, since: Timestamp) -> bool {
    json::of_others(item.get().as_bytes()).is_some_and(|record| {
        is_later(member(&record, "created_on"), since) && has_content(&record, content)
    })
}

/// Whether a record was changed since and has all of `fields`.
fn has_since(result: &RawValue, fields: &BTreeMap<String, Value>, since: Timestamp) -> bool {
    json::of_others(result.get().as_bytes()).is_some_and(|record| {
        is_later(member(&record, "modified_on"), since)
            && fields.iter().all(|(name, sent)| match sent.as_str() {
                Some(content) if name == "content" => has_content(&record, content),
                _ => record.get(name) == Some(sent),
            })
    })
}

fn member<'v>(of: &'v Value, name: &str) -> &'v Value {
    of.get(name).unwrap_or(&Value::Null)
}

fn has_content(record: &Value, content: &str) -> bool {
    let text = |name| member(record, name).as_str().unwrap_or_default();
    same_content(text("type"), text("content"), content)
}

fn is_later(time: &Value, since: Timestamp) -> bool {
    let time: Option<Timestamp> = time.as_str().and_then(|time| time.parse().ok());
    time.is_some_and(|time| time.ms_since(since) >= -CLOCK_SKEW_MS)
}

/// Compares contents without what Cloudflare normalises away: quotes around a text; a final dot and
/// letter case where the content is a host name.
fn same_content(kind: &str, a: &str, b: &str) -> bool {
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    let (a, b) = (bare(a), bare(b));
    match kind {
        "CNAME" | "MX" | "NS" | "PTR" | "AAAA" => a
            .trim_end_matches('.')
            .eq_ignore_ascii_case(b.trim_end_matches('.')),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Head;

    const SENT_AT: &str = "2026-11-22T12:00:00Z";

    fn check(read_back: &ReadBack, status: u16, body: &str, expected: Verdict) {
        let head = Head {
            status: StatusCode::from_u16(status).unwrap(),
            cf_ray: None,
            retry_after_secs: None,
        };
        let answer = Answer {
            head,
            body: Some(body.as_bytes().to_vec()),
        };
        let since = SENT_AT.parse().unwrap();
        assert_eq!(
            read_back.judge(&answer, since),
            expected,
            "{read_back:?} {status} {body}"
        );
        assert_eq!(
            read_back.result(&answer, since).is_some(),
            expected == Verdict::Happened
        );
    }

    #[test]
    fn only_the_api_itself_can_tell_that_something_is_gone() {
        use Verdict::{DidNotHappen, Happened, Undecided};
        let gone = ReadBack::Gone {
            target: "/x".into(),
        };
        check(&gone, 404, r#"{"success":false,"errors":[]}"#, Happened);
        check(&gone, 404, "<html>not found</html>", Undecided);
        check(&gone, 200, r#"{"success":true,"result":{}}"#, DidNotHappen);
        check(
            &gone,
            200,
            r#"{"success":true,"result":{"deleted_at":"2026-11-22T12:00:01Z"}}"#,
            Undecided,
        );
        check(&gone, 500, "", Undecided);
        check(&gone, 403, r#"{"success":false,"errors":[]}"#, Undecided);
    }

    #[test]
    fn a_new_record_is_one_made_since_with_exactly_that_content() {
        use Verdict::{DidNotHappen, Happened, Undecided};
        let exists = ReadBack::RecordExists {
            target: "/x".into(),
            content: "abc".into(),
        };
        let list = |record: &str| format!(r#"{{"success":true,"result":[{record}]}}"#);
        let new = r#""created_on":"2026-11-22T12:00:01.5Z""#;
        check(
            &exists,
            200,
            &list(&format!(r#"{{"type":"TXT","content":"\"abc\"",{new}}}"#)),
            Happened,
        );
        check(
            &exists,
            200,
            &list(&format!(r#"{{"type":"TXT","content":"ABC",{new}}}"#)),
            Undecided,
        );
        check(
            &exists,
            200,
            &list(r#"{"type":"TXT","content":"abc","created_on":"2026-11-22T11:00:00Z"}"#),
            Undecided,
        );
        check(
            &exists,
            200,
            &list(r#"{"type":"TXT","content":"abc"}"#),
            Undecided,
        );
        check(&exists, 200, &list(""), DidNotHappen);
    }

    #[test]
    fn a_change_happened_when_every_field_shows_since() {
        use Verdict::{Happened, Undecided};
        let fields = [
            ("content", Value::from("Mail.Example.com.")),
            ("ttl", Value::from(300)),
        ];
        let has = ReadBack::RecordHas {
            target: "/x".into(),
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let record = |ttl: u32, modified: &str| {
            format!(
                r#"{{"success":true,"result":{{"type":"CNAME","content":"mail.example.com","ttl":{ttl},"modified_on":"{modified}"}}}}"#
            )
        };
        check(&has, 200, &record(300, "2026-11-22T12:00:01Z"), Happened);
        check(&has, 200, &record(120, "2026-11-22T12:00:01Z"), Undecided);
        check(&has, 200, &record(300, "2026-11-22T11:00:00Z"), Undecided);
        check(&has, 404, r#"{"success":false,"errors":[]}"#, Undecided);
    }

    #[test]
    fn the_stored_form_is_pinned() {
        let read_back = ReadBack::RecordExists {
            target: "/zones/z/dns_records?type=TXT".into(),
            content: "c".into(),
        };
        let json =
            r#"{"content":"c","how":"record_exists","target":"/zones/z/dns_records?type=TXT"}"#;
        assert_eq!(read_back.to_json().to_string(), json);
        let read = ReadBack::from_json(&serde_json::from_str(json).unwrap());
        assert_eq!(read, Some(read_back));
    }
}
