//! A call as it arrived, before anything is believed.

use std::net::IpAddr;

use crate::catalog::Method;
use crate::identity::{AccessHeaders, CredentialHeaders};
use crate::model::sanitised;

/// Request headers that are handed upstream; every other stays here. The credential is ours.
pub const FORWARDED_HEADERS: &[&str] = &[
    "accept",
    "cf-r2-jurisdiction",
    "content-encoding",
    "content-type",
    "if-match",
];
/// Request headers that are read here, besides those that begin with [`OWN_HEADER_PREFIX`].
pub const READ_HEADERS: &[&str] = &[
    "accept",
    "authorization",
    "cf-access-jwt-assertion",
    "cf-connecting-ip",
    "cf-webhook-auth",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "idempotency-key",
    "sec-fetch-site",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-auth-key",
    "x-auth-user-service-key",
    "x-github-delivery",
    "x-github-event",
    "x-gitlab-event",
    "x-gitlab-token",
    "x-hub-signature-256",
];
/// A page of another site cannot add this header, so whoever sends it is no such page.
pub const REQUEST_HEADER: &str = "zonekeeper-request";
/// Headers of ours begin so.
pub const OWN_HEADER_PREFIX: &str = "zonekeeper-";
/// Answer headers that are handed to the caller; every other stays here.
pub const RELAYED_HEADERS: &[&str] = &[
    "api-version",
    "cache-control",
    "cf-auditlog-id",
    "cf-kv-metadata",
    "cf-ray",
    "content-disposition",
    "content-language",
    "content-type",
    "etag",
    "expiration",
    "last-modified",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
];
/// The header that names an injected fault; known only to builds with the feature `faults`.
#[cfg(feature = "faults")]
pub const FAULT_HEADER: &str = "zonekeeper-fault";

/// Method, URL and the headers that are read, as sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inbound<'a> {
    /// The method, exactly.
    pub method: &'a str,
    /// The whole URL.
    pub url: &'a str,
    /// Where the credential may be.
    pub credentials: CredentialHeaders<'a>,
    /// Where a login of Cloudflare Access may be.
    pub access: AccessHeaders<'a>,
    /// `CF-Connecting-IP`, which Cloudflare sets.
    pub source_ip: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// Whether the caller wants another protocol.
    pub upgrade: bool,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// The first header that asks for something not built.
    pub unsupported: Option<&'a str>,
    /// The fault to inject.
    #[cfg(feature = "faults")]
    pub fault: Option<&'a str>,
    /// All of it, for headers that only one route reads.
    pub head: &'a str,
}

/// A method as far as it matters here. Anything else is not proxied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb {
    /// The method policy and upstream see; HEAD is answered as its GET.
    pub method: Method,
    /// Whether the answer goes without its body.
    pub head: bool,
}

impl Verb {
    /// Reads a method name exactly, as methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "HEAD" {
            return Some(Self {
                method: Method::Get,
                head: true,
            });
        }
        Method::from_str(text).map(|method| Self {
            method,
            head: false,
        })
    }
}

impl<'a> Inbound<'a> {
    /// Reads the head in the form `edge` gives: method, URL and one `name:value` a line. Names are
    /// lower case and unique, since the runtime joins repeated headers with commas.
    #[must_use]
    pub fn parse(head: &'a str) -> Self {
        let mut lines = head.split('\n');
        let mut inbound = Self {
            method: lines.next().unwrap_or_default(),
            url: lines.next().unwrap_or_default(),
            head,
            ..Self::default()
        };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            match name {
                "authorization" => inbound.credentials.authorization = Some(value),
                "x-auth-key" => inbound.credentials.auth_key = Some(value),
                "x-auth-user-service-key" => inbound.credentials.service_key = Some(value),
                "cf-access-jwt-assertion" => inbound.access.assertion = Some(value),
                "cookie" => inbound.access.cookies = Some(value),
                "sec-fetch-site" => inbound.access.fetch_site = Some(value),
                REQUEST_HEADER => inbound.access.is_marked = true,
                "cf-connecting-ip" => inbound.source_ip = Some(value),
                "content-type" => inbound.content_type = Some(value),
                "content-encoding" => inbound.content_encoding = Some(value),
                "content-length" => inbound.content_length = value.parse().ok(),
                "accept" => inbound.accept = Some(value),
                "upgrade" => inbound.upgrade = true,
                #[cfg(feature = "faults")]
                FAULT_HEADER => inbound.fault = Some(value),
                "idempotency-key" => inbound.idempotency_key = Some(value),
                _ if name.starts_with(OWN_HEADER_PREFIX) => inbound.unsupported = Some(name),
                _ => {}
            }
        }
        inbound
    }

    /// A header by its name in lower case; one that came several times is joined with commas.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut lines = self.head.split('\n').skip(2);
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// The address Cloudflare reports, where it can be read.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.source_ip?.trim().parse().ok()
    }

    /// The address Cloudflare reports, as it is put on record.
    #[must_use]
    pub fn recorded_ip(&self) -> Option<String> {
        self.source_ip.map(|ip| sanitised(ip, 45))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_line_by_line() {
        let inbound = Inbound::parse(
            "PATCH\nhttp://h/client/v4/zones?a=b:c\nauthorization:Bearer k:1\ncontent-length:12\ncf-connecting-ip:::1",
        );
        assert_eq!(
            (inbound.method, inbound.url),
            ("PATCH", "http://h/client/v4/zones?a=b:c")
        );
        assert_eq!(inbound.credentials.authorization, Some("Bearer k:1"));
        assert_eq!(inbound.content_length, Some(12));
        assert_eq!(inbound.source_ip, Some("::1"));
        assert_eq!(inbound.unsupported, None);
        assert_eq!(inbound.header("content-length"), Some("12"));
        assert_eq!(inbound.header("cf-connecting-ip"), Some("::1"));
        for absent in ["content", "PATCH", "http", "length", "::1"] {
            assert_eq!(inbound.header(absent), None);
        }
    }

    #[test]
    fn what_is_not_built_is_noticed() {
        assert_eq!(
            Inbound::parse("GET\nu\nzonekeeper-dry-run:true").unsupported,
            Some("zonekeeper-dry-run")
        );
        let keyed = Inbound::parse("GET\nu\nidempotency-key:x");
        assert_eq!(keyed.idempotency_key, Some("x"));
    }

    #[test]
    fn methods_are_read_exactly() {
        assert_eq!(
            Verb::parse("HEAD").map(|verb| (verb.method, verb.head)),
            Some((Method::Get, true))
        );
        for other in ["get", "PURGE", "PROPFIND", "OPTIONS", "CONNECT", ""] {
            assert_eq!(Verb::parse(other), None, "{other}");
        }
    }

    #[test]
    fn no_credential_is_ever_forwarded() {
        for name in FORWARDED_HEADERS {
            assert!(
                !name.contains("auth") && *name != "cookie" && !name.starts_with("cf-connecting")
            );
        }
        assert!(!RELAYED_HEADERS.contains(&"set-cookie"));
    }
}
