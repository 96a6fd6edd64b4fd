//! Typed values out of JSON values, with the place of whatever does not fit, and back.
//!
//! Everything whose errors name a field is described here by `object!` and `words!`: the configuration, the
//! parameters of jobs, the bodies our own API takes, what runs remember. In place of derived readers, of
//! which each type's would be compiled anew, an object's code is one call for each of its members; that
//! is 20 KB of the gzipped Worker.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::field_path::{FieldPath, Step};
use super::{AccountId, RunId, SnapshotId, Timestamp, ZoneId, nearest, quoted};

/// What has a form in JSON.
pub trait Typed: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The first [`Misfit`].
    fn read(value: Value) -> Result<Self, Misfit>;

    /// As [`Typed::read`] takes it.
    fn write(&self) -> Value;
}

/// What may be left out of an object.
pub trait Optional: Typed + Default {
    /// Whether it is what stands for it where it is left out.
    fn is_default(&self) -> bool;
}

/// Something that is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The way to it, from the inside out while it is on its way up.
    path: Vec<Step>,
    /// What is wrong, without a full stop.
    pub message: String,
}

impl Misfit {
    /// Of something that is wrong just here; the message has no full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            message: message.into(),
        }
    }

    /// Of a value that is not `expected`, which is a noun with its article.
    #[must_use]
    pub fn unexpected(found: &Value, expected: &str) -> Self {
        const SHOWN_BYTES: usize = 80;
        let shown = match found {
            Value::Null => "null".to_owned(),
            Value::Bool(truth) => truth.to_string(),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) if text.len() > SHOWN_BYTES => "a long text".to_owned(),
            Value::String(text) => format!("the text {text:?}"),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a table".to_owned(),
        };
        Self::new(format!("expected {expected}, found {shown}"))
    }

    /// Of a word that is none of those there are.
    #[must_use]
    pub fn unknown_word(found: &str, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        let found = quoted(found);
        Self::new(format!("{found} is not one of {}", known.join(", ")))
    }

    /// Of a member that an object does not have.
    fn unknown_key(found: &str, known: &[&str]) -> Self {
        let shown = quoted(found);
        let misfit = Self::new(match nearest(found, known.iter().copied()) {
            Some(known) => format!("there is no key {shown} here; the nearest is {known:?}"),
            None => format!("there is no key {shown} here"),
        });
        misfit.within(Step::Key(found.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> FieldPath {
        self.path.iter().rev().cloned().collect()
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

/// The members of an object that is being read.
pub(crate) struct Members(Map<String, Value>);

impl Members {
    /// Those of `value`, which has to be an object, with none but `known` where these are given.
    pub(crate) fn of(value: Value, known: Option<&[&str]>) -> Result<Self, Misfit> {
        let Value::Object(members) = value else {
            return Err(Misfit::unexpected(&value, "a table"));
        };
        if let Some(known) = known
            && let Some(key) = members.keys().find(|key| !known.contains(&key.as_str()))
        {
            return Err(Misfit::unknown_key(key, known));
        }
        Ok(Self(members))
    }

    /// A member that has to be there.
    pub(crate) fn required<T: Typed>(&mut self, key: &str) -> Result<T, Misfit> {
        match self.0.remove(key) {
            Some(value) => member(key, value),
            None => Err(Misfit::new(format!("the key {key:?} is missing"))),
        }
    }

    /// A member that may be left out.
    pub(crate) fn optional<T: Optional>(&mut self, key: &str) -> Result<T, Misfit> {
        match self.0.remove(key) {
            Some(value) => member(key, value),
            None => Ok(T::default()),
        }
    }
}

fn member<T: Typed>(key: &str, value: Value) -> Result<T, Misfit> {
    T::read(value).map_err(|misfit| misfit.within(Step::Key(key.to_owned())))
}

/// Describes an object: its fields, those that may be left out with `= default` behind the type, those
/// whose key is no name of a field with `as "key"`. Members that it does not have are errors; with
/// `stored` in front they are left out, as a later version may have written them.
macro_rules! object {
    (stored $($item:tt)*) => { $crate::model::typed::object!(@ [None] $($item)*); };
    (@ [$known:expr] $(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$about:meta])* $seen:vis $field:ident $(as $key:literal)?: $type:ty $(= $default:ident)?),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$about])* $seen $field: $type,)*
        }

        impl $crate::model::typed::Typed for $name {
            fn read(value: serde_json::Value) -> Result<Self, $crate::model::typed::Misfit> {
                let mut members = $crate::model::typed::Members::of(value, $known)?;
                Ok(Self {
                    $($field: $crate::model::typed::object!(@read members, ($field $($key)?) $($default)?),)*
                })
            }

            fn write(&self) -> serde_json::Value {
                let mut members = serde_json::Map::new();
                $($crate::model::typed::object!(@write members, self.$field, ($field $($key)?) $($default)?);)*
                serde_json::Value::Object(members)
            }
        }
    };
    (@key ($field:ident)) => { stringify!($field) };
    (@key ($field:ident $key:literal)) => { $key };
    (@read $members:ident, $key:tt) => {
        $members.required($crate::model::typed::object!(@key $key))?
    };
    (@read $members:ident, $key:tt default) => {
        $members.optional($crate::model::typed::object!(@key $key))?
    };
    (@write $members:ident, $value:expr, $key:tt) => {
        let value = $crate::model::typed::Typed::write(&$value);
        $members.insert($crate::model::typed::object!(@key $key).to_owned(), value);
    };
    (@write $members:ident, $value:expr, $key:tt default) => {
        if !$crate::model::typed::Optional::is_default(&$value) {
            $crate::model::typed::object!(@write $members, $value, $key);
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$about:meta])* $seen:vis $field:ident $(as $key:literal)?: $type:ty $(= $default:ident)?),* $(,)?
    }) => {
        $crate::model::typed::object!(@ [Some(&[$($crate::model::typed::object!(@key ($field $($key)?))),*])]
            $(#[$meta])* $vis struct $name {
                $($(#[$about])* $seen $field $(as $key)?: $type $(= $default)?),*
            }
        );
    };
}
pub(crate) use object;

/// Describes a choice of words.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$about:meta])* $variant:ident = $word:literal),* $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $crate::model::typed::Typed for $name {
            fn read(value: serde_json::Value) -> Result<Self, $crate::model::typed::Misfit> {
                use $crate::model::typed::Misfit;
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)*
                    Some(other) => Err(Misfit::unknown_word(other, &[$($word),*])),
                    None => Err(Misfit::unexpected(&value, "a text in quotes")),
                }
            }

            fn write(&self) -> serde_json::Value {
                serde_json::Value::from(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }
    };
}
pub(crate) use words;

