//! Static assets: what is missing is asked for, uploaded in parts, and redeemed with a version.
//!
//! NOTES "Workers", Assets: a session answers `{jwt, buckets}` (no buckets: the token is the
//! completion token already); the upload is authorised by that token alone, 201 with a new one on
//! the last part; tokens live for one hour; a file is below 25 MiB, at most 20,000 entries.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use serde_json::{Value, json};

use super::{names, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::auth::{self, Credential};
use crate::clock::{Now, SECOND};
use crate::ids::{Ids, is_id};
use crate::multipart::{self, Part};
use crate::router::{PREFIX, Route};
use crate::world::Call;

const MAX_FILE_BYTES: u64 = 25 * 1024 * 1024;
const MAX_ENTRIES: usize = 20_000;
const LIFETIME_SECS: i64 = 3600;
/// How many files are asked for in one bucket. Cloudflare goes by their size (hypothesis); few, so
/// that small sites have several buckets too.
const BUCKET: usize = 3;

/// Everything about assets, for all accounts.
#[derive(Debug, Default)]
pub(crate) struct Assets {
    /// What was uploaded, by account and hash.
    stored: BTreeSet<(String, String)>,
    sessions: Vec<Session>,
    tokens: BTreeMap<String, Token>,
}

#[derive(Debug)]
struct Session {
    account: String,
    /// Path to hash, as a version will have it.
    manifest: Value,
    sizes: BTreeMap<String, u64>,
    missing: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    session: usize,
    is_completion: bool,
    expires: Now,
}

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const SESSION: &str =
        "/accounts/{account_id}/workers/scripts/{script_name}/assets-upload-session";
    const UPLOAD: &str = "/accounts/{account_id}/workers/assets/upload";
    vec![("POST", SESSION, begin), ("POST", UPLOAD, upload)]
}

/// Whether a path is the one operation that a token of [`Assets`] authorises, and no other does.
pub(crate) fn is_upload(path: &str) -> bool {
    path.strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix("/accounts/"))
        .and_then(|rest| rest.strip_suffix("/workers/assets/upload"))
        .is_some_and(|account| !account.contains('/'))
}

impl Assets {
    /// Reads and judges the token of an upload.
    ///
    /// # Errors
    /// 401 with 10000 when it is not a live upload token.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Now,
    ) -> Result<Credential, ApiError> {
        self.uploading(headers, now).map(|_| Credential::Upload)
    }

    fn uploading(&self, headers: &HeaderMap, now: Now) -> Result<usize, ApiError> {
        auth::received(headers)
            .and_then(|token| self.tokens.get(token))
            .filter(|token| !token.is_completion && token.expires > now)
            .map(|token| token.session)
            .ok_or_else(|| ApiError::new(401, 10_000, "Authentication error"))
    }

    /// The manifest that a completion token stands for.
    pub(super) fn completed(&self, account: &str, jwt: &str, now: Now) -> Option<Value> {
        let token = self.tokens.get(jwt)?;
        let session = self.sessions.get(token.session)?;
        let is_live = token.is_completion && token.expires > now && session.account == account;
        is_live.then(|| session.manifest.clone())
    }

    /// A token of the shape of a JWT; it is known by heart, so its signature needs no key.
    fn mint(&mut self, session: usize, is_completion: bool, ids: &mut Ids, now: Now) -> String {
        let expires = Now(now.0 + LIFETIME_SECS * SECOND);
        let payload = json!({
            "sub": format!("assets-{session}"), "iat": now.0 / SECOND, "exp": expires.0 / SECOND,
            "completion": is_completion,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = encode(&json!({"alg": "HS256", "typ": "JWT"}));
        let signature = URL_SAFE_NO_PAD.encode(ids.next_id());
        let jwt = format!("{head}.{}.{signature}", encode(&payload));
        let token = Token {
            session,
            is_completion,
            expires,
        };
        self.tokens.insert(jwt.clone(), token);
        jwt
    }
}

fn begin(call: &mut Call<'_>) -> Outcome {
    let (account, _) = names(call)?;
    let body = call.object()?;
    let manifest = body
        .get("manifest")
        .and_then(Value::as_object)
        .ok_or_else(|| validation("manifest must be an object"))?;
    if manifest.len() > MAX_ENTRIES {
        return Err(validation(format!(
            "a manifest has at most {MAX_ENTRIES} entries"
        )));
    }
    let mut sizes = BTreeMap::new();
    for (path, file) in manifest {
        let hash = file
            .get("hash")
            .and_then(Value::as_str)
            .filter(|h| is_id(h));
        let size = file.get("size").and_then(Value::as_u64);
        let (Some(hash), Some(size), true) = (hash, size, path.starts_with('/')) else {
            return Err(validation(format!(
                "asset {path} must be an absolute path with a hash of 32 hexadecimal digits and a size"
            )));
        };
        if size > MAX_FILE_BYTES {
            return Err(validation(format!("asset {path} has more than 25 MiB")));
        }
        sizes.insert(hash.to_owned(), size);
    }
    let (world, now) = (&mut *call.world, call.now);
    let assets = &mut world.workers.assets;
    let missing: BTreeSet<String> = sizes
        .keys()
        .filter(|hash| !assets.stored.contains(&(account.clone(), (*hash).clone())))
        .cloned()
        .collect();
    let hashes: Vec<&String> = missing.iter().collect();
    let buckets = json!(hashes.chunks(BUCKET).collect::<Vec<_>>());
    let is_complete = missing.is_empty();
    assets.sessions.push(Session {
        account,
        manifest: Value::Object(manifest.clone()),
        sizes,
        missing,
    });
    let session = assets.sessions.len() - 1;
    let jwt = assets.mint(session, is_complete, &mut world.ids, now);
    Ok(Reply::ok(&json!({"jwt": jwt, "buckets": buckets})))
}

fn upload(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let number = call
        .world
        .workers
        .assets
        .uploading(call.headers, call.now)?;
    // NOTES "Workers", Assets: the query is part of the operation.
    if call.query.get("base64") != Some("true") {
        return Err(validation("base64 must be true"));
    }
    let parts = multipart::parse(call.headers, call.body)?;
    let (world, now) = (&mut *call.world, call.now);
    let assets = &mut world.workers.assets;
    let session = assets
        .sessions
        .get_mut(number)
        .filter(|s| s.account == account);
    let session = session.ok_or_else(ApiError::forbidden)?;
    for part in &parts {
        check(part, session)?;
    }
    for part in parts {
        session.missing.remove(&part.name);
        assets.stored.insert((account.clone(), part.name));
    }
    if session.missing.is_empty() {
        let jwt = assets.mint(number, true, &mut world.ids, now);
        return Ok(Reply {
            status: 201,
            ..Reply::ok(&json!({"jwt": jwt}))
        });
    }
    Ok(Reply {
        status: 202,
        ..Reply::ok(&json!({}))
    })
}

/// A part is named by its hash, and has the size that the manifest says. The hash is not
/// computed: clients choose how.
fn check(part: &Part, session: &Session) -> Result<(), ApiError> {
    let name = &part.name;
    let size = session
        .sizes
        .get(name)
        .ok_or_else(|| validation(format!("asset {name} is not in the manifest")))?;
    let content = STANDARD
        .decode(&part.content)
        .map_err(|_| validation(format!("asset {name} is not base64")))?;
    if u64::try_from(content.len()) != Ok(*size) {
        return Err(validation(format!(
            "asset {name} has {} bytes and not {size}",
            content.len()
        )));
    }
    Ok(())
}
