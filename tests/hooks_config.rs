//! Hooks in the configuration: what is refused with its field, what is told, and how they are written.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use pollster::block_on;
use serde_json::json;
use support::hooks::config;
use support::keeper::{ACME, COM, Keeper, ROOT, ask};
use support::upstream::{get, success};
use zonekeeper::config::{Format, read, to_toml, validate};

/// The document with another line in the hook `site`, and what is said of it.
fn refuses(line: &str, other: &str, expected: &str) {
    let text = config("").replacen(line, other, 1);
    assert_ne!(text, config(""), "{line}");
    let source = read(text.as_bytes(), Format::Toml);
    let said = match source {
        Err(error) => error.to_string(),
        Ok(source) => match validate(&source) {
            Ok(_) => "nothing".to_owned(),
            Err(problems) => problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        },
    };
    let said = said
        .split_once(", ")
        .map_or(said.as_str(), |(_, rest)| rest);
    assert_eq!(said, expected, "{other}");
}

#[test]
fn what_cannot_be_a_hook_is_refused_with_its_field() {
    let secrets = r#"secrets = ["HOOK_SITE"]"#;
    let one_or_two = "hooks[0].secrets: it names one secret, or two while the sender changes from one to the other.";
    refuses(secrets, "secrets = []", one_or_two);
    refuses(
        secrets,
        r#"secrets = ["HOOK_A", "HOOK_B", "HOOK_C"]"#,
        one_or_two,
    );
    refuses(
        secrets,
        r#"secrets = ["HOOK_A", "HOOK_A"]"#,
        "hooks[0].secrets[1]: it is the same as the first.",
    );
    for name in [
        "ROOT_KEY",
        "CLOUDFLARE_API_TOKEN",
        "HOOK_",
        "hook_a",
        "HOOK_a",
        "HOOK_A B",
        "XHOOK_A",
    ] {
        let expected = format!(
            "hooks[0].secrets[0]: {name:?} is no name of a hook's secret: it must begin with HOOK_ and have capitals, digits and \"_\", at most 64 in all."
        );
        refuses(secrets, &format!("secrets = [{name:?}]"), &expected);
    }
    let job = "job = \"purge\"\nwhen";
    refuses(
        job,
        "job = \"purg\"\nwhen",
        "hooks[0].job: there is no job \"purg\"; the nearest is \"purge\".",
    );
    let kind = "type = \"github\"";
    refuses(
        kind,
        "type = \"gitea\"",
        "hooks[0].type: \"gitea\" is not one of \"github\", \"gitlab\", \"standard\", \"cloudflare\".",
    );
    let when = "event = [\"workflow_run\"]";
    refuses(
        when,
        "event = []",
        "hooks[0].when.event: the list is empty, so no delivery would do.",
    );
    let value = "it must be a text, a number, true or false, or a list of these.";
    refuses(when, "event = {}", &format!("hooks[0].when.event: {value}"));
    refuses(
        when,
        "event = [[1]]",
        &format!("hooks[0].when.event: {value}"),
    );
    let pointer = |text: &str| {
        format!(
            "{text:?} is no JSON pointer: one begins with \"/\", and after \"~\" comes 0 or 1 (RFC 6901)."
        )
    };
    refuses(
        when,
        "action = 1",
        &format!("hooks[0].when.action: {}", pointer("action")),
    );
    refuses(
        when,
        "\"/a~2\" = 1",
        &format!("hooks[0].when.\"/a~2\": {}", pointer("/a~2")),
    );
    refuses(
        "params = { tags = \"/tags\" }",
        "params = { tags = \"tags\" }",
        &format!("hooks[0].params.tags: {}", pointer("tags")),
    );
    refuses(
        "params = { tags = \"/tags\" }",
        "params = { tags = 1 }",
        "hooks[0].params.tags: expected a text in quotes, found the number 1.",
    );
    refuses(
        "name = \"lab\"",
        "name = \"site\"",
        "hooks[1].name: the name \"site\" is already used by hooks[0].",
    );
    refuses(
        "name = \"site\"",
        "name = \"..\"",
        "hooks[0].name: no address can end in it.",
    );
    refuses(
        "name = \"site\"",
        "name = \"a/b\"",
        "hooks[0].name: \"a/b\" is no name: it needs 1 to 64 letters, digits, \".\", \"_\" or \"-\".",
    );
}

