//! Tokens to order: good ones, and each kind of bad one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::der;
use super::key::{Key, PublicForm};
use super::preset::{self, Scene};
use super::rsa::left_padded;

/// What `POST …/sign` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    /// The claims to start from; without one, the token holds exactly what was given.
    preset: Option<String>,
    #[serde(default)]
    claims: Map<String, Value>,
    /// Claims to leave out; `null` in `claims` is the value null.
    #[serde(default)]
    omit: Vec<String>,
    /// The claims as text, in place of all the above.
    claims_json: Option<String>,
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    omit_header: Vec<String>,
    /// The header as text, in place of the above.
    header_json: Option<String>,
    /// The newest key of this id signs, published or not.
    pub(super) kid: Option<String>,
    /// The key of this number signs.
    pub(super) key: Option<u64>,
    alg: Option<String>,
    /// What HS256 is keyed with.
    hmac_key: Option<PublicForm>,
    #[serde(default)]
    mutate: OneOrMany,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Makes the token that was ordered, signed by `key`.
pub(super) fn make(order: &Order, key: &Key, scene: Scene<'_>) -> Result<Value, String> {
    let alg = order.alg.as_deref().unwrap_or(&key.alg);
    let header = match &order.header_json {
        Some(text) => text.clone(),
        None => header(order, key, alg).to_string(),
    };
    let claims = match &order.claims_json {
        Some(text) => text.clone(),
        None => Value::Object(claims(order, scene)?).to_string(),
    };
    let mut token = Token {
        header: URL_SAFE_NO_PAD.encode(&header),
        claims: URL_SAFE_NO_PAD.encode(&claims),
        ..Token::default()
    };
    let form = order.hmac_key.unwrap_or(PublicForm::Pem);
    let signature = key.sign(
        alg,
        form,
        format!("{}.{}", token.header, token.claims).as_bytes(),
    )?;
    token.signature = URL_SAFE_NO_PAD.encode(signature);
    let mutations = match &order.mutate {
        OneOrMany::One(one) => std::slice::from_ref(one),
        OneOrMany::Many(many) => many,
    };
    for name in mutations {
        let before = token.render();
        token.mutate(name)?;
        if token.render() == before {
            return Err(format!("{name} changes nothing in this token"));
        }
    }
    // Text that is not JSON was ordered that way; it is shown as text then.
    let shown = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    Ok(json!({
        "token": token.render(), "header": shown(&header), "claims": shown(&claims), "key": key.number,
    }))
}

fn header(order: &Order, key: &Key, alg: &str) -> Value {
    let mut header = Map::new();
    header.insert("alg".to_owned(), json!(alg));
    header.insert("typ".to_owned(), json!("JWT"));
    if let Some(kid) = &key.kid {
        header.insert("kid".to_owned(), json!(kid));
    }
    header.extend(order.header.clone());
    header.retain(|name, _| !order.omit_header.contains(name));
    Value::Object(header)
}

fn claims(order: &Order, scene: Scene<'_>) -> Result<Map<String, Value>, String> {
    let mut claims = match &order.preset {
        Some(name) => preset::claims(name, scene, &order.claims)?,
        None => order.claims.clone(),
    };
    claims.retain(|name, _| !order.omit.contains(name));
    Ok(claims)
}

/// A token that is being spoilt.
#[derive(Debug, Default)]
struct Token {
    header: String,
    claims: String,
    signature: String,
    without_signature: bool,
    more: Vec<&'static str>,
    around: (&'static str, &'static str),
    as_json: bool,
}

