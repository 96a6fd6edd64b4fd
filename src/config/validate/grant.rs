//! Grants: whom they are for, what they name, and whether they can apply to anything.

use super::scopes::Scopes;
use super::{Check, syntax};
use crate::catalog;
use crate::config::document::Grant;
use crate::model::{At, quoted};

impl Check<'_> {
    pub(super) fn grant(&mut self, at: &At<'_>, grant: &Grant) {
        if grant.principals.is_empty() {
            self.problem(&at.key("principals"), "the grant is for nobody.");
        }
        let principals = at.key("principals");
        for (index, name) in grant.principals.iter().enumerate() {
            self.principal_exists(&principals.item(index), name);
        }

        let scopes = self.subject(at, grant);
        self.places(&at.key("zones"), &grant.zones);
        self.places(&at.key("accounts"), &grant.accounts);
        if let Some(why) = scopes.out_of_reach(!grant.zones.is_empty(), !grant.accounts.is_empty())
        {
            self.message(format!(
                "grant {}: its permissions and operations {why}.",
                grant.name
            ));
        }

        self.limits(at, grant);
    }

    /// Checks permissions and operations; says what they are about.
    fn subject(&mut self, at: &At<'_>, grant: &Grant) -> Scopes {
        let mut scopes = Scopes::default();
        if grant.permissions.is_empty() && grant.operations.is_empty() {
            self.problem(at, "the grant names no permissions and no operations.");
        }
        let permissions = at.key("permissions");
        for (index, name) in grant.permissions.iter().enumerate() {
            if let Some(group) = catalog::group_named(name) {
                scopes.add(self.scopes.of(group));
            } else {
                scopes.add(Scopes::ANY);
                let near = self.suggest(|| Some(catalog::nearest_group(name)));
                let message = format!("there is no permission group {}{near}", quoted(name));
                self.problem(&permissions.item(index), message);
            }
        }
        let operations = at.key("operations");
        for (index, name) in grant.operations.iter().enumerate() {
            if let Some(operation) = catalog::operation_named(name) {
                scopes.add(Scopes::of(&operation));
                continue;
            }
            scopes.add(Scopes::ANY);
            if name.contains([' ', '/']) {
                if !syntax::route(name) {
                    let message = format!(
                        "{} is no operation: write its id, or method and path such as \"GET /zones/{{zone_id}}\".",
                        quoted(name)
                    );
                    self.problem(&operations.item(index), message);
                }
                continue;
            }
            let near = self.nearest_of(
                name,
                catalog::operations().map(|operation| operation.name()),
            );
            let message = format!("there is no operation {}{near}", quoted(name));
            self.problem(&operations.item(index), message);
        }
        scopes
    }

    /// Zones or accounts: by name or id, or `*` alone.
    fn places(&mut self, at: &At<'_>, texts: &[String]) {
        for (index, text) in texts.iter().enumerate() {
            let here = at.item(index);
            match text.as_str() {
                "*" if texts.len() > 1 => {
                    self.problem(&here, "\"*\" means all, so it must stand alone.");
                }
                "*" => {}
                other if other.contains('*') => {
                    let message = format!(
                        "{} is no name: only \"*\" alone stands for others.",
                        quoted(other)
                    );
                    self.problem(&here, message);
                }
                other => self.expect(&here, syntax::text(other)),
            }
        }
    }
}
