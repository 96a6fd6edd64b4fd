//! What belongs to Zonekeeper itself: its script, database, namespace and queues, and whatever could
//! take over, or show to others, what comes in at a host name it answers at. No permission group
//! reaches it, only a grant that names the operation; SQL on its database nothing does.

use super::call::{Step, Targeted};
use super::deps::{Gateway, World};
use super::judge::{self, OwnedFacts, hosts_of, may_match};
use super::records::is_own;
use crate::catalog::{Family, Method, phase_reroutes};
use crate::model::is_within;
use crate::policy::Resource;
use crate::store::Database;

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Whether the path names the gateway's own script, database, namespace or queue, or the body a
    /// host name it answers at; or whether it makes rules for all of a zone that such a name lies in.
    pub(super) fn touches_own_resource(&self, call: &Targeted<'_>) -> bool {
        let (Some(own), Some(resolved)) = (&self.settings.own, &call.checked.resolved) else {
            return false;
        };
        let in_own_account = call.resources.contains(&Resource::Account(own.account));
        let is_named = resolved.params.iter().any(|(_, value)| {
            own.names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(value))
        });
        let is_own_record = call.record_name().is_some_and(|(name, kind)| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            is_own(&own.hostnames, &name, kind)
        });
        let judged = call.judgement.as_ref();
        let hosts = judged.map_or(&[][..], |judgement| &judgement.hosts);
        let takes = |pattern: &String| own.hostnames.iter().any(|host| may_match(pattern, host));
        let takes_host =
            hosts.iter().chain(&call.attached.hosts).any(takes) && self.may_hold_own(call);
        let reroutes = reroutes(call) && (in_own_account || self.may_hold_own(call));
        let by_worker = judged.is_some_and(|it| self.touches_own_by(call, &it.facts))
            || (call.attached.before.iter()).any(|before| self.touches_own_by(call, before));
        (in_own_account && is_named) || is_own_record || takes_host || reroutes || by_worker
    }

    /// Whether what is done to a Worker binds something of the gateway's own, or takes its requests.
    pub(super) fn touches_own_by(&self, call: &Targeted<'_>, facts: &OwnedFacts) -> bool {
        let (Some(own), OwnedFacts::Worker(worker)) = (&self.settings.own, facts) else {
            return false;
        };
        let mut accounts = call.resources.iter().filter_map(|resource| match resource {
            Resource::Account(account) => Some(*account),
            Resource::Zone(_) => None,
        });
        // What lies in a zone only may be of any account.
        let is_there = accounts.next().is_none_or(|account| account == own.account);
        judge::touches(worker, own, is_there)
    }

    /// Whether the call would run SQL on the gateway's own database, or load it with other data.
    pub(super) fn is_sql_on_own_database(&self, call: &Targeted<'_>) -> bool {
        let operation = call
            .checked
            .resolved
            .as_ref()
            .map(|resolved| resolved.operation);
        operation.is_some_and(|operation| {
            operation.family() == Family::D1 && operation.method() == Method::Post
        }) && self.touches_own_resource(call)
    }

    /// Whether a host name of Zonekeeper's own lies in the zone of this name.
    pub(super) fn holds_own(&self, zone_name: &str) -> bool {
        let mut hosts = self.own_hosts().iter();
        hosts.any(|host| is_within(host, zone_name))
    }

    /// The same of the zone of the call. A zone whose name is not known may hold one, unless no grant
    /// lets the call through anyway: then its name was not asked for.
    fn may_hold_own(&self, call: &Targeted<'_>) -> bool {
        call.zone.is_some_and(
            |zone| match self.known_zone_name(&call.call.snapshot, zone) {
                Some(name) => self.holds_own(&name),
                None => {
                    !self.own_hosts().is_empty() && (call.is_conditioned() || call.may_be_allowed())
                }
            },
        )
    }

    fn own_hosts(&self) -> &[String] {
        let own = self.settings.own.as_ref();
        own.map_or(&[], |own| &own.hostnames)
    }

    /// Sees to it that the name of the zone is known where it may hold a host name of our own.
    pub(super) async fn learn_own_zone(&self, call: &Targeted<'_>) -> Step<()> {
        if let Some(zone) = call.zone.filter(|_| !self.own_hosts().is_empty())
            && let Err(refusal) = self.zone_name(call, zone).await
        {
            return Err(call.stop(refusal));
        }
        Ok(())
    }

    /// Adds the host names that a page rule or load balancer has already to those its body names,
    /// where the zone holds one of our own: what it does there is changed, or taken away, as well.
    pub(super) async fn look_up_hosts<'a>(&self, mut call: Targeted<'a>) -> Step<Targeted<'a>> {
        let resolved = call.checked.resolved.as_ref();
        let template = resolved.map_or("", |resolved| resolved.operation.template());
        let takes_hosts = matches!(
            template.split('/').nth(3),
            Some("pagerules" | "load_balancers")
        );
        if !takes_hosts || !call.is_write() || !call.may_be_allowed() {
            return Ok(call);
        }
        self.learn_own_zone(&call).await?;
        if call.call.verb.method == Method::Post || !self.may_hold_own(&call) {
            return Ok(call);
        }
        let found = match self.found(&call, &call.checked.path).await {
            Ok(found) => found,
            Err(refusal) => return Err(call.stop(refusal)),
        };
        if let Some(found) = found {
            call.attached.hosts = hosts_of(&found);
        }
        Ok(call)
    }
}

/// Whether it changes rules that can take requests elsewhere. Rules match by expressions, which
/// are not read: any of them may mean any host name of the zone.
fn reroutes(call: &Targeted<'_>) -> bool {
    let Some(resolved) = &call.checked.resolved else {
        return false;
    };
    let facts = call.judgement.as_ref().map(|judgement| &judgement.facts);
    let facts = facts.filter(|facts| !matches!(facts, OwnedFacts::None));
    let phases = match facts.unwrap_or(&call.named) {
        OwnedFacts::Things(things) => things.as_slice(),
        _ => &[],
    };
    resolved.operation.family() == Family::Rulesets
        && resolved.operation.is_write()
        && phases.iter().any(|phase| phase_reroutes(&phase.name))
}
