//! Times resolve and decide, natively: nanoseconds per decision by number of grants.
//!
//! ```text
//! cargo run --release --bin bench-policy
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use zonekeeper::catalog::{self, Method};
use zonekeeper::config::document::Document;
use zonekeeper::config::{Resolution, ZoneRef};
use zonekeeper::model::{RecordName, Timestamp};
use zonekeeper::policy::{Facts, Policy, RecordFacts, Request, Resource, Target, compile};

/// Rounds of each measurement, of which the median is shown.
const ROUNDS: usize = 9;
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    println!(
        "{:<52} {:>8} {:>8} {:>8} {:>8}",
        "ns per resolve + decide, grants:", 10, 100, 1_000, 10_000
    );
    row("a principal and a zone for each grant", scattered, false);
    row(
        "one principal, every zone, one group",
        |_| grant("holder", "*", "DNS Write", ""),
        false,
    );
    row(
        "one principal, a zone for each grant",
        |n| grant("holder", &zone(n), "DNS Write", ""),
        false,
    );
    row("one principal, every zone, all groups", every_group, false);
    row(
        "one principal, a record name for each grant",
        named_record,
        true,
    );
    println!();
    compile_row(
        "compile, ms: a principal and a zone for each grant",
        scattered,
    );
    compile_row("compile, ms: one principal, every zone", |_| {
        grant("holder", "*", "DNS Write", "")
    });
}

fn compile_row(title: &str, grant: fn(usize) -> String) {
    print!("{title:<52}");
    for size in SIZES {
        let document = document(size, grant);
        let resolution = resolution(size);
        let nanos = median(|| {
            black_box(compile(black_box(&document), &resolution).is_ok());
            1
        });
        print!(" {:>8.2}", nanos / 1e6);
    }
    println!();
}

fn row(title: &str, grant: fn(usize) -> String, has_record: bool) {
    print!("{title:<52}");
    for size in SIZES {
        let document = document(size, grant);
        let Ok(policy) = compile(&document, &resolution(size)) else {
            print!(" {:>8}", "error");
            continue;
        };
        print!(
            " {:>8.0}",
            time(&policy, size, title.starts_with("one"), has_record)
        );
    }
    println!();
}

/// Nanoseconds for one call of the middle grant's principal.
fn time(policy: &Policy, size: usize, grants_are_shared: bool, has_record: bool) -> f64 {
    let middle = size / 2;
    let Some(principal) = policy.principal(&if grants_are_shared {
        "holder".to_owned()
    } else {
        holder(middle)
    }) else {
        return f64::NAN;
    };
    let zone = zone_id(middle);
    let path = format!("/zones/{zone}/dns_records");
    let Ok(id) = zone.parse() else {
        return f64::NAN;
    };
    let resources = [Resource::Zone(id)];
    let records: Vec<_> = RecordName::canonical(&format!("host-{middle}"), "example.com")
        .map(|name| RecordFacts {
            name,
            kind: "A".to_owned(),
            content: Some("192.0.2.1".to_owned()),
            proxied: None,
        })
        .into_iter()
        .collect();
    let facts = if has_record {
        Facts::Records(&records)
    } else {
        Facts::Unread
    };
    let now = Timestamp::from_unix_ms(0);
    let decide = || {
        let operation = catalog::resolve(Method::Post, black_box(&path))?.operation;
        let target = Target::Operation(operation);
        let request = Request {
            is_own: false,
            principal,
            target,
            resources: &resources,
            facts,
            now,
        };
        Some(policy.decide(black_box(&request)).is_allowed())
    };
    if decide() != Some(true) {
        return f64::NAN;
    }
    median(|| {
        for _ in 0..100_000 {
            black_box(decide());
        }
        100_000
    })
}

/// The median over the rounds of nanoseconds per unit of work; `work` returns its units.
fn median(mut work: impl FnMut() -> u32) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (time, units) = timed(&mut work);
            time.as_secs_f64() * 1e9 / f64::from(units)
        })
        .collect();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: &mut impl FnMut() -> u32) -> (Duration, u32) {
    let start = Instant::now();
    let units = work();
    (start.elapsed(), units)
}

/// Zones that grants may name.
const ZONES: usize = 10_000;

fn zone(number: usize) -> String {
    format!("zone-{}.example", number % ZONES)
}

fn zone_id(number: usize) -> String {
    format!("{:032x}", number % ZONES + 1)
}

fn holder(number: usize) -> String {
    format!("holder-{number}")
}

fn grant(principal: &str, zone: &str, permission: &str, more: &str) -> String {
    format!(
        "principals = ['{principal}']\neffect = 'allow'\npermissions = ['{permission}']\nzones = ['{zone}']\n{more}"
    )
}

fn scattered(number: usize) -> String {
    grant(&holder(number), &zone(number), "DNS Write", "")
}

fn every_group(number: usize) -> String {
    let groups = catalog::groups().count();
    let group = catalog::groups()
        .nth(number % groups)
        .map_or("", catalog::group_name);
    // The group that is asked for is held in any case.
    let group = if number == 0 || group.contains('\'') {
        "DNS Write"
    } else {
        group
    };
    grant("holder", "*", group, "")
}

fn named_record(number: usize) -> String {
    grant(
        "holder",
        "*",
        "DNS Write",
        &format!("dns = {{ names = ['host-{number}.example.com'] }}"),
    )
}

fn document(size: usize, grant: fn(usize) -> String) -> Document {
    let mut text = String::from("[[principals]]\nname = 'holder'\nkind = 'key'\n");
    for number in 0..size {
        let _ = write!(
            text,
            "[[principals]]\nname = '{}'\nkind = 'key'\n",
            holder(number)
        );
    }
    for number in 0..size {
        let _ = writeln!(
            text,
            "[[grants]]\nname = 'grant-{number}'\n{}",
            grant(number)
        );
    }
    toml::from_str(&text).unwrap_or_default()
}

/// As many zones as there are grants.
fn resolution(zones: usize) -> Resolution {
    let mut resolution = Resolution::default();
    for number in 0..zones {
        let (Ok(id), Ok(account)) = (zone_id(number).parse(), zone_id(0).parse()) else {
            continue;
        };
        let name = zone(number);
        resolution
            .zones
            .insert(name.clone(), ZoneRef { id, name, account });
    }
    resolution
}
