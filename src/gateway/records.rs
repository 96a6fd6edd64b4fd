//! Writes of DNS records by id and in bulk: before they are decided it is seen what they do to which
//! record, and afterwards whether that is what came of them.
//!
//! 1. The turn at the zone's records is taken, so that no other write by id comes between. An import
//!    takes none, as it only adds.
//! 2. Where anything depends on the records (a grant limited to some, or a host name of Zonekeeper's
//!    own in that zone) those that are changed are looked up, and the call is worked out on them
//!    ([`Edits`]): each record before and after is decided.
//! 3. Once the call was sent, its result is compared with what was allowed.
//!
//! INVARIANT: a write by id or a batch is sent only while the turn is its own. Meanwhile nothing is
//! awaited of its caller, and no look begins that could not be acted upon.

mod edits;
mod upload;

use std::collections::BTreeSet;

use super::call::{Step, Targeted};
use super::deps::{Gateway, World};
use super::judge::dns::Draft;
use super::judge::{JUDGED_BODY_CAP, OwnedFacts};
use super::refusal::{Code, Refusal};
use super::zone_lock::{LOCK_SEND_WITHIN_MS, Lease, LockFault};
use crate::catalog::Method;
use crate::model::ZoneId;
use crate::store::Database;
use crate::upstream::{Answer, Envelope, Exchange, SHORT_DEADLINE_MS};
use edits::Around;

pub(super) use edits::{Edits, Shown, is_own, own_record};
pub(super) use upload::MULTIPART;

/// Records that are looked up one by one; of more, the zone's list is read.
const MAX_SINGLE_LOOKUPS: usize = 5;
/// Records in a page of that list.
const RECORDS_PER_PAGE: u32 = 5_000;
/// Pages of that list that are read at the most.
const MAX_LOOKUP_PAGES: usize = 10;

/// How a call writes records that are there already, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    ById,
    Batch,
    Import,
}

impl Form {
    fn of(call: &Targeted<'_>) -> Option<Self> {
        let operation = call.checked.resolved.as_ref()?.operation;
        match (operation.method(), operation.template()) {
            (Method::Get, _) => None,
            (_, "/zones/{zone_id}/dns_records/{dns_record_id}") => Some(Self::ById),
            (_, "/zones/{zone_id}/dns_records/batch") => Some(Self::Batch),
            (_, "/zones/{zone_id}/dns_records/import") => Some(Self::Import),
            _ => None,
        }
    }
}

