//! R2: buckets and their objects.
//!
//! NOTES "R2". The codes 10004, 10005 and 10006 are those that clients published in their error
//! tables; 10007 and 10008 are hypotheses.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::cursor;
use crate::ids::digest;
use crate::query::invalid;
use crate::router::Route;
use crate::world::Call;

const JURISDICTIONS: [&str; 5] = ["default", "eu", "us", "fedramp", "fedramp-high"];
const CLASSES: [&str; 2] = ["Standard", "InfrequentAccess"];
const LOCATIONS: [&str; 6] = ["apac", "eeur", "enam", "weur", "wnam", "oc"];

#[derive(Debug)]
struct Object {
    content: Bytes,
    content_type: String,
    etag: String,
    modified: Now,
    class: &'static str,
}

/// A bucket and what it holds.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) account_id: String,
    jurisdiction: &'static str,
    location: &'static str,
    class: &'static str,
    created: Now,
    objects: BTreeMap<String, Object>,
}

/// The buckets of all accounts, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Vec<Bucket>);

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/r2/buckets";
    const ONE: &str = "/accounts/{account_id}/r2/buckets/{bucket_name}";
    const OBJECTS: &str = "/accounts/{account_id}/r2/buckets/{bucket_name}/objects";
    const OBJECT: &str = "/accounts/{account_id}/r2/buckets/{bucket_name}/objects/{object_key}";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PATCH", ONE, patch),
        ("DELETE", ONE, delete),
        ("GET", OBJECTS, objects),
        ("GET", OBJECT, get_object),
        ("PUT", OBJECT, put_object),
        ("DELETE", OBJECT, delete_object),
    ]
}

impl Bucket {
    /// An empty one without a jurisdiction of its own.
    pub(crate) fn new(name: &str, account_id: &str, now: Now) -> Self {
        Self {
            name: name.to_owned(),
            account_id: account_id.to_owned(),
            jurisdiction: "default",
            location: "weur",
            class: "Standard",
            created: now,
            objects: BTreeMap::new(),
        }
    }

    fn render(&self) -> Value {
        json!({
            "name": self.name, "creation_date": self.created.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
            "location": self.location.to_ascii_uppercase(), "storage_class": self.class,
            "jurisdiction": self.jurisdiction,
        })
    }
}

impl Buckets {
    /// Adds one.
    pub(crate) fn put(&mut self, bucket: Bucket) {
        self.0.push(bucket);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.0.iter()
    }

    /// Whether an account has a bucket of this name, in whichever jurisdiction.
    pub(crate) fn has(&self, account_id: &str, name: &str) -> bool {
        self.0
            .iter()
            .any(|b| b.account_id == account_id && b.name == name)
    }
}

