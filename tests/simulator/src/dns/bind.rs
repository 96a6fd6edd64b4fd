//! Zone files: `GET …/dns_records/export` and `POST …/dns_records/import`.
//!
//! NOTES "DNS records": import is multipart, part `file` (BIND) and `proxied` "true|false";
//! `$INCLUDE` refused, `$ORIGIN $TTL $GENERATE` accepted; the per-record comment
//! `cf_tags=cf-proxied:true` wins over `proxied`. Answer `{recs_added,total_records_parsed}`.
//! Export is text/plain.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::api::{ApiError, Outcome, Reply};
use crate::dns::record::{Draft, Record, Scope, min_ttl};
use crate::dns::{kinds, names};
use crate::multipart;
use crate::world::Call;
use crate::zones::{Plan, Zone};

/// NOTES "DNS records": file limit 256 KiB (hypothesis).
const MAX_FILE: usize = 256 * 1024;

/// Most lines one `$GENERATE` may make; a guard of the simulator's own.
const MAX_GENERATED: u64 = 10_000;

/// The export handler.
pub(crate) fn export(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let name = &zone.name;
    let mut out = format!(
        ";;\n;; Domain:     {name}.\n;; Exported:   {}\n;;\n\n;; SOA Record\n{name}.\t3600\tIN\tSOA\t{ns}. dns.cloudflare.com. 2053368469 10000 2400 604800 3600\n\n;; NS Records\n",
        call.now.format("%Y-%m-%d %H:%M:%S"),
        ns = Zone::NAME_SERVERS[0],
    );
    for server in Zone::NAME_SERVERS {
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "{name}.\t86400\tIN\tNS\t{server}.");
    }
    let mut records: Vec<&Record> = zone.records.iter().map(AsRef::as_ref).collect();
    records.sort_by(|a, b| (a.draft.kind, &a.draft.name).cmp(&(b.draft.kind, &b.draft.name)));
    let mut section = "";
    for record in records {
        let draft = &record.draft;
        if draft.kind != section {
            section = draft.kind;
            let _ = writeln!(out, "\n;; {section} Records");
        }
        let _ = writeln!(out, "{}", line(draft));
    }
    Ok(Reply::text(out))
}

fn line(draft: &Draft) -> String {
    let content = &draft.content;
    let dot = if content.ends_with('.') { "" } else { "." };
    let data = match draft.kind {
        "CNAME" | "NS" | "PTR" | "SRV" => format!("{content}{dot}"),
        "MX" => format!("{} {content}{dot}", draft.priority.unwrap_or_default()),
        "TXT" if !content.starts_with('"') => {
            format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => content.clone(),
    };
    let mut notes = Vec::new();
    if let Some(comment) = &draft.comment {
        notes.push(comment.clone());
    }
    let mut tags: Vec<String> = draft.tags.iter().map(|tag| written_tag(tag)).collect();
    if draft.settings.get("flatten_cname") == Some(&Value::Bool(true)) {
        tags.push("cf-flatten-cname".to_owned());
    }
    if kinds::proxiable(draft.kind) {
        tags.push(format!("cf-proxied:{}", draft.proxied));
    }
    let has_mark = |note: &String| note.contains("cf_tags=");
    if !tags.is_empty() || notes.iter().any(has_mark) {
        notes.push(format!("cf_tags={}", tags.join(",")));
    }
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ; {}", notes.join(" "))
    };
    format!(
        "{}.\t{}\tIN\t{}\t{data}{notes}",
        draft.name, draft.ttl, draft.kind
    )
}

/// A tag as a zone file has it: values with `"`, `=`, `,` or `\` are JSON strings.
fn written_tag(tag: &str) -> String {
    match tag.split_once(':') {
        Some((name, value)) if value.contains(['"', '=', ',', '\\']) => {
            format!("{name}:{}", json!(value))
        }
        _ => tag.to_owned(),
    }
}

