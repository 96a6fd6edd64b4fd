//! Which principal a token stands for, and who stood behind it.
//!
//! The claims a principal names are matched exactly. On top of that come rules for providers where
//! strangers can have code run under a project's name.

use sha2::{Digest as _, Sha256};

use super::claims::Claims;
use crate::config::Provider;
use crate::config::document::{OneOrMany, Principal};
use crate::model::json::Json;
use crate::model::{hex, quoted, sanitised};

/// Events of GitHub that only somebody who may write to the repository can cause, or its schedule. Any
/// other (`pull_request_target`, `issue_comment`, `workflow_run`, …) may be a stranger's doing, so a
/// principal must name it.
const OWN_EVENTS: [&str; 7] = [
    "push",
    "workflow_dispatch",
    "schedule",
    "repository_dispatch",
    "release",
    "deployment",
    "merge_group",
];
/// Likewise for pipelines of GitLab. `parent_pipeline` and `pipeline` are not among them: what started
/// the pipeline above may have been a merge request of a fork.
const OWN_PIPELINES: [&str; 5] = ["push", "web", "schedule", "api", "trigger"];
/// Characters of one claim in words.
const SHOWN_CHARS: usize = 120;

/// How long tokens of an issuer may be valid, in seconds: those of GitHub live five minutes, others as
/// long as a job may take.
#[must_use]
pub fn max_lifetime_secs(claims: &Claims) -> i64 {
    match provider(claims) {
        Provider::GitHub => 3_600,
        Provider::GitLab | Provider::Other => 86_400,
    }
}

fn provider(claims: &Claims) -> Provider {
    Provider::of(claims.issuer(), |name| claims.has(name))
}

/// Whether a verified token is one of `principal`'s.
///
/// 1. Issuer and audience are exactly the principal's.
/// 2. Each claim it names is a text and one of the values given; lists and numbers never are.
/// 3. The provider's own rules hold.
///
/// # Errors
/// What does not fit, for the audit log. Callers are not told: anybody can have tokens made.
pub fn fits(principal: &Principal, claims: &Claims) -> Result<(), String> {
    let name = &principal.name;
    if principal.issuer.as_deref() != Some(claims.issuer()) {
        return Err(format!("the issuer is not that of {name}"));
    }
    let audience = principal.audience.as_deref();
    if !audience.is_some_and(|audience| claims.is_only_for(audience)) {
        return Err(format!("the audience is not exactly that of {name}")); // (1)
    }
    if principal.claims.is_empty() {
        return Err(format!("{name} names no claims"));
    }
    for (claim, values) in &principal.claims {
        let is_one = |text: &str| values.as_slice().iter().any(|value| value == text);
        match claims.text(claim) {
            Some(text) if is_one(text) => {}
            Some(text) => {
                let text = quoted(&sanitised(text, SHOWN_CHARS));
                return Err(format!(
                    "the claim {claim} is {text}, which {name} does not name"
                ));
            }
            None => return Err(format!("the claim {claim} is no text, and {name} needs it")), // (2)
        }
    }
    let provider = provider(claims);
    let named = |claim: &str| principal.claims.contains_key(claim);
    if let Some(missing) = provider.missing_claims(named).first() {
        return Err(missing.trim_end_matches('.').to_owned());
    }
    // What is named was compared above.
    let own = |claim: &str, own: &[&str]| {
        let value = claims.text(claim).unwrap_or_default();
        if named(claim) || own.contains(&value) {
            return Ok(());
        }
        let value = quoted(&sanitised(value, SHOWN_CHARS));
        Err(format!(
            "the claim {claim} is {value}, which {name} would have to name"
        ))
    };
    match provider {
        Provider::GitHub => own("event_name", &OWN_EVENTS),
        Provider::GitLab => {
            own("pipeline_source", &OWN_PIPELINES)?;
            own("ref_protected", &["true"])
        }
        Provider::Other => Ok(()),
    } // (3)
}

/// Who stood behind a verified token, in words, such as `GitHub acme/site@main, run 812 by octocat`.
#[must_use]
pub fn behind(claims: &Claims) -> String {
    let shown = |claim: &str| claims.text(claim).map(|text| sanitised(text, SHOWN_CHARS));
    let ci = |provider: &str, project, run: &str, runs: [&str; 2], actor| {
        let mut words = format!("{provider} {}", shown(project).unwrap_or_default());
        let branch = shown("ref").map(|name| match name.strip_prefix("refs/heads/") {
            // A branch whose name looks like another kind of ref keeps its whole name.
            Some(branch) if !branch.starts_with("refs/") => branch.to_owned(),
            _ => name,
        });
        for (before, part) in [
            ("@", branch),
            (run, runs.into_iter().find_map(shown)),
            (" by ", shown(actor)),
        ] {
            if let Some(part) = part {
                words.push_str(before);
                words.push_str(&part);
            }
        }
        words
    };
    match provider(claims) {
        // The number people see; the id where there is none.
        Provider::GitHub => ci(
            "GitHub",
            "repository",
            ", run ",
            ["run_number", "run_id"],
            "actor",
        ),
        Provider::GitLab => ci(
            "GitLab",
            "project_path",
            ", pipeline ",
            ["pipeline_id", "job_id"],
            "user_login",
        ),
        Provider::Other => {
            let issuer = claims.issuer();
            let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
            let subject = shown("sub").unwrap_or_default();
            format!("{} {subject}", sanitised(host, SHOWN_CHARS))
                .trim_end()
                .to_owned()
        }
    }
}

/// What names the run behind a verified token exactly, such as `run_id:9000000812`.
#[must_use]
pub fn traces(claims: &Claims) -> Vec<String> {
    ["run_id", "run_attempt", "pipeline_id", "job_id", "sha"]
        .into_iter()
        .filter_map(|name| {
            let value = sanitised(claims.text(name)?, SHOWN_CHARS);
            Some(format!("{name}:{value}"))
        })
        .collect()
}

/// A digest of all that says which tokens are a principal's. A key keeps it, so that it stops working
/// when the principal comes to mean somebody else.
#[must_use]
pub fn rule_digest(principal: &Principal) -> String {
    let claims: Vec<(&str, &[String])> = principal
        .claims
        .iter()
        .map(|(claim, values): (_, &OneOrMany)| (claim.as_str(), values.as_slice()))
        .collect();
    let rule = serde_json::json!([
        principal.issuer,
        principal.jwks_uri,
        principal.audience,
        principal.max_ttl_secs,
        claims,
    ]);
    hex(&Sha256::digest(rule.to_string().as_bytes()))
}

/// The principal of a person with a verified login of Cloudflare Access: the first that names the
/// e-mail address, otherwise the first that names one of the groups, in the order of the document.
#[must_use]
pub fn person<'d>(principals: &'d [Principal], claims: &Claims) -> Option<&'d Principal> {
    let email = claims.text("email").filter(|email| !email.is_empty())?;
    let groups = claims
        .get("groups")
        .or_else(|| claims.get("custom").and_then(|custom| custom.get("groups")));
    let has_group = |name: &String| match groups {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(list)) => list.iter().any(|one| one.as_str() == Some(name)),
        _ => false,
    };
    let is_access =
        |principal: &&Principal| principal.kind == crate::config::document::PrincipalKind::Access;
    let people = || principals.iter().filter(is_access);
    people()
        .find(|one| {
            one.emails
                .iter()
                .any(|known| known.eq_ignore_ascii_case(email))
        })
        .or_else(|| people().find(|one| one.groups.iter().any(has_group)))
}
