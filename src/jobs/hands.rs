//! What a kind can do in the world: read as its principal, and keep blobs and snapshots.
//!
//! A kind changes nothing upstream with these; that is for the engine, step by step.

use std::cell::{Cell, RefCell};

use futures_util::future::LocalBoxFuture;
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::check::why_not_call;
use super::engine::LEASE_MS;
use super::kind::{Sample, Task, Trouble};
use super::outbound::why_not_fetch_besides;
use super::platform::{Platform, Probe, Probed};
use crate::audit::Event;
use crate::catalog::Method;
use crate::gateway::{Acting, ActingBody, Carried, Gateway};
use crate::model::{RunId, Secret, SnapshotId, Timestamp, ZoneId, hex, json};
use crate::run::Run;
use crate::store::{Database, Hold, Snapshot, StoreError};
use crate::upstream::{BUFFERED_ANSWER_CAP, Envelope, Outcome};

/// Milliseconds Cloudflare refuses everything for once its limit is passed
/// (<https://developers.cloudflare.com/fundamentals/api/reference/limits/>).
pub(super) const BLOCK_MS: i64 = 300_000;

/// The analytics API.
const GRAPHQL: &str = "/graphql";

/// A run that is read for is held on after so long.
const HOLD_ON_AFTER_MS: i64 = 15_000;

/// Reading as a principal, and blobs.
pub trait Reads {
    /// The time.
    fn now(&self) -> Timestamp;

    /// The principal's name.
    fn principal(&self) -> &str;

    /// Reads from the v4 API as the principal, through the same gate as everybody. `target` is path
    /// below `/client/v4` and query. Gives the answer's envelope.
    fn read(&self, target: String) -> Task<'_, Envelope>;

    /// Asks the analytics API as the principal, through the same gate as everybody, which lets queries
    /// through only. `body` is a GraphQL query with its variables. Gives the answer's `data`; an answer
    /// with errors is a reason to ask again.
    fn query(&self, body: String) -> Task<'_, Value>;

    /// Reads what comes without an envelope, at most [`BUFFERED_ANSWER_CAP`] bytes of it; `None` where
    /// Cloudflare has nothing there.
    fn bytes(&self, target: String) -> Task<'_, Option<Vec<u8>>>;

    /// Whether a list that was read showed some records only, as the principal may not see all.
    fn saw_part(&self) -> bool;

    /// Reads a blob that must be there; a copy that is not there yet is a reason to wait.
    fn blob<'a>(&'a self, key: &'a str) -> Task<'a, Vec<u8>>;
}

/// What the engine lends a kind.
pub trait Hands: Reads {
    /// The run.
    fn run(&self) -> &Run;

    /// Stores a blob, for `keep_secs` where given.
    fn put_blob<'a>(&'a self, key: &'a str, bytes: Vec<u8>, keep_secs: Option<u32>)
    -> Task<'a, ()>;

    /// Deletes a blob.
    fn delete_blob<'a>(&'a self, key: &'a str) -> Task<'a, ()>;

    /// Records a snapshot whose blobs are stored.
    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Task<'a, ()>;

    /// What is known of a snapshot.
    fn snapshot(&self, id: SnapshotId) -> Task<'_, Option<Snapshot>>;

    /// The newest snapshot of a zone that was taken at or before then.
    fn newest_snapshot(&self, zone: ZoneId, at: Option<Timestamp>) -> Task<'_, Option<Snapshot>>;

    /// Gives up all but the newest `keep` snapshots of the run's job and zone.
    fn give_up_snapshots(&self, zone: ZoneId, keep: u32) -> Task<'_, ()>;

    /// Some snapshots of the run's job that were given up and whose blobs may be there still, and in
    /// how many blobs each is.
    fn given_up_snapshots(&self) -> Task<'_, Vec<(SnapshotId, u32)>>;

    /// Forgets a snapshot whose blobs are gone.
    fn forget_snapshot(&self, id: SnapshotId) -> Task<'_, ()>;

    /// Why the principal may not make a call, in a sentence; `None`: it may.
    fn why_not<'a>(&'a self, sample: &'a Sample) -> Task<'a, Option<String>>;

