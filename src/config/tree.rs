//! A document of either format with the place of everything in it.

use serde_json::{Map, Value};

use crate::model::json::{Build, Json};
use crate::model::{FieldPath, Step};

/// One value and where it starts.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// Byte offset.
    pub(super) at: usize,
    /// The value.
    pub(super) node: Node,
}

/// What a [`Tree`] holds.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// `null`, a truth value, a number, or a text (a TOML date-time is its RFC 3339 text).
    Scalar(Value),
    /// A list.
    List(Vec<Tree>),
    /// A table; no two members have the same key.
    Table(Vec<Member>),
}

/// One entry of a table.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The key.
    pub(super) key: String,
    /// Byte offset of the key.
    pub(super) at: usize,
    /// Its value.
    pub(super) value: Tree,
}

impl Tree {
    /// A value that contains no others.
    pub(super) fn scalar(value: impl Into<Value>, at: usize) -> Self {
        Self {
            at,
            node: Node::Scalar(value.into()),
        }
    }

    /// The value of `key`, if this is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        self.member(key).map(|member| &member.value)
    }

    fn member(&self, key: &str) -> Option<&Member> {
        match &self.node {
            Node::Table(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// Byte offset of what `path` names (of the key, where a key does), or of the last thing on
    /// the way that exists.
    pub(super) fn offset_of(&self, path: &FieldPath) -> usize {
        let mut offset = self.at;
        let mut tree = self;
        for step in path.steps() {
            let next = match (step, &tree.node) {
                (Step::Key(key), _) => tree.member(key).map(|member| (member.at, &member.value)),
                (Step::Item(index), Node::List(items)) => {
                    items.get(*index).map(|item| (item.at, item))
                }
                _ => None,
            };
            let Some((at, value)) = next else { break };
            offset = at;
            tree = value;
        }
        offset
    }

    /// The same without places.
    pub(super) fn to_value(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Node::Table(members) => {
                let mut object = Map::new();
                for member in members {
                    object.insert(member.key.clone(), member.value.to_value());
                }
                Value::Object(object)
            }
        }
    }
}

impl Build for Tree {
    type Member = Member;

    fn null(at: usize) -> Self {
        Self::scalar(Value::Null, at)
    }
    fn bool(value: bool, at: usize) -> Self {
        Self::scalar(value, at)
    }
    fn number(text: &str, at: usize) -> Self {
        Self::scalar(Json::Number(text.to_owned()), at)
    }
    fn string(text: String, at: usize) -> Self {
        Self::scalar(text, at)
    }
    fn array(items: Vec<Self>, at: usize) -> Self {
        Self {
            at,
            node: Node::List(items),
        }
    }
    fn member(key: String, at: usize, value: Self) -> Member {
        Member { key, at, value }
    }
    fn key(member: &Member) -> &str {
        &member.key
    }
    fn object(members: Vec<Member>, at: usize) -> Self {
        Self {
            at,
            node: Node::Table(members),
        }
    }
}
