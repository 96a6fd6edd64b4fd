//! Notifications: what each form needs, secrets of their own, jobs and outcomes that there are.

use super::Check;
use crate::config::document::{Notification, NotificationForm};
use crate::config::words::quoted;
use crate::model::{At, WebUrl};

impl Check<'_> {
    pub(super) fn notification(&mut self, at: &At<'_>, one: &Notification) {
        let is_github = one.form == NotificationForm::Github;
        let is_signed = one.form == NotificationForm::Standard;
        for (field, secret, is_needed) in [
            ("url", &one.url, !is_github),
            ("key", &one.key, is_github || is_signed),
        ] {
            let here = at.key(field);
            match secret {
                None if is_needed => {
                    self.problem(&here, "it is missing: the name of a secret of the Worker.");
                }
                Some(_) if !is_needed => {
                    self.problem(&here, "it means nothing for this type.");
                }
                Some(name) => self.expect(&here, secret_name(name)),
                None => {}
            }
        }
        let repository = at.key("repository");
        match &one.repository {
            None if is_github => self.problem(&repository, "it is missing."),
            Some(_) if !is_github => self.problem(&repository, "it means nothing for this type."),
            Some(name) if !is_repository(name) => {
                self.problem(
                    &repository,
                    "it must be owner and name, such as \"acme/site\".",
                );
            }
            _ => {}
        }
        if let Some(api) = &one.api {
            let is_address = WebUrl::parse(api).is_some_and(|url| url.is_address());
            if !is_github || !is_address {
                self.problem(
                    &at.key("api"),
                    "it is a plain address, for the type \"github\" only.",
                );
            }
        }
        let jobs: Vec<&str> = {
            let source = self.source;
            source.document.jobs.iter().map(|job| &*job.name).collect()
        };
        let here = at.key("jobs");
        self.each(&here, &one.jobs, |job| {
            if jobs.contains(&job) {
                return Ok(());
            }
            Err(format!("there is no job {}.", quoted(job)))
        });
        self.each(&at.key("outcomes"), &one.outcomes, |outcome| {
            if Notification::OUTCOMES.contains(&outcome) {
                return Ok(());
            }
            let outcomes = Notification::OUTCOMES.join(", ");
            Err(format!(
                "{} is no end of a run: {outcomes}.",
                quoted(outcome)
            ))
        });
    }
}

/// `NOTIFY_` and capitals, digits and `_`, at most 64 in all.
fn secret_name(text: &str) -> Result<(), String> {
    let is_name = text
        .strip_prefix(Notification::SECRET_PREFIX)
        .is_some_and(|rest| {
            let mut bytes = rest.bytes();
            !rest.is_empty()
                && text.len() <= 64
                && bytes
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        });
    if is_name {
        return Ok(());
    }
    Err(format!(
        "{} is no name of a notification's secret: it must begin with {} and have capitals, digits and \"_\", at most 64 in all.",
        quoted(text),
        Notification::SECRET_PREFIX
    ))
}

fn is_repository(text: &str) -> bool {
    let is_word = |word: &str| {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !matches!(word, "" | "." | "..") && word.chars().all(is_fit)
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}