/// The order of P-256's base point, and that of Ed25519's.
const P256_ORDER: &[u8] = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ED25519_ORDER: &[u8] = b"1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Token {
    fn render(&self) -> String {
        let Self {
            header,
            claims,
            signature,
            ..
        } = self;
        if self.as_json {
            // RFC 7515 §7.2.2, the flattened serialisation.
            return json!({"protected": header, "payload": claims, "signature": signature})
                .to_string();
        }
        let mut parts = vec![header.as_str(), claims.as_str()];
        if !self.without_signature {
            parts.push(signature);
        }
        parts.extend(&self.more);
        format!("{}{}{}", self.around.0, parts.join("."), self.around.1)
    }

    fn mutate(&mut self, name: &str) -> Result<(), String> {
        match name {
            "padded" => self.each(|part| {
                let missing = part.len().wrapping_neg() % 4;
                format!("{part}{}", "=".repeat(missing))
            }),
            "standard_alphabet" => self.each(|part| part.replace('-', "+").replace('_', "/")),
            "noncanonical_tail" => self.signature = noncanonical(&self.signature)?,
            "leading_space" => self.around.0 = " ",
            "trailing_newline" => self.around.1 = "\n",
            "inner_newline" => self.claims.insert(0, '\n'),
            "extra_segment" => self.more.push("e30"),
            "trailing_dot" => self.more.push(""),
            "five_segments" => self.more.extend(["e30", "e30"]),
            "two_segments" => self.without_signature = true,
            "json" => self.as_json = true,
            "alter_claims" => self.claims = altered(&self.claims)?,
            "alter_header" => self.header = altered(&self.header)?,
            "empty_signature" => self.signature.clear(),
            _ => {
                let bytes = URL_SAFE_NO_PAD
                    .decode(&self.signature)
                    .map_err(|_| format!("{name} must come before what spoils the signature"))?;
                self.signature = URL_SAFE_NO_PAD.encode(spoilt(name, bytes)?);
            }
        }
        Ok(())
    }

    fn each(&mut self, change: impl Fn(&str) -> String) {
        for part in [&mut self.header, &mut self.claims, &mut self.signature] {
            *part = change(part);
        }
    }
}

/// A signature changed at the level of bytes.
fn spoilt(name: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match name {
        "flip_signature" => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            return Ok(bytes);
        }
        "short_signature" => {
            bytes.pop();
            return Ok(bytes);
        }
        "long_signature" => {
            bytes.push(0);
            return Ok(bytes);
        }
        "zero_signature" => return Ok(vec![0; bytes.len()]),
        _ => {}
    }
    let Some((r, s)) = bytes.split_at_checked(32).filter(|(_, s)| s.len() == 32) else {
        return Err(format!("{name} needs a signature of 64 bytes"));
    };
    let order = |digits| {
        BigUint::parse_bytes(digits, 16)
            .map(|n| n.to_bytes_be())
            .unwrap_or_default()
    };
    let n = order(P256_ORDER);
    let zero = [0; 32];
    Ok(match name {
        "der_signature" => der::sequence(&[&der::integer(r), &der::integer(s)]),
        "zero_r" => [&zero, s].concat(),
        "zero_s" => [r, &zero].concat(),
        "r_is_n" => [n.as_slice(), s].concat(),
        "s_is_n" => [r, n.as_slice()].concat(),
        "high_s" => {
            let negated = BigUint::from_bytes_be(&n) - BigUint::from_bytes_be(s);
            [r, &left_padded(&negated.to_bytes_be(), 32)].concat()
        }
        // RFC 8032 §5.1.7: S counts modulo the order, so S plus the order is the same number.
        "noncanonical_s" => {
            let sum = BigUint::from_bytes_le(s) + BigUint::from_bytes_be(&order(ED25519_ORDER));
            let mut digits = sum.to_bytes_le();
            digits.resize(32, 0);
            [r, &digits].concat()
        }
        _ => return Err(format!("mutate does not know {name:?}")),
    })
}

/// The same bytes with a bit set that the last character has to spare.
fn noncanonical(encoded: &str) -> Result<String, String> {
    let spare = "the length of this signature leaves no bits to spare";
    let mut text = encoded.to_owned();
    let last = text
        .pop()
        .filter(|_| !encoded.len().is_multiple_of(4))
        .ok_or(spare)?;
    let place = ALPHABET
        .iter()
        .position(|c| char::from(*c) == last)
        .ok_or(spare)?;
    let next = ALPHABET.get(place | 1).ok_or(spare)?;
    text.push(char::from(*next));
    Ok(text)
}

/// An object with one member more.
fn altered(encoded: &str) -> Result<String, String> {
    let mut object: Map<String, Value> = URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or("what is altered must be a JSON object")?;
    object.insert("altered".to_owned(), json!(true));
    Ok(URL_SAFE_NO_PAD.encode(Value::Object(object).to_string()))
}
