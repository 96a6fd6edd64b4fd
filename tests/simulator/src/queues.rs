//! Queues: the queues of an account and who consumes them. Messages are not modelled.
//!
//! Shapes are those of the official TypeScript SDK. The codes 11000, 11003, 11004, 11005, 11006 and
//! 11009 are those that clients published in their error tables.

use serde_json::{Map, Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::page::{Bounds, Page};
use crate::router::Route;
use crate::workers::NO_SUCH_WORKER;
use crate::world::{Call, World};

/// The bounds are a hypothesis (NOTES "Envelope, errors, pagination": most others 50–100).
const PAGES: Bounds = Bounds {
    min: 1,
    default: 100,
    max: 100,
};

/// A queue and its consumers.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account_id: String,
    created_on: String,
    modified_on: String,
    settings: Map<String, Value>,
    consumers: Vec<Map<String, Value>>,
}

/// The queues of all accounts, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct Queues(Vec<Queue>);

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/queues";
    const ONE: &str = "/accounts/{account_id}/queues/{queue_id}";
    const CONSUMERS: &str = "/accounts/{account_id}/queues/{queue_id}/consumers";
    const CONSUMER: &str = "/accounts/{account_id}/queues/{queue_id}/consumers/{consumer_id}";
    vec![
        ("GET", ALL, list),
        ("POST", ALL, create),
        ("GET", ONE, get),
        ("PUT", ONE, update),
        ("PATCH", ONE, update),
        ("DELETE", ONE, delete),
        ("GET", CONSUMERS, consumers),
        ("POST", CONSUMERS, add_consumer),
        ("GET", CONSUMER, get_consumer),
        ("PUT", CONSUMER, update_consumer),
        ("DELETE", CONSUMER, delete_consumer),
    ]
}

impl Queue {
    /// An empty one.
    pub(crate) fn new(id: String, name: &str, account_id: &str, now: Now) -> Self {
        let settings = json!({
            "delivery_delay": 0, "delivery_paused": false, "message_retention_period": 345_600,
        });
        Self {
            id,
            name: name.to_owned(),
            account_id: account_id.to_owned(),
            created_on: now.rfc3339(),
            modified_on: now.rfc3339(),
            settings: settings.as_object().cloned().unwrap_or_default(),
            consumers: Vec::new(),
        }
    }

    fn render(&self, world: &World) -> Value {
        let producers: Vec<Value> = world
            .workers
            .binding(&self.account_id, "queue", "queue_name", &self.name)
            .into_iter()
            .map(|script| json!({"type": "worker", "script": script}))
            .collect();
        json!({
            "queue_id": self.id, "queue_name": self.name,
            "created_on": self.created_on, "modified_on": self.modified_on,
            "producers_total_count": producers.len(), "producers": producers,
            "consumers_total_count": self.consumers.len(), "consumers": self.consumers,
            "settings": self.settings,
        })
    }
}

impl Queues {
    /// Adds one.
    pub(crate) fn put(&mut self, queue: Queue) {
        self.0.push(queue);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.0.iter()
    }

    /// Whether an account has a queue of this name.
    pub(crate) fn has(&self, account_id: &str, name: &str) -> bool {
        self.0
            .iter()
            .any(|q| q.account_id == account_id && q.name == name)
    }

    /// Whether a script of an account consumes any queue.
    pub(crate) fn consumed_by(&self, account_id: &str, script: &str) -> bool {
        self.0
            .iter()
            .filter(|q| q.account_id == account_id)
            .flat_map(|q| &q.consumers)
            .any(|consumer| consumer.get("script") == Some(&json!(script)))
    }
}

fn place(call: &Call<'_>) -> Result<usize, ApiError> {
    let account = call.account()?;
    let id = call.param("queue_id");
    call.world
        .queues
        .iter()
        .position(|q| q.account_id == account && q.id == id)
        .ok_or_else(|| ApiError::new(404, 11_000, "Queue does not exist"))
}

/// The queue of the path.
fn queue<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Queue, ApiError> {
    let place = place(call)?;
    // The place was just found.
    call.world
        .queues
        .0
        .get_mut(place)
        .ok_or_else(ApiError::forbidden)
}

