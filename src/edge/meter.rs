//! Counts the subrequests of one invocation.

use std::cell::Cell;
use std::rc::Rc;

/// How many subrequests were made: D1, fetch, KV and queue calls. Its copies count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Rc<Cell<u32>>);

impl Meter {
    /// Counts one more.
    pub(super) fn count(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// How many there were.
    pub(super) fn read(&self) -> u32 {
        self.0.get()
    }
}

/// How much an invocation used, in the log of a build with the `faults` feature: its subrequests, and
/// the bytes of memory the isolate has. That never shrinks, so it is the most there ever was.
#[cfg(feature = "faults")]
pub(super) fn report(event: &str, meter: &Meter) {
    use wasm_bindgen::JsCast as _;
    use worker::js_sys::{ArrayBuffer, WebAssembly::Memory};

    let memory = wasm_bindgen::memory().unchecked_into::<Memory>();
    let buffer = memory.buffer().unchecked_into::<ArrayBuffer>();
    worker::console_log!(
        "used by {event}: {} subrequests, {} bytes",
        meter.read(),
        buffer.byte_length()
    );
}
