//! Custom domains: host names that a script answers by itself.
//!
//! NOTES "Workers": `/accounts/{a}/workers/domains`. Below a script wrangler first asks for a
//! changeset and then puts the records (*wrangler*). The DNS record and the certificate that
//! Cloudflare makes for a domain are not modelled. 100114 and 100116 are *seen*; 100117 is a
//! hypothesis.

use serde_json::{Value, json};

use super::{names, no_such_worker, script, validation};
use crate::api::{ApiError, Outcome, Reply};
use crate::router::Route;
use crate::world::Call;
use crate::zones::Zone;

/// A host name and the script that answers it.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    id: String,
    pub(super) account: String,
    zone_id: String,
    zone_name: String,
    hostname: String,
    pub(super) service: String,
    enabled: bool,
    previews_enabled: bool,
}

/// The operations of this module.
pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/accounts/{account_id}/workers/domains";
    const ONE: &str = "/accounts/{account_id}/workers/domains/{domain_id}";
    const RECORDS: &str = "/accounts/{account_id}/workers/domains/records";
    const RECORD: &str = "/accounts/{account_id}/workers/domains/records/{domain_id}";
    const CHANGESET: &str =
        "/accounts/{account_id}/workers/scripts/{script_name}/domains/changeset";
    const OF_SCRIPT: &str = "/accounts/{account_id}/workers/scripts/{script_name}/domains/records";
    vec![
        ("GET", ALL, list),
        ("PUT", ALL, put),
        ("GET", ONE, get),
        ("DELETE", ONE, delete),
        ("GET", RECORDS, list),
        ("GET", RECORD, get),
        ("POST", CHANGESET, changeset),
        ("PUT", OF_SCRIPT, put_records),
    ]
}

impl Domain {
    fn render(&self) -> Value {
        json!({
            "id": self.id, "hostname": self.hostname, "service": self.service,
            "zone_id": self.zone_id, "zone_name": self.zone_name, "environment": "production",
            "enabled": self.enabled, "previews_enabled": self.previews_enabled,
        })
    }
}

/// What a body asks for.
#[derive(Debug)]
struct Wanted {
    hostname: String,
    zone_id: String,
    zone_name: String,
    enabled: bool,
    previews_enabled: bool,
}

/// Reads one origin: a host name within a zone of the account.
fn read(call: &Call<'_>, account: &str, origin: &Value) -> Result<Wanted, ApiError> {
    let text = |member: &str| origin.get(member).and_then(Value::as_str);
    let hostname = text("hostname").unwrap_or_default().to_ascii_lowercase();
    let fits = |zone: &&Zone| {
        zone.account_id == account
            && zone.contains(&hostname)
            && text("zone_id").is_none_or(|id| zone.id == id)
            && text("zone_name").is_none_or(|name| zone.name == name)
    };
    let zone = call.world.zones.iter().find(fits);
    let zone = zone
        .filter(|_| !hostname.contains(['*', '/']))
        .ok_or_else(|| {
            validation(format!(
                "hostname {hostname:?} does not belong to a zone of the account"
            ))
        })?;
    let flag = |member: &str, default| {
        origin
            .get(member)
            .and_then(Value::as_bool)
            .unwrap_or(default)
    };
    Ok(Wanted {
        enabled: flag("enabled", true),
        previews_enabled: flag("previews_enabled", false),
        zone_id: zone.id.clone(),
        zone_name: zone.name.clone(),
        hostname,
    })
}

fn at<'a>(call: &'a Call<'_>, hostname: &str) -> Option<&'a Domain> {
    let mut domains = call.world.workers.domains.iter();
    domains.find(|domain| domain.hostname == hostname)
}

/// Whether DNS records of one's own stand where a domain's record would have to.
fn has_records(call: &Call<'_>, wanted: &Wanted) -> bool {
    call.world.zones.get(&wanted.zone_id).is_some_and(|zone| {
        zone.records
            .named(&wanted.hostname)
            .any(|record| matches!(record.draft.kind, "A" | "AAAA" | "CNAME"))
    })
}

fn list(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let filters = ["hostname", "service", "zone_id", "zone_name"];
    let found: Vec<Value> = call
        .world
        .workers
        .domains
        .iter()
        .filter(|domain| domain.account == account)
        .map(Domain::render)
        .filter(|domain| {
            filters.iter().all(|filter| {
                let wanted = call.query.non_empty(filter);
                wanted.is_none_or(|wanted| domain.get(*filter) == Some(&json!(wanted)))
            })
        })
        .collect();
    Ok(Reply::ok(&found))
}

fn place(call: &Call<'_>) -> Result<usize, ApiError> {
    let account = call.account()?;
    let id = call.param("domain_id");
    call.world
        .workers
        .domains
        .iter()
        .position(|domain| domain.account == account && domain.id == id)
        .ok_or_else(|| ApiError::new(404, 100_114, "The domain does not exist."))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let place = place(call)?;
    let domain = call.world.workers.domains.get(place);
    Ok(Reply::ok(&domain.map(Domain::render)))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let place = place(call)?;
    call.world.workers.domains.remove(place);
    Ok(Reply::ok(&Value::Null))
}

