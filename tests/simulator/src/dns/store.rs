//! The records of one zone, and the rules between records.
//!
//! INVARIANT: `by_id` and `by_name` index exactly the records in `rows`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::api::ApiError;
use crate::clock::Now;
use crate::dns::record::{Draft, Record, Scope, comparable};
use crate::ids::Ids;

/// The records of a zone, in the order they were made. Cloning it is cheap enough to serve as the
/// start of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct ZoneRecords {
    zone: String,
    rows: BTreeMap<u64, Arc<Record>>,
    by_id: HashMap<String, u64>,
    by_name: HashMap<String, Vec<u64>>,
    next: u64,
}

/// NOTES "Error codes": 81044 (404), DNS record does not exist.
fn missing() -> ApiError {
    ApiError::new(404, 81_044, "Record does not exist.")
}

/// Whether two records of one name say the same, whatever their TTL and proxying.
fn same_value(a: &Draft, b: &Draft) -> bool {
    a.kind == b.kind
        && a.priority == b.priority
        && comparable(a.kind, &a.content) == comparable(b.kind, &b.content)
}

impl ZoneRecords {
    /// No records.
    pub(crate) fn new(zone: &str) -> Self {
        Self {
            zone: zone.to_owned(),
            rows: BTreeMap::new(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            next: 0,
        }
    }

    /// Every record, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.rows.values()
    }

    /// How many records there have ever been.
    pub(crate) fn made(&self) -> u64 {
        self.next
    }

    /// The records of one full name, oldest first.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Arc<Record>> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|row| self.rows.get(row))
    }

    /// Whether a record of this name, type and value exists.
    pub(crate) fn holds(&self, draft: &Draft) -> bool {
        self.named(&draft.name)
            .any(|record| same_value(draft, &record.draft))
    }

    /// The record with this id.
    ///
    /// # Errors
    /// 81044 when there is none.
    pub(crate) fn get(&self, id: &str) -> Result<&Arc<Record>, ApiError> {
        self.row(id).map(|(_, record)| record)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The code of the conflict with a record that exists.
    pub(crate) fn create(
        &mut self,
        draft: Draft,
        ids: &mut Ids,
        now: Now,
    ) -> Result<Arc<Record>, ApiError> {
        self.check(&draft, None)?;
        let record = Arc::new(Record::new(ids.next_id(), draft, None, now));
        self.insert(Arc::clone(&record));
        Ok(record)
    }

    /// Stores a record as it is, for seeding.
    pub(crate) fn insert(&mut self, record: Arc<Record>) {
        let row = self.next;
        self.next += 1;
        self.by_id.insert(record.id.clone(), row);
        self.by_name
            .entry(record.draft.name.clone())
            .or_default()
            .push(row);
        self.rows.insert(row, record);
    }

    /// Replaces the record with this id by what `body` says, wholly (PUT) or in part (PATCH).
    ///
    /// # Errors
    /// 81044, a validation error, a conflict, or a change of type.
    pub(crate) fn update(
        &mut self,
        id: &str,
        body: &Map<String, Value>,
        partial: bool,
        scope: Scope<'_>,
        now: Now,
    ) -> Result<Arc<Record>, ApiError> {
        let (row, old) = self.row(id).map(|(row, old)| (row, Arc::clone(old)))?;
        let draft = Draft::read(body, partial.then_some(&old.draft), scope)?;
        if draft.kind != old.draft.kind {
            // NOTES "DNS records": the type of an existing record can no longer be changed by
            // PUT or PATCH. The code is a hypothesis.
            return Err(ApiError::bad(
                1004,
                "DNS Validation Error: the type of a DNS record cannot be changed; delete it and create a new one.",
            ));
        }
        self.check(&draft, Some(row))?;
        let record = Arc::new(Record::new(old.id.clone(), draft, Some(&old), now));
        if record.draft.name != old.draft.name {
            self.unname(&old.draft.name, row);
            self.by_name
                .entry(record.draft.name.clone())
                .or_default()
                .push(row);
        }
        self.rows.insert(row, Arc::clone(&record));
        Ok(record)
    }

    /// Removes the record with this id.
    ///
    /// # Errors
    /// 81044 when there is none.
    pub(crate) fn delete(&mut self, id: &str) -> Result<Arc<Record>, ApiError> {
        let (row, record) = self.row(id).map(|(row, r)| (row, Arc::clone(r)))?;
        self.rows.remove(&row);
        self.by_id.remove(id);
        self.unname(&record.draft.name, row);
        Ok(record)
    }

    fn row(&self, id: &str) -> Result<(u64, &Arc<Record>), ApiError> {
        let row = *self.by_id.get(id).ok_or_else(missing)?;
        let record = self.rows.get(&row).ok_or_else(missing)?;
        Ok((row, record))
    }

    fn unname(&mut self, name: &str, row: u64) {
        if let Some(rows) = self.by_name.get_mut(name) {
            rows.retain(|r| *r != row);
            if rows.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    /// The rules between records of one name.
    ///
    /// NOTES "DNS records": A/AAAA cannot share a name with CNAME; NS cannot share with others.
    /// NOTES "Error codes": 81053, 81054, 81057, 81058. The apex may have NS records beside
    /// others, and DS belongs beside NS. 81056 is a hypothesis.
    fn check(&self, draft: &Draft, except: Option<u64>) -> Result<(), ApiError> {
        let address = |kind: &str| matches!(kind, "A" | "AAAA");
        let below_apex = draft.name != self.zone;
        for row in self.by_name.get(&draft.name).into_iter().flatten() {
            let Some(other) = self.rows.get(row).filter(|_| Some(*row) != except) else {
                continue;
            };
            let other = &other.draft;
            if draft.kind == "CNAME" && (address(other.kind) || other.kind == "CNAME") {
                return Err(ApiError::bad(
                    81_053,
                    "An A, AAAA, or CNAME record with that host already exists.",
                ));
            }
            if address(draft.kind) && other.kind == "CNAME" {
                return Err(ApiError::bad(
                    81_054,
                    "A CNAME record with that host already exists.",
                ));
            }
            let delegation = |a: &str, b: &str| a == "NS" && !matches!(b, "NS" | "DS");
            if below_apex
                && (delegation(draft.kind, other.kind) || delegation(other.kind, draft.kind))
            {
                return Err(ApiError::bad(
                    81_056,
                    "NS records cannot exist on the same name as any other record type.",
                ));
            }
            let same_value = draft.kind == other.kind
                && draft.priority == other.priority
                && comparable(draft.kind, &draft.content) == comparable(other.kind, &other.content);
            if same_value {
                let identical = draft.ttl == other.ttl && draft.proxied == other.proxied;
                return Err(if identical {
                    ApiError::bad(81_058, "An identical record already exists.")
                } else {
                    ApiError::bad(81_057, "The record already exists.")
                });
            }
        }
        Ok(())
    }
}
