//! The Rust side of `bridge.js`.

use wasm_bindgen::prelude::*;
use worker::js_sys::Promise;
use worker::web_sys::{Request, Response};

#[wasm_bindgen(module = "/src/edge/bridge.js")]
extern "C" {
    pub(super) fn configure(
        forwarded: &str,
        read: &str,
        own_prefix: &str,
        relayed: &str,
        credential_json: &str,
    );

    /// One call as it came.
    pub(super) type Call;

    #[wasm_bindgen(constructor)]
    pub(super) fn new(request: Request) -> Call;

    #[wasm_bindgen(method, getter)]
    pub(super) fn head(this: &Call) -> String;

    #[wasm_bindgen(method)]
    pub(super) fn relay(
        this: &Call,
        url: &str,
        method: &str,
        body: Option<&str>,
        content_type: &str,
        form: Option<&[u8]>,
        bearer: Option<&str>,
        deadline_ms: u32,
    ) -> Promise;

    #[wasm_bindgen(method)]
    pub(super) fn body(this: &Call, cap: u32, deadline_ms: u32, encoding: Option<&str>) -> Promise;

    pub(super) fn exchange(
        url: &str,
        method: &str,
        body: Option<&str>,
        cap: u32,
        deadline_ms: u32,
    ) -> Promise;

    /// The normal form of a URL, where it has one.
    #[wasm_bindgen(js_name = normalUrl)]
    pub(super) fn normal_url(text: &str) -> Option<String>;

    pub(super) fn header(response: &Response, name: &str) -> Option<String>;

    #[wasm_bindgen(js_name = relayOwn)]
    pub(super) fn relay_own(
        url: &str,
        method: &str,
        body: Option<&str>,
        content_type: &str,
        form: Option<&[u8]>,
        deadline_ms: u32,
    ) -> Promise;

    pub(super) fn probe(url: &str, headers: &str, body: Option<&str>, deadline_ms: u32) -> Promise;

    pub(super) fn inflate(deflated: &[u8], cap: u32, deadline_ms: u32) -> Promise;

    #[wasm_bindgen(js_name = putBlob)]
    pub(super) fn put_blob(
        env: &JsValue,
        key: &str,
        bytes: Vec<u8>,
        keep_secs: Option<u32>,
    ) -> Promise;

    #[wasm_bindgen(js_name = getBlob)]
    pub(super) fn get_blob(env: &JsValue, key: &str) -> Promise;

    #[wasm_bindgen(js_name = deleteBlob)]
    pub(super) fn delete_blob(env: &JsValue, key: &str) -> Promise;

    #[wasm_bindgen(js_name = fetchPublic)]
    pub(super) fn fetch_public(url: &str, cap: u32, deadline_ms: u32) -> Promise;

    #[wasm_bindgen(js_name = verifySignature)]
    pub(super) fn verify_signature(
        jwk: &str,
        algorithm: &str,
        signature: &[u8],
        input: &str,
    ) -> Promise;

    #[wasm_bindgen(js_name = askObject)]
    pub(super) fn ask_object(env: &JsValue, binding: &str, name: &str, question: &str) -> Promise;

    #[wasm_bindgen(js_name = lockZone)]
    pub(super) fn lock_zone(env: &JsValue, zone: &str) -> Promise;

    #[wasm_bindgen(js_name = unlockZone)]
    pub(super) fn unlock_zone(env: &JsValue, zone: &str, fence: &str) -> Promise;

    pub(super) fn enqueue(env: &JsValue, ids: &str, delay_seconds: u32) -> Promise;

    #[wasm_bindgen(js_name = readAnswer)]
    pub(super) fn read_answer(response: &Response, cap: u32, deadline_ms: u32) -> Promise;

    #[wasm_bindgen(js_name = relayAnswer)]
    pub(super) fn relay_answer(
        response: &Response,
        body: Option<Vec<u8>>,
        deprecated: Option<&str>,
        without_body: bool,
    ) -> Response;

    #[wasm_bindgen(js_name = ownAnswer)]
    pub(super) fn own_answer(
        status: u16,
        body: &str,
        content_type: &str,
        retry_after: Option<u32>,
        without_body: bool,
    ) -> Response;

    #[wasm_bindgen(js_name = utcOffsetSecs)]
    pub(super) fn utc_offset_secs(zone: &str, ms: f64) -> Option<i32>;
}

/// The number that stands for a fault of the connection.
pub(super) const DEADLINE: u32 = 2;
/// The number that stands for a body over its cap.
pub(super) const TOO_LARGE: u32 = 3;

/// The fault a promise settled with in place of an answer or a body, if it did.
pub(super) fn fault_of(value: &JsValue) -> Option<u32> {
    // The bridge settles with small whole numbers only.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1 to 4"
    )]
    value.as_f64().map(|number| number as u32)
}
