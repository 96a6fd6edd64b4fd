//! What an isolate keeps between requests: settings, the view of configuration and keys, numbers
//! for audit entries, events that wait for their batch. Plain data, and the bindings of `env`.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::JsValue;
use worker::js_sys::Reflect;
use worker::{D1Database, Env};

use super::bridge;
use super::database::D1;
use super::meter::Meter;
use super::recorder::Recorder;
use crate::gateway::{FORWARDED_HEADERS, OWN_HEADER_PREFIX, READ_HEADERS, RELAYED_HEADERS, View};
use crate::model::{EntryIds, Secret};
use crate::settings::{RawSettings, Settings, UpstreamCredential};
use crate::store::Store;

/// What every request of an isolate shares.
#[derive(Debug)]
pub(super) struct Isolate {
    pub(super) settings: Settings,
    pub(super) view: View,
    pub(super) store: Store<D1>,
    pub(super) entry_ids: RefCell<EntryIds>,
    pub(super) recorder: Recorder,
    /// The bindings, for what is done in JavaScript.
    pub(super) env: JsValue,
}

thread_local! {
    static ISOLATE: RefCell<Option<Rc<Isolate>>> = const { RefCell::new(None) };
}

impl Isolate {
    /// The isolate's state, made of `env` on the first request.
    ///
    /// # Errors
    /// A sentence that names the var, secret or binding that is wrong, without its value.
    pub(super) fn of(env: &Env) -> Result<Rc<Self>, String> {
        if let Some(isolate) = ISOLATE.with_borrow(Clone::clone) {
            return Ok(isolate);
        }
        let isolate = Rc::new(Self::new(env)?);
        ISOLATE.set(Some(Rc::clone(&isolate)));
        Ok(isolate)
    }

    fn new(env: &Env) -> Result<Self, String> {
        let settings = Settings::try_from(read(env)).map_err(|error| error.to_string())?;
        let database = database(env)?;
        for binding in ["BLOBS", "JWKS", "RUNS", "ZONES"] {
            let value = Reflect::get(env.as_ref(), &binding.into());
            if !value.is_ok_and(|value| value.is_object()) {
                return Err(format!("the binding {binding} is missing"));
            }
        }
        bridge::configure(
            &FORWARDED_HEADERS.join(","),
            &READ_HEADERS.join(","),
            OWN_HEADER_PREFIX,
            &RELAYED_HEADERS.join(","),
            &credential_json(&settings.credential),
        );
        Ok(Self {
            settings,
            view: View::default(),
            store: Store::new(D1::new(database, Meter::default())),
            env: JsValue::from(env.clone()),
            entry_ids: RefCell::default(),
            recorder: Recorder::default(),
        })
    }
}

/// The database binding.
///
/// # Errors
/// A sentence that names it.
pub(super) fn database(env: &Env) -> Result<D1Database, String> {
    env.d1("DB")
        .map_err(|_| "the D1 binding DB is missing".to_owned())
}

fn credential_json(credential: &UpstreamCredential) -> String {
    match credential {
        UpstreamCredential::Token(token) => {
            serde_json::json!({"authorization": format!("Bearer {}", token.expose())})
        }
        UpstreamCredential::Legacy { email, key } => {
            serde_json::json!({"x-auth-email": email, "x-auth-key": key.expose()})
        }
    }
    .to_string()
}

/// Reads vars and secrets; both come by the same door.
fn read(env: &Env) -> RawSettings {
    let var = |name: &str| env.var(name).ok().map(|value| value.to_string());
    let secret = |name: &str| {
        env.secret(name)
            .ok()
            .map(|value| Secret::new(value.to_string()))
    };
    RawSettings {
        upstream_base_url: var("UPSTREAM_BASE_URL"),
        api_token: secret("CLOUDFLARE_API_TOKEN"),
        email: var("CLOUDFLARE_EMAIL"),
        api_key: secret("CLOUDFLARE_API_KEY"),
        root_key: secret("ROOT_KEY"),
        key_pepper: secret("KEY_PEPPER"),
        own_account_id: var("OWN_ACCOUNT_ID"),
        own_script_name: var("OWN_SCRIPT_NAME"),
        own_d1_id: var("OWN_D1_ID"),
        own_d1_name: var("OWN_D1_NAME"),
        own_kv_id: var("OWN_KV_ID"),
        own_queue_ids: var("OWN_QUEUE_IDS"),
        own_hostnames: var("OWN_HOSTNAMES"),
        access_team_domain: var("ACCESS_TEAM_DOMAIN"),
        access_aud: var("ACCESS_AUD"),
    }
}
