//! The job kinds, one file each, and what several of them need.

pub(super) mod cache_purge;
pub(super) mod dns_restore;
pub(super) mod dns_snapshot;
pub(super) mod workers_deploy;
mod zones;
