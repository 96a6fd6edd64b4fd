//! What is done to a Worker: uploads, settings, deployments, secrets, routes and domains.
//!
//! A body is first read as it stands, into a [`Draft`]; what it only refers to (bindings that are
//! kept or inherited, a route by its id, a zone by its name) is listed there, and looked up by
//! `gateway::lookup` before the call is decided.

use std::rc::Rc;

use super::{OwnedFacts, malformed, object, sanitised, scrub, text};
use crate::catalog::{Judged, Method};
use crate::gateway::refusal::Refusal;
use crate::model::json::Json;
use crate::model::{ZoneId, quoted};
use crate::policy::{Resource, WorkerFacts, WorkerPart};
use crate::settings::OwnResources;
use crate::workers::{self, Bound, Inherited, Upload, is_free};

/// Most bytes of an upload (the largest Worker is 10 MB compressed,
/// <https://developers.cloudflare.com/workers/platform/limits/>).
pub const UPLOAD_BODY_CAP: usize = 32 * 1024 * 1024;

/// Most routes or host names in one call.
const MAX_ROUTES: usize = 100;

/// A body as it came.
#[derive(Debug)]
pub(in crate::gateway) struct Body<'a> {
    /// Its declared type.
    pub content_type: &'a str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The caller's own credential, which some clients also put into the body.
    pub credential: &'a str,
}

/// What the path says of the call.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Place<'a> {
    /// The script the path names.
    pub script: Option<&'a str>,
    /// The method.
    pub method: Method,
    /// The id of the route or domain the path names.
    pub id: Option<&'a str>,
    /// Whether an upload is put on all traffic at once.
    pub deploys: bool,
}

/// What has to be looked up before the call can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) enum Lookup {
    /// The bindings of these kinds that the script has; all of them for `None`.
    Kept(Option<Vec<String>>),
    /// The bindings of these names that the script has.
    Inherited(Vec<Inherited>),
    /// Whose workflow it is.
    Workflow(String),
    /// Whether the script is there already: a first upload takes traffic from nobody.
    First,
    /// Whether these versions have had traffic already.
    Served(Vec<String>),
    /// A route, which also tells the script it belongs to.
    Route(String),
    /// A host name of a Worker.
    Domain(String),
    /// The zone of this name.
    ZoneNamed(String),
    /// The zone this host name lies in.
    ZoneOf(String),
}

/// What a body says before what it refers to was looked up.
#[derive(Debug)]
pub(in crate::gateway) struct Draft {
    /// What it does to which script.
    pub facts: WorkerFacts,
    /// What it touches as it stands.
    pub before: OwnedFacts,
    /// Zones it names.
    pub resources: Vec<Resource>,
    /// What it still takes to judge it.
    pub lookups: Vec<Lookup>,
    /// What goes upstream in its place, where that is JSON.
    pub body: Json,
    /// What goes upstream in its place, where that is none.
    pub form: Option<Rc<Vec<u8>>>,
    /// What it does, in words.
    pub action: String,
}

impl Draft {
    fn new(script: &str, action: String) -> Self {
        Self {
            facts: WorkerFacts {
                script: script.to_owned(),
                parts: vec![WorkerPart::Script],
            },
            before: OwnedFacts::None,
            resources: Vec::new(),
            lookups: Vec::new(),
            body: Json::Null,
            form: None,
            action,
        }
    }

    fn push(&mut self, part: WorkerPart) {
        if !self.facts.parts.contains(&part) {
            self.facts.parts.push(part);
        }
    }

    /// Adds what is bound.
    pub(in crate::gateway) fn bind(&mut self, bound: Bound) {
        let Bound { kind, resource } = bound;
        // Whose a workflow of that name is decides; the name alone says nothing.
        match resource {
            Some(name) if kind == "workflow" => self.lookups.push(Lookup::Workflow(name)),
            resource => self.push(WorkerPart::Binding { kind, resource }),
        }
    }

