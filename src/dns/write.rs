//! A record as JSON: one line of a snapshot, an item of a batch.

use crate::model::json::Json;

use super::Record;

impl Record {
    /// The record as one line of JSON, without the line break: the members of the API under their
    /// names, those at their default left away, unknown ones under `extra`.
    #[must_use]
    pub fn to_stored(&self) -> String {
        let mut out = Object::new();
        if !self.id.is_empty() {
            out.text("id", &self.id);
        }
        self.write(&mut out, true);
        out.raw_unless_empty("extra", &self.extra);
        if self.is_read_only {
            out.raw("read_only", "true");
        }
        if !self.modified_on.is_empty() {
            out.text("modified_on", &self.modified_on);
        }
        out.close()
    }

    /// The record as an item of `posts` in a batch, or as the body of `POST …/dns_records`.
    #[must_use]
    pub fn to_create(&self) -> String {
        let mut out = Object::new();
        self.write_body(&mut out);
        out.close()
    }

    /// The record as an item of `puts` in a batch, in place of the record with this id. It sets
    /// every member: what is left away falls back to its default.
    #[must_use]
    pub fn to_put(&self, id: &str) -> String {
        let mut out = Object::new();
        out.text("id", id);
        self.write_body(&mut out);
        out.close()
    }

    fn write_body(&self, out: &mut Object) {
        self.write(out, false);
        let members = self
            .extra
            .strip_prefix('{')
            .and_then(|e| e.strip_suffix('}'));
        if let Some(members) = members {
            out.members(members);
        }
    }

    /// The members that the API knows. `is_stored` keeps the content that `data` stands for.
    fn write(&self, out: &mut Object, is_stored: bool) {
        out.text("type", &self.kind);
        out.text("name", &self.name);
        if self.data.is_none() || is_stored {
            out.text("content", &self.content);
        }
        if let Some(data) = &self.data {
            out.raw("data", data);
        }
        if let Some(priority) = self.priority {
            out.raw("priority", &priority.to_string());
        }
        out.raw("ttl", &self.ttl.to_string());
        if let Some(proxied) = self.proxied {
            out.raw("proxied", if proxied { "true" } else { "false" });
        }
        if let Some(comment) = &self.comment {
            out.text("comment", comment);
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter().cloned().map(Json::String).collect();
            out.raw("tags", &Json::Array(tags).write());
        }
        out.raw_unless_empty("settings", &self.settings);
        if self.private_routing == Some(true) {
            out.raw("private_routing", "true");
        }
    }
}

/// A JSON object being written.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn separate(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &Json::String(value.to_owned()).write());
    }

    /// A member whose value is JSON already.
    fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.0.push_str(json);
    }

    fn raw_unless_empty(&mut self, key: &str, json: &str) {
        if !json.is_empty() {
            self.raw(key, json);
        }
    }

    /// Members that are written already, at least one.
    fn members(&mut self, json: &str) {
        self.separate();
        self.0.push_str(json);
    }

    fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
