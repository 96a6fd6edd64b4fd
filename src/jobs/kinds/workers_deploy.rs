//! `workers.deploy`: puts a version of a Worker on more and more traffic, looks meanwhile how it does, and
//! takes it back where it does not; then purges.
//!
//! A state machine. Each turn reads what Cloudflare has, and plans one change and what comes after it. What
//! it remembers is stored before the change is sent: so whoever takes the run up after a crash goes on
//! from there. Versions and deployments carry a mark of the run, by which one whose answer was lost
//! is found again, and those of others are left alone.
//!
//! `upload → find → (deploy → watch)… → purge → over`; from the first deployment on, a bad end goes by way of
//! [`Deploy::undo`].

mod error_rate;
mod github;
mod health;
mod live;
mod params;
mod sources;

use serde_json::{Value, json};

use super::zones::find_zones;
use crate::catalog::Method;
use crate::jobs::hands::Hands;
use crate::jobs::kind::{
    Check, JobKind, KindInfo, Plan, Sample, Task, Then, Trouble, Verified, call_step,
};
use crate::jobs::pace::{PurgeUnit, purge_bucket};
use crate::model::typed::{Typed as _, object, words};
use crate::model::{ZoneId, hex};
use crate::run::{NewStep, Run, Stage, Work};
use crate::workers::marked;
use github::GitHub;
use live::{Deployment, current, split, tagged};
pub use params::{BUNDLES, KEEP_BUNDLE_SECS};
use params::{Params, StepParams};
use sha2::{Digest as _, Sha256};

/// Seconds between two looks at the new version, unless the parameters say otherwise.
const CHECK_EVERY_SECS: u32 = 60;
/// Milliseconds after which a run looks again whether another one is done with the Worker.
const LOCKED_MS: i64 = 60_000;

pub(in crate::jobs) const KIND: KindInfo = KindInfo {
    name: "workers.deploy",
    parse: |params| Ok(Box::new(Deploy(params::parse(params)?))),
    max_attempts: 6,
    stops_at_refusal: true,
    repeats_unknown: false,
    // What Cloudflare has, every address three times, what its analytics say, and the rows.
    subrequests: 30,
    // They say whose bundles are taken, and where a token is sent. What is sent along is stored by
    // `POST /api/v1/deploys`, which alone may name it.
    fixed: &["github", "kv", "r2"],
    pinned: &["account", "sha256"],
    own: &["bundle", "rolls_back"],
};

#[derive(Debug)]
struct Deploy(Params);

words! {
    /// What comes once the steps of the plan in force are done.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Phase {
        /// The version that was uploaded is looked up.
        Find = "find",
        /// The new version is looked at, until it gets the share of the next step.
        Watch = "watch",
        /// Caches are purged, as it has all traffic.
        Purge = "purge",
        /// It is seen that everything is done.
        Over = "over",
        /// Nothing.
        Done = "done",
    }
}

object! {
    stored
    /// What the run remembers.
    #[derive(Debug, Clone)]
    struct Memory {
        phase: Phase,
        /// The version that had all traffic before.
        old: String,
        /// The version that is to have it.
        new: Option<String> = default,
        /// The step that is, or comes next.
        at: usize,
        /// How many looks are left of it.
        looks: u32,
        /// Whether nothing has been waited for since it began.
        is_fresh: bool,
        /// Deployments made, which their marks count.
        made: u32,
        /// The deployment in force before the change that is planned; nothing where an upload is.
        before: Option<String> = default,
        /// Whether the caches were purged while the run was ended badly.
        is_purged: bool,
        /// The new version's share of traffic once the steps of the plan are done.
        share: Option<u8> = default,
    }
}

impl Deploy {
    fn script_path(&self) -> String {
        let Params {
            account, script, ..
        } = &self.0;
        format!("/accounts/{account}/workers/scripts/{script}")
    }

    fn step(&self, at: usize) -> Option<&StepParams> {
        self.0.steps.get(at)
    }

