//! What an apply would change, by name, and the document as TOML again.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::Document;
use crate::model::typed::Typed;

/// One thing an apply changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it is.
    pub kind: ChangeKind,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// How it was; absent for what is new.
    pub before: Option<Value>,
    /// How it will be; absent for what goes.
    pub after: Option<Value>,
}

/// What a [`Change`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// An option of the document as a whole.
    Setting,
    /// A principal; with it go its keys.
    Principal,
    /// A grant.
    Grant,
    /// A job.
    Job,
    /// A hook.
    Hook,
    /// A notification.
    Notification,
}

/// What happens to the thing a [`Change`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Create,
    /// It stays under its name but differs.
    Update,
    /// It goes.
    Delete,
}

/// The changes that lead from one valid document to another: section by section, what is new or
/// differs in the order of `after`, then what goes in the order of `before`. Order itself is no
/// change.
#[must_use]
pub fn plan(before: &Document, after: &Document) -> Vec<Change> {
    let mut changes = Vec::new();
    let settings = |document: &Document| {
        [
            ("audit".to_owned(), document.audit.write()),
            ("root".to_owned(), document.root.write()),
            ("outbound".to_owned(), document.outbound.write()),
        ]
    };
    section(
        ChangeKind::Setting,
        settings(before),
        settings(after),
        &mut changes,
    );
    let principals = |document: &Document| named(&document.principals, |item| &item.name);
    section(
        ChangeKind::Principal,
        principals(before),
        principals(after),
        &mut changes,
    );
    let grants = |document: &Document| named(&document.grants, |item| &item.name);
    section(
        ChangeKind::Grant,
        grants(before),
        grants(after),
        &mut changes,
    );
    let jobs = |document: &Document| named(&document.jobs, |item| &item.name);
    section(ChangeKind::Job, jobs(before), jobs(after), &mut changes);
    let hooks = |document: &Document| named(&document.hooks, |item| &item.name);
    section(ChangeKind::Hook, hooks(before), hooks(after), &mut changes);
    let notifications = |document: &Document| named(&document.notifications, |item| &item.name);
    section(
        ChangeKind::Notification,
        notifications(before),
        notifications(after),
        &mut changes,
    );
    changes
}

fn named<T: Typed>(items: &[T], name: impl Fn(&T) -> &String) -> Vec<(String, Value)> {
    items
        .iter()
        .map(|item| (name(item).clone(), item.write()))
        .collect()
}

fn section(
    kind: ChangeKind,
    before: impl IntoIterator<Item = (String, Value)>,
    after: impl IntoIterator<Item = (String, Value)>,
    changes: &mut Vec<Change>,
) {
    let mut gone = Map::new();
    let mut order = Vec::new();
    for (name, item) in before {
        order.push(name.clone());
        gone.insert(name, item);
    }
    for (name, item) in after {
        let was = gone.remove(&name);
        if was.as_ref() == Some(&item) {
            continue;
        }
        changes.push(Change {
            kind,
            name,
            action: if was.is_some() {
                Action::Update
            } else {
                Action::Create
            },
            before: was,
            after: Some(item),
        });
    }
    for name in order {
        if let Some(item) = gone.remove(&name) {
            changes.push(Change {
                kind,
                name,
                action: Action::Delete,
                before: Some(item),
                after: None,
            });
        }
    }
}
