//! Bundles that GitHub keeps: assets of releases, and artifacts of workflow runs.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::{is_repository, is_secret_name};
use crate::jobs::hands::Hands;
use crate::jobs::kind::{ParamsError, Trouble};
use crate::jobs::platform::{Probe, Probed};
use crate::model::typed::object;
use crate::model::{Secret, WebUrl, hex, json};
use crate::workers::only_file;

use super::params::wrong;
use super::sources::{MAX_BYTES, missing, segment, too_large};

/// GitHub's API, unless the parameters say otherwise.
const API: &str = "https://api.github.com";
/// Where GitHub's answers send downloads to; they and what lies below them are asked without being listed.
const STORES: &[&str] = &["githubusercontent.com", "blob.core.windows.net"];
/// Milliseconds until an answer must begin.
const DEADLINE_MS: u32 = 10_000;
/// What the names of secrets that hold a token begin with, so that no other secret is sent to GitHub.
const TOKENS: &str = "DEPLOY_";

object! {
    /// Where a bundle is.
    #[derive(Debug)]
    pub(super) struct GitHub {
        /// Owner and name, such as `acme/site`.
        repository: String,
        /// The Worker's secret that holds a token with read access to it.
        token: String,
        /// The artifact's name; of which workflow run the parameter `run_id` says.
        artifact: Option<String> = default,
        /// The asset's name; of which release the parameter `tag` says.
        asset: Option<String> = default,
        /// The API of another GitHub.
        api: Option<String> = default,
    }
}

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which<'w> {
    pub(super) run_id: Option<u64>,
    pub(super) tag: Option<&'w str>,
    /// The commit it must have been built from.
    pub(super) commit: Option<&'w str>,
}

impl GitHub {
    pub(super) fn check(&self) -> Result<(), ParamsError> {
        if !is_repository(&self.repository) {
            return Err(wrong(
                "github.repository",
                "it must be owner and name, such as acme/site",
            ));
        }
        if !is_secret_name(&self.token, TOKENS) {
            let message = format!("it must name a secret of the Worker that begins with {TOKENS}");
            return Err(wrong("github.token", message));
        }
        if self.artifact.is_some() == self.asset.is_some() {
            return Err(wrong("github", "it must name either `artifact` or `asset`"));
        }
        let api = self.api.as_deref().map(WebUrl::parse);
        if api.is_some_and(|api| api.is_none_or(|api| !api.is_address())) {
            return Err(wrong("github.api", "it must be a plain address"));
        }
        Ok(())
    }

    /// The address that is asked first.
    pub(super) fn api(&self) -> &str {
        self.api.as_deref().unwrap_or(API).trim_end_matches('/')
    }