    /// Takes a Worker for the run until its end, or until somebody has looked where that is unknown. Gives
    /// the run that has it, if that is another one.
    fn lock_script<'a>(&'a self, account: &'a str, script: &'a str) -> Task<'a, Option<RunId>>;

    /// Asks an address that the configuration lets runs ask.
    fn probe<'a>(&'a self, probe: &'a Probe<'a>) -> Task<'a, Result<Probed, String>>;

    /// Unpacks what was deflated, at most `cap` bytes.
    fn inflate<'a>(&'a self, deflated: &'a [u8], cap: usize) -> Task<'a, Option<Vec<u8>>>;

    /// A secret of the Worker.
    fn secret(&self, name: &str) -> Option<Secret>;
}

/// Reads as a principal and keeps account of it.
#[derive(Debug)]
pub struct Reader<'a, D, P> {
    gateway: Gateway<'a, D, P>,
    principal: &'a str,
    credential: String,
    run: Option<RunId>,
    calls: Cell<u32>,
    saw_part: Cell<bool>,
    /// The fence of the run that is held meanwhile, and since when.
    held: Option<(i64, Cell<Timestamp>)>,
    events: RefCell<Vec<Event>>,
}

/// What came of a call that changes nothing.
struct Heard {
    outcome: Outcome,
    status: StatusCode,
    body: Option<Vec<u8>>,
}

/// The engine's hands, lent for one piece of a run.
#[derive(Debug)]
pub(super) struct Desk<'a, D, P> {
    reader: Reader<'a, D, P>,
    run: &'a Run,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is handed to `map_err`, which gives a value"
)]
fn stored(error: StoreError) -> Trouble {
    Trouble::Again(format!("The store failed: {error}."))
}

/// What stands for a credential in the audit entries of a run.
pub(super) fn credential_of(run: &Run) -> String {
    format!("job {}, run {}", run.job, run.id)
}

impl<'a, D: Database, P: Platform> Desk<'a, D, P> {
    /// Hands for `run`.
    pub(super) fn new(gateway: &Gateway<'a, D, P>, run: &'a Run) -> Self {
        let mut reader = Reader::new(gateway, &run.run_as, credential_of(run), Some(run.id));
        reader.held = Some((run.fence, Cell::new(gateway.world.now())));
        Self { reader, run }
    }

    /// See [`Reader::put_down`].
    pub(super) async fn put_down(self) -> Result<u32, StoreError> {
        self.reader.put_down().await
    }
}

impl<'a, D: Database, P: Platform> Reader<'a, D, P> {
    /// A reader as `principal`; `credential` says on record how it comes to be that.
    #[must_use]
    pub fn new(
        gateway: &Gateway<'a, D, P>,
        principal: &'a str,
        credential: String,
        run: Option<RunId>,
    ) -> Self {
        Self {
            gateway: Gateway {
                settings: gateway.settings,
                view: gateway.view,
                store: gateway.store,
                world: gateway.world,
            },
            principal,
            credential,
            run,
            calls: Cell::new(0),
            saw_part: Cell::new(false),
            held: None,
            events: RefCell::default(),
        }
    }

    /// Upstream calls made so far; stores the audit entries of the reads among them.
    ///
    /// # Errors
    /// [`StoreError`] when those cannot be stored.
    pub async fn put_down(self) -> Result<u32, StoreError> {
        let mut events = self.events.into_inner();
        // A batch of events is one bound text.
        for events in events.chunks_mut(100) {
            let mut tries = 0;
            loop {
                match self.gateway.store.record_events(events).await {
                    // Another isolate took one of the numbers: number them anew.
                    Err(StoreError::Conflict) if tries < 3 => tries += 1,
                    other => break other?,
                }
                for event in &mut *events {
                    event.id = self.gateway.world.entry_id(event.id.time());
                }
            }
        }
        Ok(self.calls.get())
    }

