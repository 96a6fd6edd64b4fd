//! Jobs at work: the engine over the lab, started through the API and told in a few words.

use std::cell::Cell;
use std::rc::Rc;

use pollster::block_on;
use serde_json::{Map, Value, json};
use simulator::TOKEN;
use zonekeeper::api::API_PREFIX;
use zonekeeper::config::document::Job;
use zonekeeper::gateway::{Inbound, Reply, split_url};
use zonekeeper::jobs::limits_of;
use zonekeeper::model::typed::Typed as _;
use zonekeeper::model::{RunId, Timestamp};
use zonekeeper::run::{Run, RunState, Step, Trigger};
use zonekeeper::store::{NewRun, Store};

use super::database::Sqlite;
use super::harness::Harness;
use super::keeper::ROOT;
use super::lab::database::LabDatabase;
use super::lab::queue::Unacked;
use super::lab::writes::BY_HAND;
use super::motor::EngineMotor;

/// A principal that may do whatever a job of the tests does.
pub(crate) const BOT: &str = r#"
[[principals]]
name = "bot"
kind = "internal"
[[grants]]
name = "purges"
principals = ["bot"]
effect = "allow"
permissions = ["Cache Purge", "Zone Read"]
zones = ["example.com", "example.net", "example.org"]
[[grants]]
name = "purges-everything"
principals = ["bot"]
effect = "allow"
permissions = ["Cache Purge"]
zones = ["example.com", "example.net", "example.org"]
purge = { everything = true }
[[grants]]
name = "records"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com", "example.net", "example.org"]
"#;

/// A Zonekeeper with jobs, and everything around it.
#[derive(Clone)]
pub(crate) struct Works {
    pub(crate) harness: Rc<Harness>,
    started: Rc<Cell<u8>>,
}

/// [`BOT`] and a job of that name and kind, with more lines of TOML.
pub(crate) fn job(name: &str, kind: &str, more: &str) -> String {
    format!("[[jobs]]\nname = {name:?}\nkind = {kind:?}\nrun_as = \"bot\"\n{more}\n")
}

impl Works {
    /// One with [`BOT`] and these jobs in force.
    pub(crate) fn with(jobs: &str) -> Self {
        let harness = Harness::new(Box::new(EngineMotor), Unacked::Redelivered);
        harness.apply(&format!("{BOT}{jobs}"));
        Self {
            harness: Rc::new(harness),
            started: Rc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.harness.now()
    }

    pub(crate) fn advance_secs(&self, secs: i64) {
        self.harness.outside.advance_ms(secs * 1000);
    }

    pub(crate) fn sqlite(&self) -> &Sqlite {
        &self.harness.outside.sqlite
    }

    pub(crate) fn store(&self) -> Store<LabDatabase> {
        Store::new(LabDatabase::new(&self.harness.outside))
    }

    /// Puts another configuration in force, beside [`BOT`], which every isolate knows at once.
    pub(crate) fn apply(&self, jobs: &str) {
        self.apply_all(&format!("{BOT}{jobs}"));
    }

    /// Puts another configuration in force, which every isolate knows at once.
    pub(crate) fn apply_all(&self, config: &str) {
        self.harness.apply(config);
        self.advance_secs(6);
    }

    /// A call of our own API with the root key: the status and the body.
    pub(crate) fn api(&self, line: &str, body: &Value) -> (u16, Value) {
        self.ask(line, "", body)
    }

    /// As [`Works::api`], with more lines of headers.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &Value) -> (u16, Value) {
        self.ask_bytes(line, headers, body.to_string().into_bytes())
    }

    /// As [`Works::ask`], with a body of any kind.
    pub(crate) fn ask_bytes(&self, line: &str, headers: &str, body: Vec<u8>) -> (u16, Value) {
        let (method, target) = line.split_once(' ').unwrap();
        let head = format!(
            "{method}\nhttps://zk.example.com{target}\nauthorization:Bearer {ROOT}{headers}"
        );
        let inbound = Inbound::parse(&head);
        let answered = self.harness.event(async |gateway| {
            gateway.world.set_body(Ok(body));
            let (origin, path, query) = split_url(inbound.url);
            let path = path.strip_prefix(API_PREFIX).unwrap();
            gateway.serve_api(&inbound, origin, path, query).await.reply
        });
        match answered.unwrap() {
            Reply::Own { status, body, .. } => {
                let text = Value::from(body.as_str());
                (status.as_u16(), serde_json::from_str(&body).unwrap_or(text))
            }
            Reply::Relayed { .. } => panic!("the API hands nothing through"),
        }
    }

