//! What the data file does not say, or says too kindly, put right by hand.
//!
//! A selector is methods and a path shape: `PUT,PATCH /accounts/{}/tokens/{}`. `WRITE` stands for
//! every method but `GET`, `ANY` for every method. `{}` is a parameter, `*` any one segment, `/**`
//! at the end the path itself and all below it; a leading `@` stands for `/accounts/{}` and for
//! `/zones/{}`. INVARIANT: every selector selects something, or the table is not made.

use std::collections::HashSet;

use super::source::{Row, SourceError};
use crate::catalog::resolve::blank;
use crate::catalog::{Family, Judged, Method, Scope};

/// Zonekeeper's own permission groups. They open `/api/v1`, and no operation accepts them.
pub const OWN_GROUPS: &[&str] = &[
    "Zonekeeper Approvals Write",
    "Zonekeeper Audit Read",
    "Zonekeeper Config Read",
    "Zonekeeper Config Write",
    "Zonekeeper Deploys Write",
    "Zonekeeper Jobs Read",
    "Zonekeeper Jobs Run",
];

/// Whether a group is one of [`OWN_GROUPS`].
#[must_use]
pub fn is_own(group: &str) -> bool {
    OWN_GROUPS.contains(&group)
}

/// Groups the schema calls by another name than the list of permission groups does.
pub const GROUP_RENAMES: &[(&str, &str)] = &[
    ("Account Filter Lists Edit", "Account Rule Lists Write"),
    ("Account Filter Lists Read", "Account Rule Lists Read"),
];

/// Scopes the path does not show.
pub const SCOPES: &[(&str, Scope, &str)] = &[(
    "POST /zones",
    Scope::Account,
    "the body names the account in account.id",
)];

/// Groups that are wrong in the schema or missing from it.
pub const GROUPS: &[(&str, &[&str], &str)] = &[
    (
        "POST /zones",
        &["Zone Write"],
        "DNS Write is for records, not for making zones",
    ),
    (
        "POST /accounts/{}/d1/database/{}/query",
        &["D1 Write"],
        "SQL may write",
    ),
    (
        "POST /accounts/{}/d1/database/{}/raw",
        &["D1 Write"],
        "SQL may write",
    ),
    (
        "POST /zones/{}/invalidate_cache",
        &["Cache Purge"],
        "documented as purge_cache",
    ),
    (
        "POST /zones/{}/environments/{}/invalidate_cache",
        &["Cache Purge"],
        "documented as purge_cache",
    ),
    (
        "WRITE /zones/{}/managed_headers",
        &["Managed headers Write"],
        "the schema lists the group of every ruleset phase",
    ),
];

/// Operations that only read although they use `POST`.
pub const READS: &[&str] = &[
    "POST /graphql",
    "POST /accounts/{}/storage/kv/namespaces/{}/bulk/get",
    "POST /accounts/{}/vectorize/indexes/{}/query",
    "POST /accounts/{}/vectorize/indexes/{}/get-by-ids",
    "POST /accounts/{}/vectorize/v2/indexes/{}/query",
    "POST /accounts/{}/vectorize/v2/indexes/{}/get_by_ids",
    "POST /accounts/{}/analytics_engine/sql",
    "POST @/logs/explorer/query/sql",
    "POST /accounts/{}/analytics/query/{}/summary",
    "POST /accounts/{}/analytics/query/{}/timeseries",
    "POST /accounts/{}/analytics/query/{}/top-n",
    "POST /accounts/{}/analytics/query/data-security/**",
    "POST /accounts/{}/request-tracer/trace",
    "POST /accounts/{}/flagship/apps/{}/evaluate",
    "POST /zones/{}/ssl/analyze",
    "POST /zones/{}/token_validation/rules/preview",
    "POST /radar/datasets/download",
];

