//! Where in a document or a body something stands: `grants[2].dns.names[0]`.

use std::fmt;

/// The way from the root of a document to one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

/// One step of a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, from 0.
    Item(usize),
}

impl FieldPath {
    /// The steps, from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Reads the text form; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (index, after) = after.split_once(']')?;
                steps.push(Step::Item(index.parse().ok()?));
                rest = after;
                continue;
            }
            let after_dot = rest.strip_prefix('.');
            if after_dot.is_some() == steps.is_empty() {
                return None;
            }
            rest = after_dot.unwrap_or(rest);
            let key_len = if rest.starts_with('"') {
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let key = strings.next()?.ok()?;
                steps.push(Step::Key(key));
                strings.byte_offset()
            } else {
                let len = rest.find(['.', '[']).unwrap_or(rest.len());
                steps.push(Step::Key(rest.get(..len)?.to_owned()));
                len
            };
            rest = rest.get(key_len..)?;
        }
        Some(Self(steps))
    }
}

impl FromIterator<Step> for FieldPath {
    fn from_iter<T: IntoIterator<Item = Step>>(steps: T) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for FieldPath {
    /// Keys of other characters than `A-Za-z0-9_-` are quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(key) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{}", serde_json::Value::from(key.as_str()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A [`FieldPath`] under construction on the stack, so that a check that finds nothing wrong
/// allocates nothing.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// The document.
    Root,
    /// The value of a key.
    Key(&'a At<'a>, &'a str),
    /// An item of a list.
    Item(&'a At<'a>, usize),
}

impl<'a> At<'a> {
    /// The value of `key` here.
    #[must_use]
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    /// The item at `index` here.
    #[must_use]
    pub fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// The same way, to be kept.
    #[must_use]
    pub fn to_path(self) -> FieldPath {
        match self {
            Self::Root => FieldPath::default(),
            Self::Key(parent, key) => {
                let mut path = parent.to_path();
                path.0.push(Step::Key(key.to_owned()));
                path
            }
            Self::Item(parent, index) => {
                let mut path = parent.to_path();
                path.0.push(Step::Item(index));
                path
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        let root = At::Root;
        let claims = root.key("principals");
        let claims = claims.item(1);
        let claims = claims.key("claims");
        let odd = claims.key("https://x.example/\"a\"[0]");
        let item = odd.item(0);
        let path = item.to_path();
        let text = "principals[1].claims.\"https://x.example/\\\"a\\\"[0]\"[0]";
        assert_eq!(path.to_string(), text);
        assert_eq!(FieldPath::parse(text), Some(path));
        assert_eq!(FieldPath::parse(""), Some(FieldPath::default()));
        for bad in ["[", "[x]", ".a", "a[0", "\"a"] {
            assert_eq!(FieldPath::parse(bad), None, "{bad}");
        }
    }
}
