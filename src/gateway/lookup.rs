//! What bodies about Workers only refer to, looked up before they are judged: the bindings a script
//! has, a route by its id, a zone by its name.
//!
//! Nothing is looked up for a caller whom no grant could let through whatever comes of it.

use super::call::Targeted;
use super::deps::{Gateway, World};
use super::judge::{self, Attached, Body, Draft, Judgement, Lookup, OwnedFacts, Place};
use super::refusal::{Code, Refusal};
use super::view::Snapshot;
use crate::audit::{Action, ReadBack};
use crate::catalog::{Judged, Method};
use crate::identity::Credential;
use crate::model::ZoneId;
use crate::model::json::{Json, parse};
use crate::policy::{Facts, Request, Resource, WorkerFacts, WorkerPart};
use crate::store::Database;
use crate::upstream::Exchange;
use crate::workers::{Bound, Inherited, bindings_of};

impl Targeted<'_> {
    /// The script the path names.
    fn script(&self) -> Option<&str> {
        match &self.named {
            OwnedFacts::Worker(worker) => Some(&worker.script),
            _ => None,
        }
    }

    /// The path of the script, where the path of the call goes on below it.
    fn script_path(&self) -> String {
        let path: &str = &self.checked.path;
        let depth = if path.contains("/workers/dispatch/namespaces/") {
            8
        } else if path.contains("/workers/services/") {
            7
        } else {
            5
        };
        path.split('/')
            .take(depth + 1)
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Reads what a body says of a Worker.
    fn draft(&self, judged: Judged, bytes: Vec<u8>, content_type: &str) -> Result<Draft, Refusal> {
        let credential = self.call.received.inbound.credentials.credential();
        let resolved = self.checked.resolved.as_ref();
        let template = resolved.map_or("", |resolved| resolved.operation.template());
        let params = resolved.map(|resolved| &resolved.params);
        let id = ["route_id", "domain_id"]
            .into_iter()
            .find_map(|name| params?.get_named(name));
        let body = Body {
            content_type,
            bytes,
            credential: credential.map_or("", Credential::expose),
        };
        let place = Place {
            script: self.script(),
            method: self.call.verb.method,
            id,
            deploys: !template.ends_with("/versions"),
            is_bulk: template.ends_with("/secrets-bulk"),
            digests: self.policy().lists_digests(),
        };
        judge::draft(judged, body, place)
    }

    /// What policy says of a draft, as the caller.
    fn request_of<'r>(&'r self, facts: Facts<'r>, resources: &'r [Resource]) -> Request<'r> {
        Request {
            resources,
            ..self.request(facts, self.call.received.arrived)
        }
    }

    /// The judgement of a draft of which nothing is open.
    fn settled(&self, draft: Draft) -> (Judgement, Attached) {
        let is_delete = self.call.verb.method == Method::Delete;
        let read_back = is_delete.then(|| ReadBack::Gone {
            target: self.checked.path.clone().into_owned(),
        });
        let action = Action::new(format!("{} in {}", draft.action, self.scope()));
        let judgement = Judgement {
            read_back,
            ..Judgement::of(draft.body, OwnedFacts::Worker(draft.facts), action)
        };
        let attached = Attached {
            resources: draft.resources,
            before: draft.before.into_iter().map(OwnedFacts::Worker).collect(),
            form: draft.form,
            hosts: Vec::new(),
        };
        (judgement, attached)
    }
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// Reads and judges a body about a Worker.
    ///
    /// 1. The body is read strictly: 400 where it has two readings, 413 where it is too large.
    /// 2. A caller who could not make the call whatever is found is not looked anything up for.
    /// 3. What the body refers to is looked up, and what that leads to: 400 where it is too much; what
    ///    cannot be had is 502, and nothing was sent.
    pub(super) async fn judge_worker(
        &self,
        call: &Targeted<'_>,
        judged: Judged,
    ) -> Result<(Judgement, Attached), Refusal> {
        let cap = match judged {
            Judged::WorkerUpload | Judged::WorkerContent => judge::UPLOAD_BODY_CAP,
            _ => judge::JUDGED_BODY_CAP,
        };
        let bytes = self.body(call, cap).await?; // (1)
        let content_type = call.call.received.inbound.content_type.unwrap_or_default();
        let mut draft = call.draft(judged, bytes, content_type)?;
        if !self.could_pass(call, &draft) {
            draft.lookups.clear(); // (2)
        }
        let mut left = MAX_LOOKUPS;
        // What was found may lead on to whose workflow it is, or to a zone.
        while !draft.lookups.is_empty() {
            let lookups = std::mem::take(&mut draft.lookups);
            let needed = reads(&call.call.snapshot, &draft, &lookups);
            left = left.checked_sub(needed).ok_or_else(too_many)?; // (3)
            for lookup in lookups {
                self.follow(call, lookup, &mut draft).await?;
            }
        }
        Ok(call.settled(draft))
    }

    /// The same for a call that is only supposed: what would have to be looked up is not known.
    pub(super) fn supposed<'a>(
        &self,
        call: Targeted<'a>,
        judged: Judged,
        body: Option<&str>,
    ) -> super::call::Step<Targeted<'a>> {
        let Some(body) = body else {
            let text = "What this call does to a Worker is in its body: without the field `body` it cannot be judged.";
            return Err(call.stop(Refusal::new(Code::Denied, text)));
        };
        let name = if judged == Judged::WorkerSettings {
            "settings"
        } else {
            "metadata"
        };
        let is_form = matches!(
            judged,
            Judged::WorkerUpload | Judged::WorkerContent | Judged::WorkerSettings
        );
        // The question holds the metadata of an upload; its files are not asked about.
        let (content_type, bytes) = if is_form {
            (
                "multipart/form-data; boundary=supposed",
                format!(
                    "--supposed\r\nContent-Disposition: form-data; name={name}\r\n\r\n{body}\r\n--supposed--"
                ),
            )
        } else {
            ("application/json", body.to_owned())
        };
        let draft = match call.draft(judged, bytes.into_bytes(), content_type) {
            Ok(draft) => draft,
            Err(refusal) => return Err(call.stop(refusal)),
        };
        let is_open = draft.lookups.iter().any(|lookup| {
            !matches!(lookup, Lookup::First | Lookup::Served(_)) || is_needed(&call, &draft)
        });
        if is_open && self.could_pass(&call, &draft) {
            let text = "Whether this call would pass depends on what Cloudflare has at that moment, which a question does not look up.";
            return Err(call.stop(Refusal::new(Code::Denied, text)));
        }
        let settled = call.settled(draft);
        Ok(call.with(settled))
    }

    /// Whether the call could be allowed, for all that is known of it before anything is looked up.
    fn could_pass(&self, call: &Targeted<'_>, draft: &Draft) -> bool {
        // Put aside, as a look-up may show that it does not hold.
        let facts = but_full(&draft.facts);
        let mut resources = call.resources.clone();
        resources.extend(&draft.resources);
        let is_known = !facts.parts.is_empty();
        let facts = OwnedFacts::Worker(facts);
        let known = if is_known {
            facts.facts()
        } else {
            Facts::Unread
        };
        let request = Request {
            is_own: self.touches_own_resource(call) || self.touches_own_by(call, &facts),
            ..call.request_of(known, &resources)
        };
        let policy = call.policy();
        self.settings.own.is_some()
            && (policy.decide(&request).is_allowed() || policy.reads_body(&request))
    }

    async fn follow(
        &self,
        call: &Targeted<'_>,
        lookup: Lookup,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        match lookup {
            Lookup::Kept(kinds) => {
                for (_, bound) in self.bindings(call, None, &draft.facts.script).await? {
                    for bound in bound {
                        let is_kept = |kinds: &Vec<String>| kinds.contains(&bound.kind);
                        if kinds.as_ref().is_none_or(is_kept) {
                            draft.bind(bound);
                        }
                    }
                }
            }
            Lookup::Inherited(inherited) => self.inherit(call, inherited, draft).await?,
            Lookup::Workflow(name) => {
                let owner = self.owner_of_workflow(call, &name).await?;
                let own = draft.facts.script.clone();
                draft.facts.parts.push(WorkerPart::Binding {
                    kind: "workflow".to_owned(),
                    resource: owner.filter(|owner| *owner != own),
                });
            }
            Lookup::First => {
                if is_needed(call, draft)
                    && self
                        .found(call, &format!("{}/settings", call.script_path()))
                        .await?
                        .is_none()
                {
                    draft.facts = but_full(&draft.facts);
                }
            }
            Lookup::Served(versions) => {
                if is_needed(call, draft) && self.have_served(call, &versions).await? {
                    draft.facts = but_full(&draft.facts);
                }
            }
            Lookup::Route(id) => {
                let zone = call.zone.map(|zone| zone.to_string()).unwrap_or_default();
                let path = format!("/zones/{zone}/workers/routes/{id}");
                if let Some(route) = self.found(call, &path).await? {
                    let script = route
                        .get("script")
                        .and_then(Json::as_str)
                        .unwrap_or_default();
                    let pattern = field(&route, "pattern")?;
                    touched(draft, script, pattern.to_owned());
                }
            }
            Lookup::Routes => {
                let script = draft.facts.script.clone();
                let routes = format!(
                    "{}/services/{script}/environments/production/routes?show_zonename=true",
                    workers(call)
                );
                for route in self.listed(call, &routes).await? {
                    draft.touch(&script, field(&route, "pattern")?.to_owned());
                    let zone = field(&route, "zone_name")?.to_ascii_lowercase();
                    draft.look_up(Lookup::ZoneNamed(zone));
                }
            }
            Lookup::Domain(id) => {
                let path = format!("{}/domains/{id}", workers(call));
                if let Some(domain) = self.found(call, &path).await? {
                    draft.reach(zone_id(&domain)?);
                    let pattern = format!("{}/*", field(&domain, "hostname")?);
                    touched(draft, field(&domain, "service")?, pattern);
                }
            }
            Lookup::Domains { hosts, all } => {
                let mut path = format!("{}/domains", workers(call));
                if let ([host], false) = (hosts.as_slice(), all) {
                    path = format!("{path}?{}", query("hostname", host));
                }
                for domain in self.listed(call, &path).await? {
                    let (host, service) = (field(&domain, "hostname")?, field(&domain, "service")?);
                    if hosts.contains(&judge::plain(host)) || (all && service == draft.facts.script)
                    {
                        draft.reach(zone_id(&domain)?);
                        draft.touch(service, format!("{host}/*"));
                    }
                }
            }
            Lookup::ZoneNamed(name) => {
                let zone = self.zone_called(call, &name, &mut draft.asked).await?;
                draft.reach(zone.ok_or_else(|| no_zone(&name))?);
            }
            Lookup::ZoneOf(host) => {
                let zone = self.zone_of(call, &host, &mut draft.asked).await?;
                draft.reach(zone.ok_or_else(|| no_zone(&host))?);
            }
        }
        Ok(())
    }

    /// The bindings of a script, or of one version of it; none when the script does not exist yet.
    async fn bindings(
        &self,
        call: &Targeted<'_>,
        version: Option<&str>,
        own: &str,
    ) -> Result<Vec<(String, Vec<Bound>)>, Refusal> {
        let base = call.script_path();
        let path = match version {
            None => format!("{base}/settings"),
            Some(version) => format!("{base}/versions/{version}"),
        };
        let Some(found) = self.found(call, &path).await? else {
            if version.is_none() {
                return Ok(Vec::new());
            }
            let text =
                "The field `version_id` of an inherited binding names no version of this Worker.";
            return Err(Refusal::new(Code::MalformedBody, text));
        };
        let within = match version {
            None => Some(&found),
            Some(_) => found.get("resources"),
        };
        match within.and_then(|within| within.get("bindings")) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(bindings) => bindings_of(bindings, own).map_err(|_| unreadable()),
        }
    }

    /// Adds what inherited bindings bind. One that is not there binds nothing: Cloudflare drops it
    /// or refuses the upload.
    async fn inherit(
        &self,
        call: &Targeted<'_>,
        inherited: Vec<Inherited>,
        draft: &mut Draft,
    ) -> Result<(), Refusal> {
        let mut versions: Vec<Option<String>> = Vec::new();
        for one in &inherited {
            if !versions.contains(&one.version) {
                versions.push(one.version.clone());
            }
        }
        if versions.len() > MAX_VERSIONS {
            return Err(Refusal::new(
                Code::MalformedBody,
                format!("Bindings can be inherited from at most {MAX_VERSIONS} versions at once."),
            ));
        }
        for version in versions {
            let is_id = |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !version.as_ref().is_none_or(is_id) {
                let text = "The field `version_id` of an inherited binding is no version id.";
                return Err(Refusal::new(Code::MalformedBody, text));
            }
            let own = draft.facts.script.clone();
            let bindings = self.bindings(call, version.as_deref(), &own).await?;
            for one in inherited.iter().filter(|one| one.version == version) {
                let named = bindings.iter().filter(|(name, _)| *name == one.name);
                for bound in named.flat_map(|(_, bound)| bound) {
                    draft.bind(bound.clone());
                }
            }
        }
        Ok(())
    }

    /// The script a workflow belongs to, if there is one of that name.
    async fn owner_of_workflow(
        &self,
        call: &Targeted<'_>,
        name: &str,
    ) -> Result<Option<String>, Refusal> {
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !is_name {
            let text = "The field `workflow_name` is no name of a workflow.";
            return Err(Refusal::new(Code::MalformedBody, text));
        }
        let account = call.checked.path.split('/').nth(2).unwrap_or_default();
        let found = self
            .found(call, &format!("/accounts/{account}/workflows/{name}"))
            .await?;
        found
            .map(|workflow| field(&workflow, "script_name").map(str::to_owned))
            .transpose()
    }

    /// Whether any of these versions had traffic before. A share of nothing is none.
    async fn have_served(&self, call: &Targeted<'_>, versions: &[String]) -> Result<bool, Refusal> {
        let path = format!("{}/deployments", call.script_path());
        let Some(found) = self.found(call, &path).await? else {
            return Ok(false);
        };
        let deployments = found.get("deployments").and_then(Json::as_array);
        let served: Vec<&str> = deployments
            .unwrap_or_default()
            .iter()
            .filter_map(|deployment| deployment.get("versions")?.as_array())
            .flatten()
            .filter(|version| version.get("percentage").and_then(Json::as_f64) > Some(0.0))
            .filter_map(|version| version.get("version_id")?.as_str())
            .collect();
        Ok(versions
            .iter()
            .any(|version| served.contains(&version.as_str())))
    }

    /// The zone a host name lies in: the one with the longest name.
    async fn zone_of(
        &self,
        call: &Targeted<'_>,
        host: &str,
        asked: &mut Vec<(String, Option<ZoneId>)>,
    ) -> Result<Option<ZoneId>, Refusal> {
        for name in names_above(host) {
            if let Some(zone) = self.zone_called(call, name, asked).await? {
                return Ok(Some(zone));
            }
        }
        Ok(None)
    }

    /// The zone of this name, if there is one.
    async fn zone_called(
        &self,
        call: &Targeted<'_>,
        name: &str,
        asked: &mut Vec<(String, Option<ZoneId>)>,
    ) -> Result<Option<ZoneId>, Refusal> {
        if let Some(zone) = call.call.snapshot.zone_named(name) {
            return Ok(Some(zone));
        }
        if let Some((_, zone)) = asked.iter().find(|(known, _)| known == name) {
            return Ok(*zone);
        }
        let found = self
            .found(call, &format!("/zones?{}", query("name", name)))
            .await?;
        let zones = found.as_ref().and_then(Json::as_array).unwrap_or_default();
        let zone = match zones {
            [] => None,
            [zone] => Some(field(zone, "id")?.parse().map_err(|_| unreadable())?),
            _ => {
                return Err(Refusal::new(
                    Code::MalformedBody,
                    format!("Several zones are called {name}: send their zone_id."),
                ));
            }
        };
        asked.push((name.to_owned(), zone));
        Ok(zone)
    }

    /// The items of a list that there must be.
    async fn listed(&self, call: &Targeted<'_>, path: &str) -> Result<Vec<Json>, Refusal> {
        match self.found(call, path).await? {
            Some(Json::Array(items)) => Ok(items),
            _ => Err(unreadable()),
        }
    }

    /// The result of a read of our own; none where there is nothing.
    pub(super) async fn found(
        &self,
        call: &Targeted<'_>,
        path: &str,
    ) -> Result<Option<Json>, Refusal> {
        let answer = self.look_upstream(call, &Exchange::get(path)).await?;
        if answer.head.status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let json = answer.body.as_deref().and_then(|body| parse(body).ok());
        let Some(Json::Object(members)) = json.filter(|_| answer.head.status.is_success()) else {
            return Err(unreadable());
        };
        let result = members.into_iter().find(|(key, _)| key == "result");
        result
            .map(|(_, result)| Some(result))
            .ok_or_else(unreadable)
    }
}

