//! Authentication of v4 calls: `Authorization: Bearer`, or `X-Auth-Email` with `X-Auth-Key`.
//!
//! NOTES "Authentication" and "Error codes": 9106 missing headers, 6003 with 6111 (malformed
//! Authorization) or 6103 (malformed X-Auth-Key) in the chain, 9104 missing email, 9103 unknown
//! key or email, 9109 unknown token.

use hyper::HeaderMap;

use crate::api::ApiError;
use crate::clock::Now;
use crate::seed::{EMAIL, KEY};
use crate::tokens::Tokens;

/// How a call was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// The API token with this id.
    Token(String),
    /// The user's global key.
    Key,
    /// The token of an upload of assets, which authorises nothing else.
    Upload,
}

impl Credential {
    /// The id of the token, when it is one.
    pub(crate) fn token_id(&self) -> Option<&str> {
        match self {
            Self::Token(id) => Some(id),
            Self::Key | Self::Upload => None,
        }
    }
}

/// Reads and judges the credential of a call. With both forms present the token counts.
pub(crate) fn authenticate(
    headers: &HeaderMap,
    tokens: &Tokens,
    now: Now,
) -> Result<Credential, ApiError> {
    if let Some(value) = headers.get("authorization") {
        let token = value
            .to_str()
            .ok()
            .and_then(bearer)
            .ok_or_else(|| ApiError {
                chain: Some((6111, "Invalid format for Authorization header")),
                ..ApiError::bad(6003, "Invalid request headers")
            })?;
        return tokens
            .authenticate(token, now)
            .map(Credential::Token)
            .ok_or_else(|| ApiError::new(403, 9109, "Invalid access token"));
    }
    let Some(key) = headers.get("x-auth-key") else {
        return Err(ApiError::bad(
            9106,
            "Missing X-Auth-Key, X-Auth-Email or Authorization headers",
        ));
    };
    let key = key
        .to_str()
        .ok()
        .filter(|k| well_formed(k))
        .ok_or_else(|| ApiError {
            chain: Some((6103, "Invalid format for X-Auth-Key header")),
            ..ApiError::bad(6003, "Invalid request headers")
        })?;
    let Some(email) = headers.get("x-auth-email").and_then(|e| e.to_str().ok()) else {
        return Err(ApiError::new(403, 9104, "Missing X-Auth-Email header"));
    };
    if key == KEY && email.eq_ignore_ascii_case(EMAIL) {
        Ok(Credential::Key)
    } else {
        Err(ApiError::new(
            403,
            9103,
            "Unknown X-Auth-Key or X-Auth-Email",
        ))
    }
}

/// The credential a request carries, whatever it is worth; for the `echo` fault.
pub(crate) fn received(headers: &HeaderMap) -> Option<&str> {
    let token = headers.get("authorization").and_then(|v| v.to_str().ok());
    token
        .map(|t| t.split_once(' ').map_or(t, |(_, token)| token))
        .or_else(|| headers.get("x-auth-key").and_then(|v| v.to_str().ok()))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && well_formed(token)).then_some(token)
}

/// The shape of a token or key; the exact lengths are not public (hypothesis: 37 or more).
fn well_formed(secret: &str) -> bool {
    (37..=255).contains(&secret.len())
        && secret
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{SEEDED_AT, TOKEN, TOKEN_ID};

    fn check(pairs: &[(&'static str, &str)], expected: &Result<Credential, (u16, u32)>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        let tokens = crate::tokens::seeded(SEEDED_AT);
        let got = authenticate(&headers, &tokens, SEEDED_AT).map_err(|e| (e.status, e.code));
        assert_eq!(&got, expected, "{pairs:?}");
    }

    #[test]
    fn each_defect_of_a_credential_has_its_code() {
        let bearer = format!("Bearer {TOKEN}");
        let token = || Ok(Credential::Token(TOKEN_ID.to_owned()));
        let wrong = format!("Bearer {}", TOKEN.replace('S', "T"));
        check(&[("authorization", &bearer)], &token());
        check(
            &[("authorization", &bearer.replace("Bearer", "bearer"))],
            &token(),
        );
        check(
            &[("x-auth-key", KEY), ("x-auth-email", EMAIL)],
            &Ok(Credential::Key),
        );
        check(&[], &Err((400, 9106)));
        check(&[("x-auth-email", EMAIL)], &Err((400, 9106)));
        check(&[("authorization", "Basic Zm9v")], &Err((400, 6003)));
        check(&[("authorization", "Bearer short")], &Err((400, 6003)));
        check(&[("authorization", &wrong)], &Err((403, 9109)));
        check(
            &[("x-auth-key", "short"), ("x-auth-email", EMAIL)],
            &Err((400, 6003)),
        );
        check(&[("x-auth-key", KEY)], &Err((403, 9104)));
        check(
            &[("x-auth-key", KEY), ("x-auth-email", "x@acme.test")],
            &Err((403, 9103)),
        );
    }
}
