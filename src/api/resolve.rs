//! Looks up what the names in a configuration stand for.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use serde_json::Value;

use crate::config::document::Document;
use crate::config::{AccountRef, Name, Resolution, Title, ZoneRef, names_to_resolve};
use crate::gateway::{Code, Gateway, Refusal, Snapshot};
use crate::jobs::Platform;
use crate::model::{AccountId, ZoneId, json};
use crate::store::Database;
use crate::upstream::Envelope;

/// Look-ups under way at once: a Worker may have six connections open
/// (<https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections>).
const AT_ONCE: usize = 5;
/// From so many names on, the whole list is read instead of each name alone.
const LIST_FROM: usize = 20;

/// Pages of that list that are read at the most.
const MAX_PAGES: u32 = 400;

/// A zone, an account, a namespace or a database.
struct Item {
    id: String,
    name: String,
    /// What a zone belongs to.
    account: Option<AccountId>,
}

impl Item {
    fn read(item: &Value) -> Option<Self> {
        let text = |name: &str, other: &str| item.get(name).or_else(|| item.get(other));
        let account = item.get("account").filter(|account| !account.is_null());
        Some(Self {
            id: text("id", "uuid")?.as_str()?.to_owned(),
            name: match text("name", "title") {
                Some(name) => name.as_str()?.to_owned(),
                None => String::new(),
            },
            account: match account {
                Some(account) => Some(account.get("id")?.as_str()?.parse().ok()?),
                None => None,
            },
        })
    }

    fn into_zone(self) -> Option<ZoneRef> {
        Some(ZoneRef {
            id: self.id.parse().ok()?,
            name: Some(self.name).filter(|name| !name.is_empty())?,
            account: self.account?,
        })
    }

    fn into_account(self) -> Option<AccountRef> {
        Some(AccountRef {
            id: self.id.parse().ok()?,
            name: self.name,
        })
    }
}

