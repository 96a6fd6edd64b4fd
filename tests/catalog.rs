//! What must hold for the whole catalogue: it is the table that its data and corrections make,
//! every operation is found by its path and its name, and no path is two things at once.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and sizes and lists are printed for review"
)]

use std::collections::{BTreeMap, HashMap, HashSet};

use zonekeeper::catalog::{
    self, BodyClass, Deprecation, Family, Judged, Method, Operation, Scope, build, group_name,
    group_named, operation_named, operations, path_exists, resolve,
};

fn blank(template: &str) -> String {
    template
        .split('/')
        .map(|segment| {
            let mut blanked = String::new();
            for (index, part) in segment.split('{').enumerate() {
                match part.split_once('}') {
                    Some((_, after)) if index > 0 => {
                        blanked.push_str("{}");
                        blanked.push_str(after);
                    }
                    _ => blanked.push_str(part),
                }
            }
            blanked
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// The template with each parameter given a value no literal has.
fn example(template: &str) -> (String, Vec<String>) {
    let mut path = blank(template);
    let mut values = Vec::new();
    while path.contains("{}") {
        let value = format!("value-{}", values.len());
        path = path.replacen("{}", &value, 1);
        values.push(value);
    }
    (path, values)
}

fn named(name: &str) -> Operation {
    operation_named(name).unwrap_or_else(|| panic!("no operation {name:?}"))
}

fn groups_of(operation: Operation) -> Vec<&'static str> {
    operation.groups().iter().map(group_name).collect()
}

#[test]
fn table_is_what_the_data_makes() {
    let (table, sizes) = build::build(include_str!("../data/operations.tsv")).unwrap();
    for (section, bytes) in sizes {
        println!("{section:<18}{bytes:>8} bytes");
    }
    println!("{:<18}{:>8} bytes", "table.bin", table.len());
    assert!(
        table == include_bytes!("../src/catalog/table.bin"),
        "src/catalog/table.bin is out of date: cargo run --bin build-catalog"
    );
}

#[test]
fn table_holds_every_row_of_the_data_as_corrected() {
    let mut rows = build::read(include_str!("../data/operations.tsv")).unwrap();
    build::corrections::apply(&mut rows).unwrap();
    assert_eq!(rows.len(), operations().count());
    for row in rows {
        let operation = named(&format!("{} {}", row.method, row.template));
        assert_eq!(operation.method(), row.method);
        assert_eq!(operation.template(), row.template);
        let id = row
            .operation_id
            .unwrap_or_else(|| format!("{} {}", row.method, row.template));
        assert_eq!(operation.name(), id);
        let mut groups = row.groups;
        groups.sort();
        assert_eq!(groups_of(operation), groups, "{id}");
        assert_eq!(operation.scope(), row.scope, "{id}");
        assert_eq!(operation.pagination(), row.pagination, "{id}");
        assert_eq!(operation.family(), row.family, "{id}");
        assert_eq!(
            operation.body(),
            row.judged.map_or(BodyClass::Pass, BodyClass::Judge),
            "{id}"
        );
        assert_eq!(operation.is_write(), row.write, "{id}");
        assert_eq!(operation.escalates(), row.escalates, "{id}");
        assert_eq!(operation.reveals_secret(), row.reveals_secret, "{id}");
        assert_eq!(operation.named_only(), row.named_only, "{id}");
        let deprecation = match row.deprecated.as_str() {
            "0" => String::new(),
            "1" => "deprecated".to_owned(),
            date => date.to_owned(),
        };
        let read = match operation.deprecation() {
            Deprecation::No => "",
            Deprecation::Yes => "deprecated",
            Deprecation::Ends(date) => date,
        };
        assert_eq!(read, deprecation, "{id}");
    }
}

#[test]
fn every_group_of_the_data_is_known() {
    for row in build::read(include_str!("../data/operations.tsv")).unwrap() {
        for group in row.groups {
            assert!(group_named(&group).is_some(), "{group}");
        }
    }
}

#[test]
fn every_operation_is_found_by_its_path_and_by_its_name() {
    for operation in operations() {
        let (path, values) = example(operation.template());
        let found = resolve(operation.method(), &path)
            .unwrap_or_else(|| panic!("{operation:?} is not found at {path}"));
        assert_eq!(found.operation, operation, "{path}");
        assert_eq!(found.params.as_slice(), values, "{path}");
        assert_eq!(operation.param_names().count(), values.len());
        assert!(path_exists(&path));
        for off in [format!("{path}/"), format!("/{path}"), path.to_uppercase()] {
            assert!(resolve(operation.method(), &off).is_none(), "{off}");
        }
        assert_eq!(operation_named(operation.name()), Some(operation));
        let by_template = format!("{} {}", operation.method(), operation.template());
        assert_eq!(operation_named(&by_template), Some(operation));
        assert_eq!(catalog::operation(operation.id()), operation);
    }
    for name in [
        "",
        "GET",
        "GET /nothing",
        "HEAD /zones",
        "no-such-operation",
        "GET zones",
    ] {
        assert_eq!(operation_named(name), None, "{name:?}");
    }
}

#[test]
fn names_and_shapes_are_unique() {
    let mut names = HashSet::new();
    let mut shapes = HashSet::new();
    for operation in operations() {
        assert!(names.insert(operation.name()), "{}", operation.name());
        assert!(
            shapes.insert((operation.method(), blank(operation.template()))),
            "{operation:?}"
        );
    }
}

/// Whether some path matches both segments, and such a path's segment.
fn common_segment(a: &str, b: &str) -> Option<String> {
    match (a.contains("{}"), b.contains("{}")) {
        (false, false) => (a == b).then(|| a.to_owned()),
        (true, true) if a == b => Some(a.replace("{}", "v")),
        (true, true) if a == "{}" => Some(b.replace("{}", "v")),
        (true, true) if b == "{}" => Some(a.replace("{}", "v")),
        // No two mixed segments stand side by side in the data.
        (true, true) => panic!("{a} and {b}"),
        (true, false) => matches(a, b).then(|| b.to_owned()),
        (false, true) => matches(b, a).then(|| a.to_owned()),
    }
}

fn matches(pattern: &str, literal: &str) -> bool {
    let (before, after) = pattern.split_once("{}").unwrap();
    let after = after.rsplit("{}").next().unwrap();
    literal.len() > before.len() + after.len()
        && literal.starts_with(before)
        && literal.ends_with(after)
}

/// Every pair of templates that some path matches: the path is the one whose first differing
/// segment is a literal, and stays so whatever method has it. `SECURITY-CASES` P5.
#[test]
fn path_that_two_templates_match_is_the_more_literal_one() {
    type Shapes = HashMap<(Method, usize), Vec<(Vec<String>, Operation)>>;
    let mut by_shape: Shapes = HashMap::new();
    for operation in operations() {
        let segments: Vec<String> = blank(operation.template())
            .split('/')
            .skip(1)
            .map(str::to_owned)
            .collect();
        by_shape
            .entry((operation.method(), segments.len()))
            .or_default()
            .push((segments, operation));
    }
    let mut overlapping = 0;
    let mut crossing = Vec::new();
    for templates in by_shape.values() {
        for (index, (a, first)) in templates.iter().enumerate() {
            for (b, second) in &templates[index + 1..] {
                let common: Option<Vec<String>> =
                    a.iter().zip(b).map(|(a, b)| common_segment(a, b)).collect();
                let Some(common) = common else { continue };
                overlapping += 1;
                // Literal < mixed < parameter, decided at the first segment that differs.
                let rank = |segment: &String| match segment.as_str() {
                    "{}" => 2,
                    mixed if mixed.contains("{}") => 1,
                    _ => 0,
                };
                let ranks = |segments: &[String]| segments.iter().map(rank).collect::<Vec<_>>();
                let expected = if ranks(a) < ranks(b) { first } else { second };
                let path = format!("/{}", common.join("/"));
                let found = resolve(first.method(), &path).unwrap().operation;
                // A third template may be more literal than both.
                let (found_path, _) = example(found.template());
                assert!(
                    found == *expected || resolve(found.method(), &found_path).is_some(),
                    "{path}"
                );
                let crosses = a.iter().zip(b).any(|(a, b)| rank(a) < rank(b))
                    && a.iter().zip(b).any(|(a, b)| rank(a) > rank(b));
                let other = if found == *first { second } else { first };
                if crosses && class(*first) != class(*second) && !hidden_by_id(found, *other) {
                    crossing.push(format!("{first:?} and {second:?}"));
                }
                if found != *first && found != *second {
                    let better = blank(found.template());
                    let better: Vec<String> =
                        better.split('/').skip(1).map(str::to_owned).collect();
                    assert!(
                        ranks(&better) < ranks(a) && ranks(&better) < ranks(b),
                        "{path}"
                    );
                }
            }
        }
    }
    println!("{overlapping} pairs overlap");
    assert!(overlapping > 100);
    // Where each of two templates is the more literal one somewhere, Cloudflare might read the path
    // the other way round: then both must be of one class, or the other way must lead nowhere.
    assert_eq!(crossing, Vec::<String>::new());
}

/// Whether reading the path as `other` would take a word of `found`'s template for an id that
/// Cloudflare assigns, and so for one that does not exist.
fn hidden_by_id(found: Operation, other: Operation) -> bool {
    let differing = found.template().split('/').zip(other.template().split('/'));
    let (word, param) = differing
        .into_iter()
        .find(|(a, b)| !a.contains('{') && b.contains('{'))
        .unwrap();
    ["booking", "submitted"].contains(&word)
        || (param == "{device_id}" && other.template().ends_with("/override_codes"))
}

/// What decides about a call, as far as the operation goes.
fn class(operation: Operation) -> impl PartialEq {
    (
        operation.groups(),
        operation.scope(),
        operation.family(),
        operation.body(),
        operation.is_write(),
        operation.escalates(),
        operation.named_only(),
    )
}

#[test]
fn scope_agrees_with_the_parameters() {
    for operation in operations() {
        let (account, zone) = (operation.account_param(), operation.zone_param());
        match operation.scope() {
            Scope::Account if operation.body() == BodyClass::Judge(Judged::ZoneCreate) => {}
            Scope::Account => assert_eq!(account, Some(0), "{operation:?}"),
            Scope::Zone => assert_eq!((account, zone), (None, Some(0)), "{operation:?}"),
            Scope::User | Scope::Other => {
                assert_eq!((account, zone), (None, None), "{operation:?}");
            }
        }
        let names: Vec<&str> = operation.param_names().collect();
        if let Some(position) = account {
            assert!(names[position].starts_with("account"), "{operation:?}");
        }
        if let Some(position) = zone {
            assert!(names[position].starts_with("zone"), "{operation:?}");
        }
    }
}

#[test]
fn no_write_is_opened_by_a_group_that_only_reads() {
    let exceptions = ["/ai/run", "/ai/tomarkdown", "/urlscanner/", "/tails"];
    for operation in operations().filter(Operation::is_write) {
        if exceptions
            .iter()
            .any(|part| operation.template().contains(part))
        {
            continue;
        }
        let reads: Vec<_> = groups_of(operation)
            .into_iter()
            .filter(|group| group.ends_with(" Read"))
            .collect();
        assert_eq!(reads, Vec::<&str>::new(), "{operation:?}");
    }
}

#[test]
fn operations_are_classed_as_documented() {
    let create = named("POST /zones");
    assert_eq!(
        (create.scope(), groups_of(create)),
        (Scope::Account, vec!["Zone Write"])
    );
    assert_eq!(create.body(), BodyClass::Judge(Judged::ZoneCreate));
    assert_eq!(
        groups_of(named("POST /accounts/{}/d1/database/{}/query")),
        ["D1 Write"]
    );
    assert!(named("DELETE /zones/{zone_id}").named_only());
    assert!(!named("GET /zones/{zone_id}").named_only());
    assert_eq!(
        groups_of(named("POST /zones/{}/invalidate_cache")),
        ["Cache Purge"]
    );
    assert_eq!(
        groups_of(named("GET /accounts/{}/rules/lists")),
        ["Account Rule Lists Read", "Account Rule Lists Write"]
    );
    let graphql = named("POST /graphql");
    assert!(!graphql.is_write());
    assert_eq!(graphql.family(), Family::Graphql);
    assert_eq!(graphql.body(), BodyClass::Judge(Judged::Unjudgeable));
    assert_eq!(
        groups_of(graphql),
        ["Account Analytics Read", "Analytics Read"]
    );
    for (name, judged) in [
        ("POST /zones/{}/dns_records", Judged::DnsRecord),
        ("PATCH /zones/{}/dns_records/{}", Judged::DnsRecordWrite),
        ("POST /zones/{}/dns_records/batch", Judged::DnsBatch),
        (
            "POST /zones/{}/environments/{}/invalidate_cache",
            Judged::Purge,
        ),
        ("PUT /accounts/{}/workers/scripts/{}", Judged::Unjudgeable),
        (
            "PUT /zones/{}/rulesets/phases/{}/entrypoint",
            Judged::Ruleset,
        ),
        ("PATCH /accounts/{}/rulesets/{}/rules/{}", Judged::Ruleset),
        ("PATCH /zones/{}/settings", Judged::Settings),
        ("POST /zones/{}/pagerules", Judged::PageRule),
        ("POST /zones/{}/load_balancers", Judged::LoadBalancer),
    ] {
        assert_eq!(named(name).body(), BodyClass::Judge(judged), "{name}");
    }
    for name in [
        "POST /user/tokens",
        "PUT /accounts/{}/tokens/{}/value",
        "DELETE /accounts/{}/members/{}",
        "PUT /memberships/{}",
        "PATCH /user/invites/{}",
        "POST /accounts/{}/sso_connectors",
        "POST /organizations/{}/members:batchCreate",
        "POST /accounts/{}/oauth_clients",
        "POST /accounts/move",
    ] {
        assert!(named(name).escalates(), "{name}");
    }
    for name in [
        "GET /user/tokens",
        "POST /accounts/{}/access/service_tokens",
        "POST /zones",
    ] {
        assert!(!named(name).escalates(), "{name}");
    }
    for name in [
        "POST /user/tokens",
        "POST /accounts/{}/access/service_tokens",
    ] {
        assert!(named(name).reveals_secret(), "{name}");
    }
    assert!(!named("GET /user/tokens").reveals_secret());
    assert_eq!(
        named("GET /zones/{}/settings/ssl_automatic_mode").family(),
        Family::Settings
    );
    assert_eq!(
        named("PATCH /zones/{}/settings/{}").family(),
        Family::Settings
    );
    assert_eq!(
        named("GET /zones/{}/settings/zaraz/config").family(),
        Family::None
    );
    assert_eq!(
        named("PUT /zones/{}/workers/routes/{}").family(),
        Family::Workers
    );
    assert!(group_named("Workers Tail Read").is_some());
}

#[test]
fn operations_with_closed_doors_are_listed() {
    // Printed for review: cargo test --test catalog -- --nocapture closed_doors
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for operation in operations() {
        let line = format!("{} {}", operation.method(), operation.template());
        for (list, is_in) in [
            ("escalates", operation.escalates()),
            ("named only", operation.named_only()),
            ("reveals a secret", operation.reveals_secret()),
            (
                "unjudgeable",
                operation.body() == BodyClass::Judge(Judged::Unjudgeable),
            ),
        ] {
            if is_in {
                lists.entry(list).or_default().push(line.clone());
            }
        }
    }
    for (list, lines) in &lists {
        println!("{list} ({})\n  {}", lines.len(), lines.join("\n  "));
    }
    assert_eq!(lists.len(), 4);
}
