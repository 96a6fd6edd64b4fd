//! Lists that show only what the caller may see, with counts and pages that are right.

use serde::Serialize;
use serde_json::value::RawValue;

use super::refusal::{Code, Refusal};
use super::target::{query_param, query_without};
use crate::upstream::{Answer, Envelope, Exchange};

/// Pages read from upstream for one list at the most; beyond it the caller has to narrow the list.
const MAX_PAGES: u64 = 40;

/// Which page the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    page: u64,
    per_page: u64,
}

impl Paging {
    /// Reads `page` and `per_page`, which decide what is shown and so may stand only once.
    ///
    /// # Errors
    /// [`Refusal`] when one is no number from 1 on, or stands twice.
    pub fn read(query: Option<&str>, default_per_page: u64) -> Result<Self, Refusal> {
        let number = |name: &str, default: u64| -> Result<u64, Refusal> {
            let value = query_param(query, name).map_err(|error| {
                Refusal::new(
                    Code::NonCanonicalPath,
                    format!("The call was not understood: {error}."),
                )
            })?;
            match value {
                None => Ok(default),
                Some(text) => text
                    .parse()
                    .ok()
                    .filter(|number| (1..=5_000_000).contains(number))
                    .ok_or_else(|| {
                        Refusal::new(
                            Code::InvalidParams,
                            format!(
                                "The query parameter `{name}` must be a number from 1 to 5000000."
                            ),
                        )
                    }),
            }
        };
        Ok(Self {
            page: number("page", 1)?,
            per_page: number("per_page", default_per_page)?,
        })
    }

    fn first(self) -> u64 {
        (self.page - 1).saturating_mul(self.per_page)
    }
}

/// A list being read page by page from upstream and filtered.
#[derive(Debug)]
pub(super) struct Walk {
    path: String,
    query: String,
    upstream_per_page: u64,
    next_page: u64,
    paging: Paging,
    /// How many items there can be at the most, where that is known.
    at_most: Option<u64>,
    shown: Vec<Box<RawValue>>,
    matched: u64,
}

/// What to do after a page was taken.
#[derive(Debug)]
pub(super) enum Step {
    /// Read another page.
    Continue,
    /// Everything that matters was read.
    Done,
}

impl Walk {
    /// A walk over the list at `path`; `query` is the caller's, `pushed` further filters of ours.
    #[must_use]
    pub(super) fn new(
        path: &str,
        query: Option<&str>,
        pushed: &[(&str, &str)],
        paging: Paging,
        upstream_per_page: u64,
        at_most: Option<u64>,
    ) -> Self {
        let mut query = query_without(query, &["page", "per_page"]);
        for (name, value) in pushed {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(
                &url::form_urlencoded::Serializer::new(String::new())
                    .append_pair(name, value)
                    .finish(),
            );
        }
        Self {
            path: path.to_owned(),
            query,
            upstream_per_page,
            next_page: 1,
            paging,
            at_most,
            shown: Vec::new(),
            matched: 0,
        }
    }

    /// The next page to ask for.
    #[must_use]
    pub(super) fn exchange(&self) -> Exchange {
        let separator = if self.query.is_empty() { "" } else { "&" };
        Exchange::get(format!(
            "{}?{}{separator}page={}&per_page={}",
            self.path, self.query, self.next_page, self.upstream_per_page
        ))
    }

    /// Takes a page. `keep` says of each item whether the caller may see it.
    ///
    /// # Errors
    /// [`Refusal`] when the answer is no page, or the list is longer than is read.
    pub(super) fn take(
        &mut self,
        answer: &Answer,
        mut keep: impl FnMut(&RawValue) -> bool,
    ) -> Result<Step, Refusal> {
        let page = answer
            .body
            .as_deref()
            .and_then(Envelope::parse)
            .and_then(Envelope::into_page)
            .ok_or_else(|| {
                Refusal::new(
                    Code::UpstreamUnknown,
                    "Cloudflare's answer to a list could not be read, so nothing of it is shown.",
                )
            })?;
        let received = page.items.len() as u64;
        for item in page.items {
            if keep(&item) {
                let position = self.matched;
                self.matched += 1;
                let first = self.paging.first();
                if (first..first.saturating_add(self.paging.per_page)).contains(&position) {
                    self.shown.push(item);
                }
            }
        }
        let read = self.next_page * self.upstream_per_page;
        let is_last = received < self.upstream_per_page
            || page.info.total_count.is_some_and(|total| read >= total)
            || self.at_most.is_some_and(|most| self.matched >= most);
        if is_last {
            return Ok(Step::Done);
        }
        if self.next_page >= MAX_PAGES {
            return Err(Refusal::new(
                Code::InvalidParams,
                "The list is too long to be filtered in one call: narrow it with a filter such as `name` or `type`.",
            ));
        }
        self.next_page += 1;
        Ok(Step::Continue)
    }

    /// The page the caller asked for, as a v4 envelope.
    #[must_use]
    pub(super) fn into_body(self) -> String {
        let Paging { page, per_page } = self.paging;
        envelope(&self.shown, page, per_page, self.matched)
    }
}

