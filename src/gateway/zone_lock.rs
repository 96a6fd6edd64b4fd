//! The turn at the records of a zone: between a look-up and the write that was judged by it, no other
//! write by id may go through the gateway.
//!
//! A turn is a lease. Whoever asks waits in line; whoever is gone loses it when it ends. The logic is
//! pure; `edge` keeps it in the zone's Durable Object.

use std::collections::VecDeque;

use crate::model::{Timestamp, ZoneId};

/// Milliseconds a turn lasts unless it is given back. Whatever was sent within
/// [`LOCK_SEND_WITHIN_MS`] has ended by then, also where its answer was lost.
pub const LOCK_LEASE_MS: i64 = 50_000;
/// Milliseconds of a turn within which its write must be sent: its deadline of 30 s and the 5 s that
/// Cloudflare may need after that still lie within the lease.
pub const LOCK_SEND_WITHIN_MS: i64 = 14_000;
/// Milliseconds somebody waits in line before being told to come again.
pub const LOCK_WAIT_MS: i64 = 10_000;
/// As many wait in line at the most.
const MAX_WAITING: usize = 500;

/// The turn at the records of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The zone.
    pub zone: ZoneId,
    /// Its number; a later turn has a higher one.
    pub fence: u64,
    /// When it began at the earliest, by the clock of whoever has it.
    pub since: Timestamp,
}

/// Why there is no turn to be had. Nothing was sent in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFault {
    /// Others had it for as long as was waited.
    Busy,
    /// Whoever keeps the line cannot be reached.
    Unreachable,
}

/// A place in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its number, given out once.
    pub number: u64,
    /// When it was drawn.
    pub drawn: Timestamp,
}

/// What is asked of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Whether it is this one's turn.
    Ask(Ticket),
    /// The turn with this fence is over.
    GiveBack(u64),
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is, under this fence.
    Granted(u64),
    /// Not yet; to be asked again when the line moved, at this instant at the latest.
    Wait(Timestamp),
    /// It will not be: the wait is over, or the line too long.
    TooLate,
    /// Taken note of.
    Noted,
}

/// The line at one zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneLock {
    fence: u64,
    held_until: Option<Timestamp>,
    waiting: VecDeque<Ticket>,
}

impl ZoneLock {
    /// The line after a restart, with what was kept of it: the highest fence, and until when it holds.
    #[must_use]
    pub fn restored(fence: u64, held_until: Option<Timestamp>) -> Self {
        Self {
            fence,
            held_until,
            waiting: VecDeque::new(),
        }
    }

    /// The highest fence, and until when it holds: what must be kept.
    #[must_use]
    pub fn kept(&self) -> (u64, Option<Timestamp>) {
        (self.fence, self.held_until)
    }

    /// Carries out a command at `now`.
    pub fn transition(&mut self, command: Command, now: Timestamp) -> Turn {
        match command {
            Command::Ask(ticket) => self.ask(ticket, now),
            Command::GiveBack(fence) => {
                // An older turn ended by itself; the one that goes on is another's.
                if fence == self.fence {
                    self.held_until = None;
                }
                Turn::Noted
            }
        }
    }

