//! What an analytics query reads: the zones, accounts and datasets it names.
//!
//! The document is parsed, never searched. What cannot be told from it with certainty is an error,
//! so that a query is either judged in full or refused. The query is written again from its tokens,
//! with the one operation that was judged and the fragments that one uses.

mod lexer;
mod parser;

use crate::model::json::Json;
use crate::model::{AccountId, ZoneId, quoted};
use lexer::Token;
use parser::{Document, Field, Operation, Selection, Value};

/// Most bytes of a query.
const MAX_BYTES: usize = 64 * 1024;

/// Most fields of a query once its fragments are put in.
const MAX_FIELDS: usize = 2_000;

/// Most ids of zones and accounts.
const MAX_IDS: usize = 100;

/// Most selections of zones and accounts, each of which may be an alias of its own.
const MAX_NODES: usize = 50;

/// Why a query cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphqlError {
    /// The body is not one query with its variables.
    #[error(
        "the body must be one JSON object with the texts query and operationName and the object variables, not {0}"
    )]
    Body(&'static str),
    /// The query is no GraphQL; the line is counted from 1.
    #[error("line {0}: {1}")]
    Syntax(usize, &'static str),
    /// The query is not put together as a query is.
    #[error("{0}")]
    Shape(&'static str),
    /// A mutation or subscription.
    #[error("only queries are handed through, no mutations and no subscriptions")]
    NotAQuery,
    /// More than the caps allow.
    #[error("the query is larger than what is read of one")]
    TooLarge,
    /// Deeper than the cap allows.
    #[error("selections or values are nested too deep")]
    TooDeep,
    /// Several operations, and none is chosen.
    #[error("the document has no operation, or several of which operationName names none")]
    NoOperation,
    /// A fragment that is not defined, or that contains itself.
    #[error("the fragment {0} is not defined or contains itself")]
    Fragment(String),
    /// The schema was asked for.
    #[error("the schema cannot be asked for")]
    Introspection,
    /// A filter that is not bound to literal ids.
    #[error("{0} must be filtered by {1} or {1}_in with ids, and by nothing else")]
    Unbound(&'static str, &'static str),
    /// Something whose reach is not known.
    #[error("what it reads cannot be told: {0}")]
    Unjudged(&'static str),
    /// A field whose reach is not known.
    #[error("what it reads cannot be told: the field {0} is not known here")]
    UnknownField(String),
}

/// What a query reads, and what is sent for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The zones it is bound to, in the order they are named.
    pub zones: Vec<ZoneId>,
    /// The accounts it is bound to.
    pub accounts: Vec<AccountId>,
    /// The fields it selects of zones and accounts.
    pub datasets: Vec<String>,
    /// The body to send in place of the caller's.
    pub body: Json,
}

/// Reads the body of a call of the analytics API.
///
/// # Errors
/// When the query is malformed, changes something, or reaches what cannot be told.
pub fn read(body: &Json) -> Result<Reading, GraphqlError> {
    let members = body
        .as_object()
        .ok_or(GraphqlError::Body("a list or a text"))?;
    let text = body
        .get("query")
        .and_then(Json::as_str)
        .ok_or(GraphqlError::Body("one without a query"))?;
    let chosen = match body.get("operationName") {
        None | Some(Json::Null) => None,
        Some(Json::String(name)) => Some(name.as_str()),
        Some(_) => return Err(GraphqlError::Body("one whose operationName is no text")),
    };
    let given = match body.get("variables") {
        None | Some(Json::Null) => &[],
        Some(Json::Object(given)) => given.as_slice(),
        Some(_) => return Err(GraphqlError::Body("one whose variables are no object")),
    };
    if text.len() > MAX_BYTES {
        return Err(GraphqlError::TooLarge);
    }
    let tokens = lexer::tokens(text)?;
    let document = parser::document(&tokens)?;
    let operation = choose(&document, chosen)?;
    let mut walk = Walk {
        document: &document,
        operation,
        given,
        depth: 0,
        fields: 0,
        nodes: 0,
        path: Vec::new(),
        used: vec![false; document.fragments.len()],
        zones: Vec::new(),
        accounts: Vec::new(),
        datasets: Vec::new(),
    };
    walk.selections(&operation.selections, Place::Root)?;
    let query = rewritten(&document, operation, &walk.used, &tokens);
    let known = members
        .iter()
        .filter(|(key, _)| matches!(key.as_str(), "operationName" | "variables"));
    let body = std::iter::once(("query".to_owned(), Json::String(query)))
        .chain(known.cloned())
        .collect();
    Ok(Reading {
        zones: walk.zones,
        accounts: walk.accounts,
        datasets: walk.datasets,
        body: Json::Object(body),
    })
}

/// The operation that is carried out: the only one, or the one that is named.
fn choose<'d>(document: &'d Document, name: Option<&str>) -> Result<&'d Operation, GraphqlError> {
    let mut wanted = document
        .operations
        .iter()
        .filter(|operation| name.is_none() || operation.name.as_deref() == name);
    match (wanted.next(), wanted.next()) {
        (Some(operation), None) => Ok(operation),
        _ => Err(GraphqlError::NoOperation),
    }
}

