//! `POST /hooks/{name}`.

use sha2::{Digest as _, Sha256};

use super::HOOKS_PREFIX;
use super::alarm::usable;
use super::judge::event_of;
use super::start::{Arrived, answer};
use crate::audit::{Action, Event, What, Who, delivery_credential};
use crate::config::document::Hook;
use crate::gateway::{After, Code, Finished, Gateway, Inbound, Refusal, Reply, sanitised};
use crate::identity::{CredentialError, prove_delivery};
use crate::jobs::Platform;
use crate::model::{hex, json};
use crate::store::{Database, Delivery, DeliveryOutcome, StoreError};

/// Most bytes of a body.
const BODY_CAP: usize = 1 << 20;

/// Why nothing became of a delivery: what its sender is told, and what is on record.
struct Rejected {
    refusal: Refusal,
    /// Where it is more than the sender is told.
    reason: Option<String>,
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            reason: None,
        }
    }
}

/// The one answer to every delivery that proves nothing, whether there is such a hook or not.
fn unproven(reason: impl Into<String>) -> Rejected {
    let message = "The delivery is not accepted: there is no such hook, or what would prove whose it is is missing, wrong or too old. The audit log says which.";
    Rejected {
        refusal: Refusal::new(Code::InvalidCredential, message),
        reason: Some(reason.into()),
    }
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `POST /hooks/{name}`.
    ///
    /// 1. Another method is 405, another credential beside the delivery's own 400, a header that asks
    ///    for what is not built 501.
    /// 2. The body is read as it came: 413 over 1 MiB, 408 if too slow.
    /// 3. The delivery proves with a secret of the hook that it is the sender's; if not, or if there is
    ///    no such hook, 401. If a secret that might fit is not there, 503.
    /// 4. It is judged by the hook, and stored with its run and its audit entry: 202 with the run, 200
    ///    where none is due, 422 where the job cannot take what it brings. One that came before gets 200
    ///    and what came of it then.
    ///
    /// Nothing upstream is asked. What proves nothing leaves a row in the audit log only, of which there
    /// are so many a minute at the most.
    pub async fn receive_hook(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
        name: &str,
    ) -> Finished<P::Response> {
        let arrived = self.world.now();
        let Rejected { refusal, reason } = match self.take_delivery(inbound, name).await {
            Ok((delivery, is_first)) => {
                return Finished {
                    reply: answer(&delivery, is_first, origin),
                    after: Vec::new(),
                };
            }
            Err(rejected) => rejected,
        };
        let mut after = Vec::new();
        if refusal.code != Code::StoreUnavailable {
            let who = Who {
                principal: None,
                credential: "a delivery that proves nothing".to_owned(),
                source_ip: inbound.recorded_ip(),
                run: None,
            };
            let shown = sanitised(name, 64);
            let action = Action::new(format!("deliver an event to hook {shown}"));
            let now = self.world.now();
            after.push(After::Event(Box::new(Event {
                decision: "deny",
                reason: reason.unwrap_or_else(|| refusal.message.clone()),
                status: refusal.status().as_u16(),
                duration_ms: now.ms_since(arrived),
                ..Event::of(self.world.entry_id(now), who, what(inbound, &shown, action))
            })));
        }
        Finished {
            reply: Reply::json(refusal.status(), refusal.body(origin)),
            after,
        }
    }

    async fn take_delivery(
        &self,
        inbound: &Inbound<'_>,
        name: &str,
    ) -> Result<(Delivery, bool), Rejected> {
        let body = self.delivery_body(inbound).await?; // (1), (2)
        let failed = |error: StoreError| {
            self.world.log(&format!(
                "a delivery to hook {}: {error}",
                sanitised(name, 64)
            ));
            let message = "The store of this Zonekeeper cannot be reached; could not confirm that the delivery was stored, so send it again.";
            Refusal::new(Code::StoreUnavailable, message)
        };
        let now = self.world.now();
        // Read now, as the body may have taken its time.
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let mut hooks = snapshot.config.document.hooks.iter();
        let hook = hooks.find(|hook| hook.name == name);
        let hook = hook.ok_or_else(|| unproven("there is no such hook."))?;
        let secrets = usable(hook, self.world);
        let header = |name: &str| inbound.header(name);
        let proven = prove_delivery(hook.sender, &secrets, &header, &body, now);
        let proven = proven.map_err(|why| match missing(hook, secrets.len()) {
            None => unproven(format!("{why}.")),
            Some(refusal) => {
                self.world.log(&format!(
                    "ALARM: a delivery to the hook {} could not be checked, as a secret of {} is not set or of no use",
                    hook.name,
                    hook.secrets.join(" and ")
                ));
                refusal.into()
            }
        })?; // (3)
        let digest = hex(&Sha256::digest(&body));
        let text = String::from_utf8(body).ok();
        let parsed = text
            .as_ref()
            .and_then(|text| json::parse(text.as_bytes()).ok());
        let sender = hook.sender.describe();
        let event = match &parsed {
            Some(body) => event_of(hook.sender, proven.event, body),
            None => proven.event.map(str::to_owned),
        };
        let arrived = Arrived {
            id: proven.id.unwrap_or(&digest).to_owned(),
            event,
            body: parsed.as_ref(),
            text: text.as_deref().filter(|_| parsed.is_some()),
            digest: Some(digest.clone()),
            replay_of: None,
            started_by: format!("hook {}", hook.name),
        };
        let entry = |delivery: &Delivery| {
            let about = delivery.event.as_ref();
            let about = about.map_or_else(String::new, |event| format!(", {event}"));
            let credential =
                delivery_credential(&format!("{sender} delivery {}{about}", delivery.id));
            accepted(inbound, delivery, &hook.job, credential, proven.secret)
        };
        let stored = self.deliver(&snapshot, hook, &arrived, &entry);
        Ok(stored.await.map_err(failed)?) // (4)
    }

    /// Steps 1 and 2.
    async fn delivery_body(&self, inbound: &Inbound<'_>) -> Result<Vec<u8>, Refusal> {
        if inbound.method != "POST" {
            let message = "Deliveries come by POST.";
            return Err(Refusal::new(Code::MethodNotAllowed, message));
        }
        if inbound.credentials.credential() != Err(CredentialError::Missing) {
            let message = "What proves a delivery is its only credential here; send no other.";
            return Err(Refusal::new(Code::AmbiguousCredentials, message));
        }
        if let Some(header) = inbound.unsupported {
            let message = format!("The header {header} has no meaning here.");
            return Err(Refusal::new(Code::NotBuilt, message));
        }
        // A signature is over what was sent, and what is inflated was not.
        if inbound
            .content_encoding
            .is_some_and(|encoding| !matches!(encoding.trim(), "" | "identity"))
        {
            let message = "A delivery is not compressed.";
            return Err(Refusal::new(Code::MalformedBody, message));
        }
        self.sent_body(inbound, BODY_CAP).await
    }
}

