//! The job engine as the harness drives it, and runs of it that are to be cut off everywhere.

use serde_json::Value;
use zonekeeper::audit::{Action, Event, What, Who};
use zonekeeper::gateway::World;
use zonekeeper::jobs::{Engine, Platform, kind_named};
use zonekeeper::model::{RunId, Timestamp};
use zonekeeper::run::{Limits, RunState, Trigger};
use zonekeeper::store::{IdempotencyKey, NewRun, StoreError};

use super::harness::{Handled, Harness, LabGateway, Motor, Task};
use super::sweep::Case;

/// [`Engine`].
#[derive(Debug)]
pub(crate) struct EngineMotor;

impl Motor for EngineMotor {
    fn tick<'a>(
        &'a self,
        gateway: LabGateway<'a>,
        at: Timestamp,
    ) -> Task<'a, Result<(), StoreError>> {
        Box::pin(async move {
            Engine { gateway }.tick(at).await?;
            Ok(())
        })
    }

    fn deliver<'a>(&'a self, gateway: LabGateway<'a>, run: RunId) -> Task<'a, Handled> {
        Box::pin(async move {
            Engine { gateway }.deliver(run).await;
            Handled::Acknowledged
        })
    }
}

/// A run of a job, started by a caller that sends the same idempotency key each time.
#[derive(Clone)]
pub(crate) struct JobCase {
    /// The configuration in force.
    pub(crate) config: &'static str,
    /// The job kind.
    pub(crate) kind: &'static str,
    /// The principal it acts as.
    pub(crate) run_as: &'static str,
    /// Its parameters, an object.
    pub(crate) params: Value,
    /// Brings Cloudflare to where it begins.
    pub(crate) prepare: fn(&Harness),
    /// See [`Case::effects`].
    pub(crate) effects: fn(&Harness) -> Vec<String>,
    /// See [`Case::allows_repeat`].
    pub(crate) allows_repeat: bool,
    /// See [`Case::ends`].
    pub(crate) ends: RunState,
    /// A bug of the product, planted once the case is set up; the feature `faults` knows which.
    pub(crate) planted: Option<&'static str>,
    /// Endings of the paths of writes that may stay unknown.
    pub(crate) may_stay_unknown: &'static [&'static str],
}

impl JobCase {
    fn new_run(&self, id: RunId, now: Timestamp) -> NewRun {
        NewRun {
            id,
            job: "job".to_owned(),
            kind: self.kind.to_owned(),
            trigger: Trigger::Api,
            slot: None,
            run_as: self.run_as.to_owned(),
            started_by: None,
            params: self.params.as_object().unwrap().clone(),
            dry_run: false,
            limits: Limits {
                max_attempts: kind_named(self.kind).unwrap().max_attempts,
                max_calls: 10_000,
                timeout_secs: 86_400,
                keep_days: 30,
            },
            now,
            skipped: None,
            cancels_others: false,
        }
    }

    async fn create(&self, gateway: LabGateway<'_>) -> Result<RunId, StoreError> {
        let (store, world) = (gateway.store, gateway.world);
        let asked = format!("{} {}", self.kind, self.params);
        let key = IdempotencyKey {
            owner: "test",
            key: &asked,
            digest: "digest",
        };
        let mut bytes = [0; 16];
        world.randomize(&mut bytes);
        let run = RunId::from_random(bytes);
        let now = world.now();
        let created = store
            .create_run(&self.new_run(run, now), Some(key), &event(world, now))
            .await;
        match created {
            Ok(()) => {
                // The sweeper sends it should this fail.
                let _ = world.enqueue(&[run], 0).await;
                Ok(run)
            }
            Err(StoreError::Conflict) => {
                let found = store.keyed_run(key.owner, key.key).await?;
                found.map(|found| found.run).ok_or(StoreError::Conflict)
            }
            Err(error) => Err(error),
        }
    }
}

/// What tells of the run's creation.
fn event(world: &impl World, now: Timestamp) -> Event {
    let who = Who {
        principal: Some("test".to_owned()),
        credential: "none".to_owned(),
        source_ip: None,
        run: None,
    };
    let what = What {
        operation: "test".to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        zone: None,
        resources: Vec::new(),
        action: Action::new("start a run"),
        deprecated: false,
    };
    Event::of(world.entry_id(now), who, what)
}

impl Case for JobCase {
    fn motor(&self) -> Box<dyn Motor> {
        Box::new(EngineMotor)
    }

    fn setup(&self, harness: &Harness) {
        harness.apply(self.config);
        (self.prepare)(harness);
        harness.outside.planted.set(self.planted);
    }

    fn start(&self, harness: &Harness) -> Option<RunId> {
        harness
            .event(async |gateway| self.create(gateway).await)?
            .ok()
    }

    fn effects(&self, harness: &Harness) -> Vec<String> {
        (self.effects)(harness)
    }

    fn allows_repeat(&self) -> bool {
        self.allows_repeat
    }

    fn ends(&self) -> RunState {
        self.ends
    }

    fn may_stay_unknown(&self, path: &str) -> bool {
        self.may_stay_unknown
            .iter()
            .any(|ending| path.ends_with(ending))
    }
}
