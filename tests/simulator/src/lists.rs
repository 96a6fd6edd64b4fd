//! Lists of an account: addresses, redirects, hostnames, AS numbers.
//!
//! NOTES "Lists": routes; names and kinds; item writes are asynchronous, with one pending
//! operation per account; 10,000 changes in five minutes; a list that a rule refers to is not
//! deleted. Codes are hypotheses; NOTES gives only statuses.
//!
//! An operation is pending at the first look at it, running at the second and done at the third,
//! or two seconds after it was made, whichever comes first: tests need no waiting, and whoever
//! polls sees every state.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::{Now, SECOND};
use crate::dns::names;
use crate::ids::{Ids, is_id};
use crate::objects::{self, Members, Object};
use crate::router::Route;
use crate::world::Call;
use crate::zones::Plan;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/accounts/{account_id}/rules/lists", all),
        ("POST", "/accounts/{account_id}/rules/lists", create),
        ("GET", "/accounts/{account_id}/rules/lists/{list_id}", get),
        (
            "PUT",
            "/accounts/{account_id}/rules/lists/{list_id}",
            describe,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/rules/lists/{list_id}",
            delete,
        ),
        (
            "GET",
            "/accounts/{account_id}/rules/lists/{list_id}/items",
            items,
        ),
        (
            "POST",
            "/accounts/{account_id}/rules/lists/{list_id}/items",
            append,
        ),
        (
            "PUT",
            "/accounts/{account_id}/rules/lists/{list_id}/items",
            replace,
        ),
        (
            "DELETE",
            "/accounts/{account_id}/rules/lists/{list_id}/items",
            remove,
        ),
        (
            "GET",
            "/accounts/{account_id}/rules/lists/{list_id}/items/{item_id}",
            item,
        ),
        (
            "GET",
            "/accounts/{account_id}/rules/lists/bulk_operations/{operation_id}",
            operation,
        ),
    ]
}

const KINDS: [&str; 4] = ["ip", "redirect", "hostname", "asn"];
/// NOTES "Lists": 10,000 changes in five minutes.
const MAX_CHANGES: usize = 10_000;
const CHANGES_WINDOW: i64 = 300 * SECOND;
const OPERATION_TIME: i64 = 2 * SECOND;

/// The lists of all accounts.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    all: Vec<List>,
    operations: Vec<Operation>,
    /// When how many items were changed, by account.
    changes: BTreeMap<String, Vec<(Now, usize)>>,
}

#[derive(Debug)]
struct List {
    id: String,
    account_id: String,
    name: String,
    kind: String,
    description: String,
    created: Now,
    modified: Now,
    /// INVARIANT: no two have the same key.
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    id: String,
    /// What makes it the same as another.
    key: String,
    body: Object,
    created: Now,
    modified: Now,
}

#[derive(Debug)]
struct Operation {
    id: String,
    account_id: String,
    list_id: String,
    made: Now,
    looks: u32,
    /// Not done while it is there.
    work: Option<Work>,
    completed: Option<Now>,
    error: Option<String>,
}

#[derive(Clone, Debug)]
enum Work {
    Append(Vec<Item>),
    Replace(Vec<Item>),
    Remove(Vec<String>),
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::bad(10_001, message.into())
}

fn not_found(what: &str) -> ApiError {
    ApiError::new(404, 10_002, format!("could not find {what}"))
}

impl Operation {
    fn settle(&mut self, lists: &mut [List], most: usize, now: Now) {
        let Some(work) = self.work.take() else {
            return;
        };
        self.completed = Some(now);
        let Some(list) = lists.iter_mut().find(|list| list.id == self.list_id) else {
            self.error = Some("the list was deleted".to_owned());
            return;
        };
        let mut items = match &work {
            Work::Replace(_) => Vec::new(),
            _ => std::mem::take(&mut list.items),
        };
        let before = items.clone();
        match work {
            Work::Remove(ids) => items.retain(|item| !ids.contains(&item.id)),
            Work::Append(new) | Work::Replace(new) => {
                for item in new {
                    // The same item again changes its comment.
                    match items.iter_mut().find(|old| old.key == item.key) {
                        Some(old) => {
                            old.body = item.body;
                            old.modified = now;
                        }
                        None => items.push(item),
                    }
                }
            }
        }
        if items.len() > most {
            self.error = Some(format!("the account may have {most} items at most"));
            items = before;
        } else {
            list.modified = now;
        }
        list.items = items;
    }

