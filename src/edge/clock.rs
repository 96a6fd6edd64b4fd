//! The only clock and the only source of randomness.

use crate::model::Timestamp;

/// The time as the runtime tells it. In production it stands still between two I/O operations.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_ms(i64::try_from(worker::Date::now().as_millis()).unwrap_or(i64::MAX))
}

/// Fills `bytes` with random ones; `false` when the runtime has none.
pub(super) fn randomize(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

/// A random number for spreading things; 0 when the runtime has none.
pub(super) fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    if randomize(&mut bytes) {
        u16::from_le_bytes(bytes)
    } else {
        0
    }
}
