//! Carries out what was authorised: records, sends, classifies, answers.

use http::StatusCode;

use super::call::{Authorized, Plan, Stopped, store_unavailable};
use super::deps::{After, Finished, Gateway, Reply, World};
use super::list::{Paging, Step as ListStep, Walk, page_of};
use super::own::{self, AccountItem, IdItem, Own};
use super::refusal::{Code, Refusal};
use crate::audit::{Event, Intent, OutcomeRow, ReadBack, What, Who};
use crate::catalog::Method;
use crate::model::{AccountId, EntryId, RecordName, Timestamp};
use crate::policy::{Facts, Permit, Pushdown, RecordFacts, Visible};
use crate::store::{Database, StoreError};
use crate::upstream::{
    Answer, ERROR_BODY_CAP, Envelope, Exchange, Fault, Head, Outcome, Relay, classify,
    retry_delay_ms,
};

/// Records asked for in one page of a list that is filtered here.
const RECORDS_PER_PAGE: u64 = 5_000;
/// Zones and accounts asked for in one page: Cloudflare's maximum.
const ZONES_PER_PAGE: u64 = 50;

/// Why a read that is judged here has no result.
enum Failed {
    /// We refuse.
    Refused(Refusal),
    /// Cloudflare did.
    Upstream(Answer),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What came of the sending.
enum Sent<R> {
    /// Something to hand to the caller.
    Answer {
        reply: Reply<R>,
        status: StatusCode,
        outcome: Outcome,
        cf_ray: Option<String>,
        detail: Option<String>,
    },
    /// A refusal of ours after the fact.
    Refused {
        refusal: Refusal,
        outcome: Option<Outcome>,
        cf_ray: Option<String>,
    },
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Step 5: carries out an authorised call.
    pub(super) async fn execute(&self, call: Authorized<'_>) -> Finished<W::Response> {
        let mut finished = if call.call.is_write() || call.call.call.snapshot.reads_are_sync() {
            self.write(&call).await
        } else {
            self.read(&call).await
        };
        let now = call.call.call.received.arrived;
        if let Some(key) = &call.call.call.caller.key
            && self.view.note_use(key.id, now)
        {
            finished.after.push(After::KeyUse(key.id, now));
        }
        finished
    }

    /// A read: carried out, then recorded in a batch.
    async fn read(&self, call: &Authorized<'_>) -> Finished<W::Response> {
        let mut calls = 0;
        let sent = self.send(call, &mut calls).await;
        let received = &call.call.call.received;
        let now = self.world.now();
        let event = |status: StatusCode, outcome, cf_ray| Event {
            grant: call.grant.clone(),
            reason: call.reason.clone(),
            status: status.as_u16(),
            outcome,
            cf_ray,
            duration_ms: now.ms_since(received.arrived),
            upstream_calls: calls,
            ..Event::of(
                self.world.entry_id(now),
                call.call.call.who(),
                call.call.what(),
            )
        };
        match sent {
            Sent::Answer {
                reply,
                status,
                outcome,
                cf_ray,
                ..
            } => {
                let outcome = (calls > 0).then_some(outcome);
                Finished {
                    reply,
                    after: vec![After::Event(Box::new(event(status, outcome, cf_ray)))],
                }
            }
            Sent::Refused {
                refusal,
                outcome,
                cf_ray,
            } if outcome.is_some() => Finished {
                reply: Reply::json(refusal.status(), refusal.body(received.origin)),
                after: vec![After::Event(Box::new(event(
                    refusal.status(),
                    outcome,
                    cf_ray,
                )))],
            },
            Sent::Refused { refusal, .. } => {
                let stopped = Stopped {
                    grant: call.grant.clone(),
                    ..*call.call.stop(refusal)
                };
                self.refuse(stopped, received.origin, received.arrived)
                    .await
            }
        }
    }

