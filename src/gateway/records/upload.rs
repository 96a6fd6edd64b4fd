//! The upload of an import: a form with a zone file, taken apart and put together again from the
//! records that were read, so that Cloudflare cannot read it differently.

use super::super::judge::dns::MAX_BATCH_ITEMS;
use super::super::refusal::{Code, Refusal};
use crate::dns;
use crate::model::RecordName;
use crate::model::form::Form;
use crate::policy::RecordFacts;

/// What stands between the parts of a form of ours.
const BOUNDARY: &str = "zonekeeper-5f2d9c1e7a";
/// The content type of a form of ours.
pub(in crate::gateway) const MULTIPART: &str =
    "multipart/form-data; boundary=zonekeeper-5f2d9c1e7a";

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::MalformedBody, message)
}

/// Reads the form of an import: what to send in its place, and the records it makes.
///
/// # Errors
/// [`Refusal`] for a form or a zone file that could be read differently.
pub(super) fn judge(
    content_type: Option<&str>,
    body: &[u8],
    zone_name: &str,
) -> Result<(String, Vec<RecordFacts>), Refusal> {
    let form = Form::read(content_type.unwrap_or_default(), body)
        .map_err(|error| malformed(format!("The body of this call must be a form: {error}.")))?;
    let (mut file, mut proxied) = (None, None);
    for part in &form.parts {
        let name = part.name.as_str();
        let content = std::str::from_utf8(part.bytes(body))
            .map_err(|_| malformed(format!("The part `{name}` of the form is not UTF-8.")))?;
        let place = match name {
            "file" => &mut file,
            "proxied" => &mut proxied,
            _ => {
                let message = "The form may have the parts `file` and `proxied` only.";
                return Err(malformed(message));
            }
        };
        if place.replace(content).is_some() {
            return Err(malformed(format!("The form has the part `{name}` twice.")));
        }
    }
    let file = file.ok_or_else(|| malformed("The form needs a part named `file`."))?;
    let proxied = match proxied {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(malformed("The part `proxied` must be true or false.")),
    };
    let records = dns::from_bind(file, zone_name, proxied)
        .map_err(|error| malformed(format!("The zone file is not acceptable: {error}.")))?;
    if records.len() > MAX_BATCH_ITEMS {
        return Err(malformed(format!(
            "The zone file may hold at most {MAX_BATCH_ITEMS} DNS records."
        )));
    }
    let file = dns::to_bind(zone_name, &records);
    if file.contains(BOUNDARY) {
        let message = "The zone file holds what stands between the parts of a form.";
        return Err(malformed(message));
    }
    let facts = |record: dns::Record| {
        Some(RecordFacts {
            name: RecordName::canonical(&record.name, zone_name).ok()?,
            kind: record.kind,
            content: Some(record.content),
            proxied: record.proxied,
        })
    };
    let facts: Option<Vec<RecordFacts>> = records.into_iter().map(facts).collect();
    let facts = facts.ok_or_else(|| malformed("The zone file has a name that is none."))?;
    let form = [
        "--",
        BOUNDARY,
        "\r\nContent-Disposition: form-data; name=\"proxied\"\r\n\r\nfalse\r\n--",
        BOUNDARY,
        "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"zone.txt\"\r\nContent-Type: text/plain\r\n\r\n",
        &file,
        "\r\n--",
        BOUNDARY,
        "--\r\n",
    ];
    Ok((form.concat(), facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "multipart/form-data; boundary=\"x-1\"";

    fn form(parts: &[(&str, &str)]) -> String {
        let mut body = String::new();
        for (name, content) in parts {
            body.extend([
                "--x-1\r\nContent-Disposition: form-data; name=\"",
                name,
                "\"; filename=\"a;b\"\r\nContent-Type: text/plain\r\n\r\n",
                content,
                "\r\n",
            ]);
        }
        body + "--x-1--\r\n"
    }

    #[track_caller]
    fn error(content_type: &str, body: &str) -> String {
        let judged = judge(Some(content_type), body.as_bytes(), "example.com");
        judged.map(|_| ()).unwrap_err().message
    }

    #[test]
    fn an_upload_is_made_anew_of_the_records_that_were_read() {
        let body = form(&[("file", "www A 192.0.2.1\nt TXT x"), ("proxied", "true")]);
        let (form, facts) = judge(Some(FORM), body.as_bytes(), "example.com").unwrap();
        assert_eq!(facts.len(), 2);
        assert_eq!(facts[0].name.as_str(), "www.example.com");
        assert_eq!((facts[0].proxied, facts[1].proxied), (Some(true), None));
        assert!(
            form.contains("\nwww.example.com.\t1\tIN\tA\t192.0.2.1 ; cf_tags=cf-proxied:true\n")
        );
        assert!(form.contains("\nt.example.com.\t1\tIN\tTXT\t\"x\"\n"));
        // What was made anew is read as the same.
        let again = judge(Some(MULTIPART), form.as_bytes(), "example.com").unwrap();
        assert_eq!(again.1, facts);
    }

    #[test]
    fn j3_a_form_that_could_be_read_differently_is_refused() {
        let file = ("file", "a A 192.0.2.1");
        let good = form(&[file]);
        for bad in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=x-1; boundary=y",
            "multipart/form-data; boundary=a b",
        ] {
            assert!(
                error(bad, &good).starts_with("The body of this call must be a form"),
                "{bad}"
            );
        }
        for (body, expected) in [
            (form(&[file, file]), "The form has the part `file` twice."),
            (
                form(&[("proxied", "true")]),
                "The form needs a part named `file`.",
            ),
            (
                form(&[file, ("proxied", "yes")]),
                "The part `proxied` must be true or false.",
            ),
            (
                form(&[file, ("x", "y")]),
                "The form may have the parts `file` and `proxied` only.",
            ),
            (
                format!("preamble\r\n{good}"),
                "The body of this call must be a form: the parts of the form are not set apart as its boundary says.",
            ),
            (
                format!("{good}epilogue"),
                "The body of this call must be a form: the parts of the form are not set apart as its boundary says.",
            ),
            (
                good.replace("--x-1--", ""),
                "The body of this call must be a form: the parts of the form are not set apart as its boundary says.",
            ),
            (
                good.replace("name=\"file\"", "name=\"file\"; name=\"proxied\""),
                "The body of this call must be a form: part 1 of the form: its Content-Disposition is malformed.",
            ),
            (
                form(&[("file", "$INCLUDE x")]),
                "The zone file is not acceptable: line 1: \"$INCLUDE\" is not accepted, only $ORIGIN and $TTL are.",
            ),
            (
                form(&[("file", &format!("a TXT {BOUNDARY}"))]),
                "The zone file holds what stands between the parts of a form.",
            ),
        ] {
            assert_eq!(error(FORM, &body), expected, "{body}");
        }
    }
}
