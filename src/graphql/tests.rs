//! Queries and what each of them reads, or why it is refused.

use super::*;
use crate::model::json::parse;

const A: &str = "0123456789abcdef0123456789abcdef";
const B: &str = "fedcba9876543210fedcba9876543210";

/// The body of a query, with `A` and `B` standing for two ids.
fn body(query: &str, variables: &str, name: &str) -> Json {
    let ids = |text: &str| text.replace("<A>", A).replace("<B>", B);
    let query = Json::String(ids(query)).write();
    let text = format!(
        r#"{{"query":{query},"variables":{},"operationName":{name}}}"#,
        ids(variables)
    );
    parse(text.as_bytes()).unwrap()
}

fn reading(query: &str, variables: &str) -> Result<Reading, GraphqlError> {
    read(&body(query, variables, "null"))
}

/// What a query reads, as words: zones, then accounts, then datasets.
fn words(reading: &Reading) -> String {
    let id = |id: String| if id == A { "A" } else { "B" }.to_owned();
    let join = |words: Vec<String>| words.join(" ");
    format!(
        "{}/{}/{}",
        join(
            reading
                .zones
                .iter()
                .map(|zone| id(zone.to_string()))
                .collect()
        ),
        join(
            reading
                .accounts
                .iter()
                .map(|account| id(account.to_string()))
                .collect()
        ),
        join(reading.datasets.clone())
    )
}

