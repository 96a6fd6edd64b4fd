//! The two carriers of a credential on `/client/v4` and `/api/v1`.

/// The headers a credential may arrive in, as the caller sent them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CredentialHeaders<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `X-Auth-Key`, the form of the legacy Global API Key.
    pub auth_key: Option<&'a str>,
    /// `X-Auth-User-Service-Key`, withdrawn by Cloudflare; never accepted.
    pub service_key: Option<&'a str>,
}

/// One credential, not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a>(&'a str);

impl<'a> Credential<'a> {
    /// The text that claims to be a key.
    #[must_use]
    pub const fn expose(self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Why the headers hold no usable credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// None at all.
    #[error(
        "the call carries no credential; send a Zonekeeper key as `Authorization: Bearer …` or as `X-Auth-Key`"
    )]
    Missing,
    /// More than one, in whatever form.
    #[error("the call carries two credentials; send exactly one")]
    Ambiguous,
    /// An `Authorization` scheme other than Bearer.
    #[error("the Authorization header must have the form `Bearer` and one key")]
    UnknownScheme,
}

impl<'a> CredentialHeaders<'a> {
    /// The one credential the headers hold.
    ///
    /// Repeated headers arrive joined by `, `; as no key holds a comma, they count as two. The
    /// scheme name is compared without regard to case (RFC 9110 §11.1).
    ///
    /// # Errors
    /// [`CredentialError`] when there is none, more than one, or one of another kind.
    pub fn credential(self) -> Result<Credential<'a>, CredentialError> {
        match (self.authorization, self.auth_key, self.service_key) {
            (None, None, None) => Err(CredentialError::Missing),
            (Some(value), None, None) => {
                if value.contains(',') {
                    return Err(CredentialError::Ambiguous);
                }
                let (scheme, key) = value
                    .trim()
                    .split_once(' ')
                    .ok_or(CredentialError::UnknownScheme)?;
                if scheme.eq_ignore_ascii_case("bearer") {
                    Ok(Credential(key.trim()))
                } else {
                    Err(CredentialError::UnknownScheme)
                }
            }
            (None, Some(value), None) => {
                if value.contains(',') {
                    Err(CredentialError::Ambiguous)
                } else {
                    Ok(Credential(value.trim()))
                }
            }
            (None, None, Some(_)) => Err(CredentialError::UnknownScheme),
            _ => Err(CredentialError::Ambiguous),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        authorization: Option<&str>,
        auth_key: Option<&str>,
        service_key: Option<&str>,
        expected: Result<&str, CredentialError>,
    ) {
        let headers = CredentialHeaders {
            authorization,
            auth_key,
            service_key,
        };
        assert_eq!(
            headers.credential().map(Credential::expose),
            expected,
            "{headers:?}"
        );
    }

    #[test]
    fn exactly_one_credential_is_accepted() {
        use CredentialError::{Ambiguous, Missing, UnknownScheme};
        check(None, None, None, Err(Missing));
        check(Some("Bearer k"), None, None, Ok("k"));
        check(Some("bearer  k "), None, None, Ok("k"));
        check(None, Some("k"), None, Ok("k"));
        check(Some("Bearer a, Bearer b"), None, None, Err(Ambiguous));
        check(None, Some("a, b"), None, Err(Ambiguous));
        check(Some("Bearer a"), Some("a"), None, Err(Ambiguous));
        check(Some("Bearer a"), None, Some("v1.0-x"), Err(Ambiguous));
        check(None, None, Some("v1.0-x"), Err(UnknownScheme));
        check(Some("Basic eDp5"), None, None, Err(UnknownScheme));
        check(Some("Bearer"), None, None, Err(UnknownScheme));
    }
}