    /// A write, or a read that waits for its row.
    ///
    /// 1. The intent is stored; if it cannot be, nothing is sent and the answer is 503.
    /// 2. What took time is decided again: the key and the grant must still hold.
    /// 3. The call is sent, once.
    /// 4. The outcome is recorded after the answer; should that fail, the scheduler finds the
    ///    intent open.
    async fn write(&self, call: &Authorized<'_>) -> Finished<W::Response> {
        let received = &call.call.call.received;
        #[cfg(feature = "faults")]
        self.world.fault_point("before_intent").await;
        let id = match self.record_intent(call).await {
            Ok(id) => id, // (1)
            Err(error) => {
                self.world.log(&format!("record an intent: {error}"));
                let refusal = store_unavailable();
                return Finished {
                    reply: Reply::json(refusal.status(), refusal.body(received.origin)),
                    after: Vec::new(),
                };
            }
        };
        #[cfg(feature = "faults")]
        self.world.fault_point("after_intent").await;
        let outcome_row =
            |outcome, status: StatusCode, cf_ray, calls, detail: Option<String>| OutcomeRow {
                id,
                outcome,
                status: Some(status.as_u16()),
                cf_ray,
                duration_ms: self.world.now().ms_since(received.arrived),
                upstream_calls: calls,
                detail,
            };
        if let Err(refusal) = self.decide_again(call).await {
            let row = outcome_row(
                Outcome::Refused,
                refusal.status(),
                None,
                0,
                Some(format!("not sent: {}", refusal.message)),
            ); // (2)
            return Finished {
                reply: Reply::json(refusal.status(), refusal.body(received.origin)),
                after: vec![After::Outcome(row)],
            };
        }
        let mut calls = 0;
        let sent = self.send(call, &mut calls).await; // (3)
        #[cfg(feature = "faults")]
        self.world.fault_point("after_send").await;
        let (reply, row) = match sent {
            Sent::Answer {
                reply,
                status,
                outcome,
                cf_ray,
                detail,
            } => (reply, outcome_row(outcome, status, cf_ray, calls, detail)),
            Sent::Refused {
                mut refusal,
                outcome,
                cf_ray,
            } => {
                let outcome = outcome.unwrap_or(Outcome::Refused);
                let detail = refusal.message.clone();
                if outcome == Outcome::Unknown && call.call.is_write() {
                    refusal.message = format!(
                        "Could not confirm whether {}'s call to {} happened: {} Audit entry {id} will say once it is settled.",
                        call.call.call.name(),
                        call.call.action.infinitive(),
                        refusal.message
                    );
                }
                let row = outcome_row(outcome, refusal.status(), cf_ray, calls, Some(detail));
                (
                    Reply::json(refusal.status(), refusal.body(received.origin)),
                    row,
                )
            }
        };
        Finished {
            reply,
            after: vec![After::Outcome(row)],
        } // (4)
    }

    async fn record_intent(&self, call: &Authorized<'_>) -> Result<EntryId, StoreError> {
        let who: Who = call.call.call.who();
        let what: What = call.call.what();
        let read_back = read_back(call);
        let mut intent = Intent {
            id: self.world.entry_id(self.world.now()),
            who,
            what,
            grant: call.grant.clone(),
            reason: call.reason.clone(),
            read_back,
        };
        let mut tries = 0;
        loop {
            match self.store.record_intent(&intent).await {
                // Another isolate took the number: take another.
                Err(StoreError::Conflict) if tries < 3 => {
                    tries += 1;
                    intent.id = self.world.entry_id(self.world.now());
                }
                Ok(()) => return Ok(intent.id),
                Err(error) => return Err(error),
            }
        }
    }

