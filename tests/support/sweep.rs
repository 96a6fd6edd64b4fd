//! Runs a case once for every effect it has and every way that effect can fail.

use std::collections::BTreeMap;

use zonekeeper::model::RunId;
use zonekeeper::run::RunState;

use super::harness::{Harness, Motor};
use super::lab::injector::Fault;
use super::lab::queue::Unacked;
use super::lab::writes::check_writes;

/// How often starting a run is tried again when its answer is lost.
const MAX_STARTS: usize = 5;

/// A run to be cut off everywhere.
pub(crate) trait Case {
    /// What carries out runs.
    fn motor(&self) -> Box<dyn Motor>;

    /// Brings the world to where the run begins. Nothing fails here.
    fn setup(&self, harness: &Harness);

    /// Starts the run, as a caller that repeats its call until it gets an answer; `None` when it
    /// gets none. Repeating it must not start another run.
    fn start(&self, harness: &Harness) -> Option<RunId>;

    /// What the run has changed, an item a line, in whatever order; nothing that differs from one
    /// good run to the next.
    fn effects(&self, harness: &Harness) -> Vec<String>;

    /// Whether an effect may come once more for each fault: purges, not records.
    fn allows_repeat(&self) -> bool {
        false
    }

    /// How the run ends.
    fn ends(&self) -> RunState {
        RunState::Succeeded
    }

    /// Whether a write to this path may stay unknown, as nothing can be read back.
    fn may_stay_unknown(&self, path: &str) -> bool {
        path.ends_with("/purge_cache")
    }
}

/// What a run does when nothing fails.
struct Clean {
    effects: Vec<String>,
    labels: Vec<String>,
    runs: i64,
}

/// What fails in one trial: the effect of this number, counted from the start on, and how.
type Planned = (usize, Fault);

/// Runs the case once without a fault, and then once for each of its effects and each [`Fault`];
/// after a kill with its message lost and with it delivered again. However it was cut off, in the
/// end
///
/// 1. the run has ended as the case says, and there is no other run;
/// 2. its effects are those of the run without a fault, where the case allows it with one repeat
///    for each fault;
/// 3. the audit log accounts for every write ([`check_writes`]).
///
/// # Panics
/// With every trial that did not end so.
pub(crate) fn fail_every_effect(case: &dyn Case) {
    let failed = sweep(case);
    assert!(failed.is_empty(), "{}", report(&failed));
}

/// Lets two effects fail in each of `trials` runs, chosen by a fixed sequence: the second mostly
/// strikes what makes up for the first.
///
/// # Panics
/// As [`fail_every_effect`].
pub(crate) fn fail_twice(case: &dyn Case, trials: usize) {
    let clean = clean(case).unwrap();
    let mut failed = Vec::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(n).unwrap()).unwrap()
    };
    for _ in 0..trials {
        let mut fault = || Fault::ALL[below(Fault::ALL.len())];
        let faults = [fault(), fault()];
        let first = 1 + below(clean.labels.len());
        let second = first + 1 + below(12);
        let unacked = [Unacked::Lost, Unacked::Redelivered][below(2)];
        let planned = [(first, faults[0]), (second, faults[1])];
        failed.extend(trial(case, &clean, &planned, unacked).err());
    }
    assert!(failed.is_empty(), "{}", report(&failed));
}

/// As [`fail_every_effect`], but gives the trials that failed.
pub(crate) fn sweep(case: &dyn Case) -> Vec<String> {
    let clean = match clean(case) {
        Ok(clean) => clean,
        Err(failed) => return vec![failed],
    };
    let mut failed = Vec::new();
    for nth in 1..=clean.labels.len() {
        for fault in Fault::ALL {
            let kills = matches!(fault, Fault::KillBefore | Fault::KillAfter);
            for unacked in [Unacked::Redelivered, Unacked::Lost] {
                if kills || unacked == Unacked::Redelivered {
                    failed.extend(trial(case, &clean, &[(nth, fault)], unacked).err());
                }
            }
        }
    }
    failed
}