    /// Takes the Worker for the run: whoever goes on, also after an end, must have it to itself.
    async fn lock(&self, hands: &dyn Hands) -> Result<(), Trouble> {
        let Params {
            account, script, ..
        } = &self.0;
        let Some(holder) = hands.lock_script(&account.to_string(), script).await? else {
            return Ok(());
        };
        let message = format!("Run {holder} deploys the Worker {script}");
        if hands.run().ending().is_some() {
            return Err(Trouble::Impossible(format!("{message}.")));
        }
        let until = hands.now().plus_ms(LOCKED_MS);
        Err(Trouble::NotBefore(
            until,
            format!("{message}; waiting for its end."),
        ))
    }

    /// The beginning: sees that the Worker can be deployed, and plans the upload.
    async fn begin(&self, hands: &dyn Hands) -> Result<Plan, Trouble> {
        let path = self.script_path();
        let script = &self.0.script;
        self.check_grants(hands, &path).await?;
        let Some(deployment) = current(hands, &path).await? else {
            return Err(Trouble::Impossible(format!(
                "The Worker {script} has never been deployed: do that once with wrangler, so that there is something to go back to."
            )));
        };
        let Some(old) = deployment.whole() else {
            return Err(Trouble::Impossible(format!(
                "Another deployment of the Worker {script} is under way ({}): end that first.",
                deployment.shown()
            )));
        };
        let memory = Memory {
            phase: Phase::Find,
            old: old.to_owned(),
            new: None,
            at: 0,
            looks: 0,
            is_fresh: false,
            made: 0,
            before: None,
            is_purged: false,
            share: None,
        };
        let expected = self.0.replaces.as_deref();
        if expected.is_some_and(|expected| expected != old) {
            return Err(Trouble::Impossible(format!(
                "The version that was to be replaced does not have the traffic of {script} any more: {old} has."
            )));
        }
        match &self.0.version {
            Some(version) if version == old && !self.0.zones.is_empty() => {
                let memory = Memory {
                    new: Some(version.clone()),
                    share: Some(100),
                    ..memory
                };
                self.purge(hands, memory).await
            }
            Some(version) if version == old => Ok(Plan {
                summary: format!("Version {version} has all traffic of {script} already."),
                ..Plan::default()
            }),
            Some(version) => {
                let memory = Memory {
                    new: Some(version.clone()),
                    ..memory
                };
                self.deploy(hands, memory, &deployment)
            }
            None => self.upload(hands, memory).await,
        }
    }

    /// Sees before anything is sent that the principal may go all the way.
    async fn check_grants(&self, hands: &dyn Hands, path: &str) -> Result<(), Trouble> {
        let any = "00000000-0000-0000-0000-000000000000";
        let mut samples = Vec::new();
        for step in &self.0.steps {
            samples.push(Sample {
                method: Method::Post,
                path: format!("{path}/deployments"),
                body: Some(split(
                    any,
                    step.percent,
                    "11111111-1111-1111-1111-111111111111",
                    "",
                )),
            });
        }
        for zone in find_zones(hands, &self.0.zones).await? {
            samples.extend(self.samples(zone.id, &zone.name));
        }
        for sample in &samples {
            if let Some(why) = hands.why_not(sample).await? {
                return Err(Trouble::Impossible(why));
            }
        }
        error_rate::try_out(hands, &self.0).await
    }

    async fn upload(&self, hands: &dyn Hands, memory: Memory) -> Result<Plan, Trouble> {
        let path = self.script_path();
        let run = hands.run();
        let form = sources::bundle(hands, &self.0).await?;
        let form = marked(form, &tag(run), &self.message(run)).map_err(Trouble::Impossible)?;
        let blob = format!("{BUNDLES}{}", hex(&Sha256::digest(&form)));
        if !run.dry_run {
            hands.put_blob(&blob, form, Some(KEEP_BUNDLE_SECS)).await?;
        }
        let step = NewStep {
            stage: Stage::Apply,
            work: Work::Upload {
                target: format!("{path}/versions"),
                blob,
            },
            items: 1,
            summary: format!("upload a version of the Worker {}", self.0.script),
        };
        let summary = format!(
            "a new version of {}, then {}.",
            self.0.script,
            self.shown_steps()
        );
        Ok(self.part(&memory, vec![step], summary))
    }

