//! A call on its way through the pipeline, as types that consume each other.
//!
//! Each step takes the one before and can refuse; [`Authorized`] is the only one that can be
//! executed, and only a decision of the policy makes it.

use std::cell::Cell;
use std::rc::Rc;

use super::asset_jwt;
use super::authorize::Plan;
use super::carry::Acting;
use super::inbound::{Inbound, Verb};
use super::judge::{self, Attached, Judgement, OwnedFacts, Surroundings};
use super::records::Edits;
use super::refusal::{Code, Refusal};
use super::target::{Checked, NonCanonical, PREFIX, RawTarget, check, query_param};
use super::view::{Caller, Snapshot};
use crate::audit::{Action, What, Who, describe};
use crate::catalog::{BodyClass, Deprecation, Family, Judged, Method, Resolved, Scope};
use crate::cron::TimeZones;
use crate::identity::CredentialError;
use crate::model::json::Json;
use crate::model::{Secret, Timestamp, ZoneId};
use crate::policy::{Facts, GrantId, Moment, Policy, Request, Resource, Target};
use crate::store::AssetJwt;

/// A call below `/client/v4`, as it came.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) inbound: &'a Inbound<'a>,
    pub(super) raw: RawTarget<'a>,
    pub(super) arrived: Timestamp,
    pub(super) origin: &'a str,
    /// The run that makes the call, where no caller does.
    pub(super) acting: Option<&'a Acting<'a>>,
    /// Who knows the time zones of conditions.
    pub(super) zones: &'a dyn TimeZones,
}

/// A call whose caller is known.
#[derive(Debug)]
pub(super) struct Authenticated<'a> {
    pub(super) received: Received<'a>,
    pub(super) verb: Verb,
    pub(super) caller: Caller,
    /// The token for the files of an upload that it calls with, where it is not its key.
    pub(super) asset: Option<AssetJwt>,
    pub(super) snapshot: Rc<Snapshot>,
}

/// A call whose target is canonical and, where policy has to know it, whose body was read.
#[derive(Debug)]
pub(super) struct Targeted<'a> {
    pub(super) call: Authenticated<'a>,
    pub(super) checked: Checked<'a>,
    pub(super) resources: Vec<Resource>,
    pub(super) zone: Option<ZoneId>,
    pub(super) judgement: Option<Judgement>,
    /// Whether some grant's conditions looked at the body when it was judged, and so written again.
    pub(super) was_conditioned: bool,
    pub(super) attached: Attached,
    /// What the path names of a product, where that says all that policy has to know.
    pub(super) named: OwnedFacts,
    /// Grants found to be used up while the call was decided.
    pub(super) used_up: Vec<GrantId>,
    pub(super) action: Action,
    /// What it does to which DNS records, where anything depends on that.
    pub(super) edits: Option<Edits>,
    /// The form that is sent in place of an upload that was judged.
    pub(super) upload: Option<String>,
    /// Until when it must be sent, where it is its turn at the records of the zone.
    pub(super) send_by: Option<Timestamp>,
    /// Calls made upstream before it was decided.
    pub(super) upstream_calls: Cell<u32>,
}

/// A call the policy allows.
#[derive(Debug)]
pub(super) struct Authorized<'a> {
    pub(super) call: Targeted<'a>,
    pub(super) plan: Plan,
    pub(super) grant: Option<String>,
    pub(super) reason: String,
}

/// A call that ends with a refusal, with what is known of it.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) refusal: Refusal,
    pub(super) who: Who,
    pub(super) what: What,
    pub(super) decision: &'static str,
    pub(super) grant: Option<String>,
    pub(super) upstream_calls: u32,
}

/// A refusal of a boxed call, as most are rare and large.
pub(super) type Step<T> = Result<T, Box<Stopped>>;

impl<'a> Received<'a> {
    pub(super) fn anonymous(&self) -> Who {
        if let Some(acting) = self.acting {
            return acting.who();
        }
        Who {
            principal: None,
            credential: match self.inbound.credentials.credential() {
                Ok(_) => "a credential that is not accepted".to_owned(),
                Err(CredentialError::Missing) => "no credential".to_owned(),
                Err(_) => "no usable credential".to_owned(),
            },
            source_ip: self.inbound.recorded_ip(),
            run: None,
        }
    }

