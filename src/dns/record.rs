//! One DNS record: what a client decides about it, in one spelling.

use std::cmp::Ordering;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::model::json::{Json, JsonError, parse};

use super::kinds::{self, Members};
use super::text::{host, txt, txt_bytes};

/// Why a text is not a DNS record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or JSON with more than one meaning.
    #[error("the DNS record is not readable: {0}")]
    Json(#[from] JsonError),
    /// JSON, but no object.
    #[error("the DNS record is not an object")]
    NotAnObject,
    /// A member that every record has is missing.
    #[error("the DNS record has no `{0}`")]
    Missing(&'static str),
    /// A member of the wrong kind or out of range.
    #[error("`{0}` of the DNS record has a value that it cannot have")]
    Invalid(&'static str),
}

/// One DNS record, without what Cloudflare computes.
///
/// INVARIANT: made by [`Record::from_api`] or [`Record::from_stored`], which bring every member to
/// one spelling: records that are the same to Cloudflare are equal member by member. JSON is kept as
/// compact text with ordered keys, which takes a fraction of the memory of a tree.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// 32 hexadecimal digits; empty for a record that does not exist yet.
    pub id: String,
    /// The full name in lower-case Punycode, without a final dot.
    pub name: String,
    /// The type, in capitals.
    pub kind: String,
    /// The value in presentation format. With `data` it is only a view of that; then it is neither
    /// compared nor sent.
    pub content: String,
    /// Seconds; 1 is automatic, as it is for every proxied record.
    pub ttl: u32,
    /// Whether Cloudflare proxies it; `None` for types that cannot be proxied.
    pub proxied: Option<bool>,
    /// The priority of MX and URI records.
    pub priority: Option<u16>,
    /// The structured value, a JSON object, of types that have one (CAA, SRV, HTTPS …).
    pub data: Option<String>,
    /// The comment; never empty.
    pub comment: Option<String>,
    /// The tags, `name:value`, sorted, none twice.
    pub tags: Vec<String>,
    /// A JSON object of settings that are not off; empty for none.
    pub settings: String,
    /// Whether the record routes to a private network; `None` for the default, which is not.
    pub private_routing: Option<bool>,
    /// A JSON object of members that this version does not know; empty for none. They are compared
    /// and sent, so that nothing that can be written is lost.
    pub extra: String,
    /// When it was changed last, as Cloudflare writes it; says nothing about what the record is.
    pub modified_on: String,
    /// Whether Cloudflare keeps this record for a product (a Worker's custom domain, Email Routing),
    /// so that nobody else can write it.
    pub is_read_only: bool,
}

/// Equal in id and in all that [`Record::says_same`] compares.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.says_same(other)
    }
}

impl Eq for Record {}

impl Record {
    /// Reads one item of `GET …/dns_records`, or a record as a body has it; of such a body the name
    /// must be the full one.
    ///
    /// What is absent has the API's default. `content` of a type with `data` is read as `data`.
    /// `created_on`, `proxiable`, `meta` and the like are dropped; of `meta`, `read_only` and
    /// `origin_worker_id` mark records that cannot be written.
    ///
    /// # Errors
    /// No JSON object, no name, type or value, or a known member of the wrong kind.
    pub fn from_api(json: &str) -> Result<Self, RecordError> {
        Self::read(json, Form::Api)
    }

    /// Reads what [`Record::to_stored`] wrote.
    ///
    /// # Errors
    /// As [`Record::from_api`].
    pub fn from_stored(line: &str) -> Result<Self, RecordError> {
        Self::read(line, Form::Stored)
    }

    /// Whether both are the same but for their id, their time and who keeps them.
    #[must_use]
    pub fn says_same(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Equal
    }

    /// Whether Cloudflare keeps the record itself, so that it is neither changed nor deleted nor
    /// created: marked read-only, SOA, or NS at the apex of the zone.
    #[must_use]
    pub fn is_managed(&self, zone_name: &str) -> bool {
        self.is_read_only || self.kind == "SOA" || (self.kind == "NS" && self.name == zone_name)
    }

    /// The members that differ, by their API names.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let (content, data) = (self.plain_content(), &self.data);
        [
            ("name", self.name != other.name),
            ("type", self.kind != other.kind),
            ("content", content != other.plain_content()),
            ("data", *data != other.data),
            ("priority", self.priority != other.priority),
            ("ttl", self.ttl != other.ttl),
            ("proxied", self.proxied != other.proxied),
            ("comment", self.comment != other.comment),
            ("tags", self.tags != other.tags),
            ("settings", self.settings != other.settings),
            (
                "private_routing",
                self.private_routing != other.private_routing,
            ),
            ("extra", self.extra != other.extra),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Orders by name, type, value and then all the rest but id and time.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let rest = |r: &Self| (r.ttl, r.proxied, r.private_routing);
        self.compare_value(other)
            .then_with(|| rest(self).cmp(&rest(other)))
            .then_with(|| self.comment.cmp(&other.comment))
            .then_with(|| self.tags.cmp(&other.tags))
            .then_with(|| self.settings.cmp(&other.settings))
            .then_with(|| self.extra.cmp(&other.extra))
    }

