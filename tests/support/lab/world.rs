//! What one isolate sees of the world: Cloudflare, the clock, chance, blobs and the queue.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use http::StatusCode;
use simulator::Answered;
use zonekeeper::catalog::Method;
use zonekeeper::gateway::{
    BodyFault, Command, Lease, LockFault, Secrets, Ticket, Turn, World, ZoneLock,
};
use zonekeeper::identity::{Issuers, KeySource, PublicKey, Published, Verifier};
use zonekeeper::model::{EntryId, EntryIds, RunId, Secret, Timestamp, ZoneId};
use zonekeeper::upstream::{self, Answer, Client, DEADLINE_MS, Exchange, Head, Relay, Upstream};

use super::blobs::Blobs;
use super::injector::{Fault, Injector};
use super::network::Network;
use super::queue::Queue;
use super::writes::Writes;
use crate::support::database::Sqlite;
use crate::support::world::Clock;

/// What outlives a crash. Its copies are one.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    pub(crate) clock: Clock,
    pub(crate) injector: Injector,
    pub(crate) network: Rc<RefCell<Network>>,
    /// What is really stored.
    pub(crate) sqlite: Rc<Sqlite>,
    pub(crate) writes: Rc<Writes>,
    pub(crate) blobs: Rc<Blobs>,
    pub(crate) queue: Rc<Queue<RunId>>,
    /// The turns at the records of zones.
    locks: Rc<RefCell<BTreeMap<String, ZoneLock>>>,
    /// The bug that is planted, if one is.
    pub(crate) planted: Rc<Cell<Option<&'static str>>>,
    /// The Worker's secrets.
    pub(crate) secrets: Rc<RefCell<BTreeMap<String, String>>>,
    /// Counts random numbers, so that no two isolates get the same.
    chance: Rc<Cell<u64>>,
    logs: Rc<RefCell<Vec<String>>>,
}

impl Outside {
    /// A fresh world in which nothing fails.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            injector: Injector::new(clock.clone()),
            clock,
            network: Rc::new(RefCell::new(Network::new())),
            sqlite: Rc::new(Sqlite::new()),
            writes: Rc::default(),
            blobs: Rc::default(),
            queue: Rc::default(),
            locks: Rc::default(),
            planted: Rc::default(),
            secrets: Rc::default(),
            chance: Rc::default(),
            logs: Rc::default(),
        }
    }

    /// Everything logged.
    pub(crate) fn logs(&self) -> String {
        self.logs.borrow().join("\n")
    }

    /// Moves the clock, and lets happen what is due by then.
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.clock.advance_ms(ms);
        self.network.borrow_mut().catch_up(&self.clock);
    }

    fn at_zone(&self, zone: ZoneId, command: Command) -> Turn {
        let mut locks = self.locks.borrow_mut();
        let lock = locks.entry(zone.to_string()).or_default();
        lock.transition(command, self.clock.now())
    }

    /// Waits for the turn at a zone's records; meanwhile nothing else happens but the time passing.
    fn wait_for_turn(&self, zone: ZoneId, drawn: Timestamp) -> Result<Lease, LockFault> {
        let number = self.random();
        loop {
            match self.at_zone(zone, Command::Ask(Ticket { number, drawn })) {
                Turn::Granted(fence) => {
                    let since = self.clock.now();
                    return Ok(Lease { zone, fence, since });
                }
                Turn::Wait(until) => self.advance_ms(until.ms_since(self.clock.now()).max(1)),
                Turn::TooLate | Turn::Noted => return Err(LockFault::Busy),
            }
        }
    }

    /// The next random number: `SplitMix64` over a counter.
    fn random(&self) -> u64 {
        self.chance.set(self.chance.get() + 1);
        let mut z = self.chance.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn random_u16(&self) -> u16 {
        u16::try_from(self.random() >> 48).unwrap()
    }
}

