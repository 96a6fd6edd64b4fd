//! The parameters of a token exchange (RFC 8693 §2.1), as a form or as JSON.

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::refused::Refused;
use crate::model::WebUrl;
use crate::model::json::{self, Json};

/// The only grant type there is.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What may be exchanged: both mean a JWT that an OIDC issuer signed.
const SUBJECT_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
];
/// What comes back.
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The token to exchange.
    pub(super) subject_token: String,
    /// The principal meant, where the caller says.
    pub(super) principal: Option<String>,
    /// Audiences, each the name of the principal meant or its configured audience.
    pub(super) audiences: Vec<String>,
}

/// Every parameter with its values. Unknown ones are ignored (RFC 6749 §3.2); without a value is the
/// same as absent.
type Parameters = BTreeMap<String, Vec<String>>;

impl Request {
    /// Reads a body of the given content type; `origin` is our own.
    pub(super) fn read(
        content_type: Option<&str>,
        body: &[u8],
        origin: &str,
    ) -> Result<Self, Refused> {
        let parameters = parameters(content_type, body)?;
        // Only these may be repeated (RFC 8693 §2.1).
        let many = |name: &str| parameters.get(name).map_or(&[][..], Vec::as_slice);
        let one = |name: &str| match many(name) {
            [] => Ok(None),
            [value] => Ok(Some(value.as_str())),
            _ => Err(Refused::request(format!(
                "The parameter {name} is given twice."
            ))),
        };
        match one("grant_type")? {
            Some(TOKEN_EXCHANGE) => {}
            Some(_) => {
                let message = format!("The only grant_type is {TOKEN_EXCHANGE}.");
                return Err(Refused::of("unsupported_grant_type", message));
            }
            None => return Err(Refused::request("The parameter grant_type is missing.")),
        }
        let subject_token = one("subject_token")?
            .ok_or_else(|| Refused::request("The parameter subject_token is missing."))?;
        if !one("subject_token_type")?.is_some_and(|kind| SUBJECT_TYPES.contains(&kind)) {
            let message = format!(
                "The subject_token_type must be {}.",
                SUBJECT_TYPES.join(" or ")
            );
            return Err(Refused::request(message));
        }
        if one("requested_token_type")?.is_some_and(|kind| kind != ACCESS_TOKEN) {
            let message = format!("The only requested_token_type is {ACCESS_TOKEN}.");
            return Err(Refused::request(message));
        }
        for name in ["actor_token", "actor_token_type"] {
            if one(name)?.is_some() {
                return Err(Refused::request(format!(
                    "The parameter {name} is not supported."
                )));
            }
        }
        if one("scope")?.is_some() {
            let message = "There are no scopes: what the key opens is what the configuration grants the principal.";
            return Err(Refused::of("invalid_scope", message));
        }
        let is_ours =
            |resource: &String| WebUrl::parse(resource).is_some_and(|url| url.origin() == origin);
        if !many("resource").iter().all(is_ours) {
            let message = "The only resource is this Zonekeeper itself.";
            return Err(Refused::of("invalid_target", message));
        }
        Ok(Self {
            subject_token: subject_token.to_owned(),
            principal: one("principal")?.map(str::to_owned),
            audiences: many("audience").to_vec(),
        })
    }
}

fn parameters(content_type: Option<&str>, body: &[u8]) -> Result<Parameters, Refused> {
    let media_type = content_type.and_then(|value| value.split(';').next());
    let mut found = Parameters::new();
    let mut add = |name: String, value: String| {
        if !value.is_empty() {
            found.entry(name).or_default().push(value);
        }
    };
    match media_type.map(str::trim) {
        Some("application/x-www-form-urlencoded") => {
            for (name, value) in form_urlencoded::parse(body) {
                add(name.into_owned(), value.into_owned());
            }
        }
        Some("application/json") => {
            let wrong =
                || Refused::request("The body must be one JSON object of texts, no key twice.");
            let json = json::parse(body).map_err(|_| wrong())?;
            for (name, value) in json.as_object().ok_or_else(wrong)? {
                let texts = match value {
                    Json::Array(items) => items.as_slice(),
                    one => std::slice::from_ref(one),
                };
                for text in texts {
                    add(name.clone(), text.as_str().ok_or_else(wrong)?.to_owned());
                }
            }
        }
        _ => {
            return Err(Refused::request(
                "The body must be application/x-www-form-urlencoded or application/json.",
            ));
        }
    }
    Ok(found)
}
