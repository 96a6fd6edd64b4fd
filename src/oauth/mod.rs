//! `POST /oauth/token`: the token of an OIDC issuer for a short-lived key (RFC 8693).
//!
//! Owns the form of request and answer, and the order in which a token is looked at. Whether a token
//! proves anything is `identity`'s to say.

mod exchange;
mod refused;
mod request;

/// Where tokens are exchanged.
pub const TOKEN_PATH: &str = "/oauth/token";
