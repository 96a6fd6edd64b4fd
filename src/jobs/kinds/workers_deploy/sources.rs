//! Where the bundle of a deployment comes from: what was stored for the run, GitHub, KV or R2.
//!
//! KV and R2 are read as the run's principal. Whoever may write there could change a bundle at any time, so
//! its digest must be named by whoever starts the run, or by the job.

use sha2::{Digest as _, Sha256};

use super::github::Which;
use super::params::{BUNDLES, Params, wrong};
use crate::jobs::hands::{Hands, blob_of_digest};
use crate::jobs::kind::{ParamsError, Trouble};
use crate::model::hex;
use crate::model::typed::object;

/// Bytes of a bundle at the most: it is held several times over while it is uploaded.
pub(super) const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of a key of KV at the most (<https://developers.cloudflare.com/kv/platform/limits/>).
const MAX_KV_KEY: usize = 512;
/// Bytes of a key of R2 at the most (<https://developers.cloudflare.com/r2/platform/limits/>).
const MAX_R2_KEY: usize = 1024;

object! {
    /// A value of KV.
    #[derive(Debug)]
    pub(super) struct Kv {
        /// The namespace's id.
        namespace: String,
        /// The key; the run's parameter `key` when absent.
        key: Option<String> = default,
    }
}

object! {
    /// An object of R2.
    #[derive(Debug)]
    pub(super) struct R2 {
        /// The bucket's name.
        bucket: String,
        /// The key; the run's parameter `key` when absent.
        key: Option<String> = default,
    }
}

/// Where Cloudflare keeps a bundle.
struct Place<'p> {
    /// The parameter that names it.
    field: &'static str,
    /// In words.
    shown: String,
    /// The path above its key.
    path: String,
    /// The key that the job names.
    key: Option<&'p str>,
    /// Bytes of a key at the most.
    max_key: usize,
}

impl<'p> Place<'p> {
    /// The place that the parameters name.
    fn of(params: &'p Params) -> Option<Self> {
        let above = format!("/accounts/{}", params.account);
        if let Some(Kv { namespace, key }) = &params.kv {
            return Some(Self {
                field: "kv",
                shown: format!("the KV namespace {namespace}"),
                path: format!("{above}/storage/kv/namespaces/{namespace}/values"),
                key: key.as_deref(),
                max_key: MAX_KV_KEY,
            });
        }
        params.r2.as_ref().map(|R2 { bucket, key }| Self {
            field: "r2",
            shown: format!("the R2 bucket {bucket}"),
            path: format!("{above}/r2/buckets/{bucket}/objects"),
            key: key.as_deref(),
            max_key: MAX_R2_KEY,
        })
    }

    async fn fetch(&self, hands: &dyn Hands, params: &Params) -> Result<Vec<u8>, Trouble> {
        let key = self.key.or(params.key.as_deref());
        let key = key.ok_or_else(|| missing("key"))?;
        if params.sha256.is_none() {
            let message = format!(
                "The run has no parameter `sha256`, without which no bundle of {} is taken.",
                self.shown
            );
            return Err(Trouble::Impossible(message));
        }
        let found = hands
            .bytes(format!("{}/{}", self.path, segment(key)))
            .await?;
        found.ok_or_else(|| {
            Trouble::Impossible(format!(
                "There is no key {key:?} in {}, or that is not there itself.",
                self.shown
            ))
        })
    }
}

