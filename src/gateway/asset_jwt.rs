//! Tokens for the files of an upload: Cloudflare gives one for each upload session, and the client
//! then sends that in the place of its key.
//!
//! A token that passes through on its way to a caller is remembered by its hash. When it comes back,
//! the call is that caller's: judged by the same grants, in that account and for that Worker only,
//! and only where files are taken. Cloudflare gets the token itself, never our credential.
//! INVARIANT: a token that did not pass through here opens nothing.

use super::call::{Authorized, Received};
use super::deps::{Gateway, Reply, World};
use super::execute::Sent;
use super::inbound::Verb;
use super::judge::OwnedFacts;
use super::refusal::{Code, Refusal};
use super::view::{Caller, Snapshot};
use crate::catalog::{Method, Operation};
use crate::identity::Credential;
use crate::model::json::{Json, parse};
use crate::policy::{WorkerFacts, WorkerPart};
use crate::store::{AssetJwt, Database, StoreError};
use crate::upstream::{Envelope, Head, classify};

use std::rc::Rc;

/// How long Cloudflare accepts such a token.
const LIFE_MS: i64 = 3_600_000;

/// Most bytes of an answer that holds a token: it lists the hash of every file that is missing.
const ANSWER_CAP: usize = 8 * 1024 * 1024;

/// Whether the answer to the operation holds a token.
pub(super) fn gives_token(operation: Operation) -> bool {
    let template = operation.template();
    template.ends_with("/assets-upload-session")
        || template.ends_with("/upload-token")
        || takes_token(operation)
}

/// Whether a call of the operation may carry a token.
pub(super) fn takes_token(operation: Operation) -> bool {
    let template = operation.template();
    template.starts_with("/pages/assets/") || template.contains("/workers/assets/upload")
}

/// What a call with a token is about: the Worker whose files it sends.
pub(super) fn named_by(jwt: &AssetJwt) -> OwnedFacts {
    jwt.script.as_ref().map_or(OwnedFacts::None, |script| {
        OwnedFacts::Worker(WorkerFacts {
            script: script.clone(),
            parts: vec![WorkerPart::Script],
        })
    })
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Whose token a credential is, where a call may carry one.
    ///
    /// # Errors
    /// [`StoreError`] when it would have to be looked up and cannot be.
    pub(super) async fn holder_of_token(
        &self,
        received: &Received<'_>,
        verb: Verb,
        credential: Credential<'_>,
        snapshot: &Rc<Snapshot>,
    ) -> Result<Option<(Caller, AssetJwt)>, StoreError> {
        let path = received.raw.path;
        let may_carry =
            path.starts_with("/pages/assets/") || path.contains("/workers/assets/upload");
        // Three segments; nothing else is looked up.
        let is_jwt = credential.expose().split('.').count() == 3;
        if verb.method != Method::Post || !may_carry || !is_jwt {
            return Ok(None);
        }
        let now = received.arrived;
        let hash = self.settings.pepper.digest(credential.expose());
        let Some(jwt) = self.store.asset_jwt(&hash, now).await? else {
            return Ok(None);
        };
        let holder = self.view.holder(jwt.key, snapshot, self.store, now).await?;
        let holder = holder.filter(|holder| *holder.name == *jwt.principal);
        Ok(holder.map(|holder| (holder, jwt)))
    }

    /// A 2xx answer that holds a token: it is remembered before the caller has it.
    pub(super) async fn relay_token(
        &self,
        call: &Authorized<'_>,
        head: Head,
        response: W::Response,
    ) -> Sent<W::Response> {
        let refused = |code, message: &str, outcome| Sent::Refused {
            refusal: Refusal::new(code, message),
            outcome: Some(outcome),
            cf_ray: head.cf_ray.clone(),
        };
        let body = self.world.read(&response, ANSWER_CAP).await;
        let envelope = body.as_deref().and_then(Envelope::parse);
        let outcome = classify(head.status, envelope.as_ref(), head.retry_after_secs);
        let Some(body) = body else {
            let text =
                "Cloudflare's answer with the token for the upload broke off or is too large.";
            return refused(Code::UpstreamUnknown, text, outcome);
        };
        let answer = parse(&body).ok();
        let result = answer.as_ref().and_then(|answer| answer.get("result"));
        let token = result.and_then(|result| result.get("jwt"));
        if let Some(token) = token
            .and_then(Json::as_str)
            .filter(|token| !token.is_empty())
            && let Err(error) = self.remember(call, token).await
        {
            self.world.log(&format!("remember an asset token: {error}"));
            let text = "The token for the upload could not be stored here, so it would not be accepted: begin the upload anew.";
            return refused(Code::StoreUnavailable, text, outcome);
        }
        Sent::Answer {
            status: head.status,
            outcome,
            cf_ray: head.cf_ray,
            detail: None,
            reply: Reply::Relayed {
                response,
                body: Some(body),
                deprecated: call.call.deprecation(),
            },
        }
    }

    async fn remember(&self, call: &Authorized<'_>, token: &str) -> Result<(), StoreError> {
        let targeted = &call.call;
        let authenticated = &targeted.call;
        let account = targeted.checked.resolved.as_ref();
        let account = account.and_then(|resolved| resolved.account()?.parse().ok());
        let given = authenticated.asset.as_ref();
        // A run sends no files.
        let (Some(key), Some(account)) = (
            authenticated.caller.key.as_ref().map(|key| key.id),
            account.or_else(|| given.map(|given| given.account)),
        ) else {
            return Ok(());
        };
        let script = match &targeted.named {
            OwnedFacts::Worker(worker) => Some(worker.script.clone()),
            _ => None,
        };
        let jwt = AssetJwt {
            principal: authenticated.name().to_owned(),
            key,
            account,
            script,
            expires_at: self.world.now().plus_ms(LIFE_MS),
        };
        let hash = self.settings.pepper.digest(token);
        self.store.remember_asset_jwt(&hash, &jwt).await
    }
}
