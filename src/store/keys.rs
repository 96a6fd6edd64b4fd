//! API keys. No method takes a secret: only digests have a way in.

use super::audit::event_statement;
use super::control::{Control, NEXT_KEYS_GENERATION, READ_CONTROL, decode_control};
use super::database::{Columns, row, rows};
use super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::identity::{Digest, KeyId, KeyRecord, Login};
use crate::model::Timestamp;

/// Binds: key id.
const BY_ID: &str = "SELECT * FROM api_keys WHERE id = ?1";
/// Binds: principal.
const BY_PRINCIPAL: &str =
    "SELECT * FROM api_keys WHERE principal = ?1 ORDER BY created_at DESC, id LIMIT 1000";
/// Binds: the columns in order.
const INSERT: &str = "INSERT INTO api_keys (id, principal, digest, created_at, expires_at, note, legacy, rule, behind) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
/// Binds: id, principal, time in Unix ms.
const REVOKE: &str =
    "UPDATE api_keys SET revoked_at = ?3 WHERE id = ?1 AND principal = ?2 AND revoked_at IS NULL";
/// Binds: id, time in Unix ms. Never lengthens a key's life.
const EXPIRE: &str =
    "UPDATE api_keys SET expires_at = ?2 WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2)";
/// Binds: JSON list of `[id, time in Unix ms]`.
const USED: &str = "UPDATE api_keys SET last_used_at = (SELECT value ->> 1 FROM json_each(?1) WHERE value ->> 0 = api_keys.id) \
     WHERE id IN (SELECT value ->> 0 FROM json_each(?1))";

fn key_record(mut row: Columns) -> Result<KeyRecord, StoreError> {
    let id: KeyId = row.parsed("id")?;
    let digest = Digest::from_hex(&row.text("digest")?);
    Ok(KeyRecord {
        id,
        digest: digest.ok_or_else(|| StoreError::Corrupt(format!("key {id}")))?,
        principal: row.text("principal")?,
        created_at: row.time("created_at")?,
        expires_at: row.maybe_time("expires_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
        last_used_at: row.maybe_time("last_used_at")?,
        note: row.maybe_text("note")?,
        legacy: row.flag("legacy")?,
        login: match (row.maybe_text("rule")?, row.maybe_text("behind")?) {
            (Some(rule), Some(behind)) => Some(Login { rule, behind }),
            (None, None) => None,
            _ => return Err(StoreError::Corrupt(format!("key {id}"))),
        },
    })
}

pub(super) fn insert(key: &KeyRecord) -> Statement {
    let login = key.login.as_ref();
    Statement::new(
        INSERT,
        vec![
            key.id.as_str().into(),
            key.principal.as_str().into(),
            key.digest.to_hex().into(),
            key.created_at.unix_ms().into(),
            key.expires_at.map(Timestamp::unix_ms).into(),
            key.note.clone().into(),
            key.legacy.into(),
            login.map(|login| login.rule.as_str()).into(),
            login.map(|login| login.behind.as_str()).into(),
        ],
    )
}

impl<D: Database> Store<D> {
    /// Reads the key called `id`, if there is one, and what was current at the same instant.
    /// Two statements, one round trip; the same work whether the key exists or not.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn key(&self, id: KeyId) -> Result<(Option<KeyRecord>, Control), StoreError> {
        let mut results = self
            .database
            .batch(vec![
                Statement::new(BY_ID, vec![id.as_str().into()]),
                Statement::new(READ_CONTROL, vec![]),
            ])
            .await?;
        Ok((
            row(&mut results, 0)?.map(key_record).transpose()?,
            decode_control(&mut results, 1)?,
        ))
    }

    /// The newest thousand keys of `principal`, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn keys_of(&self, principal: &str) -> Result<Vec<KeyRecord>, StoreError> {
        let mut results = self
            .database
            .batch(vec![Statement::new(BY_PRINCIPAL, vec![principal.into()])])
            .await?;
        rows(&mut results, 0)?.into_iter().map(key_record).collect()
    }

    /// Records a new key and the event that tells of it, together or not at all.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id or the entry number is taken: mint another.
    pub async fn add_key(&self, key: &KeyRecord, event: &Event) -> Result<(), StoreError> {
        self.database
            .batch(vec![
                insert(key),
                event_statement(std::slice::from_ref(event))?,
            ])
            .await
            .map(drop)
    }

    /// Records `new` in the place of `old`, which ends at `old_ends`. One batch.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the id or the entry number is taken: mint another.
    pub async fn roll_key(
        &self,
        old: KeyId,
        old_ends: Timestamp,
        new: &KeyRecord,
        event: &Event,
    ) -> Result<(), StoreError> {
        self.database
            .batch(vec![
                insert(new),
                Statement::new(EXPIRE, vec![old.as_str().into(), old_ends.unix_ms().into()]),
                Statement::new(NEXT_KEYS_GENERATION, vec![]),
                event_statement(std::slice::from_ref(event))?,
            ])
            .await
            .map(drop)
    }

    /// Ends the key `id` of `principal` for good. One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn revoke_key(
        &self,
        principal: &str,
        id: KeyId,
        event: &Event,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.database
            .batch(vec![
                Statement::new(
                    REVOKE,
                    vec![id.as_str().into(), principal.into(), now.unix_ms().into()],
                ),
                Statement::new(NEXT_KEYS_GENERATION, vec![]),
                event_statement(std::slice::from_ref(event))?,
            ])
            .await
            .map(drop)
    }

    /// Notes when keys were last used. One statement; of no consequence for what a key may do.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn note_key_use(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let list: Vec<_> = uses
            .iter()
            .map(|(id, at)| serde_json::json!([id.as_str(), at.unix_ms()]))
            .collect();
        let json = serde_json::Value::Array(list).to_string();
        self.database
            .batch(vec![Statement::new(USED, vec![json.into()])])
            .await
            .map(drop)
    }
}
