//! Zones: list with filters, create, get, edit, delete, activation check.
//!
//! NOTES "Zones".

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::Now;
use crate::dns::{ZoneRecords, names};
use crate::page::{Page, ZONES};
use crate::query::Query;
use crate::router::Route;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones", list),
        ("POST", "/zones", create),
        ("GET", "/zones/{zone_id}", get),
        ("PATCH", "/zones/{zone_id}", edit),
        ("DELETE", "/zones/{zone_id}", delete),
        ("PUT", "/zones/{zone_id}/activation_check", activation_check),
    ]
}

/// The plan of a zone; it decides limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plan {
    /// Free Website.
    Free,
    /// Pro Website.
    Pro,
    /// Business Website.
    Business,
    /// Enterprise Website.
    Enterprise,
}

impl Plan {
    /// The short name, `legacy_id` in answers.
    pub(crate) fn legacy_id(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }

    /// The plan's object id (hypothesis: these are the public ones).
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Free => "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            Self::Pro => "1feeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            Self::Business => "2feeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            Self::Enterprise => "3feeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        }
    }

    fn render(self) -> Value {
        let (name, price) = match self {
            Self::Free => ("Free Website", 0),
            Self::Pro => ("Pro Website", 20),
            Self::Business => ("Business Website", 200),
            Self::Enterprise => ("Enterprise Website", 0),
        };
        json!({
            "id": self.id(), "name": name, "price": price, "currency": "USD",
            "frequency": if price == 0 { "" } else { "monthly" },
            "is_subscribed": self != Self::Free, "can_subscribe": false,
            "legacy_id": self.legacy_id(), "legacy_discount": false, "externally_managed": false,
        })
    }
}

/// One zone with its DNS records.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account_id: String,
    pub(crate) account_name: String,
    pub(crate) plan: Plan,
    pub(crate) status: &'static str,
    pub(crate) kind: String,
    pub(crate) paused: bool,
    pub(crate) vanity_name_servers: Vec<String>,
    pub(crate) created_on: String,
    pub(crate) modified_on: String,
    pub(crate) activated_on: Option<String>,
    pub(crate) records: ZoneRecords,
    /// The rendered answer. INVARIANT: up to date after every [`Zones::put`].
    json: String,
}

/// What a new zone starts from.
#[derive(Debug)]
pub(crate) struct NewZone {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account_id: String,
    pub(crate) account_name: String,
    pub(crate) plan: Plan,
    pub(crate) kind: String,
    pub(crate) active: bool,
    pub(crate) created: Now,
}

impl Zone {
    /// A zone without records.
    pub(crate) fn new(new: NewZone) -> Self {
        let created_on = new.created.rfc3339();
        Self {
            records: ZoneRecords::new(&new.name),
            id: new.id,
            name: new.name,
            account_id: new.account_id,
            account_name: new.account_name,
            plan: new.plan,
            status: if new.active { "active" } else { "pending" },
            kind: new.kind,
            paused: false,
            vanity_name_servers: Vec::new(),
            modified_on: created_on.clone(),
            activated_on: new.active.then(|| created_on.clone()),
            created_on,
            json: String::new(),
        }
    }

    /// Whether `host` (lower case) is the zone's name or below it.
    pub(crate) fn contains(&self, host: &str) -> bool {
        host.strip_suffix(self.name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The zone's assigned name servers.
    pub(crate) const NAME_SERVERS: [&'static str; 2] =
        ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"];

    fn render(&self) -> String {
        // NOTES "Zones": the fields of a zone.
        json!({
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "paused": self.paused,
            "type": self.kind,
            "development_mode": 0,
            "name_servers": Self::NAME_SERVERS,
            "original_name_servers": null,
            "original_registrar": null,
            "original_dnshost": null,
            "modified_on": self.modified_on,
            "created_on": self.created_on,
            "activated_on": self.activated_on,
            "vanity_name_servers": self.vanity_name_servers,
            "verification_key": null,
            "cname_suffix": null,
            "meta": {
                "step": 2, "custom_certificate_quota": u8::from(self.plan >= Plan::Business),
                "page_rule_quota": match self.plan { Plan::Free => 3, Plan::Pro => 20, Plan::Business => 50, Plan::Enterprise => 125 },
                "phishing_detected": false, "cdn_only": false, "dns_only": false, "foundation_dns": false,
            },
            "owner": {"id": null, "type": "user", "email": null, "name": null},
            "account": {"id": self.account_id, "name": self.account_name},
            "tenant": {"id": null, "name": null},
            "tenant_unit": {"id": null},
            "permissions": [
                "#zone:read", "#zone:edit", "#dns_records:read", "#dns_records:edit",
                "#cache_purge:edit", "#zone_settings:read", "#zone_settings:edit",
            ],
            "plan": self.plan.render(),
        })
        .to_string()
    }
}

/// All zones by id.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    by_id: BTreeMap<String, Zone>,
}

impl Zones {
    /// The zone with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Zone> {
        self.by_id.get(id)
    }

    /// The zone with this id, to change its records; other changes go through [`Zones::put`].
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Zone> {
        self.by_id.get_mut(id)
    }

    /// Stores a zone, new or changed.
    pub(crate) fn put(&mut self, mut zone: Zone) {
        zone.json = zone.render();
        self.by_id.insert(zone.id.clone(), zone);
    }

    /// Every zone, in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.by_id.values()
    }
}

