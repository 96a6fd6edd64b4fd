//! What every database under the store must do, as functions over any of them, run on SQLite with
//! the same migrations and statements as on D1.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use pollster::block_on;
use support::database::{FailingDatabase, Sqlite, Storage};
use support::keeper::resolution;
use zonekeeper::audit::{Action, Event, Intent, OutcomeRow, ReadBack, What, Who};
use zonekeeper::config::{Format, read};
use zonekeeper::identity::{Key, KeyId, KeyRecord, KeyState, Pepper};
use zonekeeper::model::{EntryId, Secret, Timestamp};
use zonekeeper::store::{
    ApplyConflict, AuditFilter, Control, Database, MIGRATIONS, Statement, Store, StoreError,
};
use zonekeeper::upstream::Outcome;

const ZONE: &str = "00000000000000000000000000000c01";

fn at(ms: i64) -> Timestamp {
    "2026-11-01T12:00:00Z"
        .parse::<Timestamp>()
        .unwrap()
        .plus_ms(ms)
}

/// The entry number `n` of the millisecond `ms`.
fn entry(ms: i64, n: i64) -> EntryId {
    EntryId::from_stored(EntryId::first_of(at(ms)).get() + n)
}

fn who(principal: &str) -> Who {
    Who {
        principal: Some(principal.to_owned()),
        credential: "key Ab12Cd34Ef56".to_owned(),
        source_ip: Some("203.0.113.7".to_owned()),
        run: None,
    }
}

fn what(operation: &str) -> What {
    What {
        operation: operation.to_owned(),
        method: "POST".to_owned(),
        path: format!("/client/v4/zones/{ZONE}/dns_records"),
        zone: Some(ZONE.to_owned()),
        resources: vec![format!("zone:{ZONE}")],
        action: Action::new("create TXT record a.example.com in example.com"),
        deprecated: false,
    }
}

fn event(id: EntryId) -> Event {
    Event::of(id, who("operator"), what("dns-list"))
}

fn intent(id: EntryId) -> Intent {
    Intent {
        id,
        who: who("acme-bot"),
        what: what("dns-create"),
        grant: Some("acme".to_owned()),
        reason: "allowed by acme".to_owned(),
        read_back: Some(ReadBack::Gone {
            target: "/x".to_owned(),
        }),
    }
}

fn outcome(id: EntryId, outcome: Outcome) -> OutcomeRow {
    OutcomeRow {
        id,
        outcome,
        status: Some(200),
        cf_ray: Some("8f00ba4-AMS".to_owned()),
        duration_ms: 12,
        upstream_calls: 1,
        detail: None,
    }
}

fn key(seed: u8, principal: &str) -> KeyRecord {
    let key = Key::mint(&[seed; 30]);
    KeyRecord {
        id: key.id(),
        principal: principal.to_owned(),
        digest: key.digest(&Pepper::new(Secret::new("pepper"))),
        created_at: at(i64::from(seed)),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        note: Some("a \"note\"\n".to_owned()),
        legacy: false,
        login: None,
    }
}

fn everything() -> AuditFilter {
    AuditFilter {
        limit: 1000,
        ..AuditFilter::default()
    }
}

async fn migrated<D: Database>(database: D) -> Store<D> {
    let store = Store::new(database);
    store.migrate(at(0)).await.unwrap();
    store
}

async fn apply<D: Database>(
    store: &Store<D>,
    before: i64,
    config: &str,
    removed: &[&str],
) -> Result<Result<i64, ApplyConflict>, StoreError> {
    let source = read(config.as_bytes(), Format::Toml).unwrap();
    let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
    store
        .apply_config(
            before,
            &source.document,
            config,
            Format::Toml,
            &resolution(),
            &removed,
            &event(entry(before * 1000, 7)),
            at(before),
        )
        .await
}

/// Before its migrations a database says so, and after them they may be repeated at will.
async fn migrations_are_applied_once<D: Database>(database: D) {
    let store = Store::new(database);
    assert_eq!(store.control().await, Err(StoreError::NotMigrated));
    for _ in 0..3 {
        store.migrate(at(0)).await.unwrap();
        let fresh = Control {
            config_version: 0,
            keys_generation: 0,
        };
        assert_eq!(store.control().await, Ok(fresh));
    }
    let config = store.current_config().await.unwrap();
    assert_eq!((config.version, config.toml), (0, None));
}

