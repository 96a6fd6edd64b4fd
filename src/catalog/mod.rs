//! The closed table of Cloudflare v4 operations: what a request is, before anyone asks whether it
//! may be.
//!
//! Owns the operations, their permission groups and everything about an operation that does not
//! depend on the caller: scope, body class, what condition speaks about it, whether it escalates.
//! All of it is decided when the table is built (`build`, from `data/operations.tsv` and
//! `build/corrections`), nothing by looking at text at run time. It does not decide anything about
//! a call, and does not check the values of parameters. See `docs/design/catalog.md`.
//!
//! INVARIANT: an operation the table does not have is never guessed: [`resolve`] answers `None`.

#[cfg(not(target_arch = "wasm32"))]
pub mod build;
mod facts;
mod group;
mod operation;
mod phase;
mod resolve;
mod table;
mod trie;

pub use facts::{BodyClass, Deprecation, Family, Judged, Method, Pagination, Scope};
pub use group::{
    GroupId, GroupSet, group_family, group_name, group_named, groups, is_own_group, nearest_group,
    read_group_of,
};
pub use operation::{Operation, OperationId, operation, operation_named, operations};
pub use phase::{phase_groups, phase_reroutes};
pub use resolve::{MAX_PARAMS, Params, Resolved, path_exists, resolve};
