//! `dns.snapshot` keeps a zone's records with all that belongs to them, and `dns.restore` makes the
//! zone what it was, whatever others do meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{ZONE_COM_ID, ZONE_NET_ID};
use support::lab::injector::Fault;
use support::lab::writes::check_writes;
use support::works::{Ended, Works, job};

const RECORDS_READ: &str = "upstream: GET /zones/";

fn works() -> Works {
    let jobs = [
        job(
            "snapshot",
            "dns.snapshot",
            "params.zones = [\"example.com\"]",
        ),
        job("restore", "dns.restore", "params.zones = [\"example.com\"]"),
    ];
    Works::with(&jobs.concat())
}

/// Records with everything a record can have besides its content.
fn decorate(works: &Works, zone: &str) {
    for body in [
        json!({"type": "A", "name": "full", "content": "203.0.113.9", "ttl": 1, "proxied": true,
            "comment": "why \"so\"", "tags": []}),
        json!({"type": "CNAME", "name": "flat", "content": "example.edu", "ttl": 300,
            "settings": {"flatten_cname": true}, "comment": "ä"}),
        json!({"type": "MX", "name": "mail", "content": "mx.example.edu", "priority": 7, "ttl": 600}),
        json!({"type": "SRV", "name": "_s._tcp", "ttl": 120,
            "data": {"priority": 1, "weight": 2, "port": 443, "target": "t.example.edu"}}),
    ] {
        works.by_hand("POST", &format!("/zones/{zone}/dns_records"), &body);
    }
}

