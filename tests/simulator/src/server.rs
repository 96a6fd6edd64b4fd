//! The HTTP server: connections, and the faults that may meet a call on its way to the
//! [`Service`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::Collect;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::auth;
use crate::clock::Clock;
use crate::control;
use crate::faults::{Action, Faults, Headers, Reset};
use crate::hosts::{self, Host, Manner};
use crate::io::Socket;
use crate::oidc;
use crate::seed;
use crate::service::{Service, is_v4, lock, not_found, respond};

/// How to run a simulator.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes any that is free.
    pub port: u16,
    /// How much of each request body the ledger keeps; longer ones are cut and marked.
    pub ledger_body_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            ledger_body_bytes: 1024 * 1024,
        }
    }
}

/// A running simulator, on threads of its own; dropping it stops it.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Simulator {
    /// Starts a freshly seeded simulator; it accepts connections when this returns.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(&options, addr));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("simulator")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok(Self {
            addr,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What `GET /__sim/state` answers.
    #[must_use]
    pub fn state_json(&self) -> String {
        seed::state(&lock(&self.shared.service.world)).to_string()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) clock: Clock,
    pub(crate) ledger_body_bytes: usize,
}

impl Shared {
    fn new(options: &Options, addr: SocketAddr) -> Self {
        Self {
            service: Service::new(format!("http://{addr}"), options.ledger_body_bytes),
            faults: Mutex::default(),
            clock: Clock::default(),
            ledger_body_bytes: options.ledger_body_bytes,
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, say; try again a little later.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Answers are written whole, so waiting to fill a packet only adds delay.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let socket = Socket::new(stream, Arc::clone(&reset));
            let service =
                service_fn(|request| serve(Arc::clone(&shared), request, Arc::clone(&reset)));
            // A connection that ends in an error has nobody left to tell.
            // No timeout: a pool upstream of the tests may keep a connection idle for long.
            let _ = http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(1024 * 1024)
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was cut on purpose")
    }
}

impl std::error::Error for Cut {}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Sending>, Cut> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    if let Some(document) = oidc::document(path).filter(|_| is_read) {
        let entry = shared.service.fetch_begin(&head, shared.clock.now());
        let action = lock(&shared.faults).take_named(head.method.as_str(), path);
        let answer = || shared.service.publish(document);
        let response = faulted(action.unwrap_or_default(), &head.headers, &reset, answer).await?;
        shared.service.fetch_finish(entry, response.status());
        return Ok(response);
    }
    if let Some(host) = hosts::host(head.method.as_str(), path) {
        let body = body.collect();
        return visit(&shared, &head, host, body, &reset).await;
    }
    if path == "/__sim" || path.starts_with("/__sim/") {
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let query = head.uri.query().unwrap_or_default();
        let reply = control::handle(&shared, &head.method, path, query, &body);
        return Ok(respond(reply, HeaderMap::new()).map(Sending::whole));
    }
    if !is_v4(path) {
        return Ok(not_found().map(Sending::whole));
    }
    let service = &shared.service;
    let begun = service.begin(&head, shared.clock.now());
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    service.body(&begun, &body);
    let action = lock(&shared.faults)
        .take(head.method.as_str(), path)
        .unwrap_or_default();
    let answer = || service.answer(&head, &body, shared.clock.now());
    let mut response = faulted(action, &head.headers, &reset, answer).await?;
    service.finish(begun, &mut response);
    Ok(response)
}

/// A request to a host other than the API: a fault may meet it that names its path, and the host
/// may itself be slow or break off.
async fn visit(
    shared: &Shared,
    head: &Parts,
    host: Host<'_>,
    body: Collect<Incoming>,
    reset: &AtomicBool,
) -> Result<Response<Sending>, Cut> {
    let service = &shared.service;
    let entry = service.visit_begin(head, shared.clock.now());
    let body = body.await.map_err(|_| Cut)?.to_bytes();
    service.visit_body(entry, &body);
    let action = lock(&shared.faults).take_named(head.method.as_str(), head.uri.path());
    let mut manner = Manner::default();
    let answer = || {
        let (response, own) = service.visit(entry, head, host, &body, shared.clock.now());
        manner = own;
        response
    };
    let response = faulted(action.unwrap_or_default(), &head.headers, reset, answer).await?;
    if let Some(delay) = manner.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if manner.is_cut {
        reset.store(true, Ordering::Release);
        return Err(Cut);
    }
    service.visit_finish(entry, response.status());
    Ok(response)
}

/// The answer to a request that a fault may meet on its way.
async fn faulted(
    action: Action,
    received: &HeaderMap,
    reset: &AtomicBool,
    answer: impl FnOnce() -> Response<Bytes>,
) -> Result<Response<Sending>, Cut> {
    if let Some(delay) = action.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if action.reset == Some(Reset::Before) {
        reset.store(true, Ordering::Release);
        return Err(Cut);
    }
    let response = instead(&action, received).unwrap_or_else(answer);
    if action.reset == Some(Reset::After) {
        reset.store(true, Ordering::Release);
        return Err(Cut);
    }
    let mut response = response.map(Sending::whole);
    if action.half_body == Some(true) {
        halve(&mut response);
    }
    Ok(response)
}

/// The answer that a fault gives in place of the API's, if it gives one.
fn instead(action: &Action, received: &HeaderMap) -> Option<Response<Bytes>> {
    let mut headers = HeaderMap::new();
    let mut status = action.status;
    let mut body = match &action.body {
        None => Bytes::new(),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(value) => Bytes::from(value.to_string()),
    };
    if let Some(url) = &action.redirect {
        status = status.or(Some(302));
        headers.insert("location", HeaderValue::try_from(url).ok()?);
    }
    if action.echo.is_some() {
        status = status.or(Some(400));
        let token = auth::received(received).unwrap_or_default();
        let message = format!("Invalid credential {token}");
        body = Bytes::from(
            json!({
                "result": null, "success": false, "messages": [],
                "errors": [{"code": 10_000, "message": message}],
            })
            .to_string(),
        );
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let given = action.headers.iter().flat_map(Headers::pairs);
    for (name, value) in given {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            continue;
        };
        if name == CONTENT_TYPE {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    let status = StatusCode::from_u16(status?).ok()?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Some(response)
}

/// Promises the whole body and sends half of it.
fn halve(response: &mut Response<Sending>) {
    let body = response.body_mut();
    let Some(whole) = body.chunk.take() else {
        return;
    };
    let length = HeaderValue::from(whole.len());
    body.chunk = Some(whole.slice(..whole.len() / 2));
    body.cut = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
    response.headers_mut().insert(CONTENT_LENGTH, length);
}

/// A body that is sent whole, or cut off after what it holds.
#[derive(Debug)]
struct Sending {
    chunk: Option<Bytes>,
    /// Runs out when what was sent has had the time to leave, and then breaks the connection.
    cut: Option<Pin<Box<Sleep>>>,
}

impl Sending {
    fn whole(bytes: Bytes) -> Self {
        Self {
            chunk: Some(bytes).filter(|b| !b.is_empty()),
            cut: None,
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(chunk) = self.chunk.take() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &mut self.cut {
            None => Poll::Ready(None),
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| Some(Err(Cut))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunk.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.chunk, &self.cut) {
            (_, Some(_)) => SizeHint::default(),
            (chunk, None) => SizeHint::with_exact(chunk.as_ref().map_or(0, |c| c.len() as u64)),
        }
    }
}
