//! Answers that are put together here: about the caller, and lists and records as far as the caller
//! may see them.

use http::StatusCode;

use super::call::Authorized;
use super::deps::{Gateway, World};
use super::list::{Paging, Step as ListStep, Walk, page_of};
use super::own::{self, AccountItem, IdItem, Own};
use super::records::Shown;
use super::refusal::{Code, Refusal};
use crate::dns;
use crate::model::{AccountId, Timestamp};
use crate::policy::{Facts, Pushdown, Visible};
use crate::store::Database;
use crate::upstream::{Answer, Envelope, Exchange};

/// Records asked for in one page of a list that is filtered here.
const RECORDS_PER_PAGE: u64 = 5_000;
/// Zones and accounts asked for in one page: Cloudflare's maximum.
const ZONES_PER_PAGE: u64 = 50;

/// Why a read that is judged here has no result.
pub(super) enum Failed {
    /// We refuse.
    Refused(Refusal),
    /// Cloudflare did.
    Upstream(Answer),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    pub(super) async fn answer_about_caller(
        &self,
        call: &Authorized<'_>,
        own: Own,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let caller = &call.call.call.caller;
        let policy = call.call.policy();
        let received = &call.call.call.received;
        let moment = received.moment(received.arrived);
        match own {
            Own::Verify => Ok(own::verify(caller)),
            Own::User => Ok(own::user(call)),
            Own::Zones => {
                let visible = policy.visible_zones(caller.principal, &moment);
                let only_name = match &visible {
                    Visible::Some(zones) => zones
                        .first()
                        .filter(|_| zones.len() == 1)
                        .map(|(_, name)| name.as_str()),
                    _ => None,
                };
                let sees = |id: &str| id.parse().is_ok_and(|id| visible.sees(&id));
                self.visible_list(call, "/zones", visible.at_most(), only_name, sees, calls)
                    .await
            }
            Own::Accounts => {
                let visible = policy.visible_accounts(caller.principal, &moment);
                let sees = |id: &str| id.parse().is_ok_and(|id| visible.sees(&id));
                self.visible_list(call, "/accounts", visible.at_most(), None, sees, calls)
                    .await
            }
            Own::Memberships => {
                let paging = Paging::read(call.call.checked.query, 20)?;
                let visible = policy.visible_accounts(caller.principal, &moment);
                let accounts = self.visible_accounts(&visible, calls).await?;
                let name = call.call.call.name();
                let memberships: Vec<_> = accounts
                    .into_iter()
                    .map(|account| own::membership(name, account))
                    .collect();
                Ok(page_of(&memberships, paging))
            }
        }
    }

    /// A list of zones or accounts as far as the caller may see it.
    async fn visible_list(
        &self,
        call: &Authorized<'_>,
        path: &str,
        at_most: Option<u64>,
        only_name: Option<&str>,
        sees: impl Fn(&str) -> bool,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let query = call.call.checked.query;
        let paging = Paging::read(query, 20)?;
        if at_most == Some(0) {
            return Ok(page_of::<()>(&[], paging));
        }
        let is_named = query.is_some_and(|query| {
            url::form_urlencoded::parse(query.as_bytes())
                .any(|(key, _)| key == "name" || key == "match")
        });
        let pushed: Vec<(&str, &str)> = only_name
            .filter(|_| !is_named)
            .map(|name| ("name", name))
            .into_iter()
            .collect();
        let walk = Walk::new(path, query, &pushed, paging, ZONES_PER_PAGE, at_most);
        self.walk(walk, calls, |item| {
            serde_json::from_str::<IdItem>(item.get()).is_ok_and(|item| sees(&item.id))
        })
        .await
    }

    async fn visible_accounts(
        &self,
        visible: &Visible<AccountId>,
        calls: &mut u32,
    ) -> Result<Vec<AccountItem>, Failed> {
        let mut found = Vec::new();
        if visible.at_most() == Some(0) {
            return Ok(found);
        }
        let paging = Paging::read(None, 1)?;
        let walk = Walk::new("/accounts", None, &[], paging, ZONES_PER_PAGE, None);
        self.walk(walk, calls, |item| {
            if let Ok(account) = serde_json::from_str::<AccountItem>(item.get())
                && account.id.parse().is_ok_and(|id| visible.sees(&id))
            {
                found.push(account);
            }
            false
        })
        .await?;
        Ok(found)
    }

    async fn walk(
        &self,
        mut walk: Walk,
        calls: &mut u32,
        mut keep: impl FnMut(&serde_json::value::RawValue) -> bool,
    ) -> Result<String, Failed> {
        loop {
            let answer = successful(self.exchange(&walk.exchange(), calls).await?)?;
            match walk.take(&answer, &mut keep)? {
                ListStep::Continue => {}
                ListStep::Done => return Ok(walk.into_body()),
            }
        }
    }

