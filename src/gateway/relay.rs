//! Handing a call through, and reads of our own: sent, tried again where that is safe, classified,
//! searched for our credentials.

use super::asset_jwt;
use super::call::{Authorized, Targeted};
use super::carry::ActingBody;
use super::deps::{Gateway, Reply, World};
use super::execute::Sent;
use super::records::MULTIPART;
use super::refusal::{Code, Refusal};
use crate::catalog::Method;
use crate::policy::Permit;
use crate::store::Database;
use crate::upstream::{
    Answer, BUFFERED_ANSWER_CAP, ERROR_BODY_CAP, Envelope, Exchange, Fault, Head, Outcome, Relay,
    classify, retry_delay_ms,
};

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Cloudflare's answer to a read that was to be judged and failed.
    pub(super) fn pass_on(&self, answer: Answer) -> Sent<W::Response> {
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
    pub(super) async fn relay(
        &self,
        call: &Authorized<'_>,
        permit: Permit,
        calls: &mut u32,
    ) -> Result<Sent<W::Response>, Fault> {
        let targeted = &call.call;
        let method = targeted.call.verb.method;
        let given = targeted
            .call
            .received
            .acting
            .and_then(|acting| acting.body.as_ref());
        let target = targeted.checked.to_target();
        let relay = if let Some(upload) = &targeted.upload {
            Relay::new(permit, method, target, Some(upload.clone())).of_type(MULTIPART)
        } else {
            let judged = targeted.judgement.as_ref();
            let body = judged
                .map(|judgement| judgement.body.write())
                .or_else(|| match given {
                    Some(ActingBody::Json(text)) => Some((*text).to_owned()),
                    _ => None,
                });
            let relay = Relay::new(permit, method, target, body)
                .with_form(targeted.attached.form.clone())
                .with_bearer(targeted.bearer());
            match given {
                Some(form @ ActingBody::Form(_)) => relay.of_type(form.content_type()),
                _ => relay,
            }
        };
        let operation = targeted.checked.resolved.as_ref();
        let gives_token = operation.is_some_and(|found| asset_jwt::gives_token(found.operation));
        let is_read = !targeted.is_write() && method == Method::Get;
        #[cfg(feature = "faults")]
        if !is_read && self.world.is_planted("send_twice") {
            // Whatever comes of it: the bug is that there is a second one.
            let _ = self.world.relay(&relay).await;
        }
        let mut attempt = 0;
        let ended = loop {
            attempt += 1;
            *calls += 1;
            let ended = self.world.relay(&relay).await;
            let status = ended
                .as_ref()
                .map(|(head, _)| head.status)
                .map_err(|fault| *fault);
            let delay = if is_read {
                retry_delay_ms(attempt, status, self.world.jitter())
            } else {
                None
            };
            match delay {
                Some(ms) => self.world.pause(ms).await,
                None => break ended,
            }
        };
        let is_judged = targeted.judgement.is_some() || targeted.edits.is_some();
        Ok(match ended? {
            (head, response)
                if head.status.is_success()
                    && targeted.is_write()
                    && (method != Method::Delete || targeted.edits.is_some())
                    && is_judged =>
            {
                self.relay_judged(targeted, head, response).await
            }
            (head, response) if head.status.is_success() && gives_token => {
                self.relay_token(call, head, response).await
            }
            (head, response) if head.status.is_success() => Sent::Answer {
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
            (head, response) => {
                self.relay_error(head, response, targeted.deprecation())
                    .await
            }
        })
    }

    /// A 2xx answer to a call whose body was judged: read, because only its envelope says whether
    /// the call was carried out. Of records that were looked up the result must be what was allowed.
    async fn relay_judged(
        &self,
        call: &Targeted<'_>,
        head: Head,
        response: W::Response,
    ) -> Sent<W::Response> {
        let body = self.world.read(&response, BUFFERED_ANSWER_CAP).await;
        let envelope = body.as_deref().and_then(Envelope::parse);
        let (Some(body), Some(envelope)) = (body, envelope) else {
            return Sent::Refused {
                refusal: Refusal::new(
                    Code::UpstreamUnknown,
                    format!(
                        "Cloudflare answered {} with a body that broke off or is not that of its API.",
                        head.status.as_u16()
                    ),
                ),
                outcome: Some(Outcome::Unknown),
                cf_ray: head.cf_ray,
            };
        };
        let outcome = classify(head.status, Some(&envelope), head.retry_after_secs);
        let verified = call
            .edits
            .as_ref()
            .filter(|_| outcome == Outcome::Confirmed);
        let verified = verified.map_or(Ok(()), |edits| edits.verify(envelope.result.as_deref()));
        if let Err(how) = verified {
            return self.changed_meanwhile(call, &how, head.cf_ray);
        }
        Sent::Answer {
            status: head.status,
            outcome,
            cf_ray: head.cf_ray,
            detail: Some(envelope.describe_errors()).filter(|text| !text.is_empty()),
            reply: Reply::Relayed {
                response,
                body: Some(body),
                deprecated: call.deprecation(),
            },
        }
    }

    /// The call was carried out on something else than was looked up: somebody changed it past the
    /// gateway. The answer may show what the caller may not see.
    fn changed_meanwhile(
        &self,
        call: &Targeted<'_>,
        how: &str,
        cf_ray: Option<String>,
    ) -> Sent<W::Response> {
        let refusal = Refusal::new(
            Code::UpstreamUnknown,
            format!(
                "Cloudflare carried out {}'s call to {}, but what came of it is not what was allowed: somebody changed the records past this Zonekeeper at the same time. The answer is withheld; look at the records.",
                call.call.name(),
                call.action.infinitive()
            ),
        );
        self.world.log(&format!(
            "ALARM: toctou_detected: {} did {}: {how}",
            call.call.name(),
            call.action.infinitive()
        ));
        Sent::Answer {
            reply: Reply::json(refusal.status(), refusal.body(call.call.received.origin)),
            status: refusal.status(),
            outcome: Outcome::Confirmed,
            cf_ray,
            detail: Some(format!("toctou_detected: {how}")),
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
        let exchange = Exchange::get(target.to_owned());
        self.exchange(&exchange, &mut 0).await
    }

    /// A read of our own that a call needs before it is decided, counted with it.
    pub(super) async fn look_upstream(
        &self,
        call: &Targeted<'_>,
        exchange: &Exchange,
    ) -> Result<Answer, Refusal> {
        let mut calls = call.upstream_calls.get();
        let answer = self.exchange(exchange, &mut calls).await;
        call.upstream_calls.set(calls);
        answer
    }

    pub(super) async fn exchange(
        &self,
        exchange: &Exchange,
        calls: &mut u32,
    ) -> Result<Answer, Refusal> {
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
}

pub(super) fn fault_refusal(fault: Fault) -> Refusal {
    let mut text = fault.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Refusal::new(Code::UpstreamUnknown, format!("{text}."))
}
