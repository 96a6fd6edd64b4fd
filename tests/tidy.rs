//! Rules of the source text that no compiler checks.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Which module may use which others. What is not here is not used.
///
/// The core points inwards: what decides knows neither what carries out nor what is stored.
/// `policy` and `upstream` meet in one type, the permit without which nothing is handed through.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("dns", &["model"]),
    ("graphql", &["model"]),
    ("workers", &["model"]),
    ("cron", &["model"]),
    ("catalog", &["model"]),
    ("run", &["catalog", "model"]),
    ("config", &["catalog", "cron", "model"]),
    ("identity", &["config", "model"]),
    ("policy", &["catalog", "config", "cron", "model"]),
    ("upstream", &["catalog", "model", "policy"]),
    ("audit", &["catalog", "model", "upstream"]),
    ("settings", &["identity", "model", "upstream"]),
    (
        "store",
        &[
            "audit", "catalog", "config", "identity", "model", "run", "upstream",
        ],
    ),
    (
        "gateway",
        &[
            "audit", "catalog", "config", "cron", "dns", "graphql", "identity", "model", "policy",
            "settings", "store", "upstream", "workers",
        ],
    ),
    (
        "oauth",
        &["audit", "config", "gateway", "identity", "model", "store"],
    ),
    (
        "jobs",
        &[
            "audit", "catalog", "config", "cron", "dns", "gateway", "identity", "model", "policy",
            "run", "settings", "store", "upstream", "workers",
        ],
    ),
    (
        "hooks",
        &[
            "audit", "config", "gateway", "identity", "jobs", "model", "run", "store",
        ],
    ),
    (
        "api",
        &[
            "audit", "catalog", "config", "cron", "dns", "gateway", "hooks", "identity", "jobs",
            "model", "policy", "run", "settings", "store", "upstream", "workers",
        ],
    ),
    (
        "edge",
        &[
            "api", "audit", "catalog", "config", "cron", "gateway", "hooks", "identity", "jobs",
            "model", "oauth", "policy", "run", "settings", "store", "upstream",
        ],
    ),
];

/// Files longer than the rule, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "src/catalog/build/corrections.rs",
        "a table: one row for each correction of Cloudflare's own list",
    ),
    (
        "src/gateway/call.rs",
        "the steps of one call, to be read in one go",
    ),
    (
        "src/gateway/execute.rs",
        "the last step of a call, to be read in one go",
    ),
    (
        "tests/bodies.rs",
        "a table: bodies and what each of them is judged to reach",
    ),
    (
        "tests/policy.rs",
        "a table: one policy and the calls put to it",
    ),
    (
        "tests/config.rs",
        "a table: documents and what is said of them",
    ),
    (
        "tests/api.rs",
        "a table: requests and what each of them changes",
    ),
    (
        "tests/gateway.rs",
        "a table: calls and how each of them ends",
    ),
];

/// Every file below `folder` that ends so, with its text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(name);
            } else if name.ends_with(ending) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((name, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files("src", ".rs")
}

/// The code of a file: without comments, and without the unit tests at its foot.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" // ").next().unwrap())
        .fold(String::new(), |code, line| code + line + "\n")
}

/// Fails with every file of the core whose code has one of `words`.
fn check_absent(words: &[&str], is_core: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| is_core(name)) {
        let code = code(&text);
        found.extend(
            words
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{name} has {word}")),
        );
    }
    assert_eq!(found, [""; 0]);
}

/// Outside of the adapters, and of the tools that run natively.
fn is_core(name: &str) -> bool {
    !name.starts_with("src/edge/") && !name.starts_with("src/bin/")
}

#[test]
fn only_the_edge_touches_the_runtime() {
    check_absent(
        &[
            "worker::",
            "web_sys",
            "js_sys",
            "wasm_bindgen",
            "extern \"C\"",
        ],
        is_core,
    );
}

#[test]
fn only_the_edge_reads_a_clock_or_rolls_dice() {
    check_absent(
        &[
            "SystemTime",
            "Instant::",
            "time::Instant",
            "Utc::now",
            "Local::now",
            "getrandom",
            "Date::now",
            "thread_rng",
            "RandomState",
            "thread::sleep",
        ],
        is_core,
    );
}

#[test]
fn only_the_edge_reads_the_environment_or_files() {
    check_absent(
        &["std::env", "std::fs", "std::net::Tcp", "std::process"],
        is_core,
    );
}

