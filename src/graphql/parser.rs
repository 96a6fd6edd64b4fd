//! GraphQL tokens as the definitions of an executable document.

use std::ops::Range;

use super::GraphqlError;
use super::lexer::Token;
use crate::model::json::Json;

/// How many selection sets and values may contain one another.
pub(super) const MAX_DEPTH: usize = 24;

/// A value, as far as it can matter to what a query reaches.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `$name`
    Variable(String),
    /// A text.
    Text(String),
    /// A number, `true`, `false`, `null` or a word.
    Other,
    /// `[…]`
    List(Vec<Value>),
    /// `{…}`; no key occurs twice.
    Object(Vec<(String, Value)>),
}

impl From<&Json> for Value {
    fn from(json: &Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Json::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::from(value)))
                    .collect(),
            ),
            Json::Null | Json::Bool(_) | Json::Number(_) => Self::Other,
        }
    }
}

/// One item of a selection set.
#[derive(Debug)]
pub(super) enum Selection {
    /// A field.
    Field(Field),
    /// `...name`
    Spread(String),
    /// `... { }` with or without a type.
    Inline(Vec<Selection>),
}

/// A field with what is selected of it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Value)>,
    pub(super) selections: Vec<Selection>,
}

/// `query …`
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: Option<String>,
    /// The variables it declares, with their defaults.
    pub(super) variables: Vec<(String, Option<Value>)>,
    pub(super) selections: Vec<Selection>,
    /// Where it stands among the tokens.
    pub(super) tokens: Range<usize>,
}

/// `fragment …`
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) name: String,
    pub(super) selections: Vec<Selection>,
    /// Where it stands among the tokens.
    pub(super) tokens: Range<usize>,
}

/// What a document defines.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) operations: Vec<Operation>,
    pub(super) fragments: Vec<Fragment>,
}

