//! The sweep finds what it is there for: a motor that is right passes it, and one that is wrong in
//! any of the ways a job engine can be wrong does not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::json;
use simulator::ZONE_ORG_ID;
use support::harness::{Handled, Harness, LabGateway, Motor, Task};
use support::sweep::{Case, fail_every_effect, fail_twice, sweep};
use zonekeeper::audit::{Action, Intent, OutcomeRow, What, Who};
use zonekeeper::catalog::Method;
use zonekeeper::gateway::World;
use zonekeeper::jobs::Platform;
use zonekeeper::model::{EntryId, RunId, Timestamp};
use zonekeeper::store::{Database, Statement, StoreError};
use zonekeeper::upstream::{Client, Exchange, Outcome};

/// What a motor does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The tick does not send lost messages again.
    SweepsNothing,
    /// The call is made before its intent is stored.
    SendsFirst,
    /// The outcome is left to the scheduler.
    ForgetsOutcomes,
    /// A call whose answer was lost counts as made.
    BelievesLostCalls,
    /// A call whose answer was lost is recorded as refused.
    DeniesLostCalls,
    /// What was lost is sent again, and once more.
    SendsTwice,
}

/// A motor of one call: it purges a file, and again until it has seen that this happened.
#[derive(Debug)]
struct Toy {
    flaw: Flaw,
}

const RUN: [u8; 16] = [1; 16];
const INSERT: &str = "INSERT INTO runs (id, job, kind, trigger, run_as, dry_run, state, stage, fence, cancel_requested, \
     failures, replans, calls, done, total, limits, created_at, wake_at, enqueued_at) \
     VALUES (?1, 'j', 'k', 'api', 'p', 0, 'queued', 'apply', 0, 0, 0, 0, 0, 0, 0, '{}', 0, 0, 0) ON CONFLICT DO NOTHING";
const OPEN: &str = "SELECT id FROM runs WHERE finished_at IS NULL";
const END: &str = "UPDATE runs SET state = 'succeeded', finished_at = 1 WHERE id = ?1";

fn path() -> String {
    format!("/zones/{ZONE_ORG_ID}/purge_cache")
}

fn intent(id: EntryId) -> Intent {
    Intent {
        id,
        who: Who {
            principal: Some("p".to_owned()),
            credential: "job j".to_owned(),
            source_ip: None,
            run: Some(RunId::from_random(RUN)),
        },
        what: What {
            operation: "purge".to_owned(),
            method: "POST".to_owned(),
            path: format!("/client/v4{}", path()),
            zone: Some(ZONE_ORG_ID.to_owned()),
            resources: Vec::new(),
            action: Action::new("purge a file"),
            deprecated: false,
        },
        grant: None,
        reason: String::new(),
        read_back: None,
    }
}

async fn is_open(gateway: &LabGateway<'_>) -> Result<bool, StoreError> {
    let database = support::lab::database::LabDatabase::new(&gateway.world.outside);
    let rows = database.batch(vec![Statement::new(OPEN, Vec::new())]);
    Ok(!rows.await?[0].is_empty())
}

