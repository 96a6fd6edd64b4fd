//! `hooks`: what there is, what was delivered, and a delivery once more.

use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::envelope::{listing, page_info, success};
use super::runs::{MAX_LIMIT, Query, wrong_cursor};
use super::serve::{Admitted, change_refusal};
use crate::audit::Action;
use crate::config::document::Hook;
use crate::gateway::{Code, Gateway, Refusal, Reply, sanitised, split_url};
use crate::hooks::{Arrived, HOOKS_PREFIX, answer, missing_secrets};
use crate::jobs::{Platform, new_run_id};
use crate::model::EntryId;
use crate::model::json::parse;
use crate::store::{Database, Delivery};

fn shown(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "time": delivery.number.time(),
        "event": delivery.event,
        "outcome": delivery.outcome.as_str(),
        "reason": delivery.reason,
        "run_id": delivery.run,
        "replay_of": delivery.replay_of,
        "audit": delivery.number.to_string(),
    })
}

fn no_hook(name: &str) -> Refusal {
    let message = format!(
        "There is no hook {:?} in the configuration in force.",
        sanitised(name, 64)
    );
    Refusal::new(Code::NotFound, message)
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `GET /hooks`
    pub(super) async fn list_hooks(&self) -> Result<Reply<P::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("list hooks", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let document = &snapshot.config.document;
        let names: Vec<&str> = document
            .hooks
            .iter()
            .map(|hook| hook.name.as_str())
            .collect();
        let last = self.store.last_deliveries(&names).await.map_err(failed)?;
        let items = document.hooks.iter().map(|hook| {
            let mut item = hook.to_json();
            let last = last.iter().find(|delivery| delivery.hook == hook.name);
            let facts = json!({
                "path": format!("{HOOKS_PREFIX}{}", hook.name),
                "last_delivery": last.map(shown),
                "missing_secrets": missing_secrets(hook, self.world),
            });
            if let (Some(item), Value::Object(facts)) = (item.as_object_mut(), facts) {
                item.extend(facts);
            }
            item
        });
        success(StatusCode::OK, items.collect(), &[])
    }

    /// `GET /hooks/{name}/deliveries?outcome=&limit=&cursor=`, newest first.
    pub(super) async fn list_deliveries(
        &self,
        call: &Call<'_>,
        name: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let query = Query::read(call.query, &["outcome", "limit", "cursor"], MAX_LIMIT)?;
        let below = query.cursor.as_deref().map(str::parse::<EntryId>);
        let below = below.transpose().map_err(|_| wrong_cursor())?;
        let now = self.world.now();
        let failed = |error| self.store_failed("list deliveries", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        named(&snapshot.config.document.hooks, name)?;
        let deliveries = self
            .store
            .deliveries(name, query.outcome, below, query.limit)
            .await
            .map_err(failed)?;
        let is_full = deliveries.len() >= query.limit as usize;
        let cursor = deliveries.last().filter(|_| is_full);
        let cursor = cursor.map(|delivery| delivery.number.to_string());
        let info = page_info(deliveries.len(), cursor.as_deref());
        let items: Value = deliveries.iter().map(shown).collect();
        listing(StatusCode::OK, &items.to_string(), Some(info), &[])
    }

    /// `POST /hooks/{name}/deliveries/{id}/replay`: judges the delivery's body once more, by the hook as
    /// it is now, and starts another run. The replay is a delivery itself.
    pub(super) async fn replay_delivery(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("replay a delivery", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let hook = named(&snapshot.config.document.hooks, name)?;
        let found = self.store.delivery(name, id).await.map_err(failed)?;
        let (first, body) =
            found.ok_or_else(|| Refusal::new(Code::NotFound, "There is no such delivery."))?;
        let body = body.and_then(|text| parse(text.as_bytes()).ok());
        let body = body.ok_or_else(|| {
            let message =
                "The delivery cannot be replayed: its body was not JSON, or is not kept any more.";
            Refusal::new(Code::InvalidParams, message)
        })?;
        let random = new_run_id(self.world).ok_or_else(|| {
            Refusal::new(Code::StoreUnavailable, "There is no randomness to be had.")
        })?;
        let arrived = Arrived {
            id: random.to_string(),
            event: first.event,
            body: Some(&body),
            text: None,
            digest: None,
            replay_of: Some(first.replay_of.unwrap_or(first.id)),
            started_by: admitted.who.principal.clone().unwrap_or_default(),
        };
        self.admit_again(call).await?;
        let entry = |delivery: &Delivery| {
            let came_of_it = match delivery.run {
                Some(run) => format!("which started run {run} of {}", hook.job),
                None => format!("which was {}", delivery.outcome.as_str()),
            };
            let id = delivery.replay_of.as_deref().unwrap_or_default();
            let action = Action::new(format!("replay delivery {id} of hook {name}, {came_of_it}"));
            let mut event = self.change_event(call, "zonekeeper-hook-replay", admitted, action);
            event.run = delivery.run;
            event
        };
        let stored = self.deliver(&snapshot, hook, &arrived, &entry);
        let (delivery, is_first) = stored.await.map_err(|error| {
            self.world.log(&format!("replay a delivery: {error}"));
            change_refusal(&error)
        })?;
        let (origin, ..) = split_url(call.inbound.url);
        Ok(answer(&delivery, is_first, origin))
    }
}

fn named<'h>(hooks: &'h [Hook], name: &str) -> Result<&'h Hook, Refusal> {
    let mut hooks = hooks.iter();
    hooks
        .find(|hook| hook.name == name)
        .ok_or_else(|| no_hook(name))
}
