//! The secrets of hooks: those that are there, and alarms for those that are not.

use crate::config::document::{Document, Hook};
use crate::gateway::Secrets;
use crate::identity::{HookSecret, is_usable};
use crate::jobs::Alarm;
use crate::model::Timestamp;

/// The secrets of a hook that are there and of use.
pub(super) fn usable<'h>(hook: &'h Hook, secrets: &impl Secrets) -> Vec<HookSecret<'h>> {
    let found = hook.secrets.iter().filter_map(|name| {
        let value = secrets.secret(name)?;
        is_usable(hook.sender, &value).then_some(HookSecret { name, value })
    });
    found.collect()
}

/// The secrets that a hook names and that are not there or of no use.
pub fn missing_secrets<'h>(hook: &'h Hook, secrets: &impl Secrets) -> Vec<&'h str> {
    let usable = usable(hook, secrets);
    let mut names: Vec<&str> = hook.secrets.iter().map(String::as_str).collect();
    names.retain(|name| !usable.iter().any(|secret| secret.name == *name));
    names
}

/// An alarm for every secret that a hook names and that is not there or of no use.
pub fn secret_alarms(document: &Document, secrets: &impl Secrets, now: Timestamp) -> Vec<Alarm> {
    let mut found = Vec::new();
    for hook in &document.hooks {
        for secret in missing_secrets(hook, secrets) {
            found.push(Alarm {
                kind: "hook_secret_missing",
                job: Some(hook.job.clone()),
                run: None,
                since: now,
                message: format!(
                    "The hook {} names the secret {secret}, which is not set in the Worker or not of the form its sender needs.",
                    hook.name
                ),
            });
        }
    }
    found
}
