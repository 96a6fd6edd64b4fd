//! `deploys`: runs of the kind `workers.deploy`, begun with what they deploy.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::envelope::read_body;
use super::jobs::Wanted;
use super::runs::no_run;
use super::serve::{Admitted, change_refusal};
use crate::audit::Action;
use crate::gateway::{Code, Gateway, Refusal, Reply};
use crate::jobs::{BUNDLES, KEEP_BUNDLE_SECS, Platform};
use crate::model::hex;
use crate::model::typed::object;
use crate::run::{Run, RunState};
use crate::store::{Database, Wish};
use crate::workers::{check_bundle, form_type};

/// The kind of job that deploys.
pub(super) const DEPLOY_KIND: &str = "workers.deploy";
/// Bytes of a bundle at the most: it is held several times over while it is uploaded, and an isolate has 128 MB
/// (<https://developers.cloudflare.com/workers/platform/limits/#memory>).
const MAX_BUNDLE_BYTES: usize = 10 * 1024 * 1024;

object! {
    /// What is to be deployed, where the body is JSON; beside a bundle it stands in the query.
    #[derive(Debug, Default)]
    struct Asked {
        /// The job, which says of which Worker and how.
        job: Option<String> = default,
        /// A version that is there already.
        version: Option<String> = default,
        /// Whether that is deployed though secrets were changed since.
        force: bool = default,
        commit: Option<String> = default,
        message: Option<String> = default,
        /// The SHA-256 of the bundle, in hex.
        sha256: Option<String> = default,
        dry_run: bool = default,
    }
}

impl Asked {
    fn of_query(query: Option<&str>) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let slot = match name.as_ref() {
                "job" => &mut asked.job,
                "commit" => &mut asked.commit,
                "message" => &mut asked.message,
                "sha256" => &mut asked.sha256,
                "dry_run" if matches!(value.as_ref(), "true" | "false") => {
                    asked.dry_run = value == "true";
                    continue;
                }
                _ => {
                    return Err(wrong(
                        "A bundle takes the query parameters job, commit, message, sha256 and dry_run (true or false).",
                    ));
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(wrong(format!("The query parameter `{name}` stands twice.")));
            }
        }
        Ok(asked)
    }
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