    /// When and from where it is decided at `now`.
    pub(super) fn moment(&self, now: Timestamp) -> Moment<'a> {
        Moment {
            now,
            source_ip: self.inbound.address(),
            zones: self.zones,
            used_up: &[],
        }
    }

    /// What is known of a call whose operation is not: its method and, cut short, its path.
    pub(super) fn unresolved(&self) -> What {
        let path = judge::sanitised(&format!("{PREFIX}{}", self.raw.path), 200);
        let method = judge::sanitised(self.inbound.method, 20);
        What {
            operation: "unknown".to_owned(),
            action: Action::new(format!("call {method} {path}")),
            method,
            path,
            zone: None,
            resources: Vec::new(),
            deprecated: false,
        }
    }

    pub(super) fn stop(&self, refusal: Refusal) -> Box<Stopped> {
        Box::new(Stopped {
            refusal,
            who: self.anonymous(),
            what: self.unresolved(),
            decision: "deny",
            grant: None,
            upstream_calls: 0,
        })
    }
}

impl<'a> Authenticated<'a> {
    /// Resolves the target; its body is not read yet.
    pub(super) fn target(self) -> Step<Targeted<'a>> {
        let found = check(self.verb.method, self.received.raw).and_then(|checked| {
            let (resources, zone) = resources(&checked)?;
            Ok((checked, resources, zone))
        });
        let (checked, mut resources, zone) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.stop(non_canonical(error))),
        };
        let mut named = judge::of_path(checked.resolved.as_ref());
        if let Some(jwt) = &self.asset {
            let operation = checked.resolved.as_ref().map(|resolved| resolved.operation);
            let account = Resource::Account(jwt.account);
            if !operation.is_some_and(asset_jwt::takes_token)
                || !resources.iter().all(|resource| *resource == account)
            {
                return Err(self.stop(Refusal::new(
                    Code::InvalidCredential,
                    "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
                )));
            }
            resources = vec![account];
            named = asset_jwt::named_by(jwt);
        }
        let is_tail = checked.resolved.as_ref().is_some_and(|resolved| {
            let operation = resolved.operation;
            operation.method() == Method::Post && operation.template().ends_with("/tails")
        });
        if is_tail {
            let message = "A tail is a websocket beside the gateway, so it is not handed through.";
            return Err(self.stop(Refusal::new(Code::NotProxied, message)));
        }
        let action = match &checked.resolved {
            Some(resolved) => describe(resolved, scope_name(&self.snapshot, &resources).as_deref()),
            None => Action::new(format!(
                "call {} {PREFIX}{}",
                self.verb.method.as_str(),
                judge::sanitised(&checked.path, 200)
            )),
        };
        Ok(Targeted {
            call: self,
            named,
            used_up: Vec::new(),
            checked,
            resources,
            zone,
            judgement: None,
            was_conditioned: false,
            attached: Attached::default(),
            action,
            edits: None,
            upload: None,
            send_by: None,
            upstream_calls: Cell::default(),
        })
    }

    pub(super) fn who(&self) -> Who {
        if let Some(acting) = self.received.acting {
            return acting.who();
        }
        Who {
            principal: Some(self.name().to_owned()),
            credential: match &self.asset {
                Some(_) => format!("an upload token of {}", self.caller.credential()),
                None => self.caller.credential(),
            },
            source_ip: self.received.inbound.recorded_ip(),
            run: None,
        }
    }

    /// The principal's name.
    pub(super) fn name(&self) -> &str {
        &self.caller.name
    }

    pub(super) fn stop(&self, refusal: Refusal) -> Box<Stopped> {
        Box::new(Stopped {
            refusal,
            who: self.who(),
            what: self.received.unresolved(),
            decision: "deny",
            grant: None,
            upstream_calls: 0,
        })
    }
}

