//! Tells others how runs ended: once a minute, whatever has not been told yet.
//!
//! Nothing is stored when a run ends. What is due follows from the runs and from what was told, so an
//! end is told of however it came about. A notice is taken in hand before it is sent: of two ticks one
//! sends it. After a crash it may come twice; its id is the same then.

mod github;

use http::StatusCode;
use serde_json::{Value, json};

use super::engine::Engine;
use super::outbound::why_not_fetch;
use super::platform::{Platform, Probe};
use crate::config::document::{Notification, NotificationForm};
use crate::identity::standard_signature;
use crate::model::{Secret, Timestamp, WebUrl};
use crate::run::{Run, RunState};
use crate::store::{Database, Notice, StoreError, Told};

/// Ends of runs are told of for so long.
const TOLD_MS: i64 = 24 * 3_600_000;
/// Notices of one tick: each takes four subrequests, and one more for each run that a rollback is about.
const AT_ONCE: u32 = 5;
/// Minutes between attempts.
const RETRY_MINUTES: [i64; 7] = [1, 2, 5, 15, 60, 180, 480];
/// A notice is in hand for so long: longer than sending it takes.
const IN_HAND_MS: i64 = 120_000;
/// Milliseconds that a receiver has.
const DEADLINE_MS: u32 = 10_000;
/// Bytes of its answer that are read at the most, for nothing.
const ANSWER_CAP: usize = 64 * 1024;

/// What is posted, and where.
struct Post {
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Why a notice is not sent, or not taken.
enum Failed {
    /// It may be later.
    Again(String),
    /// It never will be.
    Never(String),
}

impl<D: Database, P: Platform> Engine<'_, D, P> {
    /// Tells of what has not been told yet.
    ///
    /// # Errors
    /// [`StoreError`] when the store failed; the next tick makes up for this one.
    pub(super) async fn notify(&self) -> Result<(), StoreError> {
        let (store, world) = (self.gateway.store, self.gateway.world);
        let now = world.now();
        let snapshot = self.gateway.view.current(store, now).await?;
        let notifications = &snapshot.config.document.notifications;
        if notifications.is_empty() {
            return Ok(());
        }
        let told: Vec<Told<'_>> = notifications.iter().map(told).collect();
        let since = now.plus_ms(-TOLD_MS);
        for notice in store.due_notices(&told, since, now, AT_ONCE).await? {
            let is_named = |one: &&Notification| one.name == notice.notification;
            let Some(notification) = notifications.iter().find(is_named) else {
                continue;
            };
            self.tell(notification, &notice).await?;
        }
        Ok(())
    }

    async fn tell(&self, notification: &Notification, notice: &Notice) -> Result<(), StoreError> {
        let (store, world) = (self.gateway.store, self.gateway.world);
        let now = world.now();
        let first = now.plus_ms(IN_HAND_MS);
        let Some(attempts) = store.take_notice(notice, first, now).await? else {
            return Ok(());
        };
        let Some((run, _)) = store.run(notice.run).await? else {
            return store.end_notice(notice, "the run is gone", now).await;
        };
        let post = match notification.form {
            NotificationForm::Github => self.post_to_github(notification, &run).await?,
            _ => self.post_of(notification, notice, &run, now).map(Some),
        };
        let sent = match post {
            Ok(Some(post)) => self.send_post(&post).await.map(|()| "delivered"),
            Ok(None) => Ok("there is nothing at GitHub that it is about"),
            Err(failed) => Err(failed),
        };
        let why = match sent {
            Ok(how) => return store.end_notice(notice, how, now).await,
            Err(Failed::Again(why)) => {
                let index = attempts.saturating_sub(1) as usize;
                if let Some(minutes) = RETRY_MINUTES.get(index) {
                    let next = now.plus_ms(minutes * 60_000);
                    return store.postpone_notice(notice, next).await;
                }
                format!("given up after {attempts} attempts: {why}")
            }
            Err(Failed::Never(why)) => why,
        };
        world.log(&format!(
            "ALARM: notification {} of run {}: {why}",
            notification.name, notice.run
        ));
        store.end_notice(notice, &why, now).await
    }

