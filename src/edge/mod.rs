//! The Worker itself: the events of the runtime, and the adapters of the core's traits to fetch,
//! D1, the clock and randomness. Decides nothing.
//!
//! INVARIANT: what outlives a request here ([`isolate`]) is plain data and the bindings of `env`;
//! no future, stream or response of one request is ever reached from another.

mod bridge;
mod clock;
mod database;
mod events;
mod isolate;
mod meter;
mod objects;
mod outbound;
mod recorder;
mod timezones;
mod world;
