//! A small HTTP client over a plain socket, so that tests see exactly what was sent and received.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use simulator::{Options, Simulator, TOKEN};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Lower-case names and values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body's bytes.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// `result` of the envelope.
    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json());
        self.json()["result"].clone()
    }

    /// Status and first error code.
    pub(crate) fn error(&self) -> (u16, u64) {
        let json = self.json();
        assert_eq!(json["success"], false, "{json}");
        assert_eq!(json["result"], Value::Null, "{json}");
        (self.status, json["errors"][0]["code"].as_u64().unwrap())
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// A part of a form: name, file name, content type, content.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str);

/// The content type of [`form`].
pub(crate) const FORM: &str = "multipart/form-data; boundary=----test";

/// A `multipart/form-data` body.
pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = String::new();
    for (name, filename, content_type, content) in parts {
        write!(
            body,
            "------test\r\nContent-Disposition: form-data; name=\"{name}\""
        )
        .unwrap();
        if let Some(filename) = filename {
            write!(body, "; filename=\"{filename}\"").unwrap();
        }
        if let Some(content_type) = content_type {
            write!(body, "\r\nContent-Type: {content_type}").unwrap();
        }
        write!(body, "\r\n\r\n{content}\r\n").unwrap();
    }
    body.push_str("------test--\r\n");
    body.into_bytes()
}

/// A simulator and a way to call it.
#[derive(Debug)]
pub(crate) struct Sim(Simulator);

impl Sim {
    /// A fresh one.
    pub(crate) fn start() -> Self {
        Self(Simulator::start(Options::default()).unwrap())
    }

    /// A v4 call with the right token; `path` is below `/client/v4`.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(method, path, body).unwrap()
    }

    /// Like [`Sim::call`], for calls that may be cut.
    pub(crate) fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let token = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        self.raw(
            method,
            &format!("/client/v4{path}"),
            &headers,
            body.as_bytes(),
        )
    }

    /// GET with the right token.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    /// A v4 call with the right token and a body of any type.
    pub(crate) fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let token = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", content_type),
        ];
        self.raw(method, &format!("/client/v4{path}"), &headers, body)
            .unwrap()
    }

    /// A v4 call with the right token and a form.
    pub(crate) fn form(&self, method: &str, path: &str, parts: &[Part<'_>]) -> Answer {
        self.send(method, path, FORM, &form(parts))
    }

    /// A control call.
    pub(crate) fn control(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(ToString::to_string).unwrap_or_default();
        self.raw(method, &format!("/__sim{path}"), &[], body.as_bytes())
            .unwrap()
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// The ledger's lines after `n`.
    pub(crate) fn ledger(&self, after: u64) -> Vec<Value> {
        self.lines(&format!("/ledger?after={after}"))
    }

    /// The lines of a control that lists requests.
    pub(crate) fn lines(&self, path: &str) -> Vec<Value> {
        let answer = self.control("GET", path, None);
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        String::from_utf8(answer.body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Any request, on a connection of its own.
    pub(crate) fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(self.0.addr())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "cut"))
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..split]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let body = bytes[split + 4..].to_vec();
    let length = headers
        .iter()
        .find(|(k, _)| k == "content-length")
        .map(|(_, v)| v.parse::<usize>().unwrap());
    if length.is_some_and(|length| length != body.len()) {
        return None;
    }
    Some(Answer {
        status,
        headers,
        body,
    })
}
