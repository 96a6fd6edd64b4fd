//! Where an issuer's keys come from, and for how long a copy of them may be believed.
//!
//! Copies are kept in two places: by one object for each issuer, which alone fetches, and by each
//! isolate. The age of both counts from the moment the fetch was sent, so a key the issuer withdrew
//! is refused everywhere [`MAX_KEYS_AGE_MS`] later at the latest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};
use serde_json::{Value, json};

use super::jwks::{KeySet, MAX_KEY_SET_BYTES};
use crate::model::json::{self, Json};
use crate::model::{Timestamp, WebUrl};

/// How long keys may be used, from the moment the fetch of them was sent: five minutes.
pub const MAX_KEYS_AGE_MS: i64 = 300_000;
/// How long a key that is not among those held is not looked for again: one minute.
const UNKNOWN_KID_EVERY_MS: i64 = 60_000;
/// How long an isolate does not ask an issuer's object for a key that its fresh copy has not.
const ASKED_EVERY_MS: i64 = 5_000;
/// How long an issuer that could not be reached is left alone.
const RETRY_EVERY_MS: i64 = 10_000;
/// Key sets an isolate holds at most; beyond that all are dropped.
const MAX_SETS: usize = 100;

/// An issuer and where its keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The issuer, exactly as tokens name it.
    pub issuer: String,
    /// Where its keys are; otherwise its discovery document says so.
    pub jwks_uri: Option<String>,
}

impl KeySource {
    /// The name of its object; no two sources share one.
    #[must_use]
    pub fn name(&self) -> String {
        json!([self.issuer, self.jwks_uri]).to_string()
    }

    /// Its discovery document (`OpenID` Connect Discovery 1.0 §4).
    fn discovery_url(&self) -> String {
        let issuer = self.issuer.trim_end_matches('/');
        format!("{issuer}/.well-known/openid-configuration")
    }
}

/// Whether keys may be fetched from there: https, or this machine where `is_local` says that Cloudflare
/// is simulated on it.
#[must_use]
pub fn may_fetch(url: &str, is_local: bool) -> bool {
    WebUrl::parse(url).is_some_and(|url| {
        !url.has_credentials() && (url.is_https || (is_local && url.is_loopback()))
    })
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |url| WebUrl::parse(url).map(|url| url.origin());
    origin(one).is_some_and(|one| Some(one) == origin(other))
}

/// Fetches documents of issuers, without any credential of ours.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Fetcher {
    /// Reads what is at `url`, at most `cap` bytes; only a 200 counts, and redirects are not followed.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn fetch(&self, url: &str, cap: usize) -> Result<Vec<u8>, String>;
}

/// Fetches the keys of `source`: one call where their place is given, two otherwise.
///
/// # Errors
/// What went wrong, in words.
async fn fetch_keys<F: Fetcher>(
    fetcher: &F,
    source: &KeySource,
    is_local: bool,
) -> Result<(String, KeySet), String> {
    let allowed = |url: &str| {
        may_fetch(url, is_local)
            .then_some(())
            .ok_or_else(|| "its address may not be fetched".to_owned())
    };
    let uri = if let Some(uri) = &source.jwks_uri {
        uri.clone()
    } else {
        let url = source.discovery_url();
        allowed(&url)?;
        let document = fetcher.fetch(&url, MAX_KEY_SET_BYTES).await?;
        let document = json::parse(&document)
            .map_err(|_| "its discovery document is no unambiguous JSON".to_owned())?;
        let text = |name| document.get(name).and_then(Json::as_str);
        if text("issuer") != Some(source.issuer.as_str()) {
            return Err("its discovery document names another issuer".to_owned());
        }
        let uri = text("jwks_uri").ok_or("its discovery document names no jwks_uri")?;
        if !same_origin(uri, &source.issuer) {
            return Err(
                "its jwks_uri is on another origin; name it in the configuration".to_owned(),
            );
        }
        uri.to_owned()
    };
    allowed(&uri)?;
    let bytes = fetcher.fetch(&uri, MAX_KEY_SET_BYTES).await?;
    let set = KeySet::parse(&bytes).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "its key set is not UTF-8".to_owned())?;
    Ok((text, set))
}