#[derive(Serialize)]
struct ListEnvelope<'a, T> {
    success: bool,
    errors: [(); 0],
    messages: [(); 0],
    result: &'a [T],
    result_info: ResultInfo,
}

#[derive(Serialize)]
struct ResultInfo {
    page: u64,
    per_page: u64,
    count: u64,
    total_count: u64,
    total_pages: u64,
}

fn envelope<T: Serialize>(items: &[T], page: u64, per_page: u64, total_count: u64) -> String {
    let body = ListEnvelope {
        success: true,
        errors: [],
        messages: [],
        result: items,
        result_info: ResultInfo {
            page,
            per_page,
            count: items.len() as u64,
            total_count,
            total_pages: total_count.div_ceil(per_page.max(1)),
        },
    };
    // Texts, numbers and JSON that was parsed before always serialise.
    serde_json::to_string(&body).unwrap_or_default()
}

/// A list that is known whole, cut to the page the caller asked for.
#[must_use]
pub fn page_of<T: Serialize>(items: &[T], paging: Paging) -> String {
    let first = usize::try_from(paging.first()).unwrap_or(usize::MAX);
    let size = usize::try_from(paging.per_page).unwrap_or(usize::MAX);
    let rest = items.get(first..).unwrap_or_default();
    let shown = rest.get(..size).unwrap_or(rest);
    envelope(shown, paging.page, paging.per_page, items.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Head;
    use http::StatusCode;

    fn answer(items: std::ops::Range<u64>, total: u64) -> Answer {
        let items: Vec<u64> = items.collect();
        let body = serde_json::json!({"success": true, "errors": [], "result": items, "result_info": {"total_count": total}});
        Answer {
            head: Head {
                status: StatusCode::OK,
                cf_ray: None,
                retry_after_secs: None,
            },
            body: Some(body.to_string().into_bytes()),
        }
    }

    fn run(query: &str, total: u64, at_most: Option<u64>) -> (serde_json::Value, Vec<String>) {
        let paging = Paging::read(Some(query), 20).unwrap();
        let mut walk = Walk::new("/zones", Some(query), &[], paging, 5, at_most);
        let mut asked = Vec::new();
        loop {
            let exchange = walk.exchange();
            asked.push(exchange.target);
            let start = (asked.len() as u64 - 1) * 5;
            let page = answer(start..(start + 5).min(total), total);
            match walk
                .take(&page, |item| item.get().parse::<u64>().unwrap() % 2 == 0)
                .unwrap()
            {
                Step::Continue => {}
                Step::Done => return (serde_json::from_str(&walk.into_body()).unwrap(), asked),
            }
        }
    }

    #[test]
    fn counts_and_pages_are_right_after_filtering() {
        let (body, asked) = run("name=contains:e&page=2&per_page=3", 12, None);
        assert_eq!(body["result"], serde_json::json!([6, 8, 10]));
        assert_eq!(
            body["result_info"],
            serde_json::json!({"page": 2, "per_page": 3, "count": 3, "total_count": 6, "total_pages": 2})
        );
        assert_eq!(
            asked,
            [
                "/zones?name=contains:e&page=1&per_page=5",
                "/zones?name=contains:e&page=2&per_page=5",
                "/zones?name=contains:e&page=3&per_page=5"
            ]
        );
    }

    #[test]
    fn a_page_past_the_end_is_empty_and_the_walk_ends_once_all_are_found() {
        let (body, _) = run("page=9", 12, None);
        assert_eq!(body["result"], serde_json::json!([]));
        assert_eq!(body["result_info"]["total_count"], 6);
        let (body, asked) = run("", 100, Some(3));
        assert_eq!(
            (body["result"].clone(), asked.len()),
            (serde_json::json!([0, 2, 4]), 1)
        );
    }

    #[test]
    fn bad_paging_is_refused() {
        for bad in [
            "page=0",
            "page=x",
            "per_page=-1",
            "per_page=5000001",
            "page=1&page=2",
        ] {
            assert!(Paging::read(Some(bad), 20).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_that_is_no_page_shows_nothing() {
        let mut walk = Walk::new(
            "/zones",
            None,
            &[],
            Paging {
                page: 1,
                per_page: 20,
            },
            5,
            None,
        );
        let html = Answer {
            body: Some(b"<html>".to_vec()),
            ..answer(0..1, 1)
        };
        assert_eq!(
            walk.take(&html, |_| true).map(|_| ()).unwrap_err().code,
            Code::UpstreamUnknown
        );
        assert_eq!(walk.exchange().target, "/zones?page=1&per_page=5");
    }

    #[test]
    fn a_whole_list_is_cut_to_its_page() {
        let paging = Paging::read(Some("page=2&per_page=2"), 20).unwrap();
        let body: serde_json::Value = serde_json::from_str(&page_of(&[1, 2, 3], paging)).unwrap();
        assert_eq!(body["result"], serde_json::json!([3]));
        assert_eq!(body["result_info"]["total_pages"], 2);
    }
}
