//! Callers of the gateway over the lab: every call meets the simulator, and every effect can fail.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pollster::block_on;
use serde_json::Value;
use simulator::LedgerEntry;
use zonekeeper::api::API_PREFIX;
use zonekeeper::audit::Entry;
use zonekeeper::gateway::{After, Finished, Inbound, RawTarget, Reply, World, split_url};
use zonekeeper::store::{AuditFilter, Store};

use super::harness::{Harness, LabGateway};
use super::keeper::ROOT;
use super::lab::database::LabDatabase;
use super::lab::queue::Unacked;
use super::motor::EngineMotor;

/// What a caller gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }

    /// The status, and the code of the first error.
    pub(crate) fn refused(&self) -> (u16, u64) {
        let code = self.json()["errors"][0]["code"].as_u64();
        (self.status, code.unwrap_or_default())
    }

    pub(crate) fn message(&self) -> String {
        let json = self.json();
        json["errors"][0]["message"]
            .as_str()
            .unwrap_or_else(|| panic!("{json}"))
            .to_owned()
    }

    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["result"].clone()
    }
}

/// A gateway with callers.
pub(crate) struct Gate {
    pub(crate) harness: Harness,
    keys: RefCell<BTreeMap<String, String>>,
}

impl Gate {
    /// One with this configuration in force, which answers at these host names.
    pub(crate) fn new(config: &str, hosts: &[&str]) -> Self {
        let mut harness = Harness::new(Box::new(EngineMotor), Unacked::Redelivered);
        let own = harness.settings.own.as_mut().unwrap();
        own.hostnames = hosts.iter().map(ToString::to_string).collect();
        harness.apply(config);
        Self {
            harness,
            keys: RefCell::default(),
        }
    }

    fn key(&self, principal: &str) -> String {
        if let Some(key) = self.keys.borrow().get(principal) {
            return key.clone();
        }
        let target = format!("{API_PREFIX}/principals/{principal}/keys");
        let got = self.send("POST", &target, ROOT, ("application/json", b"{}"));
        let key = got.json()["result"]["key"].as_str().unwrap().to_owned();
        self.keys
            .borrow_mut()
            .insert(principal.to_owned(), key.clone());
        key
    }

    /// A call of our own API with the root key.
    pub(crate) fn root(&self, method: &str, path: &str, body: &Value) -> Got {
        let target = format!("{API_PREFIX}{path}");
        let body = body.to_string();
        self.send(method, &target, ROOT, ("application/json", body.as_bytes()))
    }

    /// A call of `principal`, such as `PATCH /zones/…`, with a JSON body.
    pub(crate) fn call(&self, principal: &str, line: &str, body: &Value) -> Got {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.call_with(principal, line, "application/json", body.as_bytes())
    }

    /// The same with any body.
    pub(crate) fn call_with(
        &self,
        principal: &str,
        line: &str,
        content_type: &str,
        body: &[u8],
    ) -> Got {
        let (method, path) = line.split_once(' ').unwrap();
        let key = self.key(principal);
        let target = format!("/client/v4{path}");
        self.send(method, &target, &key, (content_type, body))
    }

    fn send(&self, method: &str, target: &str, key: &str, body: (&str, &[u8])) -> Got {
        let event = self
            .harness
            .event(async |gateway| serve(gateway, method, target, key, body).await);
        event.unwrap()
    }

    /// A call that another isolate serves while the first one is in the middle of something.
    pub(crate) fn next_door(&self, principal: &str, line: &str, body: &Value) -> Got {
        let (method, path) = line.split_once(' ').unwrap();
        let (key, target) = (self.key(principal), format!("/client/v4{path}"));
        let body = body.to_string();
        let got = RefCell::new(None);
        self.harness.next_door(async |gateway| {
            let body = ("application/json", body.as_bytes());
            *got.borrow_mut() = Some(serve(gateway, method, &target, &key, body).await);
        });
        got.into_inner().unwrap()
    }

    /// Every call that reached Cloudflare and may have changed something, as `METHOD path`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let ledger = self.ledger().into_iter();
        ledger
            .filter(|entry| entry.method != "GET")
            .map(|entry| format!("{} {}", entry.method, entry.path))
            .collect()
    }

    /// Every call that reached Cloudflare.
    pub(crate) fn ledger(&self) -> Vec<LedgerEntry> {
        self.harness.outside.network.borrow().lab.ledger()
    }

    /// The body of the last call that reached Cloudflare.
    pub(crate) fn last_body(&self) -> String {
        let body = self.ledger().pop().unwrap().body;
        String::from_utf8(body).unwrap()
    }

    /// A call past the gateway; the result.
    pub(crate) fn by_hand(&self, line: &str, body: &Value) -> Value {
        let (method, path) = line.split_once(' ').unwrap();
        let outside = &self.harness.outside;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answered = outside.network.borrow_mut().call(
            &outside.clock,
            method,
            &format!("{path}?by_hand"),
            body.as_bytes(),
        );
        let json: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(json["success"], true, "{line}: {json}");
        json["result"].clone()
    }

    /// The newest entry of the audit log.
    pub(crate) fn last_entry(&self) -> Entry {
        let store = Store::new(LabDatabase::new(&self.harness.outside));
        let filter = AuditFilter {
            limit: 1,
            ..AuditFilter::default()
        };
        block_on(store.audit(&filter)).unwrap().entries.remove(0)
    }
}

/// Serves one request and writes down what is left to write down, as the Worker does.
async fn serve(
    gateway: LabGateway<'_>,
    method: &str,
    target: &str,
    key: &str,
    (content_type, body): (&str, &[u8]),
) -> Got {
    let url = format!("https://zk.example.org{target}");
    let head = format!("{method}\n{url}\nauthorization:Bearer {key}\ncontent-type:{content_type}");
    let inbound = Inbound::parse(&head);
    let world = gateway.world;
    world.set_body(Ok(body.to_vec()));
    world.set_content_type(content_type);
    let (origin, path, query) = split_url(inbound.url);
    let finished = if let Some(path) = path.strip_prefix(API_PREFIX) {
        gateway.serve_api(&inbound, origin, path, query).await
    } else {
        let path = path.strip_prefix("/client/v4").unwrap();
        let raw = RawTarget { path, query };
        gateway.serve(&inbound, origin, raw).await
    };
    let Finished { reply, after } = finished;
    for after in after {
        let store = gateway.store;
        // As in the Worker, what fails here is found by the tick.
        let _ = match after {
            After::Outcome(row) => store.record_outcome(&row, world.now()).await,
            After::Settled(row) => store.record_settled(&row, world.now()).await,
            After::Event(event) => store.record_events(std::slice::from_ref(&event)).await,
            After::KeyUse(key, at) => store.note_key_use(&[(key, at)]).await,
            After::Unlock(lease) => {
                world.unlock_zone(&lease).await;
                Ok(())
            }
        };
    }
    match reply {
        Reply::Own { status, body, .. } => Got {
            status: status.as_u16(),
            text: body,
        },
        Reply::Relayed { response, body, .. } => Got {
            status: response.status,
            text: String::from_utf8(body.unwrap_or(response.body)).unwrap(),
        },
    }
}
