//! The steps of a proxied call, in order, and what a refusal at each of them costs.

use super::call::{Authenticated, Received, Step, Stopped, Targeted, store_unavailable};
use super::carry::ActingBody;
use super::deps::{After, BodyFault, Finished, Gateway, Reply, World};
use super::inbound::{Inbound, Verb};
use super::judge::{self, Attached, JUDGED_BODY_CAP, Judgement, OwnedFacts};
use super::refusal::{Code, Refusal};
use super::target::RawTarget;
use super::uses::uncounted;
use super::view::Snapshot;
use crate::audit::Event;
use crate::catalog::Judged;
use crate::model::json::{self, Json};
use crate::model::{Timestamp, ZoneId};
use crate::store::Database;
use crate::upstream::Exchange;

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// `PATCH /client/v4/zones/{zone_id}/dns_records/{dns_record_id}` and every other proxied call.
    ///
    /// 1. A method or header that is not supported is 501.
    /// 2. Authenticate the caller: no usable credential is 401, two are 400; without the store 503.
    /// 3. Resolve the operation: a target with two readings is 400, an unknown operation goes on as
    ///    such and is denied unless a grant names it. Read the body where policy has to: 400 if it
    ///    is malformed, 413 if too large, 408 if too slow.
    /// 4. Decide: a denial is 403 and names the rule, as is a missing approval. A write of DNS records
    ///    by id or in a batch waits for its turn before that (503 if that does not come), and where anything
    ///    depends on the records they are looked up (502 if that fails). A grant that counts is used once:
    ///    403 when it is used up, 429 when it was used too often lately.
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
            acting: None,
            zones: self.world,
        };
        let arrived = received.arrived;
        let mut held = None;
        let steps = async {
            let verb = supported(&received)?; // (1)
            let call = self.authenticate(received, verb).await?; // (2)
            let call = self.target(call).await?; // (3)
            let call = self.look_up_records(call, &mut held).await?;
            let call = self.authorize(call)?; // (4)
            self.take_uses(call).await
        };
        let mut finished = match steps.await {
            Ok(call) => self.execute(call).await, // (5)
            Err(stopped) => self.refuse(*stopped, origin, arrived).await,
        };
        finished.give_back(held);
        finished
    }

    /// Step 2.
    pub(super) async fn authenticate<'a>(
        &self,
        received: Received<'a>,
        verb: Verb,
    ) -> Step<Authenticated<'a>> {
        if let Some(acting) = received.acting {
            return self.admit_run(received, verb, acting).await;
        }
        let credential = match received.inbound.credentials.credential() {
            Ok(credential) => credential,
            Err(error) => {
                let code = Code::from(error);
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
        let found = match caller {
            Some(caller) => Some((caller, None)),
            None => self
                .holder_of_token(&received, verb, credential, &snapshot)
                .await
                .map_err(unavailable)?
                .map(|(caller, jwt)| (caller, Some(jwt))),
        };
        match found {
            Some((caller, asset)) => Ok(Authenticated { received, verb, caller, asset, snapshot }),
            None => Err(received.stop(Refusal::new(
                Code::InvalidCredential,
                "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
            ))),
        }
    }

    /// Step 3.
    pub(super) async fn target<'a>(&self, call: Authenticated<'a>) -> Step<Targeted<'a>> {
        let call = self.look_up_phase(call.target()?).await?;
        let Some(judged) = call.judged() else {
            let call = self.read_listed(call).await?;
            return self.look_up_hosts(call).await;
        };
        // An upload can be large, and is not read for whom no grant could let it through.
        if judge::is_of_worker(judged) && !call.may_be_allowed() && !call.is_conditioned() {
            return Ok(call);
        }
        match self.judge(&call, judged).await {
            Ok(judgement) => self.look_up_hosts(call.with(judgement)).await,
            Err(refusal) => Err(call.stop(refusal)),
        }
    }

    async fn judge(
        &self,
        call: &Targeted<'_>,
        judged: Judged,
    ) -> Result<(Judgement, Attached), Refusal> {
        if judge::is_of_worker(judged) {
            return self.judge_worker(call, judged).await;
        }
        let json = self.json_body(call).await?;
        let zone = self.judged_zone(call).await?;
        let zone_name = zone.as_ref().map(|(name, _)| name.as_str());
        let holds_own = zone.as_ref().is_some_and(|(_, holds_own)| *holds_own);
        call.judge(judged, json, zone_name, holds_own)
    }

    /// Reads a body that matters only for how much it deletes. It is sent as it was read.
    async fn read_listed<'a>(&self, call: Targeted<'a>) -> Step<Targeted<'a>> {
        if !call.counts_listed() {
            return Ok(call);
        }
        match self.json_body(&call).await {
            Ok(body) => {
                let judgement = Judgement::of(body, OwnedFacts::None, call.action.clone());
                Ok(call.with((judgement, Attached::default())))
            }
            Err(refusal) => Err(call.stop(refusal)),
        }
    }

    async fn json_body(&self, call: &Targeted<'_>) -> Result<Json, Refusal> {
        judge::check_content_type(call.call.received.inbound.content_type)?;
        let bytes = self.body(call, JUDGED_BODY_CAP).await?;
        if bytes.is_empty() && call.counts_listed() {
            return Err(uncounted(call));
        }
        judge::read_json(&bytes)
    }

    /// The body of the call, at most `cap` bytes of it.
    pub(super) async fn body(&self, call: &Targeted<'_>, cap: usize) -> Result<Vec<u8>, Refusal> {
        let received = &call.call.received;
        match received.acting {
            Some(acting) => {
                let body = acting.body.as_ref().map_or(&[][..], ActingBody::bytes);
                Ok(body.to_vec())
            }
            None => self.sent_body(received.inbound, cap).await,
        }
    }

    /// The body of a request as it was sent: 413 over `cap` bytes, 408 if too slow, 400 if it breaks off.
    ///
    /// # Errors
    /// [`Refusal`], as said.
    pub async fn sent_body(&self, inbound: &Inbound<'_>, cap: usize) -> Result<Vec<u8>, Refusal> {
        let too_large = || {
            Refusal::new(
                Code::BodyTooLarge,
                format!("The body is larger than the {cap} bytes that are read here."),
            )
        };
        if inbound
            .content_length
            .is_some_and(|length| length > cap as u64)
        {
            return Err(too_large());
        }
        let body = self.world.caller_body(cap).await;
        body.map_err(|fault| match fault {
            BodyFault::TooLarge => too_large(),
            BodyFault::TimedOut => {
                Refusal::new(Code::BodyTimeout, "The body did not arrive in time.")
            }
            BodyFault::Broken => Refusal::new(
                Code::MalformedBody,
                "The body broke off or is not encoded as it says.",
            ),
        })
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
        call: &Targeted<'_>,
        zone: ZoneId,
    ) -> Result<String, Refusal> {
        let mut calls = call.upstream_calls.get();
        let name = self.zone_name_in(call, zone, &mut calls).await;
        call.upstream_calls.set(calls);
        name
    }

    /// The same while the call is carried out.
    pub(super) async fn zone_name_in(
        &self,
        call: &Targeted<'_>,
        zone: ZoneId,
        calls: &mut u32,
    ) -> Result<String, Refusal> {
        if let Some(name) = self.known_zone_name(&call.call.snapshot, zone) {
            return Ok(name);
        }
        let exchange = Exchange::get(format!("/zones/{zone}"));
        let answer = self.exchange(&exchange, calls).await?;
        let name = answer
            .body
            .as_deref()
            .and_then(crate::upstream::Envelope::parse)
            .and_then(|envelope| envelope.result)
            .and_then(|result| json::of_others(result.get().as_bytes()))
            .and_then(|zone| Some(zone.get("name")?.as_str()?.to_owned()))
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
            upstream_calls,
        } = stopped;
        let now = self.world.now();
        let is_known = who.principal.is_some();
        let event = Event {
            decision,
            grant,
            reason: refusal.message.clone(),
            status: refusal.status().as_u16(),
            duration_ms: now.ms_since(arrived),
            upstream_calls,
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
            reply: Reply::Own {
                status: refusal.status(),
                body: refusal.body(origin),
                content_type: "application/json",
                retry_after_secs: refusal.retry_after_secs,
            },
            after,
        }
    }
}

/// Step 1.
pub(super) fn supported(received: &Received<'_>) -> Step<Verb> {
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
    let key = inbound.idempotency_key.map(|_| "idempotency-key");
    if let Some(header) = inbound.unsupported.or(key) {
        return Err(received.stop(Refusal::new(
            Code::NotBuilt,
            format!("The header {header} asks for something this version does not have, so the call was not carried out."),
        )));
    }
    Ok(verb)
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
