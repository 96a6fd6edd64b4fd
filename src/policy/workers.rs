//! The `workers` condition: which scripts, what an upload may bind, which routes it may take.
//!
//! An upload is judged part by part: the script, each binding by what it binds, each route, each
//! module. Without `bindings`, what an upload binds must be within the reach of the same principal:
//! binding a KV namespace takes a right to write to it.

use crate::catalog::{Family, Operation, operation_named};
use crate::config::Resolution;
use crate::config::document::{self, DeployMode, Effect};
use crate::model::AccountId;

use super::grant::{Verdict, Why};
use super::{Policy, Thing};

/// What a call does to a Worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFacts {
    /// The script's name.
    pub script: String,
    /// Everything that is judged; a call that only names the script has [`WorkerPart::Script`].
    pub parts: Vec<WorkerPart>,
}

/// One part of what a call does to a Worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerPart {
    /// It is about the script.
    Script,
    /// It binds something, or keeps or inherits such a binding.
    Binding {
        /// The type, as Cloudflare calls it, such as `kv_namespace`.
        kind: String,
        /// The id or name of what is bound; none where the type binds nothing outside the script.
        resource: Option<String>,
    },
    /// It puts the script on a route or host name.
    Route {
        /// Host and path, such as `example.com/*`.
        pattern: String,
    },
    /// It brings a module.
    Module {
        /// SHA-256 of its content, in lower-case hexadecimal digits. Empty where no grant listed any:
        /// for one that does it is then any module that is not allowed.
        digest: String,
    },
    /// It keeps bindings of the current version without naming them.
    Keep,
    /// It inherits a binding of the current version.
    Inherit,
    /// It puts a version on all traffic at once.
    FullDeploy,
}

/// What binding something takes where no list of bindings says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing: it stays within the script.
    Free,
    /// The caller may do this, and so may the script.
    Held,
    /// The caller may not.
    NotHeld,
    /// No permission tells, so it must be listed.
    MustBeListed,
    /// The type is not known, so nothing can be said of it.
    Unknown,
}

/// How the right to bind something is found out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Free,
    MustBeListed,
    /// Whoever may make this call may bind what it is about.
    Call(&'static str),
}

/// The binding types there are
/// (<https://developers.cloudflare.com/workers/configuration/multipart-upload-metadata/#bindings>),
/// sorted.
const KINDS: &[(&str, Rule)] = &[
    ("agent_memory", Rule::MustBeListed),
    ("ai", Rule::Call("POST /accounts/{}/ai/run/{}")),
    ("ai_search", Rule::MustBeListed),
    ("ai_search_namespace", Rule::MustBeListed),
    ("analytics", Rule::MustBeListed),
    ("analytics_engine", Rule::MustBeListed),
    ("artifacts", Rule::MustBeListed),
    ("assets", Rule::Free),
    ("browser", Rule::MustBeListed),
    ("containers", Rule::MustBeListed),
    ("d1", Rule::Call("POST /accounts/{}/d1/database/{}/query")),
    ("data_blob", Rule::Free),
    ("dispatch_namespace", Rule::MustBeListed),
    ("durable_object_namespace", Rule::Call(UPLOAD)),
    ("flagship", Rule::MustBeListed),
    (
        "hyperdrive",
        Rule::Call("PUT /accounts/{}/hyperdrive/configs/{}"),
    ),
    ("images", Rule::MustBeListed),
    ("json", Rule::Free),
    ("k2", Rule::MustBeListed),
    (
        "kv_namespace",
        Rule::Call("PUT /accounts/{}/storage/kv/namespaces/{}/values/{}"),
    ),
    ("logfwdr", Rule::MustBeListed),
    ("media", Rule::MustBeListed),
    ("messaging", Rule::MustBeListed),
    ("mtls_certificate", Rule::MustBeListed),
    ("observability_destination", Rule::MustBeListed),
    ("pipelines", Rule::MustBeListed),
    ("plain_text", Rule::Free),
    ("queue", Rule::Call("POST /accounts/{}/queues/{}/messages")),
    ("r2_bucket", Rule::Call("DELETE /accounts/{}/r2/buckets/{}")),
    ("ratelimit", Rule::Free),
    ("secret_key", Rule::Free),
    ("secret_text", Rule::Free),
    ("secrets_store_secret", Rule::MustBeListed),
    ("send_email", Rule::MustBeListed),
    ("service", Rule::Call(UPLOAD)),
    ("stream", Rule::MustBeListed),
    ("tail_consumer", Rule::Call(UPLOAD)),
    ("text_blob", Rule::Free),
    (
        "vectorize",
        Rule::Call("POST /accounts/{}/vectorize/v2/indexes/{}/upsert"),
    ),
    ("version_metadata", Rule::Free),
    ("vpc_network", Rule::MustBeListed),
    ("vpc_service", Rule::MustBeListed),
    ("wasm_module", Rule::Free),
    ("worker_loader", Rule::MustBeListed),
    ("workflow", Rule::Call(UPLOAD)),
];