/// Reads a document.
///
/// # Errors
/// When it is not well formed, or defines anything but queries and fragments.
pub(super) fn document(tokens: &[Token]) -> Result<Document, GraphqlError> {
    let mut parser = Parser { tokens, at: 0 };
    let mut document = Document::default();
    while let Some(token) = parser.peek() {
        let start = parser.at;
        match token {
            Token::Mark('{') => {
                let selections = parser.selections(0)?;
                document.operations.push(Operation {
                    name: None,
                    variables: Vec::new(),
                    selections,
                    tokens: start..parser.at,
                });
            }
            Token::Name(word) if word == "query" => {
                parser.at += 1;
                let operation = parser.operation(start)?;
                document.operations.push(operation);
            }
            Token::Name(word) if word == "fragment" => {
                parser.at += 1;
                let fragment = parser.fragment(start)?;
                if document.fragments.iter().any(|f| f.name == fragment.name) {
                    return Err(GraphqlError::Shape("two fragments have one name"));
                }
                document.fragments.push(fragment);
            }
            Token::Name(word) if word == "mutation" || word == "subscription" => {
                return Err(GraphqlError::NotAQuery);
            }
            _ => {
                return Err(GraphqlError::Shape(
                    "it is not made of queries and fragments",
                ));
            }
        }
    }
    Ok(document)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, mark: char) -> bool {
        let is_next = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, mark: char, what: &'static str) -> Result<(), GraphqlError> {
        if self.take(mark) {
            return Ok(());
        }
        Err(GraphqlError::Shape(what))
    }

    fn name(&mut self) -> Result<String, GraphqlError> {
        match self.peek() {
            Some(Token::Name(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(GraphqlError::Shape("a name is missing")),
        }
    }

    fn operation(&mut self, start: usize) -> Result<Operation, GraphqlError> {
        let name = matches!(self.peek(), Some(Token::Name(_)))
            .then(|| self.name())
            .transpose()?;
        let mut variables: Vec<(String, Option<Value>)> = Vec::new();
        if self.take('(') {
            while !self.take(')') {
                self.expect('$', "a declared variable does not begin with $")?;
                let variable = self.name()?;
                self.expect(':', "a declared variable has no type")?;
                self.variable_type(0)?;
                let default = self.take('=').then(|| self.value(0)).transpose()?;
                self.directives()?;
                if variables.iter().any(|(other, _)| *other == variable) {
                    return Err(GraphqlError::Shape("a variable is declared twice"));
                }
                variables.push((variable, default));
            }
        }
        self.directives()?;
        Ok(Operation {
            name,
            variables,
            selections: self.selections(0)?,
            tokens: start..self.at,
        })
    }

    fn fragment(&mut self, start: usize) -> Result<Fragment, GraphqlError> {
        let name = self.name()?;
        if name == "on" || self.name()? != "on" {
            return Err(GraphqlError::Shape("a fragment has no type"));
        }
        self.name()?;
        self.directives()?;
        Ok(Fragment {
            name,
            selections: self.selections(0)?,
            tokens: start..self.at,
        })
    }

    fn variable_type(&mut self, depth: usize) -> Result<(), GraphqlError> {
        let depth = deeper(depth)?;
        if self.take('[') {
            self.variable_type(depth)?;
            self.expect(']', "a list of a type has no end")?;
        } else {
            self.name()?;
        }
        self.take('!');
        Ok(())
    }

    fn selections(&mut self, depth: usize) -> Result<Vec<Selection>, GraphqlError> {
        let depth = deeper(depth)?;
        self.expect('{', "a selection is missing")?;
        let mut found = Vec::new();
        while !self.take('}') {
            found.push(self.selection(depth)?);
        }
        if found.is_empty() {
            return Err(GraphqlError::Shape("a selection is empty"));
        }
        Ok(found)
    }

    fn selection(&mut self, depth: usize) -> Result<Selection, GraphqlError> {
        if self.peek() == Some(&Token::Spread) {
            self.at += 1;
            if let Some(Token::Name(word)) = self.peek() {
                self.at += 1;
                if word != "on" {
                    self.directives()?;
                    return Ok(Selection::Spread(word.clone()));
                }
                self.name()?;
            }
            self.directives()?;
            return Ok(Selection::Inline(self.selections(depth)?));
        }
        let mut name = self.name()?;
        if self.take(':') {
            name = self.name()?;
        }
        let arguments = self.arguments()?;
        self.directives()?;
        let selections = if self.peek() == Some(&Token::Mark('{')) {
            self.selections(depth)?
        } else {
            Vec::new()
        };
        Ok(Selection::Field(Field {
            name,
            arguments,
            selections,
        }))
    }

    fn arguments(&mut self) -> Result<Vec<(String, Value)>, GraphqlError> {
        if !self.take('(') {
            return Ok(Vec::new());
        }
        self.members(')', 0)
    }

    /// `name: value …` up to `end`.
    fn members(&mut self, end: char, depth: usize) -> Result<Vec<(String, Value)>, GraphqlError> {
        let mut found: Vec<(String, Value)> = Vec::new();
        while !self.take(end) {
            let name = self.name()?;
            self.expect(':', "a value is missing after a name")?;
            let value = self.value(depth)?;
            if found.iter().any(|(other, _)| *other == name) {
                return Err(GraphqlError::Shape("a name is given two values"));
            }
            found.push((name, value));
        }
        Ok(found)
    }

    /// Only those directives that leave fields out: what is judged is then never less than what is
    /// done.
    fn directives(&mut self) -> Result<(), GraphqlError> {
        while self.take('@') {
            if !matches!(self.name()?.as_str(), "include" | "skip") {
                return Err(GraphqlError::Unjudged(
                    "a directive other than @include and @skip",
                ));
            }
            self.arguments()?;
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, GraphqlError> {
        let depth = deeper(depth)?;
        let token = self
            .peek()
            .ok_or(GraphqlError::Shape("a value is missing"))?;
        self.at += 1;
        Ok(match token {
            Token::Text(text) => Value::Text(text.clone()),
            Token::Number(_) | Token::Name(_) => Value::Other,
            Token::Mark('$') => Value::Variable(self.name()?),
            Token::Mark('[') => {
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value(depth)?);
                }
                Value::List(items)
            }
            Token::Mark('{') => Value::Object(self.members('}', depth)?),
            _ => return Err(GraphqlError::Shape("a value is missing")),
        })
    }
}

fn deeper(depth: usize) -> Result<usize, GraphqlError> {
    if depth >= MAX_DEPTH {
        return Err(GraphqlError::TooDeep);
    }
    Ok(depth + 1)
}
