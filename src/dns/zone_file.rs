//! Reading a BIND zone file (RFC 1035 §5.1) in which every line has one meaning.
//!
//! INVARIANT: what two readers could take differently is an error that names its line: `$INCLUDE`,
//! `$GENERATE`, another class than IN, a record without an owner, a value that is not of its type.

use super::kinds;
use super::record::Record;
use super::text::{push_quoted, quoted_strings, unquoted};
use crate::model::RecordName;
use crate::model::json::Json;

/// Why a text is not a zone file that can be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ZoneFileError {
    /// The line, from 1; of a record in parentheses the last one.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Reads the records of a zone file. Its SOA record and the NS records at its apex are passed over, as
/// those are Cloudflare's to decide.
///
/// A comment behind a record becomes the record's; what follows its last `cf_tags=` are its tags, of
/// which `cf-proxied` and `cf-flatten-cname` say what the record is
/// (`developers.cloudflare.com`, "Import and export records"). `proxied` counts for records that do
/// not say it themselves. Without a TTL it is automatic.
///
/// # Errors
/// [`ZoneFileError`] for the first line that cannot be read.
pub fn from_bind(text: &str, zone_name: &str, proxied: bool) -> Result<Vec<Record>, ZoneFileError> {
    let mut reader = Reader {
        zone_name,
        proxied,
        origin: format!("{zone_name}."),
        ttl: None,
        owner: None,
        records: Vec::new(),
    };
    let mut entry = Entry::default();
    let mut last = 0;
    for (line, physical) in (1..).zip(text.lines()) {
        last = line;
        let at = |problem: String| ZoneFileError { line, problem };
        entry.take(physical).map_err(at)?;
        if entry.depth == 0 {
            reader.entry(&std::mem::take(&mut entry)).map_err(at)?;
        }
    }
    if entry.depth > 0 {
        return Err(ZoneFileError {
            line: last,
            problem: "a parenthesis is not closed".to_owned(),
        });
    }
    Ok(reader.records)
}

/// One entry of a zone file: a line, or what parentheses hold together.
#[derive(Debug, Default)]
struct Entry {
    words: Vec<String>,
    comment: String,
    depth: usize,
    /// Whether it begins with white space, and so is about the owner before.
    is_indented: bool,
}

impl Entry {
    /// Takes in another line.
    fn take(&mut self, line: &str) -> Result<(), String> {
        if self.depth == 0 {
            self.is_indented = line.starts_with([' ', '\t']);
        }
        let mut word = String::new();
        let mut is_quoted = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let escaped = chars.next().ok_or("the line ends in a backslash")?;
                    word.extend([c, escaped]);
                }
                '"' => {
                    is_quoted = !is_quoted;
                    word.push(c);
                }
                c if is_quoted => word.push(c),
                ';' => {
                    if self.comment.is_empty() {
                        chars.as_str().trim().clone_into(&mut self.comment);
                    }
                    break;
                }
                '(' | ')' | ' ' | '\t' => {
                    self.end(&mut word);
                    match c {
                        '(' => self.depth += 1,
                        ')' => {
                            let depth = self.depth.checked_sub(1);
                            self.depth = depth.ok_or("a parenthesis was never opened")?;
                        }
                        _ => {}
                    }
                }
                c if c.is_control() || c.is_whitespace() => {
                    return Err("a character that zone files do not have".to_owned());
                }
                c => word.push(c),
            }
        }
        if is_quoted {
            return Err("a quoted text is not closed".to_owned());
        }
        self.end(&mut word);
        Ok(())
    }

    fn end(&mut self, word: &mut String) {
        if !word.is_empty() {
            self.words.push(std::mem::take(word));
        }
    }
}

/// What a zone file says so far.
struct Reader<'z> {
    zone_name: &'z str,
    proxied: bool,
    /// Absolute, with its final dot.
    origin: String,
    ttl: Option<u32>,
    /// The owner of the record before, absolute.
    owner: Option<String>,
    records: Vec<Record>,
}

