//! Commit statuses and deployments: what is told to GitHub.

use serde_json::{Map, Value, json};

use super::{Outcome, Refusal, Repo, Request, actor, answer, is_commit, listed, node_id, time};
use crate::clock::Now;

/// *Seen*, of statuses and of deployment statuses.
const MAX_DESCRIPTION: usize = 140;
/// GitHub's documentation: statuses of one commit and context.
const MAX_STATUSES: usize = 1000;

/// A status of a commit.
#[derive(Debug)]
pub(super) struct Status {
    id: u64,
    sha: String,
    state: String,
    context: String,
    description: Value,
    target_url: Value,
    created: Now,
}

/// A deployment.
#[derive(Debug)]
pub(super) struct Deployment {
    id: u64,
    sha: String,
    environment: String,
    /// As it is answered, without the addresses.
    shown: Map<String, Value>,
    statuses: Vec<Value>,
}

type Body = Map<String, Value>;

/// A member that is text, or null where it is absent.
fn text<'a>(body: &'a Body, field: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::kind(field, "a string")),
    }
}

fn flag(body: &Body, field: &str, default: bool) -> Result<bool, Refusal> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value
            .as_bool()
            .ok_or_else(|| Refusal::kind(field, "a boolean")),
    }
}

/// One of a closed set of states.
fn state<'a>(body: &'a Body, resource: &str, known: &[&str]) -> Result<&'a str, Refusal> {
    let state = text(body, "state")?.ok_or_else(|| Refusal::kind("state", "a string"))?;
    if known.contains(&state) {
        return Ok(state);
    }
    let message = "state is not included in the list";
    Err(Refusal::field(resource, "state", message))
}

/// A description of at most 140 characters.
fn description(body: &Body, resource: &str) -> Result<Value, Refusal> {
    let given = text(body, "description")?;
    if given.is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        let message = "description is too long (maximum is 140 characters)";
        return Err(Refusal::field(resource, "description", message));
    }
    Ok(json!(given))
}

/// An address, which must be one of the web.
fn address(body: &Body, resource: &str, field: &str) -> Result<Value, Refusal> {
    let given = text(body, field)?.filter(|url| !url.is_empty());
    let is_web = |url: &str| {
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(' '))
    };
    if given.is_some_and(|url| !is_web(url)) {
        let message = format!("{field} must use http(s) scheme");
        return Err(Refusal::field(resource, field, &message));
    }
    Ok(json!(given))
}

impl Repo {
    /// `POST …/statuses/{sha}`.
    pub(super) fn add_status(&mut self, request: &Request<'_>, sha: &str, id: u64) -> Outcome {
        const RESOURCE: &str = "Status";
        let body = request.object()?;
        if !is_commit(sha) {
            return Err(Refusal::new(422, format!("No commit found for SHA: {sha}")));
        }
        let state = state(&body, RESOURCE, &["error", "failure", "pending", "success"])?;
        let context = text(&body, "context")?.unwrap_or("default");
        if context.is_empty() {
            return Err(Refusal::field(
                RESOURCE,
                "context",
                "context can't be blank",
            ));
        }
        let status = Status {
            id,
            sha: sha.to_ascii_lowercase(),
            state: state.to_owned(),
            context: context.to_owned(),
            description: description(&body, RESOURCE)?,
            target_url: address(&body, RESOURCE, "target_url")?,
            created: request.now,
        };
        let same = |other: &&Status| {
            other.sha == status.sha && other.context.eq_ignore_ascii_case(&status.context)
        };
        if self.statuses.iter().filter(same).count() >= MAX_STATUSES {
            let message = "This SHA and context has reached the maximum number of statuses.";
            return Err(Refusal::field(RESOURCE, "base", message));
        }
        let shown = self.render_status(&status, request.origin);
        self.statuses.push(status);
        Ok(answer(201, &shown))
    }

