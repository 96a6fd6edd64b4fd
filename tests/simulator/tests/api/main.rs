//! The simulator's behaviour, over HTTP and without a network.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod control;
#[cfg(test)]
mod deploys;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod github;
#[cfg(test)]
mod graphql;
#[cfg(test)]
mod kv;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod products;
#[cfg(test)]
mod rulesets;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod triggers;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod workers;
