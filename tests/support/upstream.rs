//! A Cloudflare that follows a script and minds every deviation from it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use http::StatusCode;
use serde_json::{Value, json};
use zonekeeper::catalog::Method;
use zonekeeper::upstream::{Fault, Head};

/// A call that must come, and what it gets.
pub(crate) struct Expected {
    method: Method,
    target: String,
    body: Option<Value>,
    answer: Result<(Head, Option<Vec<u8>>), Fault>,
    meanwhile: Option<Box<dyn FnOnce()>>,
}

impl Expected {
    fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            body: None,
            answer: Err(Fault::Network),
            meanwhile: None,
        }
    }

    /// It must carry this body, as rebuilt; without this, none may be rebuilt.
    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// It is answered so, with a `cf-ray`.
    pub(crate) fn answers(mut self, status: u16, body: impl Into<String>) -> Self {
        let head = Head {
            status: StatusCode::from_u16(status).unwrap(),
            cf_ray: Some("8f00ba4-AMS".to_owned()),
            retry_after_secs: None,
        };
        self.answer = Ok((head, Some(body.into().into_bytes())));
        self
    }

    /// The answer says when to come again.
    pub(crate) fn retry_after(mut self, secs: u32) -> Self {
        if let Ok((head, _)) = &mut self.answer {
            head.retry_after_secs = Some(secs);
        }
        self
    }

    /// The answer's body breaks off.
    pub(crate) fn cut(mut self) -> Self {
        if let Ok((_, body)) = &mut self.answer {
            *body = None;
        }
        self
    }

    /// No answer comes.
    pub(crate) fn fails(mut self, fault: Fault) -> Self {
        self.answer = Err(fault);
        self
    }

    /// Something else happens while the call is under way.
    pub(crate) fn meanwhile(mut self, then: impl FnOnce() + 'static) -> Self {
        self.meanwhile = Some(Box::new(then));
        self
    }
}

pub(crate) fn get(target: impl Into<String>) -> Expected {
    Expected::new(Method::Get, target)
}

pub(crate) fn post(target: impl Into<String>) -> Expected {
    Expected::new(Method::Post, target)
}

pub(crate) fn put(target: impl Into<String>) -> Expected {
    Expected::new(Method::Put, target)
}

pub(crate) fn patch(target: impl Into<String>) -> Expected {
    Expected::new(Method::Patch, target)
}

pub(crate) fn delete(target: impl Into<String>) -> Expected {
    Expected::new(Method::Delete, target)
}

/// The envelope of a success.
pub(crate) fn success(result: &Value) -> String {
    json!({"success": true, "errors": [], "messages": [], "result": result}).to_string()
}

/// The envelope of one page of a list of `total` items.
pub(crate) fn list(items: &[Value], total: usize) -> String {
    json!({"success": true, "errors": [], "messages": [], "result": items, "result_info": {"total_count": total}})
        .to_string()
}

/// The envelope of a failure.
pub(crate) fn failure(code: u32, message: &str) -> String {
    json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null})
        .to_string()
}

/// What is still to come. Dropped before all of it came, it panics.
#[derive(Clone, Default)]
pub(crate) struct Script {
    left: Rc<RefCell<VecDeque<Expected>>>,
}

impl Script {
    pub(crate) fn expect(&self, call: Expected) {
        self.left.borrow_mut().push_back(call);
    }

    pub(crate) fn left(&self) -> Vec<String> {
        self.left
            .borrow()
            .iter()
            .map(|call| format!("{} {}", call.method.as_str(), call.target))
            .collect()
    }

    pub(crate) fn play(
        &self,
        method: Method,
        target: &str,
        body: Option<&str>,
    ) -> Result<(Head, Option<Vec<u8>>), Fault> {
        let next = self.left.borrow_mut().pop_front();
        let Some(expected) = next else {
            panic!("nobody expected {} {target}", method.as_str());
        };
        assert_eq!(
            (method, target),
            (expected.method, expected.target.as_str()),
            "another call was expected"
        );
        let body = body.map(|body| serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(body, expected.body, "the body of {target}");
        if let Some(meanwhile) = expected.meanwhile {
            meanwhile();
        }
        expected.answer
    }
}