impl Toy {
    async fn purge(&self, gateway: &LabGateway<'_>, run: RunId) -> Result<bool, StoreError> {
        let (store, world) = (gateway.store, gateway.world);
        if !is_open(gateway).await? {
            return Ok(true);
        }
        let id = world.entry_id(world.now());
        if self.flaw != Flaw::SendsFirst {
            store.record_intent(&intent(id)).await?;
        }
        let exchange = Exchange {
            method: Method::Post,
            body: Some(json!({"files": ["https://example.org/a"]}).to_string()),
            ..Exchange::get(path())
        };
        let mut answer = world.exchange(&exchange).await;
        if answer.is_err() && self.flaw == Flaw::SendsTwice {
            answer = world.exchange(&exchange).await;
        }
        if self.flaw == Flaw::SendsFirst {
            store.record_intent(&intent(id)).await?;
        }
        let outcome = match &answer {
            Ok(_) => Outcome::Confirmed,
            Err(_) if self.flaw == Flaw::DeniesLostCalls => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        let is_done = answer.is_ok() || self.flaw == Flaw::BelievesLostCalls;
        let row = OutcomeRow {
            id,
            outcome,
            status: None,
            cf_ray: None,
            duration_ms: 0,
            upstream_calls: 1,
            detail: None,
        };
        if self.flaw != Flaw::ForgetsOutcomes {
            store.record_outcome(&row, world.now()).await?;
        }
        if is_done {
            let database = support::lab::database::LabDatabase::new(&world.outside);
            let end = Statement::new(END, vec![run.to_string().into()]);
            database.batch(vec![end]).await?;
        }
        Ok(is_done)
    }
}

impl Motor for Toy {
    fn tick<'a>(
        &'a self,
        gateway: LabGateway<'a>,
        _at: Timestamp,
    ) -> Task<'a, Result<(), StoreError>> {
        Box::pin(async move {
            if self.flaw != Flaw::SweepsNothing && is_open(&gateway).await? {
                // What is not sent now is sent by the next tick.
                let _ = gateway.world.enqueue(&[RunId::from_random(RUN)], 0).await;
            }
            Ok(())
        })
    }

    fn deliver<'a>(&'a self, gateway: LabGateway<'a>, run: RunId) -> Task<'a, Handled> {
        Box::pin(async move {
            match self.purge(&gateway, run).await {
                Ok(true) => Handled::Acknowledged,
                Ok(false) | Err(_) => Handled::Again(5),
            }
        })
    }
}

struct Purge {
    flaw: Flaw,
    allows_repeat: bool,
}

impl Case for Purge {
    fn motor(&self) -> Box<dyn Motor> {
        Box::new(Toy { flaw: self.flaw })
    }

    fn setup(&self, _harness: &Harness) {}

    fn start(&self, harness: &Harness) -> Option<RunId> {
        let run = RunId::from_random(RUN);
        let started = harness.event(async |gateway| {
            let database = support::lab::database::LabDatabase::new(&gateway.world.outside);
            let insert = Statement::new(INSERT, vec![run.to_string().into()]);
            database.batch(vec![insert]).await?;
            // The sweeper sends it should this fail.
            let _ = gateway.world.enqueue(&[run], 0).await;
            Ok::<_, StoreError>(run)
        });
        started?.ok()
    }

    fn effects(&self, harness: &Harness) -> Vec<String> {
        harness.purged()
    }

    fn allows_repeat(&self) -> bool {
        self.allows_repeat
    }
}

#[test]
fn a_motor_that_is_right_passes_every_trial() {
    let case = Purge {
        flaw: Flaw::None,
        allows_repeat: true,
    };
    fail_every_effect(&case);
    fail_twice(&case, 200);
}

#[test]
fn a_repeat_is_found_where_none_is_allowed() {
    let failed = sweep(&Purge {
        flaw: Flaw::None,
        allows_repeat: false,
    });
    let words =
        "2 times instead of 1: c0000000000000000000000000000003 files \"https://example.org/a\"";
    assert!(
        failed.iter().any(|text| text.contains(words)),
        "{failed:#?}"
    );
}

#[test]
fn every_flaw_is_found() {
    for (flaw, words) in [
        (Flaw::SweepsNothing, "a run is open after 200 minutes"),
        (Flaw::SendsFirst, "when 0 intents of it were stored"),
        (Flaw::ForgetsOutcomes, "1 outcomes are unknown"),
        (Flaw::BelievesLostCalls, "0 times instead of 1"),
        (Flaw::DeniesLostCalls, "has other outcomes"),
        (Flaw::SendsTwice, "was sent 2 times when 1 intents"),
    ] {
        let failed = sweep(&Purge {
            flaw,
            allows_repeat: true,
        });
        let found = failed.iter().any(|text| text.contains(words));
        assert!(found, "{flaw:?}: {failed:#?}");
    }
}
