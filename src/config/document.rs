//! The configuration document as written: `zonekeeper.toml`, or the same as JSON.
//!
//! These types hold the whole schema. They check shapes only; what one part says about another is
//! checked in `validate`. Unknown keys are errors everywhere.

mod hook;
mod notification;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cron::Missed;
use crate::model::Timestamp;
use crate::model::typed::{Misfit, Typed, object, optional, words};

pub use hook::{Hook, Sender};
pub use notification::{Notification, NotificationForm};

optional!(
    AuditOptions,
    ReadRecording,
    RootOptions,
    OutboundOptions,
    Overlap
);

object! {
    /// Everything an operator declares: who there is, what each may do, and what runs by itself.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct Document {
        /// How calls are recorded.
        pub audit: AuditOptions = default,
        /// Whether the root key opens anything.
        pub root: RootOptions = default,
        /// What of the web jobs may ask.
        pub outbound: OutboundOptions = default,
        /// Who may call, or in whose name jobs run.
        pub principals: Vec<Principal> = default,
        /// What principals may do. Nothing is allowed without a grant.
        pub grants: Vec<Grant> = default,
        /// What runs on a schedule or when asked for.
        pub jobs: Vec<Job> = default,
        /// Whose deliveries start jobs.
        pub hooks: Vec<Hook> = default,
        /// Who is told how runs ended.
        pub notifications: Vec<Notification> = default,
    }
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
        Self::read(value).map_err(|misfit| misfit.to_string())
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.write()
    }
}

object! {
    /// How calls are recorded.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct AuditOptions {
        /// Whether a read waits for its audit row.
        pub reads: ReadRecording = default,
    }
}

words! {
    /// When the audit row of a read is written.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum ReadRecording {
        /// In batches, within a second of the call.
        #[default]
        Batched = "batched",
        /// Before the call, as for writes.
        Sync = "sync",
    }
}

object! {
    /// What becomes of the root key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RootOptions {
        /// Whether it is accepted.
        pub enabled: bool,
    }
}

impl Default for RootOptions {
    fn default() -> Self {
        Self { enabled: true }
    }
}

object! {
    /// What of the web jobs may ask and be told.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct OutboundOptions {
        /// Host names, each exactly as it stands in addresses; nothing else is asked, and all by `https`.
        pub hosts: Vec<String>,
    }
}

object! {
    /// Somebody or something that calls, or in whose name jobs run.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Principal {
        /// Unique; letters, digits, `-`, `_` and `.`, at most 64.
        pub name: String,
        /// How it proves who it is; decides which of the other fields apply.
        pub kind: PrincipalKind,
        /// OIDC: the issuer, compared as an exact string.
        pub issuer: Option<String> = default,
        /// OIDC: where the issuer's keys are, where that is not on the issuer's own origin.
        pub jwks_uri: Option<String> = default,
        /// OIDC: the audience the token must name.
        pub audience: Option<String> = default,
        /// OIDC: claims the token must carry, each with the value or one of the values given.
        pub claims: BTreeMap<String, OneOrMany> = default,
        /// OIDC: how long a key may live that is issued for a token, in seconds.
        pub max_ttl_secs: Option<u32> = default,
        /// Access: the e-mail addresses of the people meant.
        pub emails: Vec<String> = default,
        /// Access: the identity provider's groups of the people meant.
        pub groups: Vec<String> = default,
    }
}

words! {
    /// How a principal proves who it is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum PrincipalKind {
        /// An API key, minted by the API and shown once.
        Key = "key",
        /// A token of an OIDC issuer, exchanged for a short-lived key.
        Oidc = "oidc",
        /// Has no credential; only jobs run as it.
        Internal = "internal",
        /// People, by their Cloudflare Access login.
        Access = "access",
    }
}

/// One value or a list of values, any of which is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Typed for OneOrMany {
    fn read(value: Value) -> Result<Self, Misfit> {
        match value {
            Value::String(value) => Ok(Self::One(value)),
            Value::Array(_) => Vec::read(value).map(Self::Many),
            other => Err(Misfit::unexpected(&other, "a text or a list of texts")),
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::One(value) => value.write(),
            Self::Many(values) => values.write(),
        }
    }
}