/// What the object of an issuer must be able to do.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait KeeperWorld: Fetcher {
    /// The time.
    fn now(&self) -> Timestamp;

    /// What was saved last.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn load(&self) -> Result<Option<String>, String>;

    /// Keeps a text in the place of the one before.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn save(&self, text: String) -> Result<(), String>;
}

/// Keys as they were published.
#[derive(Debug, Clone)]
struct Held {
    set: Rc<KeySet>,
    text: Rc<str>,
    sent_at: Timestamp,
}

/// What an object remembers of its issuer.
#[derive(Debug, Clone, Default)]
struct Memory {
    held: Option<Held>,
    tried_at: Option<Timestamp>,
}

/// What to do about a question for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The key is held: answer.
    Answer,
    /// Fetch first.
    Fetch,
    /// A fetch was sent a moment ago: wait for it if it is under way, and answer with what is held.
    Wait,
}

impl Memory {
    fn fresh(&self, now: Timestamp) -> Option<&Held> {
        let is_fresh = |held: &&Held| (0..MAX_KEYS_AGE_MS).contains(&now.ms_since(held.sent_at));
        self.held.as_ref().filter(is_fresh)
    }

    /// A pure function of what is remembered: fetches happen when there are no fresh keys, but not within
    /// 10 s of the last try, and when a name is unknown, but not within a minute of it.
    fn next(&self, kid: &str, now: Timestamp) -> Next {
        let tried_within = |ms| {
            self.tried_at
                .is_some_and(|at| (0..ms).contains(&now.ms_since(at)))
        };
        match self.fresh(now) {
            Some(held) if held.set.has(kid) => Next::Answer,
            Some(_) if tried_within(UNKNOWN_KID_EVERY_MS) => Next::Wait,
            None if tried_within(RETRY_EVERY_MS) => Next::Wait,
            _ => Next::Fetch,
        }
    }

    fn to_text(&self) -> String {
        json!({
            "set": self.held.as_ref().map(|held| &*held.text),
            "sent_at": self.held.as_ref().map(|held| held.sent_at.unix_ms()),
            "tried_at": self.tried_at.map(Timestamp::unix_ms),
        })
        .to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        let saved: Value = serde_json::from_str(text).ok()?;
        let time = |name| {
            saved
                .get(name)
                .and_then(Value::as_i64)
                .map(Timestamp::from_unix_ms)
        };
        let held = match (saved.get("set").and_then(Value::as_str), time("sent_at")) {
            (Some(text), Some(sent_at)) => Some(Held {
                set: Rc::new(KeySet::parse(text.as_bytes()).ok()?),
                text: text.into(),
                sent_at,
            }),
            _ => None,
        };
        Some(Self {
            held,
            tried_at: time("tried_at"),
        })
    }
}

/// A fetch that several wait for.
type Flight = Shared<LocalBoxFuture<'static, Result<(), String>>>;

/// The object of one issuer: fetches its keys, once for all who ask at the same time.
pub struct Keeper<W> {
    world: Rc<W>,
    memory: Rc<RefCell<Option<Memory>>>,
    flight: RefCell<Option<Flight>>,
}

impl<W> std::fmt::Debug for Keeper<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