/// Versions are taken one by one; whoever comes second changes nothing.
async fn configurations_are_compared_and_set<D: Database>(database: D) {
    let store = migrated(database).await;
    let first = "[[principals]]\nname = \"a\"\nkind = \"key\"\n";
    let second = "[[principals]]\nname = \"b\"\nkind = \"key\"\n";
    assert_eq!(apply(&store, 0, first, &[]).await, Ok(Ok(1)));
    assert_eq!(apply(&store, 0, second, &[]).await, Ok(Err(ApplyConflict)));
    let config = store.current_config().await.unwrap();
    assert_eq!((config.version, config.toml.as_deref()), (1, Some(first)));
    assert_eq!(*config.resolution, resolution());
    assert_eq!(store.audit(&everything()).await.unwrap().entries.len(), 1);
    assert_eq!(apply(&store, 1, second, &[]).await, Ok(Ok(2)));
    assert_eq!(store.control().await.unwrap().config_version, 2);
}

/// An apply that removes a principal ends its keys, those of others live on.
async fn an_apply_revokes_the_keys_of_removed_principals<D: Database>(database: D) {
    let store = migrated(database).await;
    let (gone, stays) = (key(1, "gone"), key(2, "stays"));
    store.add_key(&gone, &event(entry(1, 0))).await.unwrap();
    store.add_key(&stays, &event(entry(1, 1))).await.unwrap();
    let config = "[[principals]]\nname = \"stays\"\nkind = \"key\"\n";
    assert_eq!(apply(&store, 0, config, &["gone"]).await, Ok(Ok(1)));
    let (record, control) = store.key(gone.id).await.unwrap();
    assert_eq!(record.unwrap().state(at(0)), KeyState::Revoked);
    assert_eq!(control.keys_generation, 1);
    let (record, _) = store.key(stays.id).await.unwrap();
    assert_eq!(record.unwrap().state(at(0)), KeyState::Active);
}

/// What is stored of a key comes back as it was; ids are unique; ends are never moved back.
async fn keys_live_as_long_as_they_should<D: Database>(database: D) {
    let store = migrated(database).await;
    let first = key(1, "bot");
    store.add_key(&first, &event(entry(1, 0))).await.unwrap();
    assert_eq!(
        store.add_key(&first, &event(entry(1, 1))).await,
        Err(StoreError::Conflict)
    );
    assert_eq!(store.audit(&everything()).await.unwrap().entries.len(), 1);

    let (found, _) = store.key(first.id).await.unwrap();
    let found = found.unwrap();
    assert!(found.digest.matches(&first.digest));
    assert_eq!(
        (found.principal, found.created_at, found.note),
        ("bot".to_owned(), first.created_at, first.note.clone())
    );
    let unknown: KeyId = "unknown-key1".parse().unwrap();
    assert!(store.key(unknown).await.unwrap().0.is_none());

    let second = key(2, "bot");
    store
        .roll_key(first.id, at(5000), &second, &event(entry(2, 0)))
        .await
        .unwrap();
    // A second roll with a longer overlap does not lengthen the life of the first key.
    store
        .roll_key(first.id, at(9000), &key(3, "bot"), &event(entry(3, 0)))
        .await
        .unwrap();
    let (rolled, control) = store.key(first.id).await.unwrap();
    assert_eq!(rolled.unwrap().expires_at, Some(at(5000)));
    assert_eq!(control.keys_generation, 2);

    // Only its own principal can revoke it, and the first time counts.
    for (principal, ms) in [("other", 10), ("bot", 20), ("bot", 30)] {
        let event = event(entry(ms, 5));
        store
            .revoke_key(principal, second.id, &event, at(ms))
            .await
            .unwrap();
    }
    let (revoked, control) = store.key(second.id).await.unwrap();
    assert_eq!(revoked.unwrap().revoked_at, Some(at(20)));
    assert_eq!(control.keys_generation, 5);

    store
        .note_key_use(&[(first.id, at(40)), (unknown, at(41))])
        .await
        .unwrap();
    let keys = store.keys_of("bot").await.unwrap();
    let used: Vec<_> = keys.iter().map(|key| key.last_used_at).collect();
    assert_eq!(used, [None, None, Some(at(40))]);
    assert!(store.keys_of("other").await.unwrap().is_empty());
}

