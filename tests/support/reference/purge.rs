//! What a purge may remove.

use url::Url;
use zonekeeper::config::document::{Effect, Grant, PurgeCondition};

use super::{Item, Purged, Says};

/// Without `purge`, every form but everything is meant, which has to be named.
pub(super) fn says(grant: &Grant, item: &Item<'_>) -> (&'static str, Says) {
    let Some(purge) = &grant.purge else {
        return match (grant.effect, item) {
            (Effect::Allow, Item::Purge(Purged::Everything)) => ("purge.everything", Says::No),
            (Effect::Approve, Item::Purge(Purged::Everything)) => {
                ("purge.everything", Says::Unclear)
            }
            (Effect::Deny, _) | (_, Item::Purge(_)) => ("none", Says::Yes),
            _ => ("purge, unread", Says::Unclear),
        };
    };
    let Item::Purge(item) = item else {
        return ("purge, unread", Says::Unclear);
    };
    let covered = covers(purge, item);
    let says = match grant.effect {
        Effect::Allow => covered,
        _ if covered == Says::Yes => covered,
        Effect::Deny => touches(purge, item),
        Effect::Approve => touches(purge, item).min(Says::Unclear),
    };
    ("purge", says)
}

/// Host and path of a URL, with its query; none when it could be read in several ways.
fn place(url: &str) -> Option<(String, String, Option<String>)> {
    let lower = url.to_lowercase();
    let doubtful = ["%2f", "%5c", "%25", "%00", "%0a", "%0d", "\\"];
    if url.contains(|c: char| c <= ' ' || c == '\u{7f}')
        || doubtful.iter().any(|it| lower.contains(it))
    {
        return None;
    }
    let url = Url::parse(url).ok()?;
    let is_plain = ["http", "https"].contains(&url.scheme())
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none();
    if !is_plain {
        return None;
    }
    let mut path = url.path().to_owned();
    // What is the same as its plain form.
    for byte in (b'a'..=b'z')
        .chain(b'A'..=b'Z')
        .chain(b'0'..=b'9')
        .chain(*b"-._~")
    {
        path = path.replace(&format!("%{byte:02x}"), &char::from(byte).to_string());
        path = path.replace(&format!("%{byte:02X}"), &char::from(byte).to_string());
    }
    let host = host(url.host_str()?);
    Some((host, path, url.query().map(str::to_owned)))
}

fn prefix_place(prefix: &str) -> Option<(String, String, Option<String>)> {
    let is_plain =
        !prefix.contains(['?', '#']) && !prefix.contains("//") && !prefix.starts_with('/');
    place(&format!("https://{prefix}")).filter(|_| is_plain)
}

fn host(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text);
    url::Host::parse(text).map_or_else(|_| text.to_lowercase(), |host| host.to_string())
}

fn is_below(prefix: &str, host: &str, path: &str) -> bool {
    let Some((own_host, own_path, _)) = prefix_place(prefix) else {
        return false;
    };
    let own_folder = format!("{}/", own_path.trim_end_matches('/'));
    own_host == host && (path == own_path || path.starts_with(&own_folder))
}

/// Whether all of the item is named.
fn covers(purge: &PurgeCondition, item: &Purged) -> Says {
    let below = |place: &Option<(String, String, Option<String>)>| {
        place
            .as_ref()
            .is_some_and(|(host, path, _)| purge.prefixes.iter().any(|it| is_below(it, host, path)))
    };
    match item {
        Purged::Everything => Says::is(purge.everything),
        Purged::Host(text) => Says::is(purge.hosts.iter().any(|it| host(it) == host(text))),
        Purged::Tag(text) => {
            let tags = purge.tags.iter();
            Says::is(
                tags.clone()
                    .any(|it| it.to_lowercase() == text.to_lowercase()),
            )
        }
        Purged::File(text) => {
            let asked = place(text);
            let files = purge.files.iter();
            let is_listed = files
                .clone()
                .any(|it| it == text || place(it).is_some() && place(it) == asked);
            match asked {
                _ if is_listed || below(&asked) => Says::Yes,
                None => Says::Unclear,
                Some(_) => Says::No,
            }
        }
        Purged::Prefix(text) => match prefix_place(text) {
            None => Says::Unclear,
            asked => Says::is(below(&asked)),
        },
    }
}

/// Whether the item has anything in common with what is named, pair by pair. Tags and places cannot
/// be compared.
fn touches(purge: &PurgeCondition, item: &Purged) -> Says {
    if matches!(item, Purged::Everything) {
        return Says::Yes;
    }
    let prefixes = purge.prefixes.iter().map(|named| {
        let own = prefix_place(named);
        match item {
            Purged::Host(text) => Says::is(own.is_some_and(|own| own.0 == host(text))),
            Purged::File(text) => place(text).map_or(Says::Unclear, |(host, path, _)| {
                Says::is(is_below(named, &host, &path))
            }),
            Purged::Prefix(text) => overlap(own, prefix_place(text)),
            Purged::Tag(_) | Purged::Everything => Says::Unclear,
        }
    });
    let hosts = purge.hosts.iter().map(|named| {
        let same = |place: Option<(String, String, Option<String>)>| {
            place.map_or(Says::Unclear, |place| Says::is(place.0 == host(named)))
        };
        match item {
            Purged::Host(text) => Says::is(host(named) == host(text)),
            Purged::File(text) => same(place(text)),
            Purged::Prefix(text) => same(prefix_place(text)),
            Purged::Tag(_) | Purged::Everything => Says::Unclear,
        }
    });
    let files = purge.files.iter().map(|named| {
        let own = place(named);
        match item {
            Purged::Host(text) => own.map_or(Says::Unclear, |own| Says::is(own.0 == host(text))),
            Purged::File(text) => match (own, place(text)) {
                _ if named == text => Says::Yes,
                (Some(own), Some(asked)) => Says::is(own == asked),
                _ => Says::Unclear,
            },
            Purged::Prefix(text) => overlap(own, prefix_place(text)),
            Purged::Tag(_) | Purged::Everything => Says::Unclear,
        }
    });
    let tags = purge.tags.iter().map(|named| match item {
        Purged::Tag(text) => Says::is(named.to_lowercase() == text.to_lowercase()),
        _ => Says::Unclear,
    });
    let all = prefixes.chain(hosts).chain(files).chain(tags);
    all.max().unwrap_or(Says::No)
}

/// The upstream may compare prefixes letter by letter.
fn overlap(
    one: Option<(String, String, Option<String>)>,
    other: Option<(String, String, Option<String>)>,
) -> Says {
    let (Some((host, path, _)), Some((other_host, other, _))) = (one, other) else {
        return Says::Unclear;
    };
    Says::is(host == other_host && (path.starts_with(&other) || other.starts_with(&path)))
}