/// Why a delivery that fits no secret is not simply refused: one that might fit is not there.
fn missing(hook: &Hook, usable: usize) -> Option<Refusal> {
    let message = "Deliveries to this hook cannot be checked now, as a secret of it is not set in the Worker; the alarms name it. Send it again later.";
    (usable < hook.secrets.len()).then(|| Refusal::new(Code::SecretMissing, message))
}

/// The entry of a delivery that is its sender's.
fn accepted(
    inbound: &Inbound<'_>,
    delivery: &Delivery,
    job: &str,
    credential: String,
    secret: &str,
) -> Event {
    let hook = &delivery.hook;
    let why = delivery.reason.as_deref().unwrap_or_default();
    let proved = format!("it is proved by {secret}");
    let (action, decision, reason, status) = match delivery.outcome {
        DeliveryOutcome::Started => {
            let run = delivery.run.map(|run| run.to_string()).unwrap_or_default();
            (format!("start run {run} of {job}"), "allow", proved, 202)
        }
        DeliveryOutcome::Test => ("deliver a test".to_owned(), "allow", proved, 200),
        DeliveryOutcome::Filtered => {
            let action = format!("deliver an event that {job} does not wait for");
            (action, "allow", why.to_owned(), 200)
        }
        DeliveryOutcome::Refused => {
            let reason = format!("hook {hook} could not start {job}: {why}.");
            (format!("start a run of {job}"), "deny", reason, 422)
        }
    };
    let who = Who {
        principal: Some(format!("hook {hook}")),
        credential,
        source_ip: inbound.recorded_ip(),
        run: delivery.run,
    };
    Event {
        decision,
        reason,
        status,
        ..Event::of(
            delivery.number,
            who,
            what(inbound, hook, Action::new(action)),
        )
    }
}

fn what(inbound: &Inbound<'_>, hook: &str, action: Action) -> What {
    What {
        operation: "zonekeeper-hook-delivery".to_owned(),
        method: sanitised(inbound.method, 20),
        path: format!("{HOOKS_PREFIX}{hook}"),
        zone: None,
        resources: Vec::new(),
        action,
        deprecated: false,
    }
}