    fn ask(&mut self, ticket: Ticket, now: Timestamp) -> Turn {
        let gives_up = |ticket: &Ticket| ticket.drawn.plus_ms(LOCK_WAIT_MS);
        // Whoever does not come back any more must not keep the others waiting.
        self.waiting.retain(|waiting| now < gives_up(waiting));
        let is_waiting = self.waiting.contains(&ticket);
        if now >= gives_up(&ticket) || (!is_waiting && self.waiting.len() >= MAX_WAITING) {
            return Turn::TooLate;
        }
        if !is_waiting {
            self.waiting.push_back(ticket);
        }
        match self.held_until.filter(|until| now < *until) {
            None if self.waiting.front() == Some(&ticket) => {
                self.waiting.pop_front();
                self.fence += 1;
                self.held_until = Some(now.plus_ms(LOCK_LEASE_MS));
                Turn::Granted(self.fence)
            }
            Some(until) => Turn::Wait(until.min(gives_up(&ticket))),
            // The one in front is asking, or gives up before this one does.
            None => Turn::Wait(
                self.waiting
                    .front()
                    .map_or_else(|| gives_up(&ticket), gives_up)
                    .min(gives_up(&ticket)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn ticket(number: u64, drawn_ms: i64) -> Ticket {
        Ticket {
            number,
            drawn: T0.plus_ms(drawn_ms),
        }
    }

    fn ask(lock: &mut ZoneLock, ticket: Ticket, at_ms: i64) -> Turn {
        lock.transition(Command::Ask(ticket), T0.plus_ms(at_ms))
    }

    #[test]
    fn e3_turns_are_given_one_by_one_in_the_order_they_were_asked_for() {
        let mut lock = ZoneLock::default();
        assert_eq!(ask(&mut lock, ticket(1, 0), 0), Turn::Granted(1));
        let (second, third) = (ticket(2, 1), ticket(3, 2));
        let end_of = |ticket: Ticket| ticket.drawn.plus_ms(LOCK_WAIT_MS);
        assert_eq!(ask(&mut lock, second, 1), Turn::Wait(end_of(second)));
        assert_eq!(ask(&mut lock, third, 2), Turn::Wait(end_of(third)));
        lock.transition(Command::GiveBack(1), T0.plus_ms(5));
        // The line moves, but nobody overtakes.
        assert_eq!(ask(&mut lock, third, 5), Turn::Wait(end_of(second)));
        assert_eq!(ask(&mut lock, second, 5), Turn::Granted(2));
        lock.transition(Command::GiveBack(2), T0.plus_ms(6));
        assert_eq!(ask(&mut lock, third, 6), Turn::Granted(3));
    }

    #[test]
    fn a_turn_ends_by_itself_and_cannot_end_another() {
        let mut lock = ZoneLock::default();
        assert_eq!(ask(&mut lock, ticket(1, 0), 0), Turn::Granted(1));
        let late = LOCK_LEASE_MS - 3;
        let second = ticket(2, late);
        let end = T0.plus_ms(LOCK_LEASE_MS);
        assert_eq!(ask(&mut lock, second, late), Turn::Wait(end));
        assert_eq!(ask(&mut lock, second, late + 2), Turn::Wait(end));
        assert_eq!(ask(&mut lock, second, LOCK_LEASE_MS), Turn::Granted(2));
        // The first one comes back from the dead.
        lock.transition(Command::GiveBack(1), T0.plus_ms(LOCK_LEASE_MS + 1));
        let third = ticket(3, LOCK_LEASE_MS + 1);
        assert!(matches!(
            ask(&mut lock, third, LOCK_LEASE_MS + 1),
            Turn::Wait(_)
        ));
    }

    #[test]
    fn whoever_waited_long_enough_is_told_to_come_again() {
        let mut lock = ZoneLock::default();
        ask(&mut lock, ticket(1, 0), 0);
        let second = ticket(2, 0);
        assert!(matches!(
            ask(&mut lock, second, LOCK_WAIT_MS - 1),
            Turn::Wait(_)
        ));
        assert_eq!(ask(&mut lock, second, LOCK_WAIT_MS), Turn::TooLate);
        // It is out of the line then.
        lock.transition(Command::GiveBack(1), T0.plus_ms(LOCK_WAIT_MS));
        assert_eq!(
            ask(&mut lock, ticket(3, LOCK_WAIT_MS), LOCK_WAIT_MS),
            Turn::Granted(2)
        );
    }

    #[test]
    fn whoever_is_gone_from_the_line_does_not_hold_it_up() {
        let mut lock = ZoneLock::default();
        ask(&mut lock, ticket(1, 0), 0);
        let (lost, next) = (ticket(2, 0), ticket(3, 100));
        for waiting in [lost, next] {
            ask(&mut lock, waiting, 100);
        }
        lock.transition(Command::GiveBack(1), T0.plus_ms(200));
        // The lost one never asks again, and is in front until its wait is over.
        let front_ends = lost.drawn.plus_ms(LOCK_WAIT_MS);
        assert_eq!(ask(&mut lock, next, 200), Turn::Wait(front_ends));
        assert_eq!(ask(&mut lock, next, LOCK_WAIT_MS), Turn::Granted(2));
    }

    #[test]
    fn a_line_that_is_too_long_takes_nobody_in() {
        let mut lock = ZoneLock::default();
        for number in 0..=MAX_WAITING as u64 {
            assert_ne!(ask(&mut lock, ticket(number, 0), 0), Turn::TooLate);
        }
        assert_eq!(ask(&mut lock, ticket(9_999, 0), 0), Turn::TooLate);
        assert!(matches!(ask(&mut lock, ticket(7, 0), 1), Turn::Wait(_)));
    }

    #[test]
    fn a_restart_forgets_the_line_but_not_whose_turn_it_is() {
        let mut lock = ZoneLock::default();
        ask(&mut lock, ticket(1, 0), 0);
        ask(&mut lock, ticket(2, 0), 0);
        let (fence, held_until) = lock.kept();
        let mut lock = ZoneLock::restored(fence, held_until);
        let next = ticket(1, 10);
        assert!(matches!(ask(&mut lock, next, 10), Turn::Wait(_)));
        lock.transition(Command::GiveBack(1), T0.plus_ms(20));
        assert_eq!(ask(&mut lock, next, 20), Turn::Granted(2));
    }
}
