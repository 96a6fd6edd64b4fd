//! What is to be done next with a run: a pure function of what is stored and of the time.

use super::record::{Run, Stage};
use super::step::{Step, StepState};
use crate::model::Timestamp;

/// Milliseconds after its intent until a step that was cut off can no longer be on its way: what a
/// write has for being sent, for its headers and for the rest of its answer, and some more.
pub const ABANDONED_STEP_MS: i64 = 46_000;

/// Whoever holds the run does this next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// End it as cancelled.
    Cancel,
    /// End it as failed, for this reason.
    GiveUp(String),
    /// Plan, or plan anew.
    Plan,
    /// Carry out the step of this number.
    Carry(u32),
    /// The step of this number was cut off: wait until it can no longer be on its way.
    WaitFor(u32, Timestamp),
    /// The step of this number may have happened: find out, or do it again.
    Resolve(u32),
    /// Go on to the next stage.
    Verify,
    /// Every step is at its end.
    Conclude,
}

/// What bears on it besides the run itself.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'s> {
    /// The steps of the plan in force, in order.
    pub steps: &'s [Step],
    /// Whether a refused step ends the run.
    pub stops_at_refusal: bool,
}

/// Decides what comes next.
///
/// 1. Somebody wants it ended, its time is over, or its calls are used up and it needs more: it ends,
///    but not while a step may be on its way.
/// 2. Without a plan, plan.
/// 3. A step whose intent is on record and whose outcome is not was cut off: once it cannot be on its
///    way any more, it counts as unknown.
/// 4. A step that may have happened is resolved before any other is begun.
/// 5. The first step that has not begun is carried out.
/// 6. Then comes the next part of the plan, or the next stage.
/// 7. What it began is being undone: that is not broken off.
#[must_use]
pub fn next(run: &Run, standing: Standing<'_>, now: Timestamp) -> Next {
    let steps = standing.steps;
    if let Some(step) = steps.iter().find(|step| step.state == StepState::Sent) {
        let cut_off_at = step
            .entry
            .map_or(now, |entry| entry.time().plus_ms(ABANDONED_STEP_MS));
        if now < cut_off_at {
            return Next::WaitFor(step.number, cut_off_at); // (3)
        }
        return Next::Resolve(step.number);
    }
    if run.ending().is_some() {
        return go_on(run, standing); // (7)
    }
    if run.cancel_requested {
        return Next::Cancel; // (1)
    }
    if run.deadline().is_some_and(|deadline| now >= deadline) {
        return Next::GiveUp(format!(
            "The run took longer than its {} s and was ended.",
            run.limits.timeout_secs
        ));
    }
    let next = go_on(run, standing);
    if matches!(next, Next::Plan | Next::Carry(_) | Next::Resolve(_))
        && run.calls >= run.limits.max_calls
    {
        return Next::GiveUp(format!(
            "The run used up its {} upstream calls.",
            run.limits.max_calls
        ));
    }
    next
}

/// What comes next of a run that may go on.
fn go_on(
    run: &Run,
    Standing {
        steps,
        stops_at_refusal,
    }: Standing<'_>,
) -> Next {
    if let Some(step) = steps.iter().find(|step| step.state == StepState::Unknown) {
        return Next::Resolve(step.number); // (4)
    }
    if run.stage == Stage::Plan {
        return Next::Plan; // (2)
    }
    let refused = |step: &&Step| step.state == StepState::Refused;
    if stops_at_refusal && let Some(step) = steps.iter().find(refused) {
        return Next::GiveUp(refusal(step));
    }
    let pending = steps
        .iter()
        .find(|step| step.state == StepState::Pending && step.stage == run.stage);
    if let Some(step) = pending {
        return Next::Carry(step.number); // (5)
    }
    match run.stage {
        Stage::Apply if run.goes_on() => Next::Plan, // (6)
        Stage::Plan | Stage::Apply => Next::Verify,
        Stage::Verify => Next::Conclude,
    }
}

fn refusal(step: &Step) -> String {
    format!(
        "Could not {}: {}",
        step.summary,
        step.detail.as_deref().unwrap_or("it was refused.")
    )
}

