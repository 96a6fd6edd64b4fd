//! An audit entry in one sentence.

use super::{Action, who};

/// What a sentence is made of.
pub(super) struct Parts<'a> {
    pub(super) principal: Option<&'a str>,
    pub(super) credential: &'a str,
    pub(super) action: &'a Action,
    pub(super) decision: &'a str,
    pub(super) grant: Option<&'a str>,
    pub(super) reason: &'a str,
    pub(super) outcome: Option<&'a str>,
    pub(super) status: Option<u16>,
    pub(super) upstream_calls: Option<u32>,
    pub(super) detail: Option<&'a str>,
    pub(super) happened: Option<bool>,
}

/// Says who did what and why it was allowed, or who wanted what and why not.
pub(super) fn compose(parts: &Parts<'_>) -> String {
    let name = parts.principal.unwrap_or("Somebody");
    let behind = who::behind(parts.credential);
    let who = behind.map_or_else(|| name.to_owned(), |behind| format!("{name} ({behind})"));
    if parts.decision != "allow" {
        // The reason of a refusal is a sentence that names caller, call and rule already.
        return if parts.principal.is_some() {
            match parts.reason.strip_prefix(name) {
                Some(rest) => format!("{who}{rest}"),
                None => parts.reason.to_owned(),
            }
        } else {
            format!(
                "Somebody ({}) asked to {}; refused: {}",
                parts.credential,
                parts.action.infinitive(),
                parts.reason
            )
        };
    }
    let by = match parts.grant {
        Some(grant) => format!("allowed by {grant}"),
        None => parts.reason.trim_end_matches('.').to_owned(),
    };
    let asked = || format!("{who} asked to {}; {by}", parts.action.infinitive());
    let detail = |default: &str| {
        parts
            .detail
            .filter(|text| !text.is_empty())
            .unwrap_or(default)
            .to_owned()
    };
    match parts.outcome {
        // It happened, but not quite as it was allowed.
        Some("confirmed") if detail("").starts_with("toctou_detected") => {
            format!("{who} {}; {by}; {}.", parts.action.past(), detail(""))
        }
        None | Some("confirmed") => format!("{who} {}; {by}.", parts.action.past()),
        Some("pending") => format!("{}; its outcome is not recorded yet.", asked()),
        // We refused it ourselves, just before sending; the detail says so.
        Some("refused") if parts.upstream_calls == Some(0) => format!(
            "{}, but {}.",
            asked(),
            detail("it was not sent").trim_end_matches('.')
        ),
        Some("refused") => {
            let status = parts
                .status
                .map_or_else(String::new, |status| format!(" with {status}"));
            format!(
                "{}, refused by Cloudflare{status}: {}.",
                asked(),
                detail("no reason given").trim_end_matches('.')
            )
        }
        Some("throttled") => format!(
            "{}, but Cloudflare refused it because of too many calls.",
            asked()
        ),
        Some("settled") => match parts.happened {
            Some(true) => format!(
                "{}; Cloudflare did not confirm it, and reading back showed that it happened.",
                asked()
            ),
            _ => format!(
                "{}; Cloudflare did not confirm it, and reading back found no trace of it.",
                asked()
            ),
        },
        _ => format!(
            "{}; could not confirm whether it happened: {}.",
            asked(),
            detail("no answer came").trim_end_matches('.')
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Parts<'_>), expected: &str) {
        let action = Action::new("purge 3 prefixes of example.com");
        let mut parts = Parts {
            principal: Some("site-ci"),
            credential: "key Ab12Cd34Ef56",
            action: &action,
            decision: "allow",
            grant: Some("site-deploy"),
            reason: "allowed by site-deploy",
            outcome: Some("confirmed"),
            status: Some(200),
            upstream_calls: Some(1),
            detail: None,
            happened: None,
        };
        change(&mut parts);
        assert_eq!(compose(&parts), expected);
    }

    #[test]
    fn a_sentence_says_who_did_what_and_why() {
        check(
            |_| {},
            "site-ci purged 3 prefixes of example.com; allowed by site-deploy.",
        );
        check(
            |p| p.outcome = Some("pending"),
            "site-ci asked to purge 3 prefixes of example.com; allowed by site-deploy; its outcome is not recorded yet.",
        );
        check(
            |p| {
                p.outcome = Some("refused");
                p.status = Some(400);
                p.detail = Some("1136 not possible for this environment.");
            },
            "site-ci asked to purge 3 prefixes of example.com; allowed by site-deploy, refused by Cloudflare with 400: 1136 not possible for this environment.",
        );
        check(
            |p| {
                p.outcome = Some("refused");
                p.upstream_calls = Some(0);
                p.detail = Some("not sent: the key was revoked.");
            },
            "site-ci asked to purge 3 prefixes of example.com; allowed by site-deploy, but not sent: the key was revoked.",
        );
        check(
            |p| p.outcome = Some("unknown"),
            "site-ci asked to purge 3 prefixes of example.com; allowed by site-deploy; could not confirm whether it happened: no answer came.",
        );
        check(
            |p| {
                p.outcome = Some("settled");
                p.happened = Some(true);
            },
            "site-ci asked to purge 3 prefixes of example.com; allowed by site-deploy; Cloudflare did not confirm it, and reading back showed that it happened.",
        );
    }

    #[test]
    fn who_stood_behind_a_key_is_in_every_sentence() {
        let credential = "key Ab12Cd34Ef56 for GitHub acme/site@main, run 812 by octocat";
        check(
            |p| p.credential = credential,
            "site-ci (GitHub acme/site@main, run 812 by octocat) purged 3 prefixes of example.com; allowed by site-deploy.",
        );
        check(
            |p| {
                p.credential = credential;
                p.decision = "deny";
                p.reason = "site-ci may not purge everything.";
            },
            "site-ci (GitHub acme/site@main, run 812 by octocat) may not purge everything.",
        );
        check(
            |p| p.credential = "Access login of alice@example.com",
            "site-ci (alice@example.com) purged 3 prefixes of example.com; allowed by site-deploy.",
        );
    }

    #[test]
    fn a_refusal_is_its_reason() {
        check(
            |p| {
                p.decision = "deny";
                p.reason = "site-ci may not purge everything.";
                p.outcome = None;
            },
            "site-ci may not purge everything.",
        );
        check(
            |p| {
                p.decision = "deny";
                p.principal = None;
                p.credential = "no credential";
                p.reason = "the call carries no credential.";
                p.outcome = None;
            },
            "Somebody (no credential) asked to purge 3 prefixes of example.com; refused: the call carries no credential.",
        );
    }
}