#[test]
fn e8_every_way_to_name_a_zone_account_or_dataset_is_seen() {
    for (query, variables, expected) in [
        (
            r#"{viewer{zones(filter:{zoneTag:"<A>"}){d{count}}}}"#,
            "{}",
            "A//d",
        ),
        (
            r#"query Q{viewer{zones(filter:{zoneTag:"<A>"},limit:1){zoneTag __typename d{a}}}}"#,
            "{}",
            "A//d",
        ),
        // Aliases neither hide a zone nor a dataset.
        (
            r#"{zones:viewer{accounts:zones(filter:{zoneTag:"<A>"}){ok:secret{a}} x:zones(filter:{zoneTag:"<B>"}){d{a}}}}"#,
            "{}",
            "A B//secret d",
        ),
        (
            r#"{viewer{accounts(filter:{accountTag:"<B>"}){accountTag d(filter:{zoneTag:"<A>"}){a}}}}"#,
            "{}",
            "/B/d",
        ),
        (
            r#"{viewer{zones(filter:{zoneTag_in:["<A>","<B>"]}){d{a}}}}"#,
            "{}",
            "A B//d",
        ),
        (
            r#"{viewer{zones(filter:{zoneTag_in:"<A>"}){d{a}}}}"#,
            "{}",
            "A//d",
        ),
        (
            r#"{viewer{zones(filter:{AND:[{zoneTag:"<A>"},{OR:[{zoneTag:"<B>"}]}]}){d{a}}}}"#,
            "{}",
            "A B//d",
        ),
        // Variables, wherever they stand, and their defaults.
        (
            r"query($z:string!){viewer{zones(filter:{zoneTag:$z}){d{a}}}}",
            r#"{"z":"<A>"}"#,
            "A//d",
        ),
        (
            r"query($z:[string!]!){viewer{zones(filter:{zoneTag_in:$z}){d{a}}}}",
            r#"{"z":["<A>","<B>"]}"#,
            "A B//d",
        ),
        (
            r#"query($z:string){viewer{zones(filter:{zoneTag_in:["<A>",$z]}){d{a}}}}"#,
            r#"{"z":"<B>"}"#,
            "A B//d",
        ),
        (
            r"query($f:Z){viewer{zones(filter:$f){d{a}}}}",
            r#"{"f":{"zoneTag":"<B>"}}"#,
            "B//d",
        ),
        (
            r#"query($z:string="<A>"){viewer{zones(filter:{zoneTag:$z}){d{a}}}}"#,
            "{}",
            "A//d",
        ),
        (
            r#"query($z:string="<A>"){viewer{zones(filter:{zoneTag:$z}){d{a}}}}"#,
            r#"{"z":"<B>"}"#,
            "B//d",
        ),
        // Fragments of both kinds, nested.
        (
            r#"{...R} fragment R on Query{viewer{...V}} fragment V on Viewer{zones(filter:{zoneTag:"<A>"}){...N ... on zone{e{a}}}} fragment N on zone{d{a}}"#,
            "{}",
            "A//d e",
        ),
        (
            r#"{viewer{... @include(if:true){zones(filter:{zoneTag:"<A>"}){d @skip(if:false){a}}}}}"#,
            "{}",
            "A//d",
        ),
        // What looks like a filter in a comment or a text is none.
        (
            "{viewer{#zones(filter:{zoneTag:\"<B>\"}){x{y}}\nzones(filter:{zoneTag:\"<A>\"}){d(filter:{a:\"zoneTag:<B>\"}){a}}}}",
            "{}",
            "A//d",
        ),
        (
            "{viewer{zones(filter:{zoneTag:\"\"\"<A>\"\"\"}){d{a}}}}",
            "{}",
            "A//d",
        ),
        ("{__typename viewer{__typename budget}}", "null", "//"),
    ] {
        assert_eq!(
            words(&reading(query, variables).unwrap()),
            expected,
            "{query}"
        );
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table: queries and why each is refused"
)]
fn e8_what_cannot_be_told_is_refused() {
    let zones = |filter: &str| format!("{{viewer{{zones{filter}{{d{{a}}}}}}}}");
    let unbound = "zones must be filtered by zoneTag or zoneTag_in with ids, and by nothing else";
    for filter in [
        "",
        "(filter:{})",
        "(filter:[])",
        "(filter:null)",
        "(limit:1)",
        "(filter:$undeclared)",
        "(filter:{zoneTag:null})",
        "(filter:{zoneTag:word})",
        "(filter:{zoneTag:1})",
        "(filter:{zoneTag:$z})",
        "(filter:{zoneTag:\"\"})",
        "(filter:{zoneTag:\"example.com\"})",
        "(filter:{zoneTag:\"<A> \"})",
        "(filter:{zoneTag:[\"<A>\"]})",
        "(filter:{zoneTag_in:[]})",
        "(filter:{zoneTag_in:[[\"<A>\"]]})",
        "(filter:{zoneTag_in:[\"<A>\",null]})",
        "(filter:{zoneTag_neq:\"<A>\"})",
        "(filter:{zoneTag_gt:\"\"})",
        "(filter:{zoneTag_notin:[\"<A>\"]})",
        "(filter:{zoneTag_like:\"%\"})",
        "(filter:{zoneTag:\"<A>\",zoneTag_neq:\"<B>\"})",
        "(filter:{OR:[{zoneTag:\"<A>\"},{zoneTag_neq:\"<A>\"}]})",
        "(filter:{OR:[{zoneTag:\"<A>\"},{}]})",
        "(filter:{OR:[]})",
        "(filter:{accountTag:\"<A>\"})",
    ] {
        let error = reading(&zones(filter), "{}").unwrap_err().to_string();
        assert_eq!(error, unbound, "{filter}");
    }
    assert_eq!(
        reading(
            "query($z:string=\"<A>\"){viewer{zones(filter:{zoneTag:$z}){d{a}}}}",
            r#"{"z":null}"#
        )
        .unwrap_err()
        .to_string(),
        unbound
    );
    for (query, expected) in [
        (
            "mutation{a}",
            "only queries are handed through, no mutations and no subscriptions",
        ),
        (
            "subscription{a}",
            "only queries are handed through, no mutations and no subscriptions",
        ),
        // Also where another operation would be carried out.
        (
            "query Q{viewer{budget}} mutation M{a}",
            "only queries are handed through, no mutations and no subscriptions",
        ),
        ("{__schema{types{name}}}", "the schema cannot be asked for"),
        (
            "{x:__type(name:\"zone\"){name}}",
            "the schema cannot be asked for",
        ),
        (
            "{viewer{...F}} fragment F on viewer{__schema{a}}",
            "the schema cannot be asked for",
        ),
        (
            "{cost}",
            "what it reads cannot be told: the field \"cost\" is not known here",
        ),
        (
            "{viewer(id:1){budget}}",
            "what it reads cannot be told: the field \"viewer\" is not known here",
        ),
        (
            "{viewer{organizations{a}}}",
            "what it reads cannot be told: the field \"organizations\" is not known here",
        ),
        (
            "{viewer{zones(filter:{zoneTag:\"<A>\"},also:1){d{a}}}}",
            "what it reads cannot be told: zones or accounts with an argument that is not known",
        ),
        (
            "{viewer @live{budget}}",
            "what it reads cannot be told: a directive other than @include and @skip",
        ),
        (
            "{...F}",
            "the fragment \"F\" is not defined or contains itself",
        ),
        (
            "{...F} fragment F on Query{...G} fragment G on Query{...F}",
            "the fragment \"F\" is not defined or contains itself",
        ),
        (
            "{...F} fragment F on Query{a} fragment F on Query{b}",
            "two fragments have one name",
        ),
        (
            "{viewer{budget}} {viewer{budget}}",
            "the document has no operation, or several of which operationName names none",
        ),
        (
            "query A{a} query A{b}",
            "the document has no operation, or several of which operationName names none",
        ),
        (
            "fragment F on Query{a}",
            "the document has no operation, or several of which operationName names none",
        ),
        (
            "",
            "the document has no operation, or several of which operationName names none",
        ),
        (
            "{viewer{zones(filter:{zoneTag:\"<A>\"},filter:{zoneTag:\"<B>\"}){d{a}}}}",
            "a name is given two values",
        ),
        (
            "{viewer{zones(filter:{zoneTag:\"<A>\",zoneTag:\"<B>\"}){d{a}}}}",
            "a name is given two values",
        ),
        (
            "query($a:Int,$a:Int){viewer{budget}}",
            "a variable is declared twice",
        ),
        ("{viewer{}}", "a selection is empty"),
        ("{viewer{budget}", "a name is missing"),
        (
            "{viewer{budget}}}",
            "it is not made of queries and fragments",
        ),
        ("{ä}", "line 1: this character does not belong in a query"),
    ] {
        assert_eq!(
            reading(query, "{}").unwrap_err().to_string(),
            expected,
            "{query}"
        );
    }
}

