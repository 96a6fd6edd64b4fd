//! GitHub's REST API, as far as a deploy needs it; `/__sim/github` stands for
//! `https://api.github.com`.
//!
//! Field names and statuses are those of GitHub's documentation; a rule marked *seen* is an answer
//! that a public issue quotes, a *hypothesis* is general knowledge.
//!
//! Every repository is private: without a token there is nothing (404), with a wrong one 401. A
//! request without a user agent is refused. [`content`] is what is fetched (release assets and
//! artifacts, by way of a signed address that takes no token), [`reports`] what is told (commit
//! statuses and deployments).
//!
//! What tests put in, by `PUT` and without a token:
//! - `/__sim/github/repos/{owner}/{repo}`: an empty repository; `acme/site` is there from the start;
//! - `…/releases/{tag}/{asset name}` (the body is the asset), with `content_type`, `draft=true`,
//!   `prerelease=true`, `target_commitish`, and `digest` (`none`, or a wrong one) in the query;
//! - `…/runs/{run id}/artifacts/{name}` (the body is the zip), with `head_sha`, `head_branch`,
//!   `expired=true` and `digest` in the query.
//!
//! There is no git: every 40 hexadecimal digits are a commit, and the refs are `main` and the tags
//! of releases.

mod content;
mod reports;

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::api::Reply;
use crate::auth;
use crate::clock::Now;
use crate::control;
use crate::ids;
use crate::query::Query;
use content::{Artifact, Release};
use reports::{Deployment, Status};

/// The token that the simulated GitHub accepts.
pub const GITHUB_TOKEN: &str = "SimulatorGitHubToken_0123456789abcdefghij";

/// The commit of `main`: that of the workflow run in the tokens of a simulated issuer.
const MAIN: &str = "3a4f1b2c5d6e7f8091a2b3c4d5e6f70819203142";

/// Everything on GitHub.
#[derive(Debug, Default)]
pub(crate) struct GitHub {
    /// By owner and name in lower case, which are not case-sensitive.
    repos: BTreeMap<String, Repo>,
    /// The last id that was given to anything.
    last_id: u64,
}

/// A repository.
#[derive(Debug)]
struct Repo {
    id: u64,
    /// `owner/name` as it was put in.
    name: String,
    releases: Vec<Release>,
    artifacts: Vec<Artifact>,
    statuses: Vec<Status>,
    deployments: Vec<Deployment>,
}

/// A request to GitHub.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) origin: &'a str,
    pub(super) method: &'a str,
    /// Without its first slash.
    pub(super) path: &'a str,
    pub(super) query: Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    pub(super) now: Now,
}

impl Request<'_> {
    /// The body as an object.
    fn object(&self) -> Result<Map<String, Value>, Refusal> {
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(Refusal::new(400, "Body should be a JSON object")),
            Err(_) => Err(Refusal::new(400, "Problems parsing JSON")),
        }
    }

    /// This page of a list, newest first, and the header that names the others.
    fn page(&self, items: &[Value]) -> (Vec<Value>, Option<String>) {
        let number = |key, default: usize| {
            let given = self.query.non_empty(key).and_then(|text| text.parse().ok());
            given.filter(|n| *n >= 1).unwrap_or(default)
        };
        let (page, per_page) = (number("page", 1), number("per_page", 30).min(100));
        let last = items.len().div_ceil(per_page).max(1);
        let shown = items.iter().skip((page - 1).saturating_mul(per_page));
        let shown = shown.take(per_page).cloned().collect();
        let link = |to: usize, rel: &str| {
            let address = format!("{}/__sim/github/{}", self.origin, self.path);
            format!("<{address}?per_page={per_page}&page={to}>; rel=\"{rel}\"")
        };
        let links = (page < last).then(|| {
            let (next, last) = (link(page + 1, "next"), link(last, "last"));
            format!("{next}, {last}")
        });
        (shown, links)
    }
}

/// An answer other than what was asked for.
#[derive(Debug)]
struct Refusal {
    status: u16,
    message: String,
    errors: Option<Value>,
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            errors: None,
        }
    }

    fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    /// 422 for one field; the form is *seen* ("description is too long (maximum is 140
    /// characters)").
    fn field(resource: &str, field: &str, message: &str) -> Self {
        let error = json!({
            "resource": resource, "code": "custom", "field": field, "message": message,
        });
        Self {
            errors: Some(json!([error])),
            ..Self::new(422, "Validation Failed")
        }
    }

    /// 422 for a field of the wrong type (hypothesis).
    fn kind(field: &str, wanted: &str) -> Self {
        let message = format!("Invalid request.\n\nFor 'properties/{field}', not {wanted}.");
        Self::new(422, message)
    }

    fn reply(self) -> Reply {
        let mut body = json!({
            "message": self.message, "documentation_url": "https://docs.github.com/rest",
            "status": self.status.to_string(),
        });
        if let (Some(errors), Some(map)) = (self.errors, body.as_object_mut()) {
            map.insert("errors".to_owned(), errors);
        }
        answer(self.status, &body)
    }
}

type Outcome = Result<Reply, Refusal>;

fn answer(status: u16, body: &Value) -> Reply {
    Reply {
        content_type: "application/json; charset=utf-8",
        ..control::reply(status, body)
    }
}

