//! What a namespace holds: keys with values, metadata and expiry, one at a time and in bulk.
//!
//! NOTES "KV": key ≤ 512 bytes, value ≤ 25 MiB, metadata ≤ 1 KiB, TTL ≥ 60 s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::namespace;
use crate::api::{ApiError, Outcome, Reply};
use crate::clock::SECOND;
use crate::cursor;
use crate::multipart::{self, Part};
use crate::query::invalid;
use crate::router::Route;
use crate::world::Call;

const MAX_KEY_BYTES: usize = 512;
const MAX_VALUE_BYTES: usize = 25 * 1024 * 1024;
const MAX_METADATA_BYTES: usize = 1024;
const MIN_TTL_SECS: i64 = 60;
/// NOTES "KV": at most 10,000 pairs or keys in one bulk write, 100 keys in one bulk read.
const MAX_BULK_WRITE: usize = 10_000;
const MAX_BULK_READ: usize = 100;

/// One value.
#[derive(Debug)]
pub(super) struct Entry {
    value: Bytes,
    metadata: Option<Value>,
    /// Seconds since the Unix epoch.
    expiration: Option<i64>,
}

/// The operations inside a namespace.
pub(super) fn routes() -> Vec<Route> {
    const KEYS: &str = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/keys";
    const VALUE: &str =
        "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/values/{key_name}";
    const METADATA: &str =
        "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/metadata/{key_name}";
    const BULK: &str = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk";
    const BULK_GET: &str = "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk/get";
    const BULK_DELETE: &str =
        "/accounts/{account_id}/storage/kv/namespaces/{namespace_id}/bulk/delete";
    vec![
        ("GET", KEYS, keys),
        ("GET", VALUE, get),
        ("PUT", VALUE, put),
        ("DELETE", VALUE, delete),
        ("GET", METADATA, metadata),
        ("PUT", BULK, bulk_put),
        // NOTES "KV": deprecated, and still what wrangler sends.
        ("DELETE", BULK, bulk_delete),
        ("POST", BULK_DELETE, bulk_delete),
        ("POST", BULK_GET, bulk_get),
    ]
}

impl Entry {
    fn lives(&self, now_secs: i64) -> bool {
        self.expiration.is_none_or(|at| at > now_secs)
    }
}

fn now_secs(call: &Call<'_>) -> i64 {
    call.now.0.div_euclid(SECOND)
}

/// NOTES "Error codes": 10009 (404), key not found.
fn key_not_found() -> ApiError {
    ApiError::new(404, 10_009, "get: 'key not found'")
}

/// A body or a pair in it that is not what the operation takes.
fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::bad(10_012, message.into())
}

fn keys(call: &mut Call<'_>) -> Outcome {
    let now = now_secs(call);
    let limit = call.query.number("limit", 1000)?;
    // NOTES "KV": `limit` 10–1000 (hypothesis).
    if !(10..=1000).contains(&limit) {
        return Err(invalid("limit"));
    }
    let prefix = call.query.get("prefix").unwrap_or_default().to_owned();
    let after = cursor::after(&call.query)?;
    let mut found = namespace(call)?
        .entries
        .iter()
        .filter(|(name, entry)| entry.lives(now) && name.starts_with(prefix.as_str()))
        .filter(|(name, _)| after.as_ref().is_none_or(|last| *name > last));
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let last = page.last().map(|(name, _)| name.as_str());
    let cursor = cursor::cursor(last.filter(|_| found.next().is_some()));
    let items: Vec<Value> = page
        .iter()
        .map(|(name, entry)| listed(name, entry))
        .collect();
    let info = json!({"count": items.len(), "cursor": cursor});
    Ok(Reply::with_info(&items, &info))
}

/// A key in a list: what it does not have is absent.
fn listed(name: &str, entry: &Entry) -> Value {
    let mut item = Map::new();
    item.insert("name".to_owned(), json!(name));
    if let Some(expiration) = entry.expiration {
        item.insert("expiration".to_owned(), json!(expiration));
    }
    if let Some(metadata) = &entry.metadata {
        item.insert("metadata".to_owned(), metadata.clone());
    }
    Value::Object(item)
}

