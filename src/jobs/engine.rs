//! Works on a run: takes it up, does what comes next until an invocation is used up or nothing is
//! left, and stores every change before the next effect.
//!
//! What makes a crash harmless:
//! - The intent of a call, that its step is begun, and that the run is still held are stored in one
//!   batch before it is sent; its outcome and what it means for the run in one batch after.
//! - Whoever finds a step begun and without outcome waits until it cannot be on its way any more,
//!   then finds out what became of it, or makes it again where that is harmless.
//! - A message in the queue is only a hint that a run may be taken up. The sweeper sends it again.

mod progress;
mod step;
mod turn;

use super::kind::read_kind;
use super::platform::Platform;
use crate::gateway::Gateway;
use crate::model::RunId;
use crate::run::{Run, RunState};
use crate::store::{Database, Save, StoreError};
use turn::{Held, Turn};

/// Milliseconds a run is held for without a sign of life.
pub const LEASE_MS: i64 = 60_000;
/// Subrequests of one invocation: a free plan's Worker has 50
/// (<https://developers.cloudflare.com/workers/platform/limits/#subrequests>).
pub const SUBREQUESTS: u32 = 50;
/// Runs held at once, and of one kind.
const AT_ONCE: (u32, u32) = (20, 6);

/// Carries out runs and schedules.
#[derive(Debug)]
pub struct Engine<'a, D, P> {
    /// The gate that every call of a run goes through.
    pub gateway: Gateway<'a, D, P>,
}

/// How a run's work came to stop against its will: the run stays held until its lease ends, and is
/// then taken up again.
type Stopped = StoreError;

impl<D: Database, P: Platform> Engine<'_, D, P> {
    /// Works on a run that a message names. A run that is not there, not due, held by another or
    /// at its end is left alone, so that a message may come any number of times.
    pub async fn deliver(&self, id: RunId) {
        if let Err(error) = self.work_on(id).await {
            self.gateway.world.log(&format!("run {id}: {error}"));
        }
    }

    /// Ends a run whose messages failed for good, with that for a reason. Whoever holds it goes on.
    pub async fn bury(&self, id: RunId) {
        const KEEP_DAYS: u32 = 90;
        let reason = "dead_letter: every attempt to work on the run broke off.";
        let Gateway { store, world, .. } = self.gateway;
        match store.end_dead(id, KEEP_DAYS, reason, world.now()).await {
            Ok(true) => world.log(&format!("ALARM: run {id} was ended: {reason}")),
            Ok(false) => {}
            Err(error) => world.log(&format!("end run {id}: {error}")),
        }
    }

    async fn work_on(&self, id: RunId) -> Result<(), Stopped> {
        let Gateway {
            store, world, view, ..
        } = self.gateway;
        let now = world.now();
        view.current(store, now).await?;
        let lease_until = now.plus_ms(LEASE_MS);
        let Some((run, steps)) = store.claim(id, now, lease_until, AT_ONCE).await? else {
            return Ok(());
        };
        let (info, kind) = match read_kind(&run.kind, &run.params) {
            Ok(found) => found,
            Err(why) => {
                let reason = format!("The run cannot be carried out: {why}.");
                return self.end_unreadable(run, reason).await;
            }
        };
        let mut held = Held::new(self, info, kind, run, steps);
        while let Turn::Again = held.turn().await? {}
        Ok(())
    }

    async fn end_unreadable(&self, mut run: Run, reason: String) -> Result<(), Stopped> {
        let now = self.gateway.world.now();
        run.state = if run.goes_on() && !run.dry_run {
            // What is half done cannot be told, nor undone.
            let message = format!("ALARM: run {}: {reason}", run.id);
            self.gateway.world.log(&message);
            RunState::Unknown
        } else {
            RunState::Failed
        };
        run.finished_at = Some(now);
        run.reason = Some(reason.clone());
        let save = Save {
            run: &run,
            lease_until: None,
            enqueued_at: None,
            steps: &[],
            events: &[reason],
            outcome: None,
            now,
        };
        self.gateway.store.save(&save).await.map(drop)
    }

    /// Sends ids to the queue. What cannot be sent is found by the sweeper.
    pub(super) async fn send(&self, runs: &[RunId], delay_secs: u32) {
        // A batch of messages may have 100
        // (<https://developers.cloudflare.com/queues/platform/limits/>).
        for runs in runs.chunks(100) {
            if let Err(error) = self.gateway.world.enqueue(runs, delay_secs).await {
                self.gateway.world.log(&format!("enqueue: {error}"));
            }
        }
    }
}
