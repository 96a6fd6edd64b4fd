//! Whether the audit log accounts for everything that was changed at Cloudflare.

use std::cell::RefCell;
use std::collections::BTreeMap;

use simulator::LedgerEntry;
use zonekeeper::gateway::PREFIX;
use zonekeeper::store::Row;

use crate::support::database::Sqlite;

/// Query of a write that a test makes itself, past the gateway.
pub(crate) const BY_HAND: &str = "by_hand";

/// Method, and path with its prefix.
type Target = (String, String);

/// Looks at each write when it is sent: its intent must be stored by then.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    sent: RefCell<BTreeMap<Target, i64>>,
    unintended: RefCell<Vec<String>>,
}

impl Writes {
    /// A write is sent; `target` is path and query below `/client/v4`.
    pub(crate) fn note(&self, sqlite: &Sqlite, method: &str, target: &str) {
        let path = format!("{PREFIX}{}", target.split('?').next().unwrap_or_default());
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry((method.to_owned(), path.clone())).or_default();
        *sent += 1;
        let tables = "SELECT count(*) AS n FROM sqlite_master WHERE name = 'audit_intents'";
        let intents = if number(&sqlite.rows(tables)[0], "n") == 0 {
            0
        } else {
            let quoted = path.replace('\'', "''");
            let rows = sqlite.rows(&format!(
                "SELECT count(*) AS n FROM audit_intents WHERE method = '{method}' AND path = '{quoted}'"
            ));
            number(&rows[0], "n")
        };
        if intents < *sent {
            self.unintended.borrow_mut().push(format!(
                "{method} {path} was sent {sent} times when {intents} intents of it were stored"
            ));
        }
    }
}

/// What is on record of one target.
#[derive(Debug, Default)]
struct Account {
    intents: i64,
    confirmed: i64,
    unsettled: i64,
    written: i64,
    succeeded: i64,
}

/// Checks that the audit log is true and complete, once everything has come to rest:
///
/// 1. no write was sent before its intent was stored, and none has the intent of another;
/// 2. there are no more intents than writes, but for one for each fault that struck;
/// 3. every intent has its outcome, and every unknown outcome its settlement, but for those of
///    paths that `may_stay_unknown`;
/// 4. there are no more unknown outcomes than faults;
/// 5. as many outcomes say that it happened as writes succeeded; what stayed unknown counts for
///    either.
///
/// # Errors
/// What is not so, a line each.
pub(crate) fn check_writes(
    writes: &Writes,
    sqlite: &Sqlite,
    ledger: &[LedgerEntry],
    faults: usize,
    may_stay_unknown: &dyn Fn(&str) -> bool,
) -> Result<(), String> {
    let mut wrong = writes.unintended.borrow().clone();
    let mut accounts: BTreeMap<Target, Account> = BTreeMap::new();
    let mut unknown = 0;
    for row in sqlite.rows(
        "SELECT i.id, i.method, i.path, o.outcome, s.happened FROM audit_intents i \
         LEFT JOIN audit_outcomes o ON o.id = i.id LEFT JOIN audit_settlements s ON s.id = i.id",
    ) {
        let target = (text(&row, "method"), text(&row, "path"));
        let name = format!("the intent {} of {} {}", row["id"], target.0, target.1);
        let is_open = may_stay_unknown(&target.1);
        let account = accounts.entry(target).or_default();
        account.intents += 1;
        unknown += usize::from(row["outcome"].as_str() == Some("unknown"));
        match (row["outcome"].as_str(), row["happened"].as_i64()) {
            (None, _) => wrong.push(format!("{name} has no outcome")), // (3)
            (Some("unknown"), None) => {
                account.unsettled += 1;
                if !is_open {
                    wrong.push(format!("{name} is unknown and was not settled"));
                }
            }
            (Some("confirmed"), _) | (Some("unknown"), Some(1)) => account.confirmed += 1,
            _ => {}
        }
    }
    for entry in ledger
        .iter()
        .filter(|e| e.method != "GET" && e.method != "HEAD")
        .filter(|e| !e.query.contains(BY_HAND))
    {
        let target = (entry.method.clone(), entry.path.clone());
        let account = accounts.entry(target).or_default();
        account.written += 1;
        account.succeeded += i64::from(entry.status.is_some_and(|s| (200..300).contains(&s)));
    }
    let mut surplus = 0;
    for ((method, path), account) in &accounts {
        if account.written > account.intents {
            wrong.push(format!("{method} {path} lacks intents: {account:?}")); // (1)
        }
        surplus += account.intents - account.written;
        let most = account.confirmed + account.unsettled;
        if !(account.confirmed..=most).contains(&account.succeeded) {
            wrong.push(format!("{method} {path} has other outcomes: {account:?}")); // (5)
        }
    }
    if surplus > i64::try_from(faults).unwrap() {
        wrong.push(format!("{surplus} intents too many: {accounts:?}")); // (2)
    }
    if unknown > faults {
        wrong.push(format!("{unknown} outcomes are unknown")); // (4)
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

fn text(row: &Row, column: &str) -> String {
    row[column].as_str().unwrap().to_owned()
}

fn number(row: &Row, column: &str) -> i64 {
    row[column].as_i64().unwrap()
}