/// Checks what the parameters say of it.
pub(super) fn check(params: &Params) -> Result<(), ParamsError> {
    if let Some(github) = &params.github {
        github.check()?;
    }
    let named = [
        ("github", params.github.is_some()),
        ("kv", params.kv.is_some()),
        ("r2", params.r2.is_some()),
    ];
    let mut named = named.iter().filter(|(_, is_named)| *is_named);
    if let (Some((first, _)), Some((second, _))) = (named.next(), named.next()) {
        let message = format!("the job takes its bundles from `{first}` already");
        return Err(wrong(*second, message));
    }
    let is_namespace = |kv: &Kv| is_hex(&kv.namespace, 32);
    if !params.kv.as_ref().is_none_or(is_namespace) {
        return Err(wrong("kv.namespace", "it must be the id of a namespace"));
    }
    if !params.r2.as_ref().is_none_or(|r2| is_bucket(&r2.bucket)) {
        return Err(wrong("r2.bucket", "it must be the name of a bucket"));
    }
    if !params.sha256.as_deref().is_none_or(is_sha256) {
        let message = "it must be a SHA-256 in 64 lower-case hexadecimal digits";
        return Err(wrong("sha256", message));
    }
    let Some(place) = Place::of(params) else {
        return match &params.key {
            Some(_) => Err(wrong("key", "there is neither `kv` nor `r2` that has it")),
            None => Ok(()),
        };
    };
    let (field, key) = match (place.key, params.key.as_deref()) {
        (Some(_), Some(_)) => {
            let message = format!("`{}.key` says already which it is", place.field);
            return Err(wrong("key", message));
        }
        (Some(key), None) => (format!("{}.key", place.field), key),
        (None, Some(key)) => ("key".to_owned(), key),
        (None, None) => return Ok(()),
    };
    let has_dots = key
        .split(['/', '\\'])
        .any(|part| matches!(part, "." | ".."));
    if key.is_empty() || key.len() > place.max_key || has_dots || key.contains(char::is_control) {
        let message = format!(
            "it must have 1 to {} bytes, no control characters, and no part that is . or ..",
            place.max_key
        );
        return Err(wrong(field, message));
    }
    Ok(())
}

/// The parameter without which there is no bundle.
pub(super) fn lacks(params: &Params) -> Option<&'static str> {
    if params.version.is_some() || params.bundle.is_some() {
        return None;
    }
    match (&params.github, Place::of(params)) {
        (Some(github), _) => github.lacks(which(params)),
        (None, Some(place)) if place.key.or(params.key.as_deref()).is_none() => Some("key"),
        (None, Some(_)) => params.sha256.is_none().then_some("sha256"),
        (None, None) => Some("version"),
    }
}

/// Which of what GitHub keeps.
fn which(params: &Params) -> Which<'_> {
    Which {
        run_id: params.run_id,
        tag: params.tag.as_deref(),
        commit: params.commit.as_deref(),
    }
}

/// Gets the bundle; where its digest is named it must have that.
pub(super) async fn bundle(hands: &dyn Hands, params: &Params) -> Result<Vec<u8>, Trouble> {
    if let Some(key) = &params.bundle {
        let digest = key.strip_prefix(BUNDLES).unwrap_or_default();
        if params.sha256.as_ref().is_some_and(|named| named != digest) {
            return Err(Trouble::Impossible(not_named(digest)));
        }
        return blob_of_digest(hands, key).await;
    }
    let bytes = match (&params.github, Place::of(params)) {
        (Some(github), _) => github.fetch(hands, which(params)).await?,
        (None, Some(place)) => place.fetch(hands, params).await?,
        (None, None) => {
            return Err(Trouble::Impossible(
                "The run names neither a bundle nor a version: begin it with POST /api/v1/deploys."
                    .to_owned(),
            ));
        }
    };
    if bytes.len() > MAX_BYTES {
        return Err(too_large());
    }
    let digest = hex(&Sha256::digest(&bytes));
    if params.sha256.as_ref().is_some_and(|named| *named != digest) {
        // KV shows what was changed a minute late.
        return Err(Trouble::Again(not_named(&digest)));
    }
    Ok(bytes)
}

fn not_named(digest: &str) -> String {
    format!("The bundle has the SHA-256 {digest}, not the one that was named.")
}

/// Free text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

pub(super) fn missing(param: &str) -> Trouble {
    Trouble::Impossible(format!(
        "The run has no parameter `{param}`, which says where its bundle is."
    ))
}

pub(super) fn too_large() -> Trouble {
    Trouble::Impossible(format!("The bundle is larger than {MAX_BYTES} bytes."))
}

/// Whether this is a SHA-256 as we write it.
pub(super) fn is_sha256(text: &str) -> bool {
    is_hex(text, 64)
}

fn is_hex(text: &str, digits: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == digits && text.bytes().all(is_digit)
}

/// Lower-case letters, digits and hyphens (<https://developers.cloudflare.com/r2/buckets/create-buckets/>).
fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (3..=63).contains(&name.len()) && name.bytes().all(is_plain)
}
