//! Which addresses of the web jobs may ask: those whose host the configuration lists, and never our own.

use crate::identity::may_fetch;
use crate::model::{WebUrl, is_within};
use crate::settings::Settings;

/// Why `url` may not be asked, without a full stop; `None`: it may. `hosts` are those of the
/// configuration, `besides` others that may be, with all below them.
pub(super) fn why_not_fetch_besides(
    url: &str,
    hosts: &[String],
    besides: &[&str],
    settings: &Settings,
) -> Option<&'static str> {
    match why_not_fetch(url, hosts, settings) {
        Some(UNLISTED) => {
            let host = WebUrl::parse(url).map(|url| url.host().to_owned())?;
            let is_beside = besides.iter().any(|above| is_within(&host, above));
            (!is_beside).then_some(UNLISTED)
        }
        other => other,
    }
}

const UNLISTED: &str = "its host is not one of outbound.hosts in the configuration";

/// The same with those of the configuration only.
pub(super) fn why_not_fetch(
    url: &str,
    hosts: &[String],
    settings: &Settings,
) -> Option<&'static str> {
    let Some(parsed) = WebUrl::parse(url).filter(|_| may_fetch(url, settings.is_local)) else {
        return Some("only https addresses without credentials are asked");
    };
    let (host, is_local) = (parsed.host(), settings.is_local && parsed.is_loopback());
    if parsed.has_port() && !is_local {
        return Some("an address with a port is not asked");
    }
    let is_number = host.starts_with('[') || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_number && !is_local {
        return Some("only host names are asked, not addresses in numbers");
    }
    if !hosts.iter().any(|listed| listed == host) {
        return Some(UNLISTED);
    }
    let upstream = WebUrl::parse(&settings.upstream_base);
    if upstream.is_some_and(|upstream| upstream.host() == host) && !is_local {
        return Some("Cloudflare's API is called by jobs with their grants only");
    }
    let own = settings.own.as_ref().map_or(&[][..], |own| &own.hostnames);
    own.iter()
        .any(|own| own == host)
        .then_some("it is Zonekeeper's own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use crate::settings::RawSettings;

    fn settings(base: &str) -> Settings {
        let raw = RawSettings {
            upstream_base_url: Some(base.to_owned()),
            api_token: Some(Secret::new("t".repeat(40))),
            key_pepper: Some(Secret::new("p".repeat(32))),
            own_account_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            own_script_name: Some("zonekeeper".to_owned()),
            own_d1_id: Some("d1".to_owned()),
            own_d1_name: Some("audit".to_owned()),
            own_kv_id: Some("kv".to_owned()),
            own_hostnames: Some("zk.example.com, zk.acme.workers.dev".to_owned()),
            ..RawSettings::default()
        };
        Settings::try_from(raw).unwrap()
    }

    #[test]
    fn u4_only_listed_hosts_are_asked_and_by_https() {
        let settings = settings("https://api.cloudflare.com/client/v4");
        // Even what somebody lists by mistake.
        let hosts = [
            "www.example.com",
            "zk.example.com",
            "zk.acme.workers.dev",
            "api.cloudflare.com",
            "127.0.0.1",
            "localhost",
            "169.254.169.254",
            "[::1]",
            "[::ffff:a9fe:a9fe]",
        ];
        let hosts = hosts.map(str::to_owned);
        assert_eq!(
            why_not_fetch("https://www.example.com/a?b", &hosts, &settings),
            None
        );
        assert_eq!(
            why_not_fetch("https://WWW.example.com/", &hosts, &settings),
            None
        );
        for url in [
            "http://www.example.com/",
            "https://me:x@www.example.com/",
            "https://www.example.com:8443/",
            "https://other.example.com/",
            "https://www.example.com.evil.example/",
            "https://zk.example.com/api/v1/config",
            "https://zk.acme.workers.dev/",
            "https://api.cloudflare.com/client/v4/zones",
            "http://127.0.0.1/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://169.254.169.254/latest/",
            "https://[::1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "http://localhost/",
            "ftp://www.example.com/",
            "www.example.com",
        ] {
            assert!(why_not_fetch(url, &hosts, &settings).is_some(), "{url}");
        }
    }

    #[test]
    fn u4_a_simulator_is_asked_on_this_machine_only() {
        let local = settings("http://127.0.0.1:8788/client/v4");
        let hosts = ["127.0.0.1".to_owned()];
        assert_eq!(
            why_not_fetch("http://127.0.0.1:8788/__sim/sink/a", &hosts, &local),
            None
        );
        assert!(why_not_fetch("http://127.0.0.1:8788/", &[], &local).is_some());
        assert!(why_not_fetch("http://www.example.com/", &hosts, &local).is_some());
    }
}
