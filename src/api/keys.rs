//! `principals/{name}/keys`: mint, list, roll, revoke.

use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::envelope::{read_body, success};
use super::serve::{Admitted, change_refusal, store_refusal};
use crate::audit::Action;
use crate::config::document::PrincipalKind;
use crate::gateway::{Code, Gateway, Refusal, Reply};
use crate::identity::{Key, KeyId, KeyRecord, KeyState};
use crate::jobs::Platform;
use crate::model::Timestamp;
use crate::model::typed::object;
use crate::store::Database;

/// Most bytes of a body here.
const BODY_CAP: usize = 64 * 1024;
/// Most characters of a note.
const NOTE_CHARS: usize = 200;
/// Longest overlap of two keys: thirty days.
const MAX_OVERLAP_SECS: u32 = 30 * 86_400;

/// The kinds of principals that have keys: minted by hand, or issued for tokens.
const HAVE_KEYS: &[PrincipalKind] = &[PrincipalKind::Key, PrincipalKind::Oidc];

object! {
    struct Mint {
        expires_on: Option<Timestamp> = default,
        note: Option<String> = default,
        legacy: bool = default,
    }
}

object! {
    struct Roll {
        overlap_secs: u32 = default,
    }
}

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// `POST /principals/{name}/keys` `{expires_on?, note?, legacy?}` → `{id, key, expires_on}`, the
    /// only time the key is seen.
    pub(super) async fn mint_key(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
    ) -> Result<Reply<W::Response>, Refusal> {
        let body: Mint = read_body(&self.api_body(call, BODY_CAP).await?)?;
        let now = self.world.now();
        if body.expires_on.is_some_and(|at| at <= now) {
            return Err(Refusal::new(
                Code::InvalidParams,
                "The field `expires_on` must be in the future.",
            ));
        }
        if body
            .note
            .as_ref()
            .is_some_and(|note| note.chars().count() > NOTE_CHARS)
        {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!("The field `note` may have at most {NOTE_CHARS} characters."),
            ));
        }
        self.check_uses_keys(name, &[PrincipalKind::Key]).await?;
        let (key, record) = self.new_key(name, body.legacy, body.expires_on, body.note, now)?;
        let action = Action::new(format!("mint key {} for {name}", key.id()));
        let event = self.change_event(call, "zonekeeper-key-mint", admitted, action);
        self.admit_again(call).await?;
        self.store
            .add_key(&record, &event)
            .await
            .map_err(|error| self.change_failed("mint a key", &error))?;
        shown_once(&key, &record)
    }

    /// `GET /principals/{name}/keys`
    pub(super) async fn list_keys(&self, name: &str) -> Result<Reply<W::Response>, Refusal> {
        self.check_uses_keys(name, HAVE_KEYS).await?;
        let now = self.world.now();
        let keys = self
            .store
            .keys_of(name)
            .await
            .map_err(|error| self.failed("list keys", &error))?;
        let shown = keys.iter().map(|key| {
            json!({
                "id": key.id.to_string(),
                "status": match key.state(now) {
                    KeyState::Active => "active",
                    KeyState::Revoked => "revoked",
                    KeyState::Expired => "expired",
                },
                "created_on": key.created_at,
                "expires_on": key.expires_at,
                "revoked_on": key.revoked_at,
                "last_used_on": key.last_used_at,
                "note": key.note,
                "legacy": key.legacy,
                "behind": key.login.as_ref().map(|login| &login.behind),
            })
        });
        let shown = Value::Array(shown.collect());
        success(StatusCode::OK, shown, &[])
    }

    /// `POST /principals/{name}/keys/{id}/roll` `{overlap_secs?}`: a new key in the place of the
    /// old, which goes on working for that long.
    pub(super) async fn roll_key(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
        id: &str,
    ) -> Result<Reply<W::Response>, Refusal> {
        let body: Roll = read_body(&self.api_body(call, BODY_CAP).await?)?;
        if body.overlap_secs > MAX_OVERLAP_SECS {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!("The field `overlap_secs` may be at most {MAX_OVERLAP_SECS}."),
            ));
        }
        let now = self.world.now();
        let old = self.key_of(name, id).await?;
        if old.login.is_some() {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!(
                    "Key {} of {name} was issued for a token, so it cannot be rolled; exchange another token.",
                    old.id
                ),
            ));
        }
        if old.state(now) != KeyState::Active {
            return Err(Refusal::new(
                Code::InvalidParams,
                format!(
                    "Key {} of {name} is no longer active, so it cannot be rolled; mint a new one.",
                    old.id
                ),
            ));
        }
        let (key, record) =
            self.new_key(name, old.legacy, old.expires_at, old.note.clone(), now)?;
        let action = Action::new(format!("roll key {} of {name} to {}", old.id, key.id()));
        let event = self.change_event(call, "zonekeeper-key-roll", admitted, action);
        let ends = now.plus_ms(i64::from(body.overlap_secs) * 1000);
        self.admit_again(call).await?;
        self.store
            .roll_key(old.id, ends, &record, &event)
            .await
            .map_err(|error| self.change_failed("roll a key", &error))?;
        self.view.forget();
        shown_once(&key, &record)
    }

    /// `DELETE /principals/{name}/keys/{id}`: ends a key for good.
    pub(super) async fn revoke_key(
        &self,
        call: &Call<'_>,
        admitted: &Admitted,
        name: &str,
        id: &str,
    ) -> Result<Reply<W::Response>, Refusal> {
        let key = self.key_of(name, id).await?;
        let action = Action::new(format!("revoke key {} of {name}", key.id));
        let event = self.change_event(call, "zonekeeper-key-revoke", admitted, action);
        self.admit_again(call).await?;
        self.store
            .revoke_key(name, key.id, &event, self.world.now())
            .await
            .map_err(|error| self.change_failed("revoke a key", &error))?;
        self.view.forget();
        success(StatusCode::OK, json!({"id": key.id.to_string()}), &[])
    }

    fn failed(&self, what: &str, error: &crate::store::StoreError) -> Refusal {
        self.world.log(&format!("{what}: {error}"));
        store_refusal(error)
    }

    fn change_failed(&self, what: &str, error: &crate::store::StoreError) -> Refusal {
        self.world.log(&format!("{what}: {error}"));
        change_refusal(error)
    }

    /// Only principals of some kinds have keys, and keys are minted for one kind only. Read anew: a
    /// principal just removed through another isolate must not get one.
    async fn check_uses_keys(&self, name: &str, kinds: &[PrincipalKind]) -> Result<(), Refusal> {
        let snapshot = self
            .view
            .refresh(self.store, self.world.now())
            .await
            .map_err(|error| self.failed("read the configuration", &error))?;
        match snapshot.kind_of(name) {
            Some(kind) if kinds.contains(&kind) => Ok(()),
            Some(PrincipalKind::Oidc) => Err(Refusal::new(
                Code::InvalidParams,
                format!(
                    "The principal {name} is of the kind `oidc`: its keys are issued for tokens only."
                ),
            )),
            Some(_) => Err(Refusal::new(
                Code::InvalidParams,
                format!("The principal {name} is not of the kind `key`, so it has no keys."),
            )),
            None => Err(Refusal::new(Code::NotFound, "There is no such principal.")),
        }
    }

    async fn key_of(&self, name: &str, id: &str) -> Result<KeyRecord, Refusal> {
        self.check_uses_keys(name, HAVE_KEYS).await?;
        let missing = || {
            Refusal::new(
                Code::NotFound,
                format!("The principal {name} has no such key."),
            )
        };
        let id: KeyId = id.parse().map_err(|_| missing())?;
        let (record, _) = self
            .store
            .key(id)
            .await
            .map_err(|error| self.failed("read a key", &error))?;
        record
            .filter(|record| record.principal == name)
            .ok_or_else(missing)
    }

    fn new_key(
        &self,
        name: &str,
        legacy: bool,
        expires_at: Option<Timestamp>,
        note: Option<String>,
        now: Timestamp,
    ) -> Result<(Key, KeyRecord), Refusal> {
        let mut random = [0_u8; 50];
        if !self.world.randomize(&mut random) {
            return Err(Refusal::new(
                Code::StoreUnavailable,
                "The runtime gave no random numbers, so no key was minted.",
            ));
        }
        let (head, tail) = random.split_at(30);
        let key = match (head.first_chunk::<30>(), tail.first_chunk::<20>()) {
            (_, Some(random)) if legacy => Key::mint_legacy(random),
            (Some(random), _) => Key::mint(random),
            _ => {
                return Err(Refusal::new(
                    Code::StoreUnavailable,
                    "The runtime gave no random numbers, so no key was minted.",
                ));
            }
        };
        let record = KeyRecord {
            id: key.id(),
            principal: name.to_owned(),
            digest: key.digest(&self.settings.pepper),
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
            note,
            legacy,
            login: None,
        };
        Ok((key, record))
    }
}

fn shown_once<R>(key: &Key, record: &KeyRecord) -> Result<Reply<R>, Refusal> {
    success(
        StatusCode::OK,
        json!({"id": key.id().to_string(), "key": key.expose(), "expires_on": record.expires_at}),
        &[],
    )
}
