//! How the table is made: the data file, the corrections by hand, the encoder.
//!
//! None of this is in the Worker; `build-catalog` and the tests use it.

pub mod corrections;
mod encode;
mod source;

pub use encode::{Sizes, encode};
pub use source::{Row, SourceError, read};

/// Makes the bytes of `table.bin` of the text of `data/operations.tsv`.
///
/// # Errors
/// When a line is malformed, a correction hits no row, or a number outgrows its field.
pub fn build(tsv: &str) -> Result<(Vec<u8>, Sizes), SourceError> {
    let mut rows = read(tsv)?;
    corrections::apply(&mut rows)?;
    encode(&rows)
}
