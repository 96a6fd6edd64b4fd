//! Who is calling: credentials as they arrive, and the API keys they may be.
//!
//! Owns the forms of credentials and of keys. It does not know what a principal may do, and it
//! holds no secret longer than it takes to hash it.

mod credential;
mod key;

pub use credential::{Credential, CredentialError, CredentialHeaders};
pub use key::{Digest, Key, KeyId, KeyRecord, KeyState, MalformedKey, Pepper};