impl<W: KeeperWorld + 'static> Keeper<W> {
    /// An object that has just been started.
    #[must_use]
    pub fn new(world: W) -> Self {
        Self {
            world: Rc::new(world),
            memory: Rc::default(),
            flight: RefCell::default(),
        }
    }

    /// Answers one question, as [`question`] writes it, with what [`Published::read`] reads.
    pub async fn answer(&self, question: &str, is_local: bool) -> String {
        let answered = async {
            let asked: Value = serde_json::from_str(question)
                .map_err(|_| "the question is malformed".to_owned())?;
            let text = |name: &str| asked.get(name).and_then(Value::as_str).map(str::to_owned);
            let (Some(issuer), Some(kid)) = (text("issuer"), text("kid")) else {
                return Err("the question is malformed".to_owned());
            };
            let source = KeySource {
                issuer,
                jwks_uri: text("jwks_uri"),
            };
            self.published(&source, &kid, is_local).await
        };
        match answered.await {
            Ok(held) => {
                let age_ms = self.world.now().ms_since(held.sent_at);
                json!({"keys": *held.text, "age_ms": age_ms})
            }
            Err(error) => json!({"error": error}),
        }
        .to_string()
    }

    async fn published(
        &self,
        source: &KeySource,
        kid: &str,
        is_local: bool,
    ) -> Result<Held, String> {
        self.remember().await?;
        let unreachable = || "its keys could not be fetched a moment ago".to_owned();
        let next = {
            let memory = self.memory.borrow();
            let now = self.world.now();
            memory
                .as_ref()
                .map_or(Next::Wait, |memory| memory.next(kid, now))
        };
        // One fetch at the most is waited for; what holds after it is the answer.
        let flight = match next {
            Next::Answer => None,
            Next::Wait => self.under_way(),
            Next::Fetch => Some(self.flight(source, is_local)),
        };
        let failed = match flight {
            Some(flight) => flight.await.err(),
            None => None,
        };
        let now = self.world.now();
        let memory = self.memory.borrow();
        memory
            .as_ref()
            .and_then(|memory| memory.fresh(now))
            .cloned()
            .ok_or_else(|| failed.unwrap_or_else(unreachable))
    }

    /// Reads what was saved, once. What cannot be read is no reason to trust anything: fetch anew.
    async fn remember(&self) -> Result<(), String> {
        if self.memory.borrow().is_none() {
            let saved = self.world.load().await?;
            let memory = saved.as_deref().and_then(Memory::from_text);
            self.memory
                .borrow_mut()
                .get_or_insert(memory.unwrap_or_default());
        }
        Ok(())
    }

    /// The fetch that is under way.
    fn under_way(&self) -> Option<Flight> {
        let flight = self.flight.borrow();
        flight
            .as_ref()
            .filter(|flight| flight.peek().is_none())
            .cloned()
    }

    /// The fetch that is under way, or a new one.
    fn flight(&self, source: &KeySource, is_local: bool) -> Flight {
        if let Some(flight) = self.under_way() {
            return flight;
        }
        let (world, memory) = (Rc::clone(&self.world), Rc::clone(&self.memory));
        let source = source.clone();
        let fetching = async move {
            let sent_at = world.now();
            let change = |change: &dyn Fn(&mut Memory)| {
                let mut memory = memory.borrow_mut();
                let memory = memory.get_or_insert_default();
                change(memory);
                memory.to_text()
            };
            // Noted before anything is sent, so that an object that is started anew waits as well.
            let tried = change(&|memory| memory.tried_at = Some(sent_at));
            world.save(tried).await?;
            let (text, set) = fetch_keys(&*world, &source, is_local).await?;
            let held = Held {
                set: Rc::new(set),
                text: text.into(),
                sent_at,
            };
            let fetched = change(&|memory| memory.held = Some(held.clone()));
            world.save(fetched).await
        };
        let fetching = fetching.boxed_local().shared();
        *self.flight.borrow_mut() = Some(fetching.clone());
        fetching
    }
}

/// The question for the key `kid` of `source`.
#[must_use]
pub fn question(source: &KeySource, kid: &str) -> String {
    json!({"issuer": source.issuer, "jwks_uri": source.jwks_uri, "kid": kid}).to_string()
}

/// Keys as an object handed them out.
#[derive(Debug, Clone)]
pub struct Published {
    set: KeySet,
    age_ms: i64,
}

