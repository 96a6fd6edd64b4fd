//! Configurations and calls for the differential test: few words, so that they meet often.

mod words;

use zonekeeper::catalog::{self, Family, Method, Operation, Scope};
use zonekeeper::config::document::{
    DeployMode, DnsCondition, Document, Effect, Grant, GraphqlCondition, HoursCondition,
    IdsCondition, KvCondition, PurgeCondition, R2Condition, RulesetsCondition, WorkersCondition,
};
use zonekeeper::model::{RecordName, Timestamp};

use super::ask::{ACCOUNTS, ZONES};
use super::reference::{Call, Known, Named, Part, Place, Purged, Record, What};
use words::{
    ADDRESSES, ASKED_FILES, ASKED_KEYS, ASKED_PREFIXES, ASKED_ROUTES, ASKED_TAGS, BINDINGS, BOUND,
    BUCKETS, CONTENTS, DATASETS, DIGESTS, FILES, HOSTS, KEYS, LISTS, NAMES, NAMESPACE_IDS,
    NAMESPACES, NETWORKS, NOON, PHASES, PREFIXES, RECORD_NAMES, ROUTES, SCRIPTS, SETTINGS, TAGS,
    THEMES, TYPES, Theme, VALUES,
};

/// A small deterministic generator (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// One to `most` of the choices.
    fn some(&mut self, most: usize, choices: &[&str]) -> Vec<String> {
        let count = 1 + self.below(most);
        let mut some: Vec<String> = (0..count).map(|_| self.one(choices).to_owned()).collect();
        some.sort();
        some.dedup();
        some
    }

    /// Like [`Self::some`], so often; otherwise nothing.
    fn maybe(&mut self, percent: usize, most: usize, choices: &[&str]) -> Vec<String> {
        if self.chance(percent) {
            self.some(most, choices)
        } else {
            Vec::new()
        }
    }
}

/// A configuration, and what calls to put to it.
pub(crate) struct Made {
    pub(crate) document: Document,
    themes: Vec<&'static Theme>,
}

impl Dice {
    /// Some grants about one product or two.
    pub(crate) fn configuration(&mut self) -> Made {
        let mut themes = vec![&THEMES[self.below(THEMES.len())]];
        if self.chance(40) {
            themes.push(&THEMES[self.below(THEMES.len())]);
        }
        let grants = match self.below(10) {
            0..=5 => 1 + self.below(6),
            6..=8 => 7 + self.below(10),
            _ => 17 + self.below(24),
        };
        let text: String = ["p", "q"]
            .map(|name| format!("[[principals]]\nname = '{name}'\nkind = 'key'\n"))
            .concat();
        let mut document = Document::from_json(toml::from_str(&text).unwrap()).unwrap();
        document.grants = (0..grants).map(|at| self.grant(at, &themes)).collect();
        Made { document, themes }
    }

