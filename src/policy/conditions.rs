//! What a grant says beyond who, what and where, ready to judge.
//!
//! Of ten thousand grants one call meets a few. So a grant's conditions are compiled when the first
//! call meets it, from the document the policy keeps; before a document is stored, all of them are.

use std::rc::Rc;

use crate::catalog::Family;
use crate::config::Resolution;
use crate::config::document::{self, Document};
use crate::model::AccountId;

use super::compile::{CompileError, CompileProblem};
use super::dns::DnsMatcher;
use super::limits::Limits;
use super::purge::PurgeMatcher;
use super::things::Listed;
use super::workers::WorkersMatcher;
use super::{GrantId, Policy};

/// What a policy was compiled from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) document: Rc<Document>,
    pub(super) resolution: Rc<Resolution>,
}

impl Source {
    /// A grant as written; none for an id of another policy.
    pub(super) fn grant(&self, id: GrantId) -> Option<&document::Grant> {
        self.document.grants.get(id.0 as usize)
    }
}

/// The conditions of one grant. Its end and how often it may be used are kept with the grant.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) limits: Option<Limits>,
    pub(super) dns: Option<DnsMatcher>,
    pub(super) purge: Option<PurgeMatcher>,
    pub(super) workers: Option<WorkersMatcher>,
    listed: Box<[Listed]>,
}

impl Conditions {
    /// Compiles them.
    ///
    /// # Errors
    /// [`CompileProblem::Pattern`] and [`CompileProblem::Prefix`].
    pub(super) fn compile(
        written: &document::Grant,
        at: &Resolution,
    ) -> Result<Self, CompileProblem> {
        let dns = written.dns.as_ref().map(DnsMatcher::compile).transpose();
        let purge = written
            .purge
            .as_ref()
            .map(PurgeMatcher::compile)
            .transpose();
        let is_everywhere = written.accounts.iter().any(|text| text == "*");
        let named = written.accounts.iter();
        let accounts: Vec<AccountId> = named
            .filter_map(|text| at.accounts.get(text))
            .map(|account| account.id)
            .collect();
        let accounts = (!is_everywhere).then_some(&*accounts);
        Ok(Self {
            limits: Limits::compile(written),
            dns: dns.map_err(|(text, error)| CompileProblem::Pattern(text, error))?,
            purge: purge.map_err(CompileProblem::Prefix)?,
            workers: written
                .workers
                .as_ref()
                .map(|it| WorkersMatcher::compile(it, written.effect, at, accounts)),
            listed: Listed::compile(written, at, accounts).into(),
        })
    }

    /// The names listed for a product, if it lists any.
    pub(super) fn listed(&self, family: Family) -> Option<&Listed> {
        self.listed.iter().find(|listed| listed.family == family)
    }
}

impl Policy {
    /// Compiles the conditions of every grant, as is done before a document is stored. A call that
    /// meets one that cannot be compiled is judged as if it might hold and might not.
    ///
    /// # Errors
    /// The first grant whose conditions cannot be compiled, by name.
    pub fn check_conditions(&self) -> Result<(), CompileError> {
        for written in &self.source.document.grants {
            Conditions::compile(written, &self.source.resolution).map_err(|problem| {
                CompileError {
                    grant: Some(written.name.clone()),
                    problem,
                }
            })?;
        }
        Ok(())
    }
}
