//! The JSON Web Signature and Key vectors of C2SP Wycheproof against what tokens are here. They are read
//! from beside the repository and not part of it; where they are absent, the tests say so and pass.
//!
//! Wycheproof accepts more than is accepted here. Every such test is listed with the reason, and what is
//! accepted here is exactly what is left.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;

use pollster::block_on;
use serde_json::{Value, json};
use support::issuers::verify;
use zonekeeper::identity::{Jws, KeySet, PublicKey, Verifier};

struct Checker;

impl Verifier for Checker {
    async fn verify(&self, key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String> {
        verify(key, input, signature)
    }
}

/// The vectors of a file; `None`, and a line that says so, where it is absent.
fn vectors(file: &str) -> Option<Value> {
    let path = format!("{}/../shared/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let fallback = std::env::var("ZONEKEEPER_VECTORS").map(|folder| format!("{folder}/{file}"));
    let found =
        fs::read(&path).or_else(|error| fs::read(fallback.unwrap_or_default()).map_err(|_| error));
    match found {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(error) => {
            eprintln!("skipped: the vectors at {path} cannot be read ({error})");
            None
        }
    }
}

/// Why a token is not accepted, or `None` when it is.
fn refusal(jws: &str, keys: &Value) -> Option<String> {
    let set = json!({"keys": keys}).to_string();
    let checked = || -> Result<(), String> {
        let jws = Jws::parse(jws).map_err(|error| error.to_string())?;
        let set = KeySet::parse(set.as_bytes()).map_err(|error| error.to_string())?;
        let key = set
            .key(&jws.kid, jws.algorithm)
            .map_err(|error| error.to_string())?;
        block_on(jws.check(&Checker, &key)).map_err(|error| error.to_string())
    };
    checked().err()
}

/// A payload without a byte, which holds no claims.
const EMPTY_PAYLOAD: u64 = 259;

/// Runs every test of `groups`: what Wycheproof calls invalid must be refused, but for `lenient`; what it
/// calls valid must be accepted, but for the groups of `stricter` (comment and algorithm of the key), where
/// nothing is, and for [`EMPTY_PAYLOAD`]. Gives how many of each there were.
fn run(
    groups: &Value,
    keys_of: impl Fn(&Value) -> Value,
    stricter: &[(&str, &str)],
    lenient: &[u64],
) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let mut unused: Vec<_> = stricter.to_vec();
    for group in groups.as_array().unwrap() {
        let keys = keys_of(group);
        let first = &keys[0];
        let comment = group["comment"].as_str().unwrap();
        let alg = first["alg"].as_str().unwrap_or("none");
        let is_stricter = stricter.contains(&(comment, alg));
        unused.retain(|entry| *entry != (comment, alg));
        for test in group["tests"].as_array().unwrap() {
            let id = test["tcId"].as_u64().unwrap();
            let refused = refusal(test["jws"].as_str().unwrap(), &keys);
            let is_valid = test["result"] == "valid";
            let is_accepted = is_valid && !is_stricter && id != EMPTY_PAYLOAD;
            let expected = is_accepted || lenient.contains(&id);
            assert_eq!(
                refused.is_none(),
                expected,
                "{comment} {alg} {id}: {refused:?}"
            );
            let kind = match (is_valid, expected) {
                (true, true) => "accepted",
                (true, false) => "stricter",
                (false, true) => "lenient",
                (false, false) => "refused",
            };
            *counts.entry(kind).or_insert(0) += 1;
        }
    }
    assert_eq!(unused, [], "every exception is about some group");
    counts
}

/// The public key, or, where the key is a shared secret, that.
fn key_of(group: &Value) -> Value {
    let key = group.get("public").unwrap_or(&group["private"]);
    json!([key])
}

#[test]
fn t2_wycheproof_signatures() {
    let Some(vectors) = vectors("json_web_signature_test.json") else {
        return;
    };
    let secret = "shared secrets prove nothing about who signed";
    let other = "an algorithm that is not among the three accepted";
    let stricter = [
        (("hs256", "HS256"), secret),
        (("base64", "HS256"), secret),
        (("rfc7520", "HS256"), secret),
        (("rs384", "RS384"), other),
        (("rs512", "RS512"), other),
        (("ps256", "PS256"), other),
        (("ps384", "PS384"), other),
        (("ps512", "PS512"), other),
        (("rfc7520", "PS256"), other),
        (("rfc7520", "ES521"), other),
        (("rfc7520WithKeyOps", "PS256"), other),
        (("rfc7520WithKeyOps", "ES521"), other),
    ];
    let stricter: Vec<_> = stricter.map(|(group, _)| group).to_vec();
    let counts = run(&vectors["testGroups"], key_of, &stricter, &[]);
    assert_eq!(counts.values().sum::<usize>(), 401);
    assert_eq!(counts["accepted"] + counts["stricter"], 46, "{counts:?}");
    assert!(!counts.contains_key("lenient"));
}

#[test]
fn t2_wycheproof_keys() {
    let Some(vectors) = vectors("json_web_key_test.json") else {
        return;
    };
    let keys = |group: &Value| {
        let set = group.get("public").unwrap_or(&group["private"]);
        set["keys"].clone()
    };
    let stricter = [
        ("jws_keyset", "HS256"),
        ("HS256", "HS256"),
        ("HS384", "HS384"),
        ("HS512", "HS512"),
    ];
    // 7: a key made by a chip with the ROCA flaw. An issuer answers for its own keys; nothing a caller
    // sends chooses one.
    let counts = run(&vectors["testGroups"], keys, &stricter, &[7]);
    assert_eq!(counts.values().sum::<usize>(), 26);
    assert_eq!(counts["accepted"], 1, "{counts:?}");
}
