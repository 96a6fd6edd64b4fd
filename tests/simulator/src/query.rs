//! Query strings: decoded pairs, in the order they came.

use crate::api::ApiError;

/// The decoded query of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes `application/x-www-form-urlencoded` pairs.
    pub(crate) fn parse(raw: &str) -> Self {
        Self {
            pairs: form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        }
    }

    /// The first value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// The first value of `key`, none when it is empty.
    pub(crate) fn non_empty(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|v| !v.is_empty())
    }

    /// Every pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// One of a closed set of words, with a default.
    pub(crate) fn choice(
        &self,
        key: &str,
        allowed: &[&'static str],
        default: &'static str,
    ) -> Result<&'static str, ApiError> {
        match self.non_empty(key) {
            None => Ok(default),
            Some(value) => allowed
                .iter()
                .find(|a| **a == value)
                .copied()
                .ok_or_else(|| invalid(key)),
        }
    }

    /// A positive number, with a default.
    pub(crate) fn number(&self, key: &str, default: usize) -> Result<usize, ApiError> {
        match self.non_empty(key) {
            None => Ok(default),
            Some(value) => value
                .parse()
                .ok()
                .filter(|n| *n >= 1)
                .ok_or_else(|| invalid(key)),
        }
    }
}

/// A query parameter with a value outside its schema.
///
/// The code is a hypothesis; NOTES gives only the status (400 bad input).
pub(crate) fn invalid(key: &str) -> ApiError {
    ApiError::bad(6003, format!("Invalid value for query parameter {key}"))
}