/// What is stored of the zone's newest snapshot, a record each.
fn stored(works: &Works) -> Vec<Value> {
    let rows = works.sqlite().rows(
        "SELECT id, chunks FROM snapshots WHERE deleted_at IS NULL ORDER BY taken_at DESC LIMIT 1",
    );
    let chunks = rows
        .first()
        .map_or(0, |row| row["chunks"].as_i64().unwrap());
    let mut records = Vec::new();
    for n in 0..chunks {
        let key = format!("snapshots/{}/{n}", rows[0]["id"].as_str().unwrap());
        let blob = works.harness.outside.blobs.get(&key).unwrap();
        let text = String::from_utf8(blob).unwrap();
        records.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    records
}

/// Whether a snapshot holds every record of the zone with all that belongs to it.
fn a_snapshot_holds_the_zone(works: &Works) -> Result<Ended, String> {
    decorate(works, ZONE_COM_ID);
    works.fill(ZONE_COM_ID, 150);
    let ended = works.finish("snapshot", &json!({})).succeeded()?;
    let kept = stored(works);
    let records = works.records(ZONE_COM_ID);
    if kept.len() != records.len() {
        return Err(format!("{} records of {}", kept.len(), records.len()));
    }
    for record in &records {
        let found = kept.iter().find(|kept| kept["id"] == record["id"]);
        let found = found.ok_or_else(|| format!("{record} is missing"))?;
        for member in [
            "type", "name", "ttl", "comment", "tags", "settings", "priority",
        ] {
            let is_default = |value: &Value| {
                value.is_null()
                    || *value == json!({"flatten_cname": false})
                    || *value == json!([])
                    || *value == json!({})
                    || *value == json!("")
            };
            let (kept, real) = (&found[member], &record[member]);
            if kept != real && !(is_default(kept) && is_default(real)) {
                return Err(format!("{member} is {kept} in place of {real}"));
            }
        }
        let is_proxied = |value: &Value| value["proxied"].as_bool().unwrap_or_default();
        if is_proxied(found) != is_proxied(record) {
            return Err(format!("proxied differs: {found} {record}"));
        }
        if found["data"].is_null() && joined(found) != joined(record) {
            return Err(format!("content differs: {found} {record}"));
        }
    }
    Ok(ended)
}

#[test]
fn a_snapshot_keeps_every_record_with_all_that_belongs_to_it() {
    let works = works();
    let ended = a_snapshot_holds_the_zone(&works).unwrap();
    let count = works.records(ZONE_COM_ID).len();
    assert_eq!(ended.steps.len(), 3);
    assert_eq!(ended.result()["step_1"]["zone"], "example.com");
    assert_eq!(ended.result()["step_1"]["records"], count);
    assert_eq!(works.sent(), 0, "nothing is changed upstream");
}

#[test]
fn a_job_keeps_its_newest_snapshots_of_each_zone() {
    let works = works();
    let both = json!({"zones": ["example.com", "example.net"], "keep": 2});
    for _ in 0..4 {
        assert_eq!(
            works.finish("snapshot", &both).says(),
            "succeeded: Done with 4 calls."
        );
        works.advance_secs(60);
    }
    let left = works.sqlite().rows(
        "SELECT zone_name, count(*) AS n FROM snapshots GROUP BY zone_name ORDER BY zone_name",
    );
    assert_eq!(
        left,
        [
            json!({"zone_name": "example.com", "n": 2}),
            json!({"zone_name": "example.net", "n": 2})
        ]
    );
    assert_eq!(works.harness.outside.blobs.keys().len(), 4);
}

#[test]
fn a_blob_that_is_stale_for_a_while_is_waited_for() {
    let works = works();
    let run = works.start("snapshot", &json!({}));
    works.harness.outside.blobs.set_stale(true);
    works.harness.drain().unwrap();
    works.tick();
    let ended = works.ended(run);
    assert_eq!(ended.run.state.as_str(), "running");
    assert!(ended.has_event("is not there (yet)."), "{:?}", ended.events);
    works.harness.outside.blobs.set_stale(false);
    works.settle();
    assert_eq!(works.ended(run).run.state.as_str(), "succeeded");
}

/// Whether a snapshot whose content is lost on the way is noticed.
fn a_lost_blob_is_noticed(works: &Works) -> Result<(), String> {
    let run = works.start("snapshot", &json!({}));
    let blobs = std::rc::Rc::clone(&works.harness.outside.blobs);
    // The last step is begun when everything is stored.
    let lose = move || blobs.keys().iter().for_each(|key| blobs.put(key, None));
    works
        .harness
        .outside
        .injector
        .before("d1: SELECT snapshots", 1, lose);
    works.settle();
    let ended = works.ended(run);
    let blobs = works.harness.outside.blobs.keys();
    if ended.succeeded().is_ok() && blobs.len() == 1 {
        Ok(())
    } else {
        Err(format!("{blobs:?}"))
    }
}

#[test]
fn a_snapshot_whose_content_was_lost_is_taken_again() {
    a_lost_blob_is_noticed(&works()).unwrap();
}

/// The content of a record; where a long text is cut into strings does not matter.
fn joined(record: &Value) -> String {
    record["content"]
        .as_str()
        .unwrap_or_default()
        .replace("\" \"", "")
}

/// The records of a zone without ids and instants. A setting that is off is one that is not there,
/// and what `data` says with a target does not stand in the content as well.
fn content(works: &Works, zone: &str) -> Vec<String> {
    let records = works.harness.records(zone).into_iter();
    records
        .map(|record| {
            let mut record: Value = serde_json::from_str(&record).unwrap();
            let settings = record["settings"].as_object_mut().unwrap();
            settings.retain(|_, value| *value != json!(false));
            record["content"] = joined(&record).into();
            if let Some(target) = record["data"]["target"].as_str() {
                record["data"]["target"] = target.trim_end_matches('.').into();
                record["content"] = Value::Null;
            }
            record.to_string()
        })
        .collect()
}

/// Fails with the first records that only one of two contents has.
fn same(before: &[String], after: &[String]) -> Result<(), String> {
    let only = |these: &[String], others: &[String]| {
        let mut only = these.iter().filter(|record| !others.contains(record));
        only.next().cloned()
    };
    if before == after {
        return Ok(());
    }
    let (gone, new) = (only(before, after), only(after, before));
    Err(format!("the zone is not what it was: {gone:?} {new:?}"))
}

/// Takes a snapshot of a zone.
fn take(works: &Works, zone: &str) -> String {
    let ended = works.finish("snapshot", &json!({"zones": [zone]}));
    let id = &ended.result()["step_1"]["snapshot"];
    id.as_str()
        .unwrap_or_else(|| panic!("{}", ended.says()))
        .to_owned()
}

/// Deletes half of the zone's records, changes some and adds one.
fn disturb(works: &Works, zone: &str, most: usize) {
    let records = works.records(zone);
    let is_ours = |record: &&Value| record["type"] == "TXT" || record["type"] == "A";
    let (mut deletes, mut patches) = (Vec::new(), Vec::new());
    for (index, record) in records.iter().filter(is_ours).enumerate() {
        match index % 3 {
            0 => deletes.push(json!({"id": record["id"]})),
            1 => patches.push(json!({"id": record["id"], "comment": "disturbed"})),
            _ => {}
        }
    }
    let batch = format!("/zones/{zone}/dns_records/batch");
    for items in deletes.chunks(most) {
        works.by_hand("POST", &batch, &json!({ "deletes": items }));
    }
    for items in patches.chunks(most) {
        works.by_hand("POST", &batch, &json!({ "patches": items }));
    }
    let stray = json!({"type": "TXT", "name": "stray", "content": "stray"});
    works.by_hand("POST", &format!("/zones/{zone}/dns_records"), &stray);
}

/// Whether a restore makes a disturbed zone what it was.
fn a_restore_puts_back(works: &Works, zone: (&str, &str), most: usize) -> Result<Ended, String> {
    let (name, id) = zone;
    decorate(works, id);
    works.fill(id, 400);
    let before = content(works, id);
    take(works, name);
    disturb(works, id, most);
    if content(works, id) == before {
        return Err("nothing was disturbed".to_owned());
    }
    let ended = works
        .finish("restore", &json!({"zones": [name]}))
        .succeeded()?;
    same(&before, &content(works, id)).map(|()| ended)
}

#[test]
fn a_restore_puts_everything_back_in_the_fewest_batches() {
    for (zone, most) in [
        (("example.net", ZONE_NET_ID), 200),
        (("example.com", ZONE_COM_ID), 3_500),
    ] {
        let works = works();
        let ended = a_restore_puts_back(&works, zone, most).unwrap();
        let changes = ended.result()["changes"].as_u64().unwrap();
        let changes = usize::try_from(changes).unwrap();
        assert!(changes > 100, "{changes}");
        assert_eq!(
            works.sent(),
            changes.div_ceil(most),
            "{changes} changes of {zone:?}"
        );
        let again = works.finish("restore", &json!({"zones": [zone.0]}));
        let says = again.says();
        assert!(
            says.starts_with("succeeded: Nothing had to be done: "),
            "{says}"
        );
    }
}

#[test]
fn only_the_chosen_names_are_restored() {
    let works = works();
    let post = |name: &str, content: &str| {
        let body = json!({"type": "TXT", "name": name, "content": content});
        works.by_hand("POST", &format!("/zones/{ZONE_COM_ID}/dns_records"), &body)["id"].clone()
    };
    let ids = ["a", "b.x", "c.x"].map(|name| post(name, "old"));
    take(&works, "example.com");
    for id in &ids {
        let path = format!("/zones/{ZONE_COM_ID}/dns_records/{}", id.as_str().unwrap());
        works.by_hand("PATCH", &path, &json!({"content": "new"}));
    }
    let ended = works.finish("restore", &json!({"names": ["a.example.com", "b.**"]}));
    assert_eq!(ended.run.state.as_str(), "succeeded", "{}", ended.says());
    let contents = ids.map(|id| {
        let records = works.records(ZONE_COM_ID);
        let record = records.iter().find(|record| record["id"] == id).unwrap();
        record["content"]
            .as_str()
            .unwrap()
            .trim_matches('"')
            .to_owned()
    });
    assert_eq!(contents, ["old", "old", "new"]);
    assert_eq!(ended.result()["changes"], 2);
}

#[test]
fn a_snapshot_is_chosen_by_id_by_time_or_as_the_newest() {
    let works = works();
    let path = format!("/zones/{ZONE_COM_ID}/dns_records");
    let body = json!({"type": "TXT", "name": "v", "content": "0"});
    let id = works.by_hand("POST", &path, &body)["id"].clone();
    let path = format!("{path}/{}", id.as_str().unwrap());
    let write = |content: &str| works.by_hand("PATCH", &path, &json!({"content": content}));
    let mut taken = Vec::new();
    for version in ["1", "2", "3"] {
        write(version);
        taken.push((take(&works, "example.com"), works.now()));
        works.advance_secs(3_600);
    }
    let check = |params: Value, expected: &str| {
        write("9");
        let ended = works.finish("restore", &params);
        assert_eq!(ended.run.state.as_str(), "succeeded", "{}", ended.says());
        let records = works.records(ZONE_COM_ID);
        let record = records.iter().find(|record| record["id"] == id).unwrap();
        let content = record["content"].as_str().unwrap().trim_matches('"');
        assert_eq!(content, expected, "{params}");
    };
    check(json!({}), "3");
    check(json!({"snapshot": taken[0].0}), "1");
    check(json!({"taken_before": taken[1].1}), "2");
    check(json!({"taken_before": taken[2].1.plus_ms(-1)}), "2");
    check(json!({"taken_before": taken[2].1}), "3");
}

#[test]
fn a_snapshot_that_does_not_fit_is_not_restored() {
    let works = works();
    let other = take(&works, "example.net");
    let nothing = "0123456789abcdef0123456789abcdef";
    for (params, says) in [
        (
            json!({"snapshot": other}),
            format!(
                "failed: Snapshot {other} is one of example.net, not of the zone to be restored."
            ),
        ),
        (
            json!({"snapshot": nothing}),
            format!("failed: There is no snapshot {nothing}."),
        ),
        (
            json!({}),
            "failed: There is no snapshot of the zone.".to_owned(),
        ),
        (
            json!({"zones": ["example.net"], "taken_before": "2020-01-01T00:00:00Z"}),
            "failed: There is no snapshot of the zone.".to_owned(),
        ),
    ] {
        assert_eq!(works.finish("restore", &params).says(), says);
    }
    assert_eq!(works.sent(), 0);
}

#[test]
fn a_corrupted_snapshot_is_never_restored() {
    let works = works();
    let id = take(&works, "example.com");
    disturb(&works, ZONE_COM_ID, 200);
    let key = format!("snapshots/{id}/0");
    let blob = works.harness.outside.blobs.get(&key).unwrap();
    let text = String::from_utf8(blob).unwrap();
    let cut = text.lines().skip(1).collect::<Vec<_>>().join("\n") + "\n";
    for content in [
        cut,
        "{}\n".to_owned(),
        String::new(),
        text.replacen("example", "3xample", 1),
    ] {
        works
            .harness
            .outside
            .blobs
            .put(&key, Some(content.into_bytes()));
        let says = works.finish("restore", &json!({})).says();
        let wanted = format!(
            "failed: Given up after 6 failures: The content of snapshot {id} is not what was stored (yet)."
        );
        assert_eq!(says, wanted);
    }
    assert_eq!(works.sent(), 0);
}

/// Somebody else adds a record to the zone after so many seconds.
fn interfere(works: &Works, name: &'static str, after_secs: i64) -> impl FnOnce() + use<> {
    let works = works.clone();
    move || {
        works.advance_secs(after_secs);
        let body = json!({"type": "TXT", "name": name, "content": "stranger"});
        works.by_hand("POST", &format!("/zones/{ZONE_NET_ID}/dns_records"), &body);
    }
}

#[test]
fn a_zone_that_changed_since_the_plan_is_planned_anew_and_given_up_after_three_times() {
    for (times, state) in [(1, "succeeded"), (3, "succeeded"), (4, "failed")] {
        let works = works();
        take(&works, "example.net");
        disturb(&works, ZONE_NET_ID, 200);
        for (nth, name) in (1..=times).zip(["s1", "s2", "s3", "s4"]) {
            // What is read back once a plan is stored.
            let hook = interfere(&works, name, 11);
            let what = "d1: SELECT runs; SELECT run_params; SELECT run_steps";
            works.harness.outside.injector.before(what, nth, hook);
        }
        let run = works.start("restore", &json!({"zones": ["example.net"]}));
        works.harness.drain().unwrap();
        let ended = works.ended(run);
        assert_eq!(ended.run.state.as_str(), state, "{}", ended.says());
        assert!(ended.has_event("Plan 1 is void: the records of example.net are not as they were"));
        if state == "failed" {
            let says = ended.says();
            let wanted = "failed: The run was given up, as it kept finding another state: ";
            assert!(says.starts_with(wanted), "{says}");
            assert_eq!((ended.run.replans, works.sent()), (3, 0));
            // Asked to try again, it may plan anew as often as before.
            works.done(&format!("POST /api/v1/runs/{run}/retry"), &json!({}));
            works.settle();
            assert!(
                works.says(run).starts_with("succeeded"),
                "{}",
                works.says(run)
            );
        } else {
            assert_eq!(ended.run.replans, u32::try_from(times).unwrap());
            let strangers = works.records(ZONE_NET_ID);
            let strangers = strangers.iter().filter(|r| r["content"] == "\"stranger\"");
            assert_eq!(strangers.count(), 0);
        }
    }
}

/// Whether a change that somebody makes while a restore is being carried out is undone as well.
fn a_change_meanwhile_is_noticed(works: &Works) -> Result<Ended, String> {
    works.fill(ZONE_NET_ID, 900);
    let before = content(works, ZONE_NET_ID);
    take(works, "example.net");
    disturb(works, ZONE_NET_ID, 200);
    let hook = interfere(works, "meanwhile", 0);
    works
        .harness
        .outside
        .injector
        .before("upstream: POST", 2, hook);
    let ended = works
        .finish("restore", &json!({"zones": ["example.net"]}))
        .succeeded()?;
    same(&before, &content(works, ZONE_NET_ID)).map(|()| ended)
}

#[test]
fn a_change_during_the_restore_is_noticed_by_its_verification() {
    let ended = a_change_meanwhile_is_noticed(&works()).unwrap();
    assert_eq!(ended.run.replans, 1);
    assert!(
        ended.has_event("1 records of example.net still differ: "),
        "{:?}",
        ended.events
    );
}

#[test]
fn a_batch_whose_answer_is_lost_is_read_back_and_settled() {
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter, Fault::Timeout] {
        let works = works();
        let batch = format!("/zones/{ZONE_NET_ID}/dns_records/batch");
        works.fill(ZONE_NET_ID, 400);
        let before = content(&works, ZONE_NET_ID);
        take(&works, "example.net");
        disturb(&works, ZONE_NET_ID, 200);
        works
            .harness
            .outside
            .injector
            .fail("upstream: POST", 1, fault);
        let ended = works.finish("restore", &json!({"zones": ["example.net"]}));
        assert_eq!(
            ended.run.state.as_str(),
            "succeeded",
            "{fault:?}: {}",
            ended.says()
        );
        same(&before, &content(&works, ZONE_NET_ID)).unwrap();
        let outside = &works.harness.outside;
        let ledger = outside.network.borrow().lab.ledger();
        check_writes(&outside.writes, &outside.sqlite, &ledger, 1, &|_| false).unwrap();
        let settled = works
            .sqlite()
            .rows("SELECT happened FROM audit_settlements");
        assert_eq!(
            settled,
            [json!({"happened": i64::from(fault != Fault::ErrorBefore)})]
        );
        let steps = ended.steps.len();
        assert_eq!(works.writes().len(), steps, "{fault:?}: {batch}");
    }
}