    /// Decides once more, just before sending, on what holds now.
    async fn decide_again(&self, call: &Authorized<'_>) -> Result<(), Refusal> {
        let authenticated = &call.call.call;
        let now = self.world.now();
        let unavailable = |error: StoreError| {
            self.world.log(&format!("decide again: {error}"));
            store_unavailable()
        };
        let snapshot = self
            .view
            .current(self.store, now)
            .await
            .map_err(unavailable)?;
        let gone = || {
            Refusal::new(
                Code::InvalidCredential,
                "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
            )
        };
        let credential = authenticated
            .received
            .inbound
            .credentials
            .credential()
            .map_err(|_| gone())?;
        let caller = self
            .view
            .authenticate(credential, &snapshot, self.settings, self.store, now)
            .await
            .map_err(unavailable)?
            .ok_or_else(gone)?;
        if self
            .rule(&call.call, &snapshot.policy, caller.principal, now)
            .plan
            .is_some()
        {
            return Ok(());
        }
        Err(Refusal::new(
            Code::Denied,
            format!(
                "{} may no longer {}: the configuration changed while the call waited, so it was not sent.",
                authenticated.name(),
                call.call.action.infinitive()
            ),
        ))
    }

    async fn send(&self, call: &Authorized<'_>, calls: &mut u32) -> Sent<W::Response> {
        let result = match &call.plan {
            Plan::Own(own) => self.answer_about_caller(call, *own, calls).await,
            Plan::FilteredRecords => self.filtered_records(call, calls).await,
            Plan::JudgedRecord => self.judged_record(call, calls).await,
            Plan::Relay(permit) => return self.relay(call, *permit, calls).await,
        };
        match result {
            Ok(body) => Sent::Answer {
                reply: Reply::json(StatusCode::OK, body),
                status: StatusCode::OK,
                outcome: Outcome::Confirmed,
                cf_ray: None,
                detail: None,
            },
            Err(Failed::Refused(refusal)) => {
                let outcome =
                    (*calls > 0 && refusal.status().is_server_error()).then_some(Outcome::Unknown);
                Sent::Refused {
                    refusal,
                    outcome,
                    cf_ray: None,
                }
            }
            Err(Failed::Upstream(answer)) => self.pass_on(answer),
        }
    }

    /// Cloudflare's answer to a read that was to be judged and failed.
    fn pass_on(&self, answer: Answer) -> Sent<W::Response> {
        let Answer { head, body } = answer;
        let withheld = |code, why: &str| Sent::Refused {
            refusal: Refusal::new(
                code,
                format!(
                    "Cloudflare answered {} with a body that {why}, so it is withheld.",
                    head.status.as_u16()
                ),
            ),
            outcome: Some(Outcome::Unknown),
            cf_ray: head.cf_ray.clone(),
        };
        let Some(body) = body
            .and_then(|body| String::from_utf8(body).ok())
            .filter(|body| body.len() <= ERROR_BODY_CAP)
        else {
            return withheld(Code::UpstreamUnknown, "cannot be read");
        };
        if head.status.is_redirection() {
            return withheld(Code::UpstreamRedirect, "is a redirect");
        }
        if self.settings.scanner.finds_in(body.as_bytes()) {
            return withheld(Code::UpstreamLeak, "held a credential of this gateway");
        }
        let envelope = Envelope::parse(body.as_bytes());
        Sent::Answer {
            status: head.status,
            outcome: classify(head.status, envelope.as_ref(), head.retry_after_secs),
            detail: envelope
                .map(|envelope| envelope.describe_errors())
                .filter(|text| !text.is_empty()),
            reply: Reply::Own {
                status: head.status,
                body,
                content_type: "application/json",
                retry_after_secs: head.retry_after_secs,
            },
            cf_ray: head.cf_ray,
        }
    }

    /// Hands the call through; a read is tried again where that helps.
    async fn relay(
        &self,
        call: &Authorized<'_>,
        permit: Permit,
        calls: &mut u32,
    ) -> Sent<W::Response> {
        let targeted = &call.call;
        let method = targeted.call.verb.method;
        let body = targeted
            .judgement
            .as_ref()
            .map(|judgement| judgement.body.write());
        let relay = Relay::new(permit, method, targeted.checked.to_target(), body);
        let is_read = !targeted.is_write() && method == Method::Get;
        let ended = loop {
            *calls += 1;
            let ended = self.world.relay(&relay).await;
            let status = ended
                .as_ref()
                .map(|(head, _)| head.status)
                .map_err(|fault| *fault);
            let delay = if is_read {
                retry_delay_ms(*calls, status, self.world.jitter())
            } else {
                None
            };
            match delay {
                Some(ms) => self.world.pause(ms).await,
                None => break ended,
            }
        };
        match ended {
            Ok((head, response)) if head.status.is_success() => Sent::Answer {
                outcome: classify(head.status, None, head.retry_after_secs),
                status: head.status,
                cf_ray: head.cf_ray,
                detail: None,
                reply: Reply::Relayed {
                    response,
                    body: None,
                    deprecated: targeted.deprecation(),
                },
            },
            Ok((head, response)) => {
                self.relay_error(head, response, targeted.deprecation())
                    .await
            }
            Err(fault) => Sent::Refused {
                refusal: fault_refusal(fault),
                outcome: Some(Outcome::Unknown),
                cf_ray: None,
            },
        }
    }

