//! Webhooks: who sends them, which of their deliveries count, and what these start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Starts runs of a job when another service tells that something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Unique; deliveries go to `/hooks/{name}`.
    pub name: String,
    /// Who sends them, which decides how a delivery proves that it is theirs.
    #[serde(rename = "type")]
    pub sender: Sender,
    /// Names of the Worker's secrets that deliveries are proved with: one, or two while the sender
    /// changes from one to the other.
    pub secrets: Vec<String>,
    /// The job it starts.
    pub job: String,
    /// What a delivery must be about: `event`, or a JSON pointer into its body, with the value or one
    /// of the values that must stand there.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub when: Map<String, Value>,
    /// Parameters of the run, each by a JSON pointer into the body; they take the place of the job's
    /// of the same names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

impl Hook {
    /// What the names of secrets begin with, so that no hook can be pointed at another secret.
    pub const SECRET_PREFIX: &'static str = "HOOK_";

    /// The hook as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Who sends deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// GitHub, which signs each delivery.
    Github,
    /// GitLab, which sends a token along or signs.
    Gitlab,
    /// Whoever signs as <https://www.standardwebhooks.com> has it.
    Standard,
    /// Cloudflare Notifications, which send the secret itself along: of low assurance.
    Cloudflare,
}

impl Sender {
    /// What people call it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Gitlab => "GitLab",
            Self::Standard => "Standard Webhooks",
            Self::Cloudflare => "Cloudflare",
        }
    }
}
