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
    /// Warnings about the upstream credential, asked anew every ten minutes at the most. A token that may not read
    /// itself cannot mint others either, as that group reads too; then there is nothing to say.
    pub async fn credential_warnings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Vec<&'static str> {
        if matches!(self.settings.credential, UpstreamCredential::Legacy { .. }) {
            return Vec::new();
        }
        if self.view.credential_ask_due(now, ASKED_EVERY_MS) {
            let groups = self.ask_for_groups().await;
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
    async fn ask_for_groups(&self) -> Option<BTreeSet<String>> {
        let account = self.settings.own.as_ref().map(|own| own.account);
        let owners = std::iter::once("/user".to_owned())
            .chain(account.map(|account| format!("/accounts/{account}")));
        for owner in owners {
            let verified = self.result_of(&format!("{owner}/tokens/verify")).await;
            let Some(id) = verified.as_ref().and_then(|it| it.get("id")?.as_str()) else {
                continue;
            };
            let token = self.result_of(&format!("{owner}/tokens/{id}")).await?;
            let policies = token.get("policies")?.as_array()?;
            let groups = policies
                .iter()
                .filter(|policy| policy.get("effect").and_then(Value::as_str) == Some("allow"))
                .filter_map(|policy| policy.get("permission_groups")?.as_array())
                .flatten()
                .filter_map(|group| group.get("name")?.as_str().map(str::to_owned))
                .collect();
            return Some(groups);
        }
        None
    }

    async fn result_of(&self, target: &str) -> Option<Value> {
        let answer = self.read_upstream(target).await.ok()?;
        let envelope = Envelope::parse(answer.body.as_deref()?)?;
        let is_good = answer.head.status.is_success() && envelope.success == Some(true);
        let result = envelope.result.filter(|_| is_good)?;
        serde_json::from_str(result.get()).ok()
    }
}

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
