//! A simulator of the Cloudflare v4 API.
//!
//! It owns a stateful, validating, rate-limited imitation of the API under `/client/v4/`, and the
//! control surface under `/__sim/` that tests steer it by. Everything lives in memory; ids and
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
mod cursor;
mod d1;
mod dns;
mod faults;
mod ids;
mod io;
mod kv;
mod lab;
mod ledger;
mod limits;
mod multipart;
mod page;
mod purge;
mod query;
mod queues;
mod r2;
mod router;
mod seed;
mod server;
mod service;
mod user;
mod workers;
mod world;
mod zones;

pub use lab::{Answered, Lab};
pub use ledger::LedgerEntry;
pub use purge::Purged;
pub use seed::{ACME_ID, EMAIL, GLOBEX_ID, KEY, TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
pub use seed::{D1_ID, KV_BILLING_ID, KV_SITE_ID, QUEUE_ID};
pub use server::{Options, Simulator};
