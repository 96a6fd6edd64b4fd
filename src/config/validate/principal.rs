//! Principals: which fields go with which kind, and what makes an OIDC identity safe.

use super::{Check, syntax};
use crate::config::document::{OneOrMany, Principal, PrincipalKind};
use crate::config::path::At;

/// GitHub Actions; an enterprise may have its own issuer below it.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

impl Check<'_> {
    pub(super) fn principal(&mut self, at: &At<'_>, principal: &Principal) {
        let kind = match principal.kind {
            PrincipalKind::Key => "key",
            PrincipalKind::Internal => "internal",
            PrincipalKind::Oidc => "oidc",
            PrincipalKind::Access => "access",
        };
        let oidc = principal.kind == PrincipalKind::Oidc;
        let access = principal.kind == PrincipalKind::Access;
        for (field, present, allowed) in [
            ("issuer", principal.issuer.is_some(), oidc),
            ("audience", principal.audience.is_some(), oidc),
            ("claims", !principal.claims.is_empty(), oidc),
            ("max_ttl_secs", principal.max_ttl_secs.is_some(), oidc),
            ("emails", !principal.emails.is_empty(), access),
            ("groups", !principal.groups.is_empty(), access),
        ] {
            if present && !allowed {
                let message = format!("a principal of kind {kind:?} has no {field:?}.");
                self.problem(&at.key(field), message);
            }
        }
        if oidc {
            self.oidc(at, principal);
        }
        if access {
            self.access(at, principal);
        }
        if oidc || access {
            self.message(format!(
                "principal {}: principals of kind {kind:?} cannot sign in yet.",
                principal.name
            ));
        }
    }

    fn oidc(&mut self, at: &At<'_>, principal: &Principal) {
        match &principal.issuer {
            Some(issuer) => self.expect(&at.key("issuer"), syntax::issuer(issuer)),
            None => self.problem(at, "a principal of kind \"oidc\" needs \"issuer\"."),
        }
        match &principal.audience {
            Some(audience) => self.expect(&at.key("audience"), syntax::text(audience)),
            None => self.problem(at, "a principal of kind \"oidc\" needs \"audience\"."),
        }
        if principal.max_ttl_secs == Some(0) {
            self.problem(&at.key("max_ttl_secs"), "it must be at least 1.");
        }
        if principal.claims.is_empty() {
            self.problem(
                at,
                "a principal of kind \"oidc\" needs \"claims\": without any, every token of the issuer would do.",
            );
            return;
        }
        let claims = at.key("claims");
        for (claim, values) in &principal.claims {
            let here = claims.key(claim);
            match values {
                OneOrMany::One(value) => self.expect(&here, syntax::text(value)),
                OneOrMany::Many(values) if values.is_empty() => {
                    self.problem(&here, "the list is empty, so no token would do.");
                }
                OneOrMany::Many(values) => self.each(&here, values, syntax::text),
            }
        }
        let github = principal
            .issuer
            .as_deref()
            .and_then(|issuer| issuer.strip_prefix(GITHUB_ISSUER))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if github {
            self.github(&claims, principal);
        }
    }

    /// Anybody on GitHub can have a token made for any audience, so the claims alone say who it is.
    fn github(&mut self, at: &At<'_>, principal: &Principal) {
        let has = |claim: &str| principal.claims.contains_key(claim);
        if !has("repository_id") {
            self.problem(
                at,
                "tokens of GitHub Actions need the claim \"repository_id\": names of repositories can change hands.",
            );
        }
        if !has("ref") && !has("environment") {
            self.problem(
                at,
                "tokens of GitHub Actions need the claim \"ref\" or \"environment\": otherwise every branch would do.",
            );
        }
        let missing: Vec<_> = ["repository_owner_id", "ref_type", "event_name"]
            .into_iter()
            .filter(|claim| !has(claim))
            .map(|claim| format!("{claim:?}"))
            .collect();
        if !missing.is_empty() {
            self.message(format!(
                "principal {}: its claims would be safer with {}.",
                principal.name,
                missing.join(", ")
            ));
        }
    }

    fn access(&mut self, at: &At<'_>, principal: &Principal) {
        if principal.emails.is_empty() && principal.groups.is_empty() {
            self.problem(
                at,
                "a principal of kind \"access\" needs \"emails\" or \"groups\".",
            );
        }
        self.each(&at.key("emails"), &principal.emails, |email| {
            syntax::text(email)?;
            match email.split_once('@') {
                Some((user, host)) if !user.is_empty() && !host.is_empty() => Ok(()),
                _ => Err(format!("{} is no e-mail address.", super::quoted(email))),
            }
        });
        self.each(&at.key("groups"), &principal.groups, syntax::text);
    }
}
