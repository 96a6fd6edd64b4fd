//! What the Worker is told by its vars and secrets, checked once.

use std::borrow::Cow;

use crate::identity::{Pepper, may_fetch};
use crate::model::{AccountId, Secret, WebUrl, host_to_ascii};
use crate::upstream::SecretScanner;

/// Vars and secrets as read; absent and empty are the same.
#[derive(Debug, Clone, Default)]
pub struct RawSettings {
    /// `UPSTREAM_BASE_URL`
    pub upstream_base_url: Option<String>,
    /// Secret `CLOUDFLARE_API_TOKEN`
    pub api_token: Option<Secret>,
    /// Secret `CLOUDFLARE_EMAIL`
    pub email: Option<String>,
    /// Secret `CLOUDFLARE_API_KEY`
    pub api_key: Option<Secret>,
    /// Secret `ROOT_KEY`
    pub root_key: Option<Secret>,
    /// Secret `KEY_PEPPER`
    pub key_pepper: Option<Secret>,
    /// `OWN_ACCOUNT_ID`
    pub own_account_id: Option<String>,
    /// `OWN_SCRIPT_NAME`
    pub own_script_name: Option<String>,
    /// `OWN_D1_ID`
    pub own_d1_id: Option<String>,
    /// `OWN_D1_NAME`, by which some clients call it in paths
    pub own_d1_name: Option<String>,
    /// `OWN_KV_ID`
    pub own_kv_id: Option<String>,
    /// `OWN_QUEUE_IDS`, separated by commas
    pub own_queue_ids: Option<String>,
    /// `OWN_HOSTNAMES`, separated by commas
    pub own_hostnames: Option<String>,
    /// `ACCESS_TEAM_DOMAIN`, such as `acme.cloudflareaccess.com`
    pub access_team_domain: Option<String>,
    /// `ACCESS_AUD`, the audience tag of the Access application
    pub access_aud: Option<String>,
}

/// Its queues, as `wrangler.toml` has them: Workers bind a queue by name.
const OWN_QUEUES: &[&str] = &["zonekeeper-runs", "zonekeeper-dead"];

/// How the gateway shows itself to Cloudflare.
#[derive(Debug, Clone)]
pub enum UpstreamCredential {
    /// An API token.
    Token(Secret),
    /// A Global API Key with its e-mail address; works, with a standing warning.
    Legacy {
        /// The address.
        email: String,
        /// The key.
        key: Secret,
    },
}

/// The gateway's own resources, which are out of bounds for calls through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnResources {
    /// The account it runs in.
    pub account: AccountId,
    /// Its script, database, KV namespace and queues, by id and by name.
    pub names: Vec<String>,
    /// The host names it answers at.
    pub hostnames: Vec<String>,
}

/// The Cloudflare Access application that stands in front of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessApp {
    /// The team domain as tokens name it, such as `https://acme.cloudflareaccess.com`.
    pub issuer: String,
    /// Its audience tag.
    pub audience: String,
}

/// Settings that passed their checks.
#[derive(Debug)]
pub struct Settings {
    /// Whether Cloudflare is simulated on this machine; only then may issuers be on it as well.
    pub is_local: bool,
    /// Lets people in by their Access login; `None` when that is off.
    pub access: Option<AccessApp>,
    /// Where the v4 API is, without a final slash, such as
    /// `https://api.cloudflare.com/client/v4`.
    pub upstream_base: String,
    /// How the gateway shows itself there.
    pub credential: UpstreamCredential,
    /// Opens `/api/v1`; `None` when it is switched off.
    pub root_key: Option<Secret>,
    /// Hashed along with keys.
    pub pepper: Pepper,
    /// What must not be touched; `None` until deploy has written it.
    pub own: Option<OwnResources>,
    /// Finds our credentials in answers.
    pub scanner: SecretScanner,
}

/// A var or secret that keeps the Worker from serving.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It is needed and absent.
    #[error("the secret or var {0} is not set")]
    Missing(&'static str),
    /// It is there and of no use.
    #[error("{0} {1}")]
    Invalid(&'static str, &'static str),
}

fn present(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.trim().is_empty())
}