impl Reader<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        let mut words = entry.words.iter().map(String::as_str);
        let mut rest = words.clone();
        match words.next() {
            None => return Ok(()),
            Some(directive) if directive.starts_with('$') && !entry.is_indented => {
                return self.directive(directive, words.next(), words.next());
            }
            Some(owner) if !entry.is_indented => {
                rest.next();
                self.owner = Some(self.absolute(owner));
            }
            Some(_) => {}
        }
        let owner = self.owner.clone();
        let owner = owner.ok_or(
            "the record has no owner: the line begins with white space and none comes before it",
        )?;
        let (mut ttl, mut has_class) = (None, false);
        let kind = loop {
            let word = rest.next().ok_or("the record has no type")?;
            if word.eq_ignore_ascii_case("IN") && !has_class {
                has_class = true;
            } else if word.starts_with(|c: char| c.is_ascii_digit()) && ttl.is_none() {
                ttl = Some(seconds(word)?);
            } else {
                break word.to_ascii_uppercase();
            }
        };
        let name = RecordName::canonical(&owner, self.zone_name);
        let name =
            name.map_err(|error| format!("{owner:?} is no name of {}: {error}", self.zone_name))?;
        if kind == "SOA" || (kind == "NS" && name.as_str() == self.zone_name) {
            return Ok(());
        }
        let ttl = ttl.or(self.ttl).unwrap_or(1);
        let record = self.record(&name, &kind, ttl, &rest.collect::<Vec<_>>(), &entry.comment)?;
        self.records.push(record);
        Ok(())
    }

    fn directive(
        &mut self,
        directive: &str,
        argument: Option<&str>,
        more: Option<&str>,
    ) -> Result<(), String> {
        let (Some(argument), None) = (argument, more) else {
            return Err(format!("{directive:?} takes one value"));
        };
        match directive.to_ascii_uppercase().as_str() {
            "$ORIGIN" => self.origin = self.absolute(argument),
            "$TTL" => self.ttl = Some(seconds(argument)?),
            _ => {
                return Err(format!(
                    "{directive:?} is not accepted, only $ORIGIN and $TTL are"
                ));
            }
        }
        Ok(())
    }

    /// A name with its final dot.
    fn absolute(&self, name: &str) -> String {
        match name {
            "@" => self.origin.clone(),
            name if name.ends_with('.') => name.to_owned(),
            name if self.origin == "." => format!("{name}."),
            name => format!("{name}.{}", self.origin),
        }
    }

    fn record(
        &self,
        name: &RecordName,
        kind: &str,
        ttl: u32,
        words: &[&str],
        comment: &str,
    ) -> Result<Record, String> {
        let text = |text: &str| Json::String(text.to_owned());
        let mut members = vec![
            ("name", text(name.as_str())),
            ("type", text(kind)),
            ("ttl", Json::Number(ttl.to_string())),
        ];
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        // Where the value has a host name, which is relative to the origin unless it ends in a dot.
        let host = match kind {
            "CNAME" | "NS" | "PTR" => Some(0),
            "MX" | "HTTPS" | "SVCB" => Some(1),
            "SRV" => Some(3),
            "NAPTR" => Some(5),
            _ => None,
        };
        if let Some(word) = host.and_then(|at| words.get_mut(at)) {
            *word = self.absolute(word);
        }
        if kind == "MX" && !words.is_empty() {
            let priority = words.remove(0).parse::<u16>();
            let priority = priority.map_err(|_| "the priority is no number up to 65535")?;
            members.push(("priority", Json::Number(priority.to_string())));
        }
        members.push(("content", Json::String(content(kind, &words)?)));
        let proxied = notes(comment, self.proxied, &mut members)?;
        if kinds::is_proxiable(kind) {
            members.push(("proxied", Json::Bool(proxied)));
        }
        let members = members
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        let record = Record::from_api(&Json::Object(members.collect()).write());
        let record = record.map_err(|error| error.to_string())?;
        if record.data.is_none() && !kinds::is_plain(kind) {
            return Err(format!("the value is not that of a {kind} record"));
        }
        Ok(record)
    }
}

/// The value as the content of the API, checked as far as it could be taken differently.
fn content(kind: &str, words: &[String]) -> Result<String, String> {
    let wrong = || format!("the value is not that of a {kind} record");
    match (kind, words) {
        (_, []) => Err("the record has no value".to_owned()),
        ("TXT", _) => {
            let mut content = String::new();
            for word in words {
                if !content.is_empty() {
                    content.push(' ');
                }
                if word.starts_with('"') {
                    content.push_str(word);
                } else {
                    push_quoted(&mut content, unquoted(word).ok_or_else(wrong)?.as_bytes());
                }
            }
            quoted_strings(&content).map(|_| content).ok_or_else(wrong)
        }
        ("OPENPGPKEY", _) => Ok(words.concat()),
        ("A", [address]) if address.parse::<std::net::Ipv4Addr>().is_ok() => Ok(address.clone()),
        ("AAAA", [address]) if address.parse::<std::net::Ipv6Addr>().is_ok() => Ok(address.clone()),
        ("CNAME" | "NS" | "PTR" | "MX", [host]) if !host.contains(['"', '\\']) => Ok(host.clone()),
        _ if kinds::is_plain(kind) => Err(wrong()),
        _ => Ok(words.join(" ")),
    }
}

