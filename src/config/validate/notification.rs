//! Notifications: what each form needs, secrets of their own, jobs and outcomes that there are.

use super::Check;
use super::syntax::secret_name;
use crate::config::document::{Notification, NotificationForm};
use crate::config::words::is_repository;
use crate::model::{At, WebUrl, quoted};

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
                Some(name) => self.expect(
                    &here,
                    secret_name(name, Notification::SECRET_PREFIX, "notification"),
                ),
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
