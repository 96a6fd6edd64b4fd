//! Deliveries of webhooks, signed as their senders do it, and a Zonekeeper with a hook for each.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::join_all;
use pollster::block_on;
use ring::hmac;
use serde_json::{Value, json};
use zonekeeper::gateway::{Gateway, Inbound, Reply, View, split_url};
use zonekeeper::hooks::HOOKS_PREFIX;
use zonekeeper::model::{base64, base64url, hex};
use zonekeeper::store::{Database, Row, Statement, Store, StoreError};

use super::database::FailingDatabase;
use super::keeper::{Answered, Ask, Keeper, ask};

pub(crate) const GITHUB: &str = "It's a Secret to Everybody";
pub(crate) const GITLAB_TOKEN: &str = "gitlab-token-of-the-tests";
pub(crate) const GITLAB_KEY: &str = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
pub(crate) const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const CLOUDFLARE: &str = "cloudflare-secret-of-the-tests";

/// What GitHub tells of a workflow that has run.
pub(crate) const BODY: &str =
    r#"{"action":"completed","tags":["main"],"workflow_run":{"id":9,"head_branch":"main"}}"#;

/// A job and a hook of each kind; `site` may be given other lines in place of its secrets.
pub(crate) fn config(site: &str) -> String {
    let site = if site.is_empty() {
        r#"secrets = ["HOOK_SITE"]"#
    } else {
        site
    };
    format!(
        r#"
[[principals]]
name = "bot"
kind = "internal"
[[principals]]
name = "caller"
kind = "key"
[[grants]]
name = "purges"
principals = ["bot"]
effect = "allow"
permissions = ["Cache Purge", "Zone Read"]
zones = ["example.com"]
[[jobs]]
name = "purge"
kind = "cache.purge"
run_as = "bot"
params = {{ zones = ["example.com"], tags = ["a"] }}
[[hooks]]
name = "site"
type = "github"
{site}
job = "purge"
when = {{ event = ["workflow_run"], "/workflow_run/head_branch" = ["main"] }}
params = {{ tags = "/tags" }}
[[hooks]]
name = "lab"
type = "gitlab"
secrets = ["HOOK_LAB", "HOOK_LAB_KEY"]
job = "purge"
[[hooks]]
name = "bus"
type = "standard"
secrets = ["HOOK_BUS"]
job = "purge"
[[hooks]]
name = "alerts"
type = "cloudflare"
secrets = ["HOOK_CF"]
job = "purge"
"#
    )
}

/// A Zonekeeper with [`config`] in force and every secret set.
pub(crate) fn hooked() -> Rc<Keeper> {
    let keeper = Keeper::with(&config(""));
    for (name, value) in [
        ("HOOK_SITE", GITHUB),
        ("HOOK_LAB", GITLAB_TOKEN),
        ("HOOK_LAB_KEY", GITLAB_KEY),
        ("HOOK_BUS", STANDARD),
        ("HOOK_CF", CLOUDFLARE),
    ] {
        keeper.world.set_secret(name, Some(value));
    }
    keeper
}

/// A delivery that proves nothing yet.
pub(crate) fn deliver(hook: &str) -> Ask {
    ask(&format!("POST {HOOKS_PREFIX}{hook}")).header("content-type", "application/json")
}

fn mac(key: &[u8], signed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, signed).as_ref().to_vec()
}

pub(crate) fn github_signature(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex(&mac(secret.as_bytes(), body)))
}

pub(crate) fn github_with(secret: &str, id: &str, event: &str, body: &str) -> Ask {
    deliver("site")
        .header("x-github-delivery", id)
        .header("x-github-event", event)
        .header(
            "x-hub-signature-256",
            &github_signature(secret, body.as_bytes()),
        )
        .text(body)
}

pub(crate) fn github(id: &str, event: &str, body: &str) -> Ask {
    github_with(GITHUB, id, event, body)
}

/// A delivery whose body is no text.
pub(crate) fn github_bytes(id: &str, body: &[u8]) -> Ask {
    deliver("site")
        .header("x-github-delivery", id)
        .header("x-github-event", "workflow_run")
        .header("x-hub-signature-256", &github_signature(GITHUB, body))
        .bytes(body)
}

pub(crate) fn gitlab_token(id: &str, event: &str, body: &str) -> Ask {
    deliver("lab")
        .header("x-gitlab-event", event)
        .header("idempotency-key", id)
        .header("x-gitlab-token", GITLAB_TOKEN)
        .text(body)
}

