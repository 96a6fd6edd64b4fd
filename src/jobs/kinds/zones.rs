//! Finding the zones that parameters name, as far as the run's principal may see them.

use serde::Deserialize;

use crate::jobs::hands::Reads;
use crate::jobs::kind::{ParamsError, Trouble};
use crate::model::{AccountId, RecordName, RecordPattern, ZoneId};

/// Zones that are looked up each by itself; more are found in the list of all.
const MAX_LOOK_UPS: usize = 10;
/// Pages of 50 zones that are read for a pattern at the most.
const MAX_PAGES: u32 = 20;

/// A zone as a run sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) id: ZoneId,
    pub(super) name: String,
    pub(super) account: AccountId,
    /// Cloudflare's short name of its plan: `free`, `pro`, `business`, `enterprise`.
    pub(super) plan: String,
}

#[derive(Deserialize)]
struct Item {
    id: ZoneId,
    name: String,
    account: AccountItem,
    #[serde(default)]
    plan: PlanItem,
}

#[derive(Deserialize)]
struct AccountItem {
    id: AccountId,
}

#[derive(Deserialize, Default)]
struct PlanItem {
    #[serde(default)]
    legacy_id: Option<String>,
}

impl From<Item> for Zone {
    fn from(item: Item) -> Self {
        Self {
            id: item.id,
            name: item.name,
            account: item.account.id,
            plan: item.plan.legacy_id.unwrap_or_default(),
        }
    }
}

/// Whether a text stands for every zone that matches it rather than for one.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

/// Checks a zone as it may be written: a name, an id, or a pattern such as `*.example.com` or `*`.
pub(super) fn check_zone(text: &str, field: &str) -> Result<(), ParamsError> {
    let fits = if text == "*" {
        true
    } else if is_pattern(text) {
        RecordPattern::parse(text).is_ok()
    } else {
        text.parse::<ZoneId>().is_ok() || RecordName::canonical(text, text).is_ok()
    };
    if fits {
        return Ok(());
    }
    Err(ParamsError {
        field: field.to_owned(),
        message: format!("{text:?} is no zone: neither a name, nor an id, nor a pattern of names"),
    })
}

/// The zones that `texts` name, each once, in the order of the texts.
pub(super) async fn find_zones(hands: &dyn Reads, texts: &[String]) -> Result<Vec<Zone>, Trouble> {
    let mut found: Vec<Zone> = Vec::new();
    let mut all: Option<Vec<Zone>> = None;
    // One call for each is too much for many.
    let by_list = texts.len() > MAX_LOOK_UPS;
    for text in texts {
        let matching: Vec<Zone> = if by_list || is_pattern(text) {
            if all.is_none() {
                all = Some(list(hands).await?);
            }
            let pattern = RecordPattern::parse(text).ok();
            let plain = text.trim_end_matches('.').to_ascii_lowercase();
            let is_meant = |zone: &&Zone| {
                if !is_pattern(text) {
                    return zone.name == plain || zone.id.to_string() == *text;
                }
                let name = RecordName::canonical(&zone.name, &zone.name);
                text == "*"
                    || pattern
                        .as_ref()
                        .zip(name.ok())
                        .is_some_and(|(p, name)| p.matches(&name))
            };
            all.iter().flatten().filter(is_meant).cloned().collect()
        } else {
            one(hands, text).await?
        };
        if matching.is_empty() {
            return Err(Trouble::Impossible(format!(
                "There is no zone {text:?} that {} may see.",
                hands.principal()
            )));
        }
        for zone in matching {
            if !found.iter().any(|known| known.id == zone.id) {
                found.push(zone);
            }
        }
    }
    Ok(found)
}

async fn one(hands: &dyn Reads, text: &str) -> Result<Vec<Zone>, Trouble> {
    let query = if text.parse::<ZoneId>().is_ok() {
        format!("/zones/{text}")
    } else {
        let name = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("name", text.trim_end_matches('.'))
            .finish();
        format!("/zones?{name}")
    };
    let envelope = hands.read(query).await?;
    let result = envelope.result.ok_or_else(unreadable)?;
    if result.get().starts_with('[') {
        items(result.get())
    } else {
        let item: Item = serde_json::from_str(result.get()).map_err(|_| unreadable())?;
        Ok(vec![item.into()])
    }
}

async fn list(hands: &dyn Reads) -> Result<Vec<Zone>, Trouble> {
    let mut zones = Vec::new();
    for page in 1..=MAX_PAGES {
        let target = format!("/zones?page={page}&per_page=50");
        let envelope = hands.read(target).await?;
        let result = envelope.result.ok_or_else(unreadable)?;
        let more = items(result.get())?;
        let is_last = more.len() < 50;
        zones.extend(more);
        if is_last {
            return Ok(zones);
        }
    }
    Err(Trouble::Impossible(format!(
        "There are more than {} zones; name them instead of a pattern.",
        MAX_PAGES * 50
    )))
}

fn items(text: &str) -> Result<Vec<Zone>, Trouble> {
    let items: Vec<Item> = serde_json::from_str(text).map_err(|_| unreadable())?;
    Ok(items.into_iter().map(Zone::from).collect())
}

fn unreadable() -> Trouble {
    Trouble::Again("Cloudflare's answer about zones could not be read.".to_owned())
}
