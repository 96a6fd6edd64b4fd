//! A signed token in compact form (RFC 7515 §7.1), read so that it can mean one thing only.
//!
//! Nothing here is believed yet: the signature is checked against a key of the issuer later.

use crate::model::base64url;
use crate::model::json::{self, Json};

/// Most bytes of a token.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Most bytes of a key's name in a token.
const MAX_KID_BYTES: usize = 256;

/// A signature algorithm that is accepted (RFC 7518 §3.1, RFC 8037 §3.1). There are no others: what is
/// keyed with a shared secret, or not at all, proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA on edwards25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of this name, compared exactly.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// Its name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Why a text is no token that could be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// More than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts with a dot between them.
    #[error("the token does not have three parts, none of them empty")]
    Parts,
    /// A part is not base64url, or not its one canonical spelling.
    #[error("a part of the token is not canonical base64url")]
    Encoding,
    /// The header or the claims are no JSON object that all readers read alike.
    #[error("the {0} of the token are not one unambiguous JSON object")]
    Json(&'static str),
    /// `alg` is absent or none that is accepted.
    #[error("the token is not signed with RS256, ES256 or EdDSA")]
    Algorithm,
    /// A header parameter that changes what is signed or brings its own key.
    #[error("the token has the header parameter {0}, which is not accepted")]
    Parameter(&'static str),
    /// `typ` names another kind of token.
    #[error("the token says that it is of another type than JWT")]
    Type,
    /// `kid` is absent, or too long.
    #[error("the token does not name its key with a kid of 1 to {MAX_KID_BYTES} bytes")]
    KeyId,
}

/// Header parameters that no token may have: extensions that change how it is read (RFC 7515 §4.1.11,
/// RFC 7797, RFC 7516), and those that bring the key along (RFC 7515 §4.1.2 to §4.1.6).
const REFUSED: [&str; 9] = [
    "crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c",
];

/// A token taken apart; its signature is not checked.
#[derive(Debug, Clone)]
pub struct Jws<'t> {
    /// What it says it is signed with.
    pub algorithm: Algorithm,
    /// The name of the key that signed it.
    pub kid: String,
    /// What was signed.
    pub signing_input: &'t str,
    /// The bytes of its payload.
    pub payload: Vec<u8>,
    /// The signature; not empty.
    pub signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenError`] for whatever is not exactly what an issuer sends.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::Parts)?;
        if payload.contains('.') || [header, payload, signature].contains(&"") {
            return Err(TokenError::Parts);
        }
        let bytes = |part| base64url::decode(part).ok_or(TokenError::Encoding);
        let header = object(&bytes(header)?, "header fields")?;
        let payload = bytes(payload)?;
        let signature = bytes(signature)?;
        for name in REFUSED {
            if header.get(name).is_some() {
                return Err(TokenError::Parameter(name));
            }
        }
        let algorithm = header.get("alg").and_then(Json::as_str);
        let algorithm = algorithm
            .and_then(Algorithm::named)
            .ok_or(TokenError::Algorithm)?;
        // RFC 8725 §3.11: a token of another kind says so, such as `at+jwt` or `logout+jwt`.
        match header.get("typ").map(Json::as_str) {
            None => {}
            Some(Some(kind)) if kind.eq_ignore_ascii_case("JWT") => {}
            Some(_) => return Err(TokenError::Type),
        }
        let kid = header.get("kid").and_then(Json::as_str);
        let kid = kid
            .filter(|kid| (1..=MAX_KID_BYTES).contains(&kid.len()))
            .ok_or(TokenError::KeyId)?;
        Ok(Self {
            algorithm,
            kid: kid.to_owned(),
            signing_input,
            payload,
            signature,
        })
    }
}

/// Reads one JSON object strictly: no key twice, nothing behind it.
pub(super) fn object(bytes: &[u8], what: &'static str) -> Result<Json, TokenError> {
    json::parse(bytes)
        .ok()
        .filter(|json| json.as_object().is_some())
        .ok_or(TokenError::Json(what))
}