/// Most versions bindings are inherited from in one upload.
const MAX_VERSIONS: usize = 3;

/// Most reads of our own for one call. A Worker call may make 50 on the free plan, a thousand on others
/// (<https://developers.cloudflare.com/workers/platform/limits/#subrequests>).
const MAX_LOOKUPS: usize = 20;

/// How many reads these look-ups take at most. What is known of zones takes none.
fn reads(snapshot: &Snapshot, draft: &Draft, lookups: &[Lookup]) -> usize {
    let is_unknown = |name: &&str| snapshot.zone_named(name).is_none();
    let mut names: Vec<&str> = Vec::new();
    let mut others = 0;
    for lookup in lookups {
        match lookup {
            Lookup::ZoneNamed(name) => names.extend(Some(name.as_str()).filter(is_unknown)),
            Lookup::ZoneOf(host) => names.extend(names_above(host).take_while(is_unknown)),
            _ => others += 1,
        }
    }
    names.retain(|name| !draft.asked.iter().any(|(asked, _)| asked == name));
    names.sort_unstable();
    names.dedup();
    names.len() + others
}

/// The names a zone may have in which this host name lies, the longest first.
fn names_above(host: &str) -> impl Iterator<Item = &str> {
    let host = host.trim_end_matches('.');
    std::iter::successors(Some(host), |name| {
        name.split_once('.').map(|(_, rest)| rest)
    })
    .take_while(|name| name.contains('.'))
    .take(MAX_LABELS)
}