#[test]
fn a_zone_of_ten_thousand_records_is_kept_and_put_back() {
    let works = works();
    works.fill(ZONE_COM_ID, 10_000);
    let before = content(&works, ZONE_COM_ID);
    let taken = works.finish("snapshot", &json!({}));
    assert_eq!(taken.result()["step_1"]["records"], before.len());
    let records = works.records(ZONE_COM_ID);
    let deletes: Vec<Value> = records
        .iter()
        .map(|record| json!({"id": record["id"]}))
        .collect();
    for items in deletes.chunks(3_500) {
        let batch = format!("/zones/{ZONE_COM_ID}/dns_records/batch");
        works.by_hand("POST", &batch, &json!({ "deletes": items }));
    }
    let ended = works.finish("restore", &json!({}));
    assert_eq!(ended.run.state.as_str(), "succeeded", "{}", ended.says());
    same(&before, &content(&works, ZONE_COM_ID)).unwrap();
    assert_eq!(works.sent(), 3);
    let effects = works.harness.outside.injector.effects();
    let reads = effects
        .iter()
        .filter(|effect| effect.starts_with(RECORDS_READ));
    assert!(reads.count() < 25);
}

/// A bug that is planted into the engine must show in what each kind is for.
#[cfg(feature = "faults")]
#[test]
fn a_planted_bug_is_noticed() {
    type Check = fn(&Works) -> Result<(), String>;
    let kept = |works: &Works| a_snapshot_holds_the_zone(works).map(drop);
    let restored = |works: &Works| {
        // The snapshot is taken before the bug is planted.
        let planted = works.harness.outside.planted.take();
        works.fill(ZONE_NET_ID, 100);
        let before = content(works, ZONE_NET_ID);
        take(works, "example.net");
        disturb(works, ZONE_NET_ID, 200);
        works.harness.outside.planted.set(planted);
        works
            .finish("restore", &json!({"zones": ["example.net"]}))
            .succeeded()?;
        let is_back = content(works, ZONE_NET_ID) == before;
        is_back
            .then_some(())
            .ok_or_else(|| "nothing was restored".to_owned())
    };
    let changed: Check = |works| a_change_meanwhile_is_noticed(works).map(drop);
    let checks: [(&str, &str, Check); 4] = [
        ("skip_apply", "dns.snapshot", kept),
        ("skip_apply", "dns.restore", restored),
        ("skip_verify", "dns.snapshot", a_lost_blob_is_noticed),
        ("skip_verify", "dns.restore", changed),
    ];
    for (bug, kind, check) in checks {
        check(&works()).unwrap_or_else(|error| panic!("{kind} without a bug: {error}"));
        let works = works();
        works.harness.outside.planted.set(Some(bug));
        assert!(check(&works).is_err(), "{bug} in {kind}");
    }
}

/// What is not seen would be missing from the snapshot, and be deleted by a restore of it.
#[test]
fn a_zone_that_is_seen_in_part_is_neither_kept_nor_restored() {
    let works = works();
    works.apply_all(
        "[[principals]]\nname = \"part\"\nkind = \"internal\"\n\
         [[grants]]\nname = \"part\"\nprincipals = [\"part\"]\neffect = \"allow\"\npermissions = [\"DNS Write\"]\n\
         zones = [\"example.com\"]\ndns = { names = [\"**.dev.example.com\"] }\n\
         [[jobs]]\nname = \"snapshot\"\nkind = \"dns.snapshot\"\nrun_as = \"part\"\nparams = { zones = [\"example.com\"] }\n"
    );
    let run = works.start("snapshot", &json!({}));
    works.settle();
    let says = works.says(run);
    assert!(
        says.contains("part may see only some of the records"),
        "{says}"
    );
    assert_eq!(works.sqlite().count("snapshots"), 0);
}
