//! What the core asks of a transport, and how a transport can fail.

use std::borrow::Cow;
use std::rc::Rc;

use http::StatusCode;

use crate::catalog::Method;
use crate::model::Secret;
use crate::policy::Permit;

/// Milliseconds until the headers of an answer must have come. Cloudflare answers a v4 call within
/// 30 s (<https://developers.cloudflare.com/d1/platform/limits/>).
pub const DEADLINE_MS: u32 = 30_000;
/// Milliseconds for a read-back while the caller waits, and for the rest of an answer other than
/// 2xx: what is added to [`DEADLINE_MS`] at the most before an outcome is recorded.
pub const SHORT_DEADLINE_MS: u32 = 5_000;
/// Bytes of an answer other than 2xx that are read and searched for secrets.
pub const ERROR_BODY_CAP: usize = 64 * 1024;
/// Bytes of a 2xx answer that policy has to read: a page of a list, or one record.
pub const BUFFERED_ANSWER_CAP: usize = 16 * 1024 * 1024;

/// No answer came. Whether the call reached Cloudflare cannot be told: the runtime reports a
/// refused, a reset and a cut connection alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The connection failed, before or after the request was sent.
    #[error("the connection to Cloudflare failed")]
    Network,
    /// No headers came within the deadline.
    #[error("Cloudflare did not answer within {} s", DEADLINE_MS / 1000)]
    Deadline,
}

/// What is known of an answer before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// `cf-ray`, Cloudflare's name for the call.
    pub cf_ray: Option<String>,
    /// `retry-after` in seconds.
    pub retry_after_secs: Option<u32>,
}

/// An answer read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status and what else the headers say.
    pub head: Head,
    /// The body; `None` when it is longer than the cap or broke off.
    pub body: Option<Vec<u8>>,
}

/// A call that the gateway makes for itself and whose answer it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// Path below `/client/v4` and query, such as `/zones?page=2`.
    pub target: String,
    /// A JSON body.
    pub body: Option<String>,
    /// Milliseconds until its answer must have come.
    pub deadline_ms: u32,
}

impl Exchange {
    /// A read of `target`, with the whole deadline.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            target: target.into(),
            body: None,
            deadline_ms: DEADLINE_MS,
        }
    }
}

/// The caller's call, handed through: the caller's headers (those allowed) and, unless replaced,
/// its body go to Cloudflare without entering our memory.
///
/// INVARIANT: only with a [`Permit`] can one be made, and only a decision that allows gives one.
#[derive(Debug)]
pub struct Relay {
    method: Method,
    target: String,
    body: Option<String>,
    content_type: Cow<'static, str>,
    form: Option<Rc<Vec<u8>>>,
    bearer: Option<Secret>,
}

impl Relay {
    /// A call to hand through: `target` is path and query below `/client/v4` as rebuilt, `body`
    /// what to send in place of the caller's body, where that was judged.
    #[must_use]
    pub fn new(_permit: Permit, method: Method, target: String, body: Option<String>) -> Self {
        Self {
            method,
            target,
            body,
            content_type: Cow::Borrowed("application/json"),
            form: None,
            bearer: None,
        }
    }

    /// The same with a body of another type than JSON.
    #[must_use]
    pub fn of_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// The type of the body that is sent in place of the caller's.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// With these bytes in place of the caller's body, of the caller's own content type.
    #[must_use]
    pub fn with_form(self, form: Option<Rc<Vec<u8>>>) -> Self {
        Self { form, ..self }
    }

    /// With this token in place of our credential, where Cloudflare gave the caller one for the
    /// call.
    #[must_use]
    pub fn with_bearer(self, bearer: Option<Secret>) -> Self {
        Self { bearer, ..self }
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Path and query below `/client/v4`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The JSON to send in place of the caller's body.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref().filter(|_| self.form.is_none())
    }

    /// The bytes to send in place of the caller's body, of the caller's own content type.
    #[must_use]
    pub fn form(&self) -> Option<&[u8]> {
        self.form.as_ref().map(|form| form.as_slice())
    }

    /// The token to send in place of our credential.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_ref().map(Secret::expose)
    }
}

/// Makes calls of our own to the v4 API with our credential. Redirects are never followed.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Client {
    /// Makes a call and reads its answer, at most [`BUFFERED_ANSWER_CAP`] bytes.
    ///
    /// # Errors
    /// [`Fault`] when no headers came.
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, Fault>;

    /// Waits `ms` milliseconds, between two attempts of a read.
    async fn pause(&self, ms: u32);
}

/// Also hands a caller's call through.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Upstream: Client {
    /// An answer whose body stays outside until somebody reads or relays it.
    type Response;

    /// Hands the caller's call through.
    ///
    /// # Errors
    /// [`Fault`] when no headers came.
    async fn relay(&self, relay: &Relay) -> Result<(Head, Self::Response), Fault>;

    /// Reads at most `cap` bytes of a body; `None` when there is more or it broke off.
    async fn read(&self, response: &Self::Response, cap: usize) -> Option<Vec<u8>>;
}
