//! Workers as their visitors see them: `/__sim/sites/{script}/{path…}`.
//!
//! No code runs here. The version that would run answers 200 `{script, version}`, or as it was told
//! to, and `x-sim-version` names it. It is chosen as Cloudflare's pages "Gradual deployments" and
//! "Version overrides" say: by `Cloudflare-Workers-Version-Overrides`, if that names a version of
//! the current deployment (one of 0 % too), else by the shares. Where Cloudflare draws lots, here of
//! every 100 requests as many as its percentage go to a version, spread evenly, counted from each
//! new deployment on; requests whose override applies do not count.
//!
//! Every answer is an invocation for the analytics: an error when its status is 500 or more, or
//! when the connection was cut (hypothesis: at Cloudflare only an exception counts).
//!
//! A path has no account: among Workers of the same name the one of the first account is meant.

use std::collections::BTreeMap;

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Manner, overrides};
use crate::api::Reply;
use crate::clock::Now;
use crate::control;
use crate::faults::glob;
use crate::invocations::Invocation;
use crate::workers::Script;
use crate::world::World;

/// What is remembered of served Workers, by their names.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    by_script: BTreeMap<String, Site>,
}

#[derive(Debug, Default)]
struct Site {
    /// The deployment that `turns` counts in.
    deployment: String,
    /// How many requests went where the shares sent them.
    turns: u64,
    behaviours: Vec<Behaviour>,
}

/// How a version answers otherwise: `{version, after?, times?, path?, status?, body?, delay_ms?,
/// reset?}`. The first that is meant and whose `after` is used up and `times` is not, acts, as with
/// faults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    /// A version's id, `newest` for the one uploaded last at the time of the request, or `any`.
    version: String,
    /// How many requests that are meant still get the usual answer.
    #[serde(default)]
    after: u64,
    /// How often it still acts; absent means until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    /// The path in the site, exactly or as a `*` glob; absent means every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// A string as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    /// Cuts the connection in place of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset: Option<bool>,
}

/// A request to a site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) script: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) now: Now,
}

/// An answer of a site.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) reply: Reply,
    pub(super) version: Option<String>,
    pub(super) manner: Manner,
}

/// Answers a request as the version does that it is for.
pub(super) fn serve(world: &mut World, request: Request<'_>) -> Served {
    let found = world.workers.named(request.script);
    let deployed = found.and_then(|(_, script)| script.deployed());
    let (Some((account, script)), Some((deployment, split))) = (found, deployed) else {
        let message = format!("no deployed Worker is named {:?}", request.script);
        return Served {
            reply: control::reply(404, &json!({"error": message})),
            version: None,
            manner: Manner::default(),
        };
    };
    let site = world
        .sites
        .by_script
        .entry(request.script.to_owned())
        .or_default();
    let asked = overrides::wanted(request.headers, request.script);
    let version = asked
        .filter(|asked| split.iter().any(|(id, _)| id == asked))
        .unwrap_or_else(|| site.turn(deployment, split));
    let is_newest = script.newest() == Some(version.as_str());
    let behaviour = site.take(&version, is_newest, request.path);
    let (mut reply, manner) = behaviour.map_or_else(
        || (usual(request.script, &version), Manner::default()),
        |behaviour| behaviour.answer(request.script, &version),
    );
    let is_error = manner.is_cut || reply.status >= 500;
    let invocation = Invocation {
        account: account.to_owned(),
        script: request.script.to_owned(),
        version: version.clone(),
        at: request.now,
        requests: 1,
        errors: u64::from(is_error),
    };
    world.invocations.add(invocation);
    reply.headers.push(("x-sim-version", version.clone()));
    Served {
        reply,
        version: Some(version),
        manner,
    }
}

fn usual(script: &str, version: &str) -> Reply {
    control::reply(200, &json!({"script": script, "version": version}))
}

impl Site {
    /// The version whose turn it is by the shares.
    fn turn(&mut self, deployment: &str, split: &[(String, f64)]) -> String {
        if self.deployment != deployment {
            deployment.clone_into(&mut self.deployment);
            self.turns = 0;
        }
        let turn = self.turns;
        self.turns += 1;
        // A deployment has one version or two; the share of the second says when its turn is.
        let second = split.get(1).filter(|(_, share)| is_turn(turn, *share));
        let chosen = second.or_else(|| split.first());
        chosen.map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// The behaviour that meets a request. Every one that is meant before it counts the request.
    fn take(&mut self, version: &str, is_newest: bool, path: &str) -> Option<Behaviour> {
        for behaviour in &mut self.behaviours {
            let is_version = match behaviour.version.as_str() {
                "any" => true,
                "newest" => is_newest,
                id => id == version,
            };
            let is_path = behaviour.path.as_deref().is_none_or(|p| glob(p, path));
            if !is_version || !is_path {
                continue;
            }
            if behaviour.after > 0 {
                behaviour.after -= 1;
                continue;
            }
            match &mut behaviour.times {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            return Some(behaviour.clone());
        }
        None
    }
}

/// Whether the request with this number, from 0 on, is one of the `percentage` of every hundred.
/// Shares count to the hundredth of a percent, so that the pattern repeats after 10,000 requests.
fn is_turn(number: u64, percentage: f64) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentage is between 0 and 100"
    )]
    let share = (percentage * 100.0).round() as u64;
    let before = |requests: u64| requests * share / 10_000;
    before(number + 1) > before(number)
}

