//! OIDC issuers under `/__sim/oidc/{issuer}`, and the team domain of Cloudflare Access.
//!
//! An issuer exists as soon as it is named, with one RS256 key of its own. What it publishes is
//! `/.well-known/openid-configuration` and `/jwks` below its address; Access publishes
//! `/cdn-cgi/access/certs` at the simulator's own origin. Under `/__sim/oidc/{issuer}` and
//! `/__sim/access` tests steer them: `GET` (keys), `POST …/keys`, `…/documents`, `…/sign`,
//! `…/rotate`, `GET …/log`.
//!
//! [`key`] signs, [`rsa`] and [`der`] are what it signs with, [`token`] makes tokens good and bad,
//! [`preset`] knows the claims of real issuers.
//!
//! INVARIANT: keys follow from the order in which they were asked for, so the same requests after
//! a reset give the same keys and tokens.

mod der;
mod key;
mod preset;
mod rsa;
mod token;

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::clock::Now;
use key::{Key, Material};
use preset::Scene;
use rsa::RsaKey;

pub use preset::ACCESS_AUD;

/// The path of the keys of Access, at any team domain.
///
/// NOTES "Access": `https://<team>.cloudflareaccess.com/cdn-cgi/access/certs`.
const ACCESS_CERTS: &str = "/cdn-cgi/access/certs";
/// How the documents of an issuer end.
const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/jwks";

/// All issuers.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    /// Access has the empty name, which no path can give.
    by_name: BTreeMap<String, Issuer>,
    keys: u64,
    tokens: u64,
    /// How many RSA keys of each size are in use.
    rsa: BTreeMap<usize, usize>,
}

/// One issuer.
#[derive(Debug, Default)]
struct Issuer {
    keys: Vec<Key>,
    discovery: Spoiler,
    jwks: Spoiler,
}

/// How a document differs from what it should be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoiler {
    /// Members to set, or with null to remove.
    #[serde(default)]
    members: Map<String, Value>,
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Text in place of the document.
    body: Option<String>,
    /// Makes the document longer by a member of so many bytes.
    pad_bytes: Option<usize>,
}

/// What `POST …/documents` takes; an absent member leaves its document as it is, and `{}` makes
/// it right again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spoilers {
    discovery: Option<Spoiler>,
    jwks: Option<Spoiler>,
}

/// One item of `POST …/keys`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyOrder {
    /// Null for none; absent for one made up.
    #[serde(default = "made_up")]
    kid: Value,
    alg: Option<String>,
    bits: Option<usize>,
    e: Option<u32>,
    /// With `alg`, members to set over the right ones, or with null to remove; else the whole JWK
    /// of a key that cannot sign.
    raw_jwk: Option<Value>,
    /// Unpublishes the keys of this id, which still sign.
    #[serde(default)]
    remove: bool,
    /// Leaves published what has the same id.
    #[serde(default)]
    duplicate: bool,
}

fn made_up() -> Value {
    Value::Bool(true)
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Value>),
    One(Value),
}

/// A published document: whose, and whether it is the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    issuer: &'a str,
    is_jwks: bool,
}

/// The document at a path, if there is one.
pub(crate) fn document(path: &str) -> Option<Document<'_>> {
    if path == ACCESS_CERTS {
        return Some(Document {
            issuer: "",
            is_jwks: true,
        });
    }
    let rest = path.strip_prefix("/__sim/oidc/")?;
    let (issuer, is_jwks) = rest
        .strip_suffix(DISCOVERY)
        .map(|issuer| (issuer, false))
        .or_else(|| rest.strip_suffix(JWKS).map(|issuer| (issuer, true)))?;
    is_name(issuer).then_some(Document { issuer, is_jwks })
}

