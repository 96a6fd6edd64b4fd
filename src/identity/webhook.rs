//! How a delivery of a webhook proves whose it is, by its headers and the bytes of its body.
//!
//! What a sender would have sent is computed with each secret and compared, as a text, in constant
//! time; a spelling other than the sender's own never fits. A header that came twice arrives joined
//! with a comma, and no header here may hold one it should not.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::document::Sender;
use crate::model::{Secret, Timestamp, base64, base64url, hex};

/// Seconds a clock may be away from the time of a signature: what Standard Webhooks' own libraries take.
const TOLERANCE_SECS: i64 = 300;
/// What secrets that are keys in base64 begin with.
const KEY_PREFIX: &str = "whsec_";
/// Most characters of a delivery's name, and of its event.
const MAX_NAME_LEN: usize = 128;

/// A secret and what the configuration calls it.
#[derive(Debug, Clone)]
pub struct HookSecret<'a> {
    /// The name of the Worker's secret.
    pub name: &'a str,
    /// The secret.
    pub value: Secret,
}

/// A delivery that is its sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven<'a, 's> {
    /// The sender's name for it, the same each time it is sent; Cloudflare has none.
    pub id: Option<&'a str>,
    /// What it is about, where a header says so.
    pub event: Option<&'a str>,
    /// The name of the secret that fits.
    pub secret: &'s str,
}

/// Whether a secret is of the form the sender needs.
#[must_use]
pub fn is_usable(sender: Sender, secret: &Secret) -> bool {
    match sender {
        Sender::Github | Sender::Cloudflare => !secret.is_empty(),
        Sender::Standard => signing_key(secret).is_some(),
        Sender::Gitlab => {
            let is_key = secret.expose().starts_with(KEY_PREFIX);
            !secret.is_empty() && (!is_key || signing_key(secret).is_some())
        }
    }
}

/// Finds out whether a delivery is the sender's. Every secret is tried, whichever fits.
///
/// # Errors
/// Why not, for the audit log: nobody else may know.
pub fn prove_delivery<'a, 's>(
    sender: Sender,
    secrets: &'s [HookSecret<'_>],
    header: &dyn Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven<'a, 's>, &'static str> {
    if body.is_empty() {
        return Err("the body is empty");
    }
    match sender {
        Sender::Github => {
            let signature = header("x-hub-signature-256").ok_or("it has no X-Hub-Signature-256")?;
            let expected = |secret: &Secret| {
                let mac = hmac_sha256(secret.expose().as_bytes(), &[body])?;
                Some(format!("sha256={}", hex(&mac)))
            };
            Ok(Proven {
                secret: fitting(secrets, &[signature], expected)
                    .ok_or("no secret gives its signature")?,
                id: Some(named(header("x-github-delivery"))?),
                event: Some(event(header("x-github-event"))?),
            })
        }
        Sender::Gitlab => {
            let token = header("x-gitlab-token").unwrap_or_default();
            let expected = |secret: &Secret| {
                let token = secret.expose();
                (!token.is_empty() && !token.starts_with(KEY_PREFIX)).then(|| token.to_owned())
            };
            let by_token = fitting(secrets, &[token], expected);
            let event = Some(event(header("x-gitlab-event"))?);
            let Some(secret) = by_token else {
                let signed = signed(secrets, header, body, now)?;
                return Ok(Proven { event, ..signed });
            };
            // X-Gitlab-Event-UUID is the same for all that one event brings about, and
            // X-Gitlab-Webhook-UUID for all of one hook: neither names a delivery. Versions before
            // 17.4 send no name at all.
            let id = header("idempotency-key");
            Ok(Proven {
                id: id.map(|id| named(Some(id))).transpose()?,
                event,
                secret,
            })
        }
        Sender::Standard => signed(secrets, header, body, now),
        Sender::Cloudflare => {
            let shown = header("cf-webhook-auth").ok_or("it has no cf-webhook-auth")?;
            let expected =
                |secret: &Secret| (!secret.is_empty()).then(|| secret.expose().to_owned());
            Ok(Proven {
                secret: fitting(secrets, &[shown], expected).ok_or("no secret is the one shown")?,
                id: None,
                event: None,
            })
        }
    }
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, which
/// GitLab follows as well.
fn signed<'a, 's>(
    secrets: &'s [HookSecret<'_>],
    header: &dyn Fn(&str) -> Option<&'a str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven<'a, 's>, &'static str> {
    let id = named(header("webhook-id"))?;
    let timestamp = header("webhook-timestamp").ok_or("it has no webhook-timestamp")?;
    let is_number =
        (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent_at = timestamp.parse::<i64>().ok().filter(|_| is_number);
    let sent_at = sent_at.ok_or("its webhook-timestamp is no time")?;
    if (now.unix_ms().div_euclid(1000) - sent_at).abs() > TOLERANCE_SECS {
        return Err("its webhook-timestamp is more than five minutes away from now");
    }
    let signatures = header("webhook-signature").ok_or("it has no webhook-signature")?;
    let mut presented = Vec::new();
    for signature in signatures.split(' ') {
        let (version, rest) = signature
            .split_once(',')
            .filter(|(_, rest)| !rest.contains(','))
            .ok_or("its webhook-signature is malformed")?;
        // Others are of schemes that are not known here.
        if version == "v1" {
            presented.push(rest);
        }
    }
    let expected = |secret: &Secret| standard_mac(secret, id, timestamp, body);
    Ok(Proven {
        secret: fitting(secrets, &presented, expected).ok_or("no secret gives its signature")?,
        id: Some(id),
        event: None,
    })
}

/// What `webhook-signature` holds of a delivery that we send ourselves; `None` when the secret is no key.
#[must_use]
pub fn standard_signature(
    secret: &Secret,
    id: &str,
    timestamp: &str,
    body: &[u8],
) -> Option<String> {
    standard_mac(secret, id, timestamp, body).map(|mac| format!("v1,{mac}"))
}

fn standard_mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Option<String> {
    let key = signing_key(secret)?;
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    Some(base64::encode(&hmac_sha256(&key, &parts)?))
}

/// The name of the first secret for which one of the texts is what was expected. All are compared.
fn fitting<'s>(
    secrets: &'s [HookSecret<'_>],
    presented: &[&str],
    expected: impl Fn(&Secret) -> Option<String>,
) -> Option<&'s str> {
    let mut found = None;
    for secret in secrets {
        let Some(expected) = expected(&secret.value).map(Secret::new) else {
            continue;
        };
        for presented in presented {
            if expected.matches(presented) {
                found = found.or(Some(secret.name));
            }
        }
    }
    found
}

/// The key that a `whsec_…` secret holds.
fn signing_key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose().strip_prefix(KEY_PREFIX)?;
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    base64url::decode(&text).filter(|key| !key.is_empty())
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

/// A delivery's name: what stands in a path as it is, and holds no dot, which separates what is signed.
fn named(id: Option<&str>) -> Result<&str, &'static str> {
    let is_name = |id: &&str| {
        (1..=MAX_NAME_LEN).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_~:@=+".contains(&byte))
    };
    id.filter(is_name).ok_or("its name is missing or malformed")
}

/// What a delivery is about, such as `workflow_run` or `Push Hook`.
fn event(event: Option<&str>) -> Result<&str, &'static str> {
    let is_event = |event: &&str| {
        (1..=MAX_NAME_LEN).contains(&event.len())
            && event
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.: ".contains(&byte))
    };
    event
        .filter(is_event)
        .ok_or("its event is missing or malformed")
}
