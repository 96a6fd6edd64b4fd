//! The simulator's behaviour, over HTTP and without a network.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod support;