/// An intent, its outcome and its settlement make one entry, and each is written once.
async fn audit_rows_are_written_once_and_joined<D: Database>(database: D) {
    let store = migrated(database).await;
    let id = entry(1, 0);
    let shown = async || {
        let entries = store.audit(&everything()).await.unwrap().entries;
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        (entry.outcome.clone().unwrap(), entry.status)
    };
    store.record_intent(&intent(id)).await.unwrap();
    assert_eq!(
        store.record_intent(&intent(id)).await,
        Err(StoreError::Conflict)
    );
    assert_eq!(shown().await, ("pending".to_owned(), None));

    store
        .record_outcome(&outcome(id, Outcome::Unknown), at(2))
        .await
        .unwrap();
    assert_eq!(shown().await, ("unknown".to_owned(), Some(200)));

    let unsettled = async |since, until| {
        let found = store.unsettled(since, until).await.unwrap();
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(unsettled(entry(1, 0), entry(1, 1)).await, [id]);
    assert_eq!(unsettled(entry(1, 1), entry(9, 0)).await, []);
    assert_eq!(unsettled(entry(0, 0), entry(1, 0)).await, []);

    store.settle(id, true, "seen", at(3)).await.unwrap();
    store.settle(id, false, "seen again", at(4)).await.unwrap();
    assert_eq!(shown().await.0, "settled");
    let joined = store.audit(&everything()).await.unwrap().entries.remove(0);
    assert!(
        joined.sentence.ends_with("showed that it happened."),
        "{}",
        joined.sentence
    );
    assert_eq!(unsettled(entry(0, 0), entry(9, 0)).await, []);
}

/// A second outcome does not replace the first, and what is no longer unknown is not settled.
async fn a_first_outcome_stands<D: Database>(database: D) {
    let store = migrated(database).await;
    let id = entry(1, 0);
    store.record_intent(&intent(id)).await.unwrap();
    for ended in [Outcome::Refused, Outcome::Confirmed, Outcome::Unknown] {
        store
            .record_outcome(&outcome(id, ended), at(2))
            .await
            .unwrap();
    }
    store.settle(id, true, "seen", at(3)).await.unwrap();
    let entry = store.audit(&everything()).await.unwrap().entries.remove(0);
    assert_eq!(entry.outcome.as_deref(), Some("refused"));
}

/// Everything is found by each filter alone.
async fn entries_are_found_by_every_filter<D: Database>(database: D) {
    let store = migrated(database).await;
    for n in 0..5 {
        store.record_intent(&intent(entry(n, 0))).await.unwrap();
        let mut denied = event(entry(n, 1));
        denied.decision = "deny";
        denied.what.zone = None;
        store.record_events(&[denied]).await.unwrap();
    }
    let find = async |filter: AuditFilter| store.audit(&filter).await.unwrap();
    let count = async |filter| find(filter).await.entries.len();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(everything()).await, 10);
    for (filter, expected) in [
        (
            AuditFilter {
                principal: text("acme-bot"),
                ..everything()
            },
            5,
        ),
        (
            AuditFilter {
                principal: text("nobody"),
                ..everything()
            },
            0,
        ),
        (
            AuditFilter {
                operation: text("dns-list"),
                ..everything()
            },
            5,
        ),
        (
            AuditFilter {
                zone: text(ZONE),
                ..everything()
            },
            5,
        ),
        (
            AuditFilter {
                decision: text("deny"),
                ..everything()
            },
            5,
        ),
        (
            AuditFilter {
                decision: text("allow"),
                ..everything()
            },
            5,
        ),
        (
            AuditFilter {
                decision: text("approve"),
                ..everything()
            },
            0,
        ),
        (
            AuditFilter {
                since: Some(at(3)),
                ..everything()
            },
            4,
        ),
        (
            AuditFilter {
                until: Some(at(3)),
                ..everything()
            },
            6,
        ),
    ] {
        assert_eq!(count(filter.clone()).await, expected, "{filter:?}");
    }
}

/// A page says where the next begins, and together they have every entry once.
async fn entries_are_paged_newest_first<D: Database>(database: D) {
    let store = migrated(database).await;
    for n in 0..5 {
        store.record_intent(&intent(entry(n, 0))).await.unwrap();
        store.record_events(&[event(entry(n, 1))]).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut below = None;
    loop {
        let page = store
            .audit(&AuditFilter {
                below,
                limit: 4,
                ..everything()
            })
            .await
            .unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.id));
        below = page.next;
        if below.is_none() {
            break;
        }
    }
    let newest_first: Vec<_> = (0..5)
        .rev()
        .flat_map(|n| [entry(n, 1), entry(n, 0)])
        .collect();
    assert_eq!(seen, newest_first);
}

/// Old outcomes that cannot be settled keep no newer one from being read back.
async fn the_newest_unknown_outcomes_are_read_back_first<D: Database>(database: D) {
    let store = migrated(database).await;
    for n in 0..50 {
        let id = entry(n, 0);
        store.record_intent(&intent(id)).await.unwrap();
        let unknown = outcome(id, Outcome::Unknown);
        store.record_outcome(&unknown, at(n)).await.unwrap();
    }
    let found = store.unsettled(entry(0, 0), entry(50, 0)).await.unwrap();
    let ids: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    let newest: Vec<_> = (38..50).rev().map(|n| entry(n, 0)).collect();
    assert_eq!(ids, newest);
}

