//! Cloudflare's 32-digit identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 lower-case hexadecimal digits")]
pub struct InvalidId;

/// Parses exactly 32 lower-case hexadecimal digits; upper case is refused so that every id has
/// one spelling.
fn parse_hex128(text: &str) -> Result<u128, InvalidId> {
    let bytes = text.as_bytes();
    if bytes.len() != 32 {
        return Err(InvalidId);
    }
    bytes.iter().try_fold(0_u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return Err(InvalidId),
        };
        Ok(value << 4 | u128::from(digit))
    })
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hex128(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// Identifies a Cloudflare account.
    AccountId
);
hex_id!(
    /// Identifies a zone.
    ZoneId
);
hex_id!(
    /// Identifies a run: 128 random bits.
    RunId
);
hex_id!(
    /// Identifies a snapshot: the id of the run that took it, mixed with that of its zone.
    SnapshotId
);

impl RunId {
    /// The id made of these random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl SnapshotId {
    /// The id of the snapshot that `run` takes of `zone`: the same however often it is taken.
    #[must_use]
    pub const fn of(run: RunId, zone: ZoneId) -> Self {
        Self(run.0 ^ zone.0.rotate_left(64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_exactly_one_spelling() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(text.parse::<ZoneId>().unwrap().to_string(), text);
        for bad in [
            "",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789abcdef",
            "{zone_id}",
            "０123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(bad.parse::<ZoneId>(), Err(InvalidId), "{bad}");
        }
    }
}
