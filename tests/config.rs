//! The configuration document: what is accepted, what is refused in which words, what an apply
//! would change.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own helpers may fail the test"
)]

use serde_json::json;
use zonekeeper::config::document::{Document, OneOrMany};
use zonekeeper::config::{
    AccountRef, Action, Change, ChangeKind, Format, ReadError, Resolution, ZoneRef,
    names_to_resolve, plan, read, to_toml, validate,
};

const EXAMPLE: &str = include_str!("../zonekeeper.toml");

/// A document that is right, to be changed at one place: principals in lines 1 to 3, the grant from
/// line 5 on.
const GOOD: &str = r#"[[principals]]
name = "bot"
kind = "key"

[[grants]]
name = "dns"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
"#;

fn toml(text: &str) -> Document {
    read(text.as_bytes(), Format::Toml).unwrap().document
}

/// What reading and validating a text have to say against it, one sentence a line.
fn refusal(text: &[u8], format: Format) -> String {
    let source = match read(text, format) {
        Ok(source) => source,
        Err(error) => return error.to_string(),
    };
    match validate(&source) {
        Ok(messages) => panic!("accepted with {messages:?}"),
        Err(problems) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn messages(text: &str) -> Vec<String> {
    validate(&read(text.as_bytes(), Format::Toml).unwrap()).unwrap()
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    assert_eq!(refusal(text.as_bytes(), Format::Toml), expected, "\n{text}");
}

#[track_caller]
fn refuses_json(text: &str, expected: &str) {
    assert_eq!(refusal(text.as_bytes(), Format::Json), expected, "\n{text}");
}

/// The good document with one line more in its grant, which is line 11.
#[track_caller]
fn refuses_in_grant(line: &str, expected: &str) {
    refuses(&format!("{GOOD}{line}\n"), expected);
}

#[test]
fn the_worked_example_is_valid() {
    assert_eq!(
        messages(EXAMPLE),
        [
            "principal site-ci: its claims would be safer with \"repository_owner_id\", \"ref_type\".",
        ]
    );
    let document = toml(EXAMPLE);
    assert_eq!(document.principals.len(), 3);
    assert_eq!(document.grants[1].accounts, ["Acme"]);
    assert_eq!(
        document.principals[1].claims["event_name"],
        OneOrMany::Many(vec!["push".to_owned(), "workflow_dispatch".to_owned()])
    );
    assert_eq!(
        document.jobs[0].params["prefixes"],
        json!(["example.com/news/"])
    );
}

#[test]
fn every_form_of_a_document_reads_back_as_the_same() {
    let everything = format!(
        r#"{GOOD}
dns = {{ names = ['\*.example.com', "**.example.com"], types = ["A"], contents = ["192.0.2.0/24"], proxied = true, max_changes = 3 }}
purge = {{ everything = true }}
workers = {{ scripts = ["site"], bindings = [], deploys = "gradual", inherit = false }}
settings = {{ ids = ["ssl"] }}
kv = {{ namespaces = ["cache"], keys = ["a/*"] }}
source_ips = ["192.0.2.0/24", "2001:db8::1"]
not_before = 2026-01-01T00:00:00Z
not_after = 2026-11-01 13:00:00+01:00
hours = {{ days = ["mon", "fri"], from = "09:00", until = "17:30", timezone = "Europe/Berlin" }}
max_uses = 5
per_minute = 10
max_deletes_per_hour = 20
[audit]
reads = "sync"
[[jobs]]
name = "calls"
kind = "api.calls"
schedule = "*/10 * 1-7 * mon"
timezone = "Australia/Lord_Howe"
missed = {{ run_all = 100 }}
overlap = "cancel"
timeout_secs = 10
max_attempts = 1
max_calls = 100000
keep_days = 3650
run_as = "bot"
params = {{ depth = 1.5, nested = {{ list = [{{ a = 1 }}, {{ b = -2 }}], none = [] }} }}
[[jobs]]
name = "purge"
kind = "cache.purge"
run_as = "bot"
missed = "skip"
overlap = "queue"
"#
    );
    for text in [EXAMPLE, GOOD, everything.as_str(), ""] {
        let document = toml(text);
        assert_eq!(toml(&to_toml(&document)), document);
        let json = serde_json::to_vec(&document.to_json()).unwrap();
        assert_eq!(read(&json, Format::Json).unwrap().document, document);
    }
    assert!(validate(&read(everything.as_bytes(), Format::Toml).unwrap()).is_ok());
    assert_eq!(
        toml(&everything).grants[0].not_after.unwrap().to_string(),
        "2026-11-01T12:00:00.000Z"
    );
}

#[test]
fn numbers_mean_the_same_in_both_formats() {
    let params = |text: &str| {
        toml(&format!(
            "[[jobs]]\nname = \"j\"\nkind = \"x\"\nrun_as = \"r\"\nparams.a = {text}"
        ))
        .jobs[0]
            .params["a"]
            .clone()
    };
    assert_eq!(params("1_000"), json!(1000));
    assert_eq!(params("+7"), json!(7));
    assert_eq!(params("0xff"), json!(255));
    assert_eq!(params("0o17"), json!(15));
    assert_eq!(params("1_0.5e1"), json!(105.0));
    assert_eq!(params("07:32:00"), json!("07:32:00"));
    for bad in ["inf", "nan", "-0.0", "1e400", "99999999999999999999"] {
        refuses_in_grant(
            &format!("max_uses = {bad}"),
            &format!(
                "line 11, grants[0].max_uses: {}",
                if bad.contains('9') {
                    "a whole number is beyond 9007199254740992."
                } else {
                    "a number must be finite, and a zero has no sign."
                }
            ),
        );
    }
}

#[test]
fn a_thousand_problems_are_enough() {
    let names = vec!["\"\""; 1_200].join(", ");
    let text = GOOD.replace("[\"bot\"]", &format!("[{names}]"));
    let problems = validate(&read(text.as_bytes(), Format::Toml).unwrap()).unwrap_err();
    assert_eq!(problems.len(), 1_001);
    assert_eq!(problems[1_000].to_string(), "there are further problems.");
}

#[test]
fn lines_are_those_of_the_key_or_the_item() {
    let source = read(EXAMPLE.as_bytes(), Format::Toml).unwrap();
    let line = |needle: &str| {
        let line = EXAMPLE
            .lines()
            .position(|line| line.contains(needle))
            .unwrap()
            + 1;
        Some(u32::try_from(line).unwrap())
    };
    assert_eq!(
        source.line_of("principals[1].claims.ref"),
        line("claims = ")
    );
    assert_eq!(
        source.line_of("grants[0].dns.names[0]"),
        line("_acme-challenge")
    );
    assert_eq!(source.line_of("grants[0].missing"), Some(17));
    assert_eq!(EXAMPLE.lines().nth(16), Some("[[grants]]"));
    assert_eq!(source.line_of("jobs[0].params.zones[0]"), line("params"));
    assert_eq!(source.line_of("not a path ["), None);
}

#[test]
fn malformed_text_is_refused_with_line_and_key() {
    refuses(
        "[[principals]]\nname = bot\n",
        "line 2, principals[0].name: the TOML is malformed: string values must be quoted, expected literal string.",
    );
    refuses(
        &GOOD.replace("\"allow\"", "\"allow"),
        "line 8, grants[0].effect: the TOML is malformed: invalid basic string, expected `\"`.",
    );
    refuses_json(
        "{\"principals\": [\n  {\"name\" \"bot\"}]}",
        "line 2: the JSON is malformed at column 11: `:` must follow a key.",
    );
    refuses_json("[]", "line 1: the document must be a table.");
    refuses_json(
        "",
        "line 1: the JSON is malformed at column 1: the text ends where a value must stand.",
    );
    assert_eq!(
        refusal(b"name = \"\xff\"", Format::Toml),
        "the document is not UTF-8 text."
    );
    assert_eq!(
        refusal(b"{\"\xff\":1}", Format::Json),
        "the document is not UTF-8 text."
    );
}

#[test]
fn a_key_set_twice_is_refused() {
    refuses(
        &GOOD.replace("kind = \"key\"\n", "kind = \"key\"\nkind = \"internal\"\n"),
        "line 4, principals[0].kind: the key is set a second time.",
    );
    refuses_json(
        "{\"grants\": [],\n \"gr\\u0061nts\": []}",
        "line 2, grants: the key is set a second time.",
    );
    let error = read(b"[audit]\n[audit]", Format::Toml).unwrap_err();
    assert!(
        matches!(error, ReadError::DuplicateKey { line: 2, .. }),
        "{error:?}"
    );
}

#[test]
fn depth_is_capped_at_32_in_both_formats_whatever_follows() {
    let deep = |depth: usize| {
        let lists = "[".repeat(depth) + &"]".repeat(depth);
        format!(
            "[[jobs]]\nname = \"j\"\nkind = \"api.calls\"\nrun_as = \"r\"\nparams = {{ a = {lists} }}\n"
        )
    };
    // The document, the list of jobs, the job and its params are the first four.
    assert!(read(deep(28).as_bytes(), Format::Toml).is_ok());
    let too_deep = "the document is nested deeper than 32";
    for text in [
        deep(29),
        deep(100_000),
        format!(
            "[[jobs]]\nname = \"j\"\nx = 1\ny = 2\nz = {}",
            "[".repeat(1 << 20)
        ),
        format!("\n\n\n\n{}", "{a=".repeat(300_000)),
        format!("\n\n\n\na = {}", "{a=".repeat(300_000)),
        format!("\n\n\n\n{} = 1", vec!["a"; 400_000].join(".")),
        format!("\n\n\n\n{} = 1", vec!["'a.b' "; 200_000].join(" . ")),
        format!("\n\n\n\n[{}]", vec!["a"; 400_000].join(".")),
        format!("\n\n\n\n[[{}]]", vec!["a"; 400_000].join(".")),
        format!(
            "a.b = 1.5 # [[[[\nb = '''[[[[\n'[[['''\n\nc = {{ {} = 1 }}",
            vec!["a"; 31].join(".")
        ),
    ] {
        refuses(&text, &format!("line 5: {too_deep}."));
    }
    let json = |depth: usize| format!("{{\"jobs\":\n{}{}}}", "[".repeat(depth), "]".repeat(depth));
    refuses_json(&json(32), &format!("line 2: {too_deep}."));
    refuses_json(&json(500_000), &format!("line 2: {too_deep}."));
    assert!(!refusal(json(31).as_bytes(), Format::Json).contains(too_deep));
}

#[test]
fn no_text_overflows_a_small_stack() {
    // A Worker's stack has 1 MiB; unoptimised native frames are larger than its.
    let texts = [
        format!("a = {}", "[".repeat(1 << 20)),
        format!("a = \"\"\"x\"\"\"\"\"{}", "[".repeat(1 << 20)),
        format!("a = \"x\\\n{}", "[".repeat(1 << 20)),
        format!("a = {}", "[\n".repeat(1 << 19)),
        "a.".repeat(1 << 19),
        "[a.".repeat(1 << 18),
        "{a.a = [".repeat(1 << 17),
        format!(
            "a = {}",
            format!("{{{}=", vec!["a"; 79].join(".")).repeat(5_000)
        ),
        format!(
            "a = 'x\n{}",
            format!("{{{}=", vec!["a"; 79].join(".")).repeat(5_000)
        ),
    ];
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || {
            for text in &texts {
                assert!(read(text.as_bytes(), Format::Toml).is_err());
                assert!(read(text.as_bytes(), Format::Json).is_err());
            }
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    refuses_in_grant(
        "zone = [\"example.com\"]",
        "line 11, grants[0].zone: there is no key \"zone\" here; the nearest is \"zones\".",
    );
    refuses_in_grant(
        "dns = { colour = 1 }",
        "line 11, grants[0].dns.colour: there is no key \"colour\" here.",
    );
    refuses(
        "[principal]\nname = \"x\"",
        "line 1, principal: there is no key \"principal\" here; the nearest is \"principals\".",
    );
    refuses_json(
        "{\n \"grants\": [\n  {\"name\": \"x\",\n   \"efect\": \"allow\"}]}",
        "line 4, grants[0].efect: there is no key \"efect\" here; the nearest is \"effect\".",
    );
}

#[test]
fn wrong_types_are_refused_with_what_was_expected_and_found() {
    refuses_in_grant(
        "max_uses = \"5\"",
        "line 11, grants[0].max_uses: expected a whole number from 0 to 4294967295, found the text \"5\".",
    );
    refuses_in_grant(
        "per_minute = -1",
        "line 11, grants[0].per_minute: expected a whole number from 0 to 4294967295, found the number -1.",
    );
    refuses_in_grant(
        "dns = { names = \"a\" }",
        "line 11, grants[0].dns.names: expected a list, found the text \"a\".",
    );
    refuses_in_grant(
        "dns = { proxied = 1.5 }",
        "line 11, grants[0].dns.proxied: expected true or false, found the number 1.5.",
    );
    refuses_in_grant(
        "dns = [\"TXT\"]",
        "line 11, grants[0].dns: expected a table, found a list.",
    );
    refuses_in_grant(
        "r2 = [[\"bucket\"]]",
        "line 11, grants[0].r2: expected a table, found a list.",
    );
    refuses_json(
        "{\"principals\": [[\"bot\", \"key\"]]}",
        "line 1, principals[0]: expected a table, found a list.",
    );
    refuses(
        "audit = [\"sync\"]",
        "line 1, audit: expected a table, found a list.",
    );
    refuses_in_grant(
        "not_after = 2026-11-01",
        "line 11, grants[0].not_after: `2026-11-01` is not an RFC 3339 time, such as 2026-11-01T12:00:00Z.",
    );
    refuses_in_grant(
        "max_uses = 9007199254740993",
        "line 11, grants[0].max_uses: a whole number is beyond 9007199254740992.",
    );
    refuses(
        &GOOD.replace("\"allow\"", "\"alow\""),
        "line 8, grants[0].effect: \"alow\" is not one of \"allow\", \"deny\", \"approve\".",
    );
    refuses(
        &GOOD.replace("effect = \"allow\"\n", ""),
        "line 5, grants[0]: the key \"effect\" is missing.",
    );
    refuses(
        "[[principals]]\nname = \"ci\"\nkind = \"oidc\"\nclaims = { ref = \"x\",\n repository_id = 123 }",
        "line 5, principals[0].claims.repository_id: expected a text or a list of texts, found the number 123.",
    );
    refuses_json(
        "{\"principals\": [{\"name\": true,\n \"kind\": \"key\"}]}",
        "line 1, principals[0].name: expected a text in quotes, found true.",
    );
    refuses_json(
        "{\"grants\": [{\"name\": \"x\",\n \"dns\": null}]}",
        "line 2, grants[0].dns: null means nothing here; leave the key out.",
    );
    refuses_json(
        "{\"grants\": {}}",
        "line 1, grants: expected a list, found a table.",
    );
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    refuses(
        &GOOD.replace("DNS Write", "DNS Wirte"),
        "line 9, grants[0].permissions[0]: there is no permission group \"DNS Wirte\"; the nearest is \"DNS Write\".",
    );
    refuses(
        &GOOD.replace("[\"bot\"]", "[\n  \"bot\",\n  \"bott\",\n]"),
        "line 9, grants[0].principals[1]: there is no principal \"bott\"; the nearest is \"bot\".",
    );
    refuses_in_grant(
        "dns = { types = [\"A\", \"aaaa\"] }",
        "line 11, grants[0].dns.types[1]: there is no record type \"aaaa\"; the nearest is \"AAAA\".",
    );
    refuses_in_grant(
        "[[jobs]]\nname = \"j\"\nkind = \"cache.purgee\"\nrun_as = \"nobody\"",
        "line 13, jobs[0].kind: there is no job kind \"cache.purgee\"; the nearest is \"cache.purge\".\n\
         line 14, jobs[0].run_as: there is no principal \"nobody\".",
    );
    refuses(
        &GOOD.replace(
            "permissions = [\"DNS Write\"]",
            "operations = [\"zones-gett\", \"GET /zones//x\"]",
        ),
        "line 9, grants[0].operations[0]: there is no operation \"zones-gett\"; the nearest is \"zones-get\".\n\
         line 9, grants[0].operations[1]: \"GET /zones//x\" is no operation: write its id, or method and path such as \"GET /zones/{zone_id}\".",
    );
    for good in [
        "zones-get",
        "DELETE /zones/{zone_id}",
        "POST /zones/{zone_id}/not_built_yet",
    ] {
        messages(&GOOD.replace(
            "permissions = [\"DNS Write\"]",
            &format!("operations = [\"{good}\"]"),
        ));
    }
    messages(&GOOD.replace("DNS Write", "DNS Edit"));
}

#[test]
fn names_are_well_formed_and_unique_in_their_section() {
    let (_, grant) = GOOD.split_once("[[grants]]").unwrap();
    let again = format!(
        "{GOOD}
[[grants]]{grant}"
    );
    refuses(
        &again,
        "line 13, grants[1].name: the name \"dns\" is already used by grants[0].",
    );
    refuses(
        &GOOD.replace("name = \"dns\"", "name = \"a b\""),
        "line 6, grants[0].name: \"a b\" is no name: it needs 1 to 64 letters, digits, \".\", \"_\" or \"-\".",
    );
    // A grant and a principal may share a name.
    messages(&GOOD.replace("name = \"dns\"", "name = \"bot\""));
}

#[test]
fn all_problems_are_found_at_once() {
    refuses(
        &GOOD
            .replace("[\"bot\"]", "[]")
            .replace("permissions = [\"DNS Write\"]\n", "")
            .replace("[\"example.com\"]", "[\"*\", \"*.example.com\", \"\"]"),
        "line 7, grants[0].principals: the grant is for nobody.\n\
         line 5, grants[0]: the grant names no permissions and no operations.\n\
         line 9, grants[0].zones[0]: \"*\" means all, so it must stand alone.\n\
         line 9, grants[0].zones[1]: \"*.example.com\" is no name: only \"*\" alone stands for others.\n\
         line 9, grants[0].zones[2]: the text is empty.",
    );
}

#[test]
fn record_name_patterns_have_stars_for_whole_labels_only() {
    refuses_in_grant(
        "dns = { names = [\"foo*.example.com\"] }",
        "line 11, grants[0].dns.names[0]: \"foo*.example.com\" is no pattern for record names: `*` and `**` stand for whole labels; a `*` inside a label is not possible.",
    );
    refuses_in_grant(
        "dns = { names = ['a.\\*.example.com'] }",
        "line 11, grants[0].dns.names[0]: \"a.\\\\*.example.com\" is no pattern for record names: `\\*` can only be the first label: there are no other wildcard records.",
    );
    refuses_in_grant(
        "dns = { names = [\"a..example.com\"] }",
        "line 11, grants[0].dns.names[0]: \"a..example.com\" is no pattern for record names: a label of the name is empty.",
    );
    let with_names = |names: &str| messages(&format!("{GOOD}dns = {{ names = [{names}] }}"));
    assert!(
        with_names(r#"'\*.example.com', "**", "*.Bücher.example.com", "_acme-challenge.**""#)
            .is_empty()
    );
    assert_eq!(
        with_names(r#""_acme-challenge""#),
        [
            "grant dns: the name \"_acme-challenge\" lies in none of its zones, so it matches no record; names are written in full."
        ]
    );
}

#[test]
fn conditions_are_checked_value_by_value() {
    for (line, expected) in [
        (
            "dns = { names = [] }",
            "dns.names: an empty list would limit nothing; leave the key out or name something.",
        ),
        (
            "source_ips = []",
            "source_ips: an empty list would limit nothing; leave the key out or name something.",
        ),
        (
            "dns = { contents = [\"192.0.2.1/99\"] }",
            "dns.contents[0]: \"192.0.2.1/99\" has a longer prefix than its 32 bits.",
        ),
        (
            "dns = { max_changes = 0 }",
            "dns.max_changes: it must be at least 1.",
        ),
        (
            "purge = { prefixes = [\"https://example.com/\"] }",
            "purge.prefixes[0]: \"https://example.com/\" is no prefix: it is written as host and path, such as \"example.com/news/\".",
        ),
        (
            "purge = { prefixes = [\"example.com/?a\"] }",
            "purge.prefixes[0]: \"example.com/?a\" is no prefix: it is written as host and path, such as \"example.com/news/\".",
        ),
        (
            "purge = { hosts = [\"example.com/\"] }",
            "purge.hosts[0]: \"example.com/\" is no host name.",
        ),
        (
            "purge = { tags = [\"\"] }",
            "purge.tags[0]: the text is empty.",
        ),
        (
            "purge = { files = [\"example.com/a\"] }",
            "purge.files[0]: \"example.com/a\" is no http or https URL.",
        ),
        (
            "workers = { digests = [\"abc\"] }",
            "workers.digests[0]: \"abc\" is no SHA-256 digest: it has 64 lower-case hexadecimal digits.",
        ),
        (
            "r2 = { buckets = [\" a\"] }",
            "r2.buckets[0]: \" a\" has white space at its start or end.",
        ),
        (
            "source_ips = [\"example.com\"]",
            "source_ips[0]: \"example.com\" is no IP address and no network in CIDR form.",
        ),
        ("max_uses = 0", "max_uses: it must be at least 1."),
        (
            "hours = { from = \"9:00\", until = \"17:00\" }",
            "hours.from: \"9:00\" is no time of the day; it is written like \"09:30\".",
        ),
        (
            "hours = { from = \"09:00\", until = \"09:00\" }",
            "hours.until: it must differ from \"from\".",
        ),
        (
            "hours = { from = \"09:00\", until = \"17:00\", days = [\"Mon\"] }",
            "hours.days[0]: \"Mon\" is no day; days are \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\".",
        ),
        (
            "hours = { from = \"09:00\", until = \"17:00\", timezone = \"Berlin time\" }",
            "hours.timezone: \"Berlin time\" is no time zone; it is written like \"Europe/Berlin\".",
        ),
    ] {
        refuses_in_grant(line, &format!("line 11, grants[0].{expected}"));
    }
    refuses_in_grant(
        "not_before = 2026-11-02T00:00:00Z\nnot_after = 2026-11-02T00:00:00Z",
        "line 12, grants[0].not_after: it must lie after \"not_before\".",
    );
    refuses_in_grant(
        "not_after = 9999-12-31T23:59:59-01:00",
        "line 11, grants[0].not_after: it must lie within the years 0 to 9999 in UTC.",
    );
    refuses_in_grant(
        "[[jobs]]\nname = \"j\"\nkind = \"cache.purge\"\nrun_as = \"bot\"\nschedule = \"0 3 * *\"\ntimezone = \"/\"",
        "line 15, jobs[0].schedule: \"0 3 * *\" has 4 fields; a schedule has five: minute, hour, day of the month, month, day of the week.\n\
         line 16, jobs[0].timezone: \"/\" is no time zone; it is written like \"Europe/Berlin\".",
    );
}

/// The good document with a job of these further lines, from line 15 on.
fn with_job(lines: &str) -> String {
    format!("{GOOD}[[jobs]]\nname = \"j\"\nkind = \"cache.purge\"\nrun_as = \"bot\"\n{lines}\n")
}

#[test]
fn settings_of_jobs_lie_within_their_ranges() {
    for (line, expected) in [
        (
            "schedule = \"0 0 30 2 *\"",
            "schedule: \"0 0 30 2 *\" never comes: none of its months has such a day.",
        ),
        (
            "schedule = \"0 24 * * *\"",
            "schedule: \"24\" is no hour of a schedule.",
        ),
        (
            "timezone = \"Europe/Berlin\"",
            "timezone: it means nothing without \"schedule\".",
        ),
        (
            "missed = \"run_all\"",
            "missed: expected \"skip\", \"run_once\" or { run_all = 5 }, found the text \"run_all\".",
        ),
        (
            "missed = 5",
            "missed: expected \"skip\", \"run_once\" or { run_all = 5 }, found the number 5.",
        ),
        ("missed = {}", "missed: the key \"run_all\" is missing."),
        (
            "missed = { run_al = 5 }",
            "missed.run_al: there is no key \"run_al\" here; the nearest is \"run_all\".",
        ),
        (
            "missed = { run_all = -1 }",
            "missed.run_all: expected a whole number from 0 to 4294967295, found the number -1.",
        ),
        (
            "missed.run_all = 0",
            "missed.run_all: it must be from 1 to 100.",
        ),
        (
            "missed.run_all = 101",
            "missed.run_all: it must be from 1 to 100.",
        ),
        (
            "overlap = \"wait\"",
            "overlap: \"wait\" is not one of \"skip\", \"queue\", \"cancel\".",
        ),
        (
            "timeout_secs = 9",
            "timeout_secs: it must be from 10 to 86400.",
        ),
        (
            "timeout_secs = 86401",
            "timeout_secs: it must be from 10 to 86400.",
        ),
        ("max_attempts = 0", "max_attempts: it must be from 1 to 20."),
        (
            "max_attempts = 21",
            "max_attempts: it must be from 1 to 20.",
        ),
        ("max_calls = 0", "max_calls: it must be from 1 to 100000."),
        ("keep_days = 3651", "keep_days: it must be from 1 to 3650."),
    ] {
        refuses(&with_job(line), &format!("line 15, jobs[0].{expected}"));
    }
    for good in [
        "schedule = \"0 0 29 2 *\"\ntimezone = \"UTC\"\nmissed.run_all = 1",
        "timeout_secs = 86400\nmax_attempts = 20\nmax_calls = 1\nkeep_days = 1",
    ] {
        assert_eq!(messages(&with_job(good)), [""; 0]);
    }
}

#[test]
fn a_default_that_is_written_means_the_same_as_one_that_is_not() {
    let written = toml(&with_job("missed = \"run_once\"\noverlap = \"skip\""));
    assert_eq!(written, toml(&with_job("")));
    assert!(!to_toml(&written).contains("missed"));
}

#[test]
fn principals_have_the_fields_of_their_kind() {
    refuses(
        "[[principals]]\nname = \"a\"\nkind = \"key\"\nissuer = \"https://x.example\"\nemails = [\"a@x.example\"]\n",
        "line 4, principals[0].issuer: a principal of kind \"key\" has no \"issuer\".\n\
         line 5, principals[0].emails: a principal of kind \"key\" has no \"emails\".",
    );
    refuses(
        "[[principals]]\nname = \"a\"\nkind = \"oidc\"\n",
        "line 1, principals[0]: a principal of kind \"oidc\" needs \"issuer\".\n\
         line 1, principals[0]: a principal of kind \"oidc\" needs \"audience\".\n\
         line 1, principals[0]: a principal of kind \"oidc\" needs \"claims\": without any, every token of the issuer would do.",
    );
    refuses(
        "[[principals]]\nname = \"a\"\nkind = \"oidc\"\nissuer = \"https://x.example \"\naudience = \"\"\nmax_ttl_secs = 0\nclaims = { sub = [] }\n",
        "line 4, principals[0].issuer: \"https://x.example \" has white space at its start or end.\n\
         line 5, principals[0].audience: the text is empty.\n\
         line 6, principals[0].max_ttl_secs: it must be at least 1.\n\
         line 7, principals[0].claims.sub: the list is empty, so no token would do.",
    );
    refuses(
        "[[principals]]\nname = \"people\"\nkind = \"access\"\n",
        "line 1, principals[0]: a principal of kind \"access\" needs \"emails\" or \"groups\".",
    );
    assert!(
        messages(
            "[[principals]]\nname = \"people\"\nkind = \"access\"\nemails = [\"a@x.example\"]\n"
        )
        .is_empty()
    );
    let oidc = |name: &str, more: &str| {
        format!(
            "[[principals]]\nname = \"{name}\"\nkind = \"oidc\"\nissuer = \"https://x.example\"\naudience = \"y\"\nclaims = {{ sub = \"z\" }}\n{more}\n"
        )
    };
    let pinned = "jwks_uri = \"https://keys.example/jwks\"";
    assert!(messages(&(oidc("a", pinned) + &oidc("b", pinned))).is_empty());
    refuses(
        &(oidc("a", pinned) + &oidc("b", "")),
        "line 8, principals[1].jwks_uri: the principals of one issuer must all name the same \"jwks_uri\", or none.",
    );
    refuses(
        &oidc(
            "a",
            "jwks_uri = \"http://keys.example/jwks\"\nmax_ttl_secs = 43201",
        ),
        "line 7, principals[0].jwks_uri: \"http://keys.example/jwks\" is no address of keys: it must be an https URL without query.\n\
         line 8, principals[0].max_ttl_secs: it must be at most 43200, which is twelve hours.",
    );
    let off = "[root]\nenabled = false\n";
    assert!(!toml(off).root.enabled && toml("").root.enabled);
    refuses("[root]\n", "line 1, root: the key \"enabled\" is missing.");
}

#[test]
fn t7_gitlab_identities_are_numbers() {
    let gitlab = |claims: &str| {
        format!(
            "[[principals]]\nname = \"ci\"\nkind = \"oidc\"\nissuer = \"https://gitlab.com\"\naudience = \"x\"\nclaims = {{ {claims} }}\n"
        )
    };
    refuses(
        &gitlab("project_path = \"acme/site\""),
        "line 6, principals[0].claims: tokens of GitLab CI need the claim \"project_id\" or \"namespace_id\": names of projects can change hands.",
    );
    refuses(
        &gitlab("project_id = \"acme/site\", ref = \"main\""),
        "line 6, principals[0].claims.project_id: it must be a number, in quotes.",
    );
    assert!(messages(&gitlab("project_id = \"20\", ref = \"main\"")).is_empty());
    assert_eq!(
        messages(&gitlab("namespace_id = \"72\"")),
        ["principal ci: its claims would be safer with \"ref\"."]
    );
}

#[test]
fn github_identities_need_what_cannot_change_hands() {
    let github = |claims: &str| {
        format!(
            "[[principals]]\nname = \"ci\"\nkind = \"oidc\"\nissuer = \"https://token.actions.githubusercontent.com\"\naudience = \"x\"\nclaims = {{ {claims} }}\n"
        )
    };
    refuses(
        &github("repository = \"acme/site\""),
        "line 6, principals[0].claims: tokens of GitHub Actions need the claim \"repository_id\": names of repositories can change hands.\n\
         line 6, principals[0].claims: tokens of GitHub Actions need the claim \"ref\" or \"environment\": otherwise every branch would do.",
    );
    let safe = github(
        "repository_id = \"1\", environment = \"prod\", repository_owner_id = \"2\", ref_type = \"branch\", event_name = \"push\"",
    );
    assert!(messages(&safe).is_empty());
}

#[test]
fn a_grant_whose_permissions_and_places_do_not_meet_is_told() {
    let told = |why: &str| vec![format!("grant dns: its permissions and operations {why}.")];
    assert_eq!(
        messages(&GOOD.replace("zones = [\"example.com\"]", "accounts = [\"Acme\"]")),
        told("are about zones, and it names no zones")
    );
    assert_eq!(
        messages(&GOOD.replace("DNS Write", "Workers Scripts Write")),
        told("are about accounts, and it names no accounts")
    );
    assert_eq!(
        messages(&GOOD.replace(
            "permissions = [\"DNS Write\"]",
            "operations = [\"user-user-details\", \"GET /user\"]"
        )),
        told("are about neither zones nor accounts, and it names some")
    );
    let own = GOOD
        .replace("DNS Write", "Zonekeeper Audit Read")
        .replace("zones = [\"example.com\"]\n", "");
    assert!(messages(&own).is_empty());
    assert!(messages(GOOD).is_empty());
}

#[test]
fn only_an_allow_can_be_used_up() {
    for field in ["max_uses", "per_minute", "max_deletes_per_hour"] {
        assert!(messages(&format!("{GOOD}{field} = 5\n")).is_empty());
        for effect in ["deny", "approve"] {
            let text = GOOD.replace("\"allow\"", &format!("\"{effect}\""));
            refuses(
                &format!("{text}{field} = 5\n"),
                &format!(
                    "line 11, grants[0].{field}: only a grant that allows can be used up, and this one has the effect \"{effect}\"."
                ),
            );
        }
    }
}

#[test]
fn e11_a_grant_that_opens_the_own_api_says_not_how_often() {
    let own = GOOD.replace(
        "[\"DNS Write\"]",
        "[\"DNS Write\", \"Zonekeeper Jobs Run\"]",
    );
    assert!(messages(&own).is_empty());
    for field in ["max_uses", "per_minute", "max_deletes_per_hour"] {
        refuses(
            &format!("{own}{field} = 5\n"),
            &format!(
                "line 11, grants[0].{field}: calls of /api/v1 are not counted, so a grant of \"Zonekeeper Jobs Run\" cannot say how often."
            ),
        );
    }
}

#[test]
fn names_that_do_not_exist_upstream_are_refused_where_they_first_occur() {
    const ID: &str = "0123456789abcdef0123456789abcdef";
    let text = format!(
        "{}accounts = [\"Acme\", \"{ID}\"]\n{}",
        GOOD.replace("[\"example.com\"]", "[\"exmaple.com\", \"example.com\"]"),
        GOOD.replace("[\"example.com\"]", "[\"exmaple.com\"]"),
    );
    let source = read(text.as_bytes(), Format::Toml).unwrap();
    let names = names_to_resolve(&source.document);
    let texts = |names: &[zonekeeper::config::Name<'_>]| {
        names
            .iter()
            .map(|name| format!("{} {}", name.text, name.field))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(&names.zones),
        [
            "exmaple.com grants[0].zones[0]",
            "example.com grants[0].zones[1]"
        ]
    );
    assert_eq!(texts(&names.accounts)[0], "Acme grants[0].accounts[0]");
    assert_eq!(
        names.accounts[1]
            .account_id()
            .map(|id| id.to_string())
            .as_deref(),
        Some(ID)
    );
    assert_eq!(names.zones[0].zone_id(), None);

    let mut resolution = Resolution::default();
    let account = ID.parse().unwrap();
    resolution.zones.insert(
        "example.com".to_owned(),
        ZoneRef {
            id: ID.parse().unwrap(),
            name: "example.com".to_owned(),
            account,
        },
    );
    resolution.accounts.insert(
        "Acme".to_owned(),
        AccountRef {
            id: account,
            name: "Acme".to_owned(),
        },
    );
    let missing: Vec<String> = resolution
        .missing(&source)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        missing,
        [
            "line 10, grants[0].zones[0]: the upstream account has no zone \"exmaple.com\"."
                .to_owned(),
            format!("line 11, grants[0].accounts[1]: no account has the id \"{ID}\"."),
        ]
    );
    // Stored beside the document.
    assert_eq!(
        resolution.to_json(),
        json!({
            "zones": {"example.com": {"id": ID, "name": "example.com", "account": ID}},
            "accounts": {"Acme": {"id": ID, "name": "Acme"}},
        })
    );
}

#[test]
fn a_star_needs_no_lookup() {
    let document = toml(&GOOD.replace("[\"example.com\"]", "[\"*\"]"));
    assert!(names_to_resolve(&document).zones.is_empty());
}

#[test]
fn the_plan_names_what_is_new_what_differs_and_what_goes() {
    let before = toml(EXAMPLE);
    assert_eq!(plan(&before, &before), []);

    let mut after = before.clone();
    after.principals.swap(0, 1);
    after
        .principals
        .retain(|principal| principal.name != "nightly");
    after.grants[0].zones = vec!["*".to_owned()];
    let mut copy = after.grants[0].clone();
    copy.name = "more".to_owned();
    after.grants.insert(0, copy);
    after.jobs.clear();
    let after = toml(&format!("{}[audit]\nreads = \"sync\"\n", to_toml(&after)));

    let changes: Vec<_> = plan(&before, &after)
        .into_iter()
        .map(|change| (change.kind, change.name, change.action))
        .collect();
    assert_eq!(
        changes,
        [
            (ChangeKind::Setting, "audit".to_owned(), Action::Update),
            (ChangeKind::Principal, "nightly".to_owned(), Action::Delete),
            (ChangeKind::Grant, "more".to_owned(), Action::Create),
            (
                ChangeKind::Grant,
                "acme-challenges".to_owned(),
                Action::Update
            ),
            (ChangeKind::Job, "nightly-purge".to_owned(), Action::Delete),
        ]
    );
}

#[test]
fn a_change_is_shown_with_what_was_and_what_will_be() {
    let changes = plan(
        &toml(""),
        &toml("[[principals]]\nname = \"bot\"\nkind = \"key\"\n"),
    );
    assert_eq!(
        changes,
        [Change {
            kind: ChangeKind::Principal,
            name: "bot".to_owned(),
            action: Action::Create,
            before: None,
            after: Some(json!({"name": "bot", "kind": "key"})),
        }]
    );
    assert_eq!(
        serde_json::to_value(&changes).unwrap(),
        json!([{"kind": "principal", "name": "bot", "action": "create", "before": null,
                "after": {"name": "bot", "kind": "key"}}])
    );
}

#[test]
fn damaged_documents_are_refused_and_never_panic() {
    let mut state = 0x5eed_u64;
    let mut below = |bound: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    };
    let json = toml(EXAMPLE).to_json().to_string();
    for round in 0..4_000 {
        let (text, format) = if round % 2 == 0 {
            (EXAMPLE, Format::Toml)
        } else {
            (json.as_str(), Format::Json)
        };
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = b"[]{}\"'=,.\n#*\\0a\xff"[below(16)],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"[]{}\"'=,.\n#*\\0a\xff"[below(16)]),
            }
        }
        if let Ok(source) = read(&bytes, format) {
            let _ = validate(&source);
            let again = serde_json::to_vec(&source.document.to_json()).unwrap();
            assert_eq!(
                read(&again, Format::Json).unwrap().document,
                source.document
            );
            assert_eq!(toml(&to_toml(&source.document)), source.document);
        }
    }
}