/// Takes comment and tags from what stands behind a record, and says whether it is proxied.
fn notes(
    comment: &str,
    proxied: bool,
    members: &mut Vec<(&'static str, Json)>,
) -> Result<bool, String> {
    let (text, tags) = comment.rsplit_once("cf_tags=").unwrap_or((comment, ""));
    let mut proxied = proxied;
    let mut kept = Vec::new();
    for tag in split_tags(tags.trim()) {
        match tag {
            "" => {}
            "cf-proxied:true" => proxied = true,
            "cf-proxied:false" => proxied = false,
            "cf-flatten-cname" => {
                let flatten = vec![("flatten_cname".to_owned(), Json::Bool(true))];
                members.push(("settings", Json::Object(flatten)));
            }
            tag if tag.starts_with("cf-") => return Err(format!("the tag {tag:?} is not known")),
            tag => kept.push(Json::String(tag_value(tag)?)),
        }
    }
    if !text.trim().is_empty() {
        members.push(("comment", Json::String(text.trim().to_owned())));
    }
    if !kept.is_empty() {
        members.push(("tags", Json::Array(kept)));
    }
    Ok(proxied)
}

/// Splits at commas outside quotes.
fn split_tags(tags: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    tags.split(|c| {
        let was_escaped = is_escaped;
        is_escaped = c == '\\' && !was_escaped;
        is_quoted ^= c == '"' && !was_escaped;
        c == ',' && !is_quoted
    })
    .collect()
}

/// A tag, whose value may be a JSON string.
fn tag_value(tag: &str) -> Result<String, String> {
    match tag.split_once(':') {
        Some((name, value)) if value.starts_with('"') => {
            let value = crate::model::json::parse(value.as_bytes());
            let value =
                value.map_err(|error| format!("the tag {name:?} cannot be read: {error}"))?;
            Ok(format!("{name}:{}", value.as_str().unwrap_or_default()))
        }
        _ => Ok(tag.to_owned()),
    }
}

/// A TTL in seconds, or with one unit.
fn seconds(word: &str) -> Result<u32, String> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match word.strip_prefix(digits).unwrap_or_default() {
        "" | "s" | "S" => Some(1),
        "m" | "M" => Some(60),
        "h" | "H" => Some(3_600),
        "d" | "D" => Some(86_400),
        "w" | "W" => Some(604_800),
        _ => None,
    };
    let number = digits.parse::<u32>().ok();
    let seconds = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    seconds.ok_or_else(|| format!("{word:?} is no TTL"))
}