impl<D: Database, P: Platform> Gateway<'_, D, P> {
    /// `POST /deploys`: either the form that `wrangler deploy --dry-run --outfile` writes, with the job in the
    /// query, or JSON `{job, version}` → 202 `{id, state}`.
    ///
    /// 1. The job must be there and be one that deploys.
    /// 2. A bundle must be a form with `metadata` that can be rolled back, and of the digest that is said.
    /// 3. It is kept by its digest for 30 days, and the run begins as any other.
    pub(super) async fn start_deploy(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
    ) -> Result<Reply<P::Response>, Refusal> {
        let bytes = self.api_body(call, MAX_BUNDLE_BYTES).await?;
        let content_type = call.inbound.content_type.unwrap_or_default();
        let is_bundle = bytes.starts_with(b"--") || content_type.starts_with("multipart/");
        let mut asked = if is_bundle {
            Asked::of_query(call.query)?
        } else if call.query.is_some() {
            return Err(wrong("Beside JSON there are no query parameters."));
        } else {
            read_body(&bytes)?
        };
        let job = asked.job.take().ok_or_else(|| {
            wrong("The parameter `job` is missing: the name of a job of kind workers.deploy.")
        })?;
        self.deploying_job(&job).await?; // (1)
        let mut params = Map::new();
        let mut own = Map::new();
        let digest = hex(&Sha256::digest(&bytes));
        if is_bundle {
            if content_type.starts_with("multipart/") && content_type != form_type(&bytes) {
                return Err(wrong(
                    "The boundary in Content-Type is not the one the bundle begins with.",
                ));
            }
            if asked.sha256.as_ref().is_some_and(|said| *said != digest) {
                return Err(wrong(format!(
                    "The parameter `sha256` does not fit: the bundle's is {digest}."
                )));
            }
            check_bundle(&bytes).map_err(|why| Refusal::new(Code::MalformedBody, why))?; // (2)
        }
        let key = format!("{BUNDLES}{digest}");
        if is_bundle {
            let stored = self
                .world
                .put_blob(&key, bytes, Some(KEEP_BUNDLE_SECS))
                .await;
            stored.map_err(|error| {
                self.world.log(&format!("keep a bundle: {error}"));
                Refusal::new(
                    Code::StoreUnavailable,
                    "The bundle could not be kept, so nothing was started.",
                )
            })?;
            own.insert("bundle".to_owned(), key.into());
            params.insert("version".to_owned(), Value::Null);
            params.insert("force".to_owned(), Value::Null);
        } else {
            let version = asked.version.take();
            let version = version.ok_or_else(|| {
                wrong("The field `version` is missing; a bundle is sent as a form instead of JSON.")
            })?;
            params.insert("version".to_owned(), version.into());
            params.insert("force".to_owned(), asked.force.into());
            own.insert("bundle".to_owned(), Value::Null);
        }
        let said = [("commit", asked.commit), ("message", asked.message)];
        for (name, text) in said {
            if let Some(text) = text {
                params.insert(name.to_owned(), text.into());
            }
        }
        let body = format!("{digest}\n{}", call.query.unwrap_or_default());
        let wanted = Wanted {
            job: &job,
            params,
            own,
            dry_run: asked.dry_run,
            body: &body,
            operation: "zonekeeper-deploy-start",
            verb: "deploy by",
        };
        self.begin_run(call, admitted, wanted).await // (3)
    }

    async fn deploying_job(&self, name: &str) -> Result<(), Refusal> {
        let now = self.world.now();
        let failed = |error| self.store_failed("start a deployment", &error);
        let snapshot = self.view.current(self.store, now).await.map_err(failed)?;
        let jobs = &snapshot.config.document.jobs;
        let job = jobs.iter().find(|job| job.name == name);
        let job = job.ok_or_else(|| super::jobs::no_job(name))?;
        if job.kind == DEPLOY_KIND {
            return Ok(());
        }
        Err(wrong(format!(
            "The job {name} is of kind {} and deploys nothing.",
            job.kind
        )))
    }

    /// A run that deploys.
    async fn found_deploy(&self, id: &str) -> Result<Run, Refusal> {
        let (run, _) = self.found_run(id).await?;
        if run.kind == DEPLOY_KIND {
            Ok(run)
        } else {
            Err(no_run())
        }
    }

    /// `GET /deploys/{id}`
    pub(super) async fn read_deploy(&self, id: &str) -> Result<Reply<P::Response>, Refusal> {
        self.found_deploy(id).await?;
        self.read_run(id).await
    }

    /// Stores what somebody wants of a deployment, with the audit entry of it.
    async fn grant_wish(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        run: &Run,
        (verb, wish): (&str, Wish),
        message: &str,
    ) -> Result<(), Refusal> {
        let operation = match wish {
            Wish::Hurry => "zonekeeper-deploy-promote",
            Wish::Cancel | Wish::LetGo => "zonekeeper-deploy-abort",
        };
        let action = Action::new(format!("{verb} deployment {} of job {}", run.id, run.job));
        let mut event = self.change_event(call, operation, admitted, action);
        event.run = Some(run.id);
        self.admit_again(call).await?;
        let now = self.world.now();
        let done = self.store.wish(run.id, wish, message, &event, now).await;
        if done.map_err(|error| change_refusal(&error))? {
            return Ok(());
        }
        Err(wrong(
            "The deployment came to another state meanwhile; nothing was changed.",
        ))
    }

    /// `POST /deploys/{id}/promote`: the new version gets all traffic without further waits, after one more
    /// look at it.
    pub(super) async fn promote(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let run = self.found_deploy(id).await?;
        if run.state.is_final() {
            return Err(wrong("The deployment is at its end already."));
        }
        let verb = "promote";
        let message = "Somebody asked to give the new version all traffic now.";
        self.grant_wish(call, admitted, &run, (verb, Wish::Hurry), message)
            .await?;
        self.hasten(run.id).await;
        self.read_run(id).await
    }

    /// `POST /deploys/{id}/abort`: the version before gets all traffic again. One whose end nobody could
    /// tell is let go, once somebody has looked at it.
    pub(super) async fn abort(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let run = self.found_deploy(id).await?;
        if run.state != RunState::Unknown {
            return self.cancel_run(call, admitted, id).await;
        }
        let verb = "let go of";
        let message = "Somebody has looked at it and let it go; nothing was changed.";
        self.grant_wish(call, admitted, &run, (verb, Wish::LetGo), message)
            .await?;
        self.read_run(id).await
    }

    /// `POST /deploys/{id}/rollback`: a run of the same job that gives the version before it all traffic at
    /// once, and purges.
    pub(super) async fn roll_back(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        id: &str,
    ) -> Result<Reply<P::Response>, Refusal> {
        let run = self.found_deploy(id).await?;
        if !run.state.is_final() {
            return Err(wrong("The deployment is not at its end: abort it instead."));
        }
        let result = run.result.as_ref();
        let previous = result.and_then(|result| result.get("previous")?.as_str());
        let current = result.and_then(|result| result.get("version")?.as_str());
        let is_done = run.state == RunState::Succeeded && !run.dry_run;
        let previous = previous
            .filter(|_| is_done && previous != current)
            .ok_or_else(|| wrong("The deployment changed nothing that could be rolled back."))?;
        let same = |name: &str| run.params.get(name);
        let own = json!({"account": same("account"), "bundle": null, "rolls_back": run.id});
        let params = json!({
            "script": same("script"),
            "zones": same("zones"),
            "health": null,
            "error_rate": null,
            "replaces": current,
            "version": previous,
            "force": true,
            "steps": [{"percent": 100}],
            "commit": null,
            "github_deployment": null,
            "message": format!("roll back run {}", run.id),
        });
        let (Value::Object(params), Value::Object(own)) = (params, own) else {
            return Err(no_run());
        };
        let wanted = Wanted {
            job: &run.job,
            params,
            own,
            dry_run: false,
            body: "",
            operation: "zonekeeper-deploy-rollback",
            verb: "roll back by",
        };
        self.begin_run(call, admitted, wanted).await
    }
}
