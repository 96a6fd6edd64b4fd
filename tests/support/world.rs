//! The world around a call, without chance: a clock that is set, random numbers that are counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use zonekeeper::cron::TimeZones;
use zonekeeper::gateway::{BodyFault, Lease, LockFault, Secrets, World};
use zonekeeper::identity::{Issuers, KeySource, PublicKey, Published, Verifier};
use zonekeeper::jobs::{Platform, PlatformError, Probe, Probed};
use zonekeeper::model::{EntryId, EntryIds, RunId, Secret, Timestamp, ZoneId};
use zonekeeper::upstream::{Answer, Client, Exchange, Fault, Head, Relay, Upstream};

use super::issuers::{self, SimIssuers};
use super::timezones::ChronoZones;
use super::upstream::{Expected, Script};

/// A clock that stands until it is set; its copies show the same.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Rc<Cell<i64>>);

impl Clock {
    pub(crate) fn at(text: &str) -> Self {
        Self(Rc::new(Cell::new(
            text.parse::<Timestamp>().unwrap().unix_ms(),
        )))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.get())
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.0.set(now.unix_ms());
    }

    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.set(self.0.get() + ms);
    }
}

/// An answer that is handed through; its body is absent when it breaks off.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Option<Vec<u8>>,
}

/// A world that plays a script.
pub(crate) struct FakeWorld {
    pub(crate) clock: Clock,
    script: Script,
    ids: RefCell<EntryIds>,
    body: RefCell<Result<Vec<u8>, BodyFault>>,
    random: Cell<u8>,
    calls: Cell<u32>,
    pauses: RefCell<Vec<u32>>,
    logs: RefCell<Vec<String>>,
    blobs: RefCell<BTreeMap<String, Vec<u8>>>,
    sent: RefCell<Vec<RunId>>,
    issuers: RefCell<SimIssuers>,
    fence: Cell<u64>,
    /// The turns that were not given back.
    pub(crate) held: RefCell<Vec<u64>>,
    /// Why there is no turn at a zone's records, if there is none.
    pub(crate) lock_fault: Cell<Option<LockFault>>,
    form: RefCell<Option<Vec<u8>>>,
    bearer: RefCell<Option<String>>,
    secrets: RefCell<BTreeMap<String, String>>,
}

impl FakeWorld {
    /// `seed` keeps the random numbers of two worlds apart.
    pub(crate) fn new(clock: Clock, seed: u8) -> Self {
        Self {
            issuers: RefCell::new(SimIssuers::new(clock.clone())),
            clock,
            script: Script::default(),
            ids: RefCell::default(),
            body: RefCell::new(Ok(Vec::new())),
            random: Cell::new(seed),
            calls: Cell::new(0),
            pauses: RefCell::default(),
            logs: RefCell::default(),
            blobs: RefCell::default(),
            sent: RefCell::default(),
            fence: Cell::default(),
            held: RefCell::default(),
            lock_fault: Cell::default(),
            form: RefCell::default(),
            bearer: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// The issuers of tokens.
    pub(crate) fn issuers(&self) -> SimIssuers {
        self.issuers.borrow().clone()
    }

    /// Takes the issuers of another world.
    pub(crate) fn share(&self, issuers: SimIssuers) {
        *self.issuers.borrow_mut() = issuers;
    }

    /// The bytes that were last handed through in place of the caller's body.
    pub(crate) fn form(&self) -> String {
        let form = self.form.borrow();
        String::from_utf8(form.clone().unwrap()).unwrap()
    }

    /// The token that was last sent in place of our credential.
    pub(crate) fn bearer(&self) -> Option<String> {
        self.bearer.borrow().clone()
    }

    /// Sets a secret of the Worker, or takes it away.
    pub(crate) fn set_secret(&self, name: &str, value: Option<&str>) {
        let mut secrets = self.secrets.borrow_mut();
        match value {
            Some(value) => secrets.insert(name.to_owned(), value.to_owned()),
            None => secrets.remove(name),
        };
    }

    pub(crate) fn expect(&self, call: Expected) {
        self.script.expect(call);
    }

    /// What the caller's body will be.
    pub(crate) fn set_body(&self, body: Result<Vec<u8>, BodyFault>) {
        *self.body.borrow_mut() = body;
    }

    /// Calls made upstream so far.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.get()
    }

    /// How long was waited between attempts, in milliseconds.
    pub(crate) fn pauses(&self) -> Vec<u32> {
        self.pauses.borrow().clone()
    }

    /// The runs sent to the queue.
    pub(crate) fn sent(&self) -> Vec<RunId> {
        self.sent.borrow().clone()
    }

    /// Everything logged.
    pub(crate) fn logs(&self) -> String {
        self.logs.borrow().join("\n")
    }

    /// Everything expected must have come by now.
    pub(crate) fn check_script_is_used_up(&self) {
        assert_eq!(self.script.left(), [""; 0], "expected calls did not come");
    }
}

impl Drop for FakeWorld {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_script_is_used_up();
        }
    }
}