impl Behaviour {
    /// Refuses what could never act as written.
    fn check(&self, script: Option<&Script>) -> Result<(), String> {
        let acts = self.status.is_some()
            || self.body.is_some()
            || self.delay_ms.is_some()
            || self.reset == Some(true);
        if !acts {
            return Err("a behaviour needs status, body, delay_ms or reset".to_owned());
        }
        if self.status.is_some_and(|s| !(200..=599).contains(&s)) {
            return Err("status must be between 200 and 599".to_owned());
        }
        let is_known = matches!(self.version.as_str(), "any" | "newest")
            || script.is_some_and(|script| script.has_version(&self.version));
        if !is_known {
            return Err(format!(
                "version must be any, newest or a version of the Worker, not {:?}",
                self.version
            ));
        }
        Ok(())
    }

    fn answer(&self, script: &str, version: &str) -> (Reply, Manner) {
        let mut reply = usual(script, version);
        reply.status = self.status.unwrap_or(reply.status);
        match &self.body {
            None => {}
            Some(Value::String(text)) => {
                let status = reply.status;
                reply = Reply {
                    status,
                    ..Reply::text(text.clone())
                };
            }
            Some(value) => reply = control::reply(reply.status, value),
        }
        let manner = Manner {
            delay_ms: self.delay_ms,
            is_cut: self.reset == Some(true),
        };
        (reply, manner)
    }
}

/// Adds behaviours behind those of a script, shows what is left of them or ends them. The script
/// need not be there yet.
pub(super) fn behave(
    world: &mut World,
    script: &str,
    method: &str,
    body: &[u8],
) -> Result<Reply, String> {
    let site = world.sites.by_script.entry(script.to_owned()).or_default();
    match method {
        "GET" => {}
        "DELETE" => site.behaviours.clear(),
        "POST" => {
            let behaviours = control::parse_list::<Behaviour>(body)?;
            let found = world.workers.named(script).map(|(_, script)| script);
            behaviours.iter().try_for_each(|one| one.check(found))?;
            site.behaviours.extend(behaviours);
        }
        _ => return Err(String::new()),
    }
    Ok(control::reply(200, &json!(site.behaviours)))
}

/// `{version, requests, errors}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invoked {
    /// A version's id, or `newest`.
    version: String,
    requests: u64,
    errors: u64,
}

/// Adds invocations that nobody made; an unknown script is no such control.
pub(super) fn invoke(
    world: &mut World,
    script: &str,
    body: &[u8],
    now: Now,
) -> Result<Reply, String> {
    let invoked: Invoked = control::parse(body)?;
    let (account, found) = world.workers.named(script).ok_or("")?;
    let version = match invoked.version.as_str() {
        "newest" => found.newest(),
        id => Some(id).filter(|id| found.has_version(id)),
    };
    let version = version.ok_or_else(|| {
        format!(
            "version must be newest or a version of the Worker, not {:?}",
            invoked.version
        )
    })?;
    if invoked.errors > invoked.requests {
        return Err("errors must be at most requests".to_owned());
    }
    let invocation = Invocation {
        account: account.to_owned(),
        script: script.to_owned(),
        version: version.to_owned(),
        at: now,
        requests: invoked.requests,
        errors: invoked.errors,
    };
    let shown = json!({"version": version, "requests": invoked.requests, "errors": invoked.errors});
    world.invocations.add(invocation);
    Ok(control::reply(200, &shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_every_hundred_requests_as_many_as_the_percentage_have_their_turn() {
        for (percentage, expected) in [(0.0, 0), (1.0, 1), (5.0, 5), (33.0, 33), (100.0, 100)] {
            for start in [0, 1, 50, 9_990] {
                let turns = (start..start + 100).filter(|n| is_turn(*n, percentage));
                assert_eq!(turns.count(), expected, "{percentage} % from {start}");
            }
        }
        let turns: Vec<u64> = (0..100).filter(|n| is_turn(*n, 5.0)).collect();
        assert_eq!(turns, [19, 39, 59, 79, 99], "spread evenly");
        assert_eq!((0..10_000).filter(|n| is_turn(*n, 0.25)).count(), 25);
    }
}
