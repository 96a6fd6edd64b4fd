//! What GitHub is told: the status of the deployment that a run carries out, if it names one, else that of
//! its commit.
//!
//! A rollback speaks of what it takes back, and one of a rollback of what is in force again by it. A run that
//! has neither deployment nor commit, as somebody began it by hand, is about nothing there.

use serde_json::{Value, json};

use super::{Failed, Post, said};
use crate::config::document::Notification;
use crate::jobs::engine::Engine;
use crate::jobs::platform::Platform;
use crate::run::{Run, RunState};
use crate::store::{Database, StoreError};

/// GitHub's API, unless the configuration says otherwise.
const API: &str = "https://api.github.com";
/// Characters of a status' description at the most
/// (<https://docs.github.com/en/rest/commits/statuses#create-a-commit-status>,
/// <https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status>).
const MAX_DESCRIPTION: usize = 140;
/// Rollbacks of rollbacks that are followed.
const MAX_ROLLBACKS: usize = 4;

/// What a run does to the version that a deployment brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Bring,
    TakeBack,
    BringBack,
}

impl<D: Database, P: Platform> Engine<'_, D, P> {
    /// What is posted of a run; none where GitHub knows nothing that the run is about.
    pub(super) async fn post_to_github(
        &self,
        notification: &Notification,
        run: &Run,
    ) -> Result<Result<Option<Post>, Failed>, StoreError> {
        let mut brought = run.clone();
        let mut does = Does::Bring;
        for _ in 0..MAX_ROLLBACKS {
            let Some(id) = brought.params.get("rolls_back").and_then(Value::as_str) else {
                break;
            };
            let found = match id.parse() {
                Ok(id) => self.gateway.store.run(id).await?,
                Err(_) => None,
            };
            let Some((found, _)) = found else {
                return Ok(Ok(None));
            };
            brought = found;
            does = match does {
                Does::TakeBack => Does::BringBack,
                Does::Bring | Does::BringBack => Does::TakeBack,
            };
        }
        Ok(self.status_post(notification, run, &brought, does))
    }

    fn status_post(
        &self,
        notification: &Notification,
        run: &Run,
        brought: &Run,
        does: Does,
    ) -> Result<Option<Post>, Failed> {
        let Some((path, body)) = status(run, brought, does)? else {
            return Ok(None);
        };
        let repository = notification.repository.as_deref().unwrap_or_default();
        let api = notification.api.as_deref().unwrap_or(API);
        let api = api.trim_end_matches('/');
        let token = self.secret_of(notification.key.as_deref())?;
        Ok(Some(Post {
            url: format!("{api}/repos/{repository}/{path}"),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("accept", "application/vnd.github+json".to_owned()),
                ("user-agent", "zonekeeper".to_owned()),
                ("authorization", format!("Bearer {}", token.expose())),
            ],
            body: body.to_string(),
        }))
    }
}

/// The status, and its place in the repository.
fn status(run: &Run, brought: &Run, does: Does) -> Result<Option<(String, Value)>, Failed> {
    // However a rollback ended: what counts is whether it gave the version all traffic.
    let percent = run
        .result
        .as_ref()
        .and_then(|it| it.get("percent")?.as_u64());
    let has_all = percent == Some(100);
    let state = match (run.state, does) {
        (RunState::Succeeded, Does::Bring) => "success",
        (RunState::Failed | RunState::Cancelled, Does::Bring) => "failure",
        (_, Does::Bring) => "error",
        (RunState::Succeeded | RunState::Failed | RunState::Cancelled, _) if has_all => {
            if does == Does::TakeBack {
                "inactive"
            } else {
                "success"
            }
        }
        (RunState::Unknown, _) if has_all => "error",
        _ => return Ok(None),
    };
    let said = match (state, does) {
        (_, Does::Bring) | ("error", _) => said(run),
        (_, Does::TakeBack) => format!("{} was rolled back by run {}.", run.job, run.id),
        (_, Does::BringBack) => format!("{} is in force again by run {}.", run.job, run.id),
    };
    let description: String = said.chars().take(MAX_DESCRIPTION).collect();
    if let Some(id) = brought.params.get("github_deployment") {
        let id = id.as_u64().ok_or_else(|| {
            Failed::Never("the run's parameter `github_deployment` is no id".to_owned())
        })?;
        let body = json!({"state": state, "description": description});
        return Ok(Some((format!("deployments/{id}/statuses"), body)));
    }
    let Some(commit) = brought.params.get("commit") else {
        return Ok(None);
    };
    let is_sha = |sha: &&str| sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = commit.as_str().filter(is_sha).ok_or_else(|| {
        Failed::Never("the run has no parameter `commit` of 40 digits".to_owned())
    })?;
    // A commit's status has no such state.
    let state = if state == "inactive" {
        "failure"
    } else {
        state
    };
    let context = format!("zonekeeper/{}", run.job);
    let body = json!({"state": state, "context": context, "description": description});
    Ok(Some((format!("statuses/{commit}"), body)))
}