/// NOTES "R2": the header `cf-r2-jurisdiction`; buckets of another jurisdiction are not seen.
fn jurisdiction(call: &Call<'_>) -> Result<&'static str, ApiError> {
    header_choice(call, "cf-r2-jurisdiction", &JURISDICTIONS)
        .map(|given| given.unwrap_or("default"))
}

fn header_choice(
    call: &Call<'_>,
    name: &str,
    allowed: &[&'static str],
) -> Result<Option<&'static str>, ApiError> {
    match call.headers.get(name) {
        None => Ok(None),
        Some(value) => choice(value.to_str().ok(), allowed)
            .map(Some)
            .ok_or_else(|| ApiError::body(format!("Invalid value for header {name}"))),
    }
}

fn choice(value: Option<&str>, allowed: &[&'static str]) -> Option<&'static str> {
    allowed.iter().find(|a| value == Some(**a)).copied()
}

/// The bucket of the path.
fn bucket<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Bucket, ApiError> {
    let (account, jurisdiction) = (call.account()?, jurisdiction(call)?);
    let name = call.param("bucket_name").to_owned();
    call.world
        .r2
        .0
        .iter_mut()
        .filter(|b| b.account_id == account && b.jurisdiction == jurisdiction)
        .find(|b| b.name == name)
        .ok_or_else(|| ApiError::new(404, 10_006, "The specified bucket does not exist."))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (account, jurisdiction) = (call.account()?, jurisdiction(call)?);
    let per_page = call.query.number("per_page", 20)?.min(1000);
    let descending = call.query.choice("direction", &["asc", "desc"], "asc")? == "desc";
    let phrase = call.query.get("name_contains").unwrap_or_default();
    let after = match cursor::after(&call.query)? {
        Some(name) => Some(name),
        None => call.query.non_empty("start_after").map(str::to_owned),
    };
    let mut found: Vec<&Bucket> = call
        .world
        .r2
        .iter()
        .filter(|b| b.account_id == account && b.jurisdiction == jurisdiction)
        .filter(|b| b.name.contains(phrase))
        .filter(|b| {
            after
                .as_ref()
                .is_none_or(|last| (b.name > *last) != descending && b.name != *last)
        })
        .collect();
    found.sort_by_key(|b| &b.name);
    if descending {
        found.reverse();
    }
    let more = found.len() > per_page;
    found.truncate(per_page);
    let last = found.last().map(|b| b.name.as_str());
    let info = json!({"cursor": cursor::cursor(last.filter(|_| more)), "per_page": per_page});
    let buckets: Vec<Value> = found.iter().map(|b| b.render()).collect();
    Ok(Reply::with_info(&json!({"buckets": buckets}), &info))
}

/// 3 to 63 lower-case letters, digits and inner hyphens.
fn well_formed(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (account, jurisdiction) = (call.account()?, jurisdiction(call)?);
    let body = call.object()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let name = text("name")
        .filter(|name| well_formed(name))
        .ok_or_else(|| ApiError::bad(10_005, "The specified bucket name is not valid."))?;
    let one_of = |field: &str, allowed: &[&'static str], default| match body.get(field) {
        None => Ok(default),
        Some(value) => choice(value.as_str(), allowed)
            .ok_or_else(|| ApiError::body(format!("Invalid value for {field}"))),
    };
    let class = one_of("storageClass", &CLASSES, "Standard")?;
    let location = one_of("locationHint", &LOCATIONS, "weur")?;
    if call.world.r2.has(&account, name) {
        return Err(ApiError::new(
            409,
            10_004,
            "The bucket you tried to create already exists, and you own it.",
        ));
    }
    let bucket = Bucket {
        jurisdiction,
        location,
        class,
        ..Bucket::new(name, &account, call.now)
    };
    let reply = Reply::ok(&bucket.render());
    call.world.r2.put(bucket);
    Ok(reply)
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&bucket(call)?.render()))
}

/// The storage class of what is stored from now on, in a header.
fn patch(call: &mut Call<'_>) -> Outcome {
    let class = header_choice(call, "cf-r2-storage-class", &CLASSES)?
        .ok_or_else(|| ApiError::body("The header cf-r2-storage-class is missing"))?;
    let bucket = bucket(call)?;
    bucket.class = class;
    Ok(Reply::ok(&bucket.render()))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let bucket = bucket(call)?;
    if !bucket.objects.is_empty() {
        return Err(ApiError::new(
            409,
            10_008,
            "The bucket you tried to delete is not empty.",
        ));
    }
    let (account, name) = (bucket.account_id.clone(), bucket.name.clone());
    call.world
        .r2
        .0
        .retain(|b| b.account_id != account || b.name != name);
    Ok(Reply::ok(&json!({})))
}

fn render_object(key: &str, object: &Object) -> Value {
    json!({
        "key": key, "etag": object.etag, "size": object.content.len(),
        "last_modified": object.modified.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        "http_metadata": {"contentType": object.content_type}, "custom_metadata": {},
        "storage_class": object.class,
    })
}

fn objects(call: &mut Call<'_>) -> Outcome {
    let per_page = call.query.number("per_page", 1000)?;
    if per_page > 1000 {
        return Err(invalid("per_page"));
    }
    let prefix = call.query.get("prefix").unwrap_or_default().to_owned();
    let after = cursor::after(&call.query)?;
    let mut found = bucket(call)?
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(prefix.as_str()))
        .filter(|(key, _)| after.as_ref().is_none_or(|last| *key > last));
    let page: Vec<_> = found.by_ref().take(per_page).collect();
    let more = found.next().is_some();
    let last = page.last().map(|(key, _)| key.as_str());
    let info = json!({
        "cursor": cursor::cursor(last.filter(|_| more)), "is_truncated": more, "per_page": per_page,
    });
    let items: Vec<Value> = page.iter().map(|(key, o)| render_object(key, o)).collect();
    Ok(Reply::with_info(&items, &info))
}

fn no_such_key() -> ApiError {
    ApiError::new(404, 10_007, "The specified key does not exist.")
}

fn get_object(call: &mut Call<'_>) -> Outcome {
    let key = call.param("object_key").to_owned();
    let object = bucket(call)?.objects.get(&key).ok_or_else(no_such_key)?;
    let mut reply = Reply::bytes("application/octet-stream", object.content.clone());
    reply.headers = vec![
        ("content-type", object.content_type.clone()),
        ("etag", format!("\"{}\"", object.etag)),
        (
            "last-modified",
            object.modified.format("%a, %d %b %Y %H:%M:%S GMT"),
        ),
    ];
    Ok(reply)
}

fn put_object(call: &mut Call<'_>) -> Outcome {
    let class = header_choice(call, "cf-r2-storage-class", &CLASSES)?;
    let key = call.param("object_key").to_owned();
    // The limit is that of R2's keys; its code is a hypothesis.
    if key.len() > 1024 {
        return Err(ApiError::bad(
            10_029,
            "An object key has at most 1024 bytes.",
        ));
    }
    let content_type = call
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream")
        .to_owned();
    let (content, modified) = (call.body.clone(), call.now);
    let bucket = bucket(call)?;
    let object = Object {
        etag: digest([content.as_ref()]),
        content,
        content_type,
        modified,
        class: class.unwrap_or(bucket.class),
    };
    let result = render_object(&key, &object);
    bucket.objects.insert(key, object);
    Ok(Reply::ok(&result))
}

fn delete_object(call: &mut Call<'_>) -> Outcome {
    let key = call.param("object_key").to_owned();
    // A key that is not there is deleted just as well.
    bucket(call)?.objects.remove(&key);
    Ok(Reply::ok(&json!({"key": key})))
}
