//! How one set of records becomes another, in the fewest and gentlest changes.

use std::cmp::Ordering;

use crate::model::{RecordName, RecordPattern, sort_by};

use super::Record;

/// How many characters of a value a description shows.
const SHOWN_CHARS: usize = 100;

/// What turns one set of records into another.
///
/// Each list is ordered by name, type and value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Records to delete, as they are now.
    pub deletes: Vec<Record>,
    /// Records to change in place: name and type stay.
    pub changes: Vec<Change>,
    /// Records to create.
    pub creates: Vec<Record>,
    /// How many records are as they should be.
    pub unchanged: usize,
    /// How many current records are left alone because Cloudflare keeps them itself.
    pub left_alone: usize,
}

/// One record that changes in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is, with its id.
    pub before: Record,
    /// What it becomes; the id of `before` goes on.
    pub after: Record,
    /// The members that differ, by their API names.
    pub fields: Vec<&'static str>,
}

/// Compares the records of a zone with those it should have.
///
/// Records that are the same but for their id cancel out. What remains of one name and type is
/// paired to be changed in place: by value, by content, by id, then in order. The rest is deleted
/// or created; a type never changes in place, because the API does not allow it.
///
/// Records that Cloudflare keeps itself ([`Record::is_managed`]) are in neither list, nor is a
/// wanted record whose value one of those has already.
///
/// Both sets are used up, so that 10,000 records are in memory once for each set. Both must be sets
/// that a zone can have: no two records of the same name, type and value, nothing beside a CNAME
/// that cannot be there. The time grows with n log n.
#[must_use]
pub fn difference(zone_name: &str, current: Vec<Record>, desired: Vec<Record>) -> Difference {
    let (managed, current): (Vec<_>, Vec<_>) = current
        .into_iter()
        .partition(|record| record.is_managed(zone_name));
    let mut desired = desired;
    desired.retain(|record| !record.is_managed(zone_name));
    let mut result = Difference {
        left_alone: managed.len(),
        ..Difference::default()
    };
    let (_, desired) = pair(managed, desired, Record::compare_value, &mut |_, _| {});

    let unchanged = &mut result.unchanged;
    let (current, desired) = pair(current, desired, Record::compare, &mut |_, _| {
        *unchanged += 1;
    });
    let changes = &mut result.changes;
    let mut change = |before: Record, after: Record| {
        let fields = before.differing(&after);
        changes.push(Change {
            before,
            after,
            fields,
        });
    };
    // Values first. After that no change gives a record a value that another one still has, so the
    // order of the changes does not matter.
    let (current, desired) = pair(current, desired, Record::compare_value, &mut change);
    let (current, desired) = pair(current, desired, Record::compare_content, &mut change);
    let (current, desired) = pair(current, desired, compare_id, &mut change);
    let (deletes, creates) = pair(current, desired, Record::compare_name, &mut change);
    result.deletes = deletes;
    result.creates = creates;
    sort_by(&mut result.deletes, Record::compare);
    sort_by(&mut result.creates, Record::compare);
    sort_by(&mut result.changes, |a, b| a.before.compare(&b.before));
    result
}

/// Orders by name, type and id.
fn compare_id(a: &Record, b: &Record) -> Ordering {
    a.compare_name(b).then_with(|| a.id.cmp(&b.id))
}

/// Hands each record of `a` that has an equal in `b` to `found` with it, one to one. Gives what is
/// left of both, in order.
fn pair(
    mut a: Vec<Record>,
    mut b: Vec<Record>,
    compare: fn(&Record, &Record) -> Ordering,
    found: &mut dyn FnMut(Record, Record),
) -> (Vec<Record>, Vec<Record>) {
    sort_by(&mut a, compare);
    sort_by(&mut b, compare);
    let (mut rest_a, mut rest_b) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    let (mut next_a, mut next_b) = (a.next(), b.next());
    loop {
        match (next_a, next_b) {
            (Some(one), Some(other)) => match compare(&one, &other) {
                Ordering::Less => {
                    rest_a.push(one);
                    (next_a, next_b) = (a.next(), Some(other));
                }
                Ordering::Greater => {
                    rest_b.push(other);
                    (next_a, next_b) = (Some(one), b.next());
                }
                Ordering::Equal => {
                    found(one, other);
                    (next_a, next_b) = (a.next(), b.next());
                }
            },
            (one, other) => {
                rest_a.extend(one.into_iter().chain(a));
                rest_b.extend(other.into_iter().chain(b));
                return (rest_a, rest_b);
            }
        }
    }
}

