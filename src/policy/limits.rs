//! The conditions that concern every call, whatever it is about: when, from where, how often.

use std::net::IpAddr;

use crate::config::document;
use crate::cron::TimeZones;
use crate::model::Timestamp;

use super::GrantId;
use super::grant::{Verdict, Why};
use super::network::Network;

/// When a call is decided, from where it came, and which grants are used up by then.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The instant.
    pub now: Timestamp,
    /// The address Cloudflare reports; none for runs of jobs. Absent works against the caller.
    pub source_ip: Option<IpAddr>,
    /// Who knows the time zones of `hours`.
    pub zones: &'a dyn TimeZones,
    /// Grants whose `max_uses`, `per_minute` or `max_deletes_per_hour` is reached: they do not match.
    pub used_up: &'a [GrantId],
}

impl Moment<'static> {
    /// An instant of which nothing else is known: no address, no time zone but UTC.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            source_ip: None,
            zones: &OnlyUtc,
            used_up: &[],
        }
    }
}

/// Knows no zone but UTC.
#[derive(Debug)]
struct OnlyUtc;

impl TimeZones for OnlyUtc {
    fn utc_offset_secs(&self, zone: &str, _at: Timestamp) -> Option<i32> {
        (zone == "UTC").then_some(0)
    }
}

/// How often a grant may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls in all.
    pub max_uses: Option<u32>,
    /// Calls in any minute.
    pub per_minute: Option<u32>,
    /// Deletions in any hour.
    pub max_deletes_per_hour: Option<u32>,
}

impl Counts {
    /// What a grant says of it.
    pub(super) fn of(written: &document::Grant) -> Self {
        Self {
            max_uses: written.max_uses,
            per_minute: written.per_minute,
            max_deletes_per_hour: written.max_deletes_per_hour,
        }
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a grant says about every call. Its end is kept beside it, as most grants have no more.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) not_before: Option<Timestamp>,
    pub(super) source_ips: Box<[Network]>,
    pub(super) hours: Option<Hours>,
    counts: Counts,
}

/// Minutes of the week. `from` later than `until` is a night, which belongs to the day it begins.
#[derive(Debug)]
pub(super) struct Hours {
    /// One bit a day, Monday first.
    days: u8,
    from: u16,
    until: u16,
    timezone: Box<str>,
}

impl Limits {
    /// Whether the grant says anything of it.
    pub(super) fn are_in(written: &document::Grant) -> bool {
        written.not_before.is_some()
            || !written.source_ips.is_empty()
            || written.hours.is_some()
            || !Counts::of(written).is_empty()
    }

    /// What the grant says, if anything.
    pub(super) fn compile(written: &document::Grant) -> Option<Self> {
        Self::are_in(written).then(|| Self {
            not_before: written.not_before,
            // What validation let through can be read; nothing is in a network that cannot.
            source_ips: written
                .source_ips
                .iter()
                .map(|text| Network::read(text).unwrap_or(NOWHERE))
                .collect(),
            hours: written.hours.as_ref().map(Hours::compile),
            counts: Counts::of(written),
        })
    }

    pub(super) fn judge(&self, grant: GrantId, moment: &Moment<'_>) -> Verdict {
        if self.not_before.is_some_and(|start| moment.now < start) {
            return Verdict::Fails(Why::NotYet);
        }
        let mut verdict = Verdict::Holds;
        if !self.source_ips.is_empty() {
            match moment.source_ip {
                None => verdict = Verdict::Unjudged(Why::SourceIp),
                Some(address) => {
                    let address = address.to_canonical();
                    if !self.source_ips.iter().any(|net| net.contains(address)) {
                        return Verdict::Fails(Why::SourceIp);
                    }
                }
            }
        }
        match self.hours.as_ref().map(|hours| hours.hold(moment)) {
            None | Some(Some(true)) => {}
            Some(Some(false)) => return Verdict::Fails(Why::Hours),
            Some(None) => verdict = Verdict::Unjudged(Why::Hours),
        }
        if !self.counts.is_empty() && moment.used_up.contains(&grant) {
            return Verdict::Fails(Why::UsedUp);
        }
        verdict
    }
}