    /// Gives the new version the share of the next step.
    fn deploy(
        &self,
        hands: &dyn Hands,
        mut memory: Memory,
        before: &Deployment,
    ) -> Result<Plan, Trouble> {
        let (Some(step), Some(new)) = (self.step(memory.at), memory.new.clone()) else {
            return Err(Trouble::Impossible(
                "The run does not know its version any more.".to_owned(),
            ));
        };
        let percent = step.percent;
        memory.made += 1;
        memory.before = Some(before.id.clone());
        memory.share = Some(percent);
        memory.phase = match percent {
            100 if self.0.zones.is_empty() => Phase::Over,
            100 => Phase::Purge,
            _ => Phase::Watch,
        };
        memory.looks = step.wait_secs.div_ceil(self.check_every());
        memory.is_fresh = true;
        let call = self.deployment(hands.run(), &memory, &new, percent);
        let summary = format!("{percent} % of the traffic of {} for {new}.", self.0.script);
        Ok(self.part(&memory, vec![call], summary))
    }

    fn deployment(&self, run: &Run, memory: &Memory, version: &str, percent: u8) -> NewStep {
        let mark = format!("{} {}", mark(run, memory.made), self.message(run));
        let body = split(version, percent, &memory.old, &mark);
        // What goes back must go, whatever secrets were changed since.
        let force = if self.0.force || version == memory.old {
            "?force=true"
        } else {
            ""
        };
        let target = format!("{}/deployments{force}", self.script_path());
        let summary = format!(
            "give version {version} of the Worker {} {percent} % of its traffic",
            self.0.script
        );
        call_step(Method::Post, target, body, None, 1, summary)
    }

    /// Looks at the new version once and waits, or goes on to the next step.
    async fn watch(&self, hands: &dyn Hands, mut memory: Memory) -> Result<Plan, Trouble> {
        let run = hands.run();
        let deployment = self.ours(hands, &memory).await?;
        let new = memory.new.clone().unwrap_or_default();
        let percent = self.step(memory.at).map_or(0, |step| step.percent);
        if !memory.is_fresh || run.hurry {
            health::look(hands, &self.0.health, &self.0.script, &new).await?;
            error_rate::look(hands, &self.0, &deployment, (&memory.old, &new)).await?;
            memory.looks = memory.looks.saturating_sub(1);
        }
        if run.hurry || memory.looks == 0 {
            memory.at = if run.hurry {
                self.0.steps.len().saturating_sub(1)
            } else {
                memory.at + 1
            };
            return self.deploy(hands, memory, &deployment);
        }
        memory.is_fresh = false;
        let summary = format!(
            "Version {new} has {percent} % of the traffic; it is looked at {} times before the next step.",
            memory.looks
        );
        let secs = self.check_every();
        Ok(Plan {
            then: Then::PlanOn(secs),
            ..self.part(&memory, Vec::new(), summary)
        })
    }

    /// What is in force, as long as that is what the run made of it.
    async fn ours(&self, hands: &dyn Hands, memory: &Memory) -> Result<Deployment, Trouble> {
        let found = current(hands, &self.script_path()).await?;
        let is_ours = |deployment: &Deployment| {
            deployment
                .message
                .starts_with(&mark(hands.run(), memory.made))
        };
        found.filter(is_ours).ok_or_else(|| self.taken_over())
    }

    fn taken_over(&self) -> Trouble {
        Trouble::Impossible(format!(
            "Somebody else deployed the Worker {} meanwhile; that is left as it is.",
            self.0.script
        ))
    }

    /// Purges the caches in front of the new version.
    async fn purge(&self, hands: &dyn Hands, mut memory: Memory) -> Result<Plan, Trouble> {
        let zones = find_zones(hands, &self.0.zones).await?;
        let steps = zones.iter().map(|zone| {
            let bucket = purge_bucket(&zone.account.to_string(), &zone.plan, PurgeUnit::Call);
            call_step(
                Method::Post,
                format!("/zones/{}/purge_cache", zone.id),
                json!({"purge_everything": true}).to_string(),
                Some((bucket, 1)),
                1,
                format!("purge everything of {}", zone.name),
            )
        });
        let steps = steps.collect();
        let names: Vec<&str> = zones.iter().map(|zone| &*zone.name).collect();
        let summary = format!("a purge of {}.", names.join(", "));
        memory.before = None;
        memory.phase = Phase::Over;
        Ok(self.part(&memory, steps, summary))
    }

