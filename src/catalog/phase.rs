//! Phases of rulesets, and the permission groups that open each.
//!
//! The schema lists every group on every ruleset operation, whatever the phase; Cloudflare decides
//! by the phase (<https://developers.cloudflare.com/ruleset-engine/reference/phases-list/>). So does
//! this: a group of redirects opens no firewall.

use super::group::{GroupSet, group_named};

/// Each phase with the groups, less their ` Write`, of which any one opens it.
const PHASES: &[(&str, &[&str])] = &[
    ("ddos_l4", &["L4 DDoS Managed Ruleset"]),
    ("ddos_l7", &["HTTP DDoS Managed Ruleset"]),
    ("http_config_settings", &["Config Settings"]),
    ("http_custom_errors", &["Custom Errors"]),
    ("http_log_custom_fields", &["Logs"]),
    ("http_ratelimit", FIREWALL),
    ("http_request_cache_settings", &["Cache Settings"]),
    ("http_request_dynamic_redirect", &["Dynamic URL Redirects"]),
    ("http_request_firewall_custom", FIREWALL),
    ("http_request_firewall_managed", FIREWALL),
    ("http_request_late_transform", TRANSFORM),
    ("http_request_origin", &["Origin"]),
    ("http_request_redirect", &["Mass URL Redirects"]),
    ("http_request_sanitize", &["Sanitize"]),
    ("http_request_sbfm", &["Bot Management"]),
    (
        "http_request_select_configuration",
        &["Select Configuration"],
    ),
    ("http_request_transform", TRANSFORM),
    ("http_response_cache_settings", &["Cache Settings"]),
    ("http_response_compression", &["Response Compression"]),
    ("http_response_firewall_managed", FIREWALL),
    ("http_response_headers_transform", TRANSFORM),
    ("magic_transit", &["Magic Firewall"]),
    ("magic_transit_ids_managed", &["Magic Firewall"]),
    ("magic_transit_managed", &["Magic Firewall"]),
    ("magic_transit_ratelimit", &["Magic Firewall"]),
];

const FIREWALL: &[&str] = &["Zone WAF", "Account WAF", "Account Rulesets"];
const TRANSFORM: &[&str] = &["Zone Transform Rules", "Transform Rules"];

/// The phases whose rules can send, rewrite or show to others what comes in at a host name.
const REROUTING: &[&str] = &[
    "http_config_settings",
    "http_custom_errors",
    "http_log_custom_fields",
    "http_request_dynamic_redirect",
    "http_request_late_transform",
    "http_request_origin",
    "http_request_redirect",
    "http_request_transform",
    "http_response_headers_transform",
];

/// The write groups that open a phase; none for a phase that is not known here.
#[must_use]
pub fn phase_groups(phase: &str) -> GroupSet {
    let mut set = GroupSet::EMPTY;
    let Ok(at) = PHASES.binary_search_by_key(&phase, |(name, _)| name) else {
        return set;
    };
    for name in PHASES.get(at).map_or(&[][..], |(_, groups)| groups) {
        if let Some(group) = group_named(&format!("{name} Write")) {
            set.insert(group);
        }
    }
    set
}

/// Whether rules of the phase can take requests of a host name elsewhere, or show them to others. An
/// unknown phase may.
#[must_use]
pub fn phase_reroutes(phase: &str) -> bool {
    REROUTING.contains(&phase)
        || PHASES
            .binary_search_by_key(&phase, |(name, _)| name)
            .is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_in_order_and_name_groups_that_exist() {
        assert!(PHASES.is_sorted_by_key(|(name, _)| name));
        for (phase, groups) in PHASES {
            for name in *groups {
                assert!(
                    group_named(&format!("{name} Write")).is_some(),
                    "{phase}: {name}"
                );
            }
            assert_eq!(phase_groups(phase).len(), groups.len(), "{phase}");
        }
        for phase in REROUTING {
            assert!(!phase_groups(phase).is_empty(), "{phase}");
        }
        assert!(phase_groups("http_request_new").is_empty());
        assert!(phase_reroutes("http_request_new"));
        assert!(!phase_reroutes("http_request_firewall_custom"));
    }
}