/// The query with nothing but what was judged.
fn rewritten(
    document: &Document,
    operation: &Operation,
    used: &[bool],
    tokens: &[Token],
) -> String {
    let mut text = String::new();
    let fragments = document.fragments.iter().zip(used);
    let ranges = fragments.filter_map(|(fragment, used)| used.then_some(&fragment.tokens));
    for range in std::iter::once(&operation.tokens).chain(ranges) {
        lexer::write(tokens.get(range.clone()).unwrap_or_default(), &mut text);
    }
    text
}

/// Where in the schema a selection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Viewer,
    /// Below a zone or an account: its fields are datasets.
    Node,
    /// Within a dataset: bounded by what is above it.
    Dataset,
}

struct Walk<'d> {
    document: &'d Document,
    operation: &'d Operation,
    given: &'d [(String, Json)],
    /// How many selections contain the one being walked.
    depth: usize,
    fields: usize,
    nodes: usize,
    /// The fragments being walked.
    path: Vec<&'d str>,
    used: Vec<bool>,
    zones: Vec<ZoneId>,
    accounts: Vec<AccountId>,
    datasets: Vec<String>,
}

impl<'d> Walk<'d> {
    fn selections(&mut self, all: &'d [Selection], place: Place) -> Result<(), GraphqlError> {
        if self.depth >= parser::MAX_DEPTH {
            return Err(GraphqlError::TooDeep);
        }
        self.depth += 1;
        for selection in all {
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(GraphqlError::TooLarge);
            }
            match selection {
                Selection::Field(field) => self.field(field, place)?,
                Selection::Inline(inner) => self.selections(inner, place)?,
                Selection::Spread(name) => self.spread(name, place)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn spread(&mut self, name: &'d str, place: Place) -> Result<(), GraphqlError> {
        let document = self.document;
        let mut fragments = document.fragments.iter().zip(&mut self.used);
        let found = fragments.find(|(fragment, _)| fragment.name == name);
        let Some((fragment, used)) = found.filter(|_| !self.path.contains(&name)) else {
            return Err(GraphqlError::Fragment(quoted(name)));
        };
        *used = true;
        self.path.push(name);
        self.selections(&fragment.selections, place)?;
        self.path.pop();
        Ok(())
    }

    fn field(&mut self, field: &'d Field, place: Place) -> Result<(), GraphqlError> {
        let name = field.name.as_str();
        if name == "__typename" {
            return Ok(());
        }
        if name.starts_with("__") {
            return Err(GraphqlError::Introspection);
        }
        let below = match (place, name) {
            (Place::Root, "viewer") if field.arguments.is_empty() => Place::Viewer,
            (Place::Viewer, "zones" | "accounts") => {
                self.node(field)?;
                Place::Node
            }
            (Place::Node, "zoneTag" | "accountTag") if field.selections.is_empty() => {
                Place::Dataset
            }
            (Place::Node, _) => {
                if !self.datasets.contains(&field.name) {
                    self.datasets.push(field.name.clone());
                }
                Place::Dataset
            }
            // The budget is what is left of a quota: it belongs to the credential, not to a zone.
            (Place::Viewer, "budget") | (Place::Dataset, _) => Place::Dataset,
            _ => return Err(GraphqlError::UnknownField(quoted(name))),
        };
        self.selections(&field.selections, below)
    }

    /// `zones(filter: …)` or `accounts(filter: …)`.
    fn node(&mut self, field: &Field) -> Result<(), GraphqlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(GraphqlError::TooLarge);
        }
        let (what, tag) = if field.name == "zones" {
            ("zones", "zoneTag")
        } else {
            ("accounts", "accountTag")
        };
        let is_known = |name: &str| matches!(name, "filter" | "limit" | "orderBy");
        if !field.arguments.iter().all(|(name, _)| is_known(name)) {
            return Err(GraphqlError::Unjudged(
                "zones or accounts with an argument that is not known",
            ));
        }
        let filter = field.arguments.iter().find(|(name, _)| name == "filter");
        let mut ids = Vec::new();
        let is_bound =
            filter.is_some_and(|(_, filter)| self.bound(filter, tag, &mut ids, 0).is_some());
        if ids.len() > MAX_IDS {
            return Err(GraphqlError::TooLarge);
        }
        if !is_bound || ids.is_empty() {
            return Err(GraphqlError::Unbound(what, tag));
        }
        for id in ids {
            if tag == "zoneTag" {
                let zone: ZoneId = id.parse().map_err(|_| GraphqlError::Unbound(what, tag))?;
                if !self.zones.contains(&zone) {
                    self.zones.push(zone);
                }
            } else {
                let account: AccountId =
                    id.parse().map_err(|_| GraphqlError::Unbound(what, tag))?;
                if !self.accounts.contains(&account) {
                    self.accounts.push(account);
                }
            }
        }
        if self.zones.len() + self.accounts.len() > MAX_IDS {
            return Err(GraphqlError::TooLarge);
        }
        Ok(())
    }

