//! What happens once a minute: due jobs get their runs, lost runs are found, old ones forgotten.
//!
//! Schedules know no clock but the tick's scheduled time. However often a tick comes, late or in what
//! order, a scheduled instant of a job has at most one run.

use super::alarm::{Alarm, alarms};
use super::engine::Engine;
use super::hands::new_run_id;
use super::kind::kind_named;
use super::platform::Platform;
use crate::config::document::{Job, Overlap};
use crate::cron::{Schedule, due};
use crate::model::{RunId, Timestamp};
use crate::run::{Limits, Trigger};
use crate::store::{Database, JobRow, NewRun, ScheduledJob, StoreError};

const MINUTE_MS: i64 = 60_000;
/// A run whose id was sent to the queue so long ago and that nobody took up is sent again.
const SENT_LOST_MS: i64 = 30_000;
/// Lost runs that one tick sends again, and expired ones that it forgets.
const AT_ONCE: u32 = 100;

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Runs that were created and are to begin.
    pub created: usize,
    /// Runs that were due and did not begin, as another of the job was not at its end.
    pub skipped: usize,
    /// Runs that were sent to the queue again.
    pub resent: usize,
    /// Runs that were forgotten.
    pub forgotten: usize,
    /// What an operator should look at.
    pub alarms: Vec<Alarm>,
}

impl Ticked {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a run of the job that somebody asks for ends those that are open: of deployments the newest
/// wins, where the job says so. Other runs wait for their turn.
#[must_use]
pub fn replaces_open(job: &Job) -> bool {
    job.kind == "workers.deploy" && job.overlap == Overlap::Cancel
}

/// What bounds a run of this job.
#[must_use]
pub fn limits_of(job: &Job) -> Limits {
    let attempts = kind_named(&job.kind).map_or(1, |kind| kind.max_attempts);
    Limits {
        max_attempts: job.max_attempts.unwrap_or(attempts),
        max_calls: job.max_calls.unwrap_or(Job::DEFAULT_MAX_CALLS),
        timeout_secs: job.timeout_secs.unwrap_or(Job::DEFAULT_TIMEOUT_SECS),
        keep_days: job.keep_days.unwrap_or(Job::DEFAULT_KEEP_DAYS),
    }
}

/// The schedule in one text, so that a change of it shows; empty without one.
fn schedule_text(job: &Job) -> String {
    match (&job.schedule, &job.timezone) {
        (None, _) => String::new(),
        (Some(schedule), timezone) => {
            format!("{schedule} {}", timezone.as_deref().unwrap_or("UTC"))
        }
    }
}

impl<D: Database, P: Platform> Engine<'_, D, P> {
    /// One tick; `tick` is its scheduled time.
    ///
    /// 1. Jobs of a new configuration are taken over.
    /// 2. Every firing since the last tick gets its run, as the job's policies have it; all of it is
    ///    stored at once, together with the tick.
    /// 3. The new runs are sent to the queue, and the open ones that nobody took up are sent again.
    /// 4. Runs that were kept long enough are forgotten.
    /// 5. Others are told of ends of runs that they were not told of yet.
    ///
    /// # Errors
    /// [`StoreError`] when the store failed; the next tick makes up for this one.
    pub async fn tick(&self, tick: Timestamp) -> Result<Ticked, StoreError> {
        let store = self.gateway.store;
        let world = self.gateway.world;
        let now = world.now();
        let minute = Timestamp::from_unix_ms(
            tick.unix_ms()
                .div_euclid(MINUTE_MS)
                .saturating_mul(MINUTE_MS),
        );
        let snapshot = self.gateway.view.current(store, now).await?;
        let begun = store.begin_tick().await?;
        let jobs = &snapshot.config.document.jobs;
        let rows = if snapshot.version > begun.config_version {
            let known: Vec<ScheduledJob<'_>> = jobs
                .iter()
                .map(|job| ScheduledJob {
                    name: &job.name,
                    schedule: schedule_text(job),
                })
                .collect();
            let since = minute.plus_ms(-MINUTE_MS);
            store.sync_jobs(&known, snapshot.version, since).await? // (1)
        } else {
            begun.jobs
        };
        let mut done = Ticked::default();
        let mut runs = Vec::new();
        let mut missed = Vec::new();
        for job in jobs {
            let Some(row) = rows.iter().find(|row| row.name == job.name) else {
                continue;
            };
            let open = begun
                .open
                .iter()
                .find_map(|open| (open.job == job.name).then_some(open.oldest));
            self.fire(
                job,
                row,
                begun.ticked_at,
                minute,
                open,
                &mut runs,
                &mut missed,
            );
        }
        done.skipped = runs.iter().filter(|run| run.skipped.is_some()).count();
        store.end_tick(minute, &runs, &missed).await?; // (2)
        let created: Vec<RunId> = runs
            .iter()
            .filter(|run| run.skipped.is_none())
            .map(|run| run.id)
            .collect();
        done.created = created.len();
        self.send(&created, 0).await; // (3)
        let lost = store
            .lost_runs(now, minute, now.plus_ms(-SENT_LOST_MS), AT_ONCE)
            .await?;
        store.note_sent(&lost, now).await?;
        self.send(&lost, 0).await;
        done.resent = lost.len();
        done.forgotten = store.forget_expired(now, AT_ONCE).await?; // (4)
        self.notify().await?; // (5)
        done.alarms = alarms(store, &snapshot.config.document, now).await?;
        Ok(done)
    }

    /// The runs that a job's schedule makes due.
    #[expect(clippy::too_many_arguments, reason = "all of it decides")]
    fn fire<'j>(
        &self,
        job: &'j Job,
        row: &JobRow,
        ticked_at: Option<Timestamp>,
        minute: Timestamp,
        open: Option<RunId>,
        runs: &mut Vec<NewRun>,
        missed: &mut Vec<(&'j str, u32, Timestamp)>,
    ) {
        let Some(expression) = &job.schedule else {
            return;
        };
        let world = self.gateway.world;
        // Checked when the configuration was applied; what an older version let through must not be silent.
        let schedule = Schedule::parse(expression, job.timezone.as_deref())
            .ok()
            .filter(|schedule| world.utc_offset_secs(schedule.timezone(), minute).is_some());
        let Some(schedule) = schedule else {
            world.log(&format!(
                "ALARM: the schedule of job {} cannot be read, so it does not run",
                job.name
            ));
            return;
        };
        let considered_to = ticked_at.map_or(row.since, |at| at.max(row.since));
        // Firings while a job is paused are neither run nor owed.
        if row.paused_at.is_some() {
            return;
        }
        let due = due(&schedule, job.missed, considered_to, minute, world);
        if due.missed > 0 {
            missed.push((&job.name, due.missed, minute));
        }
        let last = due.slots.last().copied();
        for slot in due.slots {
            let Some(id) = new_run_id(world) else {
                world.log("tick: there is no randomness for the id of a run");
                return;
            };
            let skipped = match (job.overlap, open) {
                (Overlap::Skip, Some(open)) => Some(format!(
                    "Skipped, as run {open} of the job was not at its end."
                )),
                _ => None,
            };
            runs.push(NewRun {
                id,
                job: job.name.clone(),
                kind: job.kind.clone(),
                trigger: Trigger::Schedule,
                slot: Some(slot),
                run_as: job.run_as.clone(),
                started_by: None,
                params: job.params.clone(),
                dry_run: false,
                limits: limits_of(job),
                now: world.now(),
                // Of several at once the newest takes the place of all.
                cancels_others: job.overlap == Overlap::Cancel && Some(slot) == last,
                skipped,
            });
        }
    }
}
