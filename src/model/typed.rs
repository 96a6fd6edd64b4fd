//! Typed values out of JSON values, with the place of whatever does not fit.
//!
//! Everything whose errors name a field is read here, so that each type is compiled for one reader only.

use std::fmt;
use std::vec;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::field_path::{FieldPath, Step};

/// Reads a `T`.
///
/// # Errors
/// The first [`Misfit`].
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Misfit> {
    T::deserialize(Reader(value))
}

/// Something that is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The way to it, from the inside out while it is on its way up.
    path: Vec<Step>,
    /// What is wrong, in serde's words, without a full stop.
    pub message: String,
}

impl Misfit {
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

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: Vec::new(),
            message: message.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!(
            "invalid type: {}, expected {expected}",
            Found(found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!(
            "invalid value: {}, expected {expected}",
            Found(found)
        ))
    }
}

/// What was found, in serde's words, but for null. Numbers are shown by `serde_json`, which is there anyway.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(truth) => write!(f, "boolean `{truth}`"),
            Unexpected::Unsigned(number) => write!(f, "integer `{number}`"),
            Unexpected::Signed(number) => write!(f, "integer `{number}`"),
            Unexpected::Float(number) => write!(f, "floating point `{}`", Value::from(number)),
            Unexpected::Str(text) => write!(f, "string {text:?}"),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Seq => f.write_str("sequence"),
            Unexpected::Map => f.write_str("map"),
            Unexpected::Other(other) => f.write_str(other),
            _ => f.write_str("something else"),
        }
    }
}

struct Reader(Value);

impl Reader {
    /// A value of a type that only an object, or only a text, can be.
    fn misfit(&self, expected: &dyn de::Expected) -> Misfit {
        let found = match &self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(truth) => Unexpected::Bool(*truth),
            Value::Number(_) => Unexpected::Other("a number"),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        de::Error::invalid_type(found, expected)
    }
}

impl<'de> de::Deserializer<'de> for Reader {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Number(number) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items {
                items: items.into_iter(),
                next: 0,
            }),
            Value::Object(members) => visitor.visit_map(Members {
                members: members.into_iter(),
                value: None,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// A list is no struct: serde would take its items for the fields in the order of the schema.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Object(_) => self.deserialize_any(visitor),
            _ => Err(self.misfit(&visitor)),
        }
    }

    /// Variants are texts.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            _ => Err(self.misfit(&"string")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

struct Items {
    items: vec::IntoIter<Value>,
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let Some(value) = self.items.next() else {
            return Ok(None);
        };
        let step = Step::Item(self.next);
        self.next += 1;
        match seed.deserialize(Reader(value)) {
            Ok(item) => Ok(Some(item)),
            Err(misfit) => Err(misfit.within(step)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members {
    members: <Map<String, Value> as IntoIterator>::IntoIter,
    /// The key whose value comes next, and the value.
    value: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Members {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        let Some((key, value)) = self.members.next() else {
            return Ok(None);
        };
        let text: StringDeserializer<Misfit> = key.clone().into_deserializer();
        match seed.deserialize(text) {
            Ok(read) => {
                self.value = Some((key, value));
                Ok(Some(read))
            }
            Err(misfit) => Err(misfit.within(Step::Key(key))),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        let Some((key, value)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Reader(value))
            .map_err(|misfit| misfit.within(Step::Key(key)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(default)]
        items: Vec<Item>,
        note: Option<String>,
        #[serde(default)]
        tags: BTreeMap<String, u8>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        kind: Kind,
        count: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Large,
    }

    #[test]
    fn what_fits_is_read() {
        let order: Order = read(json!({
            "items": [{"kind": "large", "count": 2}], "note": null, "tags": {"a": 1},
        }))
        .unwrap();
        assert_eq!(
            order.items,
            [Item {
                kind: Kind::Large,
                count: 2
            }]
        );
        assert_eq!((order.note, order.tags["a"]), (None, 1));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let item = |item: Value| json!({"items": [{"kind": "large", "count": 1}, item]});
        for (value, said) in [
            (
                item(json!({"kind": "large", "count": -1})),
                "items[1].count: invalid value: integer `-1`, expected u32",
            ),
            (
                item(json!({"kind": "large", "count": 1.5})),
                "items[1].count: invalid type: floating point `1.5`, expected u32",
            ),
            (
                item(json!({"kind": "small", "count": 1})),
                "items[1].kind: unknown variant `small`, expected `large`",
            ),
            (
                item(json!({"kind": {"large": 1}, "count": 1})),
                "items[1].kind: invalid type: map, expected string",
            ),
            (
                item(json!({"kind": "large"})),
                "items[1]: missing field `count`",
            ),
            (
                item(json!({"kinds": 1})),
                "items[1].kinds: unknown field `kinds`, expected `kind` or `count`",
            ),
            (
                item(json!(["large", 1])),
                "items[1]: invalid type: sequence, expected struct Item",
            ),
            (
                item(json!(null)),
                "items[1]: invalid type: null, expected struct Item",
            ),
            (
                json!({"tags": {"a b": 300}}),
                "tags.\"a b\": invalid value: integer `300`, expected u8",
            ),
            (
                json!("x"),
                "invalid type: string \"x\", expected struct Order",
            ),
        ] {
            assert_eq!(read::<Order>(value).unwrap_err().to_string(), said);
        }
    }
}
