//! Hosts besides the API that a deploy meets, each under a path of its own.
//!
//! | path | stands for |
//! |---|---|
//! | `/__sim/sites/{script}/{path…}` | the Worker `script`, reached at its own host ([`sites`]) |
//! | `/__sim/github/{path…}` | `https://api.github.com/{path…}` ([`github`]) |
//! | `POST /__sim/sink/{name}` | whoever gets notifications: every one is answered 200 |
//!
//! A fault that names such a path meets them as it meets the API. None of this is on the API's
//! ledger: these requests have one of their own, shared, so that their numbers give their order.
//! Its lines are those of the API's ledger, those of sites with the `version` that answered.
//!
//! What steers them and is no request to them:
//!
//! | control | effect |
//! |---|---|
//! | `POST /__sim/sites/{script}/behaviour` | makes versions answer otherwise (`GET` shows what is left, `DELETE` ends it) |
//! | `POST /__sim/sites/{script}/invocations` | `{version, requests, errors}`: adds to the analytics |
//! | `GET /__sim/sites/{script}/requests?after=N` | the requests to a site |
//! | `PUT /__sim/github/repos/…` | puts a repository, a release asset or an artifact in |
//! | `GET /__sim/github/requests?after=N` | the requests to GitHub, downloads included |
//! | `GET /__sim/sink/{name}?after=N` | the notifications |

mod github;
mod overrides;
mod sites;

use bytes::Bytes;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use crate::api::Reply;
use crate::clock::Now;
use crate::control;
use crate::ledger::{EntryId, Ledger};
use crate::query::Query;
use crate::service::{Service, lock, respond};

pub use github::GITHUB_TOKEN;
pub(crate) use github::GitHub;
pub(crate) use sites::Sites;

const SITES: &str = "/__sim/sites/";
const GITHUB: &str = "/__sim/github/";
const SINK: &str = "/__sim/sink/";

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// A Worker, and the path there.
    Site { script: &'a str, path: &'a str },
    /// GitHub, and the path there without its first slash.
    GitHub(&'a str),
    /// The sink.
    Sink,
}

/// How a host answers, besides what it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How long the answer takes.
    pub(crate) delay_ms: Option<u64>,
    /// Whether the connection is cut in place of the answer.
    pub(crate) is_cut: bool,
}

/// The host that a request is for; none for the API, for controls and for the rest.
pub(crate) fn host<'a>(method: &str, path: &'a str) -> Option<Host<'a>> {
    if let Some(rest) = path.strip_prefix(SITES) {
        let (script, path) = split_site(rest);
        let is_control = matches!(
            (method, path),
            ("GET" | "POST" | "DELETE", "/behaviour")
                | ("GET", "/requests")
                | ("POST", "/invocations")
        );
        return (!script.is_empty() && !is_control).then_some(Host::Site { script, path });
    }
    if let Some(rest) = path.strip_prefix(GITHUB) {
        let is_control = method == "PUT" || (method, rest) == ("GET", "requests");
        return (!is_control).then_some(Host::GitHub(rest));
    }
    let name = path.strip_prefix(SINK)?;
    (method == "POST" && is_name(name)).then_some(Host::Sink)
}

