//! The claims that real issuers put into their tokens.
//!
//! GitHub Actions and GitLab CI write every claim but the times as a string, numbers and truth
//! values included. The set of claims is that of their documentation (general knowledge; NOTES is
//! about Cloudflare). NOTES "Access": the header and the address of the keys.

use serde_json::{Map, Value, json};

use crate::clock::{Now, SECOND};

/// The audience tag of the simulated Access application.
pub const ACCESS_AUD: &str = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";

/// What every preset needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) issuer: &'a str,
    pub(super) now: Now,
    /// How many tokens were made before; makes `jti` unique.
    pub(super) tokens: u64,
}

/// The claims of `name` with `given` over them; what follows from others (`sub`) follows from
/// what was given.
pub(super) fn claims(
    name: &str,
    scene: Scene<'_>,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let now = scene.now.0.div_euclid(SECOND);
    let (base, nbf, exp) = match name {
        "plain" => (
            json!({"aud": "https://zonekeeper.test", "sub": "someone"}),
            0,
            300,
        ),
        "github" | "github_ids" => (github(), -600, 300),
        "gitlab" => (gitlab(), -5, 3600),
        "access" => (access(), 0, 86_400),
        "access_service_token" => (service_token(), 0, 86_400),
        _ => {
            return Err(format!(
                "preset must be plain, github, github_ids, gitlab, access or access_service_token, not {name:?}"
            ));
        }
    };
    let mut claims = match base {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    claims.insert("iss".to_owned(), json!(scene.issuer));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("nbf".to_owned(), json!(now + nbf));
    claims.insert("exp".to_owned(), json!(now + exp));
    if !name.starts_with("access") {
        let jti = format!("00000000-0000-4000-8000-{:012x}", scene.tokens);
        claims.insert("jti".to_owned(), json!(jti));
    }
    claims.extend(given.clone());
    if !claims.contains_key("sub") {
        let sub = match name {
            "gitlab" => gitlab_subject(&claims),
            "github_ids" => github_subject(&claims, true),
            _ => github_subject(&claims, false),
        };
        claims.insert("sub".to_owned(), json!(sub));
    }
    Ok(claims)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> &'a str {
    claims.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn github() -> Value {
    let sha = "3a4f1b2c5d6e7f8091a2b3c4d5e6f70819203142";
    let workflow = "acme/site/.github/workflows/deploy.yml@refs/heads/main";
    json!({
        "aud": "https://github.com/acme",
        "repository": "acme/site", "repository_id": "812345678",
        "repository_owner": "acme", "repository_owner_id": "40001234",
        "repository_visibility": "private",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
        "head_ref": "", "base_ref": "", "event_name": "push",
        "workflow": "deploy", "workflow_ref": workflow, "workflow_sha": sha,
        "job_workflow_ref": workflow, "job_workflow_sha": sha,
        "run_id": "9000000812", "run_number": "812", "run_attempt": "1",
        "actor": "ada", "actor_id": "1001", "runner_environment": "github-hosted", "sha": sha,
    })
}

/// The default subject: what started the run, a deployment environment before anything else. The
/// newer form has the ids of owner and repository beside their names.
fn github_subject(claims: &Map<String, Value>, with_ids: bool) -> String {
    let repository = text(claims, "repository");
    let repository = match (with_ids, repository.split_once('/')) {
        (true, Some((owner, name))) => format!(
            "{owner}@{}/{name}@{}",
            text(claims, "repository_owner_id"),
            text(claims, "repository_id")
        ),
        _ => repository.to_owned(),
    };
    match (text(claims, "environment"), text(claims, "event_name")) {
        ("", "pull_request") => format!("repo:{repository}:pull_request"),
        ("", _) => format!("repo:{repository}:ref:{}", text(claims, "ref")),
        (environment, _) => format!("repo:{repository}:environment:{environment}"),
    }
}

fn gitlab() -> Value {
    let sha = "714a629c0b401fdce83e847fc9589983fc6f46bc";
    json!({
        "aud": "https://gitlab.test",
        "namespace_id": "72", "namespace_path": "acme",
        "project_id": "20", "project_path": "acme/site", "project_visibility": "private",
        "user_id": "1", "user_login": "ada", "user_email": "ada@acme.test",
        "user_access_level": "maintainer", "user_identities": [],
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
        "job_project_id": "20", "job_project_path": "acme/site",
        "job_namespace_id": "72", "job_namespace_path": "acme",
        "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
        "ref_protected": "true", "runner_id": 1, "runner_environment": "gitlab-hosted",
        "sha": sha, "ci_config_ref_uri": "gitlab.test/acme/site//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": sha,
    })
}

fn gitlab_subject(claims: &Map<String, Value>) -> String {
    format!(
        "project_path:{}:ref_type:{}:ref:{}",
        text(claims, "project_path"),
        text(claims, "ref_type"),
        text(claims, "ref")
    )
}

fn access() -> Value {
    json!({
        "aud": [ACCESS_AUD], "email": "ada@acme.test", "type": "app",
        "identity_nonce": "6ei69kawdKzMIAPF", "country": "US",
        "sub": "7335d417-61da-459d-899c-0a01c76a2f94",
        "custom": {"groups": ["platform"]},
    })
}

/// A service token has no person: an empty subject and the token's client id.
fn service_token() -> Value {
    json!({
        "aud": [ACCESS_AUD], "type": "app", "sub": "",
        "common_name": "e367826f93b8d71185e03fe518aff3b4.access",
    })
}
