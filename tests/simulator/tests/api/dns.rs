//! DNS records: validation, conflicts, lists, batch, zone files.

use crate::support::{Answer, Sim};
use serde_json::{Value, json};
use simulator::{TOKEN, ZONE_COM_ID, ZONE_NET_ID, ZONE_ORG_ID};

fn records(zone: &str) -> String {
    format!("/zones/{zone}/dns_records")
}

fn create(sim: &Sim, body: &Value) -> Answer {
    sim.call("POST", &records(ZONE_NET_ID), Some(body))
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

fn a(name: &str, content: &str) -> Value {
    json!({"type": "A", "name": name, "content": content})
}

#[test]
fn a_record_is_kept_in_its_normal_form() {
    let sim = Sim::start();
    let body = json!({
        "type": "CNAME", "name": "Blog", "content": "Target.Example.NET.", "ttl": 300,
        "proxied": true, "comment": "c", "tags": ["b:2", "a:1"], "settings": {"flatten_cname": false},
        "zone_id": "ignored", "extra": 1,
    });
    let record = create(&sim, &body).result();
    assert_eq!(record["name"], "blog.example.net");
    assert_eq!(record["content"], "target.example.net");
    assert_eq!(record["ttl"], 1);
    assert_eq!(record["proxiable"], true);
    assert_eq!(record["tags"], json!(["a:1", "b:2"]));
    assert_eq!(record["meta"], json!({}));
    assert_eq!(record["created_on"], record["comment_modified_on"]);
    for gone in [
        "zone_id",
        "zone_name",
        "locked",
        "extra",
        "data",
        "priority",
    ] {
        assert_eq!(record.get(gone), None, "{gone}");
    }
    let path = format!("{}/{}", records(ZONE_NET_ID), id(&record));
    assert_eq!(sim.get(&path).result(), record);
}

#[test]
fn patch_keeps_and_put_forgets_what_is_not_given() {
    let sim = Sim::start();
    let body = json!({"type": "MX", "name": "m", "content": "mx.example.net", "priority": 5, "ttl": 600, "comment": "c", "tags": ["t"]});
    let made = create(&sim, &body).result();
    let path = format!("{}/{}", records(ZONE_NET_ID), id(&made));
    sim.control("POST", "/clock", Some(&json!({"advance_secs": 60})));
    let patched = sim
        .call("PATCH", &path, Some(&json!({"content": "mx2.example.net"})))
        .result();
    assert_eq!(patched["priority"], 5);
    assert_eq!(patched["ttl"], 600);
    assert_eq!(patched["comment"], "c");
    assert_eq!(patched["created_on"], made["created_on"]);
    assert_ne!(patched["modified_on"], made["modified_on"]);
    assert_eq!(patched["comment_modified_on"], made["comment_modified_on"]);
    let body = json!({"type": "MX", "name": "m", "content": "mx3.example.net", "priority": 6});
    let put = sim.call("PUT", &path, Some(&body)).result();
    assert_eq!(put["ttl"], 1);
    assert_eq!(put["comment"], Value::Null);
    assert_eq!(put["tags"], json!([]));
    assert_eq!(put["created_on"], made["created_on"]);
}

#[test]
fn the_type_of_a_record_cannot_change() {
    let sim = Sim::start();
    let made = create(&sim, &a("t", "192.0.2.1")).result();
    let path = format!("{}/{}", records(ZONE_NET_ID), id(&made));
    let body = json!({"type": "AAAA", "name": "t", "content": "2001:db8::1"});
    for method in ["PUT", "PATCH"] {
        assert_eq!(sim.call(method, &path, Some(&body)).error(), (400, 1004));
    }
    let same = json!({"type": "A", "content": "192.0.2.2"});
    assert_eq!(
        sim.call("PATCH", &path, Some(&same)).result()["content"],
        "192.0.2.2"
    );
}

#[test]
fn records_of_one_name_exclude_each_other_as_in_the_api() {
    let sim = Sim::start();
    let cname = |content: &str| json!({"type": "CNAME", "name": "n", "content": content});
    create(&sim, &a("n", "192.0.2.1")).result();
    create(&sim, &a("N.example.net", "192.0.2.2")).result();
    assert_eq!(create(&sim, &a("n", "192.0.2.1")).error(), (400, 81_058));
    let other_ttl = json!({"type": "A", "name": "n", "content": "192.0.2.1", "ttl": 300});
    assert_eq!(create(&sim, &other_ttl).error(), (400, 81_057));
    assert_eq!(create(&sim, &cname("x.example.net")).error(), (400, 81_053));
    create(
        &sim,
        &json!({"type": "CNAME", "name": "c", "content": "x.example.net"}),
    )
    .result();
    let second = json!({"type": "CNAME", "name": "c", "content": "y.example.net"});
    assert_eq!(create(&sim, &second).error(), (400, 81_053));
    assert_eq!(create(&sim, &a("c", "192.0.2.1")).error(), (400, 81_054));
    create(
        &sim,
        &json!({"type": "TXT", "name": "c", "content": "beside a CNAME"}),
    )
    .result();
    let ns = |name: &str| json!({"type": "NS", "name": name, "content": "ns.example.org"});
    assert_eq!(create(&sim, &ns("n")).error(), (400, 81_056));
    assert_eq!(create(&sim, &a("lab", "192.0.2.1")).error(), (400, 81_056));
    create(&sim, &ns("lab")).result();
    create(&sim, &ns("@")).result();
    let quoted = json!({"type": "TXT", "name": "q", "content": "\"one two\""});
    create(&sim, &quoted).result();
    let bare = json!({"type": "TXT", "name": "q", "content": "one two"});
    assert_eq!(create(&sim, &bare).error(), (400, 81_058));
}

#[test]
fn an_update_may_not_collide_but_may_keep_its_own_value() {
    let sim = Sim::start();
    create(&sim, &a("u", "192.0.2.1")).result();
    let made = create(&sim, &a("u", "192.0.2.2")).result();
    let path = format!("{}/{}", records(ZONE_NET_ID), id(&made));
    let to = |content: &str| json!({"content": content});
    assert_eq!(
        sim.call("PATCH", &path, Some(&to("192.0.2.1"))).error(),
        (400, 81_058)
    );
    sim.call("PATCH", &path, Some(&to("192.0.2.2"))).result();
    let moved = sim
        .call("PATCH", &path, Some(&json!({"name": "v"})))
        .result();
    assert_eq!(moved["name"], "v.example.net");
    create(&sim, &a("u", "192.0.2.2")).result();
}

#[test]
fn an_unknown_record_is_404_and_a_deleted_one_too() {
    let sim = Sim::start();
    let made = create(&sim, &a("d", "192.0.2.1")).result();
    let path = format!("{}/{}", records(ZONE_NET_ID), id(&made));
    let answer = sim.call("DELETE", &path, Some(&json!({})));
    assert_eq!(answer.result(), json!({"id": id(&made)}));
    for method in ["GET", "DELETE", "PATCH", "PUT"] {
        assert_eq!(
            sim.call(method, &path, Some(&json!({}))).error(),
            (404, 81_044)
        );
    }
    assert_eq!(
        sim.get(&format!("{}/x", records(ZONE_NET_ID))).error(),
        (400, 7003)
    );
}

#[test]
fn ttl_thirty_is_for_enterprise() {
    let sim = Sim::start();
    let body = json!({"type": "A", "name": "t", "content": "192.0.2.1", "ttl": 30});
    assert_eq!(create(&sim, &body).error(), (400, 9021));
    let record = sim
        .call("POST", &records(ZONE_ORG_ID), Some(&body))
        .result();
    assert_eq!(record["ttl"], 30);
}

#[test]
fn lists_filter_by_every_field() {
    let sim = Sim::start();
    let list = |query: &str| -> Vec<String> {
        let path = format!("{}?order=name&{query}", records(ZONE_COM_ID));
        sim.get(&path)
            .result()
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                format!(
                    "{} {}",
                    r["type"].as_str().unwrap(),
                    r["name"].as_str().unwrap()
                )
            })
            .collect()
    };
    let cases = [
        ("name=api.example.com", "A api.example.com"),
        ("name.exact=API.example.com.", "A api.example.com"),
        ("name.startswith=_dmarc", "TXT _dmarc.example.com"),
        (
            "name.endswith=_tcp.example.com&type=SRV",
            "SRV _sip._tcp.example.com",
        ),
        ("name.contains=ffic", "LOC office.example.com"),
        ("content=192.0.2.20", "A api.example.com"),
        (
            "content=v%3Dspf1+include:_spf.example.net+~all",
            "TXT example.com",
        ),
        ("content.contains=DMARC1", "TXT _dmarc.example.com"),
        ("comment=PUBLIC+api", "A api.example.com"),
        ("comment.contains=dyn", "A home.example.com"),
        (
            "comment.present&type=A&name.startswith=h",
            "A home.example.com",
        ),
        ("tag=team:platform", "A api.example.com"),
        ("tag.exact=ENV:prod", "A api.example.com"),
        ("tag.present=env", "A api.example.com"),
        ("tag.startswith=team:plat", "A api.example.com"),
        (
            "tag=team:platform&tag=env:dev&tag_match=any",
            "A api.example.com",
        ),
        ("comment.absent&type=AAAA", "AAAA example.com"),
        ("tag.absent=env&comment.present=", "A home.example.com"),
        ("search=mail1", "MX example.com"),
        ("proxied=true&type=CNAME", "CNAME www.example.com"),
        (
            "match=any&name=api.example.com&content=nothing",
            "A api.example.com",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(list(query), [expected], "{query}");
    }
    for none in [
        "name=contains:api",
        "name=api.example.com,home.example.com",
        "tag=team:platform&tag=env:dev",
        "name=api.example.com&type=AAAA",
        "name=sub.www.example.com",
    ] {
        assert!(list(none).is_empty(), "{none}");
    }
    let path = |query: &str| format!("{}?{query}", records(ZONE_COM_ID));
    assert_eq!(sim.get(&path("type=SPF")).error(), (400, 6003));
    assert_eq!(sim.get(&path("proxied=maybe")).error(), (400, 6003));
    assert_eq!(sim.get(&path("match=some")).error(), (400, 6003));
}

