//! A whole Zonekeeper over fakes, told what to do in a few words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use pollster::block_on;
use serde_json::Value;
use zonekeeper::api::API_PREFIX;
use zonekeeper::audit::{Action, Entry, Event, What, Who};
use zonekeeper::config::{AccountRef, Format, Resolution, ZoneRef, read, validate};
use zonekeeper::gateway::{
    After, BodyFault, Finished, Gateway, Inbound, RawTarget, Reply, View, World, below_prefix,
    split_url,
};
use zonekeeper::hooks::HOOKS_PREFIX;
use zonekeeper::identity::{Key, KeyRecord};
use zonekeeper::model::{Secret, Timestamp};
use zonekeeper::oauth::TOKEN_PATH;
use zonekeeper::settings::{RawSettings, Settings};
use zonekeeper::store::{AuditFilter, Store};

use super::database::FailingDatabase;
use super::upstream::Expected;
use super::world::{Clock, FakeWorld, Response};

pub(crate) const COM: &str = "00000000000000000000000000000c01";
pub(crate) const NET: &str = "00000000000000000000000000000e02";
pub(crate) const ORG: &str = "00000000000000000000000000000f03";
pub(crate) const ACME: &str = "000000000000000000000000000000a1";
pub(crate) const OTHER_ACCOUNT: &str = "000000000000000000000000000000a2";

/// The instant at which every test begins.
pub(crate) const NOW: &str = "2026-11-01T12:00:00Z";
/// The gateway's own credential upstream.
pub(crate) const TOKEN: &str = "upstream-token-0123456789-abcdefghijklmn";
/// The root key.
pub(crate) const ROOT: &str = "rootrootrootrootrootrootrootrootrootroot";
/// Hashed along with every key.
pub(crate) const PEPPER: &str = "pepper-pepper-pepper-pepper";

/// What the names of the tests' zones and accounts stand for.
pub(crate) fn resolution() -> Resolution {
    let account = ACME.parse().unwrap();
    Resolution {
        zones: [
            ("example.com", COM),
            ("example.net", NET),
            ("example.org", ORG),
        ]
        .into_iter()
        .map(|(name, id)| {
            let zone = ZoneRef {
                id: id.parse().unwrap(),
                name: name.to_owned(),
                account,
            };
            (name.to_owned(), zone)
        })
        .collect(),
        accounts: BTreeMap::from([(
            "Acme".to_owned(),
            AccountRef {
                id: account,
                name: "Acme".to_owned(),
            },
        )]),
        ..Resolution::default()
    }
}

/// What every test is told, unless it says otherwise.
pub(crate) fn settings() -> RawSettings {
    RawSettings {
        upstream_base_url: Some("https://api.cloudflare.com/client/v4".to_owned()),
        api_token: Some(Secret::new(TOKEN)),
        root_key: Some(Secret::new(ROOT)),
        key_pepper: Some(Secret::new(PEPPER)),
        own_account_id: Some(ACME.to_owned()),
        own_script_name: Some("zonekeeper".to_owned()),
        own_d1_id: Some("11111111-2222-3333-4444-555555555555".to_owned()),
        own_d1_name: Some("zonekeeper-db".to_owned()),
        own_kv_id: Some("000000000000000000000000000000b1".to_owned()),
        own_queue_ids: Some("000000000000000000000000000000d1".to_owned()),
        ..RawSettings::default()
    }
}

/// A request being put together.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    head: String,
    body: Result<Vec<u8>, BodyFault>,
}

/// A request such as `GET /client/v4/zones`.
pub(crate) fn ask(line: &str) -> Ask {
    let (method, target) = line.split_once(' ').unwrap();
    Ask {
        head: format!("{method}\nhttps://zk.example.com{target}"),
        body: Ok(Vec::new()),
    }
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "\n{name}:{value}").unwrap();
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        self.body = Ok(body.as_bytes().to_vec());
        self
    }

    pub(crate) fn toml(self, body: &str) -> Self {
        self.header("content-type", "application/toml").text(body)
    }

    /// The same to another address, such as `PUT /api/v1/config`.
    pub(crate) fn to(self, line: &str) -> Self {
        let mut lines = self.head.splitn(3, '\n').skip(2);
        let rest = lines
            .next()
            .map_or_else(String::new, |rest| format!("\n{rest}"));
        let head = ask(line).head + &rest;
        Self { head, ..self }
    }

    /// The same with another text in its head.
    pub(crate) fn with(self, text: &str, other: &str) -> Self {
        let head = self.head.replacen(text, other, 1);
        assert_ne!(head, self.head, "{text}");
        Self { head, ..self }
    }

    /// Its head and its body.
    pub(crate) fn parts(&self) -> (&str, Result<Vec<u8>, BodyFault>) {
        (&self.head, self.body.clone())
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        self.body = Ok(body.to_vec());
        self
    }

    pub(crate) fn body_fault(mut self, fault: BodyFault) -> Self {
        self.body = Err(fault);
        self
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) is_relayed: bool,
    pub(crate) deprecated: Option<String>,
    pub(crate) retry_after_secs: Option<u32>,
    pub(crate) after: Vec<After>,
}

