//! How a caller proved who it is, in words, and whom such words name.

/// A key: `key Ab12Cd34Ef56`, and who stood behind the token it was issued for.
#[must_use]
pub fn key_credential(id: &str, behind: Option<&str>) -> String {
    match behind {
        Some(behind) => format!("key {id} for {behind}"),
        None => format!("key {id}"),
    }
}

/// A token of an OIDC issuer whose signature was checked.
#[must_use]
pub fn token_credential(behind: &str) -> String {
    format!("a token of {behind}")
}

/// A login of Cloudflare Access.
#[must_use]
pub fn login_credential(email: &str) -> String {
    format!("Access login of {email}")
}

/// A delivery of a webhook that was proved to be its sender's.
#[must_use]
pub fn delivery_credential(delivery: &str) -> String {
    format!("a verified {delivery}")
}

/// Who stood behind a credential, where one of the functions above was told. None of them is ever
/// written by a caller.
pub(super) fn behind(credential: &str) -> Option<&str> {
    let of_key = || credential.strip_prefix("key ")?.split_once(" for ");
    of_key()
        .map(|(_, behind)| behind)
        .or_else(|| credential.strip_prefix("a token of "))
        .or_else(|| credential.strip_prefix("Access login of "))
        .or_else(|| credential.strip_prefix("a verified "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_behind_is_read_back_from_the_words() {
        let words = "GitHub acme/site@main, run 812 by octocat";
        for credential in [
            key_credential("Ab12Cd34Ef56", Some(words)),
            token_credential(words),
            login_credential(words),
            delivery_credential(words),
        ] {
            assert_eq!(behind(&credential), Some(words), "{credential}");
        }
        for other in [
            "root key",
            "key Ab12Cd34Ef56",
            "job nightly, run 1 for x",
            "no credential",
        ] {
            assert_eq!(behind(other), None, "{other}");
        }
    }
}