    async fn send_post(&self, post: &Post) -> Result<(), Failed> {
        let (store, world) = (self.gateway.store, self.gateway.world);
        let snapshot = self.gateway.view.current(store, world.now()).await;
        let snapshot = snapshot.map_err(|error| Failed::Again(error.to_string()))?;
        let hosts = &snapshot.config.document.outbound.hosts;
        if let Some(why) = why_not_fetch(&post.url, hosts, self.gateway.settings) {
            // The address itself is a secret.
            let host = WebUrl::parse(&post.url).map(|url| url.host().to_owned());
            let host = host.unwrap_or_else(|| "its address".to_owned());
            return Err(Failed::Never(format!("{host}: {why}")));
        }
        let headers: Vec<(&str, &str)> = post
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let probe = Probe {
            url: &post.url,
            headers: &headers,
            body: Some(&post.body),
            besides: &[],
            cap: ANSWER_CAP,
            deadline_ms: DEADLINE_MS,
        };
        let answer = world.probe(&probe).await;
        let answer = answer.map_err(|why| Failed::Again(format!("the receiver {why}")))?;
        match StatusCode::from_u16(answer.status) {
            Ok(status) if status.is_success() => Ok(()),
            // The receiver wants no more of them.
            Ok(StatusCode::GONE) => Err(Failed::Never("the receiver answered 410".to_owned())),
            _ => Err(Failed::Again(format!(
                "the receiver answered {}",
                answer.status
            ))),
        }
    }

    /// The secret of the Worker that a notification names.
    fn secret_of(&self, name: Option<&str>) -> Result<Secret, Failed> {
        let name = name.unwrap_or_default();
        let secret = self.gateway.world.secret(name);
        // It may be set a moment later.
        secret.ok_or_else(|| Failed::Again(format!("the secret {name} is not set")))
    }

    /// What another receiver than GitHub is told.
    fn post_of(
        &self,
        notification: &Notification,
        notice: &Notice,
        run: &Run,
        now: Timestamp,
    ) -> Result<Post, Failed> {
        let secret = |name: &Option<String>| self.secret_of(name.as_deref());
        let url = secret(&notification.url)?.expose().to_owned();
        let json_type = ("content-type", "application/json".to_owned());
        if notification.form == NotificationForm::Slack {
            return Ok(Post {
                url,
                headers: vec![json_type],
                body: json!({"text": slack_text(run)}).to_string(),
            });
        }
        let body = event(run, now).to_string();
        let id = format!("{}-{}", notice.run, notice.fence);
        let at = now.unix_ms().div_euclid(1000).to_string();
        let key = secret(&notification.key)?;
        let signature = standard_signature(&key, &id, &at, body.as_bytes());
        let signature = signature.ok_or_else(|| {
            Failed::Again("its key is not one of Standard Webhooks (whsec_…)".to_owned())
        })?;
        Ok(Post {
            url,
            headers: vec![
                json_type,
                ("webhook-id", id),
                ("webhook-timestamp", at),
                ("webhook-signature", signature),
            ],
            body,
        })
    }
}

fn told(notification: &Notification) -> Told<'_> {
    let outcomes: Vec<&str> = if notification.outcomes.is_empty() {
        Notification::USUAL_OUTCOMES.to_vec()
    } else {
        notification.outcomes.iter().map(String::as_str).collect()
    };
    (&notification.name, &notification.jobs, outcomes)
}

/// How a run ended, in a sentence.
fn said(run: &Run) -> String {
    let state = match run.state {
        RunState::NeedsApproval => "needs an approval",
        RunState::Unknown => "ended, and somebody must look at it",
        RunState::Cancelled => "was cancelled",
        other => other.as_str(),
    };
    let reason = run.reason.as_deref().unwrap_or_default();
    format!("{} {state}. {reason}", run.job)
}

/// Text as Slack takes it (<https://api.slack.com/reference/surfaces/formatting#escaping>).
fn slack_text(run: &Run) -> String {
    let text = format!("{} (run {})", said(run), run.id);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What ended, in the form of Standard Webhooks.
fn event(run: &Run, now: Timestamp) -> Value {
    json!({
        "type": format!("run.{}", run.state.as_str()),
        "timestamp": now,
        "data": {
            "run": run.id,
            "job": run.job,
            "kind": run.kind,
            "run_as": run.run_as,
            "started_by": run.started_by,
            "state": run.state.as_str(),
            "reason": run.reason,
            "result": run.result,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
        },
    })
}