#[test]
fn policy_is_pure() {
    check_absent(&["async ", ".await", "RefCell", "Mutex"], |name| {
        name.starts_with("src/policy/")
    });
}

#[test]
fn sql_is_written_in_the_store_only() {
    check_absent(
        &[
            "SELECT ",
            "INSERT INTO",
            "UPDATE ",
            "DELETE FROM",
            "CREATE TABLE",
            "ALTER TABLE",
        ],
        |name| !name.starts_with("src/store/"),
    );
}

#[test]
fn sql_is_never_put_together_from_input() {
    for (name, text) in files("src/store", ".rs") {
        let code = code(&text);
        for part in code.split("Statement::new(").skip(1) {
            let sql = part.split([',', ')']).next().unwrap().trim();
            let is_constant = sql.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            // A parameter of type `&'static str`, or a piece of an embedded migration.
            assert!(
                is_constant || matches!(sql, "sql" | "sql: &'static str"),
                "{name}: {sql}"
            );
        }
    }
}

#[test]
fn modules_use_each_other_along_the_arrows_only() {
    let arrows: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(module, used)| (*module, used.iter().copied().collect()))
        .collect();
    let listed: BTreeSet<String> = arrows.keys().map(ToString::to_string).collect();
    let mut modules = BTreeSet::new();
    for (name, text) in sources() {
        let module = name.trim_start_matches("src/");
        let module = module.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "bin") {
            continue;
        }
        modules.insert(module.to_owned());
        for part in code(&text).split("crate::").skip(1) {
            let used = part
                .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                .next()
                .unwrap();
            assert!(
                used == module
                    || arrows
                        .get(module)
                        .is_some_and(|arrows| arrows.contains(used)),
                "{name} uses {used}"
            );
        }
    }
    assert_eq!(modules, listed, "every module has its row");
    // In the order of the table nothing points forwards, so there is no circle.
    for (index, (module, used)) in ARROWS.iter().enumerate() {
        for other in *used {
            let place = ARROWS.iter().position(|(module, _)| module == other);
            assert!(place.is_some_and(|at| at < index), "{module} uses {other}");
        }
    }
}