    /// An answer other than 2xx: read, searched for our credentials, handed through.
    async fn relay_error(
        &self,
        head: Head,
        response: W::Response,
        deprecated: Option<String>,
    ) -> Sent<W::Response> {
        if head.status.is_redirection() {
            return Sent::Refused {
                refusal: Refusal::new(
                    Code::UpstreamRedirect,
                    format!(
                        "Cloudflare's API answered with the redirect {}, which is never followed.",
                        head.status.as_u16()
                    ),
                ),
                outcome: Some(Outcome::Unknown),
                cf_ray: head.cf_ray,
            };
        }
        let Some(body) = self.world.read(&response, ERROR_BODY_CAP).await else {
            return Sent::Refused {
                refusal: Refusal::new(
                    Code::UpstreamUnknown,
                    format!(
                        "Cloudflare answered {} with a body that broke off or is too large to be checked, so it is withheld.",
                        head.status.as_u16()
                    ),
                ),
                outcome: Some(classify(head.status, None, head.retry_after_secs)),
                cf_ray: head.cf_ray,
            };
        };
        let envelope = Envelope::parse(&body);
        let outcome = classify(head.status, envelope.as_ref(), head.retry_after_secs);
        if self.settings.scanner.finds_in(&body) {
            self.world.log("ALARM: an answer of Cloudflare's held a credential of this gateway and was withheld");
            return Sent::Refused {
                refusal: Refusal::new(
                    Code::UpstreamLeak,
                    format!(
                        "Cloudflare answered {} with a body that held a credential of this gateway, so it is withheld.",
                        head.status.as_u16()
                    ),
                ),
                outcome: Some(outcome),
                cf_ray: head.cf_ray,
            };
        }
        Sent::Answer {
            reply: Reply::Relayed {
                response,
                body: Some(body),
                deprecated,
            },
            status: head.status,
            outcome,
            cf_ray: head.cf_ray,
            detail: envelope
                .map(|envelope| envelope.describe_errors())
                .filter(|text| !text.is_empty()),
        }
    }

    /// A read of our own, tried again where that helps.
    ///
    /// # Errors
    /// [`Refusal`] when no answer came.
    pub async fn read_upstream(&self, target: &str) -> Result<Answer, Refusal> {
        let exchange = Exchange {
            method: Method::Get,
            target: target.to_owned(),
            body: None,
        };
        self.exchange(&exchange, &mut 0).await
    }