#[test]
fn e8_a_batch_of_queries_is_refused() {
    for (text, what) in [
        (r#"[{"query":"{viewer{budget}}"}]"#, "a list or a text"),
        (r#""{viewer{budget}}""#, "a list or a text"),
        (r#"{"variables":{}}"#, "one without a query"),
        (r#"{"query":["{a}"]}"#, "one without a query"),
        (
            r#"{"query":"{a}","variables":"{}"}"#,
            "one whose variables are no object",
        ),
        (
            r#"{"query":"{a}","operationName":1}"#,
            "one whose operationName is no text",
        ),
    ] {
        assert_eq!(
            read(&parse(text.as_bytes()).unwrap()).unwrap_err(),
            GraphqlError::Body(what)
        );
    }
}

#[test]
fn e8_only_the_operation_that_was_judged_is_sent() {
    let query = r#"
        query A { viewer { zones(filter: {zoneTag: "<A>"}) { ...D } } } # first
        query B { viewer { zones(filter: {zoneTag: "<B>"}) { ...E } } }
        fragment D on zone { d { a } }
        fragment E on zone { e { a } }"#;
    let read = read(&body(query, r#"{"x":1}"#, r#""B""#)).unwrap();
    assert_eq!(words(&read), "B//e");
    assert_eq!(
        read.body.write(),
        format!(
            r#"{{"query":"query B {{ viewer {{ zones ( filter : {{ zoneTag : \"{B}\" }} ) {{ ... E }} }} }} fragment E on zone {{ e {{ a }} }}","variables":{{"x":1}},"operationName":"B"}}"#
        )
    );
    let error = super::read(&body(query, "{}", r#""C""#)).unwrap_err();
    assert_eq!(error, GraphqlError::NoOperation);
}

#[test]
fn e8_sizes_and_depths_are_capped() {
    let many_aliases = (0..=MAX_NODES)
        .map(|n| format!("z{n}:zones(filter:{{zoneTag:\"<A>\"}}){{d{{a}}}}"))
        .collect::<Vec<_>>()
        .concat();
    // Fifteen fragments, each putting in the next one twice: over thirty thousand fields.
    let bomb = (0..15)
        .map(|n| format!("fragment F{n} on T{{...F{} ...F{}}} ", n + 1, n + 1))
        .collect::<Vec<_>>()
        .concat();
    for (query, expected) in [
        (
            format!("{{viewer{{{many_aliases}}}}}"),
            GraphqlError::TooLarge,
        ),
        (
            format!("{{viewer{{budget{{...F0}}}}}} {bomb} fragment F15 on T{{a}}"),
            GraphqlError::TooLarge,
        ),
        (
            format!("{{viewer{{budget{}{}}}}}", "{a".repeat(30), "}".repeat(30)),
            GraphqlError::TooDeep,
        ),
        (
            format!(
                "{{viewer{{budget(a:{}{})}}}}",
                "[".repeat(30),
                "]".repeat(30)
            ),
            GraphqlError::TooDeep,
        ),
        (
            format!("{{viewer{{budget}}}}#{}", " ".repeat(MAX_BYTES)),
            GraphqlError::TooLarge,
        ),
    ] {
        assert_eq!(reading(&query, "{}").unwrap_err(), expected);
    }
    // Ids, of one list and of all.
    let ids = |from: usize, count: usize| {
        let id = |n: usize| format!("\"{n:032x}\"");
        (from..from + count).map(id).collect::<Vec<_>>().join(",")
    };
    let zones =
        |alias: &str, ids: &str| format!("{alias}:zones(filter:{{zoneTag_in:[{ids}]}}){{d{{a}}}}");
    let all = reading(
        &format!("{{viewer{{{}}}}}", zones("a", &ids(0, MAX_IDS))),
        "{}",
    );
    assert_eq!(all.unwrap().zones.len(), MAX_IDS);
    let half = MAX_IDS / 2;
    for (selections, variables) in [
        (zones("a", &ids(0, MAX_IDS + 1)), "{}".to_owned()),
        (
            zones("a", &ids(0, half)) + &zones("b", &ids(half, half + 1)),
            "{}".to_owned(),
        ),
        (
            "zones(filter:{OR:[{zoneTag_in:$v},{zoneTag_in:$v}]}){d{a}}".to_owned(),
            format!("{{\"v\":[{}]}}", ids(0, MAX_IDS - 1)),
        ),
    ] {
        let query = format!("query($v:[string!]){{viewer{{{selections}}}}}");
        assert_eq!(
            reading(&query, &variables).unwrap_err(),
            GraphqlError::TooLarge
        );
    }
    let chain = (0..40)
        .map(|n| format!("fragment F{n} on T{{...F{}}} ", n + 1))
        .collect::<Vec<_>>()
        .concat();
    let query = format!("{{viewer{{...F0}}}} {chain} fragment F40 on T{{budget}}");
    assert_eq!(reading(&query, "{}").unwrap_err(), GraphqlError::TooDeep);
}
