//! `/whoami`, and the end of a session.

use serde::Serialize;

use crate::management::Answer;
use crate::management::call::Call;
use crate::management::http::Method;
use crate::management::listing::one;
use crate::management::sessions::end_session;

#[derive(Serialize)]
struct Whoami<'a> {
    name: &'a str,
    tags: &'a [String],
}

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["whoami"] => whoami(call),
        ["session"] => match call.method() {
            Method::Delete => end_session(call),
            _ => call.not_allowed("POST, DELETE"),
        },
        _ => return None,
    })
}

fn whoami(call: &Call<'_>) -> Answer {
    call.only_get()?;
    let user = &call.user;
    let whoami = Whoami {
        name: &user.name,
        tags: &user.tags,
    };
    one(call, &whoami)
}