/// Says of types that they may be left out where they are what `Default` makes.
macro_rules! optional {
    ($($type:ty),*) => {$(
        impl $crate::model::typed::Optional for $type {
            fn is_default(&self) -> bool {
                *self == Self::default()
            }
        }
    )*};
}
pub(crate) use optional;

optional!(bool, u8, u16, u32, u64, usize);

impl Typed for Value {
    fn read(value: Value) -> Result<Self, Misfit> {
        Ok(value)
    }

    fn write(&self) -> Value {
        self.clone()
    }
}

impl Typed for bool {
    fn read(value: Value) -> Result<Self, Misfit> {
        value
            .as_bool()
            .ok_or_else(|| Misfit::unexpected(&value, "true or false"))
    }

    fn write(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Typed for f64 {
    fn read(value: Value) -> Result<Self, Misfit> {
        value
            .as_f64()
            .ok_or_else(|| Misfit::unexpected(&value, "a number"))
    }

    fn write(&self) -> Value {
        Value::from(*self)
    }
}

impl Typed for String {
    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(Misfit::unexpected(&other, "a text in quotes")),
        }
    }

    fn write(&self) -> Value {
        Value::String(self.clone())
    }
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Typed for $type {
            fn read(value: Value) -> Result<Self, Misfit> {
                let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
                number.ok_or_else(|| {
                    let expected = format!("a whole number from 0 to {}", Self::MAX);
                    Misfit::unexpected(&value, &expected)
                })
            }

            fn write(&self) -> Value {
                Value::from(*self)
            }
        }
    )*};
}
whole!(u8, u16, u32, u64, usize);

impl<T: Typed> Typed for Option<T> {
    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::Null => Ok(None),
            value => T::read(value).map(Some),
        }
    }

    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::write)
    }
}

impl<T: Typed> Optional for Option<T> {
    fn is_default(&self) -> bool {
        self.is_none()
    }
}

impl<T: Typed> Typed for Vec<T> {
    fn read(value: Value) -> Result<Self, Misfit> {
        let Value::Array(items) = value else {
            return Err(Misfit::unexpected(&value, "a list"));
        };
        let mut read = Self::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            read.push(T::read(item).map_err(|misfit| misfit.within(Step::Item(index)))?);
        }
        Ok(read)
    }

    fn write(&self) -> Value {
        Value::Array(self.iter().map(T::write).collect())
    }
}

