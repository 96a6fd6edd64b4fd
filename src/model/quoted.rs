//! Foreign text within a sentence.

/// The text in quotes and on one line, cut after 64 characters: for messages that repeat what
/// somebody wrote.
#[must_use]
pub fn quoted(text: &str) -> String {
    const SHOWN_CHARS: usize = 64;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}", format!("{}…", text.get(..end).unwrap_or_default())),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_control_characters_escaped() {
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(quoted(&"ä".repeat(64)), format!("\"{}\"", "ä".repeat(64)));
        assert_eq!(quoted(&"ä".repeat(65)), format!("\"{}…\"", "ä".repeat(64)));
    }
}
