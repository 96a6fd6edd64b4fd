//! The compiled policy and its decision: may this principal make this call now?
//!
//! [`compile`] turns the document as written into an immutable [`Policy`]; preview, validation and
//! execution share it. Deciding is pure: no clock, no I/O, nothing asynchronous. Denied unless
//! allowed; deny wins over approve, approve over allow; what cannot be judged works against the
//! caller. A [`Decision`] is small; its words are made by [`Policy::explain`] only when asked for.
//!
//! INVARIANT: the answer of [`Policy::decide`] depends on the policy and the request only.

mod compile;
mod conditions;
mod counted;
mod decide;
mod decision;
mod dns;
mod explain;
mod failure;
mod grant;
mod index;
mod items;
mod limits;
mod network;
mod purge;
mod request;
mod template;
mod things;
mod visible;
mod workers;

pub use compile::{CompileError, CompileProblem, compile};
pub use decide::Pushdown;
pub use decision::{Decision, Effect, GrantId, Permit, PrincipalId, Reason};
pub use limits::{Counts, Moment};
pub use request::{Facts, PurgeFacts, RecordFacts, Request, Resource, Target};
pub use things::Thing;
pub use visible::Visible;
pub use workers::{WorkerFacts, WorkerPart};

use std::rc::Rc;

use crate::model::{AccountId, ZoneId};

/// A configuration document compiled for deciding. A value: it never changes.
#[derive(Debug)]
pub struct Policy {
    /// Sorted by name; a [`PrincipalId`] is the position.
    principals: Vec<index::Principal>,
    /// What it was compiled from.
    source: Rc<conditions::Source>,
    /// In document order; a [`GrantId`] is the position.
    grants: Vec<grant::Grant>,
    /// Sorted by id; a scope of the index names the position.
    zones: Vec<(ZoneId, Box<str>)>,
    accounts: Vec<(AccountId, Box<str>)>,
    /// What grants name that the catalogue does not know, sorted.
    templates: Vec<template::Template>,
    index: index::Index,
    visible: visible::Index,
    /// Whether any grant counts its uses.
    counts: bool,
}

impl Policy {
    /// The principal of this name.
    #[must_use]
    pub fn principal(&self, name: &str) -> Option<PrincipalId> {
        let position = self
            .principals
            .binary_search_by(|p| (*p.name).cmp(name))
            .ok()?;
        u32::try_from(position).ok().map(PrincipalId)
    }

    /// The name of a principal; empty for an id of another policy.
    #[must_use]
    pub fn principal_name(&self, id: PrincipalId) -> &str {
        self.entry(id).map_or("", |principal| &principal.name)
    }

    /// The name of a grant; empty for an id of another policy.
    #[must_use]
    pub fn grant_name(&self, id: GrantId) -> &str {
        self.grant(id).map_or("", grant::Grant::name)
    }

    fn entry(&self, id: PrincipalId) -> Option<&index::Principal> {
        self.principals.get(id.0 as usize)
    }

    fn grant(&self, id: GrantId) -> Option<&grant::Grant> {
        self.grants.get(id.0 as usize)
    }
}
