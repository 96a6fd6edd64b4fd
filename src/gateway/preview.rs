//! Answers what would happen to a call, without making it.

use std::rc::Rc;

use super::call::{Authenticated, Received, Stopped};
use super::deps::{Gateway, World};
use super::inbound::{Inbound, Verb};
use super::judge;
use super::refusal::{Code, Refusal};
use super::target::{RawTarget, below_prefix};
use super::view::{Caller, Snapshot};
use crate::model::Timestamp;
use crate::store::Database;

/// A call that is only asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose call it would be.
    pub principal: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its path, from `/client/v4` on.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
    /// Its JSON body.
    pub body: Option<&'a str>,
    /// Where it would come from.
    pub source_ip: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

/// What would be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// `allow`, `deny` or `approve`.
    pub decision: &'static str,
    /// The rule that would decide.
    pub grant: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// The operation.
    pub operation: String,
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Decides a call that nobody makes. Never calls upstream, so the name of a zone that the
    /// configuration reaches only by `*` may be unknown; a condition that needs it then works
    /// against the caller.
    ///
    /// # Errors
    /// [`Refusal`] when the question itself makes no sense, or the store is down.
    pub async fn preview(&self, question: &Question<'_>) -> Result<Preview, Refusal> {
        let now = self.world.now();
        let snapshot = self.view.current(self.store, now).await.map_err(|error| {
            self.world.log(&format!("preview: {error}"));
            super::call::store_unavailable()
        })?;
        self.preview_under(snapshot, question)
    }

    /// The same, under a configuration that need not be in force.
    ///
    /// # Errors
    /// [`Refusal`] when the question itself makes no sense.
    pub fn preview_under(
        &self,
        snapshot: Rc<Snapshot>,
        question: &Question<'_>,
    ) -> Result<Preview, Refusal> {
        let invalid = |message: &str| Refusal::new(Code::InvalidParams, message);
        let path = below_prefix(question.path)
            .ok_or_else(|| invalid("The field `path` must begin with /client/v4/."))?;
        let verb = Verb::parse(question.method).ok_or_else(|| {
            invalid("The field `method` must be one of GET, HEAD, POST, PUT, PATCH and DELETE.")
        })?;
        let principal = snapshot
            .policy
            .principal(question.principal)
            .ok_or_else(|| {
                invalid("The field `principal` names no principal of the configuration in force.")
            })?;
        let caller = Caller {
            principal,
            name: question.principal.into(),
            key: None,
        };
        let inbound = Inbound {
            method: question.method,
            source_ip: question.source_ip,
            ..Inbound::default()
        };
        let raw = RawTarget {
            path,
            query: question.query,
        };
        let received = Received {
            inbound: &inbound,
            raw,
            arrived: question.at,
            origin: "",
            acting: None,
            zones: self.world,
        };
        let call = Authenticated {
            received,
            verb,
            caller,
            snapshot,
        };
        let decided = call
            .target()
            .and_then(|call| match (call.judged(), question.body) {
                (Some(judged), Some(body)) => {
                    let zone_name = call
                        .zone
                        .and_then(|zone| self.known_zone_name(&call.call.snapshot, zone));
                    let holds_own = zone_name
                        .as_deref()
                        .is_some_and(|name| self.holds_own(name));
                    match judge::read_json(body.as_bytes())
                        .and_then(|json| call.judge(judged, json, zone_name.as_deref(), holds_own))
                    {
                        Ok(judgement) => Ok(call.with(judgement)),
                        Err(refusal) => Err(call.stop(refusal)),
                    }
                }
                _ => Ok(call),
            })
            .and_then(|call| self.authorize(call));
        Ok(match decided {
            Ok(call) => Preview {
                decision: "allow",
                operation: call.call.what().operation,
                grant: call.grant,
                reason: call.reason,
            },
            Err(stopped) => {
                let Stopped {
                    refusal,
                    what,
                    decision,
                    grant,
                    ..
                } = *stopped;
                Preview {
                    decision,
                    grant,
                    reason: refusal.message,
                    operation: what.operation,
                }
            }
        })
    }
}
