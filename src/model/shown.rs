//! Text of others, made fit to be shown.

/// Text of others for messages: control characters dropped, no braces (some clients format messages
/// again), at most `max` characters.
#[must_use]
pub fn sanitised(text: &str, max: usize) -> String {
    let mut shown: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '{' | '}'))
        .take(max)
        .collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}
