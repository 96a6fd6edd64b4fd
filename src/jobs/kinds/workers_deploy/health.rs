//! How the new version does: each address is asked, and the new version made to answer.

use super::params::{HealthParams, MAX_PROBE_MS};
use crate::jobs::hands::Hands;
use crate::jobs::kind::Trouble;
use crate::jobs::platform::{Probe, Probed};

/// The header that says which version of a Worker is to answer, whatever its share
/// (<https://developers.cloudflare.com/workers/configuration/versions-and-deployments/gradual-deployments/#version-overrides>).
const OVERRIDE: &str = "Cloudflare-Workers-Version-Overrides";
/// Bytes of an answer that are looked at; a larger one fails.
const MAX_BODY: usize = 1024 * 1024;
/// How often an address is asked before it counts as failing: connections break by chance.
const TRIES: u32 = 3;

/// Asks every address; the first that fails ends the deployment.
pub(super) async fn look(
    hands: &dyn Hands,
    checks: &[HealthParams],
    script: &str,
    version: &str,
) -> Result<(), Trouble> {
    let chosen = format!("{script}=\"{version}\"");
    for check in checks {
        let mut failed = String::new();
        for _ in 0..TRIES {
            match ask(hands, check, &chosen).await? {
                None => {
                    failed.clear();
                    break;
                }
                Some(why) => failed = why,
            }
        }
        if !failed.is_empty() {
            // What follows may be a key.
            let shown = check.url.split('?').next().unwrap_or_default();
            let message = format!("The new version failed its check: {shown} {failed}.");
            return Err(Trouble::Impossible(message));
        }
    }
    Ok(())
}

/// Why an answer will not do; `None`: it does.
async fn ask(
    hands: &dyn Hands,
    check: &HealthParams,
    chosen: &str,
) -> Result<Option<String>, Trouble> {
    let max_ms = check.max_ms.unwrap_or(MAX_PROBE_MS);
    let probe = Probe {
        url: &check.url,
        headers: &[(OVERRIDE, chosen)],
        body: None,
        besides: &[],
        cap: MAX_BODY,
        deadline_ms: max_ms,
    };
    let asked_at = hands.now();
    let Probed { status, body, .. } = match hands.probe(&probe).await? {
        Ok(probed) => probed,
        Err(why) => return Ok(Some(why)),
    };
    let took_ms = hands.now().ms_since(asked_at);
    let wanted = check.status.unwrap_or(200);
    if status != wanted {
        return Ok(Some(format!("answered {status} in place of {wanted}")));
    }
    if took_ms > i64::from(max_ms) {
        return Ok(Some(format!(
            "took {took_ms} ms where {max_ms} are allowed"
        )));
    }
    let text = String::from_utf8_lossy(&body);
    let is_missing = |wanted: &String| !text.contains(wanted.as_str());
    Ok(check
        .contains
        .as_ref()
        .filter(|wanted| is_missing(wanted))
        .map(|wanted| format!("did not answer with {wanted:?} in its body")))
}