/// Writes for which Cloudflare documents that the read group suffices. A read group is taken from
/// every other write, so that holding `… Read` never changes anything.
pub const READ_GROUP_SUFFICES: &[&str] = &[
    "POST /accounts/{}/ai/run/**",
    "POST /accounts/{}/ai/tomarkdown",
    "POST /accounts/{}/urlscanner/**",
    "WRITE /accounts/{}/workers/scripts/{}/tails/**",
];

/// Which condition of a grant speaks about which operations; the first match counts.
pub const FAMILIES: &[(&str, Family)] = &[
    ("ANY /zones/{}/dns_records/**", Family::Dns),
    ("POST /zones/{}/purge_cache", Family::Purge),
    ("POST /zones/{}/invalidate_cache", Family::Purge),
    ("POST /zones/{}/environments/{}/purge_cache", Family::Purge),
    (
        "POST /zones/{}/environments/{}/invalidate_cache",
        Family::Purge,
    ),
    ("ANY /zones", Family::Zones),
    ("ANY /zones/{}", Family::Zones),
    ("ANY /accounts", Family::Accounts),
    ("ANY /accounts/{}", Family::Accounts),
    ("ANY /accounts/{}/workers/**", Family::Workers),
    ("ANY /zones/{}/workers/**", Family::Workers),
    ("ANY /zones/{}/settings", Family::Settings),
    ("ANY /zones/{}/settings/*", Family::Settings),
    ("ANY @/rulesets/**", Family::Rulesets),
    ("ANY /accounts/{}/rules/lists/**", Family::Lists),
    ("ANY /accounts/{}/storage/kv/**", Family::Kv),
    ("ANY /accounts/{}/r2/**", Family::R2),
    ("ANY /accounts/{}/event_notifications/r2/**", Family::R2),
    ("POST /graphql", Family::Graphql),
    ("ANY /accounts/{}/d1/**", Family::D1),
];

/// The groups each condition speaks about, by how their names begin.
const GROUP_FAMILIES: &[(Family, &[&str])] = &[
    (Family::Dns, &["DNS Read", "DNS Write"]),
    (Family::Purge, &["Cache Purge"]),
    (Family::Zones, &["Zone Read", "Zone Write"]),
    (Family::Accounts, &["Account Settings "]),
    (
        Family::Workers,
        &["Workers Scripts ", "Workers Routes ", "Workers Tail "],
    ),
    (Family::Settings, &["Zone Settings "]),
    (
        Family::Rulesets,
        &[
            "Account Rulesets ",
            "Account WAF ",
            "Cache Settings ",
            "Config Settings ",
            "Custom Errors ",
            "Dynamic URL Redirects ",
            "HTTP DDoS Managed Ruleset ",
            "L4 DDoS Managed Ruleset ",
            "Magic Firewall Read",
            "Magic Firewall Write",
            "Managed headers ",
            "Mass URL Redirects ",
            "Origin ",
            "Response Compression ",
            "Sanitize ",
            "Select Configuration ",
            "Transform Rules ",
            "Zone Transform Rules ",
            "Zone WAF ",
        ],
    ),
    (Family::Lists, &["Account Rule Lists "]),
    (Family::Kv, &["Workers KV Storage "]),
    (Family::R2, &["Workers R2 Storage "]),
    (
        Family::Graphql,
        &["Analytics Read", "Account Analytics Read"],
    ),
    (Family::D1, &["D1 Read", "D1 Write"]),
];

/// The condition that speaks about what a group opens.
#[must_use]
pub fn group_family(group: &str) -> Family {
    GROUP_FAMILIES
        .iter()
        .find(|(_, names)| names.iter().any(|name| group.starts_with(name)))
        .map_or(Family::None, |(family, _)| *family)
}

