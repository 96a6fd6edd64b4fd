//! The API without a network: what becomes of a v4 call, whoever carried it here.
//!
//! A v4 call passes these steps, in order; the server has one of its own in between, the faults:
//! 1. it is written to the ledger, its body following when it has been read;
//! 2. authentication;
//! 3. the rate limit;
//! 4. its operation;
//! 5. its answer gets its ray, and the ledger the status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::api::{ApiError, Reply};
use crate::auth;
use crate::clock::Now;
use crate::ids::mix;
use crate::ledger::{EntryId, Ledger};
use crate::limits::{Limiter, Verdict};
use crate::oidc;
use crate::query::Query;
use crate::router::{PREFIX, Router};
use crate::world::{Call, World};
use crate::{seed, workers};

/// The state of the API and the way through it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) world: Mutex<World>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) limiter: Mutex<Limiter>,
    /// The requests for documents of issuers, which are no calls of the API.
    pub(crate) fetches: Mutex<Ledger>,
    /// The requests to the other hosts that are simulated, which are no calls of the API either.
    pub(crate) visits: Mutex<Ledger>,
    /// `http://host:port`, of which the addresses of issuers and of GitHub are made.
    pub(crate) origin: String,
    router: Router,
    /// Counts answers; a ray is never given twice, not even after a reset.
    rays: AtomicU64,
}

/// A call that is on the ledger and has no answer yet.
#[derive(Debug)]
pub(crate) struct Begun {
    entry: EntryId,
    ray: String,
}