object! {
    /// What some principals may do, may not do, or may do once somebody approved.
    ///
    /// `permissions` and `operations` are a union; every other condition must hold.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Grant {
        /// Unique; refusals and audit entries name it.
        pub name: String,
        /// Names of the principals it is for.
        pub principals: Vec<String>,
        /// What happens to a call it matches.
        pub effect: Effect,
        /// Cloudflare's permission-group names, such as `DNS Write`.
        pub permissions: Vec<String> = default,
        /// Operation ids of the catalogue, or `METHOD /template`.
        pub operations: Vec<String> = default,
        /// Accounts by name or id; `*` is all.
        pub accounts: Vec<String> = default,
        /// Zones by name or id; `*` is all.
        pub zones: Vec<String> = default,
        /// Which DNS records.
        pub dns: Option<DnsCondition> = default,
        /// Which purges.
        pub purge: Option<PurgeCondition> = default,
        /// Which Workers, and what they may bind.
        pub workers: Option<WorkersCondition> = default,
        /// Which zone settings.
        pub settings: Option<IdsCondition> = default,
        /// Which ruleset phases.
        pub rulesets: Option<RulesetsCondition> = default,
        /// Which lists.
        pub lists: Option<IdsCondition> = default,
        /// Which KV namespaces and keys.
        pub kv: Option<KvCondition> = default,
        /// Which R2 buckets.
        pub r2: Option<R2Condition> = default,
        /// Which GraphQL datasets.
        pub graphql: Option<GraphqlCondition> = default,
        /// Addresses or CIDRs the caller must come from.
        pub source_ips: Vec<String> = default,
        /// The first instant at which it holds.
        pub not_before: Option<Timestamp> = default,
        /// The instant from which it no longer holds.
        pub not_after: Option<Timestamp> = default,
        /// Times of the week at which it holds.
        pub hours: Option<HoursCondition> = default,
        /// How many calls it allows in all.
        pub max_uses: Option<u32> = default,
        /// How many calls it allows in any minute.
        pub per_minute: Option<u32> = default,
        /// How many deletions it allows in any hour: a `DELETE` of one thing, each item that the body of a
        /// deletion of many lists, each of the `deletes` of a batch. What cannot be counted is refused.
        pub max_deletes_per_hour: Option<u32> = default,
    }
}

words! {
    /// What a grant does with a call it matches.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Effect {
        /// The call passes.
        Allow = "allow",
        /// The call is refused whatever else allows it.
        Deny = "deny",
        /// The call waits for somebody's approval.
        Approve = "approve",
    }
}

object! {
    /// Limits a grant to some DNS records.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct DnsCondition {
        /// Patterns for the full record name, label by label: `*` is one label, `**` one or more.
        pub names: Vec<String> = default,
        /// Record types, such as `TXT`.
        pub types: Vec<String> = default,
        /// Values, or CIDRs for addresses, the record may have.
        pub contents: Vec<String> = default,
        /// Whether the record must, or must not, be proxied.
        pub proxied: Option<bool> = default,
        /// How many records one call may change.
        pub max_changes: Option<u32> = default,
    }
}

object! {
    /// Limits a grant to some purges. What is not named is not allowed.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct PurgeCondition {
        /// `host/path` prefixes; they also cover files below them.
        pub prefixes: Vec<String> = default,
        /// Host names.
        pub hosts: Vec<String> = default,
        /// Cache tags.
        pub tags: Vec<String> = default,
        /// URLs.
        pub files: Vec<String> = default,
        /// Whether everything may be purged at once.
        pub everything: bool = default,
    }
}

object! {
    /// Limits a grant to some Workers and what they may bind.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct WorkersCondition {
        /// Script names.
        pub scripts: Vec<String> = default,
        /// What an upload may bind, as `type:resource` or a bare type.
        pub bindings: Option<Vec<String>> = default,
        /// Route patterns.
        pub routes: Vec<String> = default,
        /// SHA-256 digests, in hexadecimal, of the scripts that may be uploaded.
        pub digests: Vec<String> = default,
        /// Whether secrets already bound may be kept.
        pub keep_bindings: Option<bool> = default,
        /// Whether bindings may be inherited from the current version.
        pub inherit: Option<bool> = default,
        /// How a new version may reach traffic.
        pub deploys: Option<DeployMode> = default,
    }
}

