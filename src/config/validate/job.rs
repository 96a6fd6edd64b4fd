//! Jobs: known kinds, existing principals, readable schedules.

use super::Check;
use crate::config::document::Job;
use crate::config::path::At;
use crate::config::words::quoted;
use crate::cron::{Expression, check_timezone};

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
        }
        self.principal_exists(&at.key("run_as"), &job.run_as);
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
