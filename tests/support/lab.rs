//! A world in which every effect can fail: Cloudflare as the simulator plays it, a database, blobs
//! and a queue, all in memory, and an injector that counts what is done to them.
//!
//! [`world::Outside`] is what outlives a crash. [`world::LabWorld`] and
//! [`database::LabDatabase`] are what one isolate
//! sees of it; they may be dropped at any effect and made anew.

pub(crate) mod blobs;
pub(crate) mod database;
pub(crate) mod injector;
pub(crate) mod network;
mod platform;
pub(crate) mod queue;
pub(crate) mod world;
pub(crate) mod writes;
