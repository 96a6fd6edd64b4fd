//! Counts the subrequests of one invocation.

use std::cell::Cell;
use std::rc::Rc;

/// How many subrequests were made: D1, fetch, KV and queue calls. Its copies count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Rc<Cell<u32>>);

impl Meter {
    /// Counts one more.
    pub(super) fn count(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// How many there were.
    pub(super) fn read(&self) -> u32 {
        self.0.get()
    }
}
