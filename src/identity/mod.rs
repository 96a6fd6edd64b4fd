//! Who is calling: credentials as they arrive, the API keys they may be, tokens of issuers, and
//! deliveries of webhooks.
//!
//! Owns the forms of credentials, of keys and of tokens, and how a token proves who sent it. It does not
//! know what a principal may do, and it holds no secret longer than it takes to hash it.

mod access;
mod claims;
mod credential;
mod issuer;
mod jwks;
mod jwt;
mod key;
mod rule;
mod verify;
mod webhook;

pub use access::AccessHeaders;
pub use claims::{Claims, ClaimsError, SKEW_MS};
pub use credential::{Credential, CredentialError, CredentialHeaders};
pub use issuer::{
    Fetcher, Issuers, Keeper, KeeperWorld, KeyRing, KeySource, MAX_KEYS_AGE_MS, Published,
    may_fetch, question,
};
pub use jwks::{KeyError, KeySet, KeySetError, MAX_KEY_SET_BYTES, PublicKey};
pub use jwt::{Algorithm, Jws, MAX_TOKEN_BYTES, TokenError};
pub use key::{Digest, Key, KeyId, KeyRecord, KeyState, Login, MalformedKey, Pepper};
pub use rule::{behind, fits, max_lifetime_secs, person, rule_digest, traces};
pub use verify::{Unproven, Verifier, prove};
pub use webhook::{HookSecret, Proven, is_usable, prove_delivery, standard_signature};
