//! The OIDC issuers and the team domain of Access.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;
use p256::ecdsa::signature::Verifier as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::ACCESS_AUD;

use crate::support::{Answer, Sim};

fn get(sim: &Sim, path: &str) -> Answer {
    sim.raw("GET", path, &[], b"").unwrap()
}

fn jwks(sim: &Sim, issuer: &str) -> Vec<Value> {
    let set = get(sim, &format!("/__sim/oidc/{issuer}/jwks")).json();
    set["keys"].as_array().unwrap().clone()
}

fn post(sim: &Sim, path: &str, body: &Value) -> Value {
    let answer = sim.control("POST", path, Some(body));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

fn token(sim: &Sim, body: &Value) -> String {
    let answer = post(sim, "/oidc/ci/sign", body);
    answer["token"].as_str().unwrap().to_owned()
}

fn refusal(sim: &Sim, path: &str, body: &Value) -> String {
    let answer = sim.control("POST", path, Some(body));
    assert_eq!(answer.status, 400, "{body}");
    answer.json()["error"].as_str().unwrap().to_owned()
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// What is signed, and the signature.
fn split(token: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed, decode(signature))
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(index).unwrap())).unwrap()
}

fn number(jwk: &Value, member: &str) -> BigUint {
    BigUint::from_bytes_be(&decode(jwk[member].as_str().unwrap()))
}

/// RFC 8017 §8.2.2, with SHA-256.
fn rs256_is_valid(jwk: &Value, token: &str) -> bool {
    let (signed, signature) = split(token);
    let (n, e) = (number(jwk, "n"), number(jwk, "e"));
    let opened = BigUint::from_bytes_be(&signature)
        .modpow(&e, &n)
        .to_bytes_be();
    let mut expected = vec![1];
    expected.resize(signature.len() - 53, 0xff);
    expected.extend([
        0, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
    ]);
    expected.extend([0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20]);
    expected.extend(Sha256::digest(signed));
    opened == expected
}

fn es256_key(jwk: &Value) -> p256::ecdsa::VerifyingKey {
    let point = [
        vec![4],
        decode(jwk["x"].as_str().unwrap()),
        decode(jwk["y"].as_str().unwrap()),
    ];
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point.concat()).unwrap()
}

#[test]
fn an_issuer_publishes_who_it_is_and_a_key_of_its_own() {
    let sim = Sim::start();
    let document = get(&sim, "/__sim/oidc/ci/.well-known/openid-configuration").json();
    let issuer = format!("{}/__sim/oidc/ci", sim.url());
    assert_eq!(document["issuer"], issuer);
    assert_eq!(document["jwks_uri"], format!("{issuer}/jwks"));
    assert_eq!(
        document["id_token_signing_alg_values_supported"],
        json!(["RS256"])
    );
    let (ours, theirs) = (jwks(&sim, "ci"), jwks(&sim, "other"));
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    assert_eq!(ours[0]["kty"], "RSA");
    assert_eq!(decode(ours[0]["n"].as_str().unwrap()).len(), 256);
    assert_ne!(ours[0]["n"], theirs[0]["n"]);
    for path in [
        "/__sim/oidc//jwks",
        "/__sim/oidc/a%2fb/jwks",
        "/__sim/oidc/ci/nothing",
    ] {
        assert_eq!(get(&sim, path).status, 404, "{path}");
    }
}

#[test]
fn each_algorithm_signs_what_its_published_key_verifies() {
    let sim = Sim::start();
    let valid = token(&sim, &json!({"claims": {"sub": "x"}}));
    assert!(rs256_is_valid(&jwks(&sim, "ci")[0], &valid));
    assert_eq!(part(&valid, 1), json!({"sub": "x"}));
    assert_eq!(part(&valid, 0)["alg"], "RS256");
    assert_eq!(part(&valid, 0)["kid"], jwks(&sim, "ci")[0]["kid"]);

    post(
        &sim,
        "/oidc/ci/keys",
        &json!([{"kid": "ec", "alg": "ES256"}, {"kid": "ed", "alg": "EdDSA"}]),
    );
    let keys = jwks(&sim, "ci");
    let (signed, signature) = {
        let token = token(&sim, &json!({"kid": "ec"}));
        let (signed, signature) = split(&token);
        (signed.to_owned(), signature)
    };
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    assert!(
        es256_key(&keys[1])
            .verify(signed.as_bytes(), &signature)
            .is_ok()
    );
    let token = token(&sim, &json!({"kid": "ed"}));
    let (signed, signature) = split(&token);
    let key: [u8; 32] = decode(keys[2]["x"].as_str().unwrap()).try_into().unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(key.verify_strict(signed.as_bytes(), &signature).is_ok());
}

