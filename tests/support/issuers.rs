//! The simulator's issuers of tokens without a network, the objects that keep their keys, and somebody
//! who checks signatures.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Value, json};
use simulator::Lab;
use zonekeeper::identity::{Fetcher, KeeperWorld, KeySource, PublicKey, Published, question};
use zonekeeper::model::{Timestamp, base64url};

use super::world::Clock;

/// Where the simulator says that it is.
pub(crate) const SIM: &str = "http://127.0.0.1:8788";
/// The issuers the tests use.
pub(crate) const GITHUB: &str = "http://127.0.0.1:8788/__sim/oidc/github";
pub(crate) const GITLAB: &str = "http://127.0.0.1:8788/__sim/oidc/gitlab";
pub(crate) const PLAIN: &str = "http://127.0.0.1:8788/__sim/oidc/plain";

/// Whether `signature` is by `key`; what is no key checks nothing.
pub(crate) fn verify(key: &PublicKey, input: &str, signature: &[u8]) -> Result<bool, String> {
    let bytes = |text: &str| base64url::decode(text).ok_or("not base64url");
    let input = input.as_bytes();
    let checked = match key {
        PublicKey::Rsa { n, e, .. } => {
            let (n, e) = (bytes(n)?, bytes(e)?);
            let key = RsaPublicKeyComponents { n: &n, e: &e };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature)
        }
        PublicKey::P256 { x, y } => {
            let point = [vec![4], bytes(x)?, bytes(y)?].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature)
        }
        PublicKey::Ed25519 { x } => {
            UnparsedPublicKey::new(&ED25519, bytes(x)?).verify(input, signature)
        }
    };
    Ok(checked.is_ok())
}

/// All issuers, and one object for each. Copies are the same ones.
#[derive(Clone)]
pub(crate) struct SimIssuers {
    lab: Rc<RefCell<Lab>>,
    clock: Clock,
    objects: Rc<RefCell<BTreeMap<String, Rc<zonekeeper::identity::Keeper<SimObject>>>>>,
    saved: Rc<RefCell<BTreeMap<String, String>>>,
    fetched: Rc<RefCell<Vec<String>>>,
    is_down: Rc<Cell<bool>>,
}

impl SimIssuers {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            lab: Rc::default(),
            clock,
            objects: Rc::default(),
            saved: Rc::default(),
            fetched: Rc::default(),
            is_down: Rc::default(),
        }
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let now = self.clock.now().unix_ms() * 1_000;
        let answered = self.lab.borrow_mut().call(method, path, &[], body, now);
        (answered.status, answered.body)
    }

    /// Steers an issuer, as the simulator's control surface takes it; the empty name is Access.
    pub(crate) fn steer(&self, issuer: &str, action: &str, body: &Value) -> Value {
        let path = match issuer {
            "" => format!("/__sim/access/{action}"),
            _ => format!("/__sim/oidc/{issuer}/{action}"),
        };
        let (status, body) = self.call("POST", &path, body.to_string().as_bytes());
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A token as ordered.
    pub(crate) fn sign(&self, issuer: &str, order: &Value) -> String {
        let signed = self.steer(issuer, "sign", order);
        signed["token"].as_str().unwrap().to_owned()
    }

    /// A token of GitHub Actions with these claims over the usual ones.
    pub(crate) fn github(&self, claims: &Value) -> String {
        self.sign("github", &json!({"preset": "github", "claims": claims}))
    }

    /// The key set an issuer publishes.
    pub(crate) fn key_set(&self, issuer: &str) -> Vec<u8> {
        let path = format!("/__sim/oidc/{issuer}/jwks");
        self.call("GET", &path, b"").1
    }

    /// What was fetched so far, by address.
    pub(crate) fn fetched(&self) -> Vec<String> {
        self.fetched.borrow().clone()
    }

    /// From now on nothing can be fetched, or everything again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// Every object is started anew and has only what it saved.
    pub(crate) fn evict(&self) {
        self.objects.borrow_mut().clear();
    }

    /// What the object of `source` answers.
    pub(crate) async fn published(
        &self,
        source: &KeySource,
        kid: &str,
    ) -> Result<Published, String> {
        let name = source.name();
        let object = Rc::clone(
            self.objects
                .borrow_mut()
                .entry(name.clone())
                .or_insert_with(|| {
                    Rc::new(zonekeeper::identity::Keeper::new(SimObject {
                        issuers: self.clone(),
                        name,
                    }))
                }),
        );
        Published::read(&object.answer(&question(source, kid), true).await)
    }
}

/// The world of one object.
pub(crate) struct SimObject {
    issuers: SimIssuers,
    name: String,
}

impl Fetcher for SimObject {
    async fn fetch(&self, url: &str, cap: usize) -> Result<Vec<u8>, String> {
        self.issuers.fetched.borrow_mut().push(url.to_owned());
        let path = url
            .strip_prefix(SIM)
            .filter(|_| !self.issuers.is_down.get());
        let path = path.ok_or("the connection to it failed")?;
        let (status, body) = self.issuers.call("GET", path, b"");
        match status {
            200 if body.len() <= cap => Ok(body),
            200 => Err("it answered with too much".to_owned()),
            status => Err(format!("it answered with status {status}")),
        }
    }
}

impl KeeperWorld for SimObject {
    fn now(&self) -> Timestamp {
        self.issuers.clock.now()
    }

    async fn load(&self) -> Result<Option<String>, String> {
        Ok(self.issuers.saved.borrow().get(&self.name).cloned())
    }

    async fn save(&self, text: String) -> Result<(), String> {
        self.issuers
            .saved
            .borrow_mut()
            .insert(self.name.clone(), text);
        Ok(())
    }
}