fn listed(body: &Value, links: Option<String>) -> Reply {
    let mut reply = answer(200, body);
    reply.headers.extend(links.map(|links| ("link", links)));
    reply
}

/// The account that does everything.
fn actor() -> Value {
    json!({"login": "acme-deployer", "id": 1, "type": "User", "site_admin": false})
}

/// A commit by its id: 40 hexadecimal digits.
fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// GitHub prints whole seconds.
fn time(at: Now) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}

impl Repo {
    /// Its address in the API.
    fn url(&self, origin: &str) -> String {
        format!("{origin}/__sim/github/repos/{}", self.name)
    }

    /// The commit of a commit's id, a branch or a tag.
    fn commit(&self, reference: &str) -> Option<String> {
        let name = ["refs/heads/", "refs/tags/"]
            .iter()
            .find_map(|prefix| reference.strip_prefix(prefix))
            .unwrap_or(reference);
        if is_commit(name) {
            return Some(name.to_ascii_lowercase());
        }
        if name == "main" {
            return Some(MAIN.to_owned());
        }
        let release = self.releases.iter().find(|release| release.tag == name)?;
        let target = release.target.as_str();
        Some(if is_commit(target) {
            target.to_ascii_lowercase()
        } else {
            MAIN.to_owned()
        })
    }
}

impl GitHub {
    /// With the repository whose workflow the simulated issuers speak of.
    pub(crate) fn seeded() -> Self {
        let mut github = Self::default();
        github.repo("acme", "site");
        github
    }

    /// The repositories' names.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.repos.values().map(|repo| repo.name.as_str()).collect()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The repository of this name, made when it is not there.
    fn repo(&mut self, owner: &str, name: &str) -> &mut Repo {
        let name = format!("{owner}/{name}");
        let key = name.to_ascii_lowercase();
        let id = self.next_id();
        self.repos.entry(key).or_insert_with(|| Repo {
            id,
            name,
            releases: Vec::new(),
            artifacts: Vec::new(),
            statuses: Vec::new(),
            deployments: Vec::new(),
        })
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Reply {
        if let Some(file) = request.path.strip_prefix("download/") {
            return self.download(request, file);
        }
        if request.headers.get("user-agent").is_none() {
            // *Seen*: text, and not in the form of other refusals.
            let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required).";
            return Reply {
                status: 403,
                ..Reply::text(text.to_owned())
            };
        }
        match auth::received(request.headers) {
            None => Refusal::not_found().reply(),
            Some(GITHUB_TOKEN) => self.route(request).unwrap_or_else(Refusal::reply),
            Some(_) => Refusal::new(401, "Bad credentials").reply(),
        }
    }

    fn route(&mut self, request: &Request<'_>) -> Outcome {
        let segments: Vec<String> = request
            .path
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["repos", owner, name, rest @ ..] = segments.as_slice() else {
            return Err(Refusal::not_found());
        };
        let key = format!("{owner}/{name}").to_ascii_lowercase();
        let id = self.last_id + 1;
        let repo = self.repos.get_mut(&key).ok_or_else(Refusal::not_found)?;
        // HEAD is GET without the body, which the server leaves away.
        let method = match request.method {
            "HEAD" => "GET",
            method => method,
        };
        let reply = match (method, rest) {
            ("GET", ["releases", rest @ ..]) => repo.release(request, rest),
            ("GET", ["actions", rest @ ..]) => repo.actions(request, rest),
            ("POST", ["statuses", sha]) => repo.add_status(request, sha, id),
            ("GET", ["commits", reference, "statuses"]) => repo.statuses(request, reference),
            (_, ["deployments", rest @ ..]) => repo.deployments(request, method, rest, id),
            _ => Err(Refusal::not_found()),
        }?;
        if reply.status == 201 {
            self.last_id = id;
        }
        Ok(reply)
    }

    /// Puts content in; an empty message stands for "no such control".
    pub(super) fn put(
        &mut self,
        origin: &str,
        path: &str,
        query: &Query,
        body: &[u8],
        now: Now,
    ) -> Result<Reply, String> {
        let segments: Vec<String> = path
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["repos", owner, name, rest @ ..] = segments.as_slice() else {
            return Err(String::new());
        };
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(String::new());
        }
        let run = match rest {
            [] | ["releases", _, _] => 0,
            ["runs", run, "artifacts", _] => run
                .parse()
                .map_err(|_| "a run's id must be a number".to_owned())?,
            _ => return Err(String::new()),
        };
        self.repo(owner, name);
        let ids = (self.next_id(), self.next_id());
        let repo = self.repo(owner, name);
        let body = Bytes::copy_from_slice(body);
        let shown = match rest {
            ["releases", tag, asset] => repo.put_asset(origin, (tag, asset), query, body, ids, now),
            ["runs", _, _, artifact] => {
                repo.put_artifact(origin, (run, artifact), query, body, ids.0, now)?
            }
            _ => json!({"id": repo.id, "full_name": repo.name, "url": repo.url(origin)}),
        };
        Ok(control::reply(200, &shown))
    }
}

/// The id that GraphQL knows a thing by; nothing reads more from it than that it is there.
fn node_id(kind: &str, id: u64) -> String {
    format!(
        "{kind}_{}",
        ids::digest([kind.as_bytes(), &id.to_be_bytes()])
    )
}
