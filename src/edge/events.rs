//! The events of the runtime, each handed to one function of the core.

use std::rc::Rc;

use http::StatusCode;
use wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::{JsFuture, future_to_promise};
use worker::web_sys::{Request, Response};
use worker::{
    Context, Env, MessageBatch, MessageExt, ScheduleContext, ScheduledEvent, console_error,
    console_log, event,
};

use super::bridge;
use super::clock;
use super::database::D1;
use super::isolate::{Isolate, database};
use super::meter::Meter;
use super::outbound::{CallerBody, Outbound};
use super::recorder::Recorder;
use super::world::{EdgeWorld, unlock_zone};
use crate::api::API_PREFIX;
use crate::gateway::{
    After, Code, Finished, Gateway, Inbound, PREFIX, RawTarget, Reconciled, Refusal, Reply,
    below_prefix, codes_page, reconcile, split_url,
};
use crate::hooks::{HOOKS_PREFIX, secret_alarms};
use crate::jobs::{Engine, alarms};
#[cfg(target_arch = "wasm32")]
use crate::model::install_parser;
use crate::model::{RunId, Timestamp};
use crate::oauth::TOKEN_PATH;
use crate::store::{Store, StoreError};

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
    #[cfg(target_arch = "wasm32")]
    install_parser(bridge::normal_url);
}

/// Every HTTP request.
///
/// A request that may change something is carried out under `waitUntil`: in production a caller
/// that hangs up cancels its handler, and a write must not be cut between intent and outcome.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let isolate = match Isolate::of(&env) {
        Ok(isolate) => isolate,
        Err(problem) => {
            console_error!("not configured: {problem}");
            let refusal = Refusal::new(
                Code::StoreUnavailable,
                format!("This Zonekeeper is not configured: {problem}."),
            );
            return Ok(bridge::own_answer(
                refusal.status().as_u16(),
                &refusal.body(""),
                "application/json",
                None,
                false,
            ));
        }
    };
    let is_read = matches!(request.method().as_str(), "GET" | "HEAD");
    let context = Rc::new(context);
    let answer = answer(request, isolate, Rc::clone(&context));
    if is_read {
        return Ok(answer.await);
    }
    let promise = future_to_promise(async move { Ok(JsValue::from(answer.await)) });
    let kept = promise.clone();
    context.wait_until(async move {
        // A failure is seen by whoever awaits the answer.
        let _ = JsFuture::from(kept).await;
    });
    let response = JsFuture::from(promise)
        .await
        .map_err(|_| worker::Error::from("the call failed"))?;
    Ok(response.unchecked_into())
}

/// Once a minute: closes what a crash left open, then starts what is due. `scheduledTime` is the only
/// clock of schedules.
#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    // A time in milliseconds is far below 2^53.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "milliseconds are whole and small"
    )]
    let now = Timestamp::from_unix_ms(event.schedule() as i64);
    let invocation = match Invocation::new(&env) {
        Ok(invocation) => invocation,
        Err(problem) => return console_error!("tick: not configured: {problem}"),
    };
    let isolate = &invocation.world.outbound.isolate;
    let current = isolate.view.current(&invocation.store, clock::now());
    let snapshot = match current.await {
        Ok(snapshot) => snapshot,
        Err(error) => return console_error!("tick: {error}"),
    };
    match reconcile(&invocation.store, &invocation.world, now).await {
        Ok(done) if done != Reconciled::default() => console_log!("tick: {done:?}"),
        Ok(_) => {}
        Err(error) => console_error!("tick: {error}"),
    }
    // What is forgotten must be spent by the clock of calls as well, whatever the tick's time.
    let spent = now.min(clock::now());
    if let Err(error) = invocation.store.forget_logins(spent).await {
        console_error!("tick: forget logins: {error}");
    }
    if let Err(error) = invocation.store.forget_asset_jwts(spent).await {
        console_error!("tick: forget tokens of uploads: {error}");
    }
    if let Err(error) = invocation.store.forget_deliveries(spent).await {
        console_error!("tick: forget deliveries: {error}");
    }
    for alarm in secret_alarms(&snapshot.config.document, &invocation.world, now) {
        console_error!("ALARM: {}", alarm.message);
    }
    match invocation.engine().tick(now).await {
        Ok(done) if !done.is_quiet() => console_log!("tick: {done:?}"),
        Ok(_) => {}
        Err(error) => console_error!("tick: {error}"),
    }
    #[cfg(feature = "faults")]
    super::meter::report("a tick", &invocation.world.meter);
}