    /// Holds the run on while it is read for, so that a slow Cloudflare does not make another take it up.
    async fn hold_on(&self) -> Result<(), Trouble> {
        let now = self.gateway.world.now();
        if let (Some(run), Some((fence, since))) = (self.run, &self.held)
            && now.ms_since(since.get()) >= HOLD_ON_AFTER_MS
        {
            let hold = Hold {
                run,
                fence: *fence,
                lease_until: now.plus_ms(LEASE_MS),
            };
            self.gateway.store.hold_on(hold).await.map_err(stored)?;
            since.set(now);
        }
        Ok(())
    }

    /// Makes a call that changes nothing; `query` is the body of one of the analytics API.
    async fn ask(&self, target: &str, query: Option<&str>) -> Result<Heard, Trouble> {
        self.hold_on().await?;
        let acting = Acting {
            principal: self.principal,
            credential: &self.credential,
            run: self.run,
            step: None,
            body: query.map(ActingBody::Json),
        };
        let method = query.map_or(Method::Get, |_| Method::Post);
        Ok(match self.gateway.carry(&acting, method, target).await {
            Carried::Refused {
                refusal,
                wants_approval: true,
            } => return Err(Trouble::WantsApproval(refusal.message)),
            Carried::Refused { refusal, .. } => return Err(Trouble::Impossible(refusal.message)),
            Carried::Unsent { message, .. } => return Err(Trouble::Again(message)),
            Carried::Ended {
                outcome,
                status,
                body,
                row,
                events,
                is_partial,
                ..
            } => {
                self.saw_part.set(self.saw_part.get() || is_partial);
                let made = row.as_ref().map_or_else(
                    || events.iter().map(|event| event.upstream_calls).sum(),
                    |row| row.upstream_calls,
                );
                self.calls.set(self.calls.get().saturating_add(made));
                self.events.borrow_mut().extend(events);
                if let Some(row) = row {
                    let now = self.gateway.world.now();
                    let recorded = self.gateway.store.record_outcome(&row, now).await;
                    recorded.map_err(stored)?;
                }
                Heard {
                    outcome,
                    status,
                    body,
                }
            }
        })
    }

    async fn read_through(&self, target: &str) -> Result<Envelope, Trouble> {
        let heard = self.ask(target, None).await?;
        let envelope = heard.confirmed().and_then(Envelope::parse);
        let envelope = envelope.filter(|envelope| envelope.success == Some(true));
        envelope.ok_or_else(|| self.trouble(target, &heard))
    }

    async fn bytes_through(&self, target: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let mut heard = self.ask(target, None).await?;
        match heard.outcome {
            Outcome::Refused if heard.status == StatusCode::NOT_FOUND => Ok(None),
            Outcome::Confirmed if heard.body.is_some() => Ok(heard.body.take()),
            _ => Err(self.trouble(target, &heard)),
        }
    }

    async fn query_through(&self, body: &str) -> Result<Value, Trouble> {
        let heard = self.ask(GRAPHQL, Some(body)).await?;
        let Some(mut answer) = heard.confirmed().and_then(json::of_others) else {
            return Err(self.trouble(GRAPHQL, &heard));
        };
        let errors = answer.get("errors").filter(|errors| !errors.is_null());
        if errors.is_none_or(|errors| errors.as_array().is_some_and(Vec::is_empty)) {
            return Ok(answer.get_mut("data").map(Value::take).unwrap_or_default());
        }
        let message = errors.and_then(|errors| errors.pointer("/0/message")?.as_str());
        let message: String = message.unwrap_or_default().chars().take(200).collect();
        let why =
            format!("Could not read {GRAPHQL}: Cloudflare answered with the error {message:?}.");
        Err(Trouble::Again(why))
    }