/// Every failed trial in a line, and the first one whole.
fn report(failed: &[String]) -> String {
    let first = failed.first().map_or("", String::as_str);
    let lines: Vec<&str> = failed
        .iter()
        .filter_map(|text| text.lines().next())
        .collect();
    format!(
        "{} trials failed:\n{}\n\nthe first:\n{first}",
        lines.len(),
        lines.join("\n")
    )
}

fn clean(case: &dyn Case) -> Result<Clean, String> {
    let harness = Harness::new(case.motor(), Unacked::Redelivered);
    case.setup(&harness);
    let from = harness.outside.injector.count();
    let ended = play(case, &harness).and_then(|()| judge(case, &harness, None));
    ended.map_err(|error| {
        let effects = harness.outside.injector.describe(from);
        format!(
            "without a fault: {error}{effects}\n{}",
            harness.outside.logs()
        )
    })?;
    Ok(Clean {
        effects: case.effects(&harness),
        labels: harness.outside.injector.effects().split_off(from),
        runs: harness.outside.sqlite.count("runs"),
    })
}

fn trial(
    case: &dyn Case,
    clean: &Clean,
    planned: &[Planned],
    unacked: Unacked,
) -> Result<(), String> {
    let harness = Harness::new(case.motor(), unacked);
    case.setup(&harness);
    let injector = &harness.outside.injector;
    let from = injector.count();
    for (nth, fault) in planned {
        injector.plan(*nth, *fault);
    }
    let ended = play(case, &harness).and_then(|()| {
        if injector.struck() == 0 {
            return Err("no fault struck: the runs differ by themselves".to_owned());
        }
        judge(case, &harness, Some(clean))
    });
    ended.map_err(|error| {
        let faults: Vec<String> = planned
            .iter()
            .map(|(nth, fault)| {
                let label = clean
                    .labels
                    .get(nth - 1)
                    .map_or("after its end", String::as_str);
                format!("{fault:?} at effect {nth} ({label})")
            })
            .collect();
        format!(
            "{}, messages {unacked:?}: {error}\neffects:{}\nlog:\n{}",
            faults.join(" and "),
            injector.describe(from),
            harness.outside.logs()
        )
    })
}

fn play(case: &dyn Case, harness: &Harness) -> Result<(), String> {
    let run = (0..MAX_STARTS).find_map(|_| case.start(harness));
    let run = run.ok_or("the run could not be started")?;
    harness.settle()?;
    let (state, reason) = harness.state(run).ok_or("the run is not there")?;
    if state == case.ends().as_str() {
        Ok(())
    } else {
        Err(format!(
            "the run ended as {state}: {}",
            reason.unwrap_or_default()
        ))
    }
}

fn judge(case: &dyn Case, harness: &Harness, clean: Option<&Clean>) -> Result<(), String> {
    let outside = &harness.outside;
    let faults = outside.injector.struck();
    if let Some(clean) = clean {
        let runs = outside.sqlite.count("runs");
        if runs != clean.runs {
            return Err(format!("there are {runs} runs, not {}", clean.runs));
        }
        let repeats = if case.allows_repeat() { faults } else { 0 };
        compare(&clean.effects, &case.effects(harness), repeats)?;
    }
    let ledger = outside.network.borrow().lab.ledger();
    check_writes(&outside.writes, &outside.sqlite, &ledger, faults, &|path| {
        case.may_stay_unknown(path)
    })
}

/// Compares multisets: each item as often as expected, or up to `repeats` times more.
fn compare(expected: &[String], got: &[String], repeats: usize) -> Result<(), String> {
    let count = |items: &[String]| {
        let mut counts = BTreeMap::<String, usize>::new();
        for item in items {
            *counts.entry(item.clone()).or_default() += 1;
        }
        counts
    };
    let (expected, got) = (count(expected), count(got));
    let items = expected
        .keys()
        .chain(got.keys().filter(|item| !expected.contains_key(*item)));
    let wrong: Vec<String> = items
        .filter_map(|item| {
            let wanted = expected.get(item).copied().unwrap_or(0);
            let found = got.get(item).copied().unwrap_or(0);
            let most = if wanted == 0 { 0 } else { wanted + repeats };
            let fits = (wanted..=most).contains(&found);
            (!fits).then(|| format!("{found} times instead of {wanted}: {item}"))
        })
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("its effects are others: {}", wrong.join("; ")))
    }
}
