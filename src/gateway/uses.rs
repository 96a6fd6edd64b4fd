//! Grants that say how often they may be used: counted before the call is recorded and sent.
//!
//! A use is taken once for a call, whatever comes of it. A grant that is used up does not match, so
//! another may still allow the call, unless it looks at the body otherwise than it was judged.

use super::authorize::Plan;
use super::call::{Authorized, Step, Targeted, store_unavailable};
use super::deps::{Gateway, World};
use super::judge::OwnedFacts;
use super::refusal::{Code, Refusal};
use crate::model::Timestamp;
use crate::policy::{Counts, Facts, GrantId, Policy, PrincipalId, Request};
use crate::store::{Counted, Database, Use, WithoutRoom};

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Step 4b: takes one use of each grant by which the call is allowed and that counts.
    pub(super) async fn take_uses<'a>(&self, mut call: Authorized<'a>) -> Step<Authorized<'a>> {
        loop {
            let now = call.call.call.received.arrived;
            let targeted = &call.call;
            let (policy, caller) = (targeted.policy(), targeted.call.caller.principal);
            let counted = self.counted(targeted, &call.plan, policy, caller, now);
            let Some(uses) = uses(targeted, &counted) else {
                return Err(targeted.stop(uncounted(targeted)));
            };
            if uses.is_empty() {
                return Ok(call);
            }
            let taken = match self.store.take_uses(&uses, now).await {
                Ok(taken) => taken,
                Err(error) => {
                    self.world
                        .log(&format!("count the uses of a grant: {error}"));
                    return Err(targeted.stop(store_unavailable()));
                }
            };
            let Some(without) = taken else {
                return Ok(call);
            };
            let Some((grant, one)) = uses.get(without.number).and_then(|one| {
                let known =
                    |id: &&(GrantId, Counts)| targeted.policy().grant_name(id.0) == one.grant;
                counted.iter().find(known).map(|(grant, _)| (*grant, *one))
            }) else {
                return Err(targeted.stop(store_unavailable()));
            };
            let refusal = used_up(targeted, &one, without);
            let mut targeted = call.call;
            targeted.used_up.push(grant);
            let request = targeted.request(targeted.named.facts(), now);
            let reads_as_before = targeted.reads_as_before(targeted.policy(), &request);
            match self.authorize(targeted) {
                Ok(other) if !reads_as_before => return Err(other.call.stop(refusal)),
                Ok(other) => call = other,
                Err(mut stopped) => {
                    if stopped.decision == "deny" && stopped.grant.is_none() {
                        stopped.refusal = refusal;
                    }
                    return Err(stopped);
                }
            }
        }
    }

    /// The grants that count how often they are used and by which `policy` allows the call, and what it
    /// replaces.
    pub(super) fn counted(
        &self,
        call: &Targeted<'_>,
        plan: &Plan,
        policy: &Policy,
        principal: PrincipalId,
        now: Timestamp,
    ) -> Vec<(GrantId, Counts)> {
        let mut found = Vec::new();
        // What is about the caller itself, or filtered by what it may see, takes no grant.
        if matches!(plan, Plan::Own(_)) {
            return found;
        }
        let request = Request {
            principal,
            ..call.request(Facts::Unread, now)
        };
        if let Some(edits) = &call.edits {
            edits.count(policy, &request, &mut found);
            return found;
        }
        let is_own = self.touches_own_resource(call);
        let before = call.attached.before.iter().map(OwnedFacts::facts);
        for facts in [call.facts()].into_iter().chain(before) {
            let request = Request {
                facts,
                is_own,
                ..request
            };
            policy.count(&request, &mut found);
        }
        found
    }
}

/// What is taken of each grant; `None` when one counts deletions and those of the call cannot be told.
fn uses<'c>(call: &'c Targeted<'_>, counted: &[(GrantId, Counts)]) -> Option<Vec<Use<'c>>> {
    let mut uses = Vec::new();
    for (grant, counts) in counted {
        let grant = call.policy().grant_name(*grant);
        let deletions = match counts.max_deletes_per_hour {
            Some(_) => call.deletions()?,
            None => 0,
        };
        for (counted, most, cost) in [
            (Counted::CallsAMinute, counts.per_minute, 1),
            (
                Counted::DeletionsAnHour,
                counts.max_deletes_per_hour,
                deletions,
            ),
            (Counted::Calls, counts.max_uses, 1),
        ] {
            if let Some(most) = most.filter(|_| cost > 0) {
                uses.push(Use {
                    grant,
                    counted,
                    cost,
                    most,
                });
            }
        }
    }
    Some(uses)
}

/// The refusal of a call that deletes nobody can tell how much, where that counts.
pub(super) fn uncounted(call: &Targeted<'_>) -> Refusal {
    let (who, action) = (call.call.name(), call.action.infinitive());
    let message = format!(
        "{who} may not {action}: its grant counts deletions, and how many these are cannot be told; they are counted only where a JSON body lists them, in one list and with nothing beside it, without a query."
    );
    Refusal::new(Code::Denied, message)
}

fn used_up(call: &Targeted<'_>, one: &Use<'_>, without: WithoutRoom) -> Refusal {
    let who = call.call.name();
    let action = call.action.infinitive();
    let Use {
        grant, most, cost, ..
    } = one;
    let (code, why) = match one.counted {
        Counted::Calls => (
            Code::UsedUp,
            format!("allows {most} calls in all, and all of them are used"),
        ),
        Counted::CallsAMinute => (
            Code::RateLimited,
            format!("allows {most} calls a minute, and they are used"),
        ),
        Counted::DeletionsAnHour => (
            Code::UsedUp,
            format!(
                "allows {most} deletions an hour, too few are left for {cost}, and there may be \
                 room again in {} s",
                without.retry_after_secs.unwrap_or(3600)
            ),
        ),
    };
    let mut refusal = Refusal::new(
        code,
        format!("{who} may not {action} now: the grant {grant} {why}."),
    );
    if code == Code::RateLimited {
        refusal.retry_after_secs = without.retry_after_secs;
    }
    refusal
}
