//! Fetch, and the caller's body.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use wasm_bindgen::{JsCast, JsValue};
use worker::Delay;
use worker::js_sys::{Array, Uint8Array};
use worker::wasm_bindgen_futures::JsFuture;
use worker::web_sys::Response;

use super::bridge::{self, DEADLINE, TOO_LARGE, fault_of};
use super::clock;
use super::isolate::Isolate;
use crate::gateway::BodyFault;
use crate::model::{EntryId, Timestamp};
use crate::upstream::{
    Answer, BUFFERED_ANSWER_CAP, Client, Exchange, Fault, Head, SHORT_DEADLINE_MS,
};

/// Milliseconds a caller has for a body that is read here.
pub(super) const BODY_DEADLINE_MS: u32 = 20_000;

/// Calls of our own.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) isolate: Rc<Isolate>,
}

/// A caller's request, its body not read yet.
pub(super) struct CallerBody {
    pub(super) call: bridge::Call,
    pub(super) content_encoding: Option<String>,
}

/// Awaits a promise of the bridge; none of them rejects.
pub(super) async fn settle(promise: worker::js_sys::Promise) -> JsValue {
    JsFuture::from(promise)
        .await
        .unwrap_or(JsValue::from_f64(1.0))
}

pub(super) fn fault(number: u32) -> Fault {
    if number == DEADLINE {
        Fault::Deadline
    } else {
        Fault::Network
    }
}

fn status_of(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// `retry-after` as whole seconds; Cloudflare's API sends no dates here.
fn seconds(value: Option<String>) -> Option<u32> {
    value?.trim().parse().ok()
}

fn cap_of(cap: usize) -> u32 {
    u32::try_from(cap).unwrap_or(u32::MAX)
}

impl Client for Outbound {
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, Fault> {
        let url = format!("{}{}", self.isolate.settings.upstream_base, exchange.target);
        let promise = bridge::exchange(
            &url,
            exchange.method.as_str(),
            exchange.body.as_deref(),
            cap_of(BUFFERED_ANSWER_CAP),
            exchange.deadline_ms,
        );
        let value = settle(promise).await;
        if let Some(number) = fault_of(&value) {
            return Err(fault(number));
        }
        let parts: Array = value.unchecked_into();
        // The bridge puts a whole number of three digits first.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a status has three digits"
        )]
        let status = status_of(parts.get(0).as_f64().unwrap_or_default() as u16);
        let bytes = parts.get(3);
        Ok(Answer {
            head: Head {
                status,
                cf_ray: parts.get(1).as_string(),
                retry_after_secs: seconds(parts.get(2).as_string()),
            },
            body: bytes
                .is_instance_of::<Uint8Array>()
                .then(|| bytes.unchecked_into::<Uint8Array>().to_vec()),
        })
    }

    async fn pause(&self, ms: u32) {
        Delay::from(Duration::from_millis(ms.into())).await;
    }
}

impl Outbound {
    pub(super) async fn read(&self, response: &Response, cap: usize) -> Option<Vec<u8>> {
        self.read_within(response, cap, SHORT_DEADLINE_MS).await
    }

    pub(super) async fn read_within(
        &self,
        response: &Response,
        cap: usize,
        deadline_ms: u32,
    ) -> Option<Vec<u8>> {
        let promise = bridge::read_answer(response, cap_of(cap), deadline_ms);
        let value = settle(promise).await;
        fault_of(&value)
            .is_none()
            .then(|| value.unchecked_into::<Uint8Array>().to_vec())
    }

    pub(super) fn entry_id(&self, now: Timestamp) -> EntryId {
        let mut ids = self.isolate.entry_ids.borrow_mut();
        ids.next(now, clock::random_u16())
    }
}

impl CallerBody {
    pub(super) async fn read(&self, cap: usize) -> Result<Vec<u8>, BodyFault> {
        let encoding = match self.content_encoding.as_deref().map(str::trim) {
            None | Some("" | "identity") => None,
            Some("gzip" | "x-gzip") => Some("gzip"),
            Some("deflate") => Some("deflate"),
            Some(_) => return Err(BodyFault::Broken),
        };
        let value = settle(self.call.body(cap_of(cap), BODY_DEADLINE_MS, encoding)).await;
        match fault_of(&value) {
            None => Ok(value.unchecked_into::<Uint8Array>().to_vec()),
            Some(DEADLINE) => Err(BodyFault::TimedOut),
            Some(TOO_LARGE) => Err(BodyFault::TooLarge),
            Some(_) => Err(BodyFault::Broken),
        }
    }
}

/// What an answer says before its body.
pub(super) fn head_of(response: &Response) -> Head {
    let status = status_of(response.status());
    let retry_after_secs = if status == StatusCode::TOO_MANY_REQUESTS {
        seconds(bridge::header(response, "retry-after"))
    } else {
        None
    };
    Head {
        status,
        cf_ray: bridge::header(response, "cf-ray"),
        retry_after_secs,
    }
}