    fn grant(&mut self, number: usize, themes: &[&'static Theme]) -> Grant {
        let theme = self.one(themes);
        let effect = match self.below(20) {
            0..=10 => Effect::Allow,
            11..=15 => Effect::Approve,
            _ => Effect::Deny,
        };
        let mut permissions = Vec::new();
        let mut operations = Vec::new();
        let how = self.below(10);
        if how < 8 {
            permissions = self.some(2, theme.permissions);
        }
        if how > 6 {
            operations = self.some(2, theme.calls);
        }
        let principals: &[&str] = self.one(&[&["p"], &["p"], &["p"], &["p", "q"], &["q"]]);
        let counts = effect == Effect::Allow && self.chance(10);
        // Nothing but its end limits every fifth.
        let is_plain = self.chance(20);
        let about = |family: Family, it: &mut Self| {
            let percent = if theme.family == family { 60 } else { 7 };
            !is_plain && it.chance(percent)
        };
        Grant {
            name: format!("g{number}"),
            principals: principals.iter().map(ToString::to_string).collect(),
            effect,
            permissions,
            operations,
            zones: self.places(&["example.com", "example.net", "example.org"]),
            accounts: self.places(&["Acme", "Other"]),
            dns: about(Family::Dns, self).then(|| self.dns()),
            purge: about(Family::Purge, self).then(|| self.purge()),
            workers: about(Family::Workers, self).then(|| self.workers()),
            settings: about(Family::Settings, self).then(|| IdsCondition {
                ids: self.some(2, SETTINGS),
            }),
            rulesets: about(Family::Rulesets, self).then(|| RulesetsCondition {
                phases: self.some(2, PHASES),
            }),
            lists: about(Family::Lists, self).then(|| IdsCondition {
                ids: self.some(1, LISTS),
            }),
            kv: about(Family::Kv, self).then(|| KvCondition {
                namespaces: self.maybe(75, 2, NAMESPACES),
                keys: self.maybe(40, 2, KEYS),
            }),
            r2: about(Family::R2, self).then(|| R2Condition {
                buckets: self.some(1, BUCKETS),
            }),
            graphql: about(Family::Graphql, self).then(|| GraphqlCondition {
                datasets: self.some(1, DATASETS),
            }),
            source_ips: self.maybe(if is_plain { 0 } else { 12 }, 2, NETWORKS),
            not_before: (!is_plain && self.chance(10)).then(|| self.edge()),
            not_after: self
                .chance(if is_plain { 50 } else { 12 })
                .then(|| self.edge()),
            hours: (!is_plain && self.chance(10)).then(|| self.hours()),
            max_uses: (counts && self.chance(50)).then_some(3),
            per_minute: counts.then_some(3),
            max_deletes_per_hour: None,
        }
    }

    fn places(&mut self, names: &[&str]) -> Vec<String> {
        match self.below(10) {
            0..=3 => vec!["*".to_owned()],
            4..=7 => self.some(2, names),
            _ => Vec::new(),
        }
    }

    fn edge(&mut self) -> Timestamp {
        NOON.plus_ms(self.one(&[-3_600_000, -999, 0, 1, 500, 3_600_000]))
    }

    fn hours(&mut self) -> HoursCondition {
        let (from, until) = self.one(&[
            ("09:00", "17:30"),
            ("12:00", "12:01"),
            ("22:00", "06:00"),
            ("13:00", "12:00"),
        ]);
        let zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"];
        let timezone = match self.below(6) {
            0 => None,
            1 => Some("Nowhere/Nothing".to_owned()),
            _ => Some(self.one(&zones).to_owned()),
        };
        HoursCondition {
            days: self.maybe(60, 3, &["mon", "sat", "sun", "wed"]),
            from: from.to_owned(),
            until: until.to_owned(),
            timezone,
        }
    }

    fn dns(&mut self) -> DnsCondition {
        DnsCondition {
            names: self.maybe(65, 2, NAMES),
            types: self.maybe(35, 2, TYPES),
            contents: self.maybe(35, 2, CONTENTS),
            proxied: self.chance(12).then(|| self.chance(50)),
            max_changes: self.chance(30).then(|| self.one(&[1, 2])),
        }
    }

    fn purge(&mut self) -> PurgeCondition {
        PurgeCondition {
            prefixes: self.maybe(45, 2, PREFIXES),
            hosts: self.maybe(25, 2, HOSTS),
            tags: self.maybe(25, 2, TAGS),
            files: self.maybe(35, 2, FILES),
            everything: self.chance(20),
        }
    }

    fn workers(&mut self) -> WorkersCondition {
        WorkersCondition {
            scripts: self.maybe(50, 2, SCRIPTS),
            bindings: self.chance(40).then(|| self.maybe(90, 3, BINDINGS)),
            routes: self.maybe(30, 2, ROUTES),
            digests: self.maybe(20, 1, DIGESTS),
            keep_bindings: self.chance(30).then(|| self.chance(30)),
            inherit: self.chance(30).then(|| self.chance(30)),
            deploys: (self.chance(30)).then(|| self.one(&[DeployMode::Gradual, DeployMode::Any])),
        }
    }

    /// A call that the configuration may be about.
    pub(crate) fn call(&mut self, made: &Made) -> Call {
        let theme = self.one(&made.themes);
        let text = self.one(theme.calls);
        let (method, path) = text.split_once(' ').unwrap();
        let what = match catalog::operation_named(text) {
            Some(operation) => What::Operation(operation),
            None => What::Unknown {
                method: Method::from_str(method).unwrap(),
                path: path
                    .replace("{z}", ZONES[0].1)
                    .replace("{a}", ACCOUNTS[0].1),
            },
        };
        let places = self.named_places(&what, path);
        let family = match &what {
            What::Operation(operation) => operation.family(),
            What::Unknown { .. } => Family::None,
        };
        let about = if self.chance(5) {
            self.one(THEMES.iter().collect::<Vec<_>>().as_slice())
                .family
        } else {
            family
        };
        let known = if self.chance(25) {
            Known::Nothing
        } else {
            self.known(about)
        };
        let counted = made.document.grants.iter();
        let counted = counted.filter(|grant| grant.per_minute.is_some());
        let used_up = counted.filter(|_| self.chance(40));
        Call {
            used_up: used_up.map(|grant| grant.name.clone()).collect(),
            who: match self.below(40) {
                0 => "stranger",
                1..=5 => "q",
                _ => "p",
            }
            .to_owned(),
            what,
            places,
            known,
            is_own: self.chance(4),
            at: self.instant(),
            from: (self.chance(80)).then(|| self.one(ADDRESSES).parse().unwrap()),
        }
    }

    /// Around noon, where grants begin and end, or at any minute of a fortnight.
    pub(crate) fn instant(&mut self) -> Timestamp {
        if self.chance(70) {
            NOON.plus_ms(self.one(&[-1000, -999, -998, -1, 0, 1, 499, 500, 1500]))
        } else {
            let minutes = i64::try_from(self.below(14 * 24 * 60)).unwrap();
            NOON.plus_ms(minutes * 60_000)
        }
    }

    fn named_places(&mut self, what: &What, path: &str) -> Vec<Place> {
        let scope = match what {
            What::Operation(operation) => Some(Operation::scope(operation)),
            What::Unknown { .. } => None,
        };
        let is_query = matches!(what, What::Operation(it) if it.family() == Family::Graphql);
        let mut places = Vec::new();
        for _ in 0..self.one(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 0]) {
            match scope {
                Some(Scope::Account) => places.push(self.account()),
                Some(Scope::Zone) => places.push(self.zone()),
                None if path.starts_with("/zones/") => places.push(self.zone()),
                None if path.starts_with("/accounts/") => places.push(self.account()),
                _ if is_query && self.chance(50) => places.push(self.zone()),
                _ if is_query => places.push(self.account()),
                _ => {}
            }
        }
        if self.chance(4) {
            places.push(self.zone());
        }
        if self.chance(4) {
            places.push(self.account());
        }
        places
    }

