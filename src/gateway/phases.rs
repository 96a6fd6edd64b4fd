//! The phase of a ruleset that a call names by its id. It is looked up where a grant depends on it,
//! and kept: it never changes for an id.

use super::call::{Step, Targeted};
use super::deps::{Gateway, World};
use super::judge::OwnedFacts;
use super::lookup::field;
use super::refusal::Refusal;
use crate::catalog::Family;
use crate::policy::Thing;
use crate::store::Database;

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Adds to a call on a ruleset what its phase is. A ruleset that is not there has none: then what
    /// depends on it is refused. Nothing is looked up for a caller whom no grant could let through.
    pub(super) async fn look_up_phase<'a>(&self, mut call: Targeted<'a>) -> Step<Targeted<'a>> {
        let resolved = call.checked.resolved.as_ref();
        let Some(resolved) = resolved.filter(|it| it.operation.family() == Family::Rulesets) else {
            return Ok(call);
        };
        let is_conditioned = call.is_conditioned();
        if let Some(id) = resolved.params.get_named("ruleset_id")
            && is_conditioned
        {
            let phase = match self.phase_of(&call, id).await {
                Ok(phase) => phase,
                Err(refusal) => return Err(call.stop(refusal)),
            };
            let thing = |phase| vec![Thing::new(Family::Rulesets, phase)];
            call.named = phase.map_or(OwnedFacts::None, |phase| OwnedFacts::Things(thing(phase)));
        }
        // Whether rules may reach our own host name depends on the zone's name.
        if call.is_write() && (is_conditioned || call.may_be_allowed()) {
            self.learn_own_zone(&call).await?;
        }
        Ok(call)
    }

    async fn phase_of(&self, call: &Targeted<'_>, id: &str) -> Result<Option<String>, Refusal> {
        if let Some(phase) = self.view.ruleset_phase(id) {
            return Ok(Some(phase));
        }
        let path = &call.checked.path;
        let end = path.find(id).map_or(path.len(), |at| at + id.len());
        let ruleset = path.get(..end).unwrap_or(path);
        let Some(found) = self.found(call, ruleset).await? else {
            return Ok(None);
        };
        let phase = field(&found, "phase")?.to_owned();
        self.view.learn_ruleset_phase(id.to_owned(), phase.clone());
        Ok(Some(phase))
    }
}