/// The mark below which every intent has its outcome passes no open one.
async fn the_mark_never_passes_an_open_intent<D: Database>(database: D) {
    let store = migrated(database).await;
    for n in 0..450 {
        store.record_intent(&intent(entry(n, 0))).await.unwrap();
    }
    let cutoff = EntryId::first_of(at(440));
    let mut closed = Vec::new();
    loop {
        let open = store.intents_without_outcome(cutoff).await.unwrap();
        let again = store.intents_without_outcome(cutoff).await.unwrap();
        assert_eq!(open, again);
        let rows: Vec<_> = open
            .ids
            .iter()
            .map(|&id| outcome(id, Outcome::Unknown))
            .collect();
        store
            .close_abandoned(&rows, open.reconciled_to)
            .await
            .unwrap();
        closed.extend(open.ids);
        if !open.more {
            break;
        }
    }
    let expected: Vec<_> = (0..440).map(|n| entry(n, 0)).collect();
    assert_eq!(closed, expected);
    // An older mark does not bring the newer one back.
    store.close_abandoned(&[], entry(3, 0)).await.unwrap();
    let left = store
        .intents_without_outcome(EntryId::first_of(at(1000)))
        .await
        .unwrap();
    assert_eq!(left.ids.len(), 10);
}

/// A batch whose last statement fails leaves nothing of those before it.
async fn a_batch_happens_whole_or_not_at_all<D: Database>(database: D) {
    let store = migrated(database).await;
    store.record_events(&[event(entry(1, 0))]).await.unwrap();
    let taken = event(entry(1, 0));
    assert_eq!(
        store.add_key(&key(1, "bot"), &taken).await,
        Err(StoreError::Conflict)
    );
    assert!(store.keys_of("bot").await.unwrap().is_empty());
    assert_eq!(
        store.record_events(&[event(entry(2, 0)), taken]).await,
        Err(StoreError::Conflict)
    );
    assert_eq!(store.audit(&everything()).await.unwrap().entries.len(), 1);
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(
                #[test]
                fn $name() {
                    pollster::block_on(super::$name(super::Sqlite::new()));
                }
            )*
        }
    };
}

conformance! {
    migrations_are_applied_once
    configurations_are_compared_and_set
    an_apply_revokes_the_keys_of_removed_principals
    keys_live_as_long_as_they_should
    audit_rows_are_written_once_and_joined
    a_first_outcome_stands
    entries_are_found_by_every_filter
    entries_are_paged_newest_first
    the_newest_unknown_outcomes_are_read_back_first
    the_mark_never_passes_an_open_intent
    a_batch_happens_whole_or_not_at_all
}

#[test]
fn a_migration_cut_anywhere_is_whole_or_absent_and_is_resumed() {
    for n in 1..=1 + MIGRATIONS.len() {
        for storage in [Storage::FailsBefore, Storage::FailsAfter] {
            let database = FailingDatabase::new();
            let store = Store::new(database.clone());
            database.fail_nth(n, storage);
            assert!(
                block_on(store.migrate(at(0))).is_err(),
                "batch {n} {storage:?}"
            );
            block_on(store.migrate(at(1))).unwrap();
            assert_eq!(block_on(store.control()).unwrap().config_version, 0);
            assert_eq!(
                database.sqlite().count("schema_migrations"),
                i64::try_from(MIGRATIONS.len()).unwrap()
            );
        }
    }
}

#[test]
fn two_workers_that_migrate_at_once_do_not_meet() {
    let database = FailingDatabase::new();
    let (first, second) = (Store::new(database.clone()), Store::new(database.clone()));
    // The other comes after the first has read what is applied.
    database.after("CREATE TABLE IF NOT EXISTS", move || {
        block_on(second.migrate(at(0))).unwrap();
    });
    block_on(first.migrate(at(0))).unwrap();
    assert_eq!(database.sqlite().count("control"), 1);
}

#[test]
fn applies_that_meet_leave_one_version() {
    let database = FailingDatabase::new();
    let store = block_on(migrated(database.clone()));
    let other = Store::new(database.clone());
    let config = "[[principals]]\nname = \"a\"\nkind = \"key\"\n";
    assert_eq!(block_on(apply(&other, 0, config, &[])), Ok(Ok(1)));
    assert_eq!(block_on(apply(&store, 0, "", &[])), Ok(Err(ApplyConflict)));
    assert_eq!(database.sqlite().count("config_versions"), 1);
}