/// Bodies this build judges.
pub const JUDGED: &[(&str, Judged)] = &[
    ("POST /zones/{}/dns_records", Judged::DnsRecord),
    ("PUT,PATCH /zones/{}/dns_records/{}", Judged::DnsRecordWrite),
    ("POST /zones/{}/dns_records/batch", Judged::DnsBatch),
    ("POST /zones/{}/purge_cache", Judged::Purge),
    ("POST /zones/{}/invalidate_cache", Judged::Purge),
    ("POST /zones/{}/environments/{}/purge_cache", Judged::Purge),
    (
        "POST /zones/{}/environments/{}/invalidate_cache",
        Judged::Purge,
    ),
    ("POST /zones", Judged::ZoneCreate),
    ("PATCH /zones/{}/settings", Judged::Settings),
    ("POST,PUT,PATCH @/rulesets/**", Judged::Ruleset),
    (
        "PUT,DELETE /accounts/{}/storage/kv/namespaces/{}/bulk",
        Judged::KvBulk,
    ),
    (
        "POST /accounts/{}/storage/kv/namespaces/{}/bulk/delete",
        Judged::KvBulk,
    ),
    (
        "POST /accounts/{}/storage/kv/namespaces/{}/bulk/get",
        Judged::KvBulk,
    ),
    ("POST /zones/{}/pagerules", Judged::PageRule),
    ("PUT,PATCH /zones/{}/pagerules/{}", Judged::PageRule),
    ("POST /zones/{}/load_balancers", Judged::LoadBalancer),
    (
        "PUT,PATCH /zones/{}/load_balancers/{}",
        Judged::LoadBalancer,
    ),
];

