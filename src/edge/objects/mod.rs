//! The classes of Durable Objects: what one request must wait for or share with another.

mod jwks;
mod zone;