#[test]
fn pages_cover_the_list_once_and_end_in_an_empty_one() {
    let sim = Sim::start();
    let page = |n: usize| {
        sim.get(&format!("{}?per_page=5&page={n}", records(ZONE_NET_ID)))
            .json()
    };
    let total = page(1)["result_info"]["total_count"].as_u64().unwrap();
    assert_eq!(total, 13);
    let mut ids: Vec<String> = (1..=3)
        .flat_map(|n| page(n)["result"].as_array().unwrap().clone())
        .map(|r| id(&r))
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 13);
    assert_eq!(
        page(3)["result_info"],
        json!({"page": 3, "per_page": 5, "count": 3, "total_count": 13, "total_pages": 3})
    );
    assert_eq!(page(4)["result"], json!([]));
    let all = sim
        .get(&format!("{}?per_page=5000000", records(ZONE_NET_ID)))
        .json();
    assert_eq!(all["result_info"]["count"], 13);
    let desc = sim
        .get(&format!(
            "{}?order=ttl&direction=desc",
            records(ZONE_NET_ID)
        ))
        .result();
    assert_eq!(desc[0]["ttl"], 86_400);
}

#[test]
fn a_batch_runs_deletes_patches_puts_posts() {
    let sim = Sim::start();
    let one = create(&sim, &a("b1", "192.0.2.1")).result();
    let two = create(&sim, &a("b2", "192.0.2.2")).result();
    let three = create(&sim, &a("b3", "192.0.2.3")).result();
    // The post is possible only because the delete goes first.
    let body = json!({
        "posts": [{"type": "CNAME", "name": "b1", "content": "x.example.net"}],
        "puts": [{"id": id(&three), "type": "A", "name": "b3", "content": "192.0.2.33"}],
        "patches": [{"id": id(&two), "ttl": 300}],
        "deletes": [{"id": id(&one)}],
    });
    let result = sim
        .call(
            "POST",
            &format!("{}/batch", records(ZONE_NET_ID)),
            Some(&body),
        )
        .result();
    assert_eq!(result["deletes"][0]["id"], one["id"]);
    assert_eq!(result["patches"][0]["ttl"], 300);
    assert_eq!(result["puts"][0]["content"], "192.0.2.33");
    assert_eq!(result["posts"][0]["name"], "b1.example.net");
}

