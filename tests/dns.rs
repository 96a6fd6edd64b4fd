//! Sets of DNS records against rules of the API: one copy of them small and here, one the simulator.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "the simulator's own tests use the rest")]
#[path = "simulator/tests/api/support.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use simulator::{TOKEN, ZONE_COM_ID, ZONE_NET_ID};
use support::Sim;
use zonekeeper::dns::{Batch, Difference, Limits, Record, batches, difference, to_bind};

/// A small deterministic generator: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    /// A record below `zone`, as a client writes it.
    fn record(&mut self, zone: &str, names: usize) -> Value {
        let name = format!("n{}.{zone}", self.below(names));
        let kind = self.of(&["A", "A", "AAAA", "CNAME", "TXT", "MX", "NS", "SRV", "CAA"]);
        let number = self.below(4);
        let mut body = json!({"name": name, "type": kind, "ttl": 1 + 299 * self.below(2)});
        match kind {
            "A" => body["content"] = json!(format!("192.0.2.{number}")),
            "AAAA" => body["content"] = json!(format!("2001:db8::{number}")),
            "TXT" => body["content"] = json!(format!("\"text {number}\"")),
            "SRV" => {
                body["data"] =
                    json!({"priority": number, "weight": 1, "port": 5060, "target": "sip.test"});
            }
            "CAA" => {
                body["data"] = json!({"flags": 0, "tag": "issue", "value": format!("ca{number}")});
            }
            _ => body["content"] = json!(format!("host{number}.test")),
        }
        if kind == "MX" {
            body["priority"] = json!(self.below(2) * 10);
        }
        if matches!(kind, "A" | "AAAA" | "CNAME") {
            body["proxied"] = json!(self.below(3) == 0);
        }
        if self.below(4) == 0 {
            body["comment"] = json!(self.of(&["one", "two"]));
        }
        body
    }

    /// Records that a zone can have together.
    fn zone(&mut self, zone: &str, names: usize, tries: usize) -> Zone {
        let mut made = Zone::default();
        for _ in 0..=self.below(tries) {
            let body = self.record(zone, names);
            // What is in conflict with the others is left away.
            let _ = made.create(Record::from_api(&body.to_string()).unwrap());
        }
        made
    }
}

/// The rules between records of a zone: those of NOTES "DNS records" and "Error codes", as the API
/// applies them, one record after the other.
#[derive(Clone, Default)]
struct Zone {
    records: BTreeMap<String, Record>,
    next_id: usize,
}

impl Zone {
    fn create(&mut self, mut record: Record) -> Result<(), String> {
        self.check(&record, None)?;
        self.next_id += 1;
        record.id = format!("{:032x}", self.next_id);
        self.records.insert(record.id.clone(), record);
        Ok(())
    }

    fn check(&self, record: &Record, except: Option<&str>) -> Result<(), String> {
        let is_address = |kind: &str| matches!(kind, "A" | "AAAA");
        for other in self.records.values() {
            if other.name != record.name || Some(other.id.as_str()) == except {
                continue;
            }
            let (a, b) = (record.kind.as_str(), other.kind.as_str());
            let has_both = |is_one: fn(&str) -> bool, is_other: &dyn Fn(&str) -> bool| {
                (is_one(a) && is_other(b)) || (is_one(b) && is_other(a))
            };
            if has_both(|kind| kind == "CNAME", &|kind| {
                is_address(kind) || kind == "CNAME"
            }) || has_both(|kind| kind == "NS", &|kind| !matches!(kind, "NS" | "DS"))
                || (a == b
                    && (&record.content, record.priority) == (&other.content, other.priority))
            {
                return Err(format!("{record:?} beside {other:?}"));
            }
        }
        Ok(())
    }

    /// Applies a body as one transaction.
    fn apply(&mut self, batch: &Batch) -> Result<(), String> {
        let body: Value = serde_json::from_str(&batch.body).unwrap();
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        for item in list("deletes") {
            let id = item["id"].as_str().unwrap();
            self.records.remove(id).ok_or_else(|| format!("no {id}"))?;
        }
        for item in list("puts") {
            let after = Record::from_api(&item.to_string()).unwrap();
            let before = self.records.get(&after.id).ok_or("no record to put")?;
            if (&before.name, &before.kind) != (&after.name, &after.kind) {
                return Err(format!("{before:?} became {after:?}"));
            }
            self.check(&after, Some(&after.id))?;
            self.records.insert(after.id.clone(), after);
        }
        for item in list("posts") {
            self.create(Record::from_api(&item.to_string()).unwrap())?;
        }
        Ok(())
    }

