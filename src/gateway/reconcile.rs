//! Closes what a crash or a cut connection left open.

use crate::audit::{ABANDONED_AFTER_MS, OutcomeRow, ReadBack, Verdict};
use crate::model::{EntryId, Timestamp};
use crate::store::{Database, Store, StoreError};
use crate::upstream::{Client, Outcome};

/// How long an unknown outcome is read back for, every tick.
const SETTLE_WITHIN_MS: i64 = 24 * 3_600_000;

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Intents whose call was lost, now recorded as unknown.
    pub abandoned: usize,
    /// Unknown outcomes settled by reading back.
    pub settled: usize,
    /// Unknown outcomes that reading back could not settle.
    pub undecided: usize,
}

/// One pass, at the tick's `now`.
///
/// 1. Every intent older than [`ABANDONED_AFTER_MS`] without an outcome is recorded as unknown.
/// 2. Every unknown outcome of the last day that can be read back is, and is settled when the
///    answer tells. Not before that age either: Cloudflare may still be at work on a call whose
///    answer was lost, so that what is not there yet may come. A call that is answered after step 1 settles itself.
///
/// Harmless to repeat and to run twice at once: rows are inserted once or not at all.
///
/// # Errors
/// [`StoreError`] when the store failed; what was done until then stays done.
pub async fn reconcile<D: Database, U: Client>(
    store: &Store<D>,
    upstream: &U,
    now: Timestamp,
) -> Result<Reconciled, StoreError> {
    let mut done = Reconciled::default();
    let cutoff = EntryId::first_of(now.plus_ms(-ABANDONED_AFTER_MS));
    loop {
        let open = store.intents_without_outcome(cutoff).await?; // (1)
        let rows: Vec<OutcomeRow> = open.ids.iter().map(|&id| abandoned(id, now)).collect();
        store.close_abandoned(&rows, open.reconciled_to).await?;
        done.abandoned += rows.len();
        if !open.more {
            break;
        }
    }
    let since = EntryId::first_of(now.plus_ms(-SETTLE_WITHIN_MS));
    for (id, read_back) in store.unsettled(since, cutoff).await? {
        match ask(upstream, &read_back, id.time()).await {
            Verdict::Undecided => done.undecided += 1,
            verdict => {
                let happened = verdict == Verdict::Happened; // (2)
                store
                    .settle(id, happened, "read back by the scheduler", now)
                    .await?;
                done.settled += 1;
            }
        }
    }
    Ok(done)
}

async fn ask<U: Client>(upstream: &U, read_back: &ReadBack, since: Timestamp) -> Verdict {
    match upstream.exchange(&read_back.exchange()).await {
        Ok(answer) => read_back.judge(&answer, since),
        Err(_) => Verdict::Undecided,
    }
}

fn abandoned(id: EntryId, now: Timestamp) -> OutcomeRow {
    OutcomeRow {
        id,
        outcome: Outcome::Unknown,
        status: None,
        cf_ray: None,
        duration_ms: now.ms_since(id.time()),
        upstream_calls: 1,
        detail: Some("the call was cut off before its outcome could be recorded".to_owned()),
    }
}
