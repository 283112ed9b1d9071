//! Runtime parameters of virtual hosts, and global ones.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, Rows};
use crate::session::Session;

use super::{array, parse_json, path, plain, rows_of};

pub fn set(session: &mut Session) -> Result<Output, Failure> {
    let (component, name, value) = (
        session.argument(0),
        session.argument(1),
        session.argument(2),
    );
    let vhost = session.vhost();
    session.banner(&format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ))?;
    let body =
        json!({"value": parse_json(&value)?, "component": component, "vhost": vhost, "name": name});
    let parameter = path("parameters", &[&component, &vhost, &name]);
    let response = session.request("PUT", &parameter, Some(&body))?;
    match response.status {
        404 => Err(Failure::no_vhost(&vhost)),
        _ => response.accepted().map(|_| Output::Nothing),
    }
}

pub fn clear(session: &mut Session) -> Result<Output, Failure> {
    let (component, name, vhost) = (session.argument(0), session.argument(1), session.vhost());
    session.banner(&format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ))?;
    let parameter = path("parameters", &[&component, &vhost, &name]);
    match session.delete(&parameter)? {
        true => Ok(Output::Nothing),
        false => Err(Failure::unavailable("Parameter does not exist")),
    }
}

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    let vhost = session.vhost();
    session.banner(&format!(
        "Listing runtime parameters for vhost \"{vhost}\" ..."
    ))?;
    let mut items = array(session.get("/api/parameters")?)?;
    items.retain(|item| item["vhost"] == vhost.as_str());
    if items.is_empty() && !session.has_vhost(&vhost)? {
        return Err(Failure::no_vhost(&vhost));
    }
    let columns = ["component", "name", "value"].map(plain);
    Ok(Output::Rows(with_json_last(rows_of(&columns, &items))))
}

pub fn set_global(session: &mut Session) -> Result<Output, Failure> {
    let (name, value) = (session.argument(0), session.argument(1));
    session.banner(&format!(
        "Setting global runtime parameter \"{name}\" to \"{value}\" ..."
    ))?;
    let body = json!({"name": name, "value": parse_json(&value)?});
    session.put(&path("global-parameters", &[&name]), &body)?;
    Ok(Output::Nothing)
}

pub fn clear_global(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Clearing global runtime parameter \"{name}\" ..."))?;
    match session.delete(&path("global-parameters", &[&name]))? {
        true => Ok(Output::Nothing),
        false => Err(Failure::unavailable("Parameter does not exist")),
    }
}

pub fn list_global(session: &mut Session) -> Result<Output, Failure> {
    session.banner("Listing global runtime parameters ...")?;
    let items = array(session.get("/api/global-parameters")?)?;
    let columns = ["name", "value"].map(plain);
    Ok(Output::Rows(with_json_last(rows_of(&columns, &items))))
}

/// Values are shown as JSON in every form, as RabbitMQ shows them.
fn with_json_last(mut rows: Rows) -> Rows {
    for value in rows.rows.iter_mut().filter_map(|row| row.last_mut()) {
        *value = Value::String(value.to_string());
    }
    rows
}
