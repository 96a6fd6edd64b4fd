//! Answers of the v4 API: the envelope, its errors, and `result_info`.
//!
//! NOTES "Envelope, errors, pagination": success and failure share
//! `{success, errors[], messages[], result, result_info?}`; on failure `result` is null.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

/// What a handler answers.
pub(crate) type Outcome = Result<Reply, ApiError>;

/// A finished answer, before the headers that every answer has.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// 200 with `result` in the envelope.
    pub(crate) fn ok(result: &impl Serialize) -> Self {
        // A value made of maps with string keys always serialises.
        let result = serde_json::to_string(result).unwrap_or_else(|_| "null".to_owned());
        Self::raw_result(&result)
    }

    /// 200 with an already serialised `result`.
    pub(crate) fn raw_result(result: &str) -> Self {
        Self::envelope(&format!(
            r#"{{"result":{result},"success":true,"errors":[],"messages":[]}}"#
        ))
    }

    /// 200 with a message beside the result.
    pub(crate) fn with_message(result: &impl Serialize, code: u32, message: &str) -> Self {
        let body = json!({
            "result": result, "success": true, "errors": [],
            "messages": [{"code": code, "message": message, "type": null}],
        });
        Self::envelope(&body.to_string())
    }

    /// 200 with a result and a `result_info` of its own form.
    pub(crate) fn with_info(result: &impl Serialize, info: &Value) -> Self {
        let body = json!({
            "result": result, "success": true, "errors": [], "messages": [], "result_info": info,
        });
        Self::envelope(&body.to_string())
    }

    /// 200 with one page of already serialised items and its `result_info`.
    pub(crate) fn list<'a>(items: impl Iterator<Item = &'a str>, info: &PageInfo) -> Self {
        let mut body = String::from(r#"{"result":["#);
        for (index, item) in items.enumerate() {
            if index > 0 {
                body.push(',');
            }
            body.push_str(item);
        }
        // Writing to a `String` cannot fail.
        let _ = write!(
            body,
            r#"],"success":true,"errors":[],"messages":[],"result_info":{{"page":{},"per_page":{},"count":{},"total_count":{},"total_pages":{}}}}}"#,
            info.page, info.per_page, info.count, info.total_count, info.total_pages
        );
        Self::envelope(&body)
    }

    /// Bytes as they are, not enveloped.
    pub(crate) fn bytes(content_type: &'static str, body: Bytes) -> Self {
        Self {
            status: 200,
            content_type,
            headers: Vec::new(),
            body,
        }
    }

    /// Plain text, not enveloped.
    pub(crate) fn text(body: String) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
            body: Bytes::from(body),
        }
    }

    fn envelope(body: &str) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            headers: Vec::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }
}

/// The numbers of `result_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageInfo {
    pub(crate) page: usize,
    pub(crate) per_page: usize,
    pub(crate) count: usize,
    pub(crate) total_count: usize,
    pub(crate) total_pages: usize,
}

/// A refusal in the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) message: Cow<'static, str>,
    /// `error_chain[]` of the error; occurs on header errors.
    pub(crate) chain: Option<(u32, &'static str)>,
    /// A second error that accompanies the first.
    pub(crate) also: Option<(u32, &'static str)>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl ApiError {
    /// An error with one code.
    pub(crate) fn new(status: u16, code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            chain: None,
            also: None,
            headers: Vec::new(),
        }
    }

    /// 400 with one code.
    pub(crate) fn bad(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, code, message)
    }

    /// An object identifier in the path that cannot be one.
    ///
    /// NOTES "Error codes": 7003 (400/404), accompanied by 7000.
    pub(crate) fn no_route(path: &str) -> Self {
        Self {
            also: Some((7000, "No route for that URI")),
            ..Self::bad(
                7003,
                format!("Could not route to {path}, perhaps your object identifier is invalid?"),
            )
        }
    }

    /// The resource is not there for this credential.
    ///
    /// NOTES "Error codes": 9109 (403), unauthorised access.
    pub(crate) fn unauthorized() -> Self {
        Self::new(403, 9109, "Unauthorized to access requested resource")
    }

    /// No permission on the resource.
    ///
    /// NOTES "Error codes": 10000 (401/403), bad token or no permission on this resource.
    pub(crate) fn forbidden() -> Self {
        Self::new(403, 10_000, "Authentication error")
    }

    /// A request body that is not what the operation takes.
    ///
    /// Code 6007 is a hypothesis; NOTES gives only the status (400 bad input).
    pub(crate) fn body(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad(6007, message)
    }

    /// The answer that carries this error.
    pub(crate) fn into_reply(self) -> Reply {
        let mut first = json!({"code": self.code, "message": self.message});
        if let (Some((code, message)), Some(map)) = (self.chain, first.as_object_mut()) {
            map.insert(
                "error_chain".to_owned(),
                json!([{"code": code, "message": message}]),
            );
        }
        let mut errors = vec![first];
        if let Some((code, message)) = self.also {
            errors.push(json!({"code": code, "message": message}));
        }
        let body =
            json!({"result": null, "success": false, "errors": errors, "messages": []}).to_string();
        Reply {
            status: self.status,
            content_type: "application/json",
            headers: self.headers,
            body: Bytes::from(body),
        }
    }
}
