//! The words of made-up configurations and calls: few, so that what is asked often is what is meant.

use zonekeeper::catalog::Family;
use zonekeeper::model::Timestamp;

/// What a configuration and the calls under it are about.
pub(super) struct Theme {
    pub(super) family: Family,
    pub(super) permissions: &'static [&'static str],
    /// `METHOD /template`; what the catalogue does not know is called by its path.
    pub(super) calls: &'static [&'static str],
}

pub(super) const THEMES: &[Theme] = &[
    Theme {
        family: Family::Dns,
        permissions: &["DNS Write", "DNS Write", "DNS Read", "Zone Write"],
        calls: &[
            "POST /zones/{z}/dns_records",
            "POST /zones/{z}/dns_records/batch",
            "GET /zones/{z}/dns_records",
            "GET /zones/{z}/dns_records/{r}",
            "PATCH /zones/{z}/dns_records/{r}",
            "DELETE /zones/{z}/dns_records/{r}",
            "GET /zones/{z}/dns_records/usage",
            "GET /zones/{z}/dnssec",
            "PATCH /zones/{z}/dnssec",
            "GET /zones/{z}/secondary_dns/incoming",
        ],
    },
    Theme {
        family: Family::Purge,
        permissions: &["Cache Purge"],
        calls: &[
            "POST /zones/{z}/purge_cache",
            "POST /zones/{z}/environments/{e}/purge_cache",
            "POST /zones/{z}/invalidate_cache",
            "GET /zones/{z}/hold",
        ],
    },
    Theme {
        family: Family::Workers,
        permissions: &[
            "Workers Scripts Write",
            "Workers Scripts Write",
            "Workers Scripts Read",
            "Workers Routes Write",
            "Workers KV Storage Write",
            "Workers R2 Storage Write",
            "D1 Write",
            "Queues Write",
            "Account Settings Read",
        ],
        calls: &[
            "PUT /accounts/{a}/workers/scripts/{s}",
            "PUT /accounts/{a}/workers/scripts/{s}",
            "POST /accounts/{a}/workers/scripts/{s}/versions",
            "GET /accounts/{a}/workers/scripts/{s}",
            "DELETE /accounts/{a}/workers/scripts/{s}",
            "GET /accounts/{a}/workers/account-settings",
            "POST /zones/{z}/workers/routes",
            "GET /zones/{z}/workers/routes",
        ],
    },
    Theme {
        family: Family::Settings,
        permissions: &[
            "Zone Settings Write",
            "Zone Settings Read",
            "Zone Write",
            "SSL and Certificates Write",
        ],
        calls: &[
            "GET /zones/{z}/settings",
            "PATCH /zones/{z}/settings",
            "PATCH /zones/{z}/settings/{s}",
            "PATCH /zones/{z}/settings/aegis",
            "GET /zones/{z}/settings/ssl_automatic_mode",
            "GET /zones/{z}/argo/smart_routing",
        ],
    },
    Theme {
        family: Family::Rulesets,
        permissions: &[
            "Zone WAF Write",
            "Account WAF Write",
            "Dynamic URL Redirects Write",
            "Cache Settings Write",
            "Cache Settings Read",
            "Logs Write",
        ],
        calls: &[
            "GET /zones/{z}/rulesets",
            "POST /zones/{z}/rulesets",
            "GET /zones/{z}/rulesets/phases/{p}/entrypoint",
            "PUT /zones/{z}/rulesets/phases/{p}/entrypoint",
            "PUT /accounts/{a}/rulesets/phases/{p}/entrypoint",
            "POST /zones/{z}/content-upload-scan/enable",
        ],
    },
    Theme {
        family: Family::Lists,
        permissions: &["Account Rule Lists Write", "Account Rule Lists Read"],
        calls: &[
            "GET /accounts/{a}/rules/lists",
            "PUT /accounts/{a}/rules/lists/{l}",
            "POST /accounts/{a}/rules/lists/{l}/items",
        ],
    },
    Theme {
        family: Family::Kv,
        permissions: &["Workers KV Storage Write", "Workers KV Storage Read"],
        calls: &[
            "GET /accounts/{a}/storage/kv/namespaces",
            "PUT /accounts/{a}/storage/kv/namespaces/{n}/values/{k}",
            "DELETE /accounts/{a}/storage/kv/namespaces/{n}",
            "PUT /accounts/{a}/storage/kv/namespaces/{n}/bulk",
            "GET /accounts/{a}/workers/account-settings",
        ],
    },
    Theme {
        family: Family::R2,
        permissions: &["Workers R2 Storage Write", "Workers R2 Storage Read"],
        calls: &[
            "GET /accounts/{a}/r2/buckets",
            "DELETE /accounts/{a}/r2/buckets/{b}",
        ],
    },
    Theme {
        family: Family::Graphql,
        permissions: &["Analytics Read", "Account Analytics Read"],
        calls: &["POST /graphql", "GET /accounts/{a}/analytics_engine/sql"],
    },
    Theme {
        family: Family::Zones,
        permissions: &[
            "Zone Read",
            "Zone Write",
            "Account Settings Read",
            "DNS Read",
            "User Details Read",
            "API Tokens Write",
        ],
        calls: &[
            "GET /zones",
            "GET /zones/{z}",
            "GET /zones/{z}",
            "DELETE /zones/{z}",
            "PATCH /zones/{z}",
            "POST /zones",
            "GET /accounts",
            "GET /accounts/{a}",
            "GET /user",
            "POST /user/tokens",
            "POST /accounts/{a}/members",
            "GET /zones/{z}/brand_new",
            "POST /accounts/{a}/brand_new/{n}",
            "PUT /brand_new",
        ],
    },
];