    /// Adds a route. Its host must be plain, as nobody knows how Cloudflare reads another one.
    fn route(&mut self, pattern: &str) -> Result<(), Refusal> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*');
        if !host_of(pattern).chars().all(is_plain) {
            return Err(malformed(format!(
                "The host of the route {} must be written in ASCII letters, digits, hyphens and dots.",
                quoted(pattern)
            )));
        }
        self.push(WorkerPart::Route {
            pattern: pattern.to_owned(),
        });
        Ok(())
    }

    /// Adds what the metadata reaches.
    fn describe(&mut self, metadata: &Json) -> Result<(), Refusal> {
        let named = workers::named(metadata, &self.facts.script).map_err(malformed)?;
        if !named.kept.is_empty() {
            self.push(WorkerPart::Keep);
        }
        let kept: Vec<String> = named
            .kept
            .into_iter()
            .filter(|kind| !is_free(kind))
            .collect();
        if !kept.is_empty() {
            self.lookups.push(Lookup::Kept(Some(kept)));
        }
        if !named.inherited.is_empty() {
            self.push(WorkerPart::Inherit);
            self.lookups.push(Lookup::Inherited(named.inherited));
        }
        for bound in named.bound {
            self.bind(bound);
        }
        Ok(())
    }

    /// It puts a version on all traffic, unless a look-up shows that nothing is at stake.
    fn deploy(&mut self, unless: Lookup) {
        self.push(WorkerPart::FullDeploy);
        self.lookups.push(unless);
    }
}

/// Reads a body that is about a Worker.
///
/// # Errors
/// [`Refusal`] when it is not what the operation takes.
pub(in crate::gateway) fn draft(
    judged: Judged,
    body: Body<'_>,
    place: Place<'_>,
) -> Result<Draft, Refusal> {
    let script = place.script.unwrap_or_default();
    let shown = sanitised(script, 64);
    match judged {
        Judged::WorkerUpload => upload(body, script, place.deploys),
        Judged::WorkerContent => {
            let mut draft = form(
                body,
                script,
                "metadata",
                format!("replace the code of Worker {shown}"),
            )?;
            draft.lookups.push(Lookup::Kept(None));
            draft.push(WorkerPart::FullDeploy);
            Ok(draft)
        }
        Judged::WorkerSettings => {
            let action = format!("change the settings of Worker {shown}");
            let mut draft = form(body, script, "settings", action)?;
            draft.push(WorkerPart::FullDeploy);
            Ok(draft)
        }
        Judged::WorkerScriptSettings => {
            let json = json(&body)?;
            let mut draft = Draft::new(script, format!("change the settings of Worker {shown}"));
            draft.describe(&json)?;
            draft.body = json;
            Ok(draft)
        }
        Judged::WorkerDeployment => deployment(json(&body)?, script),
        Judged::WorkerSecrets => {
            let mut draft = secrets(json(&body)?, script)?;
            if is_patch(body.content_type) {
                // What Cloudflare takes by this type it may not take as plain JSON.
                draft.form = Some(Rc::new(draft.body.write().into_bytes()));
            }
            Ok(draft)
        }
        Judged::WorkerRoute => route(&body, place),
        Judged::WorkerRoutes => routes(json(&body)?, script),
        Judged::WorkerDomain => domain(&body, place),
        Judged::WorkerDomains => domains(json(&body)?, script),
        _ => Err(malformed("The body of this call is not about a Worker.")),
    }
}

/// Reads JSON strictly, without the caller's credential.
fn json(body: &Body<'_>) -> Result<Json, Refusal> {
    let content_type = body.content_type;
    let is_named = !content_type.is_empty() && !is_patch(content_type);
    let declared = is_named.then_some(content_type);
    super::check_content_type(declared)?;
    let mut json = super::read_json(&body.bytes)?;
    scrub(&mut json, body.credential, 0);
    Ok(json)
}

fn is_patch(content_type: &str) -> bool {
    content_type.eq_ignore_ascii_case("application/merge-patch+json")
}

