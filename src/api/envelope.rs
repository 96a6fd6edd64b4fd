//! Answers in the v4 envelope.

use http::StatusCode;
use serde_json::{Value, json};

use crate::gateway::{Code, Refusal, Reply, read_json};
use crate::model::json::Json;
use crate::model::typed::Typed;

/// A successful answer with remarks.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is made where it is handed over"
)]
pub(super) fn success<R>(
    status: StatusCode,
    result: Value,
    messages: &[String],
) -> Result<Reply<R>, Refusal> {
    listing(status, &result.to_string(), None, messages)
}

/// A successful answer with what is said about the whole list; `result` is JSON.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it ends functions that refuse elsewhere"
)]
pub(super) fn listing<R>(
    status: StatusCode,
    result: &str,
    result_info: Option<Value>,
    messages: &[String],
) -> Result<Reply<R>, Refusal> {
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| json!({ "message": message }))
        .collect();
    let info = result_info.map_or_else(String::new, |info| format!(",\"result_info\":{info}"));
    Ok(Reply::json(
        status,
        format!(
            "{{\"success\":true,\"errors\":[],\"messages\":{},\"result\":{result}{info}}}",
            Value::Array(messages)
        ),
    ))
}

/// How many there are on a page, and where the next begins.
pub(super) fn page_info(count: usize, cursor: Option<&str>) -> Value {
    json!({"count": count, "cursor": cursor})
}

/// Reads a JSON body strictly into `T`; an empty body counts as `{}`.
pub(super) fn read_body<T: Typed>(bytes: &[u8]) -> Result<T, Refusal> {
    let json = if bytes.is_empty() {
        Json::Object(Vec::new())
    } else {
        read_json(bytes)?
    };
    T::read(Value::from(json)).map_err(|misfit| {
        let field = misfit.path().to_string();
        let at = if field.is_empty() {
            String::new()
        } else {
            format!(" in the field `{field}`")
        };
        Refusal::new(
            Code::InvalidParams,
            format!(
                "The body is not what this route takes{at}: {}.",
                misfit.message
            ),
        )
    })
}