fn access_app(
    team: Option<String>,
    audience: Option<String>,
    is_local: bool,
) -> Result<Option<AccessApp>, SettingsError> {
    let (team, audience) = match (present(team), present(audience)) {
        (None, None) => return Ok(None),
        (None, _) => return Err(SettingsError::Missing("ACCESS_TEAM_DOMAIN")),
        (_, None) => return Err(SettingsError::Missing("ACCESS_AUD")),
        (Some(team), Some(audience)) => (team, audience),
    };
    let address = if team.contains("://") {
        team
    } else {
        format!("https://{team}")
    };
    // An origin: what tokens name is written without a final slash.
    let issuer = WebUrl::parse(&address)
        .filter(|url| url.path == "/" && url.is_address())
        .map(|url| url.origin())
        .filter(|origin| may_fetch(origin, is_local));
    match issuer {
        Some(issuer) => Ok(Some(AccessApp { issuer, audience })),
        None => Err(SettingsError::Invalid(
            "ACCESS_TEAM_DOMAIN",
            "must be a team domain such as acme.cloudflareaccess.com",
        )),
    }
}

/// What commas separate.
fn list(text: Option<&str>) -> impl Iterator<Item = &str> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty())
}

/// Host names as requests and records carry them.
fn host_names(text: Option<&str>) -> Result<Vec<String>, SettingsError> {
    let invalid = SettingsError::Invalid("OWN_HOSTNAMES", "holds something that is no host name");
    let names = list(text).map(|name| host_to_ascii(name.trim_end_matches('.')));
    let names = names.map(|name| name.map(Cow::into_owned));
    names.collect::<Option<_>>().ok_or(invalid)
}