    fn list(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    fn names(&self) -> BTreeSet<String> {
        self.records.values().map(|r| r.name.clone()).collect()
    }
}

const WIDE: usize = 8 << 20;

#[test]
fn every_batch_is_valid_at_its_place_and_all_together_reach_what_is_desired() {
    let mut random = Random(0x5eed);
    for round in 0..3_000 {
        let names = 1 + random.below(8);
        let start = random.zone("example.com", names, 40);
        let target = random.zone("example.com", names, 40);
        let found = difference("example.com", start.list(), target.list());
        let records = 1 + random.below(12);
        let made = batches(
            &found,
            Limits {
                records,
                bytes: WIDE,
            },
        );
        assert_eq!(made.len(), found.len().div_ceil(records), "round {round}");
        check_applied(&start, &target, &made, round);

        // A limit of bytes costs batches, but never their order.
        let bytes = 200 + random.below(1_000);
        let made = batches(&found, Limits { records, bytes });
        assert!(made.iter().all(|b| b.body.len() <= bytes || b.count == 1));
        check_applied(&start, &target, &made, round);
    }
}

fn check_applied(start: &Zone, target: &Zone, made: &[Batch], round: usize) {
    let mut zone = start.clone();
    for batch in made {
        assert!(batch.count > 0);
        if let Err(error) = zone.apply(batch) {
            panic!("round {round}: {error}\n{batch:#?}");
        }
    }
    let rest = difference("example.com", zone.list(), target.list());
    assert!(rest.is_empty(), "round {round}: {:?}", rest.describe(9));
}

#[test]
fn a_name_that_stays_is_not_emptied_between_batches_of_even_size() {
    let mut random = Random(0xcafe);
    let (mut cuts, mut emptied) = (0, 0);
    for _ in 0..500 {
        let start = random.zone("example.com", 40, 120);
        let target = random.zone("example.com", 40, 120);
        let found = difference("example.com", start.list(), target.list());
        let made = batches(
            &found,
            Limits {
                records: 20,
                bytes: WIDE,
            },
        );
        let both = &start.names() & &target.names();
        let mut zone = start;
        for batch in &made {
            zone.apply(batch).unwrap();
            cuts += 1;
            emptied += both.difference(&zone.names()).count();
        }
    }
    assert!(cuts > 1_000, "{cuts}");
    assert_eq!(emptied, 0);
}

#[test]
fn ten_thousand_records_take_as_few_batches_as_there_can_be() {
    let record = |n: usize, content: &str, id: bool| {
        let id = if id {
            format!("{n:032x}")
        } else {
            String::new()
        };
        Record::from_api(&format!(
            r#"{{"id":"{id}","name":"n{n}.example.com","type":"A","content":"{content}","ttl":300}}"#
        ))
        .unwrap()
    };
    let current: Vec<Record> = (0..10_000).map(|n| record(n, "192.0.2.1", true)).collect();
    let desired: Vec<Record> = (0..10_000)
        .rev()
        .map(|n| record(n + n % 3, ["192.0.2.1", "192.0.2.2"][n % 2], false))
        .collect();
    let found = difference("example.com", current, desired);
    for records in [200, 3_500] {
        let made = batches(
            &found,
            Limits {
                records,
                bytes: WIDE,
            },
        );
        assert_eq!(made.len(), found.len().div_ceil(records));
        let touched: usize = made.iter().map(|batch| batch.count).sum();
        assert_eq!(touched, found.len());
    }
    // Many records of one name must not take time that grows with their square.
    let one_name = |from: usize| -> Vec<Record> {
        (from..from + 10_000)
            .map(|n| {
                let json =
                    format!(r#"{{"name":"example.com","type":"TXT","content":"number {n}"}}"#);
                Record::from_api(&json).unwrap()
            })
            .collect()
    };
    let found = difference("example.com", one_name(0), one_name(5_000));
    assert_eq!((found.changes.len(), found.unchanged), (5_000, 5_000));
    assert_eq!(
        batches(
            &found,
            Limits {
                records: 200,
                bytes: WIDE
            }
        )
        .len(),
        25
    );
}

/// The records of a simulated zone.
fn listed(sim: &Sim, zone: &str) -> Vec<Record> {
    let answer = sim.get(&format!("/zones/{zone}/dns_records?per_page=5000"));
    let items = answer.result();
    (items.as_array().unwrap().iter())
        .map(|item| Record::from_api(&item.to_string()).unwrap())
        .collect()
}

fn apply(sim: &Sim, zone: &str, difference: &Difference, records: usize) {
    for batch in batches(
        difference,
        Limits {
            records,
            bytes: WIDE,
        },
    ) {
        let body: Value = serde_json::from_str(&batch.body).unwrap();
        let path = format!("/zones/{zone}/dns_records/batch");
        let answer = sim.call("POST", &path, Some(&body));
        assert_eq!(answer.status, 200, "{}\n{body}", answer.json());
    }
}

#[test]
fn the_api_takes_every_batch_and_a_snapshot_is_restored() {
    let sim = Sim::start();
    let mut random = Random(0xd15c);
    let snapshot: Vec<String> = listed(&sim, ZONE_NET_ID)
        .iter()
        .map(Record::to_stored)
        .collect();
    for _ in 0..6 {
        let target = random.zone("example.net", 30, 300);
        let found = difference("example.net", listed(&sim, ZONE_NET_ID), target.list());
        apply(&sim, ZONE_NET_ID, &found, 1 + random.below(60));
        let rest = difference("example.net", listed(&sim, ZONE_NET_ID), target.list());
        assert!(rest.is_empty(), "{:?}", rest.describe(9));
        assert_eq!(rest.unchanged, target.records.len());
    }
    let stored: Vec<Record> = (snapshot.iter())
        .map(|line| Record::from_stored(line).unwrap())
        .collect();
    let count = stored.len();
    assert!(count > 3);
    let found = difference("example.net", listed(&sim, ZONE_NET_ID), stored.clone());
    apply(&sim, ZONE_NET_ID, &found, 200);
    let rest = difference("example.net", listed(&sim, ZONE_NET_ID), stored);
    assert!(rest.is_empty(), "{:?}", rest.describe(9));
    assert_eq!(rest.unchanged, count);
}

/// One of every type, and what zone files find hard.
fn all_types(zone: &str) -> Vec<Record> {
    let long = "k".repeat(600);
    let bodies = [
        json!({"name": "a", "type": "A", "content": "192.0.2.1", "proxied": true, "comment": "a; b (c)"}),
        json!({"name": "*", "type": "A", "content": "192.0.2.2", "ttl": 300, "comment": "cf_tags= here", "tags": ["team:web", "x:y, \"z\" = 1"]}),
        json!({"name": "a", "type": "AAAA", "content": "2001:db8::1", "ttl": 60}),
        json!({"name": "caa", "type": "CAA", "data": {"flags": 0, "tag": "iodef", "value": "mailto:a@b.test"}}),
        json!({"name": "cert", "type": "CERT", "data": {"type": 1, "key_tag": 2, "algorithm": 8, "certificate": "AbC+/w=="}}),
        json!({"name": "cname", "type": "CNAME", "content": "target.test", "settings": {"flatten_cname": true}, "comment": "one"}),
        json!({"name": "key", "type": "DNSKEY", "data": {"flags": 257, "protocol": 3, "algorithm": 13, "public_key": "AbC+/w=="}}),
        json!({"name": "sub", "type": "NS", "content": "ns.test", "ttl": 3600}),
        json!({"name": "sub", "type": "DS", "data": {"key_tag": 1, "algorithm": 13, "digest_type": 2, "digest": "ABCD"}}),
        json!({"name": "https", "type": "HTTPS", "data": {"priority": 1, "target": ".", "value": "alpn=\"h3,h2\" ipv4hint=\"192.0.2.1\""}}),
        json!({"name": "svcb", "type": "SVCB", "data": {"priority": 0, "target": "svc.test", "value": ""}}),
        json!({"name": "loc", "type": "LOC", "data": {
            "lat_degrees": 51, "lat_minutes": 30, "lat_seconds": 12.748, "lat_direction": "N",
            "long_degrees": 0, "long_minutes": 7, "long_seconds": 39, "long_direction": "W",
            "altitude": -2.5, "size": 1, "precision_horz": 0, "precision_vert": 0}}),
        json!({"name": "mx", "type": "MX", "content": "mail.test", "priority": 10}),
        json!({"name": "mx", "type": "MX", "content": "mail.test", "priority": 20}),
        json!({"name": "naptr", "type": "NAPTR", "data": {"order": 100, "preference": 10,
            "flags": "S", "service": "SIP+D2U", "regex": "", "replacement": "_sip._udp.test"}}),
        json!({"name": "pgp", "type": "OPENPGPKEY", "content": "AbC+/w=="}),
        json!({"name": "ptr", "type": "PTR", "content": "host.test"}),
        json!({"name": "smimea", "type": "SMIMEA", "data": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": "00ff"}}),
        json!({"name": "_sip._tcp", "type": "SRV", "data": {"priority": 1, "weight": 2, "port": 5060, "target": "sip.test"}}),
        json!({"name": "ssh", "type": "SSHFP", "data": {"algorithm": 4, "type": 2, "fingerprint": "abcd"}}),
        json!({"name": "_443._tcp", "type": "TLSA", "data": {"usage": 3, "selector": 1, "matching_type": 1, "certificate": "00ff"}}),
        json!({"name": "t1", "type": "TXT", "content": "v=spf1 include:_spf.test -all", "comment": "text"}),
        json!({"name": "t2", "type": "TXT", "content": "\"semi;colon \\\"quoted\\\" back\\\\slash\""}),
        json!({"name": "t3", "type": "TXT", "content": long}),
        json!({"name": "t4", "type": "TXT", "content": "\"one\" \"two\""}),
        json!({"name": "t5", "type": "TXT", "content": "(not ; a comment)"}),
        json!({"name": "uri", "type": "URI", "priority": 10, "data": {"weight": 1, "target": "https://a.test/?b=c;d"}}),
    ];
    (bodies.into_iter())
        .map(|mut body| {
            body["name"] = json!(format!("{}.{zone}", body["name"].as_str().unwrap()));
            Record::from_api(&body.to_string()).unwrap()
        })
        .collect()
}

fn import(sim: &Sim, zone: &str, file: &str) -> Value {
    let body = format!(
        "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"z.txt\"\r\n\r\n{file}\r\n--B--\r\n"
    );
    let token = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "multipart/form-data; boundary=B"),
    ];
    let path = format!("/client/v4/zones/{zone}/dns_records/import");
    let answer = sim.raw("POST", &path, &headers, body.as_bytes());
    answer.expect("the import is answered").result()
}

#[test]
fn a_zone_file_imported_gives_the_same_records() {
    let sim = Sim::start();
    let records = all_types("example.com");
    let types: BTreeSet<&str> = records.iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(types.len(), 21);
    let nothing = difference("example.com", listed(&sim, ZONE_COM_ID), Vec::new());
    apply(&sim, ZONE_COM_ID, &nothing, 200);
    assert_eq!(listed(&sim, ZONE_COM_ID).len(), 0);

    let result = import(&sim, ZONE_COM_ID, &to_bind("example.com", &records));
    assert_eq!(result["recs_added"], records.len());
    let rest = difference("example.com", listed(&sim, ZONE_COM_ID), records.clone());
    assert!(rest.is_empty(), "{:#?}", rest.describe(99));
    assert_eq!(rest.unchanged, records.len());
}

#[test]
fn records_of_every_type_are_created_and_listed_as_the_same() {
    let sim = Sim::start();
    let records = all_types("example.net");
    let found = difference("example.net", listed(&sim, ZONE_NET_ID), records.clone());
    apply(&sim, ZONE_NET_ID, &found, 200);
    let rest = difference("example.net", listed(&sim, ZONE_NET_ID), records.clone());
    assert!(rest.is_empty(), "{:#?}", rest.describe(99));
    assert_eq!(rest.unchanged, records.len());
    // What is stored is what is listed.
    for record in listed(&sim, ZONE_NET_ID) {
        assert_eq!(Record::from_stored(&record.to_stored()), Ok(record));
    }
}
