//! Who is logged in on the page: a random token in a cookie that scripts cannot read stands for a user.
//! The password is asked for once and kept nowhere.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::call::{Call, body};
use super::http::{Caller, Request, Response};
use super::refusal::json_response;
use super::{Answer, Management, Refusal, locked};
use crate::protocol::Now;

/// Sessions by their tokens.
#[derive(Default)]
pub struct Sessions(BTreeMap<String, Session>);

struct Session {
    user: String,
    /// When it ends if nobody comes (monotonic ms).
    ends_ms: u64,
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

impl Sessions {
    /// When there are too many, the one that would end first does.
    fn begin(&mut self, token: String, user: String, now: Now) {
        self.0
            .retain(|_, session| session.ends_ms > now.monotonic_ms);
        if self.0.len() >= SESSIONS_MAX {
            let first = self.0.iter().min_by_key(|(_, session)| session.ends_ms);
            if let Some(token) = first.map(|(token, _)| token.clone()) {
                self.0.remove(&token);
            }
        }
        let ends_ms = now.monotonic_ms + SESSION_MS;
        self.0.insert(token, Session { user, ends_ms });
    }

    /// Whose session it is; it lasts the longer for being asked.
    pub fn user(&mut self, token: &str, now: Now) -> Option<String> {
        let session = self.0.get_mut(token)?;
        if session.ends_ms <= now.monotonic_ms {
            self.0.remove(token);
            return None;
        }
        session.ends_ms = now.monotonic_ms + SESSION_MS;
        Some(session.user.clone())
    }

    fn end(&mut self, token: &str) {
        self.0.remove(token);
    }
}

impl Management {
    /// `POST /api/session`. Only with a JSON body and our header, which no other site's page can send.
    pub(super) fn begin_session(&self, request: &Request, caller: &Caller, now: Now) -> Answer {
        if !is_from_page(request) {
            return Err(Refusal::Forged);
        }
        let Credentials { username, password } = body(request)?;
        let user = self.log_in(&username, &password, caller)?;
        let token = self.draw_token();
        locked(&self.sessions).begin(token.clone(), user.name.clone(), now);
        let secure = if caller.encrypted { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}");
        let body = json!({"name": user.name, "tags": user.tags});
        Ok(json_response(201, &body).with("set-cookie", cookie))
    }
}

/// `DELETE /api/session`
pub fn end_session(call: &Call<'_>) -> Answer {
    if let Some(token) = token(call.request) {
        locked(&call.management.sessions).end(token);
    }
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    Ok(Response::empty(204).with("set-cookie", cookie))
}

/// The token that the request's cookie has.
pub fn token(request: &Request) -> Option<&str> {
    let cookies = request.header("cookie")?.split(';');
    let mut pairs = cookies.filter_map(|cookie| cookie.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Whether it carries the header that makes a browser ask before another site's page may send it.
pub fn is_from_page(request: &Request) -> bool {
    request.header("x-requested-with").is_some()
}

const COOKIE: &str = "leveret-session";
const SESSIONS_MAX: usize = 1000;

/// RabbitMQ: `management.login_session_timeout`, 8 hours.
const SESSION_MS: u64 = 8 * 3600 * 1000;