    /// What is left to do for a run that does not end well: the version before gets everything back; if
    /// the new one had everything already, the caches are purged all the same.
    async fn undo(&self, hands: &dyn Hands, mut memory: Memory) -> Result<Plan, Trouble> {
        let run = hands.run();
        let found = current(hands, &self.script_path()).await?;
        let is_ours = |found: &Deployment| found.message.starts_with(&mark_of_run(run));
        let Some(found) = found.filter(is_ours) else {
            memory.share = None;
            return Ok(self.last(memory, "The new version has no traffic by this run."));
        };
        if found.whole() == Some(&*memory.old) {
            let summary = format!("Version {} has all traffic again.", memory.old);
            memory.share = Some(0);
            return Ok(self.last(memory, &summary));
        }
        if found.whole().is_some() && (memory.is_purged || self.0.zones.is_empty()) {
            return Ok(self.last(memory, "The new version has all traffic."));
        }
        if found.whole().is_some() {
            memory.is_purged = true;
            return self.purge(hands, memory).await;
        }
        // What Cloudflare shows may be late, but not for ever.
        if memory.made as usize > self.0.steps.len() + 3 {
            let message = "What was given back is not shown.".to_owned();
            return Err(Trouble::Impossible(message));
        }
        memory.made += 1;
        memory.before = Some(found.id);
        memory.share = Some(0);
        let step = self.deployment(run, &memory, &memory.old, 100);
        let summary = format!("all traffic for version {} again.", memory.old);
        Ok(self.part(&memory, vec![step], summary))
    }

    /// The end of the plan.
    fn last(&self, mut memory: Memory, summary: &str) -> Plan {
        memory.phase = Phase::Done;
        Plan {
            then: Then::Verify,
            ..self.part(&memory, Vec::new(), summary.to_owned())
        }
    }

    /// A part of the deployment; the next one is planned when it is done.
    fn part(&self, memory: &Memory, steps: Vec<NewStep>, summary: String) -> Plan {
        Plan {
            steps,
            // It has texts and numbers only, so it has a JSON form.
            basis: Some(memory.write()),
            result: Some(json!({
                "script": self.0.script,
                "version": memory.new,
                "previous": memory.old,
                "percent": memory.share,
                "commit": self.0.commit,
            })),
            summary,
            verify_after_secs: 0,
            then: Then::PlanOn(0),
        }
    }

    fn check_every(&self) -> u32 {
        self.0.check_every_secs.unwrap_or(CHECK_EVERY_SECS)
    }

    fn message(&self, run: &Run) -> String {
        let said = [self.0.commit.as_deref(), self.0.message.as_deref()];
        let said: Vec<&str> = said.into_iter().flatten().collect();
        match said.as_slice() {
            [] => format!("run {}", run.id),
            said => said.join(": "),
        }
    }

    fn shown_steps(&self) -> String {
        let steps = self.0.steps.iter().map(|step| match step.wait_secs {
            0 => format!("{} %", step.percent),
            secs => format!("{} % for {secs} s", step.percent),
        });
        steps.collect::<Vec<_>>().join(", ")
    }
}

/// The mark of the version that a run uploaded: Cloudflare takes tags of 25 characters.
fn tag(run: &Run) -> String {
    run.id.to_string().chars().take(24).collect()
}

fn mark_of_run(run: &Run) -> String {
    format!("zonekeeper {}.", tag(run))
}

/// The mark of the `made`th deployment that a run makes.
fn mark(run: &Run, made: u32) -> String {
    format!("{}{made} ", mark_of_run(run))
}

fn remembered(basis: &Value) -> Result<Memory, Trouble> {
    Memory::read(basis.clone()).map_err(|misfit| {
        Trouble::Impossible(format!("What the run remembers cannot be read: {misfit}."))
    })
}

