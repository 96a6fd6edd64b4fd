//! The world around runs and around our own API: fetch without a caller's request behind it, blobs,
//! the queue.

use std::rc::Rc;

use wasm_bindgen::{JsCast, JsValue};
use worker::js_sys::Uint8Array;
use worker::web_sys::Response;

use super::bridge::{self, fault_of};
use super::clock;
use super::isolate::Isolate;
use super::meter::Meter;
use super::recorder::Recorder;
use super::timezones::RuntimeZones;
use super::world::{CallerBody, Outbound, fault, head_of, settle};
use crate::cron::TimeZones;
use crate::gateway::{BodyFault, World};
use crate::jobs::{Platform, PlatformError};
use crate::model::{EntryId, RunId, Timestamp};
use crate::upstream::{Answer, Client, DEADLINE_MS, Exchange, Fault, Head, Relay, Upstream};

/// One invocation that works on runs, or one request of our own API.
pub(super) struct RunWorld {
    pub(super) outbound: Outbound,
    pub(super) meter: Meter,
    /// The request, where there is one.
    pub(super) caller: Option<CallerBody>,
    #[cfg(feature = "faults")]
    pub(super) fault: Option<String>,
}

impl RunWorld {
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

impl Client for RunWorld {
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, Fault> {
        self.meter.count();
        self.outbound.exchange(exchange).await
    }

    async fn pause(&self, ms: u32) {
        self.outbound.pause(ms).await;
    }
}

impl Upstream for RunWorld {
    type Response = Response;

    async fn relay(&self, relay: &Relay) -> Result<(Head, Response), Fault> {
        self.meter.count();
        let base = &self.isolate().settings.upstream_base;
        let url = format!("{base}{}", relay.target());
        let promise = bridge::relay_own(&url, relay.method().as_str(), relay.body(), DEADLINE_MS);
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

impl World for RunWorld {
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
        super::world::fault_at(self.fault.as_deref(), name, &self.outbound).await;
    }
}

impl TimeZones for RunWorld {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        RuntimeZones.utc_offset_secs(zone, at)
    }
}

impl Platform for RunWorld {
    async fn put_blob(&self, key: &str, bytes: Vec<u8>) -> Result<(), PlatformError> {
        self.meter.count();
        failed(&settle(bridge::put_blob(self.env(), key, bytes)).await)
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

    fn subrequests(&self) -> u32 {
        self.meter.read()
    }

    fn rate_limit(&self, response: &Response) -> Option<String> {
        bridge::header(response, "ratelimit")
    }
}