    /// Orders by name, type and value. The API takes no two records that are equal in this.
    pub(super) fn compare_value(&self, other: &Self) -> Ordering {
        self.compare_content(other)
            .then_with(|| self.priority.cmp(&other.priority))
    }

    /// Orders by name, type and value without its priority.
    pub(super) fn compare_content(&self, other: &Self) -> Ordering {
        self.compare_name(other)
            .then_with(|| self.plain_content().cmp(other.plain_content()))
            .then_with(|| self.data.cmp(&other.data))
    }

    /// Orders by name and type.
    pub(super) fn compare_name(&self, other: &Self) -> Ordering {
        (&self.name, &self.kind).cmp(&(&other.name, &other.kind))
    }

    /// The content where it decides, empty where `data` does.
    fn plain_content(&self) -> &str {
        if self.data.is_some() {
            ""
        } else {
            &self.content
        }
    }

    fn read(json: &str, form: Form) -> Result<Self, RecordError> {
        use RecordError::Invalid;
        let Json::Object(members) = parse(json.as_bytes())? else {
            return Err(RecordError::NotAnObject);
        };
        let mut record = Self {
            ttl: 1,
            ..Self::default()
        };
        let mut content = None;
        let mut data = None;
        let mut extra = Vec::new();
        for (key, value) in members {
            if value.is_null() {
                continue;
            }
            match key.as_str() {
                "id" => record.id = string(value, "id")?,
                "name" => record.name = host(&string(value, "name")?),
                "type" => record.kind = string(value, "type")?.to_ascii_uppercase(),
                "content" => content = Some(string(value, "content")?),
                "data" => data = Some(object(value, "data")?),
                "ttl" => {
                    let ttl = value.as_u64().and_then(|ttl| u32::try_from(ttl).ok());
                    record.ttl = ttl.ok_or(Invalid("ttl"))?;
                }
                "priority" => {
                    let number = value.as_number().map(kinds::shortest);
                    let priority = number.and_then(|number| number.parse().ok());
                    record.priority = Some(priority.ok_or(Invalid("priority"))?);
                }
                "proxied" => record.proxied = Some(boolean(&value, "proxied")?),
                "private_routing" => {
                    record.private_routing = Some(boolean(&value, "private_routing")?);
                }
                "comment" => record.comment = Some(string(value, "comment")?),
                "tags" => record.tags = tags(value)?,
                "settings" => record.settings = settings(object(value, "settings")?),
                "modified_on" => record.modified_on = string(value, "modified_on")?,
                "meta" => record.is_read_only |= marks_read_only(&value),
                "read_only" if form == Form::Stored => {
                    record.is_read_only = boolean(&value, "read_only")?;
                }
                "extra" if form == Form::Stored => extra.extend(object(value, "extra")?),
                name if is_computed(name) => {}
                _ => extra.push((key, value)),
            }
        }
        record.extra = object_text(extra);
        record.normalize(content, data)?;
        Ok(record)
    }

    /// Brings to one spelling what depends on the type.
    fn normalize(
        &mut self,
        content: Option<String>,
        data: Option<Members>,
    ) -> Result<(), RecordError> {
        if self.name.is_empty() {
            return Err(RecordError::Missing("name"));
        }
        if self.kind.is_empty() {
            return Err(RecordError::Missing("type"));
        }
        let kind = self.kind.as_str();
        let data = data.filter(|data| !data.is_empty() && !kinds::is_plain(kind));
        let data = match (data, &content) {
            (None, Some(content)) => kinds::data_of(kind, content).map(|(priority, data)| {
                self.priority = self.priority.or(priority);
                data
            }),
            (data, _) => data,
        };
        if kinds::ignores_priority(kind) {
            self.priority = None;
        }
        if let Some(data) = data {
            let data = kinds::normalize_data(kind, data);
            self.content = kinds::content_of(kind, self.priority, &data, false)
                .or(content)
                .unwrap_or_default();
            self.data = Some(data.write());
        } else {
            let content = content.ok_or(RecordError::Missing("content"))?;
            self.content = canonical_content(kind, &content);
        }
        if self.proxied == Some(true) {
            // Proxied records are forced to automatic.
            self.ttl = 1;
        } else {
            self.proxied = kinds::is_proxiable(kind).then_some(false);
        }
        self.private_routing = self.private_routing.filter(|routing| *routing);
        self.comment = self.comment.take().filter(|comment| !comment.is_empty());
        for text in [
            &mut self.id,
            &mut self.name,
            &mut self.kind,
            &mut self.content,
            &mut self.modified_on,
        ] {
            text.shrink_to_fit();
        }
        Ok(())
    }
}

