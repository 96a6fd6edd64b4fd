//! A GraphQL request brought to a plain tree: fragments spread, variables put in, directives
//! followed. The grammar is a library's.

use std::collections::BTreeMap;

use graphql_parser::query::{
    Definition, Directive, Document, FragmentDefinition, OperationDefinition, Selection,
    SelectionSet, Value as Written, VariableDefinition,
};
use serde_json::{Map, Value, json};

/// One field that was asked for.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in the answer: the alias, if it has one.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    pub(super) fields: Vec<Field>,
}

/// How deep fields and fragments may be nested.
const MAX_DEPTH: usize = 16;

struct Reader<'a> {
    fragments: BTreeMap<&'a str, &'a FragmentDefinition<'a, String>>,
    variables: Map<String, Value>,
}

/// Reads the one operation of a request, or the one of the given name.
pub(super) fn read(
    query: &str,
    operation: Option<&str>,
    given: &Map<String, Value>,
) -> Result<Vec<Field>, String> {
    let document: Document<'_, String> =
        graphql_parser::parse_query(query).map_err(|e| e.to_string().trim().to_owned())?;
    let mut fragments = BTreeMap::new();
    let mut operations = Vec::new();
    for definition in &document.definitions {
        match definition {
            Definition::Fragment(fragment) => {
                fragments.insert(fragment.name.as_str(), fragment);
            }
            Definition::Operation(OperationDefinition::SelectionSet(set)) => {
                operations.push((None, &[][..], set));
            }
            Definition::Operation(OperationDefinition::Query(query)) => {
                let variables = query.variable_definitions.as_slice();
                operations.push((query.name.as_deref(), variables, &query.selection_set));
            }
            Definition::Operation(_) => return Err("only queries are supported".to_owned()),
        }
    }
    operations.retain(|(name, _, _)| operation.is_none() || *name == operation);
    let [(_, variables, set)] = operations.as_slice() else {
        return Err("operationName must name one of the operations".to_owned());
    };
    let reader = Reader {
        fragments,
        variables: bound(variables, given)?,
    };
    let mut fields = Vec::new();
    reader.spread(set, 0, &mut fields)?;
    Ok(fields)
}

/// The values of the declared variables.
fn bound(
    declared: &[VariableDefinition<'_, String>],
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut values = Map::new();
    for variable in declared {
        let name = &variable.name;
        let value = match (given.get(name), &variable.default_value) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => plain(default, &Map::new())?,
            (None, None) => match variable.var_type {
                graphql_parser::query::Type::NonNullType(_) => {
                    return Err(format!("variable \"{name}\" is required"));
                }
                _ => Value::Null,
            },
        };
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// A written value as JSON. An enum is a string.
fn plain(value: &Written<'_, String>, variables: &Map<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Written::Variable(name) => variables
            .get(name)
            .cloned()
            .ok_or_else(|| format!("variable \"{name}\" is not defined"))?,
        Written::Int(number) => json!(number.as_i64()),
        Written::Float(number) => json!(number),
        Written::String(text) | Written::Enum(text) => json!(text),
        Written::Boolean(flag) => json!(flag),
        Written::Null => Value::Null,
        Written::List(list) => {
            let list = list.iter().map(|value| plain(value, variables));
            Value::Array(list.collect::<Result<_, _>>()?)
        }
        Written::Object(map) => {
            let map = map
                .iter()
                .map(|(name, value)| Ok((name.clone(), plain(value, variables)?)));
            Value::Object(map.collect::<Result<_, String>>()?)
        }
    })
}

impl Reader<'_> {
    fn spread(
        &self,
        set: &SelectionSet<'_, String>,
        depth: usize,
        into: &mut Vec<Field>,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("the query is nested deeper than {MAX_DEPTH}"));
        }
        for selection in &set.items {
            match selection {
                Selection::Field(field) if self.is_wanted(&field.directives)? => {
                    let arguments = field.arguments.iter();
                    let arguments = arguments
                        .map(|(name, value)| Ok((name.clone(), plain(value, &self.variables)?)));
                    let mut fields = Vec::new();
                    self.spread(&field.selection_set, depth + 1, &mut fields)?;
                    into.push(Field {
                        key: field.alias.as_ref().unwrap_or(&field.name).clone(),
                        name: field.name.clone(),
                        arguments: arguments.collect::<Result<_, String>>()?,
                        fields,
                    });
                }
                Selection::FragmentSpread(spread) if self.is_wanted(&spread.directives)? => {
                    let name = spread.fragment_name.as_str();
                    let fragment = self
                        .fragments
                        .get(name)
                        .ok_or_else(|| format!("fragment \"{name}\" is not defined"))?;
                    self.spread(&fragment.selection_set, depth + 1, into)?;
                }
                Selection::InlineFragment(inline) if self.is_wanted(&inline.directives)? => {
                    self.spread(&inline.selection_set, depth + 1, into)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `@include` and `@skip`.
    fn is_wanted(&self, directives: &[Directive<'_, String>]) -> Result<bool, String> {
        for directive in directives {
            let condition = directive.arguments.iter().find(|(name, _)| name == "if");
            let condition = condition.map(|(_, value)| plain(value, &self.variables));
            let (Some(condition), wanted) = (condition.transpose()?, directive.name == "include")
            else {
                return Err(format!("directive @{} needs if", directive.name));
            };
            if !wanted && directive.name != "skip" {
                return Err(format!("directive @{} is not known", directive.name));
            }
            if condition.as_bool() != Some(wanted) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(query: &str, variables: &Value) -> Result<Vec<String>, String> {
        let given = variables.as_object().unwrap();
        let fields = read(query, None, given)?;
        Ok(fields
            .into_iter()
            .map(|f| format!("{}={}{}", f.key, f.name, Value::Object(f.arguments)))
            .collect())
    }

    #[test]
    fn aliases_variables_fragments_and_directives_are_followed() {
        let query = r"query($a: Int = 3, $b: Boolean!) { x: one(n: $a) ...F two @skip(if: $b) ... on Q { four } }
                      fragment F on Q { three(list: [{k: v}]) @include(if: $b) }";
        let got = names(query, &json!({"b": true})).unwrap();
        assert_eq!(
            got,
            [
                r#"x=one{"n":3}"#,
                r#"three=three{"list":[{"k":"v"}]}"#,
                "four=four{}"
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (query, why) in [
            ("{ a(n: $x) }", "variable \"x\" is not defined"),
            ("query($x: Int!) { a }", "variable \"x\" is required"),
            ("{ ...F }", "fragment \"F\" is not defined"),
            (
                "{ ...F } fragment F on Q { ...F }",
                "the query is nested deeper than 16",
            ),
            ("mutation { a }", "only queries are supported"),
            (
                "query A { a } query B { b }",
                "operationName must name one of the operations",
            ),
            ("{ a @loud }", "directive @loud needs if"),
        ] {
            assert_eq!(names(query, &json!({})).unwrap_err(), why, "{query}");
        }
        assert!(
            names("{ a", &json!({}))
                .unwrap_err()
                .contains("query parse error")
        );
    }
}