    /// Why an answer is not what was asked for.
    fn trouble(&self, target: &str, heard: &Heard) -> Trouble {
        let path = target.split('?').next().unwrap_or_default();
        let failed = |why: &str| format!("Could not read {path}: {why}");
        let status = heard.status.as_u16();
        match heard.outcome {
            Outcome::Throttled { retry_after_secs } => {
                let wait_ms = retry_after_secs.map_or(BLOCK_MS, |secs| i64::from(secs) * 1000);
                Trouble::NotBefore(
                    self.gateway.world.now().plus_ms(wait_ms),
                    failed("Cloudflare had too many calls."),
                )
            }
            Outcome::Refused => {
                let envelope = heard.body.as_deref().and_then(Envelope::parse);
                let errors = envelope.map_or_else(String::new, |all| all.describe_errors());
                Trouble::Impossible(failed(&format!("Cloudflare answered {status}: {errors}.")))
            }
            Outcome::Confirmed if heard.body.is_none() => Trouble::Again(failed(&format!(
                "the answer broke off or is larger than {BUFFERED_ANSWER_CAP} bytes."
            ))),
            _ => Trouble::Again(failed(&format!(
                "the answer ({status}) was not one of the API's."
            ))),
        }
    }
}

impl Heard {
    /// The answer of a call that Cloudflare carried out.
    fn confirmed(&self) -> Option<&[u8]> {
        let body = self.body.as_deref();
        body.filter(|_| self.outcome == Outcome::Confirmed)
    }
}

impl<D: Database, P: Platform> Reads for Reader<'_, D, P> {
    fn now(&self) -> Timestamp {
        self.gateway.world.now()
    }

    fn principal(&self) -> &str {
        self.principal
    }

    fn read(&self, target: String) -> Task<'_, Envelope> {
        Box::pin(async move { self.read_through(&target).await })
    }

    fn bytes(&self, target: String) -> Task<'_, Option<Vec<u8>>> {
        Box::pin(async move { self.bytes_through(&target).await })
    }

    fn query(&self, body: String) -> Task<'_, Value> {
        Box::pin(async move { self.query_through(&body).await })
    }

    fn saw_part(&self) -> bool {
        self.saw_part.get()
    }

    fn blob<'a>(&'a self, key: &'a str) -> Task<'a, Vec<u8>> {
        Box::pin(async move {
            let blob = blobs(self.gateway.world.blob(key)).await?;
            blob.ok_or_else(|| Trouble::Again(format!("The blob {key} is not there (yet).")))
        })
    }
}

impl<D: Database, P: Platform> Reads for Desk<'_, D, P> {
    fn now(&self) -> Timestamp {
        self.reader.now()
    }

    fn principal(&self) -> &str {
        self.reader.principal()
    }

    fn read(&self, target: String) -> Task<'_, Envelope> {
        self.reader.read(target)
    }

    fn bytes(&self, target: String) -> Task<'_, Option<Vec<u8>>> {
        self.reader.bytes(target)
    }

    fn query(&self, body: String) -> Task<'_, Value> {
        self.reader.query(body)
    }

    fn saw_part(&self) -> bool {
        self.reader.saw_part()
    }

    fn blob<'a>(&'a self, key: &'a str) -> Task<'a, Vec<u8>> {
        self.reader.blob(key)
    }
}

