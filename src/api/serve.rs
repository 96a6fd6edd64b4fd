//! A request below `/api/v1` on its way: let in or refused, then handed to its route.

use http::StatusCode;
use serde_json::json;

use super::access::Presented;
use super::call::Call;
use super::deploys::DEPLOY_KIND;
use super::envelope::success;
use super::route::Route;
use crate::audit::{Action, Event, Who};
use crate::catalog::{GroupId, group_named};
use crate::gateway::{After, Code, Finished, Gateway, Inbound, Refusal, Reply, is_root_key};
use crate::jobs::Platform;
use crate::policy::Moment;
use crate::store::{Database, StoreError};

/// Who is let in, by what.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) who: Who,
    pub(super) grant: Option<String>,
    pub(super) reason: String,
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
        .filter(|_| !matches!(route, Route::StartRun(_) | Route::StartDeploy))
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
        let source_ip = call.inbound.recorded_ip();
        let nobody = |credential: &str| Who {
            principal: None,
            credential: credential.to_owned(),
            source_ip: source_ip.clone(),
            run: None,
        };
        if let Some(refusal) = not_built(call.inbound, route) {
            return Err((nobody("a credential that was not looked at"), refusal)); // (2)
        }
        let presented = self
            .presented(call)
            .map_err(|refusal| (nobody("no usable credential"), refusal))?; // (3)
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
        let who = |principal: &str, credential: String| Who {
            principal: Some(principal.to_owned()),
            credential,
            source_ip: source_ip.clone(),
            run: None,
        };
        let root = snapshot.config.document.root;
        let (caller, credential) = match presented {
            Presented::Key(key) if root.enabled && is_root_key(key, self.settings) => {
                return Ok(Admitted {
                    who: who("root", "root key".to_owned()),
                    grant: None,
                    reason: "the root key opens /api/v1".to_owned(),
                });
            }
            Presented::Key(key) => {
                let (settings, store) = (self.settings, self.store);
                let found = self.view.authenticate(key, &snapshot, settings, store, now);
                let caller = found.await.map_err(unavailable)?.ok_or_else(|| {
                    (
                        nobody("a credential that is not accepted"),
                        Refusal::new(
                            Code::InvalidCredential,
                            "The credential is not accepted: it is unknown, revoked, expired or not meant for this route.",
                        ),
                    )
                })?;
                let credential = caller.credential();
                (caller, credential)
            }
            Presented::Login(app, token) => self
                .person(call, app, token, &snapshot)
                .await
                .map_err(|refusal| (nobody("an Access login that is not accepted"), refusal))?,
        };
        let who = who(&caller.name, credential);
        let Some(group) = route.group() else {
            return Ok(Admitted {
                who,
                grant: None,
                reason: "any credential opens this route".to_owned(),
            });
        };
        let decision = group_named(group).map(|group: GroupId| {
            let moment = Moment {
                source_ip: call.inbound.address(),
                zones: self.world,
                ..Moment::at(now)
            };
            snapshot.policy.may(caller.principal, group, &moment)
        });
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
            Route::ListRuns => self.list_runs(call, None).await,
            Route::ReadRun(id) => self.read_run(id).await,
            Route::ReadSteps(id) => self.read_steps(call, id).await,
            Route::ReadEvents(id) => self.read_events(call, id).await,
            Route::CancelRun(id) => self.cancel_run(call, admitted, id).await,
            Route::RetryRun(id) => self.retry_run(call, admitted, id).await,
            Route::StartDeploy => self.start_deploy(call, admitted).await,
            Route::ListDeploys => self.list_runs(call, Some(DEPLOY_KIND)).await,
            Route::ReadDeploy(id) => self.read_deploy(id).await,
            Route::PromoteDeploy(id) => self.promote(call, admitted, id).await,
            Route::AbortDeploy(id) => self.abort(call, admitted, id).await,
            Route::RollBack(id) => self.roll_back(call, admitted, id).await,
            Route::ListAlarms => self.list_alarms().await,
            Route::ListHooks => self.list_hooks().await,
            Route::ListDeliveries(name) => self.list_deliveries(call, name).await,
            Route::ReplayDelivery(name, id) => self.replay_delivery(call, admitted, name, id).await,
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
        self.sent_body(call.inbound, cap).await
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