/// Rows written in tables and indexes: what D1 charges.
fn written(database: &FailingDatabase) -> u64 {
    let sqlite = database.sqlite();
    let mut rows = sqlite.total_changes();
    for index in sqlite.rows("SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name LIKE 'audit%'") {
        let sql = index["sql"].as_str().unwrap();
        let condition = sql.split_once(" WHERE ").map_or("1", |(_, condition)| condition);
        let table = index["tbl_name"].as_str().unwrap();
        rows += u64::try_from(sqlite.count(&format!("{table} WHERE {condition}"))).unwrap();
    }
    rows
}

#[test]
fn an_audited_write_costs_at_most_six_rows_and_a_read_two() {
    let database = FailingDatabase::new();
    let store = block_on(migrated(database.clone()));
    let cost = |run: &dyn Fn()| {
        let before = written(&database);
        run();
        written(&database) - before
    };
    let write = |n: i64, ended: Outcome, settle: bool| {
        let id = entry(n, 0);
        block_on(store.record_intent(&intent(id))).unwrap();
        block_on(store.record_outcome(&outcome(id, ended), at(n))).unwrap();
        if settle {
            block_on(store.settle(id, true, "seen", at(n))).unwrap();
        }
    };
    assert_eq!(cost(&|| write(1, Outcome::Confirmed, false)), 2);
    assert_eq!(cost(&|| write(2, Outcome::Unknown, false)), 3);
    assert_eq!(cost(&|| write(3, Outcome::Unknown, true)), 4);
    let read = || block_on(store.record_events(&[event(entry(4, 0))])).unwrap();
    assert_eq!(cost(&read), 1);
}

#[test]
fn intents_and_outcomes_have_at_most_two_secondary_indexes_and_events_one() {
    let database = FailingDatabase::new();
    drop(block_on(migrated(database.clone())));
    let indexes = |tables: &str| {
        let n = database.sqlite().count(&format!(
            "sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({tables})"
        ));
        usize::try_from(n).unwrap()
    };
    assert!(indexes("'audit_intents', 'audit_outcomes'") <= 2);
    assert!(indexes("'audit_events'") <= 1);
}

#[test]
fn no_statement_changes_or_deletes_an_audit_row() {
    let mut files = Vec::new();
    for folder in ["src/store", "src/store/runs"] {
        files.extend(std::fs::read_dir(folder).unwrap());
    }
    for file in files {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for verb in [
            "UPDATE audit_",
            "DELETE FROM audit_",
            "REPLACE ",
            "DROP TABLE",
        ] {
            assert!(!text.contains(verb), "{verb} in {}", path.display());
        }
    }
}

#[test]
fn entries_are_shown_as_long_as_their_numbers_last() {
    let store = block_on(migrated(Sqlite::new()));
    let late = EntryId::first_of("2059-12-31T23:59:59Z".parse().unwrap());
    block_on(store.record_events(&[event(late)])).unwrap();
    let page = block_on(store.audit(&everything())).unwrap();
    assert_eq!(page.entries.len(), 1);
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_and_not_nothing() {
    let sqlite = Sqlite::new();
    let statement = |sql| Statement::new(sql, vec![]);
    let store = block_on(migrated(sqlite));
    // The door of the store itself is closed to such a row, so it is put in by the side.
    let database = FailingDatabase::new();
    drop(block_on(migrated(database.clone())));
    block_on(database.batch(vec![
        statement("INSERT INTO config_versions VALUES (1, '{', '', 'toml', '{}', 0, '')"),
        statement("UPDATE control SET config_version = 1"),
        statement("INSERT INTO api_keys (id, principal, digest, created_at, legacy) VALUES ('unknown-key1', 'bot', 'zz', 0, 0)"),
    ]))
    .unwrap();
    let broken = Store::new(database);
    assert!(matches!(
        block_on(broken.current_config()),
        Err(StoreError::Corrupt(_))
    ));
    assert!(matches!(
        block_on(broken.key("unknown-key1".parse().unwrap())),
        Err(StoreError::Corrupt(_))
    ));
    assert!(matches!(
        block_on(broken.keys_of("bot")),
        Err(StoreError::Corrupt(_))
    ));
    drop(store);
}

#[test]
fn a_lost_connection_is_an_error_whether_it_was_stored_or_not() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let database = FailingDatabase::new();
        let store = block_on(migrated(database.clone()));
        database.fail("INSERT INTO audit_intents", storage);
        let result = block_on(store.record_intent(&intent(entry(1, 0))));
        assert!(
            matches!(result, Err(StoreError::Unavailable(_))),
            "{result:?}"
        );
    }
}
