//! What Cloudflare has of a Worker: which version has how much traffic, and which one is ours.

use serde_json::{Value, json};

use crate::jobs::hands::Hands;
use crate::jobs::kind::Trouble;
use crate::model::Timestamp;
use crate::workers::{MESSAGE, TAG};

/// The deployment that is in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Deployment {
    pub(super) id: String,
    /// Versions with their shares in percent.
    pub(super) versions: Vec<(String, f64)>,
    pub(super) message: String,
    /// When it was made.
    pub(super) created: Option<Timestamp>,
}

impl Deployment {
    /// The version that has all traffic.
    pub(super) fn whole(&self) -> Option<&str> {
        match self.versions.as_slice() {
            [(version, share)] if *share >= 100.0 => Some(version),
            _ => None,
        }
    }

    /// Who has what, for a sentence.
    pub(super) fn shown(&self) -> String {
        let shares = self.versions.iter();
        let shares: Vec<String> = shares
            .map(|(version, share)| format!("{version} {share} %"))
            .collect();
        shares.join(", ")
    }
}

/// Reads what is in force; none where the Worker has never been deployed.
pub(super) async fn current(hands: &dyn Hands, path: &str) -> Result<Option<Deployment>, Trouble> {
    let result = result(hands, format!("{path}/deployments")).await?;
    let newest = result.get("deployments").and_then(|all| all.get(0));
    let Some(newest) = newest else {
        return Ok(None);
    };
    let versions = newest.get("versions").and_then(Value::as_array);
    let versions: Option<Vec<_>> = versions.and_then(|versions| {
        let shares = versions.iter().map(|version| {
            let id = version.get("version_id")?.as_str()?.to_owned();
            Some((id, version.get("percentage")?.as_f64()?))
        });
        shares.collect()
    });
    let id = newest.get("id").and_then(Value::as_str);
    let created = newest.get("created_on").and_then(Value::as_str);
    let (Some(id), Some(versions)) = (id, versions) else {
        return Err(unreadable());
    };
    Ok(Some(Deployment {
        id: id.to_owned(),
        versions,
        message: annotation(newest, MESSAGE).to_owned(),
        created: created.and_then(|text| text.parse().ok()),
    }))
}

/// The id of the version with this tag, if it is among the newest.
pub(super) async fn tagged(
    hands: &dyn Hands,
    path: &str,
    tag: &str,
) -> Result<Option<String>, Trouble> {
    let result = result(hands, format!("{path}/versions?per_page=20")).await?;
    let items = result.get("items").and_then(Value::as_array);
    let items = items.ok_or_else(unreadable)?;
    let found = items.iter().find(|version| annotation(version, TAG) == tag);
    let id = found.map(|version| version.get("id").and_then(Value::as_str));
    id.map(|id| id.map(str::to_owned).ok_or_else(unreadable))
        .transpose()
}

/// The body of a deployment: `new` gets `percent`, `old` the rest.
pub(super) fn split(new: &str, percent: u8, old: &str, message: &str) -> String {
    let mut versions = vec![json!({"version_id": new, "percentage": percent})];
    if percent < 100 {
        versions.push(json!({"version_id": old, "percentage": 100 - percent}));
    }
    json!({
        "strategy": "percentage",
        "versions": versions,
        "annotations": {MESSAGE: message},
    })
    .to_string()
}

fn annotation<'v>(of: &'v Value, name: &str) -> &'v str {
    let annotations = of.get("annotations");
    let found = annotations.and_then(|all| all.get(name)?.as_str());
    found.unwrap_or_default()
}

async fn result(hands: &dyn Hands, target: String) -> Result<Value, Trouble> {
    let envelope = hands.read(target).await?;
    let result = envelope.result.as_deref();
    let result = result.and_then(|result| serde_json::from_str(result.get()).ok());
    result.ok_or_else(unreadable)
}

pub(super) fn unreadable() -> Trouble {
    Trouble::Again("Cloudflare's answer about the Worker could not be read.".to_owned())
}
