//! A second decider, slow and naive: the rules of a grant as they are written down, one loop over
//! all grants, nothing compiled, indexed or remembered.
//!
//! It shares no code with `zonekeeper::policy`. Of the crate it uses the document as written, the
//! ids its names stood for, and what the catalogue says of operations and permission groups.

mod conditions;
mod names;
mod purge;
mod workers;

use std::collections::BTreeSet;
use std::net::IpAddr;

use zonekeeper::catalog::{self, BodyClass, Family, GroupId, Judged, Method, Operation, Scope};
use zonekeeper::config::Resolution;
use zonekeeper::config::document::{Document, Effect, Grant};
use zonekeeper::model::{AccountId, RecordName, Timestamp, ZoneId};

/// A call, as far as a grant can be about it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) who: String,
    pub(crate) what: What,
    /// Every zone and account it names.
    pub(crate) places: Vec<Place>,
    pub(crate) known: Known,
    /// Whether it touches Zonekeeper itself.
    pub(crate) is_own: bool,
    pub(crate) at: Timestamp,
    pub(crate) from: Option<IpAddr>,
    /// Names of grants whose count is reached.
    pub(crate) used_up: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Operation(Operation),
    Unknown { method: Method, path: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Zone(ZoneId),
    Account(AccountId),
}

/// What was read of the call.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    Nothing,
    Records {
        records: Vec<Record>,
        changes: usize,
    },
    Purge(Vec<Purged>),
    Things(Vec<Named>),
    Worker {
        script: String,
        parts: Vec<Part>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: RecordName,
    pub(crate) kind: String,
    pub(crate) content: Option<String>,
    pub(crate) proxied: Option<bool>,
}

#[derive(Debug, Clone)]
pub(crate) enum Purged {
    Everything,
    File(String),
    Prefix(String),
    Host(String),
    Tag(String),
}

/// A setting, phase, list, namespace with or without a key, bucket or dataset.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) family: Family,
    pub(crate) name: String,
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Script,
    Binding {
        kind: String,
        resource: Option<String>,
    },
    Route(String),
    Module(String),
    Keep,
    Inherit,
    FullDeploy,
}

/// What a condition, or a whole grant, says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Says {
    /// It does not hold.
    No,
    /// It cannot be judged.
    Unclear,
    /// It holds.
    Yes,
}

impl Says {
    fn is(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What comes out, and the grants of which any may have decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) effect: Effect,
    /// Nobody: nothing matches, or a list that shows only what is allowed.
    pub(crate) by: BTreeSet<String>,
}

impl Answer {
    fn new<'g>(effect: Effect, by: impl IntoIterator<Item = &'g Grant>) -> Self {
        let by = by.into_iter().map(|grant| grant.name.clone()).collect();
        Self { effect, by }
    }

    fn nothing() -> Self {
        Self::new(Effect::Deny, [])
    }

    /// A denial by a grant is worse than that nothing matches, that than approval.
    fn badness(&self) -> u8 {
        match self.effect {
            Effect::Deny if !self.by.is_empty() => 3,
            Effect::Deny => 2,
            Effect::Approve => 1,
            Effect::Allow => 0,
        }
    }
}

/// Told of each condition, what it says and the effect of its grant.
pub(crate) type Notice<'n> = &'n mut dyn FnMut(&'static str, Says, Effect);

/// What grants are read from.
#[derive(Clone, Copy)]
pub(crate) struct Reference<'d> {
    pub(crate) document: &'d Document,
    pub(crate) resolution: &'d Resolution,
}

