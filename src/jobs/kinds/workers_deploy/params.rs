//! What a deployment is told.

use serde_json::{Map, Value};

use super::super::zones::check_zone;
use super::github::GitHub;
use super::sources::{self, Kv, R2, is_sha256};
use crate::jobs::kind::{ParamsError, read_params};
use crate::model::typed::object;
use crate::model::{AccountId, WebUrl};

/// Most steps of a deployment.
const MAX_STEPS: usize = 10;
/// Most addresses that are asked how the new version does.
const MAX_CHECKS: usize = 5;
/// Most seconds between two steps: a day.
const MAX_WAIT_SECS: u32 = 86_400;

object! {
    #[derive(Debug)]
    pub(super) struct Params {
        /// The account's id.
        pub(super) account: AccountId,
        /// The Worker's name.
        pub(super) script: String,
        /// The shares of traffic the new version gets one after the other; all of it at once when absent.
        pub(super) steps: Vec<StepParams> = default,
        /// Seconds between two looks at how the new version does.
        pub(super) check_every_secs: Option<u32> = default,
        /// What is asked, and what must be answered.
        pub(super) health: Vec<HealthParams> = default,
        /// How much more often than the version before the new one may fail.
        pub(super) error_rate: Option<ErrorRateParams> = default,
        /// Zones whose cache is purged as soon as the new version has all traffic: names or ids.
        pub(super) zones: Vec<String> = default,
        /// A version that is there already, in place of a bundle.
        pub(super) version: Option<String> = default,
        /// The version that must have all traffic before.
        pub(super) replaces: Option<String> = default,
        /// Whether that version is deployed though secrets were changed since, which it then has as they were.
        pub(super) force: bool = default,
        /// The key of a bundle that was stored.
        pub(super) bundle: Option<String> = default,
        /// Where GitHub keeps the bundle.
        pub(super) github: Option<GitHub> = default,
        /// The KV namespace that has the bundle.
        pub(super) kv: Option<Kv> = default,
        /// The R2 bucket that has the bundle.
        pub(super) r2: Option<R2> = default,
        /// Its key there, unless that stands beside the namespace or bucket.
        pub(super) key: Option<String> = default,
        /// The SHA-256 of the bundle, in hex.
        pub(super) sha256: Option<String> = default,
        /// The workflow run whose artifact it is.
        pub(super) run_id: Option<u64> = default,
        /// The release whose asset it is.
        pub(super) tag: Option<String> = default,
        /// The commit it was built from; what a workflow run brings must be of it.
        pub(super) commit: Option<String> = default,
        /// The deployment at GitHub that the run carries out, whose status notifications post.
        pub(super) github_deployment: Option<u64> = default,
        /// The run whose version it takes back; a rollback says so itself. Notifications then speak of that run's
        /// commit and deployment at GitHub.
        pub(super) rolls_back: Option<String> = default,
        /// What it brings, for people.
        pub(super) message: Option<String> = default,
    }
}

object! {
    #[derive(Debug)]
    pub(super) struct StepParams {
        /// The new version's share of traffic.
        pub(super) percent: u8,
        /// Seconds until the next step.
        pub(super) wait_secs: u32 = default,
    }
}

object! {
    #[derive(Debug)]
    pub(super) struct HealthParams {
        /// Where to ask; the new version answers, whatever its share.
        pub(super) url: String,
        /// The status it must answer with: 200 when absent.
        pub(super) status: Option<u16> = default,
        /// A text its body must hold.
        pub(super) contains: Option<String> = default,
        /// Milliseconds it may take at the most.
        pub(super) max_ms: Option<u32> = default,
    }
}

object! {
    /// Bounds of the error rate that Cloudflare's analytics show.
    #[derive(Debug)]
    pub(super) struct ErrorRateParams {
        /// Percent points by which it may be above that of the version before.
        pub(super) max_percent_points: f64,
        /// Requests that the new version must have had before it is judged: 50 when absent.
        pub(super) min_requests: Option<u32> = default,
    }
}

pub(super) fn wrong(field: impl Into<String>, message: impl Into<String>) -> ParamsError {
    ParamsError {
        field: field.into(),
        message: message.into(),
    }
}

