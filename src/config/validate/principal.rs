//! Principals: which fields go with which kind, and what makes an OIDC identity safe.

use std::collections::BTreeMap;

use super::{Check, syntax};
use crate::config::Provider;
use crate::config::document::{OneOrMany, Principal, PrincipalKind};
use crate::model::At;

/// The longest life of a key that is issued for a token: twelve hours, as long as a CI job may take.
const MAX_TTL_SECS: u32 = 43_200;

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
            ("jwks_uri", principal.jwks_uri.is_some(), oidc),
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
    }

    /// Whoever names an issuer names the same place of its keys: there is one copy of them.
    pub(super) fn issuers(&mut self, at: &At<'_>, principals: &[Principal]) {
        let mut places = BTreeMap::new();
        for (index, principal) in principals.iter().enumerate() {
            let Some(issuer) = &principal.issuer else {
                continue;
            };
            let first = *places.entry(issuer).or_insert(&principal.jwks_uri);
            if *first != principal.jwks_uri {
                let item = at.item(index);
                self.problem(
                    &item.key("jwks_uri"),
                    "the principals of one issuer must all name the same \"jwks_uri\", or none.",
                );
            }
        }
    }

    fn oidc(&mut self, at: &At<'_>, principal: &Principal) {
        match &principal.issuer {
            Some(issuer) => self.expect(&at.key("issuer"), syntax::issuer(issuer)),
            None => self.problem(at, "a principal of kind \"oidc\" needs \"issuer\"."),
        }
        if let Some(uri) = &principal.jwks_uri {
            self.expect(&at.key("jwks_uri"), syntax::jwks_uri(uri));
        }
        match &principal.audience {
            Some(audience) => self.expect(&at.key("audience"), syntax::text(audience)),
            None => self.problem(at, "a principal of kind \"oidc\" needs \"audience\"."),
        }
        match principal.max_ttl_secs {
            Some(0) => self.problem(&at.key("max_ttl_secs"), "it must be at least 1."),
            Some(secs) if secs > MAX_TTL_SECS => self.problem(
                &at.key("max_ttl_secs"),
                format!("it must be at most {MAX_TTL_SECS}, which is twelve hours."),
            ),
            _ => {}
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
        let provider = Provider::of_principal(principal);
        let has = |claim: &str| principal.claims.contains_key(claim);
        for missing in provider.missing_claims(has) {
            self.problem(&claims, missing);
        }
        match provider {
            Provider::GitHub => self.safer(
                principal,
                &["repository_owner_id", "ref_type", "event_name"],
            ),
            Provider::GitLab => {
                self.safer(principal, &["ref"]);
                for claim in ["project_id", "namespace_id"] {
                    self.numeric(&claims, principal, claim);
                }
            }
            Provider::Other => {}
        }
    }

    /// Claims that a provider's tokens have and that would make a principal mean less.
    fn safer(&mut self, principal: &Principal, claims: &[&str]) {
        let missing: Vec<_> = claims
            .iter()
            .filter(|claim| !principal.claims.contains_key(**claim))
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

    /// An id, in digits: a name in its place would never match.
    fn numeric(&mut self, claims: &At<'_>, principal: &Principal, claim: &str) {
        let values = principal
            .claims
            .get(claim)
            .map_or(&[][..], OneOrMany::as_slice);
        let is_number = |text: &String| text.bytes().all(|byte| byte.is_ascii_digit());
        if !values.iter().all(is_number) {
            self.problem(&claims.key(claim), "it must be a number, in quotes.");
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