    fn zone(&mut self) -> Place {
        Place::Zone(self.one(&ZONES).1.parse().unwrap())
    }

    fn account(&mut self) -> Place {
        Place::Account(self.one(&ACCOUNTS).1.parse().unwrap())
    }

    fn known(&mut self, family: Family) -> Known {
        let count = self.one(&[1, 1, 1, 2, 3]);
        match family {
            Family::Dns => {
                let records: Vec<_> = (0..count).map(|_| self.record()).collect();
                let changes = self.one(&[1, 2, records.len(), records.len()]);
                Known::Records { records, changes }
            }
            Family::Purge => Known::Purge((0..count).map(|_| self.purged()).collect()),
            Family::Workers => Known::Worker {
                script: self.one(SCRIPTS).to_owned(),
                parts: (0..=count).map(|_| self.part()).collect(),
            },
            family => {
                let names = match family {
                    Family::Settings => SETTINGS,
                    Family::Rulesets => PHASES,
                    Family::Lists => LISTS,
                    Family::Kv => NAMESPACE_IDS,
                    Family::R2 => BUCKETS,
                    Family::Graphql => DATASETS,
                    _ => return Known::Nothing,
                };
                let mut things = Vec::new();
                for _ in 0..count {
                    things.push(Named {
                        family,
                        name: self.one(names).to_owned(),
                        key: (family == Family::Kv && self.chance(70))
                            .then(|| self.one(ASKED_KEYS).to_owned()),
                    });
                }
                Known::Things(things)
            }
        }
    }

    fn record(&mut self) -> Record {
        Record {
            name: RecordName::canonical(self.one(RECORD_NAMES), "example.com").unwrap(),
            kind: self.one(TYPES).to_owned(),
            content: (self.chance(90)).then(|| self.one(VALUES).to_owned()),
            proxied: self.one(&[None, None, Some(false), Some(true)]),
        }
    }

    fn purged(&mut self) -> Purged {
        match self.below(10) {
            0 => Purged::Everything,
            1..=3 => Purged::File(self.one(ASKED_FILES).to_owned()),
            4..=6 => Purged::Prefix(self.one(ASKED_PREFIXES).to_owned()),
            7 | 8 => Purged::Host(self.one(HOSTS).to_owned()),
            _ => Purged::Tag(self.one(ASKED_TAGS).to_owned()),
        }
    }

    fn part(&mut self) -> Part {
        match self.below(12) {
            0..=2 => Part::Script,
            3..=6 => {
                let (kind, resource) = self.one(BOUND);
                Part::Binding {
                    kind: kind.to_owned(),
                    resource: resource.map(str::to_owned),
                }
            }
            7 => Part::Route(self.one(ASKED_ROUTES).to_owned()),
            8 => Part::Module(self.one(&["d1", "d2", "d3"]).to_owned()),
            9 => Part::Keep,
            10 => Part::Inherit,
            _ => Part::FullDeploy,
        }
    }
}
