//! Releases with their assets, the artifacts of workflow runs, and how both are downloaded.
//!
//! An asset with `Accept: application/octet-stream`, and an artifact's `/zip`, are answered 302 to a
//! signed address on another host, here under `/__sim/github/download/`. It lives one hour for an
//! asset (*seen*) and a minute for an artifact, and refuses a request that carries a token (*seen*:
//! 400, `InvalidAuthenticationInfo`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{GitHub, Outcome, Refusal, Repo, Request, actor, answer, listed, node_id, time};
use crate::api::Reply;
use crate::clock::{Now, SECOND};
use crate::query::Query;

const ASSET_SECS: i64 = 3600;
const ARTIFACT_SECS: i64 = 60;
/// GitHub keeps artifacts for 90 days.
const RETENTION_SECS: i64 = 90 * 86_400;
/// Signs addresses; known to all, so that the same requests give the same answers.
const KEY: &[u8] = b"simulated-downloads";

/// A release.
#[derive(Debug)]
pub(super) struct Release {
    id: u64,
    pub(super) tag: String,
    /// The commit or branch that the tag was made from.
    pub(super) target: String,
    created: Now,
    is_draft: bool,
    is_prerelease: bool,
    assets: Vec<Asset>,
}

#[derive(Debug)]
struct Asset {
    id: u64,
    name: String,
    content_type: String,
    content: Bytes,
    digest: Option<String>,
    created: Now,
    downloads: u64,
}

/// An artifact of a workflow run.
#[derive(Debug)]
pub(super) struct Artifact {
    id: u64,
    run: u64,
    name: String,
    content: Bytes,
    digest: Option<String>,
    created: Now,
    expires: Now,
    head_sha: String,
    head_branch: String,
}

/// `sha256:` and the digits, unless the query says otherwise: `none` is an asset from before
/// digests were computed.
fn digest(query: &Query, content: &[u8]) -> Option<String> {
    match query.non_empty("digest") {
        Some("none") => None,
        Some(given) => Some(given.to_owned()),
        None => {
            let digest = Sha256::digest(content);
            let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("sha256:{}", digits.concat()))
        }
    }
}

