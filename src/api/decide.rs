//! `POST /decide`: would this pass?

use http::StatusCode;
use serde_json::{Value, json};

use super::envelope::{read_body, success};
use crate::gateway::{Code, Gateway, Question, Refusal, Reply};
use crate::jobs::Platform;
use crate::model::Timestamp;
use crate::model::typed::object;
use crate::store::Database;

object! {
    struct Asked {
        principal: String,
        method: String,
        path: String,
        query: Option<String> = default,
        body: Option<Value> = default,
        source_ip: Option<String> = default,
        at: Option<Timestamp> = default,
    }
}

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// `POST /decide` `{principal, method, path, query?, body?, source_ip?, at?}` →
    /// `{decision, grant, reason, operation}`. Never calls upstream.
    pub(super) async fn decide_question(&self) -> Result<Reply<W::Response>, Refusal> {
        let bytes = self
            .world
            .caller_body(crate::gateway::JUDGED_BODY_CAP)
            .await
            .map_err(|_| {
                Refusal::new(
                    Code::MalformedBody,
                    "The body is too large or did not arrive whole.",
                )
            })?;
        let asked: Asked = read_body(&bytes)?;
        if let Some(ip) = &asked.source_ip
            && ip.parse::<std::net::IpAddr>().is_err()
        {
            return Err(Refusal::new(
                Code::InvalidParams,
                "The field `source_ip` must be an IP address.",
            ));
        }
        let json = asked.body.map(|value| value.to_string());
        let question = Question {
            principal: &asked.principal,
            method: &asked.method,
            path: &asked.path,
            query: asked.query.as_deref(),
            body: json.as_deref(),
            source_ip: asked.source_ip.as_deref(),
            at: asked.at.unwrap_or_else(|| self.world.now()),
        };
        let preview = self.preview(&question).await?;
        success(
            StatusCode::OK,
            json!({"decision": preview.decision, "grant": preview.grant, "reason": preview.reason, "operation": preview.operation}),
            &[],
        )
    }
}
