//! Every way in which we say no, in one table: code, name and status.

use std::fmt::Write as _;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::identity::CredentialError;

/// Why a call was not carried out. The numbers are ours (never 10000, which clients take for
/// trouble with their token) and stay the same for ever; the names are anchors of `/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The path is not in canonical form.
    NonCanonicalPath,
    /// More than one credential.
    AmbiguousCredentials,
    /// The body is not what it should be.
    MalformedBody,
    /// A key stands twice in a JSON object.
    DuplicateKey,
    /// The body is too large.
    BodyTooLarge,
    /// The body did not come in time.
    BodyTimeout,
    /// The route takes other methods.
    MethodNotAllowed,
    /// No credential.
    NoCredential,
    /// A credential that is not accepted.
    InvalidCredential,
    /// No grant allows it, or one denies it.
    Denied,
    /// The catalogue does not know it and no grant names it.
    UnknownOperation,
    /// It would widen rights or touch the gateway itself.
    Escalation,
    /// Somebody has to approve it first.
    ApprovalRequired,
    /// The grant that would allow it has been used as often as it may be.
    UsedUp,
    /// Another configuration came first.
    ConfigVersion,
    /// The configuration has errors.
    InvalidConfig,
    /// A parameter is wrong.
    InvalidParams,
    /// The idempotency key was used with something else.
    IdempotencyMismatch,
    /// The job of a hook cannot be run with what a delivery brings.
    DeliveryRefused,
    /// The grant that would allow it has been used too often lately.
    RateLimited,
    /// The gateway does not proxy such calls.
    NotProxied,
    /// It is documented and not built yet.
    NotBuilt,
    /// It may or may not have happened upstream.
    UpstreamUnknown,
    /// Upstream answered with a redirect.
    UpstreamRedirect,
    /// Upstream's answer holds our credential.
    UpstreamLeak,
    /// Our store is down; nothing was sent.
    StoreUnavailable,
    /// A secret that the configuration names is not there.
    SecretMissing,
    /// There is no such thing here.
    NotFound,
}

/// One row of the table of codes.
#[derive(Debug, Clone, Copy)]
pub struct CodeInfo {
    /// The variant.
    pub code: Code,
    /// The number in `errors[].code`.
    pub number: u16,
    /// The name, anchor of the page that explains it.
    pub name: &'static str,
    /// The status it is sent with.
    pub status: StatusCode,
    /// What it means and what to do, for `/errors`.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($code:ident $number:literal $name:literal $status:ident $meaning:literal)*) => {
        /// Every code there is.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: Code::$code,
            number: $number,
            name: $name,
            status: StatusCode::$status,
            meaning: $meaning,
        }),*];

        impl Code {
            /// Its row of the table.
            #[must_use]
            pub const fn info(self) -> CodeInfo {
                match self {
                    $(Self::$code => CodeInfo {
                        code: Self::$code,
                        number: $number,
                        name: $name,
                        status: StatusCode::$status,
                        meaning: $meaning,
                    }),*
                }
            }
        }
    };
}

codes! {
    NonCanonicalPath 20001 "non_canonical_path" BAD_REQUEST "The path has more than one spelling: percent-encoding outside free-text segments, empty or dot segments, a trailing slash, odd characters. Send its plain form."
    AmbiguousCredentials 20002 "ambiguous_credentials" BAD_REQUEST "Exactly one credential may be sent, either as Authorization or as X-Auth-Key."
    MalformedBody 20003 "malformed_body" BAD_REQUEST "The body is not valid JSON, is nested deeper than 32, or lacks what the operation needs."
    DuplicateKey 20004 "duplicate_key" BAD_REQUEST "A key stands twice in one JSON object, so that two readers could take it differently."
    BodyTooLarge 20005 "body_too_large" PAYLOAD_TOO_LARGE "The body is larger than what is read for this operation."
    BodyTimeout 20006 "body_timeout" REQUEST_TIMEOUT "The body did not arrive in time."
    MethodNotAllowed 20007 "method_not_allowed" METHOD_NOT_ALLOWED "There is nothing here for this method."
    NoCredential 20010 "no_credential" UNAUTHORIZED "Send a Zonekeeper key as Authorization: Bearer, or as X-Auth-Key."
    InvalidCredential 20011 "invalid_credential" UNAUTHORIZED "The credential is unknown, revoked, expired or of a kind that does not open this route. All of these get the same answer."
    Denied 20020 "denied" FORBIDDEN "No grant allows this call, or one denies it. The message names the rule and what would be needed."
    UnknownOperation 20021 "unknown_operation" FORBIDDEN "The catalogue does not know this call; only a grant that names METHOD and template reaches it."
    Escalation 20022 "escalation" FORBIDDEN "The call could widen rights or reach Zonekeeper itself; only a grant that names the operation id reaches it."
    ApprovalRequired 20023 "approval_required" FORBIDDEN "A grant asks for somebody's approval."
    UsedUp 20025 "used_up" FORBIDDEN "The grant that would allow this call says how often it may be used, and that is reached."
    ConfigVersion 20030 "config_version" PRECONDITION_FAILED "The configuration in force is not the version that was expected. Read it again and plan anew."
    InvalidConfig 20031 "invalid_config" BAD_REQUEST "The configuration has errors; each message names line and field. Nothing was changed."
    InvalidParams 20032 "invalid_params" BAD_REQUEST "A parameter or field is missing, unknown or of the wrong form."
    IdempotencyMismatch 20040 "idempotency_mismatch" UNPROCESSABLE_ENTITY "The Idempotency-Key was used within the last day with another body. Nothing was done."
    DeliveryRefused 20043 "delivery_refused" UNPROCESSABLE_ENTITY "The delivery is its sender's and is on record, but it started nothing: the job of the hook cannot be run with what it brings. Once that is mended, replay it."
    RateLimited 20050 "rate_limited" TOO_MANY_REQUESTS "The grant that would allow this call says how many calls it allows in a minute. Retry-After says when there is room again."
    NotProxied 20060 "not_proxied" NOT_IMPLEMENTED "Websockets, event streams and methods other than GET, HEAD, POST, PUT, PATCH and DELETE are not handed through."
    NotBuilt 20061 "not_built" NOT_IMPLEMENTED "Documented, but not built in this version; it is refused rather than ignored."
    UpstreamUnknown 20070 "upstream_unknown" BAD_GATEWAY "Cloudflare's answer did not arrive or proves nothing. Of a write: it may have happened; the audit log tells once it is settled."
    UpstreamRedirect 20071 "upstream_redirect" BAD_GATEWAY "Cloudflare's API answered with a redirect, which is never followed."
    UpstreamLeak 20072 "upstream_leak" BAD_GATEWAY "Cloudflare's answer held a credential of this gateway and was withheld."
    StoreUnavailable 20080 "store_unavailable" SERVICE_UNAVAILABLE "The store cannot be reached or the call cannot be recorded. Nothing was sent."
    SecretMissing 20081 "secret_missing" SERVICE_UNAVAILABLE "A secret of the Worker that the hook names is not set or is of no use, so deliveries cannot be told from forgeries. The alarms name it."
    NotFound 20090 "not_found" NOT_FOUND "There is nothing here by that name."
}

