//! What grants mean, by example: the rows of `tests/golden`, each a call and what is said to it.
//!
//! The rows are written from the rules, and both the policy and the naive reference must agree with
//! them. `cargo test --test golden` names every row that either gets wrong.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic like tests"
)]

#[path = "support/ask.rs"]
mod ask;
#[path = "support/reference/mod.rs"]
mod reference;
#[path = "support/timezones.rs"]
mod timezones;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::rc::Rc;

use serde::Deserialize;
use zonekeeper::catalog::{self, Family, Method};
use zonekeeper::config::document::{Document, Effect};
use zonekeeper::config::{Format, read, validate};
use zonekeeper::model::RecordName;
use zonekeeper::policy::{Policy, compile};

use ask::{ACCOUNTS, ZONES, agree, hidden_alike, put, resolution, shown};
use reference::{Call, Known, Named, Part, Place, Purged, Record, Reference, What};

/// The instant of every call that does not say otherwise, a Sunday.
const NOW: &str = "2026-11-01T12:00:00Z";

/// A file of `tests/golden`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    group: Vec<Group>,
}

/// Calls under one configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    about: String,
    /// The grants; the principals they name are declared by themselves.
    config: String,
    /// Who calls in the rows that do not say.
    #[serde(default)]
    who: Option<String>,
    /// What is called in the rows that do not say.
    #[serde(default)]
    call: Option<String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    #[serde(default)]
    who: Option<String>,
    /// `METHOD /path` in which zones and accounts stand for their ids.
    #[serde(default)]
    call: Option<String>,
    /// Zones and accounts that the query or body names.
    #[serde(default)]
    also: Vec<String>,
    /// `TYPE name content`, and `proxied` at the end.
    #[serde(default)]
    records: Option<Vec<String>>,
    /// How many records the call changes, where it is not one for each of `records`.
    #[serde(default)]
    changes: Option<usize>,
    /// `everything`, `tag a`, `host a`, `file https://a/b` or `prefix a/b`.
    #[serde(default)]
    purge: Option<Vec<String>>,
    /// What the call names of its product: `name`, or `namespace key`.
    #[serde(default)]
    things: Option<Vec<String>>,
    /// The script, then what is done to it: `script`, `bind kv_namespace:id`, `route a/*`,
    /// `module digest`, `keep`, `inherit`, `full deploy`.
    #[serde(default)]
    worker: Option<Vec<String>>,
    /// Whether it touches Zonekeeper itself.
    #[serde(default)]
    own: bool,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    used_up: Vec<String>,
    /// `allow`, `deny` or `approve`, and `by` the grant that decides, if one does.
    expect: String,
}

