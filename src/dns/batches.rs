//! A difference as bodies of `POST …/dns_records/batch`.
//!
//! Cloudflare executes a batch as deletes → patches → puts → posts in one transaction, at most 200
//! records on Free and 3,500 on the other plans (`developers.cloudflare.com`, "Batch record
//! changes"). Batches are full where bytes allow it, so that there are as few as possible.
//!
//! INVARIANT: what stands in the way of a creation is deleted in the same batch or an earlier one.
//! Changes need no order: [`difference`](super::difference) makes none that gives a record the
//! value of another.

use crate::model::sort_by;

use super::{Change, Difference, Record};

/// What one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records in all its lists together; 200 on Free, 3,500 on the other plans. 0 is as good as 1.
    pub records: usize,
    /// Bytes of its body. A record that is longer by itself still gets a batch, of its own.
    pub bytes: usize,
}

/// One call of `POST …/dns_records/batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The JSON body.
    pub body: String,
    /// How many records it touches.
    pub count: usize,
    /// `3 deletions, 1 change and 2 creations`
    pub summary: String,
}

/// Bytes of a body beside its records: the braces, the three lists with their names.
const FRAME_BYTES: usize = r#"{"deletes":[],"puts":[],"posts":[]}"#.len();

/// The batches that carry out a difference, to be sent in this order.
///
/// What is deleted, changed and created under one name is kept in one batch where it can be; where
/// a name must be cut, it is cut such that it is not left without records, if there is any other
/// way. Names that gain records come last, so that a zone at its record quota has room for them.
#[must_use]
pub fn batches(difference: &Difference, limits: Limits) -> Vec<Batch> {
    let limits = Limits {
        records: limits.records.max(1),
        bytes: limits.bytes.saturating_sub(FRAME_BYTES),
    };
    let mut groups = groups(difference);
    let mut batches = Vec::new();
    while !groups.is_empty() {
        let mut filling = Filling {
            limits,
            bytes: 0,
            steps: Vec::new(),
        };
        let cut = filling.fill(&mut groups);
        batches.push(write(&filling.steps));
        // What is left of a name that was cut comes next.
        if let Some(cut) = cut
            && let Some(first) = groups.get_mut(..=cut)
        {
            first.rotate_right(1);
        }
        groups.retain(|group| !group.steps.is_empty());
    }
    batches
}

/// What happens to one record.
#[derive(Clone, Copy)]
enum Action<'d> {
    Delete(&'d Record),
    Put(&'d Change),
    Post(&'d Record),
}

/// The lists of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Deletes,
    Puts,
    Posts,
}

impl<'d> Action<'d> {
    fn record(self) -> &'d Record {
        match self {
            Self::Delete(record) | Self::Post(record) => record,
            Self::Put(change) => &change.before,
        }
    }

    /// The list it belongs to.
    fn list(self) -> List {
        match self {
            Self::Delete(_) => List::Deletes,
            Self::Put(_) => List::Puts,
            Self::Post(_) => List::Posts,
        }
    }

    /// Its item in the body.
    fn write(self) -> String {
        match self {
            Self::Delete(record) => ["{\"id\":\"", &record.id, "\"}"].concat(),
            Self::Put(change) => change.after.to_put(&change.before.id),
            Self::Post(record) => record.to_create(),
        }
    }
}

/// One action in its group.
#[derive(Clone, Copy)]
struct Step<'d> {
    action: Action<'d>,
    /// The bytes of its item with the comma.
    bytes: usize,
    /// Whether it may be in any batch, whatever becomes of the others under its name.
    is_loose: bool,
}

/// What is left to do under one name, last step first. A cut is valid between any two steps.
struct Group<'d> {
    steps: Vec<Step<'d>>,
    /// With exactly so many steps left, the deletions that make room are done and no creation is.
    bond: Option<usize>,
}

impl Group<'_> {
    /// Whether a cut behind so many steps leaves what makes room without what is to fill it.
    fn is_bond(&self, taken: usize) -> bool {
        self.bond == Some(self.steps.len().saturating_sub(taken))
    }

    /// Whether it deletes and creates, so that its steps belong together.
    fn is_mixed(&self) -> bool {
        let has = |list| self.steps.iter().any(|step| step.action.list() == list);
        has(List::Deletes) && has(List::Posts)
    }
}

