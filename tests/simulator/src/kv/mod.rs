//! Workers KV: namespaces, keys, values and metadata.
//!
//! NOTES "KV". The codes beyond that page (10012, 10013, 10019, 10029, 10034) are those that
//! clients published in their error tables; messages are ours where nothing quotes them.
//! [`values`] holds what is inside a namespace.

mod values;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;
use values::Entry;

/// NOTES "Envelope, errors, pagination": KV namespaces 5–100; the default is a hypothesis.
const PAGES: Bounds = Bounds {
    min: 5,
    default: 20,
    max: 100,
};

/// A namespace and what it holds.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) account_id: String,
    entries: BTreeMap<String, Entry>,
}

/// The namespaces of all accounts, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(Vec<Namespace>);

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/storage/kv/namespaces";
    const ONE: &str = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}";
    let mut routes: Vec<Route> = vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PUT", ONE, rename),
        ("DELETE", ONE, delete),
    ];
    routes.extend(values::routes());
    routes
}

impl Namespace {
    /// An empty one.
    pub(crate) fn new(id: String, title: &str, account_id: &str) -> Self {
        Self {
            id,
            title: title.to_owned(),
            account_id: account_id.to_owned(),
            entries: BTreeMap::new(),
        }
    }

    fn render(&self) -> Value {
        json!({"id": self.id, "title": self.title, "supports_url_encoding": true})
    }
}

impl Namespaces {
    /// Adds one.
    pub(crate) fn put(&mut self, namespace: Namespace) {
        self.0.push(namespace);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }

    /// Whether an account has a namespace of this id.
    pub(crate) fn has(&self, account_id: &str, id: &str) -> bool {
        self.0
            .iter()
            .any(|n| n.account_id == account_id && n.id == id)
    }
}

/// The namespace of the path.
fn namespace<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Namespace, ApiError> {
    let account = call.account()?;
    let id = call.param("namespace_id").to_owned();
    call.world
        .kv
        .0
        .iter_mut()
        .find(|n| n.account_id == account && n.id == id)
        .ok_or_else(|| ApiError::new(404, 10_013, "get namespace: 'namespace not found'"))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let order = call.query.choice("order", &["id", "title"], "id")?;
    let direction = call.query.choice("direction", &["asc", "desc"], "asc")?;
    let mut found: Vec<&Namespace> = call
        .world
        .kv
        .iter()
        .filter(|n| n.account_id == account)
        .collect();
    found.sort_by_key(|n| if order == "id" { &n.id } else { &n.title });
    if direction == "desc" {
        found.reverse();
    }
    let items: Vec<String> = found.iter().map(|n| n.render().to_string()).collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// A title nobody else of the account has, from a body.
fn title(call: &Call<'_>, account: &str, own: &str) -> Result<String, ApiError> {
    let body = call.object()?;
    let title = body
        .get("title")
        .and_then(Value::as_str)
        .filter(|title| !title.is_empty())
        .ok_or_else(|| ApiError::bad(10_019, "a namespace needs a title"))?;
    // The schema's limit (512) is public; its code is a hypothesis.
    if title.chars().count() > 512 {
        return Err(ApiError::bad(10_021, "a title has at most 512 characters"));
    }
    let taken = call
        .world
        .kv
        .iter()
        .any(|n| n.account_id == account && n.title == title && n.id != own);
    if taken {
        // NOTES "Error codes": 10014 (400), namespace title already exists.
        return Err(ApiError::bad(
            10_014,
            "a namespace with this account ID and title already exists",
        ));
    }
    Ok(title.to_owned())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let title = title(call, &account, "")?;
    let namespace = Namespace::new(call.world.ids.next_id(), &title, &account);
    let reply = Reply::ok(&namespace.render());
    call.world.kv.put(namespace);
    Ok(reply)
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&namespace(call)?.render()))
}

fn rename(call: &mut Call<'_>) -> Outcome {
    let own = namespace(call)?.id.clone();
    let account = call.account()?;
    let title = title(call, &account, &own)?;
    let namespace = namespace(call)?;
    namespace.title = title;
    Ok(Reply::ok(&namespace.render()))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = namespace(call)?.id.clone();
    call.world.kv.0.retain(|n| n.id != id);
    Ok(Reply::ok(&Value::Null))
}