/// The import handler. Records that exist already are parsed but not added; any other refusal
/// aborts the whole import.
pub(crate) fn import(call: &mut Call<'_>) -> Outcome {
    let zone = call.zone()?;
    let scope_name = zone.name.clone();
    let (zone_id, plan) = (zone.id.clone(), zone.plan);
    let parts = multipart::parse(call.headers, call.body)?;
    let part = |name: &str| parts.iter().find(|p| p.name == name).map(|p| &p.content);
    let file = part("file").ok_or_else(|| ApiError::body("The form needs a part named file"))?;
    if file.len() > MAX_FILE {
        return Err(ApiError::body("The zone file is larger than 256 KiB"));
    }
    let file =
        std::str::from_utf8(file).map_err(|_| ApiError::body("The zone file is not text"))?;
    let proxied = match part("proxied").map(AsRef::as_ref) {
        None | Some(b"false") => false,
        Some(b"true") => true,
        Some(_) => return Err(ApiError::body("proxied must be true or false")),
    };
    let scope = Scope {
        zone: &scope_name,
        plan,
    };
    let drafts = parse(file, proxied, scope)?;
    let total = drafts.len();
    let mut records = zone.records.clone();
    let mut ids = call.world.ids.clone();
    let mut added = 0_usize;
    for draft in drafts {
        if !records.holds(&draft) {
            records.create(draft, &mut ids, call.now)?;
            added += 1;
        }
    }
    if let Some(zone) = call.world.zones.get_mut(&zone_id) {
        zone.records = records;
    }
    call.world.ids = ids;
    Ok(Reply::ok(
        &json!({"recs_added": added, "total_records_parsed": total}),
    ))
}

/// Splits at white space outside quotes; quotes stay part of their word.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                word.push(c);
                word.extend(chars.next());
            }
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A physical line without its comment, and the comment.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                let (text, comment) = line.split_at(at);
                return (text, comment.trim_start_matches(';').trim());
            }
            _ => {}
        }
    }
    (line, "")
}

/// What a zone file says so far.
struct Reader<'a> {
    scope: Scope<'a>,
    proxied: bool,
    origin: String,
    ttl: Option<u32>,
    owner: String,
    drafts: Vec<Draft>,
}

fn parse(file: &str, proxied: bool, scope: Scope<'_>) -> Result<Vec<Draft>, ApiError> {
    let mut reader = Reader {
        scope,
        proxied,
        origin: scope.zone.to_owned(),
        ttl: None,
        owner: scope.zone.to_owned(),
        drafts: Vec::new(),
    };
    let mut text = String::new();
    let mut comment = String::new();
    let mut depth = 0_i32;
    for (number, physical) in (1_usize..).zip(file.lines()) {
        let (code, note) = split_comment(physical);
        depth += parentheses(code);
        text.push_str(&without_parentheses(code));
        text.push(' ');
        if comment.is_empty() {
            note.clone_into(&mut comment);
        }
        if depth > 0 {
            continue;
        }
        let (line, note) = (std::mem::take(&mut text), std::mem::take(&mut comment));
        reader.line(&line, &note).map_err(|error| ApiError {
            message: format!("line {number}: {}", error.message).into(),
            ..error
        })?;
    }
    Ok(reader.drafts)
}

/// The line with its parentheses outside quotes as spaces.
fn without_parentheses(code: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    code.chars()
        .map(|c| {
            let was_escaped = escaped;
            escaped = c == '\\' && !was_escaped;
            quoted ^= c == '"' && !was_escaped;
            match c {
                '(' | ')' if !quoted => ' ',
                c => c,
            }
        })
        .collect()
}

/// Opening minus closing parentheses outside quotes.
fn parentheses(code: &str) -> i32 {
    let outside = without_parentheses(code);
    code.chars()
        .zip(outside.chars())
        .fold(0, |depth, (c, kept)| match c {
            '(' if kept == ' ' => depth + 1,
            ')' if kept == ' ' => depth - 1,
            _ => depth,
        })
}

fn syntax(what: &str) -> ApiError {
    ApiError::bad(1004, format!("DNS Validation Error: {what}"))
}