    fn status(&self) -> &'static str {
        match (&self.work, &self.error) {
            (Some(_), _) if self.looks <= 1 => "pending",
            (Some(_), _) => "running",
            (None, Some(_)) => "failed",
            (None, None) => "completed",
        }
    }
}

impl List {
    fn render(&self, referencing: usize) -> Value {
        json!({
            "id": self.id, "name": self.name, "kind": self.kind, "description": self.description,
            "num_items": self.items.len(), "num_referencing_filters": referencing,
            "created_on": self.created.rfc3339(), "modified_on": self.modified.rfc3339(),
        })
    }
}

impl Item {
    fn render(&self) -> Value {
        let mut body = self.body.clone();
        body.insert("id".to_owned(), json!(self.id));
        body.insert("created_on".to_owned(), json!(self.created.rfc3339()));
        body.insert("modified_on".to_owned(), json!(self.modified.rfc3339()));
        Value::Object(body)
    }
}

impl Lists {
    /// Makes a list of addresses of the seed.
    pub(crate) fn seed(
        &mut self,
        account_id: &str,
        id: &str,
        name: &str,
        items: &[(&str, &str)],
        now: Now,
    ) {
        let items = (1..).zip(items).map(|(n, (ip, comment)): (u32, _)| Item {
            id: format!("1{n:031}"),
            key: (*ip).to_owned(),
            body: Object::from_iter([
                ("ip".to_owned(), json!(ip)),
                ("comment".to_owned(), json!(comment)),
            ]),
            created: now,
            modified: now,
        });
        self.all.push(List {
            id: id.to_owned(),
            account_id: account_id.to_owned(),
            name: name.to_owned(),
            kind: "ip".to_owned(),
            description: "Seeded".to_owned(),
            created: now,
            modified: now,
            items: items.collect(),
        });
    }

    /// Ids and names, for `GET /__sim/state`.
    pub(crate) fn state(&self) -> Vec<Value> {
        let lists = self.all.iter();
        lists
            .map(
                |l| json!({"id": l.id, "name": l.name, "kind": l.kind, "account_id": l.account_id}),
            )
            .collect()
    }
}

/// The best plan of the account's zones.
fn plan(call: &Call<'_>) -> Option<Plan> {
    let account = call.param("account_id");
    let zones = call.world.zones.iter();
    zones
        .filter(|z| z.account_id == account)
        .map(|z| z.plan)
        .max()
}

/// NOTES "Lists": 10,000 items, 500,000 on Enterprise (hypothesis).
fn most_items(call: &Call<'_>) -> usize {
    if plan(call) == Some(Plan::Enterprise) {
        500_000
    } else {
        10_000
    }
}

/// Finishes what has had its time, and looks once at operation `looked_at`.
fn settle(call: &mut Call<'_>, looked_at: &str) -> Result<(), ApiError> {
    let account = call.place()?.to_owned();
    let (most, now) = (most_items(call), call.now);
    let Lists {
        all: lists,
        operations,
        ..
    } = &mut call.world.lists;
    for operation in operations.iter_mut().filter(|o| o.account_id == account) {
        let is_late = now.0 >= operation.made.0.saturating_add(OPERATION_TIME);
        let is_seen = operation.id == looked_at && operation.looks >= 2;
        if is_late || is_seen {
            operation.settle(lists, most, now);
        }
        operation.looks += u32::from(operation.id == looked_at);
    }
    Ok(())
}

/// How many rules of the account and its zones name the list.
fn referencing(call: &Call<'_>, name: &str) -> usize {
    let account = call.param("account_id");
    let zones = call.world.zones.iter();
    let mut places: Vec<String> = zones
        .filter(|z| z.account_id == account)
        .map(|z| z.id.clone())
        .collect();
    places.push(account.to_owned());
    call.world.rulesets.mentions(&places, name)
}

