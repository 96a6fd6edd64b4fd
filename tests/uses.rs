//! Grants that say how often they may be used.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use std::rc::Rc;

use support::database::Storage;
use support::keeper::{Answered, COM, Keeper, ask};
use support::upstream::{delete, get, success};

const CONFIG: &str = r#"
[[principals]]
name = "bot"
kind = "key"

[[grants]]
name = "three-in-all"
principals = ["bot"]
effect = "allow"
permissions = ["Zone Settings Read"]
zones = ["example.com"]
max_uses = 3
[[grants]]
name = "two-a-minute"
principals = ["bot"]
effect = "allow"
permissions = ["DNS Read"]
zones = ["example.com"]
per_minute = 2
[[grants]]
name = "two-deletions-an-hour"
principals = ["bot"]
effect = "allow"
permissions = ["Page Rules Write"]
zones = ["example.com"]
max_deletes_per_hour = 2
"#;

const RULE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

fn read(keeper: &Keeper, key: &str, path: &str) -> Answered {
    let target = format!("/zones/{COM}{path}");
    keeper.call(ask(&format!("GET /client/v4{target}")).key(key))
}

fn reads(keeper: &Keeper, key: &str, path: &str) {
    let target = format!("/zones/{COM}{path}");
    keeper.expect(get(target).answers(200, success(&serde_json::json!([]))));
    let answered = read(keeper, key, path);
    assert_eq!(answered.status, 200, "{}", answered.text);
}

fn remove(keeper: &Keeper, key: &str) -> Answered {
    keeper.call(ask(&format!("DELETE /client/v4/zones/{COM}/pagerules/{RULE}")).key(key))
}

fn removes(keeper: &Keeper, key: &str) {
    let target = format!("/zones/{COM}/pagerules/{RULE}");
    keeper.expect(delete(target).answers(200, success(&serde_json::json!({"id": RULE}))));
    let answered = remove(keeper, key);
    assert_eq!(answered.status, 200, "{}", answered.text);
}

#[test]
fn a_grant_allows_so_many_calls_in_all_in_every_isolate() {
    let keeper = Keeper::with(CONFIG);
    let other: Rc<Keeper> = keeper.neighbour();
    let key = keeper.mint("bot");
    reads(&keeper, &key, "/settings/ssl");
    reads(&other, &key, "/settings/ssl");
    keeper.advance_secs(100 * 86_400);
    other.advance_secs(0);
    reads(&keeper, &key, "/settings/ssl");
    for isolate in [&keeper, &other] {
        let answered = read(isolate, &key, "/settings/ssl");
        assert_eq!(answered.refused(), (403, 20025));
        assert_eq!(
            answered.message(),
            "bot may not call GET /zones/zone_id/settings/setting_id on example.com now: the grant three-in-all allows 3 calls in all, and all of them are used."
                .replace("call GET /zones/zone_id/settings/setting_id on example.com", &action(&answered))
        );
    }
    // A refusal does not cost a use, and another grant is not touched.
    reads(&keeper, &key, "/dnssec");
}

/// What the call was, as the sentence has it.
fn action(answered: &Answered) -> String {
    let message = answered.message();
    let (_, rest) = message.split_once("bot may not ").unwrap();
    rest.split_once(" now:").unwrap().0.to_owned()
}

#[test]
fn e11_no_minute_wherever_it_begins_holds_more_calls_than_allowed() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    reads(&keeper, &key, "/dnssec");
    keeper.advance_secs(59);
    reads(&keeper, &key, "/dnssec");
    let answered = read(&keeper, &key, "/dnssec");
    assert_eq!(answered.refused(), (429, 20050));
    let wait = answered.retry_after_secs.unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    keeper.advance_secs(i64::from(wait) - 1);
    assert_eq!(read(&keeper, &key, "/dnssec").status, 429);
    keeper.advance_secs(1);
    reads(&keeper, &key, "/dnssec");
    // The second of the first two is still within the minute.
    assert_eq!(read(&keeper, &key, "/dnssec").status, 429);
}

#[test]
fn a_grant_allows_so_many_deletions_in_any_hour() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    removes(&keeper, &key);
    keeper.advance_secs(1_800);
    removes(&keeper, &key);
    let answered = remove(&keeper, &key);
    assert_eq!(answered.refused(), (403, 20025));
    assert!(
        answered.message().contains("2 deletions an hour"),
        "{}",
        answered.message()
    );
    keeper.advance_secs(1_800 + 60);
    removes(&keeper, &key);
    assert_eq!(remove(&keeper, &key).refused(), (403, 20025));
}

#[test]
fn another_grant_still_allows_what_a_used_up_one_does_not() {
    let more = "[[grants]]\nname = \"more\"\nprincipals = [\"bot\"]\neffect = \"allow\"\npermissions = [\"Zone Settings Read\"]\nzones = [\"example.com\"]\nmax_uses = 1\n";
    let keeper = Keeper::with(&format!("{CONFIG}{more}"));
    let key = keeper.mint("bot");
    for _ in 0..4 {
        reads(&keeper, &key, "/settings/ssl");
    }
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
    // Changing the grants keeps what was used; a grant that is gone for a while begins anew.
    keeper.apply(CONFIG);
    keeper.advance_secs(5);
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
    keeper.apply(&format!("{CONFIG}{more}"));
    keeper.advance_secs(5);
    reads(&keeper, &key, "/settings/ssl");
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
}

#[test]
fn f2_a_use_that_cannot_be_counted_is_refused_and_nothing_is_sent() {
    for storage in [Storage::FailsBefore, Storage::FailsAfter] {
        let keeper = Keeper::with(CONFIG);
        let key = keeper.mint("bot");
        reads(&keeper, &key, "/settings/ssl");
        keeper.database.fail("INSERT INTO grant_uses", storage);
        assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (503, 20080));
        reads(&keeper, &key, "/settings/ssl");
    }
}

#[test]
fn seeing_a_zone_takes_nothing_of_the_grant_that_shows_it() {
    let keeper = Keeper::with(CONFIG);
    let key = keeper.mint("bot");
    for _ in 0..3 {
        reads(&keeper, &key, "/settings/ssl");
    }
    for _ in 0..4 {
        reads(&keeper, &key, "");
    }
    assert_eq!(read(&keeper, &key, "/settings/ssl").refused(), (403, 20025));
}
