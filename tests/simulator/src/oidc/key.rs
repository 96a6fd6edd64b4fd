//! Signing keys: what they are made of, how they are published and what they sign.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use hmac::digest::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::der;
use super::rsa::{Hash, RsaKey};

/// The private half.
#[derive(Clone, Debug)]
pub(super) enum Material {
    Rsa(Box<RsaKey>),
    P256(ecdsa::SigningKey),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// What a symmetric signature is keyed with: the public key, as a confused verifier would use it.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PublicForm {
    /// PEM, with its last line break.
    Pem,
    /// PEM without its last line break.
    PemTrimmed,
    /// The DER of the `SubjectPublicKeyInfo`.
    Der,
    /// The published JWK as JSON text.
    Jwk,
}

/// A key of an issuer, published or not.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Its number over all issuers; names it where `kid` is not unique.
    pub(super) number: u64,
    pub(super) kid: Option<String>,
    /// The algorithm it signs with unless asked for another; empty when it cannot sign.
    pub(super) alg: String,
    pub(super) material: Option<Material>,
    /// What the key set says of it.
    pub(super) jwk: Value,
    pub(super) published: bool,
}

impl Material {
    /// A key for `alg`. `number` decides the secret; for RSA, `place` does.
    pub(super) fn new(
        alg: &str,
        number: u64,
        rsa: impl FnOnce() -> Result<RsaKey, String>,
    ) -> Result<Self, String> {
        let secret = Sha256::digest(format!("zonekeeper simulator {alg} {number}"));
        match alg {
            "RS256" | "RS384" | "RS512" | "PS256" => Ok(Self::Rsa(Box::new(rsa()?))),
            "ES256" => ecdsa::SigningKey::from_slice(&secret)
                .map(Self::P256)
                .map_err(|e| e.to_string()),
            "EdDSA" => Ok(Self::Ed25519(Box::new(
                ed25519_dalek::SigningKey::from_bytes(&secret.into()),
            ))),
            _ => Err(format!(
                "alg must be RS256, RS384, RS512, PS256, ES256 or EdDSA, not {alg:?}"
            )),
        }
    }

    /// The members of the public key in a JWK (RFC 7518 §6, RFC 8037 §2).
    pub(super) fn jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Self::Rsa(key) => json!({"kty": "RSA", "n": encode(&key.n()), "e": encode(&key.e())}),
            Self::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let (_, halves) = point.as_bytes().split_at_checked(1).unwrap_or_default();
                let (x, y) = halves.split_at_checked(32).unwrap_or_default();
                json!({
                    "kty": "EC", "crv": "P-256",
                    "x": encode(x), "y": encode(y),
                })
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(key.verifying_key().as_bytes())})
            }
        };
        match members {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// The `SubjectPublicKeyInfo` of the public key.
    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key) => key.spki(),
            Self::P256(key) => {
                let algorithm =
                    der::sequence(&[&der::oid(&der::EC_PUBLIC_KEY), &der::oid(&der::P256)]);
                let point = key.verifying_key().to_sec1_bytes();
                der::sequence(&[&algorithm, &der::bit_string(&point)])
            }
            Self::Ed25519(key) => {
                let algorithm = der::sequence(&[&der::oid(&der::ED25519)]);
                der::sequence(&[&algorithm, &der::bit_string(key.verifying_key().as_bytes())])
            }
        }
    }
}

impl Key {
    /// The signature of `message` by the named JWS algorithm (RFC 7518 §3, RFC 8037 §3.1), `none`
    /// in any case and HS256 keyed with the public key among them.
    pub(super) fn sign(
        &self,
        alg: &str,
        form: PublicForm,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        if alg.eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        let material = self
            .material
            .as_ref()
            .ok_or_else(|| format!("key {} is only published and cannot sign", self.number))?;
        if alg == "HS256" {
            let secret = self.public_form(material, form);
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|e| e.to_string())?;
            mac.update(message);
            return Ok(mac.finalize().into_bytes().to_vec());
        }
        match (material, alg) {
            (Material::Rsa(key), "RS256") => key.sign_pkcs1(Hash::Sha256, message),
            (Material::Rsa(key), "RS384") => key.sign_pkcs1(Hash::Sha384, message),
            (Material::Rsa(key), "RS512") => key.sign_pkcs1(Hash::Sha512, message),
            (Material::Rsa(key), "PS256") => key.sign_pss(message),
            (Material::P256(key), "ES256") => {
                let signature: ecdsa::Signature = key.sign(message);
                Ok(signature.to_bytes().to_vec())
            }
            (Material::Ed25519(key), "EdDSA") => Ok(key.sign(message).to_bytes().to_vec()),
            _ => Err(format!(
                "a key of {} cannot sign with {alg}; to only claim so, set header.alg",
                self.alg
            )),
        }
    }

    fn public_form(&self, material: &Material, form: PublicForm) -> Vec<u8> {
        match form {
            PublicForm::Der => material.spki(),
            PublicForm::Jwk => self.jwk.to_string().into_bytes(),
            PublicForm::Pem => der::pem("PUBLIC KEY", &material.spki()).into_bytes(),
            PublicForm::PemTrimmed => der::pem("PUBLIC KEY", &material.spki()).trim().into(),
        }
    }

    /// What control answers say of it.
    pub(super) fn describe(&self) -> Value {
        json!({
            "key": self.number, "kid": self.kid, "alg": self.alg,
            "signs": self.material.is_some(), "published": self.published, "jwk": self.jwk,
        })
    }
}