impl Reader<'_> {
    fn line(&mut self, line: &str, comment: &str) -> Result<(), ApiError> {
        let mut words = words(line);
        let Some(first) = words.first().cloned() else {
            return Ok(());
        };
        let argument = words.get(1).cloned().unwrap_or_default();
        match first.to_ascii_uppercase().as_str() {
            "$INCLUDE" => return Err(syntax("$INCLUDE is not allowed.")),
            "$ORIGIN" => {
                self.origin = self.absolute(&argument);
                return Ok(());
            }
            "$TTL" => {
                self.ttl = Some(seconds(&argument).ok_or_else(|| syntax("$TTL is not a number."))?);
                return Ok(());
            }
            "$GENERATE" => return self.generate(&words, comment),
            directive if directive.starts_with('$') => {
                return Err(syntax("unknown directive."));
            }
            _ => {}
        }
        if !line.starts_with(char::is_whitespace) {
            self.owner = self.absolute(&words.remove(0));
        }
        self.record(&words, comment)
    }

    fn absolute(&self, name: &str) -> String {
        match name.strip_suffix('.') {
            Some(absolute) => absolute.to_ascii_lowercase(),
            None if name == "@" => self.origin.clone(),
            None => format!("{}.{}", name.to_ascii_lowercase(), self.origin),
        }
    }

    fn generate(&mut self, words: &[String], comment: &str) -> Result<(), ApiError> {
        let malformed = || syntax("$GENERATE is malformed.");
        let (range, template) = words
            .get(1)
            .zip(words.get(2..))
            .filter(|(_, t)| !t.is_empty())
            .ok_or_else(malformed)?;
        let (limits, step) = range.split_once('/').unwrap_or((range, "1"));
        let (first, last) = limits.split_once('-').ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| malformed());
        let (first, last, step) = (number(first)?, number(last)?, number(step)?);
        if step == 0 || last < first || (last - first) / step >= MAX_GENERATED {
            return Err(malformed());
        }
        let template = template.join(" ");
        let mut at = first;
        while at <= last {
            self.line(&template.replace('$', &at.to_string()), comment)?;
            at += step;
        }
        Ok(())
    }

    fn record(&mut self, words: &[String], comment: &str) -> Result<(), ApiError> {
        let mut ttl = self.ttl;
        let mut words = words.iter();
        let kind = loop {
            let word = words
                .next()
                .ok_or_else(|| syntax("record without a type."))?;
            if word.eq_ignore_ascii_case("IN") {
                continue;
            }
            if let Some(seconds) = seconds(word) {
                ttl = Some(seconds);
                continue;
            }
            break word.to_ascii_uppercase();
        };
        let data: Vec<String> = words.cloned().collect();
        // The zone's own SOA and name servers are Cloudflare's to decide.
        if kind == "SOA" || (kind == "NS" && self.owner == self.scope.zone) {
            return Ok(());
        }
        let kind = kinds::kind(&kind).ok_or_else(|| syntax("DNS record type is invalid."))?;
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(kind));
        body.insert("name".to_owned(), json!(format!("{}.", self.owner)));
        body.insert("ttl".to_owned(), json!(clamp_ttl(ttl, self.scope.plan)));
        let mut proxied = self.proxied;
        for (key, value) in notes(comment, &mut proxied) {
            body.insert(key.to_owned(), value);
        }
        body.insert(
            "proxied".to_owned(),
            json!(proxied && kinds::proxiable(kind)),
        );
        self.value(kind, data, &mut body)?;
        self.drafts.push(Draft::read(&body, None, self.scope)?);
        Ok(())
    }

    fn value(
        &self,
        kind: &str,
        mut data: Vec<String>,
        body: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let malformed = || syntax("record data is malformed.");
        if kinds::has_priority(kind) {
            if data.is_empty() {
                return Err(malformed());
            }
            let priority: u16 = data.remove(0).parse().map_err(|_| malformed())?;
            body.insert("priority".to_owned(), json!(priority));
        }
        // Host names in the data are relative to the origin unless they end in a dot.
        let host = matches!(kind, "CNAME" | "MX" | "NS" | "PTR" | "SRV");
        if let (true, Some(last)) = (host, data.last_mut())
            && last != "."
        {
            *last = names::hostname(&self.absolute(last)).ok_or_else(malformed)?;
        }
        if kinds::structured(kind) {
            let data = kinds::from_words(kind, &data).ok_or_else(malformed)?;
            body.insert("data".to_owned(), Value::Object(data));
        } else {
            let separator = if kind == "OPENPGPKEY" { "" } else { " " };
            body.insert("content".to_owned(), json!(data.join(separator)));
        }
        Ok(())
    }
}

/// The comment and tags of a record's `; …` note; `cf-proxied` among the tags sets `proxied`,
/// `cf-flatten-cname` the setting of that name.
///
/// The documentation of import and export: the tags follow the last `cf_tags=`, and a value in
/// double quotes is a JSON string.
fn notes(comment: &str, proxied: &mut bool) -> Vec<(&'static str, Value)> {
    let (text, tags) = comment.rsplit_once("cf_tags=").unwrap_or((comment, ""));
    let mut members = Vec::new();
    let mut kept = Vec::new();
    for tag in split_tags(tags.trim()) {
        match tag.strip_prefix("cf-proxied:") {
            Some(value) => *proxied = value == "true",
            None if tag == "cf-flatten-cname" => {
                members.push(("settings", json!({"flatten_cname": true})));
            }
            None if tag.is_empty() => {}
            None => kept.push(tag_value(tag)),
        }
    }
    if !text.trim().is_empty() {
        members.push(("comment", json!(text.trim())));
    }
    if !kept.is_empty() {
        members.push(("tags", json!(kept)));
    }
    members
}

