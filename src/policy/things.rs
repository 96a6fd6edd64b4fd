//! Conditions that list names: settings, phases, lists, namespaces and keys, buckets, datasets.

use crate::catalog::Family;
use crate::config::Resolution;
use crate::config::document::{self, Effect};
use crate::model::AccountId;

use super::grant::{Verdict, Why};

/// Something of a product that a call is about, as path or body names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// The product, by the condition that speaks about it.
    pub family: Family,
    /// A setting's id, a phase, a list's id, a namespace's id, a bucket or a dataset.
    pub name: String,
    /// The key within a namespace; none where the call is about all of them.
    pub key: Option<String>,
}

impl Thing {
    /// A thing without a key.
    #[must_use]
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self {
            family,
            name: name.into(),
            key: None,
        }
    }
}

/// The names a grant lists for one product. What is not listed is not meant.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) family: Family,
    /// Whether any is meant: no name is written, or one that may be any. A title may be written that
    /// stands for nothing: then none is.
    is_any_name: bool,
    pub(super) names: Box<[Box<str>]>,
    /// Keys within a namespace; empty: any key.
    pub(super) keys: Box<[Box<str>]>,
}

impl Listed {
    /// The lists of a grant. A namespace's title stands for the ids it had when it was applied. One that was
    /// not looked up then may be any: an allow does not mean it, any other grant all of them.
    pub(super) fn compile(
        written: &document::Grant,
        resolution: &Resolution,
        accounts: Option<&[AccountId]>,
    ) -> Vec<Self> {
        let document::Grant {
            settings,
            rulesets,
            lists,
            kv,
            r2,
            graphql,
            ..
        } = written;
        let plain = |family, names: Option<&Vec<String>>| {
            names.map(|names| Self {
                family,
                is_any_name: names.is_empty(),
                names: names.iter().map(|name| name.as_str().into()).collect(),
                keys: Box::default(),
            })
        };
        let kv = kv.as_ref().map(|kv| {
            let mut is_any_name = kv.namespaces.is_empty();
            let mut names = Vec::new();
            for title in &kv.namespaces {
                match resolution.ids_of("kv_namespace", title, accounts) {
                    Some(ids) => names.extend(ids.into_iter().map(Into::into)),
                    None => is_any_name |= written.effect != Effect::Allow,
                }
            }
            Self {
                family: Family::Kv,
                is_any_name,
                names: names.into(),
                keys: kv.keys.iter().map(|key| key.as_str().into()).collect(),
            }
        });
        [
            plain(Family::Settings, settings.as_ref().map(|it| &it.ids)),
            plain(Family::Rulesets, rulesets.as_ref().map(|it| &it.phases)),
            plain(Family::Lists, lists.as_ref().map(|it| &it.ids)),
            kv,
            plain(Family::R2, r2.as_ref().map(|it| &it.buckets)),
            plain(Family::Graphql, graphql.as_ref().map(|it| &it.datasets)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Judges a thing. A call about all keys is not one about the listed ones.
    pub(super) fn judge(&self, thing: &Thing) -> Verdict {
        if thing.family != self.family {
            return Verdict::Unjudged(Why::Unread(self.family));
        }
        if !self.is_any_name && !self.names.iter().any(|name| **name == thing.name) {
            return Verdict::Fails(Why::Name(self.family));
        }
        match &thing.key {
            _ if self.keys.is_empty() => Verdict::Holds,
            None => Verdict::Unjudged(Why::Unread(self.family)),
            Some(key) if self.keys.iter().any(|pattern| is_key(pattern, key)) => Verdict::Holds,
            Some(_) => Verdict::Fails(Why::Key),
        }
    }
}

/// Whether a key is meant: a final `*` stands for whatever follows.
fn is_key(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => pattern == key,
    }
}