/// The steps of each name: names that gain records last; before that, those that are kept together
/// first, so that there are others to fill batches up with; then in order.
fn groups(difference: &Difference) -> Vec<Group<'_>> {
    let mut actions: Vec<Action<'_>> = (difference.deletes.iter().map(Action::Delete))
        .chain(difference.creates.iter().map(Action::Post))
        .chain(difference.changes.iter().map(Action::Put))
        .collect();
    sort_by(&mut actions, |a, b| a.record().name.cmp(&b.record().name));
    let mut groups: Vec<(isize, Group<'_>)> = actions
        .chunk_by(|a, b| a.record().name == b.record().name)
        .map(group)
        .collect();
    let place = |(growth, group): &(isize, Group<'_>)| (*growth > 0, !group.is_mixed(), *growth);
    sort_by(&mut groups, |a, b| place(a).cmp(&place(b)));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The steps of one name: deletions that make room, creations, changes, other deletions. Also by
/// how many records the name grows.
fn group<'d>(actions: &[Action<'d>]) -> (isize, Group<'d>) {
    let mut posts = 0_isize;
    let mut deletes = 0_isize;
    let mut making_room = 0_usize;
    let mut ranked = Vec::with_capacity(actions.len());
    for action in actions {
        let rank = match action {
            Action::Delete(record) => {
                deletes += 1;
                if actions.iter().any(|other| is_in_the_way(record, *other)) {
                    making_room += 1;
                    0
                } else {
                    3
                }
            }
            Action::Post(_) => {
                posts += 1;
                1
            }
            Action::Put(_) => 2,
        };
        ranked.push((rank, *action));
    }
    let is_mixed = posts > 0 && deletes > 0;
    // Last first.
    sort_by(&mut ranked, |a, b| b.0.cmp(&a.0));
    let steps: Vec<Step<'_>> = ranked
        .into_iter()
        .map(|(_, action)| Step {
            action,
            bytes: action.write().len() + 1,
            is_loose: !is_mixed,
        })
        .collect();
    let bond = (making_room > 0 && posts > 0).then(|| steps.len() - making_room);
    (posts - deletes, Group { steps, bond })
}

/// Whether the record must be gone before the other one is created under the same name.
///
/// A and AAAA cannot share a name with a CNAME, NS below the apex with nothing but DS, and no two
/// records can be identical. To be sure, CNAME and NS are taken to stand in the way of every type.
fn is_in_the_way(deleted: &Record, other: Action<'_>) -> bool {
    let Action::Post(created) = other else {
        return false;
    };
    let is_alone = |kind: &str| matches!(kind, "CNAME" | "NS");
    deleted.kind == created.kind || is_alone(&deleted.kind) || is_alone(&created.kind)
}

/// A batch being filled.
struct Filling<'d> {
    limits: Limits,
    bytes: usize,
    steps: Vec<Step<'d>>,
}

impl<'d> Filling<'d> {
    /// Takes as many steps as the batch can hold. Gives the place of the group that was cut, if it
    /// is one whose rest should come soon.
    fn fill(&mut self, groups: &mut Vec<Group<'d>>) -> Option<usize> {
        // Whole names, and as much as fits of those whose steps need not stay together.
        for group in groups.iter_mut() {
            if self.is_full() {
                return None;
            }
            let fitting = self.fitting(group);
            if fitting == group.steps.len() || (fitting > 0 && !group.is_mixed()) {
                self.take(group, fitting);
            }
        }
        // All that is left is too large as a whole. The room goes to the first that can be cut
        // without leaving its name empty, or else to the first.
        let mut first = None;
        let mut chosen = None;
        for (index, group) in groups.iter().enumerate() {
            let fitting = self.fitting(group);
            if fitting == 0 {
                continue;
            }
            first = first.or(Some((index, fitting)));
            if !group.is_bond(fitting) {
                chosen = Some((index, fitting));
                break;
            }
        }
        let (index, fitting) = match (chosen, first) {
            (Some(cut), _) => cut,
            (None, Some((index, fitting))) => (index, self.widen(groups, index, fitting)),
            // Nothing fits even an empty batch: one step goes alone.
            (None, None) if self.steps.is_empty() => (0, 1),
            (None, None) => return None,
        };
        self.take(groups.get_mut(index)?, fitting);
        Some(index)
    }

