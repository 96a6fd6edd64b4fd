//! How to find out whether a write of unknown outcome happened.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::catalog::Method;
use crate::upstream::{Answer, Envelope, Exchange};

/// What to read, and what of it tells. Stored with the intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
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
    /// A change of a DNS record: it happened when these fields have these values.
    RecordHas {
        /// Path of the record.
        target: String,
        /// The content it was to have.
        content: String,
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

#[derive(Deserialize)]
struct RecordContent {
    #[serde(default)]
    content: String,
}

impl ReadBack {
    /// The read to make.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        let (Self::Gone { target }
        | Self::RecordExists { target, .. }
        | Self::RecordHas { target, .. }) = self;
        Exchange {
            method: Method::Get,
            target: target.clone(),
            body: None,
        }
    }

    /// What the caller's answer would have held: the record, or the id of what was deleted.
    /// `None` unless [`ReadBack::judge`] says that the write happened.
    #[must_use]
    pub fn result(&self, answer: &Answer) -> Option<String> {
        if self.judge(answer) != Verdict::Happened {
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
                    .find(|item| has_content(item, content))
                    .map(|item| item.get().to_owned())
            }
            Self::RecordHas { .. } => {
                let envelope = answer.body.as_deref().and_then(Envelope::parse)?;
                envelope.result.map(|result| result.get().to_owned())
            }
        }
    }

    /// What its answer says about the write.
    #[must_use]
    pub fn judge(&self, answer: &Answer) -> Verdict {
        let envelope = answer.body.as_deref().and_then(Envelope::parse);
        let found = answer.head.status.is_success()
            && envelope.as_ref().is_some_and(|e| e.success == Some(true));
        // Only the API itself says that something is gone; an edge's 404 page does not.
        let gone = answer.head.status == StatusCode::NOT_FOUND
            && envelope.as_ref().is_some_and(|e| e.success == Some(false));
        match self {
            Self::Gone { .. } if gone => Verdict::Happened,
            Self::Gone { .. } if found => Verdict::DidNotHappen,
            Self::RecordExists { content, .. } if found => {
                let Some(page) = envelope.and_then(Envelope::into_page) else {
                    return Verdict::Undecided;
                };
                if page.items.iter().any(|item| has_content(item, content)) {
                    Verdict::Happened
                } else if page.items.is_empty() {
                    Verdict::DidNotHappen
                } else {
                    // Others have that name and type: ours may be there in a spelling of Cloudflare's.
                    Verdict::Undecided
                }
            }
            Self::RecordHas { content, .. } if found => {
                let record = envelope
                    .and_then(|e| e.result)
                    .and_then(|result| serde_json::from_str::<RecordContent>(result.get()).ok());
                match record {
                    Some(record) if same_content(&record.content, content) => Verdict::Happened,
                    Some(_) => Verdict::DidNotHappen,
                    None => Verdict::Undecided,
                }
            }
            _ => Verdict::Undecided,
        }
    }
}

fn has_content(item: &RawValue, content: &str) -> bool {
    serde_json::from_str::<RecordContent>(item.get())
        .is_ok_and(|record| same_content(&record.content, content))
}

/// Compares contents without what Cloudflare normalises away: quotes, a final dot, letter case of
/// host names.
fn same_content(a: &str, b: &str) -> bool {
    fn bare(text: &str) -> &str {
        text.trim().trim_matches('"').trim_end_matches('.')
    }
    bare(a).eq_ignore_ascii_case(bare(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Head;

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
        assert_eq!(
            read_back.judge(&answer),
            expected,
            "{read_back:?} {status} {body}"
        );
    }

    #[test]
    fn only_the_api_itself_can_settle_a_write() {
        use Verdict::{DidNotHappen, Happened, Undecided};
        let gone = ReadBack::Gone {
            target: "/x".into(),
        };
        check(&gone, 404, r#"{"success":false,"errors":[]}"#, Happened);
        check(&gone, 404, "<html>not found</html>", Undecided);
        check(&gone, 200, r#"{"success":true,"result":{}}"#, DidNotHappen);
        check(&gone, 500, "", Undecided);
        check(&gone, 403, r#"{"success":false,"errors":[]}"#, Undecided);

        let exists = ReadBack::RecordExists {
            target: "/x".into(),
            content: "abc".into(),
        };
        check(
            &exists,
            200,
            r#"{"success":true,"result":[{"content":"\"abc\""}]}"#,
            Happened,
        );
        check(
            &exists,
            200,
            r#"{"success":true,"result":[]}"#,
            DidNotHappen,
        );
        check(
            &exists,
            200,
            r#"{"success":true,"result":[{"content":"other"}]}"#,
            Undecided,
        );

        let has = ReadBack::RecordHas {
            target: "/x".into(),
            content: "Mail.Example.com.".into(),
        };
        check(
            &has,
            200,
            r#"{"success":true,"result":{"content":"mail.example.com"}}"#,
            Happened,
        );
        check(
            &has,
            200,
            r#"{"success":true,"result":{"content":"other"}}"#,
            DidNotHappen,
        );
        check(&has, 404, r#"{"success":false,"errors":[]}"#, Undecided);
    }

    #[test]
    fn the_stored_form_is_pinned() {
        let read_back = ReadBack::RecordExists {
            target: "/zones/z/dns_records?type=TXT".into(),
            content: "c".into(),
        };
        let json =
            r#"{"how":"record_exists","target":"/zones/z/dns_records?type=TXT","content":"c"}"#;
        assert_eq!(serde_json::to_string(&read_back).unwrap(), json);
        assert_eq!(serde_json::from_str::<ReadBack>(json).unwrap(), read_back);
    }
}
