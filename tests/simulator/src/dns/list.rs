//! `GET /zones/{zone_id}/dns_records`: filters, order, pages.
//!
//! NOTES "DNS records": `name`, `content`, `comment`, `tag` each with `.exact .contains
//! .startswith .endswith` (and `.present/.absent` for comment and tag), `type`, `proxied`,
//! `search`, `match`, `tag_match`. All text filters ignore case (SDK). The `name=contains:x` and
//! comma forms were withdrawn.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::api::{ApiError, Outcome};
use crate::dns::record::{Record, comparable};
use crate::dns::{ZoneRecords, kinds, names};
use crate::page::{DNS_RECORDS, Page};
use crate::query::{Query, invalid};
use crate::world::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exact,
    Contains,
    StartsWith,
    EndsWith,
    Present,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Content,
    Comment,
    Tag,
}

#[derive(Debug)]
struct TextFilter {
    field: Field,
    operator: Operator,
    value: String,
}

/// The filters of one request.
#[derive(Debug, Default)]
struct Filters {
    text: Vec<TextFilter>,
    tags: Vec<TextFilter>,
    kind: Option<&'static str>,
    proxied: Option<bool>,
    search: Option<String>,
    any: bool,
    any_tag: bool,
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "exact" => Self::Exact,
            "contains" => Self::Contains,
            "startswith" => Self::StartsWith,
            "endswith" => Self::EndsWith,
            "present" => Self::Present,
            "absent" => Self::Absent,
            _ => return None,
        })
    }

    fn text(self, value: &str, wanted: &str) -> bool {
        match self {
            Self::Exact => value == wanted,
            Self::Contains => value.contains(wanted),
            Self::StartsWith => value.starts_with(wanted),
            Self::EndsWith => value.ends_with(wanted),
            Self::Present => !value.is_empty(),
            Self::Absent => value.is_empty(),
        }
    }
}

impl TextFilter {
    fn read(key: &str, value: &str) -> Option<Self> {
        let (field, operator) = match key.split_once('.') {
            None => (key, Operator::Exact),
            Some((field, operator)) => (field, Operator::named(operator)?),
        };
        let field = match field {
            "name" => Field::Name,
            "content" => Field::Content,
            "comment" => Field::Comment,
            "tag" => Field::Tag,
            _ => return None,
        };
        let presence = matches!(operator, Operator::Present | Operator::Absent);
        if (presence && matches!(field, Field::Name | Field::Content))
            || (value.is_empty() && !(presence && field == Field::Comment))
        {
            return None;
        }
        let value = match (field, operator) {
            (Field::Name, Operator::Exact) => {
                names::hostname(value).unwrap_or_else(|| value.to_lowercase())
            }
            _ => value.to_lowercase(),
        };
        Some(Self {
            field,
            operator,
            value,
        })
    }

    fn matches(&self, record: &Record) -> bool {
        let draft = &record.draft;
        match self.field {
            Field::Name => self.operator.text(&draft.name, &self.value),
            Field::Comment => self.operator.text(
                &draft.comment.as_deref().unwrap_or_default().to_lowercase(),
                &self.value,
            ),
            Field::Content => {
                // Quotes around TXT content do not count, on either side.
                let stored = draft.content.to_lowercase();
                self.operator.text(&stored, &self.value)
                    || self.operator.text(
                        &comparable(draft.kind, &stored),
                        &comparable(draft.kind, &self.value),
                    )
            }
            Field::Tag => self.matches_tag(&draft.tags),
        }
    }

    /// A tag is `name:value`; `.present` and `.absent` take a name, the others both.
    fn matches_tag(&self, tags: &[String]) -> bool {
        let mut tags = tags.iter().map(|t| t.to_lowercase());
        let has_name = |tag: String, name: &str| tag.split(':').next() == Some(name);
        match self.operator {
            Operator::Present => tags.any(|t| has_name(t, &self.value)),
            Operator::Absent => !tags.any(|t| has_name(t, &self.value)),
            operator => {
                let (name, wanted) = self.value.split_once(':').unwrap_or((&self.value, ""));
                tags.any(|tag| {
                    let (tag_name, value) = tag.split_once(':').unwrap_or((&tag, ""));
                    tag_name == name && operator.text(value, wanted)
                })
            }
        }
    }
}