/// Which JSON a record is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Api,
    Stored,
}

/// Whether two contents of a type say the same. Where a text is cut into strings does not matter here.
#[must_use]
pub fn same_content(kind: &str, a: &str, b: &str) -> bool {
    match kind {
        "TXT" => txt_bytes(a) == txt_bytes(b),
        _ => canonical_content(kind, a) == canonical_content(kind, b),
    }
}

/// Content in the spelling that is compared and sent.
fn canonical_content(kind: &str, content: &str) -> String {
    let content = content.trim();
    let address = match kind {
        "A" => content.parse().ok().map(|a: Ipv4Addr| a.to_string()),
        "AAAA" => content.parse().ok().map(|a: Ipv6Addr| a.to_string()),
        _ => None,
    };
    match kind {
        "TXT" => txt(content),
        "OPENPGPKEY" => content.split_whitespace().collect(),
        _ if kinds::has_host(kind) => host(content),
        _ => address.unwrap_or_else(|| content.to_owned()),
    }
}

/// Members that Cloudflare computes, or once did.
fn is_computed(name: &str) -> bool {
    name.ends_with("_modified_on")
        || matches!(
            name,
            "created_on" | "proxiable" | "zone_id" | "zone_name" | "locked"
        )
}

/// Whether `meta` says that nobody but Cloudflare writes the record: `read_only`, or the Worker
/// whose custom domain made it.
fn marks_read_only(meta: &Json) -> bool {
    let is_read_only = meta.get("read_only").and_then(Json::as_bool) == Some(true);
    let worker = meta.get("origin_worker_id").and_then(Json::as_str);
    is_read_only || worker.is_some_and(|id| !id.is_empty())
}

fn string(value: Json, name: &'static str) -> Result<String, RecordError> {
    match value {
        Json::String(text) => Ok(text),
        _ => Err(RecordError::Invalid(name)),
    }
}

fn boolean(value: &Json, name: &'static str) -> Result<bool, RecordError> {
    value.as_bool().ok_or(RecordError::Invalid(name))
}

fn object(value: Json, name: &'static str) -> Result<Members, RecordError> {
    match value {
        Json::Object(members) => Ok(members),
        _ => Err(RecordError::Invalid(name)),
    }
}

/// The tags sorted. Their names have no letter case, their values have.
fn tags(value: Json) -> Result<Vec<String>, RecordError> {
    let Json::Array(items) = value else {
        return Err(RecordError::Invalid("tags"));
    };
    let mut tags = Vec::with_capacity(items.len());
    for item in items {
        let mut tag = string(item, "tags")?;
        let name_len = tag.find(':').unwrap_or(tag.len());
        if let Some(name) = tag.get_mut(..name_len) {
            name.make_ascii_lowercase();
        }
        tags.push(tag);
    }
    tags.sort_unstable();
    tags.dedup();
    Ok(tags)
}

/// Settings without those that are off, which is the default of all of them.
fn settings(members: Members) -> String {
    let mut members = members;
    members.retain(|(_, value)| !matches!(value, Json::Null | Json::Bool(false)));
    object_text(members)
}

