//! Zone and account names, and the ids they stood for when the document was applied.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Document, Grant};
use super::problem::Problem;
use super::read::Source;
use crate::model::typed::{Typed as _, object};
use crate::model::{AccountId, At, ZoneId};

/// What must be looked up before a document can be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names<'d> {
    /// Zones, each once, in the order of the document.
    pub zones: Vec<Name<'d>>,
    /// Accounts, each once, in the order of the document.
    pub accounts: Vec<Name<'d>>,
    /// What grants name by title, each once for each set of accounts.
    pub titles: Vec<Title<'d>>,
}

/// Something of an account that is named by its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title<'d> {
    /// `kv_namespace` or `d1`.
    pub kind: &'d str,
    /// The title.
    pub text: &'d str,
    /// The accounts of the grant, as written.
    pub accounts: &'d [String],
    /// Where it occurs.
    pub field: String,
}

impl Title<'_> {
    /// As [`Resolution::resources`] has it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind, self.text)
    }
}

/// What may be named by its title.
const TITLED: [&str; 2] = ["kv_namespace", "d1"];

/// Whether a text has the form of an id: 32 hexadecimal digits, as D1 has them with hyphens.
fn is_id(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    digits.clone().count() == 32
        && digits
            .clone()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A zone or account as written: a name, or an id where it has the form of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name<'d> {
    /// The text.
    pub text: &'d str,
    /// Where it first occurs, such as `grants[0].zones[0]`.
    pub field: String,
}

impl Name<'_> {
    /// The id, if this is a zone that is written as one.
    #[must_use]
    pub fn zone_id(&self) -> Option<ZoneId> {
        self.text.parse().ok()
    }

    /// The id, if this is an account that is written as one.
    #[must_use]
    pub fn account_id(&self) -> Option<AccountId> {
        self.text.parse().ok()
    }
}

/// Every zone and account that the grants name, but for `*`, and every zone that jobs name: in the
/// parameters of every kind, `zones` is a list of zones, each a name, an id or a pattern with `*`.
#[must_use]
pub fn names_to_resolve(document: &Document) -> Names<'_> {
    let mut names = Names::default();
    let mut known_zones = BTreeSet::new();
    let mut known_accounts = BTreeSet::new();
    let grants = At::Root;
    let grants = grants.key("grants");
    for (index, grant) in document.grants.iter().enumerate() {
        let at = grants.item(index);
        collect(
            &grant.zones,
            &at.key("zones"),
            &mut known_zones,
            &mut names.zones,
        );
        collect(
            &grant.accounts,
            &at.key("accounts"),
            &mut known_accounts,
            &mut names.accounts,
        );
        collect_titles(grant, &at, &mut names.titles);
    }
    let jobs = At::Root;
    let jobs = jobs.key("jobs");
    for (index, job) in document.jobs.iter().enumerate() {
        let at = jobs.item(index);
        let at = at.key("params");
        let zones = at.key("zones");
        let Some(serde_json::Value::Array(texts)) = job.params.get("zones") else {
            continue;
        };
        for (index, text) in texts.iter().enumerate() {
            if let Some(text) = text.as_str().filter(|text| !text.contains('*'))
                && known_zones.insert(text)
            {
                names.zones.push(Name {
                    text,
                    field: zones.item(index).to_path().to_string(),
                });
            }
        }
    }
    names
}

/// Namespaces and databases that a grant names other than by their ids.
fn collect_titles<'d>(grant: &'d Grant, at: &At<'_>, titles: &mut Vec<Title<'d>>) {
    let mut add = |kind, text: &'d str, field: &At<'_>| {
        if !is_id(text) {
            titles.push(Title {
                kind,
                text,
                accounts: &grant.accounts,
                field: field.to_path().to_string(),
            });
        }
    };
    if let Some(kv) = &grant.kv {
        let at = at.key("kv");
        let at = at.key("namespaces");
        for (index, title) in kv.namespaces.iter().enumerate() {
            add("kv_namespace", title, &at.item(index));
        }
    }
    let bindings = grant.workers.as_ref().and_then(|it| it.bindings.as_ref());
    let at = at.key("workers");
    let at = at.key("bindings");
    for (index, binding) in bindings.into_iter().flatten().enumerate() {
        if let Some((kind, title)) = binding.split_once(':')
            && TITLED.contains(&kind)
        {
            add(kind, title, &at.item(index));
        }
    }
}

