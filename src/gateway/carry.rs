//! A call that a run makes: the same steps as a caller's, but for the credential.
//!
//! The principal is the one the run acts as. Its grants decide, now, and the audit log says which run
//! it was. The intent of a write is stored only while the run is held, so that whoever lost it sends
//! nothing.

use std::borrow::Cow;
use std::rc::Rc;

use http::StatusCode;

use super::authorize::Plan;
use super::call::{Authenticated, Received, Step};
use super::deps::{After, Finished, Gateway, Reply, World};
use super::inbound::{Inbound, Verb};
use super::pipeline::supported;
use super::refusal::{Code, Refusal};
use super::target::{PREFIX, RawTarget};
use super::view::{Caller, Snapshot};
use crate::audit::{Event, OutcomeRow, Who};
use crate::catalog::Method;
use crate::model::RunId;
use crate::store::{Database, Hold};
use crate::upstream::{BUFFERED_ANSWER_CAP, Outcome};
use crate::workers::form_type;

/// The run in whose name a call is made.
#[derive(Debug, Clone)]
pub struct Acting<'a> {
    /// The principal it acts as.
    pub principal: &'a str,
    /// What stands for a credential on record, such as `job nightly, run …`.
    pub credential: &'a str,
    /// The run, where it is one.
    pub run: Option<RunId>,
    /// How it is held and which of its steps the call is; a write needs one.
    pub step: Option<(Hold, u32)>,
    /// The body.
    pub body: Option<ActingBody<'a>>,
}

/// The body of a call that a run makes.
#[derive(Debug, Clone)]
pub enum ActingBody<'a> {
    /// JSON.
    Json(&'a str),
    /// A form.
    Form(Rc<Vec<u8>>),
}

impl ActingBody<'_> {
    /// What it holds.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Form(form) => form,
        }
    }

    /// Its type; of a form the boundary is in its first line.
    pub(super) fn content_type(&self) -> Cow<'static, str> {
        match self {
            Self::Json(_) => Cow::Borrowed("application/json"),
            Self::Form(form) => Cow::Owned(form_type(form)),
        }
    }
}

impl Acting<'_> {
    pub(super) fn who(&self) -> Who {
        Who {
            principal: Some(self.principal.to_owned()),
            credential: self.credential.to_owned(),
            source_ip: None,
            run: self.run,
        }
    }

    /// Whom it acts as, if the configuration still has that principal.
    pub(super) fn caller(&self, snapshot: &Snapshot) -> Option<Caller> {
        snapshot
            .policy
            .principal(self.principal)
            .map(|principal| Caller {
                principal,
                name: self.principal.into(),
                key: None,
            })
    }
}