    fn render_status(&self, status: &Status, origin: &str) -> Value {
        json!({
            "url": format!("{}/statuses/{}", self.url(origin), status.sha), "avatar_url": null,
            "id": status.id, "node_id": node_id("SC", status.id), "state": status.state,
            "description": status.description, "target_url": status.target_url,
            "context": status.context, "created_at": time(status.created),
            "updated_at": time(status.created), "creator": actor(),
        })
    }

    /// `GET …/commits/{ref}/statuses`: newest first.
    pub(super) fn statuses(&self, request: &Request<'_>, reference: &str) -> Outcome {
        let Some(sha) = self.commit(reference) else {
            let message = format!("No commit found for SHA: {reference}");
            return Err(Refusal::new(422, message));
        };
        let statuses = self.statuses.iter().rev();
        let found: Vec<Value> = statuses
            .filter(|status| status.sha == sha)
            .map(|status| self.render_status(status, request.origin))
            .collect();
        let (shown, links) = request.page(&found);
        Ok(listed(&json!(shown), links))
    }

    /// `…/deployments…`.
    pub(super) fn deployments(
        &mut self,
        request: &Request<'_>,
        method: &str,
        rest: &[&str],
        id: u64,
    ) -> Outcome {
        match (method, rest) {
            ("GET", []) => {
                let passes = |deployment: &&Deployment| {
                    let fits = |key, value: &str| {
                        request
                            .query
                            .non_empty(key)
                            .is_none_or(|wanted| wanted == value)
                    };
                    fits("sha", &deployment.sha) && fits("environment", &deployment.environment)
                };
                let found = self.deployments.iter().rev().filter(passes);
                let found: Vec<Value> = found
                    .map(|deployment| self.render_deployment(deployment, request.origin))
                    .collect();
                let (shown, links) = request.page(&found);
                Ok(listed(&json!(shown), links))
            }
            ("POST", []) => self.add_deployment(request, id),
            ("GET", [one]) => {
                let deployment = self.deployment(one)?;
                Ok(answer(
                    200,
                    &self.render_deployment(deployment, request.origin),
                ))
            }
            ("GET", [one, "statuses"]) => {
                let newest: Vec<Value> = self
                    .deployment(one)?
                    .statuses
                    .iter()
                    .rev()
                    .cloned()
                    .collect();
                let (shown, links) = request.page(&newest);
                Ok(listed(&json!(shown), links))
            }
            ("POST", [one, "statuses"]) => self.add_deployment_status(request, one, id),
            _ => Err(Refusal::not_found()),
        }
    }

    fn deployment(&self, id: &str) -> Result<&Deployment, Refusal> {
        let mut deployments = self.deployments.iter();
        let found = deployments.find(|deployment| id.parse() == Ok(deployment.id));
        found.ok_or_else(Refusal::not_found)
    }