fn collect<'d>(
    texts: &'d [String],
    at: &At<'_>,
    known: &mut BTreeSet<&'d str>,
    names: &mut Vec<Name<'d>>,
) {
    for (index, text) in texts.iter().enumerate() {
        if text != "*" && known.insert(text) {
            names.push(Name {
                text,
                field: at.item(index).to_path().to_string(),
            });
        }
    }
}

object! {
    stored
    /// What the names of a document stood for when it was applied. Stored beside it.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Resolution {
        /// By zone as written.
        pub zones: BTreeMap<String, ZoneRef> = default,
        /// By account as written.
        pub accounts: BTreeMap<String, AccountRef> = default,
        /// By type and title, such as `kv_namespace:site-cache`: the id in each account that has one.
        pub resources: BTreeMap<String, BTreeMap<String, String>> = default,
    }
}

object! {
    stored
    /// A zone that exists.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ZoneRef {
        /// Its id.
        pub id: ZoneId,
        /// Its name.
        pub name: String,
        /// The account it belongs to.
        pub account: AccountId,
    }
}

object! {
    stored
    /// An account that exists.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AccountRef {
        /// Its id.
        pub id: AccountId,
        /// Its name.
        pub name: String,
    }
}

impl Resolution {
    /// Reads what [`Resolution::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn from_json(value: serde_json::Value) -> Result<Self, String> {
        Self::read(value).map_err(|misfit| misfit.to_string())
    }

    /// The ids of a resource that a grant for these accounts, or for every account, names by title;
    /// what has no title, or is written as its id, stands for itself. Empty where only other accounts
    /// have the title; `None` where it was not looked up, so that nobody knows what it stands for.
    #[must_use]
    pub fn ids_of(
        &self,
        kind: &str,
        text: &str,
        accounts: Option<&[AccountId]>,
    ) -> Option<Vec<String>> {
        match (self.resources.get(&format!("{kind}:{text}")), accounts) {
            (None, _) if TITLED.contains(&kind) && !is_id(text) => None,
            (None, _) => Some(vec![text.to_owned()]),
            (Some(ids), None) => Some(ids.values().cloned().collect()),
            (Some(ids), Some(accounts)) => {
                let ids = accounts.iter().filter_map(|id| ids.get(&id.to_string()));
                Some(ids.cloned().collect())
            }
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.write()
    }

    /// A problem for every zone and account of the document that was looked up in vain.
    #[must_use]
    pub fn missing(&self, source: &Source) -> Vec<Problem> {
        let names = names_to_resolve(&source.document);
        let zones = names
            .zones
            .iter()
            .filter(|name| !self.zones.contains_key(name.text))
            .map(|name| (name, "upstream account has no zone", "no zone has the id"));
        let accounts = names
            .accounts
            .iter()
            .filter(|name| !self.accounts.contains_key(name.text))
            .map(|name| {
                (
                    name,
                    "upstream credential has no account",
                    "no account has the id",
                )
            });
        let titles = names.titles.iter().filter_map(|title| {
            let found = self.resources.get(&title.key());
            let is_found = found.is_some_and(|ids| {
                title.accounts.iter().any(|account| {
                    let account = self.accounts.get(account);
                    account.is_some_and(|account| ids.contains_key(&account.id.to_string()))
                })
            });
            let message = if title.accounts.iter().any(|account| account == "*") {
                format!(
                    "{:?} is a title, which differs from account to account: name the accounts of the grant, or write the id.",
                    title.text
                )
            } else {
                let noun = if title.kind == "d1" { "D1 database" } else { "KV namespace" };
                format!("the accounts of the grant have no {noun} {:?}.", title.text)
            };
            (!is_found).then(|| Problem {
                line: source.line_of(&title.field),
                field: title.field.clone(),
                message,
            })
        });
        let titles: Vec<Problem> = titles.collect();
        zones
            .chain(accounts)
            .map(|(name, unknown_name, unknown_id)| Problem {
                line: source.line_of(&name.field),
                field: name.field.clone(),
                message: if name.zone_id().is_some() {
                    format!("{unknown_id} {:?}.", name.text)
                } else {
                    format!("the {unknown_name} {:?}.", name.text)
                },
            })
            .chain(titles)
            .collect()
    }
}
