//! D1: databases, and the SQL that is sent to them.
//!
//! NOTES "D1". Statements are **recorded, not run**: each is answered with an empty result set, and
//! `GET /__sim/state` lists what was sent, so that a test can say what reached a database. The codes
//! 7400, 7404 and 7502 are those that clients published in their error tables.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::world::Call;

/// The bounds are a hypothesis (NOTES "Envelope, errors, pagination": most others 50–100).
const PAGES: Bounds = Bounds {
    min: 10,
    default: 20,
    max: 10_000,
};

/// NOTES "D1": limits of a statement.
const MAX_SQL_BYTES: usize = 100 * 1024;
const MAX_PARAMS: usize = 100;

/// A database: its name and the SQL it was sent, oldest first.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account_id: String,
    pub(crate) statements: Vec<String>,
    created_at: String,
    replication: String,
}

/// The databases of all accounts, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Databases(Vec<Database>);

/// The operations of this module. A database goes by its id or its name: wrangler puts the name
/// where the path has an id.
pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/d1/database";
    const ONE: &str = "/accounts/{account_id}/d1/database/{database}";
    const QUERY: &str = "/accounts/{account_id}/d1/database/{database}/query";
    const RAW: &str = "/accounts/{account_id}/d1/database/{database}/raw";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PUT", ONE, update),
        ("PATCH", ONE, update),
        ("DELETE", ONE, delete),
        ("POST", QUERY, query),
        ("POST", RAW, raw),
    ]
}

impl Database {
    /// An empty one.
    pub(crate) fn new(id: String, name: &str, account_id: &str, now: Now) -> Self {
        Self {
            id,
            name: name.to_owned(),
            account_id: account_id.to_owned(),
            statements: Vec::new(),
            created_at: now.rfc3339(),
            replication: "disabled".to_owned(),
        }
    }

    fn render(&self) -> Value {
        json!({
            "uuid": self.id, "name": self.name, "created_at": self.created_at,
            "version": "production", "num_tables": 0, "file_size": 8192,
            "read_replication": {"mode": self.replication},
        })
    }
}

impl Databases {
    /// Adds one.
    pub(crate) fn put(&mut self, database: Database) {
        self.0.push(database);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Database> {
        self.0.iter()
    }

    /// Whether an account has a database of this id.
    pub(crate) fn has(&self, account_id: &str, id: &str) -> bool {
        self.0
            .iter()
            .any(|d| d.account_id == account_id && d.id == id)
    }
}

/// The database of the path.
fn database<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Database, ApiError> {
    let account = call.account()?;
    let wanted = call.param("database").to_owned();
    call.world
        .d1
        .0
        .iter_mut()
        .filter(|d| d.account_id == account)
        .find(|d| d.id == wanted || d.name == wanted)
        .ok_or_else(|| {
            ApiError::new(
                404,
                7404,
                format!("The database {wanted} could not be found"),
            )
        })
}

/// A body that is not what the operation takes.
fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad(7400, message.into())
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let wanted = call.query.non_empty("name");
    let items: Vec<String> = call
        .world
        .d1
        .iter()
        .filter(|d| d.account_id == account)
        .filter(|d| wanted.is_none_or(|name| d.name.contains(name)))
        .map(|d| d.render().to_string())
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let body = call.object()?;
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| invalid("Invalid property: name => Required"))?;
    let is_same = |d: &Database| d.account_id == account && d.name == name;
    if call.world.d1.iter().any(is_same) {
        return Err(ApiError::bad(
            7502,
            format!("A database with the name {name} already exists"),
        ));
    }
    let database = Database::new(call.world.ids.next_uuid(), name, &account, call.now);
    let reply = Reply::ok(&database.render());
    call.world.d1.put(database);
    Ok(reply)
}

/// `fields=uuid,name` chooses what is shown (wrangler asks so for the id of a name).
fn get(call: &mut Call<'_>) -> Outcome {
    let fields = call.query.non_empty("fields").map(str::to_owned);
    let mut shown = database(call)?.render();
    if let (Some(fields), Some(map)) = (fields, shown.as_object_mut()) {
        map.retain(|name, _| fields.split(',').any(|field| field == name));
    }
    Ok(Reply::ok(&shown))
}

/// Read replication is all that can be changed.
fn update(call: &mut Call<'_>) -> Outcome {
    database(call)?;
    let body = call.object()?;
    let mode = body
        .get("read_replication")
        .and_then(|replication| replication.get("mode"))
        .and_then(Value::as_str)
        .filter(|mode| matches!(*mode, "auto" | "disabled"))
        .ok_or_else(|| invalid("Invalid property: read_replication.mode => auto or disabled"))?;
    let database = database(call)?;
    mode.clone_into(&mut database.replication);
    Ok(Reply::ok(&database.render()))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = database(call)?.id.clone();
    call.world.d1.0.retain(|d| d.id != id);
    Ok(Reply::ok(&Value::Null))
}

fn query(call: &mut Call<'_>) -> Outcome {
    answer(call, &json!([]))
}

fn raw(call: &mut Call<'_>) -> Outcome {
    answer(call, &json!({"columns": [], "rows": []}))
}

/// NOTES "D1": `{sql, params}` or `{batch: [{sql, params}]}`; one result for each statement sent.
fn answer(call: &mut Call<'_>, results: &Value) -> Outcome {
    database(call)?;
    let body = call.json()?;
    let statements = match body.get("batch") {
        None => vec![statement(&body)?],
        Some(batch) => batch
            .as_array()
            .filter(|batch| !batch.is_empty())
            .ok_or_else(|| invalid("Invalid property: batch => a list of statements"))?
            .iter()
            .map(statement)
            .collect::<Result<_, _>>()?,
    };
    let answers: Vec<Value> = statements.iter().map(|_| result(results)).collect();
    database(call)?.statements.extend(statements);
    Ok(Reply::ok(&answers))
}

fn statement(one: &Value) -> Result<String, ApiError> {
    let sql = one
        .get("sql")
        .and_then(Value::as_str)
        .filter(|sql| !sql.trim().is_empty())
        .ok_or_else(|| invalid("Invalid property: sql => Required"))?;
    if sql.len() > MAX_SQL_BYTES {
        return Err(invalid("Invalid property: sql => at most 100 KB"));
    }
    let params = one.get("params").map_or(Some(0), |params| {
        let params = params.as_array()?;
        let plain = params.iter().all(|p| !p.is_object() && !p.is_array());
        plain.then_some(params.len())
    });
    if params.is_none_or(|count| count > MAX_PARAMS) {
        return Err(invalid(
            "Invalid property: params => a list of at most 100 plain values",
        ));
    }
    Ok(sql.to_owned())
}

fn result(results: &Value) -> Value {
    json!({
        "results": results, "success": true,
        "meta": {
            "served_by": "simulator", "served_by_region": "WEUR", "served_by_primary": true,
            "duration": 0.1, "changes": 0, "last_row_id": 0, "changed_db": false,
            "size_after": 8192, "rows_read": 0, "rows_written": 0,
        },
    })
}
