//! Grants that say how often they may be used: counted before the call is recorded and sent.
//!
//! A use is taken once for a call, whatever comes of it. A grant that is used up does not match, so
//! another may still allow the call.

use super::authorize::Plan;
use super::call::{Authorized, Step, Targeted, store_unavailable};
use super::deps::{Gateway, World};
use super::refusal::{Code, Refusal};
use crate::catalog::Method;
use crate::model::json::Json;
use crate::policy::{Counts, Facts, GrantId};
use crate::store::{Counted, Database, Use, WithoutRoom};

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Step 4b: takes one use of each grant by which the call is allowed and that counts.
    pub(super) async fn take_uses<'a>(&self, mut call: Authorized<'a>) -> Step<Authorized<'a>> {
        loop {
            let now = call.call.call.received.arrived;
            let targeted = &call.call;
            // What is about the caller itself, or filtered by what it may see, takes no grant.
            let counted = if matches!(call.plan, Plan::Own(_)) {
                Vec::new()
            } else if let Some(edits) = &targeted.edits {
                let request = targeted.request(Facts::Unread, now);
                edits.counted(targeted.policy(), &request)
            } else {
                let request = targeted.request(targeted.facts(), now);
                targeted.policy().counted(&request)
            };
            let uses = uses(targeted, &counted);
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
            match self.authorize(targeted) {
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
}

/// What is taken of each grant.
fn uses<'c>(call: &'c Targeted<'_>, counted: &[(GrantId, Counts)]) -> Vec<Use<'c>> {
    let deletions = deletions(call);
    let mut uses = Vec::new();
    for (grant, counts) in counted {
        let grant = call.policy().grant_name(*grant);
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
    uses
}

/// How much the call deletes: what a body lists for deletion, or the one thing of a `DELETE`.
fn deletions(call: &Targeted<'_>) -> u32 {
    let body = call.judgement.as_ref().map(|judgement| &judgement.body);
    let is_delete = call.call.verb.method == Method::Delete;
    let listed = match body {
        Some(Json::Array(items)) if is_delete || call.checked.path.ends_with("/bulk/delete") => {
            Some(items.len())
        }
        Some(body) => body.get("deletes").and_then(Json::as_array).map(<[_]>::len),
        None => None,
    };
    listed.map_or(u32::from(is_delete), |count| {
        u32::try_from(count).unwrap_or(u32::MAX)
    })
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