impl Client for FakeWorld {
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, Fault> {
        self.calls.set(self.calls.get() + 1);
        self.script
            .play(exchange.method, &exchange.target, exchange.body.as_deref())
            .map(|(head, body)| Answer { head, body })
    }

    async fn pause(&self, ms: u32) {
        self.pauses.borrow_mut().push(ms);
        self.clock.advance_ms(ms.into());
    }
}

impl Upstream for FakeWorld {
    type Response = Response;

    async fn relay(&self, relay: &Relay) -> Result<(Head, Self::Response), Fault> {
        self.calls.set(self.calls.get() + 1);
        *self.form.borrow_mut() = relay.form().map(<[u8]>::to_vec);
        *self.bearer.borrow_mut() = relay.bearer().map(str::to_owned);
        self.script
            .play(relay.method(), relay.target(), relay.body())
            .map(|(head, body)| {
                let status = head.status.as_u16();
                (head, Response { status, body })
            })
    }

    async fn read(&self, response: &Self::Response, cap: usize) -> Option<Vec<u8>> {
        response.body.clone().filter(|body| body.len() <= cap)
    }
}

impl Issuers for FakeWorld {
    async fn published(&self, source: &KeySource, kid: &str) -> Result<Published, String> {
        self.issuers().published(source, kid).await
    }
}

impl Verifier for FakeWorld {
    async fn verify(&self, key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String> {
        issuers::verify(key, input, signature)
    }
}

impl Secrets for FakeWorld {
    fn secret(&self, name: &str) -> Option<Secret> {
        self.secrets.borrow().get(name).map(Secret::new)
    }
}

impl World for FakeWorld {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn jitter(&self) -> u16 {
        0
    }

    fn entry_id(&self, now: Timestamp) -> EntryId {
        self.ids
            .borrow_mut()
            .next(now, u16::from(self.random.get()))
    }

    async fn caller_body(&self, cap: usize) -> Result<Vec<u8>, BodyFault> {
        let body = self.body.borrow().clone()?;
        if body.len() > cap {
            return Err(BodyFault::TooLarge);
        }
        Ok(body)
    }

    async fn lock_zone(&self, zone: ZoneId) -> Result<Lease, LockFault> {
        if let Some(fault) = self.lock_fault.get() {
            return Err(fault);
        }
        self.fence.set(self.fence.get() + 1);
        let fence = self.fence.get();
        self.held.borrow_mut().push(fence);
        let since = self.now();
        Ok(Lease { zone, fence, since })
    }

    async fn unlock_zone(&self, lease: &Lease) {
        self.held.borrow_mut().retain(|fence| *fence != lease.fence);
    }

    async fn flush_events(&self) {}

    fn randomize(&self, bytes: &mut [u8]) -> bool {
        let start = self.random.get();
        self.random.set(start.wrapping_add(1));
        let mut next = start.wrapping_mul(31);
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(7);
        }
        true
    }

    fn log(&self, line: &str) {
        self.logs.borrow_mut().push(line.to_owned());
    }

    #[cfg(feature = "faults")]
    async fn fault_point(&self, _name: &str) {}
}

impl TimeZones for FakeWorld {
    fn utc_offset_secs(&self, zone: &str, at: Timestamp) -> Option<i32> {
        ChronoZones.utc_offset_secs(zone, at)
    }
}

impl Platform for FakeWorld {
    async fn put_blob(
        &self,
        key: &str,
        bytes: Vec<u8>,
        _keep_secs: Option<u32>,
    ) -> Result<(), PlatformError> {
        self.blobs.borrow_mut().insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn blob(&self, key: &str) -> Result<Option<Vec<u8>>, PlatformError> {
        Ok(self.blobs.borrow().get(key).cloned())
    }

    async fn delete_blob(&self, key: &str) -> Result<(), PlatformError> {
        self.blobs.borrow_mut().remove(key);
        Ok(())
    }

    async fn enqueue(&self, runs: &[RunId], _delay_secs: u32) -> Result<(), PlatformError> {
        self.sent.borrow_mut().extend(runs);
        Ok(())
    }

    async fn probe(&self, probe: &Probe<'_>) -> Result<Probed, String> {
        panic!("nobody asks {}", probe.url);
    }

    async fn inflate(&self, _deflated: &[u8], _cap: usize) -> Option<Vec<u8>> {
        panic!("nobody unpacks anything");
    }

    fn subrequests(&self) -> u32 {
        0
    }

    fn rate_limit(&self, _response: &Response) -> Option<String> {
        None
    }
}
