//! The compiled policy and its decision.
