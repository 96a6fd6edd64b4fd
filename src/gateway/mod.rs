//! The pipeline of one proxied call: from what arrived to what is answered and recorded.
//!
//! Owns the order of the steps, the refusals and what a call means. It does not know how a request
//! is received or sent ([`World`] does) nor how anything is stored. The steps are types that
//! consume each other: [`call::Received`] → [`call::Authenticated`] → [`call::Targeted`] →
//! [`call::Authorized`], and only the last can be sent.

mod answer;
mod asset_jwt;
mod authorize;
mod call;
mod carry;
mod credential;
mod deletions;
mod deps;
mod execute;
mod inbound;
mod judge;
mod list;
mod lookup;
mod own;
mod phases;
mod pipeline;
mod preview;
mod protect;
mod reconcile;
mod records;
mod refusal;
mod relay;
mod target;
mod uses;
mod view;
mod zone_lock;

pub use carry::{Acting, ActingBody, Carried};
pub use deps::{After, BodyFault, Finished, Gateway, Reply, Secrets, World};
pub use inbound::{
    FORWARDED_HEADERS, Inbound, OWN_HEADER_PREFIX, READ_HEADERS, RELAYED_HEADERS, REQUEST_HEADER,
    Verb,
};
pub use judge::{JUDGED_BODY_CAP, UPLOAD_BODY_CAP, read_json, sanitised};
pub use list::{Paging, page_of};
pub use preview::{Preview, Question};
pub use reconcile::{Reconciled, reconcile};
pub use refusal::{CODES, Code, CodeInfo, Refusal, codes_page};
pub use target::{NonCanonical, PREFIX, RawTarget, below_prefix, check, query_param, split_url};
pub use view::{Caller, MAX_AGE_MS, Snapshot, View, is_root_key};
pub use zone_lock::{
    Command, LOCK_LEASE_MS, LOCK_SEND_WITHIN_MS, LOCK_WAIT_MS, Lease, LockFault, Ticket, Turn,
    ZoneLock,
};

#[cfg(feature = "faults")]
pub use inbound::FAULT_HEADER;
