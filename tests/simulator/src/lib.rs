//! A simulator of the Cloudflare v4 API.
//!
//! It owns a stateful, validating, rate-limited imitation of the API under `/client/v4/`, and the
//! control surface under `/__sim/` that tests steer it by; OIDC issuers are part of that, as are the
//! other hosts that a deploy meets (served Workers, GitHub, a sink for notifications), and
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

mod access;
mod accounts;
mod api;
mod auth;
mod certificates;
mod clock;
mod control;
mod cursor;
mod d1;
mod dns;
mod faults;
mod graphql;
mod hosts;
mod ids;
mod invocations;
mod io;
mod kv;
mod lab;
mod ledger;
mod limits;
mod lists;
mod load_balancing;
mod logpush;
mod members;
mod multipart;
mod objects;
mod oidc;
mod page;
mod page_rules;
mod purge;
mod query;
mod queues;
mod r2;
mod router;
mod rulesets;
mod seed;
mod seed_products;
mod server;
mod service;
mod settings;
mod snippets;
mod tokens;
mod user;
mod workers;
mod world;
mod zones;

pub use hosts::GITHUB_TOKEN;
pub use lab::{Answered, Lab};
pub use ledger::LedgerEntry;
pub use oidc::ACCESS_AUD;
pub use purge::Purged;
pub use seed::{ACME_ID, EMAIL, GLOBEX_ID, KEY, TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};
pub use seed::{D1_ID, KV_BILLING_ID, KV_SITE_ID, QUEUE_ID};
pub use server::{Options, Simulator};
