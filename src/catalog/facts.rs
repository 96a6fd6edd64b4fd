//! The small closed vocabularies of the catalogue, and how each is written in the table.
//!
//! INVARIANT: the code of a value never changes meaning between the encoder and the reader, because
//! both use the conversions of this file. An unknown code reads as the most restrictive value.

/// The HTTP methods the v4 API uses. `HEAD` is answered as its `GET` by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// Every method, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The method as it stands in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads a method exactly as written: no case folding, no `HEAD`.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "there is nothing to say about a failure, so an Option serves better"
    )]
    pub fn from_str(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares an enum whose variants are stored by position, with a fallback for unknown codes.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident, unknown = $unknown:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub(super) fn from_code(code: u8) -> Self {
                Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::$unknown)
            }
        }
    };
}

coded! {
    /// What a grant must name for the operation to be within its reach.
    Scope, unknown = Other {
        /// An account: the grant needs `accounts`.
        Account,
        /// A zone: the grant needs `zones`.
        Zone,
        /// The upstream credential's own user.
        User,
        /// None of these.
        Other,
    }
}

coded! {
    /// How a list is continued.
    Pagination, unknown = None {
        /// The answer is whole.
        None,
        /// `page` and `per_page`.
        Page,
        /// `cursor`, from `result_info`.
        Cursor,
        /// `offset` and `limit`.
        Offset,
        /// A page token.
        Token,
    }
}

coded! {
    /// Which condition of a grant speaks about an operation or a permission group.
    Family, unknown = None {
        /// No condition does.
        None,
        /// `dns`: `/zones/{zone_id}/dns_records` and below.
        Dns,
        /// `purge`: cache purge and invalidation.
        Purge,
        /// Zones themselves.
        Zones,
        /// Accounts themselves.
        Accounts,
        /// `workers`: scripts, versions, deployments, routes and domains.
        Workers,
        /// `settings`: `/zones/{zone_id}/settings`.
        Settings,
        /// `rulesets`: rulesets of any phase.
        Rulesets,
        /// `lists`: `/accounts/{account_id}/rules/lists`.
        Lists,
        /// `kv`: Workers KV namespaces and keys.
        Kv,
        /// `r2`: buckets and objects.
        R2,
        /// `graphql`: the analytics API.
        Graphql,
        /// D1 databases.
        D1,
    }
}

coded! {
    /// How the body of a judged operation is read.
    Judged, unknown = Unjudgeable {
        /// One new DNS record.
        DnsRecord,
        /// A DNS record addressed by its id: the record as it stands is judged too.
        DnsRecordWrite,
        /// A batch of DNS deletes, patches, puts and posts, each judged.
        DnsBatch,
        /// What is to be purged or invalidated.
        Purge,
        /// A new zone: the body names the account.
        ZoneCreate,
        /// Several zone settings at once: the body names each.
        Settings,
        /// Rules: the phase is in the path, in the body, or the ruleset's own.
        Ruleset,
        /// Several keys of a KV namespace at once; read only where a grant is about keys or counts what
        /// is deleted.
        KvBulk,
        /// A page rule: its targets may be any host name of the zone.
        PageRule,
        /// A load balancer: its name becomes a DNS name of the zone.
        LoadBalancer,
        /// A Worker with its code: bindings, other scripts, digests.
        WorkerUpload,
        /// New code under the bindings a Worker has.
        WorkerContent,
        /// A Worker's bindings and settings, without code.
        WorkerSettings,
        /// Settings of a Worker that all its versions share.
        WorkerScriptSettings,
        /// Which versions of a Worker get which share of its traffic.
        WorkerDeployment,
        /// Secrets of a Worker.
        WorkerSecrets,
        /// A route of a zone to a Worker; one addressed by its id is looked up.
        WorkerRoute,
        /// Every route of a Worker.
        WorkerRoutes,
        /// A host name of a Worker; one addressed by its id is looked up.
        WorkerDomain,
        /// Host names of a Worker.
        WorkerDomains,
        /// An analytics query: it names zones, accounts and datasets.
        Graphql,
        /// The body can reach beyond the path and cannot be judged: refused unless a grant names
        /// the operation.
        Unjudgeable,
    }
}

/// Whether the body of a call has to be read before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyClass {
    /// No: it can matter to nobody's grant and is handed through.
    Pass,
    /// Yes, in this way.
    Judge(Judged),
}

impl BodyClass {
    pub(super) fn from_code(code: u8) -> Self {
        code.checked_sub(1)
            .map_or(Self::Pass, |code| Self::Judge(Judged::from_code(code)))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Judge(judged) => judged as u8 + 1,
        }
    }
}

/// Whether Cloudflare has announced an operation's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deprecation {
    /// It has not.
    No,
    /// It has, without a date.
    Yes,
    /// It ends, or ended, on this day, as `YYYY-MM-DD`.
    Ends(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_is_read_exactly() {
        for method in Method::ALL {
            assert_eq!(Method::from_str(method.as_str()), Some(method));
            assert_eq!(Method::from_code(method as u8), Some(method));
        }
        for other in ["get", "HEAD", "", "GET ", "OPTIONS"] {
            assert_eq!(Method::from_str(other), None, "{other:?}");
        }
    }

    #[test]
    fn body_class_survives_its_code_and_an_unknown_code_is_unjudgeable() {
        for class in std::iter::once(BodyClass::Pass)
            .chain(Judged::ALL.iter().map(|judged| BodyClass::Judge(*judged)))
        {
            assert_eq!(BodyClass::from_code(class.code()), class);
        }
        assert_eq!(
            BodyClass::from_code(200),
            BodyClass::Judge(Judged::Unjudgeable)
        );
    }
}
