//! The simulated account's whole state, and what a handler gets to see of one call.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Map, Value};

use crate::accounts::Account;
use crate::api::ApiError;
use crate::auth::Credential;
use crate::clock::Now;
use crate::d1::Databases;
use crate::dns::ZoneRecords;
use crate::hosts::{GitHub, Sites};
use crate::ids::Ids;
use crate::invocations::Invocations;
use crate::kv::Namespaces;
use crate::lists::Lists;
use crate::objects::Objects;
use crate::oidc::Issuers;
use crate::purge::{Buckets, Purged};
use crate::query::Query;
use crate::queues::Queues;
use crate::r2;
use crate::rulesets::Rulesets;
use crate::settings::Settings;
use crate::tokens::Tokens;
use crate::workers::Workers;
use crate::zones::{Zone, Zones};

/// Everything that `POST /__sim/reset` seeds anew.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) ids: Ids,
    pub(crate) accounts: Vec<Account>,
    pub(crate) zones: Zones,
    pub(crate) purge: Buckets,
    pub(crate) issuers: Issuers,
    pub(crate) objects: Objects,
    pub(crate) rulesets: Rulesets,
    pub(crate) settings: Settings,
    pub(crate) lists: Lists,
    pub(crate) tokens: Tokens,
    /// What was purged, where somebody reads it: a server that runs for long keeps no journal.
    pub(crate) purged: Option<Vec<Purged>>,
    pub(crate) workers: Workers,
    pub(crate) kv: Namespaces,
    pub(crate) d1: Databases,
    pub(crate) r2: r2::Buckets,
    pub(crate) queues: Queues,
    pub(crate) sites: Sites,
    pub(crate) invocations: Invocations,
    pub(crate) github: GitHub,
}

/// One authenticated and routed call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) now: Now,
    pub(crate) credential: Credential,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) params: Vec<(&'static str, String)>,
    pub(crate) query: Query,
    pub(crate) body: &'a Bytes,
}

impl Call<'_> {
    /// A path parameter; empty when the template has none of that name.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, v)| v.as_str())
    }

    /// The id of the path's account, for operations on something inside it.
    pub(crate) fn account(&self) -> Result<String, ApiError> {
        let id = self.param("account_id");
        let known = self.world.accounts.iter().any(|account| account.id == id);
        known.then(|| id.to_owned()).ok_or_else(ApiError::forbidden)
    }

    /// The zone of the path, for operations on something inside it.
    pub(crate) fn zone(&self) -> Result<&Zone, ApiError> {
        self.world
            .zones
            .get(self.param("zone_id"))
            .ok_or_else(ApiError::forbidden)
    }

    /// The id of the path's account or zone, once it is known to exist.
    pub(crate) fn place(&self) -> Result<&str, ApiError> {
        match self.param("account_id") {
            "" => self.zone().map(|zone| zone.id.as_str()),
            id => self
                .world
                .accounts
                .iter()
                .find(|account| account.id == id)
                .map(|account| account.id.as_str())
                .ok_or_else(ApiError::forbidden),
        }
    }

    /// The DNS records of the path's zone.
    pub(crate) fn records(&mut self) -> Result<&mut ZoneRecords, ApiError> {
        let id = self.param("zone_id").to_owned();
        self.world
            .zones
            .get_mut(&id)
            .map(|zone| &mut zone.records)
            .ok_or_else(ApiError::forbidden)
    }

    /// The body as JSON, whatever its content type says.
    pub(crate) fn json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(self.body)
            .map_err(|_| ApiError::body("Malformed JSON in request body"))
    }

    /// The body as a JSON object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, ApiError> {
        match self.json()? {
            Value::Object(map) => Ok(map),
            _ => Err(ApiError::body("Request body must be a JSON object")),
        }
    }
}
