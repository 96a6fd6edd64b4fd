//! Deterministic 32-digit hexadecimal ids: the same requests after a reset give the same ids.

/// A counter whose values are spread by a mixing function, so that ids look like real ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    counter: u64,
}

impl Ids {
    /// Ids that no other counter gives, for what is seeded: it must not move those of later calls.
    pub(crate) fn seeding() -> Self {
        Self { counter: 1 << 48 }
    }

    /// The next id.
    pub(crate) fn next_id(&mut self) -> String {
        self.counter += 1;
        format!(
            "{:016x}{:016x}",
            mix(self.counter),
            mix(self.counter ^ 0x5a5a_5a5a_5a5a_5a5a)
        )
    }

    /// The next id in the form of a UUID, version 4 by its digits.
    pub(crate) fn next_uuid(&mut self) -> String {
        let id = self.next_id();
        let digits = |range| id.get(range).unwrap_or_default();
        format!(
            "{}-{}-4{}-8{}-{}",
            digits(0..8),
            digits(8..12),
            digits(13..16),
            digits(17..20),
            digits(20..32)
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

/// 32 hexadecimal digits that stand for the bytes of `parts`: an entity tag, not a cryptographic
/// digest.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut lanes = [0x0123_4567_89ab_cdef_u64, 0xfedc_ba98_7654_3210];
    for part in parts {
        // The length keeps apart what would run together.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let words = part.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            u64::from_le_bytes(word)
        });
        for word in words.chain([length]) {
            let [left, right] = lanes;
            lanes = [mix(left ^ word), mix(right.rotate_left(17) ^ word)];
        }
    }
    let [left, right] = lanes;
    format!("{left:016x}{right:016x}")
}