impl Targeted<'_> {
    pub(super) fn policy(&self) -> &Policy {
        &self.call.snapshot.policy
    }

    /// The question put to the policy, at `now`.
    pub(super) fn request<'r>(&'r self, facts: Facts<'r>, now: Timestamp) -> Request<'r> {
        Request {
            principal: self.call.caller.principal,
            target: self.target(),
            resources: &self.resources,
            facts,
            is_own: false,
            moment: Moment {
                used_up: &self.used_up,
                ..self.call.received.moment(now)
            },
        }
    }

    fn target(&self) -> Target<'_> {
        match &self.checked.resolved {
            Some(resolved) => Target::Operation(resolved.operation),
            None => Target::Unknown {
                method: self.call.verb.method,
                path: &self.checked.path,
            },
        }
    }

    /// Whether some grant's conditions look at the body.
    pub(super) fn is_conditioned(&self) -> bool {
        self.policy()
            .reads_body(&self.request(self.named.facts(), self.call.received.arrived))
    }

    /// Whether a body that was judged would be written as it was if `policy` were asked `request`.
    pub(super) fn reads_as_before(&self, policy: &Policy, request: &Request<'_>) -> bool {
        self.judgement.is_none() || policy.reads_body(request) == self.was_conditioned
    }

    /// Whether some grant opens the call, as far as that can be told without its body.
    pub(super) fn may_be_allowed(&self) -> bool {
        let request = self.request(self.named.facts(), self.call.received.arrived);
        self.policy().decide(&request).is_allowed()
    }

    /// Whether it may still be sent, where it is its turn at the records of the zone.
    ///
    /// # Errors
    /// [`Refusal`] when its turn is as good as over.
    pub(super) fn check_turn(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.send_by.is_none_or(|send_by| now <= send_by) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::StoreUnavailable,
            "It took too long to look the records up, so nothing was sent to Cloudflare; try again.",
        ))
    }

    /// Whether it is about DNS records.
    pub(super) fn is_about_records(&self) -> bool {
        let resolved = self.checked.resolved.as_ref();
        resolved.is_some_and(|resolved| resolved.operation.family() == Family::Dns)
    }

    /// Judges a body that was read, in the zone called `zone_name` where that is known, which may hold
    /// a host name of Zonekeeper's own.
    pub(super) fn judge(
        &self,
        judged: Judged,
        body: Json,
        zone_name: Option<&str>,
        holds_own: bool,
    ) -> Result<(Judgement, Attached), Refusal> {
        let scope = zone_name.map_or_else(|| self.scope(), str::to_owned);
        let resolved = self.checked.resolved.as_ref();
        let credential = self.call.received.inbound.credentials.credential();
        let conditioned = self.is_conditioned();
        let around = Surroundings {
            path: &self.checked.path,
            zone_name,
            scope: &scope,
            zone_id: resolved.and_then(Resolved::zone),
            record_id: resolved.and_then(|resolved| resolved.params.get_named("dns_record_id")),
            named: &self.named,
            conditioned,
            strict: conditioned || holds_own,
            credential: credential.map_or("", crate::identity::Credential::expose),
        };
        judge::judge(judged, body, &around)
    }

    /// What the zone or account is called in sentences.
    pub(super) fn scope(&self) -> String {
        scope_name(&self.call.snapshot, &self.resources).unwrap_or_else(|| "the account".to_owned())
    }

    /// Takes over what the body says.
    pub(super) fn with(mut self, (judgement, mut attached): (Judgement, Attached)) -> Self {
        let account = judgement.account.map(Resource::Account);
        for resource in account.into_iter().chain(attached.resources.drain(..)) {
            if !self.resources.contains(&resource) {
                self.resources.push(resource);
            }
        }
        self.action = judgement.action.clone();
        self.judgement = Some(judgement);
        self.attached = attached;
        self.was_conditioned = self.is_conditioned();
        self
    }

    /// How the body of the call is judged, if it is.
    pub(super) fn judged(&self) -> Option<Judged> {
        match self.checked.resolved.as_ref()?.operation.body() {
            BodyClass::Judge(Judged::Unjudgeable) | BodyClass::Pass => None,
            // Up to 100 MB, which is not read unless a grant is about keys or counts what it deletes.
            BodyClass::Judge(Judged::KvBulk) if !self.is_conditioned() && !self.counts_listed() => {
                None
            }
            BodyClass::Judge(judged) => Some(judged),
        }
    }

    /// What was read of the body.
    pub(super) fn facts(&self) -> Facts<'_> {
        match self.judgement.as_ref().map(|judgement| &judgement.facts) {
            None | Some(OwnedFacts::None) => self.named.facts(),
            Some(facts) => facts.facts(),
        }
    }

    /// Name and type that the body gives a DNS record; the name is canonical, or as written where that
    /// of the zone is not known.
    pub(super) fn record_name(&self) -> Option<(&str, &str)> {
        let judgement = self.judgement.as_ref()?;
        let kind = judgement.body.get("type").and_then(Json::as_str);
        let name = match &judgement.facts {
            OwnedFacts::Record(Some(record)) => Some(record.name.as_str()),
            OwnedFacts::Record(None) | OwnedFacts::Drafts(_) => {
                judgement.body.get("name")?.as_str()
            }
            _ => None,
        };
        Some((name?, kind.unwrap_or_default()))
    }

    /// The token for the files of an upload that goes to Cloudflare in place of our credential.
    pub(super) fn bearer(&self) -> Option<Secret> {
        let credential = self.call.received.inbound.credentials.credential();
        let given = self.call.asset.as_ref().and(credential.ok());
        given.map(|token| Secret::new(token.expose()))
    }

    /// Whether the call may change something; what the catalogue does not know may.
    pub(super) fn is_write(&self) -> bool {
        match &self.checked.resolved {
            Some(resolved) => resolved.operation.is_write(),
            None => self.call.verb.method != Method::Get,
        }
    }

    pub(super) fn what(&self) -> What {
        let operation = self
            .checked
            .resolved
            .as_ref()
            .map(|resolved| resolved.operation);
        What {
            operation: operation
                .map_or("unknown", |operation| operation.name())
                .to_owned(),
            method: self.call.received.inbound.method.to_owned(),
            path: format!("{PREFIX}{}", self.checked.path),
            zone: self.zone.map(|zone| zone.to_string()),
            resources: self.resources.iter().map(describe_resource).collect(),
            action: self.action.clone(),
            deprecated: operation
                .is_some_and(|operation| operation.deprecation() != Deprecation::No),
        }
    }

    /// What the header `Zonekeeper-Deprecated` says.
    pub(super) fn deprecation(&self) -> Option<String> {
        match self.checked.resolved.as_ref()?.operation.deprecation() {
            Deprecation::No => None,
            Deprecation::Yes => Some("true".to_owned()),
            Deprecation::Ends(day) => Some(format!("ends {day}")),
        }
    }

    pub(super) fn stop(&self, refusal: Refusal) -> Box<Stopped> {
        Box::new(Stopped {
            refusal,
            who: self.call.who(),
            what: self.what(),
            decision: "deny",
            grant: None,
            upstream_calls: self.upstream_calls.get(),
        })
    }
}

