//! Scripts, their versions and their deployments, and how each is rendered.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::assets::Assets;
use super::domains::Domain;
use super::migrations::Class;
use super::routes::ZoneRoute;
use super::triggers::Tail;
use crate::clock::Now;
use crate::ids::{Ids, digest};
use crate::seed::{EMAIL, USER_ID};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The Workers of all accounts.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// By account and name.
    scripts: BTreeMap<(String, String), Script>,
    pub(super) routes: Vec<ZoneRoute>,
    pub(super) domains: Vec<Domain>,
    /// The `workers.dev` name of each account that has one.
    pub(super) subdomains: BTreeMap<String, String>,
    pub(super) classes: Vec<Class>,
    pub(crate) assets: Assets,
}

/// One module of a version.
#[derive(Clone, Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) content: Bytes,
}

/// Where a version starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An ES module (`main_module`).
    Module(String),
    /// A script of the older syntax (`body_part`, or a plain body).
    Script(String),
    /// Assets without code.
    Assets,
}

/// What a version is made of.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) entry: Entry,
    pub(super) modules: Vec<Module>,
    /// Complete, secrets included.
    pub(super) bindings: Vec<Object>,
    /// Settings that go with the version.
    pub(super) runtime: Object,
    pub(super) annotations: Object,
    /// `{manifest, config}`.
    pub(super) assets: Option<Value>,
}

/// Who made a version or a deployment: the tool, and what caused it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) source: &'static str,
    pub(super) trigger: &'static str,
}

/// A version: what is immutable once uploaded.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) number: usize,
    pub(super) created: Now,
    pub(super) origin: Origin,
    pub(super) draft: Draft,
}

/// Which versions get how much of the traffic, from some instant on.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) created: Now,
    pub(super) origin: Origin,
    pub(super) versions: Vec<(String, f64)>,
    pub(super) annotations: Object,
}

/// A script. INVARIANT: it has a version and a deployment, and every deployment's versions exist.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(super) name: String,
    pub(super) tag: String,
    pub(super) created: Now,
    /// The last instant that something was made at; the next is later, so that sorting by time
    /// gives the order.
    pub(super) modified: Now,
    /// Oldest first.
    pub(super) versions: Vec<Version>,
    /// Oldest first.
    pub(super) deployments: Vec<Deployment>,
    /// `logpush`, `observability`, `tags` and `tail_consumers`: settings that no version has.
    pub(super) settings: Object,
    pub(super) migration_tag: Option<String>,
    pub(super) on_workers_dev: bool,
    pub(super) has_previews: bool,
    pub(super) schedules: Vec<Value>,
    pub(super) tails: Vec<Tail>,
}

impl Workers {
    /// The script of an account by its name.
    pub(crate) fn script(&self, account: &str, name: &str) -> Option<&Script> {
        self.scripts.get(&(account.to_owned(), name.to_owned()))
    }

    pub(super) fn script_mut(&mut self, account: &str, name: &str) -> Option<&mut Script> {
        self.scripts.get_mut(&(account.to_owned(), name.to_owned()))
    }

    /// The scripts of an account, by name.
    pub(super) fn of<'a>(&'a self, account: &'a str) -> impl Iterator<Item = &'a Script> {
        self.scripts
            .iter()
            .filter(move |((owner, _), _)| owner == account)
            .map(|(_, script)| script)
    }

    /// Every script with its account.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Script)> {
        self.scripts
            .iter()
            .map(|((account, _), script)| (account.as_str(), script))
    }

    /// A script by its name alone, with its account: the first that has one.
    pub(crate) fn named(&self, name: &str) -> Option<(&str, &Script)> {
        self.iter().find(|(_, script)| script.name == name)
    }

    pub(super) fn put(&mut self, account: &str, script: Script) {
        self.scripts
            .insert((account.to_owned(), script.name.clone()), script);
    }

    /// Removes a script with its routes, domains and Durable Object classes.
    pub(super) fn remove(&mut self, account: &str, name: &str) {
        self.scripts.remove(&(account.to_owned(), name.to_owned()));
        self.routes
            .retain(|r| r.account != account || r.script.as_deref() != Some(name));
        self.domains
            .retain(|d| d.account != account || d.service != name);
        self.classes
            .retain(|c| c.account != account || c.script != name);
    }

    /// The names of an account's scripts with a binding of type `kind` whose `field` is `value`, in
    /// a version that serves traffic or is the latest.
    pub(crate) fn binding(
        &self,
        account: &str,
        kind: &str,
        field: &str,
        value: &str,
    ) -> Vec<String> {
        self.of(account)
            .filter(|script| {
                script.current().flat_map(|v| &v.draft.bindings).any(|b| {
                    b.get("type") == Some(&json!(kind)) && b.get(field) == Some(&json!(value))
                })
            })
            .map(|script| script.name.clone())
            .collect()
    }
}