    /// Collects the ids a filter binds to; `None` when any part of it may bind to others, or when they
    /// are more than the cap.
    ///
    /// Every branch of `AND` and `OR` must bind, so it does not matter how they are combined.
    fn bound(&self, filter: &Value, tag: &str, ids: &mut Vec<String>, depth: usize) -> Option<()> {
        let Value::Object(members) = self.resolved(filter, depth)? else {
            return None;
        };
        if members.is_empty() || depth > parser::MAX_DEPTH {
            return None;
        }
        for (key, value) in &members {
            let value = self.resolved(value, depth)?;
            match value {
                Value::Text(id) if key == tag || key.strip_suffix("_in") == Some(tag) => {
                    ids.push(id);
                }
                Value::List(items) if key.strip_suffix("_in") == Some(tag) => {
                    for item in &items {
                        let Value::Text(id) = self.resolved(item, depth)? else {
                            return None;
                        };
                        ids.push(id);
                    }
                }
                Value::List(items) if !items.is_empty() && matches!(key.as_str(), "AND" | "OR") => {
                    for item in &items {
                        self.bound(item, tag, ids, depth + 1)?;
                    }
                }
                _ => return None,
            }
            if ids.len() > MAX_IDS {
                return None;
            }
        }
        Some(())
    }

    /// A value with the variable it stands for put in: what was given, else the default.
    fn resolved(&self, value: &Value, depth: usize) -> Option<Value> {
        let Value::Variable(name) = value else {
            return (depth <= parser::MAX_DEPTH).then(|| value.clone());
        };
        let mut declared = self.operation.variables.iter();
        let (_, default) = declared.find(|(declared, _)| declared == name)?;
        match self.given.iter().find(|(given, _)| given == name) {
            Some((_, given)) => Some(Value::from(given)),
            // A default is a constant.
            None => default
                .clone()
                .filter(|default| !matches!(default, Value::Variable(_))),
        }
    }
}

#[cfg(test)]
mod tests;
