//! Configuration versions.

use std::rc::Rc;

use super::audit::event_statement;
use super::control::NEXT_KEYS_GENERATION;
use super::database::row;
use super::uses::forget_others;
use super::{Database, Statement, Store, StoreError, Value};
use crate::audit::Event;
use crate::config::document::Document;
use crate::config::{Format, Resolution};
use crate::model::Timestamp;

/// Binds: none. Gives at most one row.
const CURRENT: &str = "SELECT v.version, v.document, v.source, v.format, v.resolution \
     FROM control c JOIN config_versions v ON v.version = c.config_version WHERE c.id = 1";
/// Binds: version, document, source, format, resolution, time in Unix ms, by whom.
const INSERT: &str = "INSERT INTO config_versions (version, document, source, format, resolution, applied_at, applied_by) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/// Binds: new version, version before.
const ADVANCE: &str = "UPDATE control SET config_version = ?1 WHERE id = 1 AND config_version = ?2";
/// Binds: time in Unix ms, names of the principals that are gone, as a JSON list.
const REVOKE_KEYS_OF: &str = "UPDATE api_keys SET revoked_at = ?1 \
     WHERE revoked_at IS NULL AND principal IN (SELECT value FROM json_each(?2))";

/// The configuration in force.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConfig {
    /// Its version, 0 before the first apply.
    pub version: i64,
    /// What it says.
    pub document: Rc<Document>,
    /// The ids its names stood for when it was applied.
    pub resolution: Rc<Resolution>,
    /// How it was written, where that was TOML.
    pub toml: Option<String>,
}

/// Another apply came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyConflict;

impl<D: Database> Store<D> {
    /// Reads the configuration in force; the empty one at version 0 before the first apply.
    /// One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn current_config(&self) -> Result<StoredConfig, StoreError> {
        let mut results = self
            .database
            .batch(vec![Statement::new(CURRENT, vec![])])
            .await?;
        let Some(mut row) = row(&mut results, 0)? else {
            return Ok(StoredConfig {
                version: 0,
                document: Rc::default(),
                resolution: Rc::default(),
                toml: None,
            });
        };
        let version = row.number("version")?;
        let corrupt =
            |error: String| StoreError::Corrupt(format!("config version {version}: {error}"));
        let source = row.text("source")?;
        let document = Document::from_json(row.json("document")?).map_err(corrupt)?;
        let resolution = Resolution::from_json(row.json("resolution")?).map_err(corrupt)?;
        Ok(StoredConfig {
            version,
            document: Rc::new(document),
            resolution: Rc::new(resolution),
            toml: (row.text("format")? == "toml").then_some(source),
        })
    }

    /// Makes `document` the configuration in force, in one batch: the version, the control row, the
    /// keys of principals that are gone, and the audit event. All of it happens or nothing.
    ///
    /// # Errors
    /// `Ok(Err(ApplyConflict))` when `before` is no longer the version in force; [`StoreError`] when
    /// the database failed.
    #[expect(clippy::too_many_arguments, reason = "all of it is one row")]
    pub async fn apply_config(
        &self,
        before: i64,
        document: &Document,
        source: &str,
        format: Format,
        resolution: &Resolution,
        removed_principals: &[String],
        event: &Event,
        now: Timestamp,
    ) -> Result<Result<i64, ApplyConflict>, StoreError> {
        let version = before + 1;
        let mut batch = vec![
            Statement::new(
                INSERT,
                vec![
                    version.into(),
                    document.to_json().to_string().into(),
                    source.into(),
                    Value::from(match format {
                        Format::Toml => "toml",
                        Format::Json => "json",
                    }),
                    resolution.to_json().to_string().into(),
                    now.unix_ms().into(),
                    event.principal.clone().into(),
                ],
            ),
            Statement::new(ADVANCE, vec![version.into(), before.into()]),
        ];
        if !removed_principals.is_empty() {
            let names = serde_json::json!(removed_principals).to_string();
            batch.push(Statement::new(
                REVOKE_KEYS_OF,
                vec![now.unix_ms().into(), names.into()],
            ));
            batch.push(Statement::new(NEXT_KEYS_GENERATION, vec![]));
        }
        let counting: Vec<&str> = document
            .grants
            .iter()
            .filter(|grant| {
                grant.max_uses.is_some()
                    || grant.per_minute.is_some()
                    || grant.max_deletes_per_hour.is_some()
            })
            .map(|grant| grant.name.as_str())
            .collect();
        batch.push(forget_others(&counting));
        batch.push(event_statement(std::slice::from_ref(event))?);
        // INVARIANT: versions are taken one by one, so whoever comes second meets the primary key.
        match self.database.batch(batch).await {
            Ok(_) => Ok(Ok(version)),
            Err(StoreError::Conflict) => Ok(Err(ApplyConflict)),
            Err(error) => Err(error),
        }
    }
}