/// One way a name can be asked for: `contains:x`, `starts_with:x`, … or plain equality.
///
/// NOTES "Zones": operators `contains:`, `starts_with:` …; the full list is in the SDK's schema.
fn text_matches(filter: &str, value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let Some((operator, wanted)) = filter.split_once(':') else {
        return lower == filter.to_ascii_lowercase();
    };
    let wanted_lower = wanted.to_ascii_lowercase();
    match operator {
        "equal" => lower == wanted_lower,
        "not_equal" => lower != wanted_lower,
        "starts_with" => lower.starts_with(&wanted_lower),
        "ends_with" => lower.ends_with(&wanted_lower),
        "contains" => lower.contains(&wanted_lower),
        "starts_with_case_sensitive" => value.starts_with(wanted),
        "ends_with_case_sensitive" => value.ends_with(wanted),
        "contains_case_sensitive" => value.contains(wanted),
        _ => false,
    }
}

const STATUSES: [&str; 4] = ["initializing", "pending", "active", "moved"];
const KINDS: [&str; 4] = ["full", "partial", "secondary", "internal"];

/// The filters of `GET /zones`.
fn selected<'a>(call: &'a Call<'_>) -> Result<Vec<&'a Zone>, ApiError> {
    let query: &Query = &call.query;
    let any = query.choice("match", &["all", "any"], "all")? == "any";
    let status = query
        .non_empty("status")
        .map(|_| query.choice("status", &STATUSES, ""))
        .transpose()?;
    let kinds: Option<Vec<&str>> = query.non_empty("type").map(|t| t.split(',').collect());
    if kinds.iter().flatten().any(|k| !KINDS.contains(k)) {
        return Err(crate::query::invalid("type"));
    }
    let keep = |zone: &&Zone| {
        // NOTES "Zones": internal excluded unless asked for.
        let kind_fits = kinds
            .as_ref()
            .map_or(zone.kind != "internal", |k| k.contains(&zone.kind.as_str()));
        let checks = [
            query.non_empty("name").map(|f| text_matches(f, &zone.name)),
            query
                .non_empty("account.id")
                .map(|id| id == zone.account_id),
            query
                .non_empty("account.name")
                .map(|f| text_matches(f, &zone.account_name)),
            status.map(|s| s == zone.status),
        ];
        let mut checks = checks.into_iter().flatten().peekable();
        let fits = if any && checks.peek().is_some() {
            checks.any(|c| c)
        } else {
            checks.all(|c| c)
        };
        kind_fits && fits
    };
    Ok(call.world.zones.iter().filter(keep).collect())
}

fn list(call: &mut Call<'_>) -> Outcome {
    let page = Page::read(&call.query, ZONES)?;
    let orders = ["name", "status", "account.id", "account.name", "plan.id"];
    let order = call.query.choice("order", &orders, "name")?;
    let direction = call.query.choice("direction", &["asc", "desc"], "asc")?;
    let mut zones = selected(call)?;
    zones.sort_by(|a, b| {
        let by = match order {
            "status" => a.status.cmp(b.status),
            "account.id" => a.account_id.cmp(&b.account_id),
            "account.name" => a.account_name.cmp(&b.account_name),
            "plan.id" => a.plan.id().cmp(b.plan.id()),
            _ => a.name.cmp(&b.name),
        };
        by.then_with(|| a.name.cmp(&b.name))
    });
    if direction == "desc" {
        zones.reverse();
    }
    let items: Vec<&str> = zones.iter().map(|z| z.json.as_str()).collect();
    Ok(page.reply(&items))
}

