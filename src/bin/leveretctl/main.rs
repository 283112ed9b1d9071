//! leveretctl: tells a broker what to do, and asks it how it is, with the words of RabbitMQ's
//! `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-queues` and `rabbitmq-plugins`, under whose names it
//! can be called, too.
//!
//! It is a client of the HTTP API, over the Unix socket in the broker's data directory or over TCP, with TLS if wanted.
//! Answers go to standard output, errors to standard error; exit statuses are sysexits.h's.

mod arguments;
mod commands;
mod failure;
mod help;
mod http;
mod output;
mod session;
mod target;
mod tls;

use std::io::{self, Write};
use std::process::ExitCode;

use arguments::Arguments;
use commands::Command;
use failure::{EX_USAGE, Failure};
use help::Tool;
use output::Form;
use session::Session;
use target::Target;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let tool = Tool::called(&words.next().unwrap_or_default());
    match run(tool, Arguments::parse(words)) {
        Ok(output) => {
            let written = io::stdout().write_all(&output);
            // Who closes the pipe has seen enough.
            let _ = written.and_then(|()| io::stdout().flush());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = io::stderr().write_all(failure.message().as_bytes());
            ExitCode::from(failure.code)
        }
    }
}

fn run(tool: Tool, mut arguments: Arguments) -> Result<Vec<u8>, Failure> {
    let Some(name) = arguments.command() else {
        return without_command(tool, &arguments);
    };
    if let Some(reason) = commands::meaningless(name) {
        let text = format!("Error: {name} is not supported: {reason}");
        return Err(Failure::bare(EX_USAGE, text));
    }
    let Some(command) = commands::named(tool, name) else {
        return Err(help::unknown_command(tool, name));
    };
    if arguments.has("help") {
        return Ok(help::of_command(tool, command).into_bytes());
    }
    arguments.keep_options_of(command);
    check(tool, command, &arguments)?;
    let form = form(&arguments)?;
    let target = Target::choose(&arguments)?;
    let with_header = !arguments.has("silent") && !arguments.is_negated("table-headers");
    let mut session = Session::new(arguments, form, tool, target);
    match (command.run)(&mut session) {
        Ok(output) => Ok(output.render(form, with_header)),
        Err(failure) => Err(for_form(failure, form)),
    }
}

fn without_command(tool: Tool, arguments: &Arguments) -> Result<Vec<u8>, Failure> {
    if arguments.has("version") {
        return Ok(format!("{}\n", env!("CARGO_PKG_VERSION")).into_bytes());
    }
    let text = help::overview(tool);
    match arguments.has("help") {
        true => Ok(text.into_bytes()),
        false => Err(Failure::bare(EX_USAGE, text)),
    }
}

/// Options and the number of arguments.
fn check(tool: Tool, command: &Command, arguments: &Arguments) -> Result<(), Failure> {
    let wrong = |code, problem: &str| {
        Err(help::wrong_arguments(
            tool, command, arguments, code, problem,
        ))
    };
    if !arguments.invalid.is_empty() {
        let invalid = arguments.invalid.iter();
        let lines: Vec<_> = invalid
            .map(|(name, value)| format!("\n{name} : {value}"))
            .collect();
        let problem = format!("Invalid options for this command:{}", lines.concat());
        return wrong(EX_USAGE, &problem);
    }
    let given = arguments.words.len() - 1;
    if given < command.arguments.0 {
        return wrong(EX_USAGE, "not enough arguments.");
    }
    if given > command.arguments.1 {
        return wrong(EX_USAGE, "too many arguments.");
    }
    if let Some(check) = command.check
        && let Err((code, problem)) = check(arguments)
    {
        return wrong(code, &problem);
    }
    Ok(())
}

fn form(arguments: &Arguments) -> Result<Form, Failure> {
    let Some(name) = arguments.text("formatter") else {
        return Ok(Form::Table);
    };
    Form::named(name).ok_or_else(|| {
        let text = format!(
            "Error: there is no formatter '{name}'. Try one of table, pretty_table, json, csv, erlang"
        );
        Failure::bare(EX_USAGE, text)
    })
}

/// Who asked for JSON is told in JSON what went wrong.
fn for_form(failure: Failure, form: Form) -> Failure {
    if form != Form::Json {
        return failure;
    }
    let mut object = serde_json::Map::new();
    object.insert("message".to_owned(), failure.text.trim_end().into());
    object.insert("result".to_owned(), "error".into());
    Failure::bare(failure.code, serde_json::Value::Object(object).to_string())
}