/// Splits at commas outside quotes.
fn split_tags(tags: &str) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    tags.split(|c| {
        let was_escaped = escaped;
        escaped = c == '\\' && !was_escaped;
        quoted ^= c == '"' && !was_escaped;
        c == ',' && !quoted
    })
    .collect()
}

/// A tag whose value may be a JSON string.
fn tag_value(tag: &str) -> String {
    tag.split_once(':')
        .and_then(|(name, value)| {
            let value: String = serde_json::from_str(value).ok()?;
            Some(format!("{name}:{value}"))
        })
        .unwrap_or_else(|| tag.to_owned())
}

/// A TTL in seconds, or with a BIND unit.
fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = match text.char_indices().last()? {
        (_, c) if c.is_ascii_digit() => (text, 1),
        (at, c) => {
            let unit = match c.to_ascii_lowercase() {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'w' => 604_800,
                _ => return None,
            };
            (text.split_at(at).0, unit)
        }
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

/// Brings a file's TTL into what the plan allows; none and 0 are automatic.
fn clamp_ttl(ttl: Option<u32>, plan: Plan) -> u32 {
    match ttl {
        None | Some(0 | 1) => 1,
        Some(ttl) => ttl.clamp(min_ttl(plan), 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, proxied: bool) -> Result<Vec<Draft>, (u32, String)> {
        let scope = Scope {
            zone: "example.com",
            plan: Plan::Free,
        };
        parse(file, proxied, scope).map_err(|e| (e.code, e.message.into_owned()))
    }

    #[test]
    fn directives_relative_names_and_comments_are_understood() {
        let file = "$ORIGIN sub.example.com.\n$TTL 1h\n@ IN SOA a. b. (1 2\n 3 4 5) ; c\n\
                    www A 192.0.2.1 ; hello cf_tags=cf-proxied:true,team:web\n\
                    \t300 IN AAAA 2001:db8::1\n\
                    mail IN MX 10 mx\n\
                    txt TXT \"a;b\" \"c\"\n\
                    $GENERATE 1-2 h$ A 192.0.2.$\n";
        let drafts = read(file, false).unwrap();
        let names: Vec<_> = drafts
            .iter()
            .map(|d| (d.kind, d.name.as_str(), d.content.as_str(), d.ttl))
            .collect();
        assert_eq!(
            names,
            [
                ("A", "www.sub.example.com", "192.0.2.1", 1),
                ("AAAA", "www.sub.example.com", "2001:db8::1", 300),
                ("MX", "mail.sub.example.com", "mx.sub.example.com", 3600),
                ("TXT", "txt.sub.example.com", "\"a;b\" \"c\"", 3600),
                ("A", "h1.sub.example.com", "192.0.2.1", 3600),
                ("A", "h2.sub.example.com", "192.0.2.2", 3600),
            ]
        );
        assert!(drafts[0].proxied);
        assert_eq!(drafts[0].comment.as_deref(), Some("hello"));
        assert_eq!(drafts[0].tags, ["team:web"]);
    }

    #[test]
    fn notes_follow_the_last_mark_and_quotes_keep_what_they_hold() {
        let file = "a A 192.0.2.1 ; has cf_tags= inside cf_tags=x:\"1, 2 \\\"3\\\"\",y,cf-proxied:true\n\
                    b CNAME c.test. ; cf_tags=cf-flatten-cname\n\
                    c TXT \"(a;b\" \"\\\")\"\n";
        let drafts = read(file, false).unwrap();
        assert_eq!(drafts[0].comment.as_deref(), Some("has cf_tags= inside"));
        assert_eq!(drafts[0].tags, ["x:1, 2 \"3\"", "y"]);
        assert!(drafts[0].proxied);
        assert_eq!(drafts[1].settings["flatten_cname"], true);
        assert_eq!(drafts[2].content, "\"(a;b\" \"\\\")\"");
    }

    #[test]
    fn include_is_refused_with_its_line() {
        let error = read("a A 192.0.2.1\n$INCLUDE other.zone\n", false).unwrap_err();
        assert_eq!(error.0, 1004);
        assert!(error.1.starts_with("line 2: "), "{}", error.1);
    }

    #[test]
    fn proxied_applies_to_proxiable_types_only() {
        let drafts = read(
            "a A 192.0.2.1\nb TXT x\nc A 192.0.2.2 ; cf_tags=cf-proxied:false\n",
            true,
        )
        .unwrap();
        let proxied: Vec<bool> = drafts.iter().map(|d| d.proxied).collect();
        assert_eq!(proxied, [true, false, false]);
    }
}