    /// As [`Works::api`], of what must succeed: the result.
    pub(crate) fn done(&self, line: &str, body: &Value) -> Value {
        let (status, answer) = self.api(line, body);
        assert!(status < 300, "{line}: {answer}");
        answer["result"].clone()
    }

    /// Starts a run of a job with more parameters, and leaves it in the queue.
    pub(crate) fn start(&self, job: &str, params: &Value) -> RunId {
        let asked = json!({ "params": params });
        let started = self.done(&format!("POST /api/v1/jobs/{job}/runs"), &asked);
        started["id"].as_str().unwrap().parse().unwrap()
    }

    /// Starts a run and lets the minutes pass until it has ended.
    pub(crate) fn finish(&self, job: &str, params: &Value) -> Ended {
        let run = self.start(job, params);
        self.settle();
        self.ended(run)
    }

    /// Lets the minutes pass until every run has ended.
    pub(crate) fn settle(&self) {
        if let Err(error) = self.harness.settle() {
            panic!("{error}\n{}", self.harness.outside.logs());
        }
    }

    /// Delivers what is due, and moves the clock to what is due next, until nothing is waiting.
    /// Gives how many seconds that took. There are no ticks.
    pub(crate) fn drain_in_time(&self) -> i64 {
        let begun = self.now();
        let queue = &self.harness.outside.queue;
        self.harness.drain().unwrap();
        while !queue.waiting().is_empty() {
            self.advance_secs(1);
            self.harness.drain().unwrap();
        }
        self.now().ms_since(begun) / 1000
    }

    /// The cron trigger of the next whole minute, and what it sends.
    pub(crate) fn tick(&self) {
        let into_minute = self.now().unix_ms().rem_euclid(60_000);
        self.harness.outside.advance_ms(60_000 - into_minute);
        self.harness.tick(self.now());
    }

    /// A run as it is stored.
    pub(crate) fn run(&self, id: RunId) -> (Run, Vec<Step>) {
        block_on(self.store().run(id)).unwrap().unwrap()
    }

    /// How a run stands.
    pub(crate) fn ended(&self, id: RunId) -> Ended {
        let (run, steps) = self.run(id);
        let events = block_on(self.store().run_events(id, 0, 500)).unwrap();
        Ended {
            events: events.into_iter().map(|event| event.message).collect(),
            run,
            steps,
        }
    }

    /// State and reason of a run, such as `failed: why`.
    pub(crate) fn says(&self, id: RunId) -> String {
        self.ended(id).says()
    }

    /// Every write that reached Cloudflare, as method, path below `/client/v4` and body.
    pub(crate) fn writes(&self) -> Vec<(String, String, Value)> {
        let ledger = self.harness.outside.network.borrow().lab.ledger();
        let writes = ledger
            .into_iter()
            .filter(|entry| entry.method != "GET" && !entry.query.contains(BY_HAND));
        writes
            .map(|entry| {
                let path = entry.path.strip_prefix("/client/v4").unwrap().to_owned();
                let body = serde_json::from_slice(&entry.body).unwrap_or_default();
                (entry.method, path, body)
            })
            .collect()
    }

    /// How many writes reached Cloudflare.
    pub(crate) fn sent(&self) -> usize {
        self.writes().len()
    }

