//! Tokens of issuers: which texts are tokens, which keys are keys, and when a token proves something.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use pollster::block_on;
use serde_json::{Value, json};
use support::issuers::{PLAIN, SimIssuers, verify};
use support::world::Clock;
use zonekeeper::identity::{
    Algorithm, Claims, ClaimsError, Jws, KeyError, KeySet, KeySetError, PublicKey, TokenError,
    Unproven, Verifier,
};
use zonekeeper::model::Timestamp;

/// Checks signatures as the Worker does, but for whose they are.
struct Checker;

impl Verifier for Checker {
    async fn verify(&self, key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String> {
        verify(key, input, signature)
    }
}

fn issuers() -> SimIssuers {
    SimIssuers::new(Clock::at("2026-11-01T12:00:00Z"))
}

/// A token of the simulator's plain issuer.
fn plain(issuers: &SimIssuers, more: &Value) -> String {
    let mut order = json!({"preset": "plain"});
    for (name, value) in more.as_object().unwrap() {
        order[name] = value.clone();
    }
    issuers.sign("plain", &order)
}

/// Whether a token is one of an issuer that publishes `set`, whatever it says.
fn signed(token: &str, set: &[u8]) -> Result<(), Unproven> {
    let jws = Jws::parse(token).map_err(|error| Unproven::Claims(ClaimsError::Form(error)))?;
    let key = KeySet::parse(set).unwrap().key(&jws.kid, jws.algorithm)?;
    block_on(jws.check(&Checker, &key))
}

fn malformed(error: TokenError) -> Result<(), Unproven> {
    Err(Unproven::Claims(ClaimsError::Form(error)))
}

#[test]
fn tokens_of_all_three_algorithms_are_proven() {
    let issuers = issuers();
    for alg in ["RS256", "ES256", "EdDSA"] {
        issuers.steer("plain", "keys", &json!({"kid": alg, "alg": alg}));
        let token = plain(&issuers, &json!({"kid": alg}));
        let set = issuers.key_set("plain");
        assert_eq!(signed(&token, &set), Ok(()), "{alg}");
        let altered = plain(&issuers, &json!({"kid": alg, "mutate": "alter_claims"}));
        assert_eq!(signed(&altered, &set), Err(Unproven::Signature), "{alg}");
        let flipped = plain(&issuers, &json!({"kid": alg, "mutate": "flip_signature"}));
        assert_eq!(signed(&flipped, &set), Err(Unproven::Signature), "{alg}");
    }
    let jws = plain(&issuers, &json!({}));
    let claims = Claims::parse(&Jws::parse(&jws).unwrap().payload).unwrap();
    assert_eq!(claims.issuer(), PLAIN);
}

#[test]
fn t1_a_token_has_one_form() {
    use TokenError::{Algorithm, Encoding, Json, KeyId, Parameter, Parts, Type};
    let issuers = issuers();
    let set = issuers.key_set("plain");
    let check = |order: Value, expected: TokenError| {
        let token = plain(&issuers, &order);
        assert_eq!(signed(&token, &set), malformed(expected), "{order}");
    };
    for (mutation, expected) in [
        ("padded", Encoding),
        ("standard_alphabet", Encoding),
        ("leading_space", Encoding),
        ("trailing_newline", Encoding),
        ("inner_newline", Encoding),
        ("extra_segment", Parts),
        ("trailing_dot", Parts),
        ("five_segments", Parts),
        ("two_segments", Parts),
        ("json", Parts),
        ("empty_signature", Parts),
    ] {
        check(json!({"mutate": mutation}), expected);
    }
    // 256 bytes leave bits to spare.
    check(json!({"mutate": "noncanonical_tail"}), Encoding);
    for alg in ["none", "None", "NONE", "nOnE"] {
        check(json!({"alg": alg}), Parts);
        check(json!({"header": {"alg": alg}}), Algorithm);
    }
    for name in [
        "crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c",
    ] {
        for value in [
            json!(["exp"]),
            json!(false),
            json!("x"),
            json!({}),
            Value::Null,
        ] {
            check(json!({"header": {name: value}}), Parameter(name));
        }
    }
    for typ in [
        json!("at+jwt"),
        json!("logout+jwt"),
        json!(""),
        json!(1),
        Value::Null,
    ] {
        check(json!({"header": {"typ": typ}}), Type);
    }
    check(json!({"omit_header": ["alg"]}), Algorithm);
    check(json!({"omit_header": ["kid"]}), KeyId);
    for text in [
        r#"{"alg":"RS256","alg":"RS256","kid":"sim-1"}"#,
        r#"{"alg":"RS256","kid":"sim-1","k\u0069d":"sim-1"}"#,
        r#"["RS256"]"#,
        r#"{"alg":"RS256","kid":"sim-1"}x"#,
        "\u{feff}{\"alg\":\"RS256\",\"kid\":\"sim-1\"}",
    ] {
        check(json!({"header_json": text}), Json("header fields"));
    }
    let long = plain(&issuers, &json!({"claims": {"x": "y".repeat(8_192)}}));
    assert_eq!(signed(&long, &set), malformed(TokenError::TooLong));
    // A claim that stands twice is found when the claims are read.
    for text in [
        r#"{"iss":"a","iss":"b","iat":1,"exp":2}"#,
        r#"{"iss":"a","i\u0073s":"b","iat":1,"exp":2}"#,
        r#"{"iss":"a","iat":1,"exp":2,"x":{"y":1,"y":2}}"#,
        "[]",
        "null",
    ] {
        let error = Claims::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, ClaimsError::Form(Json("claims")), "{text}");
    }
}

