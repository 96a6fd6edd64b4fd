//! Forms of names that several parts of a configuration share.

/// Whether a text may name a secret of the Worker of which all names begin with `prefix`.
#[must_use]
pub fn is_secret_name(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        let mut bytes = rest.bytes();
        !rest.is_empty()
            && text.len() <= 64
            && bytes.all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Whether a text is owner and name of a repository, such as `acme/site`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    let is_word = |word: &str| {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !matches!(word, "" | "." | "..") && word.chars().all(is_fit)
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}