/// Carries out `use_it` on the path's entry, if it is there and has not expired.
fn with_entry<T>(call: &mut Call<'_>, use_it: impl Fn(&Entry) -> T) -> Result<T, ApiError> {
    let now = now_secs(call);
    let key = call.param("key_name").to_owned();
    namespace(call)?
        .entries
        .get(&key)
        .filter(|entry| entry.lives(now))
        .map(use_it)
        .ok_or_else(key_not_found)
}

/// NOTES "Envelope, errors, pagination" and "KV": the raw bytes, the expiry in a header.
fn get(call: &mut Call<'_>) -> Outcome {
    with_entry(call, |entry| {
        let mut reply = Reply::bytes("application/octet-stream", entry.value.clone());
        if let Some(expiration) = entry.expiration {
            reply.headers.push(("expiration", expiration.to_string()));
        }
        reply
    })
}

fn metadata(call: &mut Call<'_>) -> Outcome {
    with_entry(call, |entry| Reply::ok(&entry.metadata))
}

/// NOTES "KV": a raw body, or multipart `value` and `metadata`; the expiry is in the query.
fn put(call: &mut Call<'_>) -> Outcome {
    namespace(call)?;
    let key = call.param("key_name").to_owned();
    let is_form = call
        .headers
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"multipart/form-data"));
    let (value, metadata) = if is_form {
        let parts = multipart::parse(call.headers, call.body)?;
        let part = |name: &str| parts.iter().find(|part| part.name == name);
        let value = part("value").ok_or_else(|| malformed("the form has no part named value"))?;
        let metadata = part("metadata").map(json_part).transpose()?;
        (value.content.clone(), metadata)
    } else {
        (call.body.clone(), None)
    };
    let number = |name| match call.query.non_empty(name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| invalid(name)),
    };
    let expiration = expiration(
        number("expiration")?,
        number("expiration_ttl")?,
        now_secs(call),
    )?;
    let entry = checked(&key, value, metadata, expiration)?;
    namespace(call)?.entries.insert(key, entry);
    Ok(Reply::ok(&json!({})))
}

fn json_part(part: &Part) -> Result<Value, ApiError> {
    serde_json::from_slice(&part.content).map_err(|_| malformed("metadata must be JSON"))
}

/// An entry within the limits of the product.
///
/// The codes of the size limits are a hypothesis; NOTES gives the limits and the status.
fn checked(
    key: &str,
    value: Bytes,
    metadata: Option<Value>,
    expiration: Option<i64>,
) -> Result<Entry, ApiError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key == "." || key == ".." {
        return Err(ApiError::new(
            414,
            10_030,
            format!("a key has 1 to {MAX_KEY_BYTES} bytes and is neither . nor .."),
        ));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(ApiError::new(413, 10_027, "a value has at most 25 MiB"));
    }
    let metadata = metadata.filter(|metadata| !metadata.is_null());
    let size = metadata.as_ref().map_or(0, |m| m.to_string().len());
    if size > MAX_METADATA_BYTES {
        return Err(ApiError::new(
            413,
            10_028,
            "metadata has at most 1024 bytes",
        ));
    }
    Ok(Entry {
        value,
        metadata,
        expiration,
    })
}

/// When a value ends, from either form; an absolute instant wins (hypothesis).
fn expiration(at: Option<i64>, ttl: Option<i64>, now: i64) -> Result<Option<i64>, ApiError> {
    let at = at.or_else(|| ttl.map(|secs| now.saturating_add(secs)));
    if at.is_some_and(|at| at < now.saturating_add(MIN_TTL_SECS)) {
        return Err(ApiError::bad(
            10_034,
            "an expiration must be at least 60 seconds in the future",
        ));
    }
    Ok(at)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let key = call.param("key_name").to_owned();
    // A key that is not there is deleted just as well.
    namespace(call)?.entries.remove(&key);
    Ok(Reply::ok(&json!({})))
}