impl Filters {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let mut filters = Self {
            any: query.choice("match", &["all", "any"], "all")? == "any",
            any_tag: query.choice("tag_match", &["all", "any"], "all")? == "any",
            search: query.non_empty("search").map(str::to_lowercase),
            ..Self::default()
        };
        for (key, value) in query.pairs() {
            if let Some(filter) = TextFilter::read(key, value) {
                if filter.field == Field::Tag {
                    filters.tags.push(filter);
                } else {
                    filters.text.push(filter);
                }
            }
        }
        if let Some(kind) = query.non_empty("type") {
            filters.kind = Some(kinds::kind(kind).ok_or_else(|| invalid("type"))?);
        }
        if let Some(proxied) = query.non_empty("proxied") {
            filters.proxied = Some(proxied.parse().map_err(|_| invalid("proxied"))?);
        }
        Ok(filters)
    }

    fn matches(&self, record: &Record) -> bool {
        let draft = &record.draft;
        let searched = self.search.as_ref().is_none_or(|needle| {
            let comment = draft.comment.as_deref().unwrap_or_default();
            [
                draft.name.as_str(),
                draft.content.as_str(),
                comment,
                draft.kind,
            ]
            .into_iter()
            .chain(draft.tags.iter().map(String::as_str))
            .any(|text| text.to_lowercase().contains(needle))
        });
        let tags = (!self.tags.is_empty()).then(|| {
            if self.any_tag {
                self.tags.iter().any(|f| f.matches(record))
            } else {
                self.tags.iter().all(|f| f.matches(record))
            }
        });
        let mut conditions = self
            .text
            .iter()
            .map(|f| f.matches(record))
            .chain(tags)
            .chain(self.kind.map(|k| k == draft.kind))
            .chain(self.proxied.map(|p| p == draft.proxied))
            .peekable();
        let fits = if self.any && conditions.peek().is_some() {
            conditions.any(|c| c)
        } else {
            conditions.all(|c| c)
        };
        searched && fits
    }

    /// A name that every result must have, which makes the index usable.
    fn name(&self) -> Option<&str> {
        self.text
            .iter()
            .find(|f| !self.any && f.field == Field::Name && f.operator == Operator::Exact)
            .map(|f| f.value.as_str())
    }

    fn select<'a>(&self, records: &'a ZoneRecords) -> Vec<&'a Arc<Record>> {
        match self.name() {
            Some(name) => records.named(name).filter(|r| self.matches(r)).collect(),
            None => records.iter().filter(|r| self.matches(r)).collect(),
        }
    }
}

/// The handler.
pub(crate) fn list(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, DNS_RECORDS)?;
    let filters = Filters::read(&call.query)?;
    let orders = ["type", "name", "content", "ttl", "proxied"];
    // NOTES "Envelope, errors, pagination": `order` = field, `direction`. The default field is a
    // hypothesis.
    let order = call.query.choice("order", &orders, "type")?;
    let direction = call.query.choice("direction", &["asc", "desc"], "asc")?;
    let zone = call.zone()?;
    let mut records = filters.select(&zone.records);
    records.sort_by(|a, b| {
        let (a, b) = (&a.draft, &b.draft);
        let by = match order {
            "name" => Ordering::Equal,
            "content" => a.content.cmp(&b.content),
            "ttl" => a.ttl.cmp(&b.ttl),
            "proxied" => a.proxied.cmp(&b.proxied),
            _ => a.kind.cmp(b.kind),
        };
        by.then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.kind.cmp(b.kind))
    });
    if direction == "desc" {
        records.reverse();
    }
    let items: Vec<&str> = records.iter().map(|r| r.json.as_str()).collect();
    Ok(page.reply(&items))
}
