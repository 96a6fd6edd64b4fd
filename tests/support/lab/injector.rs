//! Counts effects in order and lets chosen ones fail.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use zonekeeper::upstream::DEADLINE_MS;

use crate::support::world::Clock;

/// How an effect fails, seen from what it was to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not happen, and the caller sees a lost connection.
    ErrorBefore,
    /// It happens, and the caller sees a lost connection.
    ErrorAfter,
    /// It does not happen, and everything in memory is gone.
    KillBefore,
    /// It happens, and everything in memory is gone.
    KillAfter,
    /// The caller waits in vain, for 30 s or as long as its call says. A call upstream happens
    /// after that, once the caller has gone on; everything else has happened by then.
    Timeout,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::KillBefore,
        Self::KillAfter,
        Self::Timeout,
    ];
}

/// What happens before an effect of somebody else.
struct Hook {
    what: &'static str,
    left: usize,
    then: Box<dyn FnOnce()>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} more of {:?}", self.left, self.what)
    }
}

#[derive(Debug, Default)]
struct State {
    hooks: RefCell<Vec<Hook>>,
    effects: RefCell<Vec<String>>,
    planned: RefCell<Vec<(usize, Fault)>>,
    struck: RefCell<Vec<(usize, Fault)>>,
    is_dead: Cell<bool>,
}

/// Counts effects and decides which of them fail. Its copies are one.
#[derive(Debug, Clone)]
pub(crate) struct Injector {
    clock: Clock,
    state: Rc<State>,
}

impl Injector {
    /// One that lets everything pass.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Rc::default(),
        }
    }

    /// The `nth` effect from now on, counted from 1, meets `fault`.
    pub(crate) fn plan(&self, nth: usize, fault: Fault) {
        let at = self.count() + nth;
        self.state.planned.borrow_mut().push((at, fault));
    }

    /// Before the `nth` effect from now on (counted from 1) whose description begins with `what`,
    /// something else happens: so two isolates get into each other's way.
    pub(crate) fn before(&self, what: &'static str, nth: usize, then: impl FnOnce() + 'static) {
        self.state.hooks.borrow_mut().push(Hook {
            what,
            left: nth,
            then: Box::new(then),
        });
    }

    /// The `nth` effect from now on whose description begins with `what` meets `fault`.
    pub(crate) fn fail(&self, what: &'static str, nth: usize, fault: Fault) {
        let injector = self.clone();
        self.before(what, nth, move || injector.plan(0, fault));
    }

    /// How many effects there have been; those that failed count.
    pub(crate) fn count(&self) -> usize {
        self.state.effects.borrow().len()
    }

    /// What each effect was, in order.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.state.effects.borrow().clone()
    }

    /// How many faults have struck.
    pub(crate) fn struck(&self) -> usize {
        self.state.struck.borrow().len()
    }

    /// Whether a kill has struck, and nobody has restarted what it killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.is_dead.get()
    }

    /// What was killed may have effects again.
    pub(crate) fn restart(&self) {
        self.state.is_dead.set(false);
    }

    /// The effects after the first `after`, numbered from 1 on, and the faults they met, a line
    /// each.
    pub(crate) fn describe(&self, after: usize) -> String {
        let struck = self.state.struck.borrow();
        let mut text = String::new();
        for (n, effect) in (1..).zip(self.effects().split_off(after)) {
            write!(text, "\n{n:5}  {effect}").unwrap();
            for (_, fault) in struck.iter().filter(|(at, _)| *at == after + n) {
                write!(text, "  <- {fault:?}").unwrap();
            }
        }
        text
    }

    /// Counts an effect and says what it meets.
    ///
    /// INVARIANT: between a kill and the restart nothing has an effect, not even what ran at the
    /// same time in what was killed, and nothing is counted.
    pub(crate) fn meet(&self, effect: impl FnOnce() -> String) -> Option<Fault> {
        if self.is_dead() {
            return Some(Fault::KillBefore);
        }
        let effect = effect();
        let hooks = self.due_hooks(&effect);
        self.state.effects.borrow_mut().push(effect);
        let number = self.count();
        for hook in hooks {
            (hook.then)();
        }
        let mut planned = self.state.planned.borrow_mut();
        let at = planned.iter().position(|(at, _)| *at == number)?;
        let (_, fault) = planned.remove(at);
        self.state.struck.borrow_mut().push((number, fault));
        Some(fault)
    }

    fn due_hooks(&self, effect: &str) -> Vec<Hook> {
        let mut hooks = self.state.hooks.borrow_mut();
        for hook in hooks.iter_mut().filter(|h| effect.starts_with(h.what)) {
            hook.left -= 1;
        }
        hooks.extract_if(.., |hook| hook.left == 0).collect()
    }

    /// Carries out an effect as `fault` has it; `lost` is what the caller sees of a lost
    /// connection.
    pub(crate) async fn carry_out<T>(
        &self,
        fault: Option<Fault>,
        act: impl Future<Output = T>,
        lost: impl FnOnce() -> T,
    ) -> T {
        match fault {
            None => act.await,
            Some(Fault::ErrorBefore) => lost(),
            Some(Fault::ErrorAfter) => {
                act.await;
                lost()
            }
            Some(Fault::KillBefore) => self.die().await,
            Some(Fault::KillAfter) => {
                act.await;
                self.die().await
            }
            Some(Fault::Timeout) => {
                act.await;
                self.clock.advance_ms(DEADLINE_MS.into());
                lost()
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.state.is_dead.set(true);
        pending().await
    }
}

/// Runs `future` to its end; `None` when a kill struck, and everything it held is dropped.
///
/// Nothing here ever waits, so a future that neither ends nor dies is an error of the test.
pub(crate) fn run<T>(injector: &Injector, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    // Executors of many futures at once give way now and then, and ask to be polled again.
    for _ in 0..100_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
        if injector.is_dead() {
            return None;
        }
    }
    panic!("waits for ever; effects:{}", injector.describe(0));
}