    /// Every status that Cloudflare answered, but for calls by hand.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let ledger = self.harness.outside.network.borrow().lab.ledger();
        let ours = ledger.iter().filter(|e| !e.query.contains(BY_HAND));
        ours.filter_map(|entry| entry.status).collect()
    }

    /// Changes a zone past us, as somebody else would.
    pub(crate) fn by_hand(&self, method: &str, path: &str, body: &Value) -> Value {
        by_hand(&self.harness, method, path, body)
    }

    /// One call with this method and part of its target, after `passing` others, is answered so.
    pub(crate) fn answer(
        &self,
        call: (&'static str, &str),
        passing: usize,
        status: u16,
        headers: &[(&str, &str)],
    ) {
        let success = status < 300;
        let errors = json!([{"code": 1000 + i64::from(status), "message": "as the test has it"}]);
        let errors = if success { json!([]) } else { errors };
        let body = json!({"success": success, "errors": errors, "messages": [], "result": null});
        let mut network = self.harness.outside.network.borrow_mut();
        network.answer_instead(call, passing, status, headers, &body);
    }

    /// The records of a zone as they are stored, in order of their text.
    pub(crate) fn records(&self, zone_id: &str) -> Vec<Value> {
        let network = self.harness.outside.network.borrow();
        let records = network.lab.records(zone_id);
        records
            .iter()
            .map(|record| serde_json::from_str(record).unwrap())
            .collect()
    }

    pub(crate) fn fill(&self, zone_id: &str, count: usize) {
        let mut network = self.harness.outside.network.borrow_mut();
        network.lab.fill_zone(zone_id, count).unwrap();
    }

    /// A run that is not stored yet, as a tick or a call would create it.
    pub(crate) fn new_run(&self, kind: &str, params: &Value) -> NewRun {
        self.started.set(self.started.get() + 1);
        let defaults = Job::read(json!({"name": "job", "kind": kind, "run_as": "bot"})).unwrap();
        NewRun {
            id: RunId::from_random([self.started.get(); 16]),
            job: "job".to_owned(),
            kind: kind.to_owned(),
            trigger: Trigger::Api,
            slot: None,
            run_as: "bot".to_owned(),
            started_by: None,
            params: params.as_object().cloned().unwrap_or_else(Map::new),
            dry_run: false,
            limits: limits_of(&defaults),
            now: self.now(),
            skipped: None,
            cancels_others: false,
        }
    }

    /// Stores a run without sending it.
    pub(crate) fn create(&self, run: &NewRun) {
        let event = self.harness.change_event();
        block_on(self.store().create_run(run, None, &event)).unwrap();
    }

    /// Delivers a message with this id.
    pub(crate) fn deliver(&self, id: RunId) {
        self.harness
            .outside
            .queue
            .send(&self.harness.outside.clock, id, 0);
        self.harness.drain().unwrap();
    }
}

/// How a run stands.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) run: Run,
    pub(crate) steps: Vec<Step>,
    pub(crate) events: Vec<String>,
}

impl Ended {
    /// State and reason, such as `failed: why`.
    pub(crate) fn says(&self) -> String {
        let reason = self.run.reason.as_deref().unwrap_or_default();
        format!("{}: {reason}", self.run.state.as_str())
    }

    /// Itself, if it succeeded.
    ///
    /// # Errors
    /// What it says otherwise.
    pub(crate) fn succeeded(self) -> Result<Self, String> {
        match self.run.state {
            RunState::Succeeded => Ok(self),
            _ => Err(self.says()),
        }
    }

    /// What the run brought.
    pub(crate) fn result(&self) -> Value {
        self.run.result.clone().unwrap_or_default()
    }

    /// Summaries of the steps with their states, such as `done: purge 1 file of example.com`.
    pub(crate) fn steps(&self) -> Vec<String> {
        let steps = self.steps.iter();
        steps
            .map(|step| format!("{}: {}", step.state.as_str(), step.summary))
            .collect()
    }

    /// Whether something of this happened to it.
    pub(crate) fn has_event(&self, part: &str) -> bool {
        self.events.iter().any(|event| event.contains(part))
    }
}

/// Changes a zone past the product; gives the result.
pub(crate) fn by_hand(harness: &Harness, method: &str, path: &str, body: &Value) -> Value {
    let now_micros = harness.now().unix_ms() * 1000;
    let answered = harness.outside.network.borrow_mut().lab.call(
        method,
        &format!("/client/v4{path}?{BY_HAND}"),
        &[
            ("authorization", &format!("Bearer {TOKEN}")),
            ("content-type", "application/json"),
        ],
        body.to_string().as_bytes(),
        now_micros,
    );
    let answer: Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(answered.status, 200, "{answer}");
    answer["result"].clone()
}