impl Difference {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records are deleted, changed or created.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deletes.len() + self.changes.len() + self.creates.len()
    }

    /// Keeps what concerns records whose name one of the patterns matches. The counts of records
    /// that are not touched stay those of the whole zone.
    pub fn restrict_to(&mut self, zone_name: &str, patterns: &[RecordPattern]) {
        let is_meant = |record: &Record| {
            RecordName::canonical(&record.name, zone_name)
                .is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
        };
        self.deletes.retain(is_meant);
        self.changes.retain(|change| is_meant(&change.before));
        self.creates.retain(is_meant);
    }

    /// One line for each record that is touched, at most `limit`, and one that counts the rest:
    /// `delete A old.example.com 192.0.2.1`, `change A www.example.com: ttl 300 → 1`,
    /// `create TXT example.com "v=spf1 -all"`.
    #[must_use]
    pub fn describe(&self, limit: usize) -> Vec<String> {
        let mut lines: Vec<String> = (self.deletes.iter().map(|record| whole("delete", record)))
            .chain(self.changes.iter().map(Change::describe))
            .chain(self.creates.iter().map(|record| whole("create", record)))
            .take(limit)
            .collect();
        if self.len() > limit {
            lines.push(format!("and {} more", self.len() - limit));
        }
        lines
    }
}

/// `create A www.example.com 192.0.2.1`
fn whole(verb: &str, record: &Record) -> String {
    let mut line = [verb, " ", &record.kind, " ", &record.name, " "].concat();
    if record.kind == "MX" {
        line.push_str(&shown(record, "priority"));
        line.push(' ');
    }
    line.push_str(&shown(record, "content"));
    if record.proxied == Some(true) {
        line.push_str(" proxied");
    }
    line
}

impl Change {
    /// `change A www.example.com: ttl 300 → 1, proxied false → true`
    #[must_use]
    pub fn describe(&self) -> String {
        let mut line = ["change ", &self.before.kind, " ", &self.before.name, ":"].concat();
        for (index, field) in self.fields.iter().enumerate() {
            line.push_str(if index > 0 { ", " } else { " " });
            line.push_str(field);
            line.push(' ');
            line.push_str(&shown(&self.before, field));
            line.push_str(" → ");
            line.push_str(&shown(&self.after, field));
        }
        line
    }
}

