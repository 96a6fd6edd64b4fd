//! Names and values of DNS records.

/// Whether a pattern of `dns.names` means the name: `*` is one label, `**` one or more, neither a
/// label that is itself `*`; a star that is escaped is that label.
pub(super) fn is_like(pattern: &str, name: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let pattern: Vec<String> = pattern.split('.').map(canonical).collect();
    let name: Vec<&str> = name.split('.').collect();
    is_like_labels(&pattern, &name)
}

fn canonical(label: &str) -> String {
    match label {
        "*" | "**" | "\\*" => label.to_owned(),
        _ => idna::domain_to_ascii_cow(label.as_bytes(), idna::AsciiDenyList::EMPTY)
            .map_or_else(|_| label.to_owned(), std::borrow::Cow::into_owned),
    }
}

fn is_like_labels(pattern: &[String], name: &[&str]) -> bool {
    let (Some((wanted, wanted_rest)), Some((label, rest))) =
        (pattern.split_first(), name.split_first())
    else {
        return pattern.is_empty() && name.is_empty();
    };
    match wanted.as_str() {
        "*" => *label != "*" && is_like_labels(wanted_rest, rest),
        "**" => {
            *label != "*" && (is_like_labels(wanted_rest, rest) || is_like_labels(pattern, rest))
        }
        "\\*" => *label == "*" && is_like_labels(wanted_rest, rest),
        wanted => wanted == *label && is_like_labels(wanted_rest, rest),
    }
}

/// A record's value as it is compared; none when the text is no value of the type.
pub(super) fn value(kind: &str, text: &str) -> Option<String> {
    match kind {
        "A" | "AAAA" => text
            .parse()
            .ok()
            .map(|address: std::net::IpAddr| address.to_string()),
        "CNAME" | "NS" | "PTR" | "MX" | "SRV" => {
            let host = text.strip_suffix('.').unwrap_or(text);
            let ascii = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::EMPTY);
            ascii.ok().map(std::borrow::Cow::into_owned)
        }
        "TXT" if text.starts_with('"') => {
            // Quoted strings one after the other; without the simple form nothing is compared.
            let inner = text.strip_prefix('"')?.strip_suffix('"')?;
            let parts: Vec<&str> = inner.split("\" \"").collect();
            let is_simple = parts.iter().all(|part| !part.contains(['"', '\\']));
            is_simple.then(|| parts.concat())
        }
        _ => Some(text.to_owned()),
    }
}