#[test]
fn a_failed_batch_changes_nothing_and_reports_its_first_error_only() {
    let sim = Sim::start();
    let one = create(&sim, &a("b1", "192.0.2.1")).result();
    let all = || {
        sim.get(&format!("{}?per_page=1000", records(ZONE_NET_ID)))
            .result()
    };
    let before = all();
    let path = format!("{}/batch", records(ZONE_NET_ID));
    let body = json!({
        "deletes": [{"id": id(&one)}],
        "posts": [a("ok", "192.0.2.5"), a("bad", "nope"), {"type": "NOPE"}],
    });
    let answer = sim.call("POST", &path, Some(&body));
    assert_eq!(answer.error(), (400, 9005));
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 1);
    let unknown =
        json!({"patches": [{"id": "0".repeat(32), "ttl": 300}], "posts": [a("ok", "192.0.2.5")]});
    assert_eq!(
        sim.call("POST", &path, Some(&unknown)).error(),
        (404, 81_044)
    );
    assert_eq!(all(), before);
}

#[test]
fn a_batch_is_limited_by_plan() {
    let sim = Sim::start();
    let posts = |n: usize| -> Value {
        let list: Vec<Value> = (0..n).map(|i| a(&format!("h{i}"), "192.0.2.1")).collect();
        json!({"posts": list})
    };
    let batch = |zone: &str, n: usize| {
        sim.call("POST", &format!("{}/batch", records(zone)), Some(&posts(n)))
    };
    assert_eq!(batch(ZONE_NET_ID, 201).error(), (400, 1004));
    assert_eq!(batch(ZONE_NET_ID, 200).status, 200);
    assert_eq!(batch(ZONE_COM_ID, 3501).error(), (400, 1004));
    assert_eq!(batch(ZONE_COM_ID, 3500).status, 200);
}

