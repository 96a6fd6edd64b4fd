//! The Workers that a fresh simulator has, with what they are bound to.

use bytes::Bytes;
use serde_json::{Value, json};

use super::routes::ZoneRoute;
use super::state::{Draft, Entry, Module, Object, Origin, Script};
use crate::d1::Database;
use crate::ids::Ids;
use crate::kv::Namespace;
use crate::queues::Queue;
use crate::r2::Bucket;
use crate::seed::{ACME_ID, D1_ID, KV_BILLING_ID, KV_SITE_ID, QUEUE_ID, SEEDED_AT, ZONE_COM_ID};
use crate::world::World;

/// Adds the Workers `site` and `api`, and the storage they use.
pub(crate) fn seed(world: &mut World) {
    for (id, title) in [(KV_SITE_ID, "site-cache"), (KV_BILLING_ID, "billing")] {
        world.kv.put(Namespace::new(id.to_owned(), title, ACME_ID));
    }
    world.d1.put(Database::new(
        D1_ID.to_owned(),
        "site-db",
        ACME_ID,
        SEEDED_AT,
    ));
    world.r2.put(Bucket::new("site-assets", ACME_ID, SEEDED_AT));
    world
        .queues
        .put(Queue::new(QUEUE_ID.to_owned(), "jobs", ACME_ID, SEEDED_AT));
    let site = json!([
        {"type": "kv_namespace", "name": "CACHE", "namespace_id": KV_SITE_ID},
        {"type": "plain_text", "name": "MODE", "text": "production"},
        {"type": "secret_text", "name": "SESSION_KEY", "text": "seeded-session-key"},
    ]);
    let api = json!([
        {"type": "kv_namespace", "name": "BILLING", "namespace_id": KV_BILLING_ID},
        {"type": "d1", "name": "DB", "id": D1_ID, "database_id": D1_ID},
        {"type": "r2_bucket", "name": "FILES", "bucket_name": "site-assets"},
        {"type": "queue", "name": "JOBS", "queue_name": "jobs"},
        {"type": "service", "name": "SITE", "service": "site", "environment": "production"},
    ]);
    let mut ids = Ids::seeding();
    for (name, tag, bindings) in [
        ("site", "30000000000000000000000000000001", site),
        ("api", "30000000000000000000000000000002", api),
    ] {
        put(world, &mut ids, name, tag, &bindings);
    }
    world.workers.routes.push(ZoneRoute {
        id: "31000000000000000000000000000001".to_owned(),
        account: ACME_ID.to_owned(),
        zone_id: ZONE_COM_ID.to_owned(),
        pattern: "example.com/*".to_owned(),
        script: Some("site".to_owned()),
    });
    world
        .workers
        .subdomains
        .insert(ACME_ID.to_owned(), "acme".to_owned());
}

/// What `GET /__sim/state` says of Workers and storage.
pub(crate) fn state(world: &World, state: &mut Value) {
    let kv = world.kv.iter();
    let kv = kv.map(|n| json!({"id": n.id, "title": n.title, "account_id": n.account_id}));
    let d1 = world.d1.iter().map(|d| {
        json!({
            "id": d.id, "name": d.name, "account_id": d.account_id, "statements": d.statements,
        })
    });
    let r2 = world.r2.iter();
    let r2 = r2.map(|b| json!({"name": b.name, "account_id": b.account_id}));
    let queues = world.queues.iter();
    let queues = queues.map(|q| json!({"id": q.id, "name": q.name, "account_id": q.account_id}));
    let workers = world.workers.iter();
    let workers = workers.map(|(account, script)| script.state(account));
    if let Some(map) = state.as_object_mut() {
        map.insert("kv".to_owned(), kv.collect());
        map.insert("d1".to_owned(), d1.collect());
        map.insert("r2".to_owned(), r2.collect());
        map.insert("queues".to_owned(), queues.collect());
        map.insert("workers".to_owned(), workers.collect());
    }
}

fn put(world: &mut World, ids: &mut Ids, name: &str, tag: &str, bindings: &Value) {
    let code = format!("export default {{ fetch() {{ return new Response(\"{name}\"); }} }};\n");
    let bindings = bindings.as_array().map(Vec::as_slice).unwrap_or_default();
    let runtime = json!({"compatibility_date": "2026-01-01", "usage_model": "standard"});
    let draft = Draft {
        entry: Entry::Module("index.js".to_owned()),
        modules: vec![Module {
            name: "index.js".to_owned(),
            content_type: "application/javascript+module".to_owned(),
            content: Bytes::from(code),
        }],
        bindings: bindings
            .iter()
            .filter_map(|b| b.as_object().cloned())
            .collect(),
        runtime: runtime.as_object().cloned().unwrap_or_default(),
        annotations: Object::new(),
        assets: None,
    };
    let origin = Origin {
        source: "wrangler",
        trigger: "upload",
    };
    let script = Script::new(name, tag.to_owned(), draft, origin, ids, SEEDED_AT);
    world.workers.put(ACME_ID, script);
}
