//! The configuration document as written: `zonekeeper.toml`, or the same as JSON.
//!
//! These types hold the whole schema. They check shapes only; what one part says about another is
//! checked in `validate`. Unknown keys are errors everywhere.

mod hook;
mod notification;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::cron::Missed;
use crate::model::Timestamp;
use crate::model::typed::{self, Misfit};

pub use hook::{Hook, Sender};
pub use notification::{Notification, NotificationForm};

/// Everything an operator declares: who there is, what each may do, and what runs by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// How calls are recorded.
    #[serde(default, skip_serializing_if = "AuditOptions::is_default")]
    pub audit: AuditOptions,
    /// Whether the root key opens anything.
    #[serde(default, skip_serializing_if = "RootOptions::is_default")]
    pub root: RootOptions,
    /// What of the web jobs may ask.
    #[serde(default, skip_serializing_if = "OutboundOptions::is_default")]
    pub outbound: OutboundOptions,
    /// Who may call, or in whose name jobs run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<Principal>,
    /// What principals may do. Nothing is allowed without a grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// What runs on a schedule or when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// Whose deliveries start jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Who is told how runs ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
}

impl Document {
    /// Reads a document that was checked before, as stored by [`Document::to_json`].
    ///
    /// Documents are read and written in this one way only: each further format would compile all of
    /// the schema once more.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn from_json(value: Value) -> Result<Self, String> {
        Self::read(value).map_err(|error| error.to_string())
    }

    /// Reads a document; an error says where.
    pub(super) fn read(value: Value) -> Result<Self, Misfit> {
        typed::read(value)
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // The document's types have text keys and finite numbers only, so they have a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// How calls are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions {
    /// Whether a read waits for its audit row.
    #[serde(default)]
    pub reads: ReadRecording,
}

impl AuditOptions {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When the audit row of a read is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadRecording {
    /// In batches, within a second of the call.
    #[default]
    Batched,
    /// Before the call, as for writes.
    Sync,
}

/// What becomes of the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootOptions {
    /// Whether it is accepted.
    pub enabled: bool,
}

impl Default for RootOptions {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl RootOptions {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What of the web jobs may ask and be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundOptions {
    /// Host names, each exactly as it stands in addresses; nothing else is asked, and all by `https`.
    pub hosts: Vec<String>,
}

impl OutboundOptions {
    fn is_default(&self) -> bool {
        self.hosts.is_empty()
    }
}

/// Somebody or something that calls, or in whose name jobs run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Unique; letters, digits, `-`, `_` and `.`, at most 64.
    pub name: String,
    /// How it proves who it is; decides which of the other fields apply.
    pub kind: PrincipalKind,
    /// OIDC: the issuer, compared as an exact string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// OIDC: where the issuer's keys are, where that is not on the issuer's own origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// OIDC: the audience the token must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// OIDC: claims the token must carry, each with the value or one of the values given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, OneOrMany>,
    /// OIDC: how long a key may live that is issued for a token, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl_secs: Option<u32>,
    /// Access: the e-mail addresses of the people meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    /// Access: the identity provider's groups of the people meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// How a principal proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// An API key, minted by the API and shown once.
    Key,
    /// A token of an OIDC issuer, exchanged for a short-lived key.
    Oidc,
    /// Has no credential; only jobs run as it.
    Internal,
    /// People, by their Cloudflare Access login.
    Access,
}

/// One value or a list of values, any of which is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// Exactly this value.
    One(String),
    /// Any of these values.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The values, any of which is meant.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

// Derived, this would lose what was found and where.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// What some principals may do, may not do, or may do once somebody approved.
///
/// `permissions` and `operations` are a union; every other condition must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Unique; refusals and audit entries name it.
    pub name: String,
    /// Names of the principals it is for.
    pub principals: Vec<String>,
    /// What happens to a call it matches.
    pub effect: Effect,
    /// Cloudflare's permission-group names, such as `DNS Write`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Operation ids of the catalogue, or `METHOD /template`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Accounts by name or id; `*` is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Zones by name or id; `*` is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Which DNS records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsCondition>,
    /// Which purges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeCondition>,
    /// Which Workers, and what they may bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersCondition>,
    /// Which zone settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<IdsCondition>,
    /// Which ruleset phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rulesets: Option<RulesetsCondition>,
    /// Which lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<IdsCondition>,
    /// Which KV namespaces and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvCondition>,
    /// Which R2 buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<R2Condition>,
    /// Which GraphQL datasets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graphql: Option<GraphqlCondition>,
    /// Addresses or CIDRs the caller must come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// The first instant at which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The instant from which it no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Times of the week at which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<HoursCondition>,
    /// How many calls it allows in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// How many calls it allows in any minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// How many deletions it allows in any hour: a `DELETE` of one thing, each item that the body of a
    /// deletion of many lists, each of the `deletes` of a batch. What cannot be counted is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deletes_per_hour: Option<u32>,
}

