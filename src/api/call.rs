//! One request, as the routes see it.

use super::route::API_PREFIX;
use crate::audit::{Action, What};
use crate::gateway::{Inbound, sanitised};

/// A request on its way through the API.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) inbound: &'a Inbound<'a>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl Call<'_> {
    pub(super) fn what(&self, operation: &str, action: Action) -> What {
        What {
            operation: operation.to_owned(),
            method: sanitised(self.inbound.method, 20),
            path: format!("{API_PREFIX}{}", sanitised(self.path, 200)),
            zone: None,
            resources: Vec::new(),
            action,
            deprecated: false,
        }
    }
}
