//! Tokens Cloudflare gave callers for the files of an upload. Only their hashes have a way in.

use super::database::row;
use super::logins::FORGET_AT_ONCE;
use super::{Database, Statement, Store, StoreError};
use crate::identity::{Digest, KeyId};
use crate::model::{AccountId, Timestamp};

/// Binds: the columns in order. A token that is given again is remembered anew.
const REMEMBER: &str = "INSERT INTO asset_jwts (hash, principal, key_id, account, script, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (hash) DO UPDATE SET principal = excluded.principal, key_id = excluded.key_id, \
     account = excluded.account, script = excluded.script, expires_at = excluded.expires_at";
/// Binds: hash, time in Unix ms.
const BY_HASH: &str = "SELECT * FROM asset_jwts WHERE hash = ?1 AND expires_at > ?2";
/// Binds: time in Unix ms, how many at the most.
const FORGET: &str = "DELETE FROM asset_jwts WHERE hash IN \
     (SELECT hash FROM asset_jwts WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

/// Whose a token for the files of an upload is, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetJwt {
    /// The principal that got it.
    pub principal: String,
    /// The key that got it: with that it ends.
    pub key: KeyId,
    /// The account it is for.
    pub account: AccountId,
    /// The Worker it is for; none for a Pages project.
    pub script: Option<String>,
    /// When Cloudflare stops accepting it.
    pub expires_at: Timestamp,
}

impl<D: Database> Store<D> {
    /// Remembers a token by its hash. One statement; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn remember_asset_jwt(
        &self,
        hash: &Digest,
        jwt: &AssetJwt,
    ) -> Result<(), StoreError> {
        let binds = vec![
            hash.to_hex().into(),
            jwt.principal.as_str().into(),
            jwt.key.as_str().into(),
            jwt.account.to_string().into(),
            jwt.script.clone().into(),
            jwt.expires_at.unix_ms().into(),
        ];
        self.database
            .batch(vec![Statement::new(REMEMBER, binds)])
            .await
            .map(drop)
    }

    /// Whose the token with this hash is, while it is good at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn asset_jwt(
        &self,
        hash: &Digest,
        now: Timestamp,
    ) -> Result<Option<AssetJwt>, StoreError> {
        let binds = vec![hash.to_hex().into(), now.unix_ms().into()];
        let mut results = self
            .database
            .batch(vec![Statement::new(BY_HASH, binds)])
            .await?;
        let Some(mut row) = row(&mut results, 0)? else {
            return Ok(None);
        };
        Ok(Some(AssetJwt {
            principal: row.text("principal")?,
            key: row.parsed("key_id")?,
            account: row.parsed("account")?,
            script: row.maybe_text("script")?,
            expires_at: row.time("expires_at")?,
        }))
    }

    /// Forgets tokens that are over at `now`, up to five hundred. One statement; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn forget_asset_jwts(&self, now: Timestamp) -> Result<(), StoreError> {
        self.database
            .batch(vec![Statement::new(
                FORGET,
                vec![now.unix_ms().into(), FORGET_AT_ONCE.into()],
            )])
            .await
            .map(drop)
    }
}