/// Attaches a host name to a service, in place of what it was attached to before.
fn put(call: &mut Call<'_>) -> Outcome {
    let account = call.account()?;
    let body = call.json()?;
    let service = body
        .get("service")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if call.world.workers.script(&account, service).is_none() {
        return Err(no_such_worker());
    }
    let wanted = read(call, &account, &body)?;
    if at(call, &wanted.hostname).is_some_and(|domain| domain.account != account) {
        return Err(in_use(&wanted.hostname));
    }
    if at(call, &wanted.hostname).is_none() && has_records(call, &wanted) {
        return Err(has_foreign_records(&wanted.hostname));
    }
    let domain = attach(call, &account, service, wanted);
    Ok(Reply::ok(&domain))
}

fn in_use(hostname: &str) -> ApiError {
    ApiError::new(
        409,
        100_116,
        format!("Hostname {hostname} is already in use."),
    )
}

fn has_foreign_records(hostname: &str) -> ApiError {
    ApiError::new(
        409,
        100_117,
        format!("Hostname {hostname} already has externally managed DNS records."),
    )
}

fn attach(call: &mut Call<'_>, account: &str, service: &str, wanted: Wanted) -> Value {
    let old = at(call, &wanted.hostname).map(|domain| domain.id.clone());
    let id = old.unwrap_or_else(|| call.world.ids.next_id());
    let domain = Domain {
        id,
        account: account.to_owned(),
        service: service.to_owned(),
        zone_id: wanted.zone_id,
        zone_name: wanted.zone_name,
        hostname: wanted.hostname,
        enabled: wanted.enabled,
        previews_enabled: wanted.previews_enabled,
    };
    let answer = domain.render();
    let domains = &mut call.world.workers.domains;
    domains.retain(|other| other.hostname != domain.hostname);
    domains.push(domain);
    answer
}

fn origins(call: &Call<'_>, account: &str, list: Option<&Value>) -> Result<Vec<Wanted>, ApiError> {
    list.and_then(Value::as_array)
        .ok_or_else(|| validation("origins must be a list"))?
        .iter()
        .map(|origin| read(call, account, origin))
        .collect()
}

/// What putting these domains would change.
fn changeset(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let (account, name) = names(call)?;
    let body = call.json()?;
    let wanted = origins(call, &account, Some(&body))?;
    let (mut added, mut updated, mut conflicting) = (Vec::new(), Vec::new(), Vec::new());
    for one in &wanted {
        let mut shown = json!({
            "hostname": one.hostname, "service": name, "zone_id": one.zone_id,
            "zone_name": one.zone_name, "previews_enabled": one.previews_enabled,
        });
        let to = if let Some(domain) = at(call, &one.hostname) {
            if let Some(map) = shown.as_object_mut() {
                let modified = domain.service != name
                    || domain.enabled != one.enabled
                    || domain.previews_enabled != one.previews_enabled;
                map.insert("id".to_owned(), json!(domain.id));
                map.insert("service".to_owned(), json!(domain.service));
                map.insert("modified".to_owned(), json!(modified));
            }
            &mut updated
        } else if has_records(call, one) {
            &mut conflicting
        } else {
            &mut added
        };
        to.push(shown);
    }
    let replaces = call.query.get("replace_state") == Some("true");
    let domains = call.world.workers.domains.iter();
    let removed: Vec<Value> = domains
        .filter(|domain| replaces && domain.account == account && domain.service == name)
        .filter(|domain| wanted.iter().all(|one| one.hostname != domain.hostname))
        .map(Domain::render)
        .collect();
    Ok(Reply::ok(&json!({
        "added": added, "removed": removed, "updated": updated, "conflicting": conflicting,
    })))
}

/// Makes the script's domains these and, with `override_scope`, no others.
fn put_records(call: &mut Call<'_>) -> Outcome {
    script(call)?;
    let (account, name) = names(call)?;
    let body = call.json()?;
    let says = |flag: &str| body.get(flag) == Some(&json!(true));
    let wanted = origins(call, &account, body.get("origins"))?;
    for one in &wanted {
        match at(call, &one.hostname) {
            Some(domain) => {
                let is_own = domain.account == account && domain.service == name;
                let may = domain.account == account && says("override_existing_origin");
                if !is_own && !may {
                    return Err(in_use(&one.hostname));
                }
            }
            None if has_records(call, one) && !says("override_existing_dns_record") => {
                return Err(has_foreign_records(&one.hostname));
            }
            None => {}
        }
    }
    if says("override_scope") {
        let domains = &mut call.world.workers.domains;
        domains.retain(|domain| domain.account != account || domain.service != name);
    }
    let answer: Vec<Value> = wanted
        .into_iter()
        .map(|one| attach(call, &account, &name, one))
        .collect();
    Ok(Reply::ok(&answer))
}
