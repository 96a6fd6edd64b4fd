//! Records as a BIND zone file, in the form of Cloudflare's own export.

use crate::model::json::{Json, parse};
use crate::model::sort_by;

use super::text::push_absolute;
use super::{Record, kinds};

/// Writes a zone file that Cloudflare imports and other software reads.
///
/// Names are absolute. Comments, tags, `cf-proxied` and `cf-flatten-cname` follow each record as
/// Cloudflare's export has them (`developers.cloudflare.com`, "Import and export records"). A TTL
/// of 1 stays 1. Records are ordered by type, name and value, and no time is written: the same
/// records give the same file.
///
/// The SOA is a placeholder, which an import ignores. Other software also wants NS records at the
/// apex: those among `records` are written. What a zone file has no form for is left away: settings
/// other than `flatten_cname`, private routing, members that this version does not know.
#[must_use]
pub fn to_bind(zone_name: &str, records: &[Record]) -> String {
    let mut sorted: Vec<&Record> = records
        .iter()
        .filter(|record| record.kind != "SOA")
        .collect();
    sort_by(&mut sorted, |a, b| {
        a.kind.cmp(&b.kind).then_with(|| a.compare(b))
    });

    let mut zone = String::new();
    push_absolute(&mut zone, zone_name);
    let apex = sorted
        .iter()
        .find(|record| record.kind == "NS" && record.name == zone_name);
    let mut server = String::new();
    push_absolute(
        &mut server,
        apex.map_or("ns.cloudflare.com", |record| &record.content),
    );
    let mut out = [
        ";;\n;; Domain:     ",
        &zone,
        "\n;;\n$ORIGIN ",
        &zone,
        "\n\n;; SOA Record\n",
        &zone,
        "\t3600\tIN\tSOA\t",
        &server,
        " dns.cloudflare.com. 1 10000 2400 604800 3600\n",
    ]
    .concat();

    let mut section = "";
    for record in sorted {
        if record.kind != section {
            section = &record.kind;
            out.extend(["\n;; ", section, " Records\n"]);
        }
        push_absolute(&mut out, &record.name);
        out.extend(["\t", &record.ttl.to_string(), "\tIN\t", &record.kind, "\t"]);
        push_value(&mut out, record);
        push_notes(&mut out, record);
        out.push('\n');
    }
    out
}

/// The value in presentation format, host names absolute.
fn push_value(out: &mut String, record: &Record) {
    let data = record.data.as_deref().map(|data| parse(data.as_bytes()));
    if let Some(Ok(data)) = data
        && let Some(value) = kinds::content_of(&record.kind, record.priority, &data, true)
    {
        out.push_str(&value);
        return;
    }
    if record.kind == "MX" {
        out.push_str(&record.priority.unwrap_or(0).to_string());
        out.push(' ');
    }
    if kinds::has_host(&record.kind) {
        push_absolute(out, &record.content);
    } else {
        push_line(out, &record.content);
    }
}

/// `" ; <comment> cf_tags=<tags>"`, or nothing.
fn push_notes(out: &mut String, record: &Record) {
    let comment = record.comment.as_deref().unwrap_or_default().trim();
    let mut tags: Vec<String> = record.tags.iter().map(|tag| written(tag)).collect();
    let settings = parse(record.settings.as_bytes()).unwrap_or(Json::Null);
    if settings.get("flatten_cname").and_then(Json::as_bool) == Some(true) {
        tags.push("cf-flatten-cname".to_owned());
    }
    if let Some(proxied) = record.proxied {
        tags.push(format!("cf-proxied:{proxied}"));
    }
    if !comment.is_empty() {
        out.push_str(" ; ");
        push_line(out, comment);
    }
    // A comment that has the mark itself needs another one behind it.
    if !tags.is_empty() || comment.contains("cf_tags=") {
        out.push_str(if comment.is_empty() { " ; " } else { " " });
        out.push_str("cf_tags=");
        push_line(out, &tags.join(","));
    }
}

/// Appends a text; what would end the line becomes a space.
fn push_line(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

/// A tag as zone files have it: values with a character that means something are JSON strings.
fn written(tag: &str) -> String {
    match tag.split_once(':') {
        Some((name, value)) if value.contains(['"', '=', ',', '\\', ' ']) => {
            let value = Json::String(value.to_owned()).write();
            [name, ":", &value].concat()
        }
        _ => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_file_reads_like_cloudflares_export() {
        let records: Vec<Record> = [
            r#"{"name":"www.example.com","type":"A","content":"192.0.2.1","ttl":1,"proxied":true,"comment":"web","tags":["team:web","note:a,b \"c\""]}"#,
            r#"{"name":"*.example.com","type":"A","content":"192.0.2.2","ttl":300}"#,
            r#"{"name":"example.com","type":"MX","content":"mail.example.net","priority":10,"ttl":3600}"#,
            r#"{"name":"a.example.com","type":"CNAME","content":"example.net","settings":{"flatten_cname":true}}"#,
            r#"{"name":"_sip._tcp.example.com","type":"SRV","data":{"priority":1,"weight":2,"port":3,"target":"sip.example.com"}}"#,
            r#"{"name":"example.com","type":"TXT","content":"v=spf1; \"x\"","comment":"says cf_tags= itself"}"#,
            r#"{"name":"example.com","type":"NS","content":"ada.ns.cloudflare.com","ttl":86400}"#,
            r#"{"name":"example.com","type":"SOA","content":"ada.ns.cloudflare.com dns.cloudflare.com 1 2 3 4 5"}"#,
        ]
        .iter()
        .map(|json| Record::from_api(json).unwrap())
        .collect();
        let expected = [
            ";;\n;; Domain:     example.com.\n;;\n$ORIGIN example.com.\n\n;; SOA Record\n",
            "example.com.\t3600\tIN\tSOA\tada.ns.cloudflare.com. dns.cloudflare.com. 1 10000 2400 604800 3600\n",
            "\n;; A Records\n",
            "*.example.com.\t300\tIN\tA\t192.0.2.2 ; cf_tags=cf-proxied:false\n",
            "www.example.com.\t1\tIN\tA\t192.0.2.1 ; web cf_tags=note:\"a,b \\\"c\\\"\",team:web,cf-proxied:true\n",
            "\n;; CNAME Records\n",
            "a.example.com.\t1\tIN\tCNAME\texample.net. ; cf_tags=cf-flatten-cname,cf-proxied:false\n",
            "\n;; MX Records\n",
            "example.com.\t3600\tIN\tMX\t10 mail.example.net.\n",
            "\n;; NS Records\n",
            "example.com.\t86400\tIN\tNS\tada.ns.cloudflare.com.\n",
            "\n;; SRV Records\n",
            "_sip._tcp.example.com.\t1\tIN\tSRV\t1 2 3 sip.example.com.\n",
            "\n;; TXT Records\n",
            "example.com.\t1\tIN\tTXT\t\"v=spf1; \\\"x\\\"\" ; says cf_tags= itself cf_tags=\n",
        ]
        .concat();
        assert_eq!(to_bind("example.com", &records), expected);
    }

    #[test]
    fn nothing_in_a_record_can_begin_another_line() {
        let record = Record::from_api(
            r#"{"name":"a.example.com","type":"NEW","content":"x\ny A 192.0.2.1","comment":"c\r\nz A 192.0.2.1"}"#,
        )
        .unwrap();
        let file = to_bind("example.com", &[record]);
        assert!(
            file.ends_with(
                "\n;; NEW Records\na.example.com.\t1\tIN\tNEW\tx y A 192.0.2.1 ; c  z A 192.0.2.1\n"
            ),
            "{file}"
        );
    }
}
