//! What a call deletes, as `max_deletes_per_hour` counts it.
//!
//! A `DELETE` of one thing is one. A call that deletes many (a `DELETE` of a collection, a `POST` to what is
//! called a deletion) says in its body which, and each is one, as is each of the `deletes` of a batch. Where
//! it says so otherwise, in its query or not at all, it cannot be counted. What a `PUT` or `PATCH` leaves out
//! is not counted.

use super::call::Targeted;
use crate::catalog::{Method, path_exists};
use crate::model::json::Json;

/// How a call says what it deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletes {
    Nothing,
    /// What its path names.
    One,
    /// What its body lists.
    Listed,
    /// What its body lists under `deletes`.
    Batch,
}

impl Deletes {
    /// What a call of `method` on `path` deletes, the template of which is known or not.
    fn of(method: Method, path: &str, template: Option<&str>) -> Self {
        // A parameter may be called anything.
        let last = template.unwrap_or(path).rsplit('/').next();
        let last = last.unwrap_or_default();
        match (method, template) {
            (Method::Delete, Some(template)) => {
                let has_parts = || path_exists(&format!("{path}/x"));
                let is_bulk = matches!(last, "bulk" | "batch");
                if !template.ends_with('}') && (is_bulk || has_parts()) {
                    Self::Listed
                } else {
                    Self::One
                }
            }
            // What it means is not known.
            (Method::Delete, None) => Self::Listed,
            (Method::Post, _) if last.contains("delete") => Self::Listed,
            (Method::Post | Method::Put | Method::Patch, _) if last == "batch" => Self::Batch,
            _ => Self::Nothing,
        }
    }
}

/// How many things a body lists: it is a list, or has one and nothing else. `None` when that cannot be told;
/// nobody knows what an empty list means.
fn listed(body: &Json) -> Option<usize> {
    let list = match body.as_object() {
        Some([(_, list)]) => list,
        Some(_) => return None,
        None => body,
    };
    let count = list.as_array()?.len();
    (count > 0).then_some(count)
}

impl Targeted<'_> {
    fn deletes(&self) -> Deletes {
        let resolved = self.checked.resolved.as_ref();
        let template = resolved.map(|resolved| resolved.operation.template());
        Deletes::of(self.call.verb.method, &self.checked.path, template)
    }

    /// Whether what it deletes is in its body, and a grant that may allow it counts that.
    pub(super) fn counts_listed(&self) -> bool {
        matches!(self.deletes(), Deletes::Listed | Deletes::Batch) && {
            let mut counted = Vec::new();
            let request = self.request(self.named.facts(), self.call.received.arrived);
            self.policy().count(&request, &mut counted);
            let mut counted = counted.iter();
            counted.any(|(_, counts)| counts.max_deletes_per_hour.is_some())
        }
    }

    /// How much it deletes; `None` when that cannot be told.
    pub(super) fn deletions(&self) -> Option<u32> {
        let body = self.judgement.as_ref().map(|judgement| &judgement.body);
        let count = match self.deletes() {
            Deletes::Nothing => 0,
            Deletes::One => 1,
            Deletes::Listed if self.checked.query.is_some() => return None,
            Deletes::Listed => listed(body?)?,
            Deletes::Batch => match body?.get("deletes") {
                None | Some(Json::Null) => 0,
                Some(deletes) => deletes.as_array()?.len(),
            },
        };
        u32::try_from(count).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{operations, resolve};

    #[track_caller]
    fn check(line: &str, expected: Deletes) {
        let (method, path) = line.split_once(' ').unwrap();
        let method = Method::from_str(method).unwrap();
        let template = resolve(method, path).map(|found| found.operation.template());
        assert!(template.is_some(), "{line}");
        assert_eq!(Deletes::of(method, path, template), expected, "{line}");
    }

    #[test]
    fn a_call_says_what_it_deletes_by_its_path_or_in_its_body() {
        for line in [
            "DELETE /zones/z",
            "DELETE /zones/z/dns_records/r",
            "DELETE /zones/z/dnssec",
            "DELETE /accounts/a/rules/lists/l",
            "DELETE /accounts/a/workers/scripts/s",
            "DELETE /accounts/a/storage/kv/namespaces/n/values/k",
            "DELETE /accounts/a/r2/buckets/b/objects/a%2Fb",
        ] {
            check(line, Deletes::One);
        }
        for line in [
            "DELETE /accounts/a/rules/lists/l/items",
            "DELETE /accounts/a/secrets_store/stores/s/secrets",
            "DELETE /accounts/a/storage/kv/namespaces/n/bulk",
            "POST /accounts/a/storage/kv/namespaces/n/bulk/delete",
            "DELETE /accounts/a/infrastructure/targets/batch",
            "POST /accounts/a/infrastructure/targets/batch_delete",
            "DELETE /accounts/a/magic/routes",
            "DELETE /accounts/a/r2/buckets/b/objects",
            "DELETE /accounts/a/workers/dispatch/namespaces/d/scripts",
            "DELETE /zones/z/firewall/rules",
            "POST /accounts/a/vectorize/v2/indexes/i/delete_by_ids",
        ] {
            check(line, Deletes::Listed);
        }
        check("POST /zones/z/dns_records/batch", Deletes::Batch);
        check("POST /zones/z/dns_records/import", Deletes::Nothing);
        for line in [
            "PUT /accounts/a/storage/kv/namespaces/n/bulk",
            "PUT /accounts/a/storage/kv/namespaces/n/values/batch",
        ] {
            check(line, Deletes::Nothing);
        }
        assert_eq!(Deletes::of(Method::Delete, "/new/x", None), Deletes::Listed);
    }

    #[test]
    fn whatever_is_deleted_counts_as_something() {
        for operation in operations().filter(|operation| operation.method() == Method::Delete) {
            let path = operation.template();
            assert_ne!(
                Deletes::of(Method::Delete, path, Some(path)),
                Deletes::Nothing
            );
        }
    }

    #[test]
    fn only_one_list_and_nothing_else_can_be_counted() {
        let count = |body: &str| listed(&crate::model::json::parse(body.as_bytes()).unwrap());
        assert_eq!(count(r#"["a","b"]"#), Some(2));
        assert_eq!(
            count(r#"{"items":[{"id":"a"},{"id":"b"},{"id":"c"}]}"#),
            Some(3)
        );
        for body in [
            "[]",
            "{}",
            r#"{"ids":[]}"#,
            r#"{"ids":"a"}"#,
            r#"{"ids":["a"],"all":true}"#,
            r#""a""#,
            "null",
        ] {
            assert_eq!(count(body), None, "{body}");
        }
    }
}