/// Reads the parameters.
pub(super) fn parse(params: &Map<String, Value>) -> Result<Params, ParamsError> {
    let mut read: Params = read_params(params)?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if read.script.is_empty() || read.script.len() > 63 || !read.script.chars().all(is_name) {
        return Err(wrong(
            "script",
            "it must be the name of a Worker: lower-case letters, digits, `-` and `_`, at most 63",
        ));
    }
    if read.steps.is_empty() {
        read.steps.push(StepParams {
            percent: 100,
            wait_secs: 0,
        });
    }
    steps(&read.steps)?;
    if read
        .check_every_secs
        .is_some_and(|secs| !(10..=3_600).contains(&secs))
    {
        return Err(wrong("check_every_secs", "it must be from 10 to 3600"));
    }
    if !read.health.is_empty() && read.steps.len() < 2 {
        return Err(wrong("health", ONE_STEP));
    }
    if read.health.len() > MAX_CHECKS {
        let message = format!("at most {MAX_CHECKS} addresses are asked");
        return Err(wrong("health", message));
    }
    if let Some(rate) = &read.error_rate {
        error_rate(rate, read.steps.len())?;
    }
    for (index, health) in read.health.iter().enumerate() {
        let at = |field: &str| format!("health[{index}].{field}");
        if WebUrl::parse(&health.url).is_none() {
            return Err(wrong(at("url"), "it is no address of the web"));
        }
        if health
            .status
            .is_some_and(|status| !(100..600).contains(&status))
        {
            return Err(wrong(at("status"), "it must be from 100 to 599"));
        }
        if health
            .max_ms
            .is_some_and(|ms| !(1..=MAX_PROBE_MS).contains(&ms))
        {
            let message = format!("it must be from 1 to {MAX_PROBE_MS}");
            return Err(wrong(at("max_ms"), message));
        }
    }
    for (index, zone) in read.zones.iter().enumerate() {
        check_zone(zone, &format!("zones[{index}]"))?;
    }
    let is_id =
        |id: &String| id.len() == 36 && id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !read.version.as_ref().is_none_or(is_id) {
        return Err(wrong("version", "it is no id of a version"));
    }
    if read.version.is_some() && read.bundle.is_some() {
        return Err(wrong(
            "bundle",
            "there is a version as well: only one of them is deployed",
        ));
    }
    sources::check(&read)?;
    if read.github_deployment == Some(0) {
        let message = "it must be the id of a deployment at GitHub";
        return Err(wrong("github_deployment", message));
    }
    let is_key = |key: &String| key.strip_prefix(BUNDLES).is_some_and(is_sha256);
    if !read.bundle.as_ref().is_none_or(is_key) {
        return Err(wrong("bundle", "it is no key of a stored bundle"));
    }
    Ok(read)
}

/// Why a deployment of one step takes no checks.
const ONE_STEP: &str =
    "there is one step only, so nothing would be looked at: begin with a smaller share, such as 0";

fn error_rate(rate: &ErrorRateParams, steps: usize) -> Result<(), ParamsError> {
    if steps < 2 {
        return Err(wrong("error_rate", ONE_STEP));
    }
    if !(0.0..=100.0).contains(&rate.max_percent_points) {
        let message = "it must be from 0 to 100";
        return Err(wrong("error_rate.max_percent_points", message));
    }
    if rate.min_requests == Some(0) {
        return Err(wrong("error_rate.min_requests", "it must be at least 1"));
    }
    Ok(())
}

/// Where bundles are kept, by the SHA-256 of what they hold.
pub const BUNDLES: &str = "bundles/";

/// Seconds a bundle is kept: 30 days.
pub const KEEP_BUNDLE_SECS: u32 = 30 * 86_400;

/// Milliseconds an address has for its answer at the most.
pub(super) const MAX_PROBE_MS: u32 = 10_000;

