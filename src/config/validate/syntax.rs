//! The form of single values.

use std::net::IpAddr;

use crate::config::words::is_secret_name;
use crate::model::{WebUrl, quoted};

type Checked = Result<(), String>;

/// `[A-Za-z0-9._-]{1,64}`
pub(super) fn name(text: &str) -> Checked {
    let fits = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    ensure(fits, || {
        format!(
            "{} is no name: it needs 1 to 64 letters, digits, \".\", \"_\" or \"-\".",
            quoted(text)
        )
    })
}

/// Something, without white space around it.
pub(super) fn text(text: &str) -> Checked {
    ensure(!text.is_empty(), || "the text is empty.".to_owned())?;
    ensure(text.trim() == text, || {
        format!("{} has white space at its start or end.", quoted(text))
    })
}

/// An IP address, or a network such as `192.0.2.0/24`.
pub(super) fn network(text: &str) -> Checked {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let parts = text
        .split_once('/')
        .and_then(|(address, bits)| Some((address.parse::<IpAddr>().ok()?, prefix_len(bits)?)));
    let Some((address, bits)) = parts else {
        return Err(format!(
            "{} is no IP address and no network in CIDR form.",
            quoted(text)
        ));
    };
    let (width, value) = match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    ensure(bits <= width, || {
        format!(
            "{} has a longer prefix than its {width} bits.",
            quoted(text)
        )
    })?;
    let host = value
        & 1_u128
            .checked_shl(width - bits)
            .map_or(u128::MAX, |next| next - 1);
    ensure(host == 0, || {
        let start = match address {
            IpAddr::V4(address) => {
                let host = u32::try_from(host).unwrap_or_default();
                IpAddr::V4((address.to_bits() ^ host).into())
            }
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() ^ host).into()),
        };
        format!(
            "{} is not the start of a network; that would be \"{start}/{bits}\".",
            quoted(text)
        )
    })
}

fn prefix_len(text: &str) -> Option<u32> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| canonical)
}

/// The content of a record: anything, but what looks like a network must be one.
pub(super) fn content(value: &str) -> Checked {
    text(value)?;
    match value.split_once('/') {
        Some((address, _)) if looks_like_an_address(address) => network(value),
        _ => Ok(()),
    }
}

fn looks_like_an_address(text: &str) -> bool {
    let only = |allowed: fn(&u8) -> bool| text.bytes().all(|byte| allowed(&byte));
    (text.contains('.') && only(|byte| byte.is_ascii_digit() || *byte == b'.'))
        || (text.contains(':')
            && only(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')))
}

/// `HH:MM`, from `00:00` to `23:59`.
pub(super) fn minute_of_day(text: &str) -> Option<u16> {
    let two_digits = |text: &str, below: u16| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|value| digits && *value < below)
    };
    let (hours, minutes) = text.split_once(':')?;
    Some(two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?)
}

/// An issuer as OIDC knows it: an `https` URL, compared as an exact text; or one on this machine, which
/// counts beside a simulator only.
pub(super) fn issuer(value: &str) -> Checked {
    address(value, "is no issuer")
}

/// Where an issuer's keys are.
pub(super) fn jwks_uri(value: &str) -> Checked {
    address(value, "is no address of keys")
}

fn address(value: &str, what: &str) -> Checked {
    text(value)?;
    let fits = WebUrl::parse(value).is_some_and(|url| {
        (value.starts_with("https://") || (url.is_loopback() && value.starts_with("http://")))
            && url.is_address()
    });
    ensure(fits, || {
        format!(
            "{} {what}: it must be an https URL without query.",
            quoted(value)
        )
    })
}

/// `METHOD /path`, as for an operation the catalogue does not know.
pub(super) fn route(text: &str) -> bool {
    let Some((method, path)) = text.split_once(' ') else {
        return false;
    };
    let segment = |segment: &str| {
        let name = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(segment);
        !matches!(name, "" | "." | "..")
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~@:$+".contains(&byte))
    };
    matches!(method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE")
        && path
            .strip_prefix('/')
            .is_some_and(|path| path.split('/').all(segment))
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(message()) }
}

/// The name of a secret of the Worker: the prefix, then capitals, digits and `_`, at most 64 in all.
pub(super) fn secret_name(text: &str, prefix: &str, whose: &str) -> Result<(), String> {
    if is_secret_name(text, prefix) {
        return Ok(());
    }
    Err(format!(
        "{} is no name of a {whose}'s secret: it must begin with {prefix} and have capitals, digits and \"_\", at most 64 in all.",
        quoted(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_start_where_their_prefix_says() {
        for good in [
            "192.0.2.1",
            "192.0.2.0/24",
            "0.0.0.0/0",
            "::/0",
            "2001:db8::/32",
            "::1/128",
            "10.0.0.1/32",
        ] {
            assert_eq!(network(good), Ok(()), "{good}");
        }
        assert_eq!(
            network("192.0.2.7/24"),
            Err(
                "\"192.0.2.7/24\" is not the start of a network; that would be \"192.0.2.0/24\"."
                    .to_owned()
            )
        );
        assert_eq!(
            network("2001:db8::1/32"),
            Err("\"2001:db8::1/32\" is not the start of a network; that would be \"2001:db8::/32\".".to_owned())
        );
        for bad in [
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/08",
            "192.0.2",
            "example.com/8",
            "",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_contents_that_look_like_networks_must_be_networks() {
        for good in [
            "192.0.2.1",
            "192.0.2.0/24",
            "v=spf1 ip4:192.0.2.0/24 -all",
            "a/b",
            "https://x.example/y",
        ] {
            assert_eq!(content(good), Ok(()), "{good}");
        }
        for bad in ["", " a", "192.0.2.0/99", "2001:db8::/999", "192.0.2/24"] {
            assert!(content(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_and_routes_have_one_form() {
        assert_eq!(minute_of_day("23:59"), Some(23 * 60 + 59));
        for bad in ["24:00", "9:00", "09:0", "0900", "+9:00", "09:60", ""] {
            assert_eq!(minute_of_day(bad), None, "{bad}");
        }
        for good in ["GET /zones/{zone_id}/new_thing", "POST /graphql"] {
            assert!(route(good), "{good}");
        }
        for bad in [
            "get /zones",
            "GET zones",
            "GET /zones/",
            "GET //zones",
            "GET /a b",
            "GET /a?b",
            "HEAD /a",
            "GET /../a",
            "GET /%61",
            "GET /*",
        ] {
            assert!(!route(bad), "{bad}");
        }
    }

    #[test]
    fn issuers_are_exact_https_urls() {
        for good in [
            "https://token.actions.githubusercontent.com",
            "https://x.example/tenant/",
            "http://127.0.0.1:8788/__sim/oidc/github",
        ] {
            assert_eq!(issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "http://x.example",
            "http://127.0.0.1.x.example",
            "https://x.example ",
            "HTTPS://x.example",
            "https://",
            "https://a@x.example",
            "https://x.example?a=b",
            "x.example",
        ] {
            assert!(issuer(bad).is_err(), "{bad}");
        }
    }
}