#[test]
fn t2_a_signature_is_by_the_issuers_key_and_its_algorithm() {
    let issuers = issuers();
    let set = || issuers.key_set("plain");
    // What is keyed with the public key, or in another way than the key is for.
    let first = "sim-1";
    for form in ["pem", "pem_trimmed", "der", "jwk"] {
        let token = plain(&issuers, &json!({"alg": "HS256", "hmac_key": form}));
        assert_eq!(
            signed(&token, &set()),
            malformed(TokenError::Algorithm),
            "{form}"
        );
        // Nor does it help to claim the right algorithm.
        let token = plain(
            &issuers,
            &json!({"alg": "HS256", "hmac_key": form, "header": {"alg": "RS256"}}),
        );
        assert_eq!(signed(&token, &set()), Err(Unproven::Signature), "{form}");
    }
    for alg in ["RS384", "RS512", "PS256"] {
        let token = plain(&issuers, &json!({"kid": first, "alg": alg}));
        assert_eq!(
            signed(&token, &set()),
            malformed(TokenError::Algorithm),
            "{alg}"
        );
        let token = plain(
            &issuers,
            &json!({"kid": first, "alg": alg, "header": {"alg": "RS256"}}),
        );
        assert_eq!(signed(&token, &set()), Err(Unproven::Signature), "{alg}");
    }
    issuers.steer(
        "plain",
        "keys",
        &json!([{"kid": "ec", "alg": "ES256"}, {"kid": "ed", "alg": "EdDSA"}]),
    );
    for (kid, mutations) in [
        (
            "ec",
            &[
                "der_signature",
                "zero_r",
                "zero_s",
                "r_is_n",
                "s_is_n",
                "zero_signature",
                "short_signature",
                "long_signature",
            ][..],
        ),
        (
            "ed",
            &[
                "noncanonical_s",
                "zero_signature",
                "short_signature",
                "long_signature",
            ],
        ),
        (
            first,
            &["zero_signature", "short_signature", "long_signature"],
        ),
    ] {
        assert_eq!(
            signed(&plain(&issuers, &json!({"kid": kid})), &set()),
            Ok(()),
            "{kid}"
        );
        for mutation in mutations {
            let token = plain(&issuers, &json!({"kid": kid, "mutate": mutation}));
            assert_eq!(
                signed(&token, &set()),
                Err(Unproven::Signature),
                "{kid} {mutation}"
            );
        }
    }
    // A token that names another algorithm than its key is for.
    for (kid, alg) in [
        ("ec", "RS256"),
        ("ed", "ES256"),
        (first, "ES256"),
        (first, "EdDSA"),
    ] {
        let token = plain(&issuers, &json!({"kid": kid, "header": {"alg": alg}}));
        assert!(
            matches!(
                signed(&token, &set()),
                Err(Unproven::Key(KeyError::Unfit(_)))
            ),
            "{kid} {alg}"
        );
    }
}

