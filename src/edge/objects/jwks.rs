//! The object of one issuer of tokens, or of Cloudflare Access: it alone fetches the issuer's keys.
//!
//! Keyed by [`crate::identity::KeySource::name`]. Stores one text under `memory`: the key set as it was
//! published, when the fetch of it was sent, and when the last one was tried, which is stored before it
//! is sent. Takes one question a request and answers it; who asks while a fetch is under way waits for
//! the same one. Nothing is lost with the object but a fetch.

use worker::wasm_bindgen::JsCast as _;
use worker::{DurableObject, Env, Request, Response, State, Storage, durable_object, wasm_bindgen};

use crate::edge::bridge::{self, DEADLINE, TOO_LARGE, fault_of};
use crate::edge::clock;
use crate::edge::isolate::Isolate;
use crate::edge::outbound::settle;
use crate::identity::{Fetcher, Keeper, KeeperWorld};
use crate::model::Timestamp;
use worker::js_sys::Uint8Array;

/// The key of all that is stored.
const MEMORY: &str = "memory";
/// Milliseconds an issuer has for each of two documents.
const FETCH_DEADLINE_MS: u32 = 5_000;

/// The class that `wrangler.toml` binds as `JWKS`.
#[durable_object(alarm)]
pub struct Jwks {
    keeper: Keeper<ObjectWorld>,
    env: Env,
}

impl DurableObject for Jwks {
    fn new(state: State, env: Env) -> Self {
        let storage = state.storage();
        Self {
            keeper: Keeper::new(ObjectWorld { storage }),
            env,
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let question = request.text().await?;
        // Without settings nothing is taken for local, so the stricter rule holds.
        let is_local = Isolate::of(&self.env).is_ok_and(|isolate| isolate.settings.is_local);
        Response::ok(self.keeper.answer(&question, is_local).await)
    }

    /// None is ever set; without this one that came all the same would be a trap.
    async fn alarm(&self) -> worker::Result<Response> {
        Response::ok("")
    }
}

/// The runtime as the object sees it.
struct ObjectWorld {
    storage: Storage,
}

impl Fetcher for ObjectWorld {
    async fn fetch(&self, url: &str, cap: usize) -> Result<Vec<u8>, String> {
        let cap = u32::try_from(cap).unwrap_or(u32::MAX);
        let value = settle(bridge::fetch_public(url, cap, FETCH_DEADLINE_MS)).await;
        match fault_of(&value) {
            None => Ok(value.unchecked_into::<Uint8Array>().to_vec()),
            Some(TOO_LARGE) => Err(format!("it answered with more than {cap} bytes")),
            Some(DEADLINE) => Err("it did not answer in time".to_owned()),
            Some(status @ 100..) => Err(format!("it answered with status {status}")),
            Some(_) => Err("the connection to it failed".to_owned()),
        }
    }
}

impl KeeperWorld for ObjectWorld {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn load(&self) -> Result<Option<String>, String> {
        let saved = self.storage.get::<String>(MEMORY).await;
        saved.map_err(|error| error.to_string())
    }

    async fn save(&self, text: String) -> Result<(), String> {
        let saved = self.storage.put_raw(MEMORY, text).await;
        saved.map_err(|error| error.to_string())
    }
}
