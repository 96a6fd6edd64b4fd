//! Webhooks: who sends them, which of their deliveries count, and what these start.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::typed::{Typed as _, object, words};

object! {
    /// Starts runs of a job when another service tells that something happened.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Hook {
        /// Unique; deliveries go to `/hooks/{name}`.
        pub name: String,
        /// Who sends them, which decides how a delivery proves that it is theirs.
        pub sender as "type": Sender,
        /// Names of the Worker's secrets that deliveries are proved with: one, or two while the sender
        /// changes from one to the other.
        pub secrets: Vec<String>,
        /// The job it starts.
        pub job: String,
        /// What a delivery must be about: `event`, or a JSON pointer into its body, with the value or one
        /// of the values that must stand there.
        pub when: Map<String, Value> = default,
        /// Parameters of the run, each by a JSON pointer into the body; they take the place of the job's
        /// of the same names.
        pub params: BTreeMap<String, String> = default,
    }
}

impl Hook {
    /// What the names of secrets begin with, so that no hook can be pointed at another secret.
    pub const SECRET_PREFIX: &'static str = "HOOK_";

    /// The hook as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.write()
    }
}

words! {
    /// Who sends deliveries.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Sender {
        /// GitHub, which signs each delivery.
        Github = "github",
        /// GitLab, which sends a token along or signs.
        Gitlab = "gitlab",
        /// Whoever signs as <https://www.standardwebhooks.com> has it.
        Standard = "standard",
        /// Cloudflare Notifications, which send the secret itself along: of low assurance.
        Cloudflare = "cloudflare",
    }
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