/// An address that nobody calls from (RFC 6666, the discard prefix).
const NOWHERE: Network = Network::single(IpAddr::V6(std::net::Ipv6Addr::new(
    0x100, 0, 0, 0, 0, 0, 0, 0,
)));

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Hours {
    fn compile(written: &document::HoursCondition) -> Self {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':').unwrap_or_default();
            hours.parse().unwrap_or(0) * 60 + minutes.parse().unwrap_or(0_u16)
        };
        let named = |day: &&str| written.days.iter().any(|name| name == *day);
        let days = DAYS
            .iter()
            .enumerate()
            .filter(|(_, day)| written.days.is_empty() || named(day))
            .fold(0, |days, (at, _)| days | 1 << at);
        Self {
            days,
            from: minute(&written.from),
            until: minute(&written.until),
            timezone: written.timezone.as_deref().unwrap_or("UTC").into(),
        }
    }

    /// Whether they hold; `None`: nobody knows the time zone.
    fn hold(&self, moment: &Moment<'_>) -> Option<bool> {
        let offset = match &*self.timezone {
            "UTC" => 0,
            zone => moment.zones.utc_offset_secs(zone, moment.now)?,
        };
        let minutes = (moment.now.unix_ms().div_euclid(1000) + i64::from(offset)).div_euclid(60);
        let minute = u16::try_from(minutes.rem_euclid(24 * 60)).unwrap_or(0);
        // 1 January 1970 was a Thursday.
        let day = (minutes.div_euclid(24 * 60) + 3).rem_euclid(7);
        let on = |day: i64| self.days >> day.rem_euclid(7) & 1 == 1;
        Some(if self.from < self.until {
            on(day) && (self.from..self.until).contains(&minute)
        } else {
            (minute >= self.from && on(day)) || (minute < self.until && on(day - 1))
        })
    }

    /// As written, for explanations.
    pub(super) fn describe(&self) -> String {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let days: Vec<&str> = DAYS
            .iter()
            .enumerate()
            .filter(|(at, _)| self.days >> at & 1 == 1)
            .map(|(_, day)| *day)
            .collect();
        let days = if days.len() == 7 {
            String::new()
        } else {
            format!(" on {}", days.join(", "))
        };
        format!(
            "from {} until {}{days} ({})",
            clock(self.from),
            clock(self.until),
            self.timezone
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::typed::Typed as _;

    #[track_caller]
    fn check_hours(hours: &str, at: &str, expected: Option<bool>) {
        let written = document::HoursCondition::read(toml::from_str(hours).unwrap()).unwrap();
        let now = at.parse().unwrap();
        let found = Hours::compile(&written).hold(&Moment::at(now));
        assert_eq!(found, expected, "{hours} at {at}");
    }

    #[test]
    fn hours_hold_from_their_first_minute_until_before_their_last() {
        let office = "days = [\"mon\", \"fri\"]\nfrom = \"09:00\"\nuntil = \"17:30\"";
        // 2026-11-23 is a Monday.
        check_hours(office, "2026-11-23T08:59:59Z", Some(false));
        check_hours(office, "2026-11-23T09:00:00Z", Some(true));
        check_hours(office, "2026-11-23T17:29:59Z", Some(true));
        check_hours(office, "2026-11-23T17:30:00Z", Some(false));
        check_hours(office, "2026-11-24T12:00:00Z", Some(false));
        check_hours(office, "2026-11-27T12:00:00Z", Some(true));
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins() {
        let night = "days = [\"fri\"]\nfrom = \"22:00\"\nuntil = \"02:00\"";
        check_hours(night, "2026-11-27T01:00:00Z", Some(false));
        check_hours(night, "2026-11-27T22:00:00Z", Some(true));
        check_hours(night, "2026-11-28T01:59:59Z", Some(true));
        check_hours(night, "2026-11-28T02:00:00Z", Some(false));
        check_hours(night, "2026-11-28T23:00:00Z", Some(false));
    }

    #[test]
    fn hours_of_an_unknown_zone_cannot_be_judged() {
        let there = "from = \"00:00\"\nuntil = \"23:59\"\ntimezone = \"Nowhere/Nothing\"";
        check_hours(there, "2026-11-23T12:00:00Z", None);
    }

    #[test]
    fn a_mapped_address_is_the_address_it_maps() {
        let networks = [Network::read("192.0.2.0/24").unwrap()];
        let limits = Limits {
            not_before: None,
            source_ips: networks.into(),
            hours: None,
            counts: Counts::default(),
        };
        let from = |text: &str| {
            let moment = Moment {
                source_ip: text.parse().ok(),
                ..Moment::at(Timestamp::from_unix_ms(0))
            };
            limits.judge(GrantId(0), &moment)
        };
        assert_eq!(from("::ffff:192.0.2.1"), Verdict::Holds);
        assert_eq!(from("192.0.3.1"), Verdict::Fails(Why::SourceIp));
        assert_eq!(from("2001:db8::1"), Verdict::Fails(Why::SourceIp));
        assert_eq!(from(""), Verdict::Unjudged(Why::SourceIp));
    }
}