    /// The statuses of a commit stand in the way of a deployment: those of `required_contexts`, and
    /// where that is absent every one (*seen*: 409). `auto_merge` has nothing to merge here.
    fn add_deployment(&mut self, request: &Request<'_>, id: u64) -> Outcome {
        const RESOURCE: &str = "Deployment";
        let body = request.object()?;
        let reference = text(&body, "ref")?.filter(|text| !text.is_empty());
        let reference = reference.ok_or_else(|| Refusal::kind("ref", "a string"))?;
        let Some(sha) = self.commit(reference) else {
            return Err(Refusal::new(422, format!("No ref found for: {reference}")));
        };
        let required = match body.get("required_contexts") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => Some(list),
            Some(_) => return Err(Refusal::kind("required_contexts", "an array of strings")),
        };
        flag(&body, "auto_merge", true)?;
        let contexts = self.contexts(&sha);
        let is_fine = match required {
            None => contexts.iter().all(|status| status.state == "success"),
            Some(list) => list.iter().filter_map(Value::as_str).all(|wanted| {
                let mut contexts = contexts.iter();
                let status = contexts.find(|s| s.context.eq_ignore_ascii_case(wanted));
                status.is_some_and(|status| status.state == "success")
            }),
        };
        if !is_fine {
            let contexts: Vec<Value> = contexts
                .iter()
                .map(|status| json!({"context": status.context, "state": status.state}))
                .collect();
            let error = json!({
                "contexts": contexts, "resource": RESOURCE, "field": "required_contexts",
                "code": "invalid",
            });
            let message = format!("Conflict: Commit status checks failed for {reference}.");
            return Err(Refusal {
                errors: Some(json!([error])),
                ..Refusal::new(409, message)
            });
        }
        let environment = text(&body, "environment")?.unwrap_or("production");
        let production = flag(&body, "production_environment", environment == "production")?;
        let payload = body.get("payload").cloned();
        let shown = json!({
            "id": id, "node_id": node_id("DE", id), "sha": sha, "ref": reference,
            "task": text(&body, "task")?.unwrap_or("deploy"),
            "payload": payload.filter(|p| !p.is_null()).unwrap_or_else(|| json!({})),
            "original_environment": environment, "environment": environment,
            "description": description(&body, RESOURCE)?, "creator": actor(),
            "created_at": time(request.now), "updated_at": time(request.now),
            "transient_environment": flag(&body, "transient_environment", false)?,
            "production_environment": production,
        });
        let deployment = Deployment {
            id,
            sha,
            environment: environment.to_owned(),
            shown: shown.as_object().cloned().unwrap_or_default(),
            statuses: Vec::new(),
        };
        let shown = self.render_deployment(&deployment, request.origin);
        self.deployments.push(deployment);
        Ok(answer(201, &shown))
    }

    /// The newest status of each context of a commit.
    fn contexts(&self, sha: &str) -> Vec<&Status> {
        let mut newest: Vec<&Status> = Vec::new();
        for status in self.statuses.iter().rev().filter(|s| s.sha == sha) {
            let is_known = |other: &&Status| other.context.eq_ignore_ascii_case(&status.context);
            if !newest.iter().any(is_known) {
                newest.push(status);
            }
        }
        newest
    }

    fn render_deployment(&self, deployment: &Deployment, origin: &str) -> Value {
        let repository = self.url(origin);
        let url = format!("{repository}/deployments/{}", deployment.id);
        let mut shown = deployment.shown.clone();
        shown.insert("statuses_url".to_owned(), json!(format!("{url}/statuses")));
        shown.insert("url".to_owned(), json!(url));
        shown.insert("repository_url".to_owned(), json!(repository));
        Value::Object(shown)
    }

    fn add_deployment_status(&mut self, request: &Request<'_>, one: &str, id: u64) -> Outcome {
        const RESOURCE: &str = "DeploymentStatus";
        const STATES: [&str; 7] = [
            "error",
            "failure",
            "inactive",
            "in_progress",
            "queued",
            "pending",
            "success",
        ];
        let environment = self.deployment(one)?.environment.clone();
        let body = request.object()?;
        let repository = self.url(request.origin);
        let deployment_url = format!("{repository}/deployments/{one}");
        let log_url = address(&body, RESOURCE, "log_url")?;
        // The older name of the same address.
        let target_url = match &log_url {
            Value::Null => address(&body, RESOURCE, "target_url")?,
            url => url.clone(),
        };
        let shown = json!({
            "url": format!("{deployment_url}/statuses/{id}"), "id": id,
            "node_id": node_id("DES", id), "state": state(&body, RESOURCE, &STATES)?,
            "creator": actor(), "description": description(&body, RESOURCE)?.as_str().unwrap_or(""),
            "environment": text(&body, "environment")?.unwrap_or(&environment),
            "target_url": target_url.as_str().unwrap_or(""),
            "log_url": target_url.as_str().unwrap_or(""),
            "environment_url": address(&body, RESOURCE, "environment_url")?.as_str().unwrap_or(""),
            "created_at": time(request.now), "updated_at": time(request.now),
            "deployment_url": deployment_url, "repository_url": repository,
        });
        let mut deployments = self.deployments.iter_mut();
        if let Some(deployment) = deployments.find(|d| one.parse() == Ok(d.id)) {
            deployment.statuses.push(shown.clone());
        }
        Ok(answer(201, &shown))
    }
}