const UPLOAD: &str = "PUT /accounts/{}/workers/scripts/{}";

/// The call that decides who may bind something, with what it is then about.
pub(super) enum Deciding {
    Known(Right),
    Call(Operation, Subject),
}

/// What that call is about.
pub(super) enum Subject {
    Thing(Thing),
    Script(WorkerFacts),
    Whole,
}

/// How the right to bind `resource` is found out.
pub(super) fn deciding(kind: &str, resource: Option<&str>) -> Deciding {
    let Ok(at) = KINDS.binary_search_by_key(&kind, |(name, _)| name) else {
        return Deciding::Known(Right::Unknown);
    };
    let rule = KINDS.get(at).map_or(Rule::MustBeListed, |(_, rule)| *rule);
    let call = match rule {
        Rule::Free => return Deciding::Known(Right::Free),
        Rule::MustBeListed => return Deciding::Known(Right::MustBeListed),
        Rule::Call(call) => call,
    };
    let Some(operation) = operation_named(call) else {
        return Deciding::Known(Right::MustBeListed);
    };
    let subject = match (kind, resource) {
        // Its own classes, and its own workflows.
        ("durable_object_namespace" | "workflow", None) => return Deciding::Known(Right::Free),
        (_, None) if kind != "ai" => return Deciding::Known(Right::NotHeld),
        (_, Some(script)) if call == UPLOAD => Subject::Script(WorkerFacts {
            script: script.to_owned(),
            parts: vec![WorkerPart::Script],
        }),
        ("kv_namespace", Some(id)) => Subject::Thing(Thing::new(Family::Kv, id)),
        ("r2_bucket", Some(bucket)) => Subject::Thing(Thing::new(Family::R2, bucket)),
        _ => Subject::Whole,
    };
    Deciding::Call(operation, subject)
}

/// A binding type with what of it is meant; none means all.
type Bindable = (Box<str>, Option<Box<str>>);

/// A `workers` condition, ready to match. An empty list limits nothing.
#[derive(Debug)]
pub(super) struct WorkersMatcher {
    pub(super) scripts: Box<[Box<str>]>,
    /// Absent: whatever the principal may use.
    pub(super) bindings: Option<Box<[Bindable]>>,
    pub(super) routes: Box<[Box<str>]>,
    digests: Box<[Box<str>]>,
    keep: bool,
    inherit: bool,
    gradual: bool,
}