impl TryFrom<RawSettings> for Settings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, SettingsError> {
        let base =
            present(raw.upstream_base_url).ok_or(SettingsError::Missing("UPSTREAM_BASE_URL"))?;
        let url = WebUrl::parse(&base)
            .ok_or(SettingsError::Invalid("UPSTREAM_BASE_URL", "is not a URL"))?;
        if !url.is_https && !url.is_loopback() {
            return Err(SettingsError::Invalid(
                "UPSTREAM_BASE_URL",
                "must be https, but for a simulator on this machine",
            ));
        }
        if !url.is_address() {
            return Err(SettingsError::Invalid(
                "UPSTREAM_BASE_URL",
                "must be a plain address without credentials, query or fragment",
            ));
        }
        let token = raw.api_token.filter(|token| !token.is_empty());
        let legacy_key = raw.api_key.filter(|key| !key.is_empty());
        let credential = match (token, present(raw.email), legacy_key) {
            (Some(token), _, _) => UpstreamCredential::Token(token),
            (None, Some(email), Some(key)) => UpstreamCredential::Legacy { email, key },
            _ => return Err(SettingsError::Missing("CLOUDFLARE_API_TOKEN")),
        };
        let pepper = raw
            .key_pepper
            .filter(|pepper| pepper.expose().len() >= 16)
            .ok_or(SettingsError::Invalid(
                "KEY_PEPPER",
                "must be a secret of at least 16 characters",
            ))?;
        let root_key = match raw.root_key.filter(|key| !key.is_empty()) {
            Some(key) if key.expose().len() < 32 => {
                return Err(SettingsError::Invalid(
                    "ROOT_KEY",
                    "must have at least 32 characters, or be absent",
                ));
            }
            other => other,
        };
        let upstream_secret = match &credential {
            UpstreamCredential::Token(token) => token,
            UpstreamCredential::Legacy { key, .. } => key,
        };
        let scanner = SecretScanner::new(
            [Some(upstream_secret), root_key.as_ref(), Some(&pepper)]
                .into_iter()
                .flatten(),
        );
        let is_local = url.is_loopback() && !url.is_https;
        let access = access_app(raw.access_team_domain, raw.access_aud, is_local)?;
        let own_account = present(raw.own_account_id);
        let own = match own_account {
            None => None,
            Some(account) => {
                let account = account.parse().map_err(|_| {
                    SettingsError::Invalid("OWN_ACCOUNT_ID", "is not an account id")
                })?;
                let script = present(raw.own_script_name)
                    .ok_or(SettingsError::Missing("OWN_SCRIPT_NAME"))?;
                let database = present(raw.own_d1_id).ok_or(SettingsError::Missing("OWN_D1_ID"))?;
                let database_name =
                    present(raw.own_d1_name).ok_or(SettingsError::Missing("OWN_D1_NAME"))?;
                let namespace =
                    present(raw.own_kv_id).ok_or(SettingsError::Missing("OWN_KV_ID"))?;
                let mut names = vec![script, database, database_name, namespace];
                names.extend(list(raw.own_queue_ids.as_deref()).map(str::to_ascii_lowercase));
                names.extend(OWN_QUEUES.iter().map(|name| (*name).to_owned()));
                Some(OwnResources {
                    account,
                    names,
                    hostnames: host_names(raw.own_hostnames.as_deref())?,
                })
            }
        };
        Ok(Self {
            is_local,
            access,
            upstream_base: base.trim_end_matches('/').to_owned(),
            credential,
            root_key,
            pepper: Pepper::new(pepper),
            own,
            scanner,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> RawSettings {
        RawSettings {
            upstream_base_url: Some("https://api.cloudflare.com/client/v4".into()),
            api_token: Some(Secret::new("t".repeat(40))),
            key_pepper: Some(Secret::new("p".repeat(32))),
            root_key: Some(Secret::new("r".repeat(40))),
            ..RawSettings::default()
        }
    }

    fn error(change: impl FnOnce(&mut RawSettings)) -> String {
        let mut raw = raw();
        change(&mut raw);
        Settings::try_from(raw).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn good_settings_pass() {
        let settings = Settings::try_from(raw()).unwrap();
        assert!(settings.own.is_none() && settings.access.is_none() && !settings.is_local);
        let with_access = Settings::try_from(RawSettings {
            access_team_domain: Some("Acme.cloudflareaccess.com".into()),
            access_aud: Some("tag".into()),
            ..raw()
        });
        assert_eq!(
            with_access.unwrap().access.unwrap().issuer,
            "https://acme.cloudflareaccess.com"
        );
        assert!(!format!("{settings:?}").contains("tttt"));
    }

    fn own(raw: &mut RawSettings) {
        raw.own_account_id = Some("0123456789abcdef0123456789abcdef".into());
        raw.own_script_name = Some("zonekeeper".into());
        raw.own_d1_id = Some("d1".into());
        raw.own_d1_name = Some("audit".into());
        raw.own_kv_id = Some("kv".into());
    }

    #[test]
    fn e7_our_own_host_names_are_kept_as_requests_carry_them() {
        let mut raw = raw();
        own(&mut raw);
        raw.own_hostnames = Some(" ZK.Example.com., zk.bücher.example ,".into());
        let settings = Settings::try_from(raw).unwrap();
        assert_eq!(
            settings.own.unwrap().hostnames,
            ["zk.example.com", "zk.xn--bcher-kva.example"]
        );
    }

    #[test]
    fn each_bad_setting_is_named() {
        assert_eq!(
            error(|raw| raw.upstream_base_url = None),
            "the secret or var UPSTREAM_BASE_URL is not set"
        );
        assert_eq!(
            error(|raw| raw.upstream_base_url = Some("http://api.cloudflare.com".into())),
            "UPSTREAM_BASE_URL must be https, but for a simulator on this machine"
        );
        assert!(
            error(|raw| raw.upstream_base_url = Some("https://u:p@h/".into()))
                .contains("plain address")
        );
        assert_eq!(
            error(|raw| raw.api_token = None),
            "the secret or var CLOUDFLARE_API_TOKEN is not set"
        );
        assert!(error(|raw| raw.key_pepper = Some(Secret::new("short"))).starts_with("KEY_PEPPER"));
        assert!(error(|raw| raw.root_key = Some(Secret::new("short"))).starts_with("ROOT_KEY"));
        assert_eq!(
            error(|raw| raw.access_aud = Some("tag".into())),
            "the secret or var ACCESS_TEAM_DOMAIN is not set"
        );
        for bad in [
            "http://acme.example",
            "acme.example/path",
            "http://127.0.0.1:1",
        ] {
            assert!(
                error(|raw| {
                    raw.access_team_domain = Some(bad.into());
                    raw.access_aud = Some("tag".into());
                })
                .starts_with("ACCESS_TEAM_DOMAIN must be"),
                "{bad}"
            );
        }
        assert_eq!(
            error(|raw| raw.own_account_id = Some("0123456789abcdef0123456789abcdef".into())),
            "the secret or var OWN_SCRIPT_NAME is not set"
        );
        assert_eq!(
            error(|raw| {
                own(raw);
                raw.own_hostnames = Some("zk.example.com, xn--zk-".into());
            }),
            "OWN_HOSTNAMES holds something that is no host name"
        );
    }
}