#[test]
fn every_row_is_decided_as_it_is_written_by_policy_and_reference() {
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for (file, topic) in topics() {
        for group in topic.group {
            let (document, policy) = compiled(&file, &group);
            for row in &group.rows {
                let name = format!("{file}: {}: {}", group.about, row.name);
                assert!(names.insert(name.clone()), "{name} stands twice");
                let call = call(&group, row).unwrap_or_else(|why| panic!("{name}: {why}"));
                wrong.extend(check(&document, &policy, &call, &row.expect, &name));
                let hidden = hidden_alike(&document, &resolution(), &policy, &call.who, call.at);
                wrong.extend(hidden.map(|what| format!("{name}\n  {what} is shown to one")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(names.len() >= 150, "there are {} rows", names.len());
}

/// Sentences about what policy and reference say otherwise than expected.
fn check(
    document: &Document,
    policy: &Policy,
    call: &Call,
    expected: &str,
    name: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (found, sentence, agreed) = put(policy, call, |request| {
        let decision = policy.decide(request);
        let by = decision.grant.map_or("", |grant| policy.grant_name(grant));
        let resolution = resolution();
        let reference = Reference {
            document,
            resolution: &resolution,
        };
        let answer = reference.decide(call, &mut |_, _, _| {});
        let reference_says = (answer.effect, answer.by.clone());
        let agreed = agree(policy, decision, &answer);
        (
            shown(decision.effect, by),
            policy.explain(request, &decision),
            (agreed, reference_says),
        )
    });
    if found != expected {
        wrong.push(format!(
            "{name}\n  expected {expected}, policy says {found}: {sentence}"
        ));
    }
    let (agreed, (effect, by)) = agreed;
    let open: Vec<String> = match by.len() {
        0 => vec![shown(effect, "")],
        _ => by.iter().map(|by| shown(effect, by)).collect(),
    };
    if !open.iter().any(|it| it == expected) {
        wrong.push(format!(
            "{name}\n  expected {expected}, the reference says {open:?}"
        ));
    }
    if found == expected && !agreed {
        wrong.push(format!("{name}\n  policy and reference do not agree"));
    }
    if effect != Effect::Allow && !sentence.starts_with(&call.who) {
        wrong.push(format!("{name}\n  not explained: {sentence}"));
    }
    wrong
}

fn topics() -> Vec<(String, Topic)> {
    let mut topics = Vec::new();
    for item in fs::read_dir("tests/golden").unwrap() {
        let path = item.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let topic = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        topics.push((name, topic));
    }
    topics.sort_by(|a, b| a.0.cmp(&b.0));
    topics
}

/// The group's configuration, which must be one that can be applied.
fn compiled(file: &str, group: &Group) -> (Rc<Document>, Policy) {
    let grants = toml::from_str(&group.config)
        .map_err(|error| error.to_string())
        .and_then(Document::from_json)
        .unwrap_or_else(|error| panic!("{file}: {}: {error}", group.about));
    let mut principals: BTreeSet<&str> = (grants.grants.iter())
        .flat_map(|grant| &grant.principals)
        .map(String::as_str)
        .collect();
    principals.insert("somebody");
    let mut text = String::new();
    for name in principals {
        let _ = write!(text, "[[principals]]\nname = \"{name}\"\nkind = \"key\"\n");
    }
    text += &group.config;
    let source = read(text.as_bytes(), Format::Toml)
        .unwrap_or_else(|error| panic!("{file}: {}: {error}", group.about));
    validate(&source).unwrap_or_else(|problems| panic!("{file}: {}: {problems:?}", group.about));
    let document = Rc::new(source.document);
    let policy = compile(&document, &Rc::new(resolution()))
        .and_then(|policy| policy.check_conditions().map(|()| policy))
        .unwrap_or_else(|error| panic!("{file}: {}: {error}", group.about));
    (document, policy)
}

fn call(group: &Group, row: &Row) -> Result<Call, String> {
    let written = row.call.as_ref().or(group.call.as_ref());
    let (method, path) = written.and_then(|it| it.split_once(' ')).ok_or("no call")?;
    let method = Method::from_str(method).ok_or("no such method")?;
    let mut segments = Vec::new();
    for segment in path.split('/') {
        segments.push(id_of(segment).unwrap_or(segment));
    }
    let path = segments.join("/");
    let resolved = catalog::resolve(method, &path);
    let mut places = Vec::new();
    for (above, segment) in segments.iter().zip(segments.iter().skip(1)) {
        match *above {
            "zones" => places.push(Place::Zone(segment.parse().map_err(|_| "no zone id")?)),
            "accounts" => {
                places.push(Place::Account(
                    segment.parse().map_err(|_| "no account id")?,
                ));
            }
            _ => {}
        }
    }
    for name in &row.also {
        places.push(place(name).ok_or_else(|| format!("there is no {name}"))?);
    }
    let zone = (ZONES.iter())
        .find(|(_, id)| segments.contains(id))
        .map_or("example.com", |(name, _)| name);
    let what = match resolved {
        Some(resolved) => What::Operation(resolved.operation),
        None => What::Unknown { method, path },
    };
    let mut call = Call {
        who: row
            .who
            .clone()
            .or(group.who.clone())
            .ok_or("nobody calls")?,
        what,
        places,
        known: Known::Nothing,
        is_own: row.own,
        at: row
            .at
            .as_deref()
            .unwrap_or(NOW)
            .parse()
            .map_err(|_| "no instant")?,
        from: match &row.from {
            Some(text) => Some(text.parse().map_err(|_| "no address")?),
            None => None,
        },
        used_up: row.used_up.clone(),
    };
    call.known = known(row, zone, call.family())?;
    Ok(call)
}

fn id_of(name: &str) -> Option<&'static str> {
    let all = ZONES.iter().chain(&ACCOUNTS);
    all.into_iter()
        .find(|(own, _)| *own == name)
        .map(|(_, id)| *id)
}

fn place(name: &str) -> Option<Place> {
    let id = id_of(name)?;
    if ZONES.iter().any(|(own, _)| *own == name) {
        id.parse().ok().map(Place::Zone)
    } else {
        id.parse().ok().map(Place::Account)
    }
}

/// What is known of the call.
fn known(row: &Row, zone: &str, family: Family) -> Result<Known, String> {
    Ok(match row {
        Row {
            records: Some(records),
            ..
        } => Known::Records {
            records: records
                .iter()
                .map(|text| record(text, zone))
                .collect::<Result<_, _>>()?,
            changes: row.changes.unwrap_or(records.len()),
        },
        Row {
            purge: Some(items), ..
        } => Known::Purge(
            items
                .iter()
                .map(|text| purged(text))
                .collect::<Result<_, _>>()?,
        ),
        Row {
            things: Some(things),
            ..
        } => {
            let things = things.iter().map(|text| {
                let (name, key) = match text.split_once(' ') {
                    Some((name, key)) => (name, Some(key.to_owned())),
                    None => (&**text, None),
                };
                let name = name.to_owned();
                Named { family, name, key }
            });
            Known::Things(things.collect())
        }
        Row {
            worker: Some(worker),
            ..
        } => {
            let (script, parts) = worker.split_first().ok_or("a worker needs its script")?;
            Known::Worker {
                script: script.clone(),
                parts: parts
                    .iter()
                    .map(|text| part(text))
                    .collect::<Result<_, _>>()?,
            }
        }
        _ => Known::Nothing,
    })
}

fn record(text: &str, zone: &str) -> Result<Record, String> {
    let (text, proxied) = match text.strip_suffix(" proxied") {
        Some(text) => (text, Some(true)),
        None => (text, None),
    };
    let mut words = text.splitn(3, ' ');
    let (Some(kind), Some(name)) = (words.next(), words.next()) else {
        return Err(format!("{text} is no record"));
    };
    Ok(Record {
        name: RecordName::canonical(name, zone).map_err(|error| format!("{name}: {error}"))?,
        kind: kind.to_owned(),
        content: words.next().map(str::to_owned),
        proxied,
    })
}

fn purged(text: &str) -> Result<Purged, String> {
    Ok(match text.split_once(' ') {
        None if text == "everything" => Purged::Everything,
        Some(("file", it)) => Purged::File(it.to_owned()),
        Some(("prefix", it)) => Purged::Prefix(it.to_owned()),
        Some(("host", it)) => Purged::Host(it.to_owned()),
        Some(("tag", it)) => Purged::Tag(it.to_owned()),
        _ => return Err(format!("{text} is no part of a purge")),
    })
}

fn part(text: &str) -> Result<Part, String> {
    Ok(match (text, text.split_once(' ')) {
        ("script", _) => Part::Script,
        ("keep", _) => Part::Keep,
        ("inherit", _) => Part::Inherit,
        ("full deploy", _) => Part::FullDeploy,
        (_, Some(("route", it))) => Part::Route(it.to_owned()),
        (_, Some(("module", it))) => Part::Module(it.to_owned()),
        (_, Some(("bind", it))) => {
            let (kind, resource) = match it.split_once(':') {
                Some((kind, resource)) => (kind, Some(resource.to_owned())),
                None => (it, None),
            };
            let kind = kind.to_owned();
            Part::Binding { kind, resource }
        }
        _ => return Err(format!("{text} is no part of a Worker")),
    })
}
