//! The API's global rate limit.
//!
//! NOTES "Rate limits": 1,200 requests in 5 minutes per user, over all of the user's credentials
//! together; past it every call is refused for the next five minutes with 429. The notes do not
//! say whether the window slides; this one starts with its first request (hypothesis).

use crate::clock::{Now, SECOND};

/// The limiter and its settings.
#[derive(Debug)]
pub(crate) struct Limiter {
    requests: u64,
    window: i64,
    block: i64,
    used: u64,
    started: Option<Now>,
    blocked_until: Option<Now>,
}

/// What the limiter says about one request, and the numbers for its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Seconds to wait; the request is refused when present.
    pub(crate) retry_after: Option<i64>,
    pub(crate) quota: u64,
    pub(crate) window_secs: i64,
    pub(crate) remaining: u64,
    pub(crate) reset_secs: i64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(1200, 300, 300)
    }
}

impl Limiter {
    /// A limiter of `requests` per window, with a block of `block_secs` past it.
    pub(crate) fn new(requests: u64, window_secs: i64, block_secs: i64) -> Self {
        Self {
            requests,
            window: window_secs.saturating_mul(SECOND),
            block: block_secs.saturating_mul(SECOND),
            used: 0,
            started: None,
            blocked_until: None,
        }
    }

    /// Counts one request and says whether it may pass.
    pub(crate) fn admit(&mut self, now: Now) -> Verdict {
        self.roll(now);
        if self.blocked_until.is_none() {
            if self.used < self.requests {
                self.used += 1;
                self.started.get_or_insert(now);
            } else {
                self.blocked_until = Some(Now(now.0.saturating_add(self.block)));
            }
        }
        self.verdict(now)
    }

    /// The numbers without counting: for answers to requests of nobody in particular.
    pub(crate) fn peek(&mut self, now: Now) -> Verdict {
        self.roll(now);
        Verdict {
            retry_after: None,
            ..self.verdict(now)
        }
    }

    fn roll(&mut self, now: Now) {
        let block_over = self.blocked_until.is_some_and(|until| now >= until);
        let window_over = self.blocked_until.is_none()
            && self
                .started
                .is_some_and(|s| now.0.saturating_sub(s.0) >= self.window);
        if block_over || window_over {
            self.used = 0;
            self.started = None;
            self.blocked_until = None;
        }
    }

    fn verdict(&self, now: Now) -> Verdict {
        // NOTES "Rate limits": whole seconds, rounded up.
        let ceil = |micros: i64| micros.max(0).saturating_add(SECOND - 1) / SECOND;
        let window_end = self.started.unwrap_or(now).0.saturating_add(self.window);
        let retry_after = self
            .blocked_until
            .map(|until| ceil(until.0.saturating_sub(now.0)));
        Verdict {
            retry_after,
            quota: self.requests,
            window_secs: self.window / SECOND,
            remaining: if retry_after.is_some() {
                0
            } else {
                self.requests.saturating_sub(self.used)
            },
            reset_secs: retry_after.unwrap_or_else(|| ceil(window_end.saturating_sub(now.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Now {
        Now(secs * SECOND)
    }

    #[test]
    fn past_the_quota_every_call_is_refused_for_the_whole_block() {
        let mut limiter = Limiter::new(2, 10, 30);
        assert_eq!(limiter.admit(at(0)).remaining, 1);
        assert_eq!(limiter.admit(at(1)).retry_after, None);
        assert_eq!(limiter.admit(at(9)).retry_after, Some(30));
        // The window would have ended at 10; the block goes on to 39.
        assert_eq!(limiter.admit(at(38)).retry_after, Some(1));
        assert_eq!(limiter.admit(at(39)).retry_after, None);
    }

    #[test]
    fn a_window_that_ends_gives_a_fresh_quota() {
        let mut limiter = Limiter::new(1, 10, 30);
        limiter.admit(at(0));
        let verdict = limiter.admit(at(10));
        assert_eq!(verdict.retry_after, None);
        assert_eq!(verdict.reset_secs, 10);
    }
}
