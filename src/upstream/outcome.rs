//! How a call ended, decided in one place from status, `success` and error codes.

use http::StatusCode;

use super::envelope::Envelope;

/// How an upstream call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Confirmed,
    /// It did not happen; Cloudflare says why.
    Refused,
    /// It did not happen; too many calls. Seconds to wait, where Cloudflare says.
    Throttled {
        /// Whole seconds, from `retry-after`.
        retry_after_secs: Option<u32>,
    },
    /// It may have happened.
    Unknown,
}

impl Outcome {
    /// The word the audit log has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Throttled { .. } => "throttled",
            Self::Unknown => "unknown",
        }
    }
}

/// Classifies an answer.
///
/// `envelope` is the parsed body where it was read; a body that is passed through unread counts as
/// what its status says. A 2xx whose envelope says `success: false` was refused. A 4xx was refused
/// whatever its body says, but for 408 (the request may have been acted upon) and 429. Anything
/// else (5xx, a redirect, an informational status) proves nothing.
#[must_use]
pub fn classify(
    status: StatusCode,
    envelope: Option<&Envelope>,
    retry_after_secs: Option<u32>,
) -> Outcome {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Throttled { retry_after_secs },
        StatusCode::REQUEST_TIMEOUT => Outcome::Unknown,
        _ if status.is_success() => match envelope {
            Some(envelope) if envelope.success == Some(false) => Outcome::Refused,
            _ => Outcome::Confirmed,
        },
        _ if status.is_client_error() => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: Option<&str>, expected: Outcome) {
        let envelope = body.and_then(|body| Envelope::parse(body.as_bytes()));
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            classify(status, envelope.as_ref(), Some(7)),
            expected,
            "{status} {body:?}"
        );
    }

    #[test]
    fn status_success_and_codes_decide_together() {
        use Outcome::{Confirmed, Refused, Unknown};
        let ok = r#"{"success":true,"errors":[],"messages":[],"result":{}}"#;
        let failed = r#"{"success":false,"errors":[{"code":1004,"message":"no"}],"messages":null,"result":null}"#;
        check(200, Some(ok), Confirmed);
        check(200, None, Confirmed);
        check(200, Some("<html>"), Confirmed);
        check(
            200,
            Some(r#"{"success":true,"errors":[],"result":null,"extra":1}"#),
            Confirmed,
        );
        check(200, Some(failed), Refused);
        check(
            200,
            Some(r#"{"success":false,"errors":[],"result":null}"#),
            Refused,
        );
        check(204, None, Confirmed);
        check(400, Some(failed), Refused);
        check(400, Some(ok), Refused);
        check(
            403,
            Some(r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#),
            Refused,
        );
        check(404, None, Refused);
        check(408, None, Unknown);
        check(409, None, Refused);
        check(
            429,
            None,
            Outcome::Throttled {
                retry_after_secs: Some(7),
            },
        );
        for status in [301, 500, 502, 503, 504, 520, 530] {
            check(status, Some("<html>"), Unknown);
        }
    }
}
