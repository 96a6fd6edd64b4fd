//! What a browser behind Cloudflare Access sends along.

use super::credential::CredentialError;

/// The cookie in which Access keeps a login.
const COOKIE: &str = "CF_Authorization";

/// The headers a login of Cloudflare Access may arrive in, and those that tell whose page asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessHeaders<'a> {
    /// `Cf-Access-Jwt-Assertion`, which Access adds.
    pub assertion: Option<&'a str>,
    /// `Cookie`, whole.
    pub cookies: Option<&'a str>,
    /// `Sec-Fetch-Site`, which browsers set and pages cannot.
    pub fetch_site: Option<&'a str>,
    /// Whether the request has a header that no page of another site can add.
    pub is_marked: bool,
}

impl<'a> AccessHeaders<'a> {
    /// The one token the headers hold, if any. The header goes before the cookie, which must be the same.
    ///
    /// # Errors
    /// [`CredentialError::Ambiguous`] when they hold different ones.
    pub fn token(self) -> Result<Option<&'a str>, CredentialError> {
        let cookies = self.cookies.unwrap_or_default().split(';');
        let mut found = cookies.filter_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        let token = self.assertion.or_else(|| found.next());
        if found.all(|other| Some(other) == token) {
            Ok(token)
        } else {
            Err(CredentialError::Ambiguous)
        }
    }

    /// Whether a page of another site cannot be behind the request: the browser says that it is our own,
    /// or, where no browser says anything, it carries our header.
    #[must_use]
    pub fn is_same_origin(self) -> bool {
        match self.fetch_site {
            Some(site) => site == "same-origin",
            None => self.is_marked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h3_the_header_goes_before_the_cookie_and_two_tokens_are_none() {
        let check = |assertion, cookies, expected| {
            let headers = AccessHeaders {
                assertion,
                cookies,
                ..AccessHeaders::default()
            };
            assert_eq!(headers.token(), expected, "{headers:?}");
        };
        let ambiguous = Err(CredentialError::Ambiguous);
        check(None, None, Ok(None));
        check(None, Some("theme=dark; xCF_Authorization=b"), Ok(None));
        check(Some("a"), None, Ok(Some("a")));
        check(None, Some("theme=dark; CF_Authorization=a"), Ok(Some("a")));
        check(Some("a"), Some("CF_Authorization=a"), Ok(Some("a")));
        check(Some("a"), Some("CF_Authorization=b"), ambiguous);
        check(
            None,
            Some("CF_Authorization=a; CF_Authorization=b"),
            ambiguous,
        );
        check(
            Some("a"),
            Some("CF_Authorization=a;CF_Authorization=b"),
            ambiguous,
        );
    }

    #[test]
    fn d4_a_page_of_another_site_is_told_apart() {
        let check = |fetch_site, is_marked, expected| {
            let headers = AccessHeaders {
                fetch_site,
                is_marked,
                ..AccessHeaders::default()
            };
            assert_eq!(headers.is_same_origin(), expected, "{headers:?}");
        };
        check(Some("same-origin"), false, true);
        check(None, true, true);
        check(None, false, false);
        for other in ["cross-site", "same-site", "none", "Same-Origin"] {
            check(Some(other), true, false);
        }
    }
}