#[test]
fn t2_keys_that_are_weak_or_for_something_else_are_no_keys() {
    let issuers = issuers();
    let check = |order: Value, expected: &str| {
        issuers.steer("plain", "keys", &order);
        let kid = &order["kid"];
        let token = plain(&issuers, &json!({"kid": kid}));
        let found = signed(&token, &issuers.key_set("plain"));
        let Err(Unproven::Key(KeyError::Unfit(reason))) = found else {
            panic!("{order}: {found:?}");
        };
        assert_eq!(reason, expected, "{order}");
    };
    let algorithm = "it is for another algorithm";
    let bits = "its modulus does not have 2048 to 8192 bits";
    let exponent = "its exponent is not odd and from 3 on, or its modulus is even";
    check(json!({"kid": "a", "alg": "RS256", "bits": 512}), bits);
    check(json!({"kid": "b", "alg": "RS256", "bits": 1024}), bits);
    check(json!({"kid": "c", "alg": "RS256", "e": 1}), exponent);
    let rsa = |change: Value| json!({"kid": "d", "alg": "RS256", "raw_jwk": change});
    check(rsa(json!({"alg": "PS256"})), algorithm);
    check(rsa(json!({"alg": "RS384"})), algorithm);
    check(rsa(json!({"alg": 1})), algorithm);
    check(rsa(json!({"use": "enc"})), "it is not for signatures");
    check(
        rsa(json!({"key_ops": ["sign"]})),
        "it is not for checking signatures",
    );
    check(
        rsa(json!({"key_ops": "verify"})),
        "it is not for checking signatures",
    );
    check(rsa(json!({"d": "AQAB"})), "its secret part is published");
    let kind = "it is of another type or curve than the algorithm";
    check(rsa(json!({"kty": "oct", "alg": null})), kind);
    check(rsa(json!({"crv": "P-256"})), kind);
    check(
        rsa(json!({"e": "AA"})),
        "its modulus or exponent is missing or not canonical",
    );
    check(
        rsa(json!({"e": "AQAB="})),
        "its modulus or exponent is missing or not canonical",
    );
    check(rsa(json!({"e": "Ag"})), exponent);
    check(rsa(json!({"e": "AQAAAAE"})), exponent);
    let ec = |change: Value| json!({"kid": "e", "alg": "ES256", "raw_jwk": change});
    check(ec(json!({"crv": "P-384"})), kind);
    check(ec(json!({"crv": "secp256k1"})), kind);
    check(ec(json!({"kty": "RSA"})), kind);
    check(
        ec(json!({"x": "AA"})),
        "its point does not have two numbers of 32 bytes",
    );
    let ed = |change: Value| json!({"kid": "f", "alg": "EdDSA", "raw_jwk": change});
    check(ed(json!({"crv": "X25519"})), kind);
    check(ed(json!({"x": "AA"})), "its point does not have 32 bytes");
    // A point beside the curve has the right form; it checks nothing.
    let order = ec(json!({"y": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}));
    issuers.steer("plain", "keys", &order);
    let token = plain(&issuers, &json!({"kid": "e"}));
    assert_eq!(
        signed(&token, &issuers.key_set("plain")),
        Err(Unproven::Signature)
    );
}

#[test]
fn t2_a_name_that_two_keys_have_is_no_keys_name() {
    let issuers = issuers();
    issuers.steer("plain", "keys", &json!([{"kid": "twice", "alg": "ES256"}, {"kid": "twice", "alg": "RS256", "duplicate": true}]));
    let token = plain(&issuers, &json!({"kid": "twice"}));
    assert_eq!(
        signed(&token, &issuers.key_set("plain")),
        Err(Unproven::Key(KeyError::Ambiguous))
    );
    let other = plain(&issuers, &json!({"kid": "sim-1"}));
    assert_eq!(
        signed(&other, &issuers.key_set("plain")),
        Ok(()),
        "other keys still count"
    );
}

#[test]
fn t3_a_keys_name_is_looked_up_and_nothing_else() {
    let issuers = issuers();
    let set = issuers.key_set("plain");
    for kid in [
        "' OR 1=1 --",
        "../../etc/passwd",
        "https://evil.example/jwks",
        "sim-1\u{0}",
        "SIM-1",
        " sim-1",
        "__proto__",
        &"k".repeat(256),
    ] {
        let token = plain(&issuers, &json!({"header": {"kid": kid}}));
        assert_eq!(
            signed(&token, &set),
            Err(Unproven::Key(KeyError::Unknown)),
            "{kid}"
        );
    }
    for kid in [
        json!("k".repeat(257)),
        json!(""),
        json!(1),
        json!(["sim-1"]),
        json!({}),
        Value::Null,
    ] {
        let token = plain(&issuers, &json!({"header": {"kid": kid}}));
        assert_eq!(signed(&token, &set), malformed(TokenError::KeyId), "{kid}");
    }
    let huge = plain(&issuers, &json!({"header": {"kid": "k".repeat(1_000_000)}}));
    assert_eq!(signed(&huge, &set), malformed(TokenError::TooLong));
}

