//! Whose tokens an issuer's are, as some providers' need rules of their own.

use super::document::Principal;

/// GitHub Actions; an enterprise may have its own issuer below it.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The GitLab that GitLab runs; others have issuers of their own.
const GITLAB_ISSUER: &str = "https://gitlab.com";

/// A kind of issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// GitHub Actions, on github.com or a server of one's own.
    GitHub,
    /// GitLab CI, on gitlab.com or a server of one's own.
    GitLab,
    /// Any other.
    Other,
}

impl Provider {
    /// Who issues as `issuer`; on a server of one's own only the claims tell, of which `has` says
    /// whether there is one of a name.
    #[must_use]
    pub fn of(issuer: &str, has: impl Fn(&str) -> bool) -> Self {
        let below = issuer.strip_prefix(GITHUB_ISSUER);
        let is_github = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_github || has("event_name") || has("repository_id") {
            Self::GitHub
        } else if issuer == GITLAB_ISSUER
            || [
                "pipeline_source",
                "project_id",
                "project_path",
                "namespace_id",
            ]
            .into_iter()
            .any(has)
        {
            Self::GitLab
        } else {
            Self::Other
        }
    }

    /// Whose tokens a principal signs in with.
    #[must_use]
    pub fn of_principal(principal: &Principal) -> Self {
        let issuer = principal.issuer.as_deref().unwrap_or_default();
        Self::of(issuer, |claim| principal.claims.contains_key(claim))
    }

    /// What is wrong with the claims a principal names, where tokens of the provider need some.
    #[must_use]
    pub fn missing_claims(self, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let needed: &[(&[&str], &str)] = match self {
            Self::GitHub => &[
                (
                    &["repository_id"],
                    "tokens of GitHub Actions need the claim \"repository_id\": names of repositories can change hands.",
                ),
                (
                    &["ref", "environment"],
                    "tokens of GitHub Actions need the claim \"ref\" or \"environment\": otherwise every branch would do.",
                ),
            ],
            Self::GitLab => &[(
                &["project_id", "namespace_id"],
                "tokens of GitLab CI need the claim \"project_id\" or \"namespace_id\": names of projects can change hands.",
            )],
            Self::Other => &[],
        };
        let missing = needed
            .iter()
            .filter(|(any, _)| !any.iter().any(|claim| has(claim)));
        missing.map(|(_, message)| *message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_known_by_their_issuer_or_by_their_claims() {
        let check = |issuer: &str, claims: &[&str], expected| {
            let found = Provider::of(issuer, |claim| claims.contains(&claim));
            assert_eq!(found, expected, "{issuer} {claims:?}");
        };
        use Provider::{GitHub, GitLab, Other};
        check(GITHUB_ISSUER, &[], GitHub);
        check(
            "https://token.actions.githubusercontent.com/acme",
            &[],
            GitHub,
        );
        check(
            "https://token.actions.githubusercontent.com.evil.example",
            &[],
            Other,
        );
        check(
            "https://ghes.example/_services/token",
            &["event_name"],
            GitHub,
        );
        check(GITLAB_ISSUER, &[], GitLab);
        check("https://gitlab.com.evil.example", &[], Other);
        check("https://gitlab.example", &["project_id"], GitLab);
        check("https://gitlab.example", &["sub"], Other);
    }
}
