//! What is done to a Worker: uploads, settings, deployments, secrets, routes and domains.
//!
//! A body is first read as it stands, into a [`Draft`]; what it only refers to (bindings that are
//! kept or inherited, a route by its id, a zone by its name) is listed there, and looked up by
//! `gateway::lookup` before the call is decided.

use std::rc::Rc;

use super::{keep_fields, malformed, object, sanitised, scrub, text};
use crate::catalog::{Judged, Method};
use crate::gateway::refusal::Refusal;
use crate::model::json::Json;
use crate::model::{ZoneId, quoted};
use crate::policy::{Resource, WorkerFacts, WorkerPart};
use crate::workers::{self, Bound, Inherited, Upload, is_free};

/// Most bytes of an upload (the largest Worker is 10 MB compressed,
/// <https://developers.cloudflare.com/workers/platform/limits/>).
pub const UPLOAD_BODY_CAP: usize = 32 * 1024 * 1024;

/// Most routes or host names in one call.
const MAX_ROUTES: usize = 100;

/// Most versions of a deployment; Cloudflare takes two.
const MAX_VERSIONS: usize = 10;

/// Most bindings and other things the metadata of an upload names.
const MAX_NAMED: usize = 1_000;

/// What a secret is made of (<https://developers.cloudflare.com/api/resources/workers/>).
const SECRET_FIELDS: &[&str] = &[
    "name",
    "type",
    "text",
    "algorithm",
    "format",
    "usages",
    "key_base64",
    "key_jwk",
];

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
    /// Whether it is about several secrets.
    pub is_bulk: bool,
    /// Whether anything depends on the digests of the files.
    pub digests: bool,
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
    /// Whether any of these versions has had traffic already.
    Served(Vec<String>),
    /// A route, which also tells the script it belongs to.
    Route(String),
    /// The routes the script has, in whatever zones.
    Routes,
    /// A host name of a Worker.
    Domain(String),
    /// The host names Workers have: these, and where all of the script's are replaced, its own.
    Domains {
        /// Host names that the script is to have.
        hosts: Vec<String>,
        /// Whether it is to have no others.
        all: bool,
    },
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
    pub before: Vec<WorkerFacts>,
    /// Zones it names.
    pub resources: Vec<Resource>,
    /// What it still takes to judge it.
    pub lookups: Vec<Lookup>,
    /// Names of zones that were asked for, with what came of it.
    pub asked: Vec<(String, Option<ZoneId>)>,
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
            before: Vec::new(),
            resources: Vec::new(),
            lookups: Vec::new(),
            asked: Vec::new(),
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

    fn push_digest(&mut self, digests: bool, bytes: &[u8]) {
        let digest = if digests {
            workers::digest(bytes)
        } else {
            String::new()
        };
        self.push(WorkerPart::Module { digest });
    }

    /// Adds what has to be looked up, once.
    pub(in crate::gateway) fn look_up(&mut self, lookup: Lookup) {
        if !self.lookups.contains(&lookup) {
            self.lookups.push(lookup);
        }
    }

    /// Adds a zone.
    pub(in crate::gateway) fn reach(&mut self, zone: ZoneId) {
        let zone = Resource::Zone(zone);
        if !self.resources.contains(&zone) {
            self.resources.push(zone);
        }
    }

    /// Adds a route that is there, with the script it has.
    pub(in crate::gateway) fn touch(&mut self, script: &str, pattern: String) {
        let mut touched = self.before.iter_mut();
        let route = WorkerPart::Route { pattern };
        match touched.find(|before| before.script == script) {
            Some(before) => before.parts.push(route),
            None => self.before.push(WorkerFacts {
                script: script.to_owned(),
                parts: vec![WorkerPart::Script, route],
            }),
        }
    }

    /// Adds what is bound.
    pub(in crate::gateway) fn bind(&mut self, bound: Bound) {
        let Bound { kind, resource } = bound;
        // Whose a workflow of that name is decides; the name alone says nothing.
        match resource {
            Some(name) if kind == "workflow" => self.look_up(Lookup::Workflow(name)),
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

    /// Adds a custom domain.
    fn host(&mut self, hostname: &str) -> Result<(), Refusal> {
        if hostname.contains('/') {
            return Err(malformed("The field `hostname` must be a host name."));
        }
        self.route(&format!("{hostname}/*"))
    }

    /// Adds what the metadata reaches.
    fn describe(&mut self, metadata: &Json) -> Result<(), Refusal> {
        let named = workers::named(metadata, &self.facts.script).map_err(malformed)?;
        if named.bound.len() + named.inherited.len() + named.kept.len() > MAX_NAMED {
            return Err(malformed(format!(
                "The metadata of a Worker can name at most {MAX_NAMED} bindings and other things."
            )));
        }
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
        Judged::WorkerUpload => upload(body, place),
        Judged::WorkerContent => {
            let action = format!("replace the code of Worker {shown}");
            let mut draft = form(body, place, "metadata", action)?;
            draft.look_up(Lookup::Kept(None));
            draft.push(WorkerPart::FullDeploy);
            Ok(draft)
        }
        Judged::WorkerSettings => {
            let action = format!("change the settings of Worker {shown}");
            let mut draft = form(body, place, "settings", action)?;
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
            let mut draft = secrets(&json(&body)?, script, place.is_bulk)?;
            if is_patch(body.content_type) {
                // What Cloudflare takes by this type it may not take as plain JSON.
                draft.form = Some(Rc::new(draft.body.write().into_bytes()));
            }
            Ok(draft)
        }
        Judged::WorkerRoute => route(&body, place),
        Judged::WorkerRoutes => routes(json(&body)?, script),
        Judged::WorkerDomain => domain(&body, place),
        Judged::WorkerDomains => domains(json(&body)?, script, place.method),
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

fn upload(body: Body<'_>, place: Place<'_>) -> Result<Draft, Refusal> {
    let script = place.script.unwrap_or_default();
    let shown = sanitised(script, 64);
    let deploys = place.deploys;
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
        draft.push_digest(place.digests, &body.bytes);
        draft.form = Some(Rc::new(body.bytes));
        draft
    } else {
        form(body, place, "metadata", action)?
    };
    if deploys {
        draft.deploy(Lookup::First);
    }
    Ok(draft)
}

/// A form with metadata called `name`, or the metadata alone as JSON.
fn form(
    body: Body<'_>,
    place: Place<'_>,
    name: &'static str,
    action: String,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::new(place.script.unwrap_or_default(), action);
    if name == "settings" && media_type(body.content_type) != "multipart/form-data" {
        let json = json(&body)?;
        draft.describe(&json)?;
        draft.body = json;
        return Ok(draft);
    }
    let upload = Upload::read(body.content_type, &body.bytes, name)
        .map_err(|error| malformed(format!("The upload cannot be judged: {error}.")))?;
    for file in upload.files(&body.bytes) {
        draft.push_digest(place.digests, file);
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
    if versions.len() > MAX_VERSIONS {
        return Err(malformed(format!(
            "One deployment can name at most {MAX_VERSIONS} versions."
        )));
    }
    let mut live: Vec<String> = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    let mut shares = Vec::new();
    for version in versions {
        let id = required(version, "version_id")?;
        let share = version.get("percentage").and_then(Json::as_f64);
        let share = share
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| {
                malformed("The field `percentage` of a version must be a number from 0 to 100.")
            })?;
        if named.contains(&id) {
            return Err(malformed(
                "The field `version_id` names the same version twice.",
            ));
        }
        named.push(id);
        shares.push(format!("{share} % {}", sanitised(id, 36)));
        if share > 0.0 {
            live.push(id.to_owned());
        }
    }
    let action = format!(
        "deploy Worker {} ({})",
        sanitised(script, 64),
        shares.join(", ")
    );
    let mut draft = Draft::new(script, action);
    // Unless part of the traffic stays with a version that had some.
    draft.deploy(Lookup::Served(live));
    draft.body = json;
    Ok(draft)
}

/// One secret, or several by their names: which of the two the operation says, not the body.
fn secrets(json: &Json, script: &str, is_bulk: bool) -> Result<Draft, Refusal> {
    object(json)?;
    let kept = |secret: &Json| keep_fields(secret.clone(), SECRET_FIELDS);
    let all: Vec<(String, Json)> = if is_bulk {
        let secrets = json.get("secrets").and_then(Json::as_object);
        let secrets = secrets.ok_or_else(|| malformed("The field `secrets` must be an object."))?;
        let secrets = secrets.iter();
        secrets
            .map(|(name, secret)| (name.clone(), kept(secret)))
            .collect()
    } else {
        vec![(String::new(), kept(json))]
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
    for (_, secret) in all.iter().filter(|(_, secret)| !secret.is_null()) {
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
    draft.body = if is_bulk {
        Json::Object(vec![("secrets".to_owned(), Json::Object(all))])
    } else {
        all.into_iter()
            .next()
            .map_or(Json::Null, |(_, secret)| secret)
    };
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
    // Those that are not listed are taken away.
    draft.look_up(Lookup::Routes);
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

/// A host name that becomes a Worker's, and maybe was another one's.
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
    draft.host(hostname)?;
    in_zone(&json, hostname, &mut draft)?;
    draft.look_up(Lookup::Domains {
        hosts: vec![plain(hostname)],
        all: false,
    });
    draft.body = json;
    Ok(draft)
}

/// The host names of a Worker: a list of them, or that within `origins`.
fn domains(json: Json, script: &str, method: Method) -> Result<Draft, Refusal> {
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
    let mut hosts = Vec::with_capacity(list.len());
    for origin in list {
        let hostname = required(origin, "hostname")?;
        draft.host(hostname)?;
        in_zone(origin, hostname, &mut draft)?;
        hosts.push(plain(hostname));
    }
    // The changeset only tells what would change.
    if method == Method::Put {
        draft.look_up(Lookup::Domains { hosts, all: true });
    }
    draft.body = json;
    Ok(draft)
}

/// A host name in its one spelling.
pub(in crate::gateway) fn plain(hostname: &str) -> String {
    hostname.trim_end_matches('.').to_ascii_lowercase()
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
        draft.reach(zone);
    }
    let lookup = match (id, name) {
        (_, Some(name)) => Lookup::ZoneNamed(name.to_ascii_lowercase()),
        (None, None) => Lookup::ZoneOf(host.trim_start_matches(['*', '.']).to_ascii_lowercase()),
        (Some(_), None) => return Ok(()),
    };
    draft.look_up(lookup);
    Ok(())
}

/// The host in a route's pattern, its star included.
pub(super) fn host_of(pattern: &str) -> &str {
    let rest = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

fn items<'j>(json: &'j Json, field: &str) -> Result<&'j [Json], Refusal> {
    let list = json.get(field).and_then(Json::as_array);
    list.ok_or_else(|| malformed(format!("The field `{field}` must be a list.")))
}

fn required<'j>(json: &'j Json, field: &str) -> Result<&'j str, Refusal> {
    let given = text(json, field)?.filter(|text| !text.is_empty());
    given.ok_or_else(|| malformed(format!("The field `{field}` is missing, or empty.")))
}