#[test]
fn keys_are_replaced_doubled_removed_and_published_wrongly() {
    let sim = Sim::start();
    let first = post(&sim, "/oidc/ci/keys", &json!({"kid": "a", "alg": "RS256"}));
    let old_number = first["keys"][1]["key"].clone();
    let old = jwks(&sim, "ci")[1].clone();
    // The same kid again takes the older one's place, which still signs by its number.
    post(&sim, "/oidc/ci/keys", &json!({"kid": "a", "alg": "RS256"}));
    let keys = jwks(&sim, "ci");
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[1]["n"], old["n"]);
    let by_old = token(&sim, &json!({"key": old_number}));
    assert!(rs256_is_valid(&old, &by_old) && !rs256_is_valid(&keys[1], &by_old));
    assert!(rs256_is_valid(&keys[1], &token(&sim, &json!({"kid": "a"}))));

    post(
        &sim,
        "/oidc/ci/keys",
        &json!({"kid": "a", "alg": "ES256", "duplicate": true}),
    );
    assert_eq!(jwks(&sim, "ci").len(), 3);
    post(&sim, "/oidc/ci/keys", &json!({"kid": "a", "remove": true}));
    assert_eq!(jwks(&sim, "ci").len(), 1);

    let spoilt = json!([
        {"kid": "short", "alg": "RS256", "bits": 512},
        {"kid": "enc", "alg": "RS256", "bits": 1024, "e": 1, "raw_jwk": {"use": "enc", "alg": null}},
        {"kid": null, "alg": "EdDSA", "raw_jwk": {"crv": "X25519"}},
        {"raw_jwk": {"kty": "oct", "k": "c2VjcmV0"}},
    ]);
    post(&sim, "/oidc/ci/keys", &spoilt);
    let keys = jwks(&sim, "ci");
    assert_eq!(decode(keys[1]["n"].as_str().unwrap()).len(), 64);
    assert_eq!(
        (&keys[2]["use"], &keys[2]["alg"], &keys[2]["e"]),
        (&json!("enc"), &Value::Null, &json!("AQ"))
    );
    assert!(rs256_is_valid(
        &keys[2],
        &token(&sim, &json!({"kid": "enc"}))
    ));
    assert_eq!(
        (&keys[3]["crv"], keys[3].get("kid")),
        (&json!("X25519"), None)
    );
    assert_eq!(keys[4], json!({"kty": "oct", "k": "c2VjcmV0"}));

    for (body, message) in [
        (json!({"kid": "x"}), "a key needs alg or raw_jwk"),
        (
            json!({"alg": "HS256"}),
            "alg must be RS256, RS384, RS512, PS256, ES256 or EdDSA, not \"HS256\"",
        ),
        (
            json!({"alg": "RS256", "bits": 2047}),
            "bits must be one of 512, 1024, 2048, 4096",
        ),
        (
            json!({"kid": "nobody", "remove": true}),
            "no published key has the kid \"nobody\"",
        ),
        (
            json!({"kid": 1, "alg": "ES256"}),
            "kid must be a string or null",
        ),
    ] {
        assert_eq!(refusal(&sim, "/oidc/ci/keys", &body), message);
    }
}

#[test]
fn a_confused_verifier_gets_what_it_asks_for() {
    let sim = Sim::start();
    for alg in ["none", "None", "nOnE"] {
        let token = token(&sim, &json!({"alg": alg}));
        assert!(token.ends_with('.'), "{token}");
        assert_eq!(part(&token, 0)["alg"], alg);
    }
    let mut seen = Vec::new();
    for form in ["pem", "pem_trimmed", "der", "jwk"] {
        let token = token(&sim, &json!({"alg": "HS256", "hmac_key": form}));
        let (_, signature) = split(&token);
        assert_eq!(signature.len(), 32);
        assert!(!seen.contains(&signature), "{form}");
        seen.push(signature);
    }
    // The claimed algorithm, the key's own signature.
    let claimed = token(&sim, &json!({"header": {"alg": "PS256"}}));
    assert!(rs256_is_valid(&jwks(&sim, "ci")[0], &claimed));
    assert!(!rs256_is_valid(
        &jwks(&sim, "ci")[0],
        &token(&sim, &json!({"alg": "PS256"}))
    ));
    let message = refusal(&sim, "/oidc/ci/sign", &json!({"alg": "ES256"}));
    assert_eq!(
        message,
        "a key of RS256 cannot sign with ES256; to only claim so, set header.alg"
    );
}

