//! `config`: read, plan, apply.

use std::rc::Rc;

use http::StatusCode;
use serde_json::json;

use super::call::Call;
use super::envelope::success;
use super::route::CONFIG_WRITE;
use super::serve::{Admitted, change_refusal, store_refusal};
use crate::audit::Action;
use crate::catalog::group_named;
use crate::config::document::{Document, Principal, PrincipalKind};
use crate::config::{
    Change, Format, MAX_DOCUMENT_BYTES, ReadError, Resolution, plan, read, to_toml, validate,
};
use crate::gateway::{Code, Gateway, Refusal, Reply, Snapshot, query_param};
use crate::identity::{KeyRecord, KeyState, may_fetch, rule_digest};
use crate::jobs::{Platform, check_jobs};
use crate::policy::Moment;
use crate::store::{ApplyConflict, Database, StoredConfig};

/// A document that passed every check, beside the one in force.
struct Candidate {
    document: Rc<Document>,
    resolution: Rc<Resolution>,
    source: String,
    format: Format,
    current: StoredConfig,
    changes: Vec<Change>,
    messages: Vec<String>,
}

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// `GET /config`: `{version, document}`, or the document alone as TOML where the caller accepts
    /// only that.
    pub(super) async fn read_config(&self, call: &Call<'_>) -> Result<Reply<W::Response>, Refusal> {
        let current = self.current_config().await?;
        if call
            .inbound
            .accept
            .is_some_and(|accept| accept.trim().starts_with("application/toml"))
        {
            let body = current.toml.unwrap_or_else(|| to_toml(&current.document));
            return Ok(Reply::Own {
                status: StatusCode::OK,
                body,
                content_type: "application/toml",
                retry_after_secs: None,
            });
        }
        success(
            StatusCode::OK,
            json!({"version": current.version, "document": current.document.to_json()}),
            &[],
        )
    }

    /// `POST /config/plan`: what an apply would change. Changes nothing.
    pub(super) async fn plan_config(&self, call: &Call<'_>) -> Result<Reply<W::Response>, Refusal> {
        let candidate = self.candidate(call).await?;
        success(
            StatusCode::OK,
            json!({"version": candidate.current.version, "changes": candidate.changes}),
            &candidate.messages,
        )
    }

    /// `PUT /config`: makes the document the one in force.
    ///
    /// 1. The document is read, checked, its names looked up, and compiled: 400 and nothing
    ///    changed if any of it fails, each problem named with line and field; 413 over 1 MiB.
    /// 2. `expected_version`, where given, must be the version in force: 412.
    /// 3. Version, keys of principals that are gone and the audit event are stored in one batch.
    pub(super) async fn apply_config(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
    ) -> Result<Reply<W::Response>, Refusal> {
        let expected = expected_version(call.query)?;
        let candidate = self.candidate(call).await?; // (1)
        let conflict = |version: i64| {
            Refusal::new(
                Code::ConfigVersion,
                format!(
                    "The configuration in force is not version {version}; read it again and plan anew. Nothing was changed."
                ),
            )
        };
        let before = candidate.current.version;
        if let Some(expected) = expected.filter(|expected| *expected != before) {
            return Err(conflict(expected)); // (2)
        }
        let removed = removed_principals(&candidate.current.document, &candidate.document);
        let count = match candidate.changes.len() {
            1 => "1 change".to_owned(),
            count => format!("{count} changes"),
        };
        let action = Action::new(format!(
            "apply configuration version {} ({count})",
            before + 1
        ));
        let event = self.change_event(call, "zonekeeper-config-apply", admitted, action);
        self.admit_again(call).await?;
        let applied = self
            .store
            .apply_config(
                before,
                &candidate.document,
                &candidate.source,
                candidate.format,
                &candidate.resolution,
                &removed,
                &event,
                self.world.now(),
            )
            .await; // (3)
        self.view.forget();
        match applied {
            Ok(Ok(version)) => success(
                StatusCode::OK,
                json!({"version": version, "changes": candidate.changes}),
                &candidate.messages,
            ),
            Ok(Err(ApplyConflict)) => Err(conflict(before)),
            Err(error) => {
                self.world.log(&format!("apply a configuration: {error}"));
                Err(change_refusal(&error))
            }
        }
    }

    async fn current_config(&self) -> Result<StoredConfig, Refusal> {
        let unavailable = |error| {
            self.world.log(&format!("read the configuration: {error}"));
            store_refusal(&error)
        };
        // The view brings the schema up to date where that is due.
        self.view
            .current(self.store, self.world.now())
            .await
            .map_err(unavailable)?;
        self.store.current_config().await.map_err(unavailable)
    }

    /// Reads and checks the document in the body.
    async fn candidate(&self, call: &Call<'_>) -> Result<Candidate, Refusal> {
        let format = format_of(call.inbound.content_type)?;
        let bytes = self.api_body(call, MAX_DOCUMENT_BYTES).await?;
        let source = read(&bytes, format).map_err(read_refusal)?;
        let mut messages = validate(&source).map_err(invalid)?;
        let current = self.current_config().await?;
        let resolution = Rc::new(self.resolve_names(&source.document).await?);
        let missing = resolution.missing(&source);
        if !missing.is_empty() {
            return Err(invalid(missing));
        }
        let document = Rc::new(source.document.clone());
        let stored = StoredConfig {
            version: current.version + 1,
            document: Rc::clone(&document),
            resolution: Rc::clone(&resolution),
            toml: None,
        };
        let unusable = |error: String| {
            let message = format!("The configuration cannot be used: {error}.");
            Refusal::new(Code::InvalidConfig, message)
        };
        let snapshot = Snapshot::new(stored).map_err(|error| unusable(error.to_string()))?;
        let conditions = snapshot.policy.check_conditions();
        conditions.map_err(|error| unusable(error.to_string()))?;
        self.check_sign_in(&snapshot).await?;
        let now = self.world.now();
        let checked = check_jobs(self, self.world, &source, &Rc::new(snapshot), now);
        if !checked.problems.is_empty() {
            return Err(invalid(checked.problems));
        }
        messages.extend(checked.messages);
        let changes = plan(&current.document, &source.document);
        for (text, zone) in &resolution.zones {
            let before = current.resolution.zones.get(text);
            if before.is_some_and(|before| before.id != zone.id) {
                messages.push(format!(
                    "The zone {text} now stands for another id than before: {}.",
                    zone.id
                ));
            }
        }
        for (text, account) in &resolution.accounts {
            let before = current.resolution.accounts.get(text);
            if before.is_some_and(|before| before.id != account.id) {
                messages.push(format!(
                    "The account {text} now stands for another id than before: {}.",
                    account.id
                ));
            }
        }
        if changes.is_empty() {
            messages.push("Nothing differs from the configuration in force.".to_owned());
        }
        Ok(Candidate {
            document,
            resolution,
            source: String::from_utf8(bytes).unwrap_or_default(),
            format,
            current,
            changes,
            messages,
        })
    }

    /// What a document says about signing in, and only this Zonekeeper can judge.
    ///
    /// 1. Tokens of issuers on this machine count only where Cloudflare is simulated on it.
    /// 2. Nobody locks themselves out: while the root key is off, somebody else must be able to change the
    ///    configuration.
    async fn check_sign_in(&self, after: &Snapshot) -> Result<(), Refusal> {
        let document = &after.config.document;
        for principal in &document.principals {
            let addresses = [&principal.issuer, &principal.jwks_uri];
            if !addresses
                .into_iter()
                .flatten()
                .all(|url| may_fetch(url, self.settings.is_local))
            {
                let message = format!(
                    "The principal {} has an issuer that is not https, which counts only beside a simulator of Cloudflare.",
                    principal.name
                );
                return Err(Refusal::new(Code::InvalidConfig, message)); // (1)
            }
        }
        if document.root.enabled {
            return Ok(());
        }
        for principal in &document.principals {
            if self.could_configure(after, principal).await? {
                return Ok(());
            }
        }
        let message = format!(
            "The document switches the root key off (root.enabled), but no principal that can sign in now holds {CONFIG_WRITE}, so nobody could change the configuration again."
        );
        Err(Refusal::new(Code::InvalidConfig, message)) // (2)
    }

    /// Whether `principal` could change the configuration: it holds the right, from wherever it calls, and
    /// has an active key or another way to sign in.
    async fn could_configure(
        &self,
        after: &Snapshot,
        principal: &Principal,
    ) -> Result<bool, Refusal> {
        let now = self.world.now();
        let decision = after
            .policy
            .principal(&principal.name)
            .zip(group_named(CONFIG_WRITE))
            .map(|(id, group)| after.policy.may(id, group, &Moment::at(now)));
        if !decision.is_some_and(|decision| decision.is_allowed()) {
            return Ok(false);
        }
        match principal.kind {
            PrincipalKind::Oidc => Ok(true),
            PrincipalKind::Access => Ok(self.settings.access.is_some()),
            PrincipalKind::Internal => Ok(false),
            PrincipalKind::Key => {
                let keys = self.store.keys_of(&principal.name).await;
                let keys = keys.map_err(|error| store_refusal(&error))?;
                let counts =
                    |key: &KeyRecord| key.login.is_none() && key.state(now) == KeyState::Active;
                Ok(keys.iter().any(counts))
            }
        }
    }
}

