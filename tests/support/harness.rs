//! A whole Zonekeeper that runs jobs, over a world in which every effect can fail.
//!
//! [`Harness`] plays the runtime: it calls the [`Motor`] for ticks and messages, drops the isolate
//! when a kill strikes, and makes another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use pollster::block_on;
use serde_json::Value;
use simulator::{ACME_ID, TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
use zonekeeper::audit::{Action, Event, What, Who};
use zonekeeper::config::{AccountRef, Format, Resolution, ZoneRef, read, validate};
use zonekeeper::gateway::{Gateway, View, World, reconcile};
use zonekeeper::jobs::SUBREQUESTS;
use zonekeeper::model::{RunId, Secret, Timestamp};
use zonekeeper::settings::{RawSettings, Settings};
use zonekeeper::store::{Row, Store, StoreError};

use super::keeper::{self, NOW};
use super::lab::database::LabDatabase;
use super::lab::injector::run;
use super::lab::queue::Unacked;
use super::lab::world::{LabWorld, Outside};
use super::world::Clock;

/// Rounds of a minute after which a run that is still open never ends.
const MAX_ROUNDS: usize = 200;
/// Messages delivered in one minute at the most.
const MAX_DELIVERIES: usize = 1000;
/// Minutes that the audit log may take to settle once every run has ended.
const SETTLING_ROUNDS: usize = 10;

/// The gateway as an isolate of the lab has it.
pub(crate) type LabGateway<'a> = Gateway<'a, LabDatabase, LabWorld>;
/// Work of an isolate.
pub(crate) type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What becomes of a message after its delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is done with.
    Acknowledged,
    /// It is to come again after so many seconds.
    Again(u32),
}

/// What an isolate does about jobs when the runtime calls it.
pub(crate) trait Motor {
    /// The tick whose scheduled time is `at`.
    fn tick<'a>(
        &'a self,
        gateway: LabGateway<'a>,
        at: Timestamp,
    ) -> Task<'a, Result<(), StoreError>>;

    /// A message of the queue.
    fn deliver<'a>(&'a self, gateway: LabGateway<'a>, run: RunId) -> Task<'a, Handled>;
}

/// What is lost in a crash.
struct Isolate {
    view: View,
    store: Store<LabDatabase>,
    world: LabWorld,
}

impl Isolate {
    fn new(outside: &Outside) -> Rc<Self> {
        Rc::new(Self {
            view: View::default(),
            store: Store::new(LabDatabase::new(outside)),
            world: LabWorld::new(outside),
        })
    }
}

/// A Zonekeeper with nothing configured, and everything around it.
pub(crate) struct Harness {
    pub(crate) outside: Outside,
    pub(crate) settings: Settings,
    motor: Box<dyn Motor>,
    unacked: Unacked,
    isolate: RefCell<Rc<Isolate>>,
    /// Another one, with a memory of its own.
    neighbour: Rc<Isolate>,
}

fn settings() -> Settings {
    let raw = RawSettings {
        api_token: Some(Secret::new(TOKEN)),
        own_account_id: Some(ACME_ID.to_owned()),
        ..keeper::settings()
    };
    Settings::try_from(raw).unwrap()
}

/// What the names of the simulator's zones and of its account stand for.
fn resolution() -> Resolution {
    let account = ACME_ID.parse().unwrap();
    let zone = |(name, id): (&str, &str)| {
        let zone = ZoneRef {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            account,
        };
        (name.to_owned(), zone)
    };
    let name = "Acme".to_owned();
    Resolution {
        zones: [
            ("example.com", ZONE_COM_ID),
            ("example.net", ZONE_NET_ID),
            ("example.org", ZONE_ORG_ID),
        ]
        .into_iter()
        .map(zone)
        .collect(),
        accounts: BTreeMap::from([(name.clone(), AccountRef { id: account, name })]),
        ..Resolution::default()
    }
}

