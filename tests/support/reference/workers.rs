//! What may be done to a Worker, and what it may be bound to.

use zonekeeper::catalog::{self, Family};
use zonekeeper::config::document::{DeployMode, Effect, Grant};

use super::{Call, Item, Known, Named, Part, Place, Reference, Says, What};

/// Binding types that stay within the script.
const FREE: &[&str] = &[
    "plain_text",
    "json",
    "secret_text",
    "secret_key",
    "version_metadata",
    "assets",
    "wasm_module",
    "data_blob",
    "text_blob",
    "ratelimit",
];

/// Binding types that hand something over which no call of the API can be compared with.
const ONLY_LISTED: &[&str] = &[
    "agent_memory",
    "ai_search",
    "ai_search_namespace",
    "analytics",
    "analytics_engine",
    "artifacts",
    "browser",
    "containers",
    "dispatch_namespace",
    "flagship",
    "images",
    "k2",
    "logfwdr",
    "media",
    "messaging",
    "mtls_certificate",
    "observability_destination",
    "pipelines",
    "secrets_store_secret",
    "send_email",
    "stream",
    "vpc_network",
    "vpc_service",
    "worker_loader",
];

/// Binding types that whoever may make a call may use as well.
const BY_CALL: &[(&str, &str)] = &[
    ("ai", "POST /accounts/{a}/ai/run/{m}"),
    ("d1", "POST /accounts/{a}/d1/database/{d}/query"),
    ("durable_object_namespace", UPLOAD),
    ("hyperdrive", "PUT /accounts/{a}/hyperdrive/configs/{h}"),
    (
        "kv_namespace",
        "PUT /accounts/{a}/storage/kv/namespaces/{n}/values/{k}",
    ),
    ("queue", "POST /accounts/{a}/queues/{q}/messages"),
    ("r2_bucket", "DELETE /accounts/{a}/r2/buckets/{b}"),
    ("service", UPLOAD),
    ("tail_consumer", UPLOAD),
    (
        "vectorize",
        "POST /accounts/{a}/vectorize/v2/indexes/{i}/upsert",
    ),
    ("workflow", UPLOAD),
];

const UPLOAD: &str = "PUT /accounts/{a}/workers/scripts/{s}";

pub(super) fn says(
    reference: &Reference<'_>,
    grant: &Grant,
    call: &Call,
    item: &Item<'_>,
) -> (&'static str, Says) {
    let Some(workers) = &grant.workers else {
        return match item {
            Item::Part(_, Part::Binding { kind, resource }) if grant.effect != Effect::Deny => (
                "binding held",
                Says::is(is_held(reference, call, kind, resource.as_deref())),
            ),
            _ => ("none", Says::Yes),
        };
    };
    let Item::Part(script, part) = item else {
        return ("workers, unread", Says::Unclear);
    };
    if !workers.scripts.is_empty() && !workers.scripts.iter().any(|it| it == script) {
        return ("workers.scripts", Says::No);
    }
    let is_listed =
        |kind: &str, resource: Option<&str>| {
            workers.bindings.iter().flatten().any(|written| {
                match (written.split_once(':'), resource) {
                    (None, _) => written == kind,
                    (Some((own, name)), Some(id)) => {
                        own == kind && reference.is_resource(grant, kind, name, id)
                    }
                    (Some(_), None) => false,
                }
            })
        };
    if grant.effect == Effect::Deny {
        // One that lists bindings, routes or digests is about these alone.
        let lists =
            workers.bindings.is_some() || !workers.routes.is_empty() || !workers.digests.is_empty();
        return match part {
            Part::Binding { kind, resource } if workers.bindings.is_some() => (
                "workers.bindings",
                Says::is(is_listed(kind, resource.as_deref())),
            ),
            Part::Route(route) if !workers.routes.is_empty() => (
                "workers.routes",
                Says::is(workers.routes.iter().any(|it| share_a_url(it, route))),
            ),
            Part::Module(digest) if !workers.digests.is_empty() => (
                "workers.digests",
                Says::is(workers.digests.contains(digest)),
            ),
            _ => ("workers", Says::is(!lists)),
        };
    }
    match part {
        Part::Binding { kind, resource } if workers.bindings.is_some() => (
            "workers.bindings",
            Says::is(is_known(kind) && is_listed(kind, resource.as_deref())),
        ),
        Part::Binding { kind, resource } => (
            "binding held",
            Says::is(is_held(reference, call, kind, resource.as_deref())),
        ),
        Part::Route(route) if !workers.routes.is_empty() => (
            "workers.routes",
            Says::is(workers.routes.iter().any(|it| takes_all(it, route))),
        ),
        Part::Module(digest) if !workers.digests.is_empty() => (
            "workers.digests",
            Says::is(workers.digests.contains(digest)),
        ),
        Part::Keep => (
            "workers.keep_bindings",
            Says::is(workers.keep_bindings != Some(false)),
        ),
        Part::Inherit => ("workers.inherit", Says::is(workers.inherit != Some(false))),
        Part::FullDeploy => (
            "workers.deploys",
            Says::is(workers.deploys != Some(DeployMode::Gradual)),
        ),
        Part::Script | Part::Route(_) | Part::Module(_) => ("workers", Says::Yes),
    }
}