fn signature(file: &str, expires: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(KEY) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(file.as_bytes());
    mac.update(b"\n");
    mac.update(expires.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// 302 to where a file is.
fn redirect(request: &Request<'_>, file: &str, lifetime_secs: i64) -> Reply {
    let expires = (request.now.0.div_euclid(SECOND) + lifetime_secs).to_string();
    let signature = signature(file, &expires);
    let location = format!(
        "{}/__sim/github/download/{file}?se={expires}&sig={signature}",
        request.origin
    );
    Reply {
        status: 302,
        content_type: "text/html;charset=utf-8",
        headers: vec![("location", location)],
        body: Bytes::new(),
    }
}

/// A refusal of the store behind GitHub.
fn blob_error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Reply {
        status,
        content_type: "application/xml",
        ..Reply::text(body)
    }
}

impl GitHub {
    /// What a signed address gives.
    pub(super) fn download(&mut self, request: &Request<'_>, file: &str) -> Reply {
        if !matches!(request.method, "GET" | "HEAD") {
            return blob_error(
                405,
                "UnsupportedHttpVerb",
                "The resource doesn't support specified Http Verb.",
            );
        }
        if request.headers.contains_key("authorization") {
            return blob_error(
                400,
                "InvalidAuthenticationInfo",
                "Authentication information is not given in the correct format. Check the value of Authorization header.",
            );
        }
        let parameter = |name| request.query.get(name).unwrap_or_default();
        let expires = parameter("se");
        let is_live = expires
            .parse::<i64>()
            .is_ok_and(|secs| request.now.0 < secs.saturating_mul(SECOND));
        if !is_live || parameter("sig") != signature(file, expires) {
            return blob_error(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
            );
        }
        let found = self.repos.values_mut().find_map(|repo| repo.file(file));
        let Some((name, content_type, content)) = found else {
            return blob_error(404, "BlobNotFound", "The specified blob does not exist.");
        };
        let disposition = format!("attachment; filename={name}");
        Reply {
            headers: vec![
                ("content-type", content_type),
                ("content-disposition", disposition),
            ],
            ..Reply::bytes("application/octet-stream", content)
        }
    }
}

impl Repo {
    /// Name, type and content of a file by its name in an address.
    fn file(&mut self, file: &str) -> Option<(String, String, Bytes)> {
        let (kind, id) = file.split_once('-')?;
        let id: u64 = id.parse().ok()?;
        if kind == "asset" {
            let mut assets = self.releases.iter_mut().flat_map(|r| &mut r.assets);
            let asset = assets.find(|asset| asset.id == id)?;
            asset.downloads += 1;
            let name = asset.name.clone();
            return Some((name, asset.content_type.clone(), asset.content.clone()));
        }
        let mut artifacts = self.artifacts.iter().filter(|_| kind == "artifact");
        let artifact = artifacts.find(|artifact| artifact.id == id)?;
        let name = format!("{}.zip", artifact.name);
        Some((name, "application/zip".to_owned(), artifact.content.clone()))
    }

    /// `GET …/releases/…`.
    pub(super) fn release(&self, request: &Request<'_>, rest: &[&str]) -> Outcome {
        let mut published = self.releases.iter().filter(|release| !release.is_draft);
        let found = match rest {
            ["tags", tag] => published.find(|release| release.tag == *tag),
            // The newest that is neither a draft nor a pre-release.
            ["latest"] => published.rfind(|release| !release.is_prerelease),
            ["assets", id] => return self.asset(request, id),
            _ => None,
        };
        let release = found.ok_or_else(Refusal::not_found)?;
        Ok(answer(200, &self.render(release, request.origin)))
    }

    fn asset(&self, request: &Request<'_>, id: &str) -> Outcome {
        let mut all = self
            .releases
            .iter()
            .flat_map(|release| release.assets.iter().map(move |asset| (release, asset)));
        let found = all.find(|(_, asset)| id.parse() == Ok(asset.id));
        let (release, asset) = found.ok_or_else(Refusal::not_found)?;
        let accepted = request.headers.get("accept");
        let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or("");
        let is_content = accepted
            .split(',')
            .filter_map(|range| range.split(';').next())
            .any(|kind| kind.trim() == "application/octet-stream");
        if is_content {
            return Ok(redirect(
                request,
                &format!("asset-{}", asset.id),
                ASSET_SECS,
            ));
        }
        Ok(answer(
            200,
            &self.render_asset(release, asset, request.origin),
        ))
    }

    fn render(&self, release: &Release, origin: &str) -> Value {
        let (url, page) = (
            self.url(origin),
            format!("https://github.com/{}", self.name),
        );
        let (id, tag) = (release.id, &release.tag);
        let assets = release.assets.iter();
        let assets: Vec<Value> = assets
            .map(|asset| self.render_asset(release, asset, origin))
            .collect();
        let published = (!release.is_draft).then(|| time(release.created));
        json!({
            "url": format!("{url}/releases/{id}"),
            "assets_url": format!("{url}/releases/{id}/assets"),
            "upload_url": format!("{url}/releases/{id}/assets{{?name,label}}"),
            "html_url": format!("{page}/releases/tag/{tag}"),
            "tarball_url": format!("{url}/tarball/{tag}"),
            "zipball_url": format!("{url}/zipball/{tag}"),
            "id": id, "node_id": node_id("RE", id), "tag_name": tag,
            "target_commitish": release.target, "name": tag, "body": "",
            "draft": release.is_draft, "prerelease": release.is_prerelease, "immutable": false,
            "created_at": time(release.created), "published_at": published,
            "updated_at": time(release.created), "author": actor(), "assets": assets,
        })
    }

    fn render_asset(&self, release: &Release, asset: &Asset, origin: &str) -> Value {
        let (name, tag) = (&asset.name, &release.tag);
        json!({
            "url": format!("{}/releases/assets/{}", self.url(origin), asset.id),
            "browser_download_url":
                format!("https://github.com/{}/releases/download/{tag}/{name}", self.name),
            "id": asset.id, "node_id": node_id("RA", asset.id), "name": name, "label": "",
            "state": "uploaded", "content_type": asset.content_type, "size": asset.content.len(),
            "digest": asset.digest, "download_count": asset.downloads,
            "created_at": time(asset.created), "updated_at": time(asset.created),
            "uploader": actor(),
        })
    }

    /// Adds an asset to a release, in place of one of the same name; the release is made when it is
    /// not there.
    pub(super) fn put_asset(
        &mut self,
        origin: &str,
        (tag, name): (&str, &str),
        query: &Query,
        content: Bytes,
        (release_id, id): (u64, u64),
        now: Now,
    ) -> Value {
        let place = self.releases.iter().position(|release| release.tag == tag);
        let place = place.unwrap_or(self.releases.len());
        if place == self.releases.len() {
            self.releases.push(Release {
                id: release_id,
                tag: tag.to_owned(),
                target: "main".to_owned(),
                created: now,
                is_draft: false,
                is_prerelease: false,
                assets: Vec::new(),
            });
        }
        let content_type = query.non_empty("content_type");
        let asset = Asset {
            id,
            name: name.to_owned(),
            content_type: content_type
                .unwrap_or("application/octet-stream")
                .to_owned(),
            digest: digest(query, &content),
            content,
            created: now,
            downloads: 0,
        };
        if let Some(release) = self.releases.get_mut(place) {
            for (name, is) in [
                ("draft", &mut release.is_draft),
                ("prerelease", &mut release.is_prerelease),
            ] {
                *is = query.get(name).map_or(*is, |given| given == "true");
            }
            if let Some(target) = query.non_empty("target_commitish") {
                target.clone_into(&mut release.target);
            }
            release.assets.retain(|other| other.name != name);
            release.assets.push(asset);
        }
        let release = self.releases.get(place);
        release.map_or(Value::Null, |release| self.render(release, origin))
    }

    /// `GET …/actions/…`.
    pub(super) fn actions(&self, request: &Request<'_>, rest: &[&str]) -> Outcome {
        let by_id = |id: &str| {
            let mut artifacts = self.artifacts.iter();
            let found = artifacts.find(|artifact| id.parse() == Ok(artifact.id));
            found.ok_or_else(Refusal::not_found)
        };
        match rest {
            ["runs", run, "artifacts"] => self.run(request, run),
            ["artifacts", id] => {
                let artifact = by_id(id)?;
                Ok(answer(
                    200,
                    &self.render_artifact(artifact, request.origin, request.now),
                ))
            }
            ["artifacts", id, "zip"] => {
                let artifact = by_id(id)?;
                if artifact.expires <= request.now {
                    return Err(Refusal::new(410, "Artifact has expired"));
                }
                let file = format!("artifact-{}", artifact.id);
                Ok(redirect(request, &file, ARTIFACT_SECS))
            }
            _ => Err(Refusal::not_found()),
        }
    }

    /// The artifacts of a run, newest first; a run is there when it has any.
    fn run(&self, request: &Request<'_>, run: &str) -> Outcome {
        let of_run = |artifact: &&Artifact| run.parse() == Ok(artifact.run);
        if !self.artifacts.iter().any(|artifact| of_run(&artifact)) {
            return Err(Refusal::not_found());
        }
        let name = request.query.non_empty("name");
        let artifacts = self.artifacts.iter().rev().filter(of_run);
        let found: Vec<Value> = artifacts
            .filter(|artifact| name.is_none_or(|name| artifact.name == name))
            .map(|artifact| self.render_artifact(artifact, request.origin, request.now))
            .collect();
        let (shown, links) = request.page(&found);
        let body = json!({"total_count": found.len(), "artifacts": shown});
        Ok(listed(&body, links))
    }

    fn render_artifact(&self, artifact: &Artifact, origin: &str, now: Now) -> Value {
        let url = format!("{}/actions/artifacts/{}", self.url(origin), artifact.id);
        json!({
            "id": artifact.id, "node_id": node_id("MDg", artifact.id), "name": artifact.name,
            "size_in_bytes": artifact.content.len(), "url": url,
            "archive_download_url": format!("{url}/zip"), "expired": artifact.expires <= now,
            "digest": artifact.digest, "created_at": time(artifact.created),
            "updated_at": time(artifact.created), "expires_at": time(artifact.expires),
            "workflow_run": {
                "id": artifact.run, "repository_id": self.id, "head_repository_id": self.id,
                "head_branch": artifact.head_branch, "head_sha": artifact.head_sha,
            },
        })
    }

    /// Adds an artifact to a run, in place of one of the same name.
    pub(super) fn put_artifact(
        &mut self,
        origin: &str,
        (run, name): (u64, &str),
        query: &Query,
        content: Bytes,
        id: u64,
        now: Now,
    ) -> Result<Value, String> {
        let head_sha = query.non_empty("head_sha").unwrap_or(super::MAIN);
        if !super::is_commit(head_sha) {
            return Err("head_sha must be 40 hexadecimal digits".to_owned());
        }
        let is_expired = query.get("expired") == Some("true");
        let artifact = Artifact {
            id,
            run,
            name: name.to_owned(),
            digest: digest(query, &content),
            content,
            created: now,
            expires: if is_expired {
                now
            } else {
                Now(now.0 + RETENTION_SECS * SECOND)
            },
            head_sha: head_sha.to_owned(),
            head_branch: query.non_empty("head_branch").unwrap_or("main").to_owned(),
        };
        let shown = self.render_artifact(&artifact, origin, now);
        self.artifacts
            .retain(|other| other.run != run || other.name != name);
        self.artifacts.push(artifact);
        Ok(shown)
    }
}
