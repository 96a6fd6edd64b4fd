//! When a read is tried again. Writes never are: what may have happened must not be repeated.

use super::transport::Fault;
use http::StatusCode;

/// How often a read is sent at the most.
pub const MAX_READ_ATTEMPTS: u32 = 3;

/// How long to wait before sending a read again, in milliseconds; `None` when it stands.
///
/// Tried again are transport faults and 500, 502, 503 and 504, at most [`MAX_READ_ATTEMPTS`] times,
/// after 100, then 200 ms, each raised by up to as much again by `jitter` so that callers do not
/// march in step. A 429 is never tried again here: Cloudflare then refuses everything for minutes.
#[must_use]
pub fn retry_delay_ms(attempt: u32, ended: Result<StatusCode, Fault>, jitter: u16) -> Option<u32> {
    let transient = match ended {
        Ok(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
        Err(Fault::Network) => true,
        // The time is up already.
        Err(Fault::Deadline) => false,
    };
    if !transient || attempt >= MAX_READ_ATTEMPTS {
        return None;
    }
    let base = 100_u32 << attempt.saturating_sub(1).min(8);
    Some(base + base * u32::from(jitter) / u32::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_tried_three_times_with_growing_waits() {
        let failed = Ok(StatusCode::BAD_GATEWAY);
        assert_eq!(retry_delay_ms(1, failed, 0), Some(100));
        assert_eq!(retry_delay_ms(2, failed, u16::MAX), Some(400));
        assert_eq!(retry_delay_ms(3, failed, 0), None);
        assert_eq!(retry_delay_ms(1, Err(Fault::Network), 0), Some(100));
        assert_eq!(retry_delay_ms(1, Err(Fault::Deadline), 0), None);
        for status in [200, 400, 404, 429] {
            assert_eq!(
                retry_delay_ms(1, Ok(StatusCode::from_u16(status).unwrap()), 0),
                None
            );
        }
    }
}