/// Operations whose body, or opaque id, reaches beyond what the path names and which this build
/// cannot judge: refused unless a grant names the operation.
pub const UNJUDGEABLE: &[(&str, &str)] = &[
    // Workers: metadata binds other resources, names other scripts, or takes over hostnames.
    (
        "PUT /accounts/{}/workers/scripts/{}",
        "bindings, tail consumers, routes of the upload",
    ),
    (
        "PUT /accounts/{}/workers/scripts/{}/content",
        "new code under the bindings of the old",
    ),
    (
        "POST /accounts/{}/workers/scripts/{}/versions",
        "bindings of the upload",
    ),
    ("PATCH /accounts/{}/workers/scripts/{}/settings", "bindings"),
    (
        "PATCH /accounts/{}/workers/scripts/{}/script-settings",
        "tail consumers name other scripts",
    ),
    (
        "PUT /accounts/{}/workers/services/{}/environments/{}/content",
        "new code under old bindings",
    ),
    (
        "PATCH /accounts/{}/workers/services/{}/environments/{}/settings",
        "bindings",
    ),
    (
        "PUT /accounts/{}/workers/dispatch/namespaces/{}/scripts/{}",
        "bindings of the upload",
    ),
    (
        "PUT /accounts/{}/workers/dispatch/namespaces/{}/scripts/{}/content",
        "new code, old bindings",
    ),
    (
        "PATCH /accounts/{}/workers/dispatch/namespaces/{}/scripts/{}/settings",
        "bindings",
    ),
    (
        "POST /accounts/{}/workers/workers",
        "the body names the script and its tail consumers",
    ),
    (
        "PUT,PATCH /accounts/{}/workers/workers/{}",
        "the body can rename it and name tail consumers",
    ),
    (
        "POST /accounts/{}/workers/workers/{}/versions",
        "bindings of the upload",
    ),
    (
        "PATCH /accounts/{}/workers/workers/{}/versions/latest",
        "bindings of the upload",
    ),
    (
        "PUT /accounts/{}/workers/domains",
        "the body names the zone, the hostname and the script",
    ),
    (
        "DELETE /accounts/{}/workers/domains/{}",
        "the id hides the zone and the hostname",
    ),
    ("POST /zones/{}/workers/routes", "the body names the script"),
    (
        "POST /zones/{}/web3/hostnames",
        "the body names a host, which gets DNS records",
    ),
    ("POST @/access/apps", "the body names a host of any zone"),
    ("PUT @/access/apps/{}", "the body names a host of any zone"),
    (
        "POST /accounts/{}/dns_settings/views",
        "the body names zones",
    ),
    (
        "PATCH /accounts/{}/dns_settings/views/{}",
        "the body names zones",
    ),
    (
        "PATCH /accounts/{}/builds/triggers/{}/environment_variables",
        "changes what a build does with a stored token",
    ),
    (
        "POST /accounts/{}/builds/workers/{}/deploy_hooks",
        "makes an address that deploys",
    ),
    (
        "PUT /accounts/{}/builds/workers/{}/deploy_hooks/{}",
        "makes an address that deploys",
    ),
    (
        "PUT /zones/{}/workers/routes/{}",
        "the body names the script",
    ),
    (
        "POST,PATCH /accounts/{}/workers/observability/destinations/**",
        "sends logs to any address",
    ),
    (
        "POST /accounts/{}/workers/observability/metricsexport",
        "sends metrics to any address",
    ),
    (
        "PUT /accounts/{}/workflows/{}",
        "the body names the script and class",
    ),
    // Products that run code or move data on behalf of what their body names.
    (
        "POST,PUT /accounts/{}/queues/{}/consumers/**",
        "the body names the consuming script",
    ),
    (
        "POST,PATCH /accounts/{}/event_subscriptions/subscriptions/**",
        "names any source and queue",
    ),
    (
        "POST,PUT,PATCH /accounts/{}/pipelines/**",
        "sources, sinks and their credentials",
    ),
    (
        "POST /accounts/{}/pages/projects",
        "bindings, source repository",
    ),
    (
        "PATCH /accounts/{}/pages/projects/{}",
        "bindings, environment",
    ),
    (
        "POST /accounts/{}/pages/projects/{}/deployments",
        "functions under the project's bindings",
    ),
    (
        "POST /accounts/{}/pages/projects/{}/domains",
        "takes a hostname of any zone",
    ),
    (
        "POST /accounts/{}/pages/projects/{}/source",
        "names the repository that is deployed",
    ),
    (
        "POST,PATCH /accounts/{}/containers/applications/**",
        "image, environment and secrets",
    ),
    (
        "POST /accounts/{}/containers/registries",
        "credentials from the secrets store",
    ),
    (
        "PUT /accounts/{}/containers/instance-groups/{}",
        "image, environment and secrets",
    ),
    (
        "POST,PATCH /accounts/{}/builds/triggers",
        "build commands run under a stored API token",
    ),
    (
        "PATCH /accounts/{}/builds/triggers/{}",
        "build commands run under a stored API token",
    ),
    (
        "PUT /accounts/{}/builds/repos/connections",
        "names the repository that is built",
    ),
    (
        "POST,PATCH /accounts/{}/builds/workers/**",
        "names the script, repository and token",
    ),
    (
        "POST /accounts/{}/ai-gateway/gateways/{}/custom-domains",
        "takes a hostname of any zone",
    ),
    (
        "POST /accounts/{}/connectivity/directory/services",
        "opens a way into a private network",
    ),
    (
        "PUT /accounts/{}/connectivity/directory/services/{}",
        "opens a way into a private network",
    ),
    (
        "POST /accounts/{}/d1/database/{}/import",
        "the SQL is in a file",
    ),
    (
        "POST /accounts/{}/r2/temp-access-credentials",
        "the body names buckets and rights",
    ),
    (
        "POST,PUT /accounts/{}/r2/buckets/{}/domains/custom/**",
        "takes a hostname of any zone",
    ),
    (
        "PUT /accounts/{}/r2/buckets/{}/sippy",
        "credentials of a foreign bucket",
    ),
    // Zones: rules whose phase or effect is in the body.
    (
        "PUT /zones/{}/snippets/**",
        "code that runs on every matching hostname",
    ),
    (
        "PUT /zones/{}/cloud_connector/rules",
        "sends matching traffic to a foreign bucket",
    ),
    (
        "WRITE /zones/{}/settings/zaraz/**",
        "code that runs in every page",
    ),
    (
        "POST,PUT /zones/{}/spectrum/apps/**",
        "makes DNS names and opens ports",
    ),
    (
        "PATCH /zones/{}",
        "the body can change the plan, which is billed",
    ),
    (
        "POST,PUT /zones/{}/email/routing/rules/**",
        "hands mail to scripts and addresses",
    ),
    // Logs that leave the account.
    (
        "POST,PUT @/logpush/jobs/**",
        "sends logs to any destination",
    ),
    ("POST @/logpush/ownership", "writes to any destination"),
    (
        "POST /zones/{}/logpush/edge/jobs",
        "opens a stream of requests",
    ),
    // Accounts: bodies that name other accounts, zones or hostnames.
    (
        "POST,PATCH /accounts/{}/addressing/address_maps",
        "members are zones and accounts",
    ),
    (
        "WRITE /accounts/{}/addressing/address_maps/{}/accounts/{}",
        "names a second account",
    ),
    (
        "POST /accounts/{}/addressing/prefixes/{}/delegations",
        "names another account",
    ),
    (
        "POST /accounts/{}/rum/site_info",
        "injects a script into a zone named in the body",
    ),
    (
        "PUT /accounts/{}/rum/site_info/{}",
        "injects a script into a zone named in the body",
    ),
    (
        "PATCH /accounts/{}/pay-per-crawl/zones_can_be_enabled",
        "the body names zones",
    ),
    (
        "WRITE /accounts/{}/shares/**",
        "shares resources with other accounts",
    ),
    (
        "POST /graphql",
        "the query names the accounts and zones it reads",
    ),
];

