//! Deterministic 32-digit hexadecimal ids: the same requests after a reset give the same ids.

/// A counter whose values are spread by a mixing function, so that ids look like real ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    counter: u64,
}

impl Ids {
    /// The next id.
    pub(crate) fn next_id(&mut self) -> String {
        self.counter += 1;
        format!(
            "{:016x}{:016x}",
            mix(self.counter),
            mix(self.counter ^ 0x5a5a_5a5a_5a5a_5a5a)
        )
    }
}

/// The finaliser of `SplitMix64`: a bijection, so distinct counters never collide.
pub(crate) fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether `text` is an object id: 32 lower-case hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
