//! Answers in the v4 envelope.

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gateway::{Code, Refusal, Reply, read_json};
use crate::model::json::Json;

#[derive(Serialize)]
struct Answer<'a, T, I> {
    success: bool,
    errors: [(); 0],
    messages: Vec<Message<'a>>,
    result: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<I>,
}

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// A successful answer with remarks.
pub(super) fn success<T: Serialize, R>(
    status: StatusCode,
    result: T,
    messages: &[String],
) -> Result<Reply<R>, Refusal> {
    listing::<T, (), R>(status, result, None, messages)
}

/// A successful answer with what is said about the whole list.
pub(super) fn listing<T: Serialize, I: Serialize, R>(
    status: StatusCode,
    result: T,
    result_info: Option<I>,
    messages: &[String],
) -> Result<Reply<R>, Refusal> {
    let messages = messages.iter().map(|message| Message { message }).collect();
    let body = Answer {
        success: true,
        errors: [],
        messages,
        result,
        result_info,
    };
    serde_json::to_string(&body)
        .map(|body| Reply::json(status, body))
        .map_err(|_| {
            Refusal::new(
                Code::StoreUnavailable,
                "The answer could not be put together.",
            )
        })
}

/// Reads a JSON body strictly into `T`; an empty body counts as `{}`.
pub(super) fn read_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let json = if bytes.is_empty() {
        Json::Object(Vec::new())
    } else {
        read_json(bytes)?
    };
    serde_path_to_error::deserialize(serde_json::Value::from(json)).map_err(|error| {
        let field = error.path().to_string();
        let cause = error.into_inner().to_string();
        let at = if field == "." {
            String::new()
        } else {
            format!(" in the field `{field}`")
        };
        Refusal::new(
            Code::InvalidParams,
            format!("The body is not what this route takes{at}: {cause}."),
        )
    })
}
