//! Looks for our own credentials in what upstream sends back.

use crate::model::Secret;

/// Finds a secret in a body, as it is or as base64, hexadecimal or percent-encoded text.
#[derive(Debug)]
pub struct SecretScanner {
    needles: Vec<Vec<u8>>,
}

/// Shorter texts would be found by chance.
const MIN_SECRET_BYTES: usize = 8;

impl SecretScanner {
    /// Prepares the search for `secrets`; empty and very short ones are left out.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets {
            let bytes = secret.expose().as_bytes();
            if bytes.len() < MIN_SECRET_BYTES {
                continue;
            }
            needles.push(bytes.to_vec());
            needles.push(hex(bytes, b"0123456789abcdef"));
            needles.push(hex(bytes, b"0123456789ABCDEF"));
            needles.push(percent(bytes));
            for alphabet in [BASE64, BASE64_URL] {
                // A text inside a longer base64 text looks different at each of three offsets.
                for offset in 0..3 {
                    needles.push(base64_inner(bytes, offset, alphabet));
                }
            }
        }
        needles.retain(|needle| needle.len() >= MIN_SECRET_BYTES);
        needles.sort();
        needles.dedup();
        Self { needles }
    }

    /// Whether `body` holds any of the secrets.
    #[must_use]
    pub fn finds_in(&self, body: &[u8]) -> bool {
        self.needles
            .iter()
            .any(|needle| body.windows(needle.len()).any(|window| window == needle))
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| digits.get(usize::from(digit)).copied())
        .collect()
}

fn percent(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(byte);
        } else {
            text.push(b'%');
            text.extend(hex(&[byte], b"0123456789ABCDEF"));
        }
    }
    text
}

/// The base64 digits that `bytes` alone decide when they stand `offset` bytes into a text.
fn base64_inner(bytes: &[u8], offset: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let skip = (3 - offset) % 3;
    let inner = bytes.get(skip..).unwrap_or_default();
    let mut text = Vec::new();
    for group in inner.as_chunks::<3>().0 {
        let [a, b, c] = group.map(usize::from);
        for index in [
            a >> 2,
            (a & 3) << 4 | b >> 4,
            (b & 15) << 2 | c >> 6,
            c & 63,
        ] {
            text.extend(alphabet.get(index));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let scanner = SecretScanner::new([&Secret::new("tok/en+0123456789abc")]);
        for body in [
            "x tok/en+0123456789abc y",
            "746f6b2f656e2b30313233343536373839616263",
            "746F6B2F656E2B30313233343536373839616263",
            "tok%2Fen%2B0123456789abc",
            "dG9rL2VuKzAxMjM0NTY3ODlhYmM=",
            // `Bearer tok/en+…` and `x:tok/en+…` in base64
            "QmVhcmVyIHRvay9lbiswMTIzNDU2Nzg5YWJj",
            "eDp0b2svZW4rMDEyMzQ1Njc4OWFiYw==",
        ] {
            assert!(scanner.finds_in(body.as_bytes()), "{body}");
        }
        assert!(!scanner.finds_in(b"tok/en+0123456789ab and nothing more"));
    }

    #[test]
    fn nothing_to_look_for_is_never_found() {
        assert!(!SecretScanner::new([&Secret::new("")]).finds_in(b""));
        assert!(!SecretScanner::new([&Secret::new("short")]).finds_in(b"short"));
    }
}