/// The queue of runs, and the one of messages that failed for good. Each message is acknowledged by
/// itself, so that a poisonous one never keeps its neighbours back.
///
/// A message is only a hint: whatever goes wrong here is found by the sweeper.
///
/// `wrangler.toml` has batches of one, as a run takes what subrequests an invocation has; the messages
/// of a larger batch share them.
#[event(queue)]
async fn queue(batch: MessageBatch<JsValue>, env: Env, _context: Context) -> worker::Result<()> {
    let is_dead = batch.queue() == DEAD_QUEUE;
    let invocation = Invocation::new(&env);
    for message in batch.raw_iter() {
        let id = message.body().as_string();
        let Some(id) = id.and_then(|text| text.parse::<RunId>().ok()) else {
            console_error!("queue: message {} holds no run", message.id());
            message.ack();
            continue;
        };
        match &invocation {
            Ok(invocation) if is_dead => invocation.engine().bury(id).await,
            Ok(invocation) => invocation.engine().deliver(id).await,
            Err(problem) => console_error!("queue: not configured: {problem}"),
        }
        message.ack();
    }
    #[cfg(feature = "faults")]
    if let Ok(invocation) = &invocation {
        super::meter::report("a message", &invocation.world.meter);
    }
    Ok(())
}

/// The queue whose messages failed for good, as in `wrangler.toml`.
const DEAD_QUEUE: &str = "zonekeeper-dead";

/// What works on runs once: its own view of the store, so that its subrequests are counted.
struct Invocation {
    store: Store<D1>,
    world: EdgeWorld,
}

impl Invocation {
    fn new(env: &Env) -> Result<Self, String> {
        let isolate = Isolate::of(env)?;
        let meter = Meter::default();
        let store = Store::new(D1::new(database(env)?, meter.clone()));
        let world = EdgeWorld {
            outbound: Outbound { isolate },
            meter,
            caller: None,
            relays_caller: false,
            #[cfg(feature = "faults")]
            fault: None,
        };
        Ok(Self { store, world })
    }

    fn engine(&self) -> Engine<'_, D1, EdgeWorld> {
        let isolate = &self.world.outbound.isolate;
        Engine {
            gateway: Gateway {
                settings: &isolate.settings,
                view: &isolate.view,
                store: &self.store,
                world: &self.world,
            },
        }
    }
}

/// Answers a request and sees to what is written down after that.
async fn answer(request: Request, isolate: Rc<Isolate>, context: Rc<Context>) -> Response {
    let call = bridge::Call::new(request);
    let head = call.head();
    let inbound = Inbound::parse(&head);
    let without_body = inbound.method == "HEAD";
    let caller = CallerBody {
        call,
        content_encoding: inbound.content_encoding.map(str::to_owned),
    };
    let finished = route(&inbound, &isolate, caller).await;
    for after in finished.after {
        write_down(after, &isolate, &context);
    }
    if isolate.view.refresh_due(clock::now()) {
        let isolate = Rc::clone(&isolate);
        context.wait_until(async move {
            if let Err(error) = isolate.view.refresh(&isolate.store, clock::now()).await {
                console_error!("refresh: {error}");
            }
        });
    }
    match finished.reply {
        Reply::Own {
            status,
            body,
            content_type,
            retry_after_secs,
        } => bridge::own_answer(
            status.as_u16(),
            &body,
            content_type,
            retry_after_secs,
            without_body,
        ),
        Reply::Relayed {
            response,
            body,
            deprecated,
        } => bridge::relay_answer(&response, body, deprecated.as_deref(), without_body),
    }
}

