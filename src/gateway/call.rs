//! A call on its way through the pipeline, as types that consume each other.
//!
//! Each step takes the one before and can refuse; [`Authorized`] is the only one that can be
//! executed, and only a decision of the policy makes it.

use std::rc::Rc;

use super::deps::{After, BodyFault, Finished, Gateway, Reply, World};
use super::inbound::{Inbound, Verb};
use super::judge::{self, JUDGED_BODY_CAP, Judgement, OwnedFacts, Surroundings};
use super::own;
use super::refusal::{Code, Refusal};
use super::target::{Checked, NonCanonical, PREFIX, RawTarget, check, query_param};
use super::view::{Caller, Snapshot};
use crate::audit::{Action, Event, What, Who, describe};
use crate::catalog::{BodyClass, Deprecation, Family, Judged, Method, Scope};
use crate::config::document::Effect;
use crate::identity::CredentialError;
use crate::model::json::Json;
use crate::model::{Timestamp, ZoneId};
use crate::policy::{
    Decision, Facts, Permit, Policy, PrincipalId, Reason, Request, Resource, Target,
};
use crate::store::Database;

/// A call below `/client/v4`, as it came.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) inbound: &'a Inbound<'a>,
    pub(super) raw: RawTarget<'a>,
    pub(super) arrived: Timestamp,
    pub(super) origin: &'a str,
}

/// A call whose caller is known.
#[derive(Debug)]
pub(super) struct Authenticated<'a> {
    pub(super) received: Received<'a>,
    pub(super) verb: Verb,
    pub(super) caller: Caller,
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
    pub(super) action: Action,
}

/// How an authorised call is carried out.
#[derive(Debug)]
pub(super) enum Plan {
    /// Answered here about the caller itself.
    Own(own::Own),
    /// A list shown as far as the caller may see it.
    FilteredRecords,
    /// A record shown if the caller may see it.
    JudgedRecord,
    /// Handed through; a body that was judged is sent as written again.
    Relay(Permit),
}

/// What the policy says of a call, and how it is carried out if it may be.
#[derive(Debug)]
pub(super) struct Ruling {
    decision: Decision,
    pub(super) plan: Option<Plan>,
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
}

/// A refusal of a boxed call, as most are rare and large.
pub(super) type Step<T> = Result<T, Box<Stopped>>;

