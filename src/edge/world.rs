//! The world around one request or one invocation that works on runs: the traits of the core, by the
//! adapters beside this.
//!
//! There is one type for all of them, so that the pipeline is compiled once.

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::{Reflect, Uint8Array};
use worker::web_sys::Response;

use super::bridge::{self, fault_of};
use super::clock;
use super::isolate::Isolate;
use super::meter::Meter;
use super::outbound::{BODY_DEADLINE_MS, CallerBody, Outbound, fault, head_of, settle};
use super::recorder::Recorder;
use super::timezones::RuntimeZones;
use crate::cron::TimeZones;
use crate::gateway::{BodyFault, Lease, LockFault, Secrets, World};
use crate::identity::{Issuers, KeySource, PublicKey, Published, Verifier, question};
use crate::jobs::{Platform, PlatformError, Probe, Probed};
use crate::model::{EntryId, RunId, Secret, Timestamp, ZoneId};
use crate::upstream::{Answer, Client, DEADLINE_MS, Exchange, Fault, Head, Relay, Upstream};

/// One request, or one invocation that works on runs.
pub(super) struct EdgeWorld {
    pub(super) outbound: Outbound,
    pub(super) meter: Meter,
    /// The request, where there is one.
    pub(super) caller: Option<CallerBody>,
    /// Whether what is relayed is that request, with its headers and body.
    pub(super) relays_caller: bool,
    #[cfg(feature = "faults")]
    pub(super) fault: Option<String>,
}

impl EdgeWorld {
    fn isolate(&self) -> &Rc<Isolate> {
        &self.outbound.isolate
    }

    fn env(&self) -> &JsValue {
        &self.isolate().env
    }
}

/// The error's text, if a promise of the bridge settled with one.
fn failed(value: &JsValue) -> Result<(), PlatformError> {
    value
        .as_string()
        .map_or(Ok(()), |text| Err(PlatformError(text)))
}

impl Client for EdgeWorld {
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, Fault> {
        self.meter.count();
        self.outbound.exchange(exchange).await
    }

    async fn pause(&self, ms: u32) {
        self.outbound.pause(ms).await;
    }
}

impl Upstream for EdgeWorld {
    type Response = Response;

    async fn relay(&self, relay: &Relay) -> Result<(Head, Response), Fault> {
        self.meter.count();
        let base = &self.isolate().settings.upstream_base;
        let url = format!("{base}{}", relay.target());
        let (method, body) = (relay.method().as_str(), relay.body());
        let promise = match &self.caller {
            Some(caller) if self.relays_caller => {
                let (form, bearer) = (relay.form(), relay.bearer());
                let content_type = relay.content_type();
                caller
                    .call
                    .relay(&url, method, body, content_type, form, bearer, DEADLINE_MS)
            }
            _ => {
                let (content_type, form) = (relay.content_type(), relay.form());
                bridge::relay_own(&url, method, body, content_type, form, DEADLINE_MS)
            }
        };
        let value = settle(promise).await;
        if let Some(number) = fault_of(&value) {
            return Err(fault(number));
        }
        let response: Response = value.unchecked_into();
        Ok((head_of(&response), response))
    }

    async fn read(&self, response: &Response, cap: usize) -> Option<Vec<u8>> {
        self.outbound.read(response, cap).await
    }
}

impl Verifier for EdgeWorld {
    async fn verify(&self, key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String> {
        let name = key.algorithm().name();
        let promise = bridge::verify_signature(&key.to_jwk(), name, signature, input);
        let value = settle(promise).await;
        value
            .as_bool()
            .ok_or_else(|| value.as_string().unwrap_or_default())
    }
}

impl Issuers for EdgeWorld {
    async fn published(&self, source: &KeySource, kid: &str) -> Result<Published, String> {
        self.meter.count();
        let question = question(source, kid);
        let promise = bridge::ask_object(self.env(), "JWKS", &source.name(), &question);
        match settle(promise).await.as_string() {
            Some(answer) => Published::read(&answer),
            None => Err("the object that keeps them cannot be reached".to_owned()),
        }
    }
}

impl Secrets for EdgeWorld {
    fn secret(&self, name: &str) -> Option<Secret> {
        let value = Reflect::get(self.env(), &name.into()).ok()?;
        value.as_string().map(Secret::new)
    }
}

impl World for EdgeWorld {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn jitter(&self) -> u16 {
        clock::random_u16()
    }

    fn entry_id(&self, now: Timestamp) -> EntryId {
        self.outbound.entry_id(now)
    }

    async fn caller_body(&self, cap: usize) -> Result<Vec<u8>, BodyFault> {
        match &self.caller {
            Some(caller) => caller.read(cap).await,
            None => Ok(Vec::new()),
        }
    }

