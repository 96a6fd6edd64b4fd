//! Events on their way to the store: reads, and refusals of unknown callers, in batches.
//!
//! An event waits at most [`WAIT_MS`]; a full batch goes at once. The rows are plain data, so the
//! request whose timer fires writes for all. When the store fails, events are kept and tried again
//! with the next batch, up to [`MAX_WAITING`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use worker::{Context, Delay, console_error};

use super::clock;
use super::isolate::Isolate;
use crate::audit::Event;
use crate::model::Timestamp;
use crate::store::StoreError;

/// How long an event waits for others.
const WAIT_MS: u64 = 400;
/// Events in one batch; each is a few hundred bytes of one bound text.
const BATCH: usize = 100;
/// Events kept while the store fails.
const MAX_WAITING: usize = 5_000;
/// Refusals of unknown callers recorded in a minute by one isolate; the rest are counted only, so
/// that nobody can fill the store by knocking.
const ANONYMOUS_PER_MINUTE: u32 = 60;
/// After so long a timer is taken for lost with its request.
const TIMER_LOST_MS: i64 = 2_000;

/// Events that wait, and whether somebody will write them.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    waiting: RefCell<Vec<Event>>,
    timer_set_at: Cell<Option<Timestamp>>,
    anonymous_minute: Cell<i64>,
    anonymous_count: Cell<u32>,
}

impl Recorder {
    /// Takes an event; `context` is that of the request it belongs to.
    pub(super) fn push(isolate: &Rc<Isolate>, event: Event, context: &Context) {
        let recorder = &isolate.recorder;
        let now = clock::now();
        if event.principal.is_none() && !recorder.admits_anonymous(now) {
            return;
        }
        let count = {
            let mut waiting = recorder.waiting.borrow_mut();
            waiting.push(event);
            waiting.len()
        };
        if count >= BATCH {
            let isolate = Rc::clone(isolate);
            context.wait_until(async move { Self::flush(&isolate).await });
            return;
        }
        let is_set = recorder
            .timer_set_at
            .get()
            .is_some_and(|at| (0..TIMER_LOST_MS).contains(&now.ms_since(at)));
        if !is_set {
            recorder.timer_set_at.set(Some(now));
            let isolate = Rc::clone(isolate);
            context.wait_until(async move {
                Delay::from(Duration::from_millis(WAIT_MS)).await;
                isolate.recorder.timer_set_at.set(None);
                Self::flush(&isolate).await;
            });
        }
    }

    fn admits_anonymous(&self, now: Timestamp) -> bool {
        let minute = now.unix_ms() / 60_000;
        if self.anonymous_minute.replace(minute) != minute {
            let passed_over = self
                .anonymous_count
                .replace(0)
                .saturating_sub(ANONYMOUS_PER_MINUTE);
            if passed_over > 0 {
                console_error!("{passed_over} refusals of unknown callers were not recorded");
            }
        }
        self.anonymous_count.set(self.anonymous_count.get() + 1);
        self.anonymous_count.get() <= ANONYMOUS_PER_MINUTE
    }

    /// Writes everything that waits.
    pub(super) async fn flush(isolate: &Rc<Isolate>) {
        let mut events = isolate.recorder.waiting.take();
        let mut tries = 0;
        while !events.is_empty() {
            let batch = events.get(..BATCH).unwrap_or(&events);
            match isolate.store.record_events(batch).await {
                Ok(()) => {
                    let done = batch.len();
                    events.drain(..done);
                    tries = 0;
                }
                // Another isolate took one of the numbers: number the batch anew.
                Err(StoreError::Conflict) if tries < 3 => {
                    tries += 1;
                    for event in &mut events {
                        event.id = isolate
                            .entry_ids
                            .borrow_mut()
                            .next(event.id.time(), clock::random_u16());
                    }
                }
                Err(error) => {
                    console_error!("record {} events: {error}", events.len());
                    let mut waiting = isolate.recorder.waiting.borrow_mut();
                    let room = MAX_WAITING.saturating_sub(waiting.len());
                    if events.len() > room {
                        console_error!("{} events were lost", events.len() - room);
                        events.truncate(room);
                    }
                    waiting.append(&mut events);
                }
            }
        }
    }
}
