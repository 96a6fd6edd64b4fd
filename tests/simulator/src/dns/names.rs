//! DNS names: as they arrive (relative, absolute, any case, Unicode) and as they are kept.
//!
//! NOTES "DNS records": `name` in answers is the full name in Punycode.

/// Longest name in characters, longest label in octets (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The full name of a record in `zone`: `@` and the empty name are the zone itself, a name that
/// is not below the zone is taken as relative, a trailing dot makes it absolute.
pub(crate) fn full(name: &str, zone: &str) -> Option<String> {
    let name = name.trim();
    if name.is_empty() || name == "@" {
        return Some(zone.to_owned());
    }
    let absolute = name.ends_with('.');
    let ascii = hostname(name)?;
    let below = ascii == zone
        || ascii
            .strip_suffix(zone)
            .is_some_and(|rest| rest.ends_with('.'));
    if below {
        Some(ascii)
    } else if absolute {
        None
    } else {
        Some(format!("{ascii}.{zone}")).filter(|n| n.len() <= MAX_NAME)
    }
}

/// A host name in lower case and Punycode without its trailing dot; none when it cannot be one.
/// Underscores and a leftmost `*` label are allowed, as DNS owner names have them.
pub(crate) fn hostname(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let ascii = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(name).ok()?
    };
    let fits = !ascii.is_empty()
        && ascii.len() <= MAX_NAME
        && ascii
            .split('.')
            .enumerate()
            .all(|(index, label)| label_fits(label, index == 0));
    fits.then_some(ascii)
}

fn label_fits(label: &str, first: bool) -> bool {
    (first && label == "*")
        || (!label.is_empty()
            && label.len() <= MAX_LABEL
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/')))
}

/// The target of a record: like [`hostname`], but never an address, and `.` stays.
pub(crate) fn target(content: &str) -> Option<String> {
    if content == "." {
        return Some(".".to_owned());
    }
    let host = hostname(content)?;
    let address = host.parse::<std::net::Ipv4Addr>().is_ok();
    (!address && !host.starts_with('*')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_form_become_full() {
        let cases = [
            ("@", Some("example.com")),
            ("www", Some("www.example.com")),
            ("WWW.Example.COM", Some("www.example.com")),
            ("www.example.com.", Some("www.example.com")),
            ("notexample.com", Some("notexample.com.example.com")),
            ("other.test.", None),
            ("bücher", Some("xn--bcher-kva.example.com")),
            ("*.dev", Some("*.dev.example.com")),
            ("a.*.dev", None),
            ("a..b", None),
            ("a b", None),
        ];
        for (name, expected) in cases {
            assert_eq!(full(name, "example.com").as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_target_loses_its_dot_and_is_no_address() {
        assert_eq!(
            target("Mail.Example.com.").as_deref(),
            Some("mail.example.com")
        );
        assert_eq!(target("."), Some(".".to_owned()));
        assert_eq!(target("192.0.2.1"), None);
        assert_eq!(target("2001:db8::1"), None);
    }
}