    async fn exchange(&self, exchange: &Exchange, calls: &mut u32) -> Result<Answer, Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            *calls += 1;
            let ended = self.world.exchange(exchange).await;
            let status = ended
                .as_ref()
                .map(|answer| answer.head.status)
                .map_err(|fault| *fault);
            match retry_delay_ms(attempt, status, self.world.jitter()) {
                Some(ms) => self.world.pause(ms).await,
                None => return ended.map_err(fault_refusal),
            }
        }
    }

    async fn answer_about_caller(
        &self,
        call: &Authorized<'_>,
        own: Own,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let caller = &call.call.call.caller;
        let policy = call.call.policy();
        let now = call.call.call.received.arrived;
        match own {
            Own::Verify => Ok(own::verify(caller)),
            Own::User => Ok(own::user(call)),
            Own::Zones => {
                let visible = policy.visible_zones(caller.principal, now);
                let only_name = match &visible {
                    Visible::Some(zones) => zones
                        .first()
                        .filter(|_| zones.len() == 1)
                        .map(|(_, name)| name.as_str()),
                    _ => None,
                };
                let sees = |id: &str| id.parse().is_ok_and(|id| visible.sees(&id));
                self.visible_list(call, "/zones", visible.at_most(), only_name, sees, calls)
                    .await
            }
            Own::Accounts => {
                let visible = policy.visible_accounts(caller.principal, now);
                let sees = |id: &str| id.parse().is_ok_and(|id| visible.sees(&id));
                self.visible_list(call, "/accounts", visible.at_most(), None, sees, calls)
                    .await
            }
            Own::Memberships => {
                let paging = Paging::read(call.call.checked.query, 20)?;
                let visible = policy.visible_accounts(caller.principal, now);
                let accounts = self.visible_accounts(&visible, calls).await?;
                let name = call.call.call.name();
                let memberships: Vec<_> = accounts
                    .into_iter()
                    .map(|account| own::membership(name, account))
                    .collect();
                Ok(page_of(&memberships, paging))
            }
        }
    }

    /// A list of zones or accounts as far as the caller may see it.
    async fn visible_list(
        &self,
        call: &Authorized<'_>,
        path: &str,
        at_most: Option<u64>,
        only_name: Option<&str>,
        sees: impl Fn(&str) -> bool,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let query = call.call.checked.query;
        let paging = Paging::read(query, 20)?;
        if at_most == Some(0) {
            return Ok(page_of::<()>(&[], paging));
        }
        let is_named = query.is_some_and(|query| {
            url::form_urlencoded::parse(query.as_bytes())
                .any(|(key, _)| key == "name" || key == "match")
        });
        let pushed: Vec<(&str, &str)> = only_name
            .filter(|_| !is_named)
            .map(|name| ("name", name))
            .into_iter()
            .collect();
        let walk = Walk::new(path, query, &pushed, paging, ZONES_PER_PAGE, at_most);
        self.walk(walk, calls, |item| {
            serde_json::from_str::<IdItem>(item.get()).is_ok_and(|item| sees(&item.id))
        })
        .await
    }

    async fn visible_accounts(
        &self,
        visible: &Visible<AccountId>,
        calls: &mut u32,
    ) -> Result<Vec<AccountItem>, Failed> {
        let mut found = Vec::new();
        if visible.at_most() == Some(0) {
            return Ok(found);
        }
        let paging = Paging::read(None, 1)?;
        let walk = Walk::new("/accounts", None, &[], paging, ZONES_PER_PAGE, None);
        self.walk(walk, calls, |item| {
            if let Ok(account) = serde_json::from_str::<AccountItem>(item.get())
                && account.id.parse().is_ok_and(|id| visible.sees(&id))
            {
                found.push(account);
            }
            false
        })
        .await?;
        Ok(found)
    }

    async fn walk(
        &self,
        mut walk: Walk,
        calls: &mut u32,
        mut keep: impl FnMut(&serde_json::value::RawValue) -> bool,
    ) -> Result<String, Failed> {
        loop {
            let answer = successful(self.exchange(&walk.exchange(), calls).await?)?;
            match walk.take(&answer, &mut keep)? {
                ListStep::Continue => {}
                ListStep::Done => return Ok(walk.into_body()),
            }
        }
    }

    /// The records of a zone that the caller may see.
    async fn filtered_records(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let targeted = &call.call;
        let now = targeted.call.received.arrived;
        let query = targeted.checked.query;
        let paging = Paging::read(query, 100)?;
        let unread = targeted.request(Facts::Unread, now);
        let Pushdown { name, kind } = targeted.policy().pushdown(&unread).unwrap_or(Pushdown {
            name: None,
            kind: None,
        });
        let has = |names: &[&str]| {
            query.is_some_and(|query| {
                url::form_urlencoded::parse(query.as_bytes())
                    .any(|(key, _)| names.contains(&key.as_ref()))
            })
        };
        // With `match=any` another filter would widen the list instead of narrowing it.
        let narrows = !has(&["match"]);
        let mut pushed = Vec::new();
        if let Some(name) = name.filter(|_| narrows && !has(&["name", "name.exact"])) {
            pushed.push(("name.exact", name));
        }
        if let Some(kind) = kind.filter(|_| narrows && !has(&["type"])) {
            pushed.push(("type", kind));
        }
        let zone_name = self.zone_name_of(call).await?;
        let walk = Walk::new(
            &targeted.checked.path,
            query,
            &pushed,
            paging,
            RECORDS_PER_PAGE,
            None,
        );
        self.walk(walk, calls, |item| call.may_show(item, &zone_name, now))
            .await
    }

    /// One record, if the caller may see it.
    async fn judged_record(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let targeted = &call.call;
        let now = targeted.call.received.arrived;
        let zone_name = self.zone_name_of(call).await?;
        let exchange = Exchange {
            method: Method::Get,
            target: targeted.checked.to_target(),
            body: None,
        };
        let answer = successful(self.exchange(&exchange, calls).await?)?;
        let body = answer.body.unwrap_or_default();
        let seen = Envelope::parse(&body)
            .and_then(|envelope| envelope.result)
            .is_some_and(|record| call.may_show(&record, &zone_name, now));
        let text = String::from_utf8(body).ok().filter(|_| seen);
        text.ok_or_else(|| {
            Refusal::new(
                Code::Denied,
                format!(
                    "{} may not {}: its grants cover other records of {zone_name} only; a grant of DNS Read for that record is needed.",
                    targeted.call.name(),
                    targeted.action.infinitive()
                ),
            )
            .into()
        })
    }

    async fn zone_name_of(&self, call: &Authorized<'_>) -> Result<String, Refusal> {
        let zone = call
            .call
            .zone
            .ok_or_else(|| Refusal::new(Code::Denied, "The call names no zone."))?;
        self.zone_name(&call.call.call.snapshot, zone).await
    }
}

