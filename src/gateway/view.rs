//! What an isolate holds of configuration and keys, and for how long it may believe it.
//!
//! The rule: a copy may be used until 5 s after the moment the read of it was *sent*; then it is
//! read again from the primary, and if that fails the call is refused. So a revocation, or a change
//! of grants, holds everywhere within 5 s of being stored.
//! INVARIANT: only values are kept here, never a future or stream of some request.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::audit::key_credential;
use crate::config::document::{Principal, PrincipalKind, ReadRecording};
use crate::identity::{Credential, Digest, Key, KeyId, KeyRecord, KeyRing, KeyState, rule_digest};
use crate::model::{AccountId, Timestamp, ZoneId};
use crate::policy::{Policy, PrincipalId, compile};
use crate::settings::Settings;
use crate::store::{Control, Database, Store, StoreError, StoredConfig};

/// How long a copy may be used, from the moment the read of it was sent.
pub const MAX_AGE_MS: i64 = 5_000;
/// From this age on it is read again in the background, so that calls seldom wait for it.
const REFRESH_AGE_MS: i64 = 2_000;
/// Keys kept at most; beyond that all are dropped and read again as they are used.
const MAX_KEYS: usize = 5_000;

/// One configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    /// Its version.
    pub version: i64,
    /// What it allows.
    pub policy: Policy,
    /// What it says, as stored.
    pub config: StoredConfig,
    zone_names: BTreeMap<ZoneId, String>,
    account_names: BTreeMap<AccountId, String>,
}

impl Snapshot {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it cannot be compiled.
    pub fn new(config: StoredConfig) -> Result<Self, StoreError> {
        let policy = compile(&config.document, &config.resolution).map_err(|error| {
            StoreError::Corrupt(format!("config version {}: {error}", config.version))
        })?;
        let mut zone_names = BTreeMap::new();
        for zone in config.resolution.zones.values() {
            zone_names.insert(zone.id, zone.name.clone());
        }
        let mut account_names = BTreeMap::new();
        for account in config.resolution.accounts.values() {
            account_names.insert(account.id, account.name.clone());
        }
        Ok(Self {
            version: config.version,
            policy,
            config,
            zone_names,
            account_names,
        })
    }

    /// The name of a zone that the configuration names.
    #[must_use]
    pub fn zone_name(&self, id: ZoneId) -> Option<&str> {
        self.zone_names.get(&id).map(String::as_str)
    }

    /// The zone of this name, if the configuration uses it.
    #[must_use]
    pub fn zone_named(&self, name: &str) -> Option<ZoneId> {
        self.zone_names
            .iter()
            .find_map(|(id, known)| known.eq_ignore_ascii_case(name).then_some(*id))
    }

    /// The name of an account that the configuration names.
    #[must_use]
    pub fn account_name(&self, id: AccountId) -> Option<&str> {
        self.account_names.get(&id).map(String::as_str)
    }

    /// Whether reads wait for their audit row.
    #[must_use]
    pub fn reads_are_sync(&self) -> bool {
        self.config.document.audit.reads == ReadRecording::Sync
    }

    /// The principal called `name`, as the document has it.
    #[must_use]
    pub fn principal_named(&self, name: &str) -> Option<&Principal> {
        let mut principals = self.config.document.principals.iter();
        principals.find(|principal| principal.name == name)
    }

    /// The kind of the principal called `name`.
    #[must_use]
    pub fn kind_of(&self, name: &str) -> Option<PrincipalKind> {
        self.principal_named(name).map(|principal| principal.kind)
    }