/// The list of the path, as it is after what has had its time.
fn own<'a>(call: &'a mut Call<'_>) -> Result<&'a mut List, ApiError> {
    settle(call, "")?;
    let (account, id) = (call.place()?.to_owned(), call.param("list_id").to_owned());
    call.world
        .lists
        .all
        .iter_mut()
        .find(|list| list.id == id && list.account_id == account)
        .ok_or_else(|| not_found("list"))
}

fn all(call: &mut Call<'_>) -> Outcome {
    settle(call, "")?;
    let account = call.place()?;
    let lists = call.world.lists.all.iter();
    let rendered: Vec<Value> = lists
        .filter(|list| list.account_id == account)
        .map(|list| list.render(referencing(call, &list.name)))
        .collect();
    // NOTES "Envelope, errors, pagination": rule lists list returns everything in one answer.
    Ok(Reply::ok(&rendered))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let account_id = call.place()?.to_owned();
    let body = call.object()?;
    let name = objects::text(&body, "name", 10_001)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.len() > 50 || !name.chars().all(fits) {
        return Err(bad("name must be at most 50 of a to z, 0 to 9 and _"));
    }
    let kind = objects::word(&body, "kind", &KINDS, 10_001)?;
    let lists = &call.world.lists.all;
    let own = || lists.iter().filter(|list| list.account_id == account_id);
    if own().any(|list| list.name == name) {
        return Err(ApiError::new(
            409,
            10_013,
            format!("a list named {name} already exists"),
        ));
    }
    // NOTES "Lists": Free has one list (hypothesis); the other numbers are made up.
    let most = match plan(call) {
        None | Some(Plan::Free) => 1,
        Some(Plan::Enterprise) => 1000,
        Some(_) => 10,
    };
    if own().count() >= most {
        return Err(bad(format!("the account may have {most} lists at most")));
    }
    let description = body
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let list = List {
        id: call.world.ids.next_id(),
        account_id,
        name: name.to_owned(),
        kind: kind.to_owned(),
        description: description.to_owned(),
        created: call.now,
        modified: call.now,
        items: Vec::new(),
    };
    let reply = Reply::ok(&list.render(0));
    call.world.lists.all.push(list);
    Ok(reply)
}

fn get(call: &mut Call<'_>) -> Outcome {
    let list = own(call)?;
    let (name, id) = (list.name.clone(), list.id.clone());
    let count = referencing(call, &name);
    let lists = call.world.lists.all.iter();
    let list = lists
        .into_iter()
        .find(|l| l.id == id)
        .ok_or_else(|| not_found("list"))?;
    Ok(Reply::ok(&list.render(count)))
}

/// NOTES "Lists": PUT changes the description only; name and kind are immutable.
fn describe(call: &mut Call<'_>) -> Outcome {
    let body = call.object()?;
    let description = match body.get("description") {
        Some(Value::String(text)) => text.clone(),
        _ => return Err(bad("description must be a string")),
    };
    let now = call.now;
    let list = own(call)?;
    list.description = description;
    list.modified = now;
    get(call)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let list = own(call)?;
    let (id, name) = (list.id.clone(), list.name.clone());
    let count = referencing(call, &name);
    if count > 0 {
        return Err(bad(format!("the list is used by {count} rules")));
    }
    call.world.lists.all.retain(|list| list.id != id);
    Ok(Reply::ok(&json!({"id": id})))
}

/// NOTES "Lists": cursor, `per_page`, `search` (prefix). The cursor is the id of the item before.
fn items(call: &mut Call<'_>) -> Outcome {
    // NOTES "Envelope, errors, pagination": list items 1–500.
    let per_page = call.query.number("per_page", 100)?.min(500);
    let cursor = call.query.non_empty("cursor").map(str::to_owned);
    let search = call
        .query
        .non_empty("search")
        .unwrap_or_default()
        .to_owned();
    let list = own(call)?;
    let start = match cursor {
        None => 0,
        Some(id) => {
            let at = list.items.iter().position(|item| item.id == id);
            at.ok_or_else(|| crate::query::invalid("cursor"))? + 1
        }
    };
    let mut found = list
        .items
        .iter()
        .skip(start)
        .filter(|i| i.key.starts_with(&search));
    let page: Vec<&Item> = found.by_ref().take(per_page).collect();
    let more = found.next().is_some();
    let after = page.last().filter(|_| more).map(|item| item.id.as_str());
    let cursors = after.map_or_else(|| json!({}), |after| json!({"after": after}));
    let result: Vec<Value> = page.iter().map(|item| item.render()).collect();
    Ok(Reply::with_info(&result, &json!({"cursors": cursors})))
}

