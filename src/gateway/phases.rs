//! The phase of a ruleset that a call names by its id. It is looked up where a grant, or the
//! gateway's own host names, depend on it, and kept: it never changes for an id.

use super::call::{Step, Targeted};
use super::deps::{Gateway, World};
use super::judge::OwnedFacts;
use super::refusal::{Code, Refusal};
use crate::catalog::Family;
use crate::policy::Thing;
use crate::store::Database;
use crate::upstream::Envelope;

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Adds to a call on a ruleset what its phase is. A ruleset that cannot be seen has none: then
    /// what depends on it is refused.
    pub(super) async fn look_up_phase<'a>(&self, mut call: Targeted<'a>) -> Step<Targeted<'a>> {
        let Some(resolved) = &call.checked.resolved else {
            return Ok(call);
        };
        if resolved.operation.family() != Family::Rulesets {
            return Ok(call);
        }
        let is_write = resolved.operation.is_write();
        let has_own = self.settings.own.as_ref();
        let is_guarded = is_write && has_own.is_some_and(|own| !own.hostnames.is_empty());
        if let Some(id) = resolved.params.get_named("ruleset_id")
            && (is_guarded || call.is_conditioned())
        {
            let id = id.to_owned();
            let marker = format!("/rulesets/{id}");
            let end = call.checked.path.find(&marker).map(|at| at + marker.len());
            let path = end.and_then(|end| call.checked.path.get(..end));
            let path = path.map(str::to_owned);
            let phase = match (self.view.ruleset_phase(&id), path) {
                (Some(phase), _) => Some(phase),
                (None, Some(path)) => match self.phase_at(&path).await {
                    Ok(phase) => phase,
                    Err(refusal) => return Err(call.stop(refusal)),
                },
                (None, None) => None,
            };
            if let Some(phase) = phase {
                self.view.learn_ruleset_phase(id, phase.clone());
                call.named = OwnedFacts::Things(vec![Thing::new(Family::Rulesets, phase)]);
            }
        }
        // Whether rules may reach our own host name depends on the zone's name.
        if let Some(zone) = call.zone.filter(|_| is_guarded) {
            let named = self.zone_name(&call.call.snapshot, zone).await;
            if let Err(refusal) = named {
                return Err(call.stop(refusal));
            }
        }
        Ok(call)
    }

    async fn phase_at(&self, path: &str) -> Result<Option<String>, Refusal> {
        let answer = self.read_upstream(path).await?;
        let status = answer.head.status;
        if status.is_client_error() {
            return Ok(None);
        }
        let phase = answer
            .body
            .as_deref()
            .and_then(Envelope::parse)
            .and_then(|envelope| envelope.result)
            .and_then(|result| serde_json::from_str::<serde_json::Value>(result.get()).ok())
            .and_then(|result| Some(result.get("phase")?.as_str()?.to_owned()));
        match phase {
            Some(phase) => Ok(Some(phase)),
            None => Err(Refusal::new(
                Code::UpstreamUnknown,
                "Cloudflare did not say which phase the ruleset has, so the call could not be judged and nothing was sent.",
            )),
        }
    }
}
