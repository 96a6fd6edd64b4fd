//! What is kept: configuration versions, keys, audit rows, runs, deliveries of webhooks.
//!
//! Owns every SQL statement. [`Store`] speaks in verbs of the domain over a [`Database`], which is
//! D1 in `edge` and native SQLite in tests, so that the same code and the same `migrations/` run on
//! both. A failed read is an error, never "nothing there".

mod asset_jwts;
mod audit;
mod buckets;
mod config;
mod control;
mod database;
mod hooks;
mod keys;
mod locks;
mod logins;
mod migrations;
mod notices;
mod runs;
mod schedule;
mod snapshots;
mod uses;

pub use asset_jwts::AssetJwt;
pub use audit::{AuditFilter, AuditPage, OpenIntents};
pub use buckets::Drawn;
pub use config::{ApplyConflict, StoredConfig};
pub use control::Control;
pub use database::{Database, Row, Statement, StoreError, Value};
pub use hooks::{Delivery, DeliveryOutcome};
pub use migrations::{MIGRATIONS, Migration};
pub use notices::{Notice, Told};
pub use runs::{Hold, IdempotencyKey, KeyedRun, NewRun, Save, Saved, Wish};
pub use schedule::{JobRow, OpenRuns, Overdue, ScheduledJob, Tick};
pub use snapshots::Snapshot;
pub use uses::{Counted, Use, WithoutRoom};

/// The store over some database.
#[derive(Debug, Clone)]
pub struct Store<D> {
    database: D,
}

impl<D: Database> Store<D> {
    /// A store over `database`, which must be migrated before anything else is asked of it.
    pub const fn new(database: D) -> Self {
        Self { database }
    }
}
