//! The v4 envelope, read leniently: some endpoints send `null` where a list is promised and counts
//! as texts.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What every v4 answer is wrapped in. Results are kept as they came.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// `success`, where it is said.
    #[serde(default)]
    pub success: Option<bool>,
    /// `errors`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub errors: Vec<V4Error>,
    /// `result`, unparsed.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// `result_info`.
    #[serde(default)]
    pub result_info: Option<PageInfo>,
}

/// One of `errors`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct V4Error {
    /// Cloudflare's number for it.
    #[serde(default)]
    pub code: i64,
    /// Cloudflare's words for it.
    #[serde(default)]
    pub message: String,
}

/// `result_info` of a list paged by `page` and `per_page`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PageInfo {
    /// How many items there are in all.
    #[serde(default, deserialize_with = "number_or_text")]
    pub total_count: Option<u64>,
    /// How many pages there are.
    #[serde(default, deserialize_with = "number_or_text")]
    pub total_pages: Option<u64>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// The items as they came.
    pub items: Vec<Box<RawValue>>,
    /// What is said about the whole list.
    pub info: PageInfo,
}

impl Envelope {
    /// Reads an answer; `None` when it is no JSON object.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
    }

    /// The answer as one page of a list; `None` when it is not one.
    #[must_use]
    pub fn into_page(self) -> Option<Page> {
        if self.success != Some(true) {
            return None;
        }
        let items = serde_json::from_str(self.result.as_deref()?.get()).ok()?;
        Some(Page {
            items,
            info: self.result_info.unwrap_or_default(),
        })
    }

    /// `errors` in one line for a log or an audit entry, such as `81058 An identical record
    /// already exists.`
    #[must_use]
    pub fn describe_errors(&self) -> String {
        let mut text = String::new();
        for error in self.errors.iter().take(3) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            let message: String = error
                .message
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            let _ = write!(text, "{} {message}", error.code);
        }
        text
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<V4Error>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Number(u64),
        Text(String),
        Null,
    }
    Ok(match Count::deserialize(deserializer)? {
        Count::Number(number) => Some(number),
        Count::Text(text) => text.parse().ok(),
        Count::Null => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_textual_counts_are_read() {
        let envelope = Envelope::parse(
            br#"{"success":true,"errors":null,"messages":null,"result":[{"a":1.50}],"result_info":{"total_count":"3","count":"1"}}"#,
        )
        .unwrap();
        let page = envelope.into_page().unwrap();
        assert_eq!(page.items[0].get(), r#"{"a":1.50}"#);
        assert_eq!(page.info.total_count, Some(3));
    }

    #[test]
    fn a_failure_is_no_page() {
        let envelope = Envelope::parse(br#"{"success":false,"errors":[{"code":7003,"message":"no\u001b[31m route"}],"result":[]}"#).unwrap();
        assert_eq!(envelope.describe_errors(), "7003 no[31m route");
        assert!(envelope.into_page().is_none());
    }
}
