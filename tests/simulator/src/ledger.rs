//! The ledger: every request that reached `/client/v4`, faulted ones included.
//!
//! It is the tests' oracle. An entry is made when the head of a request has been read, so a
//! request that never gets an answer is on it too, with `status` null.
//!
//! INVARIANT: `entries` holds consecutive numbers, `first` being that of its front.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
    /// Ray, method, path, query and the headers' names and values, each followed by a NUL, which
    /// none of them can hold. A copy of its own: a header map would keep whole read buffers alive.
    head: Box<[u8]>,
    body: Box<[u8]>,
    truncated: bool,
    status: Option<u16>,
    version: Option<Box<str>>,
}

/// A request as it was received, and the status it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its number, from 1 on.
    pub n: u64,
    /// When its head had been read, in microseconds since the Unix epoch.
    pub time_micros: i64,
    /// The method.
    pub method: String,
    /// The path as it came, still percent-encoded.
    pub path: String,
    /// The query without its question mark; empty when there is none.
    pub query: String,
    /// Names in lower case and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body, up to the limit.
    pub body: Vec<u8>,
    /// Whether the body was longer than the limit.
    pub truncated: bool,
    /// The status of the answer; `None` when none was sent.
    pub status: Option<u16>,
    /// The ray of the answer.
    pub cf_ray: String,
    /// The version of a Worker that answered; the API has none.
    pub version: Option<String>,
}

impl Entry {
    fn unpack(&self, n: u64) -> LedgerEntry {
        let mut pieces = self
            .head
            .split(|b| *b == 0)
            .map(|piece| String::from_utf8_lossy(piece).into_owned());
        let mut next = || pieces.next().unwrap_or_default();
        let (cf_ray, method, path, query) = (next(), next(), next(), next());
        let mut headers = Vec::new();
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            headers.push((name, value));
        }
        LedgerEntry {
            n,
            time_micros: self.time.0,
            method,
            path,
            query,
            headers,
            body: self.body.to_vec(),
            truncated: self.truncated,
            status: self.status,
            cf_ray,
            version: self.version.as_deref().map(str::to_owned),
        }
    }
}

/// Names an entry; worthless after the ledger was cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId {
    era: u64,
    n: u64,
}

/// The recorded requests, oldest first.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// How often the ledger was cleared, so that a late answer does not mark a later request.
    era: u64,
    first: u64,
    entries: VecDeque<Entry>,
    body_bytes: usize,
    body_limit: usize,
}

impl Ledger {
    /// An empty ledger that keeps at most `body_limit` bytes of each body.
    pub(crate) fn new(body_limit: usize) -> Self {
        Self {
            era: 0,
            first: 1,
            entries: VecDeque::new(),
            body_bytes: 0,
            body_limit,
        }
    }

    /// Forgets everything and counts from 1 again.
    pub(crate) fn clear(&mut self, body_limit: usize) {
        *self = Self {
            era: self.era + 1,
            ..Self::new(body_limit)
        };
    }

    /// Changes how much of each later body is kept.
    pub(crate) fn set_body_limit(&mut self, bytes: usize) {
        self.body_limit = bytes;
    }

    /// Records the head of a request.
    pub(crate) fn begin(
        &mut self,
        time: Now,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        ray: &str,
    ) -> EntryId {
        self.entries.push_back(Entry {
            time,
            head: pack(method, uri, headers, ray),
            body: Box::default(),
            truncated: false,
            status: None,
            version: None,
        });
        self.shrink();
        EntryId {
            era: self.era,
            n: self.first + self.entries.len() as u64 - 1,
        }
    }

    /// Adds the body of an entry, up to the limit.
    pub(crate) fn body(&mut self, id: EntryId, body: &[u8]) {
        let limit = self.body_limit;
        if let Some(entry) = self.entry(id) {
            entry.truncated = body.len() > limit;
            entry.body = Box::from(body.get(..limit).unwrap_or(body));
            self.body_bytes += body.len().min(limit);
            self.shrink();
        }
    }

    /// Adds the status of an entry.
    pub(crate) fn finish(&mut self, id: EntryId, status: u16) {
        if let Some(entry) = self.entry(id) {
            entry.status = Some(status);
        }
    }