    /// The records of a zone that the caller may see.
    pub(super) async fn filtered_records(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let targeted = &call.call;
        let now = targeted.call.received.arrived;
        let query = targeted.checked.query;
        let paging = Paging::read(query, 100)?;
        let unread = targeted.request(Facts::Unread, now);
        let Pushdown { name, kind } = targeted.policy().pushdown(&unread).unwrap_or(Pushdown {
            name: None,
            kind: None,
        });
        let has = |names: &[&str]| {
            query.is_some_and(|query| {
                url::form_urlencoded::parse(query.as_bytes())
                    .any(|(key, _)| names.contains(&key.as_ref()))
            })
        };
        // With `match=any` another filter would widen the list instead of narrowing it.
        let narrows = !has(&["match"]);
        let mut pushed = Vec::new();
        if let Some(name) = name.filter(|_| narrows && !has(&["name", "name.exact"])) {
            pushed.push(("name.exact", name));
        }
        if let Some(kind) = kind.filter(|_| narrows && !has(&["type"])) {
            pushed.push(("type", kind));
        }
        let zone_name = self.zone_name_of(call, calls).await?;
        let walk = Walk::new(
            &targeted.checked.path,
            query,
            &pushed,
            paging,
            RECORDS_PER_PAGE,
            None,
        );
        self.walk(walk, calls, |item| call.may_show(item, &zone_name, now))
            .await
    }

    /// One record, if the caller may see it.
    pub(super) async fn judged_record(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let targeted = &call.call;
        let now = targeted.call.received.arrived;
        let zone_name = self.zone_name_of(call, calls).await?;
        let exchange = Exchange::get(targeted.checked.to_target());
        let answer = self.exchange(&exchange, calls).await?;
        // One that is not there gets the same answer as one that may not be seen.
        let is_absent = answer.head.status == StatusCode::NOT_FOUND;
        let answer = if is_absent {
            answer
        } else {
            successful(answer)?
        };
        let body = answer.body.ok_or_else(|| {
            Refusal::new(
                Code::UpstreamUnknown,
                "Cloudflare's answer broke off or is too large to be judged, so it is withheld.",
            )
        })?;
        let seen = Envelope::parse(&body)
            .and_then(|envelope| envelope.result)
            .filter(|_| !is_absent)
            .is_some_and(|record| call.may_show(&record, &zone_name, now));
        let text = String::from_utf8(body).ok().filter(|_| seen);
        text.ok_or_else(|| {
            Refusal::new(
                Code::Denied,
                format!(
                    "{} may not {}: its grants cover other records of {zone_name} only; a grant of DNS Read for that record is needed.",
                    targeted.call.name(),
                    targeted.action.infinitive()
                ),
            )
            .into()
        })
    }

    /// A zone file of the records that the caller may see.
    pub(super) async fn filtered_export(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Failed> {
        let targeted = &call.call;
        let now = targeted.call.received.arrived;
        let zone_name = self.zone_name_of(call, calls).await?;
        let list = targeted.checked.path.trim_end_matches("/export");
        let paging = Paging::read(None, 1)?;
        let walk = Walk::new(list, None, &[], paging, RECORDS_PER_PAGE, None);
        let (mut records, mut unreadable) = (Vec::new(), None);
        self.walk(walk, calls, |item| {
            if call.may_show(item, &zone_name, now) {
                match dns::Record::from_api(item.get()) {
                    Ok(record) => records.push(record),
                    Err(error) => unreadable = Some(error),
                }
            }
            false
        })
        .await?;
        match unreadable {
            None => Ok(dns::to_bind(&zone_name, &records)),
            Some(error) => Err(Refusal::new(
                Code::UpstreamUnknown,
                format!("Cloudflare lists a record that cannot be exported: {error}."),
            )
            .into()),
        }
    }

    async fn zone_name_of(
        &self,
        call: &Authorized<'_>,
        calls: &mut u32,
    ) -> Result<String, Refusal> {
        let zone = call
            .call
            .zone
            .ok_or_else(|| Refusal::new(Code::Denied, "The call names no zone."))?;
        self.zone_name_in(&call.call, zone, calls).await
    }
}

impl Authorized<'_> {
    /// Whether the caller may see the DNS record `item` of the zone called `zone_name`.
    fn may_show(
        &self,
        item: &serde_json::value::RawValue,
        zone_name: &str,
        now: Timestamp,
    ) -> bool {
        // What cannot be judged is not shown.
        let facts = Shown::read(item).and_then(|record| record.facts(zone_name));
        let Some(facts) = facts else {
            return false;
        };
        let request = self
            .call
            .request(Facts::Records(std::slice::from_ref(&facts)), now);
        self.call.policy().decide(&request).is_allowed()
    }
}

/// An answer that can be judged; any other is Cloudflare's to give.
fn successful(answer: Answer) -> Result<Answer, Failed> {
    if answer.head.status.is_success() {
        Ok(answer)
    } else {
        Err(Failed::Upstream(answer))
    }
}
