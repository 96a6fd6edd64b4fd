//! The job kinds, one file each, and what several of them need.

pub(super) mod cache_purge;
mod zones;