#[test]
fn upstream_knows_of_policy_only_the_permit() {
    for (name, text) in files("src/upstream", ".rs") {
        for part in code(&text).split("crate::policy::").skip(1) {
            assert!(part.starts_with("Permit;"), "{name}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (name, text) in sources().into_iter().chain(files("tests", ".rs")) {
        assert!(text.starts_with("//! "), "{name} has no header");
    }
}

#[test]
fn no_file_is_too_long() {
    for (name, text) in sources().into_iter().chain(files("tests", ".rs")) {
        let is_exempt = LONG_FILES.iter().any(|(exempt, _)| *exempt == name);
        let lines = text.lines().count();
        assert!(lines <= 700 || is_exempt, "{name} has {lines} lines");
    }
    for (name, _) in LONG_FILES {
        assert!(Path::new(name).exists(), "{name}");
    }
}

#[test]
fn nothing_is_left_for_later_in_a_comment() {
    // Written so that this file does not hold the words itself.
    let words = ["TO", "FIX", "HA"]
        .into_iter()
        .zip(["DO", "ME", "CK"])
        .map(|(head, tail)| format!("{head}{tail}"));
    let words: Vec<String> = words
        .chain([["todo", "!("].concat(), ["unimplemented", "!("].concat()])
        .collect();
    for (name, text) in sources().into_iter().chain(files("tests", ".rs")) {
        for word in &words {
            let found = text.match_indices(word.as_str()).any(|(at, _)| {
                let before = text.get(..at).and_then(|text| text.chars().last());
                !before.is_some_and(char::is_alphanumeric)
            });
            assert!(!found, "{name} has {word}");
        }
    }
}

/// The texts in quotes that follow `call(` in the code of the edge.
fn named_in_edge(call: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (_, text) in files("src/edge", ".rs") {
        let code = code(&text);
        for part in code.split(&format!("{call}(\"")).skip(1) {
            names.push(part.split('"').next().unwrap().to_owned());
        }
    }
    names
}

#[test]
fn every_binding_named_in_code_is_in_wrangler_toml() {
    let wrangler: toml::Table = fs::read_to_string("wrangler.toml")
        .unwrap()
        .parse()
        .unwrap();
    let settings = fs::read_to_string("src/settings.rs").unwrap();
    let vars = wrangler["vars"].as_table().unwrap();
    let bindings = |section: &str| -> Vec<&str> {
        let mut at: &toml::Value = &wrangler[section.split('.').next().unwrap()];
        for part in section.split('.').skip(1) {
            at = &at[part];
        }
        at.as_array()
            .unwrap()
            .iter()
            .map(|item| item["binding"].as_str().unwrap())
            .collect()
    };
    for (call, section) in [
        (".d1", "d1_databases"),
        (".kv", "kv_namespaces"),
        (".queue", "queues.producers"),
    ] {
        for name in named_in_edge(call) {
            assert!(bindings(section).contains(&name.as_str()), "{name}");
        }
    }
    assert_eq!(named_in_edge(".d1"), ["DB"]);
    let is_secret = |name: &str| settings.contains(&format!("Secret `{name}`"));
    let named = named_in_edge("var");
    assert!(named.len() > 6, "{named:?}");
    for name in named {
        assert!(
            vars.contains_key(&name) || is_secret(&name),
            "wrangler.toml has no var {name}"
        );
    }
    let secrets = named_in_edge("secret");
    assert!(secrets.len() > 2, "{secrets:?}");
    for name in secrets {
        assert!(is_secret(&name), "{name} is not documented as a secret");
        assert!(!vars.contains_key(&name), "the secret {name} is a var");
    }
}

#[test]
fn every_migration_is_embedded() {
    let embedded = zonekeeper::store::MIGRATIONS;
    let stored = files("migrations", ".sql");
    assert_eq!(embedded.len(), stored.len());
    for (migration, (name, text)) in embedded.iter().zip(stored) {
        let number = format!("migrations/{:04}_", migration.id);
        assert!(name.starts_with(&number), "{name}");
        assert_eq!(migration.sql, text);
    }
}

#[test]
fn the_example_configuration_is_valid() {
    use zonekeeper::config::{Format, read, validate};
    let text = fs::read("zonekeeper.toml").unwrap();
    let source = read(&text, Format::Toml).unwrap_or_else(|error| panic!("{error}"));
    validate(&source).unwrap_or_else(|problems| panic!("{problems:?}"));
    let names = |name: &str| {
        source
            .document
            .principals
            .iter()
            .any(|principal| principal.name == name)
    };
    assert!(names("acme-bot"));
}

#[test]
fn t10_secrets_are_compared_in_one_place_and_in_constant_time() {
    let key = fs::read_to_string("src/identity/key.rs").unwrap();
    assert!(key.contains("self.0.ct_eq(&other.0).into()"));
    for (name, text) in sources() {
        let code = code(&text);
        // A digest or a secret that could be compared with `==` would be, one day.
        for declared in ["struct Digest(", "struct Secret("] {
            if let Some((before, _)) = code.split_once(declared) {
                let derives = before.rsplit("#[derive(").next().unwrap();
                assert!(!derives.contains("PartialEq"), "{name}: {declared}");
            }
        }
        for hidden in ["to_hex() ==", "== digest.to_hex", "expose() =="] {
            assert!(
                !code.contains(hidden),
                "{name} compares a secret with {hidden}"
            );
        }
    }
}

#[test]
fn every_security_case_has_its_tests_and_every_test_it_names_is_there() {
    let page = fs::read_to_string("docs/security-cases.md").unwrap();
    let mut cases = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let (id, _, tests) = (
            cells.next().unwrap(),
            cells.next(),
            cells.next().unwrap_or(""),
        );
        if id == "id" {
            continue;
        }
        cases += 1;
        assert!(!tests.is_empty(), "{id} has no test");
        for group in tests.split("<br>") {
            let (file, names) = group.split_once("`: ").unwrap();
            let file = file.trim_matches('`');
            let text = fs::read_to_string(file).unwrap_or_else(|_| panic!("{id}: {file}"));
            for name in names.trim_end_matches('|').split("; ").map(str::trim) {
                let is_there =
                    text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\""));
                assert!(is_there, "{id}: {file} has no test {name}");
                let carries = name.to_ascii_lowercase().contains(&id.to_ascii_lowercase());
                assert!(carries, "{id}: the name of {name} does not carry it");
            }
        }
    }
    assert!(cases >= 37, "{cases}");
}