/// Operations by which a caller can widen what it, or anybody, may do: refused above policy and
/// reached only by a grant naming them.
pub const ESCALATES: &[(&str, &str)] = &[
    (
        "WRITE /user/tokens/**",
        "a token can be minted with any right of the user",
    ),
    (
        "WRITE /accounts/{}/tokens/**",
        "a token can be minted with any right in the account",
    ),
    ("WRITE /accounts/{}/members/**", "members hold roles"),
    (
        "WRITE /accounts/{}/iam/**",
        "groups of users and resources carry roles",
    ),
    (
        "WRITE /accounts/{}/scim/**",
        "provisions members and their groups",
    ),
    (
        "WRITE /accounts/{}/sso_connectors/**",
        "decides who can sign in",
    ),
    (
        "WRITE /accounts/{}/oauth_clients/**",
        "applications act with a user's rights",
    ),
    (
        "POST /accounts/{}/client-secret",
        "a credential of an application",
    ),
    (
        "WRITE /accounts/{}/builds/tokens/**",
        "stores or removes an API token builds act with",
    ),
    ("WRITE /memberships/**", "accepts or leaves accounts"),
    ("WRITE /user/invites/**", "accepts memberships"),
    ("WRITE /user/organizations/**", "leaves organizations"),
    ("PATCH /user", "the user the credential acts as"),
    ("POST /accounts", "makes an account"),
    ("DELETE /accounts/{}", "deletes an account"),
    (
        "PUT /accounts/{}",
        "switches the account's two-factor and API access rules",
    ),
    (
        "POST /accounts/move",
        "moves accounts between organizations",
    ),
    (
        "POST /accounts/{}/move",
        "moves the account between organizations",
    ),
    (
        "WRITE /organizations/**",
        "organizations hold accounts and their members",
    ),
];

