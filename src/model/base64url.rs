//! Base64url without padding, as tokens and keys of issuers are written in.

/// Decodes base64url (RFC 4648 §5); `None` unless `text` is the one canonical spelling of some bytes:
/// without padding, white space or foreign characters, its unused bits zero.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits = 0_u32;
    let mut held = 0_u32;
    for char in text.bytes() {
        let value = match char {
            b'A'..=b'Z' => char - b'A',
            b'a'..=b'z' => char - b'a' + 26,
            b'0'..=b'9' => char - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            // The upper byte of what is held; what was taken before falls away.
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // Six bits left over are a lone character.
    (held < 6 && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_read() {
        for (text, bytes) in [
            ("", &[][..]),
            ("Zg", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("_-8", &[0xff, 0xef]),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for bad in [
            "Zg==", "Zg=", "Z", "Zh", "Zm9", "Zm9v\n", " Zm9v", "Zm9v ", "/+8", "Zm9vZ", "Zm 9v",
            "é",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