/// What a grant does with a call it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call passes.
    Allow,
    /// The call is refused whatever else allows it.
    Deny,
    /// The call waits for somebody's approval.
    Approve,
}

/// Limits a grant to some DNS records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsCondition {
    /// Patterns for the full record name, label by label: `*` is one label, `**` one or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Record types, such as `TXT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Values, or CIDRs for addresses, the record may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<String>,
    /// Whether the record must, or must not, be proxied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxied: Option<bool>,
    /// How many records one call may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_changes: Option<u32>,
}

/// Limits a grant to some purges. What is not named is not allowed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeCondition {
    /// `host/path` prefixes; they also cover files below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Host names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Cache tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// URLs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Whether everything may be purged at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
}

/// Limits a grant to some Workers and what they may bind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersCondition {
    /// Script names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<String>,
    /// What an upload may bind, as `type:resource` or a bare type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Vec<String>>,
    /// Route patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// SHA-256 digests, in hexadecimal, of the scripts that may be uploaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
    /// Whether secrets already bound may be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_bindings: Option<bool>,
    /// Whether bindings may be inherited from the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    /// How a new version may reach traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploys: Option<DeployMode>,
}

/// How a new Worker version may reach traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployMode {
    /// Only in steps; an upload that deploys at 100 % is refused.
    Gradual,
    /// In any way.
    Any,
}

/// Limits a grant to things with these ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdsCondition {
    /// The ids meant.
    pub ids: Vec<String>,
}

/// Limits a grant to some ruleset phases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesetsCondition {
    /// Phases, such as `http_request_firewall_custom`.
    pub phases: Vec<String>,
}

/// Limits a grant to some KV namespaces and keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvCondition {
    /// Namespace ids or titles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Keys; a trailing `*` means every key that begins so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// Limits a grant to some R2 buckets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R2Condition {
    /// Bucket names.
    pub buckets: Vec<String>,
}

/// Limits a grant to some GraphQL datasets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphqlCondition {
    /// Dataset names, such as `httpRequestsAdaptiveGroups`.
    pub datasets: Vec<String>,
}

/// Limits a grant to times of the week.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursCondition {
    /// Days, `mon` to `sun`; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// The first minute of the day, as `HH:MM`.
    pub from: String,
    /// The minute at which it ends, as `HH:MM`.
    pub until: String,
    /// An IANA time zone; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// Something that runs on a schedule or when asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Unique.
    pub name: String,
    /// The job kind, such as `cache.purge`.
    pub kind: String,
    /// A cron expression of five fields ([`crate::cron::Expression`]); absent means only when asked
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// An IANA time zone for the schedule; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What happens to firings of the schedule that were missed.
    #[serde(default, skip_serializing_if = "Missed::is_default")]
    pub missed: Missed,
    /// What happens to a run that is due while another of the job has not ended.
    #[serde(default, skip_serializing_if = "Overlap::is_default")]
    pub overlap: Overlap,
    /// Seconds after which a run is given up, counted from its first step, 10 to 86400; absent
    /// means [`Job::DEFAULT_TIMEOUT_SECS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u32>,
    /// Failures in a row after which a run ends, 1 to 20; absent means as the kind has it, 5 or 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How many upstream calls a run may make, over all attempts, 1 to 100000; absent means
    /// [`Job::DEFAULT_MAX_CALLS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u32>,
    /// Days for which runs that ended are kept, 1 to 3650; absent means [`Job::DEFAULT_KEEP_DAYS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// The principal whose grants bound what the job may do.
    pub run_as: String,
    /// Parameters of the job kind.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
}

impl Job {
    /// The job as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Seconds after which a run is given up, where the job does not say: an hour.
    pub const DEFAULT_TIMEOUT_SECS: u32 = 3_600;
    /// How many upstream calls a run may make, where the job does not say.
    pub const DEFAULT_MAX_CALLS: u32 = 1_000;
    /// Days for which runs that ended are kept, where the job does not say.
    pub const DEFAULT_KEEP_DAYS: u32 = 90;
}

/// What happens to a run that is due while another of the same job has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It does not run.
    #[default]
    Skip,
    /// It waits until the other has ended.
    Queue,
    /// The other is cancelled, then it runs.
    Cancel,
}

impl Overlap {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
