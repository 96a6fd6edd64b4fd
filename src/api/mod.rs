//! Zonekeeper's own API, `/api/v1`: configuration, keys, decisions, audit, jobs, runs, hooks,
//! deployments, snapshots.
//!
//! Owns the routes, who may use them and the shapes of their answers. The root key opens all of it,
//! the `Zonekeeper …` permission groups what they name; neither opens `/client/v4`. Every change is
//! recorded in the same transaction that makes it.

mod access;
mod audit;
mod call;
mod config;
mod decide;
mod deploys;
mod envelope;
mod hooks;
mod jobs;
mod keys;
mod resolve;
mod route;
mod runs;
mod serve;
mod snapshots;

pub use route::{API_PREFIX, ROUTES, Route, RouteInfo};
