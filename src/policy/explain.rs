//! Decisions in words.
use super::{Decision, Policy, Request};

impl Policy {
    /// One sentence.
    #[must_use]
    pub fn explain(&self, request: &Request<'_>, decision: &Decision) -> String {
        format!("{} {:?}", self.principal_name(request.principal), decision)
    }
}
