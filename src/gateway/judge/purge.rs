//! Purges: what is to be dropped from the cache.

use super::{Judgement, OwnedFacts, Surroundings, keep_fields, malformed, object};
use crate::audit::Action;
use crate::gateway::refusal::{Code, Refusal};
use crate::model::json::Json;
use crate::policy::PurgeFacts;

/// Most items of one purge; Cloudflare takes 100, of files 500 on Enterprise plans
/// (<https://developers.cloudflare.com/cache/how-to/purge-cache/#availability-and-limits>).
const MAX_PURGE_ITEMS: usize = 1_000;

/// A list of texts where it is present.
fn texts(body: &Json, name: &str) -> Result<Vec<String>, Refusal> {
    let Some(value) = body.get(name).filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    let wrong = || malformed(format!("The field `{name}` must be a list of texts."));
    value
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

pub(super) fn purge(body: Json, around: &Surroundings<'_>) -> Result<Judgement, Refusal> {
    object(&body)?;
    let body = keep_fields(
        body,
        &["purge_everything", "files", "tags", "hosts", "prefixes"],
    );
    let everything = match body.get("purge_everything") {
        None | Some(Json::Null) => false,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| malformed("The field `purge_everything` must be true or false."))?,
    };
    let wrong_files = || {
        malformed(
            "The field `files` must be a list of URLs, or of objects with `url` and `headers`.",
        )
    };
    let files = match body.get("files").filter(|value| !value.is_null()) {
        None => Vec::new(),
        Some(value) => value
            .as_array()
            .ok_or_else(wrong_files)?
            .iter()
            .map(|item| {
                item.as_str()
                    .or_else(|| item.get("url").and_then(Json::as_str))
                    .map(str::to_owned)
                    .ok_or_else(wrong_files)
            })
            .collect::<Result<_, _>>()?,
    };
    let tags = texts(&body, "tags")?;
    let hosts = texts(&body, "hosts")?;
    let prefixes = texts(&body, "prefixes")?;
    if files.len() + tags.len() + hosts.len() + prefixes.len() > MAX_PURGE_ITEMS {
        return Err(Refusal::new(
            Code::BodyTooLarge,
            format!("One purge may name at most {MAX_PURGE_ITEMS} items."),
        ));
    }
    let facts = PurgeFacts {
        everything,
        files,
        tags,
        hosts,
        prefixes,
    };
    let mut words = Vec::new();
    if everything {
        words.push("everything".to_owned());
    }
    for (items, one, many) in [
        (&facts.files, "file", "files"),
        (&facts.tags, "tag", "tags"),
        (&facts.hosts, "host", "hosts"),
        (&facts.prefixes, "prefix", "prefixes"),
    ] {
        match items.len() {
            0 => {}
            1 => words.push(format!("1 {one}")),
            count => words.push(format!("{count} {many}")),
        }
    }
    if words.is_empty() {
        return Err(malformed(
            "The body names nothing to purge: it needs one of `purge_everything`, `files`, `tags`, `hosts` and `prefixes`.",
        ));
    }
    let action = Action::new(format!("purge {} of {}", words.join(" and "), around.scope));
    Ok(Judgement {
        facts: OwnedFacts::Purge(facts),
        account: None,
        action,
        read_back: None,
        body,
        hosts: Vec::new(),
    })
}
