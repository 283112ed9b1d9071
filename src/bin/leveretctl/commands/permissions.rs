//! Who may do what: permissions and topic permissions.

use serde_json::{Value, json};

use crate::failure::{EX_NOUSER, Failure};
use crate::http::segment;
use crate::output::Output;
use crate::session::Session;

use super::{array, path, plain, rows_of};

pub fn set(session: &mut Session) -> Result<Output, Failure> {
    let (user, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!(
        "Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let body = json!({
        "configure": session.argument(1),
        "write": session.argument(2),
        "read": session.argument(3),
    });
    let permissions = path("permissions", &[&vhost, &user]);
    change(session, "PUT", &permissions, Some(&body), (&user, &vhost))
}

pub fn clear(session: &mut Session) -> Result<Output, Failure> {
    let (user, vhost) = (session.argument(0), session.vhost());
    session.banner(&format!(
        "Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let permissions = path("permissions", &[&vhost, &user]);
    change(session, "DELETE", &permissions, None, (&user, &vhost))
}

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    let columns = ["user", "configure", "write", "read"];
    of_vhost(session, "permissions", "permissions", &columns)
}

pub fn list_of_user(session: &mut Session) -> Result<Output, Failure> {
    let columns = ["vhost", "configure", "write", "read"];
    of_user(session, "permissions", "permissions", &columns)
}

pub fn set_topic(session: &mut Session) -> Result<Output, Failure> {
    let (user, exchange) = (session.argument(0), session.argument(1));
    let vhost = session.vhost();
    session.banner(&format!(
        "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let body = json!({
        "exchange": exchange,
        "write": session.argument(2),
        "read": session.argument(3),
    });
    let permissions = path("topic-permissions", &[&vhost, &user]);
    change(session, "PUT", &permissions, Some(&body), (&user, &vhost))
}

pub fn clear_topic(session: &mut Session) -> Result<Output, Failure> {
    let (user, vhost) = (session.argument(0), session.vhost());
    let mut permissions = path("topic-permissions", &[&vhost, &user]);
    match session.optional(1) {
        Some(exchange) => {
            session.banner(&format!(
                "Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
            ))?;
            permissions.push('/');
            permissions.push_str(&segment(&exchange));
        }
        None => session.banner(&format!(
            "Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."
        ))?,
    }
    change(session, "DELETE", &permissions, None, (&user, &vhost))
}

pub fn list_topic(session: &mut Session) -> Result<Output, Failure> {
    let columns = ["user", "exchange", "write", "read"];
    of_vhost(session, "topic permissions", "topic-permissions", &columns)
}

pub fn list_topic_of_user(session: &mut Session) -> Result<Output, Failure> {
    let columns = ["vhost", "exchange", "write", "read"];
    let output = of_user(session, "topic permissions", "topic-permissions", &columns)?;
    Ok(match output {
        Output::Rows(mut rows) => {
            // RabbitMQ forgets it here.
            rows.has_header = false;
            Output::Rows(rows)
        }
        output => output,
    })
}

/// Changes something about a user in a virtual host. The API does not say which of the two is missing.
fn change(
    session: &mut Session,
    method: &str,
    path_of_it: &str,
    body: Option<&Value>,
    (user, vhost): (&str, &str),
) -> Result<Output, Failure> {
    let response = session.request(method, path_of_it, body)?;
    let is_missing =
        response.status == 404 || response.status == 400 && response.reason().contains("not_found");
    if !is_missing {
        response.accepted()?;
        return Ok(Output::Nothing);
    }
    if session.find(&path("users", &[user]))?.is_none() {
        let text = format!("User {user} does not exist");
        return Err(Failure::new(EX_NOUSER, text));
    }
    if !session.has_vhost(vhost)? {
        let text = format!("Virtual host {vhost} does not exist");
        return Err(Failure::unavailable(text));
    }
    // Both are there: there was nothing to clear.
    match method {
        "DELETE" => Ok(Output::Nothing),
        _ => Err(response.refusal()),
    }
}

fn of_vhost(
    session: &mut Session,
    what: &str,
    resource: &str,
    columns: &[&'static str],
) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!("Listing {what} for vhost \"{vhost}\" ..."))?;
    let found = session.find(&format!("{}/{resource}", path("vhosts", &[&vhost])))?;
    let items = array(found.ok_or_else(|| Failure::no_vhost(&vhost))?)?;
    let columns: Vec<_> = columns.iter().map(|name| plain(name)).collect();
    Ok(Output::Rows(rows_of(&columns, &items)))
}

fn of_user(
    session: &mut Session,
    what: &str,
    resource: &str,
    columns: &[&'static str],
) -> Result<Output, Failure> {
    let user = session.argument(0);
    session.banner(&format!("Listing {what} for user \"{user}\" ..."))?;
    let found = session.find(&format!("{}/{resource}", path("users", &[&user])))?;
    let items = array(found.ok_or_else(|| Failure::no_user(&user))?)?;
    let columns: Vec<_> = columns.iter().map(|name| plain(name)).collect();
    Ok(Output::Rows(rows_of(&columns, &items)))
}
