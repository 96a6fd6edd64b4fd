//! `ZoneObject`, one for each zone, named by the zone's id: whose turn it is at the zone's records.
//!
//! Calls, made by `bridge.js`: `POST /lock` waits for the turn and answers 200 with `<fence> <ms
//! waited>`, or 503 when it did not come; `POST /unlock` with a fence gives it back.
//!
//! Stored, under `turn`: `<fence> <held until, Unix milliseconds, or 0>`. INVARIANT: a fence is answered
//! only once it is stored, so that a restart forgets no turn that somebody has. Who waits is kept in
//! memory: those calls end with the object. The one read of the store, before anything is decided, is
//! covered by the input gate; after it nothing is awaited between a decision and its taking effect.
//!
//! All that is decided here is [`ZoneLock::transition`]. Turns end by themselves at their time, so no
//! alarm is set.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};
use worker::{Delay, DurableObject, Env, Request, Response, State, durable_object, wasm_bindgen};

use super::super::clock;
use crate::gateway::{Command, Ticket, Turn, ZoneLock};
use crate::model::Timestamp;

/// The key under which the turn is stored.
const TURN: &str = "turn";

/// Whose turn it is at the records of one zone.
#[durable_object(alarm)]
pub struct ZoneObject {
    state: State,
    /// `None` until it was read from the store.
    lock: RefCell<Option<ZoneLock>>,
    next_ticket: Cell<u64>,
    /// How often the line moved, and whom to wake when it does.
    moves: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl DurableObject for ZoneObject {
    fn new(state: State, _env: Env) -> Self {
        Self {
            state,
            lock: RefCell::default(),
            next_ticket: Cell::default(),
            moves: Cell::default(),
            wakers: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        self.load().await?;
        if request.path() == "/lock" {
            return self.lock().await;
        }
        let fence = request.text().await?.parse();
        let fence: u64 = fence.map_err(|_| worker::Error::from("the fence is no number"))?;
        self.transition(Command::GiveBack(fence));
        self.wake();
        self.store().await?;
        Response::ok("")
    }

    async fn alarm(&self) -> worker::Result<Response> {
        Response::ok("")
    }
}

impl ZoneObject {
    /// Reads what is stored, once.
    async fn load(&self) -> worker::Result<()> {
        if self.lock.borrow().is_some() {
            return Ok(());
        }
        let stored: Option<String> = self.state.storage().get(TURN).await?;
        let restored = match stored {
            None => ZoneLock::default(),
            Some(text) => {
                let numbers = text
                    .split_once(' ')
                    .and_then(|(fence, until)| Some((fence.parse().ok()?, until.parse().ok()?)));
                let (fence, until) =
                    numbers.ok_or_else(|| worker::Error::from("the stored turn cannot be read"))?;
                let until = Timestamp::from_unix_ms(until);
                ZoneLock::restored(fence, (until.unix_ms() > 0).then_some(until))
            }
        };
        self.lock.borrow_mut().get_or_insert(restored);
        Ok(())
    }

    async fn store(&self) -> worker::Result<()> {
        let kept = self.lock.borrow().as_ref().map(ZoneLock::kept);
        let (fence, until) = kept.unwrap_or_default();
        let until = until.map_or(0, Timestamp::unix_ms);
        let storage = self.state.storage();
        storage.put(TURN, format!("{fence} {until}")).await
    }

    fn transition(&self, command: Command) -> Turn {
        let mut lock = self.lock.borrow_mut();
        lock.get_or_insert_default()
            .transition(command, clock::now())
    }

    /// Everybody in line looks again whether it is their turn.
    fn wake(&self) {
        self.moves.set(self.moves.get() + 1);
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    async fn lock(&self) -> worker::Result<Response> {
        let number = self.next_ticket.get();
        self.next_ticket.set(number + 1);
        let drawn = clock::now();
        let ticket = Ticket { number, drawn };
        loop {
            let before = self.moves.get();
            match self.transition(Command::Ask(ticket)) {
                Turn::Granted(fence) => {
                    if let Err(error) = self.store().await {
                        // What is not stored nobody has.
                        self.transition(Command::GiveBack(fence));
                        self.wake();
                        return Err(error);
                    }
                    let waited = clock::now().ms_since(drawn);
                    return Response::ok(format!("{fence} {waited}"));
                }
                Turn::Wait(until) => {
                    let ms = until.ms_since(clock::now()).max(1);
                    let time = Delay::from(Duration::from_millis(ms.unsigned_abs()));
                    let moved = poll_fn(|context| {
                        if self.moves.get() != before {
                            return Poll::Ready(());
                        }
                        self.wakers.borrow_mut().push(context.waker().clone());
                        Poll::Pending
                    });
                    if let Either::Right(_) = select(moved, time).await {
                        // The one in front may be gone: everybody looks again.
                        self.wake();
                    }
                }
                Turn::TooLate | Turn::Noted => return Response::error("busy", 503),
            }
        }
    }
}
