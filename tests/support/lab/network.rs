//! The way to Cloudflare, and calls that are still on it.

use serde_json::Value;
use simulator::{Answered, Lab, TOKEN};

use crate::support::world::Clock;

/// How long after it was sent a call happens whose caller waited in vain: past the deadline of
/// 30 s, and before the caller may conclude anything from its not having happened.
pub(crate) const LATE_MS: i64 = 35_000;

#[derive(Debug)]
struct Late {
    at_ms: i64,
    method: &'static str,
    target: String,
    body: Vec<u8>,
}

/// An answer that comes in the place of the simulator's.
#[derive(Debug)]
struct Instead {
    method: &'static str,
    /// What the target contains.
    part: String,
    /// Calls that are let through first.
    passing: usize,
    answered: Answered,
}

/// The simulator and the calls that have not reached it yet.
#[derive(Debug)]
pub(crate) struct Network {
    /// Cloudflare.
    pub(crate) lab: Lab,
    late: Vec<Late>,
    instead: Vec<Instead>,
}

impl Network {
    /// A way to a freshly seeded simulator.
    pub(crate) fn new() -> Self {
        Self {
            lab: Lab::new(),
            late: Vec::new(),
            instead: Vec::new(),
        }
    }

    /// Once `passing` calls with this method and `part` in their target were let through, one of
    /// them is answered so, and Cloudflare does not see it.
    pub(crate) fn answer_instead(
        &mut self,
        (method, part): (&'static str, &str),
        passing: usize,
        status: u16,
        headers: &[(&str, &str)],
        body: &Value,
    ) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.instead.push(Instead {
            method,
            part: part.to_owned(),
            passing,
            answered: Answered {
                status,
                headers,
                body: body.to_string().into_bytes(),
            },
        });
    }

    /// Nothing is answered in Cloudflare's place any more.
    pub(crate) fn forget_answers(&mut self) {
        self.instead.clear();
    }

    fn instead(&mut self, method: &str, target: &str) -> Option<Answered> {
        let at = self
            .instead
            .iter()
            .position(|i| i.method == method && target.contains(&i.part))?;
        if self.instead[at].passing > 0 {
            self.instead[at].passing -= 1;
            return None;
        }
        Some(self.instead.remove(at).answered)
    }

    /// Makes a call with our credential, as the edge does. `target` is path and query below
    /// `/client/v4`.
    pub(crate) fn call(
        &mut self,
        clock: &Clock,
        method: &str,
        target: &str,
        body: &[u8],
    ) -> Answered {
        self.call_of_type(clock, method, target, "application/json", body)
    }

    /// The same with a body of that type.
    pub(crate) fn call_of_type(
        &mut self,
        clock: &Clock,
        method: &str,
        target: &str,
        content_type: &str,
        body: &[u8],
    ) -> Answered {
        self.catch_up(clock);
        if let Some(answered) = self.instead(method, target) {
            return answered;
        }
        let now_ms = clock.now().unix_ms();
        self.send(now_ms, (method, target, content_type), body)
    }

    /// Asks another host than the API.
    pub(crate) fn visit(
        &mut self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
        now_micros: i64,
    ) -> Answered {
        self.instead(method, path)
            .unwrap_or_else(|| self.lab.call(method, path, headers, body, now_micros))
    }

    /// Sends a call that happens [`LATE_MS`] from now.
    pub(crate) fn delay(&mut self, clock: &Clock, method: &'static str, target: &str, body: &[u8]) {
        self.late.push(Late {
            at_ms: clock.now().unix_ms() + LATE_MS,
            method,
            target: target.to_owned(),
            body: body.to_vec(),
        });
    }

    /// Lets every call happen whose time has come.
    pub(crate) fn catch_up(&mut self, clock: &Clock) {
        let now_ms = clock.now().unix_ms();
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|call: &Late| call.at_ms <= now_ms);
        self.late = late;
        for call in due {
            let late = (call.method, call.target.as_str(), "application/json");
            self.send(call.at_ms, late, &call.body);
        }
    }

    /// How many calls are still on their way.
    pub(crate) fn on_their_way(&self) -> usize {
        self.late.len()
    }

    fn send(
        &mut self,
        at_ms: i64,
        (method, target, content_type): (&str, &str, &str),
        body: &[u8],
    ) -> Answered {
        let authorization = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", content_type));
        }
        let target = format!("/client/v4{target}");
        self.lab.call(method, &target, &headers, body, at_ms * 1000)
    }
}