impl Authorized<'_> {
    /// Whether the caller may see the DNS record `item` of the zone called `zone_name`.
    fn may_show(
        &self,
        item: &serde_json::value::RawValue,
        zone_name: &str,
        now: Timestamp,
    ) -> bool {
        #[derive(serde::Deserialize)]
        struct Record {
            name: String,
            #[serde(rename = "type")]
            kind: String,
            content: Option<String>,
            proxied: Option<bool>,
        }
        // What cannot be judged is not shown.
        let Ok(record) = serde_json::from_str::<Record>(item.get()) else {
            return false;
        };
        let Ok(name) = RecordName::canonical(&record.name, zone_name) else {
            return false;
        };
        let facts = RecordFacts {
            name,
            kind: record.kind,
            content: record.content,
            proxied: record.proxied,
        };
        let request = self
            .call
            .request(Facts::Records(std::slice::from_ref(&facts)), now);
        self.call.policy().decide(&request).is_allowed()
    }
}

/// An answer that can be judged; any other is Cloudflare's to give.
fn successful(answer: Answer) -> Result<Answer, Failed> {
    if answer.head.status.is_success() {
        Ok(answer)
    } else {
        Err(Failed::Upstream(answer))
    }
}

fn fault_refusal(fault: Fault) -> Refusal {
    let mut text = fault.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Refusal::new(Code::UpstreamUnknown, format!("{text}."))
}

/// How to find out whether the call happened, should its answer be lost.
fn read_back(call: &Authorized<'_>) -> Option<ReadBack> {
    if !call.call.is_write() {
        return None;
    }
    if let Some(judgement) = &call.call.judgement {
        return judgement.read_back.clone();
    }
    let resolved = call.call.checked.resolved.as_ref()?;
    let has_twin = || crate::catalog::resolve(Method::Get, &call.call.checked.path).is_some();
    (resolved.operation.method() == Method::Delete && has_twin()).then(|| ReadBack::Gone {
        target: call.call.checked.path.clone().into_owned(),
    })
}
