//! Notifications: who is told how runs ended.

use serde_json::Value;

use crate::model::typed::{Typed as _, object, words};

object! {
    /// Tells somebody when runs end.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Notification {
        /// Unique.
        pub name: String,
        /// What form it has.
        pub form as "type": NotificationForm,
        /// The Worker's secret that holds the address it is posted to; of commit statuses it is known.
        pub url: Option<String> = default,
        /// The Worker's secret that it is signed with, or GitHub's token.
        pub key: Option<String> = default,
        /// Statuses at GitHub: owner and name, such as `acme/site`.
        pub repository: Option<String> = default,
        /// Statuses at GitHub: the API of another one.
        pub api: Option<String> = default,
        /// The jobs whose runs it tells of; of all when empty.
        pub jobs: Vec<String> = default,
        /// The states it tells of: those that somebody should look at when empty.
        pub outcomes: Vec<String> = default,
    }
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
        self.write()
    }
}

words! {
    /// What form a notification has.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum NotificationForm {
        /// JSON, signed as <https://www.standardwebhooks.com> has it.
        Standard = "standard",
        /// `{text}`, as Slack and what is compatible with it take.
        Slack = "slack",
        /// The status, at GitHub, of the deployment that a run carried out or of the commit it was about.
        Github = "github",
    }
}
