//! Everything of a call that must be allowed, one by one: each record, each part of a purge, each
//! thing that is named, each part of an upload.

use crate::catalog::Family;

use super::decide::{Ask, Place};
use super::grant::Item;
use super::purge::PurgeItem;
use super::workers::{self, Deciding, Right, Subject};
use super::{Facts, Policy, Request, Resource, Target, WorkerPart};

impl Policy {
    /// Calls `visit` for each item at each place: all of it must be allowed. False when the call does
    /// not say which zone or account it is about although it is about one.
    pub(super) fn each(
        &self,
        ask: &Ask<'_>,
        request: &Request<'_>,
        mut visit: impl FnMut(Place, Item<'_>),
    ) -> bool {
        match request.facts {
            Facts::Records(records) if ask.family == Family::Dns && !records.is_empty() => self
                .places(ask, request, |place| {
                    for record in records {
                        visit(place, Item::Record(record, records.len()));
                    }
                }),
            Facts::Changes { records, changes }
                if ask.family == Family::Dns && !records.is_empty() =>
            {
                self.places(ask, request, |place| {
                    for record in records {
                        visit(place, Item::Record(record, changes));
                    }
                })
            }
            Facts::Purge(facts) if ask.family == Family::Purge => {
                let items = PurgeItem::of(facts);
                self.places(ask, request, |place| match items.as_slice() {
                    [] => visit(place, Item::Unread),
                    items => items
                        .iter()
                        .for_each(|item| visit(place, Item::Purge(item))),
                })
            }
            Facts::Things(things) if !things.is_empty() => self.places(ask, request, |place| {
                for thing in things {
                    visit(place, Item::Thing(thing));
                }
            }),
            Facts::Worker(worker) if ask.family == Family::Workers && !worker.parts.is_empty() => {
                let rights: Vec<Right> = worker
                    .parts
                    .iter()
                    .map(|part| self.right(request, part))
                    .collect();
                let script = &*worker.script;
                self.places(ask, request, |place| {
                    for (part, right) in worker.parts.iter().zip(&rights) {
                        let right = *right;
                        visit(
                            place,
                            Item::Worker {
                                script,
                                part,
                                right,
                            },
                        );
                    }
                })
            }
            // A call about nothing is judged as one of which nothing is known.
            _ => self.places(ask, request, |place| visit(place, Item::Unread)),
        }
    }

    /// Whether the caller may use, in the same account, what a part of an upload binds.
    pub(super) fn right(&self, request: &Request<'_>, part: &WorkerPart) -> Right {
        let WorkerPart::Binding { kind, resource } = part else {
            return Right::Free;
        };
        let (operation, subject) = match workers::deciding(kind, resource.as_deref()) {
            Deciding::Known(right) => return right,
            Deciding::Call(operation, subject) => (operation, subject),
        };
        let resources: Vec<Resource> = request
            .resources
            .iter()
            .copied()
            .filter(|resource| matches!(resource, Resource::Account(_)))
            .collect();
        let facts = match &subject {
            Subject::Thing(thing) => Facts::Things(std::slice::from_ref(thing)),
            Subject::Script(worker) => Facts::Worker(worker),
            Subject::Whole => Facts::Unread,
        };
        let decision = self.decide(&Request {
            target: Target::Operation(operation),
            resources: &resources,
            facts,
            is_own: false,
            ..*request
        });
        if decision.is_allowed() {
            Right::Held
        } else {
            Right::NotHeld
        }
    }
}
