//! What a delivery asks for, judged by the hook it came to. Pure.

use serde_json::{Map, Value};

use crate::config::document::{Hook, Sender};
use crate::model::json::Json;
use crate::model::{pointed, quoted};

/// What is to become of a delivery.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// A run is to be started with these parameters beside the job's own.
    Start(Map<String, Value>),
    /// The sender only tries the hook.
    Test,
    /// It is not what the hook waits for, in a sentence.
    Filtered(String),
    /// What it brings is of no use, in a sentence.
    Refused(String),
}

/// What a delivery is about: as a header says, or the body of those who say it there.
pub(super) fn event_of(sender: Sender, header: Option<&str>, body: &Json) -> Option<String> {
    let in_body = match sender {
        Sender::Github | Sender::Gitlab => None,
        Sender::Standard => body.get("type"),
        Sender::Cloudflare => body.get("alert_type"),
    };
    let event = header.or_else(|| in_body?.as_str())?;
    Some(crate::gateway::sanitised(event, 128))
}

/// Judges a delivery.
pub(super) fn judge(hook: &Hook, event: Option<&str>, body: &Json) -> Verdict {
    if is_test(hook.sender, event, body) {
        return Verdict::Test;
    }
    for (field, wanted) in &hook.when {
        let found = if field == "event" {
            event.map(Value::from)
        } else {
            pointed(body, field).map(Value::from)
        };
        let holds = match wanted {
            Value::Array(any) => found.as_ref().is_some_and(|found| any.contains(found)),
            one => found.as_ref() == Some(one),
        };
        if !holds {
            let is = match found {
                None => "is absent".to_owned(),
                Some(Value::String(text)) => format!("is {}", quoted(&text)),
                Some(Value::Array(_) | Value::Object(_)) => "is no single value".to_owned(),
                Some(other) => format!("is {other}"),
            };
            return Verdict::Filtered(format!("{field} {is}"));
        }
    }
    let mut params = Map::new();
    for (name, pointer) in &hook.params {
        match pointed(body, pointer) {
            // A null in place of a parameter would silently lift it.
            None | Some(Json::Null) => {
                return Verdict::Refused(format!(
                    "the field `params.{name}` is to be what stands at {pointer}, and there is nothing"
                ));
            }
            Some(value) => params.insert(name.clone(), Value::from(value)),
        };
    }
    Verdict::Start(params)
}

/// What GitHub sends when a hook is set up, and Cloudflare when a destination is
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#ping>,
/// <https://developers.cloudflare.com/notifications/get-started/configure-webhooks/>).
fn is_test(sender: Sender, event: Option<&str>, body: &Json) -> bool {
    match sender {
        Sender::Github => event == Some("ping"),
        Sender::Cloudflare => body
            .as_object()
            .is_some_and(|members| matches!(members, [(name, _)] if name == "text")),
        Sender::Gitlab | Sender::Standard => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::json::parse;
    use crate::model::typed::Typed as _;

    fn judged(hook: Value, event: Option<&str>, body: &str) -> Verdict {
        let mut whole = json!({"name": "h", "type": "github", "secrets": ["HOOK_H"], "job": "j"});
        let Value::Object(more) = hook else { panic!() };
        whole.as_object_mut().unwrap().extend(more);
        let hook = Hook::read(whole).unwrap();
        judge(&hook, event, &parse(body.as_bytes()).unwrap())
    }

    fn filters(when: &Value, body: &str, expected: Option<&str>) {
        let verdict = judged(json!({"when": when}), Some("push"), body);
        let expected = expected.map_or(Verdict::Start(Map::new()), |why| {
            Verdict::Filtered(why.to_owned())
        });
        assert_eq!(verdict, expected, "{when} {body}");
    }

    #[test]
    fn every_condition_must_hold_and_what_is_absent_does_not() {
        filters(&json!({}), "{}", None);
        filters(&json!({"event": "push"}), "{}", None);
        filters(&json!({"event": ["pull", "push"]}), "{}", None);
        filters(&json!({"event": "Push"}), "{}", Some("event is \"push\""));
        filters(&json!({"/a": 1}), r#"{"a":1}"#, None);
        filters(&json!({"/a": 1}), r#"{"a":"1"}"#, Some("/a is \"1\""));
        filters(&json!({"/a": "1"}), r#"{"a":1}"#, Some("/a is 1"));
        filters(&json!({"/a": false}), r#"{"a":false}"#, None);
        filters(&json!({"/a": false}), "{}", Some("/a is absent"));
        filters(&json!({"/a": false}), r#"{"a":null}"#, Some("/a is null"));
        filters(
            &json!({"/a/b": ["x", 2, true]}),
            r#"{"a":{"b":true}}"#,
            None,
        );
        let both = json!({"/a": "x", "event": "push"});
        filters(&both, r#"{"a":"x"}"#, None);
        filters(&both, r#"{"a":"y"}"#, Some("/a is \"y\""));
        let list = r#"{"a":["x"]}"#;
        filters(&json!({"/a": ["x"]}), list, Some("/a is no single value"));
    }

    #[test]
    fn an_event_that_nobody_names_does_not_hold() {
        let hook = json!({"type": "standard", "when": {"event": "a"}});
        let verdict = judged(hook, None, "{}");
        assert_eq!(verdict, Verdict::Filtered("event is absent".to_owned()));
        let body = parse(br#"{"type":"a","alert_type":"b"}"#).unwrap();
        for (sender, header, event) in [
            (Sender::Standard, None, Some("a")),
            (Sender::Cloudflare, None, Some("b")),
            (Sender::Github, Some("push"), Some("push")),
            (Sender::Gitlab, None, None),
        ] {
            assert_eq!(event_of(sender, header, &body).as_deref(), event);
        }
    }

    #[test]
    fn parameters_are_what_stands_in_the_body_and_must_stand_there() {
        let hook = json!({"params": {"run_id": "/run/id", "tags": "/tags"}});
        let body = r#"{"run":{"id":7},"tags":["a"]}"#;
        let Verdict::Start(params) = judged(hook.clone(), Some("push"), body) else {
            panic!()
        };
        assert_eq!(Value::Object(params), json!({"run_id": 7, "tags": ["a"]}));
        for body in [r#"{"tags":[]}"#, r#"{"run":{"id":null},"tags":[]}"#] {
            let why =
                "the field `params.run_id` is to be what stands at /run/id, and there is nothing";
            let verdict = judged(hook.clone(), Some("push"), body);
            assert_eq!(verdict, Verdict::Refused(why.to_owned()), "{body}");
        }
    }

    #[test]
    fn trying_a_hook_starts_nothing() {
        assert_eq!(judged(json!({}), Some("ping"), "{}"), Verdict::Test);
        let cloudflare = json!({"type": "cloudflare"});
        let test = judged(cloudflare.clone(), None, r#"{"text":"Hello World!"}"#);
        assert_eq!(test, Verdict::Test);
        let alert = judged(cloudflare, None, r#"{"text":"t","ts":1}"#);
        assert_eq!(alert, Verdict::Start(Map::new()));
        let standard = judged(json!({"type": "standard"}), None, r#"{"text":"t"}"#);
        assert_eq!(standard, Verdict::Start(Map::new()));
    }
}