fn expected_version(query: Option<&str>) -> Result<Option<i64>, Refusal> {
    let wrong = || {
        Refusal::new(
            Code::InvalidParams,
            "The query parameter `expected_version` must be one whole number.",
        )
    };
    match query_param(query, "expected_version").map_err(|_| wrong())? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| wrong()),
    }
}

fn format_of(content_type: Option<&str>) -> Result<Format, Refusal> {
    let media_type = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    match media_type {
        "application/toml" => Ok(Format::Toml),
        "application/json" => Ok(Format::Json),
        _ => Err(Refusal::new(
            Code::InvalidParams,
            "A configuration is sent with the header Content-Type: application/toml, or application/json.",
        )),
    }
}

fn read_refusal(error: ReadError) -> Refusal {
    match error {
        ReadError::NotUtf8 | ReadError::TooDeep { .. } => {
            Refusal::new(Code::MalformedBody, error.to_string())
        }
        ReadError::DuplicateKey { .. } => Refusal::new(Code::DuplicateKey, error.to_string()),
        ReadError::Invalid(problems) => invalid(problems),
    }
}

/// Every problem as an error of its own, the first of them as the message.
fn invalid(problems: Vec<crate::config::Problem>) -> Refusal {
    let mut texts = problems.into_iter().map(|problem| problem.to_string());
    let first = texts
        .next()
        .unwrap_or_else(|| "The configuration has errors.".to_owned());
    Refusal {
        further: texts.collect(),
        ..Refusal::new(Code::InvalidConfig, first)
    }
}

/// Principals whose keys end for good: they are gone, of another kind now, or other tokens than before are
/// theirs.
fn removed_principals(before: &Document, after: &Document) -> Vec<String> {
    let keeps_keys = |was: &Principal| {
        let now = after.principals.iter().find(|now| now.name == was.name);
        now.is_some_and(|now| {
            now.kind == was.kind
                && (was.kind == PrincipalKind::Key || rule_digest(now) == rule_digest(was))
        })
    };
    let has_keys = |was: &&Principal| matches!(was.kind, PrincipalKind::Key | PrincipalKind::Oidc);
    before
        .principals
        .iter()
        .filter(has_keys)
        .filter(|was| !keeps_keys(was))
        .map(|was| was.name.clone())
        .collect()
}