/// The issuer that a control path is about, its path prefix, and what is asked of it.
pub(crate) fn controlled(path: &str) -> Option<(&str, String, &str)> {
    let split = |rest| str::split_once(rest, '/').unwrap_or((rest, ""));
    if let Some(rest) = path.strip_prefix("/__sim/access") {
        let action = rest.strip_prefix('/');
        return (rest.is_empty() || action.is_some())
            .then(|| ("", ACCESS_CERTS.to_owned(), action.unwrap_or_default()));
    }
    let (issuer, action) = split(path.strip_prefix("/__sim/oidc/")?);
    is_name(issuer).then(|| (issuer, format!("/__sim/oidc/{issuer}/"), action))
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The issuer's identifier: what `iss` must be.
fn identifier(origin: &str, name: &str) -> String {
    match name {
        // The team domain of Access.
        "" => origin.to_owned(),
        _ => format!("{origin}/__sim/oidc/{name}"),
    }
}

impl Issuers {
    /// The answer to a request for a document.
    pub(crate) fn publish(&mut self, origin: &str, wanted: Document<'_>) -> Response<Bytes> {
        let name = wanted.issuer;
        match self.issuer(name) {
            Ok(issuer) if wanted.is_jwks => issuer.jwks.apply(issuer.key_set(name.is_empty())),
            Ok(issuer) => {
                let document = issuer.configuration(&identifier(origin, name));
                issuer.discovery.apply(document)
            }
            Err(message) => Spoiler {
                status: Some(500),
                ..Spoiler::default()
            }
            .apply(json!({"error": message})),
        }
    }

    /// The answer to a control request; `Ok(None)` when there is no such control.
    pub(crate) fn control(
        &mut self,
        origin: &str,
        name: &str,
        (method, action): (&str, &str),
        body: &[u8],
        now: Now,
    ) -> Result<Option<Value>, String> {
        match (method, action) {
            ("GET", "") => {}
            ("POST", "keys") => {
                let orders = match parse(body)? {
                    OneOrMany::Many(list) => list,
                    OneOrMany::One(one) => vec![one],
                };
                for order in orders {
                    let order = serde_json::from_value(order).map_err(|e| e.to_string())?;
                    self.order_key(name, &order)?;
                }
            }
            ("POST", "rotate") => self.rotate(name)?,
            ("POST", "documents") => {
                let spoilers: Spoilers = parse(body)?;
                let issuer = self.issuer(name)?;
                for (new, old) in [
                    (spoilers.discovery, &mut issuer.discovery),
                    (spoilers.jwks, &mut issuer.jwks),
                ] {
                    if let Some(new) = new {
                        new.check()?;
                        *old = new;
                    }
                }
            }
            ("POST", "sign") => return self.sign(origin, name, body, now).map(Some),
            _ => return Ok(None),
        }
        let keys: Vec<Value> = self.issuer(name)?.keys.iter().map(Key::describe).collect();
        let issuer = identifier(origin, name);
        let jwks_uri = match name {
            "" => format!("{origin}{ACCESS_CERTS}"),
            _ => format!("{issuer}{JWKS}"),
        };
        Ok(Some(
            json!({"issuer": issuer, "jwks_uri": jwks_uri, "keys": keys}),
        ))
    }

    /// The issuer of this name, made with its first key when it is new.
    fn issuer(&mut self, name: &str) -> Result<&mut Issuer, String> {
        if !self.by_name.contains_key(name) {
            let first = KeyOrder::new("RS256");
            let key = self.make_key(&first)?;
            let issuer = Issuer {
                keys: vec![key],
                ..Issuer::default()
            };
            self.by_name.insert(name.to_owned(), issuer);
        }
        Ok(self.by_name.entry(name.to_owned()).or_default())
    }

    fn order_key(&mut self, name: &str, order: &KeyOrder) -> Result<(), String> {
        self.issuer(name)?;
        let kid = order.kid.as_str().map(str::to_owned);
        let key = if order.remove {
            None
        } else {
            Some(self.make_key(order)?)
        };
        let issuer = self.issuer(name)?;
        let same = |key: &Key| key.published && key.kid == kid;
        if order.remove && !issuer.keys.iter().any(same) {
            return Err(format!("no published key has the kid {}", order.kid));
        }
        let keeps = !order.remove && (order.duplicate || kid.is_none());
        for key in &mut issuer.keys {
            key.published &= keeps || !same(key);
        }
        issuer.keys.extend(key);
        Ok(())
    }

    fn make_key(&mut self, order: &KeyOrder) -> Result<Key, String> {
        self.keys += 1;
        let number = self.keys;
        let alg = order.alg.clone().unwrap_or_default();
        let material = match order.alg.as_deref() {
            None if order.raw_jwk.is_some() => None,
            None => return Err("a key needs alg or raw_jwk".to_owned()),
            Some(alg) => {
                let bits = order.bits.unwrap_or(2048);
                let place = self.rsa.entry(bits).or_default();
                Some(Material::new(alg, number, || {
                    let key = RsaKey::new(bits, *place, order.e.unwrap_or(65537))?;
                    *place += 1;
                    Ok(key)
                })?)
            }
        };
        let kid = match &order.kid {
            Value::String(kid) => Some(kid.clone()),
            Value::Bool(true) => Some(format!("sim-{number}")),
            Value::Null => None,
            _ => return Err("kid must be a string or null".to_owned()),
        };
        let mut jwk = material.as_ref().map(Material::jwk).unwrap_or_default();
        if material.is_some() {
            jwk.insert("use".to_owned(), json!("sig"));
            jwk.insert("alg".to_owned(), json!(alg));
            jwk.extend(kid.iter().map(|kid| ("kid".to_owned(), json!(kid))));
        }
        let jwk = match &order.raw_jwk {
            Some(Value::Object(members)) => Value::Object(overlaid(jwk, members)),
            Some(other) => other.clone(),
            None => Value::Object(jwk),
        };
        Ok(Key {
            number,
            kid,
            alg,
            material,
            jwk,
            published: true,
        })
    }

    /// A new key beside the newest; what is older is no longer published.
    fn rotate(&mut self, name: &str) -> Result<(), String> {
        let published = |key: &&Key| key.published && key.material.is_some();
        let newest = self.issuer(name)?.keys.iter().rfind(published);
        let alg = newest.map_or_else(|| "RS256".to_owned(), |key| key.alg.clone());
        let keep = newest.map(|key| key.number);
        let key = self.make_key(&KeyOrder::new(&alg))?;
        let issuer = self.issuer(name)?;
        for key in &mut issuer.keys {
            key.published &= Some(key.number) == keep;
        }
        issuer.keys.push(key);
        Ok(())
    }

    fn sign(&mut self, origin: &str, name: &str, body: &[u8], now: Now) -> Result<Value, String> {
        let order: token::Order = parse(body)?;
        self.tokens += 1;
        let tokens = self.tokens;
        let issuer = identifier(origin, name);
        let scene = Scene {
            issuer: &issuer,
            now,
            tokens,
        };
        let keys = &self.issuer(name)?.keys;
        let key = match (order.key, &order.kid) {
            (Some(number), _) => keys.iter().find(|key| key.number == number),
            (None, Some(kid)) => keys.iter().rfind(|key| key.kid.as_ref() == Some(kid)),
            (None, None) => keys
                .iter()
                .rfind(|key| key.published && key.material.is_some()),
        };
        let key = key.ok_or("the issuer has no such key; set header.kid to only claim one")?;
        token::make(&order, key, scene)
    }
}

impl KeyOrder {
    fn new(alg: &str) -> Self {
        Self {
            kid: made_up(),
            alg: Some(alg.to_owned()),
            bits: None,
            e: None,
            raw_jwk: None,
            remove: false,
            duplicate: false,
        }
    }
}

impl Issuer {
    fn published(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.published)
    }

    /// The key set; that of Access has the certificates of its keys, too.
    fn key_set(&self, with_certificates: bool) -> Value {
        let keys: Vec<&Value> = self.published().map(|key| &key.jwk).collect();
        if !with_certificates {
            return json!({"keys": keys});
        }
        let certificates: Vec<Value> = self
            .published()
            .filter_map(|key| match &key.material {
                Some(Material::Rsa(rsa)) => {
                    let serial = u32::try_from(key.number).unwrap_or(u32::MAX);
                    let cert = rsa.certificate(serial).ok()?;
                    Some(json!({"kid": key.kid, "cert": cert}))
                }
                _ => None,
            })
            .collect();
        json!({"keys": keys, "public_cert": certificates.last(), "public_certs": certificates})
    }

    /// `OpenID` Connect Discovery 1.0 §3.
    fn configuration(&self, issuer: &str) -> Value {
        let mut algs: Vec<&str> = self.published().map(|key| key.alg.as_str()).collect();
        algs.retain(|alg| !alg.is_empty());
        algs.sort_unstable();
        algs.dedup();
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}{JWKS}"),
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": algs,
            "scopes_supported": ["openid"],
            "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf"],
        })
    }
}

impl Spoiler {
    fn check(&self) -> Result<(), String> {
        if self.status.is_some_and(|s| !(200..=599).contains(&s)) {
            return Err("status must be between 200 and 599".to_owned());
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(format!("headers has an impossible one, {name:?}"));
            }
        }
        Ok(())
    }

    fn apply(&self, document: Value) -> Response<Bytes> {
        let mut document = match document {
            Value::Object(map) => overlaid(map, &self.members),
            _ => Map::new(),
        };
        if let Some(bytes) = self.pad_bytes {
            document.insert("padding".to_owned(), json!("x".repeat(bytes)));
        }
        let body = match &self.body {
            Some(text) => text.clone(),
            None => Value::Object(document).to_string(),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status.unwrap_or(200)).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            // Checked when they were posted.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// `members` set over `base`; null removes.
fn overlaid(mut base: Map<String, Value>, members: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in members {
        if value.is_null() {
            base.remove(name);
        } else {
            base.insert(name.clone(), value.clone());
        }
    }
    base
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| e.to_string())
}