#[test]
fn header_and_claims_may_be_any_text() {
    let sim = Sim::start();
    let token = token(
        &sim,
        &json!({
            "header_json": r#"{"alg":"RS256","alg":"none"}"#,
            "claims_json": r#"{"aud":"a","aud":"b","exp":1e999}"#,
        }),
    );
    let (header, rest) = token.split_once('.').unwrap();
    assert_eq!(decode(header), br#"{"alg":"RS256","alg":"none"}"#);
    let claims = decode(rest.split_once('.').unwrap().0);
    assert_eq!(claims, br#"{"aud":"a","aud":"b","exp":1e999}"#);
    assert!(rs256_is_valid(&jwks(&sim, "ci")[0], &token));
}

#[test]
fn each_mutation_spoils_the_token_in_its_way() {
    let sim = Sim::start();
    let spoil = |name: &str| token(&sim, &json!({"claims": {"a": 1}, "mutate": name}));
    let right = token(&sim, &json!({"claims": {"a": 1}}));
    assert_eq!(spoil("empty_signature"), format!("{}.", split(&right).0));
    assert_eq!(spoil("two_segments"), split(&right).0);
    assert_eq!(spoil("extra_segment"), format!("{right}.e30"));
    assert_eq!(spoil("trailing_dot"), format!("{right}."));
    assert_eq!(spoil("five_segments").split('.').count(), 5);
    assert_eq!(spoil("leading_space"), format!(" {right}"));
    assert_eq!(spoil("trailing_newline"), format!("{right}\n"));
    assert!(spoil("inner_newline").contains(".\n"));
    assert_eq!(spoil("padded").replace('=', ""), right);
    assert_eq!(
        spoil("standard_alphabet")
            .replace('+', "-")
            .replace('/', "_"),
        right
    );
    assert_eq!(split(&spoil("short_signature")).1.len(), 255);
    assert_eq!(split(&spoil("long_signature")).1.len(), 257);
    assert_eq!(split(&spoil("zero_signature")).1, vec![0; 256]);
    assert_eq!(
        part(&spoil("alter_claims"), 1),
        json!({"a": 1, "altered": true})
    );
    assert_eq!(part(&spoil("alter_header"), 0)["altered"], true);
    let json: Value = serde_json::from_str(&spoil("json")).unwrap();
    assert_eq!(json["protected"], right.split('.').next().unwrap());
    for name in ["flip_signature", "alter_claims", "alter_header"] {
        assert!(
            !rs256_is_valid(&jwks(&sim, "ci")[0], &spoil(name)),
            "{name}"
        );
    }
    // Another text for the same bytes: a strict decoder refuses it, a lax one does not see it.
    let other = spoil("noncanonical_tail");
    assert_ne!(other, right);
    assert!(
        URL_SAFE_NO_PAD
            .decode(other.rsplit_once('.').unwrap().1)
            .is_err()
    );
    for (mutate, message) in [
        (
            "der_signature",
            "der_signature needs a signature of 64 bytes",
        ),
        ("bogus", "bogus needs a signature of 64 bytes"),
    ] {
        let body = json!({"mutate": mutate});
        assert_eq!(refusal(&sim, "/oidc/ci/sign", &body), message);
    }
    let twice = json!({"mutate": ["empty_signature", "empty_signature"]});
    assert_eq!(
        refusal(&sim, "/oidc/ci/sign", &twice),
        "empty_signature changes nothing in this token"
    );
}

#[test]
fn signatures_over_curves_are_spoilt_in_their_numbers() {
    let sim = Sim::start();
    post(
        &sim,
        "/oidc/ci/keys",
        &json!([{"kid": "ec", "alg": "ES256"}, {"kid": "ed", "alg": "EdDSA"}]),
    );
    let spoil = |kid: &str, name: &str| {
        let token = token(&sim, &json!({"kid": kid, "mutate": name}));
        let (signed, signature) = split(&token);
        (signed.to_owned(), signature)
    };
    let right = token(&sim, &json!({"kid": "ec"}));
    let (_, right) = split(&right);
    let (r, s) = right.split_at(32);
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    assert_eq!(spoil("ec", "zero_r").1, [&[0; 32], s].concat());
    assert_eq!(spoil("ec", "zero_s").1, [r, &[0; 32]].concat());
    assert_eq!(spoil("ec", "r_is_n").1, [order.as_slice(), s].concat());
    assert_eq!(spoil("ec", "s_is_n").1, [r, order.as_slice()].concat());
    let (signed, der) = spoil("ec", "der_signature");
    let der = p256::ecdsa::Signature::from_der(&der).unwrap();
    let key = es256_key(&jwks(&sim, "ci")[1]);
    assert!(key.verify(signed.as_bytes(), &der).is_ok());
    let (signed, high) = spoil("ec", "high_s");
    let high = p256::ecdsa::Signature::from_slice(&high).unwrap();
    assert!(key.verify(signed.as_bytes(), &high).is_ok());

    let (signed, odd) = spoil("ed", "noncanonical_s");
    let key: [u8; 32] = decode(jwks(&sim, "ci")[2]["x"].as_str().unwrap())
        .try_into()
        .unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
    let odd = ed25519_dalek::Signature::from_slice(&odd).unwrap();
    assert!(key.verify_strict(signed.as_bytes(), &odd).is_err());
}

fn hex(text: &str) -> Vec<u8> {
    BigUint::parse_bytes(text.as_bytes(), 16)
        .unwrap()
        .to_bytes_be()
}

#[test]
fn documents_can_be_wrong_in_every_part_and_right_again() {
    let sim = Sim::start();
    let discovery = "/__sim/oidc/ci/.well-known/openid-configuration";
    post(
        &sim,
        "/oidc/ci/documents",
        &json!({
            "discovery": {"members": {"issuer": "https://evil.test", "jwks_uri": "https://evil.test/jwks", "claims_supported": null}},
            "jwks": {"pad_bytes": 200_000},
        }),
    );
    let document = get(&sim, discovery).json();
    assert_eq!(document["issuer"], "https://evil.test");
    assert_eq!(document.get("claims_supported"), None);
    assert!(get(&sim, "/__sim/oidc/ci/jwks").body.len() > 200_000);
    let redirect = json!({"jwks": {"status": 302, "headers": [["location", "http://127.0.0.1:1/"]], "body": ""}});
    post(&sim, "/oidc/ci/documents", &redirect);
    let answer = get(&sim, "/__sim/oidc/ci/jwks");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("http://127.0.0.1:1/"))
    );
    post(
        &sim,
        "/oidc/ci/documents",
        &json!({"jwks": {"body": "not json", "headers": [["content-type", "text/html"]]}}),
    );
    let answer = get(&sim, "/__sim/oidc/ci/jwks");
    assert_eq!(
        (answer.body.as_slice(), answer.header("content-type")),
        (&b"not json"[..], Some("text/html"))
    );
    post(
        &sim,
        "/oidc/ci/documents",
        &json!({"discovery": {}, "jwks": {}}),
    );
    assert_eq!(
        get(&sim, discovery).json()["issuer"],
        format!("{}/__sim/oidc/ci", sim.url())
    );
    assert_eq!(jwks(&sim, "ci").len(), 1);
    let message = refusal(&sim, "/oidc/ci/documents", &json!({"jwks": {"status": 99}}));
    assert_eq!(message, "status must be between 200 and 599");
}

