//! Which request does what, and what it takes to be let in.

use http::StatusCode;
use serde_json::json;

use super::envelope::success;
use crate::audit::{Action, Event, What, Who};
use crate::catalog::{GroupId, group_named};
use crate::gateway::{
    After, BodyFault, Code, Finished, Gateway, Inbound, Refusal, Reply, is_root_key, sanitised,
};
use crate::jobs::Platform;
use crate::store::{Database, StoreError};

/// Where the API begins.
pub const API_PREFIX: &str = "/api/v1";

/// What a request below [`API_PREFIX`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'p> {
    /// `GET /config`
    ReadConfig,
    /// `PUT /config`
    ApplyConfig,
    /// `POST /config/plan`
    PlanConfig,
    /// `POST /principals/{name}/keys`
    MintKey(&'p str),
    /// `GET /principals/{name}/keys`
    ListKeys(&'p str),
    /// `POST /principals/{name}/keys/{id}/roll`
    RollKey(&'p str, &'p str),
    /// `DELETE /principals/{name}/keys/{id}`
    RevokeKey(&'p str, &'p str),
    /// `POST /decide`
    Decide,
    /// `GET /audit`
    Audit,
    /// `GET /whoami`
    Whoami,
    /// `GET /jobs`
    ListJobs,
    /// `GET /jobs/{name}`
    ReadJob(&'p str),
    /// `POST /jobs/{name}/pause`
    PauseJob(&'p str),
    /// `POST /jobs/{name}/resume`
    ResumeJob(&'p str),
    /// `POST /jobs/{name}/runs`
    StartRun(&'p str),
    /// `GET /runs`
    ListRuns,
    /// `GET /runs/{id}`
    ReadRun(&'p str),
    /// `GET /runs/{id}/steps`
    ReadSteps(&'p str),
    /// `GET /runs/{id}/events`
    ReadEvents(&'p str),
    /// `POST /runs/{id}/cancel`
    CancelRun(&'p str),
    /// `POST /runs/{id}/retry`
    RetryRun(&'p str),
    /// `GET /alarms`
    ListAlarms,
    /// `GET /snapshots`
    ListSnapshots,
    /// `GET /snapshots/{id}`
    ReadSnapshot(&'p str),
    /// `GET /snapshots/{id}/difference`
    Difference(&'p str),
    /// `GET /snapshots/{id}/export`
    Export(&'p str),
    /// Documented, not built.
    NotBuilt,
}

/// One route, for the test that lists them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteInfo {
    /// Its method.
    pub method: &'static str,
    /// Its path below [`API_PREFIX`].
    pub path: &'static str,
    /// The permission group that opens it; empty: any credential does.
    pub group: &'static str,
}

/// Every route that is built.
pub const ROUTES: &[RouteInfo] = &[
    RouteInfo {
        method: "GET",
        path: "/config",
        group: CONFIG_READ,
    },
    RouteInfo {
        method: "PUT",
        path: "/config",
        group: CONFIG_WRITE,
    },
    RouteInfo {
        method: "POST",
        path: "/config/plan",
        group: CONFIG_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/principals/{name}/keys",
        group: CONFIG_WRITE,
    },
    RouteInfo {
        method: "GET",
        path: "/principals/{name}/keys",
        group: CONFIG_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/principals/{name}/keys/{id}/roll",
        group: CONFIG_WRITE,
    },
    RouteInfo {
        method: "DELETE",
        path: "/principals/{name}/keys/{id}",
        group: CONFIG_WRITE,
    },
    RouteInfo {
        method: "POST",
        path: "/decide",
        group: CONFIG_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/audit",
        group: AUDIT_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/whoami",
        group: "",
    },
    RouteInfo {
        method: "GET",
        path: "/jobs",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/jobs/{name}",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/jobs/{name}/pause",
        group: JOBS_RUN,
    },
    RouteInfo {
        method: "POST",
        path: "/jobs/{name}/resume",
        group: JOBS_RUN,
    },
    RouteInfo {
        method: "POST",
        path: "/jobs/{name}/runs",
        group: JOBS_RUN,
    },
    RouteInfo {
        method: "GET",
        path: "/runs",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/runs/{id}",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/runs/{id}/steps",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/runs/{id}/events",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/runs/{id}/cancel",
        group: JOBS_RUN,
    },
    RouteInfo {
        method: "POST",
        path: "/runs/{id}/retry",
        group: JOBS_RUN,
    },
    RouteInfo {
        method: "GET",
        path: "/alarms",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/snapshots",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/snapshots/{id}",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/snapshots/{id}/difference",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/snapshots/{id}/export",
        group: JOBS_READ,
    },
];

const CONFIG_READ: &str = "Zonekeeper Config Read";
const CONFIG_WRITE: &str = "Zonekeeper Config Write";
const AUDIT_READ: &str = "Zonekeeper Audit Read";
const JOBS_READ: &str = "Zonekeeper Jobs Read";
const JOBS_RUN: &str = "Zonekeeper Jobs Run";

/// The first segments of what the design documents beyond [`ROUTES`].
const NOT_BUILT: &[&str] = &[
    "approvals",
    "budget",
    "changes",
    "deploys",
    "grants",
    "hooks",
    "openapi.json",
    "principals",
    "usage",
];

impl<'p> Route<'p> {
    /// Matches a method and a path below [`API_PREFIX`]; `None` when there is no such route.
    #[must_use]
    pub fn of(method: &str, path: &'p str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        Some(match (method, segments.as_slice()) {
            ("GET", ["config"]) => Self::ReadConfig,
            ("PUT", ["config"]) => Self::ApplyConfig,
            ("POST", ["config", "plan"]) => Self::PlanConfig,
            ("POST", ["principals", name, "keys"]) => Self::MintKey(name),
            ("GET", ["principals", name, "keys"]) => Self::ListKeys(name),
            ("POST", ["principals", name, "keys", id, "roll"]) => Self::RollKey(name, id),
            ("DELETE", ["principals", name, "keys", id]) => Self::RevokeKey(name, id),
            ("POST", ["decide"]) => Self::Decide,
            ("GET", ["audit"]) => Self::Audit,
            ("GET", ["whoami"]) => Self::Whoami,
            ("GET", ["jobs"]) => Self::ListJobs,
            ("GET", ["jobs", name]) => Self::ReadJob(name),
            ("POST", ["jobs", name, "pause"]) => Self::PauseJob(name),
            ("POST", ["jobs", name, "resume"]) => Self::ResumeJob(name),
            ("POST", ["jobs", name, "runs"]) => Self::StartRun(name),
            ("GET", ["runs"]) => Self::ListRuns,
            ("GET", ["runs", id]) => Self::ReadRun(id),
            ("GET", ["runs", id, "steps"]) => Self::ReadSteps(id),
            ("GET", ["runs", id, "events"]) => Self::ReadEvents(id),
            ("POST", ["runs", id, "cancel"]) => Self::CancelRun(id),
            ("POST", ["runs", id, "retry"]) => Self::RetryRun(id),
            ("GET", ["alarms"]) => Self::ListAlarms,
            ("GET", ["snapshots"]) => Self::ListSnapshots,
            ("GET", ["snapshots", id]) => Self::ReadSnapshot(id),
            ("GET", ["snapshots", id, "difference"]) => Self::Difference(id),
            ("GET", ["snapshots", id, "export"]) => Self::Export(id),
            (_, [first, ..]) if NOT_BUILT.contains(first) => Self::NotBuilt,
            _ => return None,
        })
    }

    /// The permission group that opens it; `None`: any credential does.
    fn group(&self) -> Option<&'static str> {
        match self {
            Self::ReadConfig | Self::PlanConfig | Self::ListKeys(_) | Self::Decide => {
                Some(CONFIG_READ)
            }
            Self::ApplyConfig | Self::MintKey(_) | Self::RollKey(..) | Self::RevokeKey(..) => {
                Some(CONFIG_WRITE)
            }
            Self::Audit => Some(AUDIT_READ),
            Self::ListJobs
            | Self::ReadJob(_)
            | Self::ListRuns
            | Self::ReadRun(_)
            | Self::ReadSteps(_)
            | Self::ReadEvents(_)
            | Self::ListAlarms
            | Self::ListSnapshots
            | Self::ReadSnapshot(_)
            | Self::Difference(_)
            | Self::Export(_) => Some(JOBS_READ),
            Self::PauseJob(_)
            | Self::ResumeJob(_)
            | Self::StartRun(_)
            | Self::CancelRun(_)
            | Self::RetryRun(_) => Some(JOBS_RUN),
            Self::Whoami | Self::NotBuilt => None,
        }
    }

    /// What is on record as the operation.
    fn operation(&self) -> &'static str {
        match self {
            Self::ReadConfig => "zonekeeper-config-read",
            Self::ApplyConfig => "zonekeeper-config-apply",
            Self::PlanConfig => "zonekeeper-config-plan",
            Self::MintKey(_) => "zonekeeper-key-mint",
            Self::ListKeys(_) => "zonekeeper-key-list",
            Self::RollKey(..) => "zonekeeper-key-roll",
            Self::RevokeKey(..) => "zonekeeper-key-revoke",
            Self::Decide => "zonekeeper-decide",
            Self::Audit => "zonekeeper-audit-read",
            Self::Whoami => "zonekeeper-whoami",
            Self::ListJobs | Self::ReadJob(_) => "zonekeeper-job-read",
            Self::PauseJob(_) => "zonekeeper-job-pause",
            Self::ResumeJob(_) => "zonekeeper-job-resume",
            Self::StartRun(_) => "zonekeeper-run-start",
            Self::ListRuns | Self::ReadRun(_) | Self::ReadSteps(_) | Self::ReadEvents(_) => {
                "zonekeeper-run-read"
            }
            Self::CancelRun(_) => "zonekeeper-run-cancel",
            Self::RetryRun(_) => "zonekeeper-run-retry",
            Self::ListAlarms => "zonekeeper-alarm-read",
            Self::ListSnapshots | Self::ReadSnapshot(_) | Self::Difference(_) | Self::Export(_) => {
                "zonekeeper-snapshot-read"
            }
            Self::NotBuilt => "unknown",
        }
    }

    /// What it does, in words.
    fn action(&self) -> Action {
        Action::new(match self {
            Self::ReadConfig => "read the configuration".to_owned(),
            Self::ApplyConfig => "apply a configuration".to_owned(),
            Self::PlanConfig => "call for a configuration plan".to_owned(),
            Self::MintKey(name) => format!("mint a key for {}", sanitised(name, 64)),
            Self::ListKeys(name) => format!("list the keys of {}", sanitised(name, 64)),
            Self::RollKey(name, id) => {
                format!("roll key {} of {}", sanitised(id, 12), sanitised(name, 64))
            }
            Self::RevokeKey(name, id) => format!(
                "revoke key {} of {}",
                sanitised(id, 12),
                sanitised(name, 64)
            ),
            Self::Decide => "call for a decision".to_owned(),
            Self::Audit => "read the audit log".to_owned(),
            Self::Whoami => "read who it is".to_owned(),
            Self::ListJobs => "list jobs".to_owned(),
            Self::ReadJob(name) => format!("read job {}", sanitised(name, 64)),
            Self::PauseJob(name) => format!("pause job {}", sanitised(name, 64)),
            Self::ResumeJob(name) => format!("resume job {}", sanitised(name, 64)),
            Self::StartRun(name) => format!("start a run of job {}", sanitised(name, 64)),
            Self::ListRuns => "list runs".to_owned(),
            Self::ReadRun(id) | Self::ReadSteps(id) | Self::ReadEvents(id) => {
                format!("read run {}", sanitised(id, 32))
            }
            Self::CancelRun(id) => format!("cancel run {}", sanitised(id, 32)),
            Self::RetryRun(id) => format!("retry run {}", sanitised(id, 32)),
            Self::ListAlarms => "list alarms".to_owned(),
            Self::ListSnapshots => "list snapshots".to_owned(),
            Self::ReadSnapshot(id) | Self::Difference(id) | Self::Export(id) => {
                format!("read snapshot {}", sanitised(id, 32))
            }
            Self::NotBuilt => "call a route that is not built".to_owned(),
        })
    }
}

/// Who is let in, by what.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) who: Who,
    pub(super) grant: Option<String>,
    pub(super) reason: String,
}

/// A request on its way through the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) inbound: &'a Inbound<'a>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl Call<'_> {
    pub(super) fn what(&self, operation: &str, action: Action) -> What {
        What {
            operation: operation.to_owned(),
            method: sanitised(self.inbound.method, 20),
            path: format!("{API_PREFIX}{}", sanitised(self.path, 200)),
            zone: None,
            resources: Vec::new(),
            action,
            deprecated: false,
        }
    }
}

pub(super) fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Conflict => Refusal::new(
            Code::StoreUnavailable,
            "Another change came at the same instant, so nothing was changed; try again.",
        ),
        _ => Refusal::new(
            Code::StoreUnavailable,
            "The store of this Zonekeeper cannot be reached, so nothing was changed.",
        ),
    }
}

fn not_built(inbound: &Inbound<'_>, route: &Route<'_>) -> Option<Refusal> {
    // Starting a run is what is done once for each key; elsewhere keys are not built.
    let key = inbound
        .idempotency_key
        .filter(|_| !matches!(route, Route::StartRun(_)))
        .map(|_| "idempotency-key");
    let header = inbound.unsupported.or(key)?;
    let message = format!(
        "The header {header} asks for something this version does not have, so the call was not carried out."
    );
    Some(Refusal::new(Code::NotBuilt, message))
}

/// Why a change failed. Unlike a read it may have been stored all the same: an error also comes when
/// only the answer was lost.
pub(super) fn change_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Conflict => store_refusal(error),
        _ => Refusal::new(
            Code::StoreUnavailable,
            "The store of this Zonekeeper failed; could not confirm whether the change was stored, so read it again.",
        ),
    }
}

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// Every request below `/api/v1`; `path` is what follows that.
    ///
    /// 1. A route that does not exist is 404.
    /// 2. A header that asks for what is not built is 501.
    /// 3. No credential is 401, two are 400.
    /// 4. Neither the root key nor a key whose grants hold the route's group: 403.
    /// 5. The route itself; bad input is 400 and changes nothing.
    pub async fn serve_api(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
        path: &str,
        query: Option<&str>,
    ) -> Finished<W::Response> {
        let call = Call {
            inbound,
            path,
            query,
        };
        let arrived = self.world.now();
        let Some(route) = Route::of(inbound.method, path) else {
            let refusal = Refusal::new(
                Code::NotFound,
                "There is no such route below /api/v1; see the README for those there are.",
            ); // (1)
            return Finished {
                reply: Reply::json(refusal.status(), refusal.body(origin)),
                after: Vec::new(),
            };
        };
        match self.admit(&call, &route).await {
            Ok(admitted) => match self.run(&call, &route, &admitted).await {
                Ok(reply) => Finished {
                    reply,
                    after: Vec::new(),
                }, // (5)
                Err(refusal) => Finished {
                    reply: Reply::json(refusal.status(), refusal.body(origin)),
                    after: Vec::new(),
                },
            },
            Err((who, refusal)) => {
                let what = call.what(route.operation(), route.action());
                let now = self.world.now();
                let event = Event {
                    decision: "deny",
                    reason: refusal.message.clone(),
                    status: refusal.status().as_u16(),
                    duration_ms: now.ms_since(arrived),
                    ..Event::of(self.world.entry_id(now), who, what)
                };
                let after = if refusal.code == Code::StoreUnavailable {
                    Vec::new()
                } else {
                    vec![After::Event(Box::new(event))]
                };
                Finished {
                    reply: Reply::json(refusal.status(), refusal.body(origin)),
                    after,
                }
            }
        }
    }

    /// Steps 2 to 4.
    async fn admit(&self, call: &Call<'_>, route: &Route<'_>) -> Result<Admitted, (Who, Refusal)> {
        let source_ip = call.inbound.source_ip.map(|ip| sanitised(ip, 45));
        let nobody = |credential: &str| Who {
            principal: None,
            credential: credential.to_owned(),
            source_ip: source_ip.clone(),
            run: None,
        };
        if let Some(refusal) = not_built(call.inbound, route) {
            return Err((nobody("a credential that was not looked at"), refusal)); // (2)
        }
        let credential = call.inbound.credentials.credential().map_err(|error| {
            let code = Code::from(error);
            (
                nobody("no usable credential"),
                Refusal::new(code, format!("The call is not let in: {error}.")),
            ) // (3)
        })?;
        if is_root_key(credential, self.settings) {
            let who = Who {
                principal: Some("root".to_owned()),
                credential: "root key".to_owned(),
                source_ip,
                run: None,
            };
            return Ok(Admitted {
                who,
                grant: None,
                reason: "the root key opens /api/v1".to_owned(),
            });
        }
        let now = self.world.now();
        let unavailable = |error: StoreError| {
            self.world.log(&format!("admit: {error}"));
            (
                nobody("a credential that could not be checked"),
                store_refusal(&error),
            )
        };
        let snapshot = self
            .view
            .current(self.store, now)
            .await
            .map_err(unavailable)?;
        let caller = self
            .view
            .authenticate(credential, &snapshot, self.settings, self.store, now)
            .await
            .map_err(unavailable)?;
        let Some(caller) = caller else {
            return Err((
                nobody("a credential that is not accepted"),
                Refusal::new(
                    Code::InvalidCredential,
                    "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
                ),
            ));
        };
        let who = Who {
            principal: Some(caller.name.as_ref().to_owned()),
            credential: caller
                .key
                .as_ref()
                .map_or_else(String::new, |key| format!("key {}", key.id)),
            source_ip,
            run: None,
        };
        let Some(group) = route.group() else {
            return Ok(Admitted {
                who,
                grant: None,
                reason: "any credential opens this route".to_owned(),
            });
        };
        let decision = group_named(group)
            .map(|group: GroupId| snapshot.policy.may(caller.principal, group, now));
        match decision {
            Some(decision) if decision.is_allowed() => {
                let grant = decision
                    .grant
                    .map(|grant| snapshot.policy.grant_name(grant).to_owned());
                let reason = format!("allowed by {}", grant.as_deref().unwrap_or_default());
                Ok(Admitted { who, grant, reason })
            }
            _ => {
                let message = format!(
                    "{} may not {}: a grant of {group} is needed.",
                    caller.name,
                    route.action().infinitive()
                );
                Err((who, Refusal::new(Code::Denied, message))) // (4)
            }
        }
    }

    /// Lets a change in once more, just before it is stored: its body and what it asked of
    /// Cloudflare may have taken longer than a revocation.
    pub(super) async fn admit_again(&self, call: &Call<'_>) -> Result<(), Refusal> {
        match Route::of(call.inbound.method, call.path) {
            Some(route) => self
                .admit(call, &route)
                .await
                .map(drop)
                .map_err(|(_, refusal)| refusal),
            None => Err(Refusal::new(Code::NotFound, "There is no such route.")),
        }
    }

    async fn run(
        &self,
        call: &Call<'_>,
        route: &Route<'_>,
        admitted: &Admitted,
    ) -> Result<Reply<W::Response>, Refusal> {
        match route {
            Route::ReadConfig => self.read_config(call).await,
            Route::PlanConfig => self.plan_config(call).await,
            Route::ApplyConfig => self.apply_config(call, admitted).await,
            Route::MintKey(name) => self.mint_key(call, admitted, name).await,
            Route::ListKeys(name) => self.list_keys(name).await,
            Route::RollKey(name, id) => self.roll_key(call, admitted, name, id).await,
            Route::RevokeKey(name, id) => self.revoke_key(call, admitted, name, id).await,
            Route::Decide => self.decide_question().await,
            Route::Audit => self.audit_log(call).await,
            Route::Whoami => success(
                StatusCode::OK,
                json!({"principal": admitted.who.principal, "credential": admitted.who.credential}),
                &[],
            ),
            Route::ListJobs => self.list_jobs(None).await,
            Route::ReadJob(name) => self.list_jobs(Some(name)).await,
            Route::PauseJob(name) => self.pause_job(call, admitted, name, true).await,
            Route::ResumeJob(name) => self.pause_job(call, admitted, name, false).await,
            Route::StartRun(name) => self.start_run(call, admitted, name).await,
            Route::ListRuns => self.list_runs(call).await,
            Route::ReadRun(id) => self.read_run(id).await,
            Route::ReadSteps(id) => self.read_steps(call, id).await,
            Route::ReadEvents(id) => self.read_events(call, id).await,
            Route::CancelRun(id) => self.cancel_run(call, admitted, id).await,
            Route::RetryRun(id) => self.retry_run(call, admitted, id).await,
            Route::ListAlarms => self.list_alarms().await,
            Route::ListSnapshots => self.list_snapshots(call).await,
            Route::ReadSnapshot(id) => self.read_snapshot(id).await,
            Route::Difference(id) => self.snapshot_difference(call, admitted, id).await,
            Route::Export(id) => self.export_snapshot(id).await,
            Route::NotBuilt => Err(Refusal::new(
                Code::NotBuilt,
                "This route is documented but not built in this version.",
            )),
        }
    }

    /// The body of a request to the API, at most `cap` bytes.
    pub(super) async fn api_body(&self, call: &Call<'_>, cap: usize) -> Result<Vec<u8>, Refusal> {
        let too_large = || {
            Refusal::new(
                Code::BodyTooLarge,
                format!("The body is larger than {cap} bytes."),
            )
        };
        if call
            .inbound
            .content_length
            .is_some_and(|length| length > cap as u64)
        {
            return Err(too_large());
        }
        self.world
            .caller_body(cap)
            .await
            .map_err(|fault| match fault {
                BodyFault::TooLarge => too_large(),
                BodyFault::TimedOut => {
                    Refusal::new(Code::BodyTimeout, "The body did not arrive in time.")
                }
                BodyFault::Broken => Refusal::new(
                    Code::MalformedBody,
                    "The body broke off or is not encoded as it says.",
                ),
            })
    }

    /// The event of a change that `admitted` makes; `None` in its id's place is never: every event
    /// has its number from here.
    pub(super) fn change_event(
        &self,
        call: &Call<'_>,
        route_operation: &str,
        admitted: &Admitted,
        action: Action,
    ) -> Event {
        Event {
            grant: admitted.grant.clone(),
            reason: admitted.reason.clone(),
            ..Event::of(
                self.world.entry_id(self.world.now()),
                admitted.who.clone(),
                call.what(route_operation, action),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_listed_with_the_group_that_opens_it() {
        for info in ROUTES {
            let path = info
                .path
                .replace("{name}", "acme-bot")
                .replace("{id}", "Ab12Cd34Ef56");
            let route = Route::of(info.method, &path).unwrap_or_else(|| panic!("{info:?}"));
            assert_eq!(route.group().unwrap_or_default(), info.group, "{info:?}");
            assert!(
                info.group.is_empty() || group_named(info.group).is_some(),
                "{info:?}"
            );
        }
    }

    #[test]
    fn what_is_not_listed_is_not_there() {
        assert_eq!(Route::of("DELETE", "/config"), None);
        assert_eq!(Route::of("GET", "/config/"), None);
        assert_eq!(Route::of("GET", ""), None);
        assert_eq!(Route::of("GET", "/deploys"), Some(Route::NotBuilt));
    }
}
