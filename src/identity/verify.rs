//! A token whose signature is an issuer's.

use super::claims::{Claims, ClaimsError};
use super::issuer::{Issuers, KeyRing, KeySource};
use super::jwks::{KeyError, PublicKey};
use super::jwt::Jws;
use crate::model::Timestamp;

/// Checks signatures. Cryptography is the runtime's.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Verifier {
    /// Whether `signature` is one of `input` by `key`.
    ///
    /// # Errors
    /// Why it could not be found out, such as a point that is not on its curve.
    async fn verify(&self, key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String>;
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Its form or its times are not right.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// There is no key to check it with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature is not by that key.
    #[error("the signature is not the issuer's")]
    Signature,
    /// The issuer's keys cannot be had now.
    #[error("the issuer's keys cannot be had: {0}")]
    Unavailable(String),
}

impl Jws<'_> {
    /// Whether the token was signed by `key`: its algorithm is the key's, and the signature has exactly
    /// the bytes of one.
    ///
    /// # Errors
    /// [`Unproven::Signature`] when it was not, or the key is none.
    pub async fn check<V: Verifier>(&self, verifier: &V, key: &PublicKey) -> Result<(), Unproven> {
        let is_form_right =
            self.algorithm == key.algorithm() && self.signature.len() == key.signature_bytes();
        let is_by_key = is_form_right
            && verifier
                .verify(key, self.signing_input, &self.signature)
                .await
                .unwrap_or(false);
        is_by_key.then_some(()).ok_or(Unproven::Signature)
    }
}

/// Proves that a token is the issuer's and counts at `now`, and gives its claims.
///
/// 1. Its times are looked at first, which costs nothing.
/// 2. The key is the one key of `source` that has the name the token gives.
/// 3. The signature is checked with that key.
///
/// # Errors
/// [`Unproven`] when any of it is not so.
pub async fn prove<W: Issuers + Verifier>(
    world: &W,
    ring: &KeyRing,
    source: &KeySource,
    jws: &Jws<'_>,
    claims: Claims,
    max_lifetime_secs: i64,
    now: Timestamp,
) -> Result<Claims, Unproven> {
    claims.check_times(now, max_lifetime_secs)?; // (1)
    let keys = ring
        .keys(world, source, &jws.kid, now)
        .await
        .map_err(Unproven::Unavailable)?;
    let key = keys.key(&jws.kid, jws.algorithm)?; // (2)
    jws.check(world, &key).await?; // (3)
    Ok(claims)
}
