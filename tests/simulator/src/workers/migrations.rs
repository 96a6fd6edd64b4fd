//! Durable Object classes, and the migrations that make, rename and delete them.
//!
//! NOTES "Workers": `migrations`, not for version uploads. Shapes are *wrangler*; 10074 and 10079
//! are *seen*.

use serde_json::{Value, json};

use super::state::Object;
use super::validation;
use crate::api::{ApiError, Outcome};
use crate::ids::Ids;
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;

/// wrangler asks for 1,000 (*wrangler*).
const PAGES: Bounds = Bounds {
    min: 1,
    default: 20,
    max: 1000,
};

/// A Durable Object class that a script implements: a namespace of objects.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) script: String,
    pub(super) name: String,
    pub(super) sqlite: bool,
}

/// The operations on namespaces.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/durable_objects/namespaces";
    vec![("GET", ALL, list)]
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let items: Vec<String> = call
        .world
        .workers
        .classes
        .iter()
        .filter(|class| class.account == account)
        .map(|class| {
            let title = format!("{}_{}", class.script, class.name);
            json!({
                "id": class.id, "name": title, "script": class.script, "class": class.name,
                "use_sqlite": class.sqlite,
            })
            .to_string()
        })
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The script whose classes are migrated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) account: &'a str,
    pub(super) script: &'a str,
    pub(super) tag: Option<&'a str>,
}

/// Carries out the migrations of an upload on a copy of the classes. Gives the script's new tag.
///
/// # Errors
/// 10079 when the script is not at the tag that the upload takes it to be at, 10074 when a class is
/// there already or is not there, 10021 when the migrations are malformed.
pub(super) fn apply(
    classes: &mut Vec<Class>,
    metadata: &Object,
    owner: Owner<'_>,
    ids: &mut Ids,
) -> Result<Option<String>, ApiError> {
    let Some(migrations) = metadata.get("migrations").filter(|m| !m.is_null()) else {
        return Ok(owner.tag.map(str::to_owned));
    };
    let migrations = migrations
        .as_object()
        .ok_or_else(|| validation("migrations must be an object"))?;
    let old_tag = migrations.get("old_tag").and_then(Value::as_str);
    // Without an old tag the script must have none (hypothesis).
    if old_tag != owner.tag {
        return Err(ApiError::new(
            412,
            10_079,
            format!(
                "Actor migration tag precondition failed; expected tag '{}', script has '{}'",
                old_tag.unwrap_or_default(),
                owner.tag.unwrap_or_default()
            ),
        ));
    }
    match migrations.get("steps") {
        None => step(classes, migrations, owner, ids)?,
        Some(steps) => {
            let steps = steps.as_array().map(Vec::as_slice).unwrap_or_default();
            for one in steps {
                let one = one
                    .as_object()
                    .ok_or_else(|| validation("each step of migrations must be an object"))?;
                step(classes, one, owner, ids)?;
            }
        }
    }
    let new_tag = migrations.get("new_tag").and_then(Value::as_str);
    Ok(new_tag.or(owner.tag).map(str::to_owned))
}

fn step(
    classes: &mut Vec<Class>,
    step: &Object,
    owner: Owner<'_>,
    ids: &mut Ids,
) -> Result<(), ApiError> {
    for (list, sqlite) in [("new_classes", false), ("new_sqlite_classes", true)] {
        for class in items(step, list)? {
            let name = class.as_str().ok_or_else(|| malformed(list))?;
            if place(classes, owner, name).is_some() {
                return Err(ApiError::bad(
                    10_074,
                    format!(
                        "Cannot apply new-class migration to class '{name}' that is already depended on by existing Durable Objects"
                    ),
                ));
            }
            classes.push(Class {
                id: ids.next_id(),
                account: owner.account.to_owned(),
                script: owner.script.to_owned(),
                name: name.to_owned(),
                sqlite,
            });
        }
    }
    for renamed in items(step, "renamed_classes")? {
        let name = |member: &str| renamed.get(member).and_then(Value::as_str);
        let (Some(from), Some(to)) = (name("from"), name("to")) else {
            return Err(malformed("renamed_classes"));
        };
        let place = place(classes, owner, from).ok_or_else(|| missing("renamed", from))?;
        if let Some(class) = classes.get_mut(place) {
            to.clone_into(&mut class.name);
        }
    }
    for class in items(step, "deleted_classes")? {
        let name = class.as_str().ok_or_else(|| malformed("deleted_classes"))?;
        let place = place(classes, owner, name).ok_or_else(|| missing("deleted", name))?;
        classes.remove(place);
    }
    if !items(step, "transferred_classes")?.is_empty() {
        return Err(validation(
            "the simulator does not model transferred_classes",
        ));
    }
    Ok(())
}

fn items<'a>(step: &'a Object, list: &str) -> Result<&'a [Value], ApiError> {
    match step.get(list) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(malformed(list)),
    }
}

fn malformed(list: &str) -> ApiError {
    validation(format!("{list} of migrations is malformed"))
}

fn missing(what: &str, name: &str) -> ApiError {
    ApiError::bad(
        10_074,
        format!("Cannot apply {what}-class migration to non-existent class '{name}'"),
    )
}

fn place(classes: &[Class], owner: Owner<'_>, name: &str) -> Option<usize> {
    classes
        .iter()
        .position(|c| c.account == owner.account && c.script == owner.script && c.name == name)
}
