//! Tokens that were exchanged for keys. No method takes a token or a key: only the name an issuer gave a
//! token, and digests, have a way in.

use super::audit::event_statement;
use super::database::row;
use super::keys::insert;
use super::{Database, Statement, Store, StoreError};
use crate::audit::Event;
use crate::identity::{Claims, KeyRecord};
use crate::model::Timestamp;

/// Binds: issuer, jti, time in Unix ms. The primary key lets each token count once.
const SPEND: &str = "INSERT INTO oidc_jtis (issuer, jti, expires_at) VALUES (?1, ?2, ?3)";
/// Binds: issuer, jti.
const SPENT: &str = "SELECT 1 AS spent FROM oidc_jtis WHERE issuer = ?1 AND jti = ?2";
/// Binds: time in Unix ms, how many at the most.
const FORGET_TOKENS: &str = "DELETE FROM oidc_jtis WHERE (issuer, jti) IN \
     (SELECT issuer, jti FROM oidc_jtis WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";
/// Binds: time in Unix ms, how many at the most. Keys that were minted by hand have no rule and stay.
const FORGET_KEYS: &str = "DELETE FROM api_keys WHERE id IN \
     (SELECT id FROM api_keys WHERE rule IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

/// How long after nobody accepts it any more a token is remembered: more than clocks differ.
const TOKENS_KEPT_MS: i64 = 600_000;
/// How long after its end a key of a token can still be listed: a day.
const KEYS_KEPT_MS: i64 = 86_400_000;
/// Rows of each kind deleted at a time.
pub(super) const FORGET_AT_ONCE: i64 = 500;

impl<D: Database> Store<D> {
    /// Records the key that a token was exchanged for, that the token is spent, and the event that tells
    /// of it: all of it or nothing. One batch.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the token was exchanged before ([`Store::is_spent`] tells), or the
    /// id of the key or the entry number is taken: mint another.
    pub async fn add_login(
        &self,
        key: &KeyRecord,
        claims: &Claims,
        jti: &str,
        event: &Event,
    ) -> Result<(), StoreError> {
        let spent = vec![
            claims.issuer().into(),
            jti.into(),
            claims.spent_at().unix_ms().into(),
        ];
        self.database
            .batch(vec![
                Statement::new(SPEND, spent),
                insert(key),
                event_statement(std::slice::from_ref(event))?,
            ])
            .await
            .map(drop)
    }

    /// Whether the token called `jti` by its issuer was exchanged. One statement.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read; the token must then not be accepted.
    pub async fn is_spent(&self, issuer: &str, jti: &str) -> Result<bool, StoreError> {
        let binds = vec![issuer.into(), jti.into()];
        let mut results = self
            .database
            .batch(vec![Statement::new(SPENT, binds)])
            .await?;
        Ok(row(&mut results, 0)?.is_some())
    }

    /// Deletes what nobody needs any more: tokens that have expired, and keys of tokens a day after
    /// their end, up to five hundred of each. Audit entries stay. One batch; harmless to repeat.
    ///
    /// # Errors
    /// [`StoreError`] when the database failed.
    pub async fn forget_logins(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = |kept_ms: i64| {
            let at = now.plus_ms(-kept_ms).unix_ms();
            vec![at.into(), FORGET_AT_ONCE.into()]
        };
        self.database
            .batch(vec![
                Statement::new(FORGET_TOKENS, before(TOKENS_KEPT_MS)),
                Statement::new(FORGET_KEYS, before(KEYS_KEPT_MS)),
            ])
            .await
            .map(drop)
    }
}
