//! The policy against a second decider that is naive and slow, on made-up configurations and calls.
//!
//! ```text
//! cargo test --test differential
//! ZONEKEEPER_CASES=10000000 cargo test --release --test differential -- --nocapture
//! ```
//! `ZONEKEEPER_SEED` begins elsewhere. A difference is printed with as little configuration and call
//! as still shows it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may panic like tests, and a long run says what it did"
)]

#[path = "support/ask.rs"]
mod ask;
#[path = "support/generator/mod.rs"]
mod generator;
#[path = "support/reference/mod.rs"]
mod reference;
#[path = "support/timezones.rs"]
mod timezones;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zonekeeper::config::Resolution;
use zonekeeper::config::document::{Document, Effect, Grant};
use zonekeeper::policy::{Facts, Policy, Reason, Request, compile};

use ask::{agree, hidden_alike, put, resolution, shown};
use generator::Dice;
use reference::{Call, Known, Part, Reference, Says, What};

/// Configurations and calls in `cargo test`, unless `ZONEKEEPER_CASES` says otherwise.
const CASES: usize = 250_000;
const CALLS_OF_ONE: usize = 250;

#[test]
fn policy_and_reference_decide_alike() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let configurations = number("ZONEKEEPER_CASES")
        .unwrap_or(CASES)
        .div_ceil(CALLS_OF_ONE);
    let mut dice = Dice(number("ZONEKEEPER_SEED").unwrap_or(1) as u64);
    let resolution = Rc::new(resolution());
    let mut seen = Seen::default();
    for number in 0..configurations {
        let made = dice.configuration();
        let document = Rc::new(made.document.clone());
        let policy = compile(&document, &resolution).unwrap();
        policy.check_conditions().unwrap();
        for _ in 0..CALLS_OF_ONE {
            let call = dice.call(&made);
            if let Some(why) = difference(&made.document, &resolution, &policy, &call, &mut seen) {
                let (document, call) = smallest(made.document, call, &resolution);
                let text = toml::to_string(&document.to_json()).unwrap();
                panic!("{why}\nin configuration {number}\n\n{text}\n{call:#?}");
            }
        }
        let at = dice.instant();
        for who in ["p", "q", "stranger"] {
            let wrong = hidden_alike(&made.document, &resolution, &policy, who, at);
            assert_eq!(
                wrong,
                None,
                "{who}\n{}",
                toml::to_string(&made.document.to_json()).unwrap()
            );
        }
        if number % 4_000 == 3_999 {
            println!("{} cases", (number + 1) * CALLS_OF_ONE);
        }
    }
    println!("{} cases, no difference", configurations * CALLS_OF_ONE);
    if configurations * CALLS_OF_ONE >= CASES {
        seen.assert_complete();
    }
}

/// How policy and reference differ about the call.
fn difference(
    document: &Document,
    resolution: &Resolution,
    policy: &Policy,
    call: &Call,
    seen: &mut Seen,
) -> Option<String> {
    let reference = Reference {
        document,
        resolution,
    };
    let answer = reference.decide(call, &mut |label, says, effect| {
        *seen
            .conditions
            .entry((label, says, effect as u8))
            .or_default() += 1;
    });
    put(policy, call, |request| {
        let decision = policy.decide(request);
        *seen
            .reasons
            .entry((decision.reason, decision.effect as u8))
            .or_default() += 1;
        if !agree(policy, decision, &answer) {
            let by = decision.grant.map_or("", |grant| policy.grant_name(grant));
            let found = shown(decision.effect, by);
            return Some(format!("the policy says {found}, the reference {answer:?}"));
        }
        // What the policy need not know may not matter.
        let unread = Request {
            facts: Facts::Unread,
            ..*request
        };
        if !policy.reads_body(&unread) && !is_always_read(call) {
            let nothing = Call {
                known: Known::Nothing,
                ..call.clone()
            };
            let without = reference.decide(&nothing, &mut |_, _, _| {});
            if without.effect != answer.effect {
                return Some(format!(
                    "the policy need not know more, but the reference says {without:?} without \
                     and {answer:?} with it"
                ));
            }
            seen.unread += 1;
        } else {
            seen.read += 1;
        }
        let is_list = matches!(call.what, What::Operation(operation) if operation.template() == "/zones/{zone_id}/dns_records");
        if is_list && let Some(narrowed) = policy.pushdown(&unread) {
            if let Known::Records { records, .. } = &call.known
                && records.iter().any(|record| {
                    narrowed
                        .name
                        .is_some_and(|name| name != record.name.as_str())
                        || narrowed.kind.is_some_and(|kind| kind != record.kind)
                })
                && answer.effect == Effect::Allow
            {
                return Some(format!(
                    "a record is shown but not asked for by {narrowed:?}"
                ));
            }
            seen.narrowed += 1;
        }
        None
    })
}

