//! Step 4: what the policy says of a call, what stands above policy, and how a call that may be made
//! is then carried out.

use super::call::{Authorized, Step, Targeted};
use super::deps::{Gateway, World};
use super::own;
use super::records::{are_looked_up, own_record};
use super::refusal::{Code, Refusal};
use crate::config::document::Effect;
use crate::model::Timestamp;
use crate::policy::{Decision, Facts, Permit, Policy, PrincipalId, Reason, Request};
use crate::store::Database;

/// How an authorised call is carried out.
#[derive(Debug)]
pub(super) enum Plan {
    /// Answered here about the caller itself.
    Own(own::Own),
    /// A list shown as far as the caller may see it.
    FilteredRecords,
    /// A record shown if the caller may see it.
    JudgedRecord,
    /// A zone file of the records that the caller may see.
    FilteredExport,
    /// Handed through; a body that was judged is sent as written again.
    Relay(Permit),
}

/// What the policy says of a call, and how it is carried out if it may be.
#[derive(Debug)]
pub(super) struct Ruling {
    decision: Decision,
    pub(super) plan: Option<Plan>,
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Step 4.
    pub(super) fn authorize<'a>(&self, mut call: Targeted<'a>) -> Step<Authorized<'a>> {
        let now = call.call.received.arrived;
        let policy = call.policy();
        let Ruling { decision, plan } = self.rule(&call, policy, call.call.caller.principal, now);
        let grant = decision
            .grant
            .map(|grant| policy.grant_name(grant).to_owned());
        if call.is_write() && self.settings.own.is_none() {
            return Err(call.stop(Refusal::new(
                Code::Escalation,
                "This Zonekeeper does not know its own resources yet (OWN_ACCOUNT_ID and the vars beside it), so it refuses every write; `npm run deploy` writes them.",
            )));
        }
        if self.is_sql_on_own_database(&call) {
            let message = format!(
                "{} may not {}: it is the database of this Zonekeeper itself, which no grant opens.",
                call.call.name(),
                call.action.infinitive()
            );
            return Err(call.stop(Refusal::new(Code::Escalation, message)));
        }
        if let Some(plan) = plan {
            let reason = match (&plan, decision.reason) {
                (_, Reason::Visible) => "whoever is allowed anything on it may see it".to_owned(),
                (Plan::Own(_), _) => "every caller may ask about itself".to_owned(),
                _ => format!(
                    "allowed by {}",
                    grant.as_deref().unwrap_or("the grants on single records")
                ),
            };
            let action = call
                .edits
                .as_ref()
                .and_then(|edits| edits.action(call.call.verb.method));
            if let Some(action) = action {
                call.action = action;
            }
            return Ok(Authorized {
                call,
                plan,
                grant,
                reason,
            });
        }
        let mut stopped = call.stop(self.denial(&call, &decision, now));
        stopped.grant = grant;
        if decision.effect == Effect::Approve {
            stopped.decision = "approve";
        }
        Err(stopped)
    }

    /// What `policy` says of the call at `now`. Pure, and quick enough to be asked again just
    /// before sending.
    ///
    /// A list or read of records whose grants are limited to some records goes ahead, and each
    /// record that comes back is judged. A write of records is judged by what it does to each of those
    /// that were looked up; as long as they were not, a grant limited to some does not reach it.
    pub(super) fn rule(
        &self,
        call: &Targeted<'_>,
        policy: &Policy,
        principal: PrincipalId,
        now: Timestamp,
    ) -> Ruling {
        let resolved = call.checked.resolved.as_ref();
        if let Some(own) = own::Own::of(resolved.map(|resolved| resolved.operation)) {
            let decision = policy.decide(&Request {
                principal,
                ..call.request(Facts::Unread, now)
            });
            return Ruling {
                decision,
                plan: (decision.is_allowed()
                    || (own.is_about_caller() && decision.grant.is_none()))
                .then_some(Plan::Own(own)),
            };
        }
        if let Some(edits) = &call.edits {
            let request = Request {
                principal,
                ..call.request(Facts::Unread, now)
            };
            let decision = edits.decide(policy, &request);
            return Ruling {
                decision,
                plan: decision.permit().map(Plan::Relay),
            };
        }
        let request = Request {
            principal,
            is_own: self.touches_own_resource(call),
            ..call.request(call.facts(), now)
        };
        let mut decision = policy.decide(&request);
        for before in &call.attached.before {
            if decision.is_allowed() {
                let facts = before.facts();
                decision = policy.decide(&Request { facts, ..request });
            }
        }
        let filter = match resolved.map(|resolved| resolved.operation.name()) {
            Some("dns-records-for-a-zone-list-dns-records") => Some(Plan::FilteredRecords),
            Some("dns-records-for-a-zone-dns-record-details") => Some(Plan::JudgedRecord),
            Some("dns-records-for-a-zone-export-dns-records") => Some(Plan::FilteredExport),
            _ => None,
        };
        let plan = match filter {
            Some(plan) if policy.record_conditions(&request) => Some(plan),
            _ => decision.permit().map(Plan::Relay),
        };
        Ruling { decision, plan }
    }

    fn denial(&self, call: &Targeted<'_>, decision: &Decision, now: Timestamp) -> Refusal {
        let policy = call.policy();
        let (name, action) = (call.call.name(), call.action.infinitive());
        if let Some(edits) = &call.edits {
            let request = call.request(Facts::Unread, now);
            if let Some(refusal) = edits.refusal(policy, &request, name, action) {
                return refusal;
            }
        }
        let is_own = self.touches_own_resource(call);
        let code = match (decision.effect, decision.reason) {
            (Effect::Approve, _) => Code::ApprovalRequired,
            _ if is_own => Code::Escalation,
            (_, Reason::Escalation) => Code::Escalation,
            (_, Reason::UnknownOperation) => Code::UnknownOperation,
            _ => Code::Denied,
        };
        if is_own {
            return Refusal {
                code,
                ..own_record("", name, action)
            };
        }
        let mut request = call.request(call.facts(), now);
        for before in &call.attached.before {
            if policy.decide(&request).is_allowed() {
                request.facts = before.facts();
            }
        }
        let mut message = policy.explain(&request, decision);
        if !message.ends_with('.') {
            message.push('.');
        }
        if decision.reason == Reason::Unjudged
            && call.is_write()
            && policy.record_conditions(&call.request(Facts::Unread, now))
        {
            message.push_str(if are_looked_up(call) {
                " Which records it changes is looked up, and decides, when the call is made."
            } else {
                " What it does to which records cannot be seen beforehand, so a grant that is limited to some records does not reach it."
            });
        }
        Refusal::new(code, message)
    }
}
