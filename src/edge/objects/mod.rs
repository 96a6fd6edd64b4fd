//! The Durable Objects: what requests of several isolates must wait for one another at.

mod zone;