impl<T: Typed> Optional for Vec<T> {
    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl Typed for Map<String, Value> {
    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::Object(members) => Ok(members),
            // As clients write a table that they do not have; a configuration takes no null anywhere.
            Value::Null => Ok(Self::new()),
            other => Err(Misfit::unexpected(&other, "a table")),
        }
    }

    fn write(&self) -> Value {
        Value::Object(self.clone())
    }
}

impl Optional for Map<String, Value> {
    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Typed> Typed for BTreeMap<String, T> {
    fn read(value: Value) -> Result<Self, Misfit> {
        let mut read = Self::new();
        for (key, value) in Members::of(value, None)?.0 {
            let item = member(&key, value)?;
            read.insert(key, item);
        }
        Ok(read)
    }

    fn write(&self) -> Value {
        let members = self.iter().map(|(key, item)| (key.clone(), item.write()));
        Value::Object(members.collect())
    }
}

impl<T: Typed> Optional for BTreeMap<String, T> {
    fn is_default(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! texts {
    ($($type:ty),*) => {$(
        impl Typed for $type {
            fn read(value: Value) -> Result<Self, Misfit> {
                let text = String::read(value)?;
                text.parse().map_err(|error: <Self as std::str::FromStr>::Err| Misfit::new(error.to_string()))
            }

            fn write(&self) -> Value {
                Value::String(self.to_string())
            }
        }
    )*};
}
texts!(AccountId, ZoneId, RunId, SnapshotId);

impl Typed for Timestamp {
    fn read(value: Value) -> Result<Self, Misfit> {
        let text = String::read(value)?;
        text.parse().map_err(|_| {
            Misfit::new(format!(
                "`{text}` is not an RFC 3339 time, such as 2026-11-01T12:00:00Z"
            ))
        })
    }

    fn write(&self) -> Value {
        Value::String(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    object! {
        #[derive(Debug, PartialEq)]
        struct Order {
            items: Vec<Item> = default,
            note: Option<String> = default,
            tags: BTreeMap<String, u8> = default,
        }
    }

    object! {
        #[derive(Debug, PartialEq)]
        struct Item {
            kind as "type": Kind,
            count: u32,
        }
    }

    object! {
        stored
        struct Kept {
            count: u32,
        }
    }

    words! {
        #[derive(Debug, PartialEq)]
        enum Kind {
            Large = "large",
        }
    }

    #[test]
    fn what_fits_is_read_and_written_without_what_may_be_left_out() {
        let order = Order::read(json!({
            "items": [{"type": "large", "count": 2}], "note": null, "tags": {"a": 1},
        }))
        .unwrap();
        assert_eq!(
            order.items,
            [Item {
                kind: Kind::Large,
                count: 2
            }]
        );
        assert_eq!((&order.note, order.tags["a"]), (&None, 1));
        let written = json!({"items": [{"type": "large", "count": 2}], "tags": {"a": 1}});
        assert_eq!(order.write(), written);
        assert_eq!(Order::read(json!({})).unwrap().write(), json!({}));
    }

    #[test]
    fn what_is_stored_may_hold_what_a_later_version_wrote_beside() {
        let kept = Kept::read(json!({"count": 3, "since": "later"})).unwrap();
        assert_eq!(kept.count, 3);
        assert!(Kept::read(json!({"since": "later"})).is_err());
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let item = |item: Value| json!({"items": [{"type": "large", "count": 1}, item]});
        for (value, said) in [
            (
                item(json!({"type": "large", "count": -1})),
                "items[1].count: expected a whole number from 0 to 4294967295, found the number -1",
            ),
            (
                item(json!({"type": "large", "count": 1.5})),
                "items[1].count: expected a whole number from 0 to 4294967295, found the number 1.5",
            ),
            (
                item(json!({"type": "small", "count": 1})),
                "items[1].type: \"small\" is not one of \"large\"",
            ),
            (
                item(json!({"type": {"large": 1}, "count": 1})),
                "items[1].type: expected a text in quotes, found a table",
            ),
            (
                item(json!({"type": "large"})),
                "items[1]: the key \"count\" is missing",
            ),
            (
                item(json!({"kinds": 1})),
                "items[1].kinds: there is no key \"kinds\" here",
            ),
            (
                item(json!(["large", 1])),
                "items[1]: expected a table, found a list",
            ),
            (item(json!(null)), "items[1]: expected a table, found null"),
            (
                json!({"tags": {"a b": 300}}),
                "tags.\"a b\": expected a whole number from 0 to 255, found the number 300",
            ),
            (json!("x"), "expected a table, found the text \"x\""),
        ] {
            assert_eq!(Order::read(value).unwrap_err().to_string(), said);
        }
    }
}