fn steps(steps: &[StepParams]) -> Result<(), ParamsError> {
    if steps.len() > MAX_STEPS {
        return Err(wrong("steps", format!("there are at most {MAX_STEPS}")));
    }
    let mut before = None;
    for (index, step) in steps.iter().enumerate() {
        let at = |field: &str| format!("steps[{index}].{field}");
        let is_last = index + 1 == steps.len();
        if step.percent > 100 || before.is_some_and(|before| step.percent <= before) {
            return Err(wrong(
                at("percent"),
                "it must be at most 100, and more than that of the step before",
            ));
        }
        if is_last != (step.percent == 100) {
            return Err(wrong(
                at("percent"),
                "it must be 100 in the last step, and only there",
            ));
        }
        if is_last && step.wait_secs != 0 {
            return Err(wrong(at("wait_secs"), "nothing comes after the last step"));
        }
        if !is_last && !(10..=MAX_WAIT_SECS).contains(&step.wait_secs) {
            return Err(wrong(
                at("wait_secs"),
                format!("it must be from 10 to {MAX_WAIT_SECS}"),
            ));
        }
        before = Some(step.percent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(change: impl FnOnce(&mut Value)) -> String {
        let mut params = json!({
            "account": "0123456789abcdef0123456789abcdef",
            "script": "site",
            "steps": [{"percent": 5, "wait_secs": 60}, {"percent": 100}],
            "health": [{"url": "https://www.example.com/health"}],
            "zones": ["example.com"],
        });
        change(&mut params);
        parse(params.as_object().unwrap()).map_or_else(
            |error| format!("{}: {}", error.field, error.message),
            |_| String::new(),
        )
    }

    #[test]
    fn each_parameter_that_does_not_fit_is_named() {
        assert_eq!(error(|_| {}), "");
        assert!(
            error(|params| params["steps"] = json!([])).starts_with("health: there is one step")
        );
        let at_once = |params: &mut Value| {
            params["steps"] = json!([]);
            params["health"] = json!([]);
        };
        assert_eq!(error(at_once), "");
        assert!(error(|params| params["account"] = json!("acme")).starts_with("account: "));
        assert!(error(|params| params["script"] = json!("Site")).starts_with("script: "));
        for (steps, field) in [
            (json!([{"percent": 101}]), "steps[0].percent"),
            (
                json!([{"percent": 50, "wait_secs": 60}]),
                "steps[0].percent",
            ),
            (
                json!([{"percent": 100}, {"percent": 100}]),
                "steps[0].percent",
            ),
            (
                json!([{"percent": 50, "wait_secs": 60}, {"percent": 50}]),
                "steps[1].percent",
            ),
            (
                json!([{"percent": 50}, {"percent": 100}]),
                "steps[0].wait_secs",
            ),
            (
                json!([{"percent": 100, "wait_secs": 60}]),
                "steps[0].wait_secs",
            ),
            (json!([{"percent": 5, "wait": 1}]), "steps[0].wait"),
        ] {
            let error = error(|params| params["steps"] = steps);
            assert!(error.starts_with(&format!("{field}: ")), "{error}");
        }
        for (field, value) in [
            ("check_every_secs", json!(9)),
            ("zones", json!(["not a zone"])),
            ("version", json!("latest")),
            ("bundle", json!("snapshots/0/0")),
            ("bundle", json!("bundles/../0")),
            ("github_deployment", json!(0)),
            ("github_deployment", json!(-1)),
            ("github_deployment", json!("123")),
        ] {
            let error = error(|params| params[field] = value.clone());
            assert!(error.starts_with(field), "{field} {value}: {error}");
        }
        let health = |health: Value| error(|params| params["health"] = json!([health]));
        assert!(health(json!({"url": "www"})).starts_with("health[0].url: "));
        let url = "https://www.example.com/";
        assert!(health(json!({"url": url, "status": 99})).starts_with("health[0].status: "));
        assert!(health(json!({"url": url, "max_ms": 60_000})).starts_with("health[0].max_ms: "));
    }
    #[test]
    fn bounds_of_the_error_rate_that_do_not_fit_are_named() {
        for (rate, field) in [
            (json!({}), "error_rate: "),
            (
                json!({"max_percent_points": -1}),
                "error_rate.max_percent_points: ",
            ),
            (
                json!({"max_percent_points": 100.5}),
                "error_rate.max_percent_points: ",
            ),
            (
                json!({"max_percent_points": 1, "min_requests": 0}),
                "error_rate.min_requests: ",
            ),
            (json!({"max": 1}), "error_rate.max: "),
        ] {
            let error = error(|params| params["error_rate"] = rate);
            assert!(error.starts_with(field), "{field} {error}");
        }
        let rate = json!({"max_percent_points": 0.5, "min_requests": 10});
        assert_eq!(error(|params| params["error_rate"] = rate.clone()), "");
        let at_once = error(|params| {
            params["error_rate"] = rate.clone();
            params["health"] = json!([]);
            params["steps"] = json!([]);
        });
        assert!(
            at_once.starts_with("error_rate: there is one step"),
            "{at_once}"
        );
    }

    #[test]
    fn what_does_not_fit_of_where_a_bundle_is_is_named() {
        let kv = json!({"namespace": "0".repeat(32), "key": "site"});
        let r2 = json!({"bucket": "builds"});
        for (sources, field) in [
            (json!({"kv": kv, "sha256": "a".repeat(64)}), ""),
            (json!({"r2": r2, "key": "a/b c"}), ""),
            (json!({"kv": kv, "r2": r2}), "r2: "),
            (
                json!({"kv": kv, "github": {"repository": "a/b", "token": "DEPLOY_G", "asset": "w"}}),
                "kv: ",
            ),
            (json!({"kv": {"namespace": "builds"}}), "kv.namespace: "),
            (
                json!({"kv": {"namespace": "0".repeat(32), "key": ""}}),
                "kv.key: ",
            ),
            (
                json!({"kv": {"namespace": "0".repeat(32), "key": "k".repeat(513)}}),
                "kv.key: ",
            ),
            (json!({"kv": kv, "key": "site"}), "key: "),
            (json!({"key": "site"}), "key: "),
            (json!({"r2": r2, "key": "k".repeat(1024)}), ""),
            (json!({"r2": r2, "key": "k".repeat(1025)}), "key: "),
            (json!({"r2": r2, "key": "a/../b"}), "key: "),
            (json!({"r2": r2, "key": "a\nb"}), "key: "),
            (json!({"r2": {"bucket": "../builds"}}), "r2.bucket: "),
            (json!({"r2": {"bucket": "Builds"}}), "r2.bucket: "),
            (json!({"sha256": "a".repeat(63)}), "sha256: "),
            (json!({"sha256": "A".repeat(64)}), "sha256: "),
        ] {
            let more = sources.as_object().unwrap().clone();
            let error = error(|params| params.as_object_mut().unwrap().extend(more));
            let is_named = if field.is_empty() {
                error.is_empty()
            } else {
                error.starts_with(field)
            };
            assert!(is_named, "{sources}: {error}");
        }
    }
}