impl JobKind for Deploy {
    fn zones(&self) -> Vec<&str> {
        self.0.zones.iter().map(String::as_str).collect()
    }

    fn samples(&self, zone: ZoneId, _zone_name: &str) -> Vec<Sample> {
        vec![Sample {
            method: Method::Post,
            path: format!("/zones/{zone}/purge_cache"),
            body: Some(json!({"purge_everything": true}).to_string()),
        }]
    }

    fn urls(&self) -> Vec<&str> {
        let checks = self.0.health.iter().map(|check| &*check.url);
        let github = self.0.github.as_ref().map(GitHub::api);
        checks.chain(github).collect()
    }

    fn lacks(&self) -> Option<&'static str> {
        sources::lacks(&self.0)
    }

    fn plan<'a>(&'a self, hands: &'a dyn Hands) -> Task<'a, Plan> {
        Box::pin(async move {
            let run = hands.run();
            if !run.dry_run {
                self.lock(hands).await?;
            }
            let Some(memory) = run.of_kind() else {
                return self.begin(hands).await;
            };
            let memory = remembered(memory)?;
            if run.ending().is_some() {
                return self.undo(hands, memory).await;
            }
            match memory.phase {
                Phase::Find => {
                    let path = self.script_path();
                    let Some(new) = tagged(hands, &path, &tag(run)).await? else {
                        return Err(Trouble::Again(
                            "The version that was uploaded is not listed (yet).".to_owned(),
                        ));
                    };
                    let found = current(hands, &path).await?;
                    let is_old = |found: &Deployment| found.whole() == Some(&*memory.old);
                    let found = found.filter(is_old).ok_or_else(|| self.taken_over())?;
                    let new = Some(new);
                    self.deploy(hands, Memory { new, ..memory }, &found)
                }
                Phase::Watch => self.watch(hands, memory).await,
                Phase::Purge => {
                    self.ours(hands, &memory).await?;
                    self.purge(hands, memory).await
                }
                Phase::Over => Ok(self.last(memory, "everything is done.")),
                Phase::Done => Err(Trouble::Impossible(
                    "The run is over, or was undone: begin another one.".to_owned(),
                )),
            }
        })
    }

    fn check<'a>(&'a self, hands: &'a dyn Hands, basis: &'a Value, _: usize) -> Task<'a, Check> {
        Box::pin(async move {
            let run = hands.run();
            let memory = remembered(basis)?;
            let path = self.script_path();
            if memory.new.is_none() {
                let found = tagged(hands, &path, &tag(run)).await?;
                return Ok(found.map_or(Check::AsPlanned, |_| Check::StepHappened));
            }
            let Some(before) = &memory.before else {
                // A purge.
                return Ok(Check::Repeatable);
            };
            let found = current(hands, &path).await?;
            Ok(match found {
                Some(found) if found.id == *before => Check::AsPlanned,
                Some(found) if found.message.starts_with(&mark(run, memory.made)) => {
                    Check::StepHappened
                }
                _ => Check::Drifted("somebody else deployed the Worker".to_owned()),
            })
        })
    }

    fn is_half_done(&self, basis: &Value) -> bool {
        // What cannot be read may be half done.
        !remembered(basis).is_ok_and(|memory| matches!(memory.phase, Phase::Find | Phase::Done))
    }

    fn verify<'a>(&'a self, hands: &'a dyn Hands, run: &'a Run) -> Task<'a, Verified> {
        Box::pin(async move {
            let memory = run.of_kind().map(remembered).transpose()?;
            let found = current(hands, &self.script_path()).await?;
            let new = memory.and_then(|memory| memory.new);
            let has_all = |found: Deployment| found.whole() == new.as_deref();
            if new.is_some() && found.is_some_and(has_all) {
                return Ok(Verified::Yes(run.result.clone()));
            }
            Err(Trouble::Impossible(format!(
                "The new version has not all traffic of the Worker {}, as somebody else deployed it or the run was undone: begin another one.",
                self.0.script
            )))
        })
    }
}
