//! Blobs that survive a crash, and of which a reader may see an older state, as with KV.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Blobs by key.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    /// Every state of a key, oldest first; `None` where it was deleted.
    states: RefCell<BTreeMap<String, Vec<Option<Vec<u8>>>>>,
    is_stale: Cell<bool>,
}

impl Blobs {
    /// From now on readers see the state before the last change of each key, or again the last.
    pub(crate) fn set_stale(&self, is_stale: bool) {
        self.is_stale.set(is_stale);
    }

    /// Stores a blob, or with `None` deletes it.
    pub(crate) fn put(&self, key: &str, bytes: Option<Vec<u8>>) {
        let mut states = self.states.borrow_mut();
        states.entry(key.to_owned()).or_default().push(bytes);
    }

    /// What a reader sees.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let states = self.states.borrow();
        let states = states.get(key)?;
        let back = if self.is_stale.get() { 2 } else { 1 };
        states.get(states.len().checked_sub(back)?)?.clone()
    }

    /// The keys that hold something, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let states = self.states.borrow();
        states
            .iter()
            .filter(|(_, states)| states.last().is_some_and(Option::is_some))
            .map(|(key, _)| key.clone())
            .collect()
    }
}