fn list_of(body: &Value, max: usize) -> Result<&Vec<Value>, ApiError> {
    let list = body
        .as_array()
        .ok_or_else(|| malformed("the body must be a list"))?;
    if list.is_empty() {
        return Err(ApiError::bad(10_029, "the list must hold at least one key"));
    }
    if list.len() > max {
        return Err(malformed(format!("the list may hold at most {max} keys")));
    }
    Ok(list)
}

fn done(count: usize) -> Reply {
    Reply::ok(&json!({"successful_key_count": count, "unsuccessful_keys": []}))
}

fn bulk_put(call: &mut Call<'_>) -> Outcome {
    namespace(call)?;
    let body = call.json()?;
    let now = now_secs(call);
    let pairs = list_of(&body, MAX_BULK_WRITE)?
        .iter()
        .map(|pair| pair_of(pair, now))
        .collect::<Result<Vec<_>, _>>()?;
    let count = pairs.len();
    namespace(call)?.entries.extend(pairs);
    Ok(done(count))
}

fn pair_of(pair: &Value, now: i64) -> Result<(String, Entry), ApiError> {
    let text = |name: &str| pair.get(name).and_then(Value::as_str);
    let key = text("key").ok_or_else(|| malformed("each pair needs a key"))?;
    let value = text("value").ok_or_else(|| malformed("each pair needs a value"))?;
    let value = if pair.get("base64") == Some(&json!(true)) {
        STANDARD
            .decode(value)
            .map_err(|_| malformed(format!("the value of {key} is not base64")))?
    } else {
        value.as_bytes().to_vec()
    };
    let number = |name: &str| pair.get(name).and_then(Value::as_i64);
    let expiration = expiration(number("expiration"), number("expiration_ttl"), now)?;
    let entry = checked(
        key,
        Bytes::from(value),
        pair.get("metadata").cloned(),
        expiration,
    )?;
    Ok((key.to_owned(), entry))
}

fn key_of(key: &Value) -> Result<String, ApiError> {
    key.as_str()
        .map(str::to_owned)
        .ok_or_else(|| malformed("each key must be a string"))
}

fn bulk_delete(call: &mut Call<'_>) -> Outcome {
    namespace(call)?;
    let body = call.json()?;
    let keys = list_of(&body, MAX_BULK_WRITE)?
        .iter()
        .map(key_of)
        .collect::<Result<Vec<_>, _>>()?;
    let entries = &mut namespace(call)?.entries;
    for key in &keys {
        entries.remove(key);
    }
    Ok(done(keys.len()))
}

fn bulk_get(call: &mut Call<'_>) -> Outcome {
    let now = now_secs(call);
    let body = call.json()?;
    let with_metadata = body.get("withMetadata") == Some(&json!(true));
    let parsed = match body.get("type").map_or(Some("text"), Value::as_str) {
        Some("text") => false,
        Some("json") => true,
        _ => return Err(malformed("type must be text or json")),
    };
    let keys = body.get("keys").cloned().unwrap_or_default();
    let entries = &namespace(call)?.entries;
    let mut values = Map::new();
    for key in list_of(&keys, MAX_BULK_READ)? {
        let key = key_of(key)?;
        let value = match entries.get(&key).filter(|entry| entry.lives(now)) {
            None => Value::Null,
            Some(entry) => {
                let value = decoded(&key, &entry.value, parsed)?;
                if with_metadata {
                    json!({"value": value, "metadata": entry.metadata, "expiration": entry.expiration})
                } else {
                    value
                }
            }
        };
        values.insert(key, value);
    }
    Ok(Reply::ok(&json!({"values": values})))
}

fn decoded(key: &str, value: &[u8], parsed: bool) -> Result<Value, ApiError> {
    if parsed {
        serde_json::from_slice(value)
            .map_err(|_| malformed(format!("the value of {key} is not JSON")))
    } else {
        Ok(json!(String::from_utf8_lossy(value)))
    }
}