/// The zone of the path, for operations on the zone itself.
fn own<'a>(call: &'a Call<'_>) -> Result<&'a Zone, ApiError> {
    call.world
        .zones
        .get(call.param("zone_id"))
        .ok_or_else(ApiError::unauthorized)
}

fn get(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::raw_result(&own(call)?.json))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let body = call.object()?;
    let name = body
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| ApiError::body("A zone needs a name"))?;
    // NOTES "Zones": name ≤ 253 characters. NOTES "Error codes": 1049, not a registered domain.
    let name = names::hostname(name)
        .filter(|n| n.contains('.') && !n.starts_with('*'))
        .ok_or_else(|| ApiError::bad(1049, format!("{name} is not a registered domain")))?;
    let kind = kind(&body)?.unwrap_or("full");
    let wanted = body.get("account").and_then(|a| a.get("id"));
    let account = match wanted.map(|id| id.as_str().unwrap_or_default()) {
        None => call.world.accounts.first(),
        Some(id) => call.world.accounts.iter().find(|a| a.id == id),
    }
    .ok_or_else(ApiError::forbidden)?
    .clone();
    if call.world.zones.iter().any(|z| z.name == name) {
        // NOTES "Error codes": 1061 (400), zone already exists.
        return Err(ApiError::bad(1061, format!("{name} already exists")));
    }
    let zone = Zone::new(NewZone {
        id: call.world.ids.next_id(),
        name,
        account_id: account.id,
        account_name: account.name,
        plan: Plan::Free,
        kind: kind.to_owned(),
        active: false,
        created: call.now,
    });
    let id = zone.id.clone();
    call.world.zones.put(zone);
    call.params.push(("zone_id", id));
    get(call)
}

/// `type` of a zone in a body.
fn kind(body: &Map<String, Value>) -> Result<Option<&'static str>, ApiError> {
    match body.get("type") {
        None => Ok(None),
        Some(value) => KINDS
            .iter()
            .find(|k| value.as_str() == Some(**k))
            .map(|k| Some(*k))
            .ok_or_else(|| ApiError::body("type must be full, partial, secondary or internal")),
    }
}

fn edit(call: &mut Call<'_>) -> Outcome {
    let mut zone = own(call)?.clone();
    let body = call.object()?;
    let fields = ["paused", "type", "vanity_name_servers"];
    // NOTES "Zones": one field at a time (hypothesis).
    if body.keys().filter(|k| fields.contains(&k.as_str())).count() != 1 {
        return Err(ApiError::body(
            "Exactly one of paused, type and vanity_name_servers can be changed at a time",
        ));
    }
    if let Some(paused) = body.get("paused") {
        zone.paused = paused
            .as_bool()
            .ok_or_else(|| ApiError::body("paused must be true or false"))?;
    }
    if let Some(kind) = kind(&body)? {
        kind.clone_into(&mut zone.kind);
    }
    if let Some(servers) = body.get("vanity_name_servers") {
        zone.vanity_name_servers = serde_json::from_value(servers.clone())
            .map_err(|_| ApiError::body("vanity_name_servers must be a list of names"))?;
    }
    zone.modified_on = call.now.rfc3339();
    call.world.zones.put(zone);
    get(call)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = own(call)?.id.clone();
    call.world.zones.by_id.remove(&id);
    // NOTES "Zones": the result of DELETE is `{id}`.
    Ok(Reply::ok(&json!({"id": id})))
}

/// Re-checks the name servers; in the simulator they are always right, so a pending zone becomes
/// active at once.
fn activation_check(call: &mut Call<'_>) -> Outcome {
    let mut zone = own(call)?.clone();
    let id = zone.id.clone();
    if zone.status == "pending" {
        zone.status = "active";
        zone.activated_on = Some(call.now.rfc3339());
        call.world.zones.put(zone);
    }
    Ok(Reply::ok(&json!({"id": id})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_filter_knows_every_operator() {
        let cases = [
            ("example.com", true),
            ("EXAMPLE.com", true),
            ("ample", false),
            ("equal:example.com", true),
            ("not_equal:example.com", false),
            ("starts_with:exam", true),
            ("ends_with:.com", true),
            ("contains:AMPLE", true),
            ("contains_case_sensitive:AMPLE", false),
            ("bogus:example.com", false),
        ];
        for (filter, expected) in cases {
            assert_eq!(text_matches(filter, "example.com"), expected, "{filter}");
        }
    }
}
