//! What a path names of a product: a setting, a phase, a list, a namespace and key, a bucket, a
//! script.

use super::OwnedFacts;
use crate::catalog::{Family, Resolved};
use crate::gateway::target::decode;
use crate::policy::{Thing, WorkerFacts, WorkerPart};

/// What the path of a call names, where it names something a condition can be about.
pub(in crate::gateway) fn of_path(resolved: Option<&Resolved<'_>>) -> OwnedFacts {
    let Some(resolved) = resolved else {
        return OwnedFacts::None;
    };
    let family = resolved.operation.family();
    let param = |name: &str| resolved.params.get_named(name);
    let thing = match family {
        Family::Settings => param("setting_id")
            .or_else(|| resolved.operation.template().split('/').nth(4))
            .map(|id| Thing::new(family, id)),
        Family::Rulesets => param("ruleset_phase").map(|phase| Thing::new(family, phase)),
        Family::Lists => param("list_id").map(|id| Thing::new(family, id)),
        Family::R2 => param("bucket_name").map(|name| Thing::new(family, name)),
        Family::Kv => param("namespace_id").map(|id| Thing {
            // A target whose key cannot be decoded was refused before.
            key: param("key_name").and_then(|key| decode(key).ok()),
            ..Thing::new(family, id)
        }),
        Family::Workers => {
            return script(resolved).map_or(OwnedFacts::None, |script| {
                OwnedFacts::Worker(WorkerFacts {
                    script,
                    parts: vec![WorkerPart::Script],
                })
            });
        }
        _ => None,
    };
    thing.map_or(OwnedFacts::None, |thing| OwnedFacts::Things(vec![thing]))
}

/// The script a path names; one in a dispatch namespace has that before its name, as it is another
/// than the script of the same name outside of it.
fn script(resolved: &Resolved<'_>) -> Option<String> {
    let param = |name: &str| resolved.params.get_named(name);
    // Where a path has an opaque id clients also send the name, and an id is the name of no script.
    let named = ["script_name", "service_name", "worker_id"];
    let script = named.into_iter().find_map(param)?;
    Some(match param("dispatch_namespace") {
        Some(namespace) => format!("{namespace}/{script}"),
        None => script.to_owned(),
    })
}
