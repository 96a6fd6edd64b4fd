//! Why a token is not exchanged: what the caller is told, and what is on record.

use http::StatusCode;

use crate::identity::{Claims, ClaimsError, Unproven, behind};
use crate::store::StoreError;

/// Why there is no key.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// The code of RFC 6749 §5.2 or RFC 8693 §2.2.2.
    pub(super) error: &'static str,
    /// What the caller is told: nothing that only the configuration knows.
    pub(super) description: String,
    /// What is on record, where that is more.
    pub(super) reason: Option<String>,
    /// Who stood behind the token, once its signature was checked.
    pub(super) behind: Option<String>,
}

impl Refused {
    pub(super) fn of(error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description: description.into(),
            reason: None,
            behind: None,
        }
    }

    /// A request, or a subject token, that is not valid or not acceptable (RFC 8693 §2.2.2).
    pub(super) fn request(description: impl Into<String>) -> Self {
        Self::of("invalid_request", description)
    }

    /// A token that is not of the form, or does not count now.
    pub(super) fn claims(error: ClaimsError) -> Self {
        Self::request(format!("The subject_token is not accepted: {error}."))
    }

    /// The one answer to every token that is well formed and not ours; `reason` is for the audit log.
    pub(super) fn token(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::request(
                "The subject_token is not accepted: no principal has tokens of this issuer with this audience and these claims, or it was used before. The audit log says which.",
            )
        }
    }

    pub(super) fn unavailable(description: &str, reason: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: Some(reason),
            ..Self::of("temporarily_unavailable", description)
        }
    }

    pub(super) fn store(error: &StoreError) -> Self {
        Self::unavailable(
            "The store of this Zonekeeper cannot be reached, so no key was issued.",
            error.to_string(),
        )
    }

    pub(super) fn by(self, claims: &Claims) -> Self {
        Self {
            behind: Some(behind(claims)),
            ..self
        }
    }
}

impl From<Unproven> for Refused {
    fn from(unproven: Unproven) -> Self {
        match &unproven {
            Unproven::Claims(error) => Self::claims(*error),
            Unproven::Key(_) | Unproven::Signature => Self::token(unproven.to_string()),
            Unproven::Unavailable(_) => Self::unavailable(
                "The issuer's keys cannot be had now, so no key was issued.",
                unproven.to_string(),
            ),
        }
    }
}
