//! A simulator of the Cloudflare v4 API.
//!
//! It owns a stateful, validating, rate-limited imitation of the API under `/client/v4/`, and the
//! control surface under `/__sim/` that tests steer it by; OIDC issuers are part of that, and
//! `/cdn-cgi/access/certs` of Cloudflare Access is at the root. Everything lives in memory; ids and
//! seeds are fixed, so that two runs of one script give the same answers. [`Simulator`] serves it
//! over HTTP; [`Lab`] is the same without a network and without a clock.
//!
//! Facts come from `NOTES.md` (public material about the API); each rule cites its section as
//! `NOTES "Section"`. A rule marked *hypothesis* is general knowledge that those notes do not
//! settle.
//!
//! To add a product: one module with a `routes()` table and its own state in [`world::World`],
//! added to [`router::Router::new`].

mod accounts;
mod api;
mod auth;
mod clock;
mod control;
mod dns;
mod faults;
mod ids;
mod io;
mod lab;
mod ledger;
mod limits;
mod multipart;
mod oidc;
mod page;
mod purge;
mod query;
mod router;
mod seed;
mod server;
mod service;
mod user;
mod world;
mod zones;

pub use lab::{Answered, Lab};
pub use ledger::LedgerEntry;
pub use oidc::ACCESS_AUD;
pub use purge::Purged;
pub use seed::{ACME_ID, EMAIL, GLOBEX_ID, KEY, TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
pub use server::{Options, Simulator};
