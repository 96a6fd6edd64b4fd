//! What the upstream credential itself may do, where Cloudflare tells: an operator is warned of one that
//! could mint others, or that may do what no grant gives anybody.

use std::collections::BTreeSet;

use serde_json::Value;

use super::deps::{Gateway, World};
use super::view::Snapshot;
use crate::catalog::{self, GroupId, GroupSet};
use crate::config::document::{Document, Effect};
use crate::model::Timestamp;
use crate::settings::UpstreamCredential;
use crate::store::Database;
use crate::upstream::Envelope;

/// How often an isolate asks at the most.
const ASKED_EVERY_MS: i64 = 600_000;
/// Groups by which a token makes others.
const MINTS: [&str; 2] = ["API Tokens Write", "Account API Tokens Write"];
/// Groups the gateway needs for itself: to resolve names and to look at its own token.
const OWN_NEEDS: [&str; 4] = [
    "Zone Read",
    "Account Settings Read",
    "API Tokens Read",
    "Account API Tokens Read",
];

const MINTS_TOKENS: &str = "the upstream token can mint tokens with more rights than its own; give it none of the API Tokens Write groups";
const TOO_BROAD: &str =
    "the upstream token may do what no grant gives anybody; take those permission groups from it";

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Warnings about the upstream credential, asked anew every ten minutes at the most; where Cloudflare does not
    /// say, what it said before stands. A token that may not read itself cannot mint others either, as that group
    /// reads too; then there is nothing to say.
    pub async fn credential_warnings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Vec<&'static str> {
        if matches!(self.settings.credential, UpstreamCredential::Legacy { .. }) {
            return Vec::new();
        }
        if self.view.credential_ask_due(now, ASKED_EVERY_MS)
            && let Ok(groups) = self.ask_for_groups().await
        {
            self.view.learn_credential_groups(groups);
        }
        let Some(groups) = self.view.credential_groups() else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        if groups.iter().any(|group| MINTS.contains(&group.as_str())) {
            warnings.push(MINTS_TOKENS);
        }
        let given = given(&snapshot.config.document);
        let is_needed = |name: &String| {
            OWN_NEEDS.contains(&name.as_str())
                || catalog::group_named(name).is_some_and(|group| given.contains(group))
        };
        if !groups.iter().all(is_needed) {
            warnings.push(TOO_BROAD);
        }
        warnings
    }

    /// The permission groups of the upstream token; `None` where it may not be seen.
    async fn ask_for_groups(&self) -> Result<Option<BTreeSet<String>>, Unsaid> {
        let account = self.settings.own.as_ref().map(|own| own.account);
        let owners = std::iter::once("/user".to_owned())
            .chain(account.map(|account| format!("/accounts/{account}")));
        for owner in owners {
            let verified = self.result_of(&format!("{owner}/tokens/verify")).await?;
            let Some(verified) = verified else { continue };
            let id = verified.get("id").and_then(Value::as_str).ok_or(Unsaid)?;
            let token = self.result_of(&format!("{owner}/tokens/{id}")).await?;
            let Some(token) = token else { break };
            let policies = token.get("policies").and_then(Value::as_array);
            let groups = policies
                .ok_or(Unsaid)?
                .iter()
                .filter(|policy| policy.get("effect").and_then(Value::as_str) == Some("allow"))
                .filter_map(|policy| policy.get("permission_groups")?.as_array())
                .flatten()
                .filter_map(|group| group.get("name")?.as_str().map(str::to_owned))
                .collect();
            return Ok(Some(groups));
        }
        Ok(None)
    }

    /// What is there; `None` where Cloudflare does not show it.
    async fn result_of(&self, target: &str) -> Result<Option<Value>, Unsaid> {
        let answer = self.read_upstream(target).await.map_err(|_| Unsaid)?;
        let status = answer.head.status;
        if matches!(status.as_u16(), 401 | 403 | 404) {
            return Ok(None);
        }
        let envelope = answer.body.as_deref().and_then(Envelope::parse);
        let said = envelope.filter(|it| status.is_success() && it.success == Some(true));
        let result = said.and_then(|it| it.result).ok_or(Unsaid)?;
        serde_json::from_str(result.get()).map_err(|_| Unsaid)
    }
}

/// Cloudflare could not be asked, or its answer says nothing of the token.
struct Unsaid;

/// Every group that some grant gives, or that opens an operation some grant names.
fn given(document: &Document) -> GroupSet {
    let mut given = GroupSet::EMPTY;
    let mut add = |group: GroupId| {
        given.insert(group);
        if let Some(read) = catalog::read_group_of(group) {
            given.insert(read);
        }
    };
    for grant in document
        .grants
        .iter()
        .filter(|grant| grant.effect != Effect::Deny)
    {
        for group in grant
            .permissions
            .iter()
            .filter_map(|name| catalog::group_named(name))
        {
            add(group);
        }
        for operation in grant
            .operations
            .iter()
            .filter_map(|name| catalog::operation_named(name))
        {
            operation.groups().iter().for_each(&mut add);
        }
    }
    given
}
