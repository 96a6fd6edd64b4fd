//! Blobs and the queue of runs, each use of them an effect.

use simulator::Answered;
use zonekeeper::cron::TimeZones;
use zonekeeper::jobs::{Platform, PlatformError, Probe, Probed};
use zonekeeper::model::{RunId, Timestamp};

use super::super::timezones::ChronoZones;
use super::world::LabWorld;

/// Seconds a message may be delayed at most
/// (<https://developers.cloudflare.com/queues/platform/limits/>).
const MAX_DELAY_SECS: u32 = 12 * 3600;
/// Bytes a blob may have (<https://developers.cloudflare.com/kv/platform/limits/>).
const MAX_BLOB_BYTES: usize = 25 * 1024 * 1024;

impl LabWorld {
    /// Carries out an effect on a part of the platform that cannot fail by itself.
    async fn effect<T>(
        &self,
        what: impl FnOnce() -> String,
        act: impl FnOnce() -> T,
    ) -> Result<T, PlatformError> {
        let injector = &self.outside.injector;
        let fault = injector.meet(what);
        let lost = || Err(PlatformError("Network connection lost.".to_owned()));
        injector.carry_out(fault, async { Ok(act()) }, lost).await
    }
}

impl TimeZones for LabWorld {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        ChronoZones.utc_offset_secs(zone, at)
    }
}

impl Platform for LabWorld {
    async fn put_blob(
        &self,
        key: &str,
        bytes: Vec<u8>,
        _keep_secs: Option<u32>,
    ) -> Result<(), PlatformError> {
        assert!(bytes.len() <= MAX_BLOB_BYTES, "{key} is too large for KV");
        let act = || self.outside.blobs.put(key, Some(bytes));
        self.effect(|| format!("blob: put {key}"), act).await
    }

    async fn blob(&self, key: &str) -> Result<Option<Vec<u8>>, PlatformError> {
        let act = || self.outside.blobs.get(key);
        self.effect(|| format!("blob: get {key}"), act).await
    }

    async fn delete_blob(&self, key: &str) -> Result<(), PlatformError> {
        let act = || self.outside.blobs.put(key, None);
        self.effect(|| format!("blob: delete {key}"), act).await
    }

    async fn enqueue(&self, runs: &[RunId], delay_secs: u32) -> Result<(), PlatformError> {
        assert!(delay_secs <= MAX_DELAY_SECS, "a delay of {delay_secs} s");
        let act = || {
            for run in runs {
                self.outside
                    .queue
                    .send(&self.outside.clock, *run, delay_secs);
            }
        };
        let what = || format!("queue: send {} runs in {delay_secs} s", runs.len());
        self.effect(what, act).await
    }

    async fn probe(&self, probe: &Probe<'_>) -> Result<Probed, String> {
        let path = probe.url.split_once("/__sim/").unwrap().1;
        let method = if probe.body.is_some() { "POST" } else { "GET" };
        let body = probe.body.unwrap_or_default();
        let act = || {
            let now_micros = self.outside.clock.now().unix_ms() * 1000;
            let mut network = self.outside.network.borrow_mut();
            let path = format!("/__sim/{path}");
            network.visit((method, &path), probe.headers, body.as_bytes(), now_micros)
        };
        let asked = self.effect(|| format!("probe: {}", probe.url), act).await;
        let answered = asked.map_err(|error| error.to_string())?;
        // Downloads of GitHub are on a host of their own.
        let store = "https://store1.blob.core.windows.net/";
        let location = answered
            .header("location")
            .map(|location| location.replace("http://127.0.0.1:8788/", store));
        let Answered { status, body, .. } = answered;
        if status == 0 {
            return Err("broke the connection".to_owned());
        }
        Ok(Probed {
            status,
            location,
            body,
        })
    }

    async fn inflate(&self, deflated: &[u8], cap: usize) -> Option<Vec<u8>> {
        miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, cap).ok()
    }

    fn subrequests(&self) -> u32 {
        self.effects_of_invocation()
    }

    fn rate_limit(&self, response: &Answered) -> Option<String> {
        response.header("ratelimit").map(ToOwned::to_owned)
    }
}
