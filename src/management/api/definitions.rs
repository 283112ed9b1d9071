//! `/definitions`, for the whole broker and for one virtual host.

use serde_json::json;

use crate::management::call::{Call, Right};
use crate::management::definitions::{Definitions, Export, Imported, Piece, import};
use crate::management::http::{Method, Response, multipart};
use crate::management::refusal::json_response;
use crate::management::{Answer, Refusal};

pub fn route(call: &Call<'_>, path: &[&str]) -> Option<Answer> {
    Some(match path {
        ["definitions" | "all-configuration"] => definitions(call, None),
        ["definitions" | "all-configuration", vhost] => definitions(call, Some(vhost)),
        _ => return None,
    })
}

fn definitions(call: &Call<'_>, only: Option<&str>) -> Answer {
    call.require(Right::Administrator)?;
    if let Some(vhost) = only {
        call.enter(vhost).map_err(|refusal| match refusal {
            Refusal::NotFound if call.method() == Method::Post => Refusal::no_virtual_host(),
            other => other,
        })?;
    }
    match call.method() {
        Method::Get => export(call, only),
        Method::Post => upload(call, only),
        _ => call.not_allowed("GET, POST, HEAD, OPTIONS"),
    }
}

/// As one piece after another, so that the loop goes on in between.
fn export(call: &Call<'_>, only: Option<&str>) -> Answer {
    let mut export = Export::of(only);
    let mut next = Some(Piece::Settings);
    while let Some(piece) = next {
        (export, next) = call.ask(move |hub| {
            let next = export.take(hub, piece);
            (export, next)
        })?;
    }
    let response = json_response(200, &export.finish());
    Ok(match call.request.parameter("download") {
        // Nothing but what a file may be called.
        Some(name) => {
            let is_plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
            let name: String = name.chars().filter(is_plain).collect();
            let disposition = format!("attachment; filename={name}");
            response.with("content-disposition", disposition)
        }
        None => response,
    })
}

/// RabbitMQ answers 204 and says nothing; a trial (`?dry_run=true`) says what would change.
fn upload(call: &Call<'_>, only: Option<&str>) -> Answer {
    let is_trial = call.request.parameter("dry_run") == Some("true");
    let Upload { file, redirect } = Upload::of(call);
    let Definitions { items, remarks } = Definitions::read(file, only)?;
    let mut imported = Imported {
        remarks,
        ..Imported::default()
    };
    let mut items = items.into_iter();
    loop {
        let some: Vec<_> = items.by_ref().take(ITEMS_PER_ERRAND).collect();
        if some.is_empty() {
            break;
        }
        imported.add(call.ask(move |hub| import(hub, some, is_trial))?);
    }
    if is_trial {
        let said = json!({"changes": imported.changes, "remarks": imported.remarks});
        return Ok(json_response(200, &said));
    }
    for remark in &imported.remarks {
        log::warn!("definitions: {remark}");
    }
    let changed = imported.changes.len();
    log::info!(
        "definitions imported by '{}': {changed} changes",
        call.user.name
    );
    match imported.failure() {
        Some(failure) => Err(Refusal::bad(failure)),
        None => Ok(match redirect {
            Some(place) => Response::empty(303).with("location", place),
            None => Response::empty(204),
        }),
    }
}

/// What was sent: the file itself, or a form with it (RabbitMQ: its page's `file` and `redirect`).
struct Upload<'a> {
    file: &'a [u8],
    /// Where a browser goes from here.
    redirect: Option<String>,
}

impl<'a> Upload<'a> {
    fn of(call: &Call<'a>) -> Upload<'a> {
        let request = call.request;
        let kind = request.header("content-type").unwrap_or_default();
        let Some(parts) = multipart::parts(kind, &request.body) else {
            return Upload {
                file: &request.body,
                redirect: None,
            };
        };
        let part = |wanted: &str| {
            let found = parts.iter().find(|(name, _)| name == wanted);
            found.map(|(_, content)| *content)
        };
        let redirect = part("redirect").and_then(|it| std::str::from_utf8(it).ok());
        Upload {
            file: part("file").unwrap_or_default(),
            redirect: redirect.filter(|it| stays_here(it)).map(str::to_owned),
        }
    }
}

/// A place on this server, and nothing that could end a header.
fn stays_here(place: &str) -> bool {
    let is_plain = place
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_plain && !place.is_empty() && !place.contains("//") && !place.contains(':')
}

/// The loop serves others in between.
const ITEMS_PER_ERRAND: usize = 100;