fn media_type(content_type: &str) -> String {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn upload(body: Body<'_>, script: &str, deploys: bool) -> Result<Draft, Refusal> {
    let shown = sanitised(script, 64);
    let action = if deploys {
        format!("upload Worker {shown} and put it on all traffic")
    } else {
        format!("upload a version of Worker {shown}")
    };
    let is_script = matches!(
        media_type(body.content_type).as_str(),
        "application/javascript" | "text/javascript"
    );
    let mut draft = if is_script && deploys {
        // A whole script in the old syntax: it binds nothing.
        let mut draft = Draft::new(script, action);
        let digest = workers::digest(&body.bytes);
        draft.push(WorkerPart::Module { digest });
        draft.form = Some(Rc::new(body.bytes));
        draft
    } else {
        form(body, script, "metadata", action)?
    };
    if deploys {
        draft.deploy(Lookup::First);
    }
    Ok(draft)
}

/// A form with metadata called `name`, or the metadata alone as JSON.
fn form(
    body: Body<'_>,
    script: &str,
    name: &'static str,
    action: String,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::new(script, action);
    if name == "settings" && media_type(body.content_type) != "multipart/form-data" {
        let json = json(&body)?;
        draft.describe(&json)?;
        draft.body = json;
        return Ok(draft);
    }
    let upload = Upload::read(body.content_type, &body.bytes, name)
        .map_err(|error| malformed(format!("The upload cannot be judged: {error}.")))?;
    for digest in upload.digests(&body.bytes) {
        draft.push(WorkerPart::Module { digest });
    }
    let mut metadata = upload.metadata.clone();
    scrub(&mut metadata, body.credential, 0);
    draft.describe(&metadata)?;
    draft.form = Some(Rc::new(upload.rebuilt(body.bytes, &metadata)));
    Ok(draft)
}

fn deployment(json: Json, script: &str) -> Result<Draft, Refusal> {
    object(&json)?;
    let versions = items(&json, "versions")?;
    let mut full = Vec::new();
    let mut shares = Vec::new();
    for version in versions {
        let id = required(version, "version_id")?;
        let share = version.get("percentage").and_then(Json::as_f64);
        let share = share
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| {
                malformed("The field `percentage` of a version must be a number from 0 to 100.")
            })?;
        shares.push(format!("{share} % {}", sanitised(id, 36)));
        if share >= 100.0 || versions.len() == 1 {
            full.push(id.to_owned());
        }
    }
    let action = format!(
        "deploy Worker {} ({})",
        sanitised(script, 64),
        shares.join(", ")
    );
    let mut draft = Draft::new(script, action);
    if !full.is_empty() {
        draft.deploy(Lookup::Served(full));
    }
    draft.body = json;
    Ok(draft)
}

fn secrets(json: Json, script: &str) -> Result<Draft, Refusal> {
    object(&json)?;
    let all: Vec<&Json> = match json.get("secrets") {
        Some(secrets) => object(secrets)?.iter().map(|(_, secret)| secret).collect(),
        None => vec![&json],
    };
    let count = all.len();
    let mut draft = Draft::new(
        script,
        format!(
            "change secrets of Worker {} ({count})",
            sanitised(script, 64)
        ),
    );
    // `null` takes a secret away.
    for secret in all.into_iter().filter(|secret| !secret.is_null()) {
        let kind = required(secret, "type")?;
        if !matches!(kind, "secret_text" | "secret_key") {
            return Err(malformed(
                "The field `type` of a secret must be secret_text or secret_key.",
            ));
        }
        draft.bind(Bound {
            kind: kind.to_owned(),
            resource: None,
        });
    }
    draft.body = json;
    Ok(draft)
}

/// A route of a zone. Which script it belonged to, and which pattern it had, is looked up.
fn route(body: &Body<'_>, place: Place<'_>) -> Result<Draft, Refusal> {
    let by_id = place.id.map(|id| Lookup::Route(id.to_owned()));
    if place.method == Method::Delete {
        return Ok(taken_away(by_id, "delete a Workers route"));
    }
    let json = json(body)?;
    object(&json)?;
    let pattern = required(&json, "pattern")?.to_owned();
    // Without a script the route keeps every Worker away.
    let script = text(&json, "script")?.unwrap_or_default().to_owned();
    let to = if script.is_empty() {
        "no Worker"
    } else {
        &script
    };
    let action = format!(
        "{} route {} to {}",
        if by_id.is_some() { "change" } else { "create" },
        sanitised(&pattern, 120),
        sanitised(to, 64)
    );
    let mut draft = Draft::new(&script, action);
    draft.route(&pattern)?;
    draft.lookups.extend(by_id);
    draft.body = json;
    Ok(draft)
}

/// A call that takes away what its id names and sends nothing.
fn taken_away(by_id: Option<Lookup>, action: &str) -> Draft {
    let mut draft = Draft::new("", action.to_owned());
    draft.facts.parts.clear();
    draft.lookups.extend(by_id);
    draft.form = Some(Rc::default());
    draft
}

/// All routes of a script, in whatever zones.
fn routes(json: Json, script: &str) -> Result<Draft, Refusal> {
    let list = json
        .as_array()
        .ok_or_else(|| malformed("The body must be a list of routes."))?;
    let action = format!(
        "replace the routes of Worker {} ({})",
        sanitised(script, 64),
        list.len()
    );
    let mut draft = Draft::new(script, action);
    capped(list)?;
    for route in list {
        let pattern = required(route, "pattern")?;
        if let Some(other) = text(route, "script")?.filter(|other| *other != script) {
            return Err(malformed(format!(
                "The field `script` of a route names {}, another Worker than the path.",
                sanitised(other, 64)
            )));
        }
        draft.route(pattern)?;
        in_zone(route, host_of(pattern), &mut draft)?;
    }
    draft.body = json;
    Ok(draft)
}