#[test]
fn a_hook_of_low_assurance_starts_fixed_and_harmless_jobs_only() {
    refuses(
        "secrets = [\"HOOK_CF\"]",
        "secrets = [\"HOOK_CF\"]\nparams = { tags = \"/tags\" }",
        "hooks[3].params: a hook of type \"cloudflare\" has no \"params\": its job runs with its own only.",
    );
    for kind in ["dns.restore", "dns.snapshot", "workers.deploy"] {
        let expected = format!(
            "hooks[3].job: a hook of type \"cloudflare\" starts only jobs that can be repeated without harm, which one of the kind {kind:?} cannot: cache.purge, analytics.report, lb.health_export, tokens.check, audit.ingest, certificates.check can."
        );
        refuses(
            "kind = \"cache.purge\"",
            &format!("kind = {kind:?}"),
            &expected,
        );
    }
}

#[test]
fn a_hook_is_part_of_the_configuration_in_every_form() {
    let keeper = Keeper::with("");
    let put = |document: &str, query: &str| {
        keeper.call(
            ask(&format!(
                "{query} /api/v1/config{}",
                if query == "POST" { "/plan" } else { "" }
            ))
            .key(ROOT)
            .toml(document),
        )
    };
    keeper.apply(config("").split("[[hooks]]").next().unwrap());
    keeper.advance_secs(6);
    let zone = || {
        get("/zones?name=example.com").answers(
            200,
            success(&json!([{"id": COM, "name": "example.com", "account": {"id": ACME, "name": "Acme"}}])),
        )
    };
    keeper.expect(zone());
    let planned = put(&config(""), "POST").result();
    let names: Vec<String> = planned["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            format!(
                "{} {} {}",
                change["kind"].as_str().unwrap(),
                change["action"].as_str().unwrap(),
                change["name"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            "hook create site",
            "hook create lab",
            "hook create bus",
            "hook create alerts"
        ]
    );
    assert_eq!(
        planned["changes"][0]["after"]["when"],
        json!({"event": ["workflow_run"], "/workflow_run/head_branch": ["main"]})
    );
    keeper.expect(zone());
    assert_eq!(put(&config(""), "PUT").status, 200);
    // Written as TOML or JSON it is the same document.
    let current = block_on(keeper.store.current_config()).unwrap().document;
    let toml = read(to_toml(&current).as_bytes(), Format::Toml).unwrap();
    assert_eq!(toml.document, *current);
    let json = read(current.to_json().to_string().as_bytes(), Format::Json).unwrap();
    assert_eq!(json.document, *current);
    assert!(validate(&json).unwrap().is_empty());
    // A job that a hook names cannot be taken away.
    let without = config("").replace("name = \"purge\"\nkind", "name = \"other\"\nkind");
    let refused = put(&without, "POST");
    assert_eq!(refused.refused(), (400, 20031));
    assert!(
        refused
            .message()
            .ends_with("hooks[0].job: there is no job \"purge\"."),
        "{}",
        refused.text
    );
}

#[test]
fn hooks_that_share_a_secret_are_told() {
    let text = config("").replace("HOOK_BUS", "HOOK_SITE");
    let source = read(text.as_bytes(), Format::Toml).unwrap();
    assert_eq!(
        validate(&source).unwrap(),
        [
            "hooks site and bus: they share the secret HOOK_SITE, so what is sent to one could be sent on to the other."
        ]
    );
}