impl Draft {
    /// A binding by its name.
    pub(super) fn binding(&self, name: &str) -> Option<&Object> {
        self.bindings
            .iter()
            .find(|binding| binding.get("name") == Some(&json!(name)))
    }

    /// The bindings as answers show them: a secret's value is never returned (NOTES "Workers").
    pub(super) fn shown(&self) -> Vec<Object> {
        let mut bindings = self.bindings.clone();
        for binding in &mut bindings {
            if is_secret(binding) {
                for value in ["text", "key_base64", "key_jwk"] {
                    binding.remove(value);
                }
            }
        }
        bindings
    }

    /// The content of the module that the version starts with; empty for assets alone.
    fn main(&self) -> &[u8] {
        let (Entry::Module(name) | Entry::Script(name)) = &self.entry else {
            return &[];
        };
        self.modules
            .iter()
            .find(|module| module.name == *name)
            .map_or(&[], |module| &module.content)
    }

    /// The entity tag of the code.
    pub(super) fn etag(&self) -> String {
        let parts: Vec<&[u8]> = self
            .modules
            .iter()
            .flat_map(|m| [m.name.as_bytes(), &m.content])
            .collect();
        let half = digest(parts.iter().copied());
        let other = digest(parts.into_iter().rev());
        half + &other
    }

    /// The event handlers, by their names in the entry module: nothing here parses JavaScript.
    pub(super) fn handlers(&self) -> Vec<&'static str> {
        const HANDLERS: [&str; 6] = ["fetch", "scheduled", "queue", "email", "tail", "trace"];
        let text = String::from_utf8_lossy(self.main());
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let words: Vec<&str> = text.split(|c| !is_name(c)).collect();
        HANDLERS
            .into_iter()
            .filter(|handler| words.contains(handler))
            .collect()
    }
}

/// Whether a binding's value is a secret.
pub(super) fn is_secret(binding: &Object) -> bool {
    let kind = binding.get("type").and_then(Value::as_str);
    matches!(kind, Some("secret_text" | "secret_key"))
}

impl Version {
    /// What lists show.
    pub(super) fn summary(&self) -> Value {
        let mut annotations = self.draft.annotations.clone();
        annotations.insert(
            "workers/triggered_by".to_owned(),
            json!(self.origin.trigger),
        );
        json!({
            "id": self.id, "number": self.number, "annotations": annotations,
            "metadata": {
                "created_on": self.created.rfc3339(), "modified_on": self.created.rfc3339(),
                "source": self.origin.source, "author_id": USER_ID, "author_email": EMAIL,
                // wrangler reads one name, the SDK the other.
                "has_preview": true, "hasPreview": true,
            },
        })
    }

    /// What reading one version shows.
    pub(super) fn render(&self) -> Value {
        let mut version = self.summary();
        let resources = json!({
            "bindings": self.draft.shown(),
            "script": {
                "etag": self.draft.etag(), "handlers": self.draft.handlers(),
                "last_deployed_from": self.origin.source,
            },
            "script_runtime": self.draft.runtime,
        });
        if let Some(map) = version.as_object_mut() {
            map.insert("resources".to_owned(), resources);
            map.insert("startup_time_ms".to_owned(), json!(STARTUP_MS));
        }
        version
    }
}

/// No code runs here, so that every version starts as quickly as the next.
pub(super) const STARTUP_MS: u32 = 5;

impl Deployment {
    pub(super) fn render(&self) -> Value {
        let mut annotations = self.annotations.clone();
        annotations.insert(
            "workers/triggered_by".to_owned(),
            json!(self.origin.trigger),
        );
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|(id, percentage)| json!({"version_id": id, "percentage": percentage}))
            .collect();
        json!({
            "id": self.id, "source": self.origin.source, "strategy": "percentage",
            "author_email": EMAIL, "created_on": self.created.rfc3339(),
            "annotations": annotations, "versions": versions,
        })
    }
}

