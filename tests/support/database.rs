//! A database in memory, and one around it that fails when it is told to.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::rc::Rc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, StatementStatus, params_from_iter};
use zonekeeper::store::{Database, Row, Statement, StoreError, Value};

/// SQLite in memory. Each batch is one transaction, as on D1.
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: RefCell<Connection>,
    work: Cell<i64>,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self {
            connection: RefCell::new(Connection::open_in_memory().unwrap()),
            work: Cell::new(0),
        }
    }

    /// Rows changed in tables since the beginning; entries of indexes are not among them.
    pub(crate) fn total_changes(&self) -> u64 {
        self.connection.borrow().total_changes()
    }

    /// Operations of SQLite's machine in batches so far: what looks at more rows takes more of them.
    pub(crate) fn work(&self) -> i64 {
        self.work.get()
    }

    /// The rows of a query that the tests make themselves.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Row> {
        run(&self.connection.borrow(), sql, &[], &Cell::new(0)).unwrap()
    }

    /// The number of rows of `table`.
    pub(crate) fn count(&self, table: &str) -> i64 {
        self.rows(&format!("SELECT count(*) AS n FROM {table}"))[0]["n"]
            .as_i64()
            .unwrap()
    }

    /// Every table and every row in it.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for table in self.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        {
            let name = table["name"].as_str().unwrap();
            for row in self.rows(&format!("SELECT * FROM {name}")) {
                writeln!(text, "{name} {row}").unwrap();
            }
        }
        text
    }
}

impl Database for Sqlite {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError> {
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction().map_err(|error| failed(&error))?;
        let results = statements
            .iter()
            .map(|statement| run(&transaction, statement.sql, &statement.binds, &self.work))
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))?;
        transaction.commit().map_err(|error| failed(&error))?;
        Ok(results)
    }
}

fn failed(error: &rusqlite::Error) -> StoreError {
    StoreError::from_message(&error.to_string())
}

fn run(
    connection: &Connection,
    sql: &str,
    binds: &[Value],
    work: &Cell<i64>,
) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns: Vec<String> = statement
        .column_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    let binds = binds.iter().map(|value| match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(number) => {
            assert!(
                *number <= 1 << 53 || *number >= 1 << 60,
                "D1 does not keep {number}"
            );
            rusqlite::types::Value::Integer(*number)
        }
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
    });
    let mut rows = statement.query(params_from_iter(binds))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut object = serde_json::Map::new();
        for (index, name) in columns.iter().enumerate() {
            let value = match row.get_ref(index)? {
                ValueRef::Null => Row::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) | ValueRef::Blob(text) => {
                    String::from_utf8_lossy(text).into_owned().into()
                }
            };
            object.insert(name.clone(), value);
        }
        found.push(Row::Object(object));
    }
    drop(rows);
    work.set(work.get() + i64::from(statement.reset_status(StatementStatus::VmStep)));
    Ok(found)
}

/// When a batch fails, seen from what it was to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Nothing is stored.
    FailsBefore,
    /// All of it is stored, but the answer is lost.
    FailsAfter,
}

type Hook = Box<dyn FnOnce()>;

enum Act {
    Fail(Storage),
    Then(Hook),
}

enum When {
    /// The batch of this number, counted from 1 on from when the rule was made.
    Nth(usize),
    /// The next batch with a statement that begins so.
    Sql(&'static str),
}

#[derive(Default)]
struct Rules {
    waiting: RefCell<Vec<(When, Act)>>,
    down: Cell<bool>,
    batches: Cell<usize>,
}

/// A database shared by several stores that fails as it is told. Rules act once.
#[derive(Clone)]
pub(crate) struct FailingDatabase {
    sqlite: Rc<Sqlite>,
    rules: Rc<Rules>,
}

impl FailingDatabase {
    pub(crate) fn new() -> Self {
        Self {
            sqlite: Rc::new(Sqlite::new()),
            rules: Rc::default(),
        }
    }

    /// What is really stored.
    pub(crate) fn sqlite(&self) -> &Sqlite {
        &self.sqlite
    }

    /// From now on nothing works, or everything again.
    pub(crate) fn set_down(&self, down: bool) {
        self.rules.down.set(down);
    }

    /// The `n`th batch from now on fails.
    pub(crate) fn fail_nth(&self, n: usize, storage: Storage) {
        let at = self.rules.batches.get() + n;
        self.rules
            .waiting
            .borrow_mut()
            .push((When::Nth(at), Act::Fail(storage)));
    }

    /// The next batch with a statement that begins with `sql` fails.
    pub(crate) fn fail(&self, sql: &'static str, storage: Storage) {
        self.rules
            .waiting
            .borrow_mut()
            .push((When::Sql(sql), Act::Fail(storage)));
    }

    /// After the next batch with a statement that begins with `sql`, something else happens before
    /// its result is seen.
    pub(crate) fn after(&self, sql: &'static str, then: impl FnOnce() + 'static) {
        self.rules
            .waiting
            .borrow_mut()
            .push((When::Sql(sql), Act::Then(Box::new(then))));
    }

    /// Batches run so far.
    pub(crate) fn batches(&self) -> usize {
        self.rules.batches.get()
    }

    fn act(&self, number: usize, statements: &[Statement]) -> Option<Act> {
        let mut waiting = self.rules.waiting.borrow_mut();
        let at = waiting.iter().position(|(when, _)| match when {
            When::Nth(n) => *n == number,
            When::Sql(sql) => statements
                .iter()
                .any(|statement| statement.sql.starts_with(sql)),
        })?;
        Some(waiting.remove(at).1)
    }
}

impl std::fmt::Debug for FailingDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailingDatabase")
    }
}

impl Database for FailingDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError> {
        let number = self.rules.batches.get() + 1;
        self.rules.batches.set(number);
        let lost = || StoreError::from_message("D1_ERROR: Network connection lost.");
        if self.rules.down.get() {
            return Err(lost());
        }
        match self.act(number, &statements) {
            None => self.sqlite.batch(statements).await,
            Some(Act::Fail(Storage::FailsBefore)) => Err(lost()),
            Some(Act::Fail(Storage::FailsAfter)) => {
                self.sqlite.batch(statements).await?;
                Err(lost())
            }
            Some(Act::Then(then)) => {
                let results = self.sqlite.batch(statements).await;
                then();
                results
            }
        }
    }
}