/// Milliseconds to wait after `failures` failures in a row: 5 s, doubled each time up to 10 minutes,
/// raised by up to a quarter by `jitter` so that runs do not march in step.
#[must_use]
pub fn backoff_ms(failures: u32, jitter: u16) -> i64 {
    let base = (5_000_i64 << failures.saturating_sub(1).min(12)).min(600_000);
    base + base / 4 * i64::from(jitter) / i64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EntryId, RunId};
    use crate::run::{Limits, Progress, RunState, Trigger};

    const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn run(stage: Stage) -> Run {
        Run {
            id: RunId::from_random([1; 16]),
            job: "job".to_owned(),
            kind: "kind".to_owned(),
            trigger: Trigger::Api,
            slot: None,
            run_as: "bot".to_owned(),
            started_by: None,
            params: serde_json::Map::new(),
            dry_run: false,
            state: RunState::Running,
            stage,
            reason: None,
            basis: None,
            result: None,
            fence: 1,
            cancel_requested: false,
            failures: 0,
            replans: 0,
            calls: 0,
            progress: Progress::default(),
            limits: Limits {
                max_attempts: 3,
                max_calls: 10,
                timeout_secs: 60,
                keep_days: 1,
            },
            created_at: NOW,
            started_at: Some(NOW),
            finished_at: None,
            wake_at: NOW,
            hurry: false,
        }
    }

    fn steps(states: &[(Stage, StepState)]) -> Vec<Step> {
        let step = |(number, (stage, state)): (u32, &(Stage, StepState))| Step {
            number,
            stage: *stage,
            state: *state,
            items: 1,
            is_heavy: false,
            summary: format!("do {number}"),
            attempts: 0,
            entry: None,
            detail: None,
        };
        (1..).zip(states).map(step).collect()
    }

    fn next_of(run: &Run, steps: &[Step], stops_at_refusal: bool, now: Timestamp) -> Next {
        let standing = Standing {
            steps,
            stops_at_refusal,
        };
        next(run, standing, now)
    }

    #[test]
    fn what_comes_next_follows_from_the_stage_and_the_steps() {
        use Stage::{Apply, Plan, Verify};
        use StepState::{Done, Pending, Refused, Sent, Unknown};
        let check = |stage, states: &[StepState], stops, expected: Next| {
            let steps = steps(&states.iter().map(|s| (Apply, *s)).collect::<Vec<_>>());
            let got = next_of(&run(stage), &steps, stops, NOW);
            assert_eq!(got, expected, "{stage:?} {states:?} {stops}");
        };
        check(Plan, &[], true, Next::Plan);
        check(Apply, &[], true, Next::Verify);
        check(Apply, &[Pending, Pending], true, Next::Carry(1));
        check(Apply, &[Done, Pending], true, Next::Carry(2));
        check(Apply, &[Done, Done], true, Next::Verify);
        check(Apply, &[Done, Sent, Pending], true, Next::Resolve(2));
        // What may have happened comes before what has not begun, wherever it stands.
        check(Apply, &[Pending, Unknown], true, Next::Resolve(2));
        check(Apply, &[Refused, Pending], false, Next::Carry(2));
        let refused = Next::GiveUp("Could not do 1: it was refused.".to_owned());
        check(Apply, &[Refused, Pending], true, refused);
        check(Apply, &[Refused, Unknown], true, Next::Resolve(2));
        check(Verify, &[Done, Done], true, Next::Conclude);
        check(Verify, &[Done, Refused], false, Next::Conclude);
        let later = steps(&[(Apply, Done), (Verify, Pending)]);
        assert_eq!(next_of(&run(Apply), &later, true, NOW), Next::Verify);
        assert_eq!(next_of(&run(Verify), &later, true, NOW), Next::Carry(2));
    }

    #[test]
    fn a_step_that_was_cut_off_is_waited_for_before_anything_else() {
        let mut run = run(Stage::Apply);
        run.cancel_requested = true;
        run.calls = 10;
        let mut steps = steps(&[(Stage::Apply, StepState::Sent)]);
        let entry = EntryId::first_of(NOW);
        steps[0].entry = Some(entry);
        let until = entry.time().plus_ms(ABANDONED_STEP_MS);
        let at = |ms| next_of(&run, &steps, true, until.plus_ms(ms));
        assert_eq!(at(-1), Next::WaitFor(1, until));
        assert_eq!(at(0), Next::Resolve(1));
        assert_eq!(
            at(i64::from(run.limits.timeout_secs) * 1000),
            Next::Resolve(1)
        );
    }

    #[test]
    fn a_run_ends_when_it_is_cancelled_or_used_up() {
        let pending = steps(&[(Stage::Apply, StepState::Pending)]);
        let done = steps(&[(Stage::Apply, StepState::Done)]);
        let mut run = run(Stage::Apply);
        let late = NOW.plus_ms(60_000);
        assert_eq!(
            next_of(&run, &pending, true, late.plus_ms(-1)),
            Next::Carry(1)
        );
        let over = Next::GiveUp("The run took longer than its 60 s and was ended.".to_owned());
        assert_eq!(next_of(&run, &pending, true, late), over);
        run.calls = 10;
        let used = Next::GiveUp("The run used up its 10 upstream calls.".to_owned());
        assert_eq!(next_of(&run, &pending, true, NOW), used);
        // Nothing more is needed.
        assert_eq!(next_of(&run, &done, true, NOW), Next::Verify);
        run.cancel_requested = true;
        assert_eq!(next_of(&run, &pending, true, late), Next::Cancel);
        run.started_at = None;
        assert_eq!(next_of(&run, &[], true, late), Next::Cancel);
    }

    /// What may become of a run of two steps, whatever happens to it.
    #[test]
    fn whatever_happens_a_step_is_never_sent_twice_without_a_look() {
        #[derive(Clone)]
        struct World {
            run: Run,
            steps: Vec<Step>,
            now: Timestamp,
            /// How often each step may have been sent since somebody last looked.
            sent: [u32; 2],
            has_ended: bool,
        }
        #[derive(Debug, Clone, Copy)]
        enum Happens {
            Accepted,
            Refused,
            Lost,
            CutOff,
            Cancelled,
            MinutePassed,
        }
        const ALL: [Happens; 6] = [
            Happens::Accepted,
            Happens::Refused,
            Happens::Lost,
            Happens::CutOff,
            Happens::Cancelled,
            Happens::MinutePassed,
        ];
        fn happen(world: &mut World, event: Happens) {
            match event {
                Happens::Cancelled => return world.run.cancel_requested = true,
                Happens::MinutePassed => return world.now = world.now.plus_ms(60_000),
                _ => {}
            }
            match next_of(&world.run, &world.steps, true, world.now) {
                Next::Carry(number) => {
                    let index = number as usize - 1;
                    assert!(
                        world
                            .steps
                            .iter()
                            .take(index)
                            .all(|s| s.state == StepState::Done)
                    );
                    world.sent[index] += 1;
                    assert_eq!(world.sent[index], 1, "step {number} is sent again");
                    let step = &mut world.steps[index];
                    step.entry = Some(EntryId::first_of(world.now));
                    step.state = match event {
                        Happens::Accepted => StepState::Done,
                        Happens::Refused => StepState::Refused,
                        Happens::Lost => StepState::Unknown,
                        _ => StepState::Sent,
                    };
                }
                Next::Resolve(number) => {
                    let index = number as usize - 1;
                    let step = &mut world.steps[index];
                    if step.state == StepState::Sent {
                        let at = step.entry.unwrap().time();
                        assert!(world.now.ms_since(at) >= ABANDONED_STEP_MS);
                    }
                    step.state = match event {
                        Happens::Accepted => StepState::Done,
                        _ => StepState::Pending,
                    };
                    world.sent[index] = 0;
                }
                Next::WaitFor(_, until) => world.now = until,
                Next::Plan => world.run.stage = Stage::Apply,
                Next::Verify => {
                    assert!(world.steps.iter().all(|s| s.state == StepState::Done));
                    world.run.stage = Stage::Verify;
                }
                Next::Conclude | Next::Cancel | Next::GiveUp(_) => {
                    let on_its_way = |step: &Step| step.state == StepState::Sent;
                    assert!(!world.steps.iter().any(on_its_way));
                    world.has_ended = true;
                }
            }
        }
        fn walk(world: &World, depth: u32) {
            if depth == 0 || world.has_ended {
                return;
            }
            for event in ALL {
                let mut after = world.clone();
                happen(&mut after, event);
                walk(&after, depth - 1);
            }
        }
        let mut run = run(Stage::Plan);
        run.limits.timeout_secs = 86_400;
        let world = World {
            run,
            steps: steps(&[(Stage::Apply, StepState::Pending); 2]),
            now: NOW,
            sent: [0; 2],
            has_ended: false,
        };
        walk(&world, 7);
    }

    #[test]
    fn waits_double_from_5_seconds_to_10_minutes_and_a_quarter_more() {
        for (failures, base) in [
            (0, 5_000),
            (1, 5_000),
            (2, 10_000),
            (3, 20_000),
            (7, 320_000),
            (8, 600_000),
            (9, 600_000),
            (u32::MAX, 600_000),
        ] {
            assert_eq!(backoff_ms(failures, 0), base, "{failures}");
            assert_eq!(
                backoff_ms(failures, u16::MAX),
                base + base / 4,
                "{failures}"
            );
            let some = backoff_ms(failures, u16::MAX / 2);
            assert!((base..base + base / 4).contains(&some), "{failures}");
        }
    }
}
