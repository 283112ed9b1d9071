//! What is not done, in RabbitMQ's words: `{"error": ..., "reason": ...}` and a status.

use serde_json::json;

use super::http::Response;
use crate::broker::access::Refused;
use crate::broker::policy;
use crate::broker::{self};
use crate::protocol::errand::Unanswered;

/// Why a request was not carried out. [`Refusal::into_response`] is the one place where that becomes a
/// status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody, or nobody we know: 401.
    NotLoggedIn(&'static str),
    /// Somebody who may not: 401, as RabbitMQ answers.
    NotAuthorized(String),
    /// A page's write without the header that only our own page sends: 403.
    Forged,
    NotFound,
    /// The methods that there are.
    MethodNotAllowed(&'static str),
    BadRequest(String),
    /// The broker's door refused: 400, with the text that an AMQP client would get.
    Broker(broker::Error),
    /// A user who may not do that in the broker: 401, as RabbitMQ answers.
    AccessRefused,
    /// What the request works on, or in, is not there: 404, and what that is.
    Missing(String),
    /// 400, with a reason that is a list: what kind of fault, and where.
    Said(serde_json::Value),
    /// It is protected against that: 412.
    Precondition(String),
    /// Not now: 503.
    Unavailable(String),
    /// Nothing here can do that: 501.
    NotImplemented(&'static str),
    Unanswered(Unanswered),
    /// A health check: 503, and what is wrong, in the check's own shape.
    Unhealthy(serde_json::Value),
}

impl Refusal {
    pub fn bad(reason: impl Into<String>) -> Refusal {
        Refusal::BadRequest(reason.into())
    }

    pub fn said(reason: serde_json::Value) -> Refusal {
        Refusal::Said(reason)
    }

    /// A virtual host to be changed, or to change something in.
    pub fn no_virtual_host() -> Refusal {
        Refusal::Missing("vhost_not_found".to_owned())
    }

    /// The same about one part of a request.
    pub fn at(self, place: &str) -> Refusal {
        Refusal::BadRequest(format!("{place}: {}", self.text()))
    }

    /// What is wrong, for people.
    pub fn text(&self) -> String {
        match self {
            Refusal::NotLoggedIn(reason) | Refusal::NotImplemented(reason) => (*reason).to_owned(),
            Refusal::NotAuthorized(reason)
            | Refusal::BadRequest(reason)
            | Refusal::Missing(reason)
            | Refusal::Precondition(reason)
            | Refusal::Unavailable(reason) => reason.trim_end().to_owned(),
            Refusal::Broker(error) => broker_text(error),
            Refusal::Said(reason) | Refusal::Unhealthy(reason) => match reason.as_array() {
                Some(words) => {
                    let words = words.iter().map(|word| match word.as_str() {
                        Some(word) => word.to_owned(),
                        None => word.to_string(),
                    });
                    words.collect::<Vec<_>>().join(" ")
                }
                None => reason.to_string(),
            },
            Refusal::NotFound => "not found".to_owned(),
            Refusal::AccessRefused => "access refused".to_owned(),
            Refusal::Forged | Refusal::MethodNotAllowed(_) => "not allowed".to_owned(),
            Refusal::Unanswered(_) => "the broker is stopping".to_owned(),
        }
    }

    pub fn into_response(self) -> Response {
        let (status, error, reason) = match &self {
            Refusal::NotLoggedIn(reason) => (401, "not_authorized", (*reason).to_owned()),
            Refusal::NotAuthorized(reason) => (401, "not_authorized", reason.clone()),
            Refusal::Forged => {
                let reason = "a page's request must carry the header x-requested-with";
                (403, "forbidden", reason.to_owned())
            }
            Refusal::NotFound => (404, "Object Not Found", "Not Found".to_owned()),
            Refusal::MethodNotAllowed(allowed) => {
                let reason = format!("this resource knows {allowed}");
                (405, "Method Not Allowed", reason)
            }
            Refusal::BadRequest(reason) => (400, "bad_request", reason.clone()),
            Refusal::AccessRefused => (401, "not_authorised", "Access refused.".to_owned()),
            Refusal::Missing(reason) => (404, "not_found", reason.clone()),
            Refusal::Precondition(reason) => (412, "precondition_failed", reason.clone()),
            Refusal::Unavailable(reason) => (503, "unavailable", reason.clone()),
            Refusal::NotImplemented(reason) => (501, "not_implemented", (*reason).to_owned()),
            Refusal::Said(reason) => {
                return json_response(400, &json!({"error": "bad_request", "reason": reason}));
            }
            Refusal::Broker(error) => (400, "bad_request", broker_text(error)),
            Refusal::Unanswered(Unanswered::Ended) => {
                (503, "unavailable", "the broker is stopping".to_owned())
            }
            Refusal::Unanswered(Unanswered::Late) => (
                503,
                "unavailable",
                "this is not stored yet; the disk is slow".to_owned(),
            ),
            Refusal::Unhealthy(body) => return json_response(503, body),
        };
        let body = json!({"error": error, "reason": reason});
        let response = json_response(status, &body);
        match self {
            Refusal::NotLoggedIn(_) => {
                response.with("www-authenticate", "Basic realm=\"RabbitMQ Management\"")
            }
            Refusal::MethodNotAllowed(allowed) => response.with("allow", allowed),
            _ => response,
        }
    }
}

/// As a client of AMQP would read it in `channel.close`.
fn broker_text(error: &broker::Error) -> String {
    let (code, name) = match error {
        broker::Error::NotFound(_) => (404, "NOT_FOUND"),
        broker::Error::AccessRefused(_) => (403, "ACCESS_REFUSED"),
        broker::Error::PreconditionFailed(_) => (406, "PRECONDITION_FAILED"),
        broker::Error::ResourceLocked(_) => (405, "RESOURCE_LOCKED"),
        broker::Error::NotAllowed(_) => (530, "NOT_ALLOWED"),
        broker::Error::CommandInvalid(_) => (503, "COMMAND_INVALID"),
        broker::Error::NotImplemented(_) => (540, "NOT_IMPLEMENTED"),
        broker::Error::ConnectionForced(_) => (320, "CONNECTION_FORCED"),
    };
    format!("{code} {name} - {}", error.text())
}

pub fn json_response(status: u16, body: &impl serde::Serialize) -> Response {
    // Of plain structs and JSON values there is none that cannot be written.
    let body = serde_json::to_vec(body).unwrap_or_default();
    Response::new(status, "application/json", body)
        .with("cache-control", "no-cache")
        .with("vary", "accept, accept-encoding, origin")
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Refusal {
        Refusal::Unanswered(unanswered)
    }
}

impl From<broker::Error> for Refusal {
    fn from(error: broker::Error) -> Refusal {
        Refusal::Broker(error)
    }
}

impl From<policy::Invalid> for Refusal {
    fn from(invalid: policy::Invalid) -> Refusal {
        Refusal::BadRequest(format!("Validation failed\n\n{invalid}\n"))
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::NoSuchUser(_) | Refused::NoSuchVirtualHost(_) => Refusal::NotFound,
            other => Refusal::BadRequest(other.to_string()),
        }
    }
}
