//! Products that are collections of JSON objects and differ in what they check only.
//!
//! A [`Product`] says what is particular about one; the functions here are its operations.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::page::{Bounds, Page};
use crate::world::Call;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Members of objects by name, without a panic where there is none.
pub(crate) trait Members {
    /// The member, or null.
    fn at(&self, name: &str) -> &Value;
    /// Sets the member; on anything but an object it does nothing.
    fn set(&mut self, name: &str, value: Value);
}

static NULL: Value = Value::Null;

impl Members for Object {
    fn at(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NULL)
    }

    fn set(&mut self, name: &str, value: Value) {
        self.insert(name.to_owned(), value);
    }
}

impl Members for Value {
    fn at(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NULL)
    }

    fn set(&mut self, name: &str, value: Value) {
        if let Self::Object(map) = self {
            map.set(name, value);
        }
    }
}

/// The objects of all such products: by product and account or zone, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    by_place: BTreeMap<(&'static str, String), Vec<Value>>,
}

/// What is particular about a product.
#[derive(Debug)]
pub(crate) struct Product {
    /// Its name here, which no other has.
    pub(crate) kind: &'static str,
    /// The path parameter that holds the id of an object.
    pub(crate) param: &'static str,
    /// Whether ids are UUIDs rather than 32 digits.
    pub(crate) uuid: bool,
    /// The names of the times of creation and of the last change.
    pub(crate) times: (&'static str, &'static str),
    /// The bounds of `per_page`; none where the list is given whole.
    pub(crate) paged: Option<Bounds>,
    /// What an unknown id is answered with.
    pub(crate) missing: (u16, u32, &'static str),
    /// Judges an object as it would be stored, and sets what the API sets itself.
    pub(crate) check: fn(&mut Object, &Call<'_>) -> Result<(), ApiError>,
}

impl Objects {
    /// The objects of a product in an account or zone.
    pub(crate) fn list(&self, kind: &'static str, place: &str) -> &[Value] {
        self.by_place
            .get(&(kind, place.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// The object with this id.
    pub(crate) fn find(&self, kind: &'static str, place: &str, id: &str) -> Option<&Value> {
        self.list(kind, place).iter().find(|o| *o.at("id") == id)
    }

    /// Stores an object in the place of the one with its id, or behind all others.
    pub(crate) fn put(&mut self, kind: &'static str, place: &str, object: Value) {
        let list = self.by_place.entry((kind, place.to_owned())).or_default();
        match list.iter_mut().find(|o| *o.at("id") == *object.at("id")) {
            Some(old) => *old = object,
            None => list.push(object),
        }
    }

    /// Removes the object with this id.
    pub(crate) fn remove(&mut self, kind: &'static str, place: &str, id: &str) {
        if let Some(list) = self.by_place.get_mut(&(kind, place.to_owned())) {
            list.retain(|o| *o.at("id") != id);
        }
    }
}

impl Product {
    fn not_found(&self) -> ApiError {
        let (status, code, message) = self.missing;
        ApiError::new(status, code, message)
    }

    /// Stores an object of the seed, made when everything seeded was.
    pub(crate) fn seed(&self, objects: &mut Objects, place: &str, mut object: Value, at: Now) {
        if let Some(map) = object.as_object_mut() {
            for name in [self.times.0, self.times.1] {
                map.insert(name.to_owned(), json!(at.rfc3339()));
            }
        }
        objects.put(self.kind, place, object);
    }
}

/// `GET` on the collection.
pub(crate) fn list(call: &Call<'_>, product: &Product) -> Outcome {
    let place = call.place()?;
    page_of(
        call,
        call.world.objects.list(product.kind, place),
        product.paged,
    )
}

/// A page of `items`, or all of them where the product has no pages.
pub(crate) fn page_of(call: &Call<'_>, items: &[Value], bounds: Option<Bounds>) -> Outcome {
    let Some(bounds) = bounds else {
        return Ok(Reply::ok(&items));
    };
    let page = Page::read(&call.query, bounds)?;
    let items: Vec<String> = items.iter().map(Value::to_string).collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The object of the path.
pub(crate) fn own<'a>(call: &'a Call<'_>, product: &Product) -> Result<&'a Value, ApiError> {
    call.world
        .objects
        .find(product.kind, call.place()?, call.param(product.param))
        .ok_or_else(|| product.not_found())
}

/// `GET` of one object.
pub(crate) fn get(call: &Call<'_>, product: &Product) -> Outcome {
    own(call, product).map(Reply::ok)
}

/// `POST` on the collection.
pub(crate) fn create(call: &mut Call<'_>, product: &Product) -> Outcome {
    call.place()?;
    let mut object = call.object()?;
    (product.check)(&mut object, call)?;
    let id = call.world.ids.next_id();
    let id = if product.uuid { uuid(&id) } else { id };
    let now = call.now.rfc3339();
    object.insert("id".to_owned(), json!(id));
    object.insert(product.times.0.to_owned(), json!(now));
    object.insert(product.times.1.to_owned(), json!(now));
    store(call, product, object)
}

/// `PUT` of one object: what the body does not name gets its default.
pub(crate) fn replace(call: &mut Call<'_>, product: &Product) -> Outcome {
    let old = own(call, product)?.clone();
    let body = call.object()?;
    change(call, product, &old, body)
}

/// `PATCH` of one object: what the body does not name stays.
pub(crate) fn edit(call: &mut Call<'_>, product: &Product) -> Outcome {
    let old = own(call, product)?.clone();
    let mut object = old.as_object().cloned().unwrap_or_default();
    object.extend(call.object()?);
    change(call, product, &old, object)
}

/// `DELETE` of one object.
pub(crate) fn delete(call: &mut Call<'_>, product: &Product) -> Outcome {
    let id = own(call, product)?["id"].clone();
    let place = call.place()?.to_owned();
    let text = id.as_str().unwrap_or_default();
    call.world.objects.remove(product.kind, &place, text);
    Ok(Reply::ok(&json!({"id": id})))
}

fn change(call: &mut Call<'_>, product: &Product, old: &Value, mut object: Object) -> Outcome {
    // The object is there while it is judged, so that a check can tell it from others by its id.
    object.insert("id".to_owned(), old.at("id").clone());
    (product.check)(&mut object, call)?;
    object.insert(product.times.0.to_owned(), old.at(product.times.0).clone());
    object.insert(product.times.1.to_owned(), json!(call.now.rfc3339()));
    store(call, product, object)
}

fn store(call: &mut Call<'_>, product: &Product, object: Object) -> Outcome {
    let place = call.place()?.to_owned();
    let object = Value::Object(object);
    let reply = Reply::ok(&object);
    call.world.objects.put(product.kind, &place, object);
    Ok(reply)
}

/// 32 digits in the form of a UUID.
pub(crate) fn uuid(id: &str) -> String {
    let mut out = String::with_capacity(36);
    for (index, digit) in id.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

/// A string that is not empty.
pub(crate) fn text<'a>(body: &'a Object, name: &str, code: u32) -> Result<&'a str, ApiError> {
    body.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ApiError::bad(code, format!("{name} must be a string that is not empty")))
}

/// One of a closed set of words.
pub(crate) fn word<'a>(
    body: &'a Object,
    name: &str,
    words: &[&str],
    code: u32,
) -> Result<&'a str, ApiError> {
    body.get(name)
        .and_then(Value::as_str)
        .filter(|word| words.contains(word))
        .ok_or_else(|| ApiError::bad(code, format!("{name} must be one of {}", words.join(", "))))
}

/// A list that is not empty.
pub(crate) fn list_of<'a>(
    body: &'a Object,
    name: &str,
    code: u32,
) -> Result<&'a [Value], ApiError> {
    body.get(name)
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .map(Vec::as_slice)
        .ok_or_else(|| ApiError::bad(code, format!("{name} must be a list that is not empty")))
}

/// Sets what is absent.
pub(crate) fn defaults(body: &mut Object, values: &Value) {
    for (name, value) in values.as_object().into_iter().flatten() {
        body.entry(name.clone()).or_insert_with(|| value.clone());
    }
}
