//! The schema and how a database comes to it.

use super::{Database, Statement, Store, StoreError};

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, counted from 1 without gaps.
    pub id: i64,
    /// Its file in `migrations/`.
    pub sql: &'static str,
}

/// Every migration, in order. They expand before they contract, so that the version before still
/// runs on the schema of the version after.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        id: 1,
        sql: include_str!("../../migrations/0001_spine.sql"),
    },
    Migration {
        id: 2,
        sql: include_str!("../../migrations/0002_jobs.sql"),
    },
    Migration {
        id: 3,
        sql: include_str!("../../migrations/0003_grant_uses.sql"),
    },
    Migration {
        id: 4,
        sql: include_str!("../../migrations/0004_identity.sql"),
    },
    Migration {
        id: 5,
        sql: include_str!("../../migrations/0005_asset_jwts.sql"),
    },
    Migration {
        id: 6,
        sql: include_str!("../../migrations/0006_indexes.sql"),
    },
    Migration {
        id: 7,
        sql: include_str!("../../migrations/0007_hooks.sql"),
    },
    Migration {
        id: 8,
        sql: include_str!("../../migrations/0008_deploys.sql"),
    },
];

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (id INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)";
const APPLIED: &str = "SELECT id FROM schema_migrations ORDER BY id";
/// Binds: id, time in Unix ms. The primary key is the lock: of two Workers that apply the same
/// migration the second hits it, and its whole batch has no effect.
const RECORD: &str = "INSERT INTO schema_migrations (id, applied_at) VALUES (?1, ?2)";

impl<D: Database> Store<D> {
    /// Brings the database to the newest schema. Harmless to repeat and to run from several
    /// isolates at once: each migration is one transaction that begins by taking its own number.
    ///
    /// # Errors
    /// [`StoreError`] when a migration fails for another reason than being applied already.
    pub async fn migrate(&self, now: crate::model::Timestamp) -> Result<(), StoreError> {
        let mut results = self
            .database
            .batch(vec![
                Statement::new(CREATE_TABLE, vec![]),
                Statement::new(APPLIED, vec![]),
            ])
            .await?;
        let applied: Vec<i64> = super::database::rows(&mut results, 1)?
            .iter()
            .map(|row| row.number("id"))
            .collect::<Result<_, _>>()?;
        for migration in MIGRATIONS {
            if applied.contains(&migration.id) {
                continue;
            }
            let mut batch = vec![Statement::new(
                RECORD,
                vec![migration.id.into(), now.unix_ms().into()],
            )];
            batch.extend(statements(migration.sql).map(|sql| Statement::new(sql, vec![])));
            match self.database.batch(batch).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Splits a migration into its statements. Migrations hold no semicolon but at a statement's end.
fn statements(sql: &'static str) -> impl Iterator<Item = &'static str> {
    sql.split(';').map(str::trim).filter(|statement| {
        statement
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::model::hex;

    #[test]
    fn migrations_are_numbered_without_gaps_and_split_into_statements() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.id, i64::try_from(index).unwrap() + 1);
            for statement in statements(migration.sql) {
                let is_code = |line: &&str| !line.is_empty() && !line.starts_with("--");
                let first = statement.lines().map(str::trim).find(is_code);
                let begins = |verb: &&str| first.is_some_and(|line| line.starts_with(*verb));
                assert!(
                    ["CREATE ", "INSERT ", "ALTER "].iter().any(begins),
                    "{statement}"
                );
                // The version before reads and writes what it knows by its name.
                let is_column_added = statement.contains(" ADD COLUMN ");
                assert!(!begins(&"ALTER ") || is_column_added, "{statement}");
            }
        }
        assert_eq!(statements(MIGRATIONS[0].sql).count(), 10);
    }

    /// A database that has a migration never sees what is added to it later.
    #[test]
    fn a_migration_that_has_landed_never_changes() {
        const LANDED: [&str; 8] = [
            "55c50c01c0edec29ef8c275aaca9c6f56d3a9807587ed9807fb06bd161799869",
            "1ef87e8c4f27b25df8530d791d7605037add053c1200839ffdce53d6406aae17",
            "674cb2a0293d625b18c57fe13ec70519b449298bef92ff85de3d6b0a5f850e25",
            "e8d9c46a781a100748d1f6855ab77dcb702f7529875f164afd6f9414753e9815",
            "a86b8bac2569e1d8851f6d8ae427aa2324ae5692f7dbabaf06cc02d984c715ee",
            "e4683e109d2c31be0c5bb229e0b0949c3af4352d792e7218027ded453868e53b",
            "2f63d39fc684818366424e21d1279e49724a6f47d5ee0995c30c8c19e7b21bb2",
            "96659c48d8689996748bdb07aab4eeda5b7eb2042cb4a90ab55e0d62dbc0aeb1",
        ];
        let digests: Vec<String> = MIGRATIONS
            .iter()
            .map(|migration| hex(&Sha256::digest(migration.sql)))
            .collect();
        assert_eq!(digests, LANDED, "write a migration of its own instead");
    }
}