impl<D: Database, P: Platform> Hands for Desk<'_, D, P> {
    fn run(&self) -> &Run {
        self.run
    }

    fn put_blob<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        keep_secs: Option<u32>,
    ) -> Task<'a, ()> {
        blobs(self.reader.gateway.world.put_blob(key, bytes, keep_secs))
    }

    fn delete_blob<'a>(&'a self, key: &'a str) -> Task<'a, ()> {
        blobs(self.reader.gateway.world.delete_blob(key))
    }

    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Task<'a, ()> {
        Box::pin(async move {
            let done = self.reader.gateway.store.put_snapshot(snapshot).await;
            done.map_err(stored)
        })
    }

    fn snapshot(&self, id: SnapshotId) -> Task<'_, Option<Snapshot>> {
        Box::pin(async move { self.reader.gateway.store.snapshot(id).await.map_err(stored) })
    }

    fn newest_snapshot(&self, zone: ZoneId, at: Option<Timestamp>) -> Task<'_, Option<Snapshot>> {
        Box::pin(async move {
            let zone = zone.to_string();
            let before = at.map(|at| at.plus_ms(1));
            let mut found = self
                .reader
                .gateway
                .store
                .snapshots(Some(&zone), before, 1)
                .await
                .map_err(stored)?;
            Ok(found.pop())
        })
    }

    fn give_up_snapshots(&self, zone: ZoneId, keep: u32) -> Task<'_, ()> {
        Box::pin(async move {
            let now = self.reader.now();
            let store = self.reader.gateway.store;
            let done = store
                .give_up_snapshots(&self.run.job, zone, keep, now)
                .await;
            done.map_err(stored)
        })
    }

    fn given_up_snapshots(&self) -> Task<'_, Vec<(SnapshotId, u32)>> {
        Box::pin(async move {
            let store = self.reader.gateway.store;
            let found = store.given_up_snapshots(&self.run.job, 20).await;
            found.map_err(stored)
        })
    }

    fn forget_snapshot(&self, id: SnapshotId) -> Task<'_, ()> {
        Box::pin(async move {
            let done = self.reader.gateway.store.forget_snapshot(id).await;
            done.map_err(stored)
        })
    }

    fn why_not<'a>(&'a self, sample: &'a Sample) -> Task<'a, Option<String>> {
        Box::pin(async move {
            let gateway = &self.reader.gateway;
            let now = self.now();
            let snapshot = gateway.view.current(gateway.store, now).await;
            let snapshot = snapshot.map_err(stored)?;
            let principal = self.principal();
            Ok(why_not_call(gateway, &snapshot, principal, sample, now))
        })
    }

    fn lock_script<'a>(&'a self, account: &'a str, script: &'a str) -> Task<'a, Option<RunId>> {
        Box::pin(async move {
            let store = self.reader.gateway.store;
            let holder = store.lock_script(account, script, self.run.id).await;
            let holder = holder.map_err(stored)?;
            Ok(Some(holder).filter(|holder| *holder != self.run.id))
        })
    }

    fn probe<'a>(&'a self, probe: &'a Probe<'a>) -> Task<'a, Result<Probed, String>> {
        Box::pin(async move {
            self.reader.hold_on().await?;
            let gateway = &self.reader.gateway;
            let snapshot = gateway.view.current(gateway.store, self.now()).await;
            let snapshot = snapshot.map_err(stored)?;
            let outbound = &snapshot.config.document.outbound;
            let (hosts, settings) = (&outbound.hosts, gateway.settings);
            if let Some(why) = why_not_fetch_besides(probe.url, hosts, probe.besides, settings) {
                // What follows may be a signature.
                let shown = probe.url.split('?').next().unwrap_or_default();
                return Err(Trouble::Impossible(format!("{shown}: {why}.")));
            }
            Ok(gateway.world.probe(probe).await)
        })
    }

    fn inflate<'a>(&'a self, deflated: &'a [u8], cap: usize) -> Task<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.reader.gateway.world.inflate(deflated, cap).await) })
    }

    fn secret(&self, name: &str) -> Option<Secret> {
        self.reader.gateway.world.secret(name)
    }
}

/// A blob store's work; whatever goes wrong there may go better later.
fn blobs<'a, T: 'a>(
    work: impl Future<Output = Result<T, super::platform::PlatformError>> + 'a,
) -> LocalBoxFuture<'a, Result<T, Trouble>> {
    Box::pin(async move {
        work.await
            .map_err(|error| Trouble::Again(format!("The blob store failed: {error}.")))
    })
}

/// Reads a blob whose key ends in the SHA-256 of what it holds.
pub(super) async fn blob_of_digest(reads: &dyn Hands, key: &str) -> Result<Vec<u8>, Trouble> {
    let bytes = reads.blob(key).await?;
    if key.ends_with(&hex(&Sha256::digest(&bytes))) {
        return Ok(bytes);
    }
    Err(Trouble::Impossible(format!(
        "The blob {key} is not what was stored."
    )))
}

/// The key of a snapshot's `n`th blob.
#[must_use]
pub fn snapshot_key(id: SnapshotId, n: u32) -> String {
    format!("snapshots/{id}/{n}")
}

/// A random id for a run; `None` when there is no randomness to be had.
pub fn new_run_id<P: Platform>(world: &P) -> Option<RunId> {
    let mut bytes = [0; 16];
    world
        .randomize(&mut bytes)
        .then(|| RunId::from_random(bytes))
}