#[test]
fn each_fetch_is_counted_and_a_fault_that_names_its_path_meets_it() {
    let sim = Sim::start();
    let log = |issuer: &str| {
        let text = sim
            .control("GET", &format!("/oidc/{issuer}/log"), None)
            .body;
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    jwks(&sim, "ci");
    jwks(&sim, "ci-2");
    let faults = json!([
        {"times": 1, "action": {"status": 500}},
        {"match": {"path": "/__sim/oidc/ci/jwks"}, "times": 1, "action": {"status": 503}},
    ]);
    sim.control("POST", "/faults", Some(&faults));
    assert_eq!(get(&sim, "/__sim/oidc/ci/jwks").status, 503);
    assert_eq!(get(&sim, "/__sim/oidc/ci/jwks").status, 200);
    // The fault without a path is for the API.
    assert_eq!(sim.get("/user").status, 500);
    let lines = log("ci");
    let statuses: Vec<&Value> = lines.iter().map(|line| &line["status"]).collect();
    assert_eq!(statuses, [200, 503, 200]);
    assert_eq!(lines[0]["path"], "/__sim/oidc/ci/jwks");
    assert_eq!(log("ci-2").len(), 1);
    assert_eq!(sim.ledger(0).len(), 1, "documents are no calls of the API");
    sim.control("POST", "/reset", None);
    assert!(log("ci").is_empty());
}

#[test]
fn presets_hold_the_claims_of_their_issuer_at_the_simulators_time() {
    let sim = Sim::start();
    let claims = |body: Value| part(&token(&sim, &body), 1);
    let github = claims(json!({"preset": "github"}));
    assert_eq!(github["sub"], "repo:acme/site:ref:refs/heads/main");
    assert_eq!(github["iss"], format!("{}/__sim/oidc/ci", sim.url()));
    let times = ["iat", "nbf", "exp"].map(|name| github[name].as_i64().unwrap());
    assert_eq!((times[0] - times[1], times[2] - times[0]), (600, 300));
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 100_000})));
    let later = claims(json!({"preset": "github"}));
    assert!(later["iat"].as_i64().unwrap() >= times[0] + 100_000);
    assert_ne!(later["jti"], github["jti"]);
    for (name, value) in github.as_object().unwrap() {
        assert!(
            value.is_string() || times.contains(&value.as_i64().unwrap()),
            "{name}"
        );
    }
    let given = json!({"preset": "github_ids", "claims": {"environment": "prod", "actor": null}, "omit": ["ref"]});
    let given = claims(given);
    assert_eq!(
        given["sub"],
        "repo:acme@40001234/site@812345678:environment:prod"
    );
    assert_eq!((given.get("ref"), &given["actor"]), (None, &Value::Null));
    let pull = claims(json!({"preset": "github", "claims": {"event_name": "pull_request"}}));
    assert_eq!(pull["sub"], "repo:acme/site:pull_request");
    let gitlab = claims(json!({"preset": "gitlab", "claims": {"ref": "dev"}}));
    assert_eq!(
        gitlab["sub"],
        "project_path:acme/site:ref_type:branch:ref:dev"
    );
    assert_eq!(gitlab["ref_protected"], "true");
    assert_eq!(claims(json!({"preset": "plain"}))["sub"], "someone");
    let message = refusal(&sim, "/oidc/ci/sign", &json!({"preset": "jenkins"}));
    assert!(
        message.starts_with("preset must be plain, github"),
        "{message}"
    );
}

