//! Certificates of a zone: custom ones, packs, and the switch of Universal SSL.
//!
//! NOTES "Certificates". Keys and certificates that a caller uploads are looked at as PEM only.
//! Codes are hypotheses.

use serde_json::{Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::clock::{Now, SECOND};
use crate::objects::{self, Members, Object, Product};
use crate::page::OTHERS;
use crate::router::Route;
use crate::seed::SEEDED_AT;
use crate::world::Call;

/// The operations of this module.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("GET", "/zones/{zone_id}/custom_certificates", |call| {
            objects::list(call, &CUSTOM)
        }),
        ("POST", "/zones/{zone_id}/custom_certificates", |call| {
            objects::create(call, &CUSTOM)
        }),
        (
            "GET",
            "/zones/{zone_id}/custom_certificates/{certificate_id}",
            |call| objects::get(call, &CUSTOM),
        ),
        (
            "DELETE",
            "/zones/{zone_id}/custom_certificates/{certificate_id}",
            |call| objects::delete(call, &CUSTOM),
        ),
        ("GET", "/zones/{zone_id}/ssl/certificate_packs", packs),
        ("GET", "/zones/{zone_id}/ssl/universal/settings", universal),
        (
            "PATCH",
            "/zones/{zone_id}/ssl/universal/settings",
            set_universal,
        ),
        ("GET", "/zones/{zone_id}/ssl/verification", verification),
    ]
}

/// The custom certificates of a zone.
pub(crate) const CUSTOM: Product = Product {
    kind: "custom_certificates",
    param: "certificate_id",
    uuid: false,
    times: ("uploaded_on", "modified_on"),
    paged: Some(OTHERS),
    missing: (404, 1101, "Invalid certificate identifier"),
    check,
};

/// Where the switch of Universal SSL is kept.
const UNIVERSAL: &str = "universal_ssl";
const DAY: i64 = 86_400 * SECOND;

/// NOTES "Certificates": what POST takes. The secret half is never given back.
fn check(body: &mut Object, call: &Call<'_>) -> Result<(), ApiError> {
    objects::defaults(
        body,
        &json!({"bundle_method": "ubiquitous", "type": "legacy_custom"}),
    );
    let pem = objects::text(body, "certificate", 1400)?;
    if !pem.starts_with("-----BEGIN CERTIFICATE-----")
        || !pem.trim_end().ends_with("-----END CERTIFICATE-----")
    {
        return Err(ApiError::bad(1400, "certificate must be PEM"));
    }
    let has_key = body
        .get("private_key")
        .and_then(Value::as_str)
        .is_some_and(|key| key.contains("PRIVATE KEY-----"));
    if !has_key && !body.get("custom_csr_id").is_some_and(Value::is_string) {
        return Err(ApiError::bad(
            1401,
            "private_key must be PEM, or custom_csr_id be given",
        ));
    }
    objects::word(
        body,
        "bundle_method",
        &["ubiquitous", "optimal", "force"],
        1402,
    )?;
    objects::word(body, "type", &["legacy_custom", "sni_custom"], 1402)?;
    let zone = call.zone()?;
    let expires = Now(call.now.0.saturating_add(90 * DAY));
    body.retain(|name, _| {
        matches!(
            name.as_str(),
            "bundle_method" | "type" | "geo_restrictions" | "policy"
        )
    });
    let facts = json!({
        "zone_id": zone.id, "hosts": [zone.name], "issuer": "Simulated CA", "signature": "SHA256WithRSA",
        "status": "active", "priority": 1, "expires_on": expires.rfc3339(),
    });
    objects::defaults(body, &facts);
    Ok(())
}

/// A certificate of the seed that ends on a given day.
pub(crate) fn seeded(id: &str, zone: (&str, &str), days: i64) -> Value {
    json!({
        "id": id, "zone_id": zone.0, "hosts": [zone.1, format!("*.{}", zone.1)], "issuer": "Simulated CA",
        "signature": "SHA256WithRSA", "status": "active", "bundle_method": "ubiquitous", "priority": 1,
        "type": "legacy_custom", "expires_on": Now(SEEDED_AT.0 + days * DAY).rfc3339(),
    })
}

fn is_universal_on(call: &Call<'_>) -> Result<bool, ApiError> {
    let zone = call.zone()?;
    let kept = call.world.objects.list(UNIVERSAL, &zone.id).first();
    Ok(kept.is_none_or(|switch| *switch.at("enabled") == true))
}

fn universal(call: &mut Call<'_>) -> Outcome {
    Ok(Reply::ok(&json!({"enabled": is_universal_on(call)?})))
}

fn set_universal(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?.id.clone();
    let body = call.object()?;
    let enabled = body.get("enabled").and_then(Value::as_bool);
    let enabled = enabled.ok_or_else(|| ApiError::bad(1402, "enabled must be true or false"))?;
    let switch = json!({"id": UNIVERSAL, "enabled": enabled});
    call.world.objects.put(UNIVERSAL, &zone, switch);
    universal(call)
}

/// The universal pack of the zone, while Universal SSL is on. It is renewed 30 days before its
/// end, every 60 days, so it is never about to end.
fn packs(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let period = 60 * DAY;
    let age = call.now.0.saturating_sub(SEEDED_AT.0).rem_euclid(period);
    let uploaded = call.now.0.saturating_sub(age);
    let id = zone.id.replacen('c', "9", 1);
    let pack = json!({
        "id": id, "type": "universal", "hosts": [zone.name, format!("*.{}", zone.name)],
        "status": "active", "validation_method": "txt", "validity_days": 90,
        "certificate_authority": "google", "primary_certificate": id,
        "certificates": [{
            "id": id, "hosts": [zone.name, format!("*.{}", zone.name)], "status": "active",
            "uploaded_on": Now(uploaded).rfc3339(), "expires_on": Now(uploaded.saturating_add(90 * DAY)).rfc3339(),
        }],
    });
    let packs = if is_universal_on(call)? {
        vec![pack]
    } else {
        Vec::new()
    };
    objects::page_of(call, &packs, Some(OTHERS))
}

fn verification(call: &mut Call<'_>) -> Outcome {
    let status = if is_universal_on(call)? {
        "active"
    } else {
        "deleted"
    };
    let zone = call.zone()?;
    Ok(Reply::ok(&json!([{
        "certificate_status": status, "brand_check": false, "hostname": zone.name,
        "signature": "ECDSAWithSHA256", "validation_method": "txt", "verification_status": status == "active",
    }])))
}
