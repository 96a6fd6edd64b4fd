//! DER and PEM, as far as public keys, signatures and self-signed certificates need them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The object identifier of `rsaEncryption`, encoded.
pub(super) const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// The object identifier of `sha256WithRSAEncryption`, encoded.
pub(super) const SHA256_WITH_RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
/// The object identifier of `id-ecPublicKey`, encoded.
pub(super) const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// The object identifier of the curve P-256, encoded.
pub(super) const P256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The object identifier of Ed25519, encoded.
pub(super) const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];
/// The object identifier of a common name, encoded.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// NULL.
pub(super) const NULL: [u8; 2] = [5, 0];

/// One value: tag, length, content.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|b| *b == 0).collect();
    let mut out = vec![tag];
    if content.len() < 128 {
        out.push(digits.first().copied().unwrap_or(0));
    } else {
        // A length has at most eight digits, far below 128.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
        out.extend(digits);
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of already encoded values.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

/// OBJECT IDENTIFIER.
pub(super) fn oid(encoded: &[u8]) -> Vec<u8> {
    value(6, encoded)
}

/// INTEGER from big-endian bytes without a sign.
pub(super) fn integer(big_endian: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = big_endian.iter().copied().skip_while(|b| *b == 0).collect();
    if digits.first().is_none_or(|b| *b >= 0x80) {
        digits.insert(0, 0);
    }
    value(2, &digits)
}

/// BIT STRING of whole bytes.
pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    value(3, &[&[0], bytes].concat())
}

/// OCTET STRING.
pub(super) fn octet_string(bytes: &[u8]) -> Vec<u8> {
    value(4, bytes)
}

/// A distinguished name of one common name.
pub(super) fn common_name(name: &str) -> Vec<u8> {
    let pair = sequence(&[&oid(&COMMON_NAME), &value(0x0c, name.as_bytes())]);
    sequence(&[&value(0x31, &pair)])
}

/// A time of the form `YYYYMMDDHHMMSSZ`.
pub(super) fn generalized_time(text: &str) -> Vec<u8> {
    value(0x18, text.as_bytes())
}

/// The explicit tag `[0]` of a certificate's version 3.
pub(super) fn version_3() -> Vec<u8> {
    value(0xa0, &integer(&[2]))
}

/// PEM with lines of 64 characters (RFC 7468).
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::new();
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
