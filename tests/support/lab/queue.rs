//! A queue on the test clock: delivery at least once, after a delay, and loss where it is asked for.

use std::cell::{Cell, RefCell};

use crate::support::world::Clock;

/// What a crash does to messages that were delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unacked {
    /// They come again, as in production.
    Redelivered,
    /// They are gone, as after a purge of the queue or in workerd.
    Lost,
}

/// A delivered message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message<M> {
    /// Names the message over all its deliveries.
    pub(crate) number: u64,
    /// What was sent.
    pub(crate) body: M,
    /// Which delivery this is, from 1 on.
    pub(crate) attempt: u32,
}

#[derive(Debug)]
struct Kept<M> {
    message: Message<M>,
    due_ms: i64,
    is_delivered: bool,
}

/// Messages, in the order they were sent.
#[derive(Debug)]
pub(crate) struct Queue<M> {
    kept: RefCell<Vec<Kept<M>>>,
    sent: Cell<u64>,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self {
            kept: RefCell::default(),
            sent: Cell::new(0),
        }
    }
}

impl<M: Clone> Queue<M> {
    /// Sends a message that is due after `delay_secs`.
    pub(crate) fn send(&self, clock: &Clock, body: M, delay_secs: u32) {
        let number = self.sent.get() + 1;
        self.sent.set(number);
        self.kept.borrow_mut().push(Kept {
            message: Message {
                number,
                body,
                attempt: 0,
            },
            due_ms: clock.now().plus_ms(i64::from(delay_secs) * 1000).unix_ms(),
            is_delivered: false,
        });
    }

    /// Delivers the next message that is due: the one that has been due for longest.
    pub(crate) fn deliver(&self, clock: &Clock) -> Option<Message<M>> {
        let now_ms = clock.now().unix_ms();
        let mut kept = self.kept.borrow_mut();
        let next = kept
            .iter_mut()
            .filter(|kept| !kept.is_delivered && kept.due_ms <= now_ms)
            .min_by_key(|kept| kept.due_ms)?;
        next.is_delivered = true;
        next.message.attempt += 1;
        Some(next.message.clone())
    }

    /// Ends a message.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.kept
            .borrow_mut()
            .retain(|kept| kept.message.number != number);
    }

    /// Asks for a message again after `delay_secs`.
    pub(crate) fn retry(&self, clock: &Clock, number: u64, delay_secs: u32) {
        let due_ms = clock.now().plus_ms(i64::from(delay_secs) * 1000).unix_ms();
        let mut kept = self.kept.borrow_mut();
        for kept in kept.iter_mut().filter(|k| k.message.number == number) {
            kept.is_delivered = false;
            kept.due_ms = due_ms;
        }
    }

    /// What a crash of the consumer does to the messages it held.
    pub(crate) fn crash(&self, unacked: Unacked) {
        let mut kept = self.kept.borrow_mut();
        match unacked {
            Unacked::Lost => kept.retain(|kept| !kept.is_delivered),
            Unacked::Redelivered => kept.iter_mut().for_each(|kept| kept.is_delivered = false),
        }
    }

    /// Loses every message.
    pub(crate) fn purge(&self) {
        self.kept.borrow_mut().clear();
    }

    /// The messages that are not acknowledged, due or not.
    pub(crate) fn waiting(&self) -> Vec<M> {
        let kept = self.kept.borrow();
        kept.iter().map(|kept| kept.message.body.clone()).collect()
    }
}
