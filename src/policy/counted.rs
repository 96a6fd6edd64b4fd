//! Which grants a call uses up.

use crate::catalog::Family;
use crate::config::document::Effect;

use super::grant::{Grant, Verdict, Why};
use super::index::Next;
use super::{Counts, GrantId, Policy, Reason, Request};

impl Policy {
    /// Adds the grants that allow the call and count how often to those `found` before, once each.
    pub fn count(&self, request: &Request<'_>, found: &mut Vec<(GrantId, Counts)>) {
        let Some(ask) = self.ask(request).filter(|_| self.counts) else {
            return;
        };
        let mut add = |grant: GrantId| {
            if let Some(counts) = self.grant(grant).map(Grant::counts)
                && !counts.is_empty()
                && !found.iter().any(|(known, _)| *known == grant)
            {
                found.push((grant, counts));
            }
        };
        self.each(&ask, request, |place, item| {
            let decision = self.decide_one(&ask, request, place, item);
            // Seeing a zone takes nothing of the grant that shows it.
            if decision.reason == Reason::Visible {
                return;
            }
            match decision.grant.filter(|_| decision.is_allowed()) {
                Some(grant) => add(grant),
                // What comes back is judged record by record: each grant that may show some is used.
                None => {
                    self.candidates(&ask, |block, via| {
                        for scope in place.scopes() {
                            self.index.read(block, scope, None, |entry, _| {
                                let grant = self.grants.get(entry.grant as usize);
                                let verdict =
                                    grant.map(|grant| grant.judge(via, item, &request.moment));
                                if entry.effect() == Effect::Allow
                                    && verdict == Some(Verdict::Unjudged(Why::Unread(Family::Dns)))
                                {
                                    add(GrantId(entry.grant));
                                }
                                Next::Entry
                            });
                        }
                        Next::Entry
                    });
                }
            }
        });
    }
}
