//! Notifications: who is told how runs ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tells somebody when runs end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// Unique.
    pub name: String,
    /// What form it has.
    #[serde(rename = "type")]
    pub form: NotificationForm,
    /// The Worker's secret that holds the address it is posted to; of commit statuses it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Worker's secret that it is signed with, or GitHub's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Statuses at GitHub: owner and name, such as `acme/site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Statuses at GitHub: the API of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// The jobs whose runs it tells of; of all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<String>,
    /// The states it tells of: those that somebody should look at when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<String>,
}

impl Notification {
    /// What the names of secrets begin with.
    pub const SECRET_PREFIX: &'static str = "NOTIFY_";
    /// The states a run may end in.
    pub const OUTCOMES: [&'static str; 5] = [
        "succeeded",
        "failed",
        "cancelled",
        "needs_approval",
        "unknown",
    ];
    /// Those it tells of where it does not say.
    pub const USUAL_OUTCOMES: [&'static str; 3] = ["failed", "needs_approval", "unknown"];

    /// The notification as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// What form a notification has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationForm {
    /// JSON, signed as <https://www.standardwebhooks.com> has it.
    Standard,
    /// `{text}`, as Slack and what is compatible with it take.
    Slack,
    /// The status, at GitHub, of the deployment that a run carried out or of the commit it was about.
    Github,
}
