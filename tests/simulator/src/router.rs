//! The table of modelled operations, and how a request finds its row.
//!
//! NOTES "Matching a request to a row": a literal segment wins over a parameter. Parameters whose
//! name ends in `_id` must be object ids, others take any segment.

use percent_encoding::percent_decode_str;

use crate::api::{ApiError, Outcome};
use crate::ids::is_id;
use crate::world::Call;
use crate::{
    access, accounts, certificates, d1, dns, graphql, kv, lists, load_balancing, logpush, members,
    page_rules, purge, queues, r2, rulesets, settings, snippets, tokens, user, workers, zones,
};

/// What carries out an operation.
pub(crate) type Handler = fn(&mut Call<'_>) -> Outcome;

/// One row: method, template under `/client/v4`, handler.
pub(crate) type Route = (&'static str, &'static str, Handler);

/// The prefix of every v4 path.
pub(crate) const PREFIX: &str = "/client/v4";

#[derive(Debug)]
enum Segment {
    Literal(&'static str),
    Param(&'static str),
}

#[derive(Debug)]
struct Row {
    method: &'static str,
    segments: Vec<Segment>,
    handler: Handler,
}

/// The compiled table.
#[derive(Debug)]
pub(crate) struct Router {
    rows: Vec<Row>,
}

/// A request that found its row.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) handler: Handler,
    pub(crate) params: Vec<(&'static str, String)>,
}

impl Router {
    /// The table of all products.
    pub(crate) fn new() -> Self {
        let tables = [
            accounts::routes(),
            user::routes(),
            zones::routes(),
            dns::routes(),
            purge::routes(),
            rulesets::routes(),
            settings::routes(),
            page_rules::routes(),
            lists::routes(),
            tokens::routes(),
            members::routes(),
            access::routes(),
            certificates::routes(),
            load_balancing::routes(),
            snippets::routes(),
            logpush::routes(),
            graphql::routes(),
            workers::routes(),
            kv::routes(),
            d1::routes(),
            r2::routes(),
            queues::routes(),
        ];
        let mut rows: Vec<Row> = tables
            .into_iter()
            .flatten()
            .map(|(method, template, handler)| Row {
                method,
                segments: template.split('/').skip(1).map(segment).collect(),
                handler,
            })
            .collect();
        // Literals before parameters, place by place, so that the first match is the right one.
        rows.sort_by_key(|row| {
            row.segments
                .iter()
                .map(|s| matches!(s, Segment::Param(_)))
                .collect::<Vec<_>>()
        });
        Self { rows }
    }

    /// Finds the row of a request by its still encoded path.
    ///
    /// # Errors
    /// 404 with 7003 when nothing models the operation, 400 with 7003 when an object identifier
    /// in the path is malformed.
    pub(crate) fn find(&self, method: &str, path: &str) -> Result<Match, ApiError> {
        let unknown = || {
            ApiError::new(
                404,
                7003,
                format!("The simulator does not model {method} {path}"),
            )
        };
        let rest = path.strip_prefix(PREFIX).ok_or_else(unknown)?;
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        // `/zones/` is `/zones`.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let segments: Vec<&str> = rest.split('/').collect();
        // HEAD is GET without the body, which the server leaves away.
        let method = if method == "HEAD" { "GET" } else { method };
        let row = self
            .rows
            .iter()
            .find(|row| row.method == method && row.fits(&segments))
            .ok_or_else(unknown)?;
        let mut params = Vec::new();
        for (part, text) in row.segments.iter().zip(&segments) {
            if let Segment::Param(name) = part {
                let value = percent_decode_str(text).decode_utf8_lossy().into_owned();
                if name.ends_with("_id") && !is_id(&value) {
                    return Err(ApiError::no_route(&format!("/{rest}")));
                }
                params.push((*name, value));
            }
        }
        Ok(Match {
            handler: row.handler,
            params,
        })
    }
}

impl Row {
    fn fits(&self, segments: &[&str]) -> bool {
        self.segments.len() == segments.len()
            && self
                .segments
                .iter()
                .zip(segments)
                .all(|(part, text)| match part {
                    Segment::Literal(literal) => literal == text,
                    Segment::Param(_) => !text.is_empty(),
                })
    }
}

fn segment(text: &'static str) -> Segment {
    text.strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .map_or(Segment::Literal(text), Segment::Param)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_literal_wins_over_a_parameter() {
        let router = Router::new();
        let path = format!("/client/v4/zones/{ID}/dns_records/export");
        assert_eq!(router.find("GET", &path).unwrap().params.len(), 1);
        let path = format!("/client/v4/zones/{ID}/dns_records/{ID}");
        assert_eq!(router.find("GET", &path).unwrap().params.len(), 2);
    }

    #[test]
    fn a_malformed_id_is_400_and_an_unmodelled_operation_404() {
        let router = Router::new();
        let error = router.find("GET", "/client/v4/zones/abc").unwrap_err();
        assert_eq!((error.status, error.code), (400, 7003));
        let error = router.find("GET", "/client/v4/zones//x").unwrap_err();
        assert_eq!((error.status, error.code), (404, 7003));
        let error = router.find("PURGE", "/client/v4/zones").unwrap_err();
        assert_eq!(
            error.message,
            "The simulator does not model PURGE /client/v4/zones"
        );
    }

    #[test]
    fn one_trailing_slash_is_nothing() {
        assert!(Router::new().find("GET", "/client/v4/zones/").is_ok());
        assert!(Router::new().find("GET", "/client/v4/zones//").is_err());
    }
}