impl WorkersMatcher {
    /// Resources are named by id or title; a title stands for the ids it had when it was applied. One that
    /// was not looked up then may be anything: an allow does not mean it, any other grant all of its kind.
    pub(super) fn compile(
        written: &document::WorkersCondition,
        effect: Effect,
        resolution: &Resolution,
        accounts: Option<&[AccountId]>,
    ) -> Self {
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let bindings = written.bindings.as_ref().map(|bindings| {
            let mut found = Vec::new();
            for binding in bindings {
                match binding.split_once(':') {
                    None => found.push((binding.as_str().into(), None)),
                    Some((kind, resource)) => match resolution.ids_of(kind, resource, accounts) {
                        Some(ids) => {
                            found.extend(ids.into_iter().map(|id| (kind.into(), Some(id.into()))));
                        }
                        None if effect == Effect::Allow => {}
                        None => found.push((kind.into(), None)),
                    },
                }
            }
            found.into()
        });
        Self {
            scripts: boxed(&written.scripts),
            bindings,
            routes: boxed(&written.routes),
            digests: boxed(&written.digests),
            keep: written.keep_bindings != Some(false),
            inherit: written.inherit != Some(false),
            gradual: written.deploys == Some(DeployMode::Gradual),
        }
    }

    /// Judges one part. A deny that lists bindings, routes or digests is about these and leaves the
    /// rest of the upload alone.
    pub(super) fn judge(
        &self,
        script: &str,
        part: &WorkerPart,
        right: Right,
        effect: Effect,
    ) -> Verdict {
        if !self.scripts.is_empty() && !self.scripts.iter().any(|name| **name == *script) {
            return Verdict::Fails(Why::Script);
        }
        let is_deny = effect == Effect::Deny;
        let lists_parts =
            self.bindings.is_some() || !self.routes.is_empty() || !self.digests.is_empty();
        let (holds, why) = match part {
            WorkerPart::Binding { kind, resource } => match &self.bindings {
                Some(bindings) => {
                    let is_listed = bindings.iter().any(|(known, id)| {
                        **known == *kind
                            && id
                                .as_deref()
                                .is_none_or(|id| resource.as_deref() == Some(id))
                    });
                    (
                        is_listed && (is_deny || right != Right::Unknown),
                        Why::Binding,
                    )
                }
                None if is_deny => (!lists_parts, Why::Binding),
                None => return bare(right),
            },
            WorkerPart::Route { pattern } if !self.routes.is_empty() => {
                let meant = if is_deny { overlap } else { covers };
                (
                    self.routes.iter().any(|route| meant(route, pattern)),
                    Why::Route,
                )
            }
            WorkerPart::Module { digest } if !self.digests.is_empty() => (
                self.digests.iter().any(|known| **known == **digest)
                    || (is_deny && digest.is_empty()),
                Why::Digest,
            ),
            _ if is_deny => (!lists_parts, Why::Script),
            WorkerPart::Keep => (self.keep, Why::Keep),
            WorkerPart::Inherit => (self.inherit, Why::Inherit),
            WorkerPart::FullDeploy => (!self.gradual, Why::FullDeploy),
            WorkerPart::Script | WorkerPart::Route { .. } | WorkerPart::Module { .. } => {
                (true, Why::Script)
            }
        };
        if holds {
            Verdict::Holds
        } else {
            Verdict::Fails(why)
        }
    }
}

impl Policy {
    /// Whether any grant lists the digests of modules.
    #[must_use]
    pub fn lists_digests(&self) -> bool {
        let grants = self.source.document.grants.iter();
        let mut workers = grants.filter_map(|grant| grant.workers.as_ref());
        workers.any(|workers| !workers.digests.is_empty())
    }
}

/// What a grant without a list of bindings says of one.
pub(super) fn bare(right: Right) -> Verdict {
    match right {
        Right::Free | Right::Held => Verdict::Holds,
        Right::NotHeld => Verdict::Fails(Why::BindingNotHeld),
        Right::MustBeListed | Right::Unknown => Verdict::Fails(Why::Binding),
    }
}

/// Whether everything that matches the route `inner` matches `outer` too.
fn covers(outer: &str, inner: &str) -> bool {
    let ((outer_scheme, outer), (scheme, inner)) = (read_route(outer), read_route(inner));
    let is_below = match outer.strip_suffix('*') {
        Some(start) if !start.contains('*') && start.contains('/') => inner.starts_with(start),
        _ => outer == inner,
    };
    is_below && (outer_scheme.is_none() || outer_scheme == scheme)
}