fn describe_resource(resource: &Resource) -> String {
    match resource {
        Resource::Account(id) => format!("account:{id}"),
        Resource::Zone(id) => format!("zone:{id}"),
    }
}

pub(super) fn store_unavailable() -> Refusal {
    Refusal::new(
        Code::StoreUnavailable,
        "The store of this Zonekeeper cannot be reached, so nothing was sent to Cloudflare.",
    )
}

fn non_canonical(error: NonCanonical) -> Refusal {
    Refusal::new(
        Code::NonCanonicalPath,
        format!("The call was not understood: {error}."),
    )
}

/// Everything path and query name: all of it must be allowed. Lists of zones and accounts are
/// shown as far as the caller may see them, so their filters name nothing.
fn resources(checked: &Checked<'_>) -> Result<(Vec<Resource>, Option<ZoneId>), NonCanonical> {
    let mut found = Vec::new();
    let mut zone = None;
    if let Some(resolved) = &checked.resolved {
        if let Some(text) = resolved.zone() {
            let id = text.parse().map_err(|_| NonCanonical::Id)?;
            found.push(Resource::Zone(id));
            zone = Some(id);
        }
        if let Some(text) = resolved.account() {
            found.push(Resource::Account(
                text.parse().map_err(|_| NonCanonical::Id)?,
            ));
        }
        let is_list = resolved.operation.scope() == Scope::Other && !resolved.operation.is_write();
        if checked.query.is_none() || is_list {
            return Ok((found, zone));
        }
    } else {
        // An unknown path is judged by what its segments say.
        let mut segments = checked.path.split('/').skip(1);
        match (segments.next(), segments.next().map(str::parse::<ZoneId>)) {
            (Some("zones"), Some(Ok(id))) => {
                found.push(Resource::Zone(id));
                zone = Some(id);
            }
            (Some("accounts"), Some(Ok(_))) => {
                if let Some(Ok(id)) = checked.path.split('/').nth(2).map(str::parse) {
                    found.push(Resource::Account(id));
                }
            }
            _ => {}
        }
    }
    for (name, is_zone) in [
        ("zone_id", true),
        ("zone.id", true),
        ("account_id", false),
        ("account.id", false),
    ] {
        if let Some(value) = query_param(checked.query, name)? {
            let resource = if is_zone {
                Resource::Zone(value.parse().map_err(|_| NonCanonical::Parameter)?)
            } else {
                Resource::Account(value.parse().map_err(|_| NonCanonical::Parameter)?)
            };
            if !found.contains(&resource) {
                found.push(resource);
            }
        }
    }
    Ok((found, zone))
}

/// What the zone or account is called in sentences.
fn scope_name(snapshot: &Snapshot, resources: &[Resource]) -> Option<String> {
    Some(match *resources.first()? {
        Resource::Zone(id) => snapshot
            .zone_name(id)
            .map_or_else(|| format!("zone {id}"), str::to_owned),
        Resource::Account(id) => snapshot
            .account_name(id)
            .map_or_else(|| format!("account {id}"), |name| format!("account {name}")),
    })
}
