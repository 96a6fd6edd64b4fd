//! The simulator's behaviour, over HTTP and without a network.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dns;
#[cfg(test)]
mod kv;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod support;
#[cfg(test)]
mod triggers;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod workers;