/// An instant at which something begins or ends, a Sunday noon.
pub(super) const NOON: Timestamp = Timestamp::from_unix_ms(1_793_534_400_000);

pub(super) const NAMES: &[&str] = &[
    "www.example.com",
    "mail.example.com",
    "*.example.com",
    "**.example.com",
    "_acme-challenge.**",
    "\\*.example.com",
    "\\*.**",
    "a.*.example.com",
    "**.a.**",
    "**",
    "Bücher.example.com",
];
pub(super) const RECORD_NAMES: &[&str] = &[
    "www",
    "WWW.example.com.",
    "mail",
    "@",
    "*",
    "*.a",
    "_acme-challenge",
    "_acme-challenge.www",
    "a.b",
    "x.a.b",
    "bücher",
];
pub(super) const TYPES: &[&str] = &["A", "AAAA", "TXT", "CNAME", "MX"];
pub(super) const CONTENTS: &[&str] = &[
    "192.0.2.0/24",
    "192.0.2.7",
    "2001:db8::/32",
    "0.0.0.0/0",
    "a.example.net",
    "v=spf1 -all",
];
pub(super) const VALUES: &[&str] = &[
    "192.0.2.7",
    "192.0.2.8",
    "192.0.2.07",
    "10.0.0.1",
    "2001:DB8::1",
    "2001:db9::1",
    "A.example.NET.",
    "b.example.net",
    "xn--www-.net",
    "v=spf1 -all",
    "\"v=spf1 \" \"-all\"",
    "\"v=spf1",
];
pub(super) const PREFIXES: &[&str] = &[
    "example.com/news/",
    "example.com/news",
    "example.com",
    "www.example.com/a/b",
];
pub(super) const ASKED_PREFIXES: &[&str] = &[
    "example.com/news/",
    "Example.com/news/2026",
    "example.com/newsroom",
    "example.com/ne",
    "www.example.com",
    "example.com/shop/?q=1",
    "https://example.com/news/",
];
pub(super) const FILES: &[&str] = &[
    "https://example.com/robots.txt",
    "https://example.com/news/a?b=c",
    "https://example.com/a%2Fb",
];
pub(super) const ASKED_FILES: &[&str] = &[
    "https://example.com/robots.txt",
    "http://EXAMPLE.com./news/a?b=c",
    "https://example.com/a%2Fb",
    "https://example.com/a/b",
    "https://example.com/news/../x",
    "https://example.com/news/%2e%2E/x",
    "https://example.com/%6eews/a",
    "https://example.com:8443/news/a",
    "https://www.example.com/a/b/c",
    "https://example.com.evil.net/news/a",
    "https://xn--bcher-kva.example.com/a",
    "no URL",
];
pub(super) const HOSTS: &[&str] = &["example.com", "WWW.example.com.", "bücher.example.com"];
pub(super) const TAGS: &[&str] = &["a", "B"];
pub(super) const ASKED_TAGS: &[&str] = &["A", "b", "c"];
pub(super) const SCRIPTS: &[&str] = &["site", "api", "billing"];
pub(super) const BINDINGS: &[&str] = &[
    "kv_namespace:site-cache",
    "kv_namespace:other-cache",
    "kv_namespace",
    "d1:db",
    "service:api",
    "queue",
    "plain_text",
    "secrets_store_secret:s",
    "brand_new:x",
];
pub(super) const BOUND: &[(&str, Option<&str>)] = &[
    ("kv_namespace", Some("kv-of-acme")),
    ("kv_namespace", Some("kv-of-other")),
    ("kv_namespace", None),
    ("r2_bucket", Some("assets")),
    ("d1", Some("db")),
    ("queue", Some("q")),
    ("service", Some("api")),
    ("service", Some("billing")),
    ("tail_consumer", Some("api")),
    ("durable_object_namespace", None),
    ("durable_object_namespace", Some("billing")),
    ("workflow", None),
    ("plain_text", None),
    ("secret_text", None),
    ("ai", None),
    ("vectorize", Some("v")),
    ("hyperdrive", Some("h")),
    ("secrets_store_secret", Some("s")),
    ("dispatch_namespace", Some("d")),
    ("brand_new", Some("x")),
];
pub(super) const ROUTES: &[&str] = &[
    "example.com/*",
    "shop.example.com/pay/*",
    "*.example.com/*",
    "https://example.com/*",
];
pub(super) const ASKED_ROUTES: &[&str] = &[
    "example.com/*",
    "Example.com/a",
    "https://example.com/a*",
    "http://example.com/*",
    "shop.example.com/pay/card",
    "shop.example.com/*",
    "*example.com/*",
    "*.example.com/pay/*",
    "example.net/*",
];
pub(super) const DIGESTS: &[&str] = &["d1", "d2"];
pub(super) const SETTINGS: &[&str] = &["ssl", "minify", "aegis"];
pub(super) const PHASES: &[&str] = &[
    "http_request_firewall_custom",
    "http_ratelimit",
    "http_request_dynamic_redirect",
    "http_request_cache_settings",
    "http_log_custom_fields",
    "http_request_new",
];
pub(super) const LISTS: &[&str] = &["blocked", "allowed"];
const KV_ID: &str = "0123456789abcdef0123456789abcdef";
pub(super) const NAMESPACES: &[&str] = &["site-cache", "other-cache", "no-such-cache", KV_ID];
pub(super) const NAMESPACE_IDS: &[&str] = &["kv-of-acme", "kv-of-other", "kv-of-other-2", KV_ID];
pub(super) const KEYS: &[&str] = &["page-*", "index", "*"];
pub(super) const ASKED_KEYS: &[&str] = &["page-1", "index", "index2"];
pub(super) const BUCKETS: &[&str] = &["assets", "backups"];
pub(super) const DATASETS: &[&str] = &["httpRequestsAdaptiveGroups", "firewallEventsAdaptive"];
pub(super) const NETWORKS: &[&str] = &[
    "192.0.2.0/24",
    "192.0.2.128/25",
    "198.51.100.1",
    "2001:db8::/32",
    "0.0.0.0/0",
];
pub(super) const ADDRESSES: &[&str] = &[
    "192.0.2.7",
    "192.0.2.200",
    "::ffff:192.0.2.200",
    "198.51.100.1",
    "198.51.100.2",
    "2001:db8::1",
];
