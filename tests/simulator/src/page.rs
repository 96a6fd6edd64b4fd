//! Page-numbered lists.
//!
//! NOTES "Envelope, errors, pagination": `page` (default 1), `per_page`; a page past the end is
//! 200 with an empty list, because the official SDKs ask on until they see one.

use serde_json::{Value, json};

use crate::api::{ApiError, PageInfo, Reply};
use crate::query::Query;

/// The bounds of `per_page` of one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: usize,
    pub(crate) default: usize,
    pub(crate) max: usize,
}

/// NOTES "Envelope, errors, pagination": zones 5–50, default 20. A value outside is brought to
/// the nearest bound rather than refused (hypothesis).
pub(crate) const ZONES: Bounds = Bounds {
    min: 5,
    default: 20,
    max: 50,
};

/// NOTES "Envelope, errors, pagination": DNS records 1–5,000,000, default 100.
pub(crate) const DNS_RECORDS: Bounds = Bounds {
    min: 1,
    default: 100,
    max: 5_000_000,
};

/// NOTES "Envelope, errors, pagination": most other lists 50–100 (hypothesis).
pub(crate) const OTHERS: Bounds = Bounds {
    min: 1,
    default: 20,
    max: 100,
};

/// Which page was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    page: usize,
    per_page: usize,
}

impl Page {
    /// Reads `page` and `per_page`.
    pub(crate) fn read(query: &Query, bounds: Bounds) -> Result<Self, ApiError> {
        Ok(Self {
            page: query.number("page", 1)?,
            per_page: query
                .number("per_page", bounds.default)?
                .clamp(bounds.min, bounds.max),
        })
    }

    /// This page of `items` and its `result_info`, for lists that are a member of the result.
    pub(crate) fn cut<T>(self, items: &[T]) -> (&[T], Value) {
        let skip = (self.page - 1).saturating_mul(self.per_page);
        let page = items.get(skip..).unwrap_or_default();
        let page = page.get(..self.per_page).unwrap_or(page);
        let info = json!({
            "page": self.page, "per_page": self.per_page, "count": page.len(),
            "total_count": items.len(), "total_pages": items.len().div_ceil(self.per_page),
        });
        (page, info)
    }

    /// The answer that holds this page of `items`.
    pub(crate) fn reply(self, items: &[&str]) -> Reply {
        let skip = (self.page - 1).saturating_mul(self.per_page);
        let count = items.len().saturating_sub(skip).min(self.per_page);
        let info = PageInfo {
            page: self.page,
            per_page: self.per_page,
            count,
            total_count: items.len(),
            total_pages: items.len().div_ceil(self.per_page),
        };
        Reply::list(items.iter().skip(skip).take(count).copied(), &info)
    }
}
