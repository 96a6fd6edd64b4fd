//! Workers: scripts with their versions and deployments, and everything that hangs on them.
//!
//! NOTES "Workers" and "Error codes". Beyond those pages stand facts of three kinds, each marked
//! where it is used: *SDK*, read in the official TypeScript SDK (7.3); *wrangler*, read in wrangler
//! (4.164) or seen when it ran; *seen*, an answer of Cloudflare's that a public issue or a client's
//! error table quotes. What none of them settles is a hypothesis.
//!
//! [`state`] holds scripts, versions and deployments; [`form`] reads the three shapes of an upload
//! and [`upload`] turns one into a version; [`bindings`] and [`migrations`] judge what a version
//! refers to. The other modules are one resource each.

mod assets;
mod bindings;
mod deployments;
mod domains;
mod form;
mod migrations;
mod routes;
mod scripts;
mod secrets;
mod seed;
mod services;
mod settings;
mod state;
mod triggers;
mod upload;
mod versions;

use crate::api::ApiError;
use crate::router::Route;
use crate::world::Call;

pub(crate) use assets::is_upload;
pub(crate) use seed::{seed, state};
pub(crate) use state::{Script, Workers};

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    [
        scripts::routes(),
        versions::routes(),
        deployments::routes(),
        migrations::routes(),
        settings::routes(),
        secrets::routes(),
        triggers::routes(),
        routes::routes(),
        domains::routes(),
        assets::routes(),
        services::routes(),
    ]
    .concat()
}

/// What 10007 says (*seen*).
pub(crate) const NO_SUCH_WORKER: &str = "This Worker does not exist on your account.";

/// NOTES "Error codes": 10007 (404), script not found.
fn no_such_worker() -> ApiError {
    ApiError::new(404, 10_007, NO_SUCH_WORKER)
}

/// NOTES "Error codes": 10021 (400), script failed validation. It stands for defects of metadata,
/// bindings and modules alike (*seen*).
fn validation(message: impl Into<String>) -> ApiError {
    ApiError::bad(10_021, message.into())
}

/// Account and script name of the path.
fn names(call: &Call<'_>) -> Result<(String, String), ApiError> {
    Ok((call.account()?, call.param("script_name").to_owned()))
}

/// The script of the path.
fn script<'a>(call: &'a Call<'_>) -> Result<&'a Script, ApiError> {
    let (account, name) = names(call)?;
    call.world
        .workers
        .script(&account, &name)
        .ok_or_else(no_such_worker)
}

/// The script of the path, to be changed.
fn script_mut<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Script, ApiError> {
    let (account, name) = names(call)?;
    call.world
        .workers
        .script_mut(&account, &name)
        .ok_or_else(no_such_worker)
}

/// Which tool made a call, by its user agent, as `source` and `last_deployed_from` name it (*SDK*).
fn source(call: &Call<'_>) -> &'static str {
    let agent = call.headers.get("user-agent");
    let agent = agent.and_then(|value| value.to_str().ok()).unwrap_or("");
    let agent = agent.to_ascii_lowercase();
    if agent.starts_with("wrangler/") {
        "wrangler"
    } else if agent.contains("terraform") {
        "terraform"
    } else {
        "api"
    }
}
