//! Finding the zones that parameters name, as far as the run's principal may see them.

use serde_json::Value;

use crate::jobs::hands::Reads;
use crate::jobs::kind::{ParamsError, Trouble};
use crate::model::{AccountId, RecordName, RecordPattern, ZoneId, json};

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

impl Zone {
    fn read(item: &Value) -> Option<Self> {
        let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
        Some(Self {
            id: text("/id")?.parse().ok()?,
            name: text("/name")?.to_owned(),
            account: text("/account/id")?.parse().ok()?,
            plan: text("/plan/legacy_id").unwrap_or_default().to_owned(),
        })
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
    items(result.get())
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

/// The zones of a result: of a list, or the one it is.
fn items(text: &str) -> Result<Vec<Zone>, Trouble> {
    let zones = match json::of_others(text.as_bytes()) {
        Some(Value::Array(items)) => items.iter().map(Zone::read).collect(),
        Some(item) => Zone::read(&item).map(|zone| vec![zone]),
        None => None,
    };
    zones.ok_or_else(unreadable)
}

fn unreadable() -> Trouble {
    Trouble::Again("Cloudflare's answer about zones could not be read.".to_owned())
}