/// The compact text of an object with ordered keys; empty when it has no members.
fn object_text(members: Members) -> String {
    if members.is_empty() {
        return String::new();
    }
    kinds::ordered(Json::Object(members)).write()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the API lists a record.
    const LISTED: &str = r#"{"id":"023e105f4ecef8ad9ca31a8372d0c353","name":"www.example.com","type":"A","content":"192.0.2.1","proxiable":true,"proxied":true,"ttl":1,"settings":{"ipv4_only":false},"meta":{},"comment":null,"tags":["team:web","Owner:Ada"],"created_on":"2026-01-01T00:00:00Z","modified_on":"2026-01-02T00:00:00Z","tags_modified_on":"2026-01-02T00:00:00Z"}"#;

    fn api(json: &str) -> Record {
        Record::from_api(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    /// Every form of the same record is stored in the same words.
    #[track_caller]
    fn check(forms: &[&str], stored: &str) {
        for form in forms {
            let record = api(form);
            assert_eq!(record.to_stored(), stored, "{form}");
            assert_eq!(Record::from_stored(stored), Ok(record), "{form}");
        }
    }

    #[test]
    fn a_listed_record_is_stored_without_what_cloudflare_computes() {
        check(
            &[LISTED],
            r#"{"id":"023e105f4ecef8ad9ca31a8372d0c353","type":"A","name":"www.example.com","content":"192.0.2.1","ttl":1,"proxied":true,"tags":["owner:Ada","team:web"],"modified_on":"2026-01-02T00:00:00Z"}"#,
        );
    }

    #[test]
    fn records_that_are_the_same_to_cloudflare_are_equal() {
        check(
            &[
                r#"{"type":"aaaa","name":"WWW.Example.com.","content":"2001:DB8:0:0::1","proxied":true,"ttl":300}"#,
                r#"{"type":"AAAA","name":"www.example.com","content":"2001:db8::1","proxied":true,"ttl":1,"settings":{},"tags":[],"comment":"","data":{},"private_routing":false,"priority":null}"#,
            ],
            r#"{"type":"AAAA","name":"www.example.com","content":"2001:db8::1","ttl":1,"proxied":true}"#,
        );
        check(
            &[
                r#"{"type":"TXT","name":"example.com","content":"v=spf1 -all","proxied":false}"#,
                r#"{"type":"TXT","name":"example.com","content":"\"v=spf1 -all\"","ttl":1,"comment":null}"#,
            ],
            r#"{"type":"TXT","name":"example.com","content":"\"v=spf1 -all\"","ttl":1}"#,
        );
        check(
            &[
                r#"{"type":"MX","name":"example.com","content":"Mail.Example.net.","priority":10.0,"data":{"priority":10,"target":"x"}}"#,
                r#"{"type":"MX","name":"example.com","content":"mail.example.net","priority":10}"#,
            ],
            r#"{"type":"MX","name":"example.com","content":"mail.example.net","priority":10,"ttl":1}"#,
        );
        check(
            &[
                r#"{"type":"CNAME","name":"bücher.example.com","content":"Bücher.example.","settings":{"flatten_cname":true,"ipv4_only":false}}"#,
                r#"{"type":"CNAME","name":"xn--bcher-kva.example.com","content":"xn--bcher-kva.example","settings":{"flatten_cname":true},"proxied":false,"tags":null}"#,
            ],
            r#"{"type":"CNAME","name":"xn--bcher-kva.example.com","content":"xn--bcher-kva.example","ttl":1,"proxied":false,"settings":{"flatten_cname":true}}"#,
        );
        check(
            &[
                r#"{"type":"SRV","name":"_a._tcp.example.com","content":"2\t3\ta.example.com","priority":1,"data":{"weight":2,"priority":1,"port":3,"target":"A.example.com.","proto":"_tcp"}}"#,
                r#"{"type":"SRV","name":"_a._tcp.example.com","content":"1 2 3 a.example.com."}"#,
            ],
            r#"{"type":"SRV","name":"_a._tcp.example.com","content":"1 2 3 a.example.com","data":{"port":3,"priority":1,"target":"a.example.com","weight":2},"ttl":1}"#,
        );
        check(
            &[
                r#"{"type":"URI","name":"example.com","content":"10 1 \"https://a.example\""}"#,
                r#"{"type":"URI","name":"example.com","priority":10,"data":{"weight":1,"target":"https://a.example"}}"#,
            ],
            r#"{"type":"URI","name":"example.com","content":"10 1 \"https://a.example\"","data":{"target":"https://a.example","weight":1},"priority":10,"ttl":1}"#,
        );
    }

    #[test]
    fn a_difference_that_matters_is_named() {
        let before = api(LISTED);
        for (member, field) in [
            (r#""content":"192.0.2.9""#, "content"),
            (r#""comment":"new""#, "comment"),
            (r#""tags":["team:Web"]"#, "tags"),
            (r#""settings":{"ipv4_only":true}"#, "settings"),
            (r#""private_routing":true"#, "private_routing"),
            (r#""new_member":{"b":1,"a":2.0}"#, "extra"),
        ] {
            let name = member.split('"').nth(1).unwrap();
            let mut json: serde_json::Value = serde_json::from_str(LISTED).unwrap();
            let changed: serde_json::Value =
                serde_json::from_str(&format!("{{{member}}}")).unwrap();
            json[name] = changed[name].clone();
            let after = api(&json.to_string());
            assert_eq!(before.differing(&after), [field], "{member}");
            assert!(!before.says_same(&after));
        }
        let mut later = before.clone();
        later.modified_on = "2027-01-01T00:00:00Z".to_owned();
        assert_eq!(later, before);
        later.id.clear();
        assert!(later != before && later.says_same(&before));
    }

    #[test]
    fn members_that_are_not_known_are_kept_and_sent() {
        let record = api(
            r#"{"id":"a","type":"A","name":"example.com","content":"192.0.2.1","zeta":[1.0],"alpha":{"y":1,"x":null},"gone":null,"zone_id":"z"}"#,
        );
        assert_eq!(
            record.to_stored(),
            r#"{"id":"a","type":"A","name":"example.com","content":"192.0.2.1","ttl":1,"proxied":false,"extra":{"alpha":{"x":null,"y":1},"zeta":[1]}}"#
        );
        assert_eq!(Record::from_stored(&record.to_stored()), Ok(record.clone()));
        assert_eq!(
            record.to_create(),
            r#"{"type":"A","name":"example.com","content":"192.0.2.1","ttl":1,"proxied":false,"alpha":{"x":null,"y":1},"zeta":[1]}"#
        );
    }

    #[test]
    fn content_that_is_derived_from_data_is_not_sent() {
        let record = api(
            r#"{"type":"CAA","name":"example.com","ttl":300,"data":{"flags":0,"tag":"issue","value":"a.example"},"comment":"say \"hi\""}"#,
        );
        assert_eq!(
            record.to_put("f"),
            r#"{"id":"f","type":"CAA","name":"example.com","data":{"flags":0,"tag":"issue","value":"a.example"},"ttl":300,"comment":"say \"hi\""}"#
        );
    }

    #[test]
    fn records_that_cloudflare_keeps_are_known_by_their_marks() {
        let with = |meta: &str| {
            api(&format!(
                r#"{{"type":"AAAA","name":"w.example.com","content":"100::","meta":{meta}}}"#
            ))
        };
        for (meta, expected) in [
            (r#"{"read_only":true}"#, true),
            (r#"{"origin_worker_id":"abc"}"#, true),
            (
                r#"{"auto_added":true,"read_only":false,"origin_worker_id":null}"#,
                false,
            ),
            ("{}", false),
        ] {
            let record = with(meta);
            assert_eq!(record.is_read_only, expected, "{meta}");
            assert_eq!(record.is_managed("example.com"), expected, "{meta}");
            let stored = Record::from_stored(&record.to_stored()).unwrap();
            assert_eq!(stored.is_read_only, expected, "{meta}");
        }
        let ns = |name: &str| {
            api(&format!(
                r#"{{"type":"NS","name":"{name}","content":"ns.example.net"}}"#
            ))
        };
        assert!(ns("example.com").is_managed("example.com"));
        assert!(!ns("sub.example.com").is_managed("example.com"));
    }

    #[test]
    fn what_is_no_record_is_refused_with_the_member() {
        for (json, expected) in [
            ("[]", "the DNS record is not an object"),
            (
                "{",
                "the DNS record is not readable: line 1, column 2: a key in double quotes must stand here",
            ),
            (
                r#"{"type":"A","content":"192.0.2.1"}"#,
                "the DNS record has no `name`",
            ),
            (
                r#"{"name":"a.b","content":"x"}"#,
                "the DNS record has no `type`",
            ),
            (
                r#"{"name":"a.b","type":"A"}"#,
                "the DNS record has no `content`",
            ),
            (
                r#"{"name":"a.b","type":"A","content":"x","ttl":"1"}"#,
                "`ttl` of the DNS record has a value that it cannot have",
            ),
            (
                r#"{"name":"a.b","type":"MX","content":"x","priority":65536}"#,
                "`priority` of the DNS record has a value that it cannot have",
            ),
            (
                r#"{"name":"a.b","type":"A","content":"x","tags":[1]}"#,
                "`tags` of the DNS record has a value that it cannot have",
            ),
        ] {
            let error = Record::from_api(json).unwrap_err();
            assert_eq!(error.to_string(), expected, "{json}");
        }
    }

    /// 10,000 records twice must leave most of a Worker's 128 MB free.
    #[test]
    fn a_record_takes_less_than_half_a_kilobyte() {
        let record = api(LISTED);
        let heap: usize = [
            record.id.capacity(),
            record.name.capacity(),
            record.kind.capacity(),
            record.content.capacity(),
            record.settings.capacity(),
            record.extra.capacity(),
            record.modified_on.capacity(),
            record.tags.capacity() * size_of::<String>(),
            record.tags.iter().map(String::capacity).sum(),
        ]
        .into_iter()
        .sum();
        let total = size_of::<Record>() + heap;
        assert!(total < 512, "{total} bytes, of these {heap} on the heap");
    }
}
