//! The keys an issuer publishes (RFC 7517), and the one among them that a token names.

use std::collections::BTreeMap;

use super::jwt::Algorithm;
use crate::model::base64url;
use crate::model::json::{self, Json};

/// Most bytes of a key set or a discovery document.
pub const MAX_KEY_SET_BYTES: usize = 100 * 1024;
/// The fewest and the most bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Most bytes of an RSA exponent; runtimes take no larger ones.
const MAX_EXPONENT_BYTES: usize = 4;

/// The text is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// More than [`MAX_KEY_SET_BYTES`].
    #[error("the key set is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    /// Not an object with a list of objects called `keys`, or one that two readers may read differently.
    #[error("the key set is no unambiguous JSON object with a list of keys")]
    Form,
}

/// Why a key set has no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key has that name.
    #[error("the issuer publishes no key of the name the token gives")]
    Unknown,
    /// Several keys have it.
    #[error("the issuer publishes several keys of the name the token gives")]
    Ambiguous,
    /// The key is for something else, or too weak.
    #[error("the issuer's key does not fit: {0}")]
    Unfit(&'static str),
}

/// A key that checks signatures of one algorithm. Its texts are canonical base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// For RS256.
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
        /// Bytes of the modulus, and so of a signature.
        modulus_bytes: usize,
    },
    /// For ES256.
    P256 {
        /// One coordinate, 32 bytes.
        x: String,
        /// The other.
        y: String,
    },
    /// For `EdDSA`.
    Ed25519 {
        /// The point, 32 bytes.
        x: String,
    },
}

impl PublicKey {
    /// The algorithm it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256 { .. } => Algorithm::Es256,
            Self::Ed25519 { .. } => Algorithm::EdDsa,
        }
    }

    /// How many bytes each of its signatures has: for ES256 two numbers of 32 bytes, never DER.
    #[must_use]
    pub const fn signature_bytes(&self) -> usize {
        match self {
            Self::Rsa { modulus_bytes, .. } => *modulus_bytes,
            Self::P256 { .. } | Self::Ed25519 { .. } => 64,
        }
    }

    /// The key alone as a JSON Web Key, without anything else its issuer wrote about it.
    #[must_use]
    pub fn to_jwk(&self) -> String {
        match self {
            Self::Rsa { n, e, .. } => format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#),
            Self::P256 { x, y } => format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#),
            Self::Ed25519 { x } => format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#),
        }
    }

    /// Reads a key for signatures of `algorithm`.
    fn read(key: &Json, algorithm: Algorithm) -> Result<Self, KeyError> {
        let unfit = KeyError::Unfit;
        let text = |name| key.get(name).and_then(Json::as_str);
        if key.get("alg").is_some() && text("alg") != Some(algorithm.name()) {
            return Err(unfit("it is for another algorithm"));
        }
        if key.get("use").is_some() && text("use") != Some("sig") {
            return Err(unfit("it is not for signatures"));
        }
        let may_verify = key.get("key_ops").is_none_or(|uses| {
            uses.as_array()
                .is_some_and(|uses| uses.iter().any(|one| one.as_str() == Some("verify")))
        });
        if !may_verify {
            return Err(unfit("it is not for checking signatures"));
        }
        if key.get("d").is_some() || key.get("k").is_some() {
            return Err(unfit("its secret part is published"));
        }
        let bytes = |name, len| {
            text(name)
                .filter(|value| base64url::decode(value).is_some_and(|bytes| bytes.len() == len))
        };
        match (algorithm, text("kty"), text("crv")) {
            (Algorithm::Rs256, Some("RSA"), None) => Self::rsa(text("n"), text("e")),
            (Algorithm::Es256, Some("EC"), Some("P-256")) => {
                match (bytes("x", 32), bytes("y", 32)) {
                    (Some(x), Some(y)) => Ok(Self::P256 {
                        x: x.to_owned(),
                        y: y.to_owned(),
                    }),
                    _ => Err(unfit("its point does not have two numbers of 32 bytes")),
                }
            }
            (Algorithm::EdDsa, Some("OKP"), Some("Ed25519")) => match bytes("x", 32) {
                Some(x) => Ok(Self::Ed25519 { x: x.to_owned() }),
                None => Err(unfit("its point does not have 32 bytes")),
            },
            _ => Err(unfit("it is of another type or curve than the algorithm")),
        }
    }

    fn rsa(n: Option<&str>, e: Option<&str>) -> Result<Self, KeyError> {
        let unfit = KeyError::Unfit;
        let number = |text: Option<&str>| {
            let text = text?;
            let bytes = base64url::decode(text)?;
            // RFC 7518 §6.3.1.1: no zero octets in front.
            bytes
                .first()
                .is_some_and(|first| *first != 0)
                .then(|| (text.to_owned(), bytes))
        };
        let (Some((n, modulus)), Some((e, exponent))) = (number(n), number(e)) else {
            return Err(unfit("its modulus or exponent is missing or not canonical"));
        };
        let leading = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = modulus.len() * 8 - usize::try_from(leading).unwrap_or(8);
        if !RSA_BITS.contains(&bits) {
            return Err(unfit("its modulus does not have 2048 to 8192 bits"));
        }
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 1 == 1);
        let is_one = exponent.as_slice() == [1];
        if is_one || !is_odd(&exponent) || exponent.len() > MAX_EXPONENT_BYTES || !is_odd(&modulus)
        {
            return Err(unfit(
                "its exponent is not odd and from 3 on, or its modulus is even",
            ));
        }
        Ok(Self::Rsa {
            n,
            e,
            modulus_bytes: modulus.len(),
        })
    }
}

/// What an issuer published, by the names of its keys. What is wrong with a key is looked at when a token
/// names it, so that a kind of key unknown here keeps nobody else out.
#[derive(Debug, Clone, Default)]
pub struct KeySet(BTreeMap<String, Option<Json>>);

impl KeySet {
    /// Reads a key set. Keys without a name cannot be asked for and are left out.
    ///
    /// # Errors
    /// [`KeySetError`] when it is too large or no key set.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let json = json::parse(bytes).map_err(|_| KeySetError::Form)?;
        let listed = json.get("keys").and_then(Json::as_array);
        let mut keys = BTreeMap::new();
        for key in listed.ok_or(KeySetError::Form)? {
            if key.as_object().is_none() {
                return Err(KeySetError::Form);
            }
            if let Some(kid) = key.get("kid").and_then(Json::as_str) {
                // `None` stands for a name that several keys have.
                keys.entry(kid.to_owned())
                    .and_modify(|known| *known = None)
                    .or_insert_with(|| Some(key.clone()));
            }
        }
        Ok(Self(keys))
    }

    /// Whether some key has this name.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// The one key of this name, if it fits `algorithm`.
    ///
    /// # Errors
    /// [`KeyError`] when there is none, more than one, or one that does not fit.
    pub fn key(&self, kid: &str, algorithm: Algorithm) -> Result<PublicKey, KeyError> {
        match self.0.get(kid) {
            None => Err(KeyError::Unknown),
            Some(None) => Err(KeyError::Ambiguous),
            Some(Some(key)) => PublicKey::read(key, algorithm),
        }
    }
}