fn is_known(kind: &str) -> bool {
    FREE.contains(&kind)
        || ONLY_LISTED.contains(&kind)
        || BY_CALL.iter().any(|(known, _)| *known == kind)
}

/// Whether the caller may itself use what would be bound.
fn is_held(reference: &Reference<'_>, call: &Call, kind: &str, resource: Option<&str>) -> bool {
    if FREE.contains(&kind) {
        return true;
    }
    let Some((_, name)) = BY_CALL.iter().find(|(known, _)| *known == kind) else {
        return false;
    };
    let Some(operation) = catalog::operation_named(name) else {
        return false;
    };
    let named = |family, name: &str| {
        Known::Things(vec![Named {
            family,
            name: name.to_owned(),
            key: None,
        }])
    };
    let known = match (kind, resource) {
        // Classes and workflows of the script itself.
        ("durable_object_namespace" | "workflow", None) => return true,
        ("ai", _) => Known::Nothing,
        (_, None) => return false,
        ("kv_namespace", Some(id)) => named(Family::Kv, id),
        ("r2_bucket", Some(bucket)) => named(Family::R2, bucket),
        (_, Some(script)) if *name == UPLOAD => Known::Worker {
            script: script.to_owned(),
            parts: vec![Part::Script],
        },
        _ => Known::Nothing,
    };
    let mut places = call.places.clone();
    places.retain(|place| matches!(place, Place::Account(_)));
    let using = Call {
        what: What::Operation(operation),
        places,
        known,
        is_own: false,
        ..call.clone()
    };
    let answer = reference.decide(&using, &mut |_, _, _| {});
    answer.effect == Effect::Allow
}

/// A route as scheme, if it has one, and the rest with its host in small letters.
fn parts(route: &str) -> (Option<&str>, String) {
    let (scheme, rest) = match route.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, route),
    };
    let host = rest.split('/').next().unwrap_or_default();
    (scheme, rest.replacen(host, &host.to_lowercase(), 1))
}

/// Whether the route `inner` takes nothing that `outer` does not: they are the same, or `outer` is
/// one host with all that begins with a path.
fn takes_all(outer: &str, inner: &str) -> bool {
    let ((outer_scheme, outer), (inner_scheme, inner)) = (parts(outer), parts(inner));
    let is_start = |start: &str| start.contains('/') && !start.contains('*');
    let fits = outer == inner
        || outer
            .strip_suffix('*')
            .is_some_and(|start| is_start(start) && inner.starts_with(start));
    fits && (outer_scheme.is_none() || outer_scheme == inner_scheme)
}

/// Whether some URL is on both routes.
fn share_a_url(one: &str, other: &str) -> bool {
    let ((one_scheme, one), (other_scheme, other)) = (parts(one), parts(other));
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let is_apart = one_scheme.is_some() && other_scheme.is_some() && one_scheme != other_scheme;
    !is_apart && share_a_text(&one, &other)
}

/// Whether some text matches both patterns, in which `*` stands for any text.
fn share_a_text(one: &[char], other: &[char]) -> bool {
    match (one.split_first(), other.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => {
            share_a_text(rest, other)
                || other
                    .split_first()
                    .is_some_and(|(_, tail)| share_a_text(one, tail))
        }
        (_, Some(('*', _))) => share_a_text(other, one),
        (Some((a, one)), Some((b, other))) => a == b && share_a_text(one, other),
        _ => false,
    }
}