impl Answered {
    fn of(finished: Finished<Response>) -> Self {
        let Finished { reply, after } = finished;
        match reply {
            Reply::Own {
                status,
                body,
                retry_after_secs,
                ..
            } => Self {
                status: status.as_u16(),
                text: body,
                is_relayed: false,
                deprecated: None,
                retry_after_secs,
                after,
            },
            Reply::Relayed {
                response,
                body,
                deprecated,
            } => Self {
                status: response.status,
                text: String::from_utf8(body.or(response.body).unwrap_or_default()).unwrap(),
                is_relayed: true,
                deprecated,
                retry_after_secs: None,
                after,
            },
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    pub(crate) fn result(&self) -> Value {
        let json = self.json();
        assert_eq!(json["success"], true, "{}", self.text);
        json["result"].clone()
    }

    /// Status and code of ours, such as `(403, 20020)`.
    pub(crate) fn refused(&self) -> (u16, u64) {
        assert!(!self.is_relayed, "{self:?}");
        let code = self.json()["errors"][0]["code"]
            .as_u64()
            .unwrap_or_default();
        (self.status, code)
    }

    pub(crate) fn message(&self) -> String {
        self.json()["errors"][0]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", self.text))
            .to_owned()
    }
}

/// One isolate: its own view and world, over a database it may share.
pub(crate) struct Keeper {
    pub(crate) settings: Settings,
    pub(crate) view: View,
    pub(crate) store: Store<FailingDatabase>,
    pub(crate) database: FailingDatabase,
    pub(crate) world: FakeWorld,
    raw: RawSettings,
}

impl Keeper {
    /// One that has never been asked anything.
    pub(crate) fn unmigrated() -> Rc<Self> {
        Self::over(FailingDatabase::new(), Clock::at(NOW), 1)
    }

    /// A fresh one with nothing configured.
    pub(crate) fn empty() -> Rc<Self> {
        let keeper = Self::unmigrated();
        block_on(keeper.store.migrate(keeper.now())).unwrap();
        keeper
    }

    /// A fresh one with this configuration in force.
    pub(crate) fn with(config: &str) -> Rc<Self> {
        let keeper = Self::empty();
        keeper.apply(config);
        keeper
    }

    /// Another isolate over the same database, with the same clock, told the same.
    pub(crate) fn neighbour(&self) -> Rc<Self> {
        let clock = self.world.clock.clone();
        self.beside(Self::made(
            self.raw.clone(),
            self.database.clone(),
            clock,
            101,
        ))
    }

    /// The same, but told other settings.
    pub(crate) fn told(&self, change: impl FnOnce(&mut RawSettings)) -> Rc<Self> {
        let mut raw = settings();
        change(&mut raw);
        let clock = self.world.clock.clone();
        self.beside(Self::made(raw, self.database.clone(), clock, 201))
    }

    /// `other` with the same issuers of tokens.
    fn beside(&self, other: Self) -> Rc<Self> {
        other.world.share(self.world.issuers());
        Rc::new(other)
    }

    fn over(database: FailingDatabase, clock: Clock, seed: u8) -> Rc<Self> {
        Rc::new(Self::made(settings(), database, clock, seed))
    }

    fn made(raw: RawSettings, database: FailingDatabase, clock: Clock, seed: u8) -> Self {
        Self {
            settings: Settings::try_from(raw.clone()).unwrap(),
            raw,
            view: View::default(),
            store: Store::new(database.clone()),
            database,
            world: FakeWorld::new(clock, seed),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub(crate) fn advance_secs(&self, secs: i64) {
        self.world.clock.advance_ms(secs * 1000);
    }

    pub(crate) fn expect(&self, call: Expected) {
        self.world.expect(call);
    }

    /// An event for changes that a test makes behind the API's back.
    pub(crate) fn event(&self) -> Event {
        let who = Who {
            principal: Some("test".to_owned()),
            credential: "none".to_owned(),
            source_ip: None,
            run: None,
        };
        let what = What {
            operation: "test".to_owned(),
            method: "PUT".to_owned(),
            path: "/".to_owned(),
            zone: None,
            resources: Vec::new(),
            action: Action::new("change something"),
            deprecated: false,
        };
        Event::of(self.world.entry_id(self.now()), who, what)
    }

    /// Stores a configuration as the one in force, without telling any view.
    pub(crate) fn apply(&self, config: &str) {
        let source = read(config.as_bytes(), Format::Toml).unwrap();
        validate(&source).unwrap();
        let before = block_on(self.store.current_config()).unwrap().version;
        block_on(self.store.apply_config(
            before,
            &source.document,
            config,
            Format::Toml,
            &resolution(),
            &[],
            &self.event(),
            self.now(),
        ))
        .unwrap()
        .unwrap();
    }

    /// Stores a new key of `principal`.
    pub(crate) fn mint(&self, principal: &str) -> String {
        self.mint_until(principal, None)
    }

    pub(crate) fn mint_until(&self, principal: &str, expires_at: Option<Timestamp>) -> String {
        let mut random = [0; 30];
        self.world.randomize(&mut random);
        let key = Key::mint(&random);
        let record = KeyRecord {
            id: key.id(),
            principal: principal.to_owned(),
            digest: key.digest(&self.settings.pepper),
            created_at: self.now(),
            expires_at,
            revoked_at: None,
            last_used_at: None,
            note: None,
            legacy: false,
            login: None,
        };
        block_on(self.store.add_key(&record, &self.event())).unwrap();
        key.expose().to_owned()
    }

    /// Revokes a key in the store, without telling any view.
    pub(crate) fn revoke(&self, principal: &str, key: &str) {
        let id = Key::parse(key).unwrap().id();
        block_on(
            self.store
                .revoke_key(principal, id, &self.event(), self.now()),
        )
        .unwrap();
    }

    /// Serves a request and writes down what is left to write down.
    pub(crate) fn call(&self, ask: Ask) -> Answered {
        let answered = self.call_and_crash(ask);
        self.write_down(&answered.after);
        answered
    }

    /// Serves a request, and is gone before anything is written down after the answer.
    pub(crate) fn call_and_crash(&self, ask: Ask) -> Answered {
        let Ask { head, body } = ask;
        self.world.set_body(body);
        let inbound = Inbound::parse(&head);
        let (origin, path, query) = split_url(inbound.url);
        let gateway = Gateway {
            settings: &self.settings,
            view: &self.view,
            store: &self.store,
            world: &self.world,
        };
        let finished = if path == TOKEN_PATH {
            block_on(gateway.exchange_token(&inbound, origin))
        } else if let Some(name) = path.strip_prefix(HOOKS_PREFIX) {
            block_on(gateway.receive_hook(&inbound, origin, name))
        } else if let Some(path) = below_prefix(path) {
            block_on(gateway.serve(&inbound, origin, RawTarget { path, query }))
        } else {
            let path = path.strip_prefix(API_PREFIX).unwrap();
            block_on(gateway.serve_api(&inbound, origin, path, query))
        };
        self.world.check_script_is_used_up();
        Answered::of(finished)
    }

    pub(crate) fn write_down(&self, after: &[After]) {
        for after in after {
            // As in the Worker, what fails here is logged and found by the scheduler.
            let _ = match after {
                After::Outcome(row) => block_on(self.store.record_outcome(row, self.now())),
                After::Settled(row) => block_on(self.store.record_settled(row, self.now())),
                After::Event(event) => {
                    block_on(self.store.record_events(std::slice::from_ref(event)))
                }
                After::KeyUse(key, at) => block_on(self.store.note_key_use(&[(*key, *at)])),
                After::Unlock(lease) => {
                    block_on(self.world.unlock_zone(lease));
                    Ok(())
                }
            };
        }
    }

    /// The audit log, newest first, without what [`Keeper::event`] made.
    pub(crate) fn audit(&self) -> Vec<Entry> {
        let filter = AuditFilter {
            limit: 1000,
            ..AuditFilter::default()
        };
        let mut entries = block_on(self.store.audit(&filter)).unwrap().entries;
        entries.retain(|entry| entry.operation != "test");
        entries
    }

    /// The newest entry of the audit log.
    pub(crate) fn last_entry(&self) -> Entry {
        self.audit().into_iter().next().unwrap()
    }
}
