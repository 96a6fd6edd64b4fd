//! Fakes and builders of the behaviour tests: a database, an upstream and a clock that obey, and
//! a whole Zonekeeper over them that is told what to do in a few words.

pub(crate) mod database;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod harness;
pub(crate) mod hooks;
pub(crate) mod issuers;
pub(crate) mod keeper;
pub(crate) mod lab;
pub(crate) mod motor;
pub(crate) mod rollout;
pub(crate) mod sweep;
pub(crate) mod timezones;
pub(crate) mod upstream;
pub(crate) mod works;
pub(crate) mod world;
pub(crate) mod zone;