/// One of the things that must all be allowed.
enum Item<'c> {
    Unknown,
    Record(&'c Record, usize),
    Purge(&'c Purged),
    Thing(&'c Named),
    Part(&'c str, &'c Part),
}

/// How a grant reaches a call: by naming it, or by a permission group.
#[derive(Clone, Copy)]
enum Way {
    Named,
    Group(GroupId),
}

impl<'d> Reference<'d> {
    /// Every place and every item must be allowed; the worst is the answer.
    pub(crate) fn decide(&self, call: &Call, notice: Notice<'_>) -> Answer {
        let principals = &self.document.principals;
        if !principals.iter().any(|known| known.name == call.who) {
            return Answer::nothing();
        }
        let shows = call.shows();
        if shows == Some(Shows::List) {
            let listing = self.judge(call, None, &Item::Unknown, notice);
            return match listing.badness() {
                1 | 3 => listing,
                _ => Answer::new(Effect::Allow, []),
            };
        }
        let mut worst: Option<Answer> = None;
        for place in call.judged_places() {
            for item in call.items() {
                let seen = if shows == Some(Shows::One) {
                    place.and_then(|place| self.seeing(call, place, notice))
                } else {
                    None
                };
                let answer = seen.unwrap_or_else(|| self.judge(call, place, &item, notice));
                worst = Some(match worst {
                    None => answer,
                    Some(worst) if worst.badness() > answer.badness() => worst,
                    Some(worst) if worst.badness() < answer.badness() => answer,
                    Some(mut worst) => {
                        worst.by.extend(answer.by);
                        worst
                    }
                });
            }
        }
        match worst {
            Some(worst) if call.says_where() || worst.badness() == 3 => worst,
            _ => Answer::nothing(),
        }
    }

    /// Whether `GET /zones` or `GET /accounts` shows the place.
    pub(crate) fn shows(&self, call: &Call, place: Place) -> bool {
        let answer = self.seeing(call, place, &mut |_, _, _| {});
        answer.is_some_and(|answer| answer.effect == Effect::Allow)
    }

    /// Whoever is allowed anything on a zone or account sees it, unless a deny is about seeing it:
    /// one that names the operation, or has a group of zones (accounts) themselves.
    fn seeing(&self, call: &Call, place: Place, notice: Notice<'_>) -> Option<Answer> {
        let What::Operation(operation) = call.what else {
            return None;
        };
        let grants = || self.grants_of(call, Some(place));
        let hiding = grants().filter(|grant| {
            let about_seeing = |way: &Way| match way {
                Way::Named => true,
                Way::Group(group) => catalog::group_family(*group) == operation.family(),
            };
            grant.effect == Effect::Deny && Self::ways(grant, call).iter().any(about_seeing)
        });
        let hiding: Vec<_> = hiding
            .filter(|grant| Self::limits(grant, call, notice) != Says::No)
            .collect();
        if !hiding.is_empty() {
            return Some(Answer::new(Effect::Deny, hiding));
        }
        // How often a grant was used does not matter to what it shows.
        let fresh = Call {
            used_up: Vec::new(),
            ..call.clone()
        };
        let showing: Vec<_> = grants()
            .filter(|grant| grant.effect == Effect::Allow)
            .filter(|grant| Self::limits(grant, &fresh, notice) == Says::Yes)
            .collect();
        (!showing.is_empty()).then(|| Answer::new(Effect::Allow, showing))
    }

    /// Deny before approve before allow. What cannot be judged works against the caller: a deny
    /// denies, an allow does not allow, an approve asks where something else allows.
    fn judge(
        &self,
        call: &Call,
        place: Option<Place>,
        item: &Item<'_>,
        notice: Notice<'_>,
    ) -> Answer {
        let mut denying = Vec::new();
        let mut approving = Vec::new();
        let mut asking = Vec::new();
        let mut allowing = Vec::new();
        for grant in self.grants_of(call, place) {
            for way in Self::ways(grant, call) {
                let says = self.conditions(grant, way, call, item, notice);
                let is_short = call.must_be_named() && matches!(way, Way::Group(_));
                match (grant.effect, says) {
                    (_, Says::No) => {}
                    (Effect::Deny, _) => denying.push(grant),
                    (Effect::Approve, Says::Yes) if !is_short => approving.push(grant),
                    (Effect::Approve, _) => asking.push(grant),
                    (Effect::Allow, Says::Yes) if !is_short => allowing.push(grant),
                    (Effect::Allow, _) => {}
                }
            }
        }
        if !denying.is_empty() {
            Answer::new(Effect::Deny, denying)
        } else if !approving.is_empty() {
            Answer::new(Effect::Approve, approving)
        } else if allowing.is_empty() {
            Answer::nothing()
        } else if !asking.is_empty() {
            Answer::new(Effect::Approve, asking)
        } else {
            Answer::new(Effect::Allow, allowing)
        }
    }

    /// The caller's grants that reach the place: a zone is reached by `zones`, an account by
    /// `accounts`, what is neither only by a grant that names neither.
    fn grants_of(&self, call: &Call, place: Option<Place>) -> impl Iterator<Item = &'d Grant> {
        let resolution = self.resolution;
        let who = call.who.clone();
        let grants = self.document.grants.iter();
        grants
            .filter(move |grant| grant.principals.contains(&who))
            .filter(move |grant| match place {
                None => grant.zones.is_empty() && grant.accounts.is_empty(),
                Some(Place::Zone(id)) => grant.zones.iter().any(|text| {
                    text == "*" || resolution.zones.get(text).is_some_and(|zone| zone.id == id)
                }),
                Some(Place::Account(id)) => grant.accounts.iter().any(|text| {
                    text == "*"
                        || resolution
                            .accounts
                            .get(text)
                            .is_some_and(|account| account.id == id)
                }),
            })
    }

    /// Every way by which a grant reaches the operation. A write group includes its read group.
    fn ways(grant: &Grant, call: &Call) -> Vec<Way> {
        let mut ways = Vec::new();
        match &call.what {
            What::Operation(operation) => {
                let names = |text: &String| catalog::operation_named(text) == Some(*operation);
                if grant.operations.iter().any(names) {
                    ways.push(Way::Named);
                }
                for name in &grant.permissions {
                    let group = catalog::group_named(name);
                    let read = group.and_then(catalog::read_group_of);
                    let opening = operation.groups();
                    let opens = group.into_iter().chain(read);
                    ways.extend(opens.filter(|it| opening.contains(*it)).map(Way::Group));
                }
            }
            What::Unknown { method, path } => {
                let names = |text: &String| is_template_of(text, *method, path);
                if grant.operations.iter().any(names) {
                    ways.push(Way::Named);
                }
            }
        }
        ways
    }
}

/// What an operation shows of zones and accounts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    List,
    One,
}

