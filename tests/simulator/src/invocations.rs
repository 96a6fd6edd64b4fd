//! How often each version of a Worker was invoked, and how often that failed: what the dataset
//! `workersInvocationsAdaptive` is made of as soon as anything happened.
//!
//! It is fed by requests to served Workers and by `POST /__sim/sites/{script}/invocations`.

use std::collections::VecDeque;

use crate::clock::Now;

/// Entries kept; the oldest go first.
const MAX_ENTRIES: usize = 200_000;

/// Some invocations of one version at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) account: String,
    pub(crate) script: String,
    pub(crate) version: String,
    pub(crate) at: Now,
    /// All of them, failed ones included.
    pub(crate) requests: u64,
    /// INVARIANT: at most `requests`.
    pub(crate) errors: u64,
}

/// All invocations, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Invocations {
    list: VecDeque<Invocation>,
}

impl Invocations {
    /// Writes down some invocations.
    pub(crate) fn add(&mut self, more: Invocation) {
        self.list.push_back(more);
        if self.list.len() > MAX_ENTRIES {
            self.list.pop_front();
        }
    }

    /// Those of an account.
    pub(crate) fn of<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Invocation> {
        self.list.iter().filter(move |one| one.account == account)
    }
}