impl Published {
    /// Reads the answer of [`Keeper::answer`].
    ///
    /// # Errors
    /// Why there are no keys, in words.
    pub fn read(answer: &str) -> Result<Self, String> {
        let malformed = || "its object gave no answer that can be read".to_owned();
        let answer: Value = serde_json::from_str(answer).map_err(|_| malformed())?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            return Err(error.to_owned());
        }
        let keys = answer.get("keys").and_then(Value::as_str);
        let age_ms = answer.get("age_ms").and_then(Value::as_i64);
        let (Some(text), Some(age_ms)) = (keys, age_ms) else {
            return Err(malformed());
        };
        let set = KeySet::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { set, age_ms })
    }
}

/// Asks the objects of issuers.
#[expect(
    async_fn_in_trait,
    reason = "an isolate has one thread, so futures need not be Send"
)]
pub trait Issuers {
    /// Asks the object of `source` for its keys, `kid` among them if the issuer has it.
    ///
    /// # Errors
    /// Why there are none, in words.
    async fn published(&self, source: &KeySource, kid: &str) -> Result<Published, String>;
}

/// A copy of an issuer's keys.
#[derive(Debug, Clone)]
struct Copied {
    set: Rc<KeySet>,
    fetched_at: Timestamp,
    asked_at: Timestamp,
}

/// The keys an isolate holds. Plain values: no request waits for another's.
#[derive(Debug, Default)]
pub struct KeyRing(RefCell<BTreeMap<String, Copied>>);