/// A host name that becomes a Worker's.
fn domain(body: &Body<'_>, place: Place<'_>) -> Result<Draft, Refusal> {
    if place.method == Method::Delete {
        let by_id = place.id.map(|id| Lookup::Domain(id.to_owned()));
        return Ok(taken_away(by_id, "delete a custom domain of a Worker"));
    }
    let json = json(body)?;
    object(&json)?;
    let (hostname, service) = (required(&json, "hostname")?, required(&json, "service")?);
    let action = format!(
        "replace the Worker of custom domain {} by {}",
        sanitised(hostname, 253),
        sanitised(service, 64)
    );
    let mut draft = Draft::new(service, action);
    draft.route(&format!("{hostname}/*"))?;
    in_zone(&json, hostname, &mut draft)?;
    draft.body = json;
    Ok(draft)
}

/// The host names of a Worker: a list of them, or that within `origins`.
fn domains(json: Json, script: &str) -> Result<Draft, Refusal> {
    let list = match json.as_array() {
        Some(list) => list,
        None => items(&json, "origins")?,
    };
    let action = format!(
        "replace the custom domains of Worker {} ({})",
        sanitised(script, 64),
        list.len()
    );
    let mut draft = Draft::new(script, action);
    capped(list)?;
    for origin in list {
        let hostname = required(origin, "hostname")?;
        draft.route(&format!("{hostname}/*"))?;
        in_zone(origin, hostname, &mut draft)?;
    }
    draft.body = json;
    Ok(draft)
}

fn capped(list: &[Json]) -> Result<(), Refusal> {
    if list.len() > MAX_ROUTES {
        return Err(malformed(format!(
            "One call can set at most {MAX_ROUTES} routes or host names."
        )));
    }
    Ok(())
}

/// The zone a route or host name lies in: as it says, and where it says nothing, as it is.
fn in_zone(item: &Json, host: &str, draft: &mut Draft) -> Result<(), Refusal> {
    let (id, name) = (text(item, "zone_id")?, text(item, "zone_name")?);
    if let Some(id) = id {
        let zone: ZoneId = id
            .parse()
            .map_err(|error| malformed(format!("The field `zone_id` is no zone id: {error}.")))?;
        if !draft.resources.contains(&Resource::Zone(zone)) {
            draft.resources.push(Resource::Zone(zone));
        }
    }
    let lookup = match (id, name) {
        (_, Some(name)) => Lookup::ZoneNamed(name.to_ascii_lowercase()),
        (None, None) => Lookup::ZoneOf(host.trim_start_matches(['*', '.']).to_ascii_lowercase()),
        (Some(_), None) => return Ok(()),
    };
    if !draft.lookups.contains(&lookup) {
        draft.lookups.push(lookup);
    }
    Ok(())
}

/// The host in a route's pattern, its star included.
fn host_of(pattern: &str) -> &str {
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Whether a call does something to Zonekeeper itself: its script, what it keeps, where it answers.
pub(in crate::gateway) fn touches(
    worker: &WorkerFacts,
    own: &OwnResources,
    is_account: bool,
) -> bool {
    let is_name =
        |text: &str| is_account && own.names.iter().any(|name| name.eq_ignore_ascii_case(text));
    is_name(&worker.script)
        || worker.parts.iter().any(|part| match part {
            WorkerPart::Binding { resource, .. } => resource.as_deref().is_some_and(is_name),
            WorkerPart::Route { pattern } => own.hostnames.iter().any(|host| meets(pattern, host)),
            _ => false,
        })
}

/// Whether a route's pattern may match requests to `host`.
fn meets(pattern: &str, host: &str) -> bool {
    let wanted = host_of(pattern).trim_end_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    match wanted.split_once('*') {
        None => wanted == host,
        // Cloudflare knows a star at the beginning only; of any other it is assumed that it matches.
        Some(("", end)) if !end.contains('*') => host.ends_with(end),
        Some((start, _)) => host.starts_with(start),
    }
}

fn items<'j>(json: &'j Json, field: &str) -> Result<&'j [Json], Refusal> {
    let list = json.get(field).and_then(Json::as_array);
    list.ok_or_else(|| malformed(format!("The field `{field}` must be a list.")))
}

fn required<'j>(json: &'j Json, field: &str) -> Result<&'j str, Refusal> {
    let given = text(json, field)?.filter(|text| !text.is_empty());
    given.ok_or_else(|| malformed(format!("The field `{field}` is missing, or empty.")))
}