fn rendered(call: &Call<'_>) -> Outcome {
    let place = place(call)?;
    let queue = call.world.queues.iter().nth(place);
    Ok(Reply::ok(&queue.map(|queue| queue.render(call.world))))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let page = Page::read(&call.query, PAGES)?;
    let wanted = call.query.non_empty("name");
    let items: Vec<String> = call
        .world
        .queues
        .iter()
        .filter(|q| q.account_id == account && wanted.is_none_or(|name| q.name == name))
        .map(|q| q.render(call.world).to_string())
        .collect();
    Ok(page.reply(&items.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// A name nobody else of the account has. Its grammar is a hypothesis.
fn name(call: &Call<'_>, account: &str, body: &Map<String, Value>) -> Result<String, ApiError> {
    let name = body
        .get("queue_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let well_formed = (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        return Err(ApiError::bad(
            11_003,
            "Queue name must have 1 to 63 lower-case letters, digits and inner hyphens",
        ));
    }
    if call.world.queues.has(account, name) {
        return Err(ApiError::new(
            409,
            11_009,
            format!("Queue name {name} is already taken"),
        ));
    }
    Ok(name.to_owned())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let body = call.object()?;
    let name = name(call, &account, &body)?;
    let id = call.world.ids.next_id();
    let queue = Queue::new(id.clone(), &name, &account, call.now);
    call.world.queues.put(queue);
    call.params.push(("queue_id", id));
    rendered(call)
}

fn get(call: &mut Call<'_>) -> Outcome {
    rendered(call)
}

fn update(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let old = queue(call)?.name.clone();
    let body = call.object()?;
    let new = match body.get("queue_name") {
        Some(given) if given.as_str() != Some(&old) => name(call, &account, &body)?,
        _ => old,
    };
    let given = match body.get("settings") {
        None => Map::new(),
        Some(settings) => settings
            .as_object()
            .cloned()
            .ok_or_else(|| ApiError::bad(10_026, "settings must be an object"))?,
    };
    let now = call.now.rfc3339();
    let queue = queue(call)?;
    queue.name = new;
    queue.settings.extend(given);
    queue.modified_on = now;
    rendered(call)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let (id, name) = {
        let queue = queue(call)?;
        (queue.id.clone(), queue.name.clone())
    };
    let users = call
        .world
        .workers
        .binding(&account, "queue", "queue_name", &name);
    if let Some(script) = users.first() {
        return Err(ApiError::new(
            409,
            11_005,
            format!("Queue {name} is bound by the Worker {script}"),
        ));
    }
    call.world.queues.0.retain(|q| q.id != id);
    Ok(Reply::ok(&Value::Null))
}

fn consumers(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&queue(call)?.consumers))
}

/// A consumer as the body says, ready to be stored.
fn consumer(call: &Call<'_>, id: &str) -> Result<Map<String, Value>, ApiError> {
    let account = call.account()?;
    let mut body = call.object()?;
    let script = match body.get("type").and_then(Value::as_str) {
        Some("http_pull") => None,
        Some("worker") => {
            let given = body.get("script_name").or_else(|| body.get("script"));
            let script = given.and_then(Value::as_str).unwrap_or_default().to_owned();
            if call.world.workers.script(&account, &script).is_none() {
                return Err(ApiError::new(404, 10_007, NO_SUCH_WORKER));
            }
            Some(script)
        }
        _ => return Err(ApiError::bad(10_026, "type must be worker or http_pull")),
    };
    if let Some(script) = script {
        body.insert("script".to_owned(), json!(script));
        body.insert("script_name".to_owned(), json!(script));
    }
    body.insert("consumer_id".to_owned(), json!(id));
    body.insert("created_on".to_owned(), json!(call.now.rfc3339()));
    body.entry("settings").or_insert_with(|| json!({}));
    Ok(body)
}

fn add_consumer(call: &mut Call<'_>) -> Outcome {
    let name = queue(call)?.name.clone();
    let id = call.world.ids.next_id();
    let mut new = consumer(call, &id)?;
    new.insert("queue_name".to_owned(), json!(name));
    let queue = queue(call)?;
    // A queue has one consumer of each sort at most (hypothesis).
    if queue
        .consumers
        .iter()
        .any(|c| c.get("type") == new.get("type"))
    {
        return Err(ApiError::new(
            409,
            11_004,
            format!("Queue {name} already has a consumer"),
        ));
    }
    queue.consumers.push(new.clone());
    Ok(Reply::ok(&new))
}

fn consumer_place(call: &mut Call<'_>) -> Result<usize, ApiError> {
    let id = json!(call.param("consumer_id"));
    queue(call)?
        .consumers
        .iter()
        .position(|consumer| consumer.get("consumer_id") == Some(&id))
        .ok_or_else(|| ApiError::new(404, 11_006, "Queue consumer does not exist"))
}

fn get_consumer(call: &mut Call<'_>) -> Outcome {
    let place = consumer_place(call)?;
    Ok(Reply::ok(&queue(call)?.consumers.get(place)))
}

fn update_consumer(call: &mut Call<'_>) -> Outcome {
    let place = consumer_place(call)?;
    let id = call.param("consumer_id").to_owned();
    let new = consumer(call, &id)?;
    let queue = queue(call)?;
    if let Some(stored) = queue.consumers.get_mut(place) {
        stored.extend(new);
    }
    Ok(Reply::ok(&queue.consumers.get(place)))
}

fn delete_consumer(call: &mut Call<'_>) -> Outcome {
    let place = consumer_place(call)?;
    queue(call)?.consumers.remove(place);
    Ok(Reply::ok(&Value::Null))
}