impl<D: Database, W: Platform> Gateway<'_, D, W> {
    /// Looks up every zone and account the document names. What upstream does not have is left
    /// out: [`Resolution::missing`] tells.
    ///
    /// # Errors
    /// [`Refusal`] when upstream cannot be asked.
    pub(super) async fn resolve_names(&self, document: &Document) -> Result<Resolution, Refusal> {
        let names = names_to_resolve(document);
        let mut resolution = Resolution::default();
        for (text, item) in self.look_up("/zones", &names.zones).await? {
            let zone = item.into_zone().ok_or_else(|| unreadable(StatusCode::OK))?;
            resolution.zones.insert(text, zone);
        }
        for (text, item) in self.look_up("/accounts", &names.accounts).await? {
            let account = item.into_account();
            let account = account.ok_or_else(|| unreadable(StatusCode::OK))?;
            resolution.accounts.insert(text, account);
        }
        self.resolve_titles(&names.titles, &mut resolution).await?;
        Ok(resolution)
    }

    /// Looks up namespaces and databases by their titles, one list for each kind and account.
    async fn resolve_titles(
        &self,
        titles: &[Title<'_>],
        resolution: &mut Resolution,
    ) -> Result<(), Refusal> {
        let mut listed: Vec<((String, &str), Vec<Item>)> = Vec::new();
        for title in titles {
            let accounts = title.accounts.iter();
            let accounts = accounts.filter_map(|text| resolution.accounts.get(text));
            let accounts: Vec<String> = accounts.map(|account| account.id.to_string()).collect();
            for account in accounts {
                let key = (account.clone(), title.kind);
                if !listed.iter().any(|(listed, _)| *listed == key) {
                    let items = self.titled(&account, title.kind).await?;
                    listed.push((key.clone(), items));
                }
                let items = listed.iter().filter(|(listed, _)| *listed == key);
                let items = items.flat_map(|(_, items)| items);
                let mut found = items.filter(|item| item.name == title.text);
                let (Some(item), other) = (found.next(), found.next()) else {
                    continue;
                };
                if other.is_some() {
                    return Err(Refusal::new(
                        Code::InvalidConfig,
                        format!(
                            "The title {:?} stands for more than one thing of an account; write the id instead. Nothing was changed.",
                            title.text
                        ),
                    ));
                }
                let ids = resolution.resources.entry(title.key()).or_default();
                ids.insert(account, item.id.clone());
            }
        }
        Ok(())
    }

    /// Every namespace or database of an account.
    async fn titled(&self, account: &str, kind: &str) -> Result<Vec<Item>, Refusal> {
        let path = match kind {
            "d1" => "d1/database",
            _ => "storage/kv/namespaces",
        };
        let mut found = Vec::new();
        for page in 1..=MAX_PAGES {
            let target = format!("/accounts/{account}/{path}?page={page}&per_page=100");
            let items = self.ask(&target).await?;
            let is_last = items.len() < 100;
            found.extend(items);
            if is_last {
                break;
            }
        }
        Ok(found)
    }

    /// The zones that a run's parameters name, patterns aside: as the configuration knows them, or
    /// else as upstream does.
    ///
    /// # Errors
    /// [`Refusal`] naming the first that does not exist, or when upstream cannot be asked.
    pub(super) async fn zones_of_run(
        &self,
        snapshot: &Snapshot,
        texts: &[&str],
    ) -> Result<Vec<(ZoneId, String)>, Refusal> {
        let mut found = Vec::new();
        let mut unknown = Vec::new();
        for (index, &text) in texts.iter().enumerate() {
            match snapshot.config.resolution.zones.get(text) {
                _ if text.contains('*') => {}
                Some(zone) => found.push((zone.id, zone.name.clone())),
                None => unknown.push(Name {
                    text,
                    field: format!("params.zones[{index}]"),
                }),
            }
        }
        let mut zones = self.look_up("/zones", &unknown).await?;
        for name in &unknown {
            let Some(item) = zones.remove(name.text) else {
                let message = format!(
                    "The field `{}` names {:?}, and there is no such zone. Nothing was started.",
                    name.field, name.text
                );
                return Err(Refusal::new(Code::InvalidParams, message));
            };
            let zone = item.into_zone().ok_or_else(|| unreadable(StatusCode::OK))?;
            self.view.learn_zone_name(zone.id, zone.name.clone());
            found.push((zone.id, zone.name));
        }
        Ok(found)
    }

    async fn look_up(
        &self,
        path: &str,
        names: &[Name<'_>],
    ) -> Result<BTreeMap<String, Item>, Refusal> {
        let mut found = BTreeMap::new();
        if names.is_empty() {
            return Ok(found);
        }
        let is_called = |item: &Item, text: &str| {
            let name = text.trim_end_matches('.');
            item.id == text || item.name.eq_ignore_ascii_case(name)
        };
        if names.len() < LIST_FROM {
            let answers: Vec<(String, Vec<Item>)> = stream::iter(names)
                .map(|name| async move {
                    let items = self.ask(&target_for(path, name.text)).await?;
                    Ok::<_, Refusal>((name.text.to_owned(), items))
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            for (text, items) in answers {
                for item in items.into_iter().filter(|item| is_called(item, &text)) {
                    keep(&mut found, &text, item)?;
                }
            }
            return Ok(found);
        }
        for page in 1..=MAX_PAGES {
            let items = self.ask(&format!("{path}?page={page}&per_page=50")).await?;
            if items.is_empty() {
                return Ok(found);
            }
            for item in items {
                if let Some(name) = names.iter().find(|name| is_called(&item, name.text)) {
                    keep(&mut found, name.text, item)?;
                }
            }
        }
        Err(Refusal::new(
            Code::InvalidConfig,
            "The account has more zones than are searched for names; write ids instead. Nothing was changed.",
        ))
    }

    /// The items an answer holds: a list, one, or none where upstream says there is none.
    async fn ask(&self, target: &str) -> Result<Vec<Item>, Refusal> {
        let answer = self.read_upstream(target).await?;
        let status = answer.head.status;
        if matches!(status.as_u16(), 400 | 403 | 404) && target.matches('/').count() > 1 {
            // An id that upstream does not have, or does not let us see.
            return Ok(Vec::new());
        }
        let envelope = answer
            .body
            .as_deref()
            .and_then(Envelope::parse)
            .filter(|envelope| envelope.success == Some(true) && status.is_success());
        let result = envelope.and_then(|envelope| envelope.result);
        let result = result.ok_or_else(|| unreadable(status))?;
        let items = match json::of_others(result.get().as_bytes()) {
            Some(Value::Array(items)) => items.iter().map(Item::read).collect(),
            Some(item) => Item::read(&item).map(|item| vec![item]),
            None => None,
        };
        items.ok_or_else(|| unreadable(status))
    }
}

fn unreadable(status: StatusCode) -> Refusal {
    Refusal::new(
        Code::UpstreamUnknown,
        format!(
            "Cloudflare answered {} when asked what the names in the configuration stand for, so nothing was changed.",
            status.as_u16()
        ),
    )
}

/// Takes what a name stands for; a name that stands for two things is nobody's to choose.
fn keep(found: &mut BTreeMap<String, Item>, text: &str, item: Item) -> Result<(), Refusal> {
    if found.insert(text.to_owned(), item).is_none() {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InvalidConfig,
        format!(
            "The name \"{text}\" stands for more than one zone or account; write the id instead. Nothing was changed."
        ),
    ))
}

fn target_for(path: &str, text: &str) -> String {
    if text.parse::<ZoneId>().is_ok() {
        return format!("{path}/{text}");
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("name", text.trim_end_matches('.'))
        .finish();
    format!("{path}?{query}")
}