impl KeyRing {
    /// The keys of `source`, asked for unless those held at `now` are fresh and have `kid`, or were asked
    /// for a moment ago: anybody can make a token that names a key nobody has.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub async fn keys<I: Issuers>(
        &self,
        issuers: &I,
        source: &KeySource,
        kid: &str,
        now: Timestamp,
    ) -> Result<Rc<KeySet>, String> {
        let name = source.name();
        let held = self.0.borrow().get(&name).cloned();
        let within = |ms, at| (0..ms).contains(&now.ms_since(at));
        if let Some(held) = held
            && within(MAX_KEYS_AGE_MS, held.fetched_at)
            && (held.set.has(kid) || within(ASKED_EVERY_MS, held.asked_at))
        {
            return Ok(held.set);
        }
        let published = issuers.published(source, kid).await?;
        let set = Rc::new(published.set);
        let mut sets = self.0.borrow_mut();
        if sets.len() >= MAX_SETS {
            sets.clear();
        }
        // Counted from when the question was sent, so the copy is never taken for younger than it is.
        let copied = Copied {
            set: Rc::clone(&set),
            fetched_at: now.plus_ms(-published.age_ms.max(0)),
            asked_at: now,
        };
        sets.insert(name, copied);
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Poll;

    use futures_util::future::{join3, poll_fn};

    use super::*;

    /// An issuer whose documents take a while to come.
    #[derive(Default)]
    struct Slow {
        fetched: RefCell<Vec<String>>,
        saved: RefCell<Vec<String>>,
        is_down: Cell<bool>,
    }

    /// Lets others go on once.
    async fn wait() {
        let mut waited = false;
        poll_fn(|context| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    impl Fetcher for Rc<Slow> {
        async fn fetch(&self, url: &str, _cap: usize) -> Result<Vec<u8>, String> {
            self.fetched.borrow_mut().push(url.to_owned());
            wait().await;
            if self.is_down.get() {
                return Err("the connection to it failed".to_owned());
            }
            Ok(br#"{"keys":[{"kid":"a"}]}"#.to_vec())
        }
    }

    impl KeeperWorld for Rc<Slow> {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_ms(1_000_000)
        }

        async fn load(&self) -> Result<Option<String>, String> {
            wait().await;
            Ok(self.saved.borrow().last().cloned())
        }

        async fn save(&self, text: String) -> Result<(), String> {
            self.saved.borrow_mut().push(text);
            wait().await;
            Ok(())
        }
    }

    fn source() -> KeySource {
        KeySource {
            issuer: "https://x.example".to_owned(),
            jwks_uri: Some("https://x.example/jwks".to_owned()),
        }
    }

    #[test]
    fn u5_whoever_asks_while_a_fetch_is_under_way_waits_for_that_one() {
        for is_down in [false, true] {
            let world = Rc::new(Slow::default());
            world.is_down.set(is_down);
            let keeper = Keeper::new(Rc::clone(&world));
            let ask = |kid: &str| {
                let question = question(&source(), kid);
                let keeper = &keeper;
                async move { Published::read(&keeper.answer(&question, false).await) }
            };
            let (a, b, c) = pollster::block_on(join3(ask("a"), ask("a"), ask("unknown")));
            for answer in [a, b, c] {
                match answer {
                    Ok(published) => assert!(!is_down && published.set.has("a")),
                    Err(error) => assert_eq!(
                        (error.as_str(), is_down),
                        ("the connection to it failed", true)
                    ),
                }
            }
            assert_eq!(*world.fetched.borrow(), ["https://x.example/jwks"]);
            // The try was stored before it was sent.
            assert!(world.saved.borrow()[0].contains("\"tried_at\":1000000"));
            assert!(world.saved.borrow()[0].contains("\"set\":null"));
        }
    }

    /// An object that is asked, and whose keys are this old.
    #[derive(Default)]
    struct Object {
        asked: Cell<u32>,
        age_ms: Cell<i64>,
    }

    impl Issuers for Object {
        async fn published(&self, _source: &KeySource, _kid: &str) -> Result<Published, String> {
            self.asked.set(self.asked.get() + 1);
            Ok(Published {
                set: KeySet::parse(br#"{"keys":[{"kid":"a"}]}"#).unwrap(),
                age_ms: self.age_ms.get(),
            })
        }
    }

    #[test]
    fn u5_an_object_is_not_asked_again_at_once_for_a_key_that_nobody_has() {
        let (ring, object) = (KeyRing::default(), Object::default());
        let asked = |kid: &str, ms: i64| {
            let now = Timestamp::from_unix_ms(1_000_000 + ms);
            pollster::block_on(ring.keys(&object, &source(), kid, now)).unwrap();
            object.asked.replace(0)
        };
        assert_eq!(asked("made-up", 0), 1);
        for (kid, ms, times) in [
            ("made-up", 0, 0),
            ("another", 4_999, 0),
            ("a", 5_000, 0),
            ("made-up", 5_000, 1),
            ("made-up", 9_999, 0),
        ] {
            assert_eq!(asked(kid, ms), times, "{kid} after {ms} ms");
        }
        // A copy that is too old is no answer.
        object.age_ms.set(MAX_KEYS_AGE_MS - 1);
        assert_eq!(asked("made-up", 10_000), 1);
        assert_eq!(asked("made-up", 10_000), 0);
        assert_eq!(asked("made-up", 10_001), 1);
    }

    #[test]
    fn u5_only_https_is_fetched_from_and_this_machine_beside_a_simulator() {
        for (url, anywhere, beside) in [
            ("https://x.example/a", true, true),
            ("http://x.example/a", false, false),
            ("http://127.0.0.1:8788/a", false, true),
            ("http://localhost/a", false, true),
            ("http://[::1]:1/a", false, true),
            ("http://127.0.0.1.x.example/a", false, false),
            ("http://169.254.169.254/a", false, false),
            ("https://user:secret@x.example/a", false, false),
            ("file:///etc/passwd", false, false),
            ("", false, false),
        ] {
            assert_eq!(may_fetch(url, false), anywhere, "{url}");
            assert_eq!(may_fetch(url, true), beside, "{url}");
        }
        let same = |one, other| same_origin(one, other);
        assert!(same("https://x.example/a", "https://x.example:443/b"));
        for other in [
            "https://y.example",
            "http://x.example",
            "https://x.example:444",
            "https://x.example.evil.example",
            "data:,x",
        ] {
            assert!(!same("https://x.example/a", other), "{other}");
        }
        assert!(!same("data:,x", "data:,x"));
    }
}
