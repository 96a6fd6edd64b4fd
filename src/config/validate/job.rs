//! Jobs: known kinds, existing principals, readable schedules.

use super::Check;
use crate::config::document::Job;
use crate::cron::{Expression, MAX_RUN_ALL, Missed, check_timezone};
use crate::model::{At, quoted};

/// Every job kind of the schema.
const KINDS: [&str; 21] = [
    "cache.purge",
    "dns.sync",
    "dns.snapshot",
    "dns.restore",
    "dns.dynamic",
    "firewall.ip_list_sync",
    "firewall.managed_rules",
    "firewall.rate_limit",
    "zone.settings",
    "page_rules.temporary",
    "kv.populate",
    "workers.deploy",
    "pages.deploy",
    "analytics.report",
    "lb.health_export",
    "access.provision",
    "tokens.check",
    "tokens.rotate",
    "audit.ingest",
    "certificates.check",
    "api.calls",
];

impl Check<'_> {
    pub(super) fn job(&mut self, at: &At<'_>, job: &Job) {
        if !KINDS.contains(&job.kind.as_str()) {
            let near = self.nearest_of(&job.kind, KINDS);
            let message = format!("there is no job kind {}{near}", quoted(&job.kind));
            self.problem(&at.key("kind"), message);
        }
        if let Some(schedule) = &job.schedule {
            self.expect(&at.key("schedule"), fires(schedule));
        }
        if let Some(timezone) = &job.timezone {
            self.expect(&at.key("timezone"), check_timezone(timezone));
            if job.schedule.is_none() {
                self.problem(
                    &at.key("timezone"),
                    "it means nothing without \"schedule\".",
                );
            }
        }
        if let Missed::RunAll(most) = job.missed {
            let at = at.key("missed");
            self.in_range(&at.key("run_all"), Some(most), 1, MAX_RUN_ALL);
        }
        for (field, value, least, most) in [
            ("timeout_secs", job.timeout_secs, 10, 86_400),
            ("max_attempts", job.max_attempts, 1, 20),
            ("max_calls", job.max_calls, 1, 100_000),
            ("keep_days", job.keep_days, 1, 3_650),
        ] {
            self.in_range(&at.key(field), value, least, most);
        }
        self.principal_exists(&at.key("run_as"), &job.run_as);
    }

    fn in_range(&mut self, at: &At<'_>, value: Option<u32>, least: u32, most: u32) {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            self.problem(at, format!("it must be from {least} to {most}."));
        }
    }
}

/// An expression that is well formed and comes round some day.
fn fires(schedule: &str) -> Result<(), String> {
    if Expression::parse(schedule)?.never_fires() {
        return Err(format!(
            "{} never comes: none of its months has such a day.",
            quoted(schedule)
        ));
    }
    Ok(())
}
