//! Worker uploads: what a form holds, what its metadata binds, and the form written again.
//!
//! Nothing here decides. It says what an upload reaches: resources by kind and id, other scripts,
//! code by digest; and what it takes over from the script as it stands. A binding of a kind that is
//! not known is named as such, for policy to refuse.

mod archive;
mod binding;
mod bundle;
mod metadata;

pub use archive::{Packed, only_file};
pub use binding::{Bound, Inherited, Named, bindings_of, is_free, kinds, named};
pub use bundle::{MESSAGE, TAG, check_bundle, form_type, marked};
pub use metadata::{MetadataError, Upload, digest};