    /// Puts a loose step off, if there is one, so that the group can be cut behind its bond. Gives
    /// how many steps of the group fit.
    fn widen(&mut self, groups: &mut Vec<Group<'d>>, index: usize, fitting: usize) -> usize {
        let Some(at) = self.steps.iter().rposition(|step| step.is_loose) else {
            return fitting;
        };
        let step = self.steps.remove(at);
        self.bytes -= step.bytes;
        let wider = groups.get(index).map_or(0, |group| self.fitting(group));
        if wider > fitting {
            groups.push(Group {
                steps: vec![step],
                bond: None,
            });
            wider
        } else {
            self.bytes += step.bytes;
            self.steps.push(step);
            fitting
        }
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= self.limits.records
    }

    /// How many steps of the group fit.
    fn fitting(&self, group: &Group<'_>) -> usize {
        let mut bytes = self.bytes;
        group
            .steps
            .iter()
            .rev()
            .take(self.limits.records.saturating_sub(self.steps.len()))
            .take_while(|step| {
                bytes += step.bytes;
                bytes <= self.limits.bytes
            })
            .count()
    }

    fn take(&mut self, group: &mut Group<'d>, count: usize) {
        for _ in 0..count {
            if let Some(step) = group.steps.pop() {
                self.bytes += step.bytes;
                self.steps.push(step);
            }
        }
    }
}

fn write(steps: &[Step<'_>]) -> Batch {
    let mut body = String::from("{");
    let mut parts = Vec::new();
    for (list, key, noun) in [
        (List::Deletes, "\"deletes\":[", "deletion"),
        (List::Puts, "\"puts\":[", "change"),
        (List::Posts, "\"posts\":[", "creation"),
    ] {
        let mut count = 0_usize;
        for step in steps.iter().filter(|step| step.action.list() == list) {
            if count > 0 {
                body.push(',');
            } else {
                if body.len() > 1 {
                    body.push(',');
                }
                body.push_str(key);
            }
            count += 1;
            body.push_str(&step.action.write());
        }
        if count > 0 {
            body.push(']');
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {noun}{plural}"));
        }
    }
    body.push('}');
    let summary = match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => [&others.join(", "), " and ", last].concat(),
        None => String::new(),
    };
    Batch {
        body,
        count: steps.len(),
        summary,
    }
}

#[cfg(test)]
mod tests {
    use super::super::difference;
    use super::*;

    const WIDE: usize = 1 << 20;

    /// `name type content` each; ids count from 1.
    fn set(lines: &[&str]) -> Vec<Record> {
        (1..)
            .zip(lines)
            .map(|(number, line)| {
                let words: Vec<&str> = line.split(' ').collect();
                let (name, kind, content) = (words[0], words[1], words[2]);
                let json = format!(
                    r#"{{"id":"{number}","name":"{name}","type":"{kind}","content":"{content}"}}"#
                );
                Record::from_api(&json).unwrap()
            })
            .collect()
    }

    fn parts(current: &[&str], desired: &[&str], records: usize, bytes: usize) -> Vec<Batch> {
        let difference = difference("e.com", set(current), set(desired));
        batches(&difference, Limits { records, bytes })
    }