/// Whether a path outside [`host`] is a control of what is here.
pub(crate) fn is_controlled(path: &str) -> bool {
    [SITES, GITHUB, SINK]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// A script and the path there, which is `/` at least.
fn split_site(rest: &str) -> (&str, &str) {
    rest.find('/')
        .map_or((rest, "/"), |slash| rest.split_at(slash))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

impl Service {
    /// Writes down the head of a request to another host.
    pub(crate) fn visit_begin(&self, head: &Parts, now: Now) -> EntryId {
        lock(&self.visits).begin(now, &head.method, &head.uri, &head.headers, "")
    }

    /// Writes down its body.
    pub(crate) fn visit_body(&self, entry: EntryId, body: &[u8]) {
        if !body.is_empty() {
            lock(&self.visits).body(entry, body);
        }
    }

    /// What the host answers, and how.
    pub(crate) fn visit(
        &self,
        entry: EntryId,
        head: &Parts,
        host: Host<'_>,
        body: &Bytes,
        now: Now,
    ) -> (Response<Bytes>, Manner) {
        let (reply, manner) = match host {
            Host::Site { script, path } => {
                let served = sites::serve(
                    &mut lock(&self.world),
                    sites::Request {
                        script,
                        path,
                        headers: &head.headers,
                        now,
                    },
                );
                if let Some(version) = &served.version {
                    lock(&self.visits).version(entry, version);
                }
                (served.reply, served.manner)
            }
            Host::GitHub(path) => {
                let request = github::Request {
                    origin: &self.origin,
                    method: head.method.as_str(),
                    path,
                    query: Query::parse(head.uri.query().unwrap_or_default()),
                    headers: &head.headers,
                    body,
                    now,
                };
                let reply = lock(&self.world).github.answer(&request);
                (reply, Manner::default())
            }
            Host::Sink => (Reply::text("ok".to_owned()), Manner::default()),
        };
        (respond(reply, HeaderMap::new()), manner)
    }

    /// Writes down what a request to another host was answered with.
    pub(crate) fn visit_finish(&self, entry: EntryId, status: StatusCode) {
        lock(&self.visits).finish(entry, status.as_u16());
    }

    /// Steers a host; an empty message stands for "no such control".
    pub(crate) fn steer_host(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &[u8],
        now: Now,
    ) -> Result<Reply, String> {
        let method = method.as_str();
        if let Some(rest) = path.strip_prefix(SITES) {
            let (script, action) = split_site(rest);
            if (method, action) == ("GET", "/requests") {
                let own = format!("{SITES}{script}");
                return self.visits_of(query, |path| {
                    path.strip_prefix(&own)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                });
            }
            let world = &mut lock(&self.world);
            return match (method, action) {
                ("POST", "/invocations") => sites::invoke(world, script, body, now),
                (_, "/behaviour") => sites::behave(world, script, method, body),
                _ => Err(String::new()),
            };
        }
        if let Some(rest) = path.strip_prefix(GITHUB) {
            return match (method, rest) {
                ("GET", "requests") => self.visits_of(query, |path| path.starts_with(GITHUB)),
                ("PUT", rest) => lock(&self.world).github.put(
                    &self.origin,
                    rest,
                    &Query::parse(query),
                    body,
                    now,
                ),
                _ => Err(String::new()),
            };
        }
        let is_sink = path.strip_prefix(SINK).is_some_and(is_name);
        if is_sink && method == "GET" {
            return self.visits_of(query, |visited| visited == path);
        }
        Err(String::new())
    }

    /// The requests to other hosts by their path, as lines.
    fn visits_of(&self, query: &str, wanted: impl Fn(&str) -> bool) -> Result<Reply, String> {
        let after = control::after(query)?;
        let visits = lock(&self.visits);
        let own = visits.entries(after).filter(|entry| wanted(&entry.path));
        Ok(Reply {
            content_type: "application/x-ndjson",
            ..Reply::text(Ledger::lines(own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_told_from_requests_to_the_hosts() {
        let site = |script, path| Some(Host::Site { script, path });
        let cases = [
            ("GET", "/__sim/sites/site", site("site", "/")),
            ("PUT", "/__sim/sites/site/a/b", site("site", "/a/b")),
            ("GET", "/__sim/sites/site/requests", None),
            (
                "POST",
                "/__sim/sites/site/requests",
                site("site", "/requests"),
            ),
            ("POST", "/__sim/sites/site/behaviour", None),
            (
                "GET",
                "/__sim/sites/site/invocations",
                site("site", "/invocations"),
            ),
            ("GET", "/__sim/sites/", None),
            (
                "GET",
                "/__sim/github/repos/a/b",
                Some(Host::GitHub("repos/a/b")),
            ),
            ("PUT", "/__sim/github/repos/a/b", None),
            ("GET", "/__sim/github/requests", None),
            ("POST", "/__sim/sink/x", Some(Host::Sink)),
            ("POST", "/__sim/sink/x/y", None),
            ("GET", "/__sim/sink/x", None),
            ("GET", "/client/v4/zones", None),
        ];
        for (method, path, expected) in cases {
            assert_eq!(host(method, path), expected, "{method} {path}");
        }
    }
}
