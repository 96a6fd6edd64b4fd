//! The simulator's behaviour, over HTTP.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod support;
