//! The ledger: every request that reached `/client/v4`, faulted ones included.
//!
//! It is the tests' oracle. An entry is made when the head of a request has been read, so a
//! request that never gets an answer is on it too, with `status` null.
//!
//! INVARIANT: `entries` holds consecutive numbers, `first` being that of its front.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{HeaderMap, Method, Uri};
use serde_json::json;

use crate::clock::Now;

/// Entries kept; the oldest go first.
const MAX_ENTRIES: usize = 200_000;
/// Body bytes kept over all entries; the oldest entries go first.
const MAX_BODY_BYTES: usize = 512 * 1024 * 1024;

#[derive(Debug)]
struct Entry {
    time: Now,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    ray: String,
    body: Bytes,
    truncated: bool,
    status: Option<u16>,
}

/// The recorded requests, oldest first.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: u64,
    entries: VecDeque<Entry>,
    body_bytes: usize,
    body_limit: usize,
}

impl Ledger {
    /// An empty ledger that keeps at most `body_limit` bytes of each body.
    pub(crate) fn new(body_limit: usize) -> Self {
        Self {
            first: 1,
            entries: VecDeque::new(),
            body_bytes: 0,
            body_limit,
        }
    }

    /// Changes how much of each later body is kept.
    pub(crate) fn set_body_limit(&mut self, bytes: usize) {
        self.body_limit = bytes;
    }

    /// Records the head of a request; the number returned names the entry.
    pub(crate) fn begin(
        &mut self,
        time: Now,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        ray: String,
    ) -> u64 {
        self.entries.push_back(Entry {
            time,
            method,
            uri,
            headers,
            ray,
            body: Bytes::new(),
            truncated: false,
            status: None,
        });
        self.shrink();
        self.first + self.entries.len() as u64 - 1
    }

    /// Adds the body of entry `n`, up to the limit.
    pub(crate) fn body(&mut self, n: u64, body: &Bytes) {
        let limit = self.body_limit;
        if let Some(entry) = self.entry(n) {
            entry.truncated = body.len() > limit;
            entry.body = if entry.truncated {
                Bytes::copy_from_slice(body.get(..limit).unwrap_or_default())
            } else {
                body.clone()
            };
            self.body_bytes += body.len().min(limit);
            self.shrink();
        }
    }

    /// Adds the status of entry `n`.
    pub(crate) fn finish(&mut self, n: u64, status: u16) {
        if let Some(entry) = self.entry(n) {
            entry.status = Some(status);
        }
    }

    /// The entries numbered above `after`, one JSON object a line.
    pub(crate) fn render(&self, after: u64) -> String {
        let skip = usize::try_from((after + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut out = String::new();
        for (n, entry) in (self.first..).zip(&self.entries).skip(skip) {
            let headers: Vec<[String; 2]> = entry
                .headers
                .iter()
                .map(|(k, v)| {
                    [
                        k.as_str().to_owned(),
                        String::from_utf8_lossy(v.as_bytes()).into_owned(),
                    ]
                })
                .collect();
            let mut line = json!({
                "n": n,
                "time": entry.time.rfc3339(),
                "method": entry.method.as_str(),
                "path": entry.uri.path(),
                "query": entry.uri.query().unwrap_or_default(),
                "headers": headers,
                "body_base64": STANDARD.encode(&entry.body),
                "status": entry.status,
                "cf_ray": entry.ray,
            });
            if let (true, Some(map)) = (entry.truncated, line.as_object_mut()) {
                map.insert("truncated".to_owned(), json!(true));
            }
            out.push_str(&line.to_string());
            out.push('\n');
        }
        out
    }

    fn entry(&mut self, n: u64) -> Option<&mut Entry> {
        let index = n.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(index).ok()?)
    }

    fn shrink(&mut self) {
        while self.entries.len() > MAX_ENTRIES || self.body_bytes > MAX_BODY_BYTES {
            let Some(old) = self.entries.pop_front() else {
                return;
            };
            self.first += 1;
            self.body_bytes -= old.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(ledger: &mut Ledger) -> u64 {
        ledger.begin(
            Now(0),
            Method::GET,
            Uri::from_static("/client/v4/zones?page=2"),
            HeaderMap::new(),
            "ray".to_owned(),
        )
    }

    #[test]
    fn a_request_without_an_answer_has_status_null() {
        let mut ledger = Ledger::new(4);
        let n = begin(&mut ledger);
        assert_eq!(n, 1);
        let line: serde_json::Value = serde_json::from_str(&ledger.render(0)).unwrap();
        assert_eq!(line["status"], serde_json::Value::Null);
        assert_eq!(line["path"], "/client/v4/zones");
        assert_eq!(line["query"], "page=2");
    }

    #[test]
    fn a_body_above_the_limit_is_cut_and_says_so() {
        let mut ledger = Ledger::new(4);
        let n = begin(&mut ledger);
        ledger.body(n, &Bytes::from_static(b"abcdef"));
        ledger.finish(n, 200);
        let line: serde_json::Value = serde_json::from_str(&ledger.render(0)).unwrap();
        assert_eq!(line["body_base64"], STANDARD.encode("abcd"));
        assert_eq!(line["truncated"], true);
        assert_eq!(line["status"], 200);
    }

    #[test]
    fn after_skips_what_was_seen() {
        let mut ledger = Ledger::new(4);
        for _ in 0..3 {
            begin(&mut ledger);
        }
        assert_eq!(ledger.render(2).lines().count(), 1);
        assert_eq!(ledger.render(9).lines().count(), 0);
    }
}