/// Whether the records that a call writes are looked up when it is made.
pub(super) fn are_looked_up(call: &Targeted<'_>) -> bool {
    Form::of(call).is_some()
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// The zone's name, where the call must be judged by it, and whether the zone holds a host name of
    /// Zonekeeper's own. Cloudflare is asked only for callers whom some grant may allow the call.
    pub(super) async fn judged_zone(
        &self,
        call: &Targeted<'_>,
    ) -> Result<Option<(String, bool)>, Refusal> {
        let Some(zone) = call.zone else {
            return Ok(None);
        };
        let snapshot = &call.call.snapshot;
        let own = self.settings.own.as_ref();
        let may_hold_own = own.is_some_and(|own| !own.hostnames.is_empty());
        let asks = may_hold_own && call.is_about_records() && call.may_be_allowed();
        let name = if call.is_conditioned() || asks {
            Some(self.zone_name(call, zone).await?)
        } else {
            self.known_zone_name(snapshot, zone)
        };
        Ok(name.map(|name| {
            let holds_own = call.is_about_records() && self.holds_own(&name);
            (name, holds_own)
        }))
    }

    /// Takes the turn and looks up what the call changes, where that takes it. The turn is put into
    /// `held` as soon as it was got.
    pub(super) async fn look_up_records<'a>(
        &self,
        mut call: Targeted<'a>,
        held: &mut Option<Lease>,
    ) -> Step<Targeted<'a>> {
        let Some(form) = Form::of(&call) else {
            return Ok(call);
        };
        // What is refused anyway is refused without.
        if self.settings.own.is_none() || !(call.is_conditioned() || call.may_be_allowed()) {
            return Ok(call);
        }
        match self.look(&mut call, form, held).await {
            Ok(()) => Ok(call),
            Err(refusal) => Err(call.stop(refusal)),
        }
    }

    async fn look(
        &self,
        call: &mut Targeted<'_>,
        form: Form,
        held: &mut Option<Lease>,
    ) -> Result<(), Refusal> {
        let (Some(zone), Some(own)) = (call.zone, &self.settings.own) else {
            return Ok(());
        };
        let judged = self.judged_zone(call).await?;
        if form != Form::Import {
            if call.judgement.is_none() {
                // The body of a deletion says nothing, but one that came slowly would keep the turn.
                let body = self.body(call, JUDGED_BODY_CAP).await?;
                call.attached.form = Some(body.into());
            }
            let name = judged.as_ref().map(|(name, _)| name);
            let lease = self.turn(zone, name).await?;
            call.send_by = Some(lease.since.plus_ms(LOCK_SEND_WITHIN_MS));
            *held = Some(lease);
        }
        let Some((zone_name, holds_own)) = judged else {
            return Ok(());
        };
        if !call.is_conditioned() && !holds_own {
            return Ok(());
        }
        let around = Around {
            zone_name: &zone_name,
            own_hosts: &own.hostnames,
        };
        if form == Form::Import {
            let bytes = self.body(call, JUDGED_BODY_CAP).await?;
            let content_type = call.call.received.inbound.content_type;
            let (upload, records) = upload::judge(content_type, &bytes, &zone_name)?;
            call.upload = Some(upload);
            call.edits = Some(Edits::import(records, around));
            return Ok(());
        }
        let mut drafts = match call
            .judgement
            .as_mut()
            .map(|judgement| &mut judgement.facts)
        {
            Some(OwnedFacts::Drafts(drafts)) => std::mem::take(drafts),
            // A deletion has nothing in its body that counts.
            _ => vec![Draft::default()],
        };
        let found = if form == Form::ById {
            let params = call
                .checked
                .resolved
                .as_ref()
                .map(|resolved| resolved.params);
            let id = params.and_then(|params| params.get_named("dns_record_id"));
            for draft in &mut drafts {
                draft.id = id.map(str::to_owned);
            }
            let found = self.record(call, zone, id.unwrap_or_default()).await?;
            found.into_iter().collect()
        } else {
            let ids: BTreeSet<&str> = drafts.iter().filter_map(|d| d.id.as_deref()).collect();
            self.records_of(call, zone, ids).await?
        };
        let method = call.call.verb.method;
        call.edits = Some(Edits::work_out(&drafts, method, found, around)?);
        Ok(())
    }

    async fn turn(&self, zone: ZoneId, zone_name: Option<&String>) -> Result<Lease, Refusal> {
        let zone_name = zone_name.map_or_else(|| format!("zone {zone}"), String::clone);
        self.world.lock_zone(zone).await.map_err(|fault| {
            let message = match fault {
                LockFault::Busy => format!(
                    "Other changes of DNS records of {zone_name} took too long, so nothing was sent to Cloudflare; try again in a few seconds."
                ),
                LockFault::Unreachable => format!(
                    "The object that lets changes of DNS records of {zone_name} through one by one cannot be reached, so nothing was sent to Cloudflare."
                ),
            };
            self.world.log(&format!("lock {zone}: {fault:?}"));
            Refusal::new(Code::StoreUnavailable, message)
        })
    }

    /// The record with this id; `None` when Cloudflare says that there is none.
    async fn record(
        &self,
        call: &Targeted<'_>,
        zone: ZoneId,
        id: &str,
    ) -> Result<Option<Shown>, Refusal> {
        let path = format!("/zones/{zone}/dns_records/{id}");
        let answer = self.looked(call, path).await?;
        let envelope = answer.body.as_deref().and_then(Envelope::parse);
        let succeeded = envelope.as_ref().and_then(|envelope| envelope.success);
        match (answer.head.status.as_u16(), succeeded) {
            (200, Some(true)) => {
                let record = envelope.and_then(|envelope| envelope.result);
                let shown = record.and_then(|record| Shown::read(&record));
                let shown = shown.filter(|shown| shown.id == id);
                shown.map(Some).ok_or_else(|| not_looked_up(&answer))
            }
            (404, Some(false)) => Ok(None),
            _ => Err(not_looked_up(&answer)),
        }
    }

    /// The records with these ids that there are. One that the list does not show may have moved
    /// between its pages, so it is asked for by itself. A caller who sees some records only is told the
    /// same of those it may not see, so for it what the list does not show is not there.
    async fn records_of(
        &self,
        call: &Targeted<'_>,
        zone: ZoneId,
        mut ids: BTreeSet<&str>,
    ) -> Result<Vec<Shown>, Refusal> {
        let mut found = Vec::with_capacity(ids.len());
        if ids.len() > MAX_SINGLE_LOOKUPS {
            self.find_listed(call, zone, &mut ids, &mut found).await?;
        }
        if ids.len() > MAX_SINGLE_LOOKUPS {
            if call.is_conditioned() {
                return Ok(found);
            }
            let message = format!(
                "The zone's list of DNS records shows {} of the batch not: name at most {MAX_SINGLE_LOOKUPS} such records in one.",
                ids.len()
            );
            return Err(Refusal::new(Code::InvalidParams, message));
        }
        for id in ids {
            found.extend(self.record(call, zone, id).await?);
        }
        Ok(found)
    }

    /// Moves those of `ids` that the zone's list shows to `found`.
    async fn find_listed(
        &self,
        call: &Targeted<'_>,
        zone: ZoneId,
        ids: &mut BTreeSet<&str>,
        found: &mut Vec<Shown>,
    ) -> Result<(), Refusal> {
        #[derive(serde::Deserialize)]
        struct Identified<'r> {
            id: &'r str,
        }
        let mut seen = 0;
        for page in 1..=MAX_LOOKUP_PAGES {
            let target =
                format!("/zones/{zone}/dns_records?page={page}&per_page={RECORDS_PER_PAGE}");
            let answer = self.looked(call, target).await?;
            let listed = answer.body.as_deref().and_then(Envelope::parse);
            let listed = listed
                .and_then(Envelope::into_page)
                .filter(|_| answer.head.status.is_success())
                .ok_or_else(|| not_looked_up(&answer))?;
            let total = listed.info.total_count;
            let total = total.ok_or_else(|| not_looked_up(&answer))?;
            seen += listed.items.len() as u64;
            let is_last = listed.items.is_empty() || seen >= total;
            for item in listed.items {
                let id = serde_json::from_str::<Identified<'_>>(item.get());
                if id.is_ok_and(|record| ids.remove(record.id)) {
                    found.push(Shown::read(&item).ok_or_else(|| not_looked_up(&answer))?);
                }
            }
            if ids.is_empty() || is_last {
                return Ok(());
            }
        }
        Err(Refusal::new(
            Code::InvalidParams,
            format!(
                "The zone has too many DNS records to be looked through for a batch: change at most {MAX_SINGLE_LOOKUPS} records by id in one."
            ),
        ))
    }

    async fn looked(&self, call: &Targeted<'_>, target: String) -> Result<Answer, Refusal> {
        call.check_turn(self.world.now())?;
        let exchange = Exchange {
            deadline_ms: SHORT_DEADLINE_MS,
            ..Exchange::get(target)
        };
        let answer = self.look_upstream(call, &exchange).await;
        answer.map_err(|refusal| {
            let why = refusal.message.trim_end_matches('.');
            Refusal::new(
                refusal.code,
                format!("{why} when the records were looked up, so nothing was sent."),
            )
        })
    }
}

fn not_looked_up(answer: &Answer) -> Refusal {
    Refusal::new(
        Code::UpstreamUnknown,
        format!(
            "Cloudflare answered {} when the records were looked up, so the call could not be judged and nothing was sent.",
            answer.head.status.as_u16()
        ),
    )
}