/// A member as a description shows it, cut when it is long.
fn shown(record: &Record, field: &str) -> String {
    let text = match field {
        "name" => record.name.clone(),
        "type" => record.kind.clone(),
        // The content says what `data` says, shorter.
        "content" | "data" => match (&record.data, record.content.as_str()) {
            (Some(data), "") => data.clone(),
            (_, content) => content.to_owned(),
        },
        "ttl" => record.ttl.to_string(),
        "priority" => record.priority.map(|p| p.to_string()).unwrap_or_default(),
        "proxied" => record.proxied.unwrap_or(false).to_string(),
        "private_routing" => record.private_routing.unwrap_or(false).to_string(),
        "comment" => record.comment.clone().unwrap_or_default(),
        "tags" => record.tags.join(","),
        "settings" => record.settings.clone(),
        _ => record.extra.clone(),
    };
    if text.is_empty() {
        return "none".to_owned();
    }
    if text.chars().nth(SHOWN_CHARS).is_none() {
        return text;
    }
    let mut cut: String = text.chars().take(SHOWN_CHARS).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id name type content [ttl]` each; `-` for no id.
    fn set(lines: &[&str]) -> Vec<Record> {
        lines
            .iter()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let ttl = words.get(4).unwrap_or(&"1");
                let (content, priority) = words[3].split_once('/').unwrap_or((words[3], "null"));
                let json = format!(
                    r#"{{"id":"{}","name":"{}","type":"{}","content":"{content}","priority":{priority},"ttl":{ttl}}}"#,
                    words[0].trim_start_matches('-'),
                    words[1],
                    words[2],
                );
                Record::from_api(&json).unwrap()
            })
            .collect()
    }

    #[track_caller]
    fn check(current: &[&str], desired: &[&str], expected: &[&str]) -> Difference {
        let found = difference("e.com", set(current), set(desired));
        assert_eq!(found.describe(100), expected);
        found
    }

    #[test]
    fn equal_records_cancel_out_whatever_their_ids_and_order() {
        let found = check(
            &[
                "1 a.e.com A 192.0.2.1",
                "2 a.e.com A 192.0.2.2",
                "3 e.com TXT x",
            ],
            &[
                "- e.com TXT \\\"x\\\"",
                "- A.e.com A 192.0.2.2",
                "9 a.e.com A 192.0.2.1",
            ],
            &[],
        );
        assert!(found.is_empty());
        assert_eq!(found.unchanged, 3);
    }

    #[test]
    fn the_same_value_is_changed_in_place_before_the_same_id() {
        check(
            &["1 a.e.com A 192.0.2.1", "2 a.e.com A 192.0.2.2"],
            &["1 a.e.com A 192.0.2.2 300", "2 a.e.com A 192.0.2.3"],
            &[
                "change A a.e.com: content 192.0.2.1 → 192.0.2.3",
                "change A a.e.com: ttl 1 → 300",
            ],
        );
        let found = check(
            &["1 a.e.com A 192.0.2.1", "2 a.e.com A 192.0.2.2"],
            &["2 a.e.com A 192.0.2.8", "1 a.e.com A 192.0.2.9"],
            &[
                "change A a.e.com: content 192.0.2.1 → 192.0.2.9",
                "change A a.e.com: content 192.0.2.2 → 192.0.2.8",
            ],
        );
        assert_eq!(found.changes[0].before.id, "1");
    }

    #[test]
    fn no_change_takes_the_value_that_another_record_still_has() {
        check(
            &["1 e.com MX a.net/10", "2 e.com MX a.net/20"],
            &["- e.com MX a.net/20 300", "- e.com MX a.net/30"],
            &[
                "change MX e.com: priority 10 → 30",
                "change MX e.com: ttl 1 → 300",
            ],
        );
    }

    #[test]
    fn another_type_is_a_deletion_and_a_creation() {
        let found = check(
            &[
                "1 a.e.com A 192.0.2.1",
                "2 a.e.com A 192.0.2.2",
                "3 b.e.com TXT x",
            ],
            &[
                "- a.e.com CNAME b.net",
                "- b.e.com TXT y",
                "- c.e.com MX m.net/5",
            ],
            &[
                "delete A a.e.com 192.0.2.1",
                "delete A a.e.com 192.0.2.2",
                "change TXT b.e.com: content \"x\" → \"y\"",
                "create CNAME a.e.com b.net",
                "create MX c.e.com 5 m.net",
            ],
        );
        assert_eq!(found.len(), 5);
        assert_eq!(
            found.describe(2),
            [
                "delete A a.e.com 192.0.2.1",
                "delete A a.e.com 192.0.2.2",
                "and 3 more"
            ]
        );
    }

    #[test]
    fn records_that_cloudflare_keeps_are_left_alone() {
        let found = check(
            &[
                "1 e.com NS ada.ns.net",
                "2 e.com SOA x",
                "3 s.e.com NS a.net",
            ],
            &["- e.com NS other.net", "- s.e.com NS b.net"],
            &["change NS s.e.com: content a.net → b.net"],
        );
        assert_eq!((found.left_alone, found.unchanged), (2, 0));
        let mut current = set(&["1 w.e.com AAAA 100::", "2 a.e.com A 192.0.2.1"]);
        current[0].is_read_only = true;
        let mut snapshot = set(&["8 gone.e.com AAAA 100::", "9 a.e.com A 192.0.2.1"]);
        snapshot[0].is_read_only = true;
        let found = difference("e.com", current.clone(), snapshot);
        assert!(found.is_empty());
        // A document that lists the Worker's record wants nothing else.
        let document = set(&["- w.e.com AAAA 100:: 300", "- a.e.com A 192.0.2.1"]);
        assert!(difference("e.com", current, document).is_empty());
    }

    #[test]
    fn a_difference_can_be_restricted_to_names() {
        let current = set(&[
            "1 a.e.com A 192.0.2.1",
            "2 b.e.com A 192.0.2.1",
            "3 *.e.com A 192.0.2.1",
        ]);
        let desired = set(&[
            "- b.e.com A 192.0.2.2",
            "- x.b.e.com A 192.0.2.2",
            "- e.com TXT x",
        ]);
        let whole = difference("e.com", current, desired);
        let check = |patterns: &[&str], expected: &[&str]| {
            let patterns: Vec<_> = patterns
                .iter()
                .map(|pattern| RecordPattern::parse(pattern).unwrap())
                .collect();
            let mut part = whole.clone();
            part.restrict_to("e.com", &patterns);
            let names: Vec<String> = part
                .describe(9)
                .iter()
                .map(|line| {
                    line.split(' ')
                        .nth(2)
                        .unwrap()
                        .trim_end_matches(':')
                        .to_owned()
                })
                .collect();
            assert_eq!(names, expected, "{patterns:?}");
        };
        check(&["*.e.com"], &["a.e.com", "b.e.com"]);
        check(&["\\*.e.com", "e.com"], &["*.e.com", "e.com"]);
        check(&["**.b.e.com"], &["x.b.e.com"]);
        check(&[], &[]);
    }

    #[test]
    fn long_values_are_cut_in_descriptions() {
        let mut current = set(&["1 e.com TXT x"]);
        current[0].content = format!("\"{}\"", "é".repeat(300));
        let found = difference("e.com", current, Vec::new());
        assert_eq!(
            found.describe(1),
            [format!("delete TXT e.com \"{}…", "é".repeat(99))]
        );
    }
}