/// The whole list of what is served.
async fn route(
    inbound: &Inbound<'_>,
    isolate: &Rc<Isolate>,
    caller: CallerBody,
) -> Finished<Response> {
    let (origin, path, query) = split_url(inbound.url);
    let below = below_prefix(path);
    let world = EdgeWorld {
        outbound: Outbound {
            isolate: Rc::clone(isolate),
        },
        meter: Meter::default(),
        caller: Some(caller),
        relays_caller: below.is_some(),
        #[cfg(feature = "faults")]
        fault: inbound.fault.map(str::to_owned),
    };
    let gateway = Gateway {
        settings: &isolate.settings,
        view: &isolate.view,
        store: &isolate.store,
        world: &world,
    };
    if let Some(path) = below {
        let raw = RawTarget { path, query };
        return gateway.serve(inbound, origin, raw).await;
    }
    let below_api = path.strip_prefix(API_PREFIX);
    if let Some(path) = below_api.filter(|rest| rest.starts_with('/')) {
        return gateway.serve_api(inbound, origin, path, query).await;
    }
    if let Some(name) = path.strip_prefix(HOOKS_PREFIX) {
        return gateway.receive_hook(inbound, origin, name).await;
    }
    if path == TOKEN_PATH {
        return gateway.exchange_token(inbound, origin).await;
    }
    let reply = match path {
        "/healthz" => Reply::json(StatusCode::OK, r#"{"status":"ok"}"#.to_owned()),
        "/readyz" => ready(isolate, &gateway).await,
        "/errors" => Reply::Own {
            status: StatusCode::OK,
            body: codes_page(),
            content_type: "text/html; charset=utf-8",
            retry_after_secs: None,
        },
        _ => {
            let text = format!(
                "There is nothing at this address: Cloudflare's API is served below {PREFIX}, Zonekeeper's own below {API_PREFIX}."
            );
            let refusal = Refusal::new(Code::NotFound, text);
            Reply::json(refusal.status(), refusal.body(origin))
        }
    };
    Finished {
        reply,
        after: Vec::new(),
    }
}

/// Whether calls can be served now, and what an operator should know.
async fn ready(isolate: &Isolate, gateway: &Gateway<'_, D1, EdgeWorld>) -> Reply<Response> {
    let mut warnings = Vec::new();
    if isolate.settings.own.is_none() {
        warnings
            .push("OWN_ACCOUNT_ID and the vars beside it are not set, so every write is refused");
    }
    if matches!(
        isolate.settings.credential,
        crate::settings::UpstreamCredential::Legacy { .. }
    ) {
        warnings.push("the upstream credential is a Global API Key, which cannot be limited; use an API token");
    }
    let now = clock::now();
    let found = async {
        let snapshot = isolate.view.refresh(&isolate.store, now).await?;
        let document = &snapshot.config.document;
        let mut alarms = alarms(&isolate.store, document, now).await?;
        alarms.extend(secret_alarms(document, gateway.world, now));
        Ok::<_, StoreError>((alarms, gateway.credential_warnings(&snapshot, now).await))
    };
    let (status, word, alarms) = match found.await {
        Ok((alarms, about_credential)) => {
            warnings.extend(about_credential);
            (StatusCode::OK, "ready", alarms)
        }
        Err(error) => {
            console_error!("readyz: {error}");
            let word = "the store cannot be reached";
            (StatusCode::SERVICE_UNAVAILABLE, word, Vec::new())
        }
    };
    // Who may look here is not known, so names of jobs are left out.
    let kinds: Vec<&str> = alarms.iter().map(|alarm| alarm.kind).collect();
    Reply::json(
        status,
        serde_json::json!({"status": word, "warnings": warnings, "alarms": kinds}).to_string(),
    )
}

/// Sees to one thing that is written down after the answer.
fn write_down(after: After, isolate: &Rc<Isolate>, context: &Context) {
    let isolate = Rc::clone(isolate);
    match after {
        After::Event(event) => Recorder::push(&isolate, *event, context),
        After::Outcome(row) => context.wait_until(async move {
            if let Err(error) = isolate.store.record_outcome(&row, clock::now()).await {
                console_error!("record outcome {}: {error}", row.id);
            }
        }),
        After::Settled(row) => context.wait_until(async move {
            if let Err(error) = isolate.store.record_settled(&row, clock::now()).await {
                console_error!("record outcome {}: {error}", row.id);
            }
        }),
        After::KeyUse(key, at) => context.wait_until(async move {
            if let Err(error) = isolate.store.note_key_use(&[(key, at)]).await {
                console_error!("note the use of key {key}: {error}");
            }
        }),
        After::Unlock(lease) => context.wait_until(async move {
            unlock_zone(&isolate.env, &lease).await;
        }),
    }
}