#[test]
fn key_sets_are_read_strictly_and_odd_keys_keep_nobody_out() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).err();
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kid":"a","kid":"b"}]}"#,
    ] {
        assert_eq!(parse(bad), Some(KeySetError::Form), "{bad}");
    }
    let large = format!(r#"{{"keys":[],"x":"{}"}}"#, "y".repeat(100 * 1024));
    assert_eq!(parse(&large), Some(KeySetError::TooLarge));
    let set = KeySet::parse(br#"{"keys":[{"kty":"future"},{"kid":"a","kty":"future"},{"kid":7}]}"#)
        .unwrap();
    assert!(set.has("a") && !set.has("b"));
    assert!(matches!(
        set.key("a", Algorithm::Rs256),
        Err(KeyError::Unfit(_))
    ));
}

#[test]
fn t4_times_are_whole_numbers_and_bound_a_token() {
    let now: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
    let secs = now.unix_ms() / 1_000;
    let parse = |claims: &Value| Claims::parse(claims.to_string().as_bytes());
    let claims = |change: Value| {
        let mut claims = json!({"iss": "i", "iat": secs, "nbf": secs, "exp": secs + 300});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    for name in ["exp", "nbf", "iat"] {
        for bad in [
            json!([secs]),
            json!("1"),
            json!(null),
            json!(1.5),
            json!(secs as f64 + 0.5),
            json!(-1),
            json!(true),
            json!({}),
            json!(9_007_199_254_740_993_u64),
            json!(253_402_300_800_i64),
        ] {
            let found = parse(&claims(json!({name: bad}))).unwrap_err();
            let is_named = found == ClaimsError::Claim(name)
                || found == ClaimsError::Form(TokenError::Json("claims"));
            assert!(is_named, "{name} {bad}: {found}");
        }
    }
    for text in [
        r#"{"iss":"i","iat":1e3,"exp":2000}"#,
        r#"{"iss":"i","iat":1,"exp":2.0}"#,
    ] {
        assert!(
            matches!(Claims::parse(text.as_bytes()), Err(ClaimsError::Claim(_))),
            "{text}"
        );
    }
    for (name, bad) in [
        ("iss", json!(1)),
        ("iss", json!(["i"])),
        ("iss", json!(null)),
    ] {
        assert_eq!(
            parse(&claims(json!({name: bad}))).unwrap_err(),
            ClaimsError::Claim("iss")
        );
    }
    for missing in ["iss", "iat", "exp"] {
        let mut claims = claims(json!({}));
        claims.as_object_mut().unwrap().remove(missing);
        assert!(matches!(parse(&claims), Err(ClaimsError::Claim(name)) if name == missing));
    }
    let check = |change: Value, expected: Result<(), ClaimsError>| {
        let found = parse(&claims(change.clone()))
            .unwrap()
            .check_times(now, 3_600);
        assert_eq!(found, expected, "{change}");
    };
    use ClaimsError::{Expired, NotYet, TooLong};
    let started = |ago: i64| json!({"iat": secs - ago, "nbf": secs - ago, "exp": secs - ago + 300});
    check(json!({}), Ok(()));
    // Sixty seconds of difference between clocks, and not one more.
    check(started(359), Ok(()));
    check(started(360), Err(Expired));
    check(started(-60), Ok(()));
    check(started(-61), Err(NotYet));
    check(json!({"nbf": secs + 61}), Err(NotYet));
    check(json!({"iat": secs + 61, "nbf": secs - 600}), Err(NotYet));
    check(json!({"exp": secs + 3_600}), Ok(()));
    check(json!({"exp": secs + 3_601}), Err(TooLong));
    check(json!({"exp": secs, "iat": secs}), Err(Expired));
    check(json!({"exp": secs - 10, "iat": secs}), Err(Expired));
    // Without `nbf` it counts from `iat` on.
    let mut claims = claims(json!({"iat": secs + 61}));
    claims.as_object_mut().unwrap().remove("nbf");
    assert_eq!(parse(&claims).unwrap().check_times(now, 3_600), Err(NotYet));
}

#[test]
fn t4_a_token_is_for_us_alone() {
    let check = |aud: Value, expected: bool| {
        let claims = json!({"iss": "i", "iat": 1, "exp": 2, "aud": aud}).to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        assert_eq!(claims.is_only_for("https://zk.example"), expected, "{aud}");
    };
    check(json!("https://zk.example"), true);
    check(json!(["https://zk.example"]), true);
    for other in [
        json!(["https://zk.example", "https://other.example"]),
        json!(["https://zk.example", "https://zk.example"]),
        json!([["https://zk.example"]]),
        json!([]),
        json!("https://zk.example/"),
        json!("https://zk.exampl"),
        json!("https://ZK.example"),
        json!("https://zk.example.evil.example"),
        json!({"0": "https://zk.example"}),
        Value::Null,
        json!(1),
    ] {
        check(other, false);
    }
}