impl Call {
    fn shows(&self) -> Option<Shows> {
        let What::Operation(operation) = self.what else {
            return None;
        };
        match (operation.method(), operation.template()) {
            (Method::Get, "/zones" | "/accounts") => Some(Shows::List),
            (Method::Get, "/zones/{zone_id}" | "/accounts/{account_id}") => Some(Shows::One),
            _ => None,
        }
    }

    /// No permission group reaches it: it escalates, must be named, cannot be judged, is not known,
    /// or touches Zonekeeper itself.
    fn must_be_named(&self) -> bool {
        match self.what {
            What::Operation(operation) => {
                self.is_own
                    || operation.escalates()
                    || operation.named_only()
                    || operation.body() == BodyClass::Judge(Judged::Unjudgeable)
            }
            What::Unknown { .. } => true,
        }
    }

    pub(crate) fn family(&self) -> Family {
        match self.what {
            What::Operation(operation) => operation.family(),
            What::Unknown { .. } => Family::None,
        }
    }

    fn scope(&self) -> Scope {
        match &self.what {
            What::Operation(operation) => operation.scope(),
            What::Unknown { path, .. } => {
                let mut segments = path.split('/').skip(1);
                match (segments.next(), segments.next()) {
                    (Some("zones"), Some(_)) => Scope::Zone,
                    (Some("accounts"), Some(_)) => Scope::Account,
                    _ => Scope::Other,
                }
            }
        }
    }

    /// An analytics query is about the zones and accounts it names, and nothing else.
    fn is_query(&self) -> bool {
        self.family() == Family::Graphql
    }

    /// Where it must be allowed; `None` is what lies in neither a zone nor an account.
    fn judged_places(&self) -> Vec<Option<Place>> {
        let is_in_neither = matches!(self.scope(), Scope::User | Scope::Other) && !self.is_query();
        let neither = is_in_neither.then_some(None);
        let named = self.places.iter().copied().map(Some);
        neither.into_iter().chain(named).collect()
    }

    /// Whether it names the zone or account that it must be about.
    fn says_where(&self) -> bool {
        let is_zone = |place: &Place| matches!(place, Place::Zone(_));
        match self.scope() {
            Scope::Zone => self.places.iter().any(is_zone),
            Scope::Account => !self.places.iter().all(is_zone),
            Scope::User | Scope::Other => !self.is_query() || !self.places.is_empty(),
        }
    }

    /// What was read, where it is what the operation is about.
    fn items(&self) -> Vec<Item<'_>> {
        let family = self.family();
        let items: Vec<Item<'_>> = match &self.known {
            Known::Records { records, changes } if family == Family::Dns => {
                let items = records.iter();
                items.map(|record| Item::Record(record, *changes)).collect()
            }
            Known::Purge(purged) if family == Family::Purge => {
                purged.iter().map(Item::Purge).collect()
            }
            Known::Things(things) => things.iter().map(Item::Thing).collect(),
            Known::Worker { script, parts } if family == Family::Workers => {
                parts.iter().map(|part| Item::Part(script, part)).collect()
            }
            _ => Vec::new(),
        };
        if items.is_empty() {
            vec![Item::Unknown]
        } else {
            items
        }
    }
}

/// `METHOD /template`, where a segment in braces is any one segment.
fn is_template_of(text: &str, method: Method, path: &str) -> bool {
    let Some((verb, template)) = text.split_once(' ') else {
        return false;
    };
    let wanted: Vec<&str> = template.split('/').collect();
    let found: Vec<&str> = path.split('/').collect();
    verb == method.as_str()
        && wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| {
            wanted == found || wanted.starts_with('{') && wanted.ends_with('}') && !found.is_empty()
        })
}
