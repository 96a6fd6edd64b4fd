//! The claims of a token (RFC 7519 §4.1), read strictly.

use super::jwt::{TokenError, object};
use crate::model::Timestamp;
use crate::model::json::Json;

/// How far clocks may differ, in milliseconds.
pub const SKEW_MS: i64 = 60_000;
/// The last second that is a date: the end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// Why the claims of a token are not accepted at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// They are no JSON object that all readers read alike.
    #[error(transparent)]
    Form(#[from] TokenError),
    /// A claim is absent or of another type than it must be.
    #[error("the claim {0} is missing or not of the type it must be")]
    Claim(&'static str),
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// It lives longer than tokens of its kind do.
    #[error("the token is valid for longer than is accepted")]
    TooLong,
}

/// The claims of a token whose form is right.
#[derive(Debug, Clone)]
pub struct Claims {
    json: Json,
    issuer: String,
    issued_at: Timestamp,
    not_before: Timestamp,
    expires_at: Timestamp,
}

impl Claims {
    /// Reads the payload of a token. `iss` must be a text, `exp` and `iat` whole numbers, `nbf` as well
    /// where it is there; without it the token counts from `iat` on.
    ///
    /// # Errors
    /// [`ClaimsError`] naming what is wrong.
    pub fn parse(payload: &[u8]) -> Result<Self, ClaimsError> {
        let json = object(payload, "claims")?;
        let text = |name| json.get(name).and_then(Json::as_str);
        let seconds = |name: &'static str| match json.get(name) {
            Some(value) => value
                .as_i64()
                .filter(|seconds| (0..=LAST_SECOND).contains(seconds))
                .map(|seconds| Some(Timestamp::from_unix_ms(seconds * 1_000)))
                .ok_or(ClaimsError::Claim(name)),
            None => Ok(None),
        };
        let needed = |name: &'static str| seconds(name)?.ok_or(ClaimsError::Claim(name));
        let issuer = text("iss").ok_or(ClaimsError::Claim("iss"))?.to_owned();
        let (issued_at, expires_at) = (needed("iat")?, needed("exp")?);
        let not_before = seconds("nbf")?.unwrap_or(issued_at);
        Ok(Self {
            json,
            issuer,
            issued_at,
            not_before,
            expires_at,
        })
    }

    /// `iss`, exactly.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `exp`.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The instant from which nobody accepts the token any more, whatever their clock.
    #[must_use]
    pub const fn spent_at(&self) -> Timestamp {
        self.expires_at.plus_ms(SKEW_MS)
    }

    /// Whether the token counts at `now` and lives no longer than `max_lifetime_secs`.
    ///
    /// # Errors
    /// [`ClaimsError`] saying which of it is not so.
    pub fn check_times(&self, now: Timestamp, max_lifetime_secs: i64) -> Result<(), ClaimsError> {
        if now >= self.spent_at() || self.expires_at <= self.issued_at {
            return Err(ClaimsError::Expired);
        }
        let latest_start = now.plus_ms(SKEW_MS);
        if self.issued_at > latest_start || self.not_before > latest_start {
            return Err(ClaimsError::NotYet);
        }
        if self.expires_at.ms_since(self.issued_at) > max_lifetime_secs * 1_000 {
            return Err(ClaimsError::TooLong);
        }
        Ok(())
    }

    /// Whether the token is for `audience` and nobody else: `aud` is exactly that text, or a list of
    /// that text alone. A token that is for others as well may have been handed to us by one of them.
    #[must_use]
    pub fn is_only_for(&self, audience: &str) -> bool {
        match self.json.get("aud") {
            Some(Json::String(text)) => text == audience,
            Some(Json::Array(items)) => match items.as_slice() {
                [one] => one.as_str() == Some(audience),
                _ => false,
            },
            _ => false,
        }
    }

    /// The claim of this name, if it is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Json::as_str)
    }

    /// Whether there is a claim of this name, of any type.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.json.get(name).is_some()
    }

    /// The claim of this name, of any type.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.json.get(name)
    }
}