    /// Adds the version that answers an entry.
    pub(crate) fn version(&mut self, id: EntryId, version: &str) {
        if let Some(entry) = self.entry(id) {
            entry.version = Some(Box::from(version));
        }
    }

    /// The entries numbered above `after`, oldest first.
    pub(crate) fn entries(&self, after: u64) -> impl Iterator<Item = LedgerEntry> {
        let skip = usize::try_from((after + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        (self.first..)
            .zip(&self.entries)
            .skip(skip)
            .map(|(n, entry)| entry.unpack(n))
    }

    /// The entries numbered above `after`, one JSON object a line.
    pub(crate) fn render(&self, after: u64) -> String {
        Self::lines(self.entries(after))
    }

    /// The given entries, one JSON object a line.
    pub(crate) fn lines(entries: impl Iterator<Item = LedgerEntry>) -> String {
        let mut out = String::new();
        for entry in entries {
            let mut line = json!({
                "n": entry.n,
                "time": Now(entry.time_micros).rfc3339(),
                "method": entry.method,
                "path": entry.path,
                "query": entry.query,
                "headers": entry.headers,
                "body_base64": STANDARD.encode(&entry.body),
                "status": entry.status,
                "cf_ray": entry.cf_ray,
            });
            if let (true, Some(map)) = (entry.truncated, line.as_object_mut()) {
                map.insert("truncated".to_owned(), json!(true));
            }
            if let (Some(version), Some(map)) = (entry.version, line.as_object_mut()) {
                map.insert("version".to_owned(), json!(version));
            }
            out.push_str(&line.to_string());
            out.push('\n');
        }
        out
    }

    fn entry(&mut self, id: EntryId) -> Option<&mut Entry> {
        let index =
            id.n.checked_sub(self.first)
                .filter(|_| id.era == self.era)?;
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

fn pack(method: &Method, uri: &Uri, headers: &HeaderMap, ray: &str) -> Box<[u8]> {
    let mut head = Vec::with_capacity(512);
    let start = [
        ray,
        method.as_str(),
        uri.path(),
        uri.query().unwrap_or_default(),
    ];
    let fields = start.into_iter().map(str::as_bytes).chain(
        headers
            .iter()
            .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]),
    );
    for field in fields {
        head.extend_from_slice(field);
        head.push(0);
    }
    head.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(ledger: &mut Ledger) -> EntryId {
        ledger.begin(
            Now(0),
            &Method::GET,
            &Uri::from_static("/client/v4/zones?page=2"),
            &HeaderMap::new(),
            "ray",
        )
    }

    #[test]
    fn a_request_without_an_answer_has_status_null() {
        let mut ledger = Ledger::new(4);
        begin(&mut ledger);
        let line: serde_json::Value = serde_json::from_str(&ledger.render(0)).unwrap();
        assert_eq!(line["n"], 1);
        assert_eq!(line["status"], serde_json::Value::Null);
        assert_eq!(line["path"], "/client/v4/zones");
        assert_eq!(line["query"], "page=2");
    }

    #[test]
    fn a_body_above_the_limit_is_cut_and_says_so() {
        let mut ledger = Ledger::new(4);
        let n = begin(&mut ledger);
        ledger.body(n, b"abcdef");
        ledger.finish(n, 200);
        let line: serde_json::Value = serde_json::from_str(&ledger.render(0)).unwrap();
        assert_eq!(line["body_base64"], STANDARD.encode("abcd"));
        assert_eq!(line["truncated"], true);
        assert_eq!(line["status"], 200);
    }

    #[test]
    fn an_answer_from_before_the_ledger_was_cleared_marks_nothing() {
        let mut ledger = Ledger::new(4);
        let old = begin(&mut ledger);
        ledger.clear(4);
        begin(&mut ledger);
        ledger.finish(old, 200);
        let line: serde_json::Value = serde_json::from_str(&ledger.render(0)).unwrap();
        assert_eq!(line["n"], 1);
        assert_eq!(line["status"], serde_json::Value::Null);
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
