//! Carries out what was authorised: records, sends, classifies, answers.

use http::StatusCode;

use super::answer::Failed;
use super::authorize::Plan;
use super::call::{Authorized, Stopped, store_unavailable};
use super::deps::{After, Finished, Gateway, Reply, World};
use super::refusal::{Code, Refusal};
use super::relay::fault_refusal;
use crate::audit::{Event, Intent, OutcomeRow, ReadBack, What, Who};
use crate::catalog::Method;
use crate::model::{EntryId, Timestamp};
use crate::policy::Request;
use crate::store::{Database, StoreError};
use crate::upstream::{Exchange, Fault, Outcome, SHORT_DEADLINE_MS};

/// Milliseconds after its intent within which a write must be sent. With the deadline to headers
/// and the short one after that it ends before [`crate::audit::ABANDONED_AFTER_MS`].
const SEND_WITHIN_MS: i64 = 4_000;

/// What came of the sending.
pub(super) enum Sent<R> {
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

impl<R> Sent<R> {
    /// What a call is whose answer never came.
    fn lost(fault: Fault) -> Self {
        Self::Refused {
            refusal: fault_refusal(fault),
            outcome: Some(Outcome::Unknown),
            cf_ray: None,
        }
    }
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
        let looked = call.call.upstream_calls.get();
        let mut calls = looked;
        let sent = self.send(call, &mut calls).await.unwrap_or_else(Sent::lost);
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
                let outcome = (calls > looked).then_some(outcome);
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
                    upstream_calls: calls,
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
    /// 2. What took time is decided again: the key and the grant must still hold. A write whose intent
    ///    is older than 4 s is not sent.
    /// 3. The call is sent, once. If its answer is lost, reading back may show that it happened;
    ///    otherwise the answer is 502 and says that this could not be confirmed.
    /// 4. The outcome is recorded after the answer; should that fail, the scheduler finds the
    ///    intent open.
    async fn write(&self, call: &Authorized<'_>) -> Finished<W::Response> {
        let received = &call.call.call.received;
        let looked = call.call.upstream_calls.get();
        let read_back = read_back(call);
        #[cfg(feature = "faults")]
        self.world.fault_point("before_intent").await;
        let recorded = self.record_intent(call, read_back.clone()).await; // (1)
        let (Ok(id) | Err((id, _))) = &recorded;
        let id = *id;
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
        if let Err((_, error)) = recorded {
            self.world.log(&format!("record an intent: {error}"));
            let refusal = store_unavailable();
            // It may have been stored all the same: then it is known that nothing was sent.
            let detail = format!("not sent: {}", refusal.message);
            let row = outcome_row(
                Outcome::Refused,
                refusal.status(),
                None,
                looked,
                Some(detail),
            );
            return Finished {
                reply: Reply::json(refusal.status(), refusal.body(received.origin)),
                after: vec![After::Outcome(row)],
            };
        }
        #[cfg(feature = "faults")]
        self.world.fault_point("after_intent").await;
        if let Err(refusal) = self.check_again(call, id).await {
            let row = outcome_row(
                Outcome::Refused,
                refusal.status(),
                None,
                looked,
                Some(format!("not sent: {}", refusal.message)),
            ); // (2)
            return Finished {
                reply: Reply::json(refusal.status(), refusal.body(received.origin)),
                after: vec![After::Outcome(row)],
            };
        }
        let mut calls = looked;
        let sent = self.send(call, &mut calls).await; // (3)
        #[cfg(feature = "faults")]
        self.world.fault_point("after_send").await;
        if sent.is_err()
            && call.call.is_write()
            && let Some(body) = self
                .read_back_now(read_back.as_ref(), id.time(), &mut calls)
                .await
        {
            let row = outcome_row(Outcome::Unknown, StatusCode::OK, None, calls, None);
            return Finished {
                reply: Reply::json(StatusCode::OK, body),
                after: vec![After::Settled(row)],
            };
        }
        let (mut refusal, outcome, cf_ray) = match sent.unwrap_or_else(Sent::lost) {
            Sent::Answer {
                reply,
                status,
                outcome,
                cf_ray,
                detail,
            } => {
                let row = outcome_row(outcome, status, cf_ray, calls, detail);
                return Finished {
                    reply,
                    after: vec![After::Outcome(row)],
                }; // (4)
            }
            Sent::Refused {
                refusal,
                outcome,
                cf_ray,
            } => (refusal, outcome.unwrap_or(Outcome::Refused), cf_ray),
        };
        let detail = refusal.message.clone();
        if outcome == Outcome::Unknown && call.call.is_write() {
            refusal.message = format!(
                "Could not confirm whether {}'s call to {} happened: {detail} Audit entry {id} will say once it is settled.",
                call.call.call.name(),
                call.call.action.infinitive(),
            );
        }
        let row = outcome_row(outcome, refusal.status(), cf_ray, calls, Some(detail));
        Finished {
            reply: Reply::json(refusal.status(), refusal.body(received.origin)),
            after: vec![After::Outcome(row)],
        } // (4)
    }