/// One isolate's view of [`Outside`].
#[derive(Debug)]
pub(crate) struct LabWorld {
    pub(crate) outside: Outside,
    ids: RefCell<EntryIds>,
    body: RefCell<Result<Vec<u8>, BodyFault>>,
    /// The content type of the caller's body.
    content_type: RefCell<String>,
    pauses: RefCell<Vec<u32>>,
    /// Effects there had been when the invocation began.
    begun_at: Cell<usize>,
}

impl LabWorld {
    /// A fresh isolate.
    pub(crate) fn new(outside: &Outside) -> Self {
        Self {
            outside: outside.clone(),
            ids: RefCell::default(),
            body: RefCell::new(Ok(Vec::new())),
            content_type: RefCell::new("application/json".to_owned()),
            pauses: RefCell::default(),
            begun_at: Cell::new(outside.injector.count()),
        }
    }

    /// What the caller's body will be.
    pub(crate) fn set_body(&self, body: Result<Vec<u8>, BodyFault>) {
        *self.body.borrow_mut() = body;
    }

    /// What type the caller's body is said to have.
    pub(crate) fn set_content_type(&self, content_type: &str) {
        content_type.clone_into(&mut self.content_type.borrow_mut());
    }

    /// How long was waited between attempts, in milliseconds.
    pub(crate) fn pauses(&self) -> Vec<u32> {
        self.pauses.borrow().clone()
    }

    /// An event of the runtime begins; its subrequests count from 0.
    pub(crate) fn begin_invocation(&self) {
        self.begun_at.set(self.outside.injector.count());
    }

    /// So many of the effects since then were another isolate's.
    pub(crate) fn leave_out(&self, effects: usize) {
        self.begun_at.set(self.begun_at.get() + effects);
    }

    /// Effects since the invocation began.
    pub(crate) fn effects_of_invocation(&self) -> u32 {
        let effects = self.outside.injector.count() - self.begun_at.get();
        u32::try_from(effects).unwrap()
    }

    async fn send(
        &self,
        (method, target, content_type): (Method, &str, &str),
        body: &[u8],
        deadline_ms: u32,
    ) -> Result<Answered, upstream::Fault> {
        let Outside {
            clock,
            injector,
            network,
            sqlite,
            ..
        } = &self.outside;
        let fault = injector.meet(|| format!("upstream: {} {target}", method.as_str()));
        let is_sent = !matches!(fault, Some(Fault::ErrorBefore | Fault::KillBefore));
        if method != Method::Get && is_sent {
            self.outside.writes.note(sqlite, method.as_str(), target);
        }
        if fault == Some(Fault::Timeout) {
            let mut network = network.borrow_mut();
            network.delay(clock, method.as_str(), target, body);
            clock.advance_ms(deadline_ms.into());
            return Err(upstream::Fault::Deadline);
        }
        let act = async {
            Ok(network.borrow_mut().call_of_type(
                clock,
                method.as_str(),
                target,
                content_type,
                body,
            ))
        };
        injector
            .carry_out(fault, act, || Err(upstream::Fault::Network))
            .await
    }
}

fn head(answered: &Answered) -> Head {
    Head {
        status: StatusCode::from_u16(answered.status).unwrap(),
        cf_ray: answered.header("cf-ray").map(ToOwned::to_owned),
        retry_after_secs: answered
            .header("retry-after")
            .and_then(|text| text.parse().ok()),
    }
}

impl Client for LabWorld {
    async fn exchange(&self, exchange: &Exchange) -> Result<Answer, upstream::Fault> {
        let body = exchange.body.as_deref().unwrap_or_default();
        let call = (
            exchange.method,
            exchange.target.as_str(),
            "application/json",
        );
        let answered = self
            .send(call, body.as_bytes(), exchange.deadline_ms)
            .await?;
        Ok(Answer {
            head: head(&answered),
            body: Some(answered.body),
        })
    }

    async fn pause(&self, ms: u32) {
        self.pauses.borrow_mut().push(ms);
        self.outside.advance_ms(ms.into());
    }
}