    /// Each batch as what it does: `-name type` and `+name type`, `~name type`.
    #[track_caller]
    fn check(current: &[&str], desired: &[&str], records: usize, expected: &[&str]) {
        let ids = set(current);
        let found: Vec<String> = parts(current, desired, records, WIDE)
            .iter()
            .map(|batch| {
                let body: serde_json::Value = serde_json::from_str(&batch.body).unwrap();
                let mut words = Vec::new();
                for item in body["deletes"].as_array().into_iter().flatten() {
                    let record = ids.iter().find(|r| item["id"] == *r.id).unwrap();
                    words.push(format!("-{} {}", record.name, record.kind));
                }
                for (list, mark) in [("puts", '~'), ("posts", '+')] {
                    for item in body[list].as_array().into_iter().flatten() {
                        let text = |key: &str| item[key].as_str().unwrap().to_owned();
                        words.push(format!("{mark}{} {}", text("name"), text("type")));
                    }
                }
                assert_eq!(words.len(), batch.count);
                words.join(", ")
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_batch_is_the_body_of_one_call() {
        let found = parts(
            &[
                "a.e.com A 192.0.2.1",
                "b.e.com TXT x",
                "c.e.com TXT x",
                "d.e.com TXT x",
            ],
            &[
                "b.e.com TXT y",
                "a.e.com CNAME b.net",
                "f.e.com A 192.0.2.2",
            ],
            200,
            WIDE,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].body,
            concat!(
                r#"{"deletes":[{"id":"1"},{"id":"3"},{"id":"4"}],"#,
                r#""puts":[{"id":"2","type":"TXT","name":"b.e.com","content":"\"y\"","ttl":1}],"#,
                r#""posts":[{"type":"CNAME","name":"a.e.com","content":"b.net","ttl":1,"proxied":false},"#,
                r#"{"type":"A","name":"f.e.com","content":"192.0.2.2","ttl":1,"proxied":false}]}"#,
            )
        );
        assert_eq!(found[0].count, 6);
        assert_eq!(found[0].summary, "3 deletions, 1 change and 2 creations");
    }

    #[test]
    fn a_summary_counts_what_there_is() {
        let summary = |current: &[&str], desired: &[&str]| {
            parts(current, desired, 9, WIDE)
                .pop()
                .map(|batch| batch.summary)
        };
        assert_eq!(summary(&["a.e.com TXT x"], &[]).unwrap(), "1 deletion");
        assert_eq!(
            summary(
                &["a.e.com TXT x"],
                &["a.e.com TXT y", "a.e.com A 192.0.2.1"]
            )
            .unwrap(),
            "1 change and 1 creation"
        );
        assert_eq!(summary(&[], &[]), None);
    }

    #[test]
    fn names_that_gain_records_come_last() {
        check(
            &["z.e.com TXT x", "m.e.com TXT x"],
            &["a.e.com TXT x", "m.e.com TXT y"],
            1,
            &["-z.e.com TXT", "~m.e.com TXT", "+a.e.com TXT"],
        );
    }

    #[test]
    fn a_name_is_not_left_empty_between_batches() {
        // The change has time: it makes room for the first creation.
        check(
            &["0.e.com TXT x", "a.e.com CNAME b.net"],
            &[
                "0.e.com TXT y",
                "a.e.com A 192.0.2.1",
                "a.e.com A 192.0.2.2",
            ],
            2,
            &["-a.e.com CNAME, +a.e.com A", "~0.e.com TXT, +a.e.com A"],
        );
        check(
            &["a.e.com CNAME b.net", "b.e.com CNAME b.net"],
            &[
                "a.e.com A 192.0.2.1",
                "b.e.com A 192.0.2.1",
                "c.e.com TXT x",
            ],
            3,
            &[
                "-a.e.com CNAME, +a.e.com A, +c.e.com TXT",
                "-b.e.com CNAME, +b.e.com A",
            ],
        );
        // Too large for one batch: the last deletion comes with the first creation.
        check(
            &["a.e.com CNAME b.net"],
            &["a.e.com A 192.0.2.1", "a.e.com A 192.0.2.2"],
            2,
            &["-a.e.com CNAME, +a.e.com A", "+a.e.com A"],
        );
        // What does not stand in the way goes last.
        check(
            &["a.e.com A 192.0.2.1", "a.e.com A 192.0.2.2"],
            &["a.e.com AAAA 2001:db8::1", "a.e.com AAAA 2001:db8::2"],
            2,
            &["+a.e.com AAAA, +a.e.com AAAA", "-a.e.com A, -a.e.com A"],
        );
    }

    #[test]
    fn few_batches_come_before_a_name_that_is_never_empty() {
        check(
            &["a.e.com CNAME b.net", "b.e.com CNAME b.net"],
            &["a.e.com A 192.0.2.1", "b.e.com A 192.0.2.1"],
            1,
            &[
                "-a.e.com CNAME",
                "+a.e.com A",
                "-b.e.com CNAME",
                "+b.e.com A",
            ],
        );
    }

    #[test]
    fn bodies_stay_below_their_limit_of_bytes() {
        let long = "x".repeat(300);
        let desired: Vec<String> = (0..10)
            .map(|n| {
                format!(
                    "n{n}.e.com TXT {}",
                    if n == 4 { long.as_str() } else { "short" }
                )
            })
            .collect();
        let desired: Vec<&str> = desired.iter().map(String::as_str).collect();
        let found = parts(&[], &desired, 200, 250);
        let counts: Vec<usize> = found.iter().map(|batch| batch.count).collect();
        assert_eq!(counts, [3, 3, 3, 1]);
        for batch in &found {
            let has_long = batch.body.contains("xxx");
            assert!(batch.body.len() <= 250 || (has_long && batch.count == 1));
        }
        assert_eq!(parts(&[], &desired, 0, 0).len(), 10);
    }
}