impl From<CredentialError> for Code {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Missing => Self::NoCredential,
            CredentialError::Ambiguous => Self::AmbiguousCredentials,
            CredentialError::UnknownScheme => Self::InvalidCredential,
        }
    }
}

/// A refusal on its way to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub code: Code,
    /// One sentence: who asked for what, what decided, what would be needed.
    pub message: String,
    /// Further problems of the same kind, each a sentence: the errors of a configuration.
    pub further: Vec<String>,
    /// Seconds after which it may be tried again, where that is known.
    pub retry_after_secs: Option<u32>,
}

impl Refusal {
    /// A refusal with its sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            further: Vec::new(),
            retry_after_secs: None,
        }
    }

    /// The status it is sent with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.code.info().status
    }

    /// The v4 envelope. `origin` is the gateway's own, such as `https://zk.example.com`, below
    /// which `/errors` explains the codes.
    #[must_use]
    pub fn body(&self, origin: &str) -> String {
        self.body_with(origin, Value::Null)
    }

    /// The same with a result, for what was refused and is on record by a name.
    #[must_use]
    pub fn body_with(&self, origin: &str, result: Value) -> String {
        let info = self.code.info();
        let errors: Vec<ErrorItem<'_>> = std::iter::once(&self.message)
            .chain(&self.further)
            .map(|message| ErrorItem {
                code: info.number,
                message,
                documentation_url: format!("{origin}/errors#{}", info.name),
            })
            .collect();
        let body = ErrorEnvelope {
            success: false,
            errors,
            messages: [],
            result,
        };
        // A struct of texts and numbers always serialises.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    success: bool,
    errors: Vec<ErrorItem<'a>>,
    messages: [(); 0],
    result: Value,
}

#[derive(Serialize)]
struct ErrorItem<'a> {
    code: u16,
    message: &'a str,
    documentation_url: String,
}

/// The page behind every `documentation_url`.
#[must_use]
pub fn codes_page() -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Zonekeeper error codes</title><h1>Zonekeeper error codes</h1><dl>",
    );
    for info in CODES {
        let _ = write!(
            page,
            "<dt id=\"{}\"><b>{} {}</b> (HTTP {})</dt><dd>{}</dd>",
            info.name,
            info.number,
            info.name,
            info.status.as_u16(),
            info.meaning
        );
    }
    page.push_str("</dl></html>");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_never_10000() {
        for (index, info) in CODES.iter().enumerate() {
            assert_eq!(info.code.info().number, info.number);
            assert!((20_000..20_100).contains(&info.number));
            for other in &CODES[index + 1..] {
                assert!(other.number != info.number && other.name != info.name);
            }
        }
    }

    #[test]
    fn a_decision_is_never_a_status_that_clients_retry() {
        for code in [
            Code::Denied,
            Code::UsedUp,
            Code::UnknownOperation,
            Code::Escalation,
            Code::ApprovalRequired,
        ] {
            assert_eq!(code.info().status, StatusCode::FORBIDDEN);
        }
    }

    #[test]
    fn the_body_is_a_v4_envelope() {
        let refusal = Refusal::new(Code::Denied, "acme-bot may not.");
        assert_eq!(
            refusal.body("https://zk"),
            r#"{"success":false,"errors":[{"code":20020,"message":"acme-bot may not.","documentation_url":"https://zk/errors#denied"}],"messages":[],"result":null}"#
        );
    }
}