fn item(call: &mut Call<'_>) -> Outcome {
    let id = call.param("item_id").to_owned();
    let list = own(call)?;
    let item = list.items.iter().find(|item| item.id == id);
    Ok(Reply::ok(&item.ok_or_else(|| not_found("item"))?.render()))
}

fn append(call: &mut Call<'_>) -> Outcome {
    write(call, |call, kind| read_items(call, kind).map(Work::Append))
}

fn replace(call: &mut Call<'_>) -> Outcome {
    write(call, |call, kind| read_items(call, kind).map(Work::Replace))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    write(call, |call, _| {
        let body = call.object()?;
        let ids = objects::list_of(&body, "items", 10_001)?
            .iter()
            .map(|item| {
                let id = item.at("id").as_str().filter(|id| is_id(id));
                id.map(str::to_owned)
                    .ok_or_else(|| bad("an item of items needs its id"))
            });
        Ok(Work::Remove(ids.collect::<Result<_, _>>()?))
    })
}

/// Takes a write of items for later, unless another is pending.
fn write(call: &mut Call<'_>, read: fn(&mut Call<'_>, &str) -> Result<Work, ApiError>) -> Outcome {
    let list = own(call)?;
    let (list_id, kind, name) = (list.id.clone(), list.kind.clone(), list.name.clone());
    let held: Vec<String> = list.items.iter().map(|item| item.id.clone()).collect();
    let account_id = call.place()?.to_owned();
    let work = read(call, &kind)?;
    let count = match &work {
        Work::Append(items) | Work::Replace(items) => items.len(),
        Work::Remove(ids) => {
            if let Some(id) = ids.iter().find(|id| !held.contains(id)) {
                return Err(not_found(&format!("item {id} in the list {name}")));
            }
            ids.len()
        }
    };
    let pending = |o: &&Operation| o.account_id == account_id && o.work.is_some();
    if let Some(other) = call.world.lists.operations.iter().find(|o| pending(o)) {
        let message = format!(
            "the bulk operation {} of this account is still pending",
            other.id
        );
        return Err(ApiError::new(409, 10_032, message));
    }
    let (id, now) = (call.world.ids.next_id(), call.now);
    let changes = call
        .world
        .lists
        .changes
        .entry(account_id.clone())
        .or_default();
    changes.retain(|(at, _)| now.0.saturating_sub(at.0) < CHANGES_WINDOW);
    let used: usize = changes.iter().map(|(_, n)| n).sum();
    if used + count > MAX_CHANGES {
        let since = changes.first().map_or(now.0, |(at, _)| at.0);
        let wait = since.saturating_add(CHANGES_WINDOW).saturating_sub(now.0);
        let mut error = ApiError::new(429, 10_429, "too many list items changed in five minutes");
        error
            .headers
            .push(("retry-after", (wait / SECOND + 1).to_string()));
        return Err(error);
    }
    changes.push((now, count));
    let reply = Reply::ok(&json!({"operation_id": id}));
    call.world.lists.operations.push(Operation {
        id,
        account_id,
        list_id,
        made: now,
        looks: 0,
        work: Some(work),
        completed: None,
        error: None,
    });
    Ok(reply)
}

/// The items of a body, each judged by the kind of its list.
fn read_items(call: &mut Call<'_>, kind: &str) -> Result<Vec<Item>, ApiError> {
    let list = call.json()?;
    let list = list
        .as_array()
        .ok_or_else(|| bad("the body must be a list of items"))?;
    let mut ids: Ids = call.world.ids.clone();
    let mut items: Vec<Item> = Vec::new();
    for sent in list {
        let (key, body) = read_item(sent, kind)?;
        if items.iter().any(|item| item.key == key) {
            return Err(bad(format!("{key} is there twice")));
        }
        items.push(Item {
            id: ids.next_id(),
            key,
            body,
            created: call.now,
            modified: call.now,
        });
    }
    call.world.ids = ids;
    Ok(items)
}