    /// The parameter without which nobody knows which of them is meant.
    pub(super) fn lacks(&self, which: Which<'_>) -> Option<&'static str> {
        match &self.artifact {
            Some(_) => which.run_id.is_none().then_some("run_id"),
            None => which.tag.is_none().then_some("tag"),
        }
    }

    /// Fetches a bundle, whose digest must be the one GitHub says.
    pub(super) async fn fetch(
        &self,
        hands: &dyn Hands,
        which: Which<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        let token = hands
            .secret(&self.token)
            .ok_or_else(|| Trouble::Impossible(format!("The secret {} is not set.", self.token)))?;
        let base = format!("{}/repos/{}", self.api(), self.repository);
        match (&self.artifact, &self.asset) {
            (Some(name), _) => self.artifact(hands, &token, &base, name, which).await,
            (None, Some(name)) => asset(hands, &token, &base, name, which).await,
            (None, None) => Err(Trouble::Impossible("Nothing is named.".to_owned())),
        }
    }

    async fn artifact(
        &self,
        hands: &dyn Hands,
        token: &Secret,
        base: &str,
        name: &str,
        which: Which<'_>,
    ) -> Result<Vec<u8>, Trouble> {
        let run = which.run_id.ok_or_else(|| missing("run_id"))?;
        let query = query("name", name);
        let listed = listing(
            hands,
            token,
            format!("{base}/actions/runs/{run}/artifacts?{query}"),
        )
        .await?;
        let artifacts = listed.get("artifacts").and_then(Value::as_array);
        let is_named =
            |artifact: &&Value| artifact.get("name").and_then(Value::as_str) == Some(name);
        let found = artifacts.into_iter().flatten().find(is_named);
        let found = found.ok_or_else(|| {
            Trouble::Impossible(format!(
                "Workflow run {run} of {} has no artifact {name:?}.",
                self.repository
            ))
        })?;
        let built = found.get("workflow_run");
        let of_run = |field: &str| built.and_then(|built| built.get(field));
        // A workflow run of a fork has artifacts in this repository too.
        if of_run("repository_id").is_none()
            || of_run("repository_id") != of_run("head_repository_id")
        {
            return Err(Trouble::Impossible(format!(
                "Workflow run {run} was begun from a fork."
            )));
        }
        let head = of_run("head_sha")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if which
            .commit
            .is_some_and(|commit| commit.len() < 7 || !head.starts_with(commit))
        {
            return Err(Trouble::Impossible(format!(
                "Workflow run {run} built {head}, not the commit that was named."
            )));
        }
        if found.get("expired").and_then(Value::as_bool) == Some(true) {
            return Err(Trouble::Impossible(format!(
                "The artifact {name:?} has expired."
            )));
        }
        let id = number(found, "id")?;
        let target = format!("{base}/actions/artifacts/{id}/zip");
        let archive = download(hands, token, target, found).await?;
        let file = only_file(&archive).map_err(Trouble::Impossible)?;
        if !file.is_deflated {
            return Ok(file.bytes.to_vec());
        }
        if file.length > MAX_BYTES {
            return Err(too_large());
        }
        let bundle = hands.inflate(file.bytes, file.length).await?;
        bundle
            .filter(|bundle| bundle.len() == file.length)
            .ok_or_else(|| Trouble::Impossible("The artifact cannot be unpacked.".to_owned()))
    }
}

async fn asset(
    hands: &dyn Hands,
    token: &Secret,
    base: &str,
    name: &str,
    which: Which<'_>,
) -> Result<Vec<u8>, Trouble> {
    let tag = which.tag.ok_or_else(|| missing("tag"))?;
    let target = format!("{base}/releases/tags/{}", segment(tag));
    let release = listing(hands, token, target).await?;
    let assets = release.get("assets").and_then(Value::as_array);
    let is_named = |asset: &&Value| asset.get("name").and_then(Value::as_str) == Some(name);
    let found = assets.into_iter().flatten().find(is_named);
    let found = found.ok_or_else(|| {
        Trouble::Impossible(format!("The release {tag:?} has no asset {name:?}."))
    })?;
    let id = number(found, "id")?;
    download(hands, token, format!("{base}/releases/assets/{id}"), found).await
}

/// Fetches what `described` describes: by way of where GitHub sends it, without the token.
async fn download(
    hands: &dyn Hands,
    token: &Secret,
    target: String,
    described: &Value,
) -> Result<Vec<u8>, Trouble> {
    let digest = described.get("digest").and_then(Value::as_str);
    let digest = digest.and_then(|digest| digest.strip_prefix("sha256:"));
    let digest = digest.ok_or_else(|| {
        Trouble::Impossible("GitHub says no digest of it, so it cannot be checked.".to_owned())
    })?;
    let answer = ask(hands, &target, Some(token), "application/octet-stream").await?;
    let bytes = match (answer.status, answer.location) {
        (200, _) => answer.body,
        (302, Some(location)) => {
            let answer = ask(hands, &location, None, "*/*").await?;
            if answer.status != 200 {
                return Err(Trouble::Again(format!(
                    "The download was answered {}.",
                    answer.status
                )));
            }
            answer.body
        }
        (status, _) => return Err(refused(status, &target)),
    };
    if hex(&Sha256::digest(&bytes)) != digest {
        return Err(Trouble::Again(
            "What was downloaded has not the digest that GitHub says.".to_owned(),
        ));
    }
    Ok(bytes)
}

async fn listing(hands: &dyn Hands, token: &Secret, target: String) -> Result<Value, Trouble> {
    let answer = ask(hands, &target, Some(token), "application/vnd.github+json").await?;
    if answer.status != 200 {
        return Err(refused(answer.status, &target));
    }
    json::of_others(&answer.body)
        .ok_or_else(|| Trouble::Again("GitHub's answer could not be read.".to_owned()))
}

async fn ask(
    hands: &dyn Hands,
    url: &str,
    token: Option<&Secret>,
    accept: &str,
) -> Result<Probed, Trouble> {
    let bearer = token.map(|token| format!("Bearer {}", token.expose()));
    let mut headers = vec![("Accept", accept), ("User-Agent", "zonekeeper")];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    let probe = Probe {
        url,
        headers: &headers,
        // A token goes to the API alone.
        body: None,
        besides: if token.is_some() { &[] } else { STORES },
        cap: MAX_BYTES,
        deadline_ms: DEADLINE_MS,
    };
    let asked = hands.probe(&probe).await?;
    asked.map_err(|why| Trouble::Again(format!("GitHub {why}.")))
}

fn refused(status: u16, target: &str) -> Trouble {
    let path = target.split('?').next().unwrap_or_default();
    let message = format!("GitHub answered {status} at {path}.");
    match status {
        401 | 404 | 410 | 422 => Trouble::Impossible(message),
        _ => Trouble::Again(message),
    }
}

fn number(of: &Value, field: &str) -> Result<u64, Trouble> {
    let number = of.get(field).and_then(Value::as_u64);
    number.ok_or_else(|| Trouble::Again("GitHub's answer could not be read.".to_owned()))
}

fn query(name: &str, value: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish()
}
