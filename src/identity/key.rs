//! API keys: 40 characters, of which 12 name the key and 28 are its secret.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::model::{Secret, Timestamp, hex};

/// Characters of a whole key.
const KEY_LEN: usize = 40;
/// Characters that name it.
const ID_LEN: usize = 12;
/// The alphabet of keys: base64url (RFC 4648 §5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The public part of a key: 12 characters of the key alphabet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_LEN]);

impl KeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes are ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl std::str::FromStr for KeyId {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().map_err(|_| MalformedKey)?;
        if bytes.iter().all(|byte| ALPHABET.contains(byte)) {
            Ok(Self(bytes))
        } else {
            Err(MalformedKey)
        }
    }
}

/// A text that is not 40 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 40 characters of A–Z, a–z, 0–9, `-` and `_`")]
pub struct MalformedKey;

/// A key with its secret, as minted or as a caller presented it.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    text: Secret,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}…)", self.id)
    }
}

impl Key {
    /// Reads a presented key.
    ///
    /// # Errors
    /// [`MalformedKey`] when the text cannot be a key of ours.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let bytes = text.as_bytes();
        if bytes.len() != KEY_LEN || !bytes.iter().all(u8::is_ascii) {
            return Err(MalformedKey);
        }
        if !bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        {
            return Err(MalformedKey);
        }
        let id = bytes
            .first_chunk::<ID_LEN>()
            .map(|chunk| KeyId(*chunk))
            .ok_or(MalformedKey)?;
        Ok(Self {
            id,
            text: Secret::new(text),
        })
    }

    /// Makes a key of 30 random bytes: 72 bits of id, 168 bits of secret.
    #[must_use]
    pub fn mint(random: &[u8; 30]) -> Self {
        let mut text = String::with_capacity(KEY_LEN);
        for group in random.as_chunks::<3>().0 {
            let [a, b, c] = group.map(usize::from);
            for index in [
                a >> 2,
                (a & 3) << 4 | b >> 4,
                (b & 15) << 2 | c >> 6,
                c & 63,
            ] {
                // INVARIANT: every index is below 64.
                text.push(ALPHABET.get(index).copied().map_or('A', char::from));
            }
        }
        Self::from_own(text)
    }

    /// Makes a key of 40 lower-case hexadecimal digits, the form of a Global API Key, for clients
    /// that check it: 48 bits of id, 112 bits of secret.
    #[must_use]
    pub fn mint_legacy(random: &[u8; 20]) -> Self {
        Self::from_own(hex(random))
    }

    fn from_own(text: String) -> Self {
        let id = text
            .as_bytes()
            .first_chunk::<ID_LEN>()
            .map_or(KeyId([b'A'; ID_LEN]), |chunk| KeyId(*chunk));
        Self {
            id,
            text: Secret::new(text),
        }
    }

    /// The public part.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The whole key, to be shown once when it is minted.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// What is stored in its place.
    #[must_use]
    pub fn digest(&self, pepper: &Pepper) -> Digest {
        pepper.digest(self.text.expose())
    }
}

/// A Worker secret that is hashed along with every key, so that a copy of the database alone does
/// not let anybody test guesses.
#[derive(Debug, Clone)]
pub struct Pepper(Secret);

impl Pepper {
    /// Wraps the Worker secret `KEY_PEPPER`.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// SHA-256 over the length of the pepper, the pepper and `text`. The 112 or more random bits of
    /// a key make a slow hash unnecessary.
    #[must_use]
    pub fn digest(&self, text: &str) -> Digest {
        let pepper = self.0.expose().as_bytes();
        let mut hasher = Sha256::new();
        hasher.update((pepper.len() as u64).to_be_bytes());
        hasher.update(pepper);
        hasher.update(text.as_bytes());
        Digest(hasher.finalize().into())
    }
}

/// The peppered SHA-256 of a key; the only form in which keys are stored.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Sixty-four lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Digest::to_hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether both are the same, in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A key as the store knows it.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// The public part.
    pub id: KeyId,
    /// The principal it stands for.
    pub principal: String,
    /// The digest of the whole key.
    pub digest: Digest,
    /// When it was minted.
    pub created_at: Timestamp,
    /// The instant from which it is no longer accepted.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within ten minutes.
    pub last_used_at: Option<Timestamp>,
    /// What the operator wrote about it.
    pub note: Option<String>,
    /// Whether it has the form of a Global API Key.
    pub legacy: bool,
    /// What it was issued for, where that was a token.
    pub login: Option<Login>,
}

/// The token a key was issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// A digest of what said that the token was the principal's. The key ends when that changes.
    pub rule: String,
    /// Who stood behind it, in words.
    pub behind: String,
}

/// Whether a key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Active,
    /// It was revoked, or its principal was removed.
    Revoked,
    /// Its time is over.
    Expired,
}

impl KeyRecord {
    /// The state at `now`. A key rolled with an overlap expires at the overlap's end.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        // Whatever the clock says: what was revoked stays so.
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_parses_back() {
        let key = Key::mint(&[0xff; 30]);
        assert_eq!(key.expose(), "_".repeat(40));
        let key = Key::mint(&std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        let again = Key::parse(key.expose()).unwrap();
        assert_eq!((again.id(), key.expose().len()), (key.id(), 40));
        assert!(key.expose().starts_with(key.id().as_str()));

        let legacy = Key::mint_legacy(&[0xa5; 20]);
        assert_eq!(legacy.expose(), "a5".repeat(20));
        assert!(Key::parse(legacy.expose()).is_ok());
    }

    #[test]
    fn what_is_not_forty_characters_of_the_alphabet_is_no_key() {
        for bad in [
            "",
            "short",
            &"a".repeat(39),
            &"a".repeat(41),
            &format!("{}+", "a".repeat(39)),
            &"é".repeat(20),
        ] {
            assert_eq!(Key::parse(bad).err(), Some(MalformedKey), "{bad}");
        }
    }

    #[test]
    fn digests_depend_on_pepper_and_key_and_survive_storage() {
        let pepper = Pepper::new(Secret::new("p"));
        let digest = pepper.digest("k");
        assert!(digest.matches(&pepper.digest("k")));
        assert!(!digest.matches(&pepper.digest("j")));
        assert!(!digest.matches(&Pepper::new(Secret::new("q")).digest("k")));
        // The length in front keeps `p` + `kx` apart from `pk` + `x`.
        assert!(
            !pepper
                .digest("kx")
                .matches(&Pepper::new(Secret::new("pk")).digest("x"))
        );
        assert!(Digest::from_hex(&digest.to_hex()).unwrap().matches(&digest));
        assert!(Digest::from_hex("zz").is_none());
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let key = Key::mint(&[1; 30]);
        let secret = key.expose().get(12..).unwrap();
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn a_key_ends_at_the_instant_of_its_expiry() {
        let at = Timestamp::from_unix_ms;
        let key = KeyRecord {
            id: Key::mint(&[0; 30]).id(),
            principal: "p".into(),
            digest: Pepper::new(Secret::new("p")).digest("k"),
            created_at: at(0),
            expires_at: Some(at(100)),
            revoked_at: None,
            last_used_at: None,
            note: None,
            legacy: false,
            login: None,
        };
        assert_eq!(key.state(at(99)), KeyState::Active);
        assert_eq!(key.state(at(100)), KeyState::Expired);
        let revoked = KeyRecord {
            revoked_at: Some(at(50)),
            ..key
        };
        assert_eq!(revoked.state(at(50)), KeyState::Revoked);
        assert_eq!(revoked.state(at(49)), KeyState::Revoked);
    }
}
