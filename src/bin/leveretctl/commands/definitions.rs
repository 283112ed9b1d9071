//! Definitions to and from files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use leveret::management::definitions::stored_definitions;
use leveret::store::Damage;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::failure::{EX_DATAERR, EX_USAGE, Failure};
use crate::output::Output;
use crate::session::Session;
use crate::target::{Target, data_directory};

use super::bad_argument;

pub fn export(session: &mut Session) -> Result<Output, Failure> {
    let file = session.argument(0);
    let stopped = stopped_directory(session)?;
    if file != "-" {
        let whose = match &stopped {
            Some(directory) => format!(" of the broker stopped in {}", directory.display()),
            None => String::new(),
        };
        session.say(&format!(
            "Exporting definitions in JSON{whose} to a file at \"{file}\" ..."
        ));
    }
    let (mut definitions, losses) = match &stopped {
        Some(directory) => of_stopped(directory)?,
        None => {
            let response = session.request("GET", "/api/definitions", None)?;
            (response.accepted()?.body, Vec::new())
        }
    };
    if !losses.is_empty() {
        // Better than nothing, but nobody should take it for the whole.
        let lines: Vec<_> = losses.iter().map(|damage| format!("\n{damage}")).collect();
        eprintln!("Warning: definitions may be missing{}", lines.concat());
    }
    if file == "-" {
        definitions.push(b'\n');
        return Ok(Output::Raw(definitions));
    }
    write_whole(Path::new(&file), &definitions)
        .map_err(|error| Failure::new(EX_DATAERR, format!("{file}: {error}")))?;
    Ok(Output::Nothing)
}

/// The data directory to look into, if the broker of this machine is meant and does not run.
///
/// # Errors
/// It cannot be reached, and it is another one, or there is no such directory.
fn stopped_directory(session: &mut Session) -> Result<Option<PathBuf>, Failure> {
    let Err(unreachable) = session.connect().map(|_| ()) else {
        return Ok(None);
    };
    let arguments = &session.arguments;
    let is_here =
        matches!(session.target(), Target::Socket(_)) && arguments.text("socket").is_none();
    let directory = data_directory(arguments);
    match is_here && directory.is_dir() {
        true => Ok(Some(directory)),
        false => Err(unreachable),
    }
}

fn of_stopped(directory: &Path) -> Result<(Vec<u8>, Vec<Damage>), Failure> {
    let stored = stored_definitions(directory).map_err(|error| {
        let text = format!(
            "no broker answers in {}, and its definitions cannot be read: {error}",
            directory.display()
        );
        Failure::unavailable(text)
    })?;
    Ok((stored.file.to_string().into_bytes(), stored.losses))
}

pub fn import(session: &mut Session) -> Result<Output, Failure> {
    let file = session.argument(0);
    let read = match file.as_str() {
        "" | "-" => {
            session.banner("Importing definitions in JSON from standard input ...")?;
            io::read_to_string(io::stdin())
        }
        file => {
            session.banner(&format!(
                "Importing definitions in JSON from a file at \"{file}\" ..."
            ))?;
            fs::read_to_string(file)
        }
    };
    let text = read.map_err(|error| Failure::new(EX_DATAERR, format!("{file}: {error}")))?;
    let definitions: Value = serde_json::from_str(&text).map_err(|error| {
        let text = format!("Failed to deserialise input (format: JSON) (error: {error})");
        Failure::new(EX_DATAERR, text)
    })?;
    session.post("/api/definitions", &definitions)?;
    Ok(Output::text(
        "Successfully started definition import. This process is asynchronous and can take some time.",
    ))
}

pub fn check_export(arguments: &Arguments) -> Result<(), (u8, String)> {
    check_format(arguments)?;
    match arguments.words.get(1).map(String::as_str) {
        None | Some("-") => Ok(()),
        Some(file) => match folder_of(Path::new(file)) {
            folder if folder.is_dir() => Ok(()),
            folder => Err(bad_argument(format!(
                "Directory {} does not exist",
                folder.display()
            ))),
        },
    }
}

pub fn check_import(arguments: &Arguments) -> Result<(), (u8, String)> {
    check_format(arguments)?;
    match arguments.words.get(1).map(String::as_str) {
        None | Some("-") => Ok(()),
        Some(file) if Path::new(file).is_file() => Ok(()),
        Some(file) => Err(bad_argument(format!("File {file} does not exist"))),
    }
}

fn check_format(arguments: &Arguments) -> Result<(), (u8, String)> {
    match arguments
        .text("format")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        None | Some("json") => Ok(()),
        Some("erlang") => Err((
            EX_USAGE,
            "Definitions are read and written as JSON; Erlang terms are not supported".to_owned(),
        )),
        Some(_) => Err(bad_argument("Format should be either json or erlang")),
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The old file stays until the new one is complete.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if !is_replaceable(file) {
        return fs::write(file, bytes);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    let written = fs::File::create_new(&new).and_then(|mut created| {
        created.write_all(bytes)?;
        created.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        // What could not be written is of no use; the error that counts is the first.
        let _ = fs::remove_file(&new);
    }
    done
}

/// A pipe, a device or a link is written to as it is.
fn is_replaceable(file: &Path) -> bool {
    match fs::symlink_metadata(file) {
        Ok(metadata) => metadata.is_file(),
        Err(_) => true,
    }
}