    /// Whether the principal of a key is still one that has such keys: one that was minted by hand is of
    /// a principal of the kind `key`; one that a token was exchanged for ends as soon as such tokens are
    /// no longer the principal's.
    fn accepts(&self, key: &KeyRecord) -> bool {
        let Some(principal) = self.principal_named(&key.principal) else {
            return false;
        };
        match (&key.login, principal.kind) {
            (None, PrincipalKind::Key) => true,
            (Some(login), PrincipalKind::Oidc) => login.rule == rule_digest(principal),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Held {
    snapshot: Rc<Snapshot>,
    control: Control,
    read_sent_at: Timestamp,
}

#[derive(Debug, Clone)]
struct HeldKey {
    record: Rc<KeyRecord>,
    principal: PrincipalId,
    name: Rc<str>,
    use_noted_at: Option<Timestamp>,
}

/// An isolate's copy of what decides.
#[derive(Debug, Default)]
pub struct View {
    held: RefCell<Option<Held>>,
    keys: RefCell<BTreeMap<KeyId, HeldKey>>,
    zone_names: RefCell<BTreeMap<ZoneId, String>>,
    ruleset_phases: RefCell<BTreeMap<String, String>>,
    credential_groups: RefCell<Option<BTreeSet<String>>>,
    credential_asked_at: Cell<Option<Timestamp>>,
    refresh_sent_at: RefCell<Option<Timestamp>>,
    issuer_keys: KeyRing,
}

/// An authenticated caller, or one that is only supposed to ask what it might do.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its place in the policy it was looked up in.
    pub principal: PrincipalId,
    /// Its name.
    pub name: Rc<str>,
    /// Its key; `None` when nobody called, or a person did.
    pub key: Option<Rc<KeyRecord>>,
}

impl Caller {
    /// How it proved itself, for the audit log.
    #[must_use]
    pub fn credential(&self) -> String {
        self.key.as_ref().map_or_else(String::new, |key| {
            let behind = key.login.as_ref().map(|login| login.behind.as_str());
            key_credential(key.id.as_str(), behind)
        })
    }
}

impl View {
    /// The snapshot, if it may still be used at `now`.
    #[must_use]
    pub fn fresh(&self, now: Timestamp) -> Option<Rc<Snapshot>> {
        let held = self.held.borrow();
        let held = held.as_ref()?;
        let age = now.ms_since(held.read_sent_at);
        (0..MAX_AGE_MS)
            .contains(&age)
            .then(|| Rc::clone(&held.snapshot))
    }

    /// Whether a background refresh should start at `now`; says so once in a while only.
    pub fn refresh_due(&self, now: Timestamp) -> bool {
        let due = self
            .held
            .borrow()
            .as_ref()
            .is_some_and(|held| now.ms_since(held.read_sent_at) >= REFRESH_AGE_MS);
        let mut sent = self.refresh_sent_at.borrow_mut();
        let waiting = sent.is_some_and(|at| (0..1_000).contains(&now.ms_since(at)));
        if due && !waiting {
            *sent = Some(now);
        }
        due && !waiting
    }

    /// The snapshot to use at `now`, read again if the one held is too old.
    ///
    /// # Errors
    /// [`StoreError`] when it would have to be read again and cannot be.
    pub async fn current<D: Database>(
        &self,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Rc<Snapshot>, StoreError> {
        match self.fresh(now) {
            Some(snapshot) => Ok(snapshot),
            None => self.refresh(store, now).await,
        }
    }

    /// Reads again what is current; `now` is the moment of sending. The schema is brought up to
    /// date where that is due.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read; what is held stays as old as it was.
    pub async fn refresh<D: Database>(
        &self,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Rc<Snapshot>, StoreError> {
        let control = match store.control().await {
            Err(StoreError::NotMigrated) => {
                store.migrate(now).await?;
                store.control().await?
            }
            other => other?,
        };
        let unchanged = self
            .held
            .borrow()
            .as_ref()
            .filter(|held| held.control.config_version == control.config_version)
            .map(|held| Rc::clone(&held.snapshot));
        let snapshot = match unchanged {
            Some(snapshot) => snapshot,
            None => Rc::new(Snapshot::new(store.current_config().await?)?),
        };
        Ok(self.adopt(snapshot, control, now))
    }

    /// Takes over what was read by a call sent at `sent_at`, unless a later read is held: answers may
    /// come in another order than their questions. Returns what is held then.
    fn adopt(&self, snapshot: Rc<Snapshot>, control: Control, sent_at: Timestamp) -> Rc<Snapshot> {
        let mut held = self.held.borrow_mut();
        // Both numbers only rise, so they tell which of two reads saw more, whatever the clock says.
        if let Some(later) = held.as_ref().filter(|held| {
            held.control.config_version > snapshot.version
                || held.control.keys_generation > control.keys_generation
        }) {
            return Rc::clone(&later.snapshot);
        }
        // Of two reads that saw the same, the one sent later counts; but a moment that lies far
        // ahead is one of a clock that jumped back since.
        let sent_at = match held.as_ref().map(|held| held.read_sent_at) {
            Some(other) if (0..MAX_AGE_MS).contains(&other.ms_since(sent_at)) => other,
            _ => sent_at,
        };
        let keys_hold = held.as_ref().is_some_and(|held| {
            held.control.keys_generation == control.keys_generation
                && held.snapshot.version == snapshot.version
        });
        if !keys_hold {
            self.keys.borrow_mut().clear();
        }
        let control = Control {
            config_version: snapshot.version,
            ..control
        };
        *held = Some(Held {
            snapshot: Rc::clone(&snapshot),
            control,
            read_sent_at: sent_at,
        });
        snapshot
    }

    /// Finds out whose key a credential is; `None` when it is no key of ours, unknown, revoked,
    /// expired, or of a principal that is gone. Callers are told the same in every case.
    ///
    /// 1. What cannot be a key is not accepted.
    /// 2. A key that is held is compared at once; another is looked up, which takes one round trip
    ///    whether it exists or not.
    /// 3. The digests are compared in constant time, also for a key that does not exist.
    /// 4. The key must be active and its principal one of the configuration that uses keys.
    ///
    /// # Errors
    /// [`StoreError`] when the key would have to be looked up and cannot be.
    pub async fn authenticate<D: Database>(
        &self,
        credential: Credential<'_>,
        snapshot: &Rc<Snapshot>,
        settings: &Settings,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        let Ok(key) = Key::parse(credential.expose()) else {
            return Ok(None); // (1)
        };
        let digest = key.digest(&settings.pepper);
        let held = self.held_key(key.id(), snapshot, store, now).await?; // (2)
        let stored = held
            .as_ref()
            .map_or_else(|| settings.pepper.digest(""), |held| held.record.digest);
        let matches = digest.matches(&stored); // (3)
        Ok(match held {
            Some(held) if matches && held.record.state(now) == KeyState::Active => {
                Some(Caller {
                    principal: held.principal,
                    name: held.name,
                    key: Some(held.record),
                }) // (4)
            }
            _ => None,
        })
    }

    /// The caller whose key `id` is, where something else showed that it calls; `None` when the key
    /// or its principal is gone.
    ///
    /// # Errors
    /// [`StoreError`] when the key would have to be looked up and cannot be.
    pub async fn holder<D: Database>(
        &self,
        id: KeyId,
        snapshot: &Rc<Snapshot>,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Option<Caller>, StoreError> {
        let held = self.held_key(id, snapshot, store, now).await?;
        let held = held.filter(|held| held.record.state(now) == KeyState::Active);
        Ok(held.map(|held| Caller {
            principal: held.principal,
            name: held.name,
            key: Some(held.record),
        }))
    }

    async fn held_key<D: Database>(
        &self,
        id: KeyId,
        snapshot: &Rc<Snapshot>,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Option<HeldKey>, StoreError> {
        let held = self.keys.borrow().get(&id).cloned();
        match held {
            Some(held) => Ok(Some(held)),
            None => self.look_up(id, snapshot, store, now).await,
        }
    }

    async fn look_up<D: Database>(
        &self,
        id: KeyId,
        snapshot: &Rc<Snapshot>,
        store: &Store<D>,
        now: Timestamp,
    ) -> Result<Option<HeldKey>, StoreError> {
        let (record, control) = store.key(id).await?;
        let Some(record) = record else {
            return Ok(None);
        };
        if !snapshot.accepts(&record) {
            return Ok(None);
        }
        let Some(principal) = snapshot.policy.principal(&record.principal) else {
            return Ok(None);
        };
        let name = Rc::from(record.principal.as_str());
        let held = HeldKey {
            record: Rc::new(record),
            principal,
            name,
            use_noted_at: None,
        };
        let is_current = self.held.borrow().as_ref().is_some_and(|now_held| {
            now_held.snapshot.version == snapshot.version
                && now_held.control == control
                && now.ms_since(now_held.read_sent_at) >= 0
        });
        // A key read at another generation than the rest is used once and not kept.
        if is_current {
            let mut keys = self.keys.borrow_mut();
            if keys.len() >= MAX_KEYS {
                keys.clear();
            }
            keys.insert(id, held.clone());
        }
        Ok(Some(held))
    }

    /// Whether the use of a key at `now` is worth a row: once in ten minutes for each isolate.
    pub fn note_use(&self, id: KeyId, now: Timestamp) -> bool {
        const EVERY_MS: i64 = 600_000;
        let mut keys = self.keys.borrow_mut();
        let Some(held) = keys.get_mut(&id) else {
            return false;
        };
        let noted = held.use_noted_at.or(held.record.last_used_at);
        let due = noted.is_none_or(|at| now.ms_since(at) >= EVERY_MS);
        if due {
            held.use_noted_at = Some(now);
        }
        due
    }

    /// The keys of issuers that are held. They have an age of their own, whatever the configuration says.
    #[must_use]
    pub const fn issuer_keys(&self) -> &KeyRing {
        &self.issuer_keys
    }

    /// A zone's name as learnt from upstream.
    #[must_use]
    pub fn learnt_zone_name(&self, id: ZoneId) -> Option<String> {
        self.zone_names.borrow().get(&id).cloned()
    }

    /// Keeps a zone's name; it never changes for an id.
    pub fn learn_zone_name(&self, id: ZoneId, name: String) {
        let mut names = self.zone_names.borrow_mut();
        if names.len() >= MAX_KEYS {
            names.clear();
        }
        names.insert(id, name);
    }

    /// A ruleset's phase as learnt from upstream.
    #[must_use]
    pub fn ruleset_phase(&self, id: &str) -> Option<String> {
        self.ruleset_phases.borrow().get(id).cloned()
    }

    /// Keeps a ruleset's phase; it never changes for an id.
    pub fn learn_ruleset_phase(&self, id: String, phase: String) {
        let mut phases = self.ruleset_phases.borrow_mut();
        if phases.len() >= MAX_KEYS {
            phases.clear();
        }
        phases.insert(id, phase);
    }

    /// Whether it is time to ask what the upstream token may do: once in `every_ms`, whatever comes of
    /// it, as anybody can make us ask.
    pub fn credential_ask_due(&self, now: Timestamp, every_ms: i64) -> bool {
        let asked = self.credential_asked_at.get();
        let due = asked.is_none_or(|at| !(0..every_ms).contains(&now.ms_since(at)));
        if due {
            self.credential_asked_at.set(Some(now));
        }
        due
    }

    /// The permission groups of the upstream token, where Cloudflare told.
    #[must_use]
    pub fn credential_groups(&self) -> Option<BTreeSet<String>> {
        self.credential_groups.borrow().clone()
    }

    /// Keeps the permission groups of the upstream token; none where they may not be seen.
    pub fn learn_credential_groups(&self, groups: Option<BTreeSet<String>>) {
        *self.credential_groups.borrow_mut() = groups;
    }

    /// Forgets everything, so that the next call reads anew: after a change made by this isolate.
    pub fn forget(&self) {
        *self.held.borrow_mut() = None;
        self.keys.borrow_mut().clear();
    }
}

/// Digests of the root key and a candidate are compared, so that lengths do not show either.
#[must_use]
pub fn is_root_key(credential: Credential<'_>, settings: &Settings) -> bool {
    let digest = |text: &str| -> Digest { settings.pepper.digest(text) };
    settings
        .root_key
        .as_ref()
        .is_some_and(|root| digest(root.expose()).matches(&digest(credential.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_reads_whose_answers_cross_the_later_is_held_and_both_are_served() {
        let read = |version| {
            let config = StoredConfig {
                version,
                document: Rc::default(),
                resolution: Rc::default(),
                toml: None,
            };
            let control = Control {
                config_version: version,
                keys_generation: 0,
            };
            (Rc::new(Snapshot::new(config).unwrap()), control)
        };
        let view = View::default();
        let (first, first_control) = read(1);
        let (second, second_control) = read(2);
        let sent = Timestamp::from_unix_ms(1_000_000);
        let later = sent.plus_ms(3);
        assert_eq!(view.adopt(second, second_control, later).version, 2);
        assert_eq!(view.adopt(first, first_control, sent).version, 2);
        assert_eq!(view.fresh(later).unwrap().version, 2);
    }
}