/// Operations that no permission group reaches although the schema lists some.
pub const NAMED_ONLY: &[(&str, &str)] = &[
    ("DELETE /zones/{}", "a zone with all in it cannot be undone"),
    (
        "PATCH,DELETE /zones/{}/dnssec",
        "switching DNSSEC off can take the zone off the air",
    ),
    (
        "PUT,PATCH /zones/{}/email/routing",
        "changes MX and SPF records under a settings group",
    ),
    (
        "POST /zones/{}/email/routing/disable",
        "changes MX and SPF records under a settings group",
    ),
    (
        "POST /zones/{}/email/routing/enable",
        "changes MX and SPF records under a settings group",
    ),
    (
        "POST /zones/{}/email/routing/unlock",
        "unlocks MX and SPF records under a settings group",
    ),
    (
        "WRITE /zones/{}/email/routing/dns",
        "changes MX and SPF records under a settings group",
    ),
    (
        "DELETE /accounts/{}/workers/workers/{}",
        "the id may be that of any Worker, Zonekeeper's own among them",
    ),
    (
        "WRITE /accounts/{}/workers/subdomain",
        "the address of every Worker of the account, Zonekeeper's own among them",
    ),
    (
        "DELETE /zones/{}/workers/routes/{}",
        "the id hides the route, which may be Zonekeeper's own",
    ),
    (
        "POST /zones/{}/secondary_dns/force_axfr",
        "replaces the records of the zone under a settings group",
    ),
    (
        "WRITE /zones/{}/secondary_dns/incoming",
        "replaces the records of the zone under a settings group",
    ),
    (
        "GET /accounts/{}/browser-rendering/devtools/browser/{}/json/activate/{}",
        "changes something although it is a GET",
    ),
    (
        "GET /accounts/{}/browser-rendering/devtools/browser/{}/json/close/{}",
        "changes something although it is a GET",
    ),
    (
        "WRITE /zones/{}/url_normalization",
        "decides what every path rule sees; any ruleset group fits",
    ),
];

/// Operations whose answer holds a secret or a link that acts as one.
pub const REVEALS_SECRET: &[&str] = &[
    "POST /user/tokens",
    "PUT /user/tokens/{}/value",
    "POST /accounts/{}/tokens",
    "PUT /accounts/{}/tokens/{}/value",
    "POST /accounts/{}/oauth_clients/**",
    "POST /accounts/{}/client-secret",
    "POST @/access/service_tokens",
    "POST /accounts/{}/access/service_tokens/{}/rotate",
    "POST /accounts/{}/access/service_tokens/{}/refresh",
    "POST @/access/apps",
    "POST @/access/identity_providers",
    "GET /accounts/{}/cfd_tunnel/{}/token",
    "POST /accounts/{}/cfd_tunnel",
    "POST /accounts/{}/cfd_tunnel/{}/management",
    "GET /accounts/{}/warp_connector/{}/token",
    "POST /accounts/{}/warp_connector",
    "ANY /accounts/{}/challenges/widgets/**",
    "ANY /accounts/{}/secondary_dns/tsigs/**",
    "ANY /accounts/{}/magic/ipsec_tunnels/**",
    "POST /accounts/{}/mnm/vpc-flows/token",
    "GET /accounts/{}/devices/{}/override_codes",
    "GET /accounts/{}/devices/registrations/{}/override_codes",
    "POST /accounts/{}/calls/apps",
    "POST /accounts/{}/calls/turn_keys",
    "ANY /accounts/{}/stream/live_inputs/**",
    "POST /accounts/{}/stream/keys",
    "ANY /accounts/{}/stream/webhook",
    "POST /accounts/{}/stream/{}/token",
    "POST /accounts/{}/stream/direct_upload",
    "ANY /accounts/{}/images/v1/keys/**",
    "POST /accounts/{}/images/v1/direct_upload",
    "POST /accounts/{}/images/v2/direct_upload",
    "POST /accounts/{}/v2/images/direct_upload",
    "ANY /accounts/{}/builds/workers/{}/deploy_hooks/**",
    "POST /accounts/{}/artifacts/namespaces/{}/repos/**",
    "POST /accounts/{}/artifacts/namespaces/{}/tokens",
    "POST /accounts/{}/containers/registries/{}/credentials",
    "POST /accounts/{}/r2/temp-access-credentials",
    "POST /accounts/{}/ai-search/tokens",
    "POST /accounts/{}/moq/relays/{}/tokens",
    "POST /accounts/{}/realtime/kit/apps",
    "ANY /accounts/{}/realtime/kit/{}/meetings/{}/participants/**",
    "ANY /accounts/{}/realtime/kit/{}/webhooks/**",
    "POST /accounts/{}/workers/scripts/{}/assets-upload-session",
    "POST /accounts/{}/workers/dispatch/namespaces/{}/scripts/{}/assets-upload-session",
    "POST /accounts/{}/workers/assets/upload",
    "POST /accounts/{}/workers/scripts/{}/tails",
    "POST /accounts/{}/pages/projects/{}/deployments/{}/tails",
    "GET /accounts/{}/pages/projects/{}/upload-token",
    "POST @/custom_pages/preview_tokens",
    "POST /zones/{}/logpush/edge/jobs",
];

