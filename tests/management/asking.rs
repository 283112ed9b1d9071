//! Requests on one line: what is asked, and what comes of it.

use serde_json::Value;

use crate::support::{HttpClient, Reply};

/// `PUT /users/alice {"tags": "", "password": "x"}`
#[track_caller]
pub fn ask(http: &HttpClient, request: &str) -> Reply {
    let mut parts = request.splitn(3, ' ');
    let method = parts.next().expect("a method");
    let path = parts.next().expect("a path");
    let body = parts
        .next()
        .map(|body| serde_json::from_str::<Value>(body).expect("a body of JSON"));
    http.request(method, path, &[], body.as_ref())
}

/// Each is answered with this status.
#[track_caller]
pub fn expect(http: &HttpClient, steps: &[(&str, u16)]) {
    for (request, status) in steps {
        let reply = ask(http, request);
        assert_eq!(reply.status, *status, "{request}: {}", reply.text());
    }
}

/// Each is refused with this status and reason.
#[track_caller]
pub fn refuse(http: &HttpClient, steps: &[(&str, u16, &str)]) {
    for (request, status, reason) in steps {
        let reply = ask(http, request);
        assert_eq!(reply.status, *status, "{request}: {}", reply.text());
        let given = match &reply.json()["reason"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(given, *reason, "{request}");
    }
}