words! {
    /// How a new Worker version may reach traffic.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum DeployMode {
        /// Only in steps; an upload that deploys at 100 % is refused.
        Gradual = "gradual",
        /// In any way.
        Any = "any",
    }
}

object! {
    /// Limits a grant to things with these ids.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct IdsCondition {
        /// The ids meant.
        pub ids: Vec<String>,
    }
}

object! {
    /// Limits a grant to some ruleset phases.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct RulesetsCondition {
        /// Phases, such as `http_request_firewall_custom`.
        pub phases: Vec<String>,
    }
}

object! {
    /// Limits a grant to some KV namespaces and keys.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct KvCondition {
        /// Namespace ids or titles.
        pub namespaces: Vec<String> = default,
        /// Keys; a trailing `*` means every key that begins so.
        pub keys: Vec<String> = default,
    }
}

object! {
    /// Limits a grant to some R2 buckets.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct R2Condition {
        /// Bucket names.
        pub buckets: Vec<String>,
    }
}

object! {
    /// Limits a grant to some GraphQL datasets.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct GraphqlCondition {
        /// Dataset names, such as `httpRequestsAdaptiveGroups`.
        pub datasets: Vec<String>,
    }
}

object! {
    /// Limits a grant to times of the week.
    #[derive(Debug, Clone, Default, PartialEq)]
    pub struct HoursCondition {
        /// Days, `mon` to `sun`; none means all.
        pub days: Vec<String> = default,
        /// The first minute of the day, as `HH:MM`.
        pub from: String,
        /// The minute at which it ends, as `HH:MM`.
        pub until: String,
        /// An IANA time zone; UTC when absent.
        pub timezone: Option<String> = default,
    }
}

object! {
    /// Something that runs on a schedule or when asked for.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Job {
        /// Unique.
        pub name: String,
        /// The job kind, such as `cache.purge`.
        pub kind: String,
        /// A cron expression of five fields ([`crate::cron::Expression`]); absent means only when asked
        /// for.
        pub schedule: Option<String> = default,
        /// An IANA time zone for the schedule; UTC when absent.
        pub timezone: Option<String> = default,
        /// What happens to firings of the schedule that were missed.
        pub missed: Missed = default,
        /// What happens to a run that is due while another of the job has not ended.
        pub overlap: Overlap = default,
        /// Seconds after which a run is given up, counted from its first step, 10 to 86400; absent
        /// means [`Job::DEFAULT_TIMEOUT_SECS`].
        pub timeout_secs: Option<u32> = default,
        /// Failures in a row after which a run ends, 1 to 20; absent means as the kind has it, 5 or 6.
        pub max_attempts: Option<u32> = default,
        /// How many upstream calls a run may make, over all attempts, 1 to 100000; absent means
        /// [`Job::DEFAULT_MAX_CALLS`].
        pub max_calls: Option<u32> = default,
        /// Days for which runs that ended are kept, 1 to 3650; absent means [`Job::DEFAULT_KEEP_DAYS`].
        pub keep_days: Option<u32> = default,
        /// The principal whose grants bound what the job may do.
        pub run_as: String,
        /// Parameters of the job kind.
        pub params: serde_json::Map<String, Value> = default,
    }
}

impl Job {
    /// The job as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.write()
    }

    /// Seconds after which a run is given up, where the job does not say: an hour.
    pub const DEFAULT_TIMEOUT_SECS: u32 = 3_600;
    /// How many upstream calls a run may make, where the job does not say.
    pub const DEFAULT_MAX_CALLS: u32 = 1_000;
    /// Days for which runs that ended are kept, where the job does not say.
    pub const DEFAULT_KEEP_DAYS: u32 = 90;
}

words! {
    /// What happens to a run that is due while another of the same job has not ended.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub enum Overlap {
        /// It does not run.
        #[default]
        Skip = "skip",
        /// It waits until the other has ended.
        Queue = "queue",
        /// The other is cancelled, then it runs.
        Cancel = "cancel",
    }
}