/// Parameters whose value is free text, percent-encoded where need be. One to a template.
pub const FREE_TEXT: &[(&str, &str)] = &[
    (
        "ANY /accounts/{}/storage/kv/namespaces/{}/values/{}",
        "key_name",
    ),
    (
        "ANY /accounts/{}/storage/kv/namespaces/{}/metadata/{}",
        "key_name",
    ),
    ("ANY /accounts/{}/r2/buckets/{}/objects/{}", "object_key"),
    (
        "ANY /accounts/{}/artifacts/namespaces/{}/repos/{}/raw/{}/{}",
        "path",
    ),
    (
        "ANY /accounts/{}/teamnet/routes/network/{}",
        "ip_network_encoded",
    ),
    ("POST /accounts/{}/ai/run/{}", "model_name"),
    ("ANY /zones/{}/speed_api/pages/{}/**", "url"),
    ("ANY /zones/{}/speed_api/schedule/{}", "url"),
];

/// Applies every correction.
///
/// # Errors
/// When a selector is malformed or selects nothing.
pub fn apply(rows: &mut [Row]) -> Result<(), SourceError> {
    for (from, to) in GROUP_RENAMES {
        let groups = rows.iter_mut().flat_map(|row| &mut row.groups);
        groups
            .filter(|group| group == from)
            .for_each(|group| (*to).clone_into(group));
    }
    for selector in READS {
        each(rows, selector, |row| row.write = false)?;
    }
    let mut keep_read_group = HashSet::new();
    for selector in READ_GROUP_SUFFICES {
        each(rows, selector, |row| {
            keep_read_group.insert((row.method, row.template.clone()));
        })?;
    }
    for row in rows.iter_mut().filter(|row| row.write) {
        if !keep_read_group.contains(&(row.method, row.template.clone())) {
            row.groups.retain(|group| !only_reads(group));
        }
    }
    for (selector, scope, _) in SCOPES {
        each(rows, selector, |row| row.scope = *scope)?;
    }
    for (selector, groups, _) in GROUPS {
        each(rows, selector, |row| {
            row.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        })?;
    }
    for (selector, family) in FAMILIES.iter().rev() {
        each(rows, selector, |row| row.family = *family)?;
    }
    for (selector, _) in UNJUDGEABLE {
        each(rows, selector, |row| row.judged = Some(Judged::Unjudgeable))?;
    }
    for (selector, judged) in JUDGED {
        each(rows, selector, |row| row.judged = Some(*judged))?;
    }
    for (selector, _) in ESCALATES {
        each(rows, selector, |row| row.escalates = true)?;
    }
    for (selector, _) in NAMED_ONLY {
        each(rows, selector, |row| row.named_only = true)?;
    }
    for selector in REVEALS_SECRET {
        each(rows, selector, |row| row.reveals_secret = true)?;
    }
    for (selector, param) in FREE_TEXT {
        each(rows, selector, |row| row.free_text = Some(param))?;
    }
    Ok(())
}

/// Whether a group's name says that it only reads.
fn only_reads(group: &str) -> bool {
    group.ends_with(" Read") || group.contains("- Read ")
}

