//! What the parts of a document say about one another, and values no type checks.
//!
//! Everything wrong is found at once, in the order of the document. What is not wrong but will
//! surprise (a condition not enforced yet, a grant that never applies) is a message.

mod grant;
mod hook;
mod job;
mod limits;
mod notification;
mod principal;
mod scopes;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};

use super::document::Document;
use super::problem::Problem;
use super::read::Source;
use crate::model::{At, RecordName, host_to_ascii, nearest, quoted};
use scopes::GroupScopes;

/// Finding the nearest of 2,700 operations takes a while; a document full of unknown names gets
/// it for this many.
const MAX_SUGGESTIONS: u32 = 20;

/// Enough for one round of corrections, and a bound for the answer and the time it takes.
const MAX_PROBLEMS: usize = 1_000;

/// Checks a document that was read, and tells what an operator should know before applying it.
///
/// # Errors
/// Every problem found, up to a thousand.
pub fn validate(source: &Source) -> Result<Vec<String>, Vec<Problem>> {
    let mut check = Check {
        source,
        principals: source
            .document
            .principals
            .iter()
            .map(|principal| principal.name.as_str())
            .collect(),
        scopes: GroupScopes::of_catalogue(),
        suggestions_left: MAX_SUGGESTIONS,
        problems: Vec::new(),
        messages: Vec::new(),
    };
    let Document {
        audit: _,
        root: _,
        outbound,
        principals,
        grants,
        jobs,
        hooks,
        notifications,
    } = &source.document;
    let root = At::Root;

    let at = root.key("outbound");
    let at = at.key("hosts");
    for (index, host) in outbound.hosts.iter().enumerate() {
        let is_plain = host_to_ascii(host).is_some_and(|ascii| ascii == *host)
            && RecordName::canonical(host, host).is_ok();
        if !is_plain {
            let message = format!(
                "{host:?} is no host name as it stands in addresses: lower-case ASCII, without scheme, port or star."
            );
            check.problem(&at.item(index), message);
        }
    }

    let at = root.key("principals");
    check.names(
        &at,
        principals.iter().map(|principal| principal.name.as_str()),
    );
    for (index, principal) in principals.iter().enumerate() {
        check.principal(&at.item(index), principal);
    }

    check.issuers(&at, principals);

    let at = root.key("grants");
    check.names(&at, grants.iter().map(|grant| grant.name.as_str()));
    for (index, grant) in grants.iter().enumerate() {
        check.grant(&at.item(index), grant);
    }

    let at = root.key("jobs");
    check.names(&at, jobs.iter().map(|job| job.name.as_str()));
    for (index, job) in jobs.iter().enumerate() {
        check.job(&at.item(index), job);
    }

    check.hooks(&root.key("hooks"), hooks);

    let at = root.key("notifications");
    check.names(&at, notifications.iter().map(|one| one.name.as_str()));
    for (index, one) in notifications.iter().enumerate() {
        check.notification(&at.item(index), one);
    }

    if check.problems.is_empty() {
        Ok(check.messages)
    } else {
        Err(check.problems)
    }
}

/// One pass over a document.
struct Check<'s> {
    source: &'s Source,
    principals: BTreeSet<&'s str>,
    scopes: GroupScopes,
    suggestions_left: u32,
    problems: Vec<Problem>,
    messages: Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, at: &At<'_>, message: impl Into<String>) {
        let problem = match self.problems.len() {
            ..MAX_PROBLEMS => self.source.problem(at, message.into()),
            MAX_PROBLEMS => Problem {
                line: None,
                field: String::new(),
                message: "there are further problems.".to_owned(),
            },
            _ => return,
        };
        self.problems.push(problem);
    }

    fn message(&mut self, message: String) {
        self.messages.push(message);
    }

    /// Records what is wrong with a value, if anything is.
    fn expect(&mut self, at: &At<'_>, result: Result<(), String>) {
        if let Err(message) = result {
            self.problem(at, message);
        }
    }

    /// Checks each of some texts.
    fn each(&mut self, at: &At<'_>, texts: &[String], check: impl Fn(&str) -> Result<(), String>) {
        for (index, text) in texts.iter().enumerate() {
            self.expect(&at.item(index), check(text));
        }
    }

    /// The end of a message about something unknown: what somebody may have meant, unless that was
    /// looked for often enough.
    fn nearest_of<'c>(&mut self, word: &str, known: impl IntoIterator<Item = &'c str>) -> String {
        self.suggest(|| nearest(word, known))
    }

    fn suggest<'c>(&mut self, find: impl FnOnce() -> Option<&'c str>) -> String {
        if self.suggestions_left == 0 {
            return ".".to_owned();
        }
        self.suggestions_left -= 1;
        find().map_or_else(
            || ".".to_owned(),
            |near| format!("; the nearest is {near:?}."),
        )
    }

    /// Names are well formed, and unique in their section.
    fn names<'n>(&mut self, at: &At<'_>, names: impl Iterator<Item = &'n str>) {
        let mut first_uses = BTreeMap::new();
        for (index, name) in names.enumerate() {
            let item = at.item(index);
            let here = item.key("name");
            self.expect(&here, syntax::name(name));
            if let Some(first) = first_uses.get(name) {
                let first = at.item(*first).to_path();
                let message = format!("the name {} is already used by {first}.", quoted(name));
                self.problem(&here, message);
            } else {
                first_uses.insert(name, index);
            }
        }
    }

    /// A principal of this name exists.
    fn principal_exists(&mut self, at: &At<'_>, name: &str) {
        if self.principals.contains(name) {
            return;
        }
        let source = self.source;
        let known = source.document.principals.iter();
        let near = self.nearest_of(name, known.map(|principal| principal.name.as_str()));
        self.problem(at, format!("there is no principal {}{near}", quoted(name)));
    }
}
