//! What somebody probably meant.

/// The candidate with the fewest edits from `word`; none if even that one shares little with it.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| edits * 2 <= candidate.chars().count().max(2))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over the first 64 characters, ignoring case.
#[must_use]
pub fn edits(a: &str, b: &str) -> usize {
    let chars =
        |text: &str| -> Vec<char> { text.chars().take(64).flat_map(char::to_lowercase).collect() };
    let (a, b) = (chars(a), chars(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, char_a) in a.iter().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, char_b) in row.iter_mut().skip(1).zip(&b) {
            let substituted = diagonal + usize::from(char_a != char_b);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_unless_nothing_is_near() {
        let keys = ["zones", "accounts", "not_after", "not_before"];
        assert_eq!(nearest("zone", keys), Some("zones"));
        assert_eq!(nearest("Zones", keys), Some("zones"));
        assert_eq!(nearest("not_befor", keys), Some("not_before"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", []), None);
    }
}
