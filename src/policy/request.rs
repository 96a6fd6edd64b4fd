//! What is asked of the policy.

use crate::catalog::{Method, Operation};
use crate::model::{AccountId, RecordName, ZoneId};

use super::{Moment, PrincipalId, Thing, WorkerFacts};

/// One call, as far as policy has to know it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: PrincipalId,
    /// What for.
    pub target: Target<'a>,
    /// Everything that path, query and body name; all of it must be allowed.
    pub resources: &'a [Resource],
    /// What is known of what the call is about, beyond its zone or account.
    pub facts: Facts<'a>,
    /// Whether only a grant that names the operation reaches it, although others of its kind are
    /// reached by group: the call touches Zonekeeper itself.
    pub is_own: bool,
    /// When it is decided, and from where it came.
    pub moment: Moment<'a>,
}

/// What the call does.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// An operation of the catalogue.
    Operation(Operation),
    /// A call the catalogue does not know.
    Unknown {
        /// Its method.
        method: Method,
        /// Its path below `/client/v4`, still percent-encoded.
        path: &'a str,
    },
}

/// Something the call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// An account.
    Account(AccountId),
    /// A zone.
    Zone(ZoneId),
}

/// What has been read of the call beyond its path.
#[derive(Debug, Clone, Copy, Default)]
pub enum Facts<'a> {
    /// Nothing: conditions that need more cannot be judged.
    #[default]
    Unread,
    /// The DNS records it reads or changes, each of which is judged. As many as the call changes.
    Records(&'a [RecordFacts]),
    /// DNS records of which several stand for one change, such as a record before and after.
    Changes {
        /// Every state that is judged.
        records: &'a [RecordFacts],
        /// How many records the call changes.
        changes: usize,
    },
    /// What it purges, each item of which is judged.
    Purge(&'a PurgeFacts),
    /// Settings, phases, lists, namespaces and keys, buckets or datasets, each of which is judged.
    Things(&'a [Thing]),
    /// What it does to a Worker, each part of which is judged.
    Worker(&'a WorkerFacts),
}

/// A DNS record as policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFacts {
    /// Its canonical name.
    pub name: RecordName,
    /// Its type in capitals, such as `TXT`.
    pub kind: String,
    /// Its value, where it has a plain one.
    pub content: Option<String>,
    /// Whether it is proxied; absent is no.
    pub proxied: Option<bool>,
}

/// What a purge names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeFacts {
    /// Everything.
    pub everything: bool,
    /// URLs.
    pub files: Vec<String>,
    /// Cache tags.
    pub tags: Vec<String>,
    /// Host names.
    pub hosts: Vec<String>,
    /// `host/path` prefixes.
    pub prefixes: Vec<String>,
}
