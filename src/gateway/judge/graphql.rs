//! Analytics queries: which zones, accounts and datasets they read.

use super::{Attached, Judgement, OwnedFacts, malformed, sanitised};
use crate::audit::Action;
use crate::catalog::Family;
use crate::gateway::refusal::Refusal;
use crate::graphql;
use crate::model::json::Json;
use crate::policy::{Resource, Thing};

pub(super) fn query(body: &Json) -> Result<(Judgement, Attached), Refusal> {
    let reading = graphql::read(body)
        .map_err(|error| malformed(format!("The query cannot be judged: {error}.")))?;
    let zones = reading.zones.into_iter().map(Resource::Zone);
    let accounts = reading.accounts.into_iter().map(Resource::Account);
    let shown: Vec<String> = reading
        .datasets
        .iter()
        .take(5)
        .map(|name| sanitised(name, 60))
        .collect();
    let more = if reading.datasets.len() > 5 {
        " and others"
    } else {
        ""
    };
    let action = Action::new(format!("query analytics ({}{more})", shown.join(", ")));
    let things = reading.datasets.into_iter();
    let things = things.map(|name| Thing::new(Family::Graphql, name));
    let facts = OwnedFacts::Things(things.collect());
    let judgement = Judgement::of(reading.body, facts, action);
    let attached = Attached {
        resources: zones.chain(accounts).collect(),
        ..Attached::default()
    };
    Ok((judgement, attached))
}