pub(crate) fn standard_signature(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let key = secret.strip_prefix("whsec_").unwrap().trim_end_matches('=');
    let key = base64url::decode(&key.replace('+', "-").replace('/', "_")).unwrap();
    let signed = mac(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", base64::encode(&signed))
}

fn signed(ask: Ask, secret: &str, id: &str, timestamp: &str, body: &str) -> Ask {
    ask.header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header(
            "webhook-signature",
            &standard_signature(secret, id, timestamp, body),
        )
        .text(body)
}

/// As GitLab signs from version 19 on.
pub(crate) fn gitlab_signed(keeper: &Keeper, id: &str, body: &str) -> Ask {
    let now = (keeper.now().unix_ms() / 1000).to_string();
    let ask = deliver("lab")
        .header("x-gitlab-event", "Push Hook")
        .header("idempotency-key", id);
    signed(ask, GITLAB_KEY, id, &now, body)
}

pub(crate) fn standard_at(id: &str, timestamp: &str, body: &str) -> Ask {
    signed(deliver("bus"), STANDARD, id, timestamp, body)
}

pub(crate) fn standard(keeper: &Keeper, id: &str, body: &str) -> Ask {
    standard_at(id, &(keeper.now().unix_ms() / 1000).to_string(), body)
}

pub(crate) fn cloudflare(body: &str) -> Ask {
    deliver("alerts")
        .header("cf-webhook-auth", CLOUDFLARE)
        .text(body)
}

/// A database that lets others go first before each batch.
#[derive(Debug, Clone)]
struct Polite(FailingDatabase);

impl Database for Polite {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, StoreError> {
        let waited = Cell::new(false);
        poll_fn(|context| {
            if waited.replace(true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.0.batch(statements).await
    }
}

/// Status and body of `count` equal deliveries that are all under way before the first is stored.
pub(crate) fn at_once(keeper: &Keeper, count: usize, delivery: &Ask) -> Vec<(u16, Value)> {
    let store = Store::new(Polite(keeper.database.clone()));
    let view = View::default();
    let gateway = Gateway {
        settings: &keeper.settings,
        view: &view,
        store: &store,
        world: &keeper.world,
    };
    let (head, body) = delivery.parts();
    keeper.world.set_body(body);
    let inbound = Inbound::parse(head);
    let (origin, path, _) = split_url(inbound.url);
    let name = path.strip_prefix(HOOKS_PREFIX).unwrap();
    let all = (0..count).map(|_| gateway.receive_hook(&inbound, origin, name));
    let finished = block_on(join_all(all));
    finished
        .into_iter()
        .map(|finished| match finished.reply {
            Reply::Own { status, body, .. } => {
                (status.as_u16(), serde_json::from_str(&body).unwrap())
            }
            Reply::Relayed { .. } => panic!("a hook hands nothing through"),
        })
        .collect()
}

/// A delivery that must be refused with the one answer that tells nothing; gives why, as recorded.
pub(crate) fn unproven(keeper: &Keeper, delivery: Ask, what: &str) -> String {
    let answered = keeper.call(delivery);
    assert_eq!(
        answered.refused(),
        (401, 20011),
        "{what}: {}",
        answered.text
    );
    assert_eq!(
        answered.message(),
        "The delivery is not accepted: there is no such hook, or what would prove whose it is is missing, wrong or too old. The audit log says which.",
        "{what}"
    );
    assert_eq!(stored(keeper), (0, 0), "{what}");
    let entry = keeper.last_entry();
    assert_eq!((entry.decision.as_str(), entry.status), ("deny", Some(401)));
    assert_eq!(entry.principal, None);
    entry.reason
}

/// Deliveries and runs that are stored.
pub(crate) fn stored(keeper: &Keeper) -> (i64, i64) {
    let sqlite = keeper.database.sqlite();
    (sqlite.count("hook_deliveries"), sqlite.count("runs"))
}

pub(crate) fn outcome(answered: &Answered) -> (u16, Value) {
    (
        answered.status,
        answered.json()["result"]["outcome"].clone(),
    )
}

pub(crate) fn started(answered: &Answered) -> String {
    assert_eq!(
        outcome(answered),
        (202, json!("started")),
        "{}",
        answered.text
    );
    answered.result()["run"].as_str().unwrap().to_owned()
}

/// The first delivery's outcome, and nothing new.
pub(crate) fn known(keeper: &Keeper, delivery: Ask, first: &Answered) {
    let before = stored(keeper);
    let answered = keeper.call(delivery);
    assert_eq!(answered.status, 200, "{}", answered.text);
    let mut expected = first.json()["result"].clone();
    expected["duplicate"] = json!(true);
    assert_eq!(answered.result(), expected);
    assert_eq!(stored(keeper), before);
}
