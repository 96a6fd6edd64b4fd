//! Hooks: secrets that are theirs, an existing job, filters and parameters that can be read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Check;
use super::syntax::secret_name;
use crate::config::document::{Hook, Sender};
use crate::model::{At, is_pointer, quoted};

/// Job kinds that a delivery of low assurance may start: however often one comes, nothing is lost.
/// Snapshots are not among them, as many of them push old ones out.
const HARMLESS: [&str; 6] = [
    "cache.purge",
    "analytics.report",
    "lb.health_export",
    "tokens.check",
    "audit.ingest",
    "certificates.check",
];

impl Check<'_> {
    pub(super) fn hooks(&mut self, at: &At<'_>, hooks: &[Hook]) {
        self.names(at, hooks.iter().map(|hook| hook.name.as_str()));
        let mut first_uses = BTreeMap::new();
        for (index, hook) in hooks.iter().enumerate() {
            self.hook(&at.item(index), hook);
            for secret in &hook.secrets {
                let first = *first_uses.entry(secret).or_insert(&hook.name);
                if *first != hook.name {
                    self.message(format!(
                        "hooks {first} and {}: they share the secret {secret}, so what is sent to one could be sent on to the other.",
                        hook.name
                    ));
                }
            }
        }
    }

    fn hook(&mut self, at: &At<'_>, hook: &Hook) {
        if matches!(hook.name.as_str(), "." | "..") {
            self.problem(&at.key("name"), "no address can end in it.");
        }
        let secrets = at.key("secrets");
        if !(1..=2).contains(&hook.secrets.len()) {
            let message =
                "it names one secret, or two while the sender changes from one to the other.";
            self.problem(&secrets, message);
        }
        self.each(&secrets, &hook.secrets, |name| {
            secret_name(name, Hook::SECRET_PREFIX, "hook")
        });
        if let [one, other] = hook.secrets.as_slice()
            && one == other
        {
            self.problem(&secrets.item(1), "it is the same as the first.");
        }
        let source = self.source;
        let jobs = &source.document.jobs;
        let job = jobs.iter().find(|job| job.name == hook.job);
        if job.is_none() {
            let near = self.nearest_of(&hook.job, jobs.iter().map(|job| job.name.as_str()));
            let message = format!("there is no job {}{near}", quoted(&hook.job));
            self.problem(&at.key("job"), message);
        }
        if hook.sender == Sender::Cloudflare {
            self.low_assurance(at, hook, job.map(|job| job.kind.as_str()));
        }
        let when = at.key("when");
        for (field, wanted) in &hook.when {
            let here = when.key(field);
            if field != "event" {
                self.expect(&here, pointer(field));
            }
            self.expect(&here, values(wanted));
        }
        let params = at.key("params");
        for (name, text) in &hook.params {
            self.expect(&params.key(name), pointer(text));
        }
    }

    /// Whoever knows the secret can make Cloudflare's notifications up, and each of them passes it on.
    fn low_assurance(&mut self, at: &At<'_>, hook: &Hook, kind: Option<&str>) {
        if !hook.params.is_empty() {
            let message =
                "a hook of type \"cloudflare\" has no \"params\": its job runs with its own only.";
            self.problem(&at.key("params"), message);
        }
        if let Some(kind) = kind.filter(|kind| !HARMLESS.contains(kind)) {
            let message = format!(
                "a hook of type \"cloudflare\" starts only jobs that can be repeated without harm, which one of the kind {} cannot: {} can.",
                quoted(kind),
                HARMLESS.join(", ")
            );
            self.problem(&at.key("job"), message);
        }
    }
}

fn pointer(text: &str) -> Result<(), String> {
    if is_pointer(text) {
        return Ok(());
    }
    Err(format!(
        "{} is no JSON pointer: one begins with \"/\", and after \"~\" comes 0 or 1 (RFC 6901).",
        quoted(text)
    ))
}

/// What a field may be compared with.
fn values(wanted: &Value) -> Result<(), String> {
    let is_one = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    match wanted {
        Value::Array(list) if list.is_empty() => {
            Err("the list is empty, so no delivery would do.".to_owned())
        }
        Value::Array(list) if list.iter().all(is_one) => Ok(()),
        one if is_one(one) => Ok(()),
        _ => Err("it must be a text, a number, true or false, or a list of these.".to_owned()),
    }
}