/// Locks, also after a panic elsewhere: the state is only ever changed in whole steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a path belongs to the API.
pub(crate) fn is_v4(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Service {
    /// A freshly seeded one at `origin`, whose ledger keeps at most `ledger_body_bytes` of each
    /// body.
    pub(crate) fn new(origin: String, ledger_body_bytes: usize) -> Self {
        Self {
            world: Mutex::new(seed::world()),
            ledger: Mutex::new(Ledger::new(ledger_body_bytes)),
            limiter: Mutex::default(),
            fetches: Mutex::new(Ledger::new(0)),
            visits: Mutex::new(Ledger::new(ledger_body_bytes)),
            origin,
            router: Router::new(),
            rays: AtomicU64::new(0),
        }
    }

    /// Step 1, when the head of a call has been read.
    pub(crate) fn begin(&self, head: &Parts, now: Now) -> Begun {
        let n = self.rays.fetch_add(1, Ordering::Relaxed);
        let ray = format!("{:016x}-SIM", mix(n));
        let entry = lock(&self.ledger).begin(now, &head.method, &head.uri, &head.headers, &ray);
        Begun { entry, ray }
    }

    /// Step 1, when the body has been read.
    pub(crate) fn body(&self, begun: &Begun, body: &[u8]) {
        if !body.is_empty() {
            lock(&self.ledger).body(begun.entry, body);
        }
    }

    /// Steps 2 to 4, and the headers that every answer of the API has.
    pub(crate) fn answer(&self, head: &Parts, body: &Bytes, now: Now) -> Response<Bytes> {
        // 2.
        let credential = if workers::is_upload(head.uri.path()) {
            let world = lock(&self.world);
            world.workers.assets.authenticate(&head.headers, now)
        } else {
            auth::authenticate(&head.headers, &lock(&self.world).tokens, now)
        };
        // 3. NOTES "Rate limits": counted per user, whatever the credential; nobody else counts.
        let verdict = {
            let mut limiter = lock(&self.limiter);
            if credential.is_ok() {
                limiter.admit(now)
            } else {
                limiter.peek(now)
            }
        };
        let outcome = credential.and_then(|credential| {
            if let Some(wait) = verdict.retry_after {
                return Err(rate_limited(wait));
            }
            // 4.
            let found = self.router.find(head.method.as_str(), head.uri.path())?;
            let mut world = lock(&self.world);
            (found.handler)(&mut Call {
                world: &mut world,
                now,
                credential,
                headers: &head.headers,
                params: found.params,
                query: Query::parse(head.uri.query().unwrap_or_default()),
                body,
            })
        });
        let reply = outcome.unwrap_or_else(ApiError::into_reply);
        respond(reply, api_headers(&verdict))
    }

    /// Writes down a request for a document of an issuer.
    pub(crate) fn fetch_begin(&self, head: &Parts, now: Now) -> EntryId {
        lock(&self.fetches).begin(now, &head.method, &head.uri, &head.headers, "")
    }

    /// The document, once it was found by its path.
    pub(crate) fn publish(&self, document: oidc::Document<'_>) -> Response<Bytes> {
        lock(&self.world).issuers.publish(&self.origin, document)
    }

    /// Writes down what the request for a document was answered with.
    pub(crate) fn fetch_finish(&self, entry: EntryId, status: StatusCode) {
        lock(&self.fetches).finish(entry, status.as_u16());
    }

    /// Steers an issuer; an empty message stands for "no such control".
    pub(crate) fn steer_issuer(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        now: Now,
    ) -> Result<Reply, String> {
        let (name, published, action) = oidc::controlled(path).ok_or("")?;
        if (method.as_str(), action) == ("GET", "log") {
            let fetches = lock(&self.fetches);
            let own = fetches
                .entries(0)
                .filter(|entry| entry.path.starts_with(&published));
            return Ok(Reply {
                content_type: "application/x-ndjson",
                ..Reply::text(Ledger::lines(own))
            });
        }
        let result = lock(&self.world).issuers.control(
            &self.origin,
            name,
            (method.as_str(), action),
            body,
            now,
        )?;
        Ok(Reply {
            content_type: "application/json",
            ..Reply::text(result.ok_or("")?.to_string())
        })
    }

    /// Step 5.
    pub(crate) fn finish<B>(&self, begun: Begun, response: &mut Response<B>) {
        if let Ok(value) = HeaderValue::try_from(begun.ray) {
            response.headers_mut().entry("cf-ray").or_insert(value);
        }
        lock(&self.ledger).finish(begun.entry, response.status().as_u16());
    }
}

/// A reply as an HTTP response.
pub(crate) fn respond(reply: Reply, mut headers: HeaderMap) -> Response<Bytes> {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    let mut response = Response::new(reply.body);
    // Handlers use registered statuses only.
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    *response.headers_mut() = headers;
    response
}

/// What a path outside the API gets.
pub(crate) fn not_found() -> Response<Bytes> {
    let reply = Reply {
        status: 404,
        ..Reply::text("not found\n".to_owned())
    };
    respond(reply, HeaderMap::new())
}

/// NOTES "Rate limits": `retry-after` only on 429. NOTES "Error codes": 971 (older form).
fn rate_limited(wait: i64) -> ApiError {
    let mut error = ApiError::new(
        429,
        971,
        "Please wait and consider throttling your request speed",
    );
    error.headers.push(("retry-after", wait.to_string()));
    error
}

/// Headers of every answer of the API.
fn api_headers(verdict: &Verdict) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert("server", HeaderValue::from_static("cloudflare"));
    headers.insert("cf-cache-status", HeaderValue::from_static("DYNAMIC"));
    headers.insert("api-version", HeaderValue::from_static("2026-10-02"));
    headers.insert(
        "strict-transport-security",
        HeaderValue::from_static("max-age=31536000"),
    );
    // Cookies as Cloudflare's edge sets them; a client of the API has no use for them.
    headers.append(
        "set-cookie",
        HeaderValue::from_static(
            "__cflb=0H28vgHxwvgAQtjUGU4vq74ZFe3sNVUZ; SameSite=Lax; path=/; HttpOnly",
        ),
    );
    headers.append(
        "set-cookie",
        HeaderValue::from_static("__cf_bm=simulated; path=/; HttpOnly; Secure; SameSite=None"),
    );
    // NOTES "Rate limits": always returned since 2025-09-03.
    let limit = format!(
        "\"default\";r={};t={}",
        verdict.remaining, verdict.reset_secs
    );
    let policy = format!("\"default\";q={};w={}", verdict.quota, verdict.window_secs);
    for (name, value) in [("ratelimit", limit), ("ratelimit-policy", policy)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}