impl Upstream for LabWorld {
    type Response = Answered;

    async fn relay(&self, relay: &Relay) -> Result<(Head, Answered), upstream::Fault> {
        // Without a body of its own a relay carries the caller's.
        let (body, content_type) = match (relay.body(), relay.form()) {
            // A form of a run brings its own type.
            (_, Some(form)) if relay.content_type().starts_with("multipart/") => {
                (form.to_vec(), relay.content_type().to_owned())
            }
            (_, Some(form)) => (form.to_vec(), self.content_type.borrow().clone()),
            (Some(body), None) => (body.as_bytes().to_vec(), relay.content_type().to_owned()),
            (None, None) => (
                self.body.borrow().clone().unwrap_or_default(),
                self.content_type.borrow().clone(),
            ),
        };
        let call = (relay.method(), relay.target(), content_type.as_str());
        let answered = self.send(call, &body, DEADLINE_MS).await?;
        Ok((head(&answered), answered))
    }

    async fn read(&self, response: &Answered, cap: usize) -> Option<Vec<u8>> {
        Some(response.body.clone()).filter(|body| body.len() <= cap)
    }
}

// Runs have no token.
impl Issuers for LabWorld {
    async fn published(&self, source: &KeySource, _kid: &str) -> Result<Published, String> {
        panic!("nobody asks for the keys of {}", source.issuer);
    }
}

impl Verifier for LabWorld {
    async fn verify(&self, key: &PublicKey, _: &str, _: &[u8]) -> Result<bool, String> {
        panic!("nobody checks a signature by {key:?}");
    }
}

impl Secrets for LabWorld {
    fn secret(&self, name: &str) -> Option<Secret> {
        self.outside.secrets.borrow().get(name).map(Secret::new)
    }
}

impl World for LabWorld {
    fn now(&self) -> Timestamp {
        self.outside.clock.now()
    }

    fn jitter(&self) -> u16 {
        self.outside.random_u16()
    }

    fn entry_id(&self, now: Timestamp) -> EntryId {
        let random = self.outside.random_u16();
        self.ids.borrow_mut().next(now, random)
    }

    async fn caller_body(&self, cap: usize) -> Result<Vec<u8>, BodyFault> {
        let body = self.body.borrow().clone()?;
        if body.len() > cap {
            return Err(BodyFault::TooLarge);
        }
        Ok(body)
    }

    async fn lock_zone(&self, zone: ZoneId) -> Result<Lease, LockFault> {
        let Outside {
            clock, injector, ..
        } = &self.outside;
        let fault = injector.meet(|| format!("object: lock {zone}"));
        let asked = clock.now();
        let lock = async { Ok(self.outside.wait_for_turn(zone, asked)) };
        injector
            .carry_out(fault, lock, || Err(LockFault::Unreachable))
            .await?
    }

    async fn unlock_zone(&self, lease: &Lease) {
        let Lease { zone, fence, .. } = *lease;
        let injector = &self.outside.injector;
        let fault = injector.meet(|| format!("object: unlock {zone}"));
        let unlock = async {
            self.outside.at_zone(zone, Command::GiveBack(fence));
            Ok(())
        };
        // As in the Worker, what fails here ends by itself.
        let _ = injector.carry_out(fault, unlock, || Err(())).await;
    }

    async fn flush_events(&self) {}

    fn randomize(&self, bytes: &mut [u8]) -> bool {
        for chunk in bytes.chunks_mut(8) {
            let random = self.outside.random().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        true
    }

    fn log(&self, line: &str) {
        self.outside.logs.borrow_mut().push(line.to_owned());
    }

    #[cfg(feature = "faults")]
    async fn fault_point(&self, _name: &str) {}

    #[cfg(feature = "faults")]
    fn is_planted(&self, bug: &str) -> bool {
        self.outside.planted.get() == Some(bug)
    }
}
