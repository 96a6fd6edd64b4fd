//! D1 behind the core's [`Database`].

use wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement};

use super::meter::Meter;
use crate::store::{Database, Row, Statement, StoreError, Value};

/// The D1 binding.
#[derive(Debug)]
pub(super) struct D1 {
    database: D1Database,
    meter: Meter,
}

impl D1 {
    /// The binding `database`; `meter` counts what is asked of it.
    pub(super) const fn new(database: D1Database, meter: Meter) -> Self {
        Self { database, meter }
    }

    fn prepare(&self, statement: Statement) -> Result<D1PreparedStatement, StoreError> {
        let binds: Vec<JsValue> = statement.binds.into_iter().map(to_js).collect();
        self.database
            .prepare(statement.sql)
            .bind(&binds)
            .map_err(|error| failed(&error))
    }
}

/// D1 takes JavaScript numbers; integers of the core stay below 2^53.
#[expect(clippy::cast_precision_loss, reason = "integers stay below 2^53")]
fn to_js(value: Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Integer(number) => JsValue::from_f64(number as f64),
        Value::Text(text) => JsValue::from_str(&text),
    }
}

fn failed(error: &worker::Error) -> StoreError {
    StoreError::from_message(&error.to_string())
}

impl Database for D1 {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError> {
        let prepared = statements
            .into_iter()
            .map(|statement| self.prepare(statement))
            .collect::<Result<Vec<_>, _>>()?;
        self.meter.count();
        let results = self
            .database
            .batch(prepared)
            .await
            .map_err(|error| failed(&error))?;
        results
            .iter()
            .map(|result| result.results::<Row>().map_err(|error| failed(&error)))
            .collect()
    }
}