/// A Worker's bindings are judged without any condition, so an upload is read whatever the policy
/// says.
fn is_always_read(call: &Call) -> bool {
    let is_binding = |part: &Part| matches!(part, Part::Binding { .. });
    matches!(&call.known, Known::Worker { parts, .. } if parts.iter().any(is_binding))
}

/// What a run came across.
#[derive(Default)]
struct Seen {
    conditions: BTreeMap<(&'static str, Says, u8), usize>,
    reasons: BTreeMap<(Reason, u8), usize>,
    read: usize,
    unread: usize,
    narrowed: usize,
}

const ALLOW: u8 = Effect::Allow as u8;
const DENY: u8 = Effect::Deny as u8;
const APPROVE: u8 = Effect::Approve as u8;
const EVERY: &[u8] = &[ALLOW, DENY, APPROVE];
const OPENING: &[u8] = &[ALLOW, APPROVE];

/// Every condition, what it can say, and under which effects.
const CONDITIONS: &[(&str, &[Says], &[u8])] = &[
    ("none", &[Says::Yes], EVERY),
    ("elsewhere", &[Says::Unclear], EVERY),
    ("not_after", &[Says::No, Says::Yes], EVERY),
    ("not_before", &[Says::No, Says::Yes], EVERY),
    ("source_ips", &[Says::No, Says::Unclear, Says::Yes], EVERY),
    ("hours", &[Says::No, Says::Unclear, Says::Yes], EVERY),
    ("used_up", &[Says::No, Says::Yes], &[ALLOW]),
    ("dns, unread", &[Says::Unclear], EVERY),
    ("dns.names", &[Says::No], EVERY),
    ("dns.types", &[Says::No], EVERY),
    ("dns.proxied", &[Says::No], EVERY),
    ("dns.max_changes", &[Says::No], EVERY),
    ("dns.contents", &[Says::No, Says::Unclear, Says::Yes], EVERY),
    ("dns", &[Says::Yes], EVERY),
    ("purge, unread", &[Says::Unclear], EVERY),
    ("purge.everything", &[Says::No], &[ALLOW]),
    ("purge.everything", &[Says::Unclear], &[APPROVE]),
    ("purge", &[Says::No, Says::Unclear, Says::Yes], EVERY),
    ("workers, unread", &[Says::Unclear], EVERY),
    ("workers.scripts", &[Says::No], EVERY),
    ("workers.bindings", &[Says::No, Says::Yes], EVERY),
    ("workers.routes", &[Says::No, Says::Yes], EVERY),
    ("workers.digests", &[Says::No, Says::Yes], EVERY),
    ("workers.keep_bindings", &[Says::No, Says::Yes], OPENING),
    ("workers.inherit", &[Says::No, Says::Yes], OPENING),
    ("workers.deploys", &[Says::No, Says::Yes], OPENING),
    ("workers", &[Says::No], &[DENY]),
    ("workers", &[Says::Yes], EVERY),
    ("binding held", &[Says::No, Says::Yes], OPENING),
    ("listed, unread", &[Says::Unclear], EVERY),
    ("name", &[Says::No, Says::Yes], EVERY),
    ("all keys", &[Says::Unclear], EVERY),
    ("key", &[Says::No, Says::Yes], EVERY),
    ("phase, unread", &[Says::Unclear], EVERY),
    ("phase", &[Says::No, Says::Yes], EVERY),
];

const REASONS: &[(Reason, u8)] = &[
    (Reason::Granted, ALLOW),
    (Reason::Visible, ALLOW),
    (Reason::ApprovalRequired, APPROVE),
    (Reason::ApprovalUnjudged, APPROVE),
    (Reason::DeniedByGrant, DENY),
    (Reason::DenyUnjudged, DENY),
    (Reason::NotGranted, DENY),
    (Reason::Unjudged, DENY),
    (Reason::Escalation, DENY),
    (Reason::NamedOnly, DENY),
    (Reason::UnknownOperation, DENY),
    (Reason::NoResource, DENY),
    (Reason::UnknownPrincipal, DENY),
];

impl Seen {
    /// Fails unless every condition said all it can under every effect, for every reason.
    fn assert_complete(&self) {
        let mut expected = BTreeSet::new();
        for (label, says, effects) in CONDITIONS {
            for says in *says {
                expected.extend(effects.iter().map(|effect| (*label, *says, *effect)));
            }
        }
        let found: BTreeSet<_> = self.conditions.keys().copied().collect();
        assert_eq!(
            found, expected,
            "every condition, what it says and its effect"
        );
        let found: BTreeSet<_> = self.reasons.keys().copied().collect();
        assert_eq!(found, REASONS.iter().copied().collect(), "every reason");
        for (what, times) in [
            ("read", self.read),
            ("unread", self.unread),
            ("narrowed", self.narrowed),
        ] {
            assert!(times > 20, "{what}: {times}");
        }
        let rarest = self.conditions.iter().min_by_key(|(_, times)| **times);
        println!("the rarest: {rarest:?}; {:?}", self.reasons);
    }
}

/// As little configuration and call as policy and reference still differ about.
fn smallest(
    mut document: Document,
    mut call: Call,
    resolution: &Rc<Resolution>,
) -> (Document, Call) {
    let differs = |document: &Document, call: &Call| {
        let policy = compile(&Rc::new(document.clone()), resolution);
        policy.is_ok_and(|policy| {
            let seen = &mut Seen::default();
            difference(document, resolution, &policy, call, seen).is_some()
        })
    };
    loop {
        if let Some(less) = smaller(&document).into_iter().find(|it| differs(it, &call)) {
            document = less;
        } else if let Some(less) = shorter(&call).into_iter().find(|it| differs(&document, it)) {
            call = less;
        } else {
            return (document, call);
        }
    }
}

/// The document with one thing less.
fn smaller(document: &Document) -> Vec<Document> {
    let mut all = Vec::new();
    for at in 0..document.grants.len() {
        let mut less = document.clone();
        less.grants.remove(at);
        all.push(less);
        let cuts: &[fn(&mut Grant)] = &[
            |it| it.dns = None,
            |it| it.purge = None,
            |it| it.workers = None,
            |it| it.settings = None,
            |it| it.rulesets = None,
            |it| it.lists = None,
            |it| it.kv = None,
            |it| it.r2 = None,
            |it| it.graphql = None,
            |it| it.hours = None,
            |it| it.not_before = None,
            |it| it.not_after = None,
            |it| (it.max_uses, it.per_minute) = (None, None),
            |it| drop(it.source_ips.pop()),
            |it| drop(it.permissions.pop()),
            |it| drop(it.permissions.drain(..1.min(it.permissions.len()))),
            |it| drop(it.operations.pop()),
            |it| drop(it.operations.drain(..1.min(it.operations.len()))),
            |it| drop(it.zones.pop()),
            |it| drop(it.accounts.pop()),
            |it| it.dns.iter_mut().for_each(|dns| drop(dns.names.pop())),
            |it| it.dns.iter_mut().for_each(|dns| drop(dns.types.pop())),
            |it| drop(it.dns.as_mut().map(|dns| dns.contents.pop())),
        ];
        for cut in cuts {
            let mut less = document.clone();
            cut(&mut less.grants[at]);
            if less != *document {
                all.push(less);
            }
        }
    }
    all
}

/// The call with one thing less.
fn shorter(call: &Call) -> Vec<Call> {
    let mut all = Vec::new();
    for at in 0..call.places.len() {
        let mut less = call.clone();
        less.places.remove(at);
        all.push(less);
    }
    let count = match &call.known {
        Known::Nothing => 0,
        Known::Records { records, .. } => records.len(),
        Known::Purge(items) => items.len(),
        Known::Things(things) => things.len(),
        Known::Worker { parts, .. } => parts.len(),
    };
    for at in 0..count {
        let mut less = call.clone();
        match &mut less.known {
            Known::Nothing => {}
            Known::Records { records, .. } => drop(records.remove(at)),
            Known::Purge(items) => drop(items.remove(at)),
            Known::Things(things) => drop(things.remove(at)),
            Known::Worker { parts, .. } => drop(parts.remove(at)),
        }
        all.push(less);
    }
    if !call.used_up.is_empty() {
        let mut less = call.clone();
        less.used_up.pop();
        all.push(less);
    }
    all
}