    async fn lock_zone(&self, zone: ZoneId) -> Result<Lease, LockFault> {
        self.meter.count();
        let asked = clock::now();
        let value = settle(bridge::lock_zone(self.env(), &zone.to_string())).await;
        let said = value.as_string().ok_or(LockFault::Busy)?;
        let numbers = said.split_once(' ').and_then(|(fence, waited)| {
            Some((fence.parse::<u64>().ok()?, waited.parse::<i64>().ok()?))
        });
        let Some((fence, waited_ms)) = numbers else {
            self.log(&format!("lock {zone}: {said}"));
            return Err(LockFault::Unreachable);
        };
        // The turn began when the wait was over, and the wait began after it was asked for.
        let since = asked.plus_ms(waited_ms);
        Ok(Lease { zone, fence, since })
    }

    async fn unlock_zone(&self, lease: &Lease) {
        self.meter.count();
        unlock_zone(self.env(), lease).await;
    }

    async fn flush_events(&self) {
        Recorder::flush(self.isolate()).await;
    }

    fn randomize(&self, bytes: &mut [u8]) -> bool {
        clock::randomize(bytes)
    }

    fn log(&self, line: &str) {
        worker::console_error!("{line}");
    }

    #[cfg(feature = "faults")]
    async fn fault_point(&self, name: &str) {
        fault_at(self.fault.as_deref(), name, &self.outbound).await;
    }
}

impl TimeZones for EdgeWorld {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        RuntimeZones.utc_offset_secs(zone, at)
    }
}

impl Platform for EdgeWorld {
    async fn put_blob(
        &self,
        key: &str,
        bytes: Vec<u8>,
        keep_secs: Option<u32>,
    ) -> Result<(), PlatformError> {
        self.meter.count();
        failed(&settle(bridge::put_blob(self.env(), key, bytes, keep_secs)).await)
    }

    async fn blob(&self, key: &str) -> Result<Option<Vec<u8>>, PlatformError> {
        self.meter.count();
        let value = settle(bridge::get_blob(self.env(), key)).await;
        failed(&value)?;
        Ok(value
            .dyn_into::<Uint8Array>()
            .ok()
            .map(|bytes| bytes.to_vec()))
    }

    async fn delete_blob(&self, key: &str) -> Result<(), PlatformError> {
        self.meter.count();
        failed(&settle(bridge::delete_blob(self.env(), key)).await)
    }

    async fn enqueue(&self, runs: &[RunId], delay_secs: u32) -> Result<(), PlatformError> {
        if runs.is_empty() {
            return Ok(());
        }
        self.meter.count();
        let ids: Vec<String> = runs.iter().map(ToString::to_string).collect();
        failed(&settle(bridge::enqueue(self.env(), &ids.join(","), delay_secs)).await)
    }

    async fn probe(&self, probe: &Probe<'_>) -> Result<Probed, String> {
        self.meter.count();
        let headers = serde_json::json!(probe.headers).to_string();
        let asked = bridge::probe(probe.url, &headers, probe.body, probe.deadline_ms);
        let answer = settle(asked).await;
        match fault_of(&answer).map(fault) {
            Some(Fault::Deadline) => return Err("did not answer in time".to_owned()),
            Some(_) => return Err("could not be reached".to_owned()),
            None => {}
        }
        let response: Response = answer.unchecked_into();
        let body = self
            .outbound
            .read_within(&response, probe.cap, BODY_DEADLINE_MS);
        let body = body.await;
        Ok(Probed {
            status: head_of(&response).status.as_u16(),
            location: bridge::header(&response, "location"),
            body: body.ok_or("did not answer with a body that can be read")?,
        })
    }

    async fn inflate(&self, deflated: &[u8], cap: usize) -> Option<Vec<u8>> {
        let cap = u32::try_from(cap).ok()?;
        let value = settle(bridge::inflate(deflated, cap, BODY_DEADLINE_MS)).await;
        fault_of(&value)
            .is_none()
            .then(|| value.unchecked_into::<Uint8Array>().to_vec())
    }

    fn subrequests(&self) -> u32 {
        self.meter.read()
    }

    fn rate_limit(&self, response: &Response) -> Option<String> {
        bridge::header(response, "ratelimit")
    }
}

/// Gives back the turn at the records of a zone.
pub(super) async fn unlock_zone(env: &JsValue, lease: &Lease) {
    let Lease { zone, fence, .. } = lease;
    let promise = bridge::unlock_zone(env, &zone.to_string(), &fence.to_string());
    if let Some(error) = settle(promise).await.as_string() {
        worker::console_error!("unlock {zone}: {error}");
    }
}

/// `panic:<point>` panics there; `stall:<point>` waits there for half a second first.
#[cfg(feature = "faults")]
#[expect(clippy::panic, reason = "the fault that is asked for")]
pub(super) async fn fault_at(fault: Option<&str>, name: &str, outbound: &Outbound) {
    match fault.and_then(|fault| fault.split_once(':')) {
        Some(("panic", point)) if point == name => panic!("injected fault at {name}"),
        Some(("stall", point)) if point == name => outbound.pause(500).await,
        _ => {}
    }
}