fn read_item(sent: &Value, kind: &str) -> Result<(String, Object), ApiError> {
    let missing = || bad(format!("an item of a list of kind {kind} needs {kind}"));
    let value = sent.get(kind).ok_or_else(missing)?;
    let (key, value) = match kind {
        "ip" => {
            let text = value.as_str().unwrap_or_default();
            let ip = address(text).ok_or_else(|| bad(format!("{text:?} is no address or CIDR")))?;
            (ip.clone(), json!(ip))
        }
        "asn" => {
            let number = value.as_u64().filter(|n| u32::try_from(*n).is_ok());
            let number = number.ok_or_else(|| bad(format!("{value} is no AS number")))?;
            (number.to_string(), json!(number))
        }
        "hostname" => {
            let host = value.at("url_hostname").as_str().unwrap_or_default();
            let name = names::hostname(host).filter(|name| name.contains('.'));
            let name = name.ok_or_else(|| bad(format!("{host:?} is no hostname")))?;
            (name.clone(), json!({"url_hostname": name}))
        }
        _ => {
            let source = value
                .at("source_url")
                .as_str()
                .filter(|url| url.contains('.'));
            let target = value
                .at("target_url")
                .as_str()
                .filter(|url| url.contains("://"));
            match (source, target) {
                (Some(source), Some(_)) => (source.to_owned(), value.clone()),
                _ => return Err(bad("a redirect needs source_url and target_url")),
            }
        }
    };
    let mut body = Object::from_iter([(kind.to_owned(), value)]);
    match sent.get("comment") {
        None | Some(Value::Null) => {}
        Some(Value::String(comment)) => {
            body.insert("comment".to_owned(), json!(comment));
        }
        Some(_) => return Err(bad("comment must be a string")),
    }
    Ok((key, body))
}

/// An address or CIDR in its usual form.
///
/// NOTES "Lists": IPv4, IPv4 CIDR, IPv6 and IPv6 CIDR up to /64 (hypothesis); a single IPv6
/// address stands for its /64.
fn address(text: &str) -> Option<String> {
    let (ip, length) = match text.split_once('/') {
        None => (text, None),
        Some((ip, length)) => (ip, Some(length.parse::<u32>().ok()?)),
    };
    match (ip.parse().ok()?, length) {
        (IpAddr::V4(ip), None | Some(32)) => Some(ip.to_string()),
        (IpAddr::V4(ip), Some(length @ 8..=31)) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            (ip.to_bits() & host == 0).then(|| format!("{ip}/{length}"))
        }
        (IpAddr::V6(ip), None | Some(64)) => {
            let network = std::net::Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX));
            Some(format!("{network}/64"))
        }
        (IpAddr::V6(ip), Some(length @ 12..=63)) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            (ip.to_bits() & host == 0).then(|| format!("{ip}/{length}"))
        }
        _ => None,
    }
}

fn operation(call: &mut Call<'_>) -> Outcome {
    let id = call.param("operation_id").to_owned();
    settle(call, &id)?;
    let account = call.place()?;
    let operations = call.world.lists.operations.iter();
    let operation = operations
        .into_iter()
        .find(|o| o.id == id && o.account_id == account)
        .ok_or_else(|| not_found("bulk operation"))?;
    let mut out = json!({"id": operation.id, "status": operation.status()});
    if let (Some(completed), Some(map)) = (operation.completed, out.as_object_mut()) {
        map.insert("completed".to_owned(), json!(completed.rfc3339()));
        if let Some(error) = &operation.error {
            map.insert("error".to_owned(), json!(error));
        }
    }
    Ok(Reply::ok(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_and_brought_into_one_form() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("192.0.2.1/24", None),
            ("10.0.0.0/7", None),
            ("2001:DB8::1", Some("2001:db8::/64")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("2001:db8::/65", None),
            ("192.0.2", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(address(text).as_deref(), expected, "{text}");
        }
    }
}