#[cfg(test)]
mod tests {
    use super::super::to_bind;
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let records = from_bind(text, "example.com", false).map_err(|error| error.to_string())?;
        Ok(records
            .iter()
            .map(|r| {
                let priority = r.priority.map_or_else(String::new, |p| format!(" {p}"));
                format!("{} {} {}{priority} {}", r.name, r.ttl, r.kind, r.content)
            })
            .collect())
    }

    #[test]
    fn a_zone_file_is_read_in_all_its_forms() {
        let file = "; a comment\n\
            $ORIGIN sub.example.com. ; where\n$TTL 1h\n\
            @ IN SOA a. b. ( 1 2 ; serial\n 3 4 5 )\n\
            example.com. NS ada.ns.cloudflare.com.\n\
            WWW A 192.0.2.1\n\
            \t300 IN AAAA 2001:DB8::1\n\
            \tIN 5m TXT unquoted \"semi;colon\" \"par(en)\"\n\
            mail MX 10 mx\n\
            deleg NS ns.example.net.\n\
            c.example.com. CNAME @\n\
            _s._tcp SRV 1 2 443 t\n\
            h HTTPS 1 . alpn=h3\n\
            *.w A 192.0.2.2\n\
            caa CAA 0 issue \"ca.example\"\n";
        assert_eq!(
            read(file).unwrap(),
            [
                "www.sub.example.com 3600 A 192.0.2.1",
                "www.sub.example.com 300 AAAA 2001:db8::1",
                "www.sub.example.com 300 TXT \"unquoted\" \"semi;colon\" \"par(en)\"",
                "mail.sub.example.com 3600 MX 10 mx.sub.example.com",
                "deleg.sub.example.com 3600 NS ns.example.net",
                "c.example.com 3600 CNAME sub.example.com",
                "_s._tcp.sub.example.com 3600 SRV 1 2 443 t.sub.example.com",
                "h.sub.example.com 3600 HTTPS 1 . alpn=\"h3\"",
                "*.w.sub.example.com 3600 A 192.0.2.2",
                "caa.sub.example.com 3600 CAA 0 issue \"ca.example\"",
            ]
        );
    }

    #[test]
    fn what_has_more_than_one_meaning_is_refused_with_its_line() {
        for (file, expected) in [
            (
                "a A 192.0.2.1\n$INCLUDE x\n",
                "line 2: \"$INCLUDE\" is not accepted, only $ORIGIN and $TTL are",
            ),
            (
                "$GENERATE 1-2 h$ A 192.0.2.$\n",
                "line 1: \"$GENERATE\" takes one value",
            ),
            ("$TTL 1h30m", "line 1: \"1h30m\" is no TTL"),
            ("$TTL 99999999w", "line 1: \"99999999w\" is no TTL"),
            (
                "  A 192.0.2.1",
                "line 1: the record has no owner: the line begins with white space and none comes before it",
            ),
            (
                "a CH A 192.0.2.1",
                "line 1: the value is not that of a CH record",
            ),
            (
                "a IN IN A 192.0.2.1",
                "line 1: the value is not that of a IN record",
            ),
            (
                "a IN 1 2 A 192.0.2.1",
                "line 1: the value is not that of a 2 record",
            ),
            ("a", "line 1: the record has no type"),
            ("a A", "line 1: the record has no value"),
            (
                "a A 192.0.2.1 192.0.2.2",
                "line 1: the value is not that of a A record",
            ),
            (
                "a A 192.0.2.01",
                "line 1: the value is not that of a A record",
            ),
            (
                "a CNAME b c",
                "line 1: the value is not that of a CNAME record",
            ),
            (
                "a MX ten mx",
                "line 1: the priority is no number up to 65535",
            ),
            (
                "a SRV 1 2 t",
                "line 1: the value is not that of a SRV record",
            ),
            ("a TXT \"open", "line 1: a quoted text is not closed"),
            (
                "a TXT \"a\"b",
                "line 1: the value is not that of a TXT record",
            ),
            ("a TXT b\\", "line 1: the line ends in a backslash"),
            ("a A ( 192.0.2.1", "line 1: a parenthesis is not closed"),
            ("a A 192.0.2.1 )", "line 1: a parenthesis was never opened"),
            (
                "a.example.net. A 192.0.2.1",
                "line 1: \"a.example.net.\" is no name of example.com: the name lies outside the zone",
            ),
            (
                "a\\.b A 192.0.2.1",
                "line 1: \"a\\\\.b.example.com.\" is no name of example.com: the name has a character that record names do not have",
            ),
            ("a NEW x", "line 1: the value is not that of a NEW record"),
            (
                "a A 192.0.2.1\u{85}b A 192.0.2.2",
                "line 1: a character that zone files do not have",
            ),
            (
                "a A 192.0.2.1\rb A 192.0.2.2",
                "line 1: a character that zone files do not have",
            ),
            (
                "a A 192.0.2.1 ; cf_tags=cf-proxied:yes",
                "line 1: the tag \"cf-proxied:yes\" is not known",
            ),
        ] {
            assert_eq!(read(file), Err(expected.to_owned()), "{file:?}");
        }
        assert_eq!(read("a A 192.0.2.1\r\nb A 192.0.2.2\r\n").unwrap().len(), 2);
    }

    #[test]
    fn an_export_is_read_back_as_it_was() {
        let records: Vec<Record> = [
            r#"{"name":"www.example.com","type":"A","content":"192.0.2.1","ttl":1,"proxied":true,"comment":"web","tags":["note:a,b \"c\"","team:web"]}"#,
            r#"{"name":"a.example.com","type":"CNAME","content":"example.net","settings":{"flatten_cname":true}}"#,
            r#"{"name":"example.com","type":"MX","content":"mail.example.net","priority":10,"ttl":3600}"#,
            r#"{"name":"_sip._tcp.example.com","type":"SRV","data":{"priority":1,"weight":2,"port":3,"target":"sip.example.com"}}"#,
            r#"{"name":"example.com","type":"TXT","content":"v=spf1; \"x\" \\ ä","comment":"says cf_tags= itself"}"#,
            r#"{"name":"example.com","type":"URI","priority":10,"data":{"weight":1,"target":"https://a.example"}}"#,
        ]
        .iter()
        .map(|json| Record::from_api(json).unwrap())
        .collect();
        let file = to_bind("example.com", &records);
        let mut read = from_bind(&file, "example.com", true).unwrap();
        assert_eq!(read.len(), records.len());
        for record in records {
            let at = read.iter().position(|read| *read == record);
            read.remove(at.unwrap_or_else(|| panic!("{record:?} of {file}")));
        }
    }
}