impl Harness {
    /// One whose database is migrated. `unacked` says what a crash does to delivered messages.
    pub(crate) fn new(motor: Box<dyn Motor>, unacked: Unacked) -> Self {
        let outside = Outside::new(Clock::at(NOW));
        let isolate = Isolate::new(&outside);
        block_on(isolate.store.migrate(outside.clock.now())).unwrap();
        Self {
            settings: settings(),
            motor,
            unacked,
            isolate: RefCell::new(isolate),
            neighbour: Isolate::new(&outside),
            outside,
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.outside.clock.now()
    }

    /// Puts a configuration in force. It must be valid, and must not meet a fault.
    pub(crate) fn apply(&self, config: &str) {
        let source = read(config.as_bytes(), Format::Toml).unwrap();
        validate(&source).unwrap();
        let isolate = Rc::clone(&self.isolate.borrow());
        let now = self.now();
        let event = self.change_event();
        let before = block_on(isolate.store.current_config()).unwrap().version;
        block_on(isolate.store.apply_config(
            before,
            &source.document,
            config,
            Format::Toml,
            &resolution(),
            &[],
            &event,
            now,
        ))
        .unwrap()
        .unwrap();
    }

    /// An event for changes that a test makes behind everybody's back.
    pub(crate) fn change_event(&self) -> Event {
        let who = Who {
            principal: Some("test".to_owned()),
            credential: "none".to_owned(),
            source_ip: None,
            run: None,
        };
        let what = What {
            operation: "test".to_owned(),
            method: "PUT".to_owned(),
            path: "/".to_owned(),
            zone: None,
            resources: Vec::new(),
            action: Action::new("change something"),
            deprecated: false,
        };
        let isolate = self.isolate.borrow();
        Event::of(isolate.world.entry_id(self.now()), who, what)
    }

    /// An event of the runtime: lets the isolate do something. `None` when it was killed; the next
    /// event meets a new one.
    pub(crate) fn event<T>(&self, act: impl AsyncFnOnce(LabGateway<'_>) -> T) -> Option<T> {
        let isolate = Rc::clone(&self.isolate.borrow());
        let ended = self.event_of(&isolate, act);
        if ended.is_none() {
            self.outside.injector.restart();
            self.outside.queue.crash(self.unacked);
            *self.isolate.borrow_mut() = Isolate::new(&self.outside);
        }
        ended
    }

    /// Another isolate works on a run while the first one is in the middle of something.
    pub(crate) fn deliver_next_door(&self, run: RunId) {
        self.next_door(async |gateway| {
            self.motor.deliver(gateway, run).await;
        });
    }

    /// Another isolate gets the tick while the first one is in the middle of something.
    pub(crate) fn tick_next_door(&self, at: Timestamp) {
        self.next_door(async |gateway| self.motor.tick(gateway, at).await.unwrap());
    }

    /// Another isolate does something while the first one is in the middle of something.
    pub(crate) fn next_door(&self, act: impl AsyncFnOnce(LabGateway<'_>)) {
        let from = self.outside.injector.count();
        self.event_of(&self.neighbour, act);
        let effects = self.outside.injector.count() - from;
        self.isolate.borrow().world.leave_out(effects);
    }

    /// # Panics
    /// When the invocation makes more subrequests than a Worker of the Free plan may.
    fn event_of<T>(
        &self,
        isolate: &Isolate,
        act: impl AsyncFnOnce(LabGateway<'_>) -> T,
    ) -> Option<T> {
        isolate.world.begin_invocation();
        let gateway = Gateway {
            settings: &self.settings,
            view: &isolate.view,
            store: &isolate.store,
            world: &isolate.world,
        };
        let injector = &self.outside.injector;
        let from = injector.count();
        let ended = run(injector, act(gateway));
        let effects = isolate.world.effects_of_invocation();
        assert!(
            effects <= SUBREQUESTS,
            "{effects} subrequests in one invocation:{}",
            injector.describe(from)
        );
        ended
    }

    /// The cron trigger: the motor's tick, and what a crash left open. What fails is logged and
    /// left to the next tick.
    pub(crate) fn tick(&self, at: Timestamp) {
        self.event(async |gateway| {
            let (store, world) = (gateway.store, gateway.world);
            if let Err(error) = gateway.view.current(store, world.now()).await {
                return world.log(&format!("tick: {error}"));
            }
            if let Err(error) = reconcile(store, world, at).await {
                world.log(&format!("tick: reconcile: {error}"));
            }
            if let Err(error) = self.motor.tick(gateway, at).await {
                world.log(&format!("tick: {error}"));
            }
        });
    }

    /// Delivers every message that is due.
    ///
    /// # Errors
    /// When there is no end to them.
    pub(crate) fn drain(&self) -> Result<(), String> {
        let Outside { queue, clock, .. } = &self.outside;
        for _ in 0..MAX_DELIVERIES {
            let Some(message) = queue.deliver(clock) else {
                return Ok(());
            };
            let handled =
                self.event(async |gateway| self.motor.deliver(gateway, message.body).await);
            match handled {
                Some(Handled::Acknowledged) => queue.acknowledge(message.number),
                Some(Handled::Again(secs)) => queue.retry(clock, message.number, secs),
                // The crash has seen to it.
                None => {}
            }
        }
        Err(format!("more than {MAX_DELIVERIES} messages in a minute"))
    }

    /// Lets the minutes pass until every run has ended, every outcome is settled that can be, and
    /// no call is on its way any more.
    ///
    /// # Errors
    /// When a run is open after 200 minutes.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let mut settling = 0;
        for _ in 0..MAX_ROUNDS {
            self.drain()?;
            let is_late = self.outside.network.borrow().on_their_way() > 0;
            if self.open_runs() == 0 && !is_late {
                if self.unsettled() == 0 || settling == SETTLING_ROUNDS {
                    return Ok(());
                }
                settling += 1;
            }
            let into_minute = self.now().unix_ms().rem_euclid(60_000);
            self.outside.advance_ms(60_000 - into_minute);
            self.tick(self.now());
        }
        Err(format!("a run is open after {MAX_ROUNDS} minutes"))
    }

    /// The state of a run and why, or nothing when there is no such run.
    pub(crate) fn state(&self, run: RunId) -> Option<(String, Option<String>)> {
        let sql = format!("SELECT state, reason FROM runs WHERE id = '{run}'");
        let rows = self.outside.sqlite.rows(&sql);
        let row = rows.first()?;
        let reason = row["reason"].as_str().map(ToOwned::to_owned);
        Some((row["state"].as_str().unwrap().to_owned(), reason))
    }

    /// Every item that was purged, in order of its text.
    pub(crate) fn purged(&self) -> Vec<String> {
        let purged = self.outside.network.borrow().lab.purged();
        let mut purged: Vec<String> = purged
            .into_iter()
            .map(|purged| format!("{} {} {}", purged.zone_id, purged.form, purged.item))
            .collect();
        purged.sort();
        purged
    }

    /// The records of a zone in order of their text, without what differs from one making of them
    /// to the next: ids and instants.
    pub(crate) fn records(&self, zone_id: &str) -> Vec<String> {
        let records = self.outside.network.borrow().lab.records(zone_id);
        let mut records: Vec<String> = records
            .iter()
            .map(|json| {
                let mut record: Value = serde_json::from_str(json).unwrap();
                let members = record.as_object_mut().unwrap();
                members.retain(|name, _| name != "id" && !name.ends_with("_on"));
                record.to_string()
            })
            .collect();
        records.sort();
        records
    }

    fn open_runs(&self) -> i64 {
        self.number("SELECT count(*) AS n FROM runs WHERE finished_at IS NULL")
    }

    /// Intents without an outcome, and unknown outcomes without a settlement.
    fn unsettled(&self) -> i64 {
        self.number(
            "SELECT count(*) AS n FROM audit_intents i LEFT JOIN audit_outcomes o ON o.id = i.id \
             LEFT JOIN audit_settlements s ON s.id = i.id \
             WHERE o.id IS NULL OR (o.outcome = 'unknown' AND s.id IS NULL)",
        )
    }

    fn number(&self, sql: &str) -> i64 {
        let rows: Vec<Row> = self.outside.sqlite.rows(sql);
        rows[0]["n"].as_i64().unwrap()
    }
}
