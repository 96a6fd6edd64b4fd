//! Zone files in and out as far as a grant reaches, and records of Zonekeeper's own host names.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic like tests"
)]

#[expect(dead_code, reason = "each test uses another part of it")]
mod support;

use serde_json::{Value, json};
use simulator::{ZONE_COM_ID as COM, ZONE_NET_ID as NET};
use support::gate::{Gate, Got};
use support::lab::injector::Fault;
use support::zone::{made, records};

const CONFIG: &str = r#"
principals = [{ name = "acme", kind = "key" }, { name = "admin", kind = "key" }, { name = "named", kind = "key" }]
[[grants]]
name = "acme-challenges"
principals = ["acme"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com"]
dns = { names = ["_acme-challenge.**"], types = ["TXT"] }
[[grants]]
name = "all-records"
principals = ["admin"]
effect = "allow"
permissions = ["DNS Write"]
zones = ["example.com", "example.net"]
[[grants]]
name = "patches-by-name"
principals = ["named"]
effect = "allow"
operations = ["dns-records-for-a-zone-patch-dns-record"]
zones = ["example.com"]
"#;

const FORM: &str = "multipart/form-data; boundary=xx";

fn form(file: &str, proxied: &str) -> String {
    [
        "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"z\"\r\n\r\n",
        file,
        "\r\n--xx\r\nContent-Disposition: form-data; name=\"proxied\"\r\n\r\n",
        proxied,
        "\r\n--xx--\r\n",
    ]
    .concat()
}

fn import(gate: &Gate, who: &str, zone: &str, file: &str) -> Got {
    let line = format!("POST /zones/{zone}/dns_records/import");
    gate.call_with(who, &line, FORM, form(file, "false").as_bytes())
}

#[test]
fn e1_each_record_of_an_import_is_judged_and_the_upload_made_anew() {
    let gate = Gate::new(CONFIG, &[]);
    for (file, at) in [
        ("_acme-challenge TXT x\nwww7 A 192.0.2.1", 2),
        ("_acme-challenge TXT x\n_acme-challenge.b CNAME x", 2),
        (
            "$ORIGIN _acme-challenge.example.com.\n@ TXT x\n\twww CNAME y\nexample.com. TXT x",
            2,
        ),
        ("example.com. TXT evil", 1),
    ] {
        let sent = gate.writes();
        let got = import(&gate, "acme", COM, file);
        assert!(
            matches!(got.refused(), (403, 20020) | (400, 20003)),
            "{file}: {}",
            got.text
        );
        if got.status == 403 {
            assert!(
                got.message()
                    .starts_with(&format!("Of record {at} of the file: acme may not ")),
                "{}",
                got.text
            );
        }
        assert_eq!(gate.writes(), sent);
    }
    let got = import(
        &gate,
        "acme",
        COM,
        "; mine\n$TTL 300\n_ACME-challenge TXT x ; why\n_acme-challenge.b 60 IN TXT \"a;b\"\n",
    );
    assert_eq!(got.result()["recs_added"], 2);
    let body = gate.last_body();
    assert!(
        body.contains("\n_acme-challenge.example.com.\t300\tIN\tTXT\t\"x\" ; why\n"),
        "{body}"
    );
    assert!(!body.contains("mine"), "{body}");
    assert_eq!(
        gate.last_entry().sentence,
        "acme imported 2 DNS records into example.com; allowed by acme-challenges."
    );
    // What cannot be understood is refused with its line.
    let got = import(
        &gate,
        "acme",
        COM,
        "_acme-challenge TXT x\n$GENERATE 1-9 a$ A 192.0.2.$\n",
    );
    assert_eq!(
        (got.status, got.message().as_str()),
        (
            400,
            "The zone file is not acceptable: line 2: \"$GENERATE\" takes one value."
        )
    );
    let got = gate.call("acme", &format!("POST {}/import", records(COM)), &json!({}));
    assert_eq!(got.refused(), (400, 20003));
}

#[test]
fn an_import_of_whoever_may_write_everything_passes_as_it_came() {
    let gate = Gate::new(CONFIG, &[]);
    let got = import(&gate, "admin", NET, "$GENERATE 1-2 gen$ A 192.0.2.$\n");
    assert_eq!(got.result()["recs_added"], 2);
    assert_eq!(
        gate.last_body(),
        form("$GENERATE 1-2 gen$ A 192.0.2.$\n", "false")
    );
}

#[test]
fn e3_an_import_takes_no_turn() {
    for who in ["acme", "admin"] {
        let gate = Gate::new(CONFIG, &["zk.example.com"]);
        let injector = &gate.harness.outside.injector;
        injector.fail("object: lock", 1, Fault::ErrorBefore);
        let got = import(&gate, who, COM, "_acme-challenge TXT x\n");
        assert_eq!(got.result()["recs_added"], 1, "{who}");
    }
}

#[test]
fn e3_more_records_than_were_judged_are_detected() {
    let gate = Gate::new(CONFIG, &[]);
    for (result, how) in [
        (
            json!({"recs_added": 3, "total_records_parsed": 3}),
            "3 records were added in place of 2",
        ),
        (
            json!({}),
            "the answer does not say how many records were added",
        ),
    ] {
        let body = json!({"success": true, "errors": [], "messages": [], "result": result});
        let path = format!("{}/import", records(COM));
        gate.harness.outside.network.borrow_mut().answer_instead(
            ("POST", &path),
            0,
            200,
            &[],
            &body,
        );
        let file = "_acme-challenge TXT x\n_acme-challenge.b TXT y\n";
        let got = import(&gate, "acme", COM, file);
        assert_eq!(got.refused(), (502, 20070), "{}", got.text);
        let sentence = gate.last_entry().sentence;
        assert!(
            sentence.contains(&format!("toctou_detected: {how}")),
            "{sentence}"
        );
    }
}

#[test]
fn an_export_holds_what_the_caller_may_see_and_nothing_else() {
    let gate = Gate::new(CONFIG, &[]);
    made(
        &gate,
        &json!({"type": "TXT", "name": "_acme-challenge.a", "content": "\"one\"", "ttl": 60, "comment": "c"}),
    );
    let got = gate.call(
        "acme",
        &format!("GET {}/export", records(COM)),
        &Value::Null,
    );
    assert_eq!(got.status, 200, "{}", got.text);
    let lines: Vec<&str> = got
        .text
        .lines()
        .filter(|line| !line.starts_with(";;") && line.contains("\tIN\t") && !line.contains("SOA"))
        .collect();
    assert_eq!(
        lines,
        ["_acme-challenge.a.example.com.\t60\tIN\tTXT\t\"one\" ; c"]
    );
    // It can be imported again.
    assert_eq!(
        import(&gate, "acme", COM, &got.text).result()["recs_added"],
        0
    );
    let whole = gate.call(
        "admin",
        &format!("GET {}/export", records(COM)),
        &Value::Null,
    );
    assert!(whole.text.contains("www.example.com."), "{}", whole.text);
}

#[test]
fn e7_a_record_of_an_own_host_name_is_out_of_reach_by_id_and_in_bulk() {
    let gate = Gate::new(CONFIG, &["zk.example.com", "deep.gate.example.com"]);
    let own = made(
        &gate,
        &json!({"type": "A", "name": "zk", "content": "192.0.2.1"}),
    );
    let other = made(
        &gate,
        &json!({"type": "A", "name": "free", "content": "192.0.2.1"}),
    );
    let path = records(COM);
    let file = form("free2 A 192.0.2.1\nzk AAAA 2001:db8::1\n", "false");
    let before = gate.writes();
    for (line, body) in [
        (format!("DELETE {path}/{own}"), Value::Null),
        (
            format!("PATCH {path}/{own}"),
            json!({"content": "192.0.2.66"}),
        ),
        (format!("PATCH {path}/{own}"), json!({"name": "elsewhere"})),
        (
            format!("PUT {path}/{own}"),
            json!({"type": "A", "name": "elsewhere", "content": "192.0.2.66"}),
        ),
        (format!("PATCH {path}/{other}"), json!({"name": "ZK"})),
        (
            format!("PATCH {path}/{other}"),
            json!({"name": "zk.example.com."}),
        ),
        (
            format!("PATCH {path}/0123456789abcdef0123456789abcdef"),
            json!({"name": "zk"}),
        ),
        (
            format!("POST {path}"),
            json!({"type": "A", "name": "z\u{ff4b}", "content": "192.0.2.66"}),
        ),
        (
            format!("POST {path}"),
            json!({"type": "NS", "name": "gate", "content": "ns.evil.example"}),
        ),
        (
            format!("POST {path}/batch"),
            json!({"deletes": [{"id": other}, {"id": own}]}),
        ),
        (
            format!("POST {path}/batch"),
            json!({"posts": [{"type": "TXT", "name": "zk", "content": "x"}]}),
        ),
        (
            format!("POST {path}/batch"),
            json!({"posts": [{"type": "NS", "name": "gate", "content": "ns.evil.example"}]}),
        ),
        (
            format!("POST {path}/batch"),
            json!({"patches": [{"id": other, "name": "zk"}]}),
        ),
    ] {
        let got = gate.call("admin", &line, &body);
        assert_eq!(got.refused(), (403, 20022), "{line} {body}: {}", got.text);
        assert_eq!(gate.writes(), before, "{line}");
    }
    let got = gate.call_with(
        "admin",
        &format!("POST {path}/import"),
        FORM,
        file.as_bytes(),
    );
    assert_eq!(got.refused(), (403, 20022), "{}", got.text);
    assert!(
        got.message()
            .starts_with("Of record 2 of the file: admin may not "),
        "{}",
        got.text
    );
    assert_eq!(gate.writes(), before);
}

/// A list that shows `shown` of a zone that is said to hold `total` records.
fn page(shown: &[Value], total: Option<usize>) -> Value {
    let info = total.map_or(json!({}), |total| json!({"total_count": total}));
    json!({"success": true, "errors": [], "messages": [], "result": shown, "result_info": info})
}

#[test]
fn e7_an_own_record_that_a_list_does_not_show_is_out_of_reach_all_the_same() {
    let gate = Gate::new(CONFIG, &["zk.example.com"]);
    let mut ids: Vec<String> = (0..6)
        .map(|n| {
            let name = format!("free{n}");
            made(
                &gate,
                &json!({"type": "A", "name": name, "content": "192.0.2.1"}),
            )
        })
        .collect();
    let zk = json!({"type": "A", "name": "zk", "content": "192.0.2.1"});
    ids.push(made(&gate, &zk));
    let shown: Vec<Value> = ids
        .iter()
        .take(6)
        .map(|id| gate.by_hand(&format!("GET {}/{id}", records(COM)), &Value::Null))
        .collect();
    let nameless = json!({"type": "A", "name": "zk.example.com", "content": "192.0.2.1"});
    let with_nameless = [&shown[..], &[nameless]].concat();
    let line = format!("POST {}/batch", records(COM));
    let deletes: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let before = gate.writes();
    for (page, refused) in [
        (page(&shown, None), (502, 20070)),
        (page(&shown, Some(6)), (403, 20022)),
        (page(&shown, Some(7)), (403, 20022)),
        (page(&with_nameless, Some(7)), (403, 20022)),
        (page(&shown[..1], Some(1)), (400, 20032)),
        (page(&[], Some(0)), (400, 20032)),
    ] {
        gate.harness.outside.network.borrow_mut().answer_instead(
            ("GET", "per_page"),
            0,
            200,
            &[],
            &page,
        );
        let got = gate.call("admin", &line, &json!({ "deletes": deletes }));
        assert_eq!(got.refused(), refused, "{page}: {}", got.text);
        assert_eq!(gate.writes(), before, "{page}");
    }
    // An answer about another record than was asked for says nothing of it.
    let path = format!("{}/{}", records(COM), ids[6]);
    let other = json!({"success": true, "errors": [], "messages": [], "result": shown[0]});
    gate.harness
        .outside
        .network
        .borrow_mut()
        .answer_instead(("GET", &path), 0, 200, &[], &other);
    let got = gate.call("admin", &format!("DELETE {path}"), &Value::Null);
    assert_eq!(got.refused(), (502, 20070), "{}", got.text);
    // Whoever sees some records only learns from none of this which there are.
    let absent: Vec<Value> = (0..6)
        .map(|n| json!({"id": format!("0123456789abcdef0123456789abcde{n}")}))
        .collect();
    let said = [&deletes, &absent].map(|items| {
        let items: Vec<&Value> = items.iter().rev().take(6).collect();
        let got = gate.call("acme", &line, &json!({ "deletes": items }));
        assert_eq!(got.refused(), (403, 20020), "{}", got.text);
        got.text
    });
    assert_eq!(said[0], said[1]);
}

#[test]
fn e7_what_is_not_an_own_host_name_passes_beside_it() {
    let gate = Gate::new(CONFIG, &["zk.example.com"]);
    let own = made(
        &gate,
        &json!({"type": "A", "name": "zk", "content": "192.0.2.1"}),
    );
    let other = made(
        &gate,
        &json!({"type": "A", "name": "free", "content": "192.0.2.1"}),
    );
    let path = records(COM);
    // Who may not see the record learns nothing of whose it is.
    let got = gate.call("acme", &format!("DELETE {path}/{own}"), &Value::Null);
    assert_eq!(got.refused(), (403, 20020));
    // What is not its own passes, with whatever fields it has, and so does a grant that names the operation.
    let body = json!({"comment": "c", "a_new_field": null});
    assert_eq!(
        gate.call("admin", &format!("PATCH {path}/{other}"), &body)
            .status,
        200
    );
    assert_eq!(gate.last_body(), body.to_string());
    assert_eq!(
        gate.call(
            "named",
            &format!("PATCH {path}/{own}"),
            &json!({"content": "192.0.2.9"})
        )
        .status,
        200
    );
    // In another zone nothing has to be looked up.
    let sent = gate.ledger().len();
    gate.call(
        "admin",
        &format!("DELETE {}/{own}", records(NET)),
        &Value::Null,
    );
    assert_eq!(gate.ledger().len(), sent + 1);
}

#[test]
fn what_a_preview_cannot_know_it_does_not_promise() {
    let gate = Gate::new(CONFIG, &[]);
    let ask = |principal: &str, method: &str, path: &str| {
        let body = json!({"principal": principal, "method": method, "path": format!("/client/v4{path}"), "body": {"name": "www"}});
        gate.root("POST", "/decide", &body).result()
    };
    let by_id = format!("{}/0123456789abcdef0123456789abcdef", records(COM));
    let said = ask("acme", "PATCH", &by_id);
    assert_eq!(said["decision"], "deny");
    assert!(
        said["reason"].as_str().unwrap().ends_with(
            "Which records it changes is looked up, and decides, when the call is made."
        ),
        "{said}"
    );
    assert_eq!(ask("admin", "PATCH", &by_id)["decision"], "allow");
    assert_eq!(ask("acme", "POST", &records(COM))["decision"], "deny");
    assert!(gate.ledger().is_empty(), "nothing is asked upstream");
}