    /// Reads back once whether a write happened whose answer was lost, and if it did, what the
    /// caller's answer would have been. That it did not is not to be seen so soon: Cloudflare may
    /// still be at work on it; the scheduler looks again.
    async fn read_back_now(
        &self,
        read_back: Option<&ReadBack>,
        since: Timestamp,
        calls: &mut u32,
    ) -> Option<String> {
        let read_back = read_back?;
        *calls += 1;
        let exchange = Exchange {
            deadline_ms: SHORT_DEADLINE_MS,
            ..read_back.exchange()
        };
        let answer = self.world.exchange(&exchange).await.ok()?;
        let result = read_back.result(&answer, since)?;
        let remark = "Cloudflare's answer was lost; reading back showed that the call happened.";
        Some(format!(
            r#"{{"success":true,"errors":[],"messages":[{{"code":{},"message":"{remark}"}}],"result":{result}}}"#,
            Code::UpstreamUnknown.info().number
        ))
    }

    async fn record_intent(
        &self,
        call: &Authorized<'_>,
        read_back: Option<ReadBack>,
    ) -> Result<EntryId, (EntryId, StoreError)> {
        let who: Who = call.call.call.who();
        let what: What = call.call.what();
        let mut intent = Intent {
            id: self.world.entry_id(self.world.now()),
            who,
            what,
            grant: call.grant.clone(),
            reason: call.reason.clone(),
            read_back,
        };
        #[cfg(feature = "faults")]
        if self.world.is_planted("skip_intent") {
            return Ok(intent.id);
        }
        let mut tries = 0;
        let step = call
            .call
            .call
            .received
            .acting
            .and_then(|acting| acting.step);
        loop {
            let recorded = match step {
                None => self.store.record_intent(&intent).await,
                Some((hold, number)) => self
                    .store
                    .record_run_intent(&intent, hold, number)
                    .await
                    .and_then(|is_held| {
                        is_held.then_some(()).ok_or_else(|| {
                            StoreError::Unavailable("the run is held by another".to_owned())
                        })
                    }),
            };
            match recorded {
                // Another isolate took the number: take another.
                Err(StoreError::Conflict) if tries < 3 => {
                    tries += 1;
                    intent.id = self.world.entry_id(self.world.now());
                }
                Ok(()) => return Ok(intent.id),
                Err(error) => return Err((intent.id, error)),
            }
        }
    }

    /// Whether the call may still be sent: its intent is fresh, as the scheduler gives it up after a
    /// while, and what holds now still allows it.
    async fn check_again(&self, call: &Authorized<'_>, id: EntryId) -> Result<(), Refusal> {
        self.decide_again(call).await?;
        call.call.check_turn(self.world.now())?;
        if self.world.now().ms_since(id.time()) > SEND_WITHIN_MS {
            return Err(Refusal::new(
                Code::StoreUnavailable,
                "The store of this Zonekeeper took too long, so nothing was sent to Cloudflare.",
            ));
        }
        Ok(())
    }

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
        let caller = if let Some(acting) = authenticated.received.acting {
            acting.caller(&snapshot)
        } else if let Some(asset) = &authenticated.asset {
            self.view
                .holder(asset.key, &snapshot, self.store, now)
                .await
                .map_err(unavailable)?
        } else {
            let credential = authenticated
                .received
                .inbound
                .credentials
                .credential()
                .map_err(|_| gone())?;
            self.view
                .authenticate(credential, &snapshot, self.settings, self.store, now)
                .await
                .map_err(unavailable)?
        };
        let caller = caller.ok_or_else(gone)?;
        let request = call.call.request(call.call.named.facts(), now);
        let request = Request {
            principal: caller.principal,
            ..request
        };
        // A condition that was not there when the body was read would have had it written otherwise.
        let reads_as_before = call.call.reads_as_before(&snapshot.policy, &request);
        let (policy, principal) = (&snapshot.policy, caller.principal);
        let plan = self.rule(&call.call, policy, principal, now).plan;
        // What was used, and what is used up, is that of the configuration it was decided by.
        let counts_as_before = |plan: &Plan| {
            snapshot.version == authenticated.snapshot.version
                || (call.call.used_up.is_empty()
                    && self
                        .counted(&call.call, plan, policy, principal, now)
                        .is_empty())
        };
        if reads_as_before && plan.as_ref().is_some_and(counts_as_before) {
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

    async fn send(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<Sent<W::Response>, Fault> {
        let looked = *calls;
        let mut content_type = "application/json";
        let result = match &call.plan {
            Plan::Own(own) => self.answer_about_caller(call, *own, calls).await,
            Plan::FilteredRecords => self.filtered_records(call, calls).await,
            Plan::FilteredExport => {
                content_type = "text/plain; charset=utf-8";
                self.filtered_export(call, calls).await
            }
            Plan::JudgedRecord => self.judged_record(call, calls).await,
            Plan::Relay(permit) => return self.relay(call, *permit, calls).await,
        };
        Ok(match result {
            Ok(body) => Sent::Answer {
                reply: Reply::Own {
                    status: StatusCode::OK,
                    body,
                    content_type,
                    retry_after_secs: None,
                },
                status: StatusCode::OK,
                outcome: Outcome::Confirmed,
                cf_ray: None,
                detail: None,
            },
            Err(Failed::Refused(refusal)) => {
                let outcome = (*calls > looked && refusal.status().is_server_error())
                    .then_some(Outcome::Unknown);
                Sent::Refused {
                    refusal,
                    outcome,
                    cf_ray: None,
                }
            }
            Err(Failed::Upstream(answer)) => self.pass_on(answer),
        })
    }
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
    // What stays visible at a path that names no single thing proves nothing.
    let is_one = resolved.operation.template().ends_with('}');
    (resolved.operation.method() == Method::Delete && is_one && has_twin()).then(|| {
        ReadBack::Gone {
            target: call.call.checked.path.clone().into_owned(),
        }
    })
}