fn each(
    rows: &mut [Row],
    selector: &str,
    mut change: impl FnMut(&mut Row),
) -> Result<(), SourceError> {
    for shape in expand(selector) {
        let parsed = Selector::parse(&shape)?;
        let mut hit = false;
        for row in rows.iter_mut().filter(|row| parsed.selects(row)) {
            change(row);
            hit = true;
        }
        if !hit {
            return Err(SourceError::Correction {
                selector: shape,
                message: "it selects nothing".to_owned(),
            });
        }
    }
    Ok(())
}

/// Writes out a leading `@`.
fn expand(selector: &str) -> Vec<String> {
    match selector.split_once(" @") {
        Some((methods, path)) => {
            vec![
                format!("{methods} /accounts/{{}}{path}"),
                format!("{methods} /zones/{{}}{path}"),
            ]
        }
        None => vec![selector.to_owned()],
    }
}

/// Which rows a correction is about.
struct Selector {
    methods: Vec<Method>,
    segments: Vec<String>,
    below: bool,
}

impl Selector {
    fn parse(text: &str) -> Result<Self, SourceError> {
        let malformed = || SourceError::Correction {
            selector: text.to_owned(),
            message: "it is not methods and a path".to_owned(),
        };
        let (methods, path) = text.split_once(' ').ok_or_else(malformed)?;
        let methods = match methods {
            "ANY" => Method::ALL.to_vec(),
            "WRITE" => Method::ALL
                .into_iter()
                .filter(|method| *method != Method::Get)
                .collect(),
            list => list
                .split(',')
                .map(|method| Method::from_str(method).ok_or_else(malformed))
                .collect::<Result<_, _>>()?,
        };
        let (path, below) = path
            .strip_suffix("/**")
            .map_or((path, false), |path| (path, true));
        let segments = path.strip_prefix('/').ok_or_else(malformed)?;
        Ok(Self {
            methods,
            segments: segments.split('/').map(str::to_owned).collect(),
            below,
        })
    }

    fn selects(&self, row: &Row) -> bool {
        let shape = blank(&row.template);
        let mut segments = shape.split('/').skip(1);
        self.methods.contains(&row.method)
            && self.segments.iter().all(|wanted| {
                segments
                    .next()
                    .is_some_and(|segment| wanted == "*" || wanted == segment)
            })
            && (self.below || segments.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::build::read;

    fn check(selector: &str, method: Method, path: &str, expected: bool) {
        let rows = read(&format!("{method}\t{path}\t\t\t0\tother\tnone")).unwrap();
        let selected = Selector::parse(selector).unwrap().selects(&rows[0]);
        assert_eq!(selected, expected, "{selector} on {method} {path}");
    }

    #[test]
    fn selectors_select_by_method_and_shape() {
        check("ANY /a/{}", Method::Get, "/a/{b}", true);
        check("ANY /a/{}", Method::Get, "/a/b", false);
        check("ANY /a/*", Method::Get, "/a/b", true);
        check("ANY /a/{}", Method::Get, "/a/{b}/c", false);
        check("ANY /a/**", Method::Get, "/a", true);
        check("ANY /a/**", Method::Get, "/a/{b}/c", true);
        check("ANY /a/**", Method::Get, "/ab", false);
        check("WRITE /a", Method::Get, "/a", false);
        check("WRITE /a", Method::Delete, "/a", true);
        check("PUT,PATCH /a", Method::Patch, "/a", true);
        check("PUT,PATCH /a", Method::Post, "/a", false);
    }

    #[test]
    fn selector_that_selects_nothing_is_an_error() {
        let mut rows = read("GET\t/a\t\t\t0\tother\tnone").unwrap();
        for (selector, message) in [
            ("GET /b", "correction \"GET /b\": it selects nothing"),
            ("/b", "correction \"/b\": it is not methods and a path"),
            (
                "FETCH /a",
                "correction \"FETCH /a\": it is not methods and a path",
            ),
            (
                "GET @/a",
                "correction \"GET /accounts/{}/a\": it selects nothing",
            ),
        ] {
            assert_eq!(
                each(&mut rows, selector, |_| ()).unwrap_err().to_string(),
                message
            );
        }
    }
}
