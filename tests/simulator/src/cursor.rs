//! Lists that go on behind an opaque cursor.
//!
//! NOTES "Envelope, errors, pagination": the next cursor comes from `result_info.cursor`, and an
//! absent or empty one is the end. Here it is the last name that was listed, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api::ApiError;
use crate::query::{Query, invalid};

/// The name after which the list goes on; `None` from its start.
///
/// # Errors
/// 400 when the cursor was not made by [`cursor`].
pub(crate) fn after(query: &Query) -> Result<Option<String>, ApiError> {
    let Some(cursor) = query.non_empty("cursor") else {
        return Ok(None);
    };
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Some)
        .ok_or_else(|| invalid("cursor"))
}

/// The cursor behind `last`; empty when the list has ended.
pub(crate) fn cursor(last: Option<&str>) -> String {
    last.map(|name| URL_SAFE_NO_PAD.encode(name))
        .unwrap_or_default()
}