impl Received<'_> {
    pub(super) fn anonymous(&self) -> Who {
        Who {
            principal: None,
            credential: match self.inbound.credentials.credential() {
                Ok(_) => "a credential that is not accepted".to_owned(),
                Err(CredentialError::Missing) => "no credential".to_owned(),
                Err(_) => "no usable credential".to_owned(),
            },
            source_ip: self.source_ip(),
        }
    }

    pub(super) fn source_ip(&self) -> Option<String> {
        self.inbound.source_ip.map(|ip| judge::sanitised(ip, 45))
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

    fn stop(&self, refusal: Refusal) -> Box<Stopped> {
        Box::new(Stopped {
            refusal,
            who: self.anonymous(),
            what: self.unresolved(),
            decision: "deny",
            grant: None,
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
        let (checked, resources, zone) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.stop(non_canonical(error))),
        };
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
            checked,
            resources,
            zone,
            judgement: None,
            action,
        })
    }

    pub(super) fn who(&self) -> Who {
        Who {
            principal: Some(self.name().to_owned()),
            credential: self
                .caller
                .key
                .as_ref()
                .map_or_else(String::new, |key| format!("key {}", key.id)),
            source_ip: self.received.source_ip(),
        }
    }

    /// The principal's name.
    pub(super) fn name(&self) -> &str {
        &self.caller.name
    }

    fn stop(&self, refusal: Refusal) -> Box<Stopped> {
        Box::new(Stopped {
            refusal,
            who: self.who(),
            what: self.received.unresolved(),
            decision: "deny",
            grant: None,
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
            now,
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
    fn is_conditioned(&self) -> bool {
        self.policy()
            .reads_body(&self.request(Facts::Unread, self.call.received.arrived))
    }

    /// Judges a body that was read, in the zone called `zone_name` where that is known.
    pub(super) fn judge(
        &self,
        judged: Judged,
        body: Json,
        zone_name: Option<&str>,
    ) -> Result<Judgement, Refusal> {
        let scope = zone_name
            .map(str::to_owned)
            .or_else(|| scope_name(&self.call.snapshot, &self.resources))
            .unwrap_or_else(|| "the account".to_owned());
        let resolved = self.checked.resolved.as_ref();
        let credential = self.call.received.inbound.credentials.credential();
        let around = Surroundings {
            path: &self.checked.path,
            zone_name,
            scope: &scope,
            record_id: resolved.and_then(|resolved| resolved.params.get_named("dns_record_id")),
            conditioned: self.is_conditioned(),
            credential: credential.map_or("", crate::identity::Credential::expose),
        };
        judge::judge(judged, body, &around)
    }

    /// Takes over what the body says.
    pub(super) fn with(mut self, judgement: Judgement) -> Self {
        self.resources
            .extend(judgement.account.map(Resource::Account));
        self.action = judgement.action.clone();
        self.judgement = Some(judgement);
        self
    }

    /// How the body of the call is judged, if it is.
    pub(super) fn judged(&self) -> Option<Judged> {
        match self.checked.resolved.as_ref()?.operation.body() {
            BodyClass::Judge(Judged::Unjudgeable) | BodyClass::Pass => None,
            BodyClass::Judge(judged) => Some(judged),
        }
    }

    /// What was read of the body; nothing when `is_by_id`.
    fn facts(&self, is_by_id: bool) -> Facts<'_> {
        match self.judgement.as_ref().map(|judgement| &judgement.facts) {
            Some(OwnedFacts::Record(Some(record))) if !is_by_id => {
                Facts::Records(std::slice::from_ref(record))
            }
            Some(OwnedFacts::Purge(purge)) => Facts::Purge(purge),
            _ => Facts::Unread,
        }
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

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// `PATCH /client/v4/zones/{zone_id}/dns_records/{dns_record_id}` and every other proxied call.
    ///
    /// 1. A method or header that is not supported is 501.
    /// 2. Authenticate the caller: no usable credential is 401, two are 400; without the store 503.
    /// 3. Resolve the operation: a target with two readings is 400, an unknown operation goes on as
    ///    such and is denied unless a grant names it. Read the body where policy has to: 400 if it
    ///    is malformed, 413 if too large, 408 if too slow.
    /// 4. Decide: a denial is 403 and names the rule, as is a missing approval.
    /// 5. Record the intent of a write, send, record the outcome. A write of unknown outcome is 502
    ///    and says so.
    pub async fn serve(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
        raw: RawTarget<'_>,
    ) -> Finished<W::Response> {
        let received = Received {
            inbound,
            raw,
            arrived: self.world.now(),
            origin,
        };
        let arrived = received.arrived;
        let steps = async {
            let verb = supported(&received)?; // (1)
            let call = self.authenticate(received, verb).await?; // (2)
            let call = self.target(call).await?; // (3)
            self.authorize(call) // (4)
        };
        match steps.await {
            Ok(call) => self.execute(call).await, // (5)
            Err(stopped) => self.refuse(*stopped, origin, arrived).await,
        }
    }

    /// Step 2.
    async fn authenticate<'a>(
        &self,
        received: Received<'a>,
        verb: Verb,
    ) -> Step<Authenticated<'a>> {
        let credential = match received.inbound.credentials.credential() {
            Ok(credential) => credential,
            Err(error) => {
                let code = match error {
                    CredentialError::Missing => Code::NoCredential,
                    CredentialError::Ambiguous => Code::AmbiguousCredentials,
                    CredentialError::UnknownScheme => Code::InvalidCredential,
                };
                return Err(received.stop(Refusal::new(code, capitalised(&format!("{error}.")))));
            }
        };
        let now = received.arrived;
        let unavailable = |error: crate::store::StoreError| {
            self.world.log(&format!("authenticate: {error}"));
            received.stop(store_unavailable())
        };
        let snapshot = self
            .view
            .current(self.store, now)
            .await
            .map_err(unavailable)?;
        let caller = self
            .view
            .authenticate(credential, &snapshot, self.settings, self.store, now)
            .await
            .map_err(unavailable)?;
        match caller {
            Some(caller) => Ok(Authenticated { received, verb, caller, snapshot }),
            None => Err(received.stop(Refusal::new(
                Code::InvalidCredential,
                "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
            ))),
        }
    }

    /// Step 3.
    async fn target<'a>(&self, call: Authenticated<'a>) -> Step<Targeted<'a>> {
        let call = call.target()?;
        let Some(judged) = call.judged() else {
            return Ok(call);
        };
        match self.judge(&call, judged).await {
            Ok(judgement) => Ok(call.with(judgement)),
            Err(refusal) => Err(call.stop(refusal)),
        }
    }

    async fn judge(&self, call: &Targeted<'_>, judged: Judged) -> Result<Judgement, Refusal> {
        let inbound = call.call.received.inbound;
        judge::check_content_type(inbound.content_type)?;
        let too_large = || {
            Refusal::new(
                Code::BodyTooLarge,
                format!(
                    "The body is larger than the {JUDGED_BODY_CAP} bytes that are read for this call."
                ),
            )
        };
        if inbound
            .content_length
            .is_some_and(|length| length > JUDGED_BODY_CAP as u64)
        {
            return Err(too_large());
        }
        let bytes = self
            .world
            .caller_body(JUDGED_BODY_CAP)
            .await
            .map_err(|fault| match fault {
                BodyFault::TooLarge => too_large(),
                BodyFault::TimedOut => {
                    Refusal::new(Code::BodyTimeout, "The body did not arrive in time.")
                }
                BodyFault::Broken => Refusal::new(
                    Code::MalformedBody,
                    "The body broke off or is not encoded as it says.",
                ),
            })?;
        let json = judge::read_json(&bytes)?;
        let zone_name = match call.zone {
            Some(zone) if call.is_conditioned() => {
                Some(self.zone_name(&call.call.snapshot, zone).await?)
            }
            Some(zone) => self.known_zone_name(&call.call.snapshot, zone),
            None => None,
        };
        call.judge(judged, json, zone_name.as_deref())
    }

    /// Step 4.
    pub(super) fn authorize<'a>(&self, call: Targeted<'a>) -> Step<Authorized<'a>> {
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
                (Plan::Own(_), _) => "every caller may ask about itself".to_owned(),
                (_, Reason::Visible) => "whoever is allowed anything on it may see it".to_owned(),
                _ => format!(
                    "allowed by {}",
                    grant.as_deref().unwrap_or("the grants on single records")
                ),
            };
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
    /// record that comes back is judged. A write by id is judged without its body: what it would do
    /// to the record is seen only by looking that up, so a grant limited to some records does not
    /// reach it.
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
                plan: (own.is_about_caller() || decision.is_allowed()).then_some(Plan::Own(own)),
            };
        }
        let is_by_id =
            resolved.is_some_and(|resolved| resolved.params.get_named("dns_record_id").is_some());
        let request = Request {
            principal,
            is_own: self.touches_own_resource(call),
            ..call.request(call.facts(is_by_id), now)
        };
        let decision = policy.decide(&request);
        let filter = match resolved.map(|resolved| resolved.operation.name()) {
            Some("dns-records-for-a-zone-list-dns-records") => Some(Plan::FilteredRecords),
            Some("dns-records-for-a-zone-dns-record-details") => Some(Plan::JudgedRecord),
            _ => None,
        };
        let plan = match filter {
            Some(plan) if policy.record_conditions(&request) => Some(plan),
            _ => decision.permit().map(Plan::Relay),
        };
        Ruling { decision, plan }
    }

    /// Whether the path names the gateway's own script, database, namespace or queue.
    fn touches_own_resource(&self, call: &Targeted<'_>) -> bool {
        let (Some(own), Some(resolved)) = (&self.settings.own, &call.checked.resolved) else {
            return false;
        };
        let in_own_account = call.resources.contains(&Resource::Account(own.account));
        in_own_account
            && resolved.params.iter().any(|(_, value)| {
                own.names
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(value))
            })
    }

    /// Whether the call would run SQL on the gateway's own database, or load it with other data.
    fn is_sql_on_own_database(&self, call: &Targeted<'_>) -> bool {
        let operation = call
            .checked
            .resolved
            .as_ref()
            .map(|resolved| resolved.operation);
        operation.is_some_and(|operation| {
            operation.family() == Family::D1 && operation.method() == Method::Post
        }) && self.touches_own_resource(call)
    }

    fn denial(&self, call: &Targeted<'_>, decision: &Decision, now: Timestamp) -> Refusal {
        let policy = call.policy();
        let is_own = self.touches_own_resource(call);
        let code = match (decision.effect, decision.reason) {
            (Effect::Approve, _) => Code::ApprovalRequired,
            _ if is_own => Code::Escalation,
            (_, Reason::Escalation) => Code::Escalation,
            (_, Reason::UnknownOperation) => Code::UnknownOperation,
            _ => Code::Denied,
        };
        if is_own {
            let name = call.call.name();
            let action = call.action.infinitive();
            return Refusal::new(
                code,
                format!(
                    "{name} may not {action}: it belongs to this Zonekeeper itself; only a grant that names the operation id reaches it."
                ),
            );
        }
        let request = call.request(call.facts(false), now);
        let mut message = policy.explain(&request, decision);
        if !message.ends_with('.') {
            message.push('.');
        }
        if decision.reason == Reason::Unjudged
            && call.is_write()
            && policy.record_conditions(&call.request(Facts::Unread, now))
        {
            message.push_str(" Changing records by id, in batches, by import or export is not built yet for a grant that is limited to some records.");
        }
        Refusal::new(code, message)
    }

    /// The zone's name if it is known without asking.
    pub(super) fn known_zone_name(&self, snapshot: &Snapshot, zone: ZoneId) -> Option<String> {
        snapshot
            .zone_name(zone)
            .map(str::to_owned)
            .or_else(|| self.view.learnt_zone_name(zone))
    }

    /// The zone's name, asked of Cloudflare once if need be.
    pub(super) async fn zone_name(
        &self,
        snapshot: &Snapshot,
        zone: ZoneId,
    ) -> Result<String, Refusal> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
        }
        if let Some(name) = self.known_zone_name(snapshot, zone) {
            return Ok(name);
        }
        let answer = self.read_upstream(&format!("/zones/{zone}")).await?;
        let name = answer
            .body
            .as_deref()
            .and_then(crate::upstream::Envelope::parse)
            .and_then(|envelope| envelope.result)
            .and_then(|result| serde_json::from_str::<Named>(result.get()).ok())
            .map(|named| named.name)
            .ok_or_else(|| Refusal::new(Code::UpstreamUnknown, "Cloudflare did not say what the zone is called, so the call could not be judged and nothing was sent."))?;
        self.view.learn_zone_name(zone, name.clone());
        Ok(name)
    }

    /// Answers a refusal and sees to its audit row.
    ///
    /// A known caller's refusal is recorded before it is answered. An unknown caller's is recorded
    /// in a batch, so that nobody can fill the store by knocking.
    pub(super) async fn refuse(
        &self,
        stopped: Stopped,
        origin: &str,
        arrived: Timestamp,
    ) -> Finished<W::Response> {
        let Stopped {
            refusal,
            who,
            what,
            decision,
            grant,
        } = stopped;
        let now = self.world.now();
        let is_known = who.principal.is_some();
        let event = Event {
            decision,
            grant,
            reason: refusal.message.clone(),
            status: refusal.status().as_u16(),
            duration_ms: now.ms_since(arrived),
            ..Event::of(self.world.entry_id(now), who, what)
        };
        let mut after = Vec::new();
        if is_known && let Err(error) = self.store.record_events(std::slice::from_ref(&event)).await
        {
            self.world.log(&format!("record a refusal: {error}"));
            after.push(After::Event(Box::new(event)));
        } else if !is_known && refusal.code != Code::StoreUnavailable {
            after.push(After::Event(Box::new(event)));
        }
        Finished {
            reply: Reply::json(refusal.status(), refusal.body(origin)),
            after,
        }
    }
}

/// Step 1.
fn supported(received: &Received<'_>) -> Step<Verb> {
    let inbound = received.inbound;
    let Some(verb) = Verb::parse(inbound.method) else {
        return Err(received.stop(Refusal::new(
            Code::NotProxied,
            format!(
                "The method {} is not handed through.",
                judge::sanitised(inbound.method, 20)
            ),
        )));
    };
    if inbound.upgrade {
        return Err(received.stop(Refusal::new(
            Code::NotProxied,
            "Websockets and other upgraded connections are not handed through.",
        )));
    }
    if let Some(header) = inbound.unsupported {
        return Err(received.stop(Refusal::new(
            Code::NotBuilt,
            format!("The header {header} asks for something this version does not have, so the call was not carried out."),
        )));
    }
    Ok(verb)
}

fn non_canonical(error: NonCanonical) -> Refusal {
    Refusal::new(
        Code::NonCanonicalPath,
        format!("The call was not understood: {error}."),
    )
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
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