#[test]
fn access_publishes_certificates_and_keeps_the_key_before_the_newest() {
    let sim = Sim::start();
    let certs = || get(&sim, "/cdn-cgi/access/certs").json();
    let first = certs();
    assert_eq!(first["keys"].as_array().unwrap().len(), 1);
    assert_eq!(first["public_certs"][0]["kid"], first["keys"][0]["kid"]);
    assert_eq!(first["public_cert"], first["public_certs"][0]);
    let pem = first["public_cert"]["cert"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    let sign = |body: Value| {
        post(&sim, "/access/sign", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let token = sign(json!({"preset": "access", "claims": {"email": "eve@acme.test"}}));
    assert!(rs256_is_valid(&first["keys"][0], &token));
    let claims = part(&token, 1);
    assert_eq!(claims["iss"], sim.url());
    assert_eq!(claims["aud"], json!([ACCESS_AUD]));
    assert_eq!(
        (&claims["email"], &claims["type"]),
        (&json!("eve@acme.test"), &json!("app"))
    );
    let service = part(&sign(json!({"preset": "access_service_token"})), 1);
    assert_eq!((&service["sub"], service.get("email")), (&json!(""), None));

    post(&sim, "/access/rotate", &json!({}));
    let second = certs();
    assert_eq!(second["keys"][0], first["keys"][0]);
    assert!(rs256_is_valid(
        &second["keys"][1],
        &sign(json!({"preset": "access"}))
    ));
    post(&sim, "/access/rotate", &json!({}));
    let third = certs();
    assert_eq!(third["keys"][0], second["keys"][1]);
    assert_eq!(third["keys"].as_array().unwrap().len(), 2);
    let log = sim.control("GET", "/access/log", None).body;
    assert_eq!(String::from_utf8(log).unwrap().lines().count(), 3);
}