/// How a run's call ended.
#[derive(Debug)]
pub enum Carried<R> {
    /// It was refused here and never sent; that is on record.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether somebody's approval would let it pass.
        wants_approval: bool,
    },
    /// It was not sent although it may be: the store failed, took too long, or the run is held by
    /// another.
    Unsent {
        /// Why, for the log.
        message: String,
        /// What is to be stored, where its intent was.
        row: Option<OutcomeRow>,
    },
    /// It was sent.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// Its status; ours where no answer came.
        status: StatusCode,
        /// Its answer, where it could be read.
        body: Option<Vec<u8>>,
        /// The answer itself, for its headers.
        response: Option<R>,
        /// What is to be stored of a write.
        row: Option<OutcomeRow>,
        /// What is to be stored of a read.
        events: Vec<Event>,
        /// Whether it is a list that shows some records only, as the principal's grants do.
        is_partial: bool,
    },
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Makes a call in the name of a run; `target` is path below `/client/v4` and query.
    ///
    /// The caller stores what comes back: the outcome of a write together with what it means for
    /// the run.
    pub async fn carry(
        &self,
        acting: &Acting<'_>,
        method: Method,
        target: &str,
    ) -> Carried<W::Response> {
        let url = format!("{PREFIX}{target}");
        let content_type = acting.body.as_ref().map(ActingBody::content_type);
        let inbound = Inbound {
            method: method.as_str(),
            url: &url,
            content_type: content_type.as_deref(),
            ..Inbound::default()
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let received = Received {
            inbound: &inbound,
            raw: RawTarget { path, query },
            arrived: self.world.now(),
            origin: "",
            acting: Some(acting),
            zones: self.world,
        };
        let arrived = received.arrived;
        let mut held = None;
        let steps = async {
            let verb = supported(&received)?;
            let call = self.authenticate(received, verb).await?;
            let call = self.target(call).await?;
            let call = self.look_up_records(call, &mut held).await?;
            let call = self.authorize(call)?;
            self.take_uses(call).await
        };
        match steps.await {
            Ok(call) => {
                let is_partial = matches!(call.plan, Plan::FilteredRecords | Plan::FilteredExport);
                let looked = call.call.upstream_calls.get();
                let mut finished = self.execute(call).await;
                finished.give_back(held);
                self.ended(finished, is_partial, looked).await
            }
            Err(stopped) => {
                if let Some(lease) = &held {
                    self.world.unlock_zone(lease).await;
                }
                let refusal = stopped.refusal.clone();
                if refusal.status().is_server_error() {
                    return Carried::Unsent {
                        message: refusal.message,
                        row: None,
                    };
                }
                let wants_approval = stopped.decision == "approve";
                self.refuse(*stopped, "", arrived).await;
                Carried::Refused {
                    refusal,
                    wants_approval,
                }
            }
        }
    }

    /// Step 2 of a run's call: the principal must still be there.
    pub(super) async fn admit_run<'a>(
        &self,
        received: Received<'a>,
        verb: Verb,
        acting: &Acting<'_>,
    ) -> Step<Authenticated<'a>> {
        let current = self.view.current(self.store, received.arrived).await;
        let snapshot = match current {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.world.log(&format!("admit a run: {error}"));
                return Err(received.stop(super::call::store_unavailable()));
            }
        };
        match acting.caller(&snapshot) {
            Some(caller) => Ok(Authenticated {
                received,
                verb,
                caller,
                asset: None,
                snapshot,
            }),
            None => Err(received.stop(Refusal::new(
                Code::Denied,
                format!(
                    "The run acts as {}, and the configuration has no such principal any more.",
                    acting.principal
                ),
            ))),
        }
    }

    /// Reads what came back, as nobody else will. `looked` calls were made before it was decided.
    async fn ended(
        &self,
        finished: Finished<W::Response>,
        is_partial: bool,
        looked: u32,
    ) -> Carried<W::Response> {
        let mut row = None;
        let mut events = Vec::new();
        for after in finished.after {
            match after {
                After::Outcome(outcome) => row = Some(outcome),
                // Its answer was lost, and reading back showed that it happened.
                After::Settled(outcome) => {
                    let now = self.world.now();
                    if let Err(error) = self.store.record_settled(&outcome, now).await {
                        self.world
                            .log(&format!("record outcome {}: {error}", outcome.id));
                    }
                    row = Some(OutcomeRow {
                        outcome: Outcome::Confirmed,
                        ..outcome
                    });
                }
                After::Event(event) => events.push(*event),
                After::Unlock(lease) => self.world.unlock_zone(&lease).await,
                After::KeyUse(..) => {}
            }
        }
        let (status, body, response) = match finished.reply {
            Reply::Own { status, body, .. } => (status, Some(body.into_bytes()), None),
            Reply::Relayed { response, body, .. } => {
                let status = row.as_ref().and_then(|row: &OutcomeRow| row.status);
                let status = status.or_else(|| events.last().map(|event: &Event| event.status));
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                let body = match body {
                    Some(body) => Some(body),
                    None => self.world.read(&response, BUFFERED_ANSWER_CAP).await,
                };
                (
                    status.unwrap_or(StatusCode::BAD_GATEWAY),
                    body,
                    Some(response),
                )
            }
        };
        let said = || String::from_utf8_lossy(body.as_deref().unwrap_or_default()).into_owned();
        match &row {
            // Its intent could not be stored.
            None if events.is_empty() => {
                return Carried::Unsent {
                    message: said(),
                    row: None,
                };
            }
            Some(stored)
                if stored.upstream_calls == looked && stored.outcome == Outcome::Refused =>
            {
                let message = stored.detail.clone().unwrap_or_else(said);
                return Carried::Unsent { message, row };
            }
            _ => {}
        }
        let outcome = row
            .as_ref()
            .map(|row| row.outcome)
            .or_else(|| events.last().and_then(|event| event.outcome))
            .unwrap_or(Outcome::Confirmed);
        Carried::Ended {
            outcome,
            status,
            body,
            response,
            row,
            events,
            is_partial,
        }
    }
}
