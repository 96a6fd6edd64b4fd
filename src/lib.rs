//! Zonekeeper: a Cloudflare API gateway, job runner and deployer that runs as a Worker.
//!
//! The crate has two halves. Everything but [`edge`] *decides*: plain Rust that knows nothing of
//! Workers, takes time and randomness as arguments, and is tested natively. [`edge`] *does*: it
//! adapts fetch, D1 and cron to the traits of the core and decides nothing.
//!
//! A call flows `edge → identity → policy → audit intent → upstream → audit outcome`; see
//! `docs/architecture.md`.

pub mod api;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod cron;
pub mod dns;
pub mod edge;
pub mod gateway;
pub mod graphql;
pub mod hooks;
pub mod identity;
pub mod jobs;
pub mod model;
pub mod oauth;
pub mod policy;
pub mod run;
pub mod settings;
pub mod store;
pub mod upstream;
pub mod workers;