fn too_many() -> Refusal {
    Refusal::new(
        Code::MalformedBody,
        format!(
            "The call names so much that more than {MAX_LOOKUPS} look-ups would be needed to judge it: send routes and host names with their zone_id, or make several calls."
        ),
    )
}

/// Most labels of a host name that may stand before the name of its zone.
const MAX_LABELS: usize = 6;

/// Whether it is for taking all traffic at once that the call would not pass: most grants do
/// not ask.
fn is_needed(call: &Targeted<'_>, draft: &Draft) -> bool {
    let mut resources = call.resources.clone();
    resources.extend(&draft.resources);
    let passes = |facts: &WorkerFacts| {
        let request = call.request_of(Facts::Worker(facts), &resources);
        call.policy().decide(&request).is_allowed()
    };
    !passes(&draft.facts) && passes(&but_full(&draft.facts))
}

/// The same without taking all traffic at once.
fn but_full(facts: &WorkerFacts) -> WorkerFacts {
    let parts = facts.parts.iter();
    WorkerFacts {
        script: facts.script.clone(),
        parts: parts
            .filter(|part| **part != WorkerPart::FullDeploy)
            .cloned()
            .collect(),
    }
}

/// Adds what is touched as it stands.
fn touched(draft: &mut Draft, script: &str, pattern: String) {
    draft.touch(script, pattern.clone());
    if draft.facts.parts.is_empty() {
        // Nothing takes its place, so the call is about what is there.
        script.clone_into(&mut draft.facts.script);
        draft.facts.parts = vec![WorkerPart::Script, WorkerPart::Route { pattern }];
    }
}

/// A query that asks for the item of this name.
fn query(field: &str, name: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair(field, name)
        .finish()
}

/// The path below which the Workers of the account are.
fn workers(call: &Targeted<'_>) -> String {
    let account = call.checked.path.split('/').nth(2).unwrap_or_default();
    format!("/accounts/{account}/workers")
}

fn zone_id(json: &Json) -> Result<ZoneId, Refusal> {
    field(json, "zone_id")?.parse().map_err(|_| unreadable())
}

pub(super) fn field<'j>(json: &'j Json, name: &str) -> Result<&'j str, Refusal> {
    json.get(name).and_then(Json::as_str).ok_or_else(unreadable)
}

fn unreadable() -> Refusal {
    Refusal::new(
        Code::UpstreamUnknown,
        "Cloudflare did not say what the call refers to, so it could not be judged and nothing was sent.",
    )
}

fn no_zone(name: &str) -> Refusal {
    Refusal::new(
        Code::MalformedBody,
        format!(
            "There is no zone {} in which the Worker could be put.",
            judge::sanitised(name, 253)
        ),
    )
}
