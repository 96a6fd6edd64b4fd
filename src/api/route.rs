//! Which request asks for what, and what it takes to be let in.

use crate::audit::Action;
use crate::gateway::sanitised;

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
    /// `POST /deploys`
    StartDeploy,
    /// `GET /deploys`
    ListDeploys,
    /// `GET /deploys/{id}`
    ReadDeploy(&'p str),
    /// `POST /deploys/{id}/promote`
    PromoteDeploy(&'p str),
    /// `POST /deploys/{id}/abort`
    AbortDeploy(&'p str),
    /// `POST /deploys/{id}/rollback`
    RollBack(&'p str),
    /// `GET /alarms`
    ListAlarms,
    /// `GET /hooks`
    ListHooks,
    /// `GET /hooks/{name}/deliveries`
    ListDeliveries(&'p str),
    /// `POST /hooks/{name}/deliveries/{id}/replay`
    ReplayDelivery(&'p str, &'p str),
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
        method: "POST",
        path: "/deploys",
        group: DEPLOYS_WRITE,
    },
    RouteInfo {
        method: "GET",
        path: "/deploys",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/deploys/{id}",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/deploys/{id}/promote",
        group: DEPLOYS_WRITE,
    },
    RouteInfo {
        method: "POST",
        path: "/deploys/{id}/abort",
        group: DEPLOYS_WRITE,
    },
    RouteInfo {
        method: "POST",
        path: "/deploys/{id}/rollback",
        group: DEPLOYS_WRITE,
    },
    RouteInfo {
        method: "GET",
        path: "/hooks",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "GET",
        path: "/hooks/{name}/deliveries",
        group: JOBS_READ,
    },
    RouteInfo {
        method: "POST",
        path: "/hooks/{name}/deliveries/{id}/replay",
        group: JOBS_RUN,
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
pub(super) const CONFIG_WRITE: &str = "Zonekeeper Config Write";
const AUDIT_READ: &str = "Zonekeeper Audit Read";
const JOBS_READ: &str = "Zonekeeper Jobs Read";
const JOBS_RUN: &str = "Zonekeeper Jobs Run";
const DEPLOYS_WRITE: &str = "Zonekeeper Deploys Write";

/// The first segments of what the design documents beyond [`ROUTES`].
const NOT_BUILT: &[&str] = &[
    "approvals",
    "budget",
    "changes",
    "grants",
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
            ("POST", ["deploys"]) => Self::StartDeploy,
            ("GET", ["deploys"]) => Self::ListDeploys,
            ("GET", ["deploys", id]) => Self::ReadDeploy(id),
            ("POST", ["deploys", id, "promote"]) => Self::PromoteDeploy(id),
            ("POST", ["deploys", id, "abort"]) => Self::AbortDeploy(id),
            ("POST", ["deploys", id, "rollback"]) => Self::RollBack(id),
            ("GET", ["alarms"]) => Self::ListAlarms,
            ("GET", ["hooks"]) => Self::ListHooks,
            ("GET", ["hooks", name, "deliveries"]) => Self::ListDeliveries(name),
            ("POST", ["hooks", name, "deliveries", id, "replay"]) => Self::ReplayDelivery(name, id),
            ("GET", ["snapshots"]) => Self::ListSnapshots,
            ("GET", ["snapshots", id]) => Self::ReadSnapshot(id),
            ("GET", ["snapshots", id, "difference"]) => Self::Difference(id),
            ("GET", ["snapshots", id, "export"]) => Self::Export(id),
            (_, [first, ..]) if NOT_BUILT.contains(first) => Self::NotBuilt,
            _ => return None,
        })
    }

    /// The permission group that opens it; `None`: any credential does.
    pub(super) fn group(&self) -> Option<&'static str> {
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
            | Self::ListDeploys
            | Self::ReadDeploy(_)
            | Self::ListAlarms
            | Self::ListHooks
            | Self::ListDeliveries(_)
            | Self::ListSnapshots
            | Self::ReadSnapshot(_)
            | Self::Difference(_)
            | Self::Export(_) => Some(JOBS_READ),
            Self::PauseJob(_)
            | Self::ResumeJob(_)
            | Self::StartRun(_)
            | Self::CancelRun(_)
            | Self::RetryRun(_)
            | Self::ReplayDelivery(..) => Some(JOBS_RUN),
            Self::StartDeploy
            | Self::PromoteDeploy(_)
            | Self::AbortDeploy(_)
            | Self::RollBack(_) => Some(DEPLOYS_WRITE),
            Self::Whoami | Self::NotBuilt => None,
        }
    }

    /// What is on record as the operation.
    pub(super) fn operation(&self) -> &'static str {
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
            Self::StartDeploy => "zonekeeper-deploy-start",
            Self::ListDeploys | Self::ReadDeploy(_) => "zonekeeper-deploy-read",
            Self::PromoteDeploy(_) => "zonekeeper-deploy-promote",
            Self::AbortDeploy(_) => "zonekeeper-deploy-abort",
            Self::RollBack(_) => "zonekeeper-deploy-rollback",
            Self::ListAlarms => "zonekeeper-alarm-read",
            Self::ListHooks | Self::ListDeliveries(_) => "zonekeeper-hook-read",
            Self::ReplayDelivery(..) => "zonekeeper-hook-replay",
            Self::ListSnapshots | Self::ReadSnapshot(_) | Self::Difference(_) | Self::Export(_) => {
                "zonekeeper-snapshot-read"
            }
            Self::NotBuilt => "unknown",
        }
    }

    /// What it does, in words.
    pub(super) fn action(&self) -> Action {
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
            Self::StartDeploy => "start a deployment".to_owned(),
            Self::ListDeploys => "list deployments".to_owned(),
            Self::ReadDeploy(id) => format!("read deployment {}", sanitised(id, 32)),
            Self::PromoteDeploy(id) => format!("promote deployment {}", sanitised(id, 32)),
            Self::AbortDeploy(id) => format!("abort deployment {}", sanitised(id, 32)),
            Self::RollBack(id) => format!("roll back deployment {}", sanitised(id, 32)),
            Self::ListAlarms => "list alarms".to_owned(),
            Self::ListHooks => "list hooks".to_owned(),
            Self::ListDeliveries(name) => {
                format!("list deliveries to hook {}", sanitised(name, 64))
            }
            Self::ReplayDelivery(name, id) => {
                let (name, id) = (sanitised(name, 64), sanitised(id, 128));
                format!("replay delivery {id} of hook {name}")
            }
            Self::ListSnapshots => "list snapshots".to_owned(),
            Self::ReadSnapshot(id) | Self::Difference(id) | Self::Export(id) => {
                format!("read snapshot {}", sanitised(id, 32))
            }
            Self::NotBuilt => "call a route that is not built".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::group_named;

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
        assert_eq!(Route::of("GET", "/budget"), Some(Route::NotBuilt));
    }
}
