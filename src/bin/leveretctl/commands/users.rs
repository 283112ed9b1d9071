//! Users, their passwords and tags.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use crate::failure::{EX_DATAERR, EX_SOFTWARE, Failure};
use crate::output::{Column, Output, Shape};
use crate::session::{Session, print};

use super::{array, path, plain, rows_of};

pub fn add(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Adding user \"{name}\" ..."))?;
    let secret = secret(session, 1)?;
    let user = path("users", &[&name]);
    // The API would change the one there is.
    if session.find(&user)?.is_some() {
        let text = format!("User \"{name}\" already exists");
        return Err(Failure::new(EX_SOFTWARE, text));
    }
    let body = match session.arguments.has("pre-hashed-password") {
        true => json!({"password_hash": secret, "tags": ""}),
        false => json!({"password": secret, "tags": ""}),
    };
    session.put(&user, &body)?;
    if session.is_quiet() {
        return Ok(Output::Nothing);
    }
    Ok(Output::text(format!(
        "Done. Don't forget to grant the user permissions to some virtual hosts! \
         See '{} help set_permissions' to learn more.",
        session.tool.name()
    )))
}

pub fn delete(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Deleting user \"{name}\" ..."))?;
    match session.delete(&path("users", &[&name]))? {
        true => Ok(Output::Nothing),
        false => Err(Failure::no_user(&name)),
    }
}

pub fn change_password(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Changing password for user \"{name}\" ..."))?;
    let password = secret(session, 1)?;
    let user = existing(session, &name)?;
    let body = json!({"password": password, "tags": tags_of(&user)});
    session.put(&path("users", &[&name]), &body)?;
    Ok(Output::Nothing)
}

pub fn clear_password(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Clearing password for user \"{name}\" ..."))?;
    let user = existing(session, &name)?;
    let body = json!({"password_hash": "", "tags": tags_of(&user)});
    session.put(&path("users", &[&name]), &body)?;
    Ok(Output::Nothing)
}

pub fn authenticate(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    session.banner(&format!("Authenticating user \"{name}\" ..."))?;
    let password = secret(session, 1)?;
    let body = json!({"username": name, "password": password});
    let answer = session.post("/api/leveret/authenticate", &body)?;
    if answer["ok"] == true {
        return Ok(Output::text("Success"));
    }
    let reason = answer["reason"].as_str().unwrap_or("invalid credentials");
    let text = format!("Error: failed to authenticate user \"{name}\"\nuser '{name}' - {reason}");
    Err(Failure::new(EX_DATAERR, text))
}

pub fn list(session: &mut Session) -> Result<Output, Failure> {
    session.banner("Listing users ...")?;
    let users = array(session.get("/api/users")?)?;
    let tags = Column {
        name: "tags",
        shape: Shape::Names,
    };
    let mut rows = rows_of(&[plain("name"), tags], &users);
    rows.columns[0].name = "user";
    for row in &mut rows.rows {
        row[1] = Value::Array(tag_list(&row[1]));
    }
    Ok(Output::Rows(rows))
}

pub fn set_tags(session: &mut Session) -> Result<Output, Failure> {
    let name = session.argument(0);
    let tags = session.arguments.words[2..].to_vec();
    session.banner(&format!(
        "Setting tags for user \"{name}\" to [{}] ...",
        tags.join(", ")
    ))?;
    let user = existing(session, &name)?;
    let body = json!({
        "password_hash": user["password_hash"],
        "hashing_algorithm": user["hashing_algorithm"],
        "tags": tags.join(","),
    });
    session.put(&path("users", &[&name]), &body)?;
    Ok(Output::Nothing)
}

fn existing(session: &mut Session, name: &str) -> Result<Value, Failure> {
    let found = session.find(&path("users", &[name]))?;
    found.ok_or_else(|| Failure::no_user(name))
}

fn tags_of(user: &Value) -> String {
    let tags = tag_list(&user["tags"]);
    let tags: Vec<_> = tags.iter().filter_map(Value::as_str).collect();
    tags.join(",")
}

/// Before RabbitMQ 3.9 the API had them in one text.
fn tag_list(tags: &Value) -> Vec<Value> {
    match tags {
        Value::Array(tags) => tags.clone(),
        Value::String(tags) => {
            let tags = tags.split(',').map(str::trim);
            tags.filter(|tag| !tag.is_empty())
                .map(Value::from)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// The argument with this index, or a line of standard input, which a terminal does not show.
pub fn secret(session: &Session, index: usize) -> Result<String, Failure> {
    match session.optional(index) {
        Some(secret) if secret != "-" => return Ok(secret),
        _ => {}
    }
    if !session.is_quiet() {
        print("Password: ");
    }
    let line = read_hidden_line();
    if !session.is_quiet() {
        print("\n");
    }
    match line {
        Ok(line) if !line.is_empty() => Ok(line),
        _ => {
            let text = "Password is not provided via argument or stdin";
            Err(Failure::new(EX_DATAERR, text))
        }
    }
}

fn read_hidden_line() -> io::Result<String> {
    let input = io::stdin();
    let shown = match input.is_terminal() {
        true => tcgetattr(&input).ok(),
        false => None,
    };
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Now, &hidden)?;
    }
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&input, OptionalActions::Now, shown)?;
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_as_a_list_or_a_text() {
        assert_eq!(tags_of(&json!({"tags": ["a", "b"]})), "a,b");
        assert_eq!(tags_of(&json!({"tags": "a, b"})), "a,b");
        assert_eq!(tags_of(&json!({"tags": ""})), "");
    }
}
