//! The simulator in the caller's own thread: no sockets, no faults, no delays and no clock.
//!
//! A call takes the same steps as on the server, through the same [`Service`]; what the server
//! reads from its clock is a parameter here.

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response};

use crate::clock::Now;
use crate::control::or_refused;
use crate::dns;
use crate::hosts::{self, Host};
use crate::ledger::LedgerEntry;
use crate::limits::Limiter;
use crate::oidc;
use crate::purge::Purged;
use crate::service::{Service, is_v4, lock, not_found, respond};

/// How much of each body the ledger keeps: more than any call may carry.
const LEDGER_BODY_BYTES: usize = 128 * 1024 * 1024;

/// Where issuers of a simulator without a network say they are.
const ORIGIN: &str = "http://127.0.0.1:8788";

/// A simulator without a network.
#[derive(Debug)]
pub struct Lab {
    service: Service,
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status; 0 when a served Worker was told to cut the connection.
    pub status: u16,
    /// Names in lower case and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body; empty for HEAD.
    pub body: Vec<u8>,
}

impl Answered {
    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// A simulator with the seed that the server has, too.
    #[must_use]
    pub fn new() -> Self {
        let service = Service::new(ORIGIN.to_owned(), LEDGER_BODY_BYTES);
        lock(&service.world).purged = Some(Vec::new());
        Self { service }
    }

    /// Makes a call. `target` is path and query, such as `/client/v4/zones?page=2`; `now_micros`
    /// is the instant, in microseconds since the Unix epoch. Issuers, the other hosts and what steers
    /// them are served, too, but no other control; a served Worker's delay takes no time here.
    ///
    /// What no HTTP request can carry (a target with a space, say) is answered 400 with an empty
    /// body and is not on the ledger, as the server's HTTP library would do it.
    pub fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        now_micros: i64,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(()) else {
            return Answered {
                status: 400,
                headers: Vec::new(),
                body: Vec::new(),
            };
        };
        let (head, ()) = request.into_parts();
        let now = Now(now_micros);
        if let Some(document) = oidc::document(head.uri.path()) {
            let entry = self.service.fetch_begin(&head, now);
            let response = self.service.publish(document);
            self.service.fetch_finish(entry, response.status());
            return answered(response, &head.method);
        }
        if let Some(host) = hosts::host(head.method.as_str(), head.uri.path()) {
            return self.visit(&head, host, body, now);
        }
        if head.uri.path().starts_with("/__sim/") {
            let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
            let steered = if hosts::is_controlled(path) {
                self.service
                    .steer_host(&head.method, path, query, body, now)
            } else {
                self.service.steer_issuer(&head.method, path, body, now)
            };
            let reply = or_refused(steered, &head.method, path);
            return answered(respond(reply, HeaderMap::new()), &head.method);
        }
        if !is_v4(head.uri.path()) {
            return answered(not_found(), &head.method);
        }
        let begun = self.service.begin(&head, now);
        self.service.body(&begun, body);
        let mut response = self
            .service
            .answer(&head, &Bytes::copy_from_slice(body), now);
        self.service.finish(begun, &mut response);
        answered(response, &head.method)
    }

    fn visit(&self, head: &Parts, host: Host<'_>, body: &[u8], now: Now) -> Answered {
        let body = Bytes::copy_from_slice(body);
        let entry = self.service.visit_begin(head, now);
        self.service.visit_body(entry, &body);
        let (response, manner) = self.service.visit(entry, head, host, &body, now);
        if manner.is_cut {
            return Answered {
                status: 0,
                headers: Vec::new(),
                body: Vec::new(),
            };
        }
        self.service.visit_finish(entry, response.status());
        answered(response, &head.method)
    }

    /// Every call so far, oldest first.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        lock(&self.service.ledger).entries(0).collect()
    }

    /// The calls numbered above `n`, oldest first.
    #[must_use]
    pub fn ledger_after(&self, n: u64) -> Vec<LedgerEntry> {
        lock(&self.service.ledger).entries(n).collect()
    }

    /// Sets the rate limit and starts a fresh window: `requests` in each `window_secs` seconds,
    /// and a block of `block_secs` past it. A new simulator has 1200, 300 and 300.
    pub fn set_limits(&mut self, requests: u64, window_secs: u32, block_secs: u32) {
        *lock(&self.service.limiter) =
            Limiter::new(requests, window_secs.into(), block_secs.into());
    }

    /// Adds `count` records of mixed types to a zone, the same ones every time, beside the limits
    /// of the API and off the ledger. Gives how many records the zone has now; `None` when there
    /// is no such zone.
    pub fn fill_zone(&mut self, zone_id: &str, count: usize) -> Option<usize> {
        dns::fill(&mut lock(&self.service.world), zone_id, count)
    }

    /// The records of a zone as the API renders them, oldest first; none for an unknown zone.
    #[must_use]
    pub fn records(&self, zone_id: &str) -> Vec<String> {
        lock(&self.service.world)
            .zones
            .get(zone_id)
            .into_iter()
            .flat_map(|zone| zone.records.iter())
            .map(|record| record.json.clone())
            .collect()
    }

    /// Every item of every purge and invalidation that was accepted, in order.
    #[must_use]
    pub fn purged(&self) -> Vec<Purged> {
        lock(&self.service.world).purged.clone().unwrap_or_default()
    }
}

fn answered(response: Response<Bytes>, method: &Method) -> Answered {
    let (head, body) = response.into_parts();
    Answered {
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.to_string(), value.into_owned())
            })
            .collect(),
        body: if *method == Method::HEAD {
            Vec::new()
        } else {
            body.to_vec()
        },
    }
}