impl Script {
    /// A new script whose first version is deployed at once.
    pub(super) fn new(
        name: &str,
        tag: String,
        draft: Draft,
        origin: Origin,
        ids: &mut Ids,
        now: Now,
    ) -> Self {
        let settings = json!({
            "logpush": false, "observability": {"enabled": false}, "tags": [], "tail_consumers": [],
        });
        let mut script = Self {
            name: name.to_owned(),
            tag,
            created: now,
            modified: Now(now.0 - 1),
            versions: Vec::new(),
            deployments: Vec::new(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            migration_tag: None,
            on_workers_dev: false,
            has_previews: false,
            schedules: Vec::new(),
            tails: Vec::new(),
        };
        script.release(draft, origin, ids, now);
        script
    }

    fn stamp(&mut self, now: Now) -> Now {
        self.modified = now.max(Now(self.modified.0 + 1));
        self.modified
    }

    /// Adds a version.
    pub(super) fn push(&mut self, draft: Draft, origin: Origin, ids: &mut Ids, now: Now) -> String {
        let created = self.stamp(now);
        let id = ids.next_uuid();
        self.versions.push(Version {
            id: id.clone(),
            number: self.versions.len() + 1,
            created,
            origin,
            draft,
        });
        id
    }

    /// Adds a deployment.
    pub(super) fn deploy(
        &mut self,
        versions: Vec<(String, f64)>,
        annotations: Object,
        origin: Origin,
        ids: &mut Ids,
        now: Now,
    ) {
        let created = self.stamp(now);
        self.deployments.push(Deployment {
            id: ids.next_uuid(),
            created,
            origin,
            versions,
            annotations,
        });
    }

    /// Adds a version and deploys it at 100 %.
    pub(super) fn release(
        &mut self,
        draft: Draft,
        origin: Origin,
        ids: &mut Ids,
        now: Now,
    ) -> String {
        let annotations = draft.annotations.clone();
        let id = self.push(draft, origin, ids, now);
        self.deploy(vec![(id.clone(), 100.0)], annotations, origin, ids, now);
        id
    }

    pub(super) fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// Whether a version of this id was uploaded.
    pub(crate) fn has_version(&self, id: &str) -> bool {
        self.version(id).is_some()
    }

    /// The id of what was uploaded last, deployed or not.
    pub(crate) fn newest(&self) -> Option<&str> {
        self.latest().map(|version| version.id.as_str())
    }

    /// The id of the current deployment, and its versions with their percentages.
    pub(crate) fn deployed(&self) -> Option<(&str, &[(String, f64)])> {
        let current = self.deployments.last()?;
        Some((&current.id, &current.versions))
    }

    /// What was uploaded last, deployed or not.
    pub(super) fn latest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// What most of the traffic gets.
    pub(super) fn serving(&self) -> Option<&Version> {
        let deployed = &self.deployments.last()?.versions;
        let (id, _) = deployed.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        self.version(id)
    }

    /// The versions of the current deployment, and the latest.
    pub(super) fn current(&self) -> impl Iterator<Item = &Version> {
        let deployed = self.deployments.last().map(|d| d.versions.as_slice());
        deployed
            .unwrap_or_default()
            .iter()
            .filter_map(|(id, _)| self.version(id))
            .chain(self.latest())
    }

    /// Whether the latest version gets all of the traffic.
    pub(super) fn latest_is_deployed(&self) -> bool {
        let deployed = self.deployments.last().map(|d| d.versions.as_slice());
        match (deployed, self.latest()) {
            (Some([(only, _)]), Some(latest)) => *only == latest.id,
            _ => false,
        }
    }

    /// What lists of scripts show.
    pub(super) fn render(&self) -> Object {
        let mut shown = self.settings.clone();
        if let Some(version) = self.serving() {
            shown.extend(version.draft.runtime.clone());
            let draft = &version.draft;
            let more = json!({
                "etag": draft.etag(), "handlers": draft.handlers(), "named_handlers": [],
                "has_assets": draft.assets.is_some(),
                "has_modules": matches!(draft.entry, Entry::Module(_)),
                "last_deployed_from": version.origin.source,
                // wrangler takes the version's id from here (*wrangler*).
                "deployment_id": version.id.replace('-', ""),
            });
            shown.extend(more.as_object().cloned().unwrap_or_default());
        }
        let own = json!({
            "id": self.name, "tag": self.tag, "created_on": self.created.rfc3339(),
            "modified_on": self.modified.rfc3339(), "startup_time_ms": STARTUP_MS,
        });
        shown.extend(own.as_object().cloned().unwrap_or_default());
        shown
            .entry("usage_model")
            .or_insert_with(|| json!("standard"));
        if let Some(tag) = &self.migration_tag {
            shown.insert("migration_tag".to_owned(), json!(tag));
        }
        shown
    }

    /// What `GET /__sim/state` shows.
    pub(crate) fn state(&self, account: &str) -> Value {
        let deployed = self.deployments.last().map(Deployment::render);
        let versions = deployed.and_then(|mut d| d.get_mut("versions").map(Value::take));
        json!({
            "name": self.name, "id": self.tag, "account_id": account, "deployed": versions,
            "versions": self.versions.len(),
            "bindings": self.latest().map(|version| version.draft.shown()),
        })
    }
}