fn import(sim: &Sim, zone: &str, file: &str, proxied: &str) -> Answer {
    let body = format!(
        "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"z.txt\"\r\ncontent-type: text/plain\r\n\r\n{file}\r\n--B\r\ncontent-disposition: form-data; name=\"proxied\"\r\n\r\n{proxied}\r\n--B--\r\n"
    );
    let token = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "multipart/form-data; boundary=B"),
    ];
    let path = format!("/client/v4{}/import", records(zone));
    sim.raw("POST", &path, &headers, body.as_bytes()).unwrap()
}

#[test]
fn an_export_imported_elsewhere_gives_the_same_records() {
    let sim = Sim::start();
    let export = sim.get(&format!("{}/export", records(ZONE_COM_ID)));
    assert_eq!(export.status, 200);
    assert!(
        export
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let text = String::from_utf8(export.body).unwrap();
    assert!(
        text.contains("www.example.com.\t1\tIN\tCNAME\texample.com. ; cf_tags=cf-proxied:true\n")
    );
    // All of it is there already.
    let result = import(&sim, ZONE_COM_ID, &text, "false").result();
    assert_eq!(result, json!({"recs_added": 0, "total_records_parsed": 27}));
    let made = sim
        .call("POST", "/zones", Some(&json!({"name": "copy.example"})))
        .result();
    let copied = text.replace("example.com", "copy.example");
    let result = import(&sim, &id(&made), &copied, "true").result();
    assert_eq!(
        result,
        json!({"recs_added": 27, "total_records_parsed": 27})
    );
    let all = |zone: &str| -> Vec<Value> {
        let list = sim.get(&format!("{}?per_page=100", records(zone))).result();
        let keys = [
            "type", "name", "content", "ttl", "proxied", "priority", "data", "comment", "tags",
        ];
        list.as_array()
            .unwrap()
            .iter()
            .map(|r| keys.iter().map(|k| (*k, r[*k].clone())).collect())
            .collect()
    };
    let expected = serde_json::to_string(&all(ZONE_COM_ID)).unwrap();
    let got = serde_json::to_string(&all(&id(&made))).unwrap();
    assert_eq!(got, expected.replace("example.com", "copy.example"));
}

#[test]
fn an_import_is_atomic_and_refuses_includes() {
    let sim = Sim::start();
    let count = || sim.get(&records(ZONE_NET_ID)).json()["result_info"]["total_count"].clone();
    let before = count();
    let conflict = import(
        &sim,
        ZONE_NET_ID,
        "new A 192.0.2.9\nwww A 192.0.2.9\n",
        "false",
    );
    assert_eq!(conflict.error(), (400, 81_054));
    let include = import(&sim, ZONE_NET_ID, "new A 192.0.2.9\n$INCLUDE x\n", "false");
    assert_eq!(include.error(), (400, 1004));
    assert_eq!(count(), before);
    let big = format!("; {}\n", "x".repeat(256 * 1024));
    assert_eq!(
        import(&sim, ZONE_NET_ID, &big, "false").error(),
        (400, 6007)
    );
}

#[test]
fn bodies_that_are_not_json_objects_are_refused() {
    let sim = Sim::start();
    let token = format!("Bearer {TOKEN}");
    let path = format!("/client/v4{}", records(ZONE_NET_ID));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "text/plain"),
    ];
    let post = |body: &[u8]| sim.raw("POST", &path, &headers, body).unwrap();
    assert_eq!(post(b"{").error(), (400, 6007));
    assert_eq!(post(b"[]").error(), (400, 6007));
    // JSON sent as text/plain is JSON all the same.
    assert_eq!(
        post(a("plain", "192.0.2.1").to_string().as_bytes()).status,
        200
    );
}