/// Whether some URL matches both routes.
fn overlap(one: &str, other: &str) -> bool {
    let ((scheme, one), (other_scheme, other)) = (read_route(one), read_route(other));
    if scheme.is_some() && other_scheme.is_some() && scheme != other_scheme {
        return false;
    }
    match (one.contains('*'), other.contains('*')) {
        (true, true) => {
            // Between their ends each stands for whatever the other wants there.
            let start = |route: &str| route.split('*').next().unwrap_or_default().to_owned();
            let end = |route: &str| route.rsplit('*').next().unwrap_or_default().to_owned();
            let (start, other_start) = (start(&one), start(&other));
            let (end, other_end) = (end(&one), end(&other));
            (start.starts_with(&other_start) || other_start.starts_with(&start))
                && (end.ends_with(&other_end) || other_end.ends_with(&end))
        }
        (true, false) => is_on(&one, &other),
        (false, _) => is_on(&other, &one),
    }
}

/// Whether a route without `*` is what a route means in which it stands for any text.
fn is_on(route: &str, text: &str) -> bool {
    let Some((start, rest)) = route.split_once('*') else {
        return route == text;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = text.strip_prefix(start);
    let Some(mut inner) = inner.and_then(|inner| inner.strip_suffix(end)) else {
        return false;
    };
    middle
        .split('*')
        .all(|piece| match inner.split_once(piece) {
            Some((_, after)) => {
                inner = after;
                true
            }
            None => false,
        })
}

/// A route as its scheme, where it has one, and the rest. Hosts know no case.
fn read_route(route: &str) -> (Option<&str>, String) {
    let (scheme, rest) = match route.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, route),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (scheme, host.to_ascii_lowercase() + path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_order_and_their_calls_exist() {
        assert!(KINDS.is_sorted_by_key(|(name, _)| name));
        for (kind, rule) in KINDS {
            if let Rule::Call(call) = rule {
                let operation = operation_named(call);
                let groups = operation.map(|operation| operation.groups());
                assert!(
                    groups.is_some_and(|groups| !groups.is_empty()),
                    "{kind}: {call}"
                );
            }
        }
    }

    #[test]
    fn a_route_covers_what_lies_below_it() {
        assert!(covers("example.com/*", "Example.com/api/*"));
        assert!(covers("example.com/api*", "example.com/api/x"));
        assert!(covers("*.example.com/*", "*.example.com/*"));
        assert!(!covers("example.com/api/*", "example.com/*"));
        assert!(!covers("example.com/*", "example.com.evil.example/*"));
        assert!(!covers("example.com*", "example.com.evil.example/"));
        assert!(!covers("*.example.com/*", "a.example.com/*"));
        assert!(!covers("example.com/*", "*example.com/*"));
        assert!(covers("example.com/*", "https://example.com/*"));
        assert!(!covers("https://example.com/*", "example.com/*"));
    }

    #[test]
    fn routes_overlap_where_some_url_is_on_both() {
        let pay = "shop.example.com/pay/*";
        for other in [
            pay,
            "SHOP.example.com/*",
            "shop.example.com/pay/card",
            "https://shop.example.com/pay/*",
            "*.example.com/*",
            "*example.com/pay/card*",
            "*/pay/*",
            // `shop.example.com/pay/a.example.net/` and `shop.example.com/pay/payments`.
            "*.example.net/*",
            "*/payments",
            "*",
        ] {
            assert!(overlap(pay, other) && overlap(other, pay), "{other}");
        }
        for other in [
            "example.com/*",
            "shop.example.com/payments",
            "shop.example.com/news/*",
        ] {
            assert!(!overlap(pay, other) && !overlap(other, pay), "{other}");
        }
        assert!(!overlap("http://a.example/*", "https://a.example/*"));
        assert!(overlap("a*b*c", "axxbxxc") && !overlap("a*b*c", "axxc"));
    }
}
