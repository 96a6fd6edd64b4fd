//! The only clock and the only source of randomness.

use std::cell::Cell;

use worker::js_sys;

use crate::model::Timestamp;

/// The time as the runtime tells it. In production it stands still between two I/O operations.
pub(super) fn now() -> Timestamp {
    // Milliseconds are whole and far below 2^53.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds are whole and small"
    )]
    Timestamp::from_unix_ms(js_sys::Date::now() as i64)
}

/// Fills `bytes` with random ones, fit for keys; `false` when the runtime has none.
pub(super) fn randomize(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// A number for spreading retries and entry numbers, not for secrets: a xorshift generator
/// (Marsaglia 2003) that is seeded once, as asking the runtime each time costs microseconds.
pub(super) fn random_u16() -> u16 {
    let mut state = STATE.get();
    if state == 0 {
        let mut seed = [0; 8];
        // Without a seed isolates meet more often; the store's primary key then tells them apart.
        let _ = randomize(&mut seed);
        state = u64::from_le_bytes(seed) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    // The upper bits are the better ones.
    u16::try_from(state >> 48).unwrap_or_default()
}
